"""Courses, bands and peaks against curves that are known."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import mien
from mien.models.courses import (
    CURVE_COLUMNS,
    PEAK_COLUMNS,
    band_factor,
    course_draws,
    curves,
    peak_draws,
    peaks,
)
from mien.models.families.time import time
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.priors import HalfNormal, HalfStudentT, Normal
from mien.simulation.calibration import calibrate
from mien.simulation.model_draws import draw_model
from mien.study.errors import FitError, SpecError

BINS = 10
TIMES = 0.25 + 0.5 * np.arange(BINS)
SMALL = ModelSpec(
    "y ~ valence + (valence | participant) + (1 | stimulus)",
    smooths=("s(time, 4)", "s(time, 4):valence", "s(time, 1) | participant"),
    residual="ar1", series=("participant", "stimulus"),
)  # fmt: skip


def table(persons=6, stimuli=6, bins=BINS, missing=0.05, seed=0):
    rng = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product(
        [range(persons), range(stimuli), range(bins)], names=["participant", "stimulus", "bin"]
    ).to_frame(index=False)
    order = np.array([rng.permutation(stimuli) for _ in range(persons)])
    rows = rows.assign(
        time=0.25 + 0.5 * rows["bin"],
        valence=np.where(rows["stimulus"] % 2, "positive", "negative"),
        trial=1 + order[rows["participant"], rows["stimulus"]],
        session="1",
        task="met",
        y=rng.normal(size=len(rows)),
    )
    rows = rows[rng.random(len(rows)) >= missing].reset_index(drop=True)
    return rows.astype({"participant": "str", "stimulus": "str"})


def with_course(rows, course, seed, sigma=0.3, rho=0.5):
    """Persons, stimuli and trials of their own, AR(1) residuals, and a difference of the given course."""
    rng = np.random.default_rng(seed)
    person = rows["participant"].astype(int).to_numpy()
    stimulus = rows["stimulus"].astype(int).to_numpy()
    sign = np.where(rows["valence"] == "positive", 0.5, -0.5)
    persons, stimuli = person.max() + 1, stimulus.max() + 1
    level = rng.normal(0, 0.3, persons)[person] + rng.normal(0, 0.15, stimuli)[stimulus]
    slope = 1 + rng.normal(0, 0.2, persons)[person]
    trial = rng.normal(0, 0.15, (persons, stimuli))[person, stimulus]
    noise = rng.normal(size=(persons, stimuli, rows["bin"].max() + 1))
    for k in range(1, noise.shape[2]):
        noise[:, :, k] = rho * noise[:, :, k - 1] + np.sqrt(1 - rho**2) * noise[:, :, k]
    scatter = sigma * noise[person, stimulus, rows["bin"]]
    return 0.2 + sign * slope * course(rows["time"].to_numpy()) + level + trial + scatter


def bump(t):
    return 0.8 * np.exp(-0.5 * ((t - 2.5) / 0.9) ** 2)


def test_peak_of_known_curves():
    grid = np.linspace(0, 10, 2001)
    found = peak_draws(np.stack([2 * np.exp(-0.5 * ((grid - 4) / 1.0) ** 2), -grid / 10]), grid)
    half = np.sqrt(2 * np.log(2))
    np.testing.assert_allclose(found["size"], [2, -1], rtol=1e-6)
    np.testing.assert_allclose(found["time"], [4, 10], atol=0.01)
    np.testing.assert_allclose(found["latency"], [4 - half, 5], atol=0.01)
    np.testing.assert_allclose(found["half-fade"], [half, np.nan], atol=0.01)
    np.testing.assert_allclose(found["area"], [2 * np.sqrt(2 * np.pi), -5], rtol=1e-3)


def test_a_curve_that_starts_at_its_peak_has_the_first_time_as_latency():
    grid = np.linspace(1, 3, 101)
    found = peak_draws((4 - grid)[None], grid)
    assert found["latency"][0] == 1.0
    assert found["time"][0] == 1.0


def test_band_of_independent_times_has_the_quantile_of_the_largest():
    draws = np.random.default_rng(1).normal(size=(200_000, 12)) * np.arange(1, 13)
    exact = norm.ppf(0.5 * (1 + 0.95 ** (1 / 12)))
    assert band_factor(draws, 0.95) == pytest.approx(exact, abs=0.02)
    same = np.repeat(np.random.default_rng(2).normal(size=(200_000, 1)), 12, axis=1)
    assert band_factor(same, 0.95) == pytest.approx(norm.ppf(0.975), abs=0.02)


def test_the_time_family_finds_a_bump_and_its_peak():
    rows = table(10, 12, seed=2)
    rows["activation"] = with_course(rows, bump, seed=3)
    fit = mien.fit(time(), rows, group_effects=False, draws=500)
    assert fit.attrs["diagnostics"] == "passed"
    told = curves(fit)
    assert list(told.columns) == list(CURVE_COLUMNS)
    difference = told[told["kind"] == "difference"]
    np.testing.assert_allclose(difference["time"], TIMES)
    truth = bump(difference["time"].to_numpy())
    assert ((difference["band_lower"] < truth) & (truth < difference["band_upper"])).all()
    assert (
        difference["band_upper"] - difference["band_lower"]
        > difference["eti_upper"] - difference["eti_lower"]
    ).all()
    assert set(told["curve"]) == {"negative", "positive", "positive − negative"}
    levels = told.pivot_table(index="time", columns="curve", values="mean")
    np.testing.assert_allclose(
        levels["positive"] - levels["negative"], levels["positive − negative"], atol=1e-12
    )
    peak = peaks(fit).set_index("quantity")
    assert list(peaks(fit).columns) == list(PEAK_COLUMNS)
    assert peak["p_peak"].iloc[0] > 0.99
    assert peak.loc["time", "eti_lower"] < 2.5 < peak.loc["time", "eti_upper"]
    assert peak.loc["size", "eti_lower"] < 0.8 < peak.loc["size", "eti_upper"]
    assert peak.loc["time", "resolution"] == pytest.approx(0.5)
    hidden = peaks(fit, rope=5.0)
    assert hidden["median"].isna().all()
    assert "valence:center(trial)" in set(mien.effects(fit)["effect"])


def test_courses_are_columns_times_draws():
    """Against the design matrix that was fitted: an average person's mean at the rows is the course there."""
    rows = table(4, 6, seed=5)
    fit = mien.fit(SMALL, rows, draws=50)
    problem, _, _ = make_problem(SMALL, rows)
    design = problem.outcomes[0].design
    posterior = fit["posterior"].dataset
    names = [
        *design.coefficients,
        *(f"{b.terms[0]}|{b.factor}" for b in design.blocks if b.factor == "population"),
    ]
    draws = np.column_stack([posterior[name].to_numpy().reshape(200) for name in names])
    columns = np.column_stack(
        [design.columns, *(block.columns for block in design.blocks if block.factor == "population")]
    )
    course = {one.name: one.draws for one in course_draws(fit, TIMES)}
    at = np.flatnonzero(rows["valence"] == "positive")[:30]
    place = np.rint((rows["time"].to_numpy()[at] - 0.25) / 0.5).astype(int)
    np.testing.assert_allclose(course["positive"][:, place], draws @ columns[at].T, rtol=1e-5, atol=1e-6)


