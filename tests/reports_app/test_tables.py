import pandas as pd

from mien.reports_app import tables


def test_the_effects_table_is_rounded_by_the_spread_and_sorted(row):
    table = tables.effects_table(
        pd.DataFrame(
            [
                row("mouthSmile", 0.04123, 0.0061),
                row("browDown", -0.0241, 0.0059),
                row("jawOpen", 0.0, 0.0063),
            ]
        )
    )
    assert table["blend shape"].tolist() == ["browDown", "mouthSmile", "jawOpen"]
    assert table["mean"].tolist() == ["−0.0241", "+0.0412", "0.0000"]
    assert table["95 % ETI"][1] == "+0.0293 to +0.0532"
    assert table["decision"][0] == "undecided"
    assert table["movement"].tolist() == ["brows lowered", "smile", "jaw opened"]


def test_shares_are_never_certain(row):
    rows = [row("mouthSmile", 0.04, 0.01, in_rope=share) for share in (0.0, 0.002, 0.24, 0.998, 1.0)]
    table = tables.effects_table(pd.DataFrame(rows))
    assert table["in ROPE"].tolist() == ["0 %", "< 1 %", "24 %", "> 99 %", "100 %"]


def test_the_quality_table_says_what_was_found(quality):
    table = tables.quality_table(quality)
    assert table["length"][0] == "14:07"
    assert table["frames lost"][0] == "37 (< 1 %)"
    assert table["verdict"].tolist().count("repeat") == 1
    assert table["recording"][0] == "sub-01 task-met"
    assert table["remarks"][0] == "never moved: tongueOut"
    assert table["remarks"][17] == "39 % of frames not tracked; never moved: tongueOut"
    assert len(tables.quality_table([])) == 0


def test_two_still_sides_are_one_name(quality):
    still = ["eyeWideLeft", "mouthSmileLeft", "eyeWideRight", "jawLeft", "strange"]
    table = tables.quality_table(
        [{**quality[0], "still_shapes": still, "source": "sub-1_tracksys-arkit_run-2"}]
    )
    assert table["remarks"][0] == "never moved: eyeWide, mouthSmileLeft, jawLeft, strange"
    assert table["recording"][0] == "sub-1 run-2"


def test_a_quality_report_with_unknown_numbers(quality):
    odd = {**quality[0], "rate_hz": None, "blinks_per_min": None, "duration_s": None}
    table = tables.quality_table([odd])
    assert table[["frames/s", "blinks/min", "length"]].iloc[0].tolist() == ["–", "–", "–"]


def test_exclusions_name_the_most_frequent_reason(prep):
    table = tables.exclusion_table(prep["by_participant"], ["participant"])
    assert len(table) == 32
    assert table.iloc[0].tolist() == ["01", "28 of 40", "94 %", "98 %", "moving baseline"]
    reasons = tables.reasons_table(prep)
    assert reasons["reason"].tolist() == ["moving baseline", "tracking lost"]
    assert reasons["rows"].tolist() == ["20,800", "10,400"]
    assert len(tables.reasons_table({"rows": 0, "by_reason": {}})) == 0


def test_diagnostics_tell_the_worst(effects, fit, row):
    worse = pd.concat(
        [effects, pd.DataFrame([row("smile - frown", 0.1, 0.1, r_hat=1.04, ess_bulk=90.0, verdict="failed")])]
    )
    one = tables.diagnostics_table({"valence": worse}, {"valence": fit}).iloc[0]
    assert one["worst R-hat"] == "1.004"
    assert one["least bulk ESS"] == "871"
    assert one["least BFMI"] == "0.71"
    assert one["divergences"] == "0"
    assert one["draws"] == "4 × 250"
    assert one["shapes that failed"] == "smile - frown"
    bare = fit.copy()
    bare.attrs = {"diagnostics": "failed"}
    one = tables.diagnostics_table({"valence": worse}, {"valence": bare}).iloc[0]
    assert one[["worst R-hat", "least bulk ESS", "divergences"]].tolist() == ["1.040", "90", "–"]
    assert tables.computation_table(worse)["checks"].tolist().count("failed") == 1


def test_a_weighted_fit_shows_its_weights_and_no_r_hat(effects, fit, weighted_fit):
    one = tables.diagnostics_table({"valence": effects}, {"valence": weighted_fit}).iloc[0]
    assert one[["worst Pareto k", "least ESS", "largest |z|"]].tolist() == ["0.32", "812", "2.9"]
    assert one["fallbacks"] == "more points 2, nuts 1"
    assert not {"worst R-hat", "divergences"} & set(one.index)
    both = tables.diagnostics_table({"a": effects, "b": effects}, {"a": fit, "b": weighted_fit})
    assert both["worst R-hat"].tolist() == ["1.004", "–"]
    assert both["worst Pareto k"].tolist() == ["–", "0.32"]
    computed = tables.computation_table(effects, weighted_fit).set_index("blend shape")
    assert computed.loc["mouthSmile", ["Pareto k", "ESS", "fallback"]].tolist() == ["0.11", "2100", "–"]
    assert computed.loc["jawOpen", ["Pareto k", "ESS", "fallback"]].tolist() == ["–", "–", "nuts"]
    assert "R-hat" not in computed
    assert "R-hat" in tables.computation_table(effects, fit)
