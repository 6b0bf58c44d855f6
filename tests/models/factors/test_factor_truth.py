"""Co-activation against truths that nobody here wrote: PyMC with all scores, simulation, the prior (slow)."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from mien.models import co_activation
from mien.models.diagnostics import measure
from mien.models.engines.factor_sampler import ATTEMPTS, sample_factors
from mien.models.engines.problem import Settings
from mien.models.factors.conditional import covariance
from mien.models.factors.fitting import communality, correlations
from mien.models.factors.rotation import align, signed_permutations
from mien.models.factors.sums import factor_sums
from mien.simulation.co_activation import draw_truth, simulate_values
from mien.simulation.factor_calibration import SABOTEURS, FactorDesign, calibrate_factors
from tests.models.factors.plain_case import plain_case, plain_draws

pytestmark = [pytest.mark.slow, pytest.mark.statistical("co_activation")]

MCSES = 4.0
LAST = len(ATTEMPTS)
DEFAULTS = co_activation(5).prior_numbers


def congruence(mean, truth):
    """Of the mean's columns with those of the truth at its own varimax, matched."""
    own = align(truth[None]).loading[0]
    own = own @ signed_permutations(own[None], mean)[0]
    return (mean * own).sum(axis=0) / np.sqrt((mean**2).sum(axis=0) * (own**2).sum(axis=0))


def flat(values):
    return values.reshape(-1, *values.shape[2:])


def sampled(data, factors, between, *, draws=1000, seed=0):
    sums = factor_sums(data.standardised, data.design, data.participant)
    scale = np.sqrt(np.diag(sums.within) / sums.count[0])
    drawn = sample_factors(sums.scaled(scale), factors, between, DEFAULTS, Settings(draws, 4, seed))
    return drawn, scale


# Against PyMC


def determined(draws, sds):
    found = {f"sd of loadings {level}": own for level, own in zip(("within", "between"), sds, strict=True)}
    for level, loading, uniqueness in (
        ("within", draws.loading, draws.uniqueness),
        ("between", draws.between_loading, draws.between_uniqueness),
    ):
        cells = covariance(loading, uniqueness)
        share = communality(loading, uniqueness)
        for i in range(share.shape[-1]):
            found[f"communality {level} {i}"] = share[..., i]
            for j in range(i + 1):
                found[f"covariance {level} {i}, {j}"] = cells[..., i, j]
    return found


@cache
def both(factors):
    case = plain_case(factors)
    sums = factor_sums(case.data.standardised, case.data.design, case.data.participant)
    mine = sample_factors(sums, case.factors, case.between, case.priors, Settings(6000, 4, 3))
    plain = plain_draws(factors)
    sds = [mine.loading_sds[..., 0], mine.loading_sds[..., 1]]
    return determined(mine, sds), determined(plain, [plain.loading_sd, plain.between_loading_sd])


def disagreements(mine, theirs):
    """Quantities further apart than 4 combined MCSE, or with sds more than 5 % (and their error) apart."""
    found = []
    for name, reference in theirs.items():
        own = mine[name]
        size, reference_size = measure(own).ess_bulk, measure(reference).ess_bulk
        error = np.sqrt(own.var() / size + reference.var() / reference_size)
        if abs(own.mean() - reference.mean()) > MCSES * error:
            found.append(f"mean of {name}")
        if abs(np.log(own.std() / reference.std())) > 0.05 + 3.0 / np.sqrt(2.0 * min(size, reference_size)):
            found.append(f"sd of {name}")
    return found


@pytest.mark.parametrize("factors", [1, 2])
def test_the_marginal_posterior_is_that_of_the_plain_model(factors):
    mine, theirs = both(factors)
    smallest = min(measure(values).ess_bulk for values in theirs.values())
    print(f"\n{factors} factors: {len(theirs)} quantities, PyMC's smallest ESS {smallest:.0f}")
    assert smallest > 2500
    assert disagreements(mine, theirs) == []


def test_a_wrong_posterior_is_not():
    mine, theirs = both(2)
    narrow = {name: values.mean() + 0.9 * (values - values.mean()) for name, values in mine.items()}
    moved = {name: values + 0.2 * values.std() for name, values in mine.items()}
    other = {"within": "between", "between": "within"}
    swapped = {name: mine[" ".join(other.get(word, word) for word in name.split())] for name in mine}
    for wrong in (narrow, moved, swapped):
        assert len(disagreements(wrong, theirs)) > len(theirs) / 3


