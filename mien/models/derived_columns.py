"""Columns that a formula may name although the data lack them: made from the whole table before any row is left out.

    X_person        mean of X over the person's trials, minus the grand mean
    X_stimulus      mean of X for this stimulus over the *other* persons, minus the grand mean
    X_within        what is left: X − grand mean − X_person − X_stimulus, the person's own answer to this stimulus
    X_z             z-score of a number that persons have (each once), or that stimuli have (each once)
    X_is_LEVEL      1 where the category X is LEVEL, else 0
    baseline_within the baseline minus its mean over the person's kept trials of this shape

Every trial counts once, whatever its bins and shapes. Ratings of trials whose tracking was lost count: they were given.
A trial without a rating has no part of it, and is left out of the model and counted. A column of the data with such a
name wins. What was derived, from how many, is told, so that slopes can be read per raw unit and new rows coded alike.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from mien.models.levels import codes_of, labels_in_use
from mien.study.errors import FitError, SpecError
from mien.study.tables import nearest
from mien.study.trials import SERIES_KEY, row_codes

__all__ = ["Wanted", "add_derived", "add_derived_as_stored", "sources_of", "wanted_columns"]

PARTS = ("person", "stimulus", "within")
BASELINE = "baseline_within"
NO_VARIATION = 1e-9  # of a column, relative to its size: float32 numbers are known to 6e-8

type Facts = dict[str, Any]


class Wanted(NamedTuple):
    """A column to derive. kind : "person", "stimulus", "within", "z", "is" or "baseline"; level : of "is"."""

    kind: str
    source: str
    level: str = ""


def wanted_columns(used: Iterable[str], present: Iterable[str]) -> dict[str, Wanted]:
    """The derived columns among `used`: those that are not `present` and whose names say how to make them.

    Raises
    ------
    SpecError
        When the name says how, but there is no column to make it from.
    """
    there = [str(name) for name in present]
    found: dict[str, Wanted] = {}
    for name in used:
        wanted = None if name in there else _read(name, there)
        if wanted is None:
            continue
        if wanted.source not in there:
            raise SpecError(
                f"formula: expected a column {name!r}, or {wanted.source!r} to derive it from, found neither"
                f"{nearest(wanted.source, there)}; there are {', '.join(there)}. Columns of persons come with "
                "participants=."
            )
        found[name] = wanted
    return found


def _read(name: str, there: Sequence[str]) -> Wanted | None:
    if name == BASELINE:
        return Wanted("baseline", "baseline")
    source, _, level = name.partition("_is_")
    while level and source not in there and "_is_" in level:
        more, _, level = level.partition("_is_")
        source = f"{source}_is_{more}"
    if level:
        return Wanted("is", source, level)
    stem, _, kind = name.rpartition("_")
    return Wanted(kind, stem) if stem and kind in (*PARTS, "z") else None


def sources_of(wanted: Mapping[str, Wanted]) -> list[str]:
    """The columns that derived ones are made from."""
    return list(dict.fromkeys(column.source for column in wanted.values()))


def add_derived(data: pd.DataFrame, wanted: Mapping[str, Wanted]) -> tuple[pd.DataFrame, dict[str, Facts]]:
    """The data with the derived columns, and what is to be known of each of them.

    Returns
    -------
    data : as passed, with float64 columns; missing where the source is.
    facts : name → {"from", "kind", "mean", "sd", …}, plain data.

    Raises
    ------
    FitError
        For a source that is no number, missing for everyone, or without the variation that its name promises.
    """
    if not wanted:
        return data, {}
    table = _Table.of(data)
    columns: dict[str, np.ndarray] = {}
    facts: dict[str, Facts] = {}
    for name, column in wanted.items():
        columns[name], told = _MAKERS[column.kind](table, column)
        facts[name] = {"from": column.source, "kind": column.kind, **told}
    return data.assign(**columns), facts


class _Table:
    """A table's trials: which row belongs to which, and who saw what."""

    def __init__(self, data: pd.DataFrame, trial: np.ndarray, first: np.ndarray) -> None:
        self.data, self.trial, self.first = data, trial, first

    @staticmethod
    def of(data: pd.DataFrame) -> "_Table":
        """Trials by the keys there are; without a column of trials every row is one."""
        keys = [name for name in SERIES_KEY if name != "blend_shape" and name in data.columns]
        trial = row_codes(data, keys) if "trial" in keys else np.arange(len(data))
        return _Table(data, trial, _first_rows(trial))

    def numbers(self, name: str) -> np.ndarray:
        """(row,) a numeric column, missing as nan.

        Raises
        ------
        FitError
        """
        column = cast(pd.Series, self.data[name])
        if not pd.api.types.is_numeric_dtype(column) or column.dtype == bool:
            raise FitError(
                f"{name}: expected numbers to derive a column from, found {column.dtype}: a category enters the "
                "formula under its own name."
            )
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if not np.isfinite(values).any():
            raise FitError(
                f"{name}: expected at least some values, found it missing in all {len(values)} rows."
            )
        return values

    def by_trial(self, name: str) -> np.ndarray:
        """(trial,) one value each.

        Raises
        ------
        FitError
            When it changes within a trial.
        """
        values = self.numbers(name)
        mine = values[self.first]
        if not np.array_equal(mine[self.trial], values, equal_nan=True):
            raise FitError(
                f"{name}: expected one value a trial, found a trial in which it changes: derive its parts beforehand."
            )
        return mine

    def codes(self, name: str, why: str) -> tuple[np.ndarray, list[str]]:
        """(row,) codes and labels of who or what.

        Raises
        ------
        FitError
        """
        if name not in self.data.columns:
            raise FitError(f"data: expected a column {name!r} {why}, found none.")
        codes, labels = codes_of(cast(pd.Series, self.data[name]))
        if (codes < 0).any():
            raise FitError(f"{name}: expected a label in every row {why}, found a missing one.")
        return codes.astype(np.int64), labels

    @property
    def kept(self) -> np.ndarray:
        """(row,) not excluded."""
        if "excluded" not in self.data.columns:
            return np.ones(len(self.data), dtype=bool)
        reason = cast(pd.Series, self.data["excluded"])
        return (reason.isna() | (reason == "")).to_numpy(dtype=bool)


