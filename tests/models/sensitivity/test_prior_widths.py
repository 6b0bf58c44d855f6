"""An effect under other prior widths, and its Bayes factor, against closed forms, other fits and evidences."""

import numpy as np
import pytest
from scipy.stats import norm

import mien
from mien.models.sensitivity import decision_range, prior_widths
from mien.models.sensitivity import widths as module
from mien.models.sensitivity.refitting import stored_evidence
from mien.priors import Fixed, Flat, Normal
from mien.study.errors import FitError

EXACT = 1e-9
Z = 4.0


def widened(truth, factor):
    """The closed form with the prior sd of valence multiplied."""
    return truth._replace(sd=truth.sd * np.array([1.0, factor]))


def log_evidence(truth, factor):
    """Of the effect's prior, up to a constant: least squares are normal about the prior's mean."""
    own = widened(truth, factor)
    return log_normal(own.b - own.mu, own.c + np.diag(own.sd**2))


def log_normal(away, covariance):
    return -0.5 * (np.linalg.slogdet(2 * np.pi * covariance)[1] + away @ np.linalg.solve(covariance, away))


def log_bayes_factor(truth, factor):
    own = widened(truth, factor)
    none = own.c + np.diag([own.sd[0] ** 2, 0.0])
    return log_evidence(truth, factor) - log_normal(own.b - np.array([own.mu[0], 0.0]), none)


# Known variances: everything is exact


@pytest.mark.parametrize("mean", [0.0, 0.2])
def test_a_mixed_model_with_known_variances(mean, crossed_of):
    case = crossed_of(Normal(mean, 0.25))
    table = prior_widths(case.fit, rope=0.1).set_index("factor")
    assert (table["how"] == "exact given theta").all()
    for factor, row in table.iterrows():
        center, covariance = widened(case.truth, factor).posterior()
        truth = norm(center[1], np.sqrt(covariance[1, 1]))
        assert abs(row["mean"] - truth.mean()) < EXACT
        assert abs(row["sd"] - truth.std()) < EXACT
        assert abs(row["eti_lower"] - truth.ppf(0.025)) < EXACT
        assert abs(row["eti_upper"] - truth.ppf(0.975)) < EXACT
        assert abs(row["p_direction"] - truth.sf(0)) < EXACT
        assert abs(row["in_rope"] - (truth.cdf(0.1) - truth.cdf(-0.1))) < EXACT
        apart = case.truth._replace(mu=np.array([0.0, mean]))
        assert abs(row["log_bayes_factor"] - log_bayes_factor(apart, factor)) < EXACT
        change = log_evidence(apart, factor) - log_evidence(apart, 1.0)
        assert abs(row["log_evidence_change"] - change) < EXACT


def test_saboteur_a_width_that_is_not_changed(crossed_of):
    case = crossed_of(Normal(0.0, 0.25))
    row = prior_widths(case.fit, factors=(2.0,)).iloc[0]
    assert abs(row["mean"] - case.truth.posterior()[0][1]) > 0.01
    assert abs(row["log_bayes_factor"] - log_bayes_factor(case.truth, 1.0)) > 0.1


# Estimated variances: other fits


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_as_a_fit_with_that_prior(estimated_fit, estimated_of, factor):
    again = estimated_of(valence=Normal(0.0, factor))
    row = prior_widths(estimated_fit, factors=(factor,), draws=None).iloc[0]
    effect = mien.effects(again, {"valence": "valence"}).iloc[0]
    error = np.sqrt(2.0) * effect["mcse_mean"]
    assert abs(row["mean"] - effect["mean"]) < Z * error
    assert abs(row["sd"] / effect["sd"] - 1) < 0.05
    (before, error), (after, other) = stored_evidence(estimated_fit, None), stored_evidence(again, None)
    assert abs(row["log_evidence_change"] - (after - before)) < Z * np.hypot(error, other)


