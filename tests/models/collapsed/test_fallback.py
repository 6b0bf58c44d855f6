"""NUTS on theta's density: the same posterior as importance sampling, folded back rightly."""

import dataclasses
import sys

import numpy as np
import pytest

from mien.models.engines.collapsed import fallback, importance
from mien.models.engines.collapsed.fallback import Sampled, sample_by_nuts
from mien.models.engines.collapsed.importance import importance_sample, quantities, sample_theta
from mien.models.engines.collapsed.mode import find_mode


def summaries(density, draws):
    from arviz_stats.base import array_stats

    values = quantities(density.parameters, draws.theta.reshape(-1, density.parameters.dim))
    found = {}
    for name, value in values.items():
        chains = value.reshape(draws.theta.shape[:2])
        found[name] = (value.mean(), float(array_stats.mcse(chains, chain_axis=0, draw_axis=1)), value.std())
    return found


def agree(density, sampled, weighted):
    """Names of the quantities whose means or sds differ."""
    weight = weighted.weight / weighted.weight.sum()
    values = quantities(density.parameters, weighted.theta)
    wrong = []
    for name, (mean, error, sd) in summaries(density, sampled).items():
        wanted = weight @ values[name]
        spread = np.sqrt(weight @ (values[name] - wanted) ** 2)
        own = spread / np.sqrt(weighted.ess_of[name])
        if abs(mean - wanted) > 4 * np.hypot(error, own) or abs(sd / spread - 1) > 0.1:
            wrong.append(name)
    return wrong


@pytest.fixture(autouse=True)
def short_adaptation(monkeypatch):
    """Three dimensions in whitened coordinates need little, and the gradients here are slow."""
    monkeypatch.setattr(fallback, "TUNE", 200)


@pytest.fixture(scope="module")
def near_zero(scatter):
    """An sd near 0 with a clear sign of its correlation: chains cross 0, and only the right fold keeps the sign."""
    density = scatter(sds=(1.2, 0.5), rho=0.8, count=25, sigma=1.0, seed=2)
    return density, importance_sample(density, points=20_000, runs=4, seed=np.random.SeedSequence(5))


@pytest.fixture(scope="module")
def chains(near_zero):
    density, _ = near_zero
    return sample_by_nuts(density, find_mode(density), draws=600, chains=4, seed=np.random.SeedSequence(6))


def test_nuts_agrees_with_importance_sampling(near_zero, chains):
    density, weighted = near_zero
    assert chains.passed, chains.reason
    assert chains.theta.shape == (4, 600, 3)
    assert (chains.theta[..., :2] >= 0).all()
    assert agree(density, chains, weighted) == []
    np.testing.assert_allclose(
        chains.log_density.ravel(), density.values(chains.theta.reshape(-1, 3)), rtol=1e-9
    )
    assert {"lp", "energy", "diverging"} <= set(chains.stats)


@pytest.mark.statistical("engine")
def test_saboteur_sds_are_made_positive_without_their_correlations(near_zero):
    density, weighted = near_zero
    parameters = density.parameters
    flips = np.where(np.eye(2, 3) > 0, -1.0, 1.0)

    class Wrong:
        values = staticmethod(density.values)
        gradient = staticmethod(density.gradient)

    Wrong.parameters = dataclasses.replace(parameters, flips=flips)
    found = sample_by_nuts(Wrong, find_mode(density), draws=400, chains=2, seed=np.random.SeedSequence(6))
    assert agree(density, found, weighted) == ["corr:p[t1,t0]"]


def test_points_that_are_not_finite_are_turned_away(near_zero):
    density, _ = near_zero

    class Holed:
        parameters = density.parameters

        def gradient(self, theta):
            if abs(theta[2]) > 2.5:  # nearly no mass there
                return -np.inf, np.full(3, np.nan)
            return density.gradient(theta)

    found = sample_by_nuts(Holed(), find_mode(density), draws=150, chains=2, seed=np.random.SeedSequence(6))
    assert found.theta[..., 2].max() <= 2.5


def test_the_last_resort_comes_after_more_points(near_zero, monkeypatch):
    density, _ = near_zero
    monkeypatch.setattr(importance, "KHAT", -5.0)
    found = sample_theta(density, points=400, runs=2, draws=150, seed=np.random.SeedSequence(1))
    assert isinstance(found, Sampled)
    assert found.theta.shape == (2, 150, 3)
    assert [note.split(":")[0] for note in found.notes if " points: " in note] == [
        "400 points",
        "400 points",
        "1600 points",
    ]


def test_few_draws_fail_the_verdict(near_zero):
    density, _ = near_zero
    found = sample_by_nuts(density, find_mode(density), draws=60, chains=2, seed=np.random.SeedSequence(6))
    assert not found.passed
    assert "ESS" in found.reason


def test_nutpie_is_imported_only_when_it_is_needed():
    import subprocess

    code = "import sys, mien.models.engines.collapsed.fallback as f; assert 'nutpie' not in sys.modules, f"
    subprocess.run([sys.executable, "-c", code], check=True)
