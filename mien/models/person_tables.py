"""What a fit says of its own persons: each one's answer, and how reliably a test of this length tells persons apart.

    person_effects      coefficient + u, the answer of each person, shrunk towards the others' as the data ask
    reliability         var(u) / (var(u) + var(error)) of the answer as it would be read off a person's own rows:
                        the correlation of two such tests of the same persons

The error is that of the contrast's least squares estimate from the person's rows: residuals, with AR(1) where the
model has it, and effects that are the person's alone (trials, sessions). For valence coded ±½ and independent rows it
is σ²(1/n₊ + 1/n₋). Effects of stimuli are left out: persons who saw the same stimuli share them.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.mean_response import response_of_level
from mien.models.refit import check_rows, coefficients_of, design_of, effects_of, natural_of, outcome_of
from mien.models.replicates import FactorRoots, factor_roots, row_variance
from mien.models.scoring import person_level, variance_of_sums
from mien.models.smooths import is_smooth_term
from mien.study.errors import FitError

__all__ = [
    "PERSON_COLUMNS",
    "RELIABILITY_COLUMNS",
    "along_series",
    "person_effects",
    "reliability",
    "reliability_variances",
]

WHO = "participant"
PERSON_COLUMNS = (
    "effect", "blend_shape", "participant", "rows", "mean", "median", "sd", "eti_lower", "eti_upper", "ci_kind",
    "ci_prob", "p_direction", "direction", "units", "verdict",
)  # fmt: skip
RELIABILITY_COLUMNS = (
    "effect", "blend_shape", "participant", "persons", "rows", "mean", "median", "sd", "eti_lower", "eti_upper",
    "ci_kind", "ci_prob", "sd_persons", "se_person", "verdict",
)  # fmt: skip


class _Person(NamedTuple):
    """One outcome's rows by person.

    terms : of the participants' factor, without smooths; own : (row, term); codes : (row,).
    """

    outcome: Outcome
    terms: tuple[str, ...]
    own: np.ndarray
    codes: np.ndarray
    levels: tuple[str, ...]


def _persons(fit: xr.DataTree, shape: str | None, what: str) -> _Person:
    outcome = outcome_of(fit, shape)
    blocks = [block for block in outcome.design.blocks if block.factor == WHO]
    terms = [
        (term, block.columns[:, place]) for block in blocks for place, term in enumerate(block.terms)
        if not is_smooth_term(term)
    ]  # fmt: skip
    if not terms:
        raise _without_term(fit, what)
    own = np.column_stack([column for _, column in terms])
    return _Person(outcome, tuple(term for term, _ in terms), own, blocks[0].codes, blocks[0].levels)


def _told(draws: np.ndarray, ci_prob: float) -> dict[str, Any]:
    lower, middle, upper = np.quantile(draws, [(1 - ci_prob) / 2, 0.5, (1 + ci_prob) / 2])
    return {
        "mean": float(draws.mean()), "median": float(middle), "sd": float(draws.std(ddof=1)),
        "eti_lower": float(lower), "eti_upper": float(upper), "ci_kind": "eti", "ci_prob": ci_prob,
    }  # fmt: skip


def _checked(fit: xr.DataTree, ci_prob: float) -> Mapping[str, Any]:
    """Outcomes whose computation failed."""
    if not 0 < ci_prob < 1:
        raise FitError(f"ci_prob: expected a number between 0 and 1, found {ci_prob!r}.")
    return json.loads(fit.attrs["diagnostics_detail"])["failed"]


# Each person's answer


def person_effects(fit: xr.DataTree, *, ci_prob: float = 0.95) -> pd.DataFrame:
    """Every person's level and answers: coefficients, with what is a property of the person, + u.

    Parameters
    ----------
    fit : with a group term of participants and stored group effects. Of other families than the Gaussian an answer is
        the contrast of the person's mean response, over the person's rows and the populations of all other factors.
    ci_prob : level of the equal-tailed interval.

    Returns
    -------
    `PERSON_COLUMNS`, a row for each effect, shape and person, in units of the outcome; `effect` is "Intercept" for the
    level. A person without a row in a shape (`rows` 0) has the population's answer with its spread.

    Raises
    ------
    FitError
        For models without such a term, or fits without stored rows or effects.
    """
    require_coefficients(fit, "person_effects")
    failed = _checked(fit, ci_prob)
    check_rows(fit, "person_effects")
    answers = _answers if fit.attrs.get("family", "gaussian") == "gaussian" else _answers_of_family
    contrasts = json.loads(fit.attrs["model_spec"])["contrasts"]
    rows = []
    for shape in outcomes_of(fit):
        known = {
            "units": "contrast" if shape in contrasts else fit.attrs["units"],
            "verdict": "failed" if (shape or "") in failed else "passed",
        }
        for effect, person, count, draws in answers(fit, shape):
            positive = float((draws > 0).mean())
            rows.append(
                {
                    "effect": effect, "blend_shape": shape or "", "participant": person, "rows": count,
                    **_told(draws, ci_prob), "p_direction": max(positive, 1 - positive),
                    "direction": 1 if positive >= 0.5 else -1, **known,
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(PERSON_COLUMNS))


def _answers(fit: xr.DataTree, shape: str | None) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """Effect, person, rows and (draw,) the answer."""
    mine = _persons(fit, shape, "person_effects")
    fixed = coefficients_of(fit, shape, mine.outcome.design.coefficients)
    counts = np.bincount(mine.codes, minlength=len(mine.levels))
    weights = _weights(mine)
    for number, term in enumerate(mine.terms):
        effects = effects_of(fit, shape, f"{term}|{WHO}", "person_effects")
        for person, label in enumerate(mine.levels):
            draws = fixed @ weights[person, number] + effects[:, person]
            yield "Intercept" if term == "1" else term, label, int(counts[person]), draws


def _answers_of_family(fit: xr.DataTree, shape: str | None) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """The same, as contrasts of the person's mean response."""
    blocks = [block for block in design_of(fit, shape).blocks if block.factor == WHO]
    terms = [term for block in blocks for term in block.terms]
    if not terms:
        raise _without_term(fit, "person_effects")
    codes, levels = blocks[0].codes, blocks[0].levels
    counts = np.bincount(codes, minlength=len(levels))
    names = ["Intercept" if term == "1" else term for term in terms]
    for person, label in enumerate(levels):
        at = np.flatnonzero(codes == person) if counts[person] else np.arange(len(codes))
        effects = [effects_of(fit, shape, f"{term}|{WHO}", "person_effects")[:, person] for term in terms]
        found = response_of_level(fit, shape, names, WHO, np.column_stack(effects), at)
        for name in names:
            yield name, label, int(counts[person]), found[name]


