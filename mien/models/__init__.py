"""Models: from Trials and a ModelSpec to a posterior, its effects and its verdict.

Import rule: this folder imports `mien.priors` and `mien.study` only; PyMC, nutpie and Bambi only under engines/.

    spec, families/             what to fit
    outcomes, coding, design    from data to rows and matrices
    engines/                    from matrices to draws
    fitting, posterior_tree     `fit`, all of it together, and its result's names
    diagnostics                 the gate
    effect_tables, group_draws  what to read from a fit
    storage                     on disk and back
    refit                       from a stored fit back to its outcome
    predictive_density          units left out
    new_rows, person_posterior,
    scoring                     a person whom the fit has not seen
    replicates                  posterior predictive draws
    statistics, table_parts,
    row_survey, row_sums        sums over the rows of tables that are larger than memory

Names are loaded when they are first used; `mien.models.fit` alone imports PyMC.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.models.effect_tables import effects
    from mien.models.engines.bambi_model import to_bambi
    from mien.models.families.valence import valence
    from mien.models.fitting import fit
    from mien.models.group_draws import group_effects
    from mien.models.predictive_density import log_likelihood
    from mien.models.replicates import posterior_predictive
    from mien.models.scoring import score
    from mien.models.spec import FAMILIES, ModelSpec
    from mien.models.statistics import load_statistics, sufficient_statistics
    from mien.models.storage import fingerprint, load, save

__all__ = [
    "FAMILIES", "ModelSpec", "effects", "fingerprint", "fit", "group_effects", "load", "load_statistics",
    "log_likelihood", "posterior_predictive", "save", "score", "sufficient_statistics", "to_bambi", "valence",
]  # fmt: skip

_HOMES = {
    "FAMILIES": "spec",
    "ModelSpec": "spec",
    "effects": "effect_tables",
    "fingerprint": "storage",
    "fit": "fitting",
    "group_effects": "group_draws",
    "load": "storage",
    "load_statistics": "statistics",
    "log_likelihood": "predictive_density",
    "posterior_predictive": "replicates",
    "save": "storage",
    "score": "scoring",
    "sufficient_statistics": "statistics",
    "to_bambi": "engines.bambi_model",
    "valence": "families.valence",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
