"""A power report as sections of plain blocks, in the order in which a planner reads; page and PDF place the same ones.

    the answer, the text to copy, then each goal: curve, maps, what else comes out, designs
    the null world, growing studies, nested numbers, failures, every cell
    what was assumed, how it was computed, what it does not say

Everything is read from the plan, its Answers and the state of the run.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from mien.reports_app import power_sentences as said
from mien.reports_app import power_tables as tables
from mien.reports_app import power_words as words
from mien.reports_app.figures.power_curves import share_text
from mien.reports_app.figures.power_sequential import sequential_bars
from mien.reports_app.power_blocks import Block, Facts, Picture, Points, Section, Table, Text, picture
from mien.reports_app.power_goal import Material, RunState, goal_blocks
from mien.reports_app.rows import Row, rows_of

if TYPE_CHECKING:
    from mien.power.answers import Answers
    from mien.power.plan import Goal, Plan

__all__ = ["PowerPart", "power_part"]

MOST_BARS = 14
TOO_OFTEN = (
    "without an effect more studies state something false than the threshold alone would let pass. Is a random "
    "slope left out, or are there few stimuli? Until this is understood, power means little."
)
GROWING = (
    "One simulated study grows through all its numbers of participants. Had it been looked at after each of them,"
    " and stopped as soon as the goal’s own threshold was reached, this would have come out; another rule can be "
    "tried on the same rows (mien.power.sequential)."
)
BARS = (
    "Number of participants at the end: dot mean, tick median, thick bar the middle half, thin bar the middle "
    "four fifths; ring: the largest number. Beside it: the share decided as wanted, undecided, and false."
)
CELLS = (
    "MCSE: Monte-Carlo standard error. False statement: a wrong sign, an effect where there is none, or none "
    "where there is one. Coverage: share of intervals that hold the true value. Numbers after ± are MCSE."
)


@dataclass(frozen=True, eq=False)
class PowerPart:
    """A report's content.

    leads : the answers. note : what stands above everything, "" or that a run is not finished. made : s since 1970.
    """

    title: str
    note: str
    leads: Sequence[str]
    sections: Sequence[Section]
    made: int

    @property
    def pictures(self) -> list[Picture]:
        """All figures, in order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Picture)]


def power_part(
    plan: "Plan",
    answers: "Answers",
    paragraphs: Sequence[str] = (),
    state: RunState | None = None,
    *,
    losses: pd.DataFrame | None = None,
) -> PowerPart:
    """The content of a report.

    Parameters
    ----------
    paragraphs : the justification, from `mien.power.justification`. state : None for a finished run.
    losses : `mien.power.pipeline.cost_of_pipeline` of a plan that starts from raw frames.
    """
    at = state or RunState(done=answers.rows, most=answers.rows)
    material = Material(plan, answers, at)
    sections = [
        Section("In short", list(_short(material))),
        Section("A justification to copy", list(_to_copy(material, paragraphs))),
        *(Section(_goal_title(plan, goal), list(goal_blocks(material, goal))) for goal in plan.goals),
        Section("What losses and exclusions cost", list(_lost(material, losses))),
        Section("Without an effect", list(_null(material))),
        Section("Studies that look as they grow", list(_looks(material))),
        Section("Neighbouring numbers of participants", list(_nested(material))),
        Section("Failed fits", list(_failed(material))),
        Section("Every simulated cell", list(_every_cell(material))),
        Section("What was assumed", list(_assumed(material))),
        Section("How it was computed", list(_computed(material))),
        Section("What this does not say", [Points(words.LIMITS)]),
    ]
    note = "" if at.finished else said.interim_sentence(at.done, at.most, at.left)
    return PowerPart(
        plan.name, note, list(_leads(material)), [section for section in sections if section.blocks], at.made
    )


# The answer


def _goal_title(plan: "Plan", goal: "Goal") -> str:
    what = words.power_word(plan)
    return f"{what[:1].upper()}{what[1:]}: {goal.name}"


def _leads(material: Material) -> Iterator[str]:
    several = len(material.plan.goals) > 1
    for row in material.smallest():
        sentence = said.answer_sentence(material.plan, row, several_goals=several)
        yield " ".join(
            filter(
                None, [sentence, said.check_sentence(material.plan, row, finished=material.state.finished)]
            )
        )


