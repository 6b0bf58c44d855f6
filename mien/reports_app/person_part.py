"""One person's report as plain content, in the order in which it is to be read, for page, PDF and app alike.

First whether the recording is good enough, then one sentence, then the picture; details behind. Everything is said in
the reader's language. Where nothing can be told there are no numbers: the sentence says why, and the picture is left
out. A percentile is never turned into normal or abnormal.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from mien.reports_app.attributes import failures
from mien.reports_app.defaults import Decisions
from mien.reports_app.figures.face_legend import LegendWords
from mien.reports_app.figures.face_map import face_map_svg
from mien.reports_app.figures.quantile_dots import DotRow, quantile_dots
from mien.reports_app.person_numbers import (
    CONTRASTED,
    Person,
    Quality,
    main_shapes,
    person_numbers,
    quality_of_person,
)
from mien.reports_app.person_sections import Told, sections
from mien.reports_app.person_writing import decimal_commas, dot_row
from mien.reports_app.power_blocks import Picture, Points, Section, picture
from mien.reports_app.rows import Row, by_size
from mien.reports_app.texts import Texts
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, SET_APART

__all__ = ["PersonPart", "person_part"]

NAMED = 4  # movements in each direction of the sentence
LABELLED = 6  # on the face


class PersonPart(NamedTuple):
    """A person's report.

    quality : verdict of the recordings, a sentence; good : whether there is nothing against telling.
    lead : the one sentence, or why nothing can be told. signs : how many of its directions may be wrong.
    face, dots : the picture and the places; None where nothing can be told. cautions : stand on the first page.
    sections : the details. note : stands above everything. made : of the fit, s since 1970.
    """

    person: str
    study: str
    language: str
    title: str
    note: str
    quality: str
    good: bool
    lead: str
    signs: str
    face: Picture | None
    dots: Picture | None
    cautions: Sequence[str]
    sections: Sequence[Section]
    made: int


def person_part(  # noqa: PLR0913  (what a report needs, by name)
    fit: xr.DataTree,
    person: str,
    *,
    quality: Sequence[Mapping[str, Any]],
    trials: pd.DataFrame,
    participants: pd.DataFrame,
    decisions: Decisions,
    texts: Texts,
    sides: str = "mean",
    strips: Mapping[str, str] | None = None,
    study: str = "",
    note: str = "",
) -> PersonPart:
    """Put the report of one person together.

    Parameters
    ----------
    fit : a Gaussian valence fit of `trials`, with group effects. A person whom it has not is scored, norms fixed.
    person : label without prefix.
    quality : quality reports of recordings; others' are passed over.
    trials : the study's, with its excluded rows. participants : the study's table.
    sides : of the recipe, "mean", "both" or "asymmetry". strips : source → heat strip as SVG.
    study, note : its name, and a sentence that stands above everything.

    Raises
    ------
    FitError
        For a fit that has no answer to valence by person, or a person without trials.
    """
    numbers = person_numbers(fit, person, trials, participants, decisions)
    of_quality = quality_of_person(quality, trials, person)
    reason = _reason(numbers, of_quality, decisions, fit, texts)
    counted = [row for row in numbers.rows if row["blend_shape"] not in SET_APART and not row["reason"]]
    shown = [] if reason else main_shapes(fit, numbers.rows, flag=decisions.flag)
    told = Told(
        fit,
        person,
        numbers,
        of_quality,
        trials,
        participants,
        decisions,
        texts,
        sides,
        strips or {},
        shown,
        reason,
    )
    details = sections(told)
    by_title = {section.title: section for section in details}
    cautions = [
        texts("person.meaning_diagnosis"), texts("person.meaning_norm"),
        *_texts_of(by_title[texts("person.reference")]),
    ]  # fmt: skip
    return PersonPart(
        person=person, study=study, language=texts.language, title=texts("person.title", person=person), note=note,
        quality=_quality_sentence(of_quality, numbers.trials, texts), good=not reason,
        lead=texts("person.cannot", reason=reason) if reason else _lead(counted, person, decisions, texts),
        signs="" if reason else _signs(counted, decisions, texts),
        face=None if reason else _face(numbers.rows, person, sides, texts),
        dots=_dots(numbers.rows, shown, person, texts) if shown else None,
        cautions=cautions, sections=details, made=_moment(str(fit.attrs.get("created", ""))),
    )  # fmt: skip


def _texts_of(section: Section) -> list[str]:
    return [text for block in section.blocks if isinstance(block, Points) for text in block.texts]


def _moment(created: str) -> int:
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except ValueError:
        return 0


# Quality, and whether anything can be told


def _quality_sentence(quality: Quality, trials: Mapping[str, int], texts: Texts) -> str:
    if not quality.reports:
        return texts("person.no_recording")
    return texts.counted(
        "person.quality_sentence", len(quality.reports), verdict=texts(f"verdict.{quality.verdict}"),
        tracked=texts.share(quality.tracked), trials=_trials_text(trials, texts),
    )  # fmt: skip


def _trials_text(trials: Mapping[str, int], texts: Texts) -> str:
    """`16 negative and 15 positive`."""
    named = [
        texts("person.trials_of", n=trials[valence], valence=texts(f"valence.{valence}"))
        for valence in ("negative", "neutral", "positive")
        if valence in trials
    ]
    return texts.listed(named)


def _reason(numbers: Person, quality: Quality, decisions: Decisions, fit: xr.DataTree, texts: Texts) -> str:
    """Why nothing can be told of the whole person; "" where something can."""
    if quality.repeat:
        return texts.counted("person.cannot_repeat", len(quality.repeat))
    if quality.tracked < decisions.tracked_share:
        share, limit = texts.share(quality.tracked), texts.share(decisions.tracked_share)
        return texts("person.cannot_tracked", share=share, limit=limit)
    contrasted = {valence: numbers.trials[valence] for valence in CONTRASTED}
    if min(contrasted.values()) < decisions.valid_trials:
        listed = _trials_text(contrasted, texts)
        return texts("person.cannot_trials", trials=listed, limit=decisions.valid_trials)
    if all(row["reason"] for row in numbers.rows):
        why = failures(fit)
        if len(why) == 1:
            return texts("person.cannot_failed", why=next(iter(why.values())))
        return texts("person.cannot_failed_all")
    return ""


# The sentence


def _lead(counted: Sequence[Row], person: str, decisions: Decisions, texts: Texts) -> str:
    sure = [row for row in counted if row["p_direction"] >= decisions.probably]
    if not sure:
        return texts("person.lead_none", total=len(counted), person=person)
    told = []
    for key, direction in (("more", 1), ("less", -1)):
        rows = by_size(row for row in sure if row["direction"] == direction)
        if rows:
            told.append(texts(f"person.{key}", list=_few(rows, texts)))
    return texts("person.lead", count=len(sure), total=len(counted), person=person, told="; ".join(told))


def _few(rows: Sequence[Row], texts: Texts) -> str:
    names = [texts.movement(str(row["blend_shape"])) for row in rows]
    if len(names) <= NAMED:
        return texts.listed(names)
    return texts("person.and_more", list=", ".join(names[:NAMED]), n=len(names) - NAMED)


def _signs(counted: Sequence[Row], decisions: Decisions, texts: Texts) -> str:
    sure = [float(row["p_direction"]) for row in counted if row["p_direction"] >= decisions.probably]
    if not sure:
        return ""
    expected = texts.number(sum(1 - one for one in sure), 2)
    return texts.counted("person.wrong_signs", len(sure), expected=expected)


# The picture


def _face(rows: Sequence[Row], person: str, sides: str, texts: Texts) -> Picture:
    places = NAMES if sides == "both" else BILATERAL_NAMES
    on_face = {
        str(row["blend_shape"]): row for row in rows if row["blend_shape"] in places and not row["reason"]
    }
    label = texts("person.face_label", person=person)
    words = LegendWords(
        texts("face.persons"), texts("face.left"), texts("face.right"), texts("face.missing"), texts("face.below"),
    )  # fmt: skip
    svg = face_map_svg(
        {name: row["mean"] for name, row in on_face.items()},
        p_direction={name: row["p_direction"] for name, row in on_face.items()},
        intervals={name: (row["eti_lower"], row["eti_upper"]) for name, row in on_face.items()},
        names={name: texts.movement(name) for name in places},
        units=texts("person.units_face"), title=label, sides=sides, labels=LABELLED, outline=texts("face.outline"),
        words=words,
    )  # fmt: skip
    svg = decimal_commas(svg) if texts("common.decimal") == "," else svg
    caption = texts("person.face_caption", person=person)
    return Picture("face", svg, label, caption, "face", own_colours=True)


def _dots(rows: Sequence[Row], shown: Sequence[str], person: str, texts: Texts) -> Picture:
    by_name = {str(row["blend_shape"]): row for row in rows}
    found: list[DotRow] = [dot_row(by_name[name], texts) for name in shown]
    chart = quantile_dots(
        found, axis=texts("person.dots_axis"), ends=(texts("person.dots_from"), texts("person.dots_to"))
    )
    label = texts("person.dots_label", person=person, n=len(found))
    return picture(chart, "dots", label, texts("person.dots_caption"))
