"""Probabilities below a value, and quantiles, of every family that has them, in closed form.

    below(Normal(0, 1), 1.96)           0.975
    quantile(HalfNormal(1), 0.95)       1.96

Of LKJ it is the correlation of *two* effects: (1 + r) / 2 ~ Beta(eta, eta). Flat and Fixed have no quantiles.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mien.priors.distributions import LKJ, Exponential, HalfNormal, HalfStudentT, LogNormal, Normal, Prior
from mien.study.errors import SpecError

__all__ = ["below", "quantile"]


def below(prior: Prior, x: ArrayLike) -> np.ndarray:
    """Probability below x, element by element; infinite bounds may be asked.

    Raises
    ------
    SpecError
        For a family that has none.
    """
    values = np.asarray(x, dtype=np.float64)
    inside = np.maximum(values, 0.0)
    match prior:
        case Normal(mean, sd):
            return special.ndtr((values - mean) / sd)
        case HalfNormal(sd):
            return special.erf(inside / sd / np.sqrt(2.0))
        case HalfStudentT(df, scale):
            return np.where(np.isinf(inside), 1.0, 2.0 * special.stdtr(df, inside / scale) - 1.0)
        case Exponential(rate):
            return -np.expm1(-rate * inside)
        case LogNormal(mu, sigma):
            logs = np.log(inside, out=np.full_like(inside, -np.inf), where=inside > 0.0)
            return special.ndtr((logs - mu) / sigma)
        case LKJ(eta):
            return special.betainc(eta, eta, np.clip(0.5 * (1.0 + values), 0.0, 1.0))
        case _:
            raise _has_none(prior)


def quantile(prior: Prior, p: ArrayLike) -> np.ndarray:
    """The value that lies above a share p of the prior, element by element.

    Raises
    ------
    SpecError
        For a family that has none.
    """
    share = np.asarray(p, dtype=np.float64)
    match prior:
        case Normal(mean, sd):
            return mean + sd * special.ndtri(share)
        case HalfNormal(sd):
            return sd * np.sqrt(2.0) * special.erfinv(share)
        case HalfStudentT(df, scale):
            return scale * special.stdtrit(df, 0.5 * (1.0 + share))
        case Exponential(rate):
            return -np.log1p(-share) / rate
        case LogNormal(mu, sigma):
            return np.exp(mu + sigma * special.ndtri(share))
        case LKJ(eta):
            return 2.0 * special.betaincinv(eta, eta, share) - 1.0
        case _:
            raise _has_none(prior)


def _has_none(prior: Prior) -> SpecError:
    return SpecError(
        f"quantiles: expected a prior with a density of its own, found {prior!r}: a flat or fixed one has no quantiles."
    )
