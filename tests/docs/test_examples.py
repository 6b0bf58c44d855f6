"""Every example in README and docs/ runs: `python` blocks, and the `mien …` lines of `sh` blocks.

The blocks of one page run in order, in one folder that holds a small simulated study as `demo-study` and its raw takes
as `raw`. A block that shows something else is marked `text`; output is not compared.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.small_study import make_small_study

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SLOW = ("mien demo", "make ")  # run by make demo and the wheel check
REPLICATES = re.compile(r"^((?:\w+_)?replicates|batch) = \d+", re.MULTILINE)


def blocks(page):
    return [
        (found[1], found[2].strip(), found[3]) for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def commands(text):
    lines = [line.split("  #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith(("mien ", "cp ")) and not line.startswith(SLOW)]


@pytest.fixture(scope="session")
def demo_study(tmp_path_factory):
    """A small prepared and fitted study, made once."""
    folder = tmp_path_factory.mktemp("docs")
    make_small_study(folder)
    return folder


def run_command(line):
    """One line; a power plan that it begins gets few replicates, as the whole one takes a minute or more."""
    from mien.cli import main

    if line.startswith("cp "):
        _, source, target = line.split()
        shutil.copy(source, target)
        return
    before, sys.argv = sys.argv, shlex.split(line)
    try:
        with pytest.raises(SystemExit) as stop:
            main()
    finally:
        sys.argv = before
    assert (stop.value.code or 0) in (0, 1), f"{line!r} ended with exit code {stop.value.code}"
    if line.startswith("mien power init "):
        plan = Path(shlex.split(line)[3])
        text, changed = REPLICATES.subn(r"\1 = 20", plan.read_text(encoding="utf-8"))
        assert changed == 4, "the template's budget has other numbers now"
        plan.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, demo_study, tmp_path, monkeypatch, capsys):
    runnable = [(kind, text) for kind, _, text in blocks(page) if kind in ("python", "sh", "toml")]
    if not any(kind == "python" or (kind == "sh" and commands(text)) for kind, text in runnable):
        pytest.skip("no example to run on this page")
    shutil.copytree(demo_study, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    names = {"__name__": "__docs__"}
    for kind, text in runnable:
        if kind == "python":
            exec(compile(text, str(page), "exec"), names)
        elif kind == "sh":
            for line in commands(text):
                run_command(line)
    capsys.readouterr()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    kinds = {kind for kind, _, _ in blocks(page)}
    assert kinds <= {"python", "sh", "toml", "text", "json"}
