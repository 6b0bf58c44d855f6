"""A recording that is not of the study, prepared as the study's are: what scoring takes. Nothing is written."""

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from mien.capture.quality import mark_untracked, quality_report
from mien.data_prep.trials import finish, prepare_recording
from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.tables import nearest
from mien.workflow.preparing import load_prep, recipe_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["PERSON", "NewRecording", "prepare_new", "tasks_of"]

PERSON = "new"


class NewRecording(NamedTuple):
    """source : its name in quality report and pictures. quality : its report. trials : of the person `PERSON`."""

    source: str
    quality: dict[str, Any]
    trials: pd.DataFrame


def tasks_of(study: Study) -> list[str]:
    """The tasks that the study has recordings of."""
    return sorted({one.task for one in study.recordings()})


def prepare_new(study: Study, recording: "xr.Dataset", events: pd.DataFrame, *, task: str) -> NewRecording:
    """Quality and trials of one more recording, by the study's recipe and stimuli.

    Parameters
    ----------
    recording : as it was read, frozen frames and all. events : onsets in seconds of this recording.
    task : one of the study's.

    Raises
    ------
    StudyError
        For another task, a person who is called "new" in the study, a recipe that was changed since the trials were
        prepared, events of unknown stimuli or outside the recording.
    """
    known = tasks_of(study)
    if task not in known:
        raise StudyError(
            f"task: expected one of {', '.join(known) or 'none'}, found {task!r}{nearest(task, known)}."
        )
    if PERSON in {str(label).removeprefix("sub-") for label in study.participants["participant_id"]}:
        raise StudyError(f"participants: expected nobody called {PERSON!r}, found one: rename that person.")
    recipe = recipe_of(study)
    if recipe.sha256 != load_prep(study)["recipe_sha256"]:
        raise StudyError(
            "recipe: expected that of the prepared trials, found it changed since: run `mien prep`."
        )
    recording_id = RecordingId(PERSON, "1", task, "1")
    source = f"sub-{PERSON}_task-{task}_run-1"
    quality = quality_report(recording, source=source)
    prepared = prepare_recording(
        mark_untracked(recording), events, study.stimuli, recipe, recording_id=recording_id, aligned=True,
    )  # fmt: skip
    return NewRecording(source, quality, finish([prepared.trials], recipe)[0])
