"""Simulated studies: nested cohorts, new stimuli, worlds, and rows that follow from plan, cell and number alone."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from mien.power import replicates
from mien.power.cells import cells_of, check_cell
from mien.power.deciding import states_false
from mien.power.plan import Budget, Design, Draw, Goal, Shapes, Truth
from mien.power.replicates import Setup, row_columns, run_replicates
from mien.power.simulating import simulate, skeleton_of
from tests.power.plans import SDS, plan


def of_world(made, world):
    return [cell for cell in cells_of(made) if cell.world == world]


def responses(made, cell, number):
    found = simulate(made, cell, skeleton_of(made, cell), number)
    return found.responses[0], found.kept


def test_the_first_persons_of_a_cohort_are_the_same_in_every_n():
    made = plan(design=Design((5, 9), (4,), missing=(0.3,), dropout=0.2))
    small, large = of_world(made, "alternative")
    assert small.cohort == large.cohort
    assert small.key != large.key
    few, few_kept = responses(made, small, 7)
    many, many_kept = responses(made, large, 7)
    assert np.array_equal(few, many[: len(few)])
    assert np.array_equal(few_kept, many_kept[: len(few)])
    assert 0 < few_kept.sum() < len(few)


def test_worlds_and_other_designs_have_other_seeds():
    made = plan(design=Design((8,), (4, 5)))
    drawn = [responses(made, cell, 0)[0][:3].tolist() for cell in cells_of(made) if cell.world != "ceiling"]
    axes = of_world(made, "alternative")[0].axes
    drawn.append(responses(made, check_cell(made, axes), 0)[0][:3].tolist())
    assert len({tuple(values) for values in drawn}) == len(drawn) == 5


def test_stimuli_are_new_in_every_replicate():
    """Their effects have the sd of the truth over replicates, and average out over stimuli."""
    truth = Truth(
        {"valence": (0.0,)}, {"1|participant": 0.0, "valence|participant": 0.0, "1|stimulus": 0.2}, {}, 1e-6
    )
    made = plan(design=Design((2,), (4,)), truth=truth)
    cell = of_world(made, "alternative")[0]
    skeleton = skeleton_of(made, cell)
    first = [simulate(made, cell, skeleton, number).responses[0][0] for number in range(300)]
    assert np.std(first) == pytest.approx(0.2, rel=4 / np.sqrt(600))


def test_effects_have_the_covariance_of_the_truth():
    sds = {"1|participant": 0.3, "valence|participant": 0.5, "1|stimulus": 0.0}
    truth = Truth({"Intercept": (0.1,), "valence": (0.2,)}, sds, {"participant": -0.4}, 1e-6)
    made = plan(design=Design((4000,), (1,)), truth=truth)
    cell = of_world(made, "alternative")[0]
    y = responses(made, cell, 0)[0].reshape(4000, 2)  # negative, positive
    level, response = y.mean(axis=1), y[:, 1] - y[:, 0]
    assert level.mean() == pytest.approx(0.1, abs=4 * 0.3 / np.sqrt(4000))
    assert response.mean() == pytest.approx(0.2, abs=4 * 0.5 / np.sqrt(4000))
    assert level.std() == pytest.approx(0.3, rel=0.05)
    assert response.std() == pytest.approx(0.5, rel=0.05)
    assert np.corrcoef(level, response)[0, 1] == pytest.approx(-0.4, abs=0.06)


def test_the_null_world_has_no_effect_and_is_there_once():
    made = plan(truth=Truth({"valence": (0.02, 0.04)}, SDS, {}, 0.1))
    null = of_world(made, "null")
    assert len(null) == 2  # one for each N
    assert all(cell.coefficients == {"valence": 0.0} and cell.axes["valence"] == 0.0 for cell in null)
    assert len(of_world(made, "alternative")) == 4
    assert [cell.axes["participants"] for cell in of_world(made, "ceiling")] == [math.inf, math.inf]


def test_what_the_key_knows():
    made = plan()
    keys = {cell.key for cell in cells_of(made)}
    same = replace(made, name="other", budget=Budget(7, 3))
    assert {cell.key for cell in cells_of(same)} == keys
    more = plan(design=Design((8, 12, 16), (6,)))
    assert keys < {cell.key for cell in cells_of(more)}  # more participants leave the others as they are
    others = [
        plan(seed=2), plan(truth=Truth({"valence": (0.03,)}, SDS, {"participant": 0.2}, 0.11)),
        plan(Goal("smile", "direction", "valence", probability=0.99)), plan(shapes=Shapes(2, 1)),
        plan(formula="activation ~ valence + (1 | participant) + (1 | stimulus)", truth=Truth(
            {"valence": (0.03,)}, SDS, {"participant": 0.2}, 0.1,
            formula="activation ~ valence + (valence | participant) + (1 | stimulus)",
        )),
    ]  # fmt: skip
    for other in others:
        assert not keys & {cell.key for cell in cells_of(other)}


def same_rows(one, other, less=("seconds", "worker")):
    cut = [
        [{key: value for key, value in row.items() if key not in less} for row in rows]
        for rows in (one, other)
    ]
    return repr(cut[0]) == repr(cut[1])


def test_a_row_follows_from_plan_cell_and_number():
    made = plan(Goal("smile", "direction", "valence"), Goal("w", "width", "valence", width=0.1))
    cell = of_world(made, "alternative")[1]
    together = run_replicates(Setup.of(made), cell, range(6))
    again = pickle.loads(pickle.dumps((Setup.of(plan(*made.goals)), cell)))
    apart = [row for number in (4, 1, 0, 5, 3, 2) for row in run_replicates(*again, [number])]
    assert same_rows(together, sorted(apart, key=lambda row: row["replicate"]))
    assert list(together[0]) == list(row_columns(made))
    assert not same_rows(together, run_replicates(Setup.of(made), cell, range(1, 7)))


def test_a_study_without_trials_is_a_failure_with_its_cause():
    made = plan(design=Design((2,), (1,), missing=(0.95,)), budget=Budget(10, 10, null_replicates=0))
    rows = run_replicates(Setup.of(made), of_world(made, "alternative")[0], range(20))
    failed = [row for row in rows if row["failure"]]
    assert failed
    assert all(row["smile:met"] is None for row in failed)
    assert "expected at least one trial" in {row["failure"].split(":")[1].strip()[:27] for row in failed}


def test_a_covariate_and_groups():
    made = plan(
        Goal("group", "direction", "group"), Goal("trait", "direction", "empathy"),
        formula="activation ~ valence * group + empathy + (1 | participant) + (1 | stimulus)",
        truth=Truth({"group": (0.1,), "empathy": (0.1,)}, {"1|participant": 0.02, "1|stimulus": 0.02}, {}, 0.1),
        design=Design((16,), (6,), groups=("control", "patient"), covariates=("empathy",)),
    )  # fmt: skip
    by_world = {cell.world: run_replicates(Setup.of(made), cell, range(6)) for cell in cells_of(made)}
    for world in ("alternative", "ceiling"):
        assert {row["failure"] for row in by_world[world]} == {""}
        assert all(row["group:met"] and row["trait:met"] for row in by_world[world])
    assert all(abs(row["group:mean"] - 0.1) < 1e-3 for row in by_world["ceiling"])


def test_an_uncertain_truth_is_drawn_for_every_replicate():
    made = plan(truth=Truth({"valence": (Draw(0.03, 0.02),)}, SDS, {}, 0.1))
    assert made.truth.source == "prior"
    rows = run_replicates(Setup.of(made), of_world(made, "alternative")[0], range(40))
    truths = np.array([row["smile:truth"] for row in rows])
    assert truths.mean() == pytest.approx(0.03, abs=4 * 0.02 / np.sqrt(40))
    assert truths.std() == pytest.approx(0.02, rel=0.5)
    larger = run_replicates(Setup.of(made), of_world(made, "alternative")[1], range(3))
    assert [row["smile:truth"] for row in larger] == truths[:3].tolist()  # nested


def test_several_shapes_are_counted():
    goal = Goal("smile", "direction", "valence", at_least=2)
    made = plan(goal, shapes=Shapes(4, 3, correlation=0.5), truth=Truth({"valence": (0.2,)}, SDS, {}, 0.1))
    rows = run_replicates(Setup.of(made), of_world(made, "alternative")[0], range(8))
    assert {row["smile:decided"] for row in rows} == {3}
    assert all(row["smile:met"] for row in rows)
    null = run_replicates(Setup.of(made), of_world(made, "null")[0], range(8))
    assert all(row["smile:truth"] == 0.0 and row["smile:decided"] == row["smile:false"] for row in null)


def test_shapes_correlate_as_the_plan_says():
    truth = Truth({"valence": (0.0,)}, {name: 0.0 for name in SDS}, {}, 0.1)
    made = plan(shapes=Shapes(2, 2, correlation=0.6), truth=truth, design=Design((200,), (10,)))
    cell = of_world(made, "alternative")[0]
    both = simulate(made, cell, skeleton_of(made, cell), 0).responses
    assert np.corrcoef(both)[0, 1] == pytest.approx(0.6, abs=4 * 0.64 / np.sqrt(4000))


def test_causes_of_failures_have_no_numbers():
    told = replicates._missed(
        "khat 0.72 > 0.7, ESS of sigma 310 < 400, ESS of sigma 5 < 400, |z| between runs 6.1 > 5"
    )
    assert told == "khat, ESS of sigma, |z| between runs"


def test_an_interval_beyond_the_rope_on_the_other_side_is_false():
    goal = Goal("rope", "rope", "valence", rope=(-0.01, 0.01))
    decision, truth = np.array([1, 1, -1, -1, 0]), np.array([0.05, 0.05, 0.05, 0.0, 0.05])
    mean = np.array([0.05, -0.05, 0.0, 0.0, 0.03])
    assert states_false(goal, decision, truth, mean).tolist() == [False, True, True, False, False]
