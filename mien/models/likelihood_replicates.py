"""Replicates of the families in `likelihoods`: linear predictors draw by draw, and a value for each.

The ones of a family that has them are exactly 1: what a tracker gives above 1 is that category, and has no size.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from scipy.special import expit

from mien.models.family_rows import natural_parameters
from mien.models.mean_response import design_columns, effect_covariances, parameter_draws
from mien.models.refit import effects_of, of_shape, used_rows

__all__ = ["draw_response", "family_chunks"]

CHUNK = 2_000_000  # numbers that are worked on at once
EDGE = 1e-12  # values inside (0, 1) stay so far from its ends; generators round to them now and then
LEAST = 1e-200  # a beta's parameters are not below it: means beyond 37 on a logit are 1 in floating point


def family_chunks(
    fit: xr.DataTree, shape: str | None, picked: np.ndarray, anew: set[str], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of draws and their replicates (draw, row).

    Parameters
    ----------
    picked : places of the posterior's draws, chains one after the other. anew : factors whose effects are drawn anew.
    """
    family, columns = str(fit.attrs["family"]), design_columns(fit, shape)
    names = {parameter: own for parameter, (own, _) in columns.predictors.items()}
    drawn, roots = parameter_draws(fit, shape, names), effect_covariances(fit, shape, columns)
    constants, used = of_shape(fit["constant_data"].dataset, shape), used_rows(fit, shape)
    rows = int(used.sum())
    step = max(1, CHUNK // max(1, rows))
    for start in range(0, len(picked), step):
        places = np.arange(start, min(start + step, len(picked)))
        at = picked[places]
        eta = drawn[""][at] @ columns.predictors[""][1].T
        for (factor, terms, z), covariance in zip(columns.blocks, roots, strict=True):
            codes = constants[f"{factor} index"].to_numpy()[used].astype(np.int64)
            if factor in anew:
                values, vectors = np.linalg.eigh(covariance[at])  # an sd of 0 has no Cholesky factor
                root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
                noise = rng.standard_normal((len(at), int(codes.max()) + 1, len(terms)))
                effects = np.einsum("dij,dlj->dli", root, noise)
                eta += np.einsum("dri,ri->dr", effects[:, codes], z)
                continue
            for number, term in enumerate(terms):
                eta += (
                    effects_of(fit, shape, f"{term}|{factor}", "posterior_predictive")[at][:, codes]
                    * z[:, number]
                )
        parameters = {
            parameter: drawn[parameter][at] @ matrix.T if own else drawn[parameter][at]
            for parameter, (own, matrix) in columns.predictors.items() if parameter
        }  # fmt: skip
        yield places, draw_response(family, eta, natural_parameters(family, parameters), rng)


def draw_response(
    family: str, eta: np.ndarray, parameters: Mapping[str, float | np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """One value for each linear predictor of the mean; ones are exactly 1.

    Parameters
    ----------
    eta : any shape. parameters : as themselves (phi, zi …), numbers or arrays that broadcast with `eta`.
    """
    if family == "student_t":
        return eta + parameters["sigma"] * rng.standard_t(np.broadcast_to(parameters["nu"], eta.shape))
    chance = rng.random(eta.shape)
    if family == "hurdle_gamma":
        shape = parameters["shape"]
        return np.where(chance < parameters["hu"], 0.0, rng.gamma(shape, np.exp(eta) / shape))
    mu, phi = expit(eta), parameters["phi"]
    a, b = np.maximum(mu * phi, LEAST), np.maximum((1.0 - mu) * phi, LEAST)
    inside = np.clip(rng.beta(a, b), EDGE, 1.0 - EDGE)
    if family == "ordered_beta":
        zero = expit(parameters["cutpoint_zero"] - eta)
        one = expit(eta - parameters["cutpoint_one"])
    elif family == "zero_inflated_beta":
        zero, one = parameters["zi"], 0.0
    else:
        zero, one = parameters["zoi"] * (1 - parameters["coi"]), parameters["zoi"] * parameters["coi"]  # type: ignore[operator]
    return np.where(chance < zero, 0.0, np.where(chance > 1.0 - one, 1.0, inside))
