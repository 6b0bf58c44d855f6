"""An effect under narrower and wider priors: what of the answer stays, whatever width was chosen.

    width_strip     every shape and width: P(direction) with its sign, as text and shade; ● ○: decision by the ROPE
    width_curves    mean and 95 % interval of the largest effects over the width of their prior
    bayes_factors   Bayes factor of the effect over none, over the width

Widths are times that of the fit's own prior, on a log2 axis. Nothing rests on colour alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app import wording
from mien.reports_app.figures.forest import ROW_HEIGHT
from mien.reports_app.figures.theme import GRID, INK, MUTED, NEGATIVE_INK, PAPER, POSITIVE_INK
from mien.reports_app.rows import Row, rows_of
from mien.study.blend_shapes import SET_APART

__all__ = ["bayes_factors", "largest", "strip_rows", "width_curves", "width_strip", "width_text"]

CELL, PANEL, HEIGHT, GAP = 52, 250, 130, 22
NAMED = 4  # shapes with curves, and with names at their Bayes factors
MARKS = {"outside": " ●", "inside": " ○"}
FLAG = 0.95  # P(direction) from which a cell is filled in its colour, where a report has none of its own
FARTHEST = 6.0  # powers of ten of a Bayes factor that are still drawn
NEAREST = 13  # px between names at lines
WIDTHS = "width of the prior, times the fit’s own"

type Layers = alt.LayerChart | alt.FacetChart


def width_text(factor: float) -> str:
    """`1/8`, `1/4`, `1/2`, `1`, `2`: times as wide; others as numbers."""
    fractions = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2"}
    return fractions.get(factor, f"{factor:.3g}")


def largest(widths: pd.DataFrame, most: int = NAMED) -> list[str]:
    """The shapes whose effect is largest under the fit's own prior; gaze and blinks only where there is nothing else.

    Parameters
    ----------
    widths : rows of `mien.models.prior_widths` of one effect.
    """
    own = [row for row in rows_of(widths) if row["factor"] == 1.0 and math.isfinite(row["mean"])]
    own.sort(key=lambda row: (row["blend_shape"] in SET_APART, -abs(row["mean"])))
    return [str(row["blend_shape"]) for row in own[:most]]


# Every shape


def strip_rows(widths: pd.DataFrame, flag: float = FLAG) -> pd.DataFrame:
    """One row a cell: shape, width, text, kind; surest first at the fit's own width.

    Parameters
    ----------
    widths : rows of `mien.models.prior_widths` of one effect. flag : P(direction) from which a cell is filled.
    """
    rows = rows_of(widths)
    sure = {row["blend_shape"]: row["p_direction"] for row in rows if row["factor"] == 1.0}
    order = sorted(sure, key=lambda name: -(sure[name] if math.isfinite(sure[name]) else 0.0))
    cells = [_cell(row, flag) for row in rows]
    cells.sort(key=lambda cell: (order.index(cell["blend_shape"]), cell["factor"]))
    return pd.DataFrame(cells)


def _cell(row: Row, flag: float) -> Row:
    p, known = float(row["p_direction"]), math.isfinite(row["p_direction"])
    positive = known and int(row["direction"]) > 0
    text = (
        f"{'+' if positive else '−'}{_probability(p, flag)}{MARKS.get(str(row['decision']), '')}"
        if known
        else "?"
    )
    flagged = known and p >= flag
    return {
        "blend_shape": str(row["blend_shape"]), "label": str(row["blend_shape"]) or "outcome",
        "factor": float(row["factor"]), "width": width_text(float(row["factor"])), "text": text,
        "kind": ("positive" if positive else "negative") if flagged else "unsure",
    }  # fmt: skip


def _probability(p: float, flag: float) -> str:
    """Two digits; three just below the flag, which two would round up to."""
    if p >= 0.995:
        return ">.99"
    below = p < flag <= round(p, 2)
    return (f"{math.floor(1000 * p) / 1000:.3f}" if below else f"{p:.2f}").removeprefix("0")


def width_strip(widths: pd.DataFrame, flag: float = FLAG) -> Layers:
    """P(direction) and decision of every shape under every width.

    Parameters
    ----------
    widths, flag : as in `strip_rows`.
    """
    rows = strip_rows(widths, flag)
    names = list(dict.fromkeys(rows["label"]))
    columns = [width_text(factor) for factor in sorted(set(rows["factor"]))]
    y = alt.Y("label:N", scale=alt.Scale(domain=names), title=None).axis(
        ticks=False, domain=False, offset=6, labelLimit=260
    )
    x = alt.X("width:N", scale=alt.Scale(domain=columns), title=WIDTHS).axis(
        orient="top", ticks=False, domain=False, labelAngle=0, titlePadding=8
    )
    kinds = alt.Scale(domain=["positive", "negative", "unsure"], range=[POSITIVE_INK, NEGATIVE_INK, GRID])
    base = alt.Chart(rows).encode(x=x, y=y)
    tiles = base.mark_rect(stroke=PAPER, strokeWidth=1.5).encode(
        color=alt.Color("kind:N", scale=kinds, legend=None),
        opacity=alt.condition("datum.kind == 'unsure'", alt.value(0.45), alt.value(1.0)),
    )
    texts = base.mark_text(fontSize=10.5).encode(
        text="text:N", color=alt.condition("datum.kind == 'unsure'", alt.value(INK), alt.value("#fefefe"))
    )
    layers: list[Any] = [tiles, texts]
    if "1" in columns:
        layers.append(_frame(len(names)))
    return alt.layer(*layers).properties(width=alt.Step(CELL), height=alt.Step(ROW_HEIGHT))


def _frame(count: int) -> alt.Chart:
    """Around the column of the fit's own prior."""
    return (
        alt.Chart(pd.DataFrame({"width": ["1"]}))
        .mark_rect(filled=False, stroke=INK, strokeWidth=1.4)
        .encode(x="width:N", y=alt.value(0), y2=alt.value(count * ROW_HEIGHT))
    )


