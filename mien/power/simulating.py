"""One replicate's data: a world drawn from the truth, seen through the cell's design.

    SeedSequence(plan.seed, spawn_key = (the cohort's key, replicate, stream, shape))

Streams are the truth, persons, stimuli, residuals, what is lost, and covariates. Persons, rows and what is lost are
drawn person by person, so that the first N persons are the same in every N (nested cohorts); stimuli are new in each
replicate. The truth may have another formula than the analysis.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.models.design import Block, Design, build_design
from mien.power.cells import Cell
from mien.power.designs import study_rows
from mien.power.plan import AXES, Draw, Plan, Truth
from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest

if TYPE_CHECKING:
    import pandas as pd

    from mien.priors import FrozenPriors

__all__ = [
    "Simulated", "Skeleton", "check_truth_of_formula", "coefficient_names", "reference_priors", "seed_of", "simulate",
    "skeleton_of", "tiny_sigma",
]  # fmt: skip

TRUTH, PERSONS, STIMULI, RESIDUALS, LOST, COVARIATES, ENGINE = range(7)
OF_PERSONS, OF_STIMULI = "participant", "stimulus"
REFERENCE_PERSONS = 60
REFERENCE = "reference"
TINY = 1e-3  # residual sd of an average over infinitely many persons, as a share of the smallest other sd


class Skeleton(NamedTuple):
    """What all replicates of a cell share: rows and the truth's design on them; covariates are filled in later."""

    frame: "pd.DataFrame"
    truth: Design


class Simulated(NamedTuple):
    """responses : (shape, row) of all rows. kept : (row,) whether the trial was not lost.

    truth : (shape, effect) of the plan's effects. frame : rows, with covariates where there are some.
    """

    responses: np.ndarray
    kept: np.ndarray
    truth: np.ndarray
    frame: "pd.DataFrame"


class _World(NamedTuple):
    """True numbers of one replicate. correlations : factor → its effects' correlation matrix by pairs of terms."""

    coefficients: Mapping[str, float]
    sds: Mapping[str, float]
    correlations: Mapping[str, float | Mapping[tuple[str, str], float]]
    sigma: float
    parameters: Mapping[str, float]


def skeleton_of(plan: Plan, cell: Cell) -> Skeleton:
    """Rows and design of a cell."""
    frame = study_rows(plan.design, cell.axes)
    return Skeleton(frame, build_design(parse_formula(truth_formula(plan)), frame))


def truth_formula(plan: Plan) -> str:
    """The formula of the world: the truth's own, or the analysis'."""
    return plan.truth.formula or plan.analysis.spec.formula


def _small_axes(plan: Plan, participants: int) -> dict[str, float]:
    axes = {name: max(getattr(plan.design, name)) for name in AXES}
    return {**axes, "participants": participants, "missing": 0.0}


def _small_design(plan: Plan, formula: str) -> Design:
    """On a few rows that have every level."""
    axes = _small_axes(plan, (2 + len(plan.design.covariates)) * max(1, len(plan.design.groups)))
    for name in ("pictures", "films"):
        axes[name] = min(axes[name], 2)
    frame = study_rows(plan.design, axes)
    return build_design(parse_formula(formula), frame)


def coefficient_names(plan: Plan) -> tuple[str, ...]:
    """Of the analysis."""
    return _small_design(plan, plan.analysis.spec.formula).coefficients


def check_truth_of_formula(plan: Plan) -> None:
    """Refuse true values of what the formula does not have, and sds that are missing.

    Raises
    ------
    SpecError
    """
    plan.combinations  # noqa: B018 - refuses names that there are not
    truth = plan.truth
    if plan.pipeline is not None:
        from mien.power.pipeline import check_pipeline

        check_pipeline(plan)
        return
    design = _small_design(plan, truth_formula(plan))
    terms = [f"{term}|{block.factor}" for block in design.blocks for term in block.terms]
    factors = [block.factor for block in design.blocks if len(block.terms) > 1]
    for where, given, known in (
        ("truth.coefficients", truth.coefficients, design.coefficients),
        ("truth.sds", truth.sds, terms),
        ("truth.correlations", truth.correlations, factors),
    ):
        for name in given:
            if name not in known:
                raise SpecError(
                    f"{where}: expected names of the formula ({', '.join(known) or 'none'}), found {name!r}"
                    f"{nearest(name, known)}."
                )
    if truth.pilot is not None:
        from mien.power.pilots import check_pilot

        check_pilot(plan, design)
        return
    missing = [name for name in terms if name not in truth.sds]
    if missing:
        raise SpecError(
            f"truth.sds: expected the sd of every group term, found none of {', '.join(missing)}: write 0 where "
            "there is to be none."
        )
    for block in design.blocks:
        most, k = truth.correlations.get(block.factor, 0.0), len(block.terms)
        if k > 2 and most <= -1.0 / (k - 1):
            raise SpecError(
                f"truth.correlations.{block.factor}: expected a correlation above {-1 / (k - 1):.2g} between {k} "
                f"effects, found {most:g}: no effects correlate so."
            )


