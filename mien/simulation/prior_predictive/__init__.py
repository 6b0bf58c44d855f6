"""Prior predictive checks: what a model expects before it sees the data, in activation units.

    parameter_draws   every parameter of one outcome from its frozen prior, all draws at once
    prior_tree        these as a tree of a fit's shape, so that what reads a fit reads the prior too
    factor_tree       the same of co-activation
    quantities        what is looked at of a tree, as draws
    possible          what values an outcome can have
    limits            what is told "wide", "narrow" or "impossible", and why there
    formula_checks    the checks of models with a formula; factor_checks: those of co-activation
    judging           from draws of a quantity to a row of the table
    sentences         the same in words
    result            PriorPredictive, and the verdict
    checking          `prior_predictive`, which puts it together

A prior is *weak* when it expects more than can be, and that is no fault: the limits are there for priors that are wrong
by a factor of ten and more, as a prior on another scale is.
"""

from mien.simulation.prior_predictive.checking import prior_predictive
from mien.simulation.prior_predictive.limits import LIMITS, REASONS, Limits
from mien.simulation.prior_predictive.prior_tree import prior_draws
from mien.simulation.prior_predictive.result import PriorPredictive

__all__ = ["LIMITS", "REASONS", "Limits", "PriorPredictive", "prior_draws", "prior_predictive"]
