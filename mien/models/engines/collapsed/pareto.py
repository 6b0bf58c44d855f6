"""Pareto smoothing of importance weights, for several runs at once in plain NumPy.

    the largest 3√n weights above their cutoff  ~  generalised Pareto(k, sigma)
    smoothed                                    =  its quantiles at (i − ½)/tail, at most the largest weight
    k-hat                                       >  0.7: means of the weighted points cannot be trusted

The shape is the Bayesian estimate over a grid of the distribution's other parameter, drawn towards 0.5 with the
weight of ten points. arviz-stats has the same; importing it takes over a second, which is more than a fit does, and it
takes log likelihoods, the negative of what is passed here.

References
----------
Vehtari, Simpson, Gelman, Yao & Gabry (2024), https://doi.org/10.48550/arXiv.1507.02646
"""

import numpy as np

__all__ = ["pareto_smooth"]

PRIOR_SHAPE, PRIOR_POINTS = 0.5, 10.0
GRID, GRID_SPREAD = 30, 3.0  # points of the grid beside √tail, and how far it reaches
NO_TAIL = -1.0  # the shape of weights that are all the same: a tail that ends at once
FEWEST = 5


def pareto_smooth(log_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth the largest weights of every run.

    Parameters
    ----------
    log_weight : (run, point), log of importance weights, not negated; −inf is allowed.

    Returns
    -------
    log_weight : (run, point), the largest of each run 0.
    khat : (run,), inf where there are too few points or no finite ones to tell.
    """
    count = log_weight.shape[1]
    tail = int(3.0 * np.sqrt(count)) if count > 225 else count // 5
    largest = log_weight.max(axis=1, keepdims=True, initial=-np.inf)
    result = log_weight - np.where(np.isfinite(largest), largest, 0.0)
    if tail < FEWEST:
        return result, np.full(len(result), np.inf)
    place = np.argsort(result, axis=1)[:, count - tail - 1 :]
    every = np.arange(len(result))[:, None]
    rising = np.exp(result[every, place])
    cutoff, place = rising[:, :1], place[:, 1:]
    excess = rising[:, 1:] - cutoff
    with np.errstate(all="ignore"):  # tails without spread are set apart below
        shape, scale = _fit(excess)
        probability = (np.arange(tail) + 0.5) / tail
        smoothed = np.log(cutoff + scale * np.expm1(-shape * np.log1p(-probability)) / shape)
    good = np.isfinite(smoothed).all(axis=1)
    result[every[good], place[good]] = np.minimum(smoothed[good], 0.0)
    same = np.isfinite(largest[:, 0]) & (excess[:, -1] <= 0.0)
    return result, np.where(good, shape[:, 0], np.where(same, NO_TAIL, np.inf))


def _fit(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape and scale (run, 1) of the generalised Pareto distribution of rising `excess` (run, point)."""
    count = excess.shape[1]
    size = GRID + int(np.sqrt(count))
    grid = 1.0 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    quartile = excess[:, int(count / 4 + 0.5) - 1]
    spread = np.where(quartile > excess[:, 0], quartile, np.nan)[:, None]
    grid = grid / (GRID_SPREAD * spread) + 1.0 / excess[:, -1:]
    shape = np.log1p(-grid[:, :, None] * excess[:, None, :]).mean(axis=2)
    profile = count * (np.log(-grid / shape) - shape - 1.0)
    weight = np.exp(profile - profile.max(axis=1, keepdims=True))
    chosen = (grid * weight).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    shape = np.log1p(-chosen * excess).mean(axis=1, keepdims=True)
    pulled = (count * shape + PRIOR_POINTS * PRIOR_SHAPE) / (count + PRIOR_POINTS)
    return pulled, -shape / chosen
