"""An entry's implied statement, put to the test: data simulated through the model, and the quantity measured in them.

    entry ──► ModelSpec(priors = {role: entry}, all else Fixed) ──► resolved on a table ──► rows of y ──► quantity

The parameter is never looked at. A quantity is what a reader of the data would compute: differences of averages, sds
of groups' averages, shares of zeros. What could blur it is Fixed at next to nothing, and designs are large enough
that the rest is small beside the prior. The table's outcome and columns are in units of their own (averages that are
not 0, sds that are not 1), so that a prior that is put on the wrong scale gives another share.

Statements hold for what their words say: of an intercept, with centred columns; of a correlation, in a block of two;
of a cutpoint, beside the other one's default, above or below which it has to lie. Where a role serves two families
(links) or two uses (level and response of a group), draws are shared out between them.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from mien.models.engines.problem import Outcome
from mien.models.factors.spec import PRIORS, FactorSpec
from mien.models.fitting import make_problem
from mien.models.likelihood_replicates import draw_response
from mien.models.spec import ModelSpec
from mien.priors import Entry, Fixed, LogNormal, Override
from mien.simulation.co_activation import prior_truth, simulate_values
from mien.simulation.model_draws import (
    draw_coefficient,
    draw_effects,
    draw_hyperparameters,
    draw_model,
    draw_parameters,
    linear_predictor,
)
from mien.study.errors import SpecError

__all__ = ["Implied", "implied_share"]

PERSONS, MANY_PERSONS, MOST_PERSONS = 200, 2000, 6000  # two rows each
BINS, COURSES = 40, 5
SHAPES, FACTORS, BETWEEN = 100, 12, 12
TRIALS: Mapping[str, tuple[int, int]] = MappingProxyType({  # participants and stimuli of co-activation
    "loading_sd": (10, 11), "uniqueness": (20, 100), "between_loading_sd": (60, 2), "between_uniqueness": (1000, 2),
})  # fmt: skip
NOTHING = 1e-6  # sds and loadings that stand for none
CERTAIN = 1e12  # a precision or shape that stands for no scatter
NORMAL = 1e6  # degrees of freedom that stand for a normal
RARE = 1e-9  # a probability that stands for never
OBSERVED_MEAN, OBSERVED_SD = 80.0, 7.0  # of the unbounded outcome: 0 is far
LOW, HIGH = -1.0, 4.0  # of the column x
ROBUST_SD = 1.4826  # median distances in the sd of a normal


class Implied(NamedTuple):
    """share : of the simulated quantities that lie in the statement's interval; mcse : of the share.

    draws_of_quantity : (draw,) in the statement's units.
    """

    share: float
    mcse: float
    draws_of_quantity: np.ndarray


class _Measured(NamedTuple):
    """What a quantity is read from; the observed rows set the units.

    response, observed : (person, 2) simulated and observed, at low and at high x. family : of the likelihood.
    unit, step, centre : sd(y), sd(x) and mean(y) of the observed rows; 1, 1 and 0 of a statement in raw units.
    """

    response: np.ndarray
    observed: np.ndarray
    family: str
    unit: float
    step: float
    centre: float


class _World(NamedTuple):
    """A model in which a role decides a quantity.

    fixed : priors of all else by name. measure : values of the quantity. spec : further fields of the ModelSpec.
    """

    formula: str
    fixed: Mapping[str, float]
    measure: Callable[[_Measured], np.ndarray]
    family: str = "gaussian"
    persons: int = PERSONS
    spec: Mapping[str, object] = MappingProxyType({})


def implied_share(entry: Entry, *, draws: int = 4000, seed: int = 0) -> Implied:
    """The probability that an entry's quantity lies in its statement's interval, by simulation through the model.

    Parameters
    ----------
    draws : of the quantity, each from a world of its own (of unique variances: a shape of its own).

    Raises
    ------
    SpecError
        For an entry that says nothing.
    """
    if entry.implies is None:
        raise SpecError(f"prior {entry.id!r}: expected an implied statement, found none.")
    special = {"smooth": _curve_worlds, **dict.fromkeys(PRIORS, _factor_worlds)}
    worlds = special.get(entry.role, _worlds)(entry)
    size = math.ceil(draws / len(worlds))
    generators = np.random.default_rng(seed).spawn(len(worlds))
    values = np.concatenate(
        [_values(world, size, rng) for world, rng in zip(worlds, generators, strict=True)]
    )
    lower, upper = entry.implies.interval
    share = float(np.mean((values >= lower) & (values <= upper)))
    return Implied(share, math.sqrt(share * (1.0 - share) / len(values)), values)


type _Draw = Callable[[np.random.Generator], np.ndarray]


def _values(draw: _Draw, size: int, rng: np.random.Generator) -> np.ndarray:
    found: list[np.ndarray] = []
    while sum(map(len, found)) < size:
        found.append(draw(rng))
    return np.concatenate(found)[:size]


# Models with a formula


def _worlds(entry: Entry) -> list[_Draw]:
    return [_drawer(entry, world) for world in WORLDS[entry.role]]


def _drawer(entry: Entry, world: _World) -> _Draw:
    table = _table(world.family, world.persons)
    priors: dict[str, Override] = {name: Fixed(value) for name, value in world.fixed.items()}
    priors[entry.role.removeprefix("link_")] = entry
    spec = ModelSpec(world.formula, family=world.family, priors=priors, **world.spec)  # type: ignore[arg-type]
    outcome = make_problem(spec, table)[0].outcomes[0]
    observed, column = table["y"].to_numpy(), table["x"].to_numpy()
    assert entry.implies is not None
    raw = entry.implies.quantity.endswith("_raw")
    units = (1.0, 1.0, 0.0) if raw else (observed.std(), column.std(), observed.mean())

    def draw(rng: np.random.Generator) -> np.ndarray:
        response = _response(world.family, outcome, rng)
        return world.measure(
            _Measured(response.reshape(-1, 2), observed.reshape(-1, 2), world.family, *units)
        )

    return draw


def _table(family: str, persons: int) -> pd.DataFrame:
    """Two rows a person: x low and high, c the same centred; outcomes are the quantiles of a distribution, shuffled."""
    rows = 2 * persons
    place = (np.random.default_rng(1).permutation(rows) + 0.5) / rows
    if family == "hurdle_gamma":
        y = np.maximum(8.0 * place - 1.0, 0.0)
    elif family in ("gaussian", "student_t"):
        y = OBSERVED_MEAN + OBSERVED_SD * math.sqrt(12.0) * (place - 0.5)
    else:
        y = np.maximum(place - 0.2, 0.0) * 0.6
    x = np.tile([LOW, HIGH], persons)
    person = pd.Categorical.from_codes(np.repeat(np.arange(persons), 2), [f"p{n}" for n in range(persons)])
    return pd.DataFrame(
        {"y": y, "x": x, "c": x - x.mean(), "person": person, "bin": np.tile([0, 1], persons)}
    )


def _response(family: str, outcome: Outcome, rng: np.random.Generator) -> np.ndarray:
    """(row,) of one world."""
    if family == "gaussian":
        return draw_model(outcome, rng).outcome.response
    design, hyper = outcome.design, draw_hyperparameters(outcome, rng)
    coefficients = np.array(
        [draw_coefficient(outcome.priors[name], name, rng) for name in design.coefficients]
    )
    effects = tuple(
        draw_effects(block, hyper, matrix, rng)
        for block, matrix in zip(design.blocks, hyper.correlations, strict=True)
    )
    parameters = draw_parameters(outcome, rng)
    return draw_response(family, linear_predictor(design, coefficients, effects), parameters, rng)


# What is measured


def _level(seen: _Measured) -> np.ndarray:
    return np.array([(seen.response.mean() - seen.centre) / seen.unit])


def _effect(seen: _Measured) -> np.ndarray:
    low, high = seen.response.mean(axis=0)
    return np.array([(high - low) / (HIGH - LOW) * seen.step / seen.unit])


def _group_spreads(seen: _Measured) -> np.ndarray:
    """Of the level (where the column is 0) and of the response."""
    level, slope = _lines(seen.response)
    return np.array([level.std(ddof=1), slope.std(ddof=1) * seen.step]) / seen.unit


def _group_correlation(seen: _Measured) -> np.ndarray:
    return np.corrcoef(*_lines(seen.response))[:1, 1]


def _residual_spread(seen: _Measured) -> np.ndarray:
    return np.array([_residuals(seen).std() / seen.unit])


def _autocorrelation(seen: _Measured) -> np.ndarray:
    first, second = (seen.response - seen.centre).T
    return np.array([first @ second / math.sqrt((first @ first) * (second @ second))])


def _level_factor(seen: _Measured) -> np.ndarray:
    return np.exp([_on_link(seen.response, seen.family) - _on_link(seen.observed, seen.family)])


def _effect_factor(seen: _Measured) -> np.ndarray:
    low, high = (_on_link(column, seen.family) for column in seen.response.T)
    return np.exp([(high - low) / (HIGH - LOW) * seen.step])


def _group_factors(seen: _Measured) -> np.ndarray:
    rows = np.log(seen.response)
    if seen.family != "hurdle_gamma":
        rows = rows - np.log1p(-seen.response)
    level, slope = _lines(rows)
    return np.exp([level.std(ddof=1), slope.std(ddof=1) * seen.step])


def _scatter_factor(seen: _Measured) -> np.ndarray:
    low, high = np.log(seen.response.std(axis=0))
    return np.exp([(high - low) / (HIGH - LOW) * seen.step])


def _zeros_factor(seen: _Measured) -> np.ndarray:
    zeros, rows = (seen.response == 0).sum(axis=0), len(seen.response)
    low, high = np.log((zeros + 0.5) / (rows - zeros + 0.5))
    return np.exp([(high - low) / (HIGH - LOW) * seen.step])


def _outliers(seen: _Measured) -> np.ndarray:
    distance = np.abs(seen.response - np.median(seen.response, axis=0))
    return np.array([np.mean(distance > 3.0 * ROBUST_SD * np.median(distance))])


def _scatter(seen: _Measured) -> np.ndarray:
    return np.array([_inside(seen.response, seen.family).std()])


def _relative_scatter(seen: _Measured) -> np.ndarray:
    inside = _inside(seen.response, seen.family)
    return np.array([inside.std() / inside.mean() if len(inside) else np.inf])


def _zeros(seen: _Measured) -> np.ndarray:
    return np.array([np.mean(seen.response == 0)])


def _ones(seen: _Measured) -> np.ndarray:
    return np.array([np.mean(seen.response == 1)])


def _ends(seen: _Measured) -> np.ndarray:
    return _zeros(seen) + _ones(seen)


def _ones_of_ends(seen: _Measured) -> np.ndarray:
    return _ones(seen) / _ends(seen)


def _lines(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(person,) value where x is 0, and slope, of the line through a person's two rows."""
    slope = (rows[:, 1] - rows[:, 0]) / (HIGH - LOW)
    return rows[:, 0] - LOW * slope, slope


