"""What a fit says of each of its effects, ready to be placed: sentences, face map, forest, tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from mien.models.factors.spec import FAMILY as CO_ACTIVATION
from mien.reports_app import tables, wording
from mien.reports_app.attributes import failures
from mien.reports_app.defaults import Decisions
from mien.reports_app.figures.face_map import face_map_svg
from mien.reports_app.figures.forest import forest, inner_intervals
from mien.reports_app.figures.theme import placed
from mien.reports_app.rows import Row, by_size, rows_of
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, SET_APART

__all__ = ["EffectPart", "FoldedPart", "asked", "by_effect", "effect_part", "family_place", "folded_part"]

FIRST = ("valence", "neutral", "valence:medium", "medium")  # the order in which effects are told
FAMILY_ORDER = ("valence", "task", "traits", "time")  # of fits; others come after valence
ADJUSTED_FOR = ("age_z", "sex")  # standard covariates: folded, unless a fit asks for nothing else
LISTED = 6  # effects told in words in each direction


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


def by_effect(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """A fit's effects and their rows, in the order they are told; no intercept, unless it is alone."""
    names = [str(name) for name in dict.fromkeys(table["effect"])]
    names = [name for name in names if name != "Intercept"] or names  # alone, it is the effect
    names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    return [(name, table.loc[table["effect"] == name].reset_index(drop=True)) for name in names]


def family_place(name: str) -> float:
    """Where fits of a family come in a report: FAMILY_ORDER, others after valence, co-activation last."""
    family = name.partition("-")[0]
    if family == CO_ACTIVATION:
        return float(len(FAMILY_ORDER))
    return float(FAMILY_ORDER.index(family)) if family in FAMILY_ORDER else 0.5


def asked(name: str, found: list[tuple[str, pd.DataFrame]]) -> list[tuple[str, pd.DataFrame]]:
    """The effects that answer a fit's question; what it is adjusted for, and levels of activation, are folded."""
    family, _, own = name.partition("-")
    if name == "task-whole":  # beside the equal first seconds
        return []
    if family == "task":
        chosen = [one for one in found if one[0] in ("valence:medium", "medium")]
    elif family == "traits":
        chosen = [one for one in found if one[0] in {f"valence:{trait}_z" for trait in own.split("-")}]
        chosen = chosen or [one for one in found if _of_answer(one[0])]
    elif family == "valence":
        chosen = [one for one in found if one[0] in ("valence", "neutral") or _of_answer(one[0])]
    else:
        chosen = found
    return chosen or found


def _of_answer(effect: str) -> bool:
    """Whether an effect is how the answer to valence differs, by something that is not a standard covariate."""
    first, _, column = effect.partition(":")
    return first == "valence" and bool(column) and column not in ADJUSTED_FOR


def effect_part(
    fit_name: str, effect: str, rows: pd.DataFrame, fit: Any, sides: str, decisions: Decisions
) -> EffectPart:
    """One effect of a fit.

    Parameters
    ----------
    rows : of `mien.effects`, of this effect. sides : of the recipe, "both" or "mean".
    """
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
        face=Markup(_face(every, sides, units=f"{title}, {units}", label=f"Face map. {answer}")),  # noqa: S704
        face_label=title,
        forest=placed(
            forest(rows, units=f"{title}, {units}"),
            label=f"Forest plot of {title} for {len(rows)} shapes by region",
        ),
        table=tables.effects_table(rows),
        pooled=tables.pooled_table(rows),
        computation=tables.computation_table(rows, fit),
    )


def folded_part(fit_name: str, effect: str, rows: pd.DataFrame) -> FoldedPart:
    """An effect that is not the question, as its table."""
    return FoldedPart(fit_name, effect, wording.effect_title(effect), tables.effects_table(rows))


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
