"""Multiverse: one effect under every combination of a grid's recipes and models, beside the analysis as planned.

    recordings    read once; each is prepared under all recipes while it is in memory, only the shapes asked for
    trials        one table a recipe, averaged over bins as the models see it
    fits          one a cell and outcome, in processes; each finished cell is kept in multiverse/cells/
    results       derivatives/mien/multiverse/NAME-HASH/: table.parquet, table.csv, posterior.nc, summary.json,
                  curve.svg, written together or not at all

A cell that cannot be fitted stays in the table with its reason; the reference cell must be fitted.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.data_prep.many_recipes import Decided, prepare_under, put_together_under
from mien.data_prep.recipe import Recipe
from mien.models.fitting import data_sha256
from mien.models.spec import ModelSpec
from mien.study.errors import FitError, MienError, SpecError
from mien.study.files import whole_folder, write_whole
from mien.study.folder import Study
from mien.study.linear_combination import parse_linear_combination
from mien.study.motion import read_arrays
from mien.study.trials import SERIES_KEY, contrast, mean_over_bins
from mien.workflow.checking import require_complete
from mien.workflow.family_plans import FamilyChoice, plan_fits
from mien.workflow.multiverse_grid import Cell, Choice, Grid, read_grid, weights_under
from mien.workflow.multiverse_summary import summarise
from mien.workflow.parallel import Progress, over
from mien.workflow.preparing import RecordingJob, recipe_of, recording_jobs

__all__ = ["Draw", "MultiverseResult", "run_multiverse"]

SAME = 1e-6  # coefficient units: float32 means of means agree to about this
EFFECT_COLUMNS = (
    "mean", "sd", "eti_lower", "eti_upper", "ci_kind", "ci_prob", "p_direction", "direction", "in_rope", "rope",
    "decision", "beta_std", "beta_std_lower", "beta_std_upper", "beta_sigma", "beta_sigma_lower", "beta_sigma_upper",
    "mcse_mean", "ess_bulk", "r_hat", "verdict",
)  # fmt: skip

# (table of one outcome, choices, estimate, outcome) → the figure as SVG
type Draw = Callable[[pd.DataFrame, Sequence[Choice], str, str], str]


class MultiverseResult(NamedTuple):
    """Where the results lie, the table (one row a cell and outcome), the summary, how many cells were fitted now."""

    path: Path
    table: pd.DataFrame
    summary: dict[str, Any]
    fitted: int


class _Prepared(NamedTuple):
    """One recipe's trials of every outcome, averaged over bins; their hash with the bins; rows beside the reference."""

    trials: pd.DataFrame
    sha256: str
    rows: Mapping[str, Mapping[str, int]]


class _Job(NamedTuple):
    """One cell to fit."""

    number: int
    cell: Cell
    prepared: _Prepared


