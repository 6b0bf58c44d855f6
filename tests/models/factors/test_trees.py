"""Trees of shapes against hand-made correlations, a plain agglomeration, and shuffled draws."""

import numpy as np
import pytest

from mien.models.factors.trees import branch_support, classical_tree, correlation_tree, leaves_below
from mien.study.errors import FitError, SpecError

BLOCKS = [{0, 1, 2}, {3, 4}, {5, 6, 7}]


def blocks(within=(0.8, 0.6, 0.7), between=0.1, noise=0.0, rng=None):
    """Correlations of eight shapes in three blocks; a little of noise keeps it symmetric."""
    found = np.full((8, 8), between)
    for block, r in zip(BLOCKS, within, strict=True):
        found[np.ix_(sorted(block), sorted(block))] = r
    if rng is not None:
        upper = np.triu(rng.normal(0, noise, (8, 8)), 1)
        found = found + upper + upper.T
    np.fill_diagonal(found, 1.0)
    return found


def draws_of(count=200, seed=0, noise=0.05, **how):
    rng = np.random.default_rng(seed)
    return np.stack([blocks(noise=noise, rng=rng, **how) for _ in range(count)])


def average_clades(correlation):
    """Average linkage in plain words: merge the two clusters with the least mean distance."""
    clusters, found = [{shape} for shape in range(len(correlation))], []
    while len(clusters) > 1:
        apart = {
            (i, j): np.mean([1 - correlation[a, b] for a in clusters[i] for b in clusters[j]])
            for i in range(len(clusters))
            for j in range(i)
        }
        i, j = min(apart, key=lambda pair: apart[pair])
        merged = clusters[i] | clusters[j]
        found.append((frozenset(merged), apart[i, j]))
        clusters = [cluster for k, cluster in enumerate(clusters) if k not in (i, j)] + [merged]
    return found


def test_tree_of_blocks():
    tree = correlation_tree(blocks())
    below = leaves_below(tree)
    assert tree.linkage.shape == (7, 4)
    assert all(frozenset(block) in below for block in BLOCKS)
    assert below[-1] == frozenset(range(8))
    heights = dict(zip(below, tree.linkage[:, 2], strict=True))
    assert heights[frozenset({0, 1, 2})] == pytest.approx(0.2)
    assert heights[frozenset({3, 4})] == pytest.approx(0.4)
    assert tree.linkage[-1, 2] == pytest.approx(0.9)
    assert (tree.method, tree.support) == ("average", None)


def test_blocks_are_drawn_side_by_side():
    leaves = list(correlation_tree(blocks()).leaves)
    assert sorted(leaves) == list(range(8))
    for block in BLOCKS:
        places = sorted(leaves.index(shape) for shape in block)
        assert places[-1] - places[0] == len(block) - 1


@pytest.mark.parametrize("seed", range(4))
def test_average_linkage_is_the_plain_one(seed):
    correlation = np.corrcoef(np.random.default_rng(seed).normal(size=(9, 30)))
    tree = correlation_tree(correlation)
    for (clade, height), mine, row in zip(
        average_clades(correlation), leaves_below(tree), tree.linkage, strict=True
    ):
        assert mine == clade
        assert row[2] == pytest.approx(height, abs=1e-10)
        assert row[3] == len(clade)


def test_blocks_have_full_support_and_what_is_inside_them_has_not():
    tree = correlation_tree(blocks())
    support = dict(zip(leaves_below(tree), branch_support(tree, draws_of()), strict=True))
    assert all(support[frozenset(block)] == 1.0 for block in BLOCKS)
    assert support[frozenset(range(8))] == 1.0
    inner = [share for clade, share in support.items() if len(clade) == 2 and clade != {3, 4}]
    assert len(inner) == 2
    assert all(0.2 < share < 0.5 for share in inner)  # which of three equal pairs is first: 1/3


def test_a_weak_block_has_less_support():
    tree = correlation_tree(blocks())
    weak = branch_support(tree, draws_of(within=(0.8, 0.15, 0.7), seed=1))
    support = dict(zip(leaves_below(tree), weak, strict=True))
    assert support[frozenset({0, 1, 2})] > 0.95
    assert 0.1 < support[frozenset({3, 4})] < 0.9


def test_support_is_a_share_of_draws():
    one, other = blocks(), blocks(within=(0.8, 0.05, 0.7))
    other[3, 5:] = other[5:, 3] = 0.65
    tree = correlation_tree(one)
    support = dict(
        zip(leaves_below(tree), branch_support(tree, np.stack([one, one, one, other])), strict=True)
    )
    assert support[frozenset({0, 1, 2})] == 1.0
    assert support[frozenset({3, 4})] == 0.75
    assert support[frozenset({5, 6, 7})] == 1.0


def test_shuffled_shapes_give_no_support():
    """The saboteur: in draws whose shapes change places, no branch but the last is in many."""
    rng = np.random.default_rng(3)
    shuffled = np.stack([draw[np.ix_(order, order)] for draw in draws_of() for order in [rng.permutation(8)]])
    support = branch_support(correlation_tree(blocks()), shuffled)
    assert support[-1] == 1.0
    assert support[:-1].max() < 0.2


def test_support_uses_the_method_of_the_tree():
    draws = np.stack([np.corrcoef(np.random.default_rng(seed).normal(size=(9, 30))) for seed in range(100)])
    average, ward = (correlation_tree(draws[0], method=method) for method in ("average", "ward"))
    alike = branch_support(average, draws[:1]), branch_support(ward, draws[:1])
    np.testing.assert_array_equal(alike, np.ones((2, 8)))
    assert not np.array_equal(
        branch_support(ward, draws), branch_support(ward._replace(method="average"), draws)
    )


