"""Coding of categories as numbers, so that a coefficient is a difference that one can say in a sentence.

    two levels                     −½ first, +½ second, under the column's own name: second − first
    valence with three levels      `valence` (−½, 0, ½): positive − negative
                                   `neutral` (−⅓, ⅔, −⅓): neutral − the mean of the other two
    other categories               sums to zero, `name[level]` = the level's distance from the mean of levels; the
                                   last level is minus the sum of the others

Unused levels are dropped first. valence and medium keep their own order, other categories the order of their
type, or the alphabet. A coded category takes the column's place in the formula before formulae sees it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from mien.models.levels import codes_of, labels_in_use
from mien.study.errors import SpecError
from mien.study.formula import TRANSFORMS
from mien.study.tables import nearest
from mien.study.trials import MEDIA, VALENCES

__all__ = ["Coded", "code_columns", "is_category", "level_columns", "levels_of", "with_coded_columns"]

KNOWN_ORDER: Mapping[str, tuple[str, ...]] = {"valence": VALENCES, "medium": MEDIA}


class Coded(NamedTuple):
    """A category's replacement.

    columns : name in the posterior → number for each row.
    levels : the levels in use, in order.
    """

    columns: Mapping[str, np.ndarray]
    levels: tuple[str, ...]


def is_category(column: pd.Series) -> bool:
    """Categories, text and booleans are coded; numbers are taken as they are."""
    return bool(column.dtype == bool or not pd.api.types.is_numeric_dtype(column))


def levels_of(column: pd.Series, name: str) -> list[str]:
    """The levels in use, in the order that the coding follows."""
    present = labels_in_use(column)
    if name in KNOWN_ORDER and set(present) <= set(KNOWN_ORDER[name]):
        return [level for level in KNOWN_ORDER[name] if level in present]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return present
    return sorted(present)


def level_columns(name: str, levels: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns that stand for a category: name → one value for each of its levels.

    Raises
    ------
    SpecError
        For fewer than two levels.
    """
    if len(levels) < 2:
        raise SpecError(
            f"formula: expected at least two levels of {name!r} in the rows modelled, found "
            f"{', '.join(map(repr, levels)) or 'none'}: leave {name!r} out of the formula."
        )
    if len(levels) == 2:
        return {name: np.array([-0.5, 0.5])}
    if name == "valence" and tuple(levels) == VALENCES:
        return {"valence": np.array([-0.5, 0.0, 0.5]), "neutral": np.array([-1 / 3, 2 / 3, -1 / 3])}
    last = len(levels) - 1
    columns = {}
    for place, level in enumerate(levels[:last]):
        values = np.zeros(len(levels))
        values[place], values[last] = 1.0, -1.0
        columns[f"{name}[{level}]"] = values
    return columns


def code_columns(
    data: pd.DataFrame, names: Sequence[str], levels: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Coded]:
    """The coding of every category among the columns `names`; numeric columns are not in the result.

    Parameters
    ----------
    levels : of a fit's categories, for rows that the fit has not seen; None takes the levels in use.

    Raises
    ------
    SpecError
        For a category with one level in use, or, given `levels`, with another one.
    """
    coded = {}
    for name in names:
        column = cast(pd.Series, data[name])
        if not (is_category(column) if levels is None else name in levels):
            continue
        mine = levels_of(column, name) if levels is None else list(levels[name])
        codes, labels = codes_of(column)
        number = {level: place for place, level in enumerate(mine)}
        strange = [label for label in labels_in_use(column) if label not in number]
        if strange:
            raise SpecError(
                f"{name}: expected one of the fit's levels ({', '.join(mine)}), found {strange[0]!r}"
                f"{nearest(strange[0], mine)}: leave those rows out."
            )
        place = np.array([number.get(label, -1) for label in labels], dtype=np.int64)[codes]
        columns = level_columns(name, mine)
        coded[name] = Coded({new: values[place] for new, values in columns.items()}, tuple(mine))
    return coded


_WORD = re.compile(r"[^\W\d]\w*")


def with_coded_columns(text: str, coded: Mapping[str, Coded], safe: Mapping[str, str]) -> str:
    """Replace each coded category in formula text by its columns: `condition` → `(condition_0 + condition_1)`.

    Parameters
    ----------
    text : a checked formula, or the effects of a group term.
    safe : column name in the posterior → identifier that formulae can read.

    Raises
    ------
    SpecError
        When a transform is applied to a category.
    """

    def replaced(match: re.Match[str]) -> str:
        name = match[0]
        if name in TRANSFORMS and text[match.end() :].lstrip().startswith("("):
            return name
        if name not in coded:
            return name
        if _inside_call(text, match.start()):
            raise SpecError(
                f"formula {text!r}: expected a number inside a transform, found the category {name!r}."
            )
        columns = [safe[column] for column in coded[name].columns]
        return columns[0] if len(columns) == 1 else f"({' + '.join(columns)})"

    return _WORD.sub(replaced, text)


def _inside_call(text: str, position: int) -> bool:
    """Whether an open bracket before `position` belongs to a transform."""
    stack: list[bool] = []
    for place, character in enumerate(text[:position]):
        if character == "(":
            before = re.search(r"(\w+)\s*$", text[:place])
            stack.append(bool(before and before[1] in TRANSFORMS))
        elif character == ")" and stack:
            stack.pop()
    return any(stack)