# The largest


def width_curves(widths: pd.DataFrame, *, units: str = "coefficient units") -> alt.ConcatChart:
    """Mean and interval of the largest effects over the width of their prior, all on one scale.

    Parameters
    ----------
    widths : rows of `mien.models.prior_widths` of one effect. units : of the effect.
    """
    names = largest(widths)
    shown: Any = widths[widths["blend_shape"].isin(names) & widths["mean"].notna()]
    ends = [float(shown["eti_lower"].min()), float(shown["eti_upper"].max()), 0.0]
    room = 0.05 * (max(ends) - min(ends))
    limits = (min(ends) - room, max(ends) + room)
    panels = [
        _curve(shown[shown["blend_shape"] == name], name, limits, units if place % 2 == 0 else "")
        for place, name in enumerate(names)
    ]
    return alt.concat(*panels, columns=2, spacing=GAP)


def _curve(rows: Any, name: str, domain: tuple[float, float], units: str) -> Layers:
    colour = POSITIVE_INK if float(rows["mean"].iloc[-1]) > 0 else NEGATIVE_INK
    x = _widths_axis(sorted(set(rows["factor"])))
    axis = alt.Axis(
        title=units or None, grid=False, tickCount=5,
        labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')",
    )  # fmt: skip
    scale, half = alt.Scale(domain=list(domain), nice=False), float(rows["rope"].iloc[0])
    limits = pd.DataFrame({"low": [max(-half, domain[0])], "high": [min(half, domain[1])]})
    rope = alt.Chart(limits).mark_rect(color=GRID, opacity=0.8).encode(
        y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q"
    )  # fmt: skip
    zero = alt.Chart().mark_rule(color=MUTED, strokeWidth=1).encode(y=alt.datum(0, scale=scale))
    own = alt.Chart().mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.datum(1.0))
    base = alt.Chart(rows).encode(x=x)
    bars = base.mark_rule(color=colour, strokeWidth=1.6).encode(
        y=alt.Y("eti_lower:Q", scale=scale, axis=axis), y2="eti_upper:Q"
    )
    line = base.mark_line(color=colour, strokeWidth=1.2, opacity=0.6).encode(
        y=alt.Y("mean:Q", scale=scale, axis=axis)
    )
    dots = base.mark_point(size=42, filled=True, opacity=1, fill=colour, stroke=PAPER).encode(
        y=alt.Y("mean:Q", scale=scale, axis=axis)
    )
    return alt.layer(rope, zero, own, bars, line, dots).properties(
        width=PANEL, height=HEIGHT, title=_title(_plain(name))
    )


