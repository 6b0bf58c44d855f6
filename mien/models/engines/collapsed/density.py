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
from mien.models.engines.collapsed.residual import Residuals, components_of
from mien.models.engines.collapsed.row_entries import row_entries
from mien.models.engines.collapsed.series_effects import SeriesEffects, without_block
from mien.models.engines.problem import Outcome
from mien.priors import Fixed, ResolvedPrior

__all__ = ["Density", "Effects", "available_cores", "coordinates", "in_pool", "make_density", "theta_of"]

CHUNK = 175  # points that a thread takes at once
PARTS, FEW = 4, 10  # fewer points are cut into up to so many parts, of so many points or more
MOST_SQUARES = 1e14  # of r²/σ² on average, of which the fitted part is taken off: σ below 1e-7 of r's scale
IN_CACHE = 200_000  # numbers of raw draws that a thread works on, so that they stay in its cache
MOST_AT_ONCE = 4_000_000  # numbers of raw draws in memory
OF_SERIES = 0.5  # of an sd of series to start from, in residual sds
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
    """Draws: coefficients (draw, coefficient) in the design's order; effects (draw, effect) in natural order.

    of_series : (draw, level) those that are integrated out with the residuals; None for none.
    """

    coefficients: np.ndarray
    effects: np.ndarray
    of_series: np.ndarray | None = None


class SeriesBlock(NamedTuple):
    """An outcome with all its blocks, and the number of the one that is integrated out with the residuals."""

    outcome: Outcome
    number: int


