import hashlib
import zipfile

import numpy as np
import pytest

from mien.capture.formats import read_recording
from mien.simulation.design import Design
from mien.simulation.recordings import participant_of, stimulus_effects_of
from mien.simulation.study import write_raw_study
from mien.simulation.truth import default_truth
from mien.study.errors import StudyError
from mien.study.participants import read_participants
from mien.study.stimuli import read_stimuli
from mien.study.tables import read_table

TINY = Design(participants=4, pictures_per_valence=2, films_per_valence=1, picture_s=2.0, film_s=3.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "study"
    write_raw_study(folder, TINY, seed=7, workers=1)
    return folder


def bytes_of(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_processes(study, tmp_path):
    told = []
    write_raw_study(tmp_path / "two", TINY, seed=7, workers=2, progress=lambda *args: told.append(args))
    assert bytes_of(tmp_path / "two") == bytes_of(study)
    assert told[-1] == (4, 4, "simulate")


def test_another_seed_gives_another_study(study, tmp_path):
    write_raw_study(tmp_path / "other", TINY, seed=8, workers=1)
    same = {
        name for name, digest in bytes_of(tmp_path / "other").items() if bytes_of(study).get(name) == digest
    }
    assert same == {"README.md", "participants.json", "sessions.tsv", "stimuli.json", "stimuli.tsv"}


def test_a_take_read_back_is_what_was_simulated(study):
    effects = stimulus_effects_of(TINY, default_truth(), 7)
    for row, number in ((0, 0), (3, 1), (4, 2), (7, 3)):  # plain, plain, zipped, over midnight
        source = study / read_table(study / "sessions.tsv")["source"][row]
        take = participant_of(TINY, default_truth(), effects, seed=7, participant=number).takes[row % 2]
        recording, expected = read_recording(source), take.recording()
        assert recording["activation"].to_numpy() == pytest.approx(
            expected["activation"].to_numpy(), abs=1e-7
        )
        assert recording["time"].to_numpy() == pytest.approx(expected["time"].to_numpy(), abs=2e-5)
        assert ("head" in recording) == take.head_present


def test_the_tables_are_those_of_a_study(study):
    people = read_participants(study / "participants.tsv")
    assert list(people["participant_id"]) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert {"age", "sex", "empathy_affective", "empathy_cognitive"} <= set(people.columns)
    assert len(read_stimuli(study / "stimuli.tsv")) == 6
    sessions = read_table(study / "sessions.tsv")
    assert list(sessions.columns) == ["source", "participant", "session", "task", "run", "events", "clock"]
    assert all((study / path).exists() for column in ("source", "events") for path in sessions[column])


def test_one_take_is_calibrated_too_one_is_a_zip_and_one_crosses_midnight(study):
    takes = study / "takes"
    calibrated = next(takes.rglob("*_cal.csv"))
    assert calibrated.with_name(calibrated.name.replace("_cal", "_raw")).exists()
    assert np.mean(read_recording(calibrated)["activation"].to_numpy() == 0) > 0.35
    archive = next(takes.glob("*.zip"))
    with zipfile.ZipFile(archive) as content:
        assert [name.rsplit(".", 1)[1] for name in content.namelist()] == ["csv", "mov"]
    rows = [path.read_text().splitlines() for path in takes.rglob("*_raw.csv")]
    assert ("23:59", "00:00") in [(lines[1][:5], lines[-1][:5]) for lines in rows]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(StudyError, match="new or empty folder"):
        write_raw_study(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_the_stimulus_clock_leaves_the_events_to_be_aligned(tmp_path):
    design = Design(participants=1, pictures_per_valence=1, films_per_valence=0, clock="stimulus")
    write_raw_study(tmp_path / "raw", design, seed=1, workers=1)
    assert read_table(tmp_path / "raw" / "sessions.tsv")["clock"].isna().all()
