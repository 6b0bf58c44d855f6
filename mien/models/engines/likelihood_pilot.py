"""A quick estimate for a model with another likelihood than the Gaussian, to choose the sampler's coordinates.

Given the standard deviations the joint density of effects and coefficients has one mode, found by Newton's method; with
its curvature the rows are those of a Gaussian model, whose variances `pilot` finds with the effects integrated out
(Laplace's approximation). Twice round is enough: what comes out steers how fast NUTS runs and nothing else.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize
from scipy.sparse import csr_array, diags_array

from mien.models.engines import likelihood_kernel as kernel
from mien.models.engines.gaussian_kernel import Layout, Reference
from mien.models.engines.pilot import Marginal, Search, make_reference
from mien.priors import Fixed, Prior

__all__ = ["LikelihoodPilot", "Priors", "RowModel", "make_likelihood_pilot"]

ROUNDS = 2  # of variances and mode
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
    rows: RowModel, layout: Layout, priors: Priors, start: np.ndarray
) -> LikelihoodPilot:
    """The mode and the coordinates for the sampler; `start` is a guess at w, with effects 0.

    Raises
    ------
    LinAlgError
        When the posterior has a direction without curvature.
    """
    sd = np.array([prior.value if isinstance(prior, Fixed) else 0.3 for prior in priors.sds])
    partial = np.where(priors.partial_free, 0.0, priors.partial_numbers)
    w = start
    for _ in range(ROUNDS):
        w = _mode(rows, layout, priors, sd, partial, w)
        marginal = _marginal(rows, layout, priors, w)
        search = Search(marginal, priors.sds, Fixed(1.0), priors.partial_numbers, priors.partial_free)
        vector = np.concatenate([np.log(sd[search.free_sd]), np.arctanh(partial[priors.partial_free])])
        if len(vector):
            vector = minimize(search.negative_log_density, vector, method="BFGS", options={"gtol": 1e-1}).x
            sd, partial, _ = search.unpack(np.clip(vector, -8.0, 8.0))
            partial = np.clip(partial, -0.95, 0.95)
    w = _mode(rows, layout, priors, sd, partial, w)
    marginal = _marginal(rows, layout, priors, w)
    factors = marginal.factors(sd, partial)
    effects, upper, _ = marginal.posterior(factors, 1.0)
    return LikelihoodPilot(sd, partial, make_reference(marginal, factors, 1.0, effects, upper))


def _marginal(rows: RowModel, layout: Layout, priors: Priors, w: np.ndarray) -> Marginal:
    """The Gaussian model with the slope and curvature of the rows at w."""
    eta = rows.predictors(w)
    _, slope = rows.density(eta)
    gram = _gram(rows, _positive(rows, rows.curvature(eta)))
    moment = gram @ w + sum(matrix.T @ slope[m] for m, matrix in enumerate(rows.columns))
    return Marginal(
        layout, gram, moment, 0.0, len(rows.kind), prior_mean=priors.mean, prior_precision=priors.precision
    )


def _gram(rows: RowModel, curvature: np.ndarray) -> csr_array:
    """Σ A_m' H_mn A_n."""
    total: csr_array | None = None
    for m, left in enumerate(rows.columns):
        for n, right in enumerate(rows.columns):
            part = (left.T @ diags_array(curvature[m, n]) @ right).tocsr()
            total = part if total is None else total + part
    assert total is not None
    return csr_array(total)


def _positive(rows: RowModel, curvature: np.ndarray) -> np.ndarray:
    """The curvature, row by row without its negative directions where all rows together have one."""
    gram = _gram(rows, curvature).toarray()
    used = np.flatnonzero(gram.diagonal() != 0.0)
    lowest = np.linalg.eigvalsh(gram[np.ix_(used, used)])[0] if len(used) else 0.0
    if lowest > -1e-6:
        return curvature
    values, vectors = np.linalg.eigh(curvature.transpose(2, 0, 1))
    kept = np.einsum("rij,rj,rkj->ikr", vectors, np.maximum(values, 0.0), vectors)
    return kept


def _mode(
    rows: RowModel, layout: Layout, priors: Priors, sd: np.ndarray, partial: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """The mode of w given the sds and correlations, by damped Newton steps."""
    shell = _marginal(rows, layout, priors, w)
    prior = shell.prior_root(shell.factors(sd, partial))[0]
    mean = np.zeros(len(w))
    mean[len(w) - len(priors.mean) :] = priors.mean

    def joint(at: np.ndarray) -> float:
        value, _ = rows.density(rows.predictors(at))
        return value - 0.5 * float((at - mean) @ prior @ (at - mean))

    here = joint(w)
    for _ in range(STEPS):
        eta = rows.predictors(w)
        _, slope = rows.density(eta)
        gradient = sum(matrix.T @ slope[m] for m, matrix in enumerate(rows.columns)) - prior @ (w - mean)
        precision = prior + _gram(rows, _positive(rows, rows.curvature(eta))).toarray()
        step = cho_solve((cholesky(precision), False), gradient)
        share, best = 1.0, -np.inf
        while share > 1e-3:
            with np.errstate(all="ignore"):  # far-off points may overflow; they are turned away
                best = joint(w + share * step)
            if np.isfinite(best) and best > here - 1e-9:
                break
            share *= 0.5
        else:
            return w
        w, gained, here = w + share * step, best - here, best
        if gained < CLOSE:
            return w
    return w
