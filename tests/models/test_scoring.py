"""A new person: against dense conditional normals a draw at a time, and against refitting with the person in."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal, norm

import mien
from mien.models.new_rows import new_table, person_rows
from mien.models.person_posterior import given_draws, person_posterior
from mien.models.refit import coefficients_of, effects_of, natural_of, outcome_of
from mien.models.scoring import _resampled, norms_of
from mien.priors import HalfNormal, Normal
from mien.study.errors import FitError, SpecError

_place = importlib.util.spec_from_file_location("dense_model", Path(__file__).with_name("dense_model.py"))
dense = importlib.util.module_from_spec(_place)
_place.loader.exec_module(dense)

PRIORS = {"Intercept": Normal(0, 2), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1)}


def study(participants=10, stimuli=8, bins=1, seed=0, holes=0.0):
    rng = np.random.default_rng(seed)
    p, s, b = (
        column.ravel()
        for column in np.meshgrid(np.arange(participants), np.arange(stimuli), np.arange(bins), indexing="ij")
    )
    keep = rng.random(len(p)) >= holes
    p, s, b = p[keep], s[keep], b[keep]
    sign = np.where(s % 2 == 0, -0.5, 0.5)
    y = 1.0 + 0.4 * sign + rng.normal(0, 0.7, participants)[p] + rng.normal(0, 0.5, participants)[p] * sign
    y += rng.normal(0, 0.3, stimuli)[s] + rng.normal(0, 0.6, len(p)) * (0.7 + 0.06 * p)
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "bin": b, "y": y,
         "valence": np.where(sign < 0, "negative", "positive"), "age": 20.0 + p,
         "medium": np.where(s < 4, "picture", "film"), "w": rng.uniform(0.3, 3.0, len(p))}
    )  # fmt: skip


CASES = {
    "slopes": ("y ~ valence + (valence | participant) + (1 | stimulus)", {}, {}),
    "two blocks, weights, strata": ("y ~ valence * age + (valence || participant) + (valence | stimulus)", {},
                                    {"weights": "w", "sigma_by": ("medium",)}),
    "series with holes": ("y ~ valence + (1 | participant) + (1 | stimulus)", {"bins": 4, "holes": 0.2},
                          {"residual": "ar1", "series": ("participant", "stimulus")}),
    "nested": ("y ~ valence + (valence | participant) + (1 | participant:medium) + (1 | stimulus)", {"bins": 2}, {}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A fit without p9, and without stimulus s7, which p9 has seen."""
    formula, table, fields = CASES[request.param]
    data = study(**table)
    old = data[(data["participant"] != "p9") & (data["stimulus"] != "s7")]
    fit = mien.fit(formula, old, engine="collapsed", draws=50, chains=2, priors=PRIORS, **fields)
    return fit, data[data["participant"] == "p9"]


def conditional(fit, rows, draw, sigma_times=1.0):
    """Mean and covariance of v, and log p(y_new | draw), by a dense joint normal of (v, y)."""
    outcome = outcome_of(fit)
    natural = natural_of(fit, None, outcome)
    covariances = dense.covariance_of_effects(outcome, natural, draw)
    prior = block_diag(
        covariances["participant"], *[covariances[n.factor] for n in rows.strange for _ in range(n.levels)]
    )
    z = np.concatenate([rows.own, *(n.columns for n in rows.strange)], axis=1)
    mean = rows.design @ coefficients_of(fit, None, outcome.design.coefficients)[draw]
    for key, level, column in rows.known:
        mean = mean + effects_of(fit, None, key, "test")[draw, level] * column
    sd = sigma_times * natural.sigma[draw, rows.stratum] / rows.root
    steps = np.cumsum(rows.gap)
    series = np.cumsum(rows.gap == 0)
    same = series[:, None] == series
    correlation = np.where(
        same, np.asarray(natural.rho[draw]) ** np.abs(steps[:, None] - steps).astype(float), 0.0
    )
    if (rows.gap == 0).all():
        correlation = np.eye(len(sd))
    marginal = z @ prior @ z.T + correlation * np.outer(sd, sd)
    gain = prior @ z.T @ np.linalg.inv(marginal)
    log_likelihood = multivariate_normal.logpdf(rows.response, mean, marginal)
    return gain @ (rows.response - mean), prior - gain @ z @ prior, log_likelihood


