"""The families against studies whose truth is known, each check beside one that must fail.

Many studies of one design are the shapes of one fit: their faces, persons' and stimuli's effects included, are drawn
anew.
Tolerances are in Monte-Carlo standard errors over studies.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mien
from mien.simulation.calibration import calibrate

pytestmark = pytest.mark.statistical("families")

STUDIES, CONDITIONS = 300, 250


def slopes_of(fitted, effect):
    table = mien.effects(fitted)
    return table[table["effect"] == effect]


def recovered(table, truth, *, narrower=1.0, shifted=0.0):
    """Whether means are right within 4 standard errors, and intervals cover 95 % within 4."""
    count = len(table)
    mean = table["mean"] + shifted
    half = (table["eti_upper"] - table["eti_lower"]) / 2 * narrower
    middle = (table["eti_upper"] + table["eti_lower"]) / 2 + shifted
    bias = (mean.mean() - truth) / (mean.std(ddof=1) / np.sqrt(count))
    covered = float((np.abs(middle - truth) <= half).mean())
    print(f"bias {bias:+.2f} se, coverage {covered:.3f} of {count}")
    return abs(bias) < 4 and covered > 0.95 - 4 * np.sqrt(0.95 * 0.05 / count)


def check_recovery(fitted, effects):
    for effect, truth in effects.items():
        table = slopes_of(fitted, effect)
        print(effect, end=": ")
        assert recovered(table, truth), effect
        assert not recovered(table, truth, narrower=0.35), effect  # the saboteurs
        assert not recovered(table, truth, shifted=table["mean"].std()), effect


def test_the_valence_family_with_three_levels(replicates_maker, truth_type):
    truth = truth_type(medium=0.0, valence_medium=0.0, films=1.0)
    world = replicates_maker(150, truth, films=4, valences=("negative", "neutral", "positive"))
    check_recovery(mien.fit(mien.models.valence(), world.trials), {"valence": 0.04, "neutral": 0.0})


def test_the_task_family(replicates_maker):
    world = replicates_maker(150, pictures=8, films=6)
    fitted = mien.fit(mien.models.task(), world.trials)
    check_recovery(fitted, {"valence": 0.04, "medium": 0.01, "valence:medium": 0.02})
    sigma = fitted["posterior"]["sigma"].mean(("chain", "draw"))
    by = {str(one): float(sigma.sel(medium_stratum=one).mean()) for one in sigma["medium_stratum"].to_numpy()}
    assert by["picture"] == pytest.approx(0.03, rel=0.02)
    assert by["film"] == pytest.approx(0.042, rel=0.02)


def test_the_task_family_with_a_condition(replicates_maker, truth_type):
    truth = truth_type(
        condition=0.012, valence_condition=0.01, sd_condition=0.008, sd_stimulus_condition=0.004
    )
    world = replicates_maker(20, truth, pictures=8, films=6)
    fitted = mien.fit(mien.models.task(conditions="question"), world.trials)
    # "see" (+½) against "feel" (−½) by the alphabet
    check_recovery(fitted, {"question": -0.012, "valence:question": -0.01, "valence:medium": 0.02})


def test_the_traits_family_with_ratings_and_covariates(replicates_maker, truth_type):
    world = replicates_maker(150, truth_type(valence_trait=0.008, rating=0.004), persons=32)
    spec = mien.models.traits("empathy", covariates=("age_z", "sex"), ratings="rating")
    fitted = mien.fit(spec, world.trials, participants=world.participants)
    check_recovery(
        fitted, {"valence:empathy_z": 0.008, "empathy_z": 0.0, "rating_within": 0.004, "valence:age_z": 0.0}
    )


def test_retest(replicates_maker, truth_type):
    truth = truth_type(session=0.015, valence_medium=0.0)  # else the answer is that to the mixture of media
    world = replicates_maker(60, truth, sessions=2, pictures=4, films=3)
    spec = mien.models.valence(session=True, repeated=True)
    check_recovery(mien.fit(spec, world.trials), {"valence:session": 0.015, "valence": 0.04})


def test_a_baseline_as_covariate_and_as_change(replicates_maker, truth_type):
    world = replicates_maker(100, truth_type(valence_medium=0.0), pictures=8, films=6)
    change = mien.fit(mien.models.valence(), world.trials)
    covariate = mien.fit(mien.models.valence(baseline="covariate"), world.trials)
    # raw = activation + baseline in these studies: the slope is 1, and both answers are the same
    check_recovery(covariate, {"baseline_within": 1.0})
    for fitted in (change, covariate):
        assert recovered(slopes_of(fitted, "valence"), 0.04)


# What slopes are for


def test_an_omitted_slope_makes_false_positives(replicates_maker, truth_type):
    """A condition that is nothing on average, in which persons differ by .4 sigma; 48 trials a person."""
    truth = truth_type(
        sd_condition=0.012, sd_stimulus=0.0, films=1.0, sd_medium=0.0, sd_valence_medium=0.0, medium=0.0,
        valence_medium=0.0,
    )  # fmt: skip
    world = replicates_maker(CONDITIONS, truth, persons=32, pictures=24, films=0)
    without = "activation ~ valence * question + (valence | participant) + (1 | stimulus)"
    slopes = "(0 + question + valence:question || participant)"
    assert slopes in mien.models.valence(conditions="question").formula
    outside = []
    for formula in (f"{without} + {slopes}", without):
        table = slopes_of(mien.fit(formula, world.trials, draws=250, group_effects=False), "valence:question")
        outside.append(((table["eti_lower"] > 0) | (table["eti_upper"] < 0)).to_numpy())
    shares = [float(one.mean()) for one in outside]
    inflation = np.sqrt((0.4**2 + 16 / 48) / (16 / 48))
    expected = 2 * stats.norm.cdf(-stats.norm.ppf(0.975) / inflation)
    print(f"false positives with the slope {shares[0]:.3f}, without {shares[1]:.3f}, expected {expected:.3f}")
    assert shares[0] <= 0.06 + 3 * np.sqrt(0.06 * 0.94 / CONDITIONS)
    assert abs(shares[1] - expected) < 4 * np.sqrt(expected * (1 - expected) / CONDITIONS)
    only = int((outside[1] & ~outside[0]).sum()), int((outside[0] & ~outside[1]).sum())
    assert only[0] - only[1] > 3 * np.sqrt(sum(only))  # more than chance would have, study by study


@pytest.mark.parametrize("family", ["task", "traits"])
def test_null_worlds(family, replicates_maker, truth_type):
    """Slopes and stimuli are kept, the effect is nothing: intervals exclude 0 in 6 % at most."""
    world = replicates_maker(STUDIES, truth_type(valence_medium=0.0), pictures=8, films=6)
    spec = mien.models.task() if family == "task" else mien.models.traits("empathy")
    effect = "valence:medium" if family == "task" else "valence:empathy_z"
    fitted = mien.fit(spec, world.trials, participants=world.participants, draws=500, group_effects=False)
    table = slopes_of(fitted, effect)
    outside = float(((table["eti_lower"] > 0) | (table["eti_upper"] < 0)).mean())
    sign = float((table["mean"] > 0).mean())
    print(f"{family}: beyond the interval {outside:.3f}, positive {sign:.3f}")
    assert outside <= 0.06 + 3 * np.sqrt(0.06 * 0.94 / STUDIES)
    assert abs(sign - 0.5) < 4 * np.sqrt(0.25 / STUDIES)


def test_a_given_reliability_undoes_the_dilution(replicates_maker, truth_type):
    """Slopes of the true score are found from a trait that is measured with reliability .6."""
    reliability, slope, ratios, plain = 0.6, 0.015, [], []
    for seed in range(25):
        world = replicates_maker(
            1, truth_type(valence_trait=slope), persons=60, pictures=6, films=3, seed=seed
        )
        true = world.participants["empathy"]
        rng = np.random.default_rng(1000 + seed)
        noise = rng.normal(0, true.std() * np.sqrt(1 / reliability - 1), len(true))
        people = world.participants.assign(empathy=true + noise)
        fitted = mien.fit(mien.models.traits("empathy"), world.trials, participants=people, draws=300)
        table = mien.models.trait_slopes(fitted, {"empathy": reliability}).set_index(["effect", "per"])
        wanted = slope / true.std()  # per unit of the true score
        ratios.append(table.loc[("valence:empathy_z", "unit of the true score"), "mean"] / wanted)
        plain.append(table.loc[("valence:empathy_z", "unit"), "mean"] / wanted)
    error = np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    print(f"corrected {np.mean(ratios):.3f} ± {error:.3f} of the truth, uncorrected {np.mean(plain):.3f}")
    assert abs(np.mean(ratios) - 1.0) < 4 * error
    assert abs(np.mean(plain) - 1.0) > 4 * np.std(plain, ddof=1) / np.sqrt(len(plain))


# Two engines


@pytest.mark.parametrize("family", ["task", "traits"])
def test_two_engines_agree(family, world_maker, truth_type, agreement):
    world = world_maker(truth_type(valence_trait=0.008), persons=12, pictures=5, films=4, seed=9)
    if family == "task":
        spec = replace(mien.models.task(), sigma_by=())  # engine nuts knows one sigma
    else:
        spec = mien.models.traits("empathy", covariates=("sex",))
    found = {}
    for engine, draws in (("collapsed", 2500), ("nuts", 2500)):
        fitted = mien.fit(
            spec, world.trials, participants=world.participants, engine=engine, draws=draws, seed=4
        )
        assert fitted.attrs["diagnostics"] == "passed", fitted.attrs["diagnostics_detail"]
        posterior = fitted["posterior"]
        names = [str(name) for name, item in posterior.data_vars.items() if item.ndim == 3]
        found[engine] = {name: agreement.summary_of(posterior[name].to_numpy()[..., 0]) for name in names}
        if engine == "collapsed":  # resampled points: their own effective size
            import json

            size = next(iter(json.loads(fitted.attrs["engine_verdict"]).values()))["ess_min"]
            found[engine] = {
                name: one._replace(mcse=max(one.mcse, one.sd / np.sqrt(size)))
                for name, one in found[engine].items()
            }
    assert agreement.disagreements(found["collapsed"], found["nuts"]) == []
    wrong = {name: one._replace(mean=one.mean + 0.2 * one.sd) for name, one in found["collapsed"].items()}
    assert agreement.disagreements(wrong, found["nuts"]) != []


# Calibration


@pytest.mark.parametrize("family", ["task", "traits"])
def test_a_thousand_simulations(family, world_maker):
    world = world_maker(persons=8, pictures=3, films=3, seed=11)
    people = world.participants.assign(participant=world.participants["participant_id"].str[4:])
    data = world.trials.astype({"participant": "str"}).merge(
        people[["participant", "empathy"]], on="participant"
    )
    spec = mien.models.task() if family == "task" else mien.models.traits("empathy", ratings="rating")
    found = calibrate(spec, data, replicates=1000, seed=21, workers=2, saboteurs=True)
    verdict = found.verdict
    worst = max(verdict.distance, key=lambda name: verdict.distance[name])
    khat = np.nanquantile(found.khat, [0.5, 0.99, 1.0]).round(2)
    print(
        f"\n{family}: {verdict.failed} failed, khat {khat}, smallest ESS {np.nanmin(found.ess):.0f}, farthest {worst} "
        f"{verdict.distance[worst]:.1f} sd"
    )
    assert verdict.passed, verdict
    assert verdict.failed <= 20
    for saboteur in ("mean + .2 sd", "prior returned"):
        assert not found.verdict_of(saboteur).passed, saboteur


def test_calibration_finds_a_family_without_its_strata(world_maker):
    """The saboteur of the task family: one sigma and one stimulus sd where there are two."""
    world = world_maker(persons=8, pictures=3, films=3, seed=11)
    from mien.priors import Fixed

    priors = {"sigma:picture": Fixed(0.02), "sigma:film": Fixed(0.06)}
    spec = mien.models.task(priors=priors)
    simple = replace(mien.models.task(), sigma_by=())
    found = calibrate(spec, world.trials, replicates=500, seed=22, workers=2, fitted=simple)
    assert not found.verdict.passed
    assert isinstance(world.trials, pd.DataFrame)
