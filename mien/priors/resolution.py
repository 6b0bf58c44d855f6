"""From defaults and overrides to one frozen prior for every parameter of one outcome.

Resolved once a fit, stored with it as numbers: refitting new data with the stored numbers is possible, and a
default never moves under a posterior. Overrides:

    by name   "valence"   "sd:valence|participant"   "corr:participant"   "sigma:film"
    by role   "Intercept" "beta" "sd" "smooth" (the sds of curves, else "sd") "corr" "sigma" "rho"

A plain prior, Normal(0, 0.1), is on the scale of the data as passed and wins as it stands; its source is "user", which
is none. An `Entry` has a source, and its own scale: it is put on that of the data as a default is.

The prior of rho is on atanh(rho); a Fixed rho is the correlation itself. Likewise the further parameters of a family
("phi", "nu", "zi" …): priors on their links, a Fixed one is the parameter itself. With a regression they have
coefficients, "phi_Intercept" and "phi_valence", on the link; the role of the slopes is "parameter_beta".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, cast

from mien.priors.distributions import (
    LKJ,
    Exponential,
    Fixed,
    Flat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Prior,
    prior_from_dict,
    prior_to_dict,
)
from mien.priors.library import LIBRARY, ROLES, Entry, Library, entry_from_dict, entry_to_dict
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = [
    "UNSOURCED", "DataScale", "Override", "ParameterNames", "ResolvedPrior", "check_overrides", "families_of",
    "override_from_dict", "override_to_dict", "read_override", "resolve", "role_by_name", "roles_of", "scaled",
]  # fmt: skip

UNSOURCED = "user"  # the source of a prior that came without one

type Override = Prior | Entry

ALLOWED: Mapping[str, tuple[type, ...]] = {
    "Intercept": (Normal, Flat, Fixed),
    "beta": (Normal, Flat, Fixed),
    "sd": (HalfNormal, HalfStudentT, Exponential, Fixed),
    "smooth": (HalfNormal, HalfStudentT, Exponential, Fixed),
    "corr": (LKJ, Fixed),
    "sigma": (HalfNormal, HalfStudentT, Exponential, Fixed),
    "rho": (Normal, Fixed),
}
OF_PARAMETER = (Normal, Fixed)


def families_of(role: str) -> tuple[str, ...]:
    """Names of the families that a prior of this role can have."""
    return tuple(family.__name__ for family in ALLOWED.get(role.removeprefix("link_"), OF_PARAMETER))


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
    """A prior as numbers on the scale of the data, and where it comes from.

    source : the kind of its source, "user" for none. id : of the entry, with its version, or "user".
    """

    prior: Prior
    source: str
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
        return _role_of_term(key[3:])
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


def read_override(key: str, value: object) -> Override:
    """A prior, an entry, or the id of one of the library's entries.

    Raises
    ------
    SpecError
    """
    if isinstance(value, str):
        return LIBRARY.find(value)
    if not isinstance(value, (Entry, *Prior.__value__.__args__)):
        raise SpecError(
            f"priors[{key!r}]: expected a prior such as mien.priors.Normal(0, 1), an entry, or the id of one such as "
            f"'coefficient:sceptical', found {value!r}."
        )
    return cast(Override, value)


def override_to_dict(override: Override) -> dict[str, object]:
    """Plain data, an entry's with all of its fields."""
    return entry_to_dict(override) if isinstance(override, Entry) else {**prior_to_dict(override)}


def override_from_dict(data: Mapping[str, object]) -> Override:
    """The reverse of `override_to_dict`."""
    return entry_from_dict(data) if "role" in data else prior_from_dict(data)  # type: ignore[arg-type]


def role_by_name(name: str) -> str:
    """The role of a parameter whose model is not at hand: "sd:1|participant" is an sd; else a coefficient."""
    if name in ROLES:
        return name
    kind, colon, rest = name.partition(":")
    if colon and kind == "sd":
        return _role_of_term(rest)
    return kind if colon and kind in ("corr", "sigma") else "beta"


def _role_of_term(term: str) -> str:
    """Of a group term's sd: "s(time):valence|participant" is a smooth."""
    return "smooth" if term.startswith("s(") else "sd"


def check_overrides(overrides: Mapping[str, Override], names: ParameterNames) -> None:
    """Refuse unknown names, families that a role cannot have, and entries of another role.

    Raises
    ------
    SpecError
    """
    for key, override in overrides.items():
        allowed = ALLOWED.get(_role_of(key, names), OF_PARAMETER)
        if isinstance(override, Entry):
            _check_entry(key, override, names)
        prior = override.prior if isinstance(override, Entry) else override
        if not isinstance(prior, allowed):
            raise SpecError(
                f"priors[{key!r}]: expected one of {', '.join(kind.__name__ for kind in allowed)}, found {prior!r}."
            )
        role = _role_of(key, names)
        if isinstance(prior, Fixed):
            _check_fixed(key, "" if names.parameters.get(key) else role, prior.value)


