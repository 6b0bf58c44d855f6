"""The Trials table: built from arrays for one recording, and put together from several."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from mien.data_prep.exclusion import REASONS
from mien.data_prep.measure import Measured
from mien.data_prep.windows import Windows
from mien.study.errors import TrialsError
from mien.study.events import OWN_COLUMNS
from mien.study.recording import TRACKERS
from mien.study.trials import TRIAL_COLUMNS

__all__ = ["LISTED_DURATION", "build_table", "put_together"]

LISTED_DURATION = "duration_in_stimuli_table"  # a column of ours beside the events', not carried
_LABELS = ("participant", "session", "task", "run")
_FACTORS = frozenset(name for name, dtype in TRIAL_COLUMNS.items() if dtype == "category")


def build_table(
    measured: Measured,
    plan: Windows,
    trials: pd.DataFrame,
    *,
    activation: np.ndarray,
    codes: np.ndarray,
    constant: Mapping[str, str],
) -> pd.DataFrame:
    """One row a bin and shape, in this order; `trial` from 0."""
    shapes = len(measured.names)
    row_trial = np.repeat(plan.trial, shapes)
    categories = {"tracker": list(TRACKERS)}
    columns: dict[str, Any] = {
        name: pd.Categorical(np.array([label]), categories=categories.get(name, [label])).repeat(
            len(row_trial)
        )
        for name, label in constant.items()
    }
    for name in ("stimulus", "valence", "medium", *_carried_names(trials)):
        columns[name] = _factor(cast(pd.Series, trials[name])).take(row_trial)
    columns["blend_shape"] = pd.Categorical.from_codes(
        np.tile(np.arange(shapes), len(plan.trial)), categories=list(measured.names)
    )
    by_bin = {"trial": plan.trial, "bin": plan.bin, "time": plan.centre, "n_frames": measured.due_bin}
    by_row = {
        "activation": activation,
        "raw": measured.bins.mean,
        "baseline": measured.baselines.mean[plan.trial],
        "peak": measured.bins.extra,
        "valid": measured.tracked_bin(),
    }
    for name, values in by_bin.items():
        columns[name] = np.repeat(values.astype(TRIAL_COLUMNS[name]), shapes)
    for name, values in by_row.items():
        columns[name] = values.astype(np.float32).ravel()
    columns["excluded"] = pd.StringDtype(na_value=np.nan).__from_arrow__(
        pa.array(REASONS).take(codes.ravel())
    )
    order = [*TRIAL_COLUMNS, *_carried_names(trials)]
    return pd.DataFrame({name: columns[name] for name in order}, copy=False)


def _carried_names(trials: pd.DataFrame) -> list[str]:
    """The rating and condition columns of the events."""
    ours = {*OWN_COLUMNS, *TRIAL_COLUMNS, LISTED_DURATION}
    return [str(name) for name in trials.columns if name not in ours]


def _factor(column: pd.Series) -> Any:
    """Text as categories, numbers as they are; a column with nothing in it could be either, and is numbers."""
    if column.isna().all():
        return pd.Series(np.nan, index=column.index).array
    is_text = not pd.api.types.is_numeric_dtype(column) and not isinstance(column.dtype, pd.CategoricalDtype)
    return (column.astype("category") if is_text else column).array


def put_together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table, its categories united: shapes and stimuli in the order they come, labels sorted."""
    if not tables:
        raise TrialsError(
            "trials: expected the trials of at least one recording, found none: import recordings."
        )
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns = {}
    for name in names:
        parts = [
            cast(pd.Series, table[name]) if name in table else pd.Series(np.nan, index=table.index)
            for table in tables
        ]
        is_factor = name in _FACTORS or any(isinstance(part.dtype, pd.CategoricalDtype) for part in parts)
        columns[name] = _united(parts, name) if is_factor else pd.concat(parts, ignore_index=True).array
    return pd.DataFrame(columns, copy=False)


def _united(parts: list[pd.Series], name: str) -> pd.Categorical:
    """One factor of several tables; what is missing in a table is missing in its rows."""
    factors = [pd.Categorical(part) for part in parts]
    levels = dict.fromkeys(level for factor in factors for level in factor.categories)
    in_order = sorted(levels, key=str) if name in _LABELS else list(levels)
    number = {level: index for index, level in enumerate(in_order)}
    # The last place, which code -1 picks, stands for missing.
    places = [np.array([*(number[level] for level in factor.categories), -1]) for factor in factors]
    codes = np.concatenate([place[factor.codes] for place, factor in zip(places, factors, strict=True)])
    return pd.Categorical.from_codes(codes, categories=in_order, ordered=name in ("valence", "medium"))
