"""Statistics of rows and of their replicates, for the families in `likelihoods`: part of `checks`."""

from collections.abc import Sequence

import numpy as np

from mien.models.family_rows import FamilyRows, natural_parameters, pearson
from mien.models.likelihood_replicates import draw_response
from mien.models.likelihoods import LIKELIHOODS
from mien.models.row_kernels import add_neighbours

__all__ = ["family_statistics"]

FEWEST_ROWS = 3  # of a person, for an sd; of pairs, for an autocorrelation


def family_statistics(
    rows: FamilyRows, persons: np.ndarray, names: Sequence[str], pairs: np.ndarray, neighbours: str,
    rng: np.random.Generator,
) -> tuple[list[tuple[str, str, tuple[np.ndarray, np.ndarray]]], np.ndarray, np.ndarray]:  # fmt: skip
    """Name, person, and (draw,) of the data and of replicates; Pearson residuals of both, (row, draw).

    Parameters
    ----------
    persons : (row,) codes of `names`, none where there are none. pairs : (2, pair) of neighbours, and what they are.
    """
    replicate = draw_response(rows.family, rows.eta, natural_parameters(rows.family, rows.further), rng)
    has_ones = LIKELIHOODS[rows.family].ones
    observed = np.minimum(rows.response, 1.0) if has_ones else rows.response
    every = np.ones(replicate.shape[1])

    def of_both(name: str, seen: float, made: np.ndarray, person: str = "") -> None:
        found.append((name, person, (seen * every, made)))

    found: list[tuple[str, str, tuple[np.ndarray, np.ndarray]]] = []
    for code, name in enumerate(names):
        at = np.flatnonzero(persons == code)
        if len(at) >= FEWEST_ROWS:
            of_both("sd of rows", float(observed[at].std()), replicate[at].std(axis=0), name)
    of_both("mean", float(observed.mean()), replicate.mean(axis=0))
    of_both("sd", float(observed.std()), replicate.std(axis=0))
    of_both("skewness", float(_skewness(observed[:, None])[0]), _skewness(replicate))
    left, noise = pearson(rows, observed[:, None]), pearson(rows, replicate)
    if pairs.shape[1] >= FEWEST_ROWS:
        both = _autocorrelation(left, pairs), _autocorrelation(noise, pairs)
        found.append((f"autocorrelation of {neighbours}", "", both))
    of_both("share of zeros", float((observed == 0).mean()), (replicate == 0).mean(axis=0))
    if has_ones or (observed >= 1).any():
        of_both("share of ones", float((observed >= 1).mean()), (replicate >= 1).mean(axis=0))
    if rows.family == "student_t" and not (observed < 0).any():
        of_both("share below 0", 0.0, (replicate < 0).mean(axis=0))
    return found, left, noise


def _skewness(values: np.ndarray) -> np.ndarray:
    away = values - values.mean(axis=0)
    spread = (away**2).mean(axis=0)
    return np.divide((away**3).mean(axis=0), spread**1.5, out=np.zeros_like(spread), where=spread > 0)


def _autocorrelation(e: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    products = np.zeros((3, e.shape[1]))
    add_neighbours(np.ascontiguousarray(e), pairs[0], pairs[1], products)
    return products[0] / np.sqrt(products[1] * products[2])
