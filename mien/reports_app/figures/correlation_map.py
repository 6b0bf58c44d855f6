"""The correlation map: which shapes move together, every pair as one tile.

Colour is the posterior mean correlation on the scale of the face map, −1 to 1; the tile's size is how sure its sign is:
P(direction) ≥ .99 fills the cell, ≥ .95 half of it, and below it shrinks to a speck. A minus marks what is surely
negative, so that the picture reads in grey. Rows and columns follow one order, as a rule the leaves of a tree; lines
part the groups.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from mien.reports_app.figures.colour import diverging
from mien.reports_app.figures.face_style import signed
from mien.reports_app.figures.grouping import (
    Run,
    checked_groups,
    checked_order,
    checked_square,
    picture,
    room,
    runs,
)
from mien.reports_app.figures.theme import INK, MUTED, PAPER

__all__ = ["correlation_map"]

CELL, SMALL_CELL, MANY = 20.0, 16.0, 36  # px; more shapes than MANY have small cells
EDGE = "#c9c4bc"
WHITE_INK, PAPER_ALWAYS = -0.5, "#fefefe"  # below that correlation a minus is white, on dark pages too
LEGEND_HEIGHT, LEGEND_WIDTH = 76.0, 620.0


class Tile(NamedTuple):
    """How large a tile is when the sign of its correlation is at least this sure."""

    at_least: float
    share: float  # of the cell's side
    label: str


TILES = (Tile(0.99, 0.94, "≥ .99"), Tile(0.95, 0.66, "≥ .95"), Tile(0.0, 0.26, "below"))


class Frame(NamedTuple):
    """Where the cells lie."""

    left: float
    top: float
    cell: float
    shapes: int

    @property
    def side(self) -> float:
        """Width and height of all cells together, px."""
        return self.cell * self.shapes


def correlation_map(
    mean: np.ndarray,
    p_direction: np.ndarray,
    shapes: Sequence[str],
    *,
    order: Sequence[int] | np.ndarray,
    groups: Sequence[object] | np.ndarray | None = None,
    label: str,
) -> str:
    """The correlation map as SVG.

    Parameters
    ----------
    mean : (shape, shape) posterior mean correlations, −1 to 1. The diagonal is not drawn.
    p_direction : (shape, shape) posterior probability of each correlation's sign, 0.5-1.
    shapes : names in the order of the matrices.
    order : places of the shapes in the matrices, as rows and columns show them (the leaves of a tree).
    groups : a label a shape, in the order of the matrices; lines are drawn where it changes along `order`.
    label : what a screen reader says instead of the picture.

    Raises
    ------
    ValueError
        Where sizes do not fit, a correlation is beyond ±1 or no number, or `order` leaves shapes out.
    """
    count = len(shapes)
    correlations = checked_square("mean", mean, count, (-1, 1))
    sure = checked_square("p_direction", p_direction, count, (0, 1))
    places, labels = checked_order(order, count), checked_groups(groups, count)
    cell = CELL if count <= MANY else SMALL_CELL
    names = [shapes[i] for i in places]
    margin = room(names, _font(cell)) + 10
    frame = Frame(margin, margin, cell, count)
    parts = runs(labels, places)
    grid = np.ix_(places, places)
    right = room(labels, 12) + 26 if parts else 12
    width = margin + max(frame.side + right, LEGEND_WIDTH)
    body = [
        *_names(names, frame),
        *_tiles(names, correlations[grid], sure[grid], frame),
        *_borders(parts, frame),
        *_legend(frame),
    ]
    return picture("correlation-map", width, frame.top + frame.side + LEGEND_HEIGHT, label, body)


def _font(cell: float) -> float:
    return 12.5 if cell == CELL else 11.5


def _names(names: Sequence[str], frame: Frame) -> list[str]:
    texts = []
    for i, name in enumerate(names):
        at, text = (i + 0.5) * frame.cell, escape(name)
        x, y = frame.left + at, frame.top + at
        texts.append(f'<text x="{frame.left - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        texts.append(
            f'<text transform="translate({x + 4:.1f} {frame.top - 7:.1f}) rotate(-90)">{text}</text>'
        )
    return [f'<g font-size="{_font(frame.cell)}">', *texts, "</g>"]


def tile_of(p_direction: float) -> Tile:
    """The tile for a sign that is this sure."""
    return next((tile for tile in TILES if p_direction >= tile.at_least), TILES[-1])


def _tiles(names: Sequence[str], mean: np.ndarray, sure: np.ndarray, frame: Frame) -> list[str]:
    ground = (
        f'<rect x="{frame.left:.1f}" y="{frame.top:.1f}" width="{frame.side:.1f}" height="{frame.side:.1f}" '
        f'fill="{PAPER}" stroke="{MUTED}" stroke-width="0.6"/>'
    )
    squares, signs = [], []
    for row, column in np.ndindex(mean.shape):
        if row == column:
            continue
        value, p = float(mean[row, column]), float(sure[row, column])
        told = "P > 0.99" if p >= 0.995 else f"P = {p:.2f}"
        tooltip = f"{names[row]}, {names[column]} {signed(value, 2)}, {told}"
        at = (frame.left + (column + 0.5) * frame.cell, frame.top + (row + 0.5) * frame.cell)
        side = tile_of(p).share * frame.cell
        squares.append(_square(value, at, side, tooltip))
        if value < 0 and p >= TILES[-2].at_least:
            signs.append(_minus(value, at, side))
    return [ground, f'<g stroke="{EDGE}" stroke-width="0.5">', *squares, "</g>", *signs]


def _square(value: float, at: tuple[float, float], side: float, tooltip: str = "") -> str:
    """A tile centred on `at`."""
    x, y = at[0] - side / 2, at[1] - side / 2
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" fill="{diverging(value)}"'
        + (f"><title>{escape(tooltip)}</title></rect>" if tooltip else "/>")
    )


def _minus(value: float, at: tuple[float, float], side: float) -> str:
    half, ink = 0.24 * side, INK if value > WHITE_INK else PAPER_ALWAYS
    return f'<path d="M{at[0] - half:.1f} {at[1]:.1f}h{2 * half:.1f}" stroke="{ink}" stroke-width="1.2"/>'


def _borders(parts: Sequence[Run], frame: Frame) -> list[str]:
    """Lines between groups; each group's square on the diagonal, its bracket and label on the right."""
    lines, squares = [], []
    edge = frame.left + frame.side + 8
    for part in parts:
        start, length = part.first * frame.cell, part.shapes * frame.cell
        x, y = frame.left + start, frame.top + start
        if part.first:
            lines.append(
                f'<path d="M{frame.left:.1f} {y:.1f}h{frame.side:.1f}M{x:.1f} {frame.top:.1f}v{frame.side:.1f}" '
                f'stroke="{MUTED}" stroke-width="0.9"/>'
            )
        if part.label:
            squares.append(
                f'<rect class="group" x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{length:.1f}" '
                f'fill="none" stroke="{INK}" stroke-width="1.8"/>'
                f'<path d="M{edge:.1f} {y + 3:.1f}v{length - 6:.1f}" stroke="{INK}" stroke-width="2.4"/>'
                f'<text x="{edge + 8:.1f}" y="{y + length / 2 + 4:.1f}" font-weight="600">{escape(part.label)}</text>'
            )
    return [*lines, *squares]


