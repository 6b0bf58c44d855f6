"""`k_fold`: densities of units that the fit has not seen, because it was made again without them.

    train       all rows but those of one fold's units; the same design, coding and frozen priors as in the fit
    theta       drawn anew by the collapsed engine, given the training rows
    elpd        log of the mean over theta of p(y_unit | y_train, theta), coefficients and group effects integrated out

Nothing is approximated but by the engine's own draws, so that this is what to do where PSIS fails (`khat_loo`). With
as many folds as units it is leave-one-out by refits; with fewer, units are predicted from less data than a fit of all
has, and their elpd is a little lower for it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from mien.models.design import rank_of
from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.predictive_density import refuse_torn_series, units_of_rows
from mien.models.refit import check_gaussian, natural_of, outcome_of
from mien.priors import Flat
from mien.study.errors import FitError

__all__ = ["HeldOut", "folds_of", "held_out", "k_fold"]

CHAINS = 4


class HeldOut(NamedTuple):
    """(unit,) elpd, nats, and its Monte-Carlo error; failed : what the refit's verdict misses, "" for nothing."""

    elpd: np.ndarray
    mcse: np.ndarray
    failed: str


def k_fold(
    fit: xr.DataTree,
    folds: int | None = 8,
    by: str = "participant",
    *,
    draws: int = 1000,
    seed: int = 0,
    units_of: xr.DataTree | None = None,
) -> xr.Dataset:
    """Expected log predictive density of every unit, by fits without the units of its fold.

    Parameters
    ----------
    fit : Gaussian, from any engine; it is made again by the collapsed engine.
    folds : into how many groups the units are shuffled; None takes a fold for every unit.
    by : the unit, as in `mien.log_likelihood`.
    draws : of each refit, all chains together. seed : of folds and refits.
    units_of : a fit of the same rows that has the unit as a factor, for a model that has not.

    Returns
    -------
    Dataset over [blend_shape] and the unit's labels: `elpd`, `mcse` (nats), `rows`, NaN where a shape has no row of a
    unit, and `fold`. Attributes: unit, folds, failed (refits that missed their verdict), elpd, se (a single outcome).

    Raises
    ------
    FitError
        For fewer than 2 folds or more than there are units, a unit that the model does not know or that tears series
        of AR(1) residuals apart, or coefficients with a flat prior that training rows do not tell.
    """
    check_gaussian(fit, "k_fold")
    if isinstance(draws, bool) or draws < 100:
        raise FitError(f"draws: expected at least 100, found {draws!r}.")
    shapes = outcomes_of(fit)
    units = [units_of_rows(fit if units_of is None else units_of, shape, by) for shape in shapes]
    labels = list(dict.fromkeys(label for mine in units for label in mine.labels))
    fold = folds_of(len(labels), folds, by, seed)
    place = {label: number for number, label in enumerate(labels)}
    fields = {name: np.full((len(shapes), len(labels)), np.nan) for name in ("elpd", "mcse", "rows")}
    failed = 0
    for number, (shape, mine) in enumerate(zip(shapes, units, strict=True)):
        outcome, at = outcome_of(fit, shape), np.array([place[label] for label in mine.labels])
        refuse_torn_series(outcome, mine.code, by)
        fields["rows"][number, at] = np.bincount(mine.code, minlength=len(at))
        for one in np.unique(fold[at]):
            some = np.flatnonzero(fold[at] == one)
            found = held_out(outcome, mine.code, some, draws=draws, seed=seed)
            fields["elpd"][number, at[some]], fields["mcse"][number, at[some]] = found.elpd, found.mcse
            failed += bool(found.failed)
    named = shapes != [None]
    lead = ("blend_shape",) if named else ()
    variables = {name: ((*lead, by), values if named else values[0]) for name, values in fields.items()}
    coords = {by: np.array(labels)} | ({"blend_shape": np.array(shapes)} if named else {})
    attrs: dict[str, object] = {"unit": by, "folds": int(fold.max()) + 1, "failed": failed, "draws": draws}
    if not named:
        elpd = fields["elpd"][0]
        attrs |= {"elpd": float(elpd.sum()), "se": float(np.sqrt(len(elpd)) * elpd.std(ddof=1))}
    return xr.Dataset(variables | {"fold": ((by,), fold)}, coords=coords, attrs=attrs)


