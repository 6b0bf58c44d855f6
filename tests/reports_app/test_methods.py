import json

import pytest

from mien.reports_app import methods
from mien.study.trials import VALENCES


def test_the_paragraph_says_what_was_run(fit):
    text = " ".join(methods.methods_sentences("valence", fit))
    for part in (
        "34 outcomes", "normal likelihood", "activation ~ valence + (valence | participant) + (1 | stimulus)",
        "32 participants, 40 stimuli", "valence: negative −½, positive +½", "4 chains of 250 draws, seed 0",
        "valence ~ Normal(0, 0.1 to 0.43) [scaled once to the data’s standard deviations by a stated rule]",
        "corr:participant ~ LKJ(2) [common convention]", "pymc 6.4.0", "data aaaaaaaaaaaa…", "were passed",
        "520,000 rows, 31,200 excluded, 488,800 complete",
    ):  # fmt: skip
        assert part in text


def test_priors_of_one_outcome_and_of_many():
    one = {"valence": {"family": "Normal", "mean": 0.0, "sd": 0.5, "source": "user"}}
    assert methods.priors_text(one) == "valence ~ Normal(0, 0.5) [set by the user]"
    assert methods.priors_text({"a": one, "b": one}) == methods.priors_text(one)
    rule = {"valence": {"family": "Normal", "mean": 0.0, "sd": 0.02, "source": "rule"}}
    rule["sigma"] = {"family": "HalfStudentT", "df": 4.0, "scale": 0.1, "source": "convention"}
    rule["Intercept"] = {"family": "Flat", "source": "rule"}
    assert methods.priors_text(rule) == (
        "valence ~ Normal(0, 0.02), Intercept ~ Flat() [scaled once to the data’s standard deviations by a stated "
        "rule]; sigma ~ HalfStudentT(4, 0.1) [common convention]"
    )
    assert methods.priors_text({}) == ""
    assert methods.priors_text("unreadable") == ""


def test_a_fit_that_says_little_still_has_a_paragraph(fit):
    bare = fit.copy()
    bare.attrs = {"priors": "{not json"}
    assert "Engine “–”" in " ".join(methods.methods_sentences("valence", bare))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, "−1 to 0 s from stimulus onset"),
        (
            {"baseline": {"film": [-2.0, 0.0], "picture": [-1.0, 0.0]}},
            "film −2 to 0 s from stimulus onset, picture −1 to",
        ),
        ({"baseline_correction": "none"}, "not corrected"),
        ({"baseline_correction": "neutral"}, "the eyelids are left as recorded"),
    ],
)
def test_the_baseline_is_stated(recipe, words):
    assert words in methods.baseline_statement(recipe)


def test_unaligned_clocks_are_a_warning():
    assert "not aligned" in methods.clock_statement("assume_aligned")
    assert "not aligned" not in methods.clock_statement("aligned")


def test_the_coding_is_told_in_words(fit):
    odd = fit.copy()
    odd.attrs = {
        **fit.attrs,
        "coding": json.dumps(
            {"group": ["control", "patient"], "site": ["a", "b", "c"], "valence": list(VALENCES)}
        ),
    }
    text = " ".join(methods.methods_sentences("x", odd))
    assert "group: control −½, patient +½" in text
    assert "site: deviations from the mean of a, b, c" in text
    assert "valence: positive − negative, and neutral − the mean of both" in text


def test_what_was_not_fitted_is_said(fit):
    odd = fit.copy()
    odd.attrs = {**fit.attrs, "left_out": json.dumps({"tongueOut": "never moved"})}
    assert "Not fitted: tongueOut (never moved)." in " ".join(methods.methods_sentences("x", odd))


def test_a_weighted_fit_is_told_by_its_weights(fit, weighted_fit):
    told = methods.engine_sentence(weighted_fit)
    assert "4 runs of importance sampling" in told
    assert (
        "the checks of the computation (Pareto k at most 0.32, effective sample sizes of at least 812, |z| between "
        "runs at most 2.9, 1 outcome sampled by NUTS instead) were passed."
    ) in told
    assert "R-hat" not in told
    assert "(" not in methods.engine_sentence(fit).split("the checks")[1]


def test_the_checks_are_those_of_each_way_of_drawing(fit, weighted_fit):
    assert methods.checks_statement({"a": fit}).startswith("R-hat at most 1.01")
    assert methods.checks_statement({"a": fit, "b": fit}).endswith("no divergences, in every fit")
    assert "R-hat" not in methods.checks_statement({"a": weighted_fit})
    both = methods.checks_statement({"a": fit, "b": weighted_fit})
    assert both.startswith("R-hat")
    assert "no divergences (a); Pareto k of the importance weights" in both
    assert both.endswith("standard errors (b)")
