r"""The joint log density of a mixed model with another likelihood than the Gaussian, and its gradient, row by row.

    η_m = o_m + A_m w        linear predictors: the mean's (m = 0), then one of every further parameter
    log p(y | η)             the family's density of a row, with its derivatives by η
    w = (u_1 … u_K, β)       group effects in `group_coordinates` (σ² = 1), then all coefficients, whitened by C

    family                   η_0        further η                    a row is
    student_t                μ          log σ, log ν                 a number
    ordered_beta             logit μ    log φ, c_0, log(c_1 − c_0)   0, inside (0, 1), or 1
    zero_inflated_beta       logit μ    log φ, logit zi              0 or inside
    zero_one_inflated_beta   logit μ    log φ, logit zoi, logit coi  0, inside, or 1
    hurdle_gamma             log μ      log shape, logit hu          0 or above

Everything is one buffer of flat arrays (`pack`) behind one pointer, so that numba compiles this once for every model
and no Python runs while nutpie samples. numba's cache looks at this file alone: what the density calls is here, but for
`group_coordinates`.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, cfunc, njit, types

from mien.models.engines.group_coordinates import (
    fill_group_effects,
    group_effects_reverse,
    times,
    transposed_times,
)

__all__ = [
    "CODES", "INSIDE", "ONE", "ZERO", "Model", "address", "log_density", "log_gamma_and_digamma", "pack",
    "row_densities",
]  # fmt: skip

CODES = {
    "student_t": 0, "ordered_beta": 1, "zero_inflated_beta": 2, "zero_one_inflated_beta": 3, "hurdle_gamma": 4,
}  # fmt: skip
STUDENT_T, ORDERED_BETA, ZERO_INFLATED_BETA, ZERO_ONE_INFLATED_BETA = 0, 1, 2, 3
ZERO, INSIDE, ONE = (
    0,
    1,
    2,
)  # what a row is; `INSIDE` is also every row of student_t and those above 0 of hurdle_gamma
NORMAL, HALF_NORMAL, HALF_STUDENT_T, EXPONENTIAL, ABOVE_BEFORE = 0, 1, 2, 3, 4
HEADER = 11  # whole numbers before the arrays of a packed model


class Model(NamedTuple):
    """One outcome's model as flat arrays; P coefficients come last among the S entries of w.

    family : of `CODES`.
    start, levels, terms, first_sd, first_partial : (block,) as in `gaussian_kernel.Layout`.
    first_entry : (predictor + 1,) the entries of a row that belong to each predictor.
    entry : (row, entry) place in w; value : (row, entry) its factor.
    offset : (predictor, row), from coefficients held fixed.
    kind : (row,) ZERO, INSIDE or ONE.
    data : (row, 2) of rows INSIDE: log y and log(1 − y) of the betas, y of student_t, y and log y of hurdle_gamma.
    naive, whiten_data, whiten_column, whiten_row, log_information : as in `gaussian_kernel.Reference`.
    prior_kind, prior_number, prior_scale : (P,) NORMAL: mean, sd. HALF_… of exp(entry): df, scale.
        ABOVE_BEFORE: Normal(mean, sd) prior of the entry before plus exp(entry).
    sd_kind, sd_number, sd_scale : (sd,) as before; NORMAL is a fixed sd, `sd_scale`.
    sd_at, partial_at : place in the sampler's vector, -1 of fixed ones.
    partial_number : alpha of (1 − p²)^(alpha − 1), or the fixed value.
    """

    family: int
    start: np.ndarray
    levels: np.ndarray
    terms: np.ndarray
    first_sd: np.ndarray
    first_partial: np.ndarray
    first_entry: np.ndarray
    entry: np.ndarray
    value: np.ndarray
    offset: np.ndarray
    kind: np.ndarray
    data: np.ndarray
    naive: np.ndarray
    whiten_data: np.ndarray
    whiten_column: np.ndarray
    whiten_row: np.ndarray
    log_information: np.ndarray
    prior_kind: np.ndarray
    prior_number: np.ndarray
    prior_scale: np.ndarray
    sd_kind: np.ndarray
    sd_number: np.ndarray
    sd_scale: np.ndarray
    sd_at: np.ndarray
    partial_at: np.ndarray
    partial_number: np.ndarray


def pack(model: Model) -> np.ndarray:
    """The model as one int64 buffer; its second part is read as float64."""
    places = np.concatenate([
        model.start, model.levels, model.terms, model.first_sd, model.first_partial, model.first_entry,
        model.entry.ravel(), model.kind, model.whiten_column, model.whiten_row, model.prior_kind, model.sd_kind,
        model.sd_at, model.partial_at,
    ]).astype(np.int64)  # fmt: skip
    numbers = np.concatenate([
        model.value.ravel(), model.offset.ravel(), model.data.ravel(), model.naive, model.whiten_data,
        model.log_information, model.prior_number, model.prior_scale, model.sd_number, model.sd_scale,
        model.partial_number,
    ]).astype(np.float64)  # fmt: skip
    header = np.array([
        len(places), len(numbers), model.family, len(model.start), len(model.first_entry) - 1, len(model.kind),
        len(model.naive), len(model.whiten_data), len(model.prior_kind), len(model.sd_kind),
        len(model.partial_number),
    ])  # fmt: skip
    return np.concatenate([header, places, numbers.view(np.int64)])


# Special functions


@njit(cache=True)
def log_gamma_and_digamma(x):
    """Log Γ(x) and ψ(x) for x > 0: Stirling's series at x + 8, taken back by Γ(x + 8) = x (x + 1) … (x + 7) Γ(x)."""
    if x > 1e15:
        return x * (np.log(x) - 1.0), np.log(x)
    product, slope = x, 1.0
    if x < 20.0:
        for k in range(1, 8):
            slope = slope * (x + k) + product
            product *= x + k
        z, back, ratio = x + 8.0, np.log(product), slope / product
    else:
        z, back, ratio = x, 0.0, 0.0
    inverse = 1.0 / z
    q = inverse * inverse
    tail = inverse * (
        1 / 12
        - q * (1 / 360 - q * (1 / 1260 - q * (1 / 1680 - q * (1 / 1188 - q * (691 / 360360 - q / 156)))))
    )
    log_z = np.log(z)
    series = q * (
        1 / 12 - q * (1 / 120 - q * (1 / 252 - q * (1 / 240 - q * (1 / 132 - q * (691 / 32760 - q / 12)))))
    )
    log_gamma = (z - 0.5) * log_z - z + 0.9189385332046727 + tail - back
    return log_gamma, log_z - 0.5 * inverse - series - ratio


