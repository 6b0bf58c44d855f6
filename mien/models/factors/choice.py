"""How many factors? `factor_numbers` asks trials and persons that the model has not seen, and the eigenvalues.

    trials        each left out of the posterior by Pareto-smoothed weights: one more trial of a known person
    groups        persons (stimuli, of what is stimulus-driven), left out in folds by fits without them: new persons
    eigenvalues   too few factors leave the next eigenvalue above what the model expects

Trials are many and speak of the factors within; persons are few and speak of new faces. The answer is a table: which
numbers the data tell apart, and which not. One of them is recommended by a convention: the smallest that trials left
out do not show to be worse than the best.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.comparison import LEAST_DIFFERENCE, LEAST_SE, preferences
from mien.models.cross_validation import folds_of
from mien.models.engines.problem import Progress, Settings
from mien.models.factors.conditional import Parameters, StoredRows, parameters
from mien.models.factors.eigenvalues import BAND, eigenvalue_table
from mien.models.factors.left_out import (
    TrialsLeftOut,
    group_log_density,
    groups_left_out,
    some_rows,
    trials_left_out,
)
from mien.models.factors.rows import factor_rows
from mien.models.factors.spec import FactorSpec
from mien.models.factors.sums import FactorSums, factor_sums
from mien.models.families.co_activation import co_activation
from mien.models.fitting import fit
from mien.study.errors import FitError

__all__ = ["NUMBERS_COLUMNS", "FactorNumbers", "factor_numbers"]

CHAINS = 4
DRAWS = 2000  # of a fit's, for trials left out: Σ elpd of 1,664 trials is known to half a nat
REPLICATES = 1000  # for eigenvalues
AFTER = 1000  # of a fit's, for groups left out
FOLD_TUNE, FOLD_DRAWS = 200, 250  # Σ elpd of 32 persons is known to a nat
FOLD_R_HAT = 1.05  # of the log density of groups left out, in runs as short as these: a convention
NUMBERS_COLUMNS = (
    "factors", "elpd_trials", "diff_trials", "se_trials", "mcse_trials", "preference_trials", "khat_max", "khat_above",
    "elpd_groups", "diff_groups", "se_groups", "mcse_groups", "preference_groups", "r_hat_folds", "next_eigenvalue",
    "p_larger", "diagnostics", "max_r_hat", "min_ess", "seconds",
)  # fmt: skip


class FactorNumbers(NamedTuple):
    """What speaks for which number of factors.

    table : `NUMBERS_COLUMNS`, one row a number. answer : the same in sentences.
    recommended : one number, by convention. fits : number → fit, the very one that `mien.fit` gives.
    trials, groups : elpd of each, nats; columns are the numbers. groups is empty without folds.
    eigenvalues : `mien.models.eigenvalue_check` of every fit, with a column factors.
    """

    table: pd.DataFrame
    answer: str
    recommended: int
    fits: Mapping[int, xr.DataTree]
    trials: pd.DataFrame
    groups: pd.DataFrame
    eigenvalues: pd.DataFrame


def factor_numbers(
    trials: pd.DataFrame,
    *,
    participants: pd.DataFrame | None = None,
    factors: Iterable[int] = range(1, 8),
    spec: FactorSpec | None = None,
    folds: int | None = 8,
    draws: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> FactorNumbers:
    """Which numbers of factors within groups the data tell apart.

    Parameters
    ----------
    trials, participants : as in `mien.fit`. factors : the numbers to compare, two or more.
    spec : all else of the model; None takes `mien.models.co_activation()`.
    folds : so many balanced folds of groups, 3 or more, are left out in turn, and the model fitted again without them;
        None takes one for every group, 0 none at all.
    draws : a chain, of the fits of all rows. seed : of fits, folds and replicates.
    progress : called with (done, total, label).

    Returns
    -------
    `FactorNumbers`. In its table elpd are in nats; diff is to the largest of the column, se = √n · sd of the difference
    over trials or groups, mcse the elpd's Monte-Carlo error; preference as in `mien.compare`: "no preference" where the
    difference is below 4 nats or 2 se. khat_above counts trials whose elpd is not to be trusted; next_eigenvalue is the
    first beyond the factors, p_larger the share of replicates with one as large. NaN stands for what was not asked.

    Raises
    ------
    SpecError, FitError
        As `mien.fit`; for numbers as large as that of shapes, or folds without which coefficients are not told.
    """
    base = co_activation() if spec is None else spec
    whole = factor_rows(base, trials, participants)
    rows = StoredRows(whole.activation, whole.design, whole.group, whole.levels)
    specs = _specs(base, factors, len(whole.shapes))
    parts = _folds(rows, folds, base.group, seed)
    tick = _ticker(len(specs) * (1 + len(parts)), progress)
    found = []
    for one in specs:
        start = perf_counter()
        tick(_named(one.factors))
        tree = fit(one, trials, participants=participants, draws=draws, chains=CHAINS, seed=seed)
        left_out = trials_left_out(parameters(tree, DRAWS), rows)
        eigenvalues = eigenvalue_table(parameters(tree, REPLICATES), whole.sums, seed)
        refits = _refitted(one, tree, parts, seed, tick) if parts else None
        found.append(_Found(one.factors, tree, left_out, eigenvalues, refits, perf_counter() - start))
    tick("numbers of factors compared")
    table = _table(found)
    table.attrs = {"groups": base.group, "folds": len(parts), "khat_limit": found[0].trials.limit}
    words = zip(found, table["preference_trials"], strict=True)
    recommended = min(one.factors for one, word in words if word != "worse")
    by_trial = {one.factors: one.trials.elpd for one in found}
    by_group = {one.factors: one.groups.elpd for one in found if one.groups}
    return FactorNumbers(
        table,
        _answer(table, recommended),
        recommended,
        {one.factors: one.fit for one in found},
        pd.DataFrame(by_trial, index=whole.observations),
        pd.DataFrame(by_group, index=list(rows.levels)),
        pd.concat([one.eigenvalues.assign(factors=one.factors) for one in found], ignore_index=True),
    )


def _specs(base: FactorSpec, factors: Iterable[int], shapes: int) -> list[FactorSpec]:
    """The same model with every number of factors, rising."""
    numbers = [] if isinstance(factors, int) else list(dict.fromkeys(factors))
    if len(numbers) < 2:
        raise FitError(f"factors: expected two numbers or more to compare, found {factors!r}.")
    specs = sorted((replace(base, factors=number) for number in numbers), key=lambda one: one.factors)
    if specs[-1].factors >= shapes:
        raise FitError(
            f"factors: expected numbers below that of the shapes ({shapes}), found {specs[-1].factors}: so many share "
            "nothing."
        )
    return specs


def _ticker(total: int, progress: Progress | None) -> Callable[[str], None]:
    done = count()

    def tick(label: str) -> None:
        if progress:
            progress(next(done), total, label)

    return tick


def _named(factors: int) -> str:
    return "1 factor" if factors == 1 else f"{factors} factors"


# Groups left out


class _Fold(NamedTuple):
    """groups : (group,) mask of those left out. held, others : their trials and all others; sums : of the others."""

    groups: np.ndarray
    held: StoredRows
    others: StoredRows
    sums: FactorSums


class _Refits(NamedTuple):
    """elpd : (group,) nats; mcse : of its sum; r_hat : the largest of a group's log density."""

    elpd: np.ndarray
    mcse: float
    r_hat: float


