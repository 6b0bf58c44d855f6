"""What leaves the app: tables without spreadsheet formulas, groups that are large enough, one door with its log line.

A spreadsheet runs a cell that begins with = + - or @ (OWASP, CSV injection), also after blanks, tabs and line ends.
Such texts get an apostrophe in front; numbers, negative ones too, stay as they are. Texts are quoted, so that a
separator of another country's spreadsheet does not begin a new cell inside one.
"""

import csv
import math
import numbers
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd

from mien.reports_app.app.access import Visitor, require
from mien.study.tables import is_number

__all__ = ["LEAST", "SMALL", "csv_bytes", "offer", "small_groups"]

LEAST = 5  # persons
SMALL = "in groups under 5"
BEGINS_FORMULA = frozenset("=+-@\t\r\n＝＋－＠|%")  # with full-width forms, and what DDE took
MINUS = "−"


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A table as CSV (UTF-8, commas, LF), harmless in a spreadsheet; missing values are empty.

    Numbers keep full precision. A text that is a plain number (-0.5, −0.5) stays; any other that could begin a
    formula gets an apostrophe, headers too. The index is not written.
    """
    safe = pd.DataFrame({place: _guarded(frame.iloc[:, place]) for place in range(frame.shape[1])})
    safe.columns = pd.Index([_guard(name) for name in frame.columns], dtype=object)
    text = safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode("utf-8")


def _guarded(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.reset_index(drop=True)
    return pd.Series([_guard(value) for value in column], dtype=object)


def _guard(value: Any) -> Any:
    if isinstance(value, numbers.Number):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    text = str(value)
    begins = text.lstrip(" \u00a0")[:1]
    if begins not in BEGINS_FORMULA:
        return text
    return text if _plain_number(text) else "'" + text


def _plain_number(text: str) -> bool:
    plain = text.strip(" ").replace(MINUS, "-", 1)
    return is_number(plain) and math.isfinite(float(plain))


def small_groups(
    frame: pd.DataFrame, by: str, *, person: Hashable = "participant_id", least: int = LEAST
) -> pd.DataFrame:
    """The table with groups of fewer than `least` persons put together, so that none of them is broken down.

    Where those together are still fewer, the next smallest group joins them: their number could be had by subtraction.

    Parameters
    ----------
    frame : rows that belong to persons. by : the column of groups. person : the column that tells persons apart.
    """
    told = frame[by].astype("object")
    known = pd.DataFrame({"group": told, "person": frame[person]}).dropna()
    sizes = {name: len(set(rows["person"])) for name, rows in known.groupby("group")}
    joined = [name for name, size in sizes.items() if size < least]
    if not joined:
        return frame.copy()
    others = sorted(set(sizes) - set(joined), key=lambda name: sizes[name])
    while others and sum(sizes[name] for name in joined) < least:
        joined.append(others.pop(0))
    return frame.assign(**{by: told.where(~told.isin(joined), SMALL)})


def offer(
    visitor: Visitor, page: str, label: str, name: str, make: Callable[[], bytes], *,
    mime: str = "text/csv", what: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """A button that hands out a file: the bytes are made when it is pressed, after their line in the log.

    Parameters
    ----------
    name : the file's. make : its bytes; reads data, and so refuses by itself whoever may not.
    what : further words for the log.

    Raises
    ------
    NotAllowedError
    """
    require(visitor, page)
    import streamlit as st

    st.download_button(label, handed_out(visitor, page, name, make, what or {}), file_name=name, mime=mime)


def handed_out(
    visitor: Visitor, page: str, name: str, make: Callable[[], bytes], what: Mapping[str, object]
) -> Callable[[], bytes]:
    """The bytes of an export, with role and log line when they are asked for."""
    from mien.reports_app.app.journal import note
    from mien.reports_app.app.settings import settings

    study = settings().study

    def made() -> bytes:
        require(visitor, page)
        content = make()
        note(study, visitor, "export", page=page, file=name, bytes=len(content), **what)
        return content

    return made
