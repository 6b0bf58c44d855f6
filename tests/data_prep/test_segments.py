"""Stretches against a loop over frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data_prep.segments import EDGE, Frames, due_times, stretches


def by_loop(time, values, start, stop):
    """The same numbers, frame by frame."""
    mean, sd, peak, tracked = [], [], [], []
    for begin, end in zip(start, stop, strict=True):
        inside = [frame for frame, at in enumerate(time) if begin - EDGE <= at < end - EDGE]
        for shape in values:
            seen = [float(shape[frame]) for frame in inside if not np.isnan(shape[frame])]
            mean.append(np.mean(seen) if seen else np.nan)
            sd.append(np.std(seen) if seen else np.nan)
            peak.append(max(seen) if seen else np.nan)
            tracked.append(len(seen))
    shape = (len(start), len(values))
    return [np.reshape(one, shape) for one in (mean, sd, peak, tracked)]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 80), st.floats(0, 0.9))
def test_stretches_are_what_a_loop_gives(seed, frames, untracked):
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.choice([1, 1, 1, 4], frames)) / 60
    values = rng.random((3, frames), dtype=np.float32)
    values[:, rng.random(frames) < untracked] = np.nan
    values[0, rng.random(frames) < 0.2] = np.nan
    start = rng.uniform(-1, time[-1] + 1, 7)  # overlapping, unordered, before and after the recording
    stop = start + rng.choice([0.0, 0.01, 0.1, 3.0], 7)
    frames = Frames.of(time, values)
    found = stretches(frames, start, stop, extra="peak")
    spread = stretches(frames, start, stop, extra="sd")
    mean, sd, peak, tracked = by_loop(time, values, start, stop)
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    np.testing.assert_allclose(spread.extra, sd, atol=1e-7)
    np.testing.assert_array_equal(found.extra, peak.astype(np.float32))
    np.testing.assert_array_equal(found.tracked, tracked)


def test_a_frame_at_an_edge_belongs_to_the_stretch_that_begins_there():
    time = np.arange(6) / 2
    values = np.arange(6, dtype=np.float32)[None]
    found = stretches(
        Frames.of(time, values), np.array([0.0, 1 + 1e-9]), np.array([1.0, 2 - 1e-9]), extra="peak"
    )
    assert found.mean.ravel().tolist() == [0.5, 2.5]
    assert found.tracked.ravel().tolist() == [2, 2]


def test_frames_are_due_in_holes_and_beyond_both_ends():
    time = np.array([0.0, 0.1, 0.2, 0.6, 0.7])
    due = due_times(time, 10.0, begin=-0.25, end=0.95)
    inside = due[(due > -0.05) & (due < 0.75)]
    np.testing.assert_allclose(inside, np.arange(8) / 10)
    assert ((due > -0.25) & (due < -0.05)).sum() == 2
    assert ((due > 0.75) & (due < 0.95)).sum() == 2


@pytest.mark.parametrize("step", [1.0, 1.4])
def test_a_step_under_one_and_a_half_frames_is_no_hole(step):
    time = np.cumsum([0.0, 0.1, 0.1 * step, 0.1])
    due = due_times(time, 10.0, begin=0.0, end=float(time[-1]))
    assert due[(due >= 0) & (due <= time[-1])].tolist() == time.tolist()
