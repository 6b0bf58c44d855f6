"""Scores of trials and persons: the dense model draw by draw, known persons as new ones, bad input."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

import mien
from mien.models.factors import scores
from mien.models.factors.conditional import stored_rows
from mien.study.errors import FitError, MienError, SpecError
from tests.models.factors.score_case import SEED, dense, repeated, small_fit, some_draws, study, without_rows

DRAWS = 8
KEYS = ["participant", "session", "task", "run", "trial", "stimulus"]
MEASURES = ["mean", "sd", "eti_lower", "eti_upper"]


def table(fit, *arguments, **more):
    return mien.models.factor_scores(fit, *arguments, **{"draws": DRAWS, "seed": SEED, **more})


def persons(fit, *arguments, **more):
    return mien.models.person_scores(fit, *arguments, **{"draws": DRAWS, "seed": SEED, **more})


def wide(found, name="mean"):
    """(item, factor)."""
    return found[name].to_numpy().reshape(-1, found["factor"].nunique())


def dense_mixture(fit, what, keep=slice(None), change=lambda some: some):
    """Means and variances (draw, item, factor) of `trial_scores` or `person_scores` given B, draw by draw."""
    some, coefficient = some_draws(fit, DRAWS)
    some = change(some)
    found = [getattr(dense(fit, some, d, keep), what)(coefficient[d]) for d in range(DRAWS)]
    mean = np.array([one.mean for one in found])
    return mean, np.array([np.diag(one.covariance) for one in found]).reshape(mean.shape)


def as_told(found, mean, variance):
    """The table's mean, sd and interval are those of the mixture."""
    assert wide(found) == pytest.approx(mean.mean(axis=0), abs=1e-9)
    assert wide(found, "sd") == pytest.approx(np.sqrt(variance.mean(axis=0) + mean.var(axis=0)), abs=1e-9)
    for name, tail in (("eti_lower", 0.025), ("eti_upper", 0.975)):
        below = norm.cdf((wide(found, name) - mean) / np.sqrt(variance)).mean(axis=0)
        assert below == pytest.approx(np.full(below.shape, tail), abs=1e-6)


def of(trials, labels):
    return trials[trials["participant"].isin(labels)]


@pytest.mark.parametrize("part", ["all", "spontaneous", "stimulus_driven"])
def test_scores_are_the_mixture_of_the_dense_model(part):
    fit = small_fit(part)
    as_told(table(fit), *dense_mixture(fit, "trial_scores"))


@pytest.mark.parametrize("part", ["all", "spontaneous", "stimulus_driven"])
def test_persons_scores_are_the_mixture_of_the_dense_model(part):
    fit = small_fit(part)
    found = persons(fit)
    as_told(found, *dense_mixture(fit, "person_scores"))
    who = "stimulus" if part == "stimulus_driven" else "participant"
    rows = stored_rows(fit)
    assert list(found[who]) == list(rows.levels)
    assert list(found["trials"]) == list(rows.counts)


def test_few_trials_at_a_time_are_the_same(monkeypatch):
    whole = table(small_fit())
    monkeypatch.setattr(scores, "BATCH", 7 * DRAWS * 2)
    pd.testing.assert_frame_equal(table(small_fit()), whole)


@pytest.mark.parametrize("wrong", ["sign", "order", "rotation", "no persons"])
def test_another_rotation_or_no_person_effects_are_other_scores(wrong):
    fit, turn = small_fit(), np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])

    def change(some):
        match wrong:
            case "sign":
                return some._replace(loading=some.loading * [1, -1])
            case "order":
                return some._replace(loading=some.loading[:, :, ::-1])
            case "rotation":
                return some._replace(loading=some.loading @ turn)
        zero = 1e-12
        return some._replace(
            between_loading=zero * some.between_loading, between_uniqueness=zero * some.between_uniqueness
        )

    mean, _ = dense_mixture(fit, "trial_scores", change=change)
    assert np.abs(wide(table(fit)) - mean.mean(axis=0)).max() > 0.1


def test_scores_follow_the_truth():
    one, fit = study(), small_fit()
    found, truth = wide(table(fit)), one.data.scores
    across = np.corrcoef(np.column_stack([found, truth]).T)[:2, 2:]
    assert np.sort(np.abs(across).max(axis=1))[0] > 0.6
    assert found.std() < truth.std()