def run_multiverse(
    study: Study,
    grid: Grid | Path,
    *,
    draw: Draw | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> MultiverseResult:
    """Fit every cell of a grid and write what came of it.

    Parameters
    ----------
    grid : a Grid, or a file that holds one.
    draw : makes the specification curve of one outcome; None draws none.
    workers : processes to use.
    progress : called with (done, total, label).

    Raises
    ------
    StudyError, SpecError, FitError
        Also when the reference cell cannot be fitted. Finished cells are kept.
    """
    require_complete(study)
    grid = grid if isinstance(grid, Grid) else read_grid(grid, recipe_of(study))
    cells = list(grid.cells())
    prepared = _prepare(study, grid, cells, workers=workers, progress=progress)
    reference = next(place for place, cell in enumerate(cells) if cell.places == grid.reference)
    _check_effect(study, grid, cells, cells[reference], prepared[cells[reference].recipe.sha256])
    folder = study.derivatives / "multiverse"
    jobs = [_Job(place, cell, prepared[cell.recipe.sha256]) for place, cell in enumerate(cells)]
    jobs.insert(0, jobs.pop(reference))  # where it fails nothing else is worth fitting
    fit_one = partial(_fitted, study=study, grid=grid, folder=folder / "cells", needed=reference)
    fits = over(fit_one, jobs, workers=workers, progress=progress, label="fitting cells")
    found = sorted(fits, key=lambda one: one.number)
    return _written(grid, cells, found, folder, reference, draw)


# Trials


def _prepare(
    study: Study, grid: Grid, cells: Sequence[Cell], *, workers: int, progress: Progress | None
) -> dict[str, _Prepared]:
    """sha256 of a recipe → its trials."""
    recipes = list({cell.recipe.sha256: cell.recipe for cell in cells}.values())
    jobs = recording_jobs(study)
    for recipe in recipes:
        recipe.check_tasks([job.recording_id.task for job in jobs], where=grid.where)
    only = {
        sides: sorted(
            {shape for weights in grid.outcomes.values() for shape in weights_under(sides, weights)}
        )
        for sides in dict.fromkeys(recipe.sides for recipe in recipes)
    }
    prepare_one = partial(_prepare_one, recipes=recipes, stimuli=study.stimuli, only=only)
    decided = over(prepare_one, jobs, workers=workers, progress=progress, label="preparing")
    tables = put_together_under(recipes, decided)
    with_bins = [_outcome_rows(table, grid, recipe) for table, recipe in zip(tables, recipes, strict=True)]
    averaged = [mean_over_bins(table) for table in with_bins]
    at = next(cell.recipe.sha256 for cell in cells if cell.places == grid.reference)
    reference = averaged[[recipe.sha256 for recipe in recipes].index(at)]
    prepared = {}
    for recipe, bins, trials in zip(recipes, with_bins, averaged, strict=True):
        trials.attrs["recipe_sha256"] = recipe.sha256
        prepared[recipe.sha256] = _Prepared(trials, data_sha256(bins), _rows_against(reference, trials))
    return prepared


def _prepare_one(
    job: RecordingJob, *, recipes: Sequence[Recipe], stimuli: pd.DataFrame, only: Mapping[str, Sequence[str]]
) -> list[Decided]:
    return prepare_under(
        recipes,
        read_arrays(job.motion),
        job.events.table,
        stimuli,
        recording_id=job.recording_id,
        only=only,
        aligned=job.events.alignment is not None,
        first_trial=job.first_trial,
        where=str(job.events.path),
    )


def _outcome_rows(trials: pd.DataFrame, grid: Grid, recipe: Recipe) -> pd.DataFrame:
    """The rows of the grid's outcomes, in its order."""
    parts = []
    for name, given in grid.outcomes.items():
        weights = weights_under(recipe.sides, given)
        alone = list(weights) == [name] and weights[name] == 1.0
        if alone:
            rows = trials[trials["blend_shape"] == name]
            if rows.empty:
                raise FitError(
                    f"outcome {name!r}: expected it in the recordings, found none with this shape."
                )
        else:
            rows = contrast(trials, {name: weights})
        parts.append(rows.astype({"blend_shape": "str"}))
    both = pd.concat(parts, ignore_index=True)
    return both.assign(blend_shape=pd.Categorical(both["blend_shape"], categories=list(grid.outcomes)))


def _rows_against(reference: pd.DataFrame, trials: pd.DataFrame) -> dict[str, dict[str, int]]:
    """For each outcome: trials kept, lost, gained and with another value than in the reference."""
    keys, measures = list(SERIES_KEY), ["activation", "raw", "baseline"]
    both = [
        table.loc[(table["excluded"] == "").to_numpy(), [*keys, *measures]]
        .astype(dict.fromkeys(keys, "str"))
        .set_index(keys)
        for table in (reference, trials)
    ]
    found = {}
    for name in trials["blend_shape"].cat.categories:
        before, after = (table[table.index.get_level_values("blend_shape") == name] for table in both)
        shared = before.index.intersection(after.index)
        apart = np.abs(before.loc[shared].to_numpy(np.float64) - after.loc[shared].to_numpy(np.float64))
        moved = int((~(apart <= SAME)).any(axis=1).sum())
        lost, gained = len(before) - len(shared), len(after) - len(shared)
        found[str(name)] = {
            "rows": len(after), "rows_changed": lost + gained + moved, "rows_lost": lost, "rows_gained": gained,
            "rows_moved": moved,
        }  # fmt: skip
    return found


# Models


def _spec(study: Study, trials: pd.DataFrame, model: Mapping[str, Any]) -> tuple[ModelSpec, pd.DataFrame]:
    """A cell's model, without its scale of priors, and the trials with the columns that it needs."""
    own: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in model.items()
    }
    residual_sd = own.pop("residual_sd", None)
    own.pop("priors_scale", None)
    family = own.pop("family", "valence")
    plans = plan_fits(study, trials, family, FamilyChoice(**own))
    if len(plans) > 1:
        raise SpecError(
            f"model.traits: expected one model, found {', '.join(plan.spec.name for plan in plans)}: name one trait, "
            "or say together = true."
        )
    spec, data = plans[0]
    if residual_sd:
        spec = replace(spec, sigma_by=("medium",) if residual_sd == "by_medium" else ())
    return spec, data


