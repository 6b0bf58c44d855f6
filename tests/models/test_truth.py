"""Every engine against posteriors that nobody here chose, and every check against engines that are wrong.

Exact references: conjugate closed forms (Fixed variances), quadrature of a correlated model (written here), and
quadrature of eight schools, radon and rats (shared/reference). Bambi is an independent implementation.
"""

import json

import numpy as np
import pandas as pd
import pytest

from mien.models import fit
from mien.models.engines import ENGINES
from mien.priors import Fixed, HalfNormal, HalfStudentT, Normal

statistical = pytest.mark.statistical("engine")
every_engine = pytest.mark.parametrize("engine", ENGINES)


def summariser(tree, agreement):
    """Draws → Summary. Weighted points have an effective size of their own, which resampled draws do not show."""
    verdicts = json.loads(tree.attrs.get("engine_verdict", "{}")).values()
    size = min((verdict["ess_min"] for verdict in verdicts if verdict.get("ess_min")), default=np.inf)

    def summary(draws):
        found = agreement.summary_of(draws)
        return found._replace(mcse=max(found.mcse, found.sd / np.sqrt(size)))

    return summary


# The saboteurs: what a wrong engine would give, made from right draws.


def shrunken(draws):
    return draws.mean() + 0.9 * (draws - draws.mean())


def moved(draws):
    return draws + 0.2 * draws.std()


def prior_instead(draws):
    """The prior of the coefficient as the posterior: far wider, centred elsewhere."""
    return np.random.default_rng(0).normal(0.0, 10 * draws.std(), draws.shape)


SABOTEURS = {"sd × .9": shrunken, "mean + .2 sd": moved, "prior returned": prior_instead}


@pytest.mark.parametrize("sabotage", SABOTEURS.values(), ids=SABOTEURS.keys())
def test_the_check_of_agreement_fails_wrong_engines(agreement, sabotage):
    rng = np.random.default_rng(1)
    draws = {name: rng.normal(0.3, 0.05, (4, 1000)) for name in ("a", "b")}
    exact = {name: agreement.Summary(0.3, 0.05, 0.0) for name in draws}
    right = {name: agreement.summary_of(values) for name, values in draws.items()}
    assert agreement.disagreements(right, exact) == []
    wrong = {**right, "a": agreement.summary_of(sabotage(draws["a"]))}
    assert agreement.disagreements(wrong, exact) != []


# Closed form: with all variances Fixed, coefficients and effects are jointly normal.


@pytest.fixture(scope="module")
def conjugate():
    rng = np.random.default_rng(4)
    person, item = np.repeat(np.arange(8), 10), np.tile(np.arange(10), 8)
    x = np.where(item % 2 == 0, -0.5, 0.5)
    effects = rng.multivariate_normal([0, 0], [[0.25, 0.12], [0.12, 0.16]], 8)
    y = 1.0 + 0.5 * x + effects[person, 0] + effects[person, 1] * x + rng.normal(0, 0.2, 10)[item]
    data = pd.DataFrame(
        {"y": y + rng.normal(0, 0.5, 80), "x": x, "person": person.astype(str), "item": item.astype(str)}
    )
    priors = {
        "Intercept": Normal(0, 2),
        "beta": Normal(0, 1),
        "sd:1|person": Fixed(0.5),
        "sd:x|person": Fixed(0.4),
        "sd:1|item": Fixed(0.2),
        "corr": Fixed(0.6),
        "sigma": Fixed(0.5),
    }
    return data, priors


def closed_form(data, corr):
    """Means and sds of Intercept, x and the persons' effects by linear algebra alone."""
    person, item = data["person"].astype(int).to_numpy(), data["item"].astype(int).to_numpy()
    rows = np.arange(len(data))
    columns = np.zeros((len(data), 2 + 16 + 10))
    columns[:, 0], columns[:, 1] = 1, data["x"]
    columns[rows, 2 + person], columns[rows, 10 + person] = 1, data["x"]
    columns[rows, 18 + item] = 1
    prior = np.diag([4.0, 1.0, *[0.25] * 8, *[0.16] * 8, *[0.04] * 10])
    for p in range(8):
        prior[2 + p, 10 + p] = prior[10 + p, 2 + p] = corr * 0.5 * 0.4
    covariance = np.linalg.inv(np.linalg.inv(prior) + columns.T @ columns / 0.25)
    mean = covariance @ columns.T @ data["y"].to_numpy() / 0.25
    names = ["Intercept", "x", *(f"1|{p}" for p in range(8)), *(f"x|{p}" for p in range(8))]
    return {name: (mean[place], np.sqrt(covariance[place, place])) for place, name in enumerate(names)}


