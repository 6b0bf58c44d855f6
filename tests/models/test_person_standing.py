"""A person of the fit: against dense normals, against scoring with norms updated, and against simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm

import mien
from mien.models import session_change, standing
from mien.models.person_standing import rows_of_person
from mien.models.refit import coefficients_of, effects_of, natural_of, outcome_of
from mien.models.retest import sessions_of
from mien.priors import Fixed, HalfNormal, Normal
from mien.study.errors import FitError
from tests.models import dense_model as dense

PRIORS = {"Intercept": Normal(0, 2), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1)}
SLOPES = "y ~ valence + (valence | participant) + (1 | stimulus)"


def study(participants=9, stimuli=8, bins=1, seed=0, holes=0.0, sessions=1):
    rng = np.random.default_rng(seed)
    p, v, s, b = (
        column.ravel()
        for column in np.meshgrid(
            *(np.arange(n) for n in (participants, sessions, stimuli, bins)), indexing="ij"
        )
    )
    keep = rng.random(len(p)) >= holes
    p, v, s, b = p[keep], v[keep], s[keep], b[keep]
    sign = np.where(s % 2 == 0, -0.5, 0.5)
    y = 1.0 + 0.4 * sign + rng.normal(0, 0.7, participants)[p] + rng.normal(0, 0.5, participants)[p] * sign
    y += rng.normal(0, 0.3, stimuli)[s] + rng.normal(0, 0.6, len(p)) * (0.7 + 0.06 * p)
    y += 0.5 * v * sign + rng.normal(0, 0.3, (participants, sessions))[p, v] * sign
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "session": [f"{i + 1}" for i in v], "stimulus": [f"s{i}" for i in s],
         "bin": b, "y": y, "valence": np.where(sign < 0, "negative", "positive"), "age": 20.0 + p,
         "medium": np.where(s < 4, "picture", "film"), "w": rng.uniform(0.3, 3.0, len(p))}
    )  # fmt: skip


CASES = {
    "slopes": (SLOPES, {}, {}),
    "two blocks, weights, strata": ("y ~ valence * age + (valence || participant) + (valence | stimulus)", {},
                                    {"weights": "w", "sigma_by": ("medium",)}),
    "series with holes": ("y ~ valence + (1 | participant) + (1 | stimulus)", {"bins": 4, "holes": 0.2},
                          {"residual": "ar1", "series": ("participant", "stimulus")}),
    "nested, own stimulus": ("y ~ valence + (valence | participant) + (valence | participant:medium) + (1 | stimulus)",
                             {"bins": 2}, {}),
    "sigma by participant": (SLOPES, {"bins": 2}, {"sigma_by": ("participant",)}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A fit with p3, who has a stimulus of their own in one of the cases."""
    formula, table, fields = CASES[request.param]
    data = study(**table)
    if "own stimulus" in request.param:
        data.loc[(data["participant"] == "p3") & (data["stimulus"] == "s7"), "stimulus"] = "s_own"
    return mien.fit(formula, data, engine="collapsed", draws=40, chains=2, priors=PRIORS, **fields)


