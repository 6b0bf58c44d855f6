"""The shapes' estimates with their joint error covariance: what pooling over shapes takes for data.

One trial moves many shapes, and so do persons and stimuli: the errors of the shapes' estimates are correlated.
An estimate is a weighted sum of its shape's rows (generalised least squares, the variances at their posterior means),

    b̂_s − b_s = Σ_i ψ_si      ψ_s = (X'V⁻¹X)⁻¹ X'V⁻¹ (y − Xb̂)

and two rows have correlated errors, within a shape or across shapes, only where they share a level of a group factor.
So for crossed participants and stimuli, with Ψ the sums of ψ over the rows of a level,

    cov(b̂_s, b̂_t) = Σ_participants Ψ_s Ψ_t' + Σ_stimuli Ψ_s Ψ_t' − Σ_both Ψ_s Ψ_t'

(inclusion and exclusion over the factors that are nested in no other; balanced data give the moments of the analysis
of variance). It holds whatever the shapes share: slopes of persons, effects of stimuli, residuals of trials; no group
effects have to be stored. That residuals are smaller than errors is corrected for (`_unbiased`).

Only correlations are taken from these sums. They are shrunk towards their own mean, the more the noisier they are
(`shrunk`), since a covariance of 34 shapes from 32 persons has eigenvalues near 0 that mean nothing. Variances are
the posterior's, with the prior divided out.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from mien.models.engines.problem import Outcome
from mien.models.refit import coefficients_of, natural_of, of_shape
from mien.models.smooths import is_smooth_term, sd_name
from mien.priors import Fixed, Normal

__all__ = ["LEAST_SHARE", "ShapeEstimates", "ShapeRows", "Shrunk", "data_share", "shape_estimates", "shrunk"]

LEAST_SHARE = (
    0.2  # of a posterior's precision that rows must have for the prior to be divided out: 2 % error → 10 %
)
LEAST_EIGENVALUE = 0.02  # of a correlation matrix


class ShapeRows(NamedTuple):
    """One shape's outcome and, for every row, which observation (trial or bin) it is of, the same for all shapes."""

    outcome: Outcome
    observation: np.ndarray


class ShapeEstimates(NamedTuple):
    """What the data say of the shapes' coefficients, whatever the prior was.

    shapes, coefficients : labels; a coefficient whose prior is Fixed is left out.
    estimate : (shape, coefficient), units of the outcome.
    variance : (shape, coefficient, coefficient), of the errors within a shape.
    score : for every set of levels (way), (shape, level, coefficient): the sums Ψ.
    sign : of each way, +1 or −1.
    share : for every way, (level, coefficient, coefficient): how much of X'V⁻¹X a level has, relative to all.
    residual_sd : (shape,) of a single value; spread : (coefficient,) sd(x), mean over shapes.
    """

    shapes: tuple[str, ...]
    coefficients: tuple[str, ...]
    estimate: np.ndarray
    variance: np.ndarray
    score: tuple[np.ndarray, ...]
    sign: tuple[int, ...]
    share: tuple[np.ndarray, ...]
    residual_sd: np.ndarray
    spread: np.ndarray

    def correlation(self, weights: np.ndarray) -> "Shrunk":
        """Correlation (shape, shape) of the errors of a combination of coefficients, shrunk."""
        covariance = _unbiased(self, weights)
        least = 0.25 * np.einsum("k,skl,l->s", weights, self.variance, weights)
        sd = np.sqrt(np.maximum(np.diagonal(covariance), least))
        correlation = np.clip(covariance / np.outer(sd, sd), -1.0, 1.0)
        noise = sum(
            _noise(np.einsum("scp,p->sc", way, weights) / sd[:, None], correlation) for way in self.score
        )
        return shrunk(correlation, np.asarray(noise))


