"""Groups of shapes, with their uncertainty: a partition of the shapes a draw, and what the draws say together.

    labels (draw, shape)    which shapes are together in a draw; numbered by first appearance, so that equal
                            partitions are equal rows. A shape may be alone
    similarity              P(two shapes are together)
    VI(a, b)                variation of information in bits: what a tells and b does not, and the other way round;
                            0 for equal partitions, log2(shapes) at most
    the partition           with the least expected VI to the draws
    the ball                around it with 95 % of the draws, told by its farthest, coarsest and finest partitions

With f(m) = m log2 m, |C| the shapes of a cluster, and D the clusters of a draw,

    shapes × E VI(c) = E Σ_D f(|D|) + Σ_C g(C),      g(C) = f(|C|) − 2 E Σ_D f(|C ∩ D|)

so that the expected VI is a sum over a partition's clusters, each told by the distinct clusters of all draws and how
often they come. Nothing needs the draws' own numbering of factors.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from mien.study.errors import FitError, SpecError

__all__ = [
    "Ball", "canonical", "carriers", "credible_ball", "distances", "expected_vi", "least_expected_vi", "similarity",
    "variation_of_information",
]  # fmt: skip

LEAST = 0.1  # of a shape's variance: a rule, what a factor must carry of a shape to have it
DIGITS = 12  # of bits: distances that differ by less are equal
STEP = 1e-10  # bits × shapes: what improves by less is rounding
# Draws that the search starts from. With them 2 of 120 posteriors without a clear structure had a better partition
# (found from 100 draws), by .005 bits at most.
STARTS = 24
CANDIDATES = 100  # draws whose expected VI is computed, those with the least bound


class Ball(NamedTuple):
    """The draws nearest to a partition.

    radius: bits, the smallest with at least `level` of the draws; coverage: the share of draws in it.
    farthest, fewest, most: (partition, shape) partitions in the ball: those at the greatest distance, and those with
    the fewest and with the most clusters (the most distant of them).
    """

    radius: float
    level: float
    coverage: float
    farthest: np.ndarray
    fewest: np.ndarray
    most: np.ndarray


def carriers(loading: np.ndarray, uniqueness: np.ndarray, *, least: float = LEAST) -> np.ndarray:
    """Which factor carries each shape most, if any, as a partition of the shapes by draw.

    Parameters
    ----------
    loading : (draw, shape, factor) after varimax; signs and order of factors do not matter.
    uniqueness : (draw, shape) variances ψ.
    least : the share λ²/(Σλ² + ψ) of a shape's variance that a factor must carry to have the shape.

    Returns
    -------
    (draw, shape) labels, canonical; a shape that no factor has is alone.

    Raises
    ------
    FitError
        For arrays that do not fit together, or variances that are none.
    SpecError
        For a `least` outside 0–1.
    """
    if not 0.0 <= least <= 1.0:
        raise SpecError(f"carriers: expected least between 0 and 1, found {least}: give a share of variance.")
    if loading.ndim != 3 or uniqueness.shape != loading.shape[:2]:
        raise FitError(
            "carriers: expected loading (draw, shape, factor) and uniqueness (draw, shape), found "
            f"{loading.shape} and {uniqueness.shape}: stack chains and draws first."
        )
    carried = np.square(loading, dtype=np.float64)
    total = carried.sum(axis=2) + uniqueness
    bad = ~(np.isfinite(total) & (total > 0) & (uniqueness >= 0))
    if bad.any():
        draw, shape = np.argwhere(bad)[0]
        raise FitError(
            f"carriers: expected finite loadings and positive variances, found others at draw {draw}, shape {shape}: "
            "look at the fit's diagnostics."
        )
    none = np.full((*total.shape, 1), least)
    labels = np.concatenate([carried / total[:, :, None], none], axis=2).argmax(axis=2)
    factors, shapes = loading.shape[2], loading.shape[1]
    return canonical(np.where(labels == factors, factors + np.arange(shapes), labels))


def canonical(labels: np.ndarray) -> np.ndarray:
    """Partitions (…, shape) with clusters numbered 0, 1, … in the order of their first shapes.

    Raises
    ------
    FitError
        For labels that are not whole numbers, or of no shapes.
    """
    labels = np.asarray(labels)
    if labels.ndim == 0 or labels.shape[-1] == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise FitError(
            f"partitions: expected whole-numbered labels (…, shape), found {labels.dtype} {labels.shape}: "
            "take them from carriers()."
        )
    rows = labels.reshape(-1, labels.shape[-1])
    first = np.stack([(rows == rows[:, [shape]]).argmax(axis=1) for shape in range(rows.shape[1])], axis=1)
    number = np.cumsum(first == np.arange(rows.shape[1]), axis=1) - 1
    return np.take_along_axis(number, first, axis=1).reshape(labels.shape)


def similarity(labels: np.ndarray) -> np.ndarray:
    """(shape, shape) posterior probability of being together, from labels (draw, shape)."""
    return _together(*_distinct(labels))


def variation_of_information(a: np.ndarray, b: np.ndarray) -> float:
    """VI (bits) between two partitions (shape,)."""
    return float(distances(a, np.asarray(b)[None])[0])


def distances(partition: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(draw,) VI (bits) from a partition (shape,) to labels (draw, shape), rounded to 1e-12."""
    labels = canonical(labels)
    if labels.ndim != 2 or np.shape(partition) != labels.shape[1:]:
        raise FitError(
            "partitions: expected a partition (shape,) and labels (draw, shape), found "
            f"{np.shape(partition)} and {labels.shape}: both must have the same shapes."
        )
    mine = canonical(partition)
    bits = _sum_of_bits(labels, labels.shape[1])
    for cluster in range(mine.max() + 1):
        inside = labels[:, mine == cluster]
        bits += _bits(np.array(inside.shape[1])) - 2.0 * _sum_of_bits(inside, labels.shape[1])
    return np.abs(np.round(bits / labels.shape[1], DIGITS))


