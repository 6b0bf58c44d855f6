"""The posterior of theta by importance sampling, with a verdict of its own.

    rounds      `ROUNDS` for each of `runs` independent runs: the first around the mode, the others from the weighted
                moments of the run's own points so far (weights smoothed, tempered while they are worth fewer than 40).
                In `MANY` dimensions the second round is made of all runs' points: a run's own tell too little
    weight      p(y, theta) over the mixture of all rounds of the run; no point is thrown away
    khat        Pareto shape of the weights of all runs together; ≤ 0.5: their variance is finite
    ess         (Σ w)² / Σ w² of smoothed weights over all runs, each run having the same total; ≥ 400
    ess of f    variance of f / Σ w² (f − mean)², w summing to 1, for every sd, correlation, sigma and rho; ≥ 400
    z           of a run's mean against the mean of the other runs, in standard errors Σ w² (f − mean)²; the largest of
                all quantities and runs; |z| ≤ 4
    evidence    mean of p over the round's own density, rounds after the first: each round's proposal is fixed before
                its points are drawn, so that the mean is unbiased. Log, with the standard error of the log

All runs move together, one density call a round. The evidence is that of the model: theta's density is normalised over
phi ≥ 0 and so is the folded proposal.
"""

from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.correlation import cholesky_of
from mien.models.engines.collapsed.fallback import Sampled, sample_by_nuts
from mien.models.engines.collapsed.mode import Density, find_mode
from mien.models.engines.collapsed.parameters import Parameters
from mien.models.engines.collapsed.pareto import pareto_smooth
from mien.models.engines.collapsed.proposal import (
    Frame,
    Proposal,
    draw,
    folded_points,
    from_moments,
    log_density,
    make_frame,
    split_start,
)
from mien.study.errors import FitError

__all__ = ["ESS", "KHAT", "Weighted", "Z", "importance_sample", "quantities", "sample_theta"]

KHAT, ESS, Z = 0.5, 400.0, 4.0
ROUNDS = 4
ENOUGH_FOR_MOMENTS = 40.0
TEMPERATURES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
ATTEMPTS = (1, 1, 4)  # times the points; those after the first start from what the one before has learnt
MANY = 8  # dimensions from which the second round's proposal is made of the points of all runs


class Weighted(NamedTuple):
    """Weighted points of theta.

    theta : (point, dim) with every sd ≥ 0, run by run.
    log_weight : (point,) log p − log q, as they are; weight : (point,) smoothed, summing to 1 within a run.
    run : (point,) number; log_density : (point,) log p(y, theta).
    asked : (point,) place of each point among all that this attempt asked the density for, in that order.
    khat, ess, max_z : see above; ess_of : of every quantity by name.
    log_evidence, log_evidence_mcse : in nats.
    notes : what was done beyond one attempt, and what is worth knowing; passed, reason : the verdict.
    """

    theta: np.ndarray
    log_weight: np.ndarray
    weight: np.ndarray
    run: np.ndarray
    log_density: np.ndarray
    asked: np.ndarray
    khat: float
    ess: float
    ess_of: dict[str, float]
    max_z: float
    log_evidence: float
    log_evidence_mcse: float
    notes: tuple[str, ...]
    passed: bool
    reason: str


class _Rounds(NamedTuple):
    """All runs' points, in the frame's order: x (run, point, dim), the rest (run, point)."""

    x: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    own: np.ndarray  # log density of the proposal that drew the point


def importance_sample(
    density: Density,
    *,
    points: int,
    runs: int,
    seed: np.random.SeedSequence,
    outcome: str = "",
    start: np.ndarray | None = None,
) -> Weighted:
    """One attempt: `points` in all, shared by `runs`.

    Raises
    ------
    FitError
        When the density is nowhere finite.
    """
    if density.parameters.dim == 0:
        return _single(density, outcome)
    frame = make_frame(density.parameters)
    mode = find_mode(density, outcome=outcome, start=start)
    given = (split_start(density, frame, mode),)
    return _attempt(density, frame, given, points=points, rngs=_generators(seed, runs), outcome=outcome)


