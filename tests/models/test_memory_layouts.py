"""The same numbers wherever arrays lie: a sum whose order depended on that made chains of one seed part ways."""

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit

from mien.models import shape_population as population
from mien.models.engines import factor_kernel as factor
from mien.models.engines.collapsed import kernels as collapsed

GAPS = range(24)  # places between two arrays: LLVM takes arrays for mixed up that only lie near each other


def layouts_that_differ(
    function: Callable[..., float], arrays: Mapping[str, np.ndarray], *rest: object
) -> list[str]:
    """Pairs of arrays that, laid one after the other, change the result or what is written, by a bit."""
    apart = 64 + max(array.size for array in arrays.values()) + max(GAPS)
    memory = np.zeros(2 * apart * (len(arrays) + 1))
    base = {name: 2 * apart * place for place, name in enumerate(arrays)}

    def called(places: Mapping[str, int]) -> bytes:
        memory[:] = 0.0
        views = {
            name: memory[places[name] : places[name] + array.size].reshape(array.shape)
            for name, array in arrays.items()
        }
        for name, array in arrays.items():
            views[name][:] = array
        value = function(*views.values(), *rest)
        return b"".join([np.float64(value).tobytes(), *(view.tobytes() for view in views.values())])

    usual = called(base)
    return [
        f"{one}, {gap} places, {other}"
        for one, other in itertools.permutations(arrays, 2)
        for gap in GAPS
        if called({**base, other: base[one] + arrays[one].size + gap}) != usual
    ]


@njit(fastmath=factor.FREE)
def _sums_and_writes(x, out):
    total = 0.0
    for i in range(x.size):
        total += x[i] * x[i]
        out[i] = 2.0 * x[i]
    return total


def test_a_loop_that_sums_and_writes_is_found():
    x = np.random.default_rng(0).normal(size=21)
    assert layouts_that_differ(_sums_and_writes, {"x": x, "out": np.zeros(21)})


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize(("factors", "between"), [(1, 1), (3, 2)])
def test_the_priors_of_co_activation(rng, factors, between):
    shapes = 7
    size = factor.size_of(shapes, factors, between)
    arrays = {
        "q": rng.normal(size=size) * 0.3, "basis": np.eye(shapes),
        "priors": np.array([0.0, 1.0, -1.0, 1.1, 0.0, 1.0, -1.0, 1.2, 0.2]),
        "f": rng.normal(size=(factors, shapes)), "psi": rng.uniform(0.2, 2.0, shapes),
        "psi_b": rng.uniform(0.2, 2.0, shapes), "loading_b": rng.normal(size=(between, shapes)),
        "d_loading": rng.normal(size=(factors, shapes)), "d_psi": rng.normal(size=shapes),
        "d_between": rng.normal(size=(between, shapes)), "d_psi_b": rng.normal(size=shapes), "slope": np.zeros(size),
    }  # fmt: skip

    def priors(q, basis, *others):
        return factor._priors(q, factors, between, basis, *others)  # pyright: ignore[reportPrivateUsage]

    assert layouts_that_differ(priors, arrays) == []


@pytest.mark.parametrize("squared", [0, 1])
def test_a_block_of_co_activation(rng, squared):
    shapes, size = 7, 3
    vectors = rng.normal(size=(9, shapes))
    arrays = {
        "j": rng.normal(size=(size, shapes)), "psi": rng.uniform(0.2, 2.0, shapes),
        "vectors": vectors.T @ vectors if squared else vectors, "work": np.zeros((4 * size + 3, shapes + size)),
        "slope_j": np.zeros((size, shapes)), "slope_psi": np.zeros(shapes),
    }  # fmt: skip

    def block(j, psi, vectors, work, slope_j, slope_psi):
        return factor._block(  # pyright: ignore[reportPrivateUsage]
            j, psi, vectors, squared, 9.0, work, slope_j, slope_psi
        )

    assert layouts_that_differ(block, arrays) == []


def test_the_effects_of_a_population_of_shapes(rng):
    shapes, regions = 9, 2
    arrays = {
        "estimate": rng.normal(size=shapes), "root": np.tril(rng.uniform(0.1, 0.5, (shapes, shapes))),
        "weight": rng.uniform(0.5, 2.0, shapes), "q": np.eye(shapes) + np.tril(rng.uniform(0.1, 0.3, (shapes, shapes))),
        "x": np.zeros(shapes), "means": np.zeros(regions), "deviations": np.zeros(shapes),
    }  # fmt: skip
    region, scales, numbers = (
        np.arange(shapes) % regions,
        np.array([-1.0, -2.0]),
        np.array([0.0, 1.0, 1.0, 1.0]),
    )

    def effects(estimate, root, weight, q, x, means, deviations):
        return population._effects(  # pyright: ignore[reportPrivateUsage]
            estimate, root, region, weight, scales, numbers, q, x, means, deviations, np.random.default_rng(3)
        )

    assert layouts_that_differ(effects, arrays) == []


class Tree(NamedTuple):
    """Two supernodes of a plan, of six variables and five, with one response."""

    start: np.ndarray
    width: np.ndarray
    panel: np.ndarray
    boundary_from: np.ndarray
    boundary: np.ndarray


TREE = Tree(
    np.array([0, 6, 11]), np.array([16, 8]), np.array([0, 96, 136]), np.array([0, 6, 7]),
    np.array([6, 7, 8, 9, 10, 11, 11]),
)  # fmt: skip


@njit
def _solution(panels, y, plan):
    return collapsed._solution(plan, panels, y)  # pyright: ignore[reportPrivateUsage]


@njit
def _by_scale(g, z, s, by_s, plan):
    collapsed._by_scale(plan, g, 1.3, z, s, by_s)  # pyright: ignore[reportPrivateUsage]
    return 0.0


def test_the_quadratic_form_of_the_collapsed_engine(rng):
    assert layouts_that_differ(_solution, {"panels": rng.normal(size=136), "y": np.zeros(11)}, TREE) == []


def test_the_gradient_of_the_collapsed_engine(rng):
    arrays = {
        "g": rng.normal(size=136), "z": rng.normal(size=136), "s": rng.uniform(0.5, 2.0, 12), "by_s": np.zeros(12),
    }  # fmt: skip
    assert layouts_that_differ(_by_scale, arrays, TREE) == []
