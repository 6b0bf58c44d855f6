"""Tables of MediaPipe's Face Landmarker: `_neutral` and 51 shapes in lowerCamelCase, no tongueOut.

Not ARKit: cheekPuff, noseSneer and cheekSquint stay near 0, and values mean something else, so the Recording says
tracker "mediapipe" and fits refuse to pool the two unasked. Time is a column `timestamp_ms`, `time_s`, `timestamp`
(unit told by the median step) or, with a rate, `frame`. Empty rows are frames without a face.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.capture.formats.assemble import Frames, assemble, check_rate, pick_seconds
from mien.capture.formats.delimited import Table, first_line, numbers, read_table, row_place, shape_columns
from mien.capture.formats.source import Source
from mien.study.blend_shapes import NAMES, canonical_names
from mien.study.errors import RecordingError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MEDIAPIPE_SHAPES", "read_mediapipe", "sniff_mediapipe"]

NAME = "mediapipe"
NEUTRAL = "_neutral"
MEDIAPIPE_SHAPES = tuple(name for name in NAMES if name != "tongueOut")
# Time columns, in lower case, and the seconds in one unit; None: told by the median step
TIME_COLUMNS = {
    "timestamp_ms": 1e-3, "time_ms": 1e-3, "timestamp_us": 1e-6, "time_us": 1e-6, "timestamp_s": 1.0, "time_s": 1.0,
    "seconds": 1.0, "timestamp": None, "time": None,
}  # fmt: skip
FRAME_COLUMNS = ("frame", "frame_number", "frame_index")


def sniff_mediapipe(head: bytes, path: Path) -> bool:
    """A header with `_neutral` or ten shapes in lowerCamelCase."""
    header = [name.strip() for name in first_line(head).replace(";", ",").replace("\t", ",").split(",")]
    if any(name.lower() in ("timecode", "framerate") for name in header):
        return False
    lower = [name for name in canonical_names(header) if name[:1].islower()]
    return len(lower) >= 10 or (NEUTRAL in header and len(lower) > 0)


def read_mediapipe(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """A table → Recording of tracker "mediapipe"; `rate` (Hz) only for tables that count frames."""
    table = read_table(source, whole=False)
    if NEUTRAL not in table.header or "tongueOut" in canonical_names(table.header).values():
        raise RecordingError(
            f"{source.name}, line 1: expected MediaPipe's `_neutral` and 51 shapes without tongueOut (or a "
            "format with "
            "timecodes), found other columns: mien cannot tell which tracker made this; use the tracker's "
            "own file."
        )
    places = shape_columns(table, MEDIAPIPE_SHAPES)
    time, notes = _times(table, rate)
    extra = len(table.header) - len(MEDIAPIPE_SHAPES) - 2
    notes += (f"{extra} further column{'s' if extra > 1 else ''} not kept",) if extra > 0 else ()
    activation = numbers(table, list(places.values()))
    frames = Frames(time, activation, MEDIAPIPE_SHAPES, None, notes)
    return assemble(source, frames, NAME, tracker="mediapipe")


def _times(table: Table, rate: float | None) -> tuple[np.ndarray, tuple[str, ...]]:
    lower = [name.lower() for name in table.header]
    named = next((name for name in TIME_COLUMNS if name in lower), None)
    counted = next((name for name in FRAME_COLUMNS if name in lower), None)
    if named is None and counted is None:
        raise RecordingError(
            f"{table.source.name}, line 1: expected a column timestamp_ms, time_s or timestamp (or frame, "
            "with --rate HZ), "
            "found none: add the times that MediaPipe was called with."
        )
    stamps = _filled(table, lower.index(named or counted or ""))
    back = np.flatnonzero(np.diff(stamps) < 0)
    if len(back):
        raise RecordingError(
            f"{row_place(table.source, int(back[0]) + 1)}: expected times that increase, but this one is "
            "before the one "
            "above it: use the original table, one recording a file."
        )
    if named is None:
        assumed = check_rate(rate, table.source, "the table counts frames but has no times")
        return stamps / assumed, (f"time assumed: {assumed:g} frames a second by --rate",)
    unit = TIME_COLUMNS[named]
    if unit is None:
        seconds, found = pick_seconds(stamps, table.source)
        return seconds, (f"column {named} taken as {found}, from its steps",)
    return stamps * unit, ()


def _filled(table: Table, index: int) -> np.ndarray:
    """A time column, in which no cell may be empty."""
    stamps = numbers(table, [index], dtype=np.float64)[:, 0]
    if np.isnan(stamps).any():
        row = int(np.flatnonzero(np.isnan(stamps))[0])
        raise RecordingError(
            f"{row_place(table.source, row)}, column {table.header[index]}: expected a time, found an "
            "empty cell: fill it in."
        )
    return stamps
