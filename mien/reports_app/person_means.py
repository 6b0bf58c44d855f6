"""Plain means of one person's trials: valid trials, left − right, answers by recording. Nothing here is estimated."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mien.study.blend_shapes import BILATERAL_NAMES, members

__all__ = ["TRIAL", "answers_by_recording", "kept_means", "of_person", "side_differences", "valid_trials"]

TRIAL = ["session", "task", "run", "trial"]
BOTH = ["negative", "positive"]


def of_person(trials: pd.DataFrame, person: str) -> Any:
    """The person's rows of a trials table."""
    return trials[trials["participant"].astype("str") == person]


def kept_means(trials: pd.DataFrame, names: Sequence[str]) -> Any:
    """Means over bins of the kept rows, one for each combination of `names` (as texts) that there is."""
    kept: Any = trials[(trials["excluded"] == "") & trials["activation"].notna()]
    kept = kept[[*names, "activation"]].astype(dict.fromkeys(names, "str"))
    return kept.groupby(list(names))["activation"].mean().reset_index()


def valid_trials(trials: pd.DataFrame, person: str) -> Any:
    """Valid trials of the person, (blend_shape, valence) → how many; kept rows only."""
    once = kept_means(of_person(trials, person), ["blend_shape", "valence", *TRIAL])
    return once.pivot_table(
        index="blend_shape", columns="valence", values="activation", aggfunc="size", fill_value=0
    )


def side_differences(trials: pd.DataFrame) -> Any:
    """Left − right of every pair, trial by trial: columns participant, valence, pair, difference."""
    names = ["participant", *TRIAL, "valence"]
    means = kept_means(trials, [*names, "blend_shape"])
    wide = means.pivot_table(index=names, columns="blend_shape", values="activation")
    found = []
    for pair in BILATERAL_NAMES:
        sides = members(pair)
        if len(sides) == 2 and set(sides) <= set(wide.columns):
            difference = (wide[sides[0]] - wide[sides[1]]).dropna().rename("difference")
            found.append(difference.reset_index().assign(pair=pair))
    columns = ["participant", "valence", "pair", "difference"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def answers_by_recording(trials: pd.DataFrame, person: str, shapes: Sequence[str]) -> list[dict[str, Any]]:
    """Positive − negative of every session, task and run of the person that has both.

    Returns
    -------
    session, task, run, negative and positive (trials), and shape → answer, NaN where there is none.
    """
    mine = of_person(trials, person)
    mine = mine[mine["blend_shape"].astype("str").isin(list(shapes))]
    means = kept_means(mine, [*TRIAL, "valence", "blend_shape"])
    found = []
    for (session, task, run), part in means.groupby(["session", "task", "run"]):
        answers = part.pivot_table(index="blend_shape", columns="valence", values="activation")
        if not set(BOTH) <= set(answers.columns):
            continue
        counts = part.drop_duplicates(TRIAL)["valence"].value_counts()
        difference = answers["positive"] - answers["negative"]
        found.append(
            {"session": str(session), "task": str(task), "run": str(run)}
            | {valence: int(counts[valence]) for valence in BOTH}
            | {shape: float(difference.get(shape, np.nan)) for shape in shapes}
        )
    return found
