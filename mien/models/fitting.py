"""`fit`: a model and data in, a posterior as an `xarray.DataTree` out.

rows          `outcomes`: what is modelled and what is left out, counted
design        `design`: one design for all outcomes, so that transforms and levels are the same for all
priors        resolved once an outcome on its own scale, and stored as numbers
engine        draws; the tree is named here, the same for every engine
verdict       `diagnostics.gate`
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.design import Design, build_design, rank_of
from mien.models.design_checks import check_of_fit, refuse_unequal_peaks
from mien.models.diagnostics import gate
from mien.models.engines import ENGINES, load_engine
from mien.models.engines.problem import (
    Draws,
    Engine,
    Outcome,
    Problem,
    Progress,
    Regression,
    Residual,
    Settings,
)
from mien.models.factors.spec import FactorSpec
from mien.models.levels import labels_in_use
from mien.models.likelihood_rows import (
    check_response,
    coding_of,
    regressions,
    scale_of_regressions,
    with_parameters,
)
from mien.models.outcomes import OutcomeRows, prepare_outcomes
from mien.models.pooling import check_poolable, pool_fitted
from mien.models.posterior_tree import group_effect_names, posterior_tree
from mien.models.prior_freezing import (
    frozen_of,
    prior_attrs,
    tell_frozen_factors,
    with_frozen,
    with_frozen_factors,
)
from mien.models.residuals import read_residual, root_precision
from mien.models.smooths import is_smooth_term, sd_name
from mien.models.spec import ModelSpec, has_sigma_prior
from mien.priors import DataScale, Entry, Fixed, FrozenPriors, ParameterNames, Source, resolve
from mien.study.errors import FitError, SpecError
from mien.study.formula import parse_formula

if TYPE_CHECKING:
    from mien.models.statistics import Statistics

__all__ = [
    "KNOWN_ERRORS",
    "data_sha256",
    "fit",
    "fit_attrs",
    "make_problem",
    "overrides_of",
    "parameter_names",
    "spec_of",
]

PERFECT_FIT = 1e-5  # residual sd over sd of the outcome; float32 activations are known to 6e-8 of their size
KNOWN_ERRORS = Entry(
    "mien/known-standard-errors", "1", "sigma", Fixed(1.0), "raw", "none",
    Source("rule", "standard errors are known: a row's variance is se² and nothing else"),
)  # fmt: skip
VERSIONED = ("numpy", "xarray", "pandas", "formulae")
LIBRARIES = {"nuts": ("pymc", "nutpie"), "collapsed": ("numba",)}


def fit(  # noqa: PLR0913  (the public face)
    model: ModelSpec | FactorSpec | str,
    data: "pd.DataFrame | Statistics",
    *,
    participants: pd.DataFrame | None = None,
    engine: str = "auto",
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    group_effects: bool = True,
    frozen: FrozenPriors | None = None,
    registered: bool = False,
    progress: Progress | None = None,
    **fields: object,
) -> xr.DataTree:
    """The posterior of a model, by blend shape where the data has shapes that the formula does not use.

    Parameters
    ----------
    model : a ModelSpec, e.g. `mien.models.valence()`, a FactorSpec (`mien.models.co_activation()`), or a formula.
    data : a Trials table, or any DataFrame with the formula's columns; or what
        `mien.models.sufficient_statistics` made of the model and a table too large for memory.
    participants : person-level columns, joined by participant_id.
    engine : "auto" or a name in `mien.models.engines.ENGINES`.
    draws, chains : kept draws a chain, and chains.
    seed : the same seed gives the same draws, whichever other shapes are fitted.
    group_effects : False leaves them out of the tree; `mien.group_effects` draws them.
    frozen : priors of `freeze_priors`, instead of those that would be resolved on these data.
    registered : refuse priors that are not frozen, or that have no source.
    progress : called with (done, total, label) as outcomes are finished.
    **fields : further fields of ModelSpec beside a formula, e.g. ``priors={"beta": Normal(0, 1)}``.

    Returns
    -------
    DataTree with groups posterior (chain, draw, [blend_shape], …), sample_stats, observed_data and constant_data
    (above a million rows, and from statistics, without the last two), and with pooling `pooled`.

    Raises
    ------
    SpecError, FitError
        With what was expected, found, and what to do.
    """
    _check_settings(draws, chains, seed)
    _check_registered(frozen, registered)
    if isinstance(model, FactorSpec):
        settings = {"engine": engine, "draws": draws, "chains": chains, "seed": seed, "progress": progress}
        tree = _fit_factors(model, data, participants, fields, frozen, **settings)
        tell_frozen_factors(tree, model, frozen, registered=registered)
        return tree
    spec = spec_of(model, fields)
    if isinstance(data, pd.DataFrame):
        refuse_unequal_peaks(parse_formula(spec.formula), data)
        problem, rows, scales = make_problem(spec, data, participants)
        origin = _Origin(data_sha256(data, participants), str(data.attrs.get("recipe_sha256", "")), rows)
    else:
        statistics = _statistics(data, participants)
        (problem, scales), rows = statistics.problem(spec), None
        origin = _Origin(statistics.source_sha256, statistics.recipe_sha256, statistics)
    if frozen is not None:
        problem = with_frozen(problem, spec, frozen)
    if spec.pooling == "partial":
        check_poolable(spec, problem, rows)
    chosen, reason = _choose(engine, problem)
    sampled = chosen.sample(problem, Settings(draws, chains, seed, group_effects), progress)
    tree = posterior_tree(problem, rows, sampled, scales)
    attrs = fit_attrs(spec, problem, origin.told, sampled, chosen.name)
    attrs |= {
        "engine": chosen.name, "engine_reason": reason, "seed": int(seed),
        "data_sha256": origin.sha256, "recipe_sha256": origin.recipe_sha256,
        "tracker": _trackers(data),
    }  # fmt: skip
    used = frozen or frozen_of(spec, {outcome.name: outcome.priors for outcome in problem.outcomes})
    attrs |= prior_attrs(used, given=frozen is not None, registered=registered)
    if rows is not None and isinstance(data, pd.DataFrame):
        check = check_of_fit(data, parse_formula(spec.formula), problem.outcomes, sampled)
        attrs |= {"design_check": json.dumps(check), "derived": json.dumps(dict(rows.derived))}
    tree.attrs.update(attrs)
    verdict = gate(tree)
    tree.attrs["diagnostics"] = verdict.verdict
    tree.attrs["diagnostics_detail"] = json.dumps(verdict.detail)
    if spec.pooling == "partial" and rows is not None:
        pool_fitted(tree, spec, problem, rows)
    if not group_effects:
        tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().drop_vars(group_effect_names(tree)))
    return tree


def _fit_factors(
    spec: FactorSpec,
    data: object,
    participants: pd.DataFrame | None,
    fields: Mapping[str, object],
    frozen: FrozenPriors | None,
    **settings: Any,
) -> xr.DataTree:
    """A co-activation fit, with where its data came from."""
    from mien.models.factors.fitting import fit_factors

    if fields:
        raise SpecError(f"fit: expected no fields beside a FactorSpec, found {next(iter(fields))}.")
    if not isinstance(data, pd.DataFrame):
        raise FitError(
            f"data: expected a Trials table for co-activation, found {type(data).__name__}: it has sums of its own."
        )
    used = spec if frozen is None else with_frozen_factors(spec, frozen)
    tree = fit_factors(used, data, participants=participants, **settings)
    libraries = {"collapsed": ("numba", "nutpie"), "nuts": ("pymc", "nutpie")}[str(tree.attrs["engine"])]
    tree.attrs |= {
        "mien_version": _version("mien"),
        "data_sha256": data_sha256(data, participants),
        "recipe_sha256": str(data.attrs.get("recipe_sha256", "")),
        "tracker": _trackers(data),
        "versions": json.dumps({name: _version(name) for name in (*libraries, *VERSIONED)}),
    }
    return tree


def _check_registered(frozen: FrozenPriors | None, registered: bool) -> None:
    if not registered:
        return
    if frozen is None:
        raise SpecError(
            "registered: expected frozen priors, found none: freeze them first (mien.models.freeze_priors, or "
            "mien priors freeze)."
        )
    frozen.check_registered()


def _trackers(data: object) -> str:
    """Names of the trackers in the data, joined by commas; new persons must come from the same."""
    if not isinstance(data, pd.DataFrame) or "tracker" not in data.columns:
        return ""
    return ", ".join(sorted(labels_in_use(cast(pd.Series, data["tracker"]))))


class _Origin(NamedTuple):
    """Where a fit's numbers come from; `told` has `counts` and `left_out`."""

    sha256: str
    recipe_sha256: str
    told: "OutcomeRows | Statistics"


