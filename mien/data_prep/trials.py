"""From one Recording and its events to Trials, and from the Trials of all recordings to the study's table.

`prepare_recording` does what one recording is enough for: sides, bins, baseline, correction, and the rules that
look at one trial. `finish` does what needs all trials of a person: outliers, scaling, contrasts, and the counts.
Between the two stands nothing but the table, so recordings can be prepared in parallel, one in memory a worker.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mien.data_prep.baseline import neutral_mean, subtracted
from mien.data_prep.counts import count_by, count_by_shape, count_rows, tally
from mien.data_prep.exclusion import OUTLIER, mark_rows, outliers, overlaps
from mien.data_prep.measure import Measured, measure
from mien.data_prep.recipe import Recipe
from mien.data_prep.scaling import scale_within_person
from mien.data_prep.table import LISTED_DURATION, build_table, put_together
from mien.data_prep.windows import Windows, windows_of
from mien.study.errors import StudyError
from mien.study.events import unknown_stimuli, validate_events
from mien.study.labels import RecordingId
from mien.study.recording import RecordingArrays, arrays_of
from mien.study.tables import cell
from mien.study.trials import MEDIA, VALENCES, contrast, validate_trials

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Prepared", "across_trials", "check_clock", "count_trials", "decide", "finish", "prepare_recording", "shown_trials",
]  # fmt: skip

UNLIKE_STIMULUS = 0.5  # s: an event whose duration differs from its stimulus' by more is counted


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
    return int(np.count_nonzero(events["stimulus_id"].notna()))


def prepare_recording(
    recording: "xr.Dataset | RecordingArrays",
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
    recording : a Recording, or its arrays; frozen stretches count as not tracked.
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
    check_clock(recipe, aligned=aligned, where=where)
    arrays = arrays_of(recording)
    trials = shown_trials(events, stimuli, arrays, where=where)
    plan = windows_of(trials, recipe, task=recording_id.task, where=where)
    measured = measure(arrays, plan, sides=recipe.sides, where=where)
    activation, codes = decide(measured, plan, trials, recipe, recording=arrays, where=where)
    constant = {**recording_id._asdict(), "tracker": str(arrays.attrs["tracker"])}
    table = build_table(measured, plan, trials, activation=activation, codes=codes, constant=constant)
    table["trial"] += np.int32(first_trial)
    facts: dict[str, Any] = {
        "recording": dict(recording_id._asdict()),
        "clock": "aligned" if aligned else "assumed",
        "other_events": len(events) - len(trials),
    }
    return Prepared(table, facts | _facts(arrays, measured, plan, trials) | count_rows(tally(table)))


def check_clock(recipe: Recipe, *, aligned: bool, where: str) -> None:
    """Refuse events that nobody aligned, unless the recipe takes them."""
    if not aligned and recipe.clock != "assume_aligned":
        raise StudyError(
            f"{where}: expected events aligned to the recording's clock, found none: run `mien align`, or write "
            'clock = "assume_aligned" in the recipe, which every report will mention.'
        )


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
    trials = put_together([tables] if isinstance(tables, pd.DataFrame) else list(tables))
    trials = across_trials(trials, recipe)
    counted = tally(trials)
    counts: dict[str, Any] = {"recipe_sha256": recipe.sha256, **count_rows(counted)}
    for name, columns in COUNTED_BY.items():
        counts[name] = count_by(counted, columns)
    counts["by_blend_shape"] = count_by_shape(counted)
    counts["contrasts"] = []
    if recipe.contrasts:
        combined = contrast(trials, recipe.contrasts)
        for name, rows in combined.groupby("blend_shape", observed=False):
            kept = int(np.count_nonzero(rows["excluded"] == ""))
            counts["contrasts"].append({"blend_shape": str(name), "rows": len(rows), "rows_kept": kept})
        trials = put_together([trials, combined])
    return validate_trials(trials), counts


def across_trials(trials: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """What needs all trials of a person: outliers marked, activation scaled."""
    if recipe.exclusion.outlier_mad is not None:
        far = outliers(trials, recipe.exclusion.outlier_mad)
        trials = trials.assign(excluded=trials["excluded"].mask(far, OUTLIER))
    return scale_within_person(trials) if recipe.scaling == "within_person" else trials


def shown_trials(
    events: pd.DataFrame, stimuli: pd.DataFrame, recording: RecordingArrays, *, where: str
) -> pd.DataFrame:
    """The events that show a stimulus, in the order of onsets, with valence, medium and a duration."""
    validate_events(events, where=where)
    unknown_stimuli(events, stimuli, where=where)
    end = float(recording.time[-1])
    shown = events.loc[events["stimulus_id"].notna().to_numpy()]
    if shown.empty:
        raise StudyError(f"{where}: expected at least one event with a stimulus_id, found none: fill it in.")
    onset = events["onset"].to_numpy(dtype=np.float64)
    outside = np.flatnonzero(events["stimulus_id"].notna().to_numpy() & ~((onset >= 0) & (onset <= end)))
    if len(outside):
        row = int(outside[0])
        raise StudyError(
            f"{cell(where, row, 'onset')}: expected an onset within the recording (0 to {end:.3f} s), found "
            f"{onset[row]:g} s: check that these events belong to this recording and are on its clock (mien align)."
        )
    trials = shown.iloc[np.argsort(shown["onset"].to_numpy(), kind="stable")].reset_index(drop=True)
    known = pd.Index(stimuli["stimulus_id"])
    which = known.get_indexer(pd.Index(trials["stimulus_id"]))
    for name, levels in (("valence", VALENCES), ("medium", MEDIA)):
        trials[name] = pd.Categorical(stimuli[name].array[which], categories=levels, ordered=True)
    trials[LISTED_DURATION] = stimuli["duration"].to_numpy(dtype=np.float64)[which]
    trials["duration"] = trials["duration"].fillna(trials[LISTED_DURATION])
    trials["stimulus"] = pd.Categorical.from_codes(which, categories=known)
    return trials


def decide(
    measured: Measured,
    plan: Windows,
    trials: pd.DataFrame,
    recipe: Recipe,
    *,
    recording: RecordingArrays,
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


def _facts(
    recording: RecordingArrays, measured: Measured, plan: Windows, trials: pd.DataFrame
) -> dict[str, Any]:
    time, activation = recording.time, recording.activation
    untracked = np.isnan(activation[np.isnan(activation[:, 0])]).all(axis=1)
    frame = 1.0 / float(recording.attrs["nominal_rate"])
    unlike = (trials["duration"] - trials[LISTED_DURATION]).abs() > UNLIKE_STIMULUS
    return {
        "tracker": str(recording.attrs["tracker"]),
        "duration_s": round(float(time[-1]), 6),
        "frames": len(time),
        "frames_lost": measured.lost,
        "frames_untracked": int(untracked.sum()),
        "frames_frozen": measured.frozen,
        "shapes_missing": list(measured.missing),
        "trials_cut_short": int(np.unique(plan.trial[plan.stop > time[-1] + 1.5 * frame]).size),
        "durations_unlike_stimuli": int(np.count_nonzero(unlike)),
    }
