"""The registry of formats, and the door: any path → the one Recording in it.

A format is found by the first bytes (`sniff`), in the order of FORMATS. What no format knows is explained: video,
`frame_log.csv`, an old `.gesichter`, UTF-16, an empty file. A new format is one module and one line here; the
conformance test then runs over it.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

from mien.capture.formats.ifacialmocap import read_ifacialmocap, sniff_ifacialmocap
from mien.capture.formats.live_link_face_csv import (
    read_live_link_face_csv,
    sniff_live_link_face_csv,
    write_live_link_face_csv,
)
from mien.capture.formats.mediapipe import read_mediapipe, sniff_mediapipe
from mien.capture.formats.packets import (
    read_gesichter,
    read_packets,
    sniff_gesichter,
    sniff_packets,
    write_gesichter,
    write_packets,
)
from mien.capture.formats.source import HEAD_BYTES, Source, is_video
from mien.capture.formats.takes import open_bytes, open_source
from mien.capture.formats.unreal import read_unreal_csv, read_unreal_json, sniff_unreal_csv, sniff_unreal_json
from mien.capture.formats.xdf import read_xdf, sniff_xdf
from mien.study.errors import RecordingError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FORMATS", "Format", "find_source", "read_recording", "read_source", "source_of"]


class _Parse(Protocol):
    def __call__(self, source: Source, *, rate: float | None = None) -> "xr.Dataset": ...


@dataclass(frozen=True)
class Format:
    """One format: how it is found, read and, for some, written."""

    name: str  # as stored in a Recording's attribute `format`
    title: str
    sniff: Callable[[bytes, Path], bool]  # (first bytes, path for messages) → is it this format?
    parse: _Parse
    write: Callable[["xr.Dataset", Path], None] | None = None

    def read(self, path: Path, *, rate: float | None = None) -> "xr.Dataset":
        """The Recording at `path`, which must be of this format."""
        source = open_source(Path(path), self.sniff)
        if not self.sniff(source.content[:HEAD_BYTES], Path(path)):
            raise _unknown(source)
        return self.parse(source, rate=rate)


FORMATS: tuple[Format, ...] = (
    Format("xdf", "XDF (Lab Streaming Layer)", sniff_xdf, read_xdf),
    Format("unreal-csv", "Unreal's CSV", sniff_unreal_csv, read_unreal_csv),
    Format(
        "live-link-face-csv",
        "Live Link Face CSV",
        sniff_live_link_face_csv,
        read_live_link_face_csv,
        write_live_link_face_csv,
    ),
    Format("unreal-json", "Unreal's JSON", sniff_unreal_json, read_unreal_json),
    Format("mediapipe", "table of MediaPipe blend shapes", sniff_mediapipe, read_mediapipe),
    Format("ifacialmocap", "iFacialMocap or Facemotion3d log", sniff_ifacialmocap, read_ifacialmocap),
    Format(
        "gesichter", ".gesichter (Live Link Face packets)", sniff_gesichter, read_gesichter, write_gesichter
    ),
    Format("live-link-face-udp", "Live Link Face UDP packets", sniff_packets, read_packets, write_packets),
)


def read_recording(path: Path, *, rate: float | None = None) -> "xr.Dataset":
    """Read the recording at `path`: a file of any known format, a take's folder, or a zip of one.

    Parameters
    ----------
    rate : frames a second (Hz) to assume for a log that has no times; not needed and not used otherwise.

    Returns
    -------
    Recording; its attribute `warnings` (lines of text) tells what was left out or assumed.

    Raises
    ------
    RecordingError
        One message: what was expected, what was found and where, what to do.
    """
    return read_source(find_source(path), rate=rate)


def find_source(path: Path) -> Source:
    """The bytes of the one recording at `path`, found by content; for those who keep them beside the Recording."""
    return open_source(Path(path), _known)


def source_of(content: bytes, name: str) -> Source:
    """As `find_source`, of bytes that are no file here; `name` is for messages only."""
    return open_bytes(content, Path(name), _known)


def read_source(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """The Recording in a Source; as `read_recording`."""
    head = source.content[:HEAD_BYTES]
    for format in FORMATS:
        if format.sniff(head, Path(source.name)):
            return format.parse(source, rate=rate)
    raise _unknown(source)


def _known(head: bytes, path: Path) -> bool:
    return any(format.sniff(head, path) for format in FORMATS)


def _unknown(source: Source) -> RecordingError:
    """Why the file is no recording that can be read, in one message."""
    head = source.content[:HEAD_BYTES]
    name, file_name = source.name, PurePath(source.name).name.lower()
    if not head.strip():
        return RecordingError(
            f"{name}: expected a recording, found an empty file: copy it again from the phone."
        )
    if is_video("", head):
        return RecordingError(
            f"{name}: expected a blend-shape recording, found a video: mien never reads video; "
            "export the take with its CSV from the phone."
        )
    if file_name == "frame_log.csv" or re.match(rb"[AV],\s*\d", head):
        return RecordingError(
            f"{name}: expected blend shapes, found a frame log, which holds only times of video and sound: "
            "the take was "
            "made in MetaHuman Animator mode; record in «Live Link (ARKit)» mode."
        )
    if _is_old_gesichter(head):
        return RecordingError(
            f"{name}: expected a .gesichter file of the gzip layout, found the older one (lines of "
            "base64), which is not "
            "supported: unpack and pack it again with a current LLV."
        )
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return RecordingError(
            f"{name}: expected UTF-8 text, found UTF-16: a spreadsheet saved it again; use the original."
        )
    titles = "; ".join(format.title for format in FORMATS)
    return RecordingError(
        f"{name}: expected a recording of blend shapes ({titles}), found none of these in its first bytes: "
        "name the tracker's original file."
    )


def _is_old_gesichter(head: bytes) -> bool:
    line = head.split(b"\n", 1)[0].strip()
    try:
        return len(line) > 100 and base64.b64decode(line, validate=True)[:1] == b"\x06"
    except (binascii.Error, ValueError):
        return False
