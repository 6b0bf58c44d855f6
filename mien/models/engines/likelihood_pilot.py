"""A quick estimate for a model with another likelihood than the Gaussian, to choose the sampler's coordinates.

Given the standard deviations the joint density of effects and coefficients has one mode, found by Newton's method; with
its curvature the rows are those of a Gaussian model, whose variances `pilot` finds with the effects integrated out
(Laplace's approximation). Dispersions (phi, shape, sigma, nu) have no part in that mode, where effects that follow
every row would leave no scatter: they are set where the rows are most probable on average over the effects'
approximate posterior. A few rounds are enough: what comes out steers how fast NUTS runs and nothing else.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import csr_array, diags_array

from mien.models.engines import likelihood_kernel as kernel
from mien.models.engines.gaussian_kernel import Layout, Reference
from mien.models.engines.pilot import Marginal, Search, make_reference
from mien.priors import Fixed, Prior

__all__ = ["LikelihoodPilot", "Priors", "RowModel", "make_likelihood_pilot"]

ROUNDS = 2  # of mode, variances and dispersions
AVERAGED = 8  # draws of the effects that a dispersion is averaged over
STEPS = 25  # of Newton's method at most; it takes 4 to 8
STEP = 1e-4  # of the central differences for the curvature
CLOSE = 1e-3  # nats that another Newton step is not worth


class RowModel(NamedTuple):
    """The rows: density of `family`, and the linear predictors o_m + A_m w.

    columns : A_m (row, effect), one a predictor; offset : (predictor, row); kind, data : as in `Model`.
    """

    family: int
    columns: list[csr_array]
    offset: np.ndarray
    kind: np.ndarray
    data: np.ndarray

    def predictors(self, w: np.ndarray) -> np.ndarray:
        """(predictor, row)."""
        return self.offset + np.stack([matrix @ w for matrix in self.columns])

    def density(self, eta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density of all rows, and its slope (predictor, row)."""
        density, slope = kernel.row_densities(self.family, self.kind, self.data, eta)
        return float(density.sum()), slope

    def curvature(self, eta: np.ndarray) -> np.ndarray:
        """(predictor, predictor, row) minus the second derivatives, by central differences of the slopes."""
        count = len(eta)
        found = np.empty((count, count, eta.shape[1]))
        for m in range(count):
            ends = []
            for sign in (1.0, -1.0):
                moved = eta.copy()
                moved[m] += sign * STEP
                ends.append(self.density(moved)[1])
            found[m] = (ends[1] - ends[0]) / (2.0 * STEP)
        return 0.5 * (found + found.transpose(1, 0, 2))


class Priors(NamedTuple):
    """Of the sds and partial correlations; normal stand-ins (mean, precision) of the coefficients."""

    sds: list[Prior]
    partial_numbers: np.ndarray
    partial_free: np.ndarray
    mean: np.ndarray
    precision: np.ndarray


class LikelihoodPilot(NamedTuple):
    """Hyperparameters and coordinates."""

    sd: np.ndarray
    partial: np.ndarray
    reference: Reference


def make_likelihood_pilot(
    rows: RowModel, layout: Layout, priors: Priors, start: np.ndarray, dispersions: np.ndarray
) -> LikelihoodPilot:
    """The mode and the coordinates for the sampler.

    Parameters
    ----------
    start : a guess at w, with effects 0. dispersions : places in w of the coefficients of dispersions.

    Raises
    ------
    LinAlgError
        When the posterior has a direction without curvature.
    """
    sd = np.array([prior.value if isinstance(prior, Fixed) else 0.3 for prior in priors.sds])
    partial = np.where(priors.partial_free, 0.0, priors.partial_numbers)
    problem, w = _Problem(rows, layout, priors, dispersions), start
    for _ in range(ROUNDS):
        w = problem.mode(sd, partial, w)
        marginal = problem.marginal(w)
        search = Search(marginal, priors.sds, Fixed(1.0), priors.partial_numbers, priors.partial_free)
        vector = np.concatenate([np.log(sd[search.free_sd]), np.arctanh(partial[priors.partial_free])])
        if len(vector):
            vector = minimize(search.negative_log_density, vector, method="BFGS", options={"gtol": 1e-1}).x
            sd, partial, _ = search.unpack(np.clip(vector, -8.0, 8.0))
            partial = np.clip(partial, -0.95, 0.95)
        w = problem.dispersed(marginal.posterior(marginal.factors(sd, partial), 1.0)[1], w)
    w = problem.mode(sd, partial, w)
    marginal = problem.marginal(w)
    factors = marginal.factors(sd, partial)
    _, upper, _ = marginal.posterior(factors, 1.0)
    return LikelihoodPilot(sd, partial, make_reference(marginal, factors, 1.0, w, upper))


