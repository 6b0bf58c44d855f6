r"""The joint log density of a Gaussian mixed model from sufficient statistics, and its gradient.

    paper                                  code                meaning
    w = (u_1 … u_K, β)                     effects             group effects (level by level), then coefficients
    r'r = rss − 2g'(w−ŵ) + (w−ŵ)'G(w−ŵ)    statistics          residual sum of squares, W = all columns, ŵ a guess
    u_j = (1−λ_j) μ_j + λ_j b_j + τ_j v_j  group effects       λ = σ_j²h/(σ_j²h + σ²), τ² = σ_j²(1−λ)
    v = C ξ,  β = β̂ + (C ξ)_β              free → effects      C whitens the effects' posterior at a pilot estimate

The group effects' coordinates v are those of `group_coordinates`, without a funnel. ξ is nearly spherical, so that
NUTS takes a few long steps; the density is exact for every C, b and h. One pass costs the non-zeros of G and C,
however many rows the data have.

Everything is flat arrays, because numba compiles this once for every model. `pack` lays a model out in two vectors,
one of numbers and one of places: nutpie's compile time grows with the number of data arrays (30 s at 17, measured).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from mien.models.engines.group_coordinates import (
    correlation_cholesky,
    draws_of_effects,
    fill_group_effects,
    group_effects_reverse,
    times,
    transposed_times,
)

__all__ = [
    "Layout", "Reference", "Statistics", "correlation_cholesky", "draws_of_effects", "log_density", "pack",
    "packed_log_density",
]  # fmt: skip


class Layout(NamedTuple):
    """Where things lie. Block b = one group of correlated effects on one factor; arrays have one entry a block."""

    start: np.ndarray  # first effect
    levels: np.ndarray
    terms: np.ndarray
    first_sd: np.ndarray
    first_partial: np.ndarray
    coefficients: np.ndarray  # (1,) position of the first coefficient in `effects`


class Statistics(NamedTuple):
    """What the rows say: G = W'R⁻¹W as CSR, g = W'R⁻¹(y − Wŵ), rss at ŵ, n; and the coefficients' normal priors."""

    gram_data: np.ndarray
    gram_column: np.ndarray
    gram_row: np.ndarray
    score: np.ndarray
    residual: np.ndarray  # (2,) rss at ŵ, n
    prior_mean: np.ndarray
    prior_precision: np.ndarray


class Reference(NamedTuple):
    """The pilot estimate: ŵ, b (and β̂), C as CSR, log h of every sd."""

    effects: np.ndarray
    naive: np.ndarray
    whiten_data: np.ndarray
    whiten_column: np.ndarray
    whiten_row: np.ndarray
    log_information: np.ndarray


def pack(layout: Layout, statistics: Statistics, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors for `packed_log_density`: numbers (float64) and places (int64)."""
    sizes = [
        len(layout.start), len(reference.effects), len(statistics.prior_mean), len(statistics.gram_data),
        len(reference.whiten_data),
    ]  # fmt: skip
    places = np.concatenate([
        np.array(sizes), *layout, statistics.gram_column, statistics.gram_row,
        reference.whiten_column, reference.whiten_row,
    ])  # fmt: skip
    numbers = np.concatenate([
        statistics.gram_data, statistics.score, statistics.residual, statistics.prior_mean,
        statistics.prior_precision, reference.effects, reference.naive, reference.whiten_data,
        reference.log_information,
    ])  # fmt: skip
    return numbers.astype(np.float64), places.astype(np.int64)


@njit(cache=True)
def log_density(  # noqa: PLR0913, PLR0917  (flat arrays: what numba can take)
    xi, log_sd, partial, log_sigma,
    start, levels, terms, first_sd, first_partial, coefficients,
    gram_data, gram_column, gram_row, score, residual, prior_mean, prior_precision,
    effects, naive, whiten_data, whiten_column, whiten_row, log_information,
):  # fmt: skip
    """Log p(y | w, σ) + log p(w | θ) + log |dw/dξ|, up to a constant, and its gradient.

    Returns
    -------
    value, d/dξ, d/d log sd, d/d partial correlations, d/d log σ; `log_sigma` is an array of one.
    """
    size = xi.size
    first = coefficients[0]
    v = np.empty(size)
    times(whiten_data, whiten_column, whiten_row, xi, v)
    w = naive + v  # right for the coefficients; the group effects come next
    z = np.zeros(size)
    fill_group_effects(
        v, log_sd, partial, log_sigma[0], start, levels, terms, first_sd, first_partial, naive, log_information,
        w, z,
    )  # fmt: skip
    shift = w - effects
    pull = np.empty(size)
    times(gram_data, gram_column, gram_row, shift, pull)
    rss = residual[0]
    for i in range(size):
        rss += shift[i] * (pull[i] - 2.0 * score[i])
    precision = np.exp(-2.0 * log_sigma[0])
    value = -residual[1] * log_sigma[0] - 0.5 * precision * rss
    log_sigma_bar = np.array([-residual[1] + precision * rss])
    w_bar = precision * (score - pull)

    for i in range(prior_mean.size):
        away = w[first + i] - prior_mean[i]
        value -= 0.5 * prior_precision[i] * away * away
        w_bar[first + i] -= prior_precision[i] * away

    log_sd_bar = np.zeros(log_sd.size)
    partial_bar = np.zeros(partial.size)
    value += group_effects_reverse(
        w, z, v, w_bar, log_sd, partial, log_sigma[0], start, levels, terms, first_sd, first_partial, naive,
        log_information, log_sd_bar, partial_bar, log_sigma_bar,
    )  # fmt: skip

    xi_bar = np.empty(size)
    transposed_times(whiten_data, whiten_column, whiten_row, w_bar, xi_bar)
    return value, xi_bar, log_sd_bar, partial_bar, log_sigma_bar


@njit(cache=True)
def packed_log_density(xi, log_sd, partial, log_sigma, numbers, places):
    """`log_density` of a model laid out by `pack`."""
    blocks, size, coefficients = places[0], places[1], places[2]
    gram, whiten = places[3], places[4]
    i1 = 5 + 5 * blocks
    start, levels, terms = (
        places[5 : 5 + blocks],
        places[5 + blocks : 5 + 2 * blocks],
        places[5 + 2 * blocks :],
    )
    first_sd, first_partial = places[5 + 3 * blocks :], places[5 + 4 * blocks :]
    i2 = i1 + 1 + gram
    i3 = i2 + size + 1
    i4 = i3 + whiten
    f1 = gram + size
    f2 = f1 + 2 + coefficients
    f3 = f2 + coefficients
    f4 = f3 + 2 * size
    return log_density(
        xi, log_sd, partial, log_sigma,
        start, levels, terms, first_sd, first_partial, places[i1 : i1 + 1],
        numbers[:gram], places[i1 + 1 : i2], places[i2:i3], numbers[gram:f1], numbers[f1 : f1 + 2],
        numbers[f1 + 2 : f2], numbers[f2:f3],
        numbers[f3 : f3 + size], numbers[f3 + size : f4], numbers[f4 : f4 + whiten], places[i3:i4], places[i4:],
        numbers[f4 + whiten :],
    )  # fmt: skip
