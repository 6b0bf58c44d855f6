"""Hypotheses as sums of coefficients."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.study.errors import SpecError
from mien.study.linear_combination import parse_linear_combination

NAMES = [
    "Intercept",
    "valence",
    "valence:medium",
    "medium",
    "stimulus[a - b]",
    "scale(age)",
    "1|participant",
    "x2",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valence", {"valence": 1.0}),
        ("valence + valence:medium / 2", {"valence": 1.0, "valence:medium": 0.5}),
        ("valence - medium", {"valence": 1.0, "medium": -1.0}),
        ("-valence", {"valence": -1.0}),
        ("--valence", {"valence": 1.0}),
        ("2 * (valence - 0.5 * medium)", {"valence": 2.0, "medium": -1.0}),
        ("(valence + medium) * 3 / 2", {"valence": 1.5, "medium": 1.5}),
        ("valence + 1 - 1", {"valence": 1.0}),
        ("valence + valence", {"valence": 2.0}),
        ("stimulus[a - b] - valence", {"stimulus[a - b]": 1.0, "valence": -1.0}),
        ("scale(age)*2", {"scale(age)": 2.0}),
        ("1|participant + 1 * valence", {"1|participant": 1.0, "valence": 1.0}),
        ("x2", {"x2": 1.0}),
        ("1e-3*valence", {"valence": 1e-3}),
        ("  valence\n+ .5 * medium ", {"valence": 1.0, "medium": 0.5}),
        ("valence - medium + medium", {"valence": 1.0, "medium": 0.0}),
    ],
)
def test_weights(text, expected):
    assert parse_linear_combination(text, NAMES) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected text"),
        ("  ", "expected text"),
        (None, "expected text"),
        ("1", "found the constant 1"),
        ("valence + 1", "found the constant 1"),
        ("valance", r"found 'valance' \(did you mean 'valence'\?\); the coefficients are"),
        ("valence:medum", r"found 'valence:medum' \(did you mean 'valence:medium'\?\)"),
        ("valence2", "found 'valence2'"),
        ("valence * medium", "found a product of two coefficients"),
        ("valence * valence", "found a product of two coefficients"),
        ("1 / valence", "expected a number other than 0 after '/'"),
        ("valence / 0", "expected a number other than 0 after '/'"),
        ("valence / (1 - 1)", "expected a number other than 0 after '/'"),
        ("valence - valence", "found none that is left"),
        ("0 * valence", "found none that is left"),
        ("2 valence", "expected an operator or the end, found 'valence'"),
        ("valence medium", "expected an operator or the end, found 'medium'"),
        ("(valence", r"expected '\)', found 'the end'"),
        ("valence)", "expected an operator or the end"),
        ("valence +", "expected a coefficient, a number or '\\(', found 'the end'"),
        ("valence ** 2", "expected a coefficient"),
        ("valence > 0", "expected an operator or the end, found '>'"),
        ("valence.real", "found 'valence.real'"),
        ("valence()", "found 'valence'"),
        ("__import__('os')", "found '__import__'"),
        ("1e999 * valence", "a number that is too large"),
        ("valence / 1e-320", "a number that is too large"),
        ("1e999 * valence - 1e999 * valence", "a number that is too large"),
        ("(" * 60 + "valence" + ")" * 60, "at most 50 nested brackets"),
        ("-" * 1000 + "valence", "at most 50 nested brackets or signs"),
        ("valence" + " + valence" * 1000, "at most 2000 characters"),
    ],
)
def test_what_is_no_sum_of_coefficients_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        parse_linear_combination(text, NAMES)


def test_the_longest_name_that_fits_is_meant():
    assert parse_linear_combination("smile - frown", ["smile", "frown", "smile - frown"]) == {
        "smile - frown": 1.0
    }
    assert parse_linear_combination("smile  - frown", ["smile", "frown", "smile - frown"]) == {
        "smile": 1.0,
        "frown": -1.0,
    }


def test_many_coefficients_are_not_all_listed():
    with pytest.raises(SpecError) as caught:
        parse_linear_combination("nothing", [f"name{number:04}" for number in range(5000)])
    assert len(str(caught.value)) < 500


numbers = st.integers(1, 9).map(str) | st.sampled_from(["0.5", ".25", "1.5e1"])
values = {"valence": 3.0, "medium": -7.0, "x2": 0.5}


def combined(parts):
    """(text, its value with the coefficients at `values`) of two of them."""
    (one, first), operator, (other, second) = parts
    value = first + second if operator == "+" else first - second
    return f"({one} {operator} {other})", value


sums = st.recursive(
    st.sampled_from(sorted(values.items())),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-"), inner).map(combined),
        st.tuples(inner, numbers).map(
            lambda parts: (f"{parts[1]} * {parts[0][0]}", float(parts[1]) * parts[0][1])
        ),
        st.tuples(inner, numbers).map(
            lambda parts: (f"{parts[0][0]} / {parts[1]}", parts[0][1] / float(parts[1]))
        ),
        inner.map(lambda part: (f"-{part[0]}", -part[1])),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(sums)
def test_weights_give_the_value_of_the_expression(expression):
    text, value = expression
    try:
        weights = parse_linear_combination(text, [*values, "valence:medium"])
    except SpecError as reason:
        if "none that is left" in str(reason):
            return
        raise
    assert sum(weight * values[name] for name, weight in weights.items()) == pytest.approx(value, abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.text("valencemdiu:x2+-*/(). 01eE[]|", max_size=30) | st.text(max_size=20))
def test_any_text_gives_weights_or_a_spec_error(text):
    try:
        weights = parse_linear_combination(text, NAMES)
    except SpecError:
        return
    assert set(weights) <= set(NAMES)
