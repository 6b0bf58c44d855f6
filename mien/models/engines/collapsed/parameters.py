"""theta: the free variance parameters of one outcome on the whole real line, and their prior.

    theta                         natural                     prior
    phi of every free sd          sd = c·sinh(phi)            half-normal, half-t, exponential
    atanh of partial correlations p = tanh                    LKJ(eta): p ~ (1 − p²)^(eta − 1 + (k − 2 − j)/2)
    log of every free sigma       sigma = exp                 as sds
    atanh of rho                  rho = tanh                  normal, on atanh rho

An sd may be negative here. Changing its sign together with those of its partial correlations changes nothing in the
model (Σ → DΣD), so that sd = 0 is an interior point with a smooth density around it and no boundary: `flips` holds
these changes. `log_prior` is normalised on the folded space (every free phi ≥ 0) and extended by symmetry: over the
whole space it integrates to 2 to the number of free sds. sinh is linear near 0 and exponential far out; c is the sd
at which the data begin to tell it from 0. Where a correlation other than 0 is fixed, the change of sign would not be
neutral and sd = |c·sinh(phi)| is taken.

Fixed parameters have a value and no place in theta; the Fixed value of a factor is every *correlation* of its blocks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mien.models.design import Block
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Normal, Prior, ResolvedPrior
from mien.study.errors import FitError

__all__ = ["Natural", "Parameters", "make_parameters"]


class Natural(NamedTuple):
    """N points in the model's own terms.

    sd : (point, term), may be negative; partial : (point, partial); sigma : (point, stratum); rho : (point,), 0
    without autocorrelation.
    """

    sd: np.ndarray
    partial: np.ndarray
    sigma: np.ndarray
    rho: np.ndarray


@dataclass(frozen=True, eq=False)
class Positives:
    """Prior densities of several positive parameters; each array has one entry a member of its family."""

    constant: float
    normal: tuple[np.ndarray, np.ndarray]  # place, 1/sd²
    student: tuple[np.ndarray, np.ndarray, np.ndarray]  # place, df, df·scale²
    exponential: tuple[np.ndarray, np.ndarray]  # place, rate

    def log_density(self, value: np.ndarray) -> np.ndarray:
        """(point,) sum over parameters of the log half-density at |value| (point, parameter)."""
        total = np.full(len(value), self.constant)
        place, precision = self.normal
        if len(place):
            total -= 0.5 * (value[:, place] ** 2 @ precision)
        place, df, spread = self.student
        if len(place):
            total -= np.log1p(value[:, place] ** 2 / spread) @ (0.5 * (df + 1.0))
        place, rate = self.exponential
        if len(place):
            total -= np.abs(value[:, place]) @ rate
        return total

    def slope(self, value: np.ndarray) -> np.ndarray:
        """(parameter,) derivative of the log half-density by `value` at one point."""
        result = np.zeros(len(value))
        place, precision = self.normal
        result[place] = -value[place] * precision
        place, df, spread = self.student
        result[place] = -(df + 1.0) * value[place] / (spread + value[place] ** 2)
        place, rate = self.exponential
        result[place] = -rate * np.sign(value[place])
        return result


@dataclass(frozen=True, eq=False)
class Parameters:
    """The map between theta (point, dim) and `Natural`, and the prior on theta.

    names : of theta, "sd:1|participant", "corr:participant[valence,1]", "sigma" or "sigma:film", "rho".
    flips : (free sd, dim) ±1, the sign change of theta that leaves the density unchanged, one row per free sd.
    blocks : first term, number of terms, first partial correlation of every block.
    """

    names: tuple[str, ...]
    flips: np.ndarray
    blocks: tuple[tuple[int, int, int], ...]
    at_rest: Natural  # one point: the Fixed values, anything elsewhere
    sd_free: np.ndarray  # (free sd,) term numbers; likewise below
    partial_free: np.ndarray
    sigma_free: np.ndarray
    ar1: bool
    rho_free: bool
    scale: np.ndarray  # (free sd,) c
    unsigned: np.ndarray  # (free sd,) bool: |c·sinh(phi)|
    sd_prior: Positives
    power: np.ndarray  # (free partial,) a of (1 − p²)^a with respect to atanh p
    sigma_prior: Positives
    rho_prior: tuple[float, float]  # mean and sd of atanh rho
    constant: float  # of the correlations' and rho's densities
    start: np.ndarray  # (dim,) to search the mode from: sds of the size c, sigma half the prior's

    @property
    def dim(self) -> int:
        """Length of theta."""
        return len(self.names)

    def parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Theta (…, dim) cut into phi, atanh partial, log sigma, atanh rho."""
        one = len(self.sd_free)
        two = one + len(self.partial_free)
        three = two + len(self.sigma_free)
        return theta[..., :one], theta[..., one:two], theta[..., two:three], theta[..., three:]

    def natural(self, theta: np.ndarray) -> Natural:
        """The model's own parameters at theta (point, dim); infinite where they overflow."""
        phi, angle, log_sigma, rho_angle = self.parts(theta)
        values = [np.repeat(value, len(theta), axis=0) for value in self.at_rest]
        with np.errstate(over="ignore"):
            sd = self.scale * np.sinh(phi)
            values[0][:, self.sd_free] = np.where(self.unsigned, np.abs(sd), sd)
            values[1][:, self.partial_free] = np.tanh(angle)
            values[2][:, self.sigma_free] = np.exp(log_sigma)
        if self.rho_free:
            values[3][:] = np.tanh(rho_angle[:, 0])
        return Natural(*values)

    def log_prior(self, theta: np.ndarray) -> np.ndarray:
        """(point,) log density of theta (point, dim), Jacobians included, normalised over phi ≥ 0."""
        phi, angle, log_sigma, rho_angle = self.parts(theta)
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.sd_prior.log_density(self.scale * np.sinh(phi))
            total += _log_cosh(phi).sum(axis=1) - 2.0 * (_log_cosh(angle) @ self.power)
            total += self.sigma_prior.log_density(np.exp(log_sigma)) + log_sigma.sum(axis=1) + self.constant
        if self.rho_free:
            mean, sd = self.rho_prior
            total -= 0.5 * ((rho_angle[:, 0] - mean) / sd) ** 2
        return np.where(np.isnan(total), -np.inf, total)

    def pull_back(
        self, theta: np.ndarray, d_sd: np.ndarray, d_partial: np.ndarray, d_sigma: np.ndarray, d_rho: float
    ) -> np.ndarray:
        """Gradient of log likelihood + log prior by theta (dim,).

        Parameters
        ----------
        theta : (dim,)
        d_sd, d_partial, d_sigma, d_rho : derivatives of the log likelihood by `natural(theta)` (term,), (partial,),
            (stratum,) and a number; those of Fixed parameters are not looked at.
        """
        phi, angle, log_sigma, rho_angle = self.parts(theta)
        with np.errstate(over="ignore", invalid="ignore"):
            sd, sigma, partial = self.scale * np.sinh(phi), np.exp(log_sigma), np.tanh(angle)
            signs = np.where(self.unsigned & (phi < 0), -1.0, 1.0)
            slope = signs * d_sd[self.sd_free] + self.sd_prior.slope(sd)
            parts = [
                slope * self.scale * np.cosh(phi) + np.tanh(phi),
                d_partial[self.partial_free] * (1.0 - partial) * (1.0 + partial) - 2.0 * self.power * partial,
                (d_sigma[self.sigma_free] + self.sigma_prior.slope(sigma)) * sigma + 1.0,
            ]
        if self.rho_free:
            mean, sd_rho = self.rho_prior
            rho = np.tanh(rho_angle)
            parts.append(d_rho * (1.0 - rho) * (1.0 + rho) - (rho_angle - mean) / sd_rho**2)
        return np.concatenate(parts)

    def fold(self, theta: np.ndarray) -> np.ndarray:
        """The image of each point (point, dim) that has every phi ≥ 0."""
        result = np.array(theta, dtype=np.float64)
        for place, flip in enumerate(self.flips):
            negative = result[:, place] < 0
            result[negative] *= flip
        return result


