"""Factors as outcomes: values, standard errors, and effects that come out at their size."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mien
from mien.models.factors.bartlett import LEAST, TOO_WEAK
from mien.models.factors.conditional import parameters, regression, stored_rows
from mien.models.factors.rotation import signed_permutations, varimax
from mien.priors import HalfNormal
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.study.errors import FitError, TrialsError
from mien.study.trials import mean_over_bins, validate_trials
from tests.models.factors.score_case import small_fit, study, without_rows

OUTCOME = mien.ModelSpec(
    "activation ~ valence + (valence | participant)",
    standard_errors="score_se",
    priors={"sigma": HalfNormal(2.0)},
)


def scored(trials=None, fit=None, **more):
    return mien.models.score_outcomes(
        fit or small_fit(), study().trials if trials is None else trials, **more
    )


def wide(table, name="activation"):
    """(bin, factor)."""
    return table[name].to_numpy(dtype=np.float64).reshape(table["blend_shape"].nunique(), -1).T


def by_hand(fit):
    """H, at the means of the draws."""
    some = parameters(fit, 1000)
    loading, uniqueness = some.loading.mean(axis=0), some.uniqueness.mean(axis=0)
    half = loading.T @ np.diag(1 / uniqueness)
    return np.linalg.inv(half @ loading) @ half, loading, uniqueness, some


def test_values_are_bartletts_scores_of_the_rows():
    weight, loading, _, _ = by_hand(small_fit())
    expected = stored_rows(small_fit()).activation @ weight.T
    assert wide(scored()) == pytest.approx(expected, abs=1e-5)  # activations are float32
    assert weight @ loading == pytest.approx(np.eye(2), abs=1e-10)


def test_standard_errors_are_noise_and_uncertain_loadings():
    weight, _, uniqueness, some = by_hand(small_fit())
    values = stored_rows(small_fit()).activation @ weight.T
    follows = np.einsum("dkj,tj->dtk", weight @ some.loading, values)
    expected = np.sqrt(weight**2 @ uniqueness + follows.var(axis=0, ddof=1))
    assert wide(scored(), "score_se") == pytest.approx(expected, rel=0.02)
    assert scored()["score_se"].nunique() <= 100


def test_errors_of_values_have_the_size_that_the_noise_says():
    """Many trials of known parameters: the value less the factor scatters by the noise part, and is not shrunk."""
    rng = np.random.default_rng(0)
    weight, loading, uniqueness, _ = by_hand(small_fit())
    f = rng.normal(size=(40_000, 2))
    y = f @ loading.T + rng.normal(size=(40_000, 6)) * np.sqrt(uniqueness)
    away = y @ weight.T - f
    assert away.var(axis=0) == pytest.approx(weight**2 @ uniqueness, rel=0.03)
    slope = np.sum(f * (y @ weight.T), axis=0) / np.sum(f**2, axis=0)
    assert slope == pytest.approx(np.ones(2), abs=0.02)
    shrunk = y @ regression(loading[None], uniqueness[None]).weight[0].T
    assert np.all(np.sum(f * shrunk, axis=0) / np.sum(f**2, axis=0) < 0.95)


def test_the_table_is_one_of_trials_with_all_its_columns():
    one = study()
    trials = one.trials.assign(rating=np.float64(4.0))
    found = scored(trials)
    assert validate_trials(found) is found
    assert list(found.columns) == [*trials.columns, "score_se"]
    assert list(found["blend_shape"].cat.categories) == ["W1", "W2"]
    first = trials[trials["blend_shape"] == one.data.truth.shapes[0]].reset_index(drop=True)
    mine = found[found["blend_shape"] == "W2"].reset_index(drop=True)
    same = ["participant", "session", "trial", "stimulus", "valence", "medium", "time", "rating", "tracker"]
    pd.testing.assert_frame_equal(mine[same], first[same])


def test_raw_less_baseline_is_the_activation():
    one = study()
    noise = np.random.default_rng(1).normal(0, 0.01, len(one.trials)).astype(np.float32)
    trials = one.trials.assign(baseline=noise, raw=one.trials["activation"] + noise)
    found = scored(trials)
    assert wide(found, "raw") - wide(found, "baseline") == pytest.approx(wide(found), abs=1e-4)
    assert wide(found) == pytest.approx(wide(scored()), abs=1e-5)
    assert found["peak"].isna().all()


def test_what_the_fit_has_as_covariates_is_still_in_the_values():
    """Both fits' values differ by valence alike; scores net of the covariates do not."""
    one, fit = study(), small_fit()
    shifted = one.trials.copy()
    scale = fit["constant_data"]["scale"].to_series()
    _, loading, _, _ = by_hand(fit)
    push = pd.Series(loading @ [1.0, -0.5], index=scale.index) * scale
    sign = shifted["valence"].map({"negative": -0.5, "positive": 0.5}).to_numpy(dtype=np.float64)
    move = shifted["blend_shape"].astype("str").map(push).to_numpy(dtype=np.float64)
    shifted["activation"] = (shifted["activation"] + sign * move).astype(np.float32)
    change = wide(scored(shifted)) - wide(scored())
    positive = (scored()["valence"] == "positive").to_numpy()[: len(change)]
    gap = change[positive].mean(axis=0) - change[~positive].mean(axis=0)
    assert gap == pytest.approx([1.0, -0.5], abs=1e-4)
    spec = mien.models.co_activation(2, between=1, covariates="valence", shapes=one.data.truth.shapes)
    again = mien.fit(spec, shifted, draws=100, chains=2)
    net = mien.models.factor_scores(again, draws=100)["mean"].to_numpy().reshape(-1, 2)
    net = net[stored_rows(again).design[:, 1] > 0].mean(axis=0)
    assert np.abs(net).max() < 0.05
    values = wide(scored(shifted, again))
    positive = stored_rows(again).design[:, 1] > 0
    assert np.abs(values[positive].mean(axis=0) - values[~positive].mean(axis=0)).max() > 0.5


