"""The density of a row against scipy and quadrature, its derivatives against differences."""

import numpy as np
import pytest
from scipy import integrate, special, stats
from scipy.special import expit

from mien.models.engines import likelihood_kernel as kernel
from mien.models.engines.likelihood_sampler import _row_data
from tests.models.likelihood_study import FAMILIES

PREDICTORS = {
    "student_t": (0.4, np.log(0.7), np.log(3.5)),
    "ordered_beta": (-0.6, np.log(6.0), -1.8, np.log(4.1)),
    "zero_inflated_beta": (-0.6, np.log(6.0), -0.7),
    "zero_one_inflated_beta": (0.3, np.log(2.0), -0.7, -1.5),
    "hurdle_gamma": (-0.5, np.log(2.5), -0.4),
}
HAS_ONES = ("ordered_beta", "zero_one_inflated_beta")


def log_density(family, y, eta):
    y = np.atleast_1d(np.asarray(y, dtype=np.float64))
    kind, data = _row_data(family, y)
    columns = np.repeat(np.asarray(eta, dtype=np.float64)[:, None], len(y), axis=1)
    return kernel.row_densities(kernel.CODES[family], kind, data, columns)


def by_scipy(family, y, eta):
    """The definition, one value at a time."""
    if family == "student_t":
        return stats.t(np.exp(eta[2]), eta[0], np.exp(eta[1])).logpdf(y)
    if family == "hurdle_gamma":
        shape, chance = np.exp(eta[1]), expit(eta[2])
        if y == 0:
            return np.log(chance)
        return np.log1p(-chance) + stats.gamma(shape, scale=np.exp(eta[0]) / shape).logpdf(y)
    mu, phi = expit(eta[0]), np.exp(eta[1])
    inside = stats.beta(mu * phi, (1 - mu) * phi)
    if family == "ordered_beta":
        zero, one = 1 - expit(eta[0] - eta[2]), expit(eta[0] - eta[2] - np.exp(eta[3]))
    elif family == "zero_inflated_beta":
        zero, one = expit(eta[2]), 0.0
    else:
        zero, one = expit(eta[2]) * (1 - expit(eta[3])), expit(eta[2]) * expit(eta[3])
    if y == 0:
        return np.log(zero)
    return np.log(one) if y >= 1 else np.log1p(-zero - one) + inside.logpdf(y)


def values_of(family):
    if family == "student_t":
        return np.array([-8.0, -0.3, 0.4, 0.9, 30.0])
    inside = np.array([1e-7, 0.02, 0.3, 0.75, 0.999])
    if family == "hurdle_gamma":
        return np.array([0.0, *inside, 1.4, 9.0])
    return np.array([0.0, *inside, *((1.0, 1.04) if family in HAS_ONES else ())])


def test_log_gamma_and_digamma_over_twenty_orders_of_magnitude():
    x = np.exp(np.linspace(-14, 32, 4001))
    found = np.array([kernel.log_gamma_and_digamma(value) for value in x])
    size = np.maximum(1.0, np.abs(special.gammaln(x)))
    assert np.abs((found[:, 0] - special.gammaln(x)) / size).max() < 1e-13
    assert (
        np.abs((found[:, 1] - special.digamma(x)) / np.maximum(1.0, np.abs(special.digamma(x)))).max() < 1e-13
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_density_is_scipys(family):
    rng = np.random.default_rng(0)
    for _ in range(20):
        eta = np.array(PREDICTORS[family]) + rng.normal(0, 0.7, len(PREDICTORS[family]))
        y = values_of(family)
        expected = [by_scipy(family, value, eta) for value in y]
        assert log_density(family, y, eta)[0] == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_density_and_point_masses_integrate_to_one(family):
    eta = PREDICTORS[family]

    def density(y):
        return float(np.exp(log_density(family, y, eta)[0][0]))

    if family == "student_t":
        assert integrate.quad(density, -np.inf, np.inf, epsabs=1e-11)[0] == pytest.approx(1.0, abs=1e-9)
        return
    top = np.inf if family == "hurdle_gamma" else 1.0
    total = (
        integrate.quad(density, 0.0, 0.5, epsabs=1e-11)[0]
        + integrate.quad(density, 0.5, top, epsabs=1e-11)[0]
    )
    total += density(0.0) + (density(1.0) if family in HAS_ONES else 0.0)
    assert total == pytest.approx(1.0, abs=1e-8)


def test_saboteur_an_ordered_beta_without_its_share_inside_does_not_integrate_to_one():
    eta = PREDICTORS["ordered_beta"]
    mu, phi = expit(eta[0]), np.exp(eta[1])
    masses = np.exp(log_density("ordered_beta", [0.0, 1.0], eta)[0]).sum()
    assert masses + stats.beta(mu * phi, (1 - mu) * phi).cdf(1.0) > 1.1


@pytest.mark.parametrize("family", FAMILIES)
def test_derivatives_are_those_of_the_density(family):
    eta, y, step = np.array(PREDICTORS[family]), values_of(family), 1e-5
    slope = log_density(family, y, eta)[1]
    for m in range(len(eta)):
        moved = np.zeros(len(eta))
        moved[m] = step
        ends = [log_density(family, y, eta + sign * moved)[0] for sign in (1, -1)]
        assert slope[m] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("eta", [-60.0, 60.0])
def test_far_off_predictors_give_finite_densities(family, eta):
    predictors = (eta, *PREDICTORS[family][1:])
    y = values_of(family) if family != "hurdle_gamma" else np.array([0.0, 0.3])
    density, slope = log_density(family, y, predictors)
    assert np.isfinite(density).all()
    assert np.isfinite(slope).all()


def test_both_ways_to_the_share_inside_agree_where_they_meet():
    below, above = (
        log_density("ordered_beta", [0.4], (0.2, 1.0, -cut, np.log(2.0 * cut)))[0][0] for cut in (99.9, 100.1)
    )
    assert below == pytest.approx(above, abs=1e-9)


def test_one_and_above_are_the_same_category():
    eta = PREDICTORS["ordered_beta"]
    density = log_density("ordered_beta", [1.0, 1.0000001, 1.3], eta)[0]
    assert density[0] == density[1] == density[2]


def test_ordered_beta_without_room_at_the_ends_is_the_beta():
    eta = (-0.4, np.log(5.0), -50.0, np.log(100.0))
    y = np.array([0.05, 0.4, 0.9])
    mu = expit(-0.4)
    assert log_density("ordered_beta", y, eta)[0] == pytest.approx(stats.beta(mu * 5, (1 - mu) * 5).logpdf(y))


def test_ordered_beta_of_zeros_and_ones_is_an_ordinal_model():
    """P(0), P(inside), P(1) are those of a cumulative logit model with the two cutpoints."""
    eta, lower, upper = 0.7, -1.2, 2.0
    zero, one = log_density("ordered_beta", [0.0, 1.0], (eta, 1.0, lower, np.log(upper - lower)))[0]
    assert np.exp(zero) == pytest.approx(expit(lower - eta))
    assert np.exp(one) == pytest.approx(1 - expit(upper - eta))


def test_many_degrees_of_freedom_are_the_normal():
    y = np.array([-2.0, 0.1, 3.0])
    found = log_density("student_t", y, (0.2, np.log(0.8), np.log(1e8)))[0]
    assert found == pytest.approx(stats.norm(0.2, 0.8).logpdf(y), abs=1e-6)