def sample_theta(
    density: Density,
    *,
    points: int,
    runs: int,
    draws: int,
    seed: np.random.SeedSequence,
    outcome: str = "",
    start: np.ndarray | None = None,
) -> Weighted | Sampled:
    """The whole ladder: importance sampling, again from what was learnt, with more points, NUTS.

    Parameters
    ----------
    density : of one outcome; `outcome` is its name, for messages.
    points : of an attempt, shared by `runs`, times `ATTEMPTS`. Later attempts draw their second round
        from the weighted moments of the attempt before.
    draws : a chain, where it comes to NUTS, with as many chains as runs.
    start : (dim,) where the search for the mode begins.

    Raises
    ------
    FitError
        When the density is nowhere finite, or a residual sd runs to 0.
    """
    if density.parameters.dim == 0:
        return _single(density, outcome)
    frame = make_frame(density.parameters)
    mode = find_mode(density, outcome=outcome, start=start)
    seeds = seed.spawn(len(ATTEMPTS) + 1)
    split = split_start(density, frame, mode)
    given, notes = (split,), ()
    for own, times in zip(seeds, ATTEMPTS, strict=False):
        rngs = _generators(own, runs)
        found = _attempt(density, frame, given, points=times * points, rngs=rngs, outcome=outcome)
        if found.passed:
            return found._replace(notes=(*notes, *found.notes))
        notes = (*notes, *found.notes, f"{times * points} points: {found.reason}")
        given = (split, _next_proposal(frame, split, *_pooled(frame, found)))
    return sample_by_nuts(density, mode, draws=draws, chains=runs, seed=seeds[-1], notes=notes)


def _pooled(frame: Frame, found: Weighted) -> tuple[np.ndarray, np.ndarray]:
    """All points as those of one run, and their weights."""
    return found.theta[None][..., frame.order], found.log_weight[None]


def _generators(seed: np.random.SeedSequence, runs: int) -> list[np.random.Generator]:
    return [np.random.default_rng(child) for child in seed.spawn(runs)]


def _single(density: Density, outcome: str) -> Weighted:
    """Nothing is free: one point with all the weight."""
    value = density.values(np.zeros((1, 0)))
    if not np.isfinite(value[0]):
        raise FitError(
            f"outcome {outcome!r}: expected a finite log density at the Fixed values, found {value[0]}."
        )
    return Weighted(
        np.zeros((1, 0)), value, np.ones(1), np.zeros(1, dtype=np.int64), value, np.zeros(1, dtype=np.int64),
        khat=-1.0, ess=np.inf, ess_of={}, max_z=0.0,
        log_evidence=float(value[0]), log_evidence_mcse=0.0, notes=(), passed=True, reason="",
    )  # fmt: skip


def _attempt(
    density: Density, frame: Frame, given: tuple[Proposal, ...], *, points: int, rngs: list, outcome: str
) -> Weighted:
    rounds = _run_rounds(density, frame, given, points=points, rngs=rngs)
    if not np.isfinite(rounds.log_p).any(axis=1).all():
        raise FitError(
            f"outcome {outcome!r}: expected finite log densities around the mode, found none among "
            f"{rounds.log_p.size} points: check the response for extreme values and the priors' scale."
        )
    return _judged(density.parameters, frame, rounds)


