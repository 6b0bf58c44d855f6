"""Events at the door, and what writing them leaves behind."""

import json

import numpy as np
import pandas as pd
import pytest

from mien.study import events as module
from mien.study.errors import StudyError
from mien.study.events import read_events, unknown_stimuli, validate_events, write_events

HEADER = "onset\tduration\tstimulus_id"


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "onset": [1.5, 8.0],
            "duration": [6.0, np.nan],
            "stimulus_id": pd.Series(["p1", None], dtype="str"),
            "rating_valence": [3.0, np.nan],
            "condition_task": pd.Series(["self", "other"], dtype="str"),
        }
    )


def test_events_come_back_as_they_were_written(table, tmp_path):
    alignment = {"method": "sync", "offset_s": 1.25, "residual_ms": float("nan")}
    write_events(table, tmp_path / "e_events.tsv", alignment)
    events = read_events(tmp_path / "e_events.tsv")
    pd.testing.assert_frame_equal(events.table, table)
    assert events.alignment == {"method": "sync", "offset_s": 1.25, "residual_ms": None}
    assert events.path == tmp_path / "e_events.tsv"


def test_without_an_alignment_events_count_as_unaligned(table, tmp_path):
    path = tmp_path / "e_events.tsv"
    write_events(table, path, {"method": "same"})
    write_events(table, path, None)
    assert read_events(path).alignment is None
    assert "not aligned yet" in json.loads(path.with_suffix(".json").read_text())["onset"]["Description"]
    path.with_suffix(".json").unlink()
    assert read_events(path).alignment is None
    path.with_suffix(".json").write_text('{"ClockAlignment": {}}')
    assert read_events(path).alignment is None


def test_every_column_is_described_and_descriptions_by_people_stay(table, tmp_path):
    path = tmp_path / "e_events.tsv"
    ours = {
        "rating_valence": {"Description": "1 sad … 9 happy"},
        "StimulusPresentation": {"OperatingSystem": "x"},
    }
    path.with_suffix(".json").write_text(json.dumps(ours))
    write_events(table.assign(onset_stimulus=table["onset"]), path, {"method": "same"})
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["rating_valence"] == {"Description": "1 sad … 9 happy"}
    assert content["StimulusPresentation"] == {"OperatingSystem": "x"}
    assert content["condition_task"] == {"Description": "condition or response of the trial"}
    assert set(content) == {
        "onset", "duration", "stimulus_id", "onset_stimulus", "rating_valence", "condition_task",
        "StimulusPresentation", "ClockAlignment",
    }  # fmt: skip


@pytest.mark.parametrize(("first", "second"), [(None, {"method": "same"}), ({"method": "same"}, None)])
def test_a_stop_in_between_never_makes_events_look_aligned(first, second, table, tmp_path, monkeypatch):
    path = tmp_path / "e_events.tsv"
    write_events(table, path, first)
    shifted = table.assign(onset=table["onset"] + 100)
    last = "write_whole" if second else "write_table"

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, last, stop)
    with pytest.raises(KeyboardInterrupt):
        write_events(shifted, path, second)
    assert read_events(path).alignment is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("n/a\t6\tp1", "line 2, column onset: expected seconds, found nan"),
        ("1\t-6\tp1", "line 2, column duration: expected 0 s or more, found -6.0"),
        ("1,5\t6\tp1", "line 2, column onset: expected a number, found '1,5'"),
        ("start\t6\tp1", "line 2, column onset"),
        ("inf\t6\tp1", "line 2, column onset"),
    ],
)
def test_a_bad_row_is_named(rows, message, write):
    with pytest.raises(StudyError) as caught:
        read_events(write("e_events.tsv", f"{HEADER}\n{rows}\n"))
    assert message in str(caught.value)
    assert "e_events.tsv" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["activation", "participant", "trial", "bin", "time", "valence", "series", "excluded"]
)
def test_reserved_names_are_refused(name, write):
    path = write("e_events.tsv", f"{HEADER}\t{name}\n1\t6\tp1\t2\n")
    with pytest.raises(StudyError, match=f"reserved name '{name}': rename it, e.g. condition_{name}"):
        read_events(path)


def test_columns_of_bids_are_no_conditions(write):
    path = write(
        "e_events.tsv", f"{HEADER}\ttrial_type\tresponse_time\tonset_stimulus\n1\t6\tp1\tshow\t0.4\t3\n"
    )
    assert list(read_events(path).table["onset_stimulus"]) == [3.0]


def test_missing_files_columns_and_rows(write, tmp_path):
    with pytest.raises(StudyError, match="found none: give them to `mien import`"):
        read_events(tmp_path / "e_events.tsv")
    with pytest.raises(StudyError, match="expected the column stimulus_id"):
        read_events(write("e_events.tsv", "onset\tduration\n1\t2\n"))
    with pytest.raises(StudyError, match="found only the header"):
        read_events(write("e_events.tsv", HEADER + "\n"))


@pytest.mark.parametrize("content", ["{,}", "[]", '{"ClockAlignment": "yes"}'])
def test_a_bad_json_is_refused(content, write):
    path = write("e_events.tsv", f"{HEADER}\n1\t6\tp1\n")
    write("e_events.json", content)
    with pytest.raises(StudyError, match=r"e_events\.json"):
        read_events(path)


def test_a_table_from_memory_is_checked_too(table):
    assert validate_events(table) is table
    with pytest.raises(StudyError, match="found no onset"):
        validate_events(table.drop(columns="onset"))
    with pytest.raises(StudyError, match=r"column onset: expected numbers \(s\), found str"):
        validate_events(table.astype({"onset": "str"}))
    with pytest.raises(StudyError, match="line 3, column onset: expected seconds, found inf"):
        validate_events(table.assign(onset=[1.0, np.inf]))
    with pytest.raises(StudyError, match="line 3, column duration"):
        validate_events(table.assign(duration=[1.0, np.inf]))


def test_an_unknown_stimulus_is_named_and_none_is_no_stimulus(table):
    stimuli = pd.DataFrame({"stimulus_id": ["p1", "happy_03"]})
    unknown_stimuli(table, stimuli)
    with pytest.raises(
        StudyError, match=r"line 2, column stimulus_id.*'hapy_03' \(did you mean 'happy_03'\?\)"
    ):
        unknown_stimuli(table.assign(stimulus_id=["hapy_03", None]), stimuli)
