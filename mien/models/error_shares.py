"""Who limits an answer: how much of an effect's sampling variance comes from persons, stimuli and trials.

With w the weights of the least squares estimate of a coefficient, w = X(XᵀX)⁻¹e, and y = Xβ + Σ Z_k u_k + residual,

    Var(wᵀy) = Σ_k wᵀ Z_k Σ_k Z_kᵀ w + Σ_rows (w σ)²

part by part exact; for balanced designs least squares is what the model estimates. Variances are the posterior's means.
Where stimuli bring more than half, more people help little: the stimuli limit the answer.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mien.models.design import Design
from mien.models.engines.problem import Draws, Outcome

__all__ = ["error_shares", "limit_notes"]

MOST = 0.5
RESIDUAL = "residual"


class _Weights(NamedTuple):
    """Sums of a design that do not depend on the data.

    squares : (row, coefficient) squared weights.
    groups : factor, terms and Σ over levels of products of summed weights, (term, term, coefficient).
    """

    squares: np.ndarray
    groups: list[tuple[str, tuple[str, ...], np.ndarray]]


def error_shares(outcomes: Sequence[Outcome], sampled: Sequence[Draws]) -> dict[str, dict[str, float]]:
    """Coefficient → factor (or "residual") → share of the sampling variance, the median over outcomes.

    Empty for models without coefficients, with AR(1) residuals, smooths or another family, or from sums.
    """
    if any(_not_for(outcome, draws) for outcome, draws in zip(outcomes, sampled, strict=True)):
        return {}
    weights: dict[int, _Weights] = {}
    shares: dict[str, dict[str, list[float]]] = {}
    for outcome, draws in zip(outcomes, sampled, strict=True):
        mine = weights.setdefault(id(outcome.design), _weights(outcome.design))
        for source, variance in _parts(outcome, draws, mine).items():
            for name, value in zip(outcome.design.coefficients, variance, strict=True):
                shares.setdefault(name, {}).setdefault(source, []).append(float(value))
    return {
        name: {source: round(float(np.median(values)), 4) for source, values in by_source.items()}
        for name, by_source in shares.items()
    }


def _not_for(outcome: Outcome, draws: Draws) -> bool:
    terms = [f"{term}|{block.factor}" for block in outcome.design.blocks for term in block.terms]
    return (
        outcome.moments is not None
        or bool(getattr(outcome, "parameters", None))
        or outcome.residual.series is not None
        or not outcome.design.coefficients
        or not set(terms) <= set(draws.sds)
    )


def _weights(design: Design) -> _Weights:
    columns = design.columns
    weights = columns @ np.linalg.pinv(columns.T @ columns)
    groups = []
    for block in design.blocks:
        size = len(block.levels)
        sums = np.stack(
            [
                np.stack(
                    [np.bincount(block.codes, weights=column * one, minlength=size) for one in weights.T],
                    axis=1,
                )
                for column in block.columns.T
            ]
        )  # (term, level, coefficient)
        groups.append((block.factor, block.terms, np.einsum("alc,blc->abc", sums, sums)))
    return _Weights(weights**2, groups)


def _parts(outcome: Outcome, draws: Draws, weights: _Weights) -> dict[str, np.ndarray]:
    """Source → (coefficient,) share."""
    parts: dict[str, np.ndarray] = {}
    for factor, terms, products in weights.groups:
        sds = np.array([float(np.sqrt(np.mean(draws.sds[f"{term}|{factor}"] ** 2))) for term in terms])
        corr = np.eye(len(terms))
        if len(terms) > 1:
            corr = _correlation(outcome, draws, factor, terms)
        variance = np.einsum("ab,abc->c", np.outer(sds, sds) * corr, products)
        parts[factor] = parts.get(factor, 0.0) + variance
    parts[RESIDUAL] = _residual(outcome, draws) @ weights.squares
    total = np.maximum(sum(parts.values()), np.finfo(float).tiny)
    return {source: value / total for source, value in parts.items()}


def _correlation(outcome: Outcome, draws: Draws, factor: str, terms: Sequence[str]) -> np.ndarray:
    """The block's part of the factor's mean correlation matrix."""
    all_terms = [term for block in outcome.design.blocks if block.factor == factor for term in block.terms]
    at = [all_terms.index(term) for term in terms]
    return np.asarray(draws.correlations[factor]).mean(axis=(0, 1))[np.ix_(at, at)]


def _residual(outcome: Outcome, draws: Draws) -> np.ndarray:
    """(row,) mean residual variance."""
    sigma = np.mean(np.asarray(draws.sigma, dtype=np.float64) ** 2, axis=(0, 1))
    residual = outcome.residual
    variance = (
        np.broadcast_to(sigma, outcome.root_precision.shape)
        if residual.stratum is None
        else sigma[residual.stratum]
    )
    variance = variance / outcome.root_precision**2
    return variance if residual.known_variance is None else variance + residual.known_variance


def limit_notes(shares: Mapping[str, Mapping[str, float]], stimuli: int | None) -> list[str]:
    """A sentence for the effects that stimuli rather than people limit."""
    limited = {
        name: parts["stimulus"]
        for name, parts in shares.items()
        if name != "Intercept" and parts.get("stimulus", 0.0) > MOST
    }
    if not limited:
        return []
    count = "the stimuli" if stimuli is None else f"{stimuli} stimuli"
    told = ", ".join(f"{name} ({share:.0%})" for name, share in limited.items())
    return [
        f"Stimuli rather than people limit {told}: this share of the sampling variance (median shape) comes from "
        f"{count} and stays with any number of people; more stimuli would help."
    ]