def _without_term(fit: xr.DataTree, what: str) -> FitError:
    return FitError(
        f"{what}: expected a model with a group term of {WHO}, found {fit.attrs['formula']!r}: add "
        f"(valence | {WHO})."
    )


def _weights(mine: _Person) -> np.ndarray:
    """(person, term, coefficient) of the fixed part: the term's own coefficient and its products with the person's.

    A coefficient counts with what its column is relative to the term's, where that is the same in all rows of a person.
    """
    design = mine.outcome.design
    level = person_level(mine.outcome)
    names = [
        term for block in design.blocks if block.factor == WHO for term in block.terms
    ]  # smooths included
    weights = np.zeros((len(mine.levels), len(mine.terms), len(design.coefficients)))
    for number, term in enumerate(mine.terms):
        moving = mine.own[:, number] != 0.0
        ratio = design.columns[moving] / mine.own[moving, number][:, None]
        count = np.bincount(mine.codes[moving], minlength=len(mine.levels))
        for place, name in enumerate(design.coefficients):
            if level[names.index(term), place]:
                total = np.bincount(mine.codes[moving], weights=ratio[:, place], minlength=len(mine.levels))
                weights[:, number, place] = total / np.maximum(count, 1)
            own_name = "Intercept" if term == "1" else term
            weights[count == 0, number, place] = 1.0 if name == own_name else 0.0
    return weights


# Reliability


