"""Rows by draws, compiled: what tens of thousands of rows need in each of hundreds of draws.

    linear_predictors   Σ of a row's entries × their draws
    add_residuals       sums of powers and squares of residuals, of data and replicates alike
    add_neighbours      products of neighbours' residuals
    normal_below        Φ: a polynomial in 1/(1 + |z|/3) times e^(−z²/2); scipy's takes as long as all else together
    smoothed_weights    Pareto smoothing as in `engines.collapsed.pareto`, of every row on its own

All arrays are (row, draw): a row's draws lie side by side.

References
----------
Vehtari, Simpson, Gelman, Yao & Gabry (2024), https://doi.org/10.48550/arXiv.1507.02646
"""

from functools import cache

import numpy as np
from numba import njit

__all__ = ["add_neighbours", "add_residuals", "linear_predictors", "normal_below", "smoothed_weights"]

PRIOR_SHAPE, PRIOR_POINTS = 0.5, 10.0
GRID, GRID_SPREAD = 30, 3.0
NO_TAIL = -1.0  # the shape of weights that are all the same
FEWEST = 5
TOGETHER = 12  # factors of a product whose logarithm is taken once
LARGEST = 1e20  # spread of a tail above which products of them could overflow
DEGREE = 20  # of the polynomial for Φ, a multiple of 4
FREE = {"contract", "reassoc"}


@njit(cache=True, error_model="numpy", nogil=True, fastmath=FREE)
def linear_predictors(entry, value, table):
    """Every row's Σ value × table[entry].

    Parameters
    ----------
    entry : (row, entry) places in the table; value : (row, entry) factors. table : (place, draw).
    """
    result = np.empty((entry.shape[0], table.shape[1]))
    for row in range(entry.shape[0]):
        mine = result[row]
        mine[:] = 0.0
        for e in range(entry.shape[1]):
            factor = value[row, e]
            if factor != 0.0:
                draws = table[entry[row, e]]
                for d in range(mine.size):
                    mine[d] += factor * draws[d]
    return result


@njit(cache=True, error_model="numpy", nogil=True, fastmath=FREE)
def add_residuals(residual, scale, code, squares, powers):
    """Sums over rows; residuals are standardised in place.

    Parameters
    ----------
    residual : (row, draw). scale : (row, draw), or (1, draw) for all rows. code : (row,) places in `squares`.
    squares : (place, draw), Σ residual². powers : (3, draw), Σ of (residual / scale) to the first, second and third.
    """
    for row in range(len(residual)):
        mine, by = residual[row], scale[row if len(scale) > 1 else 0]
        own = squares[code[row]]
        for d in range(mine.size):
            own[d] += mine[d] * mine[d]
            z = mine[d] / by[d]
            mine[d] = z
            powers[0, d] += z
            powers[1, d] += z * z
            powers[2, d] += z * z * z


@njit(cache=True, error_model="numpy", nogil=True, fastmath=FREE)
def add_neighbours(z, before, after, products):
    """Σ over pairs of rows: products (3, draw) of one with the other, the one with itself, the other with itself."""
    for pair in range(before.size):
        one, two = z[before[pair]], z[after[pair]]
        for d in range(one.size):
            products[0, d] += one[d] * two[d]
            products[1, d] += one[d] * one[d]
            products[2, d] += two[d] * two[d]


# Φ


def normal_below(z: np.ndarray) -> np.ndarray:
    """Φ(z), within 1e-13 of scipy's; z is two-dimensional."""
    bell = np.exp(-0.5 * z * z)
    _below(np.ascontiguousarray(z), bell, _series())
    return bell


@cache
def _series() -> np.ndarray:
    """Coefficients of e^(z²/2) Φ(−z) for z ≥ 0 in powers of t = 2/(1 + z/3) − 1, the highest first."""
    from scipy.special import erfcx

    nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    values = 0.5 * erfcx(3.0 * (2.0 / (nodes + 1.0) - 1.0) / np.sqrt(2.0))
    series = np.polynomial.chebyshev.chebfit(nodes, values, DEGREE)
    return np.polynomial.chebyshev.cheb2poly(series)[::-1].copy()


