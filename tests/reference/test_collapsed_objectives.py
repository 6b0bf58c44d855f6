"""Engine "collapsed" against the objective values of lme4 and MixedModels.jl: −2 log-likelihood at given θ.

Fixed coefficients give ML; flat coefficients, integrated out, give REML with its whole constant: lme4's criterion is
−2 log ∫ p(y | β, θ) dβ, and so is the density here. ML at the best β comes from the flat density too, by the profiled
correction + ½ log |XᵀV⁻¹X| − (p/2) log 2π. Values are compared, not optima.
"""

import json

import numpy as np
import pandas as pd
import pytest

from mien.models import ModelSpec
from mien.models.engines.collapsed.engine import prepare
from mien.models.engines.collapsed.parameters import Natural
from mien.models.fitting import make_problem
from mien.priors import Fixed, Flat

NAMES = (
    "intercepts", "slopes", "slopes_independent", "paper", "two_factors", "nested", "singular", "weights",
    "three_effects",
)  # fmt: skip


def density_of(formula, data, beta=None, weights=""):
    """With Fixed coefficients where `beta` is given (in the formula's order), else flat ones."""
    spec = ModelSpec(formula, priors={"Intercept": Flat(), "beta": Flat()}, weights=weights)
    problem, _, _ = make_problem(spec, data)
    if beta is not None:
        names = problem.outcomes[0].design.coefficients
        priors = {name: Fixed(float(value)) for name, value in zip(names, beta, strict=True)}
        spec = ModelSpec(formula, priors=priors, weights=weights)
        problem, _, _ = make_problem(spec, data)
    return prepare(problem, threads=1)[0]


def partials(correlation):
    """Canonical partial correlations, row by row."""
    lower = np.linalg.cholesky(correlation)
    left = 1.0 - np.cumsum(lower**2, axis=1) + lower**2
    return [lower[i, j] / np.sqrt(left[i, j]) for i in range(len(lower)) for j in range(i)]


def natural_of(prepared, point):
    """The values of `point` (factors, terms, sds, correlations, sigma) in the engine's order of terms."""
    sds, angles = [], []
    for block in prepared.outcome.design.blocks:
        place = next(
            n
            for n, names in enumerate(point.terms)
            if point.factors[n] == block.factor and block.terms[0] in names
        )
        at = [point.terms[place].index(term) for term in block.terms]
        sds.extend(point.sds[place][at])
        angles.extend(partials(point.correlations[place][np.ix_(at, at)]))
    return Natural(np.array([sds]), np.array([angles]), np.array([[point.sigma]]), np.zeros(1))


def of_lme4(point):
    """lme4 calls an intercept's effect what it calls its coefficient."""
    terms = tuple(tuple("1" if name == "Intercept" else name for name in names) for names in point.terms)
    return point._replace(terms=terms)


def log_information(prepared, natural):
    """Log |XᵀV⁻¹X|, from the covariance of the coefficients given θ."""
    count = len(prepared.outcome.design.coefficients)
    variables = len(prepared.density.places.term)

    class Unit:
        def spawn(self, pieces):
            return [self] * pieces

        def standard_normal(self, size):
            return np.eye(*size)

    root = prepared.density.draw(natural, np.array([variables]), Unit(), dtype=np.float64).coefficients
    root = root - prepared.density.draw(natural, np.array([1]), None).coefficients
    assert root.shape == (variables, count)
    return -float(np.linalg.slogdet(root.T @ root)[1])


def check(prepared, natural, objective, rel):
    assert -2 * prepared.density.log_likelihood(natural)[0] == pytest.approx(objective, rel=rel)
    wrong = natural._replace(sd=1.05 * natural.sd, sigma=1.01 * natural.sigma)
    assert -2 * prepared.density.log_likelihood(wrong)[0] != pytest.approx(objective, rel=rel)


