"""Catalogues: every language has the same texts with the same places, and writes numbers its own way."""

import re
import string
from pathlib import Path

import pytest

from mien.reports_app import wording
from mien.reports_app.defaults import CANNOT_TELL, DEFAULTS
from mien.reports_app.texts import LANGUAGES, Texts
from mien.study.blend_shapes import BILATERAL_NAMES, REGIONS
from mien.study.errors import StudyError

CODE = Path(__file__).resolve().parents[2] / "mien" / "reports_app"


def places(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def differences(first, second):
    """Keys that one catalogue lacks, and keys whose places differ."""
    return [
        *sorted(set(first) ^ set(second)),
        *[key for key in sorted(set(first) & set(second)) if places(first[key]) != places(second[key])],
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogues_have_the_same_keys_and_places(language):
    assert differences(Texts.of("en").entries, Texts.of(language).entries) == []


def test_saboteurs_a_lost_key_and_a_lost_place_are_seen():
    entries = dict(Texts.of("de").entries)
    entries["person.title"] = "Person"
    del entries["word.clearly"]
    assert differences(Texts.of("en").entries, entries) == ["word.clearly", "person.title"]


def test_every_key_in_the_code_is_in_the_catalogue():
    source = "".join(path.read_text(encoding="utf-8") for path in CODE.glob("person_*.py"))
    plain = set(re.findall(r'texts\(\s*"([\w.]+)"', source))
    counted = set(re.findall(r'counted\(\s*"([\w.]+)"', source))
    assert len(plain) > 60
    entries = Texts.of("en").entries
    assert plain <= set(entries)
    assert {f"{key}_{form}" for key in counted for form in ("one", "more")} <= set(entries)


def test_a_text_without_its_part_is_an_error_and_not_a_gap():
    with pytest.raises(KeyError):
        Texts.of("en")("person.title")
    with pytest.raises(KeyError):
        Texts.of("en")("person.nothing")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_movement_region_and_word_has_its_text(language):
    texts = Texts.of(language)
    names = [texts.movement(name) for name in BILATERAL_NAMES]
    assert len(set(names)) == len(BILATERAL_NAMES)
    assert not set(names) & set(BILATERAL_NAMES)
    assert all(texts.region(name) for name in (*REGIONS, "contrast"))
    words = [texts.word(DEFAULTS.word(probability)) for probability in (0.5, 0.85, 0.96, 0.999)]
    assert len(set(words)) == 4


def test_english_movements_are_those_of_the_other_reports():
    texts = Texts.of("en")
    assert {name: texts.movement(name) for name in wording.MOVEMENTS} == dict(wording.MOVEMENTS)
    assert texts.word(CANNOT_TELL) == CANNOT_TELL


def test_sides_and_contrasts_are_named():
    texts = Texts.of("de")
    assert texts.movement("mouthSmileLeft") == "Lächeln (links)"
    assert texts.movement("smile - frown") == "smile - frown"


def test_numbers_are_written_as_the_language_writes_them():
    english, german = Texts.of("en"), Texts.of("de")
    assert english.number(-0.0412, 3, signed=True) == "−0.041"
    assert german.number(-0.0412, 3, signed=True) == "−0,041"
    assert german.number(0.0412, 3, signed=True) == "+0,041"
    assert german.number(-0.0001, 2, signed=True) == "0,00"
    assert english.number(float("nan")) == "–"
    assert german.share(0.9876, 1) == "98,8\u00a0%"
    assert english.general(0.5) == "0.5"
    assert german.general(0.5) == "0,5"


def test_percentiles_and_probabilities_never_claim_certainty():
    texts = Texts.of("de")
    assert [texts.percentile(one) for one in (0.0, 0.004, 0.5, 0.997, 1.0)] == [
        "<\u00a01", "<\u00a01", "50", ">\u00a099", ">\u00a099",
    ]  # fmt: skip
    assert [texts.probability(one) for one in (0.0, 0.5, 1.0)] == ["<\u00a00,01", "0,50", ">\u00a00,99"]


def test_lists_and_counts():
    texts = Texts.of("de")
    assert texts.listed(["a", "b", "c"]) == "a, b und c"
    assert texts.listed(["a"]) == "a"
    assert texts.listed([]) == ""
    assert "1 Aufnahme," in texts.counted("person.cannot_repeat", 1)
    assert "2 Aufnahmen," in texts.counted("person.cannot_repeat", 2)


def test_a_language_without_a_catalogue_is_refused():
    with pytest.raises(StudyError, match="expected one of en, de, found 'fr'"):
        Texts.of("fr")
