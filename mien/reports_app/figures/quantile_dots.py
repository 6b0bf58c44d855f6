"""Quantile dots: where a person may stand, as 20 dots of 5 % each, so that what is probable can be counted.

A row is a movement. Its dots are the quantiles (½, 1½ … 19½ of 20) of the person's percentile, stacked where they fall
into the same place; the thick part of the line below them is the 95 % interval; the diamond is the place of the plain
measurement, which nothing pulls towards the others. No part of the scale is marked as ordinary: it has no such part.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app.figures.theme import GRID, INK, MUTED, NEGATIVE_INK, PAPER, POSITIVE_INK

__all__ = ["DotRow", "quantile_dots", "stacked"]

WIDTH = 380  # px, of 0–100
EDGE = 3.0  # percentiles left free on both sides, so that dots at the ends are whole
BELOW = 9  # px under a row's line, for the diamond
LIFT = 1.5  # px between the line and the lowest dots
ROW, DOT = 46, 8.0  # px; of the first page
SMALL_ROW, SMALL_DOT = 30, 5.5
PLACES = 20  # stacks across the scale


class DotRow(NamedTuple):
    """One row. label : its name. dots : quantiles, 0–1. lower, upper : of the interval, 0–1.

    plain : the place of the plain measurement, 0–1 or NaN. reason : why there are no dots, "" where there are.
    A row with neither is a heading.
    """

    label: str
    dots: Sequence[float] = ()
    lower: float = float("nan")
    upper: float = float("nan")
    plain: float = float("nan")
    reason: str = ""


def stacked(dots: Sequence[float]) -> list[tuple[float, int]]:
    """(centre of its place, 0–1; number in its stack, from 0) of every dot.

    Places are the twentieths of the scale, the same in all rows: what is quite unknown lies flat, a dot in each.
    """
    seen = dict.fromkeys(range(PLACES), 0)
    found = []
    for one in sorted(dots):
        place = min(int(one * PLACES), PLACES - 1)
        found.append(((place + 0.5) / PLACES, seen[place]))
        seen[place] += 1
    return found


def quantile_dots(
    rows: Sequence[DotRow], *, axis: str, ends: tuple[str, str] = ("", ""), small: bool = False
) -> Any:
    """The rows as one chart, from the top down.

    Parameters
    ----------
    axis : title of the percentile axis. ends : what stands beside 0 and 100. small : narrower rows, for many.
    """
    high, diameter = (SMALL_ROW, SMALL_DOT) if small else (ROW, DOT)
    lines = _lines(rows, high)
    total = float(lines["top"].iloc[-1]) if len(lines) else float(high)
    x, y = _x(axis, ends), _labels(rows, lines, alt.Scale(domain=[0, total], nice=False, reverse=True))
    layers = [
        *_line_layers(lines, x, y), *_dot_layers(_dots(rows, lines, high, diameter), x, y, diameter),
        *_diamonds(lines, x, y), *_reasons(lines, y),
    ]  # fmt: skip
    return alt.layer(*layers).properties(width=WIDTH, height=total)


def _lines(rows: Sequence[DotRow], high: float) -> Any:
    """Where each row's line is: `line` px from the top, `top` where the next row begins."""
    found, at = [], 0.0
    for row in rows:
        heading = not row.dots and not row.reason
        room = round(0.75 * high) if heading else high
        found.append(
            {
                "label": row.label, "heading": heading, "line": at + room - BELOW, "top": at + room,
                "lower": 100 * row.lower, "upper": 100 * row.upper, "plain": 100 * row.plain, "reason": row.reason,
            }
        )  # fmt: skip
        at += room
    return pd.DataFrame(found)


def _dots(rows: Sequence[DotRow], lines: pd.DataFrame, high: float, diameter: float) -> pd.DataFrame:
    found = []
    for row, line in zip(rows, lines["line"].tolist(), strict=True):
        places = stacked(row.dots)
        tallest = 1 + max((number for _, number in places), default=0)
        step = min(diameter, (high - BELOW - diameter - 2 * LIFT) / max(tallest - 1, 1))
        found += [
            {"x": 100 * place, "y": line - diameter / 2 - LIFT - number * step} for place, number in places
        ]
    return pd.DataFrame(found, columns=["x", "y"])


def _x(axis: str, ends: tuple[str, str]) -> Any:
    names = f"{json.dumps(dict(zip(('0', '100'), ends, strict=True)))}[datum.value] || datum.value"
    return {
        "scale": alt.Scale(domain=[-EDGE, 100 + EDGE], nice=False),
        "axis": alt.Axis(
            title=axis, values=[0, 25, 50, 75, 100], labelExpr=names if any(ends) else "datum.value",
            grid=True, domain=False, ticks=False, labelPadding=6, titleLimit=WIDTH + 200,
            labelBound=False, labelFlush=False,
        ),
    }  # fmt: skip


def _labels(rows: Sequence[DotRow], lines: pd.DataFrame, scale: alt.Scale) -> Any:
    """Names at their rows' lines, headings bold."""
    names = json.dumps({f"{one:g}": row.label for row, one in zip(rows, lines["line"], strict=True)})
    bold = [one for one, heading in zip(lines["line"], lines["heading"], strict=True) if heading]
    test = f"indexof({bold}, datum.value) >= 0"
    axis = alt.Axis(
        title=None, values=lines["line"].tolist(), labelExpr=f"{names}[datum.value]", grid=False,
        ticks=False, domain=False, labelPadding=10, labelLimit=240, labelOverlap=False,
        labelFontWeight={"condition": {"test": test, "value": "bold"}, "value": "normal"},
    )  # fmt: skip
    return {"scale": scale, "axis": axis}


def _line_layers(lines: pd.DataFrame, x: Any, y: Any) -> list[Any]:
    told: Any = lines[~lines["heading"]]
    base = alt.Chart(told).encode(y=alt.Y("line:Q", **y))
    whole = base.transform_calculate(low="0", high="100").mark_rule(color=GRID, strokeWidth=1.2)
    inner = base.mark_rule(color=MUTED, strokeWidth=2.2)
    layers = [whole.encode(x=alt.X("low:Q", **x), x2="high:Q")]
    if told["lower"].notna().any():
        layers.append(
            inner.transform_filter("isValid(datum.lower)").encode(x=alt.X("lower:Q", **x), x2="upper:Q")
        )
    return layers


def _dot_layers(dots: pd.DataFrame, x: Any, y: Any, diameter: float) -> list[Any]:
    area = np.pi * (diameter / 2) ** 2
    mark = alt.Chart(dots).mark_circle(
        size=area, color=NEGATIVE_INK, opacity=1, stroke=PAPER, strokeWidth=0.6
    )
    return [mark.encode(x=alt.X("x:Q", **x), y=alt.Y("y:Q", **y))] if len(dots) else []


def _diamonds(lines: pd.DataFrame, x: Any, y: Any) -> list[Any]:
    told = lines[lines["plain"].notna()]
    mark = alt.Chart(told).mark_point(
        shape="diamond", size=58, filled=True, color=POSITIVE_INK, stroke=PAPER, strokeWidth=0.8, opacity=1
    )
    return [mark.encode(x=alt.X("plain:Q", **x), y=alt.Y("line:Q", **y))] if len(told) else []


def _reasons(lines: pd.DataFrame, y: Any) -> list[Any]:
    told = lines[lines["reason"] != ""]
    mark = alt.Chart(told).mark_text(align="left", dy=-8, fontSize=11, color=INK, fontStyle="italic")
    return [mark.encode(x=alt.value(8), y=alt.Y("line:Q", **y), text="reason:N")] if len(told) else []
