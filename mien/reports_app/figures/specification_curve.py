"""The specification curve: every analysis of a multiverse, sorted by its estimate, over the choices that made it.

Above, each analysis is a line (95 % equal-tailed interval) with its estimate; the analysis as planned is a ring, and a
thin line carries its estimate across. Below, one row a value of a choice, with a tick where an analysis took it: ticks
that gather at one end show the choice that moves the answer. Choices are in order of how much they move it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app import wording
from mien.reports_app.figures.forest import SCALES
from mien.reports_app.figures.theme import GRID, INK, MUTED, NEGATIVE_INK, PAPER, POSITIVE_INK, to_svg

__all__ = ["curve_rows", "curve_svg", "specification_curve"]

WIDTH, CURVE_HEIGHT, ROW_HEIGHT = 560, 210, 15
STEMS = {"mean": ("eti_lower", "eti_upper")}  # the interval's columns; else ESTIMATE_lower, ESTIMATE_upper


class CurveRows(NamedTuple):
    """What the figure draws: a row an analysis, a row an analysis and choice, the values in order."""

    analyses: pd.DataFrame
    ticks: pd.DataFrame
    levels: pd.DataFrame


def curve_rows(table: pd.DataFrame, choices: Sequence[Any], estimate: str = "mean") -> CurveRows:
    """The rows of the figure; analyses that failed have none.

    Parameters
    ----------
    table : a multiverse's table of one outcome. choices : with `key` and `labels`, columns of the table.
    estimate : "mean", "beta_std" or "beta_sigma".
    """
    lower, upper = STEMS.get(estimate, (f"{estimate}_lower", f"{estimate}_upper"))
    done: Any = table[table["failure"] == ""]
    done = done.sort_values(estimate, kind="stable").reset_index(drop=True)
    excludes = (done["eti_lower"] > 0) | (done["eti_upper"] < 0)
    sign = np.where(done["mean"] > 0, "positive", "negative")
    analyses = pd.DataFrame({
        "place": np.arange(1, len(done) + 1), "value": done[estimate], "lower": done[lower], "upper": done[upper],
        "kind": np.where(excludes, sign, "unsure"), "reference": done["reference"],
    })  # fmt: skip
    moving = sorted(choices, key=lambda choice: -_range(done, choice.key, estimate))
    ticks = [
        {"place": place, "row": f"{choice.key}\x1f{label}", "kind": kind}
        for choice in moving
        for place, label, kind in zip(analyses["place"], done[choice.key], analyses["kind"], strict=True)
    ]
    values = [
        {
            "row": f"{choice.key}\x1f{label}",
            "label": label.replace("_", " "),
            "choice": words(choice.key) if first == 0 else "",
        }
        for choice in moving
        for first, label in enumerate(choice.labels)
    ]
    return CurveRows(analyses, pd.DataFrame(ticks), pd.DataFrame(values))


def _range(done: Any, key: str, estimate: str) -> float:
    means = done.groupby(key)[estimate].mean()
    return float(means.max() - means.min())


def words(key: str) -> str:
    """`recipe.exclusion.tracking_lost` → "tracking lost"; the two that are called baseline are told apart."""
    named = {
        "recipe.baseline": "baseline window", "recipe.window": "response window", "recipe.bin": "bin width",
        "recipe.sides": "left and right", "model.baseline": "baseline enters as", "model.residual_sd": "residual sd",
        "model.priors_scale": "prior width ×", "recipe.baseline_correction": "baseline correction",
    }  # fmt: skip
    return named.get(key, key.rpartition(".")[2].replace("_", " "))


def specification_curve(
    table: pd.DataFrame,
    choices: Sequence[Any],
    estimate: str = "mean",
    *,
    title: str = "",
) -> alt.VConcatChart:
    """The specification curve of one outcome.

    Parameters
    ----------
    table, choices, estimate : see `curve_rows`.
    title : what the estimate is of.
    """
    rows = curve_rows(table, choices, estimate)
    count = len(rows.analyses)
    x = alt.X("place:Q", scale=alt.Scale(domain=[0.2, count + 0.8], nice=False), axis=None)
    kinds = alt.Scale(domain=["positive", "negative", "unsure"], range=[POSITIVE_INK, NEGATIVE_INK, MUTED])
    colour = alt.Color("kind:N", scale=kinds, legend=None)
    above = _curve(rows.analyses, x, colour, SCALES[estimate])
    parts = [above] if rows.ticks.empty else [above, _matrix(rows, x, colour)]
    head = alt.TitleParams(title, anchor="start", fontSize=13, color=INK, fontWeight="normal", offset=14)
    return alt.vconcat(
        *parts, spacing=12, title=head, padding={"left": 5, "top": 5, "right": 5, "bottom": 16}
    ).resolve_scale(color="shared")


def _curve(analyses: pd.DataFrame, x: Any, colour: Any, title: str) -> Any:
    thick = float(np.clip(0.7 * WIDTH / len(analyses), 0.6, 5))
    base = alt.Chart(analyses).encode(x=x)
    y = alt.Y("value:Q", title=title).axis(
        grid=False,
        tickCount=5,
        titleLimit=CURVE_HEIGHT + 40,
        labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')",
    )
    reference: Any = analyses[analyses["reference"]]
    zero = alt.Chart().mark_rule(color=MUTED, strokeWidth=1).encode(y=alt.datum(0))
    level = alt.Chart(reference).mark_rule(color=INK, strokeWidth=0.8, strokeDash=[3, 3]).encode(y="value:Q")
    interval = base.mark_rule(strokeWidth=thick, opacity=0.38).encode(
        y=alt.Y("lower:Q"), y2="upper:Q", color=colour
    )
    dots = base.mark_point(size=float(np.clip(thick**2 * 2, 5, 40)), filled=True, opacity=1).encode(
        y=y, color=colour
    )
    ring = (
        alt.Chart(reference)
        .mark_point(size=95, strokeWidth=2, stroke=INK, fill=PAPER, opacity=1)
        .encode(x=x, y=y)
    )
    upright = alt.Chart(reference).mark_rule(color=INK, strokeWidth=0.8, strokeDash=[3, 3]).encode(x=x)
    label = (
        alt.Chart(reference)
        .mark_text(align="center", baseline="bottom", fontSize=12, color=INK)
        .encode(x=x, y=alt.value(-3), text=alt.value("as planned"))
    )
    return alt.layer(zero, interval, level, upright, dots, ring, label).properties(
        width=WIDTH, height=CURVE_HEIGHT
    )


def _matrix(rows: CurveRows, x: Any, colour: Any) -> Any:
    order = rows.levels["row"].tolist()
    y = alt.Y("row:N", sort=order, axis=None, scale=alt.Scale(domain=order, paddingInner=0.25))
    count = len(rows.analyses)
    tick = alt.Chart(rows.ticks).mark_tick(
        orient="vertical", thickness=float(np.clip(0.75 * WIDTH / count, 0.6, 6)), size=ROW_HEIGHT * 0.7
    ).encode(x=x, y=y, color=colour)  # fmt: skip
    base = alt.Chart(rows.levels).encode(y=y)
    label = base.mark_text(align="right", dx=-8, fontSize=12, color=INK).encode(
        x=alt.value(0), text="label:N"
    )
    choice = base.mark_text(align="right", dx=-105, fontSize=12, fontWeight="bold", color=INK).encode(
        x=alt.value(0), text="choice:N"
    )
    first = np.flatnonzero(rows.levels["choice"].to_numpy() != "")
    lines = alt.Chart(rows.levels.iloc[first[1:]]).mark_rule(
        color=GRID, strokeWidth=1, yOffset=-ROW_HEIGHT / 2 - 1
    )
    rule = lines.encode(y=y)
    return alt.layer(rule, tick, label, choice).properties(width=WIDTH, height=alt.Step(ROW_HEIGHT + 3))


def curve_svg(table: pd.DataFrame, choices: Sequence[Any], estimate: str, outcome: str) -> str:
    """The specification curve of one outcome as SVG: what `mien multiverse` writes."""
    title = f"{wording.subject_of(outcome)}: {wording.effect_title(str(table['effect'].iloc[0]))}"
    chart = specification_curve(table, choices, estimate, title=title)
    return to_svg(chart, label=f"Specification curve of {title}, {len(table)} analyses")
