"""Quantile dots: where a person may stand, as 20 dots of 5 % each, so that what is probable can be counted.

A row is a movement. Its dots are the quantiles (½, 1½ … 19½ of 20) of the person's percentile, stacked where they fall
into the same place; the thick part of the line below them is the 95 % interval; the diamond is the place of the plain
measurement, which nothing pulls towards the others. No part of the scale is marked as ordinary: it has no such part.
"""

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
ROW, DOT = 40, 8.0  # px; of the first page
SMALL_ROW, SMALL_DOT = 27, 5.0
STACK = 0.05  # of the scale: what is quite unknown lies flat, 20 dots beside each other


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


def stacked(dots: Sequence[float], width: float = STACK) -> list[tuple[float, int]]:
    """(centre of its place, 0–1; number in its stack, from 0) of every dot.

    Parameters
    ----------
    dots : 0–1. width : dots within so much of the scale are in one stack.
    """
    found: list[tuple[float, int]] = []
    ordered, at = sorted(dots), 0
    while at < len(ordered):
        stack = [one for one in ordered[at:] if one - ordered[at] < width - 1e-9]
        middle = float(np.mean(stack))
        found += [(middle, number) for number in range(len(stack))]
        at += len(stack)
    return found


def quantile_dots(
    rows: Sequence[DotRow], *, axis: str, ends: tuple[str, str] = ("", ""), small: bool = False
) -> alt.LayerChart:
    """The rows as one chart, from the top down.

    Parameters
    ----------
    axis : title of the percentile axis. ends : what stands beside 0 and 100. small : narrower rows, for many.
    """
    high, diameter = (SMALL_ROW, SMALL_DOT) if small else (ROW, DOT)
    lines = _lines(rows, high)
    total = float(lines["top"].iloc[-1]) if len(lines) else float(high)
    y = alt.Scale(domain=[0, total], nice=False, reverse=True)
    layers = _line_layers(lines, _x(axis, ends), _labels(rows, lines, y))
    layers += _dot_layers(_dots(rows, lines, high, diameter), _x(axis, ends), y, diameter)
    layers += _diamonds(lines, _x(axis, ends), y)
    layers += _reasons(lines, y)
    return alt.layer(*layers).properties(width=WIDTH, height=total)


def _lines(rows: Sequence[DotRow], high: float) -> pd.DataFrame:
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
        step = min(diameter, (high - BELOW - diameter) / max(tallest - 1, 1))
        found += [
            {"x": 100 * place, "y": line - diameter / 2 - 1.5 - number * step} for place, number in places
        ]
    return pd.DataFrame(found, columns=["x", "y"])


def _x(axis: str, ends: tuple[str, str]) -> Any:
    names = "{'0': '%s', '100': '%s'}[datum.value] || datum.value" % tuple(_quoted(one) for one in ends)
    return {
        "scale": alt.Scale(domain=[-EDGE, 100 + EDGE], nice=False),
        "axis": alt.Axis(
            title=axis, values=[0, 25, 50, 75, 100], labelExpr=names if any(ends) else "datum.value", grid=True, domain=False,
            ticks=False, labelPadding=6, titleLimit=WIDTH + 200, labelBound=False, labelFlush=False,
        ),
    }  # fmt: skip


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _labels(rows: Sequence[DotRow], lines: pd.DataFrame, scale: alt.Scale) -> Any:
    """Names at their rows' lines, headings bold."""
    names = ", ".join(
        f"'{round(one)}': '{_quoted(row.label)}'" for row, one in zip(rows, lines["line"], strict=True)
    )
    bold = [one for one, heading in zip(lines["line"], lines["heading"], strict=True) if heading]
    axis = alt.Axis(
        title=None, values=lines["line"].tolist(), labelExpr=f"{{{names}}}[round(datum.value)]", grid=False,
        ticks=False, domain=False, labelPadding=10, labelLimit=240,
        labelFontWeight={"condition": {"test": f"indexof({bold}, datum.value) >= 0", "value": "bold"}, "value": "normal"},
    )  # fmt: skip
    return {"scale": scale, "axis": axis}


def _line_layers(lines: pd.DataFrame, x: Any, y: Any) -> list[Any]:
    told = lines[~lines["heading"]]
    base = alt.Chart(told).encode(y=alt.Y("line:Q", **y))
    whole = base.transform_calculate(low="0", high="100").mark_rule(color=GRID, strokeWidth=1.2)
    inner = base.mark_rule(color=MUTED, strokeWidth=2.2)
    layers = [whole.encode(x=alt.X("low:Q", **x), x2="high:Q")]
    if told["lower"].notna().any():
        layers.append(
            inner.transform_filter("isValid(datum.lower)").encode(x=alt.X("lower:Q", **x), x2="upper:Q")
        )
    return layers


def _dot_layers(dots: pd.DataFrame, x: Any, y: alt.Scale, diameter: float) -> list[Any]:
    area = np.pi * (diameter / 2) ** 2
    mark = alt.Chart(dots).mark_circle(
        size=area, color=NEGATIVE_INK, opacity=1, stroke=PAPER, strokeWidth=0.6
    )
    return [mark.encode(x=alt.X("x:Q", **x), y=alt.Y("y:Q", scale=y))] if len(dots) else []


def _diamonds(lines: pd.DataFrame, x: Any, y: alt.Scale) -> list[Any]:
    told = lines[lines["plain"].notna()].assign(under=lines["line"])
    mark = alt.Chart(told).mark_point(
        shape="diamond", size=58, filled=True, color=POSITIVE_INK, stroke=PAPER, strokeWidth=0.8, opacity=1
    )
    return [mark.encode(x=alt.X("plain:Q", **x), y=alt.Y("under:Q", scale=y))] if len(told) else []


def _reasons(lines: pd.DataFrame, y: alt.Scale) -> list[Any]:
    told = lines[lines["reason"] != ""]
    mark = alt.Chart(told).mark_text(align="left", dy=-8, fontSize=11, color=INK, fontStyle="italic")
    return [mark.encode(x=alt.value(8), y=alt.Y("line:Q", scale=y), text="reason:N")] if len(told) else []
