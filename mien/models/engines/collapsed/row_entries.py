"""Rows as a density has them: the entries of their cell and the residual, and which cell that is."""

import numpy as np

from mien.models.design import Design
from mien.models.engines.collapsed.coefficients import CoefficientPrior
from mien.models.engines.collapsed.moments import Moments
from mien.models.engines.problem import Outcome

__all__ = ["cells_of_rows", "row_entries"]


def row_entries(outcome: Outcome, prior: CoefficientPrior, origin: np.ndarray) -> np.ndarray:
    """(row, entry + 1): columns of the terms, of the free coefficients as the density has them, and the residual.

    `prior` and `origin` are a density's `coefficients` and `origin`; all is times the root precision.
    """
    design = outcome.design
    free = design.columns[:, prior.free]
    used = free @ prior.back
    left = outcome.response - design.columns @ prior.held - free @ prior.shift - used @ origin
    columns = [*(block.columns for block in design.blocks), used, left[:, None]]
    return np.concatenate(columns, axis=1) * outcome.root_precision[:, None]


def cells_of_rows(design: Design, moments: Moments) -> np.ndarray:
    """(row,) a cell with the row's levels; strata do not matter, their variables are the same."""
    sizes = [len(levels) for levels in moments.levels]
    if not sizes:
        return np.zeros(len(design.columns), dtype=np.int64)
    codes = {block.factor: block.codes for block in design.blocks}
    keys = np.ravel_multi_index([codes[factor] for factor in moments.factors], sizes)
    known, place = np.unique(np.ravel_multi_index(list(moments.codes.T), sizes), return_index=True)
    return place[np.searchsorted(known, keys)].astype(np.int64)
