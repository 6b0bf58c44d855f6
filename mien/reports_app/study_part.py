"""The study at a glance, ready to be placed: people, recordings, stimuli, and what was left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from mien.reports_app import tables
from mien.reports_app.figures.bars import exclusion_bars, valid_share_bars
from mien.reports_app.figures.theme import placed

__all__ = ["Exclusions", "exclusions", "facts", "people", "verdicts"]


class Exclusions(NamedTuple):
    """What was left out: two figures, and tables by reason, valence, medium and person."""

    kept: Markup
    tracked: Markup
    reasons: pd.DataFrame
    by_valence: pd.DataFrame
    by_medium: pd.DataFrame
    by_person: pd.DataFrame


def exclusions(prep: Mapping[str, Any]) -> Exclusions:
    """From prep.json."""
    return Exclusions(
        placed(exclusion_bars(prep), label="Share of rows kept, and excluded by each reason"),
        placed(
            valid_share_bars(prep["by_valence_and_medium"]),
            label="Share of frames tracked, by valence and medium",
        ),
        tables.reasons_table(prep),
        tables.exclusion_table(prep["by_valence"], ["valence"]),
        tables.exclusion_table(prep["by_medium"], ["medium"]),
        tables.exclusion_table(prep["by_participant"], ["participant"]),
    )


def facts(
    prep: Mapping[str, Any],
    quality: Sequence[Mapping[str, Any]],
    participants: pd.DataFrame,
    stimuli: pd.DataFrame,
    diagnostics: Mapping[str, str],
) -> list[tuple[str, str, str]]:
    """(number, what it is, detail) for the row under the title; diagnostics : fit's name → its verdict."""
    found = verdicts(quality)
    failed = sum(verdict != "passed" for verdict in diagnostics.values())
    return [
        (str(len(participants)), "people", people(participants)),
        (
            str(len(quality)),
            "recordings",
            ", ".join(f"{count} {word}" for word, count in found.items() if count),
        ),
        (str(len(stimuli)), "stimuli", _stimuli(stimuli)),
        (
            f"{prep['trials_kept']:,}",
            "trials kept",
            f"of {prep['trials']:,}; {prep['valid_share']:.1%} of frames tracked",
        ),
        (
            "failed" if failed else "passed",
            "checks",
            f"{len(diagnostics)} fit{'s' if len(diagnostics) != 1 else ''}",
        ),
    ]


def people(participants: pd.DataFrame) -> str:
    """Their ages and sexes."""
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


def verdicts(quality: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many recordings are good, usable, or to repeat."""
    words = ("good", "usable", "repeat")
    return {word: sum(one["verdict"] == word for one in quality) for word in words}
