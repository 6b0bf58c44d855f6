"""Whole documents: the report of a study as one HTML file that loads nothing and needs no script.

Texts go through jinja2 with autoescape; only figures made here are placed as markup. The page's
Content-Security-Policy allows its own style sheet (by hash) and data: images, and nothing else.
"""

import base64
import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from mien.models.factors.spec import FAMILY as CO_ACTIVATION
from mien.models.factors.spec import is_factor_fit
from mien.reports_app import methods, tables, wording
from mien.reports_app.attributes import failures, parsed
from mien.reports_app.co_activation_part import CoActivationPart, co_activation_part, part_order
from mien.reports_app.course_parts import course_part, has_course
from mien.reports_app.defaults import DEFAULTS, Decisions
from mien.reports_app.figures.bars import exclusion_bars, valid_share_bars
from mien.reports_app.figures.face_map import face_map_svg
from mien.reports_app.figures.forest import forest, inner_intervals
from mien.reports_app.figures.theme import themed, to_svg
from mien.reports_app.model_checks import model_checks
from mien.reports_app.prior_part import PriorPart
from mien.reports_app.rows import Row, by_size, rows_of
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, SET_APART

__all__ = [
    "NO_CHECKLIST",
    "Checklist",
    "EffectPart",
    "content_security_policy",
    "family_place",
    "study_report",
]

TEMPLATES = ("page.html.j2", "study.html.j2", "table.html.j2", "co_activation.html.j2", "priors.html.j2")
FIRST = ("valence", "neutral", "valence:medium", "medium")  # the order in which effects are told
FAMILY_ORDER = ("valence", "task", "traits", "time")  # of fits; others come after valence
ADJUSTED_FOR = ("age_z", "sex")  # standard covariates: folded, unless a fit asks for nothing else
LISTED = 6  # effects told in words in each direction


class Checklist(NamedTuple):
    """Rows of the reporting guidelines (`mien.reports_app.prior_document.BargRow`), and how many are done."""

    items: Sequence[Any]
    counts: str


NO_CHECKLIST = Checklist((), "")


class EffectPart(NamedTuple):
    """One effect of one fit, ready to be placed."""

    fit: str
    effect: str
    title: str
    answer: str
    told: list[tuple[str, list[tuple[str, str]]]]  # heading of a direction, then (movement, what is known)
    failed: list[str]
    signs: str
    face: Markup
    face_label: str
    forest: Markup
    table: pd.DataFrame
    pooled: pd.DataFrame
    computation: pd.DataFrame


class FoldedPart(NamedTuple):
    """An effect that a fit has beside what it asks: a table only."""

    fit: str
    effect: str
    title: str
    table: pd.DataFrame


