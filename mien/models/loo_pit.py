"""Probability integral transforms of rows that the model has not seen: where each falls in its own prediction.

    z_i             (y_i − what the other rows, coefficients, effects and theta of a draw say of it) / its sd
    weight          1 / p(y_i | the same), Pareto-smoothed over draws
    pit_i           Σ w Φ(z_i) / Σ w, P(new y_i ≤ y_i | all other rows)

Uniform where the model is right, and more evenly so than independent numbers would be, since the sds were estimated
from the same rows: a test of independent uniform numbers errs on the model's side. Values heaped in the middle say that
the model expects more scatter than there is, at both ends too little, on one side skewness. Within a series of AR(1)
residuals a row is held against its neighbours.

Of the families in `likelihoods` the same with their own densities and distribution functions. A value that has a
probability (a zero, a one) has no single place: its value is P(new < y) + u · P(new = y), u uniform and the same for
all draws, which is uniform where the model is right.

References
----------
Vehtari, Gelman & Gabry (2017), https://doi.org/10.1007/s11222-016-9696-4
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.predictive_density import khat_limit, picked_draws
from mien.models.refit import check_rows, natural_of, outcome_of, used_rows
from mien.models.replicates import row_means, shared_variance

if TYPE_CHECKING:
    from mien.models.family_rows import FamilyRows

__all__ = ["pit", "pit_of_family", "pit_of_rows", "row_scores"]

CHUNK = 50_000  # numbers that are worked on at once; what fits into a cache


def pit(fit: xr.DataTree, *, draws: int | None = 1000, seed: int = 0) -> xr.Dataset:
    """Leave-one-row-out probability integral transforms.

    Parameters
    ----------
    fit : of any family, with stored group effects. draws : spread evenly over the posterior's; None takes all.
    seed : of what zeros and ones are spread by.

    Returns
    -------
    Dataset of `pit` (0–1) and `khat_loo`, ([blend_shape], observation), NaN where a shape lacks the observation.
    Attributes: khat_limit, above (how many rows exceed it), draws.

    Raises
    ------
    FitError
        For fits without stored rows or effects.
    """
    require_coefficients(fit, "pit")
    check_rows(fit, "pit")
    shapes, picked = outcomes_of(fit), picked_draws(fit, draws)
    observations = fit["observed_data"].dataset["observation"].to_numpy()
    found = np.full((2, len(shapes), len(observations)), np.nan)
    for place, shape in enumerate(shapes):
        rng = np.random.default_rng([seed, place, 0xA7])
        found[:, place, used_rows(fit, shape)] = _of_shape(fit, shape, picked, rng)
    dims, coords = ("observation",), {"observation": observations}
    if shapes != [None]:
        dims, coords = ("blend_shape", "observation"), coords | {"blend_shape": np.array(shapes)}
    else:
        found = found[:, 0]
    limit = float(khat_limit(len(picked)))
    attrs = {"khat_limit": limit, "above": int((found[1] > limit).sum()), "draws": len(picked)}
    return xr.Dataset({"pit": (dims, found[0]), "khat_loo": (dims, found[1])}, coords=coords, attrs=attrs)


def _of_shape(
    fit: xr.DataTree, shape: str | None, picked: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(2, row): pit and khat."""
    if fit.attrs.get("family", "gaussian") != "gaussian":
        from mien.models.family_rows import family_rows

        return pit_of_family(family_rows(fit, shape, picked, what="pit"), rng)
    outcome = outcome_of(fit, shape)
    natural = natural_of(fit, shape, outcome)
    means = row_means(fit, shape, outcome)(picked)
    return pit_of_rows(outcome, means, natural.sigma[picked], natural.rho[picked])


def pit_of_rows(outcome: Outcome, means: np.ndarray, sigma: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """(2, row): pit and khat.

    Parameters
    ----------
    means : (row, draw). sigma : (draw, stratum). rho : (draw,).
    """
    from mien.models.row_kernels import normal_below, smoothed_weights

    rows = len(outcome.response)
    step = rows if outcome.residual.series is not None else max(1, CHUNK // len(sigma))
    result = np.empty((2, rows))
    for start in range(0, rows, step):
        some = slice(start, start + step)
        score, log_density = row_scores(outcome, means[some], sigma, rho, some)
        weight, result[1, some] = smoothed_weights(-log_density)
        result[0, some] = np.einsum("rd,rd->r", weight, normal_below(score)) / weight.sum(axis=1)
    return result


def pit_of_family(rows: "FamilyRows", rng: np.random.Generator) -> np.ndarray:
    """(2, row): pit and khat of rows of another family."""
    from mien.models.family_rows import distribution, row_densities
    from mien.models.row_kernels import smoothed_weights

    weight, khat = smoothed_weights(-row_densities(rows))
    below, mass = distribution(rows)
    below += rng.random((len(below), 1)) * mass
    return np.stack([np.einsum("rd,rd->r", weight, below) / weight.sum(axis=1), khat])


def row_scores(
    outcome: Outcome, means: np.ndarray, sigma: np.ndarray, rho: np.ndarray, some: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised distance of each row from what is expected of it given all other rows, and its log density.

    Parameters
    ----------
    means : (row, draw). sigma : (draw, stratum). rho : (draw,). some : the rows, all of them where there are series.

    Returns
    -------
    (row, draw) each; the density up to a constant of the row.
    """
    residual, variance = outcome.residual, shared_variance(outcome, sigma).T
    variance = variance[some] if len(variance) > 1 else variance
    score = outcome.response[some, None] - means
    score /= np.sqrt(variance)
    extra = None
    if residual.series is not None:
        score, extra = _against_neighbours(outcome, score, rho)
    log_density = score * score
    log_density += np.log(variance)
    log_density *= -0.5
    if extra is not None:
        log_density += extra
    if residual.count is not None and residual.squares is not None:
        count, squares = residual.count[some, None], residual.squares[some, None]
        single = variance * count
        log_density -= 0.5 * ((count - 1.0) * np.log(single) + squares / single)
    return score, log_density


def _against_neighbours(outcome: Outcome, left: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals over their sds → the same given both neighbours in the series, and ½ log of the precision."""
    residual = outcome.residual
    assert residual.series is not None
    assert residual.position is not None
    order = np.lexsort((residual.position, residual.series))
    joined = np.flatnonzero(np.diff(residual.series[order]) == 0)
    before, after = order[joined], order[joined + 1]
    power = rho ** (residual.position[after] - residual.position[before])[:, None]
    free = 1.0 - power**2
    weight, pull = np.ones_like(left), np.zeros_like(left)  # a row is once `before` and once `after` at most
    weight[after] += power**2 / free
    pull[after] += power / free * left[before]
    weight[before] += power**2 / free
    pull[before] += power / free * left[after]
    return (left - pull / weight) * np.sqrt(weight), 0.5 * np.log(weight)
