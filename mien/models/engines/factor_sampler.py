"""Sampling of `factor_kernel` by nutpie, and draws in the model's own terms."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mien.models.diagnostics import array_checks
from mien.models.engines import factor_kernel as kernel
from mien.models.engines.attempts import Attempt, sampled
from mien.models.engines.compiled_density import CompiledDensity
from mien.models.engines.factor_start import Start, find_start
from mien.models.engines.problem import Settings
from mien.models.factors.sums import FactorSums

__all__ = ["FactorDraws", "sample_factors"]

log = logging.getLogger(__name__)

TUNE = 500
# Times the draws, target acceptance. Every path has 15 steps: at 0.7 they go further, for a third more effective draws.
ATTEMPTS = ((1, 0.7), (2, 0.8), (4, 0.95))


class FactorDraws(NamedTuple):
    """Draws in any rotation; the leading dims are (chain, draw).

    loading (…, shape, factor), uniqueness (…, shape), between_loading, between_uniqueness; loading_sds (…, 2): within,
    between. stats : of the sampler. note : attempts that missed the gate.
    tried, found : see `factor_start.Start`.
    """

    loading: np.ndarray
    uniqueness: np.ndarray
    between_loading: np.ndarray
    between_uniqueness: np.ndarray
    loading_sds: np.ndarray
    stats: Mapping[str, np.ndarray]
    note: str = ""
    tried: int = 1
    found: int = 1

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
    start: Start | None = None,
    tune: int = TUNE,
    attempts: Sequence[tuple[int, float]] = ATTEMPTS,
) -> FactorDraws:
    """Draws that pass the gate, or those of the last attempt.

    Parameters
    ----------
    sums : of shapes in sds within groups.
    priors : mean and sd of the log of the loadings' sd, of log uniquenesses; the same four between groups.
    start : where chains start; None looks for it.
    """
    if start is None:
        rng = np.random.default_rng([settings.seed, factors, between, 0x57A])
        start = find_start(sums, factors, between, priors, rng)
    model = kernel.Model(
        factors, between, sums.weight, sums.count, *kernel.squared_where_cheaper(sums.first, sums.vectors),
        start.basis, np.array([*priors, start.error]),
    )  # fmt: skip
    compiled = CompiledDensity(
        dims=None, density=kernel.address(), buffer=kernel.pack(model), start=start.places
    )
    notes: list[str] = []
    for number, (times, acceptance) in enumerate(attempts):
        seed = int(np.random.SeedSequence([settings.seed, factors, between, number]).generate_state(1)[0])
        result = sampled(compiled, settings, Attempt(times, acceptance, seed, tune))
        draws = _named(result, model, "; ".join(notes))._replace(tried=start.tried, found=start.found)
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
