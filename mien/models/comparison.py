"""`compare`: which of several models foretells participants, trials or stimuli best that it has not seen?

    elpd            Σ over units of log p(y_unit | all other rows), by PSIS-LOO (`predictive_density`) or K-fold
    elpd_diff       elpd − that of the best model of the same shape; se_diff = √n · sd over units of the difference
    weight          stacking: the mixture of the models' predictions with the largest Σ log Σ_k w_k p_k(y_unit)
    preference      below 4, or below 2 se_diff, a difference is "no preference"; a rule, for few units above all

Units whose `khat_loo` is above the limit are left out in earnest: a Gaussian model is fitted again without them, which
is exact. Over all shapes a unit's elpd is the sum of the shapes', and standard errors are over units, so that shapes
which move together are not counted as independent evidence.

References
----------
Vehtari, Gelman & Gabry (2017), https://doi.org/10.1007/s11222-016-9696-4
Yao, Vehtari, Simpson & Gelman (2018), https://doi.org/10.1214/17-BA1091
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.cross_validation import held_out, k_fold
from mien.models.diagnostics import outcomes_of
from mien.models.factors.spec import is_factor_fit
from mien.models.family_rows import point_masses
from mien.models.predictive_density import log_likelihood, units_of_rows
from mien.models.refit import check_rows, outcome_of
from mien.study.errors import FitError

__all__ = ["ALL_SHAPES", "COMPARISON_COLUMNS", "compare", "preferences", "stacking_weights"]

ALL_SHAPES = "all shapes"
LEAST_DIFFERENCE, LEAST_SE = 4.0, 2.0  # nats, and standard errors; STATISTICS 3
MOST_REFITS = 200  # of one model: above it PSIS is not the way
STEPS, STILL = 10_000, 1e-10  # of the iteration for weights
COMPARISON_COLUMNS = (
    "blend_shape", "model", "rank", "elpd", "se", "elpd_diff", "se_diff", "weight", "preference", "units", "method",
    "khat_max", "khat_above", "refitted",
)  # fmt: skip


class _Scores(NamedTuple):
    """Of one model: elpd and khat (shape, unit), NaN where a shape lacks a unit; refitted (shape, unit)."""

    elpd: np.ndarray
    khat: np.ndarray
    refitted: np.ndarray
    limit: float


def compare(
    fits: Mapping[str, xr.DataTree],
    unit: str = "participant",
    *,
    folds: int | None = None,
    refit: bool = True,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Models of the same rows, by what they foretell of units that they have not seen.

    Parameters
    ----------
    fits : name → fit; two or more, of any families that give the same values a probability rather than a density.
    unit : "participant" (new persons, these stimuli), "stimulus" (new stimuli, these persons), "trial", "observation",
        or another group factor of at least one of the models.
    folds : None is PSIS-LOO; a number takes K-fold cross-validation by unit instead, with the same folds for all.
    refit : fit again without those units where PSIS fails. Folds and refits are of Gaussian fits alone.
    draws : of theta. seed : of folds and refits.

    Returns
    -------
    `COMPARISON_COLUMNS`, models from best to worst within each blend shape, then summed ("all shapes"). `preference`
    is "preferred" for a best model that all others fall short of, "worse" for those that do, else "no preference";
    "unreliable" where PSIS failed and there was no refit: use `folds`. `khat_above` counts units above the limit
    (attribute `khat_limit`), of which `refitted` were fitted again. elpd in nats.

    Raises
    ------
    FitError
        For fits of other data (their sha256 differ), other rows, shapes or outcomes, a unit that no model knows, or
        densities of some models for values that others give a probability.
    """
    _check(fits)
    _check_same_rows(fits)
    shapes = outcomes_of(next(iter(fits.values())))
    like = _knows(fits, unit)
    scores = {
        name: _k_fold_scores(fit, unit, folds, draws, seed, like)
        if folds is not None
        else _psis_scores(fit, unit, draws, seed, like, refit=refit)
        for name, fit in fits.items()
    }
    method = "PSIS-LOO" if folds is None else f"{folds}-fold"
    tables = [
        _table(shape or "", {name: _of_shape(one, place) for name, one in scores.items()}, method)
        for place, shape in enumerate(shapes)
    ]
    if len(shapes) > 1:
        tables.append(_table(ALL_SHAPES, {name: _summed(one) for name, one in scores.items()}, method))
    table = pd.concat(tables, ignore_index=True)
    table.attrs |= {"unit": unit, "method": method}
    if folds is None:
        table.attrs["khat_limit"] = next(iter(scores.values())).limit
    return table


