"""From trials to the matrix that the factor model is about: one row a trial, one column a shape.

A trial counts with all of its shapes: one that lacks a value of a shape that is modelled is dropped, and counted. Whole
trials that are missing cost nothing: the model needs no equal numbers. Shapes that do not move are left out and
named, as everywhere; so are gaze and blinks, and contrasts of shapes, unless they are asked for. Each shape is divided
by its sd within groups after the covariates (ν degrees of freedom), so that loadings are comparable.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from mien.models.design import Transform, build_design
from mien.models.factors.spec import FactorSpec
from mien.models.factors.sums import FactorSums, factor_sums
from mien.models.outcomes import OutcomeRows, prepare_outcomes
from mien.models.spec import ModelSpec
from mien.study.blend_shapes import SET_APART, region
from mien.study.errors import FitError, SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest
from mien.study.trials import row_codes

__all__ = ["FactorRows", "chosen_shapes", "factor_rows", "wide"]

KEYS = ("participant", "session", "task", "run", "trial")  # that tell trials apart
SINGULAR = 1e-6  # of a shape's variance within persons that no other shape explains: float32 is known to 6e-8


class FactorRows(NamedTuple):
    """Trials by shapes.

    activation : (trial, shape), (activation − location) / scale. design : (trial, term); terms : their names.
    group : (trial,) place in `levels`. shapes : names. location, scale : (shape,) in coefficient units.
    keys : (trial,) table with participant, stimulus, trial … as far as the data have them.
    observations : labels of the trials. counts, left_out : what became of rows and shapes.
    coding : category → levels. derived, transforms : as in `Design` and `outcomes`, to code new rows with.
    """

    activation: np.ndarray
    design: np.ndarray
    terms: tuple[str, ...]
    group: np.ndarray
    levels: tuple[str, ...]
    shapes: tuple[str, ...]
    location: np.ndarray
    scale: np.ndarray
    keys: pd.DataFrame
    observations: pd.Index
    counts: Mapping[str, int]
    left_out: Mapping[str, str]
    coding: Mapping[str, Sequence[str]]
    derived: Mapping[str, Mapping[str, Any]]
    transforms: Mapping[str, Transform]

    @property
    def sums(self) -> FactorSums:
        """What the density needs of the rows."""
        return factor_sums(self.activation, self.design, self.group)


def factor_rows(
    spec: FactorSpec, trials: pd.DataFrame, participants: pd.DataFrame | None = None
) -> FactorRows:
    """The rows of a model.

    Raises
    ------
    SpecError
        For columns or shapes that are not there, or covariates that repeat each other.
    FitError
        When too few trials, groups or shapes are left, or a shape is a copy of others.
    """
    formula = parse_formula(spec.formula)
    table, apart = chosen_shapes(trials, spec.shapes)
    _, rows = prepare_outcomes(_formula_spec(spec), table, participants)
    if rows.names == ("",):
        raise FitError("trials: expected a column blend_shape, found none: pass the Trials table.")
    _check_trials(rows)
    values, at = wide(rows)
    complete = np.isfinite(values).all(axis=1)
    counts = {
        **rows.counts, "trials": len(values), "incomplete_trials": int((~complete).sum()),
        "modelled": int(complete.sum()) * len(rows.names),
    }  # fmt: skip
    if len(rows.names) < 3:
        raise FitError(
            f"co-activation: expected at least 3 shapes that move, found {', '.join(rows.names)}: there is nothing to "
            "share between fewer."
        )
    if not complete.any():
        raise FitError(
            f"co-activation: expected trials with all of {len(rows.names)} shapes, found none: name fewer (shapes=)."
        )
    frame = cast(pd.DataFrame, rows.frame.iloc[at[complete]].reset_index(drop=True))
    design = build_design(formula, frame)
    block = design.blocks[0]
    values = values[complete]
    location = values.mean(axis=0)
    sums = factor_sums(values - location, design.columns, block.codes)
    scale = np.sqrt(np.diag(sums.within) / sums.count[0])
    _check_singular(sums.within, rows.names)
    return FactorRows(
        (values - location) / scale, design.columns, design.coefficients, block.codes, block.levels, rows.names,
        location, scale, _keys(frame), rows.observations[complete], counts, {**apart, **rows.left_out}, design.coding,
        rows.derived, design.transforms,
    )  # fmt: skip


def _formula_spec(spec: FactorSpec) -> ModelSpec:
    """The rows' part of the model, with the other group's column kept."""
    also = "stimulus" if spec.group == "participant" else "participant"
    formula = (
        spec.formula if also in parse_formula(spec.formula).columns else f"{spec.formula} + (1 | {also})"
    )
    return ModelSpec(formula, pool_trackers=spec.pool_trackers)


def chosen_shapes(trials: pd.DataFrame, shapes: Sequence[str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of the shapes to model; why others are left out."""
    if "blend_shape" not in trials.columns:
        raise FitError("trials: expected a column blend_shape, found none: pass the Trials table.")
    column = cast(pd.Series, trials["blend_shape"])
    present = [str(name) for name in column.astype("category").cat.categories]
    unknown = [name for name in shapes if name not in present]
    if unknown:
        raise SpecError(
            f"shapes: expected outcomes of the trials table, found {unknown[0]!r}{nearest(unknown[0], present)}."
        )
    apart = {
        name: "gaze and blinks follow the picture's layout" if name in SET_APART else "a contrast of shapes"
        for name in present
        if not shapes and (name in SET_APART or (region(name) == "contrast" and _some_known(present)))
    }
    wanted = shapes or [name for name in present if name not in apart]
    if set(wanted) == set(present):
        return trials, {}
    table = cast(pd.DataFrame, trials[column.isin(list(wanted)).to_numpy()])
    names = pd.Categorical(
        table["blend_shape"].astype("str"), categories=[n for n in present if n in set(wanted)]
    )
    return table.assign(blend_shape=names), apart


