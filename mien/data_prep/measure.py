"""What one recording shows in each bin and each baseline window, before any decision about it."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from mien.data_prep.segments import EDGE, Frames, Stretches, due_times, frames_between, stretches
from mien.data_prep.sides import combine_sides
from mien.data_prep.windows import Windows
from mien.study.errors import RecordingError
from mien.study.recording import RecordingArrays
from mien.study.tracking import frozen_frames

__all__ = ["Measured", "measure"]


class Measured(NamedTuple):
    """Statistics of one recording by bin, baseline window and outcome."""

    names: tuple[str, ...]  # the outcomes, (blend_shape,)
    missing: tuple[str, ...]  # outcomes that the recording cannot give
    bins: Stretches  # (bin, blend_shape), extra = peak
    baselines: Stretches  # (trial, blend_shape), extra = sd
    due_bin: np.ndarray  # (bin,) frames that were due
    due_baseline: np.ndarray  # (trial,)
    frozen: int  # frames in frozen stretches
    lost: int  # frames dropped between the first and the last

    def tracked_bin(self) -> np.ndarray:
        """Share of the frames of each bin that were tracked, (bin, blend_shape)."""
        return _share(self.bins.tracked, self.due_bin)

    def tracked_baseline(self) -> np.ndarray:
        """Share of the frames of each baseline window that were tracked, (trial, blend_shape)."""
        return _share(self.baselines.tracked, self.due_baseline)

    def tracked_trial(self, trial: np.ndarray) -> np.ndarray:
        """Share of the frames of each trial's window that were tracked; `trial` (bin,) stands trial by trial."""
        begin = np.flatnonzero(np.diff(trial, prepend=-1))
        return _share(np.add.reduceat(self.bins.tracked, begin), np.add.reduceat(self.due_bin, begin))


def measure(
    recording: RecordingArrays,
    plan: Windows,
    *,
    sides: str,
    only: Collection[str] | None = None,
    where: str = "recording",
) -> Measured:
    """Means, sds, peaks and numbers of tracked and due frames; frozen stretches count as not tracked.

    Parameters
    ----------
    only : outcomes to measure; None measures all.

    Raises
    ------
    RecordingError
        When the recording holds none of the outcomes.
    """
    time, activation = recording.time, recording.activation
    frozen = frozen_frames(recording)
    if frozen.any():
        activation = np.where(frozen[:, None], np.float32(np.nan), activation)
    outcomes = combine_sides(activation, list(recording.blend_shape), sides, only=only)
    if not outcomes.names:
        raise RecordingError(
            f"{where}: expected blend shapes that sides = '{sides}' can use, found none: change 'sides' in the recipe."
        )
    frames = Frames.of(time, outcomes.values)
    rate = float(recording.attrs["nominal_rate"])
    begin, end = min(plan.baseline_start.min(), time[0]), max(plan.stop.max(), time[-1])
    due = due_times(time, rate, begin=float(begin), end=float(end))
    whole = _number(due, time[:1], time[-1:] + 2 * EDGE)
    return Measured(
        names=outcomes.names,
        missing=outcomes.missing,
        bins=stretches(frames, plan.start, plan.stop, extra="peak"),
        baselines=stretches(frames, plan.baseline_start, plan.baseline_stop, extra="sd"),
        due_bin=_number(due, plan.start, plan.stop),
        due_baseline=_number(due, plan.baseline_start, plan.baseline_stop),
        frozen=int(frozen.sum()),
        lost=int(whole[0]) - len(time),
    )


def _number(due: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    first, last = frames_between(due, start, stop)
    return last - first


def _share(tracked: np.ndarray, due: np.ndarray) -> np.ndarray:
    due = np.broadcast_to(due[:, None], tracked.shape)
    return np.divide(tracked, due, out=np.zeros(tracked.shape), where=due > 0)
