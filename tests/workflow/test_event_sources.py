import pandas as pd
import pytest

from mien.study.errors import StudyError
from mien.workflow.event_sources import read_event_source

STIMULI = pd.DataFrame({"stimulus_id": ["happy_03", "sad_01"], "duration": [5.0, 4.0]})
PSYCHOPY = (
    "image_file,image.started,slider.response,block\n"
    "stimuli/happy_03.jpg,3.25,6,a\n"
    ",,,\n"
    "stimuli\\sad_01.jpg,12.5,2,b\n"
)
MAPPING = {
    "psychopy": {
        "onset": "image.started",
        "stimulus_id": "image_file",
        "columns": {"rating_empathy": "slider.response", "block_name": "block"},
    }
}


@pytest.fixture
def psychopy(tmp_path):
    path = tmp_path / "p01.csv"
    path.write_text(PSYCHOPY)
    return path


def test_a_psychopy_file_is_mapped(psychopy):
    table = read_event_source(psychopy, MAPPING, STIMULI)
    assert table["onset"].tolist() == [3.25, 12.5]
    assert table["duration"].tolist() == [5.0, 4.0]
    assert table["stimulus_id"].tolist() == ["happy_03", "sad_01"]
    assert table["rating_empathy"].tolist() == [6, 2]
    assert table["block_name"].tolist() == ["a", "b"]


def test_a_number_of_seconds_as_duration(psychopy):
    mapping = {"psychopy": {**MAPPING["psychopy"], "duration": 6}}
    assert read_event_source(psychopy, mapping, None)["duration"].tolist() == [6.0, 6.0]


def test_without_a_mapping_the_message_says_where_to_put_one(psychopy):
    with pytest.raises(StudyError, match=r"\[psychopy\] in the study's mien.toml"):
        read_event_source(psychopy, {}, STIMULI)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"onset": "image.startd"}, "did you mean 'image.started'"),
        ({"onsett": "x"}, "did you mean 'onset'"),
        ({"columns": {"valence": "block"}}, "reserved name 'valence'"),
    ],
)
def test_bad_mappings_are_named(psychopy, change, message):
    mapping = {"psychopy": {**MAPPING["psychopy"], **change}}
    with pytest.raises(StudyError, match=message):
        read_event_source(psychopy, mapping, STIMULI)


def test_text_in_the_onset_column_names_the_cell(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image_file,image.started\na.jpg,soon\n")
    with pytest.raises(StudyError, match=r"line 2, column image\.started"):
        read_event_source(
            path, {"psychopy": {"onset": "image.started", "stimulus_id": "image_file"}}, STIMULI
        )


def test_markers_of_an_xdf_file_are_the_onsets_of_stimuli(tmp_path, monkeypatch):
    path = tmp_path / "session.xdf"
    path.write_bytes(b"XDF:")
    markers = pd.DataFrame({"onset": [1.0, 2.5, 9.0], "marker": ["begin", "happy_03", "sad_01"]})
    monkeypatch.setattr("mien.capture.formats.read_markers", lambda given: markers)
    table = read_event_source(path, {}, STIMULI)
    assert table["onset"].tolist() == [1.0, 2.5, 9.0]
    assert table["duration"].tolist() == [0.0, 5.0, 4.0]
    assert table["stimulus_id"].isna().tolist() == [True, False, False]
    assert table["trial_type"].tolist() == ["begin", "stimulus", "stimulus"]
    with pytest.raises(StudyError, match=r"stimuli\.tsv beside markers"):
        read_event_source(path, {}, None)
    with pytest.raises(StudyError, match="'begin'"):
        read_event_source(path, {}, STIMULI.assign(stimulus_id=["a", "b"]))