@pytest.fixture(scope="module", params=ENGINES)
def conjugate_fit(conjugate, request):
    data, priors = conjugate
    posterior = fit(
        "y ~ x + (x | person) + (1 | item)", data, priors=priors, draws=1500, seed=1, engine=request.param
    )["posterior"]
    draws = {"Intercept": posterior["Intercept"].values, "x": posterior["x"].values}
    for term in ("1", "x"):
        draws |= {f"{term}|{p}": posterior[f"{term}|person"].values[..., p] for p in range(8)}
    return draws


def test_closed_form_with_fixed_variances(conjugate, conjugate_fit, agreement):
    exact = {name: agreement.Summary(*pair, 0.0) for name, pair in closed_form(conjugate[0], 0.6).items()}
    found = {name: agreement.summary_of(draws) for name, draws in conjugate_fit.items()}
    assert agreement.disagreements(found, exact) == []


def test_saboteur_correlation_dropped_is_noticed(conjugate, conjugate_fit, agreement):
    without = {name: agreement.Summary(*pair, 0.0) for name, pair in closed_form(conjugate[0], 0.0).items()}
    found = {name: agreement.summary_of(draws) for name, draws in conjugate_fit.items()}
    assert agreement.disagreements(found, without) != []


# Quadrature of a correlated model: balanced data reduce to each person's least squares.


def balanced(seed=2):
    rng = np.random.default_rng(seed)
    persons, x = 18, np.arange(10.0) - 4.5
    effects = rng.multivariate_normal([0, 0], [[0.64, 0.5 * 0.8 * 0.3], [0.5 * 0.8 * 0.3, 0.09]], persons)
    y = 0.5 + 0.2 * x[None] + effects[:, :1] + effects[:, 1:] * x[None] + rng.normal(0, 0.9, (persons, 10))
    return pd.DataFrame(
        {"y": y.ravel(), "x": np.tile(x, persons), "person": np.repeat(np.arange(persons), 10).astype(str)}
    )


def quadrature(data, size=36):
    """Moments of every hyperparameter and coefficient under the priors of the test below."""
    x = np.unique(data["x"])
    table = data["y"].to_numpy().reshape(-1, len(x))
    design = np.column_stack([np.ones(len(x)), x])
    gram = np.linalg.inv(design.T @ design)
    estimate = table @ design @ gram
    rss = float(((table - estimate @ design.T) ** 2).sum())
    persons, free = len(table), len(table) * (len(x) - 2)
    axes = (
        np.linspace(0.3, 1.8, size), np.linspace(0.1, 0.7, size), np.linspace(-0.98, 0.98, 2 * size),
        np.linspace(0.7, 1.15, size),
    )  # fmt: skip
    sd0, sd1, rho, sigma = np.meshgrid(*axes, indexing="ij", sparse=True)
    v00 = sd0**2 + sigma**2 * gram[0, 0] + 0 * rho + 0 * sd1
    v11 = sd1**2 + sigma**2 * gram[1, 1] + 0 * rho + 0 * sd0
    v01 = sd0 * sd1 * rho + 0 * sigma  # the columns are orthogonal
    determinant = v00 * v11 - v01**2
    i00, i11, i01 = v11 / determinant, v00 / determinant, -v01 / determinant
    p00, p11, p01 = persons * i00 + 1 / 9, persons * i11 + 1.0, persons * i01  # β ~ N(0, 3²), N(0, 1)
    sum0, sum1 = estimate.sum(axis=0)
    b0, b1 = i00 * sum0 + i01 * sum1, i01 * sum0 + i11 * sum1
    pdet = p00 * p11 - p01**2
    m0, m1 = (p11 * b0 - p01 * b1) / pdet, (p00 * b1 - p01 * b0) / pdet
    squares = estimate.T @ estimate
    fit_term = i00 * squares[0, 0] + i11 * squares[1, 1] + 2 * i01 * squares[0, 1] - (m0 * b0 + m1 * b1)
    log = -0.5 * persons * np.log(determinant) - 0.5 * np.log(pdet) - 0.5 * fit_term
    log = log - free * np.log(sigma) - 0.5 * rss / sigma**2
    log = log - 0.5 * (sd0**2 + sd1**2) + np.log1p(-(rho**2)) - 2.5 * np.log1p(sigma**2 / 4)
    weight = np.exp(log - log.max())
    weight /= weight.sum()

    def moments(value, variance=0.0):
        mean = float((weight * value).sum())
        return mean, float(np.sqrt((weight * (value**2 + variance)).sum() - mean**2))

    return {
        "1|person_sigma": moments(sd0), "x|person_sigma": moments(sd1), "corr": moments(rho), "sigma": moments(sigma),
        "Intercept": moments(m0, p11 / pdet), "x": moments(m1, p00 / pdet),
    }  # fmt: skip


