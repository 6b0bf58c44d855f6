"""What must come together before anything is served, and that the examples of docs/deploy.md are true."""

import re
import tomllib
from pathlib import Path

import pytest

from mien.reports_app.app import server, signing, starting, uploads
from mien.reports_app.app.access import ROLES, read_roles
from mien.reports_app.app.exporting import LEAST
from mien.reports_app.app.journal import LOG
from mien.study.errors import StudyError
from mien.study.folder import Study

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "deploy.md").read_text(encoding="utf-8")
TOML = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
HOST = "faces.example.org"


@pytest.fixture
def files(tmp_path):
    """(roles, auth) as on the page."""
    roles, auth = tmp_path / "roles.toml", tmp_path / "auth.toml"
    roles.write_text(TOML[0])
    auth.write_text(TOML[1])
    auth.chmod(0o600)
    return roles, auth


@pytest.fixture
def start(tmp_path, monkeypatch):
    """`starting.start` on an empty study; what would be served."""
    study = Study.create(tmp_path / "study")
    served = []
    monkeypatch.setattr(server, "serve", lambda told, **given: served.append((told, given)))
    monkeypatch.setattr(signing, "find_spec", lambda name: "found")

    def begin(roles=None, auth=None, hosts=()):
        starting.start(study, port=1, headless=True, roles=roles, auth=auth, hosts=hosts)
        return served.pop()

    begin.study = study
    return begin


def test_alone_on_this_machine_nobody_signs_in(start):
    told, given = start()
    assert (told.sign_in, told.roles, given["secrets"], given["hosts"]) == (False, {}, None, ())


def test_the_examples_of_the_page_start_it(start, files):
    told, given = start(*files, hosts=(HOST,))
    assert told.sign_in
    assert told.identify is signing.identify
    assert set(told.roles.values()) == set(ROLES)
    assert given["secrets"] == {"auth": tomllib.loads(TOML[1])["auth"]}


def test_half_of_what_signing_in_needs_is_refused(start, files):
    roles, auth = files
    with pytest.raises(StudyError, match="give --auth too"):
        start(roles, None)
    with pytest.raises(StudyError, match="give --roles too"):
        start(None, auth)
    with pytest.raises(StudyError, match="who comes from elsewhere signs in"):
        start(hosts=(HOST,))
    with pytest.raises(StudyError, match=f"add --host {HOST}"):
        start(roles, auth)


def test_without_authlib_it_does_not_start(start, files, monkeypatch):
    monkeypatch.setattr(signing, "find_spec", lambda name: None)
    with pytest.raises(StudyError, match="expected Authlib"):
        start(*files, hosts=(HOST,))


def test_a_study_that_names_people_is_not_served(start):
    (start.study.path / "participants.tsv").write_text("participant_id\tbirthdate\nsub-01\t1980-01-01\n")
    with pytest.raises(StudyError, match="birthdate"):
        start()


def test_the_page_tells_what_the_code_does(files):
    assert set(read_roles(files[0]).values()) == set(ROLES)
    table = dict(re.findall(r"^\| (\w+) \| (.*) \|$", PAGE, re.MULTILINE))
    assert set(table) - {"role"} == set(ROLES)
    assert LOG.as_posix() in PAGE
    assert f"over {server.UPLOAD_MB} MB" in PAGE
    assert f"more than {uploads.MAX_UNPACKED // 10**6} MB" in PAGE
    assert f"client_max_body_size {server.UPLOAD_MB}m" in PAGE
    assert LEAST == 5
    assert signing.HOURS == 12
    for name in server.HEADERS:
        assert name in PAGE or name.startswith("Cross-Origin-")
