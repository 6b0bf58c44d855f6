"""The mode of theta and the curvature there: where importance sampling starts.

BFGS with step halving, stopped when the next step would gain less than `ENOUGH` (a proposal needs no more), then the
Hessian from differences of the gradient. Near sd = 0 the density is flat or double-humped by symmetry
and its curvature says nothing of its width: there the width at a drop of about one nat takes its place. Last,
eigenvalues are floored: a flat direction gets a spread of `WIDEST`.
"""

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
FEW = 12  # up to this many dimensions BFGS begins with the Hessian, beyond with steepest descent
UNIT_STEP = 1e-4  # of theta, for differences of the gradient where no spread is known
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


class Mode(NamedTuple):
    """theta (dim,), the log density there, and covariance (dim, dim): the inverse of the floored −Hessian."""

    theta: np.ndarray
    value: float
    covariance: np.ndarray
    gradients: int


class _Counted:
    """−log density with its gradient; inf where either is not finite."""

    def __init__(self, density: Density) -> None:
        self.density, self.calls = density, 0
        self.gradients = getattr(density, "gradients", None)  # of many points together, where there is such

    def many(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(point,) and (point, dim) at theta (point, dim)."""
        if self.gradients is None:
            found = [self(point) for point in theta]
            return np.array([value for value, _ in found]), np.array([gradient for _, gradient in found])
        self.calls += len(theta)
        values, gradients = self.gradients(theta)
        bad = ~(np.isfinite(values) & np.isfinite(gradients).all(axis=1))
        return np.where(bad, np.inf, -values), np.where(bad[:, None], 0.0, -gradients)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls += 1
        value, gradient = self.density.gradient(theta)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return np.inf, np.zeros(len(theta))
        return -float(value), -gradient


def find_mode(density: Density, *, outcome: str = "", start: np.ndarray | None = None) -> Mode:
    """Search from `start` (dim,), else from `parameters.start`.

    Raises
    ------
    FitError
        When the density is not finite at any of the starts, or a residual sd runs to 0.
    """
    objective = _Counted(density)
    parameters = density.parameters
    first = parameters.start if start is None else np.asarray(start, dtype=np.float64)
    for origin in _starts(parameters, first):
        value, gradient = objective(origin)
        if np.isfinite(value):
            break
    else:
        raise FitError(
            f"outcome {outcome!r}: expected a finite log density at one of {len(_starts(parameters, first))} starting "
            f"points, found none (the first is {_text(parameters, first)}): check the response for extreme "
            "values and the priors' scale."
        )
    inverse = None
    if parameters.dim <= FEW:
        inverse = _turned(_hessian(objective, origin, gradient, np.full(parameters.dim, UNIT_STEP)))
    theta, value, gradient, inverse = _bfgs(objective, origin, value, gradient, inverse)
    _check_sigma(parameters, theta, origin, outcome)
    lengths = np.clip(0.03 * np.sqrt(np.diag(inverse)), 1e-5, 0.03)
    hessian = _hessian(objective, theta, gradient, lengths)
    covariance = _floored(_with_widths(density, theta, -value, hessian))
    return Mode(theta, -value, covariance, objective.calls)


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


def _bfgs(
    objective: _Counted, theta: np.ndarray, value: float, gradient: np.ndarray, inverse: np.ndarray | None
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Minimum, value and gradient there, and the estimate of the inverse Hessian, which begins as `inverse`."""
    fresh = inverse is None  # steepest descent, of no scale yet
    inverse = _unit_steps(gradient) if inverse is None else inverse
    for _ in range(STEPS):
        step = -inverse @ gradient
        slope = float(gradient @ step)
        if -0.5 * slope < ENOUGH:
            break
        found = _halving(objective, theta, value, step * min(1.0, LONGEST / np.abs(step).max()), slope)
        if found is None:
            if fresh:
                break
            inverse, fresh = _unit_steps(gradient), True
            continue
        moved, value, new_gradient = found
        step, change = moved - theta, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 1e-10 * np.sqrt((step @ step) * (change @ change)):
            scaled = np.eye(len(step)) * (curvature / (change @ change)) if fresh else inverse
            inverse, fresh = _updated(scaled, step, change, curvature), False
        theta, gradient = moved, new_gradient
    return theta, value, gradient, inverse


def _unit_steps(gradient: np.ndarray) -> np.ndarray:
    """Steepest descent, no longer than 1 along any axis."""
    return np.eye(len(gradient)) / max(1.0, np.abs(gradient).max(initial=0.0))


def _halving(
    objective: _Counted, theta: np.ndarray, value: float, step: np.ndarray, slope: float
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """The first of step, then shorter ones by quadratic interpolation, that lowers the value enough."""
    share = 1.0
    for _ in range(HALVINGS):
        moved = theta + share * step
        found, gradient = objective(moved)
        if found <= value + 1e-4 * share * slope:
            return moved, found, gradient
        curve = 2.0 * (found - value - share * slope)
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


def _hessian(objective: _Counted, theta: np.ndarray, gradient: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """By forward differences of the gradient; a step into nothing leaves the axis flat."""
    if not len(theta):
        return np.zeros((0, 0))
    values, ahead = objective.many(theta + np.diag(lengths))
    hessian = np.where(np.isfinite(values)[:, None], (ahead - gradient) / lengths[:, None], 0.0)
    return 0.5 * (hessian + hessian.T)


def _turned(hessian: np.ndarray) -> np.ndarray:
    """A positive inverse for the first steps: curvature upwards is taken for as much downwards, none for some."""
    values, vectors = np.linalg.eigh(hessian)
    return (vectors / np.maximum(np.abs(values), 1.0)) @ vectors.T


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
    return (vectors / np.maximum(values, WIDEST**-2)) @ vectors.T
