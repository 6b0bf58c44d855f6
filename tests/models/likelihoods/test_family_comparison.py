"""Units left out of other families: against the Gaussian's exact densities, and what may be compared."""

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models.family_rows import family_rows, row_densities
from mien.models.predictive_density import leave_one_out
from mien.priors import Fixed, HalfNormal, Normal
from mien.study.errors import FitError
from tests.models.likelihood_study import make_study

PRIORS = {
    "Intercept": Normal(0, 2), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1), "nu": Fixed(1e6),
}  # fmt: skip
FORMULA = "y ~ x + (1 | participant) + (1 | stimulus)"


@pytest.fixture(scope="module")
def both():
    """The same model twice: Gaussian, and Student-t with so many degrees of freedom that it is one."""
    rng = np.random.default_rng(3)
    p, s = (column.ravel() for column in np.meshgrid(np.arange(14), np.arange(10), indexing="ij"))
    x = np.where(s % 2 == 0, -0.5, 0.5)
    y = 0.4 * x + rng.normal(0, 0.6, 14)[p] + rng.normal(0, 0.4, 10)[s] + rng.normal(0, 0.7, len(p))
    data = pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "x": x, "y": y}
    )
    normal = {name: prior for name, prior in PRIORS.items() if name != "nu"}
    return (
        mien.fit(FORMULA, data, engine="collapsed", draws=1000, priors=normal),
        mien.fit(FORMULA, data, family="student_t", draws=1000, priors=PRIORS),
    )


def far(found, exact):
    """(unit,) whether two elpds are more than 4 combined Monte-Carlo errors apart."""
    error = np.hypot(found["mcse"], exact["mcse"]).to_numpy()
    return np.abs(found["elpd"] - exact["elpd"]).to_numpy() > 4 * error + 1e-3


@pytest.mark.parametrize("unit", ["participant", "trial"])
def test_units_left_out_are_the_gaussians(both, unit):
    exact, found = (mien.log_likelihood(fit, unit, draws=2000) for fit in both)
    good = found["khat_loo"].to_numpy() <= found.attrs["khat_limit"]
    assert good.mean() > 0.9
    assert not far(found, exact)[good].any()
    difference = (found["elpd"] - exact["elpd"]).to_numpy()
    error = np.hypot(found["mcse"], exact["mcse"]).to_numpy()
    assert abs(difference.sum()) < 4 * np.sqrt((error**2).sum())


@pytest.mark.slow
@pytest.mark.statistical("families")
def test_psis_foretells_stimuli_a_little_too_well_and_less_so_with_more_draws(both):
    """A stimulus teaches every person's effects, which are all reweighted: a known bias, and its size."""
    exact = mien.log_likelihood(both[0], "stimulus", draws=None)
    few, many = (
        float((mien.log_likelihood(both[1], "stimulus", draws=draws)["elpd"] - exact["elpd"]).mean())
        for draws in (1000, None)
    )
    assert 0 < many < few < 0.15
    assert many < 0.07


def test_saboteur_effects_that_the_unit_has_taught_are_seen(both):
    exact, found = (mien.log_likelihood(fit, "participant") for fit in both)
    picked = np.arange(0, 4000, 4)
    who = both[1]["constant_data"]["participant index"].to_numpy()
    density = row_densities(family_rows(both[1], None, picked))
    total = np.zeros((14, len(picked)))
    np.add.at(total, who, density)
    mean = np.log(np.exp(total - total.max()).mean(axis=1)) + total.max()  # not left out at all
    assert far(found.assign(elpd=("participant", mean)), exact).any()
    _, khat, _ = leave_one_out(total.T, picked)  # conditional weights: their k says so
    assert (khat > found.attrs["khat_limit"]).any()


def test_the_same_model_twice_is_no_preference(both):
    table = mien.compare({"gaussian": both[0], "student": both[1]}, unit="trial")
    assert set(table["preference"]) <= {"no preference", "unreliable"}
    assert abs(table["elpd_diff"]).max() < 1.0


# What may be compared


@pytest.fixture(scope="module")
def raw():
    data = make_study("zero_inflated_beta", 10, 16)

    def fit(rows, family):
        return mien.fit("raw ~ valence + (1 | participant)", rows, family=family, draws=250)

    inside = data[data["raw"] > 0].reset_index(drop=True)
    return (
        {name: fit(data, name) for name in ("gaussian", "ordered_beta", "zero_inflated_beta", "student_t")},
        {name: fit(inside, name) for name in ("gaussian", "ordered_beta")},
    )


def test_probabilities_and_densities_are_not_compared(raw):
    fits, _ = raw
    with pytest.raises(FitError, match=r"rows of exactly 0.*'gaussian'.*'ordered_beta'"):
        mien.compare({name: fits[name] for name in ("gaussian", "ordered_beta")}, unit="trial")
    with pytest.raises(FitError, match="take families with the same zeros and ones"):
        mien.compare({name: fits[name] for name in ("student_t", "zero_inflated_beta")}, unit="trial")


def test_families_with_the_same_zeros_are_compared(raw):
    table = mien.compare(
        {name: raw[0][name] for name in ("ordered_beta", "zero_inflated_beta")}, unit="trial"
    )
    assert table["model"].iloc[0] == "zero_inflated_beta"  # which made the data
    assert (table["method"] == "PSIS-LOO").all()
    assert (table["khat_max"] < 0.7).all()
    table = mien.compare({name: raw[0][name] for name in ("gaussian", "student_t")}, unit="observation")
    assert len(table) == 2


def test_rows_inside_are_compared_with_the_gaussian(raw):
    table = mien.compare(raw[1], unit="participant")
    assert table["model"].iloc[0] == "ordered_beta"
    assert table["elpd_diff"].iloc[1] < -4


def test_folds_are_for_the_gaussian(raw):
    with pytest.raises(FitError, match="k_fold: expected a Gaussian fit, found family"):
        mien.compare({name: raw[0][name] for name in ("ordered_beta", "zero_inflated_beta")}, folds=3)
