"""Coefficients and group effects given a draw of the loadings and uniquenesses: exact normal draws.

One basis serves all groups, whatever their numbers of trials: TΣ_wT' = I and TΣ_bT' = diag(e), T = Q'C⁻¹ with
Σ_w = CC' and C⁻¹Σ_bC⁻ᵀ = Q diag(e) Q'. In it every coordinate j is a model of its own with one random intercept,

    z_j = X γ_j + Z c_j + noise,   c_pj ~ N(0, e_j),  noise ~ N(0, 1)
    γ_j | y ~ N(A_j⁻¹(X'z_j − (Z'X)'W_j Z'z_j), A_j⁻¹),  A_j = X'X − (Z'X)'W_j Z'X,  W_j = diag(e_j / (1 + n_p e_j))
    c_pj | γ, y ~ N(w_pj Σ_t (z_j − Xγ_j), w_pj)

and B = T⁻¹γ, b_p = T⁻¹c_p. Coefficients have flat priors. Scores given what they are scores of are a regression,

    f | y, B, b ~ N(A⁻¹Λ'Ψ⁻¹(y − Bx − b), A⁻¹),  A = I + Λ'Ψ⁻¹Λ

and the same of g given b, between groups. What b adds to the scores' mean is linear in it, so that means and variances
of f and g given y and B are exact too: b is integrated out, not drawn.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from mien.study.errors import FitError

__all__ = [
    "Bases", "Parameters", "Regression", "StoredRows", "bases", "coefficient_draws", "covariance", "effect_moments",
    "effect_score_draws", "effect_scores", "parameters", "regression", "stored_rows",
]  # fmt: skip

NULL = 1e-12  # of a singular value, relative to the largest


class Parameters(NamedTuple):
    """Draws of a fit, all chains together: loading (draw, shape, factor), uniqueness (draw, shape), and between."""

    loading: np.ndarray
    uniqueness: np.ndarray
    between_loading: np.ndarray
    between_uniqueness: np.ndarray

    @property
    def within(self) -> np.ndarray:
        """Σ_w, (draw, shape, shape)."""
        return covariance(self.loading, self.uniqueness)

    @property
    def between(self) -> np.ndarray:
        """Σ_b, (draw, shape, shape)."""
        return covariance(self.between_loading, self.between_uniqueness)


class StoredRows(NamedTuple):
    """What a fit keeps of its trials: activation (trial, shape) standardised, design (trial, term), group (trial,)."""

    activation: np.ndarray
    design: np.ndarray
    group: np.ndarray
    levels: tuple[str, ...]

    @property
    def counts(self) -> np.ndarray:
        """(group,) trials."""
        return np.bincount(self.group, minlength=len(self.levels))

    def by_group(self, table: np.ndarray) -> np.ndarray:
        """(group, column) sums of a table (trial, column)."""
        groups = len(self.levels)
        return np.stack(
            [np.bincount(self.group, weights=column, minlength=groups) for column in table.T], axis=1
        )


class Bases(NamedTuple):
    """T (draw, coordinate, shape), its inverse (draw, shape, coordinate), e (draw, coordinate), log|T| (draw,)."""

    turn: np.ndarray
    back: np.ndarray
    ratio: np.ndarray
    log_size: np.ndarray


def parameters(fit: xr.DataTree, draws: int | None = None) -> Parameters:
    """All draws of a fit, or `draws` of them, evenly spaced over all chains."""
    posterior = fit["posterior"].dataset
    names = ("loading", "uniqueness", "between_loading", "between_uniqueness")
    stored = [posterior[name].to_numpy() for name in names]
    flat = [item.reshape(item.shape[0] * item.shape[1], *item.shape[2:]) for item in stored]
    if draws is not None and draws < len(flat[0]):
        at = np.linspace(0, len(flat[0]) - 1, draws).round().astype(int)
        flat = [item[at] for item in flat]
    return Parameters(*flat)


def stored_rows(fit: xr.DataTree) -> StoredRows:
    """The trials that a fit was made from.

    Raises
    ------
    FitError
        When they were too many to be stored.
    """
    if "observed_data" not in fit.children:
        raise FitError("fit: expected one with its trials, found one of too many to store: pass trials=.")
    constant = fit["constant_data"].dataset
    return StoredRows(
        fit["observed_data"].dataset["activation"].to_numpy(), constant["design"].to_numpy(),
        constant["group_index"].to_numpy(), tuple(map(str, constant["group"].to_numpy())),
    )  # fmt: skip


def bases(draws: Parameters) -> Bases:
    """T and e of each draw."""
    lower = np.linalg.cholesky(draws.within)
    inverse = np.linalg.inv(lower)
    value, vector = np.linalg.eigh(inverse @ draws.between @ np.swapaxes(inverse, 1, 2))
    log_size = -np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    return Bases(np.swapaxes(vector, 1, 2) @ inverse, lower @ vector, np.maximum(value, 0.0), log_size)


def coefficient_draws(found: Bases, rows: StoredRows, rng: np.random.Generator) -> np.ndarray:
    """One draw of B for each draw of the parameters, (draw, shape, term), standardised."""
    counts, mine = rows.counts, _orthonormal(rows)
    sums, total = rows.by_group(rows.activation), mine.columns.T @ rows.activation
    few = mine.by_group.shape[1]
    drawn = np.empty((*found.ratio.shape, rows.design.shape[1]))
    for number, (turn, back, ratio) in enumerate(zip(found.turn, found.back, found.ratio, strict=True)):
        weight = ratio[:, None] / (1.0 + counts * ratio[:, None])  # (coordinate, group)
        step = turn @ total.T
        noise = rng.standard_normal(step.shape)
        step[:, :few] -= (weight * (turn @ sums.T)) @ mine.by_group
        precision = np.eye(few) - mine.by_group.T @ (weight[:, :, None] * mine.by_group)
        lower = np.linalg.cholesky(precision)
        half = np.linalg.solve(lower, step[:, :few, None]) + noise[:, :few, None]
        step[:, :few] = np.linalg.solve(np.swapaxes(lower, 1, 2), half)[..., 0]
        step[:, few:] += noise[:, few:]
        drawn[number] = back @ step @ mine.to_terms.T
    return drawn


class _Orthonormal(NamedTuple):
    """X in columns X̃ = X · to_terms with X̃'X̃ = I, of which only the first add up to anything over a group's trials.

    columns : (trial, column). by_group : (group, few) Z'X̃ of the first; that of the others is 0.
    to_terms : (term, column).
    """

    columns: np.ndarray
    by_group: np.ndarray
    to_terms: np.ndarray


def _orthonormal(rows: StoredRows) -> _Orthonormal:
    """Few columns are left to be solved for where groups have the same trials, as with a dummy for every stimulus."""
    basis, triangle = np.linalg.qr(rows.design)
    left, size, right = np.linalg.svd(rows.by_group(basis), full_matrices=True)
    few = int((size > NULL * size[0]).sum())
    to_terms = np.linalg.solve(triangle, right.T)
    return _Orthonormal(basis @ right.T, left[:, :few] * size[:few], to_terms)


def effect_moments(ratio: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of group effects in the basis of one draw, (group, coordinate) both.

    Parameters
    ----------
    ratio : (coordinate,) e. counts : (group,). sums : (group, coordinate) of residuals z − Xγ over a group's trials.
    """
    weight = ratio / (1.0 + counts[:, None] * ratio)
    return weight * sums, weight


