"""The stored reference values against dense normal densities, so that they mean what README.md says they mean."""

import numpy as np
import pandas as pd
import pytest

NAMES = (
    "intercepts", "slopes", "slopes_independent", "paper", "two_factors", "nested", "singular", "weights",
    "three_effects",
)  # fmt: skip


def columns_of(data, names):
    return np.column_stack(
        [np.ones(len(data)) if name in ("1", "Intercept") else data[name].to_numpy() for name in names]
    )


def objective(y, columns, covariance, beta, reml):
    """-2 log-likelihood at beta; by REML with a flat prior on the coefficients, integrated out."""
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, np.column_stack([y - columns @ beta, columns]))
    value = len(y) * np.log(2 * np.pi) + 2 * np.log(np.diag(factor)).sum() + white[:, 0] @ white[:, 0]
    if reml:
        value += np.linalg.slogdet(white[:, 1:].T @ white[:, 1:])[1] - columns.shape[1] * np.log(2 * np.pi)
    return value


def marginal_covariance(case, point):
    rows = len(case.data)
    weight = case.data[case.weights].to_numpy() if case.weights else np.ones(rows)
    whole = np.diag(point.sigma**2 / weight)
    for factor, terms, sds, correlation in zip(
        point.factors, point.terms, point.sds, point.correlations, strict=True
    ):
        labels = case.data[factor.split(":")].agg(":".join, axis=1)
        same = labels.to_numpy()[:, None] == labels.to_numpy()
        columns = columns_of(case.data, terms)
        whole += same * (columns @ (correlation * np.outer(sds, sds)) @ columns.T)
    return whole


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", NAMES)
def test_lme4_values_are_those_of_a_dense_normal(lme4_cases, name, method):
    case = lme4_cases[name]
    columns = columns_of(case.data, case.coefficients)
    for point in case.points[method]:
        covariance = marginal_covariance(case, point)
        value = objective(case.data["y"].to_numpy(), columns, covariance, point.beta, method == "reml")
        assert value == pytest.approx(point.objective, rel=1e-11, abs=1e-9)
        wrong = objective(case.data["y"].to_numpy(), columns, 1.01 * covariance, point.beta, method == "reml")
        assert wrong != pytest.approx(point.objective, rel=1e-11, abs=1e-9)


def test_every_lme4_case_is_checked(lme4_cases):
    assert set(lme4_cases) == set(NAMES)
    assert lme4_cases["singular"].points["reml"][0].sds[0][0] == 0


def test_nlme_values_are_those_of_a_dense_normal(nlme_cases):
    records, data = nlme_cases
    columns = columns_of(data, ["1", "x"])
    series = (data["participant"] + data["trial"]).to_numpy()
    gap = np.abs(np.subtract.outer(data["bin"].to_numpy(), data["bin"].to_numpy()))
    person = data["participant"].to_numpy()
    assert (data.groupby(["participant", "trial"])["bin"].diff() > 1).any()
    for record in records:
        whole = record["sigma"] ** 2 * (series[:, None] == series) * record["rho"] ** gap
        whole += record["sd"] ** 2 * (person[:, None] == person)
        value = -0.5 * objective(
            data["y"].to_numpy(), columns, whole, record["beta"], record["method"] == "REML"
        )
        assert value == pytest.approx(record["log_likelihood"], abs=1e-6), record


def test_the_exact_posteriors_are_converged(exact_posteriors):
    assert set(exact_posteriors) == {"intercepts", "series", "strata"}
    for record, data in exact_posteriors.values():
        assert record["error"] < 1e-6
        assert isinstance(data, pd.DataFrame)
