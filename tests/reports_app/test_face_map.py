import itertools
import re
from xml.etree import ElementTree

import pytest

from mien.reports_app.figures.face_geometry import PLACES
from mien.reports_app.figures.face_map import face_map_svg
from mien.reports_app.figures.face_style import OUTLINES
from mien.study.blend_shapes import BILATERAL_NAMES, BLEND_SHAPES, NAMES

SVG = "{http://www.w3.org/2000/svg}"


def draw(values, **options):
    return face_map_svg(values, units="coefficient units", title="Valence", **options)


def shapes_of(svg):
    paths = [path for path in ElementTree.fromstring(svg).iter(f"{SVG}path") if "data-shape" in path.attrib]
    assert len({path.attrib["data-shape"] for path in paths}) == len(paths)
    return {path.attrib["data-shape"]: path for path in paths}


def title(path):
    return path.find(f"{SVG}title").text


def xs(path):
    return [
        float(x)
        for x in re.findall(r"(-?[\d.]+) -?[\d.]+", path.attrib["d"].replace("C", " ").replace("M", " "))
    ]


def test_every_bilateral_shape_has_a_path_and_the_names_are_the_project_s():
    assert set(PLACES) == set(BILATERAL_NAMES)
    assert set(shapes_of(draw({}))) == set(BILATERAL_NAMES)


def test_the_tooltip_says_value_interval_and_probability():
    svg = draw(
        {"mouthSmile": 0.041}, p_direction={"mouthSmile": 0.99}, intervals={"mouthSmile": (0.02, 0.06)}
    )
    assert title(shapes_of(svg)["mouthSmile"]) == "mouthSmile +0.041 (0.02 to 0.06), P = 0.99"
    svg = draw({"mouthSmile": 0.02})
    assert title(shapes_of(svg)["mouthSmile"]) == "mouthSmile +0.020"
    svg = draw({"jawOpen": -0.0123}, p_direction={"jawOpen": 0.9999}, intervals={"jawOpen": (-0.02, -0.005)})
    assert title(shapes_of(svg)["jawOpen"]) == "jawOpen −0.012 (−0.02 to −0.005), P > 0.99"


def test_a_shape_without_a_value_says_so():
    shapes = shapes_of(draw({"mouthSmile": 0.04, "jawOpen": float("nan")}))
    assert title(shapes["jawOpen"]) == "jawOpen: not estimated"
    assert "stroke-dasharray" in shapes["jawOpen"].attrib
    assert "stroke-dasharray" not in shapes["mouthSmile"].attrib


def test_what_is_negative_is_hatched_and_what_is_positive_is_not():
    svg = draw({"mouthSmile": 0.04, "mouthFrown": -0.03})
    shapes = shapes_of(svg)
    assert shapes["mouthSmile"].attrib["fill"].startswith("#")
    identity = re.fullmatch(r"url\(#(.+)\)", shapes["mouthFrown"].attrib["fill"])[1]
    patterns = {pattern.attrib["id"] for pattern in ElementTree.fromstring(svg).iter(f"{SVG}pattern")}
    assert identity in patterns


def test_two_maps_in_one_page_share_no_ids():
    ids = [set(re.findall(r' id="([^"]+)"', draw({"mouthSmile": value}))) for value in (-0.04, -0.03)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(("p", "kind"), [(0.995, 0), (0.99, 0), (0.97, 1), (0.95, 1), (0.94, 2), (0.5, 2)])
def test_the_outline_tells_p_direction_and_the_surest_lie_on_top(p, kind):
    svg = draw({"mouthSmile": 0.04, "cheekPuff": 0.01}, p_direction={"mouthSmile": p, "cheekPuff": 0.6})
    assert float(shapes_of(svg)["mouthSmile"].attrib["stroke-width"]) == OUTLINES[kind].width
    if kind < 2:
        assert list(shapes_of(svg))[-1] == "mouthSmile"


def test_both_sides_paint_the_persons_left_on_the_readers_right():
    shapes = shapes_of(draw({"mouthSmileLeft": 0.05, "mouthSmileRight": 0.01}, sides="both"))
    assert set(shapes) == set(NAMES)
    for name in NAMES:
        if BLEND_SHAPES[name].side == "left":
            assert min(xs(shapes[name])) > 0
        if BLEND_SHAPES[name].side == "right":
            assert max(xs(shapes[name])) < 0
    assert min(xs(shapes["mouthLeft"])) > 0 > max(xs(shapes["mouthRight"]))
    for words in ("person’s", "left", "right"):
        assert words in draw({})


def test_asymmetry_is_painted_on_the_persons_left():
    assert min(xs(shapes_of(draw({"mouthSmile": 0.05}, sides="asymmetry"))["mouthSmile"])) > 0
    smile = xs(shapes_of(draw({"mouthSmile": 0.05}))["mouthSmile"])
    assert min(smile) == -max(smile)


def test_the_legend_names_units_and_ends_of_the_scale():
    svg = face_map_svg({"mouthSmile": 0.041}, units="β/σ <b>", title="x", p_direction={"mouthSmile": 0.99})
    for text in ("β/σ &lt;b&gt;", ">+0.05<", ">−0.05<", "P(direction)", "≥ .99", "no value"):
        assert text in svg
    assert "P(direction)" not in draw({"mouthSmile": 0.041})


def test_labels_name_the_largest_flagged_values_only():
    values = {"mouthSmile": 0.04, "cheekPuff": 0.03, "jawOpen": 0.02}
    svg = draw(
        values,
        p_direction={"mouthSmile": 0.99, "cheekPuff": 0.6, "jawOpen": 0.96},
        labels=5,
        names={"mouthSmile": "<i>"},
    )
    labels = svg[svg.index("face-labels") :]
    assert "&lt;i&gt;" in labels
    assert "jawOpen" in labels
    assert "cheekPuff" not in labels


@pytest.mark.parametrize("count", [8, 14])
def test_labels_keep_their_distance_and_stay_in_the_picture(count):
    svg = draw({name: 0.04 for name in BILATERAL_NAMES}, labels=count)
    places = re.findall(
        r'<text x="(-?\d+)" y="(\d+)" text-anchor="(?:start|end)">[a-zA-Z]', svg[svg.index("face-labels") :]
    )
    for side in ("-270", "270"):
        heights = sorted(int(y) for x, y in places if x == side)
        assert all(lower - upper >= 60 for upper, lower in itertools.pairwise(heights))
        assert all(20 < y < 780 for y in heights)


def test_strangers_are_refused():
    with pytest.raises(ValueError, match="smile - frown"):
        draw({"smile - frown": 1.0})
    with pytest.raises(ValueError, match="sides"):
        draw({}, sides="left")
