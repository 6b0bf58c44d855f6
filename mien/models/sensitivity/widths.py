"""`prior_widths`: the same decision under priors of an effect that are narrower and wider.

Given theta and the other priors, a Gaussian model knows of one coefficient that y says N(a(theta), v(theta)). With a
normal prior N(μ, λ²) on it, of any width, everything is exact:

    weight of theta     N(a; μ, v + λ²) / N(a; μ, v + λ₀²)          λ₀ : the fit's own
    β | theta, y        N(b, s²),  1/s² = 1/v + 1/λ²,  b = s² (a/v + μ/λ²)
    log evidence        changes by the log of the mean weight
    Bayes factor        p(y | effect) / p(y | none) = N(0; μ, λ²) / p(β = 0 | y)       (Savage-Dickey)

so that means, intervals and probabilities are those of a mixture of normals, and only theta is weighted. Where the
weights fail (khat above 0.7) the model is fitted again. The density at 0 of an effect far from 0 hangs on few thetas:
where khat says so, the Bayes factor is the ratio of evidences of the fit and of one without the effect.

Other families have no such mixture: draws are weighted by the ratio of the two priors, and there is no Bayes factor.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from mien.models.diagnostics import outcomes_of
from mien.models.effect_tables import CI_PROB, coefficient_names, decision_of, effects
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.mean_response import has_link, mean_response
from mien.models.predictive_density import picked_draws
from mien.models.refit import check_rows, coefficients_of, natural_of, outcome_of
from mien.models.sensitivity.given_theta import flat_coefficients, given_theta
from mien.models.sensitivity.parts import point_of_draws, priors_of
from mien.models.sensitivity.refitting import (
    refitted,
    sampled_evidence,
    settings_of,
    stored_evidence,
    with_priors,
)
from mien.models.sensitivity.scaling import DRAWS, cannot_refit
from mien.models.sensitivity.weights import KHAT, mean_and_mcse, weights_of
from mien.priors import Fixed, Normal
from mien.priors.powers import log_density
from mien.study.errors import FitError
from mien.study.tables import nearest

__all__ = ["FACTORS", "WIDTH_COLUMNS", "decision_range", "prior_widths"]

FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
WIDTH_COLUMNS = (
    "blend_shape", "effect", "units", "factor", "prior_mean", "prior_sd", "mean", "sd", "eti_lower", "eti_upper",
    "ci_prob", "p_direction", "direction", "in_rope", "rope", "decision", "bayes_factor", "log_bayes_factor",
    "log_bayes_factor_mcse", "log_evidence_change", "how", "bayes_factor_how", "khat", "reason",
)  # fmt: skip
MIXTURE, REFIT, WEIGHTED, FAILED = "exact given theta", "refit", "reweighted", "not reliable"
SAVAGE_DICKEY, EVIDENCES = "density at 0", "ratio of evidences"
NO_MIXTURE = "the family has no exact posterior given its parameters"


def prior_widths(
    fit: xr.DataTree,
    effect: str = "valence",
    factors: Sequence[float] = FACTORS,
    *,
    rope: float | dict[str, float] | None = None,
    ci_prob: float = CI_PROB,
    draws: int | None = DRAWS,
    refit: bool | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """An effect under prior sds that are multiplied by each factor, the prior's mean as it is.

    Parameters
    ----------
    fit : of one or many shapes, with its rows. effect : a coefficient with a normal prior.
    factors : of the prior sd.
    rope, ci_prob : as in `mien.effects`; by default the limits are those of the fit as it is, at every width.
    draws : of theta, spread evenly over the posterior's; None takes all.
    refit : whether shapes are fitted again where weights fail; None does where the engine is the collapsed one.
    seed : of refits.

    Returns
    -------
    DataFrame with `WIDTH_COLUMNS`, factors within shapes. `how` is "exact given theta", "refit", "reweighted" (families
    besides the Gaussian) or "not reliable", whose numbers are NaN and whose `reason` says why. `bayes_factor` is that
    of the effect over none; above 1 the data speak for the effect, under this prior. `log_evidence_change` is in nats
    against the fit's own prior.

    Raises
    ------
    FitError
        For an effect without a normal prior, factors that are not above 0, or a fit without rows.
    """
    require_coefficients(fit, "prior_widths")
    check_rows(fit, "prior_widths")
    if not factors or not all(np.isfinite(factor) and factor > 0 for factor in factors):
        raise FitError(f"factors: expected numbers above 0, found {factors!r}.")
    names = coefficient_names(fit)
    if effect not in names:
        raise FitError(
            f"effect: expected one of {', '.join(names)}, found {effect!r}{nearest(effect, names)}."
        )
    reason = cannot_refit(fit)
    if refit and reason:
        raise FitError(f"prior_widths: expected a fit that can be made again, but {reason}: use refit=False.")
    known = effects(fit, {effect: effect}, rope=rope, ci_prob=ci_prob)
    own = known[known["effect"] == effect].reset_index(drop=True)
    again = refit is not False and not reason
    asked = _Asked(effect, tuple(map(float, factors)), ci_prob, draws, again, seed)
    rows = []
    for number, shape in enumerate(outcomes_of(fit)):
        mine = own.iloc[number]
        common = {
            "blend_shape": shape or "", "effect": effect, "units": mine["units"], "ci_prob": ci_prob,
            "rope": float(mine["rope"]),
        }  # fmt: skip
        prior = _normal_prior(fit, shape, effect)
        gaussian = fit.attrs.get("family", "gaussian") == "gaussian"
        found = (_of_gaussian if gaussian else _of_family)(fit, shape, prior, asked, float(mine["rope"]))
        rows += [{**common, **one} for one in found]
    return pd.DataFrame(rows, columns=list(WIDTH_COLUMNS))


def decision_range(widths: pd.DataFrame) -> pd.DataFrame:
    """Over which prior widths a decision stays what it is at the fit's own.

    Parameters
    ----------
    widths : from `prior_widths`, with the factor 1 among its factors.

    Returns
    -------
    DataFrame, a row a shape: blend_shape, effect, decision (at factor 1), narrowest, widest (the factors between which
    it stays, neighbours of 1 that are not reliable ending it), stable (whether that is all of them), p_direction_least,
    bayes_factor_least, bayes_factor_most over all factors.

    Raises
    ------
    FitError
    """
    rows = []
    for shape, effect in dict.fromkeys(zip(widths["blend_shape"], widths["effect"], strict=True)):
        mine = (widths["blend_shape"] == shape) & (widths["effect"] == effect)
        table = cast(pd.DataFrame, widths[mine]).sort_values("factor").reset_index(drop=True)
        at = np.flatnonzero(table["factor"].to_numpy() == 1.0)
        if not len(at):
            raise FitError("decision_range: expected the factor 1 among those of prior_widths, found none.")
        same = (table["decision"] == table["decision"].iloc[at[0]]).to_numpy()
        low = high = int(at[0])
        while low > 0 and same[low - 1]:
            low -= 1
        while high < len(same) - 1 and same[high + 1]:
            high += 1
        rows.append({
            "blend_shape": shape, "effect": effect, "decision": table["decision"].iloc[at[0]],
            "narrowest": table["factor"].iloc[low], "widest": table["factor"].iloc[high], "stable": bool(same.all()),
            "p_direction_least": table["p_direction"].min(), "bayes_factor_least": table["bayes_factor"].min(),
            "bayes_factor_most": table["bayes_factor"].max(),
        })  # fmt: skip
    return pd.DataFrame(rows)


class _Asked(NamedTuple):
    """What `prior_widths` was asked for."""

    effect: str
    factors: tuple[float, ...]
    ci_prob: float
    draws: int | None
    refit: bool
    seed: int


def _normal_prior(fit: xr.DataTree, shape: str | None, effect: str) -> Normal:
    prior = priors_of(fit, shape).get(effect)
    if not isinstance(prior, Normal):
        raise FitError(f"effect {effect!r}: expected a coefficient with a normal prior, found {prior!r}.")
    return prior


# Gaussian models: mixtures of normals


class _OfEffect(NamedTuple):
    """y says N(mean, variance) of the effect at each draw of theta, (draw,); draws of one theta share a `point`."""

    mean: np.ndarray
    variance: np.ndarray
    point: np.ndarray

    def log_marginal(self, prior: Normal) -> np.ndarray:
        """Log p(y | theta) under a prior, up to what does not depend on it."""
        variance = self.variance + prior.sd**2
        return -0.5 * (np.log(variance) + (self.mean - prior.mean) ** 2 / variance)

    def posterior(self, prior: Normal) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of the effect at each draw."""
        variance = 1.0 / (1.0 / self.variance + prior.sd**-2.0)
        return variance * (self.mean / self.variance + prior.mean * prior.sd**-2.0), np.sqrt(variance)


