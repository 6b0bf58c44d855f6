"""What every test shares: the options for slow tests, and where real data may lie."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Shared machines stall now and then: no deadline. CI repeats the same examples; elsewhere, and in test-soak, new ones.
settings.register_profile("mien", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "mien")

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser):
    parser.addoption(
        "--runslow", action="store_true", help="run tests marked slow, statistical, soak or browser"
    )
    parser.addoption("--area", default=None, help="only statistical tests of this area")


def pytest_collection_modifyitems(config, items):
    area = config.getoption("--area")
    for item in items:
        marker = item.get_closest_marker("statistical")
        held_back = any(item.get_closest_marker(name) for name in ("slow", "statistical", "soak", "browser"))
        if held_back and not config.getoption("--runslow"):
            item.add_marker(
                pytest.mark.skip(reason="slow: make test-statistical, test-soak or test-browser runs it")
            )
        elif marker and area and area not in marker.args:
            item.add_marker(pytest.mark.skip(reason=f"statistical, but not of the area {area}"))


@pytest.fixture(scope="session")
def shared():
    """The folder of real recordings and reference posteriors; the test is skipped where it is not there."""
    if not SHARED.is_dir():
        pytest.skip("no shared/ folder with real recordings beside this checkout")
    return SHARED
