"""The courses' figure, tables and words, from curves and peaks of known numbers."""

import numpy as np
import pandas as pd
import pytest

from mien.reports_app import tables, wording
from mien.reports_app.figures.courses import courses, most_reactive

TIMES = np.arange(12) * 0.5 + 0.25


def curve(shape, height, sd=0.004, verdict="passed"):
    mean = height * np.exp(-((TIMES - 2) ** 2) / 4)
    return pd.DataFrame({
        "blend_shape": shape, "curve": "positive − negative", "kind": "difference", "time": TIMES, "mean": mean,
        "sd": sd, "eti_lower": mean - 2 * sd, "eti_upper": mean + 2 * sd, "band_lower": mean - 2.9 * sd,
        "band_upper": mean + 2.9 * sd, "band_excludes_0": np.abs(mean) > 2.9 * sd, "verdict": verdict,
    })  # fmt: skip


@pytest.fixture(scope="module")
def curves():
    return pd.concat(
        [
            curve("mouthSmile", 0.03),
            curve("browDown", -0.02, sd=0.002),
            curve("jawOpen", 0.001),
            curve("mouthFrown", 0.5, verdict="failed"),
        ],
        ignore_index=True,
    )


def test_the_shapes_furthest_from_zero_come_first_and_failed_ones_last(curves):
    assert most_reactive(curves) == ["browDown", "mouthSmile", "jawOpen", "mouthFrown"]
    assert most_reactive(curves, most=2) == ["browDown", "mouthSmile"]


def test_panels_share_one_scale_that_holds_every_band(curves):
    chart = courses(curves, ["mouthSmile", "browDown"]).to_dict()
    assert len(chart["concat"]) == 2
    domains = {
        tuple(layer["encoding"]["y"]["scale"]["domain"])
        for panel in chart["concat"]
        for layer in panel["layer"]
        if "scale" in layer["encoding"]["y"]
    }
    assert len(domains) == 1
    low, high = domains.pop()
    drawn = curves[curves["blend_shape"].isin(["mouthSmile", "browDown"])]
    assert low <= drawn["band_lower"].min() <= drawn["band_upper"].max() <= high
    assert chart["concat"][0]["title"]["text"] == "Smile"


def peak_rows(shape, size, *, told=True, p_peak=0.99):
    values = {
        "size": (size, "coefficient"), "time": (2.0, "s"), "latency": (0.9, "s"), "half-fade": (1.5, "s"),
        "area": (3 * size, "coefficient s"),
    }  # fmt: skip
    return [
        {"blend_shape": shape, "curve": "positive − negative", "quantity": quantity,
         "median": value if told else np.nan, "eti_lower": 0.8 * value if told else np.nan,
         "eti_upper": 1.2 * value if told else np.nan, "ci_prob": 0.95, "known": 0.75, "p_peak": p_peak,
         "units": units, "verdict": "passed"}
        for quantity, (value, units) in values.items()
    ]  # fmt: skip


def test_peaks_stand_in_one_row_a_shape():
    rows = peak_rows("mouthSmile", 0.03) + peak_rows("jawOpen", 0.001, told=False, p_peak=0.4)
    table = tables.peaks_table(pd.DataFrame(rows)).set_index("blend shape")
    assert table.loc["mouthSmile", "size"] == "+0.030 (+0.024 to +0.036)"
    assert table.loc["mouthSmile", "time (s)"] == "2.0 (1.6 to 2.4)"
    assert table.loc["mouthSmile", "fades by half in"] == "75 %"
    assert table.loc["jawOpen", ["size", "time (s)", "area"]].tolist() == ["–", "–", "–"]
    assert table.loc["jawOpen", "P(peak beyond ROPE)"] == "0.40"


def test_a_peak_in_words():
    told = wording.peak_sentence(peak_rows("mouthSmile", 0.03))
    assert told.startswith(
        "Smile (mouthSmile) differed most 2.0 s after onset (95 % ETI 1.6 to 2.4 s), by +0.030"
    )
    unsure = wording.peak_sentence(peak_rows("jawOpen", 0.001, told=False, p_peak=0.4))
    assert "we cannot tell when it differed most" in unsure
    assert "0.40" in unsure


def test_lost_trials_in_words():
    rows = [
        {"effect": "valence", "blend_shape": "eyeSquint", "lost": 8, "kept": 1016, "at_most_sd": 0.19},
        {"effect": "valence", "blend_shape": "jawOpen", "lost": 2, "kept": 1022, "at_most_sd": 0.10},
    ]
    assert "up to 8 of 1,024 trials" in wording.lost_sentence(rows)
    assert "at most 0.19 posterior standard deviations (eyeSquint)" in wording.lost_sentence(rows)
    assert "No trial was lost" in wording.lost_sentence([{**rows[0], "lost": 0}])


@pytest.mark.parametrize(
    ("effect", "title"),
    [
        ("valence:empathy_affective_z", "(positive − negative) for each sd of empathy affective"),
        ("valence:group", "(positive − negative), differing by group"),
        ("valence:center(trial)", "change of (positive − negative) a trial"),
        ("age_z", "age_z"),
    ],
)
def test_effects_by_columns_have_titles(effect, title):
    assert wording.effect_title(effect) == title


def test_pooled_effects_stand_beside_those_alone(effects):
    none = effects.assign(pooled_mean=np.nan)
    assert tables.pooled_table(none).empty
    some = effects.assign(
        pooled_p_direction=0.97, pooled_eti_lower=0.01, pooled_eti_upper=0.05, pooled_mean=0.03
    )
    some.loc[some["blend_shape"] != "mouthSmile", "pooled_mean"] = np.nan
    (row,) = tables.pooled_table(some).to_dict("records")
    assert (row["blend shape"], row["alone"], row["pooled"]) == ("mouthSmile", "+0.0410", "+0.0300")
