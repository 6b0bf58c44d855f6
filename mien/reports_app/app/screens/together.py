"""Which parts of the face move together: factors as faces, the network, the map of pairs, the trees."""

import streamlit as st

from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import no_fit
from mien.reports_app.app.context import Context
from mien.reports_app.co_activation_part import part_order
from mien.reports_app.fragments import fragment

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    visitor, page = context.visitor, context.page
    placing.heading("What moves together")
    fits = {one.name: one for one in reading.stored_fits(visitor, page) if reading.is_together(one)}
    if not fits:
        no_fit(context, "mien fit STUDY --model co_activation")
        return
    names = part_order(list(fits))
    name = st.selectbox("Model", names, key="model", bind="query-params") if len(names) > 1 else names[0]
    fit = fits.get(name, fits[names[0]])
    placing.warnings(list(fit.stale))
    part = reading.co_activation_of(visitor, page, fit, full=True)
    placing.sheet(
        fragment("co_activation", "co_activation", part, 1, True, reading.decisions()),
        key=f"together-{fit.key}",
    )
