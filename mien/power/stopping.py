"""When a cell has been simulated often enough.

It is looked at after every batch of replicates, in the order of their numbers and never in that of their arrival, so
that a run stops at the same replicate on any number of cores and after any interruption. A cell stops when each goal is

precise     the Wilson interval of its power is at most ± `half_width`; or
clear       its power is clear of the target, by an interval that holds at every look at once.

An ordinary interval that is looked at again and again leaves the truth sooner or later. The one used for "clear" is the
set of powers p against which the evidence so far is below 1/α: the likelihood of the replicates, averaged over a
uniform prior on the power, divided by their likelihood at p. At the true p that ratio is a martingale with mean 1, so
that it ever reaches 1/α with probability α at most (Ville's inequality), however often and whenever one looks.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from mien.power.plan import Budget

__all__ = [
    "ABSENT", "FAILED", "Look", "anytime_interval", "at_most", "batch_ends", "evidence_against", "half_width",
    "look_at", "may_stop", "stopped_at",
]  # fmt: skip

ALPHA = 0.05  # of 95 % intervals
Z = 1.959963984540054  # of the normal distribution, for the same
ABSENT, FAILED = (
    -2,
    -1,
)  # codes of a replicate that is not there yet, and of one that failed; else 0 or 1 (goal met)


class Look(NamedTuple):
    """A cell after a complete batch.

    Parameters
    ----------
    replicates : looked at, failed ones among them. counted : that count. met : of these, by goal.
    stopped : why no more are simulated: "precise", "clear of the target", "all planned", or "" to go on.
    """

    replicates: int
    counted: int
    met: tuple[int, ...]
    stopped: str


def half_width(met: int, counted: int) -> float:
    """Half the width of the 95 % Wilson interval of a share."""
    if not counted:
        return math.inf
    share, z2 = met / counted, Z * Z
    spread = math.sqrt(share * (1 - share) / counted + z2 / (4 * counted * counted))
    return Z * spread / (1 + z2 / counted)


def evidence_against(share: float, met: int, counted: int) -> float:
    """The logarithm of (likelihood averaged over a uniform prior) / (likelihood at this share)."""
    missed = counted - met
    average = math.lgamma(met + 1) + math.lgamma(missed + 1) - math.lgamma(counted + 2)
    return average - _log_power(share, met) - _log_power(1 - share, missed)


def _log_power(share: float, count: int) -> float:
    if not count:
        return 0.0
    return count * math.log(share) if share > 0 else -math.inf


def anytime_interval(met: int, counted: int) -> tuple[float, float]:
    """An interval of a share that holds with 95 % at all looks together."""
    if not counted:
        return 0.0, 1.0
    best = met / counted
    return _edge(best, 0.0, met, counted), _edge(best, 1.0, met, counted)


def _edge(inside: float, outside: float, met: int, counted: int) -> float:
    """The evidence rises from the observed share to both ends: where it reaches 1/α, by bisection."""
    if evidence_against(outside, met, counted) < -math.log(ALPHA):
        return outside
    for _ in range(50):
        middle = (inside + outside) / 2
        if evidence_against(middle, met, counted) < -math.log(ALPHA):
            inside = middle
        else:
            outside = middle
    return outside


def at_most(world: str, budget: "Budget") -> int:
    """The most replicates of a cell of this world."""
    return {"null": budget.null_replicates, "check": budget.check_replicates}.get(world, budget.replicates)


def batch_ends(most: int, batch: int) -> Iterator[int]:
    """The numbers of replicates at which a cell is looked at."""
    yield from range(batch, most, batch)
    if most:
        yield most


def look_at(codes: np.ndarray, end: int, world: str, budget: "Budget") -> Look:
    """A cell after its first `end` replicates.

    Parameters
    ----------
    codes : (replicate, goal) of `ABSENT`, `FAILED`, 0 or 1; as many rows as the cell has at most.
    """
    seen = codes[:end]
    met = tuple(int(count) for count in (seen == 1).sum(axis=0))
    failed = int((seen == FAILED).any(axis=1).sum())
    counted = end - (failed if budget.failures == "left_out" else 0)
    return Look(
        end,
        counted,
        met,
        _reason(met, counted, world, budget) or ("all planned" if end == len(codes) else ""),
    )


def may_stop(world: str, budget: "Budget") -> bool:
    """Whether any rule could stop a cell of this world before all planned replicates.

    The null world has its own number: a half-width for power near .8 is wide about an error rate of .05.
    """
    return world != "null" and (budget.half_width > 0.0 or _may_be_clear(world, budget))


def _may_be_clear(world: str, budget: "Budget") -> bool:
    """The null world and the check at the answer have no target to be clear of."""
    return budget.clear and world not in ("null", "check")


def _reason(met: tuple[int, ...], counted: int, world: str, budget: "Budget") -> str:
    """Every goal precise or clear."""
    if not may_stop(world, budget):
        return ""
    may_be_clear = _may_be_clear(world, budget)
    reasons = set()
    for count in met:
        if half_width(count, counted) <= budget.half_width:
            reasons.add("precise")
        elif may_be_clear and evidence_against(budget.target, count, counted) >= -math.log(ALPHA):
            reasons.add("clear of the target")
        else:
            return ""
    return "clear of the target" if "clear of the target" in reasons else "precise"


def stopped_at(codes: np.ndarray, world: str, budget: "Budget") -> Look:
    """The last look that complete batches allow: none after one that stops, and of no replicates at the least."""
    there = (codes != ABSENT).all(axis=1)
    complete = len(codes) if there.all() else int(np.argmin(there))
    goals = int(codes.shape[1])
    last = Look(0, 0, (0,) * goals, "" if len(codes) else "all planned")
    for end in batch_ends(len(codes), budget.batch):
        if end > complete:
            break
        last = look_at(codes, end, world, budget)
        if last.stopped:
            break
    return last
