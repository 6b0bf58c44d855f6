"""Moments against plain sums, and against a dense R⁻¹ for AR(1); what adds up must add up."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.design import Block, Design
from mien.models.engines.collapsed.moments import columns_of, combine, moments_of, moments_of_all, without
from mien.models.engines.problem import Outcome, Residual
from mien.study.errors import FitError


def labels(count, letter):
    return tuple(f"{letter}{number:04d}" for number in range(count))


def make_outcome(rows=300, persons=7, items=5, seed=0, *, weighted=False, level=0.0):
    rng = np.random.default_rng(seed)
    person, item = rng.integers(0, persons, rows), rng.integers(0, items, rows)
    valence, age = rng.choice([-0.5, 0.5], rows), rng.normal(40, 5, rows)
    x = np.column_stack([np.ones(rows), valence, age])
    design = Design(
        ("Intercept", "valence", "age"),
        x,
        (
            Block("person", ("1", "valence"), x[:, :2].copy(), person, labels(persons, "p")),
            Block("item", ("age",), x[:, [2]].copy(), item, labels(items, "i")),
        ),
        {},
    )
    root = rng.uniform(0.5, 2.0, rows) if weighted else np.ones(rows)
    return Outcome("", design, level + valence + rng.normal(size=rows), root, {})


def some_rows(outcome, keep):
    residual = outcome.residual
    taken = {
        name: getattr(residual, name)[keep]
        for name in ("stratum", "series", "position", "known_variance", "count", "squares")
        if getattr(residual, name) is not None
    }
    return outcome._replace(
        design=outcome.design.rows(keep),
        response=outcome.response[keep],
        root_precision=outcome.root_precision[keep],
        residual=residual._replace(**taken),
    )


def plain_gram(outcome, moments):
    """By hand, one cell after the other."""
    design = outcome.design
    columns = {"1": np.ones(len(outcome.response))}
    columns |= {name: design.columns[:, place] for place, name in enumerate(design.coefficients) if place}
    for block in design.blocks:
        for place, name in enumerate(block.terms):
            columns.setdefault(name, block.columns[:, place])
    x = np.column_stack([*(columns[name] for name in moments.columns.names), outcome.response])
    x = (x - moments.centre) * outcome.root_precision[:, None]
    stratum = np.zeros(len(x), int) if outcome.residual.stratum is None else outcome.residual.stratum
    codes = {block.factor: block.codes for block in reversed(design.blocks)}
    gram = np.zeros(moments.gram.shape[1:])
    for cell, levels in enumerate(moments.codes):
        mine = stratum == moments.stratum[cell]
        for factor, level in zip(moments.factors, levels, strict=True):
            mine &= codes[factor] == level
        gram[cell] = x[mine].T @ x[mine]
    return gram


def assert_same(first, second, tolerance=1e-12):
    """Equal up to rounding, cells without rows apart."""
    assert first.columns.names == second.columns.names
    assert first.gaps == second.gaps
    np.testing.assert_allclose(first.centre, second.centre, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(first.rows, second.rows, rtol=tolerance)
    np.testing.assert_array_equal(first.pairs, second.pairs)
    assert first.log_precision == pytest.approx(second.log_precision, rel=tolerance, abs=tolerance)
    table = [
        {
            (*codes, stratum): moments.gram[:, cell]
            for cell, (codes, stratum) in enumerate(zip(moments.codes.tolist(), moments.stratum, strict=True))
            if moments.gram[:, cell].any()
        }
        for moments in (first, second)
    ]
    assert table[0].keys() == table[1].keys()
    scale = np.sqrt(np.abs(np.diagonal(first.gram, axis1=2, axis2=3)).max(axis=(0, 1)))
    scale = np.where(scale > 0, scale, 1.0)
    for key, gram in table[0].items():
        assert np.abs((gram - table[1][key]) / np.outer(scale, scale)).max() < tolerance, key


def test_columns_are_numbered_once():
    columns = columns_of(make_outcome().design)
    assert columns.names == ("1", "valence", "age")
    assert columns.coefficients.tolist() == [0, 1, 2]
    assert columns.terms.tolist() == [0, 1, 2]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("strata", [1, 3])
def test_sums_are_plain_sums(weighted, strata):
    outcome = make_outcome(weighted=weighted)
    if strata > 1:
        stratum = np.random.default_rng(1).integers(0, strata, len(outcome.response))
        outcome = outcome._replace(residual=Residual(("a", "b", "c"), "medium", stratum))
    moments = moments_of(outcome)
    gram = plain_gram(outcome, moments)
    scale = np.sqrt(gram.max(axis=0).diagonal())
    assert np.abs((moments.gram[0] - gram) / np.outer(scale, scale)).max() < 1e-12
    assert moments.rows.sum() == len(outcome.response)
    assert moments.log_precision == pytest.approx(np.log(outcome.root_precision**2).sum(), abs=1e-12)
    weight = outcome.root_precision**2
    assert moments.centre[-1] == pytest.approx(np.average(outcome.response, weights=weight), rel=1e-12)
    assert moments.centre[0] == 0


@pytest.mark.parametrize("form", ["no fixed slope", "one column", "no groups", "only groups"])
def test_other_designs_are_plain_sums(form):
    outcome = make_outcome()
    design = outcome.design
    design = {
        "no fixed slope": design._replace(coefficients=("Intercept",), columns=design.columns[:, :1]),
        "one column": design._replace(
            coefficients=("Intercept", "valence"), columns=design.columns[:, :2], blocks=design.blocks[:1]
        ),
        "no groups": design._replace(blocks=()),
        "only groups": design._replace(coefficients=(), columns=design.columns[:, :0]),
    }[form]
    outcome = outcome._replace(design=design)
    moments = moments_of(outcome)
    np.testing.assert_allclose(moments.gram[0], plain_gram(outcome, moments), rtol=1e-12, atol=1e-9)


def test_cells_by_sorting_are_cells_by_table():
    outcome = make_outcome()
    design = outcome.design
    many = tuple(
        block._replace(levels=labels(3000, "x"), codes=block.codes * 400 + 5) for block in design.blocks
    )
    wide = moments_of(outcome._replace(design=design._replace(blocks=many)))
    narrow = moments_of(outcome)
    np.testing.assert_array_equal(wide.gram, narrow.gram)
    np.testing.assert_array_equal(wide.codes, narrow.codes * 400 + 5)


def test_threads_do_not_change_the_sums():
    outcome = make_outcome(rows=2_200_000)
    moments = moments_of(outcome)
    halves = [moments_of(some_rows(outcome, slice(a, b))) for a, b in ((0, 900_000), (900_000, 2_200_000))]
    assert_same(combine(*halves), moments)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.booleans())
def test_parts_in_any_order_add_up_to_the_whole(seed, parts, weighted):
    rng = np.random.default_rng(seed)
    outcome = make_outcome(rows=120, seed=seed, weighted=weighted, level=rng.choice([0.0, 5000.0]))
    outcome = outcome._replace(residual=Residual(("a", "b"), "medium", rng.integers(0, 2, 120)))
    part = rng.integers(0, parts, 120)
    pieces = [
        moments_of(some_rows(outcome, rng.permutation(np.flatnonzero(part == p)))) for p in range(parts)
    ]
    total = pieces[0]
    for piece in pieces[1:]:
        total = combine(total, piece)
    assert_same(total, moments_of(outcome))


def test_rows_taken_away_are_as_if_never_there():
    outcome = make_outcome(weighted=True)
    person = outcome.design.blocks[0].codes
    rest = without(moments_of(outcome), moments_of(some_rows(outcome, person == 3)))
    assert_same(rest, moments_of(some_rows(outcome, person != 3)))
    assert (rest.gram[0, rest.codes[:, 0] == 3] == 0).all()


def test_taking_away_what_is_not_there_is_refused():
    outcome = make_outcome()
    part = moments_of(some_rows(outcome, slice(0, 10)))
    with pytest.raises(FitError, match="among the others"):
        without(part, moments_of(outcome))


def test_other_columns_do_not_combine():
    outcome = make_outcome()
    other = outcome._replace(design=outcome.design._replace(coefficients=("Intercept", "valence", "weight")))
    with pytest.raises(FitError, match="the same columns"):
        combine(moments_of(outcome), moments_of(other))


def test_outcomes_of_one_problem_have_the_same_cells():
    outcome = make_outcome()
    person = outcome.design.blocks[0].codes
    both = moments_of_all([some_rows(outcome, person < 4), some_rows(outcome, person >= 4)])
    np.testing.assert_array_equal(both[0].codes, both[1].codes)
    assert len(both[0].codes) == len(moments_of(outcome).codes)
    assert_same(combine(*both), moments_of(outcome))


def test_a_response_far_from_zero_keeps_its_digits():
    rows = 1_000_000
    outcome = make_outcome(rows=rows, level=5000.0)
    moments = moments_of(outcome)
    some = moments.codes[:, 0] == 0
    y = outcome.response[outcome.design.blocks[0].codes == 0].astype(np.longdouble)
    exact = float(np.sum((y - np.longdouble(moments.centre[-1])) ** 2))
    assert moments.gram[0, some, -1, -1].sum() == pytest.approx(exact, rel=1e-12)
    # the sabotage: uncentred sums lose what centred ones keep
    y = outcome.response
    exact = float(sum(Fraction(value) ** 2 for value in (y[:2000] - 5000.0).tolist()))
    raw = float(np.sum(y[:2000] ** 2) - 2 * 5000.0 * np.sum(y[:2000]) + 2000 * 5000.0**2)
    assert abs(raw / exact - 1) > 1e-12


def ar1_outcome(seed=0, *, weighted=False):
    """Series of length 1, 2 and 6 with holes, rows in no order."""
    rng = np.random.default_rng(seed)
    lengths = [1, 1, 2, 2, 6, 6, 5, 1, 2, 6]
    series = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.sort(rng.choice(9, size, replace=False)) for size in lengths])
    person = np.repeat(np.arange(len(lengths)) % 3, lengths)
    item = np.repeat(rng.integers(0, 2, len(lengths)), lengths)
    rows = len(series)
    x = np.column_stack([np.ones(rows), rng.normal(size=rows)])
    design = Design(
        ("Intercept", "time"),
        x,
        (
            Block("person", ("1", "time"), x, person, labels(3, "p")),
            Block("item", ("1",), x[:, :1], item, labels(2, "i")),
        ),
        {},
    )
    root = rng.uniform(0.5, 2, rows) if weighted else np.ones(rows)
    outcome = Outcome(
        "", design, 3 + rng.normal(size=rows), root, {}, Residual(series=series, position=position)
    )
    return some_rows(outcome, rng.permutation(rows))


def ar1_quadratic(moments, rho):
    """Gram of all rows under R⁻¹, and log|R|."""
    total = moments.gram[0].sum(axis=0)
    for number, gap in enumerate(moments.gaps):
        later, earlier, cross = moments.gram[1 + 3 * number : 4 + 3 * number].sum(axis=1)
        r = rho**gap
        total = total + (later + r**2 * earlier - r * cross) / (1 - r**2)
    log_det = sum(
        pairs * np.log1p(-(rho ** (2 * gap)))
        for pairs, gap in zip(moments.pairs.sum(axis=0), moments.gaps, strict=True)
    )
    return total, log_det


def dense_quadratic(outcome, moments, rho):
    residual = outcome.residual
    same = residual.series[:, None] == residual.series[None, :]
    r = np.where(same, rho ** np.abs(residual.position[:, None] - residual.position[None, :]), 0.0)
    x = np.column_stack([np.ones(len(r)), outcome.design.columns[:, 1], outcome.response]) - moments.centre
    x = x * outcome.root_precision[:, None]
    return x.T @ np.linalg.solve(r, x), np.linalg.slogdet(r)[1]


@pytest.mark.parametrize("rho", [0.0, 0.4, -0.7, 0.95])
@pytest.mark.parametrize("weighted", [False, True])
def test_ar1_is_the_dense_computation(rho, weighted):
    outcome = ar1_outcome(weighted=weighted)
    moments = moments_of(outcome)
    assert len(moments.gaps) > 2
    assert moments.pairs.sum() == len(outcome.response) - len(np.unique(outcome.residual.series))
    quadratic, log_det = ar1_quadratic(moments, rho)
    dense, dense_log_det = dense_quadratic(outcome, moments, rho)
    np.testing.assert_allclose(quadratic, dense, rtol=1e-11, atol=1e-11)
    assert log_det == pytest.approx(dense_log_det, abs=1e-12)
    if rho:  # the sabotage: holes taken for neighbours
        wrong, _ = ar1_quadratic(moments._replace(gaps=(1,) * len(moments.gaps)), rho)
        assert np.abs(wrong / dense - 1).max() > 1e-3


def test_ar1_series_in_parts_add_up():
    outcome = ar1_outcome()
    early = outcome.residual.series < 5
    parts = [moments_of(some_rows(outcome, keep)) for keep in (early, ~early)]
    assert_same(combine(*parts), moments_of(outcome))


def test_a_series_in_two_cells_is_refused():
    outcome = ar1_outcome()
    block = outcome.design.blocks[1]
    torn = block._replace(codes=np.arange(len(block.codes)) % 2)
    design = outcome.design._replace(blocks=(outcome.design.blocks[0], torn))
    with pytest.raises(FitError, match="share the levels of all groups"):
        moments_of(outcome._replace(design=design))


def test_two_rows_at_one_position_are_refused():
    outcome = ar1_outcome()
    residual = outcome.residual._replace(position=np.zeros(len(outcome.response), np.int64))
    with pytest.raises(FitError, match="one row at each position"):
        moments_of(outcome._replace(residual=residual))


def test_counted_means_have_the_moments_of_the_values():
    """Rows with the same predictors, replaced by their mean, number and sum of squares."""
    rng = np.random.default_rng(3)
    base = make_outcome(rows=25, seed=3, level=50.0)
    count = rng.integers(1, 6, 25)
    raw = some_rows(base, np.repeat(np.arange(25), count))
    values = raw.response + rng.normal(size=count.sum())
    raw = raw._replace(response=values)
    groups = np.split(values, np.cumsum(count)[:-1])
    mean = np.array([group.mean() for group in groups])
    squares = np.array([((group - group.mean()) ** 2).sum() for group in groups])
    counted = base._replace(
        response=mean,
        root_precision=np.sqrt(count),
        residual=Residual(count=count.astype(float), squares=squares),
    )
    assert_same(moments_of(counted), moments_of(raw))
    forgotten = counted._replace(residual=Residual(count=count.astype(float)))
    with pytest.raises(AssertionError):
        assert_same(moments_of(forgotten), moments_of(raw))


def test_known_variances_make_strata():
    outcome = make_outcome(rows=60)
    se2 = np.random.default_rng(0).choice([0.1, 0.2, 0.3], 60)
    stratum = np.arange(60) % 2
    mixed = outcome._replace(residual=Residual(("film", "picture"), "medium", stratum, known_variance=se2))
    moments = moments_of(mixed)
    assert moments.sigma_of.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(moments.known_variance, [0.1, 0.2, 0.3] * 2)
    for place in range(6):
        mine = (stratum == moments.sigma_of[place]) & (se2 == moments.known_variance[place])
        assert moments.rows[place] == mine.sum()
    first, second = some_rows(mixed, se2 < 0.15), some_rows(mixed, se2 > 0.15)
    assert_same(combine(moments_of(first), moments_of(second)), moments)
    too_many = outcome._replace(
        design=outcome.design.rows(np.zeros(300, int)),
        response=np.zeros(300),
        root_precision=np.ones(300),
        residual=Residual(known_variance=np.arange(1, 301) / 7),
    )
    with pytest.raises(FitError, match="at most 200"):
        moments_of(too_many)


def test_no_rows_is_a_table_of_nothing():
    outcome = make_outcome()
    empty = moments_of(some_rows(outcome, slice(0, 0)))
    assert empty.rows.tolist() == [0.0]
    assert_same(combine(empty, moments_of(outcome)), moments_of(outcome))
