import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mien.reports_app.figures.co_activation_network import NODES, SMALL_NAME, co_activation_network, edges
from mien.reports_app.figures.face_geometry import PLACES
from mien.reports_app.figures.theme import to_png
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, SET_APART

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = tuple(name for name in BILATERAL_NAMES if name not in SET_APART)
FOUR = ("mouthSmile", "cheekSquint", "mouthFrown", "tongueOut")
MEAN = np.array([[1, 0.6, -0.4, 0.1], [0.6, 1, -0.2, 0], [-0.4, -0.2, 1, 0], [0.1, 0, 0, 1]])
P = np.array([[1, 0.99, 0.95, 0.2], [0.99, 1, 0.94, 0], [0.95, 0.94, 1, 0], [0.2, 0, 0, 1]])


def draw(shapes=FOUR, mean=MEAN, p=P, **options):
    return co_activation_network(shapes, mean, p, **{"least": 0.1, "label": "Network"} | options)


def marks(svg, kind):
    return [one for one in ElementTree.fromstring(svg).iter() if one.attrib.get("class") == kind]


def title(mark):
    return mark.find(f"{SVG}title").text


def random_case(shapes, seed=3):
    rng = np.random.default_rng(seed)
    mean = np.tanh(rng.normal(0, 0.5, (len(shapes), len(shapes))))
    p = rng.uniform(0, 1, mean.shape)
    return np.tril(mean, -1) + np.tril(mean, -1).T, np.tril(p, -1) + np.tril(p, -1).T


def names_of(svg):
    """Name → places (x, y) of its texts, px."""
    found = {}
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        found.setdefault(text.text, []).append((float(text.attrib["x"]), float(text.attrib["y"])))
    return found


def test_edges_are_the_pairs_that_reach_the_threshold_weakest_first():
    found = edges(MEAN, P, 0.95)
    assert [(edge.one, edge.other, edge.correlation) for edge in found] == [(2, 0, -0.4), (1, 0, 0.6)]
    assert len(edges(MEAN, P, 0.94)) == 3
    assert edges(MEAN, P, 0.999) == []


def test_an_edge_is_as_thick_as_its_correlation_and_dashed_where_negative():
    negative, positive = marks(draw(), "edge")
    assert title(negative) == "mouthFrown, mouthSmile −0.40, P = 0.95"
    assert title(positive) == "cheekSquint, mouthSmile +0.60, P = 0.99"
    assert float(positive.attrib["stroke-width"]) > float(negative.attrib["stroke-width"])
    assert "stroke-dasharray" in negative.attrib
    assert "stroke-dasharray" not in positive.attrib


def test_the_caption_says_how_many_edges_there_are_and_why():
    assert "2 of 6 pairs joined: P(|r| &gt; 0.1) ≥ 0.95" in draw()
    assert "3 of 6 pairs joined: P(|r| &gt; 0.2) ≥ 0.9" in draw(least=0.2, threshold=0.9)
    assert len(marks(draw(threshold=0.9), "edge")) == 3


def test_no_edge_at_all_is_said():
    svg = draw(p=np.zeros((4, 4)))
    assert marks(svg, "edge") == []
    assert "No edge: none of the 6 pairs has P(|r| &gt; 0.1) ≥ 0.95." in svg
    for name in FOUR:
        assert f">{name}<" in svg
    assert "No edge" not in draw()


def test_groups_stand_in_the_nodes_unless_a_shape_is_alone():
    nodes = marks(draw(groups=["A", "A", "C", "A"]), "node")
    assert [title(node) for node in nodes] == [
        "mouthSmile: A",
        "cheekSquint: A",
        "mouthFrown",
        "tongueOut: A",
    ]
    inside = [node.find(f"{SVG}text") for node in nodes]
    assert [None if text is None else text.text for text in inside] == [
        "A",
        "A",
        None,
        None,
    ]  # no edge, no letter
    assert ">group<" in draw(groups=[1] * 4)
    assert ">group<" not in draw(groups=[0, 1, 2, 3])
    assert ">group<" not in draw()


