"""`checks`: what the data have that the model would not have shown, by shape and person.

    residual sd             of each person
    skewness                of the standardised residuals
    autocorrelation         of neighbouring bins, or of neighbouring trials of a person
    share of zeros          of the outcome's values; share below 0 where there is none in the data
    shape averages          variance over observations of the average over shapes of standardised residuals: above the
                            replicates' when shapes move together more than their fits, one by one, know
    PIT                     `loo_pit`: where rows fall in predictions made without them

Each is computed draw by draw for the data and for a replicate of the data, with the draw's own coefficients, effects
and sds. p is the share of draws in which the replicate's is the larger; replicates have seen the data, so that p is
drawn towards ½ where the model is right: an extreme one means something, a middling one little. The p of PIT is of
another kind: the probability of independent values as far from uniform, near 1 where the model is right. Checks inform;
they are no gate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.comparison import ALL_SHAPES
from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.loo_pit import pit
from mien.models.outcomes import OBSERVATION_KEY
from mien.models.predictive_density import picked_draws
from mien.models.refit import check_gaussian, natural_of, outcome_of, used_rows
from mien.models.replicates import fitted_means, residual_noise, row_variance
from mien.models.uniformity import uniformity
from mien.study.errors import FitError

__all__ = ["CHECK_COLUMNS", "check_notes", "checks"]

WHO = "participant"
FEWEST_ROWS = 3  # of a person, for a residual sd
CHECK_COLUMNS = (
    "check", "blend_shape", "participant", "observed", "replicated", "replicated_lower", "replicated_upper", "ci_prob",
    "p", "outside",
)  # fmt: skip


class _Shape(NamedTuple):
    """One shape's draws (draw, row).

    response : (row,); mean; noise : of the replicate; scale : residual sds. pairs : neighbours, (2, pair), and what
    they are. persons : (row,) codes; names : of the persons.
    """

    response: np.ndarray
    mean: np.ndarray
    noise: np.ndarray
    scale: np.ndarray
    pairs: np.ndarray
    neighbours: str
    persons: np.ndarray
    names: Sequence[str]

    @property
    def left(self) -> np.ndarray:
        return self.response - self.mean


def checks(fit: xr.DataTree, *, draws: int = 200, ci_prob: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Posterior predictive checks by shape and person, and the uniformity of PIT values.

    Parameters
    ----------
    fit : Gaussian, with stored rows and group effects.
    draws : spread evenly over the posterior's (PIT takes twice as many). ci_prob : level of replicates' intervals.
    seed : of the replicates.

    Returns
    -------
    `CHECK_COLUMNS`: `observed` is the mean over draws, `replicated` the replicates' median; `outside` whether the
    observed lies outside their interval, of PIT whether p < 1 − ci_prob. `participant` is "" for all rows of a shape.
    PIT's observed is the largest distance of its distribution function from the diagonal.

    Raises
    ------
    FitError
        For other families, or fits without stored rows or effects.
    """
    check_gaussian(fit, "checks")
    if not 0 < ci_prob < 1:
        raise FitError(f"ci_prob: expected a number between 0 and 1, found {ci_prob!r}.")
    picked = picked_draws(fit, draws)
    shapes = outcomes_of(fit)
    rows, together = [], _Together(fit, len(picked), len(shapes))
    for place, shape in enumerate(shapes):
        rng = np.random.default_rng([seed, place, 0xC4])
        mine = _drawn(fit, shape, picked, rng)
        rows += [
            _row(name, shape or "", person, *values, ci_prob) for name, person, values in _statistics(mine)
        ]
        together.add(place, used_rows(fit, shape), mine)
    if len(shapes) > 1:
        rows.append(_row("shape averages", ALL_SHAPES, "", *together.variances(), ci_prob))
    rows += _pit_rows(fit, 2 * draws, ci_prob)
    return pd.DataFrame(rows, columns=list(CHECK_COLUMNS))


