from dataclasses import replace

import numpy as np
import pytest

from mien.simulation.people import draw_person
from mien.simulation.tracker import Eyes, coefficients, lost_frames, reported
from mien.simulation.truth import default_truth
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES

FRAMES = 2_000


def seen(level, rng, **moves):
    """Coefficients of a face that rests at `level`."""
    truth = default_truth()
    person = draw_person(truth, rng)._replace(moves=np.array([moves.get(n, True) for n in BILATERAL_NAMES]))
    still = np.zeros(FRAMES, dtype=np.float32)
    latent = np.full((34, FRAMES), level, dtype=np.float32)
    return coefficients(latent, Eyes(still, still + 1.2, still), person, truth, rng)


def test_what_is_below_zero_is_exactly_zero(rng):
    values = seen(-0.5, rng)
    assert values.min() == 0.0
    assert not values[:, NAMES.index("mouthSmileLeft")].any()


def test_coefficients_saturate_and_only_eye_look_in_passes_one(rng):
    values = seen(3.0, rng)
    over = {name for name, column in zip(NAMES, values.T, strict=True) if column.max() > 1}
    assert over == {"eyeLookInLeft"}
    assert values.max() == np.float32(1.053)
    assert values[:, NAMES.index("jawOpen")].max() == pytest.approx(1.0, abs=1e-4)


def test_directions_of_one_movement_exclude_each_other(rng):
    values = seen(0.1, rng)
    assert values[:, NAMES.index("jawLeft")].min() > 0
    assert not values[:, NAMES.index("jawRight")].any()


def test_a_shape_that_never_moves_is_zero_throughout(rng):
    values = seen(0.4, rng, cheekPuff=False)
    assert not values[:, NAMES.index("cheekPuff")].any()


def test_lost_stretches_repeat_the_last_row_or_leave_a_gap(rng):
    truth = replace(default_truth(), dropped_per_min=0.0)
    time = np.arange(FRAMES) / 60.0
    for _ in range(20):
        activation = rng.random((FRAMES, 52), dtype=np.float32)
        head = rng.random((FRAMES, 3), dtype=np.float32)
        frames = reported(time, activation, head, [(100, 140)], truth=truth, rng=rng)
        if len(frames.time) == FRAMES:
            assert np.all(frames.activation[100:140] == frames.activation[99])
            assert frames.tracked.sum() == FRAMES - 40
        else:
            assert np.diff(frames.time).max() == pytest.approx(41 / 60.0)
            assert frames.tracked.all()


def test_single_frames_are_dropped_at_the_stated_rate(rng):
    truth, time = default_truth(), np.arange(36_000) / 60.0
    activation, head = np.zeros((36_000, 52), np.float32), np.zeros((36_000, 3), np.float32)
    lost = [36_000 - len(reported(time, activation, head, [], truth=truth, rng=rng).time) for _ in range(10)]
    assert np.mean(lost) == pytest.approx(25.0, abs=5.0)


def test_tracking_is_lost_more_often_in_large_movements(rng):
    truth = replace(default_truth(), losses_per_min=0.0)
    where, none = np.arange(100, 1900, 100), np.array([], dtype=int)
    small, large = (
        sum(len(lost_frames(where, np.full(len(where), size), none, FRAMES, truth, rng)) for _ in range(50))
        for size in (0.5, 2.0)
    )
    assert large > 5 * small
