"""The safe door: no text does anything but name columns, operators, numbers and listed transforms."""

import re
import time
from contextlib import suppress

import pandas as pd
import pytest
from formulae import design_matrices
from formulae.environment import Environment
from formulae.model_description import model_description
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mien.study.errors import SpecError
from mien.study.formula import ENVIRONMENT, TRANSFORMS, parse_formula

ATTACKS = [
    "y ~ pd.io.common.os.system('touch /tmp/x')",
    "y ~ np.load('x.npy')",
    "y ~ os.system(a)",
    "y ~ __import__(a)",
    "y ~ __builtins__",
    "y ~ a.__class__",
    "y ~ a.b",
    "y ~ scale(a).b",
    "y ~ scale(a)(b)",
    "y ~ (scale)(a)",
    "y ~ eval(a)",
    "y ~ open(a)",
    "y ~ getattr(a, b)",
    "y ~ C(a)",
    "y ~ offset(a)",
    "y ~ hsgp(a)",
    "y ~ {a + b}",
    "y ~ a['x']",
    "y ~ a[x]",
    "y ~ `a`",
    "y ~ `os.system`",
    "y ~ 'a'",
    'y ~ "a"',
    "y ~ f'{a}'",
    "y ~ f{a}",
    "y ~ (lambda: a)()",
    "y ~ lambda a: a",
    "y ~ (b := a)",
    "y ~ a if b else c",
    "y ~ a; b",
    "y ~ a\\n",
    "y ~ a @ b",
    "y ~ a % b",
    "y ~ a // b",
    "y ~ a > b",
    "y ~ a == b",
    "y ~ a != b",
    "y ~ ~a",
    "y ~ !a",
    "y ~ a & b",
    "y ~ *a",
    "y ~ **a",
    "y ~ a, b",
    "y ~ a = b",
    "a = b",
    "y ~ scale(a = b)",
    "y ~ scale(a, b)",
    "y ~ scale(a, where=b)",
    "y ~ bs(a, df=b)",
    "y ~ bs(a, knots=b)",
    "y ~ bs(a, df=scale(b))",
    "y ~ bs(a, df=4, df=5)",
    "y ~ bs(a, intercept=1)",
    "y ~ bs(a, intercept=None)",
    "y ~ bs(df=4)",
    "y ~ I()",
    "y ~ I(1)",
    "y ~ I(True)",
    "y ~ True",
    "y ~ None + a",
    "True ~ a",
    "y ~ _a",
    "y ~ ѕcale(a)",
    "y ~ ｓｃａｌｅ(a)",
    "y ~ а·b",
    "y ~ a\u200bb",
    "y ~ a\u202eb",
    "y ~ ²a",
    "y ~ a¼",
    "y ~ ٣",
    "y ~ I(a + ٣)",
    "y ~ a\x00",
]
DROPPED_TAILS = [
    "y ~ 1e5 * a",
    "y ~ a + 2. * b",
    "y ~ a b",
    "y ~ (a) b",
    "y ~ a (b)",
    "y ~ (1 | g) b",
    "y ~ (a)(b)",
    "y ~ I(a) b",
    "y ~ 1 a",
    "y ~ a * * b",
    "y ~ a / / b",
    "y ~ a : : b",
]
NOT_TERMS = [
    "",
    "   ",
    "~",
    "y ~",
    "y ~ a +",
    "y ~ + ",
    "y ~ a ~ b",
    "y ~ (a ~ b)",
    "y + x ~ a",
    "1 ~ a",
    "log(y) ~ a",
    "y ~ ()",
    "y ~ (a",
    "y ~ a)",
    "y ~ a | g",
    "y ~ (a | g",
    "y ~ (| g)",
    "y ~ (a |)",
    "y ~ (a | 1)",
    "y ~ (a | g + h)",
    "y ~ (a | log(g))",
    "y ~ (a | (g))",
    "y ~ (a | b | g)",
    "y ~ ((a | g))",
    "y ~ ((a | g) + b)",
    "y ~ (a | g) * b",
    "y ~ b:(a | g)",
    "y ~ a - (1 | g)",
    "y ~ (1 | g) ** 2",
    "y ~ scale(a | g)",
    "y ~ scale(a ~ b)",
    "y ~ scale(a:b)",
    "y ~ (0 | g)",
    "y ~ -a",
    "y ~ 2",
    "y ~ 2 * a",
    "y ~ a * 2",
    "y ~ a:1",
    "y ~ 0 + 1 + a",
    "y ~ (a + 1) * b",
    "y ~ a ** 2",
    "y ~ (a + b) ** 1",
    "y ~ (a + b) ** a",
    "y ~ (a + b) ** 2.5",
    "y ~ I(-a ** 2)",
    "y ~ I(a ** b ** 2)",
]
TOO_MUCH = [
    "y ~ I(9 ** 9 ** 9 ** 9)",
    "y ~ I(a + 9 ** 999999999)",
    "y ~ I(a ** (9 ** 99999999))",
    "y ~ I(((a ** 2 * (9)) ** 9) + (9 ** 9999999))",
    "y ~ " + " * ".join(f"c{number}" for number in range(30)),
    "y ~ (" + " + ".join(f"c{number}" for number in range(40)) + ") ** 20",
    "y ~ (a + b) ** 99999999999999999999",
    "y ~ bs(a, df=999999999)",
    "y ~ poly(a, 100000)",
    "y ~ I(a + " + "9" * 1000 + ")",
    "y ~ " + "a + " * 10_000 + "a",
    "y ~ " + "(" * 900 + "a" + ")" * 900,
    "y ~ " + "(" * 13 + "a" + ")" * 13,
    "y ~ " + "log(" * 300 + "a" + ")" * 300,
    "y ~ I(" + "-" * 1500 + "a)",
    "y ~ " + "-" * 1500 + "1",
    "y ~ " + "+".join("a" for _ in range(900)),
    "y ~ " + ":".join("ab"[number % 2] for number in range(900)),
    "y" * 3000,
]


