"""A simulated study as the files that an experimenter has the next morning.

    takes/20260302_MySlate_1/MySlate_1_iPad_raw.csv     one folder a take, as the app names them
    events/sub-01_task-met_events.tsv                   the presentation's log, with ratings and blink cues
    participants.tsv, .json   stimuli.tsv, .json        who they are, what was shown
    sessions.tsv                                        which take is whose: for `mien import --sessions`

One take also has its neutral-calibrated file, one is a zip that names a (fake) video, one crosses midnight.
Each person has a random stream of their own, so that the bytes do not depend on the number of processes.
"""

import json
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from joblib import Parallel, cpu_count, delayed

from mien.capture.formats import write_live_link_face_csv
from mien.simulation.design import Design, stimuli_table
from mien.simulation.recordings import Take, participant_of, stimulus_effects_of
from mien.simulation.truth import Truth, default_truth
from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.stimuli import STIMULI_JSON
from mien.study.tables import write_table

__all__ = ["PARTICIPANTS_JSON", "write_raw_study"]

FIRST_DAY = date(2026, 3, 2)
WITH_CALIBRATED, ZIPPED, OVER_MIDNIGHT = 1, 2, 3  # which persons have the special takes
PARTICIPANTS_JSON = {
    "participant_id": {"Description": "simulated person"},
    "age": {"Description": "age of the participant", "Units": "year"},
    "sex": {"Description": "sex of the participant", "Levels": {"F": "female", "M": "male"}},
    "group": {"Description": "group of the study"},
    "empathy_affective": {"Description": "made-up questionnaire, affective empathy, 0-40", "Units": "points"},
    "empathy_cognitive": {"Description": "made-up questionnaire, cognitive empathy, 0-40", "Units": "points"},
}
README = "Simulated by mien: no person was recorded. Import with `mien import --sessions sessions.tsv --study DIR`.\n"

Progress = Callable[[int, int, str], None]


class _Written(NamedTuple):
    participant: int
    traits: dict[str, float | str]
    sessions: list[dict[str, str]]


def write_raw_study(
    folder: Path | str,
    design: Design,
    truth: Truth | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    workers: int | None = None,
) -> None:
    """Simulate a study and write it as raw takes, events and tables.

    Parameters
    ----------
    folder : a new or empty folder.
    design, truth : what is shown, and the latent numbers (default: default_truth()).
    seed : the study; the same seed gives the same bytes, whatever `workers`.
    progress : called as (persons done, persons, label).
    workers : processes; default: one a core, at most one a person.

    Raises
    ------
    StudyError
        Where the folder holds something.
    """
    folder, truth = Path(folder).resolve(), truth or default_truth()  # workers may be elsewhere
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(
            f"{folder}: expected a new or empty folder, found something in it: choose another one."
        )
    for name in ("takes", "events"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    task = partial(_write_person, folder, design, truth, seed)
    written = sorted(_each(task, design.participants, workers, progress), key=lambda one: one.participant)
    _write_tables(folder, design, written)


def _each(
    task: Callable[[int], _Written], persons: int, workers: int | None, progress: Progress | None
) -> list[_Written]:
    results = Parallel(n_jobs=min(workers or cpu_count(), persons), return_as="generator_unordered")(
        delayed(task)(person) for person in range(persons)
    )
    written = []
    for result in results:
        written.append(result)
        if progress:
            progress(len(written), persons, "simulate")
    return written


def _write_person(folder: Path, design: Design, truth: Truth, seed: int, person: int) -> _Written:
    effects = stimulus_effects_of(design, truth, seed)
    simulated = participant_of(design, truth, effects, seed=seed, participant=person)
    label, sessions = f"{person + 1:02d}", []
    for number, take in enumerate(simulated.takes):
        slate = f"MySlate_{person * len(simulated.takes) + number + 1}"
        day = (FIRST_DAY + timedelta(days=person // 4)).strftime("%Y%m%d")
        source = _write_take(folder / "takes" / f"{day}_{slate}", slate, take, person=person, number=number)
        events = folder / "events" / f"sub-{label}_task-{take.task}_events.tsv"
        write_table(take.events, events)
        sessions.append(
            {
                "source": source.relative_to(folder).as_posix(),
                "participant": label,
                "session": "n/a",
                "task": take.task,
                "run": "n/a",
                "events": events.relative_to(folder).as_posix(),
                "clock": "same" if design.clock == "aligned" else "n/a",
            }
        )
    return _Written(person, simulated.traits, sessions)


def _write_take(folder: Path, slate: str, take: Take, *, person: int, number: int) -> Path:
    """Write one take as the app leaves it; returns the folder, or the zip."""
    if person == OVER_MIDNIGHT and number > 0:
        take = take._replace(start="23:59:50" + take.start[8:])
    folder.mkdir()
    name = f"{slate}_iPad"
    raw = take.recording()
    write_live_link_face_csv(raw, folder / f"{name}_raw.csv")
    if person == WITH_CALIBRATED and number == 0:
        write_live_link_face_csv(_calibrated(raw), folder / f"{name}_cal.csv")
    return _zipped(folder, name) if person == ZIPPED and number == 0 else folder


def _calibrated(raw: xr.Dataset) -> xr.Dataset:
    """What the app's neutral calibration makes of a take: its first seconds are the new zero, but for the lids."""
    activation = raw["activation"].to_numpy()
    neutral = activation[:120].mean(0)
    lids = np.array([str(name).startswith("eye") for name in raw["blend_shape"].to_numpy()])
    above = np.maximum(activation - np.where(lids, np.float32(0), neutral), np.float32(0))
    calibrated = raw.assign(activation=(("time", "blend_shape"), above))
    calibrated.attrs["calibrated"] = "yes"
    return calibrated


def _zipped(folder: Path, name: str) -> Path:
    """The take as a zip, with the video's name and no video; the folder goes."""
    archive = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as content:
        for entry, data in (
            (f"{name}_raw.csv", (folder / f"{name}_raw.csv").read_bytes()),
            (f"{name}.mov", b"not a video"),
        ):
            info = zipfile.ZipInfo(f"{folder.name}/{entry}", date_time=(2026, 3, 2, 9, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            content.writestr(info, data)
    (folder / f"{name}_raw.csv").unlink()
    folder.rmdir()
    return archive


def _write_tables(folder: Path, design: Design, written: list[_Written]) -> None:
    people = [{"participant_id": f"sub-{one.participant + 1:02d}", **one.traits} for one in written]
    write_table(pd.DataFrame(people), folder / "participants.tsv")
    write_whole(folder / "participants.json", json.dumps(PARTICIPANTS_JSON, indent=2) + "\n")
    write_table(stimuli_table(design), folder / "stimuli.tsv")
    write_whole(folder / "stimuli.json", json.dumps(STIMULI_JSON, indent=2) + "\n")
    write_table(pd.DataFrame([row for one in written for row in one.sessions]), folder / "sessions.tsv")
    write_whole(folder / "README.md", README)
