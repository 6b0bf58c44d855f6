"""The study at a glance: people, recordings, what was left out, verdicts, what is stale."""

import pandas as pd
import streamlit as st

from mien.reports_app import tables
from mien.reports_app.app import placing, reading
from mien.reports_app.app.context import Context
from mien.reports_app.fragments import fragment
from mien.reports_app.study_part import facts, verdicts

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    study = reading.study()
    visitor, page = context.visitor, context.page
    placing.heading(study.name)
    prep = reading.preparation(visitor, page)
    quality = reading.quality(visitor, page)
    fits = reading.stored_fits(visitor, page)
    if prep is None:
        st.info(f"{len(quality)} recordings are here, not prepared yet: `mien prep`, then `mien fit`.")
        placing.table(
            tables.quality_table(quality), "Quality of each recording", key="quality", classes="quality"
        )
        return
    failed = [one.name for one in fits if one.verdict != "passed"]
    placing.warnings(reading.stale(visitor))
    if failed:
        st.error(
            f"The checks of the computation failed for {', '.join(failed)}: what rests on it cannot be told."
        )
    told = {one.name: one.verdict for one in fits}
    placing.sheet(
        fragment(
            "recordings",
            "facts",
            facts(prep, quality, reading.participants(visitor, page), study.stimuli, told),
        ),
        key="facts",
    )
    placing.table(_verdicts(fits), "Models that were fitted", key="fits")
    placing.sheet(
        fragment("recordings", "recordings", tables.quality_table(quality), verdicts(quality), []),
        key="quality",
    )
    left_out = reading.exclusions_of(visitor, page, prep)
    placing.sheet(fragment("recordings", "exclusions", prep, "", left_out), key="exclusions")


def _verdicts(fits: list[reading.StoredFit]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model": one.name, "checks": one.verdict, "engine": str(one.described.get("engine", "")),
                "made": str(one.described.get("created", ""))[:16].replace("T", " "),
                "up to date": " ".join(one.stale) or "yes",
            }
            for one in fits
        ],
        columns=["model", "checks", "engine", "made", "up to date"],
    )  # fmt: skip
