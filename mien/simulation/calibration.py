"""Simulation-based calibration of the collapsed engine: does it find truths that come from the prior?

    theta, β, u, y      drawn from the model on a given design (`model_draws`)
    posterior           the engine's weighted points, β and u drawn once for each point
    PIT                 Σ weight · [value < truth]: uniform over simulations if the engine is right

of every hyperparameter, coefficient, two effects of each factor, and of log p(y | theta) and log p(y, theta): an engine
that returns the prior is uniform in everything else. A fit whose verdict is bad stays in and is counted; one that ends
in an error has PIT 0. All quantities are judged at one familywise level.

References
----------
Talts et al. (2018), https://doi.org/10.48550/arXiv.1804.06788
Modrák et al. (2023), https://doi.org/10.1214/23-BA1404 (data-dependent quantities)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from mien.models.engines.collapsed.density import Density, SeriesBlock, make_density
from mien.models.engines.collapsed.engine import prepare
from mien.models.engines.collapsed.importance import Weighted, importance_sample, quantities
from mien.models.engines.collapsed.moments import moments_of
from mien.models.engines.collapsed.parameters import Parameters
from mien.models.engines.collapsed.places import Places
from mien.models.engines.collapsed.series_effects import find_series_block, without_block
from mien.models.engines.problem import Outcome, Problem
from mien.models.fitting import make_problem
from mien.models.smooths import sd_name
from mien.models.spec import ModelSpec
from mien.models.uniformity import Band, counts_below, simultaneous_band
from mien.simulation.model_draws import Hyperparameters, ModelDraw, draw_hyperparameters, draw_model
from mien.study.errors import FitError

__all__ = ["LEVEL", "SABOTEURS", "Calibration", "Judgement", "calibrate"]

LEVEL = 0.001  # familywise, over all quantities of one calibration
POINTS, MORE_POINTS, RUNS = 1000, 4000, 2
PRIOR_POINTS = 100  # of the saboteur that returns the prior
BATCH = 25  # replicates that a worker takes at once
LIKELIHOOD, JOINT = "log p(y | theta)", "log p(y, theta)"


class Judgement(NamedTuple):
    """passed; outside : quantities whose path leaves its band; failed : fits with a bad verdict or an error.

    distance : of each quantity, the largest |share below t − t| in binomial standard deviations.
    """

    passed: bool
    outside: tuple[str, ...]
    failed: int
    distance: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Calibration:
    """PITs of many simulations.

    names : quantities. pit : (replicate, quantity), 0–1. failed : (replicate,). khat, ess : (replicate,) of the last
    attempt, nan after an error. errors : (replicate,) messages, "" for none.
    sabotaged : saboteur → (replicate, quantity), from the same fits, where asked for; nan: a quantity it leaves out.
    """

    names: tuple[str, ...]
    pit: np.ndarray
    failed: np.ndarray
    khat: np.ndarray
    ess: np.ndarray
    errors: tuple[str, ...]
    sabotaged: Mapping[str, np.ndarray]

    @cached_property
    def band(self) -> Band:
        """What every quantity's counts must keep to."""
        return simultaneous_band(len(self.pit), LEVEL / len(self.names))

    @property
    def ecdf(self) -> np.ndarray:
        """(quantity, grid) share of simulations with PIT ≤ `band.at`."""
        return counts_below(self.pit, self.band.at) / len(self.pit)

    @property
    def verdict(self) -> Judgement:
        """Of the engine."""
        return self._judged(self.pit)

    def verdict_of(self, saboteur: str) -> Judgement:
        """Of an engine that is wrong on purpose."""
        return self._judged(self.sabotaged[saboteur])

    def _judged(self, pit: np.ndarray) -> Judgement:
        there = np.flatnonzero(~np.isnan(pit).any(axis=0))
        counts, band = counts_below(pit[:, there], self.band.at), self.band
        leaves = ((counts < band.fewest) | (counts > band.most)).any(axis=1)
        spread = np.sqrt(len(pit) * band.at * (1.0 - band.at))
        distance = (np.abs(counts - len(pit) * band.at) / spread).max(axis=1)
        named = {self.names[place]: float(far) for place, far in zip(there, distance, strict=True)}
        outside = tuple(self.names[place] for place in there[leaves])
        return Judgement(not outside, outside, int(self.failed.sum()), named)


