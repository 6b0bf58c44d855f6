"""Trials from recordings: the numbers, the table's contract, carried columns, refusals."""

import json

import numpy as np
import pandas as pd
import pytest

from mien.data_prep.recipe import Exclusion, Recipe
from mien.data_prep.trials import count_trials, finish, prepare_recording
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES
from mien.study.errors import RecordingError, SpecError, StudyError
from mien.study.trials import TRIAL_COLUMNS, validate_trials

OFF = Exclusion(None, None, None, None, previous_stimulus=False, next_stimulus=False)


def rows_of(trials, shape, trial):
    return trials[(trials["blend_shape"] == shape) & (trials["trial"] == trial)]


def test_a_smile_of_known_size_comes_out(make, events, stimuli, recording_id):
    def smile(time, values):
        values[:] = 0.1
        both = [NAMES.index("mouthSmileLeft"), NAMES.index("mouthSmileRight")]
        values[(time >= 10.5) & (time < 11.0), both[0]] = 0.5
        values[(time >= 10.5) & (time < 11.0), both[1]] = 0.3
        values[::2] += 0.01  # never frozen

    recording = make(lambda time, values: smile(time[:, None][:, 0], values))
    trials, _ = prepare_recording(
        recording, events, stimuli, Recipe(), recording_id=recording_id, aligned=True
    )
    smile_rows = rows_of(trials, "mouthSmile", 3)
    assert smile_rows["bin"].tolist() == [1, 2, 3, 4]
    assert smile_rows["time"].tolist() == [0.25, 0.75, 1.25, 1.75]
    assert smile_rows["n_frames"].tolist() == [30, 30, 30, 30]
    np.testing.assert_allclose(smile_rows["activation"], [0, 0.3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(smile_rows["raw"], [0.105, 0.405, 0.105, 0.105], atol=1e-6)
    np.testing.assert_allclose(smile_rows["baseline"], 0.105, atol=1e-6)
    np.testing.assert_allclose(smile_rows["peak"], [0.11, 0.41, 0.11, 0.11], atol=1e-6)
    assert (smile_rows["valid"] == 1).all()
    assert (smile_rows["excluded"] == "").all()


def test_the_table_keeps_the_contract(make, events, stimuli, recording_id):
    trials, counts = prepare_recording(
        make(), events, stimuli, Recipe(), recording_id=recording_id, aligned=True
    )
    assert list(trials.columns) == [*TRIAL_COLUMNS, "rating_arousal", "condition_task"]
    assert {name: str(dtype) for name, dtype in trials.dtypes.items()} == {
        **TRIAL_COLUMNS, "rating_arousal": "float64", "condition_task": "category",
    }  # fmt: skip
    validate_trials(trials)
    assert len(trials) == (4 + 4 + 4 + 10) * 34
    assert list(trials["blend_shape"].cat.categories) == list(BILATERAL_NAMES)
    assert list(trials["valence"].cat.categories) == ["negative", "neutral", "positive"]
    assert list(trials["medium"].cat.categories) == ["picture", "film"]
    first = trials.drop_duplicates("trial")
    assert first["stimulus"].tolist() == ["sad", "chair", "happy", "clip"]
    assert first["valence"].tolist() == ["negative", "neutral", "positive", "positive"]
    assert first["condition_task"].tolist() == ["self", "other", "self", "other"]
    assert first["rating_arousal"].tolist()[:3] == [3.0, 1.0, 4.0]
    assert first["trial"].tolist() == [1, 2, 3, 4]
    assert set(trials["participant"]) == {"01"}
    assert (counts["trials"], counts["trials_kept"], counts["rows"]) == (4, 4, 748)
    assert json.loads(json.dumps(counts)) == counts


def test_presentation_order_numbers_the_trials_whatever_the_order_of_the_file(
    make, events, stimuli, recording_id
):
    turned = events.iloc[::-1].reset_index(drop=True)
    one, _ = prepare_recording(make(), events, stimuli, Recipe(), recording_id=recording_id, aligned=True)
    other, _ = prepare_recording(make(), turned, stimuli, Recipe(), recording_id=recording_id, aligned=True)
    pd.testing.assert_frame_equal(one, other)


def test_trials_count_on_through_the_runs(make, events, stimuli, recording_id):
    second = recording_id._replace(run="2")
    tables = [
        prepare_recording(make(), events, stimuli, Recipe(), recording_id=recording_id, aligned=True).trials,
        prepare_recording(
            make(seed=1), events, stimuli, Recipe(), recording_id=second, aligned=True,
            first_trial=1 + count_trials(events),
        ).trials,
    ]  # fmt: skip
    trials, _ = finish(tables, Recipe())
    assert trials["trial"].unique().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert trials["run"].cat.categories.tolist() == ["1", "2"]


def test_events_without_a_stimulus_are_no_trials_and_are_counted(make, events, stimuli, recording_id):
    cue = pd.DataFrame({"onset": [0.5], "duration": [0.1], "stimulus_id": pd.Series([None], dtype="str")})
    more = pd.concat([cue, events], ignore_index=True)
    prepared = prepare_recording(make(), more, stimuli, Recipe(), recording_id=recording_id, aligned=True)
    assert prepared.counts["other_events"] == 1
    assert prepared.counts["trials"] == count_trials(more) == 4


def test_a_missing_duration_is_the_stimulus_own_and_the_last_bin_takes_the_rest(
    make, events, stimuli, recording_id
):
    events.loc[0, "duration"] = np.nan
    events.loc[1, "duration"] = 2.2  # 4 bins, the last 0.7 s
    events.loc[2, "duration"] = 2.3  # 5 bins, the last 0.3 s
    trials, counts = prepare_recording(
        make(), events, stimuli, Recipe(), recording_id=recording_id, aligned=True
    )
    assert len(rows_of(trials, "jawOpen", 1)) == 4
    assert rows_of(trials, "jawOpen", 2)["n_frames"].tolist() == [30, 30, 30, 42]
    assert rows_of(trials, "jawOpen", 3)["n_frames"].tolist() == [30, 30, 30, 30, 18]
    assert rows_of(trials, "jawOpen", 3)["time"].tolist() == pytest.approx([0.25, 0.75, 1.25, 1.75, 2.15])
    assert counts["durations_unlike_stimuli"] == 0


def test_windows_and_bins_by_medium_and_task(make, events, stimuli, recording_id):
    recipe = Recipe(window={"picture": (0.5, 1.5), "film": (0, "end")}, bin={"film": 1.0})
    trials, _ = prepare_recording(make(), events, stimuli, recipe, recording_id=recording_id, aligned=True)
    assert rows_of(trials, "jawOpen", 1)["time"].tolist() == [0.75, 1.25]
    assert rows_of(trials, "jawOpen", 4)["time"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    by_task = Recipe(window={"task-met": (0, 1)})
    trials, _ = prepare_recording(make(), events, stimuli, by_task, recording_id=recording_id, aligned=True)
    assert len(trials) == 4 * 2 * 34


def test_left_and_right(make, events, stimuli, recording_id):
    def turn(time, values):
        values[:, NAMES.index("mouthSmileLeft")] = 0.4 + 0.001 * np.sin(time)
        values[:, NAMES.index("mouthSmileRight")] = 0.3 + 0.001 * np.sin(time)

    def prepared(sides):
        recipe = Recipe(sides=sides, baseline_correction="none")
        return prepare_recording(
            make(turn), events, stimuli, recipe, recording_id=recording_id, aligned=True
        ).trials

    both, mean, asymmetry = prepared("both"), prepared("mean"), prepared("asymmetry")
    assert (both["blend_shape"].nunique(), mean["blend_shape"].nunique(), asymmetry["blend_shape"].nunique()) == (
        52, 34, 18,
    )  # fmt: skip
    assert rows_of(mean, "mouthSmile", 1)["raw"].mean() == pytest.approx(0.35, abs=1e-3)
    assert rows_of(asymmetry, "mouthSmile", 1)["raw"].mean() == pytest.approx(0.1, abs=1e-6)
    left, right = (rows_of(both, f"mouthSmile{side}", 1)["raw"].to_numpy() for side in ("Left", "Right"))
    np.testing.assert_allclose(rows_of(mean, "mouthSmile", 1)["raw"], (left + right) / 2, atol=1e-6)
    assert "jawLeft" in set(mean["blend_shape"])  # a direction, not a side


def test_a_shape_with_one_side_only_is_left_out_and_named(make, events, stimuli, recording_id):
    recording = make(names=["mouthSmileLeft", "jawOpen"])
    trials, counts = prepare_recording(
        recording, events, stimuli, Recipe(), recording_id=recording_id, aligned=True
    )
    assert set(trials["blend_shape"]) == {"jawOpen"}
    assert "mouthSmile" in counts["shapes_missing"]
    with pytest.raises(RecordingError, match="asymmetry"):
        prepare_recording(
            recording, events, stimuli, Recipe(sides="asymmetry"), recording_id=recording_id, aligned=True
        )


def test_without_correction_activation_is_raw(make, events, stimuli, recording_id):
    recipe = Recipe(baseline_correction="none")
    trials, _ = prepare_recording(make(), events, stimuli, recipe, recording_id=recording_id, aligned=True)
    np.testing.assert_array_equal(trials["activation"], trials["raw"])
    assert trials["baseline"].notna().all()


@pytest.mark.parametrize("neutral", ["baselines", "neutral_trials"])
def test_neutral_calibration_subtracts_one_mean_and_leaves_the_eyelids_alone(
    make, events, stimuli, recording_id, neutral
):
    recording = make()
    recipe = Recipe(baseline_correction="neutral", neutral=neutral)
    trials, _ = prepare_recording(recording, events, stimuli, recipe, recording_id=recording_id, aligned=True)
    time = recording["time"].to_numpy()
    # By hand: all frames of the four baseline windows, or of the one neutral trial (6 to 8 s).
    stretches = [(1, 2), (5, 6), (9, 10), (13, 14)] if neutral == "baselines" else [(6, 8)]
    frames = np.zeros(len(time), dtype=bool)
    for begin, end in stretches:
        frames |= (time >= begin) & (time < end)
    for shape in ("mouthSmile", "jawOpen", "eyeLookUp"):
        names = [name for name in NAMES if name.startswith(shape)]
        expected = recording["activation"].sel(blend_shape=names).to_numpy()[frames].astype(float).mean()
        rows = trials[trials["blend_shape"] == shape]
        np.testing.assert_allclose(rows["raw"] - rows["activation"], expected, atol=1e-6)
    for shape in ("eyeBlink", "eyeWide", "eyeSquint"):
        rows = trials[trials["blend_shape"] == shape]
        np.testing.assert_array_equal(rows["raw"], rows["activation"])


def test_neutral_trials_that_do_not_exist_are_refused(make, events, stimuli, recording_id):
    recipe = Recipe(baseline_correction="neutral", neutral="neutral_trials")
    with pytest.raises(SpecError, match="neutral valence"):
        prepare_recording(
            make(),
            events[events["stimulus_id"] != "chair"],
            stimuli,
            recipe,
            recording_id=recording_id,
            aligned=True,
        )


def test_lost_frozen_and_dropped_frames_lower_the_valid_share(make, events, stimuli, recording_id):
    def lose(time, values):
        values[(time >= 2.0) & (time < 2.25)] = np.nan  # 15 of 30 frames of the first bin of trial 1
        values[(time >= 6.0) & (time < 6.1)] = 0.3  # 6 identical rows in trial 2

    recording = make(lose, keep=lambda time: ~((time >= 10.0) & (time < 10.2)))  # 12 frames of trial 3
    recipe = Recipe(exclusion=OFF)
    trials, counts = prepare_recording(
        recording, events, stimuli, recipe, recording_id=recording_id, aligned=True
    )
    assert rows_of(trials, "jawOpen", 1)["valid"].tolist() == [0.5, 1, 1, 1]
    assert rows_of(trials, "jawOpen", 2)["valid"].tolist() == pytest.approx([0.8, 1, 1, 1])
    assert rows_of(trials, "jawOpen", 3)["valid"].tolist() == pytest.approx([0.6, 1, 1, 1])
    assert rows_of(trials, "jawOpen", 3)["n_frames"].tolist() == [30, 30, 30, 30]
    assert (counts["frames_untracked"], counts["frames_frozen"], counts["frames_lost"]) == (15, 6, 12)


def test_unaligned_events_are_refused_unless_the_recipe_assumes(make, events, stimuli, recording_id):
    with pytest.raises(StudyError, match=r"sub-01_events.tsv: expected events aligned.*mien align"):
        prepare_recording(
            make(), events, stimuli, Recipe(), recording_id=recording_id, where="sub-01_events.tsv"
        )
    assumed = prepare_recording(
        make(), events, stimuli, Recipe(clock="assume_aligned"), recording_id=recording_id
    )
    assert assumed.counts["clock"] == "assumed"


@pytest.mark.parametrize("onset", [-0.1, 20.0, 1e6])
def test_an_onset_outside_the_recording_is_refused(make, events, stimuli, recording_id, onset):
    events.loc[2, "onset"] = onset
    with pytest.raises(StudyError, match=r"events.tsv, line 4, column onset: .*within the recording"):
        prepare_recording(
            make(), events, stimuli, Recipe(), recording_id=recording_id, aligned=True, where="events.tsv"
        )


def test_an_unknown_stimulus_and_reserved_columns_are_refused(make, events, stimuli, recording_id):
    unknown = events.assign(stimulus_id=["sad", "chair", "hapy", "clip"])
    with pytest.raises(StudyError, match=r"line 4, column stimulus_id.*'hapy'"):
        prepare_recording(make(), unknown, stimuli, Recipe(), recording_id=recording_id, aligned=True)
    with pytest.raises(StudyError, match="'valence'"):
        prepare_recording(
            make(),
            events.assign(valence="negative"),
            stimuli,
            Recipe(),
            recording_id=recording_id,
            aligned=True,
        )


def test_events_without_any_stimulus_are_refused(make, events, stimuli, recording_id):
    none = events.assign(stimulus_id=pd.Series([None] * 4, dtype="str"))
    with pytest.raises(StudyError, match="at least one event"):
        prepare_recording(make(), none, stimuli, Recipe(), recording_id=recording_id, aligned=True)


def test_a_window_that_begins_after_the_stimulus_is_refused(make, events, stimuli, recording_id):
    with pytest.raises(SpecError, match=r"trial 1: expected a stimulus that outlasts.*3 s.*found 2 s"):
        prepare_recording(
            make(), events, stimuli, Recipe(window=(3, "end")), recording_id=recording_id, aligned=True
        )


def test_contrasts_follow_the_shapes(make, events, stimuli, recording_id):
    recipe = Recipe(contrasts={"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}})
    table = prepare_recording(make(), events, stimuli, recipe, recording_id=recording_id, aligned=True).trials
    trials, counts = finish([table], recipe)
    smile, frown, both = (
        trials.loc[trials["blend_shape"] == name, "activation"].to_numpy()
        for name in ("mouthSmile", "mouthFrown", "smile - frown")
    )
    np.testing.assert_allclose(both, smile - frown, atol=1e-7)
    assert trials["blend_shape"].cat.categories[-1] == "smile - frown"
    assert counts["contrasts"] == [{"blend_shape": "smile - frown", "rows": 22, "rows_kept": 22}]
    assert counts["rows"] == 22 * 34


def test_scaling_divides_by_the_persons_own_sd(make, events, stimuli, recording_id):
    def still(time, values):
        values[:, NAMES.index("tongueOut")] = 0.0

    plain, scaled = Recipe(), Recipe(scaling="within_person")
    table = prepare_recording(
        make(still), events, stimuli, plain, recording_id=recording_id, aligned=True
    ).trials
    before, _ = finish([table], plain)
    after, counts = finish([table], scaled)
    rows = before["blend_shape"] == "jawOpen"
    by_hand = before[rows].groupby("trial")["activation"].mean().std()  # all bins have 30 tracked frames
    np.testing.assert_allclose(
        after.loc[rows, "activation"], before.loc[rows, "activation"] / by_hand, rtol=1e-4
    )
    np.testing.assert_array_equal(after["raw"], before["raw"])
    tongue = after["blend_shape"] == "tongueOut"
    assert set(after.loc[tongue, "excluded"]) == {"no variation to scale by"}
    assert counts["by_reason"] == {"no variation to scale by": {"rows": 22, "trials": 4}}


def test_counts_add_up(make, events, stimuli, recording_id):
    def lose(time, values):
        values[(time >= 14.0) & (time < 18.0)] = np.nan

    tables = [
        prepare_recording(
            make(lose, seed=seed), events, stimuli, Recipe(), recording_id=recording_id._replace(participant=name),
            aligned=True,
        ).trials
        for seed, name in enumerate(["02", "01"])
    ]  # fmt: skip
    trials, counts = finish(tables, Recipe())
    assert json.loads(json.dumps(counts)) == counts
    assert trials["participant"].cat.categories.tolist() == ["01", "02"]
    assert (counts["trials"], counts["trials_kept"]) == (8, 6)
    assert counts["by_reason"] == {"tracking lost": {"rows": 2 * 10 * 34, "trials": 2}}
    film = next(row for row in counts["by_medium"] if row["medium"] == "film")
    assert (film["trials"], film["trials_kept"], film["valid_share"]) == (2, 0, pytest.approx(0.2))
    for group in ("by_valence", "by_medium", "by_valence_and_medium", "by_participant", "by_recording"):
        assert sum(row["rows"] for row in counts[group]) == counts["rows"] == len(trials)
        assert sum(row["trials"] for row in counts[group]) == 8
    assert [row["participant"] for row in counts["by_participant"]] == ["01", "02"]
    assert len(counts["by_blend_shape"]) == 34
    finished_again, _ = finish(pd.concat(tables, ignore_index=True), Recipe())
    pd.testing.assert_frame_equal(finished_again, trials)
