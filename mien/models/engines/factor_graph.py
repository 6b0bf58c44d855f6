"""The two-level factor model with all its scores, in PyMC, line by line as on paper.

    y_pt = B x_pt + (Λ_b g_p + ζ_p) + (Λ_w f_pt + ε_pt)
    g_p, f_pt ~ N(0, I),   ζ_p ~ N(0, Ψ_b),   ε_pt ~ N(0, Ψ_w)
    Λ ~ N(0, τ²) each,    τ, Ψ ~ LogNormal (Ψ are variances),    B flat

Nothing is integrated out and no rotation is held, so that a trial costs as many parameters as there are factors: it is
the independent check of the engine that integrates them out, for small data.

| on paper | in the model | dims |
|---|---|---|
| B | coefficient | (blend_shape, term) |
| Λ_w, Ψ_w | loading, uniqueness | (blend_shape, factor), (blend_shape,) |
| Λ_b, Ψ_b | between_loading, between_uniqueness | (blend_shape, between_factor), (blend_shape,) |
| f, g | score, between_score | (trial, factor), (group, between_factor) |
| ζ / √Ψ_b | between_rest | (group, blend_shape) |
| τ_w, τ_b | loading_sd, between_loading_sd | – |
"""

# PyTensor's annotations know no arithmetic on variables.
# pyright: reportOperatorIssue=false, reportIndexIssue=false, reportAttributeAccessIssue=false
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from mien.models.engines.attempts import STATS
from mien.models.engines.compile_cache import compile_lock

__all__ = ["PlainDraws", "factor_model", "sample_plain"]

PARAMETERS = (
    "loading", "uniqueness", "between_loading", "between_uniqueness", "loading_sd", "between_loading_sd", "coefficient",
)  # fmt: skip


class PlainDraws(NamedTuple):
    """Draws (chain, draw, …), not rotated.

    loading (…, shape, factor), uniqueness (…, shape), between_loading (…, shape, between_factor), between_uniqueness
    (…, shape), loading_sd, between_loading_sd, coefficient (…, shape, term).
    stats : name → (chain, draw), as every sampler here has them.
    """

    loading: np.ndarray
    uniqueness: np.ndarray
    between_loading: np.ndarray
    between_uniqueness: np.ndarray
    loading_sd: np.ndarray
    between_loading_sd: np.ndarray
    coefficient: np.ndarray
    stats: Mapping[str, np.ndarray]


def factor_model(
    standardised: np.ndarray,
    design: np.ndarray,
    group: np.ndarray,
    *,
    factors: int,
    between: int,
    priors: Sequence[float] | np.ndarray,
) -> pm.Model:
    """The model of one data set.

    Parameters
    ----------
    standardised : (trial, shape) y.
    design : (trial, term) x.
    group : (trial,) codes from 0, of persons or of stimuli.
    factors, between : numbers of factors within and between groups, at least one each.
    priors : (8,) mean and sd of log τ_w, log Ψ_w, log τ_b, log Ψ_b.
    """
    # PyTensor makes float32 of Python's numbers; NumPy's stay as they are.
    of_sd, of_uniqueness, of_between_sd, of_between_uniqueness = np.reshape(priors, (4, 2)).astype(np.float64)
    coords = {
        "trial": range(len(standardised)), "blend_shape": range(standardised.shape[1]),
        "term": range(design.shape[1]), "group": range(int(group.max()) + 1),
        "factor": range(factors), "between_factor": range(between),
    }  # fmt: skip
    with pm.Model(coords=coords) as model:
        x = pm.Data("x", design, dims=("trial", "term"))
        coefficient = pm.Flat("coefficient", dims=("blend_shape", "term"))

        between_loading_sd = pm.LogNormal("between_loading_sd", *of_between_sd)
        between_loading = pm.Normal(
            "between_loading", 0.0, between_loading_sd, dims=("blend_shape", "between_factor")
        )
        between_uniqueness = pm.LogNormal("between_uniqueness", *of_between_uniqueness, dims="blend_shape")
        between_score = pm.Normal("between_score", dims=("group", "between_factor"))
        between_rest = pm.Normal("between_rest", dims=("group", "blend_shape"))
        person = between_score @ between_loading.T + between_rest * pt.sqrt(between_uniqueness)

        loading_sd = pm.LogNormal("loading_sd", *of_sd)
        loading = pm.Normal("loading", 0.0, loading_sd, dims=("blend_shape", "factor"))
        uniqueness = pm.LogNormal("uniqueness", *of_uniqueness, dims="blend_shape")
        score = pm.Normal("score", dims=("trial", "factor"))

        mean = x @ coefficient.T + person[group] + score @ loading.T
        pm.Normal("y", mean, pt.sqrt(uniqueness), observed=standardised, dims=("trial", "blend_shape"))
    return model


def sample_plain(
    model: pm.Model,
    *,
    seed: int,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    target_accept: float = 0.8,
) -> PlainDraws:
    """Draws of `factor_model` by nutpie; whether they have converged is the caller's question.

    Loadings turn freely, so that R-hat is to be asked of communalities and covariances only.
    """
    import nutpie
    from threadpoolctl import threadpool_limits

    with compile_lock(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's and PyTensor's notes on caching
        compiled = nutpie.compile_pymc_model(model, var_names=PARAMETERS)
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree: Any = nutpie.sample(
            compiled, draws=draws, tune=tune, chains=chains, cores=min(chains, os.cpu_count() or 1), seed=seed,
            progress_bar=False, save_warmup=False, target_accept=target_accept,
        )  # fmt: skip
    found = {name: tree["posterior"][name].to_numpy() for name in PARAMETERS}
    stats = {ours: tree["sample_stats"][theirs].to_numpy() for ours, theirs in STATS.items()}
    return PlainDraws(**found, stats=stats)
