"""Small made-up recordings, trials and studies."""

import numpy as np
import pandas as pd
import pytest

from mien.study.recording import make_recording
from mien.study.trials import MEDIA, TRIAL_COLUMNS, VALENCES


@pytest.fixture
def recording():
    """Five frames of three shapes and the head; one frame not tracked, values just above 1."""
    activation = np.array(
        [[0.1, 0.2, 0.0], [0.3, 1.053, 0.0], [np.nan, np.nan, np.nan], [1e-7, 0.5, 0.0], [0.25, 1 / 3, 1.0]]
    )
    head = np.array([[0.1, -0.2, 0.3], [0.0, 0.0, 0.0], [np.nan] * 3, [1.5, -3.1, 2.0], [1e-9, 0.1, 0.2]])
    return make_recording(
        np.array([10.0, 10.0166, 10.0334, 10.05, 10.0667]),
        activation,
        ["mouthSmileLeft", "mouthSmileRight", "jawOpen"],
        head=head,
        format="test",
        start="10:00:00:00.000",
        calibrated="no",
    )


def as_trials(rows, **constant):
    """A Trials table from a list of dicts; what a row does not say is plain."""
    plain = {
        "participant": "01", "session": "1", "task": "met", "run": "1", "trial": 1, "stimulus": "p1",
        "valence": "positive", "medium": "picture", "blend_shape": "mouthSmile", "bin": 0, "time": 0.25,
        "activation": 0.1, "raw": 0.2, "baseline": 0.1, "peak": 0.3, "n_frames": 30, "valid": 1.0, "excluded": "",
        "tracker": "arkit",
    }  # fmt: skip
    table = pd.DataFrame([{**plain, **constant, **row} for row in rows])
    table["valence"] = pd.Categorical(table["valence"], categories=VALENCES, ordered=True)
    table["medium"] = pd.Categorical(table["medium"], categories=MEDIA, ordered=True)
    types = {name: dtype for name, dtype in TRIAL_COLUMNS.items() if name not in ("valence", "medium")}
    return table.astype(types)


@pytest.fixture(name="as_trials")
def as_trials_fixture():
    return as_trials


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file of the test's folder and return its path."""

    def written(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return written
