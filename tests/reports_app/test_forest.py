import math
import re

import pandas as pd
import pytest
import xarray as xr

from mien.reports_app.figures.forest import forest, forest_rows, inner_intervals
from mien.reports_app.figures.theme import INK, themed, to_png, to_svg


def test_rows_are_sorted_by_region_and_then_by_size(row):
    table = pd.DataFrame(
        [
            row("mouthSmile", 0.01, 0.01),
            row("smile - frown", 0.5, 0.1),
            row("browDown", 0.02, 0.01),
            row("mouthFrown", -0.03, 0.01),
        ]
    )
    rows = forest_rows(table)
    assert rows["blend_shape"].tolist() == ["browDown", "mouthFrown", "mouthSmile", "smile - frown"]
    assert rows["region"].tolist() == ["brow", "mouth", "mouth", "contrast"]


def test_the_inner_interval_comes_from_draws_where_there_are_draws(row, effects, fit):
    alone = forest_rows(pd.DataFrame([row("mouthSmile", 0.04, 0.01)])).iloc[0]
    assert alone["inner_lower"] == pytest.approx(0.04 - 0.0067449)
    inner = inner_intervals(fit, "valence")
    smile = fit["posterior"]["valence"].sel(blend_shape="mouthSmile").values
    rows = forest_rows(effects.merge(inner, on="blend_shape")).set_index("blend_shape")
    share = (
        (smile > rows.loc["mouthSmile", "inner_lower"]) & (smile < rows.loc["mouthSmile", "inner_upper"])
    ).mean()
    assert share == pytest.approx(0.5, abs=0.002)


def test_a_fit_of_one_outcome_and_an_effect_that_is_no_coefficient():
    posterior = xr.Dataset({"valence": (("chain", "draw"), [[0.0, 1.0, 2.0, 3.0, 4.0]])})
    tree = xr.DataTree.from_dict({"posterior": posterior})
    assert inner_intervals(tree, "valence")[["inner_lower", "inner_upper"]].to_numpy().tolist() == [
        [1.0, 3.0]
    ]
    assert len(inner_intervals(tree, "smile to films")) == 0


def test_standardised_scales_have_their_own_intervals_and_no_rope(row):
    table = pd.DataFrame([row("mouthSmile", 0.04, 0.01, sigma=0.08)])
    one = forest_rows(table, scale="beta_sigma").iloc[0]
    assert (one["value"], one["lower"], one["upper"]) == pytest.approx((0.5, 0.25, 0.75))
    assert math.isnan(one["rope"])
    assert "rope" not in forest(table, scale="beta_sigma").to_json().split('"datasets"')[0]


def test_what_failed_is_never_drawn_as_sure(row):
    table = pd.DataFrame([row("mouthSmile", 0.04, 0.01, verdict="failed"), row("jawOpen", -0.04, 0.01)])
    assert forest_rows(table).set_index("blend_shape")["kind"].to_dict() == {
        "mouthSmile": "unsure",
        "jawOpen": "negative",
    }


def test_the_svg_is_static_named_and_themed(effects):
    svg = to_svg(forest(effects), label="Effects <of> valence")
    assert 'aria-label="Effects &lt;of&gt; valence"' in svg
    assert svg.count("role=") == 1
    assert "href" not in svg
    assert "style=" not in svg
    for name in effects["blend_shape"]:
        assert f">{name}<" in svg
    assert f"var(--ink, {INK})" in themed(svg)
    assert len(re.findall("−", svg)) >= 1


def test_png_has_the_width_asked_for(effects):
    png = to_png(to_svg(forest(effects), label="x"), width=640)
    assert int.from_bytes(png[16:20], "big") == pytest.approx(640, abs=1)
    with pytest.raises(ValueError, match="viewBox"):
        to_png("<svg></svg>", width=10)
