"""Replicates: their moments are the model's, draw by draw where effects are kept, over draws where they are new."""

import numpy as np
import pandas as pd
import pytest

import mien
from mien.priors import Fixed, HalfNormal
from mien.study.errors import FitError


def study(bins=6):
    rng = np.random.default_rng(0)
    p, s, b = (
        column.ravel() for column in np.meshgrid(np.arange(8), np.arange(6), np.arange(bins), indexing="ij")
    )
    y = rng.normal(0, 1, 8)[p] + rng.normal(0, 0.5, 6)[s] + rng.normal(0, 0.7, len(p))
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "bin": b, "y": y}
    )


@pytest.fixture(scope="module")
def fixed():
    """Sds that are known, so that the replicates' variances are."""
    return mien.fit(
        "y ~ 1 + (1 | participant) + (1 | stimulus)", study(), engine="collapsed", draws=1000,
        priors={"sd:1|participant": Fixed(1.0), "sd:1|stimulus": Fixed(0.5), "sigma": Fixed(0.7), "rho": Fixed(0.6)},
        residual="ar1", series=("participant", "stimulus"),
    )  # fmt: skip


def residuals(fit, replicates):
    posterior = fit["posterior"]
    constants = fit["constant_data"]
    mean = posterior["Intercept"]
    for factor in ("participant", "stimulus"):
        effect = posterior[f"1|{factor}"].isel({factor: constants[f"{factor} index"]})
        mean = mean + effect.drop_vars(factor)
    return (replicates["outcome"] - mean).to_numpy().reshape(-1, 48, 6)


def test_in_sample_replicates_scatter_about_their_own_draw(fixed):
    left = residuals(fixed, mien.posterior_predictive(fixed, seed=1))
    count = left.size / 4
    assert abs(left.mean()) < 4 * 0.7 / np.sqrt(count)
    assert left.std() == pytest.approx(0.7, rel=0.01)
    lag = (left[:, :, 1:] * left[:, :, :-1]).mean() / 0.49
    assert lag == pytest.approx(0.6, abs=0.01)


def test_new_groups_have_their_populations_variance(fixed):
    drawn = mien.posterior_predictive(fixed, seed=1, new_groups=("participant",))
    left = residuals(fixed, drawn)  # new effect - old effect + residual
    stored = fixed["posterior"]["1|participant"].to_numpy()
    wanted = 1.0 + 0.49 + (stored**2).mean()
    assert left.var() == pytest.approx(wanted, rel=0.03)
    everything = mien.posterior_predictive(fixed, seed=1, in_sample=False)["outcome"]
    centred = everything - fixed["posterior"]["Intercept"]
    assert float(centred.var()) == pytest.approx(1.0 + 0.25 + 0.49, rel=0.03)


def test_saboteur_in_sample_replicates_are_not_those_of_new_groups(fixed):
    left = residuals(fixed, mien.posterior_predictive(fixed, seed=1, draws=200))
    assert left.var() != pytest.approx(1.0 + 0.49, rel=0.3)


def test_same_seed_same_numbers_and_shapes_keep_their_holes(trials_maker):
    data = trials_maker(participants=6, stimuli=6)
    data.loc[(data["blend_shape"] == "mouthFrown") & (data["trial"] == 3), "excluded"] = "outlier"
    fit = mien.fit(mien.models.valence(priors={"sd": HalfNormal(0.1)}), data, engine="collapsed", draws=100)
    one, two = (mien.posterior_predictive(fit, seed=3, draws=20) for _ in range(2))
    assert one.identical(two)
    assert one["outcome"].dims == ("chain", "draw", "blend_shape", "observation")
    missing = np.isnan(fit["observed_data"]["outcome"].to_numpy())
    np.testing.assert_array_equal(np.isnan(one["outcome"].to_numpy()[0, 0]), missing)


def test_refusals(fixed):
    with pytest.raises(FitError, match="new_groups: expected a tuple of some of participant, stimulus"):
        mien.posterior_predictive(fixed, seed=0, new_groups=("person",))
    with pytest.raises(FitError, match="draws: expected 1 to 1000"):
        mien.posterior_predictive(fixed, seed=0, draws=2000)
