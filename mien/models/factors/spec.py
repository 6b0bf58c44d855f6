"""FactorSpec: a co-activation model as frozen, plain data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from mien.priors import (
    LIBRARY,
    UNSOURCED,
    Entry,
    LogNormal,
    Override,
    Prior,
    ResolvedPrior,
    override_from_dict,
    override_to_dict,
    read_override,
)
from mien.study.errors import FitError, SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest

__all__ = ["FAMILY", "PARTS", "PRIORS", "FactorSpec", "is_factor_fit", "require_coefficients"]

FAMILY = "co_activation"
PARTS = ("all", "spontaneous", "stimulus_driven")
PRIORS: Mapping[str, type] = MappingProxyType(
    dict.fromkeys(("loading_sd", "uniqueness", "between_loading_sd", "between_uniqueness"), LogNormal)
)
MOST = 12  # factors

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class FactorSpec:
    """What to fit; see `mien.models.co_activation`, which makes it.

    Parameters
    ----------
    factors : within groups. between : factors between groups.
    covariates : terms of a formula, ``("valence", "age_z")``, whose effects are taken out inside the model.
    part : one of `PARTS`: which co-activation is looked at.
    shapes : only these; () takes all that move, without gaze and blinks.
    priors : by the names of `PRIORS`, in sds within groups; what is not named has the library's default.
    name : of the fit; answers : the model in one sentence.
    """

    factors: int = 5
    between: int = 2
    covariates: tuple[str, ...] = ()
    part: str = "all"
    shapes: tuple[str, ...] = ()
    priors: Mapping[str, Override] = field(default_factory=lambda: _EMPTY)
    pool_trackers: bool = False
    name: str = FAMILY
    answers: str = ""

    def __post_init__(self) -> None:
        for name in ("covariates", "shapes"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        given = {key: read_override(key, prior) for key, prior in dict(self.priors).items()}
        object.__setattr__(self, "priors", MappingProxyType(given))
        for name, least in (("factors", 1), ("between", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
                raise SpecError(f"{name}: expected a whole number from {least} to {MOST}, found {value!r}.")
        if self.part not in PARTS:
            raise SpecError(
                f"part: expected one of {', '.join(PARTS)}, found {self.part!r}{nearest(str(self.part), PARTS)}."
            )
        parse_formula(self.formula)
        for name, prior in self.priors.items():
            if name not in PRIORS:
                raise SpecError(
                    f"priors: expected one of {', '.join(PRIORS)}, found {name!r}{nearest(name, list(PRIORS))}."
                )
            if isinstance(prior, Entry) and prior.role != name:
                raise SpecError(
                    f"priors[{name!r}]: expected an entry of role {name}, found {prior.id}, which is one of role "
                    f"{prior.role}."
                )
            if isinstance(prior, Entry) and prior.times != "none":
                raise SpecError(
                    f"priors[{name!r}]: expected an entry in sds within groups (times none), found {prior.id}, whose "
                    f"numbers are times {prior.times}."
                )
            if not isinstance(prior.prior if isinstance(prior, Entry) else prior, PRIORS[name]):
                raise SpecError(
                    f"priors[{name!r}]: expected {PRIORS[name].__name__}, found {prior!r}: none of them may be 0."
                )

    @property
    def group(self) -> str:
        """Whose level is the upper one: "participant", or "stimulus" of what stimuli drive."""
        return "stimulus" if self.part == "stimulus_driven" else "participant"

    @property
    def formula(self) -> str:
        """The part of the model that a formula can say: coefficients, and who has a level."""
        other = {"all": [], "spontaneous": ["stimulus"], "stimulus_driven": ["participant"]}[self.part]
        return f"activation ~ {' + '.join([*other, *self.covariates] or ['1'])} + (1 | {self.group})"

    @property
    def resolved(self) -> dict[str, Prior]:
        """All priors: the given ones and the library's."""
        return {name: resolved.prior for name, resolved in self.resolved_priors.items()}

    @property
    def resolved_priors(self) -> dict[str, ResolvedPrior]:
        """The same with the kinds of their sources."""
        found = {}
        for name in PRIORS:
            given = self.priors.get(name, LIBRARY.default(name))
            found[name] = (
                ResolvedPrior(given.prior, given.source.kind, given.label)
                if isinstance(given, Entry)
                else ResolvedPrior(given, UNSOURCED, UNSOURCED)
            )
        return found

    @property
    def prior_numbers(self) -> tuple[float, ...]:
        """Mu and sigma of each prior, in the order of `PRIORS`."""
        found = [prior for prior in self.resolved.values() if isinstance(prior, LogNormal)]
        return tuple(float(number) for prior in found for number in (prior.mu, prior.sigma))

    def to_json(self) -> str:
        """The specification as text; `from_json` reads it back."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["priors"] = {name: override_to_dict(prior) for name, prior in self.priors.items()}
        return json.dumps({"family": FAMILY, **plain}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "FactorSpec":
        """Read what `to_json` wrote; the covariates pass the formulas' safe door again."""
        data = json.loads(text)
        if data.pop("family", "") != FAMILY:
            raise SpecError(
                "co-activation: expected a fit of mien.models.co_activation, found one of a formula."
            )
        data["priors"] = {name: override_from_dict(prior) for name, prior in data["priors"].items()}
        return FactorSpec(**data)


def is_factor_fit(fit: Any) -> bool:
    """Whether a fit is one of the co_activation family."""
    return fit.attrs.get("family") == FAMILY


def require_coefficients(fit: Any, asker: str) -> None:
    """Refuse a fit of the co_activation family, whose coefficients are integrated out."""
    if is_factor_fit(fit):
        raise FitError(
            f"{asker}: expected a fit of a formula, found one of co-activation: read it with mien.models.loadings, "
            "shares, co_activation_pairs, shape_groups and factor_scores."
        )
