"""Persons' answers by hand; reliability against its formula, dense covariances and a test taken twice."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models import expected_wrong_signs, person_effects, reliability
from mien.models.refit import natural_of, outcome_of
from mien.priors import Fixed, Normal
from mien.study.errors import FitError

_place = importlib.util.spec_from_file_location("dense_model", Path(__file__).with_name("dense_model.py"))
dense = importlib.util.module_from_spec(_place)
_place.loader.exec_module(dense)


def study(persons=12, positive=6, negative=4, sd=0.6, sigma=0.9, seed=0, bins=1):
    rng = np.random.default_rng(seed)
    v = np.r_[np.full(positive, 0.5), np.full(negative, -0.5)]
    p, t, b = (
        column.ravel()
        for column in np.meshgrid(np.arange(persons), np.arange(len(v)), np.arange(bins), indexing="ij")
    )
    y = rng.normal(0, 0.5, persons)[p] + (0.4 + rng.normal(0, sd, persons)[p]) * v[t]
    y += rng.normal(0, sigma, len(p))
    trial = [f"p{i:03d}t{j:02d}" for i, j in zip(p, t, strict=True)]
    return pd.DataFrame(
        {"participant": [f"p{i:03d}" for i in p], "trial": trial, "bin": b, "valence": v[t], "y": y}
    )


KNOWN = {"sd:1|participant": Fixed(0.5), "sd:valence|participant": Fixed(0.6), "sigma": Fixed(0.9),
         "Intercept": Normal(0, 1), "beta": Normal(0, 1)}  # fmt: skip


def test_reliability_is_its_formula():
    fit = mien.fit("y ~ valence + (valence || participant)", study(), draws=50, priors=KNOWN)
    table = reliability(fit).set_index("effect")
    error = 0.81 * (1 / 6 + 1 / 4)
    assert table.loc["valence", "mean"] == pytest.approx(0.36 / (0.36 + error))
    assert table.loc["Intercept", "mean"] == pytest.approx(0.25 / (0.25 + error / 4))
    assert table.loc["valence", "se_person"] == pytest.approx(np.sqrt(error))
    assert table.loc["valence", ["persons", "rows"]].tolist() == [12, 10]


def test_persons_with_fewer_trials_are_told_apart_less_well():
    data = study()
    data = data[~((data["participant"] == "p003") & data["trial"].str.endswith(("t00", "t01", "t02", "t09")))]
    data = data[~((data["participant"] == "p004") & (data["valence"] > 0))]
    fit = mien.fit("y ~ valence + (valence || participant)", data, draws=50, priors=KNOWN)
    table = reliability(fit, by_person=True).query("effect == 'valence'").set_index("participant")
    assert table.loc["p003", "mean"] == pytest.approx(0.36 / (0.36 + 0.81 * (1 / 3 + 1 / 3)))
    assert table.loc["p000", "mean"] == pytest.approx(0.36 / (0.36 + 0.81 * (1 / 6 + 1 / 4)))
    assert "p004" not in table.index  # has no positive trial: no answer to tell
    assert table.loc["", "persons"] == 11


@pytest.mark.parametrize(
    ("formula", "fields"),
    [
        ("y ~ valence + (valence | participant) + (1 | participant:trial)", {}),
        ("y ~ valence + (valence | participant) + (1 | trial)", {"residual": "ar1", "series": ("trial",)}),
        ("y ~ valence + (valence | participant)", {"sigma_by": ("half",), "weights": "w"}),
    ],
)
def test_errors_are_those_of_dense_covariances(formula, fields):
    data = study(persons=5, bins=4)
    data = data[np.random.default_rng(1).random(len(data)) > 0.2].reset_index(drop=True)
    data["half"] = np.where(data["trial"].str[-1].astype(int) < 5, "first", "second")
    data["w"] = np.random.default_rng(2).uniform(0.5, 2, len(data))
    fit = mien.fit(formula, data, engine="collapsed", draws=20, chains=1, **fields)
    outcome = outcome_of(fit)
    natural, table = natural_of(fit, None, outcome), reliability(fit)
    person = outcome.design.blocks[0]
    found = []
    for draw in range(20):
        covariance = dense.residual_covariance(outcome, natural, draw)
        of_effects = dense.covariance_of_effects(outcome, natural, draw)
        for block in outcome.design.blocks[1:]:
            same = block.codes[:, None] == block.codes
            covariance += block.columns @ of_effects[block.factor] @ block.columns.T * same
        errors = []
        for code in range(5):
            at = np.flatnonzero(person.codes == code)
            root = outcome.root_precision[at]
            contrast = (np.linalg.pinv(person.columns[at] * root[:, None]) * root)[1]
            errors.append(contrast @ covariance[np.ix_(at, at)] @ contrast)
        true = of_effects["participant"][1, 1]
        found.append(true / (true + np.mean(errors)))
    assert table.set_index("effect").loc["valence", "mean"] == pytest.approx(np.mean(found), rel=1e-6)


def test_reliability_is_the_correlation_of_a_test_taken_twice():
    both = study(persons=600, positive=10, negative=10, seed=3)
    first = both["trial"].str[-2:].astype(int).isin([*range(5), *range(10, 15)])
    slopes = [
        part.pivot_table(index="participant", columns="valence", values="y")
        for part in (both[first], both[~first])
    ]
    r = np.corrcoef(*[slope[0.5] - slope[-0.5] for slope in slopes])[0, 1]
    table = reliability(mien.fit("y ~ valence + (valence | participant)", both[first], draws=250))
    row = table.set_index("effect").loc["valence"]
    error = 4 * np.hypot(row["sd"], (1 - r**2) / np.sqrt(600))
    assert abs(row["mean"] - r) < error
    whole = reliability(mien.fit("y ~ valence + (valence | participant)", both, draws=250))
    doubled = whole.set_index("effect").loc["valence", "mean"]
    assert abs(doubled - r) > error  # saboteur: a test of twice the length
    assert doubled == pytest.approx(2 * r / (1 + r), abs=error)  # Spearman and Brown


def test_persons_answers_are_the_coefficient_and_their_own(small_fit):
    table = person_effects(small_fit)
    assert len(table) == 2 * 3 * 10
    posterior = small_fit["posterior"].sel(blend_shape="mouthFrown")
    draws = (posterior["valence"] + posterior["valence|participant"].sel(participant="07")).to_numpy()
    row = table.query("effect == 'valence' and blend_shape == 'mouthFrown' and participant == '07'").iloc[0]
    assert row["median"] == pytest.approx(np.median(draws), rel=1e-6)
    assert [row["eti_lower"], row["eti_upper"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]), rel=1e-6)
    assert row["p_direction"] == pytest.approx(max((draws > 0).mean(), (draws < 0).mean()))
    assert row["rows"] == 10


def test_what_is_a_property_of_the_person_belongs_to_their_answer():
    data = study()
    data["group"] = np.where(data["participant"] < "p006", "a", "b")
    fit = mien.fit("y ~ valence * group + (valence | participant)", data, draws=200)
    table = person_effects(fit).query("effect == 'valence'").set_index("participant")
    posterior = fit["posterior"]
    for person, code in (("p001", -0.5), ("p009", 0.5)):
        draws = posterior["valence"] + code * posterior["valence:group"]
        draws = (draws + posterior["valence|participant"].sel(participant=person)).to_numpy()
        assert table.loc[person, "mean"] == pytest.approx(draws.mean(), rel=1e-6)


def test_a_model_without_persons_is_refused():
    fit = mien.fit("y ~ valence", study(), draws=50)
    for read in (reliability, person_effects):
        with pytest.raises(FitError, match="expected a model with a group term of participant"):
            read(fit)


# Wrong signs


def test_expected_wrong_signs_is_a_sum_over_flagged_shapes():
    table = pd.DataFrame(
        {"effect": ["valence"] * 4 + ["neutral"], "p_direction": [0.99, 0.96, 0.8, 0.97, 0.6],
         "verdict": ["passed", "passed", "passed", "failed", "passed"],
         "pooled_p_direction": [0.98, 0.9, np.nan, 0.99, 0.5]}
    )  # fmt: skip
    found = expected_wrong_signs(table).set_index("effect")
    assert found.loc["valence", ["shapes", "flagged"]].tolist() == [3, 2]
    assert found.loc["valence", "expected_wrong"] == pytest.approx(0.05)
    assert np.isnan(found.loc["neutral", "share"])
    pooled = expected_wrong_signs(table, pooled=True).set_index("effect")
    assert pooled.loc["valence", ["shapes", "flagged"]].tolist() == [2, 1]
    with pytest.raises(FitError, match="flag: expected"):
        expected_wrong_signs(table, 0.3)


def test_expected_wrong_signs_is_what_simulation_finds():
    """True effects from the prior: among flagged ones, as many signs are wrong as expected."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    true = rng.normal(0, 1, 20000)
    estimate = true + rng.normal(0, 1.5, 20000)
    mean, sd = estimate / (1 + 2.25), np.sqrt(2.25 / (1 + 2.25))
    table = pd.DataFrame({"effect": "e", "p_direction": norm.cdf(np.abs(mean) / sd), "verdict": "passed"})
    found = expected_wrong_signs(table, 0.9).iloc[0]
    flagged = table["p_direction"].to_numpy() >= 0.9
    wrong = int((np.sign(true) != np.sign(mean))[flagged].sum())
    assert abs(wrong - found["expected_wrong"]) < 4 * np.sqrt(found["expected_wrong"])
