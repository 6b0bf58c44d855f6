"""Rows of a fit of one of the families in `likelihoods`, draw by draw: predictors, densities, distribution functions.

    family_rows             η of the mean and the further parameters of every row and draw, effects included
    row_densities           log p(y_row | draw), probabilities for zeros and ones
    distribution            P(y < y_row | draw) and P(y = y_row | draw)
    pearson                 (y − E[y | draw]) / sd(y | draw)
    integrated_densities    log p(y_unit | draw), the unit's own effects integrated out over their population

Effects of a unit are integrated by importance sampling with points of a Sobol sequence. They are sampled as the
population's root times v, v ~ N(0, 1), so that a standard deviation near 0 is no special case; the proposal is what the
posterior says of the unit's v given the draw's standard deviations and coefficients (by regression), made wider.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import betainc, expit, gammainc, logsumexp, ndtri, stdtr

from mien.models.likelihoods import LIKELIHOODS
from mien.models.mean_response import design_columns, effect_covariances, parameter_draws, response_moments
from mien.models.refit import design_of, effects_of, of_shape, used_rows

__all__ = [
    "FamilyRows", "distribution", "family_rows", "integrated_densities", "natural_parameters", "pearson",
    "point_masses", "row_densities",
]  # fmt: skip

CHUNK = 500_000  # densities that are worked on at once
POINTS = 32  # of one of two Sobol sequences
WIDER = 1.3  # sds of the proposal, relative to those of the posterior


class FamilyRows(NamedTuple):
    """response : (row,). eta : of the mean, (row, draw). further : on their links, (row, draw) or (1, draw)."""

    family: str
    response: np.ndarray
    eta: np.ndarray
    further: Mapping[str, np.ndarray]


def family_rows(
    fit: xr.DataTree, shape: str | None, picked: np.ndarray, *, without: str = "", what: str = "fit"
) -> FamilyRows:
    """The rows of one outcome.

    Parameters
    ----------
    picked : places of draws, chains one after the other. without : a factor whose effects are left out.
    what : who asks, for messages.

    Raises
    ------
    FitError
        For a fit without stored effects.
    """
    from mien.models.row_kernels import linear_predictors

    columns, used = design_columns(fit, shape), used_rows(fit, shape)
    names = {parameter: own for parameter, (own, _) in columns.predictors.items()}
    drawn = {name: value[picked].T.copy() for name, value in parameter_draws(fit, shape, names).items()}
    eta = columns.predictors[""][1] @ drawn[""]
    constants = of_shape(fit["constant_data"].dataset, shape)
    for factor, terms, z in columns.blocks:
        if factor == without:
            continue
        codes = constants[f"{factor} index"].to_numpy()[used].astype(np.int64)[:, None]
        for place, term in enumerate(terms):
            effects = effects_of(fit, shape, f"{term}|{factor}", what)[picked].T.copy()
            eta += linear_predictors(
                codes, np.ascontiguousarray(z[:, place : place + 1], dtype=np.float64), effects
            )
    further = {
        name: columns.predictors[name][1] @ drawn[name] if own else drawn[name]
        for name, own in names.items() if name
    }  # fmt: skip
    response = of_shape(fit["observed_data"].dataset, shape)["outcome"].to_numpy()[used].astype(np.float64)
    return FamilyRows(str(fit.attrs["family"]), response, eta, further)


def natural_parameters(family: str, further: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Further parameters as themselves, from their links."""
    links = LIKELIHOODS[family].parameters
    return {
        name: {"log": np.exp, "logit": expit}.get(links[name], np.asarray)(value)
        for name, value in further.items()
    }


def point_masses(family: str, response: np.ndarray) -> np.ndarray:
    """(row,) whether the family gives the row's value a probability rather than a density."""
    known = LIKELIHOODS.get(family)
    if known is None:
        return np.zeros(len(response), dtype=bool)
    return (known.zeros & (response == 0)) | (known.ones & (response >= 1))


