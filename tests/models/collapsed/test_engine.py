"""The way from weighted points to named draws: every draw of the effects belongs to the theta beside it."""

import numpy as np
import pandas as pd
import pytest

from mien.models.engines.collapsed.engine import CollapsedEngine, prepare
from mien.models.engines.collapsed.parameters import Natural
from mien.models.engines.problem import Settings
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec

DRAWS, REPLICATES = 1000, 40


@pytest.fixture(scope="module")
def problem():
    """Few levels: theta is uncertain, so that effects of another theta would stand out."""
    rng = np.random.default_rng(3)
    person, item = np.repeat(np.arange(5), 6), np.tile(np.arange(6), 5)
    x = np.where(item % 2 == 0, -0.5, 0.5)
    y = rng.normal(0, 1, 5)[person] + 0.3 * x + rng.normal(0, 0.5, 30)
    data = pd.DataFrame({"y": y, "x": x, "person": person.astype(str), "item": item.astype(str)})
    return make_problem(ModelSpec("y ~ x + (x | person) + (1 | item)"), data, None)[0]


def standardised(problem, draws):
    """Effects (draw, effect) less their conditional mean given the draw's theta, over the conditional sd."""
    density = prepare(problem, threads=1)[0].density
    count = draws.sigma.size
    natural = Natural(
        np.column_stack([sd.ravel() for sd in draws.sds.values()]),
        draws.correlations["person"][..., 1, 0].reshape(count, 1), draws.sigma.reshape(count, 1), np.zeros(count),
    )  # fmt: skip
    once = np.ones(count, dtype=np.int64)
    mean = density.draw(natural, once, None, dtype=np.float64).effects
    variance = np.zeros_like(mean)
    for seed in range(REPLICATES):
        drawn = density.draw(natural, once, np.random.default_rng(seed), dtype=np.float64).effects
        variance += (drawn - mean) ** 2 / REPLICATES
    person = np.stack([draws.effects[f"{term}|person"] for term in ("1", "x")], axis=-1)
    effects = np.concatenate([person.reshape(count, -1), draws.effects["1|item"].reshape(count, -1)], axis=1)
    return lambda order: (effects[order] - mean) / np.sqrt(variance)


def test_every_draw_of_the_effects_belongs_to_its_theta(problem):
    draws = CollapsedEngine().sample(problem, Settings(DRAWS, 4, 0))[0]
    scores = standardised(problem, draws)
    count = draws.sigma.size
    inflation = REPLICATES / (REPLICATES - 2)  # the variance is an estimate itself
    right = scores(np.arange(count)).var(axis=0) / inflation
    np.testing.assert_allclose(right, 1.0, atol=0.12)
    assert scores(np.random.default_rng(0).permutation(count)).var(axis=0).min() > 1.3  # saboteur


def test_draws_do_not_depend_on_whether_effects_are_wanted(problem):
    with_effects = CollapsedEngine().sample(problem, Settings(100, 2, 5))[0]
    without = CollapsedEngine().sample(problem, Settings(100, 2, 5, group_effects=False))[0]
    np.testing.assert_array_equal(with_effects.coefficients["x"], without.coefficients["x"])
    assert set(with_effects.sds) == set(without.sds)
    assert dict(without.effects) == {}
