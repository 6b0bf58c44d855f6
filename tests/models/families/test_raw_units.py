"""Slopes per raw unit and of the true score; equal first seconds."""

import numpy as np
import pytest

import mien
from mien.study.errors import SpecError, TrialsError


@pytest.fixture(scope="module")
def trait_fit(world):
    return mien.fit(mien.models.traits("empathy"), world.trials, participants=world.participants, draws=300)


def test_a_raw_unit_is_an_sd_divided(trait_fit, world):
    table = mien.models.trait_slopes(trait_fit, {"empathy": 0.64}).set_index(["effect", "per"])
    plain = mien.effects(trait_fit).set_index("effect").loc["valence:empathy_z"]
    sd = world.participants["empathy"].std()
    by = {
        per: table.loc[("valence:empathy_z", per)]
        for per in ("sd", "unit", "sd of the true score", "unit of the true score")
    }
    assert by["sd"]["mean"] == pytest.approx(plain["mean"])
    for name in ("mean", "sd", "eti_lower", "eti_upper", "rope", "beta_sigma"):
        assert by["unit"][name] == pytest.approx(plain[name] / sd)
        assert by["unit of the true score"][name] == pytest.approx(
            by["sd of the true score"][name] / (sd * 0.8)
        )
    assert by["unit"]["in_rope"] == plain["in_rope"]
    assert by["sd of the true score"]["mean"] == pytest.approx(plain["mean"] / 0.8)
    assert by["unit of the true score"]["mean"] == pytest.approx(by["unit"]["mean"] / 0.64)


def test_what_has_no_raw_unit_is_refused(trait_fit, world):
    with pytest.raises(SpecError, match="z-scored columns"):
        mien.models.trait_slopes(mien.fit(mien.models.valence(), world.trials, draws=50))
    with pytest.raises(SpecError, match="did you mean 'empathy'"):
        mien.models.trait_slopes(trait_fit, {"empaty": 0.8})
    with pytest.raises(SpecError, match="above 0, at most 1"):
        mien.models.trait_slopes(trait_fit, {"empathy": 1.2})
    adjusted = mien.fit(
        mien.models.traits("empathy", covariates=("sex",)),
        world.trials,
        participants=world.participants,
        draws=50,
    )
    with pytest.raises(SpecError, match="one column of persons, found empathy_z, sex"):
        mien.models.trait_slopes(adjusted, {"empathy": 0.8})


def test_first_seconds_are_the_shorter_mediums(world, binned):
    trials = binned(world.trials, {"picture": 2.0, "film": 4.0})
    first = mien.models.first_seconds(trials)
    assert first.groupby("medium", observed=True)["bin"].max().to_dict() == {"picture": 4, "film": 4}
    assert len(mien.models.first_seconds(trials, 1.2)) == 2 * len(world.trials)
    assert mien.models.first_seconds(trials, 9.0).equals(trials)
    assert first["bin"].dtype == trials["bin"].dtype
    with pytest.raises(TrialsError, match=r"the first one ends at 0\.5 s"):
        mien.models.first_seconds(trials, 0.3)
    with pytest.raises(TrialsError, match="no column 'time'"):
        mien.models.first_seconds(trials.drop(columns="time"))


def test_a_wide_or_narrow_last_bin_ends_where_its_trial_ends():
    from mien.models.equal_stretches import ends_of_bins

    centres = np.array([0.25, 0.75, 1.25, 1.85, 0.25, 0.75, 1.15, 3.0, 0.25, 0.9])
    trial = np.array([0, 0, 0, 0, 1, 1, 1, 2, 3, 3])
    number = np.array([1, 2, 3, 4, 1, 2, 3, 1, 1, 2])
    ends = [0.5, 1.0, 1.5, 2.2, 0.5, 1.0, 1.3, 6.0, 0.5, 1.3]
    np.testing.assert_allclose(ends_of_bins(trial, number, centres), ends, atol=1e-12)
    later = centres[:4] + 2.0  # a window that begins at 2 s
    np.testing.assert_allclose(ends_of_bins(trial[:4], number[:4], later), np.array(ends[:4]) + 2.0)
