"""Trials and groups left out: against dense matrices, fits without them, a path known in closed form, and the truth."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from mien.models.engines.factor_sampler import sample_factors
from mien.models.engines.problem import Settings
from mien.models.factors import left_out
from mien.models.factors.conditional import Parameters, StoredRows
from mien.models.factors.left_out import (
    group_log_density,
    groups_left_out,
    some_rows,
    told_trials,
    trial_log_density,
    trials_left_out,
)
from mien.models.factors.sums import factor_sums
from mien.models.row_kernels import smoothed_weights
from mien.simulation.co_activation import draw_truth, simulate_values
from tests.models.factors.dense_model import small_case

CASES = {
    "unequal counts, covariates": small_case(0, shapes=3, counts=(3, 5, 2, 4, 6, 1)),
    "two factors between": small_case(1, shapes=3, factors=1, between=2, counts=(4, 2, 6, 3, 5, 2), terms=1),
    "complete, a covariate of trials": small_case(2, shapes=4, counts=(4,) * 6, terms=2),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
PRIORS = (-1.0, 0.5, -0.7, 0.7, -1.5, 0.75, -2.5, 1.0)


def rows_of(case):
    return StoredRows(case.standardised, case.design, case.group, tuple(map(str, range(case.groups))))


def several(case, draws=3):
    """The case's parameters, and others near them."""
    rng = np.random.default_rng(9)
    return Parameters(
        case.loading + 0.2 * rng.normal(size=(draws, *case.loading.shape)),
        case.uniqueness * rng.uniform(0.7, 1.4, (draws, case.shapes)),
        case.between_loading + 0.2 * rng.normal(size=(draws, *case.between_loading.shape)),
        case.between_uniqueness * rng.uniform(0.7, 1.4, (draws, case.shapes)),
    )


def dense(case, draws):
    names = ("loading", "uniqueness", "between_loading", "between_uniqueness")
    return [case._replace(**dict(zip(names, one, strict=True))) for one in zip(*draws, strict=True)]


# Densities


@every_case
def test_a_trial_given_all_others_is_the_dense_conditional(case):
    draws = several(case)
    wanted = [[one.held_out(trial)[1] for trial in range(len(case.group))] for one in dense(case, draws)]
    assert trial_log_density(draws, rows_of(case)) == pytest.approx(np.array(wanted), abs=1e-9)


@every_case
def test_groups_given_the_others_and_those_before_them_are_the_dense_conditional(case):
    draws, rows = several(case), rows_of(case)
    held = np.isin(case.group, [0, 2])
    found = group_log_density(draws, some_rows(rows, ~held), some_rows(rows, held))
    first = [one.held_out(np.flatnonzero(held))[1] for one in dense(case, draws)]
    assert found.sum(axis=1) == pytest.approx(np.array(first), abs=1e-9)
    alone = np.flatnonzero(case.group == 2)  # given all but itself: the second of the two
    second = [one.held_out(alone)[1] for one in dense(case, draws)]
    assert found[:, 1] == pytest.approx(np.array(second), abs=1e-9)


