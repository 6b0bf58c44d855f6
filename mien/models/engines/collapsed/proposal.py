"""Proposals for theta: mixtures of t densities, folded over the signs of the sds, for several runs at once.

    first round     split-t around the mode: along each whitened axis a spread for either side, from how far the
                    density has dropped 1, 2 and 3 standard deviations out. Every axis has a t of its own: the tails of
                    one t in five dimensions are too thin for an exponential tail of a correlation or an sd
    later rounds    .85 t₅(weighted mean, covariance of the run so far) + .15 null components
    null component  of one sd: centred at sd = 0, its correlations at the prior's width, the rest as it would be if
                    this sd were small. Where an sd is likely to be away from 0, posterior mass leaks to 0 along
                    a funnel in its correlations, which few points meet and k-hat does not see before there are many
    folding         x = D y, D the sign change that makes every phi ≥ 0; the density at x sums over the images of x.
                    Only sds within reach of 0 are folded. For others the few draws with phi < 0 get weight 0: exact
    many sigmas     beyond `FEW` dimensions log sigmas are Gaussian given the rest, with the Hessian's regression

theta is reordered inside (`Frame`): log sigmas last where they are Gaussian. Arrays are (run, component, …); the
first round's has one run for all.
"""

import math
from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.mixture_density import densities
from mien.models.engines.collapsed.mode import Density, Mode
from mien.models.engines.collapsed.parameters import Parameters

__all__ = ["Frame", "Proposal", "draw", "from_moments", "log_density", "make_frame", "split_start"]

DEGREES = 5.0  # of the t distributions; with 8 a point is worth 6 % more, and 16,000 points reveal a tail (k-hat .57)
FEW = 12  # dimensions up to which everything is one t
REACH_FOLD, REACH_NULL = 6.5, 5.0  # mean/sd of phi below which an sd is folded, and has a null component
MOST_FOLDED = 8
NULL_SHARE = 0.15
NULL_SPREAD = (0.5, 1.5)  # of phi in its null component, about half of its mean
SPLIT = (0.3, 6.0)  # limits of a side's spread along an axis
RESCALINGS, WRONG = 3, (0.5, 3.0)  # of axes whose sides' mean is outside
SMALLEST = 1e-250  # of a density that a number holds with all its digits
LEAST_DROP, NARROWEST = 0.125, 0.01  # a flat top says little: at most 2, 4, 6 at 1, 2, 3


class Frame(NamedTuple):
    """theta's order inside proposals.

    order : (dim,) numbers of theta; back : its inverse.
    t_dim : how many coordinates are t; the others are Gaussian given these.
    flips : (sd, dim) in the new order; sds come first in either.
    null_sd : (dim,) spread of a correlation when its sd is 0 (the prior's), nan elsewhere.
    """

    order: np.ndarray
    back: np.ndarray
    t_dim: int
    flips: np.ndarray
    null_sd: np.ndarray


class Proposal(NamedTuple):
    """One round's mixture, for every run.

    mean (run, component, dim), root (run, component, dim, dim) lower triangular, log_share (component,).
    upper, lower : (dim,) spreads of the two sides, None for 1; apart : whether each axis has a t of its own.
    folded : numbers of the sds that are folded.
    columns (run, component, dim, dim), offset (run, component, dim), log_constant (run, component) : for evaluation,
    standardised = x columns − offset. folds : (component, fold) whether it has images by that fold.
    """

    mean: np.ndarray
    root: np.ndarray
    log_share: np.ndarray
    upper: np.ndarray | None
    lower: np.ndarray | None
    apart: bool
    folded: np.ndarray
    columns: np.ndarray
    offset: np.ndarray
    log_constant: np.ndarray
    folds: np.ndarray


def make_frame(parameters: Parameters) -> Frame:
    """Log sigmas last and Gaussian where theta has many dimensions."""
    dim = parameters.dim
    numbers = np.arange(dim)
    sigma = parameters.parts(numbers)[2] if dim > FEW else numbers[:0]
    order = np.concatenate([np.setdiff1d(numbers, sigma), sigma]).astype(np.int64)
    null_sd = np.full(dim, np.nan)
    a = parameters.power
    # Variance of atanh p when p has density ∝ (1 − p²)^(a − 1): half the trigamma function at a, by its series.
    null_sd[parameters.parts(numbers)[1]] = np.sqrt(0.5 * (1.0 / a + 0.5 / a**2 + 1.0 / (6.0 * a**3)))
    return Frame(order, np.argsort(order), dim - len(sigma), parameters.flips[:, order], null_sd[order])


