"""What a model expects before it sees the data, as pictures: each from the arrays and the table of a PriorPredictive.

    activations    simulated values (grey hill) against what can occur, with the observed ones as a line
    effects        95 % of the prior of an effect, shape by shape, on ±1 sd of the observed rows
    curves         courses of a difference, drawn from the prior
    persons        how much persons are expected to differ, and how reliably a test tells them apart
    co_activation  correlations and shares of variance that factors are expected to carry

Hills have their own height: what is to be compared is where they lie and how wide they are. Nothing rests on colour
alone.
"""

import math
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mien.reports_app import wording
from mien.reports_app.figures.forest import ROW_HEIGHT, value_axis
from mien.reports_app.figures.theme import GRID, INK, MUTED, PAPER, POSITIVE_INK
from mien.simulation.prior_predictive import PriorPredictive

__all__ = [
    "activation_hills", "co_activation_hills", "effect_names", "effect_ranges", "person_hills", "prior_curves",
    "prior_predictive_figures",
]  # fmt: skip

WIDTH, HEIGHT, GAP = 250, 120, 26
BINS = 40
PRIOR = "#9aa3ab"  # between MUTED and GRID
FARTHEST = 1.0  # widths of the possible range that a hill is shown beyond it
UNITS = {
    "coefficient": "coefficient units",
    "contrast": "units of the contrast",
    "outcome": "units of the outcome",
}

type Chart = alt.LayerChart | alt.ConcatChart | alt.FacetChart


def prior_predictive_figures(result: PriorPredictive) -> dict[str, Chart]:
    """All pictures that a result has, by name: "activations", "effects" (of the first effect, further ones are
    "effects: film − picture" …), "curves", "persons", or "co_activation".
    """  # fmt: skip
    if any(name.startswith("correlation|") for name in result.arrays):
        return {"co_activation": co_activation_hills(result)}
    found: dict[str, Chart] = {"activations": activation_hills(result)}
    for place, name in enumerate(effect_names(result)):
        found["effects" if place == 0 else f"effects: {name}"] = effect_ranges(result, name)
    if "times" in result.arrays:
        found["curves"] = prior_curves(result)
    if any(name.startswith("persons|") for name in result.arrays):
        found["persons"] = person_hills(result)
    return found


# Hills