def _residuals(seen: _Measured) -> np.ndarray:
    return seen.response - seen.response.mean(axis=0)


def _inside(response: np.ndarray, family: str) -> np.ndarray:
    upper = np.inf if family == "hurdle_gamma" else 1.0
    return response[(response > 0) & (response < upper)]


def _on_link(response: np.ndarray, family: str) -> float:
    """Log of the average of the values inside, or of its odds."""
    mean = float(_inside(response, family).mean())
    return math.log(mean if family == "hurdle_gamma" else mean / (1.0 - mean))


# Where


def _with_link(
    formula: str, measure: Callable[[_Measured], np.ndarray], **fixed: float
) -> tuple[_World, ...]:
    """Half of the draws on a logit, half on a log."""
    return (
        _World(formula, {**fixed, "phi": CERTAIN, "zi": RARE}, measure, "zero_inflated_beta"),
        _World(formula, {**fixed, "shape": CERTAIN, "hu": RARE}, measure, "hurdle_gamma"),
    )


FLAT = {"Intercept": OBSERVED_MEAN, "x": 0.0}  # the line of a Gaussian outcome
AT_HALF = {"Intercept": 0.0, "x": 0.0}  # on a logit
STILL = {"sigma": NOTHING}
CUTS = _World("y ~ x", {**AT_HALF, "phi": 10.0}, _zeros, "ordered_beta", MANY_PERSONS)

