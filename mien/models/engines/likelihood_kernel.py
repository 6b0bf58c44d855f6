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

Standard deviations have both signs here: Σ and DΣD are one covariance for a diagonal D of signs, so that sd = 0 is a
point like any other on the way and no far end of a logarithm, and draws are folded back (`unfolded_draws`).

Everything is one buffer of flat arrays (`pack`) behind one pointer, so that numba compiles this once for every model
and no Python runs while nutpie samples. numba's cache looks at this file alone: what the density calls is here, but for
`group_coordinates`.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, cfunc, njit, types  # pyright: ignore[reportPrivateImportUsage]

from mien.models.engines.group_coordinates import (
    fill_group_effects,
    group_effects_reverse,
    times,
    transposed_times,
)

__all__ = [
    "CODES", "INSIDE", "ONE", "ZERO", "Model", "address", "log_density",
    "log_gamma_and_digamma", "pack", "row_densities", "unfolded_draws",
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
HALF_LOG_2_PI = 0.9189385332046727
EASY = 300.0  # |η| and cutpoints up to which exponentials of them neither overflow nor vanish
KEPT = 11  # numbers that rows keep for the next one
FREE = {"contract", "reassoc", "arcp"}  # order of sums and products is free; infinities and NaN stay
HEADER = 11  # whole numbers before the arrays of a packed model


class Model(NamedTuple):
    """One outcome's model as flat arrays; P coefficients come last among the S entries of w.

    family : of `CODES`.
    start, levels, terms, first_sd, first_partial : (block,) as in `gaussian_kernel.Layout`.
    first_entry : (predictor + 1,) the entries of a row that belong to each predictor.
    entry : (row, entry) place in w; value : (row, entry) its factor.
    same : (predictor,) 1 where all rows have the same predictor.
    offset : (row, predictor), from coefficients held fixed.
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
    same: np.ndarray
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
        model.same, model.entry.ravel(), model.kind, model.whiten_column, model.whiten_row, model.prior_kind,
        model.sd_kind, model.sd_at, model.partial_at,
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


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _shifted(x):
    """Stirling's series: z, Σ of log Γ(z) beyond (z − ½) log z − z + ½ log 2π, that of ψ(z), P and P'/P.

    z = x + 8 and P = x (x + 1) … (x + 7) = Γ(z) / Γ(x) below 20, else z = x and P = 1.
    """
    z, product, ratio = x, 1.0, 0.0
    if x < 20.0:
        product, slope = x, 1.0
        for k in range(1, 8):
            slope = slope * (x + k) + product
            product *= x + k
        z, ratio = x + 8.0, slope / product
    inverse = 1.0 / z
    q = inverse * inverse
    of_gamma = inverse * (
        1 / 12
        - q * (1 / 360 - q * (1 / 1260 - q * (1 / 1680 - q * (1 / 1188 - q * (691 / 360360 - q / 156)))))
    )
    of_digamma = -0.5 * inverse - q * (
        1 / 12 - q * (1 / 120 - q * (1 / 252 - q * (1 / 240 - q * (1 / 132 - q * (691 / 32760 - q / 12)))))
    )
    return z, of_gamma, of_digamma, product, ratio


@njit(cache=True, error_model="numpy", fastmath=FREE)
def log_gamma_and_digamma(x):
    """Log Γ(x) and ψ(x) for x > 0."""
    z, of_gamma, of_digamma, product, ratio = _shifted(x)
    log_z = np.log(z)
    return (z - 0.5) * log_z - z + HALF_LOG_2_PI + of_gamma - np.log(product), log_z + of_digamma - ratio


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _two_log_gammas(p, q):
    """Log Γ(p) + log Γ(q), ψ(p) and ψ(q); one logarithm fewer than apart."""
    z, gamma_z, digamma_z, product_z, ratio_z = _shifted(p)
    x, gamma_x, digamma_x, product_x, ratio_x = _shifted(q)
    log_z, log_x = np.log(z), np.log(x)
    log_gammas = (z - 0.5) * log_z - z + (x - 0.5) * log_x - x + 2.0 * HALF_LOG_2_PI + gamma_z + gamma_x
    return (
        log_gammas - np.log(product_z * product_x),
        log_z + digamma_z - ratio_z,
        log_x + digamma_x - ratio_x,
    )


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _log_logistic(x):
    """Log of s(x) = 1 / (1 + e^−x), and s(−x)."""
    if x >= 0.0:
        small = np.exp(-x)
        return -np.log1p(small), small / (1.0 + small)
    small = np.exp(x)
    return x - np.log1p(small), 1.0 / (1.0 + small)


# Rows. `kept` holds what depends on further parameters alone: most often they are the same in every row.


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _student_t(y, mu, log_sigma, log_nu, kept, out):
    if log_nu != kept[0]:
        nu = np.exp(log_nu)
        upper, upper_slope = log_gamma_and_digamma(0.5 * (nu + 1.0))
        lower, lower_slope = log_gamma_and_digamma(0.5 * nu)
        kept[0], kept[1] = log_nu, nu
        kept[2] = upper - lower - 0.5 * np.log(nu * np.pi)
        kept[3] = 0.5 * nu * (upper_slope - lower_slope) - 0.5
    if log_sigma != kept[4]:
        kept[4], kept[5] = log_sigma, np.exp(-log_sigma)
    nu, inverse = kept[1], kept[5]
    r = (y - mu) * inverse
    tail = np.log1p(r * r / nu)
    share = r / (nu + r * r) * (nu + 1.0)
    out[0] = share * inverse
    out[1] = share * r - 1.0
    out[2] = kept[3] - 0.5 * nu * tail + 0.5 * share * r
    return kept[2] - log_sigma - 0.5 * (nu + 1.0) * tail


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _keep_gamma(log_x, kept):
    """`kept` = log x, x, log Γ(x), ψ(x)."""
    if log_x != kept[0]:
        kept[0], kept[1] = log_x, np.exp(log_x)
        kept[2], kept[3] = log_gamma_and_digamma(kept[1])


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _beta(log_y, log_rest, eta, log_phi, kept, out):
    """Beta(μφ, (1 − μ)φ) of a row inside (0, 1); adds to out[0] and out[1]."""
    _keep_gamma(log_phi, kept)
    phi = kept[1]
    small = np.exp(-abs(eta))
    larger = 1.0 / (1.0 + small)
    smaller = small * larger
    mu, rest = (larger, smaller) if eta >= 0.0 else (smaller, larger)
    p, q = mu * phi, rest * phi
    log_gammas, slope_p, slope_q = _two_log_gammas(p, q)
    from_p, from_q = log_y - slope_p, log_rest - slope_q
    out[0] += phi * mu * rest * (from_p - from_q)
    out[1] += phi * kept[3] + p * from_p + q * from_q
    return kept[2] - log_gammas + (p - 1.0) * log_y + (q - 1.0) * log_rest


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _keep_cutpoints(cut, log_gap, kept):
    """`kept[4:]` = c_0, log(c_1 − c_0), c_1 − c_0, e^c_0, e^−c_1, log(1 − e^−gap), 1 / (e^gap − 1)."""
    if cut != kept[4] or log_gap != kept[5]:
        gap = np.exp(log_gap)
        kept[4], kept[5], kept[6] = cut, log_gap, gap
        kept[7], kept[8] = np.exp(cut), np.exp(-cut - gap)
        kept[9], kept[10] = np.log(-np.expm1(-gap)), 1.0 / np.expm1(gap)


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _ordered_beta(kind, log_y, log_rest, predictors, kept, out):
    eta = predictors[0]
    _keep_cutpoints(predictors[2], predictors[3], kept)
    cut, gap = kept[4], kept[6]
    if kind == ZERO:  # log s(−a)
        log_s, s_minus = _log_logistic(cut - eta)
        out[0], out[2] = -s_minus, s_minus
        return log_s
    if kind == ONE:  # log s(b)
        log_s, s_minus = _log_logistic(eta - cut - gap)
        out[0], out[2], out[3] = s_minus, -s_minus, -gap * s_minus
        return log_s
    if abs(eta) + abs(cut) + gap < EASY:  # e^−a and e^b from one exponential; log(1 + x) errs by 1e-16 in all
        rise = np.exp(eta)
        down, up = kept[7] / rise, kept[8] * rise
        s_minus_a, s_b = down / (1.0 + down), up / (1.0 + up)
        between = -np.log((1.0 + down) * (1.0 + up))
    else:
        log_s_a, s_minus_a = _log_logistic(eta - cut)
        log_s_minus_b, s_b = _log_logistic(cut + gap - eta)
        between = log_s_a + log_s_minus_b
    both = s_minus_a - s_b  # log(s(a) − s(b)) = log s(a) + log s(−b) + log(1 − e^−gap)
    out[0], out[2], out[3] = both, -both, gap * (s_b + kept[10])
    return between + kept[9] + _beta(log_y, log_rest, eta, predictors[1], kept, out)


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _chance(yes, logit, kept, out, place):
    """Bernoulli log probability of what happened, or not, given the logit of its chance; kept: logit, log s, s(−)."""
    if logit != kept[0]:
        kept[0] = logit
        kept[1], kept[2] = _log_logistic(logit)
    if yes:
        out[place] = kept[2]
        return kept[1]
    out[place] = kept[2] - 1.0
    return kept[1] - logit


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _hurdle_gamma(y, log_y, log_mu, log_shape, kept, out):
    _keep_gamma(log_shape, kept)
    shape = kept[1]
    ratio = y * np.exp(-log_mu)
    out[0] = shape * (ratio - 1.0)
    out[1] = shape * (log_shape + 1.0 - log_mu - kept[3] + log_y - ratio)
    return shape * (log_shape - log_mu) - kept[2] + (shape - 1.0) * log_y - shape * ratio


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _row(family, kind, first, second, eta, kept, out):
    """Log density of one row; its derivatives by η in `out`."""
    for m in range(eta.size):
        out[m] = 0.0
    if family == STUDENT_T:
        return _student_t(first, eta[0], eta[1], eta[2], kept, out)
    if family == ORDERED_BETA:
        return _ordered_beta(kind, first, second, eta, kept, out)
    value = _chance(kind != INSIDE, eta[2], kept[4:7], out, 2)
    if kind != INSIDE:
        if family == ZERO_ONE_INFLATED_BETA:
            value += _chance(kind == ONE, eta[3], kept[7:10], out, 3)
        return value
    if family in (ZERO_INFLATED_BETA, ZERO_ONE_INFLATED_BETA):
        return value + _beta(first, second, eta[0], eta[1], kept, out)
    return value + _hurdle_gamma(first, second, eta[0], eta[1], kept, out)


@njit(cache=True, error_model="numpy")
def row_densities(family, kind, data, eta):
    """Log density and derivatives of every row: eta (predictor, row) → (row,), (predictor, row)."""
    density, slope = np.empty(kind.size), np.empty(eta.shape)
    kept = np.full(KEPT, np.nan)
    here, out = np.empty(eta.shape[0]), np.empty(eta.shape[0])
    for i in range(kind.size):
        here[:] = eta[:, i]
        density[i] = _row(family, kind[i], data[i, 0], data[i, 1], here, kept, out)
        slope[:, i] = out
    return density, slope


@njit(cache=True, error_model="numpy")
def _rows(family, first_entry, same, entry, value, offset, kind, data, w, w_bar):  # noqa: PLR0913, PLR0917
    """Log density of all rows; its gradient by w is added to `w_bar`."""
    rows, predictors = offset.shape
    kept = np.full(KEPT, np.nan)
    eta, out, together = np.empty(predictors), np.empty(predictors), np.zeros(predictors)
    varying = np.flatnonzero(same == 0)
    for m in range(predictors):
        if same[m]:
            eta[m] = _predictor(m, 0, first_entry, entry, value, offset, w)
    total = 0.0
    for i in range(rows):
        for m in varying:
            eta[m] = _predictor(m, i, first_entry, entry, value, offset, w)
        total += _row(family, kind[i], data[i, 0], data[i, 1], eta, kept, out)
        for m in varying:
            _pass_back(m, i, first_entry, entry, value, out[m], w_bar)
        for m in range(predictors):
            together[m] += out[m]
    for m in range(predictors):
        if same[m]:
            _pass_back(m, 0, first_entry, entry, value, together[m], w_bar)
    return total


@njit(cache=True, error_model="numpy")
def _predictor(m, i, first_entry, entry, value, offset, w):
    eta = offset[i, m]
    for e in range(first_entry[m], first_entry[m + 1]):
        eta += value[i, e] * w[entry[i, e]]
    return eta


@njit(cache=True, error_model="numpy")
def _pass_back(m, i, first_entry, entry, value, slope, w_bar):
    """Adjoint of `_predictor`."""
    for e in range(first_entry[m], first_entry[m + 1]):
        w_bar[entry[i, e]] += value[i, e] * slope


# Priors


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def log_density(q, buffer_int, buffer_float, gradient):  # noqa: PLR0915  (taking one buffer apart)
    """Joint log density at the sampler's vector q, up to a constant; its gradient in `gradient`.

    q = (ξ, the free sds as asinh(± sd / c), hyperbolic angles of the free partial correlations), c = 1 / √h.
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
    same = buffer_int[i : i + predictors]
    i += predictors
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
    offset = buffer_float[f : f + predictors * rows].reshape(rows, predictors)
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

    v = np.empty(size)
    times(whiten_data, whiten_column, whiten_row, q[:size], v)
    log_sd, partial, sign = np.empty(sds), np.empty(partials), np.ones(size)
    _fold(
        q, v, levels, terms, start, first_sd, first_partial, sd_at, sd_scale, partial_at, partial_number,
        log_information, log_sd, partial, sign,
    )  # fmt: skip
    w = naive + v  # right for the coefficients; the group effects come next
    z = np.zeros(size)
    fill_group_effects(
        v, log_sd, partial, 0.0, start, levels, terms, first_sd, first_partial, naive, log_information, w, z
    )
    w_bar, log_sd_bar, partial_bar = np.zeros(size), np.zeros(sds), np.zeros(partials)
    total = _rows(family, first_entry, same, entry, value, offset, kind, data, w, w_bar)
    total += _coefficients(prior_kind, prior_number, prior_scale, size - count, w, w_bar)
    total += group_effects_reverse(
        w, z, v, w_bar, log_sd, partial, 0.0, start, levels, terms, first_sd, first_partial, naive,
        log_information, log_sd_bar, partial_bar, np.zeros(1),
    )  # fmt: skip
    for j in range(size):
        w_bar[j] *= sign[j]
    transposed_times(whiten_data, whiten_column, whiten_row, w_bar, gradient[:size])
    for j in range(sds):
        if sd_at[j] >= 0:
            density, slope = _positive(sd_kind[j], log_sd[j], sd_number[j], sd_scale[j])
            along, size_along = q[sd_at[j]], abs(q[sd_at[j]])
            total += density - log_sd[j] + size_along + np.log1p(np.exp(-2.0 * size_along))  # log cosh
            gradient[sd_at[j]] = (log_sd_bar[j] + slope - 1.0) / np.tanh(along) + np.tanh(along)
    for j in range(partials):
        if partial_at[j] >= 0:
            p, angle = np.tanh(q[partial_at[j]]), abs(q[partial_at[j]])
            flip = partial[j] * p < 0.0
            slope = -partial_bar[j] if flip else partial_bar[j]
            total += 2.0 * partial_number[j] * (np.log(2.0) - angle - np.log1p(np.exp(-2.0 * angle)))
            gradient[partial_at[j]] = slope * (1.0 - p * p) - 2.0 * partial_number[j] * p
    return total


@njit(cache=True, error_model="numpy")
def _fold(  # noqa: PLR0913, PLR0917
    q, v, levels, terms, start, first_sd, first_partial, sd_at, sd_scale, partial_at, partial_number,
    log_information, log_sd, partial, sign,
):  # fmt: skip
    """Log of the sds and the partial correlations at q, and v with the signs of the sds taken over."""
    for j in range(log_sd.size):
        if sd_at[j] < 0:
            log_sd[j] = np.log(sd_scale[j])
        else:
            log_sd[j] = np.log(abs(np.sinh(q[sd_at[j]]))) - 0.5 * log_information[j]
    for j in range(partial.size):
        partial[j] = partial_number[j] if partial_at[j] < 0 else np.tanh(q[partial_at[j]])
    for b in range(start.size):
        place = first_partial[b]
        for i in range(terms[b]):
            at = sd_at[first_sd[b] + i]
            negative = at >= 0 and q[at] < 0.0
            for j in range(i):
                other = sd_at[first_sd[b] + j]
                if negative != (other >= 0 and q[other] < 0.0):
                    partial[place] = -partial[place]
                place += 1
            if negative:
                for level in range(levels[b]):
                    entry = start[b] + level * terms[b] + i
                    sign[entry] = -1.0
                    v[entry] = -v[entry]


@njit(cache=True, error_model="numpy")
def unfolded_draws(  # noqa: PLR0913, PLR0917
    draws, naive, whiten_data, whiten_column, whiten_row, log_information, start, levels, terms, first_sd,
    first_partial, sd_at, sd_scale, partial_at, partial_number,
):  # fmt: skip
    """The sampler's vectors (draw, entry) → w (draw, effect), sds (draw, sd), partial correlations (draw, partial)."""
    count, size = draws.shape[0], naive.size
    w_of, z, v = np.empty((count, size)), np.zeros(size), np.empty(size)
    sd_of, partial_of = np.empty((count, sd_at.size)), np.empty((count, partial_at.size))
    for d in range(count):
        times(whiten_data, whiten_column, whiten_row, draws[d, :size], v)
        _fold(
            draws[d], v, levels, terms, start, first_sd, first_partial, sd_at, sd_scale, partial_at,
            partial_number, log_information, sd_of[d], partial_of[d], np.ones(size),
        )  # fmt: skip
        w_of[d] = naive + v
        fill_group_effects(
            v, sd_of[d], partial_of[d], 0.0, start, levels, terms, first_sd, first_partial, naive,
            log_information, w_of[d], z,
        )  # fmt: skip
    return w_of, np.exp(sd_of), partial_of


_POINTER = types.CPointer(types.float64)
_SIGNATURE = types.int64(types.uint64, _POINTER, _POINTER, _POINTER, types.voidptr)


@cfunc(_SIGNATURE, cache=True, error_model="numpy")
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


def address() -> int | None:
    """Where the compiled density is, for nutpie."""
    return _foreign.address
