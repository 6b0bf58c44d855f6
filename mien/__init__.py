"""mien: from ARKit blend-shape recordings of faces to hierarchical Bayesian posteriors.

recording → trials → fit → report. The public names below are loaded when they are first used, so that
`import mien` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mien import models, priors
    from mien.capture.formats import read_recording
    from mien.data_prep.recipe import Recipe
    from mien.models.comparison import compare
    from mien.models.effect_tables import effects
    from mien.models.fitting import fit
    from mien.models.group_draws import group_effects
    from mien.models.prediction import predict
    from mien.models.predictive_density import log_likelihood
    from mien.models.replicates import posterior_predictive
    from mien.models.scoring import score
    from mien.models.spec import ModelSpec
    from mien.models.statistics import load_statistics, sufficient_statistics
    from mien.models.storage import load, save
    from mien.reports_app.export_tables import export_effects, methods_paragraph
    from mien.study.errors import MienError
    from mien.study.folder import Study
    from mien.study.trials import contrast
    from mien.workflow.preparing import prepare

_HOMES = {
    "MienError": "mien.study.errors",
    "ModelSpec": "mien.models",
    "Recipe": "mien.data_prep.recipe",
    "Study": "mien.study.folder",
    "compare": "mien.models",
    "contrast": "mien.study.trials",
    "effects": "mien.models",
    "export_effects": "mien.reports_app.export_tables",
    "fit": "mien.models",
    "group_effects": "mien.models",
    "load": "mien.models",
    "load_statistics": "mien.models",
    "log_likelihood": "mien.models",
    "methods_paragraph": "mien.reports_app.export_tables",
    "posterior_predictive": "mien.models",
    "predict": "mien.models",
    "prepare": "mien.workflow.preparing",
    "read_recording": "mien.capture.formats",
    "save": "mien.models",
    "score": "mien.models",
    "sufficient_statistics": "mien.models",
}
_FOLDERS = ("models", "priors")

__all__ = [
    "MienError", "ModelSpec", "Recipe", "Study", "compare", "contrast", "effects", "export_effects", "fit",
    "group_effects", "load", "load_statistics", "log_likelihood", "methods_paragraph", "models",
    "posterior_predictive", "predict", "prepare", "priors", "read_recording", "save", "score",
    "sufficient_statistics",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return import_module(f"mien.{name}")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mien' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