def test_bins_are_scored_each_and_have_their_trials_error():
    one = study()
    rng, count = np.random.default_rng(2), len(one.trials)
    bins = one.trials.loc[one.trials.index.repeat(2)].reset_index(drop=True)
    move = np.repeat(rng.normal(0, 0.02, count), 2) * np.tile([1.0, -1.0], count)
    bins = bins.assign(
        bin=np.tile([0, 1], count).astype(np.int16),
        time=np.tile([0.25, 0.75], count).astype(np.float32),
        activation=(bins["activation"] + move).astype(np.float32),
    )
    found = scored(bins)
    assert len(found) == 2 * len(scored())
    averaged = mean_over_bins(found)
    averaged = averaged.sort_values(["blend_shape", "participant", "trial"])
    whole = scored().sort_values(["blend_shape", "participant", "trial"])
    for name in ("activation", "score_se"):
        assert averaged[name].to_numpy() == pytest.approx(whole[name].to_numpy(), abs=2e-3)
    assert (
        found.groupby(["participant", "trial", "blend_shape"], observed=True)["score_se"].nunique().max() == 1
    )


def test_rows_are_excluded_where_a_shape_is_and_left_out_where_it_is_missing():
    one = study()
    shape = one.trials["blend_shape"].eq(one.data.truth.shapes[3])
    lost = shape & one.trials["participant"].eq("01")
    absent = shape & one.trials["participant"].eq("02")
    excluded = pd.Series(np.where(lost, "tracking lost", ""), index=one.trials.index, dtype="str")
    activation = one.trials["activation"].where(~lost)
    found = scored(one.trials.assign(excluded=excluded, activation=activation)[~absent])
    assert set(found.loc[found["participant"] == "01", "excluded"]) == {"tracking lost"}
    assert set(found.loc[found["participant"] != "01", "excluded"]) == {""}
    assert "02" not in set(found["participant"])
    assert found.attrs["scores"]["incomplete_bins"] == absent.sum()
    assert found.loc[found["participant"] == "01", "score_se"].isna().all()
    mien.fit(replace(OUTCOME, formula="activation ~ valence"), found, draws=20, chains=2)


def test_fits_without_their_trials_and_other_persons_can_be_scored():
    one = study()
    few = one.trials[one.trials["participant"].isin(["03"])]
    few = few.assign(participant=pd.Categorical(["new"] * len(few)))
    found = scored(few, without_rows(small_fit()))
    known = scored()
    known = known[known["participant"] == "03"]
    assert found["activation"].to_numpy() == pytest.approx(known["activation"].to_numpy(), abs=1e-6)


