"""A tree of a fit's shape whose `posterior` holds draws from the priors: what reads a fit reads the prior.

`effects`, `curves`, `person_effects`, `reliability`, `posterior_predictive` and all else need a fit's names and no
engine, so that a prior predictive check has no second implementation of any of them. Draws are independent; they are
told as four chains because readers expect chains.
"""

import json
from zlib import crc32

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.engines.problem import Problem
from mien.models.factors.spec import FactorSpec
from mien.models.fitting import data_sha256, fit_attrs, make_problem
from mien.models.outcomes import OutcomeRows
from mien.models.posterior_tree import MAX_STORED_ROWS, posterior_tree
from mien.models.prior_freezing import with_frozen, with_frozen_factors
from mien.models.spec import ModelSpec
from mien.priors import DataScale, FrozenPriors
from mien.simulation.prior_predictive.factor_tree import prior_factor_tree
from mien.simulation.prior_predictive.parameter_draws import draw_parameters
from mien.study.errors import FitError

__all__ = ["CHAINS", "ENGINE", "check_draws", "prior_draws"]

CHAINS = 4
FEWEST = 40  # draws: the ends of a 95 % interval are the outermost of them
ENGINE = "prior"


def prior_draws(
    spec: ModelSpec | FactorSpec | str,
    data: pd.DataFrame,
    *,
    participants: pd.DataFrame | None = None,
    draws: int = 400,
    seed: int = 0,
    frozen: FrozenPriors | None = None,
) -> xr.DataTree:
    """Draws from the priors of a model, in the shape of its fit.

    Parameters
    ----------
    spec : a ModelSpec, a FactorSpec or a formula. data, participants : as for `mien.fit`; they give the design, the
        rows and the scale of the default priors.
    draws : in all, rounded up to a multiple of four. seed : the same numbers for a shape, whichever others are there.
    frozen : priors of `mien.models.freeze_priors`, instead of those that would be resolved on these data.

    Returns
    -------
    DataTree as `mien.fit` returns it, with attrs["engine"] "prior" and diagnostics "passed": independent draws need
    none. `observed_data` holds the data; `posterior_predictive(tree, seed=…)` is what the prior expects in their place.

    Raises
    ------
    SpecError, FitError
        As `mien.fit`; also for flat priors, which cannot be drawn from, and above a million rows.
    """
    check_draws(draws, seed)
    shape = (CHAINS, -(-draws // CHAINS))
    if isinstance(spec, FactorSpec):
        own = spec if frozen is None else with_frozen_factors(spec, frozen)
        tree = prior_factor_tree(own, data, participants, shape, seed)
    else:
        model = ModelSpec(spec) if isinstance(spec, str) else spec
        problem, rows, scales = make_problem(model, data, participants)
        if frozen is not None:
            problem = with_frozen(problem, model, frozen)
        tree = _formula_tree(model, (problem, rows, scales), shape, seed)
    return _marked(tree, data, participants, seed)


def check_draws(draws: object, seed: object) -> None:
    """Refuse numbers that are none."""
    for name, value, least in (("draws", draws, FEWEST), ("seed", seed, 0)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise FitError(f"{name}: expected a whole number from {least}, found {value!r}.")


def _formula_tree(
    spec: ModelSpec,
    made: tuple[Problem, OutcomeRows, list[DataScale]],
    shape: tuple[int, int],
    seed: int,
) -> xr.DataTree:
    problem, rows, scales = made
    if len(rows.frame) > MAX_STORED_ROWS:
        raise FitError(
            f"prior_draws: expected at most {MAX_STORED_ROWS:,} rows, found {len(rows.frame):,}: take fewer shapes; "
            "one is enough to see what the priors expect."
        )
    sampled = [
        draw_parameters(spec.family, outcome, shape, np.random.default_rng([seed, crc32(outcome.name.encode())]))
        for outcome in problem.outcomes
    ]  # fmt: skip
    tree = posterior_tree(problem, rows, sampled, scales)
    tree.attrs.update(fit_attrs(spec, problem, rows, sampled, ENGINE))
    tree.attrs["derived"] = json.dumps(dict(rows.derived))
    return tree


def _marked(
    tree: xr.DataTree, data: pd.DataFrame, participants: pd.DataFrame | None, seed: int
) -> xr.DataTree:
    tree.attrs |= {
        "engine": ENGINE,
        "engine_reason": "drawn from the priors: the data have not been seen",
        "seed": int(seed),
        "data_sha256": data_sha256(data, participants),
        "recipe_sha256": str(data.attrs.get("recipe_sha256", "")),
        "tracker": "",
        "diagnostics": "passed",
        "diagnostics_detail": json.dumps({"kind": ENGINE, "failed": {}}),
    }
    return tree
