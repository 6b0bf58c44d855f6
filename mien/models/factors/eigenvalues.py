"""Eigenvalues of the correlations within groups, against those of data that the model draws.

K factors can make K eigenvalues large and leave the rest to chance. Where the data have one more, the next eigenvalue
lies above what replicates show: scatters drawn from Wishart(Σ_w, ν), ν the degrees of freedom within groups, one for
each draw of the posterior, and divided by their own sds like the data's.
"""

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.factors.conditional import Parameters, parameters, stored_rows
from mien.models.factors.spec import MOST, is_factor_fit
from mien.models.factors.sums import FactorSums, factor_sums
from mien.study.errors import SpecError

__all__ = ["eigenvalue_check", "eigenvalue_table"]

EIGENVALUES = MOST + 1  # one more than a model has factors
BAND = (0.025, 0.975)


def eigenvalue_check(fit: xr.DataTree, *, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The largest eigenvalues of the correlations within groups, and what the model expects of them.

    Parameters
    ----------
    fit : a co-activation fit with its trials. draws : of the posterior, each with one replicate.

    Returns
    -------
    The first 13: number, observed, predicted (mean), lower and upper (95 % of replicates), p_larger, the share of
    replicates whose eigenvalue is at least the observed one. Too few factors show in a p_larger near 0 of the next.

    Raises
    ------
    SpecError, FitError
        For fits of other families, and without their trials.
    """
    if not is_factor_fit(fit):
        raise SpecError(
            "eigenvalue_check: expected a fit of mien.models.co_activation, found another family."
        )
    rows = stored_rows(fit)
    sums = factor_sums(rows.activation, rows.design, rows.group)
    return eigenvalue_table(parameters(fit, draws), sums, seed)


def eigenvalue_table(draws: Parameters, sums: FactorSums, seed: int) -> pd.DataFrame:
    """`eigenvalue_check` from draws and the sums of all rows."""
    rng = np.random.default_rng([seed, 0xE1])
    replicates = _scatters(draws.within, float(sums.count[0]), rng)
    observed, replicated = (_eigenvalues(each)[..., :EIGENVALUES] for each in (sums.within, replicates))
    lower, upper = np.quantile(replicated, BAND, axis=0)
    return pd.DataFrame(
        {
            "number": np.arange(1, len(observed) + 1),
            "observed": observed,
            "predicted": replicated.mean(axis=0),
            "lower": lower,
            "upper": upper,
            "p_larger": (replicated >= observed).mean(axis=0),
        }
    )


def _scatters(covariance: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """One Wishart draw for each covariance (draw, shape, shape), by Bartlett's decomposition."""
    draws, shapes = covariance.shape[:2]
    place = np.arange(shapes)
    root = np.tril(rng.standard_normal(covariance.shape), -1)
    root[:, place, place] = np.sqrt(rng.chisquare(degrees - place, size=(draws, shapes)))
    root = np.linalg.cholesky(covariance) @ root
    return root @ np.swapaxes(root, 1, 2)


def _eigenvalues(scatter: np.ndarray) -> np.ndarray:
    """Of the correlations, falling."""
    root = np.sqrt(np.diagonal(scatter, axis1=-2, axis2=-1))
    return np.linalg.eigvalsh(scatter / (root[..., :, None] * root[..., None, :]))[..., ::-1]
