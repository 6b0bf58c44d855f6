"""One person, for the clinician: the report as it prints, in English or German, to read here or to take along."""

import streamlit as st

from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import addressed, one_of
from mien.reports_app.app.context import Context
from mien.reports_app.app.exporting import offer
from mien.reports_app.fragments import fragment
from mien.reports_app.person_document import person_document_html, person_document_pdf
from mien.reports_app.person_part import PersonPart
from mien.reports_app.texts import LANGUAGES, Texts

__all__ = ["show"]

NAMES = {"en": "English", "de": "Deutsch"}
NEW = "new"


def _told(label: str) -> str:
    return {"": "choose", NEW: "a new recording"}.get(label, label)


def show(context: Context) -> None:
    """The page."""
    visitor, page = context.visitor, context.page
    placing.heading(context.title)
    labels = reading.people(visitor, page)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        person = one_of("Person", "person", ["", *labels, NEW], _told)
        language = addressed(
            "language", LANGUAGES,
            lambda place, key: st.segmented_control(
                "Language", LANGUAGES, default=LANGUAGES[place], required=True, key=key, format_func=NAMES.__getitem__
            ),
        )  # fmt: skip
    if person == NEW:
        _new(context, language)
        return
    if not person:
        st.info("Choose a person. That a person was opened is written into the study's log.")
        return
    part = reading.person_of(visitor, page, person, language)
    _placed(context, part, person)


def _new(context: Context, language: str) -> None:
    """Someone whom the study has not: a recording and its events, read for this page alone."""
    visitor, page = context.visitor, context.page
    left, right = st.columns(2)
    recording = left.file_uploader("Recording", key="recording", help="Any format that `mien import` reads.")
    events = right.file_uploader(
        "Events (TSV or CSV)", key="events", help="onset and duration in seconds of this recording, and stimulus_id.",
    )  # fmt: skip
    task = one_of("Task", "task", reading.tasks(visitor, page) or [""])
    if recording is None or events is None:
        st.info("Nothing that is uploaded here is kept. `mien import` takes a recording into the study.")
        return
    _placed(context, reading.scored(visitor, page, recording, events, task, language), NEW)


def _placed(context: Context, part: PersonPart, person: str) -> None:
    """The report, and its files to take along."""
    texts, language = Texts.of(part.language), part.language
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
            offer(context.visitor, context.page, kind, name, make, mime=mime, what={"participant": person})