def test_order_of_shapes_does_not_matter():
    rng = np.random.default_rng(7)
    draws = draws_of(seed=7, count=50)
    order = rng.permutation(8)
    tree, turned = correlation_tree(draws[0]), correlation_tree(draws[0][np.ix_(order, order)])
    clades = [frozenset(order[list(clade)].tolist()) for clade in leaves_below(turned)]
    assert clades == leaves_below(tree)
    np.testing.assert_allclose(turned.linkage[:, 2], tree.linkage[:, 2], rtol=1e-12)
    again = branch_support(turned, draws[:, order][:, :, order])
    np.testing.assert_array_equal(again, branch_support(tree, draws))


@pytest.mark.parametrize("method", ["average", "ward"])
def test_classical_tree_is_that_of_the_correlations(method):
    rng = np.random.default_rng(4)
    values = rng.normal(size=(60, 8)) @ np.linalg.cholesky(blocks()).T * np.arange(1, 9) + 100
    classical, direct = (
        classical_tree(values, method=method),
        correlation_tree(np.corrcoef(values.T), method=method),
    )
    np.testing.assert_allclose(classical.linkage, direct.linkage, atol=1e-9)
    np.testing.assert_array_equal(classical.leaves, direct.leaves)
    assert classical.method == method


def test_ward_of_two_pairs_by_hand():
    """d² is twice the squared distance of the pairs' centres: mean square between less a quarter of each within."""
    correlation = np.array([[1, 0.9, 0.2, 0.2], [0.9, 1, 0.2, 0.2], [0.2, 0.2, 1, 0.8], [0.2, 0.2, 0.8, 1]])
    tree = correlation_tree(correlation, method="ward")
    apart = np.sqrt(2 * (0.8**2 - 0.1**2 / 4 - 0.2**2 / 4))
    np.testing.assert_allclose(tree.linkage[:, 2], [0.1, 0.2, apart], rtol=1e-12)


def test_two_shapes():
    tree = correlation_tree(np.array([[1, -0.3], [-0.3, 1]]))
    np.testing.assert_allclose(tree.linkage, [[0, 1, 1.3, 2]])
    assert sorted(tree.leaves) == [0, 1]
    assert leaves_below(tree) == [frozenset({0, 1})]
    np.testing.assert_array_equal(branch_support(tree, np.ones((3, 2, 2))), [1.0])


def test_near_ties_and_rounding_do_not_change_the_tree():
    tree = correlation_tree(blocks())
    rng = np.random.default_rng(2)
    for _ in range(20):
        noisy = correlation_tree(blocks(noise=1e-15, rng=rng))
        assert leaves_below(noisy) == leaves_below(tree)
    same = correlation_tree(np.ones((5, 5)) + 1e-9)
    np.testing.assert_array_equal(same.linkage[:, 2], np.zeros(4))
    single = correlation_tree(blocks().astype(np.float32))
    assert {frozenset(block) for block in BLOCKS} <= set(leaves_below(single))


def test_more_shapes_than_bits_of_a_word():
    correlation = np.full((70, 70), 0.2)
    correlation[60:, 60:] = 0.7
    np.fill_diagonal(correlation, 1.0)
    tree = correlation_tree(correlation)
    assert frozenset(range(60, 70)) in leaves_below(tree)
    np.testing.assert_array_equal(branch_support(tree, correlation[None]), np.ones(69))


def broken(place, value):
    correlation = blocks()
    correlation[place] = value
    return correlation


@pytest.mark.parametrize(
    ("correlation", "message"),
    [
        (np.ones((1, 1)), "two shapes or more, found 1"),
        (np.ones((2, 3)), r"\(shape, shape\), found \(2, 3\)"),
        (np.ones((2, 2, 2)), r"\(shape, shape\), found \(2, 2, 2\)"),
        (broken((slice(None), 5), np.nan), "finite correlations, found others at shape 5"),
        (broken((4, 4), 2.0), "found others at shape 4"),
        (broken((1, 2), 0.3), "found others at shape 1"),
        (7 * blocks(), "divide covariances"),
    ],
)  # fmt: skip
def test_matrices_that_are_none_of_correlations(correlation, message):
    with pytest.raises(FitError, match=message):
        correlation_tree(correlation)


def test_draws_that_do_not_fit_the_tree():
    tree, draws = correlation_tree(blocks()), draws_of(count=5)
    with pytest.raises(FitError, match="of 8 shapes"):
        branch_support(tree, draws[:, :7, :7])
    with pytest.raises(FitError, match="of 8 shapes"):
        branch_support(tree, draws[:0])
    draws[3, 6] = draws[3, :, 6] = np.nan
    with pytest.raises(FitError, match="at draw 3, shape 6"):
        branch_support(tree, draws)


def test_values_that_have_no_tree():
    values = np.random.default_rng(0).normal(size=(20, 4))
    constant, missing = values.copy(), values.copy()
    constant[:, [1, 3]] = [0.3, 0.0]
    missing[7, 2] = np.nan
    with pytest.raises(FitError, match=r"same value in all rows of shape 1, 3: leave it out"):
        classical_tree(constant)
    with pytest.raises(FitError, match=r"missing ones of shape 2"):
        classical_tree(missing)
    with pytest.raises(FitError, match=r"three rows or more, found \(2, 4\)"):
        classical_tree(values[:2])
    with pytest.raises(FitError, match="two shapes or more, found 1"):
        classical_tree(values[:, :1])
    with pytest.raises(SpecError, match="average or ward, found 'single'"):
        classical_tree(values, method="single")
