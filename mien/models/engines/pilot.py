"""A quick estimate of one outcome's hyperparameters, to choose the sampler's coordinates.

The effects are integrated out (log density of a Gaussian mixed model given its variances) and the mode over log
sds, hyperbolic partial correlations and log sigma is found by BFGS, priors included. What comes out steers how
fast NUTS runs and nothing else: the sampled density is exact for any centring, any ŵ and any C.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import csr_array

from mien.models.engines import gaussian_kernel as kernel
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Prior

__all__ = ["Marginal", "Pilot", "Rows", "Search", "make_pilot", "make_reference", "partial_numbers"]


class Rows(NamedTuple):
    """One outcome: W (row, effect) sparse, already multiplied by the row's precision root, and y likewise."""

    columns: csr_array
    outcome: np.ndarray


class Pilot(NamedTuple):
    """The estimate and the coordinates chosen from it."""

    sd: np.ndarray
    partial: np.ndarray
    sigma: float
    statistics: kernel.Statistics
    reference: kernel.Reference


class Marginal:
    """log p(y | θ) with the effects integrated out, for a layout and priors.

    gram, moment, square, count : W'W, W'y, y'y and the number of rows.
    """

    def __init__(
        self, layout: kernel.Layout, gram: csr_array, moment: np.ndarray, square: float, count: int,
        *, prior_mean: np.ndarray, prior_precision: np.ndarray,
    ) -> None:  # fmt: skip
        self.layout = layout
        self.prior_mean, self.prior_precision = prior_mean, prior_precision
        self.gram, self.dense = gram, gram.toarray()
        self.moment, self.square, self.count = moment, square, count

    def factors(self, sd: np.ndarray, partial: np.ndarray) -> list[np.ndarray]:
        """Λ of every block: diag(sd) times the Cholesky factor of the correlations."""
        layout = self.layout
        return [
            sd[first : first + k, None] * kernel.correlation_cholesky(partial, first_partial, int(k))
            for first, k, first_partial in zip(
                layout.first_sd, layout.terms, layout.first_partial, strict=True
            )
        ]

    def prior_root(self, factors: list[np.ndarray]) -> tuple[np.ndarray, float]:
        """The prior's precision matrix of all effects, and its log determinant (flat directions left out)."""
        precision = np.zeros_like(self.dense)
        log_determinant = 0.0
        for factor, start, levels in zip(factors, self.layout.start, self.layout.levels, strict=True):
            k = len(factor)
            inverse = solve_triangular(factor, np.eye(k), lower=True)
            block = inverse.T @ inverse
            for i in range(k):
                for j in range(k):
                    at = start + k * np.arange(levels)
                    precision[at + i, at + j] = block[i, j]
            log_determinant -= 2.0 * levels * np.log(np.diag(factor)).sum()
        first = int(self.layout.coefficients[0])
        at = np.arange(first, first + len(self.prior_precision))
        precision[at, at] = self.prior_precision
        return precision, log_determinant

    def posterior(self, factors: list[np.ndarray], sigma: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and upper Cholesky factor of the precision of the effects, and log p(y | θ) up to a constant."""
        precision, log_determinant = self.prior_root(factors)
        pull = self.moment / sigma**2
        first = int(self.layout.coefficients[0])
        pull[first : first + len(self.prior_mean)] += self.prior_precision * self.prior_mean
        upper = cholesky(precision + self.dense / sigma**2, lower=False, check_finite=False)
        mean = cho_solve((upper, False), pull, check_finite=False)
        fixed = (self.prior_precision * self.prior_mean**2).sum()
        value = (
            -self.count * np.log(sigma)
            + 0.5 * log_determinant
            - np.log(np.diag(upper)).sum()
            - 0.5 * (self.square / sigma**2 + fixed - pull @ mean)
        )
        return mean, upper, float(value)


def _log_prior(prior: Prior, log_value: float) -> float:
    """Log density of a positive parameter on the log scale, Jacobian included."""
    value = np.exp(log_value)
    match prior:
        case HalfNormal(sd):
            return log_value - 0.5 * (value / sd) ** 2
        case HalfStudentT(df, scale):
            return log_value - 0.5 * (df + 1) * np.log1p((value / scale) ** 2 / df)
        case Exponential(rate):
            return log_value - rate * value
        case _:
            return 0.0


class Search:
    """The unconstrained vector: log of free sds, free hyperbolic partials, log sigma if free."""

    def __init__(self, marginal: Marginal, priors, sigma_prior, partial_numbers, partial_free) -> None:
        self.marginal, self.priors, self.sigma_prior = marginal, priors, sigma_prior
        self.free_sd = np.array([not isinstance(prior, Fixed) for prior in priors], dtype=bool)
        self.sd = np.array([prior.value if isinstance(prior, Fixed) else 1.0 for prior in priors])
        self.partial_numbers, self.partial_free = partial_numbers, partial_free

    def start(self) -> np.ndarray:
        """Where to begin: sds a part of what the coefficients leave."""
        spread = np.sqrt(max(self.marginal.square / max(self.marginal.count, 1), 1e-300))
        deviation = self.residual_sd(spread)
        grams = self.marginal.dense.diagonal()
        sds = []
        for first, levels, k in zip(
            self.marginal.layout.start, self.marginal.layout.levels, self.marginal.layout.terms, strict=True
        ):
            for j in range(k):
                mean_square = grams[first + j : first + levels * k : k].sum() / max(self.marginal.count, 1)
                sds.append(np.log(0.4 * deviation / np.sqrt(max(mean_square, 1e-12))))
        parts = [np.array(sds)[self.free_sd], np.zeros(int(self.partial_free.sum()))]
        if not isinstance(self.sigma_prior, Fixed):
            parts.append(np.array([np.log(0.8 * deviation)]))
        return np.concatenate(parts)

    def residual_sd(self, spread: float) -> float:
        """Root mean square after least squares on the coefficients alone."""
        first = int(self.marginal.layout.coefficients[0])
        gram, moment = self.marginal.dense[first:, first:], self.marginal.moment[first:]
        if not len(moment):
            return spread
        left = self.marginal.square - moment @ np.linalg.lstsq(gram, moment, rcond=None)[0]
        return float(np.sqrt(max(left, 1e-10 * self.marginal.square) / max(self.marginal.count, 1)))

    def unpack(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Sds, partial correlations and sigma."""
        sd, partial = self.sd.copy(), self.partial_numbers.copy()
        ends = np.cumsum([self.free_sd.sum(), self.partial_free.sum()])
        sd[self.free_sd] = np.exp(vector[: ends[0]])
        partial[self.partial_free] = np.tanh(vector[ends[0] : ends[1]])
        sigma = self.sigma_prior.value if isinstance(self.sigma_prior, Fixed) else float(np.exp(vector[-1]))
        return sd, partial, sigma

    def negative_log_density(self, vector: np.ndarray) -> float:
        """Of the vector, up to a constant; very large where it has none."""
        if np.abs(vector).max(initial=0.0) > 40.0:
            return 1e30
        sd, partial, sigma = self.unpack(vector)
        partial = np.clip(partial, -0.999, 0.999)
        try:
            with np.errstate(all="ignore"):  # far-off points may overflow; they are turned away below
                value = self.marginal.posterior(self.marginal.factors(sd, partial), sigma)[2]
        except (np.linalg.LinAlgError, ValueError):
            return 1e30
        value += sum(_log_prior(prior, np.log(s)) for prior, s in zip(self.priors, sd, strict=True))
        value += _log_prior(self.sigma_prior, np.log(sigma))
        value += (self.partial_numbers * np.log1p(-(partial**2)))[self.partial_free].sum()
        return -value if np.isfinite(value) else 1e30


def partial_numbers(prior: Prior, k: int) -> list[float]:
    """For LKJ the exponents alpha of (1 − p²), one a partial correlation; for Fixed the values themselves."""
    pairs = [(i, j) for i in range(k) for j in range(i)]
    if isinstance(prior, Fixed):
        factor = np.linalg.cholesky(np.full((k, k), prior.value) + (1 - prior.value) * np.eye(k))
        return [float(factor[i, j] / np.sqrt(1 - (factor[i, :j] ** 2).sum())) for i, j in pairs]
    assert isinstance(prior, LKJ)
    return [prior.eta + (k - 2 - j) / 2 for _, j in pairs]


def make_pilot(
    rows: Rows, layout: kernel.Layout, *, priors, sigma_prior, partial_numbers, partial_free,
    prior_mean: np.ndarray, prior_precision: np.ndarray,
) -> Pilot:  # fmt: skip
    """The mode, the statistics around it, and the coordinates for the sampler."""
    columns, outcome = rows
    marginal = Marginal(
        layout, (columns.T @ columns).tocsr(), columns.T @ outcome, float(outcome @ outcome), len(outcome),
        prior_mean=prior_mean, prior_precision=prior_precision,
    )  # fmt: skip
    search = Search(marginal, priors, sigma_prior, partial_numbers, partial_free)
    best = search.start()
    if len(best):
        best = minimize(search.negative_log_density, best, method="BFGS", options={"gtol": 1e-2}).x
    sd, partial, sigma = search.unpack(best)
    partial = np.clip(partial, -0.999, 0.999)
    factors = marginal.factors(sd, partial)
    effects, upper, _ = marginal.posterior(factors, sigma)
    return Pilot(
        sd, partial, sigma,
        _statistics(rows, marginal, effects),
        make_reference(marginal, factors, sigma, effects, upper),
    )  # fmt: skip


def _statistics(rows: Rows, marginal: Marginal, effects: np.ndarray) -> kernel.Statistics:
    left = rows.outcome - rows.columns @ effects
    gram = marginal.gram
    return kernel.Statistics(
        gram.data.astype(np.float64), gram.indices.astype(np.int64), gram.indptr.astype(np.int64),
        rows.columns.T @ left, np.array([left @ left, float(len(left))]),
        marginal.prior_mean, marginal.prior_precision,
    )  # fmt: skip


def make_reference(
    marginal: Marginal, factors: list[np.ndarray], sigma: float, effects: np.ndarray, upper: np.ndarray
) -> kernel.Reference:
    """Information of an average level, estimates without shrinkage, and C from the effects' posterior."""
    layout = marginal.layout
    whiten = solve_triangular(upper, np.eye(len(effects)), lower=False, check_finite=False)  # cov = C C'
    naive = effects.copy()
    information = marginal.dense.diagonal()
    log_information = np.zeros(int(layout.terms.sum()))
    for b, factor in enumerate(factors):
        start, levels, k = int(layout.start[b]), int(layout.levels[b]), int(layout.terms[b])
        own = slice(start, start + levels * k)
        h = np.maximum(information[own].reshape(levels, k).mean(axis=0), 1e-12)
        log_information[int(layout.first_sd[b]) : int(layout.first_sd[b]) + k] = np.log(h)
        deviation = np.diag(factor)
        share = np.maximum(deviation**2 * h / (deviation**2 * h + sigma**2), 1e-3)
        spread = deviation * np.sqrt(1.0 - np.minimum(share, 1.0 - 1e-12))
        # u_j − (1 − λ_j) μ_j for all j, with μ_j = weights · (the effects before j)
        inverse = np.linalg.inv(factor)
        apart = np.eye(k)
        for j in range(1, k):
            apart[j, :j] = -(1.0 - share[j]) * (factor[j, :j] @ inverse[:j, :j])
        naive[own] = ((effects[own].reshape(levels, k) @ apart.T) / share).ravel()
        columns = whiten[own].reshape(levels, k, -1)
        whiten[own] = np.matmul(apart / spread[:, None], columns).reshape(levels * k, -1)
    sparse = csr_array(np.where(np.abs(whiten) > 1e-14 * np.abs(whiten).max(), whiten, 0.0))
    return kernel.Reference(
        effects, naive, sparse.data, sparse.indices.astype(np.int64), sparse.indptr.astype(np.int64),
        log_information,
    )  # fmt: skip
