"""`mien power` init, run and status, and the plan that a folder keeps."""

import json
import sys

import pytest

from mien.cli import main
from mien.power import read_plan
from mien.power.running import run as run_plan
from mien.power.stored_plan import stored_plan
from mien.power.template import TEMPLATE
from mien.study.errors import StudyError

SMALL = {
    "\nreplicates = 1000": "\nreplicates = 10", "\nbatch = 100": "\nbatch = 10",
    "null_replicates = 400": "null_replicates = 10",
    "check_replicates = 1000": "check_replicates = 0", "[20, 30, 40, 60]": "[6, 8]", "pictures = 20": "pictures = 4",
}  # fmt: skip


def command(capsys, *arguments):
    """(exit code, standard output, standard error)."""
    capsys.readouterr()
    before, sys.argv = sys.argv, ["mien", "power", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as stop:
            main()
    finally:
        sys.argv = before
    out, error = capsys.readouterr()
    return stop.value.code or 0, out, error


def small_text():
    text = TEMPLATE
    for old, new in SMALL.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_init_run_and_status(tmp_path, capsys):
    path, folder = tmp_path / "plan.toml", tmp_path / "run"
    assert command(capsys, "init", path)[0] == 0
    assert path.read_text() == TEMPLATE
    code, _, error = command(capsys, "init", path)
    assert (code, "found one" in error) == (2, True)
    path.write_text(small_text())
    code, out, _ = command(capsys, "run", path, "--out", folder, "--workers", "1")
    assert code == 0
    assert "finished" in out
    assert (folder / "plan.toml").read_text() == path.read_text()
    code, out, _ = command(capsys, "status", folder, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["finished"] is True
    assert {cell["world"] for cell in told["cells"]} == {"null", "ceiling", "alternative"}
    assert stored_plan(folder).sha256 == read_plan(path).sha256 == told["plan_sha256"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "none.toml", "--out", "run"), "found no such file"),
        (("status", "."), "expected the folder of a power run"),
        (("run", "plan.toml", "--out", "run", "--dask", "tcp://x:1", "--workers", "2"), "found both"),
        (("run", "plan.toml", "--out", "other"), "found thesis.docx"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(small_text())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.docx").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    code, _, error = command(capsys, *arguments)
    assert code == 2
    assert told in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_keeps_the_files_that_its_plan_names(tmp_path):
    path, folder = tmp_path / "mine" / "plan.toml", tmp_path / "run"
    path.parent.mkdir()
    path.write_text(small_text())
    frozen = read_plan(path).frozen.to_json()
    (path.parent / "priors").mkdir()
    (path.parent / "priors" / "v.json").write_text(frozen)
    path.write_text(small_text().replace('# frozen = "valence.frozen.json" ', 'frozen = "priors/v.json" '))
    plan = read_plan(path)
    assert plan.analysis.frozen is not None
    run_plan(plan, folder, workers=1, source=path, work=small_work_of(plan))
    path.rename(tmp_path / "away.toml")
    (path.parent / "priors" / "v.json").unlink()
    assert stored_plan(folder).sha256 == plan.sha256
    (folder / "plan.toml").write_text((folder / "plan.toml").read_text().replace("seed = 1", "seed = 2"))
    with pytest.raises(StudyError, match="changed since"):
        stored_plan(folder)


def small_work_of(plan):
    """Rows that cost nothing, with the plan's goals."""
    from mien.power.running import Work

    def rows_of(shared, cell, numbers):
        row = dict.fromkeys(Work.of(plan).columns) | {"cell": cell.key, "failure": "none", "engine": ""}
        return [row | {"replicate": number} for number in numbers]

    return Work.of(plan)._replace(rows_of=rows_of)


def test_a_plan_that_was_no_file_is_said_to_be_none(tmp_path):
    from mien.power.plan_file import plan_of

    plan = plan_of({
        "design": {"participants": 6, "pictures": 4}, "truth": {}, "analysis": {"formula": "activation ~ valence"},
        "goals": [{"name": "a", "kind": "width", "effect": "valence", "width": 1.0}],
        "budget": {"replicates": 2, "batch": 2, "null_replicates": 0, "check_replicates": 0},
    })  # fmt: skip
    run_plan(plan, tmp_path / "run", workers=1, work=small_work_of(plan))
    with pytest.raises(StudyError, match="Python object only"):
        stored_plan(tmp_path / "run")
    with pytest.raises(StudyError, match="expected the folder of a power run"):
        stored_plan(tmp_path)
