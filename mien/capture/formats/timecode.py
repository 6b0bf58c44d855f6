"""Timecodes `HH:MM:SS:FF.sss` ↔ seconds. `.sss` is thousandths **of a frame**, not milliseconds.

on paper                 in code          meaning
second of the day        seconds          HH·3600 + MM·60 + SS
frame within the second  frames           FF.sss
frames a second          base             60 in Live Link Face, also for a 30 fps take (FF then steps by 2)
t                        seconds + frames / base

The base is not written in the file, so it is inferred: the right one makes the step over a full second the same as
the steps within it. Time runs on over midnight; any other step back is an error.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mien.study.errors import RecordingError

__all__ = [
    "LIVE_LINK_BASE",
    "Timecodes",
    "clock_seconds",
    "format_timecodes",
    "frame_base",
    "parse_timecodes",
]

LIVE_LINK_BASE = 60
BASES = (60, 24, 25, 30, 48, 50, 90, 100, 120, 240)  # the most likely first: it wins a draw
DAY = 86_400
MIDNIGHT_GAP = 3_600  # s; a step back that this much of a gap over midnight explains is midnight
PATTERN = r"^\s*(?P<h>[0-9]{1,2}):(?P<m>[0-9]{1,2}):(?P<s>[0-9]{1,2}):(?P<f>[0-9]{1,3}(?:\.[0-9]{1,9})?)\s*$"
Line = Callable[[int], str]  # row → where it is, for a message


class Timecodes(NamedTuple):
    """Parsed timecodes, both (frames,)."""

    seconds: np.ndarray  # int64, of the day
    frames: np.ndarray  # float64, within the second


def parse_timecodes(texts: pa.Array, line: Line) -> Timecodes:
    """Parse a column of timecodes.

    Raises
    ------
    RecordingError
        Naming the first row that is no timecode.
    """
    parts = pc.call_function("extract_regex", [texts], pc.ExtractRegexOptions(PATTERN))
    bad = np.flatnonzero(~np.asarray(parts.is_valid()))
    if not len(bad):
        fields = [parts.field(name) for name in "hms"]
        hours, minutes, seconds = (np.asarray(pc.cast(field, pa.int64())) for field in fields)
        frames = np.asarray(pc.cast(parts.field("f"), pa.float64()))
        bad = np.flatnonzero((hours >= 24) | (minutes >= 60) | (seconds >= 60) | (frames >= max(BASES)))
        if not len(bad):
            return Timecodes(hours * 3600 + minutes * 60 + seconds, frames)
    row = int(bad[0])
    raise RecordingError(
        f"{line(row)}: expected a timecode HH:MM:SS:FF.sss, found {str(texts[row].as_py())[:40]!r}: use "
        "the original file."
    )


def frame_base(timecodes: Timecodes) -> int:
    """Frames a second of the FF field: the base with which steps over a full second are as the others."""
    seconds, frames = timecodes
    possible = [base for base in BASES if base > frames.max()]
    crossing = np.flatnonzero(np.diff(seconds) == 1)
    within = np.diff(frames)[np.diff(seconds) == 0]
    if not len(crossing) or not len(within):
        return possible[0]
    step = float(np.median(within))
    over = frames[crossing + 1] - frames[crossing]
    return max(possible, key=lambda base: np.mean(np.abs(over + base - step) < max(step, 0.5) / 2))


def clock_seconds(timecodes: Timecodes, base: float, line: Line) -> np.ndarray:
    """Seconds of the clock, running on over midnight; float64 (frames,).

    Raises
    ------
    RecordingError
        Naming the first row that goes back.
    """
    clock = timecodes.seconds + timecodes.frames / base
    steps = np.diff(clock)
    midnight = steps < MIDNIGHT_GAP - DAY
    back = np.flatnonzero((steps < 0) & ~midnight)
    if len(back):
        row = int(back[0]) + 1
        raise RecordingError(
            f"{line(row)}: expected timecodes that increase, but this one is {-steps[back[0]]:.3f} s "
            "before the one "
            "above it: the file was edited or joined; use the original, one file a take."
        )
    clock[1:] += DAY * np.cumsum(midnight)
    return clock


def format_timecodes(seconds: np.ndarray, base: int = LIVE_LINK_BASE) -> np.ndarray:
    """Timecodes of `seconds` of the day as bytes, uint8 (frames, 15); resolution 1/1000 frame (17 µs)."""
    ticks = np.rint(np.asarray(seconds) * base * 1000).astype(np.int64) % (DAY * base * 1000)
    second, tick = np.divmod(ticks, base * 1000)
    text = np.empty((len(ticks), 15), np.uint8)
    text[:] = np.frombuffer(b"HH:MM:SS:FF.sss", np.uint8)
    fields = ((0, 2, second // 3600), (3, 2, second // 60 % 60), (6, 2, second % 60), (9, 2, tick // 1000))
    for start, width, values in (*fields, (12, 3, tick % 1000)):
        for place in range(width):
            text[:, start + place] = ord("0") + values // 10 ** (width - 1 - place) % 10
    return text
