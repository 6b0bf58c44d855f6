"""Priors of a study before and after the data: prior predictive checks, and the sensitivity of its fits, stored.

    derivatives/mien/priors/valence-1a2b3c4d.json       what the priors of that hash expect
    derivatives/mien/fits/valence-…/sensitivity.parquet   of that fit: power-scaling of every quantity
    derivatives/mien/fits/valence-…/prior_widths.parquet  of that fit: its claimed effects under other prior widths

A check is of the fits whose priors it looked at, outcome by outcome (a fit may have fewer shapes); a sensitivity
belongs to its fit by its folder. With other priors, or another fit, there is none, and the report says so.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models import effects, freeze_priors, load
from mien.models.effect_tables import ROPE_OF_SIGMA, coefficient_names
from mien.models.factors.spec import is_factor_fit
from mien.models.prior_freezing import frozen_of_fit
from mien.models.sensitivity import power_scaling, prior_widths
from mien.simulation.prior_predictive import PriorPredictive, prior_predictive
from mien.study.errors import StudyError
from mien.study.files import whole_file, write_whole
from mien.study.folder import Study
from mien.study.tables import read_text
from mien.workflow.co_activation import FactorChoice
from mien.workflow.family_plans import FamilyChoice
from mien.workflow.fitting import newest_fits
from mien.workflow.parallel import Progress
from mien.workflow.priors import planned_models

__all__ = [
    "SENSITIVITY", "WIDTHS", "Sensitivity", "StoredCheck", "check_study_priors", "claimed_effects", "fit_sensitivity",
    "stored_check", "stored_sensitivity", "study_sensitivity",
]  # fmt: skip

SENSITIVITY, WIDTHS = "sensitivity.parquet", "prior_widths.parquet"


class StoredCheck(NamedTuple):
    """What the priors of one model expect; path : where it is stored; sha256 : of the priors."""

    name: str
    path: Path
    sha256: str
    result: PriorPredictive


class Sensitivity(NamedTuple):
    """Of one fit: `mien.models.power_scaling`, `mien.models.prior_widths` (empty where there is none), its folder."""

    name: str
    path: Path
    scaling: pd.DataFrame
    widths: pd.DataFrame


def check_study_priors(
    study: Study,
    model: str,
    *,
    choice: FamilyChoice | None = None,
    factors: FactorChoice | None = None,
    shapes: Sequence[str] = (),
    draws: int = 400,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[StoredCheck]:
    """What the priors of a family's models expect before the data; stored by the priors' hash.

    Raises
    ------
    StudyError, SpecError, FitError
    """
    planned = planned_models(study, model, choice=choice, factors=factors)
    found = []
    for number, one in enumerate(planned):
        if progress:
            progress(number, len(planned), "checking priors")
        frozen = one.frozen or freeze_priors(one.spec, one.trials, participants=study.participants)
        result = prior_predictive(
            one.spec, one.trials, participants=study.participants, draws=draws, seed=seed, shapes=shapes,
            frozen=one.frozen,
        )  # fmt: skip
        path = _check_path(study, one.name, frozen.sha256)
        told = {"priors_sha256": frozen.sha256, "outcome_sha256": frozen.outcome_sha256()}
        write_whole(path, json.dumps({**told, **result.to_dict()}) + "\n")
        found.append(StoredCheck(one.name, path, frozen.sha256, result))
    if progress:
        progress(len(planned), len(planned), "checking priors")
    return found


def _check_path(study: Study, name: str, sha256: str) -> Path:
    return study.derivatives / "priors" / f"{name}-{sha256[:8]}.json"


def stored_check(study: Study, name: str, fit: xr.DataTree) -> PriorPredictive | None:
    """The newest stored check of the priors that a fit had; None where there is none.

    Raises
    ------
    StudyError
        For a file that is not understood.
    """
    wanted = frozen_of_fit(fit).outcome_sha256()
    paths = sorted(
        (study.derivatives / "priors").glob(f"{name}-????????.json"), key=lambda path: -path.stat().st_mtime
    )
    for path in paths:
        try:
            data = json.loads(read_text(path))
            looked_at = data["outcome_sha256"]
            if all(looked_at.get(outcome) == sha256 for outcome, sha256 in wanted.items()):
                return PriorPredictive.from_dict(data)
        except (ValueError, KeyError, TypeError, AttributeError) as reason:
            raise StudyError(
                f"{path}: expected a prior predictive check, found a damaged file ({reason}): remove it, and check "
                "again."
            ) from None
    return None


def study_sensitivity(
    study: Study,
    model: str = "",
    *,
    redo: bool = False,
    refit: bool | None = None,
    progress: Progress | None = None,
) -> list[Sensitivity]:
    """How the newest fits of a study depend on their priors; computed once for each fit.

    Parameters
    ----------
    model : a family, or the name of a fit; "" takes all fits.
    redo : compute again what is stored.
    refit : as in `mien.models.power_scaling`.

    Raises
    ------
    StudyError
        When there is no such fit.
    """
    paths = {
        name: path
        for name, path in newest_fits(study).items()
        if not model or model in (name, name.partition("-")[0])
    }
    if not paths:
        raise StudyError(
            f"{study.derivatives / 'fits'}: expected a fit{f' of {model}' if model else ''}, found none: `mien fit "
            f"{study.path} --model {model or 'valence'}`."
        )
    found = []
    for number, (name, path) in enumerate(paths.items()):
        if progress:
            progress(number, len(paths), "sensitivity")
        stored = None if redo else stored_sensitivity(path, name)
        found.append(stored or _computed(study, name, path, refit))
    if progress:
        progress(len(paths), len(paths), "sensitivity")
    return found


def _computed(study: Study, name: str, path: Path, refit: bool | None) -> Sensitivity:
    fit = load(path)
    scaling, widths = fit_sensitivity(fit, rope=_rope(study, fit), refit=refit)
    for file, table in ((SENSITIVITY, scaling), (WIDTHS, widths)):
        with whole_file(path / file) as temporary:
            table.to_parquet(temporary, index=False)
    return Sensitivity(name, path, scaling, widths)


def fit_sensitivity(
    fit: xr.DataTree, *, rope: dict[str, float] | None = None, refit: bool | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Power-scaling of a fit, and its claimed effects under other prior widths (no rows where it has none).

    Parameters
    ----------
    rope : as in `mien.models.prior_widths`. refit : as in `mien.models.power_scaling`.
    """
    widths = [prior_widths(fit, effect, rope=rope) for effect in claimed_effects(fit)]
    return power_scaling(fit, refit=refit), pd.concat(widths, ignore_index=True) if widths else pd.DataFrame()


