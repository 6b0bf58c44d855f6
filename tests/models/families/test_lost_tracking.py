"""How far lost trials move an answer, against putting them in and computing the posterior again, densely."""

import json

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models.fitting import make_problem
from mien.priors import Fixed, Normal
from mien.study.errors import FitError

SDS = {
    "sd:1|participant": 0.02, "sd:valence|participant": 0.012, "sd:medium|participant": 0.008,
    "sd:valence:medium|participant": 0.008, "sd:medium_is_picture|stimulus": 0.006,
    "sd:medium_is_film|stimulus": 0.01, "corr": 0.4, "sigma:picture": 0.03, "sigma:film": 0.04,
}  # fmt: skip
PRIORS = {
    "Intercept": Normal(0, 1),
    "beta": Normal(0, 0.5),
    **{name: Fixed(value) for name, value in SDS.items()},
}


@pytest.fixture(scope="module")
def lost_world(world_maker):
    """Tracking is lost in a fifth of the trials with positive films, in a twentieth of the others."""
    world = world_maker(persons=9, pictures=4, films=3, seed=5)
    trials, rng = world.trials.copy(), np.random.default_rng(1)
    often = (trials["medium"] == "film") & (trials["valence"] == "positive")
    lost = rng.random(len(trials)) < np.where(often, 0.3, 0.06)
    trials.loc[lost, "excluded"] = "tracking lost"
    trials.loc[[3, 40], "excluded"] = "moving baseline"
    return trials


def posterior_mean(trials, y):
    """Posterior mean of the coefficients by the dense normal, everything but β known."""
    problem, _, _ = make_problem(mien.models.task(priors=PRIORS), trials.assign(activation=y))
    outcome = problem.outcomes[0]
    design = outcome.design
    rows = len(outcome.response)
    sigma = np.array([SDS[f"sigma:{label}"] for label in outcome.residual.strata])[outcome.residual.stratum]
    covariance = np.diag(sigma**2)
    for block in design.blocks:
        sds = [SDS[f"sd:{term}|{block.factor}"] for term in block.terms]
        corr = np.full((len(sds), len(sds)), SDS["corr"])
        np.fill_diagonal(corr, 1.0)
        same = block.codes[:, None] == block.codes[None, :]
        for a in range(len(sds)):
            for b in range(len(sds)):
                outer = np.outer(block.columns[:, a], block.columns[:, b])
                covariance += sds[a] * sds[b] * corr[a, b] * outer * same
    solved = np.linalg.solve(covariance, np.column_stack([design.columns, outcome.response]))
    precision = design.columns.T @ solved[:, :-1] + np.diag([1.0, 4.0, 4.0, 4.0])
    assert rows == len(covariance)
    return design, covariance, np.linalg.solve(precision, design.columns.T @ solved[:, -1])


def expected_of_lost(trials):
    """y with each lost trial at what the model expects of it given those that are kept."""
    kept = (trials["excluded"] == "").to_numpy()
    lost = (trials["excluded"] == "tracking lost").to_numpy()
    both = trials[kept | lost].assign(excluded="").reset_index(drop=True)
    at = kept[kept | lost]
    design, covariance, _ = posterior_mean(both, both["activation"].to_numpy(dtype=float))
    prior = design.columns @ np.diag([1.0, 0.25, 0.25, 0.25]) @ design.columns.T
    whole = covariance + prior
    y = both["activation"].to_numpy(dtype=float).copy()
    y[~at] = whole[np.ix_(~at, at)] @ np.linalg.solve(whole[np.ix_(at, at)], y[at])
    return both, at, y


def moved_by(trials, shift):
    both, kept, y = expected_of_lost(trials)
    before = posterior_mean(both, y)[2]
    sigma = np.where(both["medium"] == "film", SDS["sigma:film"], SDS["sigma:picture"])
    after = posterior_mean(both, y + np.where(kept, 0.0, shift * sigma))[2]
    alone = posterior_mean(both[kept].reset_index(drop=True), y[kept])[2]
    np.testing.assert_allclose(before, alone, atol=1e-10)  # what is expected of them changes nothing
    return after - before


