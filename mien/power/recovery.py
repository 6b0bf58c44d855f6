"""Power to find factors again: how many persons, and trials, do loadings need?

    truth      one world of factors for the whole plan (`mien.simulation.co_activation.draw_truth`): simple structure,
               shapes that are faces' in size; persons and trials are drawn anew in each replicate
    analysis   co-activation with as many factors as there are (`mien.models.co_activation`)
    value      congruence (the cosine, Tucker's) of the posterior mean of the loadings with the true ones, both turned
               by varimax, matched by the best signed permutation; of all factors of a level the mean, or the least
    met        value ≥ the goal's threshold: a convention, such as .95 for "the same factor"

Stimuli have no effects of their own here: with part="all" these would add to what is within persons. There is no null
world, as without factors there are none to find again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.models.factors.rotation import congruence, signed_permutations, varimax
from mien.models.factors.spec import FactorSpec
from mien.simulation.co_activation import FactorData, FactorTruth, draw_truth, factor_trials, simulate_values
from mien.study.errors import MienError, SpecError

if TYPE_CHECKING:
    from mien.power.cells import Cell
    from mien.power.plan import Analysis, Goal, Plan
    from mien.priors import FrozenPriors

__all__ = [
    "EFFECTS",
    "KIND",
    "Recovery",
    "check_recovery",
    "factors_of",
    "frozen_factors",
    "recovered",
    "true_factors",
]

KIND = "factor_recovery"
EFFECTS = ("mean within", "least within", "mean between", "least between")
TERMS = ("Intercept", "valence")
DRAWS, CHAINS = 1000, 4  # those of mien.fit
FEWEST = 3  # shapes of a co-activation model
MOST_SHAPES = 34


@dataclass(frozen=True)
class Recovery:
    """The world of factors; the analysis has as many of them.

    Parameters
    ----------
    factors, between : within and between persons. shapes : how many. world : another number is another world.
    """

    factors: int = 3
    between: int = 1
    shapes: int = 12
    world: int = 0

    def __post_init__(self) -> None:
        for name, least in (("factors", 1), ("between", 0), ("shapes", FEWEST), ("world", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SpecError(f"recovery.{name}: expected a whole number from {least}, found {value!r}.")
        for name, most in (
            ("shapes", MOST_SHAPES),
            ("factors", self.shapes // 2),
            ("between", self.shapes // 2),
        ):
            if getattr(self, name) > most:
                raise SpecError(f"recovery.{name}: expected at most {most}, found {getattr(self, name)}.")

    @property
    def spec(self) -> FactorSpec:
        """The analysis: valence is taken out."""
        return FactorSpec(self.factors, self.between, ("valence",))

    @property
    def analysis(self) -> "Analysis":
        """What a plan says of it: the part of the model that a formula can say."""
        from mien.models.spec import ModelSpec
        from mien.power.plan import Analysis

        return Analysis(ModelSpec(self.spec.formula, name=self.spec.name))


def check_recovery(plan: "Plan") -> None:
    """Refuse what worlds of factors do not have.

    Raises
    ------
    SpecError
    """
    recovery, design = plan.recovery, plan.design
    assert recovery is not None
    if plan.analysis != recovery.analysis:
        raise SpecError(
            "recovery: expected its own analysis (recovery.analysis), found another: leave [analysis] out."
        )
    if plan.truth.coefficients or plan.truth.pilot is not None or plan.pipeline is not None:
        raise SpecError("recovery: expected no other truth, whose world is drawn, found one: leave it out.")
    found = {
        "design.groups": (design.groups, ()), "design.covariates": (design.covariates, ()),
        "design.dropout": (design.dropout, 0.0), "design.valences": (design.valences, ("negative", "positive")),
        "shapes.count": (plan.shapes.count, 1),
    }  # fmt: skip
    for name, (value, only) in found.items():
        if value != only:
            raise SpecError(f"{name}: expected {_told(only)} with factors, found {_told(value)}.")


def check_recovery_goal(plan: "Plan", goal: "Goal", where: str) -> None:
    """Goals of factors in plans of factors, and no others.

    Raises
    ------
    SpecError
    """
    if plan.recovery is None:
        if goal.kind == KIND:
            raise SpecError(f"{where}.kind: expected a plan with [recovery] for {KIND}, found none.")
        return
    if goal.kind != KIND:
        raise SpecError(f"{where}.kind: expected {KIND} in a plan with [recovery], found {goal.kind!r}.")
    if goal.effect not in EFFECTS or (goal.effect.endswith("between") and not plan.recovery.between):
        allowed = [name for name in EFFECTS if plan.recovery.between or name.endswith("within")]
        raise SpecError(f"{where}.effect: expected one of {', '.join(allowed)}, found {goal.effect!r}.")
    if not 0.0 < goal.threshold <= 1.0:
        raise SpecError(
            f"{where}.threshold: expected a congruence above 0, at most 1 (.95 is a convention), found "
            f"{goal.threshold!r}."
        )


def _told(value: object) -> str:
    values = list(value) if isinstance(value, tuple) else [value]
    return ", ".join(map(str, values)) or "none"


def frozen_factors(recovery: Recovery) -> "FrozenPriors":
    """The analysis' priors: the library's, in sds within persons, which no data move."""
    from mien.models.prior_freezing import frozen_of

    return frozen_of(recovery.spec, {"": recovery.spec.resolved_priors})


# Data


def true_factors(plan: "Plan") -> FactorTruth:
    """The plan's world, the same in every cell and replicate."""
    assert plan.recovery is not None
    return _drawn(plan.recovery, plan.seed)


