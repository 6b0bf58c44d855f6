"""Models: from Trials and a ModelSpec to a posterior, its effects and its verdict.

Import rule: this folder imports `mien.priors` and `mien.study` only; PyMC, nutpie and Bambi only under engines/.

    spec, families/             what to fit
    outcomes, derived_columns,
    coding, design              from data to rows and matrices
    likelihoods, likelihood_rows   families besides the Gaussian, and what they ask of the rows
    engines/                    from matrices to draws
    fitting, posterior_tree     `fit`, all of it together, and its result's names
    diagnostics                 the gate
    design_checks, error_shares,
    equal_stretches             what a design allows one to say
    effect_tables, mean_response,
    group_draws,
    raw_units, lost_tracking    what to read from a fit
    shape_sets                  contrasts of shapes, as outcomes
    pooling, shape_errors, shape_population   shapes pooled after they were fitted
    storage, stored_checks      on disk and back; checks that stay with a fit
    refit                       from a stored fit back to its outcome
    predictive_density, cross_validation, comparison   units left out; models compared by them
    prediction                  what is expected at rows of a grid
    criticism, loo_pit, uniformity, row_kernels   does the model show what the data show?
    family_rows, family_checks  the same for families besides the Gaussian
    person_tables, wrong_signs  each person's answer, how reliably persons differ; directions that may be wrong
    new_rows, person_posterior,
    scoring                     a person whom the fit has not seen
    person_standing, retest     a person of the fit among the others; change between a person's sessions
    replicates, likelihood_replicates   posterior predictive draws
    prior_tables, prior_freezing, pilot_priors  a model's priors: what they are, frozen, from an earlier fit
    sensitivity/                whether answers depend on them
    statistics, table_parts,
    row_survey, row_sums        sums over the rows of tables that are larger than memory

Names are loaded when they are first used; only Gaussian fits by engine "nuts" import PyMC.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.models.comparison import compare
    from mien.models.courses import curves, peaks
    from mien.models.criticism import check_notes, checks
    from mien.models.cross_validation import k_fold
    from mien.models.design_checks import design_check
    from mien.models.effect_tables import effects
    from mien.models.engines.bambi_model import to_bambi
    from mien.models.equal_stretches import first_seconds
    from mien.models.factors.bartlett import score_outcomes
    from mien.models.factors.choice import factor_numbers
    from mien.models.factors.eigenvalues import eigenvalue_check
    from mien.models.factors.scores import factor_score_draws, factor_scores, person_scores
    from mien.models.factors.spec import FactorSpec
    from mien.models.factors.tables import co_activation_pairs, loadings, shape_groups, shares
    from mien.models.families.co_activation import co_activation
    from mien.models.families.task import task
    from mien.models.families.time import time
    from mien.models.families.traits import traits
    from mien.models.families.valence import valence
    from mien.models.fitting import fit
    from mien.models.group_draws import group_effects
    from mien.models.likelihood_rows import recommend_family
    from mien.models.loo_pit import pit
    from mien.models.lost_tracking import lost_trials
    from mien.models.person_standing import standing
    from mien.models.person_tables import person_effects, reliability
    from mien.models.pilot_priors import pilot_prior
    from mien.models.pooling import pool_shapes
    from mien.models.prediction import predict, prediction_draws
    from mien.models.predictive_density import log_likelihood
    from mien.models.prior_freezing import freeze_priors
    from mien.models.prior_tables import prior_table
    from mien.models.raw_units import trait_slopes
    from mien.models.replicates import posterior_predictive
    from mien.models.retest import session_change
    from mien.models.scoring import score
    from mien.models.sensitivity import decision_range, power_scaling, prior_widths, which_prior
    from mien.models.shape_sets import SHAPE_SETS, shape_contrasts
    from mien.models.spec import FAMILIES, ModelSpec
    from mien.models.statistics import load_statistics, sufficient_statistics
    from mien.models.storage import fingerprint, load, save
    from mien.models.wrong_signs import expected_wrong_signs

__all__ = [
    "FAMILIES", "SHAPE_SETS", "FactorSpec", "ModelSpec", "check_notes", "checks", "co_activation",
    "co_activation_pairs", "compare", "curves", "decision_range", "design_check", "effects",
    "eigenvalue_check", "expected_wrong_signs", "factor_numbers", "factor_score_draws", "factor_scores",
    "fingerprint", "first_seconds", "fit", "freeze_priors", "group_effects", "k_fold", "load",
    "load_statistics", "loadings", "log_likelihood", "lost_trials", "peaks", "person_effects",
    "person_scores", "pilot_prior", "pit", "pool_shapes", "posterior_predictive", "power_scaling", "predict",
    "prediction_draws", "prior_table", "prior_widths", "recommend_family", "reliability", "save", "score",
    "score_outcomes", "session_change", "shape_contrasts", "shape_groups", "shares", "standing",
    "sufficient_statistics", "task", "time", "to_bambi", "trait_slopes", "traits", "valence", "which_prior",
]  # fmt: skip

_HOMES = {
    "compare": "comparison",
    "k_fold": "cross_validation",
    "predict": "prediction",
    "prediction_draws": "prediction",
    "checks": "criticism",
    "check_notes": "criticism",
    "pit": "loo_pit",
    "person_effects": "person_tables",
    "recommend_family": "likelihood_rows",
    "reliability": "person_tables",
    "expected_wrong_signs": "wrong_signs",
    "FAMILIES": "spec",
    "FactorSpec": "factors.spec",
    "ModelSpec": "spec",
    "co_activation": "families.co_activation",
    "co_activation_pairs": "factors.tables",
    "eigenvalue_check": "factors.eigenvalues",
    "factor_numbers": "factors.choice",
    "factor_score_draws": "factors.scores",
    "factor_scores": "factors.scores",
    "loadings": "factors.tables",
    "person_scores": "factors.scores",
    "score_outcomes": "factors.bartlett",
    "shape_groups": "factors.tables",
    "shares": "factors.tables",
    "curves": "courses",
    "design_check": "design_checks",
    "effects": "effect_tables",
    "fingerprint": "storage",
    "first_seconds": "equal_stretches",
    "fit": "fitting",
    "freeze_priors": "prior_freezing",
    "group_effects": "group_draws",
    "load": "storage",
    "load_statistics": "statistics",
    "log_likelihood": "predictive_density",
    "pool_shapes": "pooling",
    "lost_trials": "lost_tracking",
    "peaks": "courses",
    "posterior_predictive": "replicates",
    "save": "storage",
    "SHAPE_SETS": "shape_sets",
    "score": "scoring",
    "session_change": "retest",
    "standing": "person_standing",
    "pilot_prior": "pilot_priors",
    "prior_table": "prior_tables",
    "decision_range": "sensitivity",
    "power_scaling": "sensitivity",
    "prior_widths": "sensitivity",
    "which_prior": "sensitivity",
    "shape_contrasts": "shape_sets",
    "sufficient_statistics": "statistics",
    "task": "families.task",
    "time": "families.time",
    "to_bambi": "engines.bambi_model",
    "trait_slopes": "raw_units",
    "traits": "families.traits",
    "valence": "families.valence",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
