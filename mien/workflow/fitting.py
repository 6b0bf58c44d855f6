"""Fit: a model family on the prepared trials of a study, stored under its fingerprint.

The same model on the same trials with the same settings is not fitted twice.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mien.models import fingerprint, fit, load, save, valence
from mien.study.errors import SpecError
from mien.study.folder import Study
from mien.study.tables import nearest
from mien.workflow.checking import require_complete
from mien.workflow.parallel import Progress
from mien.workflow.preparing import load_prep, load_trials

__all__ = ["FAMILIES", "StudyFit", "fit_study", "newest_fits"]

FAMILIES = {"valence": valence}


class StudyFit(NamedTuple):
    """A stored fit: where it lies, whether it was made now, effects, engine, verdict and its details."""

    path: Path
    new: bool
    effects: pd.DataFrame
    verdict: str
    engine: str
    detail: Mapping[str, Any]


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
        raise SpecError(
            f"model: expected one of {', '.join(FAMILIES)}, found {model!r}{nearest(model, FAMILIES)}."
        )
    require_complete(study)
    trials = _chosen(load_trials(study), shapes)
    trials.attrs["recipe_sha256"] = load_prep(study)["recipe_sha256"]
    spec = FAMILIES[model]()
    settings: dict[str, Any] = {
        "participants": study.participants,
        "engine": engine,
        "draws": draws,
        "seed": seed,
    }
    sha256 = fingerprint(spec, trials, **settings)
    path = study.derivatives / "fits" / f"{model}-{sha256[:8]}"
    if path.exists() and not refit:
        return _told(path, False, load(path).attrs)
    tell = progress and (lambda done, total, _shape: progress(done, total, "fitting"))
    made = fit(spec, trials, **settings, progress=tell)
    with _out_of_the_way(path):
        save(made, path, fingerprint=sha256)
    return _told(path, True, made.attrs)


def _told(path: Path, new: bool, attrs: Mapping[Any, Any]) -> StudyFit:
    effects = pd.read_parquet(path / "summary.parquet")
    detail = json.loads(attrs["diagnostics_detail"])
    return StudyFit(path, new, effects, str(attrs["diagnostics"]), str(attrs["engine"]), detail)


@contextmanager
def _out_of_the_way(path: Path) -> Iterator[None]:
    """Move what is at `path` aside; it goes when the block succeeds and comes back when it does not."""
    aside = path.with_name(f".{path.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        path.rename(aside)
    try:
        yield
    except BaseException:
        if aside.exists():
            aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _chosen(trials: pd.DataFrame, shapes: Sequence[str]) -> pd.DataFrame:
    if not shapes:
        return trials
    present = [str(name) for name in trials["blend_shape"].cat.categories]
    for name in shapes:
        if name not in present:
            raise SpecError(
                f"shapes: expected outcomes of the trials table, found {name!r}{nearest(name, present)}."
            )
    rows = trials.loc[trials["blend_shape"].isin(list(shapes))].reset_index(drop=True)
    kept = pd.Categorical(rows["blend_shape"]).remove_unused_categories()
    return rows.assign(blend_shape=kept)


def newest_fits(study: Study) -> dict[str, Path]:
    """The newest complete fit of each name."""
    found = (path for path in (study.derivatives / "fits").glob("*/fit.json") if path.parent.name[0] != ".")
    in_order = sorted(found, key=lambda path: path.stat().st_mtime)
    return {path.parent.name.rpartition("-")[0]: path.parent for path in in_order}