def _rope(study: Study, fit: xr.DataTree) -> dict[str, float] | None:
    """The study's own limits of practical equivalence (mien.toml), where it has some."""
    asked = study.settings.get("decisions", {}).get("rope")
    if asked is None or is_factor_fit(fit):
        return None
    own = effects(fit).drop_duplicates("blend_shape")
    shapes, widths = own["blend_shape"].astype("str"), own["rope"].to_numpy(dtype=np.float64)
    return dict(zip(shapes, (widths * (float(asked) / ROPE_OF_SIGMA)).tolist(), strict=True))


def claimed_effects(fit: xr.DataTree) -> tuple[str, ...]:
    """The coefficients that a fit was made for, by its family; of another formula all but the intercept.

    None of co-activation, and of models with a course.
    """
    if is_factor_fit(fit) or "time" in json.loads(str(fit.attrs.get("smooths", "{}"))):
        return ()  # loadings, and courses: no coefficient stands for the answer
    names = coefficient_names(fit)
    family, _, own = str(fit.attrs.get("name", "")).partition("-")
    wanted = {
        "valence": ("valence", "neutral"),
        "task": ("valence:medium",),
        "traits": tuple(f"valence:{trait}_z" for trait in own.split("-")),
    }.get(family, ())
    return tuple(name for name in wanted if name in names) or tuple(
        name for name in names if name != "Intercept"
    )


def stored_sensitivity(path: Path, name: str) -> Sensitivity | None:
    """The stored sensitivity of the fit in a folder; None where it was not computed."""
    if not (path / SENSITIVITY).exists() or not (path / WIDTHS).exists():
        return None
    return Sensitivity(name, path, pd.read_parquet(path / SENSITIVITY), pd.read_parquet(path / WIDTHS))
