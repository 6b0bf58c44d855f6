"""Leave-one-unit-out predictive densities: how well would the model have foretold this participant, stimulus or trial?

    log p(y_unit | y_−unit, theta)      exact for every draw, coefficients and group effects integrated out
    weight of a draw                    1 / p(y_unit | y_−unit, theta), Pareto-smoothed
    elpd                                log Σ w p / Σ w

A participant left out is a new person facing the same stimuli; stimuli left out, new stimuli for the same persons; a
trial left out, one more trial of both. Only the variance parameters are reweighted, which is why few draws go far,
but one unit in a handful moves them much: `khat_loo` says where.

The families in `likelihoods` have no such exact density: coefficients and the effects of other factors are the draw's
own and reweighted too, and only the effects of the unit itself are integrated out over their population (trials and
rows have none). It is the same elpd, from weights that are less even.

References
----------
Vehtari, Gelman & Gabry (2017), https://doi.org/10.1007/s11222-016-9696-4
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from mien.models.design import Design
from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.outcomes import TIME_COLUMNS
from mien.models.refit import check_rows, design_of, natural_of, outcome_of, used_rows
from mien.models.spec import ModelSpec
from mien.study.errors import FitError
from mien.study.formula import parse_formula
from mien.study.trials import TRIAL_KEY

__all__ = [
    "khat_limit", "leave_one_out", "log_likelihood", "picked_draws", "refuse_torn_series", "unit_log_densities",
    "units_of_rows",
]  # fmt: skip

MAX_STORED = 4_000_000  # log densities of single draws, all shapes together, that are kept


class Units(NamedTuple):
    """labels of the units, code : (row,) of every row of one outcome."""

    labels: tuple[str, ...]
    code: np.ndarray


def khat_limit(draws: int) -> float:
    """min(1 − 1/log10 S, 0.7): above it an elpd from S draws is not to be trusted."""
    return min(1.0 - 1.0 / np.log10(draws), 0.7)


def log_likelihood(
    fit: xr.DataTree,
    unit: str = "participant",
    *,
    draws: int | None = 1000,
    units_of: xr.DataTree | None = None,
) -> xr.Dataset:
    """Expected log predictive density of every unit, left out of its own posterior.

    Parameters
    ----------
    fit : from any engine; of other families than the Gaussian with stored group effects.
    unit : "participant", "stimulus" or another group factor of the model; "trial"; "observation" (a row).
    draws : of theta, spread evenly over the posterior's; None takes all.
    units_of : a fit of the same rows that has the unit as a factor, for a model that has not.

    Returns
    -------
    Dataset over [blend_shape] and the unit's labels: `elpd`, `khat_loo`, `mcse` (of elpd, nats), `rows`; NaN where a
    shape has no row of a unit. Where they are few, `log_density` (theta_draw, …), log p(y_unit | y_−unit, theta).
    Attributes: unit, khat_limit, above (how many units exceed it), elpd, se (√n · sd over units; one shape).

    Raises
    ------
    FitError
        For a unit that the model does not know, or that tears series of AR(1) residuals apart; of other families than
        the Gaussian, without stored effects.
    """
    require_coefficients(fit, "log_likelihood")
    check_rows(fit, "log_likelihood")
    shapes = outcomes_of(fit)
    picked = picked_draws(fit, draws)
    units = [units_of_rows(fit if units_of is None else units_of, shape, unit) for shape in shapes]
    parts = [
        (mine, _one_shape(fit, shape, unit, mine, picked)) for shape, mine in zip(shapes, units, strict=True)
    ]
    dim = unit
    labels = list(dict.fromkeys(label for units, _ in parts for label in units.labels))
    place = {label: number for number, label in enumerate(labels)}
    fields = {
        name: np.full((len(parts), len(labels)), np.nan) for name in ("elpd", "khat_loo", "mcse", "rows")
    }
    small = len(picked) * len(parts) * len(labels) <= MAX_STORED
    kept = np.full((len(picked) if small else 0, len(parts), len(labels)), np.nan, dtype=np.float32)
    for number, (units, density) in enumerate(parts):
        at = [place[label] for label in units.labels]
        for name, values in zip(fields, leave_one_out(density, picked), strict=False):
            fields[name][number, at] = values
        fields["rows"][number, at] = np.bincount(units.code, minlength=len(units.labels))
        if small:
            kept[:, number, at] = density
    named = shapes[0] is not None
    lead = ("blend_shape",) if named else ()
    variables = {name: ((*lead, dim), values if named else values[0]) for name, values in fields.items()}
    if small:
        variables["log_density"] = (("theta_draw", *lead, dim), kept if named else kept[:, 0])
    coords = {dim: np.array(labels)} | ({"blend_shape": np.array(shapes)} if named else {})
    limit = float(khat_limit(len(picked)))
    khat = fields["khat_loo"]
    attrs = {"unit": unit, "khat_limit": limit, "above": int((khat > limit).sum()), "draws": len(picked)}
    if not named:
        elpd = fields["elpd"][0]
        attrs |= {"elpd": float(elpd.sum()), "se": float(np.sqrt(len(elpd)) * elpd.std(ddof=1))}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def leave_one_out(log_density: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The elpd, khat and Monte-Carlo error of every unit.

    Parameters
    ----------
    log_density : (draw, unit) log p(y_unit | y_−unit, theta).
    point : (draw,) which theta; draws of the same one count as one in the error.
    """
    from mien.models.engines.collapsed.pareto import pareto_smooth

    log_weight, khat = pareto_smooth(
        -log_density.T
    )  # weights are 1 / p: the smoothing takes them as they are
    weight = np.exp(log_weight)
    weight /= weight.sum(axis=1, keepdims=True)
    largest = log_density.max(axis=0)
    density = np.exp(log_density - largest).T
    mean = (weight * density).sum(axis=1)
    share = weight * (density - mean[:, None])
    _, which = np.unique(point, return_inverse=True)
    together = np.stack([np.bincount(which, weights=row) for row in share])
    error = np.sqrt((together**2).sum(axis=1)) / mean
    return np.log(mean) + largest, khat, error


