"""From one Recording and its events to Trials, and from the Trials of all recordings to the study's table.

`prepare_recording` does what one recording is enough for: sides, bins, baseline, correction, and the rules that
look at one trial. `finish` does what needs all trials of a person: outliers, scaling, contrasts, and the counts.
Between the two stands nothing but the table, so recordings can be prepared in parallel, one in memory a worker.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr

from mien.data_prep.baseline import neutral_mean, subtracted
from mien.data_prep.counts import count_by, count_by_shape, count_rows, tally
from mien.data_prep.exclusion import OUTLIER, REASONS, mark_rows, outliers, overlaps
from mien.data_prep.measure import Measured, measure
from mien.data_prep.recipe import Recipe
from mien.data_prep.scaling import scale_within_person
from mien.data_prep.windows import Windows, windows_of
from mien.study.errors import StudyError, TrialsError
from mien.study.events import OWN_COLUMNS, unknown_stimuli, validate_events
from mien.study.labels import RecordingId
from mien.study.recording import TRACKERS
from mien.study.tables import cell
from mien.study.trials import MEDIA, TRIAL_COLUMNS, VALENCES, contrast, validate_trials

__all__ = ["Prepared", "count_trials", "finish", "prepare_recording"]

UNLIKE_STIMULUS = 0.5  # s: an event whose duration differs from its stimulus' by more is counted
_LISTED = "duration_in_stimuli_table"
_LABELS = ("participant", "session", "task", "run")
_FACTORS = frozenset(name for name, dtype in TRIAL_COLUMNS.items() if dtype == "category")


COUNTED_BY = {
    "by_valence": ("valence",),
    "by_medium": ("medium",),
    "by_valence_and_medium": ("valence", "medium"),
    "by_participant": ("participant",),
    "by_recording": ("participant", "session", "task", "run"),
}


class Prepared(NamedTuple):
    """The trials of one recording, and what was counted on the way (plain JSON types)."""

    trials: pd.DataFrame
    counts: dict[str, Any]


def count_trials(events: pd.DataFrame) -> int:
    """How many trials the events hold: rows with a stimulus. The next run's `first_trial` is one more."""
    return int(events["stimulus_id"].notna().sum())


def prepare_recording(
    recording: xr.Dataset,
    events: pd.DataFrame,
    stimuli: pd.DataFrame,
    recipe: Recipe,
    *,
    recording_id: RecordingId,
    aligned: bool = False,
    first_trial: int = 1,
    where: str = "events",
) -> Prepared:
    """The trials of one recording.

    Parameters
    ----------
    recording : a Recording; frozen stretches count as not tracked.
    events : columns onset and duration (s of the recording), stimulus_id (missing: no trial), ratings, conditions.
    stimuli : columns stimulus_id, valence, medium, duration (s).
    recording_id : participant, session, task, run, without prefixes.
    aligned : whether the onsets are on the recording's clock. If not, only a recipe with
        clock = "assume_aligned" takes them.
    first_trial : number of the first trial, to count on through the runs of a task.
    where : what to call the events in an error message.

    Returns
    -------
    Prepared(trials, counts): every bin of every trial and shape; nothing is left out, see `excluded`.

    Raises
    ------
    StudyError
        Unaligned events, an onset outside the recording, an unknown stimulus, a reserved column name.
    SpecError
        A window that this stimulus cannot have.
    """
    if not aligned and recipe.clock != "assume_aligned":
        raise StudyError(
            f"{where}: expected events aligned to the recording's clock, found none: run `mien align`, or write "
            'clock = "assume_aligned" in the recipe, which every report will mention.'
        )
    trials = _trials_of(events, stimuli, recording, where=where)
    plan = windows_of(trials, recipe, task=recording_id.task, where=where)
    measured = measure(recording, plan, sides=recipe.sides, where=where)
    activation, codes = _decide(measured, plan, trials, recipe, recording=recording, where=where)
    constant = {**recording_id._asdict(), "tracker": str(recording.attrs["tracker"])}
    table = _table(measured, plan, trials, activation=activation, codes=codes, constant=constant)
    table["trial"] += np.int32(first_trial)
    facts: dict[str, Any] = {
        "recording": dict(recording_id._asdict()),
        "clock": "aligned" if aligned else "assumed",
        "other_events": len(events) - len(trials),
    }
    return Prepared(table, facts | _facts(recording, measured, plan, trials) | count_rows(tally(table)))