def test_three_levels_have_two_differences():
    rows = table(8, 9, seed=6).assign(
        valence=lambda d: np.array(["negative", "neutral", "positive"])[d["stimulus"].astype(int) % 3]
    )
    told = curves(mien.fit(SMALL, rows, draws=50))
    assert set(told["curve"]) == {
        "negative", "neutral", "positive", "neutral − negative", "positive − negative",
    }  # fmt: skip


def test_what_has_no_course_is_refused():
    rows = table(4, 6)
    fit = mien.fit("y ~ valence + (1 | participant)", rows, draws=50)
    with pytest.raises(FitError, match="smooth of time"):
        curves(fit)
    with pytest.raises(FitError, match="smooth of time"):
        peaks(fit)
    with pytest.raises(SpecError, match="no conditions"):
        time(conditions="question")


# Slow: calibration, and how often bands hold the curve


@pytest.mark.statistical("families")
def test_a_small_time_model_is_calibrated():
    priors = {
        "Intercept": Normal(0, 1), "beta": Normal(0, 0.5), "sd": HalfNormal(0.5), "sigma": HalfStudentT(4, 1),
        "rho": Normal(0, 0.5),
    }  # fmt: skip
    spec = dataclasses.replace(SMALL, priors=priors)
    found = calibrate(spec, table(6, 6, 8), replicates=1000, seed=3, workers=2, saboteurs=True)
    print({name: round(far, 2) for name, far in found.verdict.distance.items()}, found.verdict.failed)
    assert found.verdict.passed, found.verdict
    assert found.verdict.failed <= 50
    for saboteur in ("mean + .2 sd", "prior returned"):
        assert not found.verdict_of(saboteur).passed, saboteur