def _log_cosh(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    return x + np.log1p(np.exp(-2.0 * x)) - math.log(2.0)


def make_parameters(
    blocks: Sequence[Block],
    priors: Mapping[str, ResolvedPrior],
    strata: Sequence[str],
    ar1: bool,
    scale: np.ndarray,
) -> Parameters:
    """Lay theta out.

    Parameters
    ----------
    blocks : of the design; one sd a term, numbered in this order.
    priors : of the outcome: "sd:term|factor", "corr:factor", "sigma" or "sigma:stratum", "rho".
    strata : labels of the residual sds, ("",) for one.
    ar1 : whether residuals are autocorrelated.
    scale : (term,) c > 0: residual sd / √(information of an average level).
    """
    terms = [f"{term}|{block.factor}" for block in blocks for term in block.terms]
    sds = [priors[f"sd:{term}"].prior for term in terms]
    sigmas = [_sigma_prior(priors, stratum) for stratum in strata]
    correlations = [_correlations(block, priors) for block in blocks]
    rho = priors["rho"].prior if ar1 else Fixed(0.0)
    free = [_free(sds), np.flatnonzero([c.free for block in correlations for c in block]), _free(sigmas)]
    rho_mean, rho_sd = (rho.mean, rho.sd) if isinstance(rho, Normal) else (0.0, 1.0)
    partials = [c for block in correlations for c in block]
    scale = np.asarray(scale, dtype=np.float64)[free[0]]
    flips, layout = _flips(blocks, correlations, free)
    constant = np.log(scale).sum() + sum(partials[place].constant for place in free[1])
    constant -= math.log(rho_sd * math.sqrt(2.0 * math.pi)) if isinstance(rho, Normal) else 0.0
    names = [f"sd:{terms[place]}" for place in free[0]] + [partials[place].name for place in free[1]]
    names += [f"sigma:{strata[place]}" if strata[place] else "sigma" for place in free[2]]
    skewed = [any(not c.free and c.value != 0.0 for c in block) for block in correlations]
    unsigned = np.repeat(np.array(skewed, dtype=bool), [len(block.terms) for block in blocks])
    return Parameters(
        names=(*names, "rho") if isinstance(rho, Normal) else tuple(names),
        flips=np.hstack([flips, np.ones((len(flips), int(isinstance(rho, Normal))))]),
        blocks=layout,
        at_rest=Natural(
            np.array([_value(prior) for prior in sds])[None].reshape(1, len(sds)),
            np.array([c.value for c in partials]).reshape(1, len(partials)),
            np.array([_value(prior) for prior in sigmas]).reshape(1, len(sigmas)),
            np.array([rho.value if isinstance(rho, Fixed) else 0.0]),
        ),
        sd_free=free[0], partial_free=free[1], sigma_free=free[2], ar1=ar1, rho_free=isinstance(rho, Normal),
        scale=scale, unsigned=unsigned[free[0]],
        sd_prior=_positives([sds[place] for place in free[0]]),
        power=np.array([partials[place].power for place in free[1]]),
        sigma_prior=_positives([sigmas[place] for place in free[2]]),
        rho_prior=(rho_mean, rho_sd), constant=float(constant),
        start=np.concatenate([
            np.full(len(free[0]), math.asinh(1.0)), np.zeros(len(free[1])),
            np.array([math.log(0.5 * _size(sigmas[place])) for place in free[2]]),
            np.full(int(isinstance(rho, Normal)), rho_mean),
        ]),
    )  # fmt: skip


def _value(prior: Prior) -> float:
    return float(prior.value) if isinstance(prior, Fixed) else 1.0


def _size(prior: Prior) -> float:
    """The size of a positive parameter that its prior has in mind."""
    match prior:
        case HalfNormal(size) | HalfStudentT(_, size):
            return size
        case Exponential(rate):
            return 1.0 / rate
        case _:
            raise AssertionError(f"{prior} is no prior of a standard deviation")


def _free(priors: Sequence[Prior]) -> np.ndarray:
    return np.flatnonzero([not isinstance(prior, Fixed) for prior in priors])


def _sigma_prior(priors: Mapping[str, ResolvedPrior], stratum: str) -> Prior:
    named = priors.get(f"sigma:{stratum}") if stratum else None
    return (named or priors["sigma"]).prior


class _Partial(NamedTuple):
    """One partial correlation: free with (1 − p²)^power on atanh p, or at a value."""

    name: str
    free: bool
    value: float
    power: float
    constant: float


def _correlations(block: Block, priors: Mapping[str, ResolvedPrior]) -> list[_Partial]:
    k = len(block.terms)
    pairs = [(i, j) for i in range(k) for j in range(i)]
    if not pairs:
        return []
    prior = priors[f"corr:{block.factor}"].prior
    names = [f"corr:{block.factor}[{block.terms[i]},{block.terms[j]}]" for i, j in pairs]
    if isinstance(prior, Fixed):
        if (k - 1) * prior.value <= -1.0:
            raise FitError(
                f"priors['corr:{block.factor}']: expected a Fixed correlation above {-1 / (k - 1):.3g} for {k} "
                f"effects, found {prior.value:g}: no {k} effects can all have it."
            )
        matrix = np.full((k, k), prior.value) + (1.0 - prior.value) * np.eye(k)
        factor = np.linalg.cholesky(matrix)
        values = [float(factor[i, j] / np.sqrt(1.0 - (factor[i, :j] ** 2).sum())) for i, j in pairs]
        return [_Partial(name, False, value, 0.0, 0.0) for name, value in zip(names, values, strict=True)]
    assert isinstance(prior, LKJ)
    powers = [prior.eta + (k - 2 - j) / 2.0 for _, j in pairs]
    return [
        _Partial(name, True, 0.0, power, _log_symmetric_beta(power))
        for name, power in zip(names, powers, strict=True)
    ]


def _log_symmetric_beta(power: float) -> float:
    """Log of the constant that makes (1 − p²)^(power − 1) integrate to 1 over (−1, 1)."""
    return math.lgamma(2.0 * power) - 2.0 * math.lgamma(power) - (2.0 * power - 1.0) * math.log(2.0)


def _positives(priors: Sequence[Prior]) -> Positives:
    constant = 0.0
    normal, student, exponential = [], [], []
    for place, prior in enumerate(priors):
        match prior:
            case HalfNormal(sd):
                normal.append((place, 1.0 / sd**2))
                constant += 0.5 * math.log(2.0 / math.pi) - math.log(sd)
            case HalfStudentT(df, scale):
                student.append((place, df, df * scale**2))
                constant += math.lgamma((df + 1.0) / 2.0) - math.lgamma(df / 2.0)
                constant += math.log(2.0 / scale) - 0.5 * math.log(df * math.pi)
            case Exponential(rate):
                exponential.append((place, rate))
                constant += math.log(rate)
            case _:
                raise AssertionError(f"{prior} is no prior of a standard deviation")
    return Positives(constant, _columns(normal, 2), _columns(student, 3), _columns(exponential, 2))  # type: ignore[arg-type]


def _columns(entries: Sequence[tuple], count: int) -> tuple[np.ndarray, ...]:
    table = np.array(entries, dtype=np.float64).reshape(len(entries), count)
    return (table[:, 0].astype(np.int64), *(table[:, column].copy() for column in range(1, count)))


def _flips(
    blocks: Sequence[Block], correlations: Sequence[Sequence[_Partial]], free: Sequence[np.ndarray]
) -> tuple[np.ndarray, tuple[tuple[int, int, int], ...]]:
    """Sign changes of theta without rho, and where each block's terms and partial correlations begin."""
    layout: list[tuple[int, int, int]] = []
    touched: list[tuple[int, int]] = []  # the two terms of every partial correlation
    first_term = 0
    for block, partials in zip(blocks, correlations, strict=True):
        layout.append((first_term, len(block.terms), len(touched)))
        pairs = [(first_term + i, first_term + j) for i in range(len(block.terms)) for j in range(i)]
        touched.extend(pairs[: len(partials)])
        first_term += len(block.terms)
    flips = np.ones((len(free[0]), sum(len(places) for places in free)))
    for row, term in enumerate(free[0]):
        flips[row, row] = -1.0
        for column, place in enumerate(free[1]):
            if term in touched[place]:
                flips[row, len(free[0]) + column] = -1.0
    return flips, tuple(layout)
