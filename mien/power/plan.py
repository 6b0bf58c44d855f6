"""A power plan as frozen, plain data: design, truth, analysis, goals, budget, cost.

Numbers that are a tuple are an axis: the grid is every combination. Units are those of the outcome, activation (0–1).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from mien.models.spec import ModelSpec
from mien.priors import Flat, FrozenPriors
from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from mien.study.linear_combination import parse_linear_combination
from mien.study.tables import nearest

if TYPE_CHECKING:
    import pandas as pd

    from mien.power.pipeline import Pipeline
    from mien.power.recovery import Recovery

__all__ = [
    "AXES", "COSTS", "KINDS", "MOST_CELLS", "Analysis", "Budget", "Design", "Draw", "Goal", "Plan", "Shapes", "Truth",
    "Value",
]  # fmt: skip

AXES = ("participants", "pictures", "films", "trials", "sessions", "missing")
COSTS = ("participant", "session", "trial", "picture", "film")
KINDS: Mapping[str, tuple[str, ...]] = {  # what may be wanted of each kind of goal
    "direction": ("", "positive", "negative", "either"),
    "rope": ("", "reject", "accept", "either"),
    "width": ("",),
    "bayes_factor": ("", "effect", "null", "either"),
    "factor_recovery": ("",),
}
VALENCES = ("negative", "neutral", "positive")
MEDIA = ("picture", "film")
MOST_CELLS = 2_000
MOST_ROWS = 2_000_000  # of one simulated study
SCALE = 1.0  # activations lie between 0 and 1


class Draw(NamedTuple):
    """A true value that is itself uncertain: drawn for every replicate, normal with this mean and sd."""

    mean: float
    sd: float


type Value = float | Draw


@dataclass(frozen=True)
class Design:
    """Who sees what. The first six are axes.

    Parameters
    ----------
    participants : in all. pictures, films : of each valence. trials : presentations of each stimulus in a session.
    sessions : of each participant. missing : share of trials that are lost, at random.
    dropout : share of participants who give no trials at all.
    valences : of stimuli. groups : participants belong to them in turn; none for one group.
    covariates : persons' numbers, standard normal, drawn for every replicate.
    """

    participants: tuple[int, ...]
    pictures: tuple[int, ...] = (20,)
    films: tuple[int, ...] = (0,)
    trials: tuple[int, ...] = (1,)
    sessions: tuple[int, ...] = (1,)
    missing: tuple[float, ...] = (0.0,)
    dropout: float = 0.0
    valences: tuple[str, ...] = ("negative", "positive")
    groups: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What a formula may use."""
        found = ("participant", "stimulus", "valence", "medium", "session", "trial", *self.covariates)
        return (*found, "group") if self.groups else found


@dataclass(frozen=True)
class Truth:
    """The world that is assumed.

    Parameters
    ----------
    coefficients : name → values, an axis where there are several; those of the formula that are not named are 0, or
        the pilot's.
    sds : "term|factor" → sd of the effects. correlations : factor → correlation of its effects.
    sigma : residual sd. parameters : of other families ("phi": 20).
    formula : of the world, where it is another than the analysis'.
    pilot : draws of a pilot's posterior, one row a draw (`pilots`), in place of all but the coefficients named.
    """

    coefficients: Mapping[str, tuple[Value, ...]]
    sds: Mapping[str, float] = field(default_factory=dict)
    correlations: Mapping[str, float] = field(default_factory=dict)
    sigma: float = 0.1
    parameters: Mapping[str, float] = field(default_factory=dict)
    formula: str = ""
    pilot: "pd.DataFrame | None" = None

    @property
    def source(self) -> str:
        """One of "fixed", "prior" (some true values are drawn) and "pilot"."""
        if self.pilot is not None:
            return "pilot"
        drawn = any(isinstance(value, Draw) for values in self.coefficients.values() for value in values)
        return "prior" if drawn else "fixed"


