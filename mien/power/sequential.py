"""Studies that look at their data as they grow, and stop when a rule says so.

Nested cohorts are such studies already: replicate r at N = 20, 30, 40 … is one study that grows. Any rule is tried on
them afterwards, without simulating again. Looks are at the N of the grid only.

    direction      P(effect > 0) or P(effect < 0) reaches `limit`
    bayes_factor   ≥ `limit` or ≤ 1/`limit`
    rope           the interval lies wholly outside or inside `rope`
    width          the interval is at most `limit` wide; then, or at the largest N, the goal's own decision is taken

A look whose fit failed decides nothing. A study that comes to its largest N undecided has said nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mien.power.deciding import states_false
from mien.power.estimates import goal_rows, ratio_of_means, rows_by_cell, share, states_effect
from mien.power.nested import Cohort, cohorts_of
from mien.study.errors import SpecError

if TYPE_CHECKING:
    from mien.power.plan import Goal, Plan

__all__ = ["RULES", "StoppingRule", "Trajectories", "rule_of", "sequential", "trajectories"]

RULES = ("direction", "bayes_factor", "rope", "width")
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
OF_REPLICATES = ("decision", "value", "mean", "lower", "upper", "truth")


@dataclass(frozen=True)
class StoppingRule:
    """When to stop.

    Parameters
    ----------
    goal : whose posterior is looked at, and which is decided. kind, limit, rope : see the module.
    minimum : no decision below this N. maximum : the last look; 0 for the largest N of the grid.
    """

    goal: str
    kind: str
    limit: float = 0.0
    rope: tuple[float, float] = (0.0, 0.0)
    minimum: int = 0
    maximum: int = 0

    @property
    def text(self) -> str:
        """In words."""
        stop = {
            "direction": f"P(direction) ≥ {self.limit:g}",
            "bayes_factor": f"Bayes factor ≥ {self.limit:g} or ≤ 1/{self.limit:g}",
            "rope": f"interval wholly outside or inside {self.rope[0]:g} to {self.rope[1]:g}",
            "width": f"interval at most {self.limit:g} wide",
        }[self.kind]
        return stop + (f", from N = {self.minimum}" if self.minimum else "")


class Trajectories(NamedTuple):
    """Growing studies of one cohort: every array (replicate, look), NaN where a fit failed."""

    cohort: Cohort
    participants: np.ndarray
    replicate: np.ndarray
    decision: np.ndarray
    value: np.ndarray
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    truth: np.ndarray


def rule_of(goal: "Goal") -> StoppingRule:
    """The goal's own threshold, at every look."""
    limit = {"direction": goal.probability, "bayes_factor": goal.threshold, "width": goal.width}.get(
        goal.kind, 0.0
    )
    return StoppingRule(goal.name, goal.kind, limit, goal.rope)


def trajectories(rows: Mapping[str, pd.DataFrame], goal: "Goal", cohort: Cohort) -> Trajectories:
    """Replicates that were simulated at every N of the cohort that has any.

    Where a cell stopped early, later replicates of the other cells have no whole path and are not used.

    Parameters
    ----------
    rows : from `rows_by_cell`.
    """
    seen = np.array([key in rows for key in cohort.cells], dtype=bool)
    looks = [goal_rows(rows[key], goal) for key in cohort.cells if key in rows]
    whole = np.array([], dtype=int)
    for place, look in enumerate(looks):
        whole = np.intersect1d(whole, look.replicate) if place else np.unique(look.replicate)
    arrays = {name: np.full((len(whole), len(looks)), np.nan) for name in OF_REPLICATES}
    for place, look in enumerate(looks):
        used = np.isin(look.replicate, whole)  # rows are in the order of their numbers
        for name, table in arrays.items():
            table[:, place] = np.where(look.failed, np.nan, getattr(look, name))[used]
    return Trajectories(cohort, cohort.participants[seen], whole, **arrays)


def sequential(
    plan: "Plan", rows: pd.DataFrame, rule: StoppingRule, cells: pd.DataFrame | None = None
) -> pd.DataFrame:
    """A cohort of the null world or the alternatives a row; cohorts with fewer than two looks are left out.

    Returns
    -------
    rule, goal, world, cohort, the axes; looks, minimum, maximum, n (studies); expected_n with _mcse, n_10 … n_90
    (quantiles of the N at which studies end); power (the wanted decision) with mcse, lower, upper; wrong (something
    false was stated) with _mcse, _lower, _upper, in the null world the error rate; undecided in the end, with _mcse;
    stopped (share of studies that the rule ended); type_s and type_m of what is stated, which stopping at a limit makes
    larger; fixed_power: of a study that looks once, at the maximum.

    Raises
    ------
    SpecError
        For a rule that the goal's rows cannot be asked about.
    """
    goal = _goal(plan, rule)
    if cells is None:
        from mien.power.cells import cells_of, cells_table

        cells = cells_table(cells_of(plan))
    lines, grouped = [], rows_by_cell(rows)
    for world in ("null", "alternative"):
        for cohort in cohorts_of(cells, world):
            paths = _between(trajectories(grouped, goal, cohort), rule)
            if len(paths.participants) > 1 and len(paths.replicate):
                head = {"rule": rule.text, "goal": goal.name, "world": world, "cohort": cohort.key}
                lines.append(head | cohort.axes | _stopped(goal, rule, paths))
    return pd.DataFrame(lines)


