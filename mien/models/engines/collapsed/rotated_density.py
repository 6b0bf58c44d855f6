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

import numpy as np
from numba import njit

from mien.models.design import Block
from mien.models.engines.collapsed.coefficients import LOG_2PI
from mien.models.engines.collapsed.covariance_sums import Slopes
from mien.models.engines.collapsed.density import Effects, coordinates, in_pool, theta_of
from mien.models.engines.collapsed.elimination import Layout
from mien.models.engines.collapsed.moments import Moments
from mien.models.engines.collapsed.own_and_shared import Split, conditional, make_splits, places_of_own
from mien.models.engines.collapsed.parameters import Natural, Parameters
from mien.models.engines.collapsed.residual import Residuals
from mien.models.engines.collapsed.rotated_component import Component, JointBlocks, columns_in, sums_of
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
        model = JointBlocks(
            tuple(tuple(parameters.blocks[block] for block in mine) for mine in factors),
            moments.columns.terms,
        )
        sizes = tuple(sum(k for _, k, _ in mine) for mine in model.sources)
        levels = tuple(len(mine) for mine in moments.levels)
        self.layout = Layout(sizes, levels, len(self.coefficients.mean))
        self._components(model)
        self._fill(moments, basis)
        self.splits = make_splits(shared, model, self.layout, self.first, self.others)
        self.own_places = places_of_own(shared, self.layout, self.others)
        prior = self.coefficients
        self.constant = float(moments.rows.sum()) * LOG_2PI
        self.constant += float(prior.mean @ prior.precision @ prior.mean) - prior.log_normaliser

    def _components(self, model: JointBlocks) -> None:
        """The first component, and all others."""
        shared, prior = self.shared, self.coefficients
        of_factor = model.of(shared.factor, 1.0)
        factor = sums_of(of_factor, [], 1), columns_in(of_factor)
        first, others = [], []
        for group in shared.groups:
            own, both = model.of(group.own, 1.0), model.of(group.shared, float(shared.size))
            columns = columns_in(own + both)
            first.append((group.codes, sums_of(own, both, group.levels), columns))
            if own:
                others.append((group.codes, sums_of(own, [], group.levels), columns_in(own)))
        nothing = np.zeros(0)
        self.first = Component(first, factor, prior.precision, prior.precision @ prior.mean, 1)
        self.others = Component(others, factor, np.zeros((0, 0)), nothing, shared.size - 1)

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

    def gradients(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same at many points: (point,) and (point, dim)."""
        value, slope = np.empty(len(theta)), np.empty_like(theta)

        def one(point: int) -> None:
            value[point], slope[point] = self.gradient(theta[point])

        in_pool(one, range(len(theta)), self.threads)
        return value, slope

    # Draws

    def draw(
        self, natural: Natural, copies: np.ndarray, rng: np.random.Generator | None, *,
        destination: np.ndarray | None = None, dtype: type | None = np.float32,
    ) -> Effects:  # fmt: skip
        """Draw coefficients and effects; as `Density.draw`."""
        split = -(-copies // MOST_COPIES)  # a point with very many draws is several points
        natural = Natural(*(np.repeat(value, split, axis=0) for value in natural))
        copies = _divided(copies, split)
        points, total = len(copies), int(copies.sum())
        destination = np.arange(total) if destination is None else destination
        effects = self.layout.size - self.layout.coefficients if dtype else 0
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
        first = self._raw(self.first, natural, copies, stream)
        gamma = first[:, first.shape[1] - len(self.coefficients.mean) :] + self.origin
        result.coefficients[rows] = self.coefficients.coefficients_at(gamma)
        if not result.effects.shape[1]:
            return
        others = self._raw(self.others, natural, copies, stream)
        own = np.empty((len(rows), others.shape[1]))
        own[:, self.others.of_factor] = first[:, self.first.of_factor]
        point = np.repeat(np.arange(len(copies)), copies)
        for split in self.splits:
            self._divide(split, natural, point, first, own, rows, result.effects, stream)
        rotate_back(own, others, self.own_places, rows, result.effects)

    def _raw(self, component: Component, natural: Natural, copies: np.ndarray, stream) -> np.ndarray:
        """(draw · response, variable) of one component."""
        weights = self.residuals.weights(natural.sigma, natural.rho)
        variables = component.places.structure.layout.size
        noise = _normals(stream, (int(copies.sum()) * component.responses, variables))
        component.run(component.inputs(natural), weights.a, copies, noise)
        return noise

    def _divide(self, split: Split, natural: Natural, point, first, own, rows, effects, stream) -> None:
        """A group's totals: own effects of the first component into `own`, shared ones into `effects`."""
        total = first[:, split.total_at]  # (draw, level, effect)
        if split.divides:
            mean, root = conditional(split, natural)
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
