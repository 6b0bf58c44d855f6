"""Effects that are sums of independent effects: their sds and R⁻¹, and the chain rule.

    Σ = Σ_s weight_s · D_s R_s D_s      sources: blocks of the model, each on some of the effects
    sd = √diag Σ,  R = D⁻¹ Σ D⁻¹        as the elimination takes them

A single source is passed through, sign and all; a sum has positive sds.
"""

from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.correlation import cholesky_of, inverse_of, pull_back_inverse
from mien.models.engines.collapsed.parameters import Natural

__all__ = ["Scaled", "Slopes", "Source", "Sum"]

TINY = 1e-150  # an sd that is 0; its square is still a number


class Source(NamedTuple):
    """A block of the model. first, size, partial : its terms and partial correlations; at : (term,) the effects."""

    first: int
    size: int
    partial: int
    weight: float
    at: tuple[int, ...]

    def correlations(self, natural: Natural) -> np.ndarray:
        """R_s (point, term, term)."""
        factor = cholesky_of(natural.partial, self.partial, self.size)
        return factor @ factor.transpose(0, 2, 1)

    def sd(self, natural: Natural) -> np.ndarray:
        """(point, term), the weight left out."""
        return natural.sd[:, self.first : self.first + self.size]

    def covariance(self, natural: Natural) -> np.ndarray:
        """(point, term, term), the weight left out."""
        sd = self.sd(natural)
        return self.correlations(natural) * sd[:, :, None] * sd[:, None, :]


class Scaled(NamedTuple):
    """sd (point, effect), R⁻¹ (point, effect, effect), log |R| (point,)."""

    sd: np.ndarray
    inverse: np.ndarray
    log_determinant: np.ndarray


class Slopes(NamedTuple):
    """Derivatives of a log likelihood by the model's sds (term,) and partial correlations; added to in place."""

    sd: np.ndarray
    partial: np.ndarray


class Sum(NamedTuple):
    """The effects of one group. size : how many; levels : independent copies of them."""

    size: int
    levels: int
    sources: tuple[Source, ...]

    def scaled(self, natural: Natural) -> Scaled:
        """At many points."""
        if len(self.sources) == 1:
            (source,) = self.sources
            inverse, log_determinant = inverse_of(natural.partial, source.partial, self.size)
            return Scaled(np.sqrt(source.weight) * source.sd(natural), inverse, log_determinant)
        if self.size == 1:
            variance = sum(source.weight * source.sd(natural) ** 2 for source in self.sources)
            points = len(natural.sd)
            return Scaled(np.sqrt(variance), np.ones((points, 1, 1)), np.zeros(points))
        sd, matrix = self.correlations(natural)
        good = np.isfinite(matrix).all(axis=(1, 2))
        inverse = np.full_like(matrix, np.nan)
        log_determinant = np.full(len(matrix), np.nan)
        sign, log_determinant[good] = np.linalg.slogdet(matrix[good])
        good[good] = sign > 0
        inverse[good] = np.linalg.inv(matrix[good])
        return Scaled(sd, inverse, np.where(good, log_determinant, np.nan))

    def correlations(self, natural: Natural) -> tuple[np.ndarray, np.ndarray]:
        """Sd (point, effect) and R of the sum."""
        total = np.zeros((len(natural.sd), self.size, self.size))
        for source in self.sources:
            total[:, *np.ix_(source.at, source.at)] += source.weight * source.covariance(natural)
        sd = np.sqrt(np.diagonal(total, axis1=1, axis2=2))
        root = np.maximum(sd, TINY)
        total /= root[:, :, None]
        total /= root[:, None, :]
        total[:, range(self.size), range(self.size)] = 1.0
        return sd, total

    def pull_back(
        self, natural: Natural, by_sd: np.ndarray, by_inverse: np.ndarray, times: float, slopes: Slopes
    ) -> None:
        """Add to `slopes` at one point, from the derivatives by sd (effect,) and by R⁻¹ (upper triangle).

        −½ times · levels · log |R| of the log likelihood is added here.
        """
        weight = -0.5 * times * self.levels
        if len(self.sources) == 1:
            (source,) = self.sources
            slopes.sd[source.first : source.first + self.size] += np.sqrt(source.weight) * by_sd
            slopes.partial[:] += pull_back_inverse(
                natural.partial[0], source.partial, self.size, by_inverse, weight
            )
            return
        if self.size == 1:
            total = np.sqrt(sum(source.weight * source.sd(natural)[0] ** 2 for source in self.sources))
            for source in self.sources:
                share = source.weight * source.sd(natural)[0] / np.maximum(total, TINY)
                slopes.sd[source.first : source.first + 1] += by_sd * share
            return
        self._pull_back_sum(natural, by_sd, by_inverse, weight, slopes)

    def _pull_back_sum(
        self, natural: Natural, by_sd: np.ndarray, by_inverse: np.ndarray, weight: float, slopes: Slopes
    ) -> None:
        sds, matrices = self.correlations(natural)
        sd, matrix = np.maximum(sds[0], TINY), matrices[0]
        inverse = np.linalg.inv(matrix)
        by_matrix = weight * inverse - 0.5 * inverse @ (by_inverse + by_inverse.T) @ inverse
        by_total = by_matrix / sd[:, None] / sd
        at = np.arange(self.size)
        by_total[at, at] = 0.5 * by_sd / sd
        np.fill_diagonal(by_matrix, 0.0)
        by_total[at, at] -= (by_matrix * matrix).sum(axis=1) / sd / sd
        for source in self.sources:
            mine = source.weight * by_total[np.ix_(source.at, source.at)]
            own, its = source.sd(natural)[0], source.correlations(natural)[0]
            slopes.sd[source.first : source.first + source.size] += 2.0 * (mine * its) @ own
            by_its = mine * own[:, None] * own
            slopes.partial[:] += pull_back_inverse(
                natural.partial[0], source.partial, source.size, -its @ by_its @ its, 0.0
            )
