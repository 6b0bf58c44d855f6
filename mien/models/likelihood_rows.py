"""What the families of `likelihoods` ask of rows: columns of their regressions, values in range, scales for priors."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mien.models.design import build_design
from mien.models.engines.problem import Outcome, Regression
from mien.models.likelihoods import LIKELIHOODS
from mien.priors import DataScale, ParameterNames
from mien.study.errors import FitError, SpecError
from mien.study.formula import parse_formula

if TYPE_CHECKING:
    from mien.models.spec import ModelSpec

__all__ = [
    "check_response",
    "coding_of",
    "recommend_family",
    "regressions",
    "scale_of_regressions",
    "with_parameters",
]

FEW_ENDS = 0.01  # share of rows at 0 or 1 below which they need no family of their own; convention


def regressions(spec: "ModelSpec", frame: pd.DataFrame) -> dict[str, Regression]:
    """The family's further parameters in order, with the columns of their regressions; none for the Gaussian.

    Raises
    ------
    SpecError
        For columns that repeat each other.
    """
    found = {}
    for name in LIKELIHOODS[spec.family].parameters if spec.family in LIKELIHOODS else ():
        if name in spec.parameters:
            design = build_design(parse_formula(spec.parameters[name]), frame)
            found[name] = Regression(design.coefficients, design.columns, design.coding)
        else:
            found[name] = Regression((), np.zeros((len(frame), 0)), {})
    return found


def check_response(family: str, response: str, name: str, values: np.ndarray) -> None:
    """Refuse values that the family cannot give.

    Raises
    ------
    FitError
        With how many there are, and what to do.
    """
    likelihood = LIKELIHOODS.get(family)
    if likelihood is None or not likelihood.zeros:
        return
    where = f"{name}: " if name else ""
    below = values < 0
    if below.any():
        raise FitError(
            f"{where}family {family!r}: expected {response} of 0 or more, found {int(below.sum())} rows below 0 (the "
            f"smallest {values.min():g}): model raw, which is not corrected by a baseline, or use family 'student_t'."
        )
    ones = values >= 1
    if family == "zero_inflated_beta" and ones.any():
        raise FitError(
            f"{where}family {family!r}: expected {response} below 1, found {int(ones.sum())} rows of 1 or more (the "
            f"largest {values.max():g}): use family 'ordered_beta' or 'zero_one_inflated_beta', which have ones."
        )


def with_parameters(names: ParameterNames, family: str, extra: Mapping[str, Regression]) -> ParameterNames:
    """The names of a model with the family's further parameters; sigma keeps its own prior unless regressed."""
    regressed = {parameter: regression.coefficients for parameter, regression in extra.items()}
    taken = set(names.coefficients) & {
        *regressed, *(f"{parameter}_{name}" for parameter, own in regressed.items() for name in own)
    }  # fmt: skip
    if taken:
        raise SpecError(
            f"formula: expected no column {min(taken)!r}, which is a parameter of family {family!r}: rename it."
        )
    single = "sigma" in extra and not extra["sigma"].coefficients
    if single:
        del regressed["sigma"]
    return names._replace(
        strata=names.strata if single else (),
        parameters=regressed,
        linked=LIKELIHOODS[family].link != "identity",
    )


def coding_of(outcome: Outcome) -> dict[str, tuple[str, ...]]:
    """Category → its levels, of the mean's formula and of the regressions."""
    found = dict(outcome.design.coding)
    for regression in outcome.parameters.values():
        found |= regression.coding
    return found


def scale_of_regressions(
    family: str, scale: DataScale, values: np.ndarray, extra: Mapping[str, Regression]
) -> DataScale:
    """The scale for priors: on the mean's link, and with the columns of the regressions.

    With a link, the mean is the link of the mean of the values inside, and the sd is 1.
    """
    link = LIKELIHOODS[family].link
    if link != "identity":
        inside = values[(values > 0) & ((values < 1) | (link == "log"))]
        mean = float(inside.mean()) if len(inside) else 0.5
        scale = scale._replace(mean_y=math.log(mean / (1.0 - mean) if link == "logit" else mean), sd_y=1.0)
    mean_x, sd_x = dict(scale.mean_x), dict(scale.sd_x)
    for parameter, regression in extra.items():
        for name, column in zip(regression.coefficients, regression.columns.T, strict=True):
            mean_x[f"{parameter}_{name}"] = float(column.mean())
            sd_x[f"{parameter}_{name}"] = float(column.std()) or float(np.abs(column).max()) or 1.0
    return scale._replace(mean_x=mean_x, sd_x=sd_x)


def recommend_family(values: np.ndarray) -> str:
    """The family for an outcome, by its zeros and its range.

    Below 0, or with hardly a zero or one (under 1 % of the rows): gaussian. Otherwise ordered_beta within 0–1, for
    zeros and ones are the ends of one scale; hurdle_gamma where more than 1 % of the rows lie above 1.

    Parameters
    ----------
    values : (row,) the outcome's values in the rows that are modelled, e.g. `raw`.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise FitError("recommend_family: expected finite values, found none, or others among them.")
    ends = float(np.mean((values == 0) | (values >= 1)))
    if values.min() < 0 or ends < FEW_ENDS:
        return "gaussian"
    return "ordered_beta" if float(np.mean(values > 1)) <= FEW_ENDS else "hurdle_gamma"