def row_densities(rows: FamilyRows) -> np.ndarray:
    """(row, draw) log densities, of zeros and ones log probabilities."""
    from mien.models.engines.likelihood_sampler import row_log_densities

    natural = natural_parameters(rows.family, rows.further)
    count, draws = rows.eta.shape
    result = np.empty((draws, count))
    step = max(1, CHUNK // count)
    for start in range(0, draws, step):  # rows within a draw, so that a draw's parameters are used again
        eta = rows.eta[:, start : start + step].T
        parameters = {
            name: np.broadcast_to(value[:, start : start + step].T, eta.shape).ravel()
            for name, value in natural.items()
        }
        response = np.broadcast_to(rows.response, eta.shape).ravel()
        found = row_log_densities(rows.family, response, eta.ravel(), parameters)
        result[start : start + step] = found.reshape(eta.shape)
    return np.ascontiguousarray(result.T)


def distribution(rows: FamilyRows) -> tuple[np.ndarray, np.ndarray]:
    """P(y < y_row) and P(y = y_row), (row, draw) each."""
    p, y, eta = natural_parameters(rows.family, rows.further), rows.response[:, None], rows.eta
    if rows.family == "student_t":
        return stdtr(np.broadcast_to(p["nu"], eta.shape), (y - eta) / p["sigma"]), np.zeros_like(eta)
    mu = np.exp(eta) if rows.family == "hurdle_gamma" else expit(eta)
    one = np.zeros((1, 1))
    match rows.family:
        case "hurdle_gamma":
            zero, inside = p["hu"], gammainc(p["shape"], np.maximum(y, 0.0) * p["shape"] / mu)
        case "ordered_beta":
            zero, one = expit(p["cutpoint_zero"] - eta), expit(eta - p["cutpoint_one"])
            inside = _beta_below(y, mu, p["phi"])
        case "zero_inflated_beta":
            zero, inside = p["zi"], _beta_below(y, mu, p["phi"])
        case _:
            zero, one = p["zoi"] * (1.0 - p["coi"]), p["zoi"] * p["coi"]
            inside = _beta_below(y, mu, p["phi"])
    zero, one = (np.broadcast_to(value, eta.shape) for value in (zero, one))
    is_zero, is_one = y == 0, (y >= 1) & LIKELIHOODS[rows.family].ones
    below = np.where(is_zero, 0.0, np.where(is_one, 1.0 - one, zero + (1.0 - zero - one) * inside))
    return below, np.where(is_zero, zero, np.where(is_one, one, 0.0))


def _beta_below(y: np.ndarray, mu: np.ndarray, phi: np.ndarray) -> np.ndarray:
    return betainc(mu * phi, (1.0 - mu) * phi, np.clip(y, 0.0, 1.0))


def pearson(rows: FamilyRows, values: np.ndarray) -> np.ndarray:
    """Values (row, draw) or (row, 1) less their means, over their sds; of student_t over sigma, which is always finite.

    A value above 1 counts as 1 where the family has ones.
    """
    if rows.family == "student_t":
        return (values - rows.eta) / np.exp(rows.further["sigma"])
    mean, _, _, square = response_moments(rows.family, rows.eta, rows.further)
    values = np.minimum(values, 1.0) if LIKELIHOODS[rows.family].ones else values
    return (values - mean) / np.sqrt(np.maximum(square - mean**2, 1e-300))


# Units with effects of their own


def integrated_densities(
    fit: xr.DataTree, shape: str | None, picked: np.ndarray, factor: str, code: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Log p(y_unit | draw), (draw, unit), the units' effects integrated out; error of its mean over draws, (unit,).

    Parameters
    ----------
    factor : the group factor whose levels are the units. code : (row,) the unit of each row, from 0, all in use.
    """
    rows = family_rows(fit, shape, picked, without=factor, what="log_likelihood")
    root, v, z, known = _standard_effects(fit, shape, factor)
    block = next(block for block in design_of(fit, shape).blocks if block.factor == factor)
    units = int(code.max()) + 1
    result, error = np.empty((len(picked), units)), np.empty(units)
    for unit in range(units):
        at = np.flatnonzero(code == unit)
        own = v[:, block.codes[at[0]]]
        mean = known @ np.linalg.lstsq(known, own, rcond=None)[0]
        lower = WIDER * np.linalg.cholesky(
            np.atleast_2d(np.cov((own - mean).T)) + 1e-6 * np.eye(own.shape[1])
        )
        halves = [
            _integral(rows, at, z[at], root[picked], mean[picked], lower, [seed, unit, half])
            for half in range(2)
        ]
        result[:, unit] = np.logaddexp(*halves) - np.log(2.0)
        error[unit] = 0.5 * np.sqrt(((halves[0] - halves[1]) ** 2).mean())
    return result, error


def _standard_effects(
    fit: xr.DataTree, shape: str | None, factor: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Roots of the population's covariance (draw, term, term); effects as root × v: v (draw, level, term); columns.

    Last what a draw tells of v, (draw, feature): 1, log sds and coefficients.
    """
    columns = design_columns(fit, shape)
    number = next(place for place, (name, _, _) in enumerate(columns.blocks) if name == factor)
    _, terms, z = columns.blocks[number]
    covariance = effect_covariances(fit, shape, columns)[number]
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    scale = np.where(sd > 0, sd, 1.0)
    corr = covariance / (scale[:, :, None] * scale[:, None, :])
    corr = np.where(np.eye(len(terms), dtype=bool), 1.0, corr)
    lower = np.linalg.cholesky(corr)  # which changes smoothly from draw to draw, as eigenvectors do not
    effects = np.stack(
        [effects_of(fit, shape, f"{term}|{factor}", "log_likelihood") for term in terms], axis=-1
    )
    v = np.linalg.solve(lower, (effects / scale[:, None, :]).transpose(0, 2, 1)).transpose(0, 2, 1)
    coefficients = parameter_draws(fit, shape, {"": columns.predictors[""][0]})[""]
    known = np.column_stack([np.log(scale), coefficients])
    known = np.column_stack(
        [np.ones(len(known)), (known - known.mean(axis=0)) / np.maximum(known.std(axis=0), 1e-12)]
    )
    return sd[:, :, None] * lower, v, np.asarray(z, dtype=np.float64), known


def _integral(
    rows: FamilyRows, at: np.ndarray, z: np.ndarray, root: np.ndarray, mean: np.ndarray, lower: np.ndarray,
    seed: list[int],
) -> np.ndarray:  # fmt: skip
    """(draw,) log of the mean over the population of a unit's likelihood.

    Parameters
    ----------
    mean : (draw, term) of the proposal of v; lower : (term, term) root of its covariance.
    """
    from scipy.stats import qmc

    uniform = qmc.Sobol(len(lower), rng=np.random.default_rng(seed)).random(POINTS)
    normal = ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12))
    v = mean[:, None] + normal @ lower.T
    log_weight = 0.5 * ((normal**2).sum(axis=1) - (v**2).sum(axis=2)) + np.log(np.diag(lower)).sum()
    shift = np.einsum("ri,dij,dpj->drp", z, root, v, optimize=True)
    draws, count, size = shift.shape
    result = np.empty(draws)
    step = max(1, CHUNK // (count * size))
    for start in range(0, draws, step):
        some = slice(start, start + step)
        eta = rows.eta[at][:, some].T[:, :, None] + shift[some]
        further = {
            name: np.broadcast_to((value if len(value) == 1 else value[at])[:, some].T[:, :, None], eta.shape)
            for name, value in rows.further.items()
        }
        density = _densities(rows.family, rows.response[at], eta, further).sum(axis=1)
        result[some] = logsumexp(density + log_weight[some], axis=1) - np.log(size)
    return result


def _densities(
    family: str, response: np.ndarray, eta: np.ndarray, further: Mapping[str, np.ndarray]
) -> np.ndarray:
    """(draw, row, point) log densities."""
    from mien.models.engines.likelihood_sampler import row_log_densities

    values = np.broadcast_to(response[:, None], eta.shape).ravel()
    natural = {name: value.ravel() for name, value in natural_parameters(family, further).items()}
    return row_log_densities(family, values, eta.ravel(), natural).reshape(eta.shape)
