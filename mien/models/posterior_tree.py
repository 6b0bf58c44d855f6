"""The posterior's DataTree: names, dims and groups, the same from every engine.

    posterior       coefficients, `term|factor_sigma`, `factor_corr`, sigma, rho, further parameters of a
                    family (or the coefficients of their regressions), group effects; (chain, draw, …)
    sample_stats    what the sampler says of every draw
    observed_data   `outcome` ([blend_shape], observation), NaN where a shape lacks the observation
    constant_data   designs, group columns and indices, root precision and what else the residuals have (`stratum
                    index`, `series index`, `position`, `known_variance`, `count`, `squares`): enough to draw effects
                    and to predict

Group effects are float32. Above a million rows the data groups are left out; their sha256 is in the attributes.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from xarray.indexes import PandasIndex

from mien.models.engines.problem import Draws, Outcome, Problem
from mien.models.outcomes import OutcomeRows
from mien.models.smooths import POPULATION, is_smooth_term, sd_name
from mien.priors import DataScale

__all__ = ["MAX_STORED_ROWS", "group_effect_names", "posterior_tree"]

MAX_STORED_ROWS = 1_000_000
BASE = ("chain", "draw")

type Labels = Mapping[str, Sequence[str] | np.ndarray | pd.Index]
type Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]


def posterior_tree(
    problem: Problem, rows: OutcomeRows | None, sampled: Sequence[Draws], scales: Sequence[DataScale]
) -> xr.DataTree:
    """Everything that was drawn and what it was drawn from; no data groups without `rows`."""
    named = problem.outcomes[0].name != ""
    variables, labels = _posterior(problem, sampled, named)
    chains, draws = next(iter(sampled[0].stats.values())).shape[:2]
    labels |= {"chain": np.arange(chains), "draw": np.arange(draws)}
    if named:
        labels["blend_shape"] = [outcome.name for outcome in problem.outcomes]
    stats = {name: _stack([draws.stats[name] for draws in sampled], (), named) for name in sampled[0].stats}
    groups = {"posterior": variables, "sample_stats": stats}
    if rows is not None and len(rows.frame) <= MAX_STORED_ROWS:
        labels["observation"] = rows.observations
        labels["coefficient"] = problem.outcomes[0].design.coefficients
        for parameter, regression in problem.outcomes[0].parameters.items():
            if regression.coefficients:
                labels[f"{parameter}_coefficient"] = regression.coefficients
        groups |= _data_groups(problem, rows, scales, named)
    tree = xr.DataTree()
    factors = {block.factor for block in problem.outcomes[0].design.blocks}
    tree.children = _groups(groups, labels, factors)
    return tree


def _groups(groups: Mapping[str, Variables], labels: Labels, factors: set[str]) -> dict[str, xr.DataTree]:
    """Groups whose coordinates are the labels of their dims; each dim's index is made once.

    The posterior has the levels of all factors, even where their effects are left out.
    """
    indexes = _indexes(labels)
    found = {}
    for name, variables in groups.items():
        dims = dict.fromkeys(dim for own, _ in variables.values() for dim in own)
        mine = [dim for dim in labels if dim in dims or (name == "posterior" and dim in factors)]
        coords = xr.Coordinates(
            {dim: indexes[dim].create_variables()[dim] for dim in mine}, {dim: indexes[dim] for dim in mine}
        )
        found[name] = xr.DataTree(xr.Dataset(variables, coords=coords))
    return found


def _indexes(labels: Labels) -> dict[str, PandasIndex]:
    """One for each dim. Texts become one array together, which costs as much as that of a single dim."""
    texts = {dim: values for dim, values in labels.items() if not isinstance(values, (np.ndarray, pd.Index))}
    together = pd.array([text for values in texts.values() for text in values], dtype="str")
    found, begin = {}, 0
    for dim, values in labels.items():
        if dim in texts:
            end = begin + len(values)
            values, begin = together[begin:end], end  # noqa: PLW2901
        found[dim] = PandasIndex(pd.Index(values, name=dim), dim)
    return found


def _stack(
    arrays: Sequence[np.ndarray], dims: tuple[str, ...], named: bool
) -> tuple[tuple[str, ...], np.ndarray]:
    """(chain, draw, …) of every outcome → (chain, draw, blend_shape, …)."""
    if not named:
        return (*BASE, *dims), arrays[0]
    stacked = np.stack(arrays, axis=2) if len(arrays) > 1 else arrays[0][:, :, None]  # one is not copied
    return (*BASE, "blend_shape", *dims), stacked


def _posterior(
    problem: Problem, sampled: Sequence[Draws], named: bool
) -> tuple[Variables, dict[str, Sequence[str] | np.ndarray | pd.Index]]:
    """Variables of the posterior, and the labels of their dims."""
    blocks, residual = problem.outcomes[0].design.blocks, problem.outcomes[0].residual
    first, variables = sampled[0], {}
    labels: dict[str, Sequence[str] | np.ndarray | pd.Index]
    labels = {block.factor: block.levels for block in blocks}

    def store(name: str, arrays: list[np.ndarray], *dims: str) -> None:
        variables[name] = _stack(arrays, dims, named)

    for name in first.coefficients:
        store(name, [draws.coefficients[name] for draws in sampled])
    keys = [f"{term}|{block.factor}" for block in blocks for term in block.terms]
    for key in dict.fromkeys(sd_name(term, block.factor) for block in blocks for term in block.terms):
        store(f"{key}_sigma", [draws.sds[key] for draws in sampled])
    for factor in first.correlations:
        dims = (f"{factor}_term", f"{factor}_term_bis")
        store(f"{factor}_corr", [draws.correlations[factor] for draws in sampled], *dims)
        terms = [
            term for block in blocks if block.factor == factor for term in block.terms if not is_smooth_term(term)
        ]  # fmt: skip
        labels |= dict.fromkeys(dims, terms)
    if first.sigma is not None:
        sigma = [np.asarray(draws.sigma) for draws in sampled]
        store("sigma", sigma, *([residual.dim] if residual.dim else []))
    for name in first.parameters:
        store(name, [draws.parameters[name] for draws in sampled])
    if first.rho is not None:
        store("rho", [np.asarray(draws.rho) for draws in sampled])
    for key in (key for key in keys if key in first.effects):
        store(key, [draws.effects[key] for draws in sampled], key.rpartition("|")[2])
    if residual.dim:
        labels[residual.dim] = residual.strata
    return variables, labels


def _wide(
    rows: OutcomeRows, problem: Problem, pick: Callable[[Outcome], np.ndarray], fill: float
) -> np.ndarray:
    """(blend_shape, observation, …) from every outcome's rows; `fill` where an outcome lacks an observation."""
    first = pick(problem.outcomes[0])
    if len(problem.outcomes) == 1:  # it has all observations, in order
        return np.array(first, order="C")[None]
    wide = np.full((len(problem.outcomes), len(rows.observations), *first.shape[1:]), fill, dtype=first.dtype)
    for place, (at, outcome) in enumerate(zip(rows.at, problem.outcomes, strict=True)):
        wide[place, rows.observation[at]] = pick(outcome)
    return wide


