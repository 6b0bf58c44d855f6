"""Curves through simulated shares, and the designs read off them, against known power curves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from mien.power import smallest as module
from mien.power.cells import cells_of, cells_table, check_cell
from mien.power.nested import resampled
from mien.power.plan import Budget, Design, Goal, Truth
from mien.power.smallest import checks_of, cost_of, smallest_designs
from mien.power.surrogate import MISFIT, surrogate_of
from tests.power.plans import SDS, plan
from tests.power.synthetic import World, power_of_direction, rows_of

BUDGET = Budget(1000, 100, null_replicates=0)
SMILE = Goal("smile", "direction", "valence", wanted="positive")


@pytest.fixture(autouse=True)
def fewer_samples(monkeypatch):
    monkeypatch.setattr(module, "SAMPLES", 200)


def made_of(participants=(10, 20, 40, 80, 120), pictures=(6,), **parts):
    parts = {"truth": Truth({"valence": (0.04,)}, SDS), "budget": BUDGET} | parts
    return plan(SMILE, design=parts.pop("design", Design(participants, pictures)), **parts)


def cells_and_rows(made, world_of, replicates=1000, seed=0):
    cells = cells_table(cells_of(made))
    return cells, rows_of(made, cells, world_of, replicates, seed)


def by_pictures(cell):
    """Stimuli err, and fewer trials make persons' contrasts less certain."""
    return World(
        sd=0.06 + 0.4 / cell["pictures"], stimulus_sd=0.03 / np.sqrt(cell["pictures"]), effect=(0.04, 0.0)
    )


def smallest_n(world, target=0.8, most=121):
    n = np.arange(2, most)
    enough = power_of_direction(n, world) >= target
    return float(n[np.argmax(enough)]) if enough.any() else np.inf


def answer(made, rows, **columns):
    table = smallest_designs(made, rows).answers
    for name, value in columns.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


# Curves


def shares_of(power, n=1_000_000):
    """As good as without noise; a second sample beside them."""
    met = np.round(power * n)[None, :].repeat(2, axis=0)
    return met, np.full(met.shape, float(n))


def test_the_probit_curve_is_exact_where_its_form_is():
    grid, between = np.array([10.0, 20.0, 40.0, 80.0]), np.arange(10.0, 81.0)
    curve = surrogate_of(grid[:, None], *shares_of(ndtr(0.45 * np.sqrt(grid) - 1.96)))
    assert curve.kind == "probit"
    assert np.abs(curve.power(between[:, None])[0] - ndtr(0.45 * np.sqrt(between) - 1.96)).max() < 1e-3


@pytest.mark.parametrize(
    "power",
    [
        lambda n: power_of_direction(n, World(stimulus_sd=0.012)),
        lambda n: power_of_direction(n, World(effect=(0.04, 0.02))),
        lambda n: ndtr((np.sqrt(n) - 5.0) / 0.8),
        lambda n: np.full(len(n), 0.3),
        lambda n: 0.9 - 0.5 * n / 120,
    ],
    ids=["few stimuli", "assurance", "width", "level", "falling"],
)
def test_the_probit_curve_is_near_where_its_form_is_another(power):
    grid, between = np.array([10.0, 20.0, 40.0, 80.0, 120.0]), np.arange(10.0, 121.0)
    met = np.round(1000 * power(grid))[None, :]
    curve = surrogate_of(grid[:, None], met, np.full(met.shape, 1000.0))
    assert curve.kind == "probit"
    assert curve.misfit > MISFIT
    assert np.abs(curve.power(between[:, None])[0] - power(between)).max() < 0.025


def test_a_curve_that_does_not_fit_gives_way_to_a_process():
    grid = np.array([10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0])
    steps = np.array([0.1, 0.4, 0.42, 0.43, 0.45, 0.7, 0.95])
    met, counts = shares_of(steps, 4000)
    curve = surrogate_of(grid[:, None], met, counts)
    assert curve.kind == "gaussian process"
    assert curve.misfit < MISFIT
    assert np.abs(curve.power(grid[:, None])[0] - steps).max() < 0.05


