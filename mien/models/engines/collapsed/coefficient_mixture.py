"""The posterior of the coefficients as a mixture of Gaussians: no draw of them, none of the group effects.

    β | y  ~  Σ weight · N(m(theta), C(theta))       over the weighted points of theta

m and C come from the elimination that gives the density: coefficients are eliminated last, so that U⁻¹ of a unit
vector ends in a column of the root of C, and substitution stops where the coefficients are done.
"""

from typing import NamedTuple, cast

import numpy as np

from mien.models.engines.collapsed.density import Density
from mien.models.engines.collapsed.fallback import Sampled
from mien.models.engines.collapsed.importance import Weighted, sample_theta
from mien.models.engines.collapsed.parameters import Natural

__all__ = ["CoefficientMixture", "coefficient_mixture", "coefficients_given"]


class CoefficientMixture(NamedTuple):
    """Of all coefficients, in the design's order; fixed ones have no spread.

    weight : (point,), summing to 1. mean : (point, coefficient). root : (point, coefficient, free): C = root root'.
    passed, reason : the verdict on the points. sampled : whether they are draws of NUTS.
    """

    weight: np.ndarray
    mean: np.ndarray
    root: np.ndarray
    passed: bool
    reason: str
    sampled: bool

    def of(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd (point,) of a weighted sum of coefficients (coefficient,)."""
        spread = weights @ self.root  # (point, free)
        return self.mean @ weights, np.sqrt((spread**2).sum(axis=1))


def coefficients_given(density: Density, natural: Natural) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log p(y | theta), and mean (point, free) and root (point, free, free) of the free coefficients given theta."""
    prior, points = density.coefficients, len(natural.sd)
    count, variables = len(prior.mean), len(density.places.term)
    raw = np.empty((points * (count + 1), variables))
    value = density.evaluate(natural, np.full(points, count + 1), raw, _UnitVectors(count), wanted=count)
    ends = raw.reshape(points, count + 1, variables)[:, :, variables - count :]
    mean = prior.coefficients_at(ends[:, 0] + density.origin)[:, prior.free] if count else ends[:, 0].copy()
    return value, mean, prior.back @ (ends[:, 1:] - ends[:, :1]).transpose(0, 2, 1)


def coefficient_mixture(
    density: Density,
    *,
    points: int,
    runs: int,
    seed: np.random.SeedSequence,
    start: np.ndarray | None = None,
    outcome: str = "",
) -> CoefficientMixture:
    """The whole ladder of `sample_theta`, with coefficients from the same factorisations.

    Raises
    ------
    FitError
        When the density is nowhere finite, or a residual sd runs to 0.
    """
    keeping = _Keeping(density)
    found = sample_theta(
        cast(Density, keeping), points=points, runs=runs, draws=points // runs, seed=seed, start=start, outcome=outcome
    )  # fmt: skip
    if isinstance(found, Weighted):
        mean, root = keeping.of(found)
        return _whole(density, found.weight / found.weight.sum(), mean, root, found)
    theta = found.theta.reshape(-1, found.theta.shape[-1])
    _, mean, root = coefficients_given(density, density.parameters.natural(theta))
    weight = np.full(len(theta), 1.0 / len(theta))
    return _whole(density, weight, mean, root, found)


def _whole(
    density: Density, weight: np.ndarray, mean: np.ndarray, root: np.ndarray, found: Weighted | Sampled
) -> CoefficientMixture:
    """With the coefficients that are held; points without weight are left out."""
    prior, used = density.coefficients, weight > 0.0
    means = np.tile(prior.held, (int(used.sum()), 1))
    roots = np.zeros((len(means), len(prior.free), root.shape[2]))
    means[:, prior.free], roots[:, prior.free] = mean[used], root[used]
    return CoefficientMixture(
        weight[used], means, roots, found.passed, found.reason, isinstance(found, Sampled)
    )


class _Keeping:
    """A density that keeps the coefficients' mean and root wherever it is evaluated, from the same factorisation."""

    def __init__(self, density: Density) -> None:
        self.density, self.parameters = density, density.parameters
        self.gradient, self.gradients = density.gradient, density.gradients
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []  # one pair for each call of `values`

    def values(self, theta: np.ndarray) -> np.ndarray:
        """As those of the density."""
        natural, log_prior = self.parameters.with_prior(theta)
        value, mean, root = coefficients_given(self.density, natural)
        self.kept.append((mean, root))
        value += log_prior
        return np.where(np.isfinite(value), value, -np.inf)

    def of(self, found: Weighted) -> tuple[np.ndarray, np.ndarray]:
        """Mean and root of the points of the last attempt, which asked for its own and nothing after them."""
        mean, root = (np.concatenate(parts)[-len(found.theta) :] for parts in zip(*self.kept, strict=True))
        return mean[found.asked], root[found.asked]


class _UnitVectors:
    """In place of normals: of every point nothing first, then 1 for each of the last `count` variables in turn."""

    def __init__(self, count: int) -> None:
        self.count = count

    def spawn(self, pieces: int) -> "list[_UnitVectors]":
        return [self] * pieces

    def standard_normal(self, shape: tuple[int, int]) -> np.ndarray:
        """Rows in turns of `count` + 1."""
        rows = np.zeros(shape)
        if self.count:
            turns = rows.reshape(-1, self.count + 1, shape[1])
            turns[:, np.arange(1, self.count + 1), np.arange(shape[1] - self.count, shape[1])] = 1.0
        return rows
