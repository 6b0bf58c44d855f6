"""Signing in against a provider that speaks OIDC, on this machine: who gets which pages, and who gets none."""

import functools
import time
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from websockets.exceptions import InvalidStatus

from mien.study.folder import Study
from tests.reports_app.app.serving import Server, free_port, serving, visit

pytest.importorskip("authlib", reason="no Authlib: signing in cannot be tried")
provider = pytest.importorskip(
    "oidc_provider_mock", reason="no oidc-provider-mock: no provider to sign in with"
)

SECRET = "0123456789abcdef" * 4
ROLES = """
[roles]
"anna@example.org" = "clinician"
"paul@example.org" = "planner"
"sam@example.org" = "statistician"
"sub:77" = "planner"
"""
PROXY = "faces.example.org"
COOKIE = "_streamlit_user"
PAGES_OF = {
    "anna@example.org": {"", "effects", "about"},  # "" is the first page
    "paul@example.org": {"", "about"},
    "77": {"", "about"},  # known by the provider's id
}

pytestmark = pytest.mark.browser  # a running server, seconds each


class Place(NamedTuple):
    """The app, and the provider's address."""

    server: Server
    provider: str


def people():
    user = provider.User
    listed = [
        user(sub=name, claims={"email": name, "email_verified": True}) for name in PAGES_OF if "@" in name
    ]
    return [
        *listed, user(sub="77", claims={}),
        user(sub="eve@example.org", claims={"email": "eve@example.org", "email_verified": True}),
        user(sub="forger", claims={"email": "sam@example.org", "email_verified": False}),
        user(sub="sam@example.org", claims={"email": "x@example.org", "email_verified": False, "role": "statistician"}),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    study = Study.create(folder / "study", name="Tiny")
    (study.path / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    (folder / "roles.toml").write_text(ROLES)
    port = free_port()
    with provider.run_server_in_thread(require_nonce=True, user_claims=people()) as told:
        address = f"http://localhost:{told.server_port}"
        auth = folder / "auth.toml"
        auth.write_text(
            f'[auth]\nredirect_uri = "http://localhost:{port}/oauth2callback"\ncookie_secret = "{SECRET}"\n'
            f'client_id = "mien"\nclient_secret = "s"\n'
            f'server_metadata_url = "{address}/.well-known/openid-configuration"\n'
        )
        auth.chmod(0o600)
        given = ("--roles", str(folder / "roles.toml"), "--auth", str(auth), "--host", PROXY)
        with serving(study.path, *given, port=port, folder=folder) as server:
            yield Place(server, address)


def local(session=None):
    session = session or requests.Session()
    session.trust_env = False
    return session


def sign_in(place, subject):
    """The whole way: press the button, be sent to the provider, come back; the browser's cookies."""
    door = visit(place.server, press="Sign in")
    assert door.sent_to
    browser = local()
    asked = browser.get(
        place.server.address + urlsplit(door.sent_to)._replace(scheme="", netloc="").geturl(),
        allow_redirects=False,
    )
    assert asked.headers["Location"].startswith(place.provider)
    allowed = browser.post(
        asked.headers["Location"], data={"sub": subject}, allow_redirects=False, timeout=30
    )
    back = browser.get(allowed.headers["Location"], allow_redirects=False, timeout=30)
    assert back.status_code == 302
    return browser


@pytest.fixture(scope="module")
def signed(place):
    """Cookies of someone who has signed in; each once."""

    @functools.cache
    def cookies(subject):
        return "; ".join(
            f"{one.name}={one.value}" for one in sign_in(place, subject).cookies if one.name == COOKIE
        )

    return lambda subject: {"Cookie": cookies(subject)}


def shows_nothing(page):
    return not page.pages and not page.says("Overview") and not page.says("sub-01") and not page.says("Tiny")


@pytest.mark.parametrize("subject", PAGES_OF)
def test_who_is_listed_gets_the_pages_of_the_role(place, signed, subject):
    page = visit(place.server, page="checks", headers=signed(subject))
    assert set(page.pages) - {"person"} == PAGES_OF[subject]
    assert "Sign out" in page.buttons


@pytest.mark.parametrize("subject", ["eve@example.org", "forger", "sam@example.org", "anybody@example.org"])
def test_who_is_not_listed_or_not_verified_gets_nothing(place, signed, subject):
    page = visit(place.server, page="overview", headers=signed(subject))
    assert shows_nothing(page)
    assert page.says("is not on the list")


def test_without_signing_in_there_is_only_the_door(place):
    page = visit(place.server, page="overview", query="role=statistician&user=sam@example.org")
    assert list(page.buttons) == ["Sign in"]
    assert shows_nothing(page)


FORGED = (
    {"Cookie": f'{COOKIE}={{"email":"sam@example.org","email_verified":true,"is_logged_in":true}}'},
    {"Cookie": "role=statistician; user=sam@example.org"},
    {"X-Forwarded-User": "sam@example.org", "X-Auth-Request-Email": "sam@example.org"},
    {"Authorization": "Bearer sam@example.org", "X-Streamlit-User": "eyJlbWFpbCI6InNhbUBleGFtcGxlLm9yZyJ9"},
)  # fmt: skip


@pytest.mark.parametrize("headers", FORGED)
def test_headers_and_cookies_of_ones_own_make_nobody(place, headers):
    page = visit(place.server, page="overview", headers=headers)
    assert list(page.buttons) == ["Sign in"]
    assert shows_nothing(page)


def test_a_cookie_changed_or_signed_with_another_secret_makes_nobody(place, signed):
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    claims = (
        '{"email":"sam@example.org","email_verified":true,"is_logged_in":true,"sub":"1",'
        f'"iat":{int(time.time())},"origin":"{place.server.address}"}}'
    )
    other = create_signed_value("another secret" * 4, COOKIE, claims).decode()
    mine = signed("anna@example.org")["Cookie"].removeprefix(f"{COOKIE}=")
    places = (2, len(mine) // 2, len(mine) - 3)
    changed = [mine[:at] + ("A" if mine[at] != "A" else "B") + mine[at + 1 :] for at in places]
    for cookie in (other, *changed, mine.rpartition(".")[0]):
        assert shows_nothing(visit(place.server, page="overview", headers={"Cookie": f"{COOKIE}={cookie}"}))
    true = create_signed_value(SECRET, COOKIE, claims).decode()  # the same, signed rightly: the test can tell
    assert "checks" in visit(place.server, headers={"Cookie": f"{COOKIE}={true}"}).pages


def test_another_site_cannot_ride_on_the_cookie(place, signed):
    """A page of another site makes a browser send the cookie, but has no token of ours."""
    for guess in ("none", "2|00000000|00000000000000000000000000000000|0"):
        assert shows_nothing(visit(place.server, headers=signed("anna@example.org"), guess=guess))


def test_a_sign_in_of_yesterday_has_ended(place):
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    claims = (
        '{"email":"sam@example.org","email_verified":true,"is_logged_in":true,"sub":"1",'
        f'"iat":{int(time.time()) - 86_400},"origin":"{place.server.address}"}}'
    )
    cookie = create_signed_value(SECRET, COOKIE, claims).decode()
    assert shows_nothing(visit(place.server, headers={"Cookie": f"{COOKIE}={cookie}"}))


def test_the_cookie_is_kept_from_scripts_and_other_sites(place):
    browser = sign_in(place, "anna@example.org")
    (cookie,) = [one for one in browser.cookies if one.name == COOKIE]
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite").lower() in {"lax", "strict"}


def test_an_answer_that_the_provider_did_not_give_this_browser_is_refused(place):
    """A forged callback, and a true one in another browser: no sign-in."""
    door = visit(place.server, press="Sign in")
    start = place.server.address + urlsplit(door.sent_to)._replace(scheme="", netloc="").geturl()
    mine, other = local(), local()
    asked = mine.get(start, allow_redirects=False, timeout=30)
    sent = parse_qs(urlsplit(asked.headers["Location"]).query)
    assert {"state", "nonce"} <= set(sent)
    assert sent["response_type"] == ["code"]
    assert sent["redirect_uri"] == [f"{place.server.address}/oauth2callback"]
    allowed = mine.post(
        asked.headers["Location"], data={"sub": "anna@example.org"}, allow_redirects=False, timeout=30
    )
    for address in (allowed.headers["Location"], f"{place.server.address}/oauth2callback?code=x&state=y"):
        other.get(address, allow_redirects=False, timeout=30)
        assert COOKIE not in [one.name for one in other.cookies]


def test_signing_out_takes_the_cookie(place):
    browser = sign_in(place, "anna@example.org")
    out = browser.get(f"{place.server.address}/auth/logout", allow_redirects=False, timeout=30)
    assert out.status_code == 302
    assert COOKIE not in [one.name for one in browser.cookies]


def test_a_reverse_proxy_asks_under_its_name_and_no_other(place):
    page = visit(place.server, headers={"Host": PROXY, "Origin": f"https://{PROXY}"})
    assert list(page.buttons) == ["Sign in"]
    for host, origin in (
        (PROXY, "https://evil.example"),
        (PROXY, f"https://{PROXY}:8443"),
        (f"x.{PROXY}", f"https://x.{PROXY}"),
    ):
        with pytest.raises(InvalidStatus):
            visit(place.server, headers={"Host": host, "Origin": origin})
