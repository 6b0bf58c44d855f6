"""What make_recording and validate_recording accept, and how they say what is wrong."""

import numpy as np
import pytest
import xarray as xr

from mien.study.errors import RecordingError
from mien.study.recording import (
    effective_rate,
    make_recording,
    nominal_rate_of,
    same_recording,
    validate_recording,
)

TIME = np.array([0.0, 0.1, 0.2])
SHAPES = ["jawOpen", "browInnerUp"]
ZEROS = np.zeros((3, 2))


def make(time=TIME, activation=ZEROS, shapes=SHAPES, **more):
    return make_recording(time, activation, shapes, **{"format": "test", "where": "take.csv", **more})


def test_shapes_are_mapped_by_name_into_arkit_order():
    recording = make(activation=np.array([[0.1, 0.2]] * 3), shapes=["tongueOut", "eyeBlinkLeft"])
    assert list(recording["blend_shape"].values) == ["eyeBlinkLeft", "tongueOut"]
    np.testing.assert_array_equal(recording["activation"].values[0], np.float32([0.2, 0.1]))


def test_time_begins_at_zero_and_values_above_one_stay():
    recording = make(time=TIME + 86_390.0, activation=np.full((3, 2), 1.053))
    np.testing.assert_allclose(recording["time"].values, TIME, atol=1e-10)
    assert recording["time"].values[0] == 0.0
    assert recording["activation"].dtype == np.float32
    assert (recording["activation"].values == np.float32(1.053)).all()


def test_attributes_say_where_it_came_from():
    attrs = make(start="12:00:00:00.000", tracker="mediapipe", calibrated="yes").attrs
    assert attrs == {
        "format": "test", "tracker": "mediapipe", "nominal_rate": 10.0, "effective_rate": pytest.approx(10.0),
        "start": "12:00:00:00.000", "calibrated": "yes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(59.904, 60.0), (29.98, 30.0), (24.2, 24.0), (25.0, 25.0), (75.0, 75.0), (10.0, 10.0)],
)
def test_nominal_rate_is_a_camera_s_where_one_is_near(rate, expected):
    assert nominal_rate_of(np.arange(100) / rate) == expected


def test_rates_of_one_frame_are_unknown():
    assert np.isnan(effective_rate(np.array([0.0])))
    assert np.isnan(nominal_rate_of(np.array([0.0])))
    assert np.isnan(make(time=[5.0], activation=np.zeros((1, 2))).attrs["nominal_rate"])


def test_effective_rate_counts_steps_not_frames():
    assert effective_rate(np.array([0.0, 0.5, 2.0])) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(time=[], activation=np.zeros((0, 2))), "at least one frame, found none"),
        (dict(time=[0.0, np.nan, 0.2]), "found nan in frame 2"),
        (dict(time=[0.0, 0.2, 0.1]), "frame 3 comes 0.1000 s before"),
        (dict(time=[0.0, 0.0, 0.0]), "frame 2 comes 0.0000 s before"),
        (dict(activation=np.array([[0, 0], [0, np.inf], [0, 0]])), "infinite browInnerUp in frame 2"),
        (dict(activation=np.full((3, 2), 1e300)), "infinite jawOpen in frame 1"),
        (dict(activation=np.zeros((2, 2))), "activation of 3 frames × 2 columns, found the shape (2, 2)"),
        (dict(activation=np.zeros(3)), "found the shape (3,)"),
        (dict(head=np.zeros((3, 2))), "head of 3 frames × 3 columns, found the shape (3, 2)"),
        (dict(head=np.full((3, 3), -np.inf)), "infinite head yaw in frame 1"),
        (dict(shapes=["jawOpen", "smile"]), "found 'smile'"),
        (dict(shapes=["jawOpen", "jawOpen"]), "two columns of jawOpen"),
        (dict(shapes=[], activation=np.zeros((3, 0))), "found none"),
        (dict(tracker="kinect"), "tracker to be one of arkit, mediapipe, found 'kinect'"),
        (dict(calibrated="maybe"), "calibrated to be one of yes, no, unknown, found 'maybe'"),
    ],
)
def test_a_broken_contract_is_named(changes, message):
    with pytest.raises(RecordingError) as caught:
        make(**changes)
    assert str(caught.value).startswith("take.csv: expected")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dataset: dataset.drop_vars("activation"), "expected `activation`"),
        (lambda dataset: dataset.transpose("blend_shape", "time"), "expected `activation`"),
        (lambda dataset: dataset.astype("float64"), "float32, found float64"),
        (lambda dataset: dataset.assign_coords(time=[0.0, 2.0, 1.0]), "frame 3"),
        (lambda dataset: dataset.assign_attrs(tracker=None), "tracker"),
        (lambda dataset: dataset.assign(head=("time", np.zeros(3))), "expected `head` with dims"),
    ],
)
def test_a_dataset_of_someone_else_is_checked(change, message):
    with pytest.raises(RecordingError, match="expected") as caught:
        validate_recording(change(make()))
    assert message in str(caught.value)


def test_validation_returns_what_it_was_given(recording):
    assert validate_recording(recording) is recording


def test_same_recording_sees_every_difference(recording):
    assert same_recording(recording, recording.copy(deep=True))
    assert not same_recording(recording, recording.drop_vars(["head", "axis"]))
    assert not same_recording(recording, recording.isel(time=slice(0, 4)))
    assert not same_recording(recording, recording.assign_coords(time=recording["time"] + 1e-3))
    other = recording.copy(deep=True)
    other["activation"].values[0, 0] = np.nextafter(np.float32(0.1), np.float32(1))
    assert not same_recording(recording, other)
    other = recording.copy(deep=True)
    other["head"].values[0, 0] = np.nan
    assert not same_recording(recording, other)
    assert isinstance(recording, xr.Dataset)
