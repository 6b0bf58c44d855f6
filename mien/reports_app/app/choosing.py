"""Controls that several pages have; what is chosen stands in the address, so that a link leads to the same view."""

import pandas as pd
import streamlit as st

from mien.reports_app import wording
from mien.reports_app.app.context import Context
from mien.reports_app.app.reading import StoredFit
from mien.reports_app.effect_part import asked, by_effect
from mien.study.blend_shapes import BLEND_SHAPES, REGIONS

__all__ = ["chosen_effect", "chosen_fit", "chosen_shapes", "no_fit"]

ALL = "all"


def no_fit(context: Context, command: str) -> None:
    """Say that there is nothing to show yet, and what makes it."""
    st.info(f"No such model has been fitted. On the command line: `{command}`.")


def chosen_fit(context: Context, fits: list[StoredFit]) -> StoredFit | None:
    """One of some fits; None where there is none."""
    if not fits:
        no_fit(context, f"mien fit STUDY --model {'valence' if context.page == 'effects' else context.page}")
        return None
    names = [one.name for one in fits]
    if len(names) == 1:
        return fits[0]
    name = st.selectbox("Model", names, key="model", bind="query-params")
    return fits[names.index(name)] if name in names else fits[0]


def chosen_effect(table: pd.DataFrame, fit: StoredFit) -> str:
    """One of a fit's effects, those that answer its question first."""
    found = by_effect(table)
    first = [name for name, _ in asked(fit.name, found)]
    names = first + [name for name, _ in found if name not in first]
    if len(names) == 1:
        return names[0]
    chosen = st.selectbox(
        "Effect", names, key="effect", bind="query-params", format_func=wording.effect_title
    )
    return chosen if chosen in names else names[0]


def chosen_shapes(table: pd.DataFrame, effect: str) -> tuple[str, ...] | None:
    """Shapes of a region and a side; None for all."""
    mine = table[table["effect"] == effect]
    region_of = dict(zip(mine["blend_shape"].astype(str), mine["region"].astype(str), strict=True))
    regions = [name for name in (*REGIONS, "contrast") if name in region_of.values()]
    if len(regions) < 2:
        return None
    region = st.selectbox("Region", [ALL, *regions], key="region", bind="query-params")
    sided = sorted({_side(shape) for shape in region_of} & {"left", "right"})
    side = st.selectbox("Side", [ALL, *sided], key="side", bind="query-params") if sided else ALL
    if (region, side) == (ALL, ALL):
        return None
    return tuple(
        shape for shape, its in region_of.items() if region in (ALL, its) and side in (ALL, _side(shape))
    )


def _side(shape: str) -> str:
    return str(BLEND_SHAPES[shape].side) if shape in BLEND_SHAPES else ""
