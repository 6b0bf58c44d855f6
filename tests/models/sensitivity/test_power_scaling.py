"""Power-scaling against models whose scaled posteriors have a closed form, each check with its saboteur."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from mien.models.refit import effects_of
from mien.models.sensitivity import power_scaling, which_prior
from mien.models.sensitivity import scaling as module
from mien.models.sensitivity.parts import parts_of
from mien.models.sensitivity.scaling import COLUMNS, DIAGNOSES, THRESHOLD
from mien.models.sensitivity.weights import ALPHAS, distance_gradient, mean_and_mcse, weights_of
from mien.priors import Fixed, Flat, HalfStudentT, Normal
from mien.study.errors import FitError

Z = 4.0  # standard errors
CLOSE = 0.07  # of a gradient from 16,000 draws: 4 times its spread over repeated fits, 1.2 to 1.8 %


def distance(p, q, ends):
    """Cumulative Jensen-Shannon distance of two scipy distributions, by quadrature.

    ends : (low, high). The distance is relative to ∫ P + Q, so that it depends on how far the draws reach.
    """

    def one(below_p, below_q):
        def along(x):
            a, b = below_p(x), below_q(x)
            m = 0.5 * (a + b)
            return a * np.log2(a / m) + b * np.log2(b / m) if min(a, b) > 1e-300 else 0.0

        found = quad(along, *ends, limit=400, epsabs=0, epsrel=1e-10)[0]
        total = quad(lambda x: below_p(x) + below_q(x), *ends, limit=400)[0]
        return np.sqrt(max(found, 0.0) / total)

    return max(one(p.cdf, q.cdf), one(p.sf, q.sf))


def gradient(truth, values, place=0, part="prior"):
    """The closed form's gradient of the distance, between the ends of the draws `values`."""
    ends = values.min(), values.max()
    scaled = []
    for alpha in (1.0, *ALPHAS):
        mean, covariance = truth.posterior(alpha) if part == "prior" else truth.posterior(1.0, alpha)
        scaled.append(norm(mean[place], np.sqrt(covariance[place, place])))
    base, *others = scaled
    return np.mean(
        [
            distance(base, other, ends) / abs(np.log2(alpha))
            for other, alpha in zip(others, ALPHAS, strict=True)
        ]
    )


def weighted_gradient(values, density):
    lower, upper = (weights_of((alpha - 1.0) * density).weight for alpha in ALPHAS)
    return distance_gradient(values, lower, upper, ALPHAS)


# One mean with a known variance


@pytest.mark.parametrize("prior_mean", [0.0, 1.5, -2.0])
def test_derivatives_of_a_conjugate_mean(one_mean_of, prior_mean):
    case = one_mean_of(prior_mean)
    row = power_scaling(case.fit, draws=None, refit=False).iloc[0]
    assert abs(row["mean_shift"] - case.truth.mean_shift[0]) < Z * row["mean_shift_mcse"]
    assert abs(row["sd_shift"] - case.truth.sd_shift[0]) < 0.02
    assert row["parameter"] == "Intercept"


def test_saboteur_weights_of_the_wrong_sign(one_mean_of):
    case = one_mean_of(1.5)
    parts = parts_of(case.fit, None, None)
    shift, error, _ = module._shifts(parts.quantities["Intercept"], -parts.priors["Intercept"], parts.point)
    assert abs(shift - case.truth.mean_shift[0]) > Z * error


@pytest.mark.parametrize("part", ["prior", "likelihood"])
def test_distance_gradient_of_a_conjugate_mean(one_mean_of, part):
    apart, saboteur = [], []
    for seed in range(10):
        case = one_mean_of(1.2, seed=seed)
        parts = parts_of(case.fit, None, None)
        values = parts.quantities["Intercept"]
        found = weighted_gradient(values, parts.priors["Intercept"] if part == "prior" else parts.likelihood)
        wanted = gradient(case.truth, values, part=part)
        assert wanted > THRESHOLD
        apart.append(found / wanted - 1.0)
        saboteur.append(
            found / gradient(case.truth._replace(sd=case.truth.sd * 0.9), values, part=part) - 1.0
        )
    error = np.std(apart, ddof=1) / np.sqrt(len(apart))
    assert abs(np.mean(apart)) < Z * error
    assert abs(np.mean(saboteur)) > Z * error


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_means_with_priors_counted_half_and_twice(one_mean_of, power):
    case = one_mean_of(1.0)
    column = {0.5: "mean_half", 2.0: "mean_double"}[power]
    mean, covariance = case.truth.posterior(power)
    error = np.sqrt(covariance[0, 0] / 4000)  # of four chains of 4,000 a quarter of its square
    again = power_scaling(case.fit, draws=None, refit=True).iloc[0]
    weighted = power_scaling(case.fit, draws=None, refit=False).iloc[0]
    assert (again["how"], weighted["how"]) == ("refit", "reweighted")
    for row in (again, weighted):
        assert abs(row[column] - mean[0]) < Z * error
    assert again["refit_z"] < Z


