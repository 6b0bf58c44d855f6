"""`fit`: a model and data in, a posterior as an `xarray.DataTree` out.

rows          `outcomes`: what is modelled and what is left out, counted
design        `design`: one design for all outcomes, so that transforms and levels are the same for all
priors        resolved once an outcome on its own scale, and stored as numbers
engine        draws; the tree is named here, the same for every engine
verdict       `diagnostics.gate`
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.design import Design, build_design
from mien.models.diagnostics import gate
from mien.models.engines import ENGINES, load_engine
from mien.models.engines.problem import Draws, Engine, Outcome, Problem, Progress, Settings
from mien.models.outcomes import OutcomeRows, prepare_outcomes
from mien.models.posterior_tree import group_effect_names, posterior_tree
from mien.models.spec import ModelSpec
from mien.priors import DataScale, ParameterNames, resolve
from mien.study.errors import FitError, SpecError

__all__ = ["data_sha256", "fit", "make_problem"]

VERSIONED = ("pymc", "nutpie", "numpy", "xarray", "pandas", "formulae")


def fit(  # noqa: PLR0913  (the public face)
    model: ModelSpec | str,
    data: pd.DataFrame,
    *,
    participants: pd.DataFrame | None = None,
    engine: str = "auto",
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    group_effects: bool = True,
    progress: Progress | None = None,
    **fields: object,
) -> xr.DataTree:
    """The posterior of a model, by blend shape where the data has shapes that the formula does not use.

    Parameters
    ----------
    model : a ModelSpec, e.g. `mien.models.valence()`, or a formula.
    data : a Trials table, or any DataFrame with the formula's columns.
    participants : person-level columns, joined by participant_id.
    engine : "auto" or a name in `mien.models.engines.ENGINES`.
    draws, chains : kept draws a chain, and chains.
    seed : the same seed gives the same draws, whichever other shapes are fitted.
    group_effects : False leaves them out of the tree; `mien.group_effects` draws them.
    progress : called with (done, total, label) as outcomes are finished.
    **fields : further fields of ModelSpec beside a formula, e.g. ``priors={"beta": Normal(0, 1)}``.

    Returns
    -------
    DataTree with groups posterior (chain, draw, [blend_shape], …), sample_stats, observed_data and constant_data.

    Raises
    ------
    SpecError, FitError
        With what was expected, found, and what to do.
    """
    spec = _spec_of(model, fields)
    _check_settings(draws, chains, seed)
    problem, rows, scales = make_problem(spec, data, participants)
    chosen, reason = _choose(engine, problem)
    sampled = chosen.sample(problem, Settings(draws, chains, seed), progress)
    tree = posterior_tree(problem, rows, sampled, scales)
    attrs = _attrs(spec, problem, rows, sampled)
    attrs |= {
        "engine": chosen.name, "engine_reason": reason, "seed": int(seed),
        "data_sha256": data_sha256(data, participants),
        "recipe_sha256": str(data.attrs.get("recipe_sha256", "")),
    }  # fmt: skip
    tree.attrs.update(attrs)
    verdict = gate(tree)
    tree.attrs["diagnostics"] = verdict.verdict
    tree.attrs["diagnostics_detail"] = json.dumps(verdict.detail)
    if not group_effects:
        tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().drop_vars(group_effect_names(tree)))
    return tree


def _spec_of(model: ModelSpec | str, fields: Mapping[str, object]) -> ModelSpec:
    if isinstance(model, ModelSpec):
        if fields:
            raise SpecError(
                f"fit: expected fields such as {next(iter(fields))} in the ModelSpec, found them beside it: "
                "use dataclasses.replace(spec, …)."
            )
        return model
    if not isinstance(model, str):
        raise SpecError(f"fit: expected a ModelSpec or a formula, found {type(model).__name__}.")
    unknown = [name for name in fields if name not in ModelSpec.__dataclass_fields__]
    if unknown:
        raise SpecError(
            f"fit: expected fields of ModelSpec ({', '.join(ModelSpec.__dataclass_fields__)}), found {unknown[0]!r}."
        )
    return ModelSpec(model, **fields)  # type: ignore[arg-type]


def _check_settings(draws: int, chains: int, seed: int) -> None:
    for name, value, least in (("draws", draws, 10), ("chains", chains, 1), ("seed", seed, 0)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise FitError(f"{name}: expected a whole number from {least}, found {value!r}.")


def _choose(name: str, problem: Problem) -> tuple[Engine, str]:
    """The engine asked for, or the first that can; and why."""
    if name != "auto":
        if name not in ENGINES:
            raise FitError(f"engine: expected auto or one of {', '.join(ENGINES)}, found {name!r}.")
        chosen = load_engine(name)
        reason = chosen.can_fit(problem)
        if reason:
            raise FitError(f"engine {name}: expected a model that it fits, but {reason}.")
        return chosen, "asked for"
    reasons = []
    for candidate in ENGINES:
        chosen = load_engine(candidate)
        reason = chosen.can_fit(problem)
        if not reason:
            return chosen, "; ".join([*reasons, f"{candidate} fits this model"])
        reasons.append(f"{candidate} does not: {reason}")
    raise FitError("engine: expected one that fits this model, found none: " + "; ".join(reasons) + ".")


def make_problem(
    spec: ModelSpec, data: pd.DataFrame, participants: pd.DataFrame | None = None
) -> tuple[Problem, OutcomeRows, list[DataScale]]:
    """Rows, design and frozen priors of every outcome."""
    formula, rows = prepare_outcomes(spec, data, participants)
    design = build_design(formula, rows.frame)
    values = rows.frame[formula.response].to_numpy(dtype=np.float64)
    root = _root_precision(spec, rows.frame)
    names = _parameter_names(design)
    outcomes, scales = [], []
    for place, name in enumerate(rows.names):
        keep = rows.outcome == place
        mine = design.rows(keep)
        _check_rank(mine, name)
        scale = _scale(mine, values[keep])
        priors = resolve(_overrides(spec), names, scale)
        outcomes.append(Outcome(name, mine, values[keep], root[keep], priors))
        scales.append(scale)
    return Problem(spec.family, tuple(outcomes)), rows, scales


def _overrides(spec: ModelSpec) -> dict:
    """Known standard errors take the place of sigma: a row's residual variance is se² and nothing else."""
    from mien.priors import Fixed

    overrides = dict(spec.priors)
    if spec.standard_errors:
        if "sigma" in overrides:
            raise SpecError("priors['sigma']: expected none beside standard_errors, which take its place.")
        overrides["sigma"] = Fixed(1.0)
    return overrides


