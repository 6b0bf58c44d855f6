"""Contrasts of the mean response for families whose mean has a link: what an effect is on the outcome's own scale.

    E[y | x, u]        the family's mean at η = Xβ + Zu, zeros and ones included
    E[y | x]           the same, averaged over persons and stimuli: Zu is normal with variance z'Σz (Gauss–Hermite)
    m(level)           the average over the rows of E[y | x], the column set to the level and all else as it is
    contrast           what the coefficient would be on an identity link: Σ_level a_level m(level)

a is the column's own coding turned round: E[y | +½] − E[y | −½] for two levels, positive − negative with neutral aside
for three, a level minus the mean of levels else; of a product, the difference of differences. A number's contrast is
its average slope over one sd about each row's value (over its two values where it has two). All coefficients are
contrasts of this kind, so that hypotheses combine them linearly. "Population-averaged" is the only kind here: a
contrast for one typical person (u = 0) is another number, and no mean of what persons do.

Parts: chance of moving P(y > 0), mean when moving E[y | y > 0] of the population, chance of 1 P(y ≥ 1), with units
"probability" or those of the outcome. Zeros of the raw coefficients are the tracker's: of neutral-calibrated files,
where they are censoring at neutral, the chance of moving is not one.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import xarray as xr

from mien.models.coding import level_columns
from mien.models.likelihoods import LIKELIHOODS
from mien.models.refit import of_shape, used_rows
from mien.study.errors import FitError

__all__ = [
    "PARTS", "Columns", "PartDraws", "design_columns", "effect_covariances", "effect_names", "has_link",
    "mean_response", "parameter_draws", "parameter_variables", "residual_sd", "response_moments", "response_of_level",
]  # fmt: skip

NODES = 41  # of the quadrature over Zu; 15 are off by 7e-4 for a logistic of sd 3
MOST = 20_000_000  # numbers worked on for one cell; draws are thinned evenly where rows differ in many values
FEWEST_DRAWS = 100  # of each chain
PARTS = ("", "chance of moving", "mean when moving", "chance of 1")


class PartDraws(NamedTuple):
    """One part of the response: contrasts by coefficient (chain, draw), and the sds it is measured in.

    part : of `PARTS`; sigma : about the mean given everything; sd_y : of all, (chain, draw). sd_x : of columns.
    """

    part: str
    units: str
    contrasts: Mapping[str, np.ndarray]
    sigma: np.ndarray
    sd_y: np.ndarray
    sd_x: Mapping[str, float]


class _Moments(NamedTuple):
    """(draw,) each, averaged over rows and groups: P = P(y > 0), O = P(y ≥ 1), m = E[y | u], s = E[y² | u]."""

    m: np.ndarray
    p: np.ndarray
    o: np.ndarray
    s: np.ndarray
    m_m: np.ndarray
    m_m_by_p: np.ndarray
    p_p: np.ndarray
    o_o: np.ndarray


class Columns(NamedTuple):
    """Columns by their names, for each predictor ("" is the mean's) and each group block."""

    predictors: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
    blocks: tuple[tuple[str, tuple[str, ...], np.ndarray], ...]


def has_link(fit: xr.DataTree) -> bool:
    """Whether effects of this fit are contrasts of the mean response."""
    family = str(fit.attrs.get("family", "gaussian"))
    return family in LIKELIHOODS and LIKELIHOODS[family].link != "identity"


def effect_names(fit: xr.DataTree) -> list[str]:
    """Coefficients that have a contrast: those of the mean, then those that only regressions of parameters have."""
    constants = _constants(fit)
    names = [str(name) for name in constants["coefficient"].to_numpy()] if "design" in constants else []
    for parameter in LIKELIHOODS[str(fit.attrs["family"])].parameters:
        if f"{parameter} design" in constants:
            names += [str(name) for name in constants[f"{parameter}_coefficient"].to_numpy()]
    return list(dict.fromkeys(names)) or ["Intercept"]


def parameter_variables(fit: xr.DataTree) -> list[str]:
    """Variables of the posterior that are further parameters of the family, or coefficients of their regressions."""
    family = str(fit.attrs.get("family", "gaussian"))
    parameters = LIKELIHOODS[family].parameters if family in LIKELIHOODS else ()
    constants = fit["constant_data"].dataset if "constant_data" in fit.children else xr.Dataset()
    found = list(parameters)
    for parameter in parameters:
        if f"{parameter} design" in constants:
            found += [f"{parameter}_{name}" for name in constants[f"{parameter}_coefficient"].to_numpy()]
    return found


def residual_sd(fit: xr.DataTree, shape: str | None) -> np.ndarray:
    """(chain, draw, [stratum]) sigma; where it has a regression, the root of its mean square over rows."""
    posterior = of_shape(fit["posterior"].dataset, shape)
    if "sigma" in posterior:
        return posterior["sigma"].to_numpy().astype(np.float64)
    constants = of_shape(_constants(fit), shape)
    names = tuple(str(name) for name in constants["sigma_coefficient"].to_numpy())
    drawn = parameter_draws(fit, shape, {"sigma": names})["sigma"]
    rows, count = np.unique(
        constants["sigma design"].to_numpy()[used_rows(fit, shape)], axis=0, return_counts=True
    )
    square = np.exp(2.0 * drawn @ rows.T) @ (count / count.sum())
    return np.sqrt(square).reshape(posterior.sizes["chain"], posterior.sizes["draw"])


def mean_response(fit: xr.DataTree, shape: str | None, names: Sequence[str]) -> list[PartDraws]:
    """Contrasts of the mean response and its parts, for one outcome.

    Parameters
    ----------
    names : some of `effect_names`.

    Raises
    ------
    FitError
        For products of columns that the model does not have by themselves, or a fit without rows.
    """
    family = str(fit.attrs["family"])
    columns = design_columns(fit, shape)
    draws, sizes = _draws(fit, shape, columns)
    coding = {name: list(levels) for name, levels in _coding(fit).items()}
    weights = {name: _cells(name, columns, coding) for name in names}
    cells = {key for mine in weights.values() for key, _ in mine} | {()}
    values = _values_of_bases(columns)
    moments = {
        key: _averaged(family, _changed(columns, dict(key), values, coding), draws, sizes) for key in cells
    }
    chains = fit["posterior"].sizes["chain"]
    likelihood = LIKELIHOODS[family]
    parts = [part for part in PARTS if part != "chance of 1" or likelihood.ones]
    return [
        _part(part, moments, weights, chains, str(fit.attrs["units"]), _spread_of_columns(columns))
        for part in parts
    ]


def response_of_level(
    fit: xr.DataTree,
    shape: str | None,
    names: Sequence[str],
    factor: str,
    effects: np.ndarray,
    at: np.ndarray,
) -> dict[str, np.ndarray]:
    """Contrasts of the mean response of one level of a factor, the other factors averaged over: name → (draw,).

    Parameters
    ----------
    names : coefficients, "Intercept" for the mean response itself.
    effects : (draw, term) of the level, in the order of the factor's terms. at : rows that are averaged over.
    """
    family, columns = str(fit.attrs["family"]), design_columns(fit, shape)
    draws, sizes = _draws(fit, shape, columns)
    coding, values = {name: list(levels) for name, levels in _coding(fit).items()}, _values_of_bases(columns)
    number = next(place for place, block in enumerate(columns.blocks) if block[0] == factor)
    others = [place for place in range(len(columns.blocks)) if place != number]
    draws = _Draws(
        {**draws.predictors, "": np.concatenate([draws.predictors[""], effects], axis=1)},
        tuple(draws.covariances[place] for place in others),
    )

    def mean_at(cell: Cell) -> np.ndarray:
        changed = _changed(columns, dict(cell), values, coding)
        own, matrix = changed.predictors[""]
        _, terms, z = changed.blocks[number]
        joined = Columns(
            {name: (have, part[at]) for name, (have, part) in changed.predictors.items()}
            | {"": ((*own, *terms), np.concatenate([matrix, z], axis=1)[at])},
            tuple((name, have, part[at]) for name, have, part in (changed.blocks[place] for place in others)),
        )
        if LIKELIHOODS[family].link == "identity":
            return draws.predictors[""] @ joined.predictors[""][1].mean(axis=0)
        return _averaged(family, joined, draws, sizes).m

    weights = {name: _cells(name, columns, coding) for name in names}
    means = {key: mean_at(key) for key in {key for mine in weights.values() for key, _ in mine}}
    return {
        name: np.sum([weight * means[key] for key, weight in mine], axis=0) for name, mine in weights.items()
    }


def _part(
    part: str, moments: Mapping, weights: Mapping, chains: int, units: str, sd_x: Mapping[str, float]
) -> PartDraws:
    pick = _PICK[part]
    own = moments[()]
    contrasts = {
        name: np.sum([weight * pick(moments[key]) for key, weight in cells], axis=0).reshape(chains, -1)
        for name, cells in weights.items()
    }
    variances = {
        "": (own.s - own.m_m, own.s - own.m**2),
        "chance of moving": (own.p - own.p_p, own.p - own.p**2),
        "mean when moving": ((own.s - own.m_m_by_p) / own.p, own.s / own.p - (own.m / own.p) ** 2),
        "chance of 1": (own.o - own.o_o, own.o - own.o**2),
    }[part]
    sigma, sd_y = (np.sqrt(np.maximum(value, 0.0)).reshape(chains, -1) for value in variances)
    return PartDraws(part, "probability" if "chance" in part else units, contrasts, sigma, sd_y, sd_x)


_PICK = {
    "": lambda of: of.m,
    "chance of moving": lambda of: of.p,
    "mean when moving": lambda of: of.m / of.p,
    "chance of 1": lambda of: of.o,
}


# The columns, and what they are in a cell


def _constants(fit: xr.DataTree) -> xr.Dataset:
    if "constant_data" not in fit.children:
        raise FitError(
            f"effects: expected a fit that holds its rows, over which family {fit.attrs['family']!r} averages, found "
            "none: fit fewer rows."
        )
    return fit["constant_data"].dataset


def _coding(fit: xr.DataTree) -> Mapping[str, Sequence[str]]:
    return json.loads(fit.attrs["coding"])


def design_columns(fit: xr.DataTree, shape: str | None) -> Columns:
    """Of one outcome's rows; where nothing varies the mean has no column."""
    constants, used = of_shape(_constants(fit), shape), used_rows(fit, shape)
    predictors = {}
    names = tuple(str(name) for name in constants["coefficient"].to_numpy()) if "design" in constants else ()
    matrix = constants["design"].to_numpy()[used] if names else np.zeros((int(used.sum()), 0))
    predictors[""] = (names, matrix)
    for parameter in LIKELIHOODS[str(fit.attrs["family"])].parameters:
        if f"{parameter} design" in constants:
            own = tuple(str(name) for name in constants[f"{parameter}_coefficient"].to_numpy())
            predictors[parameter] = (own, constants[f"{parameter} design"].to_numpy()[used])
        else:
            predictors[parameter] = ((), np.zeros((int(used.sum()), 0)))
    by_factor: dict[str, list[str]] = {}
    for name in fit["posterior"].dataset.data_vars:
        if "|" in str(name) and str(name).endswith("_sigma"):
            term, _, factor = str(name).removesuffix("_sigma").rpartition("|")
            by_factor.setdefault(factor, []).append(term)
    blocks = tuple(
        (
            factor,
            tuple(terms),
            np.column_stack([constants[f"{term}|{factor} column"].to_numpy()[used] for term in terms]),
        )
        for factor, terms in by_factor.items()
    )
    return Columns(predictors, blocks)


def _all_columns(columns: Columns) -> dict[str, np.ndarray]:
    """Every column by its name, the mean's first."""
    found: dict[str, np.ndarray] = {}
    for names, matrix in [*columns.predictors.values(), *((terms, z) for _, terms, z in columns.blocks)]:
        for name, column in zip(names, matrix.T, strict=True):
            found.setdefault(name, column)
    return found


def _values_of_bases(columns: Columns) -> dict[str, np.ndarray]:
    """Columns that products are made of."""
    return {
        name: column
        for name, column in _all_columns(columns).items()
        if ":" not in name and name not in ("1", "Intercept")
    }


def _spread_of_columns(columns: Columns) -> dict[str, float]:
    return {name: float(column.std()) for name, column in _all_columns(columns).items()}


type Cell = tuple[
    tuple[str, float | int], ...
]  # what is set: (category, place of the level) or (number, shift)


def _cells(name: str, columns: Columns, coding: Mapping[str, Sequence[str]]) -> list[tuple[Cell, float]]:
    """The cells that a coefficient's contrast weighs, and their weights."""
    if name == "Intercept":
        return [((), 1.0)]
    steps = [_steps(base, columns, coding) for base in name.split(":")]
    found = []
    for combination in product(*steps):
        key = tuple(step for step, _ in combination)
        found.append((key, float(np.prod([weight for _, weight in combination]))))
    return found


def _steps(
    base: str, columns: Columns, coding: Mapping[str, Sequence[str]]
) -> list[tuple[tuple[str, float | int], float]]:
    for category, levels in coding.items():
        coded = level_columns(category, levels)
        if base in coded:
            matrix = np.column_stack([np.ones(len(levels)), *coded.values()])
            weights = np.linalg.inv(matrix)[1 + list(coded).index(base)]
            return [((category, place), float(weight)) for place, weight in enumerate(weights)]
    values = _values_of_bases(columns).get(base)
    if values is None:
        raise FitError(
            f"effects: expected the columns of every product by themselves too, found no {base!r}: write the formula "
            "with '*'."
        )
    distinct = np.unique(values)
    if len(distinct) == 2:
        gap = float(distinct[1] - distinct[0])
        return [((f"={base}", float(distinct[1])), 1.0 / gap), ((f"={base}", float(distinct[0])), -1.0 / gap)]
    half = 0.5 * float(values.std())
    return [((f"+{base}", half), 0.5 / half), ((f"+{base}", -half), -0.5 / half)]


def _changed(
    columns: Columns, cell: Mapping, values: Mapping[str, np.ndarray], coding: Mapping[str, Sequence[str]]
) -> Columns:
    """The columns with the cell's settings, products made anew."""
    new: dict[str, np.ndarray] = {}
    rows = len(columns.predictors[""][1])
    for key, setting in cell.items():
        if key in coding:
            for name, of_level in level_columns(key, coding[key]).items():
                new[name] = np.full(rows, of_level[int(setting)])
        elif key.startswith("="):
            new[key[1:]] = np.full(rows, float(setting))
        else:
            new[key[1:]] = values[key[1:]] + float(setting)
    if not new:
        return columns

    def anew(names: Sequence[str], matrix: np.ndarray) -> np.ndarray:
        matrix = matrix.copy()
        for place, name in enumerate(names):
            bases = name.split(":")
            if any(base in new for base in bases):
                factors = [new[base] if base in new else _base(base, values) for base in bases]
                matrix[:, place] = np.prod(factors, axis=0)
        return matrix

    return Columns(
        {
            parameter: (names, anew(names, matrix))
            for parameter, (names, matrix) in columns.predictors.items()
        },
        tuple((factor, terms, anew(terms, matrix)) for factor, terms, matrix in columns.blocks),
    )


def _base(base: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
    if base not in values:
        raise FitError(
            f"effects: expected the columns of every product by themselves too, found no {base!r}: write the formula "
            "with '*'."
        )
    return values[base]


# Draws


class _Draws(NamedTuple):
    """predictors : coefficients (draw, column), for a single number its link (draw, 1). covariances : (draw, k, k)."""

    predictors: Mapping[str, np.ndarray]
    covariances: tuple[np.ndarray, ...]


def parameter_draws(
    fit: xr.DataTree, shape: str | None, columns: Mapping[str, tuple[str, ...]]
) -> dict[str, np.ndarray]:
    """Every predictor's coefficients on its link, (draw, column); (draw, 1) for a parameter that is a single number.

    Parameters
    ----------
    columns : predictor ("" for the mean) → its coefficients, () for a single number. The second cutpoint is itself.
    """
    posterior = of_shape(fit["posterior"].dataset, shape)
    links = LIKELIHOODS[str(fit.attrs["family"])].parameters
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    found = {}
    for parameter, names in columns.items():
        if names or not parameter:
            stored = [f"{parameter}_{name}" if parameter else name for name in names]
            parts = [posterior[name].to_numpy().reshape(total) for name in stored]
            found[parameter] = np.column_stack(parts).astype(np.float64) if parts else np.zeros((total, 0))
            continue
        value = posterior[parameter].to_numpy().reshape(total, 1).astype(np.float64)
        match links[parameter]:
            case "log":
                value = np.log(value)
            case "logit":
                value = np.log(value) - np.log1p(-value)
            case _:
                pass
        found[parameter] = value
    return found


def _draws(fit: xr.DataTree, shape: str | None, columns: Columns) -> tuple[_Draws, tuple[int, int]]:
    posterior = of_shape(fit["posterior"].dataset, shape)
    sizes = (posterior.sizes["chain"], posterior.sizes["draw"])
    names = {parameter: own for parameter, (own, _) in columns.predictors.items()}
    return _Draws(parameter_draws(fit, shape, names), effect_covariances(fit, shape, columns)), sizes


def effect_covariances(fit: xr.DataTree, shape: str | None, columns: Columns) -> tuple[np.ndarray, ...]:
    """(draw, term, term) of every block."""
    posterior = of_shape(fit["posterior"].dataset, shape)
    covariances = []
    for factor, terms, _ in columns.blocks:
        sds = np.stack(
            [posterior[f"{term}|{factor}_sigma"].to_numpy().reshape(-1) for term in terms], axis=-1
        )
        corr = np.broadcast_to(np.eye(len(terms)), (len(sds), len(terms), len(terms)))
        if f"{factor}_corr" in posterior:
            corr = posterior[f"{factor}_corr"].to_numpy().reshape(corr.shape)
        covariances.append(sds[:, :, None] * corr * sds[:, None, :])
    return tuple(covariances)


def _averaged(family: str, columns: Columns, draws: _Draws, sizes: tuple[int, int]) -> _Moments:
    """Moments averaged over rows and groups, for every draw (thinned where rows differ in many values)."""
    everything = [matrix for _, matrix in columns.predictors.values()] + [z for _, _, z in columns.blocks]
    widths = np.cumsum([matrix.shape[1] for matrix in everything])[:-1]
    stacked = np.concatenate([*everything, np.zeros((len(everything[0]), 1))], axis=1)
    distinct, count = np.unique(stacked, axis=0, return_counts=True)
    share = count / count.sum()
    parts = np.split(distinct[:, :-1], widths, axis=1)
    kept = _thinned(len(distinct), sizes)
    nodes, weight = np.polynomial.hermite_e.hermegauss(NODES)
    weight = weight / weight.sum()
    found = []
    step = max(1, MOST // 20 // (len(distinct) * NODES))
    for start in range(0, len(kept), step):
        at = kept[start : start + step]
        eta, further = _predictors(columns, parts, draws, at)
        variance = np.zeros_like(eta)
        for z, covariance in zip(parts[len(columns.predictors) :], draws.covariances, strict=True):
            variance += np.einsum("ri,dij,rj->dr", z, covariance[at], z)
        spread = np.sqrt(np.maximum(variance, 0.0))
        total = np.zeros((8, len(at)))
        for node, chance in zip(nodes, weight, strict=True):
            m, p, o, s = response_moments(family, eta + node * spread, further)
            with np.errstate(divide="ignore", invalid="ignore"):
                by_p = np.where(p > 0, m * m / p, 0.0)
            for place, value in enumerate((m, p, o, s, m * m, by_p, p * p, o * o)):
                total[place] += chance * (np.broadcast_to(value, eta.shape) @ share)
        found.append(total)
    return _Moments(*np.concatenate(found, axis=1))


def _thinned(rows: int, sizes: tuple[int, int]) -> np.ndarray:
    """Places of the draws that are used, chains one after the other."""
    chains, draws = sizes
    most = max(FEWEST_DRAWS, MOST // (rows * NODES * chains))
    if draws <= most:
        return np.arange(chains * draws)
    own = np.floor((np.arange(most) + 0.5) * draws / most).astype(np.int64)
    return (np.arange(chains)[:, None] * draws + own).ravel()


def _predictors(
    columns: Columns, parts: Sequence[np.ndarray], draws: _Draws, at: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """η of the mean without Zu (draw, row), and the further parameters on their links, (draw, row or 1)."""
    found = {}
    for (parameter, (names, _)), matrix in zip(columns.predictors.items(), parts, strict=False):
        mine = draws.predictors[parameter][at]
        found[parameter] = mine @ matrix.T if names or not parameter else mine
    return found.pop(""), found


def response_moments(
    family: str, eta: np.ndarray, further: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """E[y], P(y > 0), P(y ≥ 1) and E[y²] at linear predictors.

    Parameters
    ----------
    eta : of the mean; further : the other parameters on their links, cutpoints as they are.
    """
    from scipy.special import expit

    if family == "hurdle_gamma":
        moving, mean = expit(-further["hu"]), np.exp(eta)
        square = mean**2 * (1.0 + np.exp(-further["shape"]))
        return moving * mean, moving, np.zeros_like(mean), moving * square
    mean = expit(eta)
    square = mean**2 + mean * (1.0 - mean) / (1.0 + np.exp(further["phi"]))
    if family == "ordered_beta":
        moving, one = expit(eta - further["cutpoint_zero"]), expit(eta - further["cutpoint_one"])
        inside = moving - one
    elif family == "zero_inflated_beta":
        moving = expit(-further["zi"])
        one, inside = np.zeros_like(moving), moving
    else:
        either, upper = expit(further["zoi"]), expit(further["coi"])
        one, inside = either * upper, 1.0 - either
        moving = inside + one
    return one + inside * mean, moving, one, one + inside * square
