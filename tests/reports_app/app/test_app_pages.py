"""What pages show: the reports' own parts, what is chosen, what is stale, failed or not there."""

import io
import json
import os
import runpy
import shutil
import time

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from mien.reports_app.app import reading, server, shell
from mien.reports_app.app.access import NotAllowedError, Visitor
from mien.reports_app.app.context import TITLES
from mien.reports_app.app.journal import LOG
from mien.reports_app.app.settings import Settings, configure
from mien.reports_app.app.uploads import read_upload, read_uploaded_events
from mien.reports_app.app.warming import warm
from mien.reports_app.person_document import part_of_study
from mien.reports_app.texts import Texts
from mien.study.errors import MienError, StudyError
from mien.study.folder import Study
from mien.workflow.new_recording import prepare_new
from mien.workflow.preparing import load_trials
from tests.small_study import make_small_study

SHAPES = ("mouthSmile", "mouthFrown", "browDown")
LATER = 5.0  # s


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_small_study(tmp_path_factory.mktemp("pages"), models=("valence", "task"), shapes=SHAPES).path


@pytest.fixture
def study(made, tmp_path):
    """A copy of it, with its times."""
    st.cache_resource.clear()
    return shutil.copytree(made, tmp_path / "study")


def opened(study, page, **query):
    configure(Settings(study))
    app = AppTest.from_file(str(server.SCRIPT), default_timeout=60)
    app.query_params.update({"view": "statistical", **query})
    app._page_hash = calc_hash(page)
    app.run()
    assert not app.exception
    return app


def sheets(app):
    """The HTML of everything that was placed."""
    return "\n".join(str(one.proto) for one in app.get("bidi_component"))


def chosen(app, label):
    return next(one for one in app.selectbox if one.label == label)


@pytest.mark.parametrize("page", [page for page in TITLES if page != "overview"])
def test_every_page_has_its_title_and_a_study_that_lacks_something_is_told_what(study, page):
    app = opened(study, page)
    assert [one.value for one in app.title] == [TITLES[page]]
    assert not app.error
    assert app.get("bidi_component") or app.info


def test_the_overview_counts_what_is_there(study):
    app = opened(study, "overview")
    assert "6" in sheets(app)
    assert "Models that were fitted" in sheets(app)
    assert not app.warning
    assert not app.error


def test_events_that_were_changed_since_are_told(study):
    events = sorted(study.glob("sub-*/motion/*_events.tsv"))[0]
    at = time.time() + LATER
    os.utime(events, (at, at))
    assert [one.value for one in opened(study, "overview").warning] == [
        f"Changed or added since: {events.name}."
    ]


def test_a_failed_verdict_stands_above_everything(study):
    fit = next(study.glob("derivatives/mien/fits/valence-*/fit.json"))
    fit.write_text(json.dumps({**json.loads(fit.read_text()), "diagnostics": "failed"}))
    [error] = opened(study, "overview").error
    assert "failed for valence" in error.value


def test_without_fits_the_command_is_named(study):
    shutil.rmtree(study / "derivatives" / "mien" / "fits")
    for page in ("effects", "time", "task", "together", "checks"):
        assert "mien fit STUDY" in opened(study, page).info[0].value


def test_a_choice_changes_page_and_address(study):
    app = opened(study, "effects")
    assert all(f"({name})" in sheets(app) or name in sheets(app) for name in SHAPES)
    chosen(app, "Region").set_value("brow").run()
    assert app.query_params["region"] == "brow"
    assert "browDown" in sheets(app)
    assert "mouthFrown (" not in sheets(app)
    linked = opened(study, "effects", region="brow")
    assert chosen(linked, "Region").value == "brow"
    assert sheets(linked).count("mouthFrown") == sheets(app).count("mouthFrown")


@pytest.mark.parametrize("text", ["nowhere", "../../etc", "<script>alert(1)</script>", "0", "'; drop"])
def test_an_address_that_means_nothing_shows_the_first_of_each(study, text):
    app = opened(study, "effects", model=text, effect=text, region=text, side=text)
    assert chosen(app, "Region").value == "all"
    assert text == "0" or text not in sheets(app)
    assert "Nothing" not in sheets(opened(study, "checks", model=text, parameter=text, shape=text))
    assert not opened(study, "person", person=text, language=text).error