def calibrate(
    spec: ModelSpec,
    data: pd.DataFrame,
    *,
    replicates: int,
    seed: int,
    workers: int = 1,
    fitted: ModelSpec | None = None,
    saboteurs: bool = False,
) -> Calibration:
    """Simulate, fit and compare, `replicates` times.

    Parameters
    ----------
    spec, data : the model and its rows; the response in `data` only gives priors their scale where they have none.
    seed : the same numbers for the same seed, on one worker or many.
    workers : processes.
    fitted : the model that is fitted, where it is to be another than `spec`, with the same coefficients.
    saboteurs : compute also what engines would give that are wrong on purpose (`SABOTEURS`).

    Raises
    ------
    FitError
        For several outcomes, or a flat prior.
    """
    setup = _Setup.of(spec, fitted or spec, data)
    draw_model(setup.simulated, np.random.default_rng(0))  # a flat prior is refused here
    batches = [range(first, min(first + BATCH, replicates)) for first in range(0, replicates, BATCH)]
    found: Any = Parallel(n_jobs=workers)(delayed(_some)(setup, batch, seed, saboteurs) for batch in batches)
    results: list[_Result] = [result for batch in found for result in batch]
    return Calibration(
        setup.names,
        np.stack([result.pit for result in results]),
        np.array([result.failed for result in results]),
        np.array([result.khat for result in results]),
        np.array([result.ess for result in results]),
        tuple(result.error for result in results),
        {name: np.stack([result.sabotaged[name] for result in results]) for name in SABOTEURS if saboteurs},
    )


class _Setup(NamedTuple):
    """What all replicates share. names : of the quantities, those that both models have.

    series : number of the block that is integrated out with the residuals, None for none.
    """

    simulated: Outcome
    fitted: Outcome
    places: Places
    names: tuple[str, ...]
    series: int | None

    @staticmethod
    def of(spec: ModelSpec, fitted: ModelSpec, data: pd.DataFrame) -> "_Setup":
        simulated, mine = (_single_outcome(model, data) for model in (spec, fitted))
        density = prepare(Problem("gaussian", (mine,)), threads=1, of_series=True)[0].density
        world = draw_model(simulated, np.random.default_rng(0))
        names = tuple(_Posterior(density, mine).truth(world))
        return _Setup(simulated, mine, density.places, names, find_series_block([mine]))

    def density(self, outcome: Outcome) -> tuple[Density, np.ndarray]:
        """As the engine makes it, and a theta to start from."""
        number = self.series
        rest = outcome if number is None else without_block(outcome, number)
        return make_density(
            outcome.design.coefficients, outcome.design.blocks, outcome.priors, moments_of(rest),
            outcome.residual.strata, self.places, series=None if number is None else SeriesBlock(outcome, number),
        )  # fmt: skip


def _single_outcome(spec: ModelSpec, data: pd.DataFrame) -> Outcome:
    outcomes = make_problem(spec, data)[0].outcomes
    if len(outcomes) != 1:
        raise FitError(
            f"calibrate: expected data of one outcome, found {len(outcomes)}: choose a blend shape."
        )
    return outcomes[0]


class _Result(NamedTuple):
    pit: np.ndarray
    failed: bool
    khat: float
    ess: float
    error: str
    sabotaged: Mapping[str, np.ndarray]


def _some(setup: _Setup, replicates: range, seed: int, saboteurs: bool) -> list[_Result]:
    return [_replicate(setup, np.random.SeedSequence(seed, spawn_key=(n,)), saboteurs) for n in replicates]