def picked_draws(fit: xr.DataTree, draws: int | None) -> np.ndarray:
    """Places of draws, spread evenly, chains one after the other."""
    sizes = fit["posterior"].dataset.sizes
    total = sizes["chain"] * sizes["draw"]
    if draws is not None and (isinstance(draws, bool) or draws < 25):
        raise FitError(f"draws: expected at least 25, found {draws!r}.")
    if draws is None or draws >= total:
        return np.arange(total)
    return np.floor((np.arange(draws) + 0.5) * total / draws).astype(np.int64)


def _one_shape(
    fit: xr.DataTree, shape: str | None, unit: str, units: Units, picked: np.ndarray
) -> np.ndarray:
    """(draw, unit) log p(y_unit | y_−unit, theta)."""
    if fit.attrs.get("family", "gaussian") != "gaussian":
        return _of_family(fit, shape, unit, units, picked)
    outcome = outcome_of(fit, shape)
    natural = natural_of(fit, shape, outcome)
    natural = type(natural)(*(value[picked] for value in natural))
    distinct, back = np.unique(np.column_stack(natural), axis=0, return_index=True, return_inverse=True)[1:]
    log_density = unit_log_densities(
        outcome, type(natural)(*(value[distinct] for value in natural)), units.code, what=unit
    )
    if not np.isfinite(log_density).all():
        raise FitError(
            f"log_likelihood: expected coefficients that the other rows tell without {unit} "
            f"{units.labels[int(np.flatnonzero(~np.isfinite(log_density).all(axis=0))[0])]}, found some that only it "
            "tells and whose prior is flat: give them a prior."
        )
    return log_density[back.ravel()]


def _of_family(
    fit: xr.DataTree, shape: str | None, unit: str, units: Units, picked: np.ndarray
) -> np.ndarray:
    """(draw, unit) log p(y_unit | draw), the unit's own effects integrated out where it has some."""
    from mien.models.family_rows import family_rows, integrated_densities, row_densities

    blocks = [block for block in design_of(fit, shape).blocks if _same_groups(block.codes, units.code)]
    if blocks:
        factor = next((block.factor for block in blocks if block.factor == unit), blocks[0].factor)
        return integrated_densities(fit, shape, picked, factor, units.code)[0]
    density = row_densities(family_rows(fit, shape, picked, what="log_likelihood"))
    total = np.zeros((len(units.labels), len(picked)))
    np.add.at(total, units.code, density)
    return total.T