def test_everything_or_nothing_met_stays_finite():
    grid = np.array([10.0, 20.0, 40.0])
    for power in ([0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]):
        curve = surrogate_of(grid[:, None], *shares_of(np.array(power), 100))
        assert np.isfinite(curve.power(np.arange(10.0, 41.0)[:, None])).all()


def test_the_process_follows_two_axes():
    grid = np.array([(n, k) for n in (10, 20, 40, 80) for k in (4, 8, 16)], dtype=float)

    def power(designs):
        return power_of_direction(designs[:, 0], World(0.1, 0.05 / np.sqrt(designs[:, 1]), (0.04, 0.0)))

    met, counts = shares_of(power(grid), 1000)
    curve = surrogate_of(grid, met, counts)
    between = np.array([(n, k) for n in range(10, 81, 5) for k in range(4, 17)], dtype=float)
    assert curve.kind == "gaussian process"
    assert np.abs(curve.power(between)[0] - power(between)).max() < 0.03
    rng = np.random.default_rng(0)
    mixed = surrogate_of(grid, met[:, rng.permutation(12)], counts)  # the saboteur
    assert np.abs(mixed.power(between)[0] - power(between)).max() > 0.1


def test_samples_of_the_process_spread_as_refits_do():
    grid = np.array([(n, k) for n in (10, 30, 80) for k in (4, 8, 16)], dtype=float)
    truth = power_of_direction(grid[:, 0], World(0.1, 0.05 / np.sqrt(grid[:, 1]), (0.04, 0.0)))
    rng, counts = np.random.default_rng(0), np.full((301, 9), 500.0)
    met = np.vstack([np.round(500 * truth), rng.binomial(500, truth, size=(300, 9))])
    at = np.array([[25.0, 6.0], [60.0, 12.0]])
    samples = surrogate_of(grid, met, counts).power(at)[1:].std(axis=0)
    refits = np.std([surrogate_of(grid, met[[k]], counts[:1]).power(at)[0] for k in range(1, 31)], axis=0)
    assert samples == pytest.approx(refits, rel=0.4)


# Answers


def test_the_smallest_n_of_a_known_curve():
    made = made_of()
    _, rows = cells_and_rows(made, lambda _: World(), 1000)
    found = answer(made, rows)
    assert found["status"] == "found"
    assert found["participants_lower"] <= smallest_n(World()) <= found["participants_upper"]
    assert abs(found["participants"] - smallest_n(World())) <= 5
    assert found["power"] == pytest.approx(0.8, abs=0.01)
    assert found["largest"] == 120
    curve = smallest_designs(made, rows).curves
    inside = (curve["lower"] <= power_of_direction(curve["participants"], World())) & (
        power_of_direction(curve["participants"], World()) <= curve["upper"]
    )
    assert inside.mean() > 0.7
    cells = list(rows["cell"].unique())
    shuffled = rows.assign(cell=rows["cell"].map(dict(zip(cells, cells[2:] + cells[:2], strict=True))))
    wrong = answer(made, shuffled)  # the saboteur: the same shares at other N
    assert not wrong["participants_lower"] <= smallest_n(World()) <= wrong["participants_upper"]


def test_the_answer_does_not_depend_on_order_nor_on_other_rows():
    made = made_of((10, 20, 40, 80))
    _, rows = cells_and_rows(made, lambda _: World(), 300)
    check = checks_of(made, rows)
    assert len(check) == 1
    others = rows.iloc[:50].assign(cell="another")
    mixed = pd.concat([others, rows.sample(frac=1.0, random_state=1)])
    assert checks_of(made, mixed)[0].key == check[0].key
    own = rows_of(made, cells_table(check), lambda _: World(effect=(0.1, 0.0)), 300)
    assert checks_of(made, pd.concat([rows, own]))[0].key == check[0].key
    first, again = smallest_designs(made, rows).answers, smallest_designs(made, mixed).answers
    pd.testing.assert_frame_equal(first, again)


