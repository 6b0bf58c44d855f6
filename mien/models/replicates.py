"""`posterior_predictive`: what the model would have shown in place of the rows that it was fitted to.

    in sample       the stored effects and new residuals: the same persons and stimuli again
    new_groups      effects of these factors drawn anew from their populations: other persons, other stimuli
    in_sample=False all of them

Residuals follow the fit's: precision weights, known standard errors, strata, AR(1) along each series. A row that is
the mean of replicates is replicated as such a mean.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.refit import (
    check_rows,
    coefficients_of,
    effects_of,
    natural_of,
    outcome_of,
    terms_of,
    used_rows,
)
from mien.study.errors import FitError

__all__ = [
    "FactorRoots", "factor_roots", "fitted_means", "posterior_predictive", "residual_noise", "row_means",
    "row_variance", "shared_variance",
]  # fmt: skip

CHUNK = 2_000_000  # numbers that are worked on at once
MOST = 200_000_000  # numbers of a result, 0.8 GB as float32


class FactorRoots(NamedTuple):
    """One factor's effects: keys and (row, term) columns, codes (row,), root of the covariance (draw, term, term)."""

    keys: list[str]
    columns: np.ndarray
    codes: np.ndarray
    levels: int
    root: np.ndarray


def posterior_predictive(
    fit: xr.DataTree,
    *,
    seed: int,
    draws: int | None = None,
    in_sample: bool = True,
    new_groups: Sequence[str] = (),
) -> xr.Dataset:
    """Replicates of the rows of a fit.

    Parameters
    ----------
    seed : of the replicates. draws : of each chain, spread evenly; None takes all.
    in_sample : False draws the effects of every factor anew.
    new_groups : factors whose effects are drawn anew, ``("participant",)``.

    Returns
    -------
    Dataset with `outcome` (chain, draw, [blend_shape], observation) float32, NaN where a shape lacks the observation.

    Raises
    ------
    FitError
        For factors that the model does not have, effects that were not stored, or a result that is too large.
    """
    require_coefficients(fit, "posterior_predictive")
    check_rows(fit, "posterior_predictive")
    posterior, shapes = fit["posterior"].dataset, outcomes_of(fit)
    chains, total = posterior.sizes["chain"], posterior.sizes["draw"]
    kept = np.arange(total)
    if draws is not None:
        if not 1 <= draws <= total:
            raise FitError(f"draws: expected 1 to {total}, found {draws!r}.")
        kept = np.floor((np.arange(draws) + 0.5) * total / draws).astype(np.int64)
    picked = (np.arange(chains)[:, None] * total + kept).ravel()
    observations = fit["observed_data"].dataset["observation"].to_numpy()
    size = len(picked) * len(shapes) * len(observations)
    if size > MOST:
        raise FitError(
            f"posterior_predictive: expected at most {MOST:,} numbers, found {size:,}: ask for fewer draws."
        )
    result = np.full((len(picked), len(shapes), len(observations)), np.nan, dtype=np.float32)
    for place, shape in enumerate(shapes):
        used = np.flatnonzero(used_rows(fit, shape))
        anew = _anew(fit, in_sample, new_groups)
        rng = np.random.default_rng([seed, place])
        for some, values in _replicated(fit, shape, picked, anew, rng):
            result[some, place, used[:, None]] = values.T
    result = result.reshape(chains, len(kept), *result.shape[1:])
    coords = {"chain": posterior["chain"].to_numpy(), "draw": posterior["draw"].to_numpy()[kept]}
    coords["observation"] = observations
    if shapes == [None]:
        return xr.Dataset({"outcome": (("chain", "draw", "observation"), result[:, :, 0])}, coords=coords)
    coords["blend_shape"] = np.array(shapes)
    return xr.Dataset({"outcome": (("chain", "draw", "blend_shape", "observation"), result)}, coords=coords)


