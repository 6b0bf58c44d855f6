"""A member of a family that says what was answered: mass in an interval, quantiles, chips in bins, draws.

    answer                      free numbers = answers   fewer answers               more answers
    mass in an interval         the one with that mass   maximum entropy (PreliZ)
    quantiles                   exact                                                least squares of the quantiles
    shares below edges (chips)  exact                                                least squares of the shares
    draws                                                                            maximum likelihood

Everything is done on a unit scale and put back, so that coefficients of 1e-4 are found like those of 1. Quantiles of a
log-normal are compared on the log. PreliZ's own roulette is not used: it compares shares with densities, which
differ by the width of a bin.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, NamedTuple, cast

import numpy as np
from scipy import optimize, special

from mien.priors.distributions import (
    LKJ,
    Exponential,
    HalfNormal,
    HalfStudentT,
    LogNormal,
    Normal,
    Prior,
)
from mien.priors.quantiles import below, quantile
from mien.priors.resolution import ALLOWED, scaled
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = [
    "DF", "FAMILIES", "HALVES", "Fitted", "elicitable", "family_named", "fit_cumulative", "fit_draws", "fit_mass",
    "fit_quantiles", "free_numbers", "root_of", "tidy",
]  # fmt: skip

DF = 4.0  # of a half-t whose degrees of freedom nobody asked for: that of the library's residual sd
DF_RANGE = (1.0, 200.0)  # looked through where quantiles decide them
DIGITS = 6  # significant ones that are kept
POSITIVE = ("loading_sd", "uniqueness", "between_loading_sd", "between_uniqueness")
FAMILIES = (Normal, HalfNormal, HalfStudentT, Exponential, LogNormal, LKJ)
HALVES = (HalfNormal, HalfStudentT, Exponential)

type Family = type[Prior]


class Fitted(NamedTuple):
    """prior; method : how it was found, in words; library : that did it, with its version."""

    prior: Prior
    method: str
    library: str


def elicitable(role: str) -> tuple[Family, ...]:
    """The families that a prior of this role can have, the usual one first."""
    if role in POSITIVE:
        return (LogNormal,)
    kinds = ALLOWED.get(role.removeprefix("link_"), (Normal,))
    return tuple(kind for kind in kinds if kind in FAMILIES)


def family_named(family: str | None, role: str) -> Family | None:
    """The family of this name; None where none was asked for.

    Raises
    ------
    SpecError
        For one that a prior of this role cannot have.
    """
    known = {kind.__name__: kind for kind in elicitable(role)}
    if family is None:
        return None
    if family not in known:
        raise SpecError(
            f"family: expected one that a prior of {role} can have ({', '.join(known)}), found {family!r}"
            f"{nearest(str(family), list(known))}."
        )
    return known[family]


# Mass in an interval


def fit_mass(
    family: Family, interval: tuple[float, float], mass: float, *, df: float = DF, mean: float | None = None
) -> Fitted:
    """The member with this mass in the interval: of several, that of largest entropy.

    Parameters
    ----------
    interval : infinite where there is no bound.
    df : of a half-t. mean : of a normal, where it is known.

    Raises
    ------
    SpecError
        Where no member has that mass, or too little was said to choose one.
    """
    if family is LKJ:
        return _correlation(interval, mass)
    free = (family is Normal and mean is None) or family is LogNormal
    if free and (not all(map(math.isfinite, interval)) or (family is LogNormal and interval[0] <= 0.0)):
        raise SpecError(
            f"statement: expected two bounds, found one: infinitely many {family.__name__} priors have that mass"
            f"{', give average= as well.' if family is Normal else '; give the other bound, or quantiles.'}"
        )
    if free:
        return _maximum_entropy(family, interval, mass)
    unit = _unit(interval if mean is None else tuple(edge - mean for edge in interval))
    at = 0.0 if mean is None else mean / unit
    shape = {Normal: Normal(at, 1.0), HalfNormal: HalfNormal(1.0), HalfStudentT: HalfStudentT(df, 1.0)}.get(
        family, Exponential(1.0)
    )
    edges = tuple(edge / unit for edge in interval)
    scale = _scale_with_mass(lambda s: _spread(shape, s), edges, mass)
    return Fitted(
        tidy(scaled(_spread(shape, scale), unit)),
        f"the one {family.__name__} prior with that mass" + (f" and {df:g} degrees of freedom" if family is HalfStudentT
                                                             else f" around {mean:g}" if mean is not None else ""),
        f"scipy {version('scipy')}",
    )  # fmt: skip


def _unit(interval: Sequence[float]) -> float:
    """The size of what was answered."""
    finite = [abs(edge) for edge in interval if math.isfinite(edge) and edge != 0.0]
    if not finite:
        raise SpecError(
            f"statement: expected a bound that is not 0, found {interval}: the scale is not said."
        )
    return max(finite)


def _spread(prior: Prior, factor: float) -> Prior:
    """Wider by a factor about its own mean; the half families are."""
    return Normal(prior.mean, prior.sd * factor) if isinstance(prior, Normal) else scaled(prior, factor)


def _mass(prior: Prior, interval: Sequence[float]) -> float:
    lower, upper = below(prior, interval)
    return float(upper - lower)


def _scale_with_mass(member: Callable[[float], Prior], interval: Sequence[float], mass: float) -> float:
    """The largest scale with that mass: entropy grows with the scale."""
    logs = np.linspace(-14.0, 14.0, 561)
    masses = np.array([_mass(member(math.exp(log)), interval) for log in logs])
    inside = np.flatnonzero(masses >= mass)
    if not len(inside) or inside[-1] == len(logs) - 1:
        raise SpecError(
            f"statement: expected a probability that this family can give the interval (at most {masses.max():.3g}, at "
            f"least {masses[-1]:.3g}), found {mass:g}: move the bounds, or take another family."
        )
    place = int(inside[-1])

    def miss(log: float) -> float:
        return _mass(member(math.exp(log)), interval) - mass

    return math.exp(root_of(miss, logs[place], logs[place + 1]))


def _correlation(interval: tuple[float, float], mass: float) -> Fitted:
    """LKJ: of two effects, symmetric about 0."""
    lower, upper = interval
    if not (0.0 < upper < 1.0 and math.isclose(-lower, upper)):
        raise SpecError(
            f"statement: expected bounds −r and r of a correlation below 1, found {lower:g} and {upper:g}: an LKJ "
            "prior is symmetric about 0."
        )

    def miss(log: float) -> float:
        return _mass(LKJ(math.exp(log)), interval) - mass

    try:
        eta = math.exp(root_of(miss, -7.0, 10.0))
    except ValueError:
        raise SpecError(
            f"statement: expected a probability that an LKJ prior can give the interval, found {mass:g}."
        ) from None
    return Fitted(
        tidy(LKJ(eta)), "the one LKJ prior with that mass, of two effects", f"scipy {version('scipy')}"
    )


def _maximum_entropy(family: Family, interval: tuple[float, float], mass: float) -> Fitted:
    """Of all members with that mass the one of largest entropy."""
    import preliz  # loads PyMC

    lower, upper = interval
    unit = upper - lower if family is Normal else math.sqrt(lower * upper)
    centre = 0.5 * (lower + upper) if family is Normal else 0.0
    asked = preliz.Normal() if family is Normal else preliz.LogNormal()
    edges = [(edge - centre) / unit for edge in interval]
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"\s*The requested mass", category=UserWarning
        )  # checked below
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # of steps that the optimiser then leaves
        maxent: Any = preliz.maxent
        found = maxent(asked, lower=edges[0], upper=edges[1], mass=mass, plot=False)
    first, second = (float(value) for value in found.params)
    if family is Normal:
        prior: Prior = Normal(centre + unit * round(first, 4), unit * second)  # the middle, by symmetry
    else:
        prior = LogNormal(math.log(unit) + first, second)
    if not math.isclose(_mass(prior, interval), mass, abs_tol=1e-3):
        raise SpecError(
            f"statement: expected a {family.__name__} prior with mass {mass:g} between {lower:g} and {upper:g}, found "
            f"none (PreliZ came to {_mass(prior, interval):.3g}): give quantiles instead."
        )
    return Fitted(tidy(prior), "maximum entropy with that mass", f"preliz {version('preliz')}")


# Quantiles


def fit_quantiles(family: Family, p: np.ndarray, values: np.ndarray, *, df: float | None = None) -> Fitted:
    """The member whose quantiles at p come nearest to the values, exactly where there are as many as free numbers.

    Parameters
    ----------
    df : of a half-t; None lets two or more quantiles decide.

    Raises
    ------
    SpecError
        For fewer answers than free numbers.
    """
    free = free_numbers(family, df, len(p))
    if len(p) < free:
        raise SpecError(
            f"quantiles: expected at least {free} for a {family.__name__} prior, found {len(p)}: give another, or a "
            "statement."
        )
    method = "quantiles met exactly" if len(p) == free else "least squares of the quantiles"
    if family is HalfStudentT:
        chosen = (df or DF) if free == 1 else _degrees(p, values)
        prior: Prior = HalfStudentT(chosen, _slope(quantile(HalfStudentT(chosen, 1.0), p), values))
    elif family is Normal:
        sd, mean = np.polyfit(special.ndtri(p), values, 1)
        prior = Normal(float(mean), float(sd))
    elif family is LogNormal:
        sigma, mu = np.polyfit(special.ndtri(p), np.log(values), 1)
        prior = LogNormal(float(mu), float(sigma))
    elif family is LKJ:
        prior = LKJ(_searched(lambda eta: quantile(LKJ(eta), p) - values, (0.05, 500.0)))
    else:
        unit = HalfNormal(1.0) if family is HalfNormal else Exponential(1.0)
        prior = scaled(unit, _slope(quantile(unit, p), values))
    return Fitted(tidy(prior), method, f"scipy {version('scipy')}")


def free_numbers(family: Family, df: float | None, answers: int) -> int:
    """How many numbers of a family the answers decide."""
    if family is HalfStudentT:
        return 2 if df is None and answers > 1 else 1
    return 2 if family in (Normal, LogNormal) else 1


def _slope(unit: np.ndarray, values: np.ndarray) -> float:
    return float(unit @ values / (unit @ unit))


def _degrees(p: np.ndarray, values: np.ndarray) -> float:
    def misses(df: float) -> np.ndarray:
        unit = quantile(HalfStudentT(df, 1.0), p)
        return _slope(unit, values) * unit - values

    return _searched(misses, DF_RANGE)


def _searched(misses: Callable[[float], np.ndarray], bounds: tuple[float, float]) -> float:
    """The positive number at which the root mean square miss is smallest."""
    found = optimize.minimize_scalar(
        lambda log: float(np.linalg.norm(misses(math.exp(log)))),
        bounds=tuple(map(math.log, bounds)), method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    return math.exp(found.x)


# Shares below edges


def fit_cumulative(family: Family, edges: np.ndarray, shares: np.ndarray, *, df: float = DF) -> Fitted:
    """The member whose probabilities below the edges come nearest to the shares."""
    interior = (shares > 0.0) & (shares < 1.0)
    start = fit_quantiles(family, shares[interior], edges[interior], df=df).prior
    member, vector = _parameters(start)
    unit = float(np.ptp(edges))
    step = np.array([unit if isinstance(start, Normal) and i == 0 else 1.0 for i in range(len(vector))])

    def misses(moved: np.ndarray) -> np.ndarray:
        return below(member(vector + step * moved), edges) - shares

    found = optimize.least_squares(misses, np.zeros(len(vector)), x_scale=0.1, xtol=1e-12, ftol=1e-12)
    return Fitted(
        tidy(member(vector + step * found.x)), "least squares of the shares below the edges",
        f"scipy {version('scipy')}",
    )  # fmt: skip


def _parameters(prior: Prior) -> tuple[Callable[[np.ndarray], Prior], np.ndarray]:
    """A prior's free numbers on the whole line, and the way back."""
    match prior:
        case Normal(mean, sd):
            return lambda v: Normal(float(v[0]), math.exp(v[1])), np.array([mean, math.log(sd)])
        case LogNormal(mu, sigma):
            return lambda v: LogNormal(float(v[0]), math.exp(v[1])), np.array([mu, math.log(sigma)])
        case LKJ(eta):
            return lambda v: LKJ(math.exp(v[0])), np.array([math.log(eta)])
        case _:
            return lambda v: scaled(prior, math.exp(v[0])), np.zeros(1)


