"""The loadings of one factor as a forest plot: which shapes it moves, how much, and which way.

Thin line = 95 % equal-tailed interval, thick line = inner 50 %, dot = posterior mean: filled where P(direction) ≥ .95.
Largest first, whatever the sign; a factor has no region of practical equivalence, so there is no band.
"""

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app.figures.forest import (
    FLAG,
    ROW_HEIGHT,
    interval_layers,
    kind,
    value_axis,
    value_scale,
)
from mien.reports_app.figures.theme import GRID

__all__ = ["loading_forest", "loading_rows"]

COLUMNS = ("blend_shape", "mean", "lower", "upper", "inner_lower", "inner_upper", "p_direction")


def loading_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as the plot draws them, largest loading first.

    Parameters
    ----------
    table : see `loading_forest`.
    """
    _check(table)
    order = np.argsort(-table["mean"].abs().to_numpy(), kind="stable")
    ordered = table.iloc[order].reset_index(drop=True)
    rows = ordered.loc[:, list(COLUMNS)].rename(columns={"mean": "value"})
    sure = ordered["p_direction"] >= FLAG
    if "verdict" in table:
        sure &= ordered["verdict"] == "passed"
    rows["kind"] = [
        kind(float(value), sure=bool(one)) for value, one in zip(rows["value"], sure, strict=True)
    ]
    return rows


def _check(table: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(
            f"expected the columns {', '.join(COLUMNS)}, found no {', '.join(missing)}: add them to the table."
        )
    shapes = len(set(table["blend_shape"]))
    if shapes == 0 or shapes < len(table):
        raise ValueError(
            f"expected one row a shape, found {len(table)} rows of {shapes} shapes: keep those of one factor."
        )


def loading_forest(table: pd.DataFrame, factor: str, *, width: int = 330) -> alt.LayerChart | alt.FacetChart:
    """The forest plot of one factor's loadings.

    Parameters
    ----------
    table : a row a shape: blend_shape, mean, lower, upper (95 % interval), inner_lower, inner_upper (50 %), all in
        within sds, p_direction (0.5-1); where there is a verdict, only "passed" is drawn as sure.
    factor : its name, for the axis.
    width : of the plotting area, px.

    Raises
    ------
    ValueError
        Where columns are missing, there is no row, or a shape has several.
    """
    rows = loading_rows(table)
    shape = alt.Y("blend_shape:N", sort=rows["blend_shape"].tolist(), title=None).axis(
        ticks=False, domain=False, offset=6, labelLimit=260
    )
    layers = interval_layers(shape, value_scale(rows), value_axis(f"loading on {factor} (within sds)"))
    stripes = (
        alt.Chart()
        .mark_rule(color=GRID, strokeWidth=1, strokeDash=[1, 3])
        .encode(y=shape, x=alt.value(0), x2=alt.value(width))
    )
    return alt.layer(stripes, *layers, data=rows).properties(width=width, height=alt.Step(ROW_HEIGHT))
