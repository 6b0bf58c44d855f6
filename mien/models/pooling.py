"""Partial pooling over shapes, the second of two stages: unpooled posteriors in, pooled effects out.

    shape_errors        estimates of all shapes, prior divided out, and the joint covariance of their errors
    shape_population    effect = mean of its region + Student-t(4) deviation, given estimates ~ N(effects, covariance)

Each effect (a coefficient, or a combination of coefficients) is pooled on its own. Shapes move by very different
amounts, so that what is exchangeable is the effect in residual sds of its shape for one sd of x: scale_s below.

    group `pooled`      pooled_effect (chain, draw, blend_shape, effect), units of the outcome
                        region_mean (…, region, effect), mean, shape_scale, region_sd (…, effect), in scales
                        estimate, error_sd, scale (blend_shape, effect); error_correlation (effect, blend_shape, …_bis)

Gaze and blinks follow the picture's layout and are set apart; contrasts of shapes repeat the shapes. Neither is pooled.
It answers the question of many comparisons as far as shapes are exchangeable, and no further.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.diagnostics import ESS, R_HAT, measure, outcomes_of
from mien.models.engines.problem import Problem
from mien.models.outcomes import OutcomeRows
from mien.models.refit import check_gaussian, outcome_of, used_rows
from mien.models.shape_errors import LEAST_SHARE, ShapeEstimates, ShapeRows, data_share, shape_estimates
from mien.models.spec import ModelSpec
from mien.priors import Fixed, HalfNormal, Normal, prior_to_dict
from mien.study.blend_shapes import SET_APART, region
from mien.study.errors import FitError, SpecError
from mien.study.linear_combination import parse_linear_combination

if TYPE_CHECKING:
    from mien.models.shape_population import Population

__all__ = ["POOLED_COLUMNS", "POOLING_PRIORS", "check_poolable", "pool_fitted", "pool_shapes", "with_pooled"]

DEGREES_OF_FREEDOM = 4.0  # STATISTICS 2: a normal population keeps 60 % of one real effect among 34 shapes
LEAST_SHAPES = 3
THINNING = (4, 16)  # where the verdict fails
POOLED_COLUMNS = (
    "pooled_mean", "pooled_sd", "pooled_eti_lower", "pooled_eti_upper", "pooled_p_direction", "shrinkage",
)  # fmt: skip


class PoolingPrior(NamedTuple):
    """A prior in scales (residual sds of a shape, for one sd of x), and where it comes from."""

    prior: Normal | HalfNormal
    source: str  # "rule" | "convention" | "user"
    reason: str


POOLING_PRIORS: Mapping[str, PoolingPrior] = {
    "mean": PoolingPrior(
        Normal(0.0, 1.0), "rule", "one sd of x moves the face as a whole by at most a residual sd or two"
    ),
    "shape_scale": PoolingPrior(
        HalfNormal(0.5), "rule", "shapes differ by less than a residual sd for one sd of x"
    ),
    "region_sd": PoolingPrior(HalfNormal(0.5), "rule", "regions differ by no more than shapes may"),
}


def pool_shapes(
    fit: xr.DataTree,
    hypotheses: Mapping[str, str] | None = None,
    *,
    degrees_of_freedom: float = DEGREES_OF_FREEDOM,
    priors: Mapping[str, Normal | HalfNormal] | None = None,
) -> xr.DataTree:
    """The fit with a group `pooled`: each effect pooled over the shapes that are neither set apart nor contrasts.

    Parameters
    ----------
    fit : Gaussian, by blend shape, with its rows.
    hypotheses : name → linear expression of coefficients; None takes every coefficient but the intercept.
    degrees_of_freedom : of the Student-t population of shapes; np.inf makes it normal.
    priors : of "mean" (Normal), "shape_scale", "region_sd" (HalfNormal), in residual sds for one sd of x.

    Returns
    -------
    DataTree
        A copy that shares the arrays. `mien.effects` shows what is pooled beside the unpooled.

    Raises
    ------
    FitError
        For a single outcome, fewer than three shapes to pool, another family, or rows that were not stored.
    """
    check_gaussian(fit, "pool_shapes")
    if outcomes_of(fit) == [None]:
        raise FitError("pool_shapes: expected a fit by blend shape, found a single outcome: nothing to pool.")
    spec = ModelSpec.from_json(str(fit.attrs["model_spec"]))
    names = [str(name) for name in outcomes_of(fit)]
    pooled, apart = _chosen(names, spec)
    rows = [ShapeRows(outcome_of(fit, name), np.flatnonzero(used_rows(fit, name))) for name in pooled]
    made = fit.copy()
    _attach(made, rows, apart, _Options(hypotheses, degrees_of_freedom, _priors(priors)))
    return made


def check_poolable(spec: ModelSpec, problem: Problem, rows: OutcomeRows | None) -> None:
    """Refuse, before anything is sampled, what cannot be pooled.

    Raises
    ------
    FitError
    """
    if problem.outcomes[0].name == "":
        raise FitError(
            "pooling='partial': expected data with a blend_shape column, found a single outcome: leave pooling out."
        )
    if rows is None:
        raise FitError(
            "pooling='partial': expected rows, found their sums, which do not tell how the errors of shapes "
            "correlate: fit a table that fits into memory, or leave pooling out."
        )
    _chosen(rows.names, spec)


def pool_fitted(tree: xr.DataTree, spec: ModelSpec, problem: Problem, rows: OutcomeRows) -> None:
    """Add the group `pooled` to a fit that was just made."""
    pooled, apart = _chosen(rows.names, spec)
    chosen = [
        ShapeRows(outcome, rows.observation[at])
        for outcome, at in zip(problem.outcomes, rows.at, strict=True)
        if outcome.name in pooled
    ]
    _attach(tree, chosen, apart, _Options(None, DEGREES_OF_FREEDOM, POOLING_PRIORS))


def _chosen(names: Sequence[str], spec: ModelSpec) -> tuple[list[str], dict[str, str]]:
    """Shapes to pool, and why the others are not."""
    apart = {
        name: "a contrast of shapes" if name in spec.contrasts else "set apart: follows the picture's layout"
        for name in names
        if name in spec.contrasts or name in SET_APART
    }
    pooled = [name for name in names if name not in apart]
    _check_enough(pooled)
    return pooled, apart


def _check_enough(pooled: Sequence[str]) -> None:
    if len(pooled) < LEAST_SHAPES:
        raise FitError(
            f"pooling: expected at least {LEAST_SHAPES} shapes besides gaze, blinks, contrasts and what priors "
            f"determine, found {', '.join(pooled) or 'none'}: leave pooling out."
        )


def _told_by_rows(
    tree: xr.DataTree, rows: Sequence[ShapeRows], apart: Mapping[str, str]
) -> tuple[list[ShapeRows], dict[str, str]]:
    """Leave out shapes whose prior says so much that it cannot be divided out."""
    weak = {
        item.outcome.name: "its prior says more than its rows"
        for item in rows
        if data_share(tree, item.outcome) < LEAST_SHARE
    }
    told = [item for item in rows if item.outcome.name not in weak]
    _check_enough([item.outcome.name for item in told])
    return told, {**apart, **weak}


class _Options(NamedTuple):
    """What to pool and into which population."""

    hypotheses: Mapping[str, str] | None
    df: float
    priors: Mapping[str, PoolingPrior]


def _priors(given: Mapping[str, Normal | HalfNormal] | None) -> Mapping[str, PoolingPrior]:
    result = dict(POOLING_PRIORS)
    for name, prior in (given or {}).items():
        if name not in POOLING_PRIORS:
            raise SpecError(f"priors: expected one of {', '.join(POOLING_PRIORS)}, found {name!r}.")
        kind = type(POOLING_PRIORS[name].prior)
        if not isinstance(prior, kind):
            raise SpecError(f"priors[{name!r}]: expected {kind.__name__}, found {prior!r}.")
        result[name] = PoolingPrior(prior, "user", "")
    return result


def _attach(
    tree: xr.DataTree, rows: Sequence[ShapeRows], apart: Mapping[str, str], options: _Options
) -> None:
    if not options.df > 0:
        raise FitError(f"degrees_of_freedom: expected a number above 0, found {options.df!r}.")
    priors = rows[0].outcome.priors
    if all(isinstance(priors[name].prior, Fixed) for name in rows[0].outcome.design.coefficients):
        raise FitError("pooling: expected a coefficient that is not Fixed, found none: leave pooling out.")
    rows, apart = _told_by_rows(tree, rows, apart)
    estimates = shape_estimates(tree, rows)
    weights = _combinations(estimates, options.hypotheses)
    parts = [_pool(tree, estimates, effect, weights[effect], options) for effect in weights]
    dataset = xr.concat(parts, pd.Index(list(weights), name="effect")).transpose("chain", "draw", ...)
    verdicts = {effect: part.attrs["failures"] for effect, part in zip(weights, parts, strict=True)}
    failed = {effect: failures for effect, failures in verdicts.items() if failures}
    dataset.attrs = {
        "degrees_of_freedom": float(options.df),
        "combinations": json.dumps(weights),
        "shapes": len(rows),
        "apart": json.dumps(dict(apart)),
        "priors": json.dumps(
            {
                name: {**prior_to_dict(p.prior), "source": p.source, "reason": p.reason}
                for name, p in options.priors.items()
            }
        ),
        "diagnostics": "failed" if failed else "passed",
        "diagnostics_detail": json.dumps({"limits": {"r_hat": R_HAT, "ess": ESS}, "failed": failed}),
    }
    tree["pooled"] = xr.DataTree(dataset)
    _tell_gate(tree, failed)


def _tell_gate(tree: xr.DataTree, failed: Mapping[str, Sequence[str]]) -> None:
    """The fit's verdict fails with that of the second stage."""
    detail = json.loads(tree.attrs["diagnostics_detail"])
    detail["pooled"] = {"verdict": "failed" if failed else "passed", "failed": dict(failed)}
    tree.attrs["diagnostics"] = "failed" if failed or detail["failed"] else "passed"
    tree.attrs["diagnostics_detail"] = json.dumps(detail)


