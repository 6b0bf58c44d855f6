"""The population that shapes are drawn from, given their estimates: an exact Gibbs sampler in numba.

    estimate_s ~ N(effect_s, error)          error: covariance (shape, shape), known
    effect_s   = region_mean_r(s) + deviation_s
    deviation_s ~ Student-t(df, 0, shape_scale) = N(0, shape_scale² / w_s),  w_s ~ Gamma(df / 2, rate df / 2)
    region_mean_r ~ N(mean, region_sd²)      mean ~ Normal;  shape_scale, region_sd ~ HalfNormal

Given the weights w everything but the two scales is Gaussian and is integrated out: the scales are drawn by slice
sampling of log scale from

    estimate | w, scales ~ N(mean of the prior, error + diag(shape_scale² / w) + region and mean parts)

then all effects and means at once, exactly, then the weights. So the scales never wait for the effects, and no
parameterisation has to be chosen. df = inf is the normal population (w = 1).
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["Population", "PopulationPrior", "Sampling", "sample_population"]

WARM_UP = 300
options = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}


class PopulationPrior(NamedTuple):
    """mean_centre, mean_sd : of the normal prior of the mean; shape_sd, region_sd : of the half-normal priors."""

    mean_centre: float
    mean_sd: float
    shape_sd: float
    region_sd: float


class Sampling(NamedTuple):
    """draws, chains : kept; thin : steps for each that is kept, after a warm-up of 300; seed."""

    draws: int
    chains: int
    thin: int
    seed: np.random.SeedSequence


class Population(NamedTuple):
    """Draws: effect (chain, draw, shape), region_mean (chain, draw, region), the others (chain, draw)."""

    effect: np.ndarray
    region_mean: np.ndarray
    mean: np.ndarray
    shape_scale: np.ndarray
    region_sd: np.ndarray


def sample_population(
    estimate: np.ndarray,
    error: np.ndarray,
    region: np.ndarray,
    *,
    df: float,
    prior: PopulationPrior,
    sampling: Sampling,
) -> Population:
    """Draw everything of the model above; the same seed gives the same draws.

    Parameters
    ----------
    estimate : (shape,); error : (shape, shape), positive definite. region : (shape,) numbers from 0, none left out.
    df : degrees of freedom, np.inf for a normal population.
    """
    regions, shapes = int(region.max()) + 1, len(estimate)
    numbers = np.array([*prior, df])
    root = np.linalg.cholesky(error)

    def one(child: np.random.SeedSequence) -> tuple[np.ndarray, ...]:
        effects = np.empty((sampling.draws, shapes))
        means, others = np.empty((sampling.draws, regions)), np.empty((sampling.draws, 3))
        rng = np.random.default_rng(child)
        _chain(estimate, error, root, region, numbers, rng, sampling.thin, effects, means, others)
        return effects, means, *others.T

    with ThreadPoolExecutor(sampling.chains) as threads:  # which the kernel lets run at once
        found = list(threads.map(one, sampling.seed.spawn(sampling.chains)))
    return Population(*(np.stack(part) for part in zip(*found, strict=True)))


@njit(**options)
def _factor(error, region, weight, shape_scale, region_sd, mean_sd, q):
    """Lower Cholesky factor of the estimates' covariance, into q; the sum of the logs of its diagonal."""
    total = 0.0
    for i in range(q.shape[0]):
        for j in range(i + 1):
            value = error[i, j] + mean_sd**2
            if region[i] == region[j]:
                value += region_sd**2
            if i == j:
                value += shape_scale**2 / weight[i]
            for k in range(j):
                value -= q[i, k] * q[j, k]
            if i == j:
                q[i, i] = math.sqrt(value)
                total += math.log(q[i, i])
            else:
                q[i, j] = value / q[j, j]
    return total


@njit(**options)
def _forward(q, x):
    """Put Q^(-1/2) x in place of x; the sum of its squares."""
    total = 0.0
    for i in range(x.size):
        value = x[i]
        for k in range(i):
            value -= q[i, k] * x[k]
        x[i] = value / q[i, i]
        total += x[i] ** 2
    return total


@njit(**options)
def _backward(q, x):
    """Put Q^(-1/2)' x in place of x."""
    for i in range(x.size - 1, -1, -1):
        value = x[i]
        for k in range(i + 1, x.size):
            value -= q[k, i] * x[k]
        x[i] = value / q[i, i]


