"""What a posterior is made of, draw by draw: the log density of every top-level prior, and the log likelihood.

    prior part        one array for each prior of a coefficient, sd, correlation, sigma, rho or further parameter. The
                      distribution of group effects is not a prior here: it is a part of the model
    likelihood part   Gaussian      log p(y | β, theta), group effects integrated out (`given_theta`)
                      co-activation log p(y | Λ, Ψ), scores, group effects and coefficients integrated out
                      other families log p(y | β, u, parameters): no integral over effects has a closed form

Priors are looked at on the scale that they are given on: rho on atanh, further parameters on their links.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from mien.models.design import Design
from mien.models.diagnostics import outcomes_of, scalar_draws
from mien.models.factors.spec import is_factor_fit
from mien.models.likelihoods import LIKELIHOODS
from mien.models.predictive_density import picked_draws
from mien.models.prior_freezing import stored_priors
from mien.models.refit import (
    check_rows,
    coefficients_of,
    design_of,
    natural_of,
    of_shape,
    outcome_of,
)
from mien.models.sensitivity.given_theta import flat_coefficients, given_theta
from mien.priors import Fixed, Flat, Normal, Prior
from mien.priors.powers import log_density
from mien.study.errors import FitError
from mien.study.tables import nearest

__all__ = [
    "GIVEN",
    "INTEGRATED",
    "Parts",
    "chosen_priors",
    "factor_units",
    "parts_of",
    "point_of_draws",
    "priors_of",
]

INTEGRATED, GIVEN = "effects integrated out", "given the effects"
LEVELS = {"within": "", "between": "between_"}


class Parts(NamedTuple):
    """One outcome's draws, `picked` among all of its fit's.

    shape : its name, None for a single one. coefficients : names, those of the mean. quantities : name → (draw,).
    priors : name of the prior → (draw,) log density, but for flat and fixed ones.
    likelihood : (draw,); likelihood_part : what it is. point : (draw,), the same for draws that share a theta.
    """

    shape: str | None
    coefficients: tuple[str, ...]
    quantities: Mapping[str, np.ndarray]
    priors: Mapping[str, np.ndarray]
    likelihood: np.ndarray
    likelihood_part: str
    point: np.ndarray


def parts_of(fit: xr.DataTree, shape: str | None, draws: int | None) -> Parts:
    """The parts of one outcome; of a co-activation fit, which has a single one for all shapes, those of all.

    Parameters
    ----------
    draws : how many, spread evenly; None takes all.

    Raises
    ------
    FitError
        For a fit that does not hold its rows or, of other families than the Gaussian, its group effects.
    """
    picked = picked_draws(fit, draws)
    if is_factor_fit(fit):
        return _of_factors(fit, picked)
    check_rows(fit, "sensitivity")
    quantities = {name: values.reshape(-1)[picked] for name, values in scalar_draws(fit, shape).items()}
    point = point_of_draws(fit, shape, picked)
    design = design_of(fit, shape)
    priors = {name: density[picked] for name, density in _prior_densities(fit, shape, design).items()}
    start = shape, design.coefficients, quantities, priors
    if fit.attrs.get("family", "gaussian") == "gaussian":
        return Parts(*start, _integrated(fit, shape, picked), INTEGRATED, point)
    from mien.models.family_rows import family_rows, row_densities

    rows = family_rows(fit, shape, picked, what="sensitivity")
    return Parts(*start, row_densities(rows).sum(axis=0), GIVEN, point)


def point_of_draws(fit: xr.DataTree, shape: str | None, picked: np.ndarray) -> np.ndarray:
    """(draw,) a number for each theta: draws of one weighted point share it."""
    stats = fit["sample_stats"].dataset
    if "point" not in stats:
        return picked
    return of_shape(stats, shape)["point"].to_numpy().reshape(-1)[picked]


def priors_of(fit: xr.DataTree, shape: str | None) -> dict[str, Prior]:
    """The priors of one outcome by name, as the fit had them."""
    return {name: resolved.prior for name, resolved in stored_priors(fit)[shape or ""].items()}


# Priors


def _prior_densities(fit: xr.DataTree, shape: str | None, design: Design) -> dict[str, np.ndarray]:
    """Name → (draw,), every draw of the fit."""
    posterior = of_shape(fit["posterior"].dataset, shape)
    family = str(fit.attrs.get("family", "gaussian"))
    found = {}
    for name, prior in priors_of(fit, shape).items():
        if isinstance(prior, (Flat, Fixed)):
            continue
        if name.startswith("corr:"):
            found[name] = _correlation_density(posterior, design, name.removeprefix("corr:"), prior)
            continue
        values = _values(posterior, name)
        if isinstance(prior, Normal) and name not in design.coefficients:
            values = _on_normal_scale(family, name)(values)
        found[name] = log_density(prior, values)
    return found


def _values(posterior: xr.Dataset, name: str) -> np.ndarray:
    """(draw,) of the parameter that a prior is of."""
    if name.startswith("sd:"):
        return _flat(posterior[f"{name.removeprefix('sd:')}_sigma"])
    if name.startswith("sigma:"):
        sigma, label = posterior["sigma"], name.removeprefix("sigma:")
        return _flat(sigma.sel({next(str(dim) for dim in sigma.dims if dim not in ("chain", "draw")): label}))
    return _flat(posterior[name])


def _flat(values: xr.DataArray) -> np.ndarray:
    return values.to_numpy().reshape(-1).astype(np.float64)


def _on_normal_scale(family: str, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The link on which a parameter has its normal prior."""
    if name == "rho":
        return np.arctanh
    link = LIKELIHOODS[family].parameters.get(name, "") if family in LIKELIHOODS else ""
    return {"log": np.log, "logit": lambda p: np.log(p) - np.log1p(-p)}.get(link, np.asarray)


