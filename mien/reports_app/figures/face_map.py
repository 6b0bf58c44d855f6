"""The face map: one value for every blend shape, painted where the shape moves the face.

Colour is the value, on one scale symmetric around zero; hatching marks what is negative, so that the picture reads
in grey; the outline is how sure the direction is: P(direction) ≥ .99 thick, ≥ .95 medium, else thin. Every shape is
one <path> with a `data-shape` attribute and a <title> that a pointer shows. The face looks at the reader: the
person's left is on the reader's right.
"""

import hashlib
import math
from collections.abc import Mapping
from html import escape

from mien.reports_app.figures import face_geometry as geometry
from mien.reports_app.figures.colour import diverging, nice_limit
from mien.reports_app.figures.face_labels import label_margin, labels_beside
from mien.reports_app.figures.face_legend import ENGLISH, LegendWords, legend
from mien.reports_app.figures.face_style import (
    FILLS,
    HEIGHT,
    INK,
    LEGEND_HEIGHT,
    LINE,
    NOT_ESTIMATED,
    OUTLINES,
    SHADE,
    ZERO,
    Outline,
    Scale,
    hatching,
    signed,
)  # fmt: skip
from mien.reports_app.figures.theme import FONT
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, members

__all__ = ["face_map_svg"]


def face_map_svg(  # noqa: PLR0913  (what a picture needs, by name)
    values: Mapping[str, float],
    *,
    units: str,
    title: str,
    p_direction: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    names: Mapping[str, str] | None = None,
    sides: str = "mean",
    limit: float | None = None,
    labels: int = 0,
    margins: bool = True,
    outline: str = "P(direction)",
    words: LegendWords = ENGLISH,
) -> str:
    """The face map as one self-contained SVG.

    Parameters
    ----------
    values : shape → value, in `units`: any of the 34 bilateral names (`sides="mean"`, `"asymmetry"`) or of the 52
        (`"both"`). A shape without a value, or with NaN, is drawn grey and called "not estimated".
    p_direction : shape → posterior probability of the value's sign, 0.5-1; without it all outlines are alike.
    intervals : shape → (lower, upper) in `units`, for the tooltip.
    names : shape → what to call it in labels; by default the blend shape's own name.
    sides : "mean" paints both sides, "both" each side its own, "asymmetry" (left − right) the person's left.
    limit : end of the scale in `units`; by default the largest size, rounded up.
    labels : how many of the largest values to name beside the face (those with P ≥ .95 where P is given).

    margins : room for the labels beside the face; without, they hang over the picture's edge, for a page that
        gives them room and hides them (class "face-labels") where it has none.
    outline : what `p_direction` is the probability of, where it is not the sign; a short name for the legend.
    words : of the legend, in the reader's language.

    Raises
    ------
    ValueError
        For a name that has no place on the face, or an unknown `sides`.
    """
    drawn = _shapes(sides)
    strangers = sorted(set(values) - set(drawn))
    if strangers:
        raise ValueError(
            f"expected blend shapes for sides={sides!r}, found {', '.join(strangers)}: leave them out."
        )
    known = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    largest = max(map(abs, known.values()), default=0.0)
    scale = Scale(limit or nice_limit(largest), _prefix(title, units, known))
    sure = dict(p_direction or {})
    paths = [
        _shape(name, sides, scale, known.get(name), sure.get(name), (intervals or {}).get(name))
        for name in drawn
    ]
    margin = (
        label_margin(known, sure, names or {}, labels, p_given=p_direction is not None)
        if labels and margins
        else 0
    )
    body = [
        *_defs(scale, known),
        *(_feature(part, path, scale) for part, path in geometry.BELOW.items()),
        *(text for _, text in sorted(paths, key=lambda pair: pair[0])),
        *_features_above(),
        *labels_beside(known, sure, names or {}, labels, p_given=p_direction is not None),
        *legend(
            scale,
            units,
            p_given=p_direction is not None,
            missing=len(known) < len(drawn),
            outline=outline,
            words=words,
        ),
    ]
    box = f"{-300 - margin} 0 {600 + 2 * margin} {HEIGHT + LEGEND_HEIGHT}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="face-map" viewBox="{box}" role="img" '
        f'aria-label="{escape(title)}" font-family="{FONT}" font-size="20" fill="{INK}">'
        + "".join(body)
        + "</svg>"
    )


