"""The log of who opened whom and who exported what: one line a time, only ever appended.

A line is JSON: time (UTC), name, role, action, what. It is written before anything is shown or handed out; where it
cannot be written, nothing is. The file lies in the study's derivatives, readable by its owner only.
"""

import json
import math
import os
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mien.reports_app.app.access import Visitor
from mien.study.errors import StudyError

__all__ = ["ACTIONS", "LOG", "note", "note_person"]

LOG = Path("derivatives", "mien", "app-log.jsonl")
ACTIONS = ("person", "export")
LONGEST = 200  # characters of a value: an id, a file name, an effect
OWNER_ONLY = 0o600
OPENED = "journal-opened"  # in a visit's memory: who opened whom, as the last line says


def note(study_path: Path, visitor: Visitor, action: str, **what: object) -> None:
    """Append one line.

    Parameters
    ----------
    study_path : the study's folder. action : one of ACTIONS. what : short texts, numbers or booleans.

    Raises
    ------
    StudyError
        Where the line cannot be written: nothing may be shown then.
    """
    if action not in ACTIONS:
        raise ValueError(f"note: expected one of {', '.join(ACTIONS)}, found {action!r}.")
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": _short(visitor.name),
        "role": _short(visitor.role),
        "action": action,
        "what": {_short(name): _plain(value) for name, value in what.items()},
    }
    content = (json.dumps(line, ensure_ascii=True, allow_nan=False) + "\n").encode()
    path = Path(study_path) / LOG
    flags = (
        os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, flags, OWNER_ONLY)
        try:
            written = os.write(handle, content)  # one call, so that lines of two visits never mix
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as reason:
        raise _not_written(reason.strerror or str(reason)) from None
    if written != len(content):
        raise _not_written("the disk is full")


def note_person(study_path: Path, visitor: Visitor, person: str, visit: MutableMapping[Any, Any]) -> None:
    """Append a line when a person is opened: once, and again after another person was.

    Parameters
    ----------
    visit : what is remembered of this visit (`st.session_state`), since every change of a control runs a page again.
    """
    if visit.get(OPENED) != (visitor.name, person):
        note(study_path, visitor, "person", participant=person)
        visit[OPENED] = (visitor.name, person)


def _not_written(reason: str) -> StudyError:
    return StudyError(
        f"{LOG}: expected a file that can be appended to, but {reason}: nothing is shown without its line in the log."
    )


def _plain(value: object) -> str | int | float | bool:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _short(value)


def _short(value: object) -> str:
    text = "".join(character if character.isprintable() else " " for character in str(value)[: LONGEST + 1])
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
