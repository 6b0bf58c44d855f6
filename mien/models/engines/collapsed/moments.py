"""The sums over rows that a Gaussian likelihood needs: sufficient statistics, additive over rows.

    paper                               code                     meaning
    x = √w·(1, x_1 − c_1 …, y − c_y)    a row                    distinct columns of X and Z once, then the response
    Σ x xᵀ by combination of levels     gram (…, cell, …)        WᵀR⁻¹W, WᵀR⁻¹y and yᵀR⁻¹y are sums of these
    r₁², r_{j+1}², r_j², r_{j+1} r_j    components of gram       AR(1): first rows; later, earlier, cross of each gap

A group effect's column is one of X's, or a column of its own, and is never zero-padded: a *cell* holds the rows that
share the levels of all factors and the stratum of sigma, so W's products are sums of cells. Columns and response are
centred before they are multiplied (a mean of 5,000 with an sd of 1 loses nothing at 10⁷ rows); the centre is the
mean, weighted by precision, whatever the order or the parts in which rows came.

Moments of two sets of rows add up to those of both (`combine`), and rows can be taken away (`without`).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from mien.models.design import Design
from mien.models.engines.collapsed.moments_kernel import add_cells, add_rows, add_series, shift, unpack
from mien.models.engines.problem import Outcome, Residual
from mien.study.errors import FitError

__all__ = [
    "Columns", "Moments", "columns_of", "combine", "mean_of_columns", "moments_like", "moments_of", "moments_of_all",
    "moments_one_by_one", "without",
]  # fmt: skip

MAX_STRATA = 200  # distinct standard errors beside a sigma; STATISTICS 3
MAX_GAPS = 100  # distinct holes in AR(1) series
BATCH = 1 << 15  # rows whose columns and codes stay in the processor's cache
PIECE = 1 << 20  # rows a thread takes; the sums' order, and so their rounding, does not depend on the threads
SHARED_SUMS = 1 << 22  # numbers; beyond, one set of sums serves all rows
EVERY_CELL = 1 << 16  # combinations of levels up to which all have sums, rows or not
DENSE_CELLS = 4_000_000  # up to which a table leads from a combination to its cell; beyond, they are sorted
MAX_KEY = 2**62
SAMPLE = 4096  # rows that give a first centre


class Columns(NamedTuple):
    """The distinct numeric columns of a design; number 0 is "1", all ones, whether the design has it or not.

    coefficients : (coefficient,) number of the column of each coefficient.
    terms : (term,) number of the column of each group term, in the order of blocks.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    terms: np.ndarray


class Moments(NamedTuple):
    """Sums over rows.

    factors : distinct factors of the blocks, in the order of first appearance; levels : their labels.
    codes : (cell, factor) levels of each cell; stratum : (cell,).
    centre : (column + 1,) taken off each column before the sums, the response last; 0 for "1".
    gram : (component, cell, column + 1, column + 1), Σ x xᵀ with x = root_precision·(1, column − centre …, y − centre).
        One component for independent residuals. AR(1): first rows of the series, then for each gap later rows
        Σ r_{j+1} r_{j+1}ᵀ, earlier rows Σ r_j r_jᵀ, and Σ (r_{j+1} r_jᵀ + r_j r_{j+1}ᵀ).
    gaps : distinct steps between neighbours of a series, () for independent residuals.
    rows : (stratum,) observations, replicates counted; pairs : (stratum, gap) neighbours.
    log_precision : Σ log(root_precision²) over observations; replication counts do not enter.
    known_variance : (stratum,) added to sigma²; sigma_of : (stratum,) which sigma.
    """

    columns: Columns
    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    codes: np.ndarray
    stratum: np.ndarray
    centre: np.ndarray
    gram: np.ndarray
    gaps: tuple[int, ...]
    rows: np.ndarray
    pairs: np.ndarray
    log_precision: float
    known_variance: np.ndarray
    sigma_of: np.ndarray


class _Strata(NamedTuple):
    """Stratum of each row of one outcome (None: all 0), and what the strata are."""

    codes: np.ndarray | None
    known_variance: np.ndarray
    sigma_of: np.ndarray


