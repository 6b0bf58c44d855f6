"""Truth and data of a model, drawn from its priors: what a calibrated engine must find again.

    theta ~ priors,  β ~ priors,  u ~ N(0, D R D) a level,  y = Xβ + Zu + residual

Of the other families it draws the further parameters; `draw_response` makes rows of them.

Nothing here is shared with the engines: correlation matrices come from the onion (an engine has canonical partial
correlations), series one step after the other (an engine has closed forms).

References
----------
Lewandowski, Kurowicka & Joe (2009), https://doi.org/10.1016/j.jmva.2009.04.008 (the onion, section 3.2)
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from mien.models.design import Block, Design
from mien.models.engines.problem import Outcome, Regression
from mien.models.likelihoods import LIKELIHOODS
from mien.models.smooths import sd_name
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Normal, Prior, ResolvedPrior
from mien.study.errors import FitError

__all__ = [
    "Hyperparameters", "ModelDraw", "draw_coefficient", "draw_effects", "draw_hyperparameters", "draw_model",
    "draw_parameters", "draw_positive", "linear_predictor",
]  # fmt: skip


class Hyperparameters(NamedTuple):
    """sds : "term|factor" → value. correlations : matrix of each block. sigma : (stratum,). rho : 0 without AR(1)."""

    sds: Mapping[str, float]
    correlations: tuple[np.ndarray, ...]
    sigma: np.ndarray
    rho: float


class ModelDraw(NamedTuple):
    """A world of the model.

    coefficients : (coefficient,); effects : (level, term) of each block; outcome : with the response drawn.
    """

    hyperparameters: Hyperparameters
    coefficients: np.ndarray
    effects: tuple[np.ndarray, ...]
    outcome: Outcome


def draw_model(outcome: Outcome, rng: np.random.Generator) -> ModelDraw:
    """Draw truth and data on an outcome's design, with its priors.

    Raises
    ------
    FitError
        When a prior is flat.
    """
    priors, design = outcome.priors, outcome.design
    hyperparameters = draw_hyperparameters(outcome, rng)
    coefficients = np.array([draw_coefficient(priors[name], name, rng) for name in design.coefficients])
    effects = tuple(
        draw_effects(block, hyperparameters, matrix, rng)
        for block, matrix in zip(design.blocks, hyperparameters.correlations, strict=True)
    )
    response = linear_predictor(design, coefficients, effects)
    return ModelDraw(
        hyperparameters, coefficients, effects, _with_scatter(outcome, hyperparameters, response, rng)
    )


def linear_predictor(design: Design, coefficients: np.ndarray, effects: tuple[np.ndarray, ...]) -> np.ndarray:
    """(row,) Xβ + Zu; `effects` are (level, term) of each block."""
    eta = design.columns @ coefficients
    for block, values in zip(design.blocks, effects, strict=True):
        eta = eta + (block.columns * values[block.codes]).sum(axis=1)
    return eta


def draw_hyperparameters(outcome: Outcome, rng: np.random.Generator) -> Hyperparameters:
    """Draw standard deviations, correlations, sigma and rho."""
    priors, blocks = outcome.priors, outcome.design.blocks
    names = dict.fromkeys(sd_name(term, block.factor) for block in blocks for term in block.terms)
    sds = {name: draw_positive(priors[f"sd:{name}"].prior, rng) for name in names}
    correlations = tuple(_correlation(block, priors, rng) for block in blocks)
    strata = [f"sigma:{label}" if label else "sigma" for label in outcome.residual.strata]
    strata = [] if outcome.parameters else strata  # another family: `draw_parameters`
    sigma = np.array([draw_positive(priors.get(name, priors.get("sigma")).prior, rng) for name in strata])  # type: ignore[union-attr]
    rho = 0.0
    if outcome.residual.series is not None:
        prior = priors["rho"].prior
        rho = prior.value if isinstance(prior, Fixed) else math.tanh(rng.normal(prior.mean, prior.sd))  # type: ignore[union-attr]
    return Hyperparameters(sds, correlations, sigma, rho)


def draw_coefficient(resolved: ResolvedPrior, name: str, rng: np.random.Generator) -> float:
    """One coefficient from its prior."""
    match resolved.prior:
        case Normal(mean, sd):
            return float(rng.normal(mean, sd))
        case Fixed(value):
            return value
        case other:
            raise FitError(
                f"priors[{name!r}]: expected a proper prior to draw from, found {other}: give it a Normal one."
            )


def draw_positive(prior: Prior, rng: np.random.Generator) -> float:
    """A standard deviation from its prior."""
    match prior:
        case HalfNormal(sd):
            return abs(float(rng.normal(0.0, sd)))
        case HalfStudentT(df, scale):
            return abs(float(scale * rng.standard_t(df)))
        case Exponential(rate):
            return float(rng.exponential(1.0 / rate))
        case Fixed(value):
            return value
        case _:
            raise AssertionError(f"{prior} is no prior of a standard deviation")


def draw_parameters(outcome: Outcome, rng: np.random.Generator) -> dict[str, float | np.ndarray]:
    """A family's further parameters as themselves: numbers, and (row,) where there is a regression."""
    found = {name: _parameter(outcome, name, one, rng) for name, one in outcome.parameters.items()}
    if "cutpoint_one" in found and found["cutpoint_one"] <= found["cutpoint_zero"]:
        return draw_parameters(outcome, rng)  # their prior is given the order
    return found


