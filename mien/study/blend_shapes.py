"""The 52 ARKit blend shapes: names, sides, partners, regions and FACS action units.

The table is blend_shapes.csv, in the order of Apple's ARKit as Live Link Face sends it. Action units are a
*convention* (general knowledge, no publication read), so each row says how sure it is. jawLeft/Right and
mouthLeft/Right are directions of a movement, not sides of the face. The left eye looking in and the right
eye looking out are one gaze to the right (62), and the reverse to the left (61).
"""

import csv
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple

__all__ = [
    "BILATERAL_NAMES", "BLEND_SHAPES", "NAMES", "REGIONS", "SET_APART", "BlendShape", "bilateral_name",
    "canonical_names", "members", "region",
]  # fmt: skip


class BlendShape(NamedTuple):
    """One row of the table."""

    name: str
    side: str  # left | right | none
    partner: str  # the same movement on the other side, "" where there is none
    region: str
    action_units: tuple[str, ...]
    confidence: str  # of the action units: high | medium | none
    source_kind: str


def _read_table() -> Mapping[str, BlendShape]:
    text = resources.files("mien.study").joinpath("blend_shapes.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    shapes = [BlendShape(**{**row, "action_units": tuple(row["action_units"].split())}) for row in rows]
    return MappingProxyType({shape.name: shape for shape in shapes})


BLEND_SHAPES = _read_table()
NAMES = tuple(BLEND_SHAPES)
REGIONS = ("brow", "eye", "gaze", "nose", "cheek", "mouth", "jaw", "tongue")


def bilateral_name(name: str) -> str:
    """`mouthSmileLeft` → `mouthSmile`; names without a side stay (`jawLeft` is a direction)."""
    shape = BLEND_SHAPES[name]
    return name if shape.side == "none" else name.removesuffix(shape.side.capitalize())


BILATERAL_NAMES = tuple(dict.fromkeys(bilateral_name(name) for name in NAMES))
_MEMBERS = {
    base: tuple(name for name in NAMES if bilateral_name(name) == base) for base in BILATERAL_NAMES
} | {name: (name,) for name in NAMES}

# Gaze and blinks follow the picture's layout and the task: reported apart, out of pooling and factors.
SET_APART = frozenset(name for name in (*NAMES, *BILATERAL_NAMES) if name.startswith(("eyeLook", "eyeBlink")))


def members(name: str) -> tuple[str, ...]:
    """The ARKit shapes behind a name: (left, right) of a bilateral one, the shape itself otherwise."""
    return _MEMBERS[name]


def region(name: str) -> str:
    """The region of one of the 52 or 34 names; "contrast" for any other (a contrast of shapes)."""
    return BLEND_SHAPES[_MEMBERS[name][0]].region if name in _MEMBERS else "contrast"


_BY_LOWER_CASE = {name.lower(): name for name in NAMES}
_SUFFIXES = {"_l": "left", "_r": "right"}


def canonical_names(names: list[str]) -> dict[str, str]:
    """Which of `names` are blend shapes in any spelling: `EyeBlinkLeft`, `eyeBlink_L`, `eyeblinkleft`.

    Returns
    -------
    dict from the name as given to the project's name; names that are no blend shape are left out.
    """
    found: dict[str, str] = {}
    for name in names:
        plain = name.strip().lower()
        if plain[-2:] in _SUFFIXES:
            plain = plain[:-2] + _SUFFIXES[plain[-2:]]
        shape = _BY_LOWER_CASE.get(plain.replace("_", ""))
        if shape:
            found[name] = shape
    return found
