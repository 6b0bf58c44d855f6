"""What a power run says, in sentences: the answer and its check, error rates, growing studies, nested numbers.

Every sentence is of one row of the answers' tables, with its interval; where there is no answer, it says why.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mien.power.plan import Goal
from mien.reports_app.figures.power_curves import share_text, value_text
from mien.reports_app.power_words import (
    axis_words,
    count_text,
    design_words,
    listed,
    power_word,
    seconds_text,
)
from mien.reports_app.rows import Row

if TYPE_CHECKING:
    from mien.power.plan import Plan

__all__ = [
    "answer_sentence", "check_sentence", "ends_text", "interim_sentence", "interval_text", "look_label",
    "looks_sentence", "losses_sentence", "noise_sentence", "null_of", "null_sentence", "promised", "scenario_words",
    "signed_share", "too_often",
]  # fmt: skip


# The answer


def answer_sentence(plan: "Plan", row: Row, *, several_goals: bool) -> str:
    """The smallest or cheapest design in one sentence, with its interval; or why there is none.

    Parameters
    ----------
    row : of `Answers.smallest`.
    """
    status, what = str(row["status"]), power_word(plan)
    target = f"{what} {share_text(float(row['target']))}"
    goal = f" for “{row['goal']}”" if several_goals else ""
    if status == "not simulated":
        return _with_scenario(plan, row, f"nothing has been simulated yet{goal}.")
    there = share_text(float(row["largest_power"]))
    design = f" with {others}" if (others := _others(plan, row)) else ""
    found = {
        "found": lambda: (
            f"{axis_words('participants', float(row['participants']))}{interval_text(row)} reach {target}{goal}{design}"
            f"{_price(plan, row)}."
        ),
        "smallest": lambda: (
            f"{axis_words('participants', float(row['participants']))}, the smallest number that was simulated, reach "
            f"{target} already{goal}{design}: {what} there is {share_text(float(row['power']))}. Fewer may do."
        ),
        "beyond": lambda: (
            f"{_no_design(plan, row)} reaches {target}{goal}: {what} there is {there}{_ceiling(row)}. Larger numbers "
            "were not simulated."
        ),
        "none": lambda: (
            f"no number of participants reaches {target}{goal}{design}{_best(plan)}: the ceiling (N → ∞) is "
            f"{_ceiling_numbers(row)}. More stimuli would raise it, more participants do not."
        ),
        "falls": lambda: (
            f"{_no_design(plan, row)} reaches {target}{goal}: {what} falls as participants are added, to {there}."
        ),
    }[status]  # fmt: skip
    return _with_scenario(plan, row, found())


def _no_design(plan: "Plan", row: Row) -> str:
    """Of several designs the row is that which comes nearest."""
    others = _others(plan, row)
    most = value_text(float(row["largest"]))
    if not _several(plan):
        return f"no number of participants up to {most}{f' with {others}' if others else ''}"
    return f"no simulated design, not even {most} participants with {others},"


def _best(plan: "Plan") -> str:
    return ", the best of the simulated designs" if _several(plan) else ""


def _several(plan: "Plan") -> bool:
    """Whether there are designs that differ in more than participants."""
    return any(len(getattr(plan.design, name)) > 1 for name in ("pictures", "films", "trials", "sessions"))


def _with_scenario(plan: "Plan", row: Row, text: str) -> str:
    told = scenario_words(plan, row)
    return f"If {told}: {text}" if told else text[:1].upper() + text[1:]


def scenario_words(plan: "Plan", row: Row) -> str:
    """`valence = .02 and 10 % of trials lost`: what is no choice and has several values in the plan."""
    from mien.power.cells import truth_axes

    names = [*(["missing"] if len(plan.design.missing) > 1 else []), *truth_axes(plan)]
    return listed([axis_words(name, float(row[name])) for name in names])


def _others(plan: "Plan", row: Row) -> str:
    """The stimuli, trials and sessions of the answer."""
    names = [name for name in ("pictures", "films", "trials", "sessions") if name in row]
    told = [
        axis_words(name, float(row[name]))
        for name in names
        if float(row[name]) > (0 if name in ("pictures", "films") else 1)
        or len(getattr(plan.design, name)) > 1
    ]
    stimuli = [text for text in told if "picture" in text or "film" in text]
    rest = [text for text in told if text not in stimuli]
    return listed([*([f"{listed(stimuli)} of each valence"] if stimuli else []), *rest])


def interval_text(row: Row) -> str:
    """` (34–43)`; open where the interval leaves the grid."""
    lower, upper = float(row["participants_lower"]), float(row["participants_upper"])
    if math.isnan(lower) or math.isnan(upper) or (math.isinf(lower) and math.isinf(upper)):
        return ""
    if math.isinf(upper):
        return f" ({value_text(lower)} or more)"
    if math.isinf(lower):
        return f" (at most {value_text(upper)})"
    return f" ({value_text(lower)}–{value_text(upper)})" if lower < upper else f" ({value_text(lower)})"


def _price(plan: "Plan", row: Row) -> str:
    if not plan.cost:
        return ""
    ends = [float(row["cost_lower"]), float(row["cost_upper"])]
    known = all(math.isfinite(end) for end in ends) and ends[0] < ends[1]
    interval = f" ({count_text(ends[0])}–{count_text(ends[1])})" if known else ""
    return f", the cheapest such design, at {count_text(float(row['cost']))}{interval}"


def _ceiling(row: Row) -> str:
    return (
        f", and the ceiling (N → ∞) {_ceiling_numbers(row)}" if math.isfinite(float(row["ceiling"])) else ""
    )


def _ceiling_numbers(row: Row) -> str:
    ends = (float(row["ceiling_lower"]), float(row["ceiling_upper"]))
    return f"{share_text(float(row['ceiling']))} ({share_text(ends[0])}–{share_text(ends[1])})"


def check_sentence(plan: "Plan", row: Row, *, finished: bool) -> str:
    """What an independent simulation at the answer found."""
    if str(row["status"]) != "found":
        return ""
    n, what = int(row["check_n"]), power_word(plan)
    if not n:
        return f"This was not checked {'' if finished else 'yet '}by a simulation of its own at that design."
    ends = (float(row["check_lower"]), float(row["check_upper"]))
    agrees = "which agrees" if row["agrees"] is True or row["agrees"] == 1 else "which does NOT agree"
    return (
        f"Checked at that design by {count_text(n)} studies with seeds of their own: {what} "
        f"{share_text(float(row['check_power']))} ({share_text(ends[0])}–{share_text(ends[1])}), {agrees} with the "
        f"{share_text(float(row['power']))} expected there."
    )


def interim_sentence(done: int, most: int, left: float) -> str:
    """For the head of a report on a run that goes on."""
    ahead = f", at most {seconds_text(left)} to go" if math.isfinite(left) and left > 0 else ""
    return (
        f"Interim: this run is not finished ({count_text(done)} of at most {count_text(most)} simulated "
        f"studies{ahead}). All numbers below are of the complete batches so far, and will change."
    )


# Error rates, looks, noise


def promised(goal: Goal) -> float:
    """The share of wrong directions that a threshold lets pass with a flat prior; nan for other goals."""
    return 2.0 * (1.0 - goal.probability) if goal.kind == "direction" else math.nan


def null_sentence(goal: Goal, null: Sequence[Row]) -> str:
    """How often studies state something where there is no effect.

    Parameters
    ----------
    null : rows of the goal's estimates in the null world, with an error rate.
    """
    worst = max(null, key=lambda row: float(row["error"]))
    least = min(float(row["error"]) for row in null)
    most = share_text(float(worst["error"]))
    span = most if len(null) == 1 or share_text(least) == most else f"{share_text(least)} to {most}"
    text = (
        f"“{goal.name}”: without an effect, {span} of studies state something false"
        f"{f' over {len(null)} designs' if len(null) > 1 else ''} (the highest: 95 % interval "
        f"{share_text(float(worst['error_lower']))}–{share_text(float(worst['error_upper']))})"
    )
    limit = promised(goal)
    return (
        f"{text}; the threshold alone would let {share_text(limit)} pass."
        if math.isfinite(limit)
        else f"{text}."
    )


def looks_sentence(plan: "Plan", row: Row, null: Row | None) -> str:
    """What looking as participants come would give.

    Parameters
    ----------
    row : of `Answers.sequential`, of an alternative. null : the same design without effect.
    """
    ends = [value_text(float(row[name])) for name in ("minimum", "maximum", "n_50", "n_90")]
    text = (
        f"“{row['goal']}”{_within(_sequential_design(plan, row))}: looked at {int(row['looks'])} times from N = "
        f"{ends[0]} to {ends[1]} and stopped at “{row['rule']}”, a study ends with {float(row['expected_n']):.0f} "
        f"participants on average, half by {ends[2]} and nine of ten by {ends[3]}. {_capital(power_word(plan))} is "
        f"{share_text(float(row['power']))} ({share_text(float(row['fixed_power']))} with one look at the end)"
    )
    if null is None or not math.isfinite(float(null["wrong"])):
        return f"{text}."
    return (
        f"{text}; without an effect {share_text(float(null['wrong']))} of such studies state something false: every "
        "look is another chance to err."
    )


def _within(text: str) -> str:
    return f" ({text})" if text else ""


def _sequential_design(plan: "Plan", row: Row) -> str:
    names = [
        name for name in ("pictures", "films", "trials", "sessions") if len(getattr(plan.design, name)) > 1
    ]
    return ", ".join(filter(None, [design_words(row, names), scenario_words(plan, row)]))


def noise_sentence(rows: Sequence[Row]) -> str:
    """How much better neighbouring numbers are compared than independent ones.

    Parameters
    ----------
    rows : neighbours of `Answers.noise` with a ratio.
    """
    ratios = [share_text(find(float(row["noise_ratio"]) for row in rows)) for find in (min, max)]
    told = ratios[0] if ratios[0] == ratios[1] else " to ".join(ratios)
    return (
        "Neighbouring numbers share their first participants, so that their powers err together: the difference "
        f"between two of them has {told} times the noise of independent simulations."
    )


def losses_sentence(goal: Goal, rows: Sequence[Row]) -> str:
    """What lost tracking and exclusions cost, where they cost most.

    Parameters
    ----------
    rows : of `cost_of_pipeline`, of the alternatives.
    """
    worst = min(rows, key=lambda row: float(row["difference"]))
    clean, lost = share_text(float(worst["power_clean"])), share_text(float(worst["power"]))
    n = axis_words("participants", float(worst["participants"]))
    ends = [signed_share(float(worst[name])) for name in ("difference", "lower", "upper")]
    kept = share_text(float(worst["kept_share"]))
    return (
        f"“{goal.name}”: {kept} of the trials are left. At worst, with {n}, power is {lost} instead of {clean} without "
        f"losses and exclusions: {ends[0]} ({ends[1]} to {ends[2]}) in the same persons."
    )


def signed_share(value: float) -> str:
    """`−.09`, `+.01`, `0`."""
    text = share_text(abs(value))
    return text if text in ("0", "–") else f"{'−' if value < 0 else '+'}{text}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def too_often(goal: Goal, null: Sequence[Row]) -> bool:
    """Whether some design's error rate is surely above what the threshold lets pass."""
    return any(float(row["error_lower"]) > promised(goal) for row in null)


def null_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The growing studies without effect of the same goal and design; true effects are 0 there."""
    own = ("goal", "pictures", "films", "trials", "sessions", "missing")
    same = [
        one for one in rows if one["world"] == "null" and all(one.get(name) == row.get(name) for name in own)
    ]
    return same[0] if same else None


def look_label(plan: "Plan", row: Row) -> str:
    """`as assumed: 16 pictures`: a row of the picture."""
    several = len(plan.goals) > 1
    world = "no effect" if row["world"] == "null" else "as assumed"
    names = [
        name for name in ("pictures", "films", "trials", "sessions") if len(getattr(plan.design, name)) > 1
    ]
    told = [design_words(row, names)]
    told += [scenario_words(plan, row)] if row["world"] != "null" else []
    parts = [str(row["goal"]) if several else "", world, ", ".join(filter(None, told))]
    return ": ".join(filter(None, parts))


def ends_text(row: Row) -> str:
    """`31 participants on average`."""
    return f"{float(row['expected_n']):.0f} participants on average"