def _folds(rows: StoredRows, folds: int | None, what: str, seed: int) -> list[_Fold]:
    """Checked before anything is fitted."""
    if folds == 0:
        return []
    if folds == 2:
        raise FitError(
            "folds: expected 3 or more, found 2: from half of the groups to all is too far for one path of two ends."
        )
    found = []
    which = folds_of(len(rows.levels), folds, what, seed)
    for number in range(int(which.max()) + 1):
        groups = which == number
        others = some_rows(rows, ~groups[rows.group])
        try:
            sums = factor_sums(others.activation, others.design, others.group)
        except FitError as error:
            names = ", ".join(np.array(rows.levels)[groups])
            raise FitError(
                f"folds: expected trials that tell all coefficients without {names}, found that they do not: leave "
                f"covariates out, take more folds, or folds=0. ({error})"
            ) from error
        found.append(_Fold(groups, some_rows(rows, groups[rows.group]), others, sums))
    return found


def _refitted(
    spec: FactorSpec, tree: xr.DataTree, parts: Sequence[_Fold], seed: int, tick: Callable[[str], None]
) -> _Refits:
    """Densities of the groups of every fold, given the trials of all others."""
    all_rows = parameters(tree, AFTER)
    # In float32: a mean that differs in its last bit would let the chains that start there part ways.
    mean = Parameters(*(_rounded(part.mean(axis=0, keepdims=True)) for part in all_rows))
    elpd, variance, r_hat = np.full(len(parts[0].groups), np.nan), 0.0, 1.0
    after = np.zeros(len(all_rows.uniqueness))
    for number, fold in enumerate(parts):
        tick(f"{_named(spec.factors)}, fold {number + 1}")
        own = int(np.random.SeedSequence([seed, number, 0xF0]).generate_state(1)[0])
        given_others = _sampled(spec, fold, mean, own)
        density = group_log_density(given_others, fold.others, fold.held)
        found = groups_left_out(density, group_log_density(all_rows, fold.others, fold.held))
        elpd[fold.groups] = found.elpd
        variance += (found.before**2).sum()
        after += found.after  # of the same draws in all folds
        r_hat = max(r_hat, _r_hat(density.reshape(CHAINS, -1, density.shape[1])))
    return _Refits(elpd, float(np.sqrt(variance + (after**2).sum())), r_hat)


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def _sampled(spec: FactorSpec, fold: _Fold, mean: Parameters, seed: int) -> Parameters:
    """Draws given the others, from the solution of all rows; shapes keep the scale of all rows."""
    from mien.models.engines.factor_sampler import sample_factors
    from mien.models.engines.factor_start import start_at

    drawn = sample_factors(
        fold.sums, spec.factors, spec.between, spec.prior_numbers, Settings(FOLD_DRAWS, CHAINS, seed, True),
        start=start_at(fold.sums, mean), tune=FOLD_TUNE, attempts=((1, 0.8),),
    )  # fmt: skip
    values = (drawn.loading, drawn.uniqueness, drawn.between_loading, drawn.between_uniqueness)
    return Parameters(*(value.reshape(-1, *value.shape[2:]) for value in values))


