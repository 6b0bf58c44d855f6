"""Each rule marks what it says, counts it, and marks nothing when it is off."""

import numpy as np
import pytest

from mien.data_prep.recipe import Exclusion, Recipe
from mien.data_prep.trials import finish, prepare_recording
from mien.study.blend_shapes import NAMES

SMILE = [NAMES.index("mouthSmileLeft"), NAMES.index("mouthSmileRight")]
OFF = {
    "tracking_lost": None, "too_few_frames": None, "moving_baseline": None, "outlier_mad": None,
    "previous_stimulus": False, "next_stimulus": False,
}  # fmt: skip


@pytest.fixture
def prepare(stimuli, recording_id):
    def run(recording, events, **rules):
        recipe = Recipe(exclusion=Exclusion(**{**OFF, **rules}))
        return prepare_recording(recording, events, stimuli, recipe, recording_id=recording_id, aligned=True)

    return run


def marked(trials, reason):
    """(trial, bin, shape) of the rows with this reason, and that no other reason occurs."""
    assert set(trials["excluded"]) <= {"", reason}
    rows = trials[trials["excluded"] == reason]
    return set(rows["trial"]), set(rows["bin"]), set(rows["blend_shape"])


def test_a_trial_with_too_little_tracking_is_marked(make, events, prepare):
    def lose(time, values):
        values[(time >= 2.0) & (time < 3.1)] = np.nan  # 55 % of trial 1
        values[(time >= 6.0) & (time < 6.9)] = np.nan  # 45 % of trial 2

    trials, counts = prepare(make(lose), events, tracking_lost=0.5)
    rows = trials[trials["excluded"] == "tracking lost"]
    assert set(rows["trial"]) == {1}
    assert len(rows) == 4 * 34
    assert counts["by_reason"]["tracking lost"] == {"rows": 136, "trials": 1}
    # The bins of trial 2 without a frame have nothing to say, and are marked even with the rule off.
    assert counts["by_reason"]["too few frames"] == {"rows": 34, "trials": 1}


def test_a_bin_with_too_few_frames_is_marked(make, events, prepare):
    def lose(time, values):
        values[(time >= 2.5) & (time < 2.8)] = np.nan  # 18 of 30 frames

    trials, _ = prepare(make(lose), events, too_few_frames=0.5)
    assert marked(trials, "too few frames") == ({1}, {2}, set(trials["blend_shape"]))
    trials, _ = prepare(make(lose), events)
    assert (trials["excluded"] == "").all()


def test_a_lost_baseline_is_marked_where_it_is_subtracted(make, events, prepare, stimuli, recording_id):
    def lose(time, values):
        values[(time >= 5.0) & (time < 5.6)] = np.nan

    trials, _ = prepare(make(lose), events, too_few_frames=0.5)
    assert marked(trials, "baseline lost")[0] == {2}
    recipe = Recipe(exclusion=Exclusion(**OFF), baseline_correction="none")
    trials, _ = prepare_recording(
        make(lose), events, stimuli, recipe, recording_id=recording_id, aligned=True
    )
    assert (trials["excluded"] == "").all()


def test_a_baseline_before_the_recording_began_is_lost(make, events, prepare):
    events.loc[0, "onset"] = 0.25
    trials, _ = prepare(make(), events, too_few_frames=0.5)
    assert marked(trials, "baseline lost")[0] == {1}


def test_a_moving_baseline_is_marked_in_the_shape_that_moves(make, events, prepare):
    def move(time, values):
        values[(time >= 5.5) & (time < 6.0)] += 0.3  # everything jumps, gaze and blinks too

    trials, _ = prepare(make(move), events, moving_baseline=0.1)
    number, _, shapes = marked(trials, "moving baseline")
    assert number == {2}
    assert len(shapes) == 29  # 34 without eyeBlink and the four eyeLook
    assert not {"eyeBlink", "eyeLookUp"} & shapes
    trials, _ = prepare(make(move), events, moving_baseline=0.2)  # half at 0, half at .3: sd .15
    assert (trials["excluded"] == "").all()


def test_a_baseline_inside_the_previous_stimulus_is_marked(make, events, prepare):
    events.loc[1, "onset"] = 4.5  # trial 1 ends at 4.0: half a second of the baseline lies in it
    trials, _ = prepare(make(), events, previous_stimulus=True)
    assert marked(trials, "baseline in an earlier stimulus")[0] == {2}
    events.loc[1, "onset"] = 5.0 - 0.01  # less than a frame
    trials, _ = prepare(make(), events, previous_stimulus=True)
    assert (trials["excluded"] == "").all()


