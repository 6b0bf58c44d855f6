"""From data as passed to the rows of every outcome, with everything that is left out counted.

1. participants are joined, trackers checked, contrasts of shapes and derived columns added
2. without a time term, a Trials table is averaged over each trial's bins (AR(1) residuals keep them)
3. excluded rows go, then rows with a missing value in a column that the model uses
4. each blend shape is an outcome where the formula does not use that column
5. dead shapes are left out and named: sd below 1e-4, or moving in fewer than 20 % of persons
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from mien.models.derived_columns import add_derived, sources_of, wanted_columns
from mien.models.levels import codes_of, labels_in_use
from mien.models.residuals import further_columns
from mien.models.spec import ModelSpec
from mien.study.errors import FitError, SpecError
from mien.study.formula import Formula, parse_formula
from mien.study.tables import nearest
from mien.study.trials import TRIAL_COLUMNS, contrast, mean_over_bins, order_of_shape, row_codes

__all__ = [
    "DEAD_SD", "MOVING_SHARE", "TIME_COLUMNS", "OutcomeRows", "check_any_outcome", "check_any_row", "check_columns",
    "check_trackers", "check_varies", "complete_rows", "dead_reason", "joined", "prepare_outcomes", "trial_rows",
]  # fmt: skip

DEAD_SD = 1e-4  # coefficient units; STATISTICS 1
MOVING_SHARE = 0.2  # of persons; STATISTICS 1
TIME_COLUMNS = ("time", "bin")
OBSERVATION_KEY = ("participant", "session", "task", "run", "trial", "bin")


class OutcomeRows(NamedTuple):
    """The rows to model.

    frame : complete rows of all outcomes together, with the columns that models use.
    outcome : (row,) place in `names`.
    at : for each outcome its rows, in order.
    names : outcomes, "" for a single one without blend_shape.
    observation : (row,) which observation a row belongs to; outcomes of one trial share it.
    observations : labels of the observations.
    counts : rows by what became of them.
    left_out : outcome → the reason why it is not fitted.
    derived : column that was derived → what it was made of (`derived_columns`).
    """

    frame: pd.DataFrame
    outcome: np.ndarray
    at: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    observation: np.ndarray
    observations: pd.Index
    counts: Mapping[str, int]
    left_out: Mapping[str, str]
    derived: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def joined(data: pd.DataFrame, participants: pd.DataFrame | None, used: Sequence[str]) -> pd.DataFrame:
    """Add the participants' columns that the model uses and the data lack."""
    lacking = [name for name in used if name not in data.columns]
    if participants is None or not lacking or "participant" not in data.columns:
        return data
    key = next((name for name in ("participant_id", "participant") if name in participants.columns), None)
    if key is None:
        raise FitError("participants: expected a column participant_id, found none: pass study.participants.")
    labels = participants[key].astype("str").str.removeprefix("sub-")
    if labels.duplicated().any():
        raise FitError(
            f"participants: expected each participant once, found {labels[labels.duplicated()].iloc[0]} twice."
        )
    wanted = [name for name in lacking if name in participants.columns]
    table = participants[wanted].set_index(pd.Index(labels))
    who = data["participant"].astype("str")
    unknown = sorted(set(who) - set(table.index))
    if unknown:
        raise FitError(
            f"participants: expected a row for every participant, found none for {', '.join(unknown[:5])}."
        )
    return data.assign(**{name: table[name].reindex(who).to_numpy() for name in wanted})


def check_columns(formula: Formula, data: pd.DataFrame, used: Sequence[str]) -> None:
    """Refuse columns that are not there, and an outcome that is no number."""
    unknown = [name for name in used if name not in data.columns]
    if unknown:
        raise SpecError(
            f"formula {formula.text!r}: expected columns of the data, found {unknown[0]!r}"
            f"{nearest(unknown[0], [str(name) for name in data.columns])}; there are "
            f"{', '.join(map(str, data.columns))}. Columns of persons come with participants=."
        )
    if not pd.api.types.is_numeric_dtype(data[formula.response]):
        raise FitError(
            f"{formula.response}: expected numbers as the outcome, found {data[formula.response].dtype}."
        )


