"""Priors from earlier results: a pilot's posterior draws, a published standardised difference. Part of `elicitation`.

draws    the family's likeliest member, to the power `weight`: of a normal one the sd / √weight
effect   Normal(w · d, se / √w) with the discount w
"""

import math
from collections.abc import Mapping
from typing import Any, Unpack, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mien.priors.answers import (
    LEVEL,
    MISFIT,
    Asked,
    Details,
    asked_for,
    check_range,
    entry_of,
    given,
    library_name,
    linked,
    number,
    short,
    unlinked,
    usual,
)
from mien.priors.distributions import LKJ, Normal, Prior, prior_to_dict
from mien.priors.family_fits import DF, HALVES, Family, Fitted, elicitable, family_named, fit_draws, tidy
from mien.priors.library import Entry
from mien.priors.powers import log_density, power_scaled
from mien.priors.quantiles import below, quantile
from mien.study.errors import SpecError

__all__ = ["from_draws", "from_effect"]

FEWEST_DRAWS = 100
LOPSIDED = 0.10  # of an interval's width: how far off its middle a published estimate may lie


def from_draws(
    name: str,
    role: str,
    draws: ArrayLike,
    *,
    weight: float = 1.0,
    family: str | None = None,
    source: Mapping[str, Any] | None = None,
    **details: Unpack[Details],
) -> Entry:
    """A prior from a pilot's posterior draws of the parameter, counted with a weight.

    The likeliest member of the family, to the power `weight`: of a normal prior the sd becomes sd / √weight. A
    posterior is data times prior, and both are counted with the weight. Families of standard deviations are highest
    at 0: they keep a pilot's size alone, and are wider than it, never narrower.

    Parameters
    ----------
    draws : any shape; of rho, shares and so on the parameter itself.
    weight : above 0, at most 1: 1 takes the pilot as if it were part of the study.
    family : its name; None takes the likeliest of the role's.
    source : plain data about the pilot for the record.

    Raises
    ------
    SpecError
        For fewer than 100 draws, draws that the role cannot have, or that no family follows (a largest difference of
        probabilities above `MISFIT`; of standard deviations it is only recorded).
    """
    asked = asked_for(name, role, details)
    own = _draws(asked, draws)
    power = number("weight", weight)
    if not 0.0 < power <= 1.0:
        raise SpecError(f"weight: expected a number above 0 and at most 1, found {weight!r}.")
    kinds = [cast(Family, family_named(family, role))] if family else list(elicitable(role))
    fits = [fit_draws(kind, own, df=details.get("df", DF)) for kind in kinds]
    found = fits[int(np.argmax([_log_likelihood(fit.prior, own) for fit in fits]))]
    distance = _distance(found.prior, own)
    if distance > MISFIT and not isinstance(found.prior, HALVES):
        raise SpecError(
            f"draws: expected some that a {type(found.prior).__name__} prior can follow, found draws whose "
            f"distribution differs from it by {distance:.2f} (at most {MISFIT:g}): they are skewed, or have two "
            "peaks, or, of a correlation, are not around 0. Say what is known in a statement instead."
        )
    discounted = Fitted(tidy(power_scaled(found.prior, power)), found.method, found.library)
    lower, middle, upper = unlinked(asked.link, quantile(found.prior, [0.025, 0.5, 0.975]))
    record = {
        "question": f"Which posterior did a pilot find for {asked.words}?",
        "answers": {
            "draws": int(own.size), **_summary(asked, own), "weight": power, "pilot": dict(source or {}),
        },
        "undiscounted": prior_to_dict(found.prior),
        "reproduced": {
            "lower": short(lower), "median": short(middle), "upper": short(upper),
            "largest_difference_of_probabilities": round(distance, 4),
        },
    }  # fmt: skip
    words = f"a pilot's posterior, counted with weight {power:g}"
    return entry_of(asked, discounted, record, words, usual(asked, discounted.prior), kind="pilot")


def _draws(asked: Asked, draws: ArrayLike) -> np.ndarray:
    values = np.asarray(draws, dtype=np.float64).ravel()
    if values.size < FEWEST_DRAWS:
        raise SpecError(f"draws: expected at least {FEWEST_DRAWS}, found {values.size}.")
    if not np.isfinite(values).all():
        raise SpecError(
            f"draws: expected finite numbers, found {int((~np.isfinite(values)).sum())} that are not."
        )
    if np.ptp(values) == 0.0:
        raise SpecError(
            "draws: expected a posterior, found one value only: was the parameter fixed in the pilot?"
        )
    check_range(asked, values, "draws")
    return linked(asked.link, values)


