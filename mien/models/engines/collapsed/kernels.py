"""Block elimination in numba: log |M|, the quadratic form, its gradient, and exact draws.

    M = S G S + prior        G = Σ_c a_c G_c,  S = diag(scale),  prior from `coefficients`
    c = S Σ_c a_c b_c + c₀
    values      log |M|  and  c'M⁻¹c
    gradient    of K = −½ log |M| + ½ c'M⁻¹c with respect to a, scale and the prior's coefficients
    draws       M⁻¹c + U⁻¹ε, with M = U'U

Everything happens in panels (`elimination`). Rows are factored a few at a time and their products subtracted from all
later rows by `tiles`, where nearly all of the arithmetic is. Neighbouring supernodes of equal width lie one after the
other with equal stride, so the rows of 32 participants with two effects each are subtracted as one group of 64. The gradient needs the inverse at the
stored places only (Takahashi's selected inverse), from the root down.

All kernels release the GIL and are given disjoint ranges of points by threads.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from mien.models.engines.collapsed.tiles import subtract_block

__all__ = ["Numbers", "draw", "gradient", "values"]

ROWS = 8  # eliminated at once within a supernode
DEPTH = 64  # rows that are subtracted from later supernodes at once: as many as stay in the first cache
options = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}


class Numbers(NamedTuple):
    """One outcome's statistics in a plan's storage. Variables are in the order of elimination.

    term : (variable,) number of the term whose sd scales it; one past the last term for coefficients (scale 1).
    dense : (panel total,) G where there is one component, else empty.
    component_from : (component + 1,), slot, row, column, value : the components' entries, else empty.
    score : (component, variable) W'D_c r.
    prior_slot, prior_row, prior_column, prior_coefficient : entries of the prior's precision.
    constant : (variable,) c₀.
    """

    term: np.ndarray
    dense: np.ndarray
    component_from: np.ndarray
    slot: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    score: np.ndarray
    prior_slot: np.ndarray
    prior_row: np.ndarray
    prior_column: np.ndarray
    prior_coefficient: np.ndarray
    constant: np.ndarray


@njit(**options)
def _assemble(plan, numbers, a, scale, coefficients, panels, pooled, s, c):
    """M into the panels and c; `pooled` keeps G where it is put together from components."""
    variables = s.size
    for i in range(variables):
        t = numbers.term[i]
        s[i] = scale[t] if t < scale.size else 1.0
    factor = 1.0
    if a.size == 1:
        g = numbers.dense
        factor = a[0]
    else:
        g = pooled
        g[:] = 0.0
        for k in range(a.size):
            for e in range(numbers.component_from[k], numbers.component_from[k + 1]):
                g[numbers.slot[e]] += a[k] * numbers.value[e]
    for node in range(plan.width.size):
        start, end = plan.start[node], plan.start[node + 1]
        size, width = end - start, plan.width[node]
        edge = plan.boundary_from[node]
        outside = plan.boundary_from[node + 1] - edge
        far = plan.boundary[edge : edge + outside]
        run = outside > 0 and far[outside - 1] - far[0] == outside - 1
        for r in range(size):
            at = plan.panel[node] + r * width
            scaled = factor * s[start + r]
            own, from_own, scale_own = panels[at + r : at + size], g[at + r : at + size], s[start + r : end]
            for j in range(size - r):
                own[j] = scaled * from_own[j] * scale_own[j]
            out, from_out = panels[at + size : at + size + outside], g[at + size : at + size + outside]
            if run:
                scale_out = s[far[0] : far[0] + outside]
                for j in range(outside):
                    out[j] = scaled * from_out[j] * scale_out[j]
            else:
                for j in range(outside):
                    out[j] = scaled * from_out[j] * s[far[j]]
    for e in range(numbers.prior_slot.size):
        panels[numbers.prior_slot[e]] += coefficients[numbers.prior_coefficient[e]]
    for i in range(variables):
        total = 0.0
        for k in range(a.size):
            total += a[k] * numbers.score[k, i]
        c[i] = s[i] * total + numbers.constant[i]


@njit(**options)
def _factor_rows(panels, at, width, first, count, y, start):
    """Eliminate rows first … first + count − 1 of a supernode among themselves; log determinant, NaN if not positive."""
    total = 1.0
    for r in range(first, first + count):
        row = at + r * width
        pivot = panels[row + r]
        if not pivot > 0.0:
            return np.nan
        total *= pivot
        inverse = 1.0 / math.sqrt(pivot)
        panels[row + r] = inverse  # the diagonal keeps 1 / d
        tail = panels[row + r + 1 : row + width]
        for j in range(tail.size):
            tail[j] *= inverse
        y[start + r] *= inverse
        for q in range(r + 1, first + count):
            weight = panels[row + q]
            source = panels[row + q : row + width]
            target = panels[at + q * width + q : at + q * width + width]
            for j in range(source.size):
                target[j] -= weight * source[j]
            y[start + q] -= weight * y[start + r]
    return math.log(total)


@njit(**options)
def _subtract_from_score(panels, y, row, stride, count, place, length, variable, target):
    """y[target …] −= Σ_r x_r[place …] y[variable + r]."""
    out = y[target : target + length]
    for r in range(count):
        weight = y[variable + r]
        source = panels[row + r * stride + place : row + r * stride + place + length]
        for j in range(length):
            out[j] -= weight * source[j]


@njit(**options)
def _push(plan, panels, y, batch, row, stride, count, size, node, variable):
    """Subtract `count` eliminated rows from the later supernodes that they reach."""
    edge = plan.boundary_from[node]
    outside = plan.boundary_from[node + 1] - edge
    slack = stride - size - outside
    for segment in range(plan.segment_from[batch], plan.segment_from[batch + 1]):
        a = plan.owner[segment]
        home, wide = plan.panel[a], plan.width[a]
        low, high = plan.run_from[segment], plan.run_from[segment + 1]
        last = plan.last[segment]
        for run in range(low, high):  # rows of the target: entries that the owner owns
            begin, end = plan.run_at[run], min(plan.run_to[run], last)
            if begin >= last:
                break
            for i in range(begin, end, 4):
                height = min(4, end - i)
                target = home + (plan.run_place[run] + i - begin) * wide
                for k in range(run, high):
                    first = max(i, plan.run_at[k])
                    length = plan.run_to[k] - first
                    if plan.run_to[k] == outside and slack > 0:
                        length = (length + 7) // 8 * 8
                    subtract_block(
                        panels, row, stride, count, size + i, height, size + first, length,
                        target + plan.run_place[k] + first - plan.run_at[k], wide,
                    )  # fmt: skip
            _subtract_from_score(
                panels,
                y,
                row,
                stride,
                count,
                size + begin,
                end - begin,
                variable,
                plan.boundary[edge + begin],
            )


@njit(**options)
def _factor(plan, panels, y):
    """M = U'U in place (diagonals as 1 / d), y = U'⁻¹c in place; log |M|, NaN where M is not positive definite."""
    logdet = 0.0
    for batch in range(plan.batch.size - 1):
        first, last = plan.batch[batch], plan.batch[batch + 1]
        size, width = plan.start[first + 1] - plan.start[first], plan.width[first]
        outside = plan.boundary_from[first + 1] - plan.boundary_from[first]
        if size <= ROWS:
            for node in range(first, last):
                logdet += _factor_rows(panels, plan.panel[node], width, 0, size, y, plan.start[node])
            if outside:
                rows = (last - first) * size
                for r in range(0, rows, DEPTH):
                    _push(
                        plan, panels, y, batch, plan.panel[first] + r * width, width, min(DEPTH, rows - r), size,
                        first, plan.start[first] + r,
                    )  # fmt: skip
        else:
            for node in range(first, last):
                logdet += _factor_wide(panels, plan.panel[node], width, size, outside, y, plan.start[node])
                if outside:
                    for r in range(0, size, DEPTH):
                        _push(
                            plan, panels, y, batch, plan.panel[node] + r * width, width, min(DEPTH, size - r), size,
                            node, plan.start[node] + r,
                        )  # fmt: skip
        if logdet != logdet:
            panels[:] = 0.0  # nothing may be left in the padding
            break
    return logdet


@njit(**options)
def _factor_wide(panels, at, width, size, outside, y, start):
    """Eliminate the variables of one large supernode, eight at a time."""
    logdet = 0.0
    columns = size + outside
    for r in range(0, size, ROWS):
        count = min(ROWS, size - r)
        logdet += _factor_rows(panels, at, width, r, count, y, start)
        row, after = at + r * width, r + count
        for i in range(after, size, 4):
            length = columns - i
            if width - columns:
                length = (length + 7) // 8 * 8
            subtract_block(
                panels, row, width, count, i, min(4, size - i), i, length, at + i * width + i, width
            )
        _subtract_from_score(panels, y, row, width, count, after, size - after, start + r, start + after)
    return logdet


@njit(**options)
def _back(plan, panels, x):
    """x = U⁻¹x in place."""
    for node in range(plan.width.size - 1, -1, -1):
        start, end, width = plan.start[node], plan.start[node + 1], plan.width[node]
        size, edge = end - start, plan.boundary_from[node]
        outside = plan.boundary_from[node + 1] - edge
        entries = plan.boundary[edge : edge + outside]
        run = outside > 0 and entries[outside - 1] - entries[0] == outside - 1
        for r in range(size - 1, -1, -1):
            row = plan.panel[node] + r * width
            total = 0.0
            own, mine = panels[row + r + 1 : row + size], x[start + r + 1 : end]
            for j in range(own.size):
                total += own[j] * mine[j]
            far = panels[row + size : row + size + outside]
            if run:
                theirs = x[entries[0] : entries[0] + outside]
                for j in range(outside):
                    total += far[j] * theirs[j]
            else:
                for j in range(outside):
                    total += far[j] * x[entries[j]]
            x[start + r] = (x[start + r] - total) * panels[row + r]


@njit(**options)
def values(plan, numbers, a, scale, coefficients, logdet, quadratic):
    """Log |M| and c'M⁻¹c of every point: a (point, component), scale (point, term), coefficients (point, entry).

    A point where M is not positive definite gets NaN.
    """
    total, variables = plan.panel[-1], plan.start[-1]
    panels = np.zeros(total)
    pooled = np.empty(total if a.shape[1] != 1 else 0)
    s, y = np.empty(variables), np.empty(variables)
    for point in range(a.shape[0]):
        _assemble(plan, numbers, a[point], scale[point], coefficients[point], panels, pooled, s, y)
        logdet[point] = _factor(plan, panels, y)
        square = 0.0
        for i in range(variables):
            square += y[i] * y[i]
        quadratic[point] = square


@njit(**options)
def draw(plan, numbers, a, scale, coefficients, copies, normals, out):
    """Draws of S·x, x ~ N(M⁻¹c, M⁻¹): copies[point] rows of `out` (draw, variable) for each point in turn.

    normals : (draw, variable) standard normals; zeros give the conditional mean.
    """
    total, variables = plan.panel[-1], plan.start[-1]
    panels = np.zeros(total)
    pooled = np.empty(total if a.shape[1] != 1 else 0)
    s, y, x = np.empty(variables), np.empty(variables), np.empty(variables)
    at = 0
    for point in range(a.shape[0]):
        if copies[point] == 0:
            continue
        _assemble(plan, numbers, a[point], scale[point], coefficients[point], panels, pooled, s, y)
        _factor(plan, panels, y)
        for _ in range(copies[point]):
            for i in range(variables):
                x[i] = y[i] + normals[at, i]
            _back(plan, panels, x)
            for i in range(variables):
                out[at, i] = s[i] * x[i]
            at += 1


@njit(**options)
def _inverse_of_root(panels, at, size, width, inverse, z):
    """(U'U)⁻¹ of the last supernode into z at the same places (both triangles)."""
    inverse[:, :] = 0.0
    for j in range(size):  # rows of U⁻¹ from the bottom: row j needs the rows below it
        i = size - 1 - j
        d = panels[at + i * width + i]
        inverse[i, i] = d
        for k in range(i + 1, size):
            weight = panels[at + i * width + k] * d
            for m in range(k, size):
                inverse[i, m] -= weight * inverse[k, m]
    for i in range(size):
        for j in range(i, size):
            total = 0.0
            for m in range(j, size):
                total += inverse[i, m] * inverse[j, m]
            z[at + i * width + j] = total
            z[at + j * width + i] = total


@njit(**options)
def _gather(plan, z, batch, far):
    """The inverse between the boundary's variables, from the later supernodes."""
    for segment in range(plan.segment_from[batch], plan.segment_from[batch + 1]):
        a = plan.owner[segment]
        home, wide = plan.panel[a], plan.width[a]
        low, high = plan.run_from[segment], plan.run_from[segment + 1]
        run = low
        for i in range(plan.first[segment], plan.last[segment]):
            while plan.run_to[run] <= i:
                run += 1
            source = home + (plan.run_place[run] + i - plan.run_at[run]) * wide
            for k in range(run, high):
                shift = source + plan.run_place[k] - plan.run_at[k]
                for j in range(max(i, plan.run_at[k]), plan.run_to[k]):
                    far[i, j] = z[shift + j]
                    far[j, i] = z[shift + j]


@njit(**options)
def _selected_inverse(plan, panels, z):
    """M⁻¹ at the stored places; both triangles of own parts."""
    supernodes = plan.width.size
    last = supernodes - 1
    size = plan.start[last + 1] - plan.start[last]
    _inverse_of_root(panels, plan.panel[last], size, plan.width[last], np.empty((size, size)), z)
    for batch in range(plan.batch.size - 2, -1, -1):
        first, end = plan.batch[batch], plan.batch[batch + 1]
        size, width = plan.start[first + 1] - plan.start[first], plan.width[first]
        outside = plan.boundary_from[first + 1] - plan.boundary_from[first]
        far = np.empty((outside, outside))
        _gather(plan, z, batch, far)
        inverse = np.zeros((size, size))
        h, hz = np.empty((size, outside)), np.empty((size, outside))
        for node in range(first, end):
            at = plan.panel[node]
            inverse[:, :] = 0.0
            for i in range(size - 1, -1, -1):
                d = panels[at + i * width + i]
                inverse[i, i] = d
                for k in range(i + 1, size):
                    weight = panels[at + i * width + k] * d
                    for m in range(k, size):
                        inverse[i, m] -= weight * inverse[k, m]
            h[:, :] = 0.0
            for i in range(size):
                for k in range(i, size):
                    weight = inverse[i, k]
                    row = panels[at + k * width + size : at + k * width + size + outside]
                    for j in range(outside):
                        h[i, j] += weight * row[j]
            hz[:, :] = 0.0
            for j in range(outside):
                for i in range(size):
                    weight = h[i, j]
                    for m in range(outside):
                        hz[i, m] += weight * far[j, m]
            for i in range(size):
                for j in range(i, size):
                    total = 0.0
                    for m in range(j, size):
                        total += inverse[i, m] * inverse[j, m]
                    for m in range(outside):
                        total += hz[i, m] * h[j, m]
                    z[at + i * width + j] = total
                    z[at + j * width + i] = total
                for m in range(outside):
                    z[at + i * width + size + m] = -hz[i, m]


@njit(**options)
def gradient(plan, numbers, a, scale, coefficients):
    """Log |M|, c'M⁻¹c, and the gradient of −½ log |M| + ½ c'M⁻¹c by a, scale and coefficients, at one point."""
    total, variables = plan.panel[-1], plan.start[-1]
    panels, z = np.zeros(total), np.zeros(total)
    pooled = np.empty(total if a.size != 1 else 0)
    s, y = np.empty(variables), np.empty(variables)
    by_a, by_scale, by_coefficient = np.zeros(a.size), np.zeros(scale.size), np.zeros(coefficients.size)
    _assemble(plan, numbers, a, scale, coefficients, panels, pooled, s, y)
    logdet = _factor(plan, panels, y)
    square = 0.0
    for i in range(variables):
        square += y[i] * y[i]
    if logdet != logdet:
        return logdet, square, by_a, by_scale, by_coefficient
    _back(plan, panels, y)  # now the mean
    _selected_inverse(plan, panels, z)
    for node in range(plan.width.size):  # z becomes E[x x']
        start, size, width = plan.start[node], plan.start[node + 1] - plan.start[node], plan.width[node]
        edge = plan.boundary_from[node]
        outside = plan.boundary_from[node + 1] - edge
        for r in range(size):
            at = plan.panel[node] + r * width
            for j in range(r, size):
                z[at + j] += y[start + r] * y[start + j]
            for j in range(outside):
                z[at + size + j] += y[start + r] * y[plan.boundary[edge + j]]
    for e in range(numbers.prior_slot.size):
        half = 0.5 if numbers.prior_row[e] == numbers.prior_column[e] else 1.0
        by_coefficient[numbers.prior_coefficient[e]] -= half * z[numbers.prior_slot[e]]
    by_s = np.zeros(variables)
    factor = a[0] if a.size == 1 else 1.0
    g = numbers.dense if a.size == 1 else pooled
    for node in range(plan.width.size):
        start, size, width = plan.start[node], plan.start[node + 1] - plan.start[node], plan.width[node]
        edge = plan.boundary_from[node]
        outside = plan.boundary_from[node + 1] - edge
        for r in range(size):
            at = plan.panel[node] + r * width
            i = start + r
            pull = 0.0
            for j in range(r, size):
                moment = factor * g[at + j] * z[at + j]
                pull += moment * s[start + j]
                if j > r:
                    by_s[start + j] -= moment * s[i]
            for j in range(outside):
                other = plan.boundary[edge + j]
                moment = factor * g[at + size + j] * z[at + size + j]
                pull += moment * s[other]
                by_s[other] -= moment * s[i]
            by_s[i] -= pull
    fitted = 0.0
    for i in range(variables):
        fitted += s[i] * by_s[i]
        score = 0.0
        for k in range(a.size):
            score += a[k] * numbers.score[k, i]
            by_a[k] += numbers.score[k, i] * s[i] * y[i]
        if numbers.term[i] < scale.size:
            by_scale[numbers.term[i]] += by_s[i] + score * y[i]
    if a.size == 1:
        by_a[0] += 0.5 * fitted / a[0]
    else:
        for k in range(a.size):
            for e in range(numbers.component_from[k], numbers.component_from[k + 1]):
                i, j = numbers.row[e], numbers.column[e]
                half = 0.5 if i == j else 1.0
                by_a[k] -= half * numbers.value[e] * s[i] * s[j] * z[numbers.slot[e]]
    return logdet, square, by_a, by_scale, by_coefficient
