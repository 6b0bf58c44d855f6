"""One look for all figures, and the way from a chart to SVG and PNG.

Charts are Altair; vl-convert turns them into static SVG without a browser or a network. Fonts are the reader's own
(generic families), so nothing is loaded. The ink of a chart is one known colour, which a page may replace by its
own (`themed`): that is how charts follow a dark page.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "FONT",
    "GRID",
    "INK",
    "MUTED",
    "NEGATIVE_INK",
    "PAPER",
    "POSITIVE_INK",
    "placed",
    "themed",
    "to_png",
    "to_svg",
]

FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"
INK, MUTED, GRID, PAPER = "#21262b", "#5d666e", "#dfe2e4", "#ffffff"
POSITIVE_INK, NEGATIVE_INK = "#b8540f", "#2c78b8"  # the face map's scale at about two thirds


def _config() -> dict[str, Any]:
    text = {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    return {
        "font": "DejaVu Sans",  # what vl-convert measures with; `to_svg` writes FONT instead
        "background": "transparent",
        "view": {"stroke": None},
        "axis": {**text, "domainColor": MUTED, "tickColor": MUTED, "gridColor": GRID, "labelLimit": 220},
        "header": {**text, "labelFontWeight": "bold"},
        "legend": {**text, "symbolStrokeColor": INK},
        "text": {"color": INK},
    }


def to_svg(chart: Any, *, label: str) -> str:
    """An Altair chart as one static SVG that scales with its container.

    Parameters
    ----------
    label : what a screen reader says instead of the picture.
    """
    import vl_convert

    specification = {**chart.to_dict(), "config": _config()}
    svg = str(vl_convert.vegalite_to_svg(json.dumps(specification)))
    return accessible(svg.replace("DejaVu Sans", FONT.replace('"', "'")), label)


def accessible(svg: str, label: str) -> str:
    """The SVG as one image with a name, and without Vega's own roles, which name every mark."""
    import re
    from html import escape

    svg = re.sub(r' (aria-\w+|role)="[^"]*"', "", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def themed(svg: str) -> str:
    """The same SVG in the page's ink, ground, grid and muted colours (CSS variables)."""
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid"), (PAPER, "ground")):
        svg = svg.replace(f'"{colour}"', f'"var(--{variable}, {colour})"')
    return svg


def placed(chart: Any, *, label: str) -> "Markup":
    """An Altair chart as markup in the page's colours, which templates and the app place as it is."""
    from markupsafe import Markup

    return Markup(themed(to_svg(chart, label=label)))  # noqa: S704 - made here; texts in it are escaped


def to_png(svg: str, *, width: int) -> bytes:
    """A figure's SVG as PNG, `width` pixels wide, on white."""
    import re

    import vl_convert

    box = re.search(r'viewBox="(\S+) (\S+) (\S+) (\S+)"', svg)
    if box is None:
        raise ValueError("expected an SVG with a viewBox: pass a figure made by mien.reports_app.figures.")
    x, y, wide, high = box.groups()
    ground = f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="#ffffff"/>'
    start = svg.index(">", svg.index("<svg")) + 1
    whole = f"{svg[:start]}{ground}{svg[start:]}"
    natural = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
    return vl_convert.svg_to_png(whole, scale=width / float(natural[1] if natural else wide))
