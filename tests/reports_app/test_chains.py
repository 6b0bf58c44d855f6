"""Ranks and traces of chains: by structure, against plain counts."""

import numpy as np
import pytest

from mien.reports_app.figures.chains import BINS, SHOWN, rank_bars, traces
from mien.reports_app.figures.theme import to_svg


def values(shift=0.0, draws=1000):
    drawn = np.random.default_rng(1).normal(size=(4, draws))
    drawn[3] += shift
    return drawn


def table_of(chart):
    return chart.data


def test_ranks_are_counted_over_all_draws():
    drawn = values()
    table = table_of(rank_bars(drawn, name="valence"))
    order = np.sort(drawn.ravel())
    for chain, some in enumerate(drawn):
        ranks = np.searchsorted(order, some)
        expected = np.histogram(ranks, bins=BINS, range=(0, drawn.size))[0]
        mine = table.loc[table["chain"] == f"chain {chain + 1}", "count"].to_numpy()
        np.testing.assert_array_equal(mine, expected)
    assert set(table["even"]) == {1000 / BINS}


@pytest.mark.parametrize(("shift", "uneven"), [(0.0, False), (1.0, True)])
def test_a_chain_that_lies_elsewhere_is_seen(shift, uneven):
    table = table_of(rank_bars(values(shift), name="valence"))
    last = table.loc[table["chain"] == "chain 4", "count"].to_numpy()
    expected = 1000 / BINS
    chi2 = ((last - expected) ** 2 / expected).sum()
    assert (chi2 > 200) == uneven


def test_ties_of_a_constant_are_no_error():
    table = table_of(rank_bars(np.zeros((2, 40)), name="fixed"))
    assert table["count"].sum() == 80


def test_traces_are_thinned_evenly_with_both_ends():
    drawn = values(draws=5000)
    table = table_of(traces(drawn, name="valence"))
    first = table[table["chain"] == "chain 1"]
    assert len(first) == SHOWN
    assert (first["draw"].iloc[0], first["draw"].iloc[-1]) == (0, 4999)
    np.testing.assert_array_equal(first["value"], drawn[0][first["draw"]])


def test_both_are_pictures_with_a_text():
    for chart in (rank_bars(values(), name="a < b"), traces(values(draws=30), name="a < b")):
        svg = to_svg(chart, label="Ranks of a < b")
        assert svg.count('role="img" aria-label="Ranks of a &lt; b"') == 1
        assert "chain 4" in svg
