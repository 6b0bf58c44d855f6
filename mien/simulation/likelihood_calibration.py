"""Simulation-based calibration of the families that engine "nuts" samples: does it find truths from the prior?

    truth, y       drawn from the model on a given design; densities of rows are numpy's generators, not the kernel's
    PIT            share of the draws below the truth: uniform over simulations if the engine is right

of every coefficient, sd, further parameter, two effects, and of log p(y | everything): an engine that returns the
prior is uniform in all else. Priors of the dispersions should be narrow enough that values inside (0, 1) are not
rounded to its ends. Two hundred simulations see errors of the size of the saboteurs here, and no smaller ones.

References
----------
Talts et al. (2018), https://doi.org/10.48550/arXiv.1804.06788
Modrák et al. (2023), https://doi.org/10.1214/23-BA1404 (data-dependent quantities)
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from mien.models.engines.problem import Draws, Outcome, Settings
from mien.models.fitting import make_problem
from mien.models.likelihood_replicates import draw_response
from mien.models.spec import ModelSpec
from mien.simulation.calibration import Calibration
from mien.simulation.model_draws import (
    draw_coefficient,
    draw_effects,
    draw_hyperparameters,
    draw_parameters,
    linear_predictor,
)
from mien.study.errors import FitError

__all__ = ["CHANGES", "SABOTEURS", "calibrate_likelihood", "shares_below"]

DRAWS, CHAINS = 400, 4
PRIOR_DRAWS = 100
LAST = 3  # attempts of the engine
BATCH = 10
LIKELIHOOD = "log p(y | w)"


def calibrate_likelihood(
    spec: ModelSpec, data: pd.DataFrame, *, replicates: int, seed: int, workers: int = 1
) -> Calibration:
    """Simulate, fit and compare, `replicates` times, saboteurs included.

    Parameters
    ----------
    spec, data : a model of another family than the Gaussian, without regressions, and its rows; the response gives
        priors their scale where they have none.
    seed : the same numbers for the same seed, on one worker or many. workers : processes.

    Raises
    ------
    FitError
        For several outcomes, a flat prior, or a regression of a parameter.
    """
    outcomes = make_problem(spec, data)[0].outcomes
    if len(outcomes) != 1 or not outcomes[0].parameters or spec.parameters:
        raise FitError(
            "calibrate_likelihood: expected one outcome of a family without regressions of its parameters, found "
            f"{len(outcomes)} outcomes, family {spec.family!r}, parameters {dict(spec.parameters)}."
        )
    batches = [range(first, min(first + BATCH, replicates)) for first in range(0, replicates, BATCH)]
    found: Any = Parallel(n_jobs=workers)(
        delayed(_some)(spec.family, outcomes[0], batch, seed) for batch in batches
    )
    results = [result for batch in found for result in batch]
    count = len(results)
    return Calibration(
        tuple(results[0].names), np.stack([result.pit for result in results]),
        np.array([result.failed for result in results]), np.full(count, np.nan), np.full(count, np.nan),
        ("",) * count,
        {name: np.stack([result.sabotaged[name] for result in results]) for name in SABOTEURS},
    )  # fmt: skip


class _Result(NamedTuple):
    names: list[str]
    pit: np.ndarray
    failed: bool
    sabotaged: Mapping[str, np.ndarray]


class _World(NamedTuple):
    """quantities : name → truth. effects : (level, term) of each block. parameters : as themselves."""

    quantities: dict[str, float]
    coefficients: np.ndarray
    effects: tuple[np.ndarray, ...]
    parameters: dict[str, float]


def _some(family: str, outcome: Outcome, replicates: range, seed: int) -> list[_Result]:
    return [_replicate(family, outcome, np.random.SeedSequence(seed, spawn_key=(n,))) for n in replicates]


def _replicate(family: str, outcome: Outcome, seed: np.random.SeedSequence) -> _Result:
    from mien.models.engines.likelihood_sampler import sample_likelihood

    world_seed, prior_seed, fit_seed = seed.spawn(3)
    rng = np.random.default_rng(world_seed)
    world = _draw_world(outcome, rng)
    y = draw_response(
        family, linear_predictor(outcome.design, world.coefficients, world.effects), world.parameters, rng
    )
    mine = outcome._replace(response=y)
    settings = Settings(DRAWS, CHAINS, int(fit_seed.generate_state(1)[0]))
    draws = sample_likelihood(family, mine, settings)
    truth = {**world.quantities, LIKELIHOOD: _log_likelihood(family, mine, world)}
    values = _values(family, mine, draws)
    names = list(truth)
    rng = np.random.default_rng(prior_seed)
    wrong = {
        saboteur: shares_below({name: change(values[name]) for name in names}, truth)
        for saboteur, change in CHANGES.items()
    }
    others = [_draw_world(mine, rng) for _ in range(PRIOR_DRAWS)]
    from_prior = {name: np.array([other.quantities[name] for other in others]) for name in world.quantities}
    from_prior[LIKELIHOOD] = np.array([_log_likelihood(family, mine, other) for other in others])
    wrong["prior returned"] = shares_below(from_prior, truth)
    return _Result(names, shares_below(values, truth), draws.note.count("missed") == LAST, wrong)


def shares_below(values: Mapping[str, np.ndarray], truth: Mapping[str, float]) -> np.ndarray:
    """PIT of every quantity: the share of draws below its truth."""
    return np.array([
        np.mean(values[name] < truth[name]) + 0.5 * np.mean(values[name] == truth[name]) for name in truth
    ])  # fmt: skip


# Truths


def _draw_world(outcome: Outcome, rng: np.random.Generator) -> _World:
    hyper = draw_hyperparameters(outcome, rng)
    coefficients = np.array(
        [draw_coefficient(outcome.priors[name], name, rng) for name in outcome.design.coefficients]
    )
    effects = tuple(
        draw_effects(block, hyper, matrix, rng)
        for block, matrix in zip(outcome.design.blocks, hyper.correlations, strict=True)
    )
    parameters = {name: float(value) for name, value in draw_parameters(outcome, rng).items()}
    quantities = dict(zip(outcome.design.coefficients, coefficients.tolist(), strict=True))
    quantities |= {f"{name}_sigma": value for name, value in hyper.sds.items()} | parameters
    for block, values in zip(outcome.design.blocks, effects, strict=True):
        quantities[f"{block.terms[0]}|{block.factor}[{block.levels[0]}]"] = float(values[0, 0])
        quantities[f"{block.terms[-1]}|{block.factor}[{block.levels[-1]}]"] = float(values[-1, -1])
    return _World(quantities, coefficients, effects, parameters)


# What the engine found


def _values(family: str, outcome: Outcome, draws: Draws) -> dict[str, np.ndarray]:
    """(draw,) of every quantity, chains one after the other."""
    found = {name: value.ravel() for name, value in {**draws.coefficients, **draws.parameters}.items()}
    found |= {f"{name}_sigma": value.ravel() for name, value in draws.sds.items()}
    if draws.sigma is not None:
        found["sigma"] = draws.sigma.ravel()
    effects = {name: value.reshape(-1, value.shape[-1]) for name, value in draws.effects.items()}
    for block in outcome.design.blocks:
        first, last = (f"{block.terms[place]}|{block.factor}" for place in (0, -1))
        found[f"{first}[{block.levels[0]}]"] = effects[first][:, 0]
        found[f"{last}[{block.levels[-1]}]"] = effects[last][:, -1]
    found[LIKELIHOOD] = np.array([
        _log_likelihood(family, outcome, _world_of(outcome, found, effects, place))
        for place in range(len(found["Intercept"]))
    ])  # fmt: skip
    return found


def _world_of(
    outcome: Outcome, found: Mapping[str, np.ndarray], effects: Mapping[str, np.ndarray], place: int
) -> _World:
    return _World(
        {},
        np.array([found[name][place] for name in outcome.design.coefficients]),
        tuple(
            np.column_stack([effects[f"{term}|{block.factor}"][place] for term in block.terms])
            for block in outcome.design.blocks
        ),
        {name: float(found[name][place]) for name in outcome.parameters},
    )


def _log_likelihood(family: str, outcome: Outcome, world: _World) -> float:
    from mien.models.engines.likelihood_sampler import row_log_densities

    eta = linear_predictor(outcome.design, world.coefficients, world.effects)
    return float(row_log_densities(family, outcome.response, eta, world.parameters).sum())


# Saboteurs


def _narrower(values: np.ndarray) -> np.ndarray:
    return values.mean() + 0.6 * (values - values.mean())


def _moved(values: np.ndarray) -> np.ndarray:
    return values + 0.7 * values.std()


CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"sd × .6": _narrower, "mean + .7 sd": _moved}
SABOTEURS = (*CHANGES, "prior returned")