def emptied(fit, sizes=(1.0, 0.0)):
    """A fit whose second factor has no loadings at all, or loadings without a sign."""
    posterior = fit["posterior"].to_dataset()
    flips = xr.DataArray(np.where(np.arange(posterior.sizes["draw"]) % 2, -1.0, 1.0), dims="draw")
    size = xr.DataArray(list(sizes), dims="factor")
    loading = posterior["loading"] * xr.where(size == 1.0, 1.0, size * flips)
    loading = loading.transpose(*posterior["loading"].dims)
    groups = {name: node.to_dataset() for name, node in fit.children.items()}
    tree = xr.DataTree.from_dict(groups | {"posterior": posterior.assign(loading=loading)})
    tree.attrs = dict(fit.attrs)
    return tree


@pytest.mark.parametrize("size", [0.0, 0.01, 0.9])
def test_factors_without_loadings_are_excluded_and_named(size):
    fit = emptied(small_fit(), (1.0, size))
    found = scored(fit=fit)
    weak = found["blend_shape"] == "W2"
    assert set(found.loc[weak, "excluded"]) == {TOO_WEAK}
    assert set(found.loc[~weak, "excluded"]) == {""}
    assert found.attrs["scores"]["reliability"]["W2"] < LEAST < found.attrs["scores"]["reliability"]["W1"]
    outcome = mien.fit(OUTCOME, found, draws=20, chains=2)
    assert list(outcome["posterior"].to_dataset().coords.get("blend_shape", np.array(["W1"]))) == ["W1"]
    assert mien.models.factor_scores(fit, draws=20)["mean"].notna().all()


# Models of them


def test_families_take_them():
    one = study()
    trials = one.trials.assign(
        medium=pd.Categorical(
            np.where(one.trials["trial"] % 4 < 2, "film", "picture"), ["picture", "film"], ordered=True
        )
    )
    found = scored(trials)
    models = {
        "valence": mien.models.valence(),
        "traits": mien.models.traits("age_z"),
        "task": replace(mien.models.task(), standard_errors="score_se", priors={"sigma": HalfNormal(2.0)}),
    }
    for name, model in models.items():
        outcome = mien.fit(model, found, participants=one.participants, draws=20, chains=2)
        assert list(outcome["posterior"]["blend_shape"].to_numpy()) == ["W1", "W2"], name


def test_the_family_of_time_takes_bins():
    one, bins = study(), 6
    rng, count = np.random.default_rng(2), len(one.trials)
    table = one.trials.loc[one.trials.index.repeat(bins)].reset_index(drop=True)
    table = table.assign(
        bin=np.tile(np.arange(bins), count).astype(np.int16),
        time=np.tile(np.arange(bins) * 0.25, count).astype(np.float32),
        activation=(table["activation"] + rng.normal(0, 0.01, len(table))).astype(np.float32),
    )
    spec = mien.ModelSpec(
        "activation ~ valence * time + (1 | participant) + (1 | participant:trial)", smooths=("s(time)",),
        residual="ar1",
    )  # fmt: skip
    outcome = mien.fit(spec, scored(table), draws=20, chains=2)
    assert list(outcome["posterior"]["blend_shape"].to_numpy()) == ["W1", "W2"]
    assert outcome.attrs["formula"] == spec.formula


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda trials: None, FitError, "expected a pandas.DataFrame, found NoneType"),
        (lambda trials: trials.drop(columns="peak"), TrialsError, "expected the columns of a Trials table"),
        (
            lambda trials: trials[(trials.index % 6) != (trials["trial"] % 6)],
            FitError,
            "expected bins with all 6 shapes of the fit, found none of",
        ),
        (
            lambda trials: trials.assign(tracker=pd.Categorical(["mediapipe"] * len(trials))),
            FitError,
            "expected the fit's tracker",
        ),
        (
            lambda trials: trials[trials["blend_shape"] == trials["blend_shape"].iloc[0]],
            FitError,
            "expected all 6 shapes of the fit, found no .* and 2 more",
        ),
    ],
)
def test_bad_trials_are_told(change, error, message):
    with pytest.raises(error, match=message):
        mien.models.score_outcomes(small_fit(), change(study().trials))


