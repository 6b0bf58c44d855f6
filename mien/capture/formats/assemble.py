"""From a reader's arrays to a Recording: repeated frames settled, a head that is missing left out, notes kept.

Whatever is left out is counted and said, in the attribute `warnings` (lines of text, no names of people in them).
A frame whose time is the same as the one before (a repeated row, a packet sent twice) carries no time of its own and
is left out; where more than a tenth are such, the clock is not the frames' clock and the file is refused.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.capture.formats.source import Source
from mien.study.errors import RecordingError
from mien.study.recording import make_recording

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MAX_REPEATED", "Frames", "assemble", "check_rate", "pick_seconds"]

MAX_REPEATED = 0.1
MAX_GAP = 3_600.0  # s without a frame: more is not one recording
RATES = (1.0, 1000.0)  # Hz that a camera can have
# A clock's unit, from the median step between frames (2-500 Hz), as many seconds as one unit
UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
FASTEST, SLOWEST = 0.002, 0.5


class Frames(NamedTuple):
    """What a reader found, in order of time."""

    time: np.ndarray  # (frames,) s, not decreasing
    activation: np.ndarray  # (frames, shapes)
    shapes: Sequence[str]
    head: np.ndarray | None = None  # (frames, 3) yaw, pitch, roll; radians
    notes: tuple[str, ...] = ()


def assemble(
    source: Source,
    frames: Frames,
    format: str,
    *,
    tracker: str = "arkit",
    start: str = "",
    nominal_rate: float | None = None,
) -> "xr.Dataset":
    """The Recording of `frames`; `warnings` in its attributes tells what was left out."""
    time, activation, shapes, head, notes = frames
    new = np.concatenate([[True], np.diff(time) > 0])
    repeated = len(time) - int(new.sum())
    if repeated > max(1, MAX_REPEATED * len(time)):
        raise RecordingError(
            f"{source.name}: expected a new time for each frame, but {repeated:,} of {len(time):,} repeat "
            "the time before "
            "them (two faces in one file, or a clock coarser than the frames): record one face a file."
        )
    gaps = np.diff(time)
    if len(gaps) and gaps.max() > MAX_GAP:
        raise RecordingError(
            f"{source.name}: expected one recording, found {gaps.max() / 3600:.1f} h without a frame after "
            "frame "
            f"{int(gaps.argmax()) + 1:,}: keep one recording a file."
        )
    notes = (*source.notes, *notes)
    if repeated:
        notes += (f"{repeated} repeated frame{'s' if repeated > 1 else ''} left out",)
        time, activation = time[new], activation[new]
        head = None if head is None else head[new]
    if head is not None and not np.any(np.nan_to_num(head)):
        head = None  # exactly 0 throughout: the app did not send the head
    recording = make_recording(
        time,
        activation,
        shapes,
        head=head,
        format=format,
        tracker=tracker,
        nominal_rate=nominal_rate,
        start=start,
        calibrated=source.calibrated,
        where=source.name,
    )
    recording.attrs["warnings"] = "\n".join(notes)
    return recording


def check_rate(rate: float | None, source: Source, what: str) -> float:
    """The rate (Hz) that the user assumes for a file without a clock."""
    if rate is None:
        raise RecordingError(
            f"{source.name}: expected a time for each frame, found none ({what}): "
            "say the frames a second with --rate HZ; it is stored as assumed."
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise RecordingError(
            f"expected a rate of {RATES[0]:g} to {RATES[1]:g} Hz, found {rate:g}: correct --rate."
        )
    return float(rate)


def pick_seconds(stamps: np.ndarray, source: Source) -> tuple[np.ndarray, str]:
    """Times in seconds from stamps of an unknown unit, and the unit, told by the median step."""
    stamps = stamps - stamps[0]
    steps = np.diff(stamps)
    steps = steps[steps > 0]
    step = float(np.median(steps)) if len(steps) else 1 / 60
    for unit, seconds in UNITS.items():
        if FASTEST <= step * seconds <= SLOWEST:
            return stamps * seconds, unit
    raise RecordingError(
        f"{source.name}: expected times of frames in s, ms, µs or ns (2 to 500 frames a second), found a "
        "median step of "
        f"{step:g}: name the unit in the column (time_s, timestamp_ms) or correct the clock."
    )
