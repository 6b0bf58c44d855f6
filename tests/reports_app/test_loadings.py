import numpy as np
import pandas as pd
import pytest

from mien.reports_app.figures.face_map import face_map_svg
from mien.reports_app.figures.loadings import loading_forest, loading_rows
from mien.reports_app.figures.theme import to_svg
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, SET_APART

SHAPES = tuple(name for name in BILATERAL_NAMES if name not in SET_APART)


def table(shapes=SHAPES, seed=2):
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 0.4, len(shapes))
    return pd.DataFrame({
        "blend_shape": shapes, "mean": mean, "lower": mean - 0.2, "upper": mean + 0.2,
        "inner_lower": mean - 0.07, "inner_upper": mean + 0.07,
        "p_direction": np.where(np.abs(mean) > 0.2, 0.99, 0.7),
    })  # fmt: skip


def test_the_largest_come_first_whatever_their_sign():
    rows = loading_rows(table())
    sizes = np.abs(rows["value"].to_numpy())
    assert (np.diff(sizes) <= 0).all()
    assert (rows["value"] < 0).any()
    assert (rows["value"] > 0).any()


def test_only_what_is_sure_has_a_colour():
    rows = loading_rows(table())
    expected = np.where(
        np.abs(rows["value"]) <= 0.2, "unsure", np.where(rows["value"] > 0, "positive", "negative")
    )
    assert rows["kind"].tolist() == expected.tolist()
    assert set(expected) == {"positive", "negative", "unsure"}


def test_what_failed_is_never_drawn_as_sure():
    failed = table().assign(verdict=lambda one: np.where(one["mean"] > 0, "failed", "passed"))
    assert set(loading_rows(failed)["kind"]) == {"negative", "unsure"}


@pytest.mark.parametrize("shapes", [SHAPES, NAMES])
def test_every_name_is_there_in_order(shapes):
    svg = to_svg(loading_forest(table(shapes), "W1"), label="Loadings of W1")
    order = [svg.index(f">{name}<") for name in loading_rows(table(shapes))["blend_shape"]]
    assert order == sorted(order)
    assert "loading on W1 (within sds)" in svg
    assert 'aria-label="Loadings of W1"' in svg
    assert "href" not in svg


def test_the_chart_has_a_line_at_0_two_intervals_and_a_dot():
    chart = loading_forest(table(), "W2").to_dict()
    assert [layer["mark"]["type"] for layer in chart["layer"]] == ["rule", "rule", "rule", "rule", "point"]
    assert "rope" not in str(chart)
    assert chart == loading_forest(table(), "W2").to_dict()


def test_the_face_map_takes_loadings_of_both_signs():
    rows = table()
    values = dict(zip(rows["blend_shape"], rows["mean"], strict=True))
    sure = dict(zip(rows["blend_shape"], rows["p_direction"], strict=True))
    svg = face_map_svg(values, units="within sds", title="W1", p_direction=sure, labels=6)
    assert svg.count("<pattern") >= sum(value < -0.02 for value in values.values())
    assert "eyeBlink: not estimated" in svg
    assert svg.count("not estimated") == len(BILATERAL_NAMES) - len(SHAPES)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="found no lower, inner_upper: add them"):
        loading_forest(table().drop(columns=["lower", "inner_upper"]), "W1")
    with pytest.raises(ValueError, match="one row a shape, found 58 rows of 29 shapes"):
        loading_forest(pd.concat([table(), table()]), "W1")
    with pytest.raises(ValueError, match="found 0 rows"):
        loading_forest(table().iloc[:0], "W1")
