"""Left and right: the mean of both (34 shapes), both as they are (52), or asymmetry = left - right (18 pairs).

Done frame by frame, before anything is averaged, so that the peak of a mean is a peak that occurred. A frame in
which one side was not tracked counts as not tracked. A pair of which the recording holds one side only cannot be
combined: it is left out and named.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from mien.data_prep.recipe_values import outcome_names
from mien.study.blend_shapes import members

__all__ = ["Outcomes", "combine_sides"]


class Outcomes(NamedTuple):
    """What the recipe measures in each frame."""

    names: tuple[str, ...]
    values: np.ndarray  # (blend_shape, time) float32, contiguous rows
    missing: tuple[str, ...]  # outcomes that the recording cannot give


def combine_sides(
    activation: np.ndarray, names: list[str], sides: str, *, only: Collection[str] | None = None
) -> Outcomes:
    """Outcomes from `activation` (time, blend_shape) with its shapes' `names`; `only` some of them, or all."""
    column = {name: index for index, name in enumerate(names)}
    outcomes = [name for name in outcome_names(sides) if only is None or name in only]
    present = [name for name in outcomes if all(member in column for member in members(name))]
    by_shape = np.asarray(activation, dtype=np.float32).T
    values = np.empty((len(present), len(activation)), dtype=np.float32)
    for row, name in zip(values, present, strict=True):
        left, *right = (by_shape[column[member]] for member in members(name))
        if not right:
            row[:] = left
        elif sides == "asymmetry":
            np.subtract(left, right[0], out=row)
        else:
            np.add(left, right[0], out=row)
            np.multiply(row, np.float32(0.5), out=row)
    return Outcomes(tuple(present), values, tuple(name for name in outcomes if name not in present))
