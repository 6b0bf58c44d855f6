"""The gate: is this posterior good enough to be reported?

    R-hat                     ≤ 1.01    rank-normalised, split
    effective sample size     ≥ 400     bulk, and tail (the smaller of the 5 % and 95 % quantiles)
    divergences               0
    BFMI                      ≥ 0.3     of every chain

over hyperparameters and coefficients. Group effects are counted only: there are thousands of them, and some
R-hat is always large. nutpie itself warns of nothing.

An engine that draws by importance sampling gives its own verdict for each outcome (`attrs["engine_verdict"]`), and
that is the gate: R-hat and autocorrelations of resampled draws are good by construction.

    khat_engine               ≤ 0.5     Pareto shape of the importance weights
    effective sample size     ≥ 400     of the weights, and of every quantity
    |z|                       ≤ 4       of every quantity between independent runs

An outcome for which the engine fell back to NUTS is judged by the first table, by the engine.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

__all__ = [
    "BFMI",
    "ESS",
    "KHAT_ENGINE",
    "R_HAT",
    "Gate",
    "Z",
    "array_checks",
    "diagnose",
    "gate",
    "measure",
    "outcomes_of",
    "scalar_draws",
    "weighted_gate",
]  # fmt: skip

R_HAT = 1.01
ESS = 400.0
BFMI = 0.3
KHAT_ENGINE = 0.5  # STATISTICS 3
Z = 4.0  # between runs; STATISTICS 3
TAIL = (0.05, 0.95)


class Gate(NamedTuple):
    """verdict : "passed" or "failed"; detail : plain data for `diagnostics_detail`."""

    verdict: str
    detail: dict


class Measures(NamedTuple):
    """Of one quantity's draws (chain, draw)."""

    ess_bulk: float
    ess_tail: float
    r_hat: float


def _array_stats() -> Any:
    """arviz-stats, which takes longer to import than most fits to run."""
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    return array_stats


def measure(draws: np.ndarray) -> Measures:
    """Effective sizes and R-hat of (chain, draw)."""
    array_stats = _array_stats()
    axes: dict[str, Any] = {"chain_axis": 0, "draw_axis": 1}
    bulk: Any = array_stats.ess(draws, method="bulk", **axes)
    tail: Any = array_stats.ess(draws, method="tail", prob=TAIL, **axes)
    r_hat: Any = array_stats.rhat(draws, **axes) if draws.shape[0] > 1 else np.nan
    return Measures(float(bulk), float(tail), float(r_hat))


def _bad(name: str, measures: Measures) -> list[str]:
    failures = []
    if not measures.r_hat <= R_HAT:
        failures.append(f"R-hat of {name} {measures.r_hat:.3f}")
    if not measures.ess_bulk >= ESS:
        failures.append(f"bulk ESS of {name} {measures.ess_bulk:.0f}")
    if not measures.ess_tail >= ESS:
        failures.append(f"tail ESS of {name} {measures.ess_tail:.0f}")
    return failures


def array_checks(
    quantities: Mapping[str, np.ndarray], energy: np.ndarray, diverging: np.ndarray
) -> list[str]:
    """What misses the gate, as texts; an empty list passes. All arrays are (chain, draw)."""
    failures = [text for name, draws in quantities.items() for text in _bad(name, measure(draws))]
    divergences = int(np.sum(diverging))
    if divergences:
        failures.append(f"{divergences} divergences")
    fraction = float(np.min(_array_stats().bfmi(energy, chain_axis=0, draw_axis=1)))
    if not fraction >= BFMI:
        failures.append(f"BFMI {fraction:.2f}")
    return failures


def scalar_draws(fit: xr.DataTree, outcome: str | None = None) -> dict[str, np.ndarray]:
    """Hyperparameters and coefficients of one outcome, (chain, draw) each; constants (Fixed) are left out."""
    posterior = fit["posterior"].dataset
    if outcome is not None:
        posterior = posterior.sel(blend_shape=outcome)
    found = {}
    for name, item in posterior.data_vars.items():
        extra = item.dims[2:]
        if not extra:
            found[str(name)] = item.values
        elif str(name).endswith("_corr"):
            labels = [str(label) for label in item[extra[0]].values]
            found |= {
                f"{name}[{labels[i]},{labels[j]}]": item.values[:, :, i, j]
                for i in range(len(labels))
                for j in range(i)
            }
        elif name == "sigma":
            labels = item[extra[0]].values
            found |= {f"sigma[{label}]": item.values[:, :, place] for place, label in enumerate(labels)}
    return {name: draws.astype(np.float64) for name, draws in found.items() if np.ptp(draws) > 0}


def outcomes_of(fit: xr.DataTree) -> list[str | None]:
    """The blend shapes of a fit, or [None] for a single outcome (which may have shapes as a group or as strata)."""
    by_outcome = fit["sample_stats" if "sample_stats" in fit.children else "posterior"].dataset
    if "blend_shape" not in by_outcome.dims:
        return [None]
    return [str(name) for name in fit["posterior"].dataset["blend_shape"].values]


def diagnose(fit: xr.DataTree) -> dict[str, dict[str, Measures]]:
    """Measures of every hyperparameter and coefficient by outcome ("" for a single one)."""
    return {
        outcome or "": {name: measure(draws) for name, draws in scalar_draws(fit, outcome).items()}
        for outcome in outcomes_of(fit)
    }


