"""The posterior's DataTree: names, dims and groups, the same from every engine.

    posterior       coefficients, `term|factor_sigma`, `factor_corr`, sigma, group effects; (chain, draw, …)
    sample_stats    what the sampler says of every draw
    observed_data   `outcome` ([blend_shape], observation), NaN where a shape lacks the observation
    constant_data   design, group columns and indices, root precision: enough to draw effects and to predict

Group effects are float32. Above a million rows the data groups are left out; their sha256 is in the attributes.
"""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from mien.models.engines.problem import Draws, Outcome, Problem
from mien.models.outcomes import OutcomeRows
from mien.priors import DataScale

__all__ = ["MAX_STORED_ROWS", "group_effect_names", "posterior_tree"]

MAX_STORED_ROWS = 1_000_000


def _stack(
    arrays: list[np.ndarray], dims: tuple[str, ...], named: bool
) -> tuple[tuple[str, ...], np.ndarray]:
    """(chain, draw, …) of every outcome → (chain, draw, blend_shape, …)."""
    if not named:
        return dims, arrays[0]
    return (*dims[:2], "blend_shape", *dims[2:]), np.stack(arrays, axis=2)


def posterior_tree(
    problem: Problem, rows: OutcomeRows, sampled: list[Draws], scales: list[DataScale]
) -> xr.DataTree:
    """Everything that was drawn and what it was drawn from."""
    named = problem.outcomes[0].name != ""
    design = problem.outcomes[0].design
    first = sampled[0]
    base = ("chain", "draw")
    variables: dict[str, tuple] = {}
    for name in first.coefficients:
        variables[name] = _stack([draws.coefficients[name] for draws in sampled], base, named)
    for block in design.blocks:
        for term in block.terms:
            key = f"{term}|{block.factor}"
            variables[f"{key}_sigma"] = _stack([draws.sds[key] for draws in sampled], base, named)
    coords: dict[str, object] = {}
    for factor in first.correlations:
        dims = (f"{factor}_term", f"{factor}_term_bis")
        variables[f"{factor}_corr"] = _stack([d.correlations[factor] for d in sampled], (*base, *dims), named)
        terms = [term for block in design.blocks if block.factor == factor for term in block.terms]
        coords |= {dims[0]: terms, dims[1]: terms}
    variables["sigma"] = _stack([draws.sigma for draws in sampled], base, named)
    for block in design.blocks:
        coords[block.factor] = list(block.levels)
        for term in block.terms:
            key = f"{term}|{block.factor}"
            variables[key] = _stack([draws.effects[key] for draws in sampled], (*base, block.factor), named)
    coords |= {"chain": np.arange(first.sigma.shape[0]), "draw": np.arange(first.sigma.shape[1])}
    stats = {name: _stack([draws.stats[name] for draws in sampled], base, named) for name in first.stats}
    shapes = {"blend_shape": [outcome.name for outcome in problem.outcomes]} if named else {}
    sampling = {name: coords[name] for name in ("chain", "draw")}
    groups = {
        "posterior": xr.Dataset(variables, coords={**coords, **shapes}),
        "sample_stats": xr.Dataset(stats, coords={**sampling, **shapes}),
    }
    if len(rows.frame) <= MAX_STORED_ROWS:
        groups |= _data_groups(problem, rows, scales, shapes)
    return xr.DataTree.from_dict(groups)


def _wide(
    rows: OutcomeRows, problem: Problem, pick: Callable[[Outcome], np.ndarray], fill: float
) -> np.ndarray:
    """(blend_shape, observation, …) from every outcome's rows; `fill` where an outcome lacks an observation."""
    count = len(rows.observations)
    parts = []
    for place, outcome in enumerate(problem.outcomes):
        values = pick(outcome)
        part = np.full((count, *values.shape[1:]), fill, dtype=values.dtype)
        part[rows.observation[rows.outcome == place]] = values
        parts.append(part)
    return np.stack(parts)


def _shared(wide: np.ndarray, missing: np.ndarray) -> np.ndarray | None:
    """One array for all outcomes where they agree on what they have, else None."""
    first = np.argmin(missing, axis=0)  # an outcome that has the observation
    common = wide[first, np.arange(wide.shape[1])]
    differs = (wide != common[None]).reshape(*wide.shape[:2], -1).any(axis=2)
    return None if (differs & ~missing).any() else common


def _data_groups(
    problem: Problem, rows: OutcomeRows, scales: list[DataScale], shapes: Mapping[str, list[str]]
) -> dict[str, xr.Dataset]:
    """observed_data and constant_data: enough to draw group effects, predict and refit."""
    response = _wide(rows, problem, lambda outcome: outcome.response, np.nan)
    missing = np.isnan(response)
    lead = ("blend_shape",) if shapes else ()
    coords = {"observation": list(rows.observations), **shapes}
    observed = xr.Dataset(
        {"outcome": ((*lead, "observation"), response if shapes else response[0])}, coords=coords
    )
    constants: dict[str, tuple] = {}

    def store(name: str, dims: tuple[str, ...], wide: np.ndarray) -> None:
        common = _shared(wide, missing)
        if common is not None:
            constants[name] = (("observation", *dims), common)
        else:
            constants[name] = ((*lead, "observation", *dims), wide)

    design = problem.outcomes[0].design
    if design.coefficients:
        coords["coefficient"] = list(design.coefficients)
        store("design", ("coefficient",), _wide(rows, problem, lambda o: o.design.columns, np.nan))
    for place, block in enumerate(design.blocks):
        codes = _wide(rows, problem, lambda o, place=place: o.design.blocks[place].codes, -1)
        store(f"{block.factor} index", (), codes)
        for j, term in enumerate(block.terms):
            column = _wide(
                rows, problem, lambda o, place=place, j=j: o.design.blocks[place].columns[:, j], np.nan
            )
            store(f"{term}|{block.factor} column", (), column)
    store("root_precision", (), _wide(rows, problem, lambda o: o.root_precision, np.nan))
    spread = np.array([scale.sd_y for scale in scales])
    constants["outcome sd"] = (lead, spread) if shapes else ((), spread[0])
    return {"observed_data": observed, "constant_data": xr.Dataset(constants, coords=coords)}


def group_effect_names(tree: xr.DataTree) -> list[str]:
    """The group effects among the posterior's variables."""
    return [
        str(name)
        for name in tree["posterior"].data_vars
        if "|" in str(name) and not str(name).endswith("_sigma")
    ]