@njit(cache=True)
def _log_logistic(x):
    """Log of s(x) = 1 / (1 + e^−x), and s(−x)."""
    if x >= 0.0:
        small = np.exp(-x)
        return -np.log1p(small), small / (1.0 + small)
    small = np.exp(x)
    return x - np.log1p(small), 1.0 / (1.0 + small)


# Rows


@njit(cache=True)
def _student_t(y, mu, log_sigma, log_nu, constants, out):
    nu = np.exp(log_nu)
    if log_nu != constants[0]:
        constants[0] = log_nu
        upper, upper_slope = log_gamma_and_digamma(0.5 * (nu + 1.0))
        lower, lower_slope = log_gamma_and_digamma(0.5 * nu)
        constants[1] = upper - lower - 0.5 * np.log(nu * np.pi)
        constants[2] = 0.5 * nu * (upper_slope - lower_slope) - 0.5
    sigma = np.exp(log_sigma)
    r = (y - mu) / sigma
    tail = np.log1p(r * r / nu)
    share = r / (nu + r * r) * (nu + 1.0)
    out[0] = share / sigma
    out[1] = share * r - 1.0
    out[2] = constants[2] - 0.5 * nu * tail + 0.5 * share * r
    return constants[1] - log_sigma - 0.5 * (nu + 1.0) * tail


