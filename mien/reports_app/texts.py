"""Texts in the reader's language: one catalogue a language, catalogues/LANGUAGE.toml, all with the same keys.

A catalogue is tables of texts; `texts("person.lead", name="03")` takes the key `lead` of the table [person] and puts
values into its {places}. Numbers are written as the language writes them. A text that counts has two forms, KEY_one
and KEY_more.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mien.reports_app.defaults import CANNOT_TELL
from mien.study.blend_shapes import BLEND_SHAPES, NAMES, bilateral_name
from mien.study.errors import StudyError
from mien.study.tables import nearest

__all__ = ["LANGUAGES", "WORDS", "Texts"]

LANGUAGES = ("en", "de")
WORDS = {
    "clearly": "clearly", "probably": "probably", "there are signs that": "signs", CANNOT_TELL: "cannot_tell",
}  # fmt: skip


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    text = resources.files("mien.reports_app").joinpath("catalogues", f"{language}.toml").read_text("utf-8")
    return dict(_flat(tomllib.loads(text)))


def _flat(table: Mapping[str, object], before: str = "") -> list[tuple[str, str]]:
    """Nested tables as (dotted key, text)."""
    found = []
    for key, value in table.items():
        name = f"{before}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, str(value))]
    return found


@dataclass(frozen=True)
class Texts:
    """One language's texts. language : "en" or "de". entries : dotted key → text."""

    language: str
    entries: Mapping[str, str]

    @classmethod
    def of(cls, language: str) -> "Texts":
        """The catalogue of a language.

        Raises
        ------
        StudyError
            For a language that has none.
        """
        if language not in LANGUAGES:
            raise StudyError(
                f"language: expected one of {', '.join(LANGUAGES)}, found {language!r}"
                f"{nearest(language, list(LANGUAGES))}."
            )
        return cls(language, _catalogue(language))

    def __call__(self, key: str, /, **parts: object) -> str:
        """The text of a key, with `parts` in its places; a KeyError where key or part is missing."""
        return self.entries[key].format(**parts)

    def counted(self, key: str, count: int, /, **parts: object) -> str:
        """The form of KEY for so many: `{n}` is their number."""
        return self(f"{key}_one" if count == 1 else f"{key}_more", n=count, **parts)

    def number(self, value: float, decimals: int = 2, *, signed: bool = False) -> str:
        """`0.04`, `+0.041`, `−0,022`; a dash for what is not there."""
        if not math.isfinite(value):
            return "–"
        text = f"{value:{'+' if signed else ''}.{decimals}f}"
        if not float(text):
            text = text.lstrip("+-")
        return self._written(text)

    def general(self, value: float) -> str:
        """As short as it can be: `0.5`, `8`."""
        return self._written(f"{value:g}")

    def share(self, value: float, decimals: int = 0) -> str:
        """0–1 as `95 %`, with a space that does not break."""
        return self._written(f"{100 * value:.{decimals}f}") + "\u00a0%"

    def percentile(self, value: float) -> str:
        """0–1 as a whole number of 100, never 0 or 100: `< 1`, `63`, `> 99`."""
        if not math.isfinite(value):
            return "–"
        whole = round(100 * value)
        if whole < 1:
            return "<\u00a01"
        return ">\u00a099" if whole > 99 else str(whole)

    def probability(self, value: float) -> str:
        """`0.93`, `> 0.99`, `< 0.01`."""
        if value >= 0.995:
            return ">\u00a0" + self._written("0.99")
        return "<\u00a0" + self._written("0.01") if value < 0.005 else self._written(f"{value:.2f}")

    def listed(self, items: Sequence[str]) -> str:
        """`a, b and c`."""
        if len(items) < 2:
            return "".join(items)
        return f"{', '.join(items[:-1])} {self('common.and')} {items[-1]}"

    def word(self, word: str) -> str:
        """A word of `Decisions.word` in this language."""
        return self(f"word.{WORDS[word]}")

    def movement(self, blend_shape: str) -> str:
        """The plain words for a blend shape, with its side in brackets; a contrast keeps its name."""
        if f"movement.{blend_shape}" in self.entries:
            return self(f"movement.{blend_shape}")
        if blend_shape in NAMES:
            side = self(f"side.{BLEND_SHAPES[blend_shape].side}")
            return f"{self(f'movement.{bilateral_name(blend_shape)}')} ({side})"
        return blend_shape

    def region(self, name: str) -> str:
        """A region of the face."""
        return self(f"region.{name}")

    def _written(self, text: str) -> str:
        text = text.replace("-", "−")
        return text.replace(".", ",") if self("common.decimal") == "," else text
