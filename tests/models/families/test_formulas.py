"""The formulas of the families, option by option, and what they refuse."""

from dataclasses import fields

import pytest

import mien
from mien.models.families.options import FamilyOptions, Options
from mien.priors import HalfNormal, Normal
from mien.study.errors import SpecError
from mien.study.formula import parse_formula

VALENCE = "activation ~ valence + (valence | participant) + (1 | stimulus)"
TASK = (
    "activation ~ valence * medium + (valence | participant) + (0 + medium + valence:medium || participant) + "
    "(0 + medium_is_picture + medium_is_film || stimulus)"
)
RATED = (
    "rating_within + valence:rating_within + rating_person + valence:rating_person + rating_stimulus + "
    "valence:rating_stimulus"
)


@pytest.mark.parametrize(
    ("options", "formula"),
    [
        ({}, VALENCE),
        (
            {"conditions": "question"},
            "activation ~ valence * question + (valence | participant) + "
            "(0 + question + valence:question || participant) + (1 + question || stimulus)",
        ),
        (
            {"ratings": ["rating"]},
            f"activation ~ valence + {RATED} + (valence | participant) + "
            "(0 + rating_within + valence:rating_within || participant) + (1 + rating_within || stimulus)",
        ),
        (
            {"group": "group", "covariates": ("age_z", "sex")},
            "activation ~ valence + group + valence:group + age_z + valence:age_z + sex + valence:sex + "
            "(valence | participant) + (1 + group || stimulus)",
        ),
        (
            {"traits": ("empathy", "anxiety_z")},
            "activation ~ valence + empathy_z + valence:empathy_z + anxiety_z + valence:anxiety_z + "
            "(valence | participant) + (1 + empathy_z + anxiety_z || stimulus)",
        ),
        ({"norms": "arousal"}, "activation ~ valence + arousal_z + (valence | participant) + (1 | stimulus)"),
        (
            {"session": True, "repeated": True},
            "activation ~ valence + session + valence:session + (valence | participant) + "
            "(valence | participant:session) + (1 + session || stimulus) + (1 | participant:stimulus)",
        ),
        (
            {"baseline": "covariate"},
            "raw ~ valence + baseline_within + (valence | participant) + (1 | stimulus)",
        ),
    ],
)
def test_each_option_adds_its_terms_and_slopes(options, formula):
    spec = mien.models.valence(**options)
    assert spec.formula == formula
    assert parse_formula(spec.formula).text == formula
    assert (spec.name, spec.family, spec.coding) == ("valence", "gaussian", "default")


def test_the_task_family_crosses_valence_medium_and_condition():
    spec = mien.models.task()
    assert (spec.formula, spec.sigma_by, spec.name) == (TASK, ("medium",), "task")
    assert mien.models.task(conditions="question").formula == (
        "activation ~ valence * medium * question + (valence | participant) + (0 + medium + valence:medium + question "
        "+ valence:question + medium:question + valence:medium:question || participant) + "
        "(0 + medium_is_picture + medium_is_film + question || stimulus)"
    )


def test_a_second_condition_is_crossed_too_and_named_once():
    formula = mien.models.valence(conditions=("question", "context")).formula
    assert formula.startswith(
        "activation ~ valence * question + context + valence:context + (valence | participant)"
    )
    assert "(1 + question + context || stimulus)" in formula


def test_the_traits_family_takes_one_trait_or_those_asked_for():
    spec = mien.models.traits("empathy", covariates=("age_z",))
    assert spec.formula == (
        "activation ~ valence + empathy_z + valence:empathy_z + age_z + valence:age_z + (valence | participant) + "
        "(1 + empathy_z || stimulus)"
    )
    assert spec.name == "traits"
    both = mien.models.traits(("empathy", "anxiety"))
    assert both.formula == mien.models.traits("empathy", traits="anxiety").formula
    assert mien.models.traits(ratings="rating").formula == mien.models.valence(ratings="rating").formula


@pytest.mark.parametrize(
    "family", [mien.models.valence, mien.models.task, lambda **o: mien.models.traits("t", **o)]
)
def test_every_family_has_every_option_and_answers_in_words(family):
    every = {
        "group": "group", "covariates": "age_z", "norms": "arousal", "session": True, "repeated": True,
        "baseline": "covariate", "pool_trackers": True, "priors": {"beta": Normal(0, 1), "sd": HalfNormal(1)},
        "contrasts": {"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}},
    }  # fmt: skip
    spec = family(**every)
    for part in (
        "valence:group",
        "valence:age_z",
        "arousal_z",
        "participant:session",
        "participant:stimulus",
    ):
        assert part in spec.formula
    assert spec.formula.startswith("raw ~ valence")
    assert spec.priors["beta"] == Normal(0, 1)
    assert spec.contrasts == {"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}
    assert spec.pool_trackers
    for word in ("?", "group", "session to session", "adjusted for age_z and arousal", "baseline"):
        assert word in spec.answers
    assert mien.ModelSpec.from_json(spec.to_json()) == spec


def test_options_are_declared_once_for_types_and_once_for_defaults():
    assert set(FamilyOptions.__annotations__) == {item.name for item in fields(Options)}


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        (mien.models.valence, {"trait": "empathy"}, "did you mean 'traits'"),
        (mien.models.valence, {"baseline": "covar"}, "did you mean 'covariate'"),
        (mien.models.valence, {"traits": "x y"}, "names of columns"),
        (mien.models.valence, {"group": "sex", "covariates": ("sex",)}, "one option, found one in two"),
        (mien.models.valence, {"group": "valence"}, "does not have, found 'valence'"),
        (mien.models.valence, {"conditions": "medium"}, "mien.models.task"),
        (mien.models.task, {"conditions": "medium"}, "does not have, found 'medium'"),
        (mien.models.traits, {}, "a trait, a group or ratings"),
        (
            mien.models.task,
            {"conditions": "question", "ratings": "rating"},
            "at most 12 group standard deviations",
        ),
    ],
)
def test_what_no_family_is_made_of(family, options, words):
    with pytest.raises(SpecError, match="expected") as caught:
        family(**options)
    assert words in str(caught.value)