def check_notes(table: pd.DataFrame) -> list[str]:
    """A sentence for every kind of check: how many lie outside what the model expects, of how many."""
    sentences = []
    for name, some in table.groupby("check", sort=False):
        outside = some[some["outside"]]
        unit = "participants and shapes" if str(some["participant"].iloc[0]) else "shapes"
        if name == "shape averages":
            ratio = float(some["observed"].iloc[0]) / float(some["replicated"].iloc[0])
            sentences.append(
                f"Averages over shapes vary {ratio:.1f} times as much as independent shapes would"
                f"{'' if len(outside) else ', within what the model expects'}."
            )
            continue
        expected = (1 - float(some["ci_prob"].iloc[0])) * len(some)
        named = ", ".join(str(shape) for shape in dict.fromkeys(outside["blend_shape"]) if shape)
        sentences.append(
            f"{name}: {len(outside)} of {len(some)} {unit} outside what the model expects, by chance at most about "
            f"{expected:.2g}{f' ({named})' if named and len(outside) <= 5 else ''}."
        )
    return sentences


# Draws


def _drawn(fit: xr.DataTree, shape: str | None, picked: np.ndarray, rng: np.random.Generator) -> _Shape:
    outcome = outcome_of(fit, shape)
    natural = natural_of(fit, shape, outcome)
    sigma, rho = natural.sigma[picked], natural.rho[picked]
    pairs, neighbours = _neighbours(fit, shape, outcome)
    persons, names = _persons(fit, shape, outcome)
    return _Shape(
        outcome.response, fitted_means(fit, shape, outcome)(picked), residual_noise(outcome, sigma, rho, rng),
        np.sqrt(row_variance(outcome, sigma)), pairs, neighbours, persons, names,
    )  # fmt: skip


def _persons(fit: xr.DataTree, shape: str | None, outcome: Outcome) -> tuple[np.ndarray, Sequence[str]]:
    """Codes of the rows' persons and names: by the model's factor, else by what trials' labels say."""
    for block in outcome.design.blocks:
        if block.factor == WHO:
            return block.codes, block.levels
    words = _words(fit, shape)
    if not words:
        return np.zeros(0, dtype=np.int64), ()
    names, codes = np.unique([word[0] for word in words], return_inverse=True)
    return codes, [str(name) for name in names]


def _words(fit: xr.DataTree, shape: str | None) -> list[list[str]]:
    """Parts of the labels of a Trials table's observations, [] for another table."""
    labels = fit["observed_data"].dataset["observation"].to_numpy()[used_rows(fit, shape)]
    words = [str(label).split("/") for label in labels]
    return words if len(words[0]) in (len(OBSERVATION_KEY) - 1, len(OBSERVATION_KEY)) else []


def _neighbours(fit: xr.DataTree, shape: str | None, outcome: Outcome) -> tuple[np.ndarray, str]:
    """Rows one step apart: in a series, between bins of a trial, or between trials of a person's run."""
    residual = outcome.residual
    if residual.series is not None and residual.position is not None:
        return _one_apart(residual.series, residual.position), "bins"
    words = _words(fit, shape)
    if not words:
        return np.zeros((2, 0), dtype=np.int64), ""
    try:
        position = np.array([int(word[-1]) for word in words])
    except ValueError:
        return np.zeros((2, 0), dtype=np.int64), ""
    series = np.unique(["/".join(word[:-1]) for word in words], return_inverse=True)[1]
    return _one_apart(series, position), "bins" if len(words[0]) == len(OBSERVATION_KEY) else "trials"


def _one_apart(series: np.ndarray, position: np.ndarray) -> np.ndarray:
    order = np.lexsort((position, series))
    step = (np.diff(series[order]) == 0) & (np.diff(position[order]) == 1)
    return np.stack([order[:-1][step], order[1:][step]])


# Statistics of the data and of replicates


