"""Small studies from each family, written with numpy and scipy alone."""

import numpy as np
import pandas as pd
from scipy.special import expit

FORMULA = "raw ~ valence + (valence | participant) + (1 | stimulus)"
FAMILIES = ("student_t", "ordered_beta", "zero_inflated_beta", "zero_one_inflated_beta", "hurdle_gamma")
TRUTH = {
    "Intercept": -0.8, "valence": 0.5, "1|participant": 0.5, "valence|participant": 0.4, "1|stimulus": 0.3,
    "phi": 9.0, "cutpoint_zero": -2.0, "cutpoint_one": 2.5, "zi": 0.3, "zoi": 0.35, "coi": 0.1, "shape": 3.0,
    "hu": 0.3, "sigma": 0.4, "nu": 5.0,
}  # fmt: skip
CORRELATION = 0.4


def responses(family, eta, rng):
    """One value for each linear predictor, zeros and ones included; ones lie a little above 1."""
    rows, truth = len(eta), TRUTH
    mu, phi, chance = expit(eta), truth["phi"], rng.random(len(eta))
    inside = rng.beta(mu * phi, (1 - mu) * phi)
    match family:
        case "student_t":
            return eta + truth["sigma"] * rng.standard_t(truth["nu"], rows)
        case "hurdle_gamma":
            return np.where(
                chance < truth["hu"], 0.0, rng.gamma(truth["shape"], np.exp(eta) / truth["shape"])
            )
        case "zero_inflated_beta":
            return np.where(chance < truth["zi"], 0.0, inside)
        case "zero_one_inflated_beta":
            ends = np.where(rng.random(rows) < truth["coi"], 1.01, 0.0)
            return np.where(chance < truth["zoi"], ends, inside)
        case _:
            zero, one = 1 - expit(eta - truth["cutpoint_zero"]), expit(eta - truth["cutpoint_one"])
            return np.where(chance < zero, 0.0, np.where(chance > 1 - one, 1.02, inside))


def make_study(family, participants=16, stimuli=20, seed=0):
    rng = np.random.default_rng(seed)
    person, stimulus = (
        column.ravel() for column in np.meshgrid(np.arange(participants), np.arange(stimuli), indexing="ij")
    )
    sign = np.where(stimulus % 2 == 0, -0.5, 0.5)
    sd = np.array([TRUTH["1|participant"], TRUTH["valence|participant"]])
    matrix = np.outer(sd, sd) * np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])
    own = rng.multivariate_normal([0, 0], matrix, participants)
    item = rng.normal(0, TRUTH["1|stimulus"], stimuli)
    eta = (
        TRUTH["Intercept"] + TRUTH["valence"] * sign + own[person, 0] + own[person, 1] * sign + item[stimulus]
    )
    return pd.DataFrame(
        {
            "participant": [f"p{number:02d}" for number in person],
            "stimulus": [f"s{number:02d}" for number in stimulus],
            "valence": np.where(sign < 0, "negative", "positive"),
            "trial": stimulus,
            "raw": responses(family, eta, rng),
        }
    )
