"""A statement about single persons, made a prior of the sd between them.

    a person's change = average + deviation,   average ~ Normal(m, a²),   deviation ~ N(0, τ²),   τ ~ the prior sought
    share(average, τ) = Φ((upper − average) / τ) − Φ((lower − average) / τ)

    "people"   "95 % of people change by less than 0.3", a best guess of the share: its median over both priors is .95
    "person"   "somebody drawn at random does, with 95 %": its mean over both priors is .95

The second asks for a smaller τ: the share is never above 1, and far below .95 wherever τ is large.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from scipy import special

from mien.priors.answers import (
    Asked,
    between,
    entry_of,
    implied,
    library_name,
    percent,
    scale_of,
    upper_end,
)
from mien.priors.distributions import Exponential, HalfNormal, HalfStudentT, Normal, Prior
from mien.priors.family_fits import DF, Family, Fitted, root_of, tidy
from mien.priors.library import Entry
from mien.priors.quantiles import quantile
from mien.priors.resolution import scaled
from mien.study.errors import SpecError

__all__ = ["about_people"]

AVERAGES, SPREADS = 201, 401  # of the grid; odd, so that its middle is the median
REACH = 12.0  # logs about the size of the bounds that the scale is looked for in
QUESTIONS = {
    "people": "Between which bounds do people lie (average and own deviation), and which share, as a best guess?",
    "person": "Between which bounds does somebody drawn at random lie (average and own deviation), and how surely?",
}


def about_people(
    asked: Asked, kind: Family, about: str, said: tuple[tuple[float, float], float],
    average: float | Normal | Entry | None,
) -> Entry:  # fmt: skip
    """The entry of role sd that says what was said of single persons.

    Parameters
    ----------
    about : "people" or "person". said : the bounds, infinite where there is none, and the share or probability.
    average : what is known of the average; None is 0.

    Raises
    ------
    SpecError
        For another role, and where no sd between persons makes the statement true.
    """
    interval, share = said
    if asked.role != "sd":
        raise SpecError(
            f"about={about!r}: expected role 'sd', found {asked.role!r}: what single persons do decides the sd between "
            "them, given the average."
        )
    mean, sd = _average(asked, average)
    unit = _unit(kind, asked.details.get("df", DF))
    middle = np.median if about == "people" else np.mean

    def shares(prior: Prior) -> np.ndarray:
        return _shares(prior, interval, mean, sd)

    prior = tidy(
        scaled(unit, _scale(lambda s: float(middle(shares(scaled(unit, s)))), interval, share, (mean, sd)))
    )
    found = shares(prior)
    record = {
        "question": QUESTIONS[about],
        "answers": {
            "lower": _finite(interval[0]), "upper": _finite(interval[1]), "share": share,
            "average": {"mean": mean, "sd": sd},
        },
        "reproduced": {
            "median_share": round(float(np.median(found)), 4), "mean_share": round(float(np.mean(found)), 4),
            "share_interval": [round(float(edge), 4) for edge in np.quantile(found, [0.025, 0.975])],
        },
    }  # fmt: skip
    method = f"the one {kind.__name__} prior with that {'median' if about == 'people' else 'mean'} share"
    who = "of people" if about == "people" else "for a person drawn at random"
    words = f"{percent(share)} {who} {between(_finite(interval[0]), _finite(interval[1]))}"
    fitted = Fitted(prior, method, library_name("scipy"))
    return entry_of(asked, fitted, record, words, implied(asked, None, *upper_end(prior)))


def _unit(kind: Family, df: float) -> Prior:
    if kind is HalfStudentT:
        return HalfStudentT(df, 1.0)
    return Exponential(1.0) if kind is Exponential else HalfNormal(1.0)


def _average(asked: Asked, average: float | Normal | Entry | None) -> tuple[float, float]:
    """Mean and sd of what is known of the average."""
    if isinstance(average, Entry):
        own = scale_of(asked)
        if average.role != "beta" or (average.scale, average.times) != own:
            raise SpecError(
                f"average: expected an entry of role beta in the same units ({', '.join(own)}), found {average.id} of "
                f"role {average.role} ({average.scale}, {average.times})."
            )
        average = cast(Normal, average.prior)
    if isinstance(average, Normal):
        return average.mean, average.sd
    if average is None or (isinstance(average, (int, float)) and math.isfinite(average)):
        return float(average or 0.0), 0.0
    raise SpecError(f"average: expected a number, a Normal prior or an entry, found {average!r}.")


def _scale(
    share_at: Callable[[float], float], interval: tuple[float, float], share: float, average: tuple[float, float]
) -> float:  # fmt: skip
    """The scale at which the share is the one said: it falls as the scale grows."""
    size = math.log(max(abs(edge) for edge in interval if math.isfinite(edge)) or 1.0)
    start, stop = size - REACH, size + REACH
    most, least = share_at(math.exp(start)), share_at(math.exp(stop))
    if not interval[0] < average[0] < interval[1] or not most > share > least:
        raise SpecError(
            f"statement about people: expected a share between {least:.3g} and {most:.3g}, which an average of "
            f"{average[0]:g} (sd {average[1]:g}) leaves, inside the bounds, found {share:g}: say more of the average "
            "(average=), or move the bounds."
        )
    return math.exp(root_of(lambda log: share_at(math.exp(log)) - share, start, stop))


def _shares(prior: Prior, interval: tuple[float, float], mean: float, sd: float) -> np.ndarray:
    """Share of people inside, over a grid of averages and sds with equal weights."""
    p = (np.arange(SPREADS) + 0.5) / SPREADS
    averages = (
        mean + sd * special.ndtri((np.arange(AVERAGES) + 0.5) / AVERAGES) if sd > 0.0 else np.array([mean])
    )
    lower, upper = interval
    spreads: Any = quantile(prior, p)
    ends = [special.ndtr((edge - averages[:, None]) / spreads) for edge in (lower, upper)]
    return (ends[1] - ends[0]).ravel()


def _finite(edge: float) -> float | None:
    return edge if math.isfinite(edge) else None
