"""`pilot_prior`: a prior of a new study from the posterior of a pilot.

    pilot_prior(fit, "valence", "mouthSmile", weight=0.5, name="smile-from-pilot")  →  an Entry

The draws are those of the parameter that has the prior, in the units of the data, so that the new study has to measure
the same outcome in the same way. The entry's record says which data, which model and which verdict stand behind it.
"""

import json
from typing import Unpack

import numpy as np
import xarray as xr

from mien.models.diagnostics import outcomes_of
from mien.models.factors.spec import require_coefficients
from mien.models.mean_response import has_link
from mien.models.prior_freezing import stored_priors
from mien.priors import LIBRARY, Entry, ResolvedPrior
from mien.priors.answers import unlinked
from mien.priors.elicitation import Details, from_draws
from mien.priors.library import ROLES
from mien.study.errors import FitError
from mien.study.tables import nearest

__all__ = ["passed_outcome", "pilot_prior"]

KEPT = (
    "formula",
    "family",
    "engine",
    "seed",
    "mien_version",
    "data_sha256",
    "recipe_sha256",
    "priors_sha256",
)


def pilot_prior(
    fit: xr.DataTree,
    parameter: str,
    shape: str | None = None,
    *,
    name: str,
    weight: float = 1.0,
    family: str | None = None,
    **details: Unpack[Details],
) -> Entry:
    """A prior from the posterior of one parameter of a fit, in the units of the data.

    Parameters
    ----------
    parameter : as priors are named: "valence", "sd:valence|participant", "sigma", "rho", "corr:participant".
    shape : of a fit with several blend shapes; None takes the only one.
    name, weight, family, details : as in `mien.priors.elicitation.from_draws`; units are "raw".

    Raises
    ------
    FitError
        For a parameter or shape that the fit has not, and where the checks of its computation failed.
    SpecError
        For a posterior that no family of the role can follow, such as a correlation far from 0.
    """
    label = passed_outcome(fit, shape, "pilot_prior")
    priors = stored_priors(fit)[label or ""]
    if parameter not in priors:
        raise FitError(
            f"pilot_prior: expected a parameter of the fit ({', '.join(priors)}), found {parameter!r}"
            f"{nearest(parameter, list(priors))}."
        )
    if details.get("units", "raw") != "raw":
        raise FitError(
            f"pilot_prior: expected units 'raw', those of the fit's draws, found {details.get('units')!r}."
        )
    source = {
        "parameter": parameter, "blend_shape": label or "", "verdict": "passed", "prior": priors[parameter].to_dict(),
        **{key: str(fit.attrs[key]) for key in KEPT if str(fit.attrs.get(key, ""))},
    }  # fmt: skip
    own: Details = {**details, "units": "raw"}
    role = _role(fit, parameter, priors[parameter])
    draws = _draws(fit, label, parameter, role)
    return from_draws(name, role, draws, weight=weight, family=family, source=source, **own)


def passed_outcome(fit: xr.DataTree, shape: str | None, asker: str) -> str | None:
    """The outcome of a fit that is asked for, whose computation passed its checks.

    Parameters
    ----------
    shape : None takes the only one.

    Raises
    ------
    FitError
        For a fit of co-activation, a shape that the fit has not, and a verdict that failed.
    """
    require_coefficients(fit, asker)
    label = _outcome(fit, shape, asker)
    _check_verdict(fit, label, asker)
    return label


def _outcome(fit: xr.DataTree, shape: str | None, asker: str) -> str | None:
    known = outcomes_of(fit)
    if shape in known:
        return shape
    if shape is None and len(known) == 1:
        return known[0]
    names = [str(one) for one in known if one is not None]
    found = "none" if shape is None else repr(shape)
    if not names:
        raise FitError(f"{asker}: expected no shape, the fit has a single outcome, found {found}.")
    raise FitError(
        f"{asker}: expected the blend shape whose posterior to take ({', '.join(names)}), found {found}"
        f"{nearest(str(shape), names)}."
    )


def _check_verdict(fit: xr.DataTree, label: str | None, asker: str) -> None:
    """Of this outcome: others may have failed."""
    failed = json.loads(str(fit.attrs.get("diagnostics_detail", "{}"))).get("failed", {})
    of_others = bool(failed) and (label or "") not in failed
    if str(fit.attrs.get("diagnostics")) != "passed" and not of_others:
        why = ", ".join(map(str, failed.get(label or "", ["no verdict"])))
        raise FitError(
            f"{asker}: expected a fit whose computation passed its checks, found {why}: fit it again with more "
            "draws or another engine."
        )


def _role(fit: xr.DataTree, parameter: str, resolved: ResolvedPrior) -> str:
    """That of the entry which it had; without one by its name."""
    entries = json.loads(str(fit.attrs.get("prior_entries", "{}")))
    if resolved.id in entries:
        return str(entries[resolved.id]["role"])
    first = parameter.partition(":")[0]
    role = first if first in ROLES else "beta"
    return f"link_{role}" if has_link(fit) and f"link_{role}" in ROLES else role


def _draws(fit: xr.DataTree, label: str | None, parameter: str, role: str) -> np.ndarray:
    """All draws; those of a regression's intercept, which are on the link, put back from it."""
    posterior = fit["posterior"].dataset
    if label is not None:
        posterior = posterior.sel(blend_shape=label)
    kind, _, rest = parameter.partition(":")
    if kind == "corr":
        return _correlation(posterior[f"{rest}_corr"].to_numpy(), parameter)
    if kind == "sd":
        return posterior[f"{rest}_sigma"].to_numpy()
    if kind == "sigma" and rest:
        sigma = posterior["sigma"]
        return sigma.sel({str(sigma.dims[-1]): rest}).to_numpy()
    draws = posterior[parameter].to_numpy()
    link = LIBRARY.default(role).scale
    return unlinked(link, draws) if parameter != role and link in ("log", "logit") else draws


def _correlation(matrices: np.ndarray, parameter: str) -> np.ndarray:
    if matrices.shape[-1] != 2:
        raise FitError(
            f"pilot_prior: expected the correlation of two effects, found {parameter} of {matrices.shape[-1]}: an LKJ "
            "prior has one number for all of them. Choose its eta by a statement (from_statement, role 'corr')."
        )
    return matrices[..., 0, 1]
