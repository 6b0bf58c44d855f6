"""A native source with all that import needs of it: the Recording, the bytes to keep, and what to tell."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from mien.capture.formats.registry import find_source, read_source

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Native", "read_native"]

# These hold device ids or subject names among their bytes; everything else has none.
FORMATS_WITH_NAMES = frozenset({"gesichter", "live-link-face-udp", "xdf"})
SUFFIXES = {
    "live-link-face-csv": ".csv",
    "unreal-csv": ".csv",
    "mediapipe": ".csv",
    "unreal-json": ".json",
    "ifacialmocap": ".txt",
}


class Native(NamedTuple):
    """One native recording.

    content : its bytes, unpacked from zip or gzip.
    sha256 : of `content`, to know the same recording again.
    suffix : the ending under which the bytes are kept.
    keeps : whether they may be kept: not when names of devices or people stand in them.
    notes : what the reader left out or assumed.
    """

    recording: "xr.Dataset"
    content: bytes
    sha256: str
    suffix: str
    keeps: bool
    notes: tuple[str, ...]


def read_native(path: Path, *, rate: float | None = None) -> Native:
    """Read the recording at `path`: a file, a take's folder or a zip.

    Raises
    ------
    RecordingError
    """
    source = find_source(path)
    recording = read_source(source, rate=rate)
    format = str(recording.attrs["format"])
    notes = tuple(line for line in str(recording.attrs.pop("warnings", "")).splitlines() if line)
    return Native(
        recording=recording,
        content=source.content,
        sha256=hashlib.sha256(source.content).hexdigest(),
        suffix=SUFFIXES.get(format, PurePosixPath(path.name).suffix or ".bin"),
        keeps=format not in FORMATS_WITH_NAMES,
        notes=tuple(dict.fromkeys((*source.notes, *notes))),
    )
