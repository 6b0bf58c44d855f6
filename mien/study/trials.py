"""Trials: the long-format table that every model starts from.

One row is one bin of one trial of one shape; one trial of one shape is one series. The table is checked once, at
the door, by `validate_trials`. Rows that a rule excluded stay in the table with the reason in `excluded`.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, members
from mien.study.errors import TrialsError
from mien.study.recording import TRACKERS
from mien.study.tables import nearest

__all__ = [
    "MEDIA", "RESERVED", "SERIES_KEY", "TRIAL_COLUMNS", "TRIAL_KEY", "VALENCES",
    "contrast", "mean_over_bins", "order_of_shape", "row_codes", "validate_trials",
]  # fmt: skip

VALENCES = ("negative", "neutral", "positive")
MEDIA = ("picture", "film")
SERIES_KEY = ("participant", "session", "task", "run", "trial", "blend_shape")
TRIAL_KEY = ("participant", "session", "task", "run", "trial", "bin", "blend_shape")
MEASURES = ("activation", "raw", "baseline", "peak")

TRIAL_COLUMNS: Mapping[str, str] = {
    "participant": "category",
    "session": "category",
    "task": "category",
    "run": "category",
    "trial": "int32",
    "stimulus": "category",
    "valence": "category",
    "medium": "category",
    "blend_shape": "category",
    "bin": "int16",
    "time": "float32",
    "activation": "float32",
    "raw": "float32",
    "baseline": "float32",
    "peak": "float32",
    "n_frames": "int32",
    "valid": "float32",
    "excluded": "str",
    "tracker": "category",
}
RESERVED = frozenset(
    {*TRIAL_COLUMNS, "onset", "duration", "stimulus_id", "onset_stimulus", "series", "value"}
)


def validate_trials(trials: pd.DataFrame, *, where: str = "trials") -> pd.DataFrame:
    """Return `trials` unchanged, or say what is wrong with the table.

    Raises
    ------
    TrialsError
        For a missing column, a wrong type, an unknown valence, medium or tracker, a key that occurs twice, an
        infinite value, or a kept row without an activation.
    """
    missing = [name for name in TRIAL_COLUMNS if name not in trials.columns]
    if missing:
        raise TrialsError(
            f"{where}: expected the columns of a Trials table, found no {', '.join(missing)}: make the table with "
            "mien.prepare or `mien prep`."
        )
    for name, dtype in TRIAL_COLUMNS.items():
        found = str(trials[name].dtype)
        if found != dtype:
            raise TrialsError(f"{where}: expected column {name} of type {dtype}, found {found}: convert it.")
    _check_levels(trials, where)
    twice = pd.Series(_combined(trials, TRIAL_KEY), index=trials.index).duplicated()
    if twice.any():
        row = trials.loc[twice, list(TRIAL_KEY)].iloc[0].to_dict()
        raise TrialsError(f"{where}: expected each of {', '.join(TRIAL_KEY)} once, found two rows of {row}.")
    for name in MEASURES:
        if np.isinf(trials[name].to_numpy()).any():
            raise TrialsError(f"{where}: expected finite numbers in {name}, found an infinite one.")
    unknown = np.isnan(trials["activation"].to_numpy()) & (trials["excluded"] == "").to_numpy()
    if unknown.any():
        raise TrialsError(
            f"{where}, row {int(np.flatnonzero(unknown)[0])}: expected an activation in every row that is kept, found "
            "a missing one: give the reason in `excluded`."
        )
    return trials


def _check_levels(trials: pd.DataFrame, where: str) -> None:
    for name, allowed in (("valence", VALENCES), ("medium", MEDIA), ("tracker", TRACKERS)):
        unknown = sorted({str(level) for level in trials[name].cat.categories} - set(allowed))
        if unknown:
            raise TrialsError(
                f"{where}: expected {name} to be one of {', '.join(allowed)}, found {unknown[0]!r}"
                f"{nearest(unknown[0], allowed)}."
            )
    for name, dtype in TRIAL_COLUMNS.items():
        unknown = trials[name].isna().to_numpy() if dtype in ("category", "str") else np.zeros(0, dtype=bool)
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise TrialsError(f"{where}, row {row}: expected {name} in every row, found a missing one.")


def order_of_shape(name: str) -> int:
    """Where a shape stands in tables: ARKit order, bilateral names at their first side, contrasts last."""
    if name in NAMES:
        return NAMES.index(name)
    if name in BILATERAL_NAMES:
        return NAMES.index(members(name)[0])
    return len(NAMES)


def row_codes(trials: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    """Which combination of `columns` each row has, numbered from 0 in the order of first occurrence.

    The same as `groupby(columns, sort=False).ngroup()`, several times faster on categories and whole numbers.
    """
    combined = _combined(trials, columns)
    begins = np.flatnonzero(
        np.diff(combined, prepend=combined[:1] - 1)
    )  # rows of one trial mostly stand together
    return np.repeat(pd.factorize(combined[begins])[0], np.diff(begins, append=len(combined)))


def _combined(trials: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    """One number for each combination of `columns`."""
    combined = np.zeros(len(trials), dtype=np.int64)
    for name in columns:
        column = trials[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes = column.cat.codes.to_numpy()
        elif pd.api.types.is_integer_dtype(column) and not bool(column.isna().to_numpy().any()):
            codes = column.to_numpy(dtype=np.int64)
            codes = codes - codes.min(initial=0)
        else:
            codes = pd.factorize(column)[0]
        combined = combined * (int(codes.max(initial=0)) + 2) + codes + 1
    return combined


def mean_over_bins(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a trial and shape: the means over its kept bins, weighted by tracked frames.

    `activation`, `raw` and `baseline` are weighted means, `peak` the largest, `n_frames` the sum and `valid` the
    share of frames tracked, all over the bins that are kept; `time` is the weighted mean of the bins' centres and
    `bin` is 0. A trial with no kept bin keeps one row with the first reason in `excluded` and describes all its bins.
    Columns that do not change within a trial are carried.
    """
    series = row_codes(trials, SERIES_KEY)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(series), prepend=-1))
    count = len(first)
    if count == len(trials):
        return _alone(trials)
    kept = (trials["excluded"] == "").to_numpy()
    any_kept = np.bincount(series, weights=kept, minlength=count) > 0
    use = kept | ~any_kept[series]

    frames = trials["n_frames"].to_numpy(dtype=np.float64)
    weight = np.where(use, frames * trials["valid"].to_numpy(dtype=np.float64), 0.0)

    def weighted_mean(values: np.ndarray) -> np.ndarray:
        known = np.isfinite(values) & (weight > 0)
        total = np.bincount(series, weights=np.where(known, weight, 0.0), minlength=count)
        sums = np.bincount(
            series, weights=np.where(known, weight * np.where(known, values, 0.0), 0.0), minlength=count
        )
        return np.divide(sums, total, out=np.full(count, np.nan), where=total > 0)

    result = trials.iloc[first].copy()
    for name in ("activation", "raw", "baseline", "time"):
        result[name] = weighted_mean(trials[name].to_numpy(dtype=np.float64)).astype(np.float32)
    centres = np.bincount(series, weights=trials["time"].to_numpy(dtype=np.float64), minlength=count)
    middle = (centres / np.bincount(series, minlength=count)).astype(np.float32)
    result["time"] = result["time"].fillna(pd.Series(middle, index=result.index))
    used_frames = np.bincount(series, weights=np.where(use, frames, 0.0), minlength=count)
    tracked = np.bincount(series, weights=weight, minlength=count)
    peak = np.full(count, -np.inf)
    values = np.where(use, trials["peak"].to_numpy(dtype=np.float64), np.nan)
    np.fmax.at(peak, series, values)
    result["peak"] = np.where(np.isfinite(peak), peak, np.nan).astype(np.float32)
    result["n_frames"] = used_frames.astype(np.int32)
    result["valid"] = np.divide(tracked, used_frames, out=np.zeros(count), where=used_frames > 0).astype(
        np.float32
    )
    result["excluded"] = pd.Series(
        np.where(any_kept, "", result["excluded"].to_numpy(dtype=object)),
        index=result.index,
        dtype="str",
    )
    result["bin"] = np.int16(0)
    return result.reset_index(drop=True)


