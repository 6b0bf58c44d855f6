"""Timed fits through the public `mien.fit`, everything of the result as arrays, and how much a fit is worth.

The worth of draws is the least bulk ESS over hyperparameters and coefficients; of the collapsed engine it is the
engine's own `ess_min`, the least over theta: its draws are resampled points, and an autocorrelation ESS of those says
nothing. Coefficients are drawn independently given theta and are worth no less.
"""

import gc
import json
import time
from typing import NamedTuple

import numpy as np

import mien


class NotThereError(Exception):
    """A peer or an engine that is not installed; the message says which and why."""


class Timed(NamedTuple):
    """One fit: wall seconds with everything materialised, and the tree."""

    seconds: float
    tree: object


def fit(formula, data, *, engine, draws=1000, seed=0, **keywords):
    """4 × `draws` draws, result materialised."""
    gc.collect()
    start = time.perf_counter()
    tree = mien.fit(formula, data, engine=engine, draws=draws, chains=4, seed=seed, **keywords)
    arrays = [np.asarray(values) for values in tree["posterior"].data_vars.values()]
    seconds = time.perf_counter() - start
    assert all(array.shape[:2] == (4, draws) for array in arrays)
    return Timed(seconds, tree)


def require(engine):
    """Stop where this engine is not in the package (yet)."""
    from mien.models.engines import ENGINES

    if engine not in ENGINES:
        raise NotThereError(f"no engine {engine!r} in mien.models.engines")


def verdicts(tree):
    """The collapsed engine's own words about each outcome, one dict each; nan for what NUTS in its place lacks."""
    missing = {"khat_engine": float("nan"), "ess_min": float("nan"), "fallback": "", "reason": ""}
    return [{**missing, **one} for one in json.loads(tree.attrs["engine_verdict"]).values()]


class Worth(NamedTuple):
    """Of draws: least bulk ESS, of what, and the largest R-hat."""

    ess_min: float
    of: str
    r_hat_max: float


def worth(draws):
    """`draws` maps names to (chain, draw)."""
    from arviz_stats.base import array_stats

    axes = {"chain_axis": 0, "draw_axis": 1}
    ess = {
        name: float(array_stats.ess(values, method="bulk", **axes))
        for name, values in draws.items()
        if np.ptp(values) > 0
    }
    r_hat = max(float(array_stats.rhat(draws[name], **axes)) for name in ess)
    least = min(ess, key=ess.__getitem__)
    return Worth(ess[least], least, r_hat)


def scalars(tree):
    """Hyperparameters and coefficients of a fit of one outcome, (chain, draw) each."""
    posterior = tree["posterior"]
    found = {}
    for name, values in posterior.data_vars.items():
        array = np.asarray(values)
        if array.ndim == 2:
            found[str(name)] = array
        elif str(name).endswith("_corr"):
            size = array.shape[-1]
            found |= {f"{name}[{i},{j}]": array[..., i, j] for i in range(size) for j in range(i)}
    return found