def _hill(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts, the highest 1."""
    counts = np.histogram(values, edges)[0].astype(float)
    return counts / max(counts.max(), 1.0)


def _steps(heights: np.ndarray, edges: np.ndarray) -> pd.DataFrame:
    """A histogram's outline: x, height, and the right end of each bin."""
    return pd.DataFrame({"x": edges[:-1], "end": edges[1:], "height": heights})


def _filled(steps: pd.DataFrame, x: alt.X) -> alt.Chart:
    return alt.Chart(steps).mark_rect(color=PRIOR).encode(x=x, x2="end:Q", y=_height(), y2=alt.datum(0))


def _height(title: str | None = None) -> alt.Y:
    return alt.Y("height:Q", title=title, axis=None, scale=alt.Scale(domain=[0, 1.12], nice=False))


def _title(text: str, subtitle: list[str] | str = "", *, width: int = WIDTH) -> alt.TitleParams:
    return alt.TitleParams(
        text, subtitle=subtitle, anchor="start", fontSize=12, color=INK, subtitleColor=MUTED, subtitleFontSize=11,
        fontWeight="bold", offset=8, limit=width + 40,
    )  # fmt: skip


def _heading(text: str, subtitle: str) -> alt.TitleParams:
    return alt.TitleParams(
        text, subtitle=subtitle, anchor="start", fontSize=13, color=INK, subtitleColor=MUTED, subtitleFontSize=11,
        offset=14,
    )  # fmt: skip


def _plain(shape: str) -> str:
    text = wording.movement(shape) if shape else "outcome"
    return text[:1].upper() + text[1:]


def _axis(title: str, count: int = 5) -> alt.Axis:
    plain = "format(datum.value, '~g')"
    return alt.Axis(title=title, grid=False, tickCount=count, labelExpr=plain, titleLimit=WIDTH + 60)


# Activations


def activation_hills(result: PriorPredictive) -> Chart:
    """Simulated rows of the shown shapes against what can occur.

    Parameters
    ----------
    result : of a model with a formula.
    """
    panels = [_activations(result, shape) for shape in result.told["shown"]]
    key = "grey: simulated from the prior; line: observed; pale ground: cannot occur; each has its own height"
    return alt.concat(*panels, columns=2, spacing=GAP).properties(
        title=_heading("Simulated before the data", key)
    )


def _activations(result: PriorPredictive, shape: str) -> Chart:
    simulated, observed = (result.arrays[f"{name}|{shape}"] for name in ("simulated", "observed"))
    possible = result.arrays.get(f"possible|{shape}")
    low, high = _window(simulated, observed, possible)
    edges = _edges(low, high, possible)
    low, high = float(edges[0]), float(edges[-1])
    x = alt.X("x:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=_axis(_units(result, shape)))
    layers: list[Any] = []
    if possible is not None:
        outside = pd.DataFrame({"x": [low, possible[1]], "end": [possible[0], high]})
        outside = outside[outside["end"] > outside["x"]]
        shade = alt.Chart(outside).mark_rect(color=GRID, opacity=0.75).encode(x=x, x2="end:Q")
        ends = [end for end in possible if low < end < high]
        edge = alt.Chart(pd.DataFrame({"x": ends})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=x)
        layers += [shade, edge]
    layers.append(_filled(_steps(_hill(simulated, edges), edges), x))
    layers.append(
        alt.Chart(_steps(_hill(observed, edges), edges))
        .mark_line(interpolate="step-after", color=INK, strokeWidth=1.6)
        .encode(x=x, y=_height())
    )
    beyond = float(((simulated < low) | (simulated > high)).mean())
    told = _told_of_rows(result, shape)
    told += [f"{100 * beyond:.0f} % of the hill lies outside the picture"] if beyond > 0.02 else []
    title = _title(_plain(shape), told)
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title)


def _edges(low: float, high: float, possible: np.ndarray | None) -> np.ndarray:
    """Of bins; what can occur begins with a bin."""
    step = (high - low) / BINS
    if possible is None or not low < possible[0] < high:
        return np.linspace(low, high, BINS + 1)
    first, last = np.ceil((low - possible[0]) / step - 1e-9), np.floor((high - possible[0]) / step + 1e-9)
    return possible[0] + step * np.arange(first, last + 1)


def _window(simulated: np.ndarray, observed: np.ndarray, possible: np.ndarray | None) -> tuple[float, float]:
    """From the middle 99 % of what is simulated and all that is observed, and not far beyond what can occur."""
    low = min(float(np.quantile(simulated, 0.005)), float(observed.min()))
    high = max(float(np.quantile(simulated, 0.995)), float(observed.max()))
    if possible is not None:
        reach = FARTHEST * float(possible[1] - possible[0])
        low, high = max(low, float(possible[0]) - reach), min(high, float(possible[1]) + reach)
        if simulated.min() >= possible[0] - 1e-6 and simulated.max() <= possible[1] + 1e-6:
            return max(low - 0.03 * (high - low), float(possible[0])), min(
                high + 0.03 * (high - low), float(possible[1])
            )
    return low, high if high > low else low + 1.0


def _units(result: PriorPredictive, shape: str) -> str:
    units = result.rows("scatter", shape)[0].units
    return UNITS.get(units, units)


def _told_of_rows(result: PriorPredictive, shape: str) -> list[str]:
    """What cannot occur, and of a bounded family what lies at an end."""
    rows = result.rows("impossible", shape)
    for row in rows:
        if "at 0 or 1" in row.quantity:
            return [f"{_share(row.median)} are 0 or 1 (typical draw; observed {_share(row.observed)})"]
    return [
        f"{_share(rows[0].median)} cannot occur (typical draw)" if rows else "what cannot occur is not known"
    ]


def _share(value: float) -> str:
    return "under 1 %" if 0 < value < 0.01 else f"{100 * value:.0f} %"


# Effects


def effect_names(result: PriorPredictive) -> list[str]:
    """Effects in the table, in order."""
    return list(dict.fromkeys(row.quantity for row in result.rows("effect") if row.units != "share"))


def effect_ranges(result: PriorPredictive, effect: str, *, width: int = 330) -> Chart:
    """95 % of the prior of one effect in each shape, on ±1 sd of the shape's observed rows.

    Parameters
    ----------
    effect : one of `effect_names`.

    Raises
    ------
    ValueError
        For an effect that the result does not have.
    """
    rows = sorted(
        (row for row in result.rows("effect") if row.quantity == effect), key=lambda row: -row.upper
    )
    if not rows:
        raise ValueError(f"expected one of {', '.join(effect_names(result))}, found {effect!r}.")
    spread = {row.blend_shape: row.observed for row in result.rows("scatter")}
    data = pd.DataFrame(
        {
            "shape": [row.blend_shape or "outcome" for row in rows],
            "median": [row.median for row in rows],
            "lower": [row.lower for row in rows],
            "upper": [row.upper for row in rows],
            "sd": [spread[row.blend_shape] for row in rows],
            "minus": [-spread[row.blend_shape] for row in rows],
            "verdict": [row.verdict for row in rows],
        }
    )
    edge = 1.05 * max(max(-row.lower, row.upper, spread[row.blend_shape]) for row in rows)
    scale = alt.Scale(domain=[-edge, edge], nice=False)
    axis = value_axis(f"{effect} ({_units(result, rows[0].blend_shape)})")
    y = alt.Y("shape:N", sort=data["shape"].tolist(), title=None).axis(
        ticks=False, domain=False, offset=6, labelLimit=260
    )
    base = alt.Chart(data).encode(y=y)
    band = base.mark_bar(color=GRID, height={"band": 0.9}).encode(
        x=alt.X("minus:Q", scale=scale, axis=axis), x2="sd:Q"
    )
    zero = alt.Chart().mark_rule(color=MUTED, strokeWidth=1).encode(x=alt.datum(0))
    colour = alt.condition("datum.verdict == 'as expected'", alt.value(MUTED), alt.value(POSITIVE_INK))
    line = base.mark_rule(strokeWidth=2.2).encode(x=alt.X("lower:Q", scale=scale), x2="upper:Q", color=colour)
    dot = base.mark_point(size=40, filled=True, opacity=1, fill=PAPER, strokeWidth=1.6).encode(
        x=alt.X("median:Q", scale=scale), stroke=colour
    )
    looked = (
        base.transform_filter("datum.verdict != 'as expected'")
        .mark_text(align="left", dx=7, color=POSITIVE_INK, fontSize=11)
        .encode(x=alt.value(width), text="verdict:N")
    )
    title = _title(
        f"Expected before the data: {effect}", "line: 95 % of the prior; grey bar: ±1 sd of the observed rows",
        width=width + 80,
    )  # fmt: skip
    return alt.layer(band, zero, line, dot, looked).properties(
        width=width, height=alt.Step(ROW_HEIGHT), title=title
    )


# Curves


def prior_curves(result: PriorPredictive) -> Chart:
    """Courses of each difference in the shown shapes, drawn from the prior, on ±1 sd of the observed rows."""
    times = result.arrays["times"]
    panels = [
        _curves(result, times, *name.split("|")[1:])
        for name in result.arrays
        if name.startswith("curve|")
    ]  # fmt: skip
    key = "courses drawn from the prior; grey band: ±1 sd of the observed rows"
    return alt.concat(*panels, columns=2, spacing=GAP).properties(
        title=_heading("Expected before the data", key)
    )


def _curves(result: PriorPredictive, times: np.ndarray, difference: str, shape: str) -> Chart:
    draws = result.arrays[f"curve|{difference}|{shape}"]
    sd = float(result.arrays[f"spread|{shape}"][0])
    rows = pd.DataFrame({
        "time": np.tile(times, len(draws)), "value": draws.ravel(),
        "draw": np.repeat(np.arange(len(draws)), len(times)),
    })  # fmt: skip
    x = alt.X(
        "time:Q",
        axis=_axis("seconds from onset"),
        scale=alt.Scale(domain=[0, float(times.max())], nice=False),
    )
    edge = 1.05 * max(float(np.abs(draws).max()), sd)
    y = alt.Y(
        "value:Q", scale=alt.Scale(domain=[-edge, edge], nice=False),
        axis=alt.Axis(
            title=_units(result, shape), grid=False, tickCount=5,
            labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')",
        ),
    )  # fmt: skip
    band = (
        alt.Chart(pd.DataFrame({"low": [-sd], "high": [sd]}))
        .mark_rect(color=GRID)
        .encode(y=alt.Y("low:Q"), y2="high:Q")
    )
    lines = (
        alt.Chart(rows).mark_line(color=MUTED, opacity=0.55, strokeWidth=1).encode(x=x, y=y, detail="draw:N")
    )
    zero = alt.Chart().mark_rule(color=INK, strokeWidth=1).encode(y=alt.datum(0))
    title = _title(f"{_plain(shape)}: {difference}", f"{len(draws)} courses", width=WIDTH + 90)
    return alt.layer(band, zero, lines).properties(width=WIDTH + 60, height=HEIGHT + 50, title=title)


# Persons


def person_hills(result: PriorPredictive) -> Chart:
    """Of the first shape shown: how much persons differ in level and first effect, and how reliably that is told.

    What else varies between persons is in the table.
    """
    shape = result.told["shown"][0]
    spread = float(result.arrays[f"spread|{shape}"][0])
    panels = []
    for words in ("level", *effect_names(result)[:1]):
        values = result.arrays.get(f"persons|{words}|{shape}")
        if values is not None:
            title = _title(words[:1].upper() + words[1:], "sd between persons")
            panels.append(_one_hill(values, title, _units(result, shape), rule=spread))
        values = result.arrays.get(f"reliability|{words}|{shape}")
        if values is not None:
            title = _title(f"Reliability of {words}", "of a person, for a test of this length")
            panels.append(_one_hill(values, title, "reliability", domain=(0.0, 1.0)))
    key = "line and dot: 95 % of the prior and its median; dashed: sd of the observed rows"
    return alt.concat(*panels, columns=2, spacing=GAP).properties(
        title=_heading(f"{_plain(shape)}: how persons are expected to differ before the data", key)
    )


def _one_hill(
    values: np.ndarray,
    title: alt.TitleParams,
    axis: str,
    *,
    domain: tuple[float, float] | None = None,
    rule: float | None = None,
) -> Chart:
    low, high = domain or (0.0, max(float(np.quantile(values, 0.99)), 1.2 * (rule or 0.0)))
    edges = np.linspace(low, high if high > low else low + 1.0, 31)
    x = alt.X("x:Q", scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False), axis=_axis(axis))
    layers: list[Any] = [_filled(_steps(_hill(values, edges), edges), x)]
    lower, median, upper = np.quantile(values, [0.025, 0.5, 0.975])
    ends = pd.DataFrame({"x": [max(lower, edges[0])], "end": [min(upper, edges[-1])], "middle": [median]})
    line = alt.Chart(ends).mark_rule(color=INK, strokeWidth=2).encode(x=x, x2="end:Q", y=alt.datum(1.07))
    dot = alt.Chart(ends).mark_point(fill=PAPER, stroke=INK, size=45, opacity=1).encode(
        x=alt.X("middle:Q", axis=_axis(axis)), y=alt.datum(1.07)
    )  # fmt: skip
    layers += [line, dot]
    if rule is not None and math.isfinite(rule):
        mark = alt.Chart(pd.DataFrame({"x": [rule]})).mark_rule(color=INK, strokeDash=[4, 3])
        layers.append(mark.encode(x=x))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title)


# Co-activation


def co_activation_hills(result: PriorPredictive) -> Chart:
    """Correlations between shapes and shares that factors carry, within and between groups."""
    panels = []
    for level in ("within", "between"):
        if f"correlation|{level}" not in result.arrays:
            continue
        panels.append(
            _one_hill(
                result.arrays[f"correlation|{level}"],
                _title(f"Correlations {level} groups", "of pairs of shapes, all draws"), "correlation",
                domain=(-1.0, 1.0),
            )
        )  # fmt: skip
        panels.append(
            _one_hill(
                result.arrays[f"communality|{level}"],
                _title(f"Carried by factors {level} groups", "share of a shape's variance, all draws"), "communality",
                domain=(0.0, 1.0),
            )
        )  # fmt: skip
    key = "line and dot: 95 % of the prior and its median"
    return alt.concat(*panels, columns=2, spacing=GAP).properties(
        title=_heading("How much moves together, expected before the data", key)
    )
