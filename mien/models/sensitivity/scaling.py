"""`power_scaling`: would the posterior be another one if priors, or data, counted a little more?

    prior, likelihood     how far a quantity's posterior moves as the priors, or the likelihood, are raised to a power
                          alpha near 1: the gradient of the cumulative Jensen-Shannon distance by log2 alpha
    diagnosis             prior above the limit, likelihood too: "prior-data conflict"; the likelihood below it: "strong
                          prior or weak likelihood"; else "-"
    mean_shift, sd_shift  the direction: d mean / d log2 alpha of the priors in posterior sds, and d sd likewise
                          (= ln 2 · Cov(f, log prior) / sd at alpha = 1)
    mean_half, mean_double  the posterior mean with the priors counted half and twice: from true refits where the
                          engine is the collapsed one, else from weighted draws

The derivatives need no refit: at alpha = 1 they are moments of the draws. What is far from 1 does, and the refits also
confirm the weights (`refit_z`).

References
----------
Kallioinen, Paananen, Bürkner & Vehtari (2024), https://doi.org/10.1007/s11222-023-10366-5
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.diagnostics import scalar_draws
from mien.models.factors.spec import is_factor_fit
from mien.models.refit import outcome_of
from mien.models.sensitivity.parts import (
    Parts,
    chosen_priors,
    factor_units,
    parts_of,
    point_of_draws,
    priors_of,
    shapes_of,
)
from mien.models.sensitivity.refitting import refitted, settings_of, with_priors
from mien.models.sensitivity.weights import (
    ALPHAS,
    KHAT,
    Weights,
    distance_gradient,
    mean_and_mcse,
    weights_of,
)
from mien.priors import Prior
from mien.priors.powers import power_scaled
from mien.study.errors import FitError, SpecError

__all__ = ["COLUMNS", "DIAGNOSES", "POWERS", "THRESHOLD", "cannot_refit", "power_scaling", "which_prior"]

THRESHOLD = 0.05  # priorsense's default sensitivity_threshold (its documentation of powerscale_sensitivity)
POWERS = (0.5, 2.0)  # priors counted half and twice: a convention
DRAWS = 2000
DIAGNOSES = ("-", "prior-data conflict", "strong prior or weak likelihood", "not reliable")
COLUMNS = (
    "blend_shape", "parameter", "units", "mean", "sd", "prior", "likelihood", "diagnosis", "mean_shift",
    "mean_shift_mcse", "sd_shift", "mean_half", "mean_double", "how", "refit_z", "khat", "likelihood_part", "priors",
)  # fmt: skip


def power_scaling(
    fit: xr.DataTree,
    *,
    draws: int | None = DRAWS,
    refit: bool | None = None,
    parameters: Sequence[str] | None = None,
    alphas: tuple[float, float] = ALPHAS,
    seed: int = 0,
) -> pd.DataFrame:
    """How sensitive every posterior is to its priors and to the data.

    Parameters
    ----------
    fit : from any engine and family, with its rows. Of a fit pooled over shapes, the shapes' own posteriors.
    draws : that are weighted, spread evenly over the posterior's; None takes all.
    refit : whether priors counted half and twice are fitted again; None does where the engine is the collapsed one.
    parameters : only the priors of these names ("valence", "sd:1|participant") or roles ("beta", "sd", "corr",
        "sigma" …) are scaled; None scales all top-level priors together.
    alphas : the powers below and above 1 between which the gradient is taken.
    seed : of refits.

    Returns
    -------
    DataFrame with `COLUMNS`, a row for each shape and coefficient, sd, correlation, sigma, rho or further parameter (of
    co-activation: communalities). `prior` and `likelihood` are sensitivities; means are in `units`, shifts in
    posterior sds; `how` is "refit", "reweighted" or, where weights fail (khat above 0.7), "not reliable".

    Raises
    ------
    FitError
        For a fit without rows, a prior that is not there, or a refit that is asked for and cannot be made.
    """
    _check_alphas(alphas)
    can = cannot_refit(fit)
    if refit and can:
        raise FitError(f"power_scaling: expected a fit that can be made again, but {can}: use refit=False.")
    shapes = shapes_of(fit)
    every = [parts_of(fit, shape, draws) for shape in shapes]
    chosen = [chosen_priors(parts, parameters) for parts in every]
    if refit is not False and not can:
        far = _refits(fit, shapes, chosen, seed)
    else:
        far = [None] * len(shapes)
    _refuse_missing(shapes, far if refit else [])
    rows = []
    for parts, names, others in zip(every, chosen, far, strict=True):
        rows += _rows(fit, parts, names, alphas, others)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def which_prior(
    fit: xr.DataTree, *, draws: int | None = DRAWS, alphas: tuple[float, float] = ALPHAS
) -> pd.DataFrame:
    """Which prior it is: the sensitivity of every quantity to each prior alone, by weighted draws.

    Parameters
    ----------
    As in `power_scaling`.

    Returns
    -------
    DataFrame: blend_shape, parameter, prior_of (the prior's name), prior (sensitivity), mean_shift (posterior sds).
    """
    _check_alphas(alphas)
    rows = []
    for shape in shapes_of(fit):
        parts = parts_of(fit, shape, draws)
        for name, density in parts.priors.items():
            lower, upper = (weights_of((alpha - 1.0) * density) for alpha in alphas)
            for quantity, values in parts.quantities.items():
                label, parameter, _ = _names(fit, parts, quantity)
                shift, _, _ = _shifts(values, density, parts.point)
                sensitivity = distance_gradient(values, lower.weight, upper.weight, alphas)
                rows.append((label, parameter, name, sensitivity, shift))
    return pd.DataFrame(rows, columns=["blend_shape", "parameter", "prior_of", "prior", "mean_shift"])


def _refuse_missing(shapes: Sequence[str | None], far: Sequence["_Far | None"]) -> None:
    """Refits that were asked for and could not be made."""
    missing = [
        shape or "" for shape, one in zip(shapes, far, strict=False) if one is None or None in one.means
    ]
    if missing:
        raise FitError(
            f"power_scaling: expected refits with priors counted half and twice, found {len(missing)} outcomes "
            f"({', '.join(missing[:3])}) that cannot be counted so, or missed their verdict: leave refit out."
        )


def _check_alphas(alphas: tuple[float, float]) -> None:
    if not 0.0 < alphas[0] < 1.0 < alphas[1]:
        raise FitError(f"alphas: expected a power below 1 and one above, found {alphas!r}.")


def cannot_refit(fit: xr.DataTree) -> str:
    """Why a fit is not made again, "" where it can be."""
    if is_factor_fit(fit):
        return "it is one of co-activation"
    if fit.attrs.get("family", "gaussian") != "gaussian":
        return f"its family is {fit.attrs['family']}"
    if fit.attrs.get("engine") != "collapsed":
        return f"its engine is {fit.attrs.get('engine')}"
    return ""


# Rows of the table


class _Far(NamedTuple):
    """Refits of one outcome at each of `POWERS`: name → (mean, mcse); None where a verdict missed."""

    means: tuple[Mapping[str, tuple[float, float]] | None, ...]


def _rows(
    fit: xr.DataTree, parts: Parts, names: Sequence[str], alphas: tuple[float, float], far: _Far | None
) -> list[dict[str, object]]:
    log_prior = np.sum([parts.priors[name] for name in names], axis=0) + np.zeros(len(parts.likelihood))
    of_prior = [weights_of((alpha - 1.0) * log_prior) for alpha in alphas]
    of_likelihood = [weights_of((alpha - 1.0) * parts.likelihood) for alpha in alphas]
    afar = [weights_of((power - 1.0) * log_prior) for power in POWERS]
    near = max(one.khat for one in (*of_prior, *of_likelihood))
    rows = []
    for quantity, values in parts.quantities.items():
        label, parameter, units = _names(fit, parts, quantity)
        prior, likelihood = (
            distance_gradient(values, pair[0].weight, pair[1].weight, alphas)
            for pair in (of_prior, of_likelihood)
        )
        shift, error, sd_shift = _shifts(values, log_prior, parts.point)
        rows.append({
            "blend_shape": label, "parameter": parameter, "units": units, "mean": float(values.mean()),
            "sd": float(values.std()), "prior": prior, "likelihood": likelihood,
            "diagnosis": _diagnosis(prior, likelihood, near), "mean_shift": shift, "mean_shift_mcse": error,
            "sd_shift": sd_shift, **_far_columns(quantity, values, parts.point, afar, far, near),
            "likelihood_part": parts.likelihood_part, "priors": ", ".join(names),
        })  # fmt: skip
    return rows


def _names(fit: xr.DataTree, parts: Parts, quantity: str) -> tuple[str, str, str]:
    """Blend shape, parameter and units."""
    if is_factor_fit(fit):
        return factor_units(quantity)
    label = parts.shape or ""
    if "_corr[" in quantity or quantity == "rho":
        return label, quantity, "correlation"
    known = quantity in parts.coefficients or quantity.endswith("_sigma")
    linked = str(fit.attrs.get("family", "gaussian")) not in ("gaussian", "student_t")
    if linked and known:
        return label, quantity, "link"
    if not known and not quantity.startswith("sigma"):
        return label, quantity, "of the family"
    contrasts = json.loads(fit.attrs["model_spec"]).get("contrasts", {})
    return label, quantity, "contrast" if label in contrasts else str(fit.attrs["units"])


def _diagnosis(prior: float, likelihood: float, khat: float) -> str:
    if khat > KHAT:
        return DIAGNOSES[3]
    if prior < THRESHOLD:
        return DIAGNOSES[0]
    return DIAGNOSES[1] if likelihood >= THRESHOLD else DIAGNOSES[2]


def _shifts(values: np.ndarray, log_prior: np.ndarray, point: np.ndarray) -> tuple[float, float, float]:
    """Derivatives of mean and sd by log2 alpha, in sds, with the Monte-Carlo error of the first."""
    standard = (values - values.mean()) / values.std()
    along = np.log(2.0) * (log_prior - log_prior.mean())
    even = np.full(len(values), 1.0 / len(values))
    shift, error = mean_and_mcse(standard * along, even, point)
    return shift, error, 0.5 * float((standard**2 * along).mean())


def _far_columns(
    quantity: str, values: np.ndarray, point: np.ndarray, afar: list[Weights], far: _Far | None, near: float
) -> dict[str, object]:
    """Means with priors counted half and twice."""
    weighted = [mean_and_mcse(values, one.weight, point) for one in afar]
    if far is None or None in far.means:
        khat = max(near, *(one.khat for one in afar))
        bad = khat > KHAT
        means = [np.nan if one.khat > KHAT else mean for (mean, _), one in zip(weighted, afar, strict=True)]
        how = "not reliable" if bad else "reweighted"
        return {"mean_half": means[0], "mean_double": means[1], "how": how, "refit_z": np.nan, "khat": khat}
    found = [of_power[quantity] for of_power in far.means if of_power is not None]
    apart = [
        abs(mean - again) / np.hypot(error, other) if one.khat <= KHAT else np.nan
        for (mean, error), (again, other), one in zip(weighted, found, afar, strict=True)
    ]
    z = float(np.nanmax(apart)) if np.isfinite(apart).any() else np.nan
    return {"mean_half": found[0][0], "mean_double": found[1][0], "how": "refit", "refit_z": z, "khat": near}


# Refits


def _refits(
    fit: xr.DataTree, shapes: Sequence[str | None], chosen: Sequence[Sequence[str]], seed: int
) -> list[_Far | None]:
    """Of every outcome, all outcomes at once; None where a prior cannot be scaled so far."""
    outcomes = [outcome_of(fit, shape) for shape in shapes]
    can = [_all_scale(priors_of(fit, shape), names) for shape, names in zip(shapes, chosen, strict=True)]
    means: list[list[Mapping[str, tuple[float, float]] | None]] = [[] for _ in shapes]
    if not any(can):
        return [None] * len(shapes)
    for number, power in enumerate(POWERS):

        def scaled(names: Sequence[str], power: float = power):
            return lambda name, prior: power_scaled(prior, power) if name in names else prior

        mine = [
            with_priors(outcome, scaled(names))
            for outcome, names, possible in zip(outcomes, chosen, can, strict=True)
            if possible
        ]
        again = refitted(mine, settings_of(fit, seed + 1 + number))
        place = 0
        for at, shape in enumerate(shapes):
            if can[at]:
                means[at].append(None if again.failed[place] else _means(again.tree, shape))
                place += 1
    return [
        _Far(tuple(of_outcome)) if possible else None for of_outcome, possible in zip(means, can, strict=True)
    ]


def _all_scale(priors: Mapping[str, Prior], names: Sequence[str]) -> bool:
    try:
        for name in names:
            for power in POWERS:
                power_scaled(priors[name], power)
    except SpecError:
        return False
    return True


def _means(tree: xr.DataTree, shape: str | None) -> dict[str, tuple[float, float]]:
    """Mean and Monte-Carlo error of every quantity."""
    found = {}
    for name, values in scalar_draws(tree, shape).items():
        flat = values.reshape(-1)
        point = point_of_draws(tree, shape, np.arange(len(flat)))
        found[name] = mean_and_mcse(flat, np.full(len(flat), 1.0 / len(flat)), point)
    return found