def _correlation_density(posterior: xr.Dataset, design: Design, factor: str, prior: Prior) -> np.ndarray:
    """LKJ of every block of a factor, up to its constant."""
    matrix = posterior[f"{factor}_corr"].to_numpy().astype(np.float64)
    matrix = matrix.reshape(-1, *matrix.shape[-2:])
    total, at = np.zeros(len(matrix)), 0
    for block in design.blocks:
        k = len(block.terms)
        if block.factor == factor and k > 1:
            mine = matrix[:, at : at + k, at : at + k]
            total += log_density(prior, np.linalg.slogdet(mine)[1])
        at += k if block.factor == factor else 0
    return total


# Likelihoods


def _integrated(fit: xr.DataTree, shape: str | None, picked: np.ndarray) -> np.ndarray:
    """(draw,) log p(y | β, theta) of a Gaussian fit from any engine."""
    outcome = outcome_of(fit, shape)
    natural = natural_of(fit, shape, outcome)
    natural = type(natural)(*(value[picked] for value in natural))
    first, back = np.unique(np.column_stack(natural), axis=0, return_index=True, return_inverse=True)[1:]
    given = given_theta(flat_coefficients(outcome), type(natural)(*(value[first] for value in natural)))
    back = back.ravel()
    given = given._replace(log_density=given.log_density[back], mean=given.mean[back], root=given.root[back])
    return given.log_likelihood(coefficients_of(fit, shape, given.free)[picked])


# Co-activation


def _of_factors(fit: xr.DataTree, picked: np.ndarray) -> Parts:
    from mien.models.factors.conditional import bases, parameters, stored_rows
    from mien.models.factors.left_out import rows_log_density

    rows, posterior = stored_rows(fit), fit["posterior"].dataset
    drawn = parameters(fit)
    drawn = type(drawn)(*(values[picked] for values in drawn))
    quantities, priors = {}, {}
    resolved = priors_of(fit, None)
    shapes = [str(name) for name in posterior["blend_shape"].to_numpy()]
    for level, lead in LEVELS.items():
        if not posterior[f"{lead}loading"].shape[-1]:
            names = (f"{lead}uniqueness",)
        else:
            names = (f"{lead}loading_sd", f"{lead}uniqueness")
            for place, shape in enumerate(shapes):
                shares = posterior[f"{lead}communality"].to_numpy()[..., place]
                quantities[f"communality {level}[{shape}]"] = shares.reshape(-1)[picked]
            quantities[f"{lead}loading_sd"] = _flat(posterior[f"{lead}loading_sd"])[picked]
        for name in names:
            values = posterior[name].to_numpy()
            density = log_density(resolved[name], values.reshape(values.shape[0] * values.shape[1], -1))
            priors[name] = density.sum(axis=1)[picked]
    density = rows_log_density(bases(drawn), rows)
    return Parts(None, (), quantities, priors, density, INTEGRATED, picked)


def factor_units(quantity: str) -> tuple[str, str, str]:
    """Blend shape, name and units of a co-activation quantity."""
    name, bracket, shape = quantity.partition("[")
    return (shape.removesuffix("]"), name, "share of variance") if bracket else ("", name, "within sd")


# Which priors


def chosen_priors(parts: Parts, parameters: Sequence[str] | None) -> list[str]:
    """Names of the priors that are asked for, by name or role.

    Parameters
    ----------
    parameters : names of priors ("valence", "sd:1|participant"), or roles: "beta" (all coefficients but the
        intercept), "sd", "corr", "sigma"; None takes all.

    Raises
    ------
    FitError
        For a name that none of the free priors has.
    """
    if parameters is None:
        return list(parts.priors)
    found = dict.fromkeys(
        name
        for asked in parameters
        for name in parts.priors
        if asked in (name, _role(name, parts.coefficients))
    )
    known = dict.fromkeys([*parts.priors, *(_role(name, parts.coefficients) for name in parts.priors)])
    for asked in parameters:
        if asked not in known:
            raise FitError(
                f"parameters: expected names of priors or roles, found {asked!r}{nearest(asked, list(known))}; there "
                f"are {', '.join(known)}."
            )
    return list(found)


def _role(name: str, coefficients: tuple[str, ...]) -> str:
    if name in coefficients:
        return name if name == "Intercept" else "beta"
    return name.partition(":")[0]


def shapes_of(fit: xr.DataTree) -> list[str | None]:
    """Outcomes that have a posterior each: of a co-activation fit the one of all shapes."""
    return [None] if is_factor_fit(fit) else outcomes_of(fit)
