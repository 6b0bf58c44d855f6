"""Trials to be scored: those that a fit was made from, or others, prepared as the fit prepared its own.

The same steps as in `rows` (participants joined, bins averaged, excluded rows dropped, incomplete trials dropped and
counted), without what only a sample can do: categories are coded by the fit's levels, derived columns have its means,
and shapes its location and scale. New trials are all there is to know of their persons: those whom the fit knows too
get an effect of their own from these trials, not from the fit's.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.derived_columns import add_derived_as_stored, sources_of, wanted_columns
from mien.models.design import new_columns
from mien.models.factors.conditional import StoredRows, stored_rows
from mien.models.factors.spec import FactorSpec, is_factor_fit
from mien.models.levels import codes_of, labels_in_use, level_codes
from mien.models.outcomes import TIME_COLUMNS, check_columns, complete_rows, joined
from mien.models.refit import fit_coding
from mien.study.errors import FitError
from mien.study.formula import Formula, parse_formula
from mien.study.trials import TRIAL_COLUMNS, mean_over_bins, row_codes

__all__ = ["KEYS", "ScoredTrials", "check_fit", "check_trials", "scored_trials", "shapes_of"]

KEYS = ("participant", "session", "task", "run", "trial", "stimulus")


class ScoredTrials(NamedTuple):
    """Complete trials.

    rows : standardised by the fit, coded by the fit; its levels are those of these trials. keys : (trial,) participant,
    stimulus, trial … as text, as far as there are. observations : labels. counts : what became of rows and trials.
    """

    rows: StoredRows
    keys: pd.DataFrame
    observations: list[str]
    counts: Mapping[str, int]


def shapes_of(fit: xr.DataTree) -> list[str]:
    """Names of the shapes of a fit, in order."""
    return [str(name) for name in fit["posterior"].dataset["blend_shape"].to_numpy()]


def scored_trials(
    fit: xr.DataTree, trials: pd.DataFrame | None = None, participants: pd.DataFrame | None = None
) -> ScoredTrials:
    """The trials to score; None takes those of the fit.

    Raises
    ------
    SpecError
        For columns or levels that the model does not know.
    FitError
        For another tracker, shapes that are missing, or no complete trial.
    """
    return _stored(fit) if trials is None else _new(fit, trials, participants)


def check_fit(fit: xr.DataTree, what: str) -> None:
    """Refuse fits of other families."""
    if not is_factor_fit(fit):
        raise FitError(
            f"{what}: expected a fit of mien.models.co_activation(), found one of "
            f"{fit.attrs.get('formula', 'another kind')!r}: fit that first."
        )


def check_trials(fit: xr.DataTree, trials: pd.DataFrame) -> None:
    """Refuse tables that lack a column, a shape or the fit's tracker."""
    if not isinstance(trials, pd.DataFrame):
        raise FitError(f"trials: expected a pandas.DataFrame, found {type(trials).__name__}.")
    if "blend_shape" not in trials.columns:
        raise FitError("trials: expected a column blend_shape, found none: pass the Trials table.")
    present = set(labels_in_use(cast(pd.Series, trials["blend_shape"])))
    absent = [name for name in shapes_of(fit) if name not in present]
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise FitError(
            f"trials: expected all {len(shapes_of(fit))} shapes of the fit, found no {', '.join(absent[:3])}{more}: "
            "prepare them alike (sides averaged or not), or fit the shapes that there are (shapes=)."
        )
    _check_tracker(fit, trials)


def _check_tracker(fit: xr.DataTree, trials: pd.DataFrame) -> None:
    mine = str(fit.attrs.get("tracker", ""))
    if not mine or "tracker" not in trials.columns:
        return
    others = [
        name for name in labels_in_use(cast(pd.Series, trials["tracker"])) if name not in mine.split(", ")
    ]
    if others:
        raise FitError(
            f"trials: expected the fit's tracker ({mine}), found {others[0]}: their coefficients are not the same "
            "measure; score against a fit of that tracker."
        )


def _stored(fit: xr.DataTree) -> ScoredTrials:
    rows, constant = stored_rows(fit), fit["constant_data"].dataset
    keys = pd.DataFrame(
        {name: constant[name].to_numpy().astype(str) for name in KEYS if name in constant}, dtype="str"
    )
    labels = [str(label) for label in fit["observed_data"].dataset["observation"].to_numpy()]
    return ScoredTrials(rows, keys, labels, json.loads(str(fit.attrs["counts"])))


