"""Small tables that people edit (participants, stimuli, events, sessions), read with care.

Excel and its friends save them with a byte-order mark, CRLF, semicolons or commas: all of that is read. A decimal
comma is refused with the cell, since guessing would turn 1,5 into something else. `n/a` (BIDS) and empty cells
are missing. Errors name the file, the line (the header is line 1) and the column.
"""

import csv
import io
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from mien.study.errors import MienError, StudyError
from mien.study.files import write_whole

__all__ = ["cell", "line_of", "nearest", "read_table", "read_text", "write_table"]

MISSING = ("", "n/a", "N/A", "NA", "nan", "NaN")
DECIMAL_COMMA = re.compile(r"^\s*[+-]?\d+,\d+\s*$")
MAX_TABLE_BYTES = 200_000_000


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'smile'?)`, or nothing when no known word is close."""
    found = get_close_matches(word, [str(name) for name in known], n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def line_of(row: int) -> int:
    """The line of a table's file that holds data row `row` (from 0)."""
    return row + 2


def cell(path: Path | str, row: int, column: str) -> str:
    """Where a cell is, for an error message."""
    return f"{path}, line {line_of(row)}, column {column}"


def read_text(path: Path, error: type[MienError] = StudyError) -> str:
    """The text of a UTF-8 file (with or without a byte-order mark)."""
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_TABLE_BYTES else b""
    except OSError as reason:
        raise error(f"{path}: expected a readable file, but {reason.strerror or reason}.") from None
    if size > MAX_TABLE_BYTES:
        raise error(
            f"{path}: expected a table of at most {MAX_TABLE_BYTES // 10**6} MB, found {size // 10**6} MB."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content[: reason.start].count(b"\n") + 1
        raise error(
            f"{path}, line {line}: expected UTF-8 text, found the byte 0x{content[reason.start]:02x}: "
            "save the file as UTF-8 (in Excel: «CSV UTF-8»)."
        ) from None


def _delimiter(header: str) -> str:
    return max("\t;,", key=lambda character: (header.count(character), character == "\t"))


def read_table(
    path: Path,
    *,
    required: Iterable[str] = (),
    numeric: Iterable[str] = (),
    error: type[MienError] = StudyError,
) -> pd.DataFrame:
    """Read a TSV or CSV table; text columns are `str` with NA, `numeric` ones float64.

    Parameters
    ----------
    required : columns that must be there.
    numeric : columns that must hold numbers (missing allowed) where they are there.
    error : which child of MienError to raise.
    """
    text = read_text(path, error)
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise error(f"{path}: expected a table with a header line, found an empty file.")
    if "\0" in text:
        raise error(f"{path}: expected text, found a binary file.")
    rows = _rows(text, path, error)
    header = [name.strip() for name in rows[0]]
    _check_header(header, required, path, error)
    body = rows[1:]
    for number, row in enumerate(body):
        if len(row) != len(header):
            raise error(
                f"{path}, line {line_of(number)}: expected {len(header)} cells as in the header, found {len(row)}: "
                "check the separators in this line."
            )
    columns = {name: [row[index].strip() for row in body] for index, name in enumerate(header)}
    numbers = set(numeric)
    return pd.DataFrame(
        {
            name: _numbers(values, name, path, error) if name in numbers else _words(values)
            for name, values in columns.items()
        }
    )


def _rows(text: str, path: Path, error: type[MienError]) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text.splitlines()[0]))
    try:
        rows = list(reader)
    except csv.Error as reason:
        raise error(f"{path}, line {reader.line_num}: expected a table, but {reason}.") from None
    while rows and not any(value.strip() for value in rows[-1]):
        rows.pop()
    return rows


def _check_header(header: list[str], required: Iterable[str], path: Path, error: type[MienError]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise error(
            f"{path}, line 1: expected each column once, found two named {', '.join(twice)}: rename one."
        )
    missing = [name for name in required if name not in header]
    if missing:
        raise error(
            f"{path}, line 1: expected the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}, "
            f"found {', '.join(header)}: add or rename it{nearest(missing[0], header)}."
        )


def _words(values: list[str]) -> pd.Series:
    return pd.Series([None if value in MISSING else value for value in values], dtype="str")


def _numbers(values: list[str], name: str, path: Path, error: type[MienError]) -> pd.Series:
    numbers = []
    for row, value in enumerate(values):
        try:
            number = float("nan") if value in MISSING else float(value)
        except ValueError:
            remedy = "write it with a decimal point" if DECIMAL_COMMA.match(value) else "correct the cell"
            raise error(f"{cell(path, row, name)}: expected a number, found {value!r}: {remedy}.") from None
        if number in (float("inf"), float("-inf")):
            raise error(
                f"{cell(path, row, name)}: expected a finite number, found {value!r}: correct the cell."
            )
        numbers.append(number)
    return pd.Series(numbers, dtype="float64")


def _text(value: object) -> str:
    if pd.isna(value):  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
        return "n/a"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(float(value))
    return str(value).replace("\t", " ").replace("\r", " ").replace("\n", " ")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a TSV (BIDS): tabs, LF, `n/a` for missing; whole or not at all."""
    lines = ["\t".join(map(str, frame.columns))]
    lines += ["\t".join(map(_text, row)) for row in frame.itertuples(index=False, name=None)]
    write_whole(path, "\n".join(lines) + "\n")