def _statistics(data: object, participants: pd.DataFrame | None) -> "Statistics":
    from mien.models.statistics import Statistics

    if not isinstance(data, Statistics):
        raise FitError(f"data: expected a pandas.DataFrame, found {type(data).__name__}.")
    if participants is not None:
        raise FitError("participants: expected none beside statistics, which have them in.")
    return data


def spec_of(model: ModelSpec | str, fields: Mapping[str, object]) -> ModelSpec:
    """The specification that a formula and fields beside it stand for."""
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
    design = build_design(formula, rows.frame, spec.smooths)
    values = rows.frame[formula.response].to_numpy(dtype=np.float64)
    root = root_precision(spec, rows.frame)
    residual = read_residual(spec, formula, rows.frame, rows.outcome)
    extra = regressions(spec, rows.frame)
    names, overrides = parameter_names(design, residual, spec.family, extra), overrides_of(spec)
    outcomes: list[Outcome] = []
    scales: list[DataScale] = []
    mine, columns = design, None
    for at, name in zip(rows.at, rows.names, strict=True):
        before, mine = mine, _some_rows(design, at, mine)
        scatter = residual.rows(at)
        if columns is None or mine is not before or scatter.count is not None:
            if mine is not design:  # which has been checked
                _check_rank(mine, name)
            columns = _column_scales(mine, scatter.count)
        scale = DataScale(*_moments(values[at], scatter.count, scatter.squares), *columns)
        own = {parameter: regression.rows(at) for parameter, regression in extra.items()}
        if own:
            check_response(spec.family, formula.response, name, values[at])
            scale = scale_of_regressions(spec.family, scale, values[at], own)
        priors = resolve(overrides, names, scale)
        outcomes.append(Outcome(name, mine, values[at], root[at], priors, scatter, parameters=own))
        _refuse_perfect_fit(outcomes[-1])
        scales.append(scale)
    return Problem(spec.family, tuple(outcomes)), rows, scales