def _same_groups(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = len(np.unique(np.column_stack([one, other]), axis=0))
    return pairs == len(np.unique(one)) == len(np.unique(other))


def unit_log_densities(outcome: Outcome, natural, code: np.ndarray, *, what: str = "unit") -> np.ndarray:
    """Log p(y_unit | y_−unit, theta), (point, unit).

    Parameters
    ----------
    natural : points of theta, `engines.collapsed.parameters.Natural`.
    code : (row,) the unit of each row, from 0, all in use. what : its name, for messages.
    """
    from mien.models.engines.collapsed import leave_out
    from mien.models.engines.collapsed.density import available_cores, make_density
    from mien.models.engines.collapsed.moments import moments_of

    moments = moments_of(outcome)
    density, _ = make_density(
        outcome.design.coefficients, outcome.design.blocks, outcome.priors, moments, outcome.residual.strata,
        threads=available_cores(),
    )  # fmt: skip
    single = bool(np.bincount(code).max() == 1)
    if not single:
        refuse_torn_series(outcome, code, what)
    if single or _in_one_cell(outcome.design, code):
        return leave_out.unit_densities(
            density, natural, leave_out.rows_of_units(outcome, density, moments, code)
        )
    whole = density.log_likelihood(natural)
    parts = [
        whole - leave_out.without_unit(outcome, density, moments, code == unit).log_likelihood(natural)
        for unit in range(int(code.max()) + 1)
    ]
    return np.column_stack(parts)


def refuse_torn_series(outcome: Outcome, code: np.ndarray, what: str) -> None:
    """Refuse units that hold parts of a series only.

    Raises
    ------
    FitError
    """
    if outcome.residual.series is not None and _torn(outcome.residual.series, code):
        raise FitError(
            f"{what}: expected each series of AR(1) residuals in one {what}, found one in several: leave out the "
            "trial, or the participant."
        )


def _torn(series: np.ndarray, code: np.ndarray) -> bool:
    order = np.argsort(series, kind="stable")
    same = np.diff(series[order]) == 0
    return bool((np.diff(code[order])[same] != 0).any())


def _in_one_cell(design: Design, code: np.ndarray) -> bool:
    """Whether the rows of every unit share the levels of all factors."""
    order = np.argsort(code, kind="stable")
    same = np.diff(code[order]) == 0
    return not any((np.diff(block.codes[order])[same] != 0).any() for block in design.blocks)


# Units


def units_of_rows(fit: xr.DataTree, shape: str | None, unit: str) -> Units:
    """The units of an outcome's rows.

    Raises
    ------
    FitError
        For a unit that the model does not know.
    """
    design = design_of(fit, shape)
    observations = np.array(fit["observed_data"].dataset["observation"])[used_rows(fit, shape)]
    if unit == "observation":
        return Units(tuple(map(str, observations)), np.arange(len(observations)))
    factors = {block.factor: block for block in design.blocks}
    if unit == "trial" and "trial" not in factors:
        return _trials(fit, shape, design, observations)
    if unit not in factors:
        known = [*factors, *(name for name in ("trial", "observation") if name not in factors)]
        raise FitError(f"unit: expected one of {', '.join(known)}, found {unit!r}.")
    block = factors[unit]
    present, code = np.unique(block.codes, return_inverse=True)
    return Units(tuple(block.levels[level] for level in present), code)


def _trials(fit: xr.DataTree, shape: str | None, design: Design, observations: np.ndarray) -> Units:
    """Trials: a factor that ends in trial, the series, or what the observations' labels say."""
    for block in design.blocks:
        if block.factor.split(":")[-1] == "trial":
            present, code = np.unique(block.codes, return_inverse=True)
            return Units(tuple(block.levels[level] for level in present), code)
    words = [str(label).split("/") for label in observations]
    keys = [name for name in TRIAL_KEY if name != "blend_shape"]
    if len(words[0]) == len(keys):
        return _grouped(["/".join(word[:-1]) for word in words])
    series = (
        outcome_of(fit, shape).residual.series if fit.attrs.get("family", "gaussian") == "gaussian" else None
    )
    if series is not None:
        return _grouped([str(number) for number in series])
    spec = ModelSpec.from_json(str(fit.attrs["model_spec"]))
    timed = [name for name in parse_formula(spec.formula).columns if name in TIME_COLUMNS]
    if timed:
        raise FitError(
            f"unit 'trial': expected observations named by {', '.join(keys)}, found {observations[0]!r} in a model "
            f"with {timed[0]}: leave out participants or observations, or add a group factor of trials."
        )
    return Units(tuple(map(str, observations)), np.arange(len(observations)))


def _grouped(labels: list[str]) -> Units:
    names = list(dict.fromkeys(labels))
    place = {name: number for number, name in enumerate(names)}
    return Units(tuple(names), np.array([place[label] for label in labels], dtype=np.int64))
