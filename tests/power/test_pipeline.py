"""Power from raw frames: the same faces with and without losses, what is true, and what losses cost."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.power import pipeline
from mien.power.cells import cells_of
from mien.power.pipeline import GAIN, Pipeline, _paired, cost_of_pipeline, counted_effects, simulate_frames
from mien.power.plan_file import plan_of, read_plan
from mien.power.replicates import Setup, row_columns, run_replicates
from mien.power.simulating import skeleton_of
from mien.study.errors import SpecError

FORMULA = "activation ~ valence + (valence | participant) + (1 | stimulus)"
VOLATILE = ("seconds", "worker")


def given(**changes):
    """A plan's plain data: few persons, few short pictures."""
    data = {
        "design": {"participants": [5, 8], "pictures": 4},
        "pipeline": {"shape": "mouthSmile", "gain": 3.0, "picture_s": 2.0, "pairs": 3},
        "analysis": {"formula": FORMULA},
        "goals": [{"name": "smile", "kind": "direction", "effect": "valence"}],
        "budget": {"replicates": 10, "batch": 5, "null_replicates": 5},
    }
    for name, value in changes.items():
        data[name] = {**data[name], **value} if isinstance(value, dict) and name in data else value
    return data


@pytest.fixture(scope="module")
def frozen():
    return plan_of(given()).frozen


@pytest.fixture(scope="module")
def plan_with(frozen):
    """Plans with the priors of the first, which take a second to simulate."""

    def make(folder=Path(), **changes):
        plan = plan_of(given(**changes), folder)
        return replace(plan, analysis=replace(plan.analysis, frozen=frozen))

    return make


@pytest.fixture(scope="module")
def plan(plan_with):
    return plan_with()


@pytest.fixture(scope="module")
def setup(plan):
    return Setup.of(plan)


def cell_of(plan, world="alternative", participants=8):
    return next(
        cell for cell in cells_of(plan) if cell.world == world and cell.axes["participants"] == participants
    )


def lossy(**truth):
    """The default truth where faces are lost all the time."""
    from mien.simulation.truth import default_truth

    return replace(default_truth(), losses_per_min=20.0, **truth)


def plain(rows):
    return [{key: value for key, value in row.items() if key not in VOLATILE} for row in rows]


def rows_of(setup, participants, numbers):
    """In another process."""
    return plain(run_replicates(setup, cell_of(setup.plan, participants=participants), numbers))


def test_worlds_and_axes(plan_with):
    cells = cells_of(plan_with(pipeline={"gain": [1.0, 2.0]}))
    assert [cell.world for cell in cells] == ["null"] * 2 + [
        "alternative"
    ] * 4  # no ceiling: persons are simulated
    assert {cell.axes[GAIN] for cell in cells if cell.world == "null"} == {0.0}
    assert {cell.axes[GAIN] for cell in cells if cell.world == "alternative"} == {1.0, 2.0}
    assert len({cell.cohort for cell in cells}) == 3


def test_a_row_tells_what_was_lost_and_what_the_clean_world_decides(plan, setup):
    [row] = run_replicates(setup, cell_of(plan), [0])
    assert set(row) == set(row_columns(plan))
    assert row["failure"] == ""
    assert row["n_rows"] == round(row["kept_share"] * 64)
    assert row["persons_left"] == 8
    assert row["smile:clean"] in (True, False)
    assert row["smile:truth"] > 0.0
    null = run_replicates(setup, cell_of(plan, "null", 5), [0])[0]
    assert null["smile:truth"] == 0.0


def test_the_same_faces_with_and_without_losses(plan, monkeypatch):
    cell = cell_of(plan)
    skeleton = skeleton_of(plan, cell)
    monkeypatch.setattr(pipeline, "default_truth", lossy)
    monkeypatch.setattr(
        "mien.power.pipeline._latent", __import__("mien.power.pipeline", fromlist=["_"])._latent.__wrapped__
    )
    lost, clean = (simulate_frames(plan, cell, skeleton, 1, clean=one) for one in (False, True))
    assert clean.kept.all()
    assert 0.2 < lost.kept.mean() < 0.95
    pair = np.stack([lost.responses[0], clean.responses[0]])[:, lost.kept]
    assert np.corrcoef(pair)[0, 1] > 0.9


def test_a_smaller_study_is_the_beginning_of_a_larger(plan):
    small, large = (
        simulate_frames(plan, cell, skeleton_of(plan, cell), 2)
        for cell in (cell_of(plan, participants=5), cell_of(plan))
    )
    assert np.array_equal(small.responses[0], large.responses[0][: 5 * 8], equal_nan=True)
    other = simulate_frames(plan, cell_of(plan), skeleton_of(plan, cell_of(plan)), 3)
    assert not np.array_equal(large.responses, other.responses, equal_nan=True)


