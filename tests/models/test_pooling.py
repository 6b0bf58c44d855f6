"""Pooling over shapes: its two parts against what is known exactly, and what the user sees of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mien.models import ModelSpec, effects, fit, load, pool_shapes, save, valence
from mien.models.diagnostics import outcomes_of
from mien.models.effect_tables import COLUMNS
from mien.models.pooling import POOLED_COLUMNS
from mien.models.refit import natural_of, outcome_of, used_rows
from mien.models.shape_errors import ShapeRows, _coarsest, _unbiased, shape_estimates, shrunk
from mien.models.shape_population import PopulationPrior, Sampling, sample_population
from mien.priors import Fixed, HalfNormal, Normal
from mien.study.errors import FitError, SpecError
from tests.models import dense_model
from tests.models import pooling_study as ps

PRIOR = PopulationPrior(0.1, 0.5, 0.4, 0.3)
FIVE = ("mouthSmile", "mouthFrown", "mouthPress", "browDown", "browInnerUp")
VALENCE = np.array([0.0, 1.0])


def sampling(draws=1000, chains=4, seed=0):
    return Sampling(draws, chains, 1, np.random.SeedSequence(seed))


# The joint errors


def estimates_over_studies(study, keep, replicates=60):
    """ShapeEstimates of studies simulated anew."""
    rng = np.random.default_rng(5)
    weights = ps.weights_of(study, keep)
    variances = [np.eye(2) * 1e-4] * len(study.shapes)
    found = []
    for _ in range(replicates):
        values = ps.simulate(study, rng)
        mine = [values[:, k] if keep is None else values[keep[k], k] for k in range(len(study.shapes))]
        tree = ps.known_fit(study, mine, weights, variances, rng, draws=5)
        found.append(shape_estimates(tree, ps.outcomes(study, values, keep)))
    return found


@pytest.fixture(
    scope="module", params=[False, True], ids=["balanced", "a third missing, not the same trials"]
)
def many(request):
    """(ShapeEstimates of many studies, the true covariance of their errors)."""
    study = ps.make_study(shapes=FIVE, participants=20, items=16, shared=0.4, seed=4)
    keep = None
    if request.param:
        rng, count = np.random.default_rng(0), len(study.x)
        keep = [np.sort(rng.permutation(count)[: int(count * 0.7)]) for _ in FIVE]
    return estimates_over_studies(study, keep), ps.true_covariance(study, ps.weights_of(study, keep), keep)


def off_by(found, true):
    """Largest |mean − truth| in Monte-Carlo standard errors."""
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    return float(np.abs((found.mean(axis=0) - true) / error).max())


def test_the_covariance_of_errors_is_unbiased(many):
    estimates, true = many
    assert off_by(np.array([_unbiased(one, VALENCE) for one in estimates]), true) < 4


def persons_alone(found):
    return _unbiased(found._replace(score=found.score[:1], sign=(1,), share=found.share[:1]), VALENCE)


def independent(found):
    noise = np.random.default_rng(int(1e6 * abs(found.estimate[0, 0]))).normal(
        0, 1e-9, (len(FIVE), len(FIVE))
    )
    return _unbiased(found, VALENCE) * np.eye(len(FIVE)) + noise


@pytest.mark.parametrize("saboteur", [persons_alone, independent])
def test_that_check_fails_where_errors_are_forgotten(many, saboteur):
    estimates, true = many
    assert off_by(np.array([saboteur(one) for one in estimates]), true) > 4


def dense_covariance(outcome, natural):
    """(row, row) of all rows given the coefficients."""
    covariance = dense_model.residual_covariance(outcome, natural, 0)
    for factor, matrix in dense_model.covariance_of_effects(outcome, natural, 0).items():
        block = next(block for block in outcome.design.blocks if block.factor == factor)
        covariance += (block.columns @ matrix @ block.columns.T) * (block.codes[:, None] == block.codes)
    return covariance


def test_scores_are_those_of_dense_least_squares(trials_maker):
    """With everything at once: series with holes, weights, strata, correlated and nested effects."""
    data = trials_maker(participants=5, stimuli=8, bins=4)
    rng = np.random.default_rng(3)
    data = data[rng.uniform(size=len(data)) > 0.2].reset_index(drop=True)
    data["w"] = rng.uniform(0.5, 2.0, len(data))
    data["cut"] = np.where(data["trial"] > 4, "late", "early")
    fixed = {
        "sigma": Fixed(0.03),
        "sigma:late": Fixed(0.05),
        "rho": Fixed(0.4),
        "corr": Fixed(0.3),
        "sd": Fixed(0.02),
    }
    formula = (
        "activation ~ valence + trial + (valence | participant) + (1 | stimulus) + (1 | participant:trial)"
    )
    made = fit(
        formula,
        data,
        residual="ar1",
        weights="w",
        sigma_by=("cut",),
        priors={**fixed, "trial": Fixed(0.001)},
        draws=100,
    )
    rows = [
        ShapeRows(outcome_of(made, name), np.flatnonzero(used_rows(made, name))) for name in outcomes_of(made)
    ]
    found = shape_estimates(made, rows)
    assert found.coefficients == ("Intercept", "valence")
    assert len(found.score) == 3
    for place, (outcome, _) in enumerate(rows):
        x = outcome.design.columns[:, :2]
        solved = np.linalg.solve(dense_covariance(outcome, natural_of(made, outcome.name, outcome)), x)
        weights = np.linalg.solve(x.T @ solved, solved.T)
        y = outcome.response - 0.001 * outcome.design.columns[:, 2]
        psi = weights.T * (y - x @ (weights @ y))[:, None]
        for way, factor in enumerate(("participant", "stimulus")):
            codes = next(block.codes for block in outcome.design.blocks if block.factor == factor)
            wanted = np.stack([psi[codes == level].sum(axis=0) for level in range(codes.max() + 1)])
            assert found.score[way][place] == pytest.approx(wanted, abs=1e-12)


def test_nested_factors_are_left_out():
    person = np.repeat(np.arange(4), 6)
    session = person * 2 + np.tile([0, 1], 12)
    item = np.tile(np.arange(6), 4)
    kept = _coarsest([person, session, item, person.copy()])
    assert len(kept) == 2
    assert kept[0] is person
    assert kept[1] is item


def test_shrunk_correlations():
    correlation = np.array([[1, 0.6, 0.0], [0.6, 1, 0.3], [0.0, 0.3, 1]])
    none = shrunk(correlation, np.zeros((3, 3)))
    assert none.weight == 0
    assert none.correlation == pytest.approx(correlation)
    all_noise = shrunk(correlation, np.full((3, 3), 10.0))
    assert all_noise.weight == 1
    assert all_noise.correlation[0, 1] == pytest.approx(0.3)
    impossible = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    made = shrunk(impossible, np.zeros((3, 3))).correlation
    assert np.linalg.eigvalsh(made).min() > 0
    assert np.diagonal(made) == pytest.approx(np.ones(3))


# The population


def dense_moments(estimate, error, region, prior, size=60):
    """Means and sds of the effects under a normal population, by quadrature over both scales."""
    same = region[:, None] == region
    tau, omega = (np.linspace(1e-4, 5 * sd, size) for sd in (prior.shape_sd, prior.region_sd))
    tau, omega = (grid.ravel()[:, None, None] for grid in np.meshgrid(tau, omega))
    own = np.eye(len(estimate)) * tau**2 + same * omega**2 + prior.mean_sd**2
    off = estimate - prior.mean_centre
    gain = np.linalg.solve(own + error, own).swapaxes(1, 2)
    quadratic = np.linalg.solve(own + error, np.broadcast_to(off[:, None], (*own.shape[:2], 1)))[..., 0] @ off
    scales = (tau / prior.shape_sd) ** 2 + (omega / prior.region_sd) ** 2
    log_density = -0.5 * (np.linalg.slogdet(own + error)[1] + quadratic + scales[:, 0, 0])
    means = prior.mean_centre + gain @ off
    squares = np.diagonal(own - gain @ own, axis1=1, axis2=2) + means**2
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = weight @ means
    return mean, np.sqrt(weight @ squares - mean**2)


def six():
    region = np.array([0, 0, 0, 1, 1, 2])
    error = 0.02 * (0.6 * np.eye(6) + 0.4)
    return np.array([0.9, 0.1, 0.2, -0.3, -0.2, 0.05]), error, region


def population_misses(estimate, error, region, wanted, agreement, df=np.inf):
    drawn = sample_population(estimate, error, region, df=df, prior=PRIOR, sampling=sampling(2000))
    found = {f"{k}": agreement.summary_of(drawn.effect[:, :, k]) for k in range(len(estimate))}
    mean, sd, mcse = wanted
    exact = {
        f"{k}": agreement.Summary(m, s, e) for k, (m, s, e) in enumerate(zip(mean, sd, mcse, strict=True))
    }
    return agreement.disagreements(found, exact)


def test_a_normal_population_agrees_with_quadrature(agreement):
    estimate, error, region = six()
    exact = (*dense_moments(estimate, error, region, PRIOR), np.zeros(6))
    assert population_misses(estimate, error, region, exact, agreement) == []
    assert population_misses(estimate, np.diag(np.diag(error)), region, exact, agreement) != []  # saboteur


def weighted_prior_draws(estimate, error, region, df, count=1_000_000):
    """Means, sds and their errors of the effects, by weighting draws from the prior with the likelihood."""
    rng = np.random.default_rng(1)
    mean = PRIOR.mean_centre + PRIOR.mean_sd * rng.standard_normal((count, 1))
    tau = np.abs(PRIOR.shape_sd * rng.standard_normal((count, 1)))
    omega = np.abs(PRIOR.region_sd * rng.standard_normal((count, 1)))
    regions = mean + omega * rng.standard_normal((count, region.max() + 1))
    effect = regions[:, region] + tau * rng.standard_t(df, (count, len(estimate)))
    off = np.linalg.solve(np.linalg.cholesky(error), (estimate - effect).T)
    weight = np.exp(-0.5 * (off**2).sum(axis=0))
    weight /= weight.sum()
    centre = weight @ effect
    sd = np.sqrt(weight @ (effect - centre) ** 2)
    return centre, sd, np.sqrt(weight**2 @ (effect - centre) ** 2)


def test_a_t_population_agrees_with_weighted_draws_from_the_prior(agreement):
    error, region = 0.06 * (0.7 * np.eye(5) + 0.3), np.array([0, 0, 0, 1, 1])
    estimate = np.array([1.3, 0.1, 0.0, 0.2, 0.1])
    wanted = weighted_prior_draws(estimate, error, region, 4.0)
    assert population_misses(estimate, error, region, wanted, agreement, df=4.0) == []
    assert (
        population_misses(estimate, error, region, wanted, agreement) != []
    )  # saboteur: a normal population


# What the user sees


@pytest.fixture(scope="module")
def pooled_fit(trials_maker):
    spec = ModelSpec(
        "activation ~ valence + (valence | participant) + (1 | stimulus)",
        pooling="partial", contrasts={"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}},
    )  # fmt: skip
    shapes = (*FIVE, "eyeBlink")
    return fit(spec, trials_maker(shapes=shapes), draws=500, seed=2, group_effects=False)


def test_a_pooled_fit_has_a_group_and_columns(pooled_fit):
    pooled = pooled_fit["pooled"]
    assert pooled["pooled_effect"].dims == ("chain", "draw", "effect", "blend_shape")
    assert set(pooled["blend_shape"].values) == set(FIVE)
    assert json.loads(pooled.attrs["apart"]).keys() == {"eyeBlink", "smile - frown"}
    assert pooled.attrs["diagnostics"] == "passed"
    assert json.loads(pooled_fit.attrs["diagnostics_detail"])["pooled"]["verdict"] == "passed"
    table = effects(pooled_fit).set_index("blend_shape")
    assert tuple(effects(pooled_fit).columns) == COLUMNS
    assert table.loc[["eyeBlink", "smile - frown"], list(POOLED_COLUMNS)].isna().all(axis=None)
    draws = pooled["pooled_effect"].sel(blend_shape="mouthSmile", effect="valence").values
    row = table.loc["mouthSmile"]
    assert row["pooled_mean"] == pytest.approx(draws.mean())
    assert (row["pooled_eti_lower"], row["pooled_eti_upper"]) == pytest.approx(
        tuple(np.quantile(draws, [0.025, 0.975]))
    )
    assert row["shrinkage"] == pytest.approx(1 - row["pooled_mean"] / row["mean"])
    assert row["pooled_p_direction"] >= 0.5


def test_the_estimates_are_the_unpooled_ones_without_their_prior(pooled_fit):
    table = effects(pooled_fit).set_index("blend_shape").loc[list(FIVE)]
    pooled = pooled_fit["pooled"].sel(effect="valence", blend_shape=list(FIVE))
    assert pooled["estimate"].values == pytest.approx(table["mean"].to_numpy(), abs=0.1 * table["sd"].min())
    assert pooled["error_sd"].values == pytest.approx(table["sd"].to_numpy(), rel=0.1)


def test_the_prior_is_divided_out(trials):
    """Exact where variances are known, but for Monte-Carlo error: 16,000 draws know a variance to 1 %."""
    formula = "activation ~ valence + (1 | participant) + (1 | stimulus)"
    known = {"sd": Fixed(0.02), "sigma": Fixed(0.03)}
    weak, strong = (
        pool_shapes(fit(formula, trials, draws=4000, seed=1, priors={**known, "valence": prior}))
        for prior in (Normal(0, 1), Normal(0.03, 0.012))
    )
    sd = weak["pooled"]["error_sd"].values
    moved = (effects(weak)["mean"] - effects(strong)["mean"]).abs().to_numpy() / sd
    assert moved.max() > 1
    assert strong["pooled"]["error_sd"].values == pytest.approx(sd, rel=0.03)
    assert strong["pooled"]["estimate"].values == pytest.approx(
        weak["pooled"]["estimate"].values, abs=0.15 * float(sd.min())
    )


def test_shapes_that_their_prior_determines_are_left_out(trials_maker):
    data = trials_maker(shapes=FIVE[:4])
    made = fit("activation ~ valence + (1 | participant)", data, draws=300)
    priors = json.loads(made.attrs["priors"])
    priors["browDown"]["valence"] |= {"sd": 1e-4}
    tree = made.copy()
    tree.attrs = {**made.attrs, "priors": json.dumps(priors)}
    pooled = pool_shapes(tree)["pooled"]
    assert json.loads(pooled.attrs["apart"]) == {"browDown": "its prior says more than its rows"}
    assert pooled.sizes["blend_shape"] == 3


def test_it_survives_the_disk_and_is_made_again_from_it(pooled_fit, tmp_path):
    back = load(save(pooled_fit, tmp_path / "pooled-00000000"))
    assert effects(back).equals(effects(pooled_fit))
    again = pool_shapes(back)
    assert again["pooled"]["pooled_effect"].values == pytest.approx(
        pooled_fit["pooled"]["pooled_effect"].values
    )


def test_hypotheses_are_pooled_as_effects_of_their_own(pooled_fit):
    asked = {"half": "valence / 2", "level to positive": "Intercept + valence / 2"}
    table = effects(pooled_fit, asked).set_index(["effect", "blend_shape"])
    whole = effects(pooled_fit).set_index("blend_shape")
    assert table.loc[("half", "mouthSmile"), "pooled_mean"] == pytest.approx(
        whole.loc["mouthSmile", "pooled_mean"] / 2
    )
    assert np.isnan(table.loc[("level to positive", "mouthSmile"), "pooled_mean"])
    table = effects(pool_shapes(pooled_fit, asked), asked).set_index(["effect", "blend_shape"])
    assert np.isfinite(table.loc[("level to positive", "mouthSmile"), "pooled_mean"])


def test_the_same_seed_gives_the_same_draws(pooled_fit):
    one, two = (pool_shapes(pooled_fit)["pooled"]["pooled_effect"].values for _ in range(2))
    assert np.array_equal(one, two)


def test_too_few_draws_fail_the_verdict(pooled_fit):
    few = pooled_fit.copy()
    few["posterior"] = few["posterior"].isel(draw=slice(0, 40))
    made = pool_shapes(few)
    assert made["pooled"].attrs["diagnostics"] == "failed"
    assert made.attrs["diagnostics"] == "failed"
    assert "ESS" in json.loads(made.attrs["diagnostics_detail"])["pooled"]["failed"]["valence"][0]


def test_populations_are_wider_or_narrower_as_told(pooled_fit):
    narrow = pool_shapes(pooled_fit, priors={"shape_scale": HalfNormal(1e-3), "region_sd": HalfNormal(1e-3)})
    effect = narrow["pooled"]["pooled_effect"].sel(effect="valence") / narrow["pooled"]["scale"].sel(
        effect="valence"
    )
    assert float(effect.std("blend_shape").mean()) < 0.01
    assert json.loads(narrow["pooled"].attrs["priors"])["shape_scale"]["source"] == "user"


def test_what_cannot_be_pooled_is_refused(trials, small_fit, pooled_fit):
    with pytest.raises(SpecError, match="a joint model"):
        ModelSpec("activation ~ valence + (1 | blend_shape)", pooling="partial")
    with pytest.raises(SpecError, match="expected family 'gaussian'"):
        ModelSpec("raw ~ valence", pooling="partial", family="ordered_beta")
    smile = trials[trials["blend_shape"] == "mouthSmile"].drop(columns="blend_shape")
    with pytest.raises(FitError, match="a single outcome"):
        fit("activation ~ valence", smile, pooling="partial")
    with pytest.raises(FitError, match="a single outcome"):
        pool_shapes(fit("activation ~ valence", smile))
    two = trials[trials["blend_shape"] != "mouthSmile"]
    with pytest.raises(FitError, match="at least 3 shapes"):
        fit(replace(valence(), pooling="partial"), two)
    with pytest.raises(SpecError, match="expected one of mean, shape_scale, region_sd"):
        pool_shapes(small_fit, priors={"tau": HalfNormal(1)})
    with pytest.raises(SpecError, match="expected HalfNormal"):
        pool_shapes(small_fit, priors={"shape_scale": Normal(0, 1)})
    with pytest.raises(FitError, match="degrees_of_freedom"):
        pool_shapes(small_fit, degrees_of_freedom=0)
    without = pooled_fit.copy()
    del without["constant_data"]
    with pytest.raises(FitError, match="that holds its rows"):
        pool_shapes(without)


def test_a_fixed_coefficient_is_not_pooled(trials):
    made = pool_shapes(fit("activation ~ valence + trial", trials, priors={"trial": Fixed(0.001)}, draws=300))
    assert made["pooled"]["effect"].values.tolist() == ["valence"]
    all_fixed = fit(
        "activation ~ 1 + (1 | participant)", trials, priors={"Intercept": Fixed(0.05)}, draws=300
    )
    with pytest.raises(FitError, match="a coefficient that is not Fixed"):
        pool_shapes(all_fixed)


def test_shapes_with_other_rows_strata_and_series(trials_maker):
    data = trials_maker(bins=3)
    data = data[(data["blend_shape"] != "mouthFrown") | (data["trial"] > 3)]
    formula = "activation ~ valence + (1 | participant) + (1 | participant:trial)"
    made = pool_shapes(fit(formula, data, residual="ar1", draws=300))
    assert made["pooled"].attrs["shapes"] == 3
    assert np.isfinite(made["pooled"]["pooled_effect"].values).all()
    made = pool_shapes(fit("activation ~ valence", data, sigma_by=("stimulus",), draws=300))
    assert np.isfinite(made["pooled"]["pooled_effect"].values).all()