def study_report(  # noqa: PLR0913  (the parts of a study, by name)
    study_name: str,
    *,
    effects: Mapping[str, pd.DataFrame],
    fits: Mapping[str, Any],
    prep: Mapping[str, Any],
    quality: Sequence[Mapping[str, Any]],
    participants: pd.DataFrame,
    stimuli: pd.DataFrame,
    strips: Mapping[str, str] | None = None,
    lost: pd.DataFrame | None = None,
    paper: pd.DataFrame | None = None,
    priors: Sequence[PriorPart] = (),
    checklist: Checklist = NO_CHECKLIST,
    decisions: Decisions = DEFAULTS,
    note: str = "",
) -> str:
    """The report of a study.

    Parameters
    ----------
    study_name : shown as the title.
    effects : fit's name → its table from `mien.effects`; the first is the main one. Co-activation fits have none.
    fits : fit's name → the Fit (`xarray.DataTree`).
    prep : the counts of prep.json.
    quality : one quality report a recording (DESIGN 3.2).
    participants, stimuli : the study's tables; age (years), sex and valence, medium are read where they are there.
    strips : a quality report's `source` → its heat strip as SVG (`heat_strip_svg(…, axes=False)`).
    lost : `mien.models.lost_trials` of the main fit, where it is known.
    paper : `mien.workflow.paper_table` of a simulated study.
    priors : of the fits, the main one in full. checklist : the reporting guidelines, filled in.
    decisions : limits and words.
    note : a sentence that stands above everything, such as that the people are simulated.

    Returns
    -------
    One HTML document (str): no script, nothing loaded.
    """
    recipe = tomllib.loads(str(prep.get("recipe_toml", "")))
    sides = str(recipe.get("sides", "mean"))
    effects = {name: effects[name] for name in sorted(effects, key=lambda name: _place(name, effects))}
    straight = {name: table for name, table in effects.items() if not has_course(fits[name])}
    parts = [
        _effect_part(name, effect, rows, fits[name], sides, decisions)
        for name, table in straight.items()
        for effect, rows in _asked(name, _by_effect(table))
    ]
    folded = [
        FoldedPart(name, effect, wording.effect_title(effect), tables.effects_table(rows))
        for name, table in straight.items()
        for effect, rows in _by_effect(table)
        if (name, effect) not in {(part.fit, part.effect) for part in parts}
    ]
    style = _packaged("style.css")
    together = _together(fits, sides, decisions)
    checked = [model_checks(name, fits[name]) for name in (*effects, *(one.fit for one in together))]
    main = parts[0].fit if parts else ""
    return (
        _environment()
        .get_template("study.html.j2")
        .render(
            title=study_name,
            note=note,
            style=_drawn(style),
            policy=content_security_policy(style),
            lead=_lead(parts, together),
            parts=parts,
            together=together,
            folded=folded,
            courses=[
                course_part(name, fits[name], table, decisions)
                for name, table in effects.items()
                if name not in straight
            ],
            design=_design_notes(fits),
            lost=_lost(lost),
            paper=tables.paper_table(paper) if paper is not None else None,
            facts=_facts(prep, quality, participants, stimuli, fits),
            people=_people(participants),
            quality=tables.quality_table(quality),
            verdicts=_verdicts(quality),
            strips=[_drawn((strips or {}).get(str(one["source"]), "")) for one in quality] if strips else [],
            prep=prep,
            exclusion_figure=_figure(exclusion_bars(prep), "Share of rows kept, and excluded by each reason"),
            valid_figure=_figure(
                valid_share_bars(prep["by_valence_and_medium"]),
                "Share of frames tracked, by valence and medium",
            ),
            reasons=tables.reasons_table(prep),
            by_valence=tables.exclusion_table(prep["by_valence"], ["valence"]),
            by_medium=tables.exclusion_table(prep["by_medium"], ["medium"]),
            by_person=tables.exclusion_table(prep["by_participant"], ["participant"]),
            diagnostics=tables.diagnostics_table(effects, fits),
            checks=methods.checks_statement(fits),
            checked=checked,
            matters=[sentence for one in checked if one.fit == main for sentence in one.matters],
            failed=[name for name, fit in fits.items() if fit.attrs.get("diagnostics") != "passed"],
            baseline=methods.baseline_statement(recipe),
            clock=methods.clock_statement(str(prep.get("clock", "aligned"))),
            assumed=prep.get("clock") == "assume_aligned",
            priors=priors,
            checklist=checklist,
            methods=[methods.methods_sentences(name, fit) for name, fit in fits.items()],
            decisions=decisions,
        )
    )


def _together(fits: Mapping[str, Any], sides: str, decisions: Decisions) -> list[CoActivationPart]:
    """The co-activation fits, the first of them in full."""
    names = part_order([name for name, fit in fits.items() if is_factor_fit(fit)])
    return [
        co_activation_part(name, fits[name], decisions, sides=sides, full=place == 0)
        for place, name in enumerate(names)
    ]


def _lead(parts: Sequence[EffectPart], together: Sequence[CoActivationPart]) -> str:
    if parts:
        return parts[0].answer
    if together:
        return together[0].lead
    return "No effect was fitted, so this report describes the recordings and the preparation only."


