"""The density of a joint model with a shared design: two likelihoods of the size of one shape's.

An orthonormal Helmert rotation Q over the B levels of F leaves independent residuals as they are and makes the
components of the outcome independent of each other:

    ỹ_1 = Σ_b y_b / √B     √B Xβ + X_F φ̃_1 + Σ_g Z_g (√B shared_g + own~_g1)      own + B·shared: `covariance_sums`
    ỹ_2 … ỹ_B              X_F φ̃_j + Σ_g Z_g own~_gj                               B − 1 responses, one factorisation

φ are F's own effects, which here are coefficients with an sd. X, Z and all rows' weights are the same for all b, so
both have the same sums WᵀW (`shared_design`). What Q does to the effects it does to their draws: rotated back, Q'. The
first component's totals are split into own and shared effects, given their total Gaussian and independent of the data.
Same face as `density.Density`; same parameters.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from mien.models.design import Block
from mien.models.engines.collapsed import kernels
from mien.models.engines.collapsed.coefficients import LOG_2PI
from mien.models.engines.collapsed.covariance_sums import TINY, Slopes, Source, Sum
from mien.models.engines.collapsed.density import Effects, coordinates, in_pool, theta_of
from mien.models.engines.collapsed.elimination import Layout
from mien.models.engines.collapsed.moments import Moments
from mien.models.engines.collapsed.parameters import Natural, Parameters
from mien.models.engines.collapsed.places import Places, make_places, packed_size, upper_triangle
from mien.models.engines.collapsed.residual import Residuals
from mien.models.engines.collapsed.shared_design import SharedDesign
from mien.priors import ResolvedPrior

__all__ = ["RotatedDensity", "helmert", "make_rotated_density"]

CHUNK = 64  # points that a thread takes at once
MOST_COPIES = 64  # draws of one point in one factorisation


def helmert(size: int) -> np.ndarray:
    """Q (component, level), orthonormal; the first row is 1 / √B."""
    rows = np.arange(1, size)[:, None]
    columns = np.arange(size)
    lower = np.where(columns < rows, 1.0, np.where(columns == rows, -1.0 * rows, 0.0))
    return np.vstack([np.full(size, size**-0.5), lower / np.sqrt(rows * (rows + 1.0))])


type _Parts = list[tuple[Source, list[int]]]  # blocks and their columns


class _Model(NamedTuple):
    """The blocks of the joint model by factor, and its columns.

    sources : (factor,) blocks as (first term, size, first partial); column : (term,) of the moments.
    """

    sources: tuple[tuple[tuple[int, int, int], ...], ...]
    column: np.ndarray

    def of(self, factor: int, weight: float) -> _Parts:
        """A factor's blocks as sources, and their columns; `at` is still to be found."""
        if factor < 0:
            return []
        return [
            (Source(first, size, partial, weight, ()), self.column[first : first + size].tolist())
            for first, size, partial in self.sources[factor]
        ]


def _sums(own: _Parts, shared: _Parts, levels: int) -> list[Sum]:
    """Blocks as they are where there is nothing to add; one sum for each effect, or one for all that correlate."""
    parts = own + shared
    if not (own and shared):
        return [
            Sum(len(mine), levels, (source._replace(at=tuple(range(len(mine)))),)) for source, mine in parts
        ]
    columns = list(dict.fromkeys(column for _, mine in parts for column in mine))
    if all(source.size == 1 for source, _ in parts):
        return [
            Sum(1, levels, tuple(source._replace(at=(0,)) for source, mine in parts if mine == [column]))
            for column in columns
        ]
    placed = tuple(source._replace(at=tuple(columns.index(c) for c in mine)) for source, mine in parts)
    return [Sum(len(columns), levels, placed)]


