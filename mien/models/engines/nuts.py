"""Engine "nuts": one PyMC model compiled for all outcomes, its data swapped by nutpie's `with_data`.

For each outcome a pilot estimate chooses coordinates in which the posterior is nearly spherical (`pilot`), then four
chains run. An outcome that misses the gate (R-hat, effective size, divergences) is run again with 2 and then 4 times
the draws and a smaller step, and thinned to the size asked for, so that arrays stay rectangular and the diagnostics
can be recomputed from what is stored. Every outcome has a seed of its own, from the fit's seed and its name.
"""

import dataclasses
import hashlib
import logging
import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from mien.models.diagnostics import array_checks
from mien.models.engines import gaussian_kernel as kernel
from mien.models.engines import pymc_graph as graph
from mien.models.engines.compile_cache import compile_lock
from mien.models.engines.pilot import Pilot, Rows, make_pilot
from mien.models.engines.problem import Draws, Outcome, Problem, Progress, Settings
from mien.priors import Fixed, Flat, Normal
from mien.study.errors import FitError

__all__ = ["NutsEngine", "ordered_blocks"]

log = logging.getLogger(__name__)

MAX_EFFECTS = 2000  # the pilot's dense Cholesky factor: 2,000 effects take 0.2 s an evaluation
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


class _Prepared(NamedTuple):
    structure: graph.Structure
    data: dict[str, np.ndarray]
    pilot: Pilot
    layout: kernel.Layout
    offset: dict[str, float]  # coefficients that a Fixed prior holds


def ordered_blocks(outcome: Outcome) -> list[int]:
    """Blocks by falling number of levels: the order in which the effects are laid out."""
    blocks = outcome.design.blocks
    return sorted(range(len(blocks)), key=lambda place: -len(blocks[place].levels))


def _layout(outcome: Outcome) -> kernel.Layout:
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


def _rows(outcome: Outcome, layout: kernel.Layout, free: list[int], fixed: dict[int, float]) -> Rows:
    """W and y, multiplied by the root of the precision; coefficients held fixed are taken off y."""
    count = len(outcome.response)
    row, column, value = [], [], []
    for b, place in enumerate(ordered_blocks(outcome)):
        block = outcome.design.blocks[place]
        for j in range(len(block.terms)):
            row.append(np.arange(count))
            column.append(layout.start[b] + block.codes * len(block.terms) + j)
            value.append(block.columns[:, j])
    for j, place in enumerate(free):
        row.append(np.arange(count))
        column.append(np.full(count, layout.coefficients[0] + j))
        value.append(outcome.design.columns[:, place])
    size = int(layout.coefficients[0]) + len(free)
    if not row:
        columns = csr_array((count, size))
    else:
        entries = np.concatenate(value) * np.tile(outcome.root_precision, len(row))
        columns = csr_array((entries, (np.concatenate(row), np.concatenate(column))), shape=(count, size))
    left = outcome.response - sum(held * outcome.design.columns[:, place] for place, held in fixed.items())
    return Rows(columns, left * outcome.root_precision)


def _prepare(outcome: Outcome) -> _Prepared:
    design, priors = outcome.design, outcome.priors
    order = ordered_blocks(outcome)
    layout = _layout(outcome)
    blocks = [design.blocks[place] for place in order]
    sds = [priors[f"sd:{term}|{block.factor}"].prior for block in blocks for term in block.terms]
    sigma = priors["sigma"].prior
    corrs = [priors[f"corr:{block.factor}"].prior for block in blocks if len(block.terms) > 1]
    sizes = [len(block.terms) for block in blocks if len(block.terms) > 1]
    data = graph.prior_data(sds, sigma, corrs, sizes)
    kinds = [
        graph.prior_kind(prior)
        for prior, k in zip(corrs, sizes, strict=True)
        for _ in range(k * (k - 1) // 2)
    ]

    held = {
        place: priors[name].prior.value  # type: ignore[union-attr]
        for place, name in enumerate(design.coefficients)
        if isinstance(priors[name].prior, Fixed)
    }
    free = [place for place in range(len(design.coefficients)) if place not in held]
    normals = [priors[design.coefficients[place]].prior for place in free]
    mean = np.array([prior.mean if isinstance(prior, Normal) else 0.0 for prior in normals])
    precision = np.array([0.0 if isinstance(prior, Flat) else prior.sd**-2 for prior in normals])  # type: ignore[union-attr]
    pilot = make_pilot(
        _rows(outcome, layout, free, held), layout, priors=sds, sigma_prior=sigma,
        partial_numbers=data["partial_prior"], partial_free=np.array([kind != "Fixed" for kind in kinds], dtype=bool),
        prior_mean=mean, prior_precision=precision,
    )  # fmt: skip
    data["numbers"], data["places"] = kernel.pack(layout, pilot.statistics, pilot.reference)
    structure = graph.Structure(
        len(pilot.reference.effects), tuple(graph.prior_kind(prior) for prior in sds),
        graph.prior_kind(sigma), tuple(kinds),
    )  # fmt: skip
    offset = {design.coefficients[place]: value for place, value in held.items()}
    return _Prepared(structure, data, pilot, layout, offset)


def _seed(settings: Settings, name: str, attempt: int) -> int:
    label = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return int(np.random.SeedSequence([settings.seed, label, attempt]).generate_state(1)[0])


def _cores(chains: int) -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(chains, available))


