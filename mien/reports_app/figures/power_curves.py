"""How the chance to reach a goal grows with the study: power (or assurance) over participants.

Points are simulated cells with their 95 % interval of simulation; ∞ at the right end of the axis is the ceiling, which
no number of participants passes with these stimuli, and a dashed line carries it across. Hollow diamonds are the error
rate where there is no effect. The level line is the power that is wanted; the stretch marked at the axis is the
smallest number that reaches it, with its interval. Lines carry their names, so that nothing rests on colour alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app.figures.theme import GRID, INK, MUTED, PAPER

__all__ = [
    "COLOURS", "MOST", "SHAPES", "SHARES", "Called", "Reached", "View", "at_value", "axis_values", "power_curves",
    "share_text", "some_of", "spread_apart", "value_text",
]  # fmt: skip

WIDTH, HEIGHT, SMALL = 430, 250, 260  # px of the plotting area, one panel and several
MOST = 4  # lines in a panel, and panels
COLOURS = ("#2c78b8", "#2f8f7d", "#8a7f24", "#b8540f")  # as dark as each other, on white and on dark ground
SHAPES = ("circle", "square", "triangle-up", "cross")
APART = 14  # px between names of lines
BESIDE = 0.14  # where the smallest number is written, above the null world
ROOM = 0.14  # of the axis, between the largest number and ∞
SHARES = "datum.value <= 0 ? '0' : datum.value >= 1 ? '1' : replace(format(datum.value, '.3~f'), '0.', '.')"
UPRIGHT = alt.Scale(domain=[0, 1], nice=False)

type Called = Callable[[str, float], str]
type Layers = alt.LayerChart | alt.FacetChart | alt.ConcatChart


class Reached(NamedTuple):
    """The smallest number that reaches the target, with its interval; nan where an end is not known."""

    n: float
    lower: float
    upper: float


class View(NamedTuple):
    """Axes of the design: along the picture, its lines, and one picture for each value; "" for none."""

    x: str = "participants"
    series: str = ""
    panels: str = ""


def share_text(value: float, decimals: int = 2) -> str:
    """`.81`, `.05`, `1`, `0`: a share as planners read it; `< .01` and `> .99` for what digits would hide."""
    if not math.isfinite(value):
        return "–"
    least = 10.0**-decimals
    if 0 < value < least / 2:
        return f"< {least:.{decimals}f}".replace("0.", ".")
    if 1 - least / 2 < value < 1:
        return f"> {1 - least:.{decimals}f}".replace("0.", ".")
    return "0" if value <= 0 else "1" if value >= 1 else f"{value:.{decimals}f}".removeprefix("0")


def value_text(value: float) -> str:
    """A design's number: `40`, `∞`, `.03`, `2.5`."""
    if math.isinf(value):
        return "∞"
    text = f"{value:.4g}".replace("-", "−")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "−0.")) else text


