"""What the app costs: `python benchmarks/app/run.py [pages|large|memory|pdf …] [--quick]`.

    pages     server ready; then every page, from the start of navigation until its last figure is in the page and
              Streamlit's running mark is gone: median of 10, a fresh browser context each
    large     the same with a fit of a gigabyte in the study
    memory    of the server with 10 simultaneous sessions, above what it has with none
    pdf       one person's PDF, from the study's folder on

The study is the demo's: 32 persons, 34 shapes. Results: results/<part>.json, with date, machine and versions.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "benchmarks" / ".work"
RESULTS = HERE / "results"
LIBRARIES = ("mien", "streamlit", "pandas", "xarray", "altair", "playwright")
PORT = 8641
ADDRESS = f"http://127.0.0.1:{PORT}"
PAGES = {
    "overview": "", "effects": "effects", "time": "time?view=statistical", "task": "task?view=statistical",
    "traits": "traits?view=statistical", "together": "together?view=statistical",
    "checks": "checks?view=statistical", "person": "person?person=03", "about": "about",
}  # fmt: skip
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
# Since the start of navigation: the last change of the page, once its title is there and the script has ended.
WATCH = """
window.lastChange = 0;
new MutationObserver(() => { window.lastChange = performance.now(); })
  .observe(document, {subtree: true, childList: true, attributes: true});
"""
DONE = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const quiet = performance.now() - window.lastChange > 400;
  return app && app.dataset.testScriptState === 'notRunning' && document.querySelector('h1') && quiet;
}"""


def demo_study(quick):
    name = "app-quick" if quick else "app-demo"
    folder = WORK / name
    if not (folder / "derivatives" / "mien" / "reports").exists():
        size = ["--quick"] if quick else []
        subprocess.run([sys.executable, "-m", "mien.cli", "demo", *size, "--out", str(folder)], check=True)
    return folder


@contextmanager
def served(study):
    """A running app: the process and the seconds until it answered."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "mien.cli", "app", str(study), "--headless", "--port", str(PORT)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{ADDRESS}/_stcore/health", timeout=1)
                    break
                except OSError:
                    assert process.poll() is None, "the app did not start"
                    time.sleep(0.02)
            yield process, time.perf_counter() - start
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield opened
        opened.close()


def seconds_of(opened, path):
    context = opened.new_context(viewport={"width": 1300, "height": 1000})
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(f"{ADDRESS}/{path}")
    page.wait_for_function(DONE, timeout=120_000)
    found = page.evaluate("() => window.lastChange / 1000")
    context.close()
    return found


def pages(quick, study=None):
    repeats = 2 if quick else 10
    study = study or demo_study(quick)
    with served(study) as (_, ready), browser() as opened:
        first = seconds_of(opened, "")
        time.sleep(1 if quick else 20)  # what the app makes beside serving is made
        found = {name: [seconds_of(opened, path) for _ in range(repeats)] for name, path in PAGES.items()}
    return {
        "required": "server ready < 4 s; first view < 1.5 s after that; every other page < 1.5 s; medians of 10",
        "ready_s": round(ready, 2), "very_first_s": round(first, 2),
        "median_s": {name: round(statistics.median(many), 2) for name, many in found.items()},
        "slowest_s": {name: round(max(many), 2) for name, many in found.items()},
    }  # fmt: skip


def large(quick):
    """A valence fit whose draws, with all group effects, take a gigabyte."""
    from mien.study.folder import Study
    from mien.workflow.fitting import fit_study

    study = demo_study(quick)
    made = fit_study(Study(study), "valence", draws=1000 if quick else 20_000)
    size = (made.path / "posterior.nc").stat().st_size / 2**30
    try:
        return {"fit_gb": round(size, 2), **pages(quick, study)}
    finally:
        fit_study(Study(study), "valence")  # the ordinary one is the newest again


def rss(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def memory(quick):
    sessions = 2 if quick else 10
    study = demo_study(quick)
    with served(study) as (process, _), browser() as opened:
        seconds_of(opened, "")
        time.sleep(1 if quick else 20)
        base, contexts = rss(process.pid), []
        for number in range(sessions):
            page = opened.new_context().new_page()
            page.add_init_script(WATCH)
            page.goto(f"{ADDRESS}/{list(PAGES.values())[number % len(PAGES)]}")
            page.wait_for_function(DONE, timeout=120_000)
            contexts.append(page)
        with_all = rss(process.pid)
    return {
        "required": "< 150 MB a session above the base, with 10 simultaneous sessions", "sessions": sessions,
        "base_mb": round(base), "with_sessions_mb": round(with_all),
        "mb_a_session": round((with_all - base) / sessions, 1),
    }  # fmt: skip


def pdf(quick):
    from mien.reports_app.person_document import write_person_report
    from mien.study.folder import Study

    study, seconds = Study(demo_study(quick)), []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2 if quick else 6):
            start = time.perf_counter()
            write_person_report(study, f"{number + 1:02d}", Path(folder) / f"{number}.pdf", kind="pdf")
            seconds.append(time.perf_counter() - start)
    return {
        "required": "PDF of a person < 3 s", "median_s": round(statistics.median(seconds[1:]), 2),
        "first_s": round(seconds[0], 2), "all_s": [round(one, 2) for one in seconds],
    }  # fmt: skip


PARTS = {"pages": pages, "large": large, "memory": memory, "pdf": pdf}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="small, and nothing kept")
    asked = parser.parse_args()
    about = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
    }  # fmt: skip
    for name in asked.parts or PARTS:
        found = {**about, "load": os.getloadavg()[0], **PARTS[name](asked.quick)}
        print(f"{name}: {json.dumps(found, indent=1)}")
        if not asked.quick:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