def _statistics(mine: _Shape) -> Iterator[tuple[str, str, tuple[np.ndarray, np.ndarray]]]:
    """Name, person, and (draw,) for the data and for the replicates."""
    left, scale = mine.left, mine.scale

    def of_both(statistic: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return statistic(left), statistic(mine.noise)

    for code, name in enumerate(mine.names):
        at = np.flatnonzero(mine.persons == code)
        if len(at) >= FEWEST_ROWS:
            yield "residual sd", name, of_both(lambda e, at=at: np.sqrt((e[:, at] ** 2).mean(axis=1)))
    yield "skewness", "", of_both(lambda e: _skewness(e / scale))
    if mine.pairs.shape[1] >= FEWEST_ROWS:
        yield (
            f"autocorrelation of {mine.neighbours}", "", of_both(lambda e: _autocorrelation(e / scale, mine.pairs))
        )  # fmt: skip
    replicate = mine.mean + mine.noise
    every = np.ones(len(replicate))
    zero, below = float((mine.response == 0).mean()), float((mine.response < 0).mean())
    yield "share of zeros", "", (zero * every, (replicate == 0).mean(axis=1))
    if not below:
        yield "share below 0", "", (below * every, (replicate < 0).mean(axis=1))


def _skewness(e: np.ndarray) -> np.ndarray:
    centred = e - e.mean(axis=1, keepdims=True)
    square = centred * centred
    return (square * centred).mean(axis=1) / square.mean(axis=1) ** 1.5


def _autocorrelation(e: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    before, after = e[:, pairs[0]], e[:, pairs[1]]
    return (before * after).sum(axis=1) / np.sqrt((before**2).sum(axis=1) * (after**2).sum(axis=1))


class _Together:
    """Sums over shapes of standardised residuals, (draw, observation), and how many shapes an observation has."""

    def __init__(self, fit: xr.DataTree, draws: int, shapes: int) -> None:
        size = fit["observed_data"].dataset.sizes["observation"]
        self.left, self.noise = np.zeros((draws, size)), np.zeros((draws, size))
        self.count, self.shapes = np.zeros(size), shapes

    def add(self, place: int, used: np.ndarray, mine: _Shape) -> None:
        """Add a shape's residuals."""
        self.left[:, used] += mine.left / mine.scale
        self.noise[:, used] += mine.noise / mine.scale
        self.count += used

    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """(draw,) each, over observations with most of the shapes."""
        most = self.count >= self.count.max()
        count = self.count[most]
        return (self.left[:, most] / count).var(axis=1), (self.noise[:, most] / count).var(axis=1)


def _row(
    name: str, shape: str, person: str, observed: np.ndarray, replicated: np.ndarray, ci_prob: float
) -> Mapping[str, Any]:
    lower, middle, upper = np.quantile(replicated, [(1 - ci_prob) / 2, 0.5, (1 + ci_prob) / 2])
    seen = float(observed.mean())
    larger = float((replicated > observed).mean() + 0.5 * (replicated == observed).mean())
    return {
        "check": name, "blend_shape": shape, "participant": person, "observed": seen, "replicated": float(middle),
        "replicated_lower": float(lower), "replicated_upper": float(upper), "ci_prob": ci_prob, "p": larger,
        "outside": not lower <= seen <= upper,
    }  # fmt: skip


def _pit_rows(fit: xr.DataTree, draws: int, ci_prob: float) -> list[Mapping[str, Any]]:
    found = np.atleast_2d(pit(fit, draws=draws)["pit"].to_numpy())
    rows = []
    for shape, values in zip(outcomes_of(fit), found, strict=True):
        told = uniformity(values[np.isfinite(values)])
        rows.append(
            {
                "check": "PIT", "blend_shape": shape or "", "participant": "", "observed": told.distance,
                "replicated": np.nan, "replicated_lower": np.nan, "replicated_upper": np.nan, "ci_prob": ci_prob,
                "p": told.p, "outside": told.p < 1 - ci_prob,
            }
        )  # fmt: skip
    return rows
