"""Frames in which the face was not tracked, where the format has no flag for it.

Live Link Face goes on writing the last pose when it loses the face. Measured coefficients change in every frame,
so a run of six or more identical rows is a stalled tracker (a tenth of a second at 60 Hz; shorter repeats occur
where the receiver is faster than the camera).
"""

import numpy as np

__all__ = ["FROZEN_FRAMES", "frozen_frames"]

FROZEN_FRAMES = 6


def frozen_frames(activation: np.ndarray, *, at_least: int = FROZEN_FRAMES) -> np.ndarray:
    """Which frames belong to a run of `at_least` or more identical rows.

    Parameters
    ----------
    activation : (time, blend_shape); a row with a NaN is equal to no other.

    Returns
    -------
    (time,) bool, true for every row of such a run, the first included.
    """
    same = np.zeros(
        len(activation) + 1, dtype=bool
    )  # same[i]: row i repeats row i - 1; false beyond both ends
    if len(activation) > 1 and activation.shape[1]:
        candidates = np.flatnonzero(activation[1:, 0] == activation[:-1, 0])
        equal = (activation[candidates + 1] == activation[candidates]).all(axis=1)
        same[candidates[equal] + 1] = True
    edges = np.diff(same.astype(np.int8), prepend=np.int8(0))
    begin, end = np.flatnonzero(edges == 1) - 1, np.flatnonzero(edges == -1)
    long = end - begin >= at_least
    change = np.zeros(len(activation) + 1, dtype=np.int64)
    change[begin[long]] += 1
    change[end[long]] -= 1
    return np.cumsum(change[:-1]) > 0
