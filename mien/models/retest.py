"""`session_change`: did a person's answer change from one session to the next, by more than answers change anyway?

It can be told where the model has sessions, (valence | participant:session), and persons were recorded in several: the
spread of one person's answers between sessions is then known, and so is what all persons change (practice).

    change      fixed part + own part, from one session to the other, in units of the outcome
    own         the person's own part: the difference of the effects u of the person's two sessions
    delta       what counts: a share of the posterior-median sd between persons
    P           of own > delta and of own < −delta
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.new_rows import WHO
from mien.models.refit import (
    check_gaussian,
    coefficients_of,
    effects_of,
    levels_of_factor,
    of_shape,
    outcome_of,
)
from mien.models.scoring import CONSTANT
from mien.study.errors import FitError

__all__ = ["CHANGE_COLUMNS", "session_change", "sessions_of"]

FACTOR = f"{WHO}:session"
CHANGE_COLUMNS = (
    "blend_shape", "before", "after", "mean", "eti_lower", "eti_upper", "own_mean", "own_lower", "own_upper", "ci_kind",
    "ci_prob", "delta", "p_rise", "p_fall", "retested", "units", "verdict",
)  # fmt: skip


def sessions_of(fit: xr.DataTree, participant: str) -> tuple[str, ...]:
    """The person's sessions that the model knows; none where it has no effects of sessions."""
    if f"valence|{FACTOR}" not in fit["posterior"].dataset:
        return ()
    return tuple(
        label.partition(":")[2]
        for label in levels_of_factor(fit, FACTOR)
        if label.partition(":")[0] == participant
    )


def session_change(
    fit: xr.DataTree, participant: str, *, delta: float = 0.5, ci_prob: float = 0.95
) -> pd.DataFrame:
    """The change of a person's answer to valence between neighbouring sessions.

    Parameters
    ----------
    fit : Gaussian, with (valence | participant) and (valence | participant:session), effects and rows stored.
    delta : the least own change that counts, posterior-median sds between persons.
    ci_prob : level of the equal-tailed intervals.

    Returns
    -------
    `CHANGE_COLUMNS`, a row for each shape and pair of neighbouring sessions. `p_rise` and `p_fall` are of the person's
    own change beyond `delta` (in units of the outcome); `retested` counts the persons with several sessions.

    Raises
    ------
    FitError
        Where the model has no effects of sessions, or the person fewer than two of them.
    """
    check_gaussian(fit, "session_change")
    sessions = sessions_of(fit, participant)
    if len(sessions) < 2:
        raise FitError(
            f"session_change: expected two sessions of {participant!r} in a model with (valence | {FACTOR}), found "
            f"{len(sessions)}: fit with session=True."
        )
    labels = [label.partition(":")[0] for label in levels_of_factor(fit, FACTOR)]
    contrasts, failed = (
        json.loads(fit.attrs["model_spec"])["contrasts"],
        json.loads(fit.attrs["diagnostics_detail"])["failed"],
    )
    counted = sum(count > 1 for count in pd.Series(labels).value_counts())
    rows = []
    for shape in outcomes_of(fit):
        outcome = outcome_of(fit, shape)
        known = {
            "blend_shape": shape or "", "ci_kind": "eti", "ci_prob": ci_prob, "retested": counted,
            "units": "contrast" if shape in contrasts else str(fit.attrs["units"]),
            "verdict": "failed" if (shape or "") in failed else "passed",
        }  # fmt: skip
        fixed = _fixed(fit, shape, outcome, participant, sessions)
        own = effects_of(fit, shape, f"valence|{FACTOR}", "session_change")
        places = [levels_of_factor(fit, FACTOR).index(f"{participant}:{session}") for session in sessions]
        between = of_shape(fit["posterior"].dataset, shape)[f"valence|{WHO}_sigma"]
        limit = delta * float(between.median())
        for first, second in zip(range(len(sessions)), range(1, len(sessions)), strict=False):
            alone = own[:, places[second]] - own[:, places[first]]
            whole = alone + fixed[second] - fixed[first]
            rows.append(
                known
                | {"before": sessions[first], "after": sessions[second], "delta": limit}
                | _told(whole, ci_prob, ("mean", "eti_lower", "eti_upper"))
                | _told(alone, ci_prob, ("own_mean", "own_lower", "own_upper"))
                | {"p_rise": float((alone > limit).mean()), "p_fall": float((alone < -limit).mean())}
            )
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))


def _told(draws: np.ndarray, ci_prob: float, names: tuple[str, str, str]) -> dict[str, Any]:
    lower, upper = np.quantile(draws, [(1 - ci_prob) / 2, (1 + ci_prob) / 2])
    return dict(zip(names, (float(draws.mean()), float(lower), float(upper)), strict=True))


def _fixed(
    fit: xr.DataTree, shape: str | None, outcome: Outcome, participant: str, sessions: tuple[str, ...]
) -> list[np.ndarray]:
    """(draw,) of each session: the fixed part of the person's answer, of columns that are valence's times a number."""
    design = outcome.design
    draws = coefficients_of(fit, shape, design.coefficients)
    block = next(block for block in design.blocks if block.factor == FACTOR and "valence" in block.terms)
    valence = block.columns[:, block.terms.index("valence")]
    found = []
    for session in sessions:
        mine = block.codes == block.levels.index(f"{participant}:{session}")
        moving, still = mine & (valence != 0.0), mine & (valence == 0.0)
        weights = np.zeros(len(design.coefficients))
        for place in range(len(weights)):
            ratio = design.columns[moving, place] / valence[moving]
            if len(ratio) and np.ptp(ratio) <= CONSTANT and not np.any(design.columns[still, place]):
                weights[place] = ratio.mean()
        found.append(draws @ weights)
    return found