def test_a_person_is_the_report_s_own_and_leaves_one_line_in_the_log(study):
    app = opened(study, "person")
    assert not (study / LOG).exists()
    chosen(app, "Person").set_value("03").run()
    part = part_of_study(Study(study), "03", Texts.of("en"))
    assert part.lead.split(":")[0] in sheets(app)
    app.run()
    lines = [json.loads(line) for line in (study / LOG).read_text().splitlines()]
    assert [(line["action"], line["what"]) for line in lines] == [("person", {"participant": "03"})]
    german = opened(study, "person", person="03", language="de")
    assert "keine Diagnose" in sheets(german)
    assert "no diagnosis" not in sheets(german)


def test_parts_are_made_before_the_first_visitor(study, monkeypatch):
    configure(Settings(study))
    warm()

    def made_again(*_, **__):
        raise AssertionError("made again")

    for name in ("effect_part", "course_part", "model_checks", "exclusions"):
        monkeypatch.setattr(reading, name, made_again)
    for page in ("overview", "effects", "task"):
        opened(study, page)


def test_the_saboteur_of_warming_is_seen(study, monkeypatch):
    monkeypatch.setattr(reading, "effect_part", lambda *_, **__: 1 / 0)
    configure(Settings(study))
    app = AppTest.from_file(str(server.SCRIPT), default_timeout=60)
    app._page_hash = calc_hash("effects")
    assert app.run().exception


class Uploaded(io.BytesIO):
    """As Streamlit hands a file over."""

    def __init__(self, path):
        content = path.read_bytes()
        super().__init__(content)
        self.name, self.size = path.name, len(content)


def take_of(study, person="02"):
    """A native take of the study and its events."""
    [take, *_] = sorted((study / "sourcedata" / f"sub-{person}").rglob("*task-met*.*"))
    [events, *_] = sorted((study / f"sub-{person}").rglob("*task-met*_events.tsv"))
    return Uploaded(take), Uploaded(events)


def times(study):
    """Of every file but the log, where it stands that someone was scored."""
    files = (path for path in study.rglob("*") if path.is_file() and path != study / LOG)
    return {path: path.stat().st_mtime_ns for path in files}


def test_an_uploaded_recording_is_scored_by_the_study_s_recipe_and_norms_and_not_kept(study):
    configure(Settings(study))
    before = times(study)
    who = Visitor("anna", "clinician")
    part = reading.scored(who, "person", *take_of(study), "met", "en")
    assert part.person == "new"
    assert "not kept" in part.note
    assert times(study) == before
    # The same take is one of the study: its trials are those that the study's preparation made of it.
    trials = load_trials(Study(study))
    mine = trials[(trials["participant"] == "02") & (trials["task"] == "met")]
    take, events = take_of(study)
    new = prepare_new(
        Study(study), read_upload(take.name, take), read_uploaded_events(events.name, events), task="met"
    )
    np.testing.assert_allclose(new.trials["activation"], mine["activation"], atol=2e-6, equal_nan=True)
    assert list(new.trials["excluded"]) == list(mine["excluded"])


def test_uploads_are_refused_by_role_by_task_and_by_content(study):
    configure(Settings(study))
    take, events = take_of(study)
    with pytest.raises(NotAllowedError):
        reading.scored(Visitor("paul", "planner"), "person", take, events, "met", "en")
    who = Visitor("anna", "clinician")
    with pytest.raises(StudyError, match="expected one of films, met, found 'rest'"):
        reading.scored(who, "person", *take_of(study), "rest", "en")
    take, events = take_of(study)
    with pytest.raises(MienError):
        reading.scored(who, "person", events, take, "met", "en")
    shown = opened(study, "person", person="new")
    assert "Nothing that is uploaded here is kept" in shown.info[0].value


def test_processes_that_are_started_from_the_app_do_not_run_its_script(monkeypatch):
    """They import the script under another name; one that ran it would die, and be started again for ever."""

    def shown():
        raise AssertionError("shown")

    monkeypatch.setattr(shell, "show", shown)
    runpy.run_path(str(server.SCRIPT), run_name="__mp_main__")
    with pytest.raises(AssertionError, match="shown"):
        runpy.run_path(str(server.SCRIPT), run_name="__main__")