@dataclass(frozen=True)
class Shapes:
    """Several blend shapes of one design, each fitted on its own.

    count : shapes. with_effect : how many have the effects of the goals; in the others these are 0.
    spread : sd of the effects between them. correlation : of shapes in all that varies.
    """

    count: int = 1
    with_effect: int = 1
    spread: float = 0.0
    correlation: float = 0.0


@dataclass(frozen=True)
class Analysis:
    """What will be fitted. frozen : priors frozen before; None takes the spec's on the scale of the assumed truth."""

    spec: ModelSpec
    frozen: FrozenPriors | None = None
    engine: str = "auto"


@dataclass(frozen=True)
class Goal:
    """What the study is to achieve.

    Parameters
    ----------
    kind : "direction" P(effect > 0) or P(effect < 0) reaches `probability`; "rope" the interval lies wholly outside or
        inside `rope`; "width" the interval is at most `width` wide; "bayes_factor" reaches `threshold`, for or against.
    effect : a coefficient, or a sum such as "valence + valence:medium / 2".
    wanted : the decision that counts; "" the one that is true. interval : share of the equal-tailed interval.
    at_least : with several shapes, in how many the goal is to be met; 0 for all that have the effect.
    """

    name: str
    kind: str
    effect: str
    wanted: str = ""
    probability: float = 0.975
    interval: float = 0.95
    rope: tuple[float, float] = (0.0, 0.0)
    width: float = 0.0
    threshold: float = 10.0
    at_least: int = 0


@dataclass(frozen=True)
class Budget:
    """How much to simulate.

    replicates : at most, of every cell. batch : after how many it is looked at. half_width : of the 95 % interval of
    every goal's power at which a cell stops; 0 for never. null_replicates, check_replicates : of the null world, and of
    the check at the answer. target : the power that is wanted. clear : stop a cell too when it is clear of the target.
    failures : "not_met" (a study whose fit fails has not met its goal) or "left_out".
    """

    replicates: int = 1000
    batch: int = 100
    half_width: float = 0.0
    null_replicates: int = 400
    check_replicates: int = 1000
    target: float = 0.8
    clear: bool = False
    failures: str = "not_met"


@dataclass(frozen=True)
class Plan:
    """All of it; see the parts. `cost` : price of a participant, session, trial, picture, film; empty for N itself.

    pipeline : simulate raw frames and prepare them; the truth is then Truth({"gain": …}), see `pipeline`.
    recovery : simulate factors and find them again; the truth is then Truth({}), see `recovery`.
    """

    name: str
    design: Design
    truth: Truth
    analysis: Analysis
    goals: tuple[Goal, ...]
    budget: Budget = Budget()
    shapes: Shapes = Shapes()
    cost: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1
    pipeline: "Pipeline | None" = None
    recovery: "Recovery | None" = None

    def __post_init__(self) -> None:
        for check in (
            _check_design,
            _check_truth,
            _check_analysis,
            _check_goals,
            _check_budget,
            _check_shapes,
        ):
            check(self)

    @cached_property
    def frozen(self) -> FrozenPriors:
        """The priors of every fit: those given, or the spec's on the scale of a study as the plan assumes it."""
        if self.analysis.frozen is not None:
            return self.analysis.frozen
        if self.recovery is not None:
            from mien.power.recovery import frozen_factors

            return frozen_factors(self.recovery)
        from mien.power.simulating import reference_priors

        return reference_priors(self)

    @property
    def effects(self) -> tuple[str, ...]:
        """Those that goals are about, each once."""
        return tuple(dict.fromkeys(goal.effect for goal in self.goals))

    @cached_property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the analysis' coefficients; none of factors."""
        if self.recovery is not None:
            return ()
        from mien.power.simulating import coefficient_names

        return coefficient_names(self)

    @cached_property
    def combinations(self) -> tuple[Mapping[str, float], ...]:
        """The effects as weights of coefficients; none of factors."""
        if self.recovery is not None:
            return ()
        return tuple(parse_linear_combination(effect, self.coefficients) for effect in self.effects)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, resolved: what `plan.json` holds."""
        return self._plain

    @cached_property
    def _plain(self) -> dict[str, Any]:
        from dataclasses import asdict

        truth = {
            "source": self.truth.source,
            "coefficients": {
                name: [{"mean": value.mean, "sd": value.sd} if isinstance(value, Draw) else value for value in values]
                for name, values in self.truth.coefficients.items()
            },
            "sds": dict(self.truth.sds), "correlations": dict(self.truth.correlations), "sigma": self.truth.sigma,
            "parameters": dict(self.truth.parameters), "formula": self.truth.formula,
            "pilot_sha256": _table_sha256(self.truth.pilot),
        }  # fmt: skip
        return {
            "name": self.name, "seed": self.seed, "design": asdict(self.design), "truth": truth,
            "analysis": {
                "spec": json.loads(self.analysis.spec.to_json()), "engine": self.analysis.engine,
                "priors_sha256": self.frozen.sha256,
            },
            "goals": [asdict(goal) for goal in self.goals], "budget": asdict(self.budget),
            "shapes": asdict(self.shapes), "cost": dict(self.cost),
            **({} if self.pipeline is None else {"pipeline": self.pipeline.to_dict()}),
            **({} if self.recovery is None else {"recovery": asdict(self.recovery)}),
        }  # fmt: skip

    @property
    def sha256(self) -> str:
        """Of everything."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def _table_sha256(table: "pd.DataFrame | None") -> str:
    if table is None:
        return ""
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


