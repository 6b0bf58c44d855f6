"""The quality report: each number against a recording in which it was put in by hand."""

import json

import numpy as np
import pytest

from mien.capture.quality import (
    LIMITS,
    QUALITY_KEYS,
    blink_times,
    mark_untracked,
    quality_report,
    render_limits,
    render_quality,
    verdict,
)
from mien.study.blend_shapes import NAMES
from mien.study.motion import read_motion, write_motion
from mien.study.tracking import frozen_frames


@pytest.fixture
def minute(make):
    """One minute at 60 fps in which nothing is wrong and nobody blinks."""
    recording = make.sample(3600)
    lids = [NAMES.index("eyeBlinkLeft"), NAMES.index("eyeBlinkRight")]
    recording["activation"].values[:, lids] = 0.05 + 0.02 * np.sin(recording["time"].values)[:, None]
    return recording


def put_blinks(recording, times, *, height=0.8, half=0.06):
    time = recording["time"].values
    shape = sum(np.exp(-0.5 * ((time - at) / half) ** 2) for at in times)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        recording["activation"].values[:, NAMES.index(name)] += (height * shape).astype(np.float32)
    return recording


def test_the_report_has_the_agreed_keys_and_plain_types(minute):
    report = quality_report(minute, source="sub-01_task-met", format="sample")
    assert tuple(report) == QUALITY_KEYS
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["source"], report["format"]) == ("sub-01_task-met", "sample")
    assert (report["frames"], report["duration_s"], report["rate_hz"]) == (3600, 59.983, 60.0)
    assert (report["lost_frames"], report["gaps"], report["tracked_share"]) == (0, [], 1.0)
    assert (report["still_shapes"], report["below_zero"], report["head"]) == ([], 0, "present")
    assert report["verdict"] == "good"


def test_lost_frames_are_counted_where_they_are(minute):
    report = quality_report(minute.isel(time=np.r_[0:600, 601:1200, 1207:3600]), source="x")
    assert report["lost_frames"] == 8
    assert report["gaps"] == [{"start_s": 9.983, "lost": 1}, {"start_s": 19.983, "lost": 7}]
    assert report["tracked_share"] == pytest.approx(3592 / 3600, abs=1e-4)
    assert report["verdict"] == "good"


def test_a_drifting_clock_loses_nothing(minute):
    slow = minute.assign_coords(time=np.arange(3600) / 59.904)
    slow.attrs["effective_rate"] = 59.904
    report = quality_report(slow, source="x")
    assert (report["lost_frames"], report["rate_hz"]) == (0, 59.904)


@pytest.mark.parametrize(("rows", "frozen"), [(5, 0), (6, 6), (60, 60)])
def test_six_identical_rows_are_frozen_and_five_are_not(minute, rows, frozen):
    for name in ("activation", "head"):
        minute[name].values[100 : 100 + rows] = minute[name].values[100]
    found = frozen_frames(minute)
    assert np.flatnonzero(found).tolist() == list(range(100, 100 + frozen))
    report = quality_report(minute, source="x")
    assert report["frozen_frames"] == frozen
    assert report["tracked_share"] == pytest.approx(1 - frozen / 3600, abs=1e-4)
    assert any("tracking froze 1 time" in warning for warning in report["warnings"]) == bool(frozen)


def test_a_still_face_under_a_moving_head_is_tracked(minute):
    minute["activation"].values[100:160] = minute["activation"].values[100]
    assert not frozen_frames(minute).any()
    assert frozen_frames(minute.drop_vars("head")).sum() == 60


def test_marking_sets_frozen_rows_to_nan_and_leaves_the_original(minute):
    for name in ("activation", "head"):
        minute[name].values[3590:] = minute[name].values[3590]
    marked = mark_untracked(minute)
    assert np.isnan(marked["activation"].values[3590:]).all()
    assert np.isnan(marked["head"].values[3590:]).all()
    assert np.isfinite(marked["activation"].values[:3590]).all()
    assert np.isfinite(minute["activation"].values).all()
    assert mark_untracked(marked) is marked  # nothing left to mark: lost rows are not equal rows


def test_lost_faces_count_as_not_tracked(minute):
    minute["activation"].values[:400] = np.nan
    report = quality_report(minute, source="x")
    assert report["tracked_share"] == pytest.approx(3200 / 3600, abs=1e-4)
    assert report["verdict"] == "repeat"


