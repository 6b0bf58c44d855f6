"""What the words mean, what this cannot do, what it is made of, and what becomes of the data."""

import streamlit as st

from mien.reports_app.app import placing
from mien.reports_app.app.about_text import GLOSSARY, LIMITS, PRIVACY, versions
from mien.reports_app.app.context import Context

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    placing.heading(context.title)
    st.header("Words", anchor=False)
    for term, meaning in GLOSSARY.items():
        st.markdown(f"**{term}** — {meaning}")
    st.header("What this cannot do", anchor=False)
    st.markdown("\n".join(f"- {limit}" for limit in LIMITS))
    st.header("Your data", anchor=False)
    st.markdown("\n".join(f"- {sentence}" for sentence in PRIVACY))
    if context.statistical:
        st.header("Versions", anchor=False)
        placing.table(versions(), "Versions and licences", key="versions")
