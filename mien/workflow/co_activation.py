"""Co-activation of a study: how many factors, and the fit of that many, stored as one.

With several numbers of factors asked for, all are fitted and compared (`mien.models.factor_numbers`); the one that the
comparison recommends is stored, with the table of all of them beside it, so that the choice can be seen and undone:
`--factors 4` fits just that.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from mien.models import co_activation, eigenvalue_check, factor_numbers, fit
from mien.models.factors.spec import FAMILY, FactorSpec
from mien.models.prior_freezing import tell_frozen_factors, with_frozen_factors
from mien.priors import FrozenPriors, Override
from mien.study.errors import SpecError
from mien.workflow.parallel import Progress

__all__ = ["NUMBERS", "FactorChoice", "compared_numbers", "fit_factors_of", "read_numbers"]

NUMBERS = "factor_numbers"  # the group that holds the comparison
GRID = tuple(range(2, 8))
FOLDS = 8
OUTSIDE = 0.025  # share of replicates with an eigenvalue as large, below which it is said


@dataclass(frozen=True)
class FactorChoice:
    """Options of co-activation.

    Parameters
    ----------
    factors : numbers of factors within persons to compare; one is fitted as it is.
    between, part, covariates : as in `mien.models.co_activation`.
    folds : parts that persons are left out in; 0 compares by trials left out alone.
    priors : as in `mien.models.co_activation`.
    """

    factors: tuple[int, ...] = GRID
    between: int = 2
    part: str = "all"
    covariates: tuple[str, ...] = ()
    folds: int = FOLDS
    priors: Mapping[str, Override] = field(default_factory=dict)

    @property
    def spec(self) -> FactorSpec:
        """The model with the first number of factors."""
        made = co_activation(
            self.factors[0],
            between=self.between,
            part=self.part,
            covariates=self.covariates,
            priors=self.priors,
        )
        return made if self.part == "all" else replace(made, name=f"{FAMILY}-{self.part}")

    @property
    def told(self) -> str:
        """What makes a stored comparison another one."""
        return json.dumps([list(self.factors), self.folds if len(self.factors) > 1 else 0])


def read_numbers(text: str) -> tuple[int, ...]:
    """Numbers of factors from a text: "5", "3-7" or "2,4,6".

    Raises
    ------
    SpecError
    """
    parts = [re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip()) for part in text.split(",")]
    found = [number for part in parts if part for number in range(int(part[1]), int(part[2] or part[1]) + 1)]
    if not all(parts):
        found = []
    if not found or min(found) < 1:
        raise SpecError(f"factors: expected numbers such as 5, 3-7 or 2,4,6, found {text!r}.")
    return tuple(dict.fromkeys(found))


def fit_factors_of(
    choice: FactorChoice,
    trials: pd.DataFrame,
    participants: pd.DataFrame,
    settings: Mapping[str, Any],
    progress: Progress | None,
    *,
    frozen: FrozenPriors | None = None,
    registered: bool = False,
) -> xr.DataTree:
    """The fit of one number of factors, or of the recommended one of several with the comparison beside it."""
    if len(choice.factors) == 1:
        own = {"frozen": frozen, "registered": registered, "progress": progress, **settings}
        return checked(fit(choice.spec, trials, participants=participants, **own))
    if settings["engine"] == "nuts":
        raise SpecError(
            f"engine: expected auto or collapsed to compare {len(choice.factors)} numbers of factors, found nuts, "
            "which would take hours: name one number (--factors 5)."
        )
    found = factor_numbers(
        trials, participants=participants, factors=choice.factors, folds=choice.folds,
        spec=with_frozen_factors(choice.spec, frozen) if frozen else choice.spec,
        draws=settings["draws"], seed=settings["seed"], progress=progress,
    )  # fmt: skip
    tree = found.fits[found.recommended]
    tell_frozen_factors(tree, choice.spec, frozen, registered=registered)
    columns = {name: ("row", _plain(found.table[name].to_numpy())) for name in found.table}
    tree[NUMBERS] = xr.DataTree(xr.Dataset(columns))
    tree.attrs[NUMBERS] = json.dumps({"recommended": found.recommended, "answer": found.answer})
    return checked(tree)


def checked(fitted: xr.DataTree) -> xr.DataTree:
    """The fit with what its own eigenvalues say of the number of factors, in a sentence (`attrs["checks"]`)."""
    if "observed_data" not in fitted.children:
        return fitted
    table, factors = eigenvalue_check(fitted), fitted["posterior"].sizes["factor"]
    after = table[table["number"] > factors]
    large = after[after["p_larger"] < OUTSIDE]
    if len(large):
        numbers = ", ".join(str(number) for number in large["number"])
        which = f"Eigenvalue {numbers}" if len(large) == 1 else f"Eigenvalues {numbers}"
        note = (
            f"{which} of the correlations within: larger than in data from the model. The number of factors fitted, "
            f"{factors}, does not say all that moves together."
        )
    else:
        note = f"No eigenvalue after the first {factors} of the correlations within is larger than the model expects."
    fitted.attrs["checks"] = json.dumps({"notes": [note]})
    return fitted


def compared_numbers(fitted: xr.DataTree) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The comparison that a fit has with it: its table, and what it comes to; None where there is none."""
    if NUMBERS not in fitted.children:
        return None
    group = fitted[NUMBERS].dataset
    table = pd.DataFrame({str(name): group[name].to_numpy() for name in group.data_vars})
    return table, json.loads(str(fitted.attrs[NUMBERS]))


def _plain(column: np.ndarray) -> np.ndarray:
    return column if column.dtype.kind in "fib" else np.array([str(text) for text in column])