def _some_rows(design: Design, at: np.ndarray, before: Design) -> Design:
    """The design on an outcome's rows; the very one of the outcome before where they agree in every row."""
    if len(at) == len(design.columns):
        return design
    mine = design.rows(at)
    return before if mine.equals(before) else mine


def overrides_of(spec: ModelSpec) -> dict:
    """Known standard errors without a prior for sigma take its place: a row's variance is se² and nothing else."""
    alone = spec.standard_errors and not has_sigma_prior(spec.priors)
    return {**spec.priors, "sigma": KNOWN_ERRORS} if alone else dict(spec.priors)


def parameter_names(
    design: Design, residual: Residual, family: str, extra: Mapping[str, Regression]
) -> ParameterNames:
    """Everything that has a prior; terms of one smooth share an sd."""
    terms = tuple(
        dict.fromkeys(sd_name(term, block.factor) for block in design.blocks for term in block.terms)
    )
    correlated = dict.fromkeys(block.factor for block in design.blocks if len(block.terms) > 1)
    names = ParameterNames(
        design.coefficients, terms, tuple(correlated), residual.strata, residual.series is not None
    )
    return with_parameters(names, family, extra) if extra else names


def _check_rank(design: Design, name: str) -> None:
    if rank_of(design.columns) < len(design.coefficients):
        raise FitError(
            f"{name or 'data'}: expected rows that tell the coefficients {', '.join(design.coefficients)} apart, found "
            f"{len(design.columns)} rows that do not: leave the shape or a term out."
        )


def _refuse_perfect_fit(outcome: Outcome) -> None:
    """Columns that give the outcome exactly leave no residual: the density would grow without bound."""
    residual = outcome.residual
    if outcome.parameters and "sigma" not in outcome.parameters:  # bounded values have no residual sd
        return
    known = not outcome.parameters and all(
        isinstance(outcome.priors[name].prior, Fixed) for name in _sigmas(outcome)
    )
    inside = residual.squares is not None and residual.squares.any()
    if known or inside or residual.known_variance is not None:
        return
    columns, centred = outcome.design.columns, outcome.response - outcome.response.mean()
    left = centred - columns @ np.linalg.lstsq(columns, centred, rcond=None)[0]
    if left.std() < PERFECT_FIT * centred.std():
        raise FitError(
            f"{outcome.name or 'outcome'}: expected rows that scatter about the model, found that it fits them "
            "exactly, so that the residual sd would be 0: is the outcome computed from the columns?"
        )


def _sigmas(outcome: Outcome) -> list[str]:
    return [f"sigma:{label}" if label else "sigma" for label in outcome.residual.strata]


