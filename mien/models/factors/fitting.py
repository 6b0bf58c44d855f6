"""`fit` of a co-activation model: rows, sums, draws, one name for each factor, the verdict.

    posterior       loading (blend_shape, factor), uniqueness, communality (blend_shape); between_loading
                    (blend_shape, between_factor), between_uniqueness, between_communality; loading_sd and
                    between_loading_sd, the τ of their priors; (chain, draw, …).
                    Loadings and root uniquenesses in sds within groups, factors "W1" …, "B1" … by falling Σλ²
    sample_stats    of the sampler, with `congruence` (factor) and `between_congruence` of every draw with the mean
    observed_data   activation (observation, blend_shape), standardised; above a million values left out
    constant_data   design (observation, term), group (observation), location and scale (blend_shape) in coefficients

The verdict rests on what no rotation changes: communalities, uniquenesses and all correlations within and between.
R-hat of the aligned loadings and the share of draws with another simple structure are told beside it (`rotation`).
"""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.diagnostics import BFMI, ESS, R_HAT, Gate, measure
from mien.models.engines.problem import Progress, Settings
from mien.models.factors.conditional import covariance
from mien.models.factors.rotation import Alignment, align
from mien.models.factors.rows import FactorRows, factor_rows
from mien.models.factors.spec import FAMILY, FactorSpec
from mien.study.errors import FitError

if TYPE_CHECKING:
    from mien.models.engines.factor_sampler import FactorDraws

__all__ = [
    "ENGINES",
    "FactorPosterior",
    "communality",
    "correlations",
    "factor_attrs",
    "factor_tree",
    "fit_factors",
    "sampled_factors",
]

ENGINES = ("collapsed", "nuts")
MAX_STORED = 1_000_000  # values of observed_data, as everywhere
MULTIMODAL = 0.05  # share of draws with another simple structure from which it is said: a convention


class FactorPosterior(NamedTuple):
    """Draws with one name for each factor; leading dim (draw,) over all chains.

    within, between : `Alignment`s. uniqueness, between_uniqueness : (draw, shape). loading_sds : (draw, 2).
    chains : how many; stats, note, tried, found : of the sampler.
    """

    within: Alignment
    uniqueness: np.ndarray
    between: Alignment
    between_uniqueness: np.ndarray
    loading_sds: np.ndarray
    chains: int
    stats: dict[str, np.ndarray]
    note: str
    tried: int
    found: int


