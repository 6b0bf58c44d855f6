"""What a fit's checks of the model say, in plain words: sentences, a table of what lies outside, and what matters.

Of persons only those are named who come again in many shapes: of a thousand combinations of person and shape some fifty
lie outside by chance.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import pandas as pd
from scipy.stats import binom

from mien.models.factors.spec import is_factor_fit
from mien.models.stored_checks import stored_checks
from mien.reports_app.rows import Row, rows_of

__all__ = ["ModelChecks", "model_checks"]

BY_PERSON, AVERAGES, PIT = "residual sd", "shape averages", "PIT"
SAID = {
    BY_PERSON: "Scatter: {k} of {n} combinations of person and shape scatter more or less than the model allows",
    "skewness": "Lean: what the model leaves leans further to one side than it expects in {k} of {n} shapes",
    "sd of rows": "Scatter: {k} of {n} combinations of person and shape vary more or less than the model allows",
    "autocorrelation of trials": "Order: one trial resembles the next otherwise than the model expects in {k} of {n} "
    "shapes",
    "autocorrelation of bins": "Time: one bin resembles the next otherwise than the model expects in {k} of {n} shapes",
    "share of zeros": "Zeros: values of exactly 0 are more or fewer than the model gives in {k} of {n} shapes",
    "share of ones": "Ones: values of 1 and above are more or fewer than the model gives in {k} of {n} shapes",
    "share below 0": "Range: the model gives values below 0, where there are none, in {k} of {n} shapes",
    PIT: "Prediction: trials that were left out fall where the model does not expect them in {k} of {n} shapes",
}
OTHERS = "{name}: {k} of {n} lie outside what the model expects"
MANY = 0.5  # share of shapes above which a check matters to the headline
FEWEST = 4  # shapes, below which none does
LISTED = 8  # persons
RARE = 0.001  # chance of as many shapes of one person outside, were shapes independent


OF_FACTORS = (
    "the eigenvalues of its correlations were not compared with those of data from the model; "
    "`mien.models.eigenvalue_check` does that."
)


class ModelChecks(NamedTuple):
    """Of one fit.

    missing : why there are none. sentences : one a kind of check. outside, persons : tables of texts.
    matters : sentences for the head of a report.
    """

    fit: str
    missing: str
    sentences: list[str]
    outside: pd.DataFrame
    persons: pd.DataFrame
    matters: list[str]


def model_checks(name: str, fit: Any) -> ModelChecks:
    """The checks that are stored with a fit, for readers.

    Parameters
    ----------
    name : of the fit. fit : with or without checks.
    """
    found = stored_checks(fit)
    if found.table is None:
        notes = list(found.notes)
        missing = OF_FACTORS if is_factor_fit(fit) else found.missing
        return ModelChecks(name, "" if notes else missing, notes, pd.DataFrame(), pd.DataFrame(), [])
    rows = rows_of(found.table)
    again = _again(rows)
    return ModelChecks(
        name, "", [_sentence(kind, some) for kind, some in _by("check", rows).items()],
        _outside([row for row in rows if not row["participant"]]), _persons(again), _matters(rows, again),
    )  # fmt: skip


def _by(key: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row[key]), []).append(row)
    return found


def _sentence(kind: str, rows: Sequence[Row]) -> str:
    outside = sum(row["outside"] for row in rows)
    if kind == AVERAGES:
        ratio = rows[0]["observed"] / rows[0]["replicated"]
        return (
            f"Shapes together: averages over shapes vary {ratio:.1f} times as much as independent shapes would"
            + (
                ". What adds shapes up needs their joint errors, as pooled effects have them."
                if outside
                else ", which is within what the model expects."
            )
        )
    expected = (1 - rows[0]["ci_prob"]) * len(rows)
    told = SAID.get(kind, OTHERS).format(name=kind, k=outside, n=len(rows))
    return f"{told}; by chance one expects {f'about {expected:.0f}' if expected >= 1 else 'less than 1'}."


def _outside(rows: Sequence[Row]) -> pd.DataFrame:
    """What lies outside of checks by shape, as texts; of PIT the distance, and how improbable it is."""
    return pd.DataFrame(
        [
            {"check": row["check"], "blend shape": row["blend_shape"], "observed": _number(row["observed"]),
             "the model expects": _expected(row)}
            for row in rows if row["outside"]
        ]
    )  # fmt: skip


def _expected(row: Row) -> str:
    if row["check"] == PIT:
        return f"p {'< .001' if row['p'] < 0.001 else f'= {row["p"]:.2g}'}"
    return f"{_number(row['replicated_lower'])} to {_number(row['replicated_upper'])}"


def _number(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


class _Person(NamedTuple):
    """outside, of : how many shapes; above : of those outside, with more scatter; ratio : median, to the expected."""

    name: str
    outside: int
    of: int
    above: int
    ratio: float


def _again(rows: Sequence[Row]) -> list[_Person]:
    """Persons outside in more shapes than chance would have it, those of most shapes first."""
    found = []
    for name, some in _by("participant", [row for row in rows if row["participant"]]).items():
        outside = [row for row in some if row["outside"]]
        chance = 1 - some[0]["ci_prob"]
        if len(outside) >= 2 and binom.sf(len(outside) - 1, len(some), chance) < RARE:
            above = sum(row["observed"] > row["replicated_upper"] for row in outside)
            ratio = median(row["observed"] / row["replicated"] for row in some)
            found.append(_Person(name, len(outside), len(some), above, ratio))
    return sorted(found, key=lambda one: -one.outside)


def _persons(again: Sequence[_Person]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"person": one.name, "shapes outside": f"{one.outside} of {one.of}", "with more scatter": str(one.above),
             "scatter / expected (median)": f"{one.ratio:.2f}"}
            for one in again[:LISTED]
        ]
    )  # fmt: skip


def _matters(rows: Sequence[Row], again: Sequence[_Person]) -> list[str]:
    pit = [row["outside"] for row in rows if row["check"] == PIT]
    found = []
    if len(pit) >= FEWEST and sum(pit) > MANY * len(pit):
        found.append(f"The model does not foretell single trials well in {sum(pit)} of {len(pit)} shapes.")
    names = [one.name for one in again if one.of >= FEWEST and one.outside > MANY * one.of]
    if names:
        single = len(names) == 1
        found.append(
            f"{'Person' if single else 'Persons'} {', '.join(names)} {'scatters' if single else 'scatter'} otherwise "
            f"than the model allows in most shapes: look at {'this recording' if single else 'these recordings'}."
        )
    return found
