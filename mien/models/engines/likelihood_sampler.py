"""Sampling of the families in `likelihood_kernel`: from an outcome to flat arrays, to nutpie, to named draws.

nutpie is given the address of the compiled density and one buffer of data (`compiled_density`). Nothing is compiled for
a model: the density is the same for all.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
from scipy.sparse import csr_array

from mien.models.design import Block
from mien.models.engines import likelihood_kernel as kernel
from mien.models.engines.attempts import correlations_of, layout_of, ordered_blocks, sampled, until_passed
from mien.models.engines.compiled_density import CompiledDensity
from mien.models.engines.gaussian_kernel import Layout
from mien.models.engines.likelihood_pilot import LikelihoodPilot, Priors, RowModel, make_likelihood_pilot
from mien.models.engines.pilot import partial_numbers
from mien.models.engines.problem import Draws, Outcome, Settings
from mien.models.likelihoods import LIKELIHOODS
from mien.priors import Exponential, Fixed, Flat, HalfNormal, HalfStudentT, Normal, Prior
from mien.study.errors import FitError

__all__ = ["row_log_densities", "sample_likelihood"]

TUNE = 150  # the pilot has whitened already; 300 gave no more
# At 0.87 twice the steps for the same effective size; what misses first is most often a run that is too short.
ATTEMPTS = ((1, 0.8), (2, 0.8), (4, 0.97))
DISPERSIONS = ("sigma", "nu", "phi", "shape")
VAGUE = 1e-6  # precision of the pilot's stand-in for a flat prior


class _Coefficient(NamedTuple):
    """One entry of w after the group effects.

    parameter : "" for the mean; name : "" for a parameter that is a number; prior : on the link, but for Fixed ones.
    """

    parameter: str
    name: str
    column: np.ndarray  # (row,)
    prior: Prior
    link: str


class _Prepared(NamedTuple):
    """fixed : (parameter, name) → value on the link."""

    model: kernel.Model
    layout: Layout
    pilot: LikelihoodPilot
    free: list[_Coefficient]
    fixed: Mapping[tuple[str, str], float]


def sample_likelihood(family: str, outcome: Outcome, settings: Settings) -> Draws:
    """Draws of one outcome.

    Raises
    ------
    LinAlgError
        When the posterior has a direction without curvature.
    """
    prepared = _prepare(family, outcome)
    buffer = kernel.pack(prepared.model)
    start = _start(prepared)
    model = CompiledDensity(dims=None, density=kernel.address(), buffer=buffer, start=start)
    return until_passed(
        outcome, settings,
        lambda attempt, note: _named(
            family, outcome, prepared, sampled(model, settings, attempt._replace(tune=TUNE)), note
        ),
        ATTEMPTS,
    )  # fmt: skip


def row_log_densities(
    family: str, y: np.ndarray, eta: np.ndarray, parameters: Mapping[str, np.ndarray | float]
) -> np.ndarray:
    """Log p(y | η) of every row.

    Parameters
    ----------
    y, eta : (row,) values and linear predictors of the mean.
    parameters : further parameters as themselves (phi, zi …), numbers or (row,).
    """
    kind, data = _row_data(family, y)
    predictors = [eta]
    for name, link in LIKELIHOODS[family].parameters.items():
        value = np.asarray(parameters[name], dtype=np.float64)
        match link:
            case "log":
                value = np.log(value)
            case "logit":
                value = np.log(value) - np.log1p(-value)
            case "above":
                value = np.log(value - np.asarray(parameters["cutpoint_zero"]))
            case _:
                pass
        predictors.append(np.broadcast_to(value, eta.shape))
    return kernel.row_densities(kernel.CODES[family], kind, data, np.stack(predictors))[0]


# From an outcome to flat arrays


def _coefficients(family: str, outcome: Outcome) -> list[_Coefficient]:
    """All entries of w after the group effects, the mean's first, then those of each parameter in order."""
    rows, priors = len(outcome.response), outcome.priors
    found = [
        _Coefficient("", name, column, priors[name].prior, "identity")
        for name, column in zip(outcome.design.coefficients, outcome.design.columns.T, strict=True)
    ]
    for parameter, regression in outcome.parameters.items():
        link = LIKELIHOODS[family].parameters[parameter]
        for name, column in zip(regression.coefficients, regression.columns.T, strict=True):
            found.append(_Coefficient(parameter, name, column, priors[f"{parameter}_{name}"].prior, link))
        if not regression.coefficients:
            found.append(_Coefficient(parameter, "", np.ones(rows), priors[parameter].prior, link))
    return found


