"""Staging: one source read, judged and converted into a folder beside the study, before anything is written there.

This is what a worker does for one recording; whatever is wrong is told and not raised, so that all bad sources of an
import can be listed together.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from mien.study.errors import MienError
from mien.study.events import unknown_stimuli
from mien.study.files import write_whole
from mien.study.labels import RecordingId
from mien.study.motion import write_motion
from mien.workflow.event_sources import read_event_source
from mien.workflow.sessions import ImportRequest

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Pictures", "Staged", "stage_source"]

Pictures = Mapping[str, Callable[..., str]]


class Staged(NamedTuple):
    """A recording in the staging folder, with its events; or what is wrong with it.

    keep_source : whether the native bytes may be kept (in the file `source`, to get the ending `suffix`).
    alignment : for the events' json; None where their clock is not aligned.
    """

    problems: tuple[str, ...]
    sha256: str = ""
    suffix: str = ""
    keep_source: bool = True
    tracker: str = ""
    start: str = ""
    quality: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    events: pd.DataFrame | None = None
    alignment: dict[str, Any] | None = None


def stage_source(
    job: tuple[int, ImportRequest, RecordingId],
    *,
    staging: Path,
    pictures: Pictures,
    settings: Mapping[str, Any],
    stimuli: pd.DataFrame | None,
) -> Staged:
    """Read one source, judge it, and write it as Motion-BIDS into ``staging/NUMBER``.

    Parameters
    ----------
    job : number, request and id of the recording.
    pictures : file ending → function (Recording, label=…) that draws an SVG.
    settings, stimuli : of the study, to read the events with; None where there are no stimuli yet.
    """
    from mien.capture.quality import mark_untracked, quality_report
    from mien.workflow.native import read_native

    number, request, recording_id = job
    try:
        native = read_native(request.source, rate=request.rate)
    except MienError as reason:
        return Staged((str(reason),))
    place = staging / str(number)
    place.mkdir()
    quality = quality_report(native.recording, source=str(recording_id))
    recording = mark_untracked(native.recording)
    problems, events, alignment = (), None, None
    if request.events:
        try:
            events, alignment = _events(request, recording, settings, stimuli)
        except MienError as reason:
            problems = (str(reason),)
    write_motion(recording, place / "new", task=request.task)
    for ending, draw in pictures.items():
        write_whole(place / f"picture{ending}", draw(recording, label=str(recording_id)))
    if native.keeps:
        write_whole(place / "source", native.content)
    return Staged(
        problems=problems,
        sha256=native.sha256,
        suffix=native.suffix,
        keep_source=native.keeps,
        tracker=recording.attrs["tracker"],
        start=recording.attrs.get("start", ""),
        quality=quality,
        notes=native.notes,
        events=events,
        alignment=alignment,
    )


def _events(
    request: ImportRequest, recording: "xr.Dataset", settings: Mapping[str, Any], stimuli: pd.DataFrame | None
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """The events of a request, and how they were put on the recording's clock."""
    from mien.workflow.aligning import ClockFacts, align_events

    path = request.events or Path()
    table = read_event_source(path, settings, stimuli)
    if stimuli is not None:
        unknown_stimuli(table, stimuli, where=str(path))
    if not request.clock:
        return table, None
    facts = ClockFacts(stimulus_start=request.stimulus_start, uncertainty_ms=request.uncertainty_ms)
    return align_events(table, recording, request.clock, facts=facts, where=str(path))
