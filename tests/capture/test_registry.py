"""The conformance test: what every format must keep, run over the registry."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mien.capture.formats import FORMATS, read_recording
from mien.capture.formats.source import head_of
from mien.study.errors import RecordingError
from mien.study.motion import read_motion, write_motion
from mien.study.recording import same_recording, validate_recording

BY_NAME = {format.name: format for format in FORMATS}
RESOLUTION = {"unreal-csv": 5e-4, "ifacialmocap": 5e-3}  # three decimals; integers of 0-100
WRITERS = [format for format in FORMATS if format.write]


each_format = pytest.mark.parametrize("name", BY_NAME)
each_writer = pytest.mark.parametrize("format", WRITERS, ids=lambda format: format.name)


def test_every_format_has_a_sample(native):
    assert set(native) == set(BY_NAME)
    assert [format.name for format in WRITERS] == ["live-link-face-csv", "gesichter", "live-link-face-udp"]


@each_format
def test_is_found_by_content_and_by_one_format_only(name, native):
    head = head_of(native[name], "sample")
    found = [format.name for format in FORMATS if format.sniff(head, Path("any.txt"))]
    assert name in found
    assert found[0] == name  # packets also fit inside the sized ones; the order settles it


@each_format
def test_reads_the_sample_by_name(name, native, sample, read):
    recording = validate_recording(read(native[name], "misleading.mp3"))
    shapes = recording["blend_shape"].values
    expected = sample.sel(blend_shape=shapes)
    assert len(shapes) == (51 if name == "mediapipe" else 52)
    assert recording.attrs["format"] == name
    assert recording.attrs["tracker"] == ("mediapipe" if name == "mediapipe" else "arkit")
    assert recording.attrs["nominal_rate"] == 60.0
    difference = np.abs(recording["activation"].values - expected["activation"].values).max()
    assert difference <= RESOLUTION.get(name, 0) * 1.001
    np.testing.assert_allclose(recording["time"].values, sample["time"].values, atol=2e-6)


@each_format
def test_the_format_itself_reads_it(name, native, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(native[name])
    assert same_recording(BY_NAME[name].read(path), read_recording(path))


@each_format
def test_motion_bids_gives_the_same_recording(name, native, read, tmp_path):
    recording = read(native[name])
    write_motion(recording, tmp_path / "sub-01_task-met_tracksys-arkit", task="met")
    again = read_motion(tmp_path / "sub-01_task-met_tracksys-arkit_motion.tsv")
    assert same_recording(recording, again)
    for attribute in ("format", "tracker", "nominal_rate", "start", "calibrated"):
        assert again.attrs[attribute] == recording.attrs[attribute]


@each_format
def test_reads_the_same_gzipped_and_zipped(name, native, read):
    recording = read(native[name])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("20260101_Anna_1/take", native[name])
    assert same_recording(read(packed.getvalue(), "take.zip"), recording)
    if not native[name].startswith(b"\x1f\x8b"):
        assert same_recording(read(gzip.compress(native[name]), "take.gz"), recording)


@each_format
def test_keeps_no_name_of_file_person_or_device(name, native, read):
    recording = read(native[name].replace(b"mien", b"Anna"), "AnnaSchmidt_1_raw.csv")
    assert "Anna" not in str(recording.attrs)
    assert "Anna" not in repr(recording.to_dict(data=False))


@each_format
def test_refuses_the_first_half_of_the_file_or_reads_whole_frames(name, native, read):
    half = native[name][: len(native[name]) // 2]
    if name in ("gesichter", "xdf", "unreal-json"):  # these know how long they should be
        with pytest.raises(RecordingError, match="expected"):
            read(half)
    elif name != "live-link-face-udp":
        whole = half[: half.rindex(b"\n") + 1]
        assert 60 < read(whole).sizes["time"] < 120


@each_writer
def test_write_then_read_is_the_same_recording(format, sample, tmp_path):
    format.write(sample, tmp_path / "x")
    assert same_recording(format.read(tmp_path / "x"), sample)


@each_writer
def test_no_head_is_missing_and_not_zero(format, make, tmp_path):
    sample = make.sample(head=False)
    format.write(sample, tmp_path / "x")
    assert same_recording(format.read(tmp_path / "x"), sample)


@each_writer
def test_a_hole_in_time_stays_a_hole(format, sample, tmp_path):
    holed = sample.isel(time=np.r_[0:50, 57:180])
    format.write(holed, tmp_path / "x")
    assert same_recording(format.read(tmp_path / "x"), holed)


@each_writer
def test_a_recording_without_some_shapes_is_refused(format, sample, tmp_path):
    with pytest.raises(RecordingError, match="tongueOut"):
        format.write(sample.isel(blend_shape=slice(51)), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@each_writer
def test_the_round_trip_check_sees_two_swapped_shapes(format, sample, tmp_path):
    """The saboteur: a writer that mixes up left and right would not pass the round trip."""
    left, right = (list(sample["blend_shape"].values).index(name) for name in ("jawLeft", "jawRight"))
    swapped = sample.copy(deep=True)
    swapped["activation"].values[:, [left, right]] = sample["activation"].values[:, [right, left]]
    format.write(swapped, tmp_path / "x")
    assert not same_recording(format.read(tmp_path / "x"), sample)
