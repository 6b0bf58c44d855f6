import json

import pandas as pd
import pytest
import xarray as xr

from mien.models import effects, fingerprint, load, save, valence
from mien.study.errors import FitError


def test_save_and_load_give_the_same_fit_and_effects(small_fit, tmp_path):
    path = save(small_fit, tmp_path / "fits" / "valence-1a2b3c4d", fingerprint="1a2b3c4d" * 8)
    assert sorted(item.name for item in path.iterdir()) == ["fit.json", "posterior.nc", "summary.parquet"]
    assert [item.name for item in path.parent.iterdir()] == ["valence-1a2b3c4d"]
    back = load(path)
    xr.testing.assert_identical(back, small_fit)
    pd.testing.assert_frame_equal(effects(back), effects(small_fit))
    pd.testing.assert_frame_equal(pd.read_parquet(path / "summary.parquet"), effects(small_fit))
    described = json.loads((path / "fit.json").read_text(encoding="utf-8"))
    assert described["fingerprint"] == "1a2b3c4d" * 8
    assert described["model_spec"]["formula"] == small_fit.attrs["formula"]


def test_a_lazy_fit_reads_what_is_asked_for(small_fit, tmp_path):
    path = save(small_fit, tmp_path / "valence-00000000")
    lazy = load(path, lazy=True)
    variable = lazy["posterior"]["valence"].variable
    assert not variable._in_memory
    assert load(path)["posterior"]["valence"].variable._in_memory
    pd.testing.assert_frame_equal(effects(lazy), effects(small_fit))
    assert not lazy["posterior"]["1|participant"].variable._in_memory
    lazy.close()


def test_a_fit_is_never_written_over(small_fit, tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(FitError, match="expected a new folder"):
        save(small_fit, tmp_path / "here")


def test_nothing_is_left_when_writing_fails(small_fit, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="no space"):
        save(small_fit, tmp_path / "fit")
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_incomplete_fits(small_fit, tmp_path):
    path = save(small_fit, tmp_path / "fit")
    whole = (path / "posterior.nc").read_bytes()
    (path / "posterior.nc").write_bytes(whole[:2000])
    with pytest.raises(FitError, match="damaged"):
        load(path)
    (path / "posterior.nc").unlink()
    with pytest.raises(FitError, match=r"found no posterior\.nc"):
        load(path)


def test_fingerprint_names_what_went_in(trials):
    one = fingerprint(valence(), trials)
    assert one == fingerprint(valence(), trials.copy())
    assert len(one) == 64
    others = {
        fingerprint(valence(), trials, seed=1),
        fingerprint(valence(), trials, draws=500),
        fingerprint(valence(), trials, engine="nuts"),
        fingerprint(valence(), trials.assign(activation=trials["activation"] * 2)),
        fingerprint(valence(), trials, version="0.0.1"),
        one,
    }
    assert len(others) == 6
