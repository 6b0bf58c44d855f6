"""Effects of whole series (of each trial), integrated out together with the series' AR(1) residuals.

Bins of a trial share an effect beside their autocorrelation, `(1 | participant:session:task:trial)`: a series'
residuals have the covariance σ²R + τ²11'. Its inverse is that of σ²R less one product, so that the sums of rows lose
a product for each series and thousands of effects never enter the elimination:

    (σ²R + τ²11')⁻¹ = R⁻¹/σ² − v v'     log |σ²R + τ²11'| = log |σ²R| + log D     D = 1 + s τ²/σ²
    v = (τ/σ²)/√D · R⁻¹1                s = 1'R⁻¹1
    R⁻¹1 of a row = ½ Σ t_g over its neighbours, t_g = (1 − ρ^g)/(1 + ρ^g), and 1 for each end of the series
    s = 1 + Σ t_g over the gaps

so that v of all columns is a sum of few *parts*: rows at an end, and rows by the gaps beside them (the kinds).
*Patterns* are series with the same numbers of gaps and the same sigma, which share D.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.kernels import SeriesNumbers
from mien.models.engines.collapsed.moments import Moments
from mien.models.engines.collapsed.places import Places
from mien.models.engines.collapsed.row_entries import cells_of_rows
from mien.models.engines.problem import Outcome

__all__ = ["SeriesEffects", "SeriesPoint", "find_series_block", "without_block"]

LANES = 8
MOST_OF_RESIDUAL = 1e9  # D, of which as many digits are lost


def find_series_block(outcomes: Sequence[Outcome]) -> int | None:
    """Number of the block whose levels are the series of AR(1), one each, None where there is none.

    Its effects must be single intercepts of unweighted rows, and no other block may have its factor.
    """
    blocks = outcomes[0].design.blocks
    for number, block in enumerate(blocks):
        alone = sum(block.factor == other.factor for other in blocks) == 1
        if block.terms == ("1",) and alone and all(_is_of_series(outcome, number) for outcome in outcomes):
            return number
    return None


def _is_of_series(outcome: Outcome, number: int) -> bool:
    residual = outcome.residual
    if outcome.moments is not None or residual.series is None or residual.known_variance is not None:
        return False
    if residual.count is not None or not (outcome.root_precision == 1.0).all():
        return False
    pairs = np.unique(np.column_stack([outcome.design.blocks[number].codes, residual.series]), axis=0)
    if len(pairs) == len(residual.series):  # rows alone, which have no neighbours
        return False
    return all(len(np.unique(column)) == len(pairs) for column in pairs.T)


def without_block(outcome: Outcome, number: int) -> Outcome:
    """The outcome without a block of its design."""
    blocks = outcome.design.blocks
    return outcome._replace(design=outcome.design._replace(blocks=(*blocks[:number], *blocks[number + 1 :])))


class SeriesPoint(NamedTuple):
    """What depends on theta.

    shares : (point, kind + pattern) for the kernels: t, and the root (τ/2σ²)/√D.
    log_determinant : (point,) Σ log D. square : (point,) Σ v_y², which the residuals' square loses.
    """

    shares: np.ndarray
    log_determinant: np.ndarray
    square: np.ndarray


class _Patterns(NamedTuple):
    """gaps : (kind,) of neighbours, 0 for an end; number : (pattern, kind) pairs of neighbours, 0 for ends.

    sigma : (pattern,) which; series : (pattern,) how many have it.
    """

    gaps: np.ndarray
    number: np.ndarray
    sigma: np.ndarray
    series: np.ndarray


class SeriesEffects(NamedTuple):
    """One outcome's series; see the module.

    term : number of the effect among all terms. levels : how many the factor has, level : (series,) which.
    squares : (pattern, kind, kind) Σ over series of products of the parts' responses.
    """

    term: int
    levels: int
    level: np.ndarray
    numbers: SeriesNumbers
    patterns: _Patterns
    squares: np.ndarray

    @staticmethod
    def of(
        outcome: Outcome, number: int, moments: Moments, places: Places, entries: np.ndarray
    ) -> "SeriesEffects":
        """From the outcome with all blocks; sums, places and entries (row, entry + 1) are without the block."""
        block, residual = outcome.design.blocks[number], outcome.residual
        term = sum(len(other.terms) for other in outcome.design.blocks[:number])
        assert residual.series is not None
        assert residual.position is not None
        order = np.lexsort((residual.position, residual.series))
        position, codes = residual.position[order], block.codes[order]
        first = np.flatnonzero(np.diff(residual.series[order], prepend=residual.series[order][0] - 1))
        series = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(order))))
        sigma = (
            np.zeros(len(first), dtype=np.int64)
            if residual.stratum is None
            else residual.stratum[order][first]
        )
        gaps = np.array([0, *moments.gaps], dtype=np.int64)
        parts, counts = _parts(series, position, gaps, entries[order])
        kinds, pattern, of_pattern = np.unique(
            np.column_stack([sigma, counts]), axis=0, return_inverse=True, return_counts=True
        )  # fmt: skip
        patterns = _Patterns(
            gaps, kinds[:, 1:].astype(np.float64), kinds[:, 0], of_pattern.astype(np.float64)
        )
        squares = np.zeros((len(kinds), len(gaps), len(gaps)))
        own = parts[:, :, -1]
        np.add.at(squares, pattern.ravel(), own[:, :, None] * own[:, None, :])
        inside = without_block(outcome, number)
        cell = cells_of_rows(inside.design, moments)[order][first]
        numbers, turn = _numbers(parts, counts, pattern.ravel(), cell, moments, places, inside)
        return SeriesEffects(term, len(block.levels), codes[first][turn], numbers, patterns, squares)

    def sds(self, sd: np.ndarray) -> np.ndarray:
        """(point, term) of the other terms."""
        return np.delete(sd, self.term, axis=1)

    def _given(self, sd: np.ndarray, sigma: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, ...]:
        """Tau (point, 1), 1/σ² (point, pattern), t (point, kind), s and D (point, pattern)."""
        tau, inverse = sd[:, self.term, None], sigma[:, self.patterns.sigma] ** -2.0
        weights = _weights(rho, self.patterns.gaps)
        s = 1.0 + weights @ self.patterns.number.T
        return tau, inverse, weights, s, 1.0 + tau**2 * inverse * s

    def at(self, sd: np.ndarray, sigma: np.ndarray, rho: np.ndarray) -> SeriesPoint:
        """At points: sd (point, term), sigma (point, sigma), rho (point,)."""
        tau, inverse, weights, _, lost = self._given(sd, sigma, rho)
        lost = np.where(lost < MOST_OF_RESIDUAL, lost, np.inf)
        root = 0.5 * tau * inverse / np.sqrt(lost)
        square = np.einsum("np,pij,ni,nj->n", root**2, self.squares, weights, weights, optimize=True)
        return SeriesPoint(
            np.concatenate([weights, root], axis=1), np.log(lost) @ self.patterns.series, square
        )

    def pull_back(
        self, sd: np.ndarray, sigma: np.ndarray, rho: np.ndarray, by_shares: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient by tau (point,), sigma (point, sigma) and rho (point,) of F(shares) − ½ Σ log D."""
        patterns, kinds = self.patterns, len(self.patterns.gaps)
        tau, inverse, _, s, lost = self._given(sd, sigma, rho)
        by_weight, by_root = by_shares[:, :kinds].copy(), by_shares[:, kinds:] * lost**-1.5
        often = patterns.series / lost
        by_tau = (0.5 * inverse * by_root - tau * inverse * s * often).sum(axis=1)
        by_inverse = 0.5 * tau * (1.0 + 0.5 * tau**2 * inverse * s) * by_root - 0.5 * tau**2 * s * often
        by_s = -0.25 * tau**3 * inverse**2 * by_root - 0.5 * tau**2 * inverse * often
        by_weight += by_s @ patterns.number
        by_sigma = np.zeros_like(sigma)
        np.add.at(by_sigma.T, patterns.sigma, (-2.0 * by_inverse * inverse**1.5).T)
        gaps, power = patterns.gaps[1:], rho[:, None] ** (patterns.gaps[1:] - 1)
        slope = -2.0 * gaps * power / (1.0 + power * rho[:, None]) ** 2
        return by_tau, by_sigma, (by_weight[:, 1:] * slope).sum(axis=1)

    def spread(self, sd: np.ndarray, sigma: np.ndarray, rho: np.ndarray) -> np.ndarray:
        """(point, pattern, 2) for `draw_series`."""
        tau, inverse, _, _, lost = self._given(sd, sigma, rho)
        return np.stack([0.5 * tau**2 * inverse / lost, np.abs(tau) / np.sqrt(lost)], axis=2)