class Regression(NamedTuple):
    """Scores given what they are scores of, r = Λ · score + unique part: N(weight · r, root · root').

    weight : (draw, factor, shape) A⁻¹Λ'Ψ⁻¹. root : (draw, factor, factor), root · root' = A⁻¹.
    """

    weight: np.ndarray
    root: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """(draw, factor) of a score given r."""
        return (self.root**2).sum(axis=2)


def regression(loading: np.ndarray, uniqueness: np.ndarray) -> Regression:
    """Of loadings (draw, shape, factor) and uniquenesses (draw, shape)."""
    scaled = np.swapaxes(loading / uniqueness[..., None], 1, 2)
    lower = np.linalg.cholesky(scaled @ loading + np.eye(loading.shape[2]))
    root = np.swapaxes(np.linalg.inv(lower), 1, 2)
    return Regression(root @ np.swapaxes(root, 1, 2) @ scaled, root)


def effect_scores(
    found: Bases, rows: StoredRows, coefficient: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of weight · b given y and B, (draw, group, factor) both.

    Parameters
    ----------
    coefficient : (draw, shape, term) B. weight : (draw, factor, shape).
    """
    mean = np.empty((len(weight), len(rows.levels), weight.shape[1]))
    variance = np.empty_like(mean)
    for number, effect in enumerate(_effects(found, rows, coefficient)):
        across = weight[number] @ found.back[number]
        mean[number] = effect.mean @ across.T
        variance[number] = effect.variance @ (across**2).T
    return mean, variance


def effect_score_draws(
    found: Bases,
    rows: StoredRows,
    coefficient: np.ndarray,
    weight: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """One draw of weight · b for each draw of the parameters and B, (draw, group, factor)."""
    drawn = np.empty((len(weight), len(rows.levels), weight.shape[1]))
    for number, effect in enumerate(_effects(found, rows, coefficient)):
        one = effect.mean + np.sqrt(effect.variance) * rng.standard_normal(effect.mean.shape)
        drawn[number] = one @ (weight[number] @ found.back[number]).T
    return drawn


class _Effects(NamedTuple):
    """c_p of one draw: (group, coordinate) both."""

    mean: np.ndarray
    variance: np.ndarray


def _effects(found: Bases, rows: StoredRows, coefficient: np.ndarray) -> Iterator[_Effects]:
    """Group effects in the basis of each draw, given y and B."""
    counts, sums, design = rows.counts, rows.by_group(rows.activation), rows.by_group(rows.design)
    for turn, ratio, mine in zip(found.turn, found.ratio, coefficient, strict=True):
        yield _Effects(*effect_moments(ratio, counts, (sums - design @ mine.T) @ turn.T))


def covariance(loading: np.ndarray, uniqueness: np.ndarray) -> np.ndarray:
    """ΛΛ' + Ψ, (…, shape, shape)."""
    found = loading @ np.swapaxes(loading, -1, -2)
    place = np.arange(uniqueness.shape[-1])
    found[..., place, place] += uniqueness
    return found