@pytest.mark.parametrize("tail", [1e-6, 0.025, 0.5, 0.975])
@pytest.mark.parametrize("distance", [0.0, 1.0, 30.0, 1e5])
def test_quantiles_of_mixtures_with_two_tops(tail, distance):
    rng = np.random.default_rng(8)
    mean = rng.normal(size=(5, 40, 2)) + distance * (rng.random((5, 40, 2)) < 0.3)
    sd = rng.uniform(0.01, 1.0, size=mean.shape)
    place = scores.mixture_quantile(mean, sd, tail)
    below = norm.cdf((place[:, None] - mean) / sd).mean(axis=1)
    assert norm.ppf(below) == pytest.approx(np.full(below.shape, norm.ppf(tail)), abs=1e-5)


# Draws


def test_draws_are_joint_with_coefficients_integrated_out():
    fit, count = repeated(small_fit(), 4, 20_000), 20_000
    drawn = mien.models.factor_score_draws(fit, draws=None, seed=SEED)
    some, _ = some_draws(fit, 2)
    expected = dense(fit, some, 0).trial_scores()
    flat = drawn.to_numpy().reshape(count, -1)
    variance = np.diag(expected.covariance)
    assert np.all(np.abs(flat.mean(axis=0) - expected.mean.ravel()) < 4.5 * np.sqrt(variance / count))
    error = np.sqrt((np.outer(variance, variance) + expected.covariance**2) / count)
    assert np.all(np.abs(np.cov(flat.T) - expected.covariance) < 5 * error)
    without = np.kron(np.eye(len(expected.mean)), np.ones((2, 2))) * expected.covariance
    assert np.any(np.abs(np.cov(flat.T) - without) > 5 * error)  # trials of a person share its effect


def test_draws_have_the_tables_moments():
    fit = small_fit()
    drawn = mien.models.factor_score_draws(fit, draws=None, seed=SEED)
    found = table(fit, draws=None)
    assert drawn.dims == ("draw", "observation", "factor")
    assert list(drawn["participant"].to_numpy()) == list(found["participant"][::2])
    mcse = wide(found, "sd") / np.sqrt(drawn.sizes["draw"])
    assert np.all(np.abs(drawn.mean("draw").to_numpy() - wide(found)) < 4.5 * mcse)


def test_the_same_seed_gives_the_same_draws_and_table():
    fit = small_fit()
    one, other = (mien.models.factor_score_draws(fit, draws=DRAWS, seed=SEED) for _ in range(2))
    xr.testing.assert_identical(one, other)
    pd.testing.assert_frame_equal(table(fit), table(fit))
    assert not table(fit, seed=SEED + 1)["mean"].equals(table(fit)["mean"])


def test_too_many_draws_are_refused(monkeypatch):
    monkeypatch.setattr(scores, "MOST", 1000)
    with pytest.raises(FitError, match="expected up to 1,000 numbers, found 200 draws of"):
        mien.models.factor_score_draws(small_fit())


# New trials


@pytest.mark.parametrize("part", ["all", "spontaneous"])
def test_trials_of_the_fit_as_new_ones_have_the_same_scores(part):
    one, fit = study(), small_fit(part)
    for function in (table, persons):
        again = function(fit, one.trials, participants=one.participants)
        pd.testing.assert_frame_equal(again, function(fit), rtol=1e-9, atol=1e-9)


def test_a_new_person_with_the_same_trials_has_the_same_scores():
    one, fit = study(), small_fit()
    mine = of(one.trials, ["03"])
    renamed = mine.assign(participant=pd.Categorical(["new"] * len(mine)))
    who = one.participants.replace({"participant_id": {"sub-03": "sub-new"}})
    for function in (table, persons):
        known = function(fit)
        known = known[known["participant"] == "03"].reset_index(drop=True)
        new = function(fit, renamed, participants=who)
        assert set(new["participant"]) == {"new"}
        pd.testing.assert_frame_equal(new[MEASURES], known[MEASURES], rtol=1e-9, atol=1e-9)


def test_new_trials_are_coded_and_scaled_by_the_fit():
    """Positive trials alone: valence is +½ in all of them, and the means of the fit stay where they are."""
    one, fit = study(), small_fit()
    positive = one.trials[one.trials["valence"] == "positive"]
    keep = stored_rows(fit).design[:, 1] > 0
    found = table(fit, positive, participants=one.participants)
    assert len(found) == 2 * keep.sum()
    as_told(found, *dense_mixture(fit, "trial_scores", keep))


