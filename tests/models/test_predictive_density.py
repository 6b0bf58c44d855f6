"""Densities of units left out: against dense normals for every theta, and against fits without the unit."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import mien
from mien.models.predictive_density import leave_one_out, unit_log_densities
from mien.models.refit import natural_of, outcome_of
from mien.priors import HalfNormal, Normal
from mien.study.errors import FitError

_place = importlib.util.spec_from_file_location("dense_model", Path(__file__).with_name("dense_model.py"))
dense = importlib.util.module_from_spec(_place)
_place.loader.exec_module(dense)

PRIORS = {"Intercept": Normal(0, 2), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1)}


def study(participants=5, stimuli=6, bins=1, seed=0, holes=0.1):
    rng = np.random.default_rng(seed)
    p, s, b = (
        column.ravel()
        for column in np.meshgrid(np.arange(participants), np.arange(stimuli), np.arange(bins), indexing="ij")
    )
    keep = rng.random(len(p)) >= holes
    p, s, b = p[keep], s[keep], b[keep]
    v = np.where(s % 2 == 0, -0.5, 0.5)
    y = 5.0 + 0.4 * v + rng.normal(0, 0.7, participants)[p] + rng.normal(0, 0.4, participants)[p] * v
    y += rng.normal(0, 0.3, stimuli)[s] + rng.normal(0, 0.6, len(p))
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v, "bin": b, "y": y,
         "trial": [f"p{i}s{j}" for i, j in zip(p, s, strict=True)], "medium": np.where(s < 3, "picture", "film"),
         "w": rng.uniform(0.3, 3.0, len(p))}
    )  # fmt: skip


CASES = {
    "slopes": ("y ~ valence + (valence | participant) + (1 | stimulus)", {}, {}),
    "weights and strata": ("y ~ valence + (valence || participant) + (1 | stimulus)", {},
                           {"weights": "w", "sigma_by": ("medium",)}),
    "series with holes": ("y ~ valence + (1 | participant) + (1 | trial)", {"bins": 4, "holes": 0.3},
                          {"residual": "ar1", "series": ("trial",)}),
    "nested": ("y ~ valence + (1 | participant / medium) + (1 | stimulus)", {"bins": 2}, {}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request):
    formula, table, fields = CASES[request.param]
    fit = mien.fit(formula, study(**table), engine="collapsed", draws=25, chains=2, priors=PRIORS, **fields)
    outcome = outcome_of(fit)
    return fit, outcome, natural_of(fit, None, outcome)


def dense_density(outcome, natural, draw, rows):
    mean, covariance = dense.mean_and_covariance(outcome, natural, draw)
    whole = multivariate_normal.logpdf(outcome.response, mean, covariance)
    rest = ~rows
    return whole - multivariate_normal.logpdf(
        outcome.response[rest], mean[rest], covariance[np.ix_(rest, rest)]
    )


def units_to_try(outcome):
    codes = {block.factor: block.codes for block in outcome.design.blocks}
    if outcome.residual.series is None:
        codes["pairs of rows"] = np.unique(
            np.column_stack([block.codes for block in outcome.design.blocks]), axis=0, return_inverse=True
        )[1].ravel()
    codes["observation"] = np.arange(len(outcome.response))
    return codes


def test_densities_given_theta_equal_those_of_dense_normals(case):
    _, outcome, natural = case
    for name, codes in units_to_try(outcome).items():
        code = np.unique(codes, return_inverse=True)[1]
        found = unit_log_densities(outcome, natural, code)
        for draw in (0, 17, 49):
            for unit in range(0, code.max() + 1, max(1, code.max() // 4)):
                wanted = dense_density(outcome, natural, draw, code == unit)
                assert found[draw, unit] == pytest.approx(wanted, rel=1e-9, abs=1e-9), name


def test_saboteur_a_wrong_sigma_or_correlation_is_seen(case):
    _, outcome, natural = case
    code = np.unique(outcome.design.blocks[0].codes, return_inverse=True)[1]
    wanted = dense_density(outcome, natural, 0, code == 0)
    wrong = natural._replace(sigma=natural.sigma * 1.01, rho=natural.rho * 0.9)
    assert unit_log_densities(outcome, wrong, code)[0, 0] != pytest.approx(wanted, rel=1e-6)


def test_the_evidence_of_the_engine_and_unit_densities_keep_to_one_likelihood(case):
    """log p(y) = log p(y_-u) + log p(y_u | y_-u), whichever way the unit is taken out."""
    _, outcome, natural = case
    codes = outcome.design.blocks[0].codes
    mean, covariance = dense.mean_and_covariance(outcome, natural, 3)
    rest = codes != 0
    found = unit_log_densities(outcome, natural, np.where(rest, 1, 0))[3, 0]
    wanted = multivariate_normal.logpdf(outcome.response, mean, covariance) - multivariate_normal.logpdf(
        outcome.response[rest], mean[rest], covariance[np.ix_(rest, rest)]
    )
    assert found == pytest.approx(wanted, rel=1e-9)


def test_rows_that_are_means_of_replicates_count_as_all_of_them():
    rng = np.random.default_rng(1)
    data = study(participants=4, stimuli=4, holes=0.0)
    data["n"] = rng.integers(1, 5, len(data))
    single = data.loc[np.repeat(data.index, data["n"])].reset_index(drop=True)
    single["y"] += rng.normal(0, 0.5, len(single))
    by = single.groupby("trial", sort=False)["y"]
    data["y"] = by.mean().to_numpy()
    data["y_squares"] = by.apply(lambda y: float(((y - y.mean()) ** 2).sum())).to_numpy()
    data.loc[data["n"] == 1, "y_squares"] = 0.0
    few = mien.fit(FORMULA, data, engine="collapsed", draws=25, chains=2, priors=PRIORS, counts="n")
    many = mien.fit(FORMULA, single, engine="collapsed", draws=25, chains=2, priors=PRIORS)
    natural = natural_of(few, None, outcome_of(few))
    rows = np.arange(len(data))
    for code in (rows, data["participant"].factorize()[0]):
        found = unit_log_densities(outcome_of(few), natural, code)
        wanted = unit_log_densities(outcome_of(many), natural, np.repeat(code, data["n"]))
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


# elpd against fits without the unit

FORMULA = "y ~ valence + (1 | participant) + (1 | stimulus)"


@pytest.fixture(scope="module")
def tiny():
    data = study(participants=8, stimuli=8, holes=0.0, seed=3)
    return data, mien.fit(FORMULA, data, engine="collapsed", draws=2000, priors=PRIORS)


def without(data, unit, label):
    """log p(y_unit | y_-unit) and its error, from a fit that has never seen the unit."""
    rest = data[data[unit] != label]
    fit = mien.fit(FORMULA, rest, engine="collapsed", draws=2000, priors=PRIORS, seed=5)
    natural = natural_of(fit, None, outcome_of(fit))
    whole = mien.fit(FORMULA, data, engine="collapsed", draws=25, chains=2, priors=PRIORS)
    outcome = outcome_of(whole)
    column = data[unit].to_numpy()
    density = unit_log_densities(outcome, natural, (column != label).astype(int))[:, 0]
    scaled = np.exp(density - density.max())
    _, which = np.unique(natural.sigma[:, 0], return_inverse=True)
    share = np.bincount(which, weights=scaled - scaled.mean())
    error = np.sqrt((share**2).sum()) / len(scaled) / scaled.mean()
    return density.max() + np.log(scaled.mean()), error


@pytest.mark.parametrize(("unit", "labels"), [("participant", ["p0", "p5"]), ("stimulus", ["s3"])])
def test_elpd_equals_that_of_a_fit_without_the_unit(tiny, unit, labels):
    data, fit = tiny
    found = mien.log_likelihood(fit, unit, draws=None)
    assert float(found["khat_loo"].max()) < 0.7
    for label in labels:
        wanted, error = without(data, unit, label)
        mine = found.sel({unit: label})
        allowed = 4 * np.hypot(error, float(mine["mcse"]))
        assert allowed < 0.2
        assert abs(float(mine["elpd"]) - wanted) < allowed


def test_saboteur_weights_ignored_or_of_the_wrong_sign_are_seen(tiny):
    """A large unit moves the posterior: its elpd is not the log of its mean density, nor that of weights p."""
    _, fit = tiny
    outcome = outcome_of(fit)
    natural = natural_of(fit, None, outcome)
    density = unit_log_densities(outcome, natural, outcome.design.blocks[0].codes)
    elpd, _, error = leave_one_out(density, np.arange(len(density)))
    ignored = np.log(np.exp(density - density.max(axis=0)).mean(axis=0)) + density.max(axis=0)
    flipped, _, _ = leave_one_out(-density, np.arange(len(density)))
    worst = np.argmin(elpd)
    assert ignored[worst] - elpd[worst] > 4 * error[worst]
    assert abs(-flipped[worst] - elpd[worst]) > 4 * error[worst]
    assert (ignored > elpd).all()  # what has been seen is foretold better


def test_identical_draws_count_as_one_in_the_error():
    rng = np.random.default_rng(0)
    density = rng.normal(0, 0.3, (400, 3))
    once = leave_one_out(density, np.arange(400))
    twice = leave_one_out(np.repeat(density, 2, axis=0), np.repeat(np.arange(400), 2))
    np.testing.assert_allclose(twice[2], once[2], rtol=0.1)


# The public face


def test_shapes_units_and_labels(trials_maker):
    data = trials_maker(participants=6, stimuli=6)
    mine = (data["blend_shape"] == "mouthFrown") & (data["participant"] == "02")
    data.loc[mine, "excluded"] = "outlier"
    fit = mien.fit(mien.models.valence(), data, engine="collapsed", draws=50)
    found = mien.log_likelihood(fit, "participant")
    assert found["elpd"].dims == ("blend_shape", "participant")
    assert np.isnan(found["elpd"].sel(blend_shape="mouthFrown", participant="02"))
    assert int(found["rows"].sel(blend_shape="mouthSmile", participant="02")) == 6
    assert found["log_density"].dims == ("theta_draw", "blend_shape", "participant")
    trial = mien.log_likelihood(fit, "trial", draws=50)
    observation = mien.log_likelihood(fit, "observation", draws=50)
    np.testing.assert_allclose(trial["elpd"].values, observation["elpd"].values)
    assert trial["trial"].values[0] == "01/1/met/1/1"


def test_trials_of_several_bins_are_one_unit(trials_maker):
    data = trials_maker(participants=4, stimuli=4, shapes=("mouthSmile",), bins=3)
    fit = mien.fit("activation ~ valence + time + (1 | participant)", data, engine="collapsed", draws=50)
    found = mien.log_likelihood(fit, "trial", draws=50)
    assert found.sizes["trial"] == 16
    assert (found["rows"] == 3).all()


def test_what_cannot_be_left_out_is_refused(tiny):
    _, fit = tiny
    with pytest.raises(
        FitError, match="expected one of participant, stimulus, trial, observation, found 'shape'"
    ):
        mien.log_likelihood(fit, "shape")
    with pytest.raises(FitError, match="at least 25"):
        mien.log_likelihood(fit, draws=3)
    bare = fit.copy()
    del bare["constant_data"]
    with pytest.raises(FitError, match="holds its rows"):
        mien.log_likelihood(bare)


def test_a_torn_series_is_refused():
    data = study(bins=4)
    fit = mien.fit("y ~ valence + (1 | participant)", data, engine="collapsed", draws=25, residual="ar1",
                   series=("participant", "stimulus"), priors=PRIORS)  # fmt: skip
    outcome = outcome_of(fit)
    code = np.arange(len(outcome.response)) // 3
    with pytest.raises(FitError, match="expected each series"):
        unit_log_densities(outcome, natural_of(fit, None, outcome), code)