def _proposal(
    frame: Frame, mean: np.ndarray, root: np.ndarray, share: np.ndarray, *, folded: np.ndarray,
    null_of: np.ndarray, sides: tuple[np.ndarray, np.ndarray] | None = None, apart: bool = False,
) -> Proposal:  # fmt: skip
    """Lay a mixture out for evaluation. `null_of` (component,): the sd a component is symmetric in, −1 for none."""
    dim = mean.shape[2]
    inverse = np.linalg.inv(root)
    log_root = np.log(np.diagonal(root, axis1=2, axis2=3)).sum(axis=2)
    constant = _log_constant(frame.t_dim, dim, apart) - log_root + np.log(share)
    if sides is not None:
        constant = constant - np.log(0.5 * (sides[0] + sides[1])).sum()
    constant += np.where(np.isin(null_of, folded), math.log(2.0), 0.0)  # symmetric: both images at once
    upper, lower = sides or (None, None)
    return Proposal(
        mean, root, np.log(share), upper, lower, apart, folded, np.ascontiguousarray(inverse.swapaxes(2, 3)),
        np.einsum("rcij,rcj->rci", inverse, mean), constant, (null_of[:, None] != folded).astype(np.int64),
    )  # fmt: skip


def _log_constant(t_dim: int, dim: int, apart: bool) -> float:
    """Of the standard density: t in the first coordinates, one or one an axis; Gaussian in the rest."""
    size, times = (1, t_dim) if apart else (t_dim, 1)
    own = math.lgamma((DEGREES + size) / 2.0) - math.lgamma(DEGREES / 2.0)
    own -= 0.5 * size * math.log(DEGREES * math.pi)
    return times * own - 0.5 * (dim - t_dim) * math.log(2.0 * math.pi)


def log_density(proposal: Proposal, frame: Frame, x: np.ndarray) -> np.ndarray:
    """(run, point) at x (run, point, dim), which has phi ≥ 0 in every folded sd."""
    flips = [np.flatnonzero(frame.flips[sd] < 0.0) for sd in proposal.folded]
    flip = np.concatenate([*flips, np.zeros(0, dtype=np.int64)])
    sides = np.empty((0, 0))
    if proposal.upper is not None and proposal.lower is not None:
        sides = np.stack([1.0 / proposal.upper, 1.0 / proposal.lower])
    result, last = np.zeros(x.shape[:2]), len(proposal.columns) - 1
    most = proposal.log_constant.max(axis=1)
    factor = np.exp(proposal.log_constant - most[:, None])
    flip_from = np.cumsum([0, *map(len, flips)])
    for run, points in enumerate(x):
        own = min(run, last)
        densities(
            np.ascontiguousarray(points.T), proposal.columns[own], proposal.offset[own], factor[own], proposal.folds,
            flip, flip_from, sides, frame.t_dim, proposal.apart, DEGREES, result[run],
        )  # fmt: skip
        far = np.flatnonzero(~(result[run] > SMALLEST))
        with np.errstate(divide="ignore"):
            np.log(result[run], out=result[run])
        result[run] += most[own]
        if len(far):
            result[run, far] = _far_density(proposal, frame, points[far], own)
    return result


def _far_density(proposal: Proposal, frame: Frame, x: np.ndarray, run: int) -> np.ndarray:
    """(point,) of points (point, dim) so far out that densities are too small for numbers, by logarithms."""
    parts, cut = [], frame.t_dim
    for component, folds in enumerate(proposal.folds):
        signs = np.ones((1, x.shape[1]))
        for sd in proposal.folded[folds == 1]:
            signs = np.concatenate([signs, signs * frame.flips[sd]])
        z = (x * signs[:, None]) @ proposal.columns[run, component] - proposal.offset[run, component]
        if proposal.upper is not None and proposal.lower is not None:
            z /= np.where(z > 0.0, proposal.upper, proposal.lower)
        square = z**2
        heavy = square[..., :cut] if proposal.apart else square[..., :cut].sum(axis=2, keepdims=True)
        power = DEGREES + (1.0 if proposal.apart else cut)
        value = -0.5 * (power * np.log1p(heavy / DEGREES).sum(axis=2) + square[..., cut:].sum(axis=2))
        parts.append(value + proposal.log_constant[run, component])
    return np.logaddexp.reduce(np.concatenate(parts), axis=0)


def draw(proposal: Proposal, frame: Frame, points: int, rngs: list[np.random.Generator]) -> np.ndarray:
    """(run, point, dim), folded; each run from its own generator."""
    runs, dim = len(rngs), proposal.mean.shape[2]
    result = np.empty((runs, points, dim))
    share = np.exp(proposal.log_share)
    for run, rng in enumerate(rngs):
        standard = rng.standard_normal((points, dim))
        mixing = rng.chisquare(DEGREES, (points, frame.t_dim if proposal.apart else 1))
        standard[:, : frame.t_dim] *= np.sqrt(DEGREES / mixing)
        if proposal.upper is not None and proposal.lower is not None:
            above = rng.random((points, dim)) < proposal.upper / (proposal.upper + proposal.lower)
            standard = np.abs(standard) * np.where(above, proposal.upper, -proposal.lower)
        own = min(run, len(proposal.mean) - 1)
        counts = rng.multinomial(points, share)
        at = 0
        for component, count in enumerate(counts):
            part = slice(at, at + count)
            result[run, part] = (
                standard[part] @ proposal.root[own, component].T + proposal.mean[own, component]
            )
            at += count
    return folded_points(result, frame, proposal.folded)