def test_known_persons_are_what_the_new_trials_say():
    one, fit = study(), small_fit()
    few = one.trials[one.trials["trial"] <= 4]
    keep = np.array([int(trial) <= 4 for trial in fit["constant_data"]["trial"].to_numpy()])
    as_told(persons(fit, few, participants=one.participants), *dense_mixture(fit, "person_scores", keep))


def test_scores_do_not_depend_on_who_else_is_scored():
    one, fit = study(), small_fit()
    both = table(fit, of(one.trials, ["02", "05"]), participants=one.participants)
    alone = table(fit, of(one.trials, ["05"]), participants=one.participants)
    pd.testing.assert_frame_equal(
        both[both["participant"] == "05"].reset_index(drop=True)[MEASURES], alone[MEASURES], rtol=1e-9
    )


def test_bins_are_averaged_and_order_does_not_matter():
    one, fit = study(), small_fit()
    shift = np.tile([0.02, -0.02], len(one.trials)).astype(np.float32)
    bins = one.trials.loc[one.trials.index.repeat(2)].reset_index(drop=True)
    bins = bins.assign(
        bin=np.tile([0, 1], len(one.trials)).astype(np.int16), activation=bins["activation"] + shift
    )
    again = table(fit, bins, participants=one.participants)
    pd.testing.assert_frame_equal(again[MEASURES], table(fit)[MEASURES], atol=1e-5)
    mixed = table(fit, one.trials.sample(frac=1.0, random_state=1), participants=one.participants)
    mixed = mixed.sort_values(["participant", "trial", "factor"]).reset_index(drop=True)
    known = table(fit).sort_values(["participant", "trial", "factor"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(mixed, known, rtol=1e-9, atol=1e-9)


def test_incomplete_trials_are_dropped_and_counted():
    one, fit = study(), small_fit()
    shape = one.data.truth.shapes[2]
    first = one.trials["participant"].eq("01") & one.trials["trial"].isin([1, 2, 3])
    lost = first & one.trials["blend_shape"].eq(shape)
    trials = one.trials.assign(excluded=np.where(lost, "tracking", one.trials["excluded"]))
    trials["excluded"] = trials["excluded"].astype("str")
    trials = trials[~(one.trials["participant"].eq("02") & one.trials["blend_shape"].eq(shape))]
    found = table(fit, trials, participants=one.participants)
    whole = table(fit, one.trials, participants=one.participants)
    gone = int(one.trials[lost].shape[0] + (whole["participant"] == "02").sum() / 2)
    assert found.attrs["counts"]["incomplete_trials"] == gone
    assert len(found) == len(whole) - 2 * gone
    assert found.attrs["counts"]["excluded"] == lost.sum()
    assert found.attrs["counts"]["groups_without_trials"] == 1


def test_columns_are_keys_factor_and_moments():
    found = table(small_fit())
    assert list(found.columns) == [*KEYS, "factor", *MEASURES, "ci_kind", "ci_prob", "verdict"]
    assert set(found["factor"]) == {"W1", "W2"}
    narrow = table(small_fit(), ci_prob=0.5)
    assert np.all(narrow["eti_lower"] > found["eti_lower"])
    assert set(narrow["ci_prob"]) == {0.5}


def test_tables_without_trials_are_counted():
    """Only shapes, persons and values: rows of a shape are its trials, in order."""
    one, fit = study(), small_fit()
    plain = one.trials[["participant", "stimulus", "valence", "blend_shape", "activation"]]
    found = table(fit, plain, participants=one.participants)
    pd.testing.assert_frame_equal(found[MEASURES], table(fit)[MEASURES], rtol=1e-9, atol=1e-9)


# Means of trials


def test_means_of_a_persons_trials_are_those_of_the_dense_model():
    fit = small_fit()
    found = persons(fit, trial_means=True)
    assert list(found["factor"][:3]) == ["B1", "W1", "W2"]
    some, coefficient = some_draws(fit, DRAWS)
    mean, variance = [], []
    for d in range(DRAWS):
        model = dense(fit, some, d)
        one = model.trial_scores(coefficient[d])
        average = np.kron((model.dummies / model.dummies.sum(axis=0)).T, np.eye(2))
        mean.append((average @ one.mean.ravel()).reshape(-1, 2))
        variance.append(np.diag(average @ one.covariance @ average.T).reshape(-1, 2))
    found = found[found["factor"] != "B1"].reset_index(drop=True)
    as_told(found, np.array(mean), np.array(variance))


# Fits without their trials


def test_a_fit_too_large_to_hold_its_trials_scores_those_it_was_made_from():
    one, fit = study(), small_fit()
    large = without_rows(fit)
    pd.testing.assert_frame_equal(
        table(large, one.trials, participants=one.participants)[MEASURES], table(fit)[MEASURES], rtol=1e-9, atol=1e-9
    )  # fmt: skip
    with pytest.raises(FitError, match="too many to store: pass trials="):
        table(large)
    with pytest.raises(FitError, match="score all trials that it was made from"):
        table(large, of(one.trials, ["01"]), participants=one.participants)


def test_a_fit_read_from_a_file_has_the_same_scores(tmp_path):
    fit = small_fit()
    read = mien.load(mien.save(fit, tmp_path / "fit"))
    pd.testing.assert_frame_equal(table(read), table(fit))


# Bad input


@pytest.fixture(scope="module")
def gaussian():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=40), "participant": np.repeat(list("abcd"), 10)})
    return mien.fit("y ~ 1 + (1 | participant)", data, draws=20, chains=2)