class _Problem(NamedTuple):
    """What the pilot's steps work on."""

    rows: RowModel
    layout: Layout
    priors: Priors
    dispersions: np.ndarray

    def marginal(self, w: np.ndarray) -> Marginal:
        """The Gaussian model with the slope and curvature of the rows at w."""
        rows, priors = self.rows, self.priors
        eta = rows.predictors(w)
        _, slope = rows.density(eta)
        gram = _information(rows, eta)
        moment = gram @ w + _pulled_back(rows, slope)
        return Marginal(
            self.layout, gram, moment, 0.0, len(rows.kind),
            prior_mean=priors.mean, prior_precision=priors.precision,
        )  # fmt: skip

    def mean(self, size: int) -> np.ndarray:
        """Of the prior of w."""
        found = np.zeros(size)
        found[size - len(self.priors.mean) :] = self.priors.mean
        return found

    def mode(self, sd: np.ndarray, partial: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The mode of w given sds, correlations and dispersions, by damped Newton steps."""
        rows, mean = self.rows, self.mean(len(w))
        shell = self.marginal(w)
        prior = shell.prior_root(shell.factors(sd, partial))[0]
        still = self.dispersions

        def joint(at: np.ndarray) -> float:
            value, _ = rows.density(rows.predictors(at))
            return value - 0.5 * float((at - mean) @ prior @ (at - mean))

        here = joint(w)
        for _ in range(STEPS):
            eta = rows.predictors(w)
            gradient = _pulled_back(rows, rows.density(eta)[1]) - prior @ (w - mean)
            precision = prior + _information(rows, eta).toarray()
            gradient[still] = 0.0
            precision[still, :], precision[:, still], precision[still, still] = 0.0, 0.0, 1.0
            step = cho_solve((cholesky(precision), False), gradient)
            share = _share_of_step(joint, w, step, here)
            w = w + share * step
            gained, here = joint(w) - here, joint(w)
            if gained < CLOSE:
                return w
        return w

    def dispersed(self, upper: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The same w with dispersions that are most probable on average over draws about it.

        upper : Cholesky factor of the precision of w.
        """
        rows, still = self.rows, self.dispersions
        if not len(still):
            return w
        noise = np.random.default_rng(0).standard_normal((len(w), AVERAGED))
        draws = w[:, None] + solve_triangular(upper, noise)
        first = len(w) - len(self.priors.mean)
        mean, precision = self.priors.mean[still - first], self.priors.precision[still - first]

        def negative(at: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = 0.0, np.zeros(len(w))
            for draw in draws.T:
                moved = draw.copy()
                moved[still] = at
                with np.errstate(all="ignore"):  # far-off points may overflow; they are turned away
                    density, row_slope = rows.density(rows.predictors(moved))
                    value += density
                    slope += _pulled_back(rows, row_slope)
            away = at - mean
            total = value / AVERAGED - 0.5 * float(precision @ away**2)
            if not np.isfinite(total):
                return 1e30, np.zeros(len(at))
            return -total, -(slope[still] / AVERAGED - precision * away)

        found = w.copy()
        found[still] = minimize(negative, w[still], jac=True, method="BFGS", options={"gtol": 1e-2}).x
        return found


def _share_of_step(
    joint: Callable[[np.ndarray], float], w: np.ndarray, step: np.ndarray, here: float
) -> float:
    """The part of a Newton step that gains, by halving; 0 where none does."""
    share = 1.0
    while share > 1e-3:
        with np.errstate(all="ignore"):  # far-off points may overflow; they are turned away
            there = joint(w + share * step)
        if np.isfinite(there) and there > here - 1e-9:
            return share
        share *= 0.5
    return 0.0


def _pulled_back(rows: RowModel, slope: np.ndarray) -> np.ndarray:
    """Σ A_m' slope_m."""
    return np.sum([matrix.T @ slope[m] for m, matrix in enumerate(rows.columns)], axis=0)


def _gram(rows: RowModel, curvature: np.ndarray) -> csr_array:
    """Σ A_m' H_mn A_n."""
    total: csr_array | None = None
    for m, left in enumerate(rows.columns):
        for n, right in enumerate(rows.columns[: m + 1]):
            if m != n and not curvature[m, n].any():
                continue
            part = (left.T @ diags_array(curvature[m, n]) @ right).tocsr()
            part = part if m == n else part + part.T
            total = part if total is None else total + part
    assert total is not None
    return csr_array(total)


def _information(rows: RowModel, eta: np.ndarray) -> csr_array:
    """The curvature of all rows, row by row without its negative directions where together they have one."""
    curvature = rows.curvature(eta)
    gram = _gram(rows, curvature)
    dense = gram.toarray()
    used = np.flatnonzero(dense.diagonal() != 0.0)
    if not len(used) or np.linalg.eigvalsh(dense[np.ix_(used, used)])[0] > -1e-6:
        return gram
    values, vectors = np.linalg.eigh(curvature.transpose(2, 0, 1))
    return _gram(rows, np.einsum("rij,rj,rkj->ikr", vectors, np.maximum(values, 0.0), vectors))