def _replicate(setup: _Setup, seed: np.random.SeedSequence, saboteurs: bool) -> _Result:
    world_seed, theta_seed, draw_seed = seed.spawn(3)
    world = draw_model(setup.simulated, np.random.default_rng(world_seed))
    drawn = world.outcome
    outcome = setup.fitted._replace(
        response=drawn.response, residual=setup.fitted.residual._replace(squares=drawn.residual.squares)
    )
    wrong: dict[str, np.ndarray] = {}
    try:
        density, start = setup.density(outcome)
        found = _weighted(density, start, theta_seed)
    except FitError as error:
        zeros = np.zeros(len(setup.names))
        wrong = dict.fromkeys(SABOTEURS, zeros) if saboteurs else wrong
        return _Result(zeros, True, np.nan, np.nan, str(error), wrong)
    rng = np.random.default_rng(draw_seed)
    posterior = _Posterior(density, outcome)
    truth, values = posterior.truth(world), posterior.values(found, rng)
    weight = found.weight / found.weight.sum()
    pit = _pit(setup.names, truth, values, weight)
    if saboteurs:
        wrong = {
            name: _pit(
                setup.names, truth, {key: change(value, weight) for key, value in values.items()}, weight
            )
            for name, change in CHANGES.items()
        }
        wrong["prior returned"] = _prior_pit(setup.names, posterior, truth, rng)
    return _Result(pit, not found.passed, found.khat, found.ess, "", wrong)


def _weighted(density: Density, start: np.ndarray, seed: np.random.SeedSequence) -> Weighted:
    """The engine's ladder up to more points."""
    first, second = seed.spawn(2)
    found = importance_sample(density, points=POINTS, runs=RUNS, seed=first, start=start)
    if found.passed:
        return found
    return importance_sample(density, points=MORE_POINTS, runs=RUNS, seed=second, start=start)


def _pit(
    names: tuple[str, ...], truth: Mapping[str, float], values: Mapping[str, np.ndarray], weight: np.ndarray
) -> np.ndarray:
    """Weight below the truth, half of what equals it; nan for quantities without values."""
    pit = np.full(len(names), np.nan)
    for place, name in enumerate(names):
        if name in values:
            less, same = values[name] < truth[name], values[name] == truth[name]
            pit[place] = weight[less].sum() + 0.5 * weight[same].sum()
    return pit


