"""Prior predictive checks: the prior's tree is read as a fit is, and what is wrong by a factor of a hundred is told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.models import (
    ModelSpec,
    co_activation,
    curves,
    effects,
    person_effects,
    reliability,
    task,
    time,
    traits,
    valence,
)
from mien.models.engines.problem import Outcome
from mien.models.fitting import make_problem
from mien.models.replicates import posterior_predictive
from mien.priors import LKJ, Fixed, Flat, HalfNormal, LogNormal, Normal, scaled
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.simulation.model_draws import draw_hyperparameters
from mien.simulation.prior_predictive import LIMITS, REASONS, Limits, prior_draws, prior_predictive
from mien.simulation.prior_predictive.possible import possible_of, possible_values
from mien.study.errors import FitError, SpecError

GAUSSIAN = "activation ~ valence + (valence | participant) + (1 | stimulus)"
RAW = GAUSSIAN.replace("activation", "raw")


@pytest.fixture(scope="module")
def simulated():
    """Twelve persons, sixteen stimuli, four shapes: raw in [0, 1], activation a change."""
    truth = draw_truth(np.random.default_rng(1), shapes=["mouthSmile", "mouthFrown", "browDown", "jawOpen"], factors=2,
                       between=1, terms=("Intercept", "valence"))  # fmt: skip
    made = simulate_factors(truth, np.random.default_rng(2), participants=12, stimuli=16)
    rng = np.random.default_rng(3)
    change = 0.4 * made.trials["activation"].to_numpy()
    baseline = rng.uniform(0.1, 0.2, len(change))
    raw = np.clip(change - change.mean() + baseline, 0.0, 0.99)
    stimulus = made.trials["stimulus"].cat.codes.to_numpy()
    trials = made.trials.assign(
        medium=pd.Categorical.from_codes(stimulus // 2 % 2, ["picture", "film"], ordered=True),
        raw=raw.astype("float32"),
        baseline=baseline.astype("float32"),
        activation=(raw - baseline).astype("float32"),
    )
    people = pd.DataFrame({
        "participant_id": [f"sub-{name}" for name in trials["participant"].cat.categories],
        "empathy": rng.normal(size=12),
    })  # fmt: skip
    return trials, people


@pytest.fixture(scope="module")
def trials(simulated):
    return simulated[0]


@pytest.fixture(scope="module")
def smile(trials):
    rows = trials[trials["blend_shape"] == "mouthSmile"]
    return rows.assign(blend_shape=rows["blend_shape"].cat.remove_unused_categories()).reset_index(drop=True)


@pytest.fixture(scope="module")
def binned(smile):
    """Six bins of each trial."""
    rng = np.random.default_rng(4)
    bins = [
        smile.assign(
            bin=np.int16(k), time=np.float32(0.25 + 0.5 * k),
            activation=(smile["activation"] + rng.normal(0, 0.01, len(smile))).astype("float32"),
        )
        for k in range(6)
    ]  # fmt: skip
    return pd.concat(bins, ignore_index=True)


def times(spec, data, factor, participants=None, only=""):
    """The spec with its priors so many times as wide."""
    outcome = make_problem(spec, data, participants)[0].outcomes[0]
    priors = {
        name: wider(own.prior, factor) for name, own in outcome.priors.items()
        if not isinstance(own.prior, LKJ) and name != "rho" and only in name
    }  # fmt: skip
    return replace(spec, priors=priors)


def wider(prior, factor):
    return Normal(prior.mean, prior.sd * factor) if isinstance(prior, Normal) else scaled(prior, factor)


def flagged(result):
    rows = result.table[result.table["verdict"] != "as expected"]
    return set(zip(rows["check"], rows["verdict"], strict=True))


# The tree


def test_the_prior_is_read_as_a_fit_is(trials):
    tree = prior_draws(GAUSSIAN, trials, draws=80, seed=1)
    assert tree.attrs["engine"] == "prior"
    assert tree.attrs["diagnostics"] == "passed"
    assert tree["posterior"].sizes["chain"] * tree["posterior"].sizes["draw"] == 80
    assert len(effects(tree)) == 4
    assert len(person_effects(tree)) == 4 * 2 * 12
    assert set(reliability(tree)["effect"]) == {"Intercept", "valence"}
    assert posterior_predictive(tree, seed=1)["outcome"].shape == (4, 20, 4, 192)


def test_a_shape_has_the_same_draws_whichever_others_are_there(trials, smile):
    alone, among = (
        prior_draws(GAUSSIAN, smile, draws=40, seed=7),
        prior_draws(GAUSSIAN, trials, draws=40, seed=7),
    )
    mine = among["posterior"].dataset.sel(blend_shape="mouthSmile")
    for name in ("valence", "sigma", "participant_corr", "valence|participant"):
        assert np.array_equal(alone["posterior"][name].to_numpy()[:, :, 0], mine[name].to_numpy())
    other = prior_draws(GAUSSIAN, smile, draws=40, seed=8)
    assert not np.array_equal(alone["posterior"]["valence"], other["posterior"]["valence"])


def test_hyperparameters_are_those_drawn_one_world_at_a_time(smile):
    formula = "activation ~ valence + trial + (valence + trial | participant)"
    tree = prior_draws(formula, smile, draws=2000, seed=2)
    outcome: Outcome = make_problem(ModelSpec(formula), smile)[0].outcomes[0]
    rng = np.random.default_rng(3)
    worlds = [draw_hyperparameters(outcome, rng) for _ in range(2000)]
    posterior = tree["posterior"].dataset.isel(blend_shape=0)
    pairs = {
        "sigma": (posterior["sigma"], [world.sigma[0] for world in worlds]),
        "sd": (posterior["trial|participant_sigma"], [world.sds["trial|participant"] for world in worlds]),
        "corr 0 1": (posterior["participant_corr"][..., 0, 1], [world.correlations[0][0, 1] for world in worlds]),
        "corr 1 2": (posterior["participant_corr"][..., 1, 2], [world.correlations[0][1, 2] for world in worlds]),
        "det": (
            np.linalg.det(posterior["participant_corr"].to_numpy()),
            [np.linalg.det(world.correlations[0]) for world in worlds],
        ),
    }  # fmt: skip
    for name, (ours, theirs) in pairs.items():
        assert apart(ours, theirs) < 4, name
    assert apart(2 * np.asarray(pairs["sd"][0]), pairs["sd"][1]) > 4
    assert apart(np.ones(2000), pairs["det"][1]) > 4


def apart(ours, theirs):
    """The largest difference of shares below quantiles, in standard errors."""
    ours, theirs = np.ravel(ours), np.ravel(theirs)
    found = []
    for prob in (0.05, 0.25, 0.5, 0.75, 0.95):
        share = (ours < np.quantile(theirs, prob)).mean()
        found.append(abs(share - prob) / np.sqrt(prob * (1 - prob) * (1 / len(ours) + 1 / len(theirs))))
    return max(found)


def test_a_row_has_the_sum_of_its_variances(smile):
    """Var(y) = sd² of intercept + x² sd² + E[sd²] of all effects + σ², with HalfNormal E[sd²] = scale²."""
    priors = {
        "Intercept": Normal(0, 0.3), "valence": Normal(0, 0.4), "sd:1|participant": HalfNormal(0.2),
        "sd:valence|participant": HalfNormal(0.5), "sd:1|stimulus": HalfNormal(0.3), "sigma": Fixed(0.25),
        "corr:participant": Fixed(0.9),
    }  # fmt: skip
    spec = ModelSpec(GAUSSIAN, priors=priors)
    y = posterior_predictive(prior_draws(spec, smile, draws=8000, seed=5), seed=6)["outcome"].to_numpy()
    values = y.reshape(8000, -1).astype(float)
    positive = (smile["valence"] == "positive").to_numpy()
    mean_sds = 2 / np.pi * 0.2 * 0.5  # E of the product of two half-normals
    for rows, x in ((positive, 0.5), (~positive, -0.5)):
        known = 0.09 + x**2 * 0.16 + 0.04 + x**2 * 0.25 + 2 * x * 0.9 * mean_sds + 0.09 + 0.0625
        squares = (values[:, rows] ** 2).mean(axis=1)
        error = squares.std() / np.sqrt(len(squares))
        assert abs(squares.mean() - known) < 4 * error
        dropped, without, doubled = known - 2 * x * 0.9 * mean_sds, known - x**2 * 0.25, known + 3 * 0.04
        for wrong in (dropped, without, doubled):
            assert abs(squares.mean() - wrong) > 4 * error


def test_reliability_is_the_closed_form(smile):
    priors = {
        "sd:valence|participant": Fixed(0.1), "sd:1|participant": Fixed(0.2), "sd:1|stimulus": Fixed(0.1),
        "corr:participant": Fixed(0.0), "sigma": Fixed(0.3),
    }  # fmt: skip
    result = prior_predictive(ModelSpec(GAUSSIAN, priors=priors), smile, draws=40)
    rows = result.table[result.table["quantity"] == "reliability of a person's positive − negative"]
    known = 0.1**2 / (0.1**2 + 0.3**2 * (1 / 8 + 1 / 8))
    assert rows[["median", "lower", "upper"]].to_numpy()[0] == pytest.approx(known, abs=1e-10)
    sd = result.table[result.table["quantity"] == "sd between persons of positive − negative"]
    assert sd["median"].iloc[0] == pytest.approx(0.1)
    without = 0.1**2 / (0.1**2 + 0.3**2 / 16)  # the error of a mean, not of a difference
    assert abs(rows["median"].iloc[0] - without) > 0.1


def test_prior_draws_refuses_what_cannot_be_drawn(smile):
    with pytest.raises(FitError, match="expected a proper prior"):
        prior_draws(ModelSpec(GAUSSIAN, priors={"valence": Flat()}), smile)
    with pytest.raises(FitError, match="draws: expected a whole number from 40"):
        prior_draws(GAUSSIAN, smile, draws=3)
    with pytest.raises(FitError, match="seed"):
        prior_draws(GAUSSIAN, smile, seed=-1)


# The verdict


def families(trials, people, binned):
    return {
        "valence": (valence(), trials, None), "raw": (ModelSpec(RAW), trials, None),
        "task": (task(), trials, None),
        "traits": (traits("empathy"), trials, people), "time": (time(), binned, None),
        "student_t": (ModelSpec(GAUSSIAN, family="student_t"), trials, None),
        "ordered_beta": (ModelSpec(RAW, family="ordered_beta"), trials, None),
        "zero_inflated_beta": (ModelSpec(RAW, family="zero_inflated_beta"), trials, None),
        "zero_one_inflated_beta": (ModelSpec(RAW, family="zero_one_inflated_beta"), trials, None),
        "hurdle_gamma": (ModelSpec(RAW, family="hurdle_gamma"), trials, None),
    }  # fmt: skip


NAMES = (
    "valence", "raw", "task", "traits", "time", "student_t", "ordered_beta", "zero_inflated_beta",
    "zero_one_inflated_beta", "hurdle_gamma",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_default_priors_pass(name, simulated, binned):
    spec, data, people = families(*simulated, binned)[name]
    result = prior_predictive(spec, data, participants=people, draws=200)
    # the default of `coi` expects half of all zeros and ones to be ones, which faces hardly have
    allowed = {("level", "narrow")} if name == "zero_one_inflated_beta" else set()
    assert flagged(result) <= allowed, result.sentences
    assert result.verdict == ("look" if flagged(result) else "passed")


@pytest.mark.parametrize("name", NAMES)
def test_priors_a_hundred_times_off_are_told(name, simulated, binned):
    spec, data, people = families(*simulated, binned)[name]
    if name != "time":
        data = data[data["blend_shape"] == "mouthSmile"]
        data = data.assign(blend_shape=data["blend_shape"].cat.remove_unused_categories())
    wide = prior_predictive(times(spec, data, 100.0, people), data, participants=people, draws=200)
    assert wide.verdict == "look"
    assert "wide" in {verdict for _, verdict in flagged(wide)}
    narrow = prior_predictive(times(spec, data, 0.01, people), data, participants=people, draws=200)
    assert ("persons", "narrow") in flagged(narrow)
    assert ("effect", "narrow") in flagged(
        narrow
    ) or name == "ordered_beta"  # whose logits of .1 are a tenth of its sd


@pytest.mark.parametrize(
    ("only", "factor", "expected"),
    [
        ("Intercept", 100, ("level", "wide")), ("valence", 100, ("effect", "wide")),
        ("sd:valence|participant", 100, ("persons", "wide")), ("sd:1|stimulus", 100, ("scatter", "wide")),
        ("sigma", 100, ("scatter", "wide")), ("sd:valence|participant", 0.01, ("persons", "narrow")),
    ],
)  # fmt: skip
def test_a_single_prior_is_told_by_what_it_is_of(only, factor, expected, smile):
    assert expected in flagged(prior_predictive(times(valence(), smile, factor, only=only), smile, draws=200))


def test_what_is_held_fixed_is_not_told(smile):
    held = {"valence": Fixed(0.0), "sd:1|participant": Fixed(1e-5)}
    result = prior_predictive(valence(priors=held), smile, draws=80)
    assert not {"effect", "persons"} & {check for check, _ in flagged(result)}
    assert (result.table["limit"] == "none: held fixed").sum() == 2
    assert not result.table["quantity"].str.contains("opposite sign").any()


def test_limits_can_be_changed_and_have_reasons(smile):
    assert set(REASONS) == set(LIMITS.__dataclass_fields__)
    assert {kind for kind, _ in REASONS.values()} <= {"rule", "convention"}
    strict = prior_predictive(valence(), smile, draws=80, limits=Limits(scatter_wide=1.0))
    assert ("scatter", "wide") in flagged(strict)
    assert strict.limits.scatter_wide == 1.0
    with pytest.raises(SpecError, match="limits: expected ends"):
        Limits(ends=-1)


def test_one_typical_shape_of_a_model_with_curves_is_said(binned):
    more = pd.concat([
        binned.assign(blend_shape=name, activation=factor * binned["activation"])
        for name, factor in (("mouthSmile", 1.0), ("jawOpen", 2.0), ("browDown", 0.5))
    ])  # fmt: skip
    more["blend_shape"] = pd.Categorical(more["blend_shape"])
    more["activation"] = more["activation"].astype("float32")
    result = prior_predictive(time(), more, draws=40)
    assert result.told["outcomes"] == ["mouthSmile"]
    assert "Only mouthSmile was looked at" in result.sentences[-1]
    assert result.arrays["curve|positive − negative|mouthSmile"].shape == (40, 41)
    named = prior_predictive(time(), more, draws=40, shapes=("jawOpen", "browDown"))
    assert sorted(named.told["outcomes"]) == ["browDown", "jawOpen"]
    with pytest.raises(SpecError, match="jawOpen"):
        prior_predictive(time(), more, draws=40, shapes=("jawOpne",))


def test_a_prior_of_curves_is_what_its_reader_says(binned):
    tree = prior_draws(time(), binned, draws=200, seed=0)
    table = curves(tree)
    difference = table[table["kind"] == "difference"]
    assert (np.abs(difference["mean"]) < 5 * difference["sd"] / np.sqrt(200)).all()


def test_results_are_plain_data_and_sentences_speak_of_the_face(smile):
    result = prior_predictive(valence(), smile, draws=80)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["verdict"] == "passed"
    assert len(data["table"]) == len(result.table)
    first = result.sentences[0]
    assert first.startswith(
        "Before seeing the data the model expects mouthSmile to positive stimuli to be between"
    )
    assert first.endswith("of the full range stronger than to negative ones.")
    again = prior_predictive(valence(), smile, draws=80)
    assert again.to_dict() == result.to_dict()


# What can occur


def test_what_can_occur_is_read_from_the_columns(smile):
    change, raw = possible_values(smile, "activation"), possible_values(smile, "raw")
    assert (change.low, change.high, raw.low, raw.high) == (-1.0, 1.0, 0.0, 1.0)
    plain = possible_values(smile.assign(activation=smile["raw"]), "activation")
    assert (plain.low, plain.high) == (0.0, 1.0)
    assert "not corrected" in plain.why
    over = possible_values(smile.assign(raw=smile["raw"].where(smile["raw"] < 0.1, 1.02)), "raw")
    assert over.high == pytest.approx(1.02)
    scores = smile.assign(activation=(smile["activation"] / smile["activation"].std()).astype("float32"))
    assert possible_values(scores, "activation") is None
    sides = possible_values(smile.assign(raw=smile["raw"] - 0.3), "activation")
    assert (sides.low, sides.high) == (-2.0, 2.0)
    contrast = possible_of(
        "smile − frown", change, {"smile − frown": {"mouthSmile": 1.0, "mouthFrown": -2.0}}
    )
    assert (contrast.low, contrast.high) == (-3.0, 3.0)


def test_without_a_range_nothing_is_impossible_and_it_is_said(smile):
    scores = smile.assign(activation=(smile["activation"] / smile["activation"].std()).astype("float32"))
    result = prior_predictive(valence(), scores, draws=40)
    assert "impossible" not in set(result.table["check"])
    assert any("What values are impossible is not known" in sentence for sentence in result.sentences)
    given = prior_predictive(valence(), scores, draws=40, possible=(-0.1, 0.1))
    assert ("impossible", "impossible") in flagged(given)
    with pytest.raises(FitError, match="possible: expected the lowest"):
        prior_predictive(valence(), scores, draws=40, possible=(1, 0))


def test_shares_of_impossible_values_are_counted(smile):
    """Level known, scatter known: the share is the normal's tail."""
    from scipy.stats import norm

    priors = {"Intercept": Fixed(0.1), "sigma": Fixed(0.2)}
    result = prior_predictive(ModelSpec("raw ~ 1", priors=priors), smile, draws=400)
    share = result.table[result.table["quantity"].str.contains("share of a draw's rows that cannot")][
        "median"
    ].iloc[0]
    known = norm.cdf(-0.5) + norm.sf((1 - 0.1) / 0.2)
    assert abs(share - known) < 4 * 1.2533 * np.sqrt(known * (1 - known) / 192 / 400) + 0.5 / 192
    assert abs(share - norm.cdf(-1.0)) > 0.1


