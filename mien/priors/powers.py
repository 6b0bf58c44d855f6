"""Priors to a power: a prior density p(x) raised to alpha and normalised again, which stays in its family.

    prior                 to the power alpha
    Normal(mean, sd)      Normal(mean, sd / √alpha)
    HalfNormal(sd)        HalfNormal(sd / √alpha)
    HalfStudentT(ν, s)    HalfStudentT(ν', s'), ν' = alpha (ν + 1) − 1 and s'² = ν s² / ν'
    Exponential(rate)     Exponential(alpha · rate)
    LogNormal(μ, σ)       LogNormal(μ + (1 − alpha) σ² / alpha, σ / √alpha)
    LKJ(η)                LKJ(alpha (η − 1) + 1)
    Flat, Fixed           as they are

alpha = 2 counts a prior twice, alpha = 1/2 counts it half. Which density is raised matters where a parameter has a
scale of its own: that of x itself in all families above (of an sd, of a variance, of a correlation matrix), and that
of the scale on which a prior is normal where `resolution` puts it on one (atanh(rho), links of further parameters).
"""

import math

import numpy as np

from mien.priors.distributions import (
    LKJ,
    Exponential,
    Fixed,
    Flat,
    HalfNormal,
    HalfStudentT,
    LogNormal,
    Normal,
    Prior,
)
from mien.study.errors import SpecError

__all__ = ["log_density", "power_scaled"]

LOG_2PI = math.log(2.0 * math.pi)


def power_scaled(prior: Prior, alpha: float) -> Prior:  # noqa: PLR0911  (one a family)
    """The prior whose density is proportional to that of `prior` to the power `alpha`.

    Raises
    ------
    SpecError
        For an alpha that is not above 0, or at which the density cannot be normalised (a half-t with
        alpha (df + 1) ≤ 1, an LKJ with alpha (eta − 1) ≤ −1).
    """
    if not (math.isfinite(alpha) and alpha > 0.0):
        raise SpecError(f"power_scaled: expected a power above 0, found {alpha!r}.")
    root = math.sqrt(alpha)
    match prior:
        case Normal(mean, sd):
            return Normal(mean, sd / root)
        case HalfNormal(sd):
            return HalfNormal(sd / root)
        case HalfStudentT(df, scale):
            own = alpha * (df + 1.0) - 1.0
            _refuse_improper(prior, alpha, own)
            return HalfStudentT(own, scale * math.sqrt(df / own))
        case Exponential(rate):
            return Exponential(alpha * rate)
        case LogNormal(mu, sigma):
            return LogNormal(mu + (1.0 - alpha) * sigma**2 / alpha, sigma / root)
        case LKJ(eta):
            own = alpha * (eta - 1.0) + 1.0
            _refuse_improper(prior, alpha, own)
            return LKJ(own)
        case Flat() | Fixed():
            return prior


def _refuse_improper(prior: Prior, alpha: float, own: float) -> None:
    if own <= 0.0:
        raise SpecError(
            f"power_scaled: expected a density that can be normalised, found {prior!r} to the power {alpha:g}, which "
            "cannot: take a power nearer to 1."
        )


def log_density(prior: Prior, x: np.ndarray | float) -> np.ndarray:
    """Log density at x, element by element; −inf where a positive quantity is negative.

    Normalised, but for LKJ: x is then the log determinant of the correlation matrix, and the constant, which depends
    on the number of correlated effects, is left out. Flat and Fixed say nothing of x: 0.
    """
    x = np.asarray(x, dtype=np.float64)
    match prior:
        case Normal(mean, sd):
            return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * LOG_2PI
        case LKJ(eta):
            return (eta - 1.0) * x
        case Flat() | Fixed():
            return np.zeros_like(x)
        case LogNormal(mu, sigma):
            inside = x > 0.0
            log_x = np.log(np.where(inside, x, 1.0))
            value = -0.5 * ((log_x - mu) / sigma) ** 2 - log_x - math.log(sigma) - 0.5 * LOG_2PI
            return np.where(inside, value, -np.inf)
        case _:
            return np.where(x >= 0.0, _log_half(prior, x), -np.inf)


def _log_half(prior: HalfNormal | HalfStudentT | Exponential, x: np.ndarray) -> np.ndarray:
    """Log densities on x ≥ 0 of the families for standard deviations."""
    match prior:
        case HalfNormal(sd):
            return math.log(2.0 / sd) - 0.5 * LOG_2PI - 0.5 * (x / sd) ** 2
        case HalfStudentT(df, scale):
            constant = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(df * math.pi)
            return math.log(2.0 / scale) + constant - 0.5 * (df + 1.0) * np.log1p((x / scale) ** 2 / df)
        case Exponential(rate):
            return math.log(rate) - rate * x
