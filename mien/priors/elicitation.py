"""Priors from what is known, with the record of it: every function gives an `Entry` of the user's own.

    from_statement   "95 % of people change by less than 0.3"; "the average changes by −0.1 to 0.4, I am 90 % sure"
    from_quantiles   {0.05: −0.1, 0.95: 0.3}
    from_roulette    twenty chips laid into bins
    from_draws       a pilot's posterior, counted in part
    from_effect      a published standardised difference

    units "raw"            as in the data
          "standardised"   in sds of the outcome; of coefficients and group sds per sd of the column (as in the library)
          "difference"     in sds of the outcome, per unit of the column: between two conditions that are coded ±½

Parameters with a scale of their own (rho, shares, degrees of freedom …) are answered as they are; the prior is put on
their link. What was asked, answered, done and found is in `entry.source.record`, as plain data, with what the prior
gives back. All functions take `Details` besides: units, df, reason, by, date, version.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Unpack, cast

import numpy as np

from mien.priors.answers import (
    MISFIT,
    UNITS,
    Asked,
    Details,
    asked_for,
    between,
    check_range,
    entry_of,
    given,
    implied,
    linked,
    number,
    percent,
    range_of,
    short,
    unlinked,
    usual,
)
from mien.priors.distributions import Normal, Prior
from mien.priors.earlier_results import from_draws, from_effect
from mien.priors.family_fits import (
    DF,
    HALVES,
    Family,
    elicitable,
    family_named,
    fit_cumulative,
    fit_mass,
    fit_quantiles,
    free_numbers,
)
from mien.priors.library import Entry
from mien.priors.people import about_people
from mien.priors.quantiles import below, quantile
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = [
    "UNITS",
    "Details",
    "from_draws",
    "from_effect",
    "from_quantiles",
    "from_roulette",
    "from_statement",
]

EXACT = 0.01  # of the answers' range: given back
ABOUT = ("average", "people", "person")


def from_statement(
    name: str,
    role: str,
    lower: float | None,
    upper: float | None,
    probability: float,
    *,
    family: str | None = None,
    about: str = "average",
    average: float | Normal | Entry | None = None,
    **details: Unpack[Details],
) -> Entry:
    """A prior with this mass in an interval: of all members of the family that of largest entropy.

    Parameters
    ----------
    name : the entry becomes "own/<name>".
    role : "beta", "sd", "sigma" …, one of `library.ROLES`.
    lower, upper : the bounds; None is no bound.
    probability : that the quantity lies between them; of people, the share that does.
    family : its name; None takes Normal for coefficients, HalfNormal for standard deviations.
    about : "average" is the parameter itself. "people" and "person" (role "sd") are what single persons do, average and
        own deviation, which decides the sd between them given what is known of the average: "people" such that the
        share inside has this median, "person" such that somebody drawn at random is inside with this probability.
    average : of people what is known of the average: a number, a Normal prior, or an entry in the same units (None: 0).
        Otherwise a number that a normal prior is centred at; one bound is then enough.

    Raises
    ------
    SpecError
        For bounds or a probability that no member of the family can have.
    """
    asked = asked_for(name, role, details)
    if about not in ABOUT:
        raise SpecError(
            f"about: expected one of {', '.join(ABOUT)}, found {about!r}{nearest(str(about), ABOUT)}."
        )
    kind = family_named(family, role) or elicitable(role)[0]
    interval = _interval(lower, upper, probability)
    if about != "average":
        return about_people(asked, kind, about, (interval, probability), average)
    interval = _possible(asked, interval)
    centre = None if average is None else _centre(asked, kind, average)
    on_link = (float(linked(asked.link, interval[0])), float(linked(asked.link, interval[1])))
    found = fit_mass(kind, on_link, probability, df=details.get("df", DF), mean=centre)
    mass = float(np.diff(below(found.prior, on_link))[0])
    record = {
        "question": f"Between which bounds is {asked.words}, and how sure are you?",
        "answers": given(lower=lower, upper=upper, probability=probability, average=average),
        "reproduced": {"probability": round(mass, 6)},
    }
    bounds = [
        None if math.isinf(edge) or (edge == 0.0 and isinstance(found.prior, HALVES)) else edge
        for edge in interval
    ]
    words = f"{percent(probability)} {between(lower, upper)}"
    return entry_of(asked, found, record, words, implied(asked, bounds[0], bounds[1], probability))


def _interval(lower: float | None, upper: float | None, probability: float) -> tuple[float, float]:
    """The bounds, infinite where there is none."""
    if not 0.0 < number("probability", probability) < 1.0:
        raise SpecError(f"statement: expected a probability between 0 and 1, found {probability!r}.")
    if lower is None and upper is None:
        raise SpecError("statement: expected a lower or an upper bound, found neither.")
    bottom = -math.inf if lower is None else number("lower", lower)
    top = math.inf if upper is None else number("upper", upper)
    if not bottom < top:
        raise SpecError(f"statement: expected lower below upper, found {bottom:g} and {top:g}.")
    return bottom, top


def _possible(asked: Asked, interval: tuple[float, float]) -> tuple[float, float]:
    """Within the parameter's range."""
    check_range(asked, np.array([edge for edge in interval if math.isfinite(edge)]), "statement", closed=True)
    lowest, highest = range_of(asked)
    return max(interval[0], lowest), min(interval[1], highest)


