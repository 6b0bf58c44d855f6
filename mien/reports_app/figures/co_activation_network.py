"""The co-activation network, drawn on the face: which shapes move together, and which against each other.

A node lies where its shape moves the face; a shape with two sides has its node on one of them, where there is room,
unless the sides are shapes of their own. An edge joins two shapes whose correlation is beyond a least size with enough
posterior probability, and nothing else is drawn: thick = strong, dashed = negative. Nodes without edges are small
and grey. What is written in the nodes are groups.
"""

import hashlib
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from mien.reports_app.figures import face_geometry as geometry
from mien.reports_app.figures.face_style import signed
from mien.reports_app.figures.grouping import checked_groups, checked_square, labels_of_groups, picture
from mien.reports_app.figures.theme import INK, MUTED, NEGATIVE_INK, PAPER, POSITIVE_INK
from mien.study.blend_shapes import BLEND_SHAPES, NAMES, bilateral_name, members

__all__ = ["NODES", "Edge", "co_activation_network", "edges"]

# Where the nodes are, in units of the face (see face_geometry): on the shape's own patch, names clear of each other.
NODES: dict[str, tuple[float, float]] = {
    "browInnerUp": (0, 192), "browOuterUp": (132, 210), "browDown": (-22, 274),
    "eyeWide": (-84, 282), "eyeBlink": (134, 298), "eyeSquint": (-98, 366), "cheekSquint": (146, 386),
    "eyeLookUp": (82, 311), "eyeLookDown": (92, 348), "eyeLookIn": (-60, 328), "eyeLookOut": (-126, 326),
    "noseSneer": (40, 402), "cheekPuff": (184, 428), "mouthUpperUp": (-80, 446), "mouthSmile": (134, 456),
    "mouthDimple": (126, 535), "mouthStretch": (-160, 520), "mouthFrown": (-128, 590), "mouthLowerDown": (84, 632),
    "mouthShrugUpper": (0, 466), "mouthShrugLower": (2, 634), "mouthFunnel": (52, 490), "mouthPucker": (-56, 585),
    "mouthRollUpper": (-30, 512), "mouthRollLower": (36, 570), "mouthPress": (-76, 540), "mouthClose": (30, 533),
    "tongueOut": (-14, 549), "mouthLeft": (216, 540), "mouthRight": (-216, 540), "jawOpen": (-112, 656),
    "jawForward": (0, 670), "jawLeft": (192, 650), "jawRight": (-192, 650),
}  # fmt: skip

SCALE, LEFT, TOP, BOTTOM = 1.75, -274.0, 136.0, 732.0  # px a unit; units
KEY = 72.0  # px
NAME, SMALL_NAME, MANY = 14.5, 12.5, 36  # px; more shapes than MANY have small names
RADIUS, BARE_RADIUS, LONE_RADIUS = 10.0, 7.0, 4.0  # px: with a group's letter, without, without edges
BENDS = (
    0.13,
    -0.13,
    0.2,
    -0.2,
    0.28,
    -0.28,
    0.06,
    -0.06,
    0.36,
    -0.36,
)  # of an edge's length, first choice first
CLEAR = 19.0  # px: no edge comes nearer to the node of a third shape
FACE = {"ears": "#f4f2ee", "head": "#f8f6f3", "hair": "#efece7", "eyes": "#fdfcfb", "mouth": "#ece6e0"}
FACE_LINE, LIP = "#d3ccc3", "#f3e9e3"


class Edge(NamedTuple):
    """Two shapes (places in the matrices) that move together, or against each other."""

    one: int
    other: int
    correlation: float
    probability: float