class _Cells(NamedTuple):
    """Combinations that occur. table : key → cell where keys are few, else keys : (cell,) sorted."""

    keys: np.ndarray
    table: np.ndarray | None
    codes: np.ndarray
    stratum: np.ndarray


class _Rows(NamedTuple):
    """One outcome's rows as the loops want them. factors : codes of each factor; sizes : their levels, strata last."""

    columns: np.ndarray
    places: np.ndarray
    response: np.ndarray
    root: np.ndarray
    step: int
    factors: tuple[np.ndarray, ...]
    sizes: tuple[int, ...]


def columns_of(design: Design) -> Columns:
    """Number the distinct columns by name: a coefficient and a group term of one name are one column."""
    names = {"1": 0}
    coefficients = [names.setdefault(_column_name(name), len(names)) for name in design.coefficients]
    terms = [
        names.setdefault(_column_name(name), len(names)) for block in design.blocks for name in block.terms
    ]
    return Columns(
        tuple(names), np.array(coefficients, dtype=np.int64), np.array(terms, dtype=np.int64)
    )  # fmt: skip


def _column_name(name: str) -> str:
    return "1" if name == "Intercept" else name


def moments_of(outcome: Outcome) -> Moments:
    """One outcome's sums, in one pass.

    Raises
    ------
    FitError
        When a series of AR(1) is not in one cell or has two rows at one position, or strata or gaps are too many.
    """
    return moments_of_all([outcome])[0]


def moments_of_all(outcomes: Sequence[Outcome]) -> list[Moments]:
    """The sums of outcomes of one design (a Problem's); all have the same cells and strata, some without rows."""
    make = moments_one_by_one(outcomes)
    return [make(place) for place in range(len(outcomes))]


def moments_one_by_one(outcomes: Sequence[Outcome]) -> Callable[[int], Moments]:
    """What makes the sums of each of the outcomes of one design when it is asked for; see `moments_of_all`."""
    strata = _strata(outcomes)
    columns = columns_of(outcomes[0].design)
    rows = [_rows(outcome, columns, mine) for outcome, mine in zip(outcomes, strata, strict=True)]
    cells = _cells(rows)
    if len(outcomes) > 1:
        cells = _used(cells, rows)

    def make(place: int) -> Moments:
        made = _moments(outcomes[place], columns, strata[place], rows[place], cells)
        return made if len(outcomes) > 1 else _without_empty(made)

    return make


def moments_like(whole: Outcome) -> Callable[[Outcome], Moments]:
    """What makes the sums of some of an outcome's rows with other responses, all in the cells of the whole."""
    columns = columns_of(whole.design)
    rows = [_rows(whole, columns, _strata([whole])[0])]
    cells = _used(_cells(rows), rows)  # as `prepare` has them

    def make(outcome: Outcome) -> Moments:
        strata = _strata([outcome])[0]
        return _moments(outcome, columns, strata, _rows(outcome, columns, strata), cells)

    return make


def _used(cells: "_Cells", rows: Sequence["_Rows"]) -> "_Cells":
    """Those that have rows of any outcome."""
    used = np.zeros(len(cells.keys), dtype=bool)
    for mine in rows:
        used[_cell_of(mine, cells, slice(None))] = True
    if used.all():
        return cells
    keys = cells.keys[used]
    table = None
    if int(cells.keys[-1]) < DENSE_CELLS:
        table = np.zeros(int(cells.keys[-1]) + 1, dtype=np.int64)
        table[keys] = np.arange(len(keys))
    return _Cells(keys, table, cells.codes[used], cells.stratum[used])


def _without_empty(moments: Moments) -> Moments:
    """The sums of one outcome alone without the cells that have no rows."""
    used = moments.gram[0, :, 0, 0] > 0
    if used.all():
        return moments
    return moments._replace(
        codes=moments.codes[used], stratum=moments.stratum[used], gram=moments.gram[:, used]
    )


