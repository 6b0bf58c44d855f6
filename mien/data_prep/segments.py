"""Means, peaks and tracked shares of many stretches of a recording at once.

A stretch is [start, stop) in seconds. A frame belongs to it when start <= time < stop, with both ends moved back by
a microsecond, so that a frame taken at an edge falls on the same side whatever the last bits of its time.
Frames are kept shape by shape, each a contiguous row, and summed in float64 by `reduceat`: no loop over frames,
bins or trials. NaN = not tracked.

A frame that was lost left a hole in `time`. `due_times` fills the holes at the nominal rate, and goes on beyond
both ends of the recording: a frame that is due but was not tracked lowers the tracked share of its bin, whether
it came as NaN, was dropped, or would have come after the recording had been stopped.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["EDGE", "Frames", "Stretches", "due_times", "frames_between", "stretches"]

EDGE = 1e-6  # s


class Frames(NamedTuple):
    """The frames of a recording, ready to be summed."""

    time: np.ndarray  # (time,) s
    values: np.ndarray  # (blend_shape, time) float32, contiguous rows, NaN = not tracked


class Stretches(NamedTuple):
    """Statistics of each stretch and shape."""

    mean: np.ndarray  # (stretch, blend_shape) float64, NaN where no frame was tracked
    sd: np.ndarray  # (stretch, blend_shape) float64, population sd; NaN where not asked for or no frame
    peak: np.ndarray  # (stretch, blend_shape) float32, NaN where no frame was tracked
    tracked: np.ndarray  # (stretch, blend_shape) number of frames tracked


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


def stretches(frames: Frames, start: np.ndarray, stop: np.ndarray, *, spread: bool = False) -> Stretches:
    """The statistics of the stretches [start, stop) (s); the sd only where `spread` is true."""
    first, last = frames_between(frames.time, start, stop)
    missing = np.isnan(frames.values)
    whole = not missing.any()
    filled = frames.values if whole else np.where(missing, np.float32(0), frames.values)
    empty = last <= first
    if whole:
        tracked = np.broadcast_to((last - first)[:, None], (len(first), len(frames.values)))
    else:
        tracked = _reduce(np.add, (~missing).astype(np.int32), first, last, np.int64)
    none = (tracked == 0) | empty[:, None]
    number = np.where(none, 1, tracked)
    mean = np.where(none, np.nan, _reduce(np.add, filled, first, last, np.float64) / number)
    lowest = frames.values if whole else np.where(missing, np.float32(-np.inf), frames.values)
    peak = np.where(none, np.float32(np.nan), _reduce(np.maximum, lowest, first, last, np.float32))
    sd = np.full_like(mean, np.nan)
    if spread:
        squares = _reduce(np.add, filled.astype(np.float64) ** 2, first, last, np.float64) / number
        sd = np.sqrt(np.maximum(squares - np.where(none, np.nan, mean) ** 2, 0.0))
    return Stretches(mean, sd, peak, np.where(empty[:, None], 0, tracked))


def _reduce(
    function: np.ufunc, values: np.ndarray, first: np.ndarray, last: np.ndarray, dtype: type
) -> np.ndarray:
    """`function` over each [first, last), (stretch, blend_shape); what an empty stretch gives means nothing."""
    length = values.shape[1]
    ends = np.stack([np.minimum(first, length - 1), np.minimum(last, length)], axis=1).ravel()
    to_the_end = ends == length  # reduceat takes no index one past the end: the last pair may leave it out
    if not to_the_end.any():
        return function.reduceat(values, ends, axis=1, dtype=dtype)[:, ::2].T
    padded = np.concatenate([values, values[:, -1:]], axis=1)
    return function.reduceat(padded, ends, axis=1, dtype=dtype)[:, ::2].T
