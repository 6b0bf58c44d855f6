"""Frozen stretches are not tracked."""

import numpy as np

from mien.study.recording import make_recording
from mien.study.tracking import frozen_frames


def recording_of(rows, head=None):
    values = np.asarray(rows, dtype=float)[:, None] / 10
    return make_recording(np.arange(len(values)) / 60, values, ["jawOpen"], format="x", head=head)


def test_six_identical_rows_are_frozen_and_five_are_not():
    assert frozen_frames(recording_of([1, 2, 2, 2, 2, 2, 2, 3])).tolist() == [False, *[True] * 6, False]
    assert not frozen_frames(recording_of([1, 2, 2, 2, 2, 2, 3])).any()
    assert frozen_frames(recording_of([2] * 6)).all()
    assert not frozen_frames(recording_of([2])).any()


def test_a_moving_head_shows_that_the_tracker_lives():
    head = np.linspace(0, 1, 18).reshape(6, 3)
    assert not frozen_frames(recording_of([2] * 6, head)).any()
    assert frozen_frames(recording_of([2] * 6, np.zeros((6, 3)))).all()
