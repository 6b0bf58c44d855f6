"""All tables of a run: their parts, interim runs, files."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mien.power import smallest
from mien.power.answers import answers
from mien.power.cells import cells_of, cells_table
from mien.power.plan import Budget, Design, Goal, Truth
from mien.power.replicates import Setup, run_replicates
from mien.power.smallest import checks_of
from mien.study.errors import StudyError
from tests.power.plans import SDS, plan
from tests.power.synthetic import World, rows_of


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(smallest, "SAMPLES", 100)


@pytest.fixture(scope="module")
def made():
    return plan(
        Goal("smile", "direction", "valence"), Goal("precise", "width", "valence", width=0.06),
        design=Design((15, 30, 60, 120), (6,)), truth=Truth({"valence": (0.03, 0.04)}, SDS),
        budget=Budget(400, 100, null_replicates=400),
    )  # fmt: skip


def world_of(cell):
    return World(stimulus_sd=0.003, effect=(cell["valence"], 0.0))


@pytest.fixture(scope="module")
def rows(made):
    return rows_of(made, cells_table(cells_of(made)), world_of, 400)


def test_all_tables_of_a_finished_run(made, rows):
    check = checks_of(made, rows)[0]
    own = rows_of(made, cells_table([check]), world_of, 400, seed=8)
    found = answers(made, pd.concat([rows, own]))
    assert found.plan_sha256 == made.sha256
    assert found.rows == len(rows) + 400
    table = found.estimates
    assert table.groupby("goal").size().tolist() == [len(cells_of(made)) + 1] * 2
    assert list(dict.fromkeys(table["world"])) == ["null", "ceiling", "alternative", "check"]
    assert len(found.smallest) == 4
    checked = found.smallest.set_index("check").loc[check.key]
    assert (
        pd.DataFrame(checked)["check_n"] if checked.ndim > 1 else pd.Series([checked["check_n"]])
    ).min() == 400
    beside = table[(table["cell"] == check.key) & (table["goal"] == "smile")]["power"].iloc[0]
    assert beside == own["smile:met"].astype(bool).mean()
    assert set(found.sequential["world"]) == {"null", "alternative"}
    assert set(found.noise["goal"]) == {"smile", "precise"}
    assert len(found.curves) > 20
    assert found.failures.empty


def test_tables_are_written_whole_with_the_plans_hash(made, rows, tmp_path):
    found = answers(made, rows)
    paths = found.to_parquet(tmp_path / "report")
    assert sorted(path.stem for path in paths) == sorted(found.tables())
    for path in paths:
        read = pq.read_table(path)
        assert read.schema.metadata[b"plan_sha256"].decode() == made.sha256
        assert len(read) == len(found.tables()[path.stem])
    again = pd.read_parquet(tmp_path / "report" / "estimates.parquet")
    np.testing.assert_array_equal(again["power"], found.estimates["power"])
    before = {path.name: path.read_bytes() for path in paths}
    answers(made, rows.sample(frac=1.0, random_state=0)).to_parquet(tmp_path / "report")
    assert {path.name: path.read_bytes() for path in paths} == before


def test_interim_rows_give_interim_answers(made, rows):
    """After the null world alone, and after the first batches of some cells."""
    cells = cells_table(cells_of(made))
    null = rows[rows["cell"].isin(cells.loc[cells["world"] == "null", "cell"])]
    found = answers(made, null)
    assert set(found.smallest["status"]) == {"not simulated"}
    assert found.estimates["error"].notna().any()
    assert checks_of(made, null) == []
    some = rows[rows["replicate"] < 100]
    assert set(answers(made, some).estimates["n"]) == {100}
    half = rows[rows["cell"].isin(cells["cell"].iloc[:-3])]
    assert len(answers(made, half).smallest) == 4
    with pytest.raises(StudyError, match="found none: run it first"):
        answers(made, rows.assign(cell="x"))
    assert checks_of(made, rows.iloc[:0]) == []


def test_rows_of_real_simulations():
    """The columns that replicates give are those that answers read."""
    small = plan(Goal("smile", "direction", "valence"), Goal("bf", "bayes_factor", "valence", threshold=3.0))
    setup = Setup.of(small)
    rows = pd.DataFrame([row for cell in cells_of(small) for row in run_replicates(setup, cell, range(6))])
    found = answers(small, rows)
    assert set(found.estimates["n"]) == {6}
    assert found.estimates["width"].gt(0).all()
    assert found.estimates.loc[found.estimates["world"] == "alternative", "ceiling"].notna().all()