def finish(
    tables: pd.DataFrame | Sequence[pd.DataFrame], recipe: Recipe
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The study's Trials from those of all recordings: outliers, scaling, contrasts, counts.

    Parameters
    ----------
    tables : what `prepare_recording` gave, one table a recording (or all of them concatenated).

    Returns
    -------
    trials : a validated Trials table, in the order given; contrasts of shapes follow after all shapes.
    counts : `count_rows` of the shapes, and the same by valence, medium, valence and medium, person, shape and
        recording; for contrasts only the numbers of rows. Plain JSON types.
    """
    trials = _together([tables] if isinstance(tables, pd.DataFrame) else list(tables))
    if recipe.exclusion.outlier_mad is not None:
        far = outliers(trials, recipe.exclusion.outlier_mad)
        trials["excluded"] = trials["excluded"].mask(far, OUTLIER)
    if recipe.scaling == "within_person":
        trials = scale_within_person(trials)
    counted = tally(trials)
    counts: dict[str, Any] = {"recipe_sha256": recipe.sha256, **count_rows(counted)}
    for name, columns in COUNTED_BY.items():
        counts[name] = count_by(counted, columns)
    counts["by_blend_shape"] = count_by_shape(counted)
    counts["contrasts"] = []
    if recipe.contrasts:
        combined = contrast(trials, recipe.contrasts)
        for name, rows in combined.groupby("blend_shape", observed=False):
            kept = int((rows["excluded"] == "").sum())
            counts["contrasts"].append({"blend_shape": str(name), "rows": len(rows), "rows_kept": kept})
        trials = _together([trials, combined])
    return validate_trials(trials), counts


def _trials_of(
    events: pd.DataFrame, stimuli: pd.DataFrame, recording: xr.Dataset, *, where: str
) -> pd.DataFrame:
    """The events that show a stimulus, in the order of onsets, with valence, medium and a duration."""
    validate_events(events, where=where)
    unknown_stimuli(events, stimuli, where=where)
    end = float(recording["time"].to_numpy()[-1])
    shown = events[events["stimulus_id"].notna().to_numpy()]
    if shown.empty:
        raise StudyError(f"{where}: expected at least one event with a stimulus_id, found none: fill it in.")
    for row in np.flatnonzero(events["stimulus_id"].notna().to_numpy()):
        onset = float(events["onset"].iloc[row])
        if not 0 <= onset <= end:
            raise StudyError(
                f"{cell(where, int(row), 'onset')}: expected an onset within the recording (0 to {end:.3f} s), found "
                f"{onset:g} s: check that these events belong to this recording and are on its clock (mien align)."
            )
    known = stimuli.drop_duplicates("stimulus_id").set_index("stimulus_id")
    trials = shown.sort_values("onset", kind="stable").reset_index(drop=True)
    for name, levels in (("valence", VALENCES), ("medium", MEDIA)):
        trials[name] = pd.Categorical(known.loc[trials["stimulus_id"], name], categories=levels, ordered=True)
    trials[_LISTED] = known.loc[trials["stimulus_id"], "duration"].to_numpy(dtype=np.float64)
    trials["duration"] = trials["duration"].fillna(trials[_LISTED])
    trials["stimulus"] = pd.Categorical(trials["stimulus_id"], categories=list(known.index))
    return trials


def _decide(
    measured: Measured,
    plan: Windows,
    trials: pd.DataFrame,
    recipe: Recipe,
    *,
    recording: xr.Dataset,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Activation, corrected as the recipe says, and the reason of each row: both (bin, blend_shape)."""
    onset, duration = (trials[name].to_numpy(dtype=np.float64) for name in ("onset", "duration"))
    overlap = overlaps(
        onset,
        onset + np.nan_to_num(duration),
        plan,
        frame=1.0 / float(recording.attrs["nominal_rate"]),
    )
    neutral = neutral_mean(
        recipe,
        measured.baselines,
        measured.bins,
        at_rest=~overlap.baseline,
        in_neutral_trial=(trials["valence"] == "neutral").to_numpy()[plan.trial],
        where=where,
    )
    subtract = subtracted(recipe, measured.names, measured.baselines.mean, neutral)
    activation = measured.bins.mean - subtract[plan.trial]
    codes = mark_rows(
        recipe.exclusion,
        measured,
        plan.trial,
        overlap=overlap,
        baseline_is_subtracted=recipe.baseline_correction == "subtract",
        activation=activation,
    )
    return activation, codes


def _table(
    measured: Measured,
    plan: Windows,
    trials: pd.DataFrame,
    *,
    activation: np.ndarray,
    codes: np.ndarray,
    constant: Mapping[str, str],
) -> pd.DataFrame:
    """One row a bin and shape, in this order; `trial` from 0."""
    shapes = len(measured.names)
    row_trial = np.repeat(plan.trial, shapes)
    categories = {"tracker": list(TRACKERS)}
    columns: dict[str, Any] = {
        name: pd.Categorical(np.array([label]), categories=categories.get(name, [label])).repeat(
            len(row_trial)
        )
        for name, label in constant.items()
    }
    for name in ("stimulus", "valence", "medium", *_carried_names(trials)):
        columns[name] = _factor(trials[name]).take(row_trial)
    columns["blend_shape"] = pd.Categorical.from_codes(
        np.tile(np.arange(shapes), len(plan.trial)), categories=list(measured.names)
    )
    by_bin = {"trial": plan.trial, "bin": plan.bin, "time": plan.centre, "n_frames": measured.due_bin}
    by_row = {
        "activation": activation,
        "raw": measured.bins.mean,
        "baseline": measured.baselines.mean[plan.trial],
        "peak": measured.bins.extra,
        "valid": measured.tracked_bin(),
    }
    for name, values in by_bin.items():
        columns[name] = np.repeat(values.astype(TRIAL_COLUMNS[name]), shapes)
    for name, values in by_row.items():
        columns[name] = values.astype(np.float32).ravel()
    columns["excluded"] = pd.StringDtype(na_value=np.nan).__from_arrow__(
        pa.array(REASONS).take(codes.ravel())
    )
    order = [*TRIAL_COLUMNS, *_carried_names(trials)]
    return pd.DataFrame({name: columns[name] for name in order}, copy=False)


def _carried_names(trials: pd.DataFrame) -> list[str]:
    """The rating and condition columns of the events."""
    ours = {*OWN_COLUMNS, *TRIAL_COLUMNS, _LISTED}
    return [str(name) for name in trials.columns if name not in ours]


def _factor(column: pd.Series) -> Any:
    """Text as categories, numbers as they are."""
    is_text = not pd.api.types.is_numeric_dtype(column) and not isinstance(column.dtype, pd.CategoricalDtype)
    return (column.astype("category") if is_text else column).array


def _facts(recording: xr.Dataset, measured: Measured, plan: Windows, trials: pd.DataFrame) -> dict[str, Any]:
    time = recording["time"].to_numpy()
    activation = recording["activation"].to_numpy()
    untracked = np.isnan(activation[np.isnan(activation[:, 0])]).all(axis=1)
    frame = 1.0 / float(recording.attrs["nominal_rate"])
    unlike = (trials["duration"] - trials[_LISTED]).abs() > UNLIKE_STIMULUS
    return {
        "tracker": str(recording.attrs["tracker"]),
        "duration_s": round(float(time[-1]), 6),
        "frames": len(time),
        "frames_lost": measured.lost,
        "frames_untracked": int(untracked.sum()),
        "frames_frozen": measured.frozen,
        "shapes_missing": list(measured.missing),
        "trials_cut_short": int(np.unique(plan.trial[plan.stop > time[-1] + 1.5 * frame]).size),
        "durations_unlike_stimuli": int(unlike.sum()),
    }


def _together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table, its categories united: shapes and stimuli in the order they come, labels sorted."""
    if not tables:
        raise TrialsError(
            "trials: expected the trials of at least one recording, found none: import recordings."
        )
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns = {}
    for name in names:
        parts = [table[name] if name in table else pd.Series(np.nan, index=table.index) for table in tables]
        is_factor = name in _FACTORS or any(isinstance(part.dtype, pd.CategoricalDtype) for part in parts)
        columns[name] = _united(parts, name) if is_factor else pd.concat(parts, ignore_index=True).array
    return pd.DataFrame(columns, copy=False)


def _united(parts: list[pd.Series], name: str) -> pd.Categorical:
    """One factor of several tables; what is missing in a table is missing in its rows."""
    factors = [
        part.array if isinstance(part.dtype, pd.CategoricalDtype) else pd.Categorical(part) for part in parts
    ]
    levels = dict.fromkeys(level for factor in factors for level in factor.categories)
    in_order = sorted(levels, key=str) if name in _LABELS else list(levels)
    number = {level: index for index, level in enumerate(in_order)}
    # The last place, which code -1 picks, stands for missing.
    places = [np.array([*(number[level] for level in factor.categories), -1]) for factor in factors]
    codes = np.concatenate([place[factor.codes] for place, factor in zip(places, factors, strict=True)])
    return pd.Categorical.from_codes(codes, categories=in_order, ordered=name in ("valence", "medium"))
