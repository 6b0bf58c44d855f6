"""`predict`: what the model expects at the rows of a grid, or what a new observation there would be.

    kind      mean      the expected outcome
              outcome   one new observation: with the residual, and with effects of levels that the grid does not name
    level     population    averaged over persons and stimuli: for a linear model, group effects at 0
              participant   the fit's persons with their own effects, and so for every other factor whose columns the
                            grid has. A label that the fit does not know is a new level, drawn from its population.

Families with a link (`likelihoods`) have no sums on the outcome's scale: there the mean is averaged over whatever is
not named, persons and stimuli at level population, the stimuli that the grid leaves out at level participant.

Rows are coded by the fit's levels, with the fit's curves, and with its means in center(x) and scale(x). A column that
the grid cannot give (bs(x), poly(x), whose numbers come from the fit's own rows) is refused.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.derived_columns import add_derived_as_stored, wanted_columns
from mien.models.design import effect_columns, new_columns
from mien.models.diagnostics import outcomes_of
from mien.models.factors.spec import require_coefficients
from mien.models.family_rows import natural_parameters
from mien.models.levels import codes_of
from mien.models.likelihood_replicates import draw_response
from mien.models.likelihoods import LIKELIHOODS, parameter_columns
from mien.models.mean_response import has_link, parameter_draws, response_moments
from mien.models.refit import coefficients_of, effects_of, fit_coding, of_shape
from mien.models.residuals import root_precision, strata_dim
from mien.models.smooths import POPULATION, is_smooth_term, parse_smooth, sd_name
from mien.models.spec import ModelSpec, has_sigma_prior
from mien.study.errors import FitError, SpecError
from mien.study.formula import Formula, parse_formula

__all__ = ["PREDICTION_COLUMNS", "predict", "prediction_draws"]

KINDS = ("mean", "outcome")
LEVELS = ("population", "participant")
WHO = "participant"
SINGLE = ("z", "is")  # derived columns that one row of a grid can give
NODES = 61  # of the quadrature over effects; 1e-6 for a logistic of sd 3
MOST = 200_000_000  # numbers of a result
PREDICTION_COLUMNS = ("mean", "sd", "eti_lower", "eti_upper", "ci_kind", "ci_prob", "units", "verdict")


class _Grid(NamedTuple):
    """Rows ready to predict.

    frame : the rows. coefficients, design : names and columns (row, coefficient).
    groups : factor → names of its terms and their columns (row, term). kind, level : what is asked for.
    parameters : further parameter of the family → names and columns of its regression, none for a single number.
    """

    spec: ModelSpec
    frame: pd.DataFrame
    coefficients: list[str]
    design: np.ndarray
    groups: dict[str, tuple[list[str], np.ndarray]]
    kind: str
    level: str
    parameters: dict[str, tuple[tuple[str, ...], np.ndarray]]


def predict(
    fit: xr.DataTree,
    grid: pd.DataFrame,
    *,
    kind: str = "mean",
    level: str = "population",
    ci_prob: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Predictions at the rows of a grid, a row each and blend shape.

    Parameters
    ----------
    fit : from `mien.fit` or `mien.load`.
    grid : the columns of the formula's coefficients, as in the data; ``pd.DataFrame({"valence": ["negative",
        "positive"]})``. For `age_z` the column `age` will do.
    kind : "mean", the expected outcome, or "outcome", one new observation.
    level : "population", or "participant": the grid's persons, or all of the fit's where it has no such column.
    ci_prob : level of the equal-tailed interval. seed : of what is drawn anew.

    Returns
    -------
    The grid's columns, `blend_shape` where the fit has it, and `PREDICTION_COLUMNS` in units of the outcome.

    Raises
    ------
    SpecError
        For columns that are missing, levels that the fit has not, or columns that a grid cannot give.
    FitError
        For group effects that were not stored.
    """
    require_coefficients(fit, "predict")
    if not 0 < ci_prob < 1:
        raise FitError(f"ci_prob: expected a number between 0 and 1, found {ci_prob!r}.")
    prepared = _prepared(fit, grid, kind, level)
    draws = _all_draws(fit, prepared, seed)
    tails = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
    failed = json.loads(fit.attrs["diagnostics_detail"])["failed"]
    contrasts = prepared.spec.contrasts
    tables = []
    for place, shape in enumerate(outcomes_of(fit)):
        mine = draws[:, place]
        lower, upper = np.quantile(mine, tails, axis=0)
        table = prepared.frame.assign(
            mean=mine.mean(axis=0), sd=mine.std(axis=0, ddof=1), eti_lower=lower, eti_upper=upper, ci_kind="eti",
            ci_prob=ci_prob, units="contrast" if shape in contrasts else fit.attrs["units"],
            verdict="failed" if (shape or "") in failed else "passed",
        )  # fmt: skip
        if shape is not None:
            table.insert(0, "blend_shape", shape)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def prediction_draws(
    fit: xr.DataTree, grid: pd.DataFrame, *, kind: str = "mean", level: str = "population", seed: int = 0
) -> xr.DataArray:
    """The draws behind `predict`, (chain, draw, [blend_shape], row); differences between rows are taken draw by draw.

    Parameters and errors are those of `predict`; where it adds the fit's persons, rows go by person within a row of
    the grid, and have a coordinate `participant`.
    """
    require_coefficients(fit, "prediction_draws")
    prepared = _prepared(fit, grid, kind, level)
    draws = _all_draws(fit, prepared, seed)
    posterior, shapes = fit["posterior"].dataset, outcomes_of(fit)
    chains, count = posterior.sizes["chain"], posterior.sizes["draw"]
    coords: dict[str, Any] = {
        "chain": posterior["chain"].to_numpy(),
        "draw": posterior["draw"].to_numpy(),
        "row": np.arange(len(prepared.frame)),
    }
    if WHO in prepared.frame.columns:
        coords[WHO] = ("row", prepared.frame[WHO].astype("str").to_numpy(dtype=object))
    draws = draws.reshape(chains, count, *draws.shape[1:])
    name = parse_formula(prepared.spec.formula).response
    if shapes == [None]:
        return xr.DataArray(draws[:, :, 0], dims=("chain", "draw", "row"), coords=coords, name=name)
    coords["blend_shape"] = np.array(shapes)
    return xr.DataArray(draws, dims=("chain", "draw", "blend_shape", "row"), coords=coords, name=name)


