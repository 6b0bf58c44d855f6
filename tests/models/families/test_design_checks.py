"""What the design check says of orders, numbers, durations and tracking, and who limits an answer."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mien
from mien.models.design_checks import design_check
from mien.models.engines.problem import Draws
from mien.models.error_shares import error_shares
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.study.errors import SpecError


def reordered(trials, key):
    """Trial numbers by `key` within each person."""
    place = pd.Series(key).groupby(trials["participant"].astype(str).to_numpy()).rank(method="first")
    return trials.assign(trial=place.to_numpy().astype(np.int32))


def said(check, words):
    return any(words in note for note in check.notes)


def test_orders_drawn_by_chance_leave_habituation_identified(world):
    order = design_check(world.trials).facts["order"]
    assert order["habituation"] == "identified"
    assert max(abs(order[name]) for name in ("valence", "medium", "stimulus")) < 0.25
    assert (order["fixed"], order["fixed_in"]) == (False, [])


@pytest.mark.parametrize("column", ["valence", "medium"])
def test_blocks_are_found_out(world, column):
    trials = reordered(
        world.trials, world.trials[column].cat.codes + np.random.default_rng(0).random(len(world.trials))
    )
    check = design_check(trials)
    place = trials["trial"] - trials.groupby("participant", observed=True)["trial"].transform("mean")
    code = trials[column].cat.codes
    code = code - code.groupby(trials["participant"], observed=True).transform("mean")
    assert check.facts["order"][column] == pytest.approx(np.corrcoef(place, code)[0, 1], abs=1e-9)
    assert check.facts["order"]["habituation"] == "not identified"
    assert said(check, f"goes with {column}")


def test_one_order_for_everybody_is_found_out(world):
    check = design_check(reordered(world.trials, world.trials["stimulus"].cat.codes))
    assert check.facts["order"]["stimulus"] == pytest.approx(1.0)
    assert check.facts["order"]["fixed_in"] == ["met"]
    assert said(check, "One fixed order of stimuli for everybody (task met)")
    nearly = world.trials["stimulus"].cat.codes.to_numpy(dtype=float)
    nearly[:2] = nearly[:2][::-1]
    other = design_check(reordered(world.trials, nearly))
    assert not other.facts["order"]["fixed"]
    assert other.facts["order"]["habituation"] == "not identified"


def test_an_order_for_each_session_is_one_order_too(world_maker):
    trials = world_maker(sessions=2, persons=6).trials
    code = trials["stimulus"].cat.codes.to_numpy(dtype=float)
    key = np.where(trials["session"] == "2", -code, code)
    place = pd.Series(key).groupby([trials["participant"].astype(str), trials["session"].astype(str)]).rank()
    trials = trials.assign(trial=place.to_numpy().astype(np.int32))
    assert design_check(trials).facts["order"]["fixed_in"] == ["met"]
    other = trials.assign(task=np.where(trials["participant"] == "01", "films", "met"))
    assert design_check(other).facts["order"]["fixed_in"] == ["met"]  # one person is nobody's order


def test_two_persons_orders_agree_by_chance_as_often_as_the_f_distribution_says(world_maker):
    """Above .5 with 24 stimuli and 2 persons: B/W > 47 / 18 − 1, an F(23, 24)."""
    trials, rng = world_maker(persons=2).trials, np.random.default_rng(5)
    found = [
        design_check(reordered(trials, rng.random(len(trials)))).facts["order"]["stimulus"]
        for _ in range(200)
    ]
    expected = stats.f.sf((47 / 18 - 1) * 24 / 23, 23, 24)
    assert abs(np.mean(np.array(found) > 0.5) - expected) < 4 * np.sqrt(expected * (1 - expected) / 200)
    assert said(design_check(trials), "2 persons")
    many = world_maker(persons=12).trials
    orders = [
        design_check(reordered(many, rng.random(len(many)))).facts["order"]["stimulus"] for _ in range(20)
    ]
    assert max(orders) < 0.4


def test_media_in_different_tasks_and_of_different_lengths(world, binned):
    trials = world.trials.assign(task=np.where(world.trials["medium"] == "film", "films", "met"))
    check = design_check(binned(trials))
    assert check.facts["order"]["medium"] is None
    assert said(check, "different tasks")
    assert check.facts["durations"]["film"] == {"median_s": 4.0, "min_s": 4.0, "max_s": 4.0}
    assert said(check, "(picture 2 s, film 4 s)")
    assert not said(design_check(binned(world.trials, {"picture": 2.0, "film": 2.0})), "duration")


def test_cells_and_tracking_are_counted(world):
    trials = world.trials.copy()
    lost = (trials["medium"] == "film") & (trials["valence"] == "positive") & (trials["participant"] == "01")
    trials.loc[lost, ["excluded", "valid"]] = ["tracking lost", 0.25]
    check = design_check(trials)
    cells = {(cell["valence"], cell["medium"]): cell for cell in check.facts["cells"]}
    assert cells["positive", "film"] == {
        "valence": "positive", "medium": "film", "persons": 23, "stimuli": 4, "trials": 96, "trials_kept": 92,
        "fewest_of_a_person": 0,
    }  # fmt: skip
    assert said(check, "positive film")
    tracked = check.facts["tracked"]
    assert tracked["share"] == pytest.approx((572 + 4 * 0.25) / 576)
    assert tracked["participant"]["01"] == {
        "share": pytest.approx(21 / 24),
        "kept": pytest.approx(20 / 24),
        "trials": 24,
    }
    assert tracked["valence"]["negative"]["share"] == 1.0
    trials.loc[trials["valence"] == "positive", "valid"] = np.float32(0.8)
    assert said(design_check(trials), "tracked share differs by valence (negative 100%, positive 80%)")


def test_what_a_model_lacks_is_told(world_maker):
    world = world_maker(sessions=2, persons=6)
    alone = mien.fit(mien.models.valence(), world.trials, draws=50)
    notes = json.loads(alone.attrs["design_check"])["notes"]
    assert any("100% of the pairs of person and stimulus" in note for note in notes)
    again = mien.fit(mien.models.valence(repeated=True), world.trials, draws=50)
    assert not any("pairs of person" in note for note in json.loads(again.attrs["design_check"])["notes"])


def test_persons_without_trials_are_named(world):
    more = pd.concat([world.participants, pd.DataFrame({"participant_id": ["sub-99"]})])
    assert said(design_check(world.trials, more), "Without any trial: 99")
    assert str(design_check(world.trials)) == "nothing to note"
    assert str(design_check(world.trials, more)) == "- Without any trial: 99."


def test_any_table_has_a_check():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0, 2.5, 1.0], "g": list("aabbcc")})
    fitted = mien.fit("y ~ 1 + (1 | g)", data, draws=50)
    assert json.loads(fitted.attrs["design_check"])["trials"] == 6
    assert design_check(data.assign(trial=list("uvwxyz"))).facts == {"trials": 6, "trials_kept": 6}


def test_peaks_of_unequal_lengths_are_not_compared(world, binned):
    trials = binned(world.trials)
    formula = mien.models.task().formula.replace("activation", "peak")
    with pytest.raises(SpecError, match="peaks of equally long stretches, found picture 2 s, film 4 s"):
        mien.fit(formula, trials)
    varied = trials.assign(peak=trials["activation"] + 0.1)
    fitted = mien.fit("peak ~ medium + (1 | participant)", mien.models.first_seconds(varied), draws=50)
    assert fitted.attrs["formula"].startswith("peak")


# Who limits an answer


def dense_shares(design, sds, sigma, corr):
    """The variance of the least squares estimates, part by part, by dense matrices."""
    columns = design.columns
    weights = np.linalg.solve(columns.T @ columns, columns.T)
    parts = {"residual": weights @ (weights * sigma**2).T}
    for block in design.blocks:
        cov = np.outer(*[[sds[f"{term}|{block.factor}"] for term in block.terms]] * 2)
        cov = cov * (corr if len(block.terms) > 1 else 1.0)
        total = np.zeros((len(columns), len(columns)))
        for a in range(len(block.terms)):
            for b in range(len(block.terms)):
                same = block.codes[:, None] == block.codes[None, :]
                total += cov[a, b] * np.outer(block.columns[:, a], block.columns[:, b]) * same
        parts[block.factor] = parts.get(block.factor, 0.0) + weights @ total @ weights.T
    whole = sum(np.diag(part) for part in parts.values())
    return {
        name: {source: np.diag(part)[place] / whole[place] for source, part in parts.items()}
        for place, name in enumerate(design.coefficients)
    }


def given_draws(design, sds, sigma, corr):
    base = (2, 5)
    return Draws(
        {}, {name: np.full(base, value) for name, value in sds.items()},
        {"participant": np.broadcast_to(corr, (*base, *corr.shape))},
        np.broadcast_to(sigma, (*base, len(np.atleast_1d(sigma)))) if np.ndim(sigma) else np.full(base, sigma),
        {}, {}, "",
    )  # fmt: skip


def shares_agree(found, wanted):
    return all(
        found[name][source] == pytest.approx(share, abs=2e-4)
        for name, parts in wanted.items()
        for source, share in parts.items()
    )


def test_error_shares_are_those_of_dense_matrices(world_maker):
    trials = world_maker(persons=7, pictures=4, films=2).trials.sample(frac=0.6, random_state=2)
    problem, _, _ = make_problem(mien.models.task(), trials)
    outcome = problem.outcomes[0]
    keys = [f"{term}|{block.factor}" for block in outcome.design.blocks for term in block.terms]
    sds = {key: 0.01 * (place + 1) for place, key in enumerate(keys)}
    corr = np.eye(4)
    corr[0, 1] = corr[1, 0] = 0.6
    sigma = np.array([0.05, 0.03])
    draws = given_draws(outcome.design, sds, sigma, corr)
    found = error_shares([outcome], [draws])
    by_row = sigma[outcome.residual.stratum]
    wanted = dense_shares(outcome.design, sds, by_row, corr[:2, :2])
    assert shares_agree(found, wanted)
    assert not shares_agree(found, dense_shares(outcome.design, sds, by_row, np.eye(2)))  # the saboteur


def test_few_films_limit_the_answer_and_many_do_not(world_maker, truth_type):
    few = world_maker(truth_type(sd_stimulus=0.02), persons=30, pictures=4, films=3, seed=1)
    notes = json.loads(mien.fit(mien.models.task(), few.trials).attrs["design_check"])["notes"]
    assert any("Stimuli rather than people limit" in note and "valence:medium" in note for note in notes)
    many = world_maker(truth_type(sd_stimulus=0.002), persons=8, pictures=20, films=20, seed=1)
    check = json.loads(mien.fit(mien.models.task(), many.trials).attrs["design_check"])
    assert not any("Stimuli rather than people" in note for note in check["notes"])
    for parts in check["error_shares"].values():
        assert sum(parts.values()) == pytest.approx(1.0, abs=1e-3)


def test_models_without_shares_have_none(world_maker, binned):
    trials = binned(world_maker(persons=5, pictures=3, films=2).trials)
    rng = np.random.default_rng(0)
    trials["activation"] += rng.normal(0, 0.01, len(trials)).astype(np.float32)
    spec = ModelSpec("activation ~ valence + (1 | participant)", residual="ar1")
    assert "error_shares" not in json.loads(mien.fit(spec, trials, draws=50).attrs["design_check"])