# Co-activation


def test_co_activation_passes_and_wrong_priors_are_told(trials):
    result = prior_predictive(co_activation(2, between=1), trials, draws=200)
    assert result.verdict == "passed", result.sentences
    json.dumps(result.to_dict(), allow_nan=False)
    for priors, expected in (
        ({"loading_sd": LogNormal(3.6, 0.5)}, ("loading", "wide")),
        ({"loading_sd": LogNormal(-5.6, 0.5)}, ("correlation", "narrow")),
        ({"uniqueness": LogNormal(8.0, 1.0)}, ("scatter", "wide")),
        ({"uniqueness": LogNormal(-10.4, 1.0)}, ("Heywood", "impossible")),
    ):
        wrong = prior_predictive(co_activation(2, between=1, priors=priors), trials, draws=200)
        assert expected in flagged(wrong), (priors, flagged(wrong))


def test_co_activation_of_stimuli_without_factors_between_has_one_level(trials):
    result = prior_predictive(co_activation(2, between=0, part="stimulus_driven"), trials, draws=80)
    assert result.verdict == "passed", result.sentences
    assert "correlation|between" not in result.arrays
    assert not result.table["quantity"].str.contains("loadings between").any()


def test_factors_of_the_prior_have_closed_forms(trials):
    """E log τ and E log Ψ are the priors' means; E λ² = exp(2μ + 2σ²); the communality's parts add up."""
    tree = prior_draws(co_activation(2, between=1), trials, draws=4000, seed=3)
    posterior = tree["posterior"].dataset
    numbers = co_activation(2, between=1).prior_numbers
    for name, mean, sd in (
        ("loading_sd", *numbers[0:2]), ("uniqueness", *numbers[2:4]), ("between_loading_sd", *numbers[4:6]),
        ("between_uniqueness", *numbers[6:8]),
    ):  # fmt: skip
        logs = np.log(posterior[name].to_numpy()).ravel()
        assert abs(logs.mean() - mean) < 4 * sd / np.sqrt(4000)
        assert logs.std() == pytest.approx(sd, rel=0.06)
    standard = (posterior["loading"] / posterior["loading_sd"]).to_numpy().ravel()
    assert abs(standard.mean()) < 4 / np.sqrt(len(standard))
    assert standard.std() == pytest.approx(1.0, rel=0.02)
    total = (posterior["loading"] ** 2).sum("factor")
    assert np.allclose(posterior["communality"], total / (total + posterior["uniqueness"]))
    assert abs((2 * standard).std() - 1.0) > 0.02  # saboteur: an sd that is doubled


def test_task_models_say_both_factors(trials):
    result = prior_predictive(task(), trials, draws=80)
    quantities = set(result.table["quantity"])
    assert {"positive − negative", "film − picture", "(positive − negative) × (film − picture)"} <= quantities
    assert result.verdict == "passed", result.sentences


def test_the_page_has_the_limits_that_hold():
    page = (Path(__file__).parents[2] / "docs" / "prior_checks.md").read_text(encoding="utf-8")
    for name, (kind, reason) in REASONS.items():
        assert f"| `{name}` | {getattr(LIMITS, name):g} | {kind} | {reason} |" in page
