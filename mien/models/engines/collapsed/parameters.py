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
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mien.models.design import Block
from mien.models.smooths import sd_name
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Normal, Prior, ResolvedPrior
from mien.study.errors import FitError

__all__ = ["Located", "Natural", "Parameters", "make_parameters"]

type Places = np.ndarray | slice


class Natural(NamedTuple):
    """N points in the model's own terms.

    sd : (point, term), may be negative; partial : (point, partial); sigma : (point, stratum); rho : (point,), 0
    without autocorrelation.
    """

    sd: np.ndarray
    partial: np.ndarray
    sigma: np.ndarray
    rho: np.ndarray


class Located(NamedTuple):
    """N points of theta with everything that a density and its gradient need of them.

    log_prior : (point,). by_theta : (point, dim), the derivative of each free parameter's natural value by its own
    coordinate. prior_slope : (point, dim), the gradient of log_prior.
    """

    natural: Natural
    log_prior: np.ndarray
    by_theta: np.ndarray
    prior_slope: np.ndarray


@dataclass(frozen=True, eq=False)
class Positives:
    """Prior densities of several positive parameters; each array has one entry a member of its family."""

    constant: float
    normal: tuple[Places, np.ndarray]  # place, 1/sd²
    student: tuple[Places, np.ndarray, np.ndarray]  # place, (df + 1)/2, df·scale²
    exponential: tuple[Places, np.ndarray]  # place, rate

    def log_density(self, value: np.ndarray) -> np.ndarray:
        """(point,) sum over parameters of the log half-density at |value| (point, parameter)."""
        total = np.full(len(value), self.constant)
        place, precision = self.normal
        if len(precision):
            total -= np.square(value[:, place]) @ (0.5 * precision)
        place, power, spread = self.student
        if len(power):
            total -= np.log1p(np.square(value[:, place]) / spread) @ power
        place, rate = self.exponential
        if len(rate):
            total -= np.abs(value[:, place]) @ rate
        return total

    def slope(self, value: np.ndarray) -> np.ndarray:
        """(point, parameter) derivative of the log half-density by `value`."""
        result = np.empty_like(value)
        place, precision = self.normal
        if len(precision):
            result[:, place] = -precision * value[:, place]
        place, power, spread = self.student
        if len(power):
            mine = value[:, place]
            result[:, place] = -2.0 * power * mine / (spread + np.square(mine))
        place, rate = self.exponential
        if len(rate):
            result[:, place] = -rate * np.sign(value[:, place])
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
    sd_free: np.ndarray  # (free sd,) term numbers, the first of those that share it; likewise below
    partial_free: np.ndarray
    sigma_free: np.ndarray
    sharing: tuple[np.ndarray, np.ndarray] | None  # (term,) with a free sd and its number, where terms share
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

    @cached_property
    def cuts(self) -> tuple[int, int, int]:
        """Where phi, the angles of partial correlations and log sigmas end in theta."""
        one = len(self.sd_free)
        two = one + len(self.partial_free)
        return one, two, two + len(self.sigma_free)

    def parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Theta (…, dim) cut into phi, atanh partial, log sigma, atanh rho."""
        one, two, three = self.cuts
        return theta[..., :one], theta[..., one:two], theta[..., two:three], theta[..., three:]

    @cached_property
    def _cosh_powers(self) -> np.ndarray:
        """Of cosh phi and of cosh of an angle in the density."""
        return np.concatenate([np.ones(len(self.sd_free)), -2.0 * self.power])

    @cached_property
    def _any_unsigned(self) -> bool:
        return bool(self.unsigned.any())

    def natural(self, theta: np.ndarray) -> Natural:
        """The model's own parameters at theta (point, dim); infinite where they overflow."""
        with np.errstate(over="ignore"):
            return self._natural(theta, *self._positives(theta))

    def log_prior(self, theta: np.ndarray) -> np.ndarray:
        """(point,) log density of theta (point, dim), Jacobians included, normalised over phi ≥ 0."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._log_prior(theta, *self._positives(theta))

    def with_prior(self, theta: np.ndarray) -> tuple[Natural, np.ndarray]:
        """`natural` and `log_prior`, for less than the two."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._positives(theta)
            return self._natural(theta, *values), self._log_prior(theta, *values)

    def located(self, theta: np.ndarray) -> Located:
        """Everything about theta (point, dim) that a gradient needs."""
        one, two, three = self.cuts
        by_theta, slope = np.empty(theta.shape), np.empty(theta.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            sd, sigma = self._positives(theta)
            phi, tanh = theta[:, :one], np.tanh(theta[:, :two])
            partial = tanh[:, one:]
            np.multiply(self.scale, np.cosh(phi), out=by_theta[:, :one])
            slope[:, :one] = self.sd_prior.slope(sd) * by_theta[:, :one] + tanh[:, :one]
            if self._any_unsigned:
                by_theta[:, :one] *= np.where(self.unsigned & (phi < 0), -1.0, 1.0)
            np.multiply(1.0 - partial, 1.0 + partial, out=by_theta[:, one:two])
            np.multiply(-2.0 * self.power, partial, out=slope[:, one:two])
            by_theta[:, two:three] = sigma
            slope[:, two:three] = self.sigma_prior.slope(sigma) * sigma + 1.0
            if self.rho_free:
                mean, sd_rho = self.rho_prior
                rho = np.tanh(theta[:, three:])
                by_theta[:, three:] = (1.0 - rho) * (1.0 + rho)
                slope[:, three:] = (mean - theta[:, three:]) / sd_rho**2
            natural = self._natural(theta, sd, sigma, partial)
            return Located(natural, self._log_prior(theta, sd, sigma), by_theta, slope)

    def gradient(
        self, at: Located, d_sd: np.ndarray, d_partial: np.ndarray, d_sigma: np.ndarray,
        d_rho: np.ndarray | float = 0.0,
    ) -> np.ndarray:  # fmt: skip
        """Gradient of log likelihood + log prior by theta (point, dim).

        Parameters
        ----------
        at : points.
        d_sd, d_partial, d_sigma, d_rho : derivatives of the log likelihood by `at.natural` (point, term),
            (point, partial), (point, stratum), (point,); those of Fixed parameters are not looked at.
        """
        one, two, three = self.cuts
        result = np.empty_like(at.by_theta)
        if self.sharing is not None:
            terms, number = self.sharing
            result[:, :one] = d_sd[:, terms] @ (number[:, None] == np.arange(one))
        else:
            result[:, :one] = d_sd if one == d_sd.shape[1] else d_sd[:, self.sd_free]
        result[:, one:two] = d_partial if two - one == d_partial.shape[1] else d_partial[:, self.partial_free]
        result[:, two:three] = d_sigma if three - two == d_sigma.shape[1] else d_sigma[:, self.sigma_free]
        if self.rho_free:
            result[:, three] = d_rho
        with np.errstate(over="ignore", invalid="ignore"):
            result *= at.by_theta
            result += at.prior_slope
        return result

    def pull_back(
        self,
        theta: np.ndarray,
        d_sd: np.ndarray,
        d_partial: np.ndarray,
        d_sigma: np.ndarray,
        d_rho: np.ndarray | float,
    ) -> np.ndarray:
        """`gradient` (dim,) at one theta (dim,), from derivatives without the points' axis."""
        return self.gradient(self.located(theta[None]), d_sd[None], d_partial[None], d_sigma[None], d_rho)[0]

    def _positives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Free sds, signed, and sigmas."""
        phi, _, log_sigma, _ = self.parts(theta)
        sd = np.sinh(phi, order="C")
        sd *= self.scale
        return sd, np.exp(log_sigma, order="C")

    def _natural(
        self, theta: np.ndarray, sd: np.ndarray, sigma: np.ndarray, partial: np.ndarray | None = None
    ) -> Natural:
        _, angle, _, rho_angle = self.parts(theta)
        partial = np.tanh(angle, order="C") if partial is None else np.ascontiguousarray(partial)
        sd = np.where(self.unsigned, np.abs(sd), sd) if self._any_unsigned else sd
        rest = self.at_rest
        return Natural(
            _among(rest.sd, self.sd_free, sd) if self.sharing is None else self._spread(sd),
            _among(rest.partial, self.partial_free, partial),
            _among(rest.sigma, self.sigma_free, sigma),
            np.tanh(rho_angle[:, 0]) if self.rho_free else np.full(len(theta), rest.rho[0]),
        )

    def _spread(self, sd: np.ndarray) -> np.ndarray:
        """Free sds (point, free sd) to all terms that have them."""
        assert self.sharing is not None
        terms, number = self.sharing
        return _among(self.at_rest.sd, terms, sd[:, number])

    def _log_prior(self, theta: np.ndarray, sd: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        _, two, three = self.cuts
        total = _log_cosh(theta[:, :two]) @ self._cosh_powers
        total += self.sd_prior.log_density(sd)
        total += self.sigma_prior.log_density(sigma)
        total += theta[:, two:three].sum(axis=1)
        total += self.constant
        if self.rho_free:
            mean, spread = self.rho_prior
            total -= 0.5 * ((theta[:, three] - mean) / spread) ** 2
        total[np.isnan(total)] = -np.inf
        return total

    def fold(self, theta: np.ndarray) -> np.ndarray:
        """The image of each point (point, dim) that has every phi ≥ 0."""
        result = np.array(theta, dtype=np.float64)
        for place, flip in enumerate(self.flips):
            negative = result[:, place] < 0
            result[negative] *= flip
        return result


def _among(at_rest: np.ndarray, free: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Free values (point, free) in their places among the Fixed ones, which are at_rest (1, parameter)."""
    if len(free) == at_rest.shape[1]:
        return values
    result = np.repeat(at_rest, len(values), axis=0)
    result[:, free] = values
    return result


def _log_cosh(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    result = np.log1p(np.exp(-2.0 * x))
    result += x
    result -= math.log(2.0)
    return result


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
    blocks : of the design, whose terms are numbered in this order; terms of one smooth share an sd.
    priors : of the outcome: "sd:term|factor", "corr:factor", "sigma" or "sigma:stratum", "rho".
    strata : labels of the residual sds, ("",) for one.
    ar1 : whether residuals are autocorrelated.
    scale : (term,) c > 0: residual sd / √(information of an average level).
    """
    terms = [sd_name(term, block.factor) for block in blocks for term in block.terms]
    sds = [priors[f"sd:{term}"].prior for term in terms]
    sigmas = [_sigma_prior(priors, stratum) for stratum in strata]
    correlations = [_correlations(block, priors) for block in blocks]
    rho = priors["rho"].prior if ar1 else Fixed(0.0)
    first = np.array([terms.index(name) for name in terms], dtype=np.int64)  # of those that share an sd
    sd_free = np.intersect1d(_free(sds), first)
    free = [sd_free, np.flatnonzero([c.free for block in correlations for c in block]), _free(sigmas)]
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
        sd_free=sd_free, partial_free=free[1], sigma_free=free[2], sharing=_sharing(sds, first), ar1=ar1,
        rho_free=isinstance(rho, Normal),
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


def _sharing(sds: Sequence[Prior], first: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Terms with a free sd and the number of each among the free sds; None where every term has its own."""
    if (first == np.arange(len(first))).all():
        return None
    terms = _free(sds)
    return terms, np.searchsorted(np.unique(first[terms]), first[terms])


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
                student.append((place, 0.5 * (df + 1.0), df * scale**2))
                constant += math.lgamma((df + 1.0) / 2.0) - math.lgamma(df / 2.0)
                constant += math.log(2.0 / scale) - 0.5 * math.log(df * math.pi)
            case Exponential(rate):
                exponential.append((place, rate))
                constant += math.log(rate)
            case _:
                raise AssertionError(f"{prior} is no prior of a standard deviation")
    return Positives(constant, _columns(normal, 2), _columns(student, 3), _columns(exponential, 2))  # type: ignore[arg-type]


def _columns(entries: Sequence[tuple], count: int) -> tuple[Places | np.ndarray, ...]:
    """Places, as a slice where they follow each other, and one array for each further number."""
    table = np.array(entries, dtype=np.float64).reshape(len(entries), count)
    place: Places = table[:, 0].astype(np.int64)
    if len(place) and place[-1] - place[0] == len(place) - 1:
        place = slice(int(place[0]), int(place[-1]) + 1)
    return (place, *(table[:, column].copy() for column in range(1, count)))


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