@njit(cache=True, error_model="numpy", nogil=True, fastmath=FREE)
def _below(z, bell, series):
    """Replaces `bell`, e^(−z²/2), by Φ(z)."""
    t, p = np.empty(z.shape[1]), np.empty(z.shape[1])
    for row in range(len(z)):
        mine, here = bell[row], z[row]
        for d in range(t.size):
            t[d] = 2.0 / (1.0 + abs(here[d]) / 3.0) - 1.0
            p[d] = series[0]
        for k in range(1, series.size, 4):
            c0, c1, c2, c3 = series[k], series[k + 1], series[k + 2], series[k + 3]
            for d in range(t.size):
                p[d] = (((p[d] * t[d] + c0) * t[d] + c1) * t[d] + c2) * t[d] + c3
        for d in range(t.size):
            tail = mine[d] * p[d]
            mine[d] = 1.0 - tail if here[d] > 0.0 else tail


# Weights


def smoothed_weights(log_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights with smoothed tails.

    Parameters
    ----------
    log_weight : (row, draw), log of importance weights, finite; not negated.

    Returns
    -------
    weight : (row, draw), the largest of each row at most 1.
    khat : (row,), inf where there are too few draws or no spread to tell.
    """
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    count = weight.shape[1]
    tail = int(3.0 * np.sqrt(count)) if count > 225 else count // 5
    if tail < FEWEST:
        return weight, np.full(len(weight), np.inf)
    cutoff = np.partition(weight, count - tail - 1, axis=1)[:, count - tail - 1].copy()
    khat = np.empty(len(weight))
    probability = (np.arange(tail) + 0.5) / tail
    _smooth(weight, cutoff, np.log1p(-probability), khat)
    return weight, khat


@njit(cache=True, error_model="numpy", nogil=True, fastmath=FREE)
def _smooth(weight, cutoff, log_left, khat):
    tail = log_left.size
    size = GRID + int(np.sqrt(tail))
    place, excess = np.empty(tail, dtype=np.int64), np.empty(tail)
    shape_of, part = np.empty(size), np.empty(size)
    standard = 1.0 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    for row in range(len(weight)):
        mine = weight[row]
        _tail(mine, cutoff[row], place, excess)
        if excess[tail - 1] <= 0.0:
            khat[row] = NO_TAIL
            continue
        shape, scale = _fit(excess, standard, shape_of, part)
        if not np.isfinite(shape) or not np.isfinite(scale):
            khat[row] = np.inf
            continue
        khat[row] = shape
        for i in range(tail):
            mine[place[i]] = min(cutoff[row] + scale * np.expm1(-shape * log_left[i]) / shape, 1.0)


@njit(cache=True, error_model="numpy", nogil=True)
def _tail(weight, cutoff, place, excess):
    """Places of the largest weights, rising, and how far they lie above the cutoff; ties of it fill what is left."""
    tail, found = place.size, 0
    for above in (True, False):
        for j in range(weight.size):
            if found == tail:
                break
            if weight[j] > cutoff if above else weight[j] == cutoff:
                place[found] = j
                excess[found] = weight[j] - cutoff
                found += 1
    for i in range(1, tail):
        x, at, j = excess[i], place[i], i - 1
        while j >= 0 and excess[j] > x:
            excess[j + 1], place[j + 1] = excess[j], place[j]
            j -= 1
        excess[j + 1], place[j + 1] = x, at


@njit(cache=True, error_model="numpy", nogil=True, fastmath=FREE)
def _fit(excess, standard, shape_of, part):
    """Shape and scale of the generalised Pareto distribution of rising `excess`; not finite where it has none."""
    tail, size = excess.size, standard.size
    quartile, largest = excess[int(tail / 4 + 0.5) - 1], excess[tail - 1]
    if not quartile > excess[0]:
        return np.nan, np.nan
    together = TOGETHER if largest < LARGEST * quartile else 1
    slope, offset = 1.0 / (GRID_SPREAD * quartile), 1.0 / largest
    shape_of[:] = 0.0
    for first in range(0, tail, together):
        part[:] = 1.0
        for i in range(first, min(first + together, tail)):
            x = excess[i]
            for g in range(size):
                part[g] *= 1.0 - (standard[g] * slope + offset) * x
        for g in range(size):
            shape_of[g] += np.log(part[g])
    best = -np.inf
    for g in range(size):
        shape = shape_of[g] / tail
        part[g] = tail * (np.log(-(standard[g] * slope + offset) / shape) - shape - 1.0)
        best = max(best, part[g])
    total, chosen = 0.0, 0.0
    for g in range(size):
        share = np.exp(part[g] - best)
        total += share
        chosen += share * (standard[g] * slope + offset)
    chosen /= total
    shape = 0.0
    for i in range(tail):
        shape += np.log1p(-chosen * excess[i])
    shape /= tail
    pulled = (tail * shape + PRIOR_POINTS * PRIOR_SHAPE) / (tail + PRIOR_POINTS)
    return pulled, -shape / chosen