class Inside(NamedTuple):
    """Of one study: whether the whole difference lies within its band, within its pointwise intervals, and within a
    band of half its width; whether the fit failed."""

    band: bool
    points: bool
    narrow: bool
    failed: bool


def inside_of(truth, fit):
    told = curves(fit, TIMES)
    rows = told[told["kind"] == "difference"]

    def held(lower, upper):
        return bool(((rows[lower] <= truth) & (truth <= rows[upper])).all())

    middle, half = (
        (rows["band_upper"] + rows["band_lower"]) / 2,
        (rows["band_upper"] - rows["band_lower"]) / 2,
    )
    return Inside(
        held("band_lower", "band_upper"), held("eti_lower", "eti_upper"),
        bool((np.abs(truth - middle) <= 0.5 * half).all()), fit.attrs["diagnostics"] != "passed",
    )  # fmt: skip


def shares(name, found):
    """(band, points, narrow) over studies, printed; fits that failed stay in."""
    share = Inside(*np.mean(found, axis=0))
    print(
        f"\n{name}: {len(found)} studies, {100 * share.failed:.1f} % of fits failed; bands hold {share.band:.3f}, "
        f"pointwise intervals {share.points:.3f}, bands of half the width {share.narrow:.3f}"
    )
    return share


@pytest.mark.statistical("families")
def test_bands_hold_whole_curves_drawn_from_the_prior():
    """95 % of 1,000 studies, within 3 Monte-Carlo standard errors; pointwise intervals hold fewer, and must fail."""
    studies, inside = 1000, []
    rows = table(8, 8, seed=9)
    problem, _, _ = make_problem(SMALL, rows)
    outcome = problem.outcomes[0]
    frozen = {name: resolved.prior for name, resolved in outcome.priors.items()}
    spec = ModelSpec(SMALL.formula, smooths=SMALL.smooths, residual="ar1", series=SMALL.series, priors=frozen)
    population = [place for place, block in enumerate(outcome.design.blocks) if block.factor == "population"]
    positive = np.flatnonzero(rows["valence"] == "positive")
    at = [positive[np.argmin(np.abs(rows["time"].to_numpy()[positive] - t))] for t in TIMES]
    negative = np.flatnonzero(rows["valence"] == "negative")
    below = [negative[np.argmin(np.abs(rows["time"].to_numpy()[negative] - t))] for t in TIMES]
    rng = np.random.default_rng(10)
    for study in range(studies):
        world = draw_model(outcome, rng)
        mean = outcome.design.columns @ world.coefficients
        for place in population:
            mean = mean + outcome.design.blocks[place].columns[:, 0] * world.effects[place][0, 0]
        fit = mien.fit(
            spec, rows.assign(y=world.outcome.response), draws=250, seed=study, group_effects=False
        )
        inside.append(inside_of(mean[at] - mean[below], fit))
    share, error = shares("drawn from the prior", inside), 3 * np.sqrt(0.95 * 0.05 / studies)
    assert abs(share.band - 0.95) < error
    assert share.points < 0.95 - error  # the saboteur
    assert share.failed < 0.02


@pytest.mark.statistical("families")
@pytest.mark.parametrize(
    ("name", "course"),
    [("null", np.zeros_like), ("step", lambda t: 0.5 * (t > 1.5)), ("bump", bump)],
    ids=["null", "step", "bump"],
)
def test_bands_hold_curves_that_are_not_from_the_prior(name, course):
    """90 % of 100 studies at least; narrower bands must fail that."""
    studies, inside = 100, []
    for study in range(studies):
        rows = table(10, 12, seed=study)
        rows["activation"] = with_course(rows, course, seed=1000 + study)
        fit = mien.fit(time(habituation=False), rows, draws=250, seed=study, group_effects=False)
        inside.append(inside_of(course(TIMES), fit))
    share = shares(name, inside)
    assert share.band >= 0.9
    assert share.narrow < 0.9  # the saboteur
    assert share.failed < 0.1
