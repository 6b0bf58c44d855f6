"""The paper's table: every finding, and a classical estimate only for the very trials that it was made for."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from mien.reports_app import tables
from mien.simulation.design import small_design
from mien.simulation.paper_findings import FINDINGS, SHAPES
from mien.simulation.trials import simulate_trials
from mien.workflow import paper_table as module
from mien.workflow.paper_table import COLUMNS, load_paper_table, paper_table


class SmallStudy:
    """What the table needs of a study."""

    def __init__(self, participants, derivatives):
        self.participants, self.derivatives = participants, derivatives


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    simulated = simulate_trials(replace(small_design(8), films_per_valence=3), seed=3)
    study = SmallStudy(simulated.participants, tmp_path_factory.mktemp("derivatives"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_trials", lambda _: simulated.trials)
        yield study, paper_table(study, draws=200)


def test_every_finding_has_a_row_a_shape(made):
    _, table = made
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == len(FINDINGS) * len(SHAPES)
    assert (table["eti_lower"] < table["mean"]).all()
    assert (table["truth_mc_se"] > 0).all()
    assert table["classical"].isna().all()  # these trials are others than the demo's


def test_a_classical_estimate_stands_where_the_trials_are_the_same(made, monkeypatch):
    study, table = made
    first = table.iloc[0]
    known = {("valence", first["blend_shape"], first["trials_sha256"]): {"classical": 0.5}}
    monkeypatch.setattr(module, "_classical", lambda: known)
    monkeypatch.setattr(module, "FINDINGS", FINDINGS[:1])
    again = paper_table(study, draws=200)
    assert again["classical"].notna().tolist() == [True, False]


def test_the_stored_classical_column_has_every_finding_and_converged():
    text = (module.resources.files("mien.workflow") / module.CLASSICAL).read_text(encoding="utf-8")
    rows = json.loads(text)["effects"]
    assert {(row["finding"], row["blend_shape"]) for row in rows} == {
        (finding.name, shape) for finding in FINDINGS for shape in SHAPES
    }
    assert all(row["converged"] for row in rows)


def test_the_table_for_readers_has_a_dash_where_nothing_is_known(made):
    study, table = made
    assert load_paper_table(study) is None
    table.to_csv(study.derivatives / "paper_table.csv", index=False)
    told = tables.paper_table(load_paper_table(study))
    assert len(told) == len(table)
    assert set(told["classical, 95 % CI"]) == {"–"}
    known = pd.DataFrame(
        [{**table.iloc[0].to_dict(), "classical": 0.01, "classical_lower": 0.0, "classical_upper": 0.02}]
    )
    assert tables.paper_table(known)["classical, 95 % CI"].tolist() == ["+0.0100 (0.0000 to +0.0200)"]
