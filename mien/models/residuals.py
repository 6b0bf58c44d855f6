"""How rows scatter about the model: from a ModelSpec's columns to precisions, strata, series and counts.

weights, standard_errors     root precision √w or 1 / se
standard_errors and a sigma  known variance se², added to sigma²
counts                       a row is a mean; its column "<response>_squares" is the scatter inside the cell
sigma_by                     strata with a sigma each
residual = "ar1"             series of whole steps (`bin`); holes are allowed
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mien.models.design import effect_columns
from mien.models.engines.problem import Residual
from mien.models.levels import level_codes
from mien.models.likelihoods import parameter_columns
from mien.models.smooths import smooth_columns
from mien.models.spec import ModelSpec, has_sigma_prior
from mien.study.errors import FitError, SpecError
from mien.study.formula import Formula, parse_formula
from mien.study.trials import SERIES_KEY, row_codes

__all__ = [
    "POSITION",
    "further_columns",
    "read_residual",
    "root_precision",
    "series_columns",
    "squares_column",
    "strata_dim",
]

POSITION = "bin"


def squares_column(response: str) -> str:
    """The column of sums of squared deviations beside counts."""
    return f"{response}_squares"


def strata_dim(spec: ModelSpec) -> str:
    """The name of sigma's dimension: that of its columns, and `medium_stratum` where `medium` is a coefficient."""
    name = ":".join(spec.sigma_by)
    return f"{name}_stratum" if name in effect_columns(parse_formula(spec.formula)) else name


def further_columns(spec: ModelSpec, formula: Formula) -> list[str]:
    """Columns that the model uses besides those of its formula (default series are looked for later)."""
    names = [spec.weights, spec.standard_errors, spec.counts, *spec.sigma_by, *parameter_columns(spec)]
    if spec.counts:
        names.append(squares_column(formula.response))
    if spec.residual == "ar1":
        names += [*spec.series, POSITION]
    names += smooth_columns(spec.smooths)
    return [name for name in dict.fromkeys(names) if name and name not in formula.columns]


def series_columns(spec: ModelSpec, formula: Formula, present: Sequence[str]) -> list[str]:
    """The columns whose combinations are the series; shapes of one joint model are series of their own."""
    if spec.series:
        return list(spec.series)
    found = [name for name in SERIES_KEY if name in present and name != "blend_shape"]
    if not found:
        raise SpecError(
            "residual='ar1': expected a column that tells the series apart "
            f"({', '.join(SERIES_KEY[:-1])}), found none: name it with series=."
        )
    return [*found, *(["blend_shape"] if "blend_shape" in formula.columns else [])]


def root_precision(spec: ModelSpec, frame: pd.DataFrame) -> np.ndarray:
    """(row,) √weight, √count or 1 / standard error, else 1: the precision of a row's response."""
    if spec.counts:
        return np.sqrt(_positive(frame, spec.counts))
    if spec.standard_errors and not has_sigma_prior(spec.priors):
        return 1.0 / _positive(frame, spec.standard_errors)
    return np.sqrt(_positive(frame, spec.weights)) if spec.weights else np.ones(len(frame))


def read_residual(spec: ModelSpec, formula: Formula, frame: pd.DataFrame, outcome: np.ndarray) -> Residual:
    """The residual structure of all rows together; `Residual.rows` takes those of one outcome.

    Raises
    ------
    SpecError, FitError
        For strata of one level, positions that are not whole or occur twice, counts that are not whole.
    """
    residual = Residual()
    if spec.sigma_by:
        residual = _strata(spec, formula, frame)
    if spec.standard_errors and has_sigma_prior(spec.priors):
        residual = residual._replace(known_variance=_positive(frame, spec.standard_errors) ** 2)
    if spec.counts:
        count, squares = _replicates(spec, formula, frame)
        residual = residual._replace(count=count, squares=squares)
    if spec.residual == "ar1":
        names = series_columns(spec, formula, [str(name) for name in frame.columns])
        series, position = row_codes(frame, names).astype(np.int64), _position(frame)
        _check_series(series, position, outcome, names)
        residual = residual._replace(series=series, position=position)
    return residual


def _positive(frame: pd.DataFrame, name: str) -> np.ndarray:
    values = frame[name].to_numpy(dtype=np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise FitError(
            f"{name}: expected positive numbers, found {values[~(values > 0)][:1]}: exclude those rows."
        )
    return values


def _strata(spec: ModelSpec, formula: Formula, frame: pd.DataFrame) -> Residual:
    if "blend_shape" in spec.sigma_by and "blend_shape" not in formula.columns:
        raise SpecError(
            "sigma_by: expected columns other than blend_shape, found it: each shape is fitted apart and has its own "
            "sigma."
        )
    for name in spec.sigma_by:
        if pd.api.types.is_float_dtype(frame[name]):
            raise SpecError(
                f"sigma_by: expected labels in {name}, found {frame[name].dtype}: cut it into categories."
            )
    codes, levels = level_codes(frame, spec.sigma_by)
    if len(levels) < 2:
        raise SpecError(
            f"sigma_by: expected at least two strata of {':'.join(spec.sigma_by)}, found {', '.join(levels)}."
        )
    return Residual(strata=levels, dim=strata_dim(spec), stratum=codes)


def _replicates(spec: ModelSpec, formula: Formula, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    count, name = _positive(frame, spec.counts), squares_column(formula.response)
    if (count != np.floor(count)).any():
        raise FitError(
            f"{spec.counts}: expected whole numbers of values, found {count[count != np.floor(count)][0]:g}: precision "
            "weights are another argument (weights)."
        )
    squares = frame[name].to_numpy(dtype=np.float64)
    if not (np.isfinite(squares).all() and (squares >= 0).all()):
        raise FitError(
            f"{name}: expected sums of squares of 0 or more, found {squares[~(squares >= 0)][:1]}."
        )
    if (squares[count == 1] > 0).any():
        raise FitError(
            f"{name}: expected 0 where {spec.counts} is 1 (one value does not deviate from its mean), found "
            f"{squares[(count == 1) & (squares > 0)][0]:g}."
        )
    return count, squares


def _position(frame: pd.DataFrame) -> np.ndarray:
    values = frame[POSITION].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all() or (values != np.floor(values)).any():
        raise FitError(
            f"residual='ar1': expected whole numbers in {POSITION} (the place within a series), found others."
        )
    return values.astype(np.int64)


def _check_series(
    series: np.ndarray, position: np.ndarray, outcome: np.ndarray, names: Sequence[str]
) -> None:
    order = np.lexsort((position, series, outcome))
    joined = (np.diff(series[order]) == 0) & (np.diff(outcome[order]) == 0)
    again = joined & (np.diff(position[order]) == 0)
    if again.any():
        raise FitError(
            f"residual='ar1': expected each {POSITION} once in a series ({', '.join(names)}), found "
            f"{position[order][:-1][again][0]} twice: name further columns with series=."
        )
    if not joined.any():
        raise FitError(
            f"residual='ar1': expected series ({', '.join(names)}) of two rows or more, found {len(series)} rows that "
            "stand alone: keep the bins, or leave residual out."
        )
