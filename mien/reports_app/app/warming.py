"""What the first visitor would wait for, made before: imports, and the parts of every fit."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from mien.reports_app.app.access import LOCAL, Visitor

__all__ = ["warm"]

OUTSIDE = "streamlit.runtime.scriptrunner_utils.script_run_context"
SERVER = Visitor(LOCAL, "statistician")


def warm() -> None:
    """Make it; what cannot be made says so on its page."""
    logging.getLogger(OUTSIDE).setLevel(logging.ERROR)  # this is no visit, and is meant to be none
    for make in _parts():
        with suppress(Exception):
            make()


def _parts() -> Iterator[Callable[[], Any]]:
    from mien.reports_app.app import reading
    from mien.reports_app.effect_part import asked, by_effect

    fits = reading.stored_fits(SERVER, "overview")
    straight = [one for one in fits if not reading.is_together(one)]
    prep = reading.preparation(SERVER, "overview")
    if prep is not None:
        yield lambda: reading.exclusions_of(SERVER, "overview", prep)
    for one in straight:
        for effect, _ in asked(one.name, by_effect(reading.effects_of(SERVER, "effects", one))):
            yield lambda one=one, effect=effect: reading.part_of(SERVER, "effects", one, effect)
        yield lambda one=one: reading.courses_of(SERVER, "time", one)
        yield lambda one=one: reading.checks_of(SERVER, "checks", one)
    for one in fits:
        if reading.is_together(one):
            yield lambda one=one: reading.co_activation_of(SERVER, "together", one, full=True)