class _Mixture(NamedTuple):
    """Σ weight · N(mean, sd²)."""

    weight: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def below(self, x: float) -> float:
        return float(self.weight @ ndtr((x - self.mean) / self.sd))

    def quantile(self, probability: float) -> float:
        ends = self.mean + ndtri(probability) * self.sd
        low, high = float(ends.min()), float(ends.max())
        if not high > low:
            return low
        return float(brentq(lambda x: self.below(x) - probability, low, high, xtol=1e-12 * (1.0 + abs(high))))  # pyright: ignore[reportArgumentType]

    def summary(self, rope: float, ci_prob: float) -> dict[str, object]:
        mean = float(self.weight @ self.mean)
        spread = float(self.weight @ (self.sd**2 + (self.mean - mean) ** 2))
        lower, upper = self.quantile(0.5 - ci_prob / 2), self.quantile(0.5 + ci_prob / 2)
        return {
            "mean": mean, "sd": np.sqrt(spread), **_direction(1.0 - self.below(0.0)),
            "eti_lower": lower, "eti_upper": upper, "in_rope": self.below(rope) - self.below(-rope),
            "decision": decision_of(lower, upper, rope),
        }  # fmt: skip


def _direction(above: float) -> dict[str, object]:
    return {"p_direction": max(above, 1.0 - above), "direction": 1 if above >= 0.5 else -1}


