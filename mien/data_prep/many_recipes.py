"""The same recordings under many recipes: read once, measured once a set of windows, decided once a recipe.

Recipes that share windows, baselines, bins and sides differ only in what they subtract and mark, so that one table of
their rows serves all of them, and a recipe is an activation and a reason for each of its rows. Every number is the
one that `prepare_recording` and `finish` give under that recipe alone.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.data_prep.exclusion import REASONS
from mien.data_prep.measure import Measured, measure
from mien.data_prep.recipe import Recipe
from mien.data_prep.table import build_table, put_together
from mien.data_prep.trials import across_trials, check_clock, decide, shown_trials
from mien.data_prep.windows import Windows, windows_of
from mien.study.labels import RecordingId
from mien.study.recording import RecordingArrays

__all__ = ["Decided", "prepare_under", "put_together_under"]


class Decided(NamedTuple):
    """One recording under one recipe.

    rows : a Trials table; recipes that measure alike share it, and its own activation and reasons mean nothing.
    activation : (row,) float32. reason : (row,) int8, the number in `REASONS`.
    """

    rows: pd.DataFrame
    activation: np.ndarray
    reason: np.ndarray


class _Measurement(NamedTuple):
    plan: Windows
    measured: Measured
    rows: pd.DataFrame


def prepare_under(  # noqa: PLR0913  (what one recording is)
    recipes: Sequence[Recipe],
    recording: RecordingArrays,
    events: pd.DataFrame,
    stimuli: pd.DataFrame,
    *,
    recording_id: RecordingId,
    only: Mapping[str, Collection[str]],
    aligned: bool = False,
    first_trial: int = 1,
    where: str = "events",
) -> list[Decided]:
    """One recording under each recipe, in their order.

    Parameters
    ----------
    only : for each `sides` of the recipes the outcomes to prepare.
    recording, events, stimuli, recording_id, aligned, first_trial, where : see `prepare_recording`.

    Raises
    ------
    StudyError, SpecError, RecordingError
    """
    trials = shown_trials(events, stimuli, recording, where=where)
    constant = {**recording_id._asdict(), "tracker": str(recording.attrs["tracker"])}
    known: dict[str, _Measurement] = {}
    decided = []
    for recipe in recipes:
        check_clock(recipe, aligned=aligned, where=where)
        key = measured_by(recipe)
        if key not in known:
            plan = windows_of(trials, recipe, task=recording_id.task, where=where)
            measured = measure(recording, plan, sides=recipe.sides, only=only[recipe.sides], where=where)
            shape = measured.bins.mean.shape
            rows = build_table(
                measured,
                plan,
                trials,
                activation=np.zeros(shape),
                codes=np.zeros(shape, np.int8),
                constant=constant,
            )
            rows["trial"] += np.int32(first_trial)
            known[key] = _Measurement(plan, measured, rows)
        plan, measured, rows = known[key]
        activation, codes = decide(measured, plan, trials, recipe, recording=recording, where=where)
        decided.append(Decided(rows, activation.astype(np.float32).ravel(), codes.ravel()))
    return decided


def measured_by(recipe: Recipe) -> str:
    """What of a recipe is decided before anything is subtracted or marked; equal texts measure alike."""
    canonical: dict[str, Any] = recipe.canonical()
    return json.dumps(
        {name: canonical[name] for name in ("window", "baseline", "bin", "sides")}, sort_keys=True
    )


def put_together_under(recipes: Sequence[Recipe], decided: Sequence[Sequence[Decided]]) -> list[pd.DataFrame]:
    """The study's Trials under each recipe: `decided` holds, for each recording, what `prepare_under` gave.

    Contrasts of the recipes are left to the caller.
    """
    together: dict[str, pd.DataFrame] = {}
    reasons = np.array(REASONS, dtype=object)
    tables = []
    for place, recipe in enumerate(recipes):
        parts = [one[place] for one in decided]
        key = measured_by(recipe)
        if key not in together:
            together[key] = put_together([part.rows for part in parts])
        marked = reasons[np.concatenate([part.reason for part in parts])]
        trials = together[key].assign(
            activation=np.concatenate([part.activation for part in parts]),
            excluded=pd.Series(marked, dtype="str"),
        )
        tables.append(across_trials(trials, recipe))
    return tables
