"""Block elimination in numba: log |M|, the quadratic form, its gradient, and exact draws.

    M = S G S + prior        G = Σ_k a_k G_k,  S = diag(scale),  prior from `coefficients`
    c = S Σ_k a_k b_k + c₀   stored as M's last column, the response

    gradient    of K = −½ log |M| + ½ c'M⁻¹c with respect to a, scale and the prior's coefficients
    draw        S (M⁻¹c + U⁻¹ε), with M = U'U

Responses with the same M are further columns c: quadratic forms are summed, and M counts once for each in K.

Everything happens in panels (`elimination`). Rows are factored a few at a time and their products subtracted from all
later rows by `tiles`, where nearly all of the arithmetic is. Neighbouring supernodes of equal width lie one after the
other with equal stride, so the rows of 32 participants with two effects each are subtracted as one group of 64. The
gradient needs the inverse at the stored places only (Takahashi's selected inverse), from the root down; with −mean in
the response's column, the products E[x x'] of all columns are treated alike.

No loop that sums writes: where arrays happen to lie side by side, LLVM would take such a sum in another order, and
draws would not be the same to the last bit.

All kernels release the GIL and are given disjoint ranges of points by threads.

numba compiles a function and everything below it once more for each that calls it. Therefore what only hands on to
others is joined to its caller, what does the work is called once, and the gradient, which few fits ask for, is apart.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from mien.models.engines.collapsed.tiles import subtract_block

__all__ = ["Numbers", "SeriesNumbers", "draw", "draw_series", "factorise", "gradient", "work_space"]

ROWS = 16  # eliminated at once within a supernode
SMALL = 2  # variables of a leaf that is scaled and eliminated in one pass
DEPTH = 64  # rows that are subtracted from later supernodes at once: as many as stay in the first cache
options = {
    "cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"},
    "no_cfunc_wrapper": True,
}  # fmt: skip
inner = {**options, "cache": False, "no_cpython_wrapper": True}  # called by kernels only
joined = {**inner, "inline": "always"}  # becomes a part of its caller before anything is compiled


class SeriesNumbers(NamedTuple):
    """Effects of whole series that are integrated out with their residuals: G loses Σ v v' (`series_effects`).

    A line is one series, v = root[pattern] · Σ_part weight[kind] · value. Lines come once for each order in which
    their targets lie together; the first `len(cell)` are each series once.

    kinds : how many; pattern : (line,); part_from : (line + 1,); kind : (part,);
    value : (part, place), zeros where no entry is.
    run : (run, 8) first line, lines, place and number of the rows, place and length (a multiple of 8) of the columns,
        slot of the first product, width of its panel.
    cell : (series,); place : (entry,) in `value`, the response last; variable : (cell, entry);
    pair : (pair, 2) entries; slot : (cell, pair).
    """

    kinds: int
    pattern: np.ndarray
    part_from: np.ndarray
    kind: np.ndarray
    value: np.ndarray
    run: np.ndarray
    cell: np.ndarray
    place: np.ndarray
    variable: np.ndarray
    pair: np.ndarray
    slot: np.ndarray


_NONE, _NO_TABLE = np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.int64)
NO_SERIES = SeriesNumbers(
    0, _NONE, np.zeros(1, dtype=np.int64), _NONE, np.zeros((0, 0)), _NO_TABLE, _NONE, _NONE, _NO_TABLE, _NO_TABLE,
    _NO_TABLE,
)  # fmt: skip


class Numbers(NamedTuple):
    """One outcome's statistics in a plan's storage. Variables are in the order of elimination.

    term : (variable,) number of the term whose sd scales it; one past the last term for coefficients (scale 1).
    dense : (panel total,) G and b where there is one component, else empty.
    component_from : (component + 1,), slot, row, column, value : the components' entries, else empty.
    prior_slot, prior_row, prior_column, prior_coefficient : entries of the prior's precision and of c₀.
    series : effects of whole series, where several components are.
    """

    term: np.ndarray
    dense: np.ndarray
    component_from: np.ndarray
    slot: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    prior_slot: np.ndarray
    prior_row: np.ndarray
    prior_column: np.ndarray
    prior_coefficient: np.ndarray
    series: SeriesNumbers = NO_SERIES


@njit(**inner)
def _responses(plan):
    """How many columns are not eliminated."""
    return plan.boundary_from[plan.width.size] - plan.boundary_from[plan.width.size - 1]


@njit(**inner)
def _consecutive(entries):
    """Whether a boundary is one unbroken stretch."""
    return entries[entries.size - 1] - entries[0] == entries.size - 1


@njit(**inner)
def _leaves(plan):
    """How many supernodes, from the first, have nothing eliminated before that reaches them; the root is none."""
    leaves = plan.width.size - 1
    for k in range(plan.owner.size):
        leaves = min(leaves, plan.owner[k])
    for batch in range(plan.batch.size - 1):  # whole batches
        if plan.batch[batch] < leaves < plan.batch[batch + 1]:
            leaves = plan.batch[batch]
    return leaves


@njit(**inner)
def _pool(numbers, a, shares, pooled, lines):
    """G, put together from its components where there are several; with one, it is still to be multiplied by a.

    `shares` : weights of the kinds of parts of series, then the roots of their patterns; `lines` gets their v.
    """
    if a.size == 1:
        return numbers.dense
    pooled[:] = 0.0
    for k in range(a.size):
        for e in range(numbers.component_from[k], numbers.component_from[k + 1]):
            pooled[numbers.slot[e]] += a[k] * numbers.value[e]
    if shares.size:
        _subtract_series(numbers.series, shares, pooled, lines)
    return pooled


@njit(**inner)
def _series_lines(series, shares, lines, count):
    """The first `count` v into rows of `lines`."""
    stride = series.value.shape[1]
    for i in range(count):
        v, root = lines[i * stride : (i + 1) * stride], shares[series.kinds + series.pattern[i]]
        v[:] = 0.0
        for part in range(series.part_from[i], series.part_from[i + 1]):
            weight, value = root * shares[series.kind[part]], series.value[part]
            for j in range(stride):
                v[j] += weight * value[j]


@njit(**inner)
def _subtract_series(series, shares, pooled, lines):
    _series_lines(series, shares, lines, series.pattern.size)
    stride = series.value.shape[1]
    for run in range(series.run.shape[0]):
        first, count, row, rows, column, length, slot, width = series.run[run]
        subtract_block(lines, first * stride, stride, count, row, rows, column, length, pooled, slot, width)


@njit(**inner)
def _assemble(plan, numbers, g, factor, scale, coefficients, panels, s, leaves):  # noqa: C901, PLR0913, PLR0917
    """M and c into the panels, but for the boundaries of small leaves; s (variable + response,)."""
    for i in range(s.size):
        s[i] = 1.0
    for i in range(numbers.term.size):
        if numbers.term[i] < scale.size:
            s[i] = scale[numbers.term[i]]
    columns = np.empty(s.size)
    for node in range(plan.width.size):
        start, width, at = plan.start[node], plan.width[node], plan.panel[node]
        size = plan.start[node + 1] - start
        if node < leaves and size <= SMALL:
            scaled = factor * s[start]
            panels[at] = scaled * g[at] * s[start]
            if size == 2:
                panels[at + 1] = scaled * g[at + 1] * s[start + 1]
                at += width + 1
                panels[at] = factor * s[start + 1] * g[at] * s[start + 1]
            continue
        far = plan.boundary[plan.boundary_from[node] : plan.boundary_from[node + 1]]
        for j in range(size):
            columns[j] = s[start + j]
        for j in range(far.size):
            columns[size + j] = s[far[j]]
        for r in range(size):  # below the diagonal too: one loop, and nothing reads it
            scaled = factor * s[start + r]
            out, given = panels[at : at + size + far.size], g[at : at + size + far.size]
            for j in range(out.size):
                out[j] = scaled * given[j] * columns[j]
            at += width
    for e in range(numbers.prior_slot.size):
        panels[numbers.prior_slot[e]] += coefficients[numbers.prior_coefficient[e]]


@njit(**inner)
def _factor_leaves(plan, g, factor, s, panels, first, last):
    """Eliminate leaves of one or two variables, each in one pass over its boundary; log determinant."""
    start, width = plan.start[first], plan.width[first]
    size = plan.start[first + 1] - start
    far = plan.boundary[plan.boundary_from[first] : plan.boundary_from[first + 1]]
    theirs = np.empty(far.size)
    for j in range(far.size):
        theirs[j] = s[far[j]]
    logdet, total = 0.0, 1.0
    for node in range(first, last):
        at, i = plan.panel[node], plan.start[node]
        pivot = panels[at]
        if not pivot > 0.0:
            return np.nan
        total *= pivot
        inverse = 1.0 / math.sqrt(pivot)
        panels[at] = inverse
        weight = factor * s[i] * inverse
        out, given = panels[at + size : at + size + far.size], g[at + size : at + size + far.size]
        if size == 1:
            for j in range(far.size):
                out[j] = weight * given[j] * theirs[j]
        else:
            across = panels[at + 1] * inverse
            panels[at + 1] = across
            pivot = panels[at + width + 1] - across * across
            if not pivot > 0.0:
                return np.nan
            total *= pivot
            inverse = 1.0 / math.sqrt(pivot)
            panels[at + width + 1] = inverse
            own, across = factor * s[i + 1] * inverse, across * inverse
            row = at + width + size
            second, other = panels[row : row + far.size], g[row : row + far.size]
            for j in range(far.size):
                value = weight * given[j] * theirs[j]
                out[j] = value
                second[j] = own * other[j] * theirs[j] - across * value
        if not 1e-100 < total < 1e100:
            logdet += math.log(total)
            total = 1.0
    return logdet + math.log(total)


@njit(**inner)
def _factor_rows(panels, at, width, first, count):
    """Eliminate `count` rows of a supernode among themselves; log determinant, NaN if one is not positive."""
    total = 1.0
    begin = at + first * width
    for r in range(first, first + count):
        row = at + r * width
        if r > first:
            subtract_block(
                panels, begin, width, r - first, r, 1, r, (width - r) // 8 * 8, panels, row + r, width
            )
        pivot = panels[row + r]
        if not pivot > 0.0:
            return np.nan
        total *= pivot
        inverse = 1.0 / math.sqrt(pivot)
        panels[row + r] = inverse  # the diagonal keeps 1 / d
        tail = panels[row + r + 1 : row + width]
        for j in range(tail.size):
            tail[j] *= inverse
    return math.log(total)


@njit(**inner)
def _push(plan, panels, batch, row, stride, count, size, outside):
    """Subtract `count` eliminated rows from the later supernodes that they reach."""
    for segment in range(plan.segment_from[batch], plan.segment_from[batch + 1]):
        a = plan.owner[segment]
        home, wide = plan.panel[a], plan.width[a]
        low, high = plan.run_from[segment], plan.run_from[segment + 1]
        last = plan.last[segment]
        for run in range(low, high):  # rows of the target: entries that the owner owns
            begin, end = plan.run_at[run], min(plan.run_to[run], last)
            for i in range(begin, end, 4):
                target = home + (plan.run_place[run] + i - begin) * wide
                for k in range(run, high):
                    first = max(i, plan.run_at[k])
                    length = plan.run_to[k] - first
                    if plan.run_to[k] == outside:  # zeros follow
                        length = (length + 7) // 8 * 8
                    subtract_block(
                        panels, row, stride, count, size + i, min(4, end - i), size + first, length,
                        panels, target + plan.run_place[k] + first - plan.run_at[k], wide,
                    )  # fmt: skip


@njit(**joined)
def _factor_wide(panels, at, width, size, columns):
    """Eliminate the variables of one large supernode, eight at a time."""
    logdet = 0.0
    for r in range(0, size, ROWS):
        count = min(ROWS, size - r)
        logdet += _factor_rows(panels, at, width, r, count)
        for i in range(r + count, size, 4):
            subtract_block(
                panels, at + r * width, width, count, i, min(4, size - i), i, (columns - i + 7) // 8 * 8,
                panels, at + i * width + i, width,
            )  # fmt: skip
    return logdet


@njit(**joined)
def _factor(plan, g, factor, s, panels, leaves):
    """M = U'U in place (diagonals as 1 / d), U'⁻¹c in the last columns; log |M|, NaN if M is not positive definite."""
    logdet = 0.0
    for batch in range(plan.batch.size - 1):
        first, last = plan.batch[batch], plan.batch[batch + 1]
        size, width = plan.start[first + 1] - plan.start[first], plan.width[first]
        outside = plan.boundary_from[first + 1] - plan.boundary_from[first]
        together = max(1, DEPTH // size)
        for node in range(first, last, together):  # subtracted while they are in the first cache
            end = min(node + together, last)
            if first < leaves and size <= SMALL:
                logdet += _factor_leaves(plan, g, factor, s, panels, node, end)
            else:
                for each in range(node, end):
                    logdet += _factor_wide(panels, plan.panel[each], width, size, size + outside)
            rows = (end - node) * size
            for r in range(0, rows, DEPTH):
                row = plan.panel[node] + r * width
                _push(plan, panels, batch, row, width, min(DEPTH, rows - r), size, outside)
        if math.isnan(logdet):
            panels[:] = 0.0  # nothing may be left in the padding
            break
    return logdet


@njit(**joined)
def factorise(plan, numbers, a, scale, coefficients, shares, panels, pooled, lines, s):  # noqa: PLR0913, PLR0917
    """M = U'U at one point: U into the panels, S into s (variable + response,), log |M| (NaN: not positive definite).

    `panels` must have been zeros when it was new; `pooled` has room for G where there are several components, `lines`
    for series.
    """
    leaves = _leaves(plan)
    g = _pool(numbers, a, shares, pooled, lines)
    factor = a[0] if a.size == 1 else 1.0
    _assemble(plan, numbers, g, factor, scale, coefficients, panels, s, leaves)
    return _factor(plan, g, factor, s, panels, leaves)


@njit(**inner)
def _solution(plan, panels, y):
    """The last columns, U'⁻¹c, into y (response · variable,); the sum of their squares."""
    square, responses, variables = 0.0, _responses(plan), plan.start[-1]
    for q in range(responses):
        mine = y[q * variables : (q + 1) * variables]
        for node in range(plan.width.size):
            start, size, width = plan.start[node], plan.start[node + 1] - plan.start[node], plan.width[node]
            far = plan.boundary_from[node + 1] - plan.boundary_from[node]
            column = plan.panel[node] + size + far - responses + q
            for r in range(size):
                mine[start + r] = panels[column + r * width]
        for i in range(variables):
            square += mine[i] * mine[i]
    return square


