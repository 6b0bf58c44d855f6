"""Power between the simulated designs: a smooth curve through their shares, with the noise that these have.

One axis: a probit curve,

    power(N) = Φ(a + b·t + c·(t² − 1)),    t = N^λ (log N at λ = 0), standardised,    λ in −1, −½, 0, ½, 1,

fitted for each λ and averaged on the probit scale by likelihood. With known variances the power of a direction is
exactly so with λ = ½ and c = 0, which is why λ = ½ weighs most beforehand and c is held near 0; where stimuli set a
ceiling, λ is smaller. Where the curve cannot follow the shares (`misfit` below .001), and with two or more axes, a
Gaussian process on the logit scale: a plane in the logarithms of the axes and smooth deviations from it, under the
binomial likelihood (Laplace's approximation: the noise of every cell is known), with amplitude and lengths by marginal
likelihood.

Samples of a bootstrap over cohorts are fitted beside the shares themselves: the probit curve anew, each with one λ
taken as often as its likelihood says; the process by one more step from its estimate, with amplitude and lengths held.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, log_ndtr, ndtr, ndtri
from scipy.stats import chi2

__all__ = ["MISFIT", "Surrogate", "surrogate_of"]

POWERS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # λ
BEFOREHAND = (0.1, 0.15, 0.25, 0.4, 0.1)  # their weights; felt with two or three N only
# Of a, b and c with t standardised: next to nothing for a line, so that it stays finite through 0, 0, 1, 1.
PRIOR_SDS = (10.0, 10.0, 0.2)
STEPS, LARGEST_STEP, CLOSE = 100, 1.0, 1e-9
MISFIT = 1e-3  # probability of so large a deviance, below which the probit curve is left: a convention
PARAMETERS = 3
PLANE_SD = 5.0  # prior sd, in logits, of the level and of the slope by one sd of log(axis)
LENGTHS = (0.3, 10.0)  # of deviations, in sds of log(axis)
AMPLITUDES = (1e-4, 25.0)  # variances of deviations, logits²
LAPLACE_STEPS = 8
FLOOR = 1e-4  # of a cell's information about its logit
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class Surrogate(NamedTuple):
    """kind : "probit" or "gaussian process". misfit : probability of so large a deviance of the probit curve; NaN where
    it has no degrees of freedom. power : designs (design, axis) → (1 + samples, design), the shares' own first.
    """

    kind: str
    misfit: float
    power: Callable[[np.ndarray], np.ndarray]


def surrogate_of(designs: np.ndarray, met: np.ndarray, counts: np.ndarray) -> Surrogate:
    """Fit shares and their bootstrap samples.

    Parameters
    ----------
    designs : (cell, axis), of the axes that vary. met, counts : (1 + samples, cell), the rows themselves first.
    """
    misfit = math.nan
    if designs.shape[1] == 1:
        found = _probit(designs[:, 0], met, counts)
        if not found.misfit < MISFIT:
            return found
        misfit = found.misfit
    return _process(designs, met, counts)._replace(misfit=misfit)


# One axis


class _Scaled(NamedTuple):
    """t(N), with mean 0 and sd 1 over the cells."""

    power: float
    shift: float
    center: float
    spread: float

    @staticmethod
    def of(power: float, values: np.ndarray) -> "_Scaled":
        plain = _Scaled(power, 1.0 if values.min() <= 0.0 else 0.0, 0.0, 1.0)
        t = plain(values)
        return plain._replace(center=float(t.mean()), spread=float(t.std()))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        raised = values + self.shift
        t = np.log(raised) if self.power == 0.0 else (raised**self.power - 1.0) / self.power
        return (t - self.center) / self.spread


def _probit(values: np.ndarray, met: np.ndarray, counts: np.ndarray) -> Surrogate:
    scales = [_Scaled.of(power, values) for power in POWERS]
    fits = [_fitted(_columns(scale(values)), met, counts) for scale in scales]
    weights = _weights(np.stack([height for _, height in fits]))

    def power(designs: np.ndarray) -> np.ndarray:
        curves = [
            coefficients @ _columns(scale(designs[:, 0])).T
            for scale, (coefficients, _) in zip(scales, fits, strict=True)
        ]
        return ndtr(sum(weight[:, None] * curve for weight, curve in zip(weights, curves, strict=True)))

    return Surrogate("probit", _misfit(power(values[:, None])[0], met[0], counts[0]), power)


def _columns(t: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(t)), t, t**2 - 1.0])


def _weights(heights: np.ndarray) -> np.ndarray:
    """(λ, sample): of the shares themselves by likelihood; each sample takes one λ, as often as its likelihood says."""
    weights = np.exp(heights - heights.max(axis=0)) * np.array(BEFOREHAND)[:, None]
    weights /= weights.sum(axis=0)
    samples = weights.shape[1] - 1
    turns = (np.arange(samples) + 0.5) / max(samples, 1)
    below = np.cumsum(weights[:, 1:], axis=0) - weights[:, 1:]
    chosen = (below <= turns).sum(axis=0) - 1
    weights[:, 1:] = np.arange(len(weights))[:, None] == chosen
    return weights


def _fitted(x: np.ndarray, met: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every sample (a, b, c) and the logarithm of the likelihood with the prior there, by Newton's steps.

    Both are concave; steps are cut where they would be long.
    """
    missed, precision = counts - met, np.diag(1.0 / np.square(PRIOR_SDS))
    coefficients = np.zeros((len(met), x.shape[1]))
    coefficients[:, 0] = ndtri((met.sum(axis=1) + 0.5) / (counts.sum(axis=1) + 1.0))
    for _ in range(STEPS):
        eta = coefficients @ x.T
        log_density = -0.5 * eta**2 - HALF_LOG_2PI
        up, down = np.exp(log_density - log_ndtr(eta)), np.exp(log_density - log_ndtr(-eta))
        slope = (met * up - missed * down) @ x - coefficients @ precision
        bend = met * up * (up + eta) + missed * down * (down - eta)
        step = np.linalg.solve((bend[:, None, :] * x.T) @ x + precision, slope[..., None])[..., 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        coefficients += step / np.maximum(1.0, longest / LARGEST_STEP)
        if longest.max() < CLOSE:
            break
    eta = coefficients @ x.T
    height = (met * log_ndtr(eta) + missed * log_ndtr(-eta)).sum(axis=1)
    return coefficients, height - 0.5 * (coefficients**2 @ precision).sum(axis=1)


def _misfit(power: np.ndarray, met: np.ndarray, counts: np.ndarray) -> float:
    freedom = len(met) - PARAMETERS
    if freedom < 1:
        return math.nan
    share, missed = met / counts, counts - met
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(met > 0, met * np.log(share / power), 0.0)
        terms += np.where(missed > 0, missed * np.log((1.0 - share) / (1.0 - power)), 0.0)
    return float(chi2.sf(2.0 * terms.sum(), freedom))


# Several axes


class _Logarithms(NamedTuple):
    """log(axis), or log(1 + axis) where it can be 0, with mean 0 and sd 1 over the cells."""

    shift: np.ndarray
    center: np.ndarray
    spread: np.ndarray

    @staticmethod
    def of(designs: np.ndarray) -> "_Logarithms":
        shift = np.where(designs.min(axis=0) <= 0.0, 1.0, 0.0)
        raised = np.log(designs + shift)
        return _Logarithms(shift, raised.mean(axis=0), raised.std(axis=0))

    def __call__(self, designs: np.ndarray) -> np.ndarray:
        return (np.log(designs + self.shift) - self.center) / self.spread


def _process(designs: np.ndarray, met: np.ndarray, counts: np.ndarray) -> Surrogate:
    """Laplace's approximation by steps of scikit-learn's Gaussian process on working responses."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

    regressor: Any = GaussianProcessRegressor
    scale = _Logarithms.of(designs)
    x = scale(designs)
    lengths: Any = np.ones(designs.shape[1])
    kernel: Any = ConstantKernel(PLANE_SD**2, "fixed") * DotProduct(1.0, "fixed")
    kernel = kernel + ConstantKernel(0.25, AMPLITUDES) * RBF(lengths, LENGTHS)
    share = (met[0] + 0.5) / (counts[0] + 1.0)
    f = np.log(share / (1.0 - share))
    for step in range(LAPLACE_STEPS):
        working, noise = _working(f, met[:1], counts[:1])
        search = "fmin_l_bfgs_b" if step < LAPLACE_STEPS // 2 else None  # then lengths are held and f settles
        process = regressor(kernel, alpha=noise, optimizer=search)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of lengths at their bounds: a plane, or an axis that does not matter
            process.fit(x, working[0])
        kernel, f = process.kernel_, process.predict(x)
    working, noise = _working(f, met, counts)
    process = regressor(kernel, alpha=noise, optimizer=None).fit(x, working.T)

    def power(others: np.ndarray) -> np.ndarray:
        return expit(process.predict(scale(others)).reshape(len(others), len(met))).T

    return Surrogate("gaussian process", math.nan, power)


def _working(f: np.ndarray, met: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Working responses (sample, cell) about the logits f, and their noise, the first sample's."""
    p = expit(f)
    information = np.maximum(p * (1.0 - p), FLOOR)
    noise = 1.0 / np.maximum(counts[0] * information, FLOOR)
    return f + (met / np.maximum(counts, 1.0) - p) / information, noise
