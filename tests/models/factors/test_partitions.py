"""Partitions of shapes against their plain definitions and against all partitions of a few shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.models.factors import partitions
from mien.models.factors.partitions import (
    canonical,
    carriers,
    credible_ball,
    distances,
    expected_vi,
    least_expected_vi,
    similarity,
    variation_of_information,
)
from mien.study.errors import FitError, SpecError


def plain_vi(a, b):
    """2 H(a, b) − H(a) − H(b), from counts."""

    def entropy(keys):
        shares = np.array([keys.count(key) for key in set(keys)]) / len(keys)
        return -(shares * np.log2(shares)).sum()

    a, b = list(a), list(b)
    return 2 * entropy(list(zip(a, b, strict=True))) - entropy(a) - entropy(b)


def all_partitions(shapes):
    rows = [[0]]
    for _ in range(shapes - 1):
        rows = [[*row, label] for row in rows for label in range(max(row) + 2)]
    return np.array(rows)


def binder(partition, draws):
    """Expected number of pairs of shapes that are together in one and apart in the other, twice."""
    mine = partition[:, None] == partition
    return np.mean([(mine != (draw[:, None] == draw)).sum() for draw in draws])


def posterior(seed, shapes, draws=40):
    """Draws without structure (every third seed), around three partitions, or around one."""
    rng = np.random.default_rng([seed, shapes])
    if seed % 3 == 0:
        return rng.integers(0, rng.integers(1, shapes + 1), (draws, shapes))
    centres = rng.integers(0, 3, (3 if seed % 3 == 1 else 1, shapes))
    drawn = centres[rng.integers(0, len(centres), draws)]
    return np.where(rng.random(drawn.shape) < 0.3, rng.integers(0, shapes, drawn.shape), drawn)


def torn_posterior(seed, shapes):
    """Few draws around a few partitions that contradict each other: the search's starts are not enough."""
    rng = np.random.default_rng([seed, shapes, 1])
    draws = int(rng.integers(5, 40))
    centres = rng.integers(0, rng.integers(2, 5), (int(rng.integers(2, 8)), shapes))
    drawn = centres[rng.integers(0, len(centres), draws)]
    return np.where(rng.random(drawn.shape) < rng.uniform(0, 0.4), rng.integers(0, 5, drawn.shape), drawn)


