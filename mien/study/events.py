"""Events: which stimulus was shown when, one row a presentation.

`onset` and `duration` are seconds; the onset is on the recording's clock once the events are aligned, and
`onset_stimulus` then keeps the stimulus computer's. How they were aligned stands in the events json under
"ClockAlignment"; without it the events count as unaligned.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.tables import cell, nearest, numbers_where_possible, read_json, read_table, write_table
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
    table = numbers_where_possible(table, keep=("stimulus_id", "trial_type"), where=path)
    sidecar = path.with_suffix(".json")
    alignment = read_json(sidecar).get(ALIGNMENT) if sidecar.exists() else None
    if not isinstance(alignment, dict | None):
        raise StudyError(
            f"{sidecar}: expected {ALIGNMENT} to be a JSON object, found {alignment!r}: run `mien align` again."
        )
    return Events(validate_events(table, where=str(path)), alignment or None, path)


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
    for name in ("onset", "duration"):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise StudyError(
                f"{where}, column {name}: expected numbers (s), found {table[name].dtype}: convert it."
            )
    for row, (onset, duration) in enumerate(zip(table["onset"], table["duration"], strict=True)):
        if not np.isfinite(onset):
            raise StudyError(
                f"{cell(where, row, 'onset')}: expected seconds, found {onset}: correct the cell."
            )
        if duration < 0 or np.isinf(duration):
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
    """Write the table and its json; `alignment` None writes unaligned events.

    What the json said before about other columns stays. The file that makes the events count as aligned is written
    last, so that a stop in between never makes unaligned events look aligned.
    """
    sidecar = path.with_suffix(".json")
    before = read_json(sidecar) if sidecar.exists() else {}
    content = {**before, **_descriptions(table, before, aligned=bool(alignment))}
    content.pop(ALIGNMENT, None)
    if alignment:
        content[ALIGNMENT] = {name: _finite(value) for name, value in alignment.items()}
        write_table(table, path)
    write_whole(sidecar, json.dumps(content, indent=2, allow_nan=False) + "\n")
    if not alignment:
        write_table(table, path)


def _finite(value: Any) -> Any:
    """JSON has no NaN: an unknown number is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _descriptions(table: pd.DataFrame, before: dict[str, Any], *, aligned: bool) -> dict[str, Any]:
    clock = "on the recording's clock" if aligned else "on the stimulus computer's clock: not aligned yet"
    descriptions: dict[str, Any] = {
        "onset": {"Description": f"onset of the stimulus, {clock}", "Units": "s"},
        "duration": {"Description": "how long the stimulus was shown", "Units": "s"},
        "stimulus_id": {"Description": "identifier of the stimulus, see stimuli/stimuli.tsv"},
    }
    if "onset_stimulus" in table.columns:
        descriptions["onset_stimulus"] = {
            "Description": "onset on the stimulus computer's clock, as it was recorded",
            "Units": "s",
        }
    for name in map(str, table.columns):
        if name not in OWN_COLUMNS and name not in before:
            kind = "rating" if name.startswith("rating") else "condition or response"
            descriptions[name] = {"Description": f"{kind} of the trial"}
    return descriptions