@pytest.mark.parametrize("name", NAMES)
def test_restricted_likelihood_is_lme4s(lme4_cases, name):
    case = lme4_cases[name]
    prepared = density_of(case.formula, case.data, weights=case.weights)
    for point in case.points["reml"]:
        check(prepared, natural_of(prepared, of_lme4(point)), point.objective, 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_likelihood_is_lme4s(lme4_cases, name):
    case = lme4_cases[name]
    flat = density_of(case.formula, case.data, weights=case.weights)
    for point in map(of_lme4, case.points["ml"]):
        fixed = density_of(case.formula, case.data, point.beta, case.weights)
        natural = natural_of(fixed, point)
        check(fixed, natural, point.objective, 1e-9)
        profiled = flat.density.log_likelihood(natural)[0] + 0.5 * log_information(flat, natural)
        profiled -= 0.5 * len(point.beta) * np.log(2 * np.pi)
        assert -2 * profiled == pytest.approx(point.objective, rel=1e-9)


def test_autocorrelated_likelihood_is_nlmes(nlme_cases):
    """Gaps in the series, coefficients at nlme's estimates; with rho left out it is another value."""
    records, data = nlme_cases
    data = data.assign(
        series=data["participant"].astype(str) + data["trial"].astype(str),
        participant=data["participant"].astype(str),
    )
    for record in records:
        priors = {"Intercept": Flat(), "beta": Flat()}
        if record["method"] != "REML":
            priors = {"Intercept": Fixed(record["beta"][0]), "beta": Fixed(record["beta"][1])}
        formula = "y ~ x + (1 | participant)" if record["sd"] > 0 else "y ~ x"
        spec = ModelSpec(formula, residual="ar1", series="series", priors=priors)
        prepared = prepare(make_problem(spec, data)[0], threads=1)[0]
        sd = np.array([[record["sd"]]] if record["sd"] > 0 else np.zeros((1, 0)))
        natural = Natural(sd, np.zeros((1, 0)), np.array([[record["sigma"]]]), np.array([record["rho"]]))
        found = prepared.density.log_likelihood(natural)[0]
        assert found == pytest.approx(record["log_likelihood"], abs=1e-6), record
        independent = prepared.density.log_likelihood(natural._replace(rho=np.zeros(1)))[0]
        assert independent != pytest.approx(record["log_likelihood"], abs=1e-3)


# Published numbers

PUBLISHED = {
    "sleepstudy": ("sleepstudy reaction~1+days+(1+days|subj)", "Reaction ~ Days + (Days | Subject)"),
    "Dyestuff": ("dyestuff yield~1+(1|batch)", "Yield ~ 1 + (1 | Batch)"),
    "Dyestuff2": ("dyestuff2 yield~1+(1|batch)", "Yield ~ 1 + (1 | Batch)"),
    "Penicillin": ("penicillin diameter~1+(1|plate)+(1|sample)", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "Pastes": ("pastes strength~1+(1|batch&cask)+(1|batch)", "strength ~ 1 + (1 | batch:cask) + (1 | batch)"),
}


def published(shared, name):
    folder = shared / "reference"
    values, table = folder / "mixedmodels_jl" / "ml_fits.json", folder / "lme4" / f"{name}.csv"
    if not (values.is_file() and table.is_file()):
        pytest.skip("no shared/reference folder with published fits beside this checkout")
    record = json.loads(values.read_text(encoding="utf-8"))[PUBLISHED[name][0]]
    data = pd.read_csv(table)
    for column in ("Subject", "Batch", "plate", "sample", "batch", "cask"):
        if column in data:
            data[column] = data[column].astype(str)
    return record, data


def relative_root(theta):
    """Sds (relative to sigma) and correlation from MixedModels' θ of one block."""
    if len(theta) == 1:
        return np.abs(theta), np.eye(1)
    lower = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
    sds = np.linalg.norm(lower, axis=1)
    return sds, lower @ lower.T / np.outer(sds, sds)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_objectives(shared, name):
    record, data = published(shared, name)
    theta = np.array(record["theta"])
    parts = [theta] if name == "sleepstudy" else [theta[[n]] for n in range(len(theta))]
    roots = [relative_root(part) for part in parts]
    sigma = record.get("sigma") or record["sd_subj"][0] / roots[0][0][0]
    prepared = density_of(PUBLISHED[name][1], data, record["beta"])
    natural = Natural(
        sigma * np.concatenate([sds for sds, _ in roots])[None],
        np.array([[value for _, matrix in roots for value in partials(matrix)]]),
        np.array([[sigma]]), np.zeros(1),
    )  # fmt: skip
    value = -2 * prepared.density.log_likelihood(natural)[0]
    assert value == pytest.approx(record["objective"], rel=1e-6)
    other = -2 * prepared.density.log_likelihood(natural._replace(sigma=1.1 * natural.sigma))[0]
    assert other != pytest.approx(record["objective"], rel=1e-6)
