"""The second look at a table in parts: the moments of every part's rows, and their sums.

A part's design is that of the whole: categories are coded by all levels in use, groups by all labels, and transforms
take off the mean of all rows. Only combinations of the effects' columns that differ are put through the formula.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from mien.models.design import Block, Design, build_design, effect_columns
from mien.models.engines.collapsed.moments import Columns, Moments, columns_of, combine, moments_of_all
from mien.models.engines.problem import Outcome, Residual
from mien.models.levels import codes_of, level_codes
from mien.models.residuals import POSITION, read_residual, root_precision, strata_dim
from mien.models.row_survey import Plan, outcome_of, rows_of
from mien.models.spec import ModelSpec
from mien.study.errors import FitError
from mien.study.formula import Formula, parse_formula
from mien.study.trials import row_codes

__all__ = ["Sums", "added", "design_of", "sums_of"]

REPEATED = 4  # rows a combination of effects from which it is worth finding those that differ


class Sums(NamedTuple):
    """Moments by outcome, and what the default priors need: n, mean, squares about it and the largest value of columns.

    n : (outcome,); mean, squares, largest : (outcome, column + 1), the response last.
    """

    moments: tuple[Moments, ...]
    n: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    largest: np.ndarray


def design_of(plan: Plan) -> Design:
    """Names and coding of the design that all parts have, without rows."""
    design = _named(_evaluated(plan, plan.trial.iloc[:0]), plan)
    blocks = tuple(
        block._replace(codes=np.zeros(0, dtype=np.int64), levels=plan.levels[block.factor])
        for block in design.blocks
    )
    return design._replace(blocks=blocks)


def sums_of(part: Any, plan: Plan) -> Sums | None:
    """The sums over a part's rows; None for a part without rows."""
    total: Sums | None = None
    for frame, _, _ in rows_of(part, plan.rules):
        if len(frame):
            total = added(total, _sums_of(frame, plan))
    return total


def added(first: Sums | None, second: Sums | None) -> Sums | None:
    """The sums over the rows of both."""
    if first is None or second is None:
        return second if first is None else first
    n = first.n + second.n
    share = np.divide(second.n, n, out=np.zeros_like(n), where=n > 0)[:, None]
    apart = second.mean - first.mean
    return Sums(
        tuple(combine(mine, other) for mine, other in zip(first.moments, second.moments, strict=True)),
        n, first.mean + share * apart,
        first.squares + second.squares + share * first.n[:, None] * apart**2,
        np.maximum(first.largest, second.largest),
    )  # fmt: skip


def _sums_of(frame: pd.DataFrame, plan: Plan) -> Sums:
    spec, formula = ModelSpec.from_json(plan.rules.spec), parse_formula(plan.rules.formula)
    frame, outcome = _of_outcomes(frame, plan)
    design = _design(frame, plan, formula)
    values = frame[formula.response].to_numpy(dtype=np.float64)
    root, residual = root_precision(spec, frame), _residual(spec, formula, frame, outcome, plan)
    outcomes = []
    for place, name in enumerate(plan.names):
        at = np.flatnonzero(outcome == place) if len(plan.names) > 1 else np.arange(len(frame))
        mine = design if len(plan.names) == 1 else design.rows(at)
        outcomes.append(Outcome(name, mine, values[at], root[at], {}, residual.rows(at)))
    columns = columns_of(design)
    spreads = [_spread(one, columns) for one in outcomes]
    n, mean, squares, largest = (np.array(numbers) for numbers in zip(*spreads, strict=True))
    return Sums(tuple(moments_of_all(outcomes)), n, mean, squares, largest)


def _of_outcomes(frame: pd.DataFrame, plan: Plan) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of outcomes that are modelled, and which outcome each is."""
    codes, labels = outcome_of(frame, plan.rules)
    number = {name: place for place, name in enumerate(plan.names)}
    outcome = np.array([number.get(label, -1) for label in labels], dtype=np.int64)[codes]
    keep = outcome >= 0
    if keep.all():
        return frame, outcome
    return cast(pd.DataFrame, frame[keep]).reset_index(drop=True), outcome[keep]


# Design


def _design(frame: pd.DataFrame, plan: Plan, formula: Formula) -> Design:
    effects = [name for name in effect_columns(formula) if name in frame.columns]
    columns = list(dict.fromkeys([*effects, *(column for _, _, column in plan.rules.centred)]))
    which, first = _different(frame, columns)
    rows = cast(pd.DataFrame, frame[columns] if first is None else frame[columns].iloc[first])
    design = _named(_evaluated(plan, rows), plan)
    at = slice(None) if first is None else which
    factors = {factor: _codes(frame, factor, plan) for factor in {block.factor for block in design.blocks}}
    blocks = tuple(
        Block(block.factor, block.terms, block.columns[at], factors[block.factor], plan.levels[block.factor])
        for block in design.blocks
    )
    return design._replace(columns=design.columns[at], blocks=blocks)


def _different(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Which combination each row has and a row that has it; None where nearly every row is another."""
    codes = np.zeros(len(frame), dtype=np.int64)
    size = 1
    for name in columns:
        mine, labels = (
            codes_of(cast(pd.Series, frame[name]))
            if isinstance(frame[name].dtype, pd.CategoricalDtype)
            else pd.factorize(frame[name])
        )
        size *= max(len(labels), 1)
        if size * REPEATED > max(len(frame), 4096):
            return codes, None
        codes = codes * len(labels) + mine
    which = np.cumsum(np.bincount(codes, minlength=size) > 0)[codes] - 1
    first = np.zeros(int(which.max(initial=-1)) + 1, dtype=np.int64)
    first[which[::-1]] = np.arange(len(frame))[::-1]
    return which, first


