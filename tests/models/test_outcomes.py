import numpy as np
import pandas as pd
import pytest

from mien.models.outcomes import prepare_outcomes
from mien.models.spec import ModelSpec
from mien.study.errors import FitError, SpecError

SPEC = ModelSpec("activation ~ valence + (1 | participant)")


def test_each_shape_is_an_outcome_in_the_order_of_arkit(trials):
    _, rows = prepare_outcomes(SPEC, trials)
    assert rows.names == ("mouthSmile", "mouthFrown", "browInnerUp")
    assert dict(rows.counts) == {
        "rows": 360,
        "excluded": 0,
        "missing": 0,
        "modelled": 360,
        "in_dead_shapes": 0,
    }
    assert len(rows.observations) == 120
    assert rows.observations[0] == "01/1/met/1/1"


def test_excluded_and_missing_rows_are_dropped_and_counted(trials):
    data = trials.copy()
    data.loc[:4, "excluded"] = "moving baseline"
    data.loc[10:11, "activation"] = np.nan
    _, rows = prepare_outcomes(SPEC, data)
    assert (rows.counts["excluded"], rows.counts["missing"], rows.counts["modelled"]) == (5, 2, 353)


def test_bins_are_averaged_when_the_model_has_no_time(trials_maker):
    trials = trials_maker(bins=3)
    _, rows = prepare_outcomes(SPEC, trials)
    assert (rows.counts["bins"], rows.counts["rows"]) == (1080, 360)
    first = trials.query("participant == '01' and trial == 1 and blend_shape == 'mouthSmile'")["activation"]
    assert rows.frame["activation"].iloc[0] == pytest.approx(first.mean(), abs=1e-7)
    _, kept = prepare_outcomes(ModelSpec("activation ~ valence + time + (1 | participant)"), trials)
    assert "bins" not in kept.counts
    assert len(kept.frame) == 1080
    assert len(kept.observations) == 360


def test_dead_shapes_are_left_out_and_named(trials_maker):
    trials = trials_maker(shapes=("mouthSmile", "jawOpen", "tongueOut"))
    trials["activation"] = trials["activation"].astype("float64")
    trials.loc[trials["blend_shape"] == "tongueOut", "activation"] = 1e-5
    lively = trials["participant"] == "01"
    trials.loc[(trials["blend_shape"] == "jawOpen") & ~lively, "activation"] = 0.0
    _, rows = prepare_outcomes(SPEC, trials)
    assert rows.names == ("mouthSmile",)
    assert "10% of persons" in rows.left_out["jawOpen"]
    assert "does not move" in rows.left_out["tongueOut"]
    assert rows.counts["in_dead_shapes"] == 240


def test_a_table_in_which_nothing_moves_is_refused(trials):
    with pytest.raises(FitError, match="at least one blend shape that moves"):
        prepare_outcomes(SPEC, trials.assign(activation=0.0))


def test_a_shape_whose_rows_are_all_excluded_is_named(trials):
    data = trials.copy()
    data.loc[data["blend_shape"] == "mouthFrown", "excluded"] = "tracking lost"
    _, rows = prepare_outcomes(SPEC, data)
    assert rows.left_out == {"mouthFrown": "no row is left after exclusions"}


def test_two_trackers_are_not_pooled_unless_told(trials):
    data = trials.copy()
    half = np.where(data["participant"].astype(str) < "06", "arkit", "mediapipe")
    data["tracker"] = pd.Categorical(half)
    with pytest.raises(FitError, match="expected one tracker, found arkit, mediapipe"):
        prepare_outcomes(SPEC, data)
    prepare_outcomes(ModelSpec(SPEC.formula, pool_trackers=True), data)
    prepare_outcomes(ModelSpec("activation ~ valence + tracker + (1 | participant)"), data)


def test_columns_of_persons_are_joined(trials):
    people = pd.DataFrame(
        {"participant_id": [f"sub-{n:02d}" for n in range(1, 11)], "age": np.arange(20.0, 30.0)}
    )
    spec = ModelSpec("activation ~ valence*center(age) + (1 | participant)")
    _, rows = prepare_outcomes(spec, trials, people)
    assert rows.frame.groupby("participant", observed=True)["age"].first().tolist() == list(range(20, 30))
    with pytest.raises(FitError, match="found none for 10"):
        prepare_outcomes(spec, trials, people.iloc[:9])
    with pytest.raises(SpecError, match="participants="):
        prepare_outcomes(spec, trials)


def test_contrasts_of_shapes_become_outcomes(trials):
    spec = ModelSpec(SPEC.formula, contrasts={"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}})
    _, rows = prepare_outcomes(spec, trials)
    assert rows.names[-1] == "smile - frown"
    values = rows.frame.groupby(rows.outcome)["activation"].first()
    assert values[3] == pytest.approx(values[0] - values[1], abs=1e-6)


def test_a_plain_table_is_one_outcome():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    _, rows = prepare_outcomes(ModelSpec("y ~ 1 + (1 | g)"), data)
    assert rows.names == ("",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.assign(y=2.0), "an outcome that varies"),
        (lambda data: data.assign(y=["a", "b", "c", "d"]), "numbers as the outcome"),
        (lambda data: data.assign(y=np.nan), "found none of 4 kept"),
        (lambda data: data.assign(y=[1.0, np.inf, 2.0, 3.0]), "finite"),
        (lambda data: data.to_dict(), "pandas.DataFrame"),
    ],
)
def test_tables_that_cannot_be_fitted(change, words):
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    with pytest.raises(FitError, match="expected") as caught:
        prepare_outcomes(ModelSpec("y ~ 1 + (1 | g)"), change(data))
    assert words in str(caught.value)
