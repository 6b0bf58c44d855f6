"""Derived columns against a table worked out by hand, and what holds for any table."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mien
from mien.models.derived_columns import add_derived, add_derived_as_stored, wanted_columns
from mien.models.outcomes import prepare_outcomes
from mien.models.spec import ModelSpec
from mien.study.errors import FitError, SpecError

PARTS = ("rating_person", "rating_stimulus", "rating_within")

# Three persons, two stimuli, two shapes; the rating of 3 for b is missing. Grand mean 20/5 = 4.
HAND = pd.DataFrame(
    {
        "participant": ["1", "1", "2", "2", "3", "3"],
        "stimulus": ["a", "b", "a", "b", "a", "b"],
        "trial": [1, 2, 1, 2, 1, 2],
        "rating": [2.0, 4.0, 3.0, 9.0, 2.0, np.nan],
        "age": [20.0, 20.0, 30.0, 30.0, 40.0, 40.0],
        "arousal": [1.0, 3.0, 1.0, 3.0, 1.0, 3.0],
        "medium": ["film", "picture"] * 3,
        "y": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    }
)  # fmt: skip
BY_HAND = {
    # means of persons 3, 6, 2; minus 4
    "rating_person": [-1.0, -1.0, 2.0, 2.0, -2.0, np.nan],
    # others' means: a: (3+2)/2, (2+2)/2, (2+3)/2; b: 9, 4; minus 4
    "rating_stimulus": [-1.5, 5.0, -2.0, 0.0, -1.5, np.nan],
    # rating − 4 − person − stimulus
    "rating_within": [0.5, -4.0, -1.0, 3.0, 1.5, np.nan],
    "age_z": [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0],
    "arousal_z": [-(0.5**0.5), 0.5**0.5] * 3,
    "medium_is_film": [1.0, 0.0] * 3,
}


def derive(data, names):
    return add_derived(data, wanted_columns(names, data.columns))


def test_against_a_table_by_hand():
    made, facts = derive(HAND, BY_HAND)
    for name, column in BY_HAND.items():
        np.testing.assert_allclose(made[name], column, atol=1e-12, err_msg=name)
    assert facts["age_z"] == {
        "from": "age", "kind": "z", "mean": 30.0, "sd": 10.0, "unit": "participant", "participants": 3,
        "participants_missing": 0,
    }  # fmt: skip
    assert facts["arousal_z"]["unit"] == "stimulus"
    within = facts["rating_within"]
    assert (within["mean"], within["trials"], within["trials_missing"]) == (4.0, 6, 1)
    assert within["by_stimulus"] == pytest.approx({"a": 7 / 3, "b": 6.5})
    json.dumps(facts)


def test_every_trial_counts_once_whatever_its_bins_and_shapes():
    more = pd.concat(
        [HAND.assign(blend_shape="x"), HAND.assign(blend_shape="z"), HAND[:2].assign(blend_shape="w")],
        ignore_index=True,
    )
    long = more.loc[np.repeat(np.arange(len(more)), np.arange(len(more)) % 3 + 1)].reset_index(drop=True)
    made, facts = derive(long, BY_HAND)
    plain, alone = derive(HAND, BY_HAND)
    keys = ["participant", "stimulus"]
    for name in BY_HAND:
        both = made[keys].assign(mine=made[name]).merge(plain[[*keys, name]], on=keys)
        np.testing.assert_allclose(both["mine"], both[name], atol=1e-12, err_msg=name)
    assert facts["rating_within"] == alone["rating_within"]


def test_a_column_of_the_data_wins_and_the_rest_keeps_its_name():
    there = HAND.assign(age_z=7.0)
    assert wanted_columns(["age_z", "age", "y"], there.columns) == {}
    with pytest.raises(SpecError, match=r"'agee' to derive it from, found neither.*did you mean 'age'"):
        wanted_columns(["agee_z"], there.columns)


ratings = st.lists(
    st.one_of(st.none(), st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))),
    min_size=12, max_size=12,
)  # fmt: skip


@given(ratings, st.floats(-50, 50), st.floats(0.1, 10))
@settings(max_examples=60)
def test_parts_add_up_and_follow_shift_and_scale(values, shift, scale):
    data = pd.DataFrame(
        {
            "participant": np.repeat(list("pqr"), 4), "stimulus": np.tile(list("abcd"), 3),
            "trial": np.tile(np.arange(4), 3), "rating": np.array(values, dtype=float),
        }
    )  # fmt: skip
    try:
        made, facts = derive(data, PARTS)
    except FitError:  # nothing differs within persons, or no stimulus has two
        return
    grand = facts["rating_within"]["mean"]
    known = made["rating_within"].notna()
    total = made.loc[known, list(PARTS)].sum(axis=1) + grand
    np.testing.assert_allclose(total, made.loc[known, "rating"], atol=1e-9)
    moved, _ = derive(data.assign(rating=data["rating"] * scale + shift), PARTS)
    for name in PARTS:
        np.testing.assert_allclose(moved[name], made[name] * scale, atol=1e-6)
    shuffled = data.sample(frac=1.0, random_state=1)
    again = derive(shuffled, PARTS)[0].sort_index()
    for name in PARTS:
        np.testing.assert_allclose(again[name], made[name], atol=1e-9)


def test_the_mean_of_others_leaves_the_person_out(world):
    """What a person answers does not move what is said of the stimulus for that person."""
    data = world.trials
    made, _ = derive(data, ["rating_stimulus"])
    changed = data.copy()
    mine = (changed["participant"] == "05").to_numpy()
    changed.loc[mine, "rating"] = changed.loc[mine, "rating"] * 3.0 - 7.0
    after, _ = derive(changed, ["rating_stimulus"])
    grand = data["rating"].mean(), changed["rating"].mean()
    np.testing.assert_allclose(
        after["rating_stimulus"][mine] + grand[1], made["rating_stimulus"][mine] + grand[0], atol=1e-9
    )
    assert np.abs(after["rating_stimulus"][~mine] - made["rating_stimulus"][~mine]).max() > 0.01


def test_baselines_are_centred_within_person_and_shape_over_kept_trials():
    data = pd.DataFrame(
        {
            "participant": list("ppppqq"), "trial": [1, 2, 1, 2, 1, 2], "blend_shape": list("aabbaa"),
            "baseline": [0.1, 0.3, 0.5, 0.9, 0.2, 0.6], "excluded": ["", "", "", "x", "", ""],
        }
    )  # fmt: skip
    made, facts = derive(data, ["baseline_within"])
    np.testing.assert_allclose(made["baseline_within"], [-0.1, 0.1, 0.0, 0.4, -0.2, 0.2], atol=1e-12)
    assert facts["baseline_within"]["trials"] == 5


def test_missing_traits_and_ratings_are_left_out_and_counted(world):
    people = world.participants.copy()
    people.loc[[2, 7], "empathy"] = np.nan
    trials = world.trials.copy()
    trials.loc[:9, "rating"] = np.nan
    spec = mien.models.traits("empathy", ratings="rating")
    _, rows = prepare_outcomes(spec, trials, people)
    lacking = trials["participant"].isin(["03", "08"]) | trials["rating"].isna()
    assert rows.counts["missing"] == int(lacking.sum())
    told = rows.derived["empathy_z"]
    assert (told["participants"], told["participants_missing"]) == (24, 2)
    assert rows.derived["rating_within"]["trials_missing"] == 10
    kept = people["empathy"].dropna()
    assert (told["mean"], told["sd"]) == pytest.approx((kept.mean(), kept.std()))


def test_contrasts_of_shapes_have_a_baseline_of_their_own(world):
    squares = {name: world.trials[name].to_numpy() ** 2 for name in ("raw", "baseline")}
    other = world.trials.assign(blend_shape="mouthFrown", **squares)
    both = pd.concat([world.trials.astype({"blend_shape": "str"}), other], ignore_index=True)
    both["blend_shape"] = both["blend_shape"].astype("category")
    spec = mien.models.valence(
        baseline="covariate", contrasts={"difference": {"mouthSmile": 1, "mouthFrown": -1}}
    )
    frame = prepare_outcomes(spec, both)[1].frame
    wide = {
        name: part["baseline_within"].to_numpy() for name, part in frame.groupby("blend_shape", observed=True)
    }
    np.testing.assert_allclose(wide["difference"], wide["mouthSmile"] - wide["mouthFrown"], atol=1e-7)


def test_new_rows_are_coded_as_in_the_fit(world):
    """Rows of a person whom the table had: the same numbers, as far as the person's own rows go into them."""
    names = [
        "rating_person",
        "rating_stimulus",
        "rating_within",
        "empathy_z",
        "medium_is_film",
        "baseline_within",
    ]
    people = world.participants.assign(participant=world.participants["participant_id"].str[4:])
    data = world.trials.merge(people[["participant", "empathy"]], on="participant")
    wanted = wanted_columns(names, data.columns)
    made, facts = add_derived(data, wanted)
    others = data["participant"] != "05"
    without, stored = add_derived(data[others].reset_index(drop=True), wanted)
    new = add_derived_as_stored(data[~others].reset_index(drop=True), wanted, stored)
    # all that differs: the grand mean, and the mean and sd of the trait, are those of the others
    mine = made[~others].reset_index(drop=True)
    moved = facts["rating_person"]["mean"] - stored["rating_person"]["mean"]
    np.testing.assert_allclose(new["rating_person"], mine["rating_person"] + moved, atol=1e-9)
    np.testing.assert_allclose(new["rating_stimulus"], mine["rating_stimulus"] + moved, atol=1e-9)
    np.testing.assert_allclose(new["rating_within"], mine["rating_within"] - moved, atol=1e-9)
    np.testing.assert_allclose(new["baseline_within"], mine["baseline_within"], atol=1e-9)
    np.testing.assert_array_equal(new["medium_is_film"], mine["medium_is_film"])
    told = stored["empathy_z"]
    np.testing.assert_allclose(new["empathy_z"] * told["sd"] + told["mean"], mine["empathy"], atol=1e-9)
    assert len(without) == others.sum()