def _moments(outcome: Outcome, columns: Columns, strata: _Strata, rows: _Rows, cells: _Cells) -> Moments:
    centre = _first_centre(rows)
    if outcome.residual.series is None:
        gaps, pairs = (), np.zeros((len(strata.sigma_of), 0))
        sums = _sums(rows, cells, centre)[None]
    else:
        gaps, pairs, sums = _series_sums(outcome, strata, rows, cells, centre)
    gram = unpack(sums, len(centre))
    count, log_precision = _replicates(outcome, rows, cells, gram)
    stratum = np.zeros(1, dtype=np.int64) if strata.codes is None else strata.codes
    counted = (
        np.array([float(count.sum()) if count is not None else float(len(rows.response))])
        if strata.codes is None
        else np.bincount(stratum, weights=count, minlength=len(strata.sigma_of)).astype(np.float64)
    )
    levels = {block.factor: block.levels for block in reversed(outcome.design.blocks)}
    factors = tuple(dict.fromkeys(block.factor for block in outcome.design.blocks))
    moments = Moments(
        columns, factors, tuple(levels[name] for name in factors), cells.codes, cells.stratum, centre, gram, gaps,
        counted, pairs, log_precision, strata.known_variance, strata.sigma_of,
    )  # fmt: skip
    return _centred(moments)


# Rows


def _rows(outcome: Outcome, columns: Columns, strata: _Strata) -> _Rows:
    design = outcome.design
    blocks = {block.factor: block for block in reversed(design.blocks)}
    names = dict.fromkeys(block.factor for block in design.blocks)
    factors = [blocks[name].codes for name in names]
    sizes = [len(blocks[name].levels) for name in names]
    matrix, places = _columns(design, columns)
    root = np.ascontiguousarray(outcome.root_precision, dtype=np.float64)
    if strata.codes is not None:
        factors.append(strata.codes)
    one = len(root) == 0 or (root[0] == 1.0 and root[-1] == 1.0 and bool((root == 1.0).all()))
    return _Rows(
        matrix, places, np.ascontiguousarray(outcome.response, dtype=np.float64),
        np.ones(1) if one else root, 0 if one else 1, tuple(factors), (*sizes, len(strata.sigma_of)),
    )  # fmt: skip


