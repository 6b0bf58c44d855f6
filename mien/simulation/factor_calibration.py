"""Simulation-based calibration of co-activation: does the engine find factors that come from the prior?

    truth, y       loadings and uniquenesses of both levels from the prior, trials with holes from them
    PIT            share of the draws below the truth: uniform over simulations if the engine is right

of what no rotation changes: communalities, uniquenesses and correlations of both levels, and log p(y | Λ, Ψ), without
which an engine that returns the prior would pass. Coefficients have flat priors and are integrated out, so that their
truth does not matter. Two hundred simulations see errors of the size of the saboteurs here, and no smaller ones.

References
----------
Talts et al. (2018), https://doi.org/10.48550/arXiv.1804.06788
Modrák et al. (2023), https://doi.org/10.1214/23-BA1404 (data-dependent quantities)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from mien.models.engines.problem import Settings
from mien.models.factors.conditional import Parameters
from mien.models.factors.fitting import communality, correlations
from mien.models.factors.spec import FactorSpec
from mien.models.factors.sums import FactorSums, factor_sums
from mien.simulation.calibration import Calibration
from mien.simulation.co_activation import FactorTruth, prior_truth, simulate_values
from mien.simulation.likelihood_calibration import CHANGES, SABOTEURS, shares_below

__all__ = ["SABOTEURS", "FactorDesign", "calibrate_factors"]

DRAWS, CHAINS = 400, 4
PRIOR_DRAWS = 100
LAST = 3  # attempts of the engine
BATCH = 10
LIKELIHOOD = "log p(y | Λ, Ψ)"


class FactorDesign(NamedTuple):
    """What is simulated: `missing` is the share of trials that are lost, at random."""

    shapes: int = 8
    participants: int = 12
    stimuli: int = 12
    missing: float = 0.1
    terms: tuple[str, ...] = ("Intercept", "valence")


class _Result(NamedTuple):
    names: list[str]
    pit: np.ndarray
    failed: bool
    sabotaged: Mapping[str, np.ndarray]


def calibrate_factors(
    spec: FactorSpec, design: FactorDesign, *, replicates: int, seed: int, workers: int = 1
) -> Calibration:
    """Simulate, fit and compare, `replicates` times, saboteurs included.

    Parameters
    ----------
    spec : its numbers of factors and its priors. seed : the same numbers for the same seed, on one worker or many.
    """
    batches = [range(first, min(first + BATCH, replicates)) for first in range(0, replicates, BATCH)]
    found: Any = Parallel(n_jobs=workers)(delayed(_some)(spec, design, batch, seed) for batch in batches)
    results = [result for batch in found for result in batch]
    count = len(results)
    return Calibration(
        tuple(results[0].names), np.stack([result.pit for result in results]),
        np.array([result.failed for result in results]), np.full(count, np.nan), np.full(count, np.nan),
        ("",) * count,
        {name: np.stack([result.sabotaged[name] for result in results]) for name in SABOTEURS},
    )  # fmt: skip


def _some(spec: FactorSpec, design: FactorDesign, replicates: range, seed: int) -> list[_Result]:
    return [_replicate(spec, design, np.random.SeedSequence(seed, spawn_key=(n,))) for n in replicates]


def _replicate(spec: FactorSpec, design: FactorDesign, seed: np.random.SeedSequence) -> _Result:
    from mien.models.engines.factor_sampler import sample_factors

    world_seed, prior_seed, fit_seed = seed.spawn(3)
    rng = np.random.default_rng(world_seed)
    truth = _truth(spec, design, rng)
    sums = _simulated(truth, design, rng)
    settings = Settings(DRAWS, CHAINS, int(fit_seed.generate_state(1)[0]))
    drawn = sample_factors(sums, spec.factors, spec.between, spec.prior_numbers, settings)
    flat = Parameters(*(part.reshape(-1, *part.shape[2:]) for part in drawn[:4]))
    true = {name: float(value[0]) for name, value in _quantities(_as_draws([truth]), sums).items()}
    values = _quantities(flat, sums)
    rng = np.random.default_rng(prior_seed)
    others = _as_draws([_truth(spec, design, rng) for _ in range(PRIOR_DRAWS)])
    wrong = {
        saboteur: shares_below({name: change(values[name]) for name in true}, true)
        for saboteur, change in CHANGES.items()
    }
    wrong["prior returned"] = shares_below(_quantities(others, sums), true)
    return _Result(list(true), shares_below(values, true), drawn.note.count("missed") == LAST, wrong)


def _truth(spec: FactorSpec, design: FactorDesign, rng: np.random.Generator) -> FactorTruth:
    of_sd, of_uniqueness, of_between_sd, of_between_uniqueness = np.reshape(spec.prior_numbers, (4, 2))
    return prior_truth(
        rng, shapes=design.shapes, factors=spec.factors, between=spec.between, uniqueness=tuple(of_uniqueness),
        between_uniqueness=tuple(of_between_uniqueness),
        loading_sd=(rng.lognormal(*of_sd), rng.lognormal(*of_between_sd)), terms=design.terms,
    )  # fmt: skip


def _simulated(truth: FactorTruth, design: FactorDesign, rng: np.random.Generator) -> FactorSums:
    data = simulate_values(
        truth, rng, participants=design.participants, stimuli=design.stimuli, missing=design.missing
    )
    seen, group = np.unique(data.participant, return_inverse=True)
    assert len(seen) > 1
    return factor_sums(data.standardised, data.design, group)


def _as_draws(truths: list[FactorTruth]) -> Parameters:
    names = ("loading", "uniqueness", "between_loading", "between_uniqueness")
    return Parameters(*(np.stack([getattr(truth, name) for truth in truths]) for name in names))


def _quantities(draws: Parameters, sums: FactorSums) -> dict[str, np.ndarray]:
    """(draw,) of all that is judged."""
    found: dict[str, np.ndarray] = {}
    for level, loading, uniqueness in (
        ("within", draws.loading, draws.uniqueness),
        ("between", draws.between_loading, draws.between_uniqueness),
    ):
        share, cells = communality(loading, uniqueness), correlations(loading, uniqueness)
        shapes = share.shape[1]
        for d in range(shapes):
            found[f"communality {level} {d}"] = share[:, d]
            found[f"uniqueness {level} {d}"] = uniqueness[:, d]
            found[f"correlation {level} {d}, {(d + 1) % shapes}"] = cells[:, d, (d + 1) % shapes]
    found[LIKELIHOOD] = _log_likelihood(draws, sums)
    return found


def _log_likelihood(draws: Parameters, sums: FactorSums) -> np.ndarray:
    """(draw,) by dense matrices of the shapes, which is not how the engine has it."""
    total = np.zeros(len(draws.uniqueness))
    within, between = draws.within, draws.between
    for g, (weight, count) in enumerate(zip(sums.weight, sums.count, strict=True)):
        vectors = sums.vectors[sums.first[g] : sums.first[g + 1]]
        covariance = within + weight * between
        inside = np.linalg.solve(covariance, np.broadcast_to(vectors.T @ vectors, covariance.shape))
        total -= 0.5 * (count * np.linalg.slogdet(covariance)[1] + np.trace(inside, axis1=1, axis2=2))
    return total
