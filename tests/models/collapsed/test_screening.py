"""Importance sampling over many kinds of data: the verdict passes nearly always, and points are worth what they were.

y ~ v + (v | p) + (1 | s) with 8 to 200 people, 6 to 52 stimuli, sds from 0 up, correlations to ±.99, missing trials.
"""

import numpy as np
import pytest

from mien.models.design import Block, Design
from mien.models.engines.collapsed.importance import importance_sample
from mien.models.engines.problem import Outcome
from mien.priors import LKJ, HalfNormal, HalfStudentT, Normal, ResolvedPrior

pytestmark = pytest.mark.statistical("engine")
SETS, POINTS = 60, 2048


def settings(number):
    rng = np.random.default_rng([7, number])
    people = int(rng.choice([8, 32, 200]))
    return {
        "people": people,
        "stimuli": int(rng.choice([6, 12, 52])),
        "sds": (rng.choice([0, 0.2, 1]), rng.choice([0, 0.1, 0.4, 1.5]), rng.choice([0, 0.1, 0.5])),
        "rho": rng.choice([-0.99, 0, 0.5, 0.99]),
        "missing": 0.25 * (people < 200 and rng.random() < 0.5),
    }


def density_of(number, people, stimuli, sds, rho, missing):
    """The engine's density and its start for one simulated data set."""
    from mien.models.engines.collapsed.density import make_density
    from mien.models.engines.collapsed.moments import moments_of

    rng = np.random.default_rng(number)
    person, stimulus = (c.ravel() for c in np.meshgrid(np.arange(people), np.arange(stimuli), indexing="ij"))
    keep = rng.random(len(person)) >= missing
    person, stimulus = person[keep].astype(np.int64), stimulus[keep].astype(np.int64)
    v = np.where(stimulus % 2 == 0, -0.5, 0.5)
    across = rho * sds[0] * sds[1]
    effects = rng.multivariate_normal(
        np.zeros(2), [[sds[0] ** 2, across], [across, sds[1] ** 2]], people, check_valid="ignore"
    )
    y = 0.3 * v + effects[person, 0] + effects[person, 1] * v + rng.normal(0, sds[2], stimuli)[stimulus]
    y = y + rng.normal(0, 1, len(v))
    x = np.column_stack([np.ones(len(v)), v])
    blocks = (
        Block("participant", ("1", "valence"), x, person, tuple(map(str, range(people)))),
        Block("stimulus", ("1",), x[:, :1], stimulus, tuple(map(str, range(stimuli)))),
    )
    wide = HalfNormal(2.5 * y.std())
    given = {
        "Intercept": Normal(0, 2.5 * y.std()), "valence": Normal(0, 2.5 * y.std()), "sd:1|participant": wide,
        "sd:valence|participant": wide, "sd:1|stimulus": wide, "corr:participant": LKJ(2.0),
        "sigma": HalfStudentT(4.0, y.std()),
    }  # fmt: skip
    priors = {name: ResolvedPrior(prior, "user", name) for name, prior in given.items()}
    outcome = Outcome("y", Design(("Intercept", "valence"), x, blocks, {}), y, np.ones(len(y)), priors)
    return make_density(outcome.design.coefficients, blocks, priors, moments_of(outcome), ("",))


@pytest.fixture(scope="module")
def screened():
    found = []
    for number in range(SETS):
        density, start = density_of(number, **settings(number))
        seed = np.random.SeedSequence(number)
        found.append(importance_sample(density, points=POINTS, runs=4, seed=seed, start=start))
    return found


def test_the_verdict_passes_nearly_always(screened):
    khat = np.array([one.khat for one in screened])
    assert np.median(khat) < 0.15
    assert np.quantile(khat, 0.9) < 0.35
    assert np.mean([one.passed for one in screened]) >= 0.95


def test_points_are_worth_what_was_measured(screened):
    relative = np.array([one.ess for one in screened]) / POINTS
    assert np.median(relative) > 0.65
    assert np.quantile(relative, 0.1) > 0.6
    assert relative.min() > 0.4


def test_more_points_do_not_reveal_a_tail():
    """Without null components k-hat looks good with few points and is not with many."""
    for number in (1, 33, 56):
        density, start = density_of(number, **settings(number))
        seed = np.random.SeedSequence(number)
        found = importance_sample(density, points=8 * POINTS, runs=4, seed=seed, start=start)
        assert found.khat < 0.55, (number, found.khat)
        assert found.ess > 0.6 * 8 * POINTS