def reliability(fit: xr.DataTree, *, by_person: bool = False, ci_prob: float = 0.95) -> pd.DataFrame:
    """Reliability of individual differences in level and answers, for a test of this length.

    Parameters
    ----------
    fit : Gaussian, with a group term of participants.
    by_person : adds a row for each person, with their own number of trials.
    ci_prob : level of the equal-tailed interval of the posterior.

    Returns
    -------
    `RELIABILITY_COLUMNS`, 0–1: a row for each effect and shape with var(error) averaged over the `persons` whose rows
    tell the effect (`participant` ""), and `rows` a person on average. `sd_persons` is the mean of sd(u), `se_person`
    that of the standard error of one person's answer, in units of the outcome.

    Raises
    ------
    FitError
        For other families, models without such a term, or fits without stored rows.
    """
    require_coefficients(fit, "reliability")
    failed = _checked(fit, ci_prob)
    check_rows(fit, "reliability")
    if fit.attrs.get("family", "gaussian") != "gaussian":
        raise FitError(
            f"reliability: expected a Gaussian fit, found family {fit.attrs['family']!r}, whose rows scatter by as "
            "much as their mean asks, so that the error of a person's answer is another for every person: see "
            "person_effects for each person's own uncertainty."
        )
    rows = []
    for shape in outcomes_of(fit):
        verdict = {"verdict": "failed" if (shape or "") in failed else "passed"}
        for name, person, persons, count, true, error in reliability_variances(fit, shape, by_person):
            draws = np.divide(true, true + error, out=np.zeros_like(true), where=true + error > 0)
            rows.append(
                {
                    "effect": name, "blend_shape": shape or "", "participant": person, "persons": persons,
                    "rows": count, **_told(draws, ci_prob), "sd_persons": float(np.sqrt(true).mean()),
                    "se_person": float(np.sqrt(error).mean()), **verdict,
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(RELIABILITY_COLUMNS))


type _Variances = tuple[str, str, int, float, np.ndarray, np.ndarray]


def reliability_variances(fit: xr.DataTree, shape: str | None, by_person: bool) -> Iterator[_Variances]:
    """Effect, person, persons, rows, and (draw,) var(u) and var(error)."""
    mine = _persons(fit, shape, "reliability")
    natural = natural_of(fit, shape, mine.outcome)
    roots = factor_roots(mine.outcome, natural)
    order, gap = along_series(mine.outcome)
    sd = np.sqrt(row_variance(mine.outcome, natural.sigma))
    inside = [other for name, other in roots.items() if name != WHO and _nested(other.codes, mine.codes)]
    errors, told, counts = [], [], []
    for person in range(len(mine.levels)):
        at = order[mine.codes[order] == person]
        if not len(at):
            continue
        contrast, can_tell = _contrast(mine.own[at], mine.outcome.root_precision[at])
        error = variance_of_sums(sd[:, at], natural.rho, gap[at], contrast)
        for other in inside:
            error = error + _of_levels(other, at, contrast)
        errors.append(error)
        told.append((person, can_tell))
        counts.append(len(at))
    for number, term in enumerate(mine.terms):
        true = (roots[WHO].root[:, roots[WHO].keys.index(f"{term}|{WHO}")] ** 2).sum(axis=1)
        name = "Intercept" if term == "1" else term
        kept = [place for place, (_, can_tell) in enumerate(told) if can_tell[number]]
        if not kept:
            continue
        mean = np.mean([errors[place][:, number] for place in kept], axis=0)
        yield name, "", len(kept), float(np.mean([counts[place] for place in kept])), true, mean
        for place in kept if by_person else ():
            yield name, mine.levels[told[place][0]], 1, counts[place], true, errors[place][:, number]


def along_series(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Rows, series after series, and each row's steps from the one before in its series (0 for a first one)."""
    residual, rows = outcome.residual, len(outcome.response)
    gap = np.zeros(rows, dtype=np.int64)
    if residual.series is None or residual.position is None:
        return np.arange(rows), gap
    order = np.lexsort((residual.position, residual.series))
    joined = np.flatnonzero(np.diff(residual.series[order]) == 0)
    gap[order[joined + 1]] = np.diff(residual.position[order])[joined]
    return order, gap


def _contrast(own: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (term, row) of the person's least squares estimates, and which of them the rows tell."""
    contrast = np.linalg.pinv(own * root[:, None]) * root
    return contrast, np.all(np.abs(contrast @ own - np.eye(own.shape[1])) < 1e-8, axis=1)


def _nested(codes: np.ndarray, persons: np.ndarray) -> bool:
    """Whether each level belongs to one person, and persons have several."""
    pairs = np.unique(np.column_stack([codes, persons]), axis=0)
    return len(pairs) == len(np.unique(codes)) > len(np.unique(persons))


def _of_levels(mine: FactorRoots, at: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """(draw, term): variance that a nested factor's effects bring to a person's estimates."""
    levels = np.unique(mine.codes[at], return_inverse=True)[1]
    belongs = (np.arange(int(levels.max()) + 1)[:, None] == levels).astype(np.float64)
    sums = np.einsum("lr,er,rk->elk", belongs, contrast, mine.columns[at])
    return np.einsum("elk,dkj,dij,eli->de", sums, mine.root, mine.root, sums, optimize=True)
