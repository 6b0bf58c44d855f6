"""Slopes of traits per raw unit, and corrected for what a trait is measured with.

A model has z-scores, so that traits can be compared and priors fit. `valence:trait_z / sd` is the slope per point of
the scale. A trait measured with reliability r dilutes its slope: if x = t + error, with Var(t) = r Var(x), the slope on
x is r times that on t. Hence, per raw unit of the true score, slope / r; per standard deviation of the true score,
slope on z / √r. This takes errors that are independent of everything, r as known, and a single trait: with further
traits or covariates that go with it, the correction is not this one, and is refused.
"""

import json
from collections.abc import Mapping
from math import sqrt
from typing import cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.effect_tables import effects
from mien.models.factors.spec import require_coefficients
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = ["trait_slopes"]

SCALED = ("mean", "sd", "eti_lower", "eti_upper", "rope", "mcse_mean")


def trait_slopes(
    fit: xr.DataTree,
    reliability: Mapping[str, float] | None = None,
    *,
    rope: float | Mapping[str, float] | None = None,
    ci_prob: float = 0.95,
) -> pd.DataFrame:
    """Effects of z-scored columns, per standard deviation and per raw unit.

    Parameters
    ----------
    fit : of a model with `trait_z` columns that were derived by mien.
    reliability : trait → reliability (0–1), e.g. Cronbach's alpha of the sample; adds rows of the true score.
    rope, ci_prob : as in `mien.effects`; the ROPE is per standard deviation.

    Returns
    -------
    The columns of `mien.effects` after `trait`, `per` ("sd", "unit", "sd of the true score", "unit of the true score").

    Raises
    ------
    SpecError
        For a fit without such a column, a reliability outside (0, 1], of an unknown trait, or in a model with other
        persons' columns.
    """
    require_coefficients(fit, "trait_slopes")
    derived = {
        name: told
        for name, told in json.loads(str(fit.attrs.get("derived", "{}"))).items()
        if told["kind"] == "z"
    }
    if not derived:
        raise SpecError(
            "fit: expected a model with z-scored columns (trait_z), found none: see mien.models.traits."
        )
    given = dict(reliability or {})
    _check_reliability(given, derived, fit)
    plain = effects(fit, rope=rope, ci_prob=ci_prob)
    tables = []
    for name, told in derived.items():
        mine = [effect for effect in plain["effect"].unique() if name in str(effect).split(":")]
        rows = cast(pd.DataFrame, plain[plain["effect"].isin(mine)])
        tables += _both(rows, told["from"], told["sd"], "")
        if told["from"] in given:
            root = sqrt(given[told["from"]])
            hypotheses = {str(effect): f"{effect} / {root!r}" for effect in mine}
            rows = effects(fit, hypotheses, rope=rope, ci_prob=ci_prob)
            tables += _both(rows, told["from"], told["sd"] * root, " of the true score")
    return pd.concat(tables, ignore_index=True)


def _both(rows: pd.DataFrame, trait: str, sd: float, of: str) -> list[pd.DataFrame]:
    """Rows per sd, and the same per unit: nothing but the unit changes."""
    scaled = [name for name in rows.columns if name in SCALED or name.startswith("beta_sigma")]
    per_unit = rows.assign(**{name: rows[name] / sd for name in scaled})
    tables = []
    for table, per in ((rows, "sd"), (per_unit, "unit")):
        mine = table.copy()
        mine.insert(0, "trait", trait)
        mine.insert(1, "per", f"{per}{of}")
        tables.append(mine)
    return tables


def _check_reliability(
    given: Mapping[str, float], derived: Mapping[str, Mapping[str, object]], fit: xr.DataTree
) -> None:
    traits = [str(told["from"]) for told in derived.values()]
    for trait, value in given.items():
        if trait not in traits:
            raise SpecError(
                f"reliability: expected traits of the model ({', '.join(traits)}), found {trait!r}"
                f"{nearest(trait, traits)}."
            )
        if not 0 < value <= 1:
            raise SpecError(f"reliability of {trait}: expected a number above 0, at most 1, found {value!r}.")
    if given and len(_persons_columns(fit)) > 1:
        raise SpecError(
            f"reliability: expected a model with one column of persons, found {', '.join(_persons_columns(fit))}: the "
            "simple correction for attenuation is wrong beside others; fit the trait alone."
        )


def _persons_columns(fit: xr.DataTree) -> list[str]:
    """Coefficients' columns, products left out, that are the same in all rows of a person."""
    constants = fit["constant_data"].dataset
    if "participant index" not in constants:
        return []
    names = [str(name) for name in constants["coefficient"].to_numpy()]
    columns = constants["design"].to_numpy().reshape(-1, len(names))
    person = constants["participant index"].to_numpy().ravel()
    there = (person >= 0) & np.isfinite(columns).all(axis=1)
    columns, person = columns[there], person[there]
    first = np.unique(person, return_index=True)[1]
    place = np.searchsorted(person[first], person)
    same = (np.abs(columns - columns[first][place]) < 1e-9).all(axis=0)
    return [
        name for name, one in zip(names, same, strict=True) if one and name != "Intercept" and ":" not in name
    ]
