"""Levels: the labels of a category or of a combination of categories, and one code for every row.

Categories are read through their codes, so that only labels that differ are ever turned into text.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd

from mien.study.errors import SpecError

__all__ = ["codes_of", "labels_in_use", "level_codes"]

COUNTED = 1_000_000  # combinations that may be counted in a table instead of sorted


def codes_of(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """(row,) codes, -1 where missing, and the label of each code; labels need not be in use."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), _text(column.cat.categories)
    if isinstance(column.dtype, pd.StringDtype):
        codes, found = column.array.factorize()  # half the time of pd.factorize
        return codes, found.to_numpy(dtype=object).tolist()
    codes, found = pd.factorize(column)
    return codes, _text(pd.Index(found))


def _text(values: pd.Index) -> list[str]:
    if pd.api.types.is_string_dtype(values.dtype) or values.dtype == object:
        return [str(value) for value in values]
    if pd.api.types.is_integer_dtype(values.dtype):
        return [str(value) for value in values.tolist()]
    return [str(value) for value in pd.Series(values).astype("str")]


def labels_in_use(column: pd.Series) -> list[str]:
    """The labels that occur, in the order of the category's type or of first occurrence."""
    codes, labels = codes_of(column)
    return [labels[code] for code in np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(labels)))]


def level_codes(data: pd.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Code of every row and the levels that occur, sorted as text; `a:b` for the columns a and b."""
    codes, labels = codes_of(cast(pd.Series, data[names[0]]))
    combined = codes.astype(np.int64)
    for name in names[1:]:
        codes, more = codes_of(cast(pd.Series, data[name]))
        present, combined = _renumbered(combined * len(more) + codes, len(labels) * len(more))
        labels = [f"{labels[place // len(more)]}:{more[place % len(more)]}" for place in present]
    present, combined = _renumbered(combined, len(labels))
    mine = [labels[place] for place in present]
    levels = sorted(set(mine))
    if len(names) > 1 and len(levels) < len(mine):
        alike = next(label for label in levels if mine.count(label) > 1)
        raise SpecError(
            f"group {':'.join(names)}: expected labels that can be told apart when they are joined by ':', found two "
            f"combinations that are both {alike!r}: rename the labels that hold a ':'."
        )
    number = {level: place for place, level in enumerate(levels)}
    return np.array([number[label] for label in mine], dtype=np.int64)[combined], tuple(levels)


def _renumbered(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes that occur, and for every row the place of its own among them."""
    if size > COUNTED:
        return np.unique(codes, return_inverse=True)
    present = np.flatnonzero(np.bincount(codes, minlength=size))
    place = np.zeros(size, dtype=np.int64)
    place[present] = np.arange(len(present))
    return present, place[codes]
