"""`checks`: what the data have that the model would not have shown, by shape and person.

    residual sd             of each person
    skewness                of the standardised residuals
    autocorrelation         of neighbouring bins, or of neighbouring trials of a person
    share of zeros          of the outcome's values; share below 0 where there is none in the data
    shape averages          variance over observations of the average over shapes of standardised residuals: above the
                            replicates' when shapes move together more than their fits, one by one, know
    PIT                     `loo_pit`: where rows fall in predictions made without them

Of the families in `likelihoods`, whose rows have no residuals that are alike:

    mean, sd, skewness      of the outcome's values; share of zeros, of ones, share below 0
    sd of rows              of each person
    autocorrelation         of Pearson residuals, and of these the variance of shape averages
    PIT                     randomised at zeros and ones

Each is computed draw by draw for the data and for a replicate of the data, with the draw's own coefficients, effects
and sds. p is the share of draws in which the replicate's is the larger; replicates have seen the data, so that p is
drawn towards ½ where the model is right: an extreme one means something, a middling one little. The p of PIT is of
another kind: the probability of independent values as far from uniform, near 1 where the model is right. Checks inform;
they are no gate.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.comparison import ALL_SHAPES
from mien.models.design import Design
from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Residual
from mien.models.factors.spec import require_coefficients
from mien.models.group_draws import with_effects
from mien.models.loo_pit import pit_of_family, pit_of_rows
from mien.models.outcomes import OBSERVATION_KEY
from mien.models.predictive_density import picked_draws
from mien.models.refit import check_rows, design_of, natural_of, outcome_of, used_rows
from mien.models.replicates import residual_noise, row_means, shared_variance
from mien.models.row_kernels import add_neighbours, add_residuals
from mien.models.uniformity import uniformity
from mien.study.errors import FitError

__all__ = ["CHECK_COLUMNS", "check_notes", "checks"]

WHO = "participant"
FEWEST_ROWS = 3  # of a person, for a residual sd
CHECK_COLUMNS = (
    "check", "blend_shape", "participant", "observed", "replicated", "replicated_lower", "replicated_upper", "ci_prob",
    "p", "outside",
)  # fmt: skip


# Name, person, and (draw,) of the data and of replicates
type _Statistic = tuple[str, str, tuple[np.ndarray, np.ndarray]]


class _Shape(NamedTuple):
    """One shape's draws (row, draw).

    response : (row,); left : residuals; noise : of the replicate; scale : residual sds, (1, draw) where rows share it.
    pairs : neighbours, (2, pair), and what they are. persons : (row,) codes; names : of the persons.
    """

    response: np.ndarray
    left: np.ndarray
    noise: np.ndarray
    scale: np.ndarray
    pairs: np.ndarray
    neighbours: str
    persons: np.ndarray
    names: Sequence[str]


class _Labels(NamedTuple):
    """Of a Trials table's observations, by their labels: codes (observation,) and names; None for another table.

    series, position : of the steps that follow each other, None where positions are no whole numbers.
    """

    persons: np.ndarray
    names: np.ndarray
    series: np.ndarray | None
    position: np.ndarray | None
    neighbours: str


def checks(fit: xr.DataTree, *, draws: int = 200, ci_prob: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Posterior predictive checks by shape and person, and the uniformity of PIT values.

    Parameters
    ----------
    fit : of any family, with stored rows; group effects that a Gaussian one left out are drawn.
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
        For fits without stored rows, and of other families without stored effects.
    """
    require_coefficients(fit, "checks")
    check_rows(fit, "checks")
    if not 0 < ci_prob < 1:
        raise FitError(f"ci_prob: expected a number between 0 and 1, found {ci_prob!r}.")
    gaussian = fit.attrs.get("family", "gaussian") == "gaussian"
    fit = with_effects(fit, 2 * draws) if gaussian else fit
    picked, of_pit = picked_draws(fit, draws), picked_draws(fit, 2 * draws)
    shapes, labels = outcomes_of(fit), _labels(fit)
    seen = _seen if gaussian else _seen_of_family

    def one(
        place: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Mapping[str, Any]], Mapping[str, Any]]:
        name = shapes[place] or ""
        used, rng = used_rows(fit, shapes[place]), np.random.default_rng([seed, place, 0xC4])
        found = seen(fit, shapes[place], picked, of_pit, labels, used, rng)
        return (
            used,
            found.left,
            found.noise,
            _rows(name, found.statistics, ci_prob),
            _pit_row(name, found.pit, ci_prob),
        )

    rows, pits, together = [], [], _Together(fit, len(picked))
    for used, left, noise, of_shape, of_its_pit in _in_threads(one, len(shapes)):
        rows += of_shape
        pits.append(of_its_pit)
        together.add(used, left, noise)
    if len(shapes) > 1:
        rows += _rows(ALL_SHAPES, [("shape averages", "", together.variances())], ci_prob)
    return pd.DataFrame(rows + pits, columns=list(CHECK_COLUMNS))


