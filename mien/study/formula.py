"""The safe door for formulas: what a user may write, checked before anything is evaluated.

formulae evaluates any function that it can reach, so `y ~ pd.io.common.os.system('…')` would run. Here a formula may
hold column names, operators, numbers and a short list of transforms, and nothing else: no attributes, no strings,
no indexing (the grammar is in `formula_grammar`). Formulas of plans, grids and stored fits go through the same door.

`(a + b || g)` asks for uncorrelated effects. formulae does not know it, so it is rewritten to `(a + b | g)` and the
group term remembers it. `(a + b | g)` is correlated, the lme4 convention.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from mien.study.errors import SpecError
from mien.study.formula_grammar import Item, read_formula
from mien.study.formula_tokens import Reader, join
from mien.study.formula_transforms import OPTIONS
from mien.study.tables import nearest

__all__ = ["ENVIRONMENT", "TRANSFORMS", "Formula", "GroupTerm", "parse_formula"]

TRANSFORMS = tuple(OPTIONS)
# All that an evaluated formula may reach besides formulae's own transforms; `env=Environment([ENVIRONMENT])` keeps the
# caller's names out, which formulae would search first.
ENVIRONMENT: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}
)


class GroupTerm(NamedTuple):
    """One `(effects | group)` of a formula."""

    effects: str
    group: str
    correlated: bool


class Formula(NamedTuple):
    """A checked formula.

    text : as written, one space between tokens.
    formulae : the same for formulae: `||` as `|`, and an intercept that is left out as `0` before the other terms.
    response : the column left of `~`, "" where there is none.
    common : the part of the right side that is not a group term.
    groups : the group terms, in order.
    columns : every column that the formula names.
    """

    text: str
    formulae: str
    response: str
    common: str
    groups: tuple[GroupTerm, ...]
    columns: tuple[str, ...]


def parse_formula(text: str, columns: Iterable[str] | None = None) -> Formula:
    """Check a formula and take it apart; nothing is evaluated.

    Parameters
    ----------
    text : e.g. ``"activation ~ valence + (valence | participant) + (1 | stimulus)"``.
    columns : the columns that may be named; None checks the form alone.

    Raises
    ------
    SpecError
        Naming the character, or the column that is not there.
    """
    formula = _parsed(text) if isinstance(text, str) else _parsed.__wrapped__(text)
    if columns is not None:
        _check_columns(formula.columns, [str(name) for name in columns], text)
    return formula


@lru_cache(maxsize=256)
def _parsed(text: str) -> Formula:
    reader = Reader(text)
    response, items = read_formula(reader)
    formula = Formula(
        text=join(reader.tokens[:-1]),
        formulae=(f"{response} ~ " if response else "") + _for_formulae(items),
        response=response,
        common=_written([item for item in items if not item.bar]) or "1",
        groups=tuple(
            GroupTerm(_written(item.effects), join(item.group), item.bar == "|") for item in items if item.bar
        ),
        columns=tuple(reader.columns),
    )
    if not all(map(_is_plain, items)):
        _check_with_formulae(formula)
    return formula


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*|[01*:]")


def _is_plain(item: Item) -> bool:
    """Columns and their products only, each column once: formulae cannot read them in another way."""
    if item.bar:
        something = any(effect.constant != "0" for effect in item.effects)
        group = all(token.text == "/" or _PLAIN.fullmatch(token.text) for token in item.group)
        return something and group and all(_is_plain(effect) for effect in item.effects)
    names = [token.text for token in item.tokens if token.kind == "name"]
    known = all(_PLAIN.fullmatch(token.text) for token in item.tokens)
    return known and item.sign == "+" and len(set(names)) == len(names)


def _check_columns(named: Sequence[str], known: Sequence[str], text: str) -> None:
    unknown = [name for name in named if name not in known]
    if unknown:
        raise SpecError(
            f"formula {text!r}: expected columns of the data, found {unknown[0]!r}{nearest(unknown[0], known)}."
        )


def _written(items: Sequence[Item]) -> str:
    """The items as the user wrote them."""
    text = " ".join(f"{item.sign} {join(item.tokens)}" for item in items)
    return text.removeprefix("+ ")


def _for_formulae(items: Sequence[Item]) -> str:
    """The items as formulae reads them: it understands a `0` or `- 1` only before other terms."""
    constant = next((item.constant for item in items if item.constant), "")
    parts = [
        f"{item.sign} "
        + (f"({_for_formulae(item.effects)} | {join(item.group)})" if item.bar else join(item.tokens))
        for item in items
        if not item.constant
    ]
    text = " ".join(parts).removeprefix("+ ")
    if constant == "0" or not text or text.startswith("- "):
        text = f"{constant or '1'} {'' if text.startswith('- ') else '+ '}{text}" if text else constant or "1"
    return text


def _check_with_formulae(formula: Formula) -> None:
    """Let formulae parse the text too (it evaluates nothing yet), and see that it found no other columns."""
    from formulae.model_description import model_description

    try:
        found = {str(name) for name in model_description(formula.formulae).var_names} - {""}
    except Exception as reason:  # formulae raises whatever its own code stumbles over
        raise SpecError(
            f"formula {formula.text!r}: expected terms that formulae can combine, found others ({reason}): "
            "write the products out as single terms."
        ) from None
    if not found <= set(formula.columns):
        raise SpecError(
            f"formula {formula.text!r}: expected {', '.join(formula.columns)}, but formulae reads "
            f"{', '.join(sorted(found - set(formula.columns)))}: rename the columns with letters and digits."
        )
