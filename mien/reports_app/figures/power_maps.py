"""Power over two axes of the design as a map: every simulated cell is a point with its number.

Between the points power is interpolated linearly on the normal scale (probit), which is where power over √N is nearly
straight; the map says nothing beyond them. Bands are a tenth wide; the strong line is the power that is wanted.

Level lines are found by marching squares on a fine mesh. The mesh has a border below every level, so that lines close
into loops; loops of all levels never cross, so that painting the largest first and each in the band that lies inside
it gives the map, holes and all.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd
from scipy.interpolate import RegularGridInterpolator
from scipy.special import ndtr, ndtri

from mien.reports_app.figures.colour import sequential
from mien.reports_app.figures.power_curves import Called, share_text, value_text
from mien.reports_app.figures.theme import INK

__all__ = ["Loop", "grid_of", "level_loops", "power_map"]

WIDTH, HEIGHT = 400, 250
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GROUND = ("#eef3f7", "#9cc3df", "#3f86bd")  # weak to strong; dark type reads on all of them
CANVAS, TYPE = "#f6f7f8", "#15191c"  # light on dark pages, too
MESH = 48  # squares along an axis, between the outermost cells
SURE = 0.5  # replicates by which a share of 0 or 1 is held off the ends: half of one
# Corners of a square, counter-clockwise from the lower left, are bits 1, 2, 4, 8; its edges 0 bottom, 1 right, 2 top,
# 3 left. Lines run with what is high on their left.
RUNS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 3),), 2: ((1, 0),), 3: ((1, 3),), 4: ((2, 1),), 5: ((0, 3), (2, 1)), 6: ((2, 0),), 7: ((2, 3),),
    8: ((3, 2),), 9: ((0, 2),), 10: ((1, 0), (3, 2)), 11: ((1, 2),), 12: ((3, 1),), 13: ((0, 1),), 14: ((3, 0),),
}  # fmt: skip

type Point = tuple[float, float]


class Loop(NamedTuple):
    """A closed level line; `high`: what it surrounds lies above the level."""

    level: float
    points: list[Point]
    high: bool

    @property
    def area(self) -> float:
        """In units of both axes."""
        return abs(_area(self.points))


class Grid(NamedTuple):
    """Power (row of y, column of x) of a full grid of cells, nan-free."""

    x: np.ndarray
    y: np.ndarray
    power: np.ndarray
    n: np.ndarray


def grid_of(cells: pd.DataFrame, x: str, y: str) -> Grid | None:
    """The alternatives as a grid; None where a combination is missing or an axis has one value only.

    Parameters
    ----------
    cells : a row a cell of one goal, all other axes held: world, power, n, and a column for each axis.
    """
    known: Any = cells[(cells["world"] == "alternative") & cells["power"].notna()]
    table: Any = known.pivot_table(index=y, columns=x, values=["power", "n"], aggfunc="mean")
    if not len(known) or table.isna().to_numpy().any() or min(table["power"].shape) < 2:
        return None
    power = table["power"]
    return Grid(
        power.columns.to_numpy(dtype=float), power.index.to_numpy(dtype=float), power.to_numpy(dtype=float),
        table["n"].to_numpy(dtype=float),
    )  # fmt: skip


def power_map(
    cells: pd.DataFrame,
    x: str,
    y: str,
    *,
    target: float = math.nan,
    called: Called | None = None,
    title: str = "",
) -> alt.LayerChart | alt.FacetChart | None:
    """A map of power; None where the grid is not full.

    Parameters
    ----------
    cells, x, y : as in `grid_of`. target : the power that is wanted. called : as in `power_curves`.
    """
    grid = grid_of(cells, x, y)
    if grid is None:
        return None
    named = called or (lambda axis, _: axis)
    across, up = (_axis(values, named(axis, math.nan)) for values, axis in ((grid.x, x), (grid.y, y)))
    mesh = _mesh(grid)
    ground = pd.DataFrame({"x": [grid.x[0]], "x2": [grid.x[-1]], "y": [grid.y[0]], "y2": [grid.y[-1]]})
    lowest = LEVELS[0] - 0.1
    layers: list[Any] = [
        alt.Chart(ground).mark_rect(color=CANVAS).encode(
            x=alt.value(0), x2=alt.value(WIDTH), y=alt.value(0), y2=alt.value(HEIGHT)
        ),
        alt.Chart(ground).mark_rect(color=_band(lowest)).encode(
            x=alt.X("x:Q", **across), x2="x2:Q", y=alt.Y("y:Q", **up), y2="y2:Q"
        ),
    ]  # fmt: skip
    loops = [loop for level in LEVELS for loop in level_loops(*mesh, level)]
    for loop in sorted(loops, key=lambda one: -one.area):
        colour = _band(loop.level if loop.high else loop.level - 0.1)
        layers.append(_drawn(loop.points, across, up).mark_line(filled=True, fill=colour, strokeWidth=0))
    for line in _lines(mesh, target):
        layers.append(_drawn(line, across, up).mark_line(color=TYPE, strokeWidth=2.2))
    layers += _points(grid, across, up)
    head = alt.TitleParams(title, anchor="start", fontSize=12, color=INK, offset=8)
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=head)


def _axis(values: np.ndarray, title: str) -> dict[str, Any]:
    room = 0.07 * (values[-1] - values[0])
    scale = alt.Scale(domain=[float(values[0] - room), float(values[-1] + room)], nice=False, zero=False)
    texts = "".join(
        f"abs(datum.value - {value}) < 1e-9 ? '{value_text(value)}' : " for value in values.tolist()
    )
    axis = alt.Axis(
        values=values.tolist(), labelExpr=f"{texts}''", grid=False, labelOverlap="greedy", labelSeparation=4,
        domain=False, title=title, titleLimit=HEIGHT + 60,
    )  # fmt: skip
    return {"scale": scale, "axis": axis}


def _band(level: float) -> str:
    return sequential(GROUND, min(max(level / LEVELS[-1], 0.0), 1.0))


def _drawn(points: Sequence[Point], across: dict[str, Any], up: dict[str, Any]) -> alt.Chart:
    rows = pd.DataFrame(points, columns=["x", "y"]).round(6)
    rows["order"] = range(len(rows))
    return alt.Chart(rows).encode(x=alt.X("x:Q", **across), y=alt.Y("y:Q", **up), order="order:O")


def _points(grid: Grid, across: dict[str, Any], up: dict[str, Any]) -> list[Any]:
    """Every cell with its number."""
    places = [(at, row) for row in range(len(grid.y)) for at in range(len(grid.x))]
    cells = pd.DataFrame({
        "x": [grid.x[at] for at, _ in places], "y": [grid.y[row] for _, row in places],
        "text": [share_text(float(grid.power[row, at])) for at, row in places],
    })  # fmt: skip
    base = alt.Chart(cells).encode(x=alt.X("x:Q", **across), y=alt.Y("y:Q", **up))
    close = len(grid.x) > 9 or len(grid.y) > 9
    size = 9.5 if close else 11.5
    return [
        base.mark_point(size=12 if close else 20, filled=True, opacity=1, color=TYPE),
        base.mark_text(
            dy=-9,
            fontSize=size,
            color=TYPE,
            stroke=CANVAS,
            strokeWidth=3,
            strokeOpacity=0.6,
            strokeJoin="round",
        ).encode(text="text:N"),
        base.mark_text(dy=-9, fontSize=size, color=TYPE).encode(text="text:N"),
    ]


# Between the cells


def _mesh(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and power on a fine mesh: linear between cells on the probit scale."""
    held = np.clip(grid.power, SURE / grid.n, 1.0 - SURE / grid.n)
    surface = RegularGridInterpolator((grid.y, grid.x), ndtri(held))
    x, y = (
        np.unique(np.r_[values, np.linspace(values[0], values[-1], MESH + 1)]) for values in (grid.x, grid.y)
    )
    at = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    return x, y, ndtr(surface(at))


