from mien.reports_app.figures.bars import exclusion_bars, valid_share_bars
from mien.reports_app.figures.theme import to_svg


def rows_of(chart):
    return next(iter(chart.to_dict()["datasets"].values()))


def test_conditions_stand_in_the_order_of_the_design():
    cells = [
        {"valence": v, "medium": m, "valid_share": 0.9}
        for m in ("film", "picture")
        for v in ("positive", "negative")
    ]
    labels = [row["label"] for row in rows_of(valid_share_bars(cells))]
    assert labels == ["negative pictures", "positive pictures", "negative films", "positive films"]


def test_exclusions_are_shares_of_all_rows_largest_first():
    counts = {
        "rows": 200,
        "rows_kept": 170,
        "by_reason": {"a": {"rows": 10, "trials": 1}, "b": {"rows": 20, "trials": 2}},
    }
    rows = rows_of(exclusion_bars(counts))
    assert [(row["label"], row["share"]) for row in rows] == [("kept", 0.85), ("b", 0.1), ("a", 0.05)]
    assert "85.0%  (170)" in [row["text"] for row in rows]


def test_a_study_without_rows_is_drawn_too():
    assert "kept" in to_svg(exclusion_bars({"rows": 0, "rows_kept": 0, "by_reason": {}}), label="x")