def _held(all_of_them: list[_Coefficient]) -> dict[tuple[str, str], float]:
    """Fixed values on their links."""
    values = {
        (one.parameter, one.name): (one.prior.value, one.link)
        for one in all_of_them
        if isinstance(one.prior, Fixed)
    }
    cuts = [("cutpoint_zero", ""), ("cutpoint_one", "")]
    if any(cut in values for cut in cuts):
        if not all(cut in values for cut in cuts) or values[cuts[0]][0] >= values[cuts[1]][0]:
            raise FitError(
                "priors: expected both cutpoints Fixed, cutpoint_zero below cutpoint_one, or neither, found others."
            )
        gap = values[cuts[1]][0] - values[cuts[0]][0]
        values[cuts[1]] = (gap, "log")
    return {key: _linked(value, link if not key[1] else "identity") for key, (value, link) in values.items()}


def _linked(value: float, link: str) -> float:
    match link:
        case "log":
            return math.log(value)
        case "logit":
            return math.log(value / (1.0 - value))
        case _:
            return value


def _prepare(family: str, outcome: Outcome) -> _Prepared:
    layout = layout_of(outcome)
    everything = _coefficients(family, outcome)
    fixed = _held(everything)
    free = [one for one in everything if (one.parameter, one.name) not in fixed]
    predictors = ["", *outcome.parameters]
    offset = np.zeros((len(predictors), len(outcome.response)))
    for one in everything:
        if (one.parameter, one.name) in fixed:
            offset[predictors.index(one.parameter)] += fixed[one.parameter, one.name] * one.column
    first_entry, entry, value = _entries(outcome, layout, free, predictors)
    kind, data = _row_data(family, outcome.response)
    size = int(layout.coefficients[0]) + len(free)
    code = kernel.CODES[family]
    columns = [_matrix(entry[:, a:b], value[:, a:b], size) for a, b in pairwise(first_entry)]
    priors = _pilot_priors(outcome, free)
    start = np.concatenate([np.zeros(int(layout.coefficients[0])), _guesses(family, outcome.response, free)])
    first = int(layout.coefficients[0])
    dispersions = np.array(
        [first + number for number, one in enumerate(free) if one.parameter in DISPERSIONS], dtype=np.int64
    )
    pilot = make_likelihood_pilot(
        RowModel(code, columns, offset, kind, data), layout, priors, start, dispersions
    )
    return _Prepared(
        kernel.Model(
            code, *layout[:5], first_entry, _same(first_entry, entry, value, offset), entry, value, offset.T,
            kind, data,
            *pilot.reference[1:], *_prior_arrays(free), *_hyper_arrays(priors, size),
        ),
        layout, pilot, free, fixed,
    )  # fmt: skip


