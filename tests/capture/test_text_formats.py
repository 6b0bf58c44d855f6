"""Unreal's CSV and JSON, iFacialMocap logs and MediaPipe tables: what is special about each, and what is refused."""

import json

import numpy as np
import pytest

from mien.study.blend_shapes import NAMES


def test_unreal_rows_that_share_a_timecode_are_left_out_and_said(native, read):
    lines = native["unreal-csv"].decode().split("\r\n")
    lines.insert(20, lines[19])
    recording = read("\r\n".join(lines).encode())
    assert recording.sizes["time"] == 180
    assert recording.attrs["warnings"] == "1 repeated frame left out"
    assert recording.attrs["start"] == "13:0:0:0"


def test_unreal_timecodes_that_all_repeat_are_refused(native, refused):
    lines = native["unreal-csv"].decode().split("\r\n")
    doubled = [lines[0], *(line for line in lines[1:-1] for _ in (0, 1)), ""]
    assert "180 of 360 repeat the time before them" in refused("\r\n".join(doubled).encode())


def test_unreal_frame_rate_gives_the_base_of_the_timecode(native, read):
    lines = [line.replace(", 60.000", ", 30.000") for line in native["unreal-csv"].decode().split("\r\n")]
    thirty = [lines[0], *(line for number, line in enumerate(lines[1:-1]) if number % 60 < 30), ""]
    recording = read("\r\n".join(thirty).encode())
    np.testing.assert_allclose(np.diff(recording["time"].values), 1 / 30, atol=1e-9)


def test_unreal_changing_or_absurd_rates_are_refused(native, refused):
    lines = native["unreal-csv"].decode().split("\r\n")
    for rate in ("30.000", "0.000", "1e9"):
        changed = [*lines[:9], lines[9].replace(" 60.000", f" {rate}"), *lines[10:]]
        message = refused("\r\n".join(changed).encode())
        assert "line 10, FrameRate: expected one rate of 1 to 1000" in message


def test_unreal_missing_columns_are_named(native, refused):
    lines = [line.rsplit(",", 1)[0] for line in native["unreal-csv"].decode().split("\r\n")]
    message = refused("\n".join(lines).encode())
    assert "line 1: expected a column for each of 52 blend shapes, but tongueOut is missing" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-400], "line 1: expected whole JSON, but"),
        (
            lambda text: text.replace('"Frames": [', '"Frames": [], "Other": [', 1),
            "a list `Frames` of at least one frame",
        ),
        (
            lambda text: text.replace('"TongueOut"', '"TongueIn"'),
            "frame 1: expected all 52 .* tongueOut is missing",
        ),
        (
            lambda text: text.replace('"FrameRate": 60.0', '"FrameRate": "fast"', 1),
            "frame 1, FrameRate: .* found 'fast'",
        ),
        (
            lambda text: text.replace('"FrameRate": 60.0', '"FrameRate": NaN', 1),
            "frame 1, FrameRate: .* found 'nan'",
        ),
        (lambda text: text.replace('"FrameRate": 60.0', '"FrameRate": 1e999', 1), "found 'inf'"),
        (lambda text: text.replace('"Hours": 13', '"Hours": null', 1), "frame 1, TimeCode: expected Hours"),
        (
            lambda text: text.replace('"FrameRate"', '"JawOpen": 0, "FrameRate"', 1),
            "found JawOpen twice in one frame",
        ),
        (lambda text: text.replace('"FrameRate"', '"jawOpen": 0, "FrameRate"', 1), "jawOpen more than once"),
        (lambda text: text[:20] + "[" * 100_000, "expected (whole|Unreal's) JSON"),
    ],
)
def test_unreal_json_that_is_wrong_is_refused(native, refused, change, message):
    import re

    assert re.search(message, refused(change(native["unreal-json"].decode()).encode()))


def test_unreal_json_frames_that_go_back_are_named(native, refused):
    frames = json.loads(native["unreal-json"])["Frames"]
    frames[10], frames[11] = frames[11], frames[10]
    assert "frame 12: expected timecodes that increase" in refused(json.dumps({"Frames": frames}).encode())


def test_ifacialmocap_both_signs_head_and_time(make, sample, read):
    for sign in "-&":
        recording = read(make.ifacialmocap(sample, sign=sign), "log.txt")
        np.testing.assert_allclose(recording["head"].values, sample["head"].values, atol=1e-5)
        jaw = recording["activation"].sel(blend_shape="jawLeft").values
        np.testing.assert_allclose(jaw, sample["activation"].sel(blend_shape="jawLeft").values, atol=0.00501)
        assert "receiver's clock (s)" in recording.attrs["warnings"]


def test_ifacialmocap_without_times_needs_a_rate(make, sample, read, refused):
    log = make.ifacialmocap(sample, times=False)
    assert "say the frames a second with --rate HZ" in refused(log)
    recording = read(log, rate=50)
    assert recording.attrs["effective_rate"] == pytest.approx(50)
    assert recording.attrs["nominal_rate"] == 50
    assert "time assumed: 50 frames a second by --rate" in recording.attrs["warnings"]
    assert "expected a rate of 1 to 1000 Hz" in refused(log, rate=0)


