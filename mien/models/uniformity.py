"""Are these numbers uniform? Their empirical distribution function against simultaneous bands.

    count of values ≤ k/G, k = 1 … G − 1        binomial(n, k/G) one by one
    band                                        binomial quantiles, all at the same two-sided level
    level                                       such that the whole path leaves the band with the probability asked for

The probability that a path stays inside is exact: increments are multinomial, that is Poisson ones given their sum, so
that it is a chain of convolutions cut at the band. arviz-stats has the band too, by simulation; a level of 1e-5 over
many quantities would need millions of paths.

References
----------
Säilynoja, Bürkner & Vehtari (2022), https://doi.org/10.1007/s11222-022-10090-6
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import special, stats

__all__ = ["GRID", "Band", "Uniformity", "counts_below", "simultaneous_band", "uniformity"]

GRID = 100
HALVINGS = 40


class Band(NamedTuple):
    """(grid,) each: where, and the fewest and most values that may lie at or below."""

    at: np.ndarray
    fewest: np.ndarray
    most: np.ndarray


def counts_below(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(…, grid) how many of the values (value, …) are at most `at`."""
    ordered = np.sort(values, axis=0)
    columns = ordered.reshape(len(ordered), -1).T
    counts = np.stack([np.searchsorted(column, at, side="right") for column in columns])
    return counts.reshape(*values.shape[1:], len(at))


@cache
def simultaneous_band(count: int, level: float, grid: int = GRID) -> Band:
    """The band that the path of `count` uniform values leaves with probability `level` at most.

    The probability moves in steps, since counts are whole: the widest band is taken that is not too wide.
    """
    grid = min(grid, count)
    at = np.arange(1, grid) / grid
    low, high = np.log(level) - 12.0, np.log(level)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if _leaves(count, grid, *_pointwise(count, at, float(np.exp(middle)))) > level:
            high = middle
        else:
            low = middle
    return Band(at, *_pointwise(count, at, float(np.exp(low))))


def _pointwise(count: int, at: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    fewest = stats.binom.ppf(0.5 * level, count, at).astype(np.int64)
    most = stats.binom.isf(0.5 * level, count, at).astype(np.int64)
    return fewest, most


def _leaves(count: int, grid: int, fewest: np.ndarray, most: np.ndarray) -> float:
    """Probability that the path of counts is outside anywhere."""
    step = count / grid
    longest = int(step + 12.0 * np.sqrt(step) + 30.0)
    jumps = np.arange(min(longest, count) + 1)
    kernel = np.exp(jumps * np.log(step) - step - special.gammaln(jumps + 1.0))
    start, mass = 0, np.ones(1)
    for low, high in zip([*fewest, count], [*most, count], strict=True):
        spread = np.convolve(mass, kernel)  # from `start` on
        first = max(int(low) - start, 0)
        mass = spread[first : int(high) - start + 1]
        start += first
    total = np.exp(count * np.log(count) - count - special.gammaln(count + 1.0))
    inside = float(mass[0]) / total if len(mass) else 0.0
    return max(0.0, 1.0 - inside)


class Uniformity(NamedTuple):
    """distance : the largest between the empirical distribution function and the diagonal; p : see `uniformity`."""

    distance: float
    p: float


def uniformity(values: np.ndarray, grid: int = GRID) -> Uniformity:
    """How far values (value,) are from uniform, and the probability of a path as far out for uniform ones.

    Far out is what is improbable at some point of the grid, one by one; `p` counts all points together.
    """
    count = len(values)
    grid = min(grid, count)
    at = np.arange(1, grid) / grid
    below = counts_below(values, at)
    tail = np.minimum(stats.binom.cdf(below, count, at), stats.binom.sf(below - 1, count, at))
    level = min(1.0, 2.0 * float(tail.min()) * (1.0 + 1e-9))
    return Uniformity(
        float(np.abs(below / count - at).max()), _leaves(count, grid, *_pointwise(count, at, level))
    )
