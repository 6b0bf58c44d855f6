"""Means, peaks and tracked shares of many stretches of a recording at once.

A stretch is [start, stop) in seconds. A frame belongs to it when start <= time < stop, with both ends moved back by
a microsecond, so that a frame taken at an edge falls on the same side whatever the last bits of its time.
Frames are kept shape by shape, each a contiguous row, and summed in float64 by `reduceat`: no loop over frames,
bins or trials. NaN = not tracked.

A frame that was lost left a hole in `time`. `due_times` fills the holes at the nominal rate, and goes on beyond
both ends of the recording: a frame that is due but was not tracked lowers the tracked share of its bin, whether
it came as NaN, was dropped, or would have come after the recording had been stopped.
"""

from typing import Literal, NamedTuple

import numpy as np

__all__ = ["EDGE", "Frames", "Stretches", "due_times", "frames_between", "stretches"]

EDGE = 1e-6  # s


class Frames(NamedTuple):
    """The frames of a recording, ready to be summed."""

    time: np.ndarray  # (time,) s
    values: np.ndarray  # (blend_shape, time) float32, contiguous rows, 0 where not tracked
    tracked: np.ndarray  # (blend_shape or 1, time) bool; one row where it is the same for all shapes

    @classmethod
    def of(cls, time: np.ndarray, values: np.ndarray) -> "Frames":
        """From `values` (blend_shape, time) with NaN where not tracked."""
        missing = np.isnan(values)
        if not missing.any():
            return cls(time, values, np.ones((1, len(time)), dtype=bool))
        filled = np.where(missing, np.float32(0), values)
        return cls(time, filled, ~missing[:1] if (missing == missing[0]).all() else ~missing)


class Stretches(NamedTuple):
    """Statistics of each stretch and shape, NaN where no frame was tracked."""

    mean: np.ndarray  # (stretch, blend_shape) float64
    tracked: np.ndarray  # (stretch, blend_shape) number of frames tracked
    extra: np.ndarray  # (stretch, blend_shape) the peak, or the population sd


def frames_between(time: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first frame of each stretch and the first after it."""
    return np.searchsorted(time, start - EDGE), np.searchsorted(time, stop - EDGE)


def due_times(time: np.ndarray, rate: float, *, begin: float, end: float) -> np.ndarray:
    """When frames were due (s) between `begin` and `end`: those that came, those lost, those outside.

    Parameters
    ----------
    time : (time,) s, of the frames that came.
    rate : Hz, nominal. A step of at least one and a half frames is a hole.
    """
    step = 1.0 / rate
    lost = np.maximum(np.rint(np.diff(time) * rate).astype(np.int64) - 1, 0)
    before = time[0] - step * np.arange(max(0, int((time[0] - begin) * rate)) + 1, 0, -1)
    after = time[-1] + step * np.arange(1, max(0, int((end - time[-1]) * rate)) + 2)
    if not lost.any():
        return np.concatenate([before, time, after])
    hole = np.repeat(np.arange(len(lost)), lost)
    number = np.arange(len(hole)) - np.repeat(np.cumsum(lost) - lost, lost) + 1
    inside = time[hole] + (time[hole + 1] - time[hole]) * number / (lost[hole] + 1)
    return np.concatenate([before, np.insert(time, hole + 1, inside), after])


def stretches(
    frames: Frames, start: np.ndarray, stop: np.ndarray, *, extra: Literal["peak", "sd"]
) -> Stretches:
    """The statistics of the stretches [start, stop) (s), which may overlap and reach beyond the recording."""
    first, last = frames_between(frames.time, start, stop)
    length = last - first
    before = np.zeros((len(frames.tracked), len(frames.time) + 1), dtype=np.int64)
    np.cumsum(frames.tracked, axis=1, out=before[:, 1:])
    tracked = np.broadcast_to((before[:, last] - before[:, first]).T, (len(first), len(frames.values)))
    # The frames of all stretches one after another: what lies between them is not touched.
    inside = np.repeat(first - (np.cumsum(length) - length), length) + np.arange(length.sum())
    values = np.take(frames.values, inside, axis=1)
    mean = _over_stretches(np.add, values, length) / np.where(tracked == 0, np.nan, tracked)
    if extra == "sd":
        squares = _over_stretches(np.add, values.astype(np.float64) ** 2, length) / np.maximum(tracked, 1)
        return Stretches(mean, tracked, np.sqrt(np.maximum(squares - mean**2, 0.0)))
    if not frames.tracked.all():
        values = np.where(np.take(frames.tracked, inside, axis=1), values, np.float32(-np.inf))
    peak = _over_stretches(np.maximum, values, length, dtype=np.float32)
    return Stretches(mean, tracked, np.where(tracked == 0, np.float32(np.nan), peak))


def _over_stretches(
    function: np.ufunc, values: np.ndarray, length: np.ndarray, dtype: type = np.float64
) -> np.ndarray:
    """`function` over stretches of `length` frames, one after another, (stretch, blend_shape); 0 for an empty one."""
    result = np.zeros((len(length), len(values)), dtype=dtype)
    some = length > 0
    if some.any():
        begin = (np.cumsum(length) - length)[some]
        result[some] = function.reduceat(values, begin, axis=1, dtype=dtype).T
    return result
