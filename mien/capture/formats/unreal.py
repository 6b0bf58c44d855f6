"""Unreal's own writer of ARKit curves (AppleARKitFaceSupport), as CSV and as JSON.

CSV: `Timecode, FrameRate, EyeBlinkLeft, …` with comma and space, timecodes `H:M:S:F` unpadded, three decimals.
JSON: `{"Frames": [{"TimeCode": {"Hours", "Minutes", "Seconds", "Frames"}, "FrameRate": …, "EyeBlinkLeft": …}]}`.
Timecodes count whole frames, so time is known to one frame, and two frames may share one (the second is left out).
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from mien.capture.formats.assemble import RATES, Frames, assemble
from mien.capture.formats.delimited import (
    check_twice,
    first_line,
    numbers,
    read_table,
    row_place,
    shape_columns,
    words,
)
from mien.capture.formats.source import Source
from mien.capture.formats.timecode import Line, clock_seconds, frame_base, parse_timecodes
from mien.study.blend_shapes import NAMES, canonical_names
from mien.study.errors import RecordingError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["read_unreal_csv", "read_unreal_json", "sniff_unreal_csv", "sniff_unreal_json"]

HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
TIME_PARTS = ("Hours", "Minutes", "Seconds", "Frames")


def sniff_unreal_csv(head: bytes, path: Path) -> bool:
    """A header that begins with `Timecode, FrameRate`."""
    header = [name.strip().lower() for name in first_line(head).split(",")]
    return "timecode" in header and "framerate" in header


def read_unreal_csv(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """Unreal's CSV → Recording."""
    table = read_table(source, text=("timecode",))
    places = shape_columns(table, NAMES)
    lower = [name.lower() for name in table.header]

    def line(row: int) -> str:
        return row_place(source, row)

    head = [lower.index(name.lower()) for name in HEAD if name.lower() in lower]
    frame_rate = numbers(table, [lower.index("framerate")], dtype=np.float64)[:, 0]
    return _recording(
        source,
        "unreal-csv",
        words(table, lower.index("timecode")),
        frame_rate,
        numbers(table, list(places.values())),
        numbers(table, head) if len(head) == len(HEAD) else None,
        line,
    )


def _recording(
    source: Source,
    format: str,
    texts: pa.Array,
    frame_rate: np.ndarray,
    activation: np.ndarray,
    head: np.ndarray | None,
    line: Line,
) -> "xr.Dataset":
    timecodes = parse_timecodes(texts, line)
    wrong = np.flatnonzero(
        ~((frame_rate >= RATES[0]) & (frame_rate <= RATES[1])) | (frame_rate != frame_rate[0])
    )
    if len(wrong):
        row = int(wrong[0])
        raise RecordingError(
            f"{line(row)}, FrameRate: expected one rate of {RATES[0]:g} to {RATES[1]:g} frames a second "
            "throughout, "
            f"found {frame_rate[row]:g}: use the original file, one take a file."
        )
    base = round(float(frame_rate[0]))
    if timecodes.frames.max() >= base:  # the rate is the take's, the timecode counts at another
        base = frame_base(timecodes)
    frames = Frames(clock_seconds(timecodes, base, line), activation, NAMES, head)
    return assemble(source, frames, format, start=str(texts[0].as_py()).strip())


def sniff_unreal_json(head: bytes, path: Path) -> bool:
    """An object with a list `Frames`."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") and b'"Frames"' in head


def read_unreal_json(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """Unreal's JSON → Recording."""
    frames = _frames(source)
    names = list(frames[0])
    shapes = canonical_names(names)
    missing = [name for name in NAMES if name not in shapes.values()]
    if missing:
        raise RecordingError(
            f"{source.name}, frame 1: expected all {len(NAMES)} blend shapes, but {', '.join(missing[:8])} "
            f"{'is' if len(missing) == 1 else 'are'} missing: use the original file."
        )
    check_twice(list(shapes.values()), f"{source.name}, frame 1")
    spelling = {shape: name for name, shape in shapes.items()}
    head = HEAD if all(name in frames[0] for name in HEAD) else ()
    columns = ["FrameRate", *(spelling[name] for name in NAMES), *head]
    values = np.array(
        [_row(frame, columns, f"{source.name}, frame {n}") for n, frame in enumerate(frames, 1)]
    )
    texts = pa.array([_timecode(frame, f"{source.name}, frame {n}") for n, frame in enumerate(frames, 1)])
    last = 1 + len(NAMES)
    return _recording(
        source,
        "unreal-json",
        texts,
        values[:, 0],
        values[:, 1:last].astype(np.float32),
        values[:, last:].astype(np.float32) if head else None,
        lambda row: f"{source.name}, frame {row + 1}",
    )


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise RecordingError(f"found {counts.most_common(1)[0][0]} twice in one frame: remove one of them")
    return found


def _frames(source: Source) -> list[Mapping[str, object]]:
    try:
        document = json.loads(source.content.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as reason:
        raise RecordingError(
            f"{source.name}: expected UTF-8 text, found other bytes at {reason.start:,}: use the original."
        ) from None
    except json.JSONDecodeError as reason:
        raise RecordingError(
            f"{source.name}, line {reason.lineno}: expected whole JSON, but {reason.msg}: the file was cut "
            "short or edited; "
            "use the original."
        ) from None
    except (RecursionError, ValueError, RecordingError) as reason:
        raise RecordingError(f"{source.name}: expected Unreal's JSON, but {reason}.") from None
    frames = document.get("Frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise RecordingError(
            f"{source.name}: expected a list `Frames` of at least one frame, found none: the recording is "
            "empty or is not "
            "Unreal's; name another file."
        )
    return frames


def _row(frame: Mapping[str, object], columns: list[str], where: str) -> list[float]:
    row = [frame.get(name) for name in columns]
    for name, value in zip(columns, row, strict=True):
        if not _finite(value):
            raise RecordingError(
                f"{where}, {name}: expected a finite number, found {str(value)[:40]!r}: use the original."
            )
    return cast("list[float]", row)


def _finite(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e30
        and math.isfinite(value)
    )


def _timecode(frame: Mapping[str, object], where: str) -> str:
    parts = frame.get("TimeCode")
    values = [parts.get(name) for name in TIME_PARTS] if isinstance(parts, dict) else [None]
    if not all(_finite(value) and 0 <= cast(float, value) < 1000 for value in values):
        raise RecordingError(
            f"{where}, TimeCode: expected {', '.join(TIME_PARTS)}, found {str(parts)[:60]}: use the original."
        )
    return ":".join(f"{int(cast(float, value))}" for value in values)
