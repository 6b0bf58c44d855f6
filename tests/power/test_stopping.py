"""Stopping: the anytime interval holds at all looks together (exactly); the order of arrival does not matter."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from mien.power.stopping import (
    ABSENT,
    FAILED,
    anytime_interval,
    at_most,
    batch_ends,
    evidence_against,
    half_width,
    look_at,
    stopped_at,
)


def budget(**changes):
    return SimpleNamespace(
        **{
            "replicates": 1000, "batch": 100, "half_width": 0.0, "null_replicates": 400, "check_replicates": 500,
            "target": 0.8, "clear": False, "failures": "not_met",
        }
        | changes
    )  # fmt: skip


def ever_left(share, excluded, most):
    """The exact probability that one of the looks after 1, 2, …, `most` replicates excludes the true share."""
    here, left = np.ones(1), 0.0  # the probability of each number met, of those that were never excluded
    for n in range(1, most + 1):
        here = np.append(here * (1 - share), 0.0) + np.append(0.0, here * share)
        out = excluded(n)
        left += here[out].sum()
        here[out] = 0.0
    return left


def by_evidence(share):
    def excluded(n):
        return np.array([evidence_against(share, met, n) >= math.log(20) for met in range(n + 1)])

    return excluded


def by_wilson(share):
    def excluded(n):
        met = np.arange(n + 1) / n
        z2 = stats.norm.ppf(0.975) ** 2
        return (met - share) ** 2 > z2 * share * (1 - share) / n

    return excluded


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_the_anytime_interval_holds_at_all_looks_together_and_an_ordinary_one_does_not(share):
    assert ever_left(share, by_evidence(share), 600) < 0.05
    # The saboteur: the interval for a fixed number of replicates, looked at every time.
    assert ever_left(share, by_wilson(share), 600) > 0.25


@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
@pytest.mark.parametrize("n", [1, 7, 100])
def test_the_evidence_against_the_truth_has_mean_1(share, n):
    met = np.arange(n + 1)
    evidence = np.exp([evidence_against(share, int(one), n) for one in met])
    assert (stats.binom.pmf(met, n, share) * evidence).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("met", "n"), [(0, 50), (50, 50), (40, 50), (1, 2), (1537 * 4 // 5, 1537)])
def test_the_interval_ends_where_the_evidence_reaches_20(met, n):
    lower, upper = anytime_interval(met, n)
    assert lower <= met / n <= upper
    for edge in (lower, upper):
        if 0.0 < edge < 1.0:
            assert evidence_against(edge, met, n) == pytest.approx(math.log(20), abs=1e-6)
    assert anytime_interval(0, 0) == (0.0, 1.0)


def test_half_widths_are_those_of_wilson():
    # .8 of 1,537: ± .02 (STATISTICS 7); of 100: by the formula.
    assert half_width(1230, 1537) == pytest.approx(0.02, abs=1e-4)
    interval = stats.binomtest(80, 100).proportion_ci(0.95, method="wilson")
    assert half_width(80, 100) == pytest.approx((interval.high - interval.low) / 2, abs=1e-12)
    assert half_width(0, 0) == math.inf


def codes_of(rng, n, share, goals=1):
    return (rng.random((n, goals)) < share).astype(np.int8)


def test_a_cell_stops_at_the_first_complete_batch_that_is_precise():
    codes = codes_of(np.random.default_rng(1), 1000, 0.9, goals=2)
    rule = budget(half_width=0.04)
    look = stopped_at(codes, "alternative", rule)
    assert look.stopped == "precise"
    assert look.replicates % 100 == 0
    widths = [[half_width(int(codes[:end, g].sum()), end) for g in (0, 1)] for end in batch_ends(1000, 100)]
    first = next(i for i, both in enumerate(widths) if max(both) <= 0.04)
    assert look.replicates == (first + 1) * 100


def test_a_hole_in_the_order_of_replicates_hides_what_came_after_it():
    codes = codes_of(np.random.default_rng(2), 1000, 0.99)
    rule = budget(half_width=0.05)
    assert stopped_at(codes, "alternative", rule).replicates == 100
    codes[40] = ABSENT
    assert stopped_at(codes, "alternative", rule).replicates == 0
    codes[40] = 1
    codes[101] = ABSENT
    assert stopped_at(codes, "alternative", rule).replicates == 100


def test_clear_of_the_target_only_where_it_is_asked_for_and_there_is_a_target():
    codes = np.zeros((1000, 1), dtype=np.int8)
    codes[::5] = 1
    assert stopped_at(codes, "alternative", budget()).stopped == "all planned"
    look = stopped_at(codes, "alternative", budget(clear=True))
    assert (look.stopped, look.replicates) == ("clear of the target", 100)
    for world in ("null", "check"):
        assert stopped_at(codes, world, budget(clear=True)).replicates == 1000
    assert stopped_at(codes, "check", budget(half_width=0.1)).replicates == 100
    assert stopped_at(codes, "null", budget(half_width=0.1)).replicates == 1000  # all of its own number


def test_every_goal_is_to_be_precise_or_clear():
    codes = np.zeros((1000, 2), dtype=np.int8)
    codes[::2, 0] = 1  # .5: clear of .8 at once
    codes[:, 1] = np.arange(1000) % 5 != 0  # .8 itself: never clear
    assert stopped_at(codes, "alternative", budget(clear=True)).stopped == "all planned"
    look = stopped_at(codes, "alternative", budget(clear=True, half_width=0.05))
    assert look.stopped == "clear of the target"
    assert half_width(look.met[1], look.counted) <= 0.05


def test_failures_count_as_the_plan_says():
    codes = np.ones((100, 1), dtype=np.int8)
    codes[:20] = FAILED
    assert look_at(codes, 100, "alternative", budget())[:3] == (100, 100, (80,))
    assert look_at(codes, 100, "alternative", budget(failures="left_out"))[:3] == (100, 80, (80,))


def test_the_last_batch_may_be_smaller_and_each_world_has_its_own_number():
    assert list(batch_ends(250, 100)) == [100, 200, 250]
    assert list(batch_ends(200, 100)) == [100, 200]
    assert list(batch_ends(0, 100)) == []
    assert [at_most(world, budget()) for world in ("null", "ceiling", "alternative", "check")] == [
        400,
        1000,
        1000,
        500,
    ]
    assert stopped_at(np.empty((0, 1), dtype=np.int8), "null", budget()).stopped == "all planned"
