"""A participants table that names people is refused, with what to do."""

import pandas as pd
import pytest

from mien.study.errors import StudyError
from mien.study.private_columns import PRIVATE, private_columns, refuse_private

NAMING = (
    "name", "Name", "First name", "first_name", "firstName", "last-name", "surname", "full name", "birth date", "DOB",
    "date_of_birth", "birthday", "e-mail", "E-Mail", "phone", "home address", "Vorname", "Nachname", "Geburtsdatum",
    "geb.", "Geburtstag", "Telefon", "Anschrift", "Straße", "PLZ", "participant name", "ssn",
)  # fmt: skip
HARMLESS = (
    "participant_id", "age", "sex", "group", "bdi_total", "birth_order", "birth_weight", "drug_name", "site",
    "mobility", "phonemic_fluency", "addressing", "year", "tested_on", "handedness", "numbers", "filename",
)  # fmt: skip


def table(**columns):
    return pd.DataFrame({"participant_id": ["sub-01", "sub-02"], **columns})


@pytest.mark.parametrize("name", [*NAMING, *sorted(PRIVATE)])
def test_a_column_that_names_people_is_found(name):
    assert private_columns(table(**{name: ["x", "y"]})) == [name]


@pytest.mark.parametrize("name", HARMLESS)
def test_other_columns_stay(name):
    values = ["sub-01", "sub-02"] if name == "participant_id" else [1.0, 2.0]
    assert private_columns(table(**{name: values})) == []


@pytest.mark.parametrize(
    "values",
    [
        ["1987-03-21", "1990-12-01"], ["21.03.1987", None], ["3/21/1987", "12/1/1990"], [19870321.0, 19901201.0],
        ["19870321", "19901201"], ["21. 3. 1987", "1.12.1990"], ["1987-03-21T00:00:00", "x"], ["x", "a.b@example.org"],
    ],
)  # fmt: skip
def test_values_tell_too(values):
    assert private_columns(table(extra=values)) == ["extra"]


@pytest.mark.parametrize(
    "values",
    [
        ["2024-03-21", "2025-12-01"], [1987.0, 1990.0], [None, None], ["12-13", "1-2"], [19879999.0, 20000000.0],
        ["", "a"],
    ],
)  # fmt: skip
def test_dates_of_sessions_years_and_numbers_stay(values):
    assert private_columns(table(extra=values)) == []


def test_the_refusal_names_the_columns_and_the_remedy():
    with pytest.raises(
        StudyError, match=r"people\.tsv: .*'name', 'dob'.*remove them .*age in whole years.*elsewhere"
    ):
        refuse_private(table(name=["a", "b"], dob=["x", "y"]), where="people.tsv")
    refuse_private(table(age=[30, 40]))
