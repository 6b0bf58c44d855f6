"""Small tables that people edit (participants, stimuli, events, sessions), read with care.

Excel and its friends save them with a byte-order mark, CRLF, semicolons or commas: all of that is read. A decimal
comma is refused with the cell, since guessing would turn 1,5 into something else. `n/a` (BIDS) and empty cells
are missing. Errors name the file, the line (the header is line 1) and the column.
"""

import csv
import io
import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mien.study.errors import MienError, StudyError
from mien.study.files import write_whole

__all__ = [
    "cell", "is_number", "line_of", "nearest", "numbers_where_possible", "read_json", "read_table", "read_text",
    "write_table",
]  # fmt: skip

MISSING = ("", "n/a", "N/A", "NA", "nan", "NaN")
MAX_TABLE_BYTES = 200_000_000
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CODE = re.compile(r"[+-]?0[0-9]")  # 007 is a name, not seven
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'smile'?)`, or nothing when no known word is close."""
    found = get_close_matches(word, [str(name) for name in known], n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def line_of(row: int) -> int:
    """The line of a table's file that holds data row `row` (from 0), where every row is one line."""
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


def read_json(path: Path, error: type[MienError] = StudyError) -> dict[str, Any]:
    """The object in a JSON file."""
    text = read_text(path, error)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as reason:
        raise error(f"{path}, line {reason.lineno}: expected JSON, but {reason.msg}: correct it.") from None
    except (ValueError, RecursionError) as reason:
        raise error(f"{path}: expected JSON, but {reason}: correct it.") from None
    if not isinstance(content, dict):
        raise error(f"{path}: expected a JSON object, found {type(content).__name__}: correct it.")
    return content


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
    header, body = _rows(path, error)
    names = [name.strip() for name in header.cells]
    for row in body:
        _check_row(row, names, path, error)
    columns = {name: [row.cells[place].strip() for row in body] for place, name in enumerate(names)}
    if not any(columns.get("", ["?"])):  # spreadsheets and PsychoPy end each line with a separator
        columns.pop("")
    _check_header(list(columns), names, required, path, error)
    lines = [row.line for row in body]
    numbers = set(numeric)
    return pd.DataFrame(
        {
            name: _numbers(values, lines, f"column {name}", path, error)
            if name in numbers
            else _words(values)
            for name, values in columns.items()
        }
    )


class _Row(NamedTuple):
    line: int  # of the file, where the row begins
    cells: list[str]


def _rows(path: Path, error: type[MienError]) -> tuple[_Row, list[_Row]]:
    text = read_text(path, error)
    header = re.split(r"\r\n|\r|\n", text, maxsplit=1)[0]
    if not header.strip('\t;," '):
        found = "an empty first line" if text.strip() else "an empty file"
        raise error(f"{path}: expected a table with a header line, found {found}: start with the names.")
    if "\0" in text:
        raise error(f"{path}: expected text, found a binary file: save it as UTF-8 text with tabs or commas.")
    delimiter = max("\t;,", key=lambda character: (header.count(character), character == "\t"))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, line = [], 1
    try:
        for cells in reader:
            rows.append(_Row(line, cells))
            line = reader.line_num + 1
    except csv.Error as reason:
        raise error(f"{path}, line {line}: expected a table, but {reason}: correct the line.") from None
    while len(rows) > 1 and not any(value.strip() for value in rows[-1].cells):
        rows.pop()
    return rows[0], rows[1:]


def _check_row(row: _Row, names: list[str], path: Path, error: type[MienError]) -> None:
    if not row.cells:
        raise error(f"{path}, line {row.line}: expected a row, found an empty line: remove it.")
    if len(row.cells) != len(names):
        raise error(
            f"{path}, line {row.line}: expected {len(names)} cells as in the header, found {len(row.cells)}: check the "
            "separators and quotation marks in this line."
        )


def _check_header(
    columns: list[str], names: list[str], required: Iterable[str], path: Path, error: type[MienError]
) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise error(
            f"{path}, line 1: expected each column once, found two named {', '.join(twice)}: rename one."
        )
    if "" in columns:
        place = names.index("") + 1
        raise error(
            f"{path}, line 1: expected a name for each column, found none for number {place}: name or remove it."
        )
    missing = [name for name in required if name not in names]
    if missing:
        raise error(
            f"{path}, line 1: expected the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}, "
            f"found {', '.join(columns)}: add or rename it{nearest(missing[0], columns)}."
        )


def _words(values: list[str]) -> pd.Series:
    return pd.Series([None if value in MISSING else value for value in values], dtype="str")


def is_number(text: str) -> bool:
    """Whether a cell is a number as tables write one: 3, -2.5, 1e-3; not 1_000, 0x1F, inf or ４."""
    return _NUMBER.fullmatch(text) is not None


def _numbers(
    values: list[str], lines: list[int], column: str, path: Path, error: type[MienError]
) -> pd.Series:
    numbers = []
    for line, value in zip(lines, values, strict=True):
        where = f"{path}, line {line}, {column}"
        if value not in MISSING and not is_number(value):
            remedy = (
                "write it with a decimal point" if _DECIMAL_COMMA.fullmatch(value) else "correct the cell"
            )
            raise error(f"{where}: expected a number, found {value!r}: {remedy}.")
        number = float("nan") if value in MISSING else float(value)
        if number in (float("inf"), float("-inf")):
            raise error(f"{where}: expected a finite number, found {value!r}: correct the cell.")
        numbers.append(number)
    return pd.Series(numbers, dtype="float64")


def numbers_where_possible(
    table: pd.DataFrame, *, keep: tuple[str, ...] = (), where: Path | str = "table"
) -> pd.DataFrame:
    """Text columns whose every known cell is a number, as float64; the columns in `keep` stay text.

    Codes with a leading zero (007) are text.

    Raises
    ------
    StudyError
        For a column of numbers in which some have a decimal comma.
    """
    table = table.copy()
    for name in table.columns:
        if name in keep or pd.api.types.is_numeric_dtype(table[name]):
            continue
        known = [(row, str(value)) for row, value in enumerate(table[name]) if not pd.isna(value)]
        odd = [(row, value) for row, value in known if not is_number(value)]
        if not known or any(_CODE.match(value) for _, value in known):
            continue
        if not odd:
            table[name] = table[name].astype("float64")
        elif all(_DECIMAL_COMMA.fullmatch(value) for _, value in odd):
            row, value = odd[0]
            raise StudyError(
                f"{cell(where, row, str(name))}: expected a number, found {value!r}: write it with a decimal point."
            )
    return table


def _text(value: object) -> str:
    if pd.isna(value):  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
        return "n/a"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(float(value))
    text = re.sub(r"[\t\r\n\0]", " ", str(value)).strip() or "n/a"
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a TSV (BIDS): tabs, LF, `n/a` for missing; whole or not at all."""
    lines = ["\t".join(map(_text, frame.columns))]
    lines += ["\t".join(map(_text, row)) for row in frame.itertuples(index=False, name=None)]
    write_whole(path, "\n".join(lines) + "\n")
