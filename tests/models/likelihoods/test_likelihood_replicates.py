"""Replicates of other families look like the rows that were fitted, and like the mean response."""

import numpy as np
import pytest

import mien
from tests.models.likelihood_study import FAMILIES, make_study


@pytest.mark.parametrize("family", FAMILIES)
def test_replicates_have_the_zeros_ones_and_spread_of_the_rows(family, fit_of):
    fit = fit_of(family)
    y = fit["observed_data"]["outcome"].to_numpy()
    found = mien.posterior_predictive(fit, seed=1)["outcome"].to_numpy().reshape(-1, len(y))
    for summary in (
        np.mean,
        lambda v: np.mean(v == 0),
        lambda v: np.mean(v >= 1),
        lambda v: np.quantile(v, 0.9),
    ):
        own = np.array([summary(row) for row in found[::5]])
        assert np.mean(own < summary(y)) + 0.5 * np.mean(own == summary(y)) == pytest.approx(0.5, abs=0.49)


def test_replicates_of_new_persons_average_to_the_mean_response(fit_of):
    fit = fit_of("ordered_beta", "raw ~ valence + (valence | participant)")
    found = mien.posterior_predictive(fit, seed=2, in_sample=False)["outcome"].to_numpy().reshape(2000, -1)
    positive = fit["constant_data"]["design"].to_numpy()[:, 1] > 0
    contrast = found[:, positive].mean(axis=1) - found[:, ~positive].mean(axis=1)
    row = mien.effects(fit).set_index("effect").loc["valence"]
    assert contrast.mean() == pytest.approx(row["mean"], abs=4 * contrast.std() / np.sqrt(2000))


def test_a_regression_of_a_parameter_is_followed():
    study = make_study("hurdle_gamma", 10, 16)
    moving = study["valence"] == "positive"
    study.loc[~moving & (study["trial"] % 3 > 0), "raw"] = 0.0
    fit = mien.fit(
        "raw ~ valence + (1 | participant)", study, family="hurdle_gamma", parameters={"hu": "~ valence"},
        draws=200,
    )  # fmt: skip
    found = mien.posterior_predictive(fit, seed=3)["outcome"].to_numpy().reshape(800, -1)
    zeros = (found == 0).mean(axis=0)
    expected = (study["raw"] == 0).to_numpy()
    for rows in (moving.to_numpy(), ~moving.to_numpy()):
        assert zeros[rows].mean() == pytest.approx(expected[rows].mean(), abs=0.05)