def _shapes(sides: str) -> tuple[str, ...]:
    if sides not in ("mean", "both", "asymmetry"):
        raise ValueError(f'expected sides "mean", "both" or "asymmetry", found {sides!r}.')
    return NAMES if sides == "both" else BILATERAL_NAMES


def _prefix(title: str, units: str, values: Mapping[str, float]) -> str:
    return "f" + hashlib.sha256(repr((title, units, sorted(values.items()))).encode()).hexdigest()[:8]


# --- shapes -----------------------------------------------------------------------------------------------------


def _outline(p_direction: float | None) -> Outline:
    return next(kind for kind in OUTLINES if (p_direction or 0.0) >= kind.at_least)


def _path(name: str, sides: str) -> str:
    if sides == "asymmetry" and len(members(name)) == 2:
        return geometry.PLACES[name].path
    return geometry.path_of(name)


def _shape(
    name: str,
    sides: str,
    scale: Scale,
    value: float | None,
    p_direction: float | None,
    interval: tuple[float, float] | None,
) -> tuple[float, str]:
    """(drawing order, the <path>): what is surer comes later and lies on top."""
    outline = _outline(None if value is None else p_direction)
    dashes = ' stroke-dasharray="4 4"' if value is None else ""
    tooltip = _tooltip(name, value, p_direction, interval)
    attributes = "" if value is None else f' data-value="{value:.6g}"'
    return outline.width, (
        f'<path data-shape="{name}"{attributes} d="{_path(name, sides)}" fill="{_fill(name, value, scale)}" '
        f'fill-rule="evenodd" stroke="{outline.colour}" stroke-width="{outline.width}" stroke-linejoin="round"{dashes}>'
        f"<title>{escape(tooltip)}</title></path>"
    )


def _fill(name: str, value: float | None, scale: Scale) -> str:
    if value is None:
        return NOT_ESTIMATED
    position = scale.position(value)
    return diverging(position) if position > -ZERO else f"url(#{scale.prefix}-{name})"


def _tooltip(
    name: str, value: float | None, p_direction: float | None, interval: tuple[float, float] | None
) -> str:
    """`mouthSmile +0.041 (0.02 to 0.06), P = 0.99`."""
    if value is None:
        return f"{name}: not estimated"
    text = f"{name} {signed(value, 2)}"
    if interval:
        text += f" ({interval[0]:.2g} to {interval[1]:.2g})".replace("-", "−")
    if p_direction is None:
        return text
    return text + (", P > 0.99" if p_direction >= 0.995 else f", P = {p_direction:.2f}")


def _defs(scale: Scale, values: Mapping[str, float]) -> list[str]:
    """One hatched fill for each negative value, and the plain hatching of the legend."""
    hatched = [
        hatching(f"{scale.prefix}-{name}", scale.position(value))
        for name, value in values.items()
        if scale.position(value) <= -ZERO
    ]
    fade = (
        f'<linearGradient id="{scale.prefix}-fade" x1="0" y1="0" x2="0" y2="1">'
        f'<stop offset="0.5" stop-color="{SHADE}"/>'
        f'<stop offset="1" stop-color="{SHADE}" stop-opacity="0"/></linearGradient>'
    )
    return ["<defs>", *hatched, fade, "</defs>"]


# --- the face ---------------------------------------------------------------------------------------------------


def _feature(part: str, path: str, scale: Scale) -> str:
    if part == "neck":
        return f'<path d="{path}" fill="url(#{scale.prefix}-fade)"/>'
    return f'<path d="{path}" fill="{FILLS[part]}" stroke="{LINE}" stroke-width="1.4" stroke-opacity="0.7"/>'


def _features_above() -> list[str]:
    filled = [f'<path d="{path}" fill="{LINE}"/>' for path in geometry.ABOVE_FILLED.values()]
    widths = {"lashes": 4.0, "iris": 1.6, "strands": 1.4}
    lines = [
        f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="{widths.get(part, 2.2)}" stroke-linecap="round"/>'
        for part, path in geometry.ABOVE_LINES.items()
    ]
    return ['<g pointer-events="none">', *filled, *lines, "</g>"]
