"""Shares, errors and sizes of cells against closed forms and plain loops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from mien.power.cells import cells_of, cells_table
from mien.power.estimates import clean_rows, estimates, expected_error, failures, goal_rows, share, wilson
from mien.power.nested import noise_ratios
from mien.power.plan import Budget, Design, Draw, Goal, Shapes, Truth
from mien.priors import Normal
from mien.study.errors import StudyError
from tests.power import synthetic
from tests.power.plans import SDS, known, plan
from tests.power.synthetic import World, grid_table, rows_of, rows_of_cell

Z = 4.0
GOALS = (
    Goal("smile", "direction", "valence"),
    Goal("rope", "rope", "valence", rope=(-0.01, 0.01)),
    Goal("width", "width", "valence", width=0.07),
    Goal("bf", "bayes_factor", "valence", threshold=3.0),
)


@pytest.fixture(scope="module")
def planned():
    return plan(*GOALS)


def line(table, goal, **axes):
    found = table[table["goal"] == goal]
    for name, value in axes.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


# Intervals


def test_wilson_against_its_definition():
    """The ends are the p at which the count lies 1.96 standard errors away."""
    lower, upper = wilson(30, 100)
    for p in (lower, upper):
        assert abs(abs(0.3 - p) - norm.ppf(0.975) * np.sqrt(p * (1 - p) / 100)) < 1e-12
    assert wilson(0, 50)[0] == 0.0
    assert wilson(50, 50)[1] == 1.0
    assert np.isnan(wilson(0, 0)).all()


def coverage(interval, p, n):
    """Exact: over all counts."""
    counts = np.arange(n + 1)
    inside = [low <= p <= high for low, high in (interval(count, n) for count in counts)]
    from scipy.stats import binom

    return float(binom.pmf(counts, n, p)[inside].sum())


def wald(count, n):
    half = norm.ppf(0.975) * np.sqrt(count * (n - count) / n**3)
    return count / n - half, count / n + half


def test_wilson_covers_and_the_plain_interval_does_not():
    """Averaged over powers from .8 to .999, where planners look; the plain interval is the saboteur."""
    powers = np.linspace(0.8, 0.999, 60)
    covered = np.mean([coverage(wilson, p, 100) for p in powers])
    assert 0.945 < covered < 0.965
    assert np.mean([coverage(wald, p, 100) for p in powers]) < 0.93


def test_a_share_of_nothing_is_unknown():
    assert np.isnan(share(np.empty(0))).all()
    assert share(np.array([True, False]), 4)[:2] == (0.25, np.sqrt(0.25 * 0.75 / 4))


# Cells against closed forms


def test_power_coverage_and_errors_against_closed_forms(planned):
    cells = grid_table([16, 64], worlds=("null", "alternative"))
    world = World(sd=0.1, effect=(0.03, 0.0))
    none = world._replace(effect=(0.0, 0.0))
    rows = rows_of(planned, cells, lambda cell: none if cell["world"] == "null" else world, 20_000)
    table = estimates(planned, rows, cells)
    for n in (16, 64):
        smile = line(table, "smile", world="alternative", participants=n)
        truth = synthetic.power_of_direction(n, world)
        assert abs(smile["power"] - truth) < Z * smile["mcse"]
        sd = synthetic.posterior(0.0, 0.01 / n)[1]
        share_of_data = 0.01 / (0.01 + 0.01 / n)
        moved = norm(share_of_data * 0.03, np.sqrt(share_of_data) * sd)
        limit = norm.ppf(0.975) * sd
        wrong = moved.cdf(-limit)
        assert abs(smile["wrong"] - wrong) < Z * np.sqrt(wrong / 20_000) + 1e-9
        assert abs(smile["undecided"] - (moved.cdf(limit) - moved.cdf(-limit))) < Z * smile["undecided_mcse"]
        points = np.linspace(-0.2, 0.2, 40_001)
        beyond = np.abs(points) >= limit
        mean = np.sum(np.abs(points) * moved.pdf(points) * beyond) / np.sum(moved.pdf(points) * beyond)
        assert abs(smile["type_m"] - mean / 0.03) < Z * smile["type_m_mcse"]
        signs = wrong / np.sum(moved.pdf(points) * beyond) / (points[1] - points[0])
        assert abs(smile["type_s"] - signs) < Z * np.sqrt(signs / smile["stated"]) + 1e-4
        covered = moved.cdf(0.03 + limit) - moved.cdf(0.03 - limit)
        assert abs(smile["coverage"] - covered) < Z * smile["coverage_mcse"]
        every = np.sum(np.abs(points) * moved.pdf(points)) * (points[1] - points[0]) / 0.03
        assert (
            n > 16 or abs(smile["type_m"] - every) > 20 * smile["type_m_mcse"]
        )  # of all studies it is another
        error = line(table, "smile", world="null", participants=n)
        exact = 2 * norm.cdf(-norm.ppf(0.975) / np.sqrt(share_of_data))
        assert error["error_lower"] <= exact <= error["error_upper"]
        assert abs(error["width"] - 2 * norm.ppf(0.975) * sd) < 1e-12
        assert line(table, "width", world="alternative", participants=n)["power"] == (n == 64)
    both = line(table, "smile", world="alternative", participants=64)
    assert abs(both["power"] + both["undecided"] + both["wrong"] - 1.0) < 1e-12


def test_estimates_against_plain_loops(planned):
    """Every goal, with a truth that is drawn, one replicate after the other."""
    cells = grid_table([16])
    rows = rows_of(planned, cells, lambda _: World(effect=(0.012, 0.02)), 800)
    table = estimates(planned, rows, cells)
    for goal in GOALS:
        wrong = undecided = met = covered = 0
        sizes, truths, signs = [], [], []
        for _, row in rows.iterrows():
            decision, truth, mean = (row[f"{goal.name}:{name}"] for name in ("decision", "truth", "mean"))
            met += bool(row[f"{goal.name}:met"])
            covered += row[f"{goal.name}:lower"] <= truth <= row[f"{goal.name}:upper"]
            undecided += decision == 0
            inside = -0.01 <= truth <= 0.01 if goal.kind == "rope" else truth == 0
            if goal.kind == "direction" and decision:
                wrong += decision != np.sign(truth)
            elif goal.kind in ("rope", "bayes_factor"):
                wrong += decision == 1 and inside
                wrong += decision == -1 and not inside
                wrong += goal.kind == "rope" and decision == 1 and not inside and mean * truth < 0
            if (goal.kind == "direction" and decision) or (
                goal.kind in ("rope", "bayes_factor") and decision == 1
            ):
                sizes.append(abs(mean))
                truths.append(abs(truth))
                signs.append(mean * truth < 0)
        found = line(table, goal.name)
        assert found["power"] == met / 800
        assert found["coverage"] == covered / 800
        if goal.kind == "width":
            assert np.isnan([found["wrong"], found["undecided"], found["type_m"]]).all()
            continue
        assert (found["wrong"], found["undecided"]) == (wrong / 800, undecided / 800)
        assert found["stated"] == len(sizes)
        assert found["type_s"] == pytest.approx(np.mean(signs), abs=1e-12)
        assert found["type_m"] == pytest.approx(np.mean(sizes) / np.mean(truths), rel=1e-12)


def test_the_error_of_type_m_is_that_of_repetitions(planned):
    cells = grid_table([16])
    found = [
        line(
            estimates(
                planned, rows_of(planned, cells, lambda _: World(effect=(0.02, 0.02)), 200, seed), cells
            ),
            "smile",
        )
        for seed in range(40)
    ]
    spread = np.std([one["type_m"] for one in found])
    assert spread == pytest.approx(np.mean([one["type_m_mcse"] for one in found]), rel=0.35)


def test_assurance_tends_to_the_share_of_truths_in_the_region():
    made = plan(
        Goal("smile", "direction", "valence", wanted="positive"),
        truth=Truth({"valence": (Draw(0.02, 0.02),)}, SDS), budget=Budget(null_replicates=0),
    )  # fmt: skip
    cells = grid_table([20, 40_000])
    table = estimates(made, rows_of(made, cells, lambda _: World(effect=(0.02, 0.02)), 4000), cells)
    region = norm.cdf(1.0)
    last = line(table, "smile", participants=40_000)
    assert last["assurance"]
    assert abs(last["in_region"] - region) < Z * np.sqrt(region * (1 - region) / 4000)
    assert abs(last["power"] - last["in_region"]) < 0.05
    assert line(table, "smile", participants=20)["power"] < last["power"]


def test_a_ceiling_stands_beside_every_cell_of_its_design_and_truth():
    made = plan(truth=Truth({"valence": (0.02, 0.04)}, SDS), design=Design((8, 12), (6,), missing=(0.0, 0.2)))
    cells = cells_table(cells_of(made))
    rows = rows_of(made, cells, lambda cell: World(stimulus_sd=0.02, effect=(cell["valence"], 0.0)), 300)
    table = estimates(made, rows, cells)
    own = table[table["world"] == "ceiling"].set_index("valence")["power"]
    grid = table[table["world"] == "alternative"]
    assert len(grid) == 8
    assert own[0.02] < own[0.04]
    for _, row in grid.iterrows():
        assert row["ceiling"] == own[row["valence"]]
        assert row["ceiling_lower"] < row["ceiling"] < row["ceiling_upper"]
    assert table.loc[table["world"] == "null", "ceiling"].isna().all()


# The null world where it is known exactly


def exact_plan(**parts):
    sds = dict.fromkeys(SDS, 0.02)
    return plan(
        Goal("smile", "direction", "valence"), priors=known(sds, 0.1, Normal(0.0, 0.1)),
        truth=parts.pop("truth", Truth({"valence": (0.03,)}, sds, {}, 0.1)),
        design=parts.pop("design", Design((8,), (6,))), **parts,
    )  # fmt: skip


def null_rows(made, sd):
    rows = rows_of_cell(made, "a", np.zeros(5), np.full(5, sd), np.zeros(5))
    return goal_rows(rows, made.goals[0])


def test_the_expected_error_rate_is_told_only_where_it_is_exact():
    made = exact_plan()
    share_of_data = 1 - (0.05 / 0.1) ** 2
    found = expected_error(made, made.goals[0], null_rows(made, 0.05))
    assert found == pytest.approx(2 * norm.cdf(-norm.ppf(0.975) / np.sqrt(share_of_data)), abs=1e-12)
    unequal = null_rows(made, 0.05)._replace(sd=np.array([0.05, 0.05, 0.05, 0.05, 0.051]))
    assert np.isnan(expected_error(made, made.goals[0], unequal))
    sds = dict.fromkeys(SDS, 0.02)
    others = [
        exact_plan(design=Design((8,), (6,), missing=(0.1,))),
        exact_plan(truth=Truth({"valence": (0.03,)}, sds | {"1|stimulus": 0.03}, {}, 0.1)),
        exact_plan(truth=Truth({"valence": (0.03,)}, sds, {"participant": 0.3}, 0.1)),
        plan(),
    ]
    for other in others:
        assert np.isnan(expected_error(other, other.goals[0], null_rows(other, 0.05)))


def test_the_expected_error_rate_is_that_of_simulated_and_fitted_studies():
    """The formula and the whole pipeline agree; the same formula without the prior does not."""
    from mien.power.replicates import Setup, run_replicates

    made = exact_plan()
    made = replace(made, goals=(replace(made.goals[0], probability=0.8),))
    cell = next(cell for cell in cells_of(made) if cell.world == "null")
    rows = pd.DataFrame(run_replicates(Setup.of(made), cell, range(300)))
    found = line(estimates(made, rows, cells_table([cell])), "smile")
    expected = found["expected_error"]
    assert abs(found["error"] - expected) < Z * np.sqrt(expected * (1 - expected) / 300)
    assert abs(expected - 2 * norm.cdf(-norm.ppf(0.8))) > 0.01


# Failures, shapes, rows that cannot be


def with_failures(made):
    cells = grid_table([16])
    rng = np.random.default_rng(1)
    rows = rows_of_cell(
        made, cells["cell"][0], 0.05 + 0.03 * rng.standard_normal(100), 0.02, np.full(100, 0.03),
        failed=[(3, "verdict failed: khat"), (7, "verdict failed: khat"), (50, "arithmetic")],
    )  # fmt: skip
    return cells, rows


def test_failures_count_by_the_plans_policy(planned):
    cells, rows = with_failures(planned)
    strict = line(estimates(planned, rows, cells), "smile")
    left_out = replace(planned, budget=replace(planned.budget, failures="left_out"))
    mild = line(estimates(left_out, rows, cells), "smile")
    assert (strict["n"], mild["n"], strict["failed"]) == (100, 97, 3)
    assert strict["power"] * 100 == pytest.approx(mild["power"] * 97)
    assert strict["power"] + strict["undecided"] + strict["wrong"] == pytest.approx(0.97)
    table = failures(planned, rows, cells)
    assert table[["failure", "count", "of"]].values.tolist() == [
        ["arithmetic", 1, 100], ["verdict failed: khat", 2, 100],
    ]  # fmt: skip


def test_rows_may_come_in_any_order_and_twice(planned):
    cells, rows = with_failures(planned)
    mixed = pd.concat([rows.sample(frac=1.0, random_state=2), rows.iloc[:30]])
    pd.testing.assert_frame_equal(estimates(planned, mixed, cells), estimates(planned, rows, cells))
    pd.testing.assert_frame_equal(clean_rows(mixed), clean_rows(rows))


def test_rows_read_from_parquet_say_the_same(planned, tmp_path):
    cells, rows = with_failures(planned)
    rows.to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(
        estimates(planned, pd.read_parquet(tmp_path / "rows.parquet"), cells), estimates(planned, rows, cells)
    )


def test_expected_numbers_of_shapes(planned):
    made = replace(planned, shapes=Shapes(5, 2))
    cells = grid_table([16])
    rows = rows_of_cell(made, cells["cell"][0], np.full(4, 0.05), 0.02, np.full(4, 0.03))
    rows["smile:decided"], rows["smile:false"] = [2, 1, 2, 1], [0, 1, 0, 2]
    found = line(estimates(made, rows, cells), "smile")
    assert (found["shapes_stated"], found["shapes_false"], found["any_false"]) == (1.5, 0.75, 0.5)
    assert found["shapes_false_mcse"] == pytest.approx(np.std([0, 1, 0, 2], ddof=1) / 2)
    assert "shapes_false" not in estimates(planned, rows, cells)


def test_rows_of_something_else_are_refused(planned):
    cells, rows = with_failures(planned)
    with pytest.raises(StudyError, match="expected columns cell, replicate and failure"):
        estimates(planned, pd.DataFrame({"a": [1]}), cells)
    with pytest.raises(StudyError, match="no column bf:met"):
        estimates(planned, rows.drop(columns="bf:met"), cells)
    with pytest.raises(StudyError, match="expected results of this plan's cells"):
        estimates(planned, rows.assign(cell="other"), cells)


# Nested cohorts


def bivariate(world, n, m):
    """The noise ratio of the decisions z ≥ 1.96 at N = n and m, without a prior."""
    from scipy.stats import multivariate_normal

    limit = norm.ppf(0.975)
    p = [norm.cdf(world.effect[0] * np.sqrt(k) / world.sd - limit) for k in (n, m)]
    shift = [world.effect[0] * np.sqrt(k) / world.sd - limit for k in (n, m)]
    together = multivariate_normal([0, 0], [[1, np.sqrt(n / m)], [np.sqrt(n / m), 1]]).cdf(shift)
    return np.sqrt(1 - 2 * (together - p[0] * p[1]) / sum(q * (1 - q) for q in p))


def test_noise_ratios_of_nested_cohorts_against_bivariate_normals(planned):
    cells = grid_table([20, 30, 32, 60])
    world = World(effect=(0.04, 0.0))
    rows = rows_of(planned, cells, lambda _: world, 8000)
    table = noise_ratios(planned, rows, cells)
    table = table[table["goal"] == "smile"].set_index(["participants", "participants_to"])
    for n, m in ((30, 32), (20, 60), (20, 30)):
        row = table.loc[(n, m)]
        assert abs(row["noise_ratio"] - bivariate(world, n, m)) < Z * row["noise_ratio_mcse"] + 0.01
    assert list(table.loc[(20, 30), ["neighbours", "replicates"]]) == [True, 8000]
    assert not table.loc[(20, 32), "neighbours"]
    apart = rows.copy()  # the saboteur: replicates that are not paired
    last = apart["cell"] == cells["cell"].iloc[2]
    apart.loc[last, "replicate"] = np.random.default_rng(0).permutation(8000)
    loose = noise_ratios(planned, apart, cells)
    loose = loose[loose["goal"] == "smile"].set_index(["participants", "participants_to"]).loc[(30, 32)]
    assert abs(loose["noise_ratio"] - 1.0) < 0.05
    assert abs(loose["noise_ratio"] - bivariate(world, 30, 32)) > 20 * loose["noise_ratio_mcse"]
