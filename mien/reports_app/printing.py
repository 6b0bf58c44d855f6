"""What a typst template gets of a report: figures in the inks and type of the print, tables with widths, broken words.

Texts stay data: they are placed as strings, never as markup.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import pandas as pd

__all__ = ["Drawn", "breakable", "figures_data", "table_data"]

PT_PER_PX = 0.6  # of figures in print: type of 12 px becomes 7 pt
WIDEST = 482.0  # pt, of the text on A4
PRINTED = "Libertinus Serif"  # inside typst
LONG_WORD, PIECE = 16, 12  # characters of a word that may break, and between its breaks
# Characters: a column up to the first is as wide as it is, none counts beyond the other.
NARROW, WIDEST_COLUMN = 24, 60


class Drawn(Protocol):
    """A picture with what a screen reader says and its caption."""

    @property
    def svg(self) -> str:
        """Its markup."""
        ...

    @property
    def label(self) -> str:
        """What a screen reader says."""
        ...

    @property
    def caption(self) -> str:
        """What stands below it."""
        ...


def figures_data(figures: Sequence[Drawn], pictures: dict[str, bytes]) -> list[dict[str, Any]]:
    """Figures as a template takes them; their files go to `pictures`, name → SVG."""
    found = []
    for one in figures:
        name = f"figure{len(pictures)}.svg"
        svg = _printed(str(one.svg))
        pictures[name] = svg.encode()
        found.append({"file": name, "label": one.label, "caption": one.caption, "width": _width(svg)})
    return found


def _printed(svg: str) -> str:
    """A figure of the page in the ink and type of the print."""
    svg = re.sub(r"var\(--[\w-]+, ([^)]+)\)", r"\1", svg)
    return re.sub(r'font-family="[^"]*"', f'font-family="{PRINTED}"', svg)


def _width(svg: str) -> float:
    found = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
    return min(float(found[1]) * PT_PER_PX, WIDEST) if found else WIDEST


def table_data(frame: pd.DataFrame) -> dict[str, Any]:
    """Headings, rows, and widths: 0 of a narrow column, else in relation to the other broad ones."""
    rows = [[str(cell) for cell in row] for row in frame.itertuples(index=False, name=None)]
    heads = [str(name) for name in frame.columns]
    longest = [max([len(row[place]) for row in rows] + [0]) for place in range(len(heads))]
    widths = [0 if long <= NARROW else min(long, WIDEST_COLUMN) for long in longest]
    return {"heads": heads, "rows": [[breakable(cell) for cell in row] for row in rows], "widths": widths}


def breakable(text: str) -> str:
    """Long words may break after : | _ [ , / and else every so many letters (zero-width spaces)."""
    return re.sub(rf"\S{{{LONG_WORD},}}", lambda found: _broken(found[0]), text)


def _broken(word: str) -> str:
    pieces = re.split(r"(?<=[:|_\[,/.])", word)
    return "\u200b".join(
        "\u200b".join(piece[at : at + PIECE] for at in range(0, len(piece), PIECE))
        for piece in pieces
        if piece
    )
