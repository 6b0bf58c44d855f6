"""The sampled density against the joint density written out densely, and its gradient against differences."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from mien.models.engines import gaussian_kernel as kernel
from mien.models.engines.gaussian_sampler import _prepare
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.priors import Normal

FORMULAS = (
    "y ~ x + (x | person) + (1 | item)",
    "y ~ x + w + (x + w | person) + (x || item)",
    "y ~ x + (1 | person)",
    "y ~ x",
)


def prepared(formula, seed=0):
    rng = np.random.default_rng(seed)
    rows = 60
    data = pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "w": rng.normal(size=rows),
            "person": rng.integers(0, 6, rows).astype(str),
            "item": rng.integers(0, 5, rows).astype(str),
        }
    )
    data["y"] = 1 + 0.5 * data["x"] + rng.normal(size=6)[data["person"].astype(int)] + rng.normal(size=rows)
    problem, _, _ = make_problem(ModelSpec(formula, priors={"beta": Normal(0.3, 0.7)}), data, None)
    return problem.outcomes[0], _prepare(problem.outcomes[0]), rng


def point(ready, rng):
    return (
        rng.normal(size=ready.structure.effects),
        np.log(ready.pilot.sd) + rng.normal(0, 0.3, len(ready.pilot.sd)),
        np.clip(ready.pilot.partial + rng.normal(0, 0.2, len(ready.pilot.partial)), -0.9, 0.9),
        np.array([np.log(ready.pilot.sigma) + 0.2]),
    )


def density(ready, at):
    return kernel.packed_log_density(*at, ready.data["numbers"], ready.data["places"])


def effects_at(ready, at):
    reference = ready.pilot.reference
    return kernel.draws_of_effects(
        at[0][None], at[1][None], at[2][None], at[3], *ready.layout[:5], reference.naive, reference.whiten_data,
        reference.whiten_column, reference.whiten_row, reference.log_information,
    )[0]  # fmt: skip


def covariance(sd, partial, first, k):
    """R from partial correlations by regression, not by the kernel's own recursion."""
    factor = np.eye(k)
    place = first
    for i in range(k):
        for j in range(i):
            factor[i, j] = partial[place] * np.sqrt(1 - (factor[i, :j] ** 2).sum())
            place += 1
        factor[i, i] = np.sqrt(1 - (factor[i, :i] ** 2).sum())
    return np.outer(sd, sd) * (factor @ factor.T)


def dense_joint(outcome, ready, at):
    """log p(y | w, σ) + log p(w) + log |dw/dξ| with scipy, the Jacobian by differences."""
    w = effects_at(ready, at)
    layout, sd, sigma = ready.layout, np.exp(at[1]), float(np.exp(at[3][0]))
    blocks = sorted(outcome.design.blocks, key=lambda block: -len(block.levels))
    mean = outcome.design.columns @ w[layout.coefficients[0] :]
    value = 0.0
    for b, block in enumerate(blocks):
        k, start = len(block.terms), int(layout.start[b])
        u = w[start : start + k * len(block.levels)].reshape(-1, k)
        mean = mean + (block.columns * u[block.codes]).sum(axis=1)
        first = int(layout.first_sd[b])
        matrix = covariance(sd[first : first + k], at[2], int(layout.first_partial[b]), k)
        value += multivariate_normal(np.zeros(k), matrix).logpdf(u).sum()
    value += norm(mean, sigma).logpdf(outcome.response).sum()
    for name, beta in zip(outcome.design.coefficients, w[layout.coefficients[0] :], strict=True):
        prior = outcome.priors[name].prior
        value += norm(prior.mean, prior.sd).logpdf(beta)
    steps = np.eye(len(at[0])) * 1e-3
    jacobian = np.array(
        [effects_at(ready, (at[0] + h, *at[1:])) - effects_at(ready, (at[0] - h, *at[1:])) for h in steps]
    )
    return value + np.linalg.slogdet(jacobian / 2e-3)[1]


@pytest.mark.parametrize("formula", FORMULAS)
def test_density_is_the_joint_density_up_to_a_constant(formula):
    outcome, ready, rng = prepared(formula)
    points = [point(ready, rng) for _ in range(4)]
    gaps = [density(ready, at)[0] - dense_joint(outcome, ready, at) for at in points]
    assert np.ptp(gaps) < 1e-6


@pytest.mark.parametrize("formula", FORMULAS)
def test_gradient_is_that_of_the_density(formula):
    _, ready, rng = prepared(formula, seed=1)
    at = point(ready, rng)
    _, *gradient = density(ready, at)
    for place, (values, slope) in enumerate(zip(at, gradient, strict=True)):
        for j in range(len(values)):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [value.copy() for value in at]
                moved[place][j] += step
                ends.append(density(ready, moved)[0])
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope[j], rel=1e-5, abs=1e-4)


def test_saboteur_a_density_without_its_jacobian_is_noticed():
    outcome, ready, rng = prepared(FORMULAS[0])
    points = [point(ready, rng) for _ in range(4)]
    wrong = [density(ready, at)[0] - 2 * at[1].sum() for at in points]
    gaps = [value - dense_joint(outcome, ready, at) for value, at in zip(wrong, points, strict=True)]
    assert np.ptp(gaps) > 1e-3


def test_correlation_cholesky_of_one_pair_and_of_three():
    assert kernel.correlation_cholesky(np.array([0.6]), 0, 2) == pytest.approx(np.array([[1, 0], [0.6, 0.8]]))
    factor = kernel.correlation_cholesky(np.array([0.5, -0.2, 0.7]), 0, 3)
    assert (factor @ factor.T).diagonal() == pytest.approx([1, 1, 1])
    assert factor[2, 1] == pytest.approx(0.7 * np.sqrt(1 - 0.04))
