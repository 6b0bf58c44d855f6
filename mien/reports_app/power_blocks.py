"""What a power report is made of: paragraphs, lists, facts, figures and tables, which page and PDF place alike."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from mien.reports_app.figures.theme import themed, to_svg

__all__ = ["Block", "Facts", "Picture", "Points", "Section", "Table", "Text", "picture"]

BROAD = 700  # px


class Text(NamedTuple):
    """A paragraph. kind : "" or "small", "note", "warning", "copy" (to be copied), "head" (a heading within)."""

    text: str
    kind: str = ""


class Points(NamedTuple):
    """A list."""

    texts: Sequence[str]
    kind: str = "points"


class Facts(NamedTuple):
    """Short pairs: what, and its value."""

    pairs: Sequence[tuple[str, str]]
    kind: str = "facts"


class Picture(NamedTuple):
    """A figure. name : of its file. plain : for files; svg : for the page. style : its class in the page.

    own_colours : it keeps its colours on a dark page, as a face does.
    """

    name: str
    plain: str
    label: str
    caption: str
    style: str = "wide"
    kind: str = "picture"
    own_colours: bool = False

    @property
    def svg(self) -> Markup:
        """In the page's colours; made by this package, whose figures escape the texts in them."""
        return Markup(self.plain if self.own_colours else themed(self.plain))  # noqa: S704


class Table(NamedTuple):
    """A table of texts. folded : opened by a click in the page. labels : columns that name the row."""

    frame: pd.DataFrame
    title: str
    folded: bool = False
    labels: int = 1
    kind: str = "table"


type Block = Text | Points | Facts | Picture | Table


class Section(NamedTuple):
    """A heading and what stands below it; without blocks it is left out."""

    title: str
    blocks: Sequence[Block]


def picture(chart: Any, name: str, label: str, caption: str) -> Picture:
    """An Altair chart as a figure; one that is wide by nature gets more of the page."""
    svg = to_svg(chart, label=label)
    width = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
    return Picture(name, svg, label, caption, "broad" if width and float(width[1]) > BROAD else "wide")
