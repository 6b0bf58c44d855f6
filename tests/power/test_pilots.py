"""A pilot's posterior as the truth: draws keep their moments, the null world its zeros, and a plan its files."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mien.models import fit, valence
from mien.power.cells import cells_of, true_effects
from mien.power.justification import _truth
from mien.power.pilots import (
    pilot_design,
    pilot_table,
    plan_from_fit,
    read_pilot,
    world_of_draw,
    write_plan_from_fit,
)
from mien.power.plan import Draw
from mien.power.plan_file import read_plan
from mien.power.replicates import Setup, run_replicates
from mien.power.simulating import TRUTH, _stream, _world, limit_sigma
from mien.reports_app.power_tables import truth_table
from mien.study.errors import FitError, SpecError

GOAL = "direction of valence"
VOLATILE = ("seconds", "worker")


def crossed(participants=12, pictures=8, films=4, seed=1):
    """A single outcome of persons by stimuli, with media; pairs of three persons are missing."""
    rng = np.random.default_rng(seed)
    stimuli = [(f"{medium}{valence}{n}", valence, medium) for medium, count in (("picture", pictures), ("film", films))
               for valence in ("negative", "positive") for n in range(count)]  # fmt: skip
    person, item = (index.ravel() for index in np.indices((participants, len(stimuli))))
    names, valences, media = (np.array(column) for column in zip(*stimuli, strict=True))
    sign = np.where(valences == "positive", 0.5, -0.5)[item]
    level = rng.normal(0, 0.03, participants)
    slope = 0.06 + 0.8 * level + rng.normal(0, 0.02, participants)
    value = 0.1 + level[person] + slope[person] * sign + rng.normal(0, 0.02, len(names))[item]
    frame = pd.DataFrame({
        "participant": [f"{n:02d}" for n in person], "stimulus": names[item], "valence": valences[item],
        "medium": media[item], "activation": value + rng.normal(0, 0.04, len(item)),
        "age_z": rng.normal(size=participants)[person],
    })  # fmt: skip
    return frame[~((person < 3) & (item < 4))].reset_index(drop=True)


@pytest.fixture(scope="module")
def pilot():
    return fit(valence(), crossed(), draws=500, seed=2)


@pytest.fixture(scope="module")
def plan(pilot, tmp_path_factory):
    path = tmp_path_factory.mktemp("pilot") / "PLAN.toml"
    write_plan_from_fit(pilot, path)
    return read_plan(path)


def changed(tree, **attrs):
    own = xr.DataTree.from_dict({name: node.to_dataset() for name, node in tree.children.items()})
    own.attrs = dict(tree.attrs) | attrs
    return own


def test_a_table_has_a_row_a_draw_of_all_chains(pilot):
    table = pilot_table(pilot, draws=200)
    assert list(table.columns) == [
        "Intercept", "valence", "sd:1|participant", "sd:valence|participant", "sd:1|stimulus",
        "corr:participant:1,valence", "sigma",
    ]  # fmt: skip
    draws = pilot["posterior"]["valence"].to_numpy()
    assert len(table) == 200
    assert [np.isin(table["valence"], chain).sum() for chain in draws] == [50] * 4
    assert len(pilot_table(pilot, draws=10**6)) == draws.size


def test_a_draw_is_a_world(pilot):
    table = pilot_table(pilot)
    coefficients, sds, correlations, sigma, parameters = world_of_draw(table, 7)
    row = table.iloc[7]
    assert coefficients == {"Intercept": row["Intercept"], "valence": row["valence"]}
    assert sds["valence|participant"] == row["sd:valence|participant"]
    assert correlations["participant"] == {("1", "valence"): row["corr:participant:1,valence"]}
    assert (sigma, parameters) == (row["sigma"], {})


def test_terms_of_products_and_other_families_keep_their_names():
    table = pd.DataFrame({
        "Intercept": [0.1], "valence:medium": [0.2], "sd:1|participant:session": [0.3],
        "sd:valence:medium|participant:session": [0.4], "corr:participant:session:1,valence:medium": [-0.5],
        "phi": [20.0],
    })  # fmt: skip
    coefficients, _, correlations, _, parameters = world_of_draw(table, 0)
    assert coefficients == {"Intercept": 0.1, "valence:medium": 0.2}
    assert correlations == {"participant:session": {("1", "valence:medium"): -0.5}}
    assert parameters == {"phi": 20.0}


def flat(world):
    coefficients, sds, correlations, sigma, _ = world
    return [*coefficients.values(), *sds.values(), *correlations["participant"].values(), sigma]


def worst(drawn, whole, error):
    """The largest |z| of means and products, of numbers in sds of the whole; error : of a mean of variance 1."""
    drawn, whole = ((values - whole.mean(axis=0)) / whole.std(axis=0) for values in (drawn, whole))
    found = []
    for of in (lambda x: x, lambda x: (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)):
        apart = of(drawn).mean(axis=0) - of(whole).mean(axis=0)
        found.append(np.abs(apart) / (error * of(whole).std(axis=0)))
    return max(map(np.max, found))


def worlds(plan, replicates):
    cell = next(cell for cell in cells_of(plan) if cell.world == "alternative")
    return np.array([
        flat(_world(plan, cell, _stream(plan, cell, number, TRUTH))) for number in range(replicates)
    ])  # fmt: skip


def test_worlds_have_the_posteriors_means_and_covariances(plan, pilot):
    whole, table = pilot_table(pilot, draws=10**6).to_numpy(), plan.truth.pilot.to_numpy()
    assert worst(table, whole, np.sqrt(1 / len(table) + 1 / len(whole))) < 4.0
    assert worst(worlds(plan, 2000), table, np.sqrt(1 / 2000)) < 4.0


def test_columns_that_were_shuffled_are_found(plan):
    rng, table = np.random.default_rng(0), plan.truth.pilot
    apart = pd.DataFrame({name: rng.permutation(table[name]) for name in table})
    wrong = replace(plan, truth=replace(plan.truth, pilot=apart))
    assert worst(worlds(wrong, 2000), table.to_numpy(), np.sqrt(1 / 2000)) > 6.0


def test_the_null_world_has_no_effect_and_a_key_of_its_own(plan):
    cells = cells_of(plan)
    null, alternative = (
        next(cell for cell in cells if cell.world == world) for world in ("null", "alternative")
    )
    assert null.coefficients == {"valence": 0.0}
    assert null.cohort != alternative.cohort
    setup = Setup.of(plan)
    rows = run_replicates(setup, null, range(3)) + run_replicates(setup, alternative, range(3))
    assert [row["failure"] for row in rows] == [""] * 6
    assert [row[f"{GOAL}:truth"] for row in rows[:3]] == [0.0] * 3
    table = plan.truth.pilot["valence"].to_numpy()
    assert all(row[f"{GOAL}:truth"] in table for row in rows[3:])


def beside(plan, **coefficients):
    return replace(plan, truth=replace(plan.truth, coefficients=coefficients))


def test_coefficients_beside_a_pilot_are_in_place_of_its_own(plan):
    table = plan.truth.pilot
    by_hand = beside(plan, valence=(0.02, 0.03))
    cells = [
        cell for cell in cells_of(by_hand) if cell.world == "alternative" and cell.axes["participants"] == 12
    ]
    assert [cell.axes["valence"] for cell in cells] == [0.02, 0.03]
    for cell in cells:
        for number in range(5):
            world = _world(by_hand, cell, _stream(by_hand, cell, number, TRUTH))
            row = table.index[table["sigma"] == world.sigma][0]
            assert world.coefficients == {
                "Intercept": table["Intercept"][row],
                "valence": cell.axes["valence"],
            }
            assert world.sds["valence|participant"] == table["sd:valence|participant"][row]
    null = next(cell for cell in cells_of(by_hand) if cell.world == "null")
    assert null.coefficients == {"valence": 0.0}
    assert true_effects(by_hand, "valence") == [0.02, 0.03]
    rows = run_replicates(Setup.of(by_hand), cells[0], range(2))
    assert [row[f"{GOAL}:truth"] for row in rows] == [0.02, 0.02]


def test_a_sum_takes_what_is_named_and_leaves_the_rest_to_the_draws(plan):
    intercept = plan.truth.pilot["Intercept"]
    [fixed] = true_effects(beside(plan, valence=(0.02,)), "valence + Intercept")
    assert fixed == pytest.approx((0.02 + intercept.mean(), intercept.std(ddof=0)))
    [drawn] = true_effects(beside(plan, valence=(Draw(0.02, 0.01),)), "valence / 2 + Intercept")
    assert drawn == pytest.approx((0.01 + intercept.mean(), np.hypot(0.005, intercept.std(ddof=0))))
    null = next(cell for cell in cells_of(beside(plan, Intercept=(0.1,))) if cell.world == "null")
    assert null.coefficients == {"Intercept": 0.1, "valence": 0.0}


def test_what_is_named_beside_a_pilot_is_told(plan):
    by_hand = beside(plan, valence=(0.02,))
    told = _truth(by_hand)
    assert "In place of the pilot's, the planners assumed valence = 0.02" in told
    assert "In place" not in _truth(plan)
    lines = truth_table(by_hand).set_index("parameter")["true value"]
    assert lines["valence"] == ".02, in place of the pilot’s"
    assert lines["Intercept"].startswith("drawn from a pilot’s posterior")


@pytest.mark.parametrize(
    ("coefficients", "told"),
    [
        ({"valense": (0.02,)}, "truth.coefficients: expected names of the formula .*'valense'"),
        ({"valence": (20.0,)}, "expected an effect on the scale of activation"),
        ({"valence": (0.02, 0.02)}, "expected different values"),
    ],
)
def test_wrong_coefficients_beside_a_pilot_are_refused(plan, coefficients, told):
    with pytest.raises(SpecError, match=told):
        beside(plan, **coefficients)


def test_a_goal_that_the_named_coefficient_cannot_meet_is_refused(plan):
    goal = replace(plan.goals[0], wanted="negative")
    with pytest.raises(SpecError, match="right for some assumed truth"):
        replace(beside(plan, valence=(0.02,)), goals=(goal,))
    assert replace(plan, goals=(goal,)).goals == (goal,)  # the pilot's own draws may be anywhere


def test_a_file_may_name_coefficients_beside_a_pilot_and_nothing_else(pilot, tmp_path):
    path = write_plan_from_fit(pilot, tmp_path / "PLAN.toml")[0]
    text = path.read_text()
    path.write_text(
        text.replace("# [truth.coefficients] ", "[truth.coefficients]").replace(
            '# "valence" = 0.01', '"valence" = 0.01'
        )
    )
    assert read_plan(path).truth.coefficients == {"valence": (0.01,)}
    path.write_text(text.replace("[truth]\n", "[truth]\nsigma = 0.1\n"))
    with pytest.raises(SpecError, match="nothing but coefficients beside a pilot"):
        read_plan(path)


def test_every_size_of_a_cohort_has_the_same_truth(plan):
    setup = Setup.of(plan)
    cells = [cell for cell in cells_of(plan) if cell.world == "alternative"]
    truths = {run_replicates(setup, cell, [4])[0][f"{GOAL}:truth"] for cell in cells[:2]}
    assert len(truths) == 1


def test_infinitely_many_participants_know_the_truth_but_for_the_stimuli(plan):
    ceiling = next(cell for cell in cells_of(plan) if cell.world == "ceiling")
    row = run_replicates(Setup.of(plan), ceiling, [0])[0]
    means = plan.truth.pilot.mean()
    assert row["failure"] == ""
    assert (
        limit_sigma(plan.truth)
        == 1e-3 * means[["sd:1|participant", "sd:valence|participant", "sd:1|stimulus", "sigma"]].min()
    )
    assert abs(row[f"{GOAL}:mean"] - row[f"{GOAL}:truth"]) < 4 * row[f"{GOAL}:sd"]


def test_the_same_rows_again(plan):
    cell = cells_of(plan)[-1]
    once, again = (
        [
            {key: value for key, value in row.items() if key not in VOLATILE}
            for row in run_replicates(setup, cell, numbers)
        ]
        for setup, numbers in ((Setup.of(plan), [1, 2]), (Setup.of(plan), [2, 1]))
    )
    assert once == again[::-1]


def test_a_plan_has_the_fits_design_and_priors(plan, pilot):
    assert plan.design.participants == (12, 18, 24, 36)
    assert (plan.design.pictures, plan.design.films, plan.design.missing) == ((12,), (0,), (0.042,))
    assert plan.frozen.sha256 == pilot.attrs["priors_sha256"]
    assert plan.analysis.spec.formula == valence().formula
    assert plan.truth.source == "pilot"
    [effect] = true_effects(plan, "valence")
    assert effect.mean == pytest.approx(plan.truth.pilot["valence"].mean())


def test_media_and_covariates_are_told_apart_where_the_formula_has_them(tmp_path):
    tree = fit(
        "activation ~ valence * medium + age_z + (valence | participant) + (1 | stimulus)",
        crossed(),
        draws=500,
    )
    found = pilot_design(tree)
    assert (found.pictures, found.films, found.covariates) == (8, 4, ("age_z",))
    write_plan_from_fit(tree, tmp_path / "PLAN.toml")
    plan = read_plan(tmp_path / "PLAN.toml")
    row = run_replicates(Setup.of(plan), cells_of(plan)[-1], [0])[0]
    assert row["failure"] == ""


def test_of_several_shapes_one_is_taken(tmp_path):
    shapes = [
        crossed(seed=seed).assign(blend_shape=name) for seed, name in enumerate(("mouthSmile", "mouthFrown"))
    ]
    several = fit(valence(), pd.concat(shapes, ignore_index=True), draws=500)
    with pytest.raises(FitError, match=r"power from a fit: expected the blend shape .*found none"):
        pilot_table(several)
    write_plan_from_fit(several, tmp_path / "PLAN.toml", shape="mouthFrown")
    plan = read_plan(tmp_path / "PLAN.toml")
    assert list(plan.frozen.outcomes) == ["mouthFrown"]
    draws = several["posterior"]["valence"].sel(blend_shape="mouthFrown").to_numpy()
    assert np.isin(plan.truth.pilot["valence"], draws).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"smooths": ["s(trial)"]}, "curves"),
        ({"residual": "ar1"}, "AR\\(1\\)"),
        ({"formula": "activation ~ blend_shape + (1 | participant)"}, "all shapes in one model"),
        ({"sigma_by": ["medium"]}, "a sigma for each stratum"),
    ],
)
def test_models_that_plans_do_not_have_are_refused(pilot, change, told):
    spec = json.loads(pilot.attrs["model_spec"]) | change
    with pytest.raises(FitError, match=f"power from a fit: .*{told}.*fit a model without"):
        pilot_table(changed(pilot, model_spec=json.dumps(spec)))


def test_a_fit_that_was_pooled_over_shapes_gives_the_shape_s_own_posterior(pilot):
    spec = json.loads(pilot.attrs["model_spec"]) | {"pooling": "partial"}
    pooled = changed(pilot, model_spec=json.dumps(spec))
    pd.testing.assert_frame_equal(pilot_table(pooled), pilot_table(pilot))
    assert "pooling" not in plan_from_fit(pooled, name="p", pilot="p", pilot_sha256="", frozen="f")


def test_failed_verdicts_factors_and_missing_rows_are_refused(pilot):
    with pytest.raises(FitError, match="checks, found no verdict"):
        pilot_table(changed(pilot, diagnostics="failed"))
    with pytest.raises(FitError, match="found one of co-activation"):
        pilot_table(changed(pilot, family="co_activation"))
    bare = changed(pilot)
    bare.children = {"posterior": bare["posterior"].copy()}
    with pytest.raises(FitError, match="holds its rows"):
        plan_from_fit(bare, name="p", pilot="p", pilot_sha256="", frozen="f")


def test_columns_that_plans_do_not_have_are_refused(pilot):
    spec = json.loads(pilot.attrs["model_spec"]) | {
        "formula": "activation ~ valence + trial + (1 | participant)"
    }
    with pytest.raises(FitError, match=r"expected columns that plans have .* found 'trial'"):
        pilot_design(changed(pilot, model_spec=json.dumps(spec)))


def test_files_that_were_changed_or_do_not_fit_are_refused(pilot, tmp_path):
    path, draws, _ = write_plan_from_fit(pilot, tmp_path / "PLAN.toml")
    text = path.read_text()
    table = pd.read_parquet(draws)
    (table * 1.01).to_parquet(draws)
    with pytest.raises(SpecError, match=r"expected .* as the plan was written"):
        read_plan(path)
    (table - 1.0).to_parquet(draws)
    with pytest.raises(SpecError, match="standard deviations from 0"):
        read_pilot(draws)
    table.drop(columns="sd:1|stimulus").to_parquet(draws)
    unchecked = [line for line in text.splitlines() if not line.startswith("pilot_sha256")]
    path.write_text("\n".join(unchecked))
    with pytest.raises(SpecError, match=r"found no sd:1\|stimulus"):
        read_plan(path)
    draws.write_text("nothing")
    with pytest.raises(SpecError, match="expected draws in Parquet"):
        read_pilot(draws)
    draws.unlink()
    with pytest.raises(SpecError, match="expected a file of draws"):
        read_plan(path)