def _short(material: Material) -> Iterator[Block]:
    plan, state = material.plan, material.state
    pairs = [(f"{material.what} wanted", share_text(material.target))]
    errors: Any = material.answers.estimates
    errors = errors.loc[(errors["world"] == "null"), "error"].dropna()
    if len(errors):
        pairs.append(("false statements without an effect", f"at most {share_text(float(errors.max()))}"))
    failed = sum(int(row["count"]) for row in rows_of(material.answers.failures))
    share = share_text(failed / max(material.answers.rows, 1)) if failed else "none"
    pairs += [
        ("simulated studies", words.count_text(material.answers.rows)),
        ("failed fits", f"{words.count_text(failed)} ({share})" if failed else share),
        ("state of the run", "finished" if state.finished else "not finished"),
    ]
    yield Facts(pairs)
    yield Table(tables.goals_table(plan.goals), "What a study is to achieve")
    told = words.what_counts(plan.goals[0], count=plan.shapes.count, with_effect=plan.shapes.with_effect)
    if told:
        yield Text(f"A goal is met when it is met {told.strip()}.", "small")


def _to_copy(material: Material, paragraphs: Sequence[str]) -> Iterator[Block]:
    if not paragraphs:
        return
    if not material.state.finished:
        yield Text(
            "Not for a form yet: the run is not finished, and these numbers are interim ones.", "warning"
        )
    for text in paragraphs:
        yield Text(text, "copy")


# Worlds, looks, failures


def _lost(material: Material, losses: pd.DataFrame | None) -> Iterator[Block]:
    """Of plans that start from raw frames."""
    if losses is None or not len(losses):
        return
    cells: Any = material.answers.estimates
    table = cells[["cell", "goal", "world", *material.axes]].merge(losses, on=["cell", "goal"])
    yield Points([
        said.losses_sentence(goal, rows) for goal in material.plan.goals
        if (rows := [row for row in rows_of(table) if row["goal"] == goal.name and row["world"] == "alternative"])
    ])  # fmt: skip
    yield Table(
        tables.losses_table(table, material.axes), "With and without losses and exclusions, the same persons"
    )


def _null(material: Material) -> Iterator[Block]:
    found = []
    for goal in material.plan.goals:
        cells = material.estimates(goal)
        rows = [row for row in rows_of(cells) if row["world"] == "null" and math.isfinite(row["error"])]
        if not rows:
            continue
        found.append(said.null_sentence(goal, rows))
        if said.too_often(goal, rows):
            yield Text(f"“{goal.name}”: {TOO_OFTEN}", "warning")
    if not found:
        return
    yield Points(found)
    yield Table(
        tables.null_table(material.answers.estimates, material.axes), "False statements where there is no effect",
        folded=True,
    )  # fmt: skip


def _looks(material: Material) -> Iterator[Block]:
    table: Any = material.answers.sequential
    if not len(table):
        return
    rows = rows_of(table)
    alternatives = [row for row in rows if row["world"] == "alternative"]
    yield Text(GROWING)
    shown = alternatives if len(alternatives) <= MOST_BARS // 2 else _nearest(material, alternatives)
    yield Points([said.looks_sentence(material.plan, row, said.null_of(row, rows)) for row in shown])
    kept = _with_null(shown, rows)[:MOST_BARS]
    labels = [said.look_label(material.plan, row) for row in kept]
    if kept and len(set(labels)) == len(labels):
        told = "; ".join(f"{label}: {said.ends_text(row)}" for label, row in zip(labels, kept, strict=True))
        chart = sequential_bars(pd.DataFrame(kept), labels)
        yield picture(chart, "sequential", f"When growing studies end: {told}", BARS)
    yield Table(tables.sequential_table(table, material.axes), "Growing studies", folded=True)


