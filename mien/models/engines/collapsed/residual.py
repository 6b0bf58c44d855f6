"""How residuals are distributed: the weights of the sums in the likelihood, and log |R|.

    independent      variance σ_s² + se²:  one sum a stratum, weight 1 / variance
    AR(1)            a series y₁ … y_T with gaps g_j ≥ 1 between neighbours, correlation ρ^g:
                     r'R⁻¹r = r₁² + Σ_j (r_{j+1} − p_j r_j)² / (1 − p_j²),   p_j = ρ^{g_j},   |R| = Π_j (1 − p_j²)
                            = Σ_j r_j² + Σ_j [p_j² (r_{j+1}² + r_j²) − p_j 2 r_{j+1} r_j] / (1 − p_j²)

so that beside the sum over all rows two sums are needed for each distinct gap (both neighbours' squares, and across),
and the likelihood is linear in all sums with weights that depend on σ and ρ alone. `components_of` makes these of the
moments, which keep later and earlier rows apart. `Residuals.weights` gives the weights for many points at once,
`pull_back` the chain rule, for one or many.
"""

from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.moments import Moments

__all__ = ["Residuals", "Weights", "components_of"]


def components_of(moments: Moments) -> np.ndarray:
    """(component, cell, column + 1, column + 1): all rows; then for each gap both neighbours' squares, and across."""
    gram = moments.gram
    if not moments.gaps:
        return gram
    later, earlier, across = gram[1::3], gram[2::3], gram[3::3]
    found = np.empty((1 + 2 * len(later), *gram.shape[1:]))
    np.add(gram[0], later.sum(axis=0), out=found[0])
    np.add(later, earlier, out=found[1::2])
    found[2::2] = across
    return found


class Weights(NamedTuple):
    """a : (point, component · stratum), component-major; log_determinant : (point,) of the residual covariance."""

    a: np.ndarray
    log_determinant: np.ndarray


class Residuals(NamedTuple):
    """What of the residuals does not depend on theta.

    sigma_of : (stratum,) which sigma; known_variance : (stratum,); rows : (stratum,) observations.
    gaps : distinct gaps of AR(1), () for independence; pairs : (stratum, gap) how often.
    log_precision : Σ log of the rows' precision weights.
    apart : whether every stratum has the sigma of the same number.
    """

    sigma_of: np.ndarray
    known_variance: np.ndarray
    rows: np.ndarray
    gaps: tuple[int, ...]
    pairs: np.ndarray
    log_precision: float
    apart: bool

    @staticmethod
    def of(moments: Moments) -> "Residuals":
        """Those of some moments."""
        return Residuals(
            moments.sigma_of, moments.known_variance, moments.rows, moments.gaps, moments.pairs,
            moments.log_precision, np.array_equal(moments.sigma_of, np.arange(len(moments.sigma_of))),
        )  # fmt: skip

    def weights(self, sigma: np.ndarray, rho: np.ndarray) -> Weights:
        """Weights of the sums: sigma (point, sigma), rho (point,)."""
        variance = self._in_strata(sigma) ** 2 + self.known_variance
        log_determinant = np.log(variance) @ self.rows - self.log_precision
        inverse = 1.0 / variance
        if not self.gaps:
            return Weights(inverse, log_determinant)
        parts = [inverse]
        for place, gap in enumerate(self.gaps):
            power = rho**gap
            left = 1.0 - power**2
            log_determinant = log_determinant + np.log(left) * self.pairs[:, place].sum()
            parts += [inverse * (power**2 / left)[:, None], inverse * (-power / left)[:, None]]
        return Weights(np.concatenate(parts, axis=1), log_determinant)

    def pull_back(
        self, sigma: np.ndarray, rho: np.ndarray | float, by_a: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Gradient by sigma and rho of F(a) − ½ log |R|, from by_a = dF/da.

        Parameters
        ----------
        sigma : (…, sigma); rho : (…,); by_a : (…, component · stratum), at one point or at many.
        """
        mine = self._in_strata(sigma)
        inverse = 1.0 / (mine**2 + self.known_variance)
        by_rho: np.ndarray | float = 0.0
        by_inverse = by_a
        if self.gaps:
            by_weight = by_a.reshape(*by_a.shape[:-1], -1, len(self.sigma_of))
            by_inverse, by_rho = self._through_gaps(np.asarray(rho, dtype=np.float64), inverse, by_weight)
        by_mine = -(by_inverse * inverse + 0.5 * self.rows) * inverse * (2.0 * mine)
        if mine is sigma:
            return by_mine, by_rho
        by_sigma = np.zeros_like(sigma)
        np.add.at(by_sigma.T, self.sigma_of, by_mine.T)  # by_sigma.T is a view
        return by_sigma, by_rho

    def _in_strata(self, sigma: np.ndarray) -> np.ndarray:
        """(…, stratum) from (…, sigma): the same array where they are the same."""
        same = self.apart and sigma.shape[-1] == len(self.sigma_of)
        return sigma if same else sigma[..., self.sigma_of]

    def _through_gaps(
        self, rho: np.ndarray, inverse: np.ndarray, by_weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """By 1/variance (…, stratum) and by rho (…,), from by_weight (…, component, stratum)."""
        by_rho = np.zeros_like(rho)
        by_inverse = by_weight[..., 0, :].copy()
        for place, gap in enumerate(self.gaps):
            power, slope = rho**gap, gap * rho ** (gap - 1)
            left = 1.0 - power**2
            both, cross = by_weight[..., 1 + 2 * place, :], by_weight[..., 2 + 2 * place, :]
            across, over = power[..., None], left[..., None]
            by_inverse += (across**2 * both - across * cross) / over
            by_power = inverse * (2.0 * across * both - (1.0 + across**2) * cross) / over**2
            by_rho += (by_power.sum(axis=-1) + power / left * self.pairs[:, place].sum()) * slope
        return by_inverse, by_rho
