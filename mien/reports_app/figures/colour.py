"""One diverging colour scale: blue below zero, near-white at zero, orange-brown above.

Interpolated in OKLab, so that lightness falls evenly from zero to either end and both ends are equally dark: the
size of a value reads in grey too (the sign does not, which is why figures hatch what is negative). Blue and orange
stay apart in all common forms of colour blindness.

The matrices below are the usual constants of OKLab: a convention, no publication was read for them.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["NEGATIVE", "NEUTRAL", "POSITIVE", "diverging", "lightness", "nice_limit", "sequential"]

NEUTRAL = "#fbfaf7"
NEGATIVE = ("#8fc0e6", "#2c78b8", "#0d3f73")  # one, two and three thirds of the way
POSITIVE = ("#f6b26f", "#c9621a", "#70320a")

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _oklab(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return _TO_LAB @ np.cbrt(_TO_LMS @ linear)


def _hex(lab: np.ndarray) -> str:
    linear = np.clip(np.linalg.solve(_TO_LMS, np.linalg.solve(_TO_LAB, lab) ** 3), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in srgb)


def lightness(colour: str) -> float:
    """OKLab lightness of "#rrggbb": 0 black, 1 white."""
    return float(_oklab(colour)[0])


def diverging(position: float) -> str:
    """The colour at `position` of the scale, -1 to 1 (beyond is drawn as the end): "#rrggbb"."""
    side = NEGATIVE if position < 0 else POSITIVE
    stops = np.array([_oklab(colour) for colour in (NEUTRAL, *side)])
    # Hue and chroma follow the anchors, lightness falls in a straight line shared by both sides.
    end = (lightness(NEGATIVE[-1]) + lightness(POSITIVE[-1])) / 2
    distance = min(abs(position), 1.0)
    knots = np.linspace(0, 1, len(stops))
    a, b = (float(np.interp(distance, knots, stops[:, axis])) for axis in (1, 2))
    level = stops[0, 0] + (end - stops[0, 0]) * distance
    return _hex(np.array([level, a, b]))


def sequential(colours: Sequence[str], position: float) -> str:
    """The colour at `position`, 0-1, of a scale through `colours` at equal distances: "#rrggbb"."""
    stops = np.array([_oklab(colour) for colour in colours])
    knots = np.linspace(0, 1, len(colours))
    return _hex(np.array([np.interp(position, knots, stops[:, axis]) for axis in range(3)]))


def nice_limit(largest: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten that is not below `largest`."""
    if not largest > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(largest))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return float(next(step * power for step in steps if step * power >= largest * (1 - 1e-9)))
