"""The safe door for formulas: what a user may write, checked before anything is evaluated.

formulae evaluates any function that it can reach, so `y ~ pd.io.common.os.system('…')` would run. Here a formula may
hold column names, operators, numbers and a short list of transforms, and nothing else: no attributes, no strings,
no indexing. Formulas of recipes, plans, grids and stored fits go through the same door.

`(a + b || g)` asks for uncorrelated effects. formulae does not know it, so it is rewritten to `(a + b | g)` and the
group term remembers it. `(a + b | g)` is correlated, the lme4 convention.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = ["TRANSFORMS", "Formula", "GroupTerm", "parse_formula", "parse_linear_combination"]

TRANSFORMS = ("scale", "center", "log", "exp", "sqrt", "bs", "poly", "I")
MAX_LENGTH = 2000

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[^\W\d]\w*)|(?P<operator>\*\*|\|\||[-~+*/:|(),=]))"
)


class GroupTerm(NamedTuple):
    """One `(effects | group)` of a formula."""

    effects: str
    group: str
    correlated: bool


class Formula(NamedTuple):
    """A checked formula.

    text : as written, one space between tokens.
    formulae : the same for formulae, with `||` rewritten to `|`.
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


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def _tokens(text: str, what: str) -> list[_Token]:
    if not isinstance(text, str) or not text.strip():
        raise SpecError(f"{what}: expected text such as 'activation ~ valence', found {text!r}.")
    if len(text) > MAX_LENGTH:
        raise SpecError(f"{what}: expected at most {MAX_LENGTH} characters, found {len(text)}.")
    tokens, position = [], 0
    stop = len(text.rstrip())
    while position < stop:
        found = _TOKEN.match(text, position)
        if not found:
            place = len(text[:position]) + len(text[position:]) - len(text[position:].lstrip())
            raise SpecError(
                f"{what}: expected column names, numbers, operators and the transforms {', '.join(TRANSFORMS)}, "
                f"found {text[place]!r} at character {place + 1} of {text!r}: remove it."
            )
        kind = str(found.lastgroup)
        tokens.append(_Token(kind, found[kind], found.start(kind)))
        position = found.end()
    return tokens


def _check_calls(tokens: Sequence[_Token], text: str) -> None:
    """Only listed transforms are called, only inside them stand commas and `=`, brackets close."""
    stack: list[bool] = []  # for each open bracket: is it a transform's?
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        where = f"formula {text!r}, character {token.position + 1}"
        if token.text == "(":
            stack.append(_opens_call(before, where))
        elif token.text == ")":
            if not stack:
                raise SpecError(f"{where}: expected no ')' here, since no '(' is open.")
            stack.pop()
        elif token.text in (",", "=") and not any(stack):
            raise SpecError(
                f"{where}: expected {token.text!r} only inside a transform such as bs(time, df=5)."
            )
        elif token.text == "~" and stack:
            raise SpecError(f"{where}: expected '~' outside of brackets.")
        elif token.kind != "operator" and before is not None and before.kind != "operator":
            raise SpecError(f"{where}: expected an operator between {before.text!r} and {token.text!r}.")
    if stack:
        raise SpecError(f"formula {text!r}: expected every '(' to be closed, found {len(stack)} open.")


def _opens_call(before: _Token | None, where: str) -> bool:
    if before is None:
        return False
    if before.kind == "number" or before.text == ")":
        raise SpecError(f"{where}: expected an operator before '(', found {before.text!r}.")
    if before.kind == "name" and before.text not in TRANSFORMS:
        raise SpecError(
            f"{where}: expected one of the transforms {', '.join(TRANSFORMS)}, found a call of "
            f"{before.text!r}{nearest(before.text, TRANSFORMS)}: compute it as a column first."
        )
    return before.kind == "name"


def _names(tokens: Sequence[_Token]) -> tuple[str, ...]:
    """Column names: names that are neither called nor keywords of a call."""
    columns = []
    for index, token in enumerate(tokens):
        after = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.kind == "name" and after not in ("(", "="):
            columns.append(token.text)
    return tuple(dict.fromkeys(columns))


