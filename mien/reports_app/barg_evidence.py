"""What a checklist is filled from, and how its answers are put together: of every fit one, of the study one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from mien.reports_app.attributes import failures
from mien.reports_app.barg_items import STATEMENTS
from mien.reports_app.defaults import DEFAULTS, Decisions
from mien.simulation.prior_predictive.result import EXPECTED, PriorPredictive
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = [
    "DONE", "NOT_APPLICABLE", "NOT_DONE", "CheckedPriors", "Evidence", "Found", "OfFit", "Rule", "checked_priors",
    "each_fit", "failed", "named", "number", "said",
]  # fmt: skip

DONE, NOT_DONE, NOT_APPLICABLE = "done", "not done", "not applicable"
WITHOUT = "not applicable"  # with which a user's text says that an item is none of this study's
NAMED = 3  # things that a text lists

_NONE: Mapping[str, Any] = MappingProxyType({})


class CheckedPriors(NamedTuple):
    """A prior predictive check: sha256 of its priors, simulated draws, its checks, those that are not as expected."""

    sha256: str
    draws: int
    checks: int
    unexpected: int


def checked_priors(sha256: str, result: PriorPredictive) -> CheckedPriors:
    """What the checklist takes of a prior predictive check."""
    verdicts = [str(verdict) for verdict in result.table["verdict"]]
    unexpected = sum(verdict != EXPECTED for verdict in verdicts)
    return CheckedPriors(sha256, int(result.told["draws"]), len(verdicts), unexpected)


@dataclass(frozen=True)
class Evidence:
    """What a report has, by name of the fit.

    Parameters
    ----------
    fits : all that the report tells of.
    effects : `mien.models.effects` of each that has coefficients.
    prior_checks : prior predictive checks that were run.
    scaling : `mien.models.power_scaling` of each. widths : `mien.models.prior_widths` of each.
    bayes_factors : whether the report shows any.
    decisions : limits of the report.
    statements : the user's texts, the table [barg] of mien.toml.

    Raises
    ------
    SpecError
        For a text under a key that there is none of.
    """

    fits: Mapping[str, Any]
    effects: Mapping[str, pd.DataFrame] = field(default_factory=lambda: _NONE)
    prior_checks: Mapping[str, CheckedPriors] = field(default_factory=lambda: _NONE)
    scaling: Mapping[str, pd.DataFrame] = field(default_factory=lambda: _NONE)
    widths: Mapping[str, pd.DataFrame] = field(default_factory=lambda: _NONE)
    bayes_factors: bool = False
    decisions: Decisions = DEFAULTS
    statements: Mapping[str, str] = field(default_factory=lambda: _NONE)

    def __post_init__(self) -> None:
        for key, text in self.statements.items():
            if key not in STATEMENTS:
                raise SpecError(
                    f"mien.toml, [barg]: expected one of {', '.join(STATEMENTS)}, found {key!r}"
                    f"{nearest(key, list(STATEMENTS))}."
                )
            if not isinstance(text, str):
                raise SpecError(f"mien.toml, [barg]: expected a text for {key}, found {text!r}.")

    def table(self, of: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
        """The table of a fit, without rows where there is none."""
        return of.get(name, pd.DataFrame())

    @property
    def decides(self) -> bool:
        """Whether any effects table has decisions."""
        return any("decision" in table.columns and len(table) for table in self.effects.values())


class Found(NamedTuple):
    """status of an item, and its evidence."""

    status: str
    evidence: str


class OfFit(NamedTuple):
    """Of one fit: good, None where the item is none of its; text : where, what to do, or why."""

    good: bool | None
    text: str


type Rule = Callable[[Evidence, str], Found]


def each_fit(of_fit: Callable[[Evidence, str, Any], OfFit]) -> Rule:
    """A rule for all fits: done where none falls short; not applicable where it is none of any.

    Parameters
    ----------
    of_fit : evidence, name of the fit, fit → what is found of it.
    """

    def rule(evidence: Evidence, _: str) -> Found:
        found = {name: of_fit(evidence, name, fit) for name, fit in evidence.fits.items()}
        short = {name: one.text for name, one in found.items() if one.good is False}
        good = {name: one.text for name, one in found.items() if one.good}
        if short:
            return Found(NOT_DONE, _by_fit(short, len(found)))
        if good:
            return Found(DONE, _by_fit(good, len(found)))
        return Found(NOT_APPLICABLE, "; ".join(dict.fromkeys(one.text for one in found.values())))

    return rule


def _by_fit(texts: Mapping[str, str], fits: int) -> str:
    if fits == 1:
        return next(iter(texts.values()))
    same: dict[str, list[str]] = {}
    for name, text in texts.items():
        same.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in same.items())


def said(evidence: Evidence, key: str, known: str = "") -> Found:
    """What only people can say: their text decides; what is known stands before it."""
    text = evidence.statements.get(key, "").strip()
    if not text:
        return Found(NOT_DONE, f"{known}Write into mien.toml, [barg], {key}: {STATEMENTS[key]}.")
    if not text.lower().startswith(WITHOUT):
        return Found(DONE, f"{known}mien.toml, [barg]: “{text}”")
    why = text[len(WITHOUT) :].lstrip(" :,.–-")
    if not why:
        return Found(NOT_DONE, f"mien.toml, [barg], {key}: say why it is not.")
    return Found(NOT_APPLICABLE, why)


def failed(fit: Any) -> str:
    """Why nothing can be reported of a fit; empty where it passed its checks."""
    if str(fit.attrs.get("diagnostics", "")) == "passed":
        return ""
    why = [f"{shape}: {text}" if shape else text for shape, text in failures(fit).items()]
    return (
        f"the checks of the computation failed ({named(why) or 'no verdict'}): fit again, with more draws or "
        "another engine."
    )


def named(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def number(value: float) -> str:
    """`1,204`, `1.004`, `0.32`."""
    if value >= 100.0:
        return f"{math.floor(value):,}"
    return f"{value:.3f}" if value > 0.9 else f"{value:.2g}"