@njit(cache=True)
def _beta(log_y, log_rest, eta, log_phi, constants, out):
    """Beta(μφ, (1 − μ)φ) of a row inside (0, 1); adds to out[0] and out[1]."""
    if log_phi != constants[0]:
        constants[0] = log_phi
        constants[1] = np.exp(log_phi)
        constants[2], constants[3] = log_gamma_and_digamma(constants[1])
    phi = constants[1]
    small = np.exp(-abs(eta))
    larger, smaller = 1.0 / (1.0 + small), small / (1.0 + small)
    mu, rest = (larger, smaller) if eta >= 0.0 else (smaller, larger)
    p, q = mu * phi, rest * phi
    log_p, slope_p = log_gamma_and_digamma(p)
    log_q, slope_q = log_gamma_and_digamma(q)
    from_p, from_q = log_y - slope_p, log_rest - slope_q
    out[0] += phi * mu * rest * (from_p - from_q)
    out[1] += phi * constants[3] + p * from_p + q * from_q
    return constants[2] - log_p - log_q + (p - 1.0) * log_y + (q - 1.0) * log_rest


@njit(cache=True)
def _ordered_beta(kind, log_y, log_rest, predictors, constants, out):
    eta, log_phi, cut, gap = predictors[0], predictors[1], predictors[2], np.exp(predictors[3])
    log_s_a, s_minus_a = _log_logistic(eta - cut)
    if kind == ZERO:  # log s(−a)
        out[0] = s_minus_a - 1.0
        out[2] = 1.0 - s_minus_a
        return log_s_a - (eta - cut)
    log_s_b, s_minus_b = _log_logistic(eta - cut - gap)
    if kind == ONE:  # log s(b)
        out[0] = s_minus_b
        out[2] = -s_minus_b
        out[3] = -gap * s_minus_b
        return log_s_b
    s_b = 1.0 - s_minus_b  # log(s(a) − s(b)) = log s(a) + log s(−b) + log(1 − e^−gap)
    both = s_minus_a - s_b
    out[0] = both
    out[2] = -both
    out[3] = gap * (s_b + 1.0 / np.expm1(gap))
    between = log_s_a + (log_s_b - (eta - cut - gap)) + np.log(-np.expm1(-gap))
    return between + _beta(log_y, log_rest, eta, log_phi, constants, out)


@njit(cache=True)
def _chance(yes, logit, out, place):
    """Bernoulli log probability of what happened, or not, given the logit of its chance."""
    log_s, s_minus = _log_logistic(logit)
    if yes:
        out[place] = s_minus
        return log_s
    out[place] = s_minus - 1.0
    return log_s - logit


@njit(cache=True)
def _hurdle_gamma(y, log_y, log_mu, log_shape, constants, out):
    if log_shape != constants[0]:
        constants[0] = log_shape
        constants[1] = np.exp(log_shape)
        constants[2], constants[3] = log_gamma_and_digamma(constants[1])
    shape = constants[1]
    ratio = y * np.exp(-log_mu)
    out[0] = shape * (ratio - 1.0)
    out[1] = shape * (log_shape + 1.0 - log_mu - constants[3] + log_y - ratio)
    return shape * (log_shape - log_mu) - constants[2] + (shape - 1.0) * log_y - shape * ratio


@njit(cache=True)
def _row(family, kind, first, second, eta, constants, out):
    """Log density of one row; its derivatives by η in `out`."""
    for m in range(eta.size):
        out[m] = 0.0
    if family == STUDENT_T:
        return _student_t(first, eta[0], eta[1], eta[2], constants, out)
    if family == ORDERED_BETA:
        return _ordered_beta(kind, first, second, eta, constants, out)
    value = _chance(kind != INSIDE, eta[2], out, 2)
    if kind != INSIDE:
        if family == ZERO_ONE_INFLATED_BETA:
            value += _chance(kind == ONE, eta[3], out, 3)
        return value
    if family in (ZERO_INFLATED_BETA, ZERO_ONE_INFLATED_BETA):
        return value + _beta(first, second, eta[0], eta[1], constants, out)
    return value + _hurdle_gamma(first, second, eta[0], eta[1], constants, out)


