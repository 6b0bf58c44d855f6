"""Coefficients as a mixture of Gaussians: the draws of a fit, and their own formula."""

import numpy as np
import pytest

import mien
from mien.models.engines.collapsed.coefficient_mixture import coefficient_mixture, coefficients_given
from mien.models.engines.collapsed.engine import prepare
from mien.models.fitting import make_problem
from mien.models.sensitivity.given_theta import flat_coefficients
from mien.models.spec import ModelSpec
from mien.priors import Fixed
from tests.power.plans import FORMULA, plan


@pytest.fixture(scope="module")
def rows():
    from mien.power.cells import cells_of
    from mien.power.simulating import simulate, skeleton_of

    made = plan()
    cell = next(cell for cell in cells_of(made) if cell.world == "alternative")
    found = simulate(made, cell, skeleton_of(made, cell), 3)
    return found.frame.assign(activation=found.responses[0])


@pytest.fixture(scope="module")
def prepared(rows):
    return prepare(make_problem(ModelSpec(FORMULA), rows)[0], threads=1)[0]


def mixture_of(prepared, seed=0, points=4000):
    return coefficient_mixture(
        prepared.density, points=points, runs=2, seed=np.random.SeedSequence(seed), start=prepared.start
    )


def moments(mixture, place):
    mean, sd = mixture.of(np.eye(mixture.mean.shape[1])[place])
    centre = mixture.weight @ mean
    return centre, np.sqrt(mixture.weight @ (sd**2 + (mean - centre) ** 2))


def test_it_is_what_a_fit_draws(rows, prepared):
    fit = mien.fit(FORMULA, rows, draws=5000, seed=2)["posterior"].dataset
    mixture = mixture_of(prepared)
    assert mixture.passed
    for place, name in enumerate(prepared.outcome.design.coefficients):
        draws = fit[name].to_numpy().ravel()
        mean, sd = moments(mixture, place)
        assert mean == pytest.approx(draws.mean(), abs=4 * sd / np.sqrt(3000))
        assert sd == pytest.approx(draws.std(), rel=4 / np.sqrt(2 * 3000))


def test_half_the_spread_would_be_found(rows, prepared):
    draws = mien.fit(FORMULA, rows, draws=5000, seed=2)["posterior"].dataset["valence"].to_numpy().ravel()
    mixture = mixture_of(prepared)
    narrow = mixture._replace(root=0.5 * mixture.root)
    assert moments(narrow, 1)[1] != pytest.approx(draws.std(), rel=4 / np.sqrt(2 * 3000))


def test_stopping_early_leaves_the_coefficients_as_they_are(prepared):
    theta = prepared.start + 0.1 * np.random.default_rng(0).normal(size=(7, len(prepared.start)))
    natural = prepared.density.parameters.natural(theta)
    value, mean, root = coefficients_given(prepared.density, natural)
    whole = prepared.density.draw(natural, np.ones(7, dtype=np.int64), None).coefficients
    assert np.allclose(mean, whole, atol=1e-13)
    assert np.allclose(value, prepared.density.log_likelihood(natural), atol=1e-10)
    covariance = root @ root.transpose(0, 2, 1)
    many = prepared.density.draw(natural, np.full(7, 20_000), np.random.default_rng(1)).coefficients
    for point, drawn in enumerate(many.reshape(7, 20_000, -1)):
        assert np.allclose(np.cov(drawn.T), covariance[point], rtol=0.06, atol=0.06 * covariance[point].max())


def test_fixed_and_flat_coefficients(rows):
    problem = make_problem(ModelSpec(FORMULA, priors={"valence": Fixed(0.02)}), rows)[0]
    problem = problem._replace(outcomes=(flat_coefficients(problem.outcomes[0]),))
    held = mixture_of(prepare(problem, threads=1)[0])
    assert moments(held, 1) == pytest.approx((0.02, 0.0), abs=1e-15)
    assert moments(held, 0)[1] > 0.0


def test_the_same_seed_gives_the_same(prepared):
    one, again, other = (mixture_of(prepared, seed, 800) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one[:3], again[:3], strict=True))
    assert one.weight.shape != other.weight.shape or not np.array_equal(one.weight, other.weight)
