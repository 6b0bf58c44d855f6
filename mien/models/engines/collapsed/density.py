"""log p(y, theta) of one outcome, its gradient, and draws of coefficients and effects given theta.

    u = sd ⊙ z,  z ~ N(0, R) a level,  coefficients γ ~ N(m, P⁻¹) (P = 0 where flat),  r = y − Xγ₀
    M = blockdiag(R⁻¹ …, P) + S G S          c = S b + P(m − γ₀)          (c is M's last column, the response)
    log p(y | theta) = −½[ n log 2π + log |residual covariance| + Σ levels·log |R| − log |P| + log |M|
                           + q + (m − γ₀)'P(m − γ₀) − c'M⁻¹c ]        (flat: + ½ log 2π a coefficient, no log |P|)

G, b, q are the sums of `moments` weighted by `residual`. γ are the coefficients of centred columns and a centred
outcome, and γ₀ is their least squares estimate, so that q is the residual sum of squares and nothing cancels, however
large the outcome's mean or the number of rows. Scaling by sd alone keeps sd = 0 an ordinary point.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np

from mien.models.design import Block
from mien.models.engines.collapsed import kernels
from mien.models.engines.collapsed.coefficients import LOG_2PI, CoefficientPrior, coefficient_prior
from mien.models.engines.collapsed.correlation import inverse_of, pull_back_inverse
from mien.models.engines.collapsed.elimination import Layout
from mien.models.engines.collapsed.moments import Moments
from mien.models.engines.collapsed.parameters import Natural, Parameters, make_parameters
from mien.models.engines.collapsed.places import Places, make_places, packed_size, upper_triangle
from mien.models.engines.collapsed.residual import Residuals
from mien.priors import Fixed, ResolvedPrior

__all__ = ["Density", "Effects", "available_cores", "coordinates", "in_pool", "make_density", "theta_of"]

CHUNK = 175  # points that a thread takes at once
PARTS, FEW = 4, 10  # fewer points are cut into up to so many parts, of so many points or more
MOST_SQUARES = 1e14  # of r²/σ² on average, of which the fitted part is taken off: σ below 1e-7 of r's scale
IN_CACHE = 200_000  # numbers of raw draws that a thread works on, so that they stay in its cache
MOST_AT_ONCE = 4_000_000  # numbers of raw draws in memory
SMALLEST = 1.0  # of an sd to start the search from, in units of its scale


@cache
def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="collapsed")


def in_pool(work: Callable[[int], None], places: Sequence[int], threads: int) -> None:
    """Do the work at every place, by threads where there may be more than one."""
    if threads == 1 or len(places) == 1:
        for place in places:
            work(place)
    else:
        list(_pool().map(work, places))


class Effects(NamedTuple):
    """Draws: coefficients (draw, coefficient) in the design's order; effects (draw, effect) in natural order."""

    coefficients: np.ndarray
    effects: np.ndarray


