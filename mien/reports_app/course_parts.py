"""The part of a report on how an answer unfolds: from a fit with a smooth of time to what is placed."""

import json
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from mien.models import curves, peaks
from mien.reports_app import tables, wording
from mien.reports_app.attributes import rope_widths
from mien.reports_app.defaults import Decisions
from mien.reports_app.figures.courses import courses, most_reactive
from mien.reports_app.figures.theme import themed, to_svg
from mien.reports_app.rows import by_size, rows_of

__all__ = ["CoursePart", "course_part", "has_course"]

TOLD = 3  # peaks told in words
HABITUATION = "valence:center(trial)"


class CoursePart(NamedTuple):
    """The courses of one fit: sentences of the largest peaks, the figure's SVG, tables, what habituation is."""

    fit: str
    sentences: list[str]
    figure: Markup
    shapes: int
    shown: int
    peaks: pd.DataFrame
    habituation: pd.DataFrame | None
    fading: str
    identified: bool


def has_course(fit: Any) -> bool:
    """Whether a fit has a smooth of time, so that its straight parts say nothing on their own."""
    return "time" in json.loads(str(fit.attrs.get("smooths", "{}")))


def course_part(name: str, fit: Any, effects: pd.DataFrame, decisions: Decisions) -> CoursePart:
    """The part of one fit.

    Parameters
    ----------
    effects : its table from `mien.effects`.
    """
    courses_of = curves(fit)
    found = peaks(fit, rope=rope_widths(fit, decisions.rope))
    shapes = most_reactive(courses_of)
    units = wording.units_text(str(fit.attrs["units"]))
    figure = courses(courses_of, shapes, units=units)
    of_shape: Any = found.groupby("blend_shape", sort=False)
    by_shape = {shape: rows_of(of_shape.get_group(shape)) for shape in shapes}
    fading: Any = effects[effects["effect"] == HABITUATION].reset_index(drop=True)
    check = json.loads(str(fit.attrs.get("design_check", "{}")))
    order = check.get("facts", {}).get("order", {})
    return CoursePart(
        fit=name,
        sentences=[wording.peak_sentence(by_shape[shape]) for shape in shapes[:TOLD]],
        figure=Markup(themed(to_svg(figure, label=f"Courses of the difference of {len(shapes)} shapes"))),  # noqa: S704
        shapes=len(set(courses_of["blend_shape"])),
        shown=len(shapes),
        peaks=tables.peaks_table(found),
        habituation=tables.effects_table(fading) if len(fading) else None,
        fading=_fading(fading, decisions),
        identified=order.get("habituation") != "not identified",
    )


def _fading(effects: pd.DataFrame, decisions: Decisions) -> str:
    """The largest change over trials in words."""
    rows = by_size(rows_of(effects))
    return wording.effect_sentence(rows[0], decisions=decisions) if rows else ""
