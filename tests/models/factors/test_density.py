"""The compiled density against dense matrices, differences, scikit-learn and the law of a triangular factor."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi, norm

from mien.models.engines import factor_kernel as kernel
from mien.models.factors.sums import FactorSums, factor_sums
from mien.study.errors import FitError
from tests.models.factors.dense_model import small_case

ERROR = 0.3
PRIORS = np.array([-1.0, 0.5, -1.2, 1.0, -1.5, 0.75, -2.5, 1.5, ERROR])
NO_PRIORS = np.append(np.tile([0.0, 1e8], 4), ERROR)
LARGE = 20.0  # log of an sd of loadings beside which they are nothing
REFERENCE = Path(__file__).parents[2] / "reference" / "factor_analysis.json"
CASES = {
    "unequal counts, covariates": small_case(0, counts=(6, 9, 2, 8)),
    "one count": small_case(1, counts=(5, 5, 5, 5), terms=2),
    "no covariates, two between": small_case(2, factors=1, between=2, counts=(4, 2, 6, 9), terms=1),
    "none between": small_case(3, between=0, counts=(9, 7, 8), terms=1),
    "more contrasts than shapes": small_case(4, shapes=3, factors=1, counts=(3,) * 7, terms=2),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def vector_of(case, rng):
    """A sampler's vector, the gauge's basis, and the case with the parameters that they stand for."""
    shapes, factors = case.loading.shape
    between = case.between_loading.shape[1]
    basis = np.ascontiguousarray(np.linalg.qr(rng.normal(size=(shapes, shapes)))[0].T)
    q = 0.4 * rng.normal(size=kernel.size_of(shapes, factors, between))
    parts = [part[0] for part in kernel.unfolded(q[None], basis, factors, between, ERROR)[:4]]
    names = ("loading", "uniqueness", "between_loading", "between_uniqueness")
    return q, basis, case._replace(**dict(zip(names, parts, strict=True)))


def sums_of(case):
    return factor_sums(case.standardised, case.design, case.group)


def blocks_of(sums, squared=None):
    """Vectors, or scatters where there are many, as the sampler has them; or all of one kind."""
    if squared is None:
        return kernel.squared_where_cheaper(sums.first, sums.vectors)
    if not squared:
        return sums.first, sums.vectors, np.zeros(len(sums.weight), dtype=np.int64)
    scatters = [part.T @ part for part in np.split(sums.vectors, sums.first[1:-1])]
    shapes = sums.vectors.shape[1]
    return np.arange(len(scatters) + 1) * shapes, np.vstack(scatters), np.ones(len(scatters), dtype=np.int64)


def density(q, sums, basis, case, priors=PRIORS):
    slope = np.empty_like(q)
    sizes = case.loading.shape[1], case.between_loading.shape[1]
    places = sums.weight, sums.count, *blocks_of(sums)
    return kernel.log_density(q, *sizes, *places, basis, priors, slope), slope


def by_blocks(sums, case):
    """The likelihood of the blocks, by dense matrices."""
    total = 0.0
    for g, (weight, count) in enumerate(zip(sums.weight, sums.count, strict=True)):
        vectors = sums.vectors[sums.first[g] : sums.first[g + 1]]
        covariance = case.within + weight * case.between
        log_size = len(covariance) * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1]
        total -= 0.5 * (count * log_size + np.trace(np.linalg.solve(covariance, vectors.T @ vectors)))
    return total


@every_case
def test_blocks_are_the_dense_density_of_the_error_contrasts(case):
    _, _, drawn = vector_of(case, np.random.default_rng(7))
    assert by_blocks(sums_of(case), drawn) == pytest.approx(drawn.log_density(), rel=1e-9)


@every_case
def test_a_wrong_number_of_trials_or_no_covariates_are_another_density(case):
    _, _, drawn = vector_of(case, np.random.default_rng(7))
    sums = sums_of(case)
    saboteurs = [
        sums._replace(weight=np.where(sums.weight > 0, np.mean(sums.weight[1:]) + 1.0, 0.0)),
        sums._replace(count=sums.count + np.eye(len(sums.count))[0]),
    ]
    if case.design.shape[1] > 1:
        saboteurs.append(factor_sums(case.standardised, case.design[:, :1], case.group))
    for wrong in saboteurs:
        assert by_blocks(wrong, drawn) != pytest.approx(drawn.log_density(), rel=1e-4)


@every_case
def test_compiled_density_is_likelihood_and_prior(case):
    q, basis, drawn = vector_of(case, np.random.default_rng(8))
    factors = drawn.loading.shape[1]
    log_t = np.log(np.diag((basis @ drawn.loading)[:factors]))
    sds = np.exp(q[-2:])
    prior = ((factors - np.arange(factors)) * log_t).sum()
    prior += drawn.between_loading.size * np.log(
        sds[1] / np.hypot(sds[1], ERROR)
    )  # of the vector's coordinates
    for place, loading in enumerate((drawn.loading, drawn.between_loading)):
        prior += norm(0, sds[place]).logpdf(loading).sum() - loading.size * norm.logpdf(0.0)
    logs = (q[-2], np.log(drawn.uniqueness), q[-1], np.log(drawn.between_uniqueness))
    for values, (mu, sigma) in zip(logs, PRIORS[:8].reshape(4, 2), strict=True):
        prior += norm(mu, sigma).logpdf(values).sum() - np.size(values) * norm(0, sigma).logpdf(0.0)
    value, _ = density(q, sums_of(case), basis, drawn)
    assert value == pytest.approx(drawn.log_density() + prior, rel=1e-9)


@every_case
def test_gradient_is_that_of_differences(case):
    q, basis, drawn = vector_of(case, np.random.default_rng(9))
    sums, step = sums_of(case), 1e-5
    _, slope = density(q, sums, basis, drawn)
    for place in range(len(q)):
        shift = step * np.eye(len(q))[place]
        higher, lower = (density(q + sign * shift, sums, basis, drawn)[0] for sign in (1, -1))
        assert slope[place] == pytest.approx((higher - lower) / (2 * step), rel=1e-6, abs=1e-5)


@every_case
def test_vectors_and_their_scatter_are_one(case):
    q, basis, drawn = vector_of(case, np.random.default_rng(10))
    sums, found = sums_of(case), []
    for squared in (False, True):
        slope = np.empty_like(q)
        sizes = drawn.loading.shape[1], drawn.between_loading.shape[1]
        places = sums.weight, sums.count, *blocks_of(sums, squared)
        found.append((kernel.log_density(q, *sizes, *places, basis, PRIORS, slope), slope))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-9, abs=1e-9)


def test_the_gauge_leaves_the_prior_of_loadings_as_it_is():
    """Without data, the triangle's diagonal is that of a normal matrix's: chi with K, K − 1 … degrees of freedom."""
    shapes, factors = 6, 3
    empty = FactorSums(np.zeros(1), np.zeros(1), np.zeros(2, dtype=np.int64), np.zeros((0, shapes)))
    basis, q = np.eye(shapes), np.zeros(kernel.size_of(shapes, factors, 0))
    places = [0, 2, 5]  # of the diagonal on its log, by rows

    def at(values):
        moved = q.copy()
        moved[places] = np.log(values)
        return kernel.log_density(
            moved,
            factors,
            0,
            empty.weight,
            empty.count,
            *blocks_of(empty, squared=False),
            basis,
            PRIORS,
            np.empty_like(q),
        )

    def told(values):
        degrees = factors - np.arange(factors)
        return (chi(degrees).logpdf(values) + np.log(values)).sum()  # the sd is 1, its log 0

    one, other = np.array([0.9, 0.4, 0.2]), np.array([1.4, 0.7, 0.05])
    assert at(one) - at(other) == pytest.approx(told(one) - told(other), abs=1e-10)
    wrong = chi(np.ones(3))
    without = (wrong.logpdf(one) + np.log(one) - wrong.logpdf(other) - np.log(other)).sum()
    assert abs(at(one) - at(other) - without) > 0.5


def triangular(loading):
    """The same ΛΛ' with zeros above a positive diagonal."""
    triangle = np.linalg.qr(loading[: loading.shape[1]].T, mode="complete")
    turned = loading @ triangle[0]
    return turned * np.sign(np.diag(turned))