def _combinations(found: ShapeEstimates, hypotheses: Mapping[str, str] | None) -> dict[str, dict[str, float]]:
    names = [name for name in found.coefficients if name != "Intercept"]
    asked = hypotheses or {name: name for name in names or found.coefficients}
    return {
        effect: dict(parse_linear_combination(text, found.coefficients)) for effect, text in asked.items()
    }


# One effect


def _pool(
    tree: xr.DataTree, found: ShapeEstimates, effect: str, weights: Mapping[str, float], options: _Options
) -> xr.Dataset:
    """Draws of one effect of all shapes."""
    from mien.models.shape_population import PopulationPrior, Sampling, sample_population

    vector = np.array([weights.get(name, 0.0) for name in found.coefficients])
    spread = found.spread[found.coefficients.index(next(iter(weights)))] or 1.0  # that of an intercept is 0
    scale = found.residual_sd / spread
    estimate = found.estimate @ vector / scale
    error_sd = np.sqrt(np.einsum("k,skl,l->s", vector, found.variance, vector)) / scale
    correlation = found.correlation(vector)
    regions, codes = np.unique([region(shape) for shape in found.shapes], return_inverse=True)
    numbers = PopulationPrior(*_numbers(options.priors))
    error = correlation.correlation * np.outer(error_sd, error_sd)
    sizes = tree["posterior"].sizes
    entropy = [int(tree.attrs["seed"]), zlib.crc32(effect.encode())]

    def draw(thin: int) -> "Population":
        sampling = Sampling(sizes["draw"], sizes["chain"], thin, np.random.SeedSequence(entropy))
        return sample_population(estimate, error, codes, df=options.df, prior=numbers, sampling=sampling)

    drawn, failures = _until_good(draw, {"effect": found.shapes, "region_mean": list(regions)})
    lead = ("chain", "draw")
    return xr.Dataset(
        {
            "pooled_effect": ((*lead, "blend_shape"), drawn.effect * scale),
            "region_mean": ((*lead, "region"), drawn.region_mean),
            "mean": (lead, drawn.mean),
            "shape_scale": (lead, drawn.shape_scale),
            "region_sd": (lead, drawn.region_sd),
            "estimate": ("blend_shape", estimate * scale),
            "error_sd": ("blend_shape", error_sd * scale),
            "scale": ("blend_shape", scale),
            "error_correlation": (("blend_shape", "blend_shape_bis"), correlation.correlation),
            "correlation_shrinkage": ((), correlation.weight),
        },
        coords={
            "chain": np.arange(sizes["chain"]), "draw": np.arange(sizes["draw"]), "region": regions,
            "blend_shape": list(found.shapes), "blend_shape_bis": list(found.shapes),
        },
        attrs={"failures": failures},
    )  # fmt: skip


