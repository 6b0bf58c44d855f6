"""Smooths: against scipy's smoothing spline, a dense normal, and a written-out prior."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import make_smoothing_spline
from scipy.stats import multivariate_normal

import mien
from mien.models.design import build_design
from mien.models.engines.collapsed.engine import prepare
from mien.models.fitting import make_problem
from mien.models.smooths import make_basis, parse_smooth, sd_name
from mien.models.spec import ModelSpec
from mien.priors import Fixed, Flat, HalfNormal, Normal
from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from tests.models.dense_model import mean_and_covariance

TIMES = np.arange(12) * 0.5 + 0.25
FORMULA = "y ~ valence + (valence | participant) + (1 | stimulus)"
SMOOTHS = ("s(time, 3)", "s(time, 3):valence", "s(time, 2) | participant")


def rows_of(persons=4, stimuli=4, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.MultiIndex.from_product(
        [range(persons), range(stimuli), range(len(TIMES))], names=["participant", "stimulus", "bin"]
    ).to_frame(index=False)
    table = table.assign(
        time=TIMES[table["bin"]],
        valence=np.where(table["stimulus"] % 2, "positive", "negative"),
        trial=table["stimulus"],
        y=rng.normal(size=len(table)),
    )
    return table.astype({"participant": "str", "stimulus": "str"})[rng.random(len(table)) > 0.1].reset_index(
        drop=True
    )


def curve_of(x, y, sd, sigma):
    """Posterior mean of the curve at the values of x, all functions kept, sd and sigma known, a flat line."""
    data = pd.DataFrame({"time": x, "y": y})
    priors = {"Intercept": Flat(), "time": Flat(), "sd:s(time)": Fixed(sd), "sigma": Fixed(sigma)}
    spec = ModelSpec("y ~ 1", smooths=("s(time, 99)",), priors=priors)
    problem, _, _ = make_problem(spec, data)
    prepared = prepare(problem, threads=1)[0]
    density = prepared.density
    natural = density.parameters.natural(np.zeros((4000, 0)))
    drawn = density.draw(natural, np.ones(4000, dtype=np.int64), np.random.default_rng(1))
    design = problem.outcomes[0].design
    functions = np.column_stack([block.columns[:, 0] for block in design.blocks])
    draws = drawn.coefficients @ design.columns.T + drawn.effects @ functions.T
    return draws.mean(axis=0), draws.std(axis=0) / np.sqrt(len(draws))


def penalty_of(x, sd, sigma):
    """The smoothing spline's λ: each curved function has ∫ φ″² = 1/c², so that z ~ N(0, sd²) is λ = σ²c²/sd²."""
    basis = make_basis(x, "time")
    grid = np.linspace(x.min(), x.max(), 200_001)
    values = basis(grid)[:, 1]
    second = np.gradient(np.gradient(values, grid, edge_order=2), grid, edge_order=2)
    return sigma**2 / (sd**2 * np.trapezoid(second**2, grid))


def test_curve_is_the_smoothing_spline():
    rng = np.random.default_rng(3)
    x, sd, sigma = TIMES, 0.7, 0.4
    y = np.sin(x) + rng.normal(0, 0.4, len(x))
    mean, error = curve_of(x, y, sd, sigma)
    truth = make_smoothing_spline(x, y, lam=penalty_of(x, sd, sigma))(x)
    assert np.abs((mean - truth) / error).max() < 4.5
    wrong = make_smoothing_spline(x, y, lam=4 * penalty_of(x, sd, sigma))(x)
    assert np.abs((mean - wrong) / error).max() > 4.5


def test_functions_are_curved_alone_and_of_mean_square_one():
    x = np.repeat(TIMES, np.arange(1, 13))
    values = make_basis(x, "time")(x)
    line = np.column_stack([np.ones_like(x), x])
    np.testing.assert_allclose(values[:, 1:].T @ line, 0.0, atol=1e-8)
    np.testing.assert_allclose((values[:, 1:] ** 2).mean(axis=0).sum(), 1.0, rtol=1e-10)
    np.testing.assert_allclose((values[:, 0] ** 2).mean(), (values[:, 1] ** 2).mean(), rtol=1e-10)


def test_many_values_have_twenty_knots_and_the_curve_goes_on_straight():
    x = np.linspace(0, 3, 500)
    basis = make_basis(x, "time")
    assert len(basis.knots) == 20
    beyond = basis(np.array([3.0, 4.0, 5.0]))
    np.testing.assert_allclose(beyond[2] - beyond[1], beyond[1] - beyond[0], atol=1e-12)


