"""Pictures of power: every simulated number is told, ∞ and the null world have their places, lines their names."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from mien.reports_app.figures.power_curves import (
    Reached,
    View,
    at_value,
    power_curves,
    share_text,
    some_of,
    spread_apart,
    value_text,
)
from mien.reports_app.figures.power_maps import grid_of, level_loops, power_map
from mien.reports_app.figures.power_outcomes import outcome_curves
from mien.reports_app.figures.theme import to_svg


def power(n, pictures, effect):
    """A made-up curve whose ceiling rises with pictures."""
    spread = math.sqrt(0.08**2 / n + 0.05**2 / pictures)
    return float(0.5 * math.erfc((1.96 - effect / spread) / math.sqrt(2)))


def cell(world, n, pictures, effect, **more):
    p = power(n, pictures, effect)
    return {
        "world": world, "participants": n, "pictures": pictures, "missing": 0.1 if world != "ceiling" else 0.0,
        "valence": effect, "power": p, "lower": max(p - 0.03, 0.0), "upper": min(p + 0.03, 1.0), "n": 1000,
        "undecided": 1 - p, "undecided_mcse": 0.01, "type_s": 0.001, "type_s_mcse": 0.001, "type_m": 1.1,
        "type_m_mcse": 0.02, "width": 0.05, "width_mcse": 0.001, **more,
    }  # fmt: skip


def cells(numbers=(10, 20, 40), pictures=(26,), effects=(0.03,)):
    rows = [cell("alternative", n, one, e) for n in numbers for one in pictures for e in effects]
    rows += [cell("ceiling", math.inf, one, e) for one in pictures for e in effects]
    return pd.DataFrame([*rows, *(cell("null", n, one, 0.0) for n in numbers for one in pictures)])


def texts(chart):
    return re.findall(r">([^<>]+)</text>", to_svg(chart, label="power"))


def called(axis, value):
    return axis if math.isnan(value) else f"{value_text(value)} {axis}"


def numbers_of(chart):
    """Every row that the chart holds, as text."""
    return str(chart.to_dict()["datasets"])


# Words of numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8123, ".81"),
        (0.0, "0"),
        (1.0, "1"),
        (0.999, "> .99"),
        (0.001, "< .01"),
        (0.05, ".05"),
        (math.nan, "–"),
    ],
)
def test_shares_have_two_digits_and_hide_nothing(value, text):
    assert share_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(40.0, "40"), (math.inf, "∞"), (0.03, ".03"), (-0.5, "−.5"), (2.5, "2.5"), (10.0, "10")],
)
def test_a_designs_numbers_are_short(value, text):
    assert value_text(value) == text


def test_names_are_apart_in_their_order_and_not_below_the_axis():
    places = spread_apart([0.0, 0.9, 0.001, 0.002], 0.05, 0.0)
    assert places[0] == 0.0
    assert places[1] == 0.9
    assert np.diff(sorted(places)).min() >= 0.05 - 1e-9
    assert np.argsort(places).tolist() == [0, 2, 3, 1]


def test_some_of_many_keeps_both_ends():
    assert some_of([1, 2, 3, 4, 5, 6, 7], 4) == [1, 3, 5, 7]
    assert some_of([1, 2], 4) == [1, 2]


# Curves


def test_a_curve_has_its_cells_its_ceiling_and_what_is_wanted():
    chart = power_curves(cells(), View(), target=0.8, called=called)
    found = texts(chart)
    assert [text for text in ("10", "20", "40", "∞") if text in found] == ["10", "20", "40", "∞"]
    ceiling = share_text(power(math.inf, 26, 0.03))
    assert {"participants", "power", f"ceiling {ceiling}", "wanted .80", "no effect"} <= set(found)
    assert all(str(power(n, 26, 0.03)) in numbers_of(chart) for n in (10, 20, 40))


def test_the_null_world_is_drawn_as_diamonds():
    svg = to_svg(power_curves(cells(), View()), label="power")
    without = cells()[cells()["world"] != "null"]
    diamonds = 'stroke="#5d666e" stroke-width="1.3"'
    assert svg.count(diamonds) == 3
    assert diamonds not in to_svg(power_curves(without, View()), label="power")
    assert "no effect" not in texts(power_curves(without, View()))


def test_the_smallest_number_stands_at_the_axis():
    chart = power_curves(cells(), View(), target=0.8, reached=Reached(33, 29, 38))
    assert "33" in texts(chart)
    assert "{'place': 29.0, 'end': 38.0}" in numbers_of(chart) or "{'place': 29, 'end': 38," in numbers_of(
        chart
    )


def test_an_open_interval_reaches_the_end_of_the_axis():
    chart = power_curves(cells(), View(), target=0.8, reached=Reached(33, 29, math.nan))
    assert re.search(r"\{'place': 29, 'end': 4\d\.", numbers_of(chart))


def test_lines_are_named_with_their_ceilings_and_have_shapes_of_their_own():
    found = texts(power_curves(cells(pictures=(8, 16, 26)), View(series="pictures"), called=called))
    for pictures in (8, 16, 26):
        assert f"{pictures} pictures, ceiling {share_text(power(math.inf, pictures, 0.03))}" in found
    spec = str(power_curves(cells(pictures=(8, 16, 26)), View(series="pictures")).to_dict())
    assert all(f"'shape': '{shape}'" in spec for shape in ("circle", "square", "triangle-up"))


def test_of_many_lines_some_are_drawn():
    found = texts(power_curves(cells(pictures=(8, 12, 16, 20, 26)), View(series="pictures"), called=called))
    assert sum(" pictures, ceiling" in text for text in found) == 4


def test_panels_have_titles_and_only_the_first_of_a_row_names_the_axis():
    made = cells(pictures=(8, 26), effects=(0.02, 0.03))
    found = texts(power_curves(made, View(panels="pictures"), called=called))
    assert found.count("power") == 1
    assert {"8 pictures", "26 pictures"} <= set(found)


def test_null_and_ceiling_stay_where_they_know_an_axis_by_zero_only():
    made = cells(effects=(0.02, 0.03))
    kept = at_value(made, "valence", [0.02])
    assert set(kept["world"]) == {"alternative", "ceiling", "null"}
    assert set(kept.loc[kept["world"] == "alternative", "valence"]) == {0.02}
    assert set(at_value(made, "missing", [0.1])["world"]) == {"alternative", "ceiling", "null"}


def test_one_cell_alone_is_a_point():
    only = cells(numbers=(30,))
    only = only[only["world"] == "alternative"]
    assert "30" in texts(power_curves(only, View(), target=0.8))


# Maps


def test_a_map_tells_every_simulated_number():
    chart = power_map(cells(pictures=(8, 16, 26)), "participants", "pictures", target=0.8)
    found = texts(chart)
    for n in (10, 20, 40):
        for pictures in (8, 16, 26):
            assert share_text(power(n, pictures, 0.03)) in found


def test_no_map_of_a_grid_with_holes_or_of_one_row():
    made = cells(pictures=(8, 16))
    assert grid_of(made, "participants", "pictures") is not None
    assert grid_of(made.drop(index=0), "participants", "pictures") is None
    assert power_map(cells(), "participants", "pictures") is None


def test_the_level_line_of_a_cone_is_its_circle():
    x = y = np.linspace(-2, 2, 81)
    z = 1 - np.hypot(*np.meshgrid(x, y))
    (loop,) = level_loops(x, y, z, 0.0)
    assert loop.high
    assert loop.area == pytest.approx(math.pi, rel=0.01)
    assert np.hypot(*np.array(loop.points).T) == pytest.approx(1, abs=0.01)


def test_a_hole_is_a_loop_of_its_own_and_turns_the_other_way():
    x = y = np.linspace(-2, 2, 81)
    z = np.hypot(*np.meshgrid(x, y))
    outer, hole = sorted(level_loops(x, y, z, 1.0), key=lambda one: -one.area)
    assert (outer.high, hole.high) == (True, False)
    assert outer.area == pytest.approx(16)
    assert hole.area == pytest.approx(math.pi, rel=0.01)


def test_loops_surround_exactly_what_lies_above():
    """Area by loops against area by counting: hills, holes, saddles, and the border."""
    x = np.linspace(0, 10, 161)
    across, up = np.meshgrid(x, x)
    z = np.cos(2 * across) * np.cos(2 * up) + 0.5 * np.sin(across + 2 * up)
    loops = level_loops(x, x, z, -0.6)
    signed = sum(one.area if one.high else -one.area for one in loops)
    assert {one.high for one in loops} == {True, False}
    assert signed / 100 == pytest.approx(np.mean(z[1:-1, 1:-1] >= -0.6), abs=0.005)


# What else comes out


def test_each_quantity_has_its_picture_with_units():
    found = texts(outcome_curves(cells(pictures=(8, 26)), View(series="pictures"), called=called))
    for text in (
        "Undecided",
        "Wrong sign (Type S)",
        "Exaggeration (Type M)",
        "estimate / truth",
        "share of studies",
    ):
        assert text in found
    assert {"8 pictures", "26 pictures"} <= set(found)


def test_what_was_not_estimated_has_no_picture():
    made = cells().assign(undecided=np.nan, type_s=np.nan, type_m=np.nan)
    assert "Undecided" not in texts(outcome_curves(made, View(), called=called))
    assert outcome_curves(made.assign(width=np.nan), View(), called=called) is None
