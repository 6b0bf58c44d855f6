"""A new person's effects given their rows and one draw of everything else: exact, for all draws at once.

    y = Xβ + known effects + Zv + e,   v = (the person's effects, effects of levels new to the fit) = Λ(θ) z
    Q = I + Λ'Z'R⁻¹ZΛ      c = Λ'Z'R⁻¹r      z | y ~ N(Q⁻¹c, Q⁻¹)
    log p(y | draw) = −½[ n log 2π + log |R| + log |Q| + r'R⁻¹r − c'Q⁻¹c ]

z is the effect over its population's standard deviation, correlated, so that an sd of 0 is an ordinary point.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.models.new_rows import PersonRows

__all__ = ["Given", "PersonPosterior", "block_diagonal", "given_draws", "person_posterior"]

LOG_2PI = float(np.log(2.0 * np.pi))


class Given(NamedTuple):
    """What draws say before the person's own effects.

    residual : (draw, row) response − coefficients − known effects.
    root : (draw, effect, effect) lower triangular or block diagonal, Λ of v; the person's effects first.
    columns : (row, effect) Z. sigma : (draw, row). rho : (draw,).
    """

    residual: np.ndarray
    root: np.ndarray
    columns: np.ndarray
    sigma: np.ndarray
    rho: np.ndarray


class PersonPosterior(NamedTuple):
    """Of v, a draw at a time.

    log_likelihood : (draw,) log p(y | draw). mean, lower : z's mean (draw, effect), Cholesky factor of Q.
    root : Λ.
    """

    log_likelihood: np.ndarray
    mean: np.ndarray
    lower: np.ndarray
    root: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One v a draw, (draw, effect)."""
        noise = rng.standard_normal(self.mean.shape)
        z = self.mean + np.linalg.solve(self.lower.transpose(0, 2, 1), noise[..., None])[..., 0]
        return np.einsum("dij,dj->di", self.root, z)


def given_draws(
    rows: PersonRows,
    coefficients: np.ndarray,
    effects: dict[str, np.ndarray],
    roots: dict[str, np.ndarray],
    sigma: np.ndarray,
    rho: np.ndarray,
) -> Given:
    """Put together what a person's rows need.

    Parameters
    ----------
    coefficients : (draw, coefficient). effects : "term|factor" → (draw, level), of factors that rows share.
    roots : factor → (draw, term, term), of its effects' covariance. sigma : (draw, stratum).
    """
    residual = rows.response - coefficients @ rows.design.T
    for key, level, column in rows.known:
        if len(column) and np.any(column != 0.0):
            residual = residual - effects[key][:, level] * column
    parts = [roots["participant"]]
    for nuisance in rows.strange:
        parts += [roots[nuisance.factor]] * nuisance.levels
    columns = [rows.own, *(nuisance.columns for nuisance in rows.strange)]
    return Given(
        residual, block_diagonal(parts), np.concatenate(columns, axis=1), sigma[:, rows.stratum], rho
    )


def block_diagonal(parts: Sequence[np.ndarray]) -> np.ndarray:
    """(draw, …) matrices along the diagonal of one."""
    size = sum(part.shape[1] for part in parts)
    result = np.zeros((len(parts[0]), size, size))
    at = 0
    for part in parts:
        k = part.shape[1]
        result[:, at : at + k, at : at + k] = part
        at += k
    return result


def person_posterior(rows: PersonRows, given: Given) -> PersonPosterior:
    """Condition on the rows."""
    precision, log_likelihood = _precision(rows, given)
    if (rows.gap > 0).any():
        gram, pull, square, log_determinant = _series_sums(rows, given, precision)
        log_likelihood = log_likelihood - 0.5 * log_determinant
    else:
        size = given.columns.shape[1]
        products = (given.columns[:, :, None] * given.columns[:, None, :]).reshape(-1, size * size)
        weighted = precision * given.residual
        gram = (precision @ products).reshape(-1, size, size)
        pull = weighted @ given.columns
        square = (weighted * given.residual).sum(axis=1)
    across = given.root.transpose(0, 2, 1)
    inner = across @ gram @ given.root + np.eye(gram.shape[1])
    c = (across @ pull[..., None])[..., 0]
    lower = np.linalg.cholesky(inner)
    half = np.linalg.solve(lower, c[..., None])[..., 0]
    mean = np.linalg.solve(lower.transpose(0, 2, 1), half[..., None])[..., 0]
    log_determinant = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    log_likelihood = log_likelihood - 0.5 * (log_determinant + square - (half**2).sum(axis=1))
    return PersonPosterior(log_likelihood, mean, lower, given.root)


def _precision(rows: PersonRows, given: Given) -> tuple[np.ndarray, np.ndarray]:
    """(draw, row) 1 / residual variance, and the part of log p(y | draw) that the rows' precision makes (draw,)."""
    one = 1.0 / (given.sigma**2 / rows.single + rows.known_variance)  # of one replicate
    inside = (np.log(one) - LOG_2PI) @ rows.replicates - one @ rows.squares
    return one * rows.replicates, 0.5 * inside


def _series_sums(
    rows: PersonRows, given: Given, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The sums of rows whitened along their series: Z'R⁻¹Z, Z'R⁻¹r, r'R⁻¹r, and log |correlation|."""
    draws, size = len(given.rho), given.columns.shape[1]
    gram, pull, square = np.zeros((draws, size, size)), np.zeros((draws, size)), np.zeros(draws)
    log_determinant = np.zeros(draws)
    columns, residual = given.columns, given.residual
    root = np.sqrt(precision)
    for row, gap in enumerate(rows.gap):
        z, r = root[:, row, None] * columns[row], root[:, row] * residual[:, row]
        if gap:
            power = given.rho ** int(gap)
            left = 1.0 - power**2
            z = (z - power[:, None] * root[:, row - 1, None] * columns[row - 1]) / np.sqrt(left)[:, None]
            r = (r - power * root[:, row - 1] * residual[:, row - 1]) / np.sqrt(left)
            log_determinant += np.log(left)
        gram += z[:, :, None] * z[:, None, :]
        pull += z * r[:, None]
        square += r * r
    return gram, pull, square, log_determinant
