"""One person, for the clinician: the report as it prints, in English or German, to read here or to take along."""

import streamlit as st

from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import addressed, one_of
from mien.reports_app.app.context import Context
from mien.reports_app.app.exporting import offer
from mien.reports_app.fragments import fragment
from mien.reports_app.person_document import person_document_html, person_document_pdf
from mien.reports_app.texts import LANGUAGES, Texts

__all__ = ["show"]

NAMES = {"en": "English", "de": "Deutsch"}


def show(context: Context) -> None:
    """The page."""
    visitor, page = context.visitor, context.page
    placing.heading(context.title)
    labels = reading.people(visitor, page)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        person = one_of("Person", "person", ["", *labels], lambda label: label or "choose")
        language = addressed(
            "language", LANGUAGES,
            lambda place, key: st.segmented_control(
                "Language", LANGUAGES, default=LANGUAGES[place], required=True, key=key, format_func=NAMES.__getitem__
            ),
        )  # fmt: skip
    if not person:
        st.info("Choose a person. That a person was opened is written into the study's log.")
        return
    part = reading.person_of(visitor, page, person, language)
    texts = Texts.of(language)
    placing.sheet(fragment("person", "verdict", part), key=f"verdict-{person}-{language}")
    placing.sheet(
        fragment("person", "person", part, texts("person.answer")), key=f"person-{person}-{language}"
    )
    with st.container(horizontal=True):
        for kind, mime, make in (
            ("PDF", "application/pdf", lambda: person_document_pdf(part)),
            ("HTML", "text/html", lambda: person_document_html(part).encode()),
        ):
            name = f"sub-{person}.{kind.lower()}"
            offer(visitor, page, kind, name, make, mime=mime, what={"participant": person})
