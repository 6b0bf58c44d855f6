"""`prior_table`: what a model can take priors for, what each has now, and why.

One row a parameter: its role, the families that it can have, the prior on the scale of the data (a range over shapes
where every shape has its own), the kind of its source, the reason, what it says about data, and the alternatives that
the library has. The same table is made of a specification with data, and of a fit.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
import xarray as xr

from mien.models.factors.spec import PRIORS, FactorSpec, is_factor_fit
from mien.models.prior_freezing import freeze_priors, stored_priors
from mien.models.spec import ModelSpec
from mien.priors import LIBRARY, FrozenPriors, ResolvedPrior, families_of, role_by_name, statement_from_dict
from mien.study.errors import SpecError

__all__ = ["PRIOR_COLUMNS", "numbers_text", "prior_table", "priors_listed"]

PRIOR_COLUMNS = (
    "parameter", "role", "families", "prior", "outcomes", "source", "entry", "reason", "implies", "scale",
    "alternatives",
)  # fmt: skip
NOTHING = 1e-12  # what rounding leaves of a mean of 0


def prior_table(
    model: ModelSpec | FactorSpec | xr.DataTree,
    data: pd.DataFrame | None = None,
    *,
    participants: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Everything that has a prior in a model.

    Parameters
    ----------
    model : a specification, with the data that give its priors their scale; or a fit, which has them.

    Returns
    -------
    DataFrame with `PRIOR_COLUMNS`; `families` and `alternatives` are texts separated by ", ".

    Raises
    ------
    SpecError, FitError
    """
    if isinstance(model, xr.DataTree):
        outcomes, entries = stored_priors(model), json.loads(str(model.attrs.get("prior_entries", "{}")))
        return _table(outcomes, entries, factors=is_factor_fit(model))
    if data is None and isinstance(model, ModelSpec):
        raise SpecError("prior_table: expected the data that give priors their scale, found none.")
    frozen = freeze_priors(model, pd.DataFrame() if data is None else data, participants=participants)
    return priors_listed(frozen, factors=isinstance(model, FactorSpec))


def priors_listed(frozen: FrozenPriors, *, factors: bool = False) -> pd.DataFrame:
    """The same of frozen priors; `factors` : whether they are of a co-activation model."""
    return _table(frozen.outcomes, frozen.entries, factors=factors)


def _table(
    outcomes: Mapping[str, Mapping[str, ResolvedPrior]],
    entries: Mapping[str, Mapping[str, Any]],
    *,
    factors: bool,
) -> pd.DataFrame:
    parameters = dict.fromkeys(name for priors in outcomes.values() for name in priors)
    rows = []
    for name in parameters:
        many = [priors[name] for priors in outcomes.values() if name in priors]
        entry = entries.get(many[0].id, {})
        role = str(entry.get("role", "")) or role_by_name(name)
        implies = entry.get("implies")
        source = entry.get("source", {})
        families = [PRIORS[name].__name__] if factors else families_of(role)
        rows.append({
            "parameter": name, "role": role, "families": ", ".join(families), "prior": numbers_text(many),
            "outcomes": len(many), "source": many[0].source, "entry": many[0].id,
            "reason": str(source.get("reason", "")),
            "implies": statement_from_dict(implies).sentence() if implies else "",
            "scale": str(entry.get("scale", "raw")),
            "alternatives": ", ".join(item.id.partition("/")[2] for item in LIBRARY.variants(role)),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(PRIOR_COLUMNS))


def numbers_text(many: list[ResolvedPrior]) -> str:
    """``Normal(0, 0.012 to 0.34)``: one prior, or the range of several outcomes' numbers."""
    families = dict.fromkeys(type(resolved.prior).__name__ for resolved in many)
    if len(families) > 1:
        return " or ".join(
            numbers_text([one for one in many if type(one.prior).__name__ == name]) for name in families
        )
    numbers = [asdict(resolved.prior) for resolved in many]
    texts = [
        _range(min(one[name] for one in numbers), max(one[name] for one in numbers)) for name in numbers[0]
    ]
    return f"{next(iter(families))}({', '.join(texts)})"


def _range(low: float, high: float) -> str:
    texts = [f"{0.0 if abs(value) < NOTHING else value:.3g}" for value in (low, high)]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"
