"""Bins are numbered in int16: a trial that needs more is refused, and the last that fits is right."""

import pandas as pd
import pytest

from mien.data_prep.recipe import Recipe
from mien.data_prep.windows import windows_of
from mien.study.errors import SpecError


def film(duration):
    return pd.DataFrame({"onset": [1.0], "duration": [duration], "medium": ["film"]})


def test_the_last_bin_that_fits():
    assert windows_of(film(327.67), Recipe(bin=0.01), task="met").bin.max() == 32_767


def test_one_more_is_refused():
    with pytest.raises(SpecError, match="trial 1: expected at most 32767 bins in a trial, found 32768 of"):
        windows_of(film(327.68), Recipe(bin=0.01), task="met")
