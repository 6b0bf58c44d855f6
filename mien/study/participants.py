"""participants.tsv: one row a person, pseudonymous; age, sex, group and trait scores as further columns."""

from pathlib import Path

import pandas as pd

from mien.study.errors import StudyError
from mien.study.labels import check_label
from mien.study.tables import cell, line_of, numbers_where_possible, read_table

__all__ = ["PARTICIPANTS_JSON", "new_participants", "read_participants"]

PARTICIPANTS_JSON = {
    "age": {"Description": "age of the participant", "Units": "year"},
    "sex": {"Description": "sex of the participant", "Levels": {"F": "female", "M": "male", "O": "other"}},
    "group": {"Description": "group of the study, e.g. control or patient"},
}


def new_participants() -> pd.DataFrame:
    """An empty table with the columns that every study has."""
    return pd.DataFrame({name: pd.Series(dtype="str") for name in ("participant_id", "age", "sex", "group")})


def read_participants(path: Path) -> pd.DataFrame:
    """The participants table, checked; `participant_id` as written (`sub-01`), numbers as numbers.

    A column is numeric where every cell that is not missing is a number. `age` must be.

    Raises
    ------
    StudyError
        For a missing or doubled participant_id, or an age that is no number.
    """
    if not path.exists():
        raise StudyError(
            f"{path}: expected the participants table, found none: `mien import` or `mien new` makes it."
        )
    table = read_table(path, required=("participant_id",), numeric=("age",))
    seen: dict[str, int] = {}
    for row, value in enumerate(table["participant_id"]):
        if pd.isna(value):
            raise StudyError(
                f"{cell(path, row, 'participant_id')}: expected an id such as sub-01, found none."
            )
        try:
            label = check_label(value, "participant")
        except StudyError as reason:
            raise StudyError(f"{cell(path, row, 'participant_id')}: {reason}") from None
        if label in seen:
            raise StudyError(
                f"{cell(path, row, 'participant_id')}: expected each participant once, found sub-{label} also in "
                f"line {line_of(seen[label])}: remove one of the rows."
            )
        seen[label] = row
    table["participant_id"] = pd.Series([f"sub-{label}" for label in seen], dtype="str")
    return numbers_where_possible(table, keep=("participant_id", "sex", "group"), where=path)
