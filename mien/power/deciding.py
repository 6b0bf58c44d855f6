"""A posterior and a goal → a decision.

The posterior of an effect is a mixture of Gaussians over the points of theta
(`engines.collapsed.coefficient_mixture`), so that probabilities, intervals and densities are sums of normal ones and
carry no noise of draws. Draws of engine "nuts" are points without spread.

    direction      P(effect > 0) ≥ p: 1;  P(effect < 0) ≥ p: −1;  else 0, undecided
    rope           the equal-tailed interval wholly outside: 1 (reject); wholly inside: −1 (accept); else 0
    width          the interval at most as wide: 1; else 0
    bayes_factor   density of the prior at 0 / density of the posterior at 0 (Savage and Dickey; exact, as priors of
                   coefficients are independent of the variance parameters): ≥ k: 1;  ≤ 1/k: −1;  else 0
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from mien.power.plan import Goal

__all__ = ["STATING", "Decision", "Posterior", "decide", "is_met", "statement", "states_false"]

STATING = ("direction", "rope", "bayes_factor")  # kinds of goals that state something about the effect
LEAST = 1e-12  # weight of a point that counts


@dataclass(frozen=True, eq=False)
class Posterior:
    """Of one effect: weight, mean, sd (point,); sd 0 for draws.

    prior : mean and sd of its normal prior, None where it has none.
    """

    weight: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    prior: tuple[float, float] | None = None
    _intervals: dict[float, tuple[float, float]] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(
        weight: np.ndarray, mean: np.ndarray, sd: np.ndarray, prior: tuple[float, float] | None
    ) -> "Posterior":
        """Without the points that do not count."""
        used = weight > LEAST * weight.max()
        return Posterior(weight[used] / weight[used].sum(), mean[used], sd[used], prior)

    def centre(self) -> float:
        """The mean."""
        return float(self.weight @ self.mean)

    def spread(self) -> float:
        """The sd."""
        return float(np.sqrt(self.weight @ (self.sd**2 + (self.mean - self.centre()) ** 2)))

    def below(self, value: float) -> float:
        """P(effect < value)."""
        if not self.sd.any():
            return float(self.weight @ ((self.mean < value) + 0.5 * (self.mean == value)))
        return float(self.weight @ ndtr((value - self.mean) / self.sd))

    def quantile(self, share: float) -> float:
        """The value below which this share lies."""
        if not self.sd.any():
            order = np.argsort(self.mean)
            return float(
                np.interp(share, np.cumsum(self.weight[order]) - 0.5 * self.weight[order], self.mean[order])
            )
        ends = self.mean + self.sd * ndtri(share)
        low, high = float(ends.min()), float(ends.max())
        if high - low <= 1e-14 * (1.0 + abs(high)):
            return high
        pad = 1e-9 * (high - low)
        root: Any = brentq(lambda value: self.below(value) - share, low - pad, high + pad, xtol=1e-12)
        return float(root)

    def interval(self, share: float) -> tuple[float, float]:
        """The equal-tailed interval; goals that share it ask once."""
        if share not in self._intervals:
            tail = 0.5 * (1.0 - share)
            self._intervals[share] = self.quantile(tail), self.quantile(1.0 - tail)
        return self._intervals[share]

    def log_bayes_factor(self) -> float:
        """For an effect against none."""
        assert self.prior is not None
        mean, sd = self.prior
        z = self.mean / self.sd
        terms = np.log(self.weight) - np.log(self.sd) - 0.5 * z * z
        top = terms.max()
        posterior = top + np.log(np.exp(terms - top).sum())
        return float(-np.log(sd) - 0.5 * (mean / sd) ** 2 - posterior)


class Decision(NamedTuple):
    """decision : −1, 0, 1, see the module. value : what it was taken on. lower, upper : of the goal's interval."""

    decision: int
    value: float
    mean: float
    sd: float
    lower: float
    upper: float


def decide(posterior: Posterior, goal: Goal) -> Decision:
    """The decision that a goal's rule takes."""
    lower, upper = posterior.interval(goal.interval)
    if goal.kind == "direction":
        value = 1.0 - posterior.below(0.0)
        decision = int(value >= goal.probability) - int(1.0 - value >= goal.probability)
    elif goal.kind == "rope":
        low, high = goal.rope
        value = posterior.below(high) - posterior.below(low)
        decision = int(lower > high or upper < low) - int(low <= lower and upper <= high)
    elif goal.kind == "width":
        value = upper - lower
        decision = int(value <= goal.width)
    else:
        value, limit = posterior.log_bayes_factor(), np.log(goal.threshold)
        decision = int(value >= limit) - int(value <= -limit)
    return Decision(decision, value, posterior.centre(), posterior.spread(), lower, upper)


def statement(goal: Goal, truth: float) -> int:
    """The decision that is true: the sign, outside (1) or inside (−1) the ROPE, an effect (1) or none (−1)."""
    if goal.kind in ("width", "factor_recovery"):
        return 1
    if goal.kind == "rope":
        return -1 if goal.rope[0] <= truth <= goal.rope[1] else 1
    if goal.kind == "bayes_factor":
        return 1 if truth != 0.0 else -1
    return int(np.sign(truth))


def is_met(goal: Goal, decision: int, truth: float) -> bool:
    """Whether the decision is the one that is wanted; without a wanted one, the true one (any, where none is true)."""
    wanted = {
        "positive": 1, "negative": -1, "reject": 1, "accept": -1, "effect": 1, "null": -1, "": statement(goal, truth),
        "either": 0,
    }[goal.wanted]  # fmt: skip
    return decision == wanted if wanted else decision != 0


def states_false(goal: Goal, decision: np.ndarray, truth: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(study,) whether a study says something that is not so; what is undecided says nothing.

    An interval outside the ROPE on the other side than the truth is false, too.
    """
    if goal.kind == "direction":
        return (decision != 0) & (decision != np.sign(truth))
    low, high = goal.rope if goal.kind == "rope" else (0.0, 0.0)
    inside = (low <= truth) & (truth <= high)
    other_side = (np.sign(mean) != np.sign(truth)) & (goal.kind == "rope")
    rejected = (decision == 1) & (inside | other_side)
    return (rejected | ((decision == -1) & ~inside)) & (goal.kind in STATING)
