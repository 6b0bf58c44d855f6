"""A small multiverse on six simulated persons: cells against fits made one by one, what is kept, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mien.data_prep.recipe import Exclusion, Recipe
from mien.models import effects, fit, valence
from mien.reports_app.figures.specification_curve import curve_svg
from mien.study.errors import FitError, SpecError
from mien.study.folder import Study
from mien.study.tables import write_table
from mien.workflow.importing import import_recordings
from mien.workflow.multiverse import run_multiverse
from mien.workflow.multiverse_grid import read_grid
from mien.workflow.multiverse_summary import summarise
from mien.workflow.preparing import prepare
from mien.workflow.sessions import ImportRequest

GRID = """
name = "tiny"
outcomes = ["mouthSmile", "smile - frown"]
effect = "valence"
draws = 200

[contrasts."smile - frown"]
mouthSmile = 1
mouthFrown = -1

[recipe]
baseline = [[-1, 0], [-0.5, 0]]
[recipe.exclusion]
moving_baseline = "off"

[model]
priors_scale = [1, 0.2]
baseline = ["change", "covariate"]

[reference.recipe]
baseline = [-0.5, 0]
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from mien.capture.formats import write_live_link_face_csv
    from mien.workflow.templates import new_study
    from tests.workflow.conftest import smooth_noise

    folder = tmp_path_factory.mktemp("multiverse")
    new_study(folder / "study")
    shown = [f"{valence}{n}" for n in (1, 2) for valence in ("happy", "sad")]
    rows = [f"{name}\t{'positive' if name[0] == 'h' else 'negative'}\tpicture\t2\n" for name in shown]
    (folder / "study" / "stimuli" / "stimuli.tsv").write_text(
        "stimulus_id\tvalence\tmedium\tduration\n" + "".join(rows)
    )
    table = pd.DataFrame({"onset": [3.0, 7.0, 11.0, 15.0], "duration": 2.0, "stimulus_id": shown})
    write_table(table, folder / "events.tsv")
    requests = []
    for person in range(1, 7):
        take = folder / f"take{person}_raw.csv"
        write_live_link_face_csv(smooth_noise(person), take)
        requests.append(
            ImportRequest(take, f"{person:02d}", "met", events=folder / "events.tsv", clock="same")
        )
    import_recordings(folder / "study", requests)
    return Study(folder / "study")


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "GRID.toml"
    path.write_text(GRID)
    return path


@pytest.fixture(scope="module")
def result(study, grid_file):
    return run_multiverse(study, grid_file, draw=curve_svg)


def test_every_cell_has_its_row_and_its_draws(result):
    assert len(result.table) == 8 * 2
    assert result.fitted == 8
    assert (result.table["failure"] == "").all()
    assert result.table.groupby("outcome")["reference"].sum().tolist() == [1, 1]
    with xr.open_datatree(result.path / "posterior.nc", engine="h5netcdf") as tree:
        draws = tree["posterior"]["effect"].load()
    assert draws.dims == ("blend_shape", "cell", "chain", "draw")
    assert draws.sizes == {"blend_shape": 2, "cell": 8, "chain": 4, "draw": 200}
    for row in result.table.to_dict("records"):
        mine = draws.sel(blend_shape=row["outcome"], cell=row["cell"]).to_numpy()
        assert mine.mean() == pytest.approx(row["mean"], rel=1e-4, abs=1e-8)


def test_a_cell_is_the_fit_made_alone(result, study):
    """Its recipe and its model, put together by hand, with the same seed."""
    rules = replace(Exclusion(), moving_baseline=None)
    trials = prepare(study, Recipe(baseline=(-1, 0), exclusion=rules))
    smile = trials[trials["blend_shape"] == "mouthSmile"].reset_index(drop=True)
    smile["blend_shape"] = smile["blend_shape"].cat.remove_unused_categories()
    alone = effects(fit(valence(baseline="covariate"), smile, draws=200)).set_index("effect").loc["valence"]
    table = result.table
    cell = table[
        (table["outcome"] == "mouthSmile")
        & (table["recipe.baseline"] == "-1 to 0")
        & (table["model.priors_scale"] == "1")
        & (table["model.baseline"] == "covariate")
    ]
    assert len(cell) == 1
    assert cell["mean"].iloc[0] == pytest.approx(alone["mean"], abs=4 * alone["mcse_mean"] * np.sqrt(2))
    assert cell["sd"].iloc[0] == pytest.approx(alone["sd"], rel=0.2)


