"""A small data set with known factors, and draws of its unmarginalised model long enough to be compared with."""

from functools import cache
from typing import NamedTuple

import numpy as np

from mien.simulation.co_activation import FactorData, draw_truth, simulate_values

PRIORS = (-0.8, 0.4, -0.7, 0.7, -1.2, 0.4, -2.5, 1.0)  # as `factor_graph.factor_model` takes them
DRAWS = 12_000  # a chain, 4 chains: ESS of communalities and covariances 3,100 at least, R-hat 1.003 at most
TUNE = 1000


class PlainCase(NamedTuple):
    data: FactorData
    factors: int
    between: int
    priors: tuple[float, ...]


def plain_case(factors=2):
    """6 shapes, 12 persons, 10 stimuli less a tenth of the trials; `factors` within persons and one between."""
    rng = np.random.default_rng(5)
    truth = draw_truth(rng, shapes=6, factors=factors, between=1, terms=("Intercept", "valence"))
    data = simulate_values(truth, rng, participants=12, stimuli=10, missing=0.1)
    return PlainCase(data, factors, 1, PRIORS)


@cache
def plain_draws(factors=2):
    """`PlainDraws` of `plain_case`: 15-30 s and 10 s of compilation, 70 s where nothing is cached yet."""
    from mien.models.engines.factor_graph import factor_model, sample_plain

    case = plain_case(factors)
    model = factor_model(
        case.data.standardised, case.data.design, case.data.participant,
        factors=case.factors, between=case.between, priors=case.priors,
    )  # fmt: skip
    return sample_plain(model, seed=20260302, draws=DRAWS, tune=TUNE, target_accept=0.95)


def determined(draws):
    """What no rotation changes: name → (chain, draw, …) communalities, Λ Λ' + Ψ, coefficients."""
    found = {"coefficient": draws.coefficient, "sd": draws.loading_sd, "between_sd": draws.between_loading_sd}
    for level in ("", "between_"):
        loading, uniqueness = getattr(draws, f"{level}loading"), getattr(draws, f"{level}uniqueness")
        common = np.einsum("cdik,cdjk->cdij", loading, loading)
        shared = np.einsum("cdii->cdi", common)
        found[f"{level}communality"] = shared / (shared + uniqueness)
        found[f"{level}covariance"] = common + uniqueness[..., None] * np.eye(uniqueness.shape[-1])
    return found
