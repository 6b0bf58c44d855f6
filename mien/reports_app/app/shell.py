"""Around the pages: who looks, which pages there are for them, and what happens where something is refused."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import streamlit as st

from mien.reports_app.app.access import LOCAL, PAGES, NotAllowedError, Visitor, visitor_of
from mien.reports_app.app.choosing import addressed
from mien.reports_app.app.context import TITLES, Context
from mien.reports_app.app.settings import settings
from mien.study.errors import MienError

__all__ = ["show"]

CLINICAL = ("overview", "effects", "person", "about")
ICON = str(Path(__file__).with_name("icon.png"))  # Streamlit fetches its own icons from elsewhere
VIEWS = ("clinical", "statistical")


def show() -> None:
    """One run of the script."""
    told = settings()
    st.set_page_config(page_title=f"{told.study.name} · mien", page_icon=ICON, layout="wide")
    visitor = visitor_of(told)
    if visitor is None:
        _sign_in()
    elif not visitor.role:
        _not_listed(visitor)
    else:
        _pages(visitor)


def _pages(visitor: Visitor) -> None:
    view = _view(visitor)
    made = [
        st.Page(
            partial(_shown, visitor, name, view), title=TITLES[name], url_path=name, default=name == _first(visitor),
            visibility="visible" if view == "statistical" or name in _clinical(visitor) else "hidden",
        )
        for name in PAGES
        if visitor.may(name)
    ]  # fmt: skip
    chosen = st.navigation(made)
    if visitor.name != LOCAL:
        _signed_in(visitor)
    chosen.run()


def _first(visitor: Visitor) -> str:
    return next(name for name in PAGES if visitor.may(name))


def _clinical(visitor: Visitor) -> tuple[str, ...]:
    """Pages of the clinical view; a role that has few has all of them in it."""
    return CLINICAL if visitor.may("overview") else PAGES


def _view(visitor: Visitor) -> str:
    """Which of the two views; the address keeps it. A role without more than the clinical pages has no choice."""
    if not any(visitor.may(name) for name in PAGES if name not in _clinical(visitor)):
        return "clinical"
    with st.sidebar:
        return addressed(
            "view", VIEWS,
            lambda place, key: st.segmented_control(
                "View", VIEWS, default=VIEWS[place], required=True, key=key, format_func=str.capitalize,
                help="Clinical: plain language. Statistical: every model and every number.",
            ),
        )  # fmt: skip


def _shown(visitor: Visitor, name: str, view: str) -> None:
    page: Callable[[Context], Any] = import_module(f"mien.reports_app.app.screens.{name}").show
    try:
        page(Context(visitor, name, view))
    except NotAllowedError:
        st.error("Your role does not have this page.")
    except MienError as problem:
        st.error(str(problem))


def _sign_in() -> None:
    st.title("mien", anchor=False)
    st.markdown("This study is open to those whom its keeper has listed.")
    st.button("Sign in", on_click=st.login, type="primary")


def _not_listed(visitor: Visitor) -> None:
    st.title("mien", anchor=False)
    st.error(f"{visitor.name} is not on the list of this study: ask whoever keeps it.")
    st.button("Sign out", on_click=st.logout)


def _signed_in(visitor: Visitor) -> None:
    with st.sidebar:
        st.caption(f"{visitor.name}, {visitor.role}")
        st.button("Sign out", on_click=st.logout)
