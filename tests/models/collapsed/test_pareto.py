"""Pareto smoothing against arviz-stats, which takes log likelihoods: the negative."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from mien.models.engines.collapsed.pareto import pareto_smooth


@pytest.mark.parametrize("count", [100, 700, 2800])
@pytest.mark.parametrize("df", [1.5, 3.0, 30.0])
def test_smoothing_is_that_of_arviz(count, df):
    log_weight = np.random.default_rng(count).standard_t(df, (3, count))
    smoothed, khat = pareto_smooth(log_weight)
    for run in range(3):
        wanted, wanted_khat = array_stats.psislw(-log_weight[run])
        mine = smoothed[run] - np.logaddexp.reduce(smoothed[run])  # arviz's sum to 1
        np.testing.assert_allclose(mine, wanted, rtol=1e-8, atol=1e-8)
        assert khat[run] == pytest.approx(float(wanted_khat), abs=1e-8)


def test_the_sign_matters():
    log_weight = np.random.default_rng(1).exponential(1.0, (1, 2000))  # Pareto with shape 1
    assert pareto_smooth(log_weight)[1][0] == pytest.approx(1.0, abs=0.2)
    assert pareto_smooth(-log_weight)[1][0] < 0


def test_weights_without_a_tail():
    same, khat = pareto_smooth(np.zeros((2, 400)))
    np.testing.assert_array_equal(same, np.zeros((2, 400)))
    assert (khat == -1).all()


def test_points_without_weight():
    log_weight = np.random.default_rng(2).normal(size=(1, 1000))
    log_weight[0, 500:] = -np.inf
    smoothed, khat = pareto_smooth(log_weight)
    assert np.isneginf(smoothed[0, 500:]).all()
    assert khat[0] < 0.5
    nothing, khat = pareto_smooth(np.full((1, 1000), -np.inf))
    assert np.isneginf(nothing).all()
    assert khat[0] == np.inf
    few = np.full((1, 1000), -np.inf)
    few[0, :3] = 0.0
    assert pareto_smooth(few)[1][0] > 0.7
    assert pareto_smooth(np.zeros((1, 10)))[1][0] == np.inf  # too few to tell
