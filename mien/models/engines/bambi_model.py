"""The statistician's door: the same model in Bambi, where Bambi can say it.

Columns are coded before Bambi sees them, its centring is off and its priors are ours, so that coefficients mean the
same and posteriors can be compared. Bambi has no correlated group effects: those are refused.
"""

import warnings
from typing import TYPE_CHECKING, cast

import pandas as pd

from mien.models.design import bambi_parts
from mien.models.fitting import make_problem
from mien.models.outcomes import prepare_outcomes
from mien.models.spec import ModelSpec
from mien.priors import Exponential, Fixed, Flat, HalfNormal, HalfStudentT, Normal, Prior
from mien.study.errors import SpecError

if TYPE_CHECKING:
    import bambi

__all__ = ["to_bambi"]


def _bambi_prior(prior: Prior):
    import bambi as bmb

    match prior:
        case Normal(mean, sd):
            return bmb.Prior("Normal", mu=mean, sigma=sd)
        case Flat():
            return bmb.Prior("Flat")
        case HalfNormal(sd):
            return bmb.Prior("HalfNormal", sigma=sd)
        case HalfStudentT(df, scale):
            return bmb.Prior("HalfStudentT", nu=df, sigma=scale)
        case Exponential(rate):
            return bmb.Prior("Exponential", lam=rate)
        case Fixed(value):
            return float(value)
        case _:
            raise SpecError(f"to_bambi: expected a prior that Bambi has, found {prior!r}.")


def to_bambi(
    model: ModelSpec | str,
    data: pd.DataFrame,
    *,
    participants: pd.DataFrame | None = None,
    blend_shape: str | None = None,
) -> "bambi.Model":
    """A `bambi.Model` of the same rows, coding and priors; nothing is compiled or sampled.

    Parameters
    ----------
    blend_shape : which shape, where the data has several.

    Raises
    ------
    SpecError
        For correlated effects, residuals other than independent ones with one sigma, or a shape that is not named.
    """
    spec = model if isinstance(model, ModelSpec) else ModelSpec(model)
    if spec.family != "gaussian":
        raise SpecError(f"to_bambi: expected family 'gaussian', found {spec.family!r}: write it in Bambi.")
    asked = [name for name in ("weights", "standard_errors", "counts", "sigma_by") if getattr(spec, name)]
    if asked or spec.residual != "iid":
        raise SpecError(
            f"to_bambi: expected independent rows with one sigma, found {', '.join([*asked, spec.residual])}."
        )
    if blend_shape is not None:
        data = cast(pd.DataFrame, data[data["blend_shape"].astype("str") == blend_shape])
    formula, rows = prepare_outcomes(spec, data, participants)
    if len(rows.names) > 1:
        raise SpecError(
            f"to_bambi: expected one outcome, found {len(rows.names)}: name one with blend_shape=."
        )
    right, frame, back = bambi_parts(formula, rows.frame)
    frame[formula.response] = rows.frame[formula.response].to_numpy(dtype="float64")
    problem, _, _ = make_problem(spec, data, participants)
    forth = {name: identifier for identifier, name in back.items()}

    def plain(name: str) -> str:
        for ours, theirs in forth.items():
            name = name.replace(ours, theirs)
        return name

    outcome = problem.outcomes[0]
    priors = {plain(name): _bambi_prior(outcome.priors[name].prior) for name in outcome.design.coefficients}
    for block in outcome.design.blocks:
        for term in block.terms:
            key = f"{term}|{block.factor}"
            priors[plain(key)] = _hierarchical(outcome.priors[f"sd:{key}"].prior)
    priors["sigma"] = _bambi_prior(outcome.priors["sigma"].prior)
    import bambi as bmb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bmb.Model(
            f"{formula.response} ~ {right}", frame, family="gaussian", priors=priors, center_predictors=False
        )


def _hierarchical(prior: Prior):
    import bambi as bmb

    return bmb.Prior("Normal", mu=0, sigma=_bambi_prior(prior))