def test_a_new_person_is_scored_by_a_model_with_derived_columns(world):
    known = world.trials[world.trials["participant"] != "05"].reset_index(drop=True)
    new = world.trials[world.trials["participant"] == "05"].reset_index(drop=True)
    spec = mien.models.valence(traits="empathy", ratings="rating")
    fitted = mien.fit(spec, known, participants=world.participants, draws=200)
    scored = mien.score(fitted, new, participants=world.participants)
    assert (scored["participant"] == "05").all()
    assert np.isfinite(scored["contrast"]).all()


def test_statistics_of_parts_refuse_derived_columns(world):
    with pytest.raises(SpecError, match="derived from all rows at once"):
        mien.sufficient_statistics(mien.models.task(), world.trials)


@pytest.mark.parametrize(
    ("names", "change", "words"),
    [
        (["age_z"], {"age": 30.0}, "found 30 in all 3 of them"),
        (["age_z"], {"age": np.nan}, "missing in all 6 rows"),
        (["age_z"], {"age": ["a"] * 6}, "a category enters the formula"),
        (["y_z"], {}, "changes within both: use y_person"),
        (["rating_within"], {"rating": [1.0, 1.0, 5.0, 5.0, 3.0, 3.0]}, "differ within persons"),
        (["rating_within"], {"stimulus": list("abcdef")}, "several persons rated"),
        (["rating_within"], {"participant": ["1", None, "2", "2", "3", "3"]}, "a label in every row"),
    ],
)
def test_columns_that_cannot_be_derived(names, change, words):
    with pytest.raises(FitError, match="expected") as caught:
        derive(HAND.assign(**change), names)
    assert words in str(caught.value)


def test_a_rating_that_changes_within_a_trial_is_refused():
    twice = pd.concat([HAND, HAND.assign(rating=HAND["rating"] + 1)], ignore_index=True)
    with pytest.raises(FitError, match="one value a trial"):
        derive(twice, ["rating_person"])


def test_an_unknown_level_is_named():
    with pytest.raises(SpecError, match=r"a level of medium \(film, picture\).*did you mean 'film'"):
        derive(HAND, ["medium_is_filn"])


def test_without_derived_columns_nothing_changes(world):
    made, facts = add_derived(world.trials, {})
    assert made is world.trials
    assert facts == {}
    fitted = mien.fit(ModelSpec("activation ~ valence + (1 | participant)"), world.trials, draws=50)
    assert fitted.attrs["derived"] == "{}"
