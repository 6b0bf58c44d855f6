"""Runs of identical rows."""

import numpy as np
import pytest

from mien.study.recording import make_recording
from mien.study.tracking import FROZEN_FRAMES, frozen_frames


def frozen(first_shape, second_shape=None, **more):
    values = np.column_stack([first_shape, first_shape if second_shape is None else second_shape])
    recording = make_recording(np.arange(len(values)) / 60, values, ["jawOpen", "mouthClose"], format="test")
    return np.flatnonzero(frozen_frames(recording, **more)).tolist()


def test_six_in_succession_are_frozen_and_five_are_not():
    assert FROZEN_FRAMES == 6
    assert frozen([0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 4]) == [7, 8, 9, 10, 11, 12]


def test_runs_at_both_ends_count():
    assert frozen([1, 1, 2, 3, 3], at_least=2) == [0, 1, 3, 4]
    assert frozen([1] * 8) == list(range(8))


def test_one_shape_that_moves_is_life():
    assert frozen([1] * 8, np.arange(8)) == []
    assert frozen(np.arange(8), [1] * 8) == []


def test_untracked_frames_are_equal_to_none():
    assert frozen([np.nan] * 10) == []


@pytest.mark.parametrize("frames", [1, 2])
def test_short_recordings_have_none(frames):
    assert frozen([0.5] * frames) == []
