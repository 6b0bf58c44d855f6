import re
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.cluster.hierarchy import leaves_list, linkage

from mien.reports_app.figures.dendrogram import (
    ROW,
    TOP,
    DrawnTree,
    paired_dendrograms,
    support_dendrogram,
    turned,
)
from mien.reports_app.figures.theme import to_png
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, SET_APART

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = tuple(name for name in BILATERAL_NAMES if name not in SET_APART)
FOUR = ("mouthSmile", "cheekSquint", "mouthFrown", "jawOpen")
LINKAGE = np.array([[0, 1, 0.2, 2], [2, 4, 0.5, 3], [3, 5, 1.0, 4]])
SUPPORT = np.array([0.98, 0.41, 1.0])
ORDER = [0, 1, 2, 3]


def draw(merges=LINKAGE, order=ORDER, support=SUPPORT, shapes=FOUR, **options):
    return support_dendrogram(merges, order, support, shapes, **{"label": "Tree"} | options)


def random_tree(count, seed):
    rng = np.random.default_rng(seed)
    merges = linkage(rng.normal(size=(count, 3)), "average")
    return merges, leaves_list(merges)


def texts(svg):
    """Text → (x, y) of the first such text."""
    found = {}
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        found.setdefault(text.text, (float(text.attrib["x"]), float(text.attrib["y"])))
    return found


def uprights(svg):
    """(x, top, bottom, stroke width) of every merge, in the order of merges."""
    found = re.findall(r'<path d="M([\d.]+) ([\d.]+)V([\d.]+)" stroke-width="([\d.]+)"', svg)
    return [tuple(map(float, one)) for one in found]


def row(place):
    return TOP + (place + 0.5) * ROW


def test_merges_lie_at_their_heights_between_their_children():
    drawn = uprights(draw())
    leaves = texts(draw())["mouthSmile"][0] - 8
    assert [(leaves - x) for x, *_ in drawn] == pytest.approx(
        [0.2 * (leaves - drawn[2][0]), 0.5 * (leaves - drawn[2][0]), leaves - drawn[2][0]], abs=0.2
    )
    assert drawn[0][1:3] == pytest.approx((row(0), row(1)), abs=0.06)
    assert drawn[1][1:3] == pytest.approx((row(0.5), row(2)), abs=0.06)
    assert drawn[2][1:3] == pytest.approx((row(1.25), row(3)), abs=0.06)


def test_support_stands_beside_each_merge_but_the_last_in_the_row_between_its_children():
    found = texts(draw())
    assert "98" in found
    assert found["98"][1] == pytest.approx(row(0.5) + 3.6, abs=0.06)
    assert found["41"][1] == pytest.approx(row(1.5) + 3.6, abs=0.06)
    assert "100" not in found
    assert found["98"][0] == pytest.approx(uprights(draw())[0][0] + 5, abs=0.06)


def test_what_has_more_support_is_thicker():
    widths = [width for *_, width in uprights(draw())]
    assert widths[0] > 2 * widths[1]
    reverse = [width for *_, width in uprights(draw(support=SUPPORT[[1, 0, 2]]))]
    assert reverse[1] > 2 * reverse[0]


def test_a_tree_without_support_has_lines_of_one_kind_and_no_key():
    svg = draw(support=None, height="Ward’s height")
    assert len({width for *_, width in uprights(svg)}) == 1
    assert "support" not in svg
    assert "Ward’s height" in svg
    assert "98" not in texts(svg)
    assert ">1 − r<" in draw()
    assert "posterior support (% of draws)" in draw()


def test_groups_share_a_bracket():
    svg = draw(groups=["A", "A", "A", "B"])
    assert svg.count(">A<") == 1
    assert ">B<" not in svg  # alone
    assert draw(groups=["all"] * 4).count(">all<") == 1


