"""How many participants, stimuli and trials: simulate, fit and decide, many times.

Files in reading order: plan (what is asked, as plain data), plan_file (PLAN.toml), template (a first one), cells (the
designs × truths that are simulated), designs (a cell's rows), simulating (one replicate's data), deciding (a posterior
and a goal → a decision), replicates (rows of a cell, a function of plan, cell and number alone).

Special plans: pilots (a fit's posterior as the truth), pipeline (from raw frames), recovery (factors).
Running: store (a folder of rows), stopping (when a cell has enough), executors (here, processes, Dask), running.
Answers: estimates, surrogate (smallest or cheapest design), sequential, justification, answers.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.power.plan import Plan
    from mien.power.plan_file import read_plan

__all__ = ["Plan", "read_plan"]

_HOMES = {"Plan": "plan", "read_plan": "plan_file"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
