"""Fit: model families on the prepared trials of a study, stored under their fingerprints.

The same model on the same trials with the same settings is not fitted twice. Every fit is stored with its checks.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from mien.models import FactorSpec, ModelSpec, fingerprint, fit, load, save
from mien.models.factors.spec import FAMILY as CO_ACTIVATION
from mien.models.stored_checks import StoredChecks, stored_checks, with_checks
from mien.priors import FrozenPriors
from mien.study.errors import SpecError
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.study.tables import nearest
from mien.workflow.checking import require_complete
from mien.workflow.co_activation import NUMBERS, FactorChoice, fit_factors_of
from mien.workflow.family_plans import ALL, FAMILIES, FamilyChoice, FitPlan, plan_fits
from mien.workflow.parallel import Progress
from mien.workflow.preparing import load_prep, load_trials
from mien.workflow.priors import (
    frozen_path,
    load_frozen,
    read_priors,
    refuse_unknown_priors,
    with_set_priors,
)

__all__ = [
    "CO_ACTIVATION",
    "FAMILIES",
    "FactorChoice",
    "FamilyChoice",
    "StudyFit",
    "fit_models",
    "fit_study",
    "newest_fits",
]


class StudyFit(NamedTuple):
    """A stored fit: its name, where it lies, whether it was made now, effects, engine, verdict and its details.

    effects : or, of co-activation, loadings.
    notes : what to know of it: rows left out for a missing value, and what the design check says.
    checks : of the model, or why there are none.
    """

    name: str
    path: Path
    new: bool
    effects: pd.DataFrame
    verdict: str
    engine: str
    detail: Mapping[str, Any]
    notes: tuple[str, ...]
    checks: StoredChecks


class _Settings(NamedTuple):
    trials_sha256: str
    engine: str
    draws: int
    seed: int
    refit: bool
    registered: bool = False


def fit_study(study: Study, model: str, **settings: Any) -> StudyFit:
    """The primary fit of a family: the first of `fit_models`, which takes the same settings."""
    return fit_models(study, model, first=True, **settings)[0]


def fit_models(  # noqa: PLR0913  (the public face)
    study: Study,
    model: str,
    *,
    choice: FamilyChoice | None = None,
    factors: FactorChoice | None = None,
    pooling: str = "none",
    engine: str = "auto",
    shapes: Sequence[str] = (),
    draws: int = 1000,
    seed: int = 0,
    refit: bool = False,
    registered: bool = False,
    first: bool = False,
    progress: Progress | None = None,
) -> list[StudyFit]:
    """Fit a family's models, or those of all families, to the study's trials, or find the same fits stored.

    Priors are those that the study has set and frozen (`mien.workflow.priors`), else the library's.

    Parameters
    ----------
    model : a name in FAMILIES, "co_activation", or "all".
    choice : the families' options by columns of the study. factors : those of co-activation.
    pooling : "none", or "partial" to pool each effect over shapes too.
    shapes : only these blend shapes or contrasts; () takes all.
    refit : fit again although the same fit is stored.
    registered : refuse priors that are not frozen, or that have no source.
    first : only the primary model.

    Raises
    ------
    StudyError, SpecError, FitError
    """
    require_complete(study)
    trials = _chosen(load_trials(study), shapes)
    prep = load_prep(study)
    trials.attrs["recipe_sha256"] = prep["recipe_sha256"]
    settings = _Settings(str(prep.get("trials_sha256", "")), engine, draws, seed, refit, registered)
    together = factors or FactorChoice()
    together = replace(together, priors={**read_priors(study, CO_ACTIVATION), **together.priors})
    if model == CO_ACTIVATION:
        return [_co_activation(study, trials, together, settings, progress)]
    plans = plan_fits(study, trials, model, choice or FamilyChoice())
    plans = [plan._replace(spec=replace(plan.spec, pooling=pooling)) for plan in plans]
    refuse_unknown_priors(study, [plan.spec for plan in plans], [plan.trials for plan in plans])
    fits = [_fitted(study, plan, settings, progress) for plan in (plans[:1] if first else plans)]
    if model == ALL and not first:
        fits.append(_co_activation(study, trials, together, settings, progress))
    return fits


def _fitted(study: Study, plan: FitPlan, settings: _Settings, progress: Progress | None) -> StudyFit:
    trials = plan.trials
    spec = with_set_priors(study, plan.spec, trials)
    frozen = _frozen(study, spec.name, settings)
    path, sha256 = _place(study, spec, trials, settings, also=_told_frozen(frozen, settings))
    if path.exists() and not settings.refit:
        stored = load(path)
        if "checks" not in stored.attrs:  # an earlier version's; it is no newer for it
            made_at = (path / "fit.json").stat()
            stored = _stored(with_checks(stored), path, sha256, settings)
            os.utime(path / "fit.json", ns=(made_at.st_atime_ns, made_at.st_mtime_ns))
        _take_again(study, path, settings)
        return _told(path, False, stored)
    tell = progress and (lambda done, total, _shape: progress(done, total, f"fitting {spec.name}"))
    # Every trial has effects of its own where there are curves: a gigabyte, which `mien.group_effects` draws when asked
    made = fit(
        spec, trials, participants=study.participants, **_keywords(settings), group_effects=not spec.smooths,
        frozen=frozen, registered=settings.registered, progress=tell,
    )  # fmt: skip
    return _told(path, True, _stored(with_checks(made), path, sha256, settings))


def _co_activation(
    study: Study,
    trials: pd.DataFrame,
    choice: FactorChoice,
    settings: _Settings,
    progress: Progress | None,
) -> StudyFit:
    frozen = _frozen(study, choice.spec.name, settings)
    also = choice.told + _told_frozen(frozen, settings)
    path, sha256 = _place(study, choice.spec, trials, settings, also=also)
    if path.exists() and not settings.refit:
        _take_again(study, path, settings)
        return _told(path, False, load(path))
    made = fit_factors_of(
        choice, trials, study.participants, _keywords(settings), progress, frozen=frozen,
        registered=settings.registered,
    )  # fmt: skip
    return _told(path, True, _stored(made, path, sha256, settings))


def _frozen(study: Study, name: str, settings: _Settings) -> FrozenPriors | None:
    """The frozen priors of a model; in a registered analysis there must be some."""
    frozen = load_frozen(study, name)
    if frozen is None and settings.registered:
        raise SpecError(
            f"registered: expected frozen priors at {frozen_path(study, name)}, found none: `mien priors freeze "
            f"{study.path} --model {name.partition('-')[0]}`."
        )
    if frozen is not None and settings.registered:
        frozen.check_registered()
    return frozen


def _told_frozen(frozen: FrozenPriors | None, settings: _Settings) -> str:
    """What makes it another fit."""
    return (f"priors {frozen.sha256}" if frozen else "") + (" registered" if settings.registered else "")


def _keywords(settings: _Settings) -> dict[str, Any]:
    return {"engine": settings.engine, "draws": settings.draws, "seed": settings.seed}


def _place(
    study: Study, spec: ModelSpec | FactorSpec, trials: pd.DataFrame, settings: _Settings, *, also: str = ""
) -> tuple[Path, str]:
    """Where a fit lies, and its fingerprint."""
    sha256 = fingerprint(spec, trials, participants=study.participants, **_keywords(settings), also=also)
    return study.derivatives / "fits" / f"{spec.name}-{sha256[:8]}", sha256


def _take_again(study: Study, path: Path, settings: _Settings) -> None:
    """A stored fit that is asked for is one of the trials stored now, and the one of its name that reports take."""
    file = path / "fit.json"
    described, made_at = json.loads(file.read_text(encoding="utf-8")), file.stat()
    if described.get("trials_sha256") != settings.trials_sha256:
        described["trials_sha256"] = settings.trials_sha256
        write_whole(file, json.dumps(described, indent=1, sort_keys=True) + "\n")
        os.utime(file, ns=(made_at.st_atime_ns, made_at.st_mtime_ns))
    if newest_fits(study).get(path.name.rpartition("-")[0]) != path:
        os.utime(file)


def _stored(made: xr.DataTree, path: Path, sha256: str, settings: _Settings) -> xr.DataTree:
    made.attrs["trials_sha256"] = settings.trials_sha256
    with _out_of_the_way(path):
        save(made, path, fingerprint=sha256)
    return made


def _told(path: Path, new: bool, made: xr.DataTree) -> StudyFit:
    attrs = made.attrs
    effects = pd.read_parquet(path / "summary.parquet")
    detail = json.loads(attrs["diagnostics_detail"])
    return StudyFit(
        path.name.rpartition("-")[0], path, new, effects, str(attrs["diagnostics"]), str(attrs["engine"]), detail,
        _notes(attrs), stored_checks(made),
    )  # fmt: skip


def _notes(attrs: Mapping[Any, Any]) -> tuple[str, ...]:
    counts = json.loads(str(attrs.get("counts", "{}")))
    derived = json.loads(str(attrs.get("derived", "{}")))
    check = json.loads(str(attrs.get("design_check", "{}")))
    persons = [
        f"{told['from']} is missing for {told['participants_missing']} of {told['participants']} persons, who are left "
        "out."
        for told in derived.values()
        if told.get("participants_missing")
    ]
    missing, incomplete = counts.get("missing", 0), counts.get("incomplete_trials", 0)
    rows = (
        [f"{missing} of {counts['rows']} rows lack a value that the model uses, and are left out."]
        if missing
        else []
    )
    if incomplete:
        rows.append(
            f"{incomplete} of {counts['trials']} trials lack a shape that the model has, and are left out."
        )
    numbers = json.loads(str(attrs.get(NUMBERS, "{}")))
    told = [numbers["answer"]] if numbers else []
    frozen, sha256 = str(attrs.get("priors_frozen", "")), str(attrs.get("priors_sha256", ""))
    priors = [f"The priors were frozen at {frozen} (sha256 {sha256[:8]}…)."] if frozen else []
    return (*persons, *rows, *told, *priors, *check.get("notes", ()))


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
