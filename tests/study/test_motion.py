"""Writing and reading Motion-BIDS: the same Recording comes back, and damage is named."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.study.blend_shapes import NAMES
from mien.study.errors import RecordingError
from mien.study.motion import read_motion, write_motion
from mien.study.recording import make_recording, same_recording

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def round_trip(recording, folder):
    stem = folder / "sub-01_task-met_tracksys-arkit"
    write_motion(recording, stem, task="met")
    return read_motion(stem.with_name(stem.name + "_motion.tsv"))


@pytest.fixture
def written(recording, tmp_path):
    write_motion(recording, tmp_path / "sub-01", task="met")
    return tmp_path


def test_the_table_has_no_header_and_says_n_a(written):
    lines = (written / "sub-01_motion.tsv").read_bytes().split(b"\n")
    assert lines[0] == b"0\t0\t0.1\t0.2\t0.1\t-0.2\t0.3"
    assert lines[2].split(b"\t")[1:] == [b"n/a"] * 6
    assert len(lines) == 6
    assert lines[-1] == b""
    assert b"\r" not in b"".join(lines)


def test_the_channels_say_what_each_column_is(written):
    rows = [line.split("\t") for line in (written / "sub-01_channels.tsv").read_text().splitlines()]
    assert rows[0] == ["name", "component", "type", "tracked_point", "units"]
    assert [row[0] for row in rows[1:]] == [
        "latency", "jawOpen", "mouthSmileLeft", "mouthSmileRight", "head_yaw", "head_pitch", "head_roll",
    ]  # fmt: skip
    assert [row[2] for row in rows[1:]] == ["LATENCY", "MISC", "MISC", "MISC", "ORNT", "ORNT", "ORNT"]
    assert rows[-1] == ["head_roll", "x", "ORNT", "head", "rad"]


def test_the_sidecar_has_the_rates_and_the_source(written):
    sidecar = json.loads((written / "sub-01_motion.json").read_text())
    assert sidecar["TaskName"] == "met"
    assert sidecar["SamplingFrequency"] == 60.0
    assert sidecar["SamplingFrequencyEffective"] == pytest.approx(4 / 0.0667)
    assert sidecar["MotionChannelCount"] == 7
    assert (sidecar["TrackingSystemName"], sidecar["SourceFormat"]) == ("arkit", "test")
    assert (sidecar["RecordingStart"], sidecar["NeutralCalibrated"]) == ("10:00:00:00.000", "no")


def test_the_same_recording_comes_back(recording, tmp_path):
    back = round_trip(recording, tmp_path)
    assert same_recording(recording, back)
    assert back.attrs == recording.attrs
    assert np.array_equal(back["time"].values, recording["time"].values)


def test_without_a_head_there_is_none(recording, tmp_path):
    plain = recording.drop_vars(["head", "axis"])
    back = round_trip(plain, tmp_path)
    assert "head" not in back
    assert same_recording(plain, back)


def test_one_frame_and_all_shapes(tmp_path):
    one = make_recording([3.0], np.full((1, 52), np.nan), NAMES, format="test")
    back = round_trip(one, tmp_path)
    assert same_recording(one, back)
    assert np.isnan(back.attrs["nominal_rate"])
    assert (
        json.loads((tmp_path / "sub-01_task-met_tracksys-arkit_motion.json").read_text())["SamplingFrequency"]
        == "n/a"
    )


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, SMALLEST, -0.0, 1 / 3, 0.1, 1e-38, 16_777_217.0])
def test_float32_extremes_come_back_to_the_bit(value, tmp_path):
    one = make_recording([0.0, 1 / 60], np.full((2, 1), value), ["jawOpen"], format="test")
    back = round_trip(one, tmp_path)["activation"].values
    assert back.tobytes() == one["activation"].values.tobytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    activation=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(width=32, allow_infinity=False),
    ),
    steps=st.lists(st.floats(1e-6, 1e4), min_size=8, max_size=8),
    head=st.booleans(),
)
def test_any_recording_comes_back(activation, steps, head, tmp_path):
    frames, shapes = activation.shape
    recording = make_recording(
        np.cumsum(steps)[:frames],
        activation,
        NAMES[:shapes],
        head=np.resize(activation, (frames, 3)) if head else None,
        format="test",
    )
    back = round_trip(recording, tmp_path)
    assert same_recording(recording, back)
    for name in ("nominal_rate", "effective_rate"):
        assert back.attrs[name] == pytest.approx(recording.attrs[name], nan_ok=True)
    assert np.array_equal(back["time"].values, recording["time"].values)


def spoil(folder, ending, old, new):
    path = folder / f"sub-01_{ending}"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("ending", "old", "new", "message"),
    [
        ("motion.tsv", "0.5", "half", "column 4 (mouthSmileRight): Row #4"),
        ("motion.tsv", "0.5", "0,5", "column 4 (mouthSmileRight): Row #4"),
        ("motion.tsv", "\t0.3\n", "\n", "Row #1"),
        ("motion.tsv", "0\t0\t0.1", "n/a\t0\t0.1", "found nan in frame 1"),
        ("motion.tsv", "0.25", "inf", "infinite mouthSmileLeft in frame 5"),
        ("channels.tsv", "LATENCY", "MISC", "type LATENCY"),
        ("channels.tsv", "jawOpen", "jawOpne", "found 'jawOpne'"),
        ("channels.tsv", "name\t", "nom\t", "expected the column name"),
        ("motion.json", "{", "{,", "motion.json, line 1: expected JSON"),
        ("motion.json", '"arkit"', '"kinect"', "found 'kinect'"),
    ],
)
def test_damage_is_named(written, ending, old, new, message):
    if ending == "motion.tsv" and old == "0.5":
        lines = (written / "sub-01_motion.tsv").read_text().split("\n")
        assert lines[3].split("\t")[3] == "0.5"
    spoil(written, ending, old, new)
    with pytest.raises(RecordingError) as caught:
        read_motion(written / "sub-01_motion.tsv")
    assert message in str(caught.value)
    assert "sub-01_" in str(caught.value)


def test_channels_without_a_blend_shape_are_refused(written):
    (written / "sub-01_channels.tsv").write_text("name\ttype\nlatency\tLATENCY\nlight\tOTHER\n")
    with pytest.raises(RecordingError, match="channel of type MISC"):
        read_motion(written / "sub-01_motion.tsv")


def test_a_sidecar_that_is_no_object_is_refused(written):
    (written / "sub-01_motion.json").write_text("[1, 2]")
    with pytest.raises(RecordingError, match="JSON object, found list"):
        read_motion(written / "sub-01_motion.tsv")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00" * 100, b"a\tb\n"])
def test_any_other_bytes_are_refused(written, content):
    (written / "sub-01_motion.tsv").write_bytes(content)
    with pytest.raises(RecordingError, match=r"sub-01_motion\.tsv"):
        read_motion(written / "sub-01_motion.tsv")


@pytest.mark.parametrize("ending", ["motion.tsv", "motion.json", "channels.tsv"])
def test_a_missing_companion_is_named(written, ending):
    (written / f"sub-01_{ending}").unlink()
    with pytest.raises(RecordingError, match=f"sub-01_{ending}"):
        read_motion(written / "sub-01_motion.tsv")


def test_head_channels_are_found_by_name(recording, written):
    channels = (written / "sub-01_channels.tsv").read_text()
    (written / "sub-01_channels.tsv").write_text(
        channels.replace("head_yaw", "swap").replace("head_roll", "head_yaw").replace("swap", "head_roll")
    )
    back = read_motion(written / "sub-01_motion.tsv")
    np.testing.assert_array_equal(back["head"].sel(axis="yaw"), recording["head"].sel(axis="roll"))
