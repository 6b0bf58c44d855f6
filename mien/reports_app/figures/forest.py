"""The forest plot: every shape's effect with its interval, by region, largest first.

Thin line = 95 % equal-tailed interval, thick line = inner 50 %, dot = posterior mean: filled where
P(direction) ≥ .95, hollow otherwise and where the computation failed its checks. The grey band is the region of
practical equivalence of that shape.
"""

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app.figures.theme import GRID, MUTED, NEGATIVE_INK, PAPER, POSITIVE_INK
from mien.reports_app.rows import Row, by_region, rows_of
from mien.study.blend_shapes import REGIONS

__all__ = [
    "ROW_HEIGHT", "SCALES", "forest", "forest_rows", "inner_intervals", "interval_layers", "kind",
    "value_axis", "value_scale",
]  # fmt: skip

# column stem in the effects table → what the axis says
SCALES: Mapping[str, str] = {
    "mean": "coefficient units",
    "beta_std": "standardised (β · sd(x) / sd(y))",
    "beta_sigma": "in residual sds (β / σ)",
}
INNER_Z, OUTER_Z = 0.674490, 1.959964  # half and 95 % of a normal lie within this many sds
ROW_HEIGHT = 18
FLAG = 0.95  # least P(direction) of a filled dot


def inner_intervals(fit: Any, effect: str, *, prob: float = 0.5) -> pd.DataFrame:
    """Equal-tailed inner intervals of a coefficient from a fit's draws.

    Returns
    -------
    columns blend_shape, inner_lower, inner_upper (coefficient units); no rows when the fit has no such coefficient.
    """
    posterior = fit["posterior"].to_dataset()
    if effect not in posterior or set(posterior[effect].dims) - {"chain", "draw", "blend_shape"}:
        return pd.DataFrame({"blend_shape": [], "inner_lower": [], "inner_upper": []})
    bounds = posterior[effect].quantile([(1 - prob) / 2, (1 + prob) / 2], dim=("chain", "draw"))
    shapes = posterior["blend_shape"].to_numpy() if "blend_shape" in posterior[effect].dims else [""]
    lower, upper = np.atleast_2d(bounds.to_numpy().reshape(2, -1))
    return pd.DataFrame({"blend_shape": shapes, "inner_lower": lower, "inner_upper": upper})


def forest_rows(effects: pd.DataFrame, *, scale: str = "mean") -> pd.DataFrame:
    """The rows of one effect as the plot draws them, sorted by region and then by size.

    Parameters
    ----------
    effects : rows of `mien.effects` for one effect; columns inner_lower and inner_upper (coefficient units) where
        they are known from draws, otherwise the inner interval is mean ± 0.674 sd.
    scale : one of SCALES. The ROPE is known in coefficient units only.
    """
    return pd.DataFrame([_forest_row(row, scale) for row in by_region(rows_of(effects))])


def _forest_row(row: Row, scale: str) -> Row:
    own = scale == "mean"
    value = float(row[scale])
    lower, upper = (float(row[f"{'eti' if own else scale}_{end}"]) for end in ("lower", "upper"))
    spread = float(row["sd"]) if own else (upper - lower) / (2 * OUTER_Z)
    inner = (row.get("inner_lower", math.nan), row.get("inner_upper", math.nan))
    if not own or not all(math.isfinite(bound) for bound in inner):
        inner = (value - INNER_Z * spread, value + INNER_Z * spread)
    sure = float(row["p_direction"]) >= FLAG and row["verdict"] == "passed"
    return {
        "blend_shape": str(row["blend_shape"]),
        "region": str(row["region"]),
        "value": value,
        "lower": lower,
        "upper": upper,
        "inner_lower": float(inner[0]),
        "inner_upper": float(inner[1]),
        "p_direction": float(row["p_direction"]),
        "rope": float(row["rope"]) if own else math.nan,
        "kind": kind(value, sure=sure),
    }


def kind(value: float, *, sure: bool) -> str:
    """What colours a row: "positive", "negative" or "unsure"."""
    return ("positive" if value > 0 else "negative") if sure else "unsure"


def forest(
    effects: pd.DataFrame, *, scale: str = "mean", units: str | None = None, width: int = 330
) -> alt.FacetChart:
    """The forest plot of one effect.

    Parameters
    ----------
    effects : rows of `mien.effects` for one effect (see `forest_rows`).
    scale : "mean" (coefficient units), "beta_std" or "beta_sigma".
    units : what the axis says; by default what SCALES says.
    width : of the plotting area, px.
    """
    rows = forest_rows(effects, scale=scale)
    shape = alt.Y("blend_shape:N", sort=rows["blend_shape"].tolist(), title=None).axis(
        ticks=False, domain=False, offset=6
    )
    x, axis = value_scale(rows), value_axis(units or SCALES[scale])
    layers = interval_layers(shape, x, axis)
    if scale == "mean":
        band = (
            alt.Chart()
            .encode(y=shape)
            .transform_calculate(low="-datum.rope")
            .mark_bar(color=GRID, height={"band": 1.0}, opacity=0.8)
            .encode(x=alt.X("low:Q", scale=x, axis=axis), x2="rope:Q")
        )
        layers.insert(0, band)
    return (
        alt.layer(*layers, data=rows)
        .properties(width=width, height=alt.Step(ROW_HEIGHT))
        .facet(
            row=alt.Row("region:N", sort=[*REGIONS, "contrast"], title=None).header(
                labelAngle=0, labelAlign="left", labelAnchor="middle", labelPadding=4
            ),
            spacing=8,
        )
        .resolve_scale(y="independent")
    )


def value_scale(rows: pd.DataFrame) -> alt.Scale:
    """Symmetric around 0 where the intervals lie on both sides of it."""
    low, high = float(np.min(rows["lower"].to_numpy())), float(np.max(rows["upper"].to_numpy()))
    edge = 1.05 * max(-low, high)
    return alt.Scale(domain=[-edge, edge] if low < 0 < high else alt.Undefined, nice=False)


def value_axis(title: str) -> alt.Axis:
    """Signed ticks, a plain 0, no grid."""
    return alt.Axis(
        title=title,
        tickCount=6,
        grid=False,
        labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')",
    )


def interval_layers(shape: alt.Y, x: alt.Scale, axis: alt.Axis) -> list[alt.Chart]:
    """The line at 0, the outer and the inner intervals, the dots.

    They draw rows with the columns value, lower, upper, inner_lower, inner_upper and kind.

    Parameters
    ----------
    shape : the rows. x : the scale of the values. axis : below them.
    """
    base = alt.Chart().encode(y=shape)
    kinds = alt.Scale(domain=["positive", "negative", "unsure"], range=[POSITIVE_INK, NEGATIVE_INK, MUTED])
    colour = alt.Color("kind:N", legend=None, scale=kinds)
    zero = alt.Chart().mark_rule(color=MUTED, strokeWidth=1).encode(x=alt.datum(0))
    whole = base.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("lower:Q", scale=x, axis=axis), x2="upper:Q", color=colour
    )
    inner = base.mark_rule(strokeWidth=5).encode(
        x=alt.X("inner_lower:Q", scale=x), x2="inner_upper:Q", color=colour
    )
    dot = base.mark_point(size=52, strokeWidth=1.8, opacity=1).encode(
        x=alt.X("value:Q", scale=x),
        stroke=alt.Stroke("kind:N", legend=None, scale=kinds),
        fill=alt.condition("datum.kind != 'unsure'", colour, alt.value(PAPER)),
    )
    return [zero, whole, inner, dot]