def _entries(
    outcome: Outcome, layout: Layout, free: list[_Coefficient], predictors: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where in w each row's entries are and their factors, predictor by predictor."""
    rows, first = len(outcome.response), int(layout.coefficients[0])
    ends, entry, value = [0], [], []
    for predictor in predictors:
        if not predictor:
            for b, place in enumerate(ordered_blocks(outcome)):
                block = outcome.design.blocks[place]
                for j in range(len(block.terms)):
                    entry.append(layout.start[b] + block.codes * len(block.terms) + j)
                    value.append(block.columns[:, j])
        for number, one in enumerate(free):
            if one.parameter == predictor:
                entry.append(np.full(rows, first + number))
                value.append(one.column)
        ends.append(len(entry))
    if not entry:
        return np.array(ends), np.zeros((rows, 0), dtype=np.int64), np.zeros((rows, 0))
    return np.array(ends), np.column_stack(entry).astype(np.int64), np.column_stack(value)


def _same(first_entry: np.ndarray, entry: np.ndarray, value: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(predictor,) 1 where no row differs from the first."""
    alike = (entry == entry[0]).all(axis=0) & (value == value[0]).all(axis=0)
    return np.array([
        int(alike[a:b].all() and (offset[m] == offset[m, 0]).all())
        for m, (a, b) in enumerate(pairwise(first_entry))
    ])  # fmt: skip


def _matrix(entry: np.ndarray, value: np.ndarray, size: int) -> csr_array:
    rows = np.repeat(np.arange(len(entry)), entry.shape[1])
    return csr_array((value.ravel(), (rows, entry.ravel())), shape=(len(entry), size))


def _row_data(family: str, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each row is, and its numbers."""
    kind = np.full(len(y), kernel.INSIDE, dtype=np.int64)
    data = np.zeros((len(y), 2))
    likelihood = LIKELIHOODS[family]
    if likelihood.zeros:
        kind[y == 0] = kernel.ZERO
    if likelihood.ones:
        kind[y >= 1] = kernel.ONE
    inside = kind == kernel.INSIDE
    if family == "student_t":
        data[:, 0] = y
    elif family == "hurdle_gamma":
        data[inside, 0], data[inside, 1] = y[inside], np.log(y[inside])
    else:
        data[inside, 0], data[inside, 1] = np.log(y[inside]), np.log1p(-y[inside])
    return kind, data


# Priors


def _prior_arrays(free: list[_Coefficient]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds, numbers and scales of the coefficients' priors."""
    rows = [_prior_row(one) for one in free]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1], table[:, 2]


def _prior_row(one: _Coefficient) -> tuple[int, float, float]:
    match one.prior:
        case Normal(mean, sd):
            return (kernel.ABOVE_BEFORE if one.link == "above" else kernel.NORMAL), mean, sd
        case Flat():
            return kernel.NORMAL, 0.0, math.inf
        case _:
            return _positive_row(one.prior)


def _positive_row(prior: Prior) -> tuple[int, float, float]:
    match prior:
        case HalfNormal(sd):
            return kernel.HALF_NORMAL, 0.0, sd
        case HalfStudentT(df, scale):
            return kernel.HALF_STUDENT_T, df, scale
        case Exponential(rate):
            return kernel.EXPONENTIAL, rate, 1.0
        case Fixed(value):
            return kernel.NORMAL, 0.0, value
        case _:
            raise AssertionError(f"{prior} is no prior of a standard deviation")


def _pilot_priors(outcome: Outcome, free: list[_Coefficient]) -> Priors:
    """Priors of the sds as they are, normal ones on the link of the coefficients."""
    blocks = [outcome.design.blocks[place] for place in ordered_blocks(outcome)]
    sds = [outcome.priors[f"sd:{term}|{block.factor}"].prior for block in blocks for term in block.terms]
    numbers: list[float] = []
    loose: list[bool] = []
    for block in blocks:
        k = len(block.terms)
        if k > 1:
            prior = outcome.priors[f"corr:{block.factor}"].prior
            numbers += partial_numbers(prior, k)
            loose += [not isinstance(prior, Fixed)] * (k * (k - 1) // 2)
    mean, precision = [], []
    for one in free:
        kind, number, scale = _prior_row(one)
        if kind == kernel.NORMAL:
            mean.append(number)
            precision.append(scale**-2 if math.isfinite(scale) else VAGUE)
        elif kind == kernel.ABOVE_BEFORE:
            mean.append(math.log(4.0))
            precision.append(0.25)
        else:
            mean.append(-math.log(number) if kind == kernel.EXPONENTIAL else math.log(scale))
            precision.append(1.0)
    return Priors(
        sds, np.array(numbers, dtype=np.float64), np.array(loose, dtype=bool), np.array(mean), np.array(precision)
    )  # fmt: skip


def _hyper_arrays(priors: Priors, size: int) -> tuple[np.ndarray, ...]:
    """Kinds, numbers, scales and places of the sds; places and numbers of the partial correlations."""
    table = np.array([_positive_row(prior) for prior in priors.sds], dtype=np.float64).reshape(-1, 3)
    free = np.array([not isinstance(prior, Fixed) for prior in priors.sds], dtype=bool)
    sd_at = np.where(free, size + np.cumsum(free) - 1, -1)
    partial_at = np.where(priors.partial_free, size + free.sum() + np.cumsum(priors.partial_free) - 1, -1)
    return table[:, 0].astype(np.int64), table[:, 1], table[:, 2], sd_at, partial_at, priors.partial_numbers


# Where to start


def _guesses(family: str, y: np.ndarray, free: list[_Coefficient]) -> np.ndarray:
    """A guess at every coefficient: intercepts and numbers by moments, slopes 0."""
    moments = _moments(family, y)
    return np.array([moments[one.parameter] if one.name in ("", "Intercept") else 0.0 for one in free])


def _moments(family: str, y: np.ndarray) -> dict[str, float]:
    """Each predictor as if it were the same for all rows."""
    likelihood = LIKELIHOODS[family]
    if family == "student_t":
        middle = float(np.median(y))
        spread = 1.4826 * float(np.median(np.abs(y - middle))) or float(y.std())
        return {"": middle, "sigma": math.log(0.8 * spread), "nu": math.log(8.0)}
    zero, one = y == 0, (y >= 1) & likelihood.ones
    inside = y[~zero & ~one]
    p0, p1 = ((float(part.sum()) + 0.5) / (len(y) + 1.5) for part in (zero, one))
    mean = float(inside.mean()) if len(inside) else 0.5
    variance = max(float(inside.var()), 1e-8) if len(inside) else 0.05
    logit = _linked
    if family == "hurdle_gamma":
        shape = min(max(mean**2 / variance, 0.2), 1e4)
        return {"": math.log(mean), "shape": math.log(shape), "hu": logit(p0, "logit")}
    phi = min(max(mean * (1.0 - mean) / variance - 1.0, 0.5), 1e4)
    middle = logit(min(max(mean, 1e-6), 1.0 - 1e-6), "logit")
    lower, upper = middle + logit(p0, "logit"), middle - logit(p1, "logit")
    either = p0 + p1
    return {
        "": middle, "phi": math.log(phi), "zi": logit(p0, "logit"), "zoi": logit(min(either, 0.999), "logit"),
        "coi": logit(p1 / either, "logit"), "cutpoint_zero": lower,
        "cutpoint_one": math.log(max(upper - lower, 0.1)),
    }  # fmt: skip


def _start(prepared: _Prepared) -> np.ndarray:
    """The sampler's vector at the pilot estimate."""
    model, pilot = prepared.model, prepared.pilot
    return np.concatenate([
        np.zeros(len(model.naive)),
        np.arcsinh(pilot.sd * np.exp(0.5 * model.log_information))[model.sd_at >= 0],
        np.arctanh(pilot.partial[model.partial_at >= 0]),
    ])  # fmt: skip


# From draws to names


def _named(
    family: str, outcome: Outcome, prepared: _Prepared, result: Mapping[str, np.ndarray], note: str
) -> Draws:
    model, layout = prepared.model, prepared.layout
    shape = cast(tuple[int, int], result["q"].shape[:2])
    q = np.ascontiguousarray(result["q"].reshape(shape[0] * shape[1], -1))
    w, sd, partial = kernel.unfolded_draws(
        q, model.naive, model.whiten_data, model.whiten_column, model.whiten_row, model.log_information,
        *layout[:5], model.sd_at, model.sd_scale, model.partial_at, model.partial_number,
    )  # fmt: skip
    blocks = [outcome.design.blocks[place] for place in ordered_blocks(outcome)]
    sds, effects = _group_draws(blocks, layout, w, sd, shape)
    coefficients, parameters = _coefficient_draws(family, outcome, prepared, w, shape)
    stats = {name.removeprefix("stat "): value for name, value in result.items() if name.startswith("stat ")}
    sigma = parameters.pop("sigma", None)
    return Draws(
        coefficients, sds, correlations_of(outcome, layout, blocks, partial, shape), sigma, effects, stats, note,
        parameters=parameters,
    )  # fmt: skip


def _group_draws(
    blocks: list[Block], layout: Layout, w: np.ndarray, sd: np.ndarray, shape: tuple[int, int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    sds, effects = {}, {}
    for b, block in enumerate(blocks):
        k, first, levels = len(block.terms), int(layout.start[b]), len(block.levels)
        part = w[:, first : first + k * levels].reshape(*shape, levels, k)
        for j, term in enumerate(block.terms):
            sds[f"{term}|{block.factor}"] = sd[:, int(layout.first_sd[b]) + j].reshape(shape)
            effects[f"{term}|{block.factor}"] = part[..., j].astype(np.float32)
    return sds, effects


def _coefficient_draws(
    family: str, outcome: Outcome, prepared: _Prepared, w: np.ndarray, shape: tuple[int, int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Coefficients of the mean; further parameters as themselves, or their coefficients on the link."""
    first = int(prepared.layout.coefficients[0])
    drawn = {
        (one.parameter, one.name): w[:, first + number].reshape(shape)
        for number, one in enumerate(prepared.free)
    }
    drawn |= {key: np.full(shape, value) for key, value in prepared.fixed.items()}
    coefficients = {name: drawn["", name] for name in outcome.design.coefficients}
    parameters: dict[str, np.ndarray] = {}
    for parameter, regression in outcome.parameters.items():
        for name in regression.coefficients:
            parameters[f"{parameter}_{name}"] = drawn[parameter, name]
        if not regression.coefficients:
            value = drawn[parameter, ""]
            match LIKELIHOODS[family].parameters[parameter]:
                case "log":
                    value = np.exp(value)
                case "logit":
                    value = 1.0 / (1.0 + np.exp(-value))
                case "above":
                    value = parameters["cutpoint_zero"] + np.exp(value)
                case _:
                    pass
            parameters[parameter] = value
    return coefficients, parameters
