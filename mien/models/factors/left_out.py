"""Trials and groups that the model has not seen: what does it say of them, given all the others?

In the basis T of a draw (`conditional`: TΣ_wT' = I, TΣ_bT' = diag(e)) every coordinate j is a model of its own with one
random intercept. Its coefficients have flat priors and are integrated out; what is left is diagonal in the contrasts of
`sums`, for every e at once. With unit vectors ũ_k = Z̃v_k/√λ_k over trials and what neither they nor X explain, R,

    P_j = R + Σ_k ũ_k ũ_k' / (1 + λ_k e_j)
    a trial given all others      its distance from its mean is (P_j z_j)_i / (P_j)_ii, its variance 1 / (P_j)_ii
    a group given others          log p(both) − log p(others), both from sums over their rows

Both are exact in every draw θ, for any numbers of trials and any covariates.

**Trials** are left out of a posterior that has seen them: a draw's weight is one over the trial's density,
Pareto-smoothed.

**Groups** move the posterior too much for weights of either kind (Pareto k between 1 and 2 for most persons of 32, and
means of densities over 3,200 draws still 2 nats short for 16 of them, measured). The posterior is sampled again without
a fold of them, and the two posteriors are the ends of a path: with l = log p(y_fold | y_others, θ) and draws of
p(θ | y_others) exp(t l),

    log p(y_fold | y_others) = ∫₀¹ E_t l dt = (E₀ l + E₁ l)/2 + (V₀ l − V₁ l)/12 + …        (dE/dt is V, the variance)

Euler and Maclaurin's sum; what follows is of the fourth order in the fold's share of the data, for an eighth of it far
below a nat. For a group's own part its log density, given the groups of its fold before it, takes the place of l, and
its covariance with l that of V.

References
----------
Vehtari, Gelman & Gabry (2017), https://doi.org/10.1007/s11222-016-9696-4
"""

from typing import NamedTuple

import numpy as np

from mien.models.factors.conditional import Bases, Parameters, StoredRows, bases
from mien.models.factors.sums import NULL, FactorSums, factor_sums
from mien.models.predictive_density import khat_limit

__all__ = [
    "GroupsLeftOut",
    "TrialsLeftOut",
    "group_log_density",
    "groups_left_out",
    "rows_log_density",
    "some_rows",
    "told_trials",
    "trial_log_density",
    "trials_left_out",
]  # fmt: skip

LOG_2_PI = float(np.log(2.0 * np.pi))
CHUNK = 4_000_000  # numbers that are worked on at once
ALONE = 1e-9  # 1 − leverage of a trial that alone tells a coefficient


class TrialsLeftOut(NamedTuple):
    """elpd : (trial,) nats, NaN where a trial alone tells a coefficient. khat : (trial,) Pareto k.

    mcse : Monte-Carlo error of Σ elpd. limit : of khat, above which an elpd is not to be trusted.
    """

    elpd: np.ndarray
    khat: np.ndarray
    mcse: float
    limit: float


class GroupsLeftOut(NamedTuple):
    """elpd : (group,) nats; its sum is the log density of all groups together.

    before, after : (draw,) each draw's part in the error of the sum.
    """

    elpd: np.ndarray
    before: np.ndarray
    after: np.ndarray


def some_rows(rows: StoredRows, at: np.ndarray) -> StoredRows:
    """Some trials (a mask or places), with only the groups that they belong to."""
    codes, group = np.unique(rows.group[at], return_inverse=True)
    levels = tuple(rows.levels[code] for code in codes)
    return StoredRows(rows.activation[at], rows.design[at], group, levels)


# Trials