def expected_vi(partition: np.ndarray, labels: np.ndarray) -> float:
    """Mean VI (bits) from a partition (shape,) to the draws' partitions (draw, shape)."""
    return float(distances(partition, labels).mean())


def least_expected_vi(labels: np.ndarray) -> np.ndarray:
    """The partition with the least expected VI to the draws.

    The search starts from the draws that are best themselves, from the best ways to cut the average-linkage and the
    complete-linkage tree of 1 − similarity, from all shapes alone and from all together. From each, single shapes move
    and clusters merge as long as that helps. It is not exhaustive: tests hold it against all partitions of up to 10
    shapes. Where draws have little in common, the answer is often all together or all alone: look at the ball.

    Parameters
    ----------
    labels : (draw, shape)

    Returns
    -------
    (shape,) labels, canonical.
    """
    partitions, share = _distinct(labels)
    costs = _Clusters(partitions, share)
    together = _together(partitions, share)
    alone = [1 << shape for shape in range(costs.shapes)]
    starts = [*_best_draws(costs, partitions, together), *_best_cuts(costs, together), alone, [sum(alone)]]
    return costs.labels(min((_descend(costs, start) for start in starts), key=costs.total))


def credible_ball(partition: np.ndarray, labels: np.ndarray, *, level: float = 0.95) -> Ball:
    """The smallest ball around a partition that holds a share of the draws, in VI.

    The bounds are those that the R package mcclust.ext documents (horizontal, upper vertical, lower vertical), with all
    draws at the radius counted as inside.

    Parameters
    ----------
    partition : (shape,). labels : (draw, shape). level : share of draws, above 0, at most 1.

    Raises
    ------
    SpecError
        For a level outside 0–1.
    """
    if not 0.0 < level <= 1.0:
        raise SpecError(
            f"credible_ball: expected a level above 0 and at most 1, found {level}: give a share."
        )
    partitions, share = _distinct(labels)
    apart = distances(partition, partitions)
    order = np.argsort(apart, kind="stable")
    enough = np.searchsorted(np.cumsum(share[order]), level - 1e-9)
    radius = float(apart[order[min(enough, len(order) - 1)]])
    inside = apart <= radius
    partitions, apart = partitions[inside], apart[inside]
    clusters = partitions.max(axis=1) + 1

    def most_distant(among: np.ndarray) -> np.ndarray:
        return partitions[among & (apart == apart[among].max())]

    return Ball(
        radius,
        level,
        float(share[inside].sum()),
        farthest=most_distant(apart == radius),
        fewest=most_distant(clusters == clusters.min()),
        most=most_distant(clusters == clusters.max()),
    )