@pytest.mark.parametrize(
    "form", ["{ms}|", "{ms},", "{s:.3f}\t", "{s:.3f} ", "2026-01-05T10:00:{s:09.6f}+00:00|"]
)
def test_ifacialmocap_receive_times_in_their_usual_forms(make, sample, read, form):
    lines = make.ifacialmocap(sample, times=False).decode().splitlines()
    stamped = [form.format(ms=round(n * 1000 / 60), s=n / 60) + line for n, line in enumerate(lines)]
    recording = read("\n".join(stamped).encode())
    np.testing.assert_allclose(recording["time"].values, sample["time"].values, atol=6e-4)


def test_ifacialmocap_tracking_status_zero_is_no_face(native, read):
    lines = native["ifacialmocap"].decode().split("\n")
    lines[4] = lines[4].replace("trackingStatus-1", "trackingStatus-0")
    recording = read("\n".join(lines).encode())
    assert np.flatnonzero(np.isnan(recording["activation"].values).all(axis=1)).tolist() == [4]
    assert np.isnan(recording["head"].values[4]).all()
    assert "1 frame without a face" in recording.attrs["warnings"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("jawOpen-", "jawOpen-x", "line 5: expected fields such as jawOpen-12, found 'jawOpen-x"),
        ("jawOpen-", "jawOpen-nan", "line 5: expected fields"),
        ("jawOpen-", "jawShut-", "line 5: expected all 52 blend shapes, but jawOpen is missing"),
        ("jawLeft-", "jawOpen-", "line 5: expected each blend shape once, found jawOpen twice"),
        ("=head#", "=head#a,", "line 5: expected head#rx,ry,rz"),
        ("1700000000", "1600000000", "packet 5: expected receive times that increase"),
        ("1700000000.066667|", "", "packet 5: expected a receive time in front of every line or of none"),
        ("1700000000.066667|", "1700-00|", "line 5: expected a receive time in seconds or ISO 8601"),
    ],
)
def test_ifacialmocap_lines_that_are_wrong_are_named(native, refused, old, new, message):
    lines = native["ifacialmocap"].decode().split("\n")
    assert old in lines[4]
    lines[4] = lines[4].replace(old, new, 1)
    assert message in refused("\n".join(lines).encode())


def test_mediapipe_says_that_it_is_not_arkit(native, read):
    recording = read(native["mediapipe"])
    assert recording.attrs["tracker"] == "mediapipe"
    assert "tongueOut" not in recording["blend_shape"].values


def test_mediapipe_time_units(native, read, sample):
    text = native["mediapipe"].decode()
    recording = read(text.replace("timestamp_ms", "timestamp", 1).encode())
    np.testing.assert_allclose(recording["time"].values, sample["time"].values, atol=1e-6)
    assert "column timestamp taken as ms, from its steps" in recording.attrs["warnings"]


def test_mediapipe_that_only_counts_frames_needs_a_rate(native, read, refused):
    lines = [line.split(",") for line in native["mediapipe"].decode().splitlines()]
    counted = "\n".join(",".join(cells[:1] + cells[2:]) for cells in lines).encode()
    assert "--rate HZ" in refused(counted)
    assert read(counted, rate=25).attrs["nominal_rate"] == 25
    bare = "\n".join(",".join(cells[2:]) for cells in lines).encode()
    assert "expected a column timestamp_ms" in refused(bare, rate=25)


def test_mediapipe_rows_without_a_face_and_further_columns(native, read):
    lines = native["mediapipe"].decode().splitlines()
    lines[5] = ",".join([*lines[5].split(",")[:2], *[""] * 52])
    lines = [line + (",emotion" if number == 0 else ",calm") for number, line in enumerate(lines)]
    recording = read("\n".join(lines).encode())
    assert np.flatnonzero(np.isnan(recording["activation"].values).all(axis=1)).tolist() == [4]
    assert "2 further columns not kept" in recording.attrs["warnings"]


def test_mediapipe_that_is_wrong_is_refused(native, refused):
    text = native["mediapipe"].decode()
    assert "but jawOpen is missing" in refused(text.replace("jawOpen", "jawShut", 1).encode())
    assert "_neutral" in refused(text.replace("_neutral", "tongueOut", 1).encode())
    lines = text.splitlines()
    cells = lines[8].split(",")
    cells[5] = "wide"
    assert "line 9, column eyeLookInLeft" in refused(
        "\n".join([*lines[:8], ",".join(cells), *lines[9:]]).encode()
    )
    back = [*lines[:8], lines[3], *lines[9:]]
    assert "line 9: expected times that increase" in refused("\n".join(back).encode())


def test_shapes_are_matched_by_name_in_all_text_formats(make, read):
    """The saboteur: a recording in which only one shape moves stays that shape and no other."""
    for name in ("jawRight", "mouthLeft", "eyeLookInLeft"):
        sample = make.sample(30)
        sample["activation"].values[:] = 0.1
        sample["activation"].loc[{"blend_shape": name}] = np.linspace(0, 1, 30)
        for write in (make.unreal_csv, make.unreal_json, make.ifacialmocap, make.mediapipe, make.xdf):
            recording = read(write(sample))
            moving = np.ptp(recording["activation"].values, axis=0) > 0.5
            assert recording["blend_shape"].values[moving].tolist() == [name], write.__name__
    assert len(NAMES) == 52
