"""The gate: is this posterior good enough to be reported?

    R-hat                     ≤ 1.01    rank-normalised, split
    effective sample size     ≥ 400     bulk, and tail (the smaller of the 5 % and 95 % quantiles)
    divergences               0
    BFMI                      ≥ 0.3     of every chain

over hyperparameters and coefficients. Group effects are counted only: there are thousands of them, and some
R-hat is always large. nutpie itself warns of nothing.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

__all__ = ["BFMI", "ESS", "R_HAT", "Gate", "array_checks", "diagnose", "gate", "scalar_draws"]

R_HAT = 1.01
ESS = 400.0
BFMI = 0.3
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


def measure(draws: np.ndarray) -> Measures:
    """Effective sizes and R-hat of (chain, draw)."""
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
    fraction = float(np.min(array_stats.bfmi(energy, chain_axis=0, draw_axis=1)))
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
    return {name: draws.astype(np.float64) for name, draws in found.items() if np.ptp(draws) > 0}


def outcomes_of(fit: xr.DataTree) -> list[str | None]:
    """The blend shapes of a fit, or [None] for a single outcome."""
    posterior = fit["posterior"].dataset
    return (
        [str(name) for name in posterior["blend_shape"].values] if "blend_shape" in posterior.dims else [None]
    )


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
        r_hat: Any = array_stats.rhat(draws, chain_axis=1, draw_axis=2, method="split")
        above += int(np.sum(r_hat > R_HAT))
        count += r_hat.size
    return above, count


def gate(fit: xr.DataTree) -> Gate:
    """Verdict and detail, from what is stored in the fit alone.

    Returns
    -------
    Gate whose detail holds the limits, the extremes over outcomes, what failed by outcome, and the count of
    group effects above the R-hat limit.
    """
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
        bfmi = float(np.min(array_stats.bfmi(energy, chain_axis=0, draw_axis=1)))
        extremes["min_bfmi"] = min(extremes["min_bfmi"], bfmi)
    above, count = _group_effects_above(fit)
    detail = {
        "limits": {"r_hat": R_HAT, "ess": ESS, "bfmi": BFMI, "divergences": 0},
        **{name: round(float(value), 4) for name, value in extremes.items()},
        "divergences": int(stats["diverging"].values.sum()),
        "outcomes": len(outcomes_of(fit)),
        "failed": failed,
        "group_effects": {"count": count, "r_hat_above_limit": above},
    }
    return Gate("failed" if failed else "passed", json.loads(json.dumps(detail)))