def level_loops(x: np.ndarray, y: np.ndarray, z: np.ndarray, level: float) -> list[Loop]:
    """The closed lines around what reaches `level`, along the border of the mesh too.

    Parameters
    ----------
    x, y : places, rising. z : (y, x).
    """
    padded = np.pad(z, 1, constant_values=-math.inf)
    wide, high = (np.r_[values[0], values, values[-1]] for values in (x, y))
    corners = (padded >= level).astype(int)
    kinds = corners[:-1, :-1] + 2 * corners[:-1, 1:] + 4 * corners[1:, 1:] + 8 * corners[1:, :-1]
    follows: dict[tuple[str, int, int], tuple[str, int, int]] = {}
    for row, at in np.argwhere((kinds > 0) & (kinds < 15)).tolist():
        edges = (("h", row, at), ("v", row, at + 1), ("h", row + 1, at), ("v", row, at))
        for start, end in RUNS[int(kinds[row, at])]:
            follows[edges[start]] = edges[end]
    return [
        Loop(level, points, high=_area(points) > 0)
        for edges in _chains(follows)
        if len(points := [_crossing(edge, wide, high, padded, level) for edge in edges]) > 2
    ]


def _chains(follows: dict[tuple[str, int, int], tuple[str, int, int]]) -> list[list[tuple[str, int, int]]]:
    """Edges in the order in which a line passes them, each line once."""
    found = []
    while follows:
        start, after = follows.popitem()
        chain = [start]
        while after != start:
            chain.append(after)
            after = follows.pop(after)
        found.append(chain)
    return found


