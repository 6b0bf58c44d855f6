"""Smooth curves as group effects: a cubic smoothing spline is a straight line plus effects with one sd.

    s(time)                     f(t) = line + Σ_k z_k φ_k(t),  z_k ~ N(0, sd²), the line among the coefficients
    s(time):valence             the same, times the column: how the curve differs with it
    s(time) | participant       a curve for each level: Σ_k z_pk φ_k(t), the line (k = 0) among the effects

φ_k are the eigenfunctions of ∫ f″² on the values of the column that occur, with mean squares falling with roughness
(Demmler and Reinsch's basis): orthogonal to a constant and a line, together of mean square 1, so that sd is the size of
what is not straight in the outcome's units. The first few tell nearly all; `s(time, 6)` keeps six. Knots are the values
that occur, or 20 of their quantiles.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mien.study.errors import SpecError

__all__ = [
    "POPULATION",
    "Smooth",
    "SmoothBasis",
    "is_smooth_term",
    "make_basis",
    "parse_smooth",
    "sd_name",
    "smooth_columns",
]

POPULATION = "population"  # the one level that the effects of a curve common to all belong to
MOST_KNOTS = 20
FEWEST_VALUES = 4  # with fewer there is nothing between a line and the values themselves
COMMON, OF_LEVELS = 8, 4  # curved columns kept unless told
_TEXT = re.compile(
    r"\s*s\(\s*(?P<column>[A-Za-z_]\w*)\s*(?:,\s*(?P<size>\d+)\s*)?\)"
    r"(?P<by>(?:\s*:\s*[A-Za-z_]\w*)*)\s*(?:\|\s*(?P<group>[A-Za-z_]\w*(?:\s*:\s*[A-Za-z_]\w*)*)\s*)?"
)
_TERM = re.compile(r"(s\(\w+\).*)\[\d+\]")


class Smooth(NamedTuple):
    """One smooth as asked for: of which column, times which columns, for each level of which group ("": one)."""

    column: str
    size: int
    by: tuple[str, ...]
    group: str


class SmoothBasis(NamedTuple):
    """The functions φ of one column: natural cubic splines through `knots` with heights (knot, function).

    Function 0 is the straight line, the others fall in size.
    """

    knots: np.ndarray
    heights: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(value, function) at x, straight beyond the outer knots."""
        from scipy.interpolate import CubicSpline

        spline = CubicSpline(self.knots, self.heights, bc_type="natural")
        inside = np.clip(x, self.knots[0], self.knots[-1])
        return spline(inside) + (x - inside)[:, None] * spline(inside, 1)

    def to_dict(self) -> dict[str, list]:
        """Plain data for a fit's attributes."""
        return {"knots": self.knots.tolist(), "heights": self.heights.tolist()}

    @staticmethod
    def from_dict(data: Mapping[str, list]) -> "SmoothBasis":
        """Read what `to_dict` wrote."""
        return SmoothBasis(np.array(data["knots"]), np.array(data["heights"]))


def parse_smooth(text: str) -> Smooth:
    """Take ``"s(time, 6):valence | participant"`` apart.

    Raises
    ------
    SpecError
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise SpecError(
            f"smooths: expected s(column), s(column):other or s(column) | group, with s(column, 6) for six functions, "
            f"found {text!r}."
        )
    by = tuple(part.strip() for part in found["by"].split(":") if part.strip())
    group = re.sub(r"\s", "", found["group"] or "")
    size = int(found["size"] or (OF_LEVELS if group else COMMON))
    if size < 1:
        raise SpecError(f"smooths: expected at least one function, found {text!r}.")
    return Smooth(found["column"], size, by, group)


def smooth_columns(smooths: Sequence[str]) -> list[str]:
    """Every column that the smooths use, each once."""
    parsed = [parse_smooth(text) for text in smooths]
    names = [name for one in parsed for name in (one.column, *one.by, *one.group.split(":")) if name]
    return list(dict.fromkeys(names))


def sd_name(term: str, factor: str) -> str:
    """The name of an effect's sd without "_sigma": `valence|participant`, or one for all functions of a smooth."""
    found = _TERM.fullmatch(term)
    if found is None:
        return f"{term}|{factor}"
    return found[1] if factor == POPULATION else f"{found[1]}|{factor}"


def is_smooth_term(term: str) -> bool:
    """Whether a term is a function of a smooth; such terms correlate with none."""
    return _TERM.fullmatch(term) is not None


def make_basis(x: np.ndarray, name: str) -> SmoothBasis:
    """The functions of a column with these values.

    Raises
    ------
    SpecError
        For a column with fewer than four values.
    """
    from scipy.interpolate import CubicSpline
    from scipy.linalg import eigh

    distinct, count = np.unique(x, return_counts=True)
    if len(distinct) < FEWEST_VALUES:
        raise SpecError(
            f"smooths: expected at least {FEWEST_VALUES} values of {name!r} for a curve, found {len(distinct)}: "
            f"use {name} in the formula."
        )
    knots = distinct
    if len(distinct) > MOST_KNOTS:
        knots = np.quantile(distinct, np.linspace(0.0, 1.0, MOST_KNOTS))
    spline = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")
    at_values = spline(distinct)
    bend, width = spline(knots, 2), np.diff(knots)
    left, right = bend[:-1], bend[1:]  # ∫ of a product of straight pieces
    rough = np.einsum("i,ij,ik->jk", width / 3.0, left, left) + np.einsum(
        "i,ij,ik->jk", width / 3.0, right, right
    )
    across = np.einsum("i,ij,ik->jk", width / 6.0, left, right)
    rough += across + across.T
    mass = at_values.T @ (at_values * (count / count.sum())[:, None])
    roughness, functions = eigh(rough, mass)  # mean squares 1; the first two are constant and line
    size = 1.0 / np.sqrt(roughness[2:])
    size /= np.sqrt((size**2).sum())
    centred = knots - count @ distinct / count.sum()
    line = centred * size[0] / np.sqrt(count @ (distinct - distinct @ count / count.sum()) ** 2 / count.sum())
    curved = functions[:, 2:] * size
    curved *= np.where(curved[-1] < 0, -1.0, 1.0)  # signs are free: the last value up
    return SmoothBasis(knots, np.column_stack([line, curved]))
