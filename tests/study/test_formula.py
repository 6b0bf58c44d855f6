"""What a formula means: its parts, and the design that formulae makes of the text that it gets."""

import numpy as np
import pandas as pd
import pytest
from formulae import design_matrices
from formulae.environment import Environment

from mien.study.errors import SpecError
from mien.study.formula import ENVIRONMENT, TRANSFORMS, GroupTerm, parse_formula

DATA = pd.DataFrame(
    {
        "y": [0.1, 0.4, 0.2, 0.9, 0.5, 0.3],
        "a": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "b": [0.5, -0.5, 0.5, -0.5, 0.5, -0.5],
        "c": [2.0, 1.0, 4.0, 3.0, 6.0, 5.0],
        "g": ["p", "q", "p", "q", "p", "q"],
    }
)


def design(text):
    """The columns that formulae makes, by label, with nothing else in its reach."""
    matrices = design_matrices(
        parse_formula(text, DATA.columns).formulae, DATA, env=Environment([ENVIRONMENT])
    )
    labels = [label for term in matrices.common.terms.values() for label in term.labels]
    return dict(zip(labels, np.asarray(matrices.common.design_matrix, dtype=float).T, strict=True))


def group_effects(text):
    matrices = design_matrices(
        parse_formula(text, DATA.columns).formulae, DATA, env=Environment([ENVIRONMENT])
    )
    return list(matrices.group.terms)


def test_a_formula_is_taken_apart():
    formula = parse_formula("activation~valence*medium+(valence|participant)+( 1 | stimulus )")
    assert formula.text == "activation ~ valence * medium + (valence | participant) + (1 | stimulus)"
    assert formula.formulae == formula.text
    assert formula.response == "activation"
    assert formula.common == "valence * medium"
    assert formula.groups == (GroupTerm("valence", "participant", True), GroupTerm("1", "stimulus", True))
    assert formula.columns == ("activation", "valence", "medium", "participant", "stimulus")


def test_two_bars_ask_for_uncorrelated_effects():
    formula = parse_formula("y ~ a + (a + b || g)")
    assert formula.groups == (GroupTerm("a + b", "g", False),)
    assert formula.text == "y ~ a + (a + b || g)"
    assert formula.formulae == "y ~ a + (a + b | g)"


@pytest.mark.parametrize(
    ("text", "response", "common"),
    [
        ("y ~ (1 | g)", "y", "1"),
        ("~ a", "", "a"),
        ("a + b", "", "a + b"),
        ("y ~ 0 + a", "y", "0 + a"),
        ("y ~ (1 | g) + a + (0 + a | g) + b", "y", "a + b"),
        ("y ~ 1", "y", "1"),
        ("y ~ bs(a, df=4) + poly(b,2, raw=True)", "y", "bs(a, df=4) + poly(b, 2, raw=True)"),
    ],
)
def test_response_and_common_terms(text, response, common):
    formula = parse_formula(text)
    assert (formula.response, formula.common) == (response, common)


def test_text_is_stable():
    for text in ("y~a*b-a:b+(0+a||g)", "~I(a**2)/b", "y ~ log( a+1 )+(1|g/b)"):
        once = parse_formula(text)
        assert parse_formula(once.text) == once


