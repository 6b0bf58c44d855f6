"""What values an outcome can have.

A tracker's coefficient lies in [0, 1] (a little above 1 occurs), left minus right in [−1, 1]. A change score is the
difference of two such values, a contrast of shapes a weighted sum. z-scores have no ends, and then nothing is called
impossible.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mien.study.errors import FitError

__all__ = ["Possible", "check_possible", "possible_of", "possible_values"]

ROUNDING = 1e-5  # of float32 activations


class Possible(NamedTuple):
    """The ends of what can occur, and why these."""

    low: float
    high: float
    why: str

    @property
    def width(self) -> float:
        """The largest difference there can be."""
        return self.high - self.low

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Whether each value cannot occur."""
        return (values < self.low - ROUNDING) | (values > self.high + ROUNDING)


def check_possible(given: Sequence[float] | None) -> Possible | None:
    """The range that the user gives.

    Raises
    ------
    FitError
    """
    if given is None:
        return None
    ends = np.asarray(given, dtype=np.float64)
    if ends.shape != (2,) or not np.isfinite(ends).all() or not ends[0] < ends[1]:
        raise FitError(f"possible: expected the lowest and the highest value, found {given!r}.")
    return Possible(float(ends[0]), float(ends[1]), "as given")


def possible_values(data: pd.DataFrame, response: str) -> Possible | None:
    """The range of single shapes, from the table's columns; None where nothing tells it.

    Parameters
    ----------
    data : the table that the model is for. response : the outcome's column.
    """
    values = _finite(data, response)
    raw = _finite(data, "raw") if response != "raw" else values
    if response == "activation" and len(raw):
        single = _of_raw(raw)
        if single is None:
            return None
        if len(raw) == len(values) and np.allclose(raw, values, atol=ROUNDING):
            return single._replace(why=f"activation is not corrected by a baseline: {single.why}")
        change = Possible(
            single.low - single.high, single.high - single.low, "change from the baseline, of values in "
            f"[{single.low:g}, {single.high:g}]",
        )  # fmt: skip
        return None if change.outside(values).any() else change
    return _of_raw(values)


def _finite(data: pd.DataFrame, name: str) -> np.ndarray:
    if name not in data.columns or not pd.api.types.is_numeric_dtype(data[name]):
        return np.zeros(0)
    values = data[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return values[np.isfinite(values)]


def _of_raw(values: np.ndarray) -> Possible | None:
    """[0, 1] or [−1, 1] where all values lie there, a little above 1 allowed."""
    if not len(values) or np.abs(values).max() > 1.5:
        return None
    high = max(1.0, float(values.max()))
    if values.min() < -ROUNDING:
        return Possible(
            -high, high, "values of both signs, as differences of the sides or from a baseline are"
        )
    return Possible(0.0, high, "a tracker's coefficients")


def possible_of(
    shape: str, single: Possible | None, contrasts: Mapping[str, Mapping[str, float]]
) -> Possible | None:
    """The range of one outcome: that of single shapes, or of a weighted sum of them."""
    if single is None or shape not in contrasts or single.why == "as given":
        return single
    ends = [sorted((weight * single.low, weight * single.high)) for weight in contrasts[shape].values()]
    return Possible(sum(low for low, _ in ends), sum(high for _, high in ends), f"weighted sum; {single.why}")