@pytest.mark.parametrize(
    "text", [*ATTACKS, *DROPPED_TAILS, *NOT_TERMS, *TOO_MUCH], ids=lambda text: repr(text[:40])
)
def test_what_is_no_formula_is_refused_at_once(text):
    begin = time.perf_counter()
    with pytest.raises(SpecError, match="expected") as caught:
        parse_formula(text)
    assert time.perf_counter() - begin < 1
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("a+" * 400 + "a", "at most 300 names, numbers and operators, found 801"),
        ("(" * 13 + "a" + ")" * 13, "at most 12 brackets within each other"),
        ("y" * 2001, "at most 2000 characters, found 2001"),
        ("*".join(f"c{number}" for number in range(10)), "at most 500 terms"),
        ("bs(a, 51)", "a whole number from 1 to 50, found '51'"),
    ],
)
def test_the_limit_is_told(text, limit):
    with pytest.raises(SpecError, match=limit):
        parse_formula(text)


@pytest.mark.parametrize("text", [None, 3, b"y ~ a", ["y ~ a"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(SpecError, match="expected text"):
        parse_formula(text)


def test_the_place_is_named():
    with pytest.raises(SpecError, match=r"character 10: expected .*, found '\.'"):
        parse_formula("y ~ a + b.c")
    with pytest.raises(
        SpecError, match=r"character 5: expected one of the transforms .* \(did you mean 'scale'\?\)"
    ):
        parse_formula("y ~ scal(a)")


@pytest.mark.parametrize(
    "text",
    [
        "y ~ " + " + ".join(f"c{number}" for number in range(140)),
        "y ~ " + "(" * 12 + "a" + ")" * 12,
        "y ~ " + "log(" * 12 + "a" + ")" * 12,
        "y ~ (" + " + ".join(f"c{number}" for number in range(9)) + ") ** 4",
    ],
    ids=["long", "deep", "nested", "many"],
)
def test_formulae_can_take_the_largest_that_passes(text):
    formula = parse_formula(text)
    assert len(model_description(formula.formulae).var_names) == len(formula.columns)


OPERANDS = [
    "a", "b", "größe", "0", "1", "2", "2.5", "1e5", "True", "__import__", "(a + b | g)", "(1 || g)", "(0 + a | g/b)",
    "(a + b)", "(a * größe)", "(a:b - a)", "log(a)", "bs(a, 4)", "I(a ** 2)", "poly(b, degree=2)", "C(a)", "((a))",
]  # fmt: skip
OPERATORS = [" + ", " + ", " + ", " * ", ":", " / ", " - ", "**", " ", "|", " ~ ", ", ", "=", "."]
MARKS = [*OPERATORS, *TRANSFORMS, "||", "(", ")", "'", "`", "[", "]", "{", "df="]
chains = st.lists(
    st.tuples(st.sampled_from(OPERATORS[:7]), st.sampled_from(OPERANDS)), min_size=1, max_size=5
)
sensible = chains.map(lambda parts: "y ~ " + "".join(map("".join, parts)).lstrip(" +*/:"))
odd = st.lists(st.sampled_from([*OPERANDS, *MARKS]), max_size=12).map("".join)
spoilt = st.tuples(sensible, st.integers(0, 40), st.sampled_from(MARKS)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)
ALLOWED = re.compile(r"[^\W\d_]\w*|[0-9.]+|\*\*|\|\||[-~+*/:|(),=]|\s")


@settings(max_examples=300, deadline=None)
@given(sensible | odd | spoilt | st.text(max_size=30))
@example("y ~ (a + bs(b, 4)) * (a + g)")
def test_any_text_gives_a_formula_or_a_spec_error(text):
    with suppress(SpecError):
        formula = parse_formula(text)
        assert ALLOWED.sub("", formula.formulae) == ""
        assert all(name.isidentifier() and not name.startswith("_") for name in formula.columns)
        called = re.findall(r"(\w+)\(", formula.formulae)
        assert set(called) <= set(TRANSFORMS)
        assert parse_formula(formula.text) == formula
        found = {str(name) for name in model_description(formula.formulae).var_names} - {""}
        assert found <= set(formula.columns)
        if "-" not in text:
            assert found == set(formula.columns), "formulae drops nothing"


class Spy(dict):
    """An environment that tells what was looked up."""

    def __init__(self):
        super().__init__(ENVIRONMENT)
        self.asked = set()

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)


terms = st.recursive(
    st.sampled_from(["a", "b", "log(a)", "bs(b, 4)", "I(a * b)", "scale(a)", "exp(log(a) + 1)"]),
    lambda inner: st.tuples(inner, st.sampled_from([" + ", " * ", ":", " / ", " - "]), inner).map(
        lambda parts: f"({parts[0]}{parts[1]}{parts[2]})"
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(terms, st.sampled_from(["", " + (1 | g)", " + (a || g)", " - 1", " + 0 + (0 + b | g)"]))
def test_evaluation_reaches_nothing_but_the_transforms(term, group):
    data = pd.DataFrame(
        {"y": range(8), "a": [1.5, 2, 3, 4, 5, 6, 7, 9], "b": range(1, 9), "g": list("ppqqrrss")}
    )
    with suppress(SpecError):
        formula = parse_formula(f"y ~ {term}{group}", data.columns)
        spy = Spy()
        matrices = design_matrices(formula.formulae, data.astype({"b": float}), env=Environment([spy]))
        assert spy.asked <= {"log", "exp", "sqrt"}
        assert (matrices.group is not None) == bool(formula.groups)