def test_values_out_of_range_zeros_and_still_shapes(minute):
    activation = minute["activation"].values
    activation[:] = np.clip(activation, 0.01, 0.99)
    activation[:, NAMES.index("tongueOut")] = 0
    activation[:, NAMES.index("cheekPuff")] = 0.2
    activation[0, 0], activation[1, 0], activation[2, 0] = 1.05, -0.1, -0.2
    report = quality_report(minute, source="x")
    assert report["still_shapes"] == ["cheekPuff", "tongueOut"]
    assert (report["above_one"], report["below_zero"]) == (1, 2)
    assert report["zero_share"] == pytest.approx(1 / 52, abs=1e-4)
    assert report["verdict"] == "usable"
    assert (
        "values below 0 2 is above 0 (no tracker of faces gives them; generated files do)"
        in report["warnings"]
    )


def test_blinks_are_found_where_they_were_put(minute):
    times = np.arange(2.0, 58, 4.0)
    found = blink_times(put_blinks(minute, times))
    np.testing.assert_allclose(found, times, atol=0.02)
    assert quality_report(minute, source="x")["blinks_per_min"] == pytest.approx(14.0, abs=0.1)


def test_long_closures_and_looks_down_are_no_blinks(minute):
    assert len(blink_times(put_blinks(minute.copy(deep=True), [20.0], half=0.6))) == 0
    assert len(blink_times(put_blinks(minute.copy(deep=True), [20.0], height=0.25))) == 0
    assert (
        any("fewer than one blink" in line for line in quality_report(minute, source="x")["warnings"])
        is False
    )
    long = minute.assign_coords(time=minute["time"].values * 1.1)
    assert any("fewer than one blink" in line for line in quality_report(long, source="x")["warnings"])


def test_blinks_at_30_frames_a_second_and_over_lost_faces(minute):
    recording = put_blinks(minute, [5.0, 10.0, 15.0]).isel(time=slice(None, None, 2)).copy(deep=True)
    recording["activation"].values[270:330] = np.nan  # the second blink
    np.testing.assert_allclose(blink_times(recording), [5.0, 15.0], atol=0.04)


def test_one_frame_and_no_frame_tracked_have_reports(make):
    report = quality_report(make.sample(1), source="x")
    assert (report["rate_hz"], report["duration_s"], report["verdict"]) == (None, 0.0, "repeat")
    nothing = make.sample(20)
    nothing["activation"].values[:] = np.nan
    report = quality_report(nothing, source="x")
    assert (report["tracked_share"], report["zero_share"], report["blinks_per_min"]) == (0.0, 0.0, 0.0)
    json.dumps(report, allow_nan=False)


def test_the_verdict_is_the_worst_of_the_table(minute):
    good = quality_report(minute, source="x")
    assert verdict({**good, "tracked_share": 0.98}) == "good"
    assert verdict({**good, "tracked_share": 0.979}) == "usable"
    assert verdict({**good, "tracked_share": 0.899}) == "repeat"
    assert verdict({**good, "gaps": [{"start_s": 1.0, "lost": 31}]}) == "usable"
    assert verdict({**good, "gaps": [{"start_s": 1.0, "lost": 301}]}) == "repeat"
    assert verdict({**good, "duration_s": 9.0}) == "usable"
    assert verdict({**good, "still_shapes": list(NAMES[:9])}) == "usable"
    assert verdict({**good, "still_shapes": list(NAMES[:27])}) == "repeat"


def test_the_text_says_all_and_prints_the_table(minute):
    minute.attrs["warnings"] = "1 video left where it is, unopened"
    minute["activation"].values[:, NAMES.index("tongueOut")] = 0
    text = render_quality(quality_report(minute, source="sub-01"))
    assert text.startswith("sub-01: good  (sample)")
    assert "never moved: tongueOut" in text
    assert "! 1 video left where it is, unopened" in text
    table = render_limits()
    assert all(limit.measure in table for limit in LIMITS)
    assert "≥   0.98 ≥    0.9" in table


def test_the_report_is_the_same_before_and_after_motion_bids(minute, tmp_path):
    for name in ("activation", "head"):
        minute[name].values[100:160] = minute[name].values[100]
    put_blinks(minute, [30.0])
    minute["activation"].values[1000:1010] = np.nan
    recording = minute.isel(time=np.r_[0:500, 505:3600])
    write_motion(recording, tmp_path / "sub-01_task-met_tracksys-arkit", task="met")
    again = read_motion(tmp_path / "sub-01_task-met_tracksys-arkit_motion.tsv")
    recording.attrs["effective_rate"] = again.attrs["effective_rate"]
    assert quality_report(recording, source="x") == quality_report(again, source="x")
