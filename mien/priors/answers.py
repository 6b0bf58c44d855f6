"""What was asked of whom, in which units, and the entry that an answer becomes: shared by all of `elicitation`."""

import math
import re
from collections.abc import Mapping
from importlib.metadata import version as package_version
from typing import Any, NamedTuple, TypedDict

import numpy as np
from scipy import special

from mien.priors.distributions import LogNormal, Prior, prior_to_dict
from mien.priors.family_fits import HALVES, Fitted, elicitable
from mien.priors.library import LIBRARY, ROLES, Entry, Source
from mien.priors.quantiles import quantile
from mien.priors.statements import QUANTITIES, Statement
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = [
    "LEVEL", "MISFIT", "UNITS", "Asked", "Details", "asked_for", "between", "check_range", "entry_of", "given",
    "implied", "library_name", "linked", "number", "percent", "range_of", "scale_of", "short", "unlinked",
    "upper_end", "usual",
]  # fmt: skip

UNITS = ("raw", "standardised", "difference")
MISFIT = 0.10  # of the answers' range (quantiles), or in probability (chips, draws): refused above it
LEVEL = 0.95
NAME = re.compile(r"[A-Za-z0-9][\w.:|-]*")
HELD = {
    "Intercept": "the intercept", "beta": "the coefficient", "sd": "the standard deviation between groups",
    "smooth": "the standard deviation of a curve's functions",
    "corr": "the correlation of two effects", "sigma": "the residual standard deviation",
}  # fmt: skip
STATED = {
    ("beta", "standardised"): "effect", ("beta", "raw"): "effect_raw", ("Intercept", "standardised"): "level",
    ("sd", "standardised"): "group_spread", ("sd", "raw"): "group_spread_raw",
    ("sigma", "standardised"): "residual_spread", ("sigma", "raw"): "residual_spread_raw",
    ("rho", ""): "autocorrelation", ("corr", ""): "group_correlation",
}  # fmt: skip
PER_UNIT = ("beta", "sd", "smooth", "link_beta", "link_sd")
SPREADS = ("sd", "smooth", "sigma", "link_sd")  # 0 is one of their values


class Details(TypedDict, total=False):
    """What every function takes besides: units, df of a half-t, a reason of your own, by whom and when, version."""

    units: str
    df: float
    reason: str
    by: str
    date: str
    version: str


class Asked(NamedTuple):
    """Who asks for what: checked once. link : of a parameter with a scale of its own."""

    name: str
    role: str
    units: str
    link: str
    details: Details

    @property
    def words(self) -> str:
        """What is asked about."""
        return HELD.get(self.role.removeprefix("link_"), self.role)


