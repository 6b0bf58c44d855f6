"""Equal first seconds: what films and pictures can be compared by.

A film lasts longer than a picture, and faces answer early and fade: the mean over a whole film and that over a whole
picture are means of different stretches of a course.
"""

from typing import cast

import numpy as np
import pandas as pd

from mien.study.errors import TrialsError
from mien.study.trials import SERIES_KEY, row_codes

__all__ = ["ends_of_bins", "first_seconds"]

SLACK = 1e-3  # s; centres of bins are float32


def first_seconds(trials: pd.DataFrame, seconds: float | None = None) -> pd.DataFrame:
    """The bins that end within the first seconds of each trial.

    Parameters
    ----------
    trials : a Trials table with bins.
    seconds : from onset; None takes the median duration of the medium with the shortest one.

    Returns
    -------
    A Trials table. Trials that are shorter than `seconds` keep what they have. `peak` stays that of the bins kept.

    Raises
    ------
    TrialsError
        When no bin ends within them: bins are wider, or trials were averaged already.
    """
    lacking = [name for name in ("participant", "trial", "bin", "time") if name not in trials.columns]
    if lacking:
        raise TrialsError(f"trials: expected a Trials table with bins, found no column {lacking[0]!r}.")
    trial = _trials(trials)
    end = ends_of_bins(
        trial, trials["bin"].to_numpy(dtype=np.int64), trials["time"].to_numpy(dtype=np.float64)
    )
    limit = _shortest(trials, trial, end) if seconds is None else float(seconds)
    keep = end <= limit + SLACK
    if not keep.any():
        raise TrialsError(
            f"first_seconds: expected bins that end within {limit:g} s, found none: the first one ends at "
            f"{end.min():g} s; prepare narrower bins, or ask for more seconds."
        )
    kept = cast(pd.DataFrame, trials[keep]).reset_index(drop=True)
    kept.attrs.update(trials.attrs)
    return kept


def _trials(trials: pd.DataFrame) -> np.ndarray:
    return row_codes(
        trials, [name for name in SERIES_KEY if name in trials.columns and name != "blend_shape"]
    )


def ends_of_bins(trial: np.ndarray, number: np.ndarray, time: np.ndarray) -> np.ndarray:
    """(row,) s from onset to the end of each row's bin.

    Parameters
    ----------
    trial : (row,) codes from 0; number : (row,) of the bin; time : (row,) its centre, s.

    Bins of a trial are equally wide but for the last, which begins where the one before ends. A trial of one or two
    bins begins at the onset.
    """
    most = int(number.max(initial=0)) + 1
    cells, first, row = np.unique(trial * most + number, return_index=True, return_inverse=True)
    of, bins, centre = cells // most, cells % most, time[first]
    begins = np.flatnonzero(np.diff(of, prepend=-1))
    count = np.diff(begins, append=len(of))
    follow = np.minimum(begins + 1, len(of) - 1)
    steps = np.maximum(bins[follow] - bins[begins], 1)
    width = np.where(count > 2, (centre[follow] - centre[begins]) / steps, 2.0 * centre[begins])
    end = centre + np.repeat(width, count) / 2.0
    last = (begins + count - 1)[count > 1]
    joined = last[bins[last] - bins[last - 1] == 1]
    end[joined] = 2.0 * centre[joined] - end[joined - 1]
    return end[row]


def _shortest(trials: pd.DataFrame, trial: np.ndarray, end: np.ndarray) -> float:
    """The median duration of trials of the medium with the shortest ones, s."""
    last = np.full(int(trial.max(initial=-1)) + 1, -np.inf)
    np.fmax.at(last, trial, end)
    if "medium" not in trials.columns:
        return float(np.median(last))
    first = np.unique(trial, return_index=True)[1]
    medium = trials["medium"].astype("str").to_numpy(dtype=object)[first]
    return float(min(np.median(last[medium == level]) for level in set(medium)))
