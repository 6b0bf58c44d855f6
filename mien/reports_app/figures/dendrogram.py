"""Dendrograms: how shapes merge into groups, with the posterior support of every branch.

A tree lies on its side: names at the leaves, the height of a merge on the axis. Between two rows of leaves lies
exactly one merge, so that its support (% of the posterior draws whose tree holds the same group) has a place of its
own there, beside the merge's upright. What has more support is thicker and darker. A tree without support (a classical
one, made from point estimates) has lines of one kind.
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from mien.reports_app.figures.grouping import checked_groups, checked_order, picture, room, runs
from mien.reports_app.figures.theme import GRID, INK, MUTED

__all__ = ["DrawnTree", "paired_dendrograms", "support_dendrogram", "turned"]

ROW, PLOT, PAIRED_PLOT, NAME_SIZE = 19.0, 440.0, 300.0, 12.5  # px
TOP, TITLE, AXIS, KEY = 8.0, 26.0, 48.0, 34.0  # px: margin, title, room for the axis, room for the key
HEIGHT = "1 − r"
PLAIN, THIN = 1.5, 0.9  # px: lines of a tree without support; of single leaves in a tree with support


class DrawnTree(NamedTuple):
    """A tree to draw: how it was made, its merges, the support of each, what its height is."""

    title: str
    linkage: np.ndarray  # (merge, 4) as SciPy writes it: two children, height, number of leaves
    support: np.ndarray | None = None  # (merge,) 0-1
    height: str = HEIGHT


class Node(NamedTuple):
    """A leaf or a merge, as placed: rows count from 0 at the top."""

    row: float
    height: float
    first: int  # rows of its leaves, both included
    last: int


def support_dendrogram(
    linkage: np.ndarray,
    order: Sequence[int] | np.ndarray,
    support: np.ndarray | None,
    shapes: Sequence[str],
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    height: str = HEIGHT,
    label: str,
) -> str:
    """One tree as SVG.

    Parameters
    ----------
    linkage : (merge, 4) as SciPy writes it.
    order : the leaves from the top down.
    support : (merge,) share of draws whose tree holds the same group, 0-1; None draws a plain tree.
    shapes : names in the order of the matrix that the tree was made from.
    groups : a label a shape; neighbours of one group share a bracket.
    height : what the axis says.
    label : what a screen reader says instead of the picture.

    Raises
    ------
    ValueError
        Where sizes do not fit, the merges are no tree of these shapes, or branches would cross in this order.
    """
    tree = DrawnTree("", np.asarray(linkage, dtype=float), support, height)
    labels = checked_groups(groups, len(shapes))
    places = checked_order(order, len(shapes))
    nodes = _nodes(tree, places)
    names = [shapes[i] for i in places]
    x, limit = _across(tree, 14.0, PLOT, mirrored=False)
    right, bottom = 14.0 + PLOT + 8, TOP + ROW * len(names)
    wide = room(names, NAME_SIZE)
    body = [
        *_axis(tree, x, limit, TOP, bottom),
        *_branches(tree, nodes, x, TOP),
        *_names(names, right, "start", TOP),
        *_brackets(labels, places, right + wide + 6, TOP),
    ]
    if support is not None:
        body += _key(14.0, bottom + AXIS + 16)
    width = right + wide + (room(labels, 12) + 30 if labels else 8)
    high = bottom + AXIS + (KEY if support is not None else 4)
    return picture("dendrogram", width, high, label, body)


def paired_dendrograms(
    left: DrawnTree, right: DrawnTree, order: Sequence[int] | np.ndarray, shapes: Sequence[str], *, label: str
) -> str:
    """Two trees of the same shapes face to face; lines lead from each shape to itself.

    Parameters
    ----------
    left, right : the trees. The right one's branches are turned towards the left one's leaves (`turned`): lines that
        cross all the same mean that the trees differ.
    order : the left tree's leaves from the top down.
    shapes : names in the order of the matrix that the trees were made from.
    label : what a screen reader says instead of the picture.

    Raises
    ------
    ValueError
        As `support_dendrogram`.
    """
    places = checked_order(order, len(shapes))
    turned_places = turned(right.linkage, places)
    top, wide, gap = TOP + TITLE, room(shapes, NAME_SIZE), 84.0
    bottom = top + ROW * len(shapes)
    start = 14.0 + PAIRED_PLOT + 8
    end = start + 2 * wide + gap
    body = _connectors(shapes, places, turned_places, (start, end), top)
    sides = ((left, places, 14.0, start, "start"), (right, turned_places, end + 8, end, "end"))
    for tree, rows, plot, at, anchor in sides:
        x, limit = _across(tree, plot, PAIRED_PLOT, mirrored=anchor == "end")
        middle = plot + PAIRED_PLOT / 2
        body += [
            f'<text x="{middle:.1f}" y="{TOP + 10}" text-anchor="middle" font-weight="600">{escape(tree.title)}</text>',
            *_axis(tree, x, limit, top, bottom),
            *_branches(tree, _nodes(tree, rows), x, top),
            *_names([shapes[i] for i in rows], at, anchor, top),
        ]
    supported = left.support is not None or right.support is not None
    if supported:
        body += _key(14.0 if left.support is not None else end + 8, bottom + AXIS + 16)
    width = end + 8 + PAIRED_PLOT + 14
    return picture("dendrogram", width, bottom + AXIS + (KEY if supported else 4), label, body)


def turned(linkage: np.ndarray, reference: Sequence[int] | np.ndarray) -> list[int]:
    """The leaves of a tree in an order near to `reference` that crosses no branch.

    Each merge puts that child first whose leaves stand earlier on average, so that an order that the tree allows comes
    back as it is.
    """
    rows = np.empty(len(reference))
    rows[np.asarray(reference, dtype=int)] = np.arange(len(reference))
    leaves: list[list[int]] = [[i] for i in range(len(reference))]
    for one, other, *_ in _checked_merges(np.asarray(linkage, dtype=float), len(reference)):
        pair = sorted((leaves[int(one)], leaves[int(other)]), key=lambda part: float(np.mean(rows[part])))
        leaves.append(pair[0] + pair[1])
    return leaves[-1]


# --- the tree ---------------------------------------------------------------------------------------------------


def _checked_merges(linkage: np.ndarray, count: int) -> np.ndarray:
    if count < 2 or linkage.shape != (count - 1, 4):
        raise ValueError(
            f"expected a linkage of shape ({count - 1}, 4) for {count} shapes (two or more), found {linkage.shape}."
        )
    children = linkage[:, :2].astype(int)
    later = children >= count + np.arange(count - 1)[:, None]
    if later.any() or sorted(children.ravel().tolist()) != list(range(2 * count - 2)):
        raise ValueError(
            "expected merges of leaves and earlier merges, each once: pass SciPy's linkage as it is."
        )
    return linkage


def _checked_support(tree: DrawnTree) -> list[float]:
    """The support of every merge; 1 in a tree without."""
    if tree.support is None:
        return [1.0] * len(tree.linkage)
    support = np.asarray(tree.support, dtype=float)
    if support.shape != (len(tree.linkage),) or not ((support >= 0) & (support <= 1)).all():
        raise ValueError(
            f"expected the support of {len(tree.linkage)} merges, 0-1, found shape {support.shape} "
            f"with values {support.min(initial=1):.3g} to {support.max(initial=0):.3g}."
        )
    return support.tolist()


def _nodes(tree: DrawnTree, places: Sequence[int]) -> list[Node]:
    """Leaves (by shape), then merges."""
    count = len(places)
    merges = _checked_merges(tree.linkage, count)
    nodes = [Node(0.0, 0.0, 0, 0)] * count
    for row, leaf in enumerate(places):
        nodes[leaf] = Node(float(row), 0.0, row, row)
    for one, other, height, *_ in merges:
        above, below = sorted((nodes[int(one)], nodes[int(other)]))
        if above.last + 1 != below.first:
            raise ValueError("expected the tree's own order of leaves: branches would cross; see `turned`.")
        nodes.append(Node((above.row + below.row) / 2, float(height), above.first, below.last))
    return nodes


def _across(
    tree: DrawnTree, left: float, width: float, *, mirrored: bool
) -> tuple[Callable[[float], float], float]:
    """(height → x, the axis' end): 0 lies where the names are."""
    limit = max(float(tree.linkage[:, 2].max(initial=0.0)), 1e-9) * 1.03

    def x(height: float) -> float:
        share = height / limit
        return left + width * (share if mirrored else 1 - share)

    return x, limit


def _y(row: float, top: float) -> float:
    return top + (row + 0.5) * ROW


# --- drawing ----------------------------------------------------------------------------------------------------


def _ink(support: float) -> str:
    """Stroke for what has this much support."""
    return f'stroke-width="{0.9 + 2.3 * support**2:.2f}" stroke-opacity="{0.35 + 0.65 * support:.2f}"'


def _branches(tree: DrawnTree, nodes: Sequence[Node], x: Callable[[float], float], top: float) -> list[str]:
    count, supports = len(tree.linkage) + 1, _checked_support(tree)
    lines, texts = [], []
    for merge, (one, other, height, *_) in enumerate(tree.linkage):
        at, ends = x(height), sorted((nodes[int(one)], nodes[int(other)]))
        for child in (int(one), int(other)):
            stroke = _stroke(tree, supports, child - count)
            across = f"M{at:.1f} {_y(nodes[child].row, top):.1f}H{x(nodes[child].height):.1f}"
            lines.append(f'<path d="{across}" {stroke}/>')
        upright = f"M{at:.1f} {_y(ends[0].row, top):.1f}V{_y(ends[1].row, top):.1f}"
        lines.append(f'<path d="{upright}" {_stroke(tree, supports, merge)} stroke-linecap="square"/>')
        if tree.support is not None and merge < count - 2:
            texts.append(_support_label(supports[merge], at, x(0.0) > at, _y(ends[0].last + 0.5, top)))
    return [f'<g fill="none" stroke="{INK}">', *lines, '</g><g font-size="10.5">', *texts, "</g>"]


def _stroke(tree: DrawnTree, supports: Sequence[float], merge: int) -> str:
    """Leaves have no support to show, and neither has the merge of all shapes: it is in every tree."""
    if tree.support is None:
        return f'stroke-width="{PLAIN}"'
    return (
        _ink(supports[merge]) if 0 <= merge < len(supports) - 1 else f'stroke-width="{THIN}" stroke="{MUTED}"'
    )


def _support_label(support: float, x: float, to_the_right: bool, y: float) -> str:
    shift, anchor = (5, "start") if to_the_right else (-5, "end")
    return f'<text x="{x + shift:.1f}" y="{y + 3.6:.1f}" text-anchor="{anchor}">{round(100 * support)}</text>'


def _names(names: Sequence[str], x: float, anchor: str, top: float) -> list[str]:
    texts = (
        f'<text x="{x:.1f}" y="{_y(row, top) + 4:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
        for row, name in enumerate(names)
    )
    return [f'<g font-size="{NAME_SIZE}">', *texts, "</g>"]


def _brackets(labels: Sequence[str], places: Sequence[int], x: float, top: float) -> list[str]:
    marks = []
    for part in runs(labels, places):
        start, end = top + part.first * ROW + 3, top + (part.last + 1) * ROW - 3
        if part.label:
            marks.append(
                f'<path d="M{x:.1f} {start:.1f}V{end:.1f}" stroke="{INK}" stroke-width="2.4"/>'
                f'<text x="{x + 8:.1f}" y="{(start + end) / 2 + 4:.1f}" font-weight="600">{escape(part.label)}</text>'
            )
    return marks


def _connectors(
    names: Sequence[str], left: Sequence[int], right: Sequence[int], ends: tuple[float, float], top: float
) -> list[str]:
    """From each shape to itself; what stands in another row of the other tree is darker."""
    row = {leaf: place for place, leaf in enumerate(right)}
    wide = room(names, NAME_SIZE)
    lines = []
    for place, leaf in enumerate(left):
        own, y, other = room([names[leaf]], NAME_SIZE) + 5, _y(place, top), _y(row[leaf], top)
        slope = f"H{ends[0] + wide + 5:.1f}L{ends[1] - wide - 5:.1f} {other:.1f}"
        ink = f'stroke="{GRID}" stroke-width="1.2"' if y == other else f'stroke="{INK}" stroke-width="0.9"'
        lines.append(f'<path d="M{ends[0] + own:.1f} {y:.1f}{slope}H{ends[1] - own:.1f}" fill="none" {ink}/>')
    return lines


def _axis(tree: DrawnTree, x: Callable[[float], float], limit: float, top: float, bottom: float) -> list[str]:
    step = next(step for step in _steps() if limit / step <= 6)
    parts = []
    for i in range(int(limit / step) + 1):
        at = x(i * step)
        parts.append(f'<path d="M{at:.1f} {top:.1f}V{bottom + 4:.1f}" stroke="{GRID}" stroke-width="1"/>')
        text = f"{i * step:.3g}"
        parts.append(f'<text x="{at:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{text}</text>')
    middle = (x(0.0) + x(limit)) / 2
    title = f'<text x="{middle:.1f}" y="{bottom + 37:.1f}" text-anchor="middle">{escape(tree.height)}</text>'
    return [*parts, title]


def _steps() -> list[float]:
    return [unit * 10.0**power for power in range(-9, 9) for unit in (1, 2, 5)]


def _key(x: float, y: float) -> list[str]:
    parts = [f'<text x="{x:.1f}" y="{y:.1f}">posterior support (% of draws)</text>']
    at = x + 212
    for support in (0.25, 0.5, 0.75, 0.95):
        parts.append(
            f'<path d="M{at:.1f} {y - 4:.1f}h22" stroke="{INK}" {_ink(support)}/>'
            f'<text x="{at + 27:.1f}" y="{y:.1f}">{round(100 * support)}</text>'
        )
        at += 58
    return parts
