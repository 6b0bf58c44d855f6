"""Rows of a cell: simulate, fit, decide. Everything but `seconds` and `worker` follows from plan, cell and number.

The collapsed engine gives the coefficients' posterior as a mixture, without a draw of them or of group effects; the
structure of its elimination is made once for a cell. Other families are sampled.
"""

import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from mien.models.engines.problem import Outcome, Problem, Settings
from mien.power.cells import Cell
from mien.power.deciding import Posterior, decide, is_met, states_false
from mien.power.plan import Goal, Plan
from mien.power.simulating import (
    ENGINE,
    OF_PERSONS,
    Simulated,
    Skeleton,
    limit_sigma,
    seed_of,
    simulate,
    skeleton_of,
)
from mien.priors import Fixed, FrozenPriors, Normal, ResolvedPrior
from mien.study.errors import MienError
from mien.study.formula import parse_formula

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ENGINES", "Setup", "row_columns", "run_replicates"]

POINTS, RUNS = 640, 2  # of theta; the gate asks for 400 effective ones
ENGINES = ("collapsed", "theta by nuts", "nuts")
BAD_VERDICT = "verdict failed"
KEPT = 4  # cells whose structure a worker keeps
OF_GOAL = ("met", "decision", "value", "mean", "sd", "lower", "upper", "truth", "decided", "false")


class Setup(NamedTuple):
    """What a worker needs besides cell and numbers; it is pickled once a task."""

    plan: Plan
    frozen: FrozenPriors

    @staticmethod
    def of(plan: Plan) -> "Setup":
        """With the plan's priors, frozen."""
        return Setup(plan, plan.frozen)


def row_columns(plan: Plan) -> "dict[str, pa.DataType]":
    """Name → type of a row's columns."""
    import pyarrow as pa

    kinds = {"met": pa.bool_(), "decision": pa.int8(), "decided": pa.int32(), "false": pa.int32()}
    found: dict[str, pa.DataType] = {
        "cell": pa.string(), "replicate": pa.int64(), "failure": pa.string(), "n_rows": pa.int64(),
        "engine": pa.string(),
    }  # fmt: skip
    for goal in plan.goals:
        found |= {f"{goal.name}:{name}": kinds.get(name, pa.float64()) for name in OF_GOAL}
    if plan.pipeline is not None:
        found |= {"kept_share": pa.float64(), "persons_left": pa.int64()}
        found |= {f"{goal.name}:clean": pa.bool_() for goal in plan.goals}
        found |= {f"{goal.name}:clean_mean": pa.float64() for goal in plan.goals}
    return found | {"seconds": pa.float64(), "worker": pa.string()}


