"""Group effects of a fit: those stored, or new draws given the draws of everything else.

A Gaussian model's effects given coefficients, sds, correlations and sigma are Gaussian:
precision Q = Z'R⁻¹Z/σ² + (Λ Λ')⁻¹, mean Q⁻¹ Z'R⁻¹(y − Xβ)/σ². One exact draw for each draw of the posterior is
therefore a draw of the joint posterior, and a fit may leave its effects out.
"""

import numpy as np
import xarray as xr
from scipy.linalg import cholesky, solve_triangular
from threadpoolctl import threadpool_limits

from mien.models.diagnostics import outcomes_of
from mien.study.errors import FitError

__all__ = ["group_effects"]

MAX_EFFECTS = 2000


def group_effects(fit: xr.DataTree) -> xr.Dataset:
    """Draws of all group effects.

    Returns
    -------
    Dataset of `term|factor` (chain, draw, [blend_shape], factor), in units of the outcome per unit of the column.

    Raises
    ------
    FitError
        When they were left out and the rows were not stored either.
    """
    posterior = fit["posterior"].dataset
    terms = _terms(posterior)
    if all(term in posterior for term in terms):
        return posterior[terms].copy()
    if "constant_data" not in fit.children:
        raise FitError(
            "group_effects: expected stored effects or stored rows, found neither: fit with group_effects=True."
        )
    rng = np.random.default_rng([int(fit.attrs["seed"]), 0x6E])
    with threadpool_limits(limits=1):  # two BLAS threads are many times slower on matrices of this size
        parts = [_drawn(fit, label, terms, rng) for label in outcomes_of(fit)]
    if parts[0][0] is None:
        return parts[0][1]
    return xr.concat(
        [part.expand_dims(blend_shape=[label], axis=2) for label, part in parts], dim="blend_shape"
    )


def _terms(posterior: xr.Dataset) -> list[str]:
    return [
        str(name).removesuffix("_sigma")
        for name in posterior.data_vars
        if "|" in str(name) and str(name).endswith("_sigma")
    ]


def _drawn(
    fit: xr.DataTree, label: str | None, terms: list[str], rng: np.random.Generator
) -> tuple[str | None, xr.Dataset]:
    posterior, constants = fit["posterior"].dataset, fit["constant_data"].dataset
    observed = fit["observed_data"].dataset["outcome"]
    if label is not None:
        posterior, observed = posterior.sel(blend_shape=label), observed.sel(blend_shape=label)
        constants = constants.sel(blend_shape=label) if "blend_shape" in constants.dims else constants
    used = np.isfinite(observed.values)
    factors = {term: term.rpartition("|")[2] for term in terms}
    sizes = {factor: posterior.sizes[factor] for factor in factors.values()}
    starts = np.concatenate([[0], np.cumsum([sizes[factors[term]] for term in terms])])
    total = int(starts[-1])
    if total > MAX_EFFECTS:
        raise FitError(
            f"group_effects: expected at most {MAX_EFFECTS} effects, found {total}: fit with group_effects=True."
        )
    root = constants["root_precision"].values[used]
    columns = np.zeros((int(used.sum()), total))
    for place, term in enumerate(terms):
        codes = constants[f"{factors[term]} index"].values[used].astype(int)
        columns[np.arange(len(codes)), starts[place] + codes] = (
            constants[f"{term} column"].values[used] * root
        )
    gram = columns.T @ columns
    sigma = posterior["sigma"].values
    moments = _moments(posterior, constants, observed.values, used, root, columns)
    out = np.empty((*sigma.shape, total), dtype=np.float32)
    for chain in range(sigma.shape[0]):
        for draw in range(sigma.shape[1]):
            precision = gram / sigma[chain, draw] ** 2 + _prior_precision(
                posterior, terms, factors, starts, chain, draw
            )
            lower = cholesky(precision, lower=True, check_finite=False)
            half = solve_triangular(
                lower, moments[chain, draw] / sigma[chain, draw] ** 2, lower=True, check_finite=False
            )
            half += rng.standard_normal(total)
            out[chain, draw] = solve_triangular(lower, half, lower=True, trans=1, check_finite=False)
    variables = {
        term: (("chain", "draw", factors[term]), out[..., starts[place] : starts[place + 1]])
        for place, term in enumerate(terms)
    }
    coords = {name: posterior[name] for name in ("chain", "draw", *sizes)}
    return label, xr.Dataset(variables, coords={name: item.values for name, item in coords.items()})


def _moments(posterior, constants, outcome, used, root, columns) -> np.ndarray:
    """Z'R⁻¹(y − Xβ) of every draw, (chain, draw, effect)."""
    moments = columns.T @ (outcome[used] * root)
    if "design" not in constants:
        return np.broadcast_to(moments, (*posterior["sigma"].shape, len(moments)))
    names = [str(name) for name in constants["coefficient"].values]
    beta = np.stack([posterior[name].values for name in names], axis=-1)
    cross = columns.T @ (constants["design"].values[used] * root[:, None])
    return moments - beta @ cross.T


def _prior_precision(posterior, terms, factors, starts, chain, draw) -> np.ndarray:
    precision = np.zeros((int(starts[-1]), int(starts[-1])))
    for factor in dict.fromkeys(factors.values()):
        mine = [place for place, term in enumerate(terms) if factors[term] == factor]
        sds = np.array([posterior[f"{terms[place]}_sigma"].values[chain, draw] for place in mine])
        name = f"{factor}_corr"
        corr = posterior[name].values[chain, draw] if name in posterior else np.eye(len(mine))
        block = np.linalg.inv(corr * np.outer(sds, sds))
        for i, one in enumerate(mine):
            for j, other in enumerate(mine):
                at = np.arange(starts[one + 1] - starts[one])
                precision[starts[one] + at, starts[other] + at] = block[i, j]
    return precision
