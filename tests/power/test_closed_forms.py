"""Power against formulas: a balanced contrast with known variances, its Bayesian decisions, and its ceiling."""

import numpy as np
import pytest
from scipy.stats import norm

from mien.power.cells import cells_of
from mien.power.deciding import Posterior, decide
from mien.power.plan import Budget, Design, Goal, Truth
from mien.power.replicates import Setup, run_replicates
from mien.power.simulating import simulate, skeleton_of
from mien.priors import Normal
from tests.power.plans import known, plan

SDS = {"1|participant": 0.04, "valence|participant": 0.05, "1|stimulus": 0.02}
SIGMA, EFFECT, PRIOR = 0.1, 0.03, 0.05
PERSONS, PICTURES = 10, 6
GOALS = (
    Goal("sign", "direction", "valence"),
    Goal("precise", "width", "valence", width=0.0926),
    Goal("too precise", "width", "valence", width=0.0924),
    Goal("evidence", "bayes_factor", "valence", threshold=3.0),
    Goal("rope", "rope", "valence", rope=(-0.02, 0.02)),
)


def of_contrast(persons: float = PERSONS) -> float:
    """Standard error of mean(positive) − mean(negative): slopes, stimuli of two valences, residuals."""
    stimuli = 2 * PICTURES
    return float(np.sqrt(
        SDS["valence|participant"] ** 2 / persons + 4 * SDS["1|stimulus"] ** 2 / stimuli
        + 4 * SIGMA**2 / (persons * stimuli)
    ))  # fmt: skip


@pytest.fixture(scope="module")
def with_known_variances():
    made = plan(
        *GOALS, priors=known(SDS, SIGMA, Normal(0.0, PRIOR)), design=Design((PERSONS,), (PICTURES,)),
        truth=Truth({"Intercept": (0.05,), "valence": (EFFECT,)}, SDS, {}, SIGMA),
        budget=Budget(replicates=400, null_replicates=400),
    )  # fmt: skip
    setup = Setup.of(made)
    cells = {cell.world: cell for cell in cells_of(made)}
    return setup, cells, {world: run_replicates(setup, cell, range(400)) for world, cell in cells.items()}


def column(rows, name):
    return np.array([row[name] for row in rows])


def test_no_study_fails(with_known_variances):
    _, _, rows = with_known_variances
    assert {row["failure"] for world in rows.values() for row in world} == {""}
    assert {row["n_rows"] for row in rows["alternative"]} == {PERSONS * 2 * PICTURES}


@pytest.mark.parametrize("world", ["alternative", "ceiling"])
def test_every_posterior_is_the_one_of_the_contrast(with_known_variances, world):
    setup, cells, rows = with_known_variances
    cell = cells[world]
    skeleton = skeleton_of(setup.plan, cell)
    positive = skeleton.frame["valence"].to_numpy() == "positive"
    se = of_contrast(np.inf if world == "ceiling" else PERSONS)
    shrunk = PRIOR**2 / (PRIOR**2 + se**2)
    tolerance = 1e-9 if world == "alternative" else 1e-5  # of the ceiling's residuals something is left
    for number, row in enumerate(rows[world][:20]):
        y = simulate(setup.plan, cell, skeleton, number).responses[0]
        contrast = y[positive].mean() - y[~positive].mean()
        assert row["sign:mean"] == pytest.approx(shrunk * contrast, abs=tolerance)
        assert row["sign:sd"] == pytest.approx(np.sqrt(shrunk) * se, abs=tolerance)
        against = norm.logpdf(contrast, 0, np.hypot(PRIOR, se)) - norm.logpdf(contrast, 0, se)
        assert row["evidence:value"] == pytest.approx(against, abs=100 * tolerance)
        inside = norm.cdf(0.02, shrunk * contrast, np.sqrt(shrunk) * se) - norm.cdf(
            -0.02, shrunk * contrast, np.sqrt(shrunk) * se
        )
        assert row["rope:value"] == pytest.approx(inside, abs=100 * tolerance)