def test_saboteur_a_prior_whose_sd_is_not_scaled(one_mean_of, monkeypatch):
    case = one_mean_of(1.0)
    monkeypatch.setattr(module, "power_scaled", lambda prior, alpha: prior)
    row = power_scaling(case.fit, draws=None, refit=True).iloc[0]
    assert row["refit_z"] > Z


def test_more_conflict_gives_a_larger_diagnostic(one_mean_of):
    rows = [power_scaling(one_mean_of(far, tau=0.3).fit, refit=False).iloc[0] for far in (0.3, 0.8, 1.5, 2.5)]
    prior = [row["prior"] for row in rows]
    assert prior == sorted(prior)
    assert prior[-1] > 3 * prior[0]
    assert rows[-1]["diagnosis"] == "prior-data conflict"
    assert rows[-1]["prior"] > THRESHOLD < rows[-1]["likelihood"]


def test_a_prior_that_says_nothing_and_one_that_says_all(one_mean_of):
    vague = power_scaling(one_mean_of(0.0, tau=50.0).fit, refit=False).iloc[0]
    strong = power_scaling(one_mean_of(0.3, tau=0.01).fit, refit=False).iloc[0]
    assert (vague["diagnosis"], vague["prior"] < 0.01) == ("-", True)
    assert strong["diagnosis"] == "strong prior or weak likelihood"


# Crossed effects with known variances


def test_derivatives_of_a_mixed_model(crossed_case):
    table = power_scaling(crossed_case.fit, draws=None, refit=False).set_index("parameter")
    for place, name in enumerate(("Intercept", "valence")):
        row = table.loc[name]
        assert abs(row["mean_shift"] - crossed_case.truth.mean_shift[place]) < Z * row["mean_shift_mcse"]
        assert abs(row["sd_shift"] - crossed_case.truth.sd_shift[place]) < 0.02
        values = crossed_case.fit["posterior"][name].to_numpy().ravel()
        assert abs(row["prior"] / gradient(crossed_case.truth, values, place) - 1.0) < CLOSE
        assert (
            abs(row["likelihood"] / gradient(crossed_case.truth, values, place, "likelihood") - 1.0) < CLOSE
        )


def test_saboteur_the_prior_part_with_the_distribution_of_effects(crossed_case):
    parts = parts_of(crossed_case.fit, None, None)
    of_effects = norm(0, 0.3).logpdf(effects_of(crossed_case.fit, None, "1|stimulus", "test")).sum(axis=1)
    values, right = parts.quantities["valence"], sum(parts.priors.values())
    wanted = gradient(crossed_case.truth, values, 1)
    found = [
        abs(weighted_gradient(values, density) / wanted - 1.0) for density in (right, right + of_effects)
    ]
    assert found[0] < CLOSE < found[1]


def test_saboteur_effects_not_integrated_out_of_the_likelihood(crossed_case):
    from mien.models.refit import outcome_of

    parts = parts_of(crossed_case.fit, None, None)
    outcome = outcome_of(crossed_case.fit)
    mean = (
        np.column_stack([parts.quantities["Intercept"], parts.quantities["valence"]])
        @ outcome.design.columns.T
    )
    for block in outcome.design.blocks:
        for j, term in enumerate(block.terms):
            u = effects_of(crossed_case.fit, None, f"{term}|{block.factor}", "test")
            mean = mean + u[:, block.codes] * block.columns[:, j]
    given = norm(mean, 0.7).logpdf(outcome.response).sum(axis=1)
    values = parts.quantities["Intercept"]
    wanted = gradient(crossed_case.truth, values, 0, "likelihood")
    found = [abs(weighted_gradient(values, density) / wanted - 1.0) for density in (parts.likelihood, given)]
    assert found[0] < CLOSE < found[1]


def test_one_prior_alone(crossed_case):
    """Scaling the prior of valence alone: its own closed form, with the intercept's prior counted as data."""
    truth = crossed_case.truth
    precision = np.linalg.inv(truth.c) + np.diag([truth.sd[0] ** -2.0, 0.0])
    c = np.linalg.inv(precision)
    b = c @ (np.linalg.inv(truth.c) @ truth.b + np.array([truth.mu[0] * truth.sd[0] ** -2.0, 0.0]))
    alone = truth._replace(b=b, c=c, sd=np.array([1e6, truth.sd[1]]))
    table = power_scaling(crossed_case.fit, draws=None, refit=False, parameters=("valence",)).set_index(
        "parameter"
    )
    row = table.loc["valence"]
    assert abs(row["mean_shift"] - alone.mean_shift[1]) < Z * row["mean_shift_mcse"]
    assert row["priors"] == "valence"
    by_prior = which_prior(crossed_case.fit, draws=None).set_index(["parameter", "prior_of"])["prior"]
    assert abs(by_prior["valence", "valence"] - row["prior"]) < 1e-9
    assert by_prior["valence", "valence"] > by_prior["valence", "Intercept"]


