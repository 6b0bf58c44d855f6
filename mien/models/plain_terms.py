"""Terms of a formula that need no evaluation: columns, sums and products of columns.

Most formulas are of this kind, and formulae takes longer over them than an engine over the posterior. What this
file does not read (transforms, brackets, `/`, `-`, a term twice) is left to formulae; where it reads, the terms, their
order and their names are those of formulae.
"""

import re
from collections.abc import Mapping, Sequence

__all__ = ["plain_terms"]

_COLUMN = re.compile(r"[A-Za-z]\w*", re.ASCII)

type Term = tuple[str, ...]  # the columns that are multiplied; () for the intercept


def plain_terms(text: str, columns: Mapping[str, Sequence[str]]) -> list[Term] | None:
    """The terms of one side of a formula, or None where formulae is needed.

    Parameters
    ----------
    text : e.g. ``"0 + valence * medium"``.
    columns : name in the text → the columns that it stands for (several for a category of several levels).
    """
    first, *others = (part.strip() for part in text.split("+"))
    constant = first in ("0", "1")
    terms: list[Term] = [] if first == "0" else [()]
    for part in others if constant else [first, *others]:
        product = _product(part, columns)
        if product is None:
            return None
        terms += product
    distinct = {frozenset(term) for term in terms}
    return (
        terms if len(distinct) == len(terms) and all(len(set(term)) == len(term) for term in terms) else None
    )


def _product(text: str, columns: Mapping[str, Sequence[str]]) -> list[Term] | None:
    """`a * b:c` = a, b:c, a:b:c."""
    terms: list[Term] = []
    for place, part in enumerate(text.split("*")):
        right: list[Term] = [()]
        for name in (name.strip() for name in part.split(":")):
            if not _COLUMN.fullmatch(name) or name not in columns:
                return None
            right = [(*term, column) for term in right for column in columns[name]]
        terms = [*terms, *right, *((*one, *other) for one in terms for other in right)] if place else right
    return terms
