"""Back from a stored fit to what it was made of: one outcome's rows, design and priors, and its parameters' draws.

The tree of a fit holds everything that its likelihood needs (`posterior_tree`); this file puts it together again, so
that what is computed after a fit does not depend on the engine that drew it, nor on whether it came from a file.

    outcome_of      rows, design, priors and residuals, as engines take them
    natural_of      sds, correlations, sigma and rho of every draw, as the collapsed engine's density takes them
    coefficients_of, effects_of     draws, as arrays

A block's terms are those whose correlations are not all 0 in every draw, which needs no formula.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mien.models.design import Block, Design, FitCoding, Transform
from mien.models.engines.problem import Outcome, Residual
from mien.models.posterior_tree import RESIDUAL_NAMES
from mien.models.smooths import SmoothBasis, is_smooth_term, sd_name
from mien.priors import resolved_from_dict
from mien.study.errors import FitError

if TYPE_CHECKING:
    from mien.models.engines.collapsed.parameters import Natural

__all__ = [
    "check_gaussian", "check_rows", "coefficients_of", "design_of", "effects_of", "levels_of_factor", "natural_of",
    "of_shape", "outcome_of", "terms_of", "used_rows",
]  # fmt: skip


def check_gaussian(fit: xr.DataTree, what: str) -> None:
    """Refuse fits of other families, and those whose rows were not stored."""
    if fit.attrs.get("family", "gaussian") != "gaussian":
        raise FitError(f"{what}: expected a Gaussian fit, found family {fit.attrs['family']!r}.")
    check_rows(fit, what)


def check_rows(fit: xr.DataTree, what: str) -> None:
    """Refuse fits whose rows were not stored."""
    if "constant_data" not in fit.children:
        raise FitError(
            f"{what}: expected a fit that holds its rows, found none (above a million rows, or from sums, they are "
            "left out): fit the rows themselves, or fewer of them."
        )


def of_shape(dataset: xr.Dataset, shape: str | None) -> xr.Dataset:
    """One outcome's part of a group; all of it where there is a single one."""
    return dataset.sel(blend_shape=shape) if shape is not None and "blend_shape" in dataset.dims else dataset


def used_rows(fit: xr.DataTree, shape: str | None) -> np.ndarray:
    """(observation,) whether the outcome has it."""
    return np.isfinite(of_shape(fit["observed_data"].dataset, shape)["outcome"].to_numpy())


def terms_of(fit: xr.DataTree) -> list[str]:
    """Group terms, "valence|participant", in the formula's order; a smooth's are its functions."""
    names = fit["constant_data"].dataset.data_vars
    return [str(name).removesuffix(" column") for name in names if str(name).endswith(" column")]


def outcome_of(fit: xr.DataTree, shape: str | None = None) -> Outcome:
    """The outcome that an engine was given, from the tree.

    Parameters
    ----------
    shape : its blend shape; None where the fit has a single outcome.

    Raises
    ------
    FitError
        When the fit is not Gaussian, or holds no rows.
    """
    check_gaussian(fit, "fit")
    constants = of_shape(fit["constant_data"].dataset, shape)
    observed = of_shape(fit["observed_data"].dataset, shape)["outcome"].to_numpy()
    used = np.isfinite(observed)
    residual = _residual(fit, constants, used)
    stored = json.loads(fit.attrs["priors"])[shape or ""]
    priors = {name: resolved_from_dict(item) for name, item in stored.items()}
    return Outcome(
        shape or "", _design(fit, constants, used), observed[used].astype(np.float64),
        constants["root_precision"].to_numpy()[used].astype(np.float64), priors, residual,
    )  # fmt: skip


def design_of(fit: xr.DataTree, shape: str | None = None) -> Design:
    """The mean's columns and group blocks of one outcome's rows, of any family."""
    return _design(fit, of_shape(fit["constant_data"].dataset, shape), used_rows(fit, shape))


def _residual(fit: xr.DataTree, constants: xr.Dataset, used: np.ndarray) -> Residual:
    fields = {
        field: constants[name].to_numpy()[used] for field, name in RESIDUAL_NAMES.items() if name in constants
    }
    fields = {
        name: value.astype(np.int64 if name in ("stratum", "series", "position") else np.float64)
        for name, value in fields.items()
    }
    sigma = fit["posterior"].dataset["sigma"]
    dim = next((str(dim) for dim in sigma.dims if dim not in ("chain", "draw", "blend_shape")), "")
    strata = tuple(str(label) for label in sigma[dim].to_numpy()) if dim else ("",)
    return Residual(strata=strata, dim=dim, **fields)


def _design(fit: xr.DataTree, constants: xr.Dataset, used: np.ndarray) -> Design:
    coefficients: tuple[str, ...] = ()
    columns = np.zeros((int(used.sum()), 0))
    if "design" in constants:
        coefficients = tuple(str(name) for name in constants["coefficient"].to_numpy())
        columns = constants["design"].to_numpy()[used].astype(np.float64)
    blocks = []
    for factor, terms in _blocks(fit):
        codes = constants[f"{factor} index"].to_numpy()[used].astype(np.int64)
        of_terms = [constants[f"{term}|{factor} column"].to_numpy()[used] for term in terms]
        matrix = np.column_stack(of_terms).astype(np.float64)
        blocks.append(Block(factor, terms, matrix, codes, levels_of_factor(fit, factor)))
    coding = {name: tuple(levels) for name, levels in json.loads(fit.attrs["coding"]).items()}
    return Design(coefficients, columns, tuple(blocks), coding)


