import subprocess
import sys

import pytest

from mien.models.engines.compile_cache import use_private_cache
from mien.study.errors import FitError

SCRIPT = """
import os, pathlib, sys
from mien.models.engines.compile_cache import compile_lock, use_private_cache
use_private_cache(pathlib.Path(sys.argv[1]))
import pytensor
assert str(pytensor.config.base_compiledir) == sys.argv[1], pytensor.config.base_compiledir
assert os.environ["OMP_NUM_THREADS"] == "1"
with compile_lock():
    pass
"""


def test_a_worker_has_a_cache_of_its_own(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "cache")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_too_late_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytensor", object())
    with pytest.raises(FitError, match="before a model is fitted"):
        use_private_cache(tmp_path)
