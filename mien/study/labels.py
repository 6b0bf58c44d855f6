"""BIDS labels and the names of a recording's files.

A label is letters and digits only. Session and run are "1" in tables where a study has just one; the file name then
leaves them out.
"""

import re
from pathlib import Path
from typing import NamedTuple

from mien.study.errors import StudyError

__all__ = ["RecordingId", "check_label", "entities", "in_order", "stem_of"]

_LABEL = re.compile(r"[A-Za-z0-9]+")
_STEM = re.compile(
    r"sub-(?P<participant>[A-Za-z0-9]+)(?:_ses-(?P<session>[A-Za-z0-9]+))?_task-(?P<task>[A-Za-z0-9]+)"
    r"(?:_tracksys-(?P<tracker>[A-Za-z0-9]+))?(?:_run-(?P<run>[A-Za-z0-9]+))?(?:_[A-Za-z]+)?"
)


class RecordingId(NamedTuple):
    """Who, when, what: the labels of one recording, without prefixes."""

    participant: str
    session: str
    task: str
    run: str

    def __str__(self) -> str:
        return f"sub-{self.participant} ses-{self.session} task-{self.task} run-{self.run}"


def check_label(value: str, what: str) -> str:
    """Return the label without its prefix (`sub-01` → `01`), or say how to spell it.

    Raises
    ------
    StudyError
        For anything but letters and digits.
    """
    prefix = {"participant": "sub-", "session": "ses-", "task": "task-", "run": "run-"}.get(what, "")
    label = str(value).strip().removeprefix(prefix)
    if not _LABEL.fullmatch(label):
        plain = re.sub(r"[^A-Za-z0-9]", "", label)
        remedy = f"use {plain}" if plain else "name it with letters and digits"
        raise StudyError(f"{what}: expected letters and digits only, found {label!r}: {remedy}.")
    return label


def in_order(recording_id: RecordingId) -> tuple[tuple[int, str], ...]:
    """Sort key: by participant, session, task and run, numbers by size (run 2 before run 10)."""
    return tuple((int(label) if label.isdecimal() else -1, label) for label in recording_id)


def stem_of(recording_id: RecordingId, *, session: bool, run: bool, tracker: str = "") -> str:
    """The start of a file name: `sub-01_ses-1_task-met_tracksys-arkit_run-2`."""
    parts = [f"sub-{recording_id.participant}"]
    parts += [f"ses-{recording_id.session}"] if session else []
    parts += [f"task-{recording_id.task}"]
    parts += [f"tracksys-{tracker}"] if tracker else []
    parts += [f"run-{recording_id.run}"] if run else []
    return "_".join(parts)


def entities(path: Path) -> tuple[RecordingId, bool, bool] | None:
    """(id, has a session, has a run) of a BIDS file name; None where it is none."""
    found = _STEM.fullmatch(path.name.split(".", maxsplit=1)[0])
    if not found:
        return None
    session, run = found["session"], found["run"]
    run = run.lstrip("0") or "0" if run and run.isdigit() else run
    return (
        RecordingId(found["participant"], session or "1", found["task"], run or "1"),
        bool(session),
        bool(run),
    )
