"""Containers: a plain file, the folder of a take, or a take as a zip → the one Source in it.

Live Link Face keeps a take as `YYYYMMDD_<Slate>_<n>/` with `…_iPhone.mov`, `…_raw.csv` and `…_cal.csv`. The raw
file is read where both are there (neutral calibration moves the baseline, which the recipe handles itself). Video is
told apart by its ending, so that it is never opened. A zip is read in memory and refused whole when any of its paths
leads outside.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mien.capture.formats.source import (
    HEAD_BYTES,
    Source,
    calibration_of,
    check_unpacked,
    head_of,
    is_video,
    open_plain,
    printable,
    read_file,
)
from mien.study.errors import RecordingError

__all__ = ["open_bytes", "open_source"]

ZIP_MAGIC = b"PK"
MAX_MEMBERS = 1_000
MAX_DEPTH = 2
Recognise = Callable[[bytes, Path], bool]


class _Member(NamedTuple):
    """A file of a take: its name, and how to get its first bytes and all of them."""

    name: str
    head: Callable[[], bytes]
    content: Callable[[], bytes]


def open_source(path: Path, recognise: Recognise) -> Source:
    """The Source at `path`: a file, a take's folder, or a take's zip.

    Parameters
    ----------
    recognise : (first bytes, path) → whether any format reads it; tells recordings from a take's other files.

    Raises
    ------
    RecordingError
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _choose(str(path), _folder_members(path), recognise)
    except OSError as reason:
        raise RecordingError(
            f"{path}: expected a readable folder, but {reason.strerror or reason}: check the path and its rights."
        ) from None
    if is_video(path.name):
        raise _only_video(str(path))
    return open_bytes(read_file(path), path, recognise)


def open_bytes(content: bytes, path: Path, recognise: Recognise) -> Source:
    """The Source in the bytes of a file or zip; `path` is for messages only, and nothing is read there."""
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _open_zip(path, content, recognise)
    return open_plain(content, str(path), path.name)


def _folder_members(path: Path) -> list[_Member]:
    files: list[Path] = []
    folders = [(path, 0)]
    while folders:
        folder, depth = folders.pop()
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink() and depth < MAX_DEPTH:
                folders.append((entry, depth + 1))
            elif entry.is_file() and not entry.name.startswith("."):
                files.append(entry)
        if len(files) > MAX_MEMBERS:
            raise _too_many(str(path))
    return [
        _Member(
            str(file.relative_to(path)), lambda file=file: _file_head(file), lambda file=file: read_file(file)
        )
        for file in sorted(files)
    ]


def _file_head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return head_of(stream.read(2 * HEAD_BYTES), str(file))


def _open_zip(path: Path, content: bytes, recognise: Recognise) -> Source:
    import io

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _choose(str(path), _zip_members(path, archive), recognise)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as reason:
        raise RecordingError(
            f"{path}: expected a whole zip file, but {reason}: it was cut short or damaged; copy it again "
            "from the phone."
        ) from None


def _zip_members(path: Path, archive: zipfile.ZipFile) -> list[_Member]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in archive.infolist():
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        if ".." in parts.parts or parts.is_absolute() or ":" in "".join(parts.parts[:1]):
            raise RecordingError(
                f"{path}: expected paths inside the zip, found {printable(entry.filename)!r}, which leads outside of "
                "it: "
                "do not trust this file; export the take again from the phone."
            )
    readable = [entry for entry in entries if not is_video(entry.filename)]
    if len(entries) > MAX_MEMBERS:
        raise _too_many(str(path))
    check_unpacked(
        sum(entry.file_size for entry in readable), sum(e.compress_size for e in readable), str(path)
    )
    for entry in readable:
        check_unpacked(entry.file_size, entry.compress_size, f"{path}, member {printable(entry.filename)}")
        if entry.flag_bits & 1:
            raise RecordingError(
                f"{path}, member {printable(entry.filename)}: expected an open zip, found an encrypted one: unpack it "
                "first."
            )
    return [
        _Member(
            entry.filename,
            lambda entry=entry: _zip_head(archive, entry),
            lambda entry=entry: archive.read(entry),
        )
        for entry in entries
    ]


def _zip_head(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as stream:
        return head_of(stream.read(2 * HEAD_BYTES), entry.filename)


def _choose(where: str, members: list[_Member], recognise: Recognise) -> Source:
    videos = [member for member in members if is_video(member.name)]
    others = [member for member in members if not is_video(member.name) and "__MACOSX" not in member.name]
    found = [member for member in others if recognise(_head_or_nothing(member), Path(member.name))]
    notes = (f"{len(videos)} video left where it is, unopened",) if videos else ()
    if not found:
        raise _nothing_found(where, videos, others)
    stems = {_stem(member.name) for member in found}
    if len(stems) > 1:
        raise RecordingError(
            f"{where}: expected one take, found {len(found)} recordings ({_listed(m.name for m in found)}): "
            "name the one to read."
        )
    raw = [member for member in found if calibration_of(member.name) == "no"]
    if len(found) > 1 and not raw:
        raise RecordingError(
            f"{where}: expected one recording, found {_listed(m.name for m in found)}: name the one to read."
        )
    if len(found) > 1:
        notes += ("the take holds a raw and a neutral-calibrated file; the raw one was read",)
    chosen = (raw or found)[0]
    return open_plain(chosen.content(), f"{where}, member {printable(chosen.name)}", chosen.name, notes)


def _head_or_nothing(member: _Member) -> bytes:
    try:
        return member.head()
    except RecordingError:  # a damaged neighbour of the recording is not our business
        return b""


def _stem(name: str) -> str:
    stem = str(PurePosixPath(name.replace("\\", "/")).with_suffix(""))
    return stem[:-4].lower() if stem.lower().endswith(("_raw", "_cal")) else stem.lower()


def _listed(names: Iterable[str]) -> str:
    names = [printable(name) for name in names]
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _nothing_found(where: str, videos: list[_Member], others: list[_Member]) -> RecordingError:
    if any(PurePosixPath(member.name).name.lower() == "frame_log.csv" for member in others):
        return RecordingError(
            f"{where}: expected a blend-shape recording, found frame_log.csv, which holds times of video "
            "and sound "
            "but no blend shapes: the take was made in MetaHuman Animator mode; record in «Live Link "
            "(ARKit)» mode."
        )
    if videos and not others:
        return _only_video(where)
    return RecordingError(
        f"{where}: expected a take with …_raw.csv or …_cal.csv, found "
        f"{_listed(member.name for member in others) or 'no file'}: name the recording itself."
    )


def _only_video(where: str) -> RecordingError:
    return RecordingError(
        f"{where}: expected a blend-shape recording, found only a video: mien never opens video; "
        "export the take with its CSV from the phone."
    )


def _too_many(where: str) -> RecordingError:
    return RecordingError(
        f"{where}: expected one take, found more than {MAX_MEMBERS:,} files: name the take's own folder or "
        "zip."
    )