def _with_null(shown: list[Row], rows: list[Row]) -> list[Row]:
    """Each goal's alternatives, then their null worlds, once each."""
    kept: dict[tuple[str, str], Row] = {}
    for goal in dict.fromkeys(str(row["goal"]) for row in shown):
        mine = [row for row in shown if row["goal"] == goal]
        for row in [*mine, *(said.null_of(one, rows) for one in mine)]:
            if row is not None:
                kept[goal, str(row["cohort"])] = row
    return list(kept.values())


def _nearest(material: Material, rows: list[Row]) -> list[Row]:
    """At the answer of each goal, where it is a design of the grid; else the first."""
    found = []
    for goal in material.plan.goals:
        mine = [row for row in rows if row["goal"] == goal.name]
        answer = material.answer(goal)
        axes = [axis for axis in material.axes if axis != "participants"]
        same = [row for row in mine if all(row[axis] == answer.get(axis) for axis in axes)]
        found += (same or mine[-1:])[:1]
    return found


def _nested(material: Material) -> Iterator[Block]:
    every: Any = material.answers.noise
    rows = (
        [row for row in rows_of(every) if row["neighbours"] and math.isfinite(row["noise_ratio"])]
        if len(every)
        else []
    )
    if not rows:
        return
    yield Text(said.noise_sentence(rows))
    yield Table(tables.noise_table(pd.DataFrame(rows), material.axes), "Neighbouring numbers", folded=True)


def _failed(material: Material) -> Iterator[Block]:
    table = material.answers.failures
    total, rows = sum(int(row["count"]) for row in rows_of(table)), words.count_text(material.answers.rows)
    if not total:
        yield Text(f"None of {rows} fits failed.")
        return
    not_met = material.plan.budget.failures == "not_met"
    counted = "counted as studies that do not meet the goal" if not_met else "left out of all shares"
    share = share_text(total / max(material.answers.rows, 1), 3)
    yield Text(f"{words.count_text(total)} of {rows} fits failed ({share}). They are {counted}.")
    yield Table(tables.causes_table(table), "Causes")
    yield Table(tables.failures_table(table, material.axes), "By cell", folded=True)


def _every_cell(material: Material) -> Iterator[Block]:
    several = len(material.plan.goals) > 1
    for goal in material.plan.goals:
        title = f"All cells: {goal.name}" if several else "All cells"
        yield Table(tables.cells_table(material.estimates(goal), material.axes), title, folded=True)
    yield Text(CELLS, "small")


# Assumptions


def _assumed(material: Material) -> Iterator[Block]:
    plan = material.plan
    yield Table(tables.design_table(plan), "Design")
    truth = tables.truth_table(plan)
    if len(truth):
        yield Table(
            truth, f"Truth, in units of the outcome (source: {words.SOURCES[plan.truth.source]})", labels=2
        )
    analysis = plan.analysis
    formula = getattr(analysis.spec, "formula", "")
    yield Text(
        f"Analysis: {formula or 'co-activation factors'}, family {getattr(analysis.spec, 'family', 'gaussian')}."
    )
    if plan.truth.formula:
        yield Text(f"The assumed world has another formula: {plan.truth.formula}.")
    frozen = plan.frozen
    yield Text(f"Priors are frozen; sha256 {frozen.sha256}.")
    yield Table(tables.priors_table(frozen), "Frozen priors of every fit", labels=2)
    yield from _special(plan)


def _special(plan: "Plan") -> Iterator[Block]:
    """Raw frames, or factors."""
    for title, part in (
        ("Pipeline from raw frames", plan.pipeline),
        ("Factors to find again", plan.recovery),
    ):
        if part is not None:
            yield Table(tables.plain_table(part), title)


def _computed(material: Material) -> Iterator[Block]:
    plan, state = material.plan, material.state
    yield Points(
        words.how_computed(
            plan,
            studies=sum(state.engines.values()),
            engines=state.engines,
            elapsed=state.elapsed,
            workers=state.workers,
        )
    )
    if state.set_aside:
        yield Text(
            f"{state.set_aside} damaged files of rows were set aside; their replicates were computed again.",
            "small",
        )
    from mien import __version__

    rows = f", of the rows {state.sha256}" if state.sha256 else ""
    yield Text(
        f"Fingerprints (sha256): of the plan {plan.sha256}{rows}. Reported by mien {__version__}.", "small"
    )
