"""stimuli/stimuli.tsv: one row a picture or film, with its valence, medium and duration."""

from pathlib import Path

import pandas as pd

from mien.study.errors import StudyError
from mien.study.tables import cell, line_of, nearest, numbers_where_possible, read_table
from mien.study.trials import MEDIA, VALENCES

__all__ = ["STIMULI_JSON", "STIMULUS_COLUMNS", "read_stimuli"]

STIMULUS_COLUMNS = ("stimulus_id", "valence", "medium", "duration")
STIMULI_JSON = {
    "stimulus_id": {"Description": "identifier of the stimulus, as in the events tables"},
    "valence": {
        "Description": "emotional valence of the stimulus",
        "Levels": {"negative": "negative", "neutral": "neutral", "positive": "positive"},
    },
    "medium": {
        "Description": "kind of stimulus",
        "Levels": {"picture": "still picture", "film": "film clip"},
    },
    "duration": {"Description": "how long the stimulus is shown", "Units": "s"},
}


def read_stimuli(path: Path) -> pd.DataFrame:
    """The stimuli table, checked.

    Raises
    ------
    StudyError
        For a missing column, a doubled stimulus_id, a misspelt valence or medium, a duration that is not positive.
    """
    if not path.exists():
        raise StudyError(
            f"{path}: expected the table of stimuli ({', '.join(STIMULUS_COLUMNS)}), found none: write it; "
            "`mien new` gives a template."
        )
    table = read_table(path, required=STIMULUS_COLUMNS, numeric=("duration",))
    if table.empty:
        raise StudyError(f"{path}: expected one row a stimulus, found only the header: fill it in.")
    _check_ids(table, path)
    for name, allowed in (("valence", VALENCES), ("medium", MEDIA)):
        for row, value in enumerate(table[name]):
            if value not in allowed:
                raise StudyError(
                    f"{cell(path, row, name)}: expected {', '.join(allowed[:-1])} or {allowed[-1]}, found "
                    f"{'nothing' if pd.isna(value) else repr(value)}{nearest(str(value), allowed)}: correct the cell."
                )
    for row, value in enumerate(table["duration"]):
        if not value > 0:
            raise StudyError(
                f"{cell(path, row, 'duration')}: expected seconds above 0, found {value}: correct the cell."
            )
    return numbers_where_possible(table, keep=STIMULUS_COLUMNS, where=path)


def _check_ids(table: pd.DataFrame, path: Path) -> None:
    seen: dict[str, int] = {}
    for row, value in enumerate(table["stimulus_id"]):
        if pd.isna(value):
            raise StudyError(f"{cell(path, row, 'stimulus_id')}: expected an identifier, found none.")
        if value in seen:
            raise StudyError(
                f"{cell(path, row, 'stimulus_id')}: expected each stimulus once, found {value!r} also in line "
                f"{line_of(seen[value])}: remove or rename one."
            )
        seen[value] = row