def _alone(trials: pd.DataFrame) -> pd.DataFrame:
    """The means of single bins: themselves where frames were tracked."""
    frames = trials["n_frames"].to_numpy()
    tracked = frames * trials["valid"].to_numpy(dtype=np.float64) > 0
    new = {"bin": np.zeros(len(trials), dtype=np.int16), "n_frames": frames.astype(np.int32)}
    for name in ("activation", "raw", "baseline", "time", "peak"):
        values = trials[name].to_numpy(dtype=np.float32)
        known = np.isfinite(values) if name in ("time", "peak") else np.isfinite(values) & tracked
        new[name] = values if known.all() else np.where(known, values, np.float32("nan"))
    new["valid"] = np.where(frames > 0, trials["valid"].to_numpy(dtype=np.float32), np.float32(0.0))
    changed = {name: values for name, values in new.items() if not _same(trials[name].to_numpy(), values)}
    return trials.assign(**changed).reset_index(drop=True)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def contrast(trials: pd.DataFrame, weights: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Linear combinations of shapes as outcomes of their own.

    Parameters
    ----------
    trials : a Trials table.
    weights : name of the contrast → {shape: weight}, e.g. ``{"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}``.

    Returns
    -------
    A Trials table with the contrasts in `blend_shape`. `peak` is missing (a peak of a difference is not the
    difference of the peaks); a row is excluded where any of its shapes is; `valid` is the smallest of them. Bins
    in which one of the shapes was not recorded have no row.

    Raises
    ------
    TrialsError
        For an unknown shape, a weight that is no number, a name that a shape has, rows that occur twice.
    """
    present = [str(name) for name in trials["blend_shape"].cat.remove_unused_categories().cat.categories]
    if not weights:
        raise TrialsError("contrasts: expected at least one, found none.")
    for name, combination in weights.items():
        _check_contrast(name, combination, present)
    keys = [name for name in TRIAL_KEY if name != "blend_shape"]
    tables = [_one_contrast(trials, name, combination, keys) for name, combination in weights.items()]
    result = pd.concat(tables, ignore_index=True)
    return result.assign(blend_shape=pd.Categorical(result["blend_shape"], categories=list(weights)))


def _check_contrast(name: str, combination: Mapping[str, float], present: list[str]) -> None:
    if not combination:
        raise TrialsError(f"contrast {name!r}: expected at least one shape with a weight, found none.")
    if name in present:
        raise TrialsError(f"contrast {name!r}: expected a name that no shape has: choose another.")
    for shape, weight in combination.items():
        if shape not in present:
            raise TrialsError(
                f"contrast {name!r}: expected shapes of the table, found {shape!r}{nearest(shape, present)}."
            )
        if not np.isfinite(weight):
            raise TrialsError(f"contrast {name!r}: expected a finite weight of {shape}, found {weight}.")


def _one_contrast(
    trials: pd.DataFrame, name: str, combination: Mapping[str, float], keys: list[str]
) -> pd.DataFrame:
    parts = [_rows_of(trials, shape, keys) for shape in combination]
    index = parts[0].index
    for part in parts[1:]:
        index = index.intersection(part.index, sort=False)
    if not len(index):
        raise TrialsError(
            f"contrast {name!r}: expected bins with all of its shapes, found none: check the shapes."
        )
    parts = [part.loc[index] for part in parts]
    result = parts[0].assign(blend_shape=name, peak=np.float32("nan"))
    weights = np.array(list(combination.values()), dtype=np.float64)
    for measure in ("activation", "raw", "baseline"):
        values = np.stack([part[measure].to_numpy(dtype=np.float64) for part in parts])
        result[measure] = (weights @ values).astype(np.float32)
    for measure in ("valid", "n_frames"):
        result[measure] = np.min([part[measure].to_numpy() for part in parts], axis=0)
    excluded = parts[0]["excluded"]
    for part in parts[1:]:
        excluded = excluded.where(excluded != "", part["excluded"])
    result["excluded"] = excluded.astype("str")
    return result.reset_index()[list(trials.columns)]


def _rows_of(trials: pd.DataFrame, shape: str, keys: list[str]) -> pd.DataFrame:
    rows = trials[trials["blend_shape"] == shape].set_index(keys)
    twice = rows.index.duplicated()
    if twice.any():
        found = dict(zip(keys, rows.index[twice][0], strict=True))
        raise TrialsError(
            f"trials: expected each {', '.join(keys)} of {shape} once, found two rows of {found}."
        )
    return rows
