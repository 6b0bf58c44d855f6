"""What to read from a co-activation fit: loadings, shares of variance, correlations of pairs, groups of shapes.

All intervals are 95 % equal-tailed. Loadings are in sds within groups: λ² is about the share of a shape's variance
that the factor carries. `level` is "within" (trials of a person) or "between" (persons), never mixed: how persons
differ says nothing of what moves together in a trial.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.factors.conditional import Parameters, parameters, stored_rows
from mien.models.factors.fitting import correlations
from mien.models.factors.partitions import (
    Ball,
    carriers,
    credible_ball,
    distances,
    least_expected_vi,
    similarity,
)
from mien.models.factors.spec import is_factor_fit
from mien.models.factors.trees import Method, Tree, branch_support, classical_tree, correlation_tree
from mien.study.blend_shapes import region
from mien.study.errors import FitError

__all__ = [
    "CARRIED", "LEVELS", "STRONG", "ShapeGroups", "co_activation_pairs", "correlation_draws", "loadings",
    "require_factor_fit", "shape_groups", "shares",
]  # fmt: skip

LEVELS = ("within", "between")
STRONG = 0.2  # |r| from which two shapes are said to move together, a convention
CARRIED = 0.1  # share of a shape's variance from which a factor carries it, a convention
DRAWS = 1000  # for what is counted draw by draw
FEWEST = 3  # groups for a tree of their means


class ShapeGroups(NamedTuple):
    """Groups of shapes that move together.

    table : blend_shape, group (1 is the largest), with (mean probability of being with the others of its group, of a
    shape that is alone that of being alone).
    partition : (shape,) labels. drawn : share of draws with just this partition.
    similarity : (shape, shape) probability of being in one group.
    vi : mean distance (bits) of the draws' partitions from this one. ball : of 95 %.
    tree : average linkage on 1 − mean correlation, with the posterior support of its branches.
    classical : the same without a model, on the correlations of the trials as they are; None where they are not stored.
    """

    table: pd.DataFrame
    partition: np.ndarray
    drawn: float
    similarity: np.ndarray
    vi: float
    ball: Ball
    tree: Tree
    classical: Tree | None


def require_factor_fit(fit: xr.DataTree) -> None:
    """Refuse a fit of another family."""
    if not is_factor_fit(fit):
        raise FitError(
            f"fit: expected one of mien.models.co_activation(), found {fit.attrs.get('formula', 'another one')!r}."
        )


def loadings(fit: xr.DataTree, level: str | None = None) -> pd.DataFrame:
    """One row a level, factor and shape.

    Parameters
    ----------
    level : one of `LEVELS`; None takes both.

    Returns
    -------
    DataFrame with level, factor, blend_shape, region, mean, sd, eti_lower, eti_upper, inner_lower, inner_upper (50 %),
    p_direction, p_carried (that the factor carries 10 % of the shape's variance or more), congruence (of the factor's
    draws with their mean: how well it is one and the same in all of them), verdict.
    """
    require_factor_fit(fit)
    draws = parameters(fit)
    verdict = str(fit.attrs["diagnostics"])
    rows = []
    for name in LEVELS if level is None else (_level(level),):
        loading, uniqueness, factors = _of_level(fit, draws, name)
        variance = (loading**2).sum(axis=2) + uniqueness
        matched = fit["sample_stats"].dataset["congruence" if name == "within" else "between_congruence"]
        congruence = matched.mean(("chain", "draw")).to_numpy()
        for k, factor in enumerate(factors):
            carried = (loading[:, :, k] ** 2 / variance >= CARRIED).mean(axis=0)
            told = _told(loading[:, :, k])
            rows += [
                {"level": name, "factor": factor, "blend_shape": shape, "region": region(shape),
                 **{key: float(column[d]) for key, column in told.items()},
                 "p_carried": float(carried[d]), "congruence": float(congruence[k]), "verdict": verdict}
                for d, shape in enumerate(_shapes(fit))
            ]  # fmt: skip
    return pd.DataFrame(rows)


def shares(fit: xr.DataTree) -> pd.DataFrame:
    """One row a level and shape: sd (in coefficient units, all of the level's) and the share that factors carry.

    Returns
    -------
    DataFrame with level, blend_shape, sd, sd_lower, sd_upper, communality, communality_lower, communality_upper,
    communality_sd.
    """
    require_factor_fit(fit)
    draws, scale = parameters(fit), fit["constant_data"].dataset["scale"].to_numpy()
    rows = []
    for name in LEVELS:
        loading, uniqueness, _ = _of_level(fit, draws, name)
        common = (loading**2).sum(axis=2)
        size = _told(np.sqrt(common + uniqueness) * scale)
        share = _told(common / (common + uniqueness))
        rows += [
            {"level": name, "blend_shape": shape, "sd": float(size["mean"][d]), "sd_lower": float(size["eti_lower"][d]),
             "sd_upper": float(size["eti_upper"][d]), "communality": float(share["mean"][d]),
             "communality_lower": float(share["eti_lower"][d]), "communality_upper": float(share["eti_upper"][d]),
             "communality_sd": float(share["sd"][d])}
            for d, shape in enumerate(_shapes(fit))
        ]  # fmt: skip
    return pd.DataFrame(rows)


def co_activation_pairs(fit: xr.DataTree, level: str = "within", *, least: float = STRONG) -> pd.DataFrame:
    """Correlations of all pairs of shapes that the model implies, the largest |r| first.

    Returns
    -------
    DataFrame with level, first, second, mean, sd, eti_lower, eti_upper, p_direction, p_strong (P(|r| > least)).
    """
    draws = correlation_draws(fit, level)
    first, second = np.triu_indices(draws.shape[1], 1)
    cells = draws[:, first, second]
    told, shapes = _told(cells), np.array(_shapes(fit))
    table = pd.DataFrame(
        {
            "level": level, "first": shapes[first], "second": shapes[second],
            **{key: told[key] for key in ("mean", "sd", "eti_lower", "eti_upper", "p_direction")},
            "p_strong": (np.abs(cells) > least).mean(axis=0),
        }
    )  # fmt: skip
    order = np.argsort(-np.abs(table["mean"].to_numpy()), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def correlation_draws(fit: xr.DataTree, level: str = "within", draws: int | None = DRAWS) -> np.ndarray:
    """Model-implied correlations, (draw, shape, shape)."""
    require_factor_fit(fit)
    loading, uniqueness, _ = _of_level(fit, parameters(fit, draws), _level(level))
    return correlations(loading, uniqueness)


def shape_groups(
    fit: xr.DataTree, level: str = "within", *, draws: int = DRAWS, method: Method = "average"
) -> ShapeGroups:
    """Which shapes move together within persons (or between them), and how sure that is.

    In each draw a shape belongs to the factor that carries most of its variance, if that is 10 % or more, and is alone
    otherwise. The groups are the partition with the least expected variation of information to those of the draws; the
    ball holds 95 % of them.

    Parameters
    ----------
    level : one of `LEVELS`. The classical tree between is one of the groups' means.
    draws : how many to count over.
    method : of the trees, "average" or (the classical one only) "ward".
    """
    require_factor_fit(fit)
    loading, uniqueness, _ = _of_level(fit, parameters(fit, draws), _level(level))
    labels = carriers(loading, uniqueness, least=CARRIED)
    partition = least_expected_vi(labels)
    apart = distances(partition, labels)
    together = similarity(labels)
    cells = correlations(loading, uniqueness)
    tree = correlation_tree(cells.mean(axis=0))
    tree = tree._replace(support=branch_support(tree, cells))
    observed = _observed(fit, level)
    return ShapeGroups(
        table=_group_table(_shapes(fit), partition, together, _alone(labels)),
        partition=partition,
        drawn=float((apart == 0).mean()),
        similarity=together,
        vi=float(apart.mean()),
        ball=credible_ball(partition, labels),
        tree=tree,
        classical=None if observed is None else classical_tree(observed, method=method),
    )


def _observed(fit: xr.DataTree, level: str) -> np.ndarray | None:
    """The trials as they are, or the means of groups; None where trials are not stored, or groups are too few."""
    if "observed_data" not in fit.children:
        return None
    rows = stored_rows(fit)
    if level == "within":
        return rows.activation
    return rows.by_group(rows.activation) / rows.counts[:, None] if len(rows.levels) >= FEWEST else None


def _alone(labels: np.ndarray) -> np.ndarray:
    """(shape,) share of draws (draw, shape) in which a shape is with no other."""
    return np.array([((labels == labels[:, [d]]).sum(axis=1) == 1).mean() for d in range(labels.shape[1])])


def _group_table(
    shapes: list[str], partition: np.ndarray, together: np.ndarray, alone: np.ndarray
) -> pd.DataFrame:
    sizes = np.bincount(partition)
    place = np.empty(len(sizes), dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    rows = []
    for d, shape in enumerate(shapes):
        others = np.flatnonzero((partition == partition[d]) & (np.arange(len(shapes)) != d))
        rows.append(
            {"blend_shape": shape, "group": int(place[partition[d]]) + 1,
             "with": float(together[d, others].mean()) if len(others) else float(alone[d])}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    return table.sort_values(["group", "with"], ascending=[True, False], kind="stable").reset_index(drop=True)


def _told(values: np.ndarray) -> dict[str, np.ndarray]:
    """Of draws (draw, item): mean, sd, intervals, P(direction)."""
    lower, inner_lower, inner_upper, upper = np.quantile(values, (0.025, 0.25, 0.75, 0.975), axis=0)
    above = (values > 0).mean(axis=0)
    return {
        "mean": values.mean(axis=0), "sd": values.std(axis=0, ddof=1), "eti_lower": lower, "eti_upper": upper,
        "inner_lower": inner_lower, "inner_upper": inner_upper, "p_direction": np.maximum(above, 1.0 - above),
    }  # fmt: skip


def _level(level: str) -> str:
    if level not in LEVELS:
        raise FitError(f"level: expected one of {', '.join(LEVELS)}, found {level!r}.")
    return level


def _shapes(fit: xr.DataTree) -> list[str]:
    return [str(name) for name in fit["posterior"].dataset["blend_shape"].to_numpy()]


def _of_level(fit: xr.DataTree, draws: Parameters, level: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Loadings, uniquenesses and names of the factors."""
    if level == "within":
        names = fit["posterior"].dataset["factor"]
        return draws.loading, draws.uniqueness, [str(name) for name in names.to_numpy()]
    names = fit["posterior"].dataset["between_factor"]
    return draws.between_loading, draws.between_uniqueness, [str(name) for name in names.to_numpy()]
