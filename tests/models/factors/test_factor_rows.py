"""From trials to the matrix: what is dropped is counted, what cannot be modelled is refused with a sentence."""

import numpy as np
import pandas as pd
import pytest

from mien.models import co_activation
from mien.models.factors.rows import factor_rows
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.study.errors import FitError, SpecError

SHAPES = ("mouthSmile", "cheekSquint", "mouthFrown", "browDown", "jawOpen", "mouthPress")


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(1)
    truth = draw_truth(rng, shapes=SHAPES, factors=2, between=1, terms=("Intercept", "valence"))
    return simulate_factors(truth, rng, participants=8, stimuli=12)


@pytest.fixture(scope="module")
def trials(simulated):
    return simulated.trials


def test_standardised_within_persons(trials):
    rows = factor_rows(co_activation(2), trials)
    assert rows.activation.shape == (96, 6)
    assert rows.terms == ("Intercept",)
    assert len(rows.levels) == 8
    codes = pd.Series(rows.group)
    centred = rows.activation - pd.DataFrame(rows.activation).groupby(codes).transform("mean").to_numpy()
    assert (centred**2).sum(axis=0) / (96 - 8) == pytest.approx(np.ones(6))
    shape = trials[trials["blend_shape"] == rows.shapes[2]]
    back = rows.activation[:, 2] * rows.scale[2] + rows.location[2]
    assert np.sort(back) == pytest.approx(np.sort(shape["activation"].to_numpy(dtype=float)))


def test_rows_may_come_in_any_order(trials):
    rows = factor_rows(co_activation(2), trials)
    mixed = factor_rows(co_activation(2), trials.sample(frac=1, random_state=3).reset_index(drop=True))
    at = {label: place for place, label in enumerate(mixed.observations)}
    order = [at[label] for label in rows.observations]
    assert set(mixed.shapes) == set(rows.shapes)
    columns = [mixed.shapes.index(name) for name in rows.shapes]
    assert mixed.activation[order][:, columns] == pytest.approx(rows.activation)


def test_a_trial_without_one_shape_is_dropped_and_counted(trials):
    fewer = trials.drop(index=trials.index[[0, 200]]).reset_index(drop=True)
    rows = factor_rows(co_activation(2), fewer)
    assert rows.counts["trials"] == 96
    assert rows.counts["incomplete_trials"] == 2
    assert len(rows.activation) == 94


def test_whole_trials_may_be_missing(trials):
    fewer = trials[~((trials["participant"] == "01") & (trials["trial"] <= 4))].reset_index(drop=True)
    rows = factor_rows(co_activation(2), fewer)
    assert rows.counts["incomplete_trials"] == 0
    assert len(rows.activation) == 92
    assert len(rows.sums.weight) > 2


def test_dead_shapes_gaze_and_blinks_are_left_out_and_named():
    rng = np.random.default_rng(2)
    names = (*SHAPES, "eyeBlink", "eyeLookUp", "tongueOut")
    trials = simulate_factors(
        draw_truth(rng, shapes=names, factors=2), rng, participants=8, stimuli=12
    ).trials
    trials.loc[trials["blend_shape"] == "tongueOut", "activation"] = 0.0
    rows = factor_rows(co_activation(2), trials)
    assert set(rows.shapes) == set(SHAPES)
    assert "does not move" in rows.left_out["tongueOut"]
    assert "picture's layout" in rows.left_out["eyeBlink"]
    asked = factor_rows(co_activation(1, shapes=["mouthSmile", "eyeBlink", "jawOpen"]), trials)
    assert set(asked.shapes) == {"mouthSmile", "eyeBlink", "jawOpen"}


def test_parts_take_out_stimuli_or_persons(trials):
    alone = factor_rows(co_activation(2, part="spontaneous"), trials)
    assert alone.design.shape == (96, 12)
    assert alone.sums.count[0] == 96 - 12 - 7
    driven = factor_rows(co_activation(2, part="stimulus_driven"), trials)
    assert len(driven.levels) == 12
    assert driven.sums.count[0] == 96 - 12 - 7
    assert driven.sums.weight[1:] == pytest.approx([8.0])
    # the scatter is that of what is spontaneous
    root = np.sqrt(np.diag(driven.sums.within))
    other = np.sqrt(np.diag(alone.sums.within))
    assert driven.sums.within / np.outer(root, root) == pytest.approx(
        alone.sums.within / np.outer(other, other)
    )


def test_covariates_of_trials_and_persons(trials, simulated):
    people = pd.DataFrame(
        {"participant_id": [f"sub-{k:02d}" for k in range(1, 9)], "age": np.arange(8.0) + 20}
    )
    rows = factor_rows(co_activation(2, covariates=("valence", "age_z")), trials, people)
    assert rows.terms == ("Intercept", "valence", "age_z")
    assert rows.sums.groups == 8 - 2
    assert rows.sums.count[0] == 96 - 8 - 1


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"shapes": ["mouthSmile", "mouthSmle", "jawOpen"]}, SpecError, "'mouthSmle'.*mouthSmile"),
        ({"shapes": ["mouthSmile", "jawOpen"]}, FitError, "at least 3 shapes"),
        ({"covariates": ("mood",)}, SpecError, "mood"),
        ({"covariates": ("valence",), "part": "spontaneous"}, SpecError, "repeat each other"),
        ({"covariates": ("__import__('os')",)}, SpecError, "formula"),
    ],
)
def test_bad_input_is_one_sentence(trials, options, error, told):
    with pytest.raises(error, match=told):
        factor_rows(co_activation(2, **options), trials)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"factors": 0}, "factors"),
        ({"factors": 2.0}, "factors"),
        ({"between": -1}, "between"),
        ({"part": "spontanous"}, "spontaneous"),
        ({"priors": {"loadings": None}}, "loading"),
    ],
)
def test_bad_options_are_refused(options, told):
    with pytest.raises(SpecError, match=told):
        co_activation(**{"factors": 2, **options})


def test_a_copy_of_a_shape_is_refused_by_name(trials):
    wide = trials.copy()
    smile = wide["blend_shape"] == "mouthSmile"
    wide.loc[wide["blend_shape"] == "jawOpen", "activation"] = wide.loc[smile, "activation"].to_numpy() * 2
    with pytest.raises(FitError, match=r"(mouthSmile and jawOpen|jawOpen and mouthSmile).*r = 1\.0"):
        factor_rows(co_activation(2), wide)


def test_too_few_trials_are_refused(trials):
    few = trials[(trials["trial"] <= 2) & trials["participant"].isin(["01", "02", "03"])].reset_index(
        drop=True
    )
    with pytest.raises(FitError, match="trials"):
        factor_rows(co_activation(2), few)


def test_a_table_without_shapes_is_refused(trials):
    with pytest.raises(FitError, match="blend_shape"):
        factor_rows(co_activation(2), trials.drop(columns="blend_shape"))


@pytest.mark.parametrize("change", ["no trial", "twice"])
def test_rows_that_no_trial_can_be_told_of_are_refused(trials, change):
    """Counting rows would join shapes of different trials."""
    plain = trials[["participant", "stimulus", "trial", "blend_shape", "activation"]]
    table = (
        plain.drop(columns="trial") if change == "no trial" else pd.concat([plain, plain], ignore_index=True)
    )
    with pytest.raises(FitError, match="which rows are one trial"):
        factor_rows(co_activation(2), table)
    assert len(factor_rows(co_activation(2), plain).activation) == 96
