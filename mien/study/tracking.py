"""Frames in which the face was not tracked, where the format has no flag for it.

Live Link Face goes on writing the last pose when it loses the face. Measured coefficients change in every frame,
so six or more identical rows in succession are a stalled tracker (a tenth of a second at 60 Hz).
"""

from typing import TYPE_CHECKING

import numpy as np

from mien.study.recording import RecordingArrays, arrays_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FROZEN_FRAMES", "frozen_frames"]

FROZEN_FRAMES = 6


def frozen_frames(recording: "xr.Dataset | RecordingArrays", *, at_least: int = FROZEN_FRAMES) -> np.ndarray:
    """Which frames belong to a run of `at_least` or more identical rows.

    Rows are identical when all shapes, and the head where there is one, are the same to the bit; a row with a
    missing value is equal to no other.

    Returns
    -------
    (time,) bool, true for every row of such a run, the first included.
    """
    arrays = arrays_of(recording)
    activation = arrays.activation
    repeats = np.zeros(
        len(activation) + 1, dtype=bool
    )  # row i is the same as row i - 1; false beyond both ends
    # Few rows repeat their first shape, and only these are compared in full.
    rows = np.flatnonzero(activation[1:, 0] == activation[:-1, 0]) + 1
    for block in (activation, activation[:, :0] if arrays.head is None else arrays.head):
        rows = rows[(block[rows] == block[rows - 1]).all(axis=1)]
    repeats[rows] = True
    edges = np.flatnonzero(np.diff(repeats.astype(np.int8), prepend=np.int8(0))).reshape(-1, 2)
    begin, end = edges[:, 0] - 1, edges[:, 1]
    long = end - begin >= at_least
    change = np.zeros(len(repeats), dtype=np.int64)
    change[begin[long]] += 1
    change[end[long]] -= 1
    return np.cumsum(change[:-1]) > 0
