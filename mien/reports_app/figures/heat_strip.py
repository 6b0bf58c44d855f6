"""The heat strip: a whole recording in one small picture, shapes down, time across.

A column is the mean of the frames of a stretch of time, so that fifteen minutes fit in 300 columns; white is 0,
the darkest blue 1 (a square-root scale, because coefficients are mostly small). Where a shape was not tracked in
most of a stretch the cell is hatched; the line above the strip is the tracking: filled where frames were lost.
"""

from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.reports_app.figures.raster import data_uri, palette_png
from mien.reports_app.figures.theme import FONT, INK, MUTED
from mien.study.blend_shapes import BILATERAL_NAMES, REGIONS, members, region

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["HeatStrip", "heat_strip", "heat_strip_svg"]

SEQUENTIAL = ("#ffffff", "#dbe7ef", "#a9c6d8", "#6a9cb9", "#357494", "#144b66", "#06293a")
LEVELS = 64
HATCH = ("#c9a58f", "#f3e7df")  # what was not tracked: warm, so that it is never taken for a value
LOST_INK = "#a33b1f"
MOST = 0.5  # a cell is "not tracked" when more than this share of its frames is missing
ROWS_BY_REGION = tuple(name for part in REGIONS for name in BILATERAL_NAMES if region(name) == part)


class HeatStrip(NamedTuple):
    """A recording, thinned to columns of equal length in time."""

    values: np.ndarray  # (blend_shape, column), 0-1, NaN = not tracked
    lost: np.ndarray  # (column,), share of the expected frames that are missing or not tracked, 0-1
    blend_shapes: tuple[str, ...]
    duration: float  # s


def heat_strip(recording: "xr.Dataset", *, columns: int = 300) -> HeatStrip:
    """Thin a Recording to `columns` stretches of equal length; pairs of shapes are averaged.

    Parameters
    ----------
    recording : activation (time, blend_shape), 0-1; time in s.
    """
    time = recording["time"].to_numpy()
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    duration = float(time[-1]) + step
    columns = max(1, min(columns, len(time)))

    def column(at: np.ndarray) -> np.ndarray:
        return np.minimum((at / duration * columns).astype(int), columns - 1)

    activation, shapes = _bilateral(recording)
    tracked = np.isfinite(activation)
    sums, counts = np.zeros((columns, len(shapes))), np.zeros((columns, len(shapes)))
    seen, first = np.unique(column(time), return_index=True)
    sums[seen] = np.add.reduceat(np.where(tracked, activation, 0.0), first)
    counts[seen] = np.add.reduceat(tracked, first, dtype=np.float64)
    due = np.bincount(column(np.concatenate([time, _missing(time, step)])), minlength=columns)
    share = counts / np.maximum(due, 1)[:, None]
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    means[share < 1 - MOST] = np.nan
    return HeatStrip(means.T, 1 - share.max(axis=1), shapes, duration)


def _missing(time: np.ndarray, step: float) -> np.ndarray:
    """The times (s) at which frames are due but missing: holes of more than one and a half steps."""
    holes = np.maximum(np.rint(np.diff(time) / step).astype(int) - 1, 0)
    nth = (
        np.concatenate([np.arange(1, hole + 1) for hole in holes[holes > 0]]) if holes.any() else np.zeros(0)
    )
    return np.repeat(time[:-1], holes) + nth * step


def _bilateral(recording: "xr.Dataset") -> tuple[np.ndarray, tuple[str, ...]]:
    present = {str(name): i for i, name in enumerate(recording["blend_shape"].to_numpy())}
    shapes = tuple(name for name in ROWS_BY_REGION if any(side in present for side in members(name)))
    activation = recording["activation"].to_numpy()
    columns = [[present[side] for side in members(name) if side in present] for name in shapes]
    return np.stack([activation[:, pair].mean(axis=1) for pair in columns], axis=1), shapes


