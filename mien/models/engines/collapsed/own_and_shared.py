"""Dividing the first component's totals into own and shared effects.

    t = own + √B·shared,  both Gaussian and independent of the data given t:
    own | t ~ N( A t, Σ_own − A Σ_own ),   A = Σ_own (Σ_own + B Σ_shared)⁻¹,   shared = (t − own) / √B

on the effects that a group has of both kinds; the others are what they are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.covariance_sums import TINY, Source, Sum
from mien.models.engines.collapsed.elimination import Layout
from mien.models.engines.collapsed.parameters import Natural
from mien.models.engines.collapsed.rotated_component import Component, JointBlocks, columns_in, sums_of
from mien.models.engines.collapsed.shared_design import Group, SharedDesign

__all__ = ["Split", "conditional", "make_splits", "places_of_own"]


class Split(NamedTuple):
    """How a group's first component is divided.

    total : its sums; total_at, own_at : (level, effect) columns of raw draws of the first component, and of the others.
    own : its own sources, with their places among its own effects; own_among, shared_among : (own or shared effect,)
    places among the total's. shared_places : (level, shared effect) in natural order. divides : whether there are both.
    """

    total: tuple[Sum, ...]
    total_at: np.ndarray
    own: tuple[Source, ...]
    own_among: np.ndarray
    own_at: np.ndarray
    shared_among: np.ndarray
    shared_places: np.ndarray
    divides: bool


def make_splits(
    shared: SharedDesign, model: JointBlocks, layout: Layout, first: Component, others: Component
) -> tuple[Split, ...]:
    """One for each group; `layout` is that of the joint model."""
    splits, with_own = [], 0
    for number, group in enumerate(shared.groups):
        own, both = model.of(group.own, 1.0), model.of(group.shared, float(shared.size))
        columns, own_at = columns_in(own + both), np.zeros((group.levels, 0), dtype=np.int64)
        if own:
            own_at = others.columns_of(with_own)
            with_own += 1
        among = [
            np.array([columns.index(column) for column in columns_in(parts)], dtype=np.int64)
            for parts in (own, both)
        ]
        split = Split(
            tuple(sums_of(own, both, group.levels)), first.columns_of(number), _numbered([source for source, _ in own]),
            among[0], own_at, among[1], _shared_places(group, layout), bool(own and both),
        )  # fmt: skip
        splits.append(split)
    return tuple(splits)


def _numbered(sources: Sequence[Source]) -> tuple[Source, ...]:
    """Places of blocks that follow each other."""
    first = np.cumsum([0, *(source.size for source in sources)]).tolist()
    return tuple(
        source._replace(at=tuple(range(at, at + source.size)))
        for source, at in zip(sources, first, strict=False)
    )


def _shared_places(group: Group, layout: Layout) -> np.ndarray:
    if group.shared < 0:
        return np.zeros((group.levels, 0), dtype=np.int64)
    size = layout.sizes[group.shared]
    return layout.start(group.shared) + size * group.shared_levels[:, None] + np.arange(size)


def places_of_own(shared: SharedDesign, layout: Layout, others: Component) -> np.ndarray:
    """(B, variable) place in natural order of what the other components' variables are, rotated back."""
    places = np.empty((shared.size, others.places.structure.layout.size), dtype=np.int64)
    size = layout.sizes[shared.factor]
    start = layout.start(shared.factor) + size * np.arange(shared.size)
    places[:, others.of_factor] = start[:, None] + np.arange(size)
    for number, group in enumerate(group for group in shared.groups if group.own >= 0):
        size = layout.sizes[group.own]
        start = layout.start(group.own) + size * group.own_levels.T  # (B, level)
        mine = start[:, :, None] + np.arange(size)
        places[:, others.columns_of(number).ravel()] = mine.reshape(shared.size, -1)
    return places


def conditional(split: Split, natural: Natural) -> tuple[np.ndarray, np.ndarray]:
    """Own effects given the total t: mean t @ the first, plus standard normals @ the second; (point, …, own effect)."""
    k, own = split.total_at.shape[1], len(split.own_among)
    points = len(natural.sd)
    sd, inverse = np.zeros((points, k)), np.zeros((points, k, k))
    at = 0
    for one in split.total:
        mine = one.scaled(natural)
        stop = at + one.size
        sd[:, at:stop], inverse[:, at:stop, at:stop] = np.maximum(np.abs(mine.sd), TINY), mine.inverse
        at = stop
    covariance = np.zeros((points, own, own))
    for source in split.own:
        covariance[:, *np.ix_(source.at, source.at)] = source.covariance(natural)
    scaled = covariance / sd[:, None, split.own_among]
    mean = scaled @ inverse[:, split.own_among]  # (point, own, effect), of t / sd
    left = covariance - mean[:, :, split.own_among] @ scaled.transpose(0, 2, 1)
    values, vectors = np.linalg.eigh(left)
    root = np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.transpose(0, 2, 1)
    return (mean / sd[:, None]).transpose(0, 2, 1), root