def trials_left_out(draws: Parameters, rows: StoredRows) -> TrialsLeftOut:
    """The log density of every trial given all others, from draws that have seen it.

    Parameters
    ----------
    draws : of the posterior given all rows. rows : standardised as the draws are.
    """
    from mien.models.row_kernels import smoothed_weights

    size, trials = len(draws.uniqueness), len(rows.group)
    found, contrasts, told = bases(draws), _contrasts(rows), told_trials(rows)
    elpd, khat = np.full((2, trials), np.nan)
    error = np.zeros(size)
    step = max(1, CHUNK // size)
    for start in range(0, trials, step):
        some = start + np.flatnonzero(told[start : start + step])
        log_density = np.ascontiguousarray(_of_trials(found, contrasts, some).T)  # (trial, draw)
        # a posterior without the trial is one over the trial's density of the posterior with it
        weight, khat[some] = smoothed_weights(-log_density)
        weight /= weight.sum(axis=1, keepdims=True)
        top = log_density.max(axis=1)
        elpd[some] = top + np.log(np.einsum("id,id->i", weight, np.exp(log_density - top[:, None])))
        error += weight.sum(axis=0) - len(some) / size
    return TrialsLeftOut(elpd, khat, float(np.sqrt((error**2).sum())), float(khat_limit(size)))


def trial_log_density(draws: Parameters, rows: StoredRows) -> np.ndarray:
    """Log density p(y of a trial | all other trials, Λ, Ψ), (draw, trial); see `told_trials`.

    Parameters
    ----------
    rows : standardised as the draws are.
    """
    return _of_trials(bases(draws), _contrasts(rows), np.arange(len(rows.group)))


def told_trials(rows: StoredRows) -> np.ndarray:
    """(trial,) whether the other trials tell all coefficients without it: else it has no density given them."""
    basis = np.linalg.qr(rows.design)[0]
    return 1.0 - (basis**2).sum(axis=1) > ALONE


class _Contrasts(NamedTuple):
    """Unit vectors over trials, which depend on a trial's group and design row alone: on its "place".

    weight : (contrast,) λ. unit : (place, contrast) ũ. place : (trial,).
    between : (contrast, shape) ũ'Y. rest : (trial, shape) RY. leverage : (place,) of R.
    """

    weight: np.ndarray
    unit: np.ndarray
    place: np.ndarray
    between: np.ndarray
    rest: np.ndarray
    leverage: np.ndarray


def _contrasts(rows: StoredRows) -> _Contrasts:
    basis = np.linalg.qr(rows.design)[0]
    by_group = rows.by_group(basis)
    value, vector = np.linalg.eigh(np.diag(rows.counts) - by_group @ by_group.T)
    keep = value > NULL * value.max()
    value, vector = value[keep], vector[:, keep]
    unit = (vector[rows.group] - basis @ (by_group.T @ vector)) / np.sqrt(value)
    between = unit.T @ rows.activation
    rest = rows.activation - basis @ (basis.T @ rows.activation) - unit @ between
    leverage = 1.0 - (basis**2).sum(axis=1) - (unit**2).sum(axis=1)
    keys = np.column_stack([rows.group, rows.design])
    _, first, place = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return _Contrasts(value, unit[first], place.ravel(), between, rest, leverage[first])


def _of_trials(found: Bases, contrasts: _Contrasts, some: np.ndarray) -> np.ndarray:
    """Log density of `some` trials, each given all others, (draw, trial)."""
    rest, place, unit = contrasts.rest[some].T, contrasts.place[some], contrasts.unit.T
    squares, scale = np.ascontiguousarray(unit**2), contrasts.weight
    density = np.empty((len(found.ratio), len(some)))
    for number, (turn, ratio) in enumerate(zip(found.turn, found.ratio, strict=True)):
        shrink = 1.0 / (1.0 + ratio[:, None] * scale)  # (coordinate, contrast)
        precision = contrasts.leverage + shrink @ squares  # (coordinate, place)
        left = turn @ rest
        left += ((shrink * (turn @ contrasts.between.T)) @ unit)[:, place]
        left *= left
        left *= (1.0 / precision)[:, place]
        density[number] = 0.5 * np.log(precision).sum(axis=0)[place] - 0.5 * left.sum(axis=0)
    return density + (found.log_size[:, None] - 0.5 * LOG_2_PI * len(rest))


# Groups


def groups_left_out(before: np.ndarray, after: np.ndarray) -> GroupsLeftOut:
    """The log density of a fold's groups, from both ends of the path.

    Parameters
    ----------
    before, after : (draw, group) `group_log_density` in draws given the others alone, and given all.
    """
    elpd, errors = np.zeros(before.shape[1]), []
    for sign, density in ((1.0, before), (-1.0, after)):
        away = density - density.mean(axis=0)
        whole = away.sum(axis=1)
        elpd += density.mean(axis=0) / 2 + sign * (whole @ away) / len(away) / 12
        errors.append((whole / 2 + sign * (whole**2 - np.mean(whole**2)) / 12) / len(away))
    return GroupsLeftOut(elpd, *errors)


def group_log_density(draws: Parameters, others: StoredRows, mine: StoredRows) -> np.ndarray:
    """Log density p(y of all trials of a group | the others, the groups before it, Λ, Ψ), (draw, group of `mine`).

    Parameters
    ----------
    others : rows that tell all coefficients. mine : groups that none of the others' trials belongs to.
    """
    found = bases(draws)
    density = np.empty((len(found.ratio), len(mine.levels)))
    known = rows_log_density(found, others)
    for group in range(len(mine.levels)):
        others = _joined(others, some_rows(mine, mine.group == group))
        density[:, group] = -known
        known = rows_log_density(found, others)
        density[:, group] += known
    return density


def _joined(some: StoredRows, more: StoredRows) -> StoredRows:
    """Trials of other groups added."""
    return StoredRows(
        np.vstack([some.activation, more.activation]),
        np.vstack([some.design, more.design]),
        np.concatenate([some.group, len(some.levels) + more.group]),
        (*some.levels, *more.levels),
    )


def rows_log_density(found: Bases, rows: StoredRows) -> np.ndarray:
    """(draw,) log ∫ p(y | B, Λ, Ψ) dB of rows; such integrals mean something in differences."""
    sums = factor_sums(rows.activation, rows.design, rows.group)
    columns = np.linalg.slogdet(rows.design.T @ rows.design)[1]
    return _of_sums(found, sums) - 0.5 * rows.activation.shape[1] * columns


def _of_sums(found: Bases, sums: FactorSums) -> np.ndarray:
    """(draw,) log density of the contrasts: `engines.factor_kernel`'s, of many draws at once."""
    draws, shapes = found.ratio.shape
    density = np.empty(draws)
    step = max(1, CHUNK // (shapes * len(sums.vectors)))
    for start in range(0, draws, step):
        at = slice(start, start + step)
        squares = (found.turn[at].reshape(-1, shapes) @ sums.vectors.T) ** 2
        squares = np.add.reduceat(squares, sums.first[:-1], axis=1).reshape(-1, shapes, len(sums.weight))
        variance = 1.0 + found.ratio[at, :, None] * sums.weight
        density[at] = (sums.count * np.log(variance) + squares / variance).sum(axis=(1, 2))
    return sums.count.sum() * (found.log_size - 0.5 * shapes * LOG_2_PI) - 0.5 * density
