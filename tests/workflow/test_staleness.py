"""What is older than its sources is told, and what is not is left in peace."""

import json
import os
import time

import pytest

from mien.study.folder import Study
from mien.workflow.fitting import fit_study, newest_fits
from mien.workflow.preparing import load_prep, prepare_and_store
from mien.workflow.staleness import stale_fit, stale_preparation
from tests.small_study import make_small_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_small_study(tmp_path_factory.mktemp("stale"), shapes=("mouthSmile",))


def described(study):
    return json.loads((newest_fits(study)["valence"] / "fit.json").read_text())


def later(path):
    at = time.time() + 5
    os.utime(path, (at, at))


def test_what_was_just_made_is_not_stale(study):
    assert stale_preparation(study) == []
    assert stale_fit(described(study), load_prep(study)) == []


def test_events_that_were_changed_since_are_named(study):
    events = sorted(study.path.glob("sub-*/motion/*_events.tsv"))
    made = events[0].stat()
    later(events[0])
    assert stale_preparation(study) == [f"Changed or added since: {events[0].name}."]
    for path in events[1:5]:
        later(path)
    assert stale_preparation(study)[0].endswith(f"{events[2].name} and 2 more.")
    for path in events[:5]:
        os.utime(path, ns=(made.st_atime_ns, made.st_mtime_ns))
    assert stale_preparation(study) == []


def test_another_recipe_makes_the_fit_stale_and_fitting_again_does_not(study):
    settings = study.path / "mien.toml"
    before = settings.read_text()
    settings.write_text(before + "\n[recipe]\nbin = 0.25\n")
    changed = Study(study.path)
    assert "The recipe was changed." in stale_preparation(changed)
    prepare_and_store(changed)
    assert stale_preparation(changed) == []
    assert stale_fit(described(changed), load_prep(changed)) == [
        "The trials have been prepared by another recipe since."
    ]
    fit_study(changed, "valence", shapes=("mouthSmile",), draws=300)
    assert stale_fit(described(changed), load_prep(changed)) == []
    other = newest_fits(changed)["valence"]
    settings.write_text(before)
    back = Study(study.path)
    prepare_and_store(back)
    assert stale_fit(described(back), load_prep(back)) != []
    asked = fit_study(
        back, "valence", shapes=("mouthSmile",), draws=300
    )  # stored, and now the one that reports take
    assert not asked.new
    assert newest_fits(back)["valence"] == asked.path != other
    assert stale_fit(described(back), load_prep(back)) == []


def test_a_fit_whose_rows_did_not_change_is_of_the_new_trials_once_it_is_asked_for(study):
    prep = {**load_prep(study), "trials_sha256": "0" * 64}
    told = ["The trials have been prepared anew since, and are others."]
    fit_study(study, "valence", shapes=("mouthSmile",), draws=300)
    assert stale_fit(described(study), prep) == told
    path = study.derivatives / "prep.json"
    before = path.read_text()
    path.write_text(json.dumps(prep))
    made_at = (newest_fits(study)["valence"] / "fit.json").stat().st_mtime_ns
    fit_study(study, "valence", shapes=("mouthSmile",), draws=300)  # found stored: the same rows
    assert stale_fit(described(study), prep) == []
    assert (newest_fits(study)["valence"] / "fit.json").stat().st_mtime_ns == made_at
    path.write_text(before)