def test_answers_that_are_no_number():
    reaches = made_of((60, 80, 120))
    _, rows = cells_and_rows(reaches, lambda _: World(), 400)
    found = answer(reaches, rows)
    assert (found["status"], found["participants"], found["participants_lower"]) == (
        "smallest",
        60.0,
        -np.inf,
    )
    assert checks_of(reaches, rows) == []
    short = made_of((5, 8, 12, 16))
    _, rows = cells_and_rows(short, lambda _: World(), 400)
    found = answer(short, rows)
    assert found["status"] == "beyond"
    assert np.isnan(found["participants"])
    assert found["participants_upper"] == np.inf
    assert found["largest_power"] == pytest.approx(power_of_direction(16, World()), abs=0.08)
    capped = made_of((20, 40, 80, 160))
    _, rows = cells_and_rows(capped, lambda _: World(stimulus_sd=0.025), 1000)
    found = answer(capped, rows)
    assert found["status"] == "none"
    assert found["ceiling_lower"] <= ndtr(0.04 / 0.025 - 1.96 / 0.025 * 0.0258) + 0.03
    assert found["ceiling_upper"] < 0.8


def test_one_n_is_told_as_it_is_and_nothing_is_read_off():
    made = made_of((30,))
    _, rows = cells_and_rows(made, lambda _: World(), 400)
    found = answer(made, rows)
    assert found["status"] == "beyond"
    assert found["power"] == rows[rows["cell"] == rows["cell"].iloc[-1]]["smile:met"].mean()
    assert found["surrogate"] == ""
    assert checks_of(made, rows) == []


def test_a_truth_without_rows_says_so():
    made = made_of((10, 80), truth=Truth({"valence": (0.02, 0.04)}, SDS))
    cells, rows = cells_and_rows(made, lambda cell: World(effect=(cell["valence"], 0.0)), 200)
    of_one = cells.loc[cells["valence"] == 0.04, "cell"]
    table = smallest_designs(made, rows[rows["cell"].isin(of_one)]).answers.set_index("valence")
    assert table.loc[0.02, "status"] == "not simulated"
    assert table.loc[0.04, "status"] == "found"


def test_a_leap_between_neighbours_leaves_all_that_lies_between_them():
    made = plan(
        Goal("precise", "width", "valence", width=0.07), design=Design((10, 20, 40, 80), (6,)), budget=BUDGET
    )
    _, rows = cells_and_rows(made, lambda _: World(), 400)
    found = answer(made, rows)
    assert found["status"] == "found"
    assert (found["participants_lower"], found["participants_upper"]) == (21.0, 40.0)


# Cost


def test_cost_is_a_sum_written_out():
    made = made_of(cost={"participant": 60.0, "session": 20.0, "trial": 0.05, "picture": 10.0, "film": 40.0})
    axes = {"participants": 30, "pictures": 12, "films": 3, "trials": 2, "sessions": 2, "missing": 0.1}
    shown = (12 + 3) * 2 * 2 * 2
    assert cost_of(made, axes) == 60 * 30 + 20 * 30 * 2 + 0.05 * 30 * shown + 10 * 12 * 2 + 40 * 3 * 2
    assert cost_of(made_of(), axes) == 30.0


def cheapest(made, most):
    """By brute force over every whole design."""
    best = (np.inf, None)
    for k in range(4, 25):
        for n in range(10, most + 1):
            cell = {"participants": n, "pictures": k, "films": 0, "trials": 1, "sessions": 1}
            if power_of_direction(n, by_pictures(cell)) >= 0.8:
                best = min(best, (cost_of(made, cell), (n, k)))
                break
    return best


def test_the_cheapest_design_of_two_axes():
    made = made_of((10, 20, 40, 80), (4, 8, 16, 24), cost={"participant": 50.0, "picture": 40.0})
    _, rows = cells_and_rows(made, by_pictures, 600)
    found = answer(made, rows)
    price, _ = cheapest(made, 80)
    assert found["surrogate"] == "gaussian process"
    assert found["cost_lower"] <= price <= found["cost_upper"]
    assert found["cost"] == pytest.approx(price, rel=0.06)
    true_power = power_of_direction(found["participants"], by_pictures(found))
    assert abs(true_power - 0.8) < 3 * found["power_error"] + 0.02
    designs = smallest_designs(made, rows).designs
    assert list(designs["pictures"]) == [4, 8, 16, 24]
    assert designs["cost"].min() >= found["cost"] - 1e-9