def test_many_draws_and_trials_are_taken_in_parts(monkeypatch):
    case = CASES["unequal counts, covariates"]
    draws, rows = several(case, draws=50), rows_of(case)
    held = case.group == 4

    def found():
        density = group_log_density(draws, some_rows(rows, ~held), some_rows(rows, held))
        return [density, *trials_left_out(draws, rows)]

    whole = found()
    monkeypatch.setattr(left_out, "CHUNK", 150)
    for one, other in zip(found(), whole, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def test_a_trial_that_alone_tells_a_coefficient_has_no_density():
    case = CASES["two factors between"]
    alone = np.zeros(len(case.group))
    alone[3] = 1.0
    rows = rows_of(case._replace(design=np.column_stack([case.design, alone])))
    assert list(np.flatnonzero(~told_trials(rows))) == [3]
    found = trials_left_out(several(case, 40), rows)
    assert list(np.flatnonzero(np.isnan(found.elpd))) == [3]
    assert np.isfinite(found.mcse)
    # to the others it is as if it were not there
    less = trials_left_out(
        several(case, 40), rows_of(case._replace(standardised=rows.activation + 9 * alone[:, None]))
    )
    assert np.isfinite(less.elpd).all()
    without = some_rows(rows_of(case), np.arange(len(case.group)) != 3)
    assert np.delete(found.elpd, 3) == pytest.approx(
        trials_left_out(several(case, 40), without).elpd, abs=1e-8
    )


# Trials: the posterior without them


@pytest.fixture(scope="module")
def study():
    """More factors than there are, on few trials: what is seen and what is not differ much."""
    rng = np.random.default_rng(3)
    truth = draw_truth(rng, shapes=8, factors=2, between=1)
    return simulate_values(truth, rng, participants=12, stimuli=6)


def study_rows(data):
    return StoredRows(data.standardised, data.design, data.participant, tuple(map(str, range(12))))


def posterior_of(rows, seed=0, factors=4, draws=1000):
    drawn = sample_factors(
        factor_sums(rows.activation, rows.design, rows.group), factors, 1, PRIORS, Settings(draws, 4, seed, True),
        attempts=((1, 0.9),),
    )  # fmt: skip
    values = (drawn.loading, drawn.uniqueness, drawn.between_loading, drawn.between_uniqueness)
    return Parameters(*(value.reshape(-1, *value.shape[2:]) for value in values))


def truth_of(data):
    truth = data.truth
    values = (truth.loading, truth.uniqueness, truth.between_loading, truth.between_uniqueness)
    return Parameters(*(value[None] for value in values))


def wrong_sign(density):
    """elpd (trial,) by weights that are the density where they should be one over it."""
    weight, _ = smoothed_weights(np.ascontiguousarray(density.T))
    top = density.max(axis=0)
    return top + np.log(np.einsum("id,di->i", weight / weight.sum(1, keepdims=True), np.exp(density - top)))


@pytest.fixture(scope="module")
def fitted(study):
    rows = study_rows(study)
    draws = posterior_of(rows)
    return rows, trial_log_density(draws, rows), trials_left_out(draws, rows)


def test_weights_give_what_fits_without_the_trial_do(fitted):
    rows, density, found = fitted
    trials = np.argsort(density.var(axis=0))[-12:-2]  # those that say most
    exact, error = [], []
    for trial in trials:
        without = some_rows(rows, np.arange(len(rows.group)) != trial)
        mine = trial_log_density(posterior_of(without, seed=7, draws=500), rows)[:, trial]
        exact.append(logsumexp(mine) - np.log(len(mine)))
        ratio = np.exp(mine - exact[-1])
        error.append(ratio.std() / np.sqrt(len(mine)))
    allowed = 4 * np.hypot(np.linalg.norm(error), found.mcse)
    assert found.khat[trials].max() < found.limit
    assert abs((found.elpd[trials] - exact).sum()) < allowed
    assert abs((wrong_sign(density)[trials] - exact).sum()) > 2 * allowed  # the saboteur


def test_a_fit_does_not_foretell_trials_better_than_the_truth_does(fitted, study):
    rows, density, found = fitted
    truth = trial_log_density(truth_of(study), rows)[0]
    assert found.elpd.sum() < truth.sum() - 10
    assert wrong_sign(density).sum() > truth.sum() + 10  # the saboteur


def test_the_error_is_that_of_other_draws(study):
    rows = study_rows(study)
    draws = posterior_of(rows, draws=2000)
    parts = [trials_left_out(Parameters(*(value[at::16] for value in draws)), rows) for at in range(16)]
    spread = np.std([one.elpd.sum() for one in parts], ddof=1)
    told = np.mean([one.mcse for one in parts])
    assert 0.6 < told / spread < 1.6


# Groups: a path that is known


def normal_path(shapes=120, known=28, held=4, draws=4000, seed=0):
    """Means of `shapes` normal variables: densities of units in draws given others and given all, and the truth."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(known + held, shapes)) + rng.normal(size=shapes)
    before, after = (
        y[:units].mean(axis=0) + rng.normal(size=(draws, shapes)) / np.sqrt(units)
        for units in (known, known + held)
    )
    densities = [
        -0.5 * ((y[None, known:] - mean[:, None]) ** 2 + np.log(2 * np.pi)).sum(axis=2)
        for mean in (before, after)
    ]
    away = y[known:] - y[:known].mean(axis=0)
    exact = multivariate_normal(cov=np.eye(held) + 1 / known).logpdf(away.T).sum()
    return *densities, exact


@pytest.mark.parametrize(("known", "held"), [(20, 10), (28, 4), (31, 1)], ids=["a third", "an eighth", "one"])
def test_a_path_of_two_ends_gives_the_density(known, held):
    before, after, exact = normal_path(known=known, held=held)
    found = groups_left_out(before, after)
    error = np.hypot(*(np.linalg.norm(part) for part in (found.before, found.after)))
    off = abs(found.elpd.sum() - exact)
    assert off < 4 * error + 0.1  # what follows in the sum for a third of the data: (E‴₁ − E‴₀) / 720
    assert error < 0.3
    if held == 10:  # the saboteurs: ends exchanged, no variances, the mean of the densities
        plain = (before.mean(axis=0) + after.mean(axis=0)).sum() / 2
        exchanged = groups_left_out(after, before).elpd.sum()
        whole = before.sum(axis=1)
        mean = logsumexp(whole) - np.log(len(whole))
        for wrong in (plain, exchanged, mean):
            assert abs(wrong - exact) > 2 * (4 * error + 0.1)


def test_the_error_of_groups_is_that_of_other_draws():
    ends = normal_path(draws=300 * 30)[:2]
    found = [groups_left_out(*(end[at::30] for end in ends)) for at in range(30)]
    spread = np.std([one.elpd.sum() for one in found], ddof=1)
    told = np.mean([np.hypot(np.linalg.norm(one.before), np.linalg.norm(one.after)) for one in found])
    assert 0.7 < told / spread < 1.4


def test_parts_of_groups_are_what_each_is_given_those_before_it():
    found = groups_left_out(*normal_path()[:2])
    together = groups_left_out(*(end.sum(axis=1, keepdims=True) for end in normal_path()[:2]))
    assert found.elpd.sum() == pytest.approx(together.elpd[0], abs=1e-9)
    # the first of four is the first of one: as if there were no others in the fold
    alone = normal_path(held=1)[2]
    assert found.elpd[0] == pytest.approx(alone, abs=2.0)


@pytest.mark.slow
def test_folds_of_one_and_of_a_few_agree_with_means_of_densities():
    """Few shapes: a group moves the posterior little, and the mean of its densities over many draws is good, too."""
    rng = np.random.default_rng(6)
    data = simulate_values(draw_truth(rng, shapes=4, factors=1, between=1), rng, participants=12, stimuli=6)
    rows = study_rows(data)
    every = posterior_of(rows, factors=1, draws=4000)
    for groups in ([3], [0, 5, 8]):
        held = np.isin(rows.group, groups)
        others, mine = some_rows(rows, ~held), some_rows(rows, held)
        given_others = posterior_of(others, factors=1, draws=10_000)
        before, after = (group_log_density(draws, others, mine) for draws in (given_others, every))
        found = groups_left_out(before, after)
        whole = before.sum(axis=1)
        mean = logsumexp(whole) - np.log(len(whole))
        of_mean = np.exp(whole - mean).std() / np.sqrt(len(whole))
        error = np.sqrt((found.before**2).sum() + (found.after**2).sum() + of_mean**2)
        assert of_mean < 0.1
        assert abs(found.elpd.sum() - mean) < 4 * error + 0.02