def _first_rows(codes: np.ndarray) -> np.ndarray:
    """The first row of each code."""
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first


def _group_means(codes: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """(code,) mean of what is known, nan where nothing is."""
    known = np.isfinite(values)
    count = np.bincount(codes[known], minlength=size)
    total = np.bincount(codes[known], weights=values[known], minlength=size)
    return np.divide(total, count, out=np.full(size, np.nan), where=count > 0)


def _varies(values: np.ndarray) -> bool:
    return float(np.std(values)) > NO_VARIATION * max(1.0, float(np.abs(values).max(initial=0.0)))


# A rating's three parts


class _Parts(NamedTuple):
    """(trial,) parts of a rating; by_stimulus : mean over everybody, for rows to come."""

    person: np.ndarray
    stimulus: np.ndarray
    within: np.ndarray
    grand: float
    constant_persons: int
    by_stimulus: Mapping[str, float]


def _rating_parts(table: _Table, source: str, *, needs_stimuli: bool) -> _Parts:
    x = table.by_trial(source)
    known, grand = np.isfinite(x), float(np.nanmean(x))
    persons, names = table.codes("participant", f"to split {source} by")
    person = persons[table.first]
    mean = _group_means(person, x, len(names))
    spread = _group_means(person, (x - mean[person]) ** 2, len(names))
    there = np.isfinite(spread)
    constant = int((spread[there] <= NO_VARIATION**2 * max(1.0, float(np.nanmax(np.abs(x))) ** 2)).sum())
    if constant == there.sum():
        raise FitError(
            f"{source}: expected ratings that differ within persons, found the same number in all trials of each of "
            f"{constant} persons: it says something of persons only, so use {source}_z."
        )
    if not needs_stimuli:
        nothing = np.full(len(x), np.nan)
        return _Parts(mean[person] - grand, nothing, nothing, grand, constant, {})
    stimuli, shown = table.codes("stimulus", f"to split {source} by")
    stimulus = stimuli[table.first]
    others = _mean_of_others(person, stimulus, x, len(shown))
    if not np.isfinite(others[known]).any():
        raise FitError(
            f"{source}: expected stimuli that several persons rated, found none: {source}_person is all there is."
        )
    overall = _group_means(stimulus, x, len(shown))
    by_stimulus = {
        label: float(value) for label, value in zip(shown, overall, strict=True) if np.isfinite(value)
    }
    own = mean[person] - grand
    return _Parts(own, others - grand, x - own - others, grand, constant, by_stimulus)


def _mean_of_others(person: np.ndarray, stimulus: np.ndarray, x: np.ndarray, stimuli: int) -> np.ndarray:
    """(trial,) mean of x for the stimulus over the trials of all other persons; nan where there are none."""
    known = np.isfinite(x)
    filled = np.where(known, x, 0.0)
    pair = person * stimuli + stimulus
    of_pair, pair = np.unique(pair, return_inverse=True)
    totals, counts = (np.bincount(stimulus, weights=w, minlength=stimuli)[stimulus] for w in (filled, known))
    own, mine = (np.bincount(pair, weights=w, minlength=len(of_pair))[pair] for w in (filled, known))
    left = counts - mine
    return np.divide(totals - own, left, out=np.full(len(x), np.nan), where=left > 0)


def _rating(table: _Table, wanted: Wanted) -> tuple[np.ndarray, Facts]:
    parts = _rating_parts(table, wanted.source, needs_stimuli=wanted.kind != "person")
    values = getattr(parts, wanted.kind)
    x = table.by_trial(wanted.source)
    values = np.where(np.isfinite(x), values, np.nan)
    facts: Facts = {
        "mean": parts.grand, "sd": float(np.nanstd(values)), "trials": len(x),
        "trials_missing": int(np.isnan(values).sum()), "persons_with_one_answer": parts.constant_persons,
    }  # fmt: skip
    if wanted.kind != "person":
        facts["by_stimulus"] = dict(parts.by_stimulus)
    return values[table.trial], facts


# z-scores, indicators, baselines


def _z_score(table: _Table, wanted: Wanted) -> tuple[np.ndarray, Facts]:
    values = table.numbers(wanted.source)
    unit, codes, labels = _unit_of(table, wanted.source, values)
    first = _first_rows(codes)
    seen = np.bincount(codes[table.kept], minlength=len(labels))[: len(first)] > 0
    seen &= np.bincount(codes, minlength=len(labels))[: len(first)] > 0
    own = values[first][seen]
    known = own[np.isfinite(own)]
    if len(known) < 2 or not _varies(known):
        raise FitError(
            f"{wanted.source}: expected values that differ between {unit}s, found "
            f"{'none' if not len(known) else format(known[0], 'g')} in all {len(own)} of them: leave it out."
        )
    mean, sd = float(known.mean()), float(known.std(ddof=1))
    facts: Facts = {
        "mean": mean, "sd": sd, "unit": unit, f"{unit}s": len(own), f"{unit}s_missing": len(own) - len(known),
    }  # fmt: skip
    return (values - mean) / sd, facts


def _unit_of(table: _Table, source: str, values: np.ndarray) -> tuple[str, np.ndarray, list[str]]:
    """Persons where each has one value, else stimuli where each has one."""
    for unit in ("participant", "stimulus"):
        if unit not in table.data.columns:
            continue
        codes, labels = table.codes(unit, f"for {source}")
        if np.array_equal(values[_first_rows(codes)][codes], values, equal_nan=True):
            return unit, codes, labels
    raise FitError(
        f"{source}: expected one value a person, or one a stimulus, for its z-score, found that it changes within "
        f"both: use {source}_person, {source}_stimulus and {source}_within."
    )


def _indicator(table: _Table, wanted: Wanted) -> tuple[np.ndarray, Facts]:
    column = cast(pd.Series, table.data[wanted.source])
    codes, labels = codes_of(column)
    present = labels_in_use(column)
    if wanted.level not in present:
        raise SpecError(
            f"formula: expected a level of {wanted.source} ({', '.join(present)}) after '_is_', found {wanted.level!r}"
            f"{nearest(wanted.level, present)}."
        )
    values = np.where(codes < 0, np.nan, codes == labels.index(wanted.level))
    return values, {"level": wanted.level, "mean": float(np.nanmean(values)), "sd": float(np.nanstd(values))}


def _baseline(table: _Table, wanted: Wanted) -> tuple[np.ndarray, Facts]:
    centred, series = _centred_baseline(table, wanted.source)
    used = centred[series]
    known = used[np.isfinite(used)]
    if not _varies(known):
        raise FitError(
            f"{wanted.source}: expected baselines that differ between a person's trials, found none that do: leave "
            f"{BASELINE} out."
        )
    mean = float(np.nanmean(table.numbers(wanted.source)[series]))
    missing = len(used) - len(known)
    return centred, {"mean": mean, "sd": float(known.std()), "trials": len(used), "trials_missing": missing}


def _centred_baseline(table: _Table, source: str) -> tuple[np.ndarray, np.ndarray]:
    """(row,) distance from the mean over the person's kept trials of this shape, and a row of each of these."""
    values = table.numbers(source)
    shaped = "blend_shape" in table.data.columns
    table.codes("participant", f"for {BASELINE}")
    cell = row_codes(table.data, ["participant", "blend_shape"] if shaped else ["participant"])
    series = table.trial
    if shaped:
        shapes, labels = table.codes("blend_shape", f"for {BASELINE}")
        series = np.unique(table.trial * len(labels) + shapes, return_inverse=True)[1]
    first = _first_rows(series)
    first = first[np.bincount(series, weights=table.kept, minlength=len(first)) > 0]
    mean = _group_means(cell[first], values[first], int(cell.max(initial=-1)) + 1)
    return values - mean[cell], first


_MAKERS: Mapping[str, Callable[[_Table, Wanted], tuple[np.ndarray, Facts]]] = {
    "person": _rating,
    "stimulus": _rating,
    "within": _rating,
    "z": _z_score,
    "is": _indicator,
    "baseline": _baseline,
}


# Rows that a fit has not seen


def add_derived_as_stored(
    data: pd.DataFrame, wanted: Mapping[str, Wanted], facts: Mapping[str, Facts]
) -> pd.DataFrame:
    """New persons' rows with the columns as in a fit: its means, sds and stimulus means, the persons' own means.

    Parameters
    ----------
    facts : what `add_derived` told, from ``attrs["derived"]`` of the fit.

    Raises
    ------
    FitError
        When the fit derived no such column, for a stimulus that nobody of the fit rated.
    """
    if not wanted:
        return data
    table = _Table.of(data)
    unknown = [name for name in wanted if name not in facts]
    if unknown:
        raise FitError(
            f"data: expected a column {unknown[0]!r}, found none, and the fit did not derive it: add it to the rows."
        )
    return data.assign(**{name: _as_stored(table, column, facts[name]) for name, column in wanted.items()})


def _as_stored(table: _Table, wanted: Wanted, facts: Facts) -> np.ndarray:
    match wanted.kind:
        case "z":
            return (table.numbers(wanted.source) - facts["mean"]) / facts["sd"]
        case "is":
            codes, labels = codes_of(cast(pd.Series, table.data[wanted.source]))
            place = labels.index(wanted.level) if wanted.level in labels else -2
            return np.where(codes < 0, np.nan, codes == place)
        case "baseline":
            return _centred_baseline(table, wanted.source)[0]
        case _:
            return _rating_as_stored(table, wanted, facts)


def _rating_as_stored(table: _Table, wanted: Wanted, facts: Facts) -> np.ndarray:
    x, grand = table.by_trial(wanted.source), float(facts["mean"])
    persons, names = table.codes("participant", f"to split {wanted.source} by")
    own = _group_means(persons[table.first], x, len(names))[persons[table.first]] - grand
    if wanted.kind == "person":
        return np.where(np.isfinite(x), own, np.nan)[table.trial]
    stimuli, shown = table.codes("stimulus", f"to split {wanted.source} by")
    stored = facts["by_stimulus"]
    strange = [
        label for label in labels_in_use(cast(pd.Series, table.data["stimulus"])) if label not in stored
    ]
    if strange:
        raise FitError(
            f"{wanted.source}: expected stimuli that persons of the fit rated, found {strange[0]!r}: leave its rows "
            "out."
        )
    others = np.array([stored.get(label, np.nan) for label in shown])[stimuli[table.first]] - grand
    values = others if wanted.kind == "stimulus" else x - grand - own - others
    return np.where(np.isfinite(x), values, np.nan)[table.trial]