def _goal(plan: "Plan", rule: StoppingRule) -> "Goal":
    goals = {goal.name: goal for goal in plan.goals}
    if rule.goal not in goals:
        raise SpecError(
            f"stopping rule: expected a goal of the plan ({', '.join(goals)}), found {rule.goal!r}."
        )
    goal = goals[rule.goal]
    if rule.kind not in RULES:
        raise SpecError(f"stopping rule: expected kind {', '.join(RULES)}, found {rule.kind!r}.")
    if rule.kind in ("direction", "bayes_factor") and goal.kind != rule.kind:
        raise SpecError(
            f"stopping rule: expected a goal of kind {rule.kind} for this rule, found {goal.name!r} of "
            f"kind {goal.kind}: its rows hold no such number."
        )
    low = {"direction": 0.5, "bayes_factor": 1.0, "width": 0.0}.get(rule.kind)
    if low is not None and not rule.limit > low:
        raise SpecError(f"stopping rule: expected a limit above {low:g}, found {rule.limit:g}.")
    if rule.kind == "rope" and not rule.rope[0] < rule.rope[1]:
        raise SpecError(
            f"stopping rule: expected two numbers for the ROPE, the lower first, found {rule.rope}."
        )
    return goal


def _between(paths: Trajectories, rule: StoppingRule) -> Trajectories:
    """The looks that the rule allows."""
    keep = paths.participants >= rule.minimum
    if rule.maximum:
        keep &= paths.participants <= rule.maximum
    arrays = {name: getattr(paths, name)[:, keep] for name in OF_REPLICATES}
    return paths._replace(participants=paths.participants[keep], **arrays)


def _decisions(rule: StoppingRule, paths: Trajectories) -> np.ndarray:
    """(replicate, look) −1, 0 or 1, what the rule says; for widths 1 to stop. NaN compares as false."""
    if rule.kind == "direction":
        return (paths.value >= rule.limit).astype(int) - (1.0 - paths.value >= rule.limit)
    if rule.kind == "bayes_factor":
        limit = math.log(rule.limit)
        return (paths.value >= limit).astype(int) - (paths.value <= -limit)
    if rule.kind == "rope":
        low, high = rule.rope
        outside = (paths.lower > high) | (paths.upper < low)
        return outside.astype(int) - ((low <= paths.lower) & (paths.upper <= high))
    return (paths.upper - paths.lower <= rule.limit).astype(int)


def _stopped(goal: "Goal", rule: StoppingRule, paths: Trajectories) -> dict[str, Any]:
    """What becomes of the studies."""
    says, each = _decisions(rule, paths), np.arange(len(paths.replicate))
    ends = np.where((says != 0).any(axis=1), np.argmax(says != 0, axis=1), says.shape[1] - 1)
    taken = np.nan_to_num(paths.decision) if rule.kind == "width" else says
    known = np.argmax(~np.isnan(paths.truth), axis=1)  # the truth of a study is the same at all its looks
    truth, judged = paths.truth[each, known], _judged(goal, rule)
    found = _sizes(paths, ends) | _shares(judged, taken[each, ends], truth, paths.mean[each, ends])
    return found | {
        "stopped": float((says[each, ends] != 0).mean()),
        "fixed_power": share(_met(judged, taken[:, -1], truth)).value,
    }


def _judged(goal: "Goal", rule: StoppingRule) -> "Goal":
    """The goal as the rule decides it."""
    if rule.kind != "rope":
        return goal
    return replace(goal, kind="rope", rope=rule.rope, wanted=goal.wanted if goal.kind == "rope" else "")


def _met(goal: "Goal", decision: np.ndarray, truth: np.ndarray) -> np.ndarray:
    wanted = _wanted(goal, truth)
    return np.where(wanted == 0, decision != 0, decision == wanted)


def _wanted(goal: "Goal", truth: np.ndarray) -> np.ndarray:
    """The decision that counts; 0 for any. As `deciding.is_met`, for many truths."""
    named = {"positive": 1, "negative": -1, "reject": 1, "accept": -1, "effect": 1, "null": -1, "either": 0}
    if goal.wanted:
        return np.full(len(truth), named[goal.wanted])
    if goal.kind == "width":
        return np.ones(len(truth))
    if goal.kind == "direction":
        return np.sign(truth)
    low, high = goal.rope if goal.kind == "rope" else (0.0, 0.0)
    return np.where((low <= truth) & (truth <= high), -1, 1)


def _sizes(paths: Trajectories, ends: np.ndarray) -> dict[str, Any]:
    n = paths.participants[ends]
    found: dict[str, Any] = {
        "looks": len(paths.participants), "minimum": float(paths.participants[0]),
        "maximum": float(paths.participants[-1]), "n": len(n), "expected_n": float(n.mean()),
        "expected_n_mcse": float(n.std() / math.sqrt(len(n))),
    }  # fmt: skip
    quantiles: Sequence[float] = np.quantile(n, QUANTILES, method="inverted_cdf").tolist()
    return found | {f"n_{100 * q:.0f}": value for q, value in zip(QUANTILES, quantiles, strict=True)}


def _shares(goal: "Goal", decision: np.ndarray, truth: np.ndarray, mean: np.ndarray) -> dict[str, Any]:
    power = share(_met(goal, decision, truth))
    wrong = share(states_false(goal, decision, truth, mean))
    undecided = share(decision == 0)
    stated = states_effect(goal, decision) & (truth != 0)
    wrong_sign = share(np.sign(mean[stated]) != np.sign(truth[stated]))
    return {
        "power": power.value, "mcse": power.mcse, "lower": power.lower, "upper": power.upper, "wrong": wrong.value,
        "wrong_mcse": wrong.mcse, "wrong_lower": wrong.lower, "wrong_upper": wrong.upper, "undecided": undecided.value,
        "undecided_mcse": undecided.mcse, "type_s": wrong_sign.value,
        "type_m": ratio_of_means(np.abs(mean[stated]), np.abs(truth[stated]))[0],
    }  # fmt: skip
