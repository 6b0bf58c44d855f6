"""Persons' answers on the outcome's scale: the Gaussian's for a twin of it, simulated means for the rest."""

import numpy as np
import pytest

import mien
from mien.models import person_effects, reliability
from mien.models.likelihood_replicates import draw_response
from mien.priors import Fixed, HalfNormal, Normal
from mien.study.errors import FitError
from tests.models.likelihood_study import make_study

PRIORS = {"Intercept": Normal(0, 2), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1)}


@pytest.mark.slow
@pytest.mark.statistical("families")
def test_answers_of_a_student_t_that_is_a_gaussian_are_the_gaussians():
    data = make_study("student_t", 10, 16)
    formula = "raw ~ valence + (valence | participant) + (1 | stimulus)"
    one = mien.fit(formula, data, engine="collapsed", draws=1000, priors=PRIORS)
    other = mien.fit(formula, data, family="student_t", draws=1000, priors=PRIORS | {"nu": Fixed(1e6)})
    key = ["effect", "participant"]
    both = person_effects(one).merge(person_effects(other), on=key, suffixes=("", "_t"))
    assert len(both) == 20
    assert (both["rows"] == both["rows_t"]).all()
    error = np.hypot(both["sd"], both["sd_t"]) / np.sqrt(1000)
    assert (abs(both["mean"] - both["mean_t"]) < 4 * error).all()
    assert both["sd_t"].to_numpy() == pytest.approx(both["sd"].to_numpy(), rel=0.1)


@pytest.mark.parametrize("family", ["ordered_beta", "hurdle_gamma"])
def test_answers_are_the_means_of_what_the_person_would_do(family):
    """Simulated: one person's rows to many new stimuli, for single draws."""
    data = make_study(family, 6, 10)
    fit = mien.fit("raw ~ valence + (valence | participant) + (1 | stimulus)", data, family=family, draws=100)
    table = person_effects(fit)
    names = {"ordered_beta": ("phi", "cutpoint_zero", "cutpoint_one"), "hurdle_gamma": ("shape", "hu")}[
        family
    ]
    posterior, rng, count = fit["posterior"].dataset, np.random.default_rng(0), 4000
    answers, levels, slopes = [], [], []
    for at in range(0, 400, 8):
        mine = posterior.isel(chain=at // 100, draw=at % 100)
        parameters = {name: float(mine[name]) for name in names}
        level = float(mine["Intercept"] + mine["1|participant"][2])
        slope = float(mine["valence"] + mine["valence|participant"][2])
        item = rng.normal(0, float(mine["1|stimulus_sigma"]), count)
        high, low = (
            draw_response(family, level + sign * slope / 2 + item, parameters, rng).mean() for sign in (1, -1)
        )
        answers.append(high - low)
        levels.append((high + low) / 2)  # half of the person's rows each
        slopes.append(slope)
    rows = table[table["participant"] == "p02"].set_index("effect")
    for simulated, effect in ((answers, "valence"), (levels, "Intercept")):
        row = rows.loc[effect]
        error = np.std(simulated, ddof=1) / np.sqrt(len(simulated)) + row["sd"] / np.sqrt(400)
        assert abs(np.mean(simulated) - row["mean"]) < 4 * error
        assert abs(np.std(simulated) / row["sd"] - 1) < 4 / np.sqrt(2 * len(simulated))
    assert (
        abs(np.mean(slopes) - rows.loc["valence", "mean"]) > 4 * error
    )  # the saboteur: the coefficient itself


def test_reliability_is_for_the_gaussian(fit_of):
    with pytest.raises(FitError, match="the error of a person's answer is another for every person"):
        reliability(fit_of("ordered_beta"))
    with pytest.raises(FitError, match="expected a model with a group term of participant"):
        person_effects(
            mien.fit("raw ~ valence", make_study("ordered_beta", 6, 10), family="ordered_beta", draws=100)
        )
