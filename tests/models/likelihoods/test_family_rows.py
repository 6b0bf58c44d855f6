"""Rows of other families: distribution functions against draws, units against quadrature; what checks see."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import mien
from mien.models import check_notes, checks, pit
from mien.models.engines.likelihood_sampler import row_log_densities
from mien.models.family_rows import (
    FamilyRows,
    distribution,
    family_rows,
    integrated_densities,
    natural_parameters,
    pearson,
    row_densities,
)
from mien.models.likelihood_replicates import draw_response
from mien.models.uniformity import uniformity
from tests.models.likelihood_study import FAMILIES, make_study

FURTHER = {
    "student_t": {"sigma": np.log(0.7), "nu": np.log(6.0)},
    "ordered_beta": {"phi": np.log(6.0), "cutpoint_zero": -1.2, "cutpoint_one": 1.8},
    "zero_inflated_beta": {"phi": np.log(6.0), "zi": -0.7},
    "zero_one_inflated_beta": {"phi": np.log(6.0), "zoi": -0.7, "coi": -1.0},
    "hurdle_gamma": {"shape": np.log(2.5), "hu": -0.4},
}


def rows_of(family, response, eta=0.3):
    further = {name: np.full((1, 1), value) for name, value in FURTHER[family].items()}
    return FamilyRows(family, response, np.full((len(response), 1), eta), further)


def drawn(family, count=40_000, eta=0.3):
    rows = rows_of(family, np.zeros(count), eta)
    return draw_response(
        family, rows.eta, natural_parameters(family, rows.further), np.random.default_rng(0)
    )[:, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_distribution_is_that_of_draws(family):
    values = drawn(family)
    at = np.array(
        [-0.4, 0.0, 0.05, 0.3, 0.7, 0.98, 1.0, 1.4] if family == "student_t" else [0.0, 0.05, 0.3, 0.7, 0.98]
    )
    at = np.append(at, 1.0) if family in ("ordered_beta", "zero_one_inflated_beta") else at
    below, mass = (part[:, 0] for part in distribution(rows_of(family, at)))
    for value, less, equal in zip(at, below, mass, strict=True):
        assert abs((values < value).mean() - less) < 4 * np.sqrt(less * (1 - less) / len(values)) + 1e-12
        assert abs((values == value).mean() - equal) < 4 * np.sqrt(equal * (1 - equal) / len(values)) + 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_pearson_residuals_have_mean_0_and_sd_1(family):
    values = drawn(family)
    left = pearson(rows_of(family, values), values[:, None])[:, 0]
    wanted = np.sqrt(6.0 / 4.0) if family == "student_t" else 1.0
    assert abs(left.mean()) < 4 * wanted / np.sqrt(len(left))
    assert left.std() == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_a_fit_are_those_of_its_names(fit_of, family):
    fit = fit_of(family)
    picked = np.array([3, 700])
    rows, posterior = family_rows(fit, None, picked), fit["posterior"].dataset
    constants = fit["constant_data"].dataset
    design, who = constants["design"].to_numpy(), constants["participant index"].to_numpy()
    for place, at in enumerate(picked):
        mine = posterior.isel(chain=at // 500, draw=at % 500)
        eta = design @ [mine["Intercept"], mine["valence"]] + mine["1|participant"].to_numpy()[who]
        np.testing.assert_allclose(rows.eta[:, place], eta, rtol=1e-5)
        parameters = {name: float(mine[name]) for name in FURTHER[family]}
        wanted = row_log_densities(family, rows.response, rows.eta[:, place].copy(), parameters)
        np.testing.assert_allclose(row_densities(rows)[:, place], wanted, rtol=1e-9)


# Units


def by_quadrature(fit, picked, who, sd_factor=1.0):
    """Log p(y_person | draw) by a fine grid over the person's one effect."""
    rows = family_rows(fit, None, picked, without="participant")
    sd = sd_factor * fit["posterior"]["1|participant_sigma"].to_numpy().ravel()[picked]
    natural = natural_parameters(rows.family, rows.further)
    grid, result = np.linspace(-8, 8, 1201), np.empty((len(picked), who.max() + 1))
    for d in range(len(picked)):
        own = {name: value[0, d] for name, value in natural.items()}
        eta = (rows.eta[:, d][:, None] + sd[d] * grid).ravel()
        density = row_log_densities(rows.family, np.repeat(rows.response, len(grid)), eta, own).reshape(
            -1, len(grid)
        )
        for person in range(who.max() + 1):
            total = density[who == person].sum(axis=0) + stats.norm.logpdf(grid)
            result[d, person] = logsumexp(total) + np.log(grid[1] - grid[0])
    return result


