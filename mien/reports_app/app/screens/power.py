"""The study's power runs: how far they are, what they answer, the text for the ethics form."""

import streamlit as st

from mien.reports_app.app import placing, reading
from mien.reports_app.app.context import Context
from mien.reports_app.fragments import fragment

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    visitor, page = context.visitor, context.page
    placing.heading(context.title)
    runs = reading.power_runs(visitor, page)
    if not runs:
        st.info(
            "No run lies in this study. On the command line: `mien power init PLAN.toml`, then "
            "`mien power run PLAN.toml --out STUDY/derivatives/mien/power/NAME`."
        )
        return
    name = (
        st.selectbox("Run", list(runs), key="run", bind="query-params") if len(runs) > 1 else next(iter(runs))
    )
    folder = runs.get(name, next(iter(runs.values())))
    told = reading.power_status(visitor, page, folder)
    if not told.finished:
        st.progress(
            min(1.0, told.done / max(1, told.most)), text=f"{told.done:,} of {told.most:,} simulated studies"
        )
    part = reading.power_part_of(visitor, page, folder, told.rows_sha256)
    placing.sheet(fragment("power", "answers", part), key=f"power-{told.rows_sha256}")