def _group_effects_above(fit: xr.DataTree) -> tuple[int, int]:
    """How many group effects have a split R-hat above the limit, and how many there are."""
    above, count = 0, 0
    for name, item in fit["posterior"].data_vars.items():
        if "|" not in str(name) or str(name).endswith("_sigma"):
            continue
        draws = item.values.reshape(*item.shape[:2], -1).transpose(2, 0, 1).astype(np.float64)
        r_hat: Any = _array_stats().rhat(draws, chain_axis=1, draw_axis=2, method="split")
        above += int(np.sum(r_hat > R_HAT))
        count += r_hat.size
    return above, count


def gate(fit: xr.DataTree) -> Gate:
    """Verdict and detail, from what is stored in the fit alone.

    Returns
    -------
    Gate whose detail has its `kind` ("sampling" or "importance"), the limits, the extremes over outcomes and what
    failed by outcome; for sampling the count of group effects above the R-hat limit, for importance how many outcomes
    needed a fallback.
    """
    own = fit.attrs.get("engine_verdict")
    return weighted_gate(json.loads(own)) if own else _sampled_gate(fit)


def weighted_gate(verdicts: Mapping[str, Mapping[str, Any]]) -> Gate:
    """The verdicts of an engine that draws by importance sampling, outcome → verdict, as one.

    The engine's word stands (`passed`, `reason`); what misses a limit in its numbers fails too.
    """
    failed = {name: texts for name, verdict in verdicts.items() if (texts := _missed(verdict))}
    weighted = [verdict for verdict in verdicts.values() if verdict.get("fallback") != "nuts"]
    fallbacks = [str(verdict["fallback"]) for verdict in verdicts.values() if verdict.get("fallback")]
    detail = {
        "kind": "importance",
        "limits": {"khat_engine": KHAT_ENGINE, "ess": ESS, "z": Z},
        "max_khat": _extreme(max, weighted, ("khat_engine",)),
        "min_ess": _extreme(min, weighted, ("ess", "ess_min")),
        "max_z": _extreme(max, weighted, ("max_z",)),
        "outcomes": len(verdicts),
        "failed": failed,
        "fallbacks": {word: fallbacks.count(word) for word in dict.fromkeys(fallbacks)},
    }
    return Gate("failed" if failed else "passed", detail)


def _missed(verdict: Mapping[str, Any]) -> list[str]:
    """What one outcome misses, as texts; an outcome that NUTS sampled is judged by the engine's word."""
    if not verdict.get("passed"):
        return [str(verdict.get("reason") or "the engine did not say why")]
    if verdict.get("fallback") == "nuts":
        return []
    texts = []
    for name, keys, limit, sign in (
        ("Pareto k", ("khat_engine",), KHAT_ENGINE, 1.0),
        ("ESS", ("ess", "ess_min"), ESS, -1.0),
        ("|z| between runs", ("max_z",), Z, 1.0),
    ):
        for key in keys:
            value = verdict.get(key)
            if value is not None and not sign * float(value) <= sign * limit:
                texts.append(f"{name} {float(value):.3g}")
    return texts


def _extreme(
    most: Callable[[list[float]], float], verdicts: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> float | None:
    """The largest or smallest number that is finite, None where there is none."""
    found = [float(verdict[key]) for verdict in verdicts for key in keys if verdict.get(key) is not None]
    finite = [value for value in found if math.isfinite(value)]
    return round(most(finite), 4) if finite else None


def _sampled_gate(fit: xr.DataTree) -> Gate:
    stats = fit["sample_stats"].dataset
    failed: dict[str, list[str]] = {}
    extremes = {"max_r_hat": 1.0, "min_ess_bulk": np.inf, "min_ess_tail": np.inf, "min_bfmi": np.inf}
    for outcome in outcomes_of(fit):
        mine = stats if outcome is None else stats.sel(blend_shape=outcome)
        quantities = {name: measure(draws) for name, draws in scalar_draws(fit, outcome).items()}
        energy, diverging = mine["energy"].values, mine["diverging"].values
        texts = [text for name, measures in quantities.items() for text in _bad(name, measures)]
        texts += array_checks({}, energy, diverging)
        if texts:
            failed[outcome or ""] = texts
        for measures in quantities.values():
            extremes["max_r_hat"] = max(extremes["max_r_hat"], measures.r_hat)
            extremes["min_ess_bulk"] = min(extremes["min_ess_bulk"], measures.ess_bulk)
            extremes["min_ess_tail"] = min(extremes["min_ess_tail"], measures.ess_tail)
        bfmi = float(np.min(_array_stats().bfmi(energy, chain_axis=0, draw_axis=1)))
        extremes["min_bfmi"] = min(extremes["min_bfmi"], bfmi)
    above, count = _group_effects_above(fit)
    detail = {
        "kind": "sampling",
        "limits": {"r_hat": R_HAT, "ess": ESS, "bfmi": BFMI, "divergences": 0},
        **{name: round(float(value), 4) for name, value in extremes.items()},
        "divergences": int(stats["diverging"].values.sum()),
        "outcomes": len(outcomes_of(fit)),
        "failed": failed,
        "group_effects": {"count": count, "r_hat_above_limit": above},
    }
    return Gate("failed" if failed else "passed", json.loads(json.dumps(detail)))