def _beyond_one_sigma(outcome: Outcome) -> str:
    """What this outcome asks for besides independent rows with one sigma, as a reason, or ""."""
    residual = outcome.residual
    reasons = {
        "residuals are AR(1), and here rows are independent": residual.series is not None,
        "sigma differs by stratum, and here there is one": len(residual.strata) > 1,
        "rows have known standard errors and a sigma, and here they have one of them": (
            residual.known_variance is not None
        ),
        "rows are means of several values (counts), and here a row is one value": residual.count is not None,
        "there are sufficient statistics in place of rows, and here rows are needed": (
            outcome.moments is not None
        ),
    }
    return next((reason for reason, found in reasons.items() if found), "")


class NutsEngine:
    """Gaussian mixed models by NUTS."""

    name = "nuts"

    def can_fit(self, problem: Problem) -> str:
        """Give the reason why not, or nothing."""
        if problem.family != "gaussian":
            return f"the family is {problem.family}, and only gaussian is written"
        beyond = next((reason for outcome in problem.outcomes if (reason := _beyond_one_sigma(outcome))), "")
        if beyond:
            return beyond
        effects = max(
            sum(len(block.levels) * len(block.terms) for block in outcome.design.blocks)
            for outcome in problem.outcomes
        )
        if effects > MAX_EFFECTS:
            return f"there are {effects} group effects, and at most {MAX_EFFECTS} fit in memory and time"
        return ""

    def sample(self, problem: Problem, settings: Settings, progress: Progress | None = None) -> list[Draws]:
        """Draws of every outcome; compiles once for each structure, which is once for ordinary priors."""
        from threadpoolctl import threadpool_limits

        draws = []
        with threadpool_limits(limits=1):
            for place, outcome in enumerate(problem.outcomes):
                if progress:
                    progress(place, len(problem.outcomes), outcome.name)
                draws.append(self._one(outcome, settings))
        if progress:
            progress(len(problem.outcomes), len(problem.outcomes), "")
        return draws

    def _one(self, outcome: Outcome, settings: Settings) -> Draws:
        try:
            prepared = _prepare(outcome)
        except np.linalg.LinAlgError as problem:
            raise FitError(
                f"{outcome.name or 'outcome'}: expected a posterior that is proper, found a singular one ({problem}): "
                "flat priors need columns that the rows tell apart."
            ) from None
        model = _compile(prepared.structure).with_data(**prepared.data)
        notes: list[str] = []
        for attempt, (times, acceptance) in enumerate(ATTEMPTS):
            seed = _seed(settings, outcome.name, attempt)
            result = _run(model, prepared, settings, times, acceptance, seed)
            draws = _named(outcome, prepared, result, settings, "; ".join(notes))
            missed = _missed(draws)
            if not missed:
                return draws
            notes.append(f"{times} x draws missed the gate ({missed})")
            log.info("%s: %s", outcome.name, notes[-1])
        return draws._replace(note="; ".join(notes))  # pyright: ignore[reportPossiblyUnboundVariable]


