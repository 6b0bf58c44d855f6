"""NUTS on theta's own density, for the rare posterior that importance sampling does not reach.

The chains move in coordinates whitened by the curvature at the mode, on the density extended by signs, which has no
boundary; draws are folded back to sds ≥ 0. The verdict is the one of every sampled fit: R-hat, bulk and tail effective
size, divergences, BFMI, over every sd, correlation, sigma and rho. Where it is bad the chains run again, four times as
long, and every fourth draw is kept.
"""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mien.models.engines.collapsed.mode import Density, Mode

__all__ = ["Sampled", "sample_by_nuts"]

TUNE = 500
MORE = 4  # times the draws of a second run; engine "nuts" goes as far
STATISTICS = {
    "lp": "logp",
    "energy": "energy",
    "diverging": "diverging",
    "tree_depth": "depth",
    "n_steps": "n_steps",
}


class Sampled(NamedTuple):
    """Draws of theta (chain, draw, dim) with every sd ≥ 0.

    log_density : (chain, draw) log p(y, theta); stats : of the sampler, (chain, draw).
    notes, passed, reason : as those of weighted points.
    """

    theta: np.ndarray
    log_density: np.ndarray
    stats: Mapping[str, np.ndarray]
    notes: tuple[str, ...]
    passed: bool
    reason: str


class NotFiniteError(Exception):
    """Tells nutpie to turn the point away and go on; any other exception would end the run."""

    is_recoverable = True


def sample_by_nuts(
    density: Density,
    mode: Mode,
    *,
    draws: int,
    chains: int,
    seed: np.random.SeedSequence,
    notes: tuple[str, ...] = (),
) -> Sampled:
    """Run `chains` one after the other, `draws` of each after `TUNE` for adaptation."""
    first, second = seed.spawn(2)
    found = _run(density, mode, draws=draws, chains=chains, seed=first, acceptance=0.9)
    if not found.passed:
        notes = (*notes, f"{draws} draws: {found.reason}")
        found = _run(density, mode, draws=MORE * draws, chains=chains, seed=second, acceptance=0.99)
        stats = {name: values[:, ::MORE] for name, values in found.stats.items()}
        found = found._replace(
            theta=found.theta[:, ::MORE], log_density=found.log_density[:, ::MORE], stats=stats
        )
    return found._replace(notes=notes)


def _run(
    density: Density, mode: Mode, *, draws: int, chains: int, seed: np.random.SeedSequence, acceptance: float
) -> Sampled:
    import nutpie

    root = np.linalg.cholesky(mode.covariance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree: Any = nutpie.sample(
            _model(density, mode.theta, root), draws=draws, tune=TUNE, chains=chains, cores=1,
            seed=int(seed.generate_state(1)[0]), progress_bar=False, save_warmup=False, target_accept=acceptance,
        )  # fmt: skip
    white = tree["posterior"]["white"].values
    theta = density.parameters.fold((mode.theta + white @ root.T).reshape(-1, len(mode.theta)))
    kept = tree["sample_stats"]
    stats = {ours: kept[theirs].values for ours, theirs in STATISTICS.items()}
    reason = _reason(density, theta, stats)
    return Sampled(theta.reshape(white.shape), stats["lp"], stats, (), not reason, reason)


def _model(density: Density, centre: np.ndarray, root: np.ndarray) -> Any:
    from nutpie.compiled_pyfunc import from_pyfunc

    dim = len(centre)

    def log_density(white: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = density.gradient(centre + root @ white)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise NotFiniteError
        return float(value), gradient @ root

    return from_pyfunc(
        ndim=dim,
        make_logp_fn=lambda: log_density,
        make_expand_fn=lambda *_: lambda white: {"white": np.array(white, dtype=np.float64)},
        expanded_dtypes=[np.dtype("float64")],
        expanded_shapes=[(dim,)],
        expanded_names=["white"],
        make_initial_point_fn=lambda chain: np.random.default_rng(chain).standard_normal(dim),
    )


def _reason(density: Density, theta: np.ndarray, stats: Mapping[str, np.ndarray]) -> str:
    """What misses the limits of sampled fits, "" for nothing."""
    from mien.models.diagnostics import array_checks
    from mien.models.engines.collapsed.importance import quantities

    shape = stats["energy"].shape
    values = {name: value.reshape(shape) for name, value in quantities(density.parameters, theta).items()}
    return ", ".join(array_checks(values, stats["energy"], stats["diverging"]))
