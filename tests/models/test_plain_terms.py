"""Terms multiplied here are those of formulae: same order, names and numbers."""

import itertools

import numpy as np
import pandas as pd
import pytest
from formulae import design_matrices

from mien.models.plain_terms import plain_terms

RNG = np.random.default_rng(0)
DATA = pd.DataFrame({name: RNG.normal(size=7) for name in ("a", "b", "c", "d_0", "d_1")})
COLUMNS = {"a": ("a",), "b": ("b",), "c": ("c",), "d": ("d_0", "d_1")}
PRODUCTS = (
    "a",
    "b",
    "d",
    "a:b",
    "b:a",
    "a*b",
    "b*d",
    "d*b",
    "d:c",
    "a:b:c",
    "a*b*c",
    "a*b:c",
    "a:b*c",
    "c*d:a",
)


def by_formulae(text):
    found = design_matrices(text.replace("d", "(d_0 + d_1)"), DATA).common
    labels = [label for term in found.terms.values() for label in term.labels]
    return labels, np.asarray(found.design_matrix)


def checked(text):
    """Whether the text was read here; where it was, formulae must agree."""
    terms = plain_terms(text, COLUMNS)
    if terms is None:
        return False
    labels, matrix = by_formulae(text)
    assert [":".join(term) or "Intercept" for term in terms] == labels, text
    mine = np.ones((len(DATA), len(terms)))
    for place, term in enumerate(terms):
        for name in term:
            mine[:, place] *= DATA[name]
    assert np.array_equal(mine, matrix), text
    return True


@pytest.mark.parametrize("constant", ["", "1 + ", "0 + "])
def test_sums_of_products_are_those_of_formulae(constant):
    texts = [*PRODUCTS, *(" + ".join(pair) for pair in itertools.permutations(PRODUCTS, 2))]
    read = [checked(constant + text) for text in texts]
    assert np.mean(read) > 0.5
    assert all(read[: len(PRODUCTS)])


@pytest.mark.parametrize(
    "text", ["log(a)", "a - 1", "a/b", "(a + b):c", "a + a", "a:a", "b:a + a:b", "a + 0", "e"]
)
def test_what_needs_formulae_is_left_to_it(text):
    assert plain_terms(text, COLUMNS) is None


def test_an_intercept_alone_and_nothing():
    assert plain_terms("1", COLUMNS) == [()]
    assert plain_terms("0", COLUMNS) == []
