"""The checks in words, for people who know faces and not priors: one shape in full, then what deserves a look."""

from collections.abc import Iterator, Mapping

import pandas as pd

from mien.simulation.prior_predictive.judging import number
from mien.simulation.prior_predictive.possible import Possible
from mien.simulation.prior_predictive.result import EXPECTED

__all__ = ["factor_sentences", "formula_sentences"]

NAMED = 3  # shapes that a sentence names
WRONG = {
    "wide": "expects more than can be told from any scale of the data",
    "narrow": "has decided before the data are seen",
    "impossible": "expects mostly what cannot occur",
}


def formula_sentences(table: pd.DataFrame, shape: str, possible: Possible | None, draws: int) -> tuple[str, ...]:
    """Sentences of a model with a formula.

    Parameters
    ----------
    table : of all shapes. shape : the one told in full. possible : its range. draws : of the priors.
    """
    mine = table[table["blend_shape"] == shape]
    name = shape or "the outcome"
    found = [
        *_effect_sentences(mine, name, possible),
        *_impossible_sentences(mine, name, possible),
        *_scatter_sentences(mine, name),
        *_curve_sentences(mine, name),
        *_person_sentences(mine, name),
        *_reliability_sentences(mine, name),
        *_verdict_sentences(table),
    ]
    return (*found, f"Intervals hold 95 % of {draws} draws from the priors; no posterior is in them.")


def factor_sentences(table: pd.DataFrame, possible: Possible | None, draws: int) -> tuple[str, ...]:
    """Sentences of co-activation."""
    found = []
    for level, what in (("within", "from trial to trial of a person"), ("between", "from person to person")):
        share = _first(table, "communality", f"{level} groups")
        r = _first(table, "correlation", f"{level} groups")
        if share and r:
            found.append(
                f"Before seeing the data the model expects that factors carry {_percent(share['median'])} of what moves a "
                f"typical shape {what} ({_percent(share['lower'])} to {_percent(share['upper'])}), with correlations of "
                f"the size {number(r['median'])} ({number(r['lower'])} to {number(r['upper'])})."
            )
    scatter = table[(table["check"] == "scatter") & table["quantity"].str.contains("within")]
    if len(scatter):
        row = scatter.iloc[0]
        found.append(
            f"A shape's trials scatter by {number(row['median'])} times what was observed ({number(row['lower'])} to "
            f"{number(row['upper'])})."
        )
    outside = table[table["check"] == "impossible"]
    if len(outside) and possible is not None:
        found.append(
            f"In a typical draw up to {_percent(float(outside['median'].max()))} of a shape's values cannot occur "
            f"({possible.why})."
        )
    found.append("Coefficients have no proper prior here: where shapes lie is taken from the data.")
    found += _verdict_sentences(table)
    return (*found, f"Intervals hold 95 % of {draws} draws from the priors; no posterior is in them.")


def _first(rows: pd.DataFrame, check: str, text: str = "") -> Mapping[str, float] | None:
    found = rows[(rows["check"] == check) & rows["quantity"].str.contains(text, regex=False)]
    return found.iloc[0].to_dict() if len(found) else None


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "under 1 %"
    return f"{100 * share:.0f} %"


def _of_range(value: float, possible: Possible) -> str:
    share = 100 * value / (possible.width if possible.low == 0 else possible.high)
    return f"{share:+.0f} %" if abs(share) >= 10 else f"{share:+.1f} %"


def _effect_sentences(mine: pd.DataFrame, name: str, possible: Possible | None) -> Iterator[str]:
    rows = mine[(mine["check"] == "effect") & (mine["units"] != "share")]
    for place, row in enumerate(rows.to_dict("records")):
        between = f"between {number(row['lower'])} and {number(row['upper'])} {_units(row['units'])}"
        if possible is not None and row["quantity"] == "positive − negative":
            between = (
                f"between {_of_range(row['lower'], possible)} and {_of_range(row['upper'], possible)} of the full range"
            )
        start = "Before seeing the data the model expects" if place == 0 else "It expects"
        words = {
            "positive − negative": f"{name} to positive stimuli to be {between} stronger than to negative ones"
        }.get(row["quantity"], f"{row['quantity']} of {name} to be {between}")
        yield f"{start} {words}."


def _units(units: str) -> str:
    return {"coefficient": "of the coefficient's range 0–1", "contrast": "(units of the contrast)"}.get(units, "")


def _impossible_sentences(mine: pd.DataFrame, name: str, possible: Possible | None) -> Iterator[str]:
    outside = _first(mine, "impossible", "share of a draw's rows that cannot")
    if outside and possible is not None:
        yield (
            f"In a typical draw {_percent(outside['median'])} of the values of {name} that it simulates cannot occur: "
            f"they lie outside {number(possible.low)} to {number(possible.high)} ({possible.why})."
        )
    elif possible is None:
        yield "What values are impossible is not known for this outcome: give possible=(low, high) to have them counted."
    ends = _first(mine, "impossible", "at 0 or 1")
    if ends:
        yield f"In a typical draw {_percent(ends['median'])} of the simulated values of {name} are 0 or 1."


def _scatter_sentences(mine: pd.DataFrame, name: str) -> Iterator[str]:
    row = _first(mine, "scatter")
    if row:
        yield (
            f"Simulated rows of {name} scatter with an sd of {number(row['median'])} ({number(row['lower'])} to "
            f"{number(row['upper'])}); the observed ones with {number(row['observed'])}."
        )


def _curve_sentences(mine: pd.DataFrame, name: str) -> Iterator[str]:
    row = _first(mine, "curve")
    if row:
        yield (
            f"The course of the difference in {name} is expected to reach {number(row['median'])} at its largest "
            f"({number(row['lower'])} to {number(row['upper'])})."
        )


def _person_sentences(mine: pd.DataFrame, name: str) -> Iterator[str]:
    row = _first(mine, "persons", "sd between persons of positive")
    if row:
        yield (
            f"Persons' own answers to valence in {name} are expected to differ with an sd of {number(row['median'])} "
            f"({number(row['lower'])} to {number(row['upper'])})."
        )
    other = _first(mine, "persons", "positive − negative has the opposite")
    if other:
        yield f"In a typical draw {_percent(other['median'])} of the persons answer the other way round than the mean."


def _reliability_sentences(mine: pd.DataFrame, name: str) -> Iterator[str]:
    row = _first(mine, "reliability", "positive − negative")
    if row:
        yield (
            f"A test of this length is expected to tell persons' answers in {name} apart with a reliability of "
            f"{number(row['median'])} ({number(row['lower'])} to {number(row['upper'])})."
        )


def _verdict_sentences(table: pd.DataFrame) -> Iterator[str]:
    wrong = table[table["verdict"] != EXPECTED]
    shapes = max(int(table["blend_shape"].nunique()), 1)
    if not len(wrong):
        yield "No prior is told wide, narrow or impossible under the limits stated."
        return
    for (check, quantity, verdict), rows in wrong.groupby(["check", "quantity", "verdict"], sort=False):
        names = [str(one) for one in rows["blend_shape"] if one]
        listed = ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
        where = f" in {len(names)} of {shapes} shapes ({listed})" if names else ""
        row = rows.iloc[0]
        interval = (
            f"{number(row['median'])} ({number(row['lower'])} to {number(row['upper'])})"
            if pd.notna(row["lower"])
            else number(row["median"])
        )
        yield (
            f"Look at {check}, {quantity}: {verdict}{where}, which {WRONG[str(verdict)]}: {interval}, where the limit is: "
            f"{row['limit']}."
        )