class Density:
    """The density of one outcome; see the module.

    parameters : of theta. places : shared. threads : how many this may use.
    notes : what is particular about it, for the verdict.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self, parameters: Parameters, places: Places, moments: Moments, names: Sequence[str],
        priors: Mapping[str, ResolvedPrior], *, threads: int = 1,
    ) -> None:  # fmt: skip
        self.parameters, self.places, self.threads = parameters, places, threads
        self.residuals = Residuals.of(moments)
        self.coefficients, self.origin, basis = coordinates(names, priors, moments)
        self._fill(moments.gram, basis)
        levels = np.diff(np.searchsorted(np.sort(places.term), np.arange(len(moments.columns.terms) + 1)))
        self.levels = np.array([levels[first] for first, _, _ in parameters.blocks])
        prior = self.coefficients
        upper = prior.precision[np.triu_indices(len(prior.precision))]
        self.held_coefficients = np.concatenate([upper, prior.precision @ prior.mean])
        self.correlated = np.cumsum([0, *(packed_size(k) for _, k, _ in parameters.blocks)])
        fixed = prior.mean @ prior.precision @ prior.mean - prior.log_normaliser
        self.constant = float(moments.rows.sum()) * LOG_2PI + fixed
        self.most_squares = MOST_SQUARES * float(moments.rows.sum())

    def _fill(self, gram: np.ndarray, basis: np.ndarray) -> None:
        """Sums of every cell, gram (component, cell, column + 1, column + 1), led by `basis` to their places."""
        places, plan = self.places, self.places.structure.plan
        (components, cells), strata = gram.shape[:2], len(self.residuals.rows)
        gram = gram.reshape(components, cells, -1)
        squares = gram @ np.outer(basis[-1], basis[-1]).ravel()
        self.squares = np.concatenate([np.bincount(places.stratum, mine, strata) for mine in squares])
        one, other = basis[places.pairs.T]
        products = (one[:, :, None] * other[:, None, :]).reshape(len(one), gram.shape[2])
        entries = products @ gram.transpose(0, 2, 1)  # (component, pair, cell)
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
        total[total > self.most_squares] = np.inf  # nothing is left of such a difference in double precision
        total += weights.log_determinant
        total += self.constant
        precision = np.empty((len(total), 1 + self.correlated[-1] + len(self.held_coefficients)))
        precision[:, 0] = 1.0
        precision[:, 1 + self.correlated[-1] :] = self.held_coefficients
        at = 1
        for (_, k, first), levels in zip(self.parameters.blocks, self.levels, strict=True):
            if k > 1:
                inverse, log_determinant = inverse_of(natural.partial, first, k)
                rows, columns = upper_triangle(k)
                precision[:, at : at + len(rows)] = inverse[:, rows, columns]
                at += len(rows)
                total += levels * log_determinant
        return weights.a, precision, total

    def log_likelihood(self, natural: Natural) -> np.ndarray:
        """Log p(y | theta) (point,), coefficients and effects integrated out; −inf where it is not finite."""
        return self.evaluate(natural, np.zeros(len(natural.sd), dtype=np.int64), None)

    def evaluate(
        self, natural: Natural, copies: np.ndarray, noise: np.ndarray | None, rng=None,
        given: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Log p(y | theta) (point,), and draws from the same factorisations.

        Parameters
        ----------
        natural : points. copies : (point,) draws of each.
        noise : (draw, variable), float64 or 32, is filled with raw draws, point by point; without `rng` with the
            conditional means. Chunks of points have streams of their own: the same draws on any number of cores.
        given : (draw, free coefficient) in raw coordinates; effects are then drawn given these.
        """
        points, plan = len(copies), self.places.structure.plan
        value = np.empty(points)
        pieces = max(1, -(-points // CHUNK), min(PARTS, points // FEW))
        bounds = [points * piece // pieces for piece in range(pieces + 1)]
        ends = np.concatenate([[0], np.cumsum(copies)])
        streams = [None] * pieces if rng is None else rng.spawn(pieces)
        with np.errstate(all="ignore"):
            a, precision, total = self._inputs(natural)

        most = int(copies.max(initial=1)) * int(plan.start[-1])
        step = min(CHUNK, max(1, IN_CACHE // max(1, most)))

        def chunk(place: int) -> None:
            for low in range(bounds[place], bounds[place + 1], step):
                part(low, min(low + step, bounds[place + 1]), streams[place])

        def part(low: int, high: int, stream) -> None:
            shape = (int(ends[high] - ends[low]), int(plan.start[-1]))
            mine = np.zeros(shape) if stream is None else stream.standard_normal(shape)
            logdet, quadratic, held = np.empty(high - low), np.empty(high - low), 0
            if given is not None and given.shape[1]:
                held = given.shape[1]
                mine[:, -held:] = given[ends[low] : ends[high]]
            kernels.draw(
                plan, self.numbers, a[low:high], natural.sd[low:high], precision[low:high], copies[low:high], mine,
                logdet, quadratic, held,
            )  # fmt: skip
            value[low:high] = quadratic - logdet
            if noise is not None:
                noise[ends[low] : ends[high]] = mine

        in_pool(chunk, range(pieces), self.threads)
        with np.errstate(all="ignore"):
            value = 0.5 * (value - total)
        return np.where(np.isfinite(value), value, -np.inf)

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Log p(y, theta) (point,) at theta (point, dim)."""
        natural, log_prior = self.parameters.with_prior(theta)
        value = self.log_likelihood(natural) + log_prior
        return np.where(np.isfinite(value), value, -np.inf)

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log p(y, theta) and its gradient at one theta (dim,)."""
        value, slope = self.gradients(theta[None])
        return float(value[0]), slope[0]

    def gradients(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log p(y, theta) (point,) and its gradients (point, dim); −inf and 0 where it is not finite."""
        points, plan = len(theta), self.places.structure.plan
        with np.errstate(all="ignore"):
            at = self.parameters.located(theta)
            natural = at.natural
            a, precision, total = self._inputs(natural)
            value, by_a, by_sd = np.empty(points), np.empty_like(a), np.empty_like(natural.sd)
            by_prior = np.empty_like(precision)

            def one(point: int) -> None:
                logdet, quadratic, by_a[point], by_sd[point], by_prior[point] = kernels.gradient(
                    plan, self.numbers, a[point], natural.sd[point], precision[point]
                )
                value[point] = quadratic - logdet

            if self.threads == 1 or points == 1:
                for point in range(points):
                    one(point)
            else:
                list(_pool().map(one, range(points)))
            value = 0.5 * (value - total) + at.log_prior
            by_a -= 0.5 * self.squares
            by_sigma, by_rho = self.residuals.pull_back(natural.sigma, natural.rho, by_a)
            by_partial = self._by_partial(natural.partial, by_prior)
            slope = self.parameters.gradient(at, by_sd, by_partial, by_sigma, by_rho)
        finite = np.isfinite(value)
        if not finite.all():
            value[~finite], slope[~finite] = -np.inf, 0.0
        return value, slope

    def _by_partial(self, partial: np.ndarray, by_prior: np.ndarray) -> np.ndarray:
        """Derivative by partial correlations (point, partial), from that by the prior's entries."""
        result, at = np.zeros_like(partial), 1
        for (_, k, first), levels in zip(self.parameters.blocks, self.levels, strict=True):
            if k > 1:
                rows, columns = upper_triangle(k)
                by_inverse = np.zeros((len(partial), k, k))
                by_inverse[:, rows, columns] = by_prior[:, at : at + len(rows)]
                at += len(rows)
                result += pull_back_inverse(partial, first, k, by_inverse, -0.5 * levels)
        return result

    def draw(
        self, natural: Natural, copies: np.ndarray, rng: np.random.Generator | None, *,
        destination: np.ndarray | None = None, dtype: type | None = np.float32,
    ) -> Effects:  # fmt: skip
        """Draw coefficients and effects.

        Parameters
        ----------
        natural : points. copies : (point,) how many draws of each; they come point by point.
        rng : None gives the conditional means. Chunks have streams of their own: the same draws on any number of cores.
        destination : (draw,) the row of the result that each draw goes to.
        dtype : of the effects; None leaves them out.
        """
        variables, total = len(self.places.term), int(copies.sum())
        effects = variables - len(self.coefficients.mean) if dtype else 0
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
        return prior.coefficients_at(raw[:, raw.shape[1] - len(prior.mean) :] + self.origin)

    @property
    def layout(self) -> Layout:
        """The effects in natural order."""
        return self.places.structure.layout

    def draw_given(self, natural: Natural, coefficients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Effects (point, effect), float32 in natural order, one draw given each point and coefficients (point, …)."""
        prior, points = self.coefficients, len(coefficients)
        free = coefficients[:, prior.free] - prior.shift
        gamma = np.linalg.solve(prior.back, free.T).T - self.origin if free.shape[1] else free
        variables = len(self.places.term)
        effects = variables - len(prior.mean)
        result = np.empty((points, effects), dtype=np.float32)
        most = max(1, MOST_AT_ONCE // max(variables, 1))
        for low in range(0, points, most):
            some = slice(low, low + most)
            raw = np.empty((len(gamma[some]), variables))
            copies = np.ones(len(raw), dtype=np.int64)
            self.evaluate(Natural(*(value[some] for value in natural)), copies, raw, rng, gamma[some])
            result[some] = raw[:, self.places.structure.position[:effects]]
        return result

    def columns_of(self, factor: int, place: int) -> np.ndarray:
        """Columns of raw draws that hold a factor's term, level by level."""
        structure = self.places.structure
        start, stop = structure.layout.start(factor), structure.layout.start(factor + 1)
        return structure.position[start + place : stop : structure.layout.sizes[factor]]


def coordinates(
    names: Sequence[str], priors: Mapping[str, ResolvedPrior], moments: Moments
) -> tuple[CoefficientPrior, np.ndarray, np.ndarray]:
    """The coefficients' prior about γ₀, γ₀, and the rows (entry, column) that lead from the moments' columns to terms,
    coefficients and residual.
    """
    prior, used, response = coefficient_prior(names, priors, moments)
    columns = moments.columns.terms
    terms = np.zeros((len(columns), len(moments.centre)))
    terms[np.arange(len(columns)), columns] = 1.0
    terms[:, 0] += np.where(columns > 0, moments.centre[columns], 0.0)
    rows = _whole(moments).sum(axis=0)
    origin = _least_squares(used @ rows @ used.T, used @ rows @ response)
    basis = np.concatenate([terms, used, (response - origin @ used)[None]])
    return prior._replace(mean=prior.mean - origin), origin, basis


def _least_squares(gram: np.ndarray, score: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(gram, score, rcond=None)[0] if len(score) else score


def _whole(moments: Moments) -> np.ndarray:
    """Sums of products of all rows (cell, column + 1, column + 1): those of AR(1) are of first rows and of later."""
    return moments.gram[0] + moments.gram[1::3].sum(axis=0) if len(moments.gram) > 1 else moments.gram[0]


def make_density(
    design_names: Sequence[str], blocks: Sequence[Block], priors: Mapping[str, ResolvedPrior],
    moments: Moments, strata: Sequence[str], places: Places | None = None, *, ar1: bool = False, threads: int = 1,
) -> tuple[Density, np.ndarray]:  # fmt: skip
    """The density of an outcome and a theta to start from."""
    free = sum(not isinstance(priors[name].prior, Fixed) for name in design_names)
    places = places or make_places(blocks, free, moments)
    parameters, start = theta_of(design_names, blocks, priors, moments, strata, ar1=ar1)
    return Density(parameters, places, moments, design_names, priors, threads=threads), start


def theta_of(
    design_names: Sequence[str], blocks: Sequence[Block], priors: Mapping[str, ResolvedPrior],
    moments: Moments, strata: Sequence[str], *, ar1: bool = False,
) -> tuple[Parameters, np.ndarray]:  # fmt: skip
    """The parameters of an outcome, scaled by its residuals about the coefficients, and a theta to start from."""
    basis = coordinates(design_names, priors, moments)[2]
    terms, left, gram = basis[: len(moments.columns.terms)], basis[-1], _whole(moments)
    rows = gram.sum(axis=0)
    spread = float(np.sqrt(max(left @ rows @ left, 0.0) / max(moments.rows.sum(), 1.0)))
    sigma = [priors[f"sigma:{name}" if name else "sigma"].prior for name in strata]
    base = float(np.mean([kind.value if isinstance(kind, Fixed) else spread for kind in sigma])) or 1.0
    levels = np.array([len(block.levels) for block in blocks for _ in block.terms])
    information = np.sum((terms @ rows) * terms, axis=1) / levels
    scale = (base if base > 0 else 1.0) / np.sqrt(np.maximum(information, 1e-300))
    parameters = make_parameters(blocks, priors, tuple(strata), ar1 or bool(moments.gaps), scale)
    start = np.zeros(parameters.dim)
    phi, _, log_sigma, _ = parameters.parts(start)  # views
    phi[:] = np.arcsinh(np.maximum(_first_sds(blocks, moments, gram, terms, left, spread) / scale, SMALLEST))[
        parameters.sd_free
    ]
    log_sigma[:] = np.log(0.8 * max(spread, 1e-300))
    return parameters, start


def _first_sds(
    blocks: Sequence[Block], moments: Moments, gram: np.ndarray, terms: np.ndarray, left: np.ndarray, spread: float
) -> np.ndarray:  # fmt: skip
    """(term,) by the method of moments: what sums of residuals by level have beyond the rows' own scatter."""
    products = np.concatenate([terms[:, :, None] * left, terms[:, :, None] * terms[:, None]])
    flat = gram.reshape(len(gram), len(left) ** 2)
    pulls, squares = np.split(products.reshape(len(products), len(left) ** 2) @ flat.T, 2)
    factors = [moments.factors.index(block.factor) for block in blocks for _ in block.terms]
    found = np.zeros(len(terms))
    for term, factor in enumerate(factors):
        pull = np.bincount(moments.codes[:, factor], pulls[term])
        square = np.bincount(moments.codes[:, factor], squares[term])
        variance = (pull @ pull - spread**2 * square.sum()) / max(square @ square, 1e-300)
        found[term] = np.sqrt(max(variance, 0.0))
    return found
