import numpy as np
import pytest

from mien.simulation.design import small_design
from mien.simulation.movements import Shown, blinks, gaze, glances, spontaneous_movements, wandering
from mien.simulation.people import draw_person, draw_stimulus_effects
from mien.simulation.resemblance import autocorrelation_time
from mien.simulation.truth import default_truth

TIME = np.arange(12_000) / 59.904  # 200 s


def test_wandering_has_unit_variance_and_about_twice_its_memory_in_autocorrelation(rng):
    signal = wandering(np.array([35.0, 75.0]), 600_000, rng)
    assert signal.dtype == np.float32
    assert signal.std(axis=1) == pytest.approx([1.0, 1.0], abs=0.03)
    times = [autocorrelation_time(row) for row in signal]
    assert times == pytest.approx([2 * (35 + 7), 2 * (75 + 7)], rel=0.12)


def test_spontaneous_movements_are_never_of_shapes_without_a_synergy(rng):
    truth = default_truth()
    found = spontaneous_movements(truth, TIME, rng)
    alone = np.array([shape.synergy == "" for shape in truth.shapes])
    assert len(found.frames) == len(found.sizes) > 0
    assert found.signal[~alone].max() > 1
    assert not found.signal[alone].any()


def test_cued_blinks_are_where_they_were_asked_for(rng):
    truth = default_truth()
    person = draw_person(truth, rng)._replace(blinks_per_min=0.0)
    closed = blinks(person, [], [10.0, 11.0, 12.0], TIME, rng)
    shut = closed > 0.5
    onsets = TIME[1:][shut[1:] & ~shut[:-1]]
    assert onsets == pytest.approx([10.2, 11.2, 12.2], abs=0.15)


def test_fewer_blinks_when_a_stimulus_appears_and_more_when_it_is_gone(rng):
    truth = default_truth()
    shown = [Shown(0, onset, 5.0) for onset in np.arange(5.0, 190.0, 8.0)]
    after_onset, after_offset = [], []
    for _ in range(60):
        closed = blinks(draw_person(truth, rng), shown, [], TIME, rng)
        for item in shown:
            since = TIME - item.onset_s
            after_onset.append(closed[(since > 0.2) & (since < 1.2)].mean())
            after_offset.append(closed[(since > 5.3) & (since < 6.3)].mean())
    assert np.mean(after_offset) > 2.5 * np.mean(after_onset)


def test_the_gaze_follows_what_is_shown(rng):
    effects = draw_stimulus_effects(small_design(), default_truth(), rng)
    shown = [Shown(0, 50.0, 100.0)]
    spots = effects.hot_spots.copy()
    spots[0] = [0.3, -0.2]
    yaw, pitch = gaze(shown, effects._replace(hot_spots=spots), TIME, rng)
    during, before = (TIME > 51) & (TIME < 149), TIME < 49
    assert (yaw[during].mean(), pitch[during].mean()) == pytest.approx((0.3, -0.2), abs=0.01)
    assert (yaw[before].mean(), pitch[before].mean()) == pytest.approx((0.0, 0.0), abs=0.01)


def test_glances_are_rare_and_far(rng):
    away, starts = glances(default_truth(), TIME, rng)
    assert len(starts) < 8
    assert np.mean(np.abs(away) > 0.1) < 0.1
