"""Contrasts of the mean response against simulation, closed forms and differences written out by hand."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

import mien
from mien.models.likelihood_replicates import draw_response
from mien.models.mean_response import response_moments
from tests.models.likelihood_study import FAMILIES

LINKED = FAMILIES[1:]
PARAMETERS = {
    "ordered_beta": {"phi": 6.0, "cutpoint_zero": -1.8, "cutpoint_one": 1.5},
    "zero_inflated_beta": {"phi": 6.0, "zi": 0.3},
    "zero_one_inflated_beta": {"phi": 6.0, "zoi": 0.4, "coi": 0.25},
    "hurdle_gamma": {"shape": 2.5, "hu": 0.35},
}


def on_link(parameters):
    def linked(name, value):
        if name in ("zi", "zoi", "coi", "hu"):
            return np.log(value / (1 - value))
        return np.log(value) if name in ("phi", "shape") else np.asarray(value)

    return {name: linked(name, value) for name, value in parameters.items()}


@pytest.mark.parametrize("family", LINKED)
def test_moments_are_those_of_simulated_responses(family):
    rng, eta = np.random.default_rng(1), -0.4
    y = draw_response(family, np.full(400_000, eta), PARAMETERS[family], rng)
    found = response_moments(family, np.array(eta), on_link(PARAMETERS[family]))
    for expected, values in zip(found, (y, y > 0, y >= 1, y**2), strict=True):
        if family == "hurdle_gamma" and values.dtype == bool and values.mean() < 0.2:
            continue  # a gamma has no ones of its own kind
        assert values.mean() == pytest.approx(float(expected), abs=4 * values.std() / np.sqrt(len(y)) + 1e-12)


@pytest.mark.parametrize("family", [family for family in LINKED if family != "hurdle_gamma"])
def test_means_that_floating_point_does_not_tell_from_zero_and_one_have_responses(family):
    """A wide prior on a logit goes there; 1 − s(η) is 0 from η = 37 on."""
    y = draw_response(family, np.array([-800.0, 37.5, 800.0]), PARAMETERS[family], np.random.default_rng(1))
    assert np.isfinite(y).all()
    assert ((y >= 0) & (y <= 1)).all()


def posterior_of(fit):
    return {name: item.to_numpy() for name, item in fit["posterior"].dataset.data_vars.items()}


def test_a_gammas_contrast_is_its_closed_form(fit_of):
    """E[y] = (1 − hu) exp(η + s²/2), whatever the quadrature."""
    fit = fit_of("hurdle_gamma")
    draws = posterior_of(fit)
    level = draws["Intercept"] + draws["1|participant_sigma"] ** 2 / 2
    closed = (1 - draws["hu"]) * (np.exp(level + draws["valence"] / 2) - np.exp(level - draws["valence"] / 2))
    row = mien.effects(fit).set_index("effect").loc["valence"]
    assert row["mean"] == pytest.approx(closed.mean(), rel=1e-6)
    assert row["eti_lower"] == pytest.approx(np.quantile(closed, 0.025), rel=1e-6)


def test_contrast_is_population_averaged_and_not_that_of_a_typical_person(fit_of):
    """Against new persons drawn for every draw; the saboteur that sets effects to 0 is told apart."""
    fit = fit_of("ordered_beta", "raw ~ valence + (valence | participant)")
    draws = {name: value.reshape(2000, *value.shape[2:]) for name, value in posterior_of(fit).items()}
    rng = np.random.default_rng(0)
    sd = np.column_stack([draws["1|participant_sigma"], draws["valence|participant_sigma"]])
    z = rng.normal(size=(2, 2000, 4000))
    r = draws["participant_corr"][:, 0, 1][:, None]
    u0 = sd[:, :1] * z[0]
    u1 = sd[:, 1:] * (r * z[0] + np.sqrt(1 - r**2) * z[1])

    def mean(sign, scale=1.0):
        eta = draws["Intercept"][:, None] + draws["valence"][:, None] * sign + scale * (u0 + sign * u1)
        moving = expit(eta - draws["cutpoint_zero"][:, None])
        one = expit(eta - draws["cutpoint_one"][:, None])
        return (one + (moving - one) * expit(eta)).mean(axis=1), moving.mean(axis=1)

    simulated = mean(0.5)[0] - mean(-0.5)[0]
    table = mien.effects(fit).set_index("effect")
    error = 4 * simulated.std() / np.sqrt(4000 * 2000)
    assert table.loc["valence", "mean"] == pytest.approx(simulated.mean(), abs=error)
    chance = mean(0.5)[1] - mean(-0.5)[1]
    assert table.loc["valence (chance of moving)", "mean"] == pytest.approx(chance.mean(), abs=error)
    typical = (mean(0.5, 0.0)[0] - mean(-0.5, 0.0)[0]).mean()
    assert abs(table.loc["valence", "mean"] - typical) > 20 * error


def test_parts_have_their_own_units_and_those_that_the_model_holds_at_0_are_left_out(fit_of):
    table = mien.effects(fit_of("ordered_beta"))
    assert list(table["effect"]) == [
        "valence", "valence (chance of moving)", "valence (mean when moving)", "valence (chance of 1)",
    ]  # fmt: skip
    assert list(table["units"]) == ["outcome", "probability", "outcome", "probability"]
    assert list(mien.effects(fit_of("hurdle_gamma"))["effect"]) == ["valence", "valence (mean when moving)"]
    with_chance = mien.effects(fit_of("hurdle_gamma", parameters={"hu": "~ valence"}))
    assert "valence (chance of moving)" in set(with_chance["effect"])


def test_hypotheses_combine_contrasts_linearly(fit_of):
    fit = fit_of("zero_inflated_beta")
    half = mien.effects(fit, {"half": "valence / 2"}).set_index("effect")
    whole = mien.effects(fit).set_index("effect")
    assert half.loc["half", "mean"] == pytest.approx(whole.loc["valence", "mean"] / 2)


def test_products_are_differences_of_differences_and_numbers_slopes(fit_of):
    fit = fit_of("zero_inflated_beta", "raw ~ valence * trial + (1 | participant)", {"zi": "~ valence"})
    table, draws = mien.effects(fit).set_index("effect"), posterior_of(fit)
    constants = fit["constant_data"].dataset
    trial = constants["design"].to_numpy()[:, 2]
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)

    def mean(sign, shift):
        at = trial + shift
        zi = expit(draws["zi_Intercept"] + draws["zi_valence"] * sign)
        total = 0.0
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            eta = (
                (draws["Intercept"] + draws["valence"] * sign + draws["1|participant_sigma"] * node)[..., None]
                + (draws["trial"] + draws["valence:trial"] * sign)[..., None] * at
            )  # fmt: skip
            total = total + weight * (1 - zi) * expit(eta).mean(axis=-1)
        return total

    h = trial.std() / 2
    both = ((mean(0.5, h) - mean(0.5, -h)) - (mean(-0.5, h) - mean(-0.5, -h))) / (2 * h)
    assert table.loc["valence:trial", "mean"] == pytest.approx(both.mean(), rel=1e-6)
    slope = sum(share * (mean(sign, h) - mean(sign, -h)) for sign, share in ((0.5, 0.5), (-0.5, 0.5))) / (
        2 * h
    )
    assert table.loc["trial", "mean"] == pytest.approx(slope.mean(), rel=0.02)


def test_levels_of_a_third_category_are_weighed_by_the_coding_turned_round(study_of_three):
    fit, draws = study_of_three
    table = mien.effects(fit).set_index("effect")
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)

    def mean(valence, neutral):
        eta = draws["Intercept"] + draws["valence"] * valence + draws["neutral"] * neutral
        values = [
            weight * np.exp(eta + node * draws["1|participant_sigma"])
            for node, weight in zip(nodes, weights / weights.sum(), strict=True)
        ]
        return (1 - draws["hu"]) * np.sum(values, axis=0)

    negative, neutral, positive = mean(-0.5, -1 / 3), mean(0.0, 2 / 3), mean(0.5, -1 / 3)
    assert table.loc["valence", "mean"] == pytest.approx((positive - negative).mean())
    assert table.loc["neutral", "mean"] == pytest.approx((neutral - (positive + negative) / 2).mean())


@pytest.fixture(scope="module")
def study_of_three():
    from tests.models.likelihood_study import make_study

    study = make_study("hurdle_gamma", 10, 15, seed=1)
    study["valence"] = np.array(["negative", "neutral", "positive"])[study["trial"] % 3]
    fit = mien.fit("raw ~ valence + (1 | participant)", study, family="hurdle_gamma", draws=500)
    return fit, posterior_of(fit)


def test_residual_sd_is_that_about_the_mean(fit_of):
    """Simulated responses given everything: the sd that beta_sigma divides by."""
    fit = fit_of("hurdle_gamma")
    draws = {name: value.ravel()[:400] for name, value in posterior_of(fit).items() if value.ndim == 2}
    eta = draws["Intercept"] + 0.5 * draws["valence"] * np.array([[-1.0], [1.0]])
    eta = eta[..., None] + draws["1|participant_sigma"][:, None] * stats.norm.ppf(
        (np.arange(200) + 0.5) / 200
    )
    p, mean, shape = 1 - draws["hu"][:, None], np.exp(eta), draws["shape"][:, None]
    variance = p * mean**2 * (1 + 1 / shape) - (p * mean) ** 2
    sigma = np.sqrt(variance.mean(axis=(0, 2)))
    row = mien.effects(fit).set_index("effect").loc["valence"]
    assert row["rope"] / 0.1 == pytest.approx(sigma.mean(), rel=0.1)


def test_student_t_has_ordinary_coefficients(fit_of):
    fit = fit_of("student_t", parameters={"sigma": "~ valence"})
    table = mien.effects(fit)
    assert list(table["effect"]) == ["valence"]
    assert table["mean"][0] == pytest.approx(float(fit["posterior"]["valence"].mean()))
    assert np.isfinite(table["beta_sigma"][0])
