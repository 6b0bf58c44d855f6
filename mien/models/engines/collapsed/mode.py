"""The mode of theta and the curvature there: where importance sampling starts.

    up to `FEW` dimensions   Newton steps on the quadratic through densities around the point; a density costs a tenth
                             of a gradient, and all of a quadratic are asked for together
    beyond                   BFGS, then the Hessian from differences of the gradient

Both halve steps that gain nothing, and stop when the next would gain less than `ENOUGH` (a proposal needs no more).
Near sd = 0 the density is flat or double-humped by symmetry and its curvature says nothing of its width: there the
width at a drop of about one nat takes its place. Last, eigenvalues are floored: a flat direction gets a spread of
`WIDEST`.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from mien.models.engines.collapsed.parameters import Parameters
from mien.study.errors import FitError

__all__ = ["Density", "Mode", "find_mode"]

ENOUGH = 1e-3  # nats
STEPS = 200
HALVINGS = 25
LONGEST = 2.0  # of a step, in any direction: an e² of an sd
WIDEST = 4.5  # standard deviation of theta along a flat direction
FLATTEST = WIDEST**-2  # its curvature
FEW = 12  # dimensions: quadratics through densities need dim² / 2 of them
FIRST_LENGTH = 1e-3  # of theta, for differences where no spread is known
LENGTHS = (1e-5, 0.03)  # limits of it where one is, of which it is the share `OF_SPREAD`
OF_SPREAD = 0.03
NEAR = 3.0  # standard deviations of phi from 0 within which its curvature is not trusted
WIDTHS = 0.04 * 2.0 ** (0.5 * np.arange(14))  # of phi, to 3.6
VANISHED = 1e-6  # a residual sd below this share of the start is none


class Density(Protocol):
    """Log p(y, theta) of one outcome."""

    parameters: Parameters

    def values(self, theta: np.ndarray) -> np.ndarray:
        """(point,) at theta (point, dim); −inf where it is not finite."""
        ...

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (dim,) at theta (dim,)."""
        ...

    def gradients(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(point,) and (point, dim) at theta (point, dim)."""
        ...


class Mode(NamedTuple):
    """theta (dim,), the log density there, and covariance (dim, dim): the inverse of the floored −Hessian."""

    theta: np.ndarray
    value: float
    covariance: np.ndarray


class _Peak(NamedTuple):
    """Where a search ended: theta (dim,), −log density and its Hessian (dim, dim)."""

    theta: np.ndarray
    value: float
    hessian: np.ndarray


def find_mode(density: Density, *, outcome: str = "", start: np.ndarray | None = None) -> Mode:
    """Search from `start` (dim,), else from `parameters.start`.

    Raises
    ------
    FitError
        When the density is not finite at any of the starts, or a residual sd runs to 0.
    """
    parameters = density.parameters
    search = _newton if parameters.dim <= FEW else _bfgs
    starts = _starts(parameters, parameters.start if start is None else np.asarray(start, dtype=np.float64))
    for origin in starts:
        peak = search(density, origin)
        if peak is not None:
            break
    else:
        raise FitError(
            f"outcome {outcome!r}: expected a finite log density at one of {len(starts)} starting points, found none "
            f"(the first is {_text(parameters, starts[0])}): check the response for extreme values and the priors' "
            "scale."
        )
    _check_sigma(parameters, peak.theta, origin, outcome)
    hessian = _with_widths(density, peak.theta, -peak.value, peak.hessian)
    return Mode(peak.theta, -peak.value, _floored(hessian))


def _text(parameters: Parameters, theta: np.ndarray) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(parameters.names, theta, strict=True))


def _starts(parameters: Parameters, first: np.ndarray) -> list[np.ndarray]:
    """The given one, then smaller and larger sds and sigmas."""
    starts = [first]
    for sds, sigmas in ((0.1, 0.0), (3.0, 0.0), (1.0, 2.0), (1.0, -2.0), (1.0, 5.0)):
        moved = first.copy()
        phi, _, log_sigma, _ = parameters.parts(moved)  # views
        phi *= sds
        log_sigma += sigmas
        starts.append(moved)
    return starts


def _check_sigma(parameters: Parameters, theta: np.ndarray, origin: np.ndarray, outcome: str) -> None:
    log_sigma, before = parameters.parts(theta)[2], parameters.parts(origin)[2]
    gone = np.flatnonzero(log_sigma < before + np.log(VANISHED))
    if len(gone):
        name = parameters.names[len(parameters.sd_free) + len(parameters.partial_free) + gone[0]]
        raise FitError(
            f"outcome {outcome!r}: expected residuals that vary, found {name} = {np.exp(log_sigma[gone[0]]):.2g}: the "
            "model reproduces the response exactly; take out effects, or check for a constant response."
        )


class _Quadratic(NamedTuple):
    """−log density, its gradient (dim,) and Hessian (dim, dim) at a point, from densities around it."""

    value: float
    gradient: np.ndarray
    hessian: np.ndarray


def _newton(density: Density, theta: np.ndarray) -> _Peak | None:
    """None where `theta` has no density."""
    here = _quadratic(density, theta, np.full(len(theta), FIRST_LENGTH))
    if not np.isfinite(here.value):
        return None
    for _ in range(STEPS):
        values, vectors = np.linalg.eigh(here.hessian)
        size = np.maximum(np.abs(values), FLATTEST)  # curvature upwards is taken for as much downwards
        away = -(here.gradient @ vectors) / size
        saddle = (values < -FLATTEST) & (size * away**2 < 1.0)  # sd = 0 may be one, by symmetry
        away[saddle] = np.copysign(size[saddle] ** -0.5, away[saddle])
        if 0.5 * (size @ away**2) < ENOUGH:
            break
        step, lengths = vectors @ away, _lengths((vectors / size) @ vectors.T)
        slope = float(here.gradient @ step)
        found = _halving(
            lambda moved, lengths=lengths: _quadratic(density, moved, lengths), theta, here.value, step, slope
        )
        if found is None:
            break
        theta, here = found
    return _Peak(theta, here.value, here.hessian)


def _quadratic(density: Density, theta: np.ndarray, lengths: np.ndarray) -> _Quadratic:
    """By central differences along the axes, forward ones across; an axis that leads into nothing is flat."""
    dim = len(theta)
    one, other = np.triu_indices(dim, 1)
    steps = np.diag(lengths)
    moves = np.concatenate([np.zeros((1, dim)), steps, -steps, steps[one] + steps[other]])
    value = -density.values(theta + moves)
    middle, (ahead, behind) = value[0], value[1 : 2 * dim + 1].reshape(2, dim)
    both = value[2 * dim + 1 :]
    with np.errstate(invalid="ignore"):  # of infinities; they are taken out at the end
        gradient = (ahead - behind) / (2.0 * lengths)
        hessian = np.diag((ahead - 2.0 * middle + behind) / lengths**2)
        hessian[one, other] = (both - ahead[one] - ahead[other] + middle) / (lengths[one] * lengths[other])
    hessian[other, one] = hessian[one, other]
    gradient[~np.isfinite(gradient)] = hessian[~np.isfinite(hessian)] = 0.0
    return _Quadratic(float(middle), gradient, hessian)


def _lengths(inverse: np.ndarray) -> np.ndarray:
    """Of differences (dim,), from an estimate of the covariance."""
    return np.clip(OF_SPREAD * np.sqrt(np.diag(inverse)), *LENGTHS)


class _Slope(NamedTuple):
    """−log density and its gradient (dim,); inf and 0 where either is not finite."""

    value: float
    gradient: np.ndarray


def _slope(density: Density, theta: np.ndarray) -> _Slope:
    value, gradient = density.gradient(theta)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return _Slope(np.inf, np.zeros(len(theta)))
    return _Slope(-float(value), -gradient)


def _bfgs(density: Density, theta: np.ndarray) -> _Peak | None:
    """From steepest descent, of no scale yet; None where `theta` has no density."""
    here = _slope(density, theta)
    if not np.isfinite(here.value):
        return None
    fresh, inverse = True, _unit_steps(here.gradient)
    for _ in range(STEPS):
        step = -inverse @ here.gradient
        slope = float(here.gradient @ step)
        if -0.5 * slope < ENOUGH:
            break
        found = _halving(lambda moved: _slope(density, moved), theta, here.value, step, slope)
        if found is None:
            if fresh:
                break
            inverse, fresh = _unit_steps(here.gradient), True
            continue
        moved, there = found
        step, change = moved - theta, there.gradient - here.gradient
        curvature = float(step @ change)
        if curvature > 1e-10 * np.sqrt((step @ step) * (change @ change)):
            scaled = np.eye(len(step)) * (curvature / (change @ change)) if fresh else inverse
            inverse, fresh = _updated(scaled, step, change, curvature), False
        theta, here = moved, there
    return _Peak(theta, here.value, _hessian(density, theta, here.gradient, _lengths(inverse)))


def _unit_steps(gradient: np.ndarray) -> np.ndarray:
    """Steepest descent, no longer than 1 along any axis."""
    return np.eye(len(gradient)) / max(1.0, np.abs(gradient).max(initial=0.0))


def _halving[Found: (_Quadratic, _Slope)](
    look: Callable[[np.ndarray], Found], theta: np.ndarray, value: float, step: np.ndarray, slope: float
) -> tuple[np.ndarray, Found] | None:
    """The first of step, up to `LONGEST`, then shorter ones by interpolation, that lowers the value enough."""
    share = min(1.0, LONGEST / np.abs(step).max())
    for _ in range(HALVINGS):
        moved = theta + share * step
        found = look(moved)
        if found.value <= value + 1e-4 * share * slope:
            return moved, found
        curve = 2.0 * (found.value - value - share * slope)
        share *= np.clip(-slope * share / curve, 0.1, 0.5) if np.isfinite(curve) else 0.1
    return None


def _updated(inverse: np.ndarray, step: np.ndarray, change: np.ndarray, curvature: float) -> np.ndarray:
    """The BFGS update of the inverse Hessian."""
    image = inverse @ change
    return (
        inverse
        - (np.outer(image, step) + np.outer(step, image)) / curvature
        + np.outer(step, step) * ((1.0 + change @ image / curvature) / curvature)
    )


def _hessian(density: Density, theta: np.ndarray, gradient: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """By forward differences of the gradient; a step into nothing leaves the axis flat."""
    values, ahead = density.gradients(theta + np.diag(lengths))
    finite = np.isfinite(values) & np.isfinite(ahead).all(axis=1)
    hessian = np.where(finite[:, None], (-ahead - gradient) / lengths[:, None], 0.0)
    return 0.5 * (hessian + hessian.T)


def _with_widths(density: Density, theta: np.ndarray, value: float, hessian: np.ndarray) -> np.ndarray:
    """Raise the curvature of every sd near 0 to that of a Gaussian which drops as much over the density's width."""
    phi = density.parameters.parts(theta)[0]
    near = np.flatnonzero(phi**2 * np.diag(hessian)[: len(phi)] < NEAR**2)
    if not len(near):
        return hessian
    places = np.repeat(theta[None], 2 * len(near) * len(WIDTHS), axis=0).reshape(len(near), 2, -1, len(theta))
    for row, sd in enumerate(near):
        places[row, 0, :, sd] += WIDTHS
        places[row, 1, :, sd] -= WIDTHS
    values = density.values(places.reshape(-1, len(theta))).reshape(len(near), 2, -1)
    drop = np.nan_to_num(value - values.mean(axis=1), nan=np.inf, posinf=np.inf)
    result = hessian.copy()
    for row, sd in enumerate(near):
        far = int(np.argmax(drop[row] >= 1.0))
        if 1.0 <= drop[row, far] < np.inf:
            result[sd, sd] = max(hessian[sd, sd], 2.0 * drop[row, far] / WIDTHS[far] ** 2)
    return result


def _floored(hessian: np.ndarray) -> np.ndarray:
    """The inverse, no direction wider than `WIDEST`."""
    values, vectors = np.linalg.eigh(hessian)
    return (vectors / np.maximum(values, FLATTEST)) @ vectors.T
