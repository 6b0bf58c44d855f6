"""The study folder: a valid BIDS dataset, read and written in one place.

`Study` knows where things lie and checks them when they are asked for; it computes nothing. Paths and labels are
those of Motion-BIDS; derivatives are below derivatives/mien.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.labels import RecordingId, check_label, entities, in_order, stem_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from mien.study.events import Events

__all__ = ["BIDS_VERSION", "Study"]

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
# What may lie in a folder that becomes a study.
OWN_FILES = frozenset({"participants.tsv", "participants.json", "stimuli", "README.md", "mien.toml"})


class Study:
    """A study folder.

    Parameters
    ----------
    path : the folder with dataset_description.json.

    Raises
    ------
    StudyError
        When the folder is no study.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / DESCRIPTION).is_file():
            kind = "a folder without one" if self.path.is_dir() else "a file"
            found = kind if self.path.exists() else "nothing"
            raise StudyError(
                f"{self.path}: expected a study folder with {DESCRIPTION}, found {found}: make a study with "
                f"`mien new {self.path}` or `mien import … --study {self.path}`."
            )

    @classmethod
    def create(cls, path: Path | str, *, name: str = "") -> "Study":
        """Make what is missing of a study folder's frame, and return the study."""
        folder = Path(path)
        if folder.exists() and not folder.is_dir():
            raise StudyError(f"{folder}: expected a folder or nothing, found a file: choose another name.")
        if not (folder / DESCRIPTION).exists():
            names = {item.name for item in folder.iterdir()} if folder.exists() else set()
            strange = sorted(name for name in names - OWN_FILES if not name.startswith("."))
            if strange:
                raise StudyError(
                    f"{folder}: expected a study folder, an empty folder or nothing, found a folder with "
                    f"{', '.join(strange[:3])}: choose another one."
                )
        name = name or folder.resolve().name
        for relative, content in _frame(name).items():
            if not (folder / relative).exists():
                write_whole(folder / relative, content)
        return cls(folder)

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r})"

    @property
    def name(self) -> str:
        """The study's name, as dataset_description.json gives it."""
        from mien.study.tables import read_json

        return str(read_json(self.path / DESCRIPTION).get("Name", self.path.resolve().name))

    @property
    def derivatives(self) -> Path:
        """Where everything computed goes."""
        return self.path / "derivatives" / "mien"

    @cached_property
    def participants(self) -> "pd.DataFrame":
        """The participants table, checked."""
        from mien.study.participants import read_participants

        return read_participants(self.path / "participants.tsv")

    @cached_property
    def stimuli(self) -> "pd.DataFrame":
        """The stimuli table, checked."""
        from mien.study.stimuli import read_stimuli

        return read_stimuli(self.path / "stimuli" / "stimuli.tsv")

    @property
    def settings(self) -> Mapping[str, Any]:
        """mien.toml as a mapping; empty where there is none."""
        path = self.path / "mien.toml"
        if not path.exists():
            return {}
        from mien.study.tables import read_text

        try:
            return tomllib.loads(read_text(path))
        except (ValueError, RecursionError) as reason:
            raise StudyError(f"{path}: expected TOML, but {reason}: correct it.") from None

    @cached_property
    def _index(self) -> dict[RecordingId, Path]:
        found: dict[RecordingId, Path] = {}
        for path in sorted(
            [*self.path.glob("sub-*/motion/*_motion.tsv"), *self.path.glob("sub-*/ses-*/motion/*_motion.tsv")]
        ):
            parsed = entities(path)
            if parsed is None:
                raise StudyError(
                    f"{path}: expected a name such as sub-01_task-met_tracksys-arkit_motion.tsv: rename the file."
                )
            recording_id, session, _ = parsed
            folder = stem_of(recording_id, session=session, run=False).split("_task-", maxsplit=1)[0]
            if "_".join(path.relative_to(self.path).parts[:-2]) != folder:
                place = folder.replace("_", "/") + "/motion"
                raise StudyError(
                    f"{path}: expected the file in {place}, as its name says: move or rename it."
                )
            if recording_id in found:
                raise StudyError(
                    f"{path}: expected one recording of {recording_id}, found also {found[recording_id].name}: "
                    "rename one run."
                )
            found[recording_id] = path
        return found

    def refresh(self) -> None:
        """Forget what was read, after files changed."""
        for name in ("participants", "stimuli", "_index"):
            self.__dict__.pop(name, None)

    def recordings(self) -> list[RecordingId]:
        """Every recording, in the order of participant, session, task and run."""
        return sorted(self._index, key=in_order)

    def motion_path(self, recording_id: RecordingId) -> Path:
        """The motion.tsv of a recording."""
        try:
            return self._index[recording_id]
        except KeyError:
            raise StudyError(
                f"{self.path}: expected a recording of {recording_id}, found none: import it."
            ) from None

    def recording(self, recording_id: RecordingId) -> "xr.Dataset":
        """The Recording."""
        from mien.study.motion import read_motion

        return read_motion(self.motion_path(recording_id))

    def events_path(self, recording_id: RecordingId) -> Path:
        """Where the recording's events are, or belong: in motion/, else in beh/ where they exist there."""
        motion = self.motion_path(recording_id)
        name = re.sub(r"_tracksys-[A-Za-z0-9]+", "", motion.name.removesuffix("_motion.tsv")) + "_events.tsv"
        beside, elsewhere = motion.with_name(name), motion.parent.parent / "beh" / name
        return elsewhere if elsewhere.exists() and not beside.exists() else beside

    def events(self, recording_id: RecordingId) -> "Events":
        """The recording's events, checked, with how their clock was aligned."""
        from mien.study.events import read_events

        return read_events(self.events_path(recording_id))

    def new_stem(self, recording_id: RecordingId, *, session: bool, run: bool, tracker: str) -> Path:
        """The path, without ending, of a new recording's Motion-BIDS files."""
        folder = self.path / f"sub-{recording_id.participant}"
        folder = folder / f"ses-{recording_id.session}" if session else folder
        return folder / "motion" / stem_of(recording_id, session=session, run=run, tracker=tracker)

    def add_participant(self, participant: str) -> bool:
        """Add a row with n/a to participants.tsv; False when the person has one."""
        import pandas as pd

        from mien.study.participants import new_participants
        from mien.study.tables import read_table, write_table

        label = f"sub-{check_label(participant, 'participant')}"
        path = self.path / "participants.tsv"
        table = read_table(path, required=("participant_id",)) if path.exists() else new_participants()
        if label in {f"sub-{str(known).removeprefix('sub-')}" for known in table["participant_id"]}:
            return False
        row = pd.DataFrame({name: pd.Series([None], dtype="str") for name in table.columns})
        row["participant_id"] = pd.Series([label], dtype="str")
        write_table(pd.concat([table, row], ignore_index=True), path)
        self.refresh()
        return True


def _frame(name: str) -> dict[str, str]:
    """The files of an empty study, by relative path."""
    from mien.study.participants import PARTICIPANTS_JSON
    from mien.study.stimuli import STIMULI_JSON

    description = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": "n/a",
        "Authors": ["n/a"],
        "GeneratedBy": [{"Name": "mien"}],
    }
    readme = (
        f"# {name}\n\nARKit blend-shape recordings (52 coefficients a frame, no video) of people watching emotional "
        "stimuli, as Motion-BIDS. Made with mien.\n"
    )
    return {
        DESCRIPTION: json.dumps(description, indent=2) + "\n",
        "README.md": readme,
        "participants.json": json.dumps(PARTICIPANTS_JSON, indent=2) + "\n",
        "stimuli/stimuli.json": json.dumps(STIMULI_JSON, indent=2) + "\n",
        ".bidsignore": "mien.toml\n",
    }
