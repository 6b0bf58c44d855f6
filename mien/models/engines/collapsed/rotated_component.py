"""One of the two likelihoods of a rotated joint model: its effects, where its sums go, its inputs to the kernels.

F's own effects are coefficients with an sd, so that they stand in the dense root with the others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.models.design import Block
from mien.models.engines.collapsed import kernels
from mien.models.engines.collapsed.covariance_sums import Slopes, Source, Sum
from mien.models.engines.collapsed.moments import Moments
from mien.models.engines.collapsed.parameters import Natural
from mien.models.engines.collapsed.places import Places, make_places, packed_size, upper_triangle

__all__ = ["Component", "JointBlocks", "Parts", "columns_in", "sums_of"]

type Parts = list[tuple[Source, list[int]]]  # blocks and their columns


class JointBlocks(NamedTuple):
    """The blocks of the joint model by factor, and its columns.

    sources : (factor,) blocks as (first term, size, first partial); column : (term,) of the moments.
    """

    sources: tuple[tuple[tuple[int, int, int], ...], ...]
    column: np.ndarray

    def of(self, factor: int, weight: float) -> Parts:
        """A factor's blocks as sources, and their columns; `at` is still to be found."""
        if factor < 0:
            return []
        return [
            (Source(first, size, partial, weight, ()), self.column[first : first + size].tolist())
            for first, size, partial in self.sources[factor]
        ]


def sums_of(own: Parts, shared: Parts, levels: int) -> list[Sum]:
    """Blocks as they are where there is nothing to add; one sum for each effect, or one for all that correlate."""
    parts = own + shared
    if not (own and shared):
        return [
            Sum(len(mine), levels, (source._replace(at=tuple(range(len(mine)))),)) for source, mine in parts
        ]
    columns = columns_in(parts)
    if all(source.size == 1 for source, _ in parts):
        return [
            Sum(1, levels, tuple(source._replace(at=(0,)) for source, mine in parts if mine == [column]))
            for column in columns
        ]
    placed = tuple(source._replace(at=tuple(columns.index(c) for c in mine)) for source, mine in parts)
    return [Sum(len(columns), levels, placed)]


