r"""Coordinates for group effects in which a sampler meets no funnel, shared by the kernels.

    paper                                  code                meaning
    u_j = (1−λ_j) μ_j + λ_j b_j + τ_j v_j  fill_group_effects  λ = σ_j²h/(σ_j²h + σ²), τ² = σ_j²(1−λ)

Within a level the effects are taken one after the other, as the Cholesky factor of their correlation has it:
μ_j is the mean of u_j given those before it, σ_j its standard deviation, h the information of an average level's
rows, b a level's estimate without shrinkage. λ and τ follow the sds wherever the sampler goes: v keeps the scale of
its own posterior, near sd = 0 (where it is the non-centred form) and far from it (the centred one).
"""

import numpy as np
from numba import njit

__all__ = [
    "correlation_cholesky", "draws_of_effects", "fill_group_effects", "group_effects_reverse", "times",
    "transposed_times",
]  # fmt: skip


@njit(cache=True, error_model="numpy")
def correlation_cholesky(partial, first, terms):
    """Cholesky factor of the correlation matrix with canonical partial correlations `partial[first:]`."""
    factor = np.zeros((terms, terms))
    place = first
    for i in range(terms):
        left = 1.0
        for j in range(i):
            factor[i, j] = partial[place] * np.sqrt(left)
            left *= 1.0 - partial[place] ** 2
            place += 1
        factor[i, i] = np.sqrt(left)
    return factor


@njit(cache=True, error_model="numpy")
def _cholesky_reverse(factor_bar, factor, partial, first, terms, partial_bar):
    """Adjoint of `correlation_cholesky`."""
    place = first
    for i in range(terms):
        left = 1.0
        for j in range(i):
            later = 0.0
            for m in range(j + 1, i + 1):
                later += factor_bar[i, m] * factor[i, m]
            p = partial[place]
            partial_bar[place] += factor_bar[i, j] * np.sqrt(left) - later * p / (1.0 - p * p)
            left *= 1.0 - p * p
            place += 1


@njit(cache=True, error_model="numpy")
def times(data, column, row, x, out):
    """A x for a CSR matrix A."""
    for i in range(out.size):
        total = 0.0
        for k in range(row[i], row[i + 1]):
            total += data[k] * x[column[k]]
        out[i] = total


@njit(cache=True, error_model="numpy")
def transposed_times(data, column, row, x, out):
    """A' x for a CSR matrix A."""
    out[:] = 0.0
    for i in range(x.size):
        for k in range(row[i], row[i + 1]):
            out[column[k]] += data[k] * x[i]


@njit(cache=True, error_model="numpy")
def _scales(factor, log_sd, first, log_sigma, log_information):
    """For each term of a block: sd, 1/σ_j, λ, τ and log(1 − λ)."""
    k = factor.shape[0]
    out = np.empty((5, k))
    for j in range(k):
        log_sigma_j = log_sd[first + j] + np.log(factor[j, j])
        odds = 2.0 * (log_sigma_j - log_sigma) + log_information[first + j]
        out[0, j] = np.exp(log_sd[first + j])
        out[1, j] = np.exp(-log_sigma_j)
        out[2, j] = 1.0 / (1.0 + np.exp(-odds))
        out[4, j] = -odds - np.log1p(np.exp(-odds)) if odds > 0.0 else -np.log1p(np.exp(odds))
        out[3, j] = np.exp(log_sigma_j + 0.5 * out[4, j])
    return out


