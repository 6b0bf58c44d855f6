r"""The log density of the two-level factor model with its scores integrated out, and its gradient.

    log p(y | Λ, Ψ) = Σ_g −½ [ v_g D log 2π + v_g log|S_g| + tr(S_g⁻¹ V_g'V_g) ],    S_g = Σ_w + λ_g Σ_b
    Σ_w = Λ_w Λ_w' + Ψ_w,   Σ_b = Λ_b Λ_b' + Ψ_b                                     blocks g: see `factors.sums`

Every S_g is a factor model itself, J J' + Ψ with J = [√λ Λ_b, Λ_w], so that a block costs O(D K²) and O(D K) a row of
V_g, whatever the number of trials behind it (Woodbury: with A = Ψ⁻¹J and C = I + J'A, log|S| = Σ log ψ + log|C| and
S⁻¹x = x/ψ − A C⁻¹A'x).

**Rotation.** The prior of the loadings and the likelihood know Λ_w only up to a rotation of its columns. Λ_w = Q F with
Q fixed (D, D) and orthonormal and F's upper K × K part lower triangular with a positive diagonal t picks one rotation;
the density gains Σ_i (K − i) log t_i (i = 1 … K), so that Λ_wΛ_w' has the very posterior that free loadings give it.
With Q from a first estimate the sampler takes a tenth of the steps (PROTOTYPES 2). Λ_b is free: its posterior is wide,
and turning about in it costs nothing.

**Scale.** Loadings are N(0, τ²) with a τ of their own at each level, and log τ normal: were τ given, the prior of D K
loadings together would say much of how large they are, and more than 32 persons do.

Where persons hardly differ, Λ_b and τ_b shrink together, a funnel. The vector has Λ_b / c(τ_b), c = τ / √(τ² + s²),
with s about the standard error of a loading: in sds of the prior where that is all that is known, as they are where
data speak. (On a study whose persons do not differ: 4 s instead of 49.)

**The same to the last bit.** Sums may be taken in any order (`FREE`), and which one is settled when this is compiled:
in a loop that also writes, LLVM would ask whether what it writes lies beside what it reads, and where two arrays happen
to, the sum would be taken in another order, and a chain part ways. So no loop that sums writes.

The sampler's vector: F by rows (without what is above the diagonal; the diagonal on its log), log Ψ_w, Λ_b / c by rows,
log Ψ_b, log τ_w, log τ_b.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, cfunc, njit, types  # pyright: ignore[reportPrivateImportUsage]

__all__ = ["Model", "address", "log_density", "pack", "size_of", "squared_where_cheaper", "unfolded"]

LOG_2_PI = 1.8378770664093453
FREE = {"contract", "reassoc", "arcp"}  # order of sums and products is free; infinities and NaN stay
HEADER = 6


class Model(NamedTuple):
    """One model as flat arrays; D shapes, K factors within, B between.

    weight : (block,) λ. count : (block,) v. first : (block + 1,) rows of `vectors` (row, D). squared : (block,) 1 where
    these are V'V itself, which is cheaper than many vectors, else 0.
    basis : (D, D) the orthonormal Q.
    priors : (9,) mean and sd of log τ_w, log Ψ_w, log τ_b, log Ψ_b; s.
    """

    factors: int
    between: int
    weight: np.ndarray
    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]
    first: np.ndarray
    vectors: np.ndarray
    squared: np.ndarray
    basis: np.ndarray
    priors: np.ndarray


def size_of(shapes: int, factors: int, between: int) -> int:
    """How many entries the sampler's vector has."""
    return shapes * (factors + between + 2) - factors * (factors - 1) // 2 + 2


def pack(model: Model) -> np.ndarray:
    """The model as one int64 buffer; its second part is read as float64."""
    rows, shapes = model.vectors.shape
    numbers = np.concatenate([
        model.weight, model.count, model.vectors.ravel(), model.basis.ravel(), model.priors,
    ]).astype(np.float64)  # fmt: skip
    header = np.array([len(numbers), shapes, model.factors, model.between, len(model.weight), rows])
    return np.concatenate([header, model.first, model.squared, numbers.view(np.int64)])