def test_narrow_priors_pull_towards_zero(result):
    smile = result.table[result.table["outcome"] == "mouthSmile"]
    sds = smile.groupby("model.priors_scale")["sd"].mean()
    assert sds["0.2"] < sds["1"]


def test_rows_are_counted_against_the_reference(result):
    table = result.table
    same = table["recipe.baseline"] == "-0.5 to 0"
    assert (table.loc[same, "rows_changed"] == 0).all()
    assert (table.loc[~same, "rows_changed"] == 24).all()  # 6 persons × 4 trials, every baseline another
    assert table["rows"].tolist() == [24] * len(table)
    assert table.groupby("recipe.baseline")["trials_sha256"].nunique().tolist() == [1, 1]
    assert table["trials_sha256"].nunique() == 2


def test_results_lie_together_and_the_figure_is_one_an_outcome(result):
    names = {path.name for path in result.path.iterdir()}
    assert names == {
        "table.parquet", "table.csv", "posterior.nc", "summary.json", "curve-mouthSmile.svg", "curve-smile---frown.svg"
    }  # fmt: skip
    assert result.path.name.startswith("tiny-")
    pd.testing.assert_frame_equal(pd.read_parquet(result.path / "table.parquet"), result.table)
    summary = json.loads((result.path / "summary.json").read_text())
    assert summary["reference"]["recipe.baseline"] == "-0.5 to 0"
    assert [one["outcome"] for one in summary["outcomes"]] == ["mouthSmile", "smile - frown"]


def test_finished_cells_are_kept(result, study, grid_file, tmp_path):
    again = run_multiverse(study, grid_file)
    assert (again.fitted, again.path) == (0, result.path)
    larger = tmp_path / "larger.toml"
    larger.write_text(GRID.replace("priors_scale = [1, 0.2]", "priors_scale = [1, 0.2, 3]"))
    assert run_multiverse(study, larger).fitted == 4


