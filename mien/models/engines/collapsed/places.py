"""Where the sums of every cell go in the panels, and which entries the prior adds to.

A cell of rows belongs to one level of every factor, so that its products touch that level's effects, the coefficients
and the response, and nothing else. The places depend on the design alone and are shared by all outcomes.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from mien.models.design import Block
from mien.models.engines.collapsed.elimination import Layout, Structure, analyse
from mien.models.engines.collapsed.moments import Moments

__all__ = ["Places", "make_places", "packed_size", "upper_triangle"]


def packed_size(k: int) -> int:
    """Entries of a block's prior precision that differ from 1: none where it has one effect."""
    return k * (k + 1) // 2 if k > 1 else 0


@cache
def upper_triangle(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of an upper triangle, packed."""
    return np.triu_indices(k)


def _place(i: int, j: int, k: int) -> int:
    """Of entry (i, j ≥ i) in a packed upper triangle."""
    return i * k - i * (i - 1) // 2 + j - i


class Places(NamedTuple):
    """Where the sums of every cell go.

    structure : of the elimination. factor_of : (block,) place of its factor. term : (variable,) term of each variable.
    inner : (entry, cell) variables of a cell: its terms' effects, the coefficients, the responses, in the order of
    elimination. pairs : (pair, 2) entries that are multiplied; slot : (pair, cell) where.
    prior_* : entries of the prior's precision.
    strata : number of strata; distinct, inverse : stored (stratum, slot) of components where there are several, and
    for every (pair, cell) its place among them.
    """

    structure: Structure
    term: np.ndarray
    inner: np.ndarray
    pairs: np.ndarray
    slot: np.ndarray
    stratum: np.ndarray
    prior_slot: np.ndarray
    prior_row: np.ndarray
    prior_column: np.ndarray
    prior_coefficient: np.ndarray
    distinct: np.ndarray
    inverse: np.ndarray


def make_places(blocks: Sequence[Block], coefficients: int, moments: Moments, responses: int = 1) -> Places:
    """The structure of a design: which variables there are, in which order, and where their sums are stored."""
    terms_of = [
        [(b, j) for b, block in enumerate(blocks) for j in range(len(block.terms)) if block.factor == factor]
        for factor in moments.factors
    ]
    layout = Layout(
        tuple(len(terms) for terms in terms_of), tuple(len(levels) for levels in moments.levels), coefficients,
        responses,
    )  # fmt: skip
    structure = analyse(layout, moments.codes)
    first_term = np.concatenate([[0], np.cumsum([len(block.terms) for block in blocks])]).astype(np.int64)
    natural_term = np.full(layout.size, first_term[-1], dtype=np.int64)
    inner: list[np.ndarray] = [np.zeros(0)] * int(first_term[-1])
    prior = _PriorEntries(structure)
    for factor, terms in enumerate(terms_of):
        start, size, levels = layout.start(factor), layout.sizes[factor], np.arange(layout.levels[factor])
        for place, (b, j) in enumerate(terms):
            number = int(first_term[b]) + j
            natural_term[start + place + size * levels] = number
            inner[number] = start + place + size * moments.codes[:, factor]
            prior.add_block(blocks, terms, place, start + size * levels)
    cells = len(moments.codes)
    at = layout.start(len(terms_of))
    inner += [np.full(cells, at + q) for q in range(coefficients + responses)]
    prior.add_coefficients(at, coefficients, blocks)
    variables = np.array(inner, dtype=np.int64).reshape(len(inner), cells)
    pairs = np.column_stack(np.triu_indices(len(inner)))
    pairs = pairs[pairs[:, 0] < len(inner) - responses]  # all but responses with responses
    nodes = _nodes(moments, terms_of, first_term, layout)
    slot = _slots(structure, variables, pairs, moments.codes, nodes)
    term = np.empty_like(natural_term)
    term[structure.position[: layout.size]] = natural_term
    strata = len(moments.rows)
    distinct, inverse = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if strata * len(moments.gram) > 1:
        keys = moments.stratum * structure.plan.panel[-1] + slot
        distinct, inverse = np.unique(keys, return_inverse=True)
    return Places(
        structure, term, structure.position[variables], pairs, slot, moments.stratum, *prior.arrays(), distinct,
        inverse.ravel(),
    )  # fmt: skip


class _Node(NamedTuple):
    """Entries of a cell that belong to one level: of a factor, or (factor −1) the coefficients, or the responses."""

    factor: int
    entries: list[int]


def _nodes(moments: Moments, terms_of, first_term: np.ndarray, layout: Layout) -> list[_Node]:
    nodes = [
        _Node(factor, [int(first_term[b]) + j for b, j in terms]) for factor, terms in enumerate(terms_of)
    ]
    last = int(first_term[-1])
    response = last + layout.coefficients
    coefficients = _Node(-1, list(range(last, response)))
    return [*nodes, coefficients, _Node(-1, list(range(response, response + layout.responses)))]


def _slots(
    structure: Structure, variables: np.ndarray, pairs: np.ndarray, codes: np.ndarray, nodes: list[_Node]
) -> np.ndarray:
    """(pair, cell) where each product is stored; looked up once for each two levels that meet."""
    number = np.empty((len(variables), len(variables)), dtype=np.int64)
    number[pairs[:, 0], pairs[:, 1]] = number[pairs[:, 1], pairs[:, 0]] = np.arange(len(pairs))
    result = np.empty((len(pairs), codes.shape[0]), dtype=np.int64)
    for place, one in enumerate(nodes[:-1]):
        for other in nodes[place:]:
            if not (one.entries and other.entries):
                continue
            first, inverse = _meetings(codes, one.factor, other.factor)
            a, b = variables[one.entries[0], first], variables[other.entries[0], first]
            base, width = structure.slot(a, b)
            ahead = structure.position[a] <= structure.position[b]
            for i, entry in enumerate(one.entries):
                for j, second in enumerate(other.entries):
                    if one is other and j < i:
                        continue
                    found = base + np.where(ahead, i * width + j, j * width + i)
                    result[number[entry, second]] = found[inverse]
    return result


def _meetings(codes: np.ndarray, one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
    """A cell for each two levels that meet, and for each cell which two."""
    cells = len(codes)
    if one < 0 and other < 0:
        return np.zeros(min(cells, 1), dtype=np.int64), np.zeros(cells, dtype=np.int64)
    if one < 0 or other < 0 or one == other:
        keys = codes[:, max(one, other)]
    else:
        keys = codes[:, one] * (int(codes[:, other].max(initial=0)) + 1) + codes[:, other]
    top = int(keys.max(initial=0)) + 1
    if top > 4 * cells + 1000:
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        return first, inverse
    table = np.full(top, -1, dtype=np.int64)
    table[keys] = np.arange(cells)
    first = table[table >= 0]
    table[keys[first]] = np.arange(len(first))
    return first, table[keys]


class _PriorEntries:
    """Entries of the prior's precision and the number of the coefficient that fills each; number 0 is 1."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.parts: list[tuple[np.ndarray, np.ndarray, int]] = []

    def add_block(self, blocks, terms, place: int, level: np.ndarray) -> None:
        b, j = terms[place]
        if len(blocks[b].terms) == 1:
            self.parts.append((level + place, level + place, 0))
            return
        number = 1 + sum(packed_size(len(block.terms)) for block in blocks[:b])
        for other, (c, k) in enumerate(terms):
            if c == b and k >= j:
                self.parts.append((level + place, level + other, number + _place(j, k, len(blocks[b].terms))))

    def add_coefficients(self, at: int, count: int, blocks) -> None:
        number = 1 + sum(packed_size(len(block.terms)) for block in blocks)
        for i in range(count):
            for j in range(i, count):
                self.parts.append((np.array([at + i]), np.array([at + j]), number + _place(i, j, count)))
            pull = number + count * (count + 1) // 2 + i
            responses = at + count + np.arange(self.structure.layout.responses)
            self.parts.append((np.full(len(responses), at + i), responses, pull))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        if not self.parts:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty, empty
        one = np.concatenate([part[0] for part in self.parts])
        other = np.concatenate([part[1] for part in self.parts])
        numbers = np.repeat([part[2] for part in self.parts], [len(part[0]) for part in self.parts])
        position = self.structure.position
        row, column = np.minimum(position[one], position[other]), np.maximum(position[one], position[other])
        return self.structure.slot(one, other)[0], row, column, numbers.astype(np.int64)
