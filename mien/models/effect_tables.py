"""`effects`: what a fit says about its coefficients, one row an effect and blend shape.

interval      equal-tailed (ETI), 95 % unless told
p_direction   posterior probability of the more probable sign, 0.5-1
in_rope       share of the posterior inside ±rope; rope = 0.1 residual sd unless told
decision      where the *interval* lies: inside | outside | undecided (never "no effect")
beta_std      b · sd(x) / sd(y), sd(y) from the model draw by draw: coefficients + groups + residual
beta_sigma    b / sigma, draw by draw
units         "probability" of chances; "contrast" where a row is a weighted sum of shapes: the units of its weights
pooled_…      the same effect pooled over shapes, where the fit has it (`pooling`), and what pooling took away

With a link (`likelihoods`) effects are contrasts of the mean response over persons and stimuli (`mean_response`), each
followed by its parts: "valence", "valence (chance of moving)", "valence (mean when moving)", "valence (chance of 1)".
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.design import RESERVED_NAMES
from mien.models.diagnostics import measure, outcomes_of
from mien.models.factors.spec import require_coefficients
from mien.models.mean_response import (
    effect_names,
    has_link,
    mean_response,
    parameter_variables,
    residual_sd,
)
from mien.models.pooling import POOLED_COLUMNS, with_pooled
from mien.models.smooths import is_smooth_term, sd_name
from mien.study.blend_shapes import region
from mien.study.errors import FitError
from mien.study.linear_combination import parse_linear_combination

__all__ = ["COLUMNS", "ROPE_OF_SIGMA", "coefficient_names", "decision_of", "effects"]

ROPE_OF_SIGMA = 0.1  # residual sds; STATISTICS 8
CI_PROB = 0.95
ROUNDING = 1e-12  # of a contrast that the model holds at 0
COLUMNS = (
    "effect", "blend_shape", "region", "units", "mean", "sd", "eti_lower", "eti_upper", "ci_kind", "ci_prob",
    "p_direction", "direction", "in_rope", "rope", "decision", "beta_std", "beta_std_lower", "beta_std_upper",
    "beta_sigma", "beta_sigma_lower", "beta_sigma_upper", "mcse_mean", "ess_bulk", "ess_tail", "r_hat", "verdict",
    *POOLED_COLUMNS,
)  # fmt: skip


class _Outcome(NamedTuple):
    """One outcome's draws (chain, draw) and the moments of its columns."""

    name: str
    coefficients: Mapping[str, np.ndarray]
    sigma: np.ndarray
    sd_y: np.ndarray  # (chain, draw), NaN when the data were not stored
    sd_x: Mapping[str, float]


def effects(
    fit: xr.DataTree,
    hypotheses: Mapping[str, str] | None = None,
    *,
    rope: float | Mapping[str, float] | None = None,
    ci_prob: float = CI_PROB,
) -> pd.DataFrame:
    """A tidy table of effects.

    Parameters
    ----------
    fit : from `mien.fit` or `mien.load`.
    hypotheses : name → linear expression of coefficients, ``{"smile to films": "valence + valence:medium / 2"}``;
        None takes every coefficient but the intercept (the intercept too when it is the only one).
    rope : half-width in units of the outcome, for all or by blend shape; None is 0.1 posterior-mean residual sd.
    ci_prob : level of the interval.

    Returns
    -------
    DataFrame with `COLUMNS`, effects within shapes. `beta_std` of a hypothesis takes sd(x) of the first
    coefficient that it names.

    Raises
    ------
    SpecError
        For an expression that names no coefficient or is not linear.
    """
    if not 0 < ci_prob < 1:
        raise FitError(f"ci_prob: expected a number between 0 and 1, found {ci_prob!r}.")
    require_coefficients(fit, "effects")
    names = coefficient_names(fit)
    asked = hypotheses or {name: name for name in names if name != "Intercept"} or {"Intercept": "Intercept"}
    weights = {effect: parse_linear_combination(text, names) for effect, text in asked.items()}
    failed = json.loads(fit.attrs["diagnostics_detail"])["failed"]
    contrasts = json.loads(fit.attrs["model_spec"])["contrasts"]
    rows = []
    for label in outcomes_of(fit):
        parts = _parts(fit, label, names)
        units = "contrast" if label in contrasts else str(fit.attrs["units"])
        for effect, combination in weights.items():
            for part, outcome in parts.items():
                if part and not _moves(outcome, combination):  # by the model, not by the data
                    continue
                width = _rope(None if "chance" in part else rope, outcome)
                row = _row(outcome, combination, width, ci_prob)
                verdict = "failed" if (label or "") in failed else "passed"
                rows.append(
                    {"effect": f"{effect} ({part})" if part else effect, "blend_shape": outcome.name,
                     "region": region(outcome.name) if label else "",
                     "units": "probability" if "chance" in part else units, **row, "verdict": verdict}
                )  # fmt: skip
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in POOLED_COLUMNS])
    return with_pooled(table, fit, weights, ci_prob)


