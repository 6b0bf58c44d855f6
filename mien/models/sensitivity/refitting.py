"""The same rows fitted again by the collapsed engine with other priors: all outcomes at once, no group effects."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from mien.models.engines.problem import Outcome, Problem, Settings
from mien.priors import Prior, ResolvedPrior

__all__ = [
    "Refit",
    "evidence_of",
    "refitted",
    "sampled_evidence",
    "settings_of",
    "stored_evidence",
    "with_priors",
]

POINTS, RUNS = 2000, 4  # of a fit that only an evidence is wanted from
KHAT = 0.7  # of its weights: above it their mean is not trusted


class Refit(NamedTuple):
    """tree : of all outcomes. failed : of each outcome, what its verdict misses, "" for nothing.

    log_evidence : (outcome,) nats, NaN where there is none; mcse : (outcome,).
    """

    tree: xr.DataTree
    failed: list[str]
    log_evidence: np.ndarray
    mcse: np.ndarray


def with_priors(outcome: Outcome, change: Callable[[str, Prior], Prior]) -> Outcome:
    """The outcome with its priors changed one by one."""

    def changed(name: str, resolved: ResolvedPrior) -> ResolvedPrior:
        return replace(resolved, prior=change(name, resolved.prior))

    return outcome._replace(priors={name: changed(name, one) for name, one in outcome.priors.items()})


def refitted(outcomes: Sequence[Outcome], settings: Settings) -> Refit:
    """Draws of all outcomes under the priors that they have now."""
    from mien.models.engines import load_engine
    from mien.models.posterior_tree import posterior_tree

    problem = Problem("gaussian", tuple(outcomes))
    sampled = load_engine("collapsed").sample(problem, replace(settings, group_effects=False))
    verdicts: list[Mapping[str, Any]] = [draws.verdict or {} for draws in sampled]
    failed = ["" if one.get("passed") else str(one.get("reason") or "no verdict") for one in verdicts]
    evidence = np.array([evidence_of(one) for one in verdicts]).reshape(-1, 2)
    return Refit(posterior_tree(problem, None, sampled, ()), failed, evidence[:, 0], evidence[:, 1])


def sampled_evidence(outcome: Outcome, seed: int) -> tuple[float, float]:
    """Log evidence of one outcome and its error, from one attempt of weighted points; NaN where the weights fail."""
    from mien.models.engines.collapsed.engine import outcome_seed, prepare
    from mien.models.engines.collapsed.importance import importance_sample

    prepared = prepare(Problem("gaussian", (outcome,)), of_series=True)[0]
    found = importance_sample(
        prepared.density,
        points=POINTS,
        runs=RUNS,
        seed=outcome_seed(seed, outcome.name),
        start=prepared.start,
    )
    if found.khat > KHAT:
        return np.nan, np.nan
    return found.log_evidence, found.log_evidence_mcse


def settings_of(fit: xr.DataTree, seed: int) -> Settings:
    """As many draws and chains as the fit has."""
    sizes = fit["posterior"].dataset.sizes
    return Settings(int(sizes["draw"]), int(sizes["chain"]), seed, group_effects=False)


def evidence_of(verdict: Mapping[str, Any]) -> tuple[float, float]:
    """Log evidence and its error of an engine's verdict; NaN where it was refused."""
    value, error = verdict.get("log_evidence"), verdict.get("log_evidence_mcse")
    if isinstance(value, (int, float)) and isinstance(error, (int, float)):
        return float(value), float(error)
    return np.nan, np.nan


def stored_evidence(fit: xr.DataTree, shape: str | None) -> tuple[float, float]:
    """The log evidence that a fit of the collapsed engine has with it."""
    verdicts = json.loads(str(fit.attrs.get("engine_verdict", "{}")))
    return evidence_of(verdicts.get(shape or "", {}))
