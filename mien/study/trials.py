"""Trials: the long-format table that every model starts from.

One row is one bin of one trial of one shape; one trial of one shape is one series. The table is checked once, at
the door, by `validate_trials`. Rows that a rule excluded stay in the table with the reason in `excluded`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mien.study.blend_shapes import BILATERAL_NAMES, NAMES
from mien.study.errors import TrialsError
from mien.study.recording import TRACKERS
from mien.study.tables import nearest

__all__ = [
    "MEDIA", "RESERVED", "SERIES_KEY", "TRIAL_COLUMNS", "TRIAL_KEY", "VALENCES",
    "contrast", "mean_over_bins", "order_of_shape", "validate_trials",
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
        For a missing column, a wrong type, an unknown valence, medium or tracker, a key that occurs twice,
        or an infinite value.
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
    twice = trials.duplicated(list(TRIAL_KEY))
    if twice.any():
        row = trials.loc[twice, list(TRIAL_KEY)].iloc[0].to_dict()
        raise TrialsError(f"{where}: expected each of {', '.join(TRIAL_KEY)} once, found two rows of {row}.")
    for name in MEASURES:
        if np.isinf(trials[name].to_numpy()).any():
            raise TrialsError(f"{where}: expected finite numbers in {name}, found an infinite one.")
    return trials


def _check_levels(trials: pd.DataFrame, where: str) -> None:
    for name, allowed in (("valence", VALENCES), ("medium", MEDIA), ("tracker", TRACKERS)):
        unknown = sorted({str(level) for level in trials[name].cat.categories} - set(allowed))
        if unknown:
            raise TrialsError(
                f"{where}: expected {name} to be one of {', '.join(allowed)}, found {unknown[0]!r}"
                f"{nearest(unknown[0], allowed)}."
            )
    for name in ("participant", "stimulus", "blend_shape", "valence", "medium"):
        if trials[name].isna().any():
            row = int(np.flatnonzero(trials[name].isna())[0])
            raise TrialsError(f"{where}, row {row}: expected a {name} in every row, found a missing one.")


def order_of_shape(name: str) -> int:
    """Where a shape stands in tables: ARKit order, bilateral names at their first side, contrasts last."""
    if name in NAMES:
        return NAMES.index(name)
    if name in BILATERAL_NAMES:
        return next(index for index, shape in enumerate(NAMES) if shape.startswith(name))
    return len(NAMES)


def mean_over_bins(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a trial and shape: the means over its kept bins, weighted by tracked frames.

    `activation`, `raw` and `baseline` are weighted means, `peak` the largest, `n_frames` the sum and `valid` the
    share of frames tracked, all over the bins that are kept; `time` is the weighted mean of the bins' centres and
    `bin` is 0. A trial with no kept bin keeps one row with the first reason in `excluded` and describes all its bins.
    Columns that do not change within a trial are carried.
    """
    keys = list(SERIES_KEY)
    series = trials.groupby(keys, sort=False, observed=True).ngroup().to_numpy()
    first = np.unique(series, return_index=True)[1]
    count = len(first)
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
        np.where(any_kept, "", trials["excluded"].to_numpy(dtype=object)[first]),
        index=result.index,
        dtype="str",
    )
    result["bin"] = np.int16(0)
    return result.reset_index(drop=True)


def contrast(trials: pd.DataFrame, weights: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Linear combinations of shapes as outcomes of their own.

    Parameters
    ----------
    trials : a Trials table.
    weights : name of the contrast → {shape: weight}, e.g. ``{"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}``.

    Returns
    -------
    A Trials table with the contrasts in `blend_shape`. `peak` is missing (a peak of a difference is not the
    difference of the peaks); a row is excluded where any of its shapes is; `valid` is the smallest of them.
    """
    present = [str(name) for name in trials["blend_shape"].cat.categories]
    tables = []
    keys = [name for name in TRIAL_KEY if name != "blend_shape"]
    for name, combination in weights.items():
        if not combination:
            raise TrialsError(f"contrast {name!r}: expected at least one shape with a weight, found none.")
        for shape in combination:
            if shape not in present:
                raise TrialsError(
                    f"contrast {name!r}: expected shapes of the table, found {shape!r}{nearest(shape, present)}."
                )
        tables.append(_one_contrast(trials, name, combination, keys))
    result = pd.concat(tables, ignore_index=True)
    return result.assign(blend_shape=pd.Categorical(result["blend_shape"], categories=list(weights)))


def _one_contrast(
    trials: pd.DataFrame, name: str, combination: Mapping[str, float], keys: list[str]
) -> pd.DataFrame:
    parts = [trials[trials["blend_shape"] == shape].set_index(keys) for shape in combination]
    index = parts[0].index
    for part in parts[1:]:
        index = index.intersection(part.index, sort=False)
    parts = [part.loc[index] for part in parts]
    result = parts[0].copy()
    for measure in ("activation", "raw", "baseline"):
        values = sum(
            weight * part[measure].astype("float64")
            for weight, part in zip(combination.values(), parts, strict=True)
        )
        result[measure] = np.asarray(values, dtype=np.float32)
    result["peak"] = np.float32("nan")
    result["valid"] = np.min([part["valid"].to_numpy() for part in parts], axis=0)
    result["n_frames"] = np.min([part["n_frames"].to_numpy() for part in parts], axis=0)
    excluded = parts[0]["excluded"]
    for part in parts[1:]:
        excluded = excluded.where(excluded != "", part["excluded"])
    result["excluded"] = excluded.astype("str")
    result["blend_shape"] = name
    return result.reset_index()[list(trials.columns)]
