"""Compiled rows against plain NumPy and scipy, and weights against the engine's own smoothing."""

import numpy as np
import pytest
from scipy.special import ndtr

from mien.models.engines.collapsed.pareto import pareto_smooth
from mien.models.row_kernels import (
    add_neighbours,
    add_residuals,
    linear_predictors,
    normal_below,
    smoothed_weights,
)

RNG = np.random.default_rng(0)


def test_linear_predictors_are_sums_of_entries():
    entry, value, table = RNG.integers(0, 9, (30, 4)), RNG.normal(size=(30, 4)), RNG.normal(size=(9, 50))
    value[:, 1] = 0.0
    np.testing.assert_allclose(
        linear_predictors(entry, value, table), (value[:, :, None] * table[entry]).sum(axis=1), atol=1e-13
    )


@pytest.mark.parametrize("rows", [1, 20])
def test_sums_of_residuals(rows):
    residual, scale = RNG.normal(size=(20, 7)), RNG.uniform(0.5, 2, (rows, 7))
    code, squares, powers = RNG.integers(0, 3, 20), np.zeros((3, 7)), np.zeros((3, 7))
    z = residual / scale
    belongs = code == np.arange(3)[:, None]
    wanted = belongs.astype(float) @ residual**2
    add_residuals(residual, scale, code, squares, powers)
    np.testing.assert_allclose(residual, z)
    np.testing.assert_allclose(squares, wanted)
    np.testing.assert_allclose(powers, [(z**k).sum(axis=0) for k in (1, 2, 3)], atol=1e-12)
    products = np.zeros((3, 7))
    add_neighbours(z, np.arange(19), np.arange(1, 20), products)
    np.testing.assert_allclose(products[0], (z[:-1] * z[1:]).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(products[1:], [(z[:-1] ** 2).sum(axis=0), (z[1:] ** 2).sum(axis=0)])


def test_normal_distribution_is_scipys():
    z = np.concatenate([np.linspace(-40, 40, 4001), [0.0, -0.0, 1e-300]])[None]
    np.testing.assert_allclose(normal_below(z), ndtr(z), atol=1e-13, rtol=0)


def spreads():
    """Weights of many kinds: even, wild, all the same, with ties, with one far out."""
    log_weight = RNG.normal(size=(300, 400)) * RNG.uniform(1e-6, 4, 300)[:, None]
    log_weight[0] = 0.0
    log_weight[1] = np.round(log_weight[1] * 2)
    log_weight[2] = 20 * RNG.standard_cauchy(400)
    log_weight[3, 7] = 200.0
    log_weight[4] = np.where(np.arange(400) < 380, 0.0, 1.0)
    return log_weight


@pytest.mark.parametrize("draws", [400, 100, 24])
def test_weights_are_smoothed_as_the_engine_smooths_them(draws):
    log_weight = spreads()[:, :draws]
    wanted, khat_wanted = pareto_smooth(log_weight)
    weight, khat = smoothed_weights(log_weight)
    np.testing.assert_allclose(khat, khat_wanted, atol=1e-9)
    np.testing.assert_allclose(np.sort(weight, axis=1), np.sort(np.exp(wanted), axis=1), atol=1e-11)


def test_saboteur_weights_of_the_wrong_sign_are_not_them():
    log_weight = spreads()[5:]
    khat = smoothed_weights(-log_weight)[1]
    assert np.abs(khat - pareto_smooth(log_weight)[1]).max() > 0.1