def run_replicates(setup: Setup, cell: Cell, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """The rows of some replicates of a cell.

    Parameters
    ----------
    numbers : which replicates, from 0.
    """
    with threadpool_limits(1):
        return [_row(setup, cell, number) for number in numbers]


def _row(setup: Setup, cell: Cell, number: int) -> dict[str, Any]:
    start, plan = time.perf_counter(), setup.plan
    row = dict.fromkeys(row_columns(plan)) | {
        "cell": cell.key,
        "replicate": number,
        "failure": "",
        "engine": "",
    }
    try:
        row |= _fitted(setup, cell, number)
    except MienError as error:
        row["failure"] = _cause(error)
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        row["failure"] = f"arithmetic: {error}"
    return row | {"seconds": time.perf_counter() - start, "worker": str(os.getpid())}


def _cause(error: MienError) -> str:
    """A few words: what comes before the first number differs from replicate to replicate."""
    return str(error).split(", found")[0][:120]


def _missed(reason: str) -> str:
    """What of the gate was missed, without the numbers: failures are counted by cause."""
    return ", ".join(dict.fromkeys(re.split(r"[ (]+-?\d", part)[0] for part in reason.split(", ")))


def _fitted(setup: Setup, cell: Cell, number: int) -> dict[str, Any]:
    plan = setup.plan
    if plan.recovery is not None:
        from mien.power.recovery import recovered

        return recovered(plan, cell, number)
    of_cell = _of_cell(setup, cell)
    if plan.pipeline is None:
        return _analysed(of_cell, simulate(plan, cell, of_cell.skeleton, number), number)
    from mien.power.pipeline import of_both

    return of_both(plan, cell, of_cell.skeleton, number, lambda made: _analysed(of_cell, made, number))


def _analysed(of_cell: "_OfCell", made: Simulated, number: int) -> dict[str, Any]:
    plan, cell = of_cell.plan, of_cell.cell
    outcomes, engines, posteriors = of_cell.outcomes(made), [], []
    for shape, outcome in enumerate(outcomes):
        seed = seed_of(plan, cell.cohort, number, ENGINE, shape).generate_state(4).tolist()
        found = of_cell.fit(
            outcome, np.random.SeedSequence([*seed, int(min(cell.axes["participants"], 2**31))])
        )
        engines.append(found.engine)
        posteriors.append(found.posteriors)
        if found.reason:
            failure = f"{BAD_VERDICT}: {_missed(found.reason)}"
            return {"n_rows": int(made.kept.sum()), "engine": found.engine, "failure": failure}
    row: dict[str, Any] = {"n_rows": int(made.kept.sum()), "engine": max(engines, key=ENGINES.index)}
    for goal in plan.goals:
        place = plan.effects.index(goal.effect)
        mine = [of_shape[place] for of_shape in posteriors]
        row |= {
            f"{goal.name}:{name}": value
            for name, value in _decided(plan, goal, mine, made.truth[:, place]).items()
        }
    return row


def _decided(plan: Plan, goal: Goal, posteriors: list[Posterior], truth: np.ndarray) -> dict[str, Any]:
    """One goal's columns; of several shapes the numbers are those of the first, which has the effect if any has."""
    decisions = [decide(posterior, goal) for posterior in posteriors]
    met = [is_met(goal, one.decision, value) for one, value in zip(decisions, truth.tolist(), strict=True)]
    taken, means = (np.array([getattr(one, name) for one in decisions]) for name in ("decision", "mean"))
    false = int(states_false(goal, taken, truth, means).sum())
    several = plan.shapes.count > 1
    of_effect = met[: plan.shapes.with_effect] if several and plan.shapes.with_effect else met
    least = goal.at_least or (len(of_effect) if several else 1)
    return {
        "met": sum(of_effect) >= least, "truth": float(truth[0]), "decided": sum(of_effect), "false": false,
        **decisions[0]._asdict(),
    }  # fmt: skip


# Fits


class _Fit(NamedTuple):
    """posteriors : of the plan's effects. reason : of a verdict that failed, "" for none."""

    engine: str
    posteriors: list[Posterior]
    reason: str


class _OfCell:
    """What replicates of a cell share: the analysis' outcome on all rows, and the engine's structure."""

    def __init__(self, setup: Setup, cell: Cell) -> None:
        self.plan, self.cell = setup.plan, cell
        self.skeleton: Skeleton = skeleton_of(setup.plan, cell)
        self.frozen = setup.frozen
        spec = setup.plan.analysis.spec
        self.collapsed = spec.family == "gaussian" and setup.plan.analysis.engine != "nuts"
        rng = np.random.default_rng(0)
        self.placeholder = rng.uniform(0.1, 0.9, len(self.skeleton.frame))
        self.outcome = None if setup.plan.design.covariates else self._outcome(self.skeleton.frame)
        self.makers: Any = None
        if self.collapsed and self.outcome is not None:
            self.makers = self._makers(self.outcome)

    def _outcome(self, frame: Any) -> Outcome:
        """The analysis on all rows, with the frozen priors; the response is filled in later."""
        from mien.models.fitting import make_problem

        spec = self.plan.analysis.spec
        response = parse_formula(spec.formula).response
        problem, _, _ = make_problem(spec, frame.assign(**{response: self.placeholder}))
        outcome = problem.outcomes[0]
        priors = self.frozen.of(next(iter(self.frozen.outcomes)), outcome.priors)
        if math.isinf(self.cell.axes["participants"]):
            priors = self._limit_priors(priors)
        return outcome._replace(priors=priors, name="")

    def _limit_priors(self, priors: Mapping[str, ResolvedPrior]) -> dict[str, ResolvedPrior]:
        """Averages over infinitely many persons: persons' effects and residuals are gone, and known to be."""

        def held(name: str, one: ResolvedPrior) -> ResolvedPrior:
            factor = name.rpartition("|")[2].split(":")
            if name.startswith("sd:") and OF_PERSONS in factor:
                return ResolvedPrior(Fixed(0.0), one.source, one.id)
            if name.startswith("corr:") and OF_PERSONS in name.removeprefix("corr:").split(":"):
                return ResolvedPrior(Fixed(0.0), one.source, one.id)
            if name == "sigma":
                return ResolvedPrior(Fixed(limit_sigma(self.plan.truth)), one.source, one.id)
            return one

        return {name: held(name, one) for name, one in priors.items()}

    def _makers(self, outcome: Outcome) -> Any:
        from mien.models.engines.collapsed.engine import prepare
        from mien.models.engines.collapsed.moments import moments_like

        places = prepare(Problem("gaussian", (outcome,)), threads=1)[0].density.places
        return places, moments_like(outcome)

    def outcomes(self, made: Simulated) -> list[Outcome]:
        """The analysis' outcome of every shape, of the rows that are there."""
        whole = self.outcome if self.outcome is not None else self._outcome(made.frame)
        keep = np.flatnonzero(made.kept)
        if len(keep) == 0:
            raise MienError("design: expected at least one trial that was not lost, found none")
        design = whole.design if len(keep) == len(made.kept) else whole.design.rows(keep)
        root = whole.root_precision[keep]
        parameters = {name: one.rows(keep) for name, one in whole.parameters.items()}
        return [
            whole._replace(design=design, response=response[keep], root_precision=root, parameters=parameters)
            for response in made.responses
        ]

    def fit(self, outcome: Outcome, seed: np.random.SeedSequence) -> _Fit:
        """The posterior of the effects."""
        return self._by_mixture(outcome, seed) if self.collapsed else self._by_nuts(outcome, seed)

    def _by_mixture(self, outcome: Outcome, seed: np.random.SeedSequence) -> _Fit:
        from mien.models.engines.collapsed.coefficient_mixture import coefficient_mixture
        from mien.models.engines.collapsed.density import make_density

        places, moments_of = self.makers or self._makers(outcome)
        density, start = make_density(
            outcome.design.coefficients, outcome.design.blocks, outcome.priors, moments_of(outcome),
            outcome.residual.strata, places, threads=1,
        )  # fmt: skip
        found = coefficient_mixture(density, points=POINTS, runs=RUNS, seed=seed, start=start)
        posteriors = []
        for weights in self._weights(outcome):
            mean, sd = found.of(weights)
            posteriors.append(Posterior.of(found.weight, mean, sd, _prior_of(outcome, weights)))
        return _Fit("theta by nuts" if found.sampled else "collapsed", posteriors, found.reason)

    def _by_nuts(self, outcome: Outcome, seed: np.random.SeedSequence) -> _Fit:
        from mien.models.diagnostics import array_checks
        from mien.models.engines import load_engine

        settings = Settings(500, 4, int(seed.generate_state(1)[0]) % 2**31, group_effects=False)
        draws = load_engine("nuts").sample(Problem(self.plan.analysis.spec.family, (outcome,)), settings)[0]
        values = np.stack([draws.coefficients[name].ravel() for name in outcome.design.coefficients], axis=1)
        weight, still = np.full(len(values), 1.0 / len(values)), np.zeros(len(values))
        posteriors = [
            Posterior.of(weight, values @ weights, still, _prior_of(outcome, weights))
            for weights in self._weights(outcome)
        ]
        moving = {name: value for name, value in draws.coefficients.items() if np.ptp(value) > 0}
        missed = array_checks(moving, draws.stats["energy"], draws.stats["diverging"])
        return _Fit("nuts", posteriors, ", ".join(missed))

    def _weights(self, outcome: Outcome) -> list[np.ndarray]:
        """(coefficient,) of each effect."""
        names = outcome.design.coefficients
        return [np.array([weights.get(name, 0.0) for name in names]) for weights in self.plan.combinations]


def _prior_of(outcome: Outcome, weights: np.ndarray) -> tuple[float, float] | None:
    """Mean and sd of the effect's prior; None where it is not a proper normal one."""
    mean = variance = 0.0
    for name, weight in zip(outcome.design.coefficients, weights.tolist(), strict=True):
        if weight == 0.0:
            continue
        prior = outcome.priors[name].prior
        if not isinstance(prior, Normal):
            return None
        mean += weight * prior.mean
        variance += (weight * prior.sd) ** 2
    return mean, math.sqrt(variance)


_kept: dict[str, _OfCell] = {}  # of this process, the latest last; a cell's key knows its plan and priors


def _of_cell(setup: Setup, cell: Cell) -> _OfCell:
    if cell.key not in _kept:
        if len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        _kept[cell.key] = _OfCell(setup, cell)
    return _kept[cell.key]
