"""Coefficients given theta, with their prior taken away: what any normal prior of theirs can be put on again.

    log ∫ p(y | β, theta) dβ  =  L(theta)              the density with flat coefficients (REML)
    β | y, theta              ~  N(m(theta), C(theta))
    log p(y | β, theta)       =  L(theta) + log N(β; m(theta), C(theta))

Group effects are integrated out in all of them.
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
    from mien.models.engines.collapsed.coefficient_mixture import coefficients_given
    from mien.models.engines.collapsed.engine import prepare

    density = prepare(Problem("gaussian", (outcome,)), of_series=True)[0].density
    free = tuple(
        name
        for name, is_free in zip(outcome.design.coefficients, density.coefficients.free, strict=True)
        if is_free
    )
    return GivenTheta(free, *coefficients_given(density, natural))
