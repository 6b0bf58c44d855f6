"""Transforms in formulas: `log(age + 1)`, `bs(time, df=5)`, `I(x ** 2)`.

Inside the brackets stands arithmetic on columns, then options. Whole numbers are never raised to powers (`9**9**9`
would be computed), the columns of a spline are counted, and `-x ** 2` is refused, since formulae reads it as (-x)².
"""

import re
from collections.abc import Mapping

from mien.study.formula_tokens import Reader
from mien.study.tables import nearest

__all__ = ["OPTIONS", "read_count", "read_transform"]

# The transforms that a formula may call, and the options of each: a whole number, any number, or True and False.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "scale": {},
    "center": {},
    "log": {},
    "exp": {},
    "sqrt": {},
    "bs": {
        "df": "count",
        "degree": "count",
        "intercept": "flag",
        "lower_bound": "number",
        "upper_bound": "number",
    },
    "poly": {"degree": "count", "raw": "flag"},
    "I": {},
}
MAX_COUNT = 50  # columns of a spline, degree of a polynomial


def read_transform(reader: Reader) -> None:
    """Read a call of a transform up to its closing bracket."""
    name = reader.token.text
    if name not in OPTIONS:
        raise reader.wrong(
            f"one of the transforms {', '.join(OPTIONS)}{nearest(name, OPTIONS)}, or a column computed before"
        )
    reader.at += 1
    reader.open()
    if not _sum(reader):
        raise reader.wrong(f"a column inside {name}(…)")
    given: set[str] = set()
    while reader.take(","):
        option = _option(reader, name, first=not given)
        if option in given:
            raise reader.wrong(f"{option} only once")
        given.add(option)
    reader.close()


def _option(reader: Reader, name: str, *, first: bool) -> str:
    options, token = OPTIONS[name], reader.token
    if token.text in options and reader.tokens[reader.at + 1].text == "=":
        reader.at += 2
        option = token.text
    elif first and options and token.kind == "number":
        option = next(iter(options))
    else:
        known = ", ".join(f"{option}=…" for option in options) or "no options"
        raise reader.wrong(f"{known} after the column in {name}(…){nearest(token.text, options)}")
    _value(reader, options[option])
    return option


def _value(reader: Reader, kind: str) -> None:
    if kind == "count":
        read_count(reader, at_least=1)
    elif kind == "flag":
        if not reader.take("True", "False"):
            raise reader.wrong("True or False")
    else:
        reader.take("-")
        if reader.token.kind != "number":
            raise reader.wrong("a number")
        reader.at += 1


def read_count(reader: Reader, *, at_least: int) -> int:
    """A whole number from `at_least` to MAX_COUNT."""
    text = reader.token.text
    if not re.fullmatch(r"[1-9][0-9]*", text) or not at_least <= int(text) <= MAX_COUNT:
        raise reader.wrong(f"a whole number from {at_least} to {MAX_COUNT}")
    reader.at += 1
    return int(text)


# Arithmetic: each function reads one level and returns whether a column is in it.


def _sum(reader: Reader) -> bool:
    known = _product(reader)
    while reader.take("+", "-"):
        known |= _product(reader)
    return known


def _product(reader: Reader) -> bool:
    known = _power(reader)
    while reader.take("*", "/"):
        known |= _power(reader)
    return known


def _power(reader: Reader) -> bool:
    signed = reader.take("-", "+")
    known = _operand(reader)
    if reader.take("**"):
        if signed or not known:
            raise reader.wrong("a column, or brackets with one, before '**': write -(x ** 2) or (-x) ** 2")
        _operand(reader)
        if reader.token.text == "**":
            raise reader.wrong("brackets that say which '**' comes first")
    return known


def _operand(reader: Reader) -> bool:
    if reader.token.kind == "number":
        reader.at += 1
        return False
    if reader.token.text == "(":
        reader.open()
        known = _sum(reader)
        reader.close()
        return known
    if reader.is_call:
        read_transform(reader)
    else:
        reader.column("a column, a number or '('")
    return True