def _noise(z: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Sampling variance of the correlations r, from the levels' scores z (shape, level) in units of their sd.

    A level moves r by z_s z_t − r (z_s² + z_t²) / 2; the variance is the sum of squares about the mean.
    """
    count = max(int((z != 0).any(axis=0).sum()), 2)
    second, cubic, fourth = z**2, z**3 @ z.T, (z**4).sum(axis=1)
    squares = (
        second @ second.T * (1 + r**2 / 2) - r * (cubic + cubic.T) + r**2 / 4 * (fourth[:, None] + fourth)
    )
    own = second.sum(axis=1)
    total = z @ z.T - r * (own[:, None] + own) / 2
    return (squares - total**2 / count) * count / (count - 1)


class Shrunk(NamedTuple):
    """correlation : (shape, shape); weight : of the constant in it, 0–1; constant : the mean correlation."""

    correlation: np.ndarray
    weight: float
    constant: float


def shrunk(correlation: np.ndarray, noise: np.ndarray) -> Shrunk:
    """Move correlations towards their mean; `noise` holds their sampling variances.

    The weight is the one with the least expected squared error, Σ noise / Σ (r − mean)², at most 1: noise that
    explains all the differences leaves the mean alone.
    """
    size = len(correlation)
    off = ~np.eye(size, dtype=bool)
    constant = max(float(correlation[off].mean()), -0.5 / (size - 1))
    apart = float(((correlation - constant)[off] ** 2).sum())
    weight = min(float(noise[off].sum()) / apart, 1.0) if apart > 0 else 1.0
    mixed = np.where(off, (1 - weight) * correlation + weight * constant, 1.0)
    root, vectors = np.linalg.eigh((mixed + mixed.T) / 2)
    mixed = (vectors * np.maximum(root, LEAST_EIGENVALUE)) @ vectors.T
    sd = np.sqrt(np.diagonal(mixed))
    return Shrunk(mixed / np.outer(sd, sd), weight, constant)


def shape_estimates(fit: xr.DataTree, rows: Sequence[ShapeRows]) -> ShapeEstimates:
    """From the unpooled posteriors in `fit` and the rows they were fitted to, one entry a shape.

    Parameters
    ----------
    fit : with a posterior that has a `blend_shape` dim.
    rows : the shapes to take; their designs have the same coefficients and levels.
    """
    names = rows[0].outcome.design.coefficients
    fixed = {name for item in rows for name in names if isinstance(item.outcome.priors[name].prior, Fixed)}
    free = tuple(name for name in names if name not in fixed)
    at = np.array([names.index(name) for name in free], dtype=np.int64)
    likelihoods = [_without_prior(fit, item.outcome, free) for item in rows]
    influences = [_influence(fit, item.outcome, at) for item in rows]
    levels, signs = _ways(rows)
    count = [1 + max(int(codes.max(initial=-1)) for codes in way) for way in levels]
    score = tuple(
        np.stack([_sums(found.psi, codes, size) for found, codes in zip(influences, way, strict=True)])
        for way, size in zip(levels, count, strict=True)
    )
    share = tuple(
        np.mean(
            [_sums(found.share, codes, size) for found, codes in zip(influences, way, strict=True)], axis=0
        )
        for way, size in zip(levels, count, strict=True)
    )
    return ShapeEstimates(
        tuple(item.outcome.name for item in rows), free,
        np.stack([found.mean for found in likelihoods]), np.stack([found.variance for found in likelihoods]),
        score, signs, tuple(item.reshape(len(item), len(free), len(free)) for item in share),
        np.array([found.residual_sd for found in influences]),
        np.mean([item.outcome.design.columns[:, at].std(axis=0) for item in rows], axis=0),
    )  # fmt: skip


# Variances: the posterior's, without the prior


def data_share(fit: xr.DataTree, outcome: Outcome) -> float:
    """The least share of the coefficients' posterior precision, along any direction, that rows have, not priors."""
    free = [name for name in outcome.design.coefficients if not isinstance(outcome.priors[name].prior, Fixed)]
    return float(_without_prior(fit, outcome, free).share.min(initial=1.0))


class _Likelihood(NamedTuple):
    """mean, variance : of the coefficients by the data alone; share : of the posterior's precision, in directions."""

    mean: np.ndarray
    variance: np.ndarray
    share: np.ndarray


def _without_prior(fit: xr.DataTree, outcome: Outcome, free: Sequence[str]) -> _Likelihood:
    """The posterior divided by the prior, both as normal distributions."""
    draws = coefficients_of(fit, outcome.name, free)
    mean, covariance = draws.mean(axis=0), np.atleast_2d(np.cov(draws, rowvar=False))
    priors = [outcome.priors[name].prior for name in free]
    precision = np.array([1 / prior.sd**2 if isinstance(prior, Normal) else 0.0 for prior in priors])
    centre = np.array([prior.mean if isinstance(prior, Normal) else 0.0 for prior in priors])
    root = np.linalg.cholesky(covariance)
    share, vectors = np.linalg.eigh(np.eye(len(free)) - root.T @ (precision[:, None] * root))
    whitened = root @ vectors  # its square is the covariance
    variance = (whitened / np.maximum(share, LEAST_SHARE)) @ whitened.T
    pull = np.linalg.solve(covariance, mean) - precision * centre
    return _Likelihood(variance @ pull, variance, share)


# Influence of every row


class _Influence(NamedTuple):
    """psi : (row, coefficient); share : (row, coefficient²), rows of A X; residual_sd : of a single value."""

    psi: np.ndarray
    share: np.ndarray
    residual_sd: float


def _influence(fit: xr.DataTree, outcome: Outcome, at: np.ndarray) -> _Influence:
    """Weights of generalised least squares times residuals, row by row."""
    natural = natural_of(fit, outcome.name, outcome)
    sd = _row_sd(outcome, natural.sigma)
    whiten = _whitening(outcome, sd, float(natural.rho.mean()))
    columns, response = outcome.design.columns, outcome.response
    for place in np.setdiff1d(np.arange(columns.shape[1]), at):
        known = coefficients_of(fit, outcome.name, [outcome.design.coefficients[place]])[0, 0]
        response = response - known * columns[:, place]
    x = columns[:, at]
    effects, common = _group_columns(fit, outcome)
    weighted = _times_inverse(effects, whiten, np.column_stack([x, response]))
    weights = weighted[:, :-1] @ np.linalg.inv(x.T @ weighted[:, :-1])  # A, transposed
    slopes = weights.T @ response
    curves = common.T @ (weighted[:, -1] - weighted[:, :-1] @ slopes)
    left = response - x @ slopes - common @ curves  # a curve common to all is no error
    count = 1.0 if outcome.residual.count is None else outcome.residual.count  # a row is the mean of so many
    share = np.einsum("np,nq->npq", weights, x).reshape(len(x), -1)
    return _Influence(weights * left[:, None], share, float(np.sqrt(np.mean(sd**2 * count))))


def _row_sd(outcome: Outcome, sigma: np.ndarray) -> np.ndarray:
    """(row,) residual sd, from the posterior means of sigma² (draw, stratum)."""
    residual = outcome.residual
    stratum = (
        np.zeros(len(outcome.response), dtype=np.int64) if residual.stratum is None else residual.stratum
    )
    variance = (sigma**2).mean(axis=0)[stratum] / outcome.root_precision**2
    return np.sqrt(variance if residual.known_variance is None else variance + residual.known_variance)


def _whitening(outcome: Outcome, sd: np.ndarray, rho: float) -> Any:
    """Sparse (row, row): makes residuals independent with variance 1."""
    from scipy import sparse

    scale = sparse.diags_array(1.0 / sd)
    series, position = outcome.residual.series, outcome.residual.position
    if series is None or position is None:
        return scale.tocsr()
    order = np.lexsort((position, series))
    before, after = order[:-1], order[1:]
    same = series[before] == series[after]
    before, after = before[same], after[same]
    power = rho ** (position[after] - position[before])
    left = np.ones(len(sd))
    left[after] = 1.0 / np.sqrt(1.0 - power**2)
    lag: Any = sparse.coo_array((power * left[after], (after, before)), (len(sd), len(sd)))
    return sparse.csr_array((sparse.diags_array(left) - lag) @ scale)


def _group_columns(fit: xr.DataTree, outcome: Outcome) -> tuple[Any, Any]:
    """Sparse (row, effect), of effects that are independent with variance 1: all, and those of a single level."""
    from scipy import sparse

    posterior = of_shape(fit["posterior"].dataset, outcome.name)
    rows = len(outcome.response)
    seen, parts = Counter(), {True: [sparse.csr_array((rows, 0))], False: [sparse.csr_array((rows, 0))]}
    for block in outcome.design.blocks:
        terms, first = len(block.terms), seen[block.factor]
        keys = [sd_name(term, block.factor) for term in block.terms]
        seen[block.factor] += sum(not is_smooth_term(term) for term in block.terms)
        sds = np.stack([posterior[f"{key}_sigma"].to_numpy().ravel() for key in keys])
        moments = sds[:, None] * sds[None]
        if terms > 1:
            corr = posterior[f"{block.factor}_corr"].to_numpy()[
                ..., first : first + terms, first : first + terms
            ]
            moments = moments * corr.reshape(-1, terms, terms).transpose(1, 2, 0)
        values, vectors = np.linalg.eigh(moments.mean(axis=2, dtype=np.float64))
        scaled = block.columns @ (vectors * np.sqrt(np.maximum(values, 0.0)))
        places = block.codes[:, None] * terms + np.arange(terms)
        flat = (scaled.ravel(), places.ravel(), np.arange(rows + 1) * terms)
        columns = sparse.csr_array(flat, shape=(rows, len(block.levels) * terms))
        parts[len(block.levels) == 1].append(columns)
    common = sparse.hstack(parts[True], format="csr")
    return sparse.hstack([common, *parts[False]], format="csr"), common


def _times_inverse(effects: Any, whiten: Any, x: np.ndarray) -> np.ndarray:
    """V⁻¹x for V = R + ZZ', with R⁻¹ = W'W."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    white, x = whiten @ effects, whiten @ x
    if effects.shape[1]:
        inner = sparse.csc_array(white.T @ white + sparse.eye_array(effects.shape[1]))
        factor = splu(inner, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        x = x - white @ factor.solve(np.asarray(white.T @ x))
    return whiten.T @ x


# Which rows share errors


def _ways(rows: Sequence[ShapeRows]) -> tuple[list[list[np.ndarray]], tuple[int, ...]]:
    """For each way, the level of every row of every shape; and each way's sign."""
    where = np.cumsum([0, *(len(item.observation) for item in rows)])
    factors = dict.fromkeys(b.factor for b in rows[0].outcome.design.blocks if len(b.levels) > 1)
    together = [np.concatenate([_codes(item.outcome, factor) for item in rows]) for factor in factors]
    if rows[0].outcome.residual.series is not None:
        together.append(np.concatenate([np.asarray(item.outcome.residual.series) for item in rows]))
    together = together or [np.concatenate([item.observation for item in rows])]
    coarsest = _coarsest([np.unique(codes, return_inverse=True)[1] for codes in together])
    levels, signs = [], []
    for size in range(1, len(coarsest) + 1):
        for chosen in combinations(coarsest, size):
            codes = _crossed(*chosen)
            levels.append([codes[where[k] : where[k + 1]] for k in range(len(rows))])
            signs.append(1 if size % 2 else -1)
    return levels, tuple(signs)


def _codes(outcome: Outcome, factor: str) -> np.ndarray:
    return next(block.codes for block in outcome.design.blocks if block.factor == factor)


def _crossed(first: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Numbers of the combinations that occur."""
    for other in others:
        first = np.unique(first * (int(other.max()) + 1) + other, return_inverse=True)[1]
    return first


def _coarsest(factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Those that are nested in no other; of equal ones the first."""
    kept: list[np.ndarray] = []
    for place, mine in enumerate(factors):
        pairs = [int(_crossed(mine, other).max()) for other in factors]
        nested = [pair == int(mine.max()) for pair in pairs]
        same = [pair == int(other.max()) for pair, other in zip(pairs, factors, strict=True)]
        if not any(nested[k] and (not same[k] or k < place) for k in range(len(factors)) if k != place):
            kept.append(mine)
    return kept


def _sums(values: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """(level, column): sums of the rows (row, column) of every level."""
    return np.stack([np.bincount(codes, weights=column, minlength=size) for column in values.T], axis=1)


def _unbiased(found: ShapeEstimates, weights: np.ndarray) -> np.ndarray:
    """Covariance (shape, shape) of the errors of a combination of coefficients.

    Residuals are errors less Xb̂'s: what a way adds up falls short by Σ_levels J cov J', J its share. That is linear in
    the covariance itself and is solved for; with balanced rows it puts n − 1 levels in place of n.
    """
    shapes, _, terms = found.score[0].shape
    plain = np.zeros((shapes, shapes, terms, terms))
    short = np.zeros((terms**2, terms**2))
    for way, sign, share in zip(found.score, found.sign, found.share, strict=True):
        flat = way.transpose(0, 2, 1).reshape(shapes * terms, -1)
        plain += sign * (flat @ flat.T).reshape(shapes, terms, shapes, terms).transpose(0, 2, 1, 3)
        pairs = share.reshape(len(share), -1)
        short += sign * (pairs.T @ pairs).reshape((terms,) * 4).transpose(0, 2, 1, 3).reshape(terms**2, -1)
    whole = np.linalg.solve(np.eye(terms**2) - short, plain.reshape(-1, terms**2).T).T
    covariance = np.einsum("k,stkl,l->st", weights, whole.reshape(plain.shape), weights)
    return (covariance + covariance.T) / 2
