"""The dense reference against a second one that shares no step with it: normal equations of all unknowns at once."""

import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.stats import multivariate_normal

from tests.models.factors.dense_model import small_case, unmarginalised

CASES = {
    "unequal counts, covariates": small_case(0),
    "no covariates, two factors between": small_case(1, factors=1, between=2, counts=(4, 2, 6), terms=1),
    "as many factors as shapes": small_case(2, shapes=3, factors=3, between=3, counts=(2, 2, 7, 3), terms=2),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
REPEATED = [0, 1, 2, 1]  # of the columns: a design without full rank


@every_case
def test_density_is_that_of_all_unknowns_integrated_out(case):
    assert case.log_density() == pytest.approx(unmarginalised(case).log_density, abs=1e-9)


@every_case
def test_density_is_that_of_contrasts(case):
    contrasts = np.kron(null_space(case.design.T).T, np.eye(case.shapes))
    covariance = contrasts @ case.covariance @ contrasts.T
    wanted = multivariate_normal(cov=covariance).logpdf(contrasts @ case.standardised.ravel())
    assert case.log_density() == pytest.approx(wanted, abs=1e-9)


def test_columns_that_say_the_same_change_nothing():
    case = small_case(0)
    twice = case._replace(design=case.design[:, REPEATED])
    assert twice.log_density() == pytest.approx(case.log_density(), abs=1e-9)
    for one, other in zip(twice.person_scores(), case.person_scores(), strict=True):
        assert one == pytest.approx(other, abs=1e-9)


@every_case
@pytest.mark.parametrize("known", [False, True], ids=["B integrated out", "B given"])
def test_what_is_not_seen_given_y(case, known):
    whole = unmarginalised(case)
    first = case.design.shape[1] * case.shapes
    coefficient, mean, precision = None, whole.mean, whole.information
    if known:
        coefficient = np.random.default_rng(8).normal(size=(case.shapes, case.design.shape[1]))
        shift = precision[first:, :first] @ (coefficient.T.ravel() - mean[:first])
        precision = precision[first:, first:]
        mean = np.r_[coefficient.T.ravel(), mean[first:] - np.linalg.solve(precision, shift)]
        covariance = np.linalg.inv(precision)
    else:
        assert case.coefficients().mean.ravel() == pytest.approx(mean[:first], abs=1e-9)
        covariance = np.linalg.inv(precision)
        assert case.coefficients().covariance == pytest.approx(covariance[:first, :first], abs=1e-9)
        covariance = covariance[first:, first:]
    found = [case.person_scores(coefficient), case.person_rest(coefficient), case.trial_scores(coefficient)]
    at = 0
    for part in found:
        places = slice(at, at + part.mean.size)
        assert part.mean.ravel() == pytest.approx(mean[first:][places], abs=1e-9)
        assert part.covariance == pytest.approx(covariance[places, places], abs=1e-9)
        at += part.mean.size
    maps = np.hstack([
        np.kron(np.eye(case.groups), case.between_loading), np.eye(case.groups * case.shapes)
    ])  # fmt: skip
    effects, size = case.person_effects(coefficient), maps.shape[1]
    assert effects.mean.ravel() == pytest.approx(maps @ mean[first:][:size], abs=1e-9)
    assert effects.covariance == pytest.approx(maps @ covariance[:size, :size] @ maps.T, abs=1e-9)


@every_case
def test_a_trial_given_the_others_is_a_difference_of_densities(case):
    coefficient = np.random.default_rng(3).normal(size=(case.shapes, case.design.shape[1]))
    for rows in (0, 4, [1, 2]):
        left = np.delete(np.arange(len(case.group)), rows)
        others = case._replace(
            standardised=case.standardised[left], design=case.design[left], group=case.group[left]
        )
        predicted, density = case.held_out(rows, coefficient)
        wanted = case.log_density_given(coefficient) - others.log_density_given(coefficient)
        assert density == pytest.approx(wanted, abs=1e-9)
        # the mean and covariance, from what the others tell about the person
        effects = others.person_effects(coefficient)
        if set(np.atleast_1d(rows)) == {0}:
            mine = case.group[0]
            block = slice(mine * case.shapes, (mine + 1) * case.shapes)
            mean = coefficient @ case.design[0] + effects.mean[mine]
            assert predicted.mean[0] == pytest.approx(mean, abs=1e-9)
            wanted = effects.covariance[block, block] + case.within
            assert predicted.covariance == pytest.approx(wanted, abs=1e-9)


def test_a_trial_given_the_others_without_coefficients():
    case = small_case(0)
    left = np.delete(np.arange(len(case.group)), 5)
    others = case._replace(
        standardised=case.standardised[left], design=case.design[left], group=case.group[left]
    )
    _, density = case.held_out(5)
    terms = [np.linalg.slogdet(one.design.T @ one.design)[1] for one in (case, others)]
    gap = case.log_density() - others.log_density()  # both with their own |X'X|
    assert density == pytest.approx(gap - 0.5 * case.shapes * (terms[0] - terms[1]), abs=1e-9)
