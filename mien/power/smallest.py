"""The smallest, or the cheapest, design that reaches the power that is wanted.

Along participants every whole number between the smallest and the largest N of the grid is a candidate; along stimuli,
trials and sessions every whole number between the grid's where it has three values or more, else its values alone.
Nothing is said beyond the grid: there the answer is "beyond", with the ceiling where one was simulated.

The answer is a function of the plan and of the rows of the grid's own cells; `checks_of` gives the cells at which
independent simulations show whether it is right, and the answers say what came out.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri
from threadpoolctl import threadpool_limits

from mien.power.estimates import axes_of, clean_rows, estimates, rows_by_cell, share
from mien.power.nested import cohorts_of, met_by_replicate, quantile_interval, resampled
from mien.power.surrogate import Surrogate, surrogate_of

if TYPE_CHECKING:
    from mien.power.cells import Cell
    from mien.power.plan import Goal, Plan

__all__ = [
    "AGREES",
    "SAMPLES",
    "SEARCHED",
    "Smallest",
    "cells_at",
    "checks_of",
    "cost_of",
    "smallest_designs",
]

SEARCHED = ("participants", "pictures", "films", "trials", "sessions")
SAMPLES = 1000  # of the bootstrap
AGREES = 2.576  # standard errors within which a check agrees: 99 of 100 that are right do
STEEP = 3.5  # probits between neighbouring N (.04 to .96), from which on nothing is known of the curve between them
MOST_LEVELS, MOST_LINES = 25, 400  # of one axis but participants, of all of them together
CURVE_POINTS = 60
TIE = 1e-9


class Smallest(NamedTuple):
    """answers : the smallest or cheapest design, a goal and truth a row. designs : the smallest N of every other design
    of the grid. curves : power along participants between the simulated N.
    """

    answers: pd.DataFrame
    designs: pd.DataFrame
    curves: pd.DataFrame


class _Scenario(NamedTuple):
    """Cells of one truth, and one share lost. axes : those that are no choice. grid : cells of the alternative."""

    axes: dict[str, Any]
    grid: pd.DataFrame
    varied: list[str]
    met: np.ndarray
    counts: np.ndarray


class _Line(NamedTuple):
    """All N of one design. others : its other axes. power, errors : at every N, of the shares and of the samples.

    reached : (1 + samples,) smallest N; −inf where the smallest N of the grid does, inf where none does.
    """

    others: dict[str, int]
    participants: np.ndarray
    power: np.ndarray
    errors: np.ndarray
    reached: np.ndarray
    falls: bool


def cost_of(plan: "Plan", axes: Mapping[str, Any]) -> Any:
    """Price of a design; without prices, its number of participants.

        participant · N  +  session · N · sessions  +  trial · N · trials shown to each
        + picture · pictures · valences  +  film · films · valences

    Trials shown to each participant are (pictures + films) · valences · trials · sessions, those lost among them.
    """
    if not plan.cost:
        return axes["participants"] * 1.0
    price = {
        name: plan.cost.get(name, 0.0) for name in ("participant", "session", "trial", "picture", "film")
    }
    of_each = (
        price["participant"] + price["session"] * axes["sessions"] + price["trial"] * _trials(plan, axes)
    )
    stimuli = price["picture"] * axes["pictures"] + price["film"] * axes["films"]
    return of_each * axes["participants"] + stimuli * len(plan.design.valences)


def _trials(plan: "Plan", axes: Mapping[str, Any]) -> Any:
    """Shown to each participant."""
    stimuli = (axes["pictures"] + axes["films"]) * len(plan.design.valences)
    return stimuli * axes["trials"] * axes["sessions"]


# Answers


def smallest_designs(plan: "Plan", rows: pd.DataFrame, cells: pd.DataFrame | None = None) -> Smallest:
    """Answers of every goal and truth.

    Parameters
    ----------
    cells : as `cells_table` gives them; None takes those of the plan, and adds the checks.

    Returns
    -------
    Smallest
        answers and designs have goal, the axes, status, participants with lower and upper (inf: beyond the largest N,
        −inf: below the smallest), cost with _lower and _upper, target, power and power_error of the surrogate there,
        ceiling with _lower and _upper, largest and largest_power, surrogate, misfit; answers also check, check_n,
        check_power with _lower and _upper, check_z, agrees. status is

        - "found";
        - "smallest": the smallest design of the grid reaches the target already;
        - "beyond": none of the grid does;
        - "none": none does, and the ceiling says that no N can;
        - "falls": none does, and power falls with N;
        - "not simulated".
    """
    table = _table(plan, cells)
    rows = clean_rows(rows)
    shares = estimates(plan, rows, table)
    grouped = rows_by_cell(rows)
    parts = [_of_goal(plan, goal, grouped, table, shares) for goal in plan.goals]
    answers, designs, curves = (
        pd.concat([part[at] for part in parts if not part[at].empty], ignore_index=True)
        if any(not part[at].empty for part in parts)
        else pd.DataFrame()
        for at in range(3)
    )
    return Smallest(_checked(plan, rows, answers), designs, curves)


def checks_of(plan: "Plan", rows: pd.DataFrame) -> "list[Cell]":
    """Cells at the answers, each once; of rows of other cells than the grid's nothing is used."""
    table, rows = _table(plan, None), clean_rows(rows)
    if not set(rows["cell"]) & set(table["cell"]):
        return []
    shares = estimates(plan, rows, table)
    grouped = rows_by_cell(rows)
    return cells_at(plan, [_of_goal(plan, goal, grouped, table, shares)[0] for goal in plan.goals])


