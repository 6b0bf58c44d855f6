"""XDF, the files of Lab Streaming Layer, through pyxdf: a stream of blend shapes and streams of markers.

The shape stream is the one whose channels are labelled with blend shapes. pyxdf brings all streams to one clock
(ClockOffset chunks); its smoothing of time stamps stays off, because it would close the holes of lost samples.
pyxdf mends damaged files in silence and trusts every length in them, so the chunks are walked first: a file that
is cut or whose lengths do not add up is refused. Stream names, hosts and other descriptions are not kept.
"""

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.capture.formats.assemble import Frames, assemble
from mien.capture.formats.delimited import check_twice
from mien.capture.formats.mediapipe import MEDIAPIPE_SHAPES, NEUTRAL
from mien.capture.formats.source import Source, gunzip, read_file
from mien.study.blend_shapes import NAMES, canonical_names
from mien.study.errors import RecordingError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["read_markers", "read_xdf", "sniff_xdf"]

NAME = "xdf"
MAGIC = b"XDF:"
HEAD = ("headyaw", "headpitch", "headroll")
SAMPLE_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8, "string": 1}
MAX_CHANNELS = 10_000
MAX_STREAMS = 1_000
STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER = 2, 3, 4, 6
WITH_STREAM = (STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER)
Stream = dict[str, Any]  # what pyxdf gives: {"info": …, "time_series": …, "time_stamps": …}


def sniff_xdf(head: bytes, path: Path) -> bool:
    """The magic bytes."""
    return head.startswith(MAGIC)


