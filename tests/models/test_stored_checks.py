"""Checks come back from disk as they were, and a fit without them says why."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mien
from mien.models import checks
from mien.models.stored_checks import _affordable, stored_checks, with_checks


@pytest.fixture(scope="module")
def checked(small_fit):
    return with_checks(small_fit)


def test_the_table_is_that_of_checks_and_survives_the_disk(small_fit, checked, tmp_path):
    assert "checks" not in small_fit.children
    wanted = checks(small_fit)
    mien.save(checked, tmp_path / "fit")
    for fit in (checked, mien.load(tmp_path / "fit"), with_checks(checked)):
        found = stored_checks(fit)
        pd.testing.assert_frame_equal(found.table, wanted, check_dtype=False)
        assert found.table["outside"].dtype == bool
        assert (found.notes, found.missing) == (tuple(mien.models.check_notes(wanted)), "")
    assert mien.effects(mien.load(tmp_path / "fit")).equals(mien.effects(small_fit))


def test_a_fit_that_cannot_be_checked_says_why(small_fit):
    bare = small_fit.copy()
    del bare["constant_data"]
    told = stored_checks(with_checks(bare))
    assert told.table is None
    assert told.missing.startswith("expected a fit that holds its rows")
    assert stored_checks(small_fit).missing == "they were not run with this fit"


def test_effects_that_were_left_out_are_drawn(small_fit):
    names = [
        name for name in small_fit["posterior"].data_vars if str(name).endswith(("|participant", "|stimulus"))
    ]
    bare = small_fit.copy()
    bare["posterior"] = small_fit["posterior"].to_dataset().drop_vars(names)
    one, other = (stored_checks(with_checks(fit)).table for fit in (bare, small_fit))
    same = ~one["check"].isin(["PIT"])
    np.testing.assert_allclose(one["observed"][same], other["observed"][same], rtol=0.1, atol=0.05)


def test_courses_are_checked_with_effects_drawn_for_it(trials_maker):
    data = trials_maker(participants=6, stimuli=6, shapes=("mouthSmile",), bins=5)
    formula = "activation ~ valence + (1 | participant) + (1 | participant:trial)"
    fit = mien.fit(
        formula,
        data,
        smooths=("s(time)",),
        residual="ar1",
        draws=100,
        group_effects=False,
        engine="collapsed",
    )
    assert "1|participant" not in fit["posterior"]
    table = stored_checks(with_checks(fit)).table
    assert set(table["check"]) >= {"residual sd", "autocorrelation of bins", "PIT"}
    assert np.isfinite(table["observed"]).all()


def test_many_rows_take_fewer_draws():
    def rows(count):
        return xr.DataTree.from_dict({"observed_data": xr.Dataset(coords={"observation": np.arange(count)})})

    assert [_affordable(rows(count)) for count in (10, 5_000, 20_000, 3_000_000)] == [200, 200, 50, 25]