class Density:
    """The density of one outcome; see the module.

    parameters : of theta. places : shared. threads : how many this may use.
    notes : what is particular about it, for the verdict.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self, parameters: Parameters, places: Places, moments: Moments, names: Sequence[str],
        priors: Mapping[str, ResolvedPrior], *, threads: int = 1, series: SeriesBlock | None = None,
    ) -> None:  # fmt: skip
        self.parameters, self.places, self.threads = parameters, places, threads
        self.series: SeriesEffects | None = None
        self.residuals = Residuals.of(moments)
        self.coefficients, self.origin, basis = coordinates(names, priors, moments)
        self._fill(components_of(moments), basis)
        levels = np.diff(np.searchsorted(np.sort(places.term), np.arange(len(moments.columns.terms) + 1)))
        if series is not None:
            rest = without_block(series.outcome, series.number)
            entries = row_entries(rest, self.coefficients, self.origin)
            self.series = SeriesEffects.of(series.outcome, series.number, moments, places, entries)
            self.numbers = self.numbers._replace(series=self.series.numbers)
            levels = np.insert(levels, self.series.term, self.series.levels)
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
        empty, few, none = np.zeros(0), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
        dense, parts = empty, (few, few, few, empty, none)
        if components * strata == 1:
            products = (one[:, :, None] * other[:, None, :]).reshape(len(one), gram.shape[2])
            entries = products @ gram[0].T  # (pair, cell)
            dense = 1.0 * np.bincount(places.slot.ravel(), entries.ravel(), int(plan.panel[-1]))
        else:
            parts = self._components(gram, basis, strata)
        slot, row, column, value, begin = parts
        self.numbers = kernels.Numbers(
            places.term, dense, begin, slot, row, column, value, places.prior_slot, places.prior_row,
            places.prior_column, places.prior_coefficient,
        )  # fmt: skip

    def _components(self, gram: np.ndarray, basis: np.ndarray, strata: int):
        """Slot, row, column and value of every sum that is not 0, component by component, and where each begins."""
        places, total = self.places, int(self.places.structure.plan.panel[-1])
        count, cells = len(places.distinct), gram.shape[1]
        first = np.empty(count, dtype=np.int64)
        first[places.inverse] = np.arange(len(places.inverse))
        pair, cell = first // cells, first % cells
        i = places.inner[places.pairs[pair, 0], cell]
        j = places.inner[places.pairs[pair, 1], cell]
        slot, row, column = places.distinct % total, np.minimum(i, j), np.maximum(i, j)
        stratum, inverse = places.distinct // total, places.inverse.reshape(-1, cells)
        used, values, begin = [], [], [0]
        for part in gram:
            some = np.flatnonzero(part.any(axis=1))  # wide gaps are in few cells
            led = basis @ part[some].reshape(len(some), *basis.shape[1:] * 2) @ basis.T
            sums = np.bincount(
                inverse[:, some].ravel(), led[:, places.pairs[:, 0], places.pairs[:, 1]].T.ravel(), count
            )
            there = np.flatnonzero(sums)
            used.append(there)
            values.append(sums[there])
            begin += (begin[-1] + np.searchsorted(stratum[there], np.arange(strata), side="right")).tolist()
        every = np.concatenate(used)
        short = (
            one[every].astype(np.int32) for one in (slot, row, column)
        )  # half of what the loop has to read
        return (*short, np.concatenate(values), np.array(begin, dtype=np.int64))

    # Points

    def _inputs(self, natural: Natural) -> "_Inputs":
        """What the kernels need, and −2 × the log density's part that needs no elimination."""
        weights = self.residuals.weights(natural.sigma, natural.rho)
        total = weights.a @ self.squares
        sd, shares = natural.sd, np.empty((len(total), 0))
        if self.series is not None:
            at = self.series.at(natural.sd, natural.sigma, natural.rho)
            sd, shares = self.series.sds(natural.sd), at.shares
            total += at.log_determinant - at.square
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
        return _Inputs(weights.a, sd, precision, shares, total)

    def log_likelihood(self, natural: Natural) -> np.ndarray:
        """Log p(y | theta) (point,), coefficients and effects integrated out; −inf where it is not finite."""
        return self.evaluate(natural, np.zeros(len(natural.sd), dtype=np.int64), None)

    def evaluate(
        self, natural: Natural, copies: np.ndarray, noise: np.ndarray | None, rng=None,
        given: np.ndarray | None = None, wanted: int = 0,
    ) -> np.ndarray:  # fmt: skip
        """Log p(y | theta) (point,), and draws from the same factorisations.

        Parameters
        ----------
        natural : points. copies : (point,) draws of each.
        noise : (draw, variable), float64 or 32, is filled with raw draws, point by point; without `rng` with the
            conditional means. Chunks of points have streams of their own: the same draws on any number of cores.
        given : (draw, free coefficient) in raw coordinates; effects are then drawn given these.
        wanted : how many of the last variables are drawn, at least; 0 for all.
        """
        points, plan = len(copies), self.places.structure.plan
        value = np.empty(points)
        alone = self.threads == 1 and wanted > 0  # no threads, and no streams to keep
        parts = 1 if alone else min(PARTS, points // FEW)
        pieces = max(1, -(-points // CHUNK), parts)
        bounds = [points * piece // pieces for piece in range(pieces + 1)]
        ends = np.concatenate([[0], np.cumsum(copies)])
        streams = [None] * pieces if rng is None else rng.spawn(pieces)
        with np.errstate(all="ignore"):
            inputs = self._inputs(natural)

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
            a, sd, precision, shares, _ = (one[low:high] for one in inputs)
            kernels.draw(
                plan,
                self.numbers,
                a,
                sd,
                precision,
                shares,
                copies[low:high],
                mine,
                logdet,
                quadratic,
                held,
                wanted,
            )
            value[low:high] = quadratic - logdet
            if noise is not None:
                noise[ends[low] : ends[high]] = mine

        in_pool(chunk, range(pieces), self.threads)
        with np.errstate(all="ignore"):
            value = 0.5 * (value - inputs.total)
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
            a, sd, precision, shares, total = self._inputs(natural)
            value, by_a, by_sd = np.empty(points), np.empty_like(a), np.empty_like(sd)
            by_prior, by_shares = np.empty_like(precision), np.empty_like(shares)

            def one(point: int) -> None:
                logdet, quadratic, by_a[point], by_sd[point], by_prior[point], by_shares[point] = (
                    kernels.gradient(plan, self.numbers, a[point], sd[point], precision[point], shares[point])
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
            if self.series is not None:
                more = self.series.pull_back(natural.sd, natural.sigma, natural.rho, by_shares)
                by_sd = np.insert(by_sd, self.series.term, more[0], axis=1)
                by_sigma, by_rho = by_sigma + more[1], by_rho + more[2]
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
        of_series = None
        if self.series is not None and dtype:
            of_series = np.empty((total, self.series.levels), dtype=dtype)
        result = Effects(
            np.empty((total, len(self.coefficients.free))), np.empty((total, effects), dtype=dtype), of_series
        )
        ends = np.concatenate([[0], np.cumsum(copies)])
        low, most = 0, max(1, MOST_AT_ONCE // max(variables, 1))
        while low < len(copies):  # a part at a time, so that only the result is large
            high = max(low + 1, int(np.searchsorted(ends, ends[low] + most, side="right")) - 1)
            raw, some = np.empty((int(ends[high] - ends[low]), variables)), slice(low, high)
            part = Natural(*(value[some] for value in natural))
            self.evaluate(part, copies[some], raw, rng)
            rows = destination[ends[low] : ends[high]]
            result.coefficients[rows] = self.coefficients_of(raw)
            result.effects[rows] = raw[:, self.places.structure.position[:effects]]
            if result.of_series is not None:
                result.of_series[rows] = self.series_of(
                    part, np.repeat(np.arange(high - low), copies[some]), raw, rng
                )
            low = high
        return result

    def series_of(
        self, natural: Natural, point: np.ndarray, raw: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        """Effects of series (draw, level), float32, of raw draws (draw, variable) that belong to `point` (draw,).

        `rng` None gives their conditional means.
        """
        series = self.series
        assert series is not None
        given = natural.sd, natural.sigma, natural.rho
        shape = len(raw), series.levels
        result = np.zeros(shape) if rng is None else rng.standard_normal(shape)
        missing = np.setdiff1d(np.arange(series.levels), series.level)  # levels without rows have the prior's
        result[:, missing] *= np.abs(natural.sd[point, series.term, None])
        shares, spread = series.at(*given).shares, series.spread(*given)
        bounds = np.linspace(0, len(raw), self.threads + 1).astype(int)

        def chunk(place: int) -> None:
            some = slice(bounds[place], bounds[place + 1])
            mine = raw[some].astype(np.float64)  # one type of argument, which is compiled once
            kernels.draw_series(series.numbers, shares, mine, point[some], spread, series.level, result[some])

        in_pool(chunk, range(self.threads), self.threads)
        return result.astype(np.float32)

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


class _Inputs(NamedTuple):
    """For points: weights of the sums, sds of the terms that are eliminated, the prior's entries, shares of series.

    total : −2 × the log density's part that needs no elimination.
    """

    a: np.ndarray
    sd: np.ndarray
    precision: np.ndarray
    shares: np.ndarray
    total: np.ndarray


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


def make_density(  # noqa: PLR0913
    design_names: Sequence[str], blocks: Sequence[Block], priors: Mapping[str, ResolvedPrior],
    moments: Moments, strata: Sequence[str], places: Places | None = None, *, ar1: bool = False, threads: int = 1,
    series: SeriesBlock | None = None,
) -> tuple[Density, np.ndarray]:  # fmt: skip
    """The density of an outcome and a theta to start from; `moments` and `places` are without the block of `series`."""
    free = sum(not isinstance(priors[name].prior, Fixed) for name in design_names)
    number = None if series is None else series.number
    eliminated = [block for place, block in enumerate(blocks) if place != number]
    places = places or make_places(eliminated, free, moments)
    parameters, start = theta_of(design_names, blocks, priors, moments, strata, ar1=ar1, series=number)
    return Density(parameters, places, moments, design_names, priors, threads=threads, series=series), start


def theta_of(
    design_names: Sequence[str], blocks: Sequence[Block], priors: Mapping[str, ResolvedPrior],
    moments: Moments, strata: Sequence[str], *, ar1: bool = False, series: int | None = None,
) -> tuple[Parameters, np.ndarray]:  # fmt: skip
    """The parameters of an outcome, scaled by its residuals about the coefficients, and a theta to start from.

    `moments` are without the block number `series`, one effect a series.
    """
    basis = coordinates(design_names, priors, moments)[2]
    terms, left, gram = basis[: len(moments.columns.terms)], basis[-1], _whole(moments)
    rows = gram.sum(axis=0)
    spread = float(np.sqrt(max(left @ rows @ left, 0.0) / max(moments.rows.sum(), 1.0)))
    sigma = [priors[f"sigma:{name}" if name else "sigma"].prior for name in strata]
    base = float(np.mean([kind.value if isinstance(kind, Fixed) else spread for kind in sigma])) or 1.0
    eliminated = [block for place, block in enumerate(blocks) if place != series]
    levels = np.array([len(block.levels) for block in eliminated for _ in block.terms])
    information = np.sum((terms @ rows) * terms, axis=1) / levels
    scale = (base if base > 0 else 1.0) / np.sqrt(np.maximum(information, 1e-300))
    first = _first_sds(eliminated, moments, gram, terms, left, spread)
    if series is not None:
        term = sum(len(block.terms) for block in blocks[:series])
        each = len(blocks[series].levels) / max(moments.rows.sum(), 1.0)
        scale = np.insert(scale, term, (base if base > 0 else 1.0) * np.sqrt(each))
        first = np.insert(first, term, OF_SERIES * spread)
    parameters = make_parameters(blocks, priors, tuple(strata), ar1 or bool(moments.gaps), scale)
    start = np.zeros(parameters.dim)
    phi, _, log_sigma, _ = parameters.parts(start)  # views
    phi[:] = np.arcsinh(np.maximum(first / scale, SMALLEST))[parameters.sd_free]
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