@pytest.mark.parametrize("count", [29, 52])
def test_no_two_supports_share_a_row(count):
    shapes = SHAPES if count == 29 else NAMES
    merges, order = random_tree(count, 5)
    svg = draw(merges, order, np.linspace(0.1, 1, count - 1), shapes)
    places = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="start">\d+<', svg)
    assert len(places) == count - 2
    assert len({y for _, y in places}) == count - 2
    names = texts(svg)
    assert [name for name in sorted(shapes, key=lambda name: names[name][1])] == [shapes[i] for i in order]
    assert len(to_png(svg, width=500)) > 10_000


def test_turning_gives_the_reference_where_the_tree_allows_it():
    assert turned(LINKAGE, [3, 2, 1, 0]) == [3, 2, 1, 0]
    assert turned(LINKAGE, [1, 0, 2, 3]) == [1, 0, 2, 3]
    for seed in range(5):
        merges, order = random_tree(29, seed)
        assert turned(merges, order) == order.tolist()
        assert turned(merges, order[::-1]) == order[::-1].tolist()


def test_turning_never_crosses_branches_and_comes_no_further():
    for seed in range(5):
        merges, order = random_tree(29, seed)
        reference = np.random.default_rng(seed).permutation(29)
        places = turned(merges, reference)
        draw(merges, places, None, SHAPES)  # would raise
        away = [np.abs(np.argsort(one) - np.argsort(reference)).sum() for one in (places, order)]
        assert away[0] <= away[1]


def test_two_trees_face_each_other_and_lines_lead_from_each_shape_to_itself():
    other = np.array([[0, 3, 0.2, 2], [1, 2, 0.4, 2], [4, 5, 0.8, 4]])
    svg = paired_dendrograms(
        DrawnTree("posterior", LINKAGE, SUPPORT),
        DrawnTree("Ward <b>", other, None, "height"),
        ORDER,
        FOUR,
        label="Two",
    )
    for name in FOUR:
        assert svg.count(f">{name}<") == 2
    assert "Ward &lt;b&gt;" in svg
    lines = re.findall(r'd="M[\d.]+ ([\d.]+)H[\d.]+L[\d.]+ ([\d.]+)H', svg)
    rows = {leaf: place for place, leaf in enumerate(turned(other, ORDER))}
    assert [float(end) - float(start) for start, end in lines] == pytest.approx(
        [ROW * (rows[i] - i) for i in ORDER], abs=0.2
    )
    assert svg.count("posterior support") == 1
    plain = DrawnTree("plain", LINKAGE)
    assert "posterior support" not in paired_dendrograms(plain, plain, ORDER, FOUR, label="x")


def test_the_svg_is_named_loads_nothing_and_is_the_same_each_time():
    svg = draw(label="Tree <r>", shapes=("a", "<b>", "c", "d"))
    assert 'role="img" aria-label="Tree &lt;r&gt;"' in svg
    assert "&lt;b&gt;" in svg
    assert "href" not in svg
    assert svg == draw(label="Tree <r>", shapes=("a", "<b>", "c", "d"))


@pytest.mark.parametrize(("changes", "words"), [
    ({"merges": LINKAGE[:2]}, r"linkage of shape \(3, 4\) for 4 shapes"),
    ({"shapes": FOUR[:3], "order": [0, 1, 2]}, r"linkage of shape \(2, 4\) for 3 shapes"),
    ({"merges": LINKAGE[[1, 0, 2]]}, "earlier merges, each once"),
    ({"order": [0, 2, 1, 3]}, "branches would cross"),
    ({"order": [0, 1, 2]}, "0 to 3, each once"),
    ({"support": SUPPORT[:2]}, "support of 3 merges"),
    ({"support": SUPPORT * 100}, "support of 3 merges, 0-1"),
    ({"support": SUPPORT * np.nan}, "support of 3 merges, 0-1"),
    ({"groups": ["a"]}, "one group a shape, 4, found 1"),
    ({"merges": np.zeros((0, 4)), "shapes": FOUR[:1], "order": [0], "support": None}, "two or more"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        draw(**changes)
