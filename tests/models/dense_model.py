"""A Gaussian mixed model written out densely, row by row: what the fast ways are held against."""

import numpy as np
from scipy.linalg import block_diag

from mien.models.engines.collapsed.correlation import cholesky_of


def covariance_of_effects(outcome, natural, draw):
    """factor → (term, term), of the draw."""
    parts, at, first = {}, 0, 0
    for block in outcome.design.blocks:
        k = len(block.terms)
        root = (
            natural.sd[draw, at : at + k, None] * cholesky_of(natural.partial[draw : draw + 1], first, k)[0]
        )
        parts.setdefault(block.factor, []).append(root @ root.T)
        at, first = at + k, first + k * (k - 1) // 2
    return {factor: block_diag(*matrices) for factor, matrices in parts.items()}


def residual_covariance(outcome, natural, draw):
    residual, rows = outcome.residual, len(outcome.response)
    stratum = np.zeros(rows, dtype=int) if residual.stratum is None else residual.stratum
    sd = np.sqrt((natural.sigma[draw, stratum] / outcome.root_precision) ** 2)
    if residual.series is None:
        known = 0.0 if residual.known_variance is None else residual.known_variance
        return np.diag(sd**2 + known)
    apart = np.abs(residual.position[:, None] - residual.position).astype(float)
    same = residual.series[:, None] == residual.series
    return np.where(same, np.asarray(natural.rho[draw]) ** apart, 0.0) * np.outer(sd, sd)


def mean_and_covariance(outcome, natural, draw):
    """Of all rows, coefficients and effects integrated out; priors of coefficients are Normal."""
    design = outcome.design
    priors = [outcome.priors[name].prior for name in design.coefficients]
    mean = design.columns @ np.array([prior.mean for prior in priors])
    scaled = design.columns * np.array([prior.sd for prior in priors])
    covariance = scaled @ scaled.T + residual_covariance(outcome, natural, draw)
    of_effects = covariance_of_effects(outcome, natural, draw)
    for factor, matrix in of_effects.items():
        mine = [block for block in design.blocks if block.factor == factor]
        columns = np.concatenate([block.columns for block in mine], axis=1)
        same = mine[0].codes[:, None] == mine[0].codes
        covariance += (columns @ matrix @ columns.T) * same
    return mean, covariance