def test_log_density_is_that_of_the_dense_normal():
    spec = ModelSpec(
        FORMULA,
        smooths=SMOOTHS,
        residual="ar1",
        series=("participant", "trial"),
        priors={"beta": Normal(0, 1)},
    )
    problem, _, _ = make_problem(spec, rows_of())
    prepared = prepare(problem, threads=1)[0]
    rng = np.random.default_rng(2)
    theta = prepared.start + rng.normal(0, 0.3, (5, len(prepared.start)))
    parameters = prepared.density.parameters
    found = prepared.density.values(theta) - parameters.log_prior(theta)
    natural = parameters.natural(theta)
    outcome = problem.outcomes[0]
    for place in range(5):
        mean, covariance = mean_and_covariance(outcome, natural, place)
        truth = multivariate_normal(mean, covariance).logpdf(outcome.response)
        assert found[place] == pytest.approx(truth, rel=1e-9)
    spoiled = natural._replace(sd=natural.sd * np.where(np.arange(natural.sd.shape[1]) == 5, 1.1, 1.0))
    mean, covariance = mean_and_covariance(outcome, spoiled, 0)
    assert found[0] != pytest.approx(multivariate_normal(mean, covariance).logpdf(outcome.response), rel=1e-9)


def test_functions_of_a_smooth_share_one_sd_with_its_gradient():
    spec = ModelSpec(FORMULA, smooths=SMOOTHS)
    problem, _, _ = make_problem(spec, rows_of())
    prepared = prepare(problem, threads=1)[0]
    names = prepared.density.parameters.names
    assert [name for name in names if "s(time)" in name] == [
        "sd:s(time)", "sd:s(time):valence", "sd:s(time)|participant",
    ]  # fmt: skip
    theta = prepared.start + 0.2
    gradient = prepared.density.gradient(theta)[1]
    for place in range(len(theta)):
        step = np.zeros_like(theta)
        step[place] = 1e-5
        values = prepared.density.values(np.stack([theta + step, theta - step]))
        assert gradient[place] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-5)


def test_the_posterior_has_one_sd_a_smooth_and_straight_parts_among_the_coefficients():
    fit = mien.fit(ModelSpec(FORMULA, smooths=SMOOTHS), rows_of(), draws=100, group_effects=False)
    names = list(fit["posterior"].data_vars)
    assert {
        "time",
        "time:valence",
        "s(time)_sigma",
        "s(time):valence_sigma",
        "s(time)|participant_sigma",
    } <= {*names}
    assert "s(time)[1]|population" in names
    assert not [name for name in names if name.endswith("|participant")]
    assert list(fit["posterior"].dataset["participant_term"].values) == ["1", "valence"]
    effects = mien.effects(fit)
    assert np.isfinite(effects["beta_std"]).all()
    assert "s(time)[0]|participant" in mien.group_effects(fit)


def test_a_line_that_the_formula_has_is_not_added_again():
    data = rows_of()
    design = build_design(parse_formula("y ~ time * valence"), data, ("s(time)", "s(time):valence"))
    assert design.coefficients == ("Intercept", "time", "valence", "time:valence")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time", "expected s(column)"), ("s(time) | ", "expected s(column)"), ("s(time, 0)", "at least one"),
        ("s(os.system('x'))", "expected s(column)"),
    ],
)  # fmt: skip
def test_a_wrong_smooth_is_refused(text, told):
    with pytest.raises(SpecError, match=None) as found:
        ModelSpec("y ~ 1", smooths=(text,))
    assert told in str(found.value)


def test_columns_of_smooths_are_checked():
    data = rows_of()
    with pytest.raises(SpecError, match="tyme"):
        mien.fit("y ~ 1", data, smooths=("s(tyme)",))
    with pytest.raises(SpecError, match="at least 4 values"):
        mien.fit("y ~ 1", data.assign(time=data["bin"] % 3), smooths=("s(time)",))
    with pytest.raises(SpecError, match="found categories"):
        mien.fit("y ~ 1", data, smooths=("s(valence)",))


def test_prior_of_a_smooth_is_named_after_it():
    spec = ModelSpec(FORMULA, smooths=SMOOTHS, priors={"sd:s(time)|participant": HalfNormal(0.2)})
    problem, _, _ = make_problem(spec, rows_of())
    assert problem.outcomes[0].priors["sd:s(time)|participant"].prior == HalfNormal(0.2)
    again = dataclasses.replace(spec)
    assert ModelSpec.from_json(again.to_json()) == spec


def test_names():
    assert sd_name("valence", "participant") == "valence|participant"
    assert sd_name("condition[1]", "participant") == "condition[1]|participant"
    assert sd_name("s(time):condition[1][4]", "population") == "s(time):condition[1]"
    assert parse_smooth("s(time,6) : valence | participant : session") == (
        "time",
        6,
        ("valence",),
        "participant:session",
    )
