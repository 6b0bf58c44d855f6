"""Small takes and studies of our own making."""

import numpy as np
import pandas as pd
import pytest

from mien.capture.formats import write_live_link_face_csv
from mien.study.blend_shapes import NAMES
from mien.study.recording import make_recording
from mien.study.tables import write_table

STIMULI = "stimulus_id\tvalence\tmedium\tduration\nhappy\tpositive\tpicture\t2\nsad\tnegative\tfilm\t3\n"


def smooth_noise(seed, seconds=20.0, rate=60.0):
    """A Recording of slowly moving shapes with exact zeros."""
    rng = np.random.default_rng(seed)
    frames = int(seconds * rate)
    knots = rng.normal(0.15, 0.12, size=(int(seconds * 2) + 2, len(NAMES)))
    where = np.linspace(0, len(knots) - 1.001, frames)
    low = where.astype(int)
    share = (where - low)[:, None]
    values = (
        knots[low] * (1 - share) + knots[low + 1] * share + rng.normal(0, 0.002, size=(frames, len(NAMES)))
    )
    return make_recording(
        np.arange(frames) / rate, values.clip(0), NAMES, format="live-link-face-csv", start="09:00:00:00.000"
    )


@pytest.fixture
def make_take(tmp_path):
    def make(name="take_raw.csv", seed=0, seconds=20.0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_live_link_face_csv(smooth_noise(seed, seconds), path)
        return path

    return make


@pytest.fixture
def make_events(tmp_path):
    def make(name="events.tsv", **columns):
        table = pd.DataFrame(
            {
                "onset": [3.0, 9.0, 14.0],
                "duration": [2.0, 3.0, 2.0],
                "stimulus_id": ["happy", "sad", "happy"],
                **columns,
            }
        )
        write_table(table, tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def study_folder(tmp_path):
    """An empty study with two stimuli."""
    from mien.workflow.templates import new_study

    folder = tmp_path / "study"
    new_study(folder)
    (folder / "stimuli" / "stimuli.tsv").write_text(STIMULI)
    return folder


def everything_below(folder):
    """Every file's relative path and bytes, to see that nothing changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
