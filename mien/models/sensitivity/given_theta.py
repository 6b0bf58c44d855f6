"""Coefficients given theta, with their prior taken away: what any normal prior of theirs can be put on again.

    log ∫ p(y | β, theta) dβ  =  L(theta)              the density with flat coefficients (REML)
    β | y, theta              ~  N(m(theta), C(theta))
    log p(y | β, theta)       =  L(theta) + log N(β; m(theta), C(theta))

Group effects are integrated out in all of them. m and C come from the elimination that gives L: coefficients are
eliminated last, so that U⁻¹ of a unit vector ends in a column of the root of C, and it costs one substitution more
for each coefficient.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mien.models.engines.problem import Outcome, Problem
from mien.priors import Fixed, Flat

__all__ = ["GivenTheta", "flat_coefficients", "given_theta"]


class GivenTheta(NamedTuple):
    """Of every point of theta: β of the free coefficients is N(mean, root · root').

    free : names, in the design's order. log_density : (point,) log p(y | theta), with these priors of coefficients.
    mean : (point, coefficient). root : (point, coefficient, coefficient).
    """

    free: tuple[str, ...]
    log_density: np.ndarray
    mean: np.ndarray
    root: np.ndarray

    def log_likelihood(self, coefficients: np.ndarray) -> np.ndarray:
        """Log p(y | β, theta) (point,) at β (point, free coefficient), where all these are flat."""
        if not self.free:
            return self.log_density
        away = np.linalg.solve(self.root, (coefficients - self.mean)[..., None])[..., 0]
        log_size = np.linalg.slogdet(self.root)[1]
        constant = 0.5 * len(self.free) * np.log(2.0 * np.pi)
        return self.log_density - 0.5 * (away**2).sum(axis=1) - log_size - constant

    def variance(self, name: str) -> np.ndarray:
        """(point,) of one coefficient."""
        return (self.root[:, self.free.index(name)] ** 2).sum(axis=1)


def flat_coefficients(outcome: Outcome, names: Sequence[str] | None = None) -> Outcome:
    """The outcome with flat priors of its free coefficients, or of those named only."""
    changed = {
        name: replace(outcome.priors[name], prior=Flat())
        for name in (outcome.design.coefficients if names is None else names)
        if not isinstance(outcome.priors[name].prior, Fixed)
    }
    return outcome._replace(priors={**outcome.priors, **changed})


def given_theta(outcome: Outcome, natural) -> GivenTheta:
    """Coefficients at points of theta.

    Parameters
    ----------
    outcome : with the priors of its coefficients that are to count. natural : points, `parameters.Natural`.
    """
    from mien.models.engines.collapsed.engine import prepare

    density = prepare(Problem("gaussian", (outcome,)), of_series=True)[0].density
    prior, points = density.coefficients, len(natural.sd)
    free = tuple(
        name for name, is_free in zip(outcome.design.coefficients, prior.free, strict=True) if is_free
    )
    count, variables = len(free), len(density.places.term)
    copies = np.full(points, count + 1)
    raw = np.empty((points * (count + 1), variables))
    value = density.evaluate(natural, copies, raw, _UnitVectors(count))
    ends = raw.reshape(points, count + 1, variables)[:, :, variables - count :]
    mean = prior.coefficients_at(ends[:, 0] + density.origin)[:, prior.free] if count else ends[:, 0]
    return GivenTheta(free, value, mean, prior.back @ (ends[:, 1:] - ends[:, :1]).transpose(0, 2, 1))


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