@statistical
@every_engine
def test_a_correlated_model_against_quadrature(agreement, engine):
    data = balanced()
    priors = {
        "Intercept": Normal(0, 3),
        "beta": Normal(0, 1),
        "sd": HalfNormal(1),
        "sigma": HalfStudentT(4, 1),
    }
    tree = fit("y ~ x + (x | person)", data, priors=priors, draws=2500, seed=5, engine=engine)
    posterior, summary = tree["posterior"], summariser(tree, agreement)
    draws = {
        name: posterior[name].values
        for name in ("1|person_sigma", "x|person_sigma", "sigma", "Intercept", "x")
    }
    draws["corr"] = posterior["person_corr"].values[..., 0, 1]
    exact = {name: agreement.Summary(*pair, 0.0) for name, pair in quadrature(data).items()}
    found = {name: summary(values) for name, values in draws.items()}
    assert agreement.disagreements(found, exact) == []
    for sabotage in SABOTEURS.values():
        for name, values in draws.items():
            assert agreement.disagreements({**found, name: summary(sabotage(values))}, exact) != []


# Posteriors of other people's models.


def exact_of(shared, model):
    path = shared / "reference" / "exact" / "exact_posteriors.json"
    if not path.is_file():
        pytest.skip("no shared/reference folder with exact posteriors beside this checkout")
    return json.loads(path.read_text(encoding="utf-8"))[model]


def posteriordb(shared, name):
    return json.loads(
        (shared / "reference" / "posteriordb" / "data" / f"{name}.json").read_text(encoding="utf-8")
    )


def compare(tree, draws, exact, agreement, sd_within=0.05):
    summary = summariser(tree, agreement)
    found = {name: summary(values) for name, values in draws.items()}
    wanted = {name: agreement.Summary(exact[name]["mean"], exact[name]["sd"], 0.0) for name in draws}
    assert agreement.disagreements(found, wanted, sd_within) == []
    first = next(iter(draws))
    for sabotage in SABOTEURS.values():
        wrong = {**found, first: summary(sabotage(draws[first]))}
        assert agreement.disagreements(wrong, wanted, sd_within) != []


@statistical
@every_engine
def test_eight_schools(shared, agreement, engine):
    exact = exact_of(shared, "eight_schools_noncentered")
    raw = posteriordb(shared, "eight_schools")
    data = pd.DataFrame(
        {"y": np.array(raw["y"], float), "se": raw["sigma"], "school": [f"{n}" for n in range(1, 9)]}
    )
    tree = fit(
        "y ~ 1 + (1 | school)", data, standard_errors="se", draws=5000, seed=2, engine=engine,
        priors={"Intercept": Normal(0, 5), "sd": HalfStudentT(1, 5)},
    )  # fmt: skip
    posterior = tree["posterior"]
    draws = {"mu": posterior["Intercept"].values, "tau": posterior["1|school_sigma"].values}
    for n in range(8):
        draws[f"theta[{n + 1}]"] = posterior["Intercept"].values + posterior["1|school"].values[..., n]
    compare(tree, draws, exact, agreement)


