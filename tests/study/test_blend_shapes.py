"""The table of blend shapes against what ARKit has."""

import pytest

from mien.study.blend_shapes import (
    BILATERAL_NAMES,
    BLEND_SHAPES,
    NAMES,
    REGIONS,
    SET_APART,
    bilateral_name,
    canonical_names,
    members,
    region,
)

PAIRS = [
    "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthSmile",
    "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown",
    "browOuterUp", "cheekSquint", "noseSneer",
]  # fmt: skip
SINGLES = [
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "browInnerUp",
    "cheekPuff", "tongueOut",
]  # fmt: skip


def test_there_are_52_shapes_18_pairs_and_16_singles():
    assert len(NAMES) == len(set(NAMES)) == 52
    assert len(BILATERAL_NAMES) == len(set(BILATERAL_NAMES)) == 34
    assert set(BILATERAL_NAMES) == {*PAIRS, *SINGLES}
    assert set(NAMES) == {*(pair + side for pair in PAIRS for side in ("Left", "Right")), *SINGLES}


def test_the_order_is_that_of_live_link_face():
    assert NAMES[:3] == ("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft")
    assert NAMES[14:18] == ("jawForward", "jawLeft", "jawRight", "jawOpen")
    assert NAMES.index("mouthLeft") < NAMES.index("mouthRight")
    assert NAMES[-1] == "tongueOut"


def test_partners_are_mutual_and_on_the_other_side():
    for shape in BLEND_SHAPES.values():
        if shape.side == "none":
            assert shape.partner == ""
        else:
            partner = BLEND_SHAPES[shape.partner]
            assert partner.partner == shape.name
            assert {shape.side, partner.side} == {"left", "right"}
            assert (partner.region, partner.confidence) == (shape.region, shape.confidence)


@pytest.mark.parametrize("name", ["jawLeft", "jawRight", "mouthLeft", "mouthRight"])
def test_directions_are_no_sides(name):
    assert BLEND_SHAPES[name].side == "none"
    assert bilateral_name(name) == name
    assert members(name) == (name,)


def test_members_of_a_pair_are_left_then_right():
    assert members("mouthSmile") == ("mouthSmileLeft", "mouthSmileRight")
    assert members("mouthSmileLeft") == ("mouthSmileLeft",)
    assert bilateral_name("browOuterUpRight") == "browOuterUp"


def test_action_units_say_how_sure_they_are():
    assert BLEND_SHAPES["mouthSmileLeft"].action_units == ("12",)
    assert BLEND_SHAPES["browInnerUp"].action_units == ("1",)
    for shape in BLEND_SHAPES.values():
        assert shape.source_kind == "convention"
        assert shape.confidence in ("high", "medium", "none")
        assert bool(shape.action_units) == (shape.confidence != "none")


@pytest.mark.parametrize("name", ["mouthClose", "mouthLeft", "mouthRight", "mouthShrugUpper"])
def test_shapes_without_an_action_unit(name):
    assert BLEND_SHAPES[name].action_units == ()


def test_both_eyes_looking_one_way_are_one_action_unit():
    assert BLEND_SHAPES["eyeLookInLeft"].action_units == BLEND_SHAPES["eyeLookOutRight"].action_units
    assert BLEND_SHAPES["eyeLookOutLeft"].action_units == BLEND_SHAPES["eyeLookInRight"].action_units
    assert BLEND_SHAPES["eyeLookInLeft"].action_units != BLEND_SHAPES["eyeLookOutLeft"].action_units


def test_regions_are_known_and_contrasts_have_their_own():
    assert {shape.region for shape in BLEND_SHAPES.values()} == set(REGIONS)
    assert region("mouthSmile") == region("mouthSmileLeft") == "mouth"
    assert region("smile - frown") == "contrast"


def test_gaze_and_blinks_are_set_apart():
    assert {name for name in BILATERAL_NAMES if name in SET_APART} == {
        "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp",
    }  # fmt: skip
    assert "eyeBlinkLeft" in SET_APART
    assert "eyeSquint" not in SET_APART


def _snake(name):
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


@pytest.mark.parametrize(
    "spell",
    [
        str,
        str.lower,
        str.upper,
        lambda name: name[0].upper() + name[1:],
        lambda name: f" {name} ",
        _snake,
        lambda name: name.replace("Left", "_L").replace("Right", "_R"),
        lambda name: name.lower().replace("left", "_l").replace("right", "_r"),
    ],
)
def test_every_spelling_of_every_name_is_found(spell):
    given = [spell(name) for name in NAMES]
    assert canonical_names(given) == dict(zip(given, NAMES, strict=True))


def test_other_columns_are_left_out():
    assert canonical_names(["_neutral", "HeadYaw", "Timecode", "", "_L", "mouthSmile", "L"]) == {}
