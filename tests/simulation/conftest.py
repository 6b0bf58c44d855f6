"""A few simulated persons that the tests share."""

from pathlib import Path

import numpy as np
import pytest

from mien.simulation.design import demo_design, small_design
from mien.simulation.recordings import participant_of, stimulus_effects_of
from mien.simulation.truth import default_truth

REAL_RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


@pytest.fixture
def rng():
    return np.random.default_rng(20260302)


@pytest.fixture(scope="session")
def small_person():
    design, truth = small_design(), default_truth()
    effects = stimulus_effects_of(design, truth, 0)
    return participant_of(design, truth, effects, seed=0, participant=0)


@pytest.fixture(scope="session")
def demo_takes():
    """The takes of eight persons of the demo."""
    design, truth = demo_design(), default_truth()
    effects = stimulus_effects_of(design, truth, 0)
    persons = [participant_of(design, truth, effects, seed=0, participant=number) for number in range(8)]
    return [take for person in persons for take in person.takes]


@pytest.fixture
def real_take():
    path = REAL_RECORDINGS / "alex_rom_3.csv"
    if not path.exists():
        pytest.skip("the real recordings are not part of the product")
    return path
