"""Live Link Face CSV, what Epic's iOS app stores: read by name, written fast.

`Timecode`, `BlendShapeCount` (or `BlendshapeCount`), 52 shapes, then yaw, pitch and roll of head, left and right eye
in radians; 10 decimals. The column order is not ARKit's (JawRight comes before JawLeft), so columns are mapped by
name. The writer makes the app's own layout, 54,000 rows in about a second, for simulation and replay: text is looked
up in tables of digits rather than formatted number by number.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mien.capture.formats.assemble import Frames, assemble
from mien.capture.formats.delimited import (
    Table,
    first_line,
    numbers,
    read_table,
    row_place,
    shape_columns,
    words,
)
from mien.capture.formats.source import Source, printable
from mien.capture.formats.timecode import (
    LIVE_LINK_BASE,
    clock_seconds,
    format_timecodes,
    frame_base,
    parse_timecodes,
)
from mien.study.blend_shapes import NAMES, canonical_names
from mien.study.errors import RecordingError
from mien.study.files import whole_file

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "CSV_SHAPES",
    "POSE",
    "read_live_link_face_csv",
    "sniff_live_link_face_csv",
    "write_live_link_face_csv",
]

NAME = "live-link-face-csv"
POSE = tuple(part + axis for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll"))
_SWAPPED = {
    "jawLeft": "jawRight",
    "jawRight": "jawLeft",
    "mouthLeft": "mouthRight",
    "mouthRight": "mouthLeft",
}
CSV_SHAPES = tuple(_SWAPPED.get(name, name) for name in NAMES)  # the app's order of columns
COUNT = "blendshapecount"
NEEDED = ("timecode", COUNT)
DEFAULT_START = "12:00:00:00.000"
WRITE_ROWS = 4_096  # rows formatted at a time: 4 MB of text


def sniff_live_link_face_csv(head: bytes, path: Path) -> bool:
    """A header with `Timecode` or a blend-shape count and no `FrameRate`, or UpperCamelCase shapes."""
    header = [name.strip() for name in first_line(head).replace(";", ",").replace("\t", ",").split(",")]
    lower = {name.lower() for name in header}
    if "framerate" in lower or "_neutral" in lower:
        return False
    upper = [name for name in canonical_names(header) if name[:1].isupper()]
    return (
        lower >= set(NEEDED)
        or len(upper) >= 10
        or ("timecode" in lower and len(canonical_names(header)) >= 10)
    )


def read_live_link_face_csv(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """A take's `…_raw.csv` or `…_cal.csv` → Recording; time from the timecodes."""
    _check_header(source)
    table = read_table(source, text=("timecode",))
    places = shape_columns(table, NAMES)
    _check_columns(table)
    lower = [name.lower() for name in table.header]

    def line(row: int) -> str:
        return row_place(source, row)

    texts = words(table, lower.index("timecode"))
    timecodes = parse_timecodes(texts, line)
    frames = Frames(
        time=clock_seconds(timecodes, frame_base(timecodes), line),
        activation=_activation(table, places, lower.index(COUNT)),
        shapes=NAMES,
        head=numbers(table, [lower.index(name.lower()) for name in POSE[:3]]) if "headyaw" in lower else None,
    )
    return assemble(source, frames, NAME, start=str(texts[0].as_py()).strip())


def _check_header(source: Source) -> None:
    header = first_line(source.content)
    if ";" in header or "\t" in header:
        raise RecordingError(
            f"{source.name}, line 1: expected columns separated by commas, found "
            f"{'semicolons' if ';' in header else 'tabs'}: a spreadsheet saved this file again; use the "
            "original."
        )
    lower = [name.strip().lower() for name in header.split(",")]
    missing = [name for name in ("Timecode", "BlendShapeCount") if name.lower() not in lower]
    if missing:
        raise RecordingError(
            f"{source.name}, line 1: expected the columns of a Live Link Face CSV, but "
            f"{' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: use the original file with all columns."
        )
    known = {*NEEDED, *(name.lower() for name in (*NAMES, *POSE))}
    unknown = [name.strip() for name in header.split(",") if name.strip().lower() not in known]
    if unknown and len(lower) > len(known):
        raise RecordingError(
            f"{source.name}, line 1: expected the {len(known)} columns of Live Link Face, found {len(lower)}, among "
            f"them {', '.join(map(printable, unknown[:5]))}: files like this are generated from sound by a network "
            "and measure no face; use a recording of the camera."
        )
    if unknown:
        raise RecordingError(
            f"{source.name}, line 1: expected the columns of a Live Link Face CSV, found also "
            f"{', '.join(map(printable, unknown[:5]))}: correct the spelling or remove the column."
        )


def _check_columns(table: Table) -> None:
    lower = [name.lower() for name in table.header]
    twice = [name for name, count in Counter(lower).items() if count > 1]
    if twice:
        raise RecordingError(
            f"{table.source.name}, line 1: expected each column once, found {twice[0]} twice: remove one."
        )
    pose = [name for name in POSE if name.lower() in lower]
    if pose and len(pose) < len(POSE):
        missing = [name for name in POSE if name not in pose]
        raise RecordingError(
            f"{table.source.name}, line 1: expected all of head and eye rotation or none, but "
            f"{', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: use the original file with all columns."
        )


