"""The app in a real browser: every page opens, complains of nothing, asks nobody else, and can be used by everyone.

axe-core comes with axe-playwright-python. No rule is switched off.
"""

import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.small_study import make_small_study

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PORT = 8631
ADDRESS = f"http://127.0.0.1:{PORT}"
SHOTS = ROOT / "build" / "screenshots"
PAGES = ("", "effects", "time", "task", "traits", "together", "checks", "power", "about")
# A page's address is asked as if the app lay under it; Streamlit's own way to find out, answered by 404.
PROBES = ("/_stcore/health", "/_stcore/host-config")
DONE = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  return app && app.dataset.testScriptState === 'notRunning' && document.querySelector('h1');
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The app of a small study, as a user starts it."""
    folder = tmp_path_factory.mktemp("app")
    study = make_small_study(
        folder, models=("valence", "task"), shapes=("mouthSmile", "mouthFrown", "browDown")
    )
    command = [sys.executable, "-m", "mien.cli", "app", str(study.path), "--headless", "--port", str(PORT)]
    log = folder / "app.log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{ADDRESS}/_stcore/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
        yield study
    finally:
        process.terminate()
        process.wait(20)
    told = log.read_text()
    assert "Traceback" not in told, told


@contextmanager
def opened(browser, path, *, scheme="light", width=1300):
    """A page in a fresh context, what it asked for, and what it complained of."""
    context = browser.new_context(
        viewport={"width": width, "height": 1000}, color_scheme=scheme, bypass_csp=False
    )
    page, requests, complaints = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on(
        "console",
        lambda message: (
            message.type in ("error", "warning")
            and complaints.append((message.text, message.location.get("url", "")))
        ),
    )
    page.on("pageerror", lambda error: complaints.append((str(error), "")))
    page.goto(f"{ADDRESS}/{path}")
    settled(page)
    yield page, requests, [text for text, url in complaints if not url.endswith(PROBES)]
    context.close()


def settled(page):
    page.wait_for_function(DONE, timeout=60_000)
    page.wait_for_timeout(400)


def axe():
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("no axe-playwright-python: pip install it")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_alone_without_complaints(browser, served, path, scheme):
    with opened(browser, f"{path}?view=statistical", scheme=scheme) as (page, requests, complaints):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{path or 'overview'}-{scheme}.png")
        assert page.locator("h1").count() == 1
        assert [url for url in requests if not url.startswith((f"{ADDRESS}/", "data:", "blob:"))] == []
        assert complaints == []
        assert page.locator("[data-testid=stException]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_everyone_can_use_every_page(browser, served, path, scheme):
    script = axe()
    with opened(browser, f"{path}?view=statistical", scheme=scheme) as (page, _, _):
        # through the debugger, past the page's own policy, which lets no such script in
        page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
        page.reload()
        settled(page)
        page.add_script_tag(content=script)
        found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        told = [
            (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]])
            for one in found["violations"]
        ]
        assert told == []


def test_axe_sees_a_picture_without_a_text_and_a_faint_text(browser, served):
    """The saboteur."""
    script = axe()
    with opened(browser, "about") as (page, _, _):
        page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
        page.reload()
        settled(page)
        page.evaluate(
            "() => document.querySelector('h1').insertAdjacentHTML('afterend',"
            ' \'<img src="data:,"><p style="color: #ddd; background: #fff">faint</p>\')'
        )
        page.add_script_tag(content=script)
        found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        assert {"image-alt", "color-contrast"} <= {one["id"] for one in found["violations"]}


def test_a_choice_stands_in_the_address_and_a_link_leads_back_to_it(browser, served):
    with opened(browser, "effects?view=statistical") as (page, _, _):
        everything = page.locator("table.numbers >> nth=0").locator("tbody tr").count()
        page.get_by_role("combobox", name="Region").click()
        page.get_by_role("option", name="brow").click()
        page.wait_for_url("**region=brow**")
        settled(page)
        assert page.locator("table.numbers >> nth=0").locator("tbody tr").count() == 1 < everything
        address = page.url
    with opened(browser, address.removeprefix(f"{ADDRESS}/")) as (page, _, _):
        assert page.locator("table.numbers >> nth=0").locator("tbody tr").count() == 1


def test_the_two_views_have_their_pages(browser, served):
    with opened(browser, "") as (page, _, _):
        sidebar = page.locator("[data-testid=stSidebarNav]")
        assert sidebar.get_by_role("link").all_inner_texts() == ["Overview", "Effects", "One person", "About"]
        page.get_by_role("radio", name="Statistical").or_(
            page.get_by_role("button", name="Statistical")
        ).first.click()
        page.wait_for_url("**view=statistical**")
        settled(page)
        assert len(sidebar.get_by_role("link").all_inner_texts()) == 10


def test_a_shape_of_the_face_tells_its_effect(browser, served):
    with opened(browser, "effects") as (page, _, _):
        title = page.locator('path[data-shape="mouthSmile"] title').first.text_content()
        assert title.startswith("mouthSmile ")


def test_a_page_that_is_not_there_is_told(browser, served):
    with opened(browser, "nothing-here") as (page, _, _):
        assert page.get_by_text("Page not found").count() == 1


def test_answers_carry_the_headers_and_nobody_else_may_ask(served):
    from mien.reports_app.app.server import HEADERS

    told = urllib.request.urlopen(ADDRESS, timeout=5).headers
    assert {name: told[name] for name in HEADERS} == dict(HEADERS)
    policy = told["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-eval'" not in policy.replace("wasm-unsafe-eval", "")
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]
    assert os.environ.get("STREAMLIT_SERVER_ADDRESS") is None