# The grid


def _prepared(fit: xr.DataTree, grid: pd.DataFrame, kind: str, level: str) -> _Grid:
    for name, value, allowed in (("kind", kind, KINDS), ("level", level, LEVELS)):
        if value not in allowed:
            raise FitError(f"{name}: expected one of {', '.join(allowed)}, found {value!r}.")
    if not isinstance(grid, pd.DataFrame) or not len(grid):
        raise FitError(f"grid: expected a pandas.DataFrame with rows, found {type(grid).__name__} without.")
    spec = ModelSpec.from_json(str(fit.attrs["model_spec"]))
    formula = parse_formula(spec.formula)
    frame = grid.reset_index(drop=True)
    if "blend_shape" in frame.columns and outcomes_of(fit) != [None]:
        raise SpecError(
            "grid: expected no column blend_shape, found it: every shape of the fit is predicted; take those you want."
        )
    if level == WHO and WHO not in frame.columns:
        frame = _with_persons(fit, frame)
    frame = _with_derived(fit, spec, formula, frame)
    _check_grid(formula, spec, frame, kind)
    names, design, terms = new_columns(formula, frame, fit_coding(fit))
    groups: dict[str, tuple[list[str], np.ndarray]] = {}
    for factor, labels, columns in terms:
        known, before = groups.get(factor, ([], np.zeros((len(frame), 0))))
        groups[factor] = ([*known, *labels], np.column_stack([before, columns]))
    return _Grid(spec, frame, names, design, groups, kind, level, _parameters(fit, spec, frame))


