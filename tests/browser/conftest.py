"""A browser, and the report of the made-up study of tests/reports_app as a file."""

import importlib.util
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
# A sandbox needs a user namespace, which containers lack; the rest keeps the browser from calling anyone.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

_path = Path(__file__).parents[1] / "reports_app" / "conftest.py"
_specification = importlib.util.spec_from_file_location("made_up_study", _path)
assert _specification is not None
assert _specification.loader is not None
_made_up = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(_made_up)

effects, fit, prep, quality = _made_up.effects, _made_up.fit, _made_up.prep, _made_up.quality
participants, stimuli, recording = _made_up.participants, _made_up.stimuli, _made_up.recording


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium: `sh scripts/debian-packages chromium` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory, effects, fit, prep, quality, participants, stimuli, recording):
    from mien.reports_app.documents import study_report
    from mien.reports_app.figures.heat_strip import heat_strip_svg

    strip = heat_strip_svg(recording, label="Shapes over time", axes=False)
    html = study_report(
        "Reactivity to pictures and films",
        effects={"valence": effects}, fits={"valence": fit}, prep=prep, quality=quality,
        participants=participants, stimuli=stimuli, strips={one["source"]: strip for one in quality},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path
