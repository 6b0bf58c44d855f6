"""Coefficients given theta and the likelihood with effects integrated out, against dense matrices."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import mien
from mien.models.refit import coefficients_of, natural_of, outcome_of
from mien.models.sensitivity.given_theta import flat_coefficients, given_theta
from mien.priors import Fixed, Flat, HalfNormal, Normal

_place = importlib.util.spec_from_file_location("dense_model", Path(__file__).parents[1] / "dense_model.py")
dense = importlib.util.module_from_spec(_place)
_place.loader.exec_module(dense)

PRIORS = {"Intercept": Normal(0, 2), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1)}
EXACT = 1e-8


def study(participants=5, stimuli=6, bins=1, seed=0, holes=0.1):
    rng = np.random.default_rng(seed)
    p, s, b = (
        column.ravel()
        for column in np.meshgrid(np.arange(participants), np.arange(stimuli), np.arange(bins), indexing="ij")
    )
    keep = rng.random(len(p)) >= holes
    p, s, b = p[keep], s[keep], b[keep]
    v = np.where(s % 2 == 0, -0.5, 0.5)
    y = 5.0 + 0.4 * v + rng.normal(0, 0.7, participants)[p] + rng.normal(0, 0.3, stimuli)[s]
    y += rng.normal(0, 0.6, len(p))
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v, "bin": b, "y": y,
         "trial": [f"p{i}s{j}" for i, j in zip(p, s, strict=True)], "medium": np.where(s < 3, "picture", "film"),
         "w": rng.uniform(0.3, 3.0, len(p)), "se": rng.uniform(0.2, 0.4, len(p)).round(1)}
    )  # fmt: skip


CASES = {
    "slopes": ("y ~ valence + (valence | participant) + (1 | stimulus)", {}, {}),
    "weights and strata": ("y ~ valence + (valence || participant) + (1 | stimulus)", {},
                           {"weights": "w", "sigma_by": ("medium",)}),
    "series with holes": ("y ~ valence + (1 | participant) + (1 | trial)", {"bins": 4, "holes": 0.3},
                          {"residual": "ar1", "series": ("trial",)}),
    "known errors": ("y ~ valence + (1 | participant)", {}, {"standard_errors": "se"}),
    "flat": ("y ~ valence + (1 | participant)", {}, {"priors": {**PRIORS, "Intercept": Flat()}}),
    "fixed": ("y ~ valence + (1 | participant)", {}, {"priors": {**PRIORS, "valence": Fixed(0.3)}}),
    "no coefficient": ("y ~ 0 + (1 | participant)", {}, {}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request):
    formula, table, fields = CASES[request.param]
    fields = {"priors": PRIORS, **fields}
    fit = mien.fit(formula, study(**table), engine="collapsed", draws=25, chains=2, **fields)
    outcome = outcome_of(fit)
    return fit, outcome, natural_of(fit, None, outcome)


def covariance_of_rows(outcome, natural, draw):
    found = dense.residual_covariance(outcome, natural, draw)
    for factor, matrix in dense.covariance_of_effects(outcome, natural, draw).items():
        mine = [block for block in outcome.design.blocks if block.factor == factor]
        columns = np.concatenate([block.columns for block in mine], axis=1)
        found = found + (columns @ matrix @ columns.T) * (mine[0].codes[:, None] == mine[0].codes)
    return found


def log_densities(fit, outcome, natural):
    """Log p(y | β, theta) of every draw."""
    given = given_theta(flat_coefficients(outcome), natural)
    return given.log_likelihood(coefficients_of(fit, None, given.free))


def dense_log_densities(fit, outcome, natural, draws, covariance=covariance_of_rows):
    coefficients = coefficients_of(fit, None, outcome.design.coefficients)
    mean = outcome.design.columns @ coefficients.T
    found = [
        multivariate_normal.logpdf(outcome.response, mean[:, draw], covariance(outcome, natural, draw))
        for draw in draws
    ]
    return np.array(found)


def test_likelihood_equals_that_of_dense_normals(case):
    fit, outcome, natural = case
    draws = [0, 7, 31]
    found = log_densities(fit, outcome, natural)[draws]
    wanted = dense_log_densities(fit, outcome, natural, draws)
    assert np.abs(found - wanted).max() < EXACT * np.abs(wanted).max()


def test_saboteur_effects_that_are_not_integrated_out(case):
    fit, outcome, natural = case
    draws = [0, 7, 31]
    found = log_densities(fit, outcome, natural)[draws]
    wanted = dense_log_densities(fit, outcome, natural, draws, dense.residual_covariance)
    assert np.abs(found - wanted).min() > 1e-3


def test_mean_and_covariance_are_those_of_generalised_least_squares(case):
    _, outcome, natural = case
    if not outcome.design.coefficients or any(
        isinstance(outcome.priors[name].prior, Fixed) for name in outcome.design.coefficients
    ):
        pytest.skip("no coefficient that is free")
    given = given_theta(flat_coefficients(outcome), natural)
    x = outcome.design.columns
    for draw in (0, 31):
        inverse = np.linalg.inv(covariance_of_rows(outcome, natural, draw))
        wanted = np.linalg.inv(x.T @ inverse @ x)
        found = given.root[draw] @ given.root[draw].T
        assert np.abs(found - wanted).max() < EXACT * wanted.max()
        assert np.abs(given.mean[draw] - wanted @ (x.T @ inverse @ outcome.response)).max() < EXACT


def test_one_coefficient_flat_and_the_others_with_their_priors(case):
    _, outcome, natural = case
    priors = {name: outcome.priors[name].prior for name in outcome.design.coefficients}
    if not isinstance(priors.get("valence"), Normal) or not isinstance(priors.get("Intercept"), Normal):
        pytest.skip("priors that are not both normal")
    given = given_theta(flat_coefficients(outcome, ("valence",)), natural)
    x, place = outcome.design.columns, given.free.index("valence")
    own = np.diag([0.0 if name == "valence" else priors[name].sd ** -2.0 for name in priors])
    pull = own @ np.array([priors[name].mean for name in priors])
    inverse = np.linalg.inv(covariance_of_rows(outcome, natural, 5))
    covariance = np.linalg.inv(x.T @ inverse @ x + own)
    mean = covariance @ (x.T @ inverse @ outcome.response + pull)
    assert abs(given.variance("valence")[5] - covariance[place, place]) < EXACT
    assert abs(given.mean[5, place] - mean[place]) < EXACT
