"""Names beside the face: the largest values, each with a line to its place."""

from collections.abc import Mapping
from html import escape

from mien.reports_app.figures import face_geometry as geometry
from mien.reports_app.figures.face_style import INK, LABEL_MARGIN, signed
from mien.study.blend_shapes import BLEND_SHAPES, NAMES, bilateral_name

__all__ = ["label_margin", "labels_beside"]

LETTER = 10.6  # px of one letter of a label, about
AT, EDGE = 270, 300  # px from the middle: where labels begin, where the picture without them ends


def labels_beside(
    values: Mapping[str, float],
    sure: Mapping[str, float],
    names: Mapping[str, str],
    count: int,
    *,
    p_given: bool,
) -> list[str]:
    """The largest values named beside the face, with a line to the place."""
    texts = []
    for side, group in _columns(_chosen(values, sure, count, p_given=p_given)).items():
        for (name, (x, y)), at in zip(group, _spread([y for _, (_, y) in group]), strict=True):
            line = f"{side * 262},{at:.0f} {side * 248},{at:.0f} {x:.0f},{y:.0f}"
            texts.append(
                f'<polyline points="{line}" fill="none" stroke="#ffffff" stroke-width="4" stroke-opacity="0.7"/>'
                f'<polyline points="{line}" fill="none" stroke="{INK}" stroke-width="1.3"/>'
                f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3.4" stroke="#ffffff"/>'
                f'<text x="{side * AT}" y="{at + 1:.0f}" text-anchor="{"start" if side > 0 else "end"}">'
                f"{escape(names.get(name, name))}"
                f'<tspan x="{side * AT}" dy="23" font-weight="600">{signed(values[name], 2)}</tspan></text>'
            )
    return ['<g class="face-labels" pointer-events="none">', *texts, "</g>"] if texts else []


def label_margin(
    values: Mapping[str, float],
    sure: Mapping[str, float],
    names: Mapping[str, str],
    count: int,
    *,
    p_given: bool,
) -> int:
    """Room beside the face that the longest of its labels takes, px; at least LABEL_MARGIN."""
    chosen = _chosen(values, sure, count, p_given=p_given)
    longest = max((len(names.get(name, name)) for name in chosen), default=0)
    return max(LABEL_MARGIN, round(LETTER * longest) - (EDGE - AT))


def _chosen(
    values: Mapping[str, float], sure: Mapping[str, float], count: int, *, p_given: bool
) -> list[str]:
    flagged = [name for name in values if not p_given or sure.get(name, 0) >= 0.95]
    return sorted(flagged, key=lambda name: -abs(values[name]))[:count]


def _columns(names: list[str]) -> dict[int, list[tuple[str, tuple[float, float]]]]:
    """Which names go to the reader's left (-1) and right (1), each from the top down."""
    columns: dict[int, list[tuple[str, tuple[float, float]]]] = {-1: [], 1: []}
    for name in sorted(names, key=lambda name: _anchor(name)[1]):
        x, y = _anchor(name)
        fixed = name in NAMES and x != 0
        fewer = 1 if len(columns[1]) <= len(columns[-1]) else -1
        side = (1 if x > 0 else -1) if fixed else fewer
        columns[side].append((name, (x if fixed else side * abs(x), y)))
    return columns


def _anchor(name: str) -> tuple[float, float]:
    x, y = geometry.ANCHORS[bilateral_name(name) if name in NAMES else name]
    return (-x if name in NAMES and BLEND_SHAPES[name].side == "right" else x), y


def _spread(wanted: list[float], gap: float = 62.0, top: float = 40.0, bottom: float = 740.0) -> list[float]:
    """Heights as near the wanted (increasing) ones as `gap` allows."""
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, placed[-1] + gap if placed else top))
    for i in range(len(placed) - 1, -1, -1):
        ceiling = bottom if i == len(placed) - 1 else placed[i + 1] - gap
        placed[i] = min(placed[i], ceiling)
    return placed
