"""log p(y_unit | all other rows, theta) of every unit at once, coefficients and effects integrated out.

Given theta, w | y ~ N(μ, Z). A whitened row x with residual r (x'x = its part of the sums) is taken out by

    h = x'Zx      e = r − x'μ      log p(r | the others) = ½[ log(1 − h) − log 2π − e² / (1 − h) ]
    Z ← Z + Zxx'Z / (1 − h)        μ ← μ − Zx e / (1 − h)

and the rows of a unit one after the other, so that their densities multiply to the unit's. A unit whose rows share
the levels of all factors needs the few entries of Z and μ of its own cell only, which the elimination's selected
inverse has. With AR(1) a unit is whole series, whitened from the first row on, or single rows, whitened against
their two neighbours; both are exact, holes included.

Units that reach over many cells (a participant, a stimulus) are left out by taking their sums away (`without_unit`).
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from mien.models.engines.collapsed.density import Density
from mien.models.engines.collapsed.kernels import _back, _selected_inverse, _solution, factorise, work_space
from mien.models.engines.collapsed.moments import Moments, moments_of, without
from mien.models.engines.collapsed.parameters import Natural
from mien.models.engines.collapsed.row_entries import cells_of_rows, row_entries
from mien.models.engines.problem import Outcome

__all__ = ["UnitRows", "rows_of_units", "some_rows", "unit_densities", "without_unit"]

LOG_2PI = math.log(2.0 * math.pi)
CHUNK = 128  # points at a time


class UnitRows(NamedTuple):
    """Rows in the order of their units.

    values : (row, entry + 1) root precision times the entries of a cell and the residual. cell : (row,).
    unit_from : (unit + 1,) first row of each unit. sigma : (row,) which; known_variance : (row,).
    before, after : (row,) the neighbour's place in the series, -1 for none; gap : (row,) steps from `before`.
    alone : whether units are single rows of series (whitened by both neighbours) rather than whole series.
    log_jacobian : (row,) of the root precision; extra, squares : (row,) further replicates behind the row.
    """

    values: np.ndarray
    cell: np.ndarray
    unit_from: np.ndarray
    sigma: np.ndarray
    known_variance: np.ndarray
    before: np.ndarray
    after: np.ndarray
    gap: np.ndarray
    alone: bool
    log_jacobian: np.ndarray
    extra: np.ndarray
    squares: np.ndarray


def rows_of_units(outcome: Outcome, density: Density, moments: Moments, unit: np.ndarray) -> UnitRows:
    """Sort rows by unit (row,) and write them in the density's coordinates.

    Every unit's rows lie in one cell; units are single rows, or, with AR(1), whole series.
    """
    residual, rows = outcome.residual, len(outcome.response)
    if residual.series is not None:
        assert residual.position is not None
        order = np.lexsort((residual.position, residual.series, unit))
    else:
        order = np.argsort(unit, kind="stable")
    count = int(unit.max()) + 1 if rows else 0
    unit_from = np.concatenate([[0], np.cumsum(np.bincount(unit, minlength=count))]).astype(np.int64)
    single = outcome.root_precision**2 / (1.0 if residual.count is None else residual.count)
    replicates = np.ones(rows) if residual.count is None else residual.count
    squares = np.zeros(rows) if residual.squares is None else residual.squares * single
    before, after, gap = _neighbours(outcome, order)
    zeros = np.zeros(rows, dtype=np.int64)
    return UnitRows(
        np.ascontiguousarray(row_entries(outcome, density.coefficients, density.origin)[order]),
        cells_of_rows(outcome.design, moments)[order], unit_from,
        (zeros if residual.stratum is None else residual.stratum)[order],
        (np.zeros(rows) if residual.known_variance is None else residual.known_variance)[order],
        before, after, gap, bool((np.diff(unit_from) == 1).all()), (0.5 * replicates * np.log(single))[order],
        (replicates - 1.0)[order], squares[order],
    )  # fmt: skip


def _neighbours(outcome: Outcome, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (after sorting) of the rows before and after each in its series, and the steps from the one before."""
    rows, residual = len(order), outcome.residual
    before, after = np.full(rows, -1, dtype=np.int64), np.full(rows, -1, dtype=np.int64)
    gap = np.ones(rows, dtype=np.int64)
    if residual.series is None:
        return before, after, gap
    assert residual.position is not None
    along = np.lexsort((residual.position, residual.series))
    joined = residual.series[along][1:] == residual.series[along][:-1]
    place = np.empty(rows, dtype=np.int64)
    place[order] = np.arange(rows)
    earlier, later = place[along[:-1][joined]], place[along[1:][joined]]
    before[later], after[earlier] = earlier, later
    gap[later] = np.diff(residual.position[along])[joined]
    return before, after, gap


def unit_densities(density: Density, natural: Natural, units: UnitRows) -> np.ndarray:
    """Log p(y_unit | the other rows, theta), (point, unit); NaN where a theta is not finite.

    `density` eliminates all effects: one that has those of series among its residuals has no entries for them.
    """
    assert density.series is None
    points, count = len(natural.sd), len(units.unit_from) - 1
    result = np.empty((points, count))
    pair = _pairs(density)
    inputs = density._inputs(natural)
    plan, inner = density.places.structure.plan, np.ascontiguousarray(density.places.inner)

    def chunk(low: int) -> None:
        some = slice(low, min(low + CHUNK, points))
        with np.errstate(all="ignore"):
            precision = 1.0 / (natural.sigma[some][:, units.sigma] ** 2 + units.known_variance)
            _unit_densities(
                plan, density.numbers, inputs.a[some], inputs.sd[some], inputs.precision[some], inputs.shares[some],
                natural.rho[some], inner, pair, units, precision, result[some],
            )  # fmt: skip

    with ThreadPoolExecutor(density.threads) as pool:
        list(pool.map(chunk, range(0, points, CHUNK)))
    return result