def _centre(asked: Asked, kind: Family, average: float | Normal | Entry) -> float:
    if kind is not Normal or not isinstance(average, (int, float)):
        raise SpecError(
            f"average: expected a number, for a normal prior, found {average!r}: leave it out, or say about='people'."
        )
    return float(linked(asked.link, number("average", average)))


def from_quantiles(
    name: str,
    role: str,
    quantiles: Mapping[float, float],
    *,
    family: str | None = None,
    **details: Unpack[Details],
) -> Entry:
    """A prior with these quantiles: exactly where there are as many as free numbers, else by least squares.

    Parameters
    ----------
    quantiles : probability → value. A misfit above `MISFIT` of their range is refused.
    family : its name; None tries those of the role, the simplest first, until one gives the answers to `EXACT`.

    Raises
    ------
    SpecError
        For probabilities outside (0, 1), values that do not rise with them, or none that a prior of the role can have.
    """
    asked = asked_for(name, role, details)
    p, values = _quantiles(asked, quantiles)
    kinds = [family_named(family, role)] if family else _candidates(role, details, len(p))
    fits = [fit_quantiles(cast(Family, kind), p, values, df=details.get("df")) for kind in kinds]
    misfits = [_misfit(fit.prior, p, values) for fit in fits]
    good = [place for place, misfit in enumerate(misfits) if misfit <= EXACT]
    place = good[0] if good else int(np.argmin(misfits))
    found, misfit = fits[place], misfits[place]
    if misfit > MISFIT:
        raise SpecError(
            f"quantiles: expected some that a {type(found.prior).__name__} prior can have to {MISFIT:.0%} of their "
            f"range, found {_told(quantiles)}, which it misses by {misfit:.0%}: {_other(role, found.prior)}"
        )
    back = unlinked(asked.link, quantile(found.prior, p))
    record = {
        "question": f"Which value does {asked.words} stay below with these probabilities?",
        "answers": {f"{share:g}": value for share, value in sorted(quantiles.items())},
        "reproduced": {f"{share:g}": short(value) for share, value in zip(p, back, strict=True)},
        "misfit": round(misfit, 4),
    }
    return entry_of(asked, found, record, f"quantiles {_told(quantiles)}", usual(asked, found.prior))


def _candidates(role: str, details: Details, answers: int) -> list[Family]:
    """Families with no more free numbers than answers, those with the fewest first."""
    kinds = elicitable(role)
    free = {kind: free_numbers(kind, details.get("df"), answers) for kind in kinds}
    least = min(free.values())
    return sorted((kind for kind in kinds if free[kind] <= max(answers, least)), key=lambda kind: free[kind])


def _quantiles(asked: Asked, quantiles: Mapping[float, float]) -> tuple[np.ndarray, np.ndarray]:
    if not quantiles:
        raise SpecError("quantiles: expected {probability: value, …}, found none.")
    pairs = sorted(
        (number("probability", share), number("quantile", value)) for share, value in quantiles.items()
    )
    p, values = (np.array(one, dtype=np.float64) for one in zip(*pairs, strict=True))
    if p[0] <= 0.0 or p[-1] >= 1.0:
        raise SpecError(f"quantiles: expected probabilities between 0 and 1, found {_told(quantiles)}.")
    if np.any(np.diff(values) <= 0.0):
        raise SpecError(
            f"quantiles: expected values that rise with their probabilities, found {_told(quantiles)}: were two "
            "exchanged?"
        )
    check_range(asked, values[[0, -1]], "quantiles")
    if values[0] == range_of(asked)[0]:
        raise SpecError(
            f"quantiles: expected those of {asked.words} to be above 0, found 0: nothing lies below it."
        )
    return p, linked(asked.link, values)