def _join(tokens: Sequence[_Token]) -> str:
    text = " ".join(token.text for token in tokens)
    text = re.sub(r" ?(\*\*|[:,]) ?", lambda found: found[1] + (" " if found[1] == "," else ""), text)
    text = re.sub(r"\( ", "(", re.sub(r" \)", ")", text))
    return re.sub(r"(?<=\w) (?=\()", "", re.sub(r"(?<=\w) = (?=\S)", "=", text))


def _split_groups(tokens: Sequence[_Token], text: str) -> tuple[list[_Token], list[GroupTerm]]:
    common: list[_Token] = []
    groups: list[GroupTerm] = []
    index = 0
    while index < len(tokens):
        end = _closing(tokens, index) if tokens[index].text == "(" else index
        inside = list(tokens[index + 1 : end])
        bars = [place for place, token in enumerate(inside) if token.text in ("|", "||")]
        if not bars:
            common += tokens[index : end + 1]
        elif len(bars) > 1:
            raise SpecError(f"formula {text!r}: expected one '|' or '||' in each bracket, found {len(bars)}.")
        else:
            if common and common[-1].text not in ("+", "~"):
                raise SpecError(f"formula {text!r}: expected '+' before each (effects | group).")
            common = common[:-1] if common and common[-1].text == "+" else common
            groups.append(_group_term(inside, bars[0], text))
        index = end + 1
    if any(token.text in ("|", "||") for token in common):
        raise SpecError(
            f"formula {text!r}: expected group effects in brackets of their own, e.g. (valence | participant)."
        )
    if common and common[0].text == "+":
        common = common[1:]
    return common, groups


def _closing(tokens: Sequence[_Token], start: int) -> int:
    depth = 0
    for index in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[index].text, 0)
        if depth == 0:
            return index
    raise AssertionError("brackets were checked")


def _group_term(inside: Sequence[_Token], bar: int, text: str) -> GroupTerm:
    effects, group = list(inside[:bar]), list(inside[bar + 1 :])
    if (
        not effects
        or not group
        or any(token.text not in (":", "/") for token in group if token.kind != "name")
    ):
        raise SpecError(f"formula {text!r}: expected (effects | group) with a column or a:b as the group.")
    return GroupTerm(_join(effects), _join(group), inside[bar].text == "|")


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
    tokens = _tokens(text, "formula")
    _check_calls(tokens, text)
    tildes = [index for index, token in enumerate(tokens) if token.text == "~"]
    if len(tildes) > 1 or (tildes and tildes[0] > 1):
        raise SpecError(f"formula {text!r}: expected one column, then one '~', then the terms.")
    response = tokens[0].text if tildes and tildes[0] == 1 else ""
    if tildes and tokens[0].kind == "number":
        raise SpecError(f"formula {text!r}: expected a column left of '~', found the number {response}.")
    right = tokens[tildes[0] + 1 :] if tildes else tokens
    if not right:
        raise SpecError(f"formula {text!r}: expected terms right of '~', found none.")
    common, groups = _split_groups(right, text)
    named = _names(tokens)
    if columns is not None:
        known = list(columns)
        unknown = [name for name in named if name not in known]
        if unknown:
            raise SpecError(
                f"formula {text!r}: expected columns of the data, found {unknown[0]!r}{nearest(unknown[0], known)}."
            )
    plain = _join(tokens)
    return Formula(plain, plain.replace("||", "|"), response, _join(common) or "1", tuple(groups), named)


def parse_linear_combination(text: str, names: Sequence[str]) -> Mapping[str, float]:
    """`"valence + valence:medium / 2"` → ``{"valence": 1.0, "valence:medium": 0.5}``.

    Parameters
    ----------
    text : a sum of coefficients times numbers; brackets, `+ - * /` and numbers are understood.
    names : the coefficients' names; any characters may occur in them.

    Raises
    ------
    SpecError
        For an unknown name, a product of two coefficients, or anything that is not linear.
    """
    return _LinearParser(text, names).parse()