# Recovery

SETS = 12


@cache
def recovered():
    """Of paper-sized data sets: congruence within and between, coverage of communalities and correlations."""
    rows = []
    for number in range(SETS):
        rng = np.random.default_rng([20260401, number])
        truth = draw_truth(rng, shapes=29, factors=5, between=2)
        data = simulate_values(truth, rng, participants=32, stimuli=52, missing=0.05 * (number % 2))
        drawn, scale = sampled(data, 5, 2, seed=number)
        mean = align(flat(drawn.loading)).loading.mean(axis=0)
        between = align(flat(drawn.between_loading)).loading.mean(axis=0)
        share = flat(communality(drawn.loading, drawn.uniqueness))
        lower, upper = np.quantile(share, (0.025, 0.975), axis=0)
        share_b = flat(communality(drawn.between_loading, drawn.between_uniqueness))
        lower_b, upper_b = np.quantile(share_b, (0.025, 0.975), axis=0)
        cells = correlations(flat(drawn.loading)[::4], flat(drawn.uniqueness)[::4])
        low, high = np.quantile(cells, (0.025, 0.975), axis=0)
        place = np.tril_indices(29, -1)
        true = truth.within_correlation[place]
        rows.append(
            (
                congruence(mean, truth.loading / scale[:, None]).min(),
                congruence(between, truth.between_loading / scale[:, None]).min(),
                ((lower <= truth.communality) & (truth.communality <= upper)).mean(),
                ((lower_b <= truth.between_communality) & (truth.between_communality <= upper_b)).mean(),
                ((low[place] <= true) & (true <= high[place])).mean(),
                drawn.note.count("missed") < LAST,
            )
        )
    return np.array(rows)


def test_within_loadings_are_recovered_at_paper_size():
    found = recovered()
    print(f"\nleast congruence within {found[:, 0].min():.4f} (median {np.median(found[:, 0]):.4f}), between "
          f"{found[:, 1].min():.3f} (median {np.median(found[:, 1]):.3f}); coverage of communalities within "
          f"{found[:, 2].mean():.3f}, between {found[:, 3].mean():.3f}, of correlations {found[:, 4].mean():.3f}; "
          f"passed {int(found[:, 5].sum())} of {SETS}")  # fmt: skip
    assert found[:, 0].min() >= 0.98
    assert found[:, 5].all()


def test_intervals_hold_the_truth():
    """Shapes of one data set go together: the spread over data sets is the yardstick, and binomial the least."""
    found = recovered()
    for column in (2, 4):
        own = found[:, column]
        error = max(own.std(ddof=1) / np.sqrt(SETS), np.sqrt(0.95 * 0.05 / (29 * SETS)))
        assert abs(own.mean() - 0.95) < 4 * error


def test_the_wrong_level_is_not_recovered():
    """Between factors offered as within ones fail by far."""
    rng = np.random.default_rng(5)
    truth = draw_truth(rng, shapes=29, factors=2, between=2)
    data = simulate_values(truth, rng, participants=32, stimuli=52)
    drawn, scale = sampled(data, 2, 2)
    mean = align(flat(drawn.loading)).loading.mean(axis=0)
    assert congruence(mean, truth.loading / scale[:, None]).min() > 0.98
    assert np.abs(congruence(mean, truth.between_loading / scale[:, None])).max() < 0.9


def test_what_so_many_persons_can_know_of_what_lies_between():
    """Reported, not required: congruence of the between loadings with 32, 100 and 500 persons."""
    told = {}
    for persons in (32, 100, 500):
        found = []
        for number in range(4):
            rng = np.random.default_rng([20260402, number])
            truth = draw_truth(rng, shapes=29, factors=5, between=2)
            data = simulate_values(truth, rng, participants=persons, stimuli=30)
            drawn, scale = sampled(data, 5, 2, draws=500)
            mean = align(flat(drawn.between_loading)).loading.mean(axis=0)
            found.append(congruence(mean, truth.between_loading / scale[:, None]).mean())
        told[persons] = float(np.mean(found))
    print("\nbetween: mean congruence by persons:", {key: round(value, 3) for key, value in told.items()})
    assert told[32] < told[100] < told[500]
    assert told[500] > 0.97


