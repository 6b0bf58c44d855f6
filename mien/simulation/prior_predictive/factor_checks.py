"""The checks of co-activation: how far shapes move, and how much of it together.

    impossible     share of simulated values that cannot occur; each is normal, so that nothing is simulated
    scatter        sd of a shape within groups and between them, in sds within groups (1 within, by scaling)
    loading        root mean square of the loadings
    communality    of a typical shape (the median over shapes): what the factors carry of its variance
    correlation    root mean square over pairs of shapes
    Heywood        share of shapes with under 2 % of their variance for themselves, and of those that are one factor

All but the first two are of all shapes together, which have one prior. Coefficients have flat priors: where the data
lie is taken from the data.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import ndtr

from mien.models.factors.conditional import covariance
from mien.models.factors.fitting import communality, correlations
from mien.simulation.prior_predictive.judging import Judge
from mien.simulation.prior_predictive.limits import Limits
from mien.simulation.prior_predictive.possible import Possible
from mien.simulation.prior_predictive.result import Row

__all__ = ["KINDS", "FactorDraws", "factor_draws", "factor_rows_of"]

KINDS = ("impossible", "scatter", "loading", "communality", "correlation", "Heywood")
TIGHT = 0.98  # communality from which a shape has next to nothing of its own
ONE = 0.9  # share of a shape's variance from which it is one factor
UNITS = "sds within groups"


class FactorDraws(NamedTuple):
    """Prior draws, chains one after the other, by level ("within", "between").

    loading : (draw, shape, factor); uniqueness : (draw, shape). location, scale : (shape,) of the data, in coefficient
    units. between_sd : (shape,) of groups' means, in sds within.
    """

    shapes: tuple[str, ...]
    loading: dict[str, np.ndarray]
    uniqueness: dict[str, np.ndarray]
    location: np.ndarray
    scale: np.ndarray
    between_sd: np.ndarray

    def sd(self, level: str) -> np.ndarray:
        """(draw, shape) implied sd."""
        found = covariance(self.loading[level], self.uniqueness[level])
        return np.sqrt(np.diagonal(found, axis1=1, axis2=2))

    def correlation(self, level: str) -> np.ndarray:
        """(draw, pair)."""
        first, second = np.tril_indices(len(self.shapes), -1)
        return correlations(self.loading[level], self.uniqueness[level])[:, first, second]

    def communality(self, level: str) -> np.ndarray:
        """(draw, shape)."""
        return communality(self.loading[level], self.uniqueness[level])


def factor_draws(tree: xr.DataTree) -> FactorDraws:
    """The draws of a tree of `prior_draws`."""
    posterior, constants = tree["posterior"].dataset, tree["constant_data"].dataset

    def drawn(name: str) -> np.ndarray:
        values = posterior[name].to_numpy()
        return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])

    shapes = tuple(str(name) for name in posterior["blend_shape"].to_numpy())
    between = np.full(len(shapes), np.nan)
    if "observed_data" in tree.children:
        values = tree["observed_data"].dataset["activation"].to_numpy()
        group = constants["group_index"].to_numpy()
        sums = np.zeros((int(group.max()) + 1, len(shapes)))
        np.add.at(sums, group, values)
        between = (sums / np.bincount(group)[:, None]).std(axis=0)
    return FactorDraws(
        shapes, {"within": drawn("loading"), "between": drawn("between_loading")},
        {"within": drawn("uniqueness"), "between": drawn("between_uniqueness")},
        constants["location"].to_numpy(), constants["scale"].to_numpy(), between,
    )  # fmt: skip


def factor_rows_of(draws: FactorDraws, possible: Possible | None, limits: Limits) -> Iterator[Row]:
    """The rows of all checks."""
    within, between = draws.sd("within"), draws.sd("between")
    if possible is not None:
        yield from _impossible(draws, np.hypot(within, between), possible, limits)
    for place, shape in enumerate(draws.shapes):
        judge = Judge("scatter", shape)
        yield judge.size("sd within groups", within[:, place], UNITS, 1.0, limits.scatter_wide, 1.0)
        seen = float(draws.between_sd[place])
        most = limits.scatter_wide * max(seen, 1.0) if np.isfinite(seen) else limits.scatter_wide
        least = seen if np.isfinite(seen) else 0.0
        yield judge.size("sd between groups", between[:, place], UNITS, least, most, seen)
    for level in ("within", "between"):
        yield from _of_level(draws, level, limits)


def _impossible(draws: FactorDraws, sd: np.ndarray, possible: Possible, limits: Limits) -> Iterator[Row]:
    for place, shape in enumerate(draws.shapes):
        size, centre = draws.scale[place] * sd[:, place], draws.location[place]
        share = ndtr((possible.low - centre) / size) + ndtr((centre - possible.high) / size)
        yield Judge("impossible", shape).share(
            "share of a draw's values that cannot occur", share, limits.impossible_rows, "impossible"
        )


def _of_level(draws: FactorDraws, level: str, limits: Limits) -> Iterator[Row]:
    loading, uniqueness = draws.loading[level], draws.uniqueness[level]
    if not loading.shape[2]:
        return
    size = np.sqrt((loading**2).mean(axis=(1, 2)))
    yield Judge("loading", "").size(
        f"size of loadings {level} groups", size, UNITS, limits.loading_narrow, limits.loading_wide
    )
    share = draws.communality(level)
    yield Judge("communality", "").whole(
        f"share of a typical shape that factors carry {level} groups", np.median(share, axis=1), "0–1",
        limits.communality_narrow, limits.communality_wide,
    )  # fmt: skip
    r = np.sqrt((draws.correlation(level) ** 2).mean(axis=1))
    yield Judge("correlation", "").whole(
        f"size of correlations between shapes {level} groups", r, "0–1", limits.correlation_narrow,
        limits.correlation_wide,
    )  # fmt: skip
    judge = Judge("Heywood", "")
    yield judge.share(
        f"share of shapes with under 2 % of their variance for themselves {level} groups",
        (share > TIGHT).mean(axis=1), limits.tight, "impossible",
    )  # fmt: skip
    total = (loading**2).sum(axis=2) + uniqueness
    alone = (loading**2).max(axis=2) / total > ONE
    yield judge.share(
        f"share of shapes that are one factor {level} groups",
        alone.mean(axis=1),
        limits.one_factor,
        "impossible",
    )
