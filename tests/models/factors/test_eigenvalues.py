"""Eigenvalues of replicates: the Wishart distribution's moments, places of the truth's own data, too few factors."""

import numpy as np
import pytest
from scipy.stats import kstest

import mien
from mien.models.factors.conditional import Parameters
from mien.models.factors.eigenvalues import _scatters, eigenvalue_check, eigenvalue_table
from mien.models.factors.sums import FactorSums
from mien.study.errors import SpecError

SHAPES, DEGREES = 6, 40


def covariance(seed=0, factors=2):
    loading = 0.6 * np.random.default_rng(seed).normal(size=(SHAPES, factors))
    return loading, np.full(SHAPES, 0.5), loading @ loading.T + 0.5 * np.eye(SHAPES)


def sums_of(scatter, degrees=DEGREES):
    root = np.linalg.cholesky(scatter).T
    return FactorSums(np.zeros(1), np.array([float(degrees)]), np.array([0, SHAPES]), root)


def known(loading, uniqueness, draws):
    between = np.zeros((draws, SHAPES, 0)), np.ones((draws, SHAPES))
    return Parameters(np.tile(loading, (draws, 1, 1)), np.tile(uniqueness, (draws, 1)), *between)


def test_scatters_have_the_moments_of_the_wishart_distribution():
    _, _, wanted = covariance()
    draws = 40_000
    found = _scatters(np.tile(wanted, (draws, 1, 1)), DEGREES, np.random.default_rng(1))
    variance = DEGREES * (wanted**2 + np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs(found.mean(axis=0) - DEGREES * wanted).max() < 5 * np.sqrt(variance / draws).max()
    assert found.var(axis=0) == pytest.approx(variance, rel=0.05)
    sign, size = np.linalg.slogdet(found)
    assert (sign > 0).all()
    chi = np.log(np.random.default_rng(2).chisquare(DEGREES - np.arange(SHAPES), size=(draws, SHAPES))).sum(1)
    assert (size - np.linalg.slogdet(wanted)[1]).mean() == pytest.approx(chi.mean(), abs=0.02)


def places(degrees_told):
    """p_larger of the third eigenvalue, of 200 data sets from known parameters."""
    loading, uniqueness, truth = covariance()
    rng = np.random.default_rng(3)
    draws = known(loading, uniqueness, 200)
    found = []
    for number in range(200):
        values = rng.multivariate_normal(np.zeros(SHAPES), truth, size=DEGREES)
        table = eigenvalue_table(draws, sums_of(values.T @ values, degrees_told), seed=number)
        found.append(table["p_larger"][2])
    return np.array(found)


def test_places_of_the_truths_own_data_are_even():
    assert kstest(places(DEGREES), "uniform").pvalue > 0.01
    assert kstest(places(4 * DEGREES), "uniform").pvalue < 1e-4  # the saboteur: too many degrees of freedom


def test_units_do_not_matter():
    loading, uniqueness, truth = covariance()
    draws = known(loading, uniqueness, 300)
    one = eigenvalue_table(draws, sums_of(DEGREES * truth), seed=0)
    sds = np.linspace(0.1, 3.0, SHAPES)
    other = eigenvalue_table(draws, sums_of(DEGREES * truth * np.outer(sds, sds)), seed=0)
    assert one.to_numpy() == pytest.approx(other.to_numpy())
    assert one["observed"].sum() == pytest.approx(SHAPES)
    assert list(one["number"]) == [1, 2, 3, 4, 5, 6]
    assert (one["lower"] <= one["predicted"]).all()
    assert (one["predicted"] <= one["upper"]).all()


def test_too_few_factors_show_in_the_next_eigenvalue(study):
    _, found = study
    few, enough = (eigenvalue_check(found.fits[number], seed=5) for number in (1, 2))
    assert few["p_larger"][1] < 0.005
    assert few["observed"][1] > few["upper"][1]
    assert 0.025 < enough["p_larger"][2] < 0.975
    assert few["observed"].equals(enough["observed"])
    again = (
        found.eigenvalues[found.eigenvalues["factors"] == 1].drop(columns="factors").reset_index(drop=True)
    )
    assert few.equals(again)


def test_other_families_have_none(trials):
    with pytest.raises(SpecError, match="found another family"):
        eigenvalue_check(mien.fit("activation ~ 1", trials, engine="collapsed", draws=100))