def fit_coding(fit: xr.DataTree) -> FitCoding:
    """What the fit's columns were made with, for rows that it has not seen."""
    bases = json.loads(str(fit.attrs.get("smooths", "{}")))
    transforms = json.loads(str(fit.attrs.get("transforms", "{}")))
    return FitCoding(
        json.loads(fit.attrs["coding"]), tuple(json.loads(str(fit.attrs["model_spec"])).get("smooths", ())),
        {name: SmoothBasis.from_dict(basis) for name, basis in bases.items()},
        {name: Transform(*numbers) for name, numbers in transforms.items()},
    )  # fmt: skip


def levels_of_factor(fit: xr.DataTree, factor: str) -> tuple[str, ...]:
    """Labels of a factor's levels; their numbers where a fit left its effects, and with them the labels, out."""
    posterior = fit["posterior"].dataset
    if factor in posterior.coords:
        return tuple(str(label) for label in posterior[factor].to_numpy())
    return tuple(map(str, range(int(fit["constant_data"].dataset[f"{factor} index"].max()) + 1)))


def _blocks(fit: xr.DataTree) -> list[tuple[str, tuple[str, ...]]]:
    """(factor, terms) of every block, in order: neighbours of one factor that ever correlate."""
    posterior = fit["posterior"].dataset
    by_factor: dict[str, list[str]] = {}
    for key in terms_of(fit):
        term, _, factor = key.rpartition("|")
        by_factor.setdefault(factor, []).append(term)
    found: dict[str, tuple[str, ...]] = {}
    for factor, terms in by_factor.items():
        for block in _correlated(posterior, factor, terms):
            found |= {f"{term}|{factor}": block for term in block}
    blocks: list[tuple[str, tuple[str, ...]]] = []
    for key in terms_of(fit):  # the formula's order, in which factors may alternate
        entry = (key.rpartition("|")[2], found[key])
        if not blocks or entry not in blocks:
            blocks.append(entry)
    return blocks


def _correlated(posterior: xr.Dataset, factor: str, terms: Sequence[str]) -> list[tuple[str, ...]]:
    name = f"{factor}_corr"
    curved = [(term,) for term in terms if is_smooth_term(term)]
    terms = [term for term in terms if not is_smooth_term(term)]
    if name not in posterior:
        return [*((term,) for term in terms), *curved]
    ever = np.abs(posterior[name].to_numpy()).reshape(-1, len(terms), len(terms)).max(axis=0) > 0
    groups: list[list[int]] = []
    for place in range(len(terms)):
        if groups and ever[place, groups[-1]].any():
            groups[-1].append(place)
        else:
            groups.append([place])
    return [*(tuple(terms[place] for place in group) for group in groups), *curved]


def coefficients_of(fit: xr.DataTree, shape: str | None, names: Sequence[str]) -> np.ndarray:
    """(draw, coefficient), chains one after the other."""
    posterior = of_shape(fit["posterior"].dataset, shape)
    count = posterior.sizes["chain"] * posterior.sizes["draw"]
    columns = [posterior[name].to_numpy().reshape(count) for name in names]
    return np.column_stack(columns).astype(np.float64) if columns else np.zeros((count, 0))


def effects_of(fit: xr.DataTree, shape: str | None, key: str, what: str) -> np.ndarray:
    """(draw, level) of one term; a sentence where they were left out."""
    posterior = of_shape(fit["posterior"].dataset, shape)
    if key not in posterior:
        raise FitError(
            f"{what}: expected stored group effects, found no {key!r}: fit with group_effects=True."
        )
    values = posterior[key].to_numpy()
    return values.reshape(-1, values.shape[-1]).astype(np.float64)


def natural_of(fit: xr.DataTree, shape: str | None, outcome: Outcome) -> "Natural":
    """The variance parameters of every draw, chains one after the other."""
    from mien.models.engines.collapsed.parameters import Natural

    posterior = of_shape(fit["posterior"].dataset, shape)
    count = posterior.sizes["chain"] * posterior.sizes["draw"]
    sds, partials = [], []
    used: dict[str, int] = {}
    for block in outcome.design.blocks:
        for term in block.terms:
            sds.append(posterior[f"{sd_name(term, block.factor)}_sigma"].to_numpy().reshape(count))
        first, k = used.get(block.factor, 0), len(block.terms)
        used[block.factor] = first + k
        if k > 1:
            matrix = posterior[f"{block.factor}_corr"].to_numpy()
            matrix = matrix.reshape(count, *matrix.shape[-2:])[:, first : first + k, first : first + k]
            partials.append(partial_correlations(matrix))
    rho = posterior["rho"].to_numpy().reshape(count) if "rho" in posterior else np.zeros(count)
    return Natural(
        np.column_stack(sds).astype(np.float64) if sds else np.zeros((count, 0)),
        np.concatenate(partials, axis=1) if partials else np.zeros((count, 0)),
        posterior["sigma"].to_numpy().reshape(count, -1).astype(np.float64),
        rho.astype(np.float64),
    )


def partial_correlations(matrix: np.ndarray) -> np.ndarray:
    """Canonical partial correlations (point, pair) of correlation matrices (point, term, term), row by row."""
    points, k, _ = matrix.shape
    factor = np.zeros((points, k, k))
    result = []
    for i in range(k):
        left = np.ones(points)
        for j in range(i):
            across = matrix[:, i, j] - (factor[:, i, :j] * factor[:, j, :j]).sum(axis=1)
            entry = across / factor[:, j, j]
            limit = np.sqrt(np.maximum(left, 1e-300))
            partial = np.clip(entry / limit, -1.0 + 1e-15, 1.0 - 1e-15)
            factor[:, i, j] = partial * limit
            left = left * (1.0 - partial) * (1.0 + partial)
            result.append(partial)
        factor[:, i, i] = np.sqrt(left)
    return np.column_stack(result) if result else np.zeros((points, 0))