def _legend(frame: Frame) -> list[str]:
    """The colour scale with its minus signs, and the sizes."""
    top, cell, steps = frame.top + frame.side + 34, 17.0, 10
    left, middle = frame.left, top + cell / 2
    parts = [
        f'<text x="{left:.1f}" y="{top - 10:.1f}">correlation (posterior mean)</text>',
        f'<g stroke="{EDGE}" stroke-width="0.5">',
    ]
    signs = []
    for i in range(2 * steps + 1):
        value, at = (i - steps) / steps, (left + (i + 0.5) * cell, middle)
        parts.append(_square(value, at, cell))
        signs += [_minus(value, at, cell)] if value < 0 else []
    parts += ["</g>", *signs]
    for value, text in ((-1, "−1"), (-0.5, "−.5"), (0, "0"), (0.5, "+.5"), (1, "+1")):
        x = left + (steps * (1 + value) + 0.5) * cell
        parts.append(f'<text x="{x:.1f}" y="{top + cell + 15:.1f}" text-anchor="middle">{text}</text>')
    x = left + (2 * steps + 1) * cell + 44
    parts.append(f'<text x="{x:.1f}" y="{top - 10:.1f}">size: P(direction)</text>')
    for tile in TILES:
        parts.append(_square(0.5, (x + cell / 2, middle), cell * tile.share))
        parts.append(f'<text x="{x + cell + 5:.1f}" y="{middle + 4:.1f}">{tile.label}</text>')
        x += 72
    return parts