def _column_scales(
    design: Design, count: np.ndarray | None
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Mean and sd of each coefficient's column, sd of each group term's; one that does not move has its size."""

    def spread(column: np.ndarray) -> float:
        return _moments(column, count)[1] or float(np.abs(column).max()) or 1.0

    slopes = {
        name: design.columns[:, place]
        for place, name in enumerate(design.coefficients)
        if name != "Intercept"
    }
    groups: dict[str, float] = {}
    for block in design.blocks:
        for place, term in enumerate(block.terms):
            name, column = sd_name(term, block.factor), block.columns[:, place]
            if is_smooth_term(term):  # the root mean square of the functions together
                groups[name] = float(np.hypot(groups.get(name, 0.0), np.sqrt(np.mean(column**2))))
            else:
                groups[name] = 1.0 if term == "1" else spread(column)
    means = {name: _moments(column, count)[0] for name, column in slopes.items()}
    return means, {name: spread(column) for name, column in slopes.items()}, groups


def _moments(
    values: np.ndarray, count: np.ndarray | None, squares: np.ndarray | None = None
) -> tuple[float, float]:
    """Mean and sd over single values: a row that is the mean of `count` of them counts so often."""
    if count is None:
        return float(values.mean()), float(values.std())
    total = float(count.sum())
    mean = float(count @ values) / total
    inside = 0.0 if squares is None else float(squares.sum())
    return mean, float(np.sqrt((inside + float(count @ (values - mean) ** 2)) / total))


def fit_attrs(
    spec: ModelSpec, problem: Problem, told: "OutcomeRows | Statistics", sampled: list[Draws], engine: str
) -> dict[str, str | int]:
    """What a fit says of itself besides its draws: model, priors, coding, what was left out, versions."""
    notes = {outcome.name: d.note for outcome, d in zip(problem.outcomes, sampled, strict=True) if d.note}
    verdicts = {
        outcome.name: _finite(d.verdict)
        for outcome, d in zip(problem.outcomes, sampled, strict=True)
        if d.verdict is not None
    }
    priors = {
        outcome.name: {name: resolved.to_dict() for name, resolved in outcome.priors.items()}
        for outcome in problem.outcomes
    }
    transforms = {name: list(one) for name, one in problem.outcomes[0].design.transforms.items()}
    return {
        "mien_version": _version("mien"),
        "formula": spec.formula,
        "family": spec.family,
        "name": spec.name,
        "answers": spec.answers,
        "model_spec": spec.to_json(),
        "priors": json.dumps(priors),
        "coding": json.dumps({name: list(levels) for name, levels in coding_of(problem.outcomes[0]).items()}),
        **({"smooths": json.dumps(_bases(problem))} if problem.outcomes[0].design.bases else {}),
        **({"transforms": json.dumps(transforms)} if transforms else {}),
        "units": "coefficient" if problem.outcomes[0].name else "outcome",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": json.dumps({name: _version(name) for name in (*LIBRARIES.get(engine, ()), *VERSIONED)}),
        "counts": json.dumps(dict(told.counts)),
        "left_out": json.dumps(dict(told.left_out)),
        "sampling_notes": json.dumps(notes),
        **({"engine_verdict": json.dumps(verdicts)} if verdicts else {}),
    }


def _bases(problem: Problem) -> dict[str, dict[str, list]]:
    return {name: basis.to_dict() for name, basis in problem.outcomes[0].design.bases.items()}


def _finite(value: object) -> object:
    """Plain data with None where a number is not finite: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@cache
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
            column = cast(pd.Series, table[name])
            digest.update(str(name).encode())
            if isinstance(column.dtype, pd.CategoricalDtype):
                digest.update("\x1f".join(str(level) for level in column.cat.categories).encode())
                digest.update(np.ascontiguousarray(column.cat.codes, dtype=np.int32))
            elif pd.api.types.is_numeric_dtype(column) or column.dtype == bool:
                digest.update(_numbers(column))
            else:
                digest.update("\x1f".join(_words(column)).encode())
    return digest.hexdigest()


def _numbers(column: pd.Series) -> np.ndarray:
    """A column as float64 with one kind of NaN."""
    if isinstance(column.dtype, np.dtype):
        values = np.ascontiguousarray(column.to_numpy(), dtype=np.float64)
        missing = np.isnan(values)
        return np.where(missing, np.nan, values) if missing.any() else values
    return column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)


def _words(column: pd.Series) -> Iterable[str]:
    """A column as text, with a character of its own for what is missing."""
    if isinstance(column.dtype, pd.StringDtype):
        return column.to_numpy(dtype=object, na_value="\x00")
    return ["\x00" if missing else str(word) for word, missing in zip(column, column.isna(), strict=True)]
