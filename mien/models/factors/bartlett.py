"""Factors as outcomes: a Trials table with W1, W2 … in the place of shapes, and a standard error for every value.

    value = H (y − location) / scale,   H = (Λ̄'Ψ̄⁻¹Λ̄)⁻¹Λ̄'Ψ̄⁻¹        Bartlett's score, at the posterior means Λ̄ and Ψ̄

It estimates the whole of the factor in a trial, without shrinkage: what covariates do to it, the person's level, and
f. An effect on the factor is therefore an effect on the value, of the same size, in sds of f, whether the fit had the
covariate or not (what it has no covariate for is in the sd). The expected score E[f | y] (`factor_scores`) is shrunk,
and net of covariates and persons: as an outcome it makes effects too small. 0 is the mean of all trials of the fit.

Whatever the loadings are, HΛ̄ = I: the mean over draws of HΛ, by which the fit believes that a value follows its
factor, is 1 for its own and 0 for others. (The mean of the draws' own H loses 0.4 to 1.5 % in 160 to 400 trials.) What
a value lacks is told by `score_se`,

    se² = diag(HΨ̄H') + the variance over draws of HΛ · value

The first part is the shapes' own noise, a trial's own. The second is taken as if it were, though the loadings are the
same for all trials: it is a few percent of the value, which is what an effect is uncertain by beside its own interval.

A factor with hardly any loadings (of more factors than there are), or another one in every draw, has a reliability
1 / (1 + error variance) near 0. Below 0.2 its rows are excluded, with the reason.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.factors.conditional import Parameters, parameters
from mien.models.factors.new_trials import check_fit, check_trials, shapes_of
from mien.models.factors.scores import check_draws
from mien.models.levels import codes_of
from mien.study.errors import FitError
from mien.study.trials import TRIAL_KEY, row_codes, validate_trials

__all__ = ["SE_COLUMN", "TOO_WEAK", "score_outcomes"]

SE_COLUMN = "score_se"
LEAST = 0.2  # reliability of one trial's score below which it is of no use: a convention
RIDGE = 1e-9  # added to Λ'Ψ⁻¹Λ, whose entries are about 1 to 100, for a column that is 0
MOST_ERRORS = (
    100  # distinct values of all factors together: an engine takes 200 (STATISTICS 3), half with two sigmas
)
SMALLEST = 1e-6  # standard error, in sds of a factor
TOO_WEAK = "factor too weak to be scored"
MEASURES = ("activation", "raw", "baseline")


class _Weights(NamedTuple):
    """weight : (factor, shape) H. follows : (factor,) diag(HΛ̄), 1 but for a factor without loadings. noise : (factor,)
    diag(HΨ̄H'). spread : (factor, factor, factor) covariance over draws of each factor's row of HΛ.
    """

    weight: np.ndarray
    follows: np.ndarray
    noise: np.ndarray
    spread: np.ndarray

    @property
    def reliability(self) -> np.ndarray:
        """(factor,) of one trial of a typical person: f has variance 1."""
        true = self.follows**2
        return true / np.maximum(true + self.noise + np.trace(self.spread, axis1=1, axis2=2), RIDGE)


class _Bins(NamedTuple):
    """Bins with all of the fit's shapes.

    first : (bin,) a row of each. trial : (bin,) which trial. measures : name → (bin, shape).
    valid, frames : (bin,) the smallest. excluded : (bin,) the first reason, or "". incomplete : bins that lack shapes.
    """

    first: np.ndarray
    trial: np.ndarray
    measures: dict[str, np.ndarray]
    valid: np.ndarray
    frames: np.ndarray
    excluded: np.ndarray
    incomplete: int


def score_outcomes(fit: xr.DataTree, trials: pd.DataFrame, *, draws: int | None = 1000) -> pd.DataFrame:
    """The factors of a fit as outcomes of trials.

    Parameters
    ----------
    fit : of `mien.models.co_activation`.
    trials : a Trials table; the fit's, or another of the same shapes.
    draws : how many of the fit's draws to average over, evenly spaced; None takes all.

    Returns
    -------
    A Trials table with a row a bin and factor and all columns of `trials`: `blend_shape` is "W1", "W2" …, `activation`
    the score in sds of the factor, `raw` and `baseline` likewise (activation = raw − baseline), `peak` missing, `valid`
    the smallest share of the shapes. A row is excluded where any of the shapes is. `score_se` is the standard error of
    the trial's mean, at most 100 distinct ones, for ``ModelSpec(…, standard_errors="score_se", priors={"sigma": …})``;
    models of bins have residuals of their own and leave it out. ``attrs["scores"]`` has the reliability of a single
    trial's score of each factor, and how many bins lacked a shape.

    Raises
    ------
    TrialsError
        For a table that is no Trials table.
    FitError
        For other fits, shapes that are missing, another tracker, no bin with all shapes.
    """
    check_fit(fit, "score_outcomes")
    check_trials(fit, trials)
    check_draws(draws)
    validate_trials(trials)
    weights = _weights(parameters(fit, draws))
    bins, constant = _bins(trials, shapes_of(fit)), fit["constant_data"].dataset
    location, scale = constant["location"].to_numpy(), constant["scale"].to_numpy()
    shift = {"activation": location, "raw": location, "baseline": 0.0}
    found = {name: (bins.measures[name] - shift[name]) / scale @ weights.weight.T for name in MEASURES}
    errors = _rounded(_errors(weights, bins, found["activation"]))
    factors = [str(name) for name in fit["posterior"].dataset["factor"].to_numpy()]
    table = _table(trials, bins, factors, {**found, SE_COLUMN: errors}, weights.reliability >= LEAST)
    table.attrs["scores"] = {
        "reliability": {name: round(float(one), 4) for name, one in zip(factors, weights.reliability, strict=True)},
        "bins": len(bins.first), "incomplete_bins": bins.incomplete,
    }  # fmt: skip
    return validate_trials(table)


def _weights(draws: Parameters) -> _Weights:
    loading, uniqueness = draws.loading.mean(axis=0), draws.uniqueness.mean(axis=0)
    scaled = (loading / uniqueness[:, None]).T
    weight = np.linalg.solve(scaled @ loading + RIDGE * np.eye(len(scaled)), scaled)
    follows = weight @ draws.loading  # (draw, factor, factor)
    away = follows - follows.mean(axis=0)
    spread = np.einsum("dki,dkj->kij", away, away) / (len(away) - 1)
    return _Weights(weight, np.diag(weight @ loading), (weight**2) @ uniqueness, spread)


def _bins(trials: pd.DataFrame, shapes: Sequence[str]) -> _Bins:
    """Rows of the shapes, put side by side."""
    place = {name: number for number, name in enumerate(shapes)}
    codes, labels = codes_of(cast(pd.Series, trials["blend_shape"]))
    shape = np.array([place.get(label, -1) for label in labels], dtype=np.int64)[codes]
    at = np.flatnonzero(shape >= 0)
    rows, shape = cast(pd.DataFrame, trials.iloc[at]), shape[at]
    keys = [name for name in TRIAL_KEY if name != "blend_shape"]
    code = row_codes(rows, keys)
    row = np.full((int(code.max(initial=-1)) + 1, len(shapes)), -1, dtype=np.int64)
    row[code, shape] = np.arange(len(at))
    complete = (row >= 0).all(axis=1)
    if not complete.any():
        raise FitError(
            f"trials: expected bins with all {len(shapes)} shapes of the fit, found none of {len(row)}: a bin that "
            "lacks a shape has no score."
        )
    row = row[complete]
    values = {name: rows[name].to_numpy(dtype=np.float64)[row] for name in MEASURES}
    first = row[:, 0]
    trial = row_codes(cast(pd.DataFrame, rows.iloc[first]), [name for name in keys if name != "bin"])
    valid, frames = (rows[name].to_numpy()[row].min(axis=1) for name in ("valid", "n_frames"))
    reason = _reasons(cast(pd.Series, rows["excluded"]), row)
    return _Bins(at[first], trial, values, valid, frames, reason, int((~complete).sum()))


def _reasons(column: pd.Series, row: np.ndarray) -> np.ndarray:
    """(bin,) the first reason among the shapes."""
    codes, labels = codes_of(column)
    reason = np.array([*labels, ""], dtype=object)[codes[row]]
    which = (reason != "").argmax(axis=1)
    return reason[np.arange(len(row)), which]


def _errors(weights: _Weights, bins: _Bins, values: np.ndarray) -> np.ndarray:
    """(bin, factor) standard error of the mean of the bin's trial; nan where no bin of it is kept.

    Parameters
    ----------
    values : (bin, factor).
    """
    use = np.where(bins.excluded == "", bins.frames * bins.valid.astype(np.float64), 0.0)
    known, trials = use[:, None] > 0, int(bins.trial.max()) + 1
    total = np.bincount(bins.trial, weights=use, minlength=trials)[:, None]
    sums = [
        np.bincount(bins.trial, weights=use * one, minlength=trials) for one in np.where(known, values, 0.0).T
    ]
    mean = np.divide(np.stack(sums, axis=1), total, out=np.full((trials, len(sums)), np.nan), where=total > 0)
    follows = np.einsum("ti,kij,tj->tk", mean, weights.spread, mean, optimize=True)
    return np.sqrt(weights.noise + follows)[bins.trial]


def _rounded(errors: np.ndarray) -> np.ndarray:
    """The nearest of a few values of each factor, in equal steps of the logarithm."""
    levels = max(2, MOST_ERRORS // errors.shape[1])
    logs = np.log(np.maximum(errors, SMALLEST))
    known = np.isfinite(logs)
    low, high = (
        edge(np.where(known, logs, -side * np.inf), axis=0) for edge, side in ((np.min, -1), (np.max, 1))
    )
    step = np.maximum(high - low, 1e-6) / (levels - 1)
    return np.exp(low + np.round((logs - low) / step) * step)


def _table(
    trials: pd.DataFrame, bins: _Bins, factors: Sequence[str], found: dict[str, np.ndarray], tells: np.ndarray
) -> pd.DataFrame:
    """A row a bin and factor, factor by factor."""
    count, size = len(factors), len(bins.first)
    whose = np.repeat(np.arange(count), size)
    reason = np.tile(bins.excluded, count)
    reason = np.where((reason == "") & ~tells[whose], TOO_WEAK, reason)
    columns: dict[str, Any] = {name: values.T.ravel() for name, values in found.items()}
    columns |= {name: columns[name].astype(np.float32) for name in MEASURES}
    table = cast(pd.DataFrame, trials.iloc[np.tile(bins.first, count)]).reset_index(drop=True)
    return table.assign(
        **columns, peak=np.float32("nan"), valid=np.tile(bins.valid, count), n_frames=np.tile(bins.frames, count),
        excluded=pd.Series(reason, index=table.index, dtype="str"),
        blend_shape=pd.Categorical.from_codes(whose, list(factors)),
    )  # fmt: skip