def _parameters(
    fit: xr.DataTree, spec: ModelSpec, frame: pd.DataFrame
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    found = {}
    for parameter in LIKELIHOODS[spec.family].parameters if spec.family in LIKELIHOODS else ():
        names, columns = (), np.zeros((len(frame), 0))
        if parameter in spec.parameters:
            formula = parse_formula(spec.parameters[parameter])
            labels, columns, _ = new_columns(formula, frame, fit_coding(fit)._replace(smooths=()))
            names = tuple(labels)
        found[parameter] = (names, columns)
    return found


def _with_persons(fit: xr.DataTree, frame: pd.DataFrame) -> pd.DataFrame:
    """Every row of the grid for every person of the fit."""
    posterior = fit["posterior"].dataset
    if WHO not in posterior.coords:
        raise FitError(
            f"predict: expected a model with a group term of {WHO}, found {fit.attrs['formula']!r}: use "
            "level='population'."
        )
    persons = [str(label) for label in posterior[WHO].to_numpy()]
    repeated = frame.loc[np.repeat(frame.index, len(persons))].reset_index(drop=True)
    repeated.insert(0, WHO, persons * len(frame))
    return repeated


def _columns_of_the_mean(spec: ModelSpec, formula: Formula) -> list[str]:
    """The columns behind the coefficients and the curves."""
    curved = [name for text in spec.smooths for name in (parse_smooth(text).column, *parse_smooth(text).by)]
    return list(dict.fromkeys([*effect_columns(formula), *curved]))


def _with_derived(fit: xr.DataTree, spec: ModelSpec, formula: Formula, frame: pd.DataFrame) -> pd.DataFrame:
    wanted = wanted_columns(_columns_of_the_mean(spec, formula), [str(name) for name in frame.columns])
    for name, column in wanted.items():
        if column.kind not in SINGLE:
            raise SpecError(
                f"grid: expected a column {name!r}, found {column.source!r}, from which a row of a grid cannot tell it "
                "(it takes all trials of a person): give it itself; 0 is the average."
            )
    return add_derived_as_stored(frame, wanted, json.loads(str(fit.attrs.get("derived", "{}"))))


def _check_grid(formula: Formula, spec: ModelSpec, frame: pd.DataFrame, kind: str) -> None:
    needed = [*_columns_of_the_mean(spec, formula), *parameter_columns(spec)]
    if kind == "outcome" and spec.family == "gaussian":
        alone = [spec.standard_errors] if spec.standard_errors else []
        needed = [*needed, *spec.sigma_by, *alone]
    needed = list(dict.fromkeys(needed))
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise SpecError(
            f"grid: expected the columns {', '.join(needed)}, found no {', '.join(lacking)}: add what to predict at, "
            "e.g. its mean."
        )
    for name in needed:
        if cast(pd.Series, frame[name]).isna().to_numpy().any():
            raise SpecError(f"grid: expected a value in every row of {name}, found a missing one.")


# Draws


def _all_draws(fit: xr.DataTree, grid: _Grid, seed: int) -> np.ndarray:
    """(draw, shape, row), chains one after the other."""
    posterior, shapes = fit["posterior"].dataset, outcomes_of(fit)
    count = posterior.sizes["chain"] * posterior.sizes["draw"]
    size = count * len(shapes) * len(grid.frame)
    if size > MOST:
        raise FitError(f"predict: expected at most {MOST:,} numbers, found {size:,}: predict at fewer rows.")
    result = np.empty((count, len(shapes), len(grid.frame)))
    for place, shape in enumerate(shapes):
        rng = np.random.default_rng([seed, place])
        mean = coefficients_of(fit, shape, grid.coefficients) @ grid.design.T
        variance = np.zeros_like(mean)  # of effects that the grid does not name
        for factor, (terms, columns) in grid.groups.items():
            effects = _effects(fit, shape, grid, factor, rng)
            if effects is not None:
                mean += np.einsum("drt,rt->dr", effects, columns)
            elif has_link(fit):
                root = _root(fit, shape, factor, terms)
                variance += (np.einsum("rt,dtk->drk", columns, root) ** 2).sum(axis=2)
        if grid.kind == "outcome":
            result[:, place] = _new_values(fit, shape, grid, mean, rng)
        else:
            result[:, place] = _averaged(fit, shape, grid, mean, variance) if has_link(fit) else mean
    return result


def _new_values(
    fit: xr.DataTree, shape: str | None, grid: _Grid, eta: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(draw, row) values around the linear predictors."""
    family = grid.spec.family
    if family == "gaussian":
        return eta + _row_sd(fit, shape, grid) * rng.standard_normal(eta.shape)
    return draw_response(family, eta, natural_parameters(family, _further(fit, shape, grid)), rng)


def _further(fit: xr.DataTree, shape: str | None, grid: _Grid) -> dict[str, np.ndarray]:
    """Further parameters of the family, or linear predictors of them, (draw, row) or (draw, 1)."""
    drawn = parameter_draws(fit, shape, {name: names for name, (names, _) in grid.parameters.items()})
    return {
        name: drawn[name] @ columns.T if names else drawn[name]
        for name, (names, columns) in grid.parameters.items()
    }


def _effects(
    fit: xr.DataTree, shape: str | None, grid: _Grid, factor: str, rng: np.random.Generator
) -> np.ndarray | None:
    """(draw, row, term), or None where they are 0."""
    parts, frame, terms = factor.split(":"), grid.frame, grid.groups[factor][0]
    if factor == POPULATION:  # the curve common to all
        stored = np.stack([effects_of(fit, shape, f"{term}|{factor}", "predict") for term in terms], axis=-1)
        return np.repeat(stored, len(frame), axis=1)
    if grid.level == "population" or not set(parts) <= set(frame.columns):
        if grid.kind == "mean":
            return None
        return _new_levels(fit, shape, factor, terms, len(frame), rng)
    texts = [_labels(frame, part) for part in parts]
    labels = [":".join(words) for words in zip(*texts, strict=True)]
    known = {str(label): place for place, label in enumerate(fit["posterior"].dataset[factor].to_numpy())}
    unknown = dict.fromkeys(label for label in labels if label not in known)
    strangers = {label: place for place, label in enumerate(unknown)}
    at = np.array([known.get(label, len(known) + strangers.get(label, 0)) for label in labels])
    stored = np.stack([effects_of(fit, shape, f"{term}|{factor}", "predict") for term in terms], axis=-1)
    if strangers:
        new = _new_levels(fit, shape, factor, terms, len(strangers), rng)
        stored = np.concatenate([stored, new], axis=1)
    return stored[:, at]


def _labels(frame: pd.DataFrame, name: str) -> list[str]:
    codes, labels = codes_of(cast(pd.Series, frame[name]))
    if (codes < 0).any():
        raise SpecError(f"grid: expected a label in every row of {name}, found a missing one.")
    return [labels[code] for code in codes]


def _new_levels(
    fit: xr.DataTree, shape: str | None, factor: str, terms: Sequence[str], count: int, rng: np.random.Generator
) -> np.ndarray:  # fmt: skip
    """(draw, level, term) from the population of each draw."""
    root = _root(fit, shape, factor, terms)
    return np.einsum("dij,dlj->dli", root, rng.standard_normal((len(root), count, len(terms))))


def _root(fit: xr.DataTree, shape: str | None, factor: str, terms: Sequence[str]) -> np.ndarray:
    """(draw, term, term), whose square is the covariance of a level's effects."""
    posterior = of_shape(fit["posterior"].dataset, shape)
    names = [f"{sd_name(term, factor)}_sigma" for term in terms]
    sds = np.stack([posterior[name].to_numpy().ravel() for name in names], axis=-1)
    root = np.zeros((len(sds), len(terms), len(terms))) + np.eye(len(terms))
    if f"{factor}_corr" in posterior:
        place = [number for number, term in enumerate(terms) if not is_smooth_term(term)]
        straight = [terms[number] for number in place]
        corr = posterior[f"{factor}_corr"].sel({f"{factor}_term": straight, f"{factor}_term_bis": straight})
        values, vectors = np.linalg.eigh(corr.to_numpy().reshape(-1, len(place), len(place)))
        root[:, np.array(place)[:, None], place] = vectors * np.sqrt(np.maximum(values, 0.0))[:, None]
    return sds[:, :, None] * root


def _averaged(
    fit: xr.DataTree, shape: str | None, grid: _Grid, eta: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """(draw, row) mean of a family with a link at η + a normal variable of this variance."""
    further = _further(fit, shape, grid)
    nodes, weight = np.polynomial.hermite_e.hermegauss(NODES)
    spread = np.sqrt(variance)
    return sum(
        (
            chance * response_moments(grid.spec.family, eta + node * spread, further)[0]
            for node, chance in zip(nodes, weight / weight.sum(), strict=True)
        ),
        start=np.zeros_like(eta),
    )


def _row_sd(fit: xr.DataTree, shape: str | None, grid: _Grid) -> np.ndarray:
    """(draw, row) residual sd of one new value; of a mean of `counts` values where the grid has that column."""
    spec, frame = grid.spec, grid.frame
    posterior = of_shape(fit["posterior"].dataset, shape)
    count = posterior.sizes["chain"] * posterior.sizes["draw"]
    sigma = posterior["sigma"].to_numpy().reshape(count, -1)
    place = np.zeros(len(frame), dtype=np.int64)
    if spec.sigma_by:
        levels = [str(label) for label in posterior[strata_dim(spec)].to_numpy()]
        labels = [
            ":".join(words) for words in zip(*(_labels(frame, name) for name in spec.sigma_by), strict=True)
        ]
        unknown = sorted(set(labels) - set(levels))
        if unknown:
            raise SpecError(
                f"grid: expected strata of sigma that the fit has ({', '.join(levels)}), found {unknown[0]}."
            )
        place = np.array([levels.index(label) for label in labels])
    named = [name for name in (spec.weights, spec.counts, spec.standard_errors) if name]
    root = root_precision(spec, frame) if set(named) <= set(frame.columns) else np.ones(len(frame))
    variance = (sigma[:, place] / root) ** 2
    if spec.standard_errors and has_sigma_prior(spec.priors):
        variance = variance + frame[spec.standard_errors].to_numpy(dtype=np.float64) ** 2
    return np.sqrt(variance)
