"""Controls that several pages have; what is chosen stands in the address, so that a link leads to the same view."""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from mien.reports_app import wording
from mien.reports_app.app.context import Context
from mien.reports_app.app.reading import StoredFit
from mien.reports_app.effect_part import asked, by_effect
from mien.study.blend_shapes import BLEND_SHAPES, REGIONS

__all__ = ["addressed", "chosen_effect", "chosen_fit", "chosen_shapes", "no_fit", "one_of"]

ALL = "all"
Control = Callable[[int, str], str | None]


def addressed(name: str, options: Sequence[str], control: Control) -> str:
    """What is chosen of some options; the address says it, and decides what is chosen at first.

    Parameters
    ----------
    name : in the address. control : places the widget, given the place of what is chosen at first and its key.
    """
    asked = st.query_params.get(name, "")
    found = control(options.index(asked) if asked in options else 0, f"chosen-{name}")
    chosen = found if found is not None and found in options else options[0]
    if chosen != options[0]:
        st.query_params[name] = chosen
    elif name in st.query_params:
        del st.query_params[name]
    return chosen


def one_of(label: str, name: str, options: Sequence[str], words: Callable[[str], str] = str) -> str:
    """A list to choose from; the first where there is no choice."""
    if len(options) == 1:
        return options[0]
    return addressed(
        name, options,
        lambda place, key: st.selectbox(label, options, place, key=f"{key}-{'|'.join(options)}", format_func=words),
    )  # fmt: skip


def no_fit(context: Context, command: str) -> None:
    """Say that there is nothing to show yet, and what makes it."""
    st.info(f"No such model has been fitted. On the command line: `{command}`.")


def chosen_fit(context: Context, fits: list[StoredFit]) -> StoredFit | None:
    """One of some fits; None where there is none."""
    if not fits:
        no_fit(context, f"mien fit STUDY --model {'valence' if context.page == 'effects' else context.page}")
        return None
    names = [one.name for one in fits]
    return fits[names.index(one_of("Model", "model", names))]


def chosen_effect(table: pd.DataFrame, fit: StoredFit) -> str:
    """One of a fit's effects, those that answer its question first."""
    found = by_effect(table)
    first = [name for name, _ in asked(fit.name, found)]
    names = first + [name for name, _ in found if name not in first]
    return one_of("Effect", "effect", names, wording.effect_title)


def chosen_shapes(table: pd.DataFrame, effect: str) -> tuple[str, ...] | None:
    """Shapes of a region and a side; None for all."""
    mine = table[table["effect"] == effect]
    region_of = dict(zip(mine["blend_shape"].astype(str), mine["region"].astype(str), strict=True))
    regions = [name for name in (*REGIONS, "contrast") if name in region_of.values()]
    if len(regions) < 2:
        return None
    region = one_of("Region", "region", [ALL, *regions])
    sided = sorted({_side(shape) for shape in region_of} & {"left", "right"})
    side = one_of("Side", "side", [ALL, *sided])
    if (region, side) == (ALL, ALL):
        return None
    return tuple(
        shape for shape, its in region_of.items() if region in (ALL, its) and side in (ALL, _side(shape))
    )


def _side(shape: str) -> str:
    return str(BLEND_SHAPES[shape].side) if shape in BLEND_SHAPES else ""