def _evaluated(plan: Plan, rows: pd.DataFrame) -> Design:
    """The design of some rows, built together with rows that show every level."""
    formula = parse_formula(plan.rules.formula)
    columns: dict[str, Any] = {}
    for name in effect_columns(formula):
        centred = next((made for made in plan.rules.centred if made[0] == name), None)
        values = (
            np.concatenate([_column(part, name, plan) for part in (rows, plan.trial)])
            if centred is None
            else np.concatenate([_centred(part, centred, plan) for part in (rows, plan.trial)])
        )
        levels = plan.categories.get(name)
        columns[name] = values if levels is None else pd.Categorical(values, categories=list(levels))
    both = pd.DataFrame(columns, index=range(len(rows) + len(plan.trial)))
    for name in formula.columns:
        if name not in both.columns:  # the response, and groups: they are coded by themselves
            both[name] = np.arange(len(both)) % 2
    return build_design(formula, both).rows(np.arange(len(rows)))


def _column(rows: pd.DataFrame, name: str, plan: Plan) -> np.ndarray:
    if name not in plan.categories:
        return rows[name].to_numpy(dtype=np.float64)
    codes, labels = codes_of(cast(pd.Series, rows[name]))
    return np.array(labels, dtype=object)[codes] if len(rows) else np.zeros(0, dtype=object)


def _centred(rows: pd.DataFrame, made: tuple[str, str, str], plan: Plan) -> np.ndarray:
    name, how, column = made
    mean, sd = plan.transforms[name]
    return (rows[column].to_numpy(dtype=np.float64) - mean) / (sd if how == "scale" else 1.0)


def _named(design: Design, plan: Plan) -> Design:
    """Columns that stand for transforms by the transforms' own names."""
    names = {name: f"{how}({column})" for name, how, column in plan.rules.centred}

    def named(text: str) -> str:
        return ":".join(names.get(part, part) for part in text.split(":"))

    blocks = tuple(block._replace(terms=tuple(map(named, block.terms))) for block in design.blocks)
    return design._replace(coefficients=tuple(map(named, design.coefficients)), blocks=blocks)


def _codes(frame: pd.DataFrame, key: str, plan: Plan) -> np.ndarray:
    """Codes of a group or of strata, by the labels of all parts."""
    codes, labels = level_codes(frame, key.split(":"))
    number = {label: place for place, label in enumerate(plan.levels[key])}
    return np.array([number[label] for label in labels], dtype=np.int64)[codes]


# Residuals and scales


def _residual(
    spec: ModelSpec, formula: Formula, frame: pd.DataFrame, outcome: np.ndarray, plan: Plan
) -> Residual:
    alone = replace(spec, sigma_by=(), residual="iid", series=())  # these need all rows, and are read below
    residual = read_residual(alone, formula, frame, outcome)
    if spec.sigma_by:
        key = ":".join(spec.sigma_by)
        residual = residual._replace(
            strata=plan.levels[key], dim=strata_dim(spec), stratum=_codes(frame, key, plan)
        )
    if spec.residual == "ar1":
        position = frame[POSITION].to_numpy(dtype=np.float64)
        if (position != np.floor(position)).any():
            raise FitError(
                f"residual='ar1': expected whole numbers in {POSITION} (the place within a series), found others."
            )
        series = row_codes(frame, plan.rules.series).astype(np.int64)
        residual = residual._replace(series=series, position=position.astype(np.int64))
    return residual


def _spread(outcome: Outcome, columns: Columns) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """n, and by column mean, squares about it and the largest absolute value, over single values."""
    size, rows = len(columns.names) + 1, len(outcome.response)
    mean, squares, largest = np.zeros(size), np.zeros(size), np.zeros(size)
    if not rows:
        return 0.0, mean, squares, largest
    count = outcome.residual.count
    total = float(rows if count is None else count.sum())
    for number, values in _distinct(outcome, columns).items():
        mean[number] = values.mean() if count is None else count @ values / total
        apart = (values - mean[number]) ** 2
        squares[number] = apart.sum() if count is None else count @ apart
        largest[number] = np.abs(values).max()
    if outcome.residual.squares is not None:
        squares[-1] += outcome.residual.squares.sum()
    return total, mean, squares, largest


def _distinct(outcome: Outcome, columns: Columns) -> dict[int, np.ndarray]:
    """Number of a column → its values; the response is -1, and the column of ones is left out."""
    design = outcome.design
    found = {number: design.columns[:, place] for place, number in enumerate(columns.coefficients.tolist())}
    terms = [block.columns[:, place] for block in design.blocks for place in range(len(block.terms))]
    for number, values in zip(columns.terms.tolist(), terms, strict=True):
        found.setdefault(number, values)
    found.pop(0, None)
    return {**found, -1: outcome.response}