def test_a_damaged_cell_is_fitted_again(result, study, grid_file):
    cell = sorted((study.derivatives / "multiverse" / "cells").iterdir())[0]
    cell.write_bytes(b"PK nothing")
    assert run_multiverse(study, grid_file).fitted <= 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baseline = [[-1", "basline = [[-1", "did you mean 'baseline'"),
        ("[[-1, 0], ", "[[1, 0], [-1, 0], ", r"key 'baseline': expected \[start, end\]"),
        ("priors_scale = [1, 0.2]", "priors_scale = [1, 1.0]", "every value once"),
        ("priors_scale = [1, 0.2]", "priors_scale = [0]", "above 0"),
        (
            "priors_scale = [1, 0.2]",
            f"priors_scale = {list(range(1, 600))}",
            "at most 2,000 cells, found 2,396",
        ),
        ('effect = "valence"', 'effect = "valense"', "key 'effect'.*valense"),
        ('effect = "valence"', 'effct = "valence"', "did you mean 'effect'"),
        ('["mouthSmile", ', '["mouthSmiley", ', "did you mean 'mouthSmile'"),
        ("baseline = [-0.5, 0]\n", "baseline = [-2, 0]\n", "reference.recipe.baseline.*found -2 to 0"),
        ("[reference.recipe]\nbaseline", "[reference.recipe]\nwindow", "one of the grid's choices"),
        ("[model]", '[model]\ncovariates = ["wealth"]', "wealth"),
        ("[model]", '[model]\nfamily = "time"', "expected one of valence, task, traits"),
        ('moving_baseline = "off"', 'moving_baseline = "off"\n[recipe.scaling]', "scaling"),
        ("[recipe]", '[recipe]\nscaling = ["none", "within_person"]', "estimate"),
        ("draws = 200", "draws = 2.5", "whole number"),
    ],
)
def test_bad_grids_are_refused_in_one_message(study, tmp_path, old, new, message):
    before = sorted((study.derivatives / "multiverse").glob("*"))
    path = tmp_path / "bad.toml"
    path.write_text(GRID.replace(old, new))
    with pytest.raises(SpecError, match=message):
        run_multiverse(study, path)
    assert sorted((study.derivatives / "multiverse").glob("*")) == before


def test_a_grid_that_is_no_toml_or_not_there(tmp_path):
    with pytest.raises(SpecError, match="found none"):
        read_grid(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = [")
    with pytest.raises(SpecError, match="expected TOML"):
        read_grid(tmp_path / "bad.toml")


def test_a_cell_that_cannot_be_fitted_keeps_its_reason(study, tmp_path):
    path = tmp_path / "strict.toml"
    path.write_text(
        'outcomes = ["mouthSmile"]\ndraws = 200\n[recipe.exclusion]\nmoving_baseline = ["off", 1e-9]\n'
    )
    made = run_multiverse(study, path)
    failures = made.table.set_index("recipe.exclusion.moving_baseline")["failure"]
    assert failures["off"] == ""
    assert "expected rows to model" in failures["1e-09"]
    assert made.summary["outcomes"][0]["failed"] == 1
    path.write_text(path.read_text().replace('["off", 1e-9]', '[1e-9, "off"]'))
    with pytest.raises(FitError, match="reference cell"):
        run_multiverse(study, path)


# The decomposition, against a factorial whose effects are known


def factorial(shifts, *, drop=()):
    """A table whose estimates are sums of known shifts."""
    from mien.workflow.multiverse_grid import Choice

    choices = [Choice(key, tuple(own), tuple(own)) for key, own in shifts.items()]
    index = pd.MultiIndex.from_product([choice.labels for choice in choices], names=list(shifts))
    table = index.to_frame(index=False)
    table["mean"] = 0.01 + sum(table[key].map(own) for key, own in shifts.items())
    table = table.assign(
        outcome="mouthSmile", failure="", decision="undecided", eti_lower=table["mean"] - 0.004,
        eti_upper=table["mean"] + 0.004, mcse_mean=1e-5, reference=[True] + [False] * (len(table) - 1),
    )  # fmt: skip
    return table.drop(index=list(drop)).reset_index(drop=True), choices


SHIFTS = {"a": {"1": -0.003, "2": 0.003}, "b": {"x": 0.001, "y": 0.0, "z": -0.001}}


@pytest.mark.parametrize("drop", [(), (2, 4)])
def test_known_shifts_are_found(drop):
    table, choices = factorial(SHIFTS, drop=drop)
    (found,) = summarise(table, choices, "mean")
    for choice in found["choices"]:
        for value in choice["values"]:
            assert value["shift"] == pytest.approx(SHIFTS[choice["choice"]][value["value"]], abs=1e-12)
    assert found["combinations"] == pytest.approx(0.0, abs=1e-9) or drop
    assert found["choices"][0]["range"] == pytest.approx(0.006)


def test_shares_of_a_whole_factorial_add_up():
    table, choices = factorial(SHIFTS)
    (found,) = summarise(table, choices, "mean")
    a, b = (np.var(list(SHIFTS[key].values())) for key in "ab")
    assert [choice["share"] for choice in found["choices"]] == pytest.approx([a / (a + b), b / (a + b)])
    table["mean"] += np.where((table["a"] == "1") & (table["b"] == "x"), 0.005, 0.0)  # choices that combine
    assert summarise(table, choices, "mean")[0]["combinations"] > 0.05


def test_shares_of_cells_are_counted():
    table, choices = factorial({"a": {"1": -0.02, "2": 0.0}})
    (found,) = summarise(table, choices, "mean")
    assert (found["excludes_0"], found["same_sign"]) == (1.0, 0.5)


def test_the_command_prints_json_and_refuses_a_bad_grid(
    result, study, grid_file, tmp_path, monkeypatch, capsys
):
    from mien.cli import main

    monkeypatch.setattr("sys.argv", ["mien", "multiverse", str(study.path), str(grid_file), "--json"])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = json.loads(capsys.readouterr().out)
    assert (stop.value.code, printed["cells"], printed["fitted"]) == (0, 8, 0)
    (tmp_path / "bad.toml").write_text('effect = ""\n')
    monkeypatch.setattr("sys.argv", ["mien", "multiverse", str(study.path), str(tmp_path / "bad.toml")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "bad.toml" in capsys.readouterr().err
