"""What pages read, each with the visitor whose role must have the page: no data without a role.

Fits are opened lazily and kept for all visitors, read-only, under the hash of what they were made from; what is made of
them (parts with figures) is kept too. First pages read summaries, not posteriors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from mien.models import effects, load
from mien.models.factors.spec import FAMILY as CO_ACTIVATION
from mien.power.interim import Status, status
from mien.reports_app.app.access import OF_PERSONS, OF_POWER, OF_STUDY, Visitor, require
from mien.reports_app.app.exporting import small_groups
from mien.reports_app.app.journal import note_person
from mien.reports_app.app.settings import settings
from mien.reports_app.app.uploads import Upload, read_upload, read_uploaded_events
from mien.reports_app.attributes import rope_widths
from mien.reports_app.co_activation_part import CoActivationPart, co_activation_part
from mien.reports_app.course_parts import CoursePart, course_part, has_course
from mien.reports_app.defaults import Decisions
from mien.reports_app.effect_part import EffectPart, by_effect, effect_part, family_place
from mien.reports_app.figures.heat_strip import heat_strip_svg
from mien.reports_app.model_checks import ModelChecks, model_checks
from mien.reports_app.person_document import MAIN, part_of_new, part_of_study
from mien.reports_app.person_part import PersonPart
from mien.reports_app.power_document import answered
from mien.reports_app.power_part import PowerPart
from mien.reports_app.prior_part import PriorPart, prior_part
from mien.reports_app.study_part import Exclusions, exclusions
from mien.reports_app.texts import Texts
from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.study.private_columns import refuse_private
from mien.workflow.checking import quality_of
from mien.workflow.fitting import newest_fits
from mien.workflow.new_recording import PERSON, prepare_new, tasks_of
from mien.workflow.preparing import load_prep
from mien.workflow.prior_checks import stored_check, stored_sensitivity
from mien.workflow.staleness import stale_fit, stale_preparation

__all__ = [
    "StoredFit", "checks_of", "co_activation_of", "courses_of", "decisions", "draws_bytes",
    "draws_file", "draws_of", "effects_of", "exclusions_of", "fit_of", "is_together", "parameters_of",
    "part_of", "participants", "people", "person_of", "power_part_of", "power_runs", "power_status",
    "preparation", "priors_of", "quality", "shapes_of", "stale", "stored_fits", "study",
]  # fmt: skip

KEPT_FITS, KEPT_PARTS = 8, 64
DRAWS = "posterior.nc"


class StoredFit(NamedTuple):
    """One fit of the study, as fit.json describes it.

    key : of what is kept in memory. stale : why it is not one of the trials stored now.
    """

    name: str
    path: str
    key: str
    family: str
    verdict: str
    described: Mapping[str, Any]
    stale: tuple[str, ...]

    @property
    def model(self) -> str:
        """The family's part of the name: valence, time, task, traits, co_activation."""
        return self.name.partition("-")[0]


def study() -> Study:
    """The study of this app."""
    return _study(str(settings().study))


def _inside(path: Path | str) -> Path:
    """A path of the study; nothing else is opened. Its derivatives may lie on another disk."""
    found = Path(path).resolve()
    if not any(found.is_relative_to(root.resolve()) for root in (study().path, study().derivatives)):
        raise StudyError(
            f"{found.name}: expected a path within the study, found one elsewhere: nothing is opened."
        )
    return found


@st.cache_resource(max_entries=1)
def _study(path: str) -> Study:
    found = Study(path)
    if (found.path / "participants.tsv").exists():
        refuse_private(found.participants, where=found.path / "participants.tsv")
    return found


def participants(visitor: Visitor, page: str) -> pd.DataFrame:
    """Who took part, without groups of fewer than five."""
    require(visitor, page, OF_STUDY)
    table = study().participants
    for name in table.columns.intersection(["sex", "group"]):
        table = small_groups(table, str(name))
    return table


def decisions() -> Decisions:
    """Limits and words."""
    return Decisions.from_mapping(study().settings.get("decisions", {}))


def preparation(visitor: Visitor, page: str) -> dict[str, Any] | None:
    """prep.json; None before the first preparation."""
    require(visitor, page, OF_STUDY)
    return load_prep(study()) if (study().derivatives / "prep.json").exists() else None


def exclusions_of(visitor: Visitor, page: str, prep: Mapping[str, Any]) -> Exclusions:
    """What was left out, with its figures."""
    require(visitor, page, OF_STUDY)
    return _exclusions(json.dumps(prep))


@st.cache_resource(max_entries=4, show_spinner=False)
def _exclusions(prep: str) -> Exclusions:
    return exclusions(json.loads(prep))


def stale(visitor: Visitor) -> list[str]:
    """Why the preparation is not of the study as it is now."""
    require(visitor, "overview")
    return stale_preparation(study())


def quality(visitor: Visitor, page: str) -> list[dict[str, Any]]:
    """The quality report of every recording."""
    require(visitor, page, OF_STUDY)
    return [quality_of(study(), recording_id) for recording_id in study().recordings()]