def _check(fits: Mapping[str, xr.DataTree]) -> None:
    if not isinstance(fits, Mapping) or len(fits) < 2:
        raise FitError(f"compare: expected a mapping of two fits or more, found {len(fits)}.")
    for fit in fits.values():
        if is_factor_fit(fit):
            raise FitError(
                "compare: expected fits of formulas, found one of co-activation: mien.models.factor_numbers compares "
                "numbers of factors."
            )
        check_rows(fit, "compare")


def _check_same_rows(fits: Mapping[str, xr.DataTree]) -> None:
    (first, one), *others = fits.items()
    for name, other in others:
        hashes = [str(fit.attrs.get("data_sha256", "")) for fit in (one, other)]
        if hashes[0] != hashes[1]:
            raise FitError(
                f"compare: expected fits of the same data, found that {first!r} ({hashes[0][:8]}…) and {name!r} "
                f"({hashes[1][:8]}…) had other tables: give both the same trials and participants."
            )
        _check_same_outcome(first, one, name, other)
        _check_same_masses(first, one, name, other)


def _check_same_outcome(first: str, one: xr.DataTree, name: str, other: xr.DataTree) -> None:
    if outcomes_of(one) != outcomes_of(other):
        raise FitError(
            f"compare: expected fits of the same shapes, found {len(outcomes_of(one))} in {first!r} and "
            f"{len(outcomes_of(other))} in {name!r}, or others: fit the same ones, each on its own or together in both."
        )
    if not all("observed_data" in fit.children for fit in (one, other)):
        raise FitError(
            "compare: expected fits that hold their rows, found one without (above a million rows)."
        )
    mine, theirs = (fit["observed_data"].dataset["outcome"] for fit in (one, other))
    same_rows = mine.sizes == theirs.sizes and (mine["observation"] == theirs["observation"]).all()
    if not same_rows or (np.isfinite(mine.to_numpy()) != np.isfinite(theirs.to_numpy())).any():
        counts = [int(np.isfinite(outcome.to_numpy()).sum()) for outcome in (mine, theirs)]
        raise FitError(
            f"compare: expected the same rows, found {counts[0]} modelled in {first!r} and {counts[1]} in {name!r}, "
            "or others: leave rows with a missing value in any column of either model out of both."
        )
    if not np.array_equal(mine.to_numpy(), theirs.to_numpy(), equal_nan=True):
        raise FitError(
            f"compare: expected the same outcome, found other numbers in {first!r} and {name!r}: densities of "
            "different outcomes (activation and raw, say) cannot be compared."
        )


def _check_same_masses(first: str, one: xr.DataTree, name: str, other: xr.DataTree) -> None:
    """Zeros and ones have probabilities in some families and densities in others, which are not of one kind."""
    outcome = one["observed_data"].dataset["outcome"].to_numpy().ravel()
    families = [str(fit.attrs.get("family", "gaussian")) for fit in (one, other)]
    masses = [point_masses(family, outcome) for family in families]
    differ = int((masses[0] != masses[1]).sum())
    if differ:
        raise FitError(
            f"compare: expected models that give the same values a probability, found {differ} rows of exactly 0, or "
            f"of 1 and more, where one of {first!r} ({families[0]}) and {name!r} ({families[1]}) has a probability and "
            "the other a density, which cannot be compared: take families with the same zeros and ones."
        )


def _knows(fits: Mapping[str, xr.DataTree], unit: str) -> xr.DataTree:
    """A fit that can tell the units."""
    problem = None
    for fit in fits.values():
        try:
            units_of_rows(fit, outcomes_of(fit)[0], unit)
        except FitError as error:
            problem = problem or error
        else:
            return fit
    assert problem is not None
    raise problem


def _psis_scores(
    fit: xr.DataTree, unit: str, draws: int, seed: int, like: xr.DataTree, *, refit: bool
) -> _Scores:
    found = log_likelihood(fit, unit, draws=draws, units_of=like)
    elpd, khat = (np.atleast_2d(found[name].to_numpy()) for name in ("elpd", "khat_loo"))
    limit = float(found.attrs["khat_limit"])
    above = khat > limit
    refitted = np.zeros_like(above)
    refit = refit and fit.attrs.get("family", "gaussian") == "gaussian"
    if refit and 0 < above.sum() <= MOST_REFITS:
        place = {str(label): number for number, label in enumerate(found[unit].to_numpy())}
        for number, shape in enumerate(outcomes_of(fit)):
            if above[number].any():
                outcome, mine = outcome_of(fit, shape), units_of_rows(like, shape, unit)
                for one, label in enumerate(mine.labels):
                    if above[number, place[label]]:
                        again = held_out(outcome, mine.code, [one], draws=draws, seed=seed)
                        elpd[number, place[label]] = again.elpd[0]
                        refitted[number, place[label]] = not again.failed
    return _Scores(elpd, khat, refitted, limit)


