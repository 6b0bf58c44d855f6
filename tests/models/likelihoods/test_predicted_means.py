"""Predicted means of families with a link: against a closed form, new persons drawn by hand, and persons' own sums."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm

import mien
from mien.models import prediction_draws

GRID = pd.DataFrame({"valence": ["negative", "positive"]})


def flat(fit, name):
    values = fit["posterior"][name].to_numpy()
    return values.reshape(-1, *values.shape[2:])


def grid_of(fit):
    """Valence as the study has it: categories or numbers."""
    return GRID if "valence" in fit.attrs["coding"] else pd.DataFrame({"valence": [-0.5, 0.5]})


def test_a_gammas_mean_is_its_closed_form(fit_of):
    """E[y] = (1 − hu) exp(η + s²/2)."""
    fit = fit_of("hurdle_gamma")
    found = prediction_draws(fit, grid_of(fit)).to_numpy().reshape(-1, 2)
    level = flat(fit, "Intercept") + flat(fit, "1|participant_sigma") ** 2 / 2
    for place, code in enumerate((-0.5, 0.5)):
        wanted = (1 - flat(fit, "hu")) * np.exp(level + code * flat(fit, "valence"))
        assert found[:, place] == pytest.approx(wanted, rel=1e-6)
        typical = wanted * np.exp(-(flat(fit, "1|participant_sigma") ** 2) / 2)  # saboteur: effects at 0
        assert found[:, place] != pytest.approx(typical, rel=1e-3)


def test_differences_of_means_are_the_effect(fit_of):
    fit = fit_of("ordered_beta", "raw ~ valence + (valence | participant)")
    found = prediction_draws(fit, grid_of(fit)).to_numpy()
    effect = mien.effects(fit)
    effect = effect[(effect["effect"] == "valence") & (effect.get("part", "") == "")].iloc[0]
    assert (found[..., 1] - found[..., 0]).mean() == pytest.approx(effect["mean"], rel=1e-6)


def test_persons_have_their_own_mean(fit_of):
    fit = fit_of("ordered_beta", "raw ~ valence + (valence | participant)")
    person = str(fit["posterior"]["participant"].to_numpy()[3])
    grid = grid_of(fit).assign(participant=person)
    found = prediction_draws(fit, grid, level="participant").to_numpy().reshape(-1, 2)[:, 1]
    eta = flat(fit, "Intercept") + flat(fit, "1|participant")[:, 3]
    eta = eta + 0.5 * (flat(fit, "valence") + flat(fit, "valence|participant")[:, 3])
    moving, one = expit(eta - flat(fit, "cutpoint_zero")), expit(eta - flat(fit, "cutpoint_one"))
    assert found == pytest.approx(one + (moving - one) * expit(eta), rel=1e-6)


def test_regressions_of_parameters_count(fit_of):
    fit = fit_of("zero_inflated_beta", parameters={"zi": "~ valence"})
    found = prediction_draws(fit, grid_of(fit)).to_numpy().reshape(-1, 2)
    nodes, weight = np.polynomial.legendre.leggauss(400)
    nodes, weight = 9 * nodes, 9 * weight * norm.pdf(9 * nodes)
    for place, code in enumerate((-0.5, 0.5)):
        eta = flat(fit, "Intercept") + code * flat(fit, "valence")
        spread = flat(fit, "1|participant_sigma")
        inside = expit(eta[:, None] + spread[:, None] * nodes) @ weight
        moving = expit(-(flat(fit, "zi_Intercept") + code * flat(fit, "zi_valence")))
        assert found[:, place] == pytest.approx(moving * inside, rel=1e-5)


FAMILIES = ("student_t", "ordered_beta", "zero_inflated_beta", "zero_one_inflated_beta", "hurdle_gamma")


@pytest.mark.parametrize("family", FAMILIES)
def test_new_observations_average_to_the_mean(fit_of, family):
    """Of new persons: within five standard errors of the mean that is integrated over them."""
    fit = fit_of(family)
    grid = pd.concat(
        [grid_of(fit)] * 50, ignore_index=True
    )  # new levels are drawn row by row where none is named
    values = prediction_draws(fit, grid, kind="outcome").to_numpy().reshape(-1, 50, 2)
    wanted = prediction_draws(fit, grid_of(fit)).to_numpy().reshape(-1, 2)
    excess = (values - wanted[:, None]).mean(axis=1)
    error = excess.std(axis=0) / np.sqrt(len(excess))
    assert (np.abs(excess.mean(axis=0)) < 5 * error).all()
    shifted = (values - wanted[:, None, ::-1]).mean(axis=1)  # saboteur: the other valence's mean
    assert (np.abs(shifted.mean(axis=0)) > 5 * error).any()
    spread = values.std(axis=(0, 1))
    assert (spread > 1.5 * wanted.std(axis=0)).all()  # more than the mean's own uncertainty


def test_new_observations_have_the_chance_of_a_zero(fit_of):
    fit = fit_of("hurdle_gamma")
    grid = pd.concat([grid_of(fit)] * 50, ignore_index=True)
    zeros = (prediction_draws(fit, grid, kind="outcome").to_numpy() == 0).mean()
    chance = flat(fit, "hu").mean()
    assert zeros == pytest.approx(chance, abs=5 * np.sqrt(chance / 2000))