def _pairs(density: Density) -> np.ndarray:
    """(entry, entry, cell): where the inverse of a cell's entries is stored."""
    places = density.places
    entries = len(places.inner) - 1
    pair = np.zeros((entries, entries, places.inner.shape[1]), dtype=np.int64)
    for number, (i, j) in enumerate(places.pairs):
        if j < entries:
            pair[i, j] = pair[j, i] = places.slot[number]
    return pair


@njit(cache=True, nogil=True, error_model="numpy")
def _whitened(units, row, rho, x):
    """The row against its neighbours into x; the weight (1 / conditional variance at sigma = 1)."""
    before, after = units.before[row], units.after[row]
    for i in range(x.size):
        x[i] = units.values[row, i]
    if before < 0 and (after < 0 or not units.alone):
        return 1.0
    weight, pull = 1.0, 0.0
    if before >= 0:
        power = rho ** units.gap[row]
        weight = 1.0 / (1.0 - power * power)
        pull = power * weight
    if not units.alone:
        for i in range(x.size):
            x[i] -= pull / weight * units.values[before, i]
        return weight
    onward = 0.0
    if after >= 0:
        power = rho ** units.gap[after]
        onward = power / (1.0 - power * power)
        weight += power * onward
    for i in range(x.size):
        if before >= 0:
            x[i] -= pull / weight * units.values[before, i]
        if after >= 0:
            x[i] -= onward / weight * units.values[after, i]
    return weight


@njit(cache=True, nogil=True, error_model="numpy")
def _take_out(units, row, rho, precision, covariance, mean, x, zx):
    """Log density of one row given those that are still in; covariance and mean without it."""
    entries = mean.size
    a = precision * _whitened(units, row, rho, x)
    h, e = 0.0, x[entries]
    for i in range(entries):
        total = 0.0
        for j in range(entries):
            total += covariance[i, j] * x[j]
        zx[i] = total
        h += a * total * x[i]
        e -= x[i] * mean[i]
    left = 1.0 - h
    for i in range(entries):
        mean[i] -= a * zx[i] * e / left
        for j in range(entries):
            covariance[i, j] += a * zx[i] * zx[j] / left
    within = units.extra[row] * math.log(precision) - precision * units.squares[row]
    within -= (units.extra[row] + 1.0) * LOG_2PI
    return 0.5 * (math.log(a * left) - a * e * e / left + within) + units.log_jacobian[row]


@njit(cache=True, nogil=True, error_model="numpy")
def _unit_densities(  # noqa: PLR0913, PLR0917
    plan, numbers, a, scale, coefficients, shares, rho, inner, pair, units, precision, result
):
    variables, entries = plan.start[-1], pair.shape[0]
    panels, pooled, lines, s, y = work_space(plan, numbers, a.shape[1])
    z = np.zeros(panels.size)
    covariance, mean = np.empty((entries, entries)), np.empty(entries)
    x, zx = np.empty(entries + 1), np.empty(entries)
    for point in range(a.shape[0]):
        panels[:] = 0.0
        logdet = factorise(
            plan,
            numbers,
            a[point],
            scale[point],
            coefficients[point],
            shares[point],
            panels,
            pooled,
            lines,
            s,
        )
        if math.isnan(logdet):
            result[point] = np.nan
            continue
        _solution(plan, panels, y)
        _back(plan, panels, y.reshape((1, variables)), np.int64(0), np.int64(0))
        z[:] = 0.0
        _selected_inverse(plan, panels, z)
        for unit in range(units.unit_from.size - 1):
            first, last = units.unit_from[unit], units.unit_from[unit + 1]
            if first < last:
                cell = units.cell[first]
                for i in range(entries):
                    own = s[inner[i, cell]]
                    mean[i] = own * y[inner[i, cell]]
                    for j in range(entries):
                        covariance[i, j] = own * s[inner[j, cell]] * z[pair[i, j, cell]]
            value = 0.0
            for row in range(first, last):
                value += _take_out(units, row, rho[point], precision[point, row], covariance, mean, x, zx)
            result[point, unit] = value


def some_rows(outcome: Outcome, keep: np.ndarray) -> Outcome:
    """The same outcome on some of its rows."""
    at = np.flatnonzero(keep)
    return outcome._replace(
        design=outcome.design.rows(at), response=outcome.response[at], root_precision=outcome.root_precision[at],
        residual=outcome.residual.rows(at),
    )  # fmt: skip


def without_unit(outcome: Outcome, density: Density, moments: Moments, rows: np.ndarray) -> Density:
    """The density of the other rows. `rows` : (row,) those of the unit; series are wholly in it or not at all."""
    rest = without(moments, moments_of(some_rows(outcome, rows)))
    return Density(
        density.parameters, density.places, rest, outcome.design.coefficients, outcome.priors, threads=density.threads
    )  # fmt: skip
