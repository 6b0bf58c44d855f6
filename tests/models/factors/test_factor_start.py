"""Where chains start: the highest of several solutions, and a word when there may be a higher one."""

import json

import numpy as np
import pytest

import mien
from mien.models import co_activation
from mien.models.engines import factor_kernel as kernel
from mien.models.engines.factor_start import Start, find_start, start_at
from mien.models.factors.conditional import Parameters
from mien.models.factors.sums import factor_sums
from mien.simulation.co_activation import draw_truth, simulate_factors, simulate_values


def sums_of(values, data):
    sums = factor_sums(values, data.design, data.participant)
    return sums.scaled(np.sqrt(np.diag(sums.within) / sums.count[0]))


def height(sums, place, basis, error, factors, between):
    blocks = kernel.squared_where_cheaper(sums.first, sums.vectors)
    priors = np.array([*co_activation(factors).prior_numbers, error])
    return kernel.log_density(
        place, factors, between, sums.weight, sums.count, *blocks, basis, priors, np.empty_like(place)
    )


def parameters_of(start, factors, between):
    return [
        part[0] for part in kernel.unfolded(start.places[:1], start.basis, factors, between, start.error)[:4]
    ]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    truth = draw_truth(rng, shapes=20, factors=4, between=1)
    return simulate_values(truth, rng, participants=16, stimuli=30)


def find(sums, factors, seed=0):
    return find_start(sums, factors, 1, co_activation(factors).prior_numbers, np.random.default_rng(seed))


def test_a_start_stands_for_its_loadings(data):
    rng = np.random.default_rng(3)
    sums = sums_of(data.standardised, data)
    one = Parameters(
        0.5 * rng.normal(size=(1, 20, 3)), rng.uniform(0.2, 0.8, (1, 20)), 0.3 * rng.normal(size=(1, 20, 1)),
        rng.uniform(0.1, 0.3, (1, 20)),
    )  # fmt: skip
    other = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    for basis in (None, np.ascontiguousarray(other.T)):
        start = start_at(sums, one, basis)
        loading, uniqueness, among, rest = parameters_of(start, 3, 1)
        assert loading @ loading.T == pytest.approx(one.loading[0] @ one.loading[0].T)
        assert uniqueness == pytest.approx(one.uniqueness[0])
        assert among == pytest.approx(one.between_loading[0])
        assert rest == pytest.approx(one.between_uniqueness[0])


def test_enough_factors_have_one_solution(data):
    start = find(sums_of(data.standardised, data), 4)
    assert start.tried == 12
    assert start.found >= 10
    assert len(start.places) == 1


def test_too_few_factors_start_at_the_highest_of_several_solutions(data):
    """With half of the factors the first estimate may be hundreds of nats below the best solution."""
    sums = sums_of(data.standardised, data)
    starts = [find(sums, 2, seed) for seed in range(3)]
    heights = [height(sums, start.places[0], start.basis, start.error, 2, 1) for start in starts]
    assert max(heights) - min(heights) < 5
    assert any(start.found < start.tried for start in starts)


def test_twins_have_as_many_solutions_as_there_are_pairs(data):
    """Each of eight pairs takes a factor for itself: with three of them the gate must not pass in silence."""
    rng = np.random.default_rng(5)
    pairs = np.repeat(rng.normal(size=(len(data.participant), 8)), 2, axis=1)
    start = find(sums_of(pairs + 0.1 * rng.normal(size=pairs.shape), data), 3)
    assert start.found < 3 or len(start.places) > 1


def test_no_climb_ends_where_rounding_is_all_there_is():
    """A shape that hardly moves beside twins: uniquenesses of 1e-31 were found, whose density is noise."""
    rng = np.random.default_rng(4)
    data = simulate_values(draw_truth(rng, shapes=12, factors=2, between=1), rng, participants=32, stimuli=52)
    y = data.standardised
    twin = y[:, [0]] + 0.1 * rng.normal(size=(len(y), 1)) * y[:, 0].std()
    sums = sums_of(np.hstack([y, twin, 0.001 * rng.normal(size=(len(y), 1))]), data)
    for seed in range(3):
        uniqueness = parameters_of(find(sums, 3, seed), 3, 1)[1]
        assert uniqueness.min() > 1e-4
        assert uniqueness.max() < 10


def test_the_gate_tells_of_a_solution_that_was_found_once(monkeypatch):
    from mien.models.engines import factor_sampler

    rng = np.random.default_rng(2)
    trials = simulate_factors(
        draw_truth(rng, shapes=6, factors=1, between=1), rng, participants=8, stimuli=20
    ).trials
    fit = mien.fit(co_activation(1, between=1), trials, draws=300)
    assert json.loads(fit.attrs["diagnostics_detail"])["solutions"]["found"] > 1
    real = factor_sampler.find_start

    def once(*arguments) -> Start:
        return real(*arguments)._replace(tried=24, found=1)

    monkeypatch.setattr(factor_sampler, "find_start", once)
    told = mien.fit(co_activation(1, between=1), trials, draws=300)
    assert told.attrs["diagnostics"] == "failed"
    assert "of 24 climbs one alone" in told.attrs["diagnostics_detail"]
