"""Cases at the edge: a right posterior or one clear error, never a wrong posterior.

Right means here: as a grid over theta says (the density itself is held to dense algebra in test_density.py), or as an
identity of scale says.
"""

import numpy as np
import pandas as pd
import pytest

from mien.models import ModelSpec, fit
from mien.models.engines.collapsed.engine import CollapsedEngine, prepare
from mien.models.engines.collapsed.importance import quantities
from mien.models.engines.problem import Settings
from mien.models.fitting import make_problem
from mien.priors import Fixed, Flat, HalfNormal, HalfStudentT
from mien.study.errors import FitError, MienError, SpecError

INTERCEPTS = "y ~ v + (1 | p)"
SLOPES = "y ~ v + (v | p)"
SETTINGS = Settings(draws=1000, chains=4, seed=1)


def table(persons=10, items=8, *, sds=(1.0, 0.5), corr=0.3, sigma=1.0, mean=0.0, seed=0):
    """Everyone sees every item once."""
    rng = np.random.default_rng(seed)
    person, item = (axis.ravel() for axis in np.meshgrid(np.arange(persons), np.arange(items), indexing="ij"))
    v = np.where(item % 2 == 0, -0.5, 0.5)
    z = rng.normal(size=(persons, 2))
    level, slope = sds[0] * z[:, 0], sds[1] * (corr * z[:, 0] + np.sqrt(1 - corr**2) * z[:, 1])
    y = mean + 0.3 * v + level[person] + slope[person] * v + sigma * rng.normal(size=len(v))
    return pd.DataFrame(
        {"y": y, "v": v, "p": [f"p{n:03d}" for n in person], "s": [f"s{n:03d}" for n in item]}
    )


def posterior(formula, data, **fields):
    """The engine's draws, its verdict and density."""
    problem = make_problem(ModelSpec(formula, **fields), data)[0]
    draws = CollapsedEngine().sample(problem, SETTINGS)[0]
    return draws, prepare(problem)[0].density


def named(draws, density):
    """Hyperparameters as the density names them, (draw,) each."""
    values = {f"sd:{term}": sd for term, sd in draws.sds.items()}
    strata = draws.sigma[..., None] if draws.sigma.ndim == 2 else draws.sigma
    sigmas = [name for name in density.parameters.names if name.startswith("sigma")]
    values |= {name: strata[..., place] for place, name in enumerate(sigmas)}
    if draws.rho is not None:
        values["rho"] = draws.rho
    for name in density.parameters.names:
        if name.startswith("corr:"):
            values[name] = next(iter(draws.correlations.values()))[..., 1, 0]
    return {name: tamed(name, values[name].ravel()) for name in density.parameters.names}


def tamed(name, value):
    """Standard deviations on a scale that is logarithmic far out: with heavy tails they have no variance to compare."""
    return np.arcsinh(value) if name.startswith("sd:") else value


