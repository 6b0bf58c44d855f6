"""The running server, asked from outside: its settings, its headers, its doors, and what it refuses."""

import re
import socket
import urllib.parse

import pytest
from websockets.exceptions import InvalidStatus

from mien.study.folder import Study
from tests.reports_app.app.serving import get, serving, visit

# What a study's folder or a careless environment could say: none of it may count.
CARELESS = """
[server]
address = "0.0.0.0"
enableCORS = false
enableXsrfProtection = false
allowedHosts = []
maxUploadSize = 5000
enableStaticServing = true
trustedUserHeaders = { X-User = "email" }
corsAllowedOrigins = ["https://evil.example"]
baseUrlPath = "elsewhere"
[client]
showErrorDetails = "full"
toolbarMode = "developer"
allowedOrigins = ["https://evil.example"]
[browser]
gatherUsageStats = true
"""
ENVIRONMENT = {
    "STREAMLIT_SERVER_ADDRESS": "0.0.0.0", "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true", "STREAMLIT_CLIENT_SHOW_ERROR_DETAILS": "full",
}  # fmt: skip
EXPECTED = {
    "server.address": "127.0.0.1",
    "server.allowedHosts": ["127.0.0.1", "localhost"],
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.maxUploadSize": 50,
    "server.enableStaticServing": False,
    "server.trustedUserHeaders": {},
    "server.corsAllowedOrigins": [],
    "server.unsafeMetricsUserAttributes": [],
    "server.enableAgentApi": False,
    "server.scriptHealthCheckEnabled": False,
    "server.baseUrlPath": "",
    "server.xsrfCookieSameSite": "strict",
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "viewer",
    "client.allowedOrigins": [],
    "client.disableDataExport": True,
    "browser.gatherUsageStats": False,
    "runner.magicEnabled": False,
    "global.developmentMode": False,
}
ELSEWHERE = ("https://evil.example", "http://localhost:1", "null", "http://localhost.evil.example", "")
SECRET = "not for visitors"

pytestmark = pytest.mark.browser  # a running server, seconds each


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    study = Study.create(folder / "study", name="Tiny <script>alert(1)</script>")
    (study.path / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "config.toml").write_text(CARELESS)
    (folder / "static").mkdir()
    (folder / "static" / "secret.txt").write_text(SECRET)
    with serving(study.path, folder=folder, env=ENVIRONMENT) as started:
        yield started


def test_every_setting_is_in_force_whatever_files_and_environment_say(server):
    assert {name: server.settings[name] for name in EXPECTED} == EXPECTED
    assert get(server, "/_stcore/host-config").json()["allowedOrigins"] == []


def test_it_listens_on_this_machines_own_address_only(server):
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.2", server.port)) != 0


@pytest.mark.parametrize("path", ["/", "/overview", "/_stcore/health", "/nothing/here", "/media/none.png"])
def test_every_answer_carries_the_headers(server, path):
    told = get(server, path).headers
    assert told["X-Frame-Options"] == "DENY"
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Referrer-Policy"] == "no-referrer"
    assert told["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in told["Permissions-Policy"]
    assert told.get("Access-Control-Allow-Origin") in {None, server.address}


def test_the_policy_lets_nothing_in_from_elsewhere(server):
    policy = dict(
        part.strip().split(" ", 1) for part in get(server, "/").headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "'unsafe-inline'" not in policy["script-src"]
    assert "'unsafe-eval'" not in policy["script-src"].split()
    assert not re.search(r"https?:|\*", " ".join(policy.values()))


def test_other_sites_get_no_answer_that_a_browser_would_hand_them(server):
    for path in ("/_stcore/health", "/_stcore/host-config", "/media/none.png"):
        for origin in (*ELSEWHERE, "http://127.0.0.1"):
            answer = get(server, path, Origin=origin)
            assert answer.status_code == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert get(server, path, Origin=server.address).status_code != 403


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"]
)
def test_another_name_is_refused_for_pages_and_for_connections(server, host):
    assert get(server, "/", Host=f"{host}:{server.port}").status_code == 400
    assert get(server, "/media/none.png", Host=host).status_code == 400
    with pytest.raises(InvalidStatus) as refused:
        visit(server, headers={"Host": f"{host}:{server.port}", "Origin": f"http://{host}:{server.port}"})
    assert refused.value.response.status_code in {400, 403}


def test_both_names_of_this_machine_are_taken(server):
    for host in (f"localhost:{server.port}", f"127.0.0.1:{server.port}"):
        assert get(server, "/", Host=host).status_code == 200
        assert visit(server, headers={"Host": host, "Origin": f"http://{host}"}).pages


@pytest.mark.parametrize("origin", [*ELSEWHERE, None])
def test_a_page_of_another_site_cannot_connect(server, origin):
    with pytest.raises(InvalidStatus):
        visit(server, headers={"Origin": origin})


PATHS = (
    "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/media/../../../etc/passwd",
    "/media/..%2f..%2f..%2fetc%2fpasswd", "/static/..%2f..%2fetc/passwd", "/app/static/secret.txt",
    "/app/static/..%2f.streamlit/config.toml", "/component/mien/..%2f..%2f..%2fetc/passwd", "//etc/passwd",
    "/_stcore/bidi-components/x/..%2f..%2f..%2f..%2fetc/passwd", "/study/participants.tsv", "/log", "/%00",
    "/..\\..\\etc\\passwd", "/_stcore/upload_file/x/..%2fy",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(server, path):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b"root:" not in answer
    assert SECRET.encode() not in answer
    assert b"sub-01" not in answer
    assert b"enableCORS = false" not in answer


QUERIES = (
    "../../etc/passwd",
    "sub-99",
    "=1+1",
    "<script>alert(1)</script>",
    "__import__('os')",
    "\0",
    "x" * 20_000,
    "%",
)


@pytest.mark.parametrize("text", QUERIES)
def test_an_address_that_asks_for_something_else_gets_the_page_or_a_sentence(server, text):
    quoted = urllib.parse.quote(text)
    query = "&".join(
        f"{name}={quoted}" for name in ("person", "model", "effect", "run", "region", "side", "view", "role")
    )
    got = visit(server, page="effects", query=query)
    assert "effects" in got.pages
    assert not got.says("Traceback")
    assert not got.says("root:")


def test_the_studys_name_is_text_on_the_page(server):
    got = visit(server, page="overview")
    assert got.says("Tiny <script>")
    assert not any("allow_html: true" in one for one in got.texts)


def test_uploads_without_a_visit_are_refused(server):
    import requests

    with requests.Session() as session:
        session.trust_env = False
        for method in (session.put, session.post):
            answer = method(f"{server.address}/_stcore/upload_file/nobody/1", files={"a": b"x"}, timeout=30)
            assert answer.status_code >= 400
