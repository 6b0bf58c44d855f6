"""Calibration of the collapsed engine, and of the check itself: bands are exact, and wrong engines leave them.

The small runs belong to `make test`; 10,000 and 1,000 simulations to `make test-statistical AREA=engine`.
"""

import math
import os

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mien.models import ModelSpec
from mien.models.fitting import make_problem
from mien.models.uniformity import counts_below, simultaneous_band
from mien.priors import LKJ, Exponential, Fixed, Flat, HalfNormal, HalfStudentT, Normal
from mien.simulation.calibration import SABOTEURS, calibrate
from mien.simulation.model_draws import draw_hyperparameters, draw_model
from mien.study.errors import FitError

WORKERS = min(2, os.cpu_count() or 1)
PRIORS = {
    "Intercept": Normal(0, 1), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfStudentT(4, 1),
}  # fmt: skip
INTERCEPT = ModelSpec("y ~ v + (1 | participant)", priors=PRIORS)
SLOPES = ModelSpec(
    "y ~ v + (v | participant) + (1 | stimulus)", priors=PRIORS | {"sd": HalfStudentT(4, 1), "corr": LKJ(2)}
)
CROSSED = ModelSpec("y ~ v + (1 | participant) + (1 | stimulus)", priors=PRIORS | {"sd": Exponential(1)})


def table(participants=12, stimuli=12, bins=1, missing=0.0, seed=0):
    """Everyone sees everything, in `bins` parts, some of them missing; the response is noise."""
    shape = (participants, stimuli, bins)
    person, stimulus, number = (axis.ravel() for axis in np.meshgrid(*map(np.arange, shape), indexing="ij"))
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=len(person)),
            "v": np.where(stimulus % 2 == 0, -0.5, 0.5),
            "participant": [f"p{n:02d}" for n in person],
            "stimulus": [f"s{n:02d}" for n in stimulus],
            "medium": np.where(stimulus % 3 == 0, "film", "picture"),
            "trial": [f"t{n:02d}" for n in stimulus],
            "bin": number,
            "weight": rng.uniform(0.3, 3.0, len(person)),
        }
    )
    return data[rng.random(len(data)) >= missing].reset_index(drop=True)


# The band


@pytest.mark.parametrize(("count", "grid", "level"), [(50, 10, 0.05), (300, 100, 0.05), (1000, 100, 0.2)])
def test_uniform_paths_leave_the_band_as_often_as_they_should(count, grid, level):
    band = simultaneous_band(count, level, grid)
    rng = np.random.default_rng(1)
    paths = np.cumsum(rng.multinomial(count, np.full(grid, 1 / grid), size=20_000), axis=1)[:, :-1]
    leave = ((paths < band.fewest) | (paths > band.most)).any(axis=1).mean()
    error = math.sqrt(level * (1 - level) / len(paths))
    assert 0.6 * level < leave < level + 4 * error


def test_bands_of_few_and_many_values():
    band = simultaneous_band(10_000, 0.001 / 13)
    assert len(band.at) == 99
    assert (band.fewest < 10_000 * band.at).all()
    assert (band.most > 10_000 * band.at).all()
    assert band.most[49] - band.fewest[49] == pytest.approx(2 * 5.1 * 50, rel=0.1)  # 5.1 standard deviations
    assert len(simultaneous_band(20, 0.05).at) == 19


def test_paths_are_counts_below():
    values = np.array([[0.1, 0.9], [0.5, 0.95], [0.2, 0.5]])
    np.testing.assert_array_equal(counts_below(values, np.array([0.2, 0.5])), [[2, 3], [0, 1]])


# Draws of the model


def outcome_of(spec, data):
    return make_problem(spec, data)[0].outcomes[0]


