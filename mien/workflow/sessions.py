"""sessions.tsv: one row a recording to import (source, participant, session, task, run, events, clock).

Paths are relative to the table. All columns but source, participant and task may be left out or n/a. `rate` (Hz) is for
logs without times; `stimulus_start` and `uncertainty_ms` are for the clock method utc.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mien.study.errors import MienError, StudyError
from mien.study.labels import check_label
from mien.study.tables import line_of, read_table

__all__ = ["CLOCKS", "ImportRequest", "read_sessions"]

CLOCKS = ("same", "utc", "sync", "blinks")
TEXTS = ("source", "participant", "session", "task", "run", "events", "clock", "stimulus_start")
NUMBERS = ("rate", "uncertainty_ms")


class ImportRequest(NamedTuple):
    """One recording to import; "" where nothing was said."""

    source: Path
    participant: str
    task: str
    session: str = ""
    run: str = ""
    events: Path | None = None
    clock: str = ""
    rate: float | None = None
    stimulus_start: str = ""  # for the clock method utc: when the stimulus clock was 0, with its time zone
    uncertainty_ms: float = float("nan")  # for utc: how far apart the two clocks may be
    where: str = ""  # for messages: the row of the sessions table


def checked(request: ImportRequest) -> ImportRequest:
    """The request with its labels checked and stripped of prefixes."""
    if request.clock and request.clock not in CLOCKS:
        raise StudyError(f"clock: expected one of {', '.join(CLOCKS)} or n/a, found {request.clock!r}.")
    if request.clock and request.events is None:
        raise StudyError(f"clock: expected events beside the clock method {request.clock!r}, found none.")
    return request._replace(
        participant=check_label(request.participant, "participant"),
        task=check_label(request.task, "task"),
        session=check_label(request.session, "session") if request.session else "",
        run=check_label(request.run, "run") if request.run else "",
    )


def read_sessions(path: Path) -> list[ImportRequest]:
    """The rows of a sessions table; every bad row is listed in one error."""
    table = read_table(path, required=("source", "participant", "task"), numeric=NUMBERS)
    if table.empty:
        raise StudyError(f"{path}: expected one row a recording, found only the header: fill it in.")
    requests, problems = [], []
    for row in range(len(table)):
        line = f"{path}, line {line_of(row)}"
        values = {
            name: "" if pd.isna(table[name].iloc[row]) else str(table[name].iloc[row])
            for name in TEXTS
            if name in table.columns
        }
        try:
            rate, uncertainty = (_number(table, name, row) for name in NUMBERS)
            request = _request(values, path.parent, line)
            requests.append(request._replace(rate=rate, uncertainty_ms=uncertainty or float("nan")))
        except MienError as reason:
            problems.append(f"{line}: {reason}")
    if problems:
        raise StudyError("\n".join(problems))
    return requests


def _number(table: pd.DataFrame, name: str, row: int) -> float | None:
    number = table[name].iloc[row] if name in table.columns else float("nan")
    return None if pd.isna(number) else float(number)


def _request(values: dict[str, str], folder: Path, line: str) -> ImportRequest:
    for name in ("source", "participant", "task"):
        if not values[name]:
            raise StudyError(f"column {name}: expected a value, found none.")
    return checked(
        ImportRequest(
            source=folder / values["source"],
            participant=values["participant"],
            task=values["task"],
            session=values.get("session", ""),
            run=values.get("run", ""),
            events=folder / values["events"] if values.get("events") else None,
            clock=values.get("clock", ""),
            stimulus_start=values.get("stimulus_start", ""),
            where=line,
        )
    )
