"""The text for an ethics form: its numbers are those of the tables, and assumptions are called so."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mien.power import smallest
from mien.power.answers import answers
from mien.power.cells import cells_of, cells_table
from mien.power.justification import justification, sentence_of
from mien.power.plan import Budget, Design, Draw, Goal, Truth
from mien.power.smallest import checks_of
from tests.power.plans import SDS, plan
from tests.power.synthetic import World, rows_of

SMILE = Goal("smile", "direction", "valence", wanted="positive")


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(smallest, "SAMPLES", 100)


def told(made, world_of=lambda cell: World(effect=(0.04, 0.0)), replicates=500, check=True, **failed):
    grid = cells_table(cells_of(made))
    rows = rows_of(made, grid, world_of, replicates)
    if failed:
        number = rows["cell"] == grid["cell"].iloc[-1]
        rows.loc[number & (rows["replicate"] < failed["count"]), "failure"] = failed["cause"]
    if check and checks_of(made, rows):
        rows = pd.concat(
            [rows, rows_of(made, cells_table(checks_of(made, rows)), world_of, replicates, seed=7)]
        )
    found = answers(made, rows)
    return justification(made, found), found


def made_of(*goals, participants=(15, 30, 60, 120), **parts):
    parts = {
        "truth": Truth({"valence": (0.04,)}, SDS),
        "budget": Budget(500, 100, null_replicates=500),
    } | parts
    return plan(*(goals or (SMILE,)), design=parts.pop("design", Design(participants, (6,))), **parts)


def null_or(effect):
    return lambda cell: World(effect=(0.0 if cell["world"] == "null" else effect, 0.0))


def test_a_whole_text():
    made = made_of()
    texts, found = told(made, null_or(0.04))
    text = "\n".join(texts)
    row = found.smallest.iloc[0]
    assert "15, 30, 60 or 120 participants were simulated" in text
    assert "6 pictures of each valence (negative and positive), each 1 time, in 1 session" in text
    assert "valence = 0.04" in text
    assert "These values are assumptions of the planners" in text
    assert made.frozen.sha256 in text
    assert "P(valence > 0) is at least .975" in text
    assert f"{row['participants']:.0f} participants (95 % interval of the number of participants: " in text
    assert f"{row['participants_lower']:.0f} to {row['participants_upper']:.0f})" in text
    assert "500 independent studies were simulated" in text
    assert f"{found.rows:,} studies were simulated" in text
    assert "No fit failed." in text
    assert "infinitely many participants and these stimuli the power would be 1" in text
    worst = found.estimates[found.estimates["world"] == "null"]["error"].max()
    assert f"at most {worst:.2f}".replace("0.", ".") in text
    assert "Not considered" in texts[-1]
    assert "nan" not in text
    assert "inf " not in text


def test_what_is_not_known_is_not_claimed():
    capped, _ = told(made_of(participants=(20, 60)), lambda cell: World(stimulus_sd=0.03, effect=(0.04, 0.0)))
    assert any("no number of participants reaches a power of .80" in text for text in capped)
    beyond, _ = told(made_of(participants=(8, 12, 16)))
    assert any("What lies beyond was not simulated" in text for text in beyond)
    unchecked, _ = told(made_of(), check=False)
    assert any("has not been checked by simulation" in text for text in unchecked)
    no_null, _ = told(made_of(budget=Budget(500, 100, null_replicates=0)))
    assert any("a world without the effect were not simulated" in text for text in no_null)
    small, _ = told(made_of(participants=(80, 120)))
    assert any("smaller ones were not looked at" in text for text in small)


def test_a_check_that_disagrees_or_falls_short_is_told():
    made = made_of()
    _, found = told(made)
    row = found.smallest.iloc[0].to_dict()
    assert "agrees with the" in sentence_of(made, row)
    assert "does not agree" in sentence_of(made, row | {"agrees": False, "check_power": 0.6})
    assert "short of the wanted .80" in sentence_of(made, row | {"agrees": True, "check_upper": 0.79})
    open_ended = sentence_of(made, row | {"participants_upper": np.inf, "participants_lower": -np.inf})
    assert "fewer than the smallest number simulated to more than 120" in open_ended


def test_assurance_is_called_so_and_failures_are_counted():
    drawn = made_of(truth=Truth({"valence": (Draw(0.05, 0.01),)}, SDS))
    texts, _ = told(drawn, lambda cell: World(effect=(0.05, 0.01)), count=3, cause="verdict failed: khat")
    text = "\n".join(texts)
    assert "drawn from Normal(0.05, 0.01)" in text
    assert "the smallest design with an assurance of .80" in text
    assert "a assurance" not in text
    assert (
        "3 fits failed and each counts as a study that misses its goal; causes: verdict failed: khat (3)."
        in text
    )
    left_out = replace(drawn, budget=replace(drawn.budget, failures="left_out"))
    texts, _ = told(left_out, lambda cell: World(effect=(0.05, 0.01)), count=1, cause="arithmetic")
    assert "1 fit failed and each is left out" in "\n".join(texts)


def test_every_kind_of_goal_and_truth_is_spelled_out():
    made = made_of(
        SMILE, Goal("not small", "rope", "valence", rope=(-0.01, 0.01), wanted="reject"),
        Goal("precise", "width", "valence", width=0.06), Goal("evidence", "bayes_factor", "valence", threshold=6.0),
        truth=Truth({"valence": (0.02, 0.04)}, SDS), design=Design((20, 60), (6, 12), missing=(0.1,), dropout=0.05),
        cost={"participant": 50.0, "picture": 10.0},
    )  # fmt: skip
    texts, found = told(made, lambda cell: World(effect=(cell["valence"], 0.0)), 200)
    text = "\n".join(texts)
    assert "lies wholly outside −0.01 to 0.01" in text
    assert "is at most 0.06 wide" in text
    assert "Bayes factor for or against an effect is at least 6 and this is so in the simulated truth" in text
    assert "given valence = 0.02" in text
    assert "A share of 0.1 of the trials is lost at random" in text
    assert "at a cost of" in text
    assert text.count("Goal “") == len(found.smallest) == 8


@pytest.mark.parametrize("source", ["fixed", "prior"])
def test_the_text_is_the_same_for_the_same_rows(source):
    truth = Truth({"valence": (0.04 if source == "fixed" else Draw(0.04, 0.01),)}, SDS)
    made = made_of(truth=truth)
    assert told(made, replicates=200)[0] == told(made, replicates=200)[0]
