"""The first look at a table in parts: which rows count, which outcomes move, which levels occur.

The rules are those of `outcomes`; what they say of a whole column (a shape that does not move, levels in use, a mean
that a transform takes off) is gathered here part by part and decided in `plan_of`, before any row is summed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from mien.models.coding import is_category, levels_of
from mien.models.derived_columns import wanted_columns
from mien.models.design import effect_columns, expanded
from mien.models.levels import codes_of, labels_in_use, level_codes
from mien.models.outcomes import (
    DEAD_SD,
    TIME_COLUMNS,
    check_any_outcome,
    check_any_row,
    check_columns,
    check_trackers,
    check_varies,
    complete_rows,
    dead_reason,
    joined,
)
from mien.models.residuals import further_columns, series_columns
from mien.models.spec import ModelSpec
from mien.models.table_parts import Table, whole_groups
from mien.study.errors import FitError, SpecError
from mien.study.formula import Formula, parse_formula
from mien.study.trials import SERIES_KEY, TRIAL_COLUMNS, mean_over_bins, order_of_shape, row_codes

__all__ = ["Plan", "Rules", "Survey", "merged", "outcome_of", "plan_of", "rows_of", "rules_of", "survey"]

SAMPLE = 200  # rows of each batch whose numbers stand for all when a design is tried out
MAX_SAMPLE = 2_000


class Rules(NamedTuple):
    """What to read and how to treat it, before anything is known of the rows.

    spec : as JSON, which every process can read; columns : to read; used : without which a row is left out.
    averaged : whether a trial's bins become one row; by_shape : whether each shape is an outcome.
    whole : columns of whole numbers, which a part with missing ones has as floats.
    together : columns whose combination has to be in one part, and `series` those of one series; () for none.
    centred : transforms of whole columns, as (new name, "center" or "scale", column).
    """

    spec: str
    formula: str
    participants: pd.DataFrame | None
    columns: tuple[str, ...]
    used: tuple[str, ...]
    averaged: bool
    by_shape: bool
    whole: tuple[str, ...]
    together: tuple[str, ...]
    series: tuple[str, ...]
    centred: tuple[tuple[str, str, str], ...]


class Survey(NamedTuple):
    """What some parts hold.

    orders : category → the orders of its type's levels, None for text.
    levels : key ("stimulus", "participant:session") → outcomes × levels that occur, as (outcome, level) pairs.
    people : by outcome and person, numbers : by outcome and transform: n, mean and sum of squares.
    sample : numbers of some rows; shapes : outcomes, in order of appearance; series : hashes of the series.
    """

    counts: Mapping[str, int]
    trackers: frozenset[str]
    orders: Mapping[str, frozenset[tuple[str, ...] | None]]
    levels: Mapping[str, pd.DataFrame]
    people: pd.DataFrame
    numbers: pd.DataFrame
    sample: pd.DataFrame
    shapes: tuple[str, ...]
    series: np.ndarray


class Plan(NamedTuple):
    """How every part is summed.

    names : outcomes; levels : key → labels in order; categories : effect columns that are coded, and their levels.
    trial : rows that show every level, for building a design of any part; transforms : mean and sd
        of the columns that they centre.
    """

    rules: Rules
    names: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    categories: Mapping[str, tuple[str, ...]]
    trial: pd.DataFrame
    transforms: Mapping[str, tuple[float, float]]
    counts: Mapping[str, int]
    left_out: Mapping[str, str]


# Rules


def rules_of(spec: ModelSpec, table: Table, participants: pd.DataFrame | None) -> Rules:
    """Which columns to read and what to do with rows.

    Raises
    ------
    SpecError
        For columns that are not there, contrasts of shapes, transforms that need a whole column.
    """
    if spec.contrasts:
        raise SpecError(
            "contrasts: expected none for statistics of parts, found some: add them to the table first "
            "(mien.contrast)."
        )
    formula = parse_formula(spec.formula)
    used = list(dict.fromkeys([*formula.columns, *further_columns(spec, formula)]))
    columns_there = _without_rows(table, participants)
    derived = wanted_columns(used, columns_there.columns)
    if derived:
        raise SpecError(
            f"formula {spec.formula!r}: expected columns of the table, found {next(iter(derived))!r}, which is derived "
            "from all rows at once: add it to the table first, or fit in memory."
        )
    check_columns(formula, columns_there, used)
    averaged = (
        set(TRIAL_COLUMNS) <= set(table.columns)
        and spec.residual == "iid"
        and not set(TIME_COLUMNS) & set(used)
    )
    by_shape = "blend_shape" in table.columns and "blend_shape" not in formula.columns
    series: list[str] = list(SERIES_KEY) if averaged else []
    if spec.residual == "ar1":
        series = series_columns(spec, formula, list(table.columns))
        series += ["blend_shape"] if by_shape else []
    read = [*used, *series, "blend_shape", "participant", "excluded", "tracker"]
    read += list(TRIAL_COLUMNS) if averaged else []
    _check_strata(spec, table, by_shape=by_shape)
    text, centred = _without_transforms(formula.text)
    columns = tuple(name for name in dict.fromkeys(read) if name in table.columns)
    return Rules(
        spec=spec.to_json(), formula=text, participants=participants, columns=columns,
        used=(*used, "blend_shape") if by_shape else tuple(used), averaged=averaged, by_shape=by_shape,
        whole=tuple(name for name in used if table.columns.get(name) == "whole number"),
        together=tuple(name for name in series if name != "blend_shape"), series=tuple(series), centred=centred,
    )  # fmt: skip


def _check_strata(spec: ModelSpec, table: Table, *, by_shape: bool) -> None:
    if by_shape and "blend_shape" in spec.sigma_by:
        raise SpecError(
            "sigma_by: expected columns other than blend_shape, found it: each shape is fitted apart and has its own "
            "sigma."
        )
    for name in spec.sigma_by:
        if table.columns.get(name) == "number":
            raise SpecError(f"sigma_by: expected labels in {name}, found numbers: cut it into categories.")


def _without_rows(table: Table, participants: pd.DataFrame | None) -> pd.DataFrame:
    """The columns of the table, and of the persons where it has none of that name."""
    types = {"number": "float64", "whole number": "int64", "boolean": "bool", "text": "str"}
    columns = {name: pd.Series(dtype=types[kind]) for name, kind in table.columns.items()}
    if participants is not None and "participant" in columns:
        columns = {**{str(name): participants[name].iloc[:0] for name in participants.columns}, **columns}
    return pd.DataFrame(columns)


def _without_transforms(text: str) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """The formula with `center(trial)` as a column of its own: its mean is known before the second pass."""
    found: dict[str, tuple[str, str, str]] = {}

    def column(match: re.Match[str]) -> str:
        name = f"{match[1]}_of_{match[2]}"
        found[name] = (name, match[1], match[2])
        return name

    changed = re.sub(r"\b(center|scale)\s*\(\s*([^\W\d]\w*)\s*\)", column, text)
    left = re.search(r"\b(center|scale|poly|bs)\s*\(", changed)
    if left:
        raise SpecError(
            f"formula {text!r}: expected no {left[1]}(…) of more than one column, since it needs all rows at once: "
            "compute it as a column first, or fit in memory."
        )
    return changed, tuple(found.values())


# Rows of a part


def rows_of(part: Any, rules: Rules) -> Iterator[tuple[pd.DataFrame, Mapping[str, int], frozenset[str]]]:
    """The rows that count of each batch, what became of the others, and the trackers of all."""
    formula = parse_formula(rules.formula)
    batches = part.batches(rules.columns)
    if rules.together:
        batches = whole_groups(batches, rules.together)
    for batch in batches:
        trackers = frozenset(labels_in_use(cast(pd.Series, batch["tracker"])) if "tracker" in batch else ())
        frame = joined(batch, rules.participants, rules.used)
        if not pd.api.types.is_numeric_dtype(frame[formula.response]):
            raise FitError(
                f"{formula.response}: expected numbers as the outcome, found {frame[formula.response].dtype}."
            )
        frame = mean_over_bins(frame) if rules.averaged else frame
        keep, counts = complete_rows(frame, rules.used)
        kept = cast(pd.DataFrame, frame[keep]).reset_index(drop=True)
        whole = {
            name: kept[name].astype("int64")
            for name in rules.whole
            if pd.api.types.is_float_dtype(kept[name])
        }
        kept = kept.assign(**whole) if whole else kept
        yield kept, {"bins": len(batch), **counts}, trackers


def outcome_of(frame: pd.DataFrame, rules: Rules) -> tuple[np.ndarray, list[str]]:
    """(row,) number of the outcome, and their names."""
    if not rules.by_shape:
        return np.zeros(len(frame), dtype=np.int64), [""]
    codes, labels = codes_of(cast(pd.Series, frame["blend_shape"]))
    return codes.astype(np.int64), labels


# Survey


def survey(part: Any, rules: Rules) -> Survey | None:
    """What a part holds; None for a part without rows."""
    found: Survey | None = None
    for frame, counts, trackers in rows_of(part, rules):
        mine = _survey_of(frame, rules)._replace(counts=counts, trackers=trackers)
        found = merged(found, mine)
    return found


def _survey_of(frame: pd.DataFrame, rules: Rules) -> Survey:
    spec, formula = ModelSpec.from_json(rules.spec), parse_formula(rules.formula)
    outcome, shapes = outcome_of(frame, rules)
    effects = [name for name in effect_columns(formula) if name in frame.columns]
    categories = [name for name in effects if is_category(cast(pd.Series, frame[name]))]
    one = outcome * 0
    persons = level_codes(frame, ["participant"]) if "participant" in frame.columns else (one, ("",))
    for _, how, column in rules.centred:
        if is_category(cast(pd.Series, frame[column])):
            raise SpecError(f"formula: expected a number inside {how}(…), found the category {column!r}.")
    numbers = [
        _spread(frame[column].to_numpy(dtype=np.float64), outcome, shapes, one, (name,))
        for name, _, column in rules.centred
    ]
    first = np.full(len(shapes), len(frame))
    first[outcome[::-1]] = np.arange(len(frame))[::-1]
    some = frame.iloc[:: max(1, len(frame) // SAMPLE)]
    return Survey(
        {}, frozenset(),
        {name: frozenset([_order_of(cast(pd.Series, frame[name]))]) for name in categories},
        {key: _pairs(frame, key, outcome, shapes) for key in [*categories, *_group_keys(spec, formula)]},
        _spread(frame[formula.response].to_numpy(dtype=np.float64), outcome, shapes, *persons),
        pd.concat(numbers, ignore_index=True) if numbers else pd.DataFrame(),
        some[_numeric(effects, categories, rules)].reset_index(drop=True),
        tuple(shapes[place] for place in np.argsort(first, kind="stable")), _series_hashes(frame, rules),
    )  # fmt: skip


def _numeric(effects: Sequence[str], categories: Sequence[str], rules: Rules) -> list[str]:
    names = [*(name for name in effects if name not in categories), *(made[2] for made in rules.centred)]
    return list(dict.fromkeys(names))


def _order_of(column: pd.Series) -> tuple[str, ...] | None:
    dtype = column.dtype
    return tuple(map(str, dtype.categories)) if isinstance(dtype, pd.CategoricalDtype) else None


def _group_keys(spec: ModelSpec, formula: Formula) -> list[str]:
    """Groups and strata, as "participant:session"."""
    groups = [single.group for term in formula.groups for single in expanded(term)]
    return list(dict.fromkeys([*groups, *([":".join(spec.sigma_by)] if spec.sigma_by else [])]))


def _pairs(frame: pd.DataFrame, key: str, outcome: np.ndarray, shapes: Sequence[str]) -> pd.DataFrame:
    """The outcomes and levels that occur together."""
    codes, labels = level_codes(frame, key.split(":"))
    used = np.flatnonzero(np.bincount(outcome * len(labels) + codes, minlength=len(shapes) * len(labels)))
    return pd.DataFrame(
        {
            "outcome": np.array(shapes, dtype=object)[used // max(len(labels), 1)],
            "level": np.array(labels, dtype=object)[used % max(len(labels), 1)],
        }
    )


def _spread(
    values: np.ndarray, outcome: np.ndarray, shapes: Sequence[str], group: np.ndarray, labels: Sequence[str]
) -> pd.DataFrame:
    """n, mean and sum of squares about it, by outcome and group."""
    code, size = outcome * len(labels) + group, len(shapes) * len(labels)
    n = np.bincount(code, minlength=size)
    mean = np.bincount(code, weights=values, minlength=size) / np.maximum(n, 1)
    squares = np.bincount(code, weights=(values - mean[code]) ** 2, minlength=size)
    used = np.flatnonzero(n)
    return pd.DataFrame(
        {
            "outcome": np.array(shapes, dtype=object)[used // max(len(labels), 1)],
            "group": np.array(labels, dtype=object)[used % max(len(labels), 1)],
            "n": n[used], "mean": mean[used], "squares": squares[used],
        }
    )  # fmt: skip


def _series_hashes(frame: pd.DataFrame, rules: Rules) -> np.ndarray:
    if not rules.series or frame.empty:
        return np.zeros(0, dtype=np.uint64)
    codes = row_codes(frame, rules.series)
    first = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    keys = frame[list(rules.series)].iloc[first].astype("str")
    hashed: Any = hash_pandas_object  # pandas does not say what it is
    return hashed(keys, index=False, categorize=False).to_numpy(dtype=np.uint64)


def merged(first: Survey | None, second: Survey | None) -> Survey | None:
    """What both hold.

    Raises
    ------
    FitError
        When rows of one series are in both.
    """
    if first is None or second is None:
        return second if first is None else first
    series = np.concatenate([first.series, second.series])
    if len(np.unique(series)) < len(series):
        raise FitError(
            "data: expected the bins of a trial to stand together in one part, found a trial in two places: sort the "
            "table by trial before it is divided, or average over bins first (mien.study.trials.mean_over_bins)."
        )
    return Survey(
        {name: first.counts[name] + second.counts[name] for name in first.counts},
        first.trackers | second.trackers,
        {name: first.orders.get(name, frozenset()) | second.orders.get(name, frozenset())
         for name in {**first.orders, **second.orders}},
        {key: pd.concat([first.levels[key], second.levels[key]]).drop_duplicates() for key in first.levels},
        _pooled(first.people, second.people), _pooled(first.numbers, second.numbers),
        _thinned(pd.concat([first.sample, second.sample], ignore_index=True)),
        tuple(dict.fromkeys([*first.shapes, *second.shapes])), series,
    )  # fmt: skip


def _pooled(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    both = pd.concat([first, second], ignore_index=True)
    return both if both.empty else _sums(both, ["outcome", "group"])


def _sums(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Spreads of groups joined into larger ones."""
    keys = [table[name] for name in by]
    n = cast(pd.Series, table["n"].groupby(keys, sort=False).transform("sum"))
    sums = cast(pd.Series, table["n"] * table["mean"])
    mean = cast(pd.Series, sums.groupby(keys, sort=False).transform("sum")) / n
    squares = table["squares"] + table["n"] * (table["mean"] - mean) ** 2
    joined = table.assign(mean=mean, squares=squares).groupby(by, sort=False, observed=True)
    return joined.agg({"n": "sum", "mean": "first", "squares": "sum"}).reset_index()


