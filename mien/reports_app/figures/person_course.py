"""How one person's answer unfolds beside the others': plain means in time bins, nothing estimated.

For every movement and medium a panel: the line is the person's mean of positive minus negative stimuli in each bin,
the band holds the middle of the other persons' lines.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app.figures.theme import INK, MUTED, NEGATIVE_INK
from mien.reports_app.person_means import kept_means

__all__ = ["LEAST_OTHERS", "course_rows", "person_course"]

MIDDLE = 0.8  # of the others, that the band holds
LEAST_OTHERS = 5
WIDTH, HEIGHT, GAP = 190, 100, 20
BOTH = ["negative", "positive"]
COLUMNS = ["blend_shape", "medium", "time", "value", "lower", "upper", "others"]


def course_rows(trials: pd.DataFrame, person: str, shapes: Sequence[str]) -> pd.DataFrame:
    """Positive − negative in each time bin, of the person and of the middle 80 % of the others.

    Parameters
    ----------
    trials : with time bins; kept rows are used.

    Returns
    -------
    columns blend_shape, medium, time (s), value, lower, upper (units of the activation), others (how many): only where
    the person and at least `LEAST_OTHERS` others have both. No row where trials have no bins.
    """
    chosen: Any = trials[
        trials["blend_shape"].astype("str").isin(list(shapes)) & trials["valence"].isin(BOTH)
    ]
    keys = ["blend_shape", "medium", "time", "participant"]
    means = kept_means(chosen, [*keys, "valence"])
    wide = means.pivot_table(index=keys, columns="valence", values="activation")
    if not set(BOTH) <= set(wide.columns):
        return pd.DataFrame(columns=COLUMNS)
    answers = (wide["positive"] - wide["negative"]).dropna().rename("answer").reset_index()
    answers["time"] = answers["time"].astype(np.float64)
    answers = answers.pivot_table(index=keys[:3], columns="participant", values="answer")
    if person not in answers:
        return pd.DataFrame(columns=COLUMNS)
    others = answers.drop(columns=person)
    tails = ((1 - MIDDLE) / 2, (1 + MIDDLE) / 2)
    found: Any = pd.DataFrame(
        {"value": answers[person], "lower": others.quantile(tails[0], axis=1),
         "upper": others.quantile(tails[1], axis=1), "others": others.notna().sum(axis=1)}
    ).reset_index()  # fmt: skip
    found = found[found["value"].notna() & (found["others"] >= LEAST_OTHERS)]
    bins: Any = found.groupby(["blend_shape", "medium"])["time"].transform("size")
    order = {name: place for place, name in enumerate(shapes)}
    found = found[bins > 1].assign(place=lambda table: table["blend_shape"].map(order))
    return found.sort_values(["place", "medium", "time"])[COLUMNS].reset_index(drop=True)


def person_course(
    rows: Any,
    *,
    names: Mapping[str, str],
    media: Mapping[str, str],
    axis: str,
    units: str,
    comma: bool = False,
) -> alt.VConcatChart:
    """Panels: a row for each movement, a column for each medium.

    Parameters
    ----------
    rows : of `course_rows`. names : movement → its title. media : medium → its title.
    axis, units : titles of time and of the answer. comma : decimal comma.
    """
    low, high = (
        float(np.nan_to_num(one))
        for one in (rows[["value", "lower"]].min().min(), rows[["value", "upper"]].max().max())
    )
    scale = alt.Scale(domain=[min(low, 0.0), max(high, 0.0)], nice=True)
    shapes, columns = (
        list(dict.fromkeys(rows["blend_shape"])),
        [one for one in media if (rows["medium"] == one).any()],
    )
    panels = []
    for number, shape in enumerate(shapes):
        across = [
            _panel(
                rows[(rows["blend_shape"] == shape) & (rows["medium"] == medium)], scale,
                title="" if place else names[shape],
                medium=media[medium] if number == 0 and len(columns) > 1 else "",
                axis=axis if number == len(shapes) - 1 else "", units=units if place == 0 else "", comma=comma,
            )
            for place, medium in enumerate(columns)
        ]  # fmt: skip
        panels.append(alt.hconcat(*across, spacing=GAP))
    return alt.vconcat(*panels, spacing=12)


def _panel(
    rows: Any, scale: alt.Scale, *, title: str, medium: str, axis: str, units: str, comma: bool
) -> Any:
    number = "format(datum.value, '+~g')"
    written = f"replace({number}, '.', ',')" if comma else number
    second = "replace(format(datum.value, '~g'), '.', ',')" if comma else "format(datum.value, '~g')"
    x = alt.X("time:Q", title=axis or None, scale=alt.Scale(domainMin=0, nice=False)).axis(
        grid=False, tickCount=5, labelExpr=second
    )
    of_y = alt.Axis(title=units or None, grid=False, tickCount=4, titleLimit=HEIGHT + 30, labels=bool(units),
                    labelExpr=f"datum.value == 0 ? '0' : {written}")  # fmt: skip

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", scale=scale, axis=of_y)

    base = alt.Chart(rows).encode(x=x)
    band = base.mark_area(opacity=0.25, color=NEGATIVE_INK).encode(y=y("lower"), y2="upper")
    zero = alt.Chart().mark_rule(color=MUTED, strokeWidth=1).encode(y=alt.datum(0))
    line = base.mark_line(color=INK, strokeWidth=2.2).encode(y=y("value"))
    heading = alt.TitleParams(
        title or " ", subtitle=medium or alt.Undefined, anchor="start", fontSize=12, color=INK, fontWeight="bold",
        subtitleColor=MUTED, subtitleFontSize=12, offset=5, limit=WIDTH + 20,
    )  # fmt: skip
    return alt.layer(band, zero, line).properties(width=WIDTH, height=HEIGHT, title=heading)