@cache
def _drawn(recovery: Recovery, seed: int) -> FactorTruth:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(recovery.world,)))
    return draw_truth(
        rng, shapes=recovery.shapes, factors=recovery.factors, between=recovery.between, terms=TERMS
    )


def factors_of(plan: "Plan", cell: "Cell", replicate: int) -> FactorData:
    """Trials of one replicate, person by person, so that a smaller study is the beginning of a larger."""
    from mien.power.simulating import LOST, PERSONS, seed_of

    truth, axes = true_factors(plan), cell.axes
    participants = int(axes["participants"])
    shown = int(
        (axes["pictures"] + axes["films"]) * len(plan.design.valences) * axes["trials"] * axes["sessions"]
    )
    persons = [
        simulate_values(
            truth, np.random.default_rng(seed_of(plan, cell.cohort, replicate, PERSONS, number)), participants=1,
            stimuli=shown,
        )
        for number in range(participants)
    ]  # fmt: skip
    lost = np.random.default_rng(seed_of(plan, cell.cohort, replicate, LOST))
    kept = np.flatnonzero(lost.random(participants * shown) >= axes["missing"])

    def rows(name: str) -> np.ndarray:
        return np.concatenate([getattr(person, name) for person in persons])[kept]

    def levels(name: str) -> np.ndarray:
        return np.concatenate([getattr(person, name) for person in persons])

    return FactorData(
        truth, rows("standardised"), rows("design"), np.repeat(np.arange(participants), shown)[kept], rows("stimulus"),
        levels("covariate"), rows("scores"), levels("between_scores"), levels("person_effects"),
        persons[0].stimulus_effects,
    )  # fmt: skip


# A row


def recovered(plan: "Plan", cell: "Cell", replicate: int) -> dict[str, Any]:
    """A replicate's columns: simulate, fit, compare."""
    from mien.models.factors.fitting import fit_factors
    from mien.power.simulating import ENGINE, seed_of

    assert plan.recovery is not None
    data = factors_of(plan, cell, replicate)
    if not len(data.participant):
        raise MienError("design: expected at least one trial that was not lost, found none")
    state = seed_of(plan, cell.cohort, replicate, ENGINE).generate_state(4).tolist()
    seed = np.random.SeedSequence([*state, int(cell.axes["participants"])]).generate_state(1)[0]
    fit = fit_factors(
        plan.recovery.spec, factor_trials(data).trials, draws=DRAWS, chains=CHAINS, seed=int(seed) % 2**31
    )
    row: dict[str, Any] = {"n_rows": len(data.participant), "engine": "nuts"}
    if fit.attrs["diagnostics"] != "passed":
        told = json.loads(str(fit.attrs["diagnostics_detail"]))["failed"][""]
        return row | {"failure": f"verdict failed: {told[0].split(':')[0]}"}
    posterior = fit["posterior"].dataset
    shapes = [data.truth.shapes.index(str(name)) for name in posterior["blend_shape"].to_numpy()]
    true = {"within": data.truth.loading[shapes], "between": data.truth.between_loading[shapes]}
    drawn = {"within": posterior["loading"].to_numpy(), "between": posterior["between_loading"].to_numpy()}
    found: Mapping[str, _Found] = {
        level: _found(drawn[level].reshape(-1, *drawn[level].shape[2:]), true[level])
        for level in {goal.effect.split()[1] for goal in plan.goals}
    }
    for goal in plan.goals:
        row |= {f"{goal.name}:{name}": value for name, value in _decided(goal, found).items()}
    return row


class _Found(NamedTuple):
    """Congruences with the true factors: of the posterior mean (factor,), of draws (draw, factor)."""

    of_mean: np.ndarray
    of_draws: np.ndarray


def _found(loading: np.ndarray, true: np.ndarray) -> _Found:
    """Aligned draws (draw, shape, factor) beside the truth, turned to its simple structure."""
    target = true @ varimax(true[None])[0]
    mean = loading.mean(axis=0)
    turn = signed_permutations(mean[None], target)[0]
    return _Found(congruence(mean @ turn, target), congruence(loading @ turn, target))


def _decided(goal: "Goal", found: Mapping[str, _Found]) -> dict[str, Any]:
    how, level = goal.effect.split()
    over = np.mean if how == "mean" else np.min
    value = float(over(found[level].of_mean))
    draws = over(found[level].of_draws, axis=1)
    tail = (1.0 - goal.interval) / 2.0
    lower, upper = np.quantile(draws, [tail, 1.0 - tail]).tolist()
    met = value >= goal.threshold
    return {
        "met": met, "decision": int(met), "value": value, "mean": float(draws.mean()), "sd": float(draws.std()),
        "lower": lower, "upper": upper, "truth": 1.0, "decided": int(met), "false": 0,
    }  # fmt: skip
