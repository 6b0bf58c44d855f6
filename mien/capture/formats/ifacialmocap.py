"""iFacialMocap and Facemotion3d: UDP text, one packet a line, as receivers log it.

    name-INT|name-INT|…|=head#rx,ry,rz,px,py,pz|rightEye#x,y,z|leftEye#x,y,z|

Integers 0-100; version 2 and Facemotion3d write `&` for `-`; order is arbitrary; extra fields (`hapihapi`, …) occur;
`trackingStatus-0` is a frame without a face. Head angles are pitch, yaw, roll in degrees. The packets carry **no
time**: a receiver's clock in front of each line is used (`12.345|…`, seconds or ms since anything, or ISO 8601), and
without one the log is refused unless the user gives a rate, which is stored as assumed.
"""

import math
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.capture.formats.assemble import Frames, assemble, check_rate, pick_seconds
from mien.capture.formats.delimited import first_line
from mien.capture.formats.source import Source
from mien.study.blend_shapes import NAMES, canonical_names
from mien.study.errors import RecordingError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["read_ifacialmocap", "sniff_ifacialmocap"]

NAME = "ifacialmocap"
# All repeats are bounded: an unbounded one can take quadratic time on a hostile line
RECEIVED = re.compile(r"(?P<time>\d[-\d:.T+Z]{0,39})[|,;\t ]\s{0,3}(?=[A-Za-z=])")
FIELD = re.compile(r"(?P<name>[A-Za-z]\w*)\s*[-&]\s*(?P<value>[^|]*)")
FIELD_BYTES = re.compile(rb"[A-Za-z]\w{0,40}[-&]-?[0-9.]{1,20}\|")
PITCH_YAW_ROLL_TO_YAW_PITCH_ROLL = [1, 0, 2]


class _Line(NamedTuple):
    received: float | None
    values: np.ndarray  # (52,) 0-1, NaN without a face
    head: np.ndarray  # (3,) yaw, pitch, roll in radians, NaN where the line has none


def sniff_ifacialmocap(head: bytes, path: Path) -> bool:
    """Fields `name-INT|` with at least ten blend shapes in the first line."""
    line = first_line(head)
    if "|" not in line or not FIELD_BYTES.search(head):
        return False
    names = [re.split("[-&]", field, maxsplit=1)[0].strip() for field in line.split("|")[:200]]
    return len(canonical_names(names)) >= 10


def read_ifacialmocap(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """A log → Recording; `rate` (Hz) only for logs without receive times."""
    shapes: dict[str, str | None] = {}
    lines = [
        _read_line(text, f"{source.name}, line {number}", shapes)
        for number, text in enumerate(_text(source).split("\n"), 1)
        if text.strip()
    ]
    time, notes = _times(lines, source, rate)
    untracked = sum(bool(np.isnan(line.values).all()) for line in lines)
    notes += (f"{untracked} frame{'s' if untracked > 1 else ''} without a face",) if untracked else ()
    frames = Frames(time, np.stack([line.values for line in lines]), NAMES, _heads(lines), notes)
    return assemble(source, frames, NAME, nominal_rate=rate if lines[0].received is None else None)


def _text(source: Source) -> str:
    try:
        return source.content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as reason:
        line = source.content.count(b"\n", 0, reason.start) + 1
        raise RecordingError(
            f"{source.name}, line {line}: expected UTF-8 text, found the byte "
            f"0x{source.content[reason.start]:02x}: "
            "use the original log."
        ) from None


def _read_line(text: str, where: str, known: dict[str, str | None]) -> _Line:
    text = text.strip()
    received = RECEIVED.match(text)
    values = np.full(len(NAMES), np.nan)
    head = np.full(3, np.nan)
    tracked = True
    for part in text[received.end() if received else 0 :].split("|"):
        field = part.strip().lstrip("=").strip()
        if field.startswith("head#"):
            head = _angles(field, where)
        elif field and "#" not in field:
            name, value = _field(field, where)
            if name == "trackingStatus":
                tracked = value != 0
            _store(values, name, value, where, known)
    missing = [name for name, value in zip(NAMES, values, strict=True) if math.isnan(value)]
    if missing:
        raise RecordingError(
            f"{where}: expected all {len(NAMES)} blend shapes, but {', '.join(missing[:8])} "
            f"{'is' if len(missing) == 1 else 'are'} missing: the packet was cut short; delete this line "
            "or use the original log."
        )
    if not tracked:
        values[:], head = np.nan, np.full(3, np.nan)
    return _Line(_received(received.group("time"), where) if received else None, values / 100, head)


def _field(field: str, where: str) -> tuple[str, float]:
    match = FIELD.fullmatch(field)
    try:
        name, value = (match["name"], float(match["value"])) if match else ("", math.nan)
    except ValueError:
        name, value = "", math.nan
    if not abs(value) < 1e6:
        raise RecordingError(
            f"{where}: expected fields such as jawOpen-12, found {field[:40]!r}: use the original log."
        )
    return name, value


def _store(values: np.ndarray, name: str, value: float, where: str, known: dict[str, str | None]) -> None:
    if name not in known:
        known[name] = canonical_names([name]).get(name)
    shape = known[name]
    if shape is None:
        return
    place = NAMES.index(shape)
    if not math.isnan(values[place]):
        raise RecordingError(
            f"{where}: expected each blend shape once, found {shape} twice: use the original log."
        )
    values[place] = value


def _angles(field: str, where: str) -> np.ndarray:
    try:
        angles = np.array([float(number) for number in field.removeprefix("head#").split(",")][:3])
    except ValueError:
        angles = np.array([])
    if len(angles) != 3 or not (np.abs(angles) < 1e4).all():
        raise RecordingError(
            f"{where}: expected head#rx,ry,rz,… in degrees, found {field[:60]!r}: use the original log."
        )
    return np.radians(angles)[PITCH_YAW_ROLL_TO_YAW_PITCH_ROLL]


def _received(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise RecordingError(
            f"{where}: expected a receive time in seconds or ISO 8601, found {text[:40]!r}: correct the log."
        ) from None


def _times(lines: list[_Line], source: Source, rate: float | None) -> tuple[np.ndarray, tuple[str, ...]]:
    received = [line.received for line in lines if line.received is not None]
    if received and len(received) < len(lines):
        row = next(
            number
            for number, line in enumerate(lines)
            if (line.received is None) != (lines[0].received is None)
        )
        raise RecordingError(
            f"{source.name}, packet {row + 1}: expected a receive time in front of every line or of none, "
            "found both: "
            "use the original log."
        )
    if not received:
        assumed = check_rate(rate, source, "iFacialMocap sends no time, and the log has no receive times")
        return np.arange(len(lines)) / assumed, (
            f"time assumed: {assumed:g} frames a second by --rate, none lost",
        )
    stamps = np.array(received)
    back = np.flatnonzero(np.diff(stamps) < 0)
    if len(back):
        raise RecordingError(
            f"{source.name}, packet {back[0] + 2}: expected receive times that increase, but this one is "
            "before the one "
            "above it: use the original log, one recording a file."
        )
    time, unit = pick_seconds(stamps, source)
    return time, (f"time is the receiver's clock ({unit}), with the network's jitter",)


def _heads(lines: list[_Line]) -> np.ndarray | None:
    heads = np.stack([line.head for line in lines])
    return None if np.isnan(heads).all() else heads