@pytest.mark.parametrize("family", ["ordered_beta", "hurdle_gamma", "student_t"])
def test_a_persons_density_is_that_of_quadrature(fit_of, family):
    fit, picked = fit_of(family), np.arange(0, 2000, 100)
    who = fit["constant_data"]["participant index"].to_numpy()
    found, error = integrated_densities(fit, None, picked, "participant", who)

    def far(exact):
        return np.abs((found - exact).mean(axis=0)) > 4 * error + 1e-4

    assert not far(by_quadrature(fit, picked, who)).any()
    assert error.max() < 0.05
    assert far(by_quadrature(fit, picked, who, sd_factor=0.7)).any()  # the saboteur: another population


def by_grid(fit, picked, who, correlated=True):
    """The same for two effects that go together, over a square grid."""
    rows, posterior = family_rows(fit, None, picked, without="participant"), fit["posterior"].dataset
    natural = natural_parameters(rows.family, rows.further)
    columns = [fit["constant_data"][f"{term}|participant column"].to_numpy() for term in ("1", "valence")]
    side = np.linspace(-6, 6, 61)
    one, two = (axis.ravel() for axis in np.meshgrid(side, side))
    prior = stats.norm.logpdf(one) + stats.norm.logpdf(two) + 2 * np.log(side[1] - side[0])
    result = np.empty((len(picked), who.max() + 1))
    for d, at in enumerate(picked):
        mine = posterior.isel(chain=at // posterior.sizes["draw"], draw=at % posterior.sizes["draw"])
        r = float(mine["participant_corr"][0, 1]) * correlated
        u = float(mine["1|participant_sigma"]) * one
        w = float(mine["valence|participant_sigma"]) * (r * one + np.sqrt(1 - r**2) * two)
        own = {name: value[0, d] for name, value in natural.items()}
        eta = rows.eta[:, d][:, None] + columns[0][:, None] * u + columns[1][:, None] * w
        density = row_log_densities(rows.family, np.repeat(rows.response, len(one)), eta.ravel(), own)
        for person in range(who.max() + 1):
            total = density.reshape(eta.shape)[who == person].sum(axis=0) + prior
            result[d, person] = logsumexp(total)
    return result


def test_two_effects_that_go_together_are_those_of_a_grid(fit_of):
    fit = fit_of("ordered_beta", "raw ~ valence + (valence | participant) + (1 | stimulus)")
    picked = np.arange(0, 2000, 200)
    who = fit["constant_data"]["participant index"].to_numpy()
    found, error = integrated_densities(fit, None, picked, "participant", who)

    def far(exact):
        return np.abs((found - exact).mean(axis=0)) > 4 * error + 1e-4

    assert not far(by_grid(fit, picked, who)).any()
    assert error.max() < 0.1
    assert far(by_grid(fit, picked, who, correlated=False)).any()  # the saboteur


# Checks and PIT


def only(table, name):
    return table[table["check"] == name].iloc[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_family_is_left_alone(fit_of, family):
    table = checks(fit_of(family))
    wanted = {"sd of rows", "mean", "sd", "skewness", "share of zeros", "PIT"}
    wanted |= {"share of ones"} if family in ("ordered_beta", "zero_one_inflated_beta") else set()
    assert wanted <= set(table["check"])
    assert table["outside"].mean() < 0.2
    assert only(table, "PIT")["p"] > 0.05
    assert len(check_notes(table)) == table["check"].nunique()


def test_zeros_that_a_family_cannot_give_are_seen():
    wrong = mien.fit(
        "raw ~ valence + (1 | participant)",
        make_study("zero_inflated_beta", 10, 16),
        family="student_t",
        draws=250,
    )
    table = checks(wrong)
    assert only(table, "share of zeros")["p"] == 0.0
    assert only(table, "share below 0")["outside"]


def test_values_in_two_heaps_are_seen():
    data, rng = make_study("ordered_beta", 10, 16), np.random.default_rng(0)
    data["raw"] = np.where(rng.random(len(data)) < 0.5, 0.2, 0.8) + rng.normal(0, 0.01, len(data))
    wrong = mien.fit("raw ~ valence + (1 | participant)", data, family="ordered_beta", draws=250)
    assert only(checks(wrong), "PIT")["p"] < 0.001


def test_pit_is_uniform_for_the_right_family_and_its_seed_matters_at_zeros(fit_of):
    fit = fit_of("ordered_beta")
    found, again = pit(fit, draws=400), pit(fit, draws=400, seed=1)
    y = fit["observed_data"]["outcome"].to_numpy()
    assert uniformity(found["pit"].to_numpy()).p > 0.1
    inside = (y > 0) & (y < 1)
    np.testing.assert_array_equal(found["pit"].to_numpy()[inside], again["pit"].to_numpy()[inside])
    assert (found["pit"].to_numpy()[y == 0] != again["pit"].to_numpy()[y == 0]).all()
    assert found.attrs["above"] <= 2
    zeros_at_0 = np.where(y == 0, 0.0, found["pit"].to_numpy())  # the saboteur: not spread
    assert uniformity(zeros_at_0).p < 1e-6