def _run_rounds(
    density: Density, frame: Frame, given: tuple[Proposal, ...], *, points: int, rngs: list
) -> _Rounds:
    """The first rounds from the `given` proposals, the split-t before all, the others from the run's own points."""
    runs, dim = len(rngs), len(frame.order)
    size = -(-points // (ROUNDS * runs))  # rounded up
    x = np.empty((runs, ROUNDS * size, dim))
    log_p = np.empty((runs, ROUNDS * size))
    log_q = np.empty((ROUNDS, runs, ROUNDS * size))
    proposals: list[Proposal] = []
    for number in range(ROUNDS):
        so_far, new = slice(0, (number + 1) * size), slice(number * size, (number + 1) * size)
        if number < len(given):
            proposal = given[number]
        else:
            done = slice(0, number * size)
            log_weight = log_p[:, done] - _log_mean(log_q[:number, :, done])
            together = (1, -1) if number == 1 and dim >= MANY else (runs, number * size)
            proposal = _next_proposal(
                frame, given[0], x[:, done].reshape(*together, dim), log_weight.reshape(together)
            )
        x[:, new] = draw(proposal, frame, size, rngs)
        log_p[:, new] = _values(density, frame, x[:, new])
        for earlier, other in enumerate(proposals):
            log_q[earlier, :, new] = log_density(other, frame, x[:, new])
        log_q[number, :, so_far] = log_density(proposal, frame, x[:, so_far])
        proposals.append(proposal)
    own = np.concatenate(
        [log_q[number, :, number * size : (number + 1) * size] for number in range(ROUNDS)], axis=1
    )
    return _Rounds(x, log_p, _log_mean(log_q), own)


def _log_mean(log_q: np.ndarray) -> np.ndarray:
    """Log of the mean over the first axis; `logaddexp` is slower by far."""
    largest = log_q.max(axis=0)
    return largest + np.log(np.exp(log_q - largest).mean(axis=0))


def _values(density: Density, frame: Frame, x: np.ndarray) -> np.ndarray:
    """Log p (run, point), −inf where an sd that is not folded is negative."""
    runs, points, dim = x.shape
    values = density.values(np.ascontiguousarray(x.reshape(-1, dim)[:, frame.back])).reshape(runs, points)
    outside = (x[..., : len(frame.flips)] < 0.0).any(axis=-1)
    return np.where(outside | np.isnan(values), -np.inf, values)


def _next_proposal(frame: Frame, start: Proposal, x: np.ndarray, log_weight: np.ndarray) -> Proposal:
    """From the weighted moments of every run's points (run, point, dim)."""
    weight = _moment_weights(log_weight)
    cut = frame.t_dim
    x = x[..., :cut]
    before = _spread(start)
    mean = (weight[:, None] @ x)[:, 0]
    away = x - mean[:, None]
    covariance = (away * weight[..., None]).transpose(0, 2, 1) @ away
    # few points tell little of many directions: the spread around the mode counts as `cut` points
    worth = 1.0 / (weight**2).sum(axis=1)[:, None, None]
    covariance = (worth * covariance + cut * before[:cut, :cut]) / (worth + cut)
    if cut == len(frame.order):
        return from_moments(frame, mean, covariance)
    return _with_sigmas(frame, start, before, mean, covariance)


def _spread(start: Proposal) -> np.ndarray:
    """Covariance (dim, dim) of the first round's proposal, as if it were Gaussian."""
    assert start.upper is not None
    assert start.lower is not None
    root = start.root[0, 0]
    return (root * (start.upper * start.lower)) @ root.T


def _with_sigmas(frame: Frame, start: Proposal, before, mean, covariance) -> Proposal:
    """Add log sigmas: Gaussian given the rest, regression and spread from the curvature at the mode."""
    cut = frame.t_dim
    centre = start.mean[0, 0]
    regression = (
        np.linalg.solve(before[:cut, :cut], before[:cut, cut:]).T if cut else np.zeros((len(before), 0))
    )
    left = before[cut:, cut:] - regression @ before[:cut, cut:]
    mean = np.concatenate([mean, centre[cut:] + (mean - centre[:cut]) @ regression.T], axis=1)
    across = covariance @ regression.T
    whole = np.concatenate(
        [
            np.concatenate([covariance, across], axis=2),
            np.concatenate([across.transpose(0, 2, 1), regression @ across + left], axis=2),
        ],
        axis=1,
    )
    assert start.upper is not None
    assert start.lower is not None
    gaussian = np.arange(len(frame.order)) >= cut
    sides = np.where(gaussian, start.upper, 1.0), np.where(gaussian, start.lower, 1.0)
    return from_moments(frame, mean, whole, sides)


def _moment_weights(log_weight: np.ndarray) -> np.ndarray:
    """(run, point), summing to 1: smoothed, and tempered until they are worth enough points."""
    smoothed, _ = pareto_smooth(log_weight)
    nothing = np.isneginf(smoothed).all(axis=1)  # the end of the rounds sees whether it stays so
    smoothed[nothing] = 0.0
    weight = np.exp(smoothed)
    weight /= weight.sum(axis=1, keepdims=True)
    enough = min(ENOUGH_FOR_MOMENTS, 0.5 * weight.shape[1])
    for run in np.flatnonzero(1.0 / (weight**2).sum(axis=1) < enough):
        for temperature in TEMPERATURES:
            row = np.exp(temperature * smoothed[run])
            weight[run] = row / row.sum()
            if 1.0 / (weight[run] ** 2).sum() >= enough:
                break
    return weight


def _judged(parameters: Parameters, frame: Frame, rounds: _Rounds) -> Weighted:
    runs, points, dim = rounds.x.shape
    log_weight = rounds.log_p - rounds.log_q
    smoothed, khat_run = pareto_smooth(log_weight)
    weight = np.exp(smoothed)
    weight /= weight.sum(axis=1, keepdims=True)
    khat = float(pareto_smooth(log_weight.reshape(1, -1))[1][0])
    ess = float(runs**2 / (weight**2).sum())
    x = folded_points(rounds.x.copy(), frame, np.arange(len(frame.flips)))
    theta = np.ascontiguousarray(x.reshape(-1, dim)[:, frame.back])
    values = quantities(parameters, theta)
    ess_of, max_z = _agreement(values, weight)
    evidence, mcse = _evidence(rounds, points // ROUNDS)
    reason = _reason(khat, ess, ess_of, max_z)
    return Weighted(
        theta, log_weight.ravel(), weight.ravel(), np.repeat(np.arange(runs), points), rounds.log_p.ravel(),
        asked=np.arange(runs * points).reshape(ROUNDS, runs, -1).swapaxes(0, 1).ravel(),
        khat=khat, ess=ess, ess_of=ess_of, max_z=max_z, log_evidence=evidence, log_evidence_mcse=mcse,
        notes=(f"largest khat of a run {khat_run.max():.2f}",), passed=not reason, reason=reason,
    )  # fmt: skip


def quantities(parameters: Parameters, theta: np.ndarray) -> dict[str, np.ndarray]:
    """Every free sd, correlation, sigma and rho by name, (point,) at theta (point, dim)."""
    natural = parameters.natural(theta)
    values = {}
    for name, place in zip(parameters.names, parameters.sd_free, strict=False):
        values[name] = natural.sd[:, place]
    rest = parameters.names[len(parameters.sd_free) :]
    correlations = _correlations(parameters, natural.partial)
    for name, place in zip(rest, parameters.partial_free, strict=False):
        values[name] = correlations[:, place]
    rest = rest[len(parameters.partial_free) :]
    for name, place in zip(rest, parameters.sigma_free, strict=False):
        values[name] = natural.sigma[:, place]
    if parameters.rho_free:
        values["rho"] = natural.rho
    return values


def _correlations(parameters: Parameters, partial: np.ndarray) -> np.ndarray:
    """(point, partial): the correlations in the places of the partial correlations."""
    result = partial.copy()
    for _, k, first in parameters.blocks:
        if k > 2:
            factor = cholesky_of(partial, first, k)
            matrix = factor @ factor.transpose(0, 2, 1)
            result[:, first : first + k * (k - 1) // 2] = matrix[:, *np.tril_indices(k, -1)]
    return result


def _agreement(values: dict[str, np.ndarray], weight: np.ndarray) -> tuple[dict[str, float], float]:
    """Effective size of every quantity, and the largest |z| between a run and the others."""
    runs, points = weight.shape
    f = np.stack(list(values.values())).reshape(len(values), runs, points)
    f = np.where(weight > 0.0, f, 0.0)  # a point without weight may be infinite
    means = np.einsum("qrn,rn->qr", f, weight)
    f -= means.mean(axis=1)[:, None, None]
    weighted = f * weight
    variance = np.einsum("qrn,qrn->q", weighted, f) / runs
    error = np.einsum("qrn,qrn->q", weighted, weighted) / runs**2
    ess_of = {
        name: float(own / its) if its > 0.0 else np.inf
        for name, own, its in zip(values, variance, error, strict=True)
    }
    if runs == 1:
        return ess_of, 0.0
    weighted -= (means - means.mean(axis=1, keepdims=True))[..., None] * weight  # about the run's own mean
    errors = np.einsum("qrn,qrn->qr", weighted, weighted)
    others = (means.sum(axis=1, keepdims=True) - means) / (runs - 1)
    error_others = (errors.sum(axis=1, keepdims=True) - errors) / (runs - 1) ** 2
    spread = np.sqrt(errors + error_others)
    z = np.abs(means - others) / np.where(spread > 0.0, spread, np.inf)
    return ess_of, float(z.max(initial=0.0))


def _evidence(rounds: _Rounds, size: int) -> tuple[float, float]:
    """Log of the mean of p over the round's own density, and its standard error."""
    ratio = (rounds.log_p - rounds.own)[:, size:].ravel()
    largest = ratio.max()
    scaled = np.exp(ratio - largest)
    mean = scaled.mean()
    return float(largest + np.log(mean)), float(scaled.std() / (mean * np.sqrt(len(scaled))))


def _reason(khat: float, ess: float, ess_of: dict[str, float], max_z: float) -> str:
    """What misses the limits, "" for nothing."""
    failures = []
    if not khat <= KHAT:
        failures.append(f"khat {khat:.2f} > {KHAT}")
    if not ess >= ESS:
        failures.append(f"ESS {ess:.0f} < {ESS:.0f}")
    failures += [f"ESS of {name} {size:.0f} < {ESS:.0f}" for name, size in ess_of.items() if not size >= ESS]
    if not max_z <= Z:
        failures.append(f"|z| between runs {max_z:.1f} > {Z:g}")
    return ", ".join(failures)