def read_xdf(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """The blend-shape stream of an XDF file → Recording."""
    stream, labels = _shape_stream(_streams(source), source)
    shapes = canonical_names(labels)
    check_twice([shapes[label] for label in labels if label in shapes], f"{source.name}, shape stream")
    tracker = "mediapipe" if NEUTRAL in labels else "arkit"
    expected = NAMES if tracker == "arkit" else MEDIAPIPE_SHAPES
    place = {shapes[label]: index for index, label in enumerate(labels) if label in shapes}
    missing = [name for name in expected if name not in place]
    if missing:
        raise RecordingError(
            f"{source.name}, shape stream: expected a channel for each of {len(expected)} blend shapes, but "
            f"{', '.join(missing[:8])} {'is' if len(missing) == 1 else 'are'} missing: record all channels."
        )
    values = np.asarray(stream["time_series"], np.float64)
    stamps = np.asarray(stream["time_stamps"], np.float64)
    order = np.argsort(stamps, kind="stable")
    late = int(np.sum(np.diff(stamps) < 0))
    notes = (f"{late} sample{'s' if late > 1 else ''} put in order of time",) if late else ()
    frames = Frames(
        stamps[order],
        _activation(values[order][:, [place[name] for name in expected]], source),
        expected,
        _head(values[order], labels),
        notes,
    )
    return assemble(source, frames, NAME, tracker=tracker)


def read_markers(path: Path) -> "pd.DataFrame":
    """All markers of an XDF file: `onset` (s of the Recording in the same file) and `marker` (text), in order.

    Raises
    ------
    RecordingError
        Where the file is no XDF file or has no stream of text.
    """
    import pandas as pd

    content = read_file(Path(path))
    source = Source(str(path), gunzip(content, str(path)) if content.startswith(b"\x1f\x8b") else content)
    if not sniff_xdf(source.content, Path(path)):
        raise RecordingError(f"{path}: expected an XDF file, found other bytes: only XDF files hold markers.")
    streams = _streams(source)
    first = float(np.min(_shape_stream(streams, source)[0]["time_stamps"]))
    texts = [stream for stream in streams if _format(stream) == "string"]
    if not texts:
        raise RecordingError(
            f"{path}: expected a stream of markers (text), found none: record the stimulus program's stream."
        )
    rows = [
        (float(stamp) - first, str(sample[0]))
        for stream in texts
        for stamp, sample in zip(stream["time_stamps"], stream["time_series"], strict=True)
    ]
    markers = pd.DataFrame({"onset": [row[0] for row in rows], "marker": [row[1] for row in rows]})
    return markers.astype({"onset": "float64", "marker": "str"}).sort_values(
        "onset", kind="stable", ignore_index=True
    )


def _streams(source: Source) -> list[Stream]:
    import logging

    import pyxdf

    _check_chunks(source)
    logger = logging.getLogger("pyxdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return pyxdf.load_xdf(io.BytesIO(source.content), dejitter_timestamps=False)[0]
    except Exception as reason:  # pyxdf raises whatever its damaged input leads to
        raise RecordingError(
            f"{source.name}: expected a whole XDF file, but pyxdf cannot read it ({type(reason).__name__}: "
            f"{str(reason)[:100]}): copy the file again from where it was recorded."
        ) from None
    finally:
        logger.setLevel(level)


def _shape_stream(streams: list[Stream], source: Source) -> tuple[Stream, list[str]]:
    labelled = [(stream, _labels(stream)) for stream in streams if _format(stream) != "string"]
    found = [(stream, labels) for stream, labels in labelled if len(canonical_names(labels)) >= 10]
    if len(found) != 1:
        raise RecordingError(
            f"{source.name}: expected one stream whose channels are labelled with blend shapes, found "
            f"{len(found)} among "
            f"{len(streams)} streams: record one face with labelled channels a file."
        )
    stream, labels = found[0]
    shape = np.shape(stream["time_series"])
    if len(shape) != 2 or not shape[0] or shape[1] != len(labels):
        raise RecordingError(
            f"{source.name}, shape stream: expected samples of {len(labels)} labelled channels, found "
            f"{shape}: record again."
        )
    if not np.isfinite(np.asarray(stream["time_stamps"], float)).all():
        raise RecordingError(
            f"{source.name}, shape stream: expected finite time stamps, found others: record again."
        )
    return stream, labels


def _format(stream: Stream) -> str:
    return str((stream["info"].get("channel_format") or [""])[0])


def _labels(stream: Stream) -> list[str]:
    try:
        channels = stream["info"]["desc"][0]["channels"][0]["channel"]
        return [str(channel["label"][0]) for channel in channels]
    except (KeyError, IndexError, TypeError):
        return []


def _activation(values: np.ndarray, source: Source) -> np.ndarray:
    """(samples, shapes); a sample that is NaN throughout is a frame without a face."""
    empty = np.isnan(values).all(axis=1)
    bad = np.argwhere(~(np.abs(values) < 1e30) & ~empty[:, None])
    if len(bad):
        row, column = bad[0]
        raise RecordingError(
            f"{source.name}, shape stream, sample {row + 1}: expected finite numbers (or NaN in all shapes "
            "without a face), "
            f"found {values[row, column]}: record again."
        )
    return values.astype(np.float32)


def _head(values: np.ndarray, labels: list[str]) -> np.ndarray | None:
    lower = [label.lower() for label in labels]
    if not all(name in lower for name in HEAD):
        return None
    head = values[:, [lower.index(name) for name in HEAD]]
    return head.astype(np.float32) if (np.abs(head[~np.isnan(head)]) < 1e4).all() else None


def _check_chunks(source: Source) -> None:
    """Walk the chunks: their lengths must add up, and samples must fit in their chunk."""
    data, at = source.content, len(MAGIC)
    sample_bytes: dict[bytes, int] = {}
    while at < len(data):
        length, start = _length(data, at, source)
        end = start + length
        if length < 2 or end > len(data):
            raise _damaged(source, at, f"a chunk of {length:,} bytes where {len(data) - start:,} are left")
        tag = int.from_bytes(data[start : start + 2], "little")
        content = start + (6 if tag in WITH_STREAM else 2)
        if content > end:
            raise _damaged(source, at, f"a chunk of {length:,} bytes without its stream's number")
        if tag in (1, STREAM_HEADER) and re.search(rb"<!(DOCTYPE|ENTITY)", data[content:end]):
            raise _damaged(source, at, "a header with entities, which no recorder writes")
        if tag == STREAM_HEADER:
            sample_bytes[data[start + 2 : start + 6]] = _bytes_a_sample(data[content:end], source, at)
            if len(sample_bytes) > MAX_STREAMS:
                raise _damaged(source, at, f"more than {MAX_STREAMS:,} streams")
        if tag == SAMPLES:
            _check_samples(data, content, end, sample_bytes.get(data[start + 2 : start + 6]), source)
        if tag == CLOCK_OFFSET and end - content != 16:
            raise _damaged(source, at, "a clock offset that is not two numbers")
        at = end


def _length(data: bytes, at: int, source: Source) -> tuple[int, int]:
    """A variable-length integer at `at`, and where what follows it begins."""
    width = data[at] if at < len(data) else 0
    if width not in (1, 4, 8) or at + 1 + width > len(data):
        raise _damaged(source, at, f"a length of {width} bytes")
    return int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width


def _bytes_a_sample(header: bytes, source: Source, at: int) -> int:
    count = re.search(rb"<channel_count>\s*(\d{1,9})\s*</channel_count>", header)
    kind = re.search(rb"<channel_format>\s*(\w+)\s*</channel_format>", header)
    channels = int(count.group(1)) if count else 0
    width = SAMPLE_BYTES.get(kind.group(1).decode("ascii", "replace"), 0) if kind else 0
    if not 0 < channels <= MAX_CHANNELS or not width:
        raise _damaged(source, at, "a stream without a plausible number and format of channels")
    return channels * width


def _check_samples(data: bytes, at: int, end: int, size: int | None, source: Source) -> None:
    if size is None:
        raise _damaged(source, at, "samples of a stream without a header")
    count, at = _length(data[:end], at, source)
    if count * (1 + size) > end - at:
        raise _damaged(source, at, f"{count:,} samples in {end - at:,} bytes")


def _damaged(source: Source, at: int, found: str) -> RecordingError:
    return RecordingError(
        f"{source.name}, byte {at:,}: expected whole XDF chunks, found {found}: the file was cut short or "
        "damaged; "
        "copy it again from where it was recorded."
    )