def _k_fold_scores(
    fit: xr.DataTree, unit: str, folds: int | None, draws: int, seed: int, like: xr.DataTree
) -> _Scores:
    found = k_fold(fit, folds, unit, draws=draws, seed=seed, units_of=like)
    elpd = np.atleast_2d(found["elpd"].to_numpy())
    khat = np.full(elpd.shape, np.nan)
    if found.attrs["failed"]:
        khat[:] = np.inf  # a refit that missed its verdict is no better than a weight that did
    return _Scores(elpd, khat, np.zeros(elpd.shape, dtype=bool), np.inf)


class _Pointwise(NamedTuple):
    """(unit,) elpd of units that there are; the rest counts."""

    elpd: np.ndarray
    khat_max: float
    above: int
    refitted: int


def _of_shape(scores: _Scores, place: int) -> _Pointwise:
    there = np.isfinite(scores.elpd[place])
    khat = scores.khat[place][there]
    return _Pointwise(
        scores.elpd[place][there], _largest(khat), int((khat > scores.limit).sum()),
        int(scores.refitted[place].sum()),
    )  # fmt: skip


def _summed(scores: _Scores) -> _Pointwise:
    there = np.isfinite(scores.elpd).any(axis=0)
    return _Pointwise(
        np.nansum(scores.elpd[:, there], axis=0), _largest(scores.khat[np.isfinite(scores.elpd)]),
        int((scores.khat > scores.limit).sum()), int(scores.refitted.sum()),
    )  # fmt: skip


def _largest(khat: np.ndarray) -> float:
    return float(np.nanmax(khat)) if np.isfinite(khat).any() else np.nan


def _table(shape: str, models: Mapping[str, _Pointwise], method: str) -> pd.DataFrame:
    names = list(models)
    elpd = np.stack([models[name].elpd for name in names])
    total, count = elpd.sum(axis=1), elpd.shape[1]
    order = np.argsort(-total, kind="stable")
    away = elpd - elpd[order[0]]
    diff, se_diff = away.sum(axis=1), _se(away)
    reliable = all(one.above == one.refitted for one in models.values())
    words = preferences(diff[order], se_diff[order]) if reliable else ["unreliable"] * len(names)
    weight = stacking_weights(elpd)
    se = _se(elpd)
    return pd.DataFrame(
        [
            {
                "blend_shape": shape, "model": names[at], "rank": rank, "elpd": total[at], "se": se[at],
                "elpd_diff": diff[at], "se_diff": se_diff[at], "weight": weight[at], "preference": words[rank],
                "units": count, "method": method, "khat_max": models[names[at]].khat_max,
                "khat_above": models[names[at]].above, "refitted": models[names[at]].refitted,
            }
            for rank, at in enumerate(order)
        ],
        columns=list(COMPARISON_COLUMNS),
    )  # fmt: skip


def _se(pointwise: np.ndarray) -> np.ndarray:
    """(model,) √n · sd over units; nan for a single unit."""
    count = pointwise.shape[1]
    return np.sqrt(count) * pointwise.std(axis=1, ddof=1) if count > 1 else np.full(len(pointwise), np.nan)


def preferences(diff: Sequence[float] | np.ndarray, se: Sequence[float] | np.ndarray) -> list[str]:
    """What may be said of each model, from the best (difference 0) on."""
    worse = [
        abs(d) >= LEAST_DIFFERENCE and abs(d) >= LEAST_SE * s for d, s in zip(diff[1:], se[1:], strict=True)
    ]
    return [
        "preferred" if all(worse) else "no preference",
        *("worse" if one else "no preference" for one in worse),
    ]


def stacking_weights(elpd: np.ndarray) -> np.ndarray:
    """(model,) weights of the mixture with the largest log score.

    By expectation-maximisation, on densities relative to each unit's best: arviz-stats exponentiates the elpd of a
    unit as it is, which overflows for a person's rows of many shapes.

    Parameters
    ----------
    elpd : (model, unit).
    """
    density = np.exp(elpd - elpd.max(axis=0))
    weight = np.full(len(elpd), 1.0 / len(elpd))
    for _ in range(STEPS):
        share = weight[:, None] * density
        before, weight = weight, (share / share.sum(axis=0)).mean(axis=1)
        if np.abs(weight - before).max() < STILL:
            break
    return weight
