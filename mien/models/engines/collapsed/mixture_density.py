"""Densities of folded mixtures in numba: images one after the other, each from the one before by one sign change.

The images of x are D x for all products D of the folded sds' sign changes. With z = A x − A m for the first, changing
the sign of coordinate d adds 2 x_d A's column d; in Gray's order every image is one such step from the one before.
Points are worked on `TOGETHER` at a time, side by side, so that every loop runs over points.
"""

import math

import numpy as np
from numba import njit

__all__ = ["densities"]

TOGETHER = 64
options = {
    "cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"},
    "no_cfunc_wrapper": True,
}  # fmt: skip


@njit(**options)
def densities(  # noqa: C901, PLR0912, PLR0913, PLR0917
    x, columns, offset, factor, folds, flip, flip_from, sides, cut, apart, degrees, total
):
    """Add the densities of one run's points to `total` (point,), zeros; 0 where a density is too small for a number.

    Parameters
    ----------
    x : (dim, point) with phi ≥ 0 in every folded sd.
    columns : (component, dim, dim) A', a row for each of A's columns; offset : (component, dim) A m.
    factor : (component,) constants. folds : (component, fold) 1 where it has this fold's images, else 0.
    flip, flip_from : coordinates whose signs each fold changes.
    sides : (2, dim) 1 / spreads above and below; (0, 0) where they are 1.
    cut : axes beyond are Gaussian. apart : a t for each of the others instead of one for all.
    """
    dim, points = x.shape
    at, z = np.empty((dim, TOGETHER)), np.empty((dim, TOGETHER))
    base, power = np.empty(TOGETHER), np.empty(TOGETHER)
    twice = int(degrees) + (1 if apart else cut)
    for low in range(0, points, TOGETHER):
        size = min(TOGETHER, points - low)
        for component in range(factor.size):
            count = 0
            for fold in range(folds.shape[1]):
                count += folds[component, fold]
            for i in range(dim):
                for p in range(size):
                    at[i, p] = x[i, low + p]
                    z[i, p] = -offset[component, i]
            for i in range(dim):
                for d in range(i + 1):
                    weight = columns[component, d, i]
                    for p in range(size):
                        z[i, p] += weight * at[d, p]
            image = 1
            while True:
                for p in range(size):
                    base[p], power[p] = 1.0, factor[component]
                for i in range(dim):
                    above, below = (sides[0, i], sides[1, i]) if sides.size else (1.0, 1.0)
                    for p in range(size):
                        value = z[i, p] * (above if z[i, p] > 0.0 else below)
                        value *= value
                        if i >= cut:
                            power[p] *= math.exp(-0.5 * value)
                        elif apart:
                            base[p] *= 1.0 + value / degrees
                        else:
                            base[p] += value / degrees
                if twice & 1:
                    for p in range(size):
                        power[p] /= math.sqrt(base[p])
                for p in range(size):
                    base[p] = 1.0 / base[p]
                left = twice >> 1
                while left:
                    for p in range(size):
                        if left & 1:
                            power[p] *= base[p]
                        base[p] *= base[p]
                    left >>= 1
                for p in range(size):
                    total[low + p] += power[p]
                if image == 1 << count:
                    break
                bit, fold = 0, -1
                while not (image >> bit) & 1:
                    bit += 1
                while bit >= 0:  # the bit-th of the folds that this component has
                    fold += 1
                    bit -= folds[component, fold]
                for k in range(flip_from[fold], flip_from[fold + 1]):
                    d = flip[k]
                    for p in range(size):
                        at[d, p] = -at[d, p]
                    for i in range(d, dim):
                        weight = 2.0 * columns[component, d, i]
                        for p in range(size):
                            z[i, p] += weight * at[d, p]
                image += 1