@njit(**inner)
def _back(plan, panels, x, given, lowest):
    """Replace the rows of x (draw, variable) by U⁻¹x; a row of U is loaded once for all of them.

    The last `given` variables are taken to be solved already; those of supernodes before variable `lowest` are left.
    """
    free = plan.start[-1] - given
    responses = _responses(plan)
    for node in range(plan.width.size - 1, -1, -1):
        start, end, width = plan.start[node], plan.start[node + 1], plan.width[node]
        if end <= lowest:
            break
        size = end - start
        far = plan.boundary[plan.boundary_from[node] : plan.boundary_from[node + 1] - responses]
        run = far.size > 0 and _consecutive(far)
        for r in range(min(size, free - start) - 1, -1, -1):
            row = plan.panel[node] + r * width
            own, rest = panels[row + r + 1 : row + size], panels[row + size : row + size + far.size]
            for k in range(x.shape[0]):
                total = 0.0
                mine = x[k, start + r + 1 : end]
                for j in range(own.size):
                    total += own[j] * mine[j]
                if run:
                    theirs = x[k, far[0] : far[0] + far.size]
                    for j in range(far.size):
                        total += rest[j] * theirs[j]
                else:
                    for j in range(far.size):
                        total += rest[j] * x[k, far[j]]
                x[k, start + r] = (x[k, start + r] - total) * panels[row + r]


