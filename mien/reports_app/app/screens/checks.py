"""Can the numbers be trusted? Diagnostics of each fit, checks of each model, the methods text."""

import streamlit as st

from mien.reports_app import methods, tables
from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import chosen_fit
from mien.reports_app.app.context import Context
from mien.reports_app.fragments import fragment

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    visitor, page = context.visitor, context.page
    placing.heading(context.title)
    fit = chosen_fit(context, reading.stored_fits(visitor, page))
    if fit is None:
        return
    placing.warnings(list(fit.stale))
    tree = reading.fit_of(visitor, page, fit)
    found = {} if reading.is_together(fit) else {fit.name: reading.effects_of(visitor, page, fit)}
    placing.table(
        tables.diagnostics_table(found, {fit.name: tree}), "Checks of the computation", key="diagnostics"
    )
    checked = reading.checks_of(visitor, page, fit)
    placing.sheet(fragment("model_checks", "model_checks", [checked]), key=f"checks-{fit.key}")
    st.subheader("How it was done", anchor=False)
    st.text(" ".join(methods.methods_sentences(fit.name, tree)))
    with st.expander("The model as data"):
        st.json(dict(fit.described.get("model_spec", {})))
