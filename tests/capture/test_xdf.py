"""XDF: the shape stream among others, its markers, holes that stay holes, and files that pyxdf alone would mend."""

import struct

import numpy as np
import pytest

from mien.capture.formats import read_markers
from mien.study.blend_shapes import NAMES
from mien.study.errors import RecordingError


def test_markers_are_on_the_recording_clock(native, tmp_path):
    path = tmp_path / "session.xdf"
    path.write_bytes(native["xdf"])
    markers = read_markers(path)
    assert markers.columns.tolist() == ["onset", "marker"]
    np.testing.assert_allclose(markers["onset"], [0.5, 1.5], atol=1e-9)
    assert markers["marker"].tolist() == ["film_01", "film_02"]


def test_lost_samples_stay_holes(make, sample, read):
    recording = read(make.xdf(sample.isel(time=np.r_[0:50, 57:180])))
    np.testing.assert_allclose(np.diff(recording["time"].values).max(), 8 / 60, atol=1e-6)


def test_late_samples_are_put_in_order_and_said(make, sample, read):
    order = np.r_[0:9, 10, 9, 11:180]
    recording = read(make.xdf(sample.isel(time=order)))
    np.testing.assert_array_equal(recording["activation"].values, sample["activation"].values)
    assert recording.attrs["warnings"] == "1 sample put in order of time"


def test_samples_of_nan_are_frames_without_a_face(make, sample, read, refused):
    lost = sample.copy(deep=True)
    lost["activation"].values[5] = np.nan
    assert np.isnan(read(make.xdf(lost))["activation"].values[5]).all()
    lost["activation"].values[7, 3] = np.nan
    assert "sample 8: expected finite numbers" in refused(make.xdf(lost))


def test_clock_offsets_bring_the_streams_together(make, native, read, sample):
    offsets = b"".join(make.xdf_chunk(4, struct.pack("<dd", 100 + t, 5.0), 1) for t in (0, 1, 2))
    recording = read(native["xdf"] + offsets)
    np.testing.assert_allclose(recording["time"].values, sample["time"].values, atol=1e-6)


def test_clocks_that_were_set_anew_are_refused(make, native, refused):
    for offsets, message in (((5.0, 5.0, 9.0), "jumped by 4.0 s"), ((5.0, float("nan")), "in order of time")):
        chunks = b"".join(
            make.xdf_chunk(4, struct.pack("<dd", 100 + n, at), 1) for n, at in enumerate(offsets)
        )
        assert message in refused(native["xdf"] + chunks)


def stream_of(make, labels: list[str]) -> bytes:
    values = struct.pack("<d", 1.0) + np.zeros(len(labels), "<f4").tobytes()
    samples = make.xdf_chunk(3, b"\x01\x01\x08" + values, 1)
    return b"XDF:" + make.xdf_chunk(2, make.xdf_header(labels, "float32", 60), 1) + samples


def test_what_is_no_single_shape_stream_is_refused(make, native, refused):
    assert "labelled with blend shapes, found 0 among 1 streams" in refused(stream_of(make, ["Fz", "Cz"]))
    assert "found 2 among 3 streams" in refused(
        native["xdf"] + make.xdf_chunk(2, make.xdf_header([*NAMES], "float32", 60), 3)
    )
    assert "but tongueOut is missing" in refused(stream_of(make, [*NAMES[:51]]))
    assert "found jawOpen more than once" in refused(stream_of(make, [*NAMES, "JawOpen"]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-7], "a chunk of .* bytes where .* are left"),
        (lambda data: data + b"\x03abc", "a length of 3 bytes"),
        (lambda data: data + b"\x08" + b"\xff" * 8, "a chunk of 18,446,744,073,709,551,615 bytes"),
        (
            lambda data: data.replace(struct.pack("<I", 180), struct.pack("<I", 2**31)),
            "2,147,483,648 samples in",
        ),
        (
            lambda data: data.replace(b"<channel_count>55<", b"<channel_count>99999999<"),
            "cut short or damaged",
        ),
        (lambda data: data.replace(b"<channel_count>55<", b"<channel_count>54<"), "expected"),
        (
            lambda data: data.replace(b"<?xml version='1.0'?><info><na", b"<!DOCTYPE a [<!ENTITY b 'c'>]>"),
            "entities|cut short",
        ),
        (lambda data: data.replace(b"</desc>", b"<desc/>"), "pyxdf cannot read it"),
        (lambda data: b"XDF:", "found 0 among 0 streams"),
    ],
)
def test_damage_is_refused(native, refused, damage, message):
    import re

    assert re.search(message, refused(damage(native["xdf"]), "session.xdf"))


def test_markers_of_something_else_are_refused(native, make, sample, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(native["mediapipe"])
    with pytest.raises(RecordingError, match="expected an XDF file"):
        read_markers(path)
    header, nothing = (
        make.xdf_chunk(2, make.xdf_header(["word"], "string", 0), 2),
        make.xdf_chunk(3, b"\x01\x00", 2),
    )
    path.write_bytes(make.xdf(sample, markers=()).replace(header, b"").replace(nothing, b""))
    with pytest.raises(RecordingError, match="of markers"):
        read_markers(path)
