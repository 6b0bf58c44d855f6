"""Pictures of what priors expect: they say what the result says, and become SVG."""

import numpy as np
import pandas as pd
import pytest

from mien.reports_app.figures.prior_predictive import (
    activation_hills,
    effect_names,
    effect_ranges,
    prior_predictive_figures,
)
from mien.reports_app.figures.theme import to_png, to_svg
from mien.simulation.prior_predictive import LIMITS, PriorPredictive
from mien.simulation.prior_predictive.result import COLUMNS

RNG = np.random.default_rng(1)


def rows(shape, effect=0.2, verdict="as expected", ends=False):
    nan = float("nan")
    first = (
        ("share of a draw's rows at 0 or 1", 0.8, 0.1, 1.0, 0.03)
        if ends
        else ("share of a draw's rows that cannot occur", 0.31, 0, 1, nan)
    )
    return [
        ("impossible", shape, *first, "", "as expected", "share"),
        ("scatter", shape, "sd of all rows", 0.1, 0.05, 0.2, 0.05, "", "as expected", "coefficient"),
        ("effect", shape, "positive − negative", 0.0, -effect, effect, nan, "", verdict, "coefficient"),
        ("effect", shape, "film − picture", 0.0, -0.1, 0.1, nan, "", "as expected", "coefficient"),
    ]


def make(shapes, arrays, table):
    return PriorPredictive(
        "valence", "gaussian", pd.DataFrame(table, columns=list(COLUMNS)), "passed", (), arrays,
        {"shown": list(shapes), "outcomes": list(shapes)}, LIMITS,
    )  # fmt: skip


@pytest.fixture
def result():
    arrays = {"times": np.linspace(0, 3, 7)}
    for name in ("mouthSmile", "jawOpen"):
        arrays |= {
            f"simulated|{name}": RNG.normal(0.05, 0.2, 500), f"observed|{name}": RNG.uniform(0, 0.2, 200),
            f"possible|{name}": np.array([0.0, 1.0]), f"spread|{name}": np.array([0.05]),
            f"curve|positive − negative|{name}": RNG.normal(size=(5, 7)),
            f"persons|level|{name}": RNG.uniform(0, 0.2, 100),
            f"persons|positive − negative|{name}": RNG.uniform(0, 0.2, 100),
            f"reliability|positive − negative|{name}": RNG.uniform(0, 1, 100),
        }  # fmt: skip
    return make(("mouthSmile", "jawOpen"), arrays, [*rows("mouthSmile"), *rows("jawOpen", 2.0, "wide")])


def texts(chart):
    svg = to_svg(chart, label="a picture")
    assert to_png(svg, width=300)[:4] == b"\x89PNG"
    return svg


def data_of(chart):
    return [rows for rows in chart.to_dict()["datasets"].values() if rows]


def test_there_is_a_picture_of_each_kind(result):
    found = prior_predictive_figures(result)
    assert list(found) == ["activations", "effects", "effects: film − picture", "curves", "persons"]
    for chart in found.values():
        assert "<svg" in texts(chart)


def test_what_cannot_occur_is_shaded_and_told(result):
    chart = prior_predictive_figures(result)["activations"]
    svg = texts(chart)
    assert "31 % cannot occur (typical draw)" in svg
    assert "Smile" in svg
    shaded = [rows for rows in data_of(chart) if set(rows[0]) == {"x", "end"}]
    assert all(row["end"] <= 0.0 or row["x"] >= 1.0 for rows in shaded for row in rows)
    assert shaded


def test_hills_keep_near_what_can_occur_and_say_what_is_beyond(result):
    arrays = {**result.arrays, "simulated|mouthSmile": RNG.normal(0, 50, 500)}
    svg = texts(activation_hills(make(("mouthSmile",), arrays, rows("mouthSmile"))))
    assert "of the hill lies outside the picture" in svg


def test_a_bounded_family_tells_its_ends(result):
    inside = {**result.arrays, "simulated|mouthSmile": RNG.uniform(0, 1, 500)}
    told = make(("mouthSmile",), inside, rows("mouthSmile", ends=True))
    assert "80 % are 0 or 1 (typical draw; observed 3 %)" in texts(activation_hills(told))


def test_effects_stand_by_size_and_what_is_wrong_has_its_word(result):
    chart = effect_ranges(result, "positive − negative")
    data = max(data_of(chart), key=len)
    assert [row["shape"] for row in data] == ["jawOpen", "mouthSmile"]
    assert [row["minus"] for row in data] == [-0.05, -0.05]
    assert ">wide<" in texts(chart)
    assert effect_names(result) == ["positive − negative", "film − picture"]
    with pytest.raises(ValueError, match="expected one of positive"):
        effect_ranges(result, "age")


def test_persons_have_level_effect_and_reliability(result):
    svg = texts(prior_predictive_figures(result)["persons"])
    assert "Reliability of positive − negative" in svg
    assert svg.count("sd between persons") == 2


def test_co_activation_has_correlations_and_shares():
    arrays = {
        f"{kind}|{level}": RNG.uniform(0, 1, 100)
        for kind in ("correlation", "communality") for level in ("within", "between")
    }  # fmt: skip
    found = prior_predictive_figures(make((), arrays, []))
    assert list(found) == ["co_activation"]
    assert "Carried by factors between groups" in texts(found["co_activation"])
