"""Priors from a fit's posterior: the draws of the parameter, and what the record says of where they are from."""

import json

import numpy as np
import pytest
import xarray as xr

from mien.models import fit, valence
from mien.models.pilot_priors import pilot_prior
from mien.priors import HalfNormal, Normal, resolve
from mien.study.errors import FitError, SpecError


def changed(tree, **attrs):
    own = xr.DataTree.from_dict({name: node.to_dataset() for name, node in tree.children.items()})
    own.attrs = dict(tree.attrs) | attrs
    return own


def test_a_coefficient_keeps_mean_and_sd(small_fit):
    entry = pilot_prior(small_fit, "valence", "mouthSmile", name="smile")
    draws = small_fit["posterior"]["valence"].sel(blend_shape="mouthSmile").to_numpy()
    assert isinstance(entry.prior, Normal)
    assert (entry.prior.mean, entry.prior.sd) == pytest.approx((draws.mean(), draws.std()), rel=1e-4)
    assert (entry.id, entry.role, entry.scale, entry.times) == ("own/smile", "beta", "raw", "none")
    pilot = entry.source.record["answers"]["pilot"]
    assert pilot["data_sha256"] == small_fit.attrs["data_sha256"]
    assert (pilot["parameter"], pilot["blend_shape"], pilot["verdict"]) == ("valence", "mouthSmile", "passed")
    assert pilot["prior"]["source"] == "rule"


def test_the_weight_discounts(small_fit):
    full = pilot_prior(small_fit, "valence", "mouthSmile", name="smile")
    quarter = pilot_prior(small_fit, "valence", "mouthSmile", name="smile", weight=0.25)
    assert quarter.prior.mean == pytest.approx(full.prior.mean, rel=1e-5)
    assert quarter.prior.sd == pytest.approx(2 * full.prior.sd, rel=1e-4)
    assert quarter.source.record["answers"]["weight"] == 0.25


@pytest.mark.parametrize(
    ("parameter", "variable", "role"),
    [
        ("sd:valence|participant", "valence|participant_sigma", "sd"), ("sigma", "sigma", "sigma"),
        ("sd:1|stimulus", "1|stimulus_sigma", "sd"),
    ],
)  # fmt: skip
def test_standard_deviations_keep_their_size(small_fit, parameter, variable, role):
    entry = pilot_prior(small_fit, parameter, "mouthFrown", name="size", family="HalfNormal")
    draws = small_fit["posterior"][variable].sel(blend_shape="mouthFrown").to_numpy()
    assert isinstance(entry.prior, HalfNormal)
    assert entry.prior.sd == pytest.approx(np.sqrt(np.mean(draws**2)), rel=1e-4)
    assert entry.role == role


def test_an_intercept_has_its_own_role(small_fit):
    assert pilot_prior(small_fit, "Intercept", "mouthSmile", name="level").role == "Intercept"


def test_a_correlation_around_0_is_an_lkj_and_one_far_from_it_none(small_fit):
    posterior = small_fit["posterior"].to_dataset()
    rng = np.random.default_rng(4)
    with_matrix = {
        centre: posterior["participant_corr"].copy(
            data=_matrices(rng, centre, posterior["participant_corr"].shape)
        )
        for centre in (0.0, 0.6)
    }
    trees = {}
    for centre, matrices in with_matrix.items():
        trees[centre] = changed(small_fit)
        trees[centre]["posterior"] = posterior.assign(participant_corr=matrices)
    eta = pilot_prior(trees[0.0], "corr:participant", "mouthSmile", name="corr").prior.eta
    assert eta == pytest.approx(0.5 * (1 / 0.2**2 - 1), rel=0.1)  # var r = 1 / (2 eta + 1)
    with pytest.raises(SpecError, match="around 0"):
        pilot_prior(trees[0.6], "corr:participant", "mouthSmile", name="corr")


def _matrices(rng, centre, shape):
    r = np.clip(rng.normal(centre, 0.2 if centre == 0.0 else 0.05, shape[:-2]), -0.99, 0.99)
    return np.stack([np.stack([np.ones_like(r), r], -1), np.stack([r, np.ones_like(r)], -1)], -2)


def test_a_failed_verdict_is_refused_for_its_outcome_alone(small_fit):
    detail = json.loads(small_fit.attrs["diagnostics_detail"])
    failed = {"mouthSmile": ["R-hat of valence 1.080"]}
    tree = changed(
        small_fit, diagnostics="failed", diagnostics_detail=json.dumps(detail | {"failed": failed})
    )
    with pytest.raises(FitError, match=r"R-hat of valence 1\.080"):
        pilot_prior(tree, "valence", "mouthSmile", name="smile")
    assert pilot_prior(tree, "valence", "mouthFrown", name="frown").prior.mean < 0


def test_a_verdict_that_says_nothing_is_refused(small_fit):
    tree = changed(small_fit, diagnostics="failed")
    with pytest.raises(FitError, match="no verdict"):
        pilot_prior(tree, "valence", "mouthSmile", name="smile")


@pytest.mark.parametrize(
    ("parameter", "shape", "more", "said"),
    [
        ("valense", "mouthSmile", {}, "valence"), ("valence", None, {}, "found none"),
        ("valence", "mouthSmil", {}, "mouthSmile"), ("valence", "mouthSmile", {"units": "standardised"}, "raw"),
    ],
)  # fmt: skip
def test_what_the_fit_has_not_is_refused(small_fit, parameter, shape, more, said):
    with pytest.raises(FitError, match=said):
        pilot_prior(small_fit, parameter, shape, name="own", **more)


def test_a_study_takes_it_as_its_prior(small_fit, trials):
    entry = pilot_prior(small_fit, "valence", "mouthSmile", name="smile", weight=0.5)
    one = trials[trials["blend_shape"] == "mouthSmile"]
    again = fit(valence(priors={"valence": entry}), one, draws=100, seed=1)
    stored = json.loads(again.attrs["priors"])
    stored = stored.get("valence") or next(iter(stored.values()))["valence"]
    assert (stored["mean"], stored["sd"]) == (entry.prior.mean, entry.prior.sd)
    assert stored["source"] == "pilot"
    assert "own/smile 1" in again.attrs["prior_entries"]


def test_a_raw_entry_is_not_scaled(small_fit):
    from mien.priors import DataScale, ParameterNames

    entry = pilot_prior(small_fit, "valence", "mouthSmile", name="smile")
    names = ParameterNames(("Intercept", "valence"), (), ())
    scale = DataScale(3.0, 7.0, {"valence": 0.0}, {"valence": 0.5}, {})
    assert resolve({"valence": entry}, names, scale)["valence"].prior == entry.prior