def _with_priors(
    spec: ModelSpec, trials: pd.DataFrame, participants: pd.DataFrame, factor: float
) -> ModelSpec:
    """The same model with the default priors of coefficients and group sds `factor` times as wide."""
    from mien.models.fitting import make_problem
    from mien.priors import scaled

    if factor == 1.0:
        return spec
    problem = make_problem(spec, trials, participants)[0]
    wider = {
        name: scaled(resolved.prior, factor)
        for name, resolved in problem.outcomes[0].priors.items()
        if name.startswith("sd:") or name in problem.outcomes[0].design.coefficients
        if name != "Intercept"
    }
    return replace(spec, priors=wider)


def _check_effect(
    study: Study, grid: Grid, cells: Sequence[Cell], reference: Cell, prepared: _Prepared
) -> None:
    """Refuse an effect that a model does not have, or a column that is nowhere, before anything is fitted."""
    from mien.models.fitting import make_problem

    trials = _of_outcome(prepared.trials, next(iter(grid.outcomes)))
    for model in {json.dumps(dict(cell.model), sort_keys=True): cell.model for cell in cells}.values():
        try:
            spec, data = _spec(study, trials, model)
            problem = make_problem(spec, data, study.participants)[0]
        except FitError as reason:  # a cell that cannot be fitted says so in the table
            if model == reference.model:
                raise _not_fitted(grid, reason) from None
            continue
        try:
            parse_linear_combination(grid.effect[1], problem.outcomes[0].design.coefficients)
        except SpecError as error:
            raise SpecError(f"{grid.where}, key 'effect', model {spec.formula!r}: {error}") from None


def _not_fitted(grid: Grid, reason: MienError) -> FitError:
    return FitError(f"{grid.where}: expected a reference cell that can be fitted, but {reason}")