def cells_at(plan: "Plan", answers: Iterable[pd.DataFrame]) -> "list[Cell]":
    """Where answers are checked."""
    cells = [_check_of_answer(plan, answer) for table in answers for answer in table.to_dict("records")]
    return list({cell.key: cell for cell in cells if cell is not None}.values())


def _check_of_answer(plan: "Plan", answer: Mapping[Any, Any]) -> "Cell | None":
    from mien.power.cells import check_cell, truth_axes
    from mien.power.plan import AXES

    if answer["status"] != "found":
        return None
    return check_cell(plan, {name: answer[name] for name in (*AXES, *truth_axes(plan))})


def _table(plan: "Plan", cells: pd.DataFrame | None) -> pd.DataFrame:
    if cells is None:
        from mien.power.cells import cells_of, cells_table

        cells = cells_table(cells_of(plan))
    every: Any = cells
    return every[every["world"] != "check"]


@threadpool_limits.wrap(limits=1)  # sums in one order on any number of cores: the answer decides on the check
def _of_goal(
    plan: "Plan", goal: "Goal", rows: Mapping[str, pd.DataFrame], cells: pd.DataFrame, shares: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Answers, designs and curves of one goal."""
    some: Any = shares
    ceilings = some[(some["goal"] == goal.name) & (some["world"] == "alternative")]
    answers, designs, curves = [], [], []
    for scenario in _scenarios(plan, goal, rows, cells):
        head = {"goal": goal.name, **scenario.axes}
        if scenario.counts.shape[1] < 2 or not scenario.varied:
            answers.append(head | _without_curve(plan, scenario, ceilings))
            continue
        surrogate = surrogate_of(
            scenario.grid[scenario.varied].to_numpy(float), scenario.met, scenario.counts
        )
        lines = list(_lines(plan, scenario, surrogate))
        told = {"surrogate": surrogate.kind, "misfit": surrogate.misfit}
        answers.append(head | _best(plan, scenario, lines, ceilings) | told)
        for line in lines:
            if not _in_grid(scenario, line):
                continue
            designs.append(head | _of_line(plan, scenario, line, ceilings) | told)
            curves.append(_curve(head, line))
    joined = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()
    return pd.DataFrame(answers), pd.DataFrame(designs), joined


def _scenarios(
    plan: "Plan", goal: "Goal", rows: Mapping[str, pd.DataFrame], cells: pd.DataFrame
) -> Iterator[_Scenario]:
    """Each with the shares of its cells and samples of them, cohort by cohort."""
    searched = [name for name in SEARCHED if name in cells]
    others = [name for name in axes_of(cells) if name not in searched]
    found: dict[tuple, list] = {}
    for cohort in cohorts_of(cells, "alternative"):
        found.setdefault(tuple(cohort.axes[name] for name in others), []).append(cohort)
    for values, cohorts in found.items():
        designs, met, counts = [], [], []
        for cohort in cohorts:
            table = met_by_replicate(plan, rows, goal, cohort)
            there = ~np.isnan(table)
            seen = there.any(axis=0)
            if not seen.any():
                continue
            hits, of = resampled(plan, cohort.key, table, SAMPLES)
            met.append(np.vstack([np.nansum(table, axis=0), hits])[:, seen])
            counts.append(np.vstack([there.sum(axis=0), of])[:, seen])
            axes = {name: cohort.axes[name] for name in searched if name != "participants"}
            designs += [{"participants": n, **axes} for n in cohort.participants[seen]]
        grid = pd.DataFrame(designs, columns=searched)
        varied = [name for name in searched if len(set(grid[name])) > 1]
        empty = np.zeros((1 + SAMPLES, 0))
        yield _Scenario(
            dict(zip(others, values, strict=True)), grid, varied,
            np.hstack(met) if met else empty, np.hstack(counts) if counts else empty,
        )  # fmt: skip


def _without_curve(plan: "Plan", scenario: _Scenario, ceilings: pd.DataFrame) -> dict[str, Any]:
    """A single design, or none yet."""
    if scenario.counts.shape[1] == 0:
        return {"status": "not simulated", "target": plan.budget.target}
    only = {str(name): value for name, value in scenario.grid.iloc[0].items()}
    found = share(scenario.met[0, :1], int(scenario.counts[0, 0]))
    others = {name: value for name, value in only.items() if name != "participants"}
    ceiling = _ceiling(ceilings, {**scenario.axes, **others})
    status = "smallest" if found.value >= plan.budget.target else _short(plan, ceiling)
    return {
        **only, "status": status, "participants_lower": math.nan, "participants_upper": math.nan,
        "cost": cost_of(plan, only), "cost_lower": math.nan, "cost_upper": math.nan, "target": plan.budget.target,
        "power": found.value, "power_error": found.mcse, "ceiling": ceiling[0], "ceiling_lower": ceiling[1],
        "ceiling_upper": ceiling[2], "largest": float(only["participants"]), "largest_power": found.value,
        "surrogate": "", "misfit": math.nan,
    }  # fmt: skip


def _short(plan: "Plan", ceiling: tuple[float, float, float]) -> str:
    """Of a design that does not reach the target: whether more participants could."""
    return "none" if ceiling[2] < plan.budget.target else "beyond"


# Lines


def _lines(plan: "Plan", scenario: _Scenario, surrogate: Surrogate) -> Iterator[_Line]:
    grid = scenario.grid
    others = [str(name) for name in grid.columns if name != "participants"]
    n = _whole(grid["participants"].to_numpy())
    values = [_levels(grid[name].to_numpy()) for name in others]
    if math.prod(len(some) for some in values) > MOST_LINES:
        values = [sorted({int(value) for value in grid[name]}) for name in others]
    for combination in itertools.product(*values):
        design = dict(zip(others, combination, strict=True))
        if design.get("pictures", 0) + design.get("films", 0) == 0:
            continue
        columns = [n if name == "participants" else np.full(len(n), design[name]) for name in scenario.varied]
        power = surrogate.power(np.column_stack(columns).astype(float))
        yield _line(plan, scenario, design, n, power)


def _whole(values: np.ndarray) -> np.ndarray:
    return np.arange(int(values.min()), int(values.max()) + 1)


def _levels(values: np.ndarray) -> list[int]:
    """Whole numbers between the grid's where it has three that are not 0; thinned where they are many."""
    known = sorted({int(value) for value in values})
    if len(known) < 3 or known[0] == 0:
        return known
    between = np.unique(np.linspace(known[0], known[-1], MOST_LEVELS).round().astype(int))
    return sorted({*known, *between.tolist()})


def _line(
    plan: "Plan", scenario: _Scenario, design: dict[str, int], n: np.ndarray, power: np.ndarray
) -> _Line:
    """Rising curves are made to rise throughout: in their order along N."""
    rising = power[:, -1] >= power[:, 0]
    power = np.where(rising[:, None], np.sort(power, axis=1), power)
    enough = power >= plan.budget.target
    reached = np.where(enough.any(axis=1), n[np.argmax(enough, axis=1)].astype(float), math.inf)
    reached[enough[:, 0]] = -math.inf
    reached[~rising & ~enough[:, 0]] = math.inf
    return _Line(design, n, power[0], power[1:].std(axis=0), reached, bool(~rising[0]))


def _in_grid(scenario: _Scenario, line: _Line) -> bool:
    grid = scenario.grid
    same = np.ones(len(grid), dtype=bool)
    for name, value in line.others.items():
        same &= grid[name].to_numpy() == value
    return bool(same.any())


def _curve(head: Mapping[str, Any], line: _Line) -> pd.DataFrame:
    """Of some N, with a band of 95 % of simulation."""
    at = np.unique(np.linspace(0, len(line.participants) - 1, CURVE_POINTS).round().astype(int))
    half = 1.96 * line.errors[at]
    found = pd.DataFrame({"participants": line.participants[at], "power": line.power[at]})
    found["lower"] = np.clip(line.power[at] - half, 0.0, 1.0)
    found["upper"] = np.clip(line.power[at] + half, 0.0, 1.0)
    return found.assign(**{**head, **line.others})


def _of_line(plan: "Plan", scenario: _Scenario, line: _Line, ceilings: pd.DataFrame) -> dict[str, Any]:
    """The smallest N of one design."""
    n = line.participants
    found = line.reached[0]
    status = "found" if math.isfinite(found) else "smallest" if found < 0 else "beyond"
    ceiling = _ceiling(ceilings, {**scenario.axes, **line.others})
    if status == "beyond":
        status = "falls" if line.falls else _short(plan, ceiling)
    chosen = {"found": found, "smallest": float(n[0])}.get(status, math.nan)
    lower, upper = _interval(scenario, line)
    cost = _costs(plan, line, np.array([chosen, max(lower, float(n[0])), upper]))
    at = int(np.searchsorted(n, chosen)) if math.isfinite(chosen) else len(n) - 1
    return {
        **line.others, "status": status, "participants": chosen, "participants_lower": lower,
        "participants_upper": upper, "cost": cost[0], "cost_lower": cost[1], "cost_upper": cost[2],
        "target": plan.budget.target, "power": float(line.power[at]), "power_error": float(line.errors[at]),
        "ceiling": ceiling[0], "ceiling_lower": ceiling[1], "ceiling_upper": ceiling[2], "largest": float(n[-1]),
        "largest_power": float(line.power[-1]),
    }  # fmt: skip


def _costs(plan: "Plan", line: _Line, participants: np.ndarray) -> np.ndarray:
    """Of several N of one design; no price of an N that was not found."""
    known = np.isfinite(participants)
    prices = cost_of(plan, {**line.others, "participants": np.where(known, participants, 0.0)})
    return np.where(known, prices, participants)


def _interval(scenario: _Scenario, line: _Line) -> tuple[float, float]:
    """Of the bootstrap; between neighbours where the curve leaps, all that lies between them."""
    lower, upper = quantile_interval(line.reached[1:])
    if scenario.varied == ["participants"] and math.isfinite(line.reached[0]):
        n = scenario.grid["participants"].to_numpy()
        order = np.argsort(n)
        probits = ndtri((scenario.met[0] + 0.5) / (scenario.counts[0] + 1.0))[order]
        above = min(max(int(np.searchsorted(n[order], line.reached[0])), 1), len(n) - 1)
        if probits[above] - probits[above - 1] > STEEP:
            lower, upper = min(lower, n[order][above - 1] + 1.0), max(upper, float(n[order][above]))
    return lower, upper


def _ceiling(ceilings: pd.DataFrame, axes: Mapping[str, Any]) -> tuple[float, float, float]:
    """Of a design of the grid."""
    some: Any = ceilings
    for name, value in axes.items():
        some = some[some[name] == value]
    if some.empty:
        return math.nan, math.nan, math.nan
    first = some.iloc[0]
    return float(first["ceiling"]), float(first["ceiling_lower"]), float(first["ceiling_upper"])


def _best(
    plan: "Plan", scenario: _Scenario, lines: Sequence[_Line], ceilings: pd.DataFrame
) -> dict[str, Any]:
    """The cheapest of all designs; of equal ones that with the fewest trials. Its interval is at the chosen design, and
    that of the cost over all designs.
    """
    reached = np.stack(
        [np.where(np.isneginf(line.reached), line.participants[0], line.reached) for line in lines]
    )
    costs = np.stack([_costs(plan, line, mine) for line, mine in zip(lines, reached, strict=True)])
    trials = np.array([_trials(plan, line.others) for line in lines], dtype=float)
    cheap = costs[:, 0].min()
    if not math.isfinite(cheap):
        return _nothing(plan, scenario, lines, ceilings)
    tied = np.flatnonzero(costs[:, 0] <= cheap * (1.0 + TIE))
    chosen = int(tied[np.argmin(trials[tied])])
    found = _of_line(plan, scenario, lines[chosen], ceilings)
    if len(lines) > 1:
        found["cost_lower"], found["cost_upper"] = quantile_interval(costs[:, 1:].min(axis=0))
    return found


def _nothing(
    plan: "Plan", scenario: _Scenario, lines: Sequence[_Line], ceilings: pd.DataFrame
) -> dict[str, Any]:
    """Where no design of the grid reaches the target: that which comes nearest, told as what it is."""
    nearest = max(lines, key=lambda line: float(line.power.max()))
    found = _of_line(plan, scenario, nearest, ceilings)
    every = [_of_line(plan, scenario, line, ceilings)["status"] for line in lines if _in_grid(scenario, line)]
    if "beyond" in every:
        found["status"] = "beyond"
    return found


# Checks


def _checked(plan: "Plan", rows: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """The answers with what independent simulations say of them."""
    lines: list[dict[str, Any]] = []
    goals = {goal.name: goal for goal in plan.goals}
    for answer in answers.to_dict("records"):
        cell = _check_of_answer(plan, answer)
        lines.append(_check(plan, goals[answer["goal"]], rows, cell.key if cell else "", answer))
    return pd.concat([answers, pd.DataFrame(lines, index=answers.index).astype({"agrees": object})], axis=1)


def _check(
    plan: "Plan", goal: "Goal", rows: pd.DataFrame, key: str, answer: Mapping[Any, Any]
) -> dict[str, Any]:
    from mien.power.estimates import counted

    every: Any = rows
    met, n = counted(plan, every[every["cell"] == key], goal)
    found = share(met, n)
    line = {"check": key, "check_n": n, "check_power": found.value, "check_mcse": found.mcse}
    line |= {"check_lower": found.lower, "check_upper": found.upper, "check_z": math.nan, "agrees": None}
    if n:
        p = (met.sum() + 2.0) / (n + 4.0)  # its error is not 0 where all or none met the goal
        error = math.sqrt(p * (1.0 - p) / (n + 4.0) + float(answer["power_error"]) ** 2)
        z = (found.value - float(answer["power"])) / error
        line |= {"check_z": z, "agrees": bool(abs(z) <= AGREES)}
    return line