def fast(fit, new):
    table = new_table(fit, new, None)
    rows = person_rows(fit, table, None, "p9")
    known = norms_of(fit, None, outcome_of(fit))
    given = given_draws(rows, known.coefficients, known.effects, known.roots, known.sigma, known.rho)
    return rows, person_posterior(rows, given)


def moments_of_draw(posterior, draw):
    root = posterior.root[draw] @ np.linalg.inv(posterior.lower[draw]).T
    return posterior.root[draw] @ posterior.mean[draw], root @ root.T


def test_a_persons_effects_given_a_draw_are_the_dense_conditional_normal(case):
    rows, posterior = fast(*case)
    assert rows.strange  # stimulus s7 is new
    for draw in (0, 31, 99):
        mean, covariance, log_likelihood = conditional(case[0], rows, draw)
        found = moments_of_draw(posterior, draw)
        np.testing.assert_allclose(found[0], mean, atol=1e-8)
        np.testing.assert_allclose(found[1], covariance, atol=1e-8)
        assert posterior.log_likelihood[draw] == pytest.approx(log_likelihood, rel=1e-9)


def test_saboteur_a_wrong_sigma_is_seen(case):
    rows, posterior = fast(*case)
    mean, _, log_likelihood = conditional(case[0], rows, 0, sigma_times=1.05)
    assert np.abs(moments_of_draw(posterior, 0)[0] - mean).max() > 1e-6
    assert posterior.log_likelihood[0] != pytest.approx(log_likelihood, rel=1e-6)


def test_draws_have_the_moments_they_should(case):
    fit, new = case
    rows, posterior = fast(fit, new)
    rng = np.random.default_rng(0)
    drawn = np.stack([posterior.draw(rng)[7] for _ in range(4000)])
    mean, covariance, _ = conditional(fit, rows, 7)
    error = np.sqrt(np.diag(covariance) / len(drawn))
    assert (np.abs(drawn.mean(axis=0) - mean) < 4 * error + 1e-12).all()
    np.testing.assert_allclose(
        drawn.var(axis=0), np.diag(covariance), rtol=4 * np.sqrt(2 / len(drawn)), atol=1e-12
    )


# Norms updated = refitting

SLOPES = "y ~ valence + (valence | participant) + (1 | stimulus)"


@pytest.fixture(scope="module")
def refits():
    data = study(seed=2)
    old, new = data[data["participant"] != "p9"], data[data["participant"] == "p9"]
    fits = [
        mien.fit(SLOPES, table, engine="collapsed", draws=2000, priors=PRIORS, seed=seed)
        for seed, table in ((1, old), (2, data))
    ]
    return fits[0], fits[1], new


def reference(fit):
    """Mean, sd and effective size of p9's effects in a fit that has them."""
    weight = fit["sample_stats"]["smoothed_weight"].to_numpy().ravel()
    point = fit["sample_stats"]["point"].to_numpy().ravel()
    ess = 0.7 * len(np.unique(point)) if len(weight) else 0.0
    found = {}
    for term in ("1", "valence"):
        draws = fit["posterior"][f"{term}|participant"].sel(participant="p9").to_numpy().astype(float)
        found[term] = draws.mean(), draws.std(), draws.std() / np.sqrt(ess)
    return found


def disagreement(scored, wanted):
    """Largest difference of means in combined errors, and of sds."""
    worst, ratio = 0.0, 0.0
    for term, (mean, sd, error) in wanted.items():
        draws = scored["effect"].sel(participant="p9", participant_term=term).to_numpy()
        mine = draws.std() / np.sqrt(
            float(scored["ess"].item()) if np.isfinite(scored["ess"]) else draws.size
        )
        worst = max(worst, abs(draws.mean() - mean) / np.hypot(mine, error))
        ratio = max(ratio, abs(draws.std() / sd - 1))
    return worst, ratio


