"""Where each blend shape lies on the face: our own drawing, in points.

The face looks at the reader: the person's left is on the reader's right. Coordinates are SVG units, midline x = 0,
y down; 600 units are the picture's width. Shapes with two sides are given for the reader's right and mirrored.
Places follow the muscle or the skin that the shape moves (general anatomical knowledge, a *convention*, as the
action units are): zygomaticus for the smile, mentalis for the lower shrug, and so on. Movements without a surface of
their own are drawn as what they do: gaze as the four sectors of the iris, jaw and mouth to the side as arrows, the
jaw coming forward as a disc with a ring.
"""

from typing import NamedTuple

from mien.reports_app.figures import curves
from mien.reports_app.figures.curves import Point, arrow, closed, disc, opened, ring_sector, symmetric
from mien.study.blend_shapes import BILATERAL_NAMES, BLEND_SHAPES, bilateral_name, members

__all__ = ["ABOVE_FILLED", "ABOVE_LINES", "ANCHORS", "BELOW", "LIPS", "PLACES", "Place", "path_of"]

EYE = (92.0, 328.0)
IRIS = (9.0, 25.0)  # the pupil's radius and the iris'


class Place(NamedTuple):
    """A shape's path (the reader's right half where it has two sides) and the point that a label leads to."""

    path: str
    anchor: tuple[float, float]


def _both(path: str) -> str:
    return path + curves.mirrored(path)


# The eye's opening: inner corner, along the upper lid to the outer corner, back along the lower lid.
_UPPER_LID: list[Point] = [(-60, 9), (-42, -9), (-20, -21), (6, -24), (32, -18), (50, -5), (60, 3)]
_LOWER_LID: list[Point] = [(-60, 9), (-40, 19), (-14, 25), (12, 25), (36, 18), (52, 9), (60, 3)]


def _sharp(points: list[Point]) -> list[Point]:
    return [(*points[0][:2], "corner"), *points[1:-1], (*points[-1][:2], "corner")]


def _at_eye(points: list[Point], *, out: float) -> list[Point]:
    """Points of a lid moved to the eye and `out` units away from its centre, less so at the corners."""
    moved: list[Point] = []
    for x, y in (point[:2] for point in points):
        share = 1 - (abs(x) / 60) ** 2 * 0.75
        up = 1 if points is _LOWER_LID else -1
        moved.append((EYE[0] + x * (1 + out / 220), EYE[1] + y + up * out * share))
    return moved


def _lid(lid: list[Point], near: float, far: float) -> str:
    """A crescent along a lid between two distances from the eye's opening."""
    return closed([*_sharp(_at_eye(lid, out=near)), *reversed(_sharp(_at_eye(lid, out=far)))])


def _gaze(first: float) -> str:
    return ring_sector(EYE, IRIS, (first + 5, first + 85))


# The lips: outer and inner contours of the right half, from the middle to the corner.
_LIP_TOP: list[Point] = [(0, 508), (18, 502), (44, 508), (68, 521), (86, 537)]
_LIP_BOTTOM: list[Point] = [(0, 583), (28, 581), (52, 573), (72, 556), (86, 537)]


def _lips(grow: float) -> list[Point]:
    """The right half of the lips' outer contour, `grow` units outside, from the top middle to the bottom."""
    top = [(x * (1 + grow / 90), y - grow) for x, y in (point[:2] for point in _LIP_TOP[:-1])]
    bottom = [(x * (1 + grow / 90), y + grow) for x, y in (point[:2] for point in _LIP_BOTTOM[:-1])]
    return [*top, (86 + grow, 537), *reversed(bottom)]


def _ring(inner: float, outer: float) -> str:
    """The ring around the mouth between two distances from the lips."""
    return symmetric(_lips(outer)) + symmetric(_lips(inner))


LIPS = symmetric(_lips(0))

OPENING: list[Point] = [
    (0, 529), (16, 527), (44, 529), (70, 534), (84, 537, "corner"), (66, 544), (40, 550), (0, 553),
]  # fmt: skip

