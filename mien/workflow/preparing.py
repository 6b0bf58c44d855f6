"""Prepare: every recording of a study → one table of trials, and every count on the way.

One recording is in memory at a time in each worker. The table goes to derivatives/mien/trials.parquet, the counts to
prep.json beside it.
"""

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import mien
from mien.data_prep.recipe import Recipe
from mien.data_prep.trials import Prepared, count_trials, finish, prepare_recording
from mien.study.errors import RecordingError, StudyError, TrialsError
from mien.study.events import Events
from mien.study.files import sha256_of, whole_file, write_whole
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.motion import read_arrays
from mien.study.trials import validate_trials
from mien.workflow.checking import require_complete
from mien.workflow.parallel import Progress, over

__all__ = [
    "Preparation", "RecordingJob", "load_prep", "load_trials", "prepare", "prepare_and_store", "recipe_of",
    "recording_jobs",
]  # fmt: skip

TRIALS = "trials.parquet"
COUNTS = "prep.json"


class Preparation(NamedTuple):
    """The trials, and the counts of prep.json."""

    trials: pd.DataFrame
    counts: dict[str, Any]


class RecordingJob(NamedTuple):
    """What a worker needs to prepare one recording."""

    recording_id: RecordingId
    motion: Path
    events: Events
    first_trial: int


def recipe_of(study: Study) -> Recipe:
    """The recipe of the study's mien.toml, or the default one."""
    given = study.settings.get("recipe")
    return (
        Recipe()
        if given is None
        else Recipe.from_mapping(given, where=f"{study.path / 'mien.toml'}, [recipe]")
    )


def prepare(
    study: Study | Path | str,
    recipe: Recipe | None = None,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The Trials of a study.

    Parameters
    ----------
    study : a Study or its folder.
    recipe : a Recipe; None takes the one in the study's mien.toml, or the default.
    workers : processes to use.
    progress : called with (done, total, label).

    Returns
    -------
    A Trials table: one row a participant × session × task × run × trial × bin × blend shape. Excluded rows stay, with
    the reason in `excluded`.

    Raises
    ------
    StudyError
        Naming all that is missing or bad in the study.
    """
    return run_recipe(study, recipe, workers=workers, progress=progress).trials


def run_recipe(
    study: Study | Path | str,
    recipe: Recipe | None = None,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Preparation:
    """The trials of a study and their counts; nothing is written."""
    study = study if isinstance(study, Study) else Study(study)
    require_complete(study)
    recipe = recipe or recipe_of(study)
    jobs = recording_jobs(study)
    recipe.check_tasks([job.recording_id.task for job in jobs])
    prepare_one = partial(_prepare_one, stimuli=study.stimuli, recipe=recipe)
    prepared = over(prepare_one, jobs, workers=workers, progress=progress, label="preparing")
    trials, counts = finish([result.trials for result in prepared], recipe)
    return Preparation(trials, {**counts, "recordings": [result.counts for result in prepared]})


def recording_jobs(study: Study) -> list[RecordingJob]:
    """The recordings in order, trials counted on through the runs of a task."""
    next_trial: dict[tuple[str, str, str], int] = defaultdict(lambda: 1)
    jobs = []
    for recording_id in study.recordings():
        events = study.events(recording_id)
        jobs.append(
            RecordingJob(recording_id, study.motion_path(recording_id), events, next_trial[recording_id[:3]])
        )
        next_trial[recording_id[:3]] += count_trials(events.table)
    return jobs


def _prepare_one(job: RecordingJob, *, stimuli: pd.DataFrame, recipe: Recipe) -> Prepared:
    return prepare_recording(
        read_arrays(job.motion),
        job.events.table,
        stimuli,
        recipe,
        recording_id=job.recording_id,
        aligned=job.events.alignment is not None,
        first_trial=job.first_trial,
        where=str(job.events.path),
    )


def prepare_and_store(
    study: Study,
    recipe: Recipe | None = None,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Preparation:
    """Prepare the study and write trials.parquet and prep.json, whole or not at all."""
    recipe = recipe or recipe_of(study)
    trials, counts = run_recipe(study, recipe, workers=workers, progress=progress)
    table = pa.Table.from_pandas(trials, preserve_index=False)
    path = study.derivatives / TRIALS
    with whole_file(path) as temporary:
        # Measures hardly repeat: a dictionary of them takes longer than writing them.
        pq.write_table(table, temporary, compression="zstd", use_dictionary=_repeating(trials))
    counts = {
        "mien_version": mien.__version__,
        "trials_sha256": sha256_of(path),
        "recipe_toml": recipe.to_toml(),
        "clock": recipe.clock,
        **counts,
    }
    write_whole(study.derivatives / COUNTS, json.dumps(counts, indent=2) + "\n")
    return Preparation(trials, counts)


def _repeating(trials: pd.DataFrame) -> Any:
    return [str(name) for name in trials.columns if not pd.api.types.is_float_dtype(trials[name])]


def load_trials(study: Study) -> pd.DataFrame:
    """The stored Trials.

    Raises
    ------
    StudyError, TrialsError
        When there are none yet, or the file is damaged.
    """
    path = study.derivatives / TRIALS
    if not path.exists():
        raise StudyError(f"{path}: expected prepared trials, found none: run `mien prep {study.path}` first.")
    try:
        trials = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as reason:
        raise TrialsError(f"{path}: expected a Parquet table, but {reason}: run `mien prep` again.") from None
    return validate_trials(trials, where=str(path))


def load_prep(study: Study) -> dict[str, Any]:
    """The stored counts, prep.json."""
    path = study.derivatives / COUNTS
    if not path.exists():
        raise StudyError(
            f"{path}: expected the counts of a preparation, found none: run `mien prep {study.path}`."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as reason:
        raise RecordingError(f"{path}: expected JSON, but {reason}: run `mien prep` again.") from None