def _thinned(sample: pd.DataFrame) -> pd.DataFrame:
    step = -(-len(sample) // MAX_SAMPLE)
    return sample if step < 2 else sample.iloc[::step].reset_index(drop=True)


# Plan


def plan_of(found: Survey | None, rules: Rules) -> Plan:
    """Decide what the whole table has to say.

    Raises
    ------
    FitError, SpecError
        When no row or no outcome is left, two trackers are mixed, or a group or category has one level.
    """
    spec, formula = ModelSpec.from_json(rules.spec), parse_formula(rules.formula)
    counts: dict[str, int] = {} if found is None else {name: int(n) for name, n in found.counts.items()}
    check_any_row(counts)
    assert found is not None
    check_trackers(sorted(found.trackers), formula, spec)
    names, left_out, dead = _alive(found, rules, formula.response)
    if rules.by_shape:
        counts["in_dead_shapes"] = dead
    if counts["bins"] == counts["rows"]:
        del counts["bins"]
    levels = {
        key: tuple(sorted(set(pairs["level"][pairs["outcome"].isin(names)])))
        for key, pairs in found.levels.items()
    }
    for key in _group_keys(spec, formula):
        if len(levels[key]) < 2:
            raise SpecError(
                f"formula: expected at least two levels of the group {key!r}, found {', '.join(levels[key])}."
            )
    categories = {name: _in_order(name, levels[name], found.orders[name]) for name in found.orders}
    values = _values(found.numbers, names) if rules.centred else {}
    trial = _trial_rows(found.sample, categories)
    return Plan(rules, names, levels, categories, trial, values, counts, left_out)


def _alive(found: Survey, rules: Rules, response: str) -> tuple[tuple[str, ...], dict[str, str], int]:
    """Outcomes that move, why others are left out, and the rows of those."""
    table = _sums(found.people, ["outcome"])
    sd = dict(zip(table["outcome"], np.sqrt(table["squares"] / table["n"]), strict=True))
    rows = dict(zip(table["outcome"], table["n"], strict=True))
    if not rules.by_shape:
        check_varies(response, sd[""], float(np.abs(table["mean"]).max()))
        return ("",), {}, 0
    moves = cast(pd.Series, found.people["squares"] / found.people["n"] >= DEAD_SD**2)
    share = cast(pd.Series, moves.groupby(found.people["outcome"]).mean())
    moving = share.to_dict() if "participant" in rules.columns else {}
    left_out = {name: "no row is left after exclusions" for name in found.shapes if name not in sd}
    alive = []
    for name in sorted((name for name in found.shapes if name in sd), key=order_of_shape):
        reason = dead_reason(float(sd[name]), float(moving.get(name, 1.0)))
        if reason:
            left_out[name] = reason
        else:
            alive.append(name)
    check_any_outcome(alive, left_out)
    return tuple(alive), left_out, int(sum(rows[name] for name in left_out if name in rows))


def _in_order(name: str, labels: Sequence[str], orders: frozenset[tuple[str, ...] | None]) -> tuple[str, ...]:
    """The order of a category's levels: that of its type where all parts agree, else the alphabet's."""
    order = next(iter(orders)) if len(orders) == 1 else None
    column = pd.Series(pd.Categorical(list(labels), categories=list(order or sorted(labels))))
    return tuple(levels_of(column, name))


def _values(numbers: pd.DataFrame, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    pooled = _sums(cast(pd.DataFrame, numbers[numbers["outcome"].isin(names)]), ["group"])
    sd = np.sqrt(pooled["squares"] / pooled["n"])
    return {
        str(group): (float(mean), float(one))
        for group, mean, one in zip(pooled["group"], pooled["mean"], sd, strict=True)
    }


def _trial_rows(sample: pd.DataFrame, categories: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Every combination of levels (or every level, where those are many) beside numbers that occur."""
    sizes = [len(levels) for levels in categories.values()]
    every = int(np.prod([float(size) for size in sizes]))
    rows = max(len(sample), min(every, MAX_SAMPLE), max(sizes, default=1), 2)
    places = np.arange(rows)
    frame = sample.iloc[(places * 7) % max(len(sample), 1)].reset_index(drop=True)
    columns = {}
    for name, levels in categories.items():
        columns[name] = pd.Categorical(
            np.array(levels, dtype=object)[places % len(levels)], categories=list(levels)
        )
        places = places // len(levels) if every <= MAX_SAMPLE else places
    return frame.assign(**columns) if len(frame.columns) else pd.DataFrame(columns, index=range(rows))