def test_columns_are_compared_with_the_data():
    assert parse_formula("y ~ log(a)", ["y", "a"]).columns == ("y", "a")
    with pytest.raises(SpecError, match=r"found 'valance' \(did you mean 'valence'\?\)"):
        parse_formula("y ~ valance", ["y", "valence"])
    with pytest.raises(SpecError, match="found 'g'"):
        parse_formula("y ~ a + (1 | g)", ["y", "a"])
    with pytest.raises(SpecError, match="found 'y'"):
        parse_formula("y ~ a", ["a"])


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("y ~ a", ["Intercept", "a"]),
        ("y ~ 1 + a", ["Intercept", "a"]),
        ("y ~ a + 1", ["Intercept", "a"]),
        ("y ~ 0 + a", ["a"]),
        ("y ~ a - 1", ["a"]),
        ("y ~ a + 0", ["a"]),
        ("y ~ -1 + a", ["a"]),
        ("y ~ a * b", ["Intercept", "a", "b", "a:b"]),
        ("y ~ a * b - a:b", ["Intercept", "a", "b"]),
        ("y ~ (a + b + c) ** 2 - b:c", ["Intercept", "a", "b", "c", "a:b", "a:c"]),
        ("y ~ a / b", ["Intercept", "a", "a:b"]),
        ("y ~ (a + b):c", ["Intercept", "a:c", "b:c"]),
        ("a + b", ["Intercept", "a", "b"]),
        ("~ a", ["Intercept", "a"]),
        ("~ 0 + a", ["a"]),
    ],
)
def test_formulae_makes_the_columns_that_were_meant(text, labels):
    assert list(design(text)) == labels


@pytest.mark.parametrize(
    ("text", "effects"),
    [
        ("y ~ a + (a | g)", ["1|g", "a|g"]),
        ("y ~ a + (0 + a | g)", ["a|g"]),
        ("y ~ a + (a - 1 | g)", ["a|g"]),
        ("y ~ a + (1 + a || g)", ["1|g", "a|g"]),
        ("y ~ a + (a + 1 | g)", ["1|g", "a|g"]),
        ("y ~ a - 1 + (1 | g)", ["1|g"]),
    ],
)
def test_formulae_makes_the_group_effects_that_were_meant(text, effects):
    assert group_effects(text) == effects


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log(a)", np.log(DATA["a"])),
        ("exp(b)", np.exp(DATA["b"])),
        ("sqrt(a + c)", np.sqrt(DATA["a"] + DATA["c"])),
        ("I(a ** 2)", DATA["a"] ** 2),
        ("I((-a) ** 2)", DATA["a"] ** 2),
        ("I(-(a ** 2))", -(DATA["a"] ** 2)),
        ("I(2 * a - b / 4)", 2 * DATA["a"] - DATA["b"] / 4),
        ("center(a)", DATA["a"] - 3.5),
        ("scale(a)", (DATA["a"] - 3.5) / DATA["a"].std(ddof=0)),
        ("log(exp(b) + .5)", np.log(np.exp(DATA["b"]) + 0.5)),
        ("I(2 ** b)", None),
    ],
)
def test_transforms_compute_what_they_say(text, expected):
    if expected is None:
        with pytest.raises(SpecError, match="a column, or brackets with one, before"):
            parse_formula(f"y ~ {text}")
        return
    columns = design(f"y ~ {text}")
    np.testing.assert_allclose(list(columns.values())[1], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("y ~ bs(a, 4)", 4),
        ("y ~ bs(a, df=5, degree=2, intercept=True)", 5),
        ("y ~ bs(a, df=4, lower_bound=-2.5, upper_bound=1000)", 4),
        ("y ~ poly(a, 3)", 3),
        ("y ~ poly(a, degree=2, raw=True)", 2),
    ],
)
def test_splines_and_polynomials_have_their_columns(text, columns):
    assert len(design(text)) == 1 + columns


def test_names_of_other_alphabets_are_columns():
    data = DATA.rename(columns={"a": "größe", "b": "時間"})
    formula = parse_formula("y ~ größe * 時間", data.columns)
    matrices = design_matrices(formula.formulae, data, env=Environment([ENVIRONMENT]))
    assert list(matrices.common.terms) == ["Intercept", "größe", "時間", "größe:時間"]


def test_every_transform_is_reachable_and_no_other():
    assert TRANSFORMS == ("scale", "center", "log", "exp", "sqrt", "bs", "poly", "I")
    assert set(ENVIRONMENT) == {"log", "exp", "sqrt"}
    with pytest.raises(TypeError):
        ENVIRONMENT["os"] = print
