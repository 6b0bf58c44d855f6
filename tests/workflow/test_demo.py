"""The demo, whole: four people from raw takes to a fit beside the truth; and that it overwrites only its own folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
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
    assert {path.name for path in demo.fit.path.iterdir()} == {
        "posterior.nc", "summary.parquet", "fit.json", "sensitivity.parquet", "prior_widths.parquet",
    }  # fmt: skip


def test_the_priors_of_the_main_fit_are_checked_before_and_after_the_data(demo):
    from mien.models import load
    from mien.workflow.prior_checks import stored_check, stored_sensitivity

    assert stored_check(demo.study, "valence", load(demo.fit.path)) is not None
    found = stored_sensitivity(demo.fit.path, "valence")
    assert set(found.widths["effect"]) == {"valence"}
    assert set(found.scaling["blend_shape"]) == set(QUICK_SHAPES)


def test_every_fit_is_stored_with_its_checks(demo, tmp_path):
    from mien.models import load
    from mien.models.stored_checks import stored_checks
    from mien.reports_app.export_tables import methods_paragraph, write_study_checks

    *fits, together = demo.fits
    assert together.name == "co_activation"
    assert "eigenvalue" in together.checks.notes[0].lower()
    for one in fits:
        found = stored_checks(load(one.path))
        assert set(found.table["blend_shape"]) == {*QUICK_SHAPES, "all shapes"}
        assert found.notes == one.checks.notes
        assert not one.checks.missing
    path = write_study_checks(demo.study, "valence", tmp_path / "checks.csv")
    assert len(pd.read_csv(path)) == len(demo.fit.checks.table)
    assert f"of {len(demo.fit.checks.table)} checks lay outside" in methods_paragraph(load(demo.fit.path))


def test_a_fit_of_an_earlier_version_gets_its_checks_and_is_no_newer_for_it(demo, tmp_path):
    import shutil

    from mien.models import load, save
    from mien.study.folder import Study
    from mien.workflow.fitting import fit_study, newest_fits

    copy = tmp_path / "study"
    shutil.copytree(demo.study.path, copy)
    study = Study(copy)
    path = newest_fits(study)["valence"]
    old = load(path)
    del old["checks"], old.attrs["checks"]
    shutil.rmtree(path)
    save(old, path)
    os.utime(path / "fit.json", (1e9, 1e9))
    again = fit_study(study, "valence", pooling="partial", shapes=QUICK_SHAPES)
    assert not again.new
    assert again.path == path
    assert len(again.checks.table) == len(demo.fit.checks.table)
    assert (path / "fit.json").stat().st_mtime == 1e9


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


def test_the_priors_have_a_report_of_their_own(demo, tmp_path):
    from mien.reports_app.writing import write_prior_report
    from mien.study.errors import StudyError

    page = write_prior_report(demo.study, tmp_path / "priors.html").read_text()
    assert "This study is simulated" in page
    assert "the model was told little about the difference between positive and negative stimuli" in page
    assert "within the limits" in page
    assert page.count("Every prior of model") == len(demo.fits)
    assert "Bayesian Analysis Reporting Guidelines" in page
    printed = write_prior_report(demo.study, tmp_path / "priors.pdf", kind="pdf")
    assert printed.read_bytes().startswith(b"%PDF-")
    with pytest.raises(StudyError, match="html, pdf"):
        write_prior_report(demo.study, tmp_path / "priors.doc", kind="doc")
