"""Sampling of `factor_kernel`: where to start, nutpie, and draws in the model's own terms."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mien.models.diagnostics import array_checks
from mien.models.engines import factor_kernel as kernel
from mien.models.engines.attempts import Attempt, sampled
from mien.models.engines.compiled_density import CompiledDensity
from mien.models.engines.problem import Settings
from mien.models.factors.sums import FactorSums

__all__ = ["FactorDraws", "sample_factors"]

log = logging.getLogger(__name__)

TUNE = 500
# Times the draws, target acceptance. Every path has 15 steps: at 0.7 they go further, for a third more effective draws.
ATTEMPTS = ((1, 0.7), (2, 0.8), (4, 0.95))
ROUNDS = 50  # of the first estimate
LEAST = 0.02  # of a uniqueness and of a factor's size, in the first estimate


class FactorDraws(NamedTuple):
    """Draws in any rotation; the leading dims are (chain, draw).

    loading (…, shape, factor), uniqueness (…, shape), between_loading, between_uniqueness; loading_sds (…, 2): within,
    between. stats : of the sampler. note : attempts that missed the gate.
    """

    loading: np.ndarray
    uniqueness: np.ndarray
    between_loading: np.ndarray
    between_uniqueness: np.ndarray
    loading_sds: np.ndarray
    stats: Mapping[str, np.ndarray]
    note: str = ""

    @property
    def quantities(self) -> dict[str, np.ndarray]:
        """What no rotation changes, (chain, draw) each: the variances that make up every shape's."""
        found = {
            f"sd of loadings {level}": self.loading_sds[..., place]
            for place, level in enumerate(("within", "between"))
        }
        for level, loading, uniqueness in (
            ("within", self.loading, self.uniqueness),
            ("between", self.between_loading, self.between_uniqueness),
        ):
            common = (loading**2).sum(axis=-1)
            share = common / (common + uniqueness)
            for shape in range(uniqueness.shape[-1]):
                if loading.shape[-1]:
                    found[f"communality {level} {shape}"] = share[..., shape]
                found[f"uniqueness {level} {shape}"] = uniqueness[..., shape]
        return found


def sample_factors(
    sums: FactorSums,
    factors: int,
    between: int,
    priors: Sequence[float],
    settings: Settings,
    *,
    tune: int = TUNE,
    attempts: Sequence[tuple[int, float]] = ATTEMPTS,
) -> FactorDraws:
    """Draws that pass the gate, or those of the last attempt.

    Parameters
    ----------
    sums : of shapes in sds within groups.
    priors : mean and sd of the log of the loadings' sd, of log uniquenesses; the same four between groups.
    """
    basis, error, start = _first_estimate(sums, factors, between)
    model = kernel.Model(
        factors, between, sums.weight, sums.count, *kernel.squared_where_cheaper(sums.first, sums.vectors), basis,
        np.array([*priors, error]),
    )  # fmt: skip
    compiled = CompiledDensity(
        dims=None,
        density=kernel.address(),
        buffer=kernel.pack(model),
        start=start,
    )
    notes: list[str] = []
    for number, (times, acceptance) in enumerate(attempts):
        seed = int(np.random.SeedSequence([settings.seed, factors, between, number]).generate_state(1)[0])
        result = sampled(compiled, settings, Attempt(times, acceptance, seed, tune))
        draws = _named(result, model, "; ".join(notes))
        missed = array_checks(draws.quantities, draws.stats["energy"], draws.stats["diverging"])
        if not missed:
            return draws
        more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
        notes.append(f"{times} x draws missed the gate ({', '.join(missed[:3])}{more})")
        log.info("co-activation: %s", notes[-1])
    return draws._replace(note="; ".join(notes))  # pyright: ignore[reportPossiblyUnboundVariable]


def _named(result: Mapping[str, np.ndarray], model: kernel.Model, note: str) -> FactorDraws:
    shape = result["q"].shape[:2]
    flat = np.ascontiguousarray(result["q"].reshape(shape[0] * shape[1], -1))
    parts = kernel.unfolded(flat, model.basis, model.factors, model.between, model.priors[8])
    stats = {name.removeprefix("stat "): value for name, value in result.items() if name.startswith("stat ")}
    return FactorDraws(*(part.reshape(*shape, *part.shape[1:]) for part in parts), stats=stats, note=note)


def _first_estimate(sums: FactorSums, factors: int, between: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Q' of the gauge, the standard error of a loading between, and where to start.

    Principal factors within, and of what is left of the contrasts between.
    """
    degrees, shapes = float(sums.count[0]), sums.vectors.shape[1]
    loading, uniqueness = _principal_factors(sums.within / degrees, factors)
    left, size, _ = np.linalg.svd(loading, full_matrices=True)
    f = np.zeros((shapes, factors))
    np.fill_diagonal(f, np.maximum(size, LEAST))
    place = np.tri(shapes, factors, dtype=bool)
    diagonal = np.arange(factors)
    f[diagonal, diagonal] = np.log(f[diagonal, diagonal])
    first, weight = int(sums.first[1]), np.repeat(sums.weight[1:], np.diff(sums.first[1:]))
    vectors = sums.vectors[first:] / np.sqrt(weight)[:, None]
    scatter = vectors.T @ vectors / sums.groups - sums.within / degrees * np.mean(1.0 / sums.weight[1:])
    value, vector = np.linalg.eigh(scatter)
    among = vector[:, ::-1][:, :between] * np.sqrt(np.maximum(value[::-1][:between], LEAST**2))
    rest = np.maximum(np.diag(scatter) - (among**2).sum(axis=1), LEAST)
    sds = [np.sqrt(np.mean(loading**2)), np.sqrt(np.mean(among**2)) if between else LEAST]
    sds = np.maximum(sds, LEAST)
    error = float(np.sqrt((np.mean(rest) + np.mean(1.0 / sums.weight[1:])) / sums.groups))
    scaled = among.ravel() * np.hypot(sds[1], error) / sds[1]
    start = np.concatenate([f[place], np.log(uniqueness), scaled, np.log(rest), np.log(sds)])
    return np.ascontiguousarray(left.T), error, start


def _principal_factors(covariance: np.ndarray, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """Loadings (shape, factor) and uniquenesses by iterated principal factors."""
    variance = np.diag(covariance)
    uniqueness = 0.5 * variance
    loading = np.zeros((len(variance), factors))
    for _ in range(ROUNDS):
        root = np.sqrt(uniqueness)
        value, vector = np.linalg.eigh(covariance / np.outer(root, root))
        size = np.sqrt(np.maximum(value[::-1][:factors] - 1.0, 0.0))
        loading = root[:, None] * vector[:, ::-1][:, :factors] * size
        uniqueness = np.maximum(variance - (loading**2).sum(axis=1), LEAST * variance)
    return loading, uniqueness
