"""log p(y, theta) of one outcome, its gradient, and draws of coefficients and effects given theta.

    u = sd ⊙ z,  z ~ N(0, R) a level,  coefficients γ ~ N(m, P⁻¹) (P = 0 where flat),  r = y − Xγ₀
    M = blockdiag(R⁻¹ …, P) + S G S          c = S b + P(m − γ₀)          (c is M's last column, the response)
    log p(y | theta) = −½[ n log 2π + log |residual covariance| + Σ levels·log |R| − log |P| + log |M|
                           + q + (m − γ₀)'P(m − γ₀) − c'M⁻¹c ]        (flat: + ½ log 2π a coefficient, no log |P|)

G, b, q are the sums of `moments` weighted by `residual`. γ are the coefficients of centred columns and a centred
outcome, and γ₀ is their least squares estimate, so that q is the residual sum of squares and nothing cancels, however
large the outcome's mean or the number of rows. Scaling by sd alone keeps sd = 0 an ordinary point.

`Places` holds where each sum goes; it depends on the design and is shared by all outcomes.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np

from mien.models.design import Block
from mien.models.engines.collapsed import kernels
from mien.models.engines.collapsed.correlation import inverse_of, pull_back_inverse
from mien.models.engines.collapsed.elimination import Layout, Structure, analyse
from mien.models.engines.collapsed.moments import Moments
from mien.models.engines.collapsed.parameters import Natural, Parameters, make_parameters
from mien.models.engines.collapsed.residual import Residuals
from mien.priors import Fixed, Normal, ResolvedPrior

__all__ = ["CoefficientPrior", "Density", "Effects", "Places", "make_density", "make_places"]

LOG_2PI = float(np.log(2.0 * np.pi))
CHUNK = 100  # points that a thread takes at once
MOST_AT_ONCE = 4_000_000  # numbers of raw draws in memory


@cache
def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="collapsed")


class Places(NamedTuple):
    """Where the sums of every cell go.

    structure : of the elimination. factor_of : (block,) place of its factor. term : (variable,) term of each variable.
    inner : (entry, cell) variables of a cell: its terms' effects, the coefficients, the response, in the order of
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


def make_places(blocks: Sequence[Block], coefficients: int, moments: Moments) -> Places:
    """The structure of a design: which variables there are, in which order, and where their sums are stored."""
    terms_of = [
        [(b, j) for b, block in enumerate(blocks) for j in range(len(block.terms)) if block.factor == factor]
        for factor in moments.factors
    ]
    layout = Layout(
        tuple(len(terms) for terms in terms_of), tuple(len(levels) for levels in moments.levels), coefficients
    )
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
    inner += [np.full(cells, at + q) for q in range(coefficients + 1)]
    prior.add_coefficients(at, coefficients, blocks)
    variables = np.array(inner, dtype=np.int64).reshape(len(inner), cells)
    pairs = np.column_stack(np.triu_indices(len(inner)))[:-1]  # all but the response with itself
    slot = _slots(
        structure, variables, pairs, moments.codes, _nodes(moments, terms_of, first_term, coefficients)
    )
    term = np.empty_like(natural_term)
    term[structure.position[:-1]] = natural_term
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
    """Entries of a cell that belong to one level: of a factor, or (factor −1) the coefficients or the response."""

    factor: int
    entries: list[int]


def _nodes(moments: Moments, terms_of, first_term: np.ndarray, coefficients: int) -> list[_Node]:
    nodes = [
        _Node(factor, [int(first_term[b]) + j for b, j in terms]) for factor, terms in enumerate(terms_of)
    ]
    last = int(first_term[-1])
    return [*nodes, _Node(-1, list(range(last, last + coefficients))), _Node(-1, [last + coefficients])]


