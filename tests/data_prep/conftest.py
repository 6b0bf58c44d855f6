"""A small recording whose answers can be worked out by hand, and stimuli for it."""

import numpy as np
import pandas as pd
import pytest

from mien.study.blend_shapes import NAMES
from mien.study.labels import RecordingId
from mien.study.recording import make_recording


@pytest.fixture
def recording_id():
    return RecordingId("01", "1", "met", "1")


@pytest.fixture
def stimuli():
    return pd.DataFrame(
        {
            "stimulus_id": ["sad", "chair", "happy", "clip"],
            "valence": ["negative", "neutral", "positive", "positive"],
            "medium": ["picture", "picture", "picture", "film"],
            "duration": [2.0, 2.0, 2.0, 5.0],
        }
    )


@pytest.fixture
def events():
    """Four trials: at 2, 6, 10 and 14 s."""
    return pd.DataFrame(
        {
            "onset": [2.0, 6.0, 10.0, 14.0],
            "duration": [2.0, 2.0, 2.0, 5.0],
            "stimulus_id": pd.Series(["sad", "chair", "happy", "clip"], dtype="str"),
            "rating_arousal": [3.0, 1.0, 4.0, np.nan],
            "condition_task": pd.Series(["self", "other", "self", "other"], dtype="str"),
        }
    )


@pytest.fixture
def make():
    """A recording of 20 s at 60 Hz; `edit(time, values)` changes activations (time, blend_shape) in place."""

    def build(edit=None, *, seed=0, keep=None, names=NAMES, length=20.0):
        time = np.arange(int(length * 60)) / 60
        values = 0.1 + 0.02 * np.random.default_rng(seed).random((len(time), len(names)))
        if edit is not None:
            edit(time, values)
        keep = np.ones(len(time), dtype=bool) if keep is None else keep(time)
        return make_recording(time[keep], values[keep], names, format="simulated")

    return build