@njit(cache=True)
def row_densities(family, kind, data, eta):
    """Log density and derivatives of every row: eta (predictor, row) → (row,), (predictor, row)."""
    density, slope = np.empty(kind.size), np.empty(eta.shape)
    constants = np.full(4, np.nan)
    here, out = np.empty(eta.shape[0]), np.empty(eta.shape[0])
    for i in range(kind.size):
        here[:] = eta[:, i]
        density[i] = _row(family, kind[i], data[i, 0], data[i, 1], here, constants, out)
        slope[:, i] = out
    return density, slope


@njit(cache=True)
def _rows(family, first_entry, entry, value, offset, kind, data, w, w_bar):  # noqa: PLR0913, PLR0917
    """Log density of all rows; its gradient by w is added to `w_bar`."""
    predictors, rows = offset.shape
    constants = np.full(4, np.nan)
    eta, out = np.empty(predictors), np.empty(predictors)
    total = 0.0
    for i in range(rows):
        for m in range(predictors):
            eta[m] = offset[m, i]
            for e in range(first_entry[m], first_entry[m + 1]):
                eta[m] += value[i, e] * w[entry[i, e]]
        total += _row(family, kind[i], data[i, 0], data[i, 1], eta, constants, out)
        for m in range(predictors):
            if out[m] != 0.0:
                for e in range(first_entry[m], first_entry[m + 1]):
                    w_bar[entry[i, e]] += value[i, e] * out[m]
    return total


# Priors


@njit(cache=True)
def _positive(kind, log_value, number, scale):
    """Log density of a positive parameter on the log scale, Jacobian included, and its slope."""
    x = np.exp(log_value)
    if kind == HALF_NORMAL:
        ratio = (x / scale) ** 2
        return log_value - 0.5 * ratio, 1.0 - ratio
    if kind == HALF_STUDENT_T:
        ratio = (x / scale) ** 2 / number
        return log_value - 0.5 * (number + 1.0) * np.log1p(ratio), 1.0 - (number + 1.0) * ratio / (
            1.0 + ratio
        )
    return log_value - number * x, 1.0 - number * x


@njit(cache=True)
def _coefficients(kind, number, scale, first, w, w_bar):
    """Log prior of the coefficients; its gradient is added to `w_bar`."""
    value = 0.0
    for j in range(kind.size):
        at = first + j
        if kind[j] in (NORMAL, ABOVE_BEFORE):
            gap = np.exp(w[at]) if kind[j] == ABOVE_BEFORE else 0.0
            x = w[at - 1] + gap if kind[j] == ABOVE_BEFORE else w[at]
            away = (x - number[j]) / scale[j]
            value -= 0.5 * away * away
            if kind[j] == ABOVE_BEFORE:
                value += w[at]
                w_bar[at - 1] -= away / scale[j]
                w_bar[at] += 1.0 - gap * away / scale[j]
            else:
                w_bar[at] -= away / scale[j]
        else:
            density, slope = _positive(kind[j], w[at], number[j], scale[j])
            value += density
            w_bar[at] += slope
    return value


# The density


