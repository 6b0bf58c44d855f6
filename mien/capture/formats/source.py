"""A Source: the bytes of one recording, what to call it, and what its container told about it.

Files come as they are, gzipped, in a zip or in the folder of a take. All of them are opened with limits, because a
hundred bytes can claim to be terabytes: at most 2 GB, and at most 100 times the packed size once that exceeds 1 MB.
Members are read into memory; nothing is ever unpacked to disk, and video is left unopened where it is.
"""

import re
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mien.study.errors import RecordingError

__all__ = [
    "HEAD_BYTES", "MAX_BYTES", "MAX_RATIO", "Source", "calibration_of", "check_unpacked", "gunzip", "head_of",
    "is_video", "open_plain", "printable", "read_file",
]  # fmt: skip

MAX_BYTES = 2_000_000_000
MAX_RATIO = 100
HARMLESS_BYTES = 1_000_000  # below this a high ratio cannot hurt: a few still frames pack very well
HEAD_BYTES = 65_536
GZIP_MAGIC = b"\x1f\x8b"
VIDEO_ENDINGS = (".mov", ".mp4", ".m4v", ".avi", ".mkv", ".hevc", ".webm")


class Source(NamedTuple):
    """One recording's bytes on their way to a reader."""

    name: str  # for messages only, never stored: file names carry people's names
    content: bytes
    calibrated: str = "unknown"  # yes | no | unknown, from `_cal` and `_raw`
    notes: tuple[str, ...] = ()  # what the reader of the recording should be told


def printable(text: str, length: int = 60) -> str:
    """A name out of a file, safe to print: without control characters, and not endless."""
    plain = "".join(character if character.isprintable() else "?" for character in text[: length + 1])
    return plain if len(plain) <= length else plain[:length] + "…"


def calibration_of(file_name: str) -> str:
    """`…_cal.csv` → "yes", `…_raw.csv` → "no", anything else → "unknown"."""
    found = re.search(r"_(raw|cal)$", PurePosixPath(file_name).stem, re.IGNORECASE)
    return {"raw": "no", "cal": "yes"}[found.group(1).lower()] if found else "unknown"


def is_video(file_name: str, head: bytes = b"") -> bool:
    """Whether a file is a video, by its ending (without opening it) or by the first bytes, if given."""
    return file_name.lower().endswith(VIDEO_ENDINGS) or head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3"


def check_unpacked(size: int, packed: int, name: str) -> None:
    """Refuse what unpacks to more than MAX_BYTES or MAX_RATIO times its size."""
    if size > MAX_BYTES:
        raise RecordingError(
            f"{name}: expected at most {MAX_BYTES // 10**9} GB, found more than that once unpacked: "
            "this is no face recording; name the original file."
        )
    if size > max(MAX_RATIO * packed, HARMLESS_BYTES):
        raise RecordingError(
            f"{name}: expected data that unpacks to at most {MAX_RATIO} times its packed size ({packed:,} "
            "bytes), "
            "found more: this is no face recording; name the original file."
        )


def gunzip(content: bytes, name: str, *, limit: int | None = None) -> bytes:
    """Unpack gzip in memory, refusing bombs, cut files and damage; `limit` (bytes) stops early, for a head."""
    unpacked = bytearray()
    rest = content
    while rest.startswith(GZIP_MAGIC):
        stream = zlib.decompressobj(31)
        while not stream.eof:
            try:
                piece = stream.decompress(rest, 1 << 20)
            except zlib.error as reason:
                raise RecordingError(
                    f"{name}: expected whole gzip data, but it is damaged after {len(unpacked):,} unpacked "
                    "bytes "
                    f"({reason}): copy the file again from where it was recorded."
                ) from None
            unpacked += piece
            rest = stream.unconsumed_tail if not stream.eof else stream.unused_data
            check_unpacked(len(unpacked), len(content), name)
            if limit is not None and len(unpacked) >= limit:
                return bytes(unpacked[:limit])
            if not piece and not rest and not stream.eof:
                if limit is not None:
                    return bytes(unpacked)
                raise RecordingError(
                    f"{name}: expected whole gzip data, but it ends after {len(unpacked):,} unpacked bytes: "
                    "the file was cut short; copy it again from where it was recorded."
                )
    if rest.strip(b"\0") and limit is None:
        raise RecordingError(
            f"{name}: expected nothing after the gzip data, found {len(rest):,} more bytes: use the "
            "original file."
        )
    return bytes(unpacked)


def head_of(content: bytes, name: str) -> bytes:
    """The first bytes, looking through gzip."""
    if content.startswith(GZIP_MAGIC):
        return gunzip(content[: 2 * HEAD_BYTES], name, limit=HEAD_BYTES)
    return content[:HEAD_BYTES]


def read_file(path: Path) -> bytes:
    """The bytes of one regular file, at most MAX_BYTES."""
    try:
        if not path.is_file():
            what = "no file of this name" if not path.exists() else "something else (a device or a socket)"
            raise RecordingError(f"{path}: expected a recording, found {what}: check the path.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RecordingError(
                f"{path}: expected at most {MAX_BYTES // 10**9} GB, found {size / 1e9:.1f} GB: split the "
                "recording."
            )
        return path.read_bytes()
    except (OSError, ValueError) as reason:
        text = getattr(reason, "strerror", None) or reason
        raise RecordingError(
            f"{path}: expected a readable file, but {text}: check the path and its rights."
        ) from None


def open_plain(content: bytes, name: str, file_name: str, notes: tuple[str, ...] = ()) -> Source:
    """A Source from one file's bytes, unpacked if they are gzip."""
    if content.startswith(GZIP_MAGIC):
        content = gunzip(content, name)
    return Source(name, content, calibration_of(file_name.removesuffix(".gz")), notes)
