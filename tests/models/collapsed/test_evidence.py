"""The engine's evidence against quadrature over the two variance parameters of a small model, densely."""

import numpy as np
import pandas as pd
from scipy.stats import multivariate_normal

from mien.models.engines.collapsed.engine import CollapsedEngine
from mien.models.engines.problem import Settings
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.priors import Flat, HalfNormal, Normal

PRIORS = {"Intercept": Normal(0, 2), "sd": HalfNormal(1), "sigma": HalfNormal(1.5)}


def table():
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(6), 4)
    y = 0.5 + rng.normal(0, 0.6, 6)[group] + rng.normal(0, 0.8, 24)
    return pd.DataFrame({"y": y, "group": [f"g{i}" for i in group]})


def quadrature(data, wrong=1.0):
    """log ∫∫ N(y; 0, V(sd, sigma)) p(sd) p(sigma) by Gauss–Legendre, with half-normals written out."""
    codes = data["group"].factorize()[0]
    same, y = (codes[:, None] == codes).astype(float), data["y"].to_numpy()
    nodes, weights = np.polynomial.legendre.leggauss(80)
    sd, sigma = 2.5 * (nodes + 1), 0.05 + 2.0 * (nodes + 1)
    values = np.empty((80, 80))
    for i, s in enumerate(sd):
        for j, e in enumerate(sigma):
            covariance = 4.0 + s**2 * same + e**2 * np.eye(len(y))
            values[i, j] = multivariate_normal.logpdf(y, np.zeros(len(y)), wrong * covariance)
            values[i, j] += 2 * np.log(2.0) - s**2 / 2 - e**2 / 4.5 - np.log(2 * np.pi * 1.5)
    share = np.outer(weights * 2.5, weights * 2.0)
    return float(values.max() + np.log((np.exp(values - values.max()) * share).sum()))


def engine_verdict(priors):
    problem, _, _ = make_problem(ModelSpec("y ~ 1 + (1 | group)", priors=priors), table())
    return CollapsedEngine().sample(problem, Settings(500, 4, 1))[0].verdict


def test_the_evidence_is_that_of_quadrature():
    verdict = engine_verdict(PRIORS)
    assert verdict["log_evidence_mcse"] < 0.05
    assert abs(verdict["log_evidence"] - quadrature(table())) < 4 * verdict["log_evidence_mcse"]


def test_saboteur_a_wrong_covariance_is_seen():
    verdict = engine_verdict(PRIORS)
    assert abs(verdict["log_evidence"] - quadrature(table(), wrong=1.2)) > 4 * verdict["log_evidence_mcse"]


def test_flat_coefficients_have_no_evidence():
    assert "refused" in str(engine_verdict(PRIORS | {"Intercept": Flat()})["log_evidence"])