def grid_moments(density, lower, upper, size):
    """Mean and sd of every hyperparameter by midpoints over a box of theta."""
    axes = [
        low + (np.arange(size) + 0.5) * (high - low) / size for low, high in zip(lower, upper, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    log = density.values(points)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    found = {}
    for name, untamed in quantities(density.parameters, points).items():
        value = tamed(name, untamed)
        mean = float(weight @ value)
        found[name] = mean, float(np.sqrt(weight @ (value - mean) ** 2))
    return found


def box(density):
    """The folded box that holds all but e⁻²⁵ of the density, found from coarse to fine."""
    parameters = density.parameters
    phi, angle, log_sigma, rho = parameters.parts(np.arange(parameters.dim))
    lower, upper = np.zeros(parameters.dim), np.zeros(parameters.dim)
    upper[phi] = 12.0
    for part, reach in ((angle, 8.0), (log_sigma, 12.0), (rho, 8.0)):
        lower[part], upper[part] = -reach, reach
    lower[log_sigma], upper[log_sigma] = -9.0, 12.0
    for _ in range(6):
        points = np.random.default_rng(0).uniform(lower, upper, (20_000, parameters.dim))
        log = density.values(points)
        inside = points[log > log.max() - 25.0]
        pad = 0.1 * (upper - lower)
        low, high = inside.min(axis=0) - pad, inside.max(axis=0) + pad
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    return lower, upper


def disagreements(draws, density, size, sd_within=0.12):
    """Where the draws differ from the grid: means by more than 5 standard errors, or sds."""
    failures = []
    sizes = (draws.verdict or {}).get("ess_of", {})
    exact = grid_moments(density, *box(density), size)
    for name, values in named(draws, density).items():
        mean, sd = exact[name]
        error = sd / np.sqrt(sizes.get(name, 400.0))
        if not abs(values.mean() - mean) <= 5 * error:
            failures.append(f"mean of {name}: {values.mean():.4g} against {mean:.4g} ± {error:.2g}")
        if not abs(values.std() / sd - 1) <= sd_within:
            failures.append(f"sd of {name}: {values.std():.4g} against {sd:.4g}")
    return failures


def check(formula, data, size=60, **fields):
    draws, density = posterior(formula, data, **fields)
    assert draws.verdict["passed"], draws.verdict
    assert disagreements(draws, density, size) == []
    for values in (*draws.coefficients.values(), *draws.effects.values()):
        assert np.isfinite(values).all()
    return draws


def test_the_grid_notices_a_wrong_posterior():
    draws, density = posterior(INTERCEPTS, table())
    assert disagreements(draws, density, 150) == []
    for wrong in (0.8 * draws.sigma, draws.sigma + draws.sigma.std()):
        assert disagreements(draws._replace(sigma=wrong), density, 150) != []


# Variances that nothing tells, correlations at the edge


def test_an_sd_of_nothing():
    check(INTERCEPTS, table(sds=(0.0, 0.0)), 150)


def test_less_between_persons_than_chance_would_have():
    data = table(sds=(0.0, 0.0))
    data["y"] -= data.groupby("p")["y"].transform("mean")
    draws = check(INTERCEPTS, data, 150)
    assert np.median(draws.sds["1|p"]) < 0.25


@pytest.mark.parametrize("corr", [1.0, -1.0])
def test_a_correlation_of_one(corr):
    data = table(25, 16, sds=(2.0, 2.0), corr=corr, sigma=0.3)
    draws = check(SLOPES, data, 60, priors={"sigma": Fixed(0.3)})
    assert (draws.correlations["p"][..., 1, 0] * corr).mean() > 0.98


def test_one_of_two_correlated_effects_is_nothing():
    check(SLOPES, table(sds=(1.0, 0.0)), 60, priors={"sigma": Fixed(1.0)})


def test_effects_far_larger_than_residuals():
    check(SLOPES, table(sds=(1e4, 1e3)), 60, priors={"sigma": Fixed(1.0)})


def test_two_levels_and_a_prior_with_heavy_tails():
    check(INTERCEPTS, table(persons=2), 200, priors={"sd": HalfStudentT(1, 5)})


def test_two_levels_far_apart():
    data = table(persons=2)
    data["y"] += 100.0 * (data["p"] == "p001")
    check(INTERCEPTS, data, 200, priors={"sd": HalfStudentT(1, 5)})


def test_correlation_of_neighbours_near_one():
    data = table(items=20, sds=(0.0, 0.0))
    data["bin"] = data["s"].str[1:].astype(int)
    data["y"] = data.groupby("p")["y"].cumsum()
    draws = check(INTERCEPTS, data, 60, residual="ar1", series="p")
    assert draws.rho.mean() > 0.85


def test_a_stratum_of_one_row():
    data = table()
    data["medium"] = np.where(np.arange(len(data)) == 0, "film", "picture")
    check(INTERCEPTS, data, 60, sigma_by="medium")


def test_known_errors_larger_than_the_scatter():
    data = table().assign(se=lambda rows: 3.0 + (rows["v"] > 0))
    check(INTERCEPTS, data, 150, standard_errors="se", priors={"sigma": HalfNormal(1.0)})


# Designs


def test_missing_cells():
    """Half of the persons have seen one valence only."""
    data = table(seed=3)
    check(
        SLOPES, data[(data["p"] < "p005") | (data["v"] > 0)].reset_index(drop=True), 60,
        priors={"sigma": Fixed(1.0)},
    )  # fmt: skip


def test_one_group_under_two_names():
    check("y ~ v + (1 | p) + (1 | q)", table().assign(q=lambda rows: rows["p"]), 60)


def test_two_group_effects_of_one_column_share_it():
    """Not told apart by the data: only their sum is, and the verdict still holds."""
    data = table().assign(w=lambda rows: rows["v"])
    draws, _ = posterior("y ~ v + (v | p) + (0 + w | p)", data)
    single, _ = posterior(SLOPES, data)
    both = draws.effects["v|p"] + draws.effects["w|p"]
    alone = single.effects["v|p"]
    assert draws.verdict["passed"]
    assert np.abs(both.mean(axis=(0, 1)) - alone.mean(axis=(0, 1))).max() < 0.25 * alone.std()


@pytest.mark.statistical("engine")
def test_three_rows():
    """Theta is sampled here, with some hundred thousand gradients."""
    data = pd.DataFrame({"y": [0.1, 0.5, -0.3], "v": [1.0, 2.0, 4.0], "p": ["a", "b", "b"]})
    draws, _ = posterior(INTERCEPTS, data)
    assert draws.verdict["passed"], draws.verdict


def test_duplicated_rows_are_replicates():
    """Twice the same row is the mean of two equal values."""
    data = table()
    twice = posterior(INTERCEPTS, pd.concat([data, data], ignore_index=True))[1]
    counted = posterior(INTERCEPTS, data.assign(n=2, y_squares=0.0), counts="n")[1]
    theta = np.random.default_rng(0).normal(size=(5, 2))
    natural = twice.parameters.natural(theta)
    difference = twice.log_likelihood(natural) - counted.log_likelihood(natural)
    np.testing.assert_allclose(difference, 0.0, atol=1e-9)


def test_weights_from_a_millionth_to_a_million():
    data = table().assign(w=lambda rows: 10.0 ** np.linspace(-6, 6, len(rows)))
    check(INTERCEPTS, data, 150, weights="w")


def test_an_outlier_a_thousand_sds_away():
    data = table()
    data.loc[3, "y"] = 1e4
    check(INTERCEPTS, data, 150)


def test_an_outcome_of_two_values():
    check(INTERCEPTS, table().assign(y=lambda rows: (rows["y"] > 0) * 1.0), 150)


# Scales


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_scale_of_the_outcome_scales_the_draws(factor):
    data = table()
    one, _ = posterior(SLOPES, data)
    other, _ = posterior(SLOPES, data.assign(y=factor * data["y"]))
    for name, draws in one.coefficients.items():
        np.testing.assert_allclose(other.coefficients[name] / factor, draws, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other.sigma / factor, one.sigma, rtol=1e-4)
    np.testing.assert_allclose(other.correlations["p"], one.correlations["p"], atol=1e-4)


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_the_scale_of_a_column_scales_its_effects(factor):
    data = table()
    one, _ = posterior(SLOPES, data)
    other, _ = posterior(SLOPES, data.assign(v=factor * data["v"]))
    np.testing.assert_allclose(other.coefficients["v"] * factor, one.coefficients["v"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other.sds["v|p"] * factor, one.sds["v|p"], rtol=1e-4)


def test_a_mean_of_a_million_moves_the_intercept_alone():
    data = table()
    one, _ = posterior(SLOPES, data)
    other, _ = posterior(SLOPES, data.assign(y=data["y"] + 2.0**20))
    np.testing.assert_allclose(
        other.coefficients["Intercept"] - 2.0**20, one.coefficients["Intercept"], atol=1e-4
    )
    np.testing.assert_allclose(other.sds["v|p"], one.sds["v|p"], rtol=1e-3, atol=1e-4)


# Errors


@pytest.mark.parametrize(
    ("change", "formula", "kind", "message"),
    [
        (lambda data: data.assign(w=2 * data["v"] + 1), "y ~ v + w + (1 | p)", SpecError, "do not repeat each other"),
        (lambda data: data.assign(y=1.0), INTERCEPTS, FitError, "expected an outcome that varies"),
        (lambda data: data.assign(y=0.0), INTERCEPTS, FitError, "expected an outcome that varies"),
        (lambda data: data.assign(y=1 + 2 * data["v"]), INTERCEPTS, FitError, "fits them exactly"),
        (lambda data: data[data["p"] == "p000"], INTERCEPTS, SpecError, "at least two levels of the group 'p'"),
        (lambda data: data.assign(y=np.inf), INTERCEPTS, MienError, "y"),
    ],
    ids=["collinear", "constant", "zero", "exact", "one participant", "infinite"],
)  # fmt: skip
def test_one_clear_error(change, formula, kind, message):
    with pytest.raises(kind, match=message):
        fit(formula, change(table()), engine="collapsed")


def test_a_response_that_persons_reproduce_exactly_is_refused():
    with pytest.raises(FitError, match="reproduces the response exactly"):
        fit(SLOPES, table(sigma=0.0), engine="collapsed")


def test_a_person_who_never_moves_has_no_sigma_of_their_own():
    data = table()
    data.loc[data["p"] == "p000", "y"] = 0.0
    with pytest.raises(FitError, match="sigma:p000"):
        fit(INTERCEPTS, data, sigma_by="p", engine="collapsed")


def test_a_person_who_never_moves_is_fine_with_one_sigma():
    data = table()
    data.loc[data["p"] == "p000", "y"] = 0.0
    check(INTERCEPTS, data, 150)


def test_flat_coefficients_have_no_evidence():
    draws, _ = posterior(SLOPES, table(), priors={"Intercept": Flat(), "beta": Flat()})
    assert draws.verdict["passed"]
    assert "flat" in draws.verdict["log_evidence"]


# Where sigma cannot be told from an effect, weights do not do and NUTS takes over


@pytest.mark.statistical("engine")
def test_one_row_for_each_level():
    """Only sd² + sigma² is known. The grid's box is given: the posterior reaches down to sigma = 0."""
    data = table().assign(p=lambda rows: [f"r{n:03d}" for n in range(len(rows))])
    draws, density = posterior(INTERCEPTS, data)
    assert draws.verdict["passed"], draws.verdict
    exact = grid_moments(density, np.array([0.0, -9.0]), np.array([4.0, 3.0]), 400)
    for name, values in named(draws, density).items():
        mean, sd = exact[name]
        assert values.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(400)), name
        assert values.std() == pytest.approx(sd, rel=0.1), name