def expected_power(persons: float, effect: float = EFFECT) -> float:
    """Φ(δ/se − 1.96/√B)."""
    se = of_contrast(persons)
    shrunk = PRIOR**2 / (PRIOR**2 + se**2)
    return float(norm.cdf(effect / se - norm.ppf(0.975) / np.sqrt(shrunk)))


def agrees(share: float, wanted: float, count: int) -> bool:
    return abs(share - wanted) <= 4.0 * np.sqrt(wanted * (1.0 - wanted) / count)


@pytest.mark.parametrize(("world", "persons"), [("alternative", PERSONS), ("ceiling", np.inf)])
def test_power_is_the_formula_s(with_known_variances, world, persons):
    _, _, rows = with_known_variances
    share = float((column(rows[world], "sign:decision") == 1).mean())
    assert agrees(share, expected_power(persons), 400)


def test_the_null_world_s_error_rate_is_the_formula_s(with_known_variances):
    _, _, rows = with_known_variances
    se = of_contrast()
    wanted = float(2.0 * norm.cdf(-norm.ppf(0.975) * np.sqrt(1.0 + se**2 / PRIOR**2)))
    assert set(column(rows["null"], "sign:truth")) == {0.0}
    assert agrees(float((column(rows["null"], "sign:decision") != 0).mean()), wanted, 400)


def test_width_is_known_beforehand(with_known_variances):
    _, _, rows = with_known_variances
    se = of_contrast()
    width = 2 * norm.ppf(0.975) * se / np.sqrt(1.0 + se**2 / PRIOR**2)
    assert 0.0924 < width < 0.0926
    assert column(rows["alternative"], "precise:value") == pytest.approx(width, abs=1e-9)
    assert column(rows["alternative"], "precise:met").all()
    assert not column(rows["alternative"], "too precise:met").any()


def test_bayes_factors_are_met_as_often_as_the_formula_says(with_known_variances):
    _, _, rows = with_known_variances
    se, both = of_contrast(), np.hypot(of_contrast(), PRIOR)
    least = np.sqrt(
        2 * (np.log(3.0) + np.log(both / se)) / (se**-2 - both**-2)
    )  # |contrast| that gives a factor of 3
    wanted = norm.sf(least, EFFECT, se) + norm.cdf(-least, EFFECT, se)
    assert agrees(float((column(rows["alternative"], "evidence:decision") == 1).mean()), float(wanted), 400)


def test_an_engine_that_is_too_sure_is_found(with_known_variances):
    """The same decisions with posterior sds × .8 miss the formula: the check can fail."""
    _, _, rows = with_known_variances
    decided = [
        decide(
            Posterior(np.ones(1), np.array([row["sign:mean"]]), 0.8 * np.array([row["sign:sd"]])), GOALS[0]
        ).decision
        for row in rows["alternative"]
    ]
    assert not agrees(float(np.mean(np.array(decided) == 1)), expected_power(PERSONS), 400)


def test_a_mixture_of_many_is_read_as_its_draws():
    rng = np.random.default_rng(3)
    weight = rng.dirichlet(np.ones(50))
    mean, sd = rng.normal(0.02, 0.01, 50), rng.uniform(0.005, 0.02, 50)
    mixture = Posterior.of(weight, mean, sd, (0.0, 0.05))
    at = rng.choice(50, 400_000, p=weight)
    draws = rng.normal(mean[at], sd[at])
    assert mixture.centre() == pytest.approx(draws.mean(), abs=4 * draws.std() / 632)
    assert mixture.spread() == pytest.approx(draws.std(), rel=0.01)
    assert mixture.below(0.0) == pytest.approx((draws < 0).mean(), abs=0.004)
    for share in (0.025, 0.5, 0.9):
        assert mixture.below(mixture.quantile(share)) == pytest.approx(share, abs=1e-9)
    density = (weight * norm.pdf(0.0, mean, sd)).sum()
    assert mixture.log_bayes_factor() == pytest.approx(np.log(norm.pdf(0, 0, 0.05) / density), abs=1e-12)
