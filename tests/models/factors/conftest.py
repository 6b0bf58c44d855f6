"""A small study of two factors, and the comparison of numbers of factors on it."""

import numpy as np
import pytest

from mien.models import co_activation
from mien.models.factors.choice import factor_numbers
from mien.simulation.co_activation import draw_truth, simulate_factors


@pytest.fixture(scope="session")
def two_factors():
    """8 shapes, 16 persons, 16 stimuli less a tenth of the trials."""
    rng = np.random.default_rng(12)
    truth = draw_truth(rng, shapes=8, factors=2, between=1, terms=("Intercept", "valence"))
    return simulate_factors(truth, rng, participants=16, stimuli=16, missing=0.1)


@pytest.fixture(scope="session")
def study(two_factors):
    """(trials, `FactorNumbers` of 1 to 3 factors)."""
    spec = co_activation(between=1, covariates="valence")
    return two_factors.trials, factor_numbers(
        two_factors.trials, factors=(3, 1, 2), spec=spec, folds=4, draws=250, seed=5
    )
