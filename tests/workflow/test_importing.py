import gzip
import json
import zipfile

import pandas as pd
import pytest

from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.recording import same_recording
from mien.workflow.importing import import_recordings
from mien.workflow.sessions import ImportRequest


def snapshot(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_one_take_makes_a_study_with_everything(tmp_path, make_take, make_events):
    take = make_take()
    request = ImportRequest(take, "sub-01", "met", events=make_events(rating_empathy=[1, 2, 3]), clock="same")
    (imported,) = import_recordings(tmp_path / "new", [request])
    study = Study(tmp_path / "new")
    assert imported.recording_id == RecordingId("01", "1", "met", "1")
    assert study.recordings() == [imported.recording_id]
    assert study.participants["participant_id"].tolist() == ["sub-01"]
    assert study.events(imported.recording_id).alignment["method"] == "same"
    assert study.events(imported.recording_id).table["rating_empathy"].tolist() == [1, 2, 3]
    native = tmp_path / "new/sourcedata/sub-01/motion/sub-01_task-met_tracksys-arkit_run-1_motion.csv"
    assert native.read_bytes() == take.read_bytes()
    assert imported.quality["frames"] == 1200
    assert not list(tmp_path.glob(".mien-import-*"))


def test_a_bad_source_among_good_ones_writes_nothing_and_lists_every_bad_one(
    tmp_path, make_take, study_folder
):
    empty, text = tmp_path / "empty.csv", tmp_path / "text.csv"
    empty.write_bytes(b"")
    text.write_text("hello\n")
    before = snapshot(study_folder)
    requests = [ImportRequest(path, "01", "met") for path in (make_take(), empty, text)]
    with pytest.raises(StudyError) as error:
        import_recordings(study_folder, requests)
    assert "empty.csv" in str(error.value)
    assert "text.csv" in str(error.value)
    assert snapshot(study_folder) == before


def test_a_failed_import_makes_no_study(tmp_path):
    (tmp_path / "bad.csv").write_text("nothing\n")
    with pytest.raises(StudyError):
        import_recordings(tmp_path / "new", [ImportRequest(tmp_path / "bad.csv", "01", "met")])
    assert not (tmp_path / "new").exists()


def test_the_next_free_run_is_used_and_said(make_take, study_folder):
    import_recordings(study_folder, [ImportRequest(make_take("a.csv", 1), "01", "met")])
    (second,) = import_recordings(study_folder, [ImportRequest(make_take("b.csv", 2), "01", "met")])
    assert second.recording_id.run == "2"
    assert any("run 2" in note for note in second.notes)
    assert len(Study(study_folder).recordings()) == 2


def test_two_takes_of_one_person_in_one_call_become_two_runs(make_take, study_folder):
    requests = [ImportRequest(make_take(f"{seed}.csv", seed), "01", "met") for seed in (1, 2)]
    assert [found.recording_id.run for found in import_recordings(study_folder, requests)] == ["1", "2"]


def test_a_taken_run_is_refused_and_replace_moves_the_old_one_aside(make_take, study_folder, make_events):
    first = ImportRequest(make_take("a.csv", 1), "01", "met", events=make_events(), clock="same")
    import_recordings(study_folder, [first])
    old = Study(study_folder).recording(RecordingId("01", "1", "met", "1"))
    again = ImportRequest(make_take("b.csv", 2), "01", "met", run="1")
    with pytest.raises(StudyError, match="--replace"):
        import_recordings(study_folder, [again])
    (replaced,) = import_recordings(study_folder, [again], replace=True)
    study = Study(study_folder)
    assert study.recordings() == [RecordingId("01", "1", "met", "1")]
    assert not same_recording(study.recording(replaced.recording_id), old)
    aside = study_folder / "derivatives/mien/replaced/sub-01_task-met_tracksys-arkit_run-1-1"
    kept = {path.name for path in aside.iterdir()}
    assert "sub-01_task-met_tracksys-arkit_run-1_motion.tsv" in kept
    assert "sub-01_task-met_run-1_events.tsv" in kept
    assert any("moved to" in note for note in replaced.notes)


def test_the_replaced_recording_can_come_back(make_take, study_folder):
    take, other = make_take("a.csv", 1), make_take("b.csv", 2)
    import_recordings(study_folder, [ImportRequest(take, "01", "met", run="1")])
    import_recordings(study_folder, [ImportRequest(other, "01", "met", run="1")], replace=True)
    import_recordings(study_folder, [ImportRequest(take, "01", "met", run="1")], replace=True)
    assert len(list((study_folder / "derivatives/mien/replaced").iterdir())) == 2


def test_the_same_bytes_twice_are_refused_whatever_the_name_or_container(tmp_path, make_take, study_folder):
    take = make_take()
    import_recordings(study_folder, [ImportRequest(take, "01", "met")])
    packed = tmp_path / "copy.csv.gz"
    packed.write_bytes(gzip.compress(take.read_bytes()))
    with pytest.raises(StudyError, match="same bytes"):
        import_recordings(study_folder, [ImportRequest(packed, "02", "met")])
    with pytest.raises(StudyError, match="same bytes"):
        import_recordings(
            tmp_path / "other", [ImportRequest(take, "01", "a"), ImportRequest(packed, "02", "a")]
        )


def test_names_of_files_and_slates_are_written_nowhere(tmp_path, make_take, study_folder):
    take = make_take("AnnaSchmidt_1/AnnaSchmidt_1_iPhone_raw.csv")
    (take.parent / "AnnaSchmidt_1_iPhone.mov").write_bytes(b"video")
    import_recordings(study_folder, [ImportRequest(take.parent, "01", "met")])
    for name, content in snapshot(study_folder).items():
        assert "Anna" not in name
        assert b"Anna" not in content
        assert not name.endswith(".mov")


def test_a_zip_with_a_video_is_imported_without_it(tmp_path, make_take, study_folder):
    take = make_take()
    with zipfile.ZipFile(tmp_path / "take.zip", "w") as archive:
        archive.write(take, "20260302_X_1/X_1_iPad_raw.csv")
        archive.writestr("20260302_X_1/X_1_iPad.mov", b"video")
    (imported,) = import_recordings(study_folder, [ImportRequest(tmp_path / "take.zip", "01", "met")])
    assert any("video" in note for note in imported.notes)
    assert not list(study_folder.rglob("*.mov"))


def test_formats_with_names_in_them_are_not_copied(tmp_path, study_folder, make_take):
    from mien.capture.formats import read_recording, write_gesichter

    path = tmp_path / "x.gesichter"
    write_gesichter(read_recording(make_take(seconds=12)), path)
    (imported,) = import_recordings(study_folder, [ImportRequest(path, "01", "met")])
    assert (
        not list((study_folder / "sourcedata").rglob("*")) if (study_folder / "sourcedata").exists() else True
    )
    assert any("not copied" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"participant": "a b"}, "use ab"),
        ({"task": "met-core2"}, "use metcore2"),
        ({"clock": "radio"}, "same, utc, sync, blinks"),
        ({"clock": "same"}, "events"),
    ],
)
def test_bad_requests_are_refused_by_name(make_take, study_folder, request_, message):
    request = ImportRequest(make_take(), "01", "met")._replace(**request_)
    with pytest.raises(StudyError, match=message):
        import_recordings(study_folder, [request])