def _weights(rho: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """T (point, kind): 1 for an end, (1 − ρ^g)/(1 + ρ^g) for a neighbour."""
    power = np.where(gaps > 0, rho[:, None] ** np.maximum(gaps, 1), 0.0)
    return (1.0 - power) / (1.0 + power)


def _parts(
    series: np.ndarray, position: np.ndarray, gaps: np.ndarray, entries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of rows (series, kind, entry + 1) by what is beside them, and pairs of neighbours (series, kind)."""
    from scipy.sparse import csr_array

    count, rows = int(series[-1]) + 1, len(series)
    joined = series[1:] == series[:-1]
    kind = np.where(joined, np.searchsorted(gaps, np.diff(position)), 0)
    before, after = np.concatenate([[0], kind]), np.concatenate([kind, [0]])
    at = np.concatenate([series * len(gaps) + before, series * len(gaps) + after])
    which = csr_array((np.ones(2 * rows), (at, np.tile(np.arange(rows), 2))), (count * len(gaps), rows))
    counts = np.bincount((series[:-1] * len(gaps) + kind)[joined], minlength=count * len(gaps))
    return (which @ entries).reshape(count, len(gaps), -1), counts.reshape(count, len(gaps))


class _Node(NamedTuple):
    """Entries that belong to one level. natural : (series,) its first variable; place : its first place in a line."""

    entries: list[int]
    natural: np.ndarray
    place: int

    @property
    def length(self) -> int:
        """Places that it takes."""
        return -(-len(self.entries) // LANES) * LANES


def _numbers(
    parts: np.ndarray, counts: np.ndarray, pattern: np.ndarray, cell: np.ndarray, moments: Moments, places: Places,
    outcome: Outcome,
) -> tuple[SeriesNumbers, np.ndarray]:  # fmt: skip
    """For the kernels, and the order in which series come there."""
    nodes = _nodes(moments, places, outcome, cell)
    stride = sum(node.length for node in nodes)
    place = np.empty(parts.shape[2], dtype=np.int64)
    for node in nodes:
        place[node.entries] = node.place + np.arange(len(node.entries))
    used = counts > 0
    used[:, 0] = True
    orders, runs = _runs(nodes, places, moments.codes[cell])
    line = np.concatenate(orders)
    which, kind = np.nonzero(used[line])
    value = np.zeros((len(which), stride))
    value[:, place] = parts[line[which], kind]
    numbers = SeriesNumbers(
        counts.shape[1], pattern[line], np.concatenate([[0], np.cumsum(used[line].sum(axis=1))]),
        kind.astype(np.int64), value, runs, cell[orders[0]], place,
        np.ascontiguousarray(places.inner.T), places.pairs, np.ascontiguousarray(places.slot.T),
    )  # fmt: skip
    return numbers, orders[0]


def _nodes(moments: Moments, places: Places, outcome: Outcome, cell: np.ndarray) -> list[_Node]:
    """Those of the factors, and last the coefficients with the response."""
    layout = places.structure.layout
    blocks, nodes, at = outcome.design.blocks, [], 0
    factors = [block.factor for block in blocks for _ in block.terms]
    for number, factor in enumerate(moments.factors):
        mine = [entry for entry, name in enumerate(factors) if name == factor]
        first = layout.start(number) + layout.sizes[number] * moments.codes[cell, number]
        nodes.append(_Node(mine, first, at))
        at += nodes[-1].length
    last = list(range(len(factors), len(factors) + layout.coefficients + 1))
    return [*nodes, _Node(last, np.full(len(cell), layout.size - layout.coefficients), at)]


def _runs(nodes: list[_Node], places: Places, codes: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Orders of the series, and runs (run, 8) of lines whose products go to the same places."""
    orders = [
        np.lexsort((*np.delete(codes, number, axis=1).T, codes[:, number]))
        for number in range(codes.shape[1])
        if number == 0 or len(np.unique(codes[:, number])) > 1
    ] or [np.arange(len(codes))]
    pairs = [(one, other) for place, one in enumerate(nodes) for other in nodes[place:]]
    rows = [len(one.entries) for one, _ in pairs]
    rows[-1] -= 1  # the response is no row
    found = [
        _of_pair(one, other, count, places, orders) for (one, other), count in zip(pairs, rows, strict=True) if count
    ]  # fmt: skip
    taken = sorted({order for order, _ in found})
    for order, runs in found:
        runs[:, 0] += taken.index(order) * len(codes)
    return [orders[order] for order in taken], np.concatenate([runs for _, runs in found])


def _of_pair(
    one: _Node, other: _Node, rows: int, places: Places, orders: list[np.ndarray]
) -> tuple[int, np.ndarray]:
    """The order in which two nodes' products make the fewest runs, and these; `rows` : entries of `one` that count."""
    position = places.structure.position
    ahead = position[one.natural] <= position[other.natural]
    slot, width = places.structure.slot(one.natural, other.natural)
    starts = []
    for order in orders:
        targets = np.column_stack([slot, width, ahead])[order]
        starts.append(np.flatnonzero(np.append(True, np.diff(targets, axis=0).any(axis=1))))
    best = int(np.argmin([len(start) for start in starts]))
    start, order = starts[best], orders[best]
    straight = ahead[order][start]
    result = np.empty((len(start), 8), dtype=np.int64)
    result[:, 0], result[:, 1] = start, np.diff(np.append(start, len(order)))
    result[:, 2] = np.where(straight, one.place, other.place)
    result[:, 3] = np.where(straight, rows, len(other.entries))
    result[:, 4] = np.where(straight, other.place, one.place)
    result[:, 5] = np.where(straight, other.length, one.length)
    result[:, 6], result[:, 7] = slot[order][start], width[order][start]
    return best, result