def _until_good(
    draw: "Callable[[int], Population]", labels: Mapping[str, Sequence[str]]
) -> "tuple[Population, list[str]]":
    """Draws that pass, thinned more and more, or the last ones with what they miss."""
    drawn = draw(1)
    failures = _failures(drawn._asdict(), labels)
    for thin in THINNING:
        if not failures:
            break
        drawn = draw(thin)
        failures = _failures(drawn._asdict(), labels)
    return drawn, failures


def _numbers(priors: Mapping[str, PoolingPrior]) -> tuple[float, float, float, float]:
    mean = priors["mean"].prior
    return (
        mean.mean if isinstance(mean, Normal) else 0.0,
        mean.sd, priors["shape_scale"].prior.sd, priors["region_sd"].prior.sd,
    )  # fmt: skip


def _failures(drawn: Mapping[str, np.ndarray], labels: Mapping[str, Sequence[str]]) -> list[str]:
    """What misses R-hat or effective size, as texts; `labels` names what a quantity has several of."""
    failures = []
    for name, draws in drawn.items():
        for place, label in enumerate(labels.get(name, [""])):
            found = measure(draws.reshape(*draws.shape[:2], -1)[:, :, place])
            ess = min(found.ess_bulk, found.ess_tail)
            if not (found.r_hat <= R_HAT and ess >= ESS):
                failures.append(f"{name} {label}".strip() + f": R-hat {found.r_hat:.3f}, ESS {ess:.0f}")
    return failures


