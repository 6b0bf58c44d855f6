"""Rows of a power run whose truth is a closed form: N persons with a known sd, a normal prior, no fit.

The mean of the first N of a cohort's persons is what a study with N sees; stimuli shift all N of a replicate alike.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

PRIOR_SD = 0.1


class World(NamedTuple):
    """sd : of a person's contrast. stimulus_sd : of what all persons of a study share. effect : truths' mean and sd."""

    sd: float = 0.1
    stimulus_sd: float = 0.0
    effect: tuple[float, float] = (0.04, 0.0)


def posterior(observed, variance):
    """Mean and sd under the prior N(0, PRIOR_SD²)."""
    share = PRIOR_SD**2 / (PRIOR_SD**2 + variance)
    return share * observed, np.sqrt(share * variance)


def observed_means(rng, participants, replicates, world):
    """(replicate, N) of nested cohorts, and the truths (replicate,)."""
    truth = world.effect[0] + world.effect[1] * rng.standard_normal(replicates)
    shared = world.stimulus_sd * rng.standard_normal(replicates)
    found, total, before = [], np.zeros(replicates), 0
    for n in participants:
        total = total + np.sqrt(n - before) * world.sd * rng.standard_normal(replicates)
        found.append(truth + shared + total / n)
        before = n
    return np.column_stack(found), truth


def variances(participants, world):
    return np.array([world.sd**2 / n + world.stimulus_sd**2 for n in participants])


def decide(goal, mean, sd):
    """As in `deciding`, in one line each."""
    z = ndtri(0.5 + goal.interval / 2)
    lower, upper = mean - z * sd, mean + z * sd
    if goal.kind == "direction":
        value = ndtr(mean / sd)
        decision = (value >= goal.probability).astype(int) - (1 - value >= goal.probability)
    elif goal.kind == "rope":
        low, high = goal.rope
        value = ndtr((high - mean) / sd) - ndtr((low - mean) / sd)
        decision = ((lower > high) | (upper < low)).astype(int) - ((lower >= low) & (upper <= high))
    elif goal.kind == "width":
        value = upper - lower
        decision = (value <= goal.width).astype(int)
    else:
        value = np.log(sd / PRIOR_SD) + 0.5 * (mean / sd) ** 2
        decision = (value >= np.log(goal.threshold)).astype(int) - (value <= -np.log(goal.threshold))
    return decision, value, lower, upper


def true_decision(goal, truth):
    if goal.kind == "width":
        return np.ones(len(truth), dtype=int)
    if goal.kind == "direction":
        return np.sign(truth).astype(int)
    low, high = goal.rope if goal.kind == "rope" else (0.0, 0.0)
    return np.where((low <= truth) & (truth <= high), -1, 1)


def met(goal, decision, truth):
    names = {"positive": 1, "negative": -1, "reject": 1, "accept": -1, "effect": 1, "null": -1, "either": 0}
    wanted = np.full(len(truth), names[goal.wanted]) if goal.wanted else true_decision(goal, truth)
    return np.where(wanted == 0, decision != 0, decision == wanted)


def rows_of_cell(plan, cell, mean, sd, truth, failed=()):
    """The rows of one cell, all goals decided on this posterior."""
    count = len(truth)
    table = {"cell": [cell] * count, "replicate": np.arange(count), "failure": [""] * count}
    table |= {"n_rows": [10] * count, "engine": ["collapsed"] * count}
    for goal in plan.goals:
        decision, value, lower, upper = decide(goal, mean, sd)
        columns = {
            "met": pd.array(met(goal, decision, truth), dtype="boolean"), "decision": pd.array(decision, dtype="Int64"),
            "value": value, "mean": mean, "sd": np.broadcast_to(sd, mean.shape), "lower": lower, "upper": upper,
            "truth": truth, "decided": pd.array(met(goal, decision, truth).astype(int), dtype="Int64"),
            "false": pd.array((decision != 0).astype(int) * (decision != true_decision(goal, truth)), dtype="Int64"),
        }  # fmt: skip
        table |= {f"{goal.name}:{name}": values for name, values in columns.items()}
    frame = pd.DataFrame(table)
    for number, cause in failed:
        frame.loc[number, "failure"] = cause
        frame.loc[number, [name for name in frame if ":" in name]] = pd.NA
    return frame.assign(seconds=0.01, worker="1")


def rows_of(plan, cells, world_of, replicates, seed=0):
    """Rows of all cells (from `cells_table`), cohort by cohort.

    world_of : line of the table (a dict) → World.
    """
    parts = []
    for number, (_, cohort) in enumerate(cells.groupby("cohort", sort=False)):
        rng = np.random.default_rng([seed, number])
        lines = cohort.sort_values("participants").to_dict("records")
        world = world_of(lines[0])
        participants = [line["participants"] for line in lines]
        if np.isinf(participants[0]):
            mean = world.effect[0] + world.stimulus_sd * rng.standard_normal(replicates)
            truth, variance = np.full(replicates, world.effect[0]), np.array([world.stimulus_sd**2 + 1e-18])
            observed = mean[:, None]
        else:
            observed, truth = observed_means(rng, participants, replicates, world)
            variance = variances(participants, world)
        for place, line in enumerate(lines):
            mean, sd = posterior(observed[:, place], variance[place])
            parts.append(rows_of_cell(plan, line["cell"], mean, sd, truth))
    return pd.concat(parts, ignore_index=True)


def power_of_direction(n, world, probability=0.975):
    """P(P(effect > 0) ≥ probability) at N."""
    variance = world.sd**2 / np.asarray(n, dtype=float) + world.stimulus_sd**2
    share = PRIOR_SD**2 / (PRIOR_SD**2 + variance)
    spread = np.sqrt(variance + world.effect[1] ** 2)
    return ndtr((world.effect[0] - ndtri(probability) * np.sqrt(variance / share)) / spread)


def grid_table(participants, others=None, worlds=("alternative",)):
    """A table of cells without a plan; others : axis → values."""
    others = others or {}
    lines = []
    for world in worlds:
        for values in itertools.product(*others.values()):
            axes = dict(zip(others, values, strict=True))
            for n in [np.inf] if world == "ceiling" else participants:
                cohort = f"{world}{values}"
                lines.append(
                    {"cell": f"{cohort}{n}", "world": world, "cohort": cohort, "participants": n, **axes}
                )
    return pd.DataFrame(lines)
