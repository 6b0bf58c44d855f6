"""Small bar charts: the share of frames tracked under each condition, rows excluded by reason."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from mien.reports_app.figures.theme import GRID, INK
from mien.study.trials import MEDIA, VALENCES

__all__ = ["exclusion_bars", "valid_share_bars"]

type Chart = alt.LayerChart | alt.FacetChart

BAR = "#357494"
ROW = 24


def _bars(table: pd.DataFrame, title: str, *, width: int) -> Chart:
    """One bar a row of `table` (label, share 0-1, text), in the order given, on a full-length ground."""
    order = table["label"].tolist()
    base = alt.Chart(table).encode(
        y=alt.Y("label:N", sort=order, title=None).axis(ticks=False, domain=False, offset=4)
    )
    scale = alt.Scale(domain=[0, 1])
    axis = alt.Axis(title=title, format=".0%", values=[0, 0.25, 0.5, 0.75, 1], grid=False)
    ground = (
        base.transform_calculate(full="1")
        .mark_bar(color=GRID, height=9)
        .encode(x=alt.X("full:Q", scale=scale, axis=axis))
    )
    bar = base.mark_bar(color=BAR, height=9).encode(x=alt.X("share:Q", scale=scale, axis=axis))
    number = base.mark_text(align="left", dx=6, color=INK, fontSize=12).encode(x=alt.datum(1), text="text:N")
    return alt.layer(ground, bar, number).properties(width=width, height=ROW * len(table))


def valid_share_bars(counts: Sequence[Mapping[str, Any]], *, width: int = 220) -> Chart:
    """Share of the frames due that were tracked, by valence and medium.

    Parameters
    ----------
    counts : `by_valence_and_medium` of prep.json: valence, medium, valid_share (0-1).
    """
    place = {"valence": VALENCES, "medium": MEDIA}
    ordered = sorted(counts, key=lambda one: [place[key].index(one[key]) for key in ("medium", "valence")])
    table = pd.DataFrame(
        {
            "label": [f"{one['valence']} {one['medium']}s" for one in ordered],
            "share": [one["valid_share"] for one in ordered],
            "text": [f"{one['valid_share']:.1%}" for one in ordered],
        }
    )
    return _bars(table, "frames tracked", width=width)


def exclusion_bars(counts: Mapping[str, Any], *, width: int = 220) -> Chart:
    """Share of all rows that were kept, and that each reason took out.

    Parameters
    ----------
    counts : prep.json or one of its groups: rows, rows_kept, by_reason ({reason: {rows, trials}}).
    """
    rows = max(int(counts["rows"]), 1)
    by_reason = sorted(counts["by_reason"].items(), key=lambda item: -item[1]["rows"])
    parts = [("kept", int(counts["rows_kept"])), *((reason, int(one["rows"])) for reason, one in by_reason)]
    table = pd.DataFrame(
        {
            "label": [label for label, _ in parts],
            "share": [count / rows for _, count in parts],
            "text": [f"{count / rows:.1%}  ({count:,})" for _, count in parts],
        }
    )
    return _bars(table, "share of rows (trial × bin × shape)", width=width)