def _misfit(prior: Prior, p: np.ndarray, values: np.ndarray) -> float:
    """Largest miss, of the range of the answers (of a single one, of its size)."""
    misses = np.abs(quantile(prior, p) - values)
    spread = float(np.ptp(values)) if len(values) > 1 else abs(float(values[0]))
    return float(misses.max() / spread) if spread > 0.0 else math.inf


def _other(role: str, prior: Prior) -> str:
    if isinstance(prior, HALVES):
        return (
            "priors of standard deviations are highest at 0 and fall from there. Give the upper quantile alone, or "
            "another family."
        )
    kinds = [kind.__name__ for kind in elicitable(role) if not isinstance(prior, kind)]
    return f"take another family ({', '.join(kinds)})." if kinds else "give only the two that matter most."


def from_roulette(
    name: str,
    role: str,
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    family: str | None = None,
    **details: Unpack[Details],
) -> Entry:
    """A prior from chips that were laid into bins, each for the same probability.

    The shares below the edges are met by least squares; of several families the one that comes nearest is taken. A
    share missed by more than `MISFIT` is refused.

    Parameters
    ----------
    edges : rising, one more than bins. counts : chips in each bin.

    Raises
    ------
    SpecError
        For edges that do not rise, negative counts, or chips in too few bins to say how wide the prior is.
    """
    asked = asked_for(name, role, details)
    bounds, shares = _chips(asked, edges, counts)
    kinds = [cast(Family, family_named(family, role))] if family else list(elicitable(role))
    interior = len(np.unique(shares[(shares > 0.0) & (shares < 1.0)]))
    kinds = [kind for kind in kinds if free_numbers(kind, DF, interior) <= interior]
    if not kinds:
        raise SpecError(
            f"roulette: expected chips in enough bins to tell location and width, found {list(counts)}: take narrower "
            "bins, or lay chips into three of them at least."
        )
    fits = [fit_cumulative(kind, bounds, shares, df=details.get("df", DF)) for kind in kinds]
    misses = [float(np.abs(below(fit.prior, bounds) - shares).max()) for fit in fits]
    found, miss = fits[int(np.argmin(misses))], min(misses)
    if miss > MISFIT:
        raise SpecError(
            f"roulette: expected chips that a {type(found.prior).__name__} prior can follow to {MISFIT:g}, found "
            f"{list(counts)}, which it misses by {miss:.2f}: {_other(role, found.prior)}"
        )
    record = {
        "question": f"Lay {sum(counts):g} chips into bins, each for the same probability of {asked.words}.",
        "answers": {"edges": [float(edge) for edge in edges], "counts": [float(count) for count in counts]},
        "reproduced": {
            "chips": [round(float(one), 2) for one in np.diff(below(found.prior, bounds)) * sum(counts)],
            "largest_miss_of_a_share": round(miss, 4),
        },
    }
    return entry_of(asked, found, record, f"{sum(counts):g} chips in bins", usual(asked, found.prior))


def _chips(asked: Asked, edges: Sequence[float], counts: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Edges on the link, and shares below them."""
    bounds = np.array([number("edge", edge) for edge in edges])
    chips = np.array([number("count", count) for count in counts])
    if len(bounds) != len(chips) + 1 or len(chips) < 2:
        raise SpecError(
            f"roulette: expected one edge more than bins, found {len(bounds)} edges and {len(chips)} bins."
        )
    if np.any(np.diff(bounds) <= 0.0):
        raise SpecError(f"roulette: expected edges that rise, found {[float(edge) for edge in bounds]}.")
    if np.any(chips < 0.0) or chips.sum() <= 0.0:
        raise SpecError(f"roulette: expected counts of chips, none negative, found {list(counts)}.")
    check_range(asked, bounds[[0, -1]], "roulette", closed=True)
    shares = np.concatenate([[0.0], np.cumsum(chips)]) / chips.sum()
    filled = np.flatnonzero(chips)
    kept = slice(int(filled[0]), int(filled[-1]) + 2)
    ends = linked(asked.link, bounds[kept])
    finite = np.isfinite(ends)  # an edge at the end of a link is none
    return ends[finite], shares[kept][finite]


def _told(quantiles: Mapping[float, float]) -> str:
    return ", ".join(f"{share:g}: {value:g}" for share, value in sorted(quantiles.items())).replace("-", "−")
