"""Correlation matrices of a block's effects from canonical partial correlations, for many points at once.

    paper                               code          meaning
    p_ij, i > j, row by row             partial       correlation of effects i and j given effects 0 … j − 1
    L_ij = p_ij √∏_{m<j}(1 − p_im²)     cholesky_of   R = LLᵀ; L_ii has the same root with m < i
    R⁻¹, log|R| = Σ log(1 − p_ij²)      inverse_of    what the prior of a block's effects needs

Any p in (−1, 1) give a correlation matrix. Changing the sign of effect i changes the signs of all p_i· and p_·i and of
nothing else. `partial` holds all blocks' (point, partial); a block's own start at `first` and are k(k − 1)/2.
"""

import numpy as np

__all__ = ["cholesky_of", "inverse_of", "pull_back_inverse"]


def cholesky_of(partial: np.ndarray, first: int, k: int) -> np.ndarray:
    """L (point, k, k) of the block with k effects whose partial correlations start at `first`."""
    factor = np.zeros((len(partial), k, k))
    place = first
    for i in range(k):
        left = np.ones(len(partial))
        for j in range(i):
            p = partial[:, place]
            factor[:, i, j] = p * np.sqrt(left)
            left = left * (1.0 - p) * (1.0 + p)
            place += 1
        factor[:, i, i] = np.sqrt(left)
    return factor


def inverse_of(partial: np.ndarray, first: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """R⁻¹ (point, k, k) and log|R| (point,); not finite where a partial correlation has become ±1."""
    own = partial[:, first : first + k * (k - 1) // 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_determinant = (np.log1p(-own) + np.log1p(own)).sum(axis=1)
        if k == 1:
            return np.ones((len(partial), 1, 1)), log_determinant
        if k == 2:
            r = own[:, 0]
            inverse = np.empty((len(partial), 2, 2))
            inverse[:, 0, 0] = inverse[:, 1, 1] = 1.0 / ((1.0 - r) * (1.0 + r))
            inverse[:, 0, 1] = inverse[:, 1, 0] = -r * inverse[:, 0, 0]
            return inverse, log_determinant
        root = _inverse_of_lower(cholesky_of(partial, first, k))
        return root.transpose(0, 2, 1) @ root, log_determinant


def _inverse_of_lower(factor: np.ndarray) -> np.ndarray:
    """L⁻¹ by forward substitution; numpy's own raises where one of the points is singular."""
    k = factor.shape[1]
    inverse = np.zeros_like(factor)
    for i in range(k):
        inverse[:, i, i] = 1.0
        inverse[:, i, :i] = -(factor[:, i, None, :i] @ inverse[:, :i, :i])[:, 0]
        inverse[:, i, : i + 1] /= factor[:, i, i, None]
    return inverse


def pull_back_inverse(
    partial: np.ndarray, first: int, k: int, d_inverse: np.ndarray, d_log_determinant: float
) -> np.ndarray:
    """The chain rule through `inverse_of`, at one point or at many.

    Parameters
    ----------
    partial : (…, partial) of all blocks.
    d_inverse : (…, k, k), the derivative by each entry of R⁻¹, symmetric or not; d_log_determinant : by log|R|.

    Returns
    -------
    (…, partial) of all blocks: 0 outside this one, so that blocks can be added.
    """
    result = np.zeros_like(partial)
    own = slice(first, first + k * (k - 1) // 2)
    p = partial[..., own]
    with np.errstate(divide="ignore", invalid="ignore"):
        left = (1.0 - p) * (1.0 + p)
        if k > 1:
            result[..., own] = -2.0 * d_log_determinant * p / left
        if k == 2:
            r = p[..., 0]
            diagonal = d_inverse[..., 0, 0] + d_inverse[..., 1, 1]
            across = d_inverse[..., 0, 1] + d_inverse[..., 1, 0]
            result[..., first] += (2.0 * r * diagonal - (1.0 + r * r) * across) / left[..., 0] ** 2
        elif k > 2:
            points = partial.reshape(-1, partial.shape[-1])
            through = [
                _through_factor(point, first, k, mine)
                for point, mine in zip(points, d_inverse.reshape(-1, k, k), strict=True)
            ]
            result[..., own] += np.reshape(through, p.shape)
    return result


def _through_factor(partial: np.ndarray, first: int, k: int, d_inverse: np.ndarray) -> np.ndarray:
    """From dR⁻¹ = −R⁻¹ dR R⁻¹ with R = LLᵀ, then the reverse of `cholesky_of`, row by row."""
    factor = cholesky_of(partial[None], first, k)[0]
    root = _inverse_of_lower(factor[None])[0]
    inverse = root.T @ root
    d_matrix = -inverse @ (d_inverse + d_inverse.T) @ inverse
    d_factor = d_matrix @ factor
    result, place = [], first
    for i in range(k):
        left = 1.0
        for j in range(i):
            p = partial[place]
            later = d_factor[i, j + 1 : i + 1] @ factor[i, j + 1 : i + 1]
            result.append(d_factor[i, j] * np.sqrt(left) - later * p / ((1.0 - p) * (1.0 + p)))
            left *= (1.0 - p) * (1.0 + p)
            place += 1
    return np.array(result)