def test_norms_updated_is_the_posterior_of_a_fit_with_the_person_in(refits):
    old, full, new = refits
    scored = mien.score(old, new, norms="updated")
    assert float(scored["khat"].max()) < 0.5
    assert float(scored["ess"].min()) > 400
    worst, ratio = disagreement(scored, reference(full))
    assert worst < 4
    assert ratio < 0.06


def test_saboteurs_weights_ignored_or_flipped_or_the_person_counted_twice_are_seen(refits):
    """An unusual person moves the population: each wrong weight gives another posterior."""
    old, full, new = refits
    strange = new.assign(y=new["y"] + np.where(new["valence"] == "positive", 3.0, -1.0))
    data = pd.concat([study(seed=2).query("participant != 'p9'"), strange])
    refit = mien.fit(SLOPES, data, engine="collapsed", draws=2000, priors=PRIORS, seed=4)
    wanted = reference(refit)
    fixed = mien.score(old, strange)
    assert disagreement(fixed, wanted)[0] > 4
    twice = mien.score(old, pd.concat([new, new]), norms="updated")
    assert disagreement(twice, reference(full))[1] > 0.06
    rows = person_rows(old, new_table(old, strange, None), None, "p9")
    known = norms_of(old, None, outcome_of(old))
    posterior = person_posterior(
        rows, given_draws(rows, known.coefficients, known.effects, known.roots, known.sigma, known.rho)
    )
    tau = {
        sign: known.sd[_resampled(sign * posterior.log_likelihood, np.random.default_rng(0))[0], 1].mean()
        for sign in (-1.0, 1.0)
    }
    truth = float(refit["posterior"]["valence|participant_sigma"].mean())
    assert abs(tau[-1.0] - truth) > 3 * abs(tau[1.0] - truth)


# What the table says


def test_without_rows_the_percentile_is_uniform_and_the_contrast_that_of_the_population(refits):
    old, _, new = refits
    scored = mien.score(old, new.iloc[:0])
    assert scored["participant"].values.tolist() == ["new"]
    place = np.sort(scored["percentile"].sel(participant_term="valence").to_numpy().ravel())
    assert np.abs(place - (np.arange(len(place)) + 0.5) / len(place)).max() < 1.63 / np.sqrt(len(place)) * 1.2
    fixed = (scored["contrast"] - scored["effect"]).sel(participant_term="valence", participant="new")
    np.testing.assert_allclose(fixed, old["posterior"]["valence"])
    assert np.isnan(scored["unshrunk"]).all()
    assert int(scored["rows"].item()) == 0
    assert int(scored["reference_size"]) == 9


def test_the_percentile_is_that_of_the_effect_in_its_own_draw(refits):
    old, _, new = refits
    scored = mien.score(old, new)
    tau = old["posterior"]["1|participant_sigma"]
    wanted = norm.cdf(scored["effect"].sel(participant_term="1", participant="p9") / tau)
    np.testing.assert_allclose(scored["percentile"].sel(participant_term="1", participant="p9"), wanted)


def test_the_unshrunk_contrast_is_the_difference_of_means_less_the_stimuli(refits):
    old, _, new = refits
    scored = mien.score(old, new).sel(participant="p9", participant_term="valence")
    by = new.groupby("valence")["y"].mean()
    assert float(scored["observed"]) == pytest.approx(by["positive"] - by["negative"])
    u = old["posterior"]["1|stimulus"].mean(("chain", "draw")).to_series()
    sign = new.groupby("stimulus")["valence"].first().map({"negative": -0.25, "positive": 0.25})
    assert float(scored["unshrunk"]) == pytest.approx(
        by["positive"] - by["negative"] - (u * sign).sum(), rel=1e-5
    )
    sigma2 = float((old["posterior"]["sigma"] ** 2).mean())
    assert float(scored["unshrunk_se"]) > np.sqrt(sigma2 * (1 / 4 + 1 / 4))
    strange = new.assign(y=new["y"] + np.where(new["valence"] == "positive", 4.0, 0.0))
    assert (
        float(mien.score(old, strange).sel(participant_term="valence")["observed_percentile"].item()) > 0.99
    )


def test_one_valence_alone_tells_no_unshrunk_answer(refits):
    old, _, new = refits
    scored = mien.score(old, new[new["valence"] == "positive"])
    assert np.isnan(scored["unshrunk"]).all()
    assert float(scored["effect"].sel(participant_term="1").std()) < float(
        old["posterior"]["1|participant_sigma"].mean()
    )


