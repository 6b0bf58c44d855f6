"""Group effects of a fit: those stored, or new draws given the draws of everything else.

A Gaussian model's effects given coefficients, sds, correlations, sigma and rho are Gaussian. One exact draw for each
draw of the posterior is therefore a draw of the joint posterior, whichever engine made it, and a fit may leave its
effects out. The draws come from the collapsed engine's elimination, so that there may be very many effects.
"""

import numpy as np
import xarray as xr

from mien.models.diagnostics import outcomes_of
from mien.models.factors.spec import require_coefficients
from mien.study.errors import FitError

__all__ = ["group_effects", "with_effects"]


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
    require_coefficients(fit, "group_effects")
    posterior = fit["posterior"].dataset
    terms = _terms(posterior)
    if all(term in posterior for term in terms):
        return posterior[terms].copy()
    if "constant_data" not in fit.children:
        raise FitError(
            "group_effects: expected stored effects or stored rows, found neither: fit with group_effects=True."
        )
    rng = np.random.default_rng([int(fit.attrs["seed"]), 0x6E])
    parts = [(label, _drawn(fit, label, rng)) for label in outcomes_of(fit)]
    if parts[0][0] is None:
        return parts[0][1]
    return xr.concat(
        [part.expand_dims(blend_shape=[label], axis=2) for label, part in parts], dim="blend_shape"
    )


def with_effects(fit: xr.DataTree, draws: int) -> xr.DataTree:
    """The fit itself where it has its effects; else one of about so many draws, spread evenly, with effects drawn."""
    posterior = fit["posterior"].dataset
    if all(term in posterior for term in _terms(posterior)):
        return fit
    chains, total = posterior.sizes["chain"], posterior.sizes["draw"]
    each = min(total, -(-draws // chains))
    kept = np.floor((np.arange(each) + 0.5) * total / each).astype(np.int64)
    groups = {name: node.to_dataset() for name, node in fit.children.items()}
    thin = xr.DataTree.from_dict(groups | {"posterior": groups["posterior"].isel(draw=kept)})
    thin.attrs = dict(fit.attrs)
    drawn = group_effects(thin)
    rest = groups["posterior"].isel(draw=kept).drop_vars(list(drawn.data_vars), errors="ignore")
    thin["posterior"] = xr.DataTree(rest.merge(drawn))
    return thin


def _terms(posterior: xr.Dataset) -> list[str]:
    return [
        str(name).removesuffix("_sigma")
        for name in posterior.data_vars
        if "|" in str(name) and str(name).endswith("_sigma")
    ]


def _drawn(fit: xr.DataTree, label: str | None, rng: np.random.Generator) -> xr.Dataset:
    """One outcome's effects, a draw for each draw of the fit."""
    from mien.models.engines.collapsed.engine import prepare
    from mien.models.engines.problem import Problem
    from mien.models.refit import coefficients_of, natural_of, outcome_of

    outcome = outcome_of(fit, label)
    prepared = prepare(Problem("gaussian", (outcome,)))[0]
    posterior = fit["posterior"].dataset
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    natural = natural_of(fit, label, outcome)
    coefficients = coefficients_of(fit, label, outcome.design.coefficients)
    drawn = prepared.density.draw_given(natural, coefficients, rng)
    layout, moments = prepared.density.places.structure.layout, prepared.moments
    variables, coords = {}, {name: posterior[name].to_numpy() for name in ("chain", "draw")}
    used = dict.fromkeys(moments.factors, 0)
    for block in outcome.design.blocks:
        factor = moments.factors.index(block.factor)
        coords[block.factor] = np.array(block.levels, dtype=object)
        for term in block.terms:
            first = layout.start(factor) + used[block.factor]
            mine = drawn[:, first : layout.start(factor + 1) : layout.sizes[factor]]
            dims = ("chain", "draw", block.factor)
            variables[f"{term}|{block.factor}"] = (dims, mine.reshape(*shape, len(block.levels)))
            used[block.factor] += 1
    return xr.Dataset(variables, coords=coords)