def test_without_prices_the_fewest_participants_then_the_fewest_trials():
    made = made_of((10, 20, 40, 80), (4, 8, 16))
    _, rows = cells_and_rows(made, lambda cell: World(sd=0.1 if cell["pictures"] >= 8 else 0.2), 600)
    found = answer(made, rows)
    table = smallest_designs(made, rows).designs.set_index("pictures")["participants"]
    assert found["participants"] <= table.min()
    assert found["cost"] == found["participants"]


# Checks


def test_a_check_agrees_where_the_curve_is_right_and_not_where_it_is_wrong():
    made = made_of()
    _, rows = cells_and_rows(made, lambda _: World(), 1000)
    cell = checks_of(made, rows)[0]
    assert cell.world == "check"
    assert cell == check_cell(made, cell.axes)
    right = rows_of(made, cells_table([cell]), lambda _: World(), 1000, seed=5)
    found = answer(made, pd.concat([rows, right]))
    assert found["check_n"] == 1000
    assert found["check_power"] == right["smile:met"].astype(bool).mean()
    assert found["agrees"] is True
    wrong = rows_of(made, cells_table([cell]), lambda _: World(effect=(0.033, 0.0)), 1000, seed=5)
    found = answer(made, pd.concat([rows, wrong]))
    assert found["agrees"] is False
    assert found["check_z"] < -2.6
    assert answer(made, rows)["agrees"] is None


def test_every_goal_and_truth_has_its_check():
    made = plan(
        SMILE, Goal("not small", "rope", "valence", rope=(-0.005, 0.005)), design=Design((20, 40, 80, 160), (6,)),
        truth=Truth({"valence": (0.03, 0.04)}, SDS), budget=BUDGET,
    )  # fmt: skip
    _, rows = cells_and_rows(made, lambda cell: World(effect=(cell["valence"], 0.0)), 500)
    checks = checks_of(made, rows)
    found = smallest_designs(made, rows).answers
    assert len(checks) == (found["status"] == "found").sum() == 4
    assert set(found["check"]) == {cell.key for cell in checks}
    one_goal = replace(made, goals=made.goals[:1])
    assert (
        len(checks_of(one_goal, rows_of(one_goal, cells_table(cells_of(one_goal)), lambda c: World(), 200)))
        <= 2
    )


# The bootstrap


def test_resampling_keeps_what_belongs_together():
    """Two cells with the same outcomes differ in no sample; drawn one by one they do."""
    made, rng = made_of(), np.random.default_rng(0)
    met = np.repeat(rng.integers(0, 2, size=(500, 1)).astype(float), 2, axis=1)
    hits, counts = resampled(made, "a", met, 400)
    assert (hits[:, 0] == hits[:, 1]).all()
    assert (counts == 500).all()
    assert (hits[:, 0] / 500).std() == pytest.approx(np.sqrt(0.25 / 500), rel=0.15)
    met[300:, 1] = np.nan  # a cell that stopped earlier
    hits, counts = resampled(made, "a", met, 400)
    assert counts[:, 0].tolist() == [500] * 400
    assert abs(counts[:, 1].mean() - 300) < 5
    again = resampled(made, "a", met, 400)
    assert (again[0] == hits).all()
    assert not (resampled(made, "b", met, 400)[0] == hits).all()
    assert not (resampled(replace(made, seed=2), "a", met, 400)[0] == hits).all()


def resampled_alone(made, cohort, met, samples):
    """The saboteur: every cell by itself."""
    parts = [resampled(made, f"{cohort}{k}", met[:, [k]], samples) for k in range(met.shape[1])]
    return np.hstack([hits for hits, _ in parts]), np.hstack([counts for _, counts in parts])


