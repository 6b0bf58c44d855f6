"""What figures of many shapes share: checks at the door, runs of groups along an order, the room that names need."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

import numpy as np

from mien.reports_app.figures.theme import FONT, INK

__all__ = [
    "Run",
    "checked_groups",
    "checked_order",
    "checked_square",
    "labels_of_groups",
    "picture",
    "room",
    "runs",
]

WIDTH_OF_LETTER = 0.63  # of the font size, on average: DejaVu Sans, the widest of the fonts that readers have
ROUNDING = 1e-9  # beyond a limit


class Run(NamedTuple):
    """Neighbours along an order that share a group: places `first` to `last`, both included.

    A group of one shape has no label: there is nothing to find together.
    """

    label: str
    first: int
    last: int

    @property
    def shapes(self) -> int:
        """How many shapes it holds."""
        return self.last - self.first + 1


def runs(groups: Sequence[str], order: Sequence[int]) -> list[Run]:
    """The groups as one meets them along `order`; one that is torn apart has several runs."""
    found, place, labels = [], 0, labels_of_groups(groups)
    for _, members in groupby(order if groups else (), key=lambda i: groups[i]):
        neighbours = list(members)
        found.append(Run(labels[neighbours[0]], place, place + len(neighbours) - 1))
        place += len(neighbours)
    return found


def labels_of_groups(groups: Sequence[str]) -> list[str]:
    """The label of each shape's group, "" for a shape that is alone in its group."""
    sizes = Counter(groups)
    return [label if sizes[label] > 1 else "" for label in groups]


def checked_square(name: str, matrix: object, count: int, limits: tuple[float, float]) -> np.ndarray:
    """`matrix` as (shape, shape) floats with 0 on the diagonal; a ValueError where others are beyond `limits`."""
    values = np.array(matrix, dtype=float)
    if count < 1 or values.shape != (count, count):
        raise ValueError(
            f"expected {name} of shape ({count}, {count}), a row and a column for each of one shape or more, "
            f"found {values.shape}."
        )
    np.fill_diagonal(values, 0.0)
    beyond = ~((values >= limits[0] - ROUNDING) & (values <= limits[1] + ROUNDING))
    np.fill_diagonal(beyond, False)
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise ValueError(
            f"expected {name} between {limits[0]:g} and {limits[1]:g} off the diagonal, found "
            f"{values[row, column]:g} at ({row}, {column})."
        )
    return values


def checked_order(order: Sequence[int] | np.ndarray, count: int) -> list[int]:
    """`order` as plain integers; a ValueError where it is not 0 … count − 1 in some order."""
    places = [int(i) for i in order]
    if sorted(places) != list(range(count)):
        raise ValueError(f"expected an order of the numbers 0 to {count - 1}, each once, found {places}.")
    return places


def checked_groups(groups: Sequence[object] | np.ndarray | None, count: int) -> list[str]:
    """One label a shape as text; empty where there are no groups."""
    labels = [] if groups is None else [str(label) for label in groups]
    if groups is not None and len(labels) != count:
        raise ValueError(f"expected one group a shape, {count}, found {len(labels)}.")
    return labels


def room(names: Sequence[str], size: float) -> float:
    """The width that the longest of `names` takes at a font size, px."""
    return max(map(len, names), default=0) * WIDTH_OF_LETTER * size


def picture(kind: str, width: float, height: float, label: str, body: Sequence[str]) -> str:
    """The parts as one SVG with a name, `width` × `height` units, that scales with its container."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" font-family="{FONT}" font-size="12" fill="{INK}">'
        + "".join(body)
        + "</svg>"
    )