def folds_of(units: int, folds: int | None, what: str, seed: int) -> np.ndarray:
    """(unit,) the fold of each, sizes differing by one at most.

    Raises
    ------
    FitError
    """
    if folds is None:
        return np.arange(units)
    if isinstance(folds, bool) or not 2 <= folds <= units:
        raise FitError(f"folds: expected 2 to {units}, the number of units ({what}), found {folds!r}.")
    return np.random.default_rng([seed, 0xF0]).permutation(np.arange(units) % folds)


def held_out(
    outcome: Outcome, code: np.ndarray, units: Sequence[int] | np.ndarray, *, draws: int, seed: int
) -> HeldOut:
    """Fit an outcome without the rows of some units, and give the density of each of them by itself.

    Parameters
    ----------
    code : (row,) the unit of each row. units : those to leave out together.
    """
    from mien.models.engines.collapsed import leave_out
    from mien.models.engines.collapsed.density import available_cores, make_density
    from mien.models.engines.collapsed.moments import moments_of

    out = np.isin(code, units)
    rest = leave_out.some_rows(outcome, ~out)
    _refuse_untold(rest)
    natural, point, failed = _refitted(rest, draws, seed)
    moments = moments_of(outcome)
    density, _ = make_density(
        outcome.design.coefficients, outcome.design.blocks, outcome.priors, moments, outcome.residual.strata,
        threads=available_cores(),
    )  # fmt: skip
    train = leave_out.without_unit(outcome, density, moments, out).log_likelihood(natural)
    elpd, mcse = np.empty(len(units)), np.empty(len(units))
    for number, unit in enumerate(units):
        others = out & (code != unit)
        more = leave_out.without_unit(outcome, density, moments, others) if others.any() else density
        log_density = (more.log_likelihood(natural) - train)[point]
        elpd[number] = logsumexp(log_density) - np.log(len(log_density))
        ratio = np.bincount(point, weights=np.exp(log_density - elpd[number]) - 1.0)
        mcse[number] = np.sqrt((ratio**2).sum()) / len(log_density)
    return HeldOut(elpd, mcse, failed)


def _refuse_untold(train: Outcome) -> None:
    """Flat priors want rows that tell the coefficients apart."""
    flat = any(isinstance(train.priors[name].prior, Flat) for name in train.design.coefficients)
    if flat and rank_of(train.design.columns) < len(train.design.coefficients):
        raise FitError(
            "k_fold: expected training rows that tell the coefficients apart, found some that only the rows left out "
            "tell and whose prior is flat: give them a prior, or take more folds."
        )


def _refitted(train: Outcome, draws: int, seed: int):
    """Distinct points of theta, which of them each draw is, and what the verdict misses."""
    from mien.models.engines import load_engine
    from mien.models.engines.problem import Problem, Settings
    from mien.models.posterior_tree import posterior_tree

    problem = Problem("gaussian", (train,))
    settings = Settings(max(10, -(-draws // CHAINS)), CHAINS, seed, group_effects=False)
    sampled = load_engine("collapsed").sample(problem, settings)
    verdict = sampled[0].verdict or {}
    natural = natural_of(posterior_tree(problem, None, sampled, ()), train.name or None, train)
    first, point = np.unique(np.column_stack(natural), axis=0, return_index=True, return_inverse=True)[1:]
    failed = "" if verdict.get("passed") else str(verdict.get("reason") or "the engine did not say why")
    return type(natural)(*(value[first] for value in natural)), point.ravel(), failed