def stored_fits(visitor: Visitor, page: str, model: str = "") -> list[StoredFit]:
    """The newest fit of each name, in the order in which reports tell them.

    Parameters
    ----------
    model : only those of a family; "" takes all.
    """
    require(visitor, page, OF_STUDY)
    prep = preparation(visitor, page)
    found = []
    for name, path in newest_fits(study()).items():
        described = json.loads((path / "fit.json").read_text(encoding="utf-8"))
        changed = (path / "fit.json").stat().st_mtime_ns
        found.append(
            StoredFit(
                name, str(path), f"{described.get('fingerprint', '')}-{changed}", str(described.get("family", "")),
                str(described.get("diagnostics", "")), described,
                tuple(stale_fit(described, prep)) if prep else (),
            )
        )  # fmt: skip
    found.sort(key=lambda one: (family_place(one.name), one.name))
    return [one for one in found if model in ("", one.model)]


def fit_of(visitor: Visitor, page: str, stored: StoredFit) -> Any:
    """The fit, opened lazily; to look at, not to change."""
    require(visitor, page, OF_STUDY)
    return _opened(stored.key, stored.path)


@st.cache_resource(max_entries=KEPT_FITS, show_spinner=False)
def _opened(key: str, path: str) -> Any:
    return load(_inside(path), lazy=True)


def effects_of(visitor: Visitor, page: str, stored: StoredFit) -> pd.DataFrame:
    """`mien.effects` with the study's ROPE."""
    require(visitor, page, OF_STUDY)
    return _effects(stored.key, stored.path, decisions())


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _effects(key: str, path: str, limits: Decisions) -> pd.DataFrame:
    fit = _opened(key, path)
    return effects(fit, rope=rope_widths(fit, limits.rope))


def part_of(
    visitor: Visitor, page: str, stored: StoredFit, effect: str, shapes: tuple[str, ...] = ()
) -> EffectPart:
    """One effect of a fit, ready to be placed.

    Parameters
    ----------
    shapes : only these; () takes all.
    """
    require(visitor, page, OF_STUDY)
    return _part(stored.key, stored.path, stored.name, effect, shapes, sides(), decisions())


def sides() -> str:
    """Of the recipe: "mean" or "both"."""
    import tomllib

    prep = load_prep(study())
    return str(tomllib.loads(str(prep.get("recipe_toml", ""))).get("sides", "mean"))


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _part(
    key: str, path: str, name: str, effect: str, shapes: tuple[str, ...], sides: str, limits: Decisions
) -> EffectPart:  # fmt: skip
    rows = dict(by_effect(_effects(key, path, limits)))[effect]
    if shapes:
        rows = rows.loc[rows["blend_shape"].isin(list(shapes))].reset_index(drop=True)
    return effect_part(name, effect, rows, _opened(key, path), sides, limits)


def courses_of(visitor: Visitor, page: str, stored: StoredFit) -> CoursePart | None:
    """How the answer unfolds; None for a fit without curves."""
    require(visitor, page, OF_STUDY)
    return _courses(stored.key, stored.path, stored.name, decisions())


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _courses(key: str, path: str, name: str, limits: Decisions) -> CoursePart | None:
    fit = _opened(key, path)
    return course_part(name, fit, _effects(key, path, limits), limits) if has_course(fit) else None


def co_activation_of(visitor: Visitor, page: str, stored: StoredFit, *, full: bool) -> CoActivationPart:
    """Which parts move together; `full` with the figures of all shapes."""
    require(visitor, page, OF_STUDY)
    return _together(stored.key, stored.path, stored.name, sides(), decisions(), full)


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _together(
    key: str, path: str, name: str, sides: str, limits: Decisions, full: bool
) -> CoActivationPart:  # fmt: skip
    return co_activation_part(name, _opened(key, path), limits, sides=sides, full=full)


def checks_of(visitor: Visitor, page: str, stored: StoredFit) -> ModelChecks:
    """What the checks of the model found."""
    require(visitor, page, OF_STUDY)
    return _checks(stored.key, stored.path, stored.name)


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _checks(key: str, path: str, name: str) -> ModelChecks:
    return model_checks(name, _opened(key, path))


def parameters_of(visitor: Visitor, page: str, stored: StoredFit) -> list[str]:
    """What was drawn besides single persons', stimuli's and trials' effects: one number for each shape, or one."""
    fit = fit_of(visitor, page, stored)["posterior"].to_dataset()
    plain = {"chain", "draw", "blend_shape"}
    return [str(name) for name, one in fit.data_vars.items() if plain >= set(one.dims)]


def draws_of(visitor: Visitor, page: str, stored: StoredFit, parameter: str, shape: str) -> np.ndarray:
    """(chain, draw) of one parameter.

    Parameters
    ----------
    shape : "" where the fit has one outcome.
    """
    one = fit_of(visitor, page, stored)["posterior"][parameter]
    if "blend_shape" in one.dims:
        one = one.sel(blend_shape=shape)
    return one.transpose("chain", "draw").to_numpy()


