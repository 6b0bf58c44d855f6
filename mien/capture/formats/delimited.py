"""Comma-separated numbers, fast when they are right and exact about the place when they are not.

pyarrow parses the columns; only when something is wrong are the lines read again, slowly, to name line and column.
An empty cell is allowed only where the whole row of shapes is empty: a frame without a face (NaN). `nan`, `inf` and
words are refused: no tracker writes them, so something else did.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from mien.capture.formats.source import Source
from mien.study.blend_shapes import canonical_names
from mien.study.errors import RecordingError

__all__ = [
    "Table",
    "check_twice",
    "first_line",
    "numbers",
    "read_table",
    "row_place",
    "shape_columns",
    "words",
]

BOM = b"\xef\xbb\xbf"
MAX_HEADER_BYTES = 65_536
MAX_COLUMNS = 2_000
LINE_END = re.compile(rb"[\r\n]")


class Table(NamedTuple):
    """The parsed columns of a delimited file, by position."""

    source: Source
    header: list[str]
    columns: pa.Table


def first_line(head: bytes) -> str:
    """The first line of a file that may be text, or "" where it is not."""
    line = LINE_END.split(head.removeprefix(BOM)[:MAX_HEADER_BYTES], maxsplit=1)[0]
    try:
        return line.decode("utf-8") if b"\0" not in line else ""
    except UnicodeDecodeError:
        return ""


def read_table(source: Source, *, text: Sequence[str] = (), whole: bool = True) -> Table:
    """Parse a comma-separated file with one header line.

    Parameters
    ----------
    text : columns (lower case) that hold text; all others hold numbers.
    whole : whether every column must hold numbers; otherwise only blend shapes and times are converted.

    Raises
    ------
    RecordingError
        Naming the line and column of what cannot be read.
    """
    _check_utf8(source)
    header = [name.strip() for name in first_line(source.content).split(",")]
    if not 2 <= len(header) <= MAX_COLUMNS:
        raise RecordingError(
            f"{source.name}, line 1: expected a header of some 60 columns separated by commas, found "
            f"{first_line(source.content)[:60]!r}: "
            "a spreadsheet may have saved it differently; use the original file."
        )
    types: dict[str, pa.DataType] = {
        str(index): pa.string() if _is_text(name, text, whole) else _number_type(name)
        for index, name in enumerate(header)
    }
    try:
        columns = pcsv.read_csv(
            pa.BufferReader(source.content),
            read_options=pcsv.ReadOptions(column_names=list(types), skip_rows=1, use_threads=False),
            parse_options=pcsv.ParseOptions(quote_char=False),
            convert_options=pcsv.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException as reason:
        raise _located(source, header, types, str(reason)) from None
    if not columns.num_rows:
        raise RecordingError(
            f"{source.name}: expected one line a frame below the header, found none: the recording is "
            "empty; record again."
        )
    return Table(source, header, columns)


def _is_text(name: str, text: Sequence[str], whole: bool) -> bool:
    lower = name.lower()
    return lower in text or not (whole or lower.startswith(("time", "frame")) or canonical_names([name]))


def _number_type(name: str) -> pa.DataType:
    return pa.float32() if canonical_names([name]) else pa.float64()


def _check_utf8(source: Source) -> None:
    if source.content.isascii():
        return
    try:
        source.content.decode("utf-8")
    except UnicodeDecodeError as reason:
        line = source.content.count(b"\n", 0, reason.start) + 1
        raise RecordingError(
            f"{source.name}, line {line}: expected UTF-8 text, found the byte "
            f"0x{source.content[reason.start]:02x}: "
            "the file was saved again by another program; use the original."
        ) from None


def _rows(source: Source) -> Any:  # a csv.reader, whose type has no public name
    text = io.StringIO(source.content.decode("utf-8-sig"), newline=None)
    return csv.reader(text, quoting=csv.QUOTE_NONE)


def _located(source: Source, header: list[str], types: dict[str, pa.DataType], reason: str) -> RecordingError:
    """What is wrong, and in which line and column."""
    rows = _rows(source)
    try:
        for row in islice(rows, 1, None):
            if row and len(row) != len(header):
                return RecordingError(
                    f"{source.name}, line {rows.line_num}: expected {len(header)} cells as in the header, "
                    "found "
                    f"{len(row)}: the line was cut short or damaged; use the original file, or delete this "
                    "line if it "
                    "is the last one."
                )
            for name, kind, value in zip(header, types.values(), row, strict=False):
                if kind != pa.string() and not _is_number(value):
                    return _no_number(source, rows.line_num, name, value)
    except csv.Error as wrong:
        reason = str(wrong)
    return RecordingError(
        f"{source.name}, line {rows.line_num}: expected comma-separated numbers, but {reason[:200]}: use "
        "the original file."
    )


def _is_number(text: str) -> bool:
    try:
        return not text.strip() or ("_" not in text and bool(np.isfinite(np.float32(text))))
    except (ValueError, OverflowError):
        return False


def _no_number(source: Source, line: int, name: str, value: str) -> RecordingError:
    return RecordingError(
        f"{source.name}, line {line}, column {name}: expected a finite number, found {value.strip()[:40]!r}: "
        "the file was edited or damaged; use the original, or delete this line (it then counts as lost)."
    )


def row_place(source: Source, row: int) -> str:
    """Where data row `row` (from 0) is: `FILE, line N`; empty lines, which carry no row, are counted."""
    rows = _rows(source)
    filled = (rows.line_num for cells in rows if cells)
    return f"{source.name}, line {next(islice(filled, row + 1, None), row + 2)}"


def words(table: Table, index: int) -> pa.Array:
    """One text column."""
    column = table.columns.column(index).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def numbers(table: Table, indexes: Sequence[int], *, dtype: type = np.float32) -> np.ndarray:
    """Columns as one array (frames, columns); NaN in rows in which all of them are empty.

    Raises
    ------
    RecordingError
        For NaN, infinities and single empty cells, naming line and column.
    """
    values = np.empty((table.columns.num_rows, len(indexes)), dtype)
    for place, index in enumerate(indexes):
        values[:, place] = table.columns.column(index).to_numpy()
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    empty = np.column_stack([np.asarray(table.columns.column(index).is_null()) for index in indexes])
    bad &= ~(empty & empty.all(axis=1, keepdims=True))
    if bad.any():
        row, place = (int(number) for number in np.argwhere(bad)[0])
        line = row_place(table.source, row).rpartition(" ")[2]
        found = "" if empty[row, place] else repr(float(values[row, place]))
        raise _no_number(table.source, int(line), table.header[indexes[place]], found)
    return values


def shape_columns(table: Table, expected: Sequence[str]) -> dict[str, int]:
    """Position of each expected blend shape; missing ones and two columns of one shape are named.

    Raises
    ------
    RecordingError
    """
    given = canonical_names(table.header)
    check_twice([given[name] for name in table.header if name in given], f"{table.source.name}, line 1")
    places = {given[name]: index for index, name in enumerate(table.header) if name in given}
    missing = [name for name in expected if name not in places]
    if missing:
        raise RecordingError(
            f"{table.source.name}, line 1: expected a column for each of {len(expected)} blend shapes, but "
            f"{', '.join(missing[:8])}{' …' if len(missing) > 8 else ''} "
            f"{'is' if len(missing) == 1 else 'are'} missing: use the original file with all columns."
        )
    return {name: places[name] for name in expected}


def check_twice(names: Sequence[str], where: str) -> None:
    """Refuse two columns (or fields) of one blend shape, in whatever spelling."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise RecordingError(
            f"{where}: expected each blend shape once, found {', '.join(twice[:5])} more than once: remove "
            "one of them."
        )
