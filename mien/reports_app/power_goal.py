"""One goal of a power report: its curve, its maps, what else comes out, the smallest number of each design.

Participants go along the pictures where they vary, else the axis with the most values; two more axes are lines and
panels. Further ones are held at the answer, which the caption says.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from mien.reports_app import power_tables as tables
from mien.reports_app import power_words as words
from mien.reports_app.figures.power_curves import Reached, View, at_value, power_curves, share_text
from mien.reports_app.figures.power_maps import power_map
from mien.reports_app.figures.power_outcomes import outcome_curves
from mien.reports_app.power_blocks import Block, Picture, Table, Text, picture
from mien.reports_app.rows import Row, rows_of

if TYPE_CHECKING:
    from mien.power.answers import Answers
    from mien.power.plan import Goal, Plan

__all__ = ["Material", "RunState", "goal_blocks"]

MOST_MAPS, MOST_TOLD, MOST_ROWS = 3, 8, 12


class RunState(NamedTuple):
    """How far the run is that a report is of. engines : engine → studies. sha256 : of the rows. made : s since 1970."""

    finished: bool = True
    done: int = 0
    most: int = 0
    left: float = 0.0
    elapsed: float = 0.0
    workers: int = 1
    engines: Mapping[str, int] = MappingProxyType({})
    sha256: str = ""
    set_aside: int = 0
    made: int = 0


class Material(NamedTuple):
    """What a report is of."""

    plan: "Plan"
    answers: "Answers"
    state: RunState

    @property
    def axes(self) -> list[str]:
        """Those that vary, and participants."""
        return tables.varying(self.plan)

    @property
    def what(self) -> str:
        """Power, or assurance."""
        return words.power_word(self.plan)

    @property
    def target(self) -> float:
        """What is wanted."""
        return self.plan.budget.target

    def estimates(self, goal: "Goal") -> Any:
        """The cells of one goal."""
        every: Any = self.answers.estimates
        return every[every["goal"] == goal.name]

    def smallest(self, goal: "Goal | None" = None) -> list[Row]:
        """The answers, of one goal or of all."""
        return [row for row in rows_of(self.answers.smallest) if goal is None or row["goal"] == goal.name]

    def answer(self, goal: "Goal") -> Row:
        """The first that was found, else the first; empty where there is none."""
        rows = self.smallest(goal)
        return next((row for row in rows if row["status"] == "found"), rows[0] if rows else {})


def goal_blocks(material: Material, goal: "Goal") -> Iterator[Block]:
    """What the report shows of one goal."""
    yield Text(f"A study meets this goal when {words.asks(goal)}.")
    cells: Any = material.estimates(goal)
    if not (cells["world"] == "alternative").any():
        yield Text("No study with an effect was simulated yet: there is no curve to show.", "note")
        return
    view, held = _view(material, goal)
    here = _held_cells(cells, held)
    yield _curve(material, goal, here, view, held)
    yield from _maps(material, goal, cells, view)
    yield from _outcomes(material, goal, here, view, held)
    yield from _designs(material, goal)


class _Held(NamedTuple):
    """Axes that a figure does not show, each at one value."""

    fixed: Mapping[str, float]

    @property
    def told(self) -> str:
        """For a caption."""
        return f" Here with {words.design_words(self.fixed, list(self.fixed))}." if self.fixed else ""


def _levels(material: Material, axis: str) -> list[float]:
    every: Any = material.answers.estimates
    found = every.loc[every["world"] == "alternative", axis].dropna()
    return sorted({float(value) for value in found})


def _rest(material: Material) -> list[str]:
    """Axes with several simulated values beside participants, that with the most first."""
    found = [axis for axis in material.axes if axis != "participants" and len(_levels(material, axis)) > 1]
    return sorted(found, key=lambda axis: -len(_levels(material, axis)))


def _view(material: Material, goal: "Goal") -> tuple[View, _Held]:
    """Participants along the picture where they vary, else the axis with most values; two more as lines and panels."""
    rest = _rest(material)
    along = "participants"
    if rest and len(_levels(material, "participants")) < 2:
        along, *rest = rest
    view = View(along, *(*rest, "", "")[:2])
    return view, _held(material, goal, rest[2:])


def _held(material: Material, goal: "Goal", axes: Sequence[str]) -> _Held:
    """At the answer where it is a simulated value, else at the largest."""
    answer = material.answer(goal)
    values = {}
    for axis in axes:
        levels = _levels(material, axis)
        value = float(answer.get(axis, math.nan))
        values[axis] = value if value in levels else levels[-1]
    return _Held(values)


def _held_cells(cells: pd.DataFrame, held: _Held) -> pd.DataFrame:
    for axis, value in held.fixed.items():
        cells = at_value(cells, axis, [value])
    return cells


def _curve(material: Material, goal: "Goal", cells: pd.DataFrame, view: View, held: _Held) -> Picture:
    chart = power_curves(
        _with_errors(cells), view, target=material.target, reached=_reached(material, goal, view),
        fitted=_fitted(material, goal, view, held), called=words.axis_words, what=material.what,
    )  # fmt: skip
    label, caption = (
        _curve_label(material, goal, cells, view),
        _curve_caption(material, goal, cells, view, held),
    )
    return picture(chart, f"power-{_slug(goal.name)}", label, caption)


def _with_errors(cells: pd.DataFrame) -> pd.DataFrame:
    """In the null world the error rate is what is drawn."""
    found = cells.copy()
    null = found["world"] == "null"
    for column, error in (("power", "error"), ("lower", "error_lower"), ("upper", "error_upper")):
        found.loc[null, column] = found.loc[null, error]
    return found


def _reached(material: Material, goal: "Goal", view: View) -> Reached | None:
    """The smallest number, where it is the only answer of a single line."""
    rows = material.smallest(goal)
    if len(rows) != 1 or view.x != "participants" or view.series or rows[0]["status"] != "found":
        return None
    row = rows[0]
    ends = [float(row[f"participants_{end}"]) for end in ("lower", "upper")]
    return Reached(float(row["participants"]), *ends)


def _fitted(material: Material, goal: "Goal", view: View, held: _Held) -> pd.DataFrame | None:
    """The surrogate along participants, at what is held."""
    curves: Any = material.answers.curves
    if view.x != "participants" or not len(curves):
        return None
    mine = curves[curves["goal"] == goal.name]
    for axis, value in held.fixed.items():
        mine = mine[mine[axis] == value] if axis in mine else mine
    return mine if len(mine) else None


def _curve_label(material: Material, goal: "Goal", cells: pd.DataFrame, view: View) -> str:
    """Every simulated share of a short curve, else its ends."""
    axes = [axis for axis in (view.x, view.series, view.panels) if axis]
    rows = [row for row in rows_of(cells) if row["world"] == "alternative" and math.isfinite(row["power"])]
    rows.sort(key=lambda row: tuple(float(row[axis]) for axis in reversed(axes)))
    told = [f"{share_text(row['power'])} with {words.design_words(row, axes)}" for row in rows]
    if len(told) > MOST_TOLD:
        told = [*told[:3], "…", *told[-3:]]
    return f"{material.what} for {goal.name}: {'; '.join(told)}"


def _curve_caption(material: Material, goal: "Goal", cells: pd.DataFrame, view: View, held: _Held) -> str:
    drawn = _with_errors(cells)
    worlds = set(drawn.loc[drawn["power"].notna(), "world"])
    told = {
        "ceiling": "∞ and the dashed line: the ceiling, with infinitely many participants and these stimuli.",
        "null": "Diamonds: share of studies that state something false where there is no effect.",
        "check": "Open square: the check at the answer, with seeds of its own.",
    }
    parts = [
        f"Share of simulated studies that meet the goal ({material.what}), with 95 % intervals of simulation; the "
        "band is that of the curve through them.",
        *(text for world, text in told.items() if world in worlds),
    ]
    if _reached(material, goal, view) is not None:
        parts.append("At the axis: the smallest number that reaches what is wanted, and its interval.")
    return " ".join(parts) + held.told


def _maps(material: Material, goal: "Goal", cells: pd.DataFrame, view: View) -> Iterator[Block]:
    rest = [
        axis
        for axis in (*_rest(material), "participants")
        if axis != view.x and len(_levels(material, axis)) > 1
    ]
    for axis in rest[:MOST_MAPS]:
        held = _held(material, goal, [other for other in rest if other not in (axis, view.x)])
        some = _held_cells(cells, held)
        chart = power_map(some, view.x, axis, target=material.target, called=words.axis_words)
        names = f"{words.axis_words(view.x, math.nan)} and {words.axis_words(axis, math.nan)}"
        if chart is None:
            yield Text(f"No map of {names}: some of their combinations were not simulated yet.", "small")
            continue
        caption = (
            f"{material.what[:1].upper()}{material.what[1:]} over {names}. Points and numbers: what was simulated; "
            f"between them interpolated (linear, probit). The strong line is {share_text(material.target)}.{held.told}"
        )
        label = f"Map: {_curve_label(material, goal, some, View(view.x, axis))}"
        yield picture(chart, f"map-{_slug(goal.name)}-{_slug(axis)}", label, caption)


OUTCOMES = (
    "Undecided: studies that state nothing. Type S: of studies that state an effect, those with the wrong sign. "
    "Type M: how much their estimates exaggerate the true effect on average (1: not at all); where power is low, "
    "what is found is too large. Bands: 95 % of simulation."
)


def _outcomes(
    material: Material, goal: "Goal", cells: pd.DataFrame, view: View, held: _Held
) -> Iterator[Block]:
    if view.panels:
        held = _held(material, goal, [view.panels, *held.fixed])
    chart = outcome_curves(_held_cells(cells, held), View(view.x, view.series), called=words.axis_words)
    if chart is None:
        return
    yield Text("What else comes out", "head")
    label = f"What else comes out of studies for {goal.name}; all numbers are in the table of cells"
    yield picture(chart, f"outcomes-{_slug(goal.name)}", label, f"{OUTCOMES}{held.told}")


def _designs(material: Material, goal: "Goal") -> Iterator[Block]:
    every: Any = material.answers.designs
    mine = every[every["goal"] == goal.name] if len(every) else every
    if len(mine) > 1:
        title = f"The smallest number of participants of each design: {goal.name}"
        yield Table(tables.designs_table(material.plan, mine), title, folded=len(mine) > MOST_ROWS)


def _slug(text: str) -> str:
    """For a file's name."""
    plain = "".join(one if one.isalnum() and one.isascii() else "-" for one in text.lower())
    return "-".join(filter(None, plain.split("-"))) or "goal"
