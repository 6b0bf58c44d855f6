"""Pictures of an effect over the widths of its prior: every shape and width is told, and nothing by colour alone."""

import math

import numpy as np
import pandas as pd
import pytest

from mien.reports_app.figures.prior_widths import (
    bayes_factors,
    largest,
    strip_rows,
    width_curves,
    width_strip,
    width_text,
)
from mien.reports_app.figures.theme import to_svg

FACTORS = (0.125, 0.5, 1.0, 8.0)
EFFECTS = {
    "mouthSmile": 0.04,
    "mouthFrown": -0.03,
    "jawOpen": 0.001,
    "eyeLookDown": 0.2,
    "browDown": 0.01,
    "noseSneer": 0.02,
}


def row(shape, mean, factor):
    p = {"mouthSmile": 0.999, "mouthFrown": 0.96, "eyeLookDown": 0.9}.get(shape, 0.6)
    log_factor = math.log(10) * (abs(mean) * 100 - math.log2(factor))
    return {
        "blend_shape": shape, "effect": "valence", "units": "coefficient", "factor": factor, "mean": mean, "sd": 0.01,
        "eti_lower": mean - 0.02, "eti_upper": mean + 0.02, "p_direction": p, "direction": 1 if mean > 0 else -1,
        "rope": 0.005, "decision": "outside" if p > 0.99 else "inside" if shape == "jawOpen" else "undecided",
        "bayes_factor": math.exp(log_factor), "log_bayes_factor": log_factor, "how": "exact given theta",
    }  # fmt: skip


@pytest.fixture
def widths():
    return pd.DataFrame([row(shape, mean, factor) for shape, mean in EFFECTS.items() for factor in FACTORS])


def test_every_shape_has_a_cell_for_every_width_surest_first(widths):
    cells = strip_rows(widths)
    assert len(cells) == len(EFFECTS) * len(FACTORS)
    assert list(dict.fromkeys(cells["blend_shape"]))[:3] == ["mouthSmile", "mouthFrown", "eyeLookDown"]
    assert cells["width"].tolist()[:4] == ["1/8", "1/2", "1", "8"]


def test_a_cell_tells_sign_probability_and_decision_as_text(widths):
    text = dict(zip(strip_rows(widths)["blend_shape"], strip_rows(widths)["text"], strict=True))
    assert (text["mouthSmile"], text["mouthFrown"], text["jawOpen"]) == ("+>.99 ●", "−.96", "+.60 ○")


def test_only_what_reaches_the_flag_is_filled_and_never_looks_as_if_it_did(widths):
    widths.loc[widths["blend_shape"] == "browDown", "p_direction"] = 0.9496
    cells = strip_rows(widths)
    assert set(cells.loc[cells["kind"] == "positive", "blend_shape"]) == {"mouthSmile"}
    assert set(cells.loc[cells["kind"] == "negative", "blend_shape"]) == {"mouthFrown"}
    assert set(cells.loc[cells["blend_shape"] == "browDown", "text"]) == {"+.949"}


def test_the_reports_own_flag_decides_what_is_filled(widths):
    cells = strip_rows(widths, flag=0.85)
    assert set(cells.loc[cells["kind"] != "unsure", "blend_shape"]) == {
        "mouthSmile",
        "mouthFrown",
        "eyeLookDown",
    }


def test_what_is_not_reliable_is_a_question_mark(widths):
    widths.loc[0, ["p_direction", "mean", "direction"]] = np.nan
    widths.loc[0, "decision"] = ""
    cells = strip_rows(widths)
    assert cells.loc[(cells["blend_shape"] == "mouthSmile") & (cells["width"] == "1/8"), "text"].tolist() == [
        "?"
    ]
    assert ">?<" in to_svg(width_strip(widths), label="strip")


def test_the_largest_leave_gaze_aside(widths):
    assert largest(widths) == ["mouthSmile", "mouthFrown", "noseSneer", "browDown"]
    only = widths[widths["blend_shape"] == "eyeLookDown"]
    assert largest(only) == ["eyeLookDown"]


def test_columns_are_in_the_order_of_widths(widths):
    svg = to_svg(width_strip(widths), label="P(direction)")
    places = [svg.index(f">{width_text(factor)}<") for factor in FACTORS]
    assert places == sorted(places)
    assert 'aria-label="P(direction)"' in svg


def test_curves_share_one_scale_and_have_a_panel_a_shape(widths):
    chart = width_curves(widths, units="µ units").to_dict()
    svg = to_svg(width_curves(widths, units="µ units"), label="curves")
    assert len(chart["concat"]) == 4
    assert all(
        f">{title}<" in svg for title in ("Smile", "Mouth corners down", "Nose wrinkled", "Brows lowered")
    )
    assert "µ units" in svg
    domains = {str(panel["layer"][0]["encoding"]["y"]["scale"]["domain"]) for panel in chart["concat"]}
    assert len(domains) == 1
    assert "clip" not in svg


def test_bayes_factors_have_powers_of_ten_and_names_at_the_lines(widths):
    svg = to_svg(bayes_factors(widths), label="Bayes factors")
    assert all(f">{text}<" in svg for text in ("1", "10", "1/10", "mouthSmile", "mouthFrown"))
    assert ">jawOpen<" not in svg


def test_names_at_the_lines_do_not_cover_each_other(widths):
    same = pd.DataFrame(
        [row(shape, 0.02, factor) for shape in ("jawOpen", "browDown", "noseSneer") for factor in FACTORS]
    )
    chart = bayes_factors(same).to_dict()
    names = next(
        iter(
            chart["datasets"][layer["data"]["name"]]
            for layer in chart["layer"]
            if layer["mark"]["type"] == "text"
        )
    )
    places = sorted(one["power"] for one in names)
    assert np.diff(places).min() > 0.2


def test_without_bayes_factors_there_is_no_such_picture(widths):
    assert bayes_factors(widths.assign(log_bayes_factor=np.nan)) is None


def test_a_single_outcome_has_a_name(widths):
    single = widths[widths["blend_shape"] == "mouthSmile"].assign(blend_shape="")
    assert ">outcome<" in to_svg(width_strip(single), label="strip")
    assert ">Outcome<" in to_svg(width_curves(single), label="curves")
    assert ">outcome<" in to_svg(bayes_factors(single), label="Bayes factors")
