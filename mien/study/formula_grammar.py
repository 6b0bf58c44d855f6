"""What a formula may look like: a grammar smaller than formulae's own, so that both read every text alike.

    formula   = [[column] "~"] sum
    sum       = ["-"] item {("+" | "-") item}           item = "0" | "1" | product | "(" sum ("|" | "||") group ")"
    product   = operand {("*" | "/" | ":") operand}     operand = column | transform | "(" sum ")" ["**" count]
    group     = column {(":" | "/") column}

formulae itself drops everything behind a text that it does not understand (`1e5`, `x y`), expands products without a
limit and recurses as deep as the text. Here all of these are refused, with the place and the remedy.
"""

import math
from typing import NamedTuple

from mien.study.formula_tokens import Reader, Token
from mien.study.formula_transforms import read_count, read_transform

__all__ = ["Item", "read_formula"]

MAX_TERMS = 500


class Item(NamedTuple):
    """One summand: a constant, a group term with its effects, or a product that expands to `terms` terms."""

    sign: str
    tokens: tuple[Token, ...]
    terms: int = 1
    constant: str = ""  # "0" or "1" where the item is one
    effects: "tuple[Item, ...]" = ()
    group: tuple[Token, ...] = ()
    bar: str = ""  # "|" or "||" where the item is a group term


def read_formula(reader: Reader) -> tuple[str, list[Item]]:
    """(response or "", the summands of the right side)."""
    response = ""
    if reader.token.kind == "name" and reader.tokens[1].text == "~":
        response = reader.column()
    reader.take("~")
    items = _sum(reader)
    expected = {
        "~": "one column, then one '~', then the terms",
        "|": "group effects in brackets of their own, e.g. (valence | participant)",
        "||": "group effects in brackets of their own, e.g. (valence || participant)",
        "=": "'=' only inside a transform such as bs(time, df=5)",
        ",": "',' only inside a transform such as bs(time, df=5)",
    }
    if reader.token.kind != "end":
        raise reader.wrong(expected.get(reader.token.text, "an operator"))
    return response, items


def _sum(reader: Reader) -> list[Item]:
    begin = reader.token
    items = [_item(reader, reader.take("+", "-") or "+")]
    while sign := reader.take("+", "-"):
        items.append(_item(reader, sign))
    if items[0].sign == "-" and not items[0].constant:
        raise reader.wrong("a term before one that is taken away", begin)
    if sum(bool(item.constant) for item in items) > 1:
        raise reader.wrong("0 or 1 (without or with an intercept) only once", begin)
    _check_number_of_terms(reader, sum(item.terms for item in items), begin)
    return items


def _check_number_of_terms(reader: Reader, terms: int, place: Token) -> None:
    if terms > MAX_TERMS:
        raise reader.wrong(f"at most {MAX_TERMS} terms (interactions counted)", place)


def _item(reader: Reader, sign: str) -> Item:
    begin, start = reader.token, reader.at
    if begin.kind == "number":
        return _constant(reader, sign)
    item = _product(reader)
    if item.bar and sign == "-":
        raise reader.wrong("'+' before each (effects | group)", begin)
    return item._replace(sign=sign, tokens=tuple(reader.tokens[start : reader.at]))


def _constant(reader: Reader, sign: str) -> Item:
    token = reader.token
    if token.text not in ("0", "1"):
        raise reader.wrong("a column or 0 or 1; multiply a column inside I(…)")
    reader.at += 1
    if reader.token.text in ("*", "/", ":", "**"):
        raise reader.wrong("0 and 1 only as terms of their own")
    return Item(sign, (token,), 0, "1" if (token.text == "1") == (sign == "+") else "0")


def _product(reader: Reader) -> Item:
    item = _interaction(reader)
    while operator := reader.take("*", "/"):
        item = _combined(reader, item, _interaction(reader), operator)
    return item


def _interaction(reader: Reader) -> Item:
    item = _operand(reader)
    while operator := reader.take(":"):
        item = _combined(reader, item, _operand(reader), operator)
    return item


def _combined(reader: Reader, one: Item, other: Item, operator: str) -> Item:
    if one.bar or other.bar:
        raise reader.wrong("'+' between (effects | group) and other terms")
    both = one.terms * other.terms
    terms = {":": both, "/": one.terms + both, "*": one.terms + other.terms + both}[operator]
    _check_number_of_terms(reader, terms, reader.token)
    return Item("+", (), terms)


def _operand(reader: Reader) -> Item:
    item = Item("+", ())
    bracket = reader.token.text == "("
    if bracket:
        item = _bracket(reader)
    elif reader.is_call:
        read_transform(reader)
    else:
        reader.column("a column, a transform or '('")
    while reader.take("**"):
        if not bracket or item.bar:
            raise reader.wrong("'**' only after terms in brackets; a square is I(x ** 2)")
        order = read_count(reader, at_least=2)
        item = item._replace(terms=sum(math.comb(item.terms, size) for size in range(1, order + 1)))
        _check_number_of_terms(reader, item.terms, reader.token)
    return item


def _bracket(reader: Reader) -> Item:
    reader.open()
    items = _sum(reader)
    if any(item.bar for item in items):
        raise reader.wrong("(effects | group) outside of further brackets")
    bar = reader.take("|", "||")
    group = _group(reader) if bar else ()
    reader.close()
    terms = sum(item.terms for item in items)
    if bar:
        return Item("+", (), terms + 1, "", tuple(items), group, bar)
    if any(item.constant for item in items):
        raise reader.wrong("0 and 1 outside of brackets, or before '|'")
    return Item("+", (), terms)


def _group(reader: Reader) -> tuple[Token, ...]:
    start = reader.at
    reader.column("(effects | group) with a column or a:b as the group")
    while reader.take(":", "/"):
        reader.column()
    return tuple(reader.tokens[start : reader.at])
