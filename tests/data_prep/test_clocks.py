"""The four methods against known clocks, and that aligning is invertible."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data_prep.clocks import (
    Alignment,
    align_by_sync,
    align_by_utc,
    align_same,
    apply,
    to_recording,
    to_stimulus,
)
from mien.study.errors import StudyError

seconds = st.floats(-1e5, 1e5)
alignments = st.builds(
    lambda offset, drift: Alignment(offset, drift, 0.0, 1.0, "sync"), seconds, st.floats(-5000, 5000)
)


def events(onset, duration=6.0):
    return pd.DataFrame({"onset": onset, "duration": duration, "stimulus_id": "a"})


@settings(deadline=None)
@given(alignments, seconds)
def test_to_stimulus_undoes_to_recording(alignment, time):
    assert to_stimulus(to_recording(time, alignment), alignment) == pytest.approx(time, abs=1e-6)


@settings(deadline=None)
@given(alignments, alignments, st.lists(st.floats(0, 1e4), min_size=1, max_size=5))
def test_aligning_anew_is_aligning_the_original(first, second, onsets):
    once = apply(events(onsets), second)
    again = apply(apply(events(onsets), first), second, previous=first)
    pd.testing.assert_frame_equal(once, again, rtol=1e-12)
    assert list(again["onset_stimulus"]) == onsets


@settings(deadline=None)
@given(
    st.floats(-1e3, 1e3),
    st.floats(-2000, 2000),
    st.lists(st.integers(0, 3000), min_size=2, max_size=9, unique=True),
)
def test_exact_pairs_give_back_the_clock(offset, drift, times):
    stimulus = np.array(times, dtype=float)
    found = align_by_sync(stimulus, offset + (1 + drift * 1e-6) * stimulus)
    assert found.offset_s == pytest.approx(offset, abs=1e-6)
    assert found.drift_ppm == pytest.approx(drift, abs=1e-3)
    assert (found.rejected, found.pairs) == ((), len(times))


def test_durations_drift_with_the_clock():
    aligned = apply(events([0.0, 100.0]), Alignment(2.0, 1000.0, 0.0, 1.0, "sync"))
    assert aligned["onset"].tolist() == pytest.approx([2.0, 102.1])
    assert aligned["duration"].tolist() == pytest.approx([6.006, 6.006])
    assert aligned["onset_stimulus"].tolist() == [0.0, 100.0]


def test_aligned_events_are_not_aligned_again_by_mistake():
    aligned = apply(events([1.0]), align_same())
    with pytest.raises(StudyError, match="onset_stimulus"):
        apply(aligned, align_same(), where="sub-01_events.tsv")


def test_one_pair_gives_the_offset():
    found = align_by_sync([10.0], [12.5], precision_ms=10.0)
    assert (found.offset_s, found.drift_ppm, found.pairs) == (2.5, 0.0, 1)
    assert math.isnan(found.residual_ms)
    assert found.uncertainty_ms == pytest.approx(19.6, abs=0.01)


def test_one_wrong_pair_is_left_out_and_named():
    stimulus = np.array([0.0, 100.0, 200.0, 300.0, 400.0])
    recording = 3.0 + 1.0005 * stimulus
    recording[2] += 0.8
    found = align_by_sync(stimulus, recording)
    assert found.rejected == (3,)
    assert found.pairs == 4
    assert found.offset_s == pytest.approx(3.0)
    assert found.drift_ppm == pytest.approx(500.0)


def test_a_wrong_one_of_three_is_named_where_only_one_choice_leaves_a_possible_drift():
    assert align_by_sync([0.0, 100.0, 200.0], [3.0, 163.0, 203.0]).rejected == (2,)


@pytest.mark.parametrize(
    "recording",
    [
        [3.0, 103.3, 203.0],  # any of the three could be wrong
        [3.0, 103.8, 203.0, 304.1, 403.0],  # two wrong
        [3.0, 60.0],  # a drift that no clock has
    ],
)
def test_pairs_that_contradict_each_other_are_refused(recording):
    stimulus = np.arange(len(recording)) * 100.0
    with pytest.raises(StudyError, match="no single pair explains it"):
        align_by_sync(stimulus, recording)


@pytest.mark.parametrize(
    ("stimulus", "recording"),
    [([], []), ([1.0], [1.0, 2.0]), ([1.0, float("nan")], [1.0, 2.0]), ([1.0, 1.0], [1.0, 2.0])],
)
def test_pairs_that_are_no_pairs_are_refused(stimulus, recording):
    with pytest.raises(StudyError, match="expected"):
        align_by_sync(stimulus, recording)


def test_the_stated_uncertainty_covers_the_error():
    rng = np.random.default_rng(0)
    stimulus = np.linspace(0, 900, 6)
    covered = 0
    for _ in range(1000):
        recording = 2.0 + 1.0003 * stimulus + rng.normal(0, 0.017, 6)
        found = align_by_sync(stimulus, recording, precision_ms=17.0, tolerance_ms=1000.0)
        covered += abs(to_recording(900.0, found) - (2.0 + 1.0003 * 900.0)) * 1e3 <= found.uncertainty_ms
    # 95 %, or more: the sd is never taken below the stated precision. 3 MCSE below .95 is .929.
    assert 0.929 <= covered / 1000 <= 0.995


def test_times_of_day():
    found = align_by_utc("2026-05-04T11:13:04.5Z", "2026-05-04T13:13:20+02:00", uncertainty_ms=50)
    assert (found.offset_s, found.uncertainty_ms, found.method) == (15.5, 50.0, "utc")


def test_a_live_link_timecode_is_local_time_of_day():
    # frame 31.652 of 60
    found = align_by_utc("13:13:04:31.652", "2026-05-04T13:13:20+02:00", uncertainty_ms=50)
    assert found.offset_s == pytest.approx(16 - 31.652 / 60, abs=1e-9)


def test_a_timecode_before_midnight_and_stimuli_after():
    found = align_by_utc("23:59:50:00.000", "2026-05-05T00:00:05+02:00", uncertainty_ms=50)
    assert found.offset_s == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("start", "zero", "uncertainty", "message"),
    [
        ("2026-05-04T11:13:04", "2026-05-04T11:13:20Z", 50, "time zone"),
        ("yesterday", "2026-05-04T11:13:20Z", 50, "expected recording_start"),
        ("25:00:00:00.000", "2026-05-04T11:13:20Z", 50, "timecode"),
        ("11:00:00:61.000", "2026-05-04T11:13:20Z", 50, "timecode"),
        ("2026-05-04T11:13:04Z", "2026-05-04T11:13:20Z", 0, "uncertainty"),
        ("2026-05-04T11:13:04Z", "2026-05-04T11:13:20Z", float("nan"), "uncertainty"),
    ],
)
def test_times_of_day_that_say_too_little_are_refused(start, zero, uncertainty, message):
    with pytest.raises(StudyError, match=message):
        align_by_utc(start, zero, uncertainty_ms=uncertainty)


def test_an_alignment_survives_json():
    for one in (align_same(), align_by_sync([0.0, 100.0, 200.0, 300.0], [3.0, 103.0, 203.5, 303.0])):
        back = Alignment.from_dict(json.loads(json.dumps(one.as_dict(), allow_nan=False)))
        assert repr(back) == repr(one)
