"""From a study's columns to models: what `mien fit` makes of its options."""

import json

import numpy as np
import pandas as pd
import pytest

from mien.study.errors import SpecError
from mien.study.folder import Study
from mien.study.tables import write_table
from mien.study.trials import MEDIA, VALENCES
from mien.workflow.family_plans import FamilyChoice, plan_fits

PEOPLE = pd.DataFrame(
    {
        "participant_id": ["sub-01", "sub-02", "sub-03"],
        "age": [20, 30, 40],
        "sex": ["F", "M", "F"],
        "group": ["control"] * 3,
        "empathy": [20.0, 25.0, 31.0],
        "anxiety": [1.0, 2.0, 5.0],
        "hand": ["l", "r", "r"],
    }
)
STIMULI = pd.DataFrame(
    {
        "stimulus_id": ["a", "b", "c", "d"],
        "valence": ["negative", "positive", "negative", "positive"],
        "medium": ["picture", "picture", "film", "film"],
        "duration": [1.0, 1.0, 2.0, 2.0],
        "arousal": [3.0, 4.0, 5.0, 6.5],
    }
)


@pytest.fixture
def study(tmp_path):
    made = Study.create(tmp_path / "study")
    write_table(PEOPLE, made.path / "participants.tsv")
    write_table(STIMULI, made.path / "stimuli" / "stimuli.tsv")
    return made


def make_trials(repeats=1):
    rng = np.random.default_rng(0)
    bins = [
        (person, stimulus, number, presentation)
        for person in ("01", "02", "03")
        for presentation in range(repeats)
        for stimulus in "abcd"
        for number in range(1, 3 if stimulus in "ab" else 5)
    ]
    table = pd.DataFrame(bins, columns=["participant", "stimulus", "bin", "presentation"])
    about = STIMULI.set_index("stimulus_id")
    for name, levels in (("valence", VALENCES), ("medium", MEDIA)):
        table[name] = pd.Categorical(about[name].reindex(table["stimulus"]).to_numpy(), levels, ordered=True)
    table["trial"] = (
        table.pop("presentation") * 4 + table["stimulus"].map({s: n for n, s in enumerate("abcd")}) + 1
    )
    table["time"] = ((table["bin"] - 0.5) * 0.5).astype(np.float32)
    for name in ("session", "task", "run"):
        table[name] = "1"
    table["blend_shape"] = "mouthSmile"
    table["rating_warm"] = rng.integers(0, 9, len(table)).astype(float)
    table["question"] = np.where(table["trial"] % 2 == 0, "see", "feel")
    for name in ("activation", "raw", "baseline", "peak"):
        table[name] = rng.normal(0.1, 0.02, len(table)).astype(np.float32)
    table["n_frames"], table["valid"], table["excluded"], table["tracker"] = 30, 1.0, "", "arkit"
    for name in ("participant", "session", "task", "run", "stimulus", "blend_shape", "tracker"):
        table[name] = table[name].astype("category")
    table.attrs["recipe_sha256"] = "ab"
    return table


def plan(study, model, repeats=1, **choice):
    return plan_fits(study, make_trials(repeats), model, FamilyChoice(**choice))


def test_all_is_every_family_that_the_study_allows(study):
    plans = plan(study, "all")
    assert [one.spec.name for one in plans] == [
        "valence", "time", "task", "task-whole", "traits-empathy", "traits-anxiety",
    ]  # fmt: skip
    of_trait = plans[4].spec.formula
    assert "valence:empathy_z + age_z + valence:age_z + sex + valence:sex" in of_trait
    assert "group" not in of_trait  # one level only
    assert "participant:stimulus" not in of_trait


def test_the_task_is_fitted_over_equal_first_seconds_and_whole(study):
    first, whole = plan(study, "task")
    assert (first.spec.name, whole.spec.name) == ("task", "task-whole")
    assert first.trials.groupby("medium", observed=True)["bin"].max().to_dict() == {"picture": 2, "film": 2}
    assert whole.trials["bin"].max() == 4
    assert "equal first seconds" in first.spec.answers
    assert first.trials.attrs["recipe_sha256"] == "ab"