def heat_strip_svg(recording: "xr.Dataset", *, label: str, columns: int = 300, axes: bool = True) -> str:
    """The heat strip as SVG.

    Parameters
    ----------
    label : what a screen reader says instead of the picture; also drawn above it when there are axes.
    columns : how many stretches of time at most.
    axes : with the regions' names and a time axis; without, a thumbnail.
    """
    strip = heat_strip(recording, columns=columns)
    left, top = (78, 44) if axes else (0, 0)
    width, row = (720, 9) if axes else (300, 1.7)
    height = row * len(strip.blend_shapes)
    bar = 10 if axes else 5
    body = [
        _lost_line(strip, left, top, width, bar),
        f'<image x="{left}" y="{top + bar + 2}" width="{width}" height="{height:.1f}" preserveAspectRatio="none" '
        f'image-rendering="pixelated" href="{data_uri(_png(strip))}"/>',
        f'<rect x="{left}" y="{top + bar + 2}" width="{width}" height="{height:.1f}" fill="none" stroke="{MUTED}" '
        f'stroke-width="{0.8 if axes else 0.5}"/>',
    ]
    total_height = top + bar + 4 + height
    if axes:
        body += [f'<text x="{left}" y="16" font-size="14">{escape(label)}</text>']
        body += [*_regions(strip, top + bar + 2, row), *_times(strip, left, width, top + bar + 2 + height)]
        body += _key(left, width)
        total_height += 40
    total_width = left + width + (12 if axes else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="heat-strip" viewBox="0 0 {total_width} {total_height:.1f}" '
        f'role="img" aria-label="{escape(label)}" font-family="{FONT}" font-size="12" fill="{INK}">'
        + "".join(body)
        + "</svg>"
    )


def _png(strip: HeatStrip) -> bytes:
    from mien.reports_app.figures.colour import sequential

    palette = [sequential(SEQUENTIAL, i / (LEVELS - 1)) for i in range(LEVELS)] + list(HATCH)
    level = np.rint(np.sqrt(np.clip(np.nan_to_num(strip.values), 0, 1)) * (LEVELS - 1)).astype(np.uint8)
    stripes = LEVELS + np.add.outer(np.arange(level.shape[0]), np.arange(level.shape[1])) // 2 % 2
    return palette_png(np.where(np.isnan(strip.values), stripes, level), palette)


def _lost_line(strip: HeatStrip, left: float, top: float, width: float, high: float) -> str:
    """The line above the strip: as tall as the share of frames lost, so that short losses are seen too."""
    step = width / len(strip.lost)
    marks = "".join(
        f'<rect x="{left + i * step:.1f}" y="{top}" width="{max(step, 1.5):.1f}" height="{high}"/>'
        for i in np.flatnonzero(strip.lost > 0)
    )
    ground = f'<rect x="{left}" y="{top}" width="{width}" height="{high}" fill="#eef1f2"/>'
    return f'{ground}<g fill="{LOST_INK}">{marks}</g>'


def _regions(strip: HeatStrip, top: float, row: float) -> list[str]:
    texts, parts = [], [region(name) for name in strip.blend_shapes]
    for part in dict.fromkeys(parts):
        first, count = parts.index(part), parts.count(part)
        middle = top + (first + count / 2) * row
        texts.append(f'<text x="70" y="{middle + 4:.1f}" text-anchor="end">{part}</text>')
        if first:
            line = top + first * row
            texts.append(f'<path d="M74 {line:.1f}h724" stroke="{MUTED}" stroke-width="0.6"/>')
    return texts


def _times(strip: HeatStrip, left: float, width: float, bottom: float) -> list[str]:
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
    step = next((s for s in steps if strip.duration / s <= 9), 7200)
    texts = []
    for second in range(0, int(strip.duration) + 1, step):
        x = left + width * second / strip.duration
        text = f"{second // 60}:{second % 60:02d}"
        texts.append(f'<path d="M{x:.1f} {bottom}v5" stroke="{MUTED}"/>')
        texts.append(f'<text x="{x:.1f}" y="{bottom + 19:.1f}" text-anchor="middle">{text}</text>')
    texts.append(
        f'<text x="{left + width}" y="{bottom + 34:.1f}" text-anchor="end" fill="{MUTED}">minutes:seconds</text>'
    )
    return texts


def _key(left: float, width: float) -> list[str]:
    from mien.reports_app.figures.colour import sequential

    x, y = left + width - 330, 26
    cells = [
        f'<rect x="{x + 4 * i}" y="{y}" width="4.4" height="10" fill="{sequential(SEQUENTIAL, i / 19)}"/>'
        for i in range(20)
    ]
    return [
        f'<text x="{x - 6}" y="{y + 10}" text-anchor="end">activation 0</text>', *cells,
        f'<rect x="{x}" y="{y}" width="80.4" height="10" fill="none" stroke="{MUTED}" stroke-width="0.6"/>',
        f'<text x="{x + 86}" y="{y + 10}">1</text>',
        f'<rect x="{x + 112}" y="{y}" width="12" height="10" fill="{LOST_INK}"/>',
        f'<text x="{x + 130}" y="{y + 10}">frames lost</text>',
        f'<rect x="{x + 214}" y="{y}" width="12" height="10" fill="{HATCH[0]}"/>',
        f'<text x="{x + 232}" y="{y + 10}">not tracked</text>',
    ]  # fmt: skip
