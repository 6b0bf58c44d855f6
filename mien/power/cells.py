"""The cells of a plan: one design with one truth in one world, and a key that says what its rows depend on.

    null          the effects of the goals are 0: error rates, looked at first
    ceiling       infinitely many participants: what the stimuli alone leave uncertain
    alternative   the plan's grid
    check         one more design, with seeds of its own

Cells that differ in nothing but participants are a cohort: they analyse the first N of the same simulated persons.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from mien.power.plan import AXES, Draw, Plan, Value
from mien.study.errors import SpecError
from mien.study.linear_combination import parse_linear_combination

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT", "WORLDS", "Cell", "cells_of", "cells_table", "check_cell", "true_effects", "truth_axes"]

FORMAT = "mien-power 1"  # another one wherever the same plan would give other rows
WORLDS = ("null", "ceiling", "alternative", "check")


class Cell(NamedTuple):
    """key : 16 hex, of everything that rows depend on; cohort : the same without participants.

    axes : name → number, those of the design and the true coefficients that vary ("valence"). In the ceiling
    participants are inf. coefficients : name → true value, or how it is drawn.
    """

    key: str
    world: str
    axes: Mapping[str, float]
    cohort: str
    coefficients: Mapping[str, Value]


def truth_axes(plan: Plan) -> tuple[str, ...]:
    """Coefficients whose true value varies over the grid."""
    return tuple(name for name, values in plan.truth.coefficients.items() if len(values) > 1)


def cells_of(plan: Plan) -> list[Cell]:
    """Null worlds, ceilings, then alternatives; each in the grid's order."""
    grid: list[dict[str, float]] = [
        dict(zip(AXES, values, strict=True))
        for values in itertools.product(*(getattr(plan.design, name) for name in AXES))
    ]
    grid = [axes for axes in grid if axes["pictures"] + axes["films"] > 0]
    names = tuple(plan.truth.coefficients)
    truths = [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*plan.truth.coefficients.values())
    ]
    found: dict[str, Cell] = {}
    if plan.budget.null_replicates and plan.recovery is None:
        _add(found, (_cell(plan, "null", axes, truth) for axes in grid for truth in truths))
    if _has_ceiling(plan):
        limits = ({**axes, "participants": math.inf, "missing": 0.0} for axes in grid)
        _add(found, (_cell(plan, "ceiling", axes, truth) for axes in limits for truth in truths))
    _add(found, (_cell(plan, "alternative", axes, truth) for axes in grid for truth in truths))
    return list(found.values())


def _has_ceiling(plan: Plan) -> bool:
    """Whether averages over infinitely many persons can be simulated and fitted."""
    gaussian = plan.analysis.spec.family == "gaussian" and plan.analysis.engine != "nuts"
    return gaussian and plan.pipeline is None and plan.recovery is None


def _add(found: dict[str, Cell], cells: Any) -> None:
    for cell in cells:
        found.setdefault(cell.key, cell)


def check_cell(plan: Plan, axes: Mapping[str, float]) -> Cell:
    """A cell at any design, with seeds of its own.

    Parameters
    ----------
    axes : of the design, whole numbers but `missing`; and of the coefficients that vary, one of the plan's values.
    """
    for name in (*AXES, *truth_axes(plan)):
        if name not in axes:
            raise SpecError(f"check: expected a value of {name}, found {', '.join(axes)}.")
    truth = {name: values[0] for name, values in plan.truth.coefficients.items()}
    truth |= {
        name: next(value for value in plan.truth.coefficients[name] if _mean(value) == axes[name])
        for name in truth_axes(plan)
    }
    return _cell(plan, "check", {name: axes[name] for name in AXES}, truth)


def _cell(plan: Plan, world: str, axes: Mapping[str, float], truth: Mapping[str, Value]) -> Cell:
    whole = {
        name: value if name == "missing" or math.isinf(value) else int(value) for name, value in axes.items()
    }
    shown = whole | {name: _mean(truth[name]) for name in truth_axes(plan)}
    if world == "null":
        truth, changed = _null(plan, truth)
        shown = {name: 0.0 if name in changed else value for name, value in shown.items()}
    content = _content(plan, world, whole, truth)
    alone = {**content, "design": {**content["design"], "participants": None}}
    return Cell(_sha256(content)[:16], world, shown, _sha256(alone)[:16], truth)


def _mean(value: Value) -> float:
    return value.mean if isinstance(value, Draw) else float(value)


def _null(plan: Plan, truth: Mapping[str, Value]) -> tuple[dict[str, Value], set[str]]:
    """The truth with every coefficient of the goals' effects at 0."""
    zero = {name for weights in plan.combinations for name in weights}
    if plan.truth.pilot is not None:
        return {**truth, **dict.fromkeys(sorted(zero), 0.0)}, zero
    if plan.pipeline is not None:
        return dict.fromkeys(truth, 0.0), set(truth)
    return {name: 0.0 if name in zero else value for name, value in truth.items()}, zero


def _content(plan: Plan, world: str, axes: Mapping[str, float], truth: Mapping[str, Value]) -> dict[str, Any]:
    """Everything that a row depends on, beside its number; neither names, nor budget, nor the other cells."""
    whole = plan.to_dict()
    infinite = math.isinf(axes["participants"])
    return {
        "format": FORMAT, "seed": plan.seed, "world": world,
        "design": {**axes, "participants": "infinite" if infinite else axes["participants"],
                   **{name: whole["design"][name] for name in ("dropout", "valences", "groups", "covariates")}},
        "truth": {**whole["truth"], "coefficients": {
            name: list(value) if isinstance(value, Draw) else value for name, value in truth.items()
        }},
        "analysis": {key: value for key, value in whole["analysis"].items() if key != "spec"}
        | {"formula": plan.analysis.spec.formula, "family": plan.analysis.spec.family,
           "parameters": dict(plan.analysis.spec.parameters)},
        "goals": [asdict(goal) for goal in plan.goals], "shapes": asdict(plan.shapes),
        **{name: whole[name] for name in ("pipeline", "recovery") if name in whole},
    }  # fmt: skip


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def true_effects(plan: Plan, effect: str) -> list[Value]:
    """The true values of a sum of coefficients over the grid; where parts are drawn, its mean and sd."""
    weights = parse_linear_combination(effect, plan.coefficients)
    names = [name for name in weights if name in plan.truth.coefficients]
    start, spread = 0.0, 0.0
    if plan.truth.pilot is not None:
        from mien.power.pilots import effect_of_pilot

        left = {name: weight for name, weight in weights.items() if name not in names}
        drawn = effect_of_pilot(plan.truth.pilot, left)
        start, spread = float(drawn.mean()), float(drawn.std())
    found: dict[Value, None] = {}
    for values in itertools.product(*(plan.truth.coefficients[name] for name in names)):
        pairs = [(weights[name], value) for name, value in zip(names, values, strict=True)]
        mean = start + sum(weight * _mean(value) for weight, value in pairs)
        variance = spread**2 + sum(
            (weight * value.sd) ** 2 for weight, value in pairs if isinstance(value, Draw)
        )
        found[Draw(mean, math.sqrt(variance)) if variance > 0.0 else mean] = None
    return list(found)


def cells_table(cells: Sequence[Cell]) -> "pd.DataFrame":
    """Columns cell, world, cohort, and one for each axis."""
    import pandas as pd

    return pd.DataFrame(
        [{"cell": cell.key, "world": cell.world, "cohort": cell.cohort, **cell.axes} for cell in cells]
    )
