"""Where a prior is told "wide", "narrow" or "impossible": numbers to be changed, with a reason each.

None of them comes from a publication: a "rule" follows from arithmetic, a "convention" is a choice that catches priors
which are wrong by a factor of ten and more, and lets weak ones pass. Ratios are to the sd of the observed rows, which
is what the default priors are scaled by.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from mien.study.errors import SpecError

__all__ = ["LIMITS", "REASONS", "Limits"]


@dataclass(frozen=True)
class Limits:
    """Limits of the checks; `REASONS` has why. ``Limits(impossible_rows=0.5)`` changes one.

    impossible_rows, impossible_effects, ends, tight, one_factor : shares, 0–1.
    level_wide, scatter_wide, effect_wide, effect_narrow, person_wide, person_narrow, peak_wide, peak_narrow : observed
    sds.
    response_wide : observed sds, of a mean with a log link.
    reliability_wide, reliability_narrow, opposite_wide, communality_wide, communality_narrow, correlation_wide,
    correlation_narrow : 0–1. loading_wide, loading_narrow : sds within groups.
    """

    impossible_rows: float = 0.75
    impossible_effects: float = 0.5
    ends: float = 0.995
    level_wide: float = 25.0
    scatter_wide: float = 10.0
    response_wide: float = 1000.0
    effect_wide: float = 10.0
    effect_narrow: float = 0.05
    person_wide: float = 5.0
    person_narrow: float = 0.1
    opposite_wide: float = 0.45
    reliability_wide: float = 0.9
    reliability_narrow: float = 0.5
    peak_wide: float = 50.0
    peak_narrow: float = 0.1
    communality_wide: float = 0.95
    communality_narrow: float = 0.05
    correlation_wide: float = 0.9
    correlation_narrow: float = 0.1
    loading_wide: float = 3.0
    loading_narrow: float = 0.05
    tight: float = 0.25
    one_factor: float = 0.25

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
                raise SpecError(f"limits: expected {name} to be a number of 0 or more, found {value!r}.")


REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "impossible_rows": (
            "convention",
            "a bell about a mean near 0 has half of itself below 0, whatever the prior; three quarters is more",
        ),
        "impossible_effects": (
            "rule",
            "more draws beyond the range than in it; the default reaches .32 for the outcome with the largest sd",
        ),
        "ends": (
            "convention",
            "nine of ten simulated values at 0 or 1: a prior that is wide on a link piles them up there",
        ),
        "level_wide": (
            "rule",
            "the default's 95 % reach 5 observed sds from the observed mean; five times as far is no scale",
        ),
        "scatter_wide": (
            "convention",
            "the default expects about twice the observed scatter; ten times is another scale",
        ),
        "response_wide": ("convention", "with a log link a few units more are a factor of thousands"),
        "effect_wide": (
            "rule",
            "a column that makes up all of the outcome has 1, and the default's 95 % reach 2",
        ),
        "effect_narrow": (
            "rule",
            "less than half the region of practical equivalence: decided before the data are seen",
        ),
        "person_wide": ("rule", "persons are part of the observed scatter; the default's median is .7 of it"),
        "person_narrow": (
            "rule",
            "persons who differ by less than .1 sd at most: practically none, decided before the data",
        ),
        "opposite_wide": (
            "rule",
            "half of all persons against the mean in almost every draw: the mean says nothing",
        ),
        "reliability_wide": (
            "convention",
            "every draw above it: the test is held reliable whatever the data say",
        ),
        "reliability_narrow": (
            "convention",
            "every draw below it: the test is held unreliable whatever the data say",
        ),
        "peak_wide": (
            "rule",
            "level, line and curve of a difference add up: five times the limit of a single effect",
        ),
        "peak_narrow": ("rule", "the region of practical equivalence, as of an effect"),
        "communality_wide": ("convention", "shapes without a variance of their own in almost every draw"),
        "communality_narrow": ("convention", "factors that carry next to nothing in almost every draw"),
        "correlation_wide": ("convention", "all shapes move as one in almost every draw"),
        "correlation_narrow": (
            "convention",
            "half of what is told a strong co-activation: nothing moves together",
        ),
        "loading_wide": (
            "rule",
            "shapes have an sd of 1 within groups, so that no loading of the data is above 1",
        ),
        "loading_narrow": ("convention", "λ² below 1/400 of a shape's variance in almost every draw"),
        "tight": (
            "convention",
            "a quarter of the shapes with next to no variance of their own: Heywood cases are expected",
        ),
        "one_factor": (
            "convention",
            "a quarter of the shapes are one factor: factors that are single shapes are expected",
        ),
    }
)

LIMITS = Limits()