def _columns(design: Design, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """A matrix that has every distinct column but "1", and where; X itself where it has them all."""
    where = {number: place for place, number in reversed(list(enumerate(columns.coefficients.tolist())))}
    wanted = range(1, len(columns.names))
    if all(number in where for number in wanted):
        return np.ascontiguousarray(design.columns, dtype=np.float64), np.array(
            [where[number] for number in wanted], dtype=np.int64
        )
    found = {number: design.columns[:, place] for number, place in where.items()}
    terms = [block.columns[:, place] for block in design.blocks for place in range(len(block.terms))]
    for number, column in zip(columns.terms.tolist(), terms, strict=True):
        found.setdefault(number, column)
    matrix = np.ascontiguousarray(np.column_stack([found[number] for number in wanted]), dtype=np.float64)
    return matrix, np.arange(matrix.shape[1], dtype=np.int64)


def _first_centre(rows: _Rows) -> np.ndarray:
    """Near the means, from some rows: it only has to be near for the sums to keep their digits."""
    centre = np.zeros(len(rows.places) + 2)
    if len(rows.response):
        some = slice(None, None, max(1, len(rows.response) // SAMPLE))
        centre[1:-1] = rows.columns[some][:, rows.places].mean(axis=0)
        centre[-1] = rows.response[some].mean()
    return centre


# Strata and cells


def _strata(outcomes: Sequence[Outcome]) -> list[_Strata]:
    residuals: list[Residual] = [outcome.residual for outcome in outcomes]
    sigmas = len(residuals[0].strata)
    known = [residual.known_variance for residual in residuals if residual.known_variance is not None]
    if not known:
        zeros, identity = np.zeros(sigmas), np.arange(sigmas)
        return [_Strata(residual.stratum, zeros, identity) for residual in residuals]
    values = np.unique(np.concatenate(known))
    pairs = []
    for residual in residuals:
        assert residual.known_variance is not None  # all outcomes of a problem have them, or none
        variance = np.searchsorted(values, residual.known_variance)
        pairs.append(variance if residual.stratum is None else residual.stratum * len(values) + variance)
    used, codes = np.unique(np.concatenate(pairs), return_inverse=True)
    _check_strata(len(used))
    split = np.split(codes.astype(np.int64), np.cumsum([len(pair) for pair in pairs])[:-1])
    return [_Strata(mine, values[used % len(values)], used // len(values)) for mine in split]


def _check_strata(found: int) -> None:
    if found > MAX_STRATA:
        raise FitError(
            f"standard errors: expected at most {MAX_STRATA} distinct ones beside a sigma, found {found}: round them "
            "to two digits, or leave sigma out."
        )


def _cells(rows: Sequence[_Rows]) -> _Cells:
    """The combinations of levels and strata in the rows of any outcome, in order."""
    sizes, total = rows[0].sizes, sum(len(mine.response) for mine in rows)
    product = int(np.prod([float(size) for size in sizes]))
    if product <= min(EVERY_CELL, 4 * total + 4096):
        keys, table = np.arange(product), None  # those without rows are dropped when it is known which
    elif product <= min(DENSE_CELLS, 64 * total + 65536):
        seen = np.zeros(product, dtype=bool)
        for mine in rows:
            for batch in _batches(0, len(mine.response)):
                seen[_keys(mine, batch)] = True
        keys = np.flatnonzero(seen)
        table = np.zeros(product, dtype=np.int64)
        table[keys] = np.arange(len(keys))
    elif product < MAX_KEY:
        keys = np.sort(np.concatenate([_keys(mine, slice(None)) for mine in rows]))
        keys, table = keys[np.diff(keys, prepend=-1) > 0], None
    else:
        raise FitError(
            "formula: expected factors with fewer than 2^62 combinations of levels, found "
            f"{' × '.join(map(str, sizes))}: leave a group term out."
        )
    codes = np.array(np.unravel_index(keys, sizes), dtype=np.int64).reshape(len(sizes), len(keys)).T
    return _Cells(keys, table, np.ascontiguousarray(codes[:, :-1]), np.ascontiguousarray(codes[:, -1]))


def _keys(rows: _Rows, batch: slice) -> np.ndarray:
    """One number for the levels and stratum of each row."""
    if not rows.factors:
        return np.zeros(len(rows.response[batch]), dtype=np.int64)
    keys = rows.factors[0][batch].astype(np.int64, copy=len(rows.factors) > 1)
    for codes, size in zip(rows.factors[1:], rows.sizes[1:], strict=False):
        keys *= size
        keys += codes[batch]
    return keys


def _cell_of(rows: _Rows, cells: _Cells, batch: slice) -> np.ndarray:
    keys = _keys(rows, batch)
    if len(cells.keys) == int(np.prod([float(size) for size in rows.sizes])):
        return keys
    return cells.table[keys] if cells.table is not None else np.searchsorted(cells.keys, keys)


def _batches(first: int, last: int) -> Iterator[slice]:
    for start in range(first, last, BATCH):
        yield slice(start, min(start + BATCH, last))


# Sums


def _sums(rows: _Rows, cells: _Cells, centre: np.ndarray) -> np.ndarray:
    """(cell, packed), by threads where the rows are many."""
    total, packed = len(rows.response), len(centre) * (len(centre) + 1) // 2
    shape = (len(cells.keys), packed)
    if total <= PIECE or shape[0] * packed > SHARED_SUMS:
        return _piece(rows, cells, centre, (0, total), shape)
    bounds = [(start, min(start + PIECE, total)) for start in range(0, total, PIECE)]
    with ThreadPoolExecutor(min(len(bounds), _cores())) as pool:
        parts = pool.map(lambda piece: _piece(rows, cells, centre, piece, shape), bounds)
        return sum(parts, start=np.zeros(shape))


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _piece(
    rows: _Rows, cells: _Cells, centre: np.ndarray, piece: tuple[int, int], shape: tuple[int, int]
) -> np.ndarray:
    sums = np.zeros(shape)
    for batch in _batches(*piece):
        root = rows.root[batch] if rows.step else rows.root
        add_rows(
            sums, _cell_of(rows, cells, batch), rows.columns[batch], rows.places, rows.response[batch], root, rows.step,
            centre,
        )  # fmt: skip
    return sums


def _series_sums(
    outcome: Outcome, strata: _Strata, rows: _Rows, cells: _Cells, centre: np.ndarray
) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Gaps, pairs by stratum and gap, and the sums by component."""
    residual = outcome.residual
    assert residual.series is not None
    assert residual.position is not None
    cell = _cell_of(rows, cells, slice(None))
    order = _order(residual.series, residual.position)
    series, position, at = residual.series[order], residual.position[order], cell[order]
    same = series[1:] == series[:-1]
    steps = np.diff(position)[same]
    _check_series(outcome, order, same, at, position)
    gaps, number = np.unique(steps, return_inverse=True)
    if len(gaps) > MAX_GAPS:
        raise FitError(
            f"series: expected at most {MAX_GAPS} different gaps between bins, found {len(gaps)}: use regular bins."
        )
    gap = np.full(len(order), -1, dtype=np.int64)
    gap[1:][same] = number
    sums = np.zeros((1 + 3 * len(gaps), len(cells.keys), len(centre) * (len(centre) + 1) // 2))
    add_series(sums, gap, order, cell, rows.columns, rows.places, rows.response, rows.root, rows.step, centre)
    pairs = np.zeros((len(strata.sigma_of), len(gaps)))
    np.add.at(pairs, (cells.stratum[at[1:][same]], number), 1.0)
    return tuple(int(step) for step in gaps), pairs, sums


def _order(series: np.ndarray, position: np.ndarray) -> np.ndarray:
    later = (series[1:] > series[:-1]) | ((series[1:] == series[:-1]) & (position[1:] > position[:-1]))
    return np.arange(len(series)) if later.all() else np.lexsort((position, series))


def _check_series(
    outcome: Outcome, order: np.ndarray, same: np.ndarray, cell: np.ndarray, position: np.ndarray
) -> None:
    of = f" of {outcome.name}" if outcome.name else ""
    if outcome.residual.count is not None:
        raise FitError("residual 'ar1': expected single observations, found counts: leave one of them out.")
    twice = np.flatnonzero(same & (np.diff(position) == 0))
    if len(twice):
        first, second = order[twice[0]], order[twice[0] + 1]
        raise FitError(
            f"series: expected one row at each position, found rows {min(first, second)} and {max(first, second)}{of} "
            f"both at {position[twice[0]]}: name the columns that tell series apart."
        )
    torn = np.flatnonzero(same & (np.diff(cell) != 0))
    if len(torn):
        first, second = order[torn[0]], order[torn[0] + 1]
        raise FitError(
            f"series: expected the rows of a series to share the levels of all groups and their sigma, found rows "
            f"{min(first, second)} and {max(first, second)}{of} that do not: name the columns that tell series apart."
        )


def _replicates(
    outcome: Outcome, rows: _Rows, cells: _Cells, gram: np.ndarray
) -> tuple[np.ndarray | None, float]:
    """Counts of replicates and Σ log precision; squares within rows are added to `gram`, in place."""
    residual, precision = outcome.residual, rows.root**2
    if residual.count is None:
        return None, float(np.log(precision).sum()) if rows.step else 0.0
    count = np.asarray(residual.count, dtype=np.float64)
    single = precision / count  # of one replicate
    if residual.squares is not None:
        cell = _cell_of(rows, cells, slice(None))
        gram[0, :, -1, -1] += np.bincount(cell, weights=residual.squares * single, minlength=gram.shape[1])
    return count, float(np.sum(count * np.log(single)))


# Sums of sums


def mean_of_columns(moments: Moments) -> np.ndarray:
    """(column + 1,) means over rows by precision, the response last; what is without rows keeps its centre."""
    every = [0, *range(1, len(moments.gram), 3)]  # first rows and later rows: each row once
    ones = moments.gram[every, :, 0, :].sum(axis=(0, 1))
    if not ones[0] > 0:
        return moments.centre
    mean = moments.centre + ones / ones[0]
    mean[0] = 0.0
    return mean


def _centred(moments: Moments, at: np.ndarray | None = None) -> Moments:
    """Moved to the centre `at`, or to the mean; `gram` is changed in place."""
    centre = mean_of_columns(moments) if at is None else at
    shift(moments.gram, centre - moments.centre)
    return moments._replace(centre=centre)


def combine(first: Moments, second: Moments) -> Moments:
    """The moments of the rows of both.

    Raises
    ------
    FitError
        When they are not of the same columns, factors and levels.
    """
    return _centred(_added(first, second, 1.0))


def without(total: Moments, rows: Moments) -> Moments:
    """`total` with rows taken away that are in it; cells stay, those left without rows hold zeros.

    Raises
    ------
    FitError
        When they are not of the same columns, factors and levels, or `rows` has rows that `total` has not.
    """
    result = _added(total, rows, -1.0)
    if len(result.codes) > len(total.codes) or (result.rows < -0.5).any() or (result.pairs < -0.5).any():
        raise FitError(
            "moments: expected to take away rows that are among the others, found ones that are not."
        )
    weight = result.gram[:, :, 0, 0]
    result.gram[weight <= 1e-9 * np.abs(total.gram[:, :, 0, 0])] = 0.0
    return _centred(result)


def _added(first: Moments, second: Moments, sign: float) -> Moments:
    _check_same(first, second)
    strata, of_first, of_second = _union(
        np.column_stack([first.sigma_of, first.known_variance]),
        np.column_stack([second.sigma_of, second.known_variance]),
    )
    _check_strata(len(strata) if len(strata) > max(len(of_first), len(of_second)) else 0)
    gaps, gaps_first, gaps_second = _union(
        np.array(first.gaps, dtype=np.int64)[:, None], np.array(second.gaps, dtype=np.int64)[:, None]
    )
    cells, cells_first, cells_second = _union(
        np.column_stack([first.codes, of_first[first.stratum]]),
        np.column_stack([second.codes, of_second[second.stratum]]),
    )
    gram = np.zeros((1 + 3 * len(gaps) if len(gaps) else 1, len(cells), *first.gram.shape[2:]))
    rows, pairs = np.zeros(len(strata)), np.zeros((len(strata), len(gaps)))
    moved = _centred(second._replace(gram=second.gram.copy()), first.centre)
    for part, stratum, gap, cell, times in (
        (first, of_first, gaps_first, cells_first, 1.0),
        (moved, of_second, gaps_second, cells_second, sign),
    ):
        components = [0, *(1 + 3 * number + kind for number in gap for kind in range(3))]
        for component, mine in zip(components, part.gram, strict=True):
            add_cells(gram[component], cell, np.ascontiguousarray(mine), times)
        rows[stratum] += times * part.rows
        pairs[np.ix_(stratum, gap)] += times * part.pairs
    return first._replace(
        codes=np.ascontiguousarray(cells[:, :-1]), stratum=np.ascontiguousarray(cells[:, -1]), gram=gram,
        gaps=tuple(int(gap) for gap in gaps[:, 0]), rows=rows, pairs=pairs,
        log_precision=first.log_precision + sign * second.log_precision,
        known_variance=strata[:, 1].copy(), sigma_of=strata[:, 0].astype(np.int64),
    )  # fmt: skip


def _union(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct rows of both tables, sorted, and the place of each table's rows among them."""
    if first.shape == second.shape and np.array_equal(first, second):
        same = np.arange(len(first))
        return first, same, same
    both = np.concatenate([first, second])
    sizes = tuple(int(size) for size in both.max(axis=0, initial=0) + 1)
    if both.dtype == np.int64 and np.prod([float(size) for size in sizes]) < MAX_KEY:
        keys = np.ravel_multi_index(tuple(both.T), sizes)
        _, which, place = np.unique(keys, return_index=True, return_inverse=True)
        rows = both[which]
    else:
        rows, place = np.unique(both, axis=0, return_inverse=True)
    return rows, place[: len(first)], place[len(first) :]


def _check_same(first: Moments, second: Moments) -> None:
    for what, mine, other in (
        ("columns", first.columns.names, second.columns.names),
        ("groups", first.factors, second.factors),
        ("levels", first.levels, second.levels),
    ):
        if mine != other:
            raise FitError(f"moments: expected the same {what}, found {_text(mine)} and {_text(other)}.")


def _text(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)[:80] or "none"
