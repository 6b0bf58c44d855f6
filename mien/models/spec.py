"""ModelSpec: a model as frozen, plain data.

A formula string is a ModelSpec with defaults. Fields whose engines do not exist yet are checked and refused with a
sentence, never ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from mien.priors import Prior, prior_from_dict, prior_to_dict
from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest

__all__ = ["FAMILIES", "ModelSpec"]

FAMILIES = (
    "gaussian", "student_t", "ordered_beta", "zero_inflated_beta", "zero_one_inflated_beta", "hurdle_gamma",
)  # fmt: skip
AVAILABLE_FAMILIES = ("gaussian",)
RESIDUALS = ("iid", "ar1")
POOLINGS = ("none", "partial")
CODINGS = ("default",)

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class ModelSpec:
    """What to fit.

    Parameters
    ----------
    formula : e.g. ``"activation ~ valence + (valence | participant) + (1 | stimulus)"``.
    family : one of `FAMILIES`; "gaussian" has an engine.
    priors : by the name of a parameter or of its role; what is not named has the library's default.
    coding : "default" (DESIGN 4: ±½, sums for more levels).
    smooths, residual, series, counts, sigma_by, parameters, pooling : refused unless at their defaults.
    weights : column of precision weights; the residual variance of a row is sigma² / weight.
    standard_errors : column of known standard errors; they take the place of sigma.
    contrasts : linear combinations of shapes to fit beside the shapes themselves.
    pool_trackers : True to put two trackers into one fit without a term for them.
    name : of the fit; answers : the model in one sentence.
    """

    formula: str
    family: str = "gaussian"
    priors: Mapping[str, Prior] = field(default_factory=lambda: _EMPTY)
    coding: str = "default"
    smooths: tuple[str, ...] = ()
    residual: str = "iid"
    series: tuple[str, ...] = ()
    weights: str = ""
    counts: str = ""
    standard_errors: str = ""
    sigma_by: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    pooling: str = "none"
    contrasts: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: _EMPTY)
    pool_trackers: bool = False
    name: str = "model"
    answers: str = ""

    def __post_init__(self) -> None:
        parsed = parse_formula(self.formula)
        if not parsed.response:
            raise SpecError(f"formula {self.formula!r}: expected an outcome left of '~', found none.")
        for key, value, allowed in (
            ("family", self.family, FAMILIES),
            ("coding", self.coding, CODINGS),
            ("residual", self.residual, RESIDUALS),
            ("pooling", self.pooling, POOLINGS),
        ):
            if value not in allowed:
                raise SpecError(
                    f"{key}: expected one of {', '.join(allowed)}, found {value!r}{nearest(str(value), allowed)}."
                )
        _refuse_what_no_engine_does(self)
        if self.weights and self.standard_errors:
            raise SpecError("weights and standard_errors: expected one of them, found both: use one column.")
        for name in ("priors", "parameters", "contrasts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for key, prior in self.priors.items():
            if not isinstance(prior, Prior.__value__):
                raise SpecError(
                    f"priors[{key!r}]: expected a prior such as mien.priors.Normal(0, 1), found {prior!r}."
                )

    def to_json(self) -> str:
        """The specification as text; `from_json` reads it back."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["priors"] = {name: prior_to_dict(prior) for name, prior in self.priors.items()}
        plain["parameters"] = dict(self.parameters)
        plain["contrasts"] = {name: dict(weights) for name, weights in self.contrasts.items()}
        return json.dumps(plain, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "ModelSpec":
        """Read what `to_json` wrote; the formula passes the safe door again."""
        data = json.loads(text)
        data["priors"] = {name: prior_from_dict(prior) for name, prior in data["priors"].items()}
        for name in ("smooths", "series", "sigma_by"):
            data[name] = tuple(data[name])
        return ModelSpec(**data)


def _refuse_what_no_engine_does(spec: ModelSpec) -> None:
    refused = {
        f"family={spec.family!r}": spec.family not in AVAILABLE_FAMILIES,
        "smooths": bool(spec.smooths),
        f"residual={spec.residual!r}": spec.residual != "iid",
        "series": bool(spec.series),
        "counts": bool(spec.counts),
        "sigma_by": bool(spec.sigma_by),
        "parameters": bool(spec.parameters),
        f"pooling={spec.pooling!r}": spec.pooling != "none",
    }
    wanted = [name for name, used in refused.items() if used]
    if wanted:
        raise SpecError(
            f"model: expected a Gaussian model with independent residuals, found {', '.join(wanted)}: no engine of "
            "this version fits it; leave it out."
        )