def coefficient_names(fit: xr.DataTree) -> list[str]:
    """Names of the coefficients of a fit, the intercept among them."""
    if has_link(fit):
        return effect_names(fit)
    posterior = fit["posterior"].dataset
    lead = 2 if outcomes_of(fit) == [None] else 3
    reserved = {*RESERVED_NAMES, *parameter_variables(fit)}
    return [
        str(name)
        for name, item in posterior.data_vars.items()
        if item.ndim == lead and name not in reserved and not str(name).endswith("_sigma")
    ]


def _parts(fit: xr.DataTree, label: str | None, names: list[str]) -> dict[str, _Outcome]:
    """The response, and with a link its parts."""
    if not has_link(fit):
        return {"": _outcome(fit, label, names)}
    return {
        one.part: _Outcome(label or "", one.contrasts, one.sigma, one.sd_y, one.sd_x)
        for one in mean_response(fit, label, names)
    }


def _moves(outcome: _Outcome, combination: Mapping[str, float]) -> bool:
    """Whether the model lets a contrast differ from 0."""
    draws = [weight * outcome.coefficients[name] for name, weight in combination.items()]
    return bool(np.abs(sum(draws)).max() > ROUNDING)


def _outcome(fit: xr.DataTree, label: str | None, names: list[str]) -> _Outcome:
    posterior = fit["posterior"].dataset
    if label is not None:
        posterior = posterior.sel(blend_shape=label)
    coefficients = {name: posterior[name].to_numpy().astype(np.float64) for name in names}
    sigma = residual_sd(fit, label)
    rows = _rows(fit, label)
    if rows is None:
        typical = np.sqrt(np.mean(sigma**2, axis=-1)) if sigma.ndim > 2 else sigma
        return _Outcome(label or "", coefficients, typical, np.full(typical.shape, np.nan), {})
    typical = _typical_sigma(sigma, rows)
    sd_y, sd_x = _spreads(posterior, rows, coefficients, _residual_variance(sigma, rows))
    return _Outcome(label or "", coefficients, typical, sd_y, sd_x)


class _Rows(NamedTuple):
    """The rows of one outcome: constants there, and how many single values each row stands for."""

    constants: xr.Dataset
    used: np.ndarray
    replicates: np.ndarray
    share: np.ndarray  # (row,) of replicates, sums to 1

    def column(self, name: str) -> np.ndarray:
        return self.constants[name].to_numpy()[self.used]


def _rows(fit: xr.DataTree, label: str | None) -> _Rows | None:
    """None when the data were not stored."""
    if "constant_data" not in fit.children:
        return None
    constants, observed = fit["constant_data"].dataset, fit["observed_data"].dataset["outcome"]
    if label is not None:
        observed = observed.sel(blend_shape=label)
        constants = constants.sel(blend_shape=label) if "blend_shape" in constants.dims else constants
    used = np.isfinite(observed.values)
    count = constants["count"].to_numpy()[used] if "count" in constants else np.ones(int(used.sum()))
    return _Rows(constants, used, count, count / count.sum())


def _typical_sigma(sigma: np.ndarray, rows: _Rows) -> np.ndarray:
    """(chain, draw): sigma, with strata the root of its mean square over rows."""
    if sigma.ndim == 2:
        return sigma
    strata = rows.column("stratum index").astype(np.int64)
    return np.sqrt(sigma**2 @ np.bincount(strata, weights=rows.share, minlength=sigma.shape[-1]))


def _residual_variance(sigma: np.ndarray, rows: _Rows) -> np.ndarray:
    """(chain, draw): the mean residual variance of a single value."""
    scale = rows.share * rows.replicates / rows.column("root_precision") ** 2
    if sigma.ndim == 2:
        variance = sigma**2 * scale.sum()
    else:
        strata = rows.column("stratum index").astype(np.int64)
        variance = sigma**2 @ np.bincount(strata, weights=scale, minlength=sigma.shape[-1])
    if "known_variance" in rows.constants:
        variance = variance + rows.share @ rows.column("known_variance")
    return variance