# Worlds


def _stream(plan: Plan, cell: Cell, replicate: int, stream: int, shape: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed_of(plan, cell.cohort, replicate, stream, shape))


def seed_of(plan: Plan, cohort: str, replicate: int, stream: int, shape: int = 0) -> np.random.SeedSequence:
    """The seed of one stream of one replicate; never seed + i."""
    words = tuple(int(cohort[place : place + 8], 16) for place in range(0, len(cohort), 8))
    return np.random.SeedSequence(plan.seed, spawn_key=(*words, replicate, stream, shape))


def _world(plan: Plan, cell: Cell, rng: np.random.Generator) -> _World:
    truth = plan.truth
    world = _World({}, truth.sds, truth.correlations, truth.sigma, truth.parameters)
    if truth.pilot is not None:
        from mien.power.pilots import world_of_draw

        world = _World(*world_of_draw(truth.pilot, int(rng.integers(len(truth.pilot)))))
    given = {
        name: float(rng.normal(value.mean, value.sd)) if isinstance(value, Draw) else float(value)
        for name, value in cell.coefficients.items()
    }
    return world._replace(coefficients={**world.coefficients, **given})


def simulate(plan: Plan, cell: Cell, skeleton: Skeleton, replicate: int) -> Simulated:
    """Data of one replicate, all shapes."""
    if plan.pipeline is not None:
        from mien.power.pipeline import simulate_frames

        return simulate_frames(plan, cell, skeleton, replicate)
    frame, design = skeleton.frame, skeleton.truth
    if plan.design.covariates:
        frame = _with_covariates(plan, cell, frame, replicate)
        design = build_design(parse_formula(truth_formula(plan)), frame)
    world = _world(plan, cell, _stream(plan, cell, replicate, TRUTH))
    effects = _effects_by_shape(plan, cell, world, replicate)
    responses = np.stack([
        _response(plan, cell, world, design, coefficients, replicate, shape)
        for shape, coefficients in enumerate(effects)
    ])  # fmt: skip
    truth = np.array([
        [sum(weight * one.get(name, 0.0) for name, weight in weights.items()) for weights in plan.combinations]
        for one in effects
    ])  # fmt: skip
    return Simulated(responses, _kept(plan, cell, frame, replicate), truth, frame)


def _with_covariates(plan: Plan, cell: Cell, frame: "pd.DataFrame", replicate: int) -> "pd.DataFrame":
    """Persons' numbers; infinitely many are a few whose numbers are apart, of each group."""
    persons = frame["participant"].cat.codes.to_numpy()
    shape = int(persons.max()) + 1, len(plan.design.covariates)
    if math.isinf(cell.axes["participants"]):
        place = np.arange(shape[0]) // max(1, len(plan.design.groups))
        values = np.where(place[:, None] == np.arange(1, shape[1] + 1), 1.0, -1.0)
    else:
        values = _stream(plan, cell, replicate, COVARIATES).standard_normal(shape)
    return frame.assign(**{name: values[persons, at] for at, name in enumerate(plan.design.covariates)})


def _effects_by_shape(plan: Plan, cell: Cell, world: _World, replicate: int) -> list[dict[str, float]]:
    """True coefficients of every shape: those with the effects first, in the others they are 0."""
    shapes = plan.shapes
    if shapes.count == 1:
        return [dict(world.coefficients)]
    of_goals = {name for weights in plan.combinations for name in weights}
    rng = _stream(plan, cell, replicate, TRUTH, 1)
    found = []
    for shape in range(shapes.count):
        away = rng.standard_normal()
        mine = dict(world.coefficients)
        for name in sorted(of_goals & set(mine)):
            has = shape < shapes.with_effect and cell.world != "null"
            mine[name] = mine[name] + shapes.spread * away if has else 0.0
        found.append(mine)
    return found


def _normals(
    plan: Plan, cell: Cell, replicate: int, stream: int, shape: int, size: tuple[int, ...]
) -> np.ndarray:
    """Standard normals, of several shapes correlated as the plan says."""
    share = plan.shapes.correlation
    own = _stream(plan, cell, replicate, stream, shape + 1).standard_normal(size)
    if share == 0.0:
        return own
    common = _stream(plan, cell, replicate, stream).standard_normal(size)
    return math.sqrt(share) * common + math.sqrt(1.0 - share) * own