def test_time_is_fitted_over_equal_first_seconds_and_asks_the_design_check(study):
    (only,) = plan(study, "time")
    assert only.trials["bin"].max() == 2
    assert "center(trial)" not in only.spec.formula  # everybody had one order
    trials = make_trials()
    trials["trial"] = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]])[
        trials["participant"].cat.codes, trials["trial"] - 1
    ]
    (free,) = plan_fits(study, trials, "time", FamilyChoice())
    assert "valence:center(trial)" in free.spec.formula
    with pytest.raises(SpecError, match="expected no ratings"):
        plan(study, "time", ratings=("rating_warm",))


def test_options_go_to_the_columns_they_belong_to(study):
    (only,) = plan(
        study, "valence", repeats=2, group=("sex",), covariates=("age", "hand"), norms=("arousal",),
        conditions=("question",), session=False, baseline="covariate",
    )  # fmt: skip
    for part in (
        "valence * question",
        "valence:sex",
        "valence:age_z",
        "valence:hand",
        "arousal_z",
        "baseline_within",
    ):
        assert part in only.spec.formula
    assert "(1 | participant:stimulus)" in only.spec.formula  # seen twice
    wanted = (
        STIMULI.set_index("stimulus_id")["arousal"].reindex(only.trials["stimulus"].astype(str)).to_numpy()
    )
    np.testing.assert_array_equal(only.trials["arousal"], wanted)


def test_traits_one_by_one_or_together(study):
    names = [one.spec.name for one in plan(study, "traits", traits=("empathy", "anxiety"))]
    assert names == ["traits-empathy", "traits-anxiety"]
    (both,) = plan(study, "traits", traits=("empathy", "anxiety"), together=True, covariates=("none",))
    assert both.spec.name == "traits-empathy-anxiety"
    assert both.spec.formula.startswith(
        "activation ~ valence + empathy_z + valence:empathy_z + anxiety_z + valence:anxiety_z + (valence | participant)"
    )
    (of_age,) = plan(study, "traits", traits=("age",))
    assert of_age.spec.formula.count("age_z +") == 2  # itself, not its own covariate
    (rated,) = plan(study, "traits", ratings=("rating_warm",))
    assert "valence:rating_warm_within" in rated.spec.formula


@pytest.mark.parametrize(
    ("model", "choice", "words"),
    [
        ("tasks", {}, "did you mean 'task'"),
        ("traits", {}, "numbers in participants.tsv: empathy, anxiety, age"),
        ("traits", {"traits": ("empaty",)}, "did you mean 'empathy'"),
        ("traits", {"traits": ("hand",)}, "--group"),
        ("valence", {"norms": ("arousl",)}, "a column of stimuli.tsv"),
        ("valence", {"conditions": ("valence",)}, "a column of the events"),
        ("valence", {"ratings": ("rating_arm",)}, "did you mean 'rating_warm'"),
        ("valence", {"baseline": "none"}, "one of change, covariate"),
    ],
)
def test_columns_that_are_not_there(study, model, choice, words):
    with pytest.raises(SpecError, match="expected") as caught:
        plan(study, model, **choice)
    assert words in str(caught.value)


def test_a_study_of_pictures_alone_has_no_task(study):
    trials = make_trials()
    pictures = trials[trials["medium"] == "picture"].reset_index(drop=True)
    names = [one.spec.name for one in plan_fits(study, pictures, "all", FamilyChoice())]
    assert names == ["valence", "time", "traits-empathy", "traits-anxiety"]


def test_notes_say_who_is_left_out():
    from mien.workflow.fitting import _notes

    attrs = {
        "counts": json.dumps({"rows": 100, "missing": 8}),
        "derived": json.dumps(
            {"empathy_z": {"from": "empathy", "participants": 10, "participants_missing": 1}}
        ),
        "design_check": json.dumps({"notes": ["Few."]}),
    }
    assert _notes(attrs) == (
        "empathy is missing for 1 of 10 persons, who are left out.",
        "8 of 100 rows lack a value that the model uses, and are left out.",
        "Few.",
    )
    assert _notes({}) == ()
