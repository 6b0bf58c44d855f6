"""A power plan and its run in words: designs, goals, what was assumed, how it was computed.

Every number of a simulation is a share of simulated studies, and said as one; what was not simulated is not spoken of.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mien.power.plan import Draw, Goal, Value
from mien.reports_app.figures.power_curves import share_text, value_text

if TYPE_CHECKING:
    from mien.power.plan import Plan

__all__ = [
    "AXIS_WORDS", "LIMITS", "SOURCES", "asks", "axis_words", "count_text", "design_words", "how_computed", "listed",
    "power_word", "seconds_text", "span_text", "truth_text", "what_counts",
]  # fmt: skip

AXIS_WORDS: Mapping[str, tuple[str, str, str]] = {  # one, several, at an axis
    "participants": ("participant", "participants", "participants"),
    "pictures": ("picture", "pictures", "pictures of each valence"),
    "films": ("film", "films", "films of each valence"),
    "trials": ("trial", "trials", "trials of each stimulus in a session"),
    "sessions": ("session", "sessions", "sessions"),
    "missing": ("", "", "share of trials lost"),
}
SOURCES: Mapping[str, str] = {
    "fixed": "assumed numbers", "prior": "assumed, some of them drawn anew for every study",
    "pilot": "a pilot’s posterior, a draw of it for every study",
}  # fmt: skip
LIMITS = (
    "Power is what would happen if the assumed truth were true; a smaller effect, larger differences between persons "
    "or fewer trials left need more.",
    "New stimuli are drawn in every simulated study. Where stimuli are few, no number of participants passes the "
    "ceiling.",
    "Intervals are of the simulation: they shrink with more replicates, and say nothing of how sure the assumptions "
    "are.",
    "Simulated studies follow the model that is fitted to them; what a wrong model costs is not in these numbers.",
    "These numbers are of the analysis with the frozen priors; with other priors they are others.",
)


# Designs


def axis_words(axis: str, value: float) -> str:
    """`40 participants`, `1 trial`, `10 % of trials lost`, `valence = .03`; the axis where the value is nan."""
    if axis not in AXIS_WORDS:
        return f"true {axis}" if math.isnan(value) else f"{axis} = {value_text(value)}"
    one, several, at_axis = AXIS_WORDS[axis]
    if math.isnan(value):
        return at_axis
    if axis == "missing":
        return f"{100 * value:.3g} % of trials lost"
    return f"{value_text(value)} {one if value == 1 else several}"


def design_words(axes: Mapping[str, Any], names: Sequence[str]) -> str:
    """`16 pictures, 2 trials`: some axes of a design; films and losses that are 0 are not spoken of."""
    told = [
        axis_words(name, float(axes[name]))
        for name in names
        if not (name in ("films", "missing", "pictures") and float(axes[name]) == 0)
    ]
    return ", ".join(told)


def listed(texts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


# Goals


def asks(goal: Goal) -> str:
    """What a study must show to meet the goal."""
    interval = f"{100 * goal.interval:g} % interval of {goal.effect}"
    if goal.kind == "direction":
        return _asks_direction(goal)
    true = "" if goal.wanted else ", whichever is true"
    if goal.kind == "rope":
        where = {"reject": "outside", "accept": "inside"}.get(goal.wanted, "outside or inside")
        return f"the {interval} lies wholly {where} {span_text(goal.rope)}{true}"
    if goal.kind == "factor_recovery":
        return f"congruence with the true loadings, {goal.effect}, reaches {share_text(goal.threshold)}"
    if goal.kind == "width":
        return f"the {interval} is at most {value_text(goal.width)} wide"
    what = {"effect": "for", "null": "against"}.get(goal.wanted, "for or against")
    return f"the Bayes factor {what} {goal.effect} reaches {value_text(goal.threshold)}{true}"


def _asks_direction(goal: Goal) -> str:
    sides = {"positive": (">",), "negative": ("<",)}.get(goal.wanted, (">", "<"))
    told = " or ".join(f"P({goal.effect} {side} 0)" for side in sides)
    return f"{told} reaches {share_text(goal.probability, 3)}{'' if goal.wanted else ', whichever is true'}"


def what_counts(goal: Goal, *, count: int, with_effect: int) -> str:
    """Of several shapes, how many must meet the goal."""
    if count == 1:
        return ""
    least = goal.at_least or with_effect or count
    return (
        f"in at least {least} of {with_effect or count} blend shapes {'that have it ' if with_effect else ''}"
    )


def span_text(ends: Sequence[float]) -> str:
    """`−.01 to .01`."""
    return " to ".join(value_text(float(end)) for end in ends)


def power_word(plan: "Plan") -> str:
    """What the share of studies that meet their goal is called."""
    return "power" if plan.truth.source == "fixed" else "assurance"


# What was assumed


def truth_text(values: Value | Sequence[Value]) -> str:
    """`.03`, `.02 or .03`, `drawn from Normal(.03, .01)`."""
    several = values if isinstance(values, (list, tuple)) and not isinstance(values, Draw) else [values]
    return " or ".join(_one_truth(one) for one in several)  # type: ignore[arg-type]


def _one_truth(value: Value) -> str:
    if isinstance(value, Draw):
        return f"drawn from Normal({value_text(value.mean)}, {value_text(value.sd)})"
    return value_text(float(value))


# How it was computed


def how_computed(
    plan: "Plan", *, studies: int, engines: Mapping[str, int], elapsed: float, workers: int
) -> list[str]:
    """Sentences: what a replicate is, when cells stop, seeds, engines, time."""
    budget = plan.budget
    found = [
        _replicate(plan),
        "Designs that differ only in the number of participants analyse the first N of the same simulated persons, so "
        "that neighbouring numbers differ by less than their intervals say.",
        _stopping(plan),
        f"Fits that fail {'count as not meeting the goal' if budget.failures == 'not_met' else 'are left out'}.",
        f"Every random number follows from seed {plan.seed}, the cell and the number of the replicate: the same rows "
        "come from any number of processes and after any interruption.",
    ]
    if len(engines) == 1:
        found.append(f"Engine of the fits: {next(iter(engines))}.")
    elif engines:
        told = listed(
            [
                f"{name} in {share_text(count / max(sum(engines.values()), 1))}"
                for name, count in engines.items()
            ]
        )
        found.append(f"Engine of the fits: {told} of {count_text(studies)} studies.")
    if elapsed > 0:
        found.append(
            f"It took {seconds_text(elapsed)} on {workers} {'process' if workers == 1 else 'processes'}."
        )
    return found


def _replicate(plan: "Plan") -> str:
    """What one is."""
    if plan.recovery is not None:
        made = "draws new participants and new trials from one world of factors"
    elif plan.pipeline is not None:
        made = "draws new participants and new stimuli, simulates their raw frames and prepares them with the recipe"
    else:
        made = "draws new participants and stimuli from the assumed truth, simulates the trials, loses some as planned"
    decided = "fits the analysis with the frozen priors and takes the decision from the whole posterior"
    return f"Each replicate {made}, {decided}."


def _stopping(plan: "Plan") -> str:
    budget = plan.budget
    text = (
        f"Up to {count_text(budget.replicates)} replicates a cell ({count_text(budget.null_replicates)} without "
        f"effect), looked at after every {count_text(budget.batch)} in the order of their numbers"
    )
    rules = []
    if budget.half_width:
        rules.append(f"the 95 % interval of every goal’s power is within ±{value_text(budget.half_width)}")
    if budget.clear:
        rules.append(
            f"power is clear of {share_text(budget.target)} by a sequence of intervals that holds at all looks"
        )
    return f"{text}; a cell stops when {' or '.join(rules)}." if rules else f"{text}."


def count_text(count: float) -> str:
    """`1,200`."""
    return f"{int(count):,}"


def seconds_text(seconds: float) -> str:
    """`40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
