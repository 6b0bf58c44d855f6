"""Varimax against scikit-learn and a search; the alignment against all signed permutations."""

import json
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from mien.models.factors.rotation import align, congruence, signed_permutations, varimax

REFERENCE = Path(__file__).parents[2] / "reference" / "factor_analysis.json"


def criterion(loading):
    return (loading**2).var(axis=-2).sum(axis=-1)


def rotations(rng, count, factors):
    return np.linalg.qr(rng.normal(size=(count, factors, factors)))[0]


def simple_structure(rng, shapes=20, factors=4):
    loading = 0.05 * rng.normal(size=(shapes, factors))
    loading[np.arange(shapes), np.arange(shapes) % factors] += rng.uniform(0.5, 0.9, shapes)
    return loading


def nearest(loading, pivot):
    """The least ‖ΛP − pivot‖² over all signed permutations."""
    factors = loading.shape[1]
    return min(
        ((loading[:, list(order)] * signs - pivot) ** 2).sum()
        for order in permutations(range(factors))
        for signs in product((-1, 1), repeat=factors)
    )


def test_varimax_is_scikit_learns():
    told = json.loads(REFERENCE.read_text())["fits"]["2"]
    loading, theirs = np.array(told["loading"]), np.array(told["varimax"])
    mine = loading @ varimax(loading[None])[0]
    assert criterion(mine) == pytest.approx(criterion(theirs), rel=1e-10)
    matched = mine @ signed_permutations(mine[None], theirs)[0]
    assert matched == pytest.approx(theirs, abs=1e-5)


def test_varimax_of_two_factors_is_the_best_angle():
    rng = np.random.default_rng(0)
    for _ in range(20):
        loading = rng.normal(size=(8, 2))
        angles = np.linspace(0, np.pi / 2, 20_001)
        turns = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]).transpose(
            2, 0, 1
        )
        best = criterion(loading @ turns).max()
        assert criterion(loading @ varimax(loading[None])[0]) >= best - 1e-9


def test_varimax_is_a_rotation_and_finds_simple_structure_from_anywhere():
    rng = np.random.default_rng(1)
    truth = simple_structure(rng)
    turned = truth @ rotations(rng, 200, 4)
    turn = varimax(turned)
    assert turn @ turn.transpose(0, 2, 1) == pytest.approx(np.broadcast_to(np.eye(4), turn.shape), abs=1e-12)
    values = criterion(turned @ turn)
    assert values == pytest.approx(np.full(200, values[0]), rel=1e-9)
    assert values[0] >= criterion(truth)


def test_alignment_is_the_best_of_all_signed_permutations():
    rng = np.random.default_rng(2)
    for factors in (1, 2, 3, 4):
        for _ in range(15):
            loading, pivot = rng.normal(size=(2, 6, factors))
            aligned = loading @ signed_permutations(loading[None], pivot)[0]
            assert ((aligned - pivot) ** 2).sum() == pytest.approx(nearest(loading, pivot), rel=1e-12)


def test_a_greedy_alignment_is_not():
    """What the assignment is for: matching the largest product first misses the optimum."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(50):
        loading, pivot = rng.normal(size=(2, 6, 4))
        left, total = np.abs(loading.T @ pivot), 0.0
        for _ in range(4):
            own, theirs = np.unravel_index(left.argmax(), left.shape)
            total += left[own, theirs]
            left[own], left[:, theirs] = -1, -1
        greedy = (loading**2).sum() + (pivot**2).sum() - 2 * total
        missed += greedy > nearest(loading, pivot) + 1e-9
    assert missed >= 5


def test_draws_in_any_rotation_become_one():
    rng = np.random.default_rng(3)
    truth = simple_structure(rng)
    draws = truth + 0.03 * rng.normal(size=(300, *truth.shape))
    found = align(draws @ rotations(rng, 300, 4))
    size = (found.loading.mean(axis=0) ** 2).sum(axis=0)
    assert np.all(np.diff(size) <= 0)
    assert np.all((found.loading.mean(axis=0) ** 3).sum(axis=0) > 0)
    assert found.congruence.min() > 0.97
    assert found.another_optimum.max() == 0
    assert found.loading.std(axis=0).max() < 0.06
    assert found.loading.mean(axis=0) == pytest.approx(align(truth[None]).loading[0], abs=0.02)


def test_alignment_keeps_what_no_rotation_changes():
    rng = np.random.default_rng(4)
    draws = rng.normal(size=(50, 7, 3))
    found = align(draws)
    assert found.loading == pytest.approx(draws @ found.turn)
    common = found.loading @ found.loading.transpose(0, 2, 1)
    assert common == pytest.approx(draws @ draws.transpose(0, 2, 1))


def test_two_structures_are_told():
    rng = np.random.default_rng(5)
    one, other = simple_structure(rng, factors=3), simple_structure(rng, factors=3)
    other[:, 0], other[:, 1] = one[:, 0], (one[:, 1] + one[:, 2]) / 2
    other[:, 2] = 0.2 * rng.normal(size=20)
    draws = np.concatenate([np.repeat(one[None], 70, axis=0), np.repeat(other[None], 30, axis=0)])
    found = align(draws + 0.02 * rng.normal(size=draws.shape))
    assert found.another_optimum.max() == pytest.approx(0.3, abs=0.05)


def test_no_factor_and_one_factor():
    assert align(np.zeros((5, 4, 0))).loading.shape == (5, 4, 0)
    rng = np.random.default_rng(6)
    one = rng.uniform(0.3, 0.9, (4, 1)) * rng.choice([-1, 1], (30, 1, 1))
    assert align(one).loading.std(axis=0).max() == pytest.approx(0)


def test_congruence_is_a_cosine():
    assert congruence(np.array([[3.0], [4.0]]), np.array([[4.0], [3.0]])) == pytest.approx([24 / 25])
    assert congruence(np.zeros((2, 1)), np.ones((2, 1))) == pytest.approx([0.0])
