"""Bad input through `mien.fit`: one clear message, or a stated rule with counts."""

import json

import numpy as np
import pandas as pd
import pytest

import mien
from mien.study.errors import FitError, SpecError


@pytest.fixture(scope="module")
def data(world_maker):
    return world_maker(persons=6, pictures=3, films=2, seed=2)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (mien.models.traits("empaty"), "did you mean 'empathy'"),
        (mien.models.valence(group="grupe"), "found 'grupe'"),
        (mien.models.valence(conditions="questoin"), "did you mean 'question'"),
        (mien.models.valence(ratings="ratng"), "did you mean 'rating'"),
        (mien.models.valence(norms="arousal"), "'arousal' to derive it from, found neither"),
    ],
)
def test_unknown_columns_are_named(data, spec, words):
    with pytest.raises(SpecError, match="expected") as caught:
        mien.fit(spec, data.trials, participants=data.participants)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "change", "words"),
    [
        (mien.models.task(), {"medium": "picture"}, "a level of medium (picture) after '_is_', found 'film'"),
        (
            mien.models.valence(),
            {"valence": "positive"},
            "two levels of 'valence' in the rows modelled, found 'positive'",
        ),
        (mien.models.valence(conditions="question"), {"question": "see"}, "two levels of 'question'"),
        (mien.models.valence(session=True), {}, "two levels of 'session' in the rows modelled, found '1'"),
        (mien.models.valence(), {"stimulus": "one"}, "two levels of the group 'stimulus'"),
        (mien.models.valence(), {"participant": "01"}, "two levels of the group 'participant'"),
    ],
)
def test_a_factor_with_one_level_is_named(data, spec, change, words):
    with pytest.raises(SpecError, match="expected") as caught:
        mien.fit(spec, data.trials.assign(**change), participants=data.participants)
    assert words in str(caught.value)


def test_a_group_with_one_level_is_named(data):
    people = data.participants.assign(group="control")
    with pytest.raises(SpecError, match="two levels of 'group' in the rows modelled, found 'control'"):
        mien.fit(mien.models.valence(group="group"), data.trials, participants=people)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.nan, "missing in all"),
        (20.0, "values that differ between participants, found 20 in all 6"),
        ([21.0, *[np.nan] * 5], "values that differ between participants, found 21 in all 6"),
    ],
)
def test_a_trait_that_says_nothing_is_named(data, values, words):
    with pytest.raises(FitError, match="empathy: expected") as caught:
        mien.fit(
            mien.models.traits("empathy"), data.trials, participants=data.participants.assign(empathy=values)
        )
    assert words in str(caught.value)


def test_persons_without_the_trait_are_left_out_and_counted(data):
    people = data.participants.copy()
    people.loc[[0, 3], "empathy"] = np.nan
    fitted = mien.fit(mien.models.traits("empathy"), data.trials, participants=people, draws=50)
    assert json.loads(fitted.attrs["derived"])["empathy_z"]["participants_missing"] == 2
    assert json.loads(fitted.attrs["counts"])["missing"] == 2 * 10
    assert list(fitted["posterior"]["participant"].to_numpy()) == ["02", "03", "05", "06"]


def test_shapes_that_never_move_are_left_out_and_named(data):
    still = data.trials.assign(blend_shape="tongueOut", activation=np.float32(0.0))
    both = pd.concat([data.trials.astype({"blend_shape": "str"}), still], ignore_index=True)
    both["blend_shape"] = both["blend_shape"].astype("category")
    fitted = mien.fit(mien.models.task(), both, draws=50)
    assert "does not move" in json.loads(fitted.attrs["left_out"])["tongueOut"]
    with pytest.raises(FitError, match="at least one blend shape that moves"):
        mien.fit(mien.models.task(), still.assign(blend_shape=pd.Categorical(["tongueOut"] * len(still))))


def test_two_participants_are_fitted_and_told(world_maker):
    two = world_maker(persons=2, pictures=6, films=4, seed=4)
    fitted = mien.fit(mien.models.valence(), two.trials, draws=200)
    assert any(
        note.startswith("2 persons: how much persons differ is known from the prior")
        for note in json.loads(fitted.attrs["design_check"])["notes"]
    )
    many = mien.fit(
        mien.models.valence(), world_maker(persons=24, pictures=6, films=4, seed=4).trials, draws=200
    )
    widths = [float(one["posterior"]["valence"].std()) for one in (fitted, many)]
    assert widths[0] > 2 * widths[1]  # a wide answer, not a wrong one


def test_ratings_that_are_constant_within_persons_are_refused(data):
    alone = data.trials["participant"].cat.codes.astype(float)
    with pytest.raises(FitError, match=r"ratings that differ within persons.*of 6 persons.*use rating_z"):
        mien.fit(mien.models.valence(ratings="rating"), data.trials.assign(rating=alone))
    some = data.trials.copy()
    mine = some["participant"] == "01"
    some.loc[mine, "rating"] = 4.0
    fitted = mien.fit(mien.models.valence(ratings="rating"), some, draws=50)
    assert json.loads(fitted.attrs["derived"])["rating_within"]["persons_with_one_answer"] == 1


@pytest.mark.parametrize(
    "family", [mien.models.valence, mien.models.task, lambda **o: mien.models.traits("empathy", **o)]
)
def test_two_trackers_are_refused_unless_told(data, family):
    trackers = np.where(data.trials["participant"].astype(str) < "04", "arkit", "mediapipe")
    both = data.trials.assign(tracker=pd.Categorical(trackers))
    with pytest.raises(FitError, match="expected one tracker, found arkit, mediapipe"):
        mien.fit(family(), both, participants=data.participants)
    mien.fit(family(pool_trackers=True), both, participants=data.participants, draws=50)


def test_a_trait_by_labels_and_a_person_without_a_row_are_named(data):
    with pytest.raises(FitError, match="a category enters the formula under its own name"):
        mien.fit(mien.models.traits("sex"), data.trials, participants=data.participants)
    with pytest.raises(FitError, match="a row for every participant, found none for 06"):
        mien.fit(mien.models.traits("empathy"), data.trials, participants=data.participants.iloc[:5])


def test_a_repeated_session_is_fitted_with_both_levels_of_persons(world_maker):
    world = world_maker(persons=8, pictures=4, films=2, sessions=2, seed=6)
    fitted = mien.fit(mien.models.valence(session=True, repeated=True), world.trials, draws=100)
    posterior = fitted["posterior"]
    assert {
        "valence|participant:session_sigma",
        "session|stimulus_sigma",
        "1|participant:stimulus_sigma",
    } <= set(posterior.data_vars)
    assert posterior.sizes["participant:session"] == 16
    assert {"session", "valence:session"} <= set(mien.effects(fitted)["effect"])


def test_three_levels_of_valence_have_slopes_of_both(world_maker):
    world = world_maker(persons=8, pictures=4, films=2, valences=("negative", "neutral", "positive"), seed=7)
    fitted = mien.fit(
        mien.models.valence(traits="empathy"), world.trials, participants=world.participants, draws=100
    )
    effects = set(mien.effects(fitted)["effect"])
    assert {"valence", "neutral", "valence:empathy_z", "neutral:empathy_z"} <= effects
    assert list(fitted["posterior"]["participant_term"].to_numpy()) == ["1", "valence", "neutral"]
