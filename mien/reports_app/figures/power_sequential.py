"""When growing studies stop: for each design and world, the number of participants at which studies end.

A thick bar holds the middle half of the studies, a thin one the middle four fifths, a tick the median, a dot the mean;
a ring is the largest number, which studies that never decide come to. Shares stand beside them as numbers.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from mien.reports_app.figures.power_curves import COLOURS, share_text
from mien.reports_app.figures.theme import INK, MUTED, PAPER
from mien.reports_app.rows import Row, rows_of

__all__ = ["sequential_bars"]

WIDTH, ROW_HEIGHT = 330, 30
SHIFTS = (52, 120, 188)  # px from the right end to the columns of numbers
HEADS = ("decided as wanted", "undecided", "false")
EFFECT, NULL = COLOURS[0], MUTED


def sequential_bars(table: pd.DataFrame, labels: Sequence[str]) -> alt.LayerChart | alt.FacetChart:
    """One row a cohort.

    Parameters
    ----------
    table : of `mien.power.sequential`. labels : of its rows, each once.
    """
    rows: Any = pd.DataFrame([_row(*pair) for pair in zip(rows_of(table), labels, strict=True)])
    y = alt.Y("label:N", sort=list(labels), title=None, scale=alt.Scale(domain=list(labels))).axis(
        ticks=False, domain=False, offset=6, labelLimit=330
    )
    low, high = float(rows["low"].min()), float(rows["maximum"].max())
    room = 0.06 * (high - low) or 1.0
    x = alt.X("low:Q", scale=alt.Scale(domain=[low - room, high + room], nice=False, zero=False)).axis(
        grid=True, tickCount=6, title="participants at the end"
    )
    colour = alt.Color(
        "world:N", legend=None, scale=alt.Scale(domain=["alternative", "null"], range=[EFFECT, NULL])
    )
    base = alt.Chart(rows).encode(y=y)
    layers: list[Any] = [
        base.mark_rule(strokeWidth=2, opacity=0.7).encode(x=x, x2="n_90:Q", color=colour),
        base.mark_rule(strokeWidth=11, opacity=0.4).encode(x="n_25:Q", x2="n_75:Q", color=colour),
        base.mark_tick(orient="vertical", thickness=2.5, size=18, color=INK).encode(x="n_50:Q"),
        base.mark_point(shape="circle", size=60, stroke=INK, fill="transparent", opacity=1, strokeWidth=1.2).encode(
            x="maximum:Q"
        ),
        base.mark_point(shape="circle", size=48, filled=True, opacity=1, stroke=PAPER, strokeWidth=1).encode(
            x="expected_n:Q", color=colour
        ),
    ]  # fmt: skip
    for shift, column, head in zip(SHIFTS, ("power", "undecided", "wrong"), HEADS, strict=True):
        place = alt.value(WIDTH + shift)
        layers.append(base.mark_text(fontSize=11.5, color=INK).encode(x=place, text=f"{column}:N"))
        layers.append(_head(head, WIDTH + shift))
    return alt.layer(*layers).properties(
        width=WIDTH, height=alt.Step(ROW_HEIGHT), padding={"left": 5, "top": 26, "right": 5, "bottom": 5}
    )


def _row(row: Row, label: str) -> Row:
    return {
        "label": label, "world": str(row["world"]), "low": float(row["n_10"]),
        **{name: float(row[name]) for name in ("n_25", "n_50", "n_75", "n_90", "expected_n", "maximum")},
        **{name: share_text(float(row[name])) for name in ("power", "undecided", "wrong")},
    }  # fmt: skip


def _head(text: str, place: float) -> alt.Chart:
    return (
        alt.Chart(pd.DataFrame({"text": [text.split(" ", 1)]}))
        .mark_text(fontSize=10.5, color=MUTED, baseline="bottom", lineHeight=12)
        .encode(x=alt.value(place), y=alt.value(-16), text="text")
    )
