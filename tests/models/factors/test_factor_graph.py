"""The unmarginalised PyMC model says what its formula says, and integrates to the dense density."""

import numpy as np
import pytest
from pytensor.compile.mode import Mode
from scipy.stats import lognorm, norm

from mien.models.engines.factor_graph import factor_model, sample_plain
from tests.models.factors.dense_model import DenseModel, unmarginalised
from tests.models.factors.plain_case import DRAWS, determined, plain_case, plain_draws


def model_of(case):
    return factor_model(
        case.data.standardised, case.data.design, case.data.participant,
        factors=case.factors, between=case.between, priors=case.priors,
    )  # fmt: skip


def log_density_of(model):
    """Of natural values by name, without Jacobians; interpreted and not compiled."""
    compiled = model.compile_fn(
        model.logp(jacobian=False), mode=Mode(linker="py", optimizer=None), on_unused_input="ignore"
    )

    def density(values):
        put = {
            variable.name: (
                np.log(values[free.name]) if variable.name.endswith("_log__") else values[free.name]
            )
            for free, variable in model.rvs_to_values.items()
            if free in model.free_RVs
        }
        return float(compiled(put))

    return density


def somewhere(case, seed):
    """Values of all unknowns from nowhere in particular."""
    rng, data = np.random.default_rng(seed), case.data
    persons, shapes = int(data.participant.max()) + 1, data.standardised.shape[1]
    return {
        "coefficient": rng.normal(size=(shapes, data.design.shape[1])),
        "loading_sd": np.array(rng.uniform(0.2, 1.0)),
        "between_loading_sd": np.array(rng.uniform(0.2, 1.0)),
        "loading": rng.normal(size=(shapes, case.factors)),
        "uniqueness": rng.uniform(0.1, 2.0, shapes),
        "between_loading": rng.normal(size=(shapes, case.between)),
        "between_uniqueness": rng.uniform(0.01, 1.0, shapes),
        "score": rng.normal(size=(len(data.standardised), case.factors)),
        "between_score": rng.normal(size=(persons, case.between)),
        "between_rest": rng.normal(size=(persons, shapes)),
    }


def priors_by_hand(case, values):
    """Of loadings and uniquenesses."""
    numbers = np.reshape(case.priors, (4, 2))
    names = ("loading_sd", "uniqueness", "between_loading_sd", "between_uniqueness")
    total = sum(
        lognorm(sd, scale=np.exp(mean)).logpdf(values[name]).sum()
        for name, (mean, sd) in zip(names, numbers, strict=True)
    )
    for level in ("", "between_"):
        total += norm(0, values[f"{level}loading_sd"]).logpdf(values[f"{level}loading"]).sum()
    return total


def by_hand(case, values):
    """The joint density as a sum over trials and persons."""
    total = priors_by_hand(case, values)
    for name in ("score", "between_score", "between_rest"):
        total += norm.logpdf(values[name]).sum()
    for y, x, p, f in zip(
        case.data.standardised, case.data.design, case.data.participant, values["score"], strict=True
    ):
        rest = np.sqrt(values["between_uniqueness"]) * values["between_rest"][p]
        mean = values["coefficient"] @ x + values["between_loading"] @ values["between_score"][p] + rest
        mean = mean + values["loading"] @ f
        total += norm(mean, np.sqrt(values["uniqueness"])).logpdf(y).sum()
    return total


@pytest.mark.parametrize("factors", [1, 2])
def test_joint_density_is_the_formulas(factors):
    case = plain_case(factors)
    density = log_density_of(model_of(case))
    for seed in (1, 2):
        values = somewhere(case, seed)
        assert density(values) == pytest.approx(by_hand(case, values), abs=1e-9, rel=1e-12)


def test_names_and_dims_are_those_of_a_fit():
    model = model_of(plain_case())
    assert model.named_vars_to_dims["loading"] == ("blend_shape", "factor")
    assert model.named_vars_to_dims["coefficient"] == ("blend_shape", "term")
    assert model.named_vars_to_dims["between_score"] == ("group", "between_factor")
    assert {name: len(levels) for name, levels in model.coords.items()} == {
        "trial": 108, "blend_shape": 6, "term": 2, "group": 12, "factor": 2, "between_factor": 1,
    }  # fmt: skip


def test_integrating_all_scores_and_coefficients_out_gives_the_dense_density():
    """At the mode of all unknowns but Λ and Ψ: joint density + the normal's volume there = REML density + priors."""
    case = plain_case()
    data, values = case.data, somewhere(case, 3)
    levels = [values[name] for name in ("loading", "uniqueness", "between_loading", "between_uniqueness")]
    dense = DenseModel(data.standardised, data.design, data.participant, *levels)
    whole = unmarginalised(dense)
    sizes = [values[name].size for name in ("coefficient", "between_score", "between_rest", "score")]
    b, g, rest, f = np.split(whole.mean, np.cumsum(sizes)[:-1])
    values["coefficient"] = b.reshape(-1, dense.shapes).T
    values["between_score"] = g.reshape(dense.groups, -1)
    values["between_rest"] = rest.reshape(dense.groups, -1) / np.sqrt(dense.between_uniqueness)
    values["score"] = f.reshape(len(data.standardised), -1)
    scaled = dense.groups * np.log(dense.between_uniqueness).sum()  # ζ in units of its sd: a Jacobian
    volume = 0.5 * len(whole.mean) * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(whole.information)[1]
    found = log_density_of(model_of(case))(values) + volume - 0.5 * scaled
    columns = np.linalg.slogdet(data.design.T @ data.design)[1] * dense.shapes
    assert found + 0.5 * columns == pytest.approx(
        dense.log_density() + priors_by_hand(case, values), abs=1e-8
    )


@pytest.mark.slow
def test_draws_have_the_shapes_that_are_promised():
    case = plain_case(1)
    draws = sample_plain(model_of(case), seed=1, draws=20, tune=30, chains=2)
    assert draws.loading.shape == (2, 20, 6, 1)
    assert draws.between_uniqueness.shape == (2, 20, 6)
    assert draws.coefficient.shape == (2, 20, 6, 2)
    assert draws.stats["diverging"].shape == draws.stats["n_steps"].shape == (2, 20)
    assert (draws.uniqueness > 0).all()


@pytest.mark.slow
@pytest.mark.statistical("co_activation")
@pytest.mark.parametrize("factors", [1, 2])
def test_long_chains_have_converged_about_the_truth(factors):
    from arviz_stats.base import array_stats

    case, draws = plain_case(factors), plain_draws(factors)
    assert draws.loading.shape[:2] == (4, DRAWS)
    assert draws.stats["diverging"].sum() == 0
    found = determined(draws)
    for name, values in found.items():
        flat = values.reshape(*values.shape[:2], -1)
        ess = [
            array_stats.ess(part, chain_axis=0, draw_axis=1)
            for part in np.moveaxis(flat, 2, 0)
        ]  # fmt: skip
        rhat = [array_stats.rhat(part, chain_axis=0, draw_axis=1) for part in np.moveaxis(flat, 2, 0)]
        assert min(ess) > 2500, name
        assert max(rhat) < 1.01, name
    truth = {
        "covariance": case.data.truth.within_covariance,
        "between_covariance": case.data.truth.between_covariance,
    }
    for name, wanted in truth.items():
        z = (wanted - found[name].mean(axis=(0, 1))) / found[name].std(axis=(0, 1))
        assert np.abs(z).max() < 4, name
