"""The items of the Bayesian Analysis Reporting Guidelines (BARG; Kruschke, 2021), as data.

Titles and questions are in our own words, letters those of the guidelines' Table 1. What was read of that table itself
is the preamble to the beginning of 2.D; `READ` is a sentence of it. The letters and subjects of 2.D to 5.E were seen in
a checklist that somebody else had filled in by it, D and G of step 6 on pages about it; the other items of step 6 have
no letter here. Whoever submits the checklist should hold it against the paper.

References
----------
Kruschke (2021), https://doi.org/10.1038/s41562-021-01177-7
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["DOI", "ITEMS", "READ", "STATEMENTS", "STEPS", "Item"]

DOI = "10.1038/s41562-021-01177-7"
READ = (
    "Report evidence that the chains have high resolution, using the ESS, for every parameter or derived value.",
)

STEPS: Mapping[str, str] = MappingProxyType({
    "preamble": "Preamble", "1": "The model", "2": "The computation", "3": "The posterior", "4": "Decisions",
    "5": "Sensitivity", "6": "Reproducibility",
})  # fmt: skip


class Item(NamedTuple):
    """step : a key of `STEPS`. item : its letter, "" where none was read. key : what rules and mien.toml call it."""

    step: str
    item: str
    key: str
    title: str
    asks: str


ITEMS: tuple[Item, ...] = (
    Item("preamble", "A", "why_bayesian", "Why Bayesian", "What do readers gain by a Bayesian analysis?"),
    Item("preamble", "B", "goals", "Goals of the analysis", "What is the analysis for?"),
    Item(
        "1",
        "A",
        "variables",
        "Data variables",
        "Which outcomes and predictors are there, and how are they coded?",
    ),
    Item(
        "1",
        "B",
        "likelihood",
        "Likelihood and parameters",
        "Which likelihood and hierarchy? Which parameters matter?",
    ),
    Item("1", "C", "priors", "Priors", "Which prior has every parameter, and why?"),
    Item(
        "1", "D", "specification", "Formal specification", "Is the model written down in mathematics or code?"
    ),
    Item("1", "E", "prior_check", "Prior predictive check", "Do data simulated from the priors make sense?"),
    Item("2", "A", "software", "Software", "Which programs, in which versions?"),
    Item("2", "B", "convergence", "Convergence of chains", "Did chains agree, for every parameter reported?"),
    Item(
        "2",
        "C",
        "resolution",
        "Resolution of chains",
        "How large are effective samples, for every parameter reported?",
    ),
    Item("2", "D", "not_mcmc", "If not MCMC", "How accurate is a computation that is not MCMC?"),
    Item(
        "3",
        "A",
        "posterior_check",
        "Posterior predictive check",
        "Does the fitted model give data like those observed?",
    ),
    Item("3", "B", "posterior", "Posterior of the parameters", "Which values, with which uncertainty?"),
    Item(
        "3",
        "C",
        "model_probabilities",
        "Bayes factors and model probabilities",
        "If models are compared: how probable?",
    ),
    Item("4", "A", "why_decide", "Why decide, and how", "Why is anything decided, and by which rule?"),
    Item("4", "B", "loss_function", "Loss function", "If decisions have costs: which?"),
    Item(
        "4",
        "C",
        "rope",
        "Limits of practical equivalence",
        "If a null value is judged: within which limits, and why?",
    ),
    Item(
        "4",
        "D",
        "bayes_factor_threshold",
        "Threshold of a Bayes factor",
        "If a Bayes factor decides: at which value?",
    ),
    Item(
        "4", "E", "estimates", "Estimates beside decisions", "Does every decision stand beside its estimate?"
    ),
    Item("5", "A", "broad_priors", "Broad priors", "Do results stay when priors are wider?"),
    Item("5", "B", "informed_priors", "Informed priors", "If priors carry knowledge: do results hang on it?"),
    Item(
        "5",
        "C",
        "default_priors",
        "Default priors",
        "If priors are defaults: do results hang on their settings?",
    ),
    Item(
        "5",
        "D",
        "bayes_factor_sensitivity",
        "Bayes factors",
        "If there are any: how do they move with the priors?",
    ),
    Item("5", "E", "decision_sensitivity", "Decisions", "Does any decision change with the priors?"),
    Item("6", "", "versions", "Software and how to get it", "Can others install the same?"),
    Item("6", "", "seeds", "Random numbers", "Are the seeds kept?"),
    Item("6", "", "data_and_script", "Data and script", "Where are data and analysis for others?"),
    Item("6", "D", "readable", "Readable for humans", "Can people read the script?"),
    Item("6", "G", "archive", "Draws kept", "Are the posterior draws archived?"),
)

STATEMENTS: Mapping[str, str] = MappingProxyType({
    "why_bayesian": "in a sentence or two, what readers gain",
    "goals": "which questions, and whether to estimate, to decide or to predict",
    "why_decide": "why anything is decided rather than estimated",
    "loss_function": "the costs of wrong decisions, or 'not applicable: …'",
    "rope": "why effects within these limits do not matter in practice",
    "model_probabilities": "the prior probabilities of the models compared",
    "bayes_factor_threshold": "the threshold and why, with the prior probability that it takes",
    "data_and_script": "where data, recipe and mien.toml are for others, or why they cannot be",
    "readable": "who read the script, and where its explanation is",
    "archive": "where the fits with their draws are archived",
})  # fmt: skip