def agrees(table, moved):
    return np.allclose(table["all_higher"].to_numpy(), moved, atol=1e-7, rtol=1e-5)


def test_it_is_what_putting_the_lost_trials_in_gives(lost_world):
    fitted = mien.fit(mien.models.task(priors=PRIORS), lost_world, draws=100)
    table = mien.models.lost_trials(fitted, lost_world)
    moved = moved_by(lost_world, 1.0)
    assert agrees(table, moved)
    assert agrees(mien.models.lost_trials(fitted, lost_world, shift=-2.0), -2.0 * moved)
    assert not agrees(table.assign(all_higher=table["all_higher"] * 0.9), moved)  # the saboteur
    assert (table["lost"] == int((lost_world["excluded"] == "tracking lost").sum())).all()
    assert (table["at_most"] >= table["all_higher"].abs() - 1e-12).all()
    np.testing.assert_allclose(table["all_higher_sd"] * table["sd"], table["all_higher"])
    by_effect = table.set_index("effect")
    assert by_effect.loc["valence:medium", "all_higher"] > 0  # positive films were lost most


def test_shapes_have_their_own_lost_trials(lost_world):
    other = lost_world.assign(blend_shape="mouthFrown", excluded="")
    both = pd.concat([lost_world.astype({"blend_shape": "str"}), other], ignore_index=True)
    both["blend_shape"] = both["blend_shape"].astype("category")
    fitted = mien.fit(mien.models.valence(), both, draws=100)
    table = mien.models.lost_trials(fitted, both).set_index(["blend_shape", "effect"])
    assert table.loc[("mouthFrown", "valence"), "lost"] == 0
    assert table.loc[("mouthFrown", "valence"), "at_most"] == 0.0
    assert table.loc[("mouthSmile", "valence"), "lost"] > 5
    everything = mien.models.lost_trials(fitted, both, reasons=("tracking lost", "moving baseline"))
    assert everything["lost"].max() == table["lost"].max() + 2


def test_bins_are_averaged_and_traits_joined(lost_world, world_maker, binned):
    people = world_maker(persons=9, pictures=4, films=3, seed=5).participants
    spec = mien.models.traits("empathy", covariates=("sex",))
    fitted = mien.fit(spec, binned(lost_world), participants=people, draws=100)
    one = mien.models.lost_trials(fitted, binned(lost_world), people)
    two = mien.models.lost_trials(fitted, lost_world, people)
    np.testing.assert_allclose(one["all_higher"], two["all_higher"], atol=1e-9)


def test_a_person_who_lost_everything_is_not_in_it(lost_world):
    trials = lost_world.copy()
    trials.loc[trials["participant"] == "01", "excluded"] = "tracking lost"
    fitted = mien.fit(mien.models.valence(), trials, draws=100)
    lost = mien.models.lost_trials(fitted, trials)["lost"].iloc[0]
    others = (trials["excluded"] == "tracking lost") & (trials["participant"] != "01")
    assert lost == int(others.sum())


def test_other_models_are_refused(lost_world, binned):
    spec = mien.ModelSpec("activation ~ valence + (1 | participant)", residual="ar1")
    rng = np.random.default_rng(0)
    trials = binned(lost_world)
    trials["activation"] += rng.normal(0, 0.01, len(trials)).astype(np.float32)
    with pytest.raises(FitError, match=r"found AR\(1\)"):
        mien.models.lost_trials(mien.fit(spec, trials, draws=50), trials)
    plain = mien.fit(mien.models.valence(), lost_world, draws=50)
    with pytest.raises(FitError, match="the column excluded"):
        mien.models.lost_trials(plain, lost_world.drop(columns="excluded"))
    assert json.loads(plain.attrs["counts"])["excluded"] > 0
