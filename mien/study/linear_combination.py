"""Hypotheses as sums of coefficients: `valence + valence:medium / 2` → {"valence": 1, "valence:medium": 0.5}.

Coefficients' names hold colons, brackets and spaces (`stimulus[a - b]`), so they are matched whole, the longest
first. Nothing is evaluated: a small parser over `+ - * /`, brackets and numbers works the weights out.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = ["parse_linear_combination"]

MAX_LENGTH = 2000
MAX_DEPTH = 50
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_GOES_ON = re.compile(r"[\w:\[(.]")  # after one of these a name is only the beginning of another


class _Sum(NamedTuple):
    """A constant and weighted coefficients."""

    constant: float
    weights: dict[str, float]

    def times(self, factor: float) -> "_Sum":
        return _Sum(self.constant * factor, {name: factor * weight for name, weight in self.weights.items()})

    def plus(self, other: "_Sum") -> "_Sum":
        weights = dict(self.weights)
        for name, weight in other.weights.items():
            weights[name] = weights.get(name, 0.0) + weight
        return _Sum(self.constant + other.constant, weights)


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
    if not isinstance(text, str) or not text.strip():
        raise SpecError(f"hypothesis: expected text such as 'valence + valence:medium / 2', found {text!r}.")
    if len(text) > MAX_LENGTH:
        raise SpecError(
            f"hypothesis: expected at most {MAX_LENGTH} characters, found {len(text)}: shorten it."
        )
    return _Parser(text, names).parse()


class _Parser:
    """Recursive descent; every rule returns the `_Sum` that it read."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text = text
        self.names = sorted(filter(None, names), key=len, reverse=True)
        self.position = 0
        self.depth = 0

    def parse(self) -> dict[str, float]:
        constant, weights = self._sum()
        if self._peek():
            raise self._expected("an operator or the end")
        if not all(map(math.isfinite, (constant, *weights.values()))):
            raise self._wrong("expected finite weights, found a number that is too large")
        if constant:
            raise self._wrong(f"expected a sum of coefficients, found the constant {constant:g}")
        if not any(weights.values()):
            raise self._wrong("expected at least one coefficient, found none that is left")
        return weights

    def _wrong(self, what: str) -> SpecError:
        return SpecError(f"hypothesis {self.text!r}: {what}.")

    def _expected(self, what: str) -> SpecError:
        rest = self.text[self.position :].strip()
        word = re.match(r"[\w:.\[\]|]+|.", rest)
        found = word[0] if word else "the end"
        known = sorted(self.names)
        listed = ", ".join(known[:20]) + (" …" if len(known) > 20 else "")
        return SpecError(
            f"hypothesis {self.text!r}, character {self.position + 1}: expected {what}, found {found!r}"
            f"{nearest(found, known)}; the coefficients are {listed}."
        )

    def _peek(self) -> str:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        return self.text[self.position : self.position + 1]

    def _take(self, *operators: str) -> str:
        found = self._peek()
        if found not in operators:
            return ""
        self.position += 1
        return found

    def _sum(self) -> _Sum:
        value = self._product()
        while sign := self._take("+", "-"):
            value = value.plus(self._product().times(1.0 if sign == "+" else -1.0))
        return value

    def _product(self) -> _Sum:
        value = self._factor()
        while operator := self._take("*", "/"):
            other = self._factor()
            if operator == "/":
                if other.weights or other.constant == 0:
                    raise self._wrong("expected a number other than 0 after '/'")
                value = value.times(1.0 / other.constant)
            elif value.weights and other.weights:
                raise self._wrong("expected a linear sum, found a product of two coefficients")
            elif other.weights:
                value = other.times(value.constant)
            else:
                value = value.times(other.constant)
        return value

    def _factor(self) -> _Sum:
        if sign := self._take("+", "-"):
            return self._nested(self._factor).times(-1.0 if sign == "-" else 1.0)
        for name in self.names:
            end = self.position + len(name)
            if self.text.startswith(name, self.position) and not _GOES_ON.match(self.text, end):
                self.position = end
                return _Sum(0.0, {name: 1.0})
        if self._take("("):
            value = self._nested(self._sum)
            if not self._take(")"):
                raise self._expected("')'")
            return value
        number = _NUMBER.match(self.text, self.position)
        if not number:
            raise self._expected("a coefficient, a number or '('")
        self.position = number.end()
        return _Sum(float(number[0]), {})

    def _nested(self, rule: Callable[[], _Sum]) -> _Sum:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._wrong(f"expected at most {MAX_DEPTH} nested brackets or signs")
        value = rule()
        self.depth -= 1
        return value
