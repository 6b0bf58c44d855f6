"""Coefficients, group effects and scores given a draw, against the model written out densely."""

import numpy as np
import pytest

from mien.models.factors.conditional import (
    Parameters,
    StoredRows,
    bases,
    coefficient_draws,
    effect_score_draws,
    effect_scores,
    regression,
)
from tests.models.factors.dense_model import small_case

DRAWS = 20_000


def with_dummies(case):
    """A dummy for each of five stimuli, which every group has seen once."""
    groups, stimuli = 3, 5
    group = np.repeat(np.arange(groups), stimuli)
    rng = np.random.default_rng(11)
    design = np.column_stack([np.ones(15), np.tile(np.eye(stimuli)[:, 1:], (groups, 1))])
    return case._replace(standardised=rng.normal(size=(15, case.shapes)), design=design, group=group)


CASES = {
    "unequal counts, covariates": small_case(0),
    "one count": small_case(1, counts=(3, 3, 3, 3), terms=2),
    "no covariates, two between": small_case(2, factors=1, between=2, counts=(4, 2, 6), terms=1),
    "none between": small_case(3, between=0, counts=(3, 2, 4), terms=1),
    "dummies of stimuli": with_dummies(small_case(4)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


class Silent:
    """A generator without noise: what is drawn is the mean."""

    def standard_normal(self, shape):
        return np.zeros(shape)


def parts(case, draws=1):
    """Parameters, repeated, with their bases; the rows; B."""
    own = (case.loading, case.uniqueness, case.between_loading, case.between_uniqueness)
    some = Parameters(*(np.repeat(part[None], draws, axis=0) for part in own))
    rows = StoredRows(case.standardised, case.design, case.group, tuple(map(str, range(case.groups))))
    coefficient = np.random.default_rng(5).normal(size=(1, case.shapes, case.design.shape[1]))
    return some, bases(some), rows, np.repeat(coefficient, draws, axis=0)


def drawn_from(draws, mean, covariance):
    """Means and covariances of draws (draw, number) within 4.5 MCSE of these."""
    count, variance = len(draws), np.diag(covariance)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 4.5 * np.sqrt(variance / count) + 1e-12)
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / count)
    assert np.all(np.abs(np.cov(draws.T) - covariance) < 4.5 * error + 1e-12)


@every_case
def test_basis_makes_within_one_and_between_diagonal(case):
    _, found, _, _ = parts(case)
    turn = found.turn[0]
    assert turn @ case.within @ turn.T == pytest.approx(np.eye(case.shapes), abs=1e-10)
    assert turn @ case.between @ turn.T == pytest.approx(np.diag(found.ratio[0]), abs=1e-10)
    assert turn @ found.back[0] == pytest.approx(np.eye(case.shapes), abs=1e-10)
    assert found.log_size[0] == pytest.approx(np.linalg.slogdet(turn)[1], abs=1e-10)


@every_case
def test_coefficients_have_the_mean_of_generalised_least_squares(case):
    _, found, rows, _ = parts(case)
    drawn = coefficient_draws(found, rows, Silent())
    assert drawn[0] == pytest.approx(case.coefficients().mean.T, abs=1e-9)


@every_case
def test_coefficients_are_drawn_with_their_covariance(case):
    _, found, rows, _ = parts(case, DRAWS)
    drawn = coefficient_draws(found, rows, np.random.default_rng(1))
    expected = case.coefficients()
    flat = np.swapaxes(drawn, 1, 2).reshape(DRAWS, -1)
    drawn_from(flat, expected.mean.ravel(), expected.covariance)


@every_case
def test_effects_given_coefficients_are_the_dense_ones(case):
    _, found, rows, coefficient = parts(case)
    mean, variance = effect_scores(found, rows, coefficient, np.eye(case.shapes)[None])
    expected = case.person_effects(coefficient[0])
    assert mean[0] == pytest.approx(expected.mean, abs=1e-9)
    assert variance[0].ravel() == pytest.approx(np.diag(expected.covariance), abs=1e-9)


@every_case
def test_scores_of_groups_are_the_dense_ones(case):
    some, found, rows, coefficient = parts(case)
    line = regression(some.between_loading, some.between_uniqueness)
    mean, variance = effect_scores(found, rows, coefficient, line.weight)
    expected = case.person_scores(coefficient[0])
    assert mean[0] == pytest.approx(expected.mean, abs=1e-9)
    total = variance[0] + line.variance[0]
    assert total.ravel() == pytest.approx(np.diag(expected.covariance), abs=1e-9)


@every_case
def test_scores_of_trials_are_the_dense_ones(case):
    some, found, rows, coefficient = parts(case)
    line = regression(some.loading, some.uniqueness)
    effect, variance = effect_scores(found, rows, coefficient, line.weight)
    left = case.standardised - case.design @ coefficient[0].T
    mean = left @ line.weight[0].T - effect[0][case.group]
    expected = case.trial_scores(coefficient[0])
    assert mean == pytest.approx(expected.mean, abs=1e-9)
    total = (variance[0] + line.variance[0])[case.group]
    assert total.ravel() == pytest.approx(np.diag(expected.covariance), abs=1e-9)
    assert np.abs(left @ line.weight[0].T - expected.mean).max() > 0.01  # without the effects of groups


@every_case
def test_effects_are_drawn_with_their_covariance(case):
    some, found, rows, coefficient = parts(case, DRAWS)
    line = regression(some.loading, some.uniqueness)
    drawn = effect_score_draws(found, rows, coefficient, line.weight, np.random.default_rng(2))
    effects, weight = case.person_effects(coefficient[0]), line.weight[0]
    maps = np.kron(np.eye(case.groups), weight)
    drawn_from(drawn.reshape(DRAWS, -1), maps @ effects.mean.ravel(), maps @ effects.covariance @ maps.T)


@every_case
def test_wrong_numbers_of_trials_are_another_effect(case):
    _, found, rows, coefficient = parts(case)
    expected = case.person_effects(coefficient[0])
    wrong = found._replace(ratio=2.0 * found.ratio)
    mean, _ = effect_scores(wrong, rows, coefficient, np.eye(case.shapes)[None])
    assert np.abs(mean[0] - expected.mean).max() > 1e-3


def test_regression_without_factors_has_no_scores():
    line = regression(np.zeros((3, 4, 0)), np.ones((3, 4)))
    assert line.weight.shape == (3, 0, 4)
    assert line.variance.shape == (3, 0)
