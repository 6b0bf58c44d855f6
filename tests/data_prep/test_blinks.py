"""Cued blinks are found again among natural ones, noise and lost frames, and nonsense is refused."""

import numpy as np
import pytest

from mien.data_prep.blinks import align_by_blinks, find_blinks
from mien.data_prep.clocks import to_recording
from mien.study.errors import StudyError
from mien.study.recording import make_recording

CUES = [5.0, 6.0, 7.6, 595.0, 596.0, 597.6]  # unevenly spaced, as docs/clocks.md recommends
EVEN = [5.0, 6.2, 7.4, 595.0, 596.2, 597.4]


def blinking(blinks, *, length, rng, rate=60.0, noise=0.02, lost=(), dropped=0.0):
    """A recording of `length` s with a blink (Gaussian, 0.06 s) at each of `blinks` (s)."""
    time = np.arange(int(length * rate)) / rate
    signal = 0.1 + 0.75 * np.exp(-0.5 * ((time[:, None] - np.asarray(blinks)[None, :]) / 0.06) ** 2).max(
        axis=1
    )
    both = np.clip(signal[:, None] + rng.normal(0, noise, (len(time), 2)), 0, None)
    for begin, end in lost:
        both[(time >= begin) & (time < end)] = np.nan
    keep = rng.random(len(time)) >= dropped
    keep[0] = True
    return make_recording(time[keep], both[keep], ["eyeBlinkLeft", "eyeBlinkRight"], format="simulated")


def natural(length, rng, *, per_minute=15):
    return np.cumsum(rng.gamma(4.0, 60 / per_minute / 4.0, int(length)))[: int(length * per_minute / 60)]


def test_each_blink_is_found_once_at_its_time():
    times = np.array([1.0, 2.5, 4.1, 9.0])
    found = find_blinks(blinking(times, length=12, rng=np.random.default_rng(1)))
    assert len(found) == 4
    assert np.abs(found - times).max() < 0.010


def test_closed_eyes_and_glitches_are_no_blinks():
    time = np.arange(1200) / 60
    closed = np.full(1200, 0.1)
    closed[300:480] = 0.9  # three seconds
    closed[700] = 0.9  # one frame
    closed[900:908] = 0.9  # a blink
    recording = make_recording(
        time, np.stack([closed, closed], 1), ["eyeBlinkLeft", "eyeBlinkRight"], format="x"
    )
    assert find_blinks(recording) == pytest.approx([903.5 / 60], abs=0.01)


def test_offset_and_drift_are_recovered_with_noise_other_blinks_and_lost_frames():
    """Thirty takes, in each one cued blink lost: never a wrong answer, seldom none, errors as stated."""
    right, covered, drifts = 0, 0, []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        offset, drift = rng.uniform(2, 40), rng.uniform(-150, 150)
        cued = offset + (1 + drift * 1e-6) * np.array(CUES) + rng.normal(0, 0.05, 6)
        others = natural(640, rng)
        others = others[np.abs(others[:, None] - cued[None, :]).min(axis=1) > 0.4]
        blink = cued[seed % 6]
        recording = blinking(
            np.sort(np.append(cued, others)), length=650, rng=rng, dropped=0.002,
            lost=[(blink - 0.3, blink + 0.3), (200.0, 204.0)],
        )  # fmt: skip
        try:
            found = align_by_blinks(recording, CUES)
        except StudyError as refusal:
            assert "fit alike" in str(refusal)  # noqa: PT017
            continue
        onsets = np.linspace(5, 597, 50)
        error = 1e3 * np.abs(to_recording(onsets, found) - (offset + (1 + drift * 1e-6) * onsets))
        assert error.max() < 200
        right += 1
        covered += error.max() < found.uncertainty_ms
        drifts.append(found.drift_ppm - drift)
    assert right >= 25
    assert covered >= 0.9 * right
    # Two means of three blinks with an sd of 0.05 s, 590 s apart: 70 ppm, more where one was lost.
    assert np.std(drifts) < 120


def test_the_reaction_time_is_taken_off():
    rng = np.random.default_rng(3)
    recording = blinking(np.array(CUES) + 12.0 + 0.3, length=650, rng=rng)
    assert align_by_blinks(recording, CUES, reaction_s=0.3).offset_s == pytest.approx(12.0, abs=0.01)
    assert align_by_blinks(recording, CUES).offset_s == pytest.approx(12.3, abs=0.01)


def test_three_cues_at_the_start_give_an_offset_without_drift():
    rng = np.random.default_rng(4)
    found = align_by_blinks(blinking([15.0, 16.0, 17.6], length=60, rng=rng), CUES[:3])
    assert found.offset_s == pytest.approx(10.0, abs=0.01)
    assert (found.drift_ppm, found.pairs) == (0.0, 3)


def test_blinks_that_fit_in_two_places_are_refused_unless_a_range_is_given():
    rng = np.random.default_rng(5)
    recording = blinking([15.0, 16.0, 17.6, 35.0, 36.0, 37.6], length=60, rng=rng)
    with pytest.raises(StudyError, match=r"found 10\.\d\d s and 30\.\d\d s|found 30\.\d\d s and 10\.\d\d s"):
        align_by_blinks(recording, CUES[:3])
    assert align_by_blinks(recording, CUES[:3], near=(25.0, 35.0)).offset_s == pytest.approx(30.0, abs=0.01)


def test_missing_blinks_and_missing_shapes_are_refused():
    rng = np.random.default_rng(6)
    with pytest.raises(StudyError, match="found 1 blinks"):
        align_by_blinks(blinking([15.0], length=60, rng=rng), CUES)
    mouth = make_recording(np.arange(60) / 60, rng.random((60, 1)), ["jawOpen"], format="x")
    with pytest.raises(StudyError, match="expected eyeBlink"):
        align_by_blinks(mouth, CUES)


@pytest.mark.parametrize("cues", [[], [1.0], [1.0, 1.0], [1.0, float("nan")], [1.0, 2.0, 3.0, 500.0]])
def test_cues_that_are_no_pattern_are_refused(cues):
    with pytest.raises(StudyError, match="cues"):
        align_by_blinks(blinking([1.0, 2.0, 3.0], length=10, rng=np.random.default_rng(0)), cues)


def test_an_unanswered_cue_among_even_ones_is_settled_by_the_smaller_drift():
    rng = np.random.default_rng(7)
    recording = blinking(np.array(EVEN[1:]) + 10.0, length=650, rng=rng)
    found = align_by_blinks(recording, EVEN)
    assert found.offset_s == pytest.approx(10.0, abs=0.01)
    assert found.pairs == 5


def test_a_large_drift_is_found_where_all_cues_are_answered():
    rng = np.random.default_rng(8)
    recording = blinking(10.0 + 1.0016 * np.array(CUES), length=650, rng=rng)
    found = align_by_blinks(recording, CUES)
    assert found.drift_ppm == pytest.approx(1600, abs=20)
    with pytest.raises(StudyError, match="no offset at which they fit"):
        align_by_blinks(recording, CUES, max_drift_ppm=100.0, near=(9.9, 10.1))
