"""Quantile dots and courses: every dot is 5 %, every row has its name, and what is not told has no dot."""

import re
from html import escape

import numpy as np
import pandas as pd
import pytest

from mien.reports_app.figures.person_course import person_course
from mien.reports_app.figures.quantile_dots import DOT, ROW, DotRow, quantile_dots, stacked
from mien.reports_app.figures.theme import to_svg
from mien.reports_app.person_writing import decimal_commas

FLAT = ((np.arange(20) + 0.5) / 20).tolist()


def circles(svg):
    """Dots drawn: arcs of circles (vega draws a point as a path of two)."""
    return len(re.findall(r'<path[^>]* d="M[\d.,-]+A', svg))


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_what_is_unknown_lies_flat_and_what_is_known_is_a_stack():
    assert stacked(FLAT) == [(pytest.approx(one), 0) for one in FLAT]
    assert stacked([0.52] * 20) == [(pytest.approx(0.525), number) for number in range(20)]
    assert stacked([0.0, 1.0]) == [(pytest.approx(0.025), 0), (pytest.approx(0.975), 0)]


def test_dots_stay_within_a_twentieth_of_their_place():
    dots = np.random.default_rng(0).beta(2, 5, 20)
    found = stacked(dots)
    assert len(found) == 20
    np.testing.assert_allclose([place for place, _ in found], np.sort(dots), atol=0.025)


ROWS = [
    DotRow("brow"),
    DotRow("Lächeln's \\ \"name\" + 1", FLAT, 0.02, 0.97, 0.4), DotRow("frown", [0.9] * 20, 0.88, 0.93, 0.99),
    DotRow("left out", reason="cannot tell: too few valid trials"), DotRow("no plain", FLAT, 0.1, 0.9),
]  # fmt: skip


@pytest.mark.parametrize("small", [True, False])
def test_every_row_has_its_name_its_dots_and_its_interval(small):
    svg = to_svg(
        quantile_dots(ROWS, axis="percentile", ends=("0 low", "100 high"), small=small), label="dots of one"
    )
    found = texts(svg)
    for row in ROWS:
        assert escape(row.label, quote=False) in found, row.label
    assert {"0 low", "25", "50", "75", "100 high", "percentile", "cannot tell: too few valid trials"} <= set(
        found
    )
    assert circles(svg) == 60
    assert 'aria-label="dots of one"' in svg
    assert "NaN" not in svg


def test_many_rows_lose_no_name():
    """An axis drops labels that are near each other, unless it is told not to."""
    rows = [
        DotRow(f"movement {i}", FLAT, 0.1, 0.9, 0.5) if i % 5 else DotRow(f"region {i}") for i in range(45)
    ]
    found = texts(to_svg(quantile_dots(rows, axis="percentile", small=True), label="many"))
    assert [row.label for row in rows if row.label not in found] == []


def test_a_tall_stack_stays_in_its_row():
    chart = quantile_dots(
        [DotRow("first", FLAT, 0, 1), DotRow("tall", [0.5] * 20, 0.4, 0.6)], axis=""
    ).to_dict()
    dots = [row for data in chart["datasets"].values() for row in data if set(row) == {"x", "y"}]
    tall = [row["y"] for row in dots[20:]]
    assert min(tall) - DOT / 2 >= ROW  # the first row ends there
    assert len(set(np.round(tall, 3))) == 20  # saboteur: on one another they could not be counted


def test_nothing_to_show_is_still_a_picture():
    svg = to_svg(quantile_dots([DotRow("only", reason="cannot tell")], axis="percentile"), label="none")
    assert circles(svg) == 0
    assert "cannot tell" in texts(svg)


# Courses


@pytest.fixture
def rows():
    return pd.DataFrame(
        [
            {"blend_shape": shape, "medium": medium, "time": 0.25 + step / 2, "value": 0.01 * step, "lower": -0.02,
             "upper": 0.035, "others": 9}
            for shape in ("mouthSmile", "mouthFrown") for medium in ("picture", "film") for step in range(4)
        ]
    )  # fmt: skip


def test_a_panel_for_each_movement_and_medium_in_the_readers_language(rows):
    chart = person_course(
        rows, names={"mouthSmile": "Lächeln", "mouthFrown": "Mundwinkel"}, media={"picture": "Bilder", "film": "Filme"},
        axis="Sekunden", units="positiv − negativ", comma=True,
    )  # fmt: skip
    svg = to_svg(chart, label="course")
    found = texts(svg)
    assert {"Lächeln", "Mundwinkel", "Bilder", "Filme", "Sekunden"} <= set(found)
    assert found.count("Bilder") == 1
    assert any(re.fullmatch(r"[+−]0,\d+", text) for text in found)
    assert not any(re.search(r"\d\.\d", text) for text in found)


def test_one_medium_needs_no_heading(rows):
    one = rows[rows["medium"] == "picture"]
    names, media = {"mouthSmile": "smile", "mouthFrown": "frown"}, {"picture": "Pictures", "film": "Films"}
    svg = to_svg(person_course(one, names=names, media=media, axis="s", units="answer"), label="course")
    assert "Pictures" not in texts(svg)
    assert any(re.fullmatch(r"[+−]0\.\d+", text) for text in texts(svg))


def test_commas_go_into_texts_and_nowhere_else():
    svg = '<svg width="10.5"><path d="M1.5 2.5"/><text x="1.5">−0.041 and ≥ .99</text><title>P = 0.5.</title></svg>'
    assert decimal_commas(svg) == (
        '<svg width="10.5"><path d="M1.5 2.5"/><text x="1.5">−0,041 and ≥ 0,99</text><title>P = 0,5.</title></svg>'
    )