def by_dense_normals(fit, person, shrink_known=1.0):
    """Mean over draws of Φ((observed − expected of a new person) / sd), and the unshrunk estimate with its error.

    From the covariance of all of the person's rows; levels that only this person has are noise.
    """
    outcome = outcome_of(fit)
    natural, design = natural_of(fit, None, outcome), outcome.design
    mine = next(block for block in design.blocks if block.factor == "participant")
    at = np.flatnonzero(mine.codes == mine.levels.index(person))
    own = np.concatenate([b.columns for b in design.blocks if b.factor == "participant"], axis=1)[at]
    root = outcome.root_precision[at]
    contrast = np.linalg.pinv(own * root[:, None]) * root
    coefficients = coefficients_of(fit, None, design.coefficients)
    weights = np.array(
        [[(design.columns[at, c] / own[:, t])[own[:, t] != 0].mean()
          if name.split(":")[0] == ("Intercept" if t == 0 else "valence") or (t == 0 and name == "age") else 0.0
          for c, name in enumerate(design.coefficients)] for t in range(own.shape[1])]
    )  # fmt: skip
    places, estimates, noises = [], [], []
    for draw in range(len(coefficients)):
        of_effects = dense.covariance_of_effects(outcome, natural, draw)
        noise = dense.residual_covariance(outcome, natural, draw)[np.ix_(at, at)]
        mean = design.columns[at] @ coefficients[draw]
        for factor in dict.fromkeys(b.factor for b in design.blocks if b.factor != "participant"):
            blocks = [b for b in design.blocks if b.factor == factor]
            codes, matrix = blocks[0].codes, np.concatenate([b.columns for b in blocks], axis=1)
            terms = [f"{term}|{factor}" for b in blocks for term in b.terms]
            for row, place in enumerate(at):
                if set(np.flatnonzero(codes == codes[place])) - set(at):
                    for k, key in enumerate(terms):
                        mean[row] += (
                            shrink_known
                            * effects_of(fit, None, key, "t")[draw, codes[place]]
                            * matrix[place, k]
                        )
                else:
                    same = np.flatnonzero(codes[at] == codes[place])
                    noise[row, same] += matrix[place] @ of_effects[factor] @ matrix[at[same]].T
        whole = own @ of_effects["participant"] @ own.T + noise
        away = contrast @ (outcome.response[at] - mean)
        places.append(norm.cdf(away / np.sqrt(np.diag(contrast @ whole @ contrast.T))))
        estimates.append(away + weights @ coefficients[draw])
        noises.append(np.diag(contrast @ noise @ contrast.T))
    estimates = np.array(estimates)
    return (np.mean(places, axis=0), estimates.mean(axis=0),
            np.sqrt(np.mean(noises, axis=0) + estimates.var(axis=0)))  # fmt: skip


def test_what_the_rows_alone_say_is_that_of_dense_normals(case):
    found = standing(case, "p3").isel(participant=0)
    place, estimate, error = by_dense_normals(case, "p3")
    np.testing.assert_allclose(found["observed_percentile"], place, atol=1e-8)
    np.testing.assert_allclose(found["unshrunk"], estimate, atol=1e-8)
    np.testing.assert_allclose(found["unshrunk_se"], error, atol=1e-8)


def test_saboteurs_of_the_dense_normals_are_seen(case):
    found = standing(case, "p3").isel(participant=0)
    place, estimate, _ = by_dense_normals(
        case, "p3", shrink_known=0.5
    )  # half of the stimuli's effects forgotten
    assert np.abs(found["unshrunk"] - estimate).max() > 1e-4
    other = standing(case, "p4").isel(participant=0)
    assert np.abs(other["observed_percentile"] - place).max() > 1e-2


def test_effects_and_percentiles_are_those_of_the_fits_own_draws(case):
    found = standing(case, "p3").sel(participant="p3", participant_term="1")
    posterior = case["posterior"]
    effect, tau = posterior["1|participant"].sel(participant="p3"), posterior["1|participant_sigma"]
    np.testing.assert_array_equal(found["effect"], effect)
    np.testing.assert_allclose(found["percentile"], norm.cdf(effect.astype(float) / tau), atol=1e-12)
    assert np.abs(found["percentile"] - norm.cdf(effect / float(tau.median()))).max() > 1e-3  # not of one tau
    assert int(found["reference_size"]) == 9
    assert int(found["rows"]) == len(rows_of_person(outcome_of(case), "p3").response)


def test_contrasts_are_those_of_the_table_of_persons(case):
    table = mien.models.person_effects(case).query("participant == 'p3'").set_index("effect")["mean"]
    found = standing(case, "p3").isel(participant=0)["contrast"].mean(("chain", "draw")).to_series()
    for term, value in found.items():
        assert value == pytest.approx(table["Intercept" if term == "1" else term], rel=1e-9)


def test_the_persons_own_sigma_is_told_where_the_fit_has_one(case):
    found = standing(case, "p3")
    by_person = "participant" in case["posterior"]["sigma"].dims
    assert ("sigma" in found) == by_person
    if by_person:
        np.testing.assert_array_equal(
            found["sigma"].sel(participant="p3"), case["posterior"]["sigma"].sel(participant="p3")
        )


# Another way to the same: a fit without the person, and norms updated