def _crossing(edge: tuple[str, int, int], x: np.ndarray, y: np.ndarray, z: np.ndarray, level: float) -> Point:
    """Where a line crosses an edge; on the border, the border."""
    kind, row, at = edge
    other = (row, at + 1) if kind == "h" else (row + 1, at)
    first, second = float(z[row, at]), float(z[other])
    if math.isinf(first) or math.isinf(second):
        share = 1.0 if math.isinf(first) else 0.0
    else:
        share = (level - first) / (second - first)
    return (
        float(x[at] + share * (x[other[1]] - x[at])),
        float(y[row] + share * (y[other[0]] - y[row])),
    )


def _area(points: Sequence[Point]) -> float:
    """Signed: positive counter-clockwise."""
    x, y = np.array(points).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _lines(mesh: tuple[np.ndarray, np.ndarray, np.ndarray], level: float) -> list[list[Point]]:
    """The level line without the parts along the border."""
    if not math.isfinite(level):
        return []
    x, y, z = mesh
    ends = ((x[0], x[-1]), (y[0], y[-1]))
    found: list[list[Point]] = []
    for loop in level_loops(x, y, z, level):
        points = [*loop.points, loop.points[0]]
        inner = [not _along(one, other, ends) for one, other in pairwise(points)]
        found += _stretches(points, inner)
    return found


def _along(one: Point, other: Point, ends: tuple[tuple[Any, Any], tuple[Any, Any]]) -> bool:
    return any(one[axis] == other[axis] == end or (one == other) for axis in (0, 1) for end in ends[axis])


def _stretches(points: Sequence[Point], inner: Sequence[bool]) -> list[list[Point]]:
    """Runs of inner pieces, as lines; one that passes the loop's start is one line."""
    first = next((place for place, kept in enumerate(inner) if not kept), None)
    if first is None:
        return [list(points)]
    ring = list(points[:-1])
    found: list[list[Point]] = []
    line: list[Point] = []
    for step in range(1, len(ring) + 1):
        place = (first + step) % len(ring)
        if inner[place]:
            line = line or [ring[place]]
            line.append(ring[(place + 1) % len(ring)])
        elif line:
            found.append(line)
            line = []
    return found
