"""What samplers of engine "nuts" share: seeds, cores, and running again what misses the gate.

An outcome that misses the gate (R-hat, effective size, divergences) is run again with 2 and then 4 times the draws and
a smaller step, and thinned to the size asked for, so that arrays stay rectangular and the diagnostics can be recomputed
from what is stored. Every outcome has a seed of its own, from the fit's seed and its name.
"""

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mien.models.design import Block
from mien.models.diagnostics import array_checks
from mien.models.engines import gaussian_kernel as kernel
from mien.models.engines.problem import Draws, Outcome, Settings

__all__ = ["STATS", "Attempt", "correlations_of", "layout_of", "ordered_blocks", "sampled", "until_passed"]

log = logging.getLogger(__name__)

TUNE = 300
ATTEMPTS = (
    (1, 0.87),
    (2, 0.95),
    (4, 0.99),
)  # times the draws, target acceptance; at 0.8 3 shapes in 34 missed
STATS = {
    "diverging": "diverging",
    "energy": "energy",
    "n_steps": "n_steps",
    "step_size": "step_size",
    "lp": "logp",
}


class Attempt(NamedTuple):
    """One run: times the draws asked for, target acceptance, seed, warm-up draws."""

    times: int
    acceptance: float
    seed: int
    tune: int = TUNE


def until_passed(
    outcome: Outcome,
    settings: Settings,
    run: Callable[[Attempt, str], Draws],
    attempts: Sequence[tuple[int, float]] = ATTEMPTS,
) -> Draws:
    """Draws that pass the gate, or those of the last attempt; `run` takes an attempt and the notes so far."""
    notes: list[str] = []
    for number, (times, acceptance) in enumerate(attempts):
        draws = run(Attempt(times, acceptance, _seed(settings, outcome.name, number)), "; ".join(notes))
        missed = _missed(draws)
        if not missed:
            return draws
        notes.append(f"{times} x draws missed the gate ({missed})")
        log.info("%s: %s", outcome.name, notes[-1])
    return draws._replace(note="; ".join(notes))  # pyright: ignore[reportPossiblyUnboundVariable]


def sampled(model: Any, settings: Settings, attempt: Attempt) -> dict[str, np.ndarray]:
    """Every variable and "stat …" of a nutpie model, (chain, draw, …), thinned back to `settings.draws`."""
    import nutpie

    times = attempt.times
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree: Any = nutpie.sample(
            model, draws=times * settings.draws, tune=attempt.tune * min(times, 2), chains=settings.chains,
            cores=_cores(settings.chains), seed=attempt.seed, progress_bar=False, save_warmup=False,
            target_accept=attempt.acceptance,
        )  # fmt: skip
    values = {
        str(name): item.values[:, times - 1 :: times] for name, item in tree["posterior"].data_vars.items()
    }
    stats = tree["sample_stats"]
    for ours, theirs in STATS.items():
        values[f"stat {ours}"] = stats[theirs].values[:, times - 1 :: times]
    # a divergence anywhere in a thinned stretch counts for the draw that is kept
    diverging = stats["diverging"].values
    values["stat diverging"] = diverging.reshape(diverging.shape[0], -1, times).any(axis=2)
    return values


def _seed(settings: Settings, name: str, attempt: int) -> int:
    label = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return int(np.random.SeedSequence([settings.seed, label, attempt]).generate_state(1)[0])


def _cores(chains: int) -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(chains, available))


def _missed(draws: Draws) -> str:
    """What of the gate these draws miss, as text, "" for nothing."""
    values = {**draws.coefficients, **draws.sds, **draws.parameters}
    if draws.sigma is not None:
        values["sigma"] = draws.sigma
    for factor, matrix in draws.correlations.items():
        k = matrix.shape[-1]
        values |= {f"{factor}_corr {i},{j}": matrix[..., i, j] for i in range(k) for j in range(i)}
    moving = {name: value for name, value in values.items() if np.ptp(value) > 0}
    failed = array_checks(moving, draws.stats["energy"], draws.stats["diverging"])
    return ", ".join(failed)


def ordered_blocks(outcome: Outcome) -> list[int]:
    """Blocks by falling number of levels: the order in which the effects are laid out."""
    blocks = outcome.design.blocks
    return sorted(range(len(blocks)), key=lambda place: -len(blocks[place].levels))


def layout_of(outcome: Outcome) -> kernel.Layout:
    """Where the effects, sds and partial correlations of each block lie."""
    start, sd, partial = 0, 0, 0
    rows = []
    for place in ordered_blocks(outcome):
        block = outcome.design.blocks[place]
        k = len(block.terms)
        rows.append((start, len(block.levels), k, sd, partial))
        start += len(block.levels) * k
        sd += k
        partial += k * (k - 1) // 2
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    places = [np.ascontiguousarray(table[:, column]) for column in range(5)]
    return kernel.Layout(places[0], places[1], places[2], places[3], places[4], np.array([start]))


def correlations_of(
    outcome: Outcome, layout: kernel.Layout, blocks: Sequence[Block], partial: np.ndarray, shape: tuple[int, int]
) -> dict[str, np.ndarray]:  # fmt: skip
    """Factor → (chain, draw, term, term), terms of all its blocks in the formula's order.

    blocks : as laid out. partial : (draw, partial).
    """
    found: dict[str, np.ndarray] = {}
    for factor in dict.fromkeys(block.factor for block in outcome.design.blocks):
        mine = [b for b, block in enumerate(blocks) if block.factor == factor]
        if all(len(blocks[b].terms) == 1 for b in mine):
            continue
        terms = [term for block in outcome.design.blocks if block.factor == factor for term in block.terms]
        matrix = np.zeros((shape[0] * shape[1], len(terms), len(terms))) + np.eye(len(terms))
        for b in mine:
            k = len(blocks[b].terms)
            places = [terms.index(term) for term in blocks[b].terms]
            factors = np.array(
                [kernel.correlation_cholesky(draw, int(layout.first_partial[b]), k) for draw in partial]
            )
            matrix[np.ix_(range(len(matrix)), places, places)] = factors @ factors.transpose(0, 2, 1)
        found[factor] = matrix.reshape(*shape, len(terms), len(terms))
    return found
