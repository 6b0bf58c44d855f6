"""What a prior says about the world, as data: a quantity lies between two numbers with a probability.

    Statement("effect", -1.96, 1.96, 0.95).sentence()
        "With probability .95, the change of the average outcome when a column rises by one sd is between −1.96 and
        1.96 sd of the outcome."

A quantity is something that can be measured in data, never a parameter by definition, so that every statement can be
tested by simulation through the model (`mien.simulation.implied`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = ["QUANTITIES", "Quantity", "Statement", "statement_from_dict", "statement_to_dict"]


class Quantity(NamedTuple):
    """words : a noun phrase. units : after a number, "" for a pure one. roles : of the priors that can say it."""

    words: str
    units: str
    roles: tuple[str, ...]


QUANTITIES: Mapping[str, Quantity] = MappingProxyType({
    # the mean, in sds of the outcome (and, of priors in units of the data, as measured)
    "level": Quantity(
        "the distance of the average outcome from the observed average (columns centred)", "sd of the outcome",
        ("Intercept",),
    ),
    "effect": Quantity(
        "the change of the average outcome when a column rises by one sd", "sd of the outcome", ("beta",)
    ),
    "group_spread": Quantity(
        "the standard deviation between groups (of their level, or of their response to one sd of a column)",
        "sd of the outcome", ("sd",),
    ),
    "bend": Quantity(
        "the root mean square of a course's bends (40 even bins, its straight line taken off)", "sd of the outcome",
        ("smooth",),
    ),
    "group_correlation": Quantity(
        "the correlation over groups of their level with their response (with no third effect)", "", ("corr",)
    ),
    "residual_spread": Quantity(
        "the standard deviation of rows (outliers aside) about what the model expects", "sd of the outcome",
        ("sigma", "log_sigma"),
    ),
    "level_raw": Quantity("the average outcome (columns centred)", "in the outcome's units", ("Intercept",)),
    "effect_raw": Quantity(
        "the change of the average outcome when a column rises by one", "in the outcome's units", ("beta",)
    ),
    "group_spread_raw": Quantity(
        "the standard deviation between groups (of their level, or of their response when a column rises by one)",
        "in the outcome's units", ("sd",),
    ),
    "residual_spread_raw": Quantity(
        "the standard deviation of rows (outliers aside) about what the model expects", "in the outcome's units",
        ("sigma", "log_sigma"),
    ),
    "autocorrelation": Quantity("the correlation of neighbouring bins of a trial", "", ("rho",)),
    # the mean on a link: odds p / (1 − p) of an average between 0 and 1, or the average where there is no upper end
    "level_factor": Quantity(
        "the factor between the odds (or, with a log link, the average) of values that are not 0 or 1 and those "
        "observed (columns centred)", "", ("link_Intercept",),
    ),
    "effect_factor": Quantity(
        "the factor by which the odds (or, with a log link, the average) of values that are not 0 or 1 change when a "
        "column rises by one sd", "", ("link_beta",),
    ),
    "group_factor": Quantity(
        "the factor between the odds (or, with a log link, the averages) of groups that are one standard deviation "
        "apart (in their level, or in their response to one sd of a column)", "", ("link_sd",),
    ),
    "parameter_factor": Quantity(
        "the factor by which the scatter (or the odds of a zero) changes when a column rises by one sd", "",
        ("parameter_beta",),
    ),
    # the rest of a family
    "outlier_share": Quantity(
        "the share of rows further than three robust sds (1.4826 median distances) from what the model expects", "",
        ("nu",),
    ),
    "scatter_at_half": Quantity(
        "the standard deviation of the values between 0 and 1 where their average is one half", "", ("phi",)
    ),
    "relative_scatter": Quantity(
        "the ratio of the standard deviation to the average of the values above 0", "", ("shape",)
    ),
    "zeros": Quantity("the share of zeros", "", ("zi", "hu")),
    "ends": Quantity("the share of zeros and ones", "", ("zoi",)),
    "ones_of_ends": Quantity("the share of ones among zeros and ones", "", ("coi",)),
    "zeros_at_half": Quantity(
        "the share of zeros where the values between 0 and 1 average one half", "", ("cutpoint_zero",)
    ),
    "ones_at_half": Quantity(
        "the share of ones where the values between 0 and 1 average one half", "", ("cutpoint_one",)
    ),
    # co-activation
    "factor_spread": Quantity(
        "the standard deviation that one factor gives a shape from trial to trial (root mean square over shapes)",
        "sds within persons", ("loading_sd",),
    ),
    "unique_variance": Quantity(
        "the variance of a shape from trial to trial that no factor explains", "times its variance within persons",
        ("uniqueness",),
    ),
    "person_factor_spread": Quantity(
        "the standard deviation that one factor gives a shape from person to person (root mean square over shapes)",
        "sds within persons", ("between_loading_sd",),
    ),
    "person_unique_variance": Quantity(
        "the variance of a shape from person to person that no factor explains", "times its variance within persons",
        ("between_uniqueness",),
    ),
})  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """`quantity` lies between `lower` and `upper` with this probability; None is no bound.

    Parameters
    ----------
    quantity : a key of `QUANTITIES`, whose units the bounds are in.
    """

    quantity: str
    lower: float | None
    upper: float | None
    probability: float

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise SpecError(
                f"statement: expected a quantity among {', '.join(QUANTITIES)}, found {self.quantity!r}"
                f"{nearest(self.quantity, list(QUANTITIES))}."
            )
        for name in ("lower", "upper"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise SpecError(f"statement: expected {name} to be a number or nothing, found {value!r}.")
        if self.lower is None and self.upper is None:
            raise SpecError("statement: expected a lower or an upper bound, found neither.")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise SpecError(
                f"statement: expected lower below upper, found {self.lower:g} and {self.upper:g}."
            )
        if not 0.0 < self.probability < 1.0:
            raise SpecError(f"statement: expected a probability between 0 and 1, found {self.probability!r}.")

    @property
    def interval(self) -> tuple[float, float]:
        """The bounds, infinite where there is none."""
        return (
            -math.inf if self.lower is None else self.lower,
            math.inf if self.upper is None else self.upper,
        )

    def sentence(self) -> str:
        """In plain words."""
        quantity = QUANTITIES[self.quantity]
        units = f" {quantity.units}" if quantity.units else ""
        if self.lower is None:
            where = f"below {_number(self.upper)}"
        elif self.upper is None:
            where = f"above {_number(self.lower)}"
        else:
            where = f"between {_number(self.lower)} and {_number(self.upper)}"
        probability = f"{self.probability:.4g}".removeprefix("0")
        return f"With probability {probability}, {quantity.words} is {where}{units}."


def _number(value: float | None) -> str:
    assert value is not None
    return f"{value:.3g}".replace("-", "−")


def statement_to_dict(statement: Statement) -> dict[str, str | float | None]:
    """Plain data, units and sentence with it."""
    return {
        "quantity": statement.quantity, "lower": statement.lower, "upper": statement.upper,
        "probability": statement.probability, "units": QUANTITIES[statement.quantity].units,
        "sentence": statement.sentence(),
    }  # fmt: skip


def statement_from_dict(data: Mapping[str, object]) -> Statement:
    """Read plain data; a missing bound is none, units and sentence are made anew.

    Raises
    ------
    SpecError
    """
    missing = [name for name in ("quantity", "probability") if name not in data]
    if missing:
        raise SpecError(
            f"statement: expected quantity, probability and bounds, found no {', '.join(missing)}."
        )
    probability = _bound("probability", data["probability"])
    assert probability is not None
    lower, upper = _bound("lower", data.get("lower")), _bound("upper", data.get("upper"))
    return Statement(str(data["quantity"]), lower, upper, probability)


def _bound(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"statement: expected {name} to be a number, found {value!r}.")
    return float(value)
