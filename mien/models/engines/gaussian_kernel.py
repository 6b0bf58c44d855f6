r"""The joint log density of a Gaussian mixed model from sufficient statistics, and its gradient.

    paper                                  code                meaning
    w = (u_1 … u_K, β)                     effects             group effects (level by level), then coefficients
    r'r = rss − 2g'(w−ŵ) + (w−ŵ)'G(w−ŵ)    statistics          residual sum of squares, W = all columns, ŵ a guess
    u_j = (1−c_j) μ_j + (σ_j/σ̂_j)^(1−c_j) v_j                  partial centring, c = 1 centred, 0 non-centred
    v = v̂ + C ξ                            free → effects      C whitens the effects' posterior at a pilot estimate

Within a level the effects are taken one after the other, as the Cholesky factor of their correlation has it:
μ_j is the mean of u_j given those before it and σ_j its standard deviation. ξ is then nearly spherical, so
that NUTS takes a few long steps; the density is exact for every C, ŵ and c. One pass costs the non-zeros of
G and C, however many rows the data have.

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
    """The pilot estimate: ŵ, v̂, C as CSR, centring c of every sd, log σ̂ of every sd."""

    effects: np.ndarray
    centre: np.ndarray
    whiten_data: np.ndarray
    whiten_column: np.ndarray
    whiten_row: np.ndarray
    centring: np.ndarray
    log_scale: np.ndarray


def pack(layout: Layout, statistics: Statistics, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors for `packed_log_density`: numbers (float64) and places (int64)."""
    sizes = [
        len(layout.start), len(reference.effects), len(statistics.prior_mean), len(statistics.gram_data),
        len(reference.whiten_data), len(reference.centring),
    ]  # fmt: skip
    places = np.concatenate([
        np.array(sizes), *layout, statistics.gram_column, statistics.gram_row,
        reference.whiten_column, reference.whiten_row,
    ])  # fmt: skip
    numbers = np.concatenate([
        statistics.gram_data, statistics.score, statistics.residual, statistics.prior_mean,
        statistics.prior_precision, reference.effects, reference.centre, reference.whiten_data,
        reference.centring, reference.log_scale,
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
def _scales(factor, log_sd, first, centring, log_scale):
    """For each term of a block: sd, 1/σ, log σ and the stretch (σ/σ̂)^(1−c)."""
    k = factor.shape[0]
    out = np.empty((4, k))
    for j in range(k):
        log_sigma = log_sd[first + j] + np.log(factor[j, j])
        out[0, j] = np.exp(log_sd[first + j])
        out[1, j] = np.exp(-log_sigma)
        out[2, j] = log_sigma
        out[3, j] = np.exp((1.0 - centring[first + j]) * (log_sigma - log_scale[first + j]))
    return out


@njit(cache=True)
def _group_effects(v, log_sd, partial, start, levels, terms, first_sd, first_partial, centring, log_scale, w, z):
    """Fill the group effects `w` and their standard scores `z` from the partially centred `v`."""
    for b in range(start.size):
        k = terms[b]
        factor = correlation_cholesky(partial, first_partial[b], k)
        scale = _scales(factor, log_sd, first_sd[b], centring, log_scale)
        for j in range(k):
            c = centring[first_sd[b] + j]
            sd, inverse, stretch = scale[0, j], scale[1, j], scale[3, j]
            for level in range(levels[b]):
                at = start[b] + level * k
                mean = 0.0
                for i in range(j):
                    mean += factor[j, i] * z[at + i]
                mean *= sd
                w[at + j] = (1.0 - c) * mean + stretch * v[at + j]
                z[at + j] = (w[at + j] - mean) * inverse


@njit(cache=True)
def log_density(  # noqa: PLR0913  (flat arrays: what PyTensor can pass)
    xi, log_sd, partial, log_sigma,
    start, levels, terms, first_sd, first_partial, coefficients,
    gram_data, gram_column, gram_row, score, residual, prior_mean, prior_precision,
    effects, centre, whiten_data, whiten_column, whiten_row, centring, log_scale,
):  # fmt: skip
    """log p(y | w, σ) + log p(w | θ) + log |dw/dξ|, up to a constant, and its gradient.

    Returns
    -------
    value, d/dξ, d/d log sd, d/d partial correlations, d/d log σ; `log_sigma` is an array of one.
    """
    size = xi.size
    v = np.empty(size)
    _times(whiten_data, whiten_column, whiten_row, xi, v)
    for i in range(size):
        v[i] += centre[i]
    w = v.copy()
    z = np.zeros(size)
    _group_effects(
        v, log_sd, partial, start, levels, terms, first_sd, first_partial, centring, log_scale, w, z
    )
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

    first = coefficients[0]
    for i in range(prior_mean.size):
        away = w[first + i] - prior_mean[i]
        value -= 0.5 * prior_precision[i] * away * away
        w_bar[first + i] -= prior_precision[i] * away

    log_sd_bar = np.zeros(log_sd.size)
    partial_bar = np.zeros(partial.size)
    for b in range(start.size):
        k = terms[b]
        factor = correlation_cholesky(partial, first_partial[b], k)
        scale = _scales(factor, log_sd, first_sd[b], centring, log_scale)
        factor_bar = np.zeros((k, k))
        z_bar = np.zeros((k, levels[b]))
        for j in range(k - 1, -1, -1):
            place = first_sd[b] + j
            c = centring[place]
            sd, inverse, stretch = scale[0, j], scale[1, j], scale[3, j]
            log_sigma_j_bar = -levels[b] * c
            value -= levels[b] * c * scale[2, j]
            for level in range(levels[b]):
                at = start[b] + level * k
                zj = z[at + j]
                value -= 0.5 * zj * zj
                zj_bar = z_bar[j, level] - zj
                u_bar = w_bar[at + j] + zj_bar * inverse
                log_sigma_j_bar += (1.0 - c) * u_bar * stretch * v[at + j] - zj_bar * zj
                w_bar[at + j] = u_bar * stretch  # from here on d/dv
                mean_bar = sd * ((1.0 - c) * u_bar - zj_bar * inverse)
                for i in range(j):
                    z_bar[i, level] += mean_bar * factor[j, i]
                    factor_bar[j, i] += mean_bar * z[at + i]
                    log_sd_bar[place] += mean_bar * factor[j, i] * z[at + i]
            log_sd_bar[place] += log_sigma_j_bar
            factor_bar[j, j] += log_sigma_j_bar / factor[j, j]
        _cholesky_reverse(factor_bar, factor, partial, first_partial[b], k, partial_bar)

    xi_bar = np.empty(size)
    _transposed_times(whiten_data, whiten_column, whiten_row, w_bar, xi_bar)
    return value, xi_bar, log_sd_bar, partial_bar, log_sigma_bar


@njit(cache=True)
def packed_log_density(xi, log_sd, partial, log_sigma, numbers, places):
    """`log_density` of a model laid out by `pack`."""
    blocks, size, coefficients = places[0], places[1], places[2]
    gram, whiten, sds = places[3], places[4], places[5]
    i1 = 6 + 5 * blocks
    start, levels, terms = places[6 : 6 + blocks], places[6 + blocks : 6 + 2 * blocks], places[6 + 2 * blocks :]
    first_sd, first_partial = places[6 + 3 * blocks :], places[6 + 4 * blocks :]
    i2 = i1 + 1 + gram
    i3 = i2 + size + 1
    i4 = i3 + whiten
    f1 = gram + size
    f2 = f1 + 2 + coefficients
    f3 = f2 + coefficients
    f4 = f3 + 2 * size
    f5 = f4 + whiten
    return log_density(
        xi, log_sd, partial, log_sigma,
        start, levels, terms, first_sd, first_partial, places[i1 : i1 + 1],
        numbers[:gram], places[i1 + 1 : i2], places[i2:i3], numbers[gram:f1], numbers[f1 : f1 + 2],
        numbers[f1 + 2 : f2], numbers[f2:f3],
        numbers[f3 : f3 + size], numbers[f3 + size : f4], numbers[f4:f5], places[i3:i4], places[i4:],
        numbers[f5 : f5 + sds], numbers[f5 + sds :],
    )  # fmt: skip


@njit(cache=True)
def draws_of_effects(  # noqa: PLR0913
    xi, log_sd, partial,
    start, levels, terms, first_sd, first_partial,
    centre, whiten_data, whiten_column, whiten_row, centring, log_scale,
):  # fmt: skip
    """The effects w of every draw: xi (draw, effect), log_sd (draw, sd), partial (draw, partial) → (draw, effect)."""
    out = np.empty_like(xi)
    v = np.empty(xi.shape[1])
    z = np.zeros(xi.shape[1])
    for d in range(xi.shape[0]):
        _times(whiten_data, whiten_column, whiten_row, xi[d], v)
        for i in range(v.size):
            v[i] += centre[i]
            out[d, i] = v[i]
        _group_effects(
            v, log_sd[d], partial[d], start, levels, terms, first_sd, first_partial, centring, log_scale,
            out[d], z,
        )  # fmt: skip
    return out