def _of_gaussian(
    fit: xr.DataTree, shape: str | None, prior: Normal, asked: _Asked, rope: float
) -> list[dict[str, object]]:
    outcome = outcome_of(fit, shape)
    picked = picked_draws(fit, asked.draws)
    own = _of_effect(fit, shape, outcome, asked.effect, picked)
    evidences = _Evidences(fit, shape, outcome, asked)
    rows = []
    for factor in asked.factors:
        wide = replace(prior, sd=prior.sd * factor)
        ratio = own.log_marginal(wide) - own.log_marginal(prior)
        weights = weights_of(ratio)
        change = float(np.logaddexp.reduce(ratio) - np.log(len(ratio)))
        row: dict[str, object] = {
            "factor": factor, "prior_mean": wide.mean, "prior_sd": wide.sd, "how": MIXTURE, "khat": weights.khat,
            "reason": "",
        }  # fmt: skip
        used, weight = own, weights.weight
        if weights.khat > KHAT:
            again = evidences.wide(wide) if asked.refit else None
            if again is None:
                why = f"khat {weights.khat:.2f} > {KHAT}"
                rows.append({**row, "how": FAILED, "reason": why, "decision": ""})
                continue
            used, change = again
            weight = np.full(len(used.point), 1.0 / len(used.point))
            row["how"] = REFIT
        mixture = _Mixture(weight, *used.posterior(wide))
        row |= {"log_evidence_change": change, **mixture.summary(rope, asked.ci_prob)}
        rows.append(row | _bayes_factor(mixture, wide, used.point, change, evidences))
    return rows


def _of_effect(
    fit: xr.DataTree, shape: str | None, outcome: Outcome, effect: str, picked: np.ndarray
) -> _OfEffect:
    natural = natural_of(fit, shape, outcome)
    natural = type(natural)(*(value[picked] for value in natural))
    first, back = np.unique(np.column_stack(natural), axis=0, return_index=True, return_inverse=True)[1:]
    given = given_theta(
        flat_coefficients(outcome, (effect,)), type(natural)(*(value[first] for value in natural))
    )
    back = back.ravel()
    place = given.free.index(effect)
    return _OfEffect(
        given.mean[back, place], given.variance(effect)[back], point_of_draws(fit, shape, picked)
    )


class _Evidences:
    """Refits of one outcome, made when they are first wanted."""

    def __init__(self, fit: xr.DataTree, shape: str | None, outcome: Outcome, asked: _Asked) -> None:
        self.fit, self.shape, self.outcome, self.asked = fit, shape, outcome, asked
        self.own = stored_evidence(fit, shape)
        self._none: tuple[float, float] | None = None

    def _with(self, prior: Normal | Fixed) -> Outcome:
        effect = self.asked.effect
        return with_priors(self.outcome, lambda name, given: prior if name == effect else given)

    def none(self) -> tuple[float, float]:
        """Log evidence without the effect, and its error; NaN where refits are not wanted or it is refused."""
        if not self.asked.refit or not np.isfinite(self.own[0]):
            return np.nan, np.nan
        if self._none is None:
            self._none = sampled_evidence(self._with(Fixed(0.0)), self.asked.seed + 101)
        return self._none

    def wide(self, prior: Normal) -> tuple[_OfEffect, float] | None:
        """What y says of the effect at a refit's draws, and the change of the log evidence; None where it failed."""
        changed = self._with(prior)
        found = refitted([changed], settings_of(self.fit, self.asked.seed + 102))
        if found.failed[0]:
            return None
        total = found.tree["posterior"].sizes["chain"] * found.tree["posterior"].sizes["draw"]
        of_effect = _of_effect(found.tree, self.shape, changed, self.asked.effect, np.arange(total))
        return of_effect, float(found.log_evidence[0] - self.own[0])


