"""Import: native recordings → the study folder, all of them or none.

Every source is read and converted into a staging folder first. If any is bad, all bad ones are listed and the study is
as it was. A recording is never replaced: it becomes the next free run, or with `replace` the old one is moved aside.
Names of files, people and devices are not stored.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mien.study.errors import MienError, StudyError
from mien.study.events import unknown_stimuli, write_events
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.motion import MOTION_FILES, read_motion, write_motion
from mien.study.tables import read_table, write_table
from mien.workflow.aligning import ClockFacts, align_events
from mien.workflow.event_sources import read_event_source
from mien.workflow.parallel import Progress, over
from mien.workflow.sessions import ImportRequest, checked

__all__ = ["Imported", "Pictures", "import_recordings", "quality_path"]

Pictures = Mapping[str, Callable[..., str]]
SOURCES = "sources.json"  # sha256 of every native recording → where it went


class Imported(NamedTuple):
    """One imported recording: its id, its quality report, and what to tell the user."""

    recording_id: RecordingId
    quality: dict[str, Any]
    notes: tuple[str, ...]


class _Staged(NamedTuple):
    """A recording converted into the staging folder, or why it was not."""

    problem: str
    sha256: str = ""
    suffix: str = ""
    keep_source: bool = True
    tracker: str = ""
    start: str = ""
    quality: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


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
        stage = partial(_stage, staging=str(staging), pictures=pictures or {})
        staged = over(
            stage,
            list(zip(range(len(ids)), requests, ids, strict=True)),
            workers=workers,
            progress=progress,
            label="importing",
        )
        tables = _event_tables(study, folder, requests, staged, staging)
        _refuse_problems(requests, staged, tables, study)
        study = Study.create(folder)
        return [
            _commit(study, request, recording_id, result, table, staging / str(number), old)
            for number, (request, recording_id, result, table, old) in enumerate(
                zip(requests, ids, staged, tables, replaced, strict=True)
            )
        ]
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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


def _stage(job: tuple[int, ImportRequest, RecordingId], *, staging: str, pictures: Pictures) -> _Staged:
    """Read one source, judge it, and write it as Motion-BIDS into the staging folder."""
    from mien.capture.quality import mark_untracked, quality_report
    from mien.workflow.native import read_native

    number, request, recording_id = job
    try:
        native = read_native(request.source, rate=request.rate)
    except MienError as reason:
        return _Staged(str(reason))
    recording = native.recording
    place = Path(staging) / str(number)
    place.mkdir()
    quality = quality_report(recording, source=str(recording_id))
    recording = mark_untracked(recording)
    write_motion(recording, place / "new", task=request.task)
    for ending, draw in pictures.items():
        write_whole(place / f"picture{ending}", draw(recording, label=str(recording_id)))
    if native.keeps:
        write_whole(place / "source", native.content)
    return _Staged(
        problem="",
        sha256=native.sha256,
        suffix=native.suffix,
        keep_source=native.keeps,
        tracker=recording.attrs["tracker"],
        start=recording.attrs.get("start", ""),
        quality=quality,
        notes=native.notes,
    )


def _event_tables(
    study: Study | None,
    folder: Path,
    requests: Sequence[ImportRequest],
    staged: Sequence[_Staged],
    staging: Path,
) -> list[tuple[pd.DataFrame, dict[str, Any] | None] | str | None]:
    """For each request its events and their alignment, a problem in words, or None when it has none."""
    settings = study.settings if study else {}
    stimuli_path = folder / "stimuli" / "stimuli.tsv"
    stimuli = study.stimuli if study and stimuli_path.exists() else None
    tables: list[tuple[pd.DataFrame, dict[str, Any] | None] | str | None] = []
    for number, (request, result) in enumerate(zip(requests, staged, strict=True)):
        if request.events is None or result.problem:
            tables.append(None)
            continue
        try:
            table = read_event_source(request.events, settings, stimuli)
            if stimuli is not None:
                unknown_stimuli(table, stimuli, where=str(request.events))
            alignment = None
            if request.clock:
                facts = ClockFacts(request.stimulus_start, "", request.uncertainty_ms)
                recording = read_motion(staging / str(number) / "new_motion.tsv")
                where = str(request.events)
                table, alignment = align_events(table, recording, request.clock, facts=facts, where=where)
            tables.append((table, alignment))
        except MienError as reason:
            tables.append(str(reason))
    return tables


def _refuse_problems(
    requests: Sequence[ImportRequest],
    staged: Sequence[_Staged],
    tables: Sequence[object],
    study: Study | None,
) -> None:
    known = dict(_read_sources(study)) if study else {}
    problems = []
    for request, result, table in zip(requests, staged, tables, strict=True):
        prefix = f"{request.where}: " if request.where else ""
        if result.problem:
            problems.append(prefix + result.problem)
        elif result.sha256 in known:
            problems.append(
                f"{prefix}{request.source}: expected a new recording, found the same bytes as {known[result.sha256]}: "
                "it is imported already."
            )
        known.setdefault(result.sha256, _name(request))
        if isinstance(table, str):
            problems.append(prefix + table)
    if problems:
        raise StudyError("\n".join(problems))


def _read_sources(study: Study) -> dict[str, str]:
    path = study.derivatives / SOURCES
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _commit(
    study: Study,
    request: ImportRequest,
    recording_id: RecordingId,
    staged: _Staged,
    events: tuple[pd.DataFrame, dict[str, Any] | None] | str | None,
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
    if isinstance(events, tuple):
        write_events(events[0], study.events_path(recording_id), events[1])
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


def _keep_source(study: Study, stem: Path, staged: _Staged, place: Path, notes: list[str]) -> None:
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
