"""Trees of shapes: which move together, drawn as a dendrogram, with the posterior support of its branches.

    distance     1 − r: 0 for shapes that move as one, 1 for unrelated ones, 2 for opposite ones
    tree         of one correlation matrix, or the classical one of the observed rows
    clade        the shapes below a merge
    support      of a merge: the share of posterior draws whose own tree has its clade

A draw's tree is made as the tree is, so that support says how far the data fix the branch. The last merge holds all
shapes and has support 1 always. Among equal distances the merge of the first shapes comes first.
"""

from typing import Literal, NamedTuple

import numpy as np

from mien.study.errors import FitError, SpecError

__all__ = ["Tree", "branch_support", "classical_tree", "correlation_tree", "leaves_below"]

TOLERANCE = 1e-4  # of a correlation matrix: stored ones may be float32
DIGITS = 12  # of a distance: what differs by less is equal
METHODS = ("average", "ward")

Method = Literal["average", "ward"]


class Tree(NamedTuple):
    """A tree of shapes.

    linkage: (merge, 4) as SciPy's: the two parts, the distance and the number of shapes.
    leaves: (shape,) shapes in the order of drawing, neighbours being as near as the tree allows.
    method: of linkage. support: (merge,) share of draws, None where there are none.
    """

    linkage: np.ndarray
    leaves: np.ndarray
    method: Method
    support: np.ndarray | None = None


def correlation_tree(correlation: np.ndarray, *, method: Method = "average") -> Tree:
    """The tree of a correlation matrix on 1 − r.

    Parameters
    ----------
    correlation : (shape, shape), of two shapes or more.
    method : "average" linkage, or "ward": Ward's formula with 1 − r in the place of the distance, a convention.

    Raises
    ------
    FitError
        For a matrix that is none of correlations.
    SpecError
        For another method.
    """
    from scipy.cluster.hierarchy import leaves_list, optimal_leaf_ordering

    if method not in METHODS:
        raise SpecError(
            f"trees: expected the method {' or '.join(METHODS)}, found {method!r}: give one of them."
        )
    distance = _distance(np.asarray(correlation))
    linkage = optimal_leaf_ordering(_linkage(distance, method), distance)
    return Tree(linkage, leaves_list(linkage).astype(np.int64), method)


def classical_tree(values: np.ndarray, *, method: Method = "average") -> Tree:
    """The same on the Pearson correlations of observed rows, without a model: what the posterior's tree is beside.

    Parameters
    ----------
    values : (row, shape) activations, without missing ones; three rows or more.
    method : as for `correlation_tree`.

    Raises
    ------
    FitError
        For a shape that is missing somewhere or the same in all rows.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) < 3:
        raise FitError(
            f"trees: expected values (row, shape) of three rows or more, found {values.shape}: give more trials."
        )
    missing = ~np.isfinite(values).all(axis=0)
    if missing.any():
        raise FitError(
            f"trees: expected values in all rows, found missing ones of shape {_listed(missing)}: "
            "leave the rows or the shape out."
        )
    centred = values - values.mean(axis=0)
    size = np.sqrt(np.square(centred).mean(axis=0))
    constant = size <= 1e-10 * np.abs(values).max(axis=0)
    if constant.any():
        raise FitError(
            f"trees: expected shapes that vary, found the same value in all rows of shape {_listed(constant)}: "
            "leave it out."
        )
    scaled = centred / size
    return correlation_tree(scaled.T @ scaled / len(scaled), method=method)


def branch_support(tree: Tree, correlations: np.ndarray) -> np.ndarray:
    """The share of draws whose own tree has the clade of each merge.

    Parameters
    ----------
    tree : of the same shapes; draws' trees have its method.
    correlations : (draw, shape, shape)

    Returns
    -------
    (merge,) for `tree._replace(support=…)`.

    Raises
    ------
    FitError
        For draws that are no correlations or of other shapes.
    """
    wanted = _clades(tree.linkage)
    shapes = len(wanted) + 1
    correlations = np.asarray(correlations)
    if correlations.ndim != 3 or not len(correlations) or correlations.shape[1] != shapes:
        raise FitError(
            f"trees: expected correlations (draw, shape, shape) of {shapes} shapes, found {correlations.shape}: "
            "give the draws of the shapes that are in the tree."
        )
    found = np.zeros(len(wanted))
    for draw, correlation in enumerate(correlations):
        clades = set(_clades(_linkage(_distance(correlation, f"draw {draw}, "), tree.method)))
        found += [clade in clades for clade in wanted]
    return found / len(correlations)


def leaves_below(tree: Tree) -> list[frozenset[int]]:
    """The clade of each merge: the shapes below it."""
    shapes = range(len(tree.linkage) + 1)
    return [frozenset(shape for shape in shapes if clade >> shape & 1) for clade in _clades(tree.linkage)]


def _clades(linkage: np.ndarray) -> list[int]:
    """The shapes below each merge, as the bits of a whole number."""
    below = [1 << shape for shape in range(len(linkage) + 1)]
    for one, other in linkage[:, :2].astype(np.int64).tolist():
        below.append(below[one] | below[other])
    return below[len(linkage) + 1 :]


def _linkage(distance: np.ndarray, method: Method) -> np.ndarray:
    from scipy.cluster.hierarchy import linkage

    return linkage(distance, method)


def _distance(correlation: np.ndarray, where: str = "") -> np.ndarray:
    """(pair,) 1 − r of a checked matrix (shape, shape), pairs in SciPy's condensed order."""
    if correlation.ndim != 2 or correlation.shape[0] != correlation.shape[1]:
        raise FitError(
            f"trees: expected correlations (shape, shape), found {correlation.shape}: give a square matrix."
        )
    shapes = len(correlation)
    if shapes < 2:
        raise FitError(f"trees: expected two shapes or more, found {shapes}: a tree joins shapes.")
    correlation = correlation.astype(np.float64)
    unknown = ~np.isfinite(correlation)
    unknown = unknown.sum(axis=0) + unknown.sum(axis=1)
    if unknown.any():
        raise FitError(
            f"trees: expected finite correlations, found others at {where}shape {unknown.argmax()}: a shape that "
            "does not vary has none; leave it out."
        )
    away = np.maximum(np.abs(correlation - correlation.T).max(axis=1), np.abs(correlation).max(axis=1) - 1.0)
    away = np.maximum(away, np.abs(np.diagonal(correlation) - 1.0))
    if away.max() > TOLERANCE:
        raise FitError(
            "trees: expected correlations (symmetric, 1 on the diagonal, −1 to 1), found others at "
            f"{where}shape {away.argmax()}: divide covariances by the standard deviations."
        )
    return np.clip(np.round(1.0 - correlation[np.triu_indices(shapes, 1)], DIGITS), 0.0, 2.0)


def _listed(marked: np.ndarray) -> str:
    return ", ".join(str(place) for place in np.flatnonzero(marked))