def spread_apart(values: Sequence[float], step: float, least: float = -math.inf) -> list[float]:
    """The same places at least `step` apart, in the same order, and as near as that allows; none below `least`."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    found = [values[place] for place in order]
    for _ in range(60):
        moved = False
        for low in range(len(found) - 1):
            lacking = step - (found[low + 1] - found[low])
            if lacking > step * 1e-6:
                found[low] -= lacking / 2
                found[low + 1] += lacking / 2
                moved = True
        if not moved:
            break
    for place in range(len(found)):
        found[place] = max(found[place], least if place == 0 else found[place - 1] + step)
    back = dict(zip(order, found, strict=True))
    return [back[place] for place in range(len(values))]


def power_curves(
    cells: pd.DataFrame,
    view: View,
    *,
    target: float = math.nan,
    reached: Reached | None = None,
    fitted: pd.DataFrame | None = None,
    called: Called | None = None,
    what: str = "power",
) -> Layers:
    """Power over one axis of the design.

    Parameters
    ----------
    cells : a row a cell of one goal: world, power, lower, upper, and a column for each axis.
    view : which axis goes where.
    target : the power that is wanted. reached : marked at the axis. fitted : a smooth curve (x, power, lower, upper,
    series), else points are joined. called : an axis and its value in words; without a value (nan) the axis.
    what : "power", "assurance".
    """
    named = called or _plainly
    split = some_of(axis_values(cells, view.panels), MOST)
    drawn = []
    for place, value in enumerate(split):
        kept = cells if math.isnan(value) else at_value(cells, view.panels, [value])
        mine: Any = fitted if fitted is None or math.isnan(value) else fitted[fitted[view.panels] == value]
        title = "" if math.isnan(value) else named(view.panels, value)
        panel = _Panel.of(kept, view.x, view.series, several=len(split) > 1)
        drawn.append(
            panel.chart(
                target=target, reached=reached, fitted=mine, called=named, title=title,
                what=what if place % 2 == 0 else "",
            )
        )  # fmt: skip
    return drawn[0] if len(drawn) == 1 else alt.concat(*drawn, columns=2, spacing=26)


def _plainly(axis: str, value: float) -> str:
    return axis if math.isnan(value) else f"{axis} {value_text(value)}"


def some_of(values: Sequence[float], most: int) -> list[float]:
    """At most so many of them, first and last among these, the others at equal distances."""
    if len(values) <= most:
        return list(values)
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, most)]


def at_value(cells: pd.DataFrame, axis: str, values: Sequence[float]) -> Any:
    """Cells with these values of an axis; where another world knows the axis by 0 only, its cells stay.

    In the null world true effects are 0, and in the ceiling nothing is missing.
    """
    other = (
        (cells["world"] != "alternative") & ~cells[axis].isin(axis_values(cells, axis)) & (cells[axis] == 0)
    )
    return cells[cells[axis].isin(values) | other]


def axis_values(cells: pd.DataFrame, axis: str) -> list[float]:
    """The values of an axis in the alternatives; one nan where there is no such axis."""
    if not axis:
        return [math.nan]
    found = cells.loc[cells["world"] == "alternative", axis].dropna()
    return sorted({float(value) for value in found}) or [math.nan]


class _Panel(NamedTuple):
    """One picture: its rows by world with the place on the axis, where ∞ stands, and the lines."""

    rows: pd.DataFrame
    x: str
    series: str
    lines: Sequence[float]
    ticks: Sequence[float]
    infinity: float
    width: int

    @staticmethod
    def of(cells: pd.DataFrame, x: str, series: str, *, several: bool) -> "_Panel":
        lines = some_of(axis_values(cells, series), MOST)
        rows: Any = cells if math.isnan(lines[0]) else at_value(cells, series, lines)
        rows = rows[rows["power"].notna()].copy()
        places = rows[x].to_numpy(dtype=float)
        shown = places[np.isfinite(places) & (rows["world"] != "check").to_numpy()]
        finite = sorted({float(value) for value in shown})
        span = (finite[-1] - finite[0]) if len(finite) > 1 else max(finite[-1] if finite else 1.0, 1.0)
        infinity = (finite[-1] if finite else 0.0) + ROOM * span if np.isinf(places).any() else math.nan
        rows["place"] = np.where(np.isinf(places), infinity, places)
        rows["line"] = (
            0
            if math.isnan(lines[0])
            else [lines.index(value) if value in lines else 0 for value in rows[series].astype(float)]
        )
        return _Panel(rows, x, series, lines, finite, infinity, SMALL if several else WIDTH)

    @property
    def ends(self) -> tuple[float, float]:
        """Of the axis."""
        last = self.infinity if math.isfinite(self.infinity) else (self.ticks[-1] if self.ticks else 1.0)
        first = self.ticks[0] if self.ticks else 0.0
        room = 0.04 * (last - first) or 0.5 * max(abs(first), 1.0)
        return first - room, last + room

    def world(self, *worlds: str) -> Any:
        return self.rows[self.rows["world"].isin(worlds)]

    def across(self, called: Called) -> alt.X:
        values = [*self.ticks, *([self.infinity] if math.isfinite(self.infinity) else [])]
        texts = "".join(
            f"abs(datum.value - {value}) < 1e-9 ? '{value_text(value)}' : " for value in self.ticks
        )
        return alt.X("place:Q", scale=alt.Scale(domain=list(self.ends), nice=False, zero=False)).axis(
            values=values, labelExpr=f"{texts}'∞'", grid=False, labelOverlap="greedy", labelSeparation=4,
            title=called(self.x, math.nan), labelFontSize=12,
        )  # fmt: skip

    def chart(
        self,
        *,
        target: float,
        reached: Reached | None,
        fitted: pd.DataFrame | None,
        called: Called,
        title: str,
        what: str,
    ) -> Layers:
        x, y = self.across(called), _upright(what)
        layers: list[Any] = [
            *self._infinite(x, y), *_target(target), *self._smallest(reached, x, y, target),
            *self._ceilings(), *self._null(x, y), *self._curves(x, y, fitted), *self._checks(x, y),
            *self._named(target, called),
        ]  # fmt: skip
        head = alt.TitleParams(title, anchor="start", fontSize=12, color=INK, offset=8)
        return alt.layer(*layers).properties(width=self.width, height=HEIGHT, title=head)

    def _infinite(self, x: alt.X, y: alt.Y) -> list[Any]:
        """The ground of the column ∞."""
        if not math.isfinite(self.infinity):
            return []
        half = (self.ends[1] - self.infinity) * 0.8
        ground = pd.DataFrame({"place": [self.infinity - half], "end": [self.infinity + half]})
        return [
            alt.Chart(ground).mark_rect(color=GRID, opacity=0.55).encode(
                x=x, x2="end:Q", y=alt.datum(0, scale=UPRIGHT), y2=alt.datum(1)
            )
        ]  # fmt: skip

    def _smallest(self, reached: Reached | None, x: alt.X, y: alt.Y, target: float) -> list[Any]:
        """The smallest number at the axis: its interval as a bar, itself as a line up to the target."""
        if reached is None or not math.isfinite(reached.n) or self.width != WIDTH:
            return []
        low, high = self.ends
        ends = [
            value if math.isfinite(value) else other
            for value, other in ((reached.lower, low), (reached.upper, high))
        ]
        bar = pd.DataFrame({"place": [max(ends[0], low)], "end": [min(ends[1], high)], "height": [0.012]})
        place = min(max(reached.n, low), high)
        line = pd.DataFrame({"place": [place], "power": [0.0], "height": [target]})
        text = pd.DataFrame({"place": [place], "power": [BESIDE], "text": [value_text(reached.n)]})
        return [
            alt.Chart(bar).mark_rect(color=INK, opacity=0.85).encode(
                x=x, x2="end:Q", y=alt.datum(0, scale=UPRIGHT), y2=alt.datum(0.016)
            ),
            alt.Chart(line).mark_rule(color=INK, strokeWidth=1.2).encode(
                x=x, y=alt.Y("power:Q", scale=UPRIGHT), y2="height:Q"
            ),
            alt.Chart(text).mark_text(align="left", dx=5, fontSize=12, fontWeight="bold", color=INK).encode(
                x=x, y=alt.Y("power:Q", scale=UPRIGHT), text="text:N"
            ),
        ]  # fmt: skip

    def _ceilings(self) -> list[Any]:
        return [
            alt.Chart(pd.DataFrame({"power": [float(row["power"])]}))
            .mark_rule(color=_colour(row["line"]), strokeDash=[5, 4], strokeWidth=1.1, opacity=0.8)
            .encode(y=alt.Y("power:Q", scale=UPRIGHT))
            for row in self.world("ceiling").to_dict("records")
        ]

    def _null(self, x: alt.X, y: alt.Y) -> list[Any]:
        rows: Any = self.world("null")
        if not len(rows):
            return []
        base = alt.Chart(rows[["place", "power", "lower", "upper"]]).encode(x=x)
        return [
            base.mark_rule(color=MUTED).encode(y=alt.Y("lower:Q", scale=UPRIGHT), y2="upper:Q"),
            base.mark_point(shape="diamond", size=52, stroke=MUTED, fill=PAPER, opacity=1, strokeWidth=1.3).encode(y=y),
        ]  # fmt: skip

    def _curves(self, x: alt.X, y: alt.Y, fitted: pd.DataFrame | None) -> list[Any]:
        found: list[Any] = []
        for line, value in enumerate(self.lines):
            rows: Any = self.world("alternative", "ceiling")
            rows = rows[rows["line"] == line].sort_values("place")
            joined = rows[rows["world"] == "alternative"]
            smooth = joined if fitted is None else _of_line(fitted, self.series, value, self.x)
            columns = ["place", "power", "lower", "upper"]
            band = alt.Chart(smooth[columns]).encode(x=x)
            dots = alt.Chart(rows[columns]).encode(x=x)
            found += [
                band.mark_area(color=_colour(line), opacity=0.16).encode(
                    y=alt.Y("lower:Q", scale=UPRIGHT), y2="upper:Q"
                ),
                band.mark_line(color=_colour(line), strokeWidth=1.6).encode(y=y),
                dots.mark_rule(color=_colour(line), strokeWidth=1.4).encode(
                    y=alt.Y("lower:Q", scale=UPRIGHT), y2="upper:Q"
                ),
                dots.mark_point(
                    shape=SHAPES[line], size=46, filled=True, opacity=1, color=_colour(line)
                ).encode(y=y),
            ]
        return found

    def _checks(self, x: alt.X, y: alt.Y) -> list[Any]:
        """Independent simulations at an answer."""
        rows: Any = self.world("check")
        if not len(rows):
            return []
        base = alt.Chart(rows[["place", "power", "lower", "upper"]]).encode(x=x)
        return [
            base.mark_rule(color=INK, strokeWidth=1.4).encode(
                y=alt.Y("lower:Q", scale=UPRIGHT), y2="upper:Q"
            ),
            base.mark_point(
                shape="square", size=70, stroke=INK, fill=PAPER, opacity=1, strokeWidth=1.6
            ).encode(y=y),
        ]

    def _named(self, target: float, called: Called) -> list[Any]:
        """Names at the right end, each where its last point is: of lines, of the null world and of what is wanted."""
        ends = [end for line, value in enumerate(self.lines) if (end := self._end(line, value, called))]
        null: Any = self.world("null")
        if len(null):
            ends.append(_End("no effect", float(null.sort_values("place").iloc[-1]["power"]), MUTED))
        if math.isfinite(target):
            ends.append(_End(f"wanted {share_text(target)}", target, INK))
        places = spread_apart([end.power for end in ends], APART / HEIGHT)
        return [
            alt.Chart(pd.DataFrame({"power": [place], "text": [end.text]}))
            .mark_text(align="left", fontSize=11.5, color=end.colour)
            .encode(x=alt.value(self.width + 7), y=alt.Y("power:Q", scale=UPRIGHT), text="text:N")
            for end, place in zip(ends, places, strict=True)
        ]

    def _end(self, line: int, value: float, called: Called) -> "_End | None":
        """What stands beside a line, where it ends."""
        rows: Any = self.rows[
            (self.rows["line"] == line) & self.rows["world"].isin(["alternative", "ceiling"])
        ]
        if not len(rows):
            return None
        last = rows.sort_values("place").iloc[-1]
        power, ceiling = float(last["power"]), f"ceiling {share_text(float(last['power']))}"
        parts = [] if math.isnan(value) else [called(self.series, value)]
        parts += [ceiling] if last["world"] == "ceiling" else []
        return _End(", ".join(parts), power, _colour(line)) if parts else None


class _End(NamedTuple):
    text: str
    power: float
    colour: str


def _upright(what: str) -> alt.Y:
    return alt.Y("power:Q", scale=UPRIGHT).axis(
        values=[0, 0.2, 0.4, 0.6, 0.8, 1], labelExpr=SHARES, grid=True, title=what or None
    )


def _target(target: float) -> list[Any]:
    if not math.isfinite(target):
        return []
    row = pd.DataFrame({"power": [target]})
    rule = alt.Chart(row).mark_rule(color=INK, strokeWidth=1, opacity=0.7)
    return [rule.encode(y=alt.Y("power:Q", scale=UPRIGHT))]


def _of_line(fitted: pd.DataFrame, series: str, value: float, x: str) -> Any:
    kept: Any = fitted if math.isnan(value) or series not in fitted else fitted[fitted[series] == value]
    return kept.assign(place=kept[x]).sort_values("place")


def _colour(line: Any) -> str:
    return COLOURS[int(line) % len(COLOURS)]
