import numpy as np
import pandas as pd
import pytest

from mien.models.design import build_design
from mien.study.errors import SpecError
from mien.study.formula import parse_formula

DATA = pd.DataFrame(
    {
        "y": np.arange(12.0),
        "valence": ["negative", "positive", "negative", "positive"] * 3,
        "medium": ["film", "film", "picture", "picture"] * 3,
        "condition": ["a", "b", "c"] * 4,
        "age": np.linspace(20, 42, 12),
        "participant": list("AAAABBBBCCCC"),
        "stimulus": list("wxyz") * 3,
        "session": list("112211221122"),
    }
)


def design(text, data=DATA):
    return build_design(parse_formula(text), data)


def test_names_and_numbers_of_an_interaction():
    found = design("y ~ valence*medium")
    assert found.coefficients == ("Intercept", "valence", "medium", "valence:medium")
    assert found.columns[:4].tolist() == [
        [1, -0.5, 0.5, -0.25],
        [1, 0.5, 0.5, 0.25],
        [1, -0.5, -0.5, 0.25],
        [1, 0.5, -0.5, -0.25],
    ]
    assert found.coding == {"valence": ("negative", "positive"), "medium": ("picture", "film")}


def test_sums_have_the_level_in_their_names():
    found = design("y ~ valence:condition")
    assert found.coefficients == ("Intercept", "valence:condition[a]", "valence:condition[b]")
    assert found.columns[:3, 1].tolist() == [-0.5, 0.0, 0.5]


def test_correlated_and_uncorrelated_blocks():
    both = design(
        "y ~ valence + (valence + medium || participant) + (valence | stimulus)", DATA.assign(y=1.0)
    )
    assert [(block.factor, block.terms) for block in both.blocks] == [
        ("participant", ("1",)),
        ("participant", ("valence",)),
        ("participant", ("medium",)),
        ("stimulus", ("1", "valence")),
    ]
    assert both.blocks[3].columns[:2].tolist() == [[1.0, -0.5], [1.0, 0.5]]
    assert both.blocks[0].codes.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_no_intercept_effects():
    found = design("y ~ 0 + valence + (0 + valence | participant)")
    assert found.coefficients == ("valence",)
    assert found.blocks[0].terms == ("valence",)


def test_nested_groups_have_the_levels_that_occur():
    found = design("y ~ 1 + (1 | participant/session)")
    assert [block.factor for block in found.blocks] == ["participant", "participant:session"]
    assert found.blocks[1].levels == ("A:1", "A:2", "B:1", "B:2", "C:1", "C:2")


def test_transforms_keep_their_names():
    found = design("y ~ center(age) + scale(age):valence + I(age**2) + log(age)")
    assert found.coefficients == ("Intercept", "center(age)", "scale(age):valence", "I(age ** 2)", "log(age)")
    assert found.columns[:, 1] == pytest.approx(DATA["age"] - DATA["age"].mean())
    assert found.columns[:, 4] == pytest.approx(np.log(DATA["age"]))


def test_rows_keep_the_levels():
    part = design("y ~ valence + (1 | participant)").rows(DATA["participant"].to_numpy() == "A")
    assert len(part.columns) == 4
    assert part.blocks[0].levels == ("A", "B", "C")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y ~ valence + (1 | participant) + (1 | participant)", "'1|participant' twice"),
        ("y ~ age + scale(age)", "repeat each other"),
        ("y ~ log(valence)", "inside a transform"),
        ("y ~ log(centered)", "missing or infinite"),
        ("y ~ valence + (1 | task)", "two levels of the group 'task'"),
    ],
)
def test_what_cannot_be_a_design_is_refused(text, words):
    with pytest.raises(SpecError, match="expected") as caught:
        design(text, DATA.assign(task="met", centered=DATA["age"] - 31))
    assert words in str(caught.value)


def test_combinations_with_one_label_are_refused_not_merged():
    data = pd.DataFrame({"a": ["1:1", "1", "2", "2"], "b": ["1", "1:1", "1", "2"], "y": [0.0, 1.0, 2.0, 3.0]})
    with pytest.raises(SpecError, match="two combinations that are both '1:1:1'"):
        build_design(parse_formula("y ~ 1 + (1 | a:b)"), data)