@njit(**inner)
def _lower_inverse(panels, at, width, size, work, stride):
    """U'⁻¹ of a supernode's own part: rows q of `work` get U's row q, then row q of U'⁻¹ from column `size` on."""
    for q in range(size):
        row = q * stride
        for j in range(q, size):
            work[row + j] = panels[at + q * width + j]
        for j in range(size, stride):
            work[row + j] = 0.0
        work[row + size + q] = 1.0
        subtract_block(work, 0, stride, q, q, 1, size, (q + 8) // 8 * 8, work, row + size, stride)
        inverse = panels[at + q * width + q]
        for j in range(q + 1):
            work[row + size + j] *= inverse


@njit(**inner)
def _gather(plan, z, batch, inner, work, stride, column):
    """The inverse between the boundary's variables, from the later supernodes, into rows of `work`."""
    for segment in range(plan.segment_from[batch], plan.segment_from[batch + 1]):
        a = plan.owner[segment]
        home, wide = plan.panel[a], plan.width[a]
        low, high = plan.run_from[segment], plan.run_from[segment + 1]
        for run in range(low, high):
            for i in range(plan.run_at[run], min(plan.run_to[run], plan.last[segment])):
                source = home + (plan.run_place[run] + i - plan.run_at[run]) * wide
                for k in range(run, high):
                    shift = source + plan.run_place[k] - plan.run_at[k]
                    for j in range(max(i, plan.run_at[k]), min(plan.run_to[k], inner)):
                        work[i * stride + column + j] = z[shift + j]
                        work[j * stride + column + i] = z[shift + j]


@njit(**joined)
def _selected_inverse(plan, panels, z):
    """M⁻¹ at the stored places (upper triangle of own parts)."""
    responses = _responses(plan)
    for batch in range(plan.batch.size - 2, -1, -1):
        first, end = plan.batch[batch], plan.batch[batch + 1]
        size, width = plan.start[first + 1] - plan.start[first], plan.width[first]
        inner = plan.boundary_from[first + 1] - plan.boundary_from[first] - responses
        together = max(1, DEPTH // size)
        stride = together * size + inner + 8
        far = np.zeros(inner * stride)
        _gather(plan, z, batch, inner, far, stride, together * size)
        own = 2 * size + 8 + inner
        root = np.zeros(size * own)
        for node in range(first, end, together):
            last = min(node + together, end)
            for other in range(node, last):
                at, column = plan.panel[other], (other - node) * size
                _lower_inverse(panels, at, width, size, root, own)
                _own_part(panels, z, at, width, size, inner, root, own, far, stride, column)
            subtract_block(  # far holds −H' and the boundary's inverse Z: z becomes HZ, the inverse's far part is −HZ
                far, 0, stride, inner, 0, (last - node) * size, together * size, (inner + 7) // 8 * 8,
                z, plan.panel[node] + size, width,
            )  # fmt: skip
            for other in range(node, last):
                at, column = plan.panel[other], (other - node) * size
                for i in range(size):
                    for m in range(inner):
                        z[at + i * width + size + m] *= -1.0
                    target = z[at + i * width + i : at + i * width + size]
                    for m in range(inner):
                        weight = z[at + i * width + size + m]
                        source = far[m * stride + column + i : m * stride + column + size]
                        for j in range(target.size):
                            target[j] += weight * source[j]


@njit(**inner)
def _own_part(panels, z, at, width, size, inner, root, own, far, stride, column):  # noqa: PLR0913, PLR0917
    """U⁻¹U'⁻¹ into z, and −H' = −(U⁻¹ T)' into columns of `far`; z's far part is cleared."""
    for i in range(size):
        row = at + i * width
        for j in range(width):
            z[row + j] = 0.0
        for m in range(inner):
            root[i * own + 2 * size + 8 + m] = panels[at + i * width + size + m]
    for m in range(inner):
        for i in range(size):
            far[m * stride + column + i] = 0.0
    columns = (size + 7) // 8 * 8  # zeros follow in `root`
    subtract_block(root, 0, own, size, 2 * size + 8, inner, size, columns, far, column, stride)
    for i in range(0, size, 4):
        subtract_block(
            root, 0, own, size, size + i, min(4, size - i), size + i, (size - i + 7) // 8 * 8, z, at + i * width + i,
            width,
        )  # fmt: skip
        for k in range(i, min(i + 4, size)):
            for j in range(k, size):
                z[at + k * width + j] *= -1.0


@njit(**inner)
def _moments(plan, z, y):
    """Z becomes Σ E[x x'] over responses, with x = −1 for the response itself; y (response · variable,) the means."""
    responses, variables = _responses(plan), plan.start[-1]
    for node in range(plan.width.size):
        start, size, width = plan.start[node], plan.start[node + 1] - plan.start[node], plan.width[node]
        far = plan.boundary[plan.boundary_from[node] : plan.boundary_from[node + 1]]
        for r in range(size):
            at = plan.panel[node] + r * width
            inner = far.size - responses
            if responses > 1:
                for j in range(r, size + inner):
                    z[at + j] *= responses
            for q in range(responses):
                x = y[q * variables : (q + 1) * variables]
                mean = x[start + r]
                for j in range(r, size):
                    z[at + j] += mean * x[start + j]
                for j in range(inner):
                    z[at + size + j] += mean * x[far[j]]
                z[at + size + inner + q] = -mean


@njit(**inner)
def _by_scale(plan, g, factor, z, s, by_s):
    """Derivative of K by every variable's scale."""
    for node in range(plan.width.size):
        start, size, width = plan.start[node], plan.start[node + 1] - plan.start[node], plan.width[node]
        far = plan.boundary[plan.boundary_from[node] : plan.boundary_from[node + 1]]
        for r in range(size):
            at, i = plan.panel[node] + r * width, start + r
            pull = 0.0
            for j in range(r, size):
                pull += factor * g[at + j] * z[at + j] * s[start + j]
            for j in range(r + 1, size):
                by_s[start + j] -= factor * g[at + j] * z[at + j] * s[i]
            at += size
            for j in range(far.size):
                pull += factor * g[at + j] * z[at + j] * s[far[j]]
            for j in range(far.size):
                by_s[far[j]] -= factor * g[at + j] * z[at + j] * s[i]
            by_s[i] -= pull


@njit(**joined)
def _draws(plan, panels, x, y, s, given, lowest):
    """Standard normals x (draw · response, variable) become S(M⁻¹c + U⁻¹x); y (response · variable,) is U'⁻¹c."""
    responses, variables = _responses(plan), plan.start[-1]
    for k in range(x.shape[0]):
        first = k % responses * variables
        for i in range(variables - given):
            x[k, i] += y[first + i]
    _back(plan, panels, x, given, lowest)
    for k in range(x.shape[0]):
        for i in range(variables):
            x[k, i] *= s[i]


@njit(**inner)
def _by_shares(series, shares, z, s, lines, by_shares):
    """Add the derivative of K, and of ½ Σ (v's response)², by the shares; z is what `_moments` made of it."""
    stride, entries = series.value.shape[1], series.place.size
    pull, v = np.empty(entries), np.empty(entries)
    for i in range(series.cell.size):
        cell = series.cell[i]
        for e in range(entries):
            v[e] = lines[i * stride + series.place[e]] * s[series.variable[cell, e]]
            pull[e] = 0.0
        pull[entries - 1] = v[entries - 1]
        for e in range(series.pair.shape[0]):
            one, other = series.pair[e]
            moment = z[series.slot[cell, e]]
            pull[one] += moment * v[other]
            if one != other:
                pull[other] += moment * v[one]
        for e in range(entries):
            pull[e] *= s[series.variable[cell, e]]
        root, total = shares[series.kinds + series.pattern[i]], 0.0
        for part in range(series.part_from[i], series.part_from[i + 1]):
            along = 0.0
            for e in range(entries):
                along += series.value[part, series.place[e]] * pull[e]
            by_shares[series.kind[part]] += root * along
            total += shares[series.kind[part]] * along
        by_shares[series.kinds + series.pattern[i]] += total


@njit(**joined)
def _slopes(  # noqa: PLR0913, PLR0917
    plan, numbers, a, shares, pooled, panels, lines, z, y, s, by_a, by_scale, by_coefficient, by_shares
):
    """Add the gradient of K to zeros; y (response · variable,) is U'⁻¹c, and `z` room for the inverse."""
    responses, variables = _responses(plan), plan.start[-1]
    _back(plan, panels, y.reshape((responses, variables)), np.int64(0), np.int64(0))  # now the means
    _selected_inverse(plan, panels, z)
    _moments(plan, z, y)
    for e in range(numbers.prior_slot.size):
        half = 0.5 if numbers.prior_row[e] == numbers.prior_column[e] else 1.0
        by_coefficient[numbers.prior_coefficient[e]] -= half * z[numbers.prior_slot[e]]
    by_s = np.zeros(variables + responses)
    if a.size == 1:
        _by_scale(plan, numbers.dense, a[0], z, s, by_s)
        total = 0.0
        for i in range(s.size):
            total += s[i] * by_s[i]
        by_a[0] = 0.5 * total / a[0]
    else:
        _by_scale(plan, pooled, 1.0, z, s, by_s)
        for k in range(a.size):
            for e in range(numbers.component_from[k], numbers.component_from[k + 1]):
                i, j = numbers.row[e], numbers.column[e]
                half = 0.5 if i == j else 1.0
                by_a[k] -= half * numbers.value[e] * s[i] * s[j] * z[numbers.slot[e]]
        if shares.size:
            _by_shares(numbers.series, shares, z, s, lines, by_shares)
    for i in range(variables):
        if numbers.term[i] < by_scale.size:
            by_scale[numbers.term[i]] += by_s[i]


@njit(**inner)
def work_space(plan, numbers, components):
    """What `factorise` writes to: panels, pooled, lines and s; and room for U'⁻¹c (response · variable,)."""
    total, variables, responses = plan.panel[-1], plan.start[-1], _responses(plan)
    lines = np.empty(numbers.series.pattern.size * numbers.series.value.shape[1])
    pooled = np.empty(total if components != 1 else 0)
    return np.zeros(total), pooled, lines, np.empty(variables + responses), np.empty(responses * variables)


@njit(**options)
def _draw(plan, numbers, a, scale, coefficients, shares, copies, noise, given, lowest, logdet, quadratic):  # noqa: PLR0913, PLR0917
    """What `draw` says."""
    panels, pooled, lines, s, y = work_space(plan, numbers, a.shape[1])
    begin, responses = 0, _responses(plan)
    for point in range(a.shape[0]):
        logdet[point] = factorise(
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
        quadratic[point] = _solution(plan, panels, y)
        if copies[point]:
            end = begin + copies[point] * responses
            _draws(plan, panels, noise[begin:end], y, s, given, lowest)
            begin = end


@njit(**options)
def _gradient(plan, numbers, a, scale, coefficients, shares, by_a, by_scale, by_coefficient, by_shares):  # noqa: PLR0913, PLR0917
    """Log |M| and Σ c'M⁻¹c; the gradient of K is added to zeros."""
    panels, pooled, lines, s, y = work_space(plan, numbers, a.size)
    z = np.zeros(panels.size)
    logdet = factorise(plan, numbers, a, scale, coefficients, shares, panels, pooled, lines, s)
    quadratic = _solution(plan, panels, y)
    if not math.isnan(logdet):
        _slopes(
            plan,
            numbers,
            a,
            shares,
            pooled,
            panels,
            lines,
            z,
            y,
            s,
            by_a,
            by_scale,
            by_coefficient,
            by_shares,
        )
    return logdet, quadratic


def draw(  # noqa: PLR0913, PLR0917
    plan, numbers, a, scale, coefficients, shares, copies, noise, logdet, quadratic, given=0, wanted=0
):
    """Log |M| and Σ c'M⁻¹c of every point, and draws of S·x, x ~ N(M⁻¹c, M⁻¹), in place of standard normals.

    Parameters
    ----------
    a, scale, coefficients : (point, component), (point, term), (point, entry).
    shares : (point, kind + pattern) of series, (point, 0) for none.
    copies : (point,) draws of each point. noise : (draw · response, variable), point by point, draw by draw; zeros give
        the conditional mean.
    logdet, quadratic : (point,) results; NaN where M is not positive definite, whose draws are left as they are.
    given : the last so many variables (coefficients, which have scale 1) keep the values that they have in `noise`, and
        the others are drawn given these.
    wanted : how many of the last variables are drawn, at least; 0 for all. The others are left as they are.
    """
    a, scale, coefficients, shares = _rows(a), _rows(scale), _rows(coefficients), _rows(shares)
    lowest = plan.start[-1] - wanted if wanted else plan.start[0]
    _draw(plan, numbers, a, scale, coefficients, shares, copies, noise, given, lowest, logdet, quadratic)


def gradient(plan, numbers, a, scale, coefficients, shares):
    """Log |M|, Σ c'M⁻¹c, and the gradient of K by a, scale, coefficients and shares, at one point.

    K = −½ responses·log |M| + ½ Σ c'M⁻¹c, and with series + ½ Σ (v's response)²
    """
    given = _rows(a), _rows(scale), _rows(coefficients), _rows(shares)
    found = tuple(np.zeros(one.shape) for one in given)
    return (*_gradient(plan, numbers, *given, *found), *found)


@njit(**options)
def draw_series(series, shares, x, point, spread, level, result):
    """Effects of series given the others: their share of the residual, and what is left of their spread.

    Parameters
    ----------
    shares : (point, kind + pattern). x : (draw, variable) natural units; point : (draw,).
    spread : (point, pattern, 2) what the residual is multiplied with; sd of what is left.
    level : (series,) column of `result` (draw, level), which has standard normals and gets the effects.
    """
    entries, stride = series.place.size - 1, series.value.shape[1]
    before, lines = np.int64(-1), np.empty(series.cell.size * stride)
    ones = np.ones(shares.shape[1])
    for d in range(x.shape[0]):
        if point[d] != before:
            before = point[d]
            ones[: series.kinds] = shares[before, : series.kinds]
            _series_lines(series, ones, lines, series.cell.size)
        for i in range(series.cell.size):
            cell, v = series.cell[i], lines[i * stride : (i + 1) * stride]
            left = v[series.place[entries]]
            for e in range(entries):
                left -= v[series.place[e]] * x[d, series.variable[cell, e]]
            share = spread[before, series.pattern[i]]
            result[d, level[i]] = share[0] * left + share[1] * result[d, level[i]]


def _rows(values):
    """Row by row in memory, whatever comes: one type of argument, which is compiled once."""
    return np.ascontiguousarray(values)
