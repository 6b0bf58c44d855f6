"""Columns of a participants table that name people: names, birth dates, addresses, numbers by which they are known.

A study's people stand under ids. What a column holds is told by its name, in English and German, and by its values:
e-mail addresses, and full dates before 2017. Face tracking by ARKit began with the iPhone X of November 2017, so
that an older date is none of a session; it is a birth date, or as telling as one.
"""

import re

import pandas as pd

from mien.study.errors import StudyError

__all__ = ["private_columns", "refuse_private"]

# Whole column names, letters only: "First name", first_name and firstName are all "firstname".
NAMES = """
name names forename firstname givenname middlename lastname surname familyname maidenname birthname fullname nickname
username realname participantname participantsname patientname subjectname personname initials
vorname nachname zuname familienname geburtsname mädchenname maedchenname rufname klarname namen benutzername initialen
probandenname patientenname
"""
BIRTH = """
birth birthdate birthday dateofbirth dob bday born bornon birthplace placeofbirth
geburt geburtsdatum geburtstag geburtsort geboren geborenam gebdatum gebdat geb gebtag
"""
REACHED = """
email emailaddress mail mailaddress phone phonenumber telephone telephonenumber mobile mobilenumber mobilephone
cellphone
fax address homeaddress street streetaddress postcode postalcode zipcode zip
emailadresse mailadresse telefon telefonnummer telefonnr tel handy handynummer mobil mobilnummer anschrift adresse
wohnadresse strasse straße plz postleitzahl
"""
KNOWN_BY = """
ssn socialsecuritynumber nhsnumber mrn medicalrecordnumber insurancenumber passport passportnumber idcard
svnr sozialversicherungsnummer versichertennummer krankenkassennummer ausweisnummer personalausweis fallnummer
"""
PRIVATE = frozenset(word.casefold() for word in (NAMES + BIRTH + REACHED + KNOWN_BY).split())
EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
DATES = (
    re.compile(r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?:[T ].*)?"),
    re.compile(r"(?P<day>\d{1,2})[-/.] ?(?P<month>\d{1,2})[-/.] ?(?P<year>\d{4})"),
    re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?:\.0)?"),
)
FIRST_YEAR, FIRST_TRACKING = 1900, 2017
SHARE = 0.5  # of the known cells


def private_columns(participants: pd.DataFrame) -> list[str]:
    """The columns that name people, in the table's order; participant_id is never one."""
    return [
        str(name)
        for place, name in enumerate(participants.columns)
        if str(name) != "participant_id" and _private(str(name), participants.iloc[:, place])
    ]


def refuse_private(participants: pd.DataFrame, *, where: object = "participants.tsv") -> None:
    """Refuse a table that names people.

    Raises
    ------
    StudyError
        With the columns, and what to do.
    """
    found = private_columns(participants)
    if found:
        raise StudyError(
            f"{where}: expected people under ids only, found the column{'s' if len(found) > 1 else ''} "
            f"{', '.join(map(repr, found))}, by which they are known: remove {'them' if len(found) > 1 else 'it'} "
            "(an age in whole years may stay) and keep the list of names and ids elsewhere, apart from the study."
        )


def _private(name: str, values: pd.Series) -> bool:
    letters = "".join(character for character in name.casefold() if character.isalpha())
    return letters in PRIVATE or _telling(values)


def _telling(values: pd.Series) -> bool:
    known = [_text(value) for value in values if not pd.isna(value)]
    if not known:
        return False
    if any(EMAIL.fullmatch(text) for text in known):
        return True
    return sum(_old_date(text) for text in known) >= SHARE * len(known)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _old_date(text: str) -> bool:
    found = next(filter(None, (pattern.fullmatch(text) for pattern in DATES)), None)
    if found is None:
        return False
    year, first, second = (int(found[part]) for part in ("year", "month", "day"))
    ordered = 1 <= min(first, second) <= 12 and max(first, second) <= 31  # either order of day and month
    return FIRST_YEAR <= year < FIRST_TRACKING and ordered
