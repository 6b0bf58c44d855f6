"""Events as laboratories have them: an events.tsv, the markers of an XDF file, or a PsychoPy CSV mapped in mien.toml.

[psychopy]
onset = "image.started"            # column with the onset, s; rows without one are not trials
duration = "image_duration"        # a column, or a number of seconds; left out: the stimulus' own duration
stimulus_id = "image_file"         # "stimuli/happy_03.jpg" becomes happy_03
columns = {rating_empathy = "slider.response", condition = "block"}
"""

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from mien.study.errors import StudyError
from mien.study.events import EVENT_COLUMNS, read_events, validate_events
from mien.study.tables import cell, nearest, numbers_where_possible, read_table

__all__ = ["read_event_source"]

XDF_MAGIC = b"XDF:"
MAPPING_KEYS = ("onset", "duration", "stimulus_id", "columns")


def read_event_source(path: Path, settings: Mapping[str, Any], stimuli: pd.DataFrame | None) -> pd.DataFrame:
    """The events table in `path`, checked.

    Parameters
    ----------
    settings : mien.toml of the study; its [psychopy] table maps the columns of a PsychoPy CSV.
    stimuli : the stimuli table, for durations that the events do not give.
    """
    if not path.is_file():
        raise StudyError(f"{path}: expected the events of a recording, found no such file: check the path.")
    with path.open("rb") as file:
        if file.read(4) == XDF_MAGIC:
            return _from_markers(path, stimuli)
    table = read_table(path)
    if all(name in table.columns for name in EVENT_COLUMNS):
        return read_events(path).table
    mapping = settings.get("psychopy")
    if not isinstance(mapping, Mapping):
        raise StudyError(
            f"{path}: expected the columns {', '.join(EVENT_COLUMNS)}, found {', '.join(list(table.columns)[:8])}: "
            "name them so, or map the columns of a PsychoPy file under [psychopy] in the study's mien.toml."
        )
    return _mapped(table, mapping, stimuli, path)


def _from_markers(path: Path, stimuli: pd.DataFrame | None) -> pd.DataFrame:
    """Markers that name a stimulus are its onsets; all others are kept as rows without a stimulus."""
    from mien.capture.formats import read_markers

    if stimuli is None:
        raise StudyError(f"{path}: expected stimuli/stimuli.tsv beside markers, found none: write it first.")
    markers = read_markers(path)
    duration = dict(zip(stimuli["stimulus_id"], stimuli["duration"], strict=True))
    shown = np.isin(markers["marker"].to_numpy(dtype=str), list(duration))
    if not shown.any():
        found = ", ".join(map(repr, markers["marker"].unique()[:3]))
        raise StudyError(
            f"{path}: expected markers that name stimuli of stimuli/stimuli.tsv, found {found}: give an events table."
        )
    names = markers["marker"].where(shown)
    table = pd.DataFrame(
        {
            "onset": markers["onset"],
            "duration": [duration.get(name, 0.0) for name in names],
            "stimulus_id": names.astype("str"),
            "trial_type": markers["marker"].where(~shown, "stimulus").astype("str"),
        }
    )
    return validate_events(table, where=str(path))


def _mapped(
    table: pd.DataFrame, mapping: Mapping[str, Any], stimuli: pd.DataFrame | None, path: Path
) -> pd.DataFrame:
    unknown = [key for key in mapping if key not in MAPPING_KEYS]
    missing = [key for key in ("onset", "stimulus_id") if key not in mapping]
    if unknown or missing:
        found = (
            f"the key {unknown[0]!r}{nearest(unknown[0], MAPPING_KEYS)}" if unknown else f"no {missing[0]}"
        )
        raise StudyError(f"mien.toml, [psychopy]: expected {', '.join(MAPPING_KEYS)}, found {found}.")
    further = dict(mapping.get("columns", {}))
    for column in (mapping["onset"], mapping["stimulus_id"], *further.values()):
        if column not in table.columns:
            raise StudyError(
                f"{path}, line 1: expected the column {column!r} that mien.toml, [psychopy] names, found "
                f"none{nearest(str(column), table.columns)}."
            )
    shown = table[mapping["onset"]].notna()
    onset = _seconds(table.loc[shown, mapping["onset"]], path, str(mapping["onset"]))
    identifier = table.loc[shown, mapping["stimulus_id"]].map(_stimulus_name).astype("str")
    events = pd.DataFrame(
        {
            "onset": onset.to_numpy(),
            "duration": _durations(
                table.loc[shown], identifier, mapping.get("duration"), stimuli, path
            ).to_numpy(),
            "stimulus_id": identifier.to_numpy(),
        }
    )
    for name, column in further.items():
        events[name] = table.loc[shown, column].to_numpy()
    return validate_events(
        numbers_where_possible(events, keep=("stimulus_id", "trial_type"), where=path), where=str(path)
    )


def _stimulus_name(value: object) -> object:
    return value if pd.isna(value) else PureWindowsPath(str(value)).stem  # pyright: ignore[reportGeneralTypeIssues]


def _seconds(values: pd.Series, path: Path, column: str) -> pd.Series:
    for row, value in values.items():
        try:
            float(value)
        except ValueError:
            raise StudyError(
                f"{cell(path, int(str(row)), column)}: expected seconds, found {value!r}."
            ) from None
    return values.astype("float64")


def _durations(
    rows: pd.DataFrame, identifier: pd.Series, duration: object, stimuli: pd.DataFrame | None, path: Path
) -> pd.Series:
    if isinstance(duration, int | float):
        return pd.Series(float(duration), index=rows.index)
    if isinstance(duration, str):
        if duration not in rows.columns:
            raise StudyError(
                f"{path}, line 1: expected the column {duration!r} that mien.toml names, found none."
            )
        return _seconds(rows.loc[:, duration], path, duration)
    if stimuli is None:
        raise StudyError(
            f"{path}: expected a duration for each stimulus, found none: give `duration` under [psychopy] in "
            "mien.toml, or write stimuli/stimuli.tsv first."
        )
    known = dict(zip(stimuli["stimulus_id"], stimuli["duration"], strict=True))
    unknown = [name for name in identifier if name not in known]
    if unknown:
        raise StudyError(
            f"{path}: expected stimuli of stimuli/stimuli.tsv, found {unknown[0]!r}{nearest(unknown[0], known)}."
        )
    return identifier.map(known).astype("float64")
