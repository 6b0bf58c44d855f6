"""The families of priors.

    code                    density                                   for
    Normal(mean, sd)        N(x; mean, sd²)                           coefficients
    Flat()                  1 on the whole line (improper)            coefficients
    HalfNormal(sd)          N(x; 0, sd²) folded to x > 0              standard deviations
    HalfStudentT(df, scale) t_df(x / scale) folded to x > 0           standard deviations
    Exponential(rate)       rate · exp(−rate · x), x > 0              standard deviations
    LogNormal(mu, sigma)    N(log x; mu, sigma²) / x, x > 0           uniquenesses (variances): no density at 0
    LKJ(eta)                |R|^(eta − 1)                             correlation matrices
    Fixed(value)            all mass at `value`                       anything; tests and closed forms

Numbers are on the scale of the data as passed.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from mien.study.errors import SpecError

__all__ = [
    "LKJ", "Exponential", "Fixed", "Flat", "HalfNormal", "HalfStudentT", "LogNormal", "Normal", "Prior",
    "prior_from_dict", "prior_from_text", "prior_text", "prior_to_dict",
]  # fmt: skip


def _finite(prior: str, name: str, value: float, *, positive: bool) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or (positive and value <= 0):
        wanted = "a positive number" if positive else "a finite number"
        raise SpecError(f"prior {prior}: expected {name} to be {wanted}, found {value!r}.")


@dataclass(frozen=True)
class Normal:
    """Normal prior of a coefficient: mean and standard deviation in units of outcome per unit of x."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        _finite("Normal", "mean", self.mean, positive=False)
        _finite("Normal", "sd", self.sd, positive=True)


@dataclass(frozen=True)
class Flat:
    """An improper prior, constant on the whole line: coefficients only; evidence and prior draws are refused."""


@dataclass(frozen=True)
class HalfNormal:
    """Half-normal prior of a standard deviation; `sd` is that of the normal before folding."""

    sd: float

    def __post_init__(self) -> None:
        _finite("HalfNormal", "sd", self.sd, positive=True)


@dataclass(frozen=True)
class HalfStudentT:
    """Half-t prior of a standard deviation; with df = 1 the half-Cauchy."""

    df: float
    scale: float

    def __post_init__(self) -> None:
        _finite("HalfStudentT", "df", self.df, positive=True)
        _finite("HalfStudentT", "scale", self.scale, positive=True)


@dataclass(frozen=True)
class Exponential:
    """Exponential prior of a standard deviation with mean 1 / rate."""

    rate: float

    def __post_init__(self) -> None:
        _finite("Exponential", "rate", self.rate, positive=True)


@dataclass(frozen=True)
class LogNormal:
    """Log-normal prior of a variance: its logarithm is normal with mean `mu` and standard deviation `sigma`."""

    mu: float
    sigma: float

    def __post_init__(self) -> None:
        _finite("LogNormal", "mu", self.mu, positive=False)
        _finite("LogNormal", "sigma", self.sigma, positive=True)


@dataclass(frozen=True)
class LKJ:
    """LKJ prior of a correlation matrix: eta = 1 is uniform, above 1 favours weak correlations."""

    eta: float

    def __post_init__(self) -> None:
        _finite("LKJ", "eta", self.eta, positive=True)


@dataclass(frozen=True)
class Fixed:
    """A known value instead of a prior."""

    value: float

    def __post_init__(self) -> None:
        _finite("Fixed", "value", self.value, positive=False)


type Prior = Normal | Flat | HalfNormal | HalfStudentT | Exponential | LogNormal | LKJ | Fixed

FAMILIES: Mapping[str, type] = {
    family.__name__: family
    for family in (Normal, Flat, HalfNormal, HalfStudentT, Exponential, LogNormal, LKJ, Fixed)
}


def prior_to_dict(prior: Prior) -> dict[str, float | str]:
    """Plain data: ``{"family": "Normal", "mean": 0.0, "sd": 1.0}``."""
    return {"family": type(prior).__name__, **{name: float(value) for name, value in asdict(prior).items()}}


def prior_from_dict(data: Mapping[str, float | str]) -> Prior:
    """The reverse of `prior_to_dict`; further keys (id, source) are left aside.

    Raises
    ------
    SpecError
        For an unknown family or a number that is missing.
    """
    family = FAMILIES.get(str(data.get("family")))
    if family is None:
        raise SpecError(
            f"prior: expected family to be one of {', '.join(FAMILIES)}, found {data.get('family')!r}."
        )
    names = [field.name for field in fields(family)]
    missing = [name for name in names if name not in data]
    if missing:
        raise SpecError(
            f"prior {family.__name__}: expected {', '.join(names)}, found no {', '.join(missing)}."
        )
    return family(**{name: data[name] for name in names})


def prior_text(prior: Prior, digits: int = 4) -> str:
    """A prior as it is written: ``Normal(0, 0.1)``."""
    return f"{type(prior).__name__}({', '.join(f'{value:.{digits}g}' for value in asdict(prior).values())})"


def prior_from_text(text: str) -> Prior:
    """Read ``Normal(0, 0.1)``: a family and its numbers in order, or by name, ``HalfStudentT(df=4, scale=0.1)``.

    Raises
    ------
    SpecError
    """
    matched = re.fullmatch(r"\s*(\w+)\s*\(([^()]*)\)\s*", text)
    family = FAMILIES.get(matched[1]) if matched else None
    if matched is None or family is None:
        raise SpecError(
            f"prior {text!r}: expected a family with its numbers, such as Normal(0, 0.1) or HalfNormal(0.1); families: "
            f"{', '.join(FAMILIES)}."
        )
    names = [field.name for field in fields(family)]
    given = [part.strip() for part in matched[2].split(",") if part.strip()]
    pairs = [
        part.split("=", 1) if "=" in part else [name, part] for part, name in zip(given, names, strict=False)
    ]
    found = {name.strip(): _number_of(text, value) for name, value in pairs}
    if len(given) != len(names) or sorted(found) != sorted(names):
        raise SpecError(
            f"prior {text!r}: expected {family.__name__}({', '.join(names)}), found {matched[2]!r}."
        )
    return family(**found)


def _number_of(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise SpecError(
            f"prior {text!r}: expected numbers in the brackets, found {value.strip()!r}."
        ) from None
