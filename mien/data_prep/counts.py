"""What was kept and what was marked, counted: the numbers of prep.json, as plain JSON types.

A trial is kept when at least one of its rows is. Under a reason stand the rows marked with it and the trials with at
least one such row. The valid share is the share of due frames that were tracked, over all rows, marked ones
included: lost tracking is an outcome of its own.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.study.trials import row_codes

__all__ = ["Tally", "count_by", "count_by_shape", "count_rows", "tally"]

_TRIAL = ("participant", "session", "task", "run", "trial")


class Tally(NamedTuple):
    """A table's rows by trial and reason, and by shape and reason: all that counting needs, in few numbers."""

    reasons: tuple[str, ...]  # that occur, "" among them
    trials: pd.DataFrame  # one row a trial, with its factors
    rows: np.ndarray  # (trial, reason)
    frames: np.ndarray  # (trial, due | tracked)
    shapes: tuple[str, ...]
    shape_rows: np.ndarray  # (blend_shape, reason)
    shape_trials: np.ndarray  # (blend_shape, reason) trials with such a row
    shape_frames: np.ndarray  # (blend_shape, due | tracked)


def tally(trials: pd.DataFrame) -> Tally:
    """Count a Trials table once, for all the counts below."""
    trial = row_codes(trials, _TRIAL)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(trial), prepend=-1))
    marked, found = pd.factorize(trials["excluded"])
    reasons = ("", *(str(reason) for reason in found if reason != ""))
    reason = np.array([reasons.index(str(one)) for one in found], dtype=np.int64)[marked]
    shape, shapes = trials["blend_shape"].cat.codes.to_numpy(np.int64), trials["blend_shape"].cat.categories
    due = trials["n_frames"].to_numpy(np.float64)
    weights = np.stack([due, due * trials["valid"].to_numpy(np.float64)])
    of_shape = np.zeros((len(shapes), len(reasons)), dtype=np.int64)
    for kind in range(len(reasons)):
        seen = np.zeros((len(first), len(shapes)), dtype=bool)
        seen[trial[reason == kind], shape[reason == kind]] = True
        of_shape[:, kind] = seen.sum(axis=0)
    return Tally(
        reasons=reasons,
        trials=trials.iloc[first].reset_index(drop=True),
        rows=_table(trial, reason, len(first), len(reasons)),
        frames=np.stack([np.bincount(trial, one, len(first)) for one in weights], axis=1),
        shapes=tuple(map(str, shapes)),
        shape_rows=_table(shape, reason, len(shapes), len(reasons)),
        shape_trials=of_shape,
        shape_frames=np.stack([np.bincount(shape, one, len(shapes)) for one in weights], axis=1),
    )


def count_rows(counted: Tally) -> dict[str, Any]:
    """The counts of the whole table.

    Returns
    -------
    dict with trials, trials_kept, rows, rows_kept, valid_share and by_reason ({reason: {rows, trials}}).
    """
    return _counts(counted, np.ones(len(counted.rows), dtype=bool))


def count_by(counted: Tally, columns: Sequence[str]) -> list[dict[str, Any]]:
    """`count_rows` for each combination of `columns`, factors of trials, in the order of their categories."""
    group = row_codes(counted.trials, columns)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(group), prepend=-1))
    factors = [pd.Categorical(counted.trials[name].iloc[first]) for name in columns]
    order = np.lexsort([factor.codes for factor in reversed(factors)])
    return [
        {name: str(factor[index]) for name, factor in zip(columns, factors, strict=True)}
        | _counts(counted, group == index)
        for index in order
    ]


def count_by_shape(counted: Tally) -> list[dict[str, Any]]:
    """`count_rows` for each blend shape."""
    every = len(counted.rows)
    parts = (counted.shapes, counted.shape_rows, counted.shape_trials, counted.shape_frames)
    return [
        {"blend_shape": name} | _entry(counted.reasons, every, rows, trials, frames)
        for name, rows, trials, frames in zip(*parts, strict=True)
        if rows.sum()
    ]


def _table(one: np.ndarray, other: np.ndarray, ones: int, others: int) -> np.ndarray:
    return np.bincount(one * others + other, minlength=ones * others).reshape(ones, others)


def _counts(counted: Tally, of: np.ndarray) -> dict[str, Any]:
    rows = counted.rows[of]
    frames = counted.frames[of].sum(axis=0)
    return _entry(counted.reasons, len(rows), rows.sum(axis=0), (rows > 0).sum(axis=0), frames)


def _entry(
    reasons: tuple[str, ...], every: int, rows: np.ndarray, trials: np.ndarray, frames: np.ndarray
) -> dict[str, Any]:
    """One entry; `rows` and `trials` by reason, the kept ones first."""
    return {
        "trials": every,
        "trials_kept": int(trials[0]),
        "rows": int(rows.sum()),
        "rows_kept": int(rows[0]),
        "valid_share": round(float(frames[1] / frames[0]), 6) if frames[0] else 0.0,
        "by_reason": {
            reason: {"rows": int(rows[kind]), "trials": int(trials[kind])}
            for reason, kind in sorted(zip(reasons[1:], range(1, len(reasons)), strict=True))
            if rows[kind]
        },
    }