@statistical
@every_engine
def test_radon(shared, agreement, engine):
    exact = exact_of(shared, "radon_contextual_effects_minnesota_halfnormal")
    raw = posteriordb(shared, "radon_mn")
    activity = np.exp(np.array(raw["log_radon"])) - 0.1  # posteriordb adds 0.1 before the log
    data = pd.DataFrame(
        {
            "log_radon": np.log(np.where(activity < 1e-6, 0.1, activity)),
            "uranium": np.log(np.exp(np.array(raw["log_uppm"])) - 0.1),
            "floor": np.array(raw["floor_measure"], float),
            "county": np.array(raw["county_idx"]).astype(str),
        }
    )
    data["by_county"] = data.groupby("county")["floor"].transform("mean")
    tree = fit(
        "log_radon ~ uranium + floor + by_county + (1 | county)", data, draws=3000, seed=2, engine=engine,
        priors={"Intercept": Normal(0, 1), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1)},
    )  # fmt: skip
    posterior = tree["posterior"]
    names = {
        "county_effect_mean": "Intercept", "weight[0]log_uranium": "uranium", "weight[1]floor": "floor",
        "weight[2]floor_by_county": "by_county", "county_effect_scale": "1|county_sigma", "log_radon_scale": "sigma",
    }  # fmt: skip
    compare(tree, {theirs: posterior[ours].values for theirs, ours in names.items()}, exact, agreement)


@statistical
@every_engine
def test_rats(shared, agreement, engine):
    exact = exact_of(shared, "rats_model")
    raw = posteriordb(shared, "rats_data")
    data = pd.DataFrame(
        {
            "y": np.array(raw["y"], float),
            "x": np.array(raw["x"], float) - raw["xbar"],
            "rat": np.array(raw["rat"]).astype(str),
        }
    )
    wide = HalfNormal(1e4)  # the reference's scales are flat; over their posterior this one is, to 1e-5
    tree = fit(
        "y ~ x + (x || rat)", data, draws=3000, seed=2, engine=engine,
        priors={"Intercept": Normal(0, 100), "beta": Normal(0, 100), "sd": wide, "sigma": wide},
    )  # fmt: skip
    posterior = tree["posterior"]
    names = {
        "mu_alpha": "Intercept", "mu_beta": "x", "sigma_y": "sigma", "sigma_alpha": "1|rat_sigma",
        "sigma_beta": "x|rat_sigma",
    }  # fmt: skip
    compare(tree, {theirs: posterior[ours].values for theirs, ours in names.items()}, exact, agreement)


# Bambi: another implementation of the same model.


BAMBI = "activation ~ valence + (valence || participant) + (1 | stimulus)"
BAMBI_NAMES = [
    "Intercept", "valence", "sigma", "1|participant_sigma", "valence|participant_sigma", "1|stimulus_sigma",
]  # fmt: skip


@pytest.fixture(scope="module")
def bambi_posterior(trials):
    from mien.models import to_bambi

    model = to_bambi(BAMBI, trials[trials["blend_shape"] == "mouthSmile"])
    return model.fit(
        draws=4000,
        tune=2000,
        chains=4,
        random_seed=7,
        inference_method="nutpie",
        progressbar=False,
        target_accept=0.97,
    )["posterior"]


@statistical
@every_engine
@pytest.mark.filterwarnings("ignore")
def test_bambi_gives_the_same_posterior(trials, bambi_posterior, agreement, engine):
    from arviz_stats.base import array_stats

    data = trials[trials["blend_shape"] == "mouthSmile"]
    tree = fit(BAMBI, data, draws=2500, seed=7, engine=engine)
    ours, summary = tree["posterior"].sel(blend_shape="mouthSmile"), summariser(tree, agreement)
    found = {name: summary(ours[name].values) for name in BAMBI_NAMES}
    assert all((one.sd / one.mcse) ** 2 >= 2500 for one in found.values())
    sizes = [array_stats.ess(bambi_posterior[name].values, chain_axis=0, draw_axis=1) for name in BAMBI_NAMES]
    assert min(map(float, sizes)) >= 2500
    reference = {name: agreement.summary_of(bambi_posterior[name].values) for name in BAMBI_NAMES}
    assert agreement.disagreements(found, reference) == []
    for sabotage in SABOTEURS.values():
        wrong = {**found, "valence": summary(sabotage(ours["valence"].values))}
        assert agreement.disagreements(wrong, reference) != []
