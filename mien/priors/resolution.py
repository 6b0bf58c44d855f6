"""From defaults and overrides to one frozen prior for every parameter of one outcome.

Resolved once a fit, stored with it as numbers: refitting new data with the stored numbers is possible, and a
default never moves under a posterior. Overrides are on the scale of the data as passed and win as they stand:

    by name   "valence"   "sd:valence|participant"   "corr:participant"   "sigma:film"
    by role   "Intercept" "beta" "sd" "corr" "sigma" "rho"

The prior of rho is on atanh(rho); a Fixed rho is the correlation itself. Likewise the further parameters of a family
("phi", "nu", "zi" …): priors on their links, a Fixed one is the parameter itself. With a regression they have
coefficients, "phi_Intercept" and "phi_valence", on the link; the role of the slopes is "parameter_beta".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from mien.priors.distributions import (
    LKJ,
    Exponential,
    Fixed,
    Flat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Prior,
    prior_to_dict,
)
from mien.priors.library import DEFAULT_LIBRARY, LibraryPrior
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = ["DataScale", "ParameterNames", "ResolvedPrior", "check_overrides", "resolve", "scaled"]

ALLOWED: Mapping[str, tuple[type, ...]] = {
    "Intercept": (Normal, Flat, Fixed),
    "beta": (Normal, Flat, Fixed),
    "sd": (HalfNormal, HalfStudentT, Exponential, Fixed),
    "corr": (LKJ, Fixed),
    "sigma": (HalfNormal, HalfStudentT, Exponential, Fixed),
    "rho": (Normal, Fixed),
}
OF_PARAMETER = (Normal, Fixed)


class ParameterNames(NamedTuple):
    """What a model has to give priors to.

    coefficients : names, "Intercept" among them where there is one.
    group_terms : "valence|participant", one for every standard deviation.
    correlated : factors with correlated effects.
    strata : labels of the residual sds, ("",) for one.
    autocorrelated : whether residuals are AR(1), so that there is a rho.
    parameters : further parameters of the family → the coefficients of their regressions, () for a single number.
    linked : whether the mean has a link, so that its defaults are those on a link.
    """

    coefficients: tuple[str, ...]
    group_terms: tuple[str, ...]
    correlated: tuple[str, ...]
    strata: tuple[str, ...] = ("",)
    autocorrelated: bool = False
    parameters: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    linked: bool = False

    @property
    def parameter_names(self) -> dict[str, str]:
        """Names of the further parameters, or of their coefficients → the role of each."""
        found = {}
        for parameter, coefficients in self.parameters.items():
            own = "log_sigma" if parameter == "sigma" else parameter
            for name in coefficients:
                found[f"{parameter}_{name}"] = own if name == "Intercept" else "parameter_beta"
            if not coefficients:
                found[parameter] = own
        return found

    @property
    def sigmas(self) -> tuple[str, ...]:
        """Names of the residual sds: "sigma", or "sigma:film" and so on."""
        return tuple(f"sigma:{label}" if label else "sigma" for label in self.strata)


class DataScale(NamedTuple):
    """The scale of one outcome's rows, in units of the data.

    mean_y, sd_y : of the outcome; with a link, of what the link makes of it.
    mean_x, sd_x : of each coefficient's column (the intercept's is left out), "phi_valence" for one of a regression.
    sd_z : of each group term's column; 1 for an intercept.
    """

    mean_y: float
    sd_y: float
    mean_x: Mapping[str, float]
    sd_x: Mapping[str, float]
    sd_z: Mapping[str, float]


@dataclass(frozen=True)
class ResolvedPrior:
    """A prior as numbers on the scale of the data, and where it comes from."""

    prior: Prior
    source: str  # "rule" | "convention" | "user"
    id: str

    def to_dict(self) -> dict[str, float | str]:
        """Plain data for attrs and fit.json."""
        return {**prior_to_dict(self.prior), "source": self.source, "id": self.id}


def _role_of(key: str, names: ParameterNames) -> str:
    of_parameters = names.parameter_names
    if key in of_parameters or key in of_parameters.values():
        return of_parameters.get(key, key)
    if key in ALLOWED and not (key == "sigma" and not names.sigmas):
        return key
    if key in names.coefficients:
        return "beta"
    if key.startswith("sd:") and key[3:] in names.group_terms:
        return "sd"
    if key.startswith("corr:") and key[5:] in names.correlated:
        return "corr"
    if key in names.sigmas:
        return "sigma"
    known = [
        *ALLOWED, *names.coefficients, *(f"sd:{term}" for term in names.group_terms),
        *(f"corr:{factor}" for factor in names.correlated), *names.sigmas, *of_parameters,
    ]  # fmt: skip
    raise SpecError(
        f"priors: expected the names of parameters or roles, found {key!r}{nearest(key, known)}; "
        f"there are {', '.join(dict.fromkeys(known))}."
    )


def check_overrides(overrides: Mapping[str, Prior], names: ParameterNames) -> None:
    """Refuse unknown names and families that a role cannot have.

    Raises
    ------
    SpecError
    """
    for key, prior in overrides.items():
        allowed = ALLOWED.get(_role_of(key, names), OF_PARAMETER)
        if not isinstance(prior, allowed):
            raise SpecError(
                f"priors[{key!r}]: expected one of {', '.join(kind.__name__ for kind in allowed)}, found {prior!r}."
            )
        role = _role_of(key, names)
        if isinstance(prior, Fixed):
            _check_fixed(key, "" if names.parameters.get(key) else role, prior.value)


def _check_fixed(key: str, role: str, value: float) -> None:
    if role in ("sd", "sigma") and value <= 0:
        raise SpecError(f"priors[{key!r}]: expected a Fixed standard deviation above 0, found {value:g}.")
    if role in ("corr", "rho") and not -1 < value < 1:
        raise SpecError(f"priors[{key!r}]: expected a Fixed correlation between -1 and 1, found {value:g}.")
    if key in ("phi", "nu", "shape") and role and value <= 0:
        raise SpecError(f"priors[{key!r}]: expected a Fixed value above 0, found {value:g}.")
    if key in ("zi", "zoi", "coi", "hu") and role and not 0 < value < 1:
        raise SpecError(f"priors[{key!r}]: expected a Fixed probability between 0 and 1, found {value:g}.")


def scaled(prior: Prior, factor: float) -> Prior:
    """The prior of a quantity that is `factor` times as large; LKJ, flat and fixed ones as they are."""
    match prior:
        case Normal(mean, sd):
            return Normal(mean * factor, sd * factor)
        case HalfNormal(sd):
            return HalfNormal(sd * factor)
        case HalfStudentT(df, scale):
            return HalfStudentT(df, scale * factor)
        case Exponential(rate):
            return Exponential(rate / factor)
        case _:
            return prior


def _default(entry: LibraryPrior, scale: DataScale, sd_x: float) -> ResolvedPrior:
    if entry.times == "log_outcome" and isinstance(entry.prior, Normal):
        moved = Normal(entry.prior.mean + math.log(scale.sd_y), entry.prior.sd)
        return ResolvedPrior(moved, entry.source, f"{entry.id} {entry.version}")
    factor = {"outcome": scale.sd_y, "per_unit": scale.sd_y / sd_x, "per_column": 1.0 / sd_x, "none": 1.0}[
        entry.times
    ]
    return ResolvedPrior(scaled(entry.prior, factor), entry.source, f"{entry.id} {entry.version}")


def _intercept(entry: LibraryPrior, scale: DataScale, slopes: Mapping[str, ResolvedPrior]) -> ResolvedPrior:
    """Autoscaled for the intercept as written: wide enough wherever the columns' means lie."""
    if not isinstance(entry.prior, Normal) or entry.times != "intercept":
        return _default(entry, scale, 1.0)
    variance = (entry.prior.sd * scale.sd_y) ** 2
    for name, resolved in slopes.items():
        if isinstance(resolved.prior, Normal):
            variance += (resolved.prior.sd * scale.mean_x[name]) ** 2
    mean = scale.mean_y + entry.prior.mean * scale.sd_y
    return ResolvedPrior(Normal(mean, math.sqrt(variance)), entry.source, f"{entry.id} {entry.version}")


