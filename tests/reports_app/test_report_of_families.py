"""A report of several families: what is told, what is folded, where courses, notes and the paper's table stand."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from mien.reports_app import documents
from mien.reports_app.course_parts import CoursePart, has_course
from mien.reports_app.documents import study_report


def section(html, heading):
    """The text of the section with this heading."""
    found = [part for part in re.findall(r"<section.*?</section>", html, re.DOTALL) if heading in part]
    assert len(found) == 1, heading
    return found[0]


@pytest.fixture(scope="module")
def families(effects, fit):
    """Tables and fits of valence, task, a trait with age, and a course."""

    def named(*names):
        return pd.concat([effects.assign(effect=name) for name in names], ignore_index=True)

    course = fit.copy()
    course.attrs = fit.attrs | {"smooths": json.dumps({"time": {}})}
    noted = fit.copy()
    noted.attrs = fit.attrs | {"design_check": json.dumps({"notes": ["Films last longer."]})}
    pooled = {
        "pooled_mean": 0.03,
        "pooled_eti_lower": 0.01,
        "pooled_eti_upper": 0.05,
        "pooled_p_direction": 0.97,
    }
    tables = {
        "time": named("valence", "time", "valence:time"),
        "traits-empathy": named("valence", "empathy_z", "valence:empathy_z", "age_z", "valence:age_z"),
        "task": named("valence", "medium", "valence:medium"),
        "valence": effects.assign(**pooled),
    }
    return tables, {"time": course, "traits-empathy": fit, "task": noted, "valence": fit}


@pytest.fixture(scope="module")
def html(families, prep, quality, participants, stimuli):
    tables, fits = families
    part = CoursePart("time", ["Smile differed most."], Markup("<svg></svg>"), 34, 6, pd.DataFrame({"a": ["1"]}),
                      pd.DataFrame({"b": ["2"]}), "It fades.", False)  # fmt: skip
    lost = pd.DataFrame(
        [{"effect": "valence", "blend_shape": "jawOpen", "lost": 3, "kept": 97, "at_most_sd": 0.2}]
    )
    paper = pd.DataFrame([{
        "says": "positive stimuli raise smiles", "blend_shape": "mouthSmile", "truth": 0.015, "truth_mc_se": 0.001,
        "mean": 0.012, "eti_lower": 0.006, "eti_upper": 0.017, "p_direction": 0.999, "beta_std": 0.17,
        "classical": np.nan, "classical_lower": np.nan, "classical_upper": np.nan,
    }])  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "course_part", lambda *_: part)
        return study_report(
            "Many", effects=tables, fits=fits, prep=prep, quality=quality, participants=participants, stimuli=stimuli,
            lost=lost, paper=paper,
        )  # fmt: skip


def test_the_questions_come_first_in_the_order_of_the_families(html):
    titles = re.findall(r"<h2 id=\"effect-\d+\">(.*?)</h2>", html)
    assert [title.removeprefix("Where the face differed: ") for title in titles] == [
        "positive − negative stimuli",
        "(positive − negative) in films − in pictures",
        "films − pictures",
        "(positive − negative) for each sd of empathy",
    ]


def test_what_was_adjusted_for_is_folded_and_straight_parts_of_a_course_are_not_shown(html):
    folded = section(html, "Further effects of the models")
    assert (
        folded.count("<details>") == 5
    )  # valence in task; valence, empathy_z, age_z, valence:age_z in traits
    assert "(positive − negative) for each sd of age" in folded
    assert "valence:time" not in html


def test_courses_have_a_section_that_says_when_habituation_is_not_identified(html):
    course = section(html, "How the answer unfolds")
    assert "Smile differed most." in course
    assert "the 6 of 34 shapes" in course
    assert "Habituation is not identified" in course


def test_pooled_effects_notes_lost_trials_and_findings_have_their_places(html):
    assert "pooled over shapes" in section(html, 'id="effect-1"')
    assert "pooled over shapes" not in section(html, 'id="effect-2"')
    assert "Films last longer." in section(html, "What the design allows")
    assert "up to 3 of 100 trials" in section(html, "What was left out")
    assert "+0.0150 ± 0.0010" in section(html, "The paper’s findings")


def test_only_a_smooth_of_time_makes_a_course(families, fit):
    assert has_course(families[1]["time"])
    assert not has_course(fit)