def test_correlations_have_the_lkj_distribution():
    """Of three, each alone is 2 Beta(eta + ½, eta + ½) − 1, by the marginal of the LKJ distribution."""
    spec = ModelSpec(
        "y ~ v + w + (v + w | participant)",
        priors=PRIORS | {"corr": LKJ(1.5)},
    )
    data = table(6, 8).assign(w=lambda rows: np.arange(len(rows)) % 5 - 2.0)
    outcome, rng = outcome_of(spec, data), np.random.default_rng(2)
    found = np.array([draw_hyperparameters(outcome, rng).correlations[0] for _ in range(2000)])
    marginal = stats.beta(2.0, 2.0, loc=-1, scale=2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert stats.kstest(found[:, i, j], marginal.cdf).pvalue > 1e-3
        assert stats.kstest(found[:, i, j], stats.beta(1.5, 1.5, loc=-1, scale=2).cdf).pvalue < 1e-3
    assert (np.linalg.eigvalsh(found) > 0).all()


def test_series_have_the_autocorrelation_that_was_drawn():
    fixed = {
        "sigma": Fixed(2.0),
        "rho": Fixed(0.6),
        "sd": Fixed(1e-6),
        "Intercept": Fixed(0.0),
        "beta": Fixed(0.0),
    }
    spec = ModelSpec(
        "y ~ v + (1 | participant)", residual="ar1", series=("participant", "trial"), priors=fixed
    )
    data = table(30, 40, bins=6, missing=0.2).sample(frac=1.0, random_state=3).reset_index(drop=True)
    outcome = outcome_of(spec, data)
    y = draw_model(outcome, np.random.default_rng(4)).outcome.response
    rows = pd.DataFrame({"y": y, "series": outcome.residual.series, "bin": outcome.residual.position})
    wide = rows.pivot_table(index="series", columns="bin", values="y").to_numpy()
    assert np.nanstd(wide) == pytest.approx(2.0, rel=0.03)
    for gap in (1, 2, 3):
        product = wide[:, gap:] * wide[:, :-gap]
        assert np.nanmean(product) / 4.0 == pytest.approx(0.6**gap, abs=0.05)


def test_replicates_scatter_as_they_should():
    data = table(20, 30).assign(n=lambda rows: 1 + np.arange(len(rows)) % 4, y_squares=1.0)
    data.loc[data["n"] == 1, "y_squares"] = 0.0
    fixed = {"sigma": Fixed(3.0), "sd": Fixed(1e-6), "Intercept": Fixed(0.0), "beta": Fixed(0.0)}
    spec = ModelSpec("y ~ v + (1 | participant)", counts="n", priors=fixed)
    outcome = outcome_of(spec, data)
    rng, count = np.random.default_rng(5), data["n"].to_numpy()
    drawn = [draw_model(outcome, rng).outcome for _ in range(30)]
    squares = np.mean([one.residual.squares for one in drawn], axis=0)
    variance = np.var([one.response for one in drawn], axis=0)
    for n in (1, 2, 3, 4):
        assert squares[count == n].mean() == pytest.approx(9.0 * (n - 1), rel=0.1)
        assert variance[count == n].mean() == pytest.approx(9.0 / n * 29 / 30, rel=0.1)


# The check


def test_results_do_not_depend_on_the_workers():
    data = table(5, 6)
    one = calibrate(INTERCEPT, data, replicates=30, seed=4, workers=1)
    two = calibrate(INTERCEPT, data, replicates=30, seed=4, workers=2)
    np.testing.assert_array_equal(one.pit, two.pit)
    more = calibrate(INTERCEPT, data, replicates=31, seed=4)
    np.testing.assert_array_equal(one.pit, more.pit[:30])
    assert one.names == (
        "sd:1|participant", "sigma", "log p(y | theta)", "log p(y, theta)", "Intercept", "v",
        "1|participant[p00]", "1|participant[p04]",
    )  # fmt: skip


def test_a_quick_calibration_and_its_crude_saboteurs():
    found = calibrate(INTERCEPT, table(6, 6), replicates=250, seed=1, saboteurs=True)
    assert found.pit.shape == (250, 8)
    assert found.verdict.passed, found.verdict
    assert found.verdict.failed <= 2
    prior = found.verdict_of("prior returned")
    assert set(prior.outside) == {"log p(y | theta)", "log p(y, theta)"}


def test_flat_priors_and_several_outcomes_are_refused():
    flat = ModelSpec("y ~ v + (1 | participant)", priors=PRIORS | {"beta": Flat()})
    with pytest.raises(FitError, match="expected a proper prior"):
        calibrate(flat, table(4, 4), replicates=1, seed=0)
    shapes = pd.concat([table(4, 4).assign(blend_shape=name) for name in ("jawOpen", "mouthSmile")])
    with pytest.raises(FitError, match="expected data of one outcome"):
        calibrate(INTERCEPT, shapes, replicates=1, seed=0)


def report(name, found):
    verdict = found.verdict
    khat = np.nanquantile(found.khat, [0.5, 0.9, 0.99, 1.0]).round(2)
    worst = max(verdict.distance, key=lambda quantity: verdict.distance[quantity])
    print(
        f"\n{name}: {len(found.pit)} simulations, {verdict.failed} failed, khat 50/90/99/100 % {khat}, "
        f"smallest ESS {np.nanmin(found.ess):.0f}, farthest {worst} {verdict.distance[worst]:.1f} sd"
    )


@pytest.mark.statistical("engine")
@pytest.mark.parametrize(
    ("spec", "shape"),
    [(INTERCEPT, (12, 8)), (SLOPES, (12, 12)), (CROSSED, (10, 8))],
    ids=["intercept", "slopes", "crossed"],
)
def test_ten_thousand_simulations(spec, shape, request):
    found = calibrate(spec, table(*shape), replicates=10_000, seed=11, workers=WORKERS, saboteurs=True)
    report(request.node.callspec.id, found)
    assert found.verdict.passed, found.verdict
    assert found.verdict.failed <= 50
    for saboteur in SABOTEURS:
        assert not found.verdict_of(saboteur).passed, saboteur
    wrong = found.verdict_of("prior returned")
    assert set(wrong.outside) == {"log p(y | theta)", "log p(y, theta)"}


AR1 = ModelSpec(
    "y ~ v + (1 | participant)", residual="ar1", series=("participant", "trial"),
    priors=PRIORS | {"rho": Normal(0, 0.5)},
)  # fmt: skip
STRATA = ModelSpec("y ~ v + (1 | participant)", sigma_by=("medium",), priors=PRIORS)
WEIGHTS = ModelSpec("y ~ v + (v | participant)", weights="weight", priors=PRIORS | {"corr": LKJ(2)})


@pytest.mark.statistical("engine")
@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (AR1, table(8, 4, bins=6, missing=0.15)),
        (STRATA, table(8, 9)),
        (WEIGHTS, table(10, 8)),
    ],
    ids=["AR(1) with holes", "sigma by stratum", "weights"],
)
def test_a_thousand_simulations(spec, data, request):
    found = calibrate(spec, data, replicates=1000, seed=12, workers=WORKERS, saboteurs=True)
    report(request.node.callspec.id, found)
    assert found.verdict.passed, found.verdict
    assert found.verdict.failed <= 10
    for saboteur in ("mean + .2 sd", "prior returned"):
        assert not found.verdict_of(saboteur).passed, saboteur


@pytest.mark.statistical("engine")
@pytest.mark.parametrize(
    ("spec", "fitted", "data"),
    [
        (AR1, ModelSpec(AR1.formula, priors=PRIORS), table(8, 4, bins=6, missing=0.15)),
        # where columns are orthogonal, or signs balance out, marginals stay calibrated: 0/1 coding, and -.9 known
        (
            ModelSpec("y ~ v + (v | participant)", priors=PRIORS | {"corr": Fixed(-0.9)}),
            ModelSpec("y ~ v + (v || participant)", priors=PRIORS),
            table(12, 6).assign(v=lambda rows: rows["v"] + 0.5),
        ),
        (WEIGHTS, ModelSpec(WEIGHTS.formula, priors=WEIGHTS.priors), table(10, 8)),
    ],
    ids=["rho ignored", "correlation dropped", "weights ignored"],
)  # fmt: skip
def test_a_model_that_leaves_something_out_is_found_out(spec, fitted, data, request):
    found = calibrate(spec, data, replicates=1000, seed=13, workers=WORKERS, fitted=fitted)
    report(request.node.callspec.id, found)
    assert not found.verdict.passed