# Draws


def fit_draws(family: Family, draws: np.ndarray, *, df: float = DF) -> Fitted:
    """The member of largest likelihood."""
    if family is Normal:
        prior: Prior = Normal(float(draws.mean()), float(draws.std()))
    elif family is HalfNormal:
        prior = HalfNormal(float(np.sqrt(np.mean(draws**2))))
    elif family is Exponential:
        prior = Exponential(float(1.0 / draws.mean()))
    elif family is LogNormal:
        logs = np.log(draws)
        prior = LogNormal(float(logs.mean()), float(logs.std()))
    elif family is LKJ:
        prior = LKJ(_likeliest_eta(draws))
    else:
        prior = HalfStudentT(df, _likeliest_scale(draws, df))
    return Fitted(tidy(prior), "maximum likelihood", f"scipy {version('scipy')}")


def _likeliest_eta(draws: np.ndarray) -> float:
    """The score of LKJ(eta): 2 (ψ(2 eta) − ψ(eta)) + mean log((1 − r²) / 4) = 0."""
    mean = float(np.mean(np.log1p(-(draws**2)))) - math.log(4.0)

    def score(log: float) -> float:
        eta = math.exp(log)
        return 2.0 * (special.digamma(2.0 * eta) - special.digamma(eta)) + mean

    return math.exp(root_of(score, -12.0, 20.0))


def _likeliest_scale(draws: np.ndarray, df: float) -> float:
    """The score of a scaled t: mean of (df + 1) x² / (df s² + x²) = 1."""
    unit = float(np.sqrt(np.mean(draws**2)))
    squares = (draws / unit) ** 2

    def score(log: float) -> float:
        return float(np.mean((df + 1.0) * squares / (df * math.exp(2.0 * log) + squares))) - 1.0

    return unit * math.exp(root_of(score, -15.0, 15.0))


def tidy(prior: Prior) -> Prior:
    """Six significant digits; of a mean, to a millionth of the sd."""
    numbers = {name: float(value) for name, value in asdict(prior).items()}
    widths = {"mean": numbers.get("sd", 1.0), "mu": numbers.get("sigma", 1.0)}
    return replace(
        prior, **{name: _rounded(value, widths.get(name, value)) for name, value in numbers.items()}
    )


def _rounded(value: float, size: float) -> float:
    return round(value, DIGITS - 1 - math.floor(math.log10(size))) + 0.0


def root_of(function: Callable[[float], float], start: float, stop: float) -> float:
    """Where a function that changes its sign between two points is 0."""
    return cast(float, optimize.brentq(function, start, stop, xtol=1e-12))
