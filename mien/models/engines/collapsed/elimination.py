"""The order in which effects are eliminated, and where every number of the precision matrix is stored.

The posterior precision of all effects and coefficients is sparse: two levels meet only where some row has both. Levels
are eliminated factor by factor, the factor with the most effects first. Levels of a factor that have not met by then
(participants, trials) go one by one; levels that met through what was eliminated before (the stimuli of one shape) go
together as one dense *supernode*; a factor whose levels have all met joins the *root* with the coefficients. This is
worked out once, on the cells alone, for all outcomes and all values of theta.

The response takes part as one more column that is never eliminated, the last of every boundary: what is left in it is
the solution of the triangular system. Several responses with the same M are as many columns.

A supernode keeps a *panel*: the rows of its own variables, the columns of its own variables and of its *boundary* (the
later variables that it meets), row by row; the own part is an upper triangle. Holes in a boundary that is mostly full
are stored as zeros, so that the arithmetic runs over unbroken stretches.

    supernode   variables that are eliminated together        batch   neighbours with the same size and boundary
    segment     the part of a boundary that one later supernode owns, and the places of its entries there
"""

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["MAX_ROOT", "Layout", "Plan", "Structure", "analyse"]

MAX_ROOT = 4000  # dense: 4,000 variables are 128 MB and 2 s an evaluation
PAD = 7  # zeros at the end of a row, so that it can be worked on in vectors of eight
SAVED = 4.0  # rows worked on together cost a quarter of the same rows one by one
FULL = 0.5  # a boundary that holds this share of a factor's nodes in a supernode is stored whole


class Layout(NamedTuple):
    """The effects in their natural order: factor, level, term; coefficients last.

    sizes : terms of each factor; levels : levels of each factor; coefficients, responses : how many.
    """

    sizes: tuple[int, ...]
    levels: tuple[int, ...]
    coefficients: int
    responses: int = 1

    def start(self, factor: int) -> int:
        """First variable of a factor (of the coefficients, for a factor past the last)."""
        return sum(
            size * count for size, count in zip(self.sizes[:factor], self.levels[:factor], strict=True)
        )

    @property
    def size(self) -> int:
        """Number of variables."""
        return self.start(len(self.sizes)) + self.coefficients


class Plan(NamedTuple):
    """Arrays for the kernels; all int64. Variables are in the order of elimination.

    start : (supernode + 1,) first variable. width : (supernode,) numbers a row of the panel takes, padding included.
    panel : (supernode + 1,) offset of the panel. boundary, boundary_from : variables, and (supernode + 1,) offsets.
    batch : (batch + 1,) first supernode of each batch.
    segment_from : (batch + 1,); owner, first, last : (segment,) the supernode that owns boundary entries first …
    last−1. run_from : (segment + 1,); run_at, run_to, run_place : (run,) entries run_at … run_to−1 of the boundary
    lie at consecutive columns from run_place on in the owner's panel.
    """

    start: np.ndarray
    width: np.ndarray
    panel: np.ndarray
    boundary: np.ndarray
    boundary_from: np.ndarray
    batch: np.ndarray
    segment_from: np.ndarray
    owner: np.ndarray
    first: np.ndarray
    last: np.ndarray
    run_from: np.ndarray
    run_at: np.ndarray
    run_to: np.ndarray
    run_place: np.ndarray