@pytest.fixture(scope="module")
def refits():
    data = study(10, seed=2)
    old, new = data[data["participant"] != "p9"], data[data["participant"] == "p9"]
    fits = [
        mien.fit(SLOPES, table, engine="collapsed", draws=1500, priors=PRIORS, seed=seed)
        for seed, table in ((1, old), (2, data))
    ]
    return mien.score(fits[0], new, norms="updated").sel(participant="p9"), fits[1]


def apart(scored, found):
    """Largest difference in Monte-Carlo errors over terms, of percentile and contrast."""
    worst = 0.0
    for name in ("percentile", "contrast"):
        for term in ("1", "valence"):
            a, b = (one[name].sel(participant_term=term).to_numpy().ravel() for one in (scored, found))
            error = np.hypot(a.std() / np.sqrt(float(scored["ess"])), b.std() / np.sqrt(0.5 * len(b)))
            worst = max(worst, abs(a.mean() - b.mean()) / error)
    return worst


def test_standing_is_what_scoring_with_norms_updated_finds(refits):
    scored, full = refits
    found = standing(full, "p9").isel(participant=0)
    assert apart(scored, found) < 4
    np.testing.assert_allclose(found["observed"], scored["observed"])
    np.testing.assert_allclose(found["observed_percentile"], scored["observed_percentile"], atol=0.03)
    np.testing.assert_allclose(
        found["unshrunk"], scored["unshrunk"], atol=0.25 * float(found["unshrunk_se"].max())
    )


def test_saboteur_another_person_stands_elsewhere(refits):
    scored, full = refits
    assert apart(scored, standing(full, "p8").isel(participant=0)) > 4


# Simulation: percentiles of persons drawn from the model


