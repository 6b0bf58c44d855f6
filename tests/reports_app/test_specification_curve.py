"""The specification curve: what it draws, in which order."""

from typing import NamedTuple

import pandas as pd
import pytest

from mien.reports_app.figures.specification_curve import curve_rows, curve_svg, specification_curve
from mien.reports_app.wording import multiverse_sentences


class Choice(NamedTuple):
    key: str
    labels: tuple[str, ...]


CHOICES = (Choice("recipe.sides", ("mean", "both")), Choice("model.priors_scale", ("1", "2")))


@pytest.fixture
def table():
    """Four analyses; the second choice moves the answer, the first hardly; one analysis failed."""
    means = [0.010, 0.002, 0.011, 0.003, 0.5]
    return pd.DataFrame({
        "recipe.sides": ["mean", "mean", "both", "both", "both"], "model.priors_scale": ["1", "2", "1", "2", "2"],
        "mean": means, "eti_lower": [mean - 0.004 for mean in means], "eti_upper": [mean + 0.004 for mean in means],
        "reference": [True, False, False, False, False], "failure": ["", "", "", "", "no rows"], "effect": "valence",
    })  # fmt: skip


def test_analyses_are_sorted_and_failed_ones_left_out(table):
    rows = curve_rows(table, CHOICES)
    assert rows.analyses["value"].tolist() == [0.002, 0.003, 0.010, 0.011]
    assert rows.analyses["place"].tolist() == [1, 2, 3, 4]
    assert rows.analyses["kind"].tolist() == ["unsure", "unsure", "positive", "positive"]
    assert rows.analyses.loc[rows.analyses["reference"], "place"].tolist() == [3]


def test_the_choice_that_moves_the_answer_stands_on_top_and_its_ticks_gather(table):
    rows = curve_rows(table, CHOICES)
    assert rows.levels["choice"].tolist() == ["prior width ×", "", "left and right", ""]
    at = rows.ticks[rows.ticks["row"] == "model.priors_scale\x1f2"]["place"].tolist()
    assert at == [1, 2]


def test_the_figure_names_the_planned_analysis(table):
    svg = curve_svg(table, CHOICES, "mean", "mouthSmile")
    assert "as planned" in svg
    assert "Smile (mouthSmile): positive − negative stimuli" in svg
    assert len(specification_curve(table, (), "mean").to_dict()["vconcat"]) == 1


def test_a_multiverse_in_words():
    outcome = {
        "outcome": "mouthSmile", "cells": 384, "failed": 2, "least": 0.0102, "largest": 0.0145, "reference": 0.0115,
        "spread": 0.001, "same_sign": 1.0, "excludes_0": 0.97, "inside_rope": 0.0,
        "choices": [
            {"choice": "recipe.window", "range": 0.0021, "share": 0.72}, {"choice": "x", "range": None, "share": None},
        ],
    }  # fmt: skip
    first, second, third = multiverse_sentences(outcome)
    assert "384 analyses (2 could not be fitted), estimates from +0.0102 to +0.0145" in first
    assert "in 97% the interval excludes 0" in second
    assert "recipe.window: it shifts the estimate by 0.0021 and explains 72%" in third
