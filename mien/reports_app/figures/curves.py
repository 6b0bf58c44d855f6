"""Curves through points, as SVG path text: the pencil of the face map.

Points are (x, y) in SVG units with the face's midline at x = 0, y down. A curve runs smoothly through its points
(Catmull-Rom, written as cubic Béziers); a third element "corner" makes a point sharp. Paths use only the absolute
commands M, L, C and Z, so that mirroring on the midline is turning the sign of x.
"""

import math
from collections.abc import Sequence

__all__ = ["Point", "arrow", "band", "closed", "disc", "mirrored", "opened", "ring_sector", "symmetric"]

type Point = tuple[float, float] | tuple[float, float, str]

CORNER = "corner"
ROUNDNESS = 1 / 6  # Catmull-Rom: a handle is a sixth of the way between the neighbours


def _is_corner(point: Point) -> bool:
    return len(point) == 3


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def _segment(before: Point, start: Point, end: Point, after: Point) -> str:
    """The cubic from `start` to `end`, with handles parallel to their neighbours' chord."""
    first = (0.0, 0.0) if _is_corner(start) else (end[0] - before[0], end[1] - before[1])
    second = (0.0, 0.0) if _is_corner(end) else (after[0] - start[0], after[1] - start[1])
    handles = (
        start[0] + ROUNDNESS * first[0], start[1] + ROUNDNESS * first[1],
        end[0] - ROUNDNESS * second[0], end[1] - ROUNDNESS * second[1],
        end[0], end[1],
    )  # fmt: skip
    return "C" + " ".join(map(_number, handles))


def _move(point: Point) -> str:
    return f"M{_number(point[0])} {_number(point[1])}"


def closed(points: Sequence[Point]) -> str:
    """A closed curve through `points`."""
    n = len(points)
    curve = (_segment(points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]) for i in range(n))
    return _move(points[0]) + "".join(curve) + "Z"


def opened(points: Sequence[Point]) -> str:
    """An open curve through `points`."""
    padded = [points[0], *points, points[-1]]
    curve = (_segment(*padded[i : i + 4]) for i in range(len(points) - 1))
    return _move(points[0]) + "".join(curve)


def mirror_point(point: Point) -> Point:
    """The same point on the other side of the face."""
    return (-point[0], *point[1:])  # pyright: ignore[reportReturnType]


def symmetric(half: Sequence[Point]) -> str:
    """The closed curve whose right half runs through `half`, from the top of the midline to its bottom."""
    other = [mirror_point(point) for point in reversed(half) if point[0] != 0]
    return closed([*half, *other])


def mirrored(path: str) -> str:
    """The path on the other side of the face."""
    spaced = path
    for command in "MLCZ":
        spaced = spaced.replace(command, f" {command} ")
    result, is_x = [], True
    for token in spaced.split():
        if token.isalpha():
            result.append(token)
            is_x = True
        else:
            result.append(_number(-float(token)) if is_x else token)
            is_x = not is_x
    return " ".join(result).replace(" Z", "Z")


def band(centre: Sequence[tuple[float, float]], widths: Sequence[float]) -> str:
    """A strip along `centre` of the given widths (one a point): how muscles and lids are drawn."""
    left, right = [], []
    for i, ((x, y), width) in enumerate(zip(centre, widths, strict=True)):
        (x0, y0), (x1, y1) = centre[max(i - 1, 0)], centre[min(i + 1, len(centre) - 1)]
        length = math.hypot(x1 - x0, y1 - y0)
        normal = (-(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2)
        left.append((x + normal[0], y + normal[1]))
        right.append((x - normal[0], y - normal[1]))
    return closed([*left, *reversed(right)])


def _polar(centre: tuple[float, float], radius: float, degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return centre[0] + radius * math.cos(angle), centre[1] - radius * math.sin(angle)


def ring_sector(centre: tuple[float, float], radii: tuple[float, float], degrees: tuple[float, float]) -> str:
    """A sector of a ring between two radii and two angles (degrees, anticlockwise from the right)."""
    steps = [degrees[0] + (degrees[1] - degrees[0]) * i / 6 for i in range(7)]
    outer = [_polar(centre, radii[1], step) for step in steps]
    inner = [_polar(centre, radii[0], step) for step in reversed(steps)]
    corners: list[Point] = [(*outer[0], CORNER), *outer[1:-1], (*outer[-1], CORNER)]
    corners += [(*inner[0], CORNER), *inner[1:-1], (*inner[-1], CORNER)]
    return closed(corners)


def disc(centre: tuple[float, float], radius: float) -> str:
    """A circle, in twelve pieces."""
    return closed([_polar(centre, radius, 30.0 * i) for i in range(12)])


def arrow(tail: tuple[float, float], tip: tuple[float, float], *, width: float, head: float) -> str:
    """A straight block arrow from `tail` to `tip`; `width` of the shaft, `head` its head's width and length."""
    length = math.hypot(tip[0] - tail[0], tip[1] - tail[1])
    along = ((tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length)
    across = (-along[1], along[0])
    neck = (tip[0] - along[0] * head * 0.8, tip[1] - along[1] * head * 0.8)

    def off(point: tuple[float, float], distance: float) -> str:
        return f"{_number(point[0] + across[0] * distance)} {_number(point[1] + across[1] * distance)}"

    corners = [
        off(tail, width / 2), off(neck, width / 2), off(neck, head / 2), off(tip, 0),
        off(neck, -head / 2), off(neck, -width / 2), off(tail, -width / 2),
    ]  # fmt: skip
    return "M" + "L".join(corners) + "Z"