def _slots(
    structure: Structure, variables: np.ndarray, pairs: np.ndarray, codes: np.ndarray, nodes: list[_Node]
) -> np.ndarray:
    """(pair, cell) where each product is stored; looked up once for each two levels that meet."""
    number = np.empty((len(variables), len(variables)), dtype=np.int64)
    number[pairs[:, 0], pairs[:, 1]] = number[pairs[:, 1], pairs[:, 0]] = np.arange(len(pairs))
    result = np.empty((len(pairs), codes.shape[0]), dtype=np.int64)
    for place, one in enumerate(nodes):
        for other in nodes[place:]:
            if not (one.entries and other.entries) or one.entries == other.entries == [len(variables) - 1]:
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
        number = 1 + sum(_packed(len(block.terms)) for block in blocks[:b])
        for other, (c, k) in enumerate(terms):
            if c == b and k >= j:
                self.parts.append((level + place, level + other, number + _place(j, k, len(blocks[b].terms))))

    def add_coefficients(self, at: int, count: int, blocks) -> None:
        number = 1 + sum(_packed(len(block.terms)) for block in blocks)
        for i in range(count):
            for j in range(i, count):
                self.parts.append((np.array([at + i]), np.array([at + j]), number + _place(i, j, count)))
            response = number + count * (count + 1) // 2 + i
            self.parts.append((np.array([at + i]), np.array([at + count]), response))

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


def _packed(k: int) -> int:
    return k * (k + 1) // 2 if k > 1 else 0


