"""The loops over rows behind `moments`: one pass, no allocation a row, the interpreter's lock released.

Sums of products are packed, lower triangle row by row: position i(i+1)/2 + j holds Σ x_i x_j, j ≤ i. A row is
x = w·(1, columns − centre, response − centre), w the root of its precision. `step` is 1 where `root` has a value for
each row, and 0 where its only value holds for all.
"""

import numpy as np
from numba import njit

__all__ = ["add_cells", "add_rows", "add_series", "shift", "unpack"]

options = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


@njit(**options)
def add_rows(sums, cells, columns, places, response, root, step, centre):
    """Add every row to its cell's sums, in place; the case of one column is written out (three times as fast).

    Parameters
    ----------
    sums : (cell, packed).
    cells : (row,); columns : (row, any); places : the columns that count; response : (row,).
    centre : (1 + column + 1,), its first 0.
    """
    size = len(places) + 2
    last = size - 1
    middle = centre[last]
    if len(places) == 1:
        place, mean = places[0], centre[1]
        for row in range(len(cells)):
            weight = root[row * step]
            x = weight * (columns[row, place] - mean)
            y = weight * (response[row] - middle)
            mine = sums[cells[row]]
            mine[0] += weight * weight
            mine[1] += weight * x
            mine[2] += x * x
            mine[3] += weight * y
            mine[4] += x * y
            mine[5] += y * y
        return
    x = np.empty(size)
    for row in range(len(cells)):
        weight = root[row * step]
        x[0] = weight
        for column in range(len(places)):
            x[column + 1] = weight * (columns[row, places[column]] - centre[column + 1])
        x[last] = weight * (response[row] - middle)
        mine = sums[cells[row]]
        packed = 0
        for i in range(size):
            for j in range(i + 1):
                mine[packed + j] += x[i] * x[j]
            packed += i + 1


@njit(**options)
def add_series(sums, gap, order, cells, columns, places, response, root, step, centre):  # noqa: PLR0913, PLR0917
    """Add rows in the order of their series to the components of AR(1), in place.

    Parameters
    ----------
    sums : (component, cell, packed): first rows; then later, earlier and cross products of each gap.
    gap : (row,) number of the gap between the row before and this one in `order`, -1 for a series' first row.
    """
    size = len(places) + 2
    before, now = np.zeros(size), np.zeros(size)
    for at in range(len(order)):
        row = order[at]
        before, now = now, before
        now[0] = root[row * step]
        for column in range(len(places)):
            now[column + 1] = now[0] * (columns[row, places[column]] - centre[column + 1])
        now[size - 1] = now[0] * (response[row] - centre[size - 1])
        cell, first = cells[row], 1 + 3 * gap[at]
        packed = 0
        for i in range(size):
            for j in range(i + 1):
                if gap[at] < 0:
                    sums[0, cell, packed] += now[i] * now[j]
                else:
                    sums[first, cell, packed] += now[i] * now[j]
                    sums[first + 1, cell, packed] += before[i] * before[j]
                    sums[first + 2, cell, packed] += now[i] * before[j] + before[i] * now[j]
                packed += 1


def unpack(sums, size):
    """(component, cell, packed) → (component, cell, size, size), symmetric."""
    row, column = np.indices((size, size))
    low, high = np.minimum(row, column), np.maximum(row, column)
    return sums.take(high * (high + 1) // 2 + low, axis=2)


def shift(gram, by):
    """Take `by` off every column, in place: x becomes x − by·(the column of ones), exactly.

    Parameters
    ----------
    gram : (component, cell, size, size).
    by : (size,), its first 0.
    """
    ones = gram[:, :, 0].copy()
    for i in range(len(by)):
        gram[:, :, i] += by[i] * (by * ones[:, :, :1] - ones) - ones[:, :, i, None] * by


@njit(**options)
def add_cells(gram, cells, others, times):
    """Add `times` · others (cell, size, size) to the cells of `gram` that `cells` names, in place."""
    for at in range(len(cells)):
        mine, other = gram[cells[at]], others[at]
        for i in range(mine.shape[0]):
            for j in range(mine.shape[1]):
                mine[i, j] += times * other[i, j]
