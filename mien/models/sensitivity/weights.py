"""Draws that are weighted again, and what can be told from them.

    weight          exp(log ratio), its tail Pareto-smoothed; `khat` above 0.7: the weighted draws tell nothing
    mcse            draws that share a theta (resampled weighted points) count as one; of chains by their
                    autocorrelation
    sensitivity     gradient of the cumulative Jensen-Shannon distance by log2 alpha, arviz-stats' own

References
----------
Kallioinen, Paananen, Bürkner & Vehtari (2024), https://doi.org/10.1007/s11222-023-10366-5
"""

from typing import Any, NamedTuple

import numpy as np

__all__ = ["ALPHAS", "KHAT", "Weights", "distance_gradient", "mean_and_mcse", "weights_of"]

ALPHAS = (
    0.99,
    1.01,
)  # priorsense's lower_alpha and upper_alpha (its documentation of powerscale_sensitivity)
KHAT = 0.7  # above it weighted draws are not used; Vehtari et al. (2024), see `collapsed.pareto`


class Weights(NamedTuple):
    """weight : (draw,), summing to 1. khat : Pareto shape of their tail."""

    weight: np.ndarray
    khat: float


def weights_of(log_ratio: np.ndarray) -> Weights:
    """Smoothed weights of draws whose target is exp(log_ratio) times what they were drawn from."""
    from mien.models.engines.collapsed.pareto import pareto_smooth

    smoothed, khat = pareto_smooth(log_ratio[None])
    weight = np.exp(smoothed[0])
    return Weights(weight / weight.sum(), float(khat[0]))


def distance_gradient(
    values: np.ndarray, lower: np.ndarray, upper: np.ndarray, alphas: tuple[float, float]
) -> float:
    """Of draws (draw,) and their weights at the lower and upper power."""
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    found: Any = array_stats.power_scale_sense(
        values[None], lower[None], upper[None], lower_alpha=alphas[0], upper_alpha=alphas[1]
    )
    return float(found)


def mean_and_mcse(values: np.ndarray, weight: np.ndarray, point: np.ndarray) -> tuple[float, float]:
    """Weighted mean of draws and its Monte-Carlo error; draws of one point count as one."""
    mean = float(weight @ values)
    share = weight * (values - mean)
    distinct, which = np.unique(point, return_inverse=True)
    if len(distinct) < len(point):
        together = np.bincount(which.ravel(), weights=share)
        return mean, float(np.sqrt(max((together**2).sum(), (share**2).sum())))  # few points: as single draws
    if not np.ptp(share) > 0.0:
        return mean, 0.0
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    series = len(share) * share[None]
    error: Any = array_stats.mcse(series, chain_axis=0, draw_axis=1, method="mean")
    return mean, float(error)
