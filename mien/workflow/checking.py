"""Check: is the study complete and sound? Everything that is wrong is named at once."""

import json
from typing import Any, NamedTuple

from mien.study.errors import MienError, StudyError
from mien.study.events import unknown_stimuli
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.workflow.importing import quality_path

__all__ = ["Check", "check_study", "require_complete"]


class Check(NamedTuple):
    """What was found: problems that stop preparation, warnings, and one quality report a recording."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    quality: tuple[dict[str, Any], ...]
    facts: dict[str, Any]


def check_study(study: Study) -> Check:
    """Look at everything in the study folder; raises nothing for what is missing or bad inside it."""
    problems: list[str] = []
    warnings: list[str] = []
    participants = _try(lambda: study.participants, problems)
    stimuli = _try(lambda: study.stimuli, problems)
    _try(lambda: study.settings, problems)
    recordings = _try(study.recordings, problems) or []
    if not recordings:
        problems.append(f"{study.path}: expected recordings, found none: import them with `mien import`.")
    known = set() if participants is None else set(participants["participant_id"])
    quality, unaligned, trials = [], 0, 0
    for recording_id in recordings:
        if participants is not None and f"sub-{recording_id.participant}" not in known:
            problems.append(
                f"{study.path / 'participants.tsv'}: expected a row for sub-{recording_id.participant}, who has a "
                "recording, found none: add it."
            )
        events = _try(lambda recording_id=recording_id: study.events(recording_id), problems)
        if events is not None:
            unaligned += events.alignment is None
            trials += int(events.table["stimulus_id"].notna().sum())
            if stimuli is not None:
                _try(
                    lambda events=events: unknown_stimuli(events.table, stimuli, where=str(events.path)),
                    problems,
                )
        quality.append(quality_of(study, recording_id))
    if unaligned:
        warnings.append(
            f"the events of {unaligned} of {len(recordings)} recordings are not aligned to the recording's clock: "
            'run `mien align`, or let the recipe say clock = "assume_aligned"'
        )
    with_data = {f"sub-{recording_id.participant}" for recording_id in recordings}
    if without := sorted(known - with_data):
        warnings.append(f"participants without a recording: {', '.join(without)}")
    facts = {
        "participants": len(with_data),
        "recordings": len(recordings),
        "stimuli": 0 if stimuli is None else len(stimuli),
        "trials": trials,
        "unaligned_recordings": unaligned,
    }
    return Check(tuple(dict.fromkeys(problems)), tuple(warnings), tuple(quality), facts)


def _try[T](read: Any, problems: list[str]) -> T | None:
    try:
        return read()
    except MienError as reason:
        problems.append(str(reason))
        return None


def quality_of(study: Study, recording_id: RecordingId) -> dict[str, Any]:
    """The quality report that import stored; made anew where there is none."""
    path = quality_path(study, recording_id)
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    from mien.capture.quality import quality_report

    name = study.motion_path(recording_id).name.removesuffix("_motion.tsv")
    return quality_report(study.recording(recording_id), source=name)


def require_complete(study: Study) -> Check:
    """The study's check, or every problem in one error.

    Raises
    ------
    StudyError
    """
    check = check_study(study)
    if check.problems:
        raise StudyError("\n".join(check.problems))
    return check