@pytest.mark.parametrize("name", ["factor_scores", "factor_score_draws", "person_scores"])
def test_other_fits_are_refused(gaussian, name):
    with pytest.raises(
        FitError, match=rf"{name}: expected a fit of mien.models.co_activation\(\), found one of 'y ~"
    ):
        getattr(mien.models, name)(gaussian)


BAD = {
    "no table": (lambda trials: 3, FitError, "expected a pandas.DataFrame, found int"),
    "no shapes": (lambda trials: trials.drop(columns="blend_shape"), FitError, "expected a column blend_shape"),
    "a shape less": (
        lambda trials: trials[trials["blend_shape"] != study().data.truth.shapes[1]],
        FitError,
        r"expected all 6 shapes of the fit, found no \w+: prepare",
    ),
    "a column less": (
        lambda trials: trials.drop(columns="valence"),
        SpecError,
        "expected columns of the data, found 'valence'",
    ),
    "another level": (
        lambda trials: trials.assign(valence=pd.Categorical(["neutral"] * len(trials))),
        SpecError,
        "valence: expected one of the fit's levels",
    ),
    "another tracker": (
        lambda trials: trials.assign(tracker=pd.Categorical(["mediapipe"] * len(trials))),
        FitError,
        r"expected the fit's tracker \(arkit\), found mediapipe",
    ),
    "nothing kept": (
        lambda trials: trials.assign(excluded=pd.Series(["lost"] * len(trials), index=trials.index, dtype="str")),
        FitError,
        "expected rows to score, found none of",
    ),
    "never all shapes": (
        lambda trials: trials[(trials.index % 6) != (trials["trial"] % 6)],
        FitError,
        "expected trials with all 6 shapes of the fit, found none of",
    ),
    "a shape twice": (
        lambda trials: pd.concat([trials, trials[:1]]).drop(columns="time"),
        FitError,
        "expected each shape once a trial, found .* twice in trial 1 of 01",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad_trials_are_told(change, error, message):
    one = study()
    with pytest.raises(error, match=message):
        table(small_fit(), change(one.trials), participants=one.participants)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"draws": 1}, "draws: expected a whole number from 2"),
        ({"draws": 10.0}, "draws: expected a whole number from 2"),
        ({"ci_prob": 95}, "ci_prob: expected a number between 0 and 1, found 95"),
    ],
)
def test_bad_settings_are_told(more, message):
    for function in (table, persons):
        with pytest.raises(MienError, match=message):
            function(small_fit(), **more)


def test_stimuli_that_are_coefficients_must_be_known():
    one, fit = study(), small_fit("spontaneous")
    trials = of(one.trials, ["01"])
    trials = trials.assign(stimulus=trials["stimulus"].cat.rename_categories({"s01": "s99"}))
    with pytest.raises(SpecError, match="stimulus: expected one of the fit's levels"):
        table(fit, trials)


def test_persons_have_scores_where_there_are_factors_between_them():
    one = study()
    spec = mien.models.co_activation(1, between=0, shapes=one.data.truth.shapes)
    fit = mien.fit(spec, one.trials, draws=20, chains=2)
    with pytest.raises(FitError, match="expected factors between participants, found none"):
        persons(fit)
    assert set(persons(fit, trial_means=True)["factor"]) == {"W1"}
    assert np.all(table(fit)["sd"] > 0)
