import re

import pytest

from mien.reports_app import wording
from mien.reports_app.defaults import DEFAULTS, Decisions
from mien.reports_app.wording import answer, effect_sentence, wrong_signs
from mien.study.blend_shapes import BILATERAL_NAMES
from mien.study.errors import SpecError

CAUSAL = re.compile(
    r"\b(cause[sd]?|because of|effect of|lead to|led to|due to|increase[sd]?|decrease[sd]?|trigger\w*)\b",
    re.I,
)


@pytest.mark.parametrize(
    ("probability", "word"),
    [(1.0, "clearly"), (0.99, "clearly"), (0.9899, "probably"), (0.95, "probably"), (0.9499, "there are signs that"),
     (0.80, "there are signs that"), (0.7999, "cannot tell"), (0.5, "cannot tell")],
)  # fmt: skip
def test_words_by_probability(probability, word):
    assert DEFAULTS.word(probability) == word


def test_a_clear_effect(row):
    assert effect_sentence(row("mouthSmile", 0.041, 0.0106, p_direction=0.9999)) == (
        "Smile (mouthSmile) was clearly higher with positive than with negative stimuli of this set: "
        "+0.04 coefficient units (95 % ETI +0.02 to +0.06; P(direction) > 0.99)."
    )


def test_signs_and_not_knowing(row):
    signs = effect_sentence(row("browDown", -0.004, 0.004, p_direction=0.84))
    assert signs.startswith("Brows lowered (browDown): there are signs that it was lower with positive")
    unknown = effect_sentence(row("browDown", -0.001, 0.004, p_direction=0.6))
    assert unknown.startswith(
        "Brows lowered (browDown): we cannot tell whether it was higher or lower with positive"
    )
    assert "P(direction) = 0.60" in unknown


def test_practically_none_is_said_with_its_limits(row):
    inside = effect_sentence(row("jawOpen", 0.0002, 0.001, p_direction=0.58, decision="inside", rope=0.008))
    assert inside.endswith("practically none under these limits (±0.008).")


def test_a_failed_verdict_says_nothing_about_the_face(row):
    sentence = effect_sentence(row("mouthSmile", 0.04, 0.001, verdict="failed", r_hat=1.08, ess_bulk=51.0))
    assert sentence == (
        "Smile (mouthSmile): cannot tell: the computation did not pass its checks "
        "(R-hat 1.080, bulk ESS 51, tail ESS 2100)."
    )
    told = effect_sentence(row("mouthSmile", 0.04, 0.001, verdict="failed"), failure="R-hat of sigma 1.400")
    assert told.endswith("did not pass its checks (R-hat of sigma 1.400).")


@pytest.mark.parametrize("effect", ["valence", "neutral", "medium", "valence:medium", "age"])
@pytest.mark.parametrize("p_direction", [0.55, 0.85, 0.96, 0.999])
@pytest.mark.parametrize("decision", ["inside", "outside", "undecided"])
def test_no_sentence_claims_a_cause_or_the_absence_of_an_effect(row, effect, p_direction, decision):
    for mean in (-0.02, 0.02):
        sentence = effect_sentence(
            row("mouthFrown", mean, 0.01, effect=effect, p_direction=p_direction, decision=decision)
        )
        assert not CAUSAL.search(sentence)
        assert "no effect" not in sentence.lower()
        assert "significant" not in sentence


def test_names_for_all_shapes_sides_and_contrasts():
    assert set(wording.MOVEMENTS) == set(BILATERAL_NAMES)
    assert wording.movement("mouthSmileLeft") == "smile, left"
    assert wording.movement("jawLeft") == "jaw to the left"
    assert wording.movement("smile - frown") == "smile - frown"
    assert wording.subject_of("smile - frown") == "“smile - frown”"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.0414, 3, "+0.041"),
        (-0.0224, 3, "−0.022"),
        (-0.0001, 3, "0.000"),
        (0.0, 2, "0.00"),
        (float("nan"), 3, "–"),
    ],
)
def test_numbers(value, decimals, text):
    assert wording.number(value, decimals) == text


def test_probabilities_are_never_one():
    assert wording.probability_text(1.0) == "> 0.99"
    assert wording.probability_text(0.994) == "0.99"


def test_the_expected_number_of_wrong_signs(row):
    rows = [
        row("mouthSmile", 0.04, 0.01, p_direction=0.99),
        row("jawOpen", 0.04, 0.01, p_direction=0.96),
        row("browDown", 0.04, 0.01, p_direction=0.94),
        row("tongueOut", 0.04, 0.01, p_direction=0.999, verdict="failed"),
    ]
    flagged, expected = wrong_signs(rows)
    assert flagged == 2
    assert expected == pytest.approx(0.05)


def test_the_answer_counts_every_shape_once(row):
    rows = [
        row("mouthSmile", 0.04, 0.006, p_direction=0.999),
        row("browDown", -0.03, 0.006, p_direction=0.97),
        row("jawOpen", 0.01, 0.01, p_direction=0.84),
        row("cheekPuff", 0.001, 0.01, p_direction=0.54),
        row("noseSneer", 0.001, 0.001, p_direction=0.54, decision="inside"),
        row("tongueOut", 0.04, 0.01, verdict="failed"),
    ]
    assert answer(rows) == (
        "Of 6 facial movements, 2 probably or clearly differed: higher with positive than with negative stimuli of "
        "this set: smile (+0.040); lower with positive than with negative stimuli of this set: brows lowered (−0.030). "
        "For 1 more there are signs of a direction; for 1 we cannot tell; 1 is practically none under the limits used "
        "here; 1 did not pass the checks of the computation."
    )


def test_the_answer_when_nothing_can_be_told(row):
    unsure = [row("mouthSmile", 0.001, 0.01, p_direction=0.6), row("jawOpen", 0.001, 0.01, p_direction=0.55)]
    assert answer(unsure) == (
        "We cannot tell for any of 2 facial movements whether it was higher or lower with positive than with negative "
        "stimuli of this set."
    )
    failed = [row("mouthSmile", 0.04, 0.001, verdict="failed")]
    assert answer(failed) == (
        "We cannot tell: the computation did not pass its checks for any of 1 facial movement."
    )


def test_the_answer_names_the_largest_and_counts_the_rest(row):
    names = ("mouthSmile", "jawOpen", "cheekPuff", "browDown", "noseSneer")
    text = answer([row(name, 0.05 - 0.01 * i, 0.001, p_direction=1.0) for i, name in enumerate(names)])
    assert "smile (+0.050), jaw opened (+0.040), cheeks puffed (+0.030) and 2 more." in text


def test_decisions_come_from_the_study():
    strict = Decisions.from_mapping({"clearly": 0.999, "rope": 0.2})
    assert strict.word(0.995) == "probably"
    assert strict.rope == 0.2
    for bad in (
        {"clear": 0.9},
        {"clearly": "0.9"},
        {"clearly": True},
        {"rope": float("nan")},
        {"signs": 0.99, "probably": 0.9},
    ):
        with pytest.raises(SpecError, match="decisions"):
            Decisions.from_mapping(bad)
