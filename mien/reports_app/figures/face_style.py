"""What the parts of the face map share: its scale, its outlines, its colours, its hatching."""

import math
from typing import NamedTuple

from mien.reports_app.figures.colour import diverging

__all__ = [
    "FILLS", "HEIGHT", "INK", "LABEL_MARGIN", "LEGEND_HEIGHT", "LINE", "NOT_ESTIMATED", "OUTLINES", "SHADE", "ZERO",
    "Outline", "Scale", "hatching", "signed",
]  # fmt: skip


class Outline(NamedTuple):
    """How a shape is drawn when the direction of its effect is at least this sure."""

    at_least: float
    width: float
    colour: str
    label: str


OUTLINES = (
    Outline(0.99, 4.4, "#141210", "≥ .99"),
    Outline(0.95, 2.2, "#141210", "≥ .95"),
    Outline(0.0, 0.9, "#8d867e", "below"),
)
INK = "#2b2826"
LINE = "#6d645b"
SKIN, SHADE, HAIR = "#ece8e2", "#e2ddd5", "#a9a198"
FILLS = {"ears": SHADE, "head": SKIN, "hair": HAIR, "eyes": "#ffffff", "mouth": "#5b4a45"}
NOT_ESTIMATED = "#e4e0da"
HEIGHT = 800
LEGEND_HEIGHT = 124
LABEL_MARGIN = 210
ZERO = 0.02  # of the scale: closer to zero than this is not hatched


class Scale(NamedTuple):
    """From values to places on the colour scale."""

    limit: float
    prefix: str  # makes the ids of this picture its own in a page with several

    def position(self, value: float) -> float:
        """-1 to 1 within the limits."""
        return value / self.limit


def signed(value: float, digits: int) -> str:
    """`+0.041`, `−0.020`: so many significant digits, with a true minus; 0 has no sign."""
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0:
        return "0"
    decimals = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
    return f"{rounded:+.{decimals}f}".replace("-", "−")


def hatching(identity: str, position: float) -> str:
    """Fill for what is negative: the scale's colour, with lines that are darker on pale and paler on dark."""
    line = diverging(position - 0.45) if position > -0.45 else diverging(position * 0.25)
    return (
        f'<pattern id="{identity}" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="7" height="7" fill="{diverging(position)}"/>'
        f'<rect width="1.5" height="7" fill="{line}" fill-opacity="0.8"/></pattern>'
    )