def _of_outcome(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    rows = trials[trials["blend_shape"] == name].reset_index(drop=True)
    mine = rows.assign(blend_shape=pd.Categorical(rows["blend_shape"].astype("str"), categories=[name]))
    mine.attrs.update(trials.attrs)
    return mine


class _Found(NamedTuple):
    """A cell's rows (one an outcome), draws of the effect (outcome, chain, draw), and whether it was fitted now."""

    number: int
    rows: list[dict[str, Any]]
    draws: list[np.ndarray]
    new: bool


def _fitted(job: _Job, *, study: Study, grid: Grid, folder: Path, needed: int) -> _Found:
    rows, draws, new = [], [], False
    for name in grid.outcomes:
        facts = {"outcome": name, "trials_sha256": job.prepared.sha256, **job.prepared.rows[name]}
        try:
            row, mine, fresh = _one_fit(job, _of_outcome(job.prepared.trials, name), study, grid, folder)
        except MienError as reason:
            if job.number == needed:
                raise _not_fitted(grid, reason) from None
            row, mine, fresh = {"failure": str(reason)}, np.zeros((0, 0), np.float32), False
        rows.append({**facts, "failure": "", **row})
        draws.append(mine)
        new = new or fresh
    return _Found(job.number, rows, draws, new)


def _one_fit(
    job: _Job, trials: pd.DataFrame, study: Study, grid: Grid, folder: Path
) -> tuple[dict[str, Any], np.ndarray, bool]:
    """The row and the draws of one cell and outcome, fitted or found."""
    from mien.models import effects, fingerprint, fit
    from mien.models.effect_tables import coefficient_names

    spec, data = _spec(study, trials, job.cell.model)
    spec = _with_priors(spec, data, study.participants, float(job.cell.model.get("priors_scale", 1.0)))
    settings: dict[str, Any] = {"participants": study.participants, "draws": grid.draws, "seed": grid.seed}
    sha256 = fingerprint(spec, data, **settings)
    asked = json.dumps([sha256, grid.effect[1], grid.rope])
    path = folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.npz"
    known = _read_cell(path)
    if known:
        return *known, False
    made = fit(spec, data, **settings, group_effects=False)
    told = effects(made, {grid.effect[0]: grid.effect[1]}, rope=grid.rope).iloc[0]
    weights = parse_linear_combination(grid.effect[1], coefficient_names(made))
    posterior = made["posterior"].dataset
    drawn = sum(
        weight * posterior[name].to_numpy().astype(np.float64)[..., 0] for name, weight in weights.items()
    )
    row = {name: _plain(told[name]) for name in EFFECT_COLUMNS}
    counts = json.loads(str(made.attrs["counts"]))
    row |= {
        "rows_modelled": counts["modelled"], "formula": spec.formula, "engine": str(made.attrs["engine"]),
        "fit_sha256": sha256,
    }  # fmt: skip
    draws = np.asarray(drawn, dtype=np.float32)
    _write_cell(path, row, draws)
    return row, draws, True


def _write_cell(path: Path, row: Mapping[str, Any], draws: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, draws=draws, row=np.frombuffer(json.dumps(row).encode(), dtype=np.uint8))
    write_whole(path, buffer.getvalue())


def _read_cell(path: Path) -> tuple[dict[str, Any], np.ndarray] | None:
    """A finished cell; None where there is none, or its file is damaged and it is fitted again."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return json.loads(stored["row"].tobytes().decode()), stored["draws"]
    except (OSError, ValueError, KeyError):
        return None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# Results


def _written(
    grid: Grid,
    cells: Sequence[Cell],
    found: Sequence[_Found],
    folder: Path,
    reference: int,
    draw: Draw | None,
) -> MultiverseResult:
    table: Any = _table(grid, cells, found, reference)
    hashed = json.dumps([grid.canonical(), table["fit_sha256"].fillna("").tolist()], sort_keys=True)
    path = folder / f"{grid.name}-{hashlib.sha256(hashed.encode()).hexdigest()[:8]}"
    summary = {
        "name": grid.name,
        "effect": {grid.effect[0]: grid.effect[1]},
        "estimate": grid.estimate,
        "cells": grid.size,
        "recipes": len({cell.recipe.sha256 for cell in cells}),
        "trials_tables": int(table["trials_sha256"].nunique()),
        "verdicts_failed": int((table["verdict"] == "failed").sum()),
        "reference": {
            choice.key: choice.labels[at] for choice, at in zip(grid.choices, grid.reference, strict=True)
        },
        "outcomes": summarise(table, grid.choices, grid.estimate),
        "grid": grid.canonical(),
    }  # fmt: skip
    with whole_folder(path) as temporary:
        table.to_parquet(temporary / "table.parquet", index=False)
        table.to_csv(temporary / "table.csv", index=False)
        _posterior(grid, found).to_netcdf(temporary / "posterior.nc", engine="h5netcdf")
        write_whole(temporary / "summary.json", json.dumps(summary, indent=1) + "\n")
        for name, rows in table.groupby("outcome", sort=False):
            if draw:
                svg = draw(rows.reset_index(drop=True), grid.choices, grid.estimate, str(name))
                write_whole(temporary / _curve_name(str(name), grid), svg)
    return MultiverseResult(path, table, summary, sum(one.new for one in found))


def _curve_name(outcome: str, grid: Grid) -> str:
    """curve.svg, or one a outcome where there are several."""
    if len(grid.outcomes) == 1:
        return "curve.svg"
    return f"curve-{''.join(sign if sign.isalnum() else '-' for sign in outcome)}.svg"


def _table(grid: Grid, cells: Sequence[Cell], found: Sequence[_Found], reference: int) -> pd.DataFrame:
    rows = []
    for one in found:
        cell = cells[one.number]
        own = {
            choice.key: choice.labels[place] for choice, place in zip(grid.choices, cell.places, strict=True)
        }
        head = {"cell": one.number, "reference": one.number == reference, **own, "effect": grid.effect[0]}
        rows += [{**head, **row, "recipe_sha256": cell.recipe.sha256} for row in one.rows]
    return pd.DataFrame(rows)


def _posterior(grid: Grid, found: Sequence[_Found]) -> Any:
    """Draws of the effect, (blend_shape, cell, chain, draw); NaN in cells that could not be fitted."""
    import xarray as xr

    size = next(draws.shape for one in found for draws in one.draws if draws.size)
    missing = np.full(size, np.nan, np.float32)
    stacked = np.stack(
        [np.stack([draws if draws.size else missing for draws in one.draws]) for one in found], axis=1
    )
    posterior = xr.Dataset(
        {"effect": (("blend_shape", "cell", "chain", "draw"), stacked)},
        coords={"blend_shape": list(grid.outcomes), "cell": [one.number for one in found]},
    )
    return xr.DataTree.from_dict({"posterior": posterior})