def _some_known(present: Sequence[str]) -> bool:
    """Whether any is a blend shape; tables with names of their own are taken as they are."""
    return any(region(name) != "contrast" for name in present)


def wide(rows: OutcomeRows) -> tuple[np.ndarray, np.ndarray]:
    """(trial, shape) values, NaN where missing, and for each trial one of its rows."""
    trials = len(rows.observations)
    values = np.full((trials, len(rows.names)), np.nan)
    values[rows.observation, rows.outcome] = rows.frame["activation"].to_numpy(dtype=np.float64)
    at = np.zeros(trials, dtype=np.int64)
    at[rows.observation] = np.arange(len(rows.observation))
    return values, at


def _check_trials(rows: OutcomeRows) -> None:
    """Refuse a table that does not say which rows of different shapes are one trial."""
    keys = [name for name in KEYS if name in rows.frame.columns]
    if {"participant", "trial"} <= set(keys):
        trial = row_codes(rows.frame, keys)
        first = np.full(len(rows.observations), -1, dtype=np.int64)
        first[rows.observation] = trial
        if np.array_equal(first[rows.observation], trial) and int(trial.max()) + 1 == len(first):
            return
    raise FitError(
        "co-activation: expected columns participant and trial that tell which rows are one trial, one row a trial and "
        f"shape, found {', '.join(keys) or 'neither'}"
        f"{' with several rows a trial and shape' if len(keys) > 1 else ''}: pass the Trials table."
    )


def _keys(frame: pd.DataFrame) -> pd.DataFrame:
    return cast(pd.DataFrame, frame[[name for name in (*KEYS, "stimulus") if name in frame.columns]])


def _check_singular(scatter: np.ndarray, shapes: Sequence[str]) -> None:
    """Refuse a shape that is a copy or a combination of others: its uniqueness would be 0."""
    root = np.sqrt(np.diag(scatter))
    correlation = scatter / np.outer(root, root)
    value, vector = np.linalg.eigh(correlation)
    if value[0] > SINGULAR / len(shapes):
        return
    own = np.argsort(-np.abs(vector[:, 0]), kind="stable")[:2]
    pair = f"{shapes[own[0]]} and {shapes[own[1]]}"
    raise FitError(
        f"co-activation: expected shapes that none of the others give exactly, found {pair} among those that they do "
        f"(r = {correlation[own[0], own[1]]:.6f} within groups): leave one out (shapes=), or average the sides."
    )