def _summary(asked: Asked, own: np.ndarray) -> dict[str, float]:
    values = unlinked(asked.link, own)
    lower, middle, upper = np.quantile(values, [0.025, 0.5, 0.975])
    return {
        "mean": short(values.mean()), "sd": short(values.std()), "lower": short(lower), "median": short(middle),
        "upper": short(upper),
    }  # fmt: skip


def _log_likelihood(prior: Prior, draws: np.ndarray) -> float:
    return 0.0 if isinstance(prior, LKJ) else float(np.sum(log_density(prior, draws)))  # LKJ has no rival


def _distance(prior: Prior, draws: np.ndarray) -> float:
    """Kolmogorov's: the largest difference of the distribution functions."""
    ordered = np.sort(draws)
    p, steps = below(prior, ordered), np.arange(len(ordered) + 1) / len(ordered)
    return float(max(np.max(p - steps[:-1]), np.max(steps[1:] - p)))


def from_effect(
    name: str,
    d: float,
    *,
    doi: str,
    sentence: str,
    interval: tuple[float, float] | None = None,
    se: float | None = None,
    level: float = LEVEL,
    discount: float = 1.0,
    **details: Unpack[Details],
) -> Entry:
    """A prior of a coefficient from a published standardised difference.

    The coefficient of a column coded ±½ *is* the difference between two conditions, in sds of the outcome (units
    "difference"). d must be in sds of the outcome over rows: that of paired differences (often called d_z) is in
    another unit and has to be converted first.

    Parameters
    ----------
    d : the difference. interval : its bounds, at `level`; or se : its standard error.
    doi, sentence : of the publication, and the sentence that was read in it.
    discount : w above 0, at most 1. The mean becomes w · d, since published effects tend to be too large (they were
        published), and the sd becomes se / √w, the evidence counted in part, since it is of other people and other
        stimuli. How much is a choice, for which no publication was read.

    Raises
    ------
    SpecError
        Without DOI or sentence, without uncertainty, or for an interval that d is not in the middle of.
    """
    asked = asked_for(name, "beta", cast(Details, {"units": "difference"} | dict(details)))
    if asked.units != "difference":
        raise SpecError(
            f"units: expected 'difference' (sds of the outcome between two conditions), found {asked.units!r}: convert "
            "the effect and use from_quantiles."
        )
    estimate, weight = number("d", d), number("discount", discount)
    if not 0.0 < weight <= 1.0:
        raise SpecError(f"discount: expected a number above 0 and at most 1, found {discount!r}.")
    bounds = None if interval is None else [number("interval", edge) for edge in interval]
    error = _standard_error(estimate, interval, se, level)
    prior = tidy(Normal(weight * estimate, error / math.sqrt(weight)))
    record = {
        "question": "Which standardised difference was published?",
        "answers": given(d=estimate, interval=bounds, level=bounds and level, se=se, discount=weight),
        "standard_error": short(error),
        "reproduced": {"mean": short(weight * estimate), "sd": short(error / math.sqrt(weight))},
    }  # fmt: skip
    found = Fitted(prior, f"Normal({weight:g} · d, se / √{weight:g})", library_name("scipy"))
    words = f"published d = {estimate:g} (se {error:.3g})" + (
        f", discounted by {weight:g}" if weight < 1.0 else ""
    )
    return entry_of(asked, found, record, words, None, kind="literature", doi=doi, sentence=sentence)


def _standard_error(d: float, interval: tuple[float, float] | None, se: float | None, level: float) -> float:
    if (interval is None) == (se is None):
        raise SpecError(
            f"from_effect: expected interval= or se=, one of them, found {'none' if se is None else 'both'}: without "
            "its uncertainty an effect says nothing."
        )
    if interval is None:
        error = number("se", se)
        if error <= 0.0:
            raise SpecError(f"se: expected a standard error above 0, found {se!r}.")
        return error
    lower, upper = (number("interval", edge) for edge in interval)
    if not lower < d < upper:
        raise SpecError(f"interval: expected bounds around d = {d:g}, found {lower:g} and {upper:g}.")
    if not 0.0 < level < 1.0:
        raise SpecError(f"level: expected a probability between 0 and 1, found {level!r}.")
    if abs(d - 0.5 * (lower + upper)) > LOPSIDED * (upper - lower):
        raise SpecError(
            f"interval: expected d near its middle, found {d:g} in {lower:g} to {upper:g}: is one of them another "
            "effect's, or on another scale? Use from_quantiles for an interval that is not symmetric."
        )
    return (upper - lower) / (2.0 * float(special.ndtri(0.5 + 0.5 * level)))