def _replicated(
    fit: xr.DataTree, shape: str | None, picked: np.ndarray, anew: set[str], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if fit.attrs.get("family", "gaussian") == "gaussian":
        return _chunks(fit, shape, outcome_of(fit, shape), picked, anew, rng)
    from mien.models.likelihood_replicates import family_chunks

    return family_chunks(fit, shape, picked, anew, rng)


def _anew(fit: xr.DataTree, in_sample: bool, new_groups: Sequence[str]) -> set[str]:
    factors = list(dict.fromkeys(term.rpartition("|")[2] for term in terms_of(fit)))
    unknown = [name for name in new_groups if name not in factors]
    if isinstance(new_groups, str) or unknown:
        raise FitError(f"new_groups: expected a tuple of some of {', '.join(factors)}, found {new_groups!r}.")
    return set(new_groups) if in_sample else set(factors)


def _chunks(
    fit: xr.DataTree, shape: str | None, outcome: Outcome, picked: np.ndarray, anew: set[str], rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Places of draws and their replicates (draw, row)."""
    natural = natural_of(fit, shape, outcome)
    mean_of = fitted_means(fit, shape, outcome, without=anew)
    factors = {factor: mine for factor, mine in factor_roots(outcome, natural).items() if factor in anew}
    step = max(1, CHUNK // max(1, len(outcome.response)))
    for start in range(0, len(picked), step):
        places = np.arange(start, min(start + step, len(picked)))
        at = picked[places]
        mean = mean_of(at)
        for mine in factors.values():
            noise = rng.standard_normal((len(at), mine.levels, len(mine.keys)))
            drawn = np.einsum("dij,dlj->dli", mine.root[at], noise)
            mean += np.einsum("dri,ri->dr", drawn[:, mine.codes], mine.columns)
        yield places, mean + residual_noise(outcome, natural.sigma[at], natural.rho[at], rng)


def fitted_means(
    fit: xr.DataTree, shape: str | None, outcome: Outcome, *, without: Collection[str] = ()
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of places of draws that gives the rows' means (draw, row): coefficients and stored effects.

    Parameters
    ----------
    without : factors to leave out.
    """
    design = outcome.design
    beta = coefficients_of(fit, shape, design.coefficients)
    parts = [
        (effects_of(fit, shape, f"{term}|{block.factor}", "posterior_predictive"), block.codes, block.columns[:, place])
        for block in design.blocks if block.factor not in without
        for place, term in enumerate(block.terms)
    ]  # fmt: skip

    def means(at: np.ndarray) -> np.ndarray:
        mean = beta[at] @ design.columns.T
        for effects, codes, column in parts:
            mean += effects[at][:, codes] * column
        return mean

    return means


def row_means(fit: xr.DataTree, shape: str | None, outcome: Outcome) -> Callable[[np.ndarray], np.ndarray]:
    """`fitted_means` by rows: a function of places of draws that gives (row, draw)."""
    from mien.models.row_kernels import linear_predictors

    design = outcome.design
    tables = [coefficients_of(fit, shape, design.coefficients).T]
    entries, values = [np.arange(len(tables[0]))[None].repeat(len(design.columns), axis=0)], [design.columns]
    first = len(tables[0])
    for block in design.blocks:
        for place, term in enumerate(block.terms):
            tables.append(effects_of(fit, shape, f"{term}|{block.factor}", "posterior_predictive").T)
            entries.append(block.codes[:, None] + first)
            values.append(block.columns[:, place : place + 1])
            first += len(tables[-1])
    entry, value = np.concatenate(entries, axis=1), np.concatenate(values, axis=1)
    return lambda at: linear_predictors(entry, value, np.concatenate([table[:, at] for table in tables]))


def factor_roots(outcome: Outcome, natural) -> dict[str, FactorRoots]:
    """Every factor's effects, with the root of their covariance in each draw."""
    from mien.models.engines.collapsed.correlation import cholesky_of
    from mien.models.person_posterior import block_diagonal

    found: dict[str, list] = {}
    at, first = 0, 0
    for block in outcome.design.blocks:
        k = len(block.terms)
        root = natural.sd[:, at : at + k, None] * cholesky_of(natural.partial, first, k)
        found.setdefault(block.factor, []).append((block, root))
        at, first = at + k, first + k * (k - 1) // 2
    return {
        factor: FactorRoots(
            [f"{term}|{factor}" for block, _ in parts for term in block.terms],
            np.concatenate([block.columns for block, _ in parts], axis=1),
            parts[0][0].codes, len(parts[0][0].levels), block_diagonal([root for _, root in parts]),
        )
        for factor, parts in found.items()
    }  # fmt: skip


def row_variance(outcome: Outcome, sigma: np.ndarray) -> np.ndarray:
    """(draw, row) residual variance of each row's response, from sigma (draw, stratum)."""
    variance = shared_variance(outcome, sigma)
    return np.broadcast_to(variance, (len(variance), len(outcome.response)))


def shared_variance(outcome: Outcome, sigma: np.ndarray) -> np.ndarray:
    """`row_variance`, or (draw, 1) where all rows have the same."""
    residual, root = outcome.residual, outcome.root_precision
    if residual.stratum is None and residual.known_variance is None and (root == root[0]).all():
        return (sigma[:, :1] / root[0]) ** 2
    stratum = np.zeros(len(root), dtype=np.int64) if residual.stratum is None else residual.stratum
    variance = (sigma[:, stratum] / root) ** 2
    return variance if residual.known_variance is None else variance + residual.known_variance


def residual_noise(
    outcome: Outcome, sigma: np.ndarray, rho: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(draw, row) residuals drawn from the model."""
    residual = outcome.residual
    noise = rng.standard_normal((len(sigma), len(outcome.response)))
    if residual.series is not None:
        assert residual.position is not None
        order = np.lexsort((residual.position, residual.series))
        joined = np.diff(residual.series[order]) == 0
        steps = np.diff(residual.position[order])
        for place in np.flatnonzero(joined):
            power = rho ** int(steps[place])
            before, mine = order[place], order[place + 1]
            noise[:, mine] = power * noise[:, before] + np.sqrt(1.0 - power**2) * noise[:, mine]
    noise *= np.sqrt(shared_variance(outcome, sigma))
    return noise
