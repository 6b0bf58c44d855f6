"""Where chains of `factor_kernel` start, and whether there is one such place.

A factor model with fewer factors than the data have, or with shapes that are nearly twins, has several solutions, each
with other shapes on its factors and often hundreds of nats apart. Chains that start in one of them never leave it, and
agree with each other. So the density is climbed from many places first (L-BFGS, the sds of loadings held: with them
free the top of the density is where they are 0), the first of them principal factors, the others drawn:

    the highest               is where chains start, and its directions are the gauge's Q
    others as high, within 10 nats, with other communalities    chains start there too: R-hat tells whether they mix
    the highest found once    more places are tried; if none gets there again, the gate says so
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.models.engines import factor_kernel as kernel
from mien.models.factors.conditional import Parameters
from mien.models.factors.sums import FactorSums

__all__ = ["Start", "find_start", "start_at"]

PLACES, MORE_PLACES = 12, 24
AS_HIGH = 10.0  # nats
SAME_HEIGHT = 0.5  # nats, of two climbs that are one
SAME_SHARE = 0.05  # their largest difference of a communality
STEPS = 1000
LIMITS = (
    -12.0,
    12.0,
)  # of an entry: a uniqueness beyond is 0 to the density's rounding, and climbs follow noise
ROUNDS = 50  # of principal factors
LEAST = 0.02  # of a uniqueness and of a factor's size


class Start(NamedTuple):
    """basis : Q' of the gauge. error : of a loading between. places : (place, entry) where chains start.

    tried, found : climbs, and how many of them came to the highest place; 1 and 1 where none were made.
    """

    basis: np.ndarray
    error: float
    places: np.ndarray
    tried: int = 1
    found: int = 1


class _Climb(NamedTuple):
    height: float
    share: np.ndarray  # communalities
    parameters: Parameters  # one draw


def find_start(
    sums: FactorSums, factors: int, between: int, priors: Sequence[float], rng: np.random.Generator
) -> Start:
    """The highest place, and others as high."""
    first = start_at(sums, _principal_factors(sums, factors, between))
    climbs = [_climb(first, sums, factors, between, priors, None)]
    for places in (PLACES, MORE_PLACES):
        while len(climbs) < places:
            climbs.append(_climb(first, sums, factors, between, priors, rng))
        best = max(climbs, key=lambda climb: climb.height)
        found = sum(_same(climb, best) for climb in climbs)
        if found > 1:
            break
    start = start_at(sums, best.parameters)
    others: list[_Climb] = []
    for climb in climbs:
        near = climb.height > best.height - AS_HIGH
        if near and not any(_alike(climb, other) for other in (best, *others)):
            others.append(climb)
    more = [start_at(sums, other.parameters, start.basis).places for other in others]
    return start._replace(places=np.vstack([start.places, *more]), tried=len(climbs), found=found)


def start_at(sums: FactorSums, one: Parameters, basis: np.ndarray | None = None) -> Start:
    """The vector of some loadings and uniquenesses, in their own gauge or in a given one.

    Parameters
    ----------
    one : a single draw.
    """
    loading, uniqueness, among, rest = (part[0] for part in one)
    factors = loading.shape[1]
    if basis is None:
        basis = np.ascontiguousarray(np.linalg.svd(loading, full_matrices=True)[0].T)
    f = basis @ loading
    turn = np.linalg.qr(f[:factors].T)[0]
    f = f @ turn
    f = f * np.where(np.diag(f) < 0, -1.0, 1.0)
    diagonal = np.arange(factors)
    f[diagonal, diagonal] = np.log(np.maximum(f[diagonal, diagonal], LEAST))
    sds = np.maximum([np.sqrt(np.mean(part**2)) if part.size else 0.0 for part in (loading, among)], LEAST)
    error = float(np.sqrt((np.mean(rest) + np.mean(1.0 / sums.weight[1:])) / sums.groups))
    scaled = among.ravel() * np.hypot(sds[1], error) / sds[1]
    place = np.concatenate(
        [
            f[np.tri(*f.shape, dtype=bool)],
            np.log(uniqueness),
            scaled,
            np.log(np.maximum(rest, LEAST**2)),
            np.log(sds),
        ]
    )
    return Start(basis, error, place[None])


def _climb(
    start: Start, sums: FactorSums, factors: int, between: int, priors: Sequence[float], rng: np.random.Generator | None
) -> _Climb:  # fmt: skip
    """To the top from the start, or from loadings and uniquenesses that are drawn."""
    from scipy.optimize import minimize

    shapes = sums.vectors.shape[1]
    blocks = kernel.squared_where_cheaper(sums.first, sums.vectors)
    numbers, slope = np.array([*priors, start.error]), np.empty(start.places.shape[1])
    place = start.places[0].copy()
    if rng is not None:
        _scatter(place, shapes, factors, rng)

    def below(q: np.ndarray) -> tuple[float, np.ndarray]:
        height = kernel.log_density(
            q, factors, between, sums.weight, sums.count, *blocks, start.basis, numbers, slope
        )
        down = -slope
        down[-2:] = 0.0
        return (-height, down) if np.isfinite(height) else (np.inf, np.zeros_like(down))

    top = minimize(
        below, place, jac=True, method="L-BFGS-B", bounds=[LIMITS] * len(place),
        options={"maxiter": STEPS, "maxfun": 2 * STEPS},
    )  # fmt: skip
    parts = kernel.unfolded(top.x[None], start.basis, factors, between, start.error)[:4]
    found = Parameters(*parts)
    common = (found.loading[0] ** 2).sum(axis=1)
    height = -float(top.fun) if np.isfinite(top.fun) else -np.inf
    return _Climb(height, common / (common + found.uniqueness[0]), found)


def _scatter(place: np.ndarray, shapes: int, factors: int, rng: np.random.Generator) -> None:
    """Loadings and uniquenesses of a start, drawn anew in place."""
    lower = np.tri(shapes, factors, dtype=bool)
    loading = 0.4 * rng.standard_normal((shapes, factors))
    diagonal = np.arange(factors)
    loading[diagonal, diagonal] = np.log(np.abs(loading[diagonal, diagonal]) + LEAST)
    count = int(lower.sum())
    place[:count] = loading[lower]
    place[count : count + shapes] = np.log(rng.uniform(0.05, 0.95, shapes))


def _same(climb: _Climb, other: _Climb) -> bool:
    return abs(climb.height - other.height) < SAME_HEIGHT and _alike(climb, other)


def _alike(climb: _Climb, other: _Climb) -> bool:
    return bool(np.abs(climb.share - other.share).max() < SAME_SHARE)


def _principal_factors(sums: FactorSums, factors: int, between: int) -> Parameters:
    """Iterated principal factors within, and of what is left of the contrasts between; one draw."""
    covariance = sums.within / sums.count[0]
    variance = np.diag(covariance)
    uniqueness, loading = 0.5 * variance, np.zeros((len(variance), factors))
    for _ in range(ROUNDS):
        root = np.sqrt(uniqueness)
        value, vector = np.linalg.eigh(covariance / np.outer(root, root))
        size = np.sqrt(np.maximum(value[::-1][:factors] - 1.0, 0.0))
        loading = root[:, None] * vector[:, ::-1][:, :factors] * size
        uniqueness = np.maximum(variance - (loading**2).sum(axis=1), LEAST * variance)
    first, weight = int(sums.first[1]), np.repeat(sums.weight[1:], np.diff(sums.first[1:]))
    vectors = sums.vectors[first:] / np.sqrt(weight)[:, None]
    scatter = vectors.T @ vectors / sums.groups - covariance * np.mean(1.0 / sums.weight[1:])
    value, vector = np.linalg.eigh(scatter)
    among = vector[:, ::-1][:, :between] * np.sqrt(np.maximum(value[::-1][:between], LEAST**2))
    rest = np.maximum(np.diag(scatter) - (among**2).sum(axis=1), LEAST)
    return Parameters(loading[None], uniqueness[None], among[None], rest[None])
