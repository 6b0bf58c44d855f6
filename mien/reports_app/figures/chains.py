"""Whether chains tell the same: ranks of the draws by chain, and the draws in their order."""

from typing import Any

import numpy as np
import pandas as pd

from mien.reports_app.figures.theme import GRID, INK, MUTED

__all__ = ["rank_bars", "traces"]

BINS = 20  # of ranks: a convention
SHOWN = 250  # points of a line
HEIGHT, WIDTH = 90, 220  # px, of each chain
COLOUR = "#1f5f99"


def rank_bars(values: np.ndarray, *, name: str) -> Any:
    """How the ranks of each chain's draws lie among all draws: even, where chains tell the same.

    Parameters
    ----------
    values : (chain, draw). name : of what was drawn.

    Returns
    -------
    Altair chart: a panel a chain, bars of counts, a line at the even count.
    """
    import altair as alt
    from scipy.stats import rankdata

    chains, draws = values.shape
    ranks = rankdata(values, method="ordinal").reshape(values.shape).astype(np.int64) - 1
    places = np.minimum(ranks * BINS // values.size, BINS - 1)
    counts = np.stack([np.bincount(chain, minlength=BINS) for chain in places])
    table = pd.DataFrame({
        "chain": _labels(chains, BINS), "bin": np.tile(np.arange(BINS), chains), "count": counts.ravel(),
        "even": draws / BINS,
    })  # fmt: skip
    bars = alt.Chart().mark_bar(color=COLOUR, opacity=0.75, width=WIDTH / BINS - 2)
    bars = bars.encode(
        x=alt.X("bin:Q", title=f"rank of {name}", axis=alt.Axis(labels=False, ticks=False, grid=False)),
        y=alt.Y("count:Q", title="draws", axis=alt.Axis(tickCount=3)),
    )
    even = alt.Chart().mark_rule(color=INK, strokeDash=[4, 3]).encode(y="even:Q")
    return _panels(alt.layer(bars, even), table)


def traces(values: np.ndarray, *, name: str) -> Any:
    """The draws of each chain in their order, thinned evenly to what a line can show.

    Parameters
    ----------
    values : (chain, draw). name : of what was drawn.
    """
    import altair as alt

    chains, draws = values.shape
    at = np.unique(np.linspace(0, draws - 1, min(draws, SHOWN)).round().astype(np.int64))
    table = pd.DataFrame({
        "chain": _labels(chains, len(at)), "draw": np.tile(at, chains), "value": values[:, at].ravel(),
    })  # fmt: skip
    line = alt.Chart().mark_line(strokeWidth=0.8, color=COLOUR)
    line = line.encode(
        x=alt.X("draw:Q", title="draw", axis=alt.Axis(tickCount=4, grid=False)),
        y=alt.Y(
            "value:Q", title=name, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4, gridColor=GRID)
        ),
    )
    return _panels(line, table)


def _labels(chains: int, times: int) -> np.ndarray:
    return np.repeat([f"chain {number + 1}" for number in range(chains)], times)


def _panels(layer: Any, table: pd.DataFrame) -> Any:
    import altair as alt

    header = alt.Header(title=None, labelColor=MUTED)
    sized = layer.properties(width=WIDTH, height=HEIGHT)
    return sized.facet(
        facet=alt.Facet("chain:N", header=header, sort=list(dict.fromkeys(table["chain"].tolist()))),
        columns=2,
        data=table,
    )