def folded_points(x: np.ndarray, frame: Frame, folded: np.ndarray) -> np.ndarray:
    """The images of x (…, dim) with phi ≥ 0 in the folded sds; changes x."""
    for sd in folded:
        x[x[..., sd] < 0.0] *= frame.flips[sd]
    return x


def split_start(density: Density, frame: Frame, mode: Mode) -> Proposal:
    """The first round's proposal, from the density's drop along the axes of the curvature at the mode.

    Where the curvature misleads (it is next to nothing at a mode near sd = 0) the axes are rescaled first.
    """
    order = frame.order
    centre = folded_points(mode.theta[order].copy(), frame, np.arange(len(frame.flips)))
    moved = np.where(centre == mode.theta[order], 1.0, -1.0)
    root = np.linalg.cholesky(mode.covariance[np.ix_(order, order)] * np.outer(moved, moved))
    upper, lower = _sides(density, frame, mode.value, centre, root)
    for _ in range(RESCALINGS):
        middle = np.sqrt(upper * lower)
        wrong = (middle < WRONG[0]) | (middle > WRONG[1])
        if not wrong.any():
            break
        root = root * np.where(wrong, middle, 1.0)
        upper, lower = _sides(density, frame, mode.value, centre, root)
    upper, lower = np.clip(upper, *SPLIT), np.clip(lower, *SPLIT)
    sd = np.sqrt(np.diag((root * (upper * lower)) @ root.T))
    return _proposal(
        frame, centre[None, None], root[None, None], np.ones(1),
        folded=_within(frame, np.abs(centre) / sd, REACH_FOLD), null_of=np.array([-1]), sides=(upper, lower),
        apart=True,
    )  # fmt: skip


def _sides(density: Density, frame: Frame, value: float, centre, root) -> tuple[np.ndarray, np.ndarray]:
    """Spreads (dim,) above and below the mode from 6·dim densities, as Gaussian sides of the same drop."""
    dim = len(centre)
    away = np.array([1.0, 2.0, 3.0, -1.0, -2.0, -3.0])
    places = centre + (away[:, None, None] * root.T).reshape(-1, dim)
    drop = value - density.values(places[:, frame.back]).reshape(6, dim)
    drop = np.where(np.isnan(drop), np.inf, drop)
    spread = np.abs(away)[:, None] / np.sqrt(2.0 * np.maximum(drop, LEAST_DROP))
    spread = np.maximum(spread, NARROWEST)
    return spread[:3].max(axis=0), spread[3:].max(axis=0)


def _within(frame: Frame, ratio: np.ndarray, reach: float) -> np.ndarray:
    """Numbers of the sds whose mean/sd is below `reach`: at most `MOST_FOLDED`, the nearest to 0."""
    ratio = ratio[: len(frame.flips)]
    nearest = np.argsort(ratio)[:MOST_FOLDED]
    return np.sort(nearest[ratio[nearest] < reach])


def from_moments(
    frame: Frame,
    mean: np.ndarray,
    covariance: np.ndarray,
    sides: tuple[np.ndarray, np.ndarray] | None = None,
) -> Proposal:
    """A later round's mixture from each run's mean (run, dim) and covariance (run, dim, dim) of folded points.

    `sides`, upper and lower spreads (dim,), are for Gaussian log sigmas, which keep those of the first round.
    """
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    ratio = (mean / sd).min(axis=0)
    folded = _within(frame, ratio, REACH_FOLD)
    nulls = _within(frame, ratio, REACH_NULL)
    means, covariances = [mean], [covariance]
    for null in nulls:
        its_mean, its_covariance = _null_component(frame, mean, covariance, int(null))
        means.append(its_mean)
        covariances.append(its_covariance)
    share = np.ones(1)
    if len(nulls):
        share = np.array([1.0 - NULL_SHARE, *np.full(len(nulls), NULL_SHARE / len(nulls))])
    return _proposal(
        frame, np.stack(means, axis=1), np.linalg.cholesky(np.stack(covariances, axis=1)), share,
        folded=folded, null_of=np.array([-1, *nulls]), sides=sides,
    )  # fmt: skip


def _null_component(
    frame: Frame, mean: np.ndarray, covariance: np.ndarray, null: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sd `null` at 0; the others given that it is small; its correlations free of everything."""
    variance = covariance[:, null, null]
    shift = -np.minimum(mean[:, null], 2.0 * np.sqrt(variance))
    regression = covariance[:, :, null] / variance[:, None]
    centre = mean + regression * shift[:, None]
    spread = covariance - regression[:, :, None] * covariance[:, None, null, :]
    apart = np.flatnonzero(frame.flips[null] < 0.0)  # the sd and its correlations
    centre[:, apart] = 0.0
    spread[:, apart, :] = 0.0
    spread[:, :, apart] = 0.0
    own = np.repeat(frame.null_sd[None, apart] ** 2, len(mean), axis=0)
    narrowest = np.minimum(NULL_SPREAD[0], 2.0 * np.sqrt(variance))
    own[:, 0] = np.clip(0.5 * mean[:, null], narrowest, NULL_SPREAD[1]) ** 2
    spread[:, apart, apart] = own
    return centre, spread