def test_other_fits_and_draws_are_refused():
    other = xr.DataTree.from_dict({"posterior": xr.Dataset()})
    other.attrs = {"family": "gaussian", "formula": "y ~ x"}
    with pytest.raises(FitError, match="score_outcomes: expected a fit of mien"):
        mien.models.score_outcomes(other, study().trials)
    with pytest.raises(FitError, match="draws: expected"):
        scored(draws=0)


# Effects come out at their size

REPLICATES = 100
EFFECT = np.array([0.5, -0.4])  # positive − negative, of the two factors of the truth, in their sds


def replicate(number):
    """Of one study (factor,): estimates by both kinds of scores, whether intervals hold, the truth, the sample's."""
    rng = np.random.default_rng([20, number])
    truth = draw_truth(rng, shapes=12, factors=2, between=1, terms=("Intercept", "valence"))
    coefficient = truth.coefficient.copy()
    coefficient[:, 1] = truth.loading @ EFFECT
    one = simulate_factors(truth._replace(coefficient=coefficient), rng, participants=16, stimuli=24)
    covariates = ("valence",) if number % 2 else ()
    spec = mien.models.co_activation(2, between=1, covariates=covariates, shapes=truth.shapes)
    fit = mien.fit(spec, one.trials, draws=250, seed=number)
    positive = one.data.design[:, 1] > 0
    scores = one.data.scores
    happened = EFFECT + scores[positive].mean(axis=0) - scores[~positive].mean(axis=0)
    target, happened = (in_names_of(fit, truth, covariates, effect) for effect in (EFFECT, happened))
    table = mien.models.score_outcomes(fit, one.trials)
    found = (
        mien.effects(mien.fit(OUTCOME, table, draws=500, seed=number))
        .set_index("blend_shape")
        .loc[["W1", "W2"]]
    )
    naive = table.assign(activation=conditional_means(fit).T.ravel().astype(np.float32))
    shrunk = mien.effects(
        mien.fit(replace(OUTCOME, standard_errors="", priors={}), naive, draws=500, seed=number)
    )
    inside = (found["eti_lower"].to_numpy() < target) & (target < found["eti_upper"].to_numpy())
    return found["mean"].to_numpy(), shrunk["mean"].to_numpy(), inside, target, happened


def in_names_of(fit, truth, covariates, effect):
    """Effects on the fit's factors, in their sds: what the fit has no covariate for is part of their variance."""
    root = np.eye(2) if covariates else np.linalg.cholesky(np.eye(2) + np.outer(EFFECT, EFFECT) / 4)
    scale = truth.scale / fit["constant_data"]["scale"].to_numpy()
    loading = truth.loading @ root * scale[:, None]
    turn = varimax(loading[None])[0]
    turn = turn @ signed_permutations((loading @ turn)[None], parameters(fit).loading.mean(axis=0))[0]
    return turn.T @ np.linalg.solve(root, effect)


def conditional_means(fit):
    """E[f | y] as if there were neither covariates nor persons: what is not to be done."""
    some = parameters(fit, 500)
    return stored_rows(fit).activation @ regression(some.loading, some.uniqueness).weight.mean(axis=0).T


@pytest.mark.slow
@pytest.mark.statistical("co_activation")
def test_effects_on_factors_are_found_at_their_size():
    found, shrunk, inside, target, happened = (
        np.array(part) for part in zip(*(replicate(number) for number in range(REPLICATES)), strict=True)
    )
    slopes, naive = (
        ((one - happened + target) * target).sum(axis=1) / (target**2).sum(axis=1) for one in (found, shrunk)
    )
    mcse, naive_mcse = (one.std(ddof=1) / np.sqrt(REPLICATES) for one in (slopes, naive))
    print(
        f"\nestimate / truth {slopes.mean():.3f} ± {mcse:.3f}, of conditional means {naive.mean():.3f} ± "
        f"{naive_mcse:.3f}; intervals of 95 % hold in {inside.mean():.1%} of {inside.size}"
    )
    assert abs(slopes.mean() - 1.0) < 4 * mcse
    assert naive.mean() < 1.0 - 4 * naive_mcse
    assert inside.mean() >= 0.88  # 4.5 binomial errors below .95