class Component:
    """One of the two likelihoods. Variables: groups' effects, F's effects, then `free` coefficients.

    sums : of every group, F's last; columns : (entry,) columns of the moments of all their effects.
    """

    def __init__(
        self, groups: Sequence[tuple[np.ndarray, list[Sum], list[int]]], of_factor: tuple[list[Sum], list[int]],
        precision: np.ndarray, pull: np.ndarray, responses: int,
    ) -> None:  # fmt: skip
        self.responses = responses
        self.sums = [one for _, sums, _ in groups for one in sums]
        self.in_groups = len(self.sums)
        self.sums += of_factor[0]
        self.columns = [column for _, _, mine in groups for column in mine] + of_factor[1]
        self.own = len(of_factor[1])  # of F
        self.precision, self.pull = precision, pull
        self.places = self._places(groups)
        sizes = [packed_size(one.size) for one in self.sums[: self.in_groups]]
        self.entries = np.cumsum([1, *sizes])

    def _places(self, groups) -> Places:
        blocks, count = [], self.own + len(self.pull)
        nothing = np.zeros((0, 0))
        for number, (codes, sums, _) in enumerate(groups):
            blocks += [Block(str(number), ("",) * one.size, nothing, codes, ()) for one in sums]
        sets = len(groups[0][0]) if groups else 1
        codes = np.array([mine for mine, _, _ in groups], dtype=np.int64).reshape(len(groups), sets).T
        zeros = np.zeros(sets, dtype=np.int64)
        empty = np.zeros((1, 0))
        moments = Moments(
            None, tuple(str(number) for number in range(len(groups))),  # type: ignore[arg-type]
            tuple(("",) * sums[0].levels for _, sums, _ in groups), np.ascontiguousarray(codes), zeros, empty, empty,
            (), np.zeros(1), empty, 0.0, np.zeros(1), zeros[:1],
        )  # fmt: skip
        return make_places(blocks, count, moments, self.responses)

    def fill(self, products: np.ndarray, pulls: np.ndarray) -> None:
        """Sums of every set: products (set, entry, entry) and pulls (set, entry, response)."""
        places, plan = self.places, self.places.structure.plan
        whole = np.concatenate([products, pulls], axis=2)
        entries = whole[:, places.pairs[:, 0], places.pairs[:, 1]].T
        dense = np.bincount(places.slot.ravel(), entries.ravel(), int(plan.panel[-1]))
        term = places.term.copy()
        effects = len(self.columns)
        first = len(term) - self.own - len(self.pull)
        term[first:] = effects
        term[first : first + self.own] = np.arange(effects - self.own, effects)
        none, few, empty = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32), np.zeros(0)
        self.numbers = kernels.Numbers(
            term, dense, none, few, few, few, empty, places.prior_slot, places.prior_row, places.prior_column,
            places.prior_coefficient,
        )  # fmt: skip

    def inputs(self, natural: Natural) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sds, the prior's entries, and the log determinants of all correlation matrices, each level and response."""
        points, count = len(natural.sd), self.own + len(self.pull)
        scaled = [one.scaled(natural) for one in self.sums]
        entries = np.zeros((points, int(self.entries[-1]) + count * (count + 1) // 2 + count))
        entries[:, 0] = 1.0
        total = np.zeros(points)
        for one, mine in zip(self.sums, scaled, strict=True):
            total += self.responses * one.levels * mine.log_determinant
        for place, mine in enumerate(scaled[: self.in_groups]):
            if mine.sd.shape[1] > 1:
                rows, columns = upper_triangle(mine.sd.shape[1])
                entries[:, self.entries[place] : self.entries[place + 1]] = mine.inverse[:, rows, columns]
        square = np.zeros((points, count, count))
        square[:, self.own :, self.own :] = self.precision
        at = 0
        for mine in scaled[self.in_groups :]:
            stop = at + mine.sd.shape[1]
            square[:, at:stop, at:stop] = mine.inverse
            at = stop
        rows, columns = upper_triangle(count)
        low = int(self.entries[-1])
        entries[:, low : low + len(rows)] = square[:, rows, columns]
        entries[:, low + len(rows) + self.own :] = self.pull
        sd = np.concatenate([mine.sd for mine in scaled], axis=1) if scaled else np.zeros((points, 0))
        return sd, entries, total

    def gradient(self, natural: Natural, a: np.ndarray, slopes: Slopes) -> tuple[float, float]:
        """Value (without `inputs`' log determinants) and derivative by a at one point; the rest goes to `slopes`."""
        sd, entries, total = self.inputs(natural)
        logdet, quadratic, by_a, by_sd, by_entry, _ = kernels.gradient(
            self.places.structure.plan, self.numbers, a, sd[0], entries[0], np.empty(0)
        )
        value = 0.5 * (quadratic - self.responses * logdet - total[0])
        count, at, effect = self.own + len(self.pull), 0, 0
        square = np.zeros((count, count))
        rows, columns = upper_triangle(count)
        low = int(self.entries[-1])
        square[rows, columns] = by_entry[low : low + len(rows)]
        for place, one in enumerate(self.sums):
            k = one.size
            by_inverse = np.zeros((k, k))
            if place >= self.in_groups:
                by_inverse, at = square[at : at + k, at : at + k], at + k
            elif k > 1:
                mine = by_entry[self.entries[place] : self.entries[place + 1]]
                by_inverse[upper_triangle(k)] = mine
            one.pull_back(natural, by_sd[effect : effect + k], by_inverse, self.responses, slopes)
            effect += k
        return float(value), float(by_a[0])

    def run(self, inputs, a: np.ndarray, copies: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(point,) ½ (quadratic − responses · log determinant); draws in place of noise."""
        logdet, quadratic = np.empty(len(a)), np.empty(len(a))
        kernels.draw(
            self.places.structure.plan,
            self.numbers,
            a,
            inputs[0],
            inputs[1],
            np.empty((len(a), 0)),
            copies,
            noise,
            logdet,
            quadratic,
        )
        return 0.5 * (quadratic - self.responses * logdet)

    def columns_of(self, group: int) -> np.ndarray:
        """(level, effect) columns of raw draws that hold a group's effects."""
        structure = self.places.structure
        start, stop = structure.layout.start(group), structure.layout.start(group + 1)
        return structure.position[start:stop].reshape(-1, structure.layout.sizes[group])

    @property
    def of_factor(self) -> np.ndarray:
        """Columns of raw draws that hold F's effects."""
        layout = self.places.structure.layout
        return layout.size - layout.coefficients + np.arange(self.own)


def columns_in(parts: Parts) -> list[int]:
    """The distinct columns, in the order in which they come."""
    return list(dict.fromkeys(column for _, mine in parts for column in mine))
