import numpy as np
import pandas as pd
import pytest

from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.workflow.aligning import ClockFacts, align_study, read_sync
from mien.workflow.importing import import_recordings
from mien.workflow.sessions import ImportRequest

ID = RecordingId("01", "1", "met", "1")


@pytest.fixture
def study(study_folder, make_take, make_events):
    import_recordings(study_folder, [ImportRequest(make_take(), "01", "met", events=make_events())])
    return Study(study_folder)


def test_sync_writes_the_onsets_and_keeps_the_original(study):
    facts = ClockFacts(sync=np.array([[0.0, 1.5], [10.0, 11.5]]))
    ((_, alignment),) = align_study(study, "sync", facts=facts)
    events = study.events(ID)
    assert alignment["offset_s"] == pytest.approx(1.5)
    assert events.table["onset"].tolist() == pytest.approx([4.5, 10.5, 15.5])
    assert events.table["onset_stimulus"].tolist() == [3.0, 9.0, 14.0]
    assert events.alignment["method"] == "sync"


def test_aligning_anew_starts_from_the_stimulus_clock(study):
    align_study(study, "sync", facts=ClockFacts(sync=np.array([[0.0, 1.5]])))
    align_study(study, "same")
    assert study.events(ID).table["onset"].tolist() == [3.0, 9.0, 14.0]


def test_utc_needs_the_start_of_the_stimulus_clock_and_states_the_uncertainty(study):
    with pytest.raises(StudyError, match="stimulus_start"):
        align_study(study, "utc")
    facts = ClockFacts("2026-03-02T09:00:02Z", "2026-03-02T09:00:00Z", 50.0)
    ((_, alignment),) = align_study(study, "utc", facts=facts)
    assert alignment["offset_s"] == pytest.approx(2.0)
    assert alignment["uncertainty_ms"] == 50.0


def test_blinks_need_cues(study):
    with pytest.raises(StudyError, match="trial_type"):
        align_study(study, "blinks")


def test_one_failure_leaves_all_events_as_they_were(study, make_take, make_events):
    import_recordings(study.path, [ImportRequest(make_take("b.csv", 5), "02", "met", events=make_events())])
    study.refresh()
    before = {path: path.read_bytes() for path in study.path.rglob("*_events.*")}
    table = study.events(ID).table
    table = pd.concat([table, pd.DataFrame({"onset": [0.5], "duration": [0.0], "trial_type": ["sync"]})])
    with pytest.raises(StudyError):
        align_study(study, "sync")
    assert {path: path.read_bytes() for path in study.path.rglob("*_events.*")} == before


def test_a_sync_table_names_its_bad_cell(tmp_path):
    path = tmp_path / "sync.tsv"
    path.write_text("stimulus_s\trecording_s\n1\t2,5\n")
    with pytest.raises(StudyError, match=r"line 2, column recording_s.*decimal point"):
        read_sync(path)
