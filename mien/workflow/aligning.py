"""Align: the events of a study on the clock of their recordings, and a record of how.

Rows with trial_type "blink" are the cues of the blink method; rows with trial_type "sync" and a `recording_onset` (s of
the recording) are matching times. Both stand in the events table beside the stimuli.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mien.data_prep.blinks import align_by_blinks
from mien.data_prep.clocks import (
    MAX_DRIFT_PPM,
    METHODS,
    Alignment,
    align_by_sync,
    align_by_utc,
    align_same,
    apply,
)
from mien.study.errors import MienError, StudyError
from mien.study.events import Events, write_events
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.motion import read_motion
from mien.study.tables import nearest, read_table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ClockFacts", "align_events", "align_study"]

SYNC_COLUMNS = ("stimulus_s", "recording_s")


class ClockFacts(NamedTuple):
    """What a method needs beside the events and the recording.

    stimulus_start : for utc: when the stimulus clock was 0 (ISO 8601 with its time zone).
    recording_start : for utc: when the first frame was taken; "" takes what the recording's file said.
    uncertainty_ms : for utc: how far apart the two clocks may be.
    sync : for sync: (pair, 2) matching times, s of the stimulus clock and of the recording; None: in the events.
    reaction_s : for blinks: mean time from the cue to the closed eye, s.
    near : for blinks: (smallest, largest) offset to look for, s.
    max_drift_ppm : for blinks: the largest drift to look for.
    """

    stimulus_start: str = ""
    recording_start: str = ""
    uncertainty_ms: float = float("nan")
    sync: np.ndarray | None = None
    reaction_s: float = 0.0
    near: tuple[float, float] | None = None
    max_drift_ppm: float = MAX_DRIFT_PPM


def align_events(
    table: pd.DataFrame,
    recording: "xr.Dataset",
    method: str,
    *,
    facts: ClockFacts | None = None,
    previous: Mapping[str, Any] | None = None,
    where: str = "events",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The events on the recording's clock, and the alignment for their json.

    Raises
    ------
    StudyError
        When the method lacks what it needs, or finds no agreement.
    """
    _check_method(method)
    before = Alignment.from_dict(dict(previous)) if previous else None
    onset = table["onset_stimulus"] if before and "onset_stimulus" in table.columns else table["onset"]
    table = table.assign(onset=onset) if before else table
    try:
        alignment = _alignment(table, recording, method, facts or ClockFacts())
    except MienError as reason:
        raise StudyError(f"{where}: {reason}") from None
    return apply(table, alignment, previous=before, where=where), alignment.as_dict()


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise StudyError(
            f"clock: expected one of {', '.join(METHODS)}, found {method!r}{nearest(method, METHODS)}."
        )


def _alignment(table: pd.DataFrame, recording: "xr.Dataset", method: str, facts: ClockFacts) -> Alignment:
    if method == "same":
        return align_same()
    if method == "utc":
        start = facts.recording_start or str(recording.attrs.get("start", ""))
        if not facts.stimulus_start or not start:
            raise StudyError(
                "align by utc: expected when both clocks began, found no "
                f"{'recording_start' if facts.stimulus_start else 'stimulus_start'}: give it."
            )
        return align_by_utc(start, facts.stimulus_start, uncertainty_ms=facts.uncertainty_ms)
    if method == "sync":
        pairs = _sync_rows(table) if facts.sync is None else facts.sync
        return align_by_sync(pairs[:, 0], pairs[:, 1])
    cues = _rows_of(table, "blink")["onset"].to_numpy(dtype=np.float64)
    if not len(cues):
        raise StudyError(
            'align by blinks: expected rows with trial_type "blink" for the cues, found none: add them.'
        )
    return align_by_blinks(
        recording, cues, reaction_s=facts.reaction_s, near=facts.near, max_drift_ppm=facts.max_drift_ppm
    )


def _rows_of(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    return (
        table.loc[(table["trial_type"] == kind).fillna(False)]
        if "trial_type" in table.columns
        else table.iloc[:0]
    )


def _sync_rows(table: pd.DataFrame) -> np.ndarray:
    rows = _rows_of(table, "sync")
    if rows.empty or "recording_onset" not in table.columns:
        raise StudyError(
            'align by sync: expected a table of matching times, or rows with trial_type "sync" and a recording_onset '
            "in the events, found neither: give them."
        )
    return rows[["onset", "recording_onset"]].to_numpy(dtype=np.float64)


def align_study(
    study: Study,
    method: str,
    *,
    only: Mapping[str, str] | None = None,
    facts: ClockFacts | None = None,
) -> list[tuple[RecordingId, dict[str, Any]]]:
    """Align the events of the study's recordings; all of them, or none when one fails.

    Parameters
    ----------
    only : labels by "participant", "session", "task", "run"; "" takes every one.
    """
    _check_method(method)
    chosen = [found for found in study.recordings() if _is_chosen(found, only or {})]
    if not chosen:
        raise StudyError(
            f"{study.path}: expected recordings with these labels, found none: see `mien check`."
        )
    if facts and (facts.sync is not None or facts.recording_start) and len(chosen) > 1:
        raise StudyError(
            f"align: expected one recording beside these times, found {len(chosen)}: choose it with --participant, "
            "--session, --task and --run."
        )
    results: list[tuple[RecordingId, Events, pd.DataFrame, dict[str, Any]]] = []
    problems = []
    for recording_id in chosen:
        try:
            events = study.events(recording_id)
            recording = read_motion(study.motion_path(recording_id))
            table, alignment = align_events(
                events.table,
                recording,
                method,
                facts=facts,
                previous=events.alignment,
                where=str(events.path),
            )
            results.append((recording_id, events, table, alignment))
        except MienError as reason:
            problems.append(str(reason))
    if problems:
        raise StudyError("\n".join(problems))
    for _, events, table, alignment in results:
        write_events(table, events.path, alignment)
    return [(recording_id, alignment) for recording_id, _, _, alignment in results]


def _is_chosen(recording_id: RecordingId, only: Mapping[str, str]) -> bool:
    prefixes = {"participant": "sub-", "session": "ses-", "task": "task-", "run": "run-"}
    return all(
        not only.get(name) or getattr(recording_id, name) == only[name].removeprefix(prefix)
        for name, prefix in prefixes.items()
    )


def read_sync(path: Path) -> np.ndarray:
    """Matching times from a table with the columns stimulus_s and recording_s: (pair, 2), s."""
    table = read_table(path, required=SYNC_COLUMNS, numeric=SYNC_COLUMNS)
    return table[list(SYNC_COLUMNS)].to_numpy(dtype=np.float64)