PLACES: dict[str, Place] = {
    "browInnerUp": Place(symmetric([
        (0, 166), (30, 166), (56, 178), (58, 214), (48, 240), (24, 244), (0, 238),
    ]), (0, 202)),
    "browOuterUp": Place(closed([
        (64, 178), (104, 176), (144, 192), (174, 226), (182, 258), (160, 244), (120, 232), (82, 234),
        (57, 240), (64, 214),
    ]), (122, 208)),
    "browDown": Place(closed([
        (6, 252), (22, 252), (35, 260), (37, 280), (26, 300), (15, 324), (6, 320),
    ]), (19, 280)),
    "eyeWide": Place(_lid(_UPPER_LID, 21, 37), (92, 272)),
    "eyeBlink": Place(_lid(_UPPER_LID, 3, 17), (92, 288)),
    "eyeSquint": Place(_lid(_LOWER_LID, 4, 19), (92, 366)),
    "cheekSquint": Place(closed([
        (40, 366), (62, 378), (96, 384), (132, 374), (160, 346), (176, 326), (188, 344), (176, 380),
        (148, 404), (108, 414), (74, 406), (48, 390),
    ]), (150, 380)),
    "eyeLookUp": Place(_gaze(45), (92, 309)),
    "eyeLookIn": Place(_gaze(135), (73, 328)),
    "eyeLookDown": Place(_gaze(225), (92, 347)),
    "eyeLookOut": Place(_gaze(315), (111, 328)),
    "noseSneer": Place(closed([
        (18, 350), (28, 360), (38, 388), (56, 414), (62, 438), (52, 430), (40, 416), (27, 404),
        (20, 382),
    ]), (34, 390)),
    "cheekPuff": Place(_both(closed([
        (182, 388), (196, 380), (194, 424), (184, 470), (170, 500), (146, 506), (134, 500), (150, 464),
        (166, 430),
    ])), (166, 470)),
    "mouthUpperUp": Place(closed([
        (66, 414), (92, 420), (110, 420), (100, 446), (84, 472), (69, 482), (51, 474), (58, 458),
        (66, 440),
    ]), (78, 452)),
    "mouthSmile": Place(closed([
        (124, 418), (148, 412), (168, 398), (172, 406), (158, 438), (136, 480), (124, 502), (108, 500),
        (92, 490), (106, 458),
    ]), (134, 456)),
    "mouthDimple": Place(closed([
        (116, 512), (130, 514), (138, 532), (132, 552), (116, 560), (114, 536),
    ]), (125, 534)),
    "mouthStretch": Place(closed([
        (140, 516), (158, 514), (176, 502), (174, 524), (164, 552), (146, 556), (144, 536),
    ]), (158, 532)),
    "mouthFrown": Place(closed([
        (114, 570), (132, 560), (150, 562), (154, 578), (134, 612), (112, 636), (104, 618), (106, 592),
    ]), (124, 594)),
    "mouthLowerDown": Place(closed([
        (48, 616), (70, 608), (94, 594), (98, 614), (104, 638), (84, 656), (60, 668), (50, 646),
    ]), (74, 632)),
    "mouthShrugUpper": Place(symmetric([
        (0, 458), (18, 459), (38, 457), (43, 468), (38, 480), (16, 476), (0, 481),
    ]), (0, 466)),
    "mouthShrugLower": Place(symmetric([
        (0, 616), (26, 616), (42, 618), (45, 642), (36, 654), (0, 656),
    ]), (0, 636)),
    "mouthFunnel": Place(_ring(15, 26), (0, 606)),
    "mouthPucker": Place(_ring(3, 13), (0, 594)),
    "mouthRollUpper": Place(symmetric([
        (0, 509, "corner"), (18, 503), (38, 506), (52, 512, "corner"), (52, 528, "corner"), (36, 527),
        (16, 525), (0, 527),
    ]), (0, 514)),
    "mouthRollLower": Place(symmetric([
        (0, 555), (30, 553), (52, 549, "corner"), (52, 572, "corner"), (28, 580), (0, 582),
    ]), (0, 572)),
    "mouthPress": Place(closed([
        (56, 514, "corner"), (71, 523), (86, 537, "corner"), (74, 553), (56, 569, "corner"),
        (56, 548, "corner"), (72, 542), (82, 537, "corner"), (70, 533), (56, 529, "corner"),
    ]), (76, 526)),
    "mouthClose": Place(symmetric([
        (0, 531), (18, 529), (42, 531), (60, 535, "corner"), (40, 538), (18, 539), (0, 539),
    ]), (0, 533)),
    "tongueOut": Place(symmetric([(0, 542), (22, 542), (36, 546), (22, 551), (0, 552)]), (0, 547)),
    "mouthLeft": Place(arrow((196, 540), (242, 540), width=15, head=34), (216, 540)),
    "mouthRight": Place(arrow((-196, 540), (-242, 540), width=15, head=34), (-216, 540)),
    "jawOpen": Place(symmetric([
        (0, 684), (40, 680), (92, 656), (138, 616), (162, 576), (168, 580), (150, 622), (104, 674),
        (52, 704), (0, 710),
    ]), (110, 656)),
    "jawForward": Place(disc((0, 670), 10), (0, 670)),
    "jawLeft": Place(arrow((172, 650), (218, 650), width=15, head=34), (192, 650)),
    "jawRight": Place(arrow((-172, 650), (-218, 650), width=15, head=34), (-192, 650)),
}  # fmt: skip

