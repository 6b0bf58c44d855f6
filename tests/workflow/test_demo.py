"""The demo, whole: four people from raw takes to a fit beside the truth; and that it overwrites only its own folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mien.study.errors import StudyError
from mien.workflow.demo import QUICK_SHAPES, run_demo
from mien.workflow.preparing import load_prep


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo") / "study", participants=4, quick=True)


def test_every_shape_stands_beside_its_truth(demo):
    table = demo.comparison
    assert set(table["blend_shape"]) == set(QUICK_SHAPES)
    assert table["truth"].abs().is_monotonic_decreasing
    assert (table["eti_lower"] < table["mean"]).all()
    assert (table["truth_mc_se"] > 0).all()
    inside = (table["eti_lower"] <= table["truth"]) & (table["truth"] <= table["eti_upper"])
    assert table["covered"].tolist() == inside.tolist()


def test_the_whole_job_left_its_results(demo):
    assert len(demo.study.recordings()) == 8
    assert load_prep(demo.study)["trials"] == 4 * 24
    assert {path.name for path in demo.fit.path.iterdir()} == {"posterior.nc", "summary.parquet", "fit.json"}


def test_the_study_is_valid_bids(demo):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [str(validator), str(demo.study.path), "--format", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(result.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_the_validator_can_fail(demo, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(demo.study.path, broken, ignore=shutil.ignore_patterns("derivatives", "sourcedata"))
    next(broken.glob("sub-01/motion/*_channels.tsv")).unlink()
    next(broken.glob("sub-02/motion/*_motion.json")).write_text("{}")
    validator = Path(sys.executable).with_name("bids-validator-deno")
    result = subprocess.run(
        [str(validator), str(broken), "--format", "json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(result.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"]


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(StudyError, match="choose another --out"):
        run_demo(tmp_path / "mine", quick=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
