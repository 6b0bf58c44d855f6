"""One line for every person opened and every export, only ever appended, and nothing without it."""

import json
import threading

import pytest

from mien.reports_app.app import journal
from mien.reports_app.app.access import Visitor
from mien.reports_app.app.journal import LOG, note, note_person
from mien.study.errors import StudyError

ANNA = Visitor("anna@example.org", "clinician")


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_a_line_says_when_who_as_what_and_what(tmp_path):
    note(tmp_path, ANNA, "export", file="effects.csv", bytes=12, whole=True)
    (line,) = lines(tmp_path)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "name": "anna@example.org", "role": "clinician", "action": "export",
        "what": {"file": "effects.csv", "bytes": 12, "whole": True},
    }  # fmt: skip


def test_lines_are_appended_and_old_ones_stay(tmp_path):
    note(tmp_path, ANNA, "person", participant="01")
    before = (tmp_path / LOG).read_bytes()
    note(tmp_path, ANNA, "person", participant="02")
    after = (tmp_path / LOG).read_bytes()
    assert after.startswith(before)
    assert len(lines(tmp_path)) == 2


def test_nobody_forges_a_line_with_a_line_end_or_a_long_value(tmp_path):
    forged = 'x"}\n{"time": "2020", "name": "eve"}\r\u2028\x1b[2J'
    note(
        tmp_path,
        Visitor(forged, forged),
        "person",
        participant=forged,
        long="a" * 10_000,
        number=float("nan"),
    )
    (line,) = lines(tmp_path)
    told = [line["name"], line["role"], line["what"]["participant"]]
    assert not any(character in text for text in told for character in "\n\r\u2028\x1b")
    assert len(line["what"]["long"]) == 201
    assert line["what"]["number"] == "nan"
    assert (tmp_path / LOG).read_bytes().isascii()


def test_only_the_owner_reads_it(tmp_path):
    note(tmp_path, ANNA, "person", participant="01")
    assert (tmp_path / LOG).stat().st_mode & 0o777 == 0o600


def test_lines_of_many_visits_do_not_mix(tmp_path):
    def write(number):
        for _ in range(20):
            note(tmp_path, Visitor(f"{number}" * 150, "clinician"), "person", participant=str(number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(tmp_path)) == 80


def test_a_log_that_leads_elsewhere_is_not_followed_and_nothing_goes_on(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    (tmp_path / LOG).parent.mkdir(parents=True)
    (tmp_path / LOG).symlink_to(elsewhere)
    with pytest.raises(StudyError, match="nothing is shown without its line"):
        note(tmp_path, ANNA, "person", participant="01")
    assert elsewhere.read_text() == ""


def test_a_line_cut_short_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(journal.os, "write", lambda handle, content: len(content) - 1)
    with pytest.raises(StudyError, match="disk is full"):
        note(tmp_path, ANNA, "person", participant="01")


def test_an_unknown_action_is_refused(tmp_path):
    with pytest.raises(ValueError, match="person, export"):
        note(tmp_path, ANNA, "looked")


def test_opening_a_person_is_one_line_until_another_is_opened(tmp_path):
    visit = {}
    for person in ("01", "01", "02", "02", "01"):
        note_person(tmp_path, ANNA, person, visit)
    note_person(tmp_path, ANNA, "01", {})  # another visit
    note_person(tmp_path, Visitor("sam", "statistician"), "01", visit)  # another visitor
    assert [line["what"]["participant"] for line in lines(tmp_path)] == ["01", "02", "01", "01", "01"]


def test_a_person_whose_line_was_not_written_counts_as_not_opened(tmp_path):
    visit = {}
    (tmp_path / LOG).mkdir(parents=True)
    with pytest.raises(StudyError):
        note_person(tmp_path, ANNA, "01", visit)
    assert visit == {}