def resolve(
    overrides: Mapping[str, Prior],
    names: ParameterNames,
    scale: DataScale,
    library: Mapping[str, LibraryPrior] = DEFAULT_LIBRARY,
) -> dict[str, ResolvedPrior]:
    """One frozen prior a parameter, for one outcome.

    Returns
    -------
    dict with the coefficients' names, "sd:term|factor", "corr:factor", "sigma" or one "sigma:<stratum>" each,
    "rho" where residuals are AR(1), and the family's further parameters or their coefficients.

    Raises
    ------
    SpecError
        For an override that names no parameter, or a family that its role cannot have.
    """
    check_overrides(overrides, names)

    def chosen(name: str, role: str) -> ResolvedPrior | None:
        for key in (name, role):
            if key in overrides:
                return ResolvedPrior(overrides[key], "user", "user")
        return None

    link = "link_" if names.linked else ""
    slopes = {
        name: chosen(name, "beta") or _default(library[f"{link}beta"], scale, scale.sd_x[name])
        for name in names.coefficients
        if name != "Intercept"
    }
    resolved: dict[str, ResolvedPrior] = {}
    if "Intercept" in names.coefficients:
        resolved["Intercept"] = chosen("Intercept", "Intercept") or _intercept(
            library[f"{link}Intercept"], scale, slopes
        )
    resolved |= slopes
    for term in names.group_terms:
        key = f"sd:{term}"
        resolved[key] = chosen(key, "sd") or _default(library[f"{link}sd"], scale, scale.sd_z[term])
    for factor in names.correlated:
        key = f"corr:{factor}"
        resolved[key] = chosen(key, "corr") or _default(library["corr"], scale, 1.0)
    for key in names.sigmas:
        resolved[key] = chosen(key, "sigma") or _default(library["sigma"], scale, 1.0)
    if names.autocorrelated:
        resolved["rho"] = chosen("rho", "rho") or _default(library["rho"], scale, 1.0)
    for key, role in names.parameter_names.items():
        resolved[key] = chosen(key, role) or _default(library[role], scale, scale.sd_x.get(key, 1.0))
    return resolved
