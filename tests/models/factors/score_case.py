"""A small study with its fit, and the fit's draws as dense models."""

from functools import cache

import numpy as np
import xarray as xr

import mien
from mien.models.factors.conditional import Parameters, bases, coefficient_draws, parameters, stored_rows
from mien.simulation.co_activation import SimulatedFactors, draw_truth, simulate_factors
from tests.models.factors.dense_model import DenseModel

SEED = 3


@cache
def study() -> SimulatedFactors:
    """6 shapes, 8 persons, 12 stimuli less a tenth of the trials; valence and age have effects."""
    rng = np.random.default_rng(6)
    truth = draw_truth(rng, shapes=6, factors=2, between=1, terms=("Intercept", "valence", "age_z"))
    return simulate_factors(truth, rng, participants=8, stimuli=12, missing=0.1)


@cache
def small_fit(part="all") -> xr.DataTree:
    """Of 2 × 100 draws: enough to be averaged over, not to be believed. Not to be changed."""
    one = study()
    spec = mien.models.co_activation(
        2,
        between=1,
        covariates=("valence", "age_z") if part == "all" else (),
        part=part,
        shapes=one.data.truth.shapes,
    )
    return mien.fit(spec, one.trials, participants=one.participants, draws=100, chains=2, seed=1)


def some_draws(fit, draws, seed=SEED) -> tuple[Parameters, np.ndarray]:
    """The parameters and the B that a function with these settings takes."""
    some = parameters(fit, draws)
    drawn = coefficient_draws(bases(some), stored_rows(fit), np.random.default_rng([seed, 0x5C]))
    return some, drawn


def dense(fit, some, number, keep=slice(None)) -> DenseModel:
    """One draw on the fit's trials, or on some of them; persons who have none there are left out."""
    rows = stored_rows(fit)
    group = np.unique(rows.group[keep], return_inverse=True)[1]
    return DenseModel(
        rows.activation[keep], rows.design[keep], group, some.loading[number], some.uniqueness[number],
        some.between_loading[number], some.between_uniqueness[number],
    )  # fmt: skip


def repeated(fit, number, draws) -> xr.DataTree:
    """A fit all of whose draws are one."""
    posterior = fit["posterior"].to_dataset().isel(chain=[0], draw=np.full(draws, number))
    groups = {name: node.to_dataset() for name, node in fit.children.items()}
    posterior = posterior.assign_coords(draw=np.arange(draws))
    tree = xr.DataTree.from_dict(groups | {"posterior": posterior})
    tree.attrs = dict(fit.attrs)
    return tree


def without_rows(fit) -> xr.DataTree:
    """A fit of too many trials to be stored."""
    groups = {name: node.to_dataset() for name, node in fit.children.items() if name != "observed_data"}
    groups["constant_data"] = groups["constant_data"][["location", "scale"]]
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = dict(fit.attrs)
    return tree