def test_every_node_lies_on_its_own_patch():
    assert set(NODES) == set(BILATERAL_NAMES)
    for name, (x, y) in NODES.items():
        points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", PLACES[name].path), dtype=float)
        mirrored = points * [-1, 1]
        slack = 16 if name in SET_APART else 6
        inside = [
            ((one.min(axis=0) - slack <= (x, y)) & ((x, y) <= one.max(axis=0) + slack)).all()
            for one in (points, mirrored)
        ]
        assert any(inside), name


@pytest.mark.parametrize("shapes", [BILATERAL_NAMES, NAMES])
def test_names_and_nodes_are_clear_of_each_other(shapes):
    mean, p = random_case(shapes)
    found = names_of(draw(shapes, mean, np.zeros_like(p)))
    boxes = [
        (x, y - 4, len(name) * 0.56 * (SMALL_NAME if shapes is NAMES else 14.5) / 2)
        for name, places in found.items() if name in PLACES for x, y in places
    ]  # fmt: skip
    assert len(boxes) == len(shapes)
    for (x, y, half), (x2, y2, half2) in itertools.combinations(boxes, 2):
        assert abs(x - x2) > half + half2 or abs(y - y2) > 11.5, (x, y, x2, y2)


def test_edges_pass_by_the_nodes_of_other_shapes():
    mean, p = random_case(SHAPES)
    svg = draw(SHAPES, mean, p, threshold=0.9)
    centres = {
        title(node): np.array([float(node.find(f"{SVG}circle").attrib[key]) for key in ("cx", "cy")])
        for node in marks(svg, "node")
        if title(node) in SHAPES
    }
    t = np.linspace(0, 1, 40)[:, None]
    through = 0
    for edge in marks(svg, "edge"):
        start, handle, end = np.array(re.findall(r"([\d.]+) ([\d.]+)", edge.attrib["d"]), dtype=float)
        arc = (1 - t) ** 2 * start + 2 * t * (1 - t) * handle + t**2 * end
        ends = title(edge).split(" ")[:2]
        others = [at for name, at in centres.items() if name not in (ends[0][:-1], ends[1])]
        through += min(np.linalg.norm(arc - at, axis=1).min() for at in others) < 11
    assert len(marks(svg, "edge")) > 30
    assert through <= 0.05 * len(marks(svg, "edge"))


def test_sides_that_are_shapes_of_their_own_lie_on_their_side():
    mean, p = random_case(NAMES)
    svg = draw(NAMES, mean, p, threshold=0.97)
    titles = [title(node) for node in marks(svg, "node")]
    assert set(NAMES) <= set(titles)
    assert len(names_of(svg)["mouthSmile"]) == 2
    places = {title(node): float(node.find(f"{SVG}circle").attrib["cx"]) for node in marks(svg, "node")}
    middle = places["browInnerUp"]
    for name in ("mouthSmile", "eyeSquint", "browDown"):
        assert places[f"{name}Left"] - middle == pytest.approx(middle - places[f"{name}Right"], abs=0.2)
        assert places[f"{name}Left"] > middle
    assert "person’s left" in svg
    assert "person’s left" not in draw()
    assert len(to_png(svg, width=500)) > 10_000


def test_the_svg_is_named_loads_nothing_and_is_the_same_each_time():
    svg = draw(label="Network <within>")
    assert 'role="img" aria-label="Network &lt;within&gt;"' in svg
    assert "href" not in svg
    assert svg == draw(label="Network <within>")
    ids = [set(re.findall(r' id="([^"]+)"', one)) for one in (svg, draw(label="another"))]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(("changes", "words"), [
    ({"shapes": ("smile", *FOUR[1:])}, "expected blend shapes, found smile"),
    ({"mean": MEAN[:3]}, r"mean of shape \(4, 4\)"),
    ({"p": P[:3, :3]}, r"probability of shape \(4, 4\)"),
    ({"p": P * 2}, "probability between 0 and 1"),
    ({"mean": np.full((4, 4), np.nan)}, "mean between -1 and 1"),
    ({"groups": ["a"]}, "one group a shape, 4, found 1"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        draw(**changes)
