"""Ways to place content on a page: sheets of the documents' own HTML, downloads, terms that explain themselves."""

import functools
from collections.abc import Sequence
from typing import Any

import streamlit as st
from markupsafe import Markup

from mien.reports_app.fragments import app_style, fragment

__all__ = ["heading", "paragraph", "sheet", "table", "warnings"]

# Sets the HTML that Python made (texts in it are escaped there); it runs no script, as it is set and not parsed.
SCRIPT = """
export default function (component) {
  const place = component.parentElement.querySelector(".sheet");
  if (place.dataset.made !== component.data.made) {
    place.innerHTML = component.data.html;
    place.dataset.made = component.data.made;
  }
}
"""


@functools.cache
def _component() -> Any:
    components: Any = st.components
    return components.v2.component("mien_sheet", html='<div class="sheet"></div>', css=app_style(), js=SCRIPT)


def sheet(html: Markup, *, key: str) -> None:
    """A part of a document.

    Parameters
    ----------
    html : made by `fragment`, or of figures made here; nothing else. key : its own on the page.
    """
    if not isinstance(html, Markup):
        raise TypeError("sheet: expected Markup made by reports_app, found a plain text: escape it.")
    text = str(html)
    _component()(data={"html": text, "made": str(hash(text))}, key=key)


def table(frame: Any, caption: str, *, key: str, classes: str = "plain", labels: int = 1) -> None:
    """A table with its caption, the first `labels` columns as headers of rows."""
    sheet(fragment("table", "table", frame, caption, classes, labels), key=key)


def paragraph(text: str, *, key: str) -> None:
    """A text as it is, whatever characters stand in it."""
    sheet(Markup("<p>{}</p>").format(text), key=key)


def heading(title: str, lead: str = "") -> None:
    """The page's title and what it is for."""
    st.title(title, anchor=False)
    if lead:
        st.markdown(lead)


def warnings(texts: Sequence[str]) -> None:
    """What has to be known before reading on."""
    for text in texts:
        st.warning(text)