@njit(cache=True, error_model="numpy")
def fill_group_effects(  # noqa: PLR0913, PLR0917  (flat arrays: what numba can take)
    v, log_sd, partial, log_sigma, start, levels, terms, first_sd, first_partial, naive, log_information, w, z
):
    """Fill the group effects `w` and their standard scores `z` from `v`."""
    for b in range(start.size):
        k = terms[b]
        factor = correlation_cholesky(partial, first_partial[b], k)
        scale = _scales(factor, log_sd, first_sd[b], log_sigma, log_information)
        for j in range(k):
            sd, inverse, share, spread = scale[0, j], scale[1, j], scale[2, j], scale[3, j]
            for level in range(levels[b]):
                at = start[b] + level * k
                mean = 0.0
                for i in range(j):
                    mean += factor[j, i] * z[at + i]
                mean *= sd
                w[at + j] = mean + share * (naive[at + j] - mean) + spread * v[at + j]
                z[at + j] = (w[at + j] - mean) * inverse


@njit(cache=True, error_model="numpy")
def group_effects_reverse(  # noqa: PLR0913, PLR0917
    w, z, v, w_bar, log_sd, partial, log_sigma, start, levels, terms, first_sd, first_partial, naive,
    log_information, log_sd_bar, partial_bar, log_sigma_bar,
):  # fmt: skip
    """Log p(u | θ) + log |du/dv| up to a constant, and the adjoint of `fill_group_effects`.

    `w_bar` comes in as the gradient by the effects and goes out as that by v; the other `_bar` are added to.
    """
    value = 0.0
    for b in range(start.size):
        k = terms[b]
        factor = correlation_cholesky(partial, first_partial[b], k)
        scale = _scales(factor, log_sd, first_sd[b], log_sigma, log_information)
        factor_bar = np.zeros((k, k))
        z_bar = np.zeros((k, levels[b]))
        for j in range(k - 1, -1, -1):
            sd, inverse, share, spread = scale[0, j], scale[1, j], scale[2, j], scale[3, j]
            value += 0.5 * levels[b] * scale[4, j]
            odds_bar = -0.5 * levels[b] * share  # through the log odds of λ: λ, τ and log(1 − λ)
            own_bar = 0.0  # through log σ_j with λ held
            mean_total = 0.0
            for level in range(levels[b]):
                at = start[b] + level * k
                zj = z[at + j]
                value -= 0.5 * zj * zj
                zj_bar = z_bar[j, level] - zj
                u_bar = w_bar[at + j] + zj_bar * inverse
                pulled = u_bar * spread * v[at + j]
                mean = w[at + j] - zj / inverse
                odds_bar += u_bar * share * (1.0 - share) * (naive[at + j] - mean) - 0.5 * share * pulled
                own_bar += pulled - zj_bar * zj
                w_bar[at + j] = u_bar * spread  # from here on d/dv
                mean_bar = (1.0 - share) * u_bar - zj_bar * inverse
                mean_total += mean_bar * mean
                for i in range(j):
                    z_bar[i, level] += mean_bar * sd * factor[j, i]
                    factor_bar[j, i] += mean_bar * sd * z[at + i]
            own_bar += 2.0 * odds_bar
            log_sigma_bar[0] -= 2.0 * odds_bar
            log_sd_bar[first_sd[b] + j] += own_bar + mean_total
            factor_bar[j, j] += own_bar / factor[j, j]
        _cholesky_reverse(factor_bar, factor, partial, first_partial[b], k, partial_bar)
    return value


@njit(cache=True, error_model="numpy")
def draws_of_effects(  # noqa: PLR0913, PLR0917
    xi, log_sd, partial, log_sigma,
    start, levels, terms, first_sd, first_partial,
    naive, whiten_data, whiten_column, whiten_row, log_information,
):  # fmt: skip
    """The effects w of every draw: xi (draw, effect), log_sd (draw, sd), partial (draw, partial) → (draw, effect)."""
    out = np.empty_like(xi)
    v = np.empty(xi.shape[1])
    z = np.zeros(xi.shape[1])
    for d in range(xi.shape[0]):
        times(whiten_data, whiten_column, whiten_row, xi[d], v)
        out[d] = naive + v
        fill_group_effects(
            v, log_sd[d], partial[d], log_sigma[d], start, levels, terms, first_sd, first_partial, naive,
            log_information, out[d], z,
        )  # fmt: skip
    return out
