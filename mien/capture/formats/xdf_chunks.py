"""The chunks of an XDF file, walked before pyxdf loads them: what is cut, absurd or hostile is refused here.

    "XDF:" then chunks: length (1 byte: 1, 4 or 8; then that many bytes) | u16 tag | [u32 stream] | content
    tag 1 file header, 2 stream header (XML), 3 samples, 4 clock offset (two f64), 5 boundary, 6 stream footer (XML)

All little-endian. Only lengths are checked here, and the little of each header that decides which streams to load.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mien.capture.formats.source import Source
from mien.study.blend_shapes import canonical_names
from mien.study.errors import RecordingError

__all__ = ["MAGIC", "Header", "check_chunks"]

MAGIC = b"XDF:"
SAMPLE_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8, "string": 1}
FILE_HEADER, STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER = 1, 2, 3, 4, 6
WITH_STREAM = (STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER)
WITH_TEXT = (FILE_HEADER, STREAM_HEADER, STREAM_FOOTER)
FEWEST_SHAPES = 10  # labels that make a stream one of blend shapes
MAX_TEXT_BYTES = 1_000_000
MAX_CHANNELS = 10_000
MAX_STREAMS = 1_000
MAX_EMPTY = 1_000  # chunks without samples: pyxdf takes its time over each
MAX_OFFSETS = 20_000  # one every 5 s is usual: 27 h
CLOCK_RESET_S = 1.0


class Header(NamedTuple):
    """What a stream's header says, as far as it is needed."""

    kind: str  # shapes | text | other
    sample_bytes: int  # at least, without the time stamp
    labels: list[str]


class _Chunk(NamedTuple):
    at: int  # where it begins, for messages
    tag: int
    stream: int
    content: int
    end: int


def check_chunks(source: Source) -> dict[int, Header]:
    """Walk all chunks, whose lengths must add up, and give the header of each stream by its number.

    Raises
    ------
    RecordingError
        Naming the byte where the damage is.
    """
    headers: dict[int, Header] = {}
    offsets: dict[int, list[tuple[float, float]]] = {}
    empty = 0
    for chunk in _chunks(source):
        content = source.content[chunk.content : chunk.end]
        if chunk.tag in WITH_TEXT and (len(content) > MAX_TEXT_BYTES or b"<!" in content):
            raise _damaged(source, chunk.at, "a header too long or with entities, which no recorder writes")
        if chunk.tag == STREAM_HEADER:
            headers[chunk.stream] = _header(content, source, chunk.at)
        elif chunk.tag in WITH_STREAM and chunk.stream not in headers:
            raise _damaged(source, chunk.at, "data of a stream without a header")
        elif chunk.tag == SAMPLES:
            empty += not _samples(content, headers[chunk.stream].sample_bytes, source, chunk.at)
        elif chunk.tag == CLOCK_OFFSET:
            offsets.setdefault(chunk.stream, []).append(_offset(content, source, chunk.at))
        if len(headers) > MAX_STREAMS or empty > MAX_EMPTY:
            raise _damaged(
                source, chunk.at, f"more than {MAX_STREAMS:,} streams or {MAX_EMPTY:,} empty chunks"
            )
    for pairs in offsets.values():
        _check_offsets(np.array(pairs), source)
    return headers


def _chunks(source: Source) -> Iterator[_Chunk]:
    data, at = source.content, len(MAGIC)
    while at < len(data):
        length, start = _length(data[at : at + 9], source, at)
        start += at
        end = start + length
        if length < 2 or end > len(data):
            raise _damaged(source, at, f"a chunk of {length:,} bytes where {len(data) - start:,} are left")
        tag = int.from_bytes(data[start : start + 2], "little")
        content = start + (6 if tag in WITH_STREAM else 2)
        if content > end:
            raise _damaged(source, at, f"a chunk of {length:,} bytes without its stream's number")
        yield _Chunk(at, tag, int.from_bytes(data[start + 2 : content], "little"), content, end)
        at = end


def _length(data: bytes, source: Source, at: int) -> tuple[int, int]:
    """The variable-length integer that `data` begins with, and its own length in bytes."""
    width = data[0] if data else 0
    if width not in (1, 4, 8) or len(data) < 1 + width:
        raise _damaged(source, at, f"a length of {width} bytes")
    return int.from_bytes(data[1 : 1 + width], "little"), 1 + width


def _header(text: bytes, source: Source, at: int) -> Header:
    count = re.search(rb"<channel_count>\s*(\d{1,9})\s*</channel_count>", text)
    format = re.search(rb"<channel_format>\s*(\w{1,20})\s*</channel_format>", text)
    channels = int(count.group(1)) if count else 0
    width = SAMPLE_BYTES.get(format.group(1).decode("ascii", "replace"), 0) if format else 0
    if not 0 < channels <= MAX_CHANNELS or not width or format is None:
        raise _damaged(source, at, "a stream without a plausible number and format of channels")
    if format.group(1) == b"string":
        return Header("text", channels, [])
    labels = [label.decode("utf-8", "replace") for label in re.findall(rb"<label>([^<]{1,80})</label>", text)]
    kind = "shapes" if len(canonical_names(labels)) >= FEWEST_SHAPES else "other"
    return Header(kind, channels * width, labels)


def _samples(content: bytes, size: int, source: Source, at: int) -> int:
    """The number of samples of a chunk, which must fit in it."""
    count, used = _length(content[:9], source, at)
    if count * (1 + size) > len(content) - used:
        raise _damaged(source, at, f"{count:,} samples in {len(content) - used:,} bytes")
    return count


def _offset(content: bytes, source: Source, at: int) -> tuple[float, float]:
    if len(content) != 16:
        raise _damaged(source, at, "a clock offset that is not two numbers")
    return struct.unpack("<dd", content)


def _check_offsets(pairs: np.ndarray, source: Source) -> None:
    """(measured, 2): time and offset (s) of one stream's clock, which must not have been set anew."""
    steps = np.diff(pairs, axis=0)
    if not np.isfinite(pairs).all() or len(pairs) > MAX_OFFSETS or (steps[:, 0] < 0).any():
        raise RecordingError(
            f"{source.name}: expected clock offsets in order of time, found others: record again."
        )
    jump = float(np.abs(steps[:, 1]).max(initial=0))
    if jump > CLOCK_RESET_S:
        raise RecordingError(
            f"{source.name}: expected clocks that run on, found one that jumped by {jump:.1f} s: a computer was "
            "restarted or its clock set while recording; keep one recording a file."
        )


def _damaged(source: Source, at: int, found: str) -> RecordingError:
    return RecordingError(
        f"{source.name}, byte {at:,}: expected whole XDF chunks, found {found}: the file was cut short or damaged; "
        "copy it again from where it was recorded."
    )
