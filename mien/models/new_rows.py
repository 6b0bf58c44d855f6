"""Rows that a fit has not seen, prepared as the fit prepared its own, and written as one person's numbers.

The same steps as in `outcomes` (participants joined, shapes' contrasts added, bins averaged, incomplete rows dropped),
without what only a sample can do (dead shapes, levels in use); categories are coded by the fit's levels.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.derived_columns import add_derived_as_stored, sources_of, wanted_columns
from mien.models.design import new_columns
from mien.models.diagnostics import outcomes_of
from mien.models.levels import labels_in_use
from mien.models.outcomes import TIME_COLUMNS, check_columns, complete_rows, joined
from mien.models.refit import fit_coding, levels_of_factor
from mien.models.residuals import (
    POSITION,
    further_columns,
    root_precision,
    series_columns,
    squares_column,
    strata_dim,
)
from mien.models.spec import ModelSpec, has_sigma_prior
from mien.study.errors import FitError, SpecError
from mien.study.formula import Formula, parse_formula
from mien.study.trials import TRIAL_COLUMNS, contrast, mean_over_bins, row_codes

__all__ = ["NewTable", "PersonRows", "new_table", "person_rows"]

WHO = "participant"


class NewTable(NamedTuple):
    """New rows of all shapes and persons, with the columns that the model makes of them.

    frame : complete rows; coefficients, design : names and columns of X (row, coefficient).
    groups : (factor, terms, columns (row, term)) of every group term.
    persons : labels.
    """

    spec: ModelSpec
    formula: Formula
    frame: pd.DataFrame
    coefficients: tuple[str, ...]
    design: np.ndarray
    groups: list[tuple[str, tuple[str, ...], np.ndarray]]
    persons: tuple[str, ...]


class Nuisance(NamedTuple):
    """Effects of levels that the fit has not seen, of another factor than the person: integrated out.

    columns : (row, effect), level by level, terms fastest; levels : how many.
    """

    factor: str
    columns: np.ndarray
    levels: int


class PersonRows(NamedTuple):
    """One person's rows of one shape, series one after the other.

    design : (row, coefficient). own : (row, term) columns of the person's effects.
    known : (term, its level's place (row,), column (row,)), of levels that the fit has.
    strange : effects of levels that it has not. response, root : (row,); single : (row,) precision of one replicate.
    known_variance, replicates, squares : (row,). stratum : (row,) place among the fit's sigmas.
    gap : (row,) steps from the row before in its series, 0 for the first.
    """

    design: np.ndarray
    own: np.ndarray
    known: list[tuple[str, np.ndarray, np.ndarray]]
    strange: list[Nuisance]
    response: np.ndarray
    root: np.ndarray
    single: np.ndarray
    known_variance: np.ndarray
    replicates: np.ndarray
    squares: np.ndarray
    stratum: np.ndarray
    gap: np.ndarray


def new_table(fit: xr.DataTree, data: pd.DataFrame, participants: pd.DataFrame | None) -> NewTable:
    """Check and prepare.

    Raises
    ------
    SpecError
        For columns or levels that the model does not know.
    FitError
        For another tracker, persons that the fit has already, or no column of shapes where the fit has them.
    """
    if not isinstance(data, pd.DataFrame):
        raise FitError(f"new_trials: expected a pandas.DataFrame, found {type(data).__name__}.")
    spec = ModelSpec.from_json(str(fit.attrs["model_spec"]))
    if spec.smooths:
        raise SpecError(
            f"new rows: expected a fit without smooths, found {spec.smooths[0]}: score a valence fit."
        )
    formula = parse_formula(spec.formula)
    used = [*formula.columns, *further_columns(spec, formula)]
    wanted = wanted_columns(
        used, [*data.columns, *(participants.columns if participants is not None else ())]
    )
    data = joined(data, participants, [*used, *sources_of(wanted)])
    by_shape = outcomes_of(fit) != [None]
    needed = [*used, WHO, *(["blend_shape"] if by_shape else [])]
    check_columns(formula, data, [name for name in needed if name not in wanted])
    _check_tracker(fit, formula, data)
    if spec.contrasts:
        data = pd.concat(
            [
                part.astype({"blend_shape": "str"})
                for part in (data, contrast(data, spec.contrasts))
                if len(part)
            ],
            ignore_index=True,
        )
    data = add_derived_as_stored(data, wanted, json.loads(str(fit.attrs.get("derived", "{}"))))
    if (
        set(TRIAL_COLUMNS) <= set(data.columns)
        and spec.residual == "iid"
        and not set(TIME_COLUMNS) & set(used)
    ):
        data = mean_over_bins(data)
    persons = tuple(sorted(labels_in_use(cast(pd.Series, data[WHO]))))
    _check_persons(fit, persons)
    frame = cast(pd.DataFrame, data[complete_rows(data, [*used, WHO])[0]]).reset_index(drop=True)
    names, columns, groups = new_columns(formula, frame, fit_coding(fit))
    return NewTable(spec, formula, frame, tuple(names), columns, groups, persons or ("new",))


def _check_tracker(fit: xr.DataTree, formula: Formula, data: pd.DataFrame) -> None:
    mine = str(fit.attrs.get("tracker", ""))
    if not mine or "tracker" not in data.columns or "tracker" in formula.columns:
        return
    others = [
        name for name in labels_in_use(cast(pd.Series, data["tracker"])) if name not in mine.split(", ")
    ]
    if others:
        raise FitError(
            f"new_trials: expected the fit's tracker ({mine}), found {others[0]}: their coefficients are not the same "
            "measure; score against a fit of that tracker."
        )


def _check_persons(fit: xr.DataTree, persons: Sequence[str]) -> None:
    known = set(levels_of_factor(fit, WHO))
    twice = [label for label in persons if label in known]
    if twice:
        raise FitError(
            f"new_trials: expected persons that are not in the fit, found {', '.join(twice[:5])}, who would count "
            "twice: their effects are in mien.group_effects(fit); to score them, fit without them."
        )


def person_rows(fit: xr.DataTree, table: NewTable, shape: str | None, person: str) -> PersonRows:
    """One person's rows of one shape; there may be none."""
    frame = table.frame
    mine = frame[WHO].astype("str").to_numpy(dtype=object) == person
    if shape is not None:
        mine &= frame["blend_shape"].astype("str").to_numpy(dtype=object) == shape
    at = np.flatnonzero(mine)
    part = cast(pd.DataFrame, frame.iloc[at])
    order, gap = _series(table, part)
    at, part = at[order], cast(pd.DataFrame, part.iloc[order])
    spec, rows = table.spec, len(at)
    root = root_precision(spec, part)
    count, squares, known_variance = np.ones(rows), np.zeros(rows), np.zeros(rows)
    if spec.counts:
        count = part[spec.counts].to_numpy(dtype=np.float64)
        squares = part[squares_column(table.formula.response)].to_numpy(dtype=np.float64)
    if spec.standard_errors and has_sigma_prior(spec.priors):
        known_variance = part[spec.standard_errors].to_numpy(dtype=np.float64) ** 2
    own = [columns[at] for factor, _, columns in table.groups if factor == WHO]
    known, strange = _other_effects(fit, table, at, part)
    return PersonRows(
        table.design[at], np.concatenate(own, axis=1), known, strange,
        part[table.formula.response].to_numpy(dtype=np.float64), root, root**2 / count, known_variance, count, squares,
        _stratum(fit, spec, part), gap,
    )  # fmt: skip


def _series(table: NewTable, part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Order of the rows, and the steps from the row before in the same series."""
    rows = len(part)
    if table.spec.residual != "ar1" or not rows:
        return np.arange(rows), np.zeros(rows, dtype=np.int64)
    names = series_columns(table.spec, table.formula, [str(name) for name in part.columns])
    series, position = row_codes(part, names), part[POSITION].to_numpy(dtype=np.int64)
    order = np.lexsort((position, series))
    gap = np.zeros(rows, dtype=np.int64)
    joined = np.diff(series[order]) == 0
    gap[1:][joined] = np.diff(position[order])[joined]
    if (gap[1:][joined] == 0).any():
        raise FitError(
            f"new_trials: expected each {POSITION} once in a series ({', '.join(names)}), found one twice."
        )
    return order, gap


def _labels(part: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    columns = [part[name].astype("str").to_numpy(dtype=object) for name in names]
    return np.array([":".join(words) for words in zip(*columns, strict=True)], dtype=object)


def _stratum(fit: xr.DataTree, spec: ModelSpec, part: pd.DataFrame) -> np.ndarray:
    if not spec.sigma_by or spec.sigma_by == (WHO,):
        return np.zeros(len(part), dtype=np.int64)
    if WHO in spec.sigma_by:
        raise FitError(
            f"score: expected sigma_by of participants alone, or without them, found {', '.join(spec.sigma_by)}: a new "
            "person's sigmas in several strata have no population here."
        )
    levels = [str(label) for label in fit["posterior"].dataset[strata_dim(spec)].to_numpy()]
    labels = _labels(part, spec.sigma_by)
    unknown = sorted(set(labels) - set(levels))
    if unknown:
        raise FitError(
            f"new_trials: expected strata of sigma that the fit has ({', '.join(levels)}), found {unknown[0]}."
        )
    place = {level: number for number, level in enumerate(levels)}
    return np.array([place[label] for label in labels], dtype=np.int64)


def _other_effects(
    fit: xr.DataTree, table: NewTable, at: np.ndarray, part: pd.DataFrame
) -> tuple[list[tuple[str, np.ndarray, np.ndarray]], list[Nuisance]]:
    """Effects of factors other than the person: of known levels, and of others."""
    known, strange = [], []
    for factor in dict.fromkeys(factor for factor, _, _ in table.groups if factor != WHO):
        terms = [term for mine, names, _ in table.groups if mine == factor for term in names]
        columns = np.concatenate([matrix[at] for mine, _, matrix in table.groups if mine == factor], axis=1)
        labels = _labels(part, factor.split(":"))
        place = {level: number for number, level in enumerate(levels_of_factor(fit, factor))}
        code = np.array([place.get(label, -1) for label in labels], dtype=np.int64)
        for number, term in enumerate(terms):
            known.append(
                (f"{term}|{factor}", np.maximum(code, 0), np.where(code >= 0, columns[:, number], 0.0))
            )
        if (code < 0).any():
            others, number = np.unique(labels[code < 0], return_inverse=True)
            wide = np.zeros((len(at), len(others), len(terms)))
            wide[np.flatnonzero(code < 0), number] = columns[code < 0]
            strange.append(Nuisance(factor, wide.reshape(len(at), -1), len(others)))
    return known, strange
