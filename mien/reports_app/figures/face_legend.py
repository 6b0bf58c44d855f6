"""The legend of the face map: whose left and right, the colour scale with its units, what the outlines mean."""

from html import escape
from typing import NamedTuple

from mien.reports_app.figures.colour import diverging
from mien.reports_app.figures.face_style import HEIGHT, NOT_ESTIMATED, OUTLINES, Scale, hatching

__all__ = ["ENGLISH", "LegendWords", "legend"]


class LegendWords(NamedTuple):
    """What the legend says. whose : whose left and right. below : of outlines, under the least probability named."""

    whose: str = "person’s"
    left: str = "left"
    right: str = "right"
    missing: str = "no value"
    below: str = "below"


ENGLISH = LegendWords()


def legend(
    scale: Scale, units: str, *, p_given: bool, missing: bool, outline: str, words: LegendWords = ENGLISH
) -> list[str]:
    """Sides, colour scale with units, what the outlines are the probability of."""
    whose, left, right = (escape(word) for word in (words.whose, words.left, words.right))
    sides = (
        f'<g fill="#6b645c" font-size="19"><text x="-290" y="30">{whose}<tspan x="-290" dy="22">{right}</tspan></text>'
        f'<text x="290" y="30" text-anchor="end">{whose}<tspan x="290" dy="22">{left}</tspan></text></g>'
    )
    rows = [sides, *_colour_bar(scale, units, HEIGHT)]
    if p_given:
        rows.append(_outline_key(HEIGHT + 106, outline, words.below))
    if missing:
        x = 172 if p_given else -290
        rows.append(
            f'<rect x="{x}" y="{HEIGHT + 91}" width="26" height="18" rx="4" fill="{NOT_ESTIMATED}" stroke="#8d867e" '
            f'stroke-dasharray="4 4"/><text x="{x + 34}" y="{HEIGHT + 106}">{escape(words.missing)}</text>'
        )
    return rows


def _colour_bar(scale: Scale, units: str, top: float) -> list[str]:
    steps, half = 20, 280
    width = half / steps
    cells = []
    for i in range(-steps, steps):
        position, identity = (i + 0.5) / steps, f"{scale.prefix}-k{i + steps}"
        fill = f"url(#{identity})" if i < 0 else diverging(position)
        cells.append(hatching(identity, position) if i < 0 else "")
        cells.append(
            f'<rect x="{i * width:.1f}" y="{top + 24}" width="{width + 0.4:.1f}" height="18" fill="{fill}"/>'
        )
    ticks = (
        f'<text x="{share * half:.0f}" y="{top + 64}" text-anchor="{anchor}">{_tick(share * scale.limit)}</text>'
        for share, anchor in ((-1, "start"), (-0.5, "middle"), (0, "middle"), (0.5, "middle"), (1, "end"))
    )
    frame = f'<rect x="{-half}" y="{top + 24}" width="{2 * half}" height="18" fill="none" stroke="#8d867e"/>'
    return [f'<text x="0" y="{top + 14}" text-anchor="middle">{escape(units)}</text>', *cells, frame, *ticks]


def _outline_key(y: float, outline: str, below: str) -> str:
    parts, x = [f'<text x="-290" y="{y}">{escape(outline)}</text>'], -162.0
    for kind in OUTLINES:
        label = escape(kind.label if kind.at_least else below)
        parts.append(
            f'<rect x="{x:.0f}" y="{y - 15}" width="26" height="18" rx="4" fill="#ffffff" stroke="{kind.colour}" '
            f'stroke-width="{kind.width}"/><text x="{x + 36:.0f}" y="{y}">{label}</text>'
        )
        x += 112
    return "".join(parts)


def _tick(value: float) -> str:
    return "0" if value == 0 else f"{value:+.3g}".replace("-", "−")