# Beside the unpooled effects


def with_pooled(
    table: pd.DataFrame, fit: xr.DataTree, weights: Mapping[str, Mapping[str, float]], ci_prob: float
) -> pd.DataFrame:
    """The table of effects with `POOLED_COLUMNS`: NaN where an effect was not pooled, or a shape set apart.

    `shrinkage` is 1 − pooled mean / mean: the share of the unpooled effect that pooling took away.
    """
    columns = {name: np.full(len(table), np.nan) for name in POOLED_COLUMNS}
    if "pooled" in fit.children:
        pooled = fit["pooled"].dataset
        known = json.loads(pooled.attrs["combinations"])
        for row, (effect, shape) in enumerate(zip(table["effect"], table["blend_shape"], strict=True)):
            matching = _matching(weights[effect], known)
            if matching is not None and shape in pooled["blend_shape"]:
                name, factor = matching
                draws = factor * pooled["pooled_effect"].sel(effect=name, blend_shape=shape).to_numpy()
                for column, value in _summary(draws, table["mean"].iloc[row], ci_prob).items():
                    columns[column][row] = value
    return table.assign(**columns)


def _matching(
    wanted: Mapping[str, float], known: Mapping[str, Mapping[str, float]]
) -> tuple[str, float] | None:
    """The pooled effect of which this combination is a multiple, and the factor."""
    for name, weights in known.items():
        first = next(iter(weights))
        factor = wanted.get(first, 0.0) / weights[first] if weights[first] else 0.0
        same = wanted.keys() == weights.keys()
        if factor and same and all(np.isclose(wanted[key], factor * value) for key, value in weights.items()):
            return name, factor
    return None


def _summary(draws: np.ndarray, unpooled: float, ci_prob: float) -> dict[str, float]:
    lower, upper = np.quantile(draws, [(1 - ci_prob) / 2, (1 + ci_prob) / 2])
    positive = float((draws > 0).mean())
    mean = float(draws.mean())
    shrinkage = 1.0 - mean / unpooled if unpooled else np.nan
    numbers = mean, draws.std(ddof=1), lower, upper, max(positive, 1.0 - positive), shrinkage
    return dict(zip(POOLED_COLUMNS, map(float, numbers), strict=True))
