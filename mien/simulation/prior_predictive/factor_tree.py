"""Draws from the priors of a co-activation model, in the shape of its fit.

    τ, Ψ ~ LogNormal,    Λ ~ N(0, τ²)        at each level, in sds within groups

Coefficients have flat priors and are integrated out: nothing is expected of them. Loadings of the prior have no
simple structure to be turned to, and are left as they are drawn.
"""

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.factors.fitting import FactorPosterior, factor_attrs, factor_tree
from mien.models.factors.rotation import Alignment
from mien.models.factors.rows import factor_rows
from mien.models.factors.spec import FactorSpec

__all__ = ["draw_factors", "prior_factor_tree"]


def prior_factor_tree(
    spec: FactorSpec, data: pd.DataFrame, participants: pd.DataFrame | None, shape: tuple[int, int], seed: int
) -> xr.DataTree:
    """The tree of (chain, draw) draws."""
    rows = factor_rows(spec, data, participants)
    drawn = draw_factors(spec, len(rows.shapes), shape, np.random.default_rng(seed))
    tree = factor_tree(rows, drawn)
    tree.attrs.update(factor_attrs(spec, rows, drawn, seed))
    return tree


def draw_factors(
    spec: FactorSpec, shapes: int, shape: tuple[int, int], rng: np.random.Generator
) -> FactorPosterior:
    """Loadings, uniquenesses and the sds of loadings, from their priors."""
    size = shape[0] * shape[1]
    numbers = np.reshape(spec.prior_numbers, (4, 2))  # mean and sd of log τ_w, log Ψ_w, log τ_b, log Ψ_b
    sds = np.column_stack([rng.lognormal(numbers[place, 0], numbers[place, 1], size) for place in (0, 2)])
    loadings = [
        _unturned(sds[:, place, None, None] * rng.standard_normal((size, shapes, count)))
        for place, count in enumerate((spec.factors, spec.between))
    ]
    uniqueness, between = (
        rng.lognormal(numbers[place, 0], numbers[place, 1], (size, shapes)) for place in (1, 3)
    )
    stats = {"energy": np.zeros(shape), "diverging": np.zeros(shape, dtype=bool)}
    return FactorPosterior(loadings[0], uniqueness, loadings[1], between, sds, shape[0], stats, "", 0, 0)


def _unturned(loading: np.ndarray) -> Alignment:
    size, _, factors = loading.shape
    return Alignment(
        loading, np.broadcast_to(np.eye(factors), (size, factors, factors)), np.ones((size, factors))
    )