def _activation(table: Table, places: dict[str, int], count_column: int) -> np.ndarray:
    """(frames, 52); NaN in frames without a face, which have a count of 0 or no values."""
    activation = numbers(table, list(places.values()))
    count = numbers(table, [count_column], dtype=np.float64)[:, 0]
    columns = len(table.header) - len(NEEDED)
    wrong = np.flatnonzero((count != columns) & (count != 0) & ~np.isnan(count))
    if len(wrong):
        row = int(wrong[0])
        raise RecordingError(
            f"{row_place(table.source, row)}, column {table.header[count_column]}: expected {columns}, the "
            "number of "
            f"values in the header (or 0 without a face), found {count[row]:g}: use the original file."
        )
    activation[count == 0] = np.nan
    return activation


def write_live_link_face_csv(recording: "xr.Dataset", path: Path) -> None:
    """Write a Recording in the app's layout: 61 values, 10 decimals, LF.

    Frames that are not tracked are left out (a hole in the timecodes, as a dropped frame is); eye rotation,
    which a Recording does not keep, and a missing head are 0, as in the app with head streaming off. Timecodes
    resolve 17 µs and begin at the Recording's `start` where that is a timecode, else at 12:00.

    Raises
    ------
    RecordingError
        Where shapes are missing, or a value is 10 or more in size.
    """
    values, tracked = values_to_send(recording, CSV_SHAPES)
    if not np.abs(values).max(initial=0) < 10:
        raise RecordingError(
            "expected values below 10 in size to write as Live Link Face CSV, found larger ones."
        )
    timecodes = format_timecodes(_start_seconds(recording) + recording["time"].values[tracked])
    header = ["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in CSV_SHAPES), *POSE]
    with whole_file(Path(path)) as temporary, temporary.open("wb") as file:
        file.write((",".join(header) + "\n").encode())
        for first in range(0, len(values), WRITE_ROWS):
            rows = slice(first, first + WRITE_ROWS)
            file.write(_rows_of_text(timecodes[rows], values[rows]))


def values_to_send(recording: "xr.Dataset", order: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The 61 values of each tracked frame (frames, 61) float32, and which frames are tracked (time,).

    Shared by the writers of CSV and packets, which differ only in the order of the shapes.
    """
    shapes = [str(name) for name in recording["blend_shape"].values]
    missing = [name for name in order if name not in shapes]
    if missing:
        raise RecordingError(
            f"expected all {len(order)} blend shapes to write, but {', '.join(missing[:5])} are missing: "
            "this format always carries all of them."
        )
    activation = recording["activation"].values[:, [shapes.index(name) for name in order]]
    lost = np.isnan(activation)
    tracked = ~lost.any(axis=1)
    if (lost.any(axis=1) != lost.all(axis=1)).any():
        raise RecordingError(
            "expected frames tracked as a whole or not at all, found some shapes missing in a frame."
        )
    if not tracked.any():
        raise RecordingError("expected at least one tracked frame to write, found none.")
    values = np.zeros((int(tracked.sum()), len(order) + len(POSE)), np.float32)
    values[:, : len(order)] = activation[tracked]
    if "head" in recording:
        values[:, len(order) : len(order) + 3] = np.nan_to_num(recording["head"].values[tracked])
    return values, tracked


def _start_seconds(recording: "xr.Dataset") -> float:
    start = str(recording.attrs.get("start", ""))
    try:
        timecodes = parse_timecodes(pa.array([start]), lambda row: "start")
    except RecordingError:
        timecodes = parse_timecodes(pa.array([DEFAULT_START]), lambda row: "start")
    return float(timecodes.seconds[0] + timecodes.frames[0] / LIVE_LINK_BASE)


def _five_digits() -> np.ndarray:
    numbers = np.arange(100_000)[:, None] // 10 ** np.arange(4, -1, -1) % 10
    return (numbers + ord("0")).astype(np.uint8)


def _rows_of_text(timecodes: np.ndarray, values: np.ndarray) -> bytes:
    """Lines `HH:MM:SS:FF.sss,61,…`; a cell is `,-d.dddddddddd`, 14 bytes, less the sign where there is none.

    A float32 times 10¹⁰ is exact in float64 (24 + 24 bits), so rounding is that of `%.10f`.
    """
    size = np.rint(np.abs(values.astype(np.float64)) * 1e10).astype(np.int64)
    high, low = np.divmod(size, 100_000)
    whole, high = np.divmod(high, 100_000)
    cells = np.empty((*values.shape, 14), np.uint8)
    cells[..., 0] = ord(",")
    cells[..., 1] = np.where((values < 0) & (size > 0), ord("-"), 0)
    cells[..., 2] = ord("0") + whole
    cells[..., 3] = ord(".")
    cells[..., 4:9] = DIGITS[high]
    cells[..., 9:14] = DIGITS[low]
    lead = np.tile(np.frombuffer(f",{values.shape[1]}".encode(), np.uint8), (len(values), 1))
    end = np.full((len(values), 1), ord("\n"), np.uint8)
    text = np.concatenate([timecodes, lead, cells.reshape(len(values), -1), end], axis=1)
    return text[text != 0].tobytes()


DIGITS = _five_digits()