class _Posterior:
    """The quantities by name, of the truth and of weighted points."""

    def __init__(self, density: Density, outcome: Outcome) -> None:
        self.density, self.outcome = density, outcome
        self.parameters: Parameters = density.parameters
        self.effects = _two_of_each_factor(outcome)
        number = None if density.series is None else find_series_block([outcome])
        self.of_series = "" if number is None else outcome.design.blocks[number].factor

    def truth(self, world: ModelDraw) -> dict[str, float]:
        """What was drawn."""
        theta = self.theta(world.hyperparameters)
        found = {name: float(value[0]) for name, value in self.of_theta(theta).items()}
        found |= dict(zip(self.outcome.design.coefficients, world.coefficients.tolist(), strict=True))
        own = {
            (term, block.factor): values[:, place]
            for block, values in zip(world.outcome.design.blocks, world.effects, strict=True)
            for place, term in enumerate(block.terms)
        }
        for name, (term, factor, level) in self.effects.items():
            found[name] = float(own[term, factor][level])
        return found

    def values(self, found: Weighted, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """(point,) each; coefficients and effects by one exact draw for each point."""
        values = self.of_theta(found.theta, found.log_density)
        natural = self.parameters.natural(found.theta)
        drawn = self.density.draw(natural, np.ones(len(found.theta), dtype=np.int64), rng)
        for place, name in enumerate(self.outcome.design.coefficients):
            values[name] = drawn.coefficients[:, place]
        for name, (term, factor, level) in self.effects.items():
            if factor == self.of_series:
                assert drawn.of_series is not None
                values[name] = drawn.of_series[:, level]
            else:
                values[name] = drawn.effects[:, self._column(term, factor, level)]
        return values

    def theta(self, hyperparameters: Hyperparameters) -> np.ndarray:
        """(1, dim), the place of these hyperparameters; those that the model has not are left out."""
        parameters = self.parameters
        sds = [
            hyperparameters.sds[sd_name(term, block.factor)]
            for block in self.outcome.design.blocks
            for term in block.terms
        ]
        partial = [
            value
            for block, (_, k, _) in zip(self.outcome.design.blocks, parameters.blocks, strict=True)
            for value in _partials(self._correlation(hyperparameters, block.terms, block.factor), k)
        ]
        parts = [
            np.arcsinh(np.array(sds)[parameters.sd_free] / parameters.scale),
            np.arctanh(np.array(partial)[parameters.partial_free]) if partial else np.zeros(0),
            np.log(hyperparameters.sigma[parameters.sigma_free]),
            np.arctanh([hyperparameters.rho]) if parameters.rho_free else np.zeros(0),
        ]
        return np.concatenate(parts)[None]

    def _correlation(
        self, hyperparameters: Hyperparameters, terms: tuple[str, ...], factor: str
    ) -> np.ndarray:
        blocks = self.outcome.design.blocks
        if len(blocks) == len(hyperparameters.correlations):
            for block, matrix in zip(blocks, hyperparameters.correlations, strict=True):
                if block.factor == factor and block.terms == terms:
                    return matrix
        return np.eye(len(terms))

    def of_theta(self, theta: np.ndarray, joint: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """What depends on theta (point, dim) and the data alone; `joint` is log p(y, theta) where it is known."""
        values = quantities(self.parameters, theta)
        joint = self.density.values(theta) if joint is None else joint
        with np.errstate(invalid="ignore"):  # -inf where a point has no weight
            values[LIKELIHOOD] = joint - self.parameters.log_prior(theta)
        values[JOINT] = joint
        return values

    def _column(self, term: str, factor: str, level: int) -> int:
        """In draws of effects, which go by factor, level, term."""
        blocks, layout = self.outcome.design.blocks, self.density.places.structure.layout
        factors = [name for name in dict.fromkeys(block.factor for block in blocks) if name != self.of_series]
        terms = [name for block in blocks if block.factor == factor for name in block.terms]
        number = factors.index(factor)
        return layout.start(number) + layout.sizes[number] * level + terms.index(term)


def _two_of_each_factor(outcome: Outcome) -> dict[str, tuple[str, str, int]]:
    """Name → term, factor and level: the first term of the first level, the last of the last."""
    chosen = {}
    for factor in dict.fromkeys(block.factor for block in outcome.design.blocks):
        blocks = [block for block in outcome.design.blocks if block.factor == factor]
        last = len(blocks[0].levels) - 1
        for term, level in ((blocks[0].terms[0], 0), (blocks[-1].terms[-1], last)):
            chosen[f"{term}|{factor}[{blocks[0].levels[level]}]"] = (term, factor, level)
    return chosen


def _partials(matrix: np.ndarray, k: int) -> list[float]:
    """Canonical partial correlations of a correlation matrix, row by row."""
    lower = np.linalg.cholesky(matrix)
    found = []
    for i in range(1, k):
        for j in range(i):
            found.append(float(lower[i, j] / np.sqrt(1.0 - (lower[i, :j] ** 2).sum())))
    return found


# Saboteurs


def _narrower(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    mean = _mean(values, weight)
    return mean + 0.9 * (values - mean)


def _moved(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    mean = _mean(values, weight)
    return values + 0.2 * np.sqrt(_mean((values - mean) ** 2, weight))


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    used = weight > 0.0
    return float(weight[used] @ values[used])


def _prior_pit(
    names: tuple[str, ...], posterior: _Posterior, truth: Mapping[str, float], rng: np.random.Generator
) -> np.ndarray:
    """PITs of an engine that has not seen the data; of what depends on theta alone."""
    theta = np.concatenate(
        [posterior.theta(draw_hyperparameters(posterior.outcome, rng)) for _ in range(PRIOR_POINTS)]
    )
    share = _pit(names, truth, posterior.of_theta(theta), np.full(PRIOR_POINTS, 1.0 / PRIOR_POINTS))
    return (PRIOR_POINTS * share + rng.random(len(names))) / (
        PRIOR_POINTS + 1
    )  # few points: ranks, spread out


CHANGES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "sd × .9": _narrower,
    "mean + .2 sd": _moved,
}
SABOTEURS = (*CHANGES, "prior returned")