@cache
def _upper(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of an upper triangle, packed."""
    return np.triu_indices(k)


def _place(i: int, j: int, k: int) -> int:
    """Of entry (i, j ≥ i) in a packed upper triangle."""
    return i * k - i * (i - 1) // 2 + j - i


class CoefficientPrior(NamedTuple):
    """Coefficients β = A γ + shift of the free ones, and the prior of γ.

    free : (coefficient,) which are not Fixed; held : values of those that are, 0 elsewhere.
    back : A; shift : of β; precision, mean : of γ's prior about the expansion point γ₀ (so mean is m − γ₀).
    log_normaliser : log |P| of the normal ones + log 2π of the flat ones.
    """

    free: np.ndarray
    held: np.ndarray
    back: np.ndarray
    shift: np.ndarray
    precision: np.ndarray
    mean: np.ndarray
    log_normaliser: float


def _coefficient_prior(
    names: Sequence[str], priors: Mapping[str, ResolvedPrior], moments: Moments
) -> tuple[CoefficientPrior, np.ndarray, np.ndarray]:
    """The prior; B (entry, column) of the free coefficients' columns in terms of the moments'; and the response's."""
    kinds = [priors[name].prior for name in names]
    free = np.array([not isinstance(kind, Fixed) for kind in kinds], dtype=bool)
    held = np.array([kind.value if isinstance(kind, Fixed) else 0.0 for kind in kinds])
    columns = moments.columns.coefficients
    centre, width = moments.centre, len(moments.centre)
    raw = np.zeros((len(names), width))
    raw[np.arange(len(names)), columns] = 1.0
    raw[:, 0] += np.where(columns > 0, centre[columns], 0.0)
    response = np.zeros(width)
    response[-1], response[0] = 1.0, centre[-1]
    response -= held @ raw
    used, count = raw[free], int(free.sum())
    back, shift = np.eye(count), np.zeros(count)
    constant = np.flatnonzero(columns[free] == 0)
    if len(constant):  # the intercept takes up the columns' and the outcome's means
        at = int(constant[0])
        means = used[:, 0].copy()
        means[at] = 0.0
        back[at] -= means
        shift[at] = response[0]
        used[:, 0] -= means
        response[0] = 0.0
    normal = np.array([isinstance(kind, Normal) for kind in kinds], dtype=bool)[free]
    sds = np.array([kind.sd if isinstance(kind, Normal) else 1.0 for kind in kinds])[free]
    means = np.array([kind.mean if isinstance(kind, Normal) else 0.0 for kind in kinds])[free]
    own = np.where(normal, sds**-2.0, 0.0)
    precision = back.T @ (own[:, None] * back)
    mean = np.linalg.solve(back, means - shift) if count else means
    log_normaliser = float(np.log(own[normal]).sum()) + float((~normal).sum()) * LOG_2PI
    return CoefficientPrior(free, held, back, shift, precision, mean, log_normaliser), used, response


class Effects(NamedTuple):
    """Draws: coefficients (draw, coefficient) in the design's order; effects (draw, effect) in natural order."""

    coefficients: np.ndarray
    effects: np.ndarray


class Density:
    """The density of one outcome; see the module.

    parameters : of theta. places : shared. threads : how many this may use.
    """

    def __init__(
        self, parameters: Parameters, places: Places, moments: Moments, names: Sequence[str],
        priors: Mapping[str, ResolvedPrior], *, threads: int = 1,
    ) -> None:  # fmt: skip
        self.parameters, self.places, self.threads = parameters, places, threads
        self.residuals = Residuals.of(moments)
        self.coefficients, used, response = _coefficient_prior(names, priors, moments)
        terms = np.zeros((len(moments.columns.terms), len(moments.centre)))
        columns = moments.columns.terms
        terms[np.arange(len(columns)), columns] = 1.0
        terms[:, 0] += np.where(columns > 0, moments.centre[columns], 0.0)
        rows = moments.gram[0].sum(axis=0) + moments.gram[1::3].sum(axis=(0, 1))
        origin = _least_squares(used @ rows @ used.T, used @ rows @ response)
        self.origin = origin
        prior = self.coefficients
        self.coefficients = prior._replace(mean=prior.mean - origin)
        basis = np.concatenate([terms, used, (response - origin @ used)[None]])
        self._fill(basis @ moments.gram @ basis.T)
        levels = np.diff(np.searchsorted(np.sort(places.term), np.arange(len(columns) + 1)))
        self.levels = np.array([levels[first] for first, _, _ in parameters.blocks])
        prior = self.coefficients
        upper = prior.precision[np.triu_indices(len(prior.precision))]
        self.held_coefficients = np.concatenate([upper, prior.precision @ prior.mean])
        self.correlated = np.cumsum([0, *(_packed(k) for _, k, _ in parameters.blocks)])
        fixed = prior.mean @ prior.precision @ prior.mean - prior.log_normaliser
        self.constant = float(moments.rows.sum()) * LOG_2PI + fixed

    def _fill(self, gram: np.ndarray) -> None:
        """Sums of every cell, gram (component, cell, entry + 1, entry + 1), to their places."""
        places, plan = self.places, self.places.structure.plan
        components, strata = len(gram), len(self.residuals.rows)
        self.squares = np.stack(
            [np.bincount(places.stratum, gram[k, :, -1, -1], strata) for k in range(components)]
        ).ravel()
        entries = gram[:, :, places.pairs[:, 0], places.pairs[:, 1]].transpose(
            0, 2, 1
        )  # (component, pair, cell)
        empty, none = np.zeros(0), np.zeros(0, dtype=np.int64)
        dense, parts = empty, (none, none, none, empty, none)
        if components * strata == 1:
            dense = 1.0 * np.bincount(places.slot.ravel(), entries[0].ravel(), int(plan.panel[-1]))
        else:
            parts = self._components(entries, strata)
        slot, row, column, value, begin = parts
        self.numbers = kernels.Numbers(
            places.term, dense, begin, slot, row, column, value, places.prior_slot, places.prior_row,
            places.prior_column, places.prior_coefficient,
        )  # fmt: skip

    def _components(self, entries: np.ndarray, strata: int):
        places, total = self.places, int(self.places.structure.plan.panel[-1])
        count = len(places.distinct)
        slot = places.distinct % total
        first = np.empty(count, dtype=np.int64)
        first[places.inverse] = np.arange(len(places.inverse))
        cells = entries.shape[2]
        pair, cell = first // cells, first % cells
        i = places.inner[places.pairs[pair, 0], cell]
        j = places.inner[places.pairs[pair, 1], cell]
        per_stratum = np.bincount(places.distinct // total, minlength=strata)
        begin = np.concatenate([[0], np.cumsum(np.tile(per_stratum, len(entries)))]).astype(np.int64)
        values = np.concatenate([np.bincount(places.inverse, part.ravel(), count) for part in entries])
        repeat = len(entries)
        return (
            np.tile(slot, repeat), np.tile(np.minimum(i, j), repeat), np.tile(np.maximum(i, j), repeat), values, begin,
        )  # fmt: skip

    # Points

    def _inputs(self, natural: Natural) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of the sums, prior coefficients, and −2 × the log density's part that needs no elimination."""
        weights = self.residuals.weights(natural.sigma, natural.rho)
        total = weights.a @ self.squares
        total += weights.log_determinant
        total += self.constant
        precision = np.empty((len(total), 1 + self.correlated[-1] + len(self.held_coefficients)))
        precision[:, 0] = 1.0
        precision[:, 1 + self.correlated[-1] :] = self.held_coefficients
        at = 1
        for (_, k, first), levels in zip(self.parameters.blocks, self.levels, strict=True):
            if k > 1:
                inverse, log_determinant = inverse_of(natural.partial, first, k)
                rows, columns = _upper(k)
                precision[:, at : at + len(rows)] = inverse[:, rows, columns]
                at += len(rows)
                total += levels * log_determinant
        return weights.a, precision, total

    def log_likelihood(self, natural: Natural) -> np.ndarray:
        """Log p(y | theta) (point,), coefficients and effects integrated out; −inf where it is not finite."""
        return self.evaluate(natural, np.zeros(len(natural.sd), dtype=np.int64), None)

    def evaluate(
        self, natural: Natural, copies: np.ndarray, noise: np.ndarray | None, rng=None
    ) -> np.ndarray:
        """Log p(y | theta) (point,), and draws from the same factorisations.

        Parameters
        ----------
        natural : points. copies : (point,) draws of each.
        noise : (draw, variable) is filled with raw draws, point by point; without `rng` with the conditional means.
            Chunks of points have streams of their own, so that draws are the same on any number of cores.
        """
        points, plan = len(copies), self.places.structure.plan
        value = np.empty(points)
        nothing = np.empty((0, 0))
        pieces = max(1, -(-points // CHUNK))
        ends = np.concatenate([[0], np.cumsum(copies)])
        streams = [None] * pieces if rng is None else rng.spawn(pieces)
        with np.errstate(all="ignore"):
            a, precision, total = self._inputs(natural)

        def chunk(place: int) -> None:
            low, high = place * CHUNK, min((place + 1) * CHUNK, points)
            mine, stream = (nothing if noise is None else noise[ends[low] : ends[high]]), streams[place]
            if stream is None:
                mine[:] = 0.0
            else:
                stream.standard_normal(out=mine)
            logdet, quadratic = np.empty(high - low), np.empty(high - low)
            kernels.draw(
                plan, self.numbers, a[low:high], natural.sd[low:high], precision[low:high], copies[low:high], mine,
                logdet, quadratic,
            )  # fmt: skip
            value[low:high] = quadratic - logdet

        if self.threads == 1 or pieces == 1:
            for place in range(pieces):
                chunk(place)
        else:
            list(_pool().map(chunk, range(pieces)))
        with np.errstate(all="ignore"):
            value = 0.5 * (value - total)
        return np.where(np.isfinite(value), value, -np.inf)

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Log p(y, theta) (point,) at theta (point, dim)."""
        value = self.log_likelihood(self.parameters.natural(theta)) + self.parameters.log_prior(theta)
        return np.where(np.isfinite(value), value, -np.inf)

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log p(y, theta) and its gradient at one theta (dim,)."""
        with np.errstate(all="ignore"):
            natural = self.parameters.natural(theta[None])
            a, precision, total = self._inputs(natural)
            logdet, quadratic, by_a, by_sd, by_prior = kernels.gradient(
                self.places.structure.plan, self.numbers, a[0], natural.sd[0], precision[0]
            )
            value = -0.5 * (total[0] + logdet - quadratic) + self.parameters.log_prior(theta[None])[0]
            if not np.isfinite(value):
                return -np.inf, np.zeros(len(theta))
            by_sigma, by_rho = self.residuals.pull_back(
                natural.sigma[0], float(natural.rho[0]), by_a - 0.5 * self.squares
            )
            by_partial, at = np.zeros(natural.partial.shape[1]), 1
            for (_, k, first), levels in zip(self.parameters.blocks, self.levels, strict=True):
                if k > 1:
                    rows, columns = _upper(k)
                    by_inverse = np.zeros((k, k))
                    by_inverse[rows, columns] = by_prior[at : at + len(rows)]
                    at += len(rows)
                    by_partial += pull_back_inverse(natural.partial[0], first, k, by_inverse, -0.5 * levels)
            slope = self.parameters.pull_back(theta, by_sd, by_partial, by_sigma, by_rho)
        return float(value), slope

    def draw(
        self, natural: Natural, copies: np.ndarray, rng: np.random.Generator | None, *,
        destination: np.ndarray | None = None, dtype: type = np.float32,
    ) -> Effects:  # fmt: skip
        """Draw coefficients and effects.

        Parameters
        ----------
        natural : points. copies : (point,) how many draws of each; they come point by point.
        rng : None gives the conditional means. Chunks have streams of their own: the same draws on any number of cores.
        destination : (draw,) the row of the result that each draw goes to.
        dtype : of the effects.
        """
        variables, total = len(self.places.term), int(copies.sum())
        effects = variables - len(self.coefficients.mean)
        destination = np.arange(total) if destination is None else destination
        result = Effects(
            np.empty((total, len(self.coefficients.free))), np.empty((total, effects), dtype=dtype)
        )
        ends = np.concatenate([[0], np.cumsum(copies)])
        low, most = 0, max(1, MOST_AT_ONCE // max(variables, 1))
        while low < len(copies):  # a part at a time, so that only the result is large
            high = max(low + 1, int(np.searchsorted(ends, ends[low] + most, side="right")) - 1)
            raw = np.empty((int(ends[high] - ends[low]), variables))
            self.evaluate(Natural(*(value[low:high] for value in natural)), copies[low:high], raw, rng)
            rows = destination[ends[low] : ends[high]]
            result.coefficients[rows] = self.coefficients_of(raw)
            result.effects[rows] = raw[:, self.places.structure.position[:effects]]
            low = high
        return result

    def coefficients_of(self, raw: np.ndarray) -> np.ndarray:
        """Coefficients (draw, coefficient) of raw draws (draw, variable)."""
        prior = self.coefficients
        coefficients = np.empty((len(raw), len(prior.free)))
        coefficients[:] = prior.held
        gamma = raw[:, raw.shape[1] - len(prior.mean) :] + self.origin
        coefficients[:, prior.free] = gamma @ prior.back.T + prior.shift
        return coefficients

    def columns_of(self, factor: int, place: int) -> np.ndarray:
        """Columns of raw draws that hold a factor's term, level by level."""
        structure = self.places.structure
        start, stop = structure.layout.start(factor), structure.layout.start(factor + 1)
        return structure.position[start + place : stop : structure.layout.sizes[factor]]


def _least_squares(gram: np.ndarray, score: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(gram, score, rcond=None)[0] if len(score) else score


def _scales(blocks: Sequence[Block], places: Places, moments: Moments, spread: float) -> np.ndarray:
    """Of each term: residual sd / √(information of an average level)."""
    gram = moments.gram[0] + moments.gram[1::3].sum(axis=0)
    scales = []
    number = 0
    for block in blocks:
        for _ in block.terms:
            column = int(moments.columns.terms[number])
            centre = moments.centre[column] if column else 0.0
            square = gram[:, column, column] + 2 * centre * gram[:, column, 0] + centre**2 * gram[:, 0, 0]
            square = gram[:, 0, 0] if column == 0 else square
            scales.append(spread / np.sqrt(max(square.sum() / len(block.levels), 1e-300)))
            number += 1
    return np.array(scales)


def make_density(
    design_names: Sequence[str], blocks: Sequence[Block], priors: Mapping[str, ResolvedPrior],
    moments: Moments, strata: Sequence[str], places: Places | None = None, *, threads: int = 1,
) -> tuple[Density, np.ndarray]:  # fmt: skip
    """The density of an outcome and a theta to start from."""
    free = sum(not isinstance(priors[name].prior, Fixed) for name in design_names)
    places = places or make_places(blocks, free, moments)
    _, used, response = _coefficient_prior(design_names, priors, moments)
    rows = moments.gram[0].sum(axis=0) + moments.gram[1::3].sum(axis=(0, 1))
    origin = _least_squares(used @ rows @ used.T, used @ rows @ response)
    left = response - origin @ used
    spread = float(np.sqrt(max(left @ rows @ left, 0.0) / max(moments.rows.sum(), 1.0)))
    sigma = [priors[f"sigma:{name}" if name else "sigma"].prior for name in strata]
    base = float(np.mean([kind.value if isinstance(kind, Fixed) else spread for kind in sigma])) or 1.0
    scale = _scales(blocks, places, moments, base if base > 0 else 1.0)
    parameters = make_parameters(blocks, priors, tuple(strata), bool(moments.gaps), scale)
    density = Density(parameters, places, moments, design_names, priors, threads=threads)
    start = np.zeros(parameters.dim)
    start[: len(parameters.sd_free)] = np.arcsinh(1.0)
    sigmas = slice(
        len(parameters.sd_free) + len(parameters.partial_free),
        len(parameters.sd_free) + len(parameters.partial_free) + len(parameters.sigma_free),
    )
    start[sigmas] = np.log(0.8 * max(spread, 1e-300))
    return density, start
