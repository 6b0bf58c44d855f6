"""What a fresh machine gets: the wheel, the lock, the choice of a Python, and start-up without heavy imports."""

import os
import re
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "numpy",
    "pandas",
    "xarray",
    "scipy",
    "pyarrow",
    "pymc",
    "pytensor",
    "numba",
    "altair",
    "bambi",
    "nutpie",
)


def test_the_wheel_holds_the_files_of_the_tree(tmp_path):
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    check = [sys.executable, str(ROOT / "scripts" / "wheel_files.py"), str(wheel), "mien"]
    result = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    with zipfile.ZipFile(wheel) as archive:
        assert "mien/study/blend_shapes.csv" in archive.namelist()
    # The check itself must be able to fail.
    smaller = tmp_path / "smaller.whl"
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(smaller, "w") as target:
        for entry in archive.infolist():
            if entry.filename != "mien/study/blend_shapes.csv":
                target.writestr(entry, archive.read(entry))
    check[2] = str(smaller)
    result = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "not in the wheel: mien/study/blend_shapes.csv" in result.stdout


def test_the_root_links_are_no_second_package(tmp_path):
    for name in ("capture", "data_prep", "models", "priors", "reports_app"):
        command = [sys.executable, "-P", "-c", f"import {name}"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in result.stderr
        link = ROOT / name
        if link.is_symlink():
            assert os.readlink(link) == f"mien/{name}"


@pytest.mark.parametrize("statement", ["import mien", "import mien.cli", "from mien.cli import main; main()"])
def test_start_up_loads_nothing_heavy(statement):
    code = f"import sys; sys.argv = ['mien', '--help']\ntry:\n    {statement}\nexcept SystemExit:\n    pass\n"
    code += f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


def test_every_public_name_is_there():
    import mien

    for name in mien.__all__:
        assert getattr(mien, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = mien.nothing


def test_the_lock_has_hashes_and_no_addresses_and_covers_the_project():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    assert all("--hash=sha256:" in block for block in blocks)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for name, extra in project["project"]["optional-dependencies"].items():
        # Dask slows every start where it is installed (xarray imports it): the wheel check tries it apart.
        wanted += extra if name != "cluster" else []
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in wanted}
    assert names <= pinned.keys()


def shim(folder, name, body):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def find_python(tmp_path, **environment):
    variables = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path), **environment}
    command = ["sh", str(ROOT / "scripts" / "find-python")]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_a_python_that_does_not_run_is_passed_over(tmp_path):
    shim(tmp_path / "bin", "python3.14", "echo 'version 3.14 is not installed' >&2; exit 127")
    shim(tmp_path / "bin", "python3.13", f'exec {sys.executable} "$@"')
    assert find_python(tmp_path).stdout.strip() == "python3.13"


def test_python_named_by_hand_goes_first_if_it_runs(tmp_path):
    good = shim(tmp_path / "mine", "python", f'exec {sys.executable} "$@"')
    shim(tmp_path / "bin", "python3.13", f'exec {sys.executable} "$@"')
    assert find_python(tmp_path, PYTHON=str(good)).stdout.strip() == str(good)
    assert find_python(tmp_path, PYTHON=str(tmp_path / "absent")).stdout.strip() == "python3.13"


def test_pyenv_versions_are_the_last_resort(tmp_path):
    for name in ("python3.14", "python3.13", "python3.12", "python3"):
        shim(tmp_path / "bin", name, "exit 1")
    inside = shim(tmp_path / ".pyenv/versions/3.13.0/bin", "python3", f'exec {sys.executable} "$@"')
    shim(tmp_path / ".pyenv/versions/3.10.2/bin", "python3", "exit 1")
    assert find_python(tmp_path).stdout.strip() == str(inside)


def test_without_any_python_there_is_one_clear_sentence(tmp_path):
    for name in ("python3.14", "python3.13", "python3.12", "python3"):
        shim(tmp_path / "bin", name, "exit 1")
    result = find_python(tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "3.12" in result.stderr