# Estimated variances


def test_refits_agree_with_weights(estimated_fit):
    table = power_scaling(estimated_fit)
    assert tuple(table.columns) == COLUMNS
    assert (table["how"] == "refit").all()
    assert set(table["diagnosis"]) <= set(DIAGNOSES)
    assert table["refit_z"].max() < Z
    assert (table["likelihood_part"] == "effects integrated out").all()
    assert set(table["parameter"]) == {
        "Intercept", "valence", "1|participant_sigma", "valence|participant_sigma", "1|stimulus_sigma", "sigma",
        "participant_corr[valence,1]",
    }  # fmt: skip


def test_shares_of_roles_add_up(estimated_fit):
    """Log densities add, so that derivatives at 1 do."""
    whole = power_scaling(estimated_fit, refit=False)["mean_shift"].to_numpy()
    roles = ("Intercept", "beta", "sd", "corr", "sigma")
    parts = [
        power_scaling(estimated_fit, refit=False, parameters=(role,))["mean_shift"].to_numpy()
        for role in roles
    ]
    assert np.abs(sum(parts) - whole).max() < 1e-9


def test_log_priors_are_those_of_scipy(estimated_fit):
    from scipy.stats import beta, halfnorm, t

    from mien.models.sensitivity.parts import priors_of

    parts, priors = parts_of(estimated_fit, None, None), priors_of(estimated_fit, None)
    q = parts.quantities
    for name, values in (
        ("sd:1|participant", q["1|participant_sigma"]),
        ("sd:1|stimulus", q["1|stimulus_sigma"]),
    ):
        assert np.allclose(parts.priors[name], halfnorm(scale=priors[name].sd).logpdf(values))
    half_t = priors["sigma"]
    assert isinstance(half_t, HalfStudentT)
    assert np.allclose(parts.priors["sigma"], t(half_t.df, scale=half_t.scale).logpdf(q["sigma"]) + np.log(2))
    r = (q["participant_corr[valence,1]"] + 1) / 2
    apart = parts.priors["corr:participant"] - beta(2, 2).logpdf(r)
    assert np.ptp(apart) < 1e-9
    assert np.allclose(parts.priors["valence"], norm(0, 1).logpdf(q["valence"]))


def test_draws_of_one_theta_are_no_independent_draws():
    values = np.repeat(np.random.default_rng(0).normal(size=100), 40)
    even, point = np.full(4000, 1 / 4000), np.repeat(np.arange(100), 40)
    error = mean_and_mcse(values, even, point)[1]
    assert 0.7 < error * 10 / values.std() < 1.3
    assert mean_and_mcse(values, even, np.arange(4000))[1] > 0


# Refusals


def test_what_is_refused(estimated_fit):
    with pytest.raises(FitError, match="parameters: expected names"):
        power_scaling(estimated_fit, parameters=("valnce",))
    with pytest.raises(FitError, match="alphas: expected"):
        power_scaling(estimated_fit, alphas=(1.0, 1.01))
    nuts = estimated_fit.copy()
    nuts.attrs = {**estimated_fit.attrs, "engine": "nuts"}
    with pytest.raises(FitError, match="its engine is nuts"):
        power_scaling(nuts, refit=True)
    assert (power_scaling(nuts)["how"] != "refit").all()
    rowless = estimated_fit.copy()
    del rowless["constant_data"]
    with pytest.raises(FitError, match="expected a fit that holds its rows"):
        power_scaling(rowless)


def test_a_prior_that_cannot_be_halved_is_reweighted(estimated_of):
    fit = estimated_of(sd=HalfStudentT(0.9, 0.5), valence=Normal(0, 1))
    table = power_scaling(fit)
    assert set(table["how"]) <= {"reweighted", "not reliable"}
    with pytest.raises(FitError, match="cannot be counted so"):
        power_scaling(fit, refit=True)
    flat = estimated_of(
        sd=Fixed(0.4), corr=Fixed(0.0), sigma=Fixed(0.7), Intercept=Flat(), valence=Flat()
    )  # nothing to scale
    table = power_scaling(flat, refit=False)
    assert (table["prior"] < 1e-6).all()
    assert (table["mean_shift"] == 0.0).all()