def _bayes_factor(
    mixture: _Mixture, prior: Normal, point: np.ndarray, change: float, evidences: _Evidences
) -> dict[str, object]:
    """Of the effect over none, by the density at 0 or, where that hangs on few thetas, by evidences."""
    at_zero = -0.5 * (mixture.mean / mixture.sd) ** 2 - np.log(mixture.sd)
    log_terms = at_zero + np.log(np.where(mixture.weight > 0, mixture.weight, 1e-300))
    weights = weights_of(log_terms)
    if weights.khat <= KHAT:
        before = float(log_density(prior, 0.0)) + 0.5 * np.log(2.0 * np.pi)
        value = before - float(np.logaddexp.reduce(log_terms))
        top = float(at_zero.max())
        mean, error = mean_and_mcse(np.exp(at_zero - top), mixture.weight, point)
        return _of_log(value, error / mean, SAVAGE_DICKEY)
    none, none_error = evidences.none()
    if not np.isfinite(none):
        return {"bayes_factor_how": FAILED}
    value = evidences.own[0] + change - none
    return _of_log(value, float(np.hypot(evidences.own[1], none_error)), EVIDENCES)


def _of_log(value: float, error: float, how: str) -> dict[str, object]:
    with np.errstate(over="ignore"):
        factor = float(np.exp(value))
    return {
        "bayes_factor": factor, "log_bayes_factor": value, "log_bayes_factor_mcse": error, "bayes_factor_how": how,
    }  # fmt: skip


# Other families: weighted draws


def _of_family(
    fit: xr.DataTree, shape: str | None, prior: Normal, asked: _Asked, rope: float
) -> list[dict[str, object]]:
    values, coefficient = _effect_draws(fit, shape, asked.effect)
    rows = []
    for factor in asked.factors:
        wide = replace(prior, sd=prior.sd * factor)
        weights = weights_of(log_density(wide, coefficient) - log_density(prior, coefficient))
        row: dict[str, object] = {
            "factor": factor, "prior_mean": wide.mean, "prior_sd": wide.sd, "how": WEIGHTED, "khat": weights.khat,
            "reason": "", "bayes_factor_how": NO_MIXTURE,
        }  # fmt: skip
        if weights.khat > KHAT:
            rows.append({**row, "how": FAILED, "reason": f"khat {weights.khat:.2f} > {KHAT}", "decision": ""})
        else:
            rows.append(row | _weighted_summary(values, weights.weight, rope, asked.ci_prob))
    return rows


def _effect_draws(fit: xr.DataTree, shape: str | None, effect: str) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the effect on the outcome's own scale, and of its coefficient on the link."""
    coefficient = coefficients_of(fit, shape, (effect,))[:, 0]
    if not has_link(fit):
        return coefficient, coefficient
    contrast = mean_response(fit, shape, [effect])[0].contrasts[effect]
    chains, kept = contrast.shape
    draws = len(coefficient) // chains
    own = np.floor((np.arange(kept) + 0.5) * draws / kept).astype(np.int64)  # as `mean_response` thins
    return contrast.ravel(), coefficient.reshape(chains, draws)[:, own].ravel()


def _weighted_summary(
    values: np.ndarray, weight: np.ndarray, rope: float, ci_prob: float
) -> dict[str, object]:
    mean = float(weight @ values)
    order = np.argsort(values)
    ends = np.cumsum(weight[order]) - 0.5 * weight[order]
    lower, upper = np.interp([0.5 - ci_prob / 2, 0.5 + ci_prob / 2], ends, values[order])
    return {
        "mean": mean, "sd": float(np.sqrt(weight @ (values - mean) ** 2)),
        **_direction(float(weight @ (values > 0))), "eti_lower": float(lower), "eti_upper": float(upper),
        "in_rope": float(weight @ (np.abs(values) <= rope)), "decision": decision_of(float(lower), float(upper), rope),
    }  # fmt: skip
