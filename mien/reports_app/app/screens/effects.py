"""Where the face differed: an effect of a model on every shape, as a face, a forest and a table."""

import streamlit as st

from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import chosen_effect, chosen_fit, chosen_shapes
from mien.reports_app.app.context import Context
from mien.reports_app.app.exporting import csv_bytes, offer
from mien.reports_app.fragments import fragment

__all__ = ["of_fits", "show"]


def show(context: Context) -> None:
    """The page."""
    placing.heading(context.title)
    of_fits(
        context, [one for one in reading.stored_fits(context.visitor, context.page) if one.model == "valence"]
    )


def of_fits(context: Context, fits: list[reading.StoredFit]) -> None:
    """An effect of one of some fits, which the visitor chooses."""
    visitor, page = context.visitor, context.page
    with st.container(horizontal=True):
        fit = chosen_fit(context, fits)
        if fit is None:
            return
        table = reading.effects_of(visitor, page, fit)
        effect = chosen_effect(table, fit)
        shapes = chosen_shapes(table, effect)
    placing.warnings(list(fit.stale))
    if shapes is not None and not shapes:
        st.info("No shape is left: choose another region or side.")
        return
    part = reading.part_of(visitor, page, fit, effect, shapes or ())
    placing.sheet(
        fragment("effects", "effect", part, 1, True, fit.name, reading.decisions()),
        key=f"{fit.key}-{effect}-{shapes}",
    )
    if context.statistical:
        offer(
            visitor, page, "Every number as CSV", f"{fit.name}.csv",
            lambda: csv_bytes(reading.effects_of(visitor, page, fit)), what={"fit": fit.name},
        )  # fmt: skip