@pytest.fixture(scope="module")
def many():
    """400 persons with few trials each, of a population that is known: their percentiles and true places."""
    rng = np.random.default_rng(7)
    persons, trials, tau, sigma = 400, 6, 0.5, 1.0
    sign = np.tile([-0.5, 0.5], trials // 2)
    answer, level = rng.normal(0, tau, persons), rng.normal(0, 0.3, persons)
    y = level[:, None] + (0.4 + answer[:, None]) * sign + rng.normal(0, sigma, (persons, trials))
    data = pd.DataFrame(
        {"participant": np.repeat([f"p{i}" for i in range(persons)], trials), "y": y.ravel(),
         "valence": np.tile(np.where(sign < 0, "negative", "positive"), persons)}
    )  # fmt: skip
    priors = {"Intercept": Normal(0, 1), "beta": Normal(0, 1), "sigma": Fixed(sigma),
              "sd:1|participant": Fixed(0.3), "sd:valence|participant": Fixed(tau)}  # fmt: skip
    fit = mien.fit(
        "y ~ valence + (valence || participant)", data, engine="collapsed", draws=100, chains=2, priors=priors
    )
    found = [
        standing(fit, f"p{i}").sel(participant_term="valence").isel(participant=0)
        for i in range(0, persons, 2)
    ]
    draws = np.array([one["percentile"].to_numpy().ravel() for one in found])
    return draws, np.array([float(one["observed_percentile"]) for one in found]), norm.cdf(answer[::2] / tau)


def covered(draws, truth):
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    return np.mean((low < truth) & (truth < high))


def test_true_places_lie_in_the_percentiles_as_often_as_they_should(many):
    draws, _, truth = many
    rank = (draws < truth[:, None]).mean(axis=1)
    assert kstest(rank, "uniform").pvalue > 0.01
    assert abs(covered(draws, truth) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / len(truth))


def test_places_of_observed_contrasts_are_uniform_among_persons(many):
    assert kstest(many[1], "uniform").pvalue > 0.01


def test_saboteur_shrunken_places_are_not_uniform_and_others_truths_are_not_covered(many):
    draws, _, truth = many
    assert kstest(np.median(draws, axis=1), "uniform").pvalue < 1e-4  # shrinkage makes everyone look ordinary
    assert covered(draws, np.roll(truth, 1)) < 0.9


# Edges


def test_a_person_without_rows_in_a_shape_has_the_population(trials_maker):
    trials = trials_maker(participants=6)
    mine = (trials["participant"] == "03") & (trials["blend_shape"] == "mouthFrown")
    fit = mien.fit(
        "activation ~ valence + (valence | participant)", trials[~mine], engine="collapsed", draws=200
    )
    found = standing(fit, "03").isel(participant=0).sel(participant_term="valence")
    assert found["rows"].to_series().to_dict()["mouthFrown"] == 0
    frown = found.sel(blend_shape="mouthFrown")
    assert np.isnan(frown["unshrunk"])
    place = frown["percentile"].to_numpy().ravel()
    assert abs(place.mean() - 0.5) < 0.06
    assert abs(place.std() - np.sqrt(1 / 12)) < 0.03
    assert np.isfinite(found.sel(blend_shape="mouthSmile")["unshrunk"])


def test_clear_refusals(refits, case):
    _, full = refits
    with pytest.raises(FitError, match=r"found 'nobody': score others by mien\.score"):
        standing(full, "nobody")
    data = study(4)
    with pytest.raises(FitError, match=r"add \(1 \| participant\)"):
        standing(mien.fit("y ~ valence + (1 | stimulus)", data, draws=20), "p1")
    with pytest.raises(FitError, match="stored group effects"):
        standing(mien.fit(SLOPES, data, draws=20, group_effects=False), "p1")
    with pytest.raises(FitError, match="two sessions of 'p3'"):
        session_change(case, "p3")


# Change between sessions


RETEST = "y ~ valence + session + valence:session + (valence | participant) + (valence | participant:session)"


@pytest.fixture(scope="module", params=[2, 3])
def retest(request):
    data = study(12, sessions=request.param, bins=2, seed=5)
    return mien.fit(RETEST, data, engine="collapsed", draws=400, priors=PRIORS)


def test_change_is_the_difference_of_the_persons_answers_in_two_sessions(retest):
    found = session_change(retest, "p3", delta=0.5)
    count = len(sessions_of(retest, "p3"))
    assert found["before"].tolist() == ["1", "2"][: count - 1]
    assert found["retested"].tolist() == [12] * (count - 1)
    posterior = retest["posterior"]
    own = posterior["valence|participant:session"]
    limit = 0.5 * float(posterior["valence|participant_sigma"].median())
    if count == 2:
        fixed = [0.5 * posterior["valence:session"] * sign for sign in (-1, 1)]
    else:
        parts = [posterior[f"valence:session[{level}]"] for level in ("1", "2")]
        fixed = [*parts, -parts[0] - parts[1]]
    for place, line in enumerate(found.to_dict("records")):
        alone = own.sel({"participant:session": f"p3:{place + 2}"}) - own.sel(
            {"participant:session": f"p3:{place + 1}"}
        )
        whole = alone + fixed[place + 1] - fixed[place]
        assert line["mean"] == pytest.approx(float(whole.mean()), rel=1e-4)
        assert line["own_mean"] == pytest.approx(float(alone.mean()), rel=1e-4)
        assert line["delta"] == pytest.approx(limit)
        assert line["p_rise"] == pytest.approx(float((alone > limit).mean()), abs=1e-3)
        assert line["p_fall"] == pytest.approx(float((alone < -limit).mean()), abs=1e-3)
        assert abs(line["mean"] - line["own_mean"]) > 0.05  # saboteur: practice forgotten is another number


def test_a_change_that_was_put_in_is_found_and_practice_is_not_taken_for_it():
    data = study(12, sessions=2, bins=4, seed=6)
    sign = np.where(data["valence"] == "positive", 0.5, -0.5)
    practice = np.where(data["session"] == "2", 1.5, 0.0) * sign  # everyone's
    mine = np.where((data["session"] == "2") & (data["participant"] == "p3"), 2.5, 0.0) * sign
    fit = mien.fit(
        RETEST, data.assign(y=data["y"] + practice + mine), engine="collapsed", draws=400, priors=PRIORS
    )
    assert float(session_change(fit, "p3")["p_rise"].iloc[0]) > 0.95
    others = pd.concat([session_change(fit, f"p{i}") for i in range(12) if i != 3])
    assert others["p_rise"].max() < 0.95
    assert others["own_mean"].abs().median() < 0.5
    assert (others["mean"] > others["delta"]).all()  # saboteur: practice taken for everyone's own change
