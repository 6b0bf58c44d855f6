r"""The joint log density of a Gaussian mixed model from sufficient statistics, and its gradient.

    paper                                  code                meaning
    w = (u_1 … u_K, β)                     effects             group effects (level by level), then coefficients
    r'r = rss − 2g'(w−ŵ) + (w−ŵ)'G(w−ŵ)    statistics          residual sum of squares, W = all columns, ŵ a guess
    u_j = (1−λ_j) μ_j + λ_j b_j + τ_j v_j  group effects       λ = σ_j²h/(σ_j²h + σ²), τ² = σ_j²(1−λ)
    v = C ξ,  β = β̂ + (C ξ)_β              free → effects      C whitens the effects' posterior at a pilot estimate

Within a level the effects are taken one after the other, as the Cholesky factor of their correlation has it:
μ_j is the mean of u_j given those before it, σ_j its standard deviation, h the information of an average level's
rows, b a level's estimate without shrinkage. λ and τ follow the sds wherever the sampler goes: v keeps the scale of
its own posterior, near sd = 0 (where it is the non-centred form) and far from it (the centred one), and there is no
funnel. ξ is nearly spherical, so that NUTS takes a few long steps; the density is exact for every C, b and h. One
pass costs the non-zeros of G and C, however many rows the data have.

Everything is flat arrays, because numba compiles this once for every model. `pack` lays a model out in two vectors,
one of numbers and one of places: nutpie's compile time grows with the number of data arrays (30 s at 17, measured).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

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
def correlation_cholesky(partial, first, terms):
    """Cholesky factor of the correlation matrix with canonical partial correlations `partial[first:]`."""
    factor = np.zeros((terms, terms))
    place = first
    for i in range(terms):
        left = 1.0
        for j in range(i):
            factor[i, j] = partial[place] * np.sqrt(left)
            left *= 1.0 - partial[place] ** 2
            place += 1
        factor[i, i] = np.sqrt(left)
    return factor


@njit(cache=True)
def _cholesky_reverse(factor_bar, factor, partial, first, terms, partial_bar):
    """Adjoint of `correlation_cholesky`."""
    place = first
    for i in range(terms):
        left = 1.0
        for j in range(i):
            later = 0.0
            for m in range(j + 1, i + 1):
                later += factor_bar[i, m] * factor[i, m]
            p = partial[place]
            partial_bar[place] += factor_bar[i, j] * np.sqrt(left) - later * p / (1.0 - p * p)
            left *= 1.0 - p * p
            place += 1


@njit(cache=True)
def _times(data, column, row, x, out):
    for i in range(out.size):
        total = 0.0
        for k in range(row[i], row[i + 1]):
            total += data[k] * x[column[k]]
        out[i] = total


@njit(cache=True)
def _transposed_times(data, column, row, x, out):
    out[:] = 0.0
    for i in range(x.size):
        for k in range(row[i], row[i + 1]):
            out[column[k]] += data[k] * x[i]


@njit(cache=True)
def _scales(factor, log_sd, first, log_sigma, log_information):
    """For each term of a block: sd, 1/σ_j, λ, τ and log(1 − λ)."""
    k = factor.shape[0]
    out = np.empty((5, k))
    for j in range(k):
        log_sigma_j = log_sd[first + j] + np.log(factor[j, j])
        odds = 2.0 * (log_sigma_j - log_sigma) + log_information[first + j]
        out[0, j] = np.exp(log_sd[first + j])
        out[1, j] = np.exp(-log_sigma_j)
        out[2, j] = 1.0 / (1.0 + np.exp(-odds))
        out[4, j] = -odds - np.log1p(np.exp(-odds)) if odds > 0.0 else -np.log1p(np.exp(odds))
        out[3, j] = np.exp(log_sigma_j + 0.5 * out[4, j])
    return out


@njit(cache=True)
def _group_effects(  # noqa: PLR0913, PLR0917
    v, log_sd, partial, log_sigma, start, levels, terms, first_sd, first_partial, naive, log_information, w, z
):
    """Fill the group effects `w` and their standard scores `z` from `v`."""
    for b in range(start.size):
        k = terms[b]
        factor = correlation_cholesky(partial, first_partial[b], k)
        scale = _scales(factor, log_sd, first_sd[b], log_sigma, log_information)
        for j in range(k):
            sd, inverse, share, spread = scale[0, j], scale[1, j], scale[2, j], scale[3, j]
            for level in range(levels[b]):
                at = start[b] + level * k
                mean = 0.0
                for i in range(j):
                    mean += factor[j, i] * z[at + i]
                mean *= sd
                w[at + j] = mean + share * (naive[at + j] - mean) + spread * v[at + j]
                z[at + j] = (w[at + j] - mean) * inverse


@njit(cache=True)
def log_density(  # noqa: PLR0913, PLR0915, PLR0917  (flat arrays: what numba can take)
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
    _times(whiten_data, whiten_column, whiten_row, xi, v)
    w = naive + v  # right for the coefficients; the group effects come next
    z = np.zeros(size)
    _group_effects(
        v, log_sd, partial, log_sigma[0], start, levels, terms, first_sd, first_partial, naive, log_information,
        w, z,
    )  # fmt: skip
    shift = w - effects
    pull = np.empty(size)
    _times(gram_data, gram_column, gram_row, shift, pull)
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
    for b in range(start.size):
        k = terms[b]
        factor = correlation_cholesky(partial, first_partial[b], k)
        scale = _scales(factor, log_sd, first_sd[b], log_sigma[0], log_information)
        factor_bar = np.zeros((k, k))
        z_bar = np.zeros((k, levels[b]))
        for j in range(k - 1, -1, -1):
            sd, inverse, share, spread = scale[0, j], scale[1, j], scale[2, j], scale[3, j]
            value += 0.5 * levels[b] * scale[4, j]
            odds_bar = -0.5 * levels[b] * share  # through the log odds of λ: λ, τ and log(1 − λ)
            own_bar = 0.0  # through log σ_j with λ held
            mean_total = 0.0
            for level in range(levels[b]):
                at = start[b] + level * k
                zj = z[at + j]
                value -= 0.5 * zj * zj
                zj_bar = z_bar[j, level] - zj
                u_bar = w_bar[at + j] + zj_bar * inverse
                pulled = u_bar * spread * v[at + j]
                mean = w[at + j] - zj / inverse
                odds_bar += u_bar * share * (1.0 - share) * (naive[at + j] - mean) - 0.5 * share * pulled
                own_bar += pulled - zj_bar * zj
                w_bar[at + j] = u_bar * spread  # from here on d/dv
                mean_bar = (1.0 - share) * u_bar - zj_bar * inverse
                mean_total += mean_bar * mean
                for i in range(j):
                    z_bar[i, level] += mean_bar * sd * factor[j, i]
                    factor_bar[j, i] += mean_bar * sd * z[at + i]
            own_bar += 2.0 * odds_bar
            log_sigma_bar[0] -= 2.0 * odds_bar
            log_sd_bar[first_sd[b] + j] += own_bar + mean_total
            factor_bar[j, j] += own_bar / factor[j, j]
        _cholesky_reverse(factor_bar, factor, partial, first_partial[b], k, partial_bar)

    xi_bar = np.empty(size)
    _transposed_times(whiten_data, whiten_column, whiten_row, w_bar, xi_bar)
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


@njit(cache=True)
def draws_of_effects(  # noqa: PLR0913, PLR0917
    xi, log_sd, partial, log_sigma,
    start, levels, terms, first_sd, first_partial,
    naive, whiten_data, whiten_column, whiten_row, log_information,
):  # fmt: skip
    """The effects w of every draw: xi (draw, effect), log_sd (draw, sd), partial (draw, partial) → (draw, effect)."""
    out = np.empty_like(xi)
    v = np.empty(xi.shape[1])
    z = np.zeros(xi.shape[1])
    for d in range(xi.shape[0]):
        _times(whiten_data, whiten_column, whiten_row, xi[d], v)
        out[d] = naive + v
        _group_effects(
            v, log_sd[d], partial[d], log_sigma[d], start, levels, terms, first_sd, first_partial, naive,
            log_information, out[d], z,
        )  # fmt: skip
    return out
