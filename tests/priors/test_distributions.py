import math

import pytest

from mien.priors import (
    LKJ,
    Exponential,
    Fixed,
    Flat,
    HalfNormal,
    HalfStudentT,
    Normal,
    prior_from_dict,
    prior_to_dict,
)
from mien.study.errors import SpecError

ALL = (
    Normal(0.0, 1.0),
    Flat(),
    HalfNormal(1.0),
    HalfStudentT(4.0, 2.0),
    Exponential(0.5),
    LKJ(2.0),
    Fixed(0.3),
)


@pytest.mark.parametrize("prior", ALL, ids=lambda prior: type(prior).__name__)
def test_plain_data_and_back(prior):
    assert prior_from_dict({**prior_to_dict(prior), "source": "user"}) == prior


def test_priors_are_frozen_values():
    assert Normal(0, 1) == Normal(0, 1)
    with pytest.raises(AttributeError):
        Normal(0, 1).sd = 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Normal(0, 0),
        lambda: Normal(math.nan, 1),
        lambda: HalfNormal(-1),
        lambda: HalfStudentT(0, 1),
        lambda: Exponential(math.inf),
        lambda: LKJ("2"),
        lambda: Fixed(True),
    ],
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(SpecError, match="expected"):
        wrong()


def test_unknown_family_and_missing_number_are_named():
    with pytest.raises(SpecError, match="Cauchy"):
        prior_from_dict({"family": "Cauchy", "scale": 1.0})
    with pytest.raises(SpecError, match="no sd"):
        prior_from_dict({"family": "Normal", "mean": 1.0})