WORLDS: Mapping[str, tuple[_World, ...]] = MappingProxyType({
    "Intercept": (_World("y ~ c", STILL, _level),),
    "beta": (_World("y ~ x", {"Intercept": OBSERVED_MEAN, **STILL}, _effect),),
    "sd": (_World("y ~ x + (x || person)", {**FLAT, **STILL}, _group_spreads),),
    "corr": (
        _World(
            "y ~ x + (x | person)", {**FLAT, **STILL, "sd:1|person": 5.0, "sd:x|person": 0.3}, _group_correlation,
            persons=MANY_PERSONS,
        ),
    ),
    "sigma": (_World("y ~ x", FLAT, _residual_spread),),
    "rho": (
        _World(
            "y ~ x", {**FLAT, "sigma": 3.0}, _autocorrelation, persons=MANY_PERSONS,
            spec={"residual": "ar1", "series": ("person",)},
        ),
    ),
    "link_Intercept": _with_link("y ~ c", _level_factor, c=0.0),
    "link_beta": _with_link("y ~ x", _effect_factor, Intercept=-1.0),
    "link_sd": _with_link("y ~ x + (x || person)", _group_factors, Intercept=-1.0, x=0.1),
    "parameter_beta": (
        _World(
            "y ~ x", {**FLAT, "nu": NORMAL, "sigma_Intercept": 1.0}, _scatter_factor, "student_t", MANY_PERSONS,
            {"parameters": {"sigma": "~ x"}},
        ),
        _World(
            "y ~ x", {**AT_HALF, "phi": 10.0, "zi_Intercept": 0.0}, _zeros_factor, "zero_inflated_beta", MANY_PERSONS,
            {"parameters": {"zi": "~ x"}},
        ),
    ),
    "log_sigma": (
        _World(
            "y ~ x", {**FLAT, "nu": NORMAL, "sigma_x": 0.0}, _residual_spread, "student_t",
            spec={"parameters": {"sigma": "~ x"}},
        ),
    ),
    "nu": (_World("y ~ x", {**FLAT, "sigma": 3.0}, _outliers, "student_t", MOST_PERSONS),),
    "phi": (_World("y ~ x", {**AT_HALF, "zi": 0.2}, _scatter, "zero_inflated_beta"),),
    "shape": (_World("y ~ x", {**AT_HALF, "hu": 0.2}, _relative_scatter, "hurdle_gamma", MANY_PERSONS),),
    "zi": (_World("y ~ x", {**AT_HALF, "phi": 10.0}, _zeros, "zero_inflated_beta", MANY_PERSONS),),
    "hu": (_World("y ~ x", {**AT_HALF, "shape": 1.0}, _zeros, "hurdle_gamma", MANY_PERSONS),),
    "zoi": (
        _World("y ~ x", {**AT_HALF, "phi": 10.0, "coi": 0.4}, _ends, "zero_one_inflated_beta", MANY_PERSONS),
    ),
    "coi": (
        _World("y ~ x", {**AT_HALF, "phi": 10.0, "zoi": 0.6}, _ones_of_ends, "zero_one_inflated_beta", MANY_PERSONS),
    ),
    "cutpoint_zero": (CUTS,),
    "cutpoint_one": (CUTS._replace(measure=_ones),),
})  # fmt: skip


