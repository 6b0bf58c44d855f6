"""Can the numbers be trusted? Diagnostics, chains, checks of the model, what the priors assumed, how to do it again."""

import json

import streamlit as st

from mien.reports_app import methods, tables
from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import chosen_fit, one_of
from mien.reports_app.app.context import Context
from mien.reports_app.app.exporting import offer
from mien.reports_app.export_tables import methods_paragraph
from mien.reports_app.figures.chains import rank_bars, traces
from mien.reports_app.figures.theme import placed
from mien.reports_app.fragments import fragment
from mien.reports_app.wording import effect_title, movement

__all__ = ["show"]

LARGEST = 200 * 2**20  # bytes of draws that are handed out: they pass through the server's memory


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
    _chains(context, fit)
    checked = reading.checks_of(visitor, page, fit)
    placing.sheet(fragment("model_checks", "model_checks", [checked]), key=f"checks-{fit.key}")
    if not reading.is_together(fit):
        part = reading.priors_of(visitor, page, fit)
        placing.sheet(fragment("priors", "priors", part, 1, True), key=f"priors-{fit.key}")
    st.header("How it was done", anchor=False)
    placing.paragraph(" ".join(methods.methods_sentences(fit.name, tree)), key="methods")
    _files(context, fit)
    _again(fit)


def _files(context: Context, fit: reading.StoredFit) -> None:
    """Draws and the methods text, to take along."""
    visitor, page = context.visitor, context.page
    size, place = reading.draws_file(visitor, page, fit)
    with st.container(horizontal=True):
        offer(
            visitor, page, "Methods text", f"{fit.name}.txt",
            lambda: methods_paragraph(reading.fit_of(visitor, page, fit)).encode(), mime="text/plain",
        )  # fmt: skip
        if size <= LARGEST:
            offer(
                visitor, page, "Draws (netCDF)", f"{fit.name}.nc", lambda: reading.draws_bytes(visitor, page, fit),
                mime="application/x-netcdf",
            )  # fmt: skip
    if size > LARGEST:
        placing.paragraph(
            f"The draws are too large to hand out here: {place} in the study's folder.", key="draws"
        )


def _chains(context: Context, fit: reading.StoredFit) -> None:
    """Ranks and traces of one parameter of one shape."""
    visitor, page = context.visitor, context.page
    names = reading.parameters_of(visitor, page, fit)
    if not names:
        return
    with st.container(horizontal=True):
        name = one_of("Parameter", "parameter", names, effect_title)
        shape = one_of("Shape", "shape", reading.shapes_of(visitor, page, fit), movement)
    values = reading.draws_of(visitor, page, fit, name, shape)
    of = f"{name}, {shape}" if shape else name
    left, right = st.columns(2)
    with left:
        placing.sheet(
            placed(rank_bars(values, name=name), label=f"Ranks of the draws of {of} by chain"), key="ranks"
        )
    with right:
        placing.sheet(
            placed(traces(values, name=name), label=f"Draws of {of} in their order, by chain"), key="traces"
        )
    placing.paragraph(
        "Left: ranks of each chain's draws among all; even bars mean that the chains tell the same. Right: the draws "
        "in their order; where draws come from weights, their order says nothing.",
        key="chains",
    )


def _again(fit: reading.StoredFit) -> None:
    """The model as data, and the lines that fit it again."""
    spec = json.dumps(fit.described.get("model_spec", {}), indent=1, ensure_ascii=False)
    with st.expander("Fit it again"):
        st.code(
            'import json\nimport mien\n\nstudy = mien.Study("STUDY")\ntrials = mien.prepare(study)\n'
            f"spec = mien.models.{'FactorSpec' if reading.is_together(fit) else 'ModelSpec'}.from_json(SPEC)\n"
            f"fit = mien.fit(spec, trials, participants=study.participants, seed={fit.described.get('seed', 0)})",
            language="python",
        )
        st.markdown("SPEC:")
        st.code(spec, language="json")
