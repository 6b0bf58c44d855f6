import numpy as np
import pandas as pd
import pytest

from mien.models.coding import code_columns, levels_of, with_coded_columns
from mien.study.errors import SpecError


def columns(name, values, **kwargs):
    data = pd.DataFrame({name: pd.Series(values, **kwargs)})
    return {new: column.tolist() for new, column in code_columns(data, [name])[name].columns.items()}


def test_two_levels_of_valence_keep_their_order_whatever_the_alphabet():
    assert columns("valence", ["positive", "negative"]) == {"valence": [0.5, -0.5]}
    assert columns("medium", ["film", "picture"]) == {"medium": [0.5, -0.5]}


def test_three_levels_of_valence():
    found = columns("valence", ["negative", "neutral", "positive"])
    assert found["valence"] == [-0.5, 0.0, 0.5]
    assert found["neutral"] == [-1 / 3, 2 / 3, -1 / 3]


def test_coefficients_of_three_levels_are_the_differences_that_they_are_said_to_be():
    means = np.array([1.0, 5.0, 4.0])  # negative, neutral, positive
    coded = columns("valence", ["negative", "neutral", "positive"])
    beta = np.linalg.solve(np.column_stack([np.ones(3), coded["valence"], coded["neutral"]]), means)
    assert beta == pytest.approx([10 / 3, 3.0, 2.5])  # mean of levels, 4 − 1, 5 − (1 + 4) / 2


def test_other_categories_are_coded_by_sums():
    found = columns("condition", ["b", "a", "c", "b"])
    assert found == {"condition[a]": [0.0, 1.0, -1.0, 0.0], "condition[b]": [1.0, 0.0, -1.0, 1.0]}


def test_unused_levels_are_dropped_first():
    values = pd.Categorical(["negative", "positive"], ["negative", "neutral", "positive"], ordered=True)
    assert columns("valence", values) == {"valence": [-0.5, 0.5]}


def test_categories_keep_the_order_of_their_type_and_text_the_alphabet():
    ordered = pd.Categorical(["late", "early"], ["late", "early"])
    assert columns("session", ordered) == {"session": [-0.5, 0.5]}
    assert levels_of(pd.Series(["b", "a"]), "condition") == ["a", "b"]
    assert columns("answer", [True, False]) == {"answer": [0.5, -0.5]}


def test_a_number_stays_a_number():
    assert code_columns(pd.DataFrame({"age": [1.0, 2.0]}), ["age"]) == {}


def test_one_level_is_refused():
    with pytest.raises(SpecError, match="two levels of 'group'"):
        columns("group", ["patient", "patient"])


def test_a_category_in_the_formula_becomes_its_columns():
    data = pd.DataFrame(
        {"valence": ["negative", "neutral", "positive"], "medium": ["film", "picture", "film"]}
    )
    coded = code_columns(data, ["valence", "medium"])
    safe = {"valence": "valence", "neutral": "neutral", "medium": "medium"}
    assert with_coded_columns("valence*medium", coded, safe) == "(valence + neutral)*medium"
    with pytest.raises(SpecError, match="inside a transform"):
        with_coded_columns("scale(valence)", coded, safe)