class _Component:
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
        none, empty = np.zeros(0, dtype=np.int64), np.zeros(0)
        self.numbers = kernels.Numbers(
            term, dense, none, none, none, none, empty, places.prior_slot, places.prior_row, places.prior_column,
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
        logdet, quadratic, by_a, by_sd, by_entry = kernels.gradient(
            self.places.structure.plan, self.numbers, a, sd[0], entries[0]
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


class _Split(NamedTuple):
    """How a group's first component is divided.

    total : its sum over all effects; total_at, own_at : (level, effect) columns of raw draws of the first component,
    and of the other components. own : its own sources with their places among the total's effects.
    shared_places : (level, shared effect) places in natural order; shared : (shared effect,) among the total's.
    """

    total: tuple[Sum, ...]
    total_at: np.ndarray
    own: tuple[Source, ...]
    own_among: np.ndarray
    own_at: np.ndarray
    shared_among: np.ndarray
    shared_places: np.ndarray
    both: np.ndarray


class RotatedDensity:
    """The density of one outcome with a shared design; see the module.

    parameters : of theta; layout : of the effects in natural order; threads : how many this may use.
    notes : what was done, for the verdict.
    """

    def __init__(
        self, parameters: Parameters, shared: SharedDesign, moments: Moments, names: Sequence[str],
        priors: Mapping[str, ResolvedPrior], factors: Sequence[Sequence[int]], *, threads: int = 1,
    ) -> None:  # fmt: skip
        self.parameters, self.shared, self.threads = parameters, shared, threads
        self.residuals = Residuals.of(moments)
        self.coefficients, self.origin, basis = coordinates(names, priors, moments)
        self.notes = (
            f"shared design: every combination has all {shared.size} levels of {moments.factors[shared.factor]!r}, "
            "which were rotated into independent components",
        )
        model = _Model(
            tuple(tuple(parameters.blocks[block] for block in mine) for mine in factors),
            moments.columns.terms,
        )
        sizes = tuple(sum(k for _, k, _ in mine) for mine in model.sources)
        levels = tuple(len(mine) for mine in moments.levels)
        self.layout = Layout(sizes, levels, len(self.coefficients.mean))
        self._components(model)
        self._fill(moments, basis)
        self._splits(model)
        prior = self.coefficients
        self.constant = float(moments.rows.sum()) * LOG_2PI
        self.constant += float(prior.mean @ prior.precision @ prior.mean) - prior.log_normaliser

    def _components(self, model: _Model) -> None:
        """The first component, and all others."""
        shared, prior = self.shared, self.coefficients
        of_factor = model.of(shared.factor, 1.0)
        factor = _sums(of_factor, [], 1), [column for _, mine in of_factor for column in mine]
        first, others = [], []
        for group in shared.groups:
            own, both = model.of(group.own, 1.0), model.of(group.shared, float(shared.size))
            columns = list(dict.fromkeys(column for _, mine in own + both for column in mine))
            first.append((group.codes, _sums(own, both, group.levels), columns))
            if own:
                others.append((group.codes, _sums(own, [], group.levels), columns[: _width(own)]))
        nothing = np.zeros(0)
        self.first = _Component(first, factor, prior.precision, prior.precision @ prior.mean, 1)
        self.others = _Component(others, factor, np.zeros((0, 0)), nothing, shared.size - 1)

    def _fill(self, moments: Moments, basis: np.ndarray) -> None:
        """Sums over columns are those of any level of F; sums with the outcome are rotated."""
        shared = self.shared
        cells = moments.gram[0][shared.cells]  # (set, B, column + 1, column + 1)
        products, response = cells[:, :, :-1, :-1].mean(axis=1), basis[-1]
        pulls = np.einsum("bs,csi->cib", helmert(shared.size), (cells @ response)[:, :, :-1])
        self.squares = float(((cells @ response) @ response).sum())
        terms, free = len(moments.columns.terms), len(self.coefficients.mean)
        of_column = np.zeros((len(moments.columns.names), basis.shape[1] - 1))
        of_column[moments.columns.terms] = basis[:terms, :-1]
        root = np.sqrt(shared.size)
        for component, rows, which in (
            (self.first, [root * basis[terms : terms + free, :-1]], slice(0, 1)),
            (self.others, [], slice(1, None)),
        ):
            entries = np.concatenate([of_column[component.columns], *rows])
            component.fill(entries @ products @ entries.T, entries @ pulls[:, :, which])

    # Points

    def log_likelihood(self, natural: Natural) -> np.ndarray:
        """Log p(y | theta) (point,), coefficients and effects integrated out; −inf where it is not finite."""
        points = len(natural.sd)
        value, none = np.empty(points), np.empty((0, 0))
        copies = np.zeros(points, dtype=np.int64)
        with np.errstate(all="ignore"):
            weights = self.residuals.weights(natural.sigma, natural.rho)
            first, others = self.first.inputs(natural), self.others.inputs(natural)

        def chunk(low: int) -> None:
            some = slice(low, low + CHUNK)
            value[some] = 0.0
            for component, inputs in ((self.first, first), (self.others, others)):
                mine = (inputs[0][some], inputs[1][some])
                value[some] += component.run(mine, weights.a[some], copies[some], none)

        in_pool(chunk, range(0, points, CHUNK), self.threads)
        with np.errstate(all="ignore"):
            value -= 0.5 * (first[2] + others[2] + weights.a[:, 0] * self.squares + weights.log_determinant)
        value -= 0.5 * self.constant
        return np.where(np.isfinite(value), value, -np.inf)

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Log p(y, theta) (point,) at theta (point, dim)."""
        value = self.log_likelihood(self.parameters.natural(theta)) + self.parameters.log_prior(theta)
        return np.where(np.isfinite(value), value, -np.inf)

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log p(y, theta) and its gradient at one theta (dim,)."""
        with np.errstate(all="ignore"):
            natural = self.parameters.natural(theta[None])
            weights = self.residuals.weights(natural.sigma, natural.rho)
            slopes = Slopes(np.zeros(natural.sd.shape[1]), np.zeros(natural.partial.shape[1]))
            value, by_a = self.parameters.log_prior(theta[None])[0], -0.5 * self.squares
            value -= 0.5 * (weights.a[0, 0] * self.squares + weights.log_determinant[0] + self.constant)
            if not np.isfinite(value):
                return -np.inf, np.zeros(len(theta))
            for component in (self.first, self.others):
                mine, slope = component.gradient(natural, weights.a[0], slopes)
                value, by_a = value + mine, by_a + slope
                if not np.isfinite(value):
                    return -np.inf, np.zeros(len(theta))
            by_sigma, by_rho = self.residuals.pull_back(natural.sigma[0], 0.0, np.array([by_a]))
            slope = self.parameters.pull_back(theta, slopes.sd, slopes.partial, by_sigma, by_rho)
        return float(value), slope

    # Draws

    def draw(
        self, natural: Natural, copies: np.ndarray, rng: np.random.Generator | None, *,
        destination: np.ndarray | None = None, dtype: type = np.float32,
    ) -> Effects:  # fmt: skip
        """Draw coefficients and effects; as `Density.draw`."""
        split = -(-copies // MOST_COPIES)  # a point with very many draws is several points
        natural = Natural(*(np.repeat(value, split, axis=0) for value in natural))
        copies = _divided(copies, split)
        points, total = len(copies), int(copies.sum())
        destination = np.arange(total) if destination is None else destination
        effects = self.layout.size - self.layout.coefficients
        result = Effects(
            np.empty((total, len(self.coefficients.free))), np.empty((total, effects), dtype=dtype)
        )
        ends = np.concatenate([[0], np.cumsum(copies)])
        starts = range(0, points, CHUNK)
        streams = [None] * len(starts) if rng is None else rng.spawn(len(starts))

        def chunk(low: int) -> None:
            high = min(low + CHUNK, points)
            some, stream = slice(low, high), streams[low // CHUNK]
            rows = destination[ends[low] : ends[high]]
            self._draw(Natural(*(value[some] for value in natural)), copies[some], stream, rows, result)

        in_pool(chunk, starts, self.threads)
        return result

    def _draw(self, natural: Natural, copies: np.ndarray, stream, rows: np.ndarray, result: Effects) -> None:
        weights = self.residuals.weights(natural.sigma, natural.rho)
        raw = []
        for component in (self.first, self.others):
            layout = component.places.structure.layout
            noise = _normals(stream, (len(rows) * component.responses, layout.size))
            component.run(component.inputs(natural), weights.a, copies, noise)
            raw.append(noise)
        first, others = raw
        own = np.empty((len(rows), others.shape[1]))
        own[:, self.others.of_factor] = first[:, self.first.of_factor]
        point = np.repeat(np.arange(len(copies)), copies)
        for split in self.splits:
            self._divide(split, natural, point, first, own, rows, result.effects, stream)
        rotate_back(own, others, self.own_places, rows, result.effects)
        gamma = first[:, first.shape[1] - len(self.coefficients.mean) :] + self.origin
        result.coefficients[rows] = self.coefficients.coefficients_at(gamma)

    def _divide(self, split: _Split, natural: Natural, point, first, own, rows, effects, stream) -> None:
        """A group's totals: own effects of the first component into `own`, shared ones into `effects`."""
        total = first[:, split.total_at]  # (draw, level, effect)
        if split.own and len(split.both):
            mean, root = _conditional(split, natural)
            noise = _normals(stream, (*total.shape[:2], len(split.own_among)))
            mine = total @ mean[point] + noise @ root[point]
        else:
            mine = total[..., split.own_among]
        own[:, split.own_at] = mine
        if len(split.shared_among):
            left = total.copy()
            left[..., split.own_among] -= mine
            left = left[..., split.shared_among] / np.sqrt(self.shared.size)
            effects[rows[:, None], split.shared_places.ravel()] = left.reshape(len(rows), -1)

    def _splits(self, model: _Model) -> None:
        """What `draw` needs to know of each group, and where own effects go."""
        shared, layout = self.shared, self.layout
        variables = self.others.places.structure.layout.size
        self.own_places = np.empty((shared.size, variables), dtype=np.int64)
        terms = np.arange(layout.sizes[shared.factor])
        start = layout.start(shared.factor) + layout.sizes[shared.factor] * np.arange(shared.size)
        self.own_places[:, self.others.of_factor] = start[:, None] + terms
        splits, with_own = [], 0
        none = np.zeros(0, dtype=np.int64)
        for number, group in enumerate(shared.groups):
            own, both = model.of(group.own, 1.0), model.of(group.shared, float(shared.size))
            columns = list(dict.fromkeys(column for _, mine in own + both for column in mine))
            own_at = np.zeros((group.levels, 0), dtype=np.int64)
            if own:
                own_at = self.others.columns_of(with_own)
                with_own += 1
                size = layout.sizes[group.own]
                start = layout.start(group.own) + size * group.own_levels.T  # (B, level)
                self.own_places[:, own_at.ravel()] = (start[:, :, None] + np.arange(size)).reshape(
                    shared.size, -1
                )
            shared_columns = [column for _, mine in both for column in mine]
            places = np.zeros((group.levels, 0), dtype=np.int64)
            if both:
                size = layout.sizes[group.shared]
                places = layout.start(group.shared) + size * group.shared_levels[:, None] + np.arange(size)
            own_columns = [column for _, mine in own for column in mine]
            among = np.array([columns.index(column) for column in own_columns], dtype=np.int64)
            at, blocks = 0, []
            for source, mine in own:
                blocks.append(source._replace(at=tuple(range(at, at + len(mine)))))
                at += len(mine)
            everything = tuple(_sums(own, both, group.levels))
            splits.append(
                _Split(
                    everything,
                    self.first.columns_of(number),
                    tuple(blocks),
                    among,
                    own_at,
                    np.array([columns.index(column) for column in shared_columns], dtype=np.int64),
                    places,
                    among if both else none,
                )
            )
        self.splits = splits


def _width(parts: _Parts) -> int:
    return sum(len(mine) for _, mine in parts)


def _conditional(split: _Split, natural: Natural) -> tuple[np.ndarray, np.ndarray]:
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


def _normals(stream: np.random.Generator | None, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape) if stream is None else stream.standard_normal(shape)


def _divided(copies: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Copies of every point in as many parts as given, as equal as they can be."""
    number = np.repeat(parts, parts)
    place = np.arange(len(number)) - np.repeat(np.cumsum(parts) - parts, parts)
    many = np.repeat(copies, parts)
    return many * (place + 1) // number - many * place // number


@njit(cache=True, nogil=True, error_model="numpy")
def rotate_back(first, others, places, rows, result):
    """Q' times the components (draw, variable) and (draw · component, variable), to (row, place) of the result.

    Row j of Q is (1 … 1, −j, 0 …) / √(j(j + 1)), so that one sum from the last to the first component does it.
    """
    size, variables = places.shape
    carried = np.empty(variables)
    for draw in range(first.shape[0]):
        row, at = rows[draw], draw * (size - 1) - 1
        for i in range(variables):
            carried[i] = first[draw, i] / np.sqrt(size)
        for b in range(size - 1, 0, -1):
            weight = 1.0 / np.sqrt(b * (b + 1.0))
            for i in range(variables):
                value = weight * others[at + b, i]
                result[row, places[b, i]] = carried[i] - b * value
                carried[i] += value
        for i in range(variables):
            result[row, places[0, i]] = carried[i]


def make_rotated_density(
    design_names: Sequence[str], blocks: Sequence[Block], priors: Mapping[str, ResolvedPrior],
    moments: Moments, strata: Sequence[str], shared: SharedDesign, *, threads: int = 1,
) -> tuple[RotatedDensity, np.ndarray]:  # fmt: skip
    """The density of an outcome and a theta to start from; as `make_density`."""
    parameters, start = theta_of(design_names, blocks, priors, moments, strata)
    factors = [
        [place for place, block in enumerate(blocks) if block.factor == factor] for factor in moments.factors
    ]
    density = RotatedDensity(parameters, shared, moments, design_names, priors, factors, threads=threads)
    return density, start
