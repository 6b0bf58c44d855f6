"""What is subtracted from the mean of a bin.

subtract   the mean of the trial's own baseline window (the change score).
neutral    the person's neutral mean in this recording: over all frames of its baseline windows that do not reach
           into an earlier stimulus, or over all frames of its trials of neutral valence. One number a shape,
           so a slow drift of the face stays in, and the error of one short baseline does not enter each trial.
           Eyelids are left alone: the resting lid is not zero, and blinks vanish when it is subtracted.
none       nothing.
"""

import numpy as np

from mien.data_prep.recipe import Recipe
from mien.data_prep.segments import Stretches
from mien.study.blend_shapes import bilateral_name
from mien.study.blend_shapes import members as members_of
from mien.study.errors import SpecError

__all__ = ["EYELIDS", "neutral_mean", "subtracted"]

EYELIDS = ("eyeBlink", "eyeSquint", "eyeWide")


def subtracted(
    recipe: Recipe, names: tuple[str, ...], baseline: np.ndarray, neutral: np.ndarray
) -> np.ndarray:
    """What to subtract in each trial and shape, (trial, blend_shape).

    Parameters
    ----------
    baseline : (trial, blend_shape) means of the baseline windows.
    neutral : (blend_shape,) the person's neutral mean.
    """
    if recipe.baseline_correction == "subtract":
        return baseline
    if recipe.baseline_correction == "none":
        return np.zeros_like(baseline)
    lids = np.array([bilateral_name(members_of(name)[0]) in EYELIDS for name in names])
    return np.broadcast_to(np.where(lids, 0.0, neutral), baseline.shape)


def neutral_mean(
    recipe: Recipe,
    baselines: Stretches,
    bins: Stretches,
    *,
    at_rest: np.ndarray,
    in_neutral_trial: np.ndarray,
    where: str,
) -> np.ndarray:
    """The neutral mean of each shape over frames, (blend_shape,); NaN where no frame was tracked.

    Parameters
    ----------
    at_rest : (trial,) whether the baseline window lies outside every earlier stimulus.
    in_neutral_trial : (bin,) whether the bin belongs to a trial of neutral valence.

    Raises
    ------
    SpecError
        When the recipe takes neutral trials and the recording has none.
    """
    if recipe.neutral == "baselines":
        return _mean_over_frames(baselines, at_rest)
    if recipe.baseline_correction == "neutral" and not in_neutral_trial.any():
        raise SpecError(
            f"{where}: the recipe takes the neutral mean from trials of neutral valence (neutral = 'neutral_trials'), "
            "found none: use neutral = 'baselines'."
        )
    return _mean_over_frames(bins, in_neutral_trial)


def _mean_over_frames(stretches: Stretches, use: np.ndarray) -> np.ndarray:
    frames = stretches.tracked[use].sum(axis=0)
    sums = np.nansum(stretches.mean[use] * stretches.tracked[use], axis=0)
    return np.divide(sums, frames, out=np.full(frames.shape, np.nan), where=frames > 0)