def _r_hat(values: np.ndarray) -> float:
    """The largest of (chain, draw, quantity)."""
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    return float(np.max(array_stats.rhat(values, chain_axis=0, draw_axis=1, method="rank")))


# The table


class _Found(NamedTuple):
    """Of one number; groups is None without folds."""

    factors: int
    fit: xr.DataTree
    trials: TrialsLeftOut
    eigenvalues: pd.DataFrame
    groups: _Refits | None
    seconds: float


def _table(found: Sequence[_Found]) -> pd.DataFrame:
    nothing = _Refits(np.full(1, np.nan), np.nan, np.nan)
    trials = _compared(np.stack([one.trials.elpd for one in found]))
    groups = _compared(np.stack([(one.groups or nothing).elpd for one in found]))
    rows = []
    for place, one in enumerate(found):
        detail, refits = json.loads(one.fit.attrs["diagnostics_detail"]), one.groups or nothing
        ahead = one.eigenvalues.set_index("number").loc[one.factors + 1]
        rows.append({
            "factors": one.factors,
            **{f"{name}_trials": column[place] for name, column in trials.items()},
            **{f"{name}_groups": column[place] for name, column in groups.items()},
            "mcse_trials": one.trials.mcse, "khat_max": np.nanmax(one.trials.khat),
            "khat_above": int((one.trials.khat > one.trials.limit).sum()),
            "mcse_groups": refits.mcse, "r_hat_folds": refits.r_hat,
            "next_eigenvalue": ahead["observed"], "p_larger": ahead["p_larger"],
            "diagnostics": one.fit.attrs["diagnostics"], "max_r_hat": detail["max_r_hat"],
            "min_ess": min(detail["min_ess_bulk"], detail["min_ess_tail"]), "seconds": round(one.seconds, 1),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(NUMBERS_COLUMNS))


def _compared(elpd: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of a table from (number, unit) elpd; units without one are left out."""
    elpd = elpd[:, np.isfinite(elpd).all(axis=0)]
    numbers, units = elpd.shape
    if units < 2:
        nothing = np.full(numbers, np.nan)
        return {"elpd": nothing, "diff": nothing, "se": nothing, "preference": np.full(numbers, "")}
    total = elpd.sum(axis=1)
    order = np.argsort(-total, kind="stable")
    away = elpd - elpd[order[0]]
    diff, se = away.sum(axis=1), np.sqrt(units) * away.std(axis=1, ddof=1)
    words = np.array(preferences(diff[order], se[order]))
    return {"elpd": total, "diff": diff, "se": se, "preference": words[np.argsort(order)]}


# The answer in words


def _answer(table: pd.DataFrame, recommended: int) -> str:
    """Which numbers are apart, which is recommended and why, and what speaks against it."""
    rows = table.to_dict("records")
    mine = next(row for row in rows if row["factors"] == recommended)
    said = [_said("Trials", rows, "trials")]
    people = {"participant": "Persons", "stimulus": "Stimuli"}[table.attrs["groups"]]
    if table.attrs["folds"]:
        said.append(_said(people, rows, "groups"))
    said.append(
        f"Recommended: {recommended}, the smallest number that trials left out do not show to be worse than the best "
        f"(a difference below {LEAST_DIFFERENCE:g} nats or {LEAST_SE:g} standard errors shows nothing): a convention."
    )
    if mine["preference_groups"] == "worse":
        said.append(f"{people} left out speak against it: the two questions have two answers.")
    above = ", more than the model expects" if mine["p_larger"] < BAND[0] else ""
    said.append(
        f"With {_named(recommended)} the next eigenvalue is {mine['next_eigenvalue']:.2f}{above}: "
        f"{100 * mine['p_larger']:.0f} % of data that the model draws have one as large."
    )
    return " ".join([*said, *_cautions(rows, table.attrs["khat_limit"])])


def _said(units: str, rows: Sequence[Mapping[Any, Any]], kind: str) -> str:
    best = max(rows, key=lambda row: row[f"elpd_{kind}"])["factors"]
    words = {row["factors"]: row[f"preference_{kind}"] for row in rows}
    alike = [
        f"{row['factors']} (−{abs(row[f'diff_{kind}']):.1f}, se {row[f'se_{kind}']:.1f})"
        for row in rows
        if words[row["factors"]] == "no preference" and row["factors"] != best
    ]
    worse = [str(number) for number, word in words.items() if word == "worse"]
    parts = [
        f"{units} left out are foretold best with {_named(best)}",
        *([f"{_listed(alike)} cannot be told from it"] if alike else []),
        *([f"{_listed(worse)} {'is' if len(worse) == 1 else 'are'} worse"] if worse else []),
    ]
    return "; ".join(parts) + "."


def _cautions(rows: Sequence[Mapping[Any, Any]], khat_limit: float) -> list[str]:
    """What makes the table weaker than it looks."""
    said = []
    if rows[-1]["diff_trials"] == 0:
        said.append("The best is the largest number that was tried: try more.")
    for name, misses in (
        ("Fits that miss their verdict", lambda row: row["diagnostics"] != "passed"),
        (
            f"Trials with a Pareto k above {khat_limit:.2f}, not to be trusted (up to "
            f"{max(row['khat_above'] for row in rows)})",
            lambda row: row["khat_above"] > 0,
        ),
        (f"Folds with an R-hat above {FOLD_R_HAT:g}", lambda row: row["r_hat_folds"] > FOLD_R_HAT),
    ):
        which = [str(row["factors"]) for row in rows if misses(row)]
        said += [f"{name}: with {_listed(which)} factors."] if which else []
    return said


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