def _in_threads[T](function: Callable[[int], T], count: int) -> Iterator[T]:
    """The function's values at 0, 1 …, in order; as many at once as there are cores."""
    from mien.models.engines.collapsed.density import available_cores

    cores = available_cores()
    with ThreadPoolExecutor(cores) as pool:
        for first in range(0, count, cores):
            yield from pool.map(function, range(first, min(first + cores, count)))


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


class _Seen(NamedTuple):
    """Of one shape: standardised residuals of data and replicates (row, draw), statistics of both, PIT values."""

    left: np.ndarray
    noise: np.ndarray
    statistics: list[_Statistic]
    pit: np.ndarray


def _seen(
    fit: xr.DataTree, shape: str | None, picked: np.ndarray, of_pit: np.ndarray, labels: _Labels | None,
    used: np.ndarray, rng: np.random.Generator,
) -> _Seen:  # fmt: skip
    outcome = outcome_of(fit, shape)
    natural, means = natural_of(fit, shape, outcome), row_means(fit, shape, outcome)
    sigma, rho = natural.sigma[picked], natural.rho[picked]
    persons, names = _persons(outcome.design, labels, used)
    mine = _Shape(
        outcome.response, outcome.response[:, None] - means(picked),
        np.ascontiguousarray(residual_noise(outcome, sigma, rho, rng).T),
        np.ascontiguousarray(np.sqrt(shared_variance(outcome, sigma)).T),
        *_neighbours(outcome.residual, labels, used), persons, names,
    )  # fmt: skip
    statistics = list(_statistics(mine))  # which standardises residuals
    found = pit_of_rows(outcome, means(of_pit), natural.sigma[of_pit], natural.rho[of_pit])
    return _Seen(mine.left, mine.noise, statistics, found[0])


def _seen_of_family(
    fit: xr.DataTree, shape: str | None, picked: np.ndarray, of_pit: np.ndarray, labels: _Labels | None,
    used: np.ndarray, rng: np.random.Generator,
) -> _Seen:  # fmt: skip
    from mien.models.family_checks import family_statistics
    from mien.models.family_rows import family_rows

    persons, names = _persons(design_of(fit, shape), labels, used)
    pairs, neighbours = _neighbours(None, labels, used)
    rows = family_rows(fit, shape, picked, what="checks")
    statistics, left, noise = family_statistics(rows, persons, names, pairs, neighbours, rng)
    found = pit_of_family(family_rows(fit, shape, of_pit, what="checks"), rng)
    return _Seen(left, noise, statistics, found[0])


def _labels(fit: xr.DataTree) -> _Labels | None:
    words = [str(label).split("/") for label in fit["observed_data"].dataset["observation"].to_numpy()]
    if len(words[0]) not in (len(OBSERVATION_KEY) - 1, len(OBSERVATION_KEY)):
        return None
    names, persons = np.unique([word[0] for word in words], return_inverse=True)
    neighbours = "bins" if len(words[0]) == len(OBSERVATION_KEY) else "trials"
    try:
        position = np.array([int(word[-1]) for word in words])
    except ValueError:
        return _Labels(persons, names, None, None, "")
    series = np.unique(["/".join(word[:-1]) for word in words], return_inverse=True)[1]
    return _Labels(persons, names, series, position, neighbours)


