"""scikit-learn's stored values mean what README.md says: densities written out, and the conditions of a maximum."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

RECORD = json.loads(Path(__file__).with_name("factor_analysis.json").read_text(encoding="utf-8"))
every_fit = pytest.mark.parametrize("factors", RECORD["fits"])


def data():
    return np.array(RECORD["data"]["thousandths"]).T * 0.001


def parts(record):
    loading, uniqueness = np.array(record["loading"]), np.array(record["uniqueness"])
    return loading, uniqueness, loading @ loading.T + np.diag(uniqueness)


@every_fit
def test_log_likelihoods_are_normal_densities(factors):
    y, fit = data(), RECORD["fits"][factors]
    for point in (fit, *fit["away"]):
        wanted = multivariate_normal(y.mean(axis=0), parts(point)[2]).logpdf(y).sum()
        assert point["log_likelihood"] == pytest.approx(wanted, abs=1e-9, rel=1e-12)


@every_fit
def test_the_maximum_is_one(factors):
    y, fit = data(), RECORD["fits"][factors]
    loading, _, covariance = parts(fit)
    found = np.cov(y.T, bias=True)
    assert np.diag(covariance) == pytest.approx(np.diag(found), abs=1e-6)
    assert found @ np.linalg.solve(covariance, loading) == pytest.approx(loading, abs=1e-6)
    assert max(point["log_likelihood"] for point in fit["away"]) < fit["log_likelihood"]


@every_fit
def test_scores_are_conditional_means(factors):
    y, fit = data(), RECORD["fits"][factors]
    loading, _, covariance = parts(fit)
    scores = np.array(fit["scores"])
    wanted = (y - y.mean(axis=0))[: len(scores)] @ np.linalg.solve(covariance, loading)
    assert scores == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("name", ["varimax", "varimax_of_rows_of_length_one"])
def test_rotated_loadings_have_the_largest_criterion(name):
    fit = RECORD["fits"]["2"]
    loading, rotated = np.array(fit["loading"]), np.array(fit[name])
    assert rotated @ rotated.T == pytest.approx(loading @ loading.T, abs=1e-12)
    if name != "varimax":
        rotated = rotated / np.sqrt((rotated**2).sum(axis=1, keepdims=True))

    def criterion(angle):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return ((rotated @ turn) ** 2).var(axis=0).sum()

    angles = np.linspace(-0.5, 0.5, 101) * np.pi / 2
    assert max(criterion(angle) for angle in angles) == pytest.approx(criterion(0.0), abs=1e-12)
