"""Coefficients and group effects given a draw of the loadings and uniquenesses: exact normal draws.

One basis serves all groups, whatever their numbers of trials: TΣ_wT' = I and TΣ_bT' = diag(e), T = Q'C⁻¹ with
Σ_w = CC' and C⁻¹Σ_bC⁻ᵀ = Q diag(e) Q'. In it every coordinate j is a model of its own with one random intercept,

    z_j = X γ_j + Z c_j + noise,   c_pj ~ N(0, e_j),  noise ~ N(0, 1)
    γ_j | y ~ N(A_j⁻¹(X'z_j − (Z'X)'W_j Z'z_j), A_j⁻¹),  A_j = X'X − (Z'X)'W_j Z'X,  W_j = diag(e_j / (1 + n_p e_j))
    c_pj | γ, y ~ N(w_pj Σ_t (z_j − Xγ_j), w_pj)

and B = T⁻¹γ, b_p = T⁻¹c_p. Coefficients have flat priors.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from mien.study.errors import FitError

__all__ = [
    "Bases", "Parameters", "StoredRows", "bases", "coefficient_draws", "covariance", "effect_moments",
    "parameters", "stored_rows",
]  # fmt: skip


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
    flat = [item.reshape(-1, *item.shape[2:]) for item in (posterior[name].to_numpy() for name in names)]
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
    counts, x = rows.counts, rows.design
    by_group, gram = rows.by_group(x), x.T @ x
    sums, total = rows.by_group(rows.activation), x.T @ rows.activation
    drawn = np.empty((*found.ratio.shape, x.shape[1]))
    for number, (turn, ratio) in enumerate(zip(found.turn, found.ratio, strict=True)):
        weight = ratio[:, None] / (1.0 + counts * ratio[:, None])  # (coordinate, group)
        precision = gram - np.einsum("jp,pa,pb->jab", weight, by_group, by_group, optimize=True)
        right = turn @ total.T - (weight * (turn @ sums.T)) @ by_group
        lower = np.linalg.cholesky(precision)
        upper = np.swapaxes(lower, 1, 2)
        noise = rng.standard_normal(right.shape)
        step = np.linalg.solve(lower, right[..., None]) + noise[..., None]
        drawn[number] = found.back[number] @ np.linalg.solve(upper, step)[..., 0]
    return drawn


def effect_moments(ratio: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of group effects in the basis of one draw, (group, coordinate) both.

    Parameters
    ----------
    ratio : (coordinate,) e. counts : (group,). sums : (group, coordinate) of residuals z − Xγ over a group's trials.
    """
    weight = ratio / (1.0 + counts[:, None] * ratio)
    return weight * sums, weight


def covariance(loading: np.ndarray, uniqueness: np.ndarray) -> np.ndarray:
    """ΛΛ' + Ψ, (…, shape, shape)."""
    found = loading @ np.swapaxes(loading, -1, -2)
    place = np.arange(uniqueness.shape[-1])
    found[..., place, place] += uniqueness
    return found