def test_stimulus_driven_co_activation_is_the_stimuli_s():
    """With stimuli that move shapes in a way of their own, the upper level finds it, and what is left does not."""
    rng = np.random.default_rng(8)
    truth = draw_truth(rng, shapes=12, factors=2, between=1, stimulus=1)
    data = simulate_values(truth, rng, participants=60, stimuli=150)
    persons = np.eye(60)[data.participant]
    sums = factor_sums(data.standardised, persons, data.stimulus)
    drawn = sample_factors(sums, 2, 1, DEFAULTS, Settings(500, 4, 0))
    between = correlations(flat(drawn.between_loading), flat(drawn.between_uniqueness)).mean(axis=0)
    within = correlations(flat(drawn.loading), flat(drawn.uniqueness)).mean(axis=0)
    place = np.tril_indices(12, -1)
    assert np.abs(between - truth.stimulus_correlation)[place].max() < 0.25
    assert np.abs(within - truth.within_correlation)[place].max() < 0.05
    assert np.abs(between - truth.within_correlation)[place].max() > 0.4
    means = np.stack([data.standardised[data.stimulus == s].mean(axis=0) for s in range(150)])
    uncorrected = np.cov(means.T)
    corrected = (flat(drawn.between_loading) @ flat(drawn.between_loading).swapaxes(1, 2)).mean(axis=0)
    corrected[np.diag_indices(12)] += flat(drawn.between_uniqueness).mean(axis=0)
    true = data.stimulus_effects.var(axis=0, ddof=1)  # of these stimuli
    assert np.mean(np.diag(corrected) / true) == pytest.approx(1.0, abs=0.05)
    assert np.mean(np.diag(uncorrected) / true) > 1.05


# Hard input


def test_twins_and_a_shape_that_factors_do_not_reach():
    """Left and right as two shapes (r = .99): right where the model fits, told where there is a factor too many."""
    rng = np.random.default_rng(4)
    truth = draw_truth(rng, shapes=12, factors=2, between=1)
    data = simulate_values(truth, rng, participants=32, stimuli=52)
    y = data.standardised
    twin = y[:, [0]] + 0.1 * rng.normal(size=(len(y), 1)) * y[:, 0].std()
    y = np.hstack([y, twin, 0.001 * rng.normal(size=(len(y), 1))])
    sums = factor_sums(y, data.design, data.participant)
    sums = sums.scaled(np.sqrt(np.diag(sums.within) / sums.count[0]))
    for factors in (2, 3, 4):
        drawn = sample_factors(sums, factors, 1, DEFAULTS, Settings(500, 4, 0))
        share = flat(communality(drawn.loading, drawn.uniqueness)).mean(axis=0)
        print(f"\n{factors} factors: twins' communalities {share[0]:.3f}, {share[-2]:.3f}, the dead one's "
              f"{share[-1]:.3f}; {drawn.note or 'passed at once'}")  # fmt: skip
        assert share[-1] < 0.1
        if drawn.note.count("missed") < LAST:
            pair = correlations(flat(drawn.loading), flat(drawn.uniqueness))[:, 0, -2].mean()
            own = sums.within / np.sqrt(np.outer(np.diag(sums.within), np.diag(sums.within)))
            if factors > 2:
                assert pair == pytest.approx(own[0, -2], abs=0.02)


# Calibration

REPLICATES = 400


@pytest.fixture(scope="module")
def calibration():
    return calibrate_factors(
        co_activation(2, between=1), FactorDesign(), replicates=REPLICATES, seed=20260403, workers=2
    )


def test_calibrated(calibration):
    verdict = calibration.verdict
    far = max(verdict.distance, key=verdict.distance.__getitem__)
    print(f"\n{REPLICATES} simulations, {len(calibration.names)} quantities, {verdict.failed} failed; farthest {far}: "
          f"{verdict.distance[far]:.1f} sd")  # fmt: skip
    assert verdict.passed, verdict.outside
    assert verdict.failed <= binom.ppf(0.999, REPLICATES, 0.02)


@pytest.mark.parametrize("saboteur", SABOTEURS)
def test_saboteurs_are_not(calibration, saboteur):
    verdict = calibration.verdict_of(saboteur)
    print(f"\n{saboteur}: {len(verdict.outside)} outside, up to {max(verdict.distance.values()):.1f} sd")
    assert not verdict.passed