def test_bayes_factor_is_the_ratio_of_evidences(estimated_of):
    fit = estimated_of(valence=Normal(0.0, 1.0), Intercept=Normal(0.0, 1.0))
    none = estimated_of(valence=Fixed(0.0), Intercept=Normal(0.0, 1.0))
    row = prior_widths(fit, factors=(1.0,), draws=None).iloc[0]
    (with_it, error), (without, other) = stored_evidence(fit, None), stored_evidence(none, None)
    assert row["bayes_factor_how"] == "density at 0"
    allowed = Z * np.sqrt(error**2 + other**2 + row["log_bayes_factor_mcse"] ** 2)
    assert row["log_bayes_factor_mcse"] < 0.2
    assert abs(row["log_bayes_factor"] - (with_it - without)) < allowed
    sabotaged = (
        row["log_bayes_factor"] + norm(0, 2).logpdf(0) - norm(0, 1).logpdf(0)
    )  # another prior's density
    assert abs(sabotaged - (with_it - without)) > allowed


def test_density_at_zero_and_evidences_agree(estimated_fit, monkeypatch):
    one = prior_widths(estimated_fit, factors=(0.5, 2.0), draws=None)
    assert (one["bayes_factor_how"] == "density at 0").all()
    monkeypatch.setattr(module, "KHAT", -2.0)  # nothing is good enough: refits, evidences
    other = prior_widths(estimated_fit, factors=(0.5, 2.0), draws=None)
    assert (other["how"] == "refit").all()
    assert (other["bayes_factor_how"] == "ratio of evidences").all()
    allowed = Z * np.hypot(one["log_bayes_factor_mcse"], other["log_bayes_factor_mcse"])
    assert (np.abs(one["log_bayes_factor"] - other["log_bayes_factor"]) < allowed).all()
    assert (np.abs(one["mean"] - other["mean"]) < 0.1 * one["sd"]).all()
    failed = prior_widths(estimated_fit, factors=(0.5,), refit=False).iloc[0]
    assert (failed["how"], failed["decision"]) == ("not reliable", "")
    assert np.isnan(failed["mean"])
    assert "khat" in failed["reason"]


def test_limits_and_rule_are_those_of_effects(estimated_fit):
    table = prior_widths(estimated_fit, factors=(1.0,), draws=None)
    own = mien.effects(estimated_fit, {"valence": "valence"}).iloc[0]
    row = table.iloc[0]
    assert row["rope"] == own["rope"]
    assert row["decision"] == own["decision"]
    for name in ("mean", "eti_lower", "eti_upper"):
        assert abs(row[name] - own[name]) < 0.1 * own["sd"]
    assert abs(row["p_direction"] - own["p_direction"]) < 0.02


# How far a decision holds


def test_decision_range_ends_where_the_decision_changes(estimated_fit):
    table = prior_widths(estimated_fit)
    found = decision_range(table).iloc[0]
    assert found["stable"] == (table["decision"].nunique() == 1)
    sceptical = table.assign(decision=np.where(table["factor"] < 0.5, "undecided", "outside"))
    found = decision_range(sceptical).iloc[0]
    assert (found["decision"], found["narrowest"], found["widest"], found["stable"]) == (
        "outside",
        0.5,
        8.0,
        False,
    )
    with pytest.raises(FitError, match="expected the factor 1"):
        decision_range(table[table["factor"] > 1.0])


def test_what_is_refused(estimated_fit, estimated_of):
    with pytest.raises(FitError, match="effect: expected one of"):
        prior_widths(estimated_fit, "valnce")
    with pytest.raises(FitError, match="factors: expected"):
        prior_widths(estimated_fit, factors=(0.0,))
    with pytest.raises(FitError, match="expected a coefficient with a normal prior"):
        prior_widths(estimated_of(valence=Flat()))


def test_every_shape_has_its_rows(small_fit):
    table = prior_widths(small_fit, factors=(0.5, 1.0))
    assert table.groupby("blend_shape", sort=False).size().to_dict() == dict.fromkeys(
        ("mouthSmile", "mouthFrown", "browInnerUp"), 2
    )
    assert set(decision_range(table)["blend_shape"]) == set(table["blend_shape"])