def squared_where_cheaper(
    first: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`first`, `vectors` and `squared` of a model: blocks of more than D / 4 vectors by their scatter."""
    shapes, parts = vectors.shape[1], []
    squared = (4 * np.diff(first) > shapes).astype(np.int64)
    for g, is_squared in enumerate(squared):
        mine = vectors[first[g] : first[g + 1]]
        parts.append(mine.T @ mine if is_squared else mine)
    ends = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    return ends, np.ascontiguousarray(np.vstack(parts)), squared


# One block


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _inverted(c, lower):  # noqa: C901
    """C ← c⁻¹, of which the lower triangle is given; log|c|. lower : scratch of its size."""
    size, total = c.shape[0], 0.0
    for j in range(size):
        for i in range(j, size):
            value = c[i, j]
            for k in range(j):
                value -= c[i, k] * c[j, k]
            if i == j:
                c[j, j] = np.sqrt(value)
                total += np.log(c[j, j])
            else:
                c[i, j] = value / c[j, j]
    for j in range(size):
        for i in range(j, size):
            value = 1.0 if i == j else 0.0
            for k in range(j, i):
                value -= c[i, k] * lower[k, j]
            lower[i, j] = value / c[i, i]
    for j in range(size):
        for i in range(j, size):
            value = 0.0
            for k in range(i, size):
                value += lower[k, i] * lower[k, j]
            c[i, j] = value
            c[j, i] = value
    return 2.0 * total


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _by_vectors(j, vectors, work, slope_j, slope_psi):  # noqa: C901
    """tr(S⁻¹V'V), vector by vector, a = S⁻¹u; the slopes gain ½ Σ aa' J and half its diagonal."""
    size, shapes = j.shape
    scaled, solved, inverse = (
        work[:size, :shapes],
        work[size : 2 * size, :shapes],
        work[4 * size + 2, :shapes],
    )
    a, s = work[4 * size, :shapes], work[4 * size + 1]
    total = 0.0
    for row in range(vectors.shape[0]):
        u = vectors[row]
        for d in range(shapes):
            a[d] = u[d] * inverse[d]
        for k in range(size):
            product = 0.0
            for d in range(shapes):
                product += solved[k, d] * u[d]
            s[k] = product
        for k in range(size):
            product = s[k]
            for d in range(shapes):
                a[d] -= product * scaled[k, d]
        product = 0.0
        for d in range(shapes):
            product += a[d] * u[d]
        total += product
        for d in range(shapes):
            slope_psi[d] += 0.5 * a[d] * a[d]
        for k in range(size):
            product = 0.0
            for d in range(shapes):
                product += j[k, d] * a[d]
            for d in range(shapes):
                slope_j[k, d] += product * a[d]
    return total


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _by_scatter(j, scatter, work, slope_j, slope_psi):  # noqa: C901, PLR0912
    """The same from W = V'V: with M = S⁻¹J, Y = W M and G = A'Y, S⁻¹W S⁻¹J = Ψ⁻¹Y − M G."""
    size, shapes = j.shape
    scaled, solved, inverse = (
        work[:size, :shapes],
        work[size : 2 * size, :shapes],
        work[4 * size + 2, :shapes],
    )
    y, h = work[2 * size : 3 * size, :shapes], work[3 * size : 4 * size, :shapes]
    total = 0.0
    for k in range(size):
        for d in range(shapes):
            y[k, d] = 0.0
            h[k, d] = 0.0
        for e in range(shapes):
            factor = solved[k, e]
            for d in range(shapes):
                y[k, d] += factor * scatter[e, d]
    for k in range(size):
        for m in range(size):
            product = 0.0
            for d in range(shapes):
                product += scaled[m, d] * y[k, d]
            if m == k:
                total -= product
            for d in range(shapes):
                h[k, d] += product * solved[m, d]
    for d in range(shapes):
        total += scatter[d, d] * inverse[d]
    for d in range(shapes):
        slope_psi[d] += 0.5 * scatter[d, d] * inverse[d] * inverse[d]
    for k in range(size):
        for d in range(shapes):
            own = inverse[d] * y[k, d]
            slope_j[k, d] += own - h[k, d]
            slope_psi[d] += scaled[k, d] * (0.5 * h[k, d] - own)
    return total


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _block(  # noqa: C901, PLR0912
    j, psi, vectors, squared, count, work, slope_j, slope_psi
):
    """The block's log density; its derivatives by J (K, D) and ψ (D,) are written to `slope_j`, `slope_psi`.

    work : (4 K + 3, D + K) scratch.
    """
    size, shapes = j.shape
    scaled, solved = work[:size, :shapes], work[size : 2 * size, :shapes]
    c, lower = work[:size, shapes : shapes + size], work[size : 2 * size, shapes : shapes + size]
    inverse = work[4 * size + 2, :shapes]
    total = 0.0
    for d in range(shapes):
        total += np.log(psi[d])
    for d in range(shapes):
        inverse[d] = 1.0 / psi[d]
        slope_psi[d] = 0.0
    for k in range(size):
        for d in range(shapes):
            scaled[k, d] = j[k, d] * inverse[d]
    for k in range(size):
        for m in range(k + 1):
            product = 0.0
            for d in range(shapes):
                product += j[k, d] * scaled[m, d]
            c[k, m] = product
        c[k, k] += 1.0
    total = count * (shapes * LOG_2_PI + total + _inverted(c, lower))
    for k in range(size):  # S⁻¹J = A C⁻¹
        for d in range(shapes):
            solved[k, d] = 0.0
        for m in range(size):
            product = c[k, m]
            for d in range(shapes):
                solved[k, d] += product * scaled[m, d]
    for k in range(size):
        for d in range(shapes):
            slope_psi[d] += 0.5 * count * solved[k, d] * scaled[k, d]
            slope_j[k, d] = -count * solved[k, d]
    for d in range(shapes):
        slope_psi[d] -= 0.5 * count * inverse[d]
    if squared == 1:
        total += _by_scatter(j, vectors, work, slope_j, slope_psi)
    else:
        total += _by_vectors(j, vectors, work, slope_j, slope_psi)
    return -0.5 * total


# The whole


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _read(  # noqa: C901, PLR0913, PLR0917
    q, basis, shapes, factors, between, error, f, loading, psi, loading_b, psi_b
):
    """Loadings (factor, shape) and uniquenesses of a vector; F is kept in f (factor, shape). error : s."""
    at = 0
    for d in range(shapes):
        for k in range(factors):
            if k > d:
                f[k, d] = 0.0
            else:
                f[k, d] = np.exp(q[at]) if k == d else q[at]
                at += 1
    for k in range(factors):
        for d in range(shapes):
            loading[k, d] = 0.0
        for e in range(shapes):
            for d in range(shapes):
                loading[k, d] += f[k, e] * basis[e, d]
    for d in range(shapes):
        psi[d] = np.exp(q[at + d])
    at += shapes
    sd = np.exp(q[q.size - 1])
    scale = sd / np.sqrt(sd * sd + error * error)
    for d in range(shapes):
        for k in range(between):
            loading_b[k, d] = scale * q[at]
            at += 1
    for d in range(shapes):
        psi_b[d] = np.exp(q[at + d])


@njit(cache=True, error_model="numpy", fastmath=FREE)
def log_density(  # noqa: C901, PLR0913, PLR0917  (flat arrays: what numba can take)
    q, factors, between, weight, count, first, vectors, squared, basis, priors, slope
):
    """Log p(y, q) up to constants of the priors, and its gradient, written to `slope`.

    basis : (D, D) Q' : row e is Q's column e.
    """
    shapes, size = vectors.shape[1], factors + between
    f, loading = np.empty((factors, shapes)), np.empty((factors, shapes))
    psi, psi_b = np.empty(shapes), np.empty(shapes)
    loading_b = np.empty((between, shapes))
    _read(q, basis, shapes, factors, between, priors[8], f, loading, psi, loading_b, psi_b)
    d_loading, d_between = np.zeros((factors, shapes)), np.zeros((between, shapes))
    d_psi, d_psi_b = np.zeros(shapes), np.zeros(shapes)
    j, mine = np.empty((size, shapes)), np.empty(shapes)
    slope_j, slope_psi = np.empty((size, shapes)), np.empty(shapes)
    work = np.empty((4 * size + 3, shapes + size))
    total = 0.0
    for g in range(weight.size):
        root = np.sqrt(weight[g])
        inside = 0 if weight[g] == 0.0 else between
        for d in range(shapes):
            mine[d] = psi[d] + weight[g] * psi_b[d]
        for k in range(factors):
            for d in range(shapes):
                j[k, d] = loading[k, d]
        for k in range(inside):
            for d in range(shapes):
                j[factors + k, d] = root * loading_b[k, d]
        total += _block(
            j[: factors + inside], mine, vectors[first[g] : first[g + 1]], squared[g], count[g], work,
            slope_j[: factors + inside], slope_psi,
        )  # fmt: skip
        for k in range(factors):
            for d in range(shapes):
                d_loading[k, d] += slope_j[k, d]
        for k in range(inside):
            for d in range(shapes):
                d_between[k, d] += root * slope_j[factors + k, d]
        for d in range(shapes):
            d_psi[d] += slope_psi[d]
            d_psi_b[d] += weight[g] * slope_psi[d]
    return total + _priors(
        q,
        factors,
        between,
        basis,
        priors,
        f,
        psi,
        psi_b,
        loading_b,
        d_loading,
        d_psi,
        d_between,
        d_psi_b,
        slope,
    )


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _priors(  # noqa: C901, PLR0913, PLR0917
    q, factors, between, basis, priors, f, psi, psi_b, loading_b, d_loading, d_psi, d_between, d_psi_b, slope
):
    """Log prior with the Jacobians; `slope` becomes the gradient of the whole by q."""
    shapes, size = psi.size, q.size
    total, at = 0.0, 0
    precision, squares = np.exp(-2.0 * q[size - 2]), 0.0
    for k in range(factors):
        for d in range(shapes):
            squares += f[k, d] * f[k, d]
    for d in range(shapes):
        for k in range(min(d + 1, factors)):
            value = f[k, d]
            gradient = -precision * value
            for e in range(shapes):
                gradient += d_loading[k, e] * basis[d, e]
            if k == d:  # t on its log: its own Jacobian and that of the rotation
                total += (factors - k) * q[at]
                gradient = gradient * value + (factors - k)
            slope[at] = gradient
            at += 1
    total += _scale(q, size - 2, precision * squares, shapes * factors, priors[0], priors[1], slope)
    total -= 0.5 * _squared_z(q[at : at + shapes], priors[2], priors[3])
    for d in range(shapes):
        slope[at] = d_psi[d] * psi[d] - (q[at] - priors[2]) / (priors[3] * priors[3])
        at += 1
    sd, squares, pull = np.exp(q[size - 1]), 0.0, 0.0
    alone = priors[8] * priors[8] / (sd * sd + priors[8] * priors[8])  # d log c / d log τ
    scale = sd / np.sqrt(sd * sd + priors[8] * priors[8])
    for k in range(between):
        for d in range(shapes):
            squares += loading_b[k, d] * loading_b[k, d]
            pull += d_between[k, d] * loading_b[k, d]
    pull -= squares / (sd * sd)
    for d in range(shapes):
        for k in range(between):
            slope[at] = (d_between[k, d] - loading_b[k, d] / (sd * sd)) * scale
            at += 1
    total += _scale(q, size - 1, squares / (sd * sd), shapes * between, priors[4], priors[5], slope)
    total += shapes * between * np.log(scale)
    slope[size - 1] += alone * (pull + shapes * between)
    total -= 0.5 * _squared_z(q[at : at + shapes], priors[6], priors[7])
    for d in range(shapes):
        slope[at] = d_psi_b[d] * psi_b[d] - (q[at] - priors[6]) / (priors[7] * priors[7])
        at += 1
    return total


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _squared_z(values, mean, sd):
    total = 0.0
    for i in range(values.size):
        z = (values[i] - mean) / sd
        total += z * z
    return total


@njit(cache=True, error_model="numpy", fastmath=FREE)
def _scale(q, at, squares, count, mean, sd, slope):
    """Log density of log τ at q[at] and of loadings given it; `squares` is Σλ²/τ² over `count` loadings."""
    z = (q[at] - mean) / sd
    slope[at] = squares - count - z / sd
    return -0.5 * squares - count * q[at] - 0.5 * z * z


@njit(cache=True, error_model="numpy")
def unfolded(draws, basis, factors, between, error):
    """The sampler's vectors (draw, entry) → loadings (draw, shape, factor), Ψ_w, loadings between, Ψ_b, τ (draw, 2)."""
    count, shapes = draws.shape[0], basis.shape[0]
    f, loading = np.empty((factors, shapes)), np.empty((factors, shapes))
    loading_b = np.empty((between, shapes))
    loadings, psi = np.empty((count, shapes, factors)), np.empty((count, shapes))
    loadings_b, psi_b = np.empty((count, shapes, between)), np.empty((count, shapes))
    for i in range(count):
        _read(draws[i], basis, shapes, factors, between, error, f, loading, psi[i], loading_b, psi_b[i])
        for d in range(shapes):
            for k in range(factors):
                loadings[i, d, k] = loading[k, d]
            for k in range(between):
                loadings_b[i, d, k] = loading_b[k, d]
    return loadings, psi, loadings_b, psi_b, np.exp(draws[:, draws.shape[1] - 2 :])


_POINTER = types.CPointer(types.float64)


@cfunc(
    types.int64(types.uint64, _POINTER, _POINTER, _POINTER, types.voidptr), cache=True, error_model="numpy"
)
def _foreign(dim, q, gradient, value, buffer):
    """`log_density` for nutpie: 0, or a number above 0 where the density is not finite."""
    head = carray(buffer, HEADER, np.int64)
    shapes, factors, between, blocks, rows = head[1], head[2], head[3], head[4], head[5]
    begin = HEADER + 2 * blocks + 1
    places = carray(buffer, begin, np.int64)[HEADER:]
    numbers = carray(buffer, begin + head[0], np.float64)[begin:]
    at = 2 * blocks
    vectors = numbers[at : at + rows * shapes].reshape((rows, shapes))
    at += rows * shapes
    basis = numbers[at : at + shapes * shapes].reshape((shapes, shapes))
    slope = carray(gradient, dim)
    total = log_density(
        carray(q, dim), factors, between, numbers[:blocks], numbers[blocks : 2 * blocks], places[: blocks + 1], vectors,
        places[blocks + 1 :], basis,
        numbers[at + shapes * shapes :], slope,
    )  # fmt: skip
    carray(value, 1)[0] = total
    if not np.isfinite(total):
        return 4
    for i in range(slope.size):
        if not np.isfinite(slope[i]):
            return 3
    return 0


def address() -> int | None:
    """Where the compiled density is, for nutpie."""
    return _foreign.address
