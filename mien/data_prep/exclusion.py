"""The rules that mark rows: each row has the first reason that applies, in the order of REASONS, or "".

Nothing is dropped: a marked row keeps its numbers, models leave it out, and every mark is counted. What is left
unmarked always has an activation.

rule                marks                      when
previous_stimulus   the trial                  its baseline window reaches into an earlier stimulus by more than a frame
tracking_lost       the trial, by shape        fewer than this share of the frames of its window were tracked
too_few_frames      the trial, by shape        … of the frames of its baseline window, when that is subtracted
moving_baseline     the trial, by shape        the sd within the baseline window is above this (not gaze, not blinks)
next_stimulus       the bin                    it reaches into a later stimulus by more than a frame
too_few_frames      the bin, by shape          fewer than this share of its frames were tracked
outlier_mad         the trial, by shape        the trial's mean is this many robust sds from the person's median
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mien.data_prep.measure import Measured
from mien.data_prep.recipe import Exclusion
from mien.data_prep.windows import Windows
from mien.study.blend_shapes import SET_APART
from mien.study.trials import SERIES_KEY, mean_over_bins, row_codes

__all__ = ["NO_VARIATION", "OUTLIER", "REASONS", "Overlaps", "mark_rows", "outliers", "overlaps"]

PREVIOUS_STIMULUS = "baseline in an earlier stimulus"
TRACKING_LOST = "tracking lost"
BASELINE_LOST = "baseline lost"
MOVING_BASELINE = "moving baseline"
NEXT_STIMULUS = "in a later stimulus"
TOO_FEW_FRAMES = "too few frames"
OUTLIER = "outlier"
NO_VARIATION = "no variation to scale by"
REASONS = (
    "", PREVIOUS_STIMULUS, TRACKING_LOST, BASELINE_LOST, MOVING_BASELINE, NEXT_STIMULUS, TOO_FEW_FRAMES, OUTLIER,
    NO_VARIATION,
)  # fmt: skip

# A robust sd below this (coefficient units) is taken as this: in a shape that rests at 0 the median absolute
# deviation is 0, and every movement would be an outlier.
SMALLEST_SPREAD = 0.01
FEWEST_TRIALS = 8  # a median absolute deviation of fewer is mostly chance
MAD_TO_SD = 1.4826  # sd of a normal distribution over its median absolute deviation


class Overlaps(NamedTuple):
    """Which windows reach into other stimuli."""

    baseline: np.ndarray  # (trial,) bool
    bin: np.ndarray  # (bin,) bool


def overlaps(onset: np.ndarray, end: np.ndarray, plan: Windows, *, frame: float) -> Overlaps:
    """Windows that reach into an earlier or later stimulus by more than a frame.

    Parameters
    ----------
    onset, end : (trial,) s, in the order of onsets.
    frame : s, how long a frame lasts.
    """
    latest_end = np.concatenate([[-np.inf], np.maximum.accumulate(end)[:-1]])
    next_onset = np.concatenate([onset[1:], [np.inf]])
    return Overlaps(plan.baseline_start < latest_end - frame, plan.stop > next_onset[plan.trial] + frame)


def mark_rows(
    rules: Exclusion,
    measured: Measured,
    trial: np.ndarray,
    *,
    overlap: Overlaps,
    baseline_is_subtracted: bool,
    activation: np.ndarray,
) -> np.ndarray:
    """The reason of each bin and shape, as its number in REASONS.

    Parameters
    ----------
    trial : (bin,) which trial.
    activation : (bin, blend_shape), corrected; where it is missing the row is marked in any case.

    Returns
    -------
    (bin, blend_shape) int8.
    """
    codes = np.zeros(activation.shape, dtype=np.int8)
    tracked_baseline = measured.tracked_baseline()

    def mark(reason: str, rows: np.ndarray) -> None:
        codes[(codes == 0) & rows] = REASONS.index(reason)

    if rules.previous_stimulus:
        mark(PREVIOUS_STIMULUS, overlap.baseline[trial][:, None])
    if rules.tracking_lost is not None:
        mark(TRACKING_LOST, (measured.tracked_trial(trial) < rules.tracking_lost)[trial])
    if baseline_is_subtracted:
        fewest = rules.too_few_frames or 0.0
        mark(BASELINE_LOST, ((tracked_baseline < fewest) | (tracked_baseline == 0))[trial])
    if rules.moving_baseline is not None:
        judged = np.array([name not in SET_APART for name in measured.names])
        mark(MOVING_BASELINE, ((measured.baselines.extra > rules.moving_baseline) & judged)[trial])
    if rules.next_stimulus:
        mark(NEXT_STIMULUS, overlap.bin[:, None])
    if rules.too_few_frames is not None:
        mark(TOO_FEW_FRAMES, measured.tracked_bin() < rules.too_few_frames)
    mark(TOO_FEW_FRAMES, np.isnan(activation))
    return codes


def outliers(trials: pd.DataFrame, limit: float) -> np.ndarray:
    """Which rows belong to a trial whose mean is an outlier among this person's, shape by shape.

    A trial's mean over its kept bins is compared with the median of the same participant, session, task, medium and
    shape, in robust standard deviations (1.4826 times the median absolute deviation, at least SMALLEST_SPREAD).
    Fewer than FEWEST_TRIALS trials are not judged.
    """
    kept = trials.loc[(trials["excluded"] == "").to_numpy()]
    if kept.empty:
        return np.zeros(len(trials), dtype=bool)
    by = ["participant", "session", "task", "medium", "blend_shape"]
    means = mean_over_bins(kept).astype({"activation": "float64"})
    activation = means["activation"].to_numpy()
    median = means.groupby(by, observed=True)["activation"].transform("median")
    means["distance"] = np.abs(activation - median.to_numpy())
    groups = means.groupby(by, observed=True)["distance"]
    spread = np.maximum(MAD_TO_SD * groups.transform("median").to_numpy(), SMALLEST_SPREAD)
    judged = groups.transform("size").to_numpy() >= FEWEST_TRIALS
    far = judged & (means["distance"].to_numpy() > limit * spread)
    series = row_codes(kept, SERIES_KEY)  # in the order of first occurrence, as mean_over_bins gives them
    result = np.zeros(len(trials), dtype=bool)
    result[(trials["excluded"] == "").to_numpy()] = far[series]
    return result