def _persons(design: Design, labels: _Labels | None, used: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
    """Codes of the rows' persons and names: by the model's factor, else by what trials' labels say."""
    for block in design.blocks:
        if block.factor == WHO:
            return block.codes, block.levels
    if labels is None:
        return np.zeros(0, dtype=np.int64), ()
    return labels.persons[used], [str(name) for name in labels.names]


def _neighbours(
    residual: Residual | None, labels: _Labels | None, used: np.ndarray
) -> tuple[np.ndarray, str]:
    """Rows one step apart: in a series, between bins of a trial, or between trials of a person's run."""
    if residual is not None and residual.series is not None and residual.position is not None:
        return _one_apart(residual.series, residual.position), "bins"
    if labels is None or labels.series is None or labels.position is None:
        return np.zeros((2, 0), dtype=np.int64), ""
    return _one_apart(labels.series[used], labels.position[used]), labels.neighbours


def _one_apart(series: np.ndarray, position: np.ndarray) -> np.ndarray:
    order = np.lexsort((position, series))
    step = (np.diff(series[order]) == 0) & (np.diff(position[order]) == 1)
    return np.stack([order[:-1][step], order[1:][step]])


# Statistics of the data and of replicates


def _statistics(mine: _Shape) -> Iterator[_Statistic]:
    """Name, person, and (draw,) for the data and for the replicates; residuals are standardised in place."""
    ends = _ends(mine)
    (left, *of_left), (noise, *of_noise) = (_moments(mine, e) for e in (mine.left, mine.noise))
    count = np.bincount(mine.persons, minlength=len(mine.names)) if len(mine.names) else np.zeros(0)
    for code in np.flatnonzero(count >= FEWEST_ROWS).tolist():
        yield (
            "residual sd", mine.names[code], (np.sqrt(left[code] / count[code]), np.sqrt(noise[code] / count[code]))
        )  # fmt: skip
    yield "skewness", "", (of_left[0], of_noise[0])
    if mine.pairs.shape[1] >= FEWEST_ROWS:
        yield f"autocorrelation of {mine.neighbours}", "", (of_left[1], of_noise[1])
    yield from ends


def _moments(mine: _Shape, e: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of squares (person, draw), skewness and autocorrelation (draw,) of residuals."""
    rows, draws = e.shape
    persons = mine.persons if len(mine.names) else np.zeros(rows, dtype=np.int64)
    squares, powers = np.zeros((max(1, len(mine.names)), draws)), np.zeros((3, draws))
    add_residuals(e, mine.scale, persons, squares, powers)
    mean, second, third = powers / rows
    skewness = (third - 3 * mean * second + 2 * mean**3) / (second - mean**2) ** 1.5
    products = np.zeros((3, draws))
    add_neighbours(e, mine.pairs[0], mine.pairs[1], products)
    with np.errstate(invalid="ignore"):  # without pairs
        return squares, skewness, products[0] / np.sqrt(products[1] * products[2])


def _ends(mine: _Shape) -> list[_Statistic]:
    """Shares of rows at 0, and below it where there are none."""
    replicate = mine.response[:, None] - mine.left
    replicate += mine.noise
    every = np.ones(replicate.shape[1])
    zero, below = float((mine.response == 0).mean()), float((mine.response < 0).mean())
    found: list[_Statistic] = [("share of zeros", "", (zero * every, (replicate == 0).mean(axis=0)))]
    if not below:
        found.append(("share below 0", "", (below * every, (replicate < 0).mean(axis=0))))
    return found


class _Together:
    """Sums over shapes of standardised residuals, (observation, draw), and how many shapes an observation has."""

    def __init__(self, fit: xr.DataTree, draws: int) -> None:
        size = fit["observed_data"].dataset.sizes["observation"]
        self.left, self.noise = np.zeros((size, draws)), np.zeros((size, draws))
        self.count = np.zeros(size)

    def add(self, used: np.ndarray, left: np.ndarray, noise: np.ndarray) -> None:
        """Add a shape's standardised residuals."""
        at = slice(None) if used.all() else used
        self.left[at] += left
        self.noise[at] += noise
        self.count += used

    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """(draw,) each, over observations with most of the shapes."""
        most = self.count >= self.count.max()
        count = self.count[most, None]
        return (self.left[most] / count).var(axis=0), (self.noise[most] / count).var(axis=0)


def _rows(shape: str, statistics: Iterable[_Statistic], ci_prob: float) -> list[Mapping[str, Any]]:
    names, persons, both = zip(*statistics, strict=True)
    observed, replicated = (np.stack(some) for some in zip(*both, strict=True))
    lower, middle, upper = np.quantile(replicated, [(1 - ci_prob) / 2, 0.5, (1 + ci_prob) / 2], axis=1)
    seen = observed.mean(axis=1)
    larger = (replicated > observed).mean(axis=1) + 0.5 * (replicated == observed).mean(axis=1)
    return [
        {
            "check": name, "blend_shape": shape, "participant": person, "observed": float(seen[at]),
            "replicated": float(middle[at]), "replicated_lower": float(lower[at]),
            "replicated_upper": float(upper[at]), "ci_prob": ci_prob, "p": float(larger[at]),
            "outside": not lower[at] <= seen[at] <= upper[at],
        }
        for at, (name, person) in enumerate(zip(names, persons, strict=True))
    ]  # fmt: skip


def _pit_row(shape: str, values: np.ndarray, ci_prob: float) -> Mapping[str, Any]:
    told = uniformity(values)
    return {
        "check": "PIT", "blend_shape": shape, "participant": "", "observed": told.distance, "replicated": np.nan,
        "replicated_lower": np.nan, "replicated_upper": np.nan, "ci_prob": ci_prob, "p": told.p,
        "outside": told.p < 1 - ci_prob,
    }  # fmt: skip
