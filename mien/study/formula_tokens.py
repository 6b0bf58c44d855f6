"""A formula cut into names, numbers and operators, and a reader that walks over them.

Only what formulae's own scanner reads in the same way is a token: it would stop at a name that begins with `_`, and
take `1e5` for the number 1 and the name e5.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mien.study.errors import SpecError

__all__ = ["Reader", "Token", "join", "tokens_of"]

LITERALS = ("True", "False", "None")
MAX_LENGTH = 2000
MAX_TOKENS = 300  # formulae recurses twice for each operator of a chain
MAX_DEPTH = 12  # formulae recurses some twelve times for each bracket
MAX_DIGITS = 20

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<name>[^\W\d_]\w*)|(?P<operator>\*\*|\|\||[-~+*/:|(),=]))"
)


class Token(NamedTuple):
    """A name, number or operator, and where it begins."""

    kind: str  # name | number | operator | end
    text: str
    position: int


def tokens_of(text: str) -> list[Token]:
    """Cut a formula into tokens; the last one is the end."""
    if not isinstance(text, str) or not text.strip():
        raise SpecError(f"formula: expected text such as 'activation ~ valence', found {text!r}.")
    if len(text) > MAX_LENGTH:
        raise SpecError(f"formula: expected at most {MAX_LENGTH} characters, found {len(text)}: shorten it.")
    tokens, position, stop = [], 0, len(text.rstrip())
    while position < stop:
        found = _TOKEN.match(text, position)
        if not found or not _known_to_formulae(found):
            place = len(text) - len(text[position:].lstrip())
            raise SpecError(
                f"formula {text!r}, character {place + 1}: expected column names (a letter first), numbers, operators "
                f"and transforms such as log(…), found {text[place]!r}: remove it, or rename the column."
            )
        kind = str(found.lastgroup)
        tokens.append(Token(kind, found[kind], found.start(kind)))
        position = found.end()
    if len(tokens) > MAX_TOKENS:
        raise SpecError(
            f"formula: expected at most {MAX_TOKENS} names, numbers and operators, found {len(tokens)}."
        )
    return [*tokens, Token("end", "", stop)]


def _known_to_formulae(found: re.Match[str]) -> bool:
    name, number = found["name"], found["number"]
    if name:
        return name.isidentifier() and name[0].isalpha()
    return number is None or len(number) <= MAX_DIGITS


def join(tokens: Sequence[Token]) -> str:
    """The tokens as text in one manner of spacing."""
    text = " ".join(token.text for token in tokens)
    text = re.sub(r" ?(\*\*|[:,]) ?", lambda found: found[1] + (" " if found[1] == "," else ""), text)
    text = re.sub(r"\( ", "(", re.sub(r" \)", ")", text))
    return re.sub(r"(?<=\w) (?=\()", "", re.sub(r"(?<=\w) = (?=\S)", "=", text))


class Reader:
    """The tokens of one formula, the place reached, and the columns met so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens_of(text)
        self.at = 0
        self.columns: dict[str, None] = {}
        self._depth = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.at]

    @property
    def is_call(self) -> bool:
        """Whether a name and an opening bracket come next."""
        return self.token.kind == "name" and self.tokens[self.at + 1].text == "("

    def take(self, *texts: str) -> str:
        """The next token's text when it is one of `texts`, and step over it; else nothing."""
        token = self.token
        if token.text not in texts:
            return ""
        self.at += 1
        return token.text

    def column(self, expected: str = "a column") -> str:
        """A column's name."""
        token = self.token
        if token.kind != "name" or token.text in LITERALS:
            raise self.wrong(expected)
        self.at += 1
        self.columns[token.text] = None
        return token.text

    def open(self) -> None:
        """An opening bracket."""
        self.at += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.wrong(f"at most {MAX_DEPTH} brackets within each other")

    def close(self) -> None:
        """A closing bracket."""
        if not self.take(")"):
            raise self.wrong("an operator or ')'")
        self._depth -= 1

    def wrong(self, expected: str, token: Token | None = None) -> SpecError:
        """The error for the next token, or for `token`."""
        token = token or self.token
        found = repr(token.text) if token.text else "the end"
        return SpecError(
            f"formula {self.text!r}, character {token.position + 1}: expected {expected}, found {found}."
        )
