"""Import: native recordings → the study folder, all of them or none.

Every source is read and converted into a staging folder first. If any is bad, all bad ones are listed and the study is
as it was. A recording is never replaced: it becomes the next free run, or with `replace` the old one is moved aside.
Names of files, people and devices are not stored.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mien.study.errors import StudyError
from mien.study.events import write_events
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.motion import MOTION_FILES
from mien.study.tables import read_table, write_table
from mien.workflow.parallel import Progress, over
from mien.workflow.sessions import ImportRequest, checked
from mien.workflow.staging import Pictures, Staged, stage_source

__all__ = ["Imported", "Pictures", "import_recordings", "quality_path"]

SOURCES = "sources.json"  # sha256 of every native recording → where it went


class Imported(NamedTuple):
    """One imported recording: its id, its quality report, and what to tell the user."""

    recording_id: RecordingId
    quality: dict[str, Any]
    notes: tuple[str, ...]


def quality_path(study: Study, recording_id: RecordingId) -> Path:
    """Where a recording's quality report is kept."""
    name = study.motion_path(recording_id).name.removesuffix("_motion.tsv")
    return study.derivatives / "quality" / f"{name}.json"


def import_recordings(
    folder: Path | str,
    requests: Sequence[ImportRequest],
    *,
    replace: bool = False,
    pictures: Pictures | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Imported]:
    """Import recordings into the study at `folder`, which is made where it is missing.

    Parameters
    ----------
    pictures : file ending → function (Recording, label=…) that draws an SVG to keep beside the quality report.

    Raises
    ------
    StudyError
        Listing every source, label, run or events table that is bad; nothing is written then.
    """
    folder = Path(folder)
    requests = [checked(request) for request in requests]
    study = Study(folder) if folder.exists() and any(folder.iterdir()) and _is_study(folder) else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".mien-import-", dir=folder.parent))
    try:
        ids, replaced = _assign_runs(study, requests, replace=replace)
        stage = partial(stage_source, staging=staging, pictures=pictures or {}, **_known_of(study))
        jobs = list(zip(range(len(ids)), requests, ids, strict=True))
        staged = over(stage, jobs, workers=workers, progress=progress, label="importing")
        _refuse_problems(requests, staged, study)
        study = Study.create(folder)
        return [
            _commit(study, request, recording_id, result, staging / str(number), old)
            for number, (request, recording_id, result, old) in enumerate(
                zip(requests, ids, staged, replaced, strict=True)
            )
        ]
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _known_of(study: Study | None) -> dict[str, Any]:
    """What reading events needs of a study: mien.toml, and the stimuli where they are written already."""
    has_stimuli = study is not None and (study.path / "stimuli" / "stimuli.tsv").exists()
    return {
        "settings": study.settings if study else {},
        "stimuli": study.stimuli if study and has_stimuli else None,
    }


def _is_study(folder: Path) -> bool:
    return (folder / "dataset_description.json").exists()


def _assign_runs(
    study: Study | None, requests: Sequence[ImportRequest], *, replace: bool
) -> tuple[list[RecordingId], list[bool]]:
    """The id that each request gets, and whether it takes the place of a recording."""
    taken = {found: True for found in study.recordings()} if study else {}
    given: dict[RecordingId, str] = {}
    ids, replaced, problems = [], [], []
    for request in requests:
        frame = (request.participant, request.session or "1", request.task)
        if request.run:
            run = request.run.lstrip("0") or "0"
        elif replace:
            run = "1"
        else:
            run = str(next(n for n in range(1, 10_000) if not _has((*frame, str(n)), taken, given)))
        recording_id = RecordingId(*frame, run)
        if recording_id in given:
            problems.append(
                f"{_name(request)}: expected a run of its own, found {recording_id} also in {given[recording_id]}."
            )
        elif recording_id in taken and not replace:
            problems.append(
                f"{_name(request)}: expected a free run, found {recording_id} in the study already: leave the run out "
                "(the next free one is used) or say --replace (the old recording is moved aside)."
            )
        given[recording_id] = _name(request)
        ids.append(recording_id)
        replaced.append(recording_id in taken)
    if problems:
        raise StudyError("\n".join(problems))
    return ids, replaced


def _has(frame: tuple[str, ...], *collections: object) -> bool:
    return any(RecordingId(*frame) in collection for collection in collections)  # pyright: ignore[reportOperatorIssue]


def _name(request: ImportRequest) -> str:
    return request.where or str(request.source)