def _parameter(
    outcome: Outcome, name: str, regression: Regression, rng: np.random.Generator
) -> float | np.ndarray:
    link = next(item.parameters[name] for item in LIKELIHOODS.values() if name in item.parameters)
    inverse = {"log": np.exp, "logit": expit}.get(link, np.asarray)
    if regression.coefficients:
        names = [f"{name}_{coefficient}" for coefficient in regression.coefficients]
        drawn = np.array([draw_coefficient(outcome.priors[own], own, rng) for own in names])
        return inverse(regression.columns @ drawn)
    prior = outcome.priors[name].prior
    if isinstance(prior, Fixed):
        return prior.value
    if not isinstance(prior, Normal):
        return draw_positive(prior, rng)
    return float(inverse(rng.normal(prior.mean, prior.sd)))


def _correlation(block: Block, priors: Mapping[str, ResolvedPrior], rng: np.random.Generator) -> np.ndarray:
    """A correlation matrix of the LKJ prior, grown row by row."""
    k = len(block.terms)
    if k == 1:
        return np.eye(1)
    prior = priors[f"corr:{block.factor}"].prior
    if isinstance(prior, Fixed):
        return np.full((k, k), prior.value) + (1.0 - prior.value) * np.eye(k)
    assert isinstance(prior, LKJ)
    shape = prior.eta + (k - 2) / 2.0
    first = 2.0 * rng.beta(shape, shape) - 1.0
    matrix = np.array([[1.0, first], [first, 1.0]])
    for size in range(2, k):
        shape -= 0.5
        direction = rng.normal(size=size)
        direction *= math.sqrt(rng.beta(size / 2.0, shape)) / float(np.linalg.norm(direction))
        row = np.linalg.cholesky(matrix) @ direction
        matrix = np.block([[matrix, row[:, None]], [row[None], np.ones((1, 1))]])
    return matrix


def draw_effects(
    block: Block, hyperparameters: Hyperparameters, matrix: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(level, term) of a block with this correlation matrix."""
    sds = np.array([hyperparameters.sds[sd_name(term, block.factor)] for term in block.terms])
    normals = rng.normal(size=(len(block.levels), len(block.terms)))
    return normals @ np.linalg.cholesky(matrix).T * sds


def _with_scatter(
    outcome: Outcome, hyperparameters: Hyperparameters, mean: np.ndarray, rng: np.random.Generator
) -> Outcome:
    """The outcome with this mean and residuals about it."""
    residual, sigma = outcome.residual, hyperparameters.sigma
    variance = (sigma[0] if residual.stratum is None else sigma[residual.stratum]) ** 2
    if residual.known_variance is not None:
        variance = variance + residual.known_variance
    sd = np.sqrt(variance) / outcome.root_precision
    if residual.series is not None:
        assert residual.position is not None
        noise = sd * _series(residual.series, residual.position, hyperparameters.rho, rng)
    else:
        noise = sd * rng.normal(size=len(mean))
    if residual.count is not None:
        scatter = residual.count * sd**2 * _chi_square(residual.count - 1.0, rng)
        residual = residual._replace(squares=scatter)
    return outcome._replace(response=mean + noise, residual=residual)


def _chi_square(degrees: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(degrees > 0, rng.chisquare(np.maximum(degrees, 1.0)), 0.0)


def _series(
    series: Sequence[int] | np.ndarray, position: np.ndarray, rho: float, rng: np.random.Generator
) -> np.ndarray:
    """Stationary AR(1) with unit variance within each series, whatever the order of rows; all go a step at once."""
    series, noise = np.asarray(series), rng.normal(size=len(series))
    order = np.lexsort((position, series))
    first = np.flatnonzero(np.r_[True, np.diff(series[order]) != 0])
    length = np.diff(np.r_[first, len(order)])
    for step in range(1, int(length.max(initial=0))):
        at = first[length > step] + step
        row, before = order[at], order[at - 1]
        kept = rho ** (position[row] - position[before])
        noise[row] = kept * noise[before] + np.sqrt(1.0 - kept**2) * noise[row]
    return noise
