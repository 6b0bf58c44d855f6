"""Where each trial's bins and baseline lie, in seconds of the recording.

Bins are of the recipe's width from the start of the window. What is left at its end is a bin of its own when
it is at least half a bin wide and belongs to the last bin otherwise, so that every frame of the window counts:
a window of 6.3 s at 0.5 s has 13 bins, the last 0.3 s wide; one of 6.2 s has 12, the last 0.7 s wide.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mien.data_prep.recipe import Recipe
from mien.study.errors import SpecError

__all__ = ["Windows", "windows_of"]

# A remainder of exactly half a bin must count as one whatever the last bits of a duration are.
ROUNDING = 1e-9
MOST_BINS = 32_767  # of a trial: bins are numbered in int16


class Windows(NamedTuple):
    """Times in s of the recording; `trial` indexes the events."""

    trial: np.ndarray  # (bin,) which event
    bin: np.ndarray  # (bin,) number within the trial, from 1
    start: np.ndarray  # (bin,)
    stop: np.ndarray  # (bin,) not included
    centre: np.ndarray  # (bin,) s from stimulus onset
    baseline_start: np.ndarray  # (trial,)
    baseline_stop: np.ndarray  # (trial,) not included


def windows_of(trials: pd.DataFrame, recipe: Recipe, *, task: str, where: str = "events") -> Windows:
    """The windows of the events in `trials` (columns onset, duration in s, and medium).

    Raises
    ------
    SpecError
        Where a window begins after its stimulus has ended, or holds more bins than can be numbered.
    """
    onset = trials["onset"].to_numpy(dtype=np.float64)
    duration = trials["duration"].to_numpy(dtype=np.float64)
    media = [str(medium) for medium in trials["medium"]]
    first, last = _ends(media, duration, recipe, task=task, where=where)
    width = np.array([recipe.bin_of(medium, task) for medium in media])
    count = np.maximum(1, np.floor((last - first) / width + 0.5 + ROUNDING).astype(np.int64))
    if count.max() > MOST_BINS:
        event = int(count.argmax())
        raise SpecError(
            f"{where}, trial {event + 1}: expected at most {MOST_BINS} bins in a trial, found {count[event]} of "
            f"{width[event]:g} s: make key 'bin' of the recipe longer, or end its window earlier."
        )
    trial = np.repeat(np.arange(len(onset)), count)
    number = np.arange(len(trial)) - np.repeat(np.cumsum(count) - count, count)
    from_onset = first[trial] + number * width[trial]
    to_onset = np.where(number == count[trial] - 1, last[trial], from_onset + width[trial])
    baseline = np.array([recipe.baseline_of(medium, task) for medium in media]).reshape(-1, 2)
    return Windows(
        trial=trial,
        bin=number + 1,
        start=onset[trial] + from_onset,
        stop=onset[trial] + to_onset,
        centre=(from_onset + to_onset) / 2,
        baseline_start=onset + baseline[:, 0],
        baseline_stop=onset + baseline[:, 1],
    )


def _ends(
    media: list[str], duration: np.ndarray, recipe: Recipe, *, task: str, where: str
) -> tuple[np.ndarray, np.ndarray]:
    pairs = [recipe.window_of(medium, task) for medium in media]
    first = np.array([start for start, _ in pairs], dtype=np.float64)
    last = np.array(
        [long if end == "end" else end for (_, end), long in zip(pairs, duration, strict=True)],
        dtype=np.float64,
    )
    if not (last > first).all():
        event = int(np.flatnonzero(~(last > first))[0])
        raise SpecError(
            f"{where}, trial {event + 1}: expected a stimulus that outlasts the start of its window "
            f"({first[event]:g} s), found {duration[event]:g} s: correct the duration, or key 'window' of the recipe."
        )
    return first, last