ANCHORS = {name: place.anchor for name, place in PLACES.items()}


def path_of(name: str) -> str:
    """The path of one of the 34 bilateral names (both sides) or of the 52 (one side)."""
    if name in BILATERAL_NAMES:
        path = PLACES[name].path
        return _both(path) if len(members(name)) == 2 else path
    path, side = PLACES[bilateral_name(name)].path, BLEND_SHAPES[name].side
    return path if side == "left" else curves.mirrored(path)


# What makes it a face. Below the shapes: neck, ears, head, the eyes' white, the open mouth.
_HEAD: list[Point] = [
    (0, 44), (84, 52), (154, 94), (194, 166), (208, 250), (206, 340), (197, 430), (180, 520), (152, 604),
    (106, 674), (54, 709), (0, 716),
]  # fmt: skip
_HAIR: list[Point] = [
    (-213, 322), (-226, 270), (-226, 196), (-204, 118), (-150, 52), (-72, 16), (20, 8), (104, 22),
    (170, 68), (212, 136),
    (227, 214), (225, 280), (213, 322), (207, 276), (200, 232), (186, 192), (160, 160), (128, 138), (96, 120),
    (60, 134), (0, 148), (-70, 154), (-130, 166), (-172, 190), (-194, 224), (-206, 276),
]  # fmt: skip
_STRANDS: list[list[Point]] = [
    [(96, 120), (88, 84), (60, 48)],
    [(60, 108), (10, 126), (-70, 134)],
    [(30, 84), (-50, 104), (-140, 128)],
    [(0, 56), (-80, 72), (-158, 108)],
    [(112, 106), (150, 126), (184, 160)],
    [(112, 74), (160, 98), (200, 150)],
]
_EAR: list[Point] = [
    (204, 312),
    (222, 298),
    (236, 308),
    (238, 340),
    (228, 372),
    (220, 398),
    (204, 408),
    (196, 390),
    (198, 340),
]
_NECK: list[Point] = [
    (0, 600), (118, 600), (116, 690), (122, 722), (150, 744), (214, 762), (268, 790, "corner"),
    (0, 790, "corner"),
]  # fmt: skip
_BROW: list[Point] = [
    (42, 259),
    (74, 249),
    (110, 244),
    (146, 252),
    (180, 278),
    (144, 263),
    (110, 256),
    (76, 261),
    (45, 271),
]
_OPEN_EYE: list[Point] = [
    *_sharp(_at_eye(_UPPER_LID, out=0)),
    *reversed(_sharp(_at_eye(_LOWER_LID, out=0))[1:-1]),
]

BELOW: dict[str, str] = {
    "neck": symmetric(_NECK),
    "ears": _both(closed(_EAR)),
    "head": symmetric(_HEAD),
    "hair": closed(_HAIR),
    "eyes": _both(closed(_OPEN_EYE)),
    "mouth": symmetric(OPENING),
}
ABOVE_FILLED: dict[str, str] = {
    "brows": _both(closed(_BROW)),
    "pupils": _both(disc(EYE, IRIS[0] - 2)),
    "nostrils": _both(closed([(9, 446), (18, 441), (27, 444), (19, 448)])),
}
ABOVE_LINES: dict[str, str] = {
    "lashes": _both(opened(_at_eye(_UPPER_LID, out=0))),
    "nose": _both(opened([(42, 420), (49, 432), (47, 446), (36, 450), (28, 445)]))
    + opened([(-14, 449), (-6, 454), (6, 454), (14, 449)]),
    "strands": "".join(opened(strand) for strand in _STRANDS),
    "iris": _both(disc(EYE, IRIS[1] + 0.6)),
    "ear folds": _both(opened([(210, 330), (222, 316), (228, 330), (222, 356), (212, 372)])),
}
