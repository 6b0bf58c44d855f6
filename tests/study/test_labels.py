"""BIDS labels and file names."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.study.errors import StudyError
from mien.study.labels import RecordingId, check_label, entities, in_order, stem_of


@pytest.mark.parametrize(
    ("value", "what", "expected"),
    [
        ("sub-01", "participant", "01"),
        ("01", "participant", "01"),
        (" A1 ", "participant", "A1"),
        ("ses-2", "session", "2"),
        ("task-met", "task", "met"),
        ("run-3", "run", "3"),
        ("metcore2", "task", "metcore2"),
    ],
)
def test_a_label_loses_its_prefix(value, what, expected):
    assert check_label(value, what) == expected


@pytest.mark.parametrize(
    ("value", "what", "message"),
    [
        ("met-core2", "task", "task: expected letters and digits only, found 'met-core2': use metcore2."),
        ("task-met_core 2", "task", "found 'met_core 2': use metcore2."),
        ("sub-", "participant", "found '': name it with letters and digits."),
        ("…", "session", "found '…': name it with letters and digits."),
        ("Zoë", "participant", "use Zo."),
        ("ses-1", "participant", "use ses1."),
        ("a\nb", "run", "use ab."),
        ("../x", "participant", "use x."),
    ],
)
def test_a_bad_label_comes_with_a_better_one(value, what, message):
    with pytest.raises(StudyError) as caught:
        check_label(value, what)
    assert str(caught.value).endswith(message)


def test_stems_leave_out_what_a_study_has_once():
    found = RecordingId("01", "1", "met", "2")
    assert stem_of(found, session=False, run=False) == "sub-01_task-met"
    assert (
        stem_of(found, session=True, run=True, tracker="arkit")
        == "sub-01_ses-1_task-met_tracksys-arkit_run-2"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01_task-met_tracksys-arkit_motion.tsv", (("01", "1", "met", "1"), False, False)),
        ("sub-01_ses-pre_task-met_tracksys-arkit_run-2_motion.tsv", (("01", "pre", "met", "2"), True, True)),
        ("sub-01_task-met_run-02_events.tsv", (("01", "1", "met", "2"), False, True)),
        ("sub-01_task-met_run-00_events.tsv", (("01", "1", "met", "0"), False, True)),
    ],
)
def test_entities_of_a_file_name(name, expected):
    assert entities(Path(name)) == expected


@pytest.mark.parametrize(
    "name",
    ["motion.tsv", "sub-01_motion.tsv", "sub-01_task-a-b_motion.tsv", "sub-01_run-1_task-met.tsv", "sub-0\n"],
)
def test_other_names_have_none(name):
    assert entities(Path(name)) is None


label = st.text(string.ascii_letters + string.digits, min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(label, label, label, label.filter(lambda run: not run.startswith("0")), st.booleans(), st.booleans())
def test_a_name_can_be_read_back(participant, session, task, run, has_session, has_run):
    given_id = RecordingId(participant, session if has_session else "1", task, run if has_run else "1")
    name = stem_of(given_id, session=has_session, run=has_run, tracker="arkit") + "_motion.tsv"
    assert entities(Path(name)) == (given_id, has_session, has_run)


def test_numbers_are_ordered_by_size():
    runs = [RecordingId("2", "1", "met", run) for run in ("10", "2", "b", "1")]
    others = [RecordingId("10", "1", "met", "1"), RecordingId("anna", "1", "met", "1")]
    ordered = sorted([*others, *runs], key=in_order)
    assert [(found.participant, found.run) for found in ordered] == [
        ("anna", "1"), ("2", "b"), ("2", "1"), ("2", "2"), ("2", "10"), ("10", "1"),
    ]  # fmt: skip


def test_an_id_is_told_with_its_prefixes():
    assert str(RecordingId("01", "1", "met", "2")) == "sub-01 ses-1 task-met run-2"
