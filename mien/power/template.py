"""The PLAN.toml that `mien power init` writes: commented, and running as it is."""

__all__ = ["BUDGET", "TEMPLATE"]

BUDGET = """[budget]
replicates = 1000           # of every cell, at most
batch = 100                 # a cell is looked at after so many
half_width = 0.03           # and stops when the 95 % interval of its power is so narrow; 0: never
null_replicates = 400       # without the effect: error rates, first
check_replicates = 1000     # at the answer, independently
target = 0.8                # the power that is wanted
"""

TEMPLATE = (
    """# A power plan: how many participants does this study need?
#     mien power run PLAN.toml --out RUN        (again, to go on where it was)
#     mien power status RUN     mien power report RUN
# Numbers are in units of the outcome, activation (0 to 1). A list is an axis of the grid, of which every combination is
# simulated.

name = "smile"
seed = 1

[design]
participants = [20, 30, 40, 60]
pictures = 20               # of each valence; new ones are drawn in every simulated study
films = 0                   # of each valence
trials = 1                  # presentations of each stimulus in a session
sessions = 1
missing = 0.1               # share of trials that are lost
dropout = 0.0               # share of participants who give none
valences = ["negative", "positive"]
# groups = ["control", "patient"]   # a column group; participants belong to them in turn
# covariates = ["empathy"]          # a column for each, standard normal

[truth]                     # what is assumed: say in the ethics form where it comes from
sigma = 0.10                # trial-to-trial sd

[truth.coefficients]        # left out: 0
Intercept = 0.05
valence = 0.03              # positive minus negative; [0.02, 0.03] is an axis, {mean = 0.03, sd = 0.01} is uncertain

[truth.sds]                 # between participants and between stimuli
"1|participant" = 0.04
"valence|participant" = 0.04
"1|stimulus" = 0.02

[truth.correlations]
participant = 0.2

[analysis]                  # what will be fitted, with priors that are frozen before the first simulation
formula = "activation ~ valence + (valence | participant) + (1 | stimulus)"
# frozen = "valence.frozen.json"    # of mien priors freeze; left out: the library's, on the scale of the assumed truth
# [analysis.priors]
# beta = "Normal(0, 0.05)"

[[goals]]
name = "smiles more"
kind = "direction"          # P(effect > 0) or P(effect < 0) reaches:
effect = "valence"
probability = 0.975

# [[goals]]
# name = "not negligible"
# kind = "rope"             # the 95 % interval lies wholly outside (reject) or inside (accept)
# effect = "valence"
# rope = [-0.01, 0.01]
# [[goals]]
# name = "precise"
# kind = "width"
# effect = "valence"
# width = 0.04
# [[goals]]
# name = "evidence"
# kind = "bayes_factor"
# effect = "valence"
# threshold = 10

"""
    + BUDGET
    + """
# [cost]                    # then the cheapest design is looked for instead of the smallest N
# participant = 60
# trial = 0.05
# picture = 10
"""
)
