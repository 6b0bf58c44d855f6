"""Power to find factors again: worlds, rows, goals; and at length that more persons find more."""

import multiprocessing

import numpy as np
import pytest

from mien.models.factors.rotation import varimax
from mien.power.cells import cells_of
from mien.power.plan import Plan, Truth
from mien.power.plan_file import plan_of, read_plan
from mien.power.recovery import Recovery, _found, factors_of, true_factors
from mien.power.replicates import Setup, row_columns, run_replicates
from mien.study.errors import SpecError

VOLATILE = ("seconds", "worker")


def given(**changes):
    """A plan's plain data: few persons, six shapes, two factors."""
    data = {
        "seed": 3,
        "design": {"participants": [8, 12], "pictures": 10},
        "recovery": {"factors": 2, "between": 1, "shapes": 6},
        "goals": [
            {"name": "same", "kind": "factor_recovery", "effect": "least within", "threshold": 0.9},
            {"name": "persons", "kind": "factor_recovery", "effect": "mean between", "threshold": 0.9},
        ],
        "budget": {"replicates": 10, "batch": 5},
    }
    for name, value in changes.items():
        data[name] = {**data[name], **value} if isinstance(value, dict) and name in data else value
    return data


@pytest.fixture(scope="module")
def plan():
    return plan_of(given())


def plain(rows):
    return [{key: value for key, value in row.items() if key not in VOLATILE} for row in rows]


def rows_of(given, number):
    """In another process."""
    plan = plan_of(given)
    return plain(run_replicates(Setup.of(plan), cells_of(plan)[0], [number]))


def test_there_are_alternatives_only_and_one_world(plan):
    cells = cells_of(plan)
    assert [(cell.world, cell.axes["participants"]) for cell in cells] == [
        ("alternative", 8),
        ("alternative", 12),
    ]
    assert len({cell.cohort for cell in cells}) == 1
    other = plan_of(given(recovery={"world": 1}))
    assert cells_of(other)[0].key != cells[0].key
    assert not np.allclose(true_factors(other).loading, true_factors(plan).loading)
    assert true_factors(plan_of(given())) is true_factors(plan)


def test_a_smaller_study_is_the_beginning_of_a_larger(plan):
    small, large = (factors_of(plan, cell, 1) for cell in cells_of(plan))
    assert len(small.participant) == 8 * 20
    assert np.array_equal(small.standardised, large.standardised[: len(small.standardised)])
    missing = plan_of(given(design={"missing": 0.25}))
    few, many = (factors_of(missing, cell, 1) for cell in cells_of(missing))
    assert np.array_equal(few.standardised, many.standardised[: len(few.standardised)])
    assert 0.65 < len(few.participant) / 160 < 0.85
    assert len(few.covariate) == 8


def test_a_row(plan):
    [row] = run_replicates(Setup.of(plan), cells_of(plan)[1], [0])
    assert set(row) == set(row_columns(plan))
    assert (row["failure"], row["n_rows"]) == ("", 240)
    assert 0.0 < row["same:value"] <= 1.0
    assert row["same:met"] == (row["same:decision"] == 1) == (row["same:value"] >= 0.9)
    assert row["same:lower"] <= row["same:mean"] <= row["same:upper"]


def test_the_same_row_in_another_process(plan):
    here = plain(run_replicates(Setup.of(plan), cells_of(plan)[0], [2]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(rows_of, (given(), 2)) == here


def test_congruence_knows_no_rotation_order_or_sign(plan):
    truth = true_factors(plan).loading
    rng = np.random.default_rng(0)
    turned = truth @ varimax(truth[None])[0] @ np.array([[0.0, -1.0], [1.0, 0.0]])
    assert _found(np.stack([turned] * 3), truth).of_mean == pytest.approx([1.0, 1.0])
    other = rng.normal(size=(3, *truth.shape))
    assert _found(other, truth).of_mean.max() < 0.9


def test_a_file_and_a_plan_in_python_are_one(plan, tmp_path):
    recovery = Recovery(2, 1, 6)
    made = Plan(
        "plan", plan.design, Truth({}), recovery.analysis, plan.goals, plan.budget, seed=3, recovery=recovery
    )
    assert made.sha256 == plan.sha256
    path = tmp_path / "PLAN.toml"
    path.write_text(
        "[design]\nparticipants = 6\n[recovery]\nfactors = 3\n"
        "[[goals]]\nname = 'f'\nkind = 'factor_recovery'\neffect = 'mean within'\nthreshold = 0.95\n"
    )
    assert read_plan(path).recovery == Recovery(3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"recovery": {"factors": 0}}, "recovery.factors: expected a whole number from 1"),
        ({"recovery": {"factors": 4}}, "recovery.factors: expected at most 3, found 4"),
        ({"recovery": {"shapes": 40}}, "recovery.shapes: expected at most 34"),
        ({"recovery": {"kind": 1}}, "recovery: expected keys among"),
        ({"truth": {"sigma": 0.1}}, r"expected no \[truth\] beside it"),
        ({"design": {"groups": ["a", "b"]}}, "design.groups: expected none with factors"),
        ({"shapes": {"count": 2}}, "shapes.count: expected 1 with factors"),
        ({"goals": [{"kind": "direction", "effect": "valence"}]}, "expected factor_recovery in a plan"),
        (
            {"goals": [{"kind": "factor_recovery", "effect": "valence", "threshold": 0.9}]},
            "one of mean within",
        ),
        (
            {"goals": [{"kind": "factor_recovery", "effect": "mean within"}]},
            "expected a congruence above 0, at most 1",
        ),
    ],
)
def test_what_worlds_of_factors_do_not_have_is_refused(changes, told):
    with pytest.raises(SpecError, match=told):
        plan_of(given(**changes))


def test_an_ordinary_plan_has_no_such_goal():
    data = given()
    del data["recovery"]
    data |= {
        "truth": {"sds": {"1|participant": 0.1}},
        "analysis": {"formula": "activation ~ 1 + (1 | participant)"},
    }
    data["goals"] = [{"kind": "factor_recovery", "effect": "Intercept", "threshold": 0.9}]
    with pytest.raises(SpecError, match=r"expected a plan with \[recovery\]"):
        plan_of(data)


@pytest.mark.statistical("power")
def test_more_persons_find_more():
    """Loadings between persons need persons, those within are found by few."""
    data = given(
        recovery={"factors": 3, "between": 1, "shapes": 12}, design={"participants": [16, 64], "pictures": 26}
    )
    plan = plan_of(data)
    setup, cells = Setup.of(plan), cells_of(plan)
    few, many = (run_replicates(setup, cell, range(20)) for cell in cells)

    def value(rows, goal):
        return np.mean([row[f"{goal}:value"] for row in rows if not row["failure"]])

    assert sum(row["failure"] != "" for row in few + many) <= 4
    assert value(few, "same") > 0.97
    assert 1.0 - value(many, "persons") < 0.5 * (1.0 - value(few, "persons"))  # .007 and .034 were seen