@njit(cache=True)
def log_density(q, buffer_int, buffer_float, gradient):  # noqa: PLR0915  (taking one buffer apart)
    """Joint log density at the sampler's vector q, up to a constant; its gradient in `gradient`.

    q = (ξ, log of the free sds, hyperbolic angles of the free partial correlations).
    """
    i = HEADER
    f = i + buffer_int[0]
    family, blocks, predictors, rows = buffer_int[2], buffer_int[3], buffer_int[4], buffer_int[5]
    size, whiten, count, sds, partials = (
        buffer_int[6], buffer_int[7], buffer_int[8], buffer_int[9], buffer_int[10],
    )  # fmt: skip
    start = buffer_int[i : i + blocks]
    levels = buffer_int[i + blocks : i + 2 * blocks]
    terms = buffer_int[i + 2 * blocks : i + 3 * blocks]
    first_sd = buffer_int[i + 3 * blocks : i + 4 * blocks]
    first_partial = buffer_int[i + 4 * blocks : i + 5 * blocks]
    i += 5 * blocks
    first_entry = buffer_int[i : i + predictors + 1]
    i += predictors + 1
    entries = first_entry[predictors]
    entry = buffer_int[i : i + rows * entries].reshape(rows, entries)
    i += rows * entries
    kind = buffer_int[i : i + rows]
    i += rows
    whiten_column = buffer_int[i : i + whiten]
    i += whiten
    whiten_row = buffer_int[i : i + size + 1]
    i += size + 1
    prior_kind = buffer_int[i : i + count]
    i += count
    sd_kind = buffer_int[i : i + sds]
    sd_at = buffer_int[i + sds : i + 2 * sds]
    i += 2 * sds
    partial_at = buffer_int[i : i + partials]

    value = buffer_float[f : f + rows * entries].reshape(rows, entries)
    f += rows * entries
    offset = buffer_float[f : f + predictors * rows].reshape(predictors, rows)
    f += predictors * rows
    data = buffer_float[f : f + 2 * rows].reshape(rows, 2)
    f += 2 * rows
    naive = buffer_float[f : f + size]
    f += size
    whiten_data = buffer_float[f : f + whiten]
    f += whiten
    log_information = buffer_float[f : f + sds]
    f += sds
    prior_number = buffer_float[f : f + count]
    prior_scale = buffer_float[f + count : f + 2 * count]
    f += 2 * count
    sd_number = buffer_float[f : f + sds]
    sd_scale = buffer_float[f + sds : f + 2 * sds]
    f += 2 * sds
    partial_number = buffer_float[f : f + partials]

    log_sd, partial = np.empty(sds), np.empty(partials)
    for j in range(sds):
        log_sd[j] = np.log(sd_scale[j]) if sd_at[j] < 0 else q[sd_at[j]]
    for j in range(partials):
        partial[j] = partial_number[j] if partial_at[j] < 0 else np.tanh(q[partial_at[j]])

    v = np.empty(size)
    times(whiten_data, whiten_column, whiten_row, q[:size], v)
    w = naive + v  # right for the coefficients; the group effects come next
    z = np.zeros(size)
    fill_group_effects(
        v, log_sd, partial, 0.0, start, levels, terms, first_sd, first_partial, naive, log_information, w, z
    )
    w_bar, log_sd_bar, partial_bar = np.zeros(size), np.zeros(sds), np.zeros(partials)
    total = _rows(family, first_entry, entry, value, offset, kind, data, w, w_bar)
    total += _coefficients(prior_kind, prior_number, prior_scale, size - count, w, w_bar)
    total += group_effects_reverse(
        w, z, v, w_bar, log_sd, partial, 0.0, start, levels, terms, first_sd, first_partial, naive,
        log_information, log_sd_bar, partial_bar, np.zeros(1),
    )  # fmt: skip
    transposed_times(whiten_data, whiten_column, whiten_row, w_bar, gradient[:size])
    for j in range(sds):
        if sd_at[j] >= 0:
            density, slope = _positive(sd_kind[j], log_sd[j], sd_number[j], sd_scale[j])
            total += density
            gradient[sd_at[j]] = log_sd_bar[j] + slope
    for j in range(partials):
        if partial_at[j] >= 0:
            p, angle = partial[j], abs(q[partial_at[j]])
            total += 2.0 * partial_number[j] * (np.log(2.0) - angle - np.log1p(np.exp(-2.0 * angle)))
            gradient[partial_at[j]] = partial_bar[j] * (1.0 - p * p) - 2.0 * partial_number[j] * p
    return total


_POINTER = types.CPointer(types.float64)
_SIGNATURE = types.int64(types.uint64, _POINTER, _POINTER, _POINTER, types.voidptr)


@cfunc(_SIGNATURE, cache=True)
def _foreign(dim, q, gradient, value, buffer):
    """`log_density` for nutpie: 0, or a number above 0 where the density is not finite."""
    head = carray(buffer, 2, np.int64)
    length = HEADER + head[0] + head[1]
    slope = carray(gradient, dim)
    total = log_density(
        carray(q, dim), carray(buffer, length, np.int64), carray(buffer, length, np.float64), slope
    )
    carray(value, 1)[0] = total
    if not np.isfinite(total):
        return 4
    for j in range(slope.size):
        if not np.isfinite(slope[j]):
            return 3
    return 0


def address() -> int:
    """Where the compiled density is, for nutpie."""
    return _foreign.address
