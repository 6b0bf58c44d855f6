"""Does an answer depend on its priors? Tables computed from a fit, most of them without fitting again.

Two questions: which answers lean on their priors (`scaling`), and over which priors a decision stays (`widths`).

    given_theta     coefficients given the variance parameters, with their prior taken away (Gaussian models)
    parts           of every draw: log density of each top-level prior, log likelihood
    weights         weighted draws: Pareto smoothing, Monte-Carlo error, cumulative Jensen-Shannon distance
    refitting       the same rows by the collapsed engine with other priors
    scaling         `power_scaling`, `which_prior`: priors and likelihood to a power
    widths          `prior_widths`, `decision_range`: an effect under narrower and wider priors, and its Bayes factor
"""

from mien.models.sensitivity.scaling import power_scaling, which_prior
from mien.models.sensitivity.widths import decision_range, prior_widths

__all__ = ["decision_range", "power_scaling", "prior_widths", "which_prior"]