def fit_factors(
    spec: FactorSpec,
    trials: pd.DataFrame,
    *,
    participants: pd.DataFrame | None = None,
    engine: str = "auto",
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.DataTree:
    """The posterior of a co-activation model; see `mien.fit`, which adds where the data came from.

    Parameters
    ----------
    engine : "collapsed" (and "auto") integrates the scores out; "nuts" is the plain PyMC model with all scores, the
        independent check: hundreds of times slower.
    others : as there.

    Raises
    ------
    SpecError, FitError
    """
    if engine not in (*ENGINES, "auto"):
        raise FitError(f"engine: expected auto or one of {', '.join(ENGINES)}, found {engine!r}.")
    rows = factor_rows(spec, trials, participants)
    if progress:
        progress(0, 1, FAMILY)
    chosen = "collapsed" if engine == "auto" else engine
    posterior = sampled_factors(spec, rows, Settings(draws, chains, seed, True), engine=chosen)
    tree = factor_tree(rows, posterior)
    tree.attrs.update(factor_attrs(spec, rows, posterior, seed))
    tree.attrs["engine"] = chosen
    tree.attrs["engine_reason"] = "asked for" if engine != "auto" else "scores are integrated out"
    verdict = factor_gate(posterior)
    tree.attrs["diagnostics"] = verdict.verdict
    tree.attrs["diagnostics_detail"] = json.dumps(verdict.detail)
    if progress:
        progress(1, 1, FAMILY)
    return tree


def sampled_factors(
    spec: FactorSpec, rows: FactorRows, settings: Settings, *, engine: str = "collapsed"
) -> FactorPosterior:
    """Draws with one name for each factor."""
    if engine == "nuts":
        drawn = _with_scores(spec, rows, settings)
    else:
        from mien.models.engines.factor_sampler import sample_factors

        drawn = sample_factors(rows.sums, spec.factors, spec.between, spec.prior_numbers, settings)
    chains, draws = drawn.uniqueness.shape[:2]

    def flat(values: np.ndarray) -> np.ndarray:
        return values.reshape(chains * draws, *values.shape[2:])

    return FactorPosterior(
        align(flat(drawn.loading)), flat(drawn.uniqueness), align(flat(drawn.between_loading)),
        flat(drawn.between_uniqueness), flat(drawn.loading_sds), chains, dict(drawn.stats), drawn.note,
        drawn.tried, drawn.found,
    )  # fmt: skip


def _with_scores(spec: FactorSpec, rows: FactorRows, settings: Settings) -> "FactorDraws":
    """The same from the plain PyMC model, which has all scores among its parameters."""
    from mien.models.engines.factor_graph import factor_model, sample_plain
    from mien.models.engines.factor_sampler import FactorDraws

    if not spec.between:
        raise FitError("engine nuts: expected at least one factor between groups, found none: use collapsed.")
    model = factor_model(
        rows.activation, rows.design, rows.group, factors=spec.factors, between=spec.between,
        priors=spec.prior_numbers,
    )  # fmt: skip
    drawn = sample_plain(model, seed=settings.seed, draws=settings.draws, chains=settings.chains)
    return FactorDraws(
        drawn.loading, drawn.uniqueness, drawn.between_loading, drawn.between_uniqueness,
        np.stack([drawn.loading_sd, drawn.between_loading_sd], axis=-1), drawn.stats,
    )  # fmt: skip


def communality(loading: np.ndarray, uniqueness: np.ndarray) -> np.ndarray:
    """Share of each shape's variance that the factors carry, (…, shape)."""
    common = (loading**2).sum(axis=-1)
    return common / (common + uniqueness)


def correlations(loading: np.ndarray, uniqueness: np.ndarray) -> np.ndarray:
    """Model-implied correlations of each draw, (…, shape, shape)."""
    found = covariance(loading, uniqueness)
    root = np.sqrt(np.diagonal(found, axis1=-2, axis2=-1))
    return found / (root[..., :, None] * root[..., None, :])


# The verdict


def factor_gate(posterior: FactorPosterior) -> Gate:
    """The sampled gate over what no rotation changes, with what is known of the rotation."""
    levels = {
        "within": (posterior.within, posterior.uniqueness),
        "between": (posterior.between, posterior.between_uniqueness),
    }
    measures = {
        f"sd of loadings {level}": measure(_chains(posterior.loading_sds[:, place], posterior))
        for place, level in enumerate(levels)
        if levels[level][0].loading.shape[2]
    }
    texts: list[str] = []
    for level, (alignment, uniqueness) in levels.items():
        shares = communality(alignment.loading, uniqueness)
        for shape in range(uniqueness.shape[1]):
            if alignment.loading.shape[2]:
                measures[f"communality {level} {shape}"] = measure(_chains(shares[:, shape], posterior))
            measures[f"uniqueness {level} {shape}"] = measure(_chains(uniqueness[:, shape], posterior))
        texts += _correlations_missed(level, alignment, uniqueness, posterior)
    for name, one in measures.items():
        if not (one.r_hat <= R_HAT and one.ess_bulk >= ESS and one.ess_tail >= ESS):
            texts.append(f"{name}: R-hat {one.r_hat:.3f}, ESS {one.ess_bulk:.0f} and {one.ess_tail:.0f}")
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    bfmi = float(np.min(array_stats.bfmi(posterior.stats["energy"], chain_axis=0, draw_axis=1)))
    divergences = int(posterior.stats["diverging"].sum())
    texts += [f"{divergences} divergences"] if divergences else []
    texts += [] if bfmi >= BFMI else [f"BFMI {bfmi:.2f}"]
    if posterior.tried > 1 and posterior.found < 2:
        texts.append(
            f"solutions: of {posterior.tried} climbs one alone came to the highest density, so that there may be a "
            "better one: take other numbers of factors, and the mean of both sides where these are nearly twins"
        )
    detail = {
        "kind": "sampling",
        "limits": {"r_hat": R_HAT, "ess": ESS, "bfmi": BFMI, "divergences": 0},
        "max_r_hat": round(max(one.r_hat for one in measures.values()), 4),
        "min_ess_bulk": round(min(one.ess_bulk for one in measures.values()), 1),
        "min_ess_tail": round(min(one.ess_tail for one in measures.values()), 1),
        "min_bfmi": round(bfmi, 4),
        "divergences": divergences,
        "outcomes": 1,
        "failed": {"": texts} if texts else {},
        "solutions": {"tried": posterior.tried, "found": posterior.found},
        "rotation": {level: _rotation(alignment, posterior) for level, (alignment, _) in levels.items()},
    }
    return Gate("failed" if texts else "passed", detail)


def _chains(values: np.ndarray, posterior: FactorPosterior) -> np.ndarray:
    """(draw, …) of all chains as (chain, draw, …)."""
    return values.reshape(posterior.chains, len(values) // posterior.chains, *values.shape[1:])


def _correlations_missed(
    level: str, alignment: Alignment, uniqueness: np.ndarray, posterior: FactorPosterior
) -> list[str]:
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    if not alignment.loading.shape[2]:
        return []
    place = np.tril_indices(uniqueness.shape[1], -1)
    cells = _chains(correlations(alignment.loading, uniqueness)[:, place[0], place[1]], posterior)
    axes: dict[str, Any] = {"chain_axis": 0, "draw_axis": 1}
    r_hat: Any = array_stats.rhat(cells, method="split", **axes)
    size: Any = array_stats.ess(cells, method="mean", **axes)
    if r_hat.max() <= R_HAT and size.min() >= ESS:
        return []
    return [f"correlations {level}: R-hat up to {r_hat.max():.3f}, ESS down to {size.min():.0f}"]


def _rotation(alignment: Alignment, posterior: FactorPosterior) -> list[dict[str, float]]:
    """Of each factor: R-hat of its loadings, mean congruence of draws with the mean, share with another structure."""
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    axes: dict[str, Any] = {"chain_axis": 0, "draw_axis": 1}
    found = []
    for factor in range(alignment.loading.shape[2]):
        mine = _chains(alignment.loading[:, :, factor], posterior)
        r_hat: Any = array_stats.rhat(mine, method="split", **axes)
        found.append(
            {
                "max_r_hat": round(float(r_hat.max()), 4),
                "congruence": round(float(alignment.congruence[:, factor].mean()), 4),
                "another": round(float(alignment.another_optimum[factor]), 4),
            }
        )
    return found


# The tree


def factor_tree(rows: FactorRows, posterior: FactorPosterior) -> xr.DataTree:
    """The posterior's DataTree, named."""
    within, between = posterior.within, posterior.between
    chains, draws = posterior.stats["energy"].shape
    coords = {
        "chain": np.arange(chains),
        "draw": np.arange(draws),
        "blend_shape": list(rows.shapes),
        "factor": [f"W{k + 1}" for k in range(within.loading.shape[2])],
        "between_factor": [f"B{k + 1}" for k in range(between.loading.shape[2])],
    }
    shape, base = ("blend_shape",), ("chain", "draw")
    values = {
        "loading": (within.loading, (*shape, "factor")),
        "uniqueness": (posterior.uniqueness, shape),
        "communality": (communality(within.loading, posterior.uniqueness), shape),
        "between_loading": (between.loading, (*shape, "between_factor")),
        "between_uniqueness": (posterior.between_uniqueness, shape),
        "between_communality": (communality(between.loading, posterior.between_uniqueness), shape),
        "loading_sd": (posterior.loading_sds[:, 0], ()),
        "between_loading_sd": (posterior.loading_sds[:, 1], ()),
    }
    drawn = {name: ((*base, *dims), _chains(value, posterior)) for name, (value, dims) in values.items()}
    stats: dict[str, Any] = {name: (base, value) for name, value in posterior.stats.items()}
    stats["congruence"] = ((*base, "factor"), _chains(within.congruence, posterior))
    stats["between_congruence"] = ((*base, "between_factor"), _chains(between.congruence, posterior))
    groups = {"posterior": xr.Dataset(drawn, coords), "sample_stats": xr.Dataset(stats, coords)}
    constant: dict[str, Any] = {"location": (shape, rows.location), "scale": (shape, rows.scale)}
    stored = {"blend_shape": list(rows.shapes)}
    if rows.activation.size <= MAX_STORED:
        stored |= {
            "observation": np.array(rows.observations.to_list()),
            "term": list(rows.terms),
            "group": list(rows.levels),
        }
        constant |= {
            "design": (("observation", "term"), rows.design),
            "group_index": (("observation",), rows.group),
            **{
                name: (("observation",), np.array(rows.keys[name].astype("str").to_list()))
                for name in rows.keys
            },
        }
        observed = {"activation": (("observation", "blend_shape"), rows.activation)}
        groups["observed_data"] = xr.Dataset(
            observed, {name: stored[name] for name in ("observation", "blend_shape")}
        )
    groups["constant_data"] = xr.Dataset(constant, stored)
    return xr.DataTree.from_dict(groups)


def factor_attrs(spec: FactorSpec, rows: FactorRows, posterior: FactorPosterior, seed: int) -> dict[str, Any]:
    """What a fit says of itself besides its draws."""
    transforms = {name: list(one) for name, one in rows.transforms.items()}
    priors = {name: one.to_dict() for name, one in spec.resolved_priors.items()}
    return {
        "formula": spec.formula, "family": FAMILY, "name": spec.name, "answers": spec.answers,
        "model_spec": spec.to_json(), "priors": json.dumps(priors),
        "coding": json.dumps({name: list(levels) for name, levels in rows.coding.items()}),
        **({"derived": json.dumps(dict(rows.derived))} if rows.derived else {}),
        **({"transforms": json.dumps(transforms)} if transforms else {}),
        "units": "within sd", "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": json.dumps(dict(rows.counts)), "left_out": json.dumps(dict(rows.left_out)),
        "groups": json.dumps({"role": spec.group, "count": len(rows.levels)}),
        "sampling_notes": json.dumps({"": posterior.note} if posterior.note else {}), "seed": int(seed),
    }  # fmt: skip