def test_events_with_an_unknown_stimulus_are_refused(tmp_path, make_take, study_folder):
    path = tmp_path / "e.tsv"
    path.write_text("onset\tduration\tstimulus_id\n3\t2\thapy\n")
    with pytest.raises(StudyError, match="did you mean 'happy'"):
        import_recordings(study_folder, [ImportRequest(make_take(), "01", "met", events=path)])


def test_scans_and_sources_are_listed(make_take, study_folder):
    import_recordings(study_folder, [ImportRequest(make_take(), "01", "met", session="2")])
    scans = pd.read_csv(study_folder / "sub-01/ses-2/sub-01_ses-2_scans.tsv", sep="\t", keep_default_na=False)
    assert scans["filename"].tolist() == ["motion/sub-01_ses-2_task-met_tracksys-arkit_run-1_motion.tsv"]
    assert len(json.loads((study_folder / "derivatives/mien/sources.json").read_text())) == 1


def test_workers_change_nothing(make_take, study_folder, tmp_path):
    requests = [ImportRequest(make_take(f"{seed}.csv", seed), f"0{seed}", "met") for seed in (1, 2)]
    import_recordings(tmp_path / "one", requests)
    import_recordings(tmp_path / "two", requests, workers=2)
    one, two = snapshot(tmp_path / "one"), snapshot(tmp_path / "two")
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} <= {"README.md", "dataset_description.json",
        "derivatives/mien/dataset_description.json"}  # fmt: skip
