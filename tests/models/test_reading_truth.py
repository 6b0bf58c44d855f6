"""What is read from fits, over many simulated studies: reliabilities covered, PIT and preferences in null worlds."""

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models import pit, reliability
from mien.models.uniformity import uniformity
from mien.priors import HalfNormal, Normal

FORMULA = "y ~ valence + (valence | participant) + (1 | stimulus)"
TAU, SIGMA = 0.5, 1.0


def simulated(seed, persons=20, stimuli=12, residual="normal"):
    rng = np.random.default_rng([seed, 99])
    p, s = (column.ravel() for column in np.meshgrid(np.arange(persons), np.arange(stimuli), indexing="ij"))
    v = np.where(s % 2 == 0, -0.5, 0.5)
    noise = {"normal": rng.normal(0, SIGMA, len(p)), "skewed": rng.exponential(SIGMA, len(p)) - SIGMA}[
        residual
    ]
    y = 0.4 * v + rng.normal(0, 0.6, persons)[p] + rng.normal(0, TAU, persons)[p] * v
    y += rng.normal(0, 0.3, stimuli)[s] + noise
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v, "y": y,
         "x": rng.normal(0, 1, len(p))}
    )  # fmt: skip


PRIORS = {"Intercept": Normal(0, 1), "beta": Normal(0, 1), "sd": HalfNormal(0.6), "sigma": HalfNormal(1.0)}


def drawn_from_priors(seed, persons=25, stimuli=14):
    """Data of `FORMULA` with truths from `PRIORS`, and the true reliability of the answer to valence."""
    rng = np.random.default_rng([seed, 7])
    p, s = (column.ravel() for column in np.meshgrid(np.arange(persons), np.arange(stimuli), indexing="ij"))
    v = np.where(s % 2 == 0, -0.5, 0.5)
    level, answer, item = np.abs(rng.normal(0, 0.6, 3))
    sigma = abs(rng.normal(0, 1.0))
    corr = 2 * rng.beta(2, 2) - 1  # LKJ(2) of two terms
    z = rng.normal(0, 1, (2, persons))
    slopes = answer * (corr * z[0] + np.sqrt(1 - corr**2) * z[1])
    y = rng.normal() + rng.normal() * v + level * z[0][p] + slopes[p] * v
    y += item * rng.normal(0, 1, stimuli)[s] + sigma * rng.normal(0, 1, len(p))
    data = pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v, "y": y}
    )
    return data, answer**2 / (answer**2 + sigma**2 * (2 / 7))


@pytest.mark.statistical("families")
def test_intervals_of_reliability_cover_truths_drawn_from_the_prior():
    studies, inside, shifted = 300, 0, 0
    for seed in range(studies):
        data, true = drawn_from_priors(seed)
        fit = mien.fit(FORMULA, data, draws=250, priors=PRIORS)
        row = reliability(fit).set_index("effect").loc["valence"]
        inside += row["eti_lower"] <= true <= row["eti_upper"]
        shifted += row["eti_lower"] <= true / (2 - true) <= row["eti_upper"]  # of half the trials
    print(f"coverage {inside / studies:.3f}, of the reliability of half the trials {shifted / studies:.3f}")
    error = 4 * np.sqrt(0.95 * 0.05 / studies)
    assert abs(inside / studies - 0.95) < error
    assert shifted / studies < 0.95 - error  # saboteur


@pytest.mark.statistical("families")
def test_pit_seldom_blames_a_right_model_and_finds_a_skewed_one():
    p = {}
    for residual in ("normal", "skewed"):
        fits = [mien.fit(FORMULA, simulated(seed, residual=residual), draws=100) for seed in range(60)]
        p[residual] = np.array([uniformity(pit(fit, draws=400)["pit"].to_numpy()).p for fit in fits])
    print({name: np.quantile(values, [0.0, 0.05, 0.5, 1.0]).round(4) for name, values in p.items()})
    assert (p["normal"] < 0.05).mean() <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 60)
    assert (p["skewed"] < 0.05).mean() > 0.9


@pytest.mark.statistical("families")
def test_a_covariate_of_noise_is_seldom_preferred():
    preferred, studies = 0, 60
    for seed in range(studies):
        data = simulated(seed)
        fits = {
            name: mien.fit(f"y ~ valence{more} + (valence | participant) + (1 | stimulus)", data, draws=250)
            for name, more in (("without", ""), ("with", " + x"))
        }
        best = mien.compare(fits, draws=500).iloc[0]
        preferred += best["preference"] == "preferred" and best["model"] == "with"
    print(f"noise preferred in {preferred} of {studies}")
    assert preferred / studies <= 0.05