def draws_file(visitor: Visitor, page: str, stored: StoredFit) -> tuple[int, str]:
    """How many bytes a fit's draws are, and where they lie within the study."""
    require(visitor, page, OF_STUDY)
    path = Path(stored.path) / DRAWS
    return _inside(path).stat().st_size, str(path.relative_to(study().path))


def draws_bytes(visitor: Visitor, page: str, stored: StoredFit) -> bytes:
    """A fit's draws as netCDF."""
    require(visitor, page, OF_STUDY)
    return _inside(Path(stored.path) / DRAWS).read_bytes()


def shapes_of(visitor: Visitor, page: str, stored: StoredFit) -> list[str]:
    """Outcomes of a fit; [""] where it has one."""
    posterior = fit_of(visitor, page, stored)["posterior"]
    return (
        [str(name) for name in posterior["blend_shape"].to_numpy()]
        if "blend_shape" in posterior.coords
        else [""]
    )


def priors_of(visitor: Visitor, page: str, stored: StoredFit) -> PriorPart:
    """What the fit assumed, why, and whether it mattered."""
    require(visitor, page, OF_STUDY)
    return _priors(stored.key, stored.path, stored.name, decisions())


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _priors(key: str, path: str, name: str, limits: Decisions) -> PriorPart:
    fit = _opened(key, path)
    told = stored_sensitivity(_inside(path), name)
    return prior_part(
        name, fit, predictive=stored_check(study(), name, fit), scaling=told.scaling if told else None,
        widths=told.widths if told else None, decisions=limits, full=False,
    )  # fmt: skip


def is_together(stored: StoredFit) -> bool:
    """Whether a fit is one of co-activation."""
    return stored.family == CO_ACTIVATION


# One person


def people(visitor: Visitor, page: str) -> list[str]:
    """Labels of the study's persons."""
    require(visitor, page, OF_PERSONS)
    return [str(label).removeprefix("sub-") for label in study().participants["participant_id"]]


def person_of(visitor: Visitor, page: str, person: str, language: str) -> PersonPart:
    """One person's report; that it was opened stands in the study's log, once a visit and person.

    Raises
    ------
    StudyError
        For someone whom the study has not, without a fit of its trials, or where the log cannot be written.
    """
    require(visitor, page, OF_PERSONS)
    if person not in people(visitor, page):
        raise StudyError(f"person: expected one of this study, found {person!r}.")
    note_person(study().path, visitor, person, st.session_state)
    main = next((one for one in stored_fits(visitor, page) if one.name == MAIN), None)
    prepared = (preparation(visitor, page) or {}).get("trials_sha256", "")
    return _person(f"{main.key if main else ''}-{prepared}", main.key if main else "", person, language)


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _person(state: str, key: str, person: str, language: str) -> PersonPart:
    return part_of_study(study(), person, Texts.of(language), open_fit=lambda path: _opened(key, str(path)))


def tasks(visitor: Visitor, page: str) -> list[str]:
    """Tasks that a new recording may be of."""
    require(visitor, page, OF_PERSONS)
    return tasks_of(study())


def scored(
    visitor: Visitor, page: str, recording: Upload, events: Upload, task: str, language: str
) -> PersonPart:  # fmt: skip
    """The report of an uploaded recording: quality, then the score with norms fixed. Nothing is kept.

    Raises
    ------
    RecordingError, StudyError
        For files that are too large or are not what they should be, events of other stimuli, a study without its fit.
    """
    require(visitor, page, OF_PERSONS)
    note_person(study().path, visitor, PERSON, st.session_state)
    take = read_upload(recording.name, recording, recording.size)
    new = prepare_new(study(), take, read_uploaded_events(events.name, events, events.size), task=task)
    strip = heat_strip_svg(take, label=Texts.of(language)("person.new_strip"), axes=False, columns=150)
    main = next((one for one in stored_fits(visitor, page) if one.name == MAIN), None)
    key = main.key if main else ""
    return part_of_new(study(), new, strip, Texts.of(language), open_fit=lambda path: _opened(key, str(path)))


# Power


def power_runs(visitor: Visitor, page: str) -> dict[str, Path]:
    """Name → folder of the study's power runs, the newest first."""
    require(visitor, page, OF_POWER)
    found = [path.parent for path in (study().derivatives / "power").glob("*/plan.json")]
    return {path.name: path for path in sorted(found, key=lambda path: -(path / "plan.json").stat().st_mtime)}


def power_status(visitor: Visitor, page: str, folder: Path) -> Status:
    """How far a run is."""
    require(visitor, page, OF_POWER)
    return status(_inside(folder))


def power_part_of(visitor: Visitor, page: str, folder: Path, rows_sha256: str) -> PowerPart:
    """What a run says.

    Parameters
    ----------
    rows_sha256 : of its rows now.
    """
    require(visitor, page, OF_POWER)
    return _power_part(str(folder), rows_sha256)


@st.cache_resource(max_entries=KEPT_PARTS, show_spinner=False)
def _power_part(folder: str, rows_sha256: str) -> PowerPart:
    return answered(_inside(folder))[0]