def _widths_axis(factors: Sequence[float], title: str | None = WIDTHS) -> alt.X:
    texts = {factor: width_text(factor) for factor in factors}
    label = "".join(f"datum.value == {factor} ? '{text}' : " for factor, text in texts.items()) + "''"
    ends = [min(factors) / 1.25, max(factors) * 1.25]
    return alt.X("factor:Q", scale=alt.Scale(type="log", base=2, domain=ends, nice=False)).axis(
        values=list(factors), labelExpr=label, grid=False, title=title
    )


def _title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, anchor="start", fontSize=12, color=INK, fontWeight="bold", offset=8)


def _plain(shape: str) -> str:
    text = wording.movement(shape) if shape else "outcome"
    return text[:1].upper() + text[1:]


# Bayes factors


def bayes_factors(widths: pd.DataFrame, *, width: int = 400) -> Layers | None:
    """Bayes factor of the effect over none, over the width; None where there is none.

    Parameters
    ----------
    widths : rows of `mien.models.prior_widths` of one effect. width : of the plotting area, px.
    """
    known: Any = widths[np.isfinite(widths["log_bayes_factor"].to_numpy(dtype=float))]
    if not len(known):
        return None
    powers = np.clip(known["log_bayes_factor"].to_numpy(dtype=float) / math.log(10), -FARTHEST, FARTHEST)
    rows = pd.DataFrame({
        "blend_shape": known["blend_shape"].astype("str"), "factor": known["factor"], "power": powers,
    })  # fmt: skip
    rows["named"] = rows["blend_shape"].isin(largest(widths))
    low, high = math.floor(min(float(powers.min()), -1)), math.ceil(max(float(powers.max()), 1))
    height = max(42 * (high - low), 190)
    y = alt.Y("power:Q", scale=alt.Scale(domain=[low, high], nice=False)).axis(
        values=list(range(low, high + 1)), labelExpr=POWERS, labelOverlap=False, grid=True, titleLimit=height + 60,
        title="Bayes factor, effect over none",
    )  # fmt: skip
    x = _widths_axis(sorted(set(rows["factor"])))
    base = alt.Chart(rows).encode(x=x, y=y, detail="blend_shape:N")
    others = base.transform_filter("!datum.named").mark_line(color=MUTED, opacity=0.35, strokeWidth=1)
    named = base.transform_filter("datum.named").mark_line(
        color=INK, strokeWidth=1.8, point={"size": 26, "color": INK}
    )
    none = alt.Chart(pd.DataFrame({"power": [0.0]})).mark_rule(color=INK, strokeWidth=1).encode(y=y)
    own = alt.Chart().mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.datum(1.0))
    layers: list[Any] = [
        none,
        own,
        others,
        named,
        _names(rows[rows["named"]], y, width, height / (high - low)),
    ]
    return alt.layer(*layers).properties(width=width, height=height, padding=5)


POWERS = (
    "datum.value == 0 ? '1' : datum.value > 0 ? format(pow(10, datum.value), ',') "
    ": '1/' + format(pow(10, -datum.value), ',')"
)


def _names(rows: Any, y: alt.Y, width: int, step: float) -> alt.Chart:
    """Names at the right ends of the lines, apart from each other."""
    last: Any = rows[rows["factor"] == rows["factor"].max()].sort_values("power")
    places: list[float] = []
    for power in last["power"]:
        least = places[-1] + NEAREST / step if places else -math.inf
        places.append(max(float(power), least))
    shift = sum(place - power for place, power in zip(places, last["power"], strict=True)) / max(
        len(places), 1
    )
    texts = pd.DataFrame({
        "power": [place - shift for place in places], "name": [name or "outcome" for name in last["blend_shape"]],
    })  # fmt: skip
    return (
        alt.Chart(texts)
        .mark_text(align="left", fontSize=11, color=INK)
        .encode(x=alt.value(width + 6), y=y, text="name:N")
    )