def test_a_persons_properties_are_part_of_the_contrast():
    data = study(seed=5)
    old, new = data[data["participant"] != "p9"], data[data["participant"] == "p9"]
    fit = mien.fit("y ~ valence * age + medium + (valence || participant)", old, engine="collapsed", draws=100,
                   priors=PRIORS)  # fmt: skip
    scored = mien.score(fit, new).sel(participant="p9")
    posterior = fit["posterior"]
    fixed = scored["contrast"] - scored["effect"]
    np.testing.assert_allclose(
        fixed.sel(participant_term="valence"),
        posterior["valence"] + 29.0 * posterior["valence:age"],
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        fixed.sel(participant_term="1"), posterior["Intercept"] + 29.0 * posterior["age"], rtol=1e-9
    )


def test_a_sigma_by_participant_is_estimated_from_few_rows_towards_the_population():
    data = study(participants=12, stimuli=12, seed=6)
    old, new = data[data["participant"] != "p9"], data[data["participant"] == "p9"]
    loud = new.assign(y=new["y"].mean() + 3.0 * (new["y"] - new["y"].mean()))
    fit = mien.fit("y ~ valence + (1 | participant)", old, engine="collapsed", draws=250, priors=PRIORS,
                   sigma_by=("participant",))  # fmt: skip
    quiet, noisy = (mien.score(fit, table)["sigma"] for table in (new, loud))
    assert float(noisy.mean()) > 1.2 * float(quiet.mean())
    nothing = mien.score(fit, new.iloc[:0])["sigma"]
    logs = np.log(fit["posterior"]["sigma"])
    assert float(np.log(nothing).mean()) == pytest.approx(float(logs.mean()), abs=0.05)


def test_shapes_and_several_persons(trials_maker):
    data = trials_maker(participants=8, stimuli=8)
    away = data["participant"].isin(["03", "05"])
    fit = mien.fit(mien.models.valence(), data[~away], engine="collapsed", draws=100)
    new = data[away & ~((data["participant"] == "05") & (data["blend_shape"] == "mouthFrown"))]
    scored = mien.score(fit, new)
    assert scored["effect"].dims == ("chain", "draw", "blend_shape", "participant", "participant_term")
    assert scored["rows"].sel(participant="05").values.tolist() == [0 if s == "mouthFrown" else 8 for s in
                                                                  scored["blend_shape"].values]  # fmt: skip
    alone = mien.score(fit, new[new["participant"] == "05"])
    np.testing.assert_array_equal(
        alone["effect"].sel(participant="05"), scored["effect"].sel(participant="05")
    )


def test_clear_refusals(refits, trials_maker):
    old, _, new = refits
    with pytest.raises(FitError, match="p1, who would count twice"):
        mien.score(old, new.assign(participant="p1"))
    with pytest.raises(FitError, match="norms: expected one of fixed, updated"):
        mien.score(old, new, norms="both")
    with pytest.raises(
        SpecError, match=r"valence: expected one of the fit's levels .negative, positive., found 'neutral'"
    ):
        mien.score(old, new.assign(valence="neutral"))
    with pytest.raises(SpecError, match="stimulus"):
        mien.score(old, new.drop(columns="stimulus"))
    bare = mien.fit(SLOPES, study(), engine="collapsed", draws=25, group_effects=False)
    with pytest.raises(FitError, match="group_effects=True"):
        mien.score(bare, new)
    stimuli = mien.fit("y ~ valence + (1 | stimulus)", study(), engine="collapsed", draws=25)
    with pytest.raises(FitError, match="group term of participant"):
        mien.score(stimuli, new)
    data = trials_maker(participants=4, stimuli=6, shapes=("mouthSmile",))
    fit = mien.fit(mien.models.valence(), data[data["participant"] != "03"], engine="collapsed", draws=25)
    other = data[data["participant"] == "03"].assign(tracker=pd.Categorical(["mediapipe"] * 6))
    with pytest.raises(FitError, match=r"expected the fit's tracker .arkit., found mediapipe"):
        mien.score(fit, other)