def _shared(wide: np.ndarray, missing: np.ndarray) -> np.ndarray | None:
    """One array for all outcomes where they agree on what they have, else None."""
    if len(wide) == 1:  # which has every observation
        return wide[0]
    first = np.argmin(missing, axis=0)  # an outcome that has the observation
    common = wide[first, np.arange(wide.shape[1])]
    differs = (wide != common[None]).reshape(*wide.shape[:2], -1).any(axis=2)
    return None if (differs & ~missing).any() else common


def _data_groups(
    problem: Problem, rows: OutcomeRows, scales: Sequence[DataScale], named: bool
) -> dict[str, Variables]:
    """observed_data and constant_data: enough to draw group effects, predict and refit."""
    response = _wide(rows, problem, lambda outcome: outcome.response, np.nan)
    missing = np.isnan(response)
    lead = ("blend_shape",) if named else ()
    constants: Variables = {}

    def store(name: str, dims: tuple[str, ...], pick: Callable[[Outcome], np.ndarray], fill: float) -> None:
        wide = _wide(rows, problem, pick, fill)
        common = _shared(wide, missing)
        if common is not None:
            constants[name] = (("observation", *dims), common)
        else:
            constants[name] = ((*lead, "observation", *dims), wide)

    design, residual = problem.outcomes[0].design, problem.outcomes[0].residual
    if design.coefficients:
        store("design", ("coefficient",), lambda o: o.design.columns, np.nan)
    for place, block in enumerate(design.blocks):
        store(f"{block.factor} index", (), lambda o, place=place: o.design.blocks[place].codes, -1)
        for j, term in enumerate(block.terms):
            store(
                f"{term}|{block.factor} column", (),
                lambda o, place=place, j=j: o.design.blocks[place].columns[:, j], np.nan,
            )  # fmt: skip
    for parameter, regression in problem.outcomes[0].parameters.items():
        if regression.coefficients:
            store(
                f"{parameter} design", (f"{parameter}_coefficient",),
                lambda o, parameter=parameter: o.parameters[parameter].columns, np.nan,
            )  # fmt: skip
    store("root_precision", (), lambda o: o.root_precision, np.nan)
    for field, name in RESIDUAL_NAMES.items():
        values = getattr(residual, field)
        if values is not None:
            fill = -1 if values.dtype.kind == "i" else np.nan
            store(name, (), lambda o, field=field: getattr(o.residual, field), fill)
    spread = np.array([scale.sd_y for scale in scales])
    constants["outcome sd"] = (lead, spread if named else spread[0])
    observed: Variables = {"outcome": ((*lead, "observation"), response if named else response[0])}
    return {"observed_data": observed, "constant_data": constants}


RESIDUAL_NAMES = {
    "stratum": "stratum index",
    "series": "series index",
    "position": "position",
    "known_variance": "known_variance",
    "count": "count",
    "squares": "squares",
}


def group_effect_names(tree: xr.DataTree) -> list[str]:
    """The group effects among the posterior's variables, without the functions of curves common to all."""
    return [
        str(name)
        for name in tree["posterior"].data_vars
        if "|" in str(name) and not str(name).endswith(("_sigma", f"|{POPULATION}"))
    ]