# Curves


def _curve_worlds(entry: Entry) -> list[_Draw]:
    """A course of even bins in every world; what is left of it beside its straight line."""
    time = np.tile(np.linspace(0.0, 6.0, BINS), COURSES)
    place = (np.random.default_rng(1).permutation(len(time)) + 0.5) / len(time)
    y = OBSERVED_MEAN + OBSERVED_SD * math.sqrt(12.0) * (place - 0.5)
    spec = ModelSpec("y ~ 1", smooths=("s(time)",), priors={"smooth": entry, "sigma": Fixed(NOTHING)})
    outcome = make_problem(spec, pd.DataFrame({"y": y, "time": time}))[0].outcomes[0]
    line = np.column_stack([np.ones(BINS), time[:BINS]])
    assert entry.implies is not None
    unit = 1.0 if entry.implies.quantity.endswith("_raw") else y.std()

    def draw(rng: np.random.Generator) -> np.ndarray:
        course = draw_model(outcome, rng).outcome.response[:BINS]
        bends = course - line @ np.linalg.lstsq(line, course, rcond=None)[0]
        return np.array([bends.std() / unit])

    return [draw]


# Co-activation


def _factor_worlds(entry: Entry) -> list[_Draw]:
    nothing = LogNormal(2.0 * math.log(NOTHING), 0.01)
    priors: dict[str, Override] = {name: entry if name == entry.role else nothing for name in PRIORS}
    spec = FactorSpec(factors=FACTORS, between=BETWEEN, priors=priors)
    within_sd, uniqueness, between_sd, between_uniqueness = map(tuple, np.reshape(spec.prior_numbers, (4, 2)))
    between = entry.role.startswith("between")
    participants, stimuli = TRIALS[entry.role]
    shapes = [f"shape {number}" for number in range(SHAPES)]

    def draw(rng: np.random.Generator) -> np.ndarray:
        truth = prior_truth(
            rng, shapes=shapes, factors=FACTORS, between=BETWEEN, uniqueness=uniqueness,
            between_uniqueness=between_uniqueness, loading_sd=(rng.lognormal(*within_sd), rng.lognormal(*between_sd)),
        )  # fmt: skip
        data = simulate_values(truth, rng, participants=participants, stimuli=stimuli)
        trials = (data.activation / truth.scale).reshape(participants, stimuli, SHAPES)
        persons = trials.mean(axis=1)
        inside = ((trials - persons[:, None]) ** 2).sum(axis=(0, 1)) / (participants * (stimuli - 1))
        variance = persons.var(axis=0, ddof=1) - inside / stimuli if between else inside
        if entry.role.endswith("uniqueness"):
            return variance
        return np.array([math.sqrt(variance.mean() / (BETWEEN if between else FACTORS))])

    return [draw]
