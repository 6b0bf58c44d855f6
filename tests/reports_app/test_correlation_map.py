import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mien.reports_app.figures.colour import diverging
from mien.reports_app.figures.correlation_map import CELL, SMALL_CELL, TILES, correlation_map
from mien.reports_app.figures.grouping import labels_of_groups, runs
from mien.reports_app.figures.theme import to_png
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, SET_APART

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = tuple(name for name in BILATERAL_NAMES if name not in SET_APART)
THREE = ("mouthSmile", "mouthFrown", "jawOpen")
MEAN = np.array([[1.0, -0.4, 0.6], [-0.4, 1.0, 0.02], [0.6, 0.02, 1.0]])
P = np.array([[np.nan, 0.97, 0.999], [0.97, np.nan, 0.6], [0.999, 0.6, np.nan]])


def draw(mean=MEAN, p=P, shapes=THREE, **options):
    return correlation_map(
        mean, p, shapes, **{"order": range(len(shapes)), "label": "Who moves with whom"} | options
    )


def posterior(shapes, seed=4):
    rng = np.random.default_rng(seed)
    loading = rng.normal(0, 0.6, (len(shapes), 5))
    covariance = loading @ loading.T + np.diag(rng.uniform(0.3, 1, len(shapes)))
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd), rng.uniform(0.5, 1, covariance.shape)


def tiles(svg):
    """Tooltip → (x, y, side, fill) of every tile."""
    found = {}
    for one in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        title = one.find(f"{SVG}title")
        if title is not None:
            x, y, width, height = (float(one.attrib[key]) for key in ("x", "y", "width", "height"))
            assert width == height
            found[title.text] = (x + width / 2, y + height / 2, width, one.attrib["fill"])
    return found


def test_every_pair_is_a_tile_and_the_diagonal_is_empty():
    found = tiles(draw())
    assert set(found) == {
        "mouthSmile, mouthFrown −0.40, P = 0.97", "mouthFrown, mouthSmile −0.40, P = 0.97",
        "mouthSmile, jawOpen +0.60, P > 0.99", "jawOpen, mouthSmile +0.60, P > 0.99",
        "mouthFrown, jawOpen +0.020, P = 0.60", "jawOpen, mouthFrown +0.020, P = 0.60",
    }  # fmt: skip


def test_colour_is_the_correlation_and_size_is_how_sure_its_sign_is():
    found = tiles(draw())
    sure, fair, unsure = (found[title] for title in (
        "mouthSmile, jawOpen +0.60, P > 0.99", "mouthSmile, mouthFrown −0.40, P = 0.97",
        "mouthFrown, jawOpen +0.020, P = 0.60",
    ))  # fmt: skip
    assert (sure[3], fair[3]) == (diverging(0.6), diverging(-0.4))
    assert [one[2] / CELL for one in (sure, fair, unsure)] == pytest.approx(
        [tile.share for tile in TILES], abs=0.01
    )


def test_what_is_surely_negative_bears_a_minus_and_what_is_unsure_does_not():
    signs = len(re.findall(r'<path d="M[\d. ]+h', draw()))
    unsure = np.where(np.isnan(P), P, 0.6)
    assert signs - len(re.findall(r'<path d="M[\d. ]+h', draw(p=unsure))) == 2


def test_rows_and_columns_follow_the_order():
    found = tiles(draw(order=np.array([2, 0, 1])))
    x, y, *_ = found["jawOpen, mouthSmile +0.60, P > 0.99"]
    x2, y2, *_ = found["mouthSmile, jawOpen +0.60, P > 0.99"]
    assert (x - x2, y2 - y) == pytest.approx((CELL, CELL))
    names = [text.text for text in ElementTree.fromstring(draw(order=[2, 0, 1])).iter(f"{SVG}text")]
    assert names[:6] == ["jawOpen", "jawOpen", "mouthSmile", "mouthSmile", "mouthFrown", "mouthFrown"]


def test_groups_are_framed_and_named_and_a_shape_alone_is_not():
    together = draw(order=[0, 2, 1], groups=["A", "B", "A"])
    assert together.count('class="group"') == 1
    assert ">A<" in together
    assert ">B<" not in together
    assert (
        draw(order=[0, 1, 2], groups=["A", "B", "A"]).count('class="group"') == 2
    )  # torn apart by the order
    assert ">7<" in draw(groups=np.array([7, 9, 7]))
    assert 'class="group"' not in draw()


def test_one_group_has_one_frame():
    svg = draw(groups=["all"] * 3)
    assert svg.count('class="group"') == 1
    assert svg.count(">all<") == 1


def test_runs_of_groups_along_an_order():
    assert [tuple(run) for run in runs(["a", "b", "a", "b", "c"], [0, 2, 1, 4, 3])] == [
        ("a", 0, 1), ("b", 2, 2), ("", 3, 3), ("b", 4, 4),
    ]  # fmt: skip
    assert labels_of_groups(["a", "b", "a"]) == ["a", "", "a"]


@pytest.mark.parametrize(("shapes", "cell"), [(SHAPES, CELL), (NAMES, SMALL_CELL)])
def test_many_shapes_keep_their_names_on_both_axes_inside_the_picture(shapes, cell):
    mean, p = posterior(shapes)
    svg = draw(mean, p, shapes, order=np.random.default_rng(1).permutation(len(shapes)))
    for name in shapes:
        assert svg.count(f">{name}<") == 2
    assert len(tiles(svg)) == len(shapes) * (len(shapes) - 1)
    rows = sorted({round(y, 0) for _, y, *_ in tiles(svg).values()})
    assert np.diff(rows) == pytest.approx(cell, abs=1)
    assert len(svg) < 500_000
    assert len(to_png(svg, width=600)) > 10_000


def test_the_svg_is_named_loads_nothing_and_is_the_same_each_time():
    svg = draw(label="r <within>")
    assert 'role="img" aria-label="r &lt;within&gt;"' in svg
    assert "href" not in svg
    assert svg == draw(label="r <within>")
    assert "&lt;b&gt;" in draw(shapes=("mouthSmile", "<b>", "jawOpen"))


@pytest.mark.parametrize(("changes", "words"), [
    ({"mean": MEAN[:2]}, r"mean of shape \(3, 3\)"),
    ({"p": P[:2, :2]}, r"p_direction of shape \(3, 3\)"),
    ({"mean": MEAN * 3}, r"mean between -1 and 1 .* found -1.2 at \(0, 1\)"),
    ({"mean": np.full((3, 3), np.nan)}, "mean between -1 and 1"),
    ({"p": P * 2}, "p_direction between 0 and 1"),
    ({"order": [0, 1]}, "0 to 2, each once"),
    ({"order": [0, 1, 1]}, "0 to 2, each once"),
    ({"groups": ["a", "b"]}, "one group a shape, 3, found 2"),
    ({"mean": np.zeros((0, 0)), "p": np.zeros((0, 0)), "shapes": ()}, "one shape or more"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        draw(**changes)
