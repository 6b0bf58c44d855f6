"""How residuals are distributed: the weights of the sums in the likelihood, and log |R|.

    independent      variance σ_s² + se²:  one sum a stratum, weight 1 / variance
    AR(1)            a series y₁ … y_T with gaps g_j ≥ 1 between neighbours, correlation ρ^g:
                     r'R⁻¹r = r₁² + Σ_j (r_{j+1} − ρ^{g_j} r_j)² / (1 − ρ^{2 g_j}),   |R| = Π_j (1 − ρ^{2 g_j})

so that for each distinct gap three sums are needed (later, earlier, cross), and the likelihood is linear in all sums
with weights that depend on σ and ρ alone. `Residuals.weights` gives them for many points at once, `pull_back` the
chain rule for one.
"""

from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.moments import Moments

__all__ = ["Residuals", "Weights"]


class Weights(NamedTuple):
    """a : (point, component · stratum), component-major; log_determinant : (point,) of the residual covariance."""

    a: np.ndarray
    log_determinant: np.ndarray


class Residuals(NamedTuple):
    """What of the residuals does not depend on theta.

    sigma_of : (stratum,) which sigma; known_variance : (stratum,); rows : (stratum,) observations.
    gaps : distinct gaps of AR(1), () for independence; pairs : (stratum, gap) how often.
    log_precision : Σ log of the rows' precision weights.
    """

    sigma_of: np.ndarray
    known_variance: np.ndarray
    rows: np.ndarray
    gaps: tuple[int, ...]
    pairs: np.ndarray
    log_precision: float

    @staticmethod
    def of(moments: Moments) -> "Residuals":
        """Those of some moments."""
        return Residuals(
            moments.sigma_of, moments.known_variance, moments.rows, moments.gaps, moments.pairs,
            moments.log_precision,
        )  # fmt: skip

    def weights(self, sigma: np.ndarray, rho: np.ndarray) -> Weights:
        """Weights of the sums: sigma (point, sigma), rho (point,)."""
        variance = sigma[:, self.sigma_of] ** 2 + self.known_variance
        log_determinant = np.log(variance) @ self.rows - self.log_precision
        inverse = 1.0 / variance
        if not self.gaps:
            return Weights(inverse, log_determinant)
        parts = [inverse]
        for place, gap in enumerate(self.gaps):
            power = rho**gap
            left = 1.0 - power**2
            log_determinant = log_determinant + np.log(left) * self.pairs[:, place].sum()
            parts += [
                inverse / left[:, None],
                inverse * (power**2 / left)[:, None],
                inverse * (-power / left)[:, None],
            ]
        return Weights(np.concatenate(parts, axis=1), log_determinant)

    def pull_back(self, sigma: np.ndarray, rho: float, by_a: np.ndarray) -> tuple[np.ndarray, float]:
        """Gradient by sigma and rho of F(a) − ½ log |R|, from by_a = dF/da (component · stratum,), at one point."""
        variance = sigma[self.sigma_of] ** 2 + self.known_variance
        inverse = 1.0 / variance
        by_weight = by_a.reshape(-1, len(variance))
        by_rho = 0.0
        by_inverse = by_weight[0].copy()
        for place, gap in enumerate(self.gaps):
            power, slope = rho**gap, gap * rho ** (gap - 1)
            left = 1.0 - power**2
            later, earlier, cross = by_weight[1 + 3 * place : 4 + 3 * place]
            by_inverse += (later + power**2 * earlier - power * cross) / left
            by_power = inverse @ (
                later * 2 * power / left**2 + earlier * 2 * power / left**2 - cross * (1 + power**2) / left**2
            )
            by_power += power / left * self.pairs[:, place].sum()
            by_rho += float(by_power) * slope
        by_variance = -by_inverse * inverse**2 - 0.5 * self.rows * inverse
        by_sigma = np.zeros_like(sigma)
        np.add.at(by_sigma, self.sigma_of, by_variance * 2.0 * sigma[self.sigma_of])
        return by_sigma, by_rho