# Checks: one sentence each


def _whole(where: str, values: Sequence[object], least: int) -> None:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SpecError(f"{where}: expected whole numbers from {least}, found {value!r}.")
    if not values or len(set(values)) < len(values):
        raise SpecError(f"{where}: expected one number or several different ones, found {list(values)}.")


def _number(where: str, value: object, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < low or value > high or (open_low and value == low):  # type: ignore[operator]
        limits = f"above {low:g}" if open_low else f"from {low:g}"
        raise SpecError(
            f"{where}: expected a number {limits}{'' if high == math.inf else f' to {high:g}'}, found {value!r}."
        )


def _one_of(where: str, value: str, allowed: Iterable[str]) -> None:
    allowed = tuple(allowed)
    if value not in allowed:
        named = ", ".join(name or '""' for name in allowed)
        raise SpecError(f"{where}: expected one of {named}, found {value!r}{nearest(str(value), allowed)}.")


def _check_design(plan: Plan) -> None:
    design = plan.design
    _whole("design.participants", design.participants, 2)
    for name, least in (("pictures", 0), ("films", 0), ("trials", 1), ("sessions", 1)):
        _whole(f"design.{name}", getattr(design, name), least)
    if min(design.pictures) + min(design.films) == 0:
        raise SpecError(
            "design: expected at least one picture or film of each valence in every design, found 0 pictures with 0 "
            "films: there would be no trials."
        )
    for value in design.missing:
        _number("design.missing", value, 0.0, 0.95)
    _number("design.dropout", design.dropout, 0.0, 0.95)
    for valence in design.valences:
        _one_of("design.valences", valence, VALENCES)
    reserved = {*design.columns[:6], "group", "activation"}
    for name in design.covariates:
        if not name.isidentifier() or name in reserved:
            raise SpecError(f"design.covariates: expected new names of columns, found {name!r}.")
    if len(design.groups) == 1 or len(set(design.groups)) < len(design.groups):
        raise SpecError(
            f"design.groups: expected none, or two or more different names, found {list(design.groups)}."
        )
    most = max(design.participants) * max(design.trials) * max(design.sessions) * len(design.valences)
    most *= max(design.pictures) + max(design.films)
    if most > MOST_ROWS:
        raise SpecError(
            f"design: expected studies of at most {MOST_ROWS} trials, found up to {most}: use fewer."
        )
    cells = math.prod(len(getattr(design, name)) for name in AXES)
    cells *= math.prod(len(values) for values in plan.truth.coefficients.values())
    if cells > MOST_CELLS:
        raise SpecError(
            f"design: expected a grid of at most {MOST_CELLS} cells, found {cells}: take fewer values."
        )


def _check_truth(plan: Plan) -> None:
    truth = plan.truth
    if plan.pipeline is not None or plan.recovery is not None:
        return
    gaussian = plan.analysis.spec.family in ("gaussian", "student_t")
    for name, values in truth.coefficients.items():
        for value in values:
            mean, sd = value if isinstance(value, Draw) else (value, 0.0)
            _number(f"truth.coefficients.{name}", mean, -math.inf)
            _number(f"truth.coefficients.{name}.sd", sd, 0.0)
            if gaussian and abs(mean) + 2.0 * sd > SCALE:
                raise SpecError(
                    f"truth.coefficients.{name}: expected an effect on the scale of activation (0 to 1), found "
                    f"{mean:g}{f' ± {sd:g}' if sd else ''}: are these percent, or standardised?"
                )
        means = [value.mean if isinstance(value, Draw) else value for value in values]
        if len(set(means)) < len(means):
            raise SpecError(
                f"truth.coefficients.{name}: expected different values, found {means}: cells go by them."
            )
    if truth.pilot is not None:
        return
    for name, value in truth.sds.items():
        _number(f"truth.sds.{name}", value, 0.0, SCALE if gaussian else math.inf)
    for name, value in truth.correlations.items():
        _number(f"truth.correlations.{name}", value, -0.99, 0.99)
    _number("truth.sigma", truth.sigma, 0.0, SCALE if gaussian else math.inf, open_low=True)


def _check_analysis(plan: Plan) -> None:
    if plan.recovery is not None:
        from mien.power.recovery import check_recovery

        check_recovery(plan)
        return
    spec = plan.analysis.spec
    formula = parse_formula(spec.formula)
    known = (formula.response, *plan.design.columns)
    for name in formula.columns:
        if name not in known:
            raise SpecError(
                f"analysis.formula: expected columns of the design ({', '.join(plan.design.columns)}), found {name!r}"
                f"{nearest(name, plan.design.columns)}."
            )
    for name in ("smooths", "series", "sigma_by", "contrasts"):
        if getattr(spec, name):
            raise SpecError(
                f"analysis.{name}: expected none, found some: power plans have no time within trials yet."
            )
    if (
        spec.residual != "iid"
        or spec.pooling != "none"
        or spec.weights
        or spec.counts
        or spec.standard_errors
    ):
        raise SpecError("analysis: expected independent residuals without weights or pooling, found others.")
    _one_of("analysis.engine", plan.analysis.engine, ("auto", "collapsed", "nuts"))
    from mien.power.simulating import check_truth_of_formula

    check_truth_of_formula(plan)


def _check_goals(plan: Plan) -> None:
    from mien.power.recovery import check_recovery_goal

    if not plan.goals:
        raise SpecError("goals: expected at least one [[goals]], found none.")
    names = [goal.name for goal in plan.goals]
    if len(set(names)) < len(names):
        raise SpecError(f"goals: expected different names, found {', '.join(names)}.")
    for goal in plan.goals:
        where = f"goals.{goal.name}"
        if not goal.name or ":" in goal.name:
            raise SpecError(f"goals: expected names without ':', found {goal.name!r}.")
        _one_of(f"{where}.kind", goal.kind, KINDS)
        _one_of(f"{where}.wanted", goal.wanted, KINDS[goal.kind])
        _number(f"{where}.probability", goal.probability, 0.5, 1.0 - 1e-9, open_low=True)
        _number(f"{where}.interval", goal.interval, 0.0, 1.0 - 1e-9, open_low=True)
        if goal.kind == "width":
            _number(f"{where}.width", goal.width, 0.0, open_low=True)
        if goal.kind == "bayes_factor":
            _number(f"{where}.threshold", goal.threshold, 1.0, open_low=True)
        if goal.kind == "rope" and not goal.rope[0] < goal.rope[1]:
            raise SpecError(f"{where}.rope: expected two numbers, the lower first, found {list(goal.rope)}.")
        _whole(f"{where}.at_least", (goal.at_least,), 0)
        shapes = plan.shapes.with_effect or plan.shapes.count
        if goal.at_least > shapes:
            raise SpecError(
                f"{where}.at_least: expected at most the {shapes} shapes that have the effect, found {goal.at_least}."
            )
        if goal.kind == "bayes_factor":
            _check_bayes_factor(plan, where)
        check_recovery_goal(plan, goal, where)
        _check_contradiction(plan, goal, where)


def _check_bayes_factor(plan: Plan, where: str) -> None:
    if plan.analysis.engine == "nuts" or plan.analysis.spec.family != "gaussian":
        raise SpecError(
            f"{where}: expected the collapsed engine for Bayes factors, found another: leave the goal out."
        )
    if any(isinstance(getattr(prior, "prior", prior), Flat) for prior in plan.analysis.spec.priors.values()):
        raise SpecError(
            f"{where}: expected proper priors of the effect for a Bayes factor, found a flat one."
        )


def _check_contradiction(plan: Plan, goal: Goal, where: str) -> None:
    """A goal that no assumed truth can meet rightly."""
    if plan.pipeline is not None or goal.wanted in ("", "either"):
        return
    from mien.power.cells import true_effects

    found = true_effects(plan, goal.effect)
    if any(isinstance(value, Draw) and value.sd > 0.0 for value in found):
        return
    values = [value.mean if isinstance(value, Draw) else value for value in found]
    low, high = goal.rope
    right = {
        "positive": lambda x: x > 0, "negative": lambda x: x < 0, "effect": lambda x: x != 0, "null": lambda x: x == 0,
        "reject": lambda x: not low <= x <= high, "accept": lambda x: low <= x <= high,
    }[goal.wanted]  # fmt: skip
    if not any(right(value) for value in values):
        raise SpecError(
            f"{where}.wanted: expected a decision that is right for some assumed truth, found {goal.wanted!r} with "
            f"{goal.effect} = {', '.join(f'{value:g}' for value in values)}: change one of the two."
        )


def _check_budget(plan: Plan) -> None:
    budget = plan.budget
    for name, least in (("replicates", 1), ("batch", 1), ("null_replicates", 0), ("check_replicates", 0)):
        _whole(f"budget.{name}", (getattr(budget, name),), least)
    _number("budget.half_width", budget.half_width, 0.0, 0.5)
    _number("budget.target", budget.target, 0.0, 1.0 - 1e-9, open_low=True)
    _one_of("budget.failures", budget.failures, ("not_met", "left_out"))
    for name, value in plan.cost.items():
        _one_of("cost", name, COSTS)
        _number(f"cost.{name}", value, 0.0)
    if not isinstance(plan.seed, int) or isinstance(plan.seed, bool) or plan.seed < 0:
        raise SpecError(f"seed: expected a whole number from 0, found {plan.seed!r}.")


def _check_shapes(plan: Plan) -> None:
    shapes = plan.shapes
    _whole("shapes.count", (shapes.count,), 1)
    _whole("shapes.with_effect", (shapes.with_effect,), 0)
    if shapes.with_effect > shapes.count:
        raise SpecError(f"shapes.with_effect: expected at most {shapes.count}, found {shapes.with_effect}.")
    _number("shapes.spread", shapes.spread, 0.0)
    _number("shapes.correlation", shapes.correlation, 0.0, 0.99)
