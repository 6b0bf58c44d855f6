"""How a difference unfolds: the course of each shape as a small multiple, all on one scale.

Line: posterior mean of the difference at each time. Inner band: 95 % interval at each time alone. Outer band: it holds
the whole course with 95 %. Where the outer band leaves 0 out, the line is thick: there the courses differ, whichever
time one looks at.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app import wording
from mien.reports_app.figures.theme import INK, MUTED, POSITIVE_INK

__all__ = ["courses", "most_reactive"]

WIDTH, HEIGHT, COLUMNS, GAP = 176, 118, 3, 18
BAND = POSITIVE_INK


def most_reactive(curves: pd.DataFrame, *, most: int = 6) -> list[str]:
    """The shapes whose difference leaves 0 furthest behind, in units of its simultaneous band; failed ones last.

    Parameters
    ----------
    curves : from `mien.models.curves`.
    """
    differences: Any = curves[curves["kind"] == "difference"]
    half = (differences["band_upper"] - differences["band_lower"]).to_numpy() / 2
    distance = np.abs(differences["mean"].to_numpy()) / np.where(half > 0, half, np.nan)
    distance = np.where(differences["verdict"] == "passed", distance, -1.0)
    largest: Any = pd.Series(distance, index=differences["blend_shape"].astype("str")).groupby(level=0).max()
    return [str(name) for name in largest.sort_values(ascending=False, kind="stable").index[:most]]


def courses(
    curves: pd.DataFrame, shapes: Sequence[str], *, units: str = "coefficient units"
) -> alt.ConcatChart:
    """Small multiples of the difference courses.

    Parameters
    ----------
    curves : from `mien.models.curves`. shapes : to draw, in order. units : of the outcome.
    """
    rows: Any = curves[(curves["kind"] == "difference") & curves["blend_shape"].isin(list(shapes))]
    low, high = float(rows["band_lower"].min()), float(rows["band_upper"].max())
    y = alt.Scale(domain=[min(low, 0.0), max(high, 0.0)], nice=True)
    latest, columns = float(rows["time"].max()), min(len(shapes), COLUMNS)
    width = (
        COLUMNS * WIDTH + (COLUMNS - columns) * GAP
    ) // columns  # few panels fill the page with type of one size
    panels = [
        _panel(rows[rows["blend_shape"] == name], y, latest, units if place % columns == 0 else "", width)
        for place, name in enumerate(shapes)
    ]
    return alt.concat(*panels, columns=columns, spacing=GAP)


def _panel(rows: pd.DataFrame, scale: alt.Scale, latest: float, units: str, width: int) -> Any:
    name = str(rows["blend_shape"].iloc[0])
    base = alt.Chart(rows).encode(
        x=alt.X("time:Q", title="seconds from onset", scale=alt.Scale(domain=[0, latest], nice=False)).axis(
            grid=False, tickCount=4
        )
    )
    axis = alt.Axis(
        title=units or None, grid=False, tickCount=4, labels=bool(units), titleLimit=HEIGHT + 30,
        labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')",
    )  # fmt: skip

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", scale=scale, axis=axis)

    group = "curve:N"
    whole = base.mark_area(opacity=0.24, color=BAND).encode(y=y("band_lower"), y2="band_upper", detail=group)
    alone = base.mark_area(opacity=0.38, color=BAND).encode(y=y("eti_lower"), y2="eti_upper", detail=group)
    zero = alt.Chart().mark_rule(color=MUTED, strokeWidth=1).encode(y=alt.datum(0))
    line = base.mark_line(color=INK, strokeWidth=1.3).encode(
        y=y("mean"),
        strokeDash=alt.StrokeDash(group, legend=None) if len(set(rows["curve"])) > 1 else alt.Undefined,
    )
    sure = (
        base.transform_calculate(sure="datum.band_excludes_0 ? datum.mean : null")
        .mark_line(color=INK, strokeWidth=3.2)
        .encode(y=alt.Y("sure:Q", scale=scale, axis=axis), detail=group)
    )
    plain = wording.movement(name)
    title = alt.TitleParams(
        plain[:1].upper() + plain[1:], subtitle=name if plain != name else [], anchor="start", fontSize=12, color=INK,
        subtitleColor=MUTED, subtitleFontSize=11, fontWeight="bold", offset=6, limit=width + 20,
    )  # fmt: skip
    return alt.layer(whole, alone, zero, line, sure).properties(width=width, height=HEIGHT, title=title)