def _check_entry(key: str, entry: Entry, names: ParameterNames) -> None:
    role = _role_of(key, names)
    wanted = f"link_{role}" if names.linked and f"link_{role}" in ROLES else role
    raw = entry.scale == "raw" and entry.role == role  # on the scale of the data: whatever the link
    curve = role == "smooth" and entry.role == "sd"
    if entry.role != wanted and not raw and not curve:
        raise SpecError(
            f"priors[{key!r}]: expected an entry of role {wanted}, found {entry.id}, of role {entry.role}: "
            "mien priors list shows what fits."
        )


def _check_fixed(key: str, role: str, value: float) -> None:
    if role in ("sd", "smooth", "sigma") and value <= 0:
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


def _put(override: Override, scale: DataScale, sd_x: float) -> ResolvedPrior:
    """On the scale of the data."""
    if not isinstance(override, Entry):
        return ResolvedPrior(override, UNSOURCED, UNSOURCED)
    entry = override
    if entry.times == "log_outcome" and isinstance(entry.prior, Normal):
        moved = Normal(entry.prior.mean + math.log(scale.sd_y), entry.prior.sd)
        return ResolvedPrior(moved, entry.source.kind, entry.label)
    factors = {"outcome": scale.sd_y, "per_unit": scale.sd_y / sd_x, "per_column": 1.0 / sd_x}
    return ResolvedPrior(scaled(entry.prior, factors.get(entry.times, 1.0)), entry.source.kind, entry.label)


def _put_intercept(
    override: Override, scale: DataScale, slopes: Mapping[str, ResolvedPrior]
) -> ResolvedPrior:
    """Autoscaled for the intercept as written: wide enough wherever the columns' means lie."""
    if not isinstance(override, Entry) or override.times != "intercept":
        return _put(override, scale, 1.0)
    entry = override
    assert isinstance(entry.prior, Normal)
    variance = (entry.prior.sd * scale.sd_y) ** 2
    for name, resolved in slopes.items():
        if isinstance(resolved.prior, Normal):
            variance += (resolved.prior.sd * scale.mean_x[name]) ** 2
    mean = scale.mean_y + entry.prior.mean * scale.sd_y
    return ResolvedPrior(Normal(mean, math.sqrt(variance)), entry.source.kind, entry.label)


def resolve(
    overrides: Mapping[str, Override],
    names: ParameterNames,
    scale: DataScale,
    library: Library = LIBRARY,
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
    chosen = {name: _chosen(name, overrides, role, library) for name, role in roles_of(names).items()}
    slopes = {
        name: _put(chosen[name], scale, scale.sd_x[name])
        for name in names.coefficients
        if name != "Intercept"
    }
    resolved: dict[str, ResolvedPrior] = {}
    if "Intercept" in names.coefficients:
        resolved["Intercept"] = _put_intercept(chosen["Intercept"], scale, slopes)
    resolved |= slopes
    for name, override in chosen.items():
        if name not in names.coefficients:
            of_term = scale.sd_z[name[3:]] if name.startswith("sd:") else scale.sd_x.get(name, 1.0)
            resolved[name] = _put(override, scale, of_term)
    return resolved


def roles_of(names: ParameterNames) -> dict[str, str]:
    """Every parameter that has a prior → the role of its default, in the order in which they are told."""
    link = "link_" if names.linked else ""
    roles = {
        name: f"{link}Intercept" if name == "Intercept" else f"{link}beta" for name in names.coefficients
    }
    for term in names.group_terms:
        role = _role_of_term(term)
        roles[f"sd:{term}"] = role if role == "smooth" else f"{link}{role}"
    roles |= {f"corr:{factor}": "corr" for factor in names.correlated}
    roles |= dict.fromkeys(names.sigmas, "sigma")
    roles |= {"rho": "rho"} if names.autocorrelated else {}
    return roles | names.parameter_names


def _chosen(name: str, overrides: Mapping[str, Override], role: str, library: Library) -> Override:
    """By name, by role (a curve's sd is an sd, too), or the default."""
    also = ("sd",) if role == "smooth" else ()
    for key in (name, role.removeprefix("link_"), *also):
        if key in overrides:
            return overrides[key]
    return library.default(role)
