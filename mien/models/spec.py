"""ModelSpec: a model as frozen, plain data.

A formula string is a ModelSpec with defaults. Fields whose engines do not exist yet are checked and refused with a
sentence, never ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from mien.models.likelihoods import check_parameters
from mien.models.smooths import parse_smooth
from mien.priors import Override, override_from_dict, override_to_dict, read_override
from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest

__all__ = ["FAMILIES", "ModelSpec"]

FAMILIES = (
    "gaussian", "student_t", "ordered_beta", "zero_inflated_beta", "zero_one_inflated_beta", "hurdle_gamma",
)  # fmt: skip
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
    family : one of `FAMILIES`, the likelihood (`mien.models.likelihoods`).
    priors : by the name of a parameter or of its role: a prior in units of the data, an entry with its source, or the
        id of one of the library's ("coefficient:sceptical"); what is not named has the library's default.
    coding : "default" (DESIGN 4: ±½, sums for more levels).
    smooths : curves beside the formula, "s(time)", "s(time):valence", "s(time) | participant" (`mien.models.smooths`).
    parameters : regressions of the family's further parameters, ``{"phi": "~ valence"}``; coefficients only.
    pooling : "none", each shape on its own; "partial", and then over shapes (`mien.models.pooling`); Gaussian.
    residual : "iid", or "ar1": within a series the residuals of bins g steps apart correlate rho^g.
    series : with "ar1", the columns whose combinations are the series; () takes those of participant, session, task,
        run, trial that exist. The place within a series is the column `bin`, a whole number; bins may be missing.
    weights : column of precision weights; the residual variance of a row is sigma² / weight. A row is one value.
    counts : column of replicate numbers; a row is the *mean* of so many values, and the column
        "<response>_squares" is their sum of squared deviations from it. The fit is that of the single values.
    standard_errors : column of known standard errors; alone they take the place of sigma, together with
        ``priors["sigma"]`` the residual variance is se² + sigma².
    sigma_by : columns whose combinations (strata) have a sigma each, e.g. ``("medium",)``.
    contrasts : linear combinations of shapes to fit beside the shapes themselves.
    pool_trackers : True to put two trackers into one fit without a term for them.
    name : of the fit; answers : the model in one sentence.
    """

    formula: str
    family: str = "gaussian"
    priors: Mapping[str, Override] = field(default_factory=lambda: _EMPTY)
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
        for name in ("smooths", "series", "sigma_by"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        given = {key: read_override(key, prior) for key, prior in dict(self.priors).items()}
        object.__setattr__(self, "priors", given)
        for name in ("priors", "parameters", "contrasts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for text in self.smooths:
            parse_smooth(text)
        _check_pooling(self)
        check_parameters(self)
        _check_residuals(self)

    def to_json(self) -> str:
        """The specification as text; `from_json` reads it back."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["priors"] = {name: override_to_dict(prior) for name, prior in self.priors.items()}
        plain["parameters"] = dict(self.parameters)
        plain["contrasts"] = {name: dict(weights) for name, weights in self.contrasts.items()}
        return json.dumps(plain, sort_keys=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its text: views of mappings cannot be."""
        return ModelSpec.from_json, (self.to_json(),)

    @staticmethod
    def from_json(text: str) -> "ModelSpec":
        """Read what `to_json` wrote; the formula passes the safe door again."""
        data = json.loads(text)
        if "formula" not in data:
            raise SpecError(
                f"fit: expected one with a formula, found one of the {data.get('family')} family: see "
                "mien.models.factors for what can be read from it."
            )
        data["priors"] = {name: override_from_dict(prior) for name, prior in data["priors"].items()}
        for name in ("smooths", "series", "sigma_by"):
            data[name] = tuple(data[name])
        return ModelSpec(**data)


def _check_pooling(spec: ModelSpec) -> None:
    """Shapes are pooled over fits of single shapes, in the units of the outcome."""
    if spec.pooling == "none":
        return
    if "blend_shape" in parse_formula(spec.formula).columns:
        raise SpecError(
            "pooling='partial': expected a formula that is fitted to each shape, found blend_shape in "
            f"{spec.formula!r}, a joint model: leave one of the two out."
        )
    if spec.family != "gaussian":
        raise SpecError(
            f"pooling='partial': expected family 'gaussian', found {spec.family!r}, for which the joint errors of "
            "shapes are not worked out: leave pooling out."
        )


def _check_residuals(spec: ModelSpec) -> None:
    """Each way to say how rows scatter excludes some of the others."""
    given = [name for name in ("weights", "counts", "standard_errors") if getattr(spec, name)]
    if len(given) > 1:
        raise SpecError(
            f"{' and '.join(given)}: expected one of them, found both: weights are precisions of single values, "
            "counts are numbers of values behind a mean, standard errors are known; use one column."
        )
    if spec.series and spec.residual != "ar1":
        raise SpecError("series: expected residual='ar1' beside it, found independent residuals.")
    if spec.residual == "ar1" and (spec.counts or spec.standard_errors):
        raise SpecError(
            f"residual='ar1': expected rows that are single values, found {given[0]}: leave one of them out."
        )
    if spec.sigma_by and spec.standard_errors and not has_sigma_prior(spec.priors):
        raise SpecError(
            "sigma_by: expected a sigma that is estimated, found standard_errors in its place: give priors['sigma'] "
            "too for the variance se² + sigma²."
        )


def has_sigma_prior(priors: Mapping[str, Override]) -> bool:
    """Whether sigma, or that of a stratum, has a prior of its own."""
    return any(key == "sigma" or key.startswith("sigma:") for key in priors)