def edges(mean: np.ndarray, probability: np.ndarray, threshold: float) -> list[Edge]:
    """The pairs whose probability reaches `threshold`, weakest correlation first."""
    rows, columns = np.tril_indices(len(mean), -1)
    found = [
        Edge(int(i), int(j), float(mean[i, j]), float(probability[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if probability[i, j] >= threshold
    ]
    return sorted(found, key=lambda edge: abs(edge.correlation))


def co_activation_network(
    shapes: Sequence[str],
    mean: np.ndarray,
    probability: np.ndarray,
    *,
    least: float,
    threshold: float = 0.95,
    groups: Sequence[object] | np.ndarray | None = None,
    label: str,
) -> str:
    """The network as SVG.

    Parameters
    ----------
    shapes : any of the 34 bilateral names or of the 52, in the order of the matrices.
    mean : (shape, shape) posterior mean correlations, −1 to 1.
    probability : (shape, shape) posterior probability that a correlation is beyond ± `least`.
    least : the size of a correlation that `probability` is about; said in the caption.
    threshold : least probability of an edge.
    groups : a short label a shape, in the order of the matrices, written into its node; a shape that is alone in its
        group has none.
    label : what a screen reader says instead of the picture.

    Raises
    ------
    ValueError
        For a name that has no place on the face, sizes that do not fit, or numbers that are none.
    """
    strangers = [name for name in shapes if name not in NODES and name not in NAMES]
    if strangers:
        raise ValueError(f"expected blend shapes, found {', '.join(strangers)}: leave them out.")
    correlations = checked_square("mean", mean, len(shapes), (-1, 1))
    drawn = edges(correlations, checked_square("probability", probability, len(shapes), (0, 1)), threshold)
    labels = labels_of_groups(checked_groups(groups, len(shapes))) or [""] * len(shapes)
    joined = {place for edge in drawn for place in (edge.one, edge.other)}
    places = np.array([_place(name) for name in shapes])
    width, height = -2 * LEFT * SCALE, (BOTTOM - TOP) * SCALE
    pairs = len(shapes) * (len(shapes) - 1) // 2
    body = [
        *_face(_prefix(label, drawn)),
        *([_sides()] if any(_has_side(name) for name in shapes) else []),
        *(_edge(edge, places, shapes) for edge in drawn),
        *(_node(name, places[i], labels[i], i in joined) for i, name in enumerate(shapes)),
        *_names(shapes, places, joined),
        *_key(_caption(len(drawn), pairs, least, threshold), height, drawn=bool(drawn), grouped=any(labels)),
    ]
    return picture("co-activation-network", width, height + KEY, label, body)


def _caption(count: int, pairs: int, least: float, threshold: float) -> str:
    condition = f"P(|r| > {least:g}) ≥ {threshold:g}"
    if count == 0:
        return f"No edge: none of the {pairs} pairs has {condition}."
    return f"{count} of {pairs} pairs joined: {condition}"


def _prefix(label: str, drawn: Sequence[Edge]) -> str:
    """Makes the ids of this picture its own in a page with several."""
    return "n" + hashlib.sha256(repr((label, drawn)).encode()).hexdigest()[:8]


def _has_side(name: str) -> bool:
    return name in NAMES and len(members(bilateral_name(name))) == 2


def _place(name: str) -> tuple[float, float]:
    """px; sides that are shapes of their own lie on their own side."""
    x, y = NODES[name if name in NODES else bilateral_name(name)]
    if _has_side(name):
        x = abs(x) if BLEND_SHAPES[name].side == "left" else -abs(x)
    return (x - LEFT) * SCALE, (y - TOP) * SCALE


def _face(prefix: str) -> list[str]:
    """A pale face, faded out above the brow where nothing moves."""
    below = {part: path for part, path in geometry.BELOW.items() if part in FACE}
    mouth = below.pop("mouth")
    patches = [
        f'<path d="{path}" fill="{colour}" stroke="{FACE_LINE}" stroke-width="0.8"/>'
        for path, colour in (
            *((path, FACE[part]) for part, path in below.items()), (geometry.LIPS, LIP), (mouth, FACE["mouth"]),
        )
    ]  # fmt: skip
    filled = [f'<path d="{path}" fill="#ddd7d0"/>' for path in geometry.ABOVE_FILLED.values()]
    lines = [
        f'<path d="{path}" fill="none" stroke="{FACE_LINE}" stroke-width="1.2" stroke-linecap="round"/>'
        for part, path in geometry.ABOVE_LINES.items()
        if part != "strands"
    ]
    area = f'x="{LEFT}" y="{TOP}" width="{-2 * LEFT}" height="{BOTTOM - TOP}"'
    fade = (
        f'<defs><linearGradient id="{prefix}-fade" x1="0" y1="0" x2="0" y2="1">'
        '<stop offset="0" stop-color="#000000"/><stop offset="0.16" stop-color="#ffffff"/></linearGradient>'
        f'<mask id="{prefix}-brow" maskUnits="userSpaceOnUse" {area}>'
        f'<rect {area} fill="url(#{prefix}-fade)"/></mask></defs>'
    )
    move = f"scale({SCALE}) translate({-LEFT} {-TOP})"
    return [
        fade,
        f'<g transform="{move}"><g mask="url(#{prefix}-brow)">',
        *patches,
        *filled,
        *lines,
        "</g></g>",
    ]


def _sides() -> str:
    right = -2 * LEFT * SCALE - 8
    return (
        f'<g fill="{MUTED}" font-size="14"><text x="8" y="20">person’s right</text>'
        f'<text x="{right:.0f}" y="20" text-anchor="end">person’s left</text></g>'
    )


def _edge(edge: Edge, places: np.ndarray, shapes: Sequence[str]) -> str:
    start, end = sorted((tuple(places[edge.one]), tuple(places[edge.other])))
    others = np.delete(places, [edge.one, edge.other], axis=0)
    x, y = _handle(np.array(start), np.array(end), others)
    tooltip = (
        f"{shapes[edge.one]}, {shapes[edge.other]} {signed(edge.correlation, 2)}, P = {edge.probability:.2f}"
    )
    return (
        f'<path class="edge" d="M{start[0]:.1f} {start[1]:.1f}Q{x:.1f} {y:.1f} {end[0]:.1f} {end[1]:.1f}" '
        f'fill="none" {_stroke(edge.correlation)}><title>{escape(tooltip)}</title></path>'
    )


def _handle(start: np.ndarray, end: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The handle of an arc that passes by the other nodes; rather away from the mouth, where most nodes are."""
    middle, across = (start + end) / 2, np.array([end[1] - start[1], start[0] - end[0]])
    mouth = (np.array([0.0, 535.0]) - (LEFT, TOP)) * SCALE
    away = 1 if float((middle - mouth) @ across) >= 0 else -1
    t = np.linspace(0.05, 0.95, 19)[:, None]
    best, widest = middle, -1.0
    for bend in BENDS:
        handle = middle + away * bend * across
        arc = (1 - t) ** 2 * start + 2 * t * (1 - t) * handle + t**2 * end
        clear = float(np.linalg.norm(arc[:, None] - others, axis=2).min(initial=CLEAR))
        if clear >= CLEAR:
            return handle
        if clear > widest:
            best, widest = handle, clear
    return best


def _stroke(correlation: float) -> str:
    size = abs(correlation)
    colour, dashes = (
        (POSITIVE_INK, "") if correlation > 0 else (NEGATIVE_INK, f' stroke-dasharray="{5 + 4 * size:.1f} 4"')
    )
    return f'stroke="{colour}" stroke-width="{0.8 + 8.5 * size:.1f}" stroke-opacity="0.72"{dashes}'


def _node(name: str, at: np.ndarray, group: str, joined: bool) -> str:
    tooltip = f"{name}: {group}" if group else name
    return f'<g class="node"><title>{escape(tooltip)}</title>{_circle(at, group, joined)}</g>'


def _circle(at: np.ndarray, group: str, joined: bool) -> str:
    x, y = at
    radius = (RADIUS if group else BARE_RADIUS) if joined else LONE_RADIUS
    centre = f'x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle"'
    inside = f'<text {centre} font-weight="600" font-size="11.5">{escape(group)}</text>'
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{PAPER}" stroke="{INK if joined else MUTED}" '
        f'stroke-width="1.6"/>{inside if group and joined else ""}'
    )


def _names(shapes: Sequence[str], places: np.ndarray, joined: set[int]) -> list[str]:
    """Every name below its node, with a rim so that edges do not cut it; sides are told by the place."""
    size = NAME if len(shapes) <= MANY else SMALL_NAME
    texts = []
    for i, (name, (x, y)) in enumerate(zip(shapes, places, strict=True)):
        down = (RADIUS if i in joined else LONE_RADIUS) + size * 0.95
        at = f'x="{x:.1f}" y="{y + down:.1f}" text-anchor="middle"'
        text = escape(bilateral_name(name) if _has_side(name) else name)
        texts.append(f'<text {at} fill="{INK if i in joined else MUTED}">{text}</text>')
    rim = f'stroke="{PAPER}" stroke-width="3.4" stroke-linejoin="round" stroke-opacity="0.85" paint-order="stroke"'
    return [f'<g font-size="{size}" {rim}>', *texts, "</g>"]


def _key(caption: str, top: float, *, drawn: bool, grouped: bool) -> list[str]:
    """How many edges there are and why, then what lines and circles mean."""
    middle = -LEFT * SCALE
    parts = [
        f'<text x="{middle:.1f}" y="{top + 22:.1f}" text-anchor="middle" font-size="15">{escape(caption)}</text>'
    ]
    if not drawn:
        return parts
    x, y = middle - (418 if grouped else 378), top + 54
    parts.append(f'<text x="{x:.1f}" y="{y:.1f}">correlation</text>')
    x += 96
    for value in (0.2, 0.4, 0.6, -0.2, -0.4, -0.6):
        text = f"{value:+.1f}".replace("0.", ".").replace("-", "−")
        parts.append(f'<path d="M{x:.1f} {y - 5:.1f}h42" fill="none" {_stroke(value)}/>')
        parts.append(f'<text x="{x + 49:.1f}" y="{y:.1f}">{text}</text>')
        x += 92
    for wanted, joined, group, text in ((grouped, True, "A", "group"), (True, False, "", "no edge")):
        if wanted:
            parts.append(_circle(np.array([x + 10, y - 5]), group, joined))
            parts.append(f'<text x="{x + 26:.1f}" y="{y:.1f}">{text}</text>')
            x += 80
    return ['<g font-size="14">', *parts, "</g>"]