def asked_for(name: str, role: str, details: Details) -> Asked:
    """Refuse names, roles and units that there are not.

    Raises
    ------
    SpecError
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise SpecError(f"name: expected letters, digits, '-', '_' and '.', such as 'smile', found {name!r}.")
    if role not in ROLES:
        raise SpecError(
            f"role: expected one of {', '.join(ROLES)}, found {role!r}{nearest(str(role), ROLES)}."
        )
    default = LIBRARY.default(role)
    link = default.scale if default.scale in ("atanh", "log", "logit") else ""
    units = details.get("units", "standardised")
    if units not in UNITS:
        raise SpecError(
            f"units: expected one of {', '.join(UNITS)}, found {units!r}{nearest(str(units), UNITS)}."
        )
    if units == "difference" and role not in PER_UNIT:
        raise SpecError(
            f"units: expected 'raw' or 'standardised' for {role}, found 'difference': that is of coefficients and of "
            "sds between groups."
        )
    if "df" in details and not details["df"] > 0.0:
        raise SpecError(f"df: expected degrees of freedom above 0, found {details['df']!r}.")
    return Asked(name, role, units, link, details)


def scale_of(asked: Asked) -> tuple[str, str]:
    """Scale and times of the entry."""
    default = LIBRARY.default(asked.role)
    if asked.units == "raw":
        return ("raw" if default.scale == "standardised" else default.scale), "none"
    return default.scale, "outcome" if asked.units == "difference" else default.times


def range_of(asked: Asked) -> tuple[float, float]:
    """Where values of a role lie."""
    role = asked.role.removeprefix("link_")
    if asked.link == "logit" and not role.startswith("cutpoint"):
        return 0.0, 1.0
    if asked.link == "atanh" or role == "corr":
        return -1.0, 1.0
    positive = role in ("sd", "smooth", "sigma") or asked.link == "log" or elicitable(role) == (LogNormal,)
    return (0.0 if positive else -math.inf), math.inf


def check_range(asked: Asked, values: np.ndarray, what: str, *, closed: bool = False) -> None:
    """Refuse values that the parameter cannot have; `closed` takes the ends themselves."""
    lower, upper = range_of(asked)
    closed = closed or asked.role in SPREADS
    outside = (values < lower) | (values > upper)
    bad = values[outside if closed else outside | (values == lower) | (values == upper)]
    if bad.size:
        ends = f"above {lower:g}" if math.isinf(upper) else f"between {lower:g} and {upper:g}"
        raise SpecError(f"{what}: expected {asked.words} to be {ends}, found {bad[0]:g}.")


def library_name(name: str) -> str:
    """Of a package, with its version."""
    return f"{name} {package_version(name)}"


def linked(link: str, values: Any) -> Any:
    """On the link; infinite at its ends."""
    with np.errstate(divide="ignore"):
        match link:
            case "atanh":
                return np.arctanh(values)
            case "log":
                return np.log(values)
            case "logit":
                return special.logit(values)
            case _:
                return values


def unlinked(link: str, values: np.ndarray) -> np.ndarray:
    """From the link back."""
    match link:
        case "atanh":
            return np.tanh(values)
        case "log":
            return np.exp(values)
        case "logit":
            return special.expit(values)
        case _:
            return values


def number(what: str, value: Any) -> float:
    """A finite number, else SpecError."""
    good = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not good or not math.isfinite(value):
        raise SpecError(f"{what}: expected a finite number, found {value!r}.")
    return float(value)


def implied(asked: Asked, lower: float | None, upper: float | None, probability: float) -> Statement | None:
    """The statement about what can be measured in data; None where the vocabulary has no such quantity."""
    quantity = STATED.get((asked.role, "" if asked.link or asked.role == "corr" else asked.units), "")
    if quantity not in QUANTITIES or (lower is None and upper is None):
        return None
    return Statement(quantity, lower, upper, probability)


def usual(asked: Asked, prior: Prior) -> Statement | None:
    """The central 95 %, of standard deviations the lower 95 %."""
    if isinstance(prior, HALVES):
        return implied(asked, None, *upper_end(prior))
    lower, upper = unlinked(asked.link, quantile(prior, [0.025, 0.975]))
    return implied(asked, short(lower), short(upper), LEVEL)


def upper_end(prior: Prior) -> tuple[float, float]:
    """What 95 % lie below, and .95."""
    return short(quantile(prior, LEVEL)), LEVEL


def entry_of(
    asked: Asked,
    found: Fitted,
    record: Mapping[str, Any],
    words: str,
    implies: Statement | None,
    *,
    kind: str = "elicited",
    **published: str,
) -> Entry:
    """The entry, with question, answers, method and numbers in its source.

    Parameters
    ----------
    words : the reason where the user gave none. published : doi and sentence of literature.
    """
    details = asked.details
    who = given(by=details.get("by"), date=details.get("date"))
    full = {
        **record, "role": asked.role, "units": asked.units, "method": found.method, "library": found.library,
        "found": prior_to_dict(found.prior), **who,
    }  # fmt: skip
    source = Source(kind, details.get("reason") or words, record=full, **published)
    label, version, (scale, times) = f"own/{asked.name}", details.get("version", "1"), scale_of(asked)
    return Entry(label, version, asked.role, found.prior, scale, times, source, implies)


def given(**answers: Any) -> dict[str, Any]:
    """The answers that there are."""
    return {key: value for key, value in answers.items() if value is not None}


def percent(share: float) -> str:
    """`95 %`."""
    return f"{100 * share:.4g} %"


def between(lower: float | None, upper: float | None) -> str:
    """`below 0.3`."""
    if lower is None:
        return f"below {upper:g}"
    return f"above {lower:g}" if upper is None else f"between {lower:g} and {upper:g}".replace("-", "−")


def short(value: Any) -> float:
    """Six significant digits."""
    return float(f"{float(value):.6g}")
