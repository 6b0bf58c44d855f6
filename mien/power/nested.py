"""Cells of one cohort: the same simulated persons, the first N of them, replicate by replicate.

Neighbouring N share most of their persons, so that their estimates err together: the difference between them is known
better than that of two independent ones, and the curve is smooth. How much better is the noise ratio,

    sd(met at N₂ − met at N₁) / √(p₁(1 − p₁) + p₂(1 − p₂)),

1 for independent replicates. For the same reason an interval of anything that is read off the curve needs whole
cohorts: `resampled` draws replicate numbers with replacement, and a number brings what it gave at every N.
"""

import hashlib
import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mien.power.estimates import LEVEL, axes_of, goal_rows, rows_by_cell

if TYPE_CHECKING:
    from mien.power.plan import Goal, Plan

__all__ = ["Cohort", "cohorts_of", "met_by_replicate", "noise_ratios", "quantile_interval", "resampled"]


class Cohort(NamedTuple):
    """Cells that are nested, by participants.

    key : of the cohort. cells : their keys. participants : (cell,). axes : the others. world : of all.
    """

    key: str
    world: str
    cells: tuple[str, ...]
    participants: np.ndarray
    axes: dict[str, Any]


def cohorts_of(cells: pd.DataFrame, world: str) -> list[Cohort]:
    """Of one world, in the order of the cells."""
    some: Any = cells[cells["world"] == world]
    others = [name for name in axes_of(cells) if name != "participants"]
    found = []
    for key, nested in some.groupby("cohort", sort=False):
        mine = nested.sort_values("participants")
        found.append(
            Cohort(
                str(key), world, tuple(mine["cell"]), mine["participants"].to_numpy(dtype=np.float64),
                {name: mine[name].iloc[0] for name in others},
            )
        )  # fmt: skip
    return found


def met_by_replicate(
    plan: "Plan", rows: Mapping[str, pd.DataFrame], goal: "Goal", cohort: Cohort
) -> np.ndarray:
    """(replicate, cell) 1 or 0 whether the goal was met; NaN for what does not count or was not simulated.

    Parameters
    ----------
    rows : from `rows_by_cell`.
    """
    there = {key: goal_rows(rows[key], goal) for key in cohort.cells if key in rows}
    count = max((int(found.replicate.max()) + 1 for found in there.values()), default=0)
    table = np.full((count, len(cohort.cells)), np.nan)
    missed = 0.0 if plan.budget.failures == "not_met" else np.nan
    for place, key in enumerate(cohort.cells):
        if key in there:
            found = there[key]
            table[found.replicate, place] = np.where(found.failed, missed, found.met == 1)
    return table


def resampled(plan: "Plan", cohort: str, met: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap over replicate numbers, jointly over the cells of a cohort.

    Parameters
    ----------
    met : from `met_by_replicate`.

    Returns
    -------
    (sample, cell) how many met the goal, of how many. The seed is the plan's and the cohort's, so that goals are
    resampled alike and the same rows give the same interval.
    """
    words = np.frombuffer(hashlib.sha256(cohort.encode()).digest()[:8], dtype=np.uint32)
    rng = np.random.default_rng(
        np.random.SeedSequence(plan.seed, spawn_key=tuple(int(word) for word in words))
    )
    count = len(met)
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=samples).astype(np.float64)
    there = ~np.isnan(met)
    return weights @ np.where(there, met, 0.0), weights @ there.astype(np.float64)


def noise_ratios(plan: "Plan", rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Of every two N of a cohort of alternatives: goal, axes, participants and participants_to, spacing (their ratio),
    neighbours, replicates (in both), difference of power with its _mcse, noise_ratio with its _mcse (delta method).

    NaN where the goal was met always or never.
    """
    grouped = rows_by_cell(rows)
    lines = []
    for goal, cohort in itertools.product(plan.goals, cohorts_of(cells, "alternative")):
        met = met_by_replicate(plan, grouped, goal, cohort)
        for i, j in itertools.combinations(range(len(cohort.cells)), 2):
            line = {"goal": goal.name, **cohort.axes, "participants": cohort.participants[i]}
            line |= {"participants_to": cohort.participants[j], "neighbours": j == i + 1}
            line["spacing"] = cohort.participants[j] / cohort.participants[i]
            lines.append(line | _noise_ratio(met[:, i], met[:, j]))
    return pd.DataFrame(lines)


def _noise_ratio(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    both = ~(np.isnan(one) | np.isnan(other))
    one, other, n = one[both], other[both], int(both.sum())
    found = {"replicates": n, "difference": math.nan, "difference_mcse": math.nan}
    found |= {"noise_ratio": math.nan, "noise_ratio_mcse": math.nan}
    if n < 2:
        return found
    change = other - one
    found |= {"difference": float(change.mean()), "difference_mcse": float(change.std() / math.sqrt(n))}
    apart = one.var() + other.var()
    if apart == 0.0:
        return found
    ratio = math.sqrt(change.var() / apart)
    # Of the ratio of two variances, each a mean over replicates of squared distances from the mean.
    squares = (change - change.mean()) ** 2
    sum_of_squares = (one - one.mean()) ** 2 + (other - other.mean()) ** 2
    error = float(np.std(squares - ratio**2 * sum_of_squares)) / (apart * math.sqrt(n))
    return found | {
        "noise_ratio": ratio,
        "noise_ratio_mcse": error / (2.0 * ratio) if ratio > 0.0 else math.nan,
    }


def quantile_interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; infinite ones are values too."""
    low, high = (1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0
    ordered = np.sort(values)
    last = len(ordered) - 1
    return float(ordered[math.floor(low * last)]), float(ordered[math.ceil(high * last)])
