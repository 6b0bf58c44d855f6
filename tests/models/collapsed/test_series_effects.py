"""Effects of whole series integrated out with their AR(1) residuals, against the elimination that knows none."""

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models.engines.collapsed import series_effects
from mien.models.engines.collapsed.engine import prepare
from mien.models.engines.collapsed.series_effects import find_series_block
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec

CORE = "y ~ x + time + (x | participant) + (1 | stimulus) + (1 | trial)"
MODELS = {
    "one sigma": ModelSpec(CORE, residual="ar1"),
    "sigma by stratum": ModelSpec(CORE, residual="ar1", sigma_by=("stimulus",)),
    "smooths": ModelSpec(CORE, residual="ar1", smooths=("s(time)", "s(time, 2) | participant")),
    "trials alone": ModelSpec("y ~ x + (1 | trial)", residual="ar1"),
    "nested": ModelSpec("y ~ x + (1 | participant) + (1 | participant:stimulus) + (1 | trial)", residual="ar1"),
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    """Series of up to seven bins with holes at their ends and inside; one has a single row."""
    rng = np.random.default_rng(3)
    rows = []
    for person in range(5):
        for item in range(5):
            if rng.random() < 0.1:
                continue
            bins = np.flatnonzero(rng.random(7) > 0.25) if (person, item) != (2, 2) else [3]
            shared = rng.normal()
            rows += [
                (f"p{person}", f"s{item}", f"{person}-{item}", k, item % 2 - 0.5, 0.5 * k, shared)
                for k in bins
            ]
    names = ["participant", "stimulus", "trial", "bin", "x", "time", "shared"]
    table = pd.DataFrame(rows, columns=names)
    table["y"] = table["shared"] + table["x"] + rng.normal(size=len(table))
    return table


def both(spec, data):
    """Prepared by elimination and with the series integrated out, and some points of theta."""
    problem, _, _ = make_problem(spec, data)
    plain = prepare(problem, threads=1)[0]
    short = prepare(problem, threads=2, of_series=True)[0]
    assert plain.density.series is None
    assert short.density.series is not None
    assert plain.density.parameters.names == short.density.parameters.names
    theta = short.start + 0.5 * np.random.default_rng(1).standard_normal((6, len(short.start)))
    return plain, short, theta


@pytest.mark.parametrize("model", MODELS)
def test_the_density_is_that_of_elimination(model, data):
    plain, short, theta = both(MODELS[model], data)
    natural = short.density.parameters.natural(theta)
    found, wanted = short.density.log_likelihood(natural), plain.density.log_likelihood(natural)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_saboteur_correlations_ignored(data, monkeypatch):
    """Parts weighted as if rows were independent."""
    monkeypatch.setattr(series_effects, "_weights", lambda rho, gaps: np.ones((len(rho), len(gaps))))
    plain, short, theta = both(MODELS["one sigma"], data)
    natural = short.density.parameters.natural(theta)
    away = short.density.log_likelihood(natural) - plain.density.log_likelihood(natural)
    assert np.abs(away).max() > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_differences(model, data):
    _, short, theta = both(MODELS[model], data)
    _, found = short.density.gradients(theta)
    steps = 1e-5 * np.eye(theta.shape[1])
    for point, slope in zip(theta, found, strict=True):
        wanted = (short.density.values(point + steps) - short.density.values(point - steps)) / 2e-5
        np.testing.assert_allclose(slope, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", ["one sigma", "sigma by stratum", "smooths"])
def test_effects_are_drawn_from_what_the_others_leave(model, data):
    """Conditional means to rounding; sds, and covariances with an effect of another factor, by many draws."""
    plain, short, theta = both(MODELS[model], data)
    natural = short.density.parameters.natural(theta[:2])
    layout, factor = plain.density.layout, plain.moments.factors.index("trial")
    trials = slice(layout.start(factor), layout.start(factor + 1))

    one = np.ones(2, dtype=np.int64)
    wanted, found = plain.density.draw(natural, one, None), short.density.draw(natural, one, None)
    np.testing.assert_allclose(found.of_series, wanted.effects[:, trials], atol=1e-6)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-9)

    count = 40_000
    many = np.full(2, count)
    wanted = plain.density.draw(natural, many, np.random.default_rng(1))
    found = short.density.draw(natural, many, np.random.default_rng(2))
    for point in range(2):
        rows = slice(point * count, (point + 1) * count)
        mine, theirs = found.of_series[rows], wanted.effects[rows, trials]
        ratio = mine.std(axis=0) / theirs.std(axis=0)
        np.testing.assert_array_less(np.abs(ratio - 1.0), 5.0 / np.sqrt(count))
        across = [
            np.corrcoef(effects.T, draws.coefficients[rows, 0])[-1, :-1]
            for effects, draws in ((mine, found), (theirs, wanted))
        ]
        np.testing.assert_array_less(np.abs(across[0] - across[1]), 6.0 * np.sqrt(2.0 / count))


def test_levels_without_rows_have_their_prior(data):
    """One outcome lacks a series that another has."""
    two = pd.concat([data.assign(blend_shape="jawOpen"), data.assign(blend_shape="mouthSmile")])
    gone = (two["blend_shape"] == "jawOpen") & (two["trial"] == "1-1")
    spec = ModelSpec("y ~ x + (1 | participant) + (1 | trial)", residual="ar1")
    fit = mien.fit(spec, two[~gone], engine="collapsed", draws=2000, chains=2)
    mine = fit.posterior["1|trial"].sel(blend_shape="jawOpen", trial="1-1").to_numpy().ravel()
    sd = fit.posterior["1|trial_sigma"].sel(blend_shape="jawOpen").to_numpy().ravel()
    expected = np.sqrt((sd**2).mean())
    assert mine.std() == pytest.approx(expected, rel=0.1)
    assert abs(mine.mean()) < 5 * expected / np.sqrt(len(mine))


def test_where_it_is_not_done(data):
    """Weighted rows and effects that are no series' are eliminated as ever."""

    def number(spec, table):
        problem, _, _ = make_problem(spec, table)
        return find_series_block(problem.outcomes)

    core = ModelSpec("y ~ x + (1 | participant) + (1 | trial)", residual="ar1")
    assert number(core, data) == 1
    assert number(ModelSpec(core.formula), data) is None
    assert (
        number(ModelSpec(core.formula, residual="ar1", weights="w"), data.assign(w=data["bin"] + 1.0)) is None
    )
    slopes = ModelSpec("y ~ x + (1 | participant) + (1 + time | trial)", residual="ar1")
    assert number(slopes, data) is None
    once = ModelSpec("y ~ x + (x | participant) + (1 | stimulus)", residual="ar1")
    assert number(once, data) is None


def test_engine_draws_all_effects(data):
    """The whole fit: names and shapes as ever, posterior means as by an elimination of everything."""
    spec = MODELS["one sigma"]
    settings = {"engine": "collapsed", "draws": 1000, "chains": 4}
    fit = mien.fit(spec, data, **settings)
    effects = fit.posterior["1|trial"]
    assert effects.sizes == {"chain": 4, "draw": 1000, "trial": data["trial"].nunique()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien.models.engines.collapsed.engine.find_series_block", lambda outcomes: None)
        other = mien.fit(spec, data, **settings, seed=5)
    both_means = [one.posterior["1|trial"].mean(("chain", "draw")) for one in (fit, other)]
    error = effects.std(("chain", "draw")) * np.sqrt(2.0 / 1200)
    assert float((abs(both_means[0] - both_means[1]) / error).max()) < 5.0