def _distinct(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct partitions (partition, shape) and the share of draws that have them."""
    labels = canonical(labels)
    if labels.ndim != 2 or not len(labels):
        raise FitError(
            f"partitions: expected labels (draw, shape) of a draw or more, found {labels.shape}: "
            "take them from carriers()."
        )
    partitions, counts = np.unique(labels, axis=0, return_counts=True)
    return partitions, counts / len(labels)


def _together(partitions: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(shape, shape) share of draws in which two shapes are together."""
    shapes = range(partitions.shape[1])
    return np.clip([share @ (partitions == partitions[:, [shape]]) for shape in shapes], 0.0, 1.0)


def _bits(counts: np.ndarray) -> np.ndarray:
    """Counts m to m log2 m, 0 for none."""
    return counts * np.log2(np.maximum(counts, 1))


def _sum_of_bits(labels: np.ndarray, highest: int) -> np.ndarray:
    """(draw,) Σ m log2 m over the clusters of labels (draw, shape) below `highest`."""
    draws, shapes = labels.shape
    codes = labels + highest * np.arange(draws)[:, None]
    counts = np.bincount(codes.ravel(), minlength=draws * highest).reshape(draws, highest)
    return _bits(np.arange(shapes + 1))[counts].sum(axis=1)


class _Clusters:
    """What the draws say of single clusters; a cluster is a whole number whose bits are its shapes.

    Costs are g(C) in bits × shapes. They are kept, since starts of the search lead to the same clusters.
    """

    def __init__(self, partitions: np.ndarray, share: np.ndarray) -> None:
        self.shapes = partitions.shape[1]
        packed, weights = [], []
        for label in range(partitions.max() + 1):
            members = partitions == label
            kept = members.sum(axis=1) > 1  # shapes that are alone add nothing
            packed.append(np.packbits(members[kept], axis=1))
            weights.append(share[kept])
        sets, place = np.unique(np.concatenate(packed), axis=0, return_inverse=True)
        self.weight = np.bincount(place.reshape(-1), np.concatenate(weights), minlength=len(sets))
        self.members = np.unpackbits(sets, axis=1, count=self.shapes).T.copy()  # (shape, set)
        self.dense = self.members.astype(np.float64)
        self.bits = _bits(np.arange(self.shapes + 2))
        self._costs: dict[int, float] = {}
        self._toggled: dict[int, np.ndarray] = {}

    def inside(self, cluster: int) -> np.ndarray:
        """(shape,) whether a shape is in the cluster."""
        return np.array([cluster >> shape & 1 for shape in range(self.shapes)], dtype=bool)

    def cost(self, cluster: int) -> float:
        """The cost g of a cluster."""
        if cluster.bit_count() < 2:
            return 0.0
        if cluster not in self._costs:
            shared = self.bits[self._shared(cluster)]
            self._costs[cluster] = float(self.bits[cluster.bit_count()] - 2.0 * self.weight @ shared)
        return self._costs[cluster]

    def toggled(self, cluster: int) -> np.ndarray:
        """(shape,) cost of the cluster with a shape more, or less where it is inside."""
        if cluster not in self._toggled:
            shared, size = self._shared(cluster), cluster.bit_count()
            now = self.bits[shared]
            more = self._by_shape(self.bits[shared + 1] - now)
            less = self._by_shape(self.bits[np.maximum(shared, 1) - 1] - now)
            total = self.weight @ now
            self._toggled[cluster] = np.where(
                self.inside(cluster),
                self.bits[size - 1] - 2.0 * (total + less),
                self.bits[size + 1] - 2.0 * (total + more),
            )
        return self._toggled[cluster]

    def total(self, clusters: list[int]) -> float:
        """Σ g of a partition."""
        return sum(map(self.cost, clusters))

    def labels(self, clusters: list[int]) -> np.ndarray:
        """(shape,) which of the clusters a shape is in, canonical."""
        return canonical(np.stack([self.inside(cluster) for cluster in clusters]).argmax(axis=0))

    def _by_shape(self, change: np.ndarray) -> np.ndarray:
        """(shape,) expected sum of a change (set,) over the sets that hold the shape."""
        return self.dense @ (self.weight * change)

    def _shared(self, cluster: int) -> np.ndarray:
        """(set,) how many shapes of the cluster are in each of the draws' sets."""
        return self.members[self.inside(cluster)].sum(axis=0, dtype=np.uint16).astype(np.int64)


def _clusters_of(partition: np.ndarray) -> list[int]:
    clusters = [0] * (int(partition.max()) + 1)
    for shape, label in enumerate(partition):
        clusters[label] |= 1 << shape
    return clusters


def _best_draws(costs: _Clusters, partitions: np.ndarray, together: np.ndarray) -> list[list[int]]:
    """Distinct draws with the least expected VI; of many, those with the least bound are looked at.

    The bound has the expectation inside the logarithm, so that it needs the similarity only.
    """
    bound = np.zeros(len(partitions))
    for shape in range(costs.shapes):
        same = partitions == partitions[:, [shape]]
        bound += np.log2(same.sum(axis=1)) - 2.0 * np.log2(same @ together[shape])
    nearest = np.argsort(bound, kind="stable")[:CANDIDATES]
    return sorted((_clusters_of(partitions[draw]) for draw in nearest), key=costs.total)[:STARTS]


def _best_cuts(costs: _Clusters, together: np.ndarray) -> list[list[int]]:
    """From each tree the best of all its cuts, level or not: a branch stays whole where that costs less."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if costs.shapes < 2:
        return []
    found = []
    for method in ("average", "complete"):
        branches = [[1 << shape] for shape in range(costs.shapes)]
        for one, other in linkage(squareform(1.0 - together, checks=False), method)[:, :2].astype(np.int64):
            parts = branches[one] + branches[other]
            whole = [sum(parts)]
            branches.append(min(whole, parts, key=costs.total))
        found.append(branches[-1])
    return found


def _descend(costs: _Clusters, clusters: list[int]) -> list[int]:
    """A partition from which no shape that moves and no two clusters that merge get nearer to the draws."""
    while True:
        now = np.array([costs.cost(cluster) for cluster in clusters])
        change, following = min(_best_move(costs, clusters, now), _best_merge(costs, clusters, now))
        if change > -(10.0**-DIGITS) * costs.shapes:
            return clusters
        clusters = following


def _best_move(costs: _Clusters, clusters: list[int], now: np.ndarray) -> tuple[float, list[int]]:
    """The change by the best move of a shape to another cluster, or alone, and the partition after it."""
    member = np.stack([costs.inside(cluster) for cluster in clusters])
    apart = np.stack([costs.toggled(cluster) for cluster in clusters]) - now[:, None]
    leave = apart[member.argmax(axis=0), np.arange(costs.shapes)]
    join = np.vstack([np.where(member, np.inf, apart), np.zeros(costs.shapes)])
    to, shape = np.unravel_index((join + leave).argmin(), join.shape)
    moved = [cluster & ~(1 << int(shape)) for cluster in [*clusters, 0]]
    moved[to] |= 1 << int(shape)
    return float(join[to, shape] + leave[shape]), [cluster for cluster in moved if cluster]


def _best_merge(costs: _Clusters, clusters: list[int], now: np.ndarray) -> tuple[float, list[int]]:
    """The same for two clusters that become one; those of a single shape are told by moves."""
    large = [place for place, cluster in enumerate(clusters) if cluster.bit_count() > 1]
    best, pair = np.inf, (0, 0)
    for a, b in combinations(large, 2):
        change = costs.cost(clusters[a] | clusters[b]) - now[a] - now[b]
        if change < best:
            best, pair = change, (a, b)
    if best == np.inf:
        return np.inf, clusters
    kept = [cluster for place, cluster in enumerate(clusters) if place not in pair]
    return float(best), [*kept, clusters[pair[0]] | clusters[pair[1]]]