def _spreads(
    posterior: xr.Dataset, rows: _Rows, coefficients: Mapping[str, np.ndarray], residual: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """sd(y) that the model implies for the rows fitted, a draw, and sd(x) of every column."""
    variance = residual
    sd_x: dict[str, float] = {}
    if coefficients:
        columns = rows.column("design")
        stacked = np.stack([coefficients[name] for name in coefficients], axis=-1)
        centred = columns - rows.share @ columns
        covariance = centred.T @ (centred * rows.share[:, None])
        variance = variance + np.einsum("cdi,ij,cdj->cd", stacked, covariance, stacked)
        sd_x = {name: float(np.sqrt(covariance[place, place])) for place, name in enumerate(coefficients)}
    return np.sqrt(variance + _group_variance(rows, posterior)), sd_x


def _group_variance(rows: _Rows, posterior: xr.Dataset) -> np.ndarray | float:
    """Mean over rows of z'Σz, for all factors."""
    total: np.ndarray | float = 0.0
    columns = {
        str(name).removesuffix(" column"): rows.column(str(name))
        for name in rows.constants.data_vars
        if str(name).endswith(" column")
    }
    factors = dict.fromkeys(name.rpartition("|")[2] for name in columns)
    for factor in factors:
        terms = [name for name in columns if name.rpartition("|")[2] == factor]
        matrix = np.stack([columns[name] for name in terms], axis=1)
        moments = matrix.T @ (matrix * rows.share[:, None])
        sds = np.stack(
            [posterior[f"{sd_name(*name.rsplit('|', 1))}_sigma"].to_numpy() for name in terms], axis=-1
        )
        corr = np.broadcast_to(np.eye(len(terms)), (*sds.shape, len(terms)))
        if f"{factor}_corr" in posterior:
            straight = [
                place for place, name in enumerate(terms) if not is_smooth_term(name.rpartition("|")[0])
            ]
            corr = corr.copy()
            corr[..., *np.ix_(straight, straight)] = posterior[f"{factor}_corr"].to_numpy()
        total = total + np.einsum("cdi,cdj,ij,cdij->cd", sds, sds, moments, corr)
    return total


def _rope(rope: float | Mapping[str, float] | None, outcome: _Outcome) -> float:
    width = rope.get(outcome.name) if isinstance(rope, Mapping) else rope
    if width is None:
        return ROPE_OF_SIGMA * float(outcome.sigma.mean())
    if not (np.isfinite(width) and width >= 0):
        raise FitError(f"rope: expected a half-width of 0 or more, found {width!r}.")
    return float(width)


def _row(
    outcome: _Outcome, combination: Mapping[str, float], rope: float, ci_prob: float
) -> dict[str, object]:
    draws = sum(weight * outcome.coefficients[name] for name, weight in combination.items())
    draws = np.asarray(draws)
    tails = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
    lower, upper = np.quantile(draws, tails)
    positive = float((draws > 0).mean())
    sd_x = outcome.sd_x.get(next(iter(combination)), np.nan)
    standardised = draws * sd_x / outcome.sd_y
    in_sigmas = draws / outcome.sigma
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    moving = np.ptp(draws) > 0
    measures = measure(draws) if moving else (np.nan, np.nan, np.nan)
    error: Any = array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean") if moving else 0.0
    return {
        "mean": float(draws.mean()), "sd": float(draws.std(ddof=1)),
        "eti_lower": float(lower), "eti_upper": float(upper), "ci_kind": "eti", "ci_prob": ci_prob,
        "p_direction": max(positive, 1.0 - positive), "direction": 1 if positive >= 0.5 else -1,
        "in_rope": float((np.abs(draws) <= rope).mean()), "rope": rope, "decision": decision_of(lower, upper, rope),
        "beta_std": float(standardised.mean()),
        "beta_std_lower": float(np.quantile(standardised, tails[0])),
        "beta_std_upper": float(np.quantile(standardised, tails[1])),
        "beta_sigma": float(in_sigmas.mean()),
        "beta_sigma_lower": float(np.quantile(in_sigmas, tails[0])),
        "beta_sigma_upper": float(np.quantile(in_sigmas, tails[1])),
        "mcse_mean": float(error), "ess_bulk": measures[0], "ess_tail": measures[1], "r_hat": measures[2],
    }  # fmt: skip


def decision_of(lower: float, upper: float, rope: float) -> str:
    """Where an interval lies: inside the ROPE, outside, or undecided."""
    if -rope <= lower and upper <= rope:
        return "inside"
    if lower > rope or upper < -rope:
        return "outside"
    return "undecided"