@pytest.mark.parametrize("factors", [1, 2])
def test_the_likelihood_and_its_optimum_are_scikit_learns(factors):
    told = json.loads(REFERENCE.read_text())
    y = np.array(told["data"]["thousandths"]).T / 1000
    y = y - y.mean(axis=0)
    shapes, place = y.shape[1], np.tri(y.shape[1], factors, dtype=bool)
    first = np.array([0, shapes])
    only = FactorSums(np.zeros(1), np.array([float(len(y))]), first, np.linalg.qr(y, mode="r"))
    diagonal = np.flatnonzero(np.eye(shapes, factors, dtype=bool)[place])

    def at(record):
        f = triangular(np.array(record["loading"]))
        jacobian = ((factors - np.arange(factors)) * np.log(np.diag(f))).sum()
        np.fill_diagonal(f, np.log(np.diag(f)))
        q = np.concatenate([f[place], np.log(record["uniqueness"]), np.zeros(shapes), [LARGE, 0.0]])
        slope = np.empty_like(q)
        value = kernel.log_density(
            q, factors, 0, only.weight, only.count, *blocks_of(only), np.eye(shapes), NO_PRIORS, slope
        )
        slope[diagonal] -= factors - np.arange(factors)
        return value - jacobian + shapes * factors * LARGE, slope[: -shapes - 2]

    record = told["fits"][str(factors)]
    for one in (record, *record["away"]):
        assert at(one)[0] == pytest.approx(one["log_likelihood"], rel=1e-9)
    assert (
        np.abs(at(record)[1]).max() < 1e-4
    )  # scikit-learn stops where its likelihood gains less than 1e-13 of itself
    assert np.abs(at(record["away"][0])[1]).max() > 10


def test_complete_data_have_one_weight_and_holes_nearly_one():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 8)
    y, ones = rng.normal(size=(40, 3)), np.ones((40, 1))
    sums = factor_sums(y, ones, group)
    assert sums.weight == pytest.approx([0.0, 8.0])
    assert sums.count.tolist() == [35.0, 4.0]
    assert len(sums.vectors) == 6
    fewer = factor_sums(y[:-3], ones[:-3], group[:-3])
    assert fewer.weight[0] == 0.0
    assert fewer.weight[1:].min() > 5.0
    assert fewer.weight[1:].max() <= 8.0 + 1e-9
    assert fewer.count.sum() == 36


def test_what_persons_have_in_covariates_lowers_the_contrasts_between():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(6), 8)
    age = np.repeat(rng.normal(size=6), 8)
    y = rng.normal(size=(48, 3))
    assert factor_sums(y, np.column_stack([np.ones(48), age]), group).groups == 4


@pytest.mark.parametrize(
    ("shapes", "terms", "told"),
    [(3, 5, "contrasts between"), (36, 1, "one for each shape"), (3, "twice", "repeat each other")],
)
def test_too_little_to_go_by_is_refused(shapes, terms, told):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 8)
    if terms == "twice":
        design = np.ones((40, 2))
    else:
        design = np.column_stack([np.ones(40), *(group == k for k in range(1, terms))])[:, :terms].astype(
            float
        )
    with pytest.raises(FitError, match=told):
        factor_sums(rng.normal(size=(40, shapes)), design, group)
