"""Fits that are not Gaussian ones of the collapsed engine: the parts of their draws, and what their tables say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta, lognorm, norm

import mien
from mien.models import co_activation, freeze_priors
from mien.models.refit import effects_of
from mien.models.sensitivity import power_scaling, prior_widths, which_prior
from mien.models.sensitivity.parts import parts_of, priors_of
from mien.priors import LogNormal
from mien.simulation.co_activation import draw_truth, simulate_factors
from tests.models.likelihood_study import make_study

_place = importlib.util.spec_from_file_location(
    "dense_factors", Path(__file__).parents[1] / "factors" / "dense_model.py"
)
dense = importlib.util.module_from_spec(_place)
_place.loader.exec_module(dense)


@pytest.fixture(scope="module")
def ordered():
    data = make_study("ordered_beta", 10, 16, 0)
    return data, mien.fit("raw ~ valence + (1 | participant)", data, family="ordered_beta", draws=500)


@pytest.fixture(scope="module")
def factors():
    rng = np.random.default_rng(12)
    truth = draw_truth(rng, shapes=5, factors=1, between=1, terms=("Intercept",))
    trials = simulate_factors(truth, rng, participants=8, stimuli=8).trials
    return mien.fit(co_activation(1, between=1), trials, draws=300, seed=3)


def test_parts_of_an_ordered_beta_are_those_of_scipy(ordered):
    data, fit = ordered
    parts, priors = parts_of(fit, None, None), priors_of(fit, None)
    q = parts.quantities
    for name in ("Intercept", "valence", "cutpoint_zero", "cutpoint_one"):
        assert np.allclose(parts.priors[name], norm(priors[name].mean, priors[name].sd).logpdf(q[name]))
    on_link = norm(priors["phi"].mean, priors["phi"].sd).logpdf(np.log(q["phi"]))
    assert np.allclose(parts.priors["phi"], on_link)
    draw = 137
    u = effects_of(fit, None, "1|participant", "test")[draw]
    labels = [str(label) for label in fit["posterior"]["participant"].to_numpy()]
    person = data["participant"].astype(str).map({label: at for at, label in enumerate(labels)}).to_numpy()
    sign = fit["constant_data"]["design"].to_numpy()[:, 1]
    eta = q["Intercept"][draw] + q["valence"][draw] * sign + u[person]
    y = fit["observed_data"]["outcome"].to_numpy()
    zero, one = expit(q["cutpoint_zero"][draw] - eta), expit(eta - q["cutpoint_one"][draw])
    mu, phi = expit(eta), q["phi"][draw]
    inside = beta(mu * phi, (1 - mu) * phi).logpdf(np.clip(y, 1e-9, 1 - 1e-9)) + np.log1p(-zero - one)
    density = np.where(y == 0, np.log(zero), np.where(y >= 1, np.log(one), inside))
    assert abs(parts.likelihood[draw] - density.sum()) < 1e-4  # effects are stored as float32
    assert (
        abs(parts.likelihood[draw] - density.sum() - norm(0, q["1|participant_sigma"][draw]).logpdf(u).sum())
        > 1
    )


def test_tables_of_an_ordered_beta(ordered):
    _, fit = ordered
    table = power_scaling(fit)
    assert set(table["parameter"]) == {
        "Intercept", "valence", "1|participant_sigma", "phi", "cutpoint_zero", "cutpoint_one",
    }  # fmt: skip
    assert (table["likelihood_part"] == "given the effects").all()
    assert set(table["how"]) <= {"reweighted", "not reliable"}
    assert dict(zip(table["parameter"], table["units"], strict=True))["valence"] == "link"
    widths = prior_widths(fit, factors=(0.001, 1.0, 2.0))
    assert list(widths["how"]) == ["not reliable", "reweighted", "reweighted"]
    assert np.isnan(widths["mean"].iloc[0])
    assert "khat" in widths["reason"].iloc[0]
    own = mien.effects(fit, {"valence": "valence"})
    own = own[own["effect"] == "valence"].iloc[0]
    assert abs(widths["mean"].iloc[1] - own["mean"]) < 1e-9
    assert widths["decision"].iloc[1] == own["decision"]
    assert widths["log_bayes_factor"].isna().all()


def test_parts_of_co_activation_are_those_of_dense_matrices(factors):
    parts = parts_of(factors, None, None)
    posterior, rows = factors["posterior"].dataset, factors["constant_data"].dataset
    found = []
    for draw in (3, 250):
        one = posterior.stack(all=("chain", "draw")).isel(all=draw)
        model = dense.DenseModel(
            factors["observed_data"]["activation"].to_numpy(), rows["design"].to_numpy(),
            rows["group_index"].to_numpy(), one["loading"].to_numpy(), one["uniqueness"].to_numpy(),
            one["between_loading"].to_numpy(), one["between_uniqueness"].to_numpy(),
        )  # fmt: skip
        found.append(model.log_density())
    assert abs((parts.likelihood[3] - parts.likelihood[250]) - (found[0] - found[1])) < 1e-6
    prior = stored_of(factors, "uniqueness")
    values = posterior["uniqueness"].to_numpy().reshape(-1, 5)
    wanted = lognorm(prior.sigma, scale=np.exp(prior.mu)).logpdf(values).sum(axis=1)
    assert np.allclose(parts.priors["uniqueness"], wanted)


def stored_of(fit, name):
    from mien.models.factors.spec import FactorSpec

    found = FactorSpec.from_json(fit.attrs["model_spec"]).resolved[name]
    assert isinstance(found, LogNormal)
    return found


def test_table_of_co_activation(factors):
    table = power_scaling(factors)
    assert (table["parameter"] == "communality within").sum() == 5
    assert (table["likelihood_part"] == "effects integrated out").all()
    assert set(which_prior(factors)["prior_of"]) == {
        "loading_sd", "uniqueness", "between_loading_sd", "between_uniqueness",
    }  # fmt: skip


def test_a_fit_pooled_over_shapes_is_told_shape_by_shape(trials_maker):
    from mien.models import ModelSpec

    spec = ModelSpec(
        "activation ~ valence + (1 | participant) + (1 | stimulus)", pooling="partial", family="gaussian"
    )
    fit = mien.fit(spec, trials_maker(), draws=200)
    table = power_scaling(fit, refit=False)
    assert set(table["blend_shape"]) == {"mouthSmile", "mouthFrown", "browInnerUp"}


def test_a_joint_formula(trials_maker):
    formula = "activation ~ valence + (1 | blend_shape) + (1 | participant)"
    fit = mien.fit(formula, trials_maker(participants=6), draws=250)
    table = power_scaling(fit)
    assert (table["how"] == "refit").all()
    assert table["refit_z"].max() < 4.5
    assert (prior_widths(fit)["how"] == "exact given theta").all()


def test_frozen_priors_of_co_activation_are_the_ones_that_are_scaled(factors):
    """A fit with frozen priors holds them beside its specification, which has none of its own."""
    rng = np.random.default_rng(2)
    truth = draw_truth(rng, shapes=5, factors=1, between=1, terms=("Intercept",))
    trials = simulate_factors(truth, rng, participants=8, stimuli=8).trials
    narrow = co_activation(1, between=1, priors={"uniqueness": LogNormal(-3.0, 0.1)})
    fit = mien.fit(
        co_activation(1, between=1), trials, frozen=freeze_priors(narrow, trials), draws=300, seed=3
    )
    plain = mien.fit(narrow, trials, draws=300, seed=3)
    mine, its = power_scaling(fit), power_scaling(plain)
    assert np.allclose(mine["prior"], its["prior"], equal_nan=True)
    assert not np.allclose(mine["prior"], power_scaling(factors)["prior"], equal_nan=True)