def check_trackers(trackers: Sequence[str], formula: Formula, spec: ModelSpec) -> None:
    """Refuse two trackers that the model does not tell apart."""
    if len(trackers) > 1 and not spec.pool_trackers and "tracker" not in formula.columns:
        raise FitError(
            f"data: expected one tracker, found {', '.join(trackers)}: their coefficients are not the same measure; "
            "fit them apart, add tracker to the formula, or say pool_trackers=True."
        )


def _with_contrasts(data: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    if not spec.contrasts:
        return data
    added = contrast(data, spec.contrasts)
    shapes = [*data["blend_shape"].cat.categories, *added["blend_shape"].cat.categories]
    both = pd.concat(
        [data.astype({"blend_shape": "str"}), added.astype({"blend_shape": "str"})], ignore_index=True
    )
    return both.assign(blend_shape=pd.Categorical(both["blend_shape"], categories=shapes))


def _dead(values: np.ndarray, persons: np.ndarray | None) -> str:
    """Why an outcome cannot be modelled, or ""."""
    if persons is None or values.std() < DEAD_SD:
        return dead_reason(float(values.std()), 1.0)
    count = np.bincount(persons)
    centred = values - (np.bincount(persons, weights=values) / np.maximum(count, 1))[persons]
    variance = np.bincount(persons, weights=centred**2)[count > 0] / count[count > 0]
    return dead_reason(float(values.std()), float(np.mean(np.sqrt(variance) >= DEAD_SD)))


def dead_reason(sd: float, moving: float) -> str:
    """Why an outcome of this sd that moves in this share of persons cannot be modelled, or ""."""
    if sd < DEAD_SD:
        return f"does not move: sd {sd:.1e} is below {DEAD_SD:g}"
    if moving < MOVING_SHARE:
        return f"moves in {moving:.0%} of persons, fewer than {MOVING_SHARE:.0%}"
    return ""


def _kept(data: pd.DataFrame, used: Sequence[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop excluded and incomplete rows, and count them; columns that no model uses go too."""
    complete, counts = complete_rows(data, used)
    check_any_row(counts)
    wanted = {*used, *OBSERVATION_KEY, "blend_shape"}
    names = [name for name in data.columns if name in wanted]
    narrow = data.copy(deep=False) if len(names) == len(data.columns) else data[names]
    return _some_rows(cast(pd.DataFrame, narrow), complete), counts


def complete_rows(data: pd.DataFrame, used: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """(row,) whether a row is kept and has a value in every column used, and the rows by what became of them."""
    counts = {"rows": len(data)}
    keep = np.ones(len(data), dtype=bool)
    if "excluded" in data.columns:
        reason = cast(pd.Series, data["excluded"])
        keep = (reason.isna() | (reason == "")).to_numpy(dtype=bool)
        counts["excluded"] = int((~keep).sum())
    complete = keep.copy()
    for name in used:
        column = cast(pd.Series, data[name])
        values = column.array
        if pd.api.types.is_float_dtype(values.dtype):
            numbers = column.to_numpy()
            if np.isfinite(numbers).all():
                continue
            if np.isinf(numbers[keep]).any():
                raise FitError(
                    f"{name}: expected finite numbers, found an infinite one: correct or exclude the row."
                )
        complete &= ~np.asarray(values.isna())
    counts["missing"] = int(keep.sum() - complete.sum())
    counts["modelled"] = int(complete.sum())
    return complete, counts


def check_any_row(counts: Mapping[str, int]) -> None:
    """Refuse a table of which no row is modelled."""
    if not counts.get("modelled", 0):
        raise FitError(
            f"data: expected rows to model, found none of {counts.get('rows', 0)} kept "
            f"({counts.get('excluded', 0)} excluded, {counts.get('missing', 0)} with missing values)."
        )


def _some_rows(frame: pd.DataFrame, keep: np.ndarray) -> pd.DataFrame:
    """The rows to keep, numbered from 0; nothing is copied where that is all of them."""
    kept = frame if keep.all() else cast(pd.DataFrame, frame[keep])
    return (
        kept
        if isinstance(kept.index, pd.RangeIndex) and len(kept) == len(frame)
        else kept.reset_index(drop=True)
    )


def _observations(frame: pd.DataFrame, outcome: np.ndarray) -> tuple[np.ndarray, pd.Index]:
    """Rows of one trial (and bin) share an observation; without trial keys, rows are counted."""
    keys = [name for name in OBSERVATION_KEY if name in frame.columns]
    if {"participant", "trial"} <= set(keys):
        if "bin" in keys and (frame["bin"] == frame["bin"].iloc[0]).all():
            keys.remove("bin")
        codes = row_codes(frame, keys)
        outcomes = int(outcome.max()) + 1
        if np.bincount(codes * outcomes + outcome).max() == 1:
            first = np.unique(codes, return_index=True)[1] if outcomes > 1 else np.arange(len(codes))
            return codes, _joined_labels(frame, keys, first)
    if not outcome.any():
        return np.arange(len(outcome)), _numbered(len(outcome))
    order = pd.Series(outcome).groupby(outcome).cumcount().to_numpy()
    return order, _numbered(int(order.max()) + 1)


def _numbered(count: int) -> pd.Index:
    """Labels 0, 1 …; Arrow writes numbers several times faster than Python."""
    return pd.Index(pd.array(pa.array(np.arange(count)).cast(pa.large_string()), dtype="str"))


def _joined_labels(frame: pd.DataFrame, keys: Sequence[str], rows: np.ndarray) -> pd.Index:
    """`01/1/met/1/7`: the keys of some rows as texts."""
    parts = []
    for name in keys:
        codes, labels = codes_of(cast(pd.Series, frame[name]))
        texts = [*labels, "nan"]  # -1, the code of what is missing, is the last
        mine = codes[rows]
        alike = (mine == mine[0]).all()
        parts.append([texts[mine[0]]] * len(mine) if alike else [texts[code] for code in mine.tolist()])
    return pd.Index(list(map("/".join, zip(*parts, strict=True))), dtype="str")


def prepare_outcomes(
    spec: ModelSpec, data: pd.DataFrame, participants: pd.DataFrame | None = None
) -> tuple[Formula, OutcomeRows]:
    """The checked formula and the rows of every outcome that can be modelled.

    Raises
    ------
    SpecError
        For columns that are not there.
    FitError
        When no row or no outcome is left, two trackers are mixed, or a participant has no row.
    """
    formula, used, data, bins, derived = trial_rows(spec, data, participants)
    by_shape = "blend_shape" in data.columns and "blend_shape" not in formula.columns
    frame, counts = _kept(data, [*used, "blend_shape"] if by_shape else used)
    if len(data) != bins:
        counts = {"bins": bins, **counts}
    if not by_shape:
        values = frame[formula.response].to_numpy(dtype=np.float64)
        check_varies(formula.response, float(values.std()), float(np.abs(values).max()))
        zero = np.zeros(len(frame), dtype=np.int64)
        observation, labels = _observations(frame, zero)
        return formula, OutcomeRows(
            frame, zero, (np.arange(len(frame)),), ("",), observation, labels, counts, {}, derived
        )
    return formula, _by_shape(formula, frame, counts)._replace(derived=derived)


class TrialRows(NamedTuple):
    """A table with every column of a model, its bins averaged where the model has no time; excluded rows are in it.

    used : columns that a row needs. bins : rows before averaging. derived : see `derived_columns`.
    """

    formula: Formula
    used: tuple[str, ...]
    data: pd.DataFrame
    bins: int
    derived: Mapping[str, Mapping[str, Any]]


def trial_rows(spec: ModelSpec, data: pd.DataFrame, participants: pd.DataFrame | None) -> TrialRows:
    """Steps 1 and 2.

    Raises
    ------
    SpecError, FitError
    """
    if not isinstance(data, pd.DataFrame):
        raise FitError(f"data: expected a pandas.DataFrame, found {type(data).__name__}.")
    formula = parse_formula(spec.formula)
    used = [*formula.columns, *further_columns(spec, formula)]
    wanted = wanted_columns(
        used, [*data.columns, *(participants.columns if participants is not None else ())]
    )
    data = joined(data, participants, [*used, *sources_of(wanted)])
    check_columns(formula, data, [name for name in used if name not in wanted])
    if "tracker" in data.columns:
        check_trackers(sorted(labels_in_use(cast(pd.Series, data["tracker"]))), formula, spec)
    data, derived = add_derived(_with_contrasts(data, spec), wanted)
    bins = len(data)
    is_trials = set(TRIAL_COLUMNS) <= set(data.columns)
    if is_trials and spec.residual == "iid" and not set(TIME_COLUMNS) & set(used):
        data = mean_over_bins(data)
    return TrialRows(formula, tuple(used), data, bins, derived)


def _by_shape(formula: Formula, frame: pd.DataFrame, counts: dict[str, int]) -> OutcomeRows:
    codes, labels = codes_of(cast(pd.Series, frame["blend_shape"]))
    values = frame[formula.response].to_numpy(dtype=np.float64)
    persons = None
    if "participant" in frame.columns:
        persons = codes_of(cast(pd.Series, frame["participant"]))[0] + 1  # a missing name is a person too
    first = np.full(len(labels), len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    left_out = {
        labels[place]: "no row is left after exclusions" for place in np.flatnonzero(first == len(codes))
    }
    at = _rows_by_code(codes, len(labels))
    alive = []
    by_appearance = [int(place) for place in np.argsort(first, kind="stable") if len(at[place])]
    for place in sorted(by_appearance, key=lambda place: order_of_shape(labels[place])):
        mine = at[place]
        reason = _dead(values[mine], None if persons is None else persons[mine])
        if reason:
            left_out[labels[place]] = reason
        else:
            alive.append(place)
    check_any_outcome(alive, left_out)
    number = np.full(len(labels), -1, dtype=np.int64)
    number[alive] = np.arange(len(alive))
    outcome = number[codes]
    keep = outcome >= 0
    if not keep.all():
        frame, outcome = _some_rows(frame, keep), outcome[keep]
    observation, observations = _observations(frame, outcome)
    counts = {**counts, "in_dead_shapes": int((~keep).sum())}
    names = tuple(labels[place] for place in alive)
    at = _rows_by_code(outcome, len(names))
    return OutcomeRows(frame, outcome, at, names, observation, observations, counts, left_out)


def check_varies(response: str, sd: float, size: float) -> None:
    """Refuse an outcome without variance; `size` is its largest absolute value."""
    if sd <= 1e-12 * max(1.0, size):
        raise FitError(f"{response}: expected an outcome that varies, found {size:g} in every row.")


def check_any_outcome(alive: Sequence[object], left_out: Mapping[str, str]) -> None:
    """Refuse a table of which no shape moves."""
    if not alive:
        raise FitError(
            "data: expected at least one blend shape that moves, found none: "
            + "; ".join(f"{name} {reason}" for name, reason in list(left_out.items())[:5])
        )


def _rows_by_code(codes: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """For each code its rows, in order."""
    order = np.argsort(codes, kind="stable")
    return tuple(np.split(order, np.cumsum(np.bincount(codes, minlength=count))[:-1]))
