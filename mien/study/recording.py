"""A Recording: what one tracker saw of one face, as an `xarray.Dataset`.

    activation (time, blend_shape)  float32, 0-1 (values just above 1 are real and kept), NaN = not tracked
    time       (time)               float64, s from the first frame, strictly increasing, from the tracker's clock
    head       (time, axis)         float32, radians, optional; axis = yaw, pitch, roll

Shapes are always mapped by name and stored in ARKit order. A dropped frame is a hole in `time`, never a row.
Attributes: format, tracker ("arkit" | "mediapipe"), nominal_rate and effective_rate (Hz), start (timecode or
UTC, "" when unknown), calibrated ("yes" | "no" | "unknown").
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.study.blend_shapes import BLEND_SHAPES, NAMES
from mien.study.errors import RecordingError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "CALIBRATION",
    "HEAD_AXES",
    "TRACKERS",
    "RecordingArrays",
    "arrays_of",
    "effective_rate",
    "make_arrays",
    "make_recording",
    "same_recording",
    "validate_recording",
]

TRACKERS = ("arkit", "mediapipe")
CALIBRATION = ("yes", "no", "unknown")
HEAD_AXES = ("yaw", "pitch", "roll")
COMMON_RATES = (24.0, 25.0, 30.0, 50.0, 60.0, 90.0, 120.0)


def effective_rate(time: np.ndarray) -> float:
    """Frames a second over the whole of `time` (s); NaN for fewer than two frames."""
    return float((len(time) - 1) / (time[-1] - time[0])) if len(time) > 1 else float("nan")


def nominal_rate_of(time: np.ndarray) -> float:
    """The rate (Hz) that the median step is nearest to, among those that cameras have."""
    if len(time) < 2:
        return float("nan")
    rate = 1.0 / float(np.median(np.diff(time)))
    nearest = min(COMMON_RATES, key=lambda common: abs(common - rate))
    return nearest if abs(nearest - rate) < 0.1 * nearest else round(rate, 3)


class RecordingArrays(NamedTuple):
    """The arrays of a Recording without xarray, whose first Dataset takes longer than reading a take.

    For code that goes through every frame of a study; `arrays_of` takes a Recording apart.
    """

    time: np.ndarray  # (time,) s
    activation: np.ndarray  # (time, blend_shape) float32
    blend_shape: tuple[str, ...]
    head: np.ndarray | None  # (time, axis) float32, radians
    attrs: dict[str, Any]


def arrays_of(recording: "xr.Dataset | RecordingArrays") -> RecordingArrays:
    """The arrays of a Recording; what is arrays already comes back as it is."""
    if isinstance(recording, RecordingArrays):
        return recording
    return RecordingArrays(
        time=recording["time"].to_numpy(),
        activation=recording["activation"].to_numpy(),
        blend_shape=tuple(str(name) for name in recording["blend_shape"].to_numpy()),
        head=recording["head"].to_numpy() if "head" in recording else None,
        attrs={str(name): value for name, value in recording.attrs.items()},
    )


def make_recording(
    time: np.ndarray, activation: np.ndarray, blend_shape: Sequence[str], **parts: Any
) -> "xr.Dataset":
    """A validated Recording from arrays: `make_arrays`, labelled."""
    import xarray as xr

    arrays = make_arrays(time, activation, blend_shape, **parts)
    dataset = xr.Dataset(
        {"activation": (("time", "blend_shape"), arrays.activation)},
        coords={"time": arrays.time, "blend_shape": list(arrays.blend_shape)},
        attrs=arrays.attrs,
    )
    if arrays.head is not None:
        dataset["head"] = (("time", "axis"), arrays.head)
        dataset = dataset.assign_coords(axis=list(HEAD_AXES))
    return dataset


def make_arrays(  # noqa: PLR0913  (a constructor of named parts)
    time: np.ndarray,
    activation: np.ndarray,
    blend_shape: Sequence[str],
    *,
    head: np.ndarray | None = None,
    format: str,
    tracker: str = "arkit",
    nominal_rate: float | None = None,
    start: str = "",
    calibrated: str = "unknown",
    where: str = "recording",
) -> RecordingArrays:
    """The checked arrays of a Recording, shapes in ARKit order.

    Parameters
    ----------
    time : (time,) seconds; the first frame's time is subtracted.
    activation : (time, blend_shape) coefficients, 0-1, NaN where not tracked.
    blend_shape : the project's names of the columns of `activation`, in any order.
    head : (time, 3) yaw, pitch, roll in radians, or None when missing.
    where : what to call the source in an error message.

    Raises
    ------
    RecordingError
        With the frame or shape that breaks the contract.
    """
    time = np.asarray(time, dtype=np.float64)
    _check_time(time, where)
    shapes = list(blend_shape)
    _check_names(shapes, where)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
        activation = np.asarray(activation, dtype=np.float32)
        head = head if head is None else np.asarray(head, dtype=np.float32)
    _check_sizes(activation, (len(time), len(shapes)), "activation", where)
    columns = [shapes.index(name) for name in NAMES if name in shapes]
    if columns != list(range(len(columns))):
        activation = activation[:, columns]
    shapes = [shapes[column] for column in columns]
    _check_finite(activation, shapes, where)
    if head is not None:
        _check_sizes(head, (len(time), len(HEAD_AXES)), "head", where)
        _check_finite(head, [f"head {axis}" for axis in HEAD_AXES], where)
    attrs = {
        "format": format,
        "tracker": tracker,
        "nominal_rate": float(nominal_rate or nominal_rate_of(time)),
        "effective_rate": effective_rate(time),
        "start": start,
        "calibrated": calibrated,
    }
    _check_attributes(attrs, where)
    return RecordingArrays(time - time[0], activation, tuple(shapes), head, attrs)


def _check_sizes(values: np.ndarray, expected: tuple[int, int], name: str, where: str) -> None:
    if values.shape != expected:
        raise RecordingError(
            f"{where}: expected {name} of {expected[0]} frames × {expected[1]} columns, found the shape {values.shape}."
        )


def _check_time(time: np.ndarray, where: str) -> None:
    if time.ndim != 1 or not len(time):
        raise RecordingError(
            f"{where}: expected at least one frame, found none: record again or name another file."
        )
    if not np.isfinite(time).all():
        frame = int(np.flatnonzero(~np.isfinite(time))[0])
        raise RecordingError(
            f"{where}: expected finite times, found {time[frame]} in frame {frame + 1}: import it again."
        )
    back = np.flatnonzero(np.diff(time) <= 0)
    if len(back):
        frame = int(back[0]) + 1
        raise RecordingError(
            f"{where}: expected times that increase, but frame {frame + 1} comes {time[frame - 1] - time[frame]:.4f} s "
            "before the one above it: the file is damaged or was edited; use the original."
        )


def _check_finite(values: np.ndarray, names: Sequence[str], where: str) -> None:
    if np.isinf(values).any():
        frame, column = np.argwhere(np.isinf(values))[0]
        raise RecordingError(
            f"{where}: expected finite numbers, found an infinite {names[column]} in frame {frame + 1}."
        )


def _check_names(shapes: list[str], where: str) -> None:
    unknown = [name for name in shapes if name not in BLEND_SHAPES]
    twice = sorted({name for name in shapes if shapes.count(name) > 1})
    if unknown or not shapes:
        raise RecordingError(
            f"{where}: expected ARKit blend shapes such as mouthSmileLeft, found "
            f"{', '.join(map(repr, unknown[:5])) or 'none'}: check that this is a blend-shape recording."
        )
    if twice:
        raise RecordingError(
            f"{where}: expected each blend shape once, found two columns of {', '.join(twice)}: remove one of them."
        )


def _check_attributes(attrs: Mapping[Any, Any], where: str) -> None:
    for attribute, allowed in (("tracker", TRACKERS), ("calibrated", CALIBRATION)):
        if attrs.get(attribute) not in allowed:
            raise RecordingError(
                f"{where}: expected attribute {attribute} to be one of {', '.join(allowed)}, "
                f"found {attrs.get(attribute)!r}."
            )


def validate_recording(recording: "xr.Dataset", *, where: str = "recording") -> "xr.Dataset":
    """Return `recording` unchanged, or say what is wrong with it.

    Raises
    ------
    RecordingError
    """
    if "activation" not in recording or recording["activation"].dims != ("time", "blend_shape"):
        raise RecordingError(
            f"{where}: expected `activation` with dims (time, blend_shape): use make_recording."
        )
    names = [str(name) for name in recording["blend_shape"].values]
    _check_names(names, where)
    _check_time(recording["time"].values, where)
    if recording["activation"].dtype != np.float32:
        raise RecordingError(
            f"{where}: expected activation as float32, found {recording['activation'].dtype}: use make_recording."
        )
    _check_finite(recording["activation"].values, names, where)
    if "head" in recording:
        if recording["head"].dims != ("time", "axis") or tuple(recording["axis"].values) != HEAD_AXES:
            raise RecordingError(f"{where}: expected `head` with dims (time, axis = {', '.join(HEAD_AXES)}).")
        _check_finite(recording["head"].values, [f"head {axis}" for axis in HEAD_AXES], where)
    _check_attributes(recording.attrs, where)
    return recording


def same_recording(one: "xr.Dataset", other: "xr.Dataset") -> bool:
    """Whether two Recordings hold the same frames: activation and head to the bit, time to 0.1 µs."""
    if ("head" in one) != ("head" in other) or one.sizes != other.sizes:
        return False
    return (
        list(one["blend_shape"].values) == list(other["blend_shape"].values)
        and np.allclose(one["time"].values, other["time"].values, rtol=0, atol=1e-7)
        and np.array_equal(one["activation"].values, other["activation"].values, equal_nan=True)
        and ("head" not in one or np.array_equal(one["head"].values, other["head"].values, equal_nan=True))
    )