def test_a_long_earlier_stimulus_counts_not_only_the_last_one(make, events, prepare):
    events.loc[0, "duration"] = 8.5  # from 2 to 10.5 s, beyond trial 2 and into the baseline of trial 3
    trials, _ = prepare(make(), events, previous_stimulus=True)
    assert marked(trials, "baseline in an earlier stimulus")[0] == {2, 3}


def test_bins_inside_the_next_stimulus_are_marked(make, events, prepare):
    events.loc[1, "onset"] = 3.4  # trial 1 lasts until 4.0: its third bin ends at 3.5
    trials, _ = prepare(make(), events, next_stimulus=True)
    assert marked(trials, "in a later stimulus")[:2] == ({1}, {3, 4})


def test_a_recording_that_stopped_early_is_cut_short_and_marked(make, events, prepare):
    recording = make(length=16.0)  # the film runs from 14 to 19 s
    trials, counts = prepare(recording, events, tracking_lost=0.5)
    assert marked(trials, "tracking lost")[0] == {4}
    assert counts["trials_cut_short"] == 1
    film = trials[(trials["trial"] == 4) & (trials["blend_shape"] == "jawOpen")]
    assert film["n_frames"].tolist() == [30] * 10
    assert film["valid"].tolist() == [1.0] * 4 + [0.0] * 6


def many_trials(make, events, prepare, heights):
    """Pictures every 4 s, each with a smile of the given height."""
    import pandas as pd

    def smile(time, values):
        values[:, SMILE] = 0.1
        values += 1e-4 * np.random.default_rng(0).random(values.shape)
        for index, height in enumerate(heights):
            inside = (time >= 4 + 4 * index) & (time < 6 + 4 * index)
            values[np.ix_(inside, SMILE)] += height

    table = pd.DataFrame(
        {
            "onset": 4.0 + 4.0 * np.arange(len(heights)),
            "duration": 2.0,
            "stimulus_id": ["happy"] * len(heights),
        }
    )
    return prepare(make(smile, length=8.0 + 4 * len(heights)), table).trials


@pytest.mark.parametrize(("limit", "expected"), [(5.0, {10}), (100.0, set())])
def test_an_outlier_is_marked_with_all_its_bins(make, events, prepare, limit, expected):
    heights = [0.0, 0.02, 0.04, 0.0, 0.02, 0.04, 0.0, 0.02, 0.04, 0.8]
    recipe = Recipe(exclusion=Exclusion(**{**OFF, "outlier_mad": limit}))
    trials, counts = finish([many_trials(make, events, prepare, heights)], recipe)
    smile = trials[trials["blend_shape"] == "mouthSmile"]
    assert set(smile.loc[smile["excluded"] == "outlier", "trial"]) == expected
    assert counts["by_reason"].get("outlier", {"rows": 0})["rows"] == 4 * len(expected)


def test_a_shape_at_rest_has_no_outliers_just_because_it_rests(make, events, prepare):
    heights = [0.0] * 9 + [
        0.04
    ]  # the median absolute deviation is 0; .04 is within 5 of the smallest spread, .01
    recipe = Recipe(exclusion=Exclusion(**{**OFF, "outlier_mad": 5.0}))
    trials, _ = finish([many_trials(make, events, prepare, heights)], recipe)
    assert (trials["excluded"] == "").all()


def test_seven_trials_are_too_few_to_judge_outliers(make, events, prepare):
    recipe = Recipe(exclusion=Exclusion(**{**OFF, "outlier_mad": 5.0}))
    trials, _ = finish([many_trials(make, events, prepare, [0.0, 0.02, 0.04, 0.0, 0.02, 0.04, 0.8])], recipe)
    assert (trials["excluded"] == "").all()


def test_what_is_kept_always_has_an_activation(make, events, prepare):
    def lose(time, values):
        values[(time >= 4.0) & (time < 6.2)] = np.nan
        values[time > 17, 5] = np.nan

    trials, _ = prepare(make(lose), events)
    assert trials.loc[trials["excluded"] == "", "activation"].notna().all()
    assert (trials["excluded"] != "").any()
