"""Gaussian mixed models by NUTS: one PyMC model compiled for all outcomes, its data swapped by nutpie's `with_data`.

For each outcome a pilot estimate chooses coordinates in which the posterior is nearly spherical (`pilot`), then chains
run, again where they miss the gate (`attempts`).
"""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from mien.models.engines import gaussian_kernel as kernel
from mien.models.engines import pymc_graph as graph
from mien.models.engines.attempts import correlations_of, layout_of, ordered_blocks, sampled, until_passed
from mien.models.engines.compile_cache import compile_lock
from mien.models.engines.pilot import Pilot, Rows, make_pilot
from mien.models.engines.problem import Draws, Outcome, Settings
from mien.priors import Fixed, Flat, Normal

__all__ = ["sample_gaussian"]


class _Prepared(NamedTuple):
    structure: graph.Structure
    data: dict[str, np.ndarray]
    pilot: Pilot
    layout: kernel.Layout
    offset: dict[str, float]  # coefficients that a Fixed prior holds


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
    layout = layout_of(outcome)
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


def sample_gaussian(outcome: Outcome, settings: Settings) -> Draws:
    """Draws of one outcome; compiles once for each structure, which is once for ordinary priors.

    Raises
    ------
    LinAlgError
        When the posterior is singular.
    """
    prepared = _prepare(outcome)
    model = dataclasses.replace(
        _compile(prepared.structure).with_data(**prepared.data), initial_point_func=_scattered(prepared)
    )
    return until_passed(
        outcome, settings,
        lambda attempt, note: _named(outcome, prepared, sampled(model, settings, attempt), settings, note),
    )  # fmt: skip


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


def _scattered(prepared: _Prepared) -> Callable[[int], np.ndarray]:
    """Starting points about the pilot's, from a chain's seed."""
    pilot = prepared.pilot
    start = graph.unconstrained_start(prepared.structure, pilot.sd, pilot.partial, pilot.sigma)

    def scattered(chain_seed) -> np.ndarray:
        return start + np.random.default_rng(chain_seed).uniform(-1.0, 1.0, len(start))

    return scattered


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
        coefficients, sds, correlations_of(outcome, layout, blocks, hyper.partial, shape),
        hyper.sigma.reshape(shape), named_effects, stats, note,
    )  # fmt: skip
