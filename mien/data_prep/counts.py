"""What was kept and what was marked, counted: the numbers of prep.json, as plain JSON types.

A trial is kept when at least one of its rows is. Under a reason stand the rows marked with it and the trials with at
least one such row. The valid share is the share of due frames that were tracked, over all rows, marked ones
included: lost tracking is an outcome of its own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["count_by", "count_rows"]

_TRIAL = ["participant", "session", "task", "run", "trial"]


def count_rows(trials: pd.DataFrame) -> dict[str, Any]:
    """The counts of a whole table.

    Returns
    -------
    dict with trials, trials_kept, rows, rows_kept, valid_share and by_reason ({reason: {rows, trials}}).
    """
    return _count(_Coded(trials), np.ones(len(trials), dtype=bool))


def count_by(trials: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """`count_rows` for each combination of `columns` that occurs, in their order."""
    coded = _Coded(trials)
    groups = trials.groupby(list(columns), observed=True, sort=True)
    number = groups.ngroup().to_numpy()
    levels = groups.size().index
    result = []
    for index, level in enumerate(levels):
        names = level if isinstance(level, tuple) else (level,)
        labels = {column: str(name) for column, name in zip(columns, names, strict=True)}
        result.append(labels | _count(coded, number == index))
    return result


class _Coded:
    """The columns that are counted, as numbers."""

    def __init__(self, trials: pd.DataFrame) -> None:
        self.trial = trials.groupby(_TRIAL, observed=True, sort=False).ngroup().to_numpy()
        self.reason, self.reasons = pd.factorize(trials["excluded"], sort=True)
        self.due = trials["n_frames"].to_numpy(dtype=np.float64)
        self.tracked = self.due * trials["valid"].to_numpy(dtype=np.float64)


def _count(coded: _Coded, rows: np.ndarray) -> dict[str, Any]:
    trial, reason = coded.trial[rows], coded.reason[rows]
    by_reason = {}
    trials_kept = rows_kept = 0
    for index, name in enumerate(coded.reasons):
        here = trial[reason == index]
        if name == "":
            rows_kept, trials_kept = len(here), len(np.unique(here))
        elif len(here):
            by_reason[str(name)] = {"rows": len(here), "trials": len(np.unique(here))}
    due = float(coded.due[rows].sum())
    return {
        "trials": len(np.unique(trial)),
        "trials_kept": trials_kept,
        "rows": len(trial),
        "rows_kept": rows_kept,
        "valid_share": round(float(coded.tracked[rows].sum()) / due, 6) if due else 0.0,
        "by_reason": by_reason,
    }
