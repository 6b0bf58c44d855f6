"""What an address, a stored path or a name in the study could be made to do: nothing but a page or a sentence."""

import io
import json

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from mien.reports_app.app import reading, server
from mien.reports_app.app.access import NotAllowedError, Visitor
from mien.reports_app.app.journal import LOG
from mien.reports_app.app.settings import Settings, configure
from mien.study.errors import RecordingError, StudyError
from mien.study.folder import Study

SAM = Visitor("sam", "statistician")
STRANGE = (
    "../../etc/passwd", "..", "/etc/passwd", "sub-01/../../x", "02", "sub-01", "01\n", " 01", "01;--", "=1+1", "*",
    "${HOME}", "<img src=x onerror=alert(1)>", "__import__('os').system('touch pwned')", "{{7*7}}", "%2e%2e",
    "\u202e10", "x" * 9_000,
)  # fmt: skip


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A study of one person, 01, and what an attacker would like to read beside it."""
    monkeypatch.chdir(tmp_path)
    study = Study.create(tmp_path / "study", name="Tiny")
    (study.path / "stimuli" / "stimuli.tsv").write_text("stimulus_id\tvalence\tmedium\tduration\n")
    (study.path / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    other = Study.create(tmp_path / "other", name="Other")
    (other.path / "participants.tsv").write_text("participant_id\tage\nsub-02\t30\n")
    configure(Settings(study.path))
    st.session_state.clear()
    return study.path


def opened(page, **query):
    app = AppTest.from_file(str(server.SCRIPT), default_timeout=20)
    app.query_params.update(query)
    app._page_hash = calc_hash(page)
    return app.run()


@pytest.mark.parametrize("text", STRANGE)
def test_a_person_whom_the_study_has_not_is_not_opened(tiny, text):
    with pytest.raises(StudyError, match="expected one of this study"):
        reading.person_of(SAM, "person", text, "en")
    assert not (tiny / LOG).exists()


@pytest.mark.parametrize("text", STRANGE[::6])
def test_an_address_that_names_another_person_opens_nobody(tiny, text):
    app = opened("person", person=text, language=text, view=text)
    assert not app.exception
    assert not app.error
    assert "Choose a person" in app.info[0].value
    assert text not in app.query_params.values()
    assert not (tiny / LOG).exists()
    assert not (tiny.parent / "pwned").exists()


def test_a_person_is_opened_with_a_line_in_the_log_before_anything_is_read(tiny):
    with pytest.raises(StudyError):  # there is no fit yet
        reading.person_of(SAM, "person", "01", "en")
    (line,) = (tiny / LOG).read_text().splitlines()
    assert json.loads(line)["what"] == {"participant": "01"}


def test_a_person_is_not_opened_where_the_log_cannot_be_written(tiny):
    (tiny / LOG).mkdir(parents=True)
    with pytest.raises(StudyError, match="without its line in the log"):
        reading.person_of(SAM, "person", "01", "en")


def test_an_uploaded_person_leaves_a_line_without_the_files_name(tiny):
    class Upload(io.BytesIO):
        name, size = "AnnaSchmidt_1.csv", 7

    upload = Upload(b"nothing")
    with pytest.raises(RecordingError):
        reading.scored(SAM, "person", upload, upload, "met", "en")
    (line,) = (tiny / LOG).read_text().splitlines()
    assert json.loads(line)["what"] == {"participant": "new"}
    assert "Anna" not in line


def test_who_has_no_persons_opens_none(tiny):
    for visitor in (Visitor("paul", "planner"), Visitor("eve", ""), None):
        for page in ("person", "about", "power"):
            with pytest.raises(NotAllowedError):
                reading.person_of(visitor, page, "01", "en")
    assert not (tiny / LOG).exists()


def stored(path):
    return reading.StoredFit("valence", str(path), str(path), "gaussian", "passed", {}, ())


def test_paths_lead_nowhere_outside_the_study(tiny, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "posterior.nc").write_text("secret")
    (outside / "plan.json").write_text("{}")
    link = tiny / "derivatives" / "mien" / "power" / "run"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    for path in (outside, link, tiny / ".." / "outside", tiny.with_name("study-2")):
        for read in (
            lambda path=path: reading.fit_of(SAM, "effects", stored(path)),
            lambda path=path: reading.draws_file(SAM, "checks", stored(path)),
            lambda path=path: reading.draws_bytes(SAM, "checks", stored(path)),
            lambda path=path: reading.power_status(SAM, "power", path),
            lambda path=path: reading.power_part_of(SAM, "power", path, str(path)),
        ):
            with pytest.raises(StudyError, match="within the study"):
                read()


def test_derivatives_on_another_disk_are_of_the_study(tiny, tmp_path):
    disk = tmp_path / "disk"
    fit = disk / "fits" / "valence-00000000"
    fit.mkdir(parents=True)
    (fit / "posterior.nc").write_text("draws")
    (tiny / "derivatives").mkdir(exist_ok=True)
    (tiny / "derivatives" / "mien").symlink_to(disk)
    found = tiny / "derivatives" / "mien" / "fits" / fit.name
    assert reading.draws_bytes(SAM, "checks", stored(found)) == b"draws"
    assert reading.draws_file(SAM, "checks", stored(found))[0] == 5


def choosing():
    import streamlit as st

    from mien.reports_app.app.choosing import one_of

    st.text(one_of("Model", "model", ["valence", "task"]))


@pytest.mark.parametrize("text", [STRANGE[0], STRANGE[12], "task"])
def test_only_what_is_offered_can_be_chosen(text):
    app = AppTest.from_function(choosing)
    app.query_params["model"] = text
    app.run()
    assert not app.exception
    assert app.text[0].value == ("task" if text == "task" else "valence")
    assert app.query_params == ({"model": "task"} if text == "task" else {})


def test_names_in_the_study_are_text(tiny):
    """Markup in a study's own files reaches a page escaped."""
    from mien.reports_app.fragments import fragment

    html = str(
        fragment(
            "table", "table", Study(tiny).participants.assign(age="<script>x</script>"), "<b>", "plain", 1
        )
    )
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html