def spread_and_width(made, monkeypatch, runs, replicates, saboteur=False):
    """The sd of N* over simulated runs, and the median of the bootstrap's own sd of it; share of runs that cover."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "SAMPLES", 300)
        if saboteur:
            patch.setattr(module, "resampled", resampled_alone)
        found, covered = [], 0
        for seed in range(runs):
            _, rows = cells_and_rows(made, lambda _: World(), replicates, seed)
            row = answer(made, rows)
            found.append((row["participants"], row["participants_upper"] - row["participants_lower"]))
            covered += row["participants_lower"] <= smallest_n(World()) <= row["participants_upper"]
    table = np.array(found)
    return np.nanstd(table[:, 0]), np.median(table[:, 1]) / (2 * 1.96), covered / runs


CLOSE_GRID = (40, 44, 48, 52, 56, 60)  # neighbours share nearly all persons


@pytest.mark.slow
@pytest.mark.statistical("power")
def test_the_interval_covers_and_is_as_wide_as_answers_scatter(monkeypatch, capsys):
    """Over simulated runs; samples of single cells are too narrow where neighbours err together."""
    made = made_of(CLOSE_GRID)
    spread, width, covered = spread_and_width(made, monkeypatch, 150, 400)
    _, narrow, fewer = spread_and_width(made, monkeypatch, 150, 400, saboteur=True)
    with capsys.disabled():
        print(f"\nN* scatters by {spread:.2f}; bootstrap over cohorts {width:.2f}, coverage {covered:.3f}; "
              f"over cells {narrow:.2f}, coverage {fewer:.3f}")  # fmt: skip
    assert covered >= 0.9
    assert 0.8 < width / spread < 1.3
    assert fewer < covered - 0.05
    assert narrow < 0.8 * width


@pytest.mark.slow
@pytest.mark.statistical("power")
@pytest.mark.parametrize(
    ("grid", "world"),
    [
        ((10, 20, 40, 80, 120), World()),
        ((20, 30, 40, 60), World()),
        ((20, 40, 60, 100), World(stimulus_sd=0.006)),
        ((10, 20, 40, 80, 120), World(effect=(0.05, 0.02))),
        ((20, 80), World()),
    ],
    ids=["wide grid", "template's grid", "few stimuli", "assurance", "two N"],
)
def test_the_surrogates_interval_covers_in_nine_of_ten_runs(grid, world, monkeypatch, capsys):
    made, truth, runs = made_of(grid), smallest_n(world), 120
    monkeypatch.setattr(module, "SAMPLES", 300)
    found = []
    for seed in range(runs):
        _, rows = cells_and_rows(made, lambda _: world, 1000, seed)
        found.append(
            answer(made, rows)[["participants", "participants_lower", "participants_upper"]].to_numpy(float)
        )
    table = np.array(found)
    covered = ((table[:, 1] <= truth) & (truth <= table[:, 2])).mean()
    with capsys.disabled():
        print(
            f"\ngrid {grid}: N* = {truth:g}, mean answer {np.nanmean(table[:, 0]):.1f}, coverage {covered:.3f}"
        )
    assert covered >= 0.9


@pytest.mark.slow
@pytest.mark.statistical("power")
def test_the_cheapest_designs_cost_covers(monkeypatch, capsys):
    """Two axes: the true cheapest cost lies in the interval, and the true power at the answer is near the target."""
    made = made_of((10, 20, 40, 80), (4, 8, 16, 24), cost={"participant": 50.0, "picture": 40.0})
    monkeypatch.setattr(module, "SAMPLES", 200)
    truth, covered, powers = cheapest(made, 80)[0], 0, []
    for seed in range(60):
        _, rows = cells_and_rows(made, by_pictures, 600, seed)
        row = answer(made, rows)
        covered += row["cost_lower"] <= truth <= row["cost_upper"]
        powers.append(power_of_direction(row["participants"], by_pictures(row)))
    with capsys.disabled():
        print(f"\ncheapest {truth:g}: coverage {covered / 60:.3f}; true power at answers {np.mean(powers):.3f} ± "
              f"{np.std(powers):.3f}")  # fmt: skip
    assert covered / 60 >= 0.85
    assert np.mean(powers) == pytest.approx(0.8, abs=0.01)
    assert np.abs(np.array(powers) - 0.8).max() < 0.05
