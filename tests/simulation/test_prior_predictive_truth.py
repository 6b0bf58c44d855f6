"""Prior draws and simulated rows beside PyMC's and Bambi's own prior predictive, for models nobody here wrote twice.

Compared: means (4 standard errors) and how many draws of the one lie below quantiles of the other (4 standard errors of
a share). Saboteurs do the same with draws that are wrong.
"""

import json

import numpy as np
import pandas as pd
import pytest

from mien.models.engines.bambi_model import to_bambi
from mien.models.replicates import posterior_predictive
from mien.models.spec import ModelSpec
from mien.priors import prior_from_dict
from mien.simulation.prior_predictive import prior_draws

pytestmark = [
    pytest.mark.statistical("priors"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

OURS, THEIRS = 4000, 4000
ROWS = (0, 7, 19, 33)
PROBS = (0.025, 0.16, 0.5, 0.84, 0.975)


def make_rows(seed=0, people=6, stimuli=8):
    rng = np.random.default_rng(seed)
    person, stimulus = (
        part.ravel() for part in np.meshgrid(np.arange(people), np.arange(stimuli), indexing="ij")
    )
    positive, film = stimulus % 2, (stimulus // 2) % 2
    y = (
        0.3
        + 0.1 * positive
        + 0.05 * rng.standard_normal(people)[person]
        + 0.08 * rng.standard_normal(len(person))
    )
    return pd.DataFrame({
        "participant": [f"{p:02d}" for p in person], "stimulus": [f"s{s}" for s in stimulus],
        "valence": pd.Categorical.from_codes(positive, ["negative", "positive"]),
        "medium": pd.Categorical.from_codes(film, ["picture", "film"]),
        "raw": np.clip(y, 0.0, 0.99),
    })  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return make_rows()


def priors_of(tree):
    stored = json.loads(tree.attrs["priors"])[""]
    return {name: prior_from_dict(item) for name, item in stored.items()}


def drawn(tree, seed=5):
    """Name → (draw, …) of the prior, and "y" (draw, row)."""
    found = {
        str(name): item.to_numpy().reshape(-1, *item.shape[2:])
        for name, item in tree["posterior"].data_vars.items()
    }
    y = posterior_predictive(tree, seed=seed)["outcome"].to_numpy().astype(np.float64)
    found["y"] = y.reshape(len(found["Intercept"]), -1)
    return found


def quantities(found, correlated=()):
    """Single numbers a draw: parameters, two effects of each term, rows, and what rows and effects have in common."""
    result = {}
    for name, values in found.items():
        if name == "y":
            result |= {f"row {row}": values[:, row] for row in ROWS}
            result["mean of rows"] = values.mean(axis=1)
            result["sd of rows"] = values.std(axis=1)
            neighbours = values[:, :-1] - values[:, 1:]
            result["difference of neighbours"] = np.abs(neighbours).mean(axis=1)
        elif values.ndim == 1:
            result[name] = values
        elif "|" in name:
            result[f"{name} first"], result[f"{name} last"] = values[:, 0], values[:, -1]
    for one, other in correlated:
        together = found[one] * found[other]
        result[f"{one} with {other}"] = np.abs(together.mean(axis=1)) / np.sqrt(
            (found[one] ** 2).mean(axis=1) * (found[other] ** 2).mean(axis=1)
        )
    return result


def differences(found, wanted):
    """What differs by more than 4 standard errors."""
    failures = []
    assert set(wanted) <= set(found), set(wanted) - set(found)
    for name, theirs in wanted.items():
        ours = found[name]
        error = np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
        if abs(ours.mean() - theirs.mean()) > 4 * error:
            failures.append(f"mean of {name}: {ours.mean():.4g} against {theirs.mean():.4g}")
        for prob, value in zip(PROBS, np.quantile(theirs, PROBS), strict=True):
            share = (ours < value).mean() + 0.5 * (ours == value).mean()
            tied = (theirs == value).mean()
            own = (theirs < value).mean() + 0.5 * tied if tied else prob
            allowed = 4 * np.sqrt(prob * (1 - prob) * (1 / len(ours) + 1 / len(theirs)))
            if abs(share - own) > allowed:
                failures.append(f"{prob} of {name}: {share:.3f} against {own:.3f}")
    return failures


# A model without correlations, in Bambi


FORMULA = "raw ~ valence + (valence || participant) + (1 | stimulus)"


@pytest.fixture(scope="module")
def independent(rows):
    """The same model's prior predictive draws: ours, Bambi's."""
    tree = prior_draws(FORMULA, rows, draws=OURS, seed=1)
    model = to_bambi(FORMULA, rows)
    model.build()
    data = model.prior_predictive(draws=THEIRS, random_seed=2)
    theirs = {
        str(name): item.to_numpy().reshape(-1, *item.shape[2:])
        for name, item in data["prior"].data_vars.items()
    }
    theirs = {name: theirs[name] for name in theirs if name in tree["posterior"].data_vars}
    assert {"Intercept", "valence", "sigma", "1|participant", "valence|participant_sigma"} <= set(theirs)
    theirs["y"] = data["prior_predictive"]["raw"].to_numpy().reshape(THEIRS, -1)
    return tree, drawn(tree), theirs


def test_prior_draws_and_rows_are_those_of_bambi(independent):
    _, ours, theirs = independent
    assert not differences(quantities(ours), quantities(theirs))


def test_saboteurs_of_an_independent_model_differ_from_bambi(independent):
    tree, ours, theirs = independent
    wanted = quantities(theirs)
    doubled = ours | {name: 2 * ours[name] for name in ours if name.endswith("_sigma") and "|" in name}
    assert any("_sigma" in text for text in differences(quantities(doubled), wanted))
    posterior = tree["posterior"].to_dataset()
    for name in ("valence|participant", "1|stimulus"):
        without = tree.copy()
        without["posterior"] = type(tree)(posterior.assign({name: 0 * posterior[name]}))
        found = differences(quantities(drawn(without)), wanted)
        assert any(
            text.split(" of ", 1)[1].startswith(("sd of rows", "difference of", "row")) for text in found
        )
    wide = ours | {
        "y": ours["y"] + ours["sigma"][:, None] * np.random.default_rng(0).standard_normal(ours["y"].shape)
    }
    assert differences(quantities(wide), wanted)


# A model with three correlated terms, in PyMC


CORRELATED = "raw ~ valence + medium + (valence + medium | participant) + (1 | stimulus)"
PAIRS = [("1|participant", "valence|participant"), ("valence|participant", "medium|participant")]


@pytest.fixture(scope="module")
def correlated(rows):
    import pymc as pm

    tree = prior_draws(CORRELATED, rows, draws=OURS, seed=3)
    own = priors_of(tree)
    constants = tree["constant_data"].dataset
    person = constants["participant index"].to_numpy().astype(int)
    stimulus = constants["stimulus index"].to_numpy().astype(int)
    terms = ("1", "valence", "medium")
    with pm.Model():
        beta = [pm.Normal(name, own[name].mean, own[name].sd) for name in ("Intercept", "valence", "medium")]
        scales = pm.HalfNormal.dist(np.array([own[f"sd:{term}|participant"].sd for term in terms]), shape=3)
        root, corr, sds = pm.LKJCholeskyCov(  # a draw of LKJCorr is its Cholesky factor, at least in PyMC 6.4
            "root", n=3, eta=own["corr:participant"].eta, sd_dist=scales, compute_corr=True
        )
        pm.Deterministic("corr", corr)
        effects = pm.Normal("z", shape=(int(person.max()) + 1, 3)) @ root.T
        for place, term in enumerate(terms):
            pm.Deterministic(f"{term}|participant_sigma", sds[place])
            pm.Deterministic(f"{term}|participant", effects[:, place])
        item_sd = pm.HalfNormal("1|stimulus_sigma", own["sd:1|stimulus"].sd)
        item = pm.Normal("1|stimulus", 0, item_sd, shape=int(stimulus.max()) + 1)
        columns = constants["design"].to_numpy()
        mean = sum(beta[place] * columns[:, place] for place in range(3))
        for place, term in enumerate(terms):
            mean = mean + effects[person, place] * constants[f"{term}|participant column"].to_numpy()
        sigma = pm.HalfStudentT("sigma", nu=own["sigma"].df, sigma=own["sigma"].scale)
        pm.Normal("raw", mean + item[stimulus], sigma, observed=np.zeros(len(person)))
        data = pm.sample_prior_predictive(THEIRS, random_seed=4)
    prior = data["prior"]
    theirs = {
        str(name): prior[name].to_numpy()[0]
        for name in prior.data_vars
        if "|" in str(name) or prior[name].ndim == 2
    }
    theirs["y"] = data["prior_predictive"]["raw"].to_numpy()[0]
    matrix = prior["corr"].to_numpy()[0]
    theirs |= {"corr 1": matrix[:, 0, 1], "corr 2": matrix[:, 1, 2], "det": np.linalg.det(matrix)}
    ours = drawn(tree)
    mine = ours["participant_corr"]
    ours |= {"corr 1": mine[:, 0, 1], "corr 2": mine[:, 1, 2], "det": np.linalg.det(mine)}
    return ours, theirs


def test_correlated_effects_are_those_of_pymc(correlated):
    ours, theirs = correlated
    assert not differences(quantities(ours, PAIRS), quantities(theirs, PAIRS))


def test_saboteurs_of_a_correlated_model_differ_from_pymc(correlated):
    ours, theirs = correlated
    wanted = quantities(theirs, PAIRS)
    rng = np.random.default_rng(1)
    shuffled = ours | {"valence|participant": rng.permuted(ours["valence|participant"], axis=1)}
    assert any("with" in text for text in differences(quantities(shuffled, PAIRS), wanted))
    flatter = ours | {"det": np.ones(OURS)}
    assert differences(quantities(flatter, PAIRS), wanted)
    doubled = ours | {"1|participant": 2 * ours["1|participant"]}
    assert differences(quantities(doubled, PAIRS), wanted)


# Families with a link, in PyMC


def link_model(family, own, constants, unit):
    """The family's rows drawn forward in PyMC."""
    import pymc as pm
    import pytensor.tensor as pt

    person = constants["participant index"].to_numpy().astype(int)
    column = constants["design"].to_numpy()[:, 1]
    with pm.Model():
        mean = pm.Normal("Intercept", own["Intercept"].mean, own["Intercept"].sd)
        mean = mean + pm.Normal("valence", own["valence"].mean, own["valence"].sd) * column
        sd = pm.HalfNormal("1|participant_sigma", own["sd:1|participant"].sd)
        eta = mean + pm.Normal("1|participant", 0, sd, shape=int(person.max()) + 1)[person]
        free = {
            name: pm.Normal(f"{name} free", own[name].mean, own[name].sd)
            for name in own if name in ("phi", "zi", "zoi", "coi", "shape", "hu", "nu", "cutpoint_zero", "cutpoint_one")
        }  # fmt: skip
        linked = {
            "phi": pt.exp, "shape": pt.exp, "nu": pt.exp, "zi": pt.sigmoid, "zoi": pt.sigmoid, "coi": pt.sigmoid,
            "hu": pt.sigmoid,
        }  # fmt: skip
        known = {
            name: pm.Deterministic(name, linked.get(name, lambda x: x)(value)) for name, value in free.items()
        }
        chance = pm.Uniform("chance", shape=len(person))
        if family == "student_t":
            sigma = pm.HalfStudentT("sigma", nu=own["sigma"].df, sigma=own["sigma"].scale)
            y = pm.StudentT("inside", nu=known["nu"], mu=eta, sigma=sigma, shape=len(person))
        elif family == "hurdle_gamma":
            inside = pm.Gamma(
                "inside", alpha=known["shape"], beta=known["shape"] / pt.exp(eta), shape=len(person)
            )
            y = pt.switch(chance < known["hu"], 0.0, inside)
        else:
            mu = pt.sigmoid(eta)
            inside = pm.Beta("inside", mu * known["phi"], (1 - mu) * known["phi"], shape=len(person))
            zero, one = {
                "zero_inflated_beta": lambda k: (k["zi"], 0.0),
                "zero_one_inflated_beta": lambda k: (k["zoi"] * (1 - k["coi"]), k["zoi"] * k["coi"]),
                "ordered_beta": lambda k: (
                    1 - pt.sigmoid(eta - k["cutpoint_zero"]), pt.sigmoid(eta - k["cutpoint_one"]),
                ),
            }[family](known)  # fmt: skip
            y = pt.switch(chance < zero, 0.0, pt.switch(chance > 1 - one, 1.0, inside))
        pm.Deterministic("y", y)
        prior = pm.sample_prior_predictive(2 * THEIRS, random_seed=unit)["prior"]
    keep = np.ones(2 * THEIRS, dtype=bool)
    if family == "ordered_beta":  # the order of the cutpoints is given
        keep = (prior["cutpoint_zero"] < prior["cutpoint_one"]).to_numpy()[0]
    names = [name for name in prior.data_vars if "free" not in str(name) and name not in ("chance", "inside")]
    return {str(name): prior[name].to_numpy()[0][keep] for name in names}


@pytest.mark.parametrize(
    "family", ["student_t", "ordered_beta", "zero_inflated_beta", "zero_one_inflated_beta", "hurdle_gamma"]
)
def test_rows_of_other_families_are_those_of_pymc(family, rows):
    tree = prior_draws(
        ModelSpec("raw ~ valence + (1 | participant)", family=family), rows, draws=OURS, seed=6
    )
    theirs = link_model(family, priors_of(tree), tree["constant_data"].dataset, 7)
    ours = drawn(tree)
    wanted = ranked(quantities(theirs))
    assert not differences(ranked(quantities(ours)), wanted)
    wrong = ours | {"y": np.maximum(ours["y"], 1e-3) if family != "student_t" else 2 * ours["y"]}
    assert differences(ranked(quantities(wrong)), wanted)


def ranked(found):
    """On a scale where means exist: a hurdle gamma's prior has none to speak of."""
    return {name: np.arcsinh(values) for name, values in found.items()}


# Co-activation, in PyMC


def factor_quantities(loading, uniqueness):
    """Of the first shapes: what no rotation changes."""
    covariance = loading @ np.swapaxes(loading, 1, 2)
    variance = np.einsum("dii->di", covariance) + uniqueness
    return {
        "uniqueness": uniqueness[:, 0],
        "communality": np.einsum("dii->di", covariance)[:, 1] / variance[:, 1],
        "correlation": np.abs(covariance[:, 0, 1]) / np.sqrt(variance[:, 0] * variance[:, 1]),
        "largest loading": np.abs(loading).max(axis=(1, 2)),
        "least uniqueness": uniqueness.min(axis=1),
    }


def test_factors_are_those_of_pymc():
    import pymc as pm

    from mien.models.engines.factor_graph import factor_model
    from mien.models.factors.spec import FactorSpec
    from mien.simulation.prior_predictive.factor_tree import draw_factors

    spec, rng = FactorSpec(factors=3, between=2), np.random.default_rng(8)
    ours = draw_factors(spec, 5, (4, OURS // 4), rng)
    names = ["loading", "uniqueness", "between_loading", "between_uniqueness"]
    model = factor_model(
        np.zeros((6, 5)),
        np.ones((6, 1)),
        np.repeat([0, 1, 2], 2),
        factors=3,
        between=2,
        priors=spec.prior_numbers,
    )
    with model:
        prior = pm.sample_prior_predictive(THEIRS, var_names=names, random_seed=9)["prior"]
    theirs = {name: prior[name].to_numpy()[0] for name in names}
    levels = (
        (ours.within.loading, ours.uniqueness, "loading", "uniqueness"),
        (ours.between.loading, ours.between_uniqueness, "between_loading", "between_uniqueness"),
    )
    for loading, uniqueness, name, other in levels:
        wanted = ranked(factor_quantities(theirs[name], theirs[other]))
        assert not differences(ranked(factor_quantities(loading, uniqueness)), wanted)
        assert differences(ranked(factor_quantities(2 * loading, uniqueness)), wanted)
        shuffled = rng.permutation(loading, axis=0)[:, :, :1]  # one factor is not several
        assert differences(ranked(factor_quantities(shuffled, uniqueness)), wanted)
