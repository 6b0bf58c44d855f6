"""Shared designs: the joint model of B shapes where every trial has all of them.

A factor F (the shape) is *shared over* when the rows come in complete sets: every combination of the other levels has
all B levels of F, with the same products of columns and the same weights. Then every other factor is

    shared    its levels do not depend on F                             participant
    own       each of its levels is a pair of a level and one of F's    participant:shape

and a shared and an own factor over the same levels are one *group*. Whether this is so is read from the sums of
`moments`, which is all that the likelihood knows: names do not matter, and a single hole is enough to say no. It needs
one sigma and independent residuals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.models.design import Block
from mien.models.engines.collapsed.moments import Moments

__all__ = ["Group", "SharedDesign", "find_shared_design"]

MAX_SIZE = 1000  # levels of F: Q is dense while sums are rotated
SAME = 1e-9  # share of a column's squares within which products agree: they were summed in different orders


class Group(NamedTuple):
    """Levels with effects of their own for each level of F, shared by all of them, or both.

    own, shared : numbers of the factors, −1 for none. codes : (set,) level of the group.
    own_levels : (level, B) of the own factor; shared_levels : (level,) of the shared one.
    """

    own: int
    shared: int
    codes: np.ndarray
    own_levels: np.ndarray
    shared_levels: np.ndarray

    @property
    def levels(self) -> int:
        """How many."""
        return len(self.own_levels) if self.own >= 0 else len(self.shared_levels)


class SharedDesign(NamedTuple):
    """factor : F; size : B; cells : (set, B) numbers of the cells; groups : in the order of the shared factors."""

    factor: int
    size: int
    cells: np.ndarray
    groups: tuple[Group, ...]


def find_shared_design(blocks: Sequence[Block], moments: Moments) -> SharedDesign | None:
    """The design over the factor with the most levels for which there is one; None where there is none."""
    if len(moments.rows) != 1 or moments.gaps or _repeats(blocks, moments):
        return None
    sizes = [len(levels) for levels in moments.levels]
    for factor in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        found = _over(moments, factor)
        if found is not None:
            return found
    return None


def _repeats(blocks: Sequence[Block], moments: Moments) -> bool:
    """Whether a factor has one column twice: its effects are then sums that this takes for one."""
    factors = [block.factor for block in blocks for _ in block.terms]
    pairs = list(zip(factors, moments.columns.terms.tolist(), strict=True))
    return len(set(pairs)) < len(pairs)


def _over(moments: Moments, factor: int) -> SharedDesign | None:
    codes, size = moments.codes, len(moments.levels[factor])
    if not 2 <= size <= MAX_SIZE or not len(codes) or len(codes) % size:
        return None
    own: dict[int, np.ndarray] = {}
    base = codes.copy()  # the level of the group in place of that of an own factor
    base[:, factor] = 0
    for other in range(codes.shape[1]):
        levels = _own_levels(codes[:, other], codes[:, factor], len(moments.levels[other]), size)
        if other != factor and levels is not None:
            own[other] = levels
            group = np.empty(levels.size, dtype=np.int64)
            group[levels] = np.arange(len(levels))[:, None]
            base[:, other] = group[codes[:, other]]
    if not own:
        return None
    cells = _complete_sets(base, codes[:, factor], size)
    if cells is None or not _same_products(moments.gram[0][:, :-1, :-1], cells):
        return None
    shared = [other for other in range(codes.shape[1]) if other != factor and other not in own]
    return SharedDesign(factor, size, cells, _groups(base[cells[:, 0]], shared, own, moments))


def _own_levels(level: np.ndarray, home: np.ndarray, count: int, size: int) -> np.ndarray | None:
    """(group level, F) levels of an own factor, paired by their order within F; None if it is not own."""
    of = np.full(count, -1, dtype=np.int64)
    of[level] = home
    if (of < 0).any() or (of[level] != home).any() or count % size:
        return None
    if (np.bincount(of, minlength=size) * size != count).any():
        return None
    return np.argsort(of, kind="stable").reshape(size, -1).T


def _complete_sets(base: np.ndarray, level: np.ndarray, size: int) -> np.ndarray | None:
    """(set, B) cells, in order of F; None unless every set has every level once."""
    order = np.lexsort((level, *base.T))
    sets = base[order].reshape(-1, size, base.shape[1])
    if (sets != sets[:, :1]).any() or (level[order].reshape(-1, size) != np.arange(size)).any():
        return None
    return order.reshape(-1, size)


def _same_products(gram: np.ndarray, cells: np.ndarray) -> bool:
    """Whether the sums over columns (cell, column, column) agree within every set."""
    sets = gram[cells]
    away = np.abs(sets - sets[:, :1]).max(axis=(0, 1), initial=0.0)
    root = np.sqrt(np.diagonal(gram, axis1=1, axis2=2).max(axis=0))
    return bool((away <= SAME * root[:, None] * root).all())


def _groups(
    base: np.ndarray, shared: list[int], own: dict[int, np.ndarray], moments: Moments
) -> tuple[Group, ...]:
    """Shared factors, each with an own factor over the same levels if there is one; then the other own factors."""
    groups, left = [], dict(own)
    nobody = np.zeros((0, 0), dtype=np.int64)
    for factor in shared:
        count = len(moments.levels[factor])
        for other, levels in left.items():
            shared_levels = _matching(base[:, other], base[:, factor], len(levels), count)
            if shared_levels is not None:
                groups.append(Group(other, factor, base[:, other], levels, shared_levels))
                del left[other]
                break
        else:
            groups.append(Group(-1, factor, base[:, factor], nobody, np.arange(count)))
    groups += [Group(other, -1, base[:, other], levels, nobody.ravel()) for other, levels in left.items()]
    return tuple(groups)


def _matching(one: np.ndarray, other: np.ndarray, count: int, others: int) -> np.ndarray | None:
    """(level of one,) the level of the other that it is; None if they are not the same levels."""
    if count != others or len(np.unique(one * others + other)) != count:
        return None
    found = np.full(count, -1, dtype=np.int64)
    found[one] = other
    return found if (np.sort(found) == np.arange(count)).all() else None