@njit(**options)
def _log_density(estimate, error, region, weight, scales, numbers, q, x):
    """Of log shape_scale and log region_sd (`scales`, logs), effects and means integrated out."""
    shape_scale, region_sd = math.exp(scales[0]), math.exp(scales[1])
    log_root = _factor(error, region, weight, shape_scale, region_sd, numbers[1], q)
    for i in range(x.size):
        x[i] = estimate[i] - numbers[0]
    quadratic = _forward(q, x)
    prior = (
        scales[0] - 0.5 * (shape_scale / numbers[2]) ** 2 + scales[1] - 0.5 * (region_sd / numbers[3]) ** 2
    )
    return prior - log_root - 0.5 * quadratic


@njit(**options)
def _slice(place, estimate, error, region, weight, scales, numbers, q, x, rng):  # noqa: PLR0913, PLR0917
    """Move one log scale by slice sampling with stepping out."""
    here = scales[place]
    level = _log_density(estimate, error, region, weight, scales, numbers, q, x) + math.log(
        1.0 - rng.random()
    )
    left = here - rng.random()
    right = left + 1.0
    scales[place] = left
    while _log_density(estimate, error, region, weight, scales, numbers, q, x) > level:
        left -= 1.0
        scales[place] = left
    scales[place] = right
    while _log_density(estimate, error, region, weight, scales, numbers, q, x) > level:
        right += 1.0
        scales[place] = right
    while True:
        proposal = left + (right - left) * rng.random()
        scales[place] = proposal
        if _log_density(estimate, error, region, weight, scales, numbers, q, x) >= level:
            return
        if proposal < here:
            left = proposal
        else:
            right = proposal


@njit(**options)
def _effects(estimate, root, region, weight, scales, numbers, q, x, means, deviations, rng):  # noqa: PLR0913, PLR0917
    """Draw means and deviations: a draw from the prior, moved by what its own simulated estimates miss.

    `q` is the factor at these scales. Returns the mean over regions.
    """
    shapes = estimate.size
    shape_scale, region_sd, mean_sd = math.exp(scales[0]), math.exp(scales[1]), numbers[1]
    mean = numbers[0] + mean_sd * rng.standard_normal()
    for r in range(means.size):
        means[r] = mean + region_sd * rng.standard_normal()
    for i in range(shapes):
        deviations[i] = shape_scale / math.sqrt(weight[i]) * rng.standard_normal()
        x[i] = rng.standard_normal()
    for i in range(shapes - 1, -1, -1):
        noise = 0.0
        for k in range(i + 1):
            noise += root[i, k] * x[k]
        x[i] = estimate[i] - means[region[i]] - deviations[i] - noise
    _forward(q, x)
    _backward(q, x)
    total = 0.0
    for i in range(shapes):
        total += x[i]
    for i in range(shapes):
        deviations[i] += shape_scale**2 / weight[i] * x[i]
    for r in range(means.size):
        means[r] += mean_sd**2 * total
    for i in range(shapes):
        means[region[i]] += region_sd**2 * x[i]
    return mean + mean_sd**2 * total


@njit(**options)
def _chain(estimate, error, root, region, numbers, rng, thin, effects, means, others):  # noqa: PLR0913, PLR0917
    """One chain into effects (draw, shape), means (draw, region) and others (draw, 3): mean, shape scale, region sd."""
    shapes, df = estimate.size, numbers[4]
    q, x, deviations = np.zeros((shapes, shapes)), np.empty(shapes), np.empty(shapes)
    weight, region_mean = np.ones(shapes), np.empty(means.shape[1])
    scales = np.array(
        [
            math.log(numbers[2]) + rng.standard_normal() - 1.0,
            math.log(numbers[3]) + rng.standard_normal() - 1.0,
        ]
    )
    for step in range(WARM_UP + thin * effects.shape[0]):
        _slice(0, estimate, error, region, weight, scales, numbers, q, x, rng)
        _slice(1, estimate, error, region, weight, scales, numbers, q, x, rng)
        mean = _effects(estimate, root, region, weight, scales, numbers, q, x, region_mean, deviations, rng)
        if df < np.inf:
            for i in range(shapes):
                rate = 0.5 * (df + (deviations[i] * math.exp(-scales[0])) ** 2)
                weight[i] = rng.standard_gamma(0.5 * (df + 1.0)) / rate
        if step >= WARM_UP and (step - WARM_UP) % thin == 0:
            at = (step - WARM_UP) // thin
            for i in range(shapes):
                effects[at, i] = region_mean[region[i]] + deviations[i]
            means[at] = region_mean
            others[at, 0] = mean
            others[at, 1] = math.exp(scales[0])
            others[at, 2] = math.exp(scales[1])
