"""The study folder: made, read, and valid BIDS."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.study.blend_shapes import NAMES
from mien.study.errors import StudyError
from mien.study.events import write_events
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.motion import write_motion
from mien.study.recording import make_recording, same_recording
from mien.study.tables import read_table, write_table

FIRST = RecordingId("01", "1", "met", "1")


@pytest.fixture
def study(tmp_path):
    return Study.create(tmp_path / "met study")


def add(study, recording, recording_id=FIRST, *, session=False, run=False):
    stem = study.new_stem(recording_id, session=session, run=run, tracker="arkit")
    write_motion(recording, stem, task=recording_id.task)
    study.refresh()
    return stem


def test_a_new_study_has_its_frame(study):
    names = {str(path.relative_to(study.path)) for path in study.path.rglob("*") if path.is_file()}
    assert names == {
        ".bidsignore", "README.md", "dataset_description.json", "participants.json", "stimuli/stimuli.json",
    }  # fmt: skip
    assert study.name == "met study"
    assert study.recordings() == []
    assert study.settings == {}
    assert study.derivatives == study.path / "derivatives" / "mien"
    assert repr(study) == f"Study({str(study.path)!r})"


def test_making_a_study_again_changes_nothing(study):
    (study.path / "README.md").write_text("mine")
    assert Study.create(study.path, name="other").name == "met study"
    assert (study.path / "README.md").read_text() == "mine"


def test_a_study_grows_around_tables_that_are_there(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "participants.tsv").write_text("participant_id\nsub-01\n")
    assert list(Study.create(tmp_path / "s").participants["participant_id"]) == ["sub-01"]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "photos.zip").write_text("")
    with pytest.raises(StudyError, match=r"found a folder with photos\.zip: choose another one"):
        Study.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photos.zip"]
    with pytest.raises(StudyError, match="found a file"):
        Study.create(tmp_path / "photos.zip")


@pytest.mark.parametrize(
    ("make", "found"), [("mkdir", "a folder without one"), ("touch", "a file"), (None, "nothing")]
)
def test_what_is_no_study_is_named(make, found, tmp_path):
    path = tmp_path / "here"
    if make:
        getattr(path, make)()
    with pytest.raises(StudyError, match=f"found {found}: make a study with `mien new"):
        Study(path)


def test_recordings_are_found_and_read(study, recording):
    add(study, recording)
    add(study, recording, RecordingId("02", "pre", "met", "2"), session=True, run=True)
    add(study, recording, RecordingId("02", "pre", "met", "10"), session=True, run=True)
    assert study.recordings() == [FIRST, ("02", "pre", "met", "2"), ("02", "pre", "met", "10")]
    assert same_recording(study.recording(FIRST), recording)
    assert study.motion_path(RecordingId("02", "pre", "met", "2")) == (
        study.path / "sub-02/ses-pre/motion/sub-02_ses-pre_task-met_tracksys-arkit_run-2_motion.tsv"
    )
    with pytest.raises(StudyError, match="sub-03 ses-1 task-met run-1, found none: import it"):
        study.recording(RecordingId("03", "1", "met", "1"))


def test_the_same_labels_twice_are_refused(study, recording):
    add(study, recording)
    add(study, recording, run=True)
    with pytest.raises(
        StudyError, match=r"expected one recording of sub-01 ses-1 task-met run-1, found also"
    ):
        study.recordings()


@pytest.mark.parametrize(
    "name",
    ["sub-02/motion/sub-01_task-met_motion.tsv", "sub-01/ses-1/motion/sub-01_task-met_motion.tsv"],
)
def test_a_misfiled_recording_is_named(name, study):
    (study.path / name).parent.mkdir(parents=True)
    (study.path / name).touch()
    with pytest.raises(StudyError, match=r"expected the file in sub-01/motion, as its name says"):
        study.recordings()


def test_a_name_that_says_too_little_is_refused(study):
    (study.path / "sub-01" / "motion").mkdir(parents=True)
    (study.path / "sub-01" / "motion" / "sub-01_motion.tsv").touch()
    with pytest.raises(StudyError, match="expected a name such as"):
        study.recordings()


@pytest.mark.parametrize("run", ["", "_run-1", "_run-01"])
def test_events_lie_beside_their_recording_or_in_beh(run, study, recording):
    stem = study.path / f"sub-01/motion/sub-01_task-met_tracksys-arkit{run}"
    write_motion(recording, stem, task="met")
    table = pd.DataFrame({"onset": [1.0], "duration": [2.0], "stimulus_id": ["p1"]})
    assert study.events_path(FIRST) == study.path / f"sub-01/motion/sub-01_task-met{run}_events.tsv"
    write_events(table, study.path / f"sub-01/beh/sub-01_task-met{run}_events.tsv", None)
    assert study.events(FIRST).path.parent.name == "beh"
    assert study.events(FIRST).table["onset"].item() == 1.0
    write_events(table.assign(onset=3.0), study.path / f"sub-01/motion/sub-01_task-met{run}_events.tsv", None)
    assert study.events(FIRST).table["onset"].item() == 3.0


def test_events_that_are_not_there_are_named(study, recording):
    add(study, recording)
    with pytest.raises(
        StudyError, match=r"sub-01_task-met_events\.tsv: expected the events of this recording"
    ):
        study.events(FIRST)


def test_participants_are_added_once_and_nothing_else_changes(study):
    assert study.add_participant("01")
    assert not study.add_participant("sub-01")
    path = study.path / "participants.tsv"
    path.write_text("participant_id;age;code\n01;23;007\n")
    assert not study.add_participant("01"), "a label written without its prefix is the same person"
    assert study.add_participant("02")
    assert path.read_text() == "participant_id\tage\tcode\n01\t23\t007\nsub-02\tn/a\tn/a\n"
    assert list(study.participants["participant_id"]) == ["sub-01", "sub-02"]
    with pytest.raises(StudyError, match="use annas"):
        study.add_participant("anna_s")


def test_settings_are_toml(study):
    (study.path / "mien.toml").write_text("[recipe]\nbin = 1.0\n", encoding="utf-8-sig")
    assert study.settings == {"recipe": {"bin": 1.0}}


@pytest.mark.parametrize("content", [b"[recipe\n", b"x = \xff", b"x = " + b"[" * 5000])
def test_bad_settings_are_named(content, study):
    (study.path / "mien.toml").write_bytes(content)
    with pytest.raises(StudyError, match=r"mien\.toml"):
        _ = study.settings


def test_a_bad_description_is_named(study):
    (study.path / "dataset_description.json").write_text("{")
    with pytest.raises(StudyError, match=r"dataset_description\.json, line 1: expected JSON"):
        _ = study.name


@pytest.fixture(scope="module")
def small_study(tmp_path_factory):
    """Two people, two runs, aligned events, with and without a head."""
    study = Study.create(tmp_path_factory.mktemp("bids") / "study")
    time = np.arange(120) / 60
    values = np.random.default_rng(0).random((len(time), 52))
    values[10:14] = np.nan
    for participant in ("01", "02"):
        study.add_participant(participant)
        head = np.zeros((len(time), 3)) if participant == "01" else None
        recording = make_recording(time, values, NAMES, head=head, format="test", start="12:00:00:00.000")
        for run in ("1", "2"):
            found = RecordingId(participant, "1", "met", run)
            stem = add(study, recording, found, run=True)
            events = pd.DataFrame(
                {"onset": [0.1], "duration": [1.0], "stimulus_id": ["p1"], "rating_valence": [3.0]}
            )
            write_events(events, study.events_path(found), {"method": "same", "residual_ms": float("nan")})
        scans = {
            "filename": [f"motion/{stem.name.removesuffix(run)}{number}_motion.tsv" for number in "12"],
        }
        write_table(pd.DataFrame(scans), study.path / f"sub-{participant}" / f"sub-{participant}_scans.tsv")
    (study.path / "stimuli" / "stimuli.tsv").write_text(
        "stimulus_id\tvalence\tmedium\tduration\np1\tpositive\tpicture\t6\n"
    )
    (study.path / "mien.toml").write_text("[recipe]\n")
    return study


def test_the_study_is_valid_bids(small_study):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    run = subprocess.run(
        [validator, "--json", small_study.path], capture_output=True, text=True, check=False, timeout=60
    )
    report = json.loads(run.stdout)
    errors = [issue for issue in report["issues"]["issues"] if issue.get("severity") == "error"]
    assert errors == []
    assert sorted(report["summary"]["subjects"]) == ["01", "02"]
    assert report["summary"]["tasks"] == ["met"]


def test_the_validator_would_see_an_error(small_study, tmp_path):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x"}')
    run = subprocess.run(
        [validator, "--json", tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    issues = json.loads(run.stdout)["issues"]["issues"]
    assert any(issue.get("severity") == "error" for issue in issues)


def test_everything_written_has_unix_line_ends(small_study):
    for path in small_study.path.rglob("*"):
        if path.is_file():
            assert b"\r" not in path.read_bytes(), path
    assert list(read_table(small_study.path / "stimuli" / "stimuli.tsv").columns)[:2] == [
        "stimulus_id",
        "valence",
    ]