def test_the_same_rows_in_another_process(plan, setup):
    here = plain(run_replicates(setup, cell_of(plan, participants=5), [1, 0]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(rows_of, (setup, 5, [0, 1]))
    assert here == there[::-1]


def test_what_is_true_is_counted_and_grows_with_the_gain():
    short = Pipeline("mouthSmile", picture_s=2.0, pairs=6)
    one, three = (dict(counted_effects(short, FORMULA, 4, 0, gain, 1))["valence"] for gain in (1.0, 3.0))
    assert 0.0 < 2.0 * one < three


def test_a_recipe_lies_beside_the_plan_or_in_it(tmp_path, plan_with):
    (tmp_path / "recipe.toml").write_text("baseline_correction = 'none'\n")
    named = plan_with(tmp_path, pipeline={"recipe": "recipe.toml"})
    inside = plan_with(pipeline={"recipe": {"baseline_correction": "none"}})
    assert named.pipeline == inside.pipeline
    assert named.pipeline.recipe.baseline_correction == "none"
    strict = plan_with(pipeline={"recipe": {"exclusion": {"tracking_lost": 0.9}}})
    assert cells_of(strict)[0].key != cells_of(inside)[0].key


def test_strict_exclusions_cost_trials(plan_with):
    strict = plan_with(pipeline={"recipe": {"exclusion": {"moving_baseline": 0.001}}})
    [row] = run_replicates(Setup.of(strict), cell_of(strict), [0])
    assert row["kept_share"] < 0.7
    assert row["n_rows"] == round(64 * row["kept_share"])


def outcomes(both, only_pipeline, only_clean, neither):
    counts = (both, only_pipeline, only_clean, neither)
    return pd.DataFrame({
        "cell": "a", "smile:met": np.repeat([True, True, False, False], counts),
        "smile:clean": np.repeat([True, False, True, False], counts), "kept_share": 0.9, "persons_left": 8,
        "smile:mean": np.tile([0.02, 0.03], sum(counts) // 2), "smile:clean_mean": 0.03,
    })  # fmt: skip


def test_costs_are_paired(plan):
    [found] = cost_of_pipeline(plan, outcomes(60, 2, 10, 28)).to_dict("records")
    assert (found["n"], found["left_out"], found["kept_share"]) == (100, 0, pytest.approx(0.9))
    assert (found["power"], found["power_clean"], found["difference"]) == pytest.approx((0.62, 0.70, -0.08))
    # by hand: 2.5 and 10.5 of 102 differ
    half = 1.959964 * np.sqrt(2.5 + 10.5 - 8.0**2 / 102) / 102
    assert (found["lower"], found["upper"]) == pytest.approx((-8 / 102 - half, -8 / 102 + half))
    assert (found["shift"], found["shift_mcse"]) == pytest.approx((-0.005, 0.005 / np.sqrt(99)))
    [same] = cost_of_pipeline(plan, outcomes(100, 0, 0, 0)).to_dict("records")
    assert same["lower"] < 0.0 < same["upper"]
    failed = outcomes(50, 0, 0, 0).astype({"smile:met": object})
    failed.loc[:9, "smile:met"] = None
    assert cost_of_pipeline(plan, failed)["left_out"].tolist() == [10]


def test_intervals_of_costs_cover():
    rng = np.random.default_rng(1)
    chances = [0.75, 0.01, 0.05, 0.19]
    covered = 0
    for _ in range(400):
        drawn = rng.choice(4, size=200, p=chances)
        found = _paired(drawn < 2, (drawn == 0) | (drawn == 2))
        covered += found["lower"] <= -0.04 <= found["upper"]
    assert 0.92 < covered / 400 < 0.98


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pipeline": {"shape": "mouthSmle"}}, r"expected a blend shape that reacts .*mouthSmile"),
        ({"pipeline": {"shape": "jawOpen"}}, "expected a blend shape that reacts"),
        ({"pipeline": {"gain": {"mean": 1.0, "sd": 0.1}}}, "pipeline.gain: expected numbers"),
        ({"pipeline": {"picture_s": 0.1}}, "pipeline.picture_s: expected seconds"),
        ({"pipeline": {"pairs": 0}}, "pipeline.pairs: expected a whole number"),
        ({"pipeline": {"tempo": 1}}, "pipeline: expected keys among"),
        ({"pipeline": {"recipe": {"sides": "both"}}}, "expected sides = 'mean'"),
        ({"pipeline": {"recipe": {"windw": 1}}}, r"pipeline\.recipe: .*window"),
        ({"truth": {"sigma": 0.1}}, "leave it out"),
        ({"design": {"missing": 0.1}}, "design.missing: expected 0.0 with a pipeline, found 0.1"),
        ({"design": {"groups": ["a", "b"]}}, "design.groups: expected none with a pipeline, found a, b"),
        ({"shapes": {"count": 3}}, "shapes.count: expected 1"),
        ({"analysis": {"formula": "activation ~ valence + (1 | participant:session)"}}, "pipeline, found 'session'"),
        ({"goals": [{"kind": "direction", "effect": "Intercept"}]}, "expected effects of valence"),
    ],
)  # fmt: skip
def test_what_raw_studies_do_not_have_is_refused(changes, told):
    with pytest.raises(SpecError, match=told):
        plan_of(given(**changes))


def test_a_plan_file_with_a_pipeline(tmp_path):
    path = tmp_path / "PLAN.toml"
    path.write_text(
        "[design]\nparticipants = 6\npictures = 4\n[pipeline]\nshape = 'mouthSmile'\n"
        f"[analysis]\nformula = '{FORMULA}'\n"
        "[[goals]]\nname = 'smile'\nkind = 'direction'\neffect = 'valence'\n"
    )
    plan = read_plan(path)
    assert plan.truth.coefficients == {GAIN: (1.0,)}
    assert plan.pipeline == Pipeline("mouthSmile")
