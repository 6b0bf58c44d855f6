"""Whole documents: the report of a study as one HTML file that loads nothing and needs no script.

Texts go through jinja2 with autoescape; only figures made here are placed as markup. The page's
Content-Security-Policy allows its own style sheet (by hash) and data: images, and nothing else.
"""

import base64
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from mien.models.factors.spec import is_factor_fit
from mien.reports_app import methods, tables, wording
from mien.reports_app.attributes import parsed
from mien.reports_app.co_activation_part import CoActivationPart, co_activation_part, part_order
from mien.reports_app.course_parts import course_part, has_course
from mien.reports_app.defaults import DEFAULTS, Decisions
from mien.reports_app.effect_part import (
    EffectPart,
    asked,
    by_effect,
    effect_part,
    family_place,
    folded_part,
)
from mien.reports_app.fragments import environment, packaged
from mien.reports_app.model_checks import model_checks
from mien.reports_app.prior_part import PriorPart
from mien.reports_app.rows import rows_of
from mien.reports_app.study_part import exclusions, facts, people, verdicts

__all__ = [
    "NO_CHECKLIST",
    "Checklist",
    "content_security_policy",
    "study_report",
]


class Checklist(NamedTuple):
    """Rows of the reporting guidelines (`mien.reports_app.prior_document.BargRow`), and how many are done."""

    items: Sequence[Any]
    counts: str


NO_CHECKLIST = Checklist((), "")


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
        effect_part(name, effect, rows, fits[name], sides, decisions)
        for name, table in straight.items()
        for effect, rows in asked(name, by_effect(table))
    ]
    folded = [
        folded_part(name, effect, rows)
        for name, table in straight.items()
        for effect, rows in by_effect(table)
        if (name, effect) not in {(part.fit, part.effect) for part in parts}
    ]
    style = packaged("style.css")
    together = _together(fits, sides, decisions)
    checked = [model_checks(name, fits[name]) for name in (*effects, *(one.fit for one in together))]
    main = parts[0].fit if parts else ""
    return (
        environment()
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
            facts=facts(
                prep,
                quality,
                participants,
                stimuli,
                {name: str(fit.attrs.get("diagnostics")) for name, fit in fits.items()},
            ),
            people=people(participants),
            quality=tables.quality_table(quality),
            verdicts=verdicts(quality),
            strips=[_drawn((strips or {}).get(str(one["source"]), "")) for one in quality] if strips else [],
            prep=prep,
            left_out=exclusions(prep),
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


def content_security_policy(style: str) -> str:
    """The page's policy: its own style sheet by hash, images in the page, nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


# --- effects ----------------------------------------------------------------------------------------------------


def _place(name: str, effects: Mapping[str, pd.DataFrame]) -> tuple[float, int]:
    """Families in their order, after that as they were given."""
    return family_place(name), list(effects).index(name)


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


def _drawn(markup: str) -> Markup:
    """Markup that this package made itself (its figures escape the texts in them); nothing else may come here."""
    return Markup(markup)  # noqa: S704
