"""Studies that stop by a rule, against a plain loop over every study and every look."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from mien.power.estimates import rows_by_cell
from mien.power.nested import cohorts_of
from mien.power.plan import Goal
from mien.power.sequential import StoppingRule, rule_of, sequential, trajectories
from mien.study.errors import SpecError
from tests.power.plans import plan
from tests.power.synthetic import World, grid_table, rows_of

LOOKS = (10, 20, 30, 40, 60)
GOALS = (
    Goal("smile", "direction", "valence", wanted="positive"),
    Goal("rope", "rope", "valence", rope=(-0.01, 0.01)),
    Goal("width", "width", "valence", width=0.08),
    Goal("bf", "bayes_factor", "valence", threshold=3.0, wanted="effect"),
)
Z = 4.0


@pytest.fixture(scope="module")
def made():
    return plan(*GOALS)


@pytest.fixture(scope="module")
def cells():
    return grid_table(LOOKS, worlds=("null", "alternative"))


@pytest.fixture(scope="module")
def rows(made, cells):
    return rows_of(made, cells, lambda cell: World(effect=(0.03 * (cell["world"] != "null"), 0.0)), 400)


def decided(rule, row):
    """What the rule says of one look: −1, 0 or 1."""
    if rule.kind == "direction":
        p = row[f"{rule.goal}:value"]
        return 1 if p >= rule.limit else -1 if 1 - p >= rule.limit else 0
    if rule.kind == "bayes_factor":
        factor = np.exp(row[f"{rule.goal}:value"])
        return 1 if factor >= rule.limit else -1 if factor <= 1 / rule.limit else 0
    lower, upper = row[f"{rule.goal}:lower"], row[f"{rule.goal}:upper"]
    if rule.kind == "width":
        return int(upper - lower <= rule.limit)
    low, high = rule.rope
    return 1 if lower > high or upper < low else -1 if low <= lower and upper <= high else 0


def by_hand(rule, rows, cells, world):
    """N and decision of every study, look by look."""
    mine = cells[cells["world"] == world].sort_values("participants")
    looks = [n for n in mine["participants"] if rule.minimum <= n <= (rule.maximum or np.inf)]
    cell_of = dict(zip(mine["participants"], mine["cell"], strict=True))
    lines = {(line["cell"], line["replicate"]): line for line in rows.to_dict("records")}
    ended = []
    for replicate in sorted({number for cell, number in lines if cell in set(mine["cell"])}):
        for n in looks:
            line = lines[cell_of[n], replicate]
            says = 0 if line["failure"] else decided(rule, line)
            if says or n == looks[-1]:
                decision = line[f"{rule.goal}:decision"] if rule.kind == "width" else says
                ended.append((n, 0 if pd.isna(decision) else decision, says != 0))
                break
    return np.array(ended, dtype=float)


RULES = (
    StoppingRule("smile", "direction", 0.975),
    StoppingRule("smile", "direction", 0.95, minimum=20, maximum=40),
    StoppingRule("rope", "rope", rope=(-0.01, 0.01)),
    StoppingRule("width", "width", 0.08),
    StoppingRule("smile", "width", 0.08, minimum=20),
    StoppingRule("bf", "bayes_factor", 3.0),
)
WANTED = {"smile": 1, "rope": 1, "width": 1, "bf": 1}  # the truth is .03


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.goal} by {rule.kind} from {rule.minimum}")
def test_every_rule_against_a_plain_loop(rule, made, cells, rows):
    table = sequential(made, rows, rule, cells).set_index("world")
    for world in ("null", "alternative"):
        n, decision, stopped = by_hand(rule, rows, cells, world).T
        found = table.loc[world]
        assert found["n"] == 400
        assert found["expected_n"] == pytest.approx(n.mean())
        assert found["n_50"] == np.quantile(n, 0.5, method="inverted_cdf")
        assert found["n_90"] == np.quantile(n, 0.9, method="inverted_cdf")
        assert found["stopped"] == stopped.mean()
        assert found["undecided"] == pytest.approx((decision == 0).mean())
        if world == "alternative":
            assert found["power"] == pytest.approx((decision == WANTED[rule.goal]).mean())
        elif rule.goal == "smile":
            assert found["wrong"] == pytest.approx((decision != 0).mean())
        elif rule.goal in ("rope", "bf"):
            assert found["wrong"] == pytest.approx((decision == 1).mean())


def test_looking_often_makes_more_errors_and_larger_estimates(made, cells, rows):
    """And is what a rule that forgets earlier looks (the saboteur) would not show."""
    often = sequential(made, rows, StoppingRule("smile", "direction", 0.975), cells).set_index("world")
    once = sequential(made, rows, StoppingRule("smile", "direction", 0.975, minimum=40), cells).set_index(
        "world"
    )
    null, real = often.loc["null"], often.loc["alternative"]
    assert null["wrong"] > 1.5 * null["fixed_power"] * 2
    assert null["wrong_lower"] > 0.05
    assert once.loc["null", "wrong"] < null["wrong"]
    assert real["type_m"] > once.loc["alternative", "type_m"]
    assert real["expected_n"] < 45 < real["maximum"]


def test_expected_n_of_normal_studies_against_a_simulation_of_sums(made):
    """An independent path: z of growing sums, drawn here."""
    cells = grid_table((20, 40, 80))
    rows = rows_of(made, cells, lambda _: World(effect=(0.03, 0.0)), 20_000, seed=3)
    found = sequential(made, rows, StoppingRule("smile", "direction", 0.975), cells).iloc[0]
    rng, total, ended = np.random.default_rng(9), np.zeros(200_000), np.full(200_000, 80.0)
    stopped, before = np.zeros(200_000, dtype=bool), 0
    for n in (20, 40, 80):
        total += np.sqrt(n - before) * rng.standard_normal(200_000) * 0.1 + 0.03 * (n - before)
        share = 0.01 / (0.01 + 0.01 / n)
        hit = np.abs(total / n * share) >= ndtri(0.975) * np.sqrt(share * 0.01 / n)
        ended[hit & ~stopped] = n
        stopped |= hit
        before = n
    error = np.hypot(found["expected_n_mcse"], ended.std() / np.sqrt(len(ended)))
    assert abs(found["expected_n"] - ended.mean()) < Z * error


def test_a_failed_look_decides_nothing_and_the_study_goes_on(made, cells, rows):
    rows = rows.copy()
    first = cells.loc[(cells["world"] == "alternative") & (cells["participants"] == 10), "cell"].iloc[0]
    gone = (rows["cell"] == first) & (rows["replicate"] < 50)
    rows.loc[gone, "failure"] = "verdict failed"
    rows.loc[gone, [name for name in rows if ":" in name]] = pd.NA
    rule = RULES[0]
    found = sequential(made, rows, rule, cells).set_index("world").loc["alternative"]
    n, decision, _ = by_hand(rule, rows, cells, "alternative").T
    assert found["expected_n"] == pytest.approx(n.mean())
    assert found["power"] == pytest.approx((decision == 1).mean())
    assert (n[:50] > 10).all()


def test_only_whole_paths_are_used(made, cells, rows):
    """Where the largest N stopped early, later replicates of the others have no end."""
    last = cells.loc[(cells["world"] == "alternative") & (cells["participants"] == 60), "cell"].iloc[0]
    short = rows[(rows["cell"] != last) | (rows["replicate"] < 300)]
    found = sequential(made, short, RULES[0], cells).set_index("world")
    assert found.loc["alternative", "n"] == 300
    assert found.loc["null", "n"] == 400
    without = sequential(made, rows[rows["cell"] != last], RULES[0], cells).set_index("world")
    assert without.loc["alternative", "maximum"] == 40


def test_trajectories_are_the_rows(made, cells, rows):
    cohort = cohorts_of(cells, "alternative")[0]
    paths = trajectories(rows_by_cell(rows), made.goals[0], cohort)
    assert paths.mean.shape == (400, 5)
    cell = cohort.cells[2]
    own = rows[rows["cell"] == cell].sort_values("replicate")
    assert (paths.mean[:, 2] == own["smile:mean"]).all()
    assert (np.diff(paths.truth, axis=1) == 0).all()
    together = np.corrcoef(paths.mean[:, 3], paths.mean[:, 4])[0, 1]
    assert together == pytest.approx(np.sqrt(40 / 60), abs=0.08)


def test_the_goals_own_rule():
    assert rule_of(GOALS[0]) == StoppingRule("smile", "direction", 0.975)
    assert rule_of(GOALS[1]).rope == (-0.01, 0.01)
    assert rule_of(GOALS[2]).limit == 0.08
    assert rule_of(GOALS[3]).text == "Bayes factor ≥ 3 or ≤ 1/3"
    assert StoppingRule("smile", "direction", 0.95, minimum=20).text == "P(direction) ≥ 0.95, from N = 20"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (StoppingRule("smiles", "direction", 0.95), "expected a goal of the plan"),
        (StoppingRule("smile", "p-value", 0.05), "expected kind direction"),
        (StoppingRule("rope", "direction", 0.95), "its rows hold no such number"),
        (StoppingRule("smile", "direction", 0.4), "expected a limit above 0.5"),
        (StoppingRule("smile", "rope", rope=(0.1, 0.1)), "the lower first"),
    ],
)
def test_rules_that_cannot_be_are_refused(rule, told, made, cells, rows):
    with pytest.raises(SpecError, match=told):
        sequential(made, rows, rule, cells)