class Structure(NamedTuple):
    """The plan, and the place of every variable: position[natural] = place in the order of elimination.

    Responses are the variables after the last, in both orders.
    """

    plan: Plan
    layout: Layout
    position: np.ndarray

    @property
    def root(self) -> int:
        """Size of the dense root."""
        return int(self.plan.start[-1] - self.plan.start[-2])

    def slot(self, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the entry of two variables (natural numbers) is stored in the panels, and the width of that panel."""
        plan = self.plan
        a, b = self.position[one], self.position[other]
        i, j = np.minimum(a, b), np.maximum(a, b)
        owner = np.searchsorted(plan.start, i, side="right") - 1
        size = plan.start[owner + 1] - plan.start[owner]
        found = np.searchsorted(_keys(plan), owner * _radix(plan) + j)
        in_boundary = size + found - plan.boundary_from[owner]
        column = np.where(j < plan.start[owner + 1], j - plan.start[owner], in_boundary)
        width = plan.width[owner]
        return plan.panel[owner] + (i - plan.start[owner]) * width + column, width


def _keys(plan: Plan) -> np.ndarray:
    counts = np.diff(plan.boundary_from)
    return np.repeat(np.arange(len(counts)), counts) * _radix(plan) + plan.boundary


def _radix(plan: Plan) -> int:
    return int(plan.boundary[-1]) + 1  # the last response closes the root's boundary


class _Nodes(NamedTuple):
    """Levels as nodes, numbered through; cliques as pairs (clique, node), sorted, each once."""

    factor: np.ndarray
    first: np.ndarray


class _Order(NamedTuple):
    """owner : (node,) supernode, the root's number for the root; supernodes : their number, the root not counted.

    stages : factors in the order of elimination, those in the root left out.
    """

    owner: np.ndarray
    supernodes: int
    stages: tuple[int, ...]


def analyse(layout: Layout, codes: np.ndarray) -> Structure:
    """Order, supernodes, boundaries and panels.

    Parameters
    ----------
    layout : of the effects.
    codes : (cell, factor) the levels that meet in each cell.
    """
    counts = np.array(layout.levels, dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    nodes = _Nodes(np.repeat(np.arange(len(counts)), counts), first)
    cells = np.unique(codes, axis=0) if len(codes) and _many_repeat(codes, counts) else codes
    count, factors = cells.shape
    pairs = np.column_stack([np.repeat(np.arange(count), factors), (cells + first[:-1]).ravel()])
    order = _eliminate(layout, nodes, pairs)
    boundaries = _boundaries(layout, nodes, pairs, order)
    return _assemble(layout, nodes, order, boundaries)


def _many_repeat(codes: np.ndarray, counts: np.ndarray) -> bool:
    return len(codes) > 4 * float(np.prod(counts, dtype=np.float64))


def _stages(layout: Layout) -> list[int]:
    effects = [size * count for size, count in zip(layout.sizes, layout.levels, strict=True)]
    return sorted(range(len(effects)), key=lambda factor: -effects[factor])


def _eliminate(layout: Layout, nodes: _Nodes, pairs: np.ndarray) -> _Order:
    """Components of each factor's nodes at its turn; a factor in one piece goes to the root."""
    owner = np.full(len(nodes.factor), -1, dtype=np.int64)
    made, stages = 0, []
    for factor in _stages(layout):
        component, count = _components(nodes, factor, pairs)
        levels = layout.levels[factor]
        if count == 1 and levels > 1:
            continue
        owner[nodes.first[factor] : nodes.first[factor + 1]] = made + component
        pairs = _merged(nodes, factor, component, pairs)
        made += count
        stages.append(factor)
    owner[owner < 0] = made
    return _Order(owner, made, tuple(stages))


def _components(nodes: _Nodes, factor: int, pairs: np.ndarray) -> tuple[np.ndarray, int]:
    """Which nodes of a factor share a clique, directly or through others of the factor."""
    start, levels = nodes.first[factor], int(nodes.first[factor + 1] - nodes.first[factor])
    mine = pairs[nodes.factor[pairs[:, 1]] == factor]
    if len(np.unique(mine[:, 0])) == len(mine):  # at most one of the factor's nodes in a clique
        return np.arange(levels), levels
    cliques, place = np.unique(mine[:, 0], return_inverse=True)
    label = _connected(np.arange(levels), np.full(len(cliques), -1), mine[:, 1] - start, place)
    names, component = np.unique(label, return_inverse=True)
    return component, len(names)


@njit(cache=True)
def _connected(parent, head, level, clique):
    """The first level of the component of each level, where those of one clique are connected.

    parent : (level,) each its own, overwritten by the result. head : (clique,) -1.
    """
    for k in range(level.size):
        a = level[k]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        b = head[clique[k]]
        if b < 0:
            head[clique[k]] = a
            continue
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            a, b = b, a
        parent[a] = b
    for a in range(parent.size):
        b = a
        while parent[b] != b:
            b = parent[b]
        parent[a] = b
    return parent


def _merged(nodes: _Nodes, factor: int, component: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Cliques after a factor's components are gone: each leaves one clique of all that it met."""
    is_mine = nodes.factor[pairs[:, 1]] == factor
    top = int(pairs[:, 0].max()) + 1 if len(pairs) else 0
    renamed = np.arange(top)
    mine = pairs[is_mine]
    renamed[mine[:, 0]] = top + component[mine[:, 1] - nodes.first[factor]]
    rest = pairs[~is_mine]
    return _unique_pairs(renamed[rest[:, 0]], rest[:, 1], len(nodes.factor))


def _unique_pairs(left: np.ndarray, right: np.ndarray, radix: int) -> np.ndarray:
    keys = np.sort(left * radix + right)  # np.unique hashes, which takes seconds on keys so regular
    keys = keys[np.flatnonzero(np.diff(keys, prepend=-1))]
    return np.column_stack([keys // radix, keys % radix])


def _boundaries(layout: Layout, nodes: _Nodes, pairs: np.ndarray, order: _Order) -> np.ndarray:
    """Pairs (supernode, node of its boundary), holes filled."""
    found, radix = [], len(nodes.factor)
    made = 0
    for factor in order.stages:
        mine = order.owner[nodes.first[factor] : nodes.first[factor + 1]]
        count = int(mine.max()) + 1 - made
        top = int(pairs[:, 0].max()) + 1 if len(pairs) else 0
        is_mine = nodes.factor[pairs[:, 1]] == factor
        renamed = np.arange(top)
        renamed[pairs[is_mine, 0]] = top + mine[pairs[is_mine, 1] - nodes.first[factor]]
        rest = pairs[~is_mine]
        after = _unique_pairs(renamed[rest[:, 0]], rest[:, 1], radix)
        new = after[:, 0] >= top
        boundary = after[new]
        boundary[:, 0] -= top
        boundary = _alike(layout, nodes, order, _filled(nodes, order, boundary))
        found.append(boundary)
        clique = np.column_stack([boundary[:, 0] + top, boundary[:, 1]])
        pairs = np.concatenate([after[~new], clique])
        made += count
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def _filled(nodes: _Nodes, order: _Order, boundary: np.ndarray) -> np.ndarray:
    """Add what is missing where a supernode meets most nodes of one factor in a later supernode."""
    if not len(boundary):
        return boundary
    factors = int(nodes.factor.max()) + 1
    kind = order.owner * factors + nodes.factor  # of a node: which part of which supernode
    members = np.argsort(kind, kind="stable")
    kinds, at, sizes = np.unique(kind[members], return_index=True, return_counts=True)
    rank = np.searchsorted(kinds, kind[boundary[:, 1]])
    groups, counts = np.unique(boundary[:, 0] * len(kinds) + rank, return_counts=True)
    size = sizes[groups % len(kinds)]
    lacking = (counts < size) & (counts >= FULL * size)
    if not lacking.any():
        return boundary
    which, size = groups[lacking], size[lacking]
    step = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    added = members[np.repeat(at[which % len(kinds)], size) + step]
    left = np.concatenate([boundary[:, 0], np.repeat(which // len(kinds), size)])
    return _unique_pairs(left, np.concatenate([boundary[:, 1], added]), len(nodes.factor))


def _alike(layout: Layout, nodes: _Nodes, order: _Order, boundary: np.ndarray) -> np.ndarray:
    """Give supernodes of one parent one boundary, where that costs less than what working them together saves."""
    if not len(boundary):
        return boundary
    count = order.supernodes + 1
    sizes = np.array(layout.sizes, dtype=np.int64)[nodes.factor]
    parent = np.full(count, count)
    np.minimum.at(parent, boundary[:, 0], order.owner[boundary[:, 1]])
    together = _unique_pairs(parent[boundary[:, 0]], boundary[:, 1], len(nodes.factor))
    whole = np.bincount(together[:, 0], sizes[together[:, 1]], count + 1)  # by parent
    own = np.bincount(boundary[:, 0], sizes[boundary[:, 1]], count)
    members = np.unique(boundary[:, 0])
    square = np.bincount(parent[members], own[members] ** 2, count + 1)
    number = np.bincount(parent[members], minlength=count + 1)
    worth = (number > 1) & (whole**2 * number <= SAVED * square)
    chosen = members[worth[parent[members]]]
    if not len(chosen):
        return boundary
    first = np.searchsorted(together[:, 0], parent[chosen])
    length = np.searchsorted(together[:, 0], parent[chosen], side="right") - first
    step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    added = np.column_stack([np.repeat(chosen, length), together[np.repeat(first, length) + step, 1]])
    kept = boundary[~worth[parent[boundary[:, 0]]]]
    both = np.concatenate([kept, added])
    return both[np.lexsort((both[:, 1], both[:, 0]))]


def _assemble(layout: Layout, nodes: _Nodes, order: _Order, boundaries: np.ndarray) -> Structure:
    """Number the variables and lay out the panels."""
    sizes = np.array(layout.sizes, dtype=np.int64)[nodes.factor]
    turn = _turns(order, nodes, boundaries)
    ranked = np.lexsort((np.arange(len(nodes.factor)), turn[order.owner]))
    first = np.empty(len(ranked) + 1, dtype=np.int64)  # first variable of each node, in its new place
    first[0] = 0
    np.cumsum(sizes[ranked], out=first[1:])
    place = np.empty(len(ranked), dtype=np.int64)
    place[ranked] = first[:-1]
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    effects = np.repeat(place, sizes) + within
    last = len(effects) + np.arange(layout.coefficients + layout.responses)
    position = np.concatenate([effects, last]).astype(np.int64)

    supernodes = order.supernodes + 1
    own = np.bincount(turn[order.owner], weights=sizes, minlength=supernodes).astype(np.int64)
    own[-1] += layout.coefficients
    start = np.concatenate([[0], np.cumsum(own)]).astype(np.int64)
    supernode = turn[boundaries[:, 0]]
    wide = sizes[boundaries[:, 1]]
    within = np.arange(int(wide.sum())) - np.repeat(np.cumsum(wide) - wide, wide)
    variables = np.repeat(place[boundaries[:, 1]], wide) + within
    owners = np.repeat(supernode, wide)
    everyone = np.arange(supernodes - 1)  # meets the coefficients and the responses; the root, the responses
    variables = np.concatenate([variables, np.tile(last, supernodes - 1), last[layout.coefficients :]])
    owners = np.concatenate(
        [owners, np.repeat(everyone, len(last)), np.full(layout.responses, supernodes - 1)]
    )
    by = np.lexsort((variables, owners))
    boundary = variables[by].astype(np.int64)
    counts = np.bincount(owners, minlength=supernodes)[:supernodes]
    boundary_from = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    width = own + counts + PAD
    panel = np.concatenate([[0], np.cumsum(own * width)]).astype(np.int64)
    panel[-1] += PAD  # the last row's padding may be written past by as much
    plan = _with_batches(start, width, panel, boundary, boundary_from)
    return Structure(plan, layout, position)


def _turns(order: _Order, nodes: _Nodes, boundaries: np.ndarray) -> np.ndarray:
    """Supernodes of a stage in such an order that equal boundaries are neighbours; stages stay in order."""
    turn = np.arange(order.supernodes + 1)
    if len(order.owner) == 0 or len(boundaries) == 0:
        return turn
    weights = (
        np.arange(1, len(nodes.factor) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    ) >> np.uint64(8)
    hashes = np.zeros(order.supernodes + 1, dtype=np.uint64)
    np.add.at(hashes, boundaries[:, 0], weights[boundaries[:, 1]])
    stage_of = np.full(order.supernodes + 1, len(order.stages))
    for place, factor in enumerate(order.stages):
        stage_of[order.owner[nodes.first[factor] : nodes.first[factor + 1]]] = place
    ranked = np.lexsort((np.arange(order.supernodes + 1), hashes, stage_of))
    turn[ranked] = np.arange(order.supernodes + 1)
    return turn


def _with_batches(start, width, panel, boundary, boundary_from) -> Plan:
    """Neighbours with equal boundaries as batches; segments and runs of each batch."""
    batch = _batches(start, width, boundary, boundary_from)
    owner_of = np.repeat(np.arange(len(width)), np.diff(start))
    counts, empty = np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int64)
    given = start, boundary, boundary_from, batch, owner_of, counts
    _segments(*given, *[empty] * 8)
    segments, runs = counts.tolist()
    arrays = [
        np.zeros(size, dtype=np.int64) for size in (len(batch), *[segments] * 3, segments + 1, *[runs] * 3)
    ]
    _segments(*given, *arrays)
    return Plan(start, width, panel, boundary, boundary_from, batch, *arrays)


def _batches(start, width, boundary, boundary_from) -> np.ndarray:
    """First supernode of each batch, and the number of supernodes."""
    sizes, counts = np.diff(start), np.diff(boundary_from)
    first = np.ones(len(width), dtype=bool)
    some = 1 + np.flatnonzero((np.diff(width) == 0) & (np.diff(sizes) == 0))  # as large as the one before
    if len(some):
        length = counts[some]
        begin = np.cumsum(length) - length
        step = np.arange(length.sum()) - np.repeat(begin, length)
        before = boundary[np.repeat(boundary_from[some - 1], length) + step]
        same = before == boundary[np.repeat(boundary_from[some], length) + step]
        first[some] = ~np.logical_and.reduceat(same, begin)
    return np.append(np.flatnonzero(first), len(width))


@njit(cache=True)
def _segments(  # noqa: C901, PLR0912, PLR0913, PLR0917
    start, boundary, boundary_from, batch, owner_of, counts,
    segment_from, owner, first, last, run_from, run_at, run_to, run_place,
):  # fmt: skip
    """Fill the arrays (where they have room); count segments and runs."""
    fill = segment_from.size > 0
    segments, runs = 0, 0
    for b in range(batch.size - 1):
        s = batch[b]
        entries = boundary[boundary_from[s] : boundary_from[s + 1]]
        low = 0
        while entries[low] < start[-1]:  # responses own nothing
            a = owner_of[entries[low]]
            outside = boundary[boundary_from[a] : boundary_from[a + 1]]
            if fill:
                owner[segments], first[segments], run_from[segments] = a, low, runs
            high, k, before = low, 0, np.int64(-2)
            for at in range(low, entries.size):
                if entries[at] < start[a + 1]:
                    place, high = entries[at] - start[a], at + 1
                else:
                    while outside[k] < entries[at]:
                        k += 1
                    place = start[a + 1] - start[a] + k
                if place != before + 1:
                    if fill:
                        run_at[runs], run_place[runs] = at, place
                    runs += 1
                if fill:
                    run_to[runs - 1] = at + 1
                before = place
            if fill:
                last[segments] = high
            segments += 1
            low = high
        if fill:
            segment_from[b + 1] = segments
    if fill:
        run_from[segments] = runs
    counts[0], counts[1] = segments, runs