def planted(seed, noise, draws=400):
    """34 shapes on five factors, four of them on none: labels (draw, shape) and the truth."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(30) % 5, 5 + np.arange(4)])
    loading = np.zeros((34, 5))
    loading[np.arange(30), truth[:30]] = 0.7
    drawn = loading + rng.normal(0, noise, (draws, 34, 5))
    return carriers(drawn, np.full((draws, 34), 0.5)), canonical(truth)


def test_carriers_by_hand():
    loading = np.array([[[0.1, -0.8], [0.7, 0.2], [0.1, 0.2], [0.0, 0.6], [0.3, 0.3], [0.1, 0.0]]])
    uniqueness = np.array([[0.4, 0.4, 0.95, 0.64, 0.12, 0.99]])
    np.testing.assert_array_equal(carriers(loading, uniqueness), [[0, 1, 2, 0, 1, 3]])
    np.testing.assert_array_equal(carriers(loading, uniqueness, least=0.4), [[0, 1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(carriers(loading, uniqueness, least=0.0), [[0, 1, 0, 0, 1, 1]])


def test_a_factor_that_carries_exactly_the_least_has_the_shape():
    loading = np.array([[[0.5], [0.5], [0.25]]])
    np.testing.assert_array_equal(carriers(loading, np.full((1, 3), 0.75), least=0.25), [[0, 0, 1]])


def test_without_factors_every_shape_is_alone():
    np.testing.assert_array_equal(carriers(np.zeros((2, 3, 0)), np.ones((2, 3))), [[0, 1, 2]] * 2)


def test_carriers_do_not_depend_on_signs_and_order_of_factors():
    rng = np.random.default_rng(0)
    loading, uniqueness = rng.normal(0, 0.5, (50, 12, 4)), rng.uniform(0.1, 0.9, (50, 12))
    order = np.stack([rng.permutation(4) for _ in range(50)])
    turned = np.take_along_axis(loading, order[:, None, :], axis=2) * rng.choice([-1.0, 1.0], (50, 1, 4))
    np.testing.assert_array_equal(carriers(turned, uniqueness), carriers(loading, uniqueness))


def test_carriers_refuse_what_is_no_fit():
    loading, uniqueness = np.ones((3, 4, 2)), np.ones((3, 4))
    with pytest.raises(SpecError, match=r"least between 0 and 1, found 10"):
        carriers(loading, uniqueness, least=10)
    with pytest.raises(FitError, match=r"found \(3, 4, 2\) and \(3, 5\)"):
        carriers(loading, np.ones((3, 5)))
    loading[1, 2, 0] = np.nan
    with pytest.raises(FitError, match="draw 1, shape 2"):
        carriers(loading, uniqueness)
    with pytest.raises(FitError, match="draw 0, shape 0"):
        carriers(np.ones((3, 4, 2)), -uniqueness)


def test_canonical_labels():
    np.testing.assert_array_equal(
        canonical(np.array([[7, 7, 2, 7, -1], [0, 1, 0, 3, 2]])), [[0, 0, 1, 0, 2], [0, 1, 0, 2, 3]]
    )
    np.testing.assert_array_equal(canonical(np.array([5, 3, 5])), [0, 1, 0])
    every = all_partitions(5)
    assert len(every) == 52  # Bell's number
    np.testing.assert_array_equal(canonical(every), every)


@pytest.mark.parametrize("labels", [np.array([[0.0, 1.0]]), np.zeros((3, 0), dtype=int), np.array(3)])
def test_labels_that_are_none(labels):
    with pytest.raises(FitError, match="whole-numbered labels"):
        canonical(labels)


def test_no_draws_and_other_shapes_are_refused():
    with pytest.raises(FitError, match="a draw or more"):
        similarity(np.zeros((0, 3), dtype=int))
    with pytest.raises(FitError, match="a draw or more"):
        least_expected_vi(np.zeros(3, dtype=int))
    with pytest.raises(FitError, match="same shapes"):
        distances(np.zeros(2, dtype=int), np.zeros((4, 3), dtype=int))


def test_similarity_counts_draws():
    labels = np.array([[0, 0, 1], [0, 0, 1], [0, 1, 1], [0, 1, 2]])
    np.testing.assert_allclose(similarity(labels), [[1, 0.5, 0], [0.5, 1, 0.25], [0, 0.25, 1]], rtol=0)


def test_known_variations_of_information():
    assert variation_of_information(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == 2.0
    assert variation_of_information(np.array([0, 0, 1, 1]), np.zeros(4, dtype=int)) == 1.0
    assert variation_of_information(np.arange(8), np.zeros(8, dtype=int)) == 3.0
    assert variation_of_information(np.array([4, 4, 9]), np.array([1, 1, 0])) == 0.0
    assert variation_of_information(np.zeros(1, dtype=int), np.ones(1, dtype=int)) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_distances_have_the_plain_definition(seed):
    draws = posterior(seed, 11)
    partition = draws[3]
    plain = [plain_vi(partition, draw) for draw in draws]
    np.testing.assert_allclose(distances(partition, draws), plain, rtol=0, atol=1e-12)
    assert expected_vi(partition, draws) == pytest.approx(np.mean(plain), abs=1e-12)


partitions_of_six = st.lists(st.integers(0, 5), min_size=6, max_size=6).map(np.array)


@given(partitions_of_six, partitions_of_six, partitions_of_six)
def test_variation_of_information_is_a_metric_of_partitions(a, b, c):
    apart = variation_of_information(a, b)
    assert apart == variation_of_information(b, a)
    assert (apart == 0) == np.array_equal(canonical(a), canonical(b))
    assert apart == variation_of_information(canonical(a), 5 - b)
    assert apart <= variation_of_information(a, c) + variation_of_information(c, b) + 1e-11
    assert apart <= np.log2(6) + 1e-11


@pytest.mark.parametrize("shapes", range(1, 8))
@pytest.mark.parametrize("seed", [0, 1, 2, 12, 16, 20])
def test_no_partition_of_a_few_shapes_is_better(seed, shapes):
    check_against_all_partitions(posterior(seed, shapes))


@pytest.mark.parametrize("seed", [0, 8, 16, 54, 78, 101, 102, 103])
def test_no_partition_is_better_where_draws_contradict_each_other(seed):
    check_against_all_partitions(torn_posterior(seed, 7))


def check_against_all_partitions(draws):
    least = min(expected_vi(partition, draws) for partition in all_partitions(draws.shape[1]))
    found = least_expected_vi(draws)
    np.testing.assert_array_equal(found, canonical(found))
    assert np.mean([plain_vi(found, draw) for draw in draws]) == pytest.approx(least, abs=1e-11)


@pytest.mark.parametrize("seed", [0, 8, 16, 54, 78])
def test_starts_alone_miss_the_best_partition(seed, monkeypatch):
    """The saboteur: the same without moves and merges."""
    monkeypatch.setattr(partitions, "_descend", lambda _, start: start)
    with pytest.raises(AssertionError):
        check_against_all_partitions(torn_posterior(seed, 7))


@pytest.mark.parametrize("seed", range(4))
def test_best_move_and_best_merge_are_the_best_of_all(seed):
    draws = torn_posterior(seed, 8)
    start = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    now = expected_vi(start, draws)
    moved = [np.where(np.arange(8) == shape, label, start) for shape in range(8) for label in range(5)]
    merged = [np.where(start == a, b, start) for a in range(3) for b in range(a)]
    rows, counts = np.unique(canonical(draws), axis=0, return_counts=True)
    costs = partitions._Clusters(rows, counts / len(draws))
    clusters = partitions._clusters_of(start)
    before = np.array([costs.cost(cluster) for cluster in clusters])
    for best, after in ((partitions._best_move, moved), (partitions._best_merge, merged)):
        change, following = best(costs, clusters, before)
        assert change / 8 == pytest.approx(min(expected_vi(row, draws) for row in after) - now, abs=1e-11)
        assert expected_vi(costs.labels(following), draws) - now == pytest.approx(change / 8, abs=1e-11)


def least_over_subsets(draws):
    """The least expected VI by dynamic programming: the expected VI is a sum over clusters."""
    shapes = draws.shape[1]
    bits = np.arange(shapes + 1) * np.log2(np.maximum(np.arange(shapes + 1), 1))
    inside = (np.arange(2**shapes)[:, None] >> np.arange(shapes) & 1).astype(float)
    cost = bits[inside.sum(axis=1).astype(int)]
    constant = 0.0
    for draw in draws:
        for label in set(draw):
            mine = (draw == label).astype(float)
            cost -= 2 * bits[(inside @ mine).astype(int)] / len(draws)
            constant += bits[int(mine.sum())] / len(draws)
    cost = cost.tolist()
    best = [0.0] * 2**shapes
    for subset in range(1, 2**shapes):
        lowest = subset & -subset
        rest = part = subset ^ lowest
        best[subset] = cost[lowest | part]
        while part:
            part = (part - 1) & rest
            best[subset] = min(best[subset], cost[lowest | part] + best[rest ^ part])
    return (constant + best[-1]) / shapes


@pytest.mark.parametrize("seed", [0, 6, 34, 47, 48, 49])
def test_no_partition_of_ten_shapes_is_better(seed):
    draws = torn_posterior(seed, 10)
    assert expected_vi(least_expected_vi(draws), draws) == pytest.approx(least_over_subsets(draws), abs=1e-11)


def test_dynamic_programming_is_the_least_of_all():
    draws = posterior(4, 6)
    every = [expected_vi(partition, draws) for partition in all_partitions(6)]
    assert least_over_subsets(draws) == pytest.approx(min(every), abs=1e-12)


def test_other_partitions_are_worse():
    """The saboteurs: all together, all alone, and the partition with the least Binder loss."""
    draws = posterior(20, 7)
    least = expected_vi(least_expected_vi(draws), draws)
    every = all_partitions(7)
    least_binder = every[np.argmin([binder(partition, draws) for partition in every])]
    for wrong in (np.zeros(7, dtype=int), np.arange(7), least_binder):
        assert expected_vi(wrong, draws) > least + 0.01


def test_the_answer_does_not_depend_on_labels_order_of_draws_or_order_of_shapes():
    rng = np.random.default_rng(5)
    draws, _ = planted(5, 0.2)
    found = least_expected_vi(draws)
    names = np.stack([rng.permutation(34) for _ in draws])
    renamed = np.take_along_axis(names, draws, axis=1)[rng.permutation(len(draws))]
    np.testing.assert_array_equal(least_expected_vi(renamed), found)
    order = rng.permutation(34)
    np.testing.assert_array_equal(least_expected_vi(draws[:, order]), canonical(found[order]))
    np.testing.assert_array_equal(similarity(renamed), similarity(draws))


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.15])
def test_planted_groups_are_found(noise):
    draws, truth = planted(1, noise)
    np.testing.assert_array_equal(least_expected_vi(draws), truth)
    moved = truth.copy()
    moved[0] = truth[1]
    assert expected_vi(moved, draws) > expected_vi(truth, draws)  # the saboteur


def plain_ball(partition, draws, level):
    """Radius, coverage, and the three bounds as sets of tuples."""
    apart = [round(plain_vi(partition, draw), 10) for draw in draws]
    radius = next(r for r in sorted(set(apart)) if np.mean(np.array(apart) <= r) >= level - 1e-12)
    inside = [(tuple(draw), d) for draw, d in zip(canonical(draws), apart, strict=True) if d <= radius]

    def bound(number):
        chosen = [(draw, d) for draw, d in inside if number is None or len(set(draw)) == number]
        return {draw for draw, d in chosen if d == max(d for _, d in chosen)}

    numbers = [len(set(draw)) for draw, _ in inside]
    return radius, len(inside) / len(draws), bound(None), bound(min(numbers)), bound(max(numbers))


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_ball_has_its_plain_definition(seed, level):
    draws = posterior(seed, 6, draws=100)
    partition = least_expected_vi(draws)
    ball = credible_ball(partition, draws, level=level)
    radius, coverage, farthest, fewest, most = plain_ball(partition, draws, level)
    assert ball.radius == pytest.approx(radius, abs=1e-9)
    assert ball.level == level
    assert ball.coverage == pytest.approx(coverage)
    assert ball.coverage >= level - 1e-12
    for rows, wanted in zip((ball.farthest, ball.fewest, ball.most), (farthest, fewest, most), strict=True):
        assert {tuple(row) for row in rows} == wanted
        assert len(rows) == len(wanted)


def test_a_smaller_ball_holds_too_few():
    draws = posterior(4, 6, draws=200)
    partition = least_expected_vi(draws)
    ball = credible_ball(partition, draws)
    assert (distances(partition, draws) < ball.radius).mean() < 0.95


def test_a_posterior_with_one_partition():
    draws = np.tile([3, 3, 1, 0, 1], (20, 1))
    partition = least_expected_vi(draws)
    np.testing.assert_array_equal(partition, [0, 0, 1, 2, 1])
    ball = credible_ball(partition, draws)
    assert (ball.radius, ball.coverage, expected_vi(partition, draws)) == (0.0, 1.0, 0.0)
    for bound in (ball.farthest, ball.fewest, ball.most):
        np.testing.assert_array_equal(bound, [partition])


@pytest.mark.parametrize("level", [0.0, 95, -0.1])
def test_levels_that_are_none(level):
    with pytest.raises(SpecError, match="a level above 0 and at most 1"):
        credible_ball(np.zeros(2, dtype=int), np.zeros((3, 2), dtype=int), level=level)