def _root_precision(spec: ModelSpec, frame: pd.DataFrame) -> np.ndarray:
    name = spec.weights or spec.standard_errors
    if not name:
        return np.ones(len(frame))
    values = frame[name].to_numpy(dtype=np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise FitError(
            f"{name}: expected positive numbers, found {values[~(values > 0)][:1]}: exclude those rows."
        )
    return np.sqrt(values) if spec.weights else 1.0 / values


def _parameter_names(design: Design) -> ParameterNames:
    terms = tuple(f"{term}|{block.factor}" for block in design.blocks for term in block.terms)
    correlated = dict.fromkeys(block.factor for block in design.blocks if len(block.terms) > 1)
    return ParameterNames(design.coefficients, terms, tuple(correlated))


def _check_rank(design: Design, name: str) -> None:
    if len(design.coefficients) and np.linalg.matrix_rank(design.columns) < len(design.coefficients):
        raise FitError(
            f"{name or 'data'}: expected rows that tell the coefficients {', '.join(design.coefficients)} apart, found "
            f"{len(design.columns)} rows that do not: leave the shape or a term out."
        )


def _scale(design: Design, values: np.ndarray) -> DataScale:
    """Means and sds for the default priors; a column that does not move counts with its size."""

    def spread(column: np.ndarray) -> float:
        return float(column.std()) or float(np.abs(column).max()) or 1.0

    slopes = {
        name: design.columns[:, place]
        for place, name in enumerate(design.coefficients)
        if name != "Intercept"
    }
    groups = {
        f"{term}|{block.factor}": 1.0 if term == "1" else spread(block.columns[:, place])
        for block in design.blocks
        for place, term in enumerate(block.terms)
    }
    return DataScale(
        float(values.mean()), float(values.std()),
        {name: float(column.mean()) for name, column in slopes.items()},
        {name: spread(column) for name, column in slopes.items()}, groups,
    )  # fmt: skip


def _attrs(
    spec: ModelSpec, problem: Problem, rows: OutcomeRows, sampled: list[Draws]
) -> dict[str, str | int]:
    notes = {outcome.name: d.note for outcome, d in zip(problem.outcomes, sampled, strict=True) if d.note}
    priors = {
        outcome.name: {name: resolved.to_dict() for name, resolved in outcome.priors.items()}
        for outcome in problem.outcomes
    }
    return {
        "mien_version": _version("mien"),
        "formula": spec.formula,
        "family": spec.family,
        "name": spec.name,
        "answers": spec.answers,
        "model_spec": spec.to_json(),
        "priors": json.dumps(priors),
        "coding": json.dumps(
            {name: list(levels) for name, levels in problem.outcomes[0].design.coding.items()}
        ),
        "units": "coefficient" if problem.outcomes[0].name else "outcome",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": json.dumps({name: _version(name) for name in VERSIONED}),
        "counts": json.dumps(dict(rows.counts)),
        "left_out": json.dumps(dict(rows.left_out)),
        "sampling_notes": json.dumps(notes),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def data_sha256(data: pd.DataFrame, participants: pd.DataFrame | None = None) -> str:
    """Hash of the tables' values and column names; the same table always gives the same one."""
    digest = hashlib.sha256()
    for table in (data, participants):
        if table is None:
            continue
        for name in table.columns:
            column = table[name]
            digest.update(str(name).encode())
            if isinstance(column.dtype, pd.CategoricalDtype):
                digest.update("\x1f".join(str(level) for level in column.cat.categories).encode())
                digest.update(column.cat.codes.to_numpy(dtype=np.int32).tobytes())
            elif pd.api.types.is_numeric_dtype(column) or column.dtype == bool:
                digest.update(column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan).tobytes())
            else:
                words = [
                    "\x00" if missing else str(word)
                    for word, missing in zip(column, column.isna(), strict=True)
                ]
                digest.update("\x1f".join(words).encode())
    return digest.hexdigest()