def _environment() -> Environment:
    return Environment(
        loader=DictLoader({name: _packaged(name) for name in TEMPLATES}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _packaged(name: str) -> str:
    return resources.files("mien.reports_app").joinpath("templates", name).read_text(encoding="utf-8")


def content_security_policy(style: str) -> str:
    """The page's policy: its own style sheet by hash, images in the page, nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


# --- effects ----------------------------------------------------------------------------------------------------


def _by_effect(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    names = [str(name) for name in dict.fromkeys(table["effect"])]
    names = [name for name in names if name != "Intercept"] or names  # alone, it is the effect
    names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    return [(name, table.loc[table["effect"] == name].reset_index(drop=True)) for name in names]


def _place(name: str, effects: Mapping[str, pd.DataFrame]) -> tuple[float, int]:
    """Families in their order, after that as they were given."""
    return family_place(name), list(effects).index(name)


def family_place(name: str) -> float:
    """Where fits of a family come in a report: FAMILY_ORDER, others after valence, co-activation last."""
    family = name.partition("-")[0]
    if family == CO_ACTIVATION:
        return float(len(FAMILY_ORDER))
    return float(FAMILY_ORDER.index(family)) if family in FAMILY_ORDER else 0.5


def _asked(name: str, found: list[tuple[str, pd.DataFrame]]) -> list[tuple[str, pd.DataFrame]]:
    """The effects that answer a fit's question; what it is adjusted for, and levels of activation, are folded."""
    family, _, own = name.partition("-")
    if name == "task-whole":  # beside the equal first seconds
        return []
    if family == "task":
        asked = [one for one in found if one[0] in ("valence:medium", "medium")]
    elif family == "traits":
        asked = [one for one in found if one[0] in {f"valence:{trait}_z" for trait in own.split("-")}]
        asked = asked or [one for one in found if _of_answer(one[0])]
    elif family == "valence":
        asked = [one for one in found if one[0] in ("valence", "neutral") or _of_answer(one[0])]
    else:
        asked = found
    return asked or found


def _of_answer(effect: str) -> bool:
    """Whether an effect is how the answer to valence differs, by something that is not a standard covariate."""
    first, _, column = effect.partition(":")
    return first == "valence" and bool(column) and column not in ADJUSTED_FOR


def _lost(lost: pd.DataFrame | None) -> str:
    """What lost trials could do to the first effect that is not the intercept."""
    rows = [row for row in rows_of(lost) if row["effect"] != "Intercept"] if lost is not None else []
    return wording.lost_sentence([row for row in rows if row["effect"] == rows[0]["effect"]]) if rows else ""


def _design_notes(fits: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """A note of the design checks → the fits that it holds for."""
    notes: dict[str, list[str]] = {}
    for name, fit in fits.items():
        check = parsed(fit, "design_check")
        for note in check.get("notes", ()) if isinstance(check, Mapping) else ():
            notes.setdefault(str(note), []).append(name)
    return list(notes.items())


def _effect_part(
    fit_name: str, effect: str, rows: pd.DataFrame, fit: Any, sides: str, decisions: Decisions
) -> EffectPart:
    rows = rows.merge(inner_intervals(fit, effect), on="blend_shape", how="left")
    every = rows_of(rows)
    counted = [row for row in every if row["blend_shape"] not in SET_APART]
    units = wording.units_text(str(every[0]["units"]))
    reasons = failures(fit)
    title = wording.effect_title(effect)
    answer = wording.answer(counted, decisions=decisions)
    return EffectPart(
        fit=fit_name,
        effect=effect,
        title=title,
        answer=answer,
        told=_told(counted, wording.phrase_of(effect), decisions),
        failed=[
            wording.effect_sentence(
                row, decisions=decisions, failure=reasons.get(str(row["blend_shape"]), "")
            )
            for row in counted
            if row["verdict"] != "passed"
        ],
        signs=_signs(counted, decisions),
        face=_drawn(_face(every, sides, units=f"{title}, {units}", label=f"Face map. {answer}")),
        face_label=title,
        forest=_figure(
            forest(rows, units=f"{title}, {units}"),
            f"Forest plot of {title} for {len(rows)} shapes by region",
        ),
        table=tables.effects_table(rows),
        pooled=tables.pooled_table(rows),
        computation=tables.computation_table(rows, fit),
    )


def _told(
    counted: Sequence[Row], phrase: wording.Phrase, decisions: Decisions
) -> list[tuple[str, list[tuple[str, str]]]]:
    """The largest effects that can be told, by direction."""
    told = [row for row in counted if row["verdict"] == "passed" and row["p_direction"] >= decisions.signs]
    groups = []
    for direction, word in ((1, phrase.up), (-1, phrase.down)):
        rows = by_size(row for row in told if row["direction"] == direction)[:LISTED]
        notes = [wording.effect_note(row, decisions=decisions) for row in rows]
        if notes:
            groups.append((f"{word[0].upper()}{word[1:]} {phrase.compared}", notes))
    return groups


def _signs(counted: Sequence[Row], decisions: Decisions) -> str:
    flagged, expected = wording.wrong_signs(counted, decisions=decisions)
    if not flagged:
        return "No shape is flagged, so no sign can be wrong."
    shapes = "1 shape is" if flagged == 1 else f"{flagged} shapes are"
    return (
        f"{shapes} flagged (P(direction) ≥ {decisions.flag:g}); the expected number of wrong signs among "
        f"{'it' if flagged == 1 else 'them'} is {expected:.2f}, given the model."
    )


def _face(rows: Sequence[Row], sides: str, *, units: str, label: str) -> str:
    places = NAMES if sides == "both" else BILATERAL_NAMES
    passed = [
        row for row in rows if row["verdict"] == "passed"
    ]  # what failed its checks has no value to paint
    on_face = {str(row["blend_shape"]): row for row in passed if row["blend_shape"] in places}
    return face_map_svg(
        {name: row["mean"] for name, row in on_face.items()},
        p_direction={name: row["p_direction"] for name, row in on_face.items()},
        intervals={name: (row["eti_lower"], row["eti_upper"]) for name, row in on_face.items()},
        names={name: wording.movement(name) for name in places},
        units=units,
        title=label,
        sides=sides,
        labels=8,
        margins=False,
    )


def _drawn(markup: str) -> Markup:
    """Markup that this package made itself (its figures escape the texts in them); nothing else may come here."""
    return Markup(markup)  # noqa: S704


def _figure(chart: Any, label: str) -> Markup:
    return _drawn(themed(to_svg(chart, label=label)))


# --- the study --------------------------------------------------------------------------------------------------


def _facts(
    prep: Mapping[str, Any],
    quality: Sequence[Mapping[str, Any]],
    participants: pd.DataFrame,
    stimuli: pd.DataFrame,
    fits: Mapping[str, Any],
) -> list[tuple[str, str, str]]:
    """(number, what it is, detail) for the row of facts under the title."""
    verdicts = _verdicts(quality)
    failed = sum(fit.attrs.get("diagnostics") != "passed" for fit in fits.values())
    return [
        (str(len(participants)), "people", _people(participants)),
        (
            str(len(quality)),
            "recordings",
            ", ".join(f"{count} {word}" for word, count in verdicts.items() if count),
        ),
        (str(len(stimuli)), "stimuli", _stimuli(stimuli)),
        (
            f"{prep['trials_kept']:,}",
            "trials kept",
            f"of {prep['trials']:,}; {prep['valid_share']:.1%} of frames tracked",
        ),
        ("failed" if failed else "passed", "checks", f"{len(fits)} fit{'s' if len(fits) != 1 else ''}"),
    ]


def _people(participants: pd.DataFrame) -> str:
    parts = []
    if "age" in participants:
        ages = [float(age) for age in participants["age"].tolist() if pd.notna(age)]
        if ages:
            parts.append(f"{_years(min(ages))}–{_years(max(ages))} years")
        if len(ages) < len(participants):
            parts.append(f"age of {len(participants) - len(ages)} unknown")
    if "sex" in participants:
        counts = participants["sex"].dropna().astype(str).value_counts()
        parts += [f"{count} {word}" for word, count in counts.items()]
    return ", ".join(parts) or "age and sex unknown"


def _years(age: float) -> str:
    return f"{math.floor(age)}"


def _stimuli(stimuli: pd.DataFrame) -> str:
    counts = stimuli.groupby(["valence", "medium"], observed=True).size()
    return ", ".join(f"{count} {valence} {medium}s" for (valence, medium), count in counts.items())  # pyright: ignore[reportGeneralTypeIssues]


def _verdicts(quality: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    words = ("good", "usable", "repeat")
    return {word: sum(one["verdict"] == word for one in quality) for word in words}
