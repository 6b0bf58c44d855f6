"""What visitors upload: a recording or its events, read in memory within limits, and kept nowhere.

The content decides what a file is, never its name, which is used in messages only. Limits are on the bytes that come
and on what they unpack to, counted while they are read: what a file claims of itself is not believed.
"""

import io
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from mien.capture.formats.registry import read_source, source_of
from mien.capture.formats.source import GZIP_MAGIC, Source, gunzip, is_video, printable
from mien.reports_app.app.server import UPLOAD_MB
from mien.study.errors import MienError, RecordingError, StudyError
from mien.study.events import EVENT_COLUMNS, validate_events
from mien.study.tables import numbers_where_possible, read_table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MAX_BYTES", "MAX_EVENTS_BYTES", "MAX_UNPACKED", "Upload", "read_upload", "read_uploaded_events"]

MAX_BYTES = UPLOAD_MB * 1_000_000
MAX_UNPACKED = 4 * MAX_BYTES  # recordings as text pack three to four times
MAX_EVENTS_BYTES = 5_000_000  # fifty thousand events
ZIP_MAGIC = b"PK"
SAFE = "upload"


class Bytes(Protocol):
    """What is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes, all of what is left without a number."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go on reading there."""
        ...


class Upload(Bytes, Protocol):
    """A file that was uploaded, in memory."""

    name: str
    size: int


def read_upload(name: str, data: Bytes, size: int | None = None) -> "xr.Dataset":
    """The Recording in an uploaded file.

    Parameters
    ----------
    name : as the browser gave it, for messages. size : bytes, as the browser gave them; refused before reading.

    Raises
    ------
    RecordingError
        One sentence: too large, no recording, damaged.
    """
    told = _told(name)
    content = _bytes(told, data, size, MAX_BYTES, RecordingError)
    return read_source(_source(told, content))


def read_uploaded_events(name: str, data: Bytes, size: int | None = None) -> pd.DataFrame:
    """The events in an uploaded TSV or CSV, checked as `mien.study.events` does.

    Raises
    ------
    StudyError
    """
    told = _told(name)
    content = _bytes(told, data, size, MAX_EVENTS_BYTES, StudyError)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAFE
        path.write_bytes(content)
        try:
            table = read_table(path, required=EVENT_COLUMNS, numeric=("onset", "duration", "onset_stimulus"))
        except StudyError as problem:
            raise StudyError(str(problem).replace(str(path), told)) from None
    table = numbers_where_possible(table, keep=("stimulus_id", "trial_type"), where=told)
    return validate_events(table, where=told)


def _told(name: str) -> str:
    last = PurePosixPath(str(name).replace("\\", "/")).name
    return printable(last) or SAFE


def _bytes(name: str, data: Bytes, size: int | None, most: int, error: type[MienError]) -> bytes:
    data.seek(0)  # a page that runs again is handed the same file
    content = b"" if size is not None and size > most else data.read(most + 1)
    if len(content) > most or (size is not None and size > most):
        raise error(
            f"{name}: expected at most {most // 10**6} MB, found more: import it on the command line."
        )
    return content


def _source(name: str, content: bytes) -> Source:
    if content.startswith(GZIP_MAGIC):
        _refuse_large(name, len(gunzip(content, name, limit=MAX_UNPACKED + 1)))
    elif content.startswith(ZIP_MAGIC):
        _check_zip(name, content)
    return source_of(content, name)


def _check_zip(name: str, content: bytes) -> None:
    """Refuse a zip that unpacks to much, or holds packed files: those would unpack again."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [
                entry for entry in archive.infolist() if not (entry.is_dir() or is_video(entry.filename))
            ]
            _refuse_large(name, sum(entry.file_size for entry in entries))
            for entry in entries:
                with archive.open(entry) as member:
                    if member.read(2) in (GZIP_MAGIC, ZIP_MAGIC):
                        raise RecordingError(
                            f"{name}: expected a zip of plain files, found packed ones in it: unpack them first."
                        )
    except RecordingError:
        raise
    except Exception as reason:  # zipfile raises many kinds on damaged bytes
        raise RecordingError(
            f"{name}: expected a whole zip file, but {reason}: copy it again from the phone."
        ) from None


def _refuse_large(name: str, unpacked: int) -> None:
    if unpacked > MAX_UNPACKED:
        raise RecordingError(
            f"{name}: expected at most {MAX_UNPACKED // 10**6} MB once unpacked, found more: "
            "import it on the command line."
        )