def _new(fit: xr.DataTree, trials: pd.DataFrame, participants: pd.DataFrame | None) -> ScoredTrials:
    spec, shapes = FactorSpec.from_json(str(fit.attrs["model_spec"])), shapes_of(fit)
    formula = parse_formula(spec.formula)
    frame, counts = _complete_rows(fit, formula, trials, participants)
    place = {name: number for number, name in enumerate(shapes)}
    codes, labels = codes_of(cast(pd.Series, frame["blend_shape"]))
    shape = np.array([place.get(label, -1) for label in labels], dtype=np.int64)[codes]
    trial = _trial_codes(frame, shape)
    values = np.full((int(trial.max()) + 1, len(shapes)), np.nan)
    values[trial, shape] = frame["activation"].to_numpy(dtype=np.float64)
    at = np.zeros(len(values), dtype=np.int64)
    at[trial] = np.arange(len(trial))
    complete = np.isfinite(values).all(axis=1)
    if not complete.any():
        raise FitError(
            f"trials: expected trials with all {len(shapes)} shapes of the fit, found none of {len(values)}: a trial "
            "that lacks a shape, or had one excluded, has no score."
        )
    counts |= {"trials": len(values), "incomplete_trials": int((~complete).sum())}
    wide = cast(pd.DataFrame, frame.iloc[at[complete]].reset_index(drop=True))
    _, design, _ = new_columns(formula, wide, fit_coding(fit))
    constant = fit["constant_data"].dataset
    group, levels = level_codes(wide, [spec.group])
    counts["groups_without_trials"] = len(labels_in_use(cast(pd.Series, trials[spec.group]))) - len(levels)
    standardised = (values[complete] - constant["location"].to_numpy()) / constant["scale"].to_numpy()
    rows = StoredRows(standardised, design, group, levels)
    keys = pd.DataFrame({name: _text(wide, name) for name in KEYS if name in wide.columns}, dtype="str")
    return ScoredTrials(rows, keys, _labels(keys), counts)


def _complete_rows(
    fit: xr.DataTree, formula: Formula, trials: pd.DataFrame, participants: pd.DataFrame | None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows of the fit's shapes with everything that the model uses, bins averaged."""
    used = [name for name in formula.columns if name]
    there = [*trials.columns, *(participants.columns if participants is not None else ())]
    wanted = wanted_columns(used, there)
    table = joined(trials, participants, [*used, *sources_of(wanted)])
    check_columns(formula, table, [name for name in used if name not in wanted])
    table = add_derived_as_stored(table, wanted, json.loads(str(fit.attrs.get("derived", "{}"))))
    mine = table["blend_shape"].isin(shapes_of(fit)).to_numpy()
    table = table if mine.all() else cast(pd.DataFrame, table[mine])
    if set(TRIAL_COLUMNS) <= set(table.columns) and not set(TIME_COLUMNS) & set(used):
        table = mean_over_bins(table)
    keep, counts = complete_rows(table, [*used, "blend_shape"])
    if not keep.any():
        raise FitError(
            f"trials: expected rows to score, found none of {len(table)} kept ({counts.get('excluded', 0)} excluded, "
            f"{counts['missing']} with missing values)."
        )
    return cast(pd.DataFrame, table[keep]).reset_index(drop=True), counts


def _trial_codes(frame: pd.DataFrame, shape: np.ndarray) -> np.ndarray:
    """(row,) which trial; without a column of trials they are counted, shape by shape."""
    names = [name for name in (*KEYS, "bin") if name in frame.columns and name != "stimulus"]
    if not {"participant", "trial"} <= set(names):
        return pd.Series(shape).groupby(shape).cumcount().to_numpy()
    trial = row_codes(frame, names)
    twice = pd.DataFrame({"trial": trial, "shape": shape}).duplicated().to_numpy()
    if twice.any():
        row = frame.iloc[int(np.flatnonzero(twice)[0])]
        raise FitError(
            f"trials: expected each shape once a trial, found {row['blend_shape']} twice in trial {row['trial']} of "
            f"{row['participant']}."
        )
    return trial


def _text(frame: pd.DataFrame, name: str) -> np.ndarray:
    codes, labels = codes_of(cast(pd.Series, frame[name]))
    return np.array([*labels, ""], dtype=object)[codes]


def _labels(keys: pd.DataFrame) -> list[str]:
    """`01/1/met/1/7`, or numbers."""
    names: Sequence[str] = [name for name in keys.columns if name != "stimulus"]
    if "trial" not in names:
        return [str(number) for number in range(len(keys))]
    return ["/".join(parts) for parts in zip(*(keys[name] for name in names), strict=True)]
