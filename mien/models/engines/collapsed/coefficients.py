"""Coefficients in coordinates in which nothing cancels, and their prior there.

The columns of X and the outcome are centred where the design has an intercept to take up the means, and the expansion
point is the least squares estimate. β = A γ + shift; Fixed coefficients are taken off the response.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.moments import Moments
from mien.priors import Fixed, Normal, ResolvedPrior

__all__ = ["CoefficientPrior", "coefficient_prior"]

LOG_2PI = float(np.log(2.0 * np.pi))


class CoefficientPrior(NamedTuple):
    """Coefficients β = A γ + shift of the free ones, and the prior of γ.

    free : (coefficient,) which are not Fixed; held : values of those that are, 0 elsewhere.
    back : A; shift : of β; precision, mean : of γ's prior about the expansion point γ₀ (so mean is m − γ₀).
    log_normaliser : log |P| of the normal ones + log 2π of the flat ones.
    """

    free: np.ndarray
    held: np.ndarray
    back: np.ndarray
    shift: np.ndarray
    precision: np.ndarray
    mean: np.ndarray
    log_normaliser: float

    def coefficients_at(self, gamma: np.ndarray) -> np.ndarray:
        """(draw, coefficient), in the design's order, of γ (draw, free coefficient)."""
        coefficients = np.empty((len(gamma), len(self.free)))
        coefficients[:] = self.held
        coefficients[:, self.free] = gamma @ self.back.T + self.shift
        return coefficients


def coefficient_prior(
    names: Sequence[str], priors: Mapping[str, ResolvedPrior], moments: Moments
) -> tuple[CoefficientPrior, np.ndarray, np.ndarray]:
    """The prior; B (entry, column) of the free coefficients' columns in terms of the moments'; and the response's."""
    kinds = [priors[name].prior for name in names]
    free = np.array([not isinstance(kind, Fixed) for kind in kinds], dtype=bool)
    held = np.array([kind.value if isinstance(kind, Fixed) else 0.0 for kind in kinds])
    columns = moments.columns.coefficients
    centre, width = moments.centre, len(moments.centre)
    raw = np.zeros((len(names), width))
    raw[np.arange(len(names)), columns] = 1.0
    raw[:, 0] += np.where(columns > 0, centre[columns], 0.0)
    response = np.zeros(width)
    response[-1], response[0] = 1.0, centre[-1]
    response -= held @ raw
    used, count = raw[free], int(free.sum())
    back, shift = np.eye(count), np.zeros(count)
    constant = np.flatnonzero(columns[free] == 0)
    if len(constant):  # the intercept takes up the columns' and the outcome's means
        at = int(constant[0])
        means = used[:, 0].copy()
        means[at] = 0.0
        back[at] -= means
        shift[at] = response[0]
        used[:, 0] -= means
        response[0] = 0.0
    normal = np.array([isinstance(kind, Normal) for kind in kinds], dtype=bool)[free]
    sds = np.array([kind.sd if isinstance(kind, Normal) else 1.0 for kind in kinds])[free]
    means = np.array([kind.mean if isinstance(kind, Normal) else 0.0 for kind in kinds])[free]
    own = np.where(normal, sds**-2.0, 0.0)
    precision = back.T @ (own[:, None] * back)
    mean = np.linalg.solve(back, means - shift) if count else means
    log_normaliser = float(np.log(own[normal]).sum()) + float((~normal).sum()) * LOG_2PI
    return CoefficientPrior(free, held, back, shift, precision, mean, log_normaliser), used, response