@lru_cache(maxsize=8)
def _compile(structure: graph.Structure) -> Any:
    """The compiled model of a structure, kept for later fits of this process; its data are placeholders."""
    import nutpie

    names = [
        *(f"sd {kind}" for kind in dict.fromkeys(structure.sd_kinds)), "partial", f"sigma {structure.sigma_kind}",
    ]  # fmt: skip
    with compile_lock(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's and PyTensor's notes on caching
        return nutpie.compile_pymc_model(graph.build_model(structure), var_names=names)


def _run(
    model: Any,
    prepared: _Prepared,
    settings: Settings,
    times: int,
    acceptance: float,
    seed: int,
) -> Mapping[str, np.ndarray]:
    """Every traced variable and statistic, (chain, draw, …), thinned back to `settings.draws`."""
    import nutpie

    pilot = prepared.pilot
    start = graph.unconstrained_start(prepared.structure, pilot.sd, pilot.partial, pilot.sigma)

    def scattered(chain_seed) -> np.ndarray:
        rng = np.random.default_rng(chain_seed)
        return start + rng.uniform(-1.0, 1.0, len(start))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree: Any = nutpie.sample(
            dataclasses.replace(model, initial_point_func=scattered),
            draws=times * settings.draws, tune=TUNE * min(times, 2), chains=settings.chains,
            cores=_cores(settings.chains), seed=seed, progress_bar=False, save_warmup=False,
            target_accept=acceptance,
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


def _named(
    outcome: Outcome, prepared: _Prepared, result: Mapping[str, np.ndarray], settings: Settings, note: str
) -> Draws:
    """The model's variables under the posterior's names."""
    shape = (settings.chains, settings.draws)
    flat = {
        name: np.ascontiguousarray(value.reshape(shape[0] * shape[1], *value.shape[2:]))
        for name, value in result.items()
        if not name.startswith("stat ")
    }
    hyper = graph.hyperparameters(prepared.structure, flat, prepared.data)
    reference, layout = prepared.pilot.reference, prepared.layout
    effects = kernel.draws_of_effects(
        flat["xi"], np.log(hyper.sd), hyper.partial, np.log(hyper.sigma), *layout[:5], reference.naive,
        reference.whiten_data, reference.whiten_column, reference.whiten_row, reference.log_information,
    )  # fmt: skip
    blocks = [outcome.design.blocks[place] for place in ordered_blocks(outcome)]
    sds, named_effects = {}, {}
    for b, block in enumerate(blocks):
        k, first, size = len(block.terms), int(layout.start[b]), len(block.levels)
        part = effects[:, first : first + k * size].reshape(*shape, size, k)
        for j, term in enumerate(block.terms):
            sds[f"{term}|{block.factor}"] = hyper.sd[:, layout.first_sd[b] + j].reshape(shape)
            named_effects[f"{term}|{block.factor}"] = part[..., j].astype(np.float32)
    at = int(layout.coefficients[0])
    coefficients = {}
    for name in outcome.design.coefficients:
        if name in prepared.offset:
            coefficients[name] = np.full(shape, prepared.offset[name])
        else:
            coefficients[name] = effects[:, at].reshape(shape)
            at += 1
    stats = {name.removeprefix("stat "): value for name, value in result.items() if name.startswith("stat ")}
    return Draws(
        coefficients, sds, _correlations(outcome, layout, blocks, hyper.partial, shape),
        hyper.sigma.reshape(shape), named_effects, stats, note,
    )  # fmt: skip


def _correlations(outcome: Outcome, layout, blocks, partial, shape) -> dict[str, np.ndarray]:
    """Factor → (chain, draw, term, term), terms of all its blocks in the formula's order."""
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


def _missed(draws: Draws) -> str:
    """What of the gate these draws miss, as text, "" for nothing."""
    values = {**draws.coefficients, **draws.sds, "sigma": draws.sigma}
    for factor, matrix in draws.correlations.items():
        k = matrix.shape[-1]
        values |= {f"{factor}_corr {i},{j}": matrix[..., i, j] for i in range(k) for j in range(i)}
    moving = {name: value for name, value in values.items() if np.ptp(value) > 0}
    failed = array_checks(moving, draws.stats["energy"], draws.stats["diverging"])
    return ", ".join(failed)
