"""Priors to a power, against scipy's densities raised and normalised by quadrature."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from mien.priors import LKJ, Exponential, Fixed, Flat, HalfNormal, HalfStudentT, LogNormal, Normal
from mien.priors.powers import log_density, power_scaled
from mien.study.errors import SpecError

LINE, POSITIVE = (-np.inf, np.inf), (0.0, np.inf)
CASES = {
    "Normal": (Normal(0.3, 0.7), stats.norm(0.3, 0.7), LINE),
    "HalfNormal": (HalfNormal(0.4), stats.halfnorm(scale=0.4), POSITIVE),
    "HalfStudentT": (HalfStudentT(4.0, 0.6), stats.t(4.0, scale=0.6), POSITIVE),
    "half-Cauchy": (HalfStudentT(1.0, 0.6), stats.t(1.0, scale=0.6), POSITIVE),
    "Exponential": (Exponential(2.5), stats.expon(scale=0.4), POSITIVE),
    "LogNormal": (LogNormal(-0.5, 0.8), stats.lognorm(0.8, scale=np.exp(-0.5)), POSITIVE),
}
AT = np.array([0.01, 0.2, 0.5, 1.0, 2.5])


def raised(reference, support, alpha):
    """Log density of the reference to a power, normalised by quadrature."""
    constant = quad(lambda x: reference.pdf(x) ** alpha, *support, epsabs=0, epsrel=1e-11, limit=400)[0]
    return alpha * reference.logpdf(AT) - np.log(constant)


def worst(prior, reference, support, alpha):
    return np.abs(log_density(prior, AT) - raised(reference, support, alpha)).max()


@pytest.mark.parametrize("alpha", [0.6, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("name", CASES)
def test_a_power_stays_in_the_family(name, alpha):
    prior, reference, support = CASES[name]
    assert worst(power_scaled(prior, alpha), reference, support, alpha) < 1e-8


@pytest.mark.parametrize("name", CASES)
def test_saboteur_the_prior_itself_is_not_its_power(name):
    prior, reference, support = CASES[name]
    assert worst(prior, reference, support, 1.7) > 1e-3


def test_saboteur_an_sd_divided_by_alpha_is_not_the_power():
    _, reference, support = CASES["Normal"]
    assert worst(Normal(0.3, 0.7 / 1.7), reference, support, 1.7) > 1e-3


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_correlations_to_a_power(alpha):
    """LKJ of two effects: (r + 1) / 2 is Beta(eta, eta)."""
    r = np.linspace(-0.9, 0.9, 7)
    log_determinant = np.log1p(-(r**2))
    own = power_scaled(LKJ(2.0), alpha)
    assert own == LKJ(alpha + 1.0)
    wanted = alpha * stats.beta(2.0, 2.0).logpdf((r + 1.0) / 2.0)
    found = log_density(own, log_determinant)
    assert np.ptp(found - wanted) < 1e-12
    assert np.ptp(log_density(LKJ(2.0), log_determinant) - wanted) > 0.1


@pytest.mark.parametrize("prior", [Flat(), Fixed(0.3)])
def test_what_says_nothing_stays(prior):
    assert power_scaled(prior, 2.0) == prior
    assert (log_density(prior, AT) == 0.0).all()


@pytest.mark.parametrize(
    "prior", [HalfNormal(1.0), HalfStudentT(3.0, 1.0), Exponential(1.0), LogNormal(0.0, 1.0)]
)
def test_nothing_below_zero(prior):
    assert np.isneginf(log_density(prior, -0.1))


@pytest.mark.parametrize(
    ("prior", "alpha"), [(HalfStudentT(1.0, 1.0), 0.5), (LKJ(0.5), 2.0), (Normal(0.0, 1.0), 0.0)]
)
def test_what_cannot_be_normalised_is_refused(prior, alpha):
    with pytest.raises(SpecError, match="power_scaled: expected"):
        power_scaled(prior, alpha)
