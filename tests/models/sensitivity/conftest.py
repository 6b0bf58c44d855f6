"""Models whose posterior is known: one mean with a known variance, and a mixed model with all variances known."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models.refit import outcome_of
from mien.priors import Fixed, Normal

SIGMA, TAU = 1.0, 0.5


class Gaussian(NamedTuple):
    """Of coefficients: y says N(b, c); prior N(mu, diag(sd²))."""

    b: np.ndarray
    c: np.ndarray
    mu: np.ndarray
    sd: np.ndarray

    def posterior(self, alpha=1.0, power=1.0):
        """Mean and covariance with the prior to the power alpha, the likelihood to another."""
        prior, data = alpha * np.diag(self.sd**-2.0), power * np.linalg.inv(self.c)
        covariance = np.linalg.inv(prior + data)
        return covariance @ (prior @ self.mu + data @ self.b), covariance

    @property
    def mean_shift(self):
        """d mean / d log2 alpha of the prior at 1, in posterior sds."""
        mean, covariance = self.posterior()
        return -np.log(2) * (covariance @ ((mean - self.mu) / self.sd**2)) / np.sqrt(np.diag(covariance))

    @property
    def sd_shift(self):
        """d sd / d log2 alpha of the prior at 1, in posterior sds."""
        covariance = self.posterior()[1]
        return (
            -0.5 * np.log(2) * np.diag(covariance @ np.diag(self.sd**-2.0) @ covariance) / np.diag(covariance)
        )


class Case(NamedTuple):
    fit: object
    truth: Gaussian


def one_mean(prior_mean, n=16, mean=0.3, tau=TAU, draws=4000, seed=0):
    """n values with a known sd; their mean is exact, so that the distance from the prior is."""
    noise = np.random.default_rng(seed).normal(size=n)
    y = mean + SIGMA * (noise - noise.mean()) / noise.std()
    priors = {"Intercept": Normal(prior_mean, tau), "sigma": Fixed(SIGMA)}
    fit = mien.fit("y ~ 1", pd.DataFrame({"y": y}), engine="collapsed", priors=priors, draws=draws, seed=seed)
    return Case(
        fit, Gaussian(np.array([mean]), np.array([[SIGMA**2 / n]]), np.array([prior_mean]), np.array([tau]))
    )


def crossed_table(participants=8, stimuli=10, seed=0, effect=0.8):
    rng = np.random.default_rng(seed)
    p, s = (column.ravel() for column in np.indices((participants, stimuli)))
    v = np.where(s % 2 == 0, -0.5, 0.5)
    y = 0.5 + effect * v + rng.normal(0, 0.5, participants)[p] + rng.normal(0, 0.3, participants)[p] * v
    y += rng.normal(0, 0.3, stimuli)[s] + rng.normal(0, 0.7, len(p))
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v, "y": y}
    )


KNOWN = {
    "sd:1|participant": Fixed(0.5), "sd:valence|participant": Fixed(0.3), "corr:participant": Fixed(0.4),
    "sd:1|stimulus": Fixed(0.3), "sigma": Fixed(0.7),
}  # fmt: skip


def crossed(valence=Normal(0.0, 0.25), draws=4000, seed=0):  # noqa: B008  (a frozen value)
    """Crossed effects with known variances: generalised least squares gives everything."""
    table = crossed_table()
    priors = {"Intercept": Normal(0.0, 0.4), "valence": valence, **KNOWN}
    formula = "y ~ valence + (valence | participant) + (1 | stimulus)"
    fit = mien.fit(formula, table, engine="collapsed", priors=priors, draws=draws, seed=seed)
    outcome = outcome_of(fit)
    x = outcome.design.columns
    inverse = np.linalg.inv(marginal_covariance(outcome))
    c = np.linalg.inv(x.T @ inverse @ x)
    b = c @ (x.T @ inverse @ outcome.response)
    own = [priors["Intercept"], valence]
    return Case(fit, Gaussian(b, c, np.array([one.mean for one in own]), np.array([one.sd for one in own])))


def marginal_covariance(outcome):
    """Of the rows of `crossed`, written out."""
    person, item = (block.codes for block in outcome.design.blocks)
    z = outcome.design.blocks[0].columns
    across = 0.4 * 0.5 * 0.3
    effects = np.array([[0.5**2, across], [across, 0.3**2]])
    found = (z @ effects @ z.T) * (person[:, None] == person)
    found += 0.3**2 * (item[:, None] == item)
    return found + 0.7**2 * np.eye(len(person))


@pytest.fixture(scope="session")
def one_mean_of():
    return one_mean


@pytest.fixture(scope="session")
def crossed_case():
    return crossed()


@pytest.fixture(scope="session")
def crossed_of():
    return crossed


@pytest.fixture(scope="session")
def estimated_fit():
    """The same rows with all variances estimated, by the collapsed engine."""
    return estimated()


def estimated(engine="collapsed", **priors):
    return mien.fit(
        "y ~ valence + (valence | participant) + (1 | stimulus)", crossed_table(12, 16, effect=0.4), engine=engine,
        priors={"Intercept": Normal(0.0, 1.0), "beta": Normal(0.0, 1.0), **priors}, draws=1000, seed=1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def estimated_of():
    return estimated