class _LinearParser:
    """Recursive descent over + - * / and brackets; a value is (constant, {name: weight})."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text = text
        self.names = sorted(names, key=len, reverse=True)
        self.position = 0
        self.depth = 0

    def parse(self) -> Mapping[str, float]:
        if not isinstance(self.text, str) or not 0 < len(self.text.strip()) <= MAX_LENGTH:
            raise SpecError(
                f"hypothesis: expected text such as 'valence + valence:medium / 2', found {self.text!r}."
            )
        constant, weights = self._sum()
        if self._peek():
            raise self._wrong("an operator or the end")
        if constant:
            raise SpecError(
                f"hypothesis {self.text!r}: expected a sum of coefficients, found the constant {constant:g}."
            )
        if not weights:
            raise SpecError(f"hypothesis {self.text!r}: expected at least one coefficient, found none.")
        return weights

    def _wrong(self, expected: str) -> SpecError:
        rest = self.text[self.position :].strip()
        word = re.match(r"[\w:.\[\]]+|.", rest)
        found = word[0] if word else "the end"
        return SpecError(
            f"hypothesis {self.text!r}, character {self.position + 1}: expected {expected}, found "
            f"{found!r}{nearest(found, self.names)}; the coefficients are {', '.join(sorted(self.names))}."
        )

    def _peek(self) -> str:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        return self.text[self.position] if self.position < len(self.text) else ""

    def _sum(self) -> tuple[float, dict[str, float]]:
        constant, weights = self._product()
        while (sign := self._peek()) in ("+", "-") and sign:
            self.position += 1
            other_constant, other = self._product()
            factor = 1.0 if sign == "+" else -1.0
            constant += factor * other_constant
            for name, weight in other.items():
                weights[name] = weights.get(name, 0.0) + factor * weight
        return constant, weights

    def _product(self) -> tuple[float, dict[str, float]]:
        constant, weights = self._factor()
        while (operator := self._peek()) in ("*", "/") and operator:
            self.position += 1
            other_constant, other = self._factor()
            if operator == "/":
                if other or other_constant == 0:
                    raise SpecError(f"hypothesis {self.text!r}: expected a number other than 0 after '/'.")
                other_constant = 1.0 / other_constant
            if other and weights:
                raise SpecError(
                    f"hypothesis {self.text!r}: expected a linear sum, found a product of two coefficients."
                )
            if other:
                (constant, weights), (other_constant, other) = (other_constant, other), (constant, weights)
            constant, weights = constant * other_constant, {k: v * other_constant for k, v in weights.items()}
        return constant, weights

    def _factor(self) -> tuple[float, dict[str, float]]:
        character = self._peek()
        if character in ("+", "-") and character:
            self.position += 1
            constant, weights = self._nested(self._factor)
            factor = -1.0 if character == "-" else 1.0
            return factor * constant, {name: factor * weight for name, weight in weights.items()}
        for name in self.names:
            if self.text.startswith(name, self.position) and self._ends(self.position + len(name)):
                self.position += len(name)
                return 0.0, {name: 1.0}
        if character == "(":
            self.position += 1
            value = self._nested(self._sum)
            if self._peek() != ")":
                raise self._wrong("')'")
            self.position += 1
            return value
        number = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+").match(self.text, self.position)
        if not number:
            raise self._wrong("a coefficient, a number or '('")
        self.position = number.end()
        return float(number[0]), {}

    def _nested(self, rule: Callable[[], tuple[float, dict[str, float]]]) -> tuple[float, dict[str, float]]:
        self.depth += 1
        if self.depth > 50:
            raise SpecError(f"hypothesis {self.text!r}: expected at most 50 nested brackets or signs.")
        value = rule()
        self.depth -= 1
        return value

    def _ends(self, position: int) -> bool:
        return not re.match(r"[\w:\[(]", self.text[position : position + 1])