def _response(
    plan: Plan, cell: Cell, world: _World, design: Design, coefficients: Mapping[str, float], replicate: int, shape: int
) -> np.ndarray:  # fmt: skip
    eta = design.columns @ np.array([coefficients.get(name, 0.0) for name in design.coefficients])
    average = math.isinf(cell.axes["participants"])
    for number, block in enumerate(design.blocks):
        if average and OF_PERSONS in block.factor.split(":"):
            continue
        stream = PERSONS if OF_PERSONS in block.factor.split(":") else STIMULI
        own = 1000 * number + shape  # a stream of its own for every block
        normals = _normals(plan, cell, replicate, stream, own, (len(block.levels), len(block.terms)))
        effects = normals @ _root(block, world).T
        eta = eta + (block.columns * effects[block.codes]).sum(axis=1)
    if plan.analysis.spec.family != "gaussian":
        return _other_response(plan, cell, world, design, eta, replicate, shape)
    noise = _normals(plan, cell, replicate, RESIDUALS, shape, eta.shape)
    return eta + (limit_sigma(plan.truth) if average else world.sigma) * noise


def limit_sigma(truth: Truth) -> float:
    """The residual sd of averages over infinitely many persons, the same in all replicates."""
    if truth.pilot is None:
        return tiny_sigma(truth.sds, truth.sigma)
    means = {str(name): float(values.mean()) for name, values in truth.pilot.items()}
    return tiny_sigma({name: mean for name, mean in means.items() if name.startswith("sd:")}, means["sigma"])


def tiny_sigma(sds: Mapping[str, float], sigma: float) -> float:
    """Residual sd of averages over infinitely many persons: as good as none beside what is left."""
    return TINY * min([sd for sd in sds.values() if sd > 0.0] + [sigma])


def _root(block: Block, world: _World) -> np.ndarray:
    """A root of the covariance of a block's effects."""
    sds = np.array([world.sds[f"{term}|{block.factor}"] for term in block.terms])
    given = world.correlations.get(block.factor, 0.0)
    matrix = np.eye(len(sds))
    for i, one in enumerate(block.terms):
        for j, other in enumerate(block.terms[:i]):
            value = given.get((other, one), 0.0) if isinstance(given, Mapping) else given
            matrix[i, j] = matrix[j, i] = value
    return sds[:, None] * np.linalg.cholesky(matrix)


def _other_response(
    plan: Plan, cell: Cell, world: _World, design: Design, eta: np.ndarray, replicate: int, shape: int
) -> np.ndarray:  # fmt: skip
    """Of another family, person by person: what a generator uses up is not the same for all rows."""
    from mien.models.likelihood_replicates import draw_response

    persons = next(block for block in design.blocks if block.factor == OF_PERSONS).codes
    parameters = {"sigma": world.sigma, **world.parameters}
    seeds = seed_of(plan, cell.cohort, replicate, RESIDUALS, shape + 1).spawn(int(persons.max()) + 1)
    response = np.empty(len(eta))
    for person, seed in enumerate(seeds):
        mine = persons == person
        response[mine] = draw_response(
            plan.analysis.spec.family, eta[mine], parameters, np.random.default_rng(seed)
        )
    return response


def _kept(plan: Plan, cell: Cell, frame: "pd.DataFrame", replicate: int) -> np.ndarray:
    missing, dropout = float(cell.axes["missing"]), plan.design.dropout
    kept = np.ones(len(frame), dtype=bool)
    if math.isinf(cell.axes["participants"]):
        return kept
    if missing > 0.0:
        kept &= _stream(plan, cell, replicate, LOST).random(len(frame)) >= missing
    if dropout > 0.0:
        persons = frame["participant"].cat.codes.to_numpy()
        gone = _stream(plan, cell, replicate, LOST, 1).random(int(persons.max()) + 1) < dropout
        kept &= ~gone[persons]
    return kept


# Priors


def reference_priors(plan: Plan) -> "FrozenPriors":
    """The analysis' priors, on the scale of one simulated study of 60 persons with the plan's largest design.

    It does not depend on the participants axis, so that more of them leave the priors, and all rows, as they are.
    """
    from mien.models.prior_freezing import freeze_priors

    axes = _small_axes(plan, REFERENCE_PERSONS)
    truth = {name: values[0] for name, values in plan.truth.coefficients.items()}
    cell = Cell(REFERENCE, REFERENCE, axes, "0" * 16, truth)
    made = simulate(plan, cell, skeleton_of(plan, cell), 0)
    response = parse_formula(plan.analysis.spec.formula).response
    return freeze_priors(plan.analysis.spec, made.frame.assign(**{response: made.responses[0]}))
