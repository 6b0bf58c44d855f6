"""Fit: a model family on the prepared trials of a study, stored under its fingerprint.

The same model on the same trials with the same settings is not fitted twice.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mien.models import effects, fingerprint, fit, load, save, valence
from mien.models.spec import ModelSpec
from mien.study.errors import FitError, SpecError, StudyError
from mien.study.folder import Study
from mien.study.tables import nearest
from mien.workflow.checking import require_complete
from mien.workflow.parallel import Progress
from mien.workflow.preparing import load_prep, load_trials

__all__ = ["FAMILIES", "StudyFit", "fit_study", "newest_fits"]

FAMILIES = {"valence": valence}


class StudyFit(NamedTuple):
    """A stored fit: where it lies, whether it was made now, its effects and its verdict."""

    path: Path
    new: bool
    effects: pd.DataFrame
    verdict: str


def fit_study(
    study: Study,
    model: str,
    *,
    engine: str = "auto",
    shapes: Sequence[str] = (),
    draws: int = 1000,
    seed: int = 0,
    refit: bool = False,
    progress: Progress | None = None,
) -> StudyFit:
    """Fit a family to the study's trials, or find the same fit stored.

    Parameters
    ----------
    model : a name in FAMILIES.
    shapes : only these blend shapes or contrasts; () takes all.
    refit : fit again although the same fit is stored.

    Raises
    ------
    StudyError, SpecError, FitError
    """
    if model not in FAMILIES:
        raise SpecError(f"model: expected one of {', '.join(FAMILIES)}, found {model!r}{nearest(model, FAMILIES)}.")
    require_complete(study)
    trials = _chosen(load_trials(study), shapes)
    trials.attrs["recipe_sha256"] = load_prep(study)["recipe_sha256"]
    spec = FAMILIES[model]()
    settings = {"engine": engine, "draws": draws, "seed": seed}
    path = fit_folder(study.derivatives / "fits", model, fingerprint(spec, trials, settings, study.participants))
    if path.exists() and not refit:
        stored = load(path)
        return StudyFit(path, False, effects(stored), stored.attrs["diagnostics"])
    made = fit(spec, trials, participants=study.participants, engine=engine, draws=draws, seed=seed, progress=progress)
    save(made, path)
    return StudyFit(path, True, effects(made), made.attrs["diagnostics"])


def _chosen(trials: pd.DataFrame, shapes: Sequence[str]) -> pd.DataFrame:
    if not shapes:
        return trials
    present = [str(name) for name in trials["blend_shape"].cat.categories]
    for name in shapes:
        if name not in present:
            raise SpecError(f"shapes: expected outcomes of the trials table, found {name!r}{nearest(name, present)}.")
    rows = trials[trials["blend_shape"].isin(list(shapes))].reset_index(drop=True)
    return rows.assign(blend_shape=rows["blend_shape"].cat.remove_unused_categories())


def newest_fits(study: Study) -> dict[str, Path]:
    """The newest complete fit of each name."""
    found = sorted((study.derivatives / "fits").glob("*/fit.json"), key=lambda path: path.stat().st_mtime)
    return {path.parent.name.rpartition("-")[0]: path.parent for path in found}