def _refuse_problems(
    requests: Sequence[ImportRequest], staged: Sequence[Staged], study: Study | None
) -> None:
    known = dict(_read_sources(study)) if study else {}
    problems = []
    for request, result in zip(requests, staged, strict=True):
        prefix = f"{request.where}: " if request.where else ""
        problems += [prefix + problem for problem in result.problems]
        if result.sha256 in known:
            problems.append(
                f"{prefix}{request.source}: expected a new recording, found the same bytes as {known[result.sha256]}: "
                "it is imported already."
            )
        if result.sha256:
            known.setdefault(result.sha256, _name(request))
    if problems:
        raise StudyError("\n".join(problems))


def _read_sources(study: Study) -> dict[str, str]:
    path = study.derivatives / SOURCES
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _commit(
    study: Study,
    request: ImportRequest,
    recording_id: RecordingId,
    staged: Staged,
    place: Path,
    replaces: bool,
) -> Imported:
    notes = list(staged.notes)
    if replaces:
        notes.append(f"the old recording was moved to {_move_aside(study, recording_id)}")
    # BIDS wants all runs of a task named alike, so that the run is in every name.
    stem = study.new_stem(recording_id, session=bool(request.session), run=True, tracker=staged.tracker)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for ending in reversed(MOTION_FILES):
        (place / f"new{ending}").rename(stem.with_name(stem.name + ending))
    if study.add_participant(recording_id.participant):
        notes.append(f"sub-{recording_id.participant} was added to participants.tsv with n/a")
    if recording_id.run != "1" and not request.run:
        notes.append(f"run 1 is there already: this became run {recording_id.run}")
    study.refresh()
    _keep_source(study, stem, staged, place, notes)
    if staged.events is not None:
        write_events(staged.events, study.events_path(recording_id), staged.alignment)
    _list_in_scans(study, stem, staged.start)
    _write_description(study)
    write_whole(
        study.derivatives / SOURCES,
        json.dumps({**_read_sources(study), staged.sha256: stem.name}, indent=2, sort_keys=True) + "\n",
    )
    quality = {**(staged.quality or {}), "source": stem.name}
    path = quality_path(study, recording_id)
    write_whole(path, json.dumps(quality, indent=2) + "\n")
    for picture in place.glob("picture.*"):
        picture.rename(path.with_name(path.stem + picture.name.removeprefix("picture")))
    return Imported(recording_id, quality, tuple(notes))


def _keep_source(study: Study, stem: Path, staged: Staged, place: Path, notes: list[str]) -> None:
    if not staged.keep_source:
        notes.append("the native file holds names of devices or people and was not copied; keep the original")
        return
    target = study.path / "sourcedata" / stem.relative_to(study.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    (place / "source").rename(target.with_name(f"{target.name}_motion{staged.suffix}"))


def _move_aside(study: Study, recording_id: RecordingId) -> Path:
    """Move a recording's files to derivatives/mien/replaced, where nothing reads them."""
    motion = study.motion_path(recording_id)
    stem = motion.name.removesuffix("_motion.tsv")
    shelf = study.derivatives / "replaced"
    number = next(n for n in range(1, 10_000) if not (shelf / f"{stem}-{n}").exists())
    place = shelf / f"{stem}-{number}"
    place.mkdir(parents=True)
    events = study.events_path(recording_id)
    native = (study.path / "sourcedata" / motion.relative_to(study.path)).parent.glob(f"{stem}_motion.*")
    for path in [
        *(motion.with_name(stem + ending) for ending in MOTION_FILES),
        events,
        events.with_suffix(".json"),
        *native,
    ]:
        if path.exists():
            path.rename(place / path.name)
    known = {sha: name for sha, name in _read_sources(study).items() if name != stem}
    write_whole(study.derivatives / SOURCES, json.dumps(known, indent=2, sort_keys=True) + "\n")
    study.refresh()
    return place.relative_to(study.path)


def _list_in_scans(study: Study, stem: Path, start: str) -> None:
    """Add the recording to its session's scans.tsv; the time only when it is a date with time."""
    subject = stem.parent.parent
    parts = stem.name.split("_")
    label = "_".join(part for part in parts if part.startswith(("sub-", "ses-")))
    path = subject / f"{label}_scans.tsv"
    row = pd.DataFrame(
        {
            "filename": [f"motion/{stem.name}_motion.tsv"],
            "acq_time": pd.Series([start if len(start) > 18 and start[4:5] == "-" else None], dtype="str"),
        }
    )
    listed = read_table(path, required=("filename",)) if path.exists() else row.iloc[:0]
    others = listed.loc[listed["filename"] != row["filename"].iloc[0]]
    write_table(pd.concat([others, row]).sort_values(by="filename"), path)


def _write_description(study: Study) -> None:
    path = study.derivatives / "dataset_description.json"
    if not path.exists():
        content = {
            "Name": f"mien derivatives of {study.name}",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "mien"}],
        }
        write_whole(path, json.dumps(content, indent=2) + "\n")
