"""What else comes out of a study: how often it stays undecided, errs in direction, or exaggerates.

One small picture a quantity, over the same axis and with the same lines as the power curve.
"""

import math
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app.figures.colour import nice_limit
from mien.reports_app.figures.power_curves import (
    COLOURS,
    MOST,
    SHAPES,
    Called,
    View,
    at_value,
    axis_values,
    some_of,
    spread_apart,
    value_text,
)
from mien.reports_app.figures.theme import INK, MUTED

__all__ = ["QUANTITIES", "Quantity", "outcome_curves"]

WIDTH, HEIGHT = 196, 130
NAMES_APART = 13  # px
ENDS = {"share": (0.0, 1.0), "ratio": (-math.inf, math.inf), "amount": (0.0, math.inf)}
NUMBERS = "replace(format(datum.value, '.4~f'), /^0[.]/, '.')"
TOPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of axes of shares


class Quantity(NamedTuple):
    """A column of the estimates, its title, and the unit at the axis.

    kind : "share" 0–1, "ratio", or "amount" from 0. right : where nothing is wrong; nan for nowhere.
    """

    column: str
    title: str
    unit: str
    kind: str
    right: float = math.nan


QUANTITIES = (
    Quantity("undecided", "Undecided", "share of studies", "share"),
    Quantity("type_s", "Wrong sign (Type S)", "share of statements", "share"),
    Quantity("type_m", "Exaggeration (Type M)", "estimate / truth", "ratio", 1.0),
    Quantity("width", "Width of the interval", "units of the outcome", "amount"),
    Quantity("shapes_stated", "Shapes that meet the goal", "expected number", "amount"),
    Quantity("shapes_false", "Shapes told wrongly", "expected number", "amount"),
)


def outcome_curves(cells: pd.DataFrame, view: View, *, called: Called) -> alt.ConcatChart | None:
    """The quantities that were estimated, side by side; None where none was.

    Parameters
    ----------
    cells : a row a cell of one goal: world, axes, quantities and their `…_mcse`. view : panels are not drawn.
    called : as in `power_curves`.
    """
    lines = some_of(axis_values(cells, view.series), MOST)
    rows: Any = cells[(cells["world"] == "alternative") & np.isfinite(cells[view.x].to_numpy(dtype=float))]
    rows = rows if math.isnan(lines[0]) else at_value(rows, view.series, lines)
    known = [one for one in QUANTITIES if one.column in rows and rows[one.column].notna().any()]
    if not known:
        return None
    columns = 2 if len(known) in (2, 4) else 3
    panels = [
        _panel(rows, one, view, lines, called, named=place % columns == columns - 1 or one is known[-1])
        for place, one in enumerate(known)
    ]
    return alt.concat(*panels, columns=columns, spacing=24)


def _panel(
    rows: pd.DataFrame, quantity: Quantity, view: View, lines: list[float], called: Called, *, named: bool
) -> alt.LayerChart | alt.FacetChart:
    table = _table(rows, quantity, view, lines)
    x, y = _across(table, called(view.x, math.nan)), _upright(table, quantity)
    layers: list[Any] = []
    if math.isfinite(quantity.right):
        layers.append(
            alt.Chart().mark_rule(color=MUTED).encode(y=alt.datum(quantity.right, scale=y["scale"]))
        )
    for line in range(len(lines)):
        base = alt.Chart(table[table["line"] == line]).encode(x=x)
        middle, colour = alt.Y("value:Q", **y), COLOURS[line]
        layers += [
            base.mark_area(color=colour, opacity=0.16).encode(
                y=alt.Y("lower:Q", scale=y["scale"]), y2="upper:Q"
            ),
            base.mark_line(color=colour, strokeWidth=1.5).encode(y=middle),
            base.mark_point(shape=SHAPES[line], size=30, filled=True, opacity=1, color=colour).encode(
                y=middle
            ),
        ]
    if named and not math.isnan(lines[0]):
        layers += _names(table, lines, view, called, y)
    layers.append(_title(quantity.title))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _title(text: str) -> alt.Chart:
    """As a mark, so that the titles of a row stand at one height whatever their axes hold."""
    return (
        alt.Chart(pd.DataFrame({"text": [text]}))
        .mark_text(align="left", fontSize=12, fontWeight="bold", color=INK)
        .encode(x=alt.value(0), y=alt.value(-18), text="text:N")
    )


def _table(rows: pd.DataFrame, quantity: Quantity, view: View, lines: list[float]) -> Any:
    """place, value, lower, upper (95 % of simulation) and line of what is known."""
    known: Any = rows[rows[quantity.column].notna()]
    value = known[quantity.column].to_numpy(dtype=float)
    spread = (
        known.get(f"{quantity.column}_mcse", pd.Series(0.0, index=known.index))
        .fillna(0.0)
        .to_numpy(dtype=float)
    )
    lowest, highest = ENDS[quantity.kind]
    found = pd.DataFrame({
        "place": known[view.x].to_numpy(dtype=float), "value": value,
        "lower": np.clip(value - 1.96 * spread, lowest, highest),
        "upper": np.clip(value + 1.96 * spread, lowest, highest),
        "line": 0 if math.isnan(lines[0]) else [lines.index(float(one)) for one in known[view.series]],
    })  # fmt: skip
    return found.sort_values("place")


def _across(table: Any, title: str) -> alt.X:
    places = sorted(set(table["place"]))
    texts = "".join(f"abs(datum.value - {place}) < 1e-9 ? '{value_text(place)}' : " for place in places)
    room = 0.05 * (places[-1] - places[0]) or 0.5 * max(abs(places[0]), 1.0)
    scale = alt.Scale(domain=[places[0] - room, places[-1] + room], nice=False, zero=False)
    return alt.X("place:Q", scale=scale).axis(
        values=places, labelExpr=f"{texts}''", grid=False, labelOverlap="greedy", labelSeparation=5, title=title,
        titleLimit=WIDTH + 40,
    )  # fmt: skip


def _upright(table: Any, quantity: Quantity) -> dict[str, Any]:
    """From 0 for shares and amounts, up to what there is."""
    most = float(table["upper"].max())
    if quantity.kind == "share":
        ends = [0.0, next(one for one in TOPS if most <= one or one == TOPS[-1])]
    elif quantity.kind == "amount":
        ends = [0.0, nice_limit(most)]
    else:
        ends = [min(float(table["lower"].min()), quantity.right), max(most, quantity.right)]
    axis = alt.Axis(tickCount=4, labelExpr=NUMBERS, grid=True, title=quantity.unit)
    return {"scale": alt.Scale(domain=ends, nice=quantity.kind == "ratio", zero=False), "axis": axis}


def _names(table: Any, lines: list[float], view: View, called: Called, y: dict[str, Any]) -> list[Any]:
    """Names of the lines at their right ends."""
    ends = [(line, table[table["line"] == line]) for line in range(len(lines))]
    ends = [(line, float(rows["value"].iloc[-1])) for line, rows in ends if len(rows)]
    low, high = y["scale"].to_dict()["domain"]
    places = spread_apart([value for _, value in ends], NAMES_APART / HEIGHT * (high - low), low)
    return [
        alt.Chart(pd.DataFrame({"value": [place], "text": [called(view.series, lines[line])]}))
        .mark_text(align="left", fontSize=11, color=COLOURS[line])
        .encode(x=alt.value(WIDTH + 6), y=alt.Y("value:Q", **y), text="text:N")
        for (line, _), place in zip(ends, places, strict=True)
    ]
