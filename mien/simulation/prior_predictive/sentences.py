"""The checks in words, for people who know faces and not priors: one shape in full, then what deserves a look."""

from collections.abc import Iterator, Sequence

import numpy as np

from mien.simulation.prior_predictive.judging import number
from mien.simulation.prior_predictive.possible import Possible
from mien.simulation.prior_predictive.result import EXPECTED, Row

__all__ = ["factor_sentences", "formula_sentences"]

NAMED = 3  # shapes that a sentence names
TOLD = 4  # effects that have a sentence of their own
VALENCE = "positive − negative"
WRONG = {
    "wide": "the prior is on another scale than the data",
    "narrow": "the prior has decided before the data are seen",
    "impossible": "the prior expects mostly what cannot occur",
}
UNITS = {"coefficient": "of the coefficient's range 0–1", "contrast": "(units of the contrast)"}


def formula_sentences(
    rows: Sequence[Row], shape: str, possible: Possible | None, draws: int
) -> tuple[str, ...]:
    """Sentences of a model with a formula.

    Parameters
    ----------
    rows : of all shapes. shape : the one told in full. possible : its range. draws : of the priors.
    """
    mine = [row for row in rows if row.blend_shape == shape]
    name = shape or "the outcome"
    return (
        *_of_effects(mine, name, possible),
        *_of_impossible(mine, name, possible),
        *_of_sizes(mine, name),
        *_of_persons(mine, name),
        *_of_verdicts(rows),
        _basis(draws),
    )


def factor_sentences(rows: Sequence[Row], possible: Possible | None, draws: int) -> tuple[str, ...]:
    """Sentences of co-activation."""
    found = []
    for level, what in (("within", "from trial to trial of a person"), ("between", "from person to person")):
        share = _first(rows, "communality", f"{level} groups")
        r = _first(rows, "correlation", f"{level} groups")
        if share and r:
            found.append(
                f"Before seeing the data the model expects factors to carry {_percent(share.median)} of what moves a "
                f"typical shape {what} ({_percent(share.lower)} to {_percent(share.upper)}), with correlations of the "
                f"size {_interval(r)}."
            )
    scatter = _first(rows, "scatter", "within")
    if scatter:
        found.append(f"A shape's trials scatter by {_interval(scatter)} times what was observed.")
    outside = [row.median for row in rows if row.check == "impossible"]
    if outside and possible is not None:
        found.append(
            f"In a typical draw {_percent(max(outside))} of a shape's values cannot occur, in the shape with most of "
            f"them ({possible.why})."
        )
    found.append("Coefficients have no proper prior here: where shapes lie is taken from the data.")
    return (*found, *_of_verdicts(rows), _basis(draws))


def _basis(draws: int) -> str:
    return f"Intervals hold 95 % of {draws} draws from the priors; no posterior is in them."


def _first(rows: Sequence[Row], check: str, text: str = "") -> Row | None:
    return next((row for row in rows if row.check == check and text in row.quantity), None)


def _percent(share: float) -> str:
    return "under 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def _interval(row: Row) -> str:
    if not np.isfinite(row.lower):
        return number(row.median)
    return f"{number(row.median)} ({number(row.lower)} to {number(row.upper)})"


def _of_range(value: float, possible: Possible) -> str:
    """As a share of the range of a single coefficient."""
    share = 100 * value / (possible.width if possible.low == 0 else possible.high)
    return (f"{share:.0f} %" if abs(share) >= 10 else f"{share:.1f} %").replace("-", "−")


def _of_effects(mine: Sequence[Row], name: str, possible: Possible | None) -> Iterator[str]:
    rows = [row for row in mine if row.check == "effect" and row.units != "share"]
    for place, row in enumerate(rows[:TOLD]):
        start = "Before seeing the data the model expects" if place == 0 else "It expects"
        yield f"{start} {_effect(row, name, possible)}."
    if len(rows) > TOLD:
        yield f"{len(rows) - TOLD} further effects are in the table."


def _effect(row: Row, name: str, possible: Possible | None) -> str:
    if row.quantity != VALENCE:
        units = UNITS.get(row.units, "")
        return f"{row.quantity} of {name} to be between {number(row.lower)} and {number(row.upper)} {units}".strip()
    between = f"between {number(row.lower)} and {number(row.upper)}"
    if possible is not None:
        between = (
            f"between {_of_range(row.lower, possible)} and {_of_range(row.upper, possible)} of the full range"
        )
    return f"{name} to positive stimuli to be {between} stronger than to negative ones"


def _of_impossible(mine: Sequence[Row], name: str, possible: Possible | None) -> Iterator[str]:
    outside = _first(mine, "impossible", "share of a draw's rows that cannot")
    if outside and possible is not None:
        yield (
            f"In a typical draw {_percent(outside.median)} of the values of {name} that it simulates cannot occur: "
            f"they lie outside {number(possible.low)} to {number(possible.high)} ({possible.why})."
        )
    elif possible is None:
        yield "What values are impossible is not known for this outcome: possible=(low, high) has them counted."
    ends = _first(mine, "impossible", "at 0 or 1")
    if ends:
        yield (
            f"In a typical draw {_percent(ends.median)} of the simulated values of {name} are 0 or 1; of the observed "
            f"ones {_percent(ends.observed)} are."
        )


def _of_sizes(mine: Sequence[Row], name: str) -> Iterator[str]:
    scatter, curve = _first(mine, "scatter"), _first(mine, "curve")
    if scatter:
        yield (
            f"Simulated rows of {name} scatter with an sd of {_interval(scatter)}; the observed ones with "
            f"{number(scatter.observed)}."
        )
    if curve:
        yield f"The course of the difference in {name} is expected to reach {_interval(curve)} at its largest."


def _of_persons(mine: Sequence[Row], name: str) -> Iterator[str]:
    sd = _first(mine, "persons", f"sd between persons of {VALENCE}")
    other = _first(mine, "persons", f"{VALENCE} has the opposite")
    reliable = _first(mine, "reliability", VALENCE)
    if sd:
        yield f"Persons' own answers to valence in {name} are expected to differ with an sd of {_interval(sd)}."
    if other:
        yield f"In a typical draw {_percent(other.median)} of the persons answer the other way round than the mean."
    if reliable:
        yield (
            f"A test of this length is expected to tell persons' answers in {name} apart with a reliability of "
            f"{_interval(reliable)}."
        )


def _of_verdicts(rows: Sequence[Row]) -> Iterator[str]:
    wrong = [row for row in rows if row.verdict != EXPECTED]
    shapes = len({row.blend_shape for row in rows})
    if not wrong:
        yield "No prior is told wide, narrow or impossible under the limits stated."
    for check, quantity, verdict in dict.fromkeys((row.check, row.quantity, row.verdict) for row in wrong):
        mine = [row for row in wrong if (row.check, row.quantity, row.verdict) == (check, quantity, verdict)]
        names = [row.blend_shape for row in mine if row.blend_shape]
        listed = ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
        where = f" in {len(names)} of {shapes} shapes ({listed})" if names else ""
        yield (
            f"Look at {quantity} ({check}): {verdict}{where}; {WRONG[verdict]}. It is {_interval(mine[0])}; the limit: "
            f"{mine[0].limit}."
        )
