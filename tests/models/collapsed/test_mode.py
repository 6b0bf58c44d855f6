"""The mode: against scipy's search, at the boundary, and where there is nothing to find."""

import numpy as np
import pytest
from scipy import optimize

from mien.models.engines.collapsed.mode import find_mode
from mien.priors import Exponential, Fixed
from mien.study.errors import FitError


def test_mode_and_curvature_are_scipys(simulated):
    density = simulated(people=8, stimuli=12)
    mode = find_mode(density)
    best = optimize.minimize(
        lambda x: -density.values(x[None])[0], mode.theta + 0.1, method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 5000, "maxfev": 5000},
    )  # fmt: skip
    assert mode.value == pytest.approx(-best.fun, abs=1e-3)
    np.testing.assert_allclose(mode.theta, best.x, atol=0.02)
    step = 1e-3 * np.eye(5)
    hessian = [[
        (density.values((best.x + a + b)[None]) - density.values((best.x + a - b)[None])
         - density.values((best.x - a + b)[None]) + density.values((best.x - a - b)[None]))[0] / 4e-6
        for a in step] for b in step]  # fmt: skip
    np.testing.assert_allclose(np.linalg.inv(-np.array(hessian)), mode.covariance, rtol=0.1, atol=5e-3)


@pytest.mark.parametrize("seed", range(6))
def test_few_steps_wherever_the_truth_lies(simulated, seed):
    rng = np.random.default_rng(seed)
    density = simulated(seed, sds=rng.choice([0.0, 0.2, 1.0], 3), rho=rng.choice([-0.99, 0.0, 0.9]))
    mode = find_mode(density)
    assert density.calls <= 12
    others = mode.theta + np.random.default_rng(seed).normal(0, 0.3, (300, 5))
    assert density.values(others).max() <= mode.value + 1e-3


def test_the_gradient_of_the_test_density(scatter):
    density = scatter(sds=(1.0, 0.5, 0.2), priors={"sigma": Exponential(1.0)})
    theta = np.array([0.7, -0.5, 0.3, 0.4, -0.6, 0.2, -0.1])
    _, found = density.gradient(theta)
    wanted = [np.diff(density.values(np.array([theta - h, theta + h])))[0] / 2e-6 for h in 1e-6 * np.eye(7)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_an_sd_that_is_zero_is_an_interior_mode(scatter):
    density = scatter(sds=(1.0, 0.0), rho=0.0, count=40, seed=3, priors={"sd:t1|p": Exponential(20.0)})
    mode = find_mode(density)
    assert np.isfinite(mode.value)
    assert np.linalg.eigvalsh(mode.covariance).min() > 0


def test_a_flat_direction_has_a_bounded_spread(scatter):
    density = scatter(count=1)
    density.scatter[:] = 0
    density.count = 0  # nothing but the prior
    covariance = find_mode(density).covariance
    assert np.sqrt(np.diag(covariance)).max() < 5.0


def test_a_bad_start_is_left_for_another(scatter):
    density = scatter()
    wanted = find_mode(density)
    found = find_mode(density, start=np.array([40.0, 1.0, 0.0]))  # 4.0, a tenth of it, is finite
    np.testing.assert_allclose(np.abs(found.theta), np.abs(wanted.theta), atol=0.05)


def test_a_density_that_is_nowhere_finite_is_refused(scatter):
    density = scatter()
    density.scatter[:] = np.nan
    with pytest.raises(FitError, match=r"outcome 'smile': expected a finite log density .* sd:t0\|p"):
        find_mode(density, outcome="smile")


def test_a_perfect_fit_is_refused(scatter):
    priors = {
        "sigma": Exponential(1.0),
        "sd:t0|p": Fixed(1e-12),
        "sd:t1|p": Fixed(1e-12),
        "corr:p": Fixed(0.0),
    }
    density = scatter(priors=priors)
    density.scatter[:] = 0
    with pytest.raises(FitError, match=r"outcome 'y': expected residuals that vary, found sigma"):
        find_mode(density, outcome="y")
