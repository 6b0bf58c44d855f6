"""One name for each factor in all draws: varimax, then the signed permutation that comes nearest to a pivot.

Loadings are known up to a rotation. Each draw is turned to its own simple structure (varimax, on shapes in sds within,
so that a shape that no factor carries does not count), and its columns are then matched, with signs, to those of a
pivot: of all signed permutations P the one with least ‖ΛP − pivot‖, which one linear assignment on −|Λ'pivot| finds.
The first pivot is the draw with the median spectral norm; after that the mean of the aligned draws, until no draw
changes.

What a draw and the mean have in common is measured by `congruence`, the cosine between matched columns. Where draws
have another simple structure than the mean, it is low: `another_optimum` says in what share of them.
"""

from typing import NamedTuple

import numpy as np
from numba import njit  # pyright: ignore[reportPrivateImportUsage]

__all__ = ["Alignment", "align", "congruence", "varimax"]

SWEEPS = 1000  # over all planes
TOLERANCE = 1e-9  # of an angle, radians
ROUNDS = 20  # of new pivots
LEAST = 0.85  # congruence of a factor below which a draw is said to have another one: a convention


class Alignment(NamedTuple):
    """Aligned loadings and how well they match.

    loading : (draw, shape, factor), factors by falling Σλ² of the mean, signs such that Σλ³ of the mean is positive.
    turn : (draw, factor, factor) with loading = draw @ turn: rotation, order and signs, for scores.
    congruence : (draw, factor) with the mean's columns.
    """

    loading: np.ndarray
    turn: np.ndarray
    congruence: np.ndarray

    @property
    def another_optimum(self) -> np.ndarray:
        """(factor,) share of draws whose column is not the mean's."""
        return np.mean(self.congruence < LEAST, axis=0)


def varimax(loading: np.ndarray) -> np.ndarray:
    """The rotation of each draw that makes Σ_k var_d(λ²_dk) largest, from no rotation; (draw, factor, factor).

    Parameters
    ----------
    loading : (draw, shape, factor).
    """
    turned = np.array(np.swapaxes(loading, 1, 2), dtype=np.float64, order="C")
    turn = np.tile(np.eye(loading.shape[2]), (len(loading), 1, 1))
    for mine, own in zip(turned, turn, strict=True):
        _turn_pairs(mine, own)
    return turn


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _turn_pairs(x, turn):
    """Plane after plane, each by its best angle, until no angle counts; x (factor, shape), turn in place."""
    factors, shapes = x.shape
    for _ in range(SWEEPS):
        largest = 0.0
        for j in range(factors):
            for k in range(j + 1, factors):
                a, b, c, d = 0.0, 0.0, 0.0, 0.0
                for i in range(shapes):
                    u = x[j, i] * x[j, i] - x[k, i] * x[k, i]
                    v = 2.0 * x[j, i] * x[k, i]
                    a += u
                    b += v
                    c += u * u - v * v
                    d += 2.0 * u * v
                angle = 0.25 * np.arctan2(d - 2.0 * a * b / shapes, c - (a * a - b * b) / shapes)
                largest = max(largest, abs(angle))
                cosine, sine = np.cos(angle), np.sin(angle)
                for i in range(shapes):
                    left, right = x[j, i], x[k, i]
                    x[j, i] = cosine * left + sine * right
                    x[k, i] = cosine * right - sine * left
                for i in range(factors):
                    left, right = turn[i, j], turn[i, k]
                    turn[i, j] = cosine * left + sine * right
                    turn[i, k] = cosine * right - sine * left
        if largest < TOLERANCE:
            break


def align(loading: np.ndarray) -> Alignment:
    """Varimax and one order and sign of the factors for all draws.

    Parameters
    ----------
    loading : (draw, shape, factor), in any rotation.
    """
    turn = varimax(loading)
    turned = loading @ turn
    norms = np.linalg.norm(turned, ord=2, axis=(1, 2))
    pivot = turned[np.argsort(norms, kind="stable")[len(norms) // 2]]
    before = np.zeros(turn.shape)
    for _ in range(ROUNDS):
        signed = signed_permutations(turned, pivot)
        if np.array_equal(signed, before):
            break
        before = signed
        pivot = np.mean(turned @ signed, axis=0)
    last = _in_order(pivot)
    turn = turn @ before @ last
    aligned = loading @ turn
    return Alignment(aligned, turn, congruence(aligned, aligned.mean(axis=0)))


def signed_permutations(loading: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """For each draw the signed permutation P with least ‖ΛP − pivot‖, (draw, factor, factor)."""
    from scipy.optimize import linear_sum_assignment

    products = np.swapaxes(loading, 1, 2) @ pivot  # (draw, own factor, pivot's)
    found = np.zeros(products.shape)
    for draw, product in enumerate(products):
        own, theirs = linear_sum_assignment(-np.abs(product))
        found[draw, own, theirs] = np.where(product[own, theirs] < 0, -1.0, 1.0)
    return found


def congruence(loading: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosines between columns of the same number, (…, factor)."""
    product = (loading * other).sum(axis=-2)
    size = np.sqrt((loading**2).sum(axis=-2) * (other**2).sum(axis=-2))
    return product / np.where(size > 0, size, 1.0)


def _in_order(mean: np.ndarray) -> np.ndarray:
    """The signed permutation that puts the mean's factors in order."""
    order = np.argsort(-(mean**2).sum(axis=0), kind="stable")
    signs = np.where((mean**3).sum(axis=0) < 0, -1.0, 1.0)
    found = np.zeros((len(order), len(order)))
    found[order, np.arange(len(order))] = signs[order]
    return found
