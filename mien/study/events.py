"""Events: which stimulus was shown when, one row a presentation.

`onset` and `duration` are seconds; the onset is on the recording's clock once the events are aligned, and
`onset_stimulus` then keeps the stimulus computer's. How they were aligned stands in the events json under
"ClockAlignment"; without it the events count as unaligned.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.participants import numbers_where_possible
from mien.study.tables import cell, nearest, read_table, read_text, write_table
from mien.study.trials import RESERVED

__all__ = ["Events", "read_events", "validate_events", "write_events"]

EVENT_COLUMNS = ("onset", "duration", "stimulus_id")
OWN_COLUMNS = (*EVENT_COLUMNS, "onset_stimulus", "trial_type", "sample", "response_time", "HED")
ALIGNMENT = "ClockAlignment"


class Events(NamedTuple):
    """An events table, how its clock was aligned (None: it was not), and the file it came from."""

    table: pd.DataFrame
    alignment: dict[str, Any] | None
    path: Path


def read_events(path: Path) -> Events:
    """Read `…_events.tsv` and, where it is there, its json.

    Rows without a stimulus_id (fixation crosses, cues) are kept in the table; preparation skips and counts them.
    """
    if not path.exists():
        raise StudyError(
            f"{path}: expected the events of this recording, found none: give them to `mien import`."
        )
    table = read_table(path, required=EVENT_COLUMNS, numeric=("onset", "duration", "onset_stimulus"))
    table = numbers_where_possible(table, keep=("stimulus_id", "trial_type"))
    sidecar = path.with_suffix(".json")
    alignment = _read_json(sidecar).get(ALIGNMENT) if sidecar.exists() else None
    return Events(validate_events(table, where=str(path)), alignment, path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as reason:
        raise StudyError(
            f"{path}, line {reason.lineno}: expected JSON, but {reason.msg}: correct it."
        ) from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: expected a JSON object, found {type(content).__name__}: correct it.")
    return content


def validate_events(table: pd.DataFrame, *, where: str = "events") -> pd.DataFrame:
    """Return the events unchanged, or say what is wrong.

    Raises
    ------
    StudyError
        For a missing column, a missing or infinite onset, a negative duration, a reserved column name.
    """
    missing = [name for name in EVENT_COLUMNS if name not in table.columns]
    if missing:
        raise StudyError(
            f"{where}: expected the columns {', '.join(EVENT_COLUMNS)}, found no {', '.join(missing)}."
        )
    if table.empty:
        raise StudyError(
            f"{where}: expected one row a presented stimulus, found only the header: fill it in."
        )
    for row, (onset, duration) in enumerate(zip(table["onset"], table["duration"], strict=True)):
        if not np.isfinite(onset):
            raise StudyError(
                f"{cell(where, row, 'onset')}: expected seconds, found {onset}: correct the cell."
            )
        if duration < 0:
            raise StudyError(
                f"{cell(where, row, 'duration')}: expected 0 s or more, found {duration}: correct the cell."
            )
    reserved = [name for name in table.columns if name in RESERVED and name not in OWN_COLUMNS]
    if reserved:
        raise StudyError(
            f"{where}, line 1: expected rating and condition columns under names of their own, found the reserved "
            f"name {reserved[0]!r}: rename it, e.g. condition_{reserved[0]}."
        )
    return table


def unknown_stimuli(table: pd.DataFrame, stimuli: pd.DataFrame, *, where: str = "events") -> None:
    """Refuse events that name a stimulus which is not in the stimuli table.

    Raises
    ------
    StudyError
    """
    known = set(stimuli["stimulus_id"])
    for row, value in enumerate(table["stimulus_id"]):
        if not pd.isna(value) and value not in known:
            raise StudyError(
                f"{cell(where, row, 'stimulus_id')}: expected a stimulus of stimuli/stimuli.tsv, found {value!r}"
                f"{nearest(value, known)}: correct it or add the stimulus."
            )


def write_events(table: pd.DataFrame, path: Path, alignment: dict[str, Any] | None) -> None:
    """Write the table and its json; `alignment` None writes unaligned events."""
    descriptions: dict[str, Any] = {
        "onset": {
            "Description": "onset of the stimulus, "
            + (
                "on the recording's clock"
                if alignment
                else "on the stimulus computer's clock: not aligned yet"
            ),
            "Units": "s",
        },
        "duration": {"Description": "how long the stimulus was shown", "Units": "s"},
        "stimulus_id": {"Description": "identifier of the stimulus, see stimuli/stimuli.tsv"},
    }
    if "onset_stimulus" in table.columns:
        descriptions["onset_stimulus"] = {
            "Description": "onset on the stimulus computer's clock, as it was recorded",
            "Units": "s",
        }
    for name in table.columns:
        if name not in OWN_COLUMNS:
            kind = "rating" if str(name).startswith("rating") else "condition or response"
            descriptions[str(name)] = {"Description": f"{kind} of the trial"}
    content = {**descriptions, **({ALIGNMENT: alignment} if alignment else {})}
    write_whole(path.with_suffix(".json"), json.dumps(content, indent=2) + "\n")
    write_table(table, path)
