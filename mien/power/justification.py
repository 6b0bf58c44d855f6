"""The choice of sample size in plain English, a paragraph a point, for an ethics form or a preregistration.

Every number is taken from the plan or from the answers. What is an assumption is called one; what was not simulated is
said at the end. Where there is no answer the text says so: it never recommends a design that was not looked at.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mien.power.estimates import axes_of

if TYPE_CHECKING:
    import pandas as pd

    from mien.power.answers import Answers
    from mien.power.plan import Goal, Plan, Truth, Value

__all__ = ["justification", "sentence_of"]

PLURAL = {
    "participants": "participants",
    "pictures": "pictures",
    "films": "films",
    "trials": "trials",
    "sessions": "sessions",
}
DESIGN = ("pictures", "films", "trials", "sessions")


def justification(plan: "Plan", answers: "Answers") -> list[str]:
    """Paragraphs in reading order: design, truth, analysis, rules, simulations, null world, results, limits."""
    found = [
        _design(plan), _truth(plan), _analysis(plan), _rules(plan), _simulations(plan, answers),
        _null_world(plan, answers.estimates), *_results(plan, answers), _limits(plan),
    ]  # fmt: skip
    return [text for text in found if text]


# Numbers and lists


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{value:.4g}".replace("-", "−")


def _share(value: float, digits: int = 2) -> str:
    """.81; what would be 0 or 1 by rounding only is said to be below or above."""
    if math.isnan(value):
        return "unknown"
    least = 10.0**-digits
    if 0.0 < value < least / 2.0:
        return f"below {least:.{digits}f}".replace("0.", ".")
    if 1.0 - least / 2.0 < value < 1.0:
        return f"above {1.0 - least:.{digits}f}".replace("0.", ".")
    return f"{value:.{digits}f}".removeprefix("0") if value < 1.0 else "1"


def _a(word: str) -> str:
    return f"an {word}" if word.startswith("a") else f"a {word}"


def _listed(texts: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def _values(values: Sequence[float], last: str = "or") -> str:
    return _listed([_number(value) for value in values], last)


def _count(value: float, name: str) -> str:
    return f"{_number(value)} {PLURAL[name].removesuffix('s') if value == 1 else PLURAL[name]}"


# What was planned


def _design(plan: "Plan") -> str:
    design = plan.design
    start = "Sample size was planned by simulation. "
    start += f"Studies with {_values(design.participants)} participants were simulated."
    if plan.recovery is not None:
        return start
    stimuli = _listed([
        f"{_values(values)} {name}" for name, values in (("pictures", design.pictures), ("films", design.films))
        if any(values)
    ])  # fmt: skip
    times = f"{_values(design.trials)} time{'' if design.trials == (1,) else 's'}"
    told = [
        f"{start} Each participant sees {stimuli} of each valence ({_listed(design.valences)}), each {times}, in "
        f"{_values(design.sessions)} session{'' if design.sessions == (1,) else 's'}."
    ]
    if len(design.groups) > 1:
        told.append(f"Participants belong in equal numbers to the groups {_listed(design.groups)}.")
    if any(design.missing):
        told.append(f"A share of {_values(design.missing)} of the trials is lost at random.")
    if design.dropout:
        told.append(f"A share of {_number(design.dropout)} of the participants gives no trials at all.")
    told.append(
        "New stimuli were drawn in every simulated study, so that results hold for stimuli like these."
    )
    return " ".join(told)


def _truth(plan: "Plan") -> str:
    truth = plan.truth
    if plan.recovery is not None or plan.pipeline is not None:
        return "The simulated world is described in the plan that was stored with the results."
    if truth.source == "pilot":
        return (
            "Each simulated study takes its true values from one draw of the posterior of a pilot fit, so that what "
            "the pilot left uncertain is counted; the share of studies that meet their goal is then called assurance. "
            + _in_place_of_the_pilot(truth)
        )
    effects = [f"{name} = {_drawn(values)}" for name, values in truth.coefficients.items()]
    spreads = [f"{name} {_number(value)}" for name, value in truth.sds.items()]
    text = f"The assumed truth, in units of the outcome: {_listed(effects) or 'all effects 0'}"
    text += f"; residual sd {_number(truth.sigma)}"
    text += f"; standard deviations of group effects {_listed(spreads)}" if spreads else ""
    ties = [f"{name} {_number(value)}" for name, value in truth.correlations.items()]
    text += f"; correlations between effects of {_listed(ties)}" if ties else ""
    text += ". Coefficients that are not named are 0. "
    if truth.source == "prior":
        text += (
            "Where a value is drawn, every simulated study has its own, and the share of studies that meet their goal "
            "is called assurance. "
        )
    return text + "These values are assumptions of the planners; the simulation does not support them."


def _in_place_of_the_pilot(truth: "Truth") -> str:
    if not truth.coefficients:
        return "A pilot that was followed up because its effect was large promises too much."
    set_by_hand = _listed([f"{name} = {_drawn(values)}" for name, values in truth.coefficients.items()])
    return (
        f"In place of the pilot's, the planners assumed {set_by_hand}, in units of the outcome; the simulation does "
        "not support such values."
    )


def _drawn(values: "Sequence[Value]") -> str:
    texts = [
        _number(value)
        if isinstance(value, (int, float))
        else f"drawn from Normal({_number(value.mean)}, {_number(value.sd)})"
        for value in values
    ]
    return _listed(texts, "or")


def _analysis(plan: "Plan") -> str:
    frozen = plan.frozen
    if plan.recovery is not None:
        text = "Every simulated study was analysed with a two-level factor model of the blend shapes (mien)."
    else:
        spec = plan.analysis.spec
        text = f"Every simulated study was analysed with the Bayesian model {spec.formula} (mien, family {spec.family})"
        text += f"; the simulated world follows {plan.truth.formula}." if plan.truth.formula else "."
    text += f" Its priors were frozen before the first simulation (sha256 {frozen.sha256})"
    return text + (
        f"; no source is stored for those of {_listed(frozen.unsourced)}."
        if frozen.unsourced
        else ", each with its source."
    )


def _rules(plan: "Plan") -> str:
    return (
        "A study meets "
        + "; ".join(f"the goal “{goal.name}” if {_rule(plan, goal)}" for goal in plan.goals)
        + "."
    )


def _rule(plan: "Plan", goal: "Goal") -> str:
    interval = f"the {100 * goal.interval:g} % interval (equal tails) of {goal.effect}"
    if goal.kind == "direction":
        sides = {"positive": f"P({goal.effect} > 0)", "negative": f"P({goal.effect} < 0)"}
        either = f"P({goal.effect} > 0) or P({goal.effect} < 0)"
        text = f"{sides.get(goal.wanted, either)} is at least {_share(goal.probability, 3)}" + _true(goal)
    elif goal.kind == "rope":
        where = {"reject": "outside", "accept": "inside"}.get(goal.wanted, "outside or inside")
        text = f"{interval} lies wholly {where} {_number(goal.rope[0])} to {_number(goal.rope[1])}" + _true(
            goal
        )
    elif goal.kind == "width":
        text = f"{interval} is at most {_number(goal.width)} wide"
    elif goal.kind == "bayes_factor":
        sides = {"effect": f"for an effect is at least {_number(goal.threshold)}",
                 "null": f"against an effect is at least {_number(goal.threshold)}"}  # fmt: skip
        either = f"for or against an effect is at least {_number(goal.threshold)}"
        text = f"the Bayes factor {sides.get(goal.wanted, either)}" + _true(goal)
    else:
        text = f"the congruence of its factors with the true ones is at least {_number(goal.threshold)}"
    if plan.shapes.count > 1:
        least = goal.at_least or plan.shapes.with_effect or plan.shapes.count
        text += f", in at least {least} of {plan.shapes.count} blend shapes"
    return text


def _true(goal: "Goal") -> str:
    return "" if goal.wanted else " and this is so in the simulated truth"


# What was simulated


def _simulations(plan: "Plan", answers: "Answers") -> str:
    table: Any = answers.estimates
    cells = table.drop_duplicates("cell")
    grid = table[table["world"] == "alternative"]
    least, most = int(cells["n"].min()), int(cells["n"].max())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    text = f"{answers.rows:,} studies were simulated and fitted, {each} for each design and truth."
    if len(grid):
        text += (
            f" The largest Monte-Carlo standard error of a power is {_share(grid['mcse'].max(), 3)}; intervals of "
            "simulated shares are 95 % Wilson intervals."
        )
    if plan.budget.half_width or plan.budget.clear:
        text += (
            " Simulations of a design ended by a rule fixed beforehand, looked at after every complete batch."
        )
    return text + " " + _failures(plan, answers)


def _failures(plan: "Plan", answers: "Answers") -> str:
    table: Any = answers.failures
    count = int(table["count"].sum()) if len(table) else 0
    if not count:
        return "No fit failed."
    policy = "counts as a study that misses its goal" if plan.budget.failures == "not_met" else "is left out"
    causes = table.groupby("failure")["count"].sum().sort_values(ascending=False)
    named = _listed([f"{name} ({number})" for name, number in causes.head(3).items()])
    return f"{count} fit{'' if count == 1 else 's'} failed and each {policy}; causes: {named}."


def _null_world(plan: "Plan", estimates: "pd.DataFrame") -> str:
    table: Any = estimates
    null = table[(table["world"] == "null") & table["error"].notna()]
    if null.empty:
        return "Error rates in a world without the effect were not simulated."
    texts = []
    for name, some in null.groupby("goal", sort=False):
        worst = some.loc[some["error"].idxmax()]
        over = f"at most {_share(worst['error'])}" if len(some) > 1 else _share(worst["error"])
        text = f"{over} for “{name}” (95 % interval {_share(worst['error_lower'])} to {_share(worst['error_upper'])}"
        known = worst["expected_error"]
        texts.append(text + (f"; exactly {_share(known, 3)} in theory)" if not math.isnan(known) else ")"))
    of = f", the largest of {len(set(null['cell']))} designs" if len(set(null["cell"])) > 1 else ""
    return f"Where the true effect is 0, the share of studies that state one is {_listed(texts)}{of}."


# Results


def _results(plan: "Plan", answers: "Answers") -> list[str]:
    return [_result(plan, answers, row) for row in answers.smallest.to_dict("records")]


def _result(plan: "Plan", answers: "Answers", row: Mapping[Any, Any]) -> str:
    text = sentence_of(plan, row)
    near = _nearest(answers.estimates, row)
    return f"{text} {_outcomes(near)}".strip() if near is not None else text


def sentence_of(plan: "Plan", row: Mapping[Any, Any]) -> str:
    """What a line of `Answers.smallest` says, with its interval, ceiling and check."""
    head = f"Goal “{row['goal']}”{_given(plan, row)}: "
    word = "assurance" if plan.truth.source != "fixed" else "power"
    target = _share(row["target"])
    status = row["status"]
    if status == "not simulated":
        return head + "no result yet."
    if status == "found":
        return head + _found(plan, row, word, target) + _ceiling(row, word) + _check(row, word)
    if status == "smallest":
        return head + (
            f"the smallest design that was simulated, {_described(plan, row)}, already has {_a(word)} of "
            f"{_share(row['power'])} (wanted: {target}); smaller ones were not looked at."
            + _ceiling(row, word)
        )
    largest = f"with {_count(row['largest'], 'participants')}, the largest number simulated, the {word} is "
    largest += _share(row["largest_power"])
    if status == "none":
        return head + (
            f"no number of participants reaches {_a(word)} of {target} with this design: the ceiling, infinitely many "
            f"participants, is {_ceiling_share(row)}; {largest}. More stimuli are needed, not more participants."
        )
    if status == "falls":
        return (
            head + f"the {word} does not grow with the number of participants; {largest} (wanted: {target})."
        )
    return head + (
        f"no design that was simulated reaches {_a(word)} of {target}; {largest}. What lies beyond was not simulated."
        + _ceiling(row, word)
    )


def _given(plan: "Plan", row: Mapping[Any, Any]) -> str:
    """The truth that is meant, where there are several."""
    names = [name for name, values in plan.truth.coefficients.items() if len(values) > 1]
    names += ["missing"] if len(plan.design.missing) > 1 else []
    told = [
        f"a share of {_number(row[name])} lost" if name == "missing" else f"{name} = {_number(row[name])}"
        for name in names
    ]
    return f", given {_listed(told)}" if told else ""


def _described(plan: "Plan", row: Mapping[Any, Any]) -> str:
    varied = [name for name in DESIGN if len(getattr(plan.design, name)) > 1]
    texts = [_count(row["participants"], "participants")]
    of = {"pictures": " of each valence", "films": " of each valence", "trials": " of each stimulus"}
    return _listed(texts + [_count(row[name], name) + of.get(name, "") for name in varied])


def _found(plan: "Plan", row: Mapping[Any, Any], word: str, target: str) -> str:
    lower, upper = row["participants_lower"], row["participants_upper"]
    low = f"below {_number(row['largest'])}" if lower == math.inf else _number(lower)
    low = "fewer than the smallest number simulated" if lower == -math.inf else low
    high = (
        f"more than {_number(row['largest'])}, the largest number simulated"
        if upper == math.inf
        else _number(upper)
    )
    text = f"the {'cheapest' if plan.cost else 'smallest'} design with {_a(word)} of {target} has "
    text += f"{_described(plan, row)} (95 % interval of the number of participants: {low} to {high})"
    if plan.cost:
        text += f", at a cost of {_number(row['cost'])}"
    return text + "."


def _ceiling_share(row: Mapping[Any, Any]) -> str:
    return f"{_share(row['ceiling'])} ({_share(row['ceiling_lower'])} to {_share(row['ceiling_upper'])})"


def _ceiling(row: Mapping[Any, Any], word: str) -> str:
    if math.isnan(row["ceiling"]):
        return ""
    return f" With infinitely many participants and these stimuli the {word} would be {_ceiling_share(row)}."


def _check(row: Mapping[Any, Any], word: str) -> str:
    if not row["check_n"]:
        return " This answer was read off a curve through the simulated designs and has not been checked by simulation."
    text = (
        f" At this design {_number(row['check_n'])} independent studies were simulated: the {word} is "
        f"{_share(row['check_power'])} ({_share(row['check_lower'])} to {_share(row['check_upper'])}), which "
    )
    if row["agrees"]:
        text += f"agrees with the {_share(row['power'])} expected there"
        short = f", though it is short of the wanted {_share(row['target'])}: plan for a few more"
        return text + (f"{short}." if row["check_upper"] < row["target"] else ".")
    return text + (
        f"does not agree with the {_share(row['power'])} expected there: rely on the simulated designs, not on the "
        "curve between them."
    )


def _nearest(estimates: "pd.DataFrame", row: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """The check's estimates, or those of the answer's design where that was simulated."""
    table: Any = estimates
    mine = table[table["goal"] == row["goal"]]
    check = mine[(mine["cell"] == row.get("check")) & (mine["n"] > 0)]
    if check.empty and row["status"] == "smallest":
        check = mine[mine["world"] == "alternative"]
        for name in axes_of(estimates):
            if name in row:
                check = check[check[name] == row[name]]
    return None if check.empty else check.iloc[0].to_dict()


def _outcomes(line: Mapping[Any, Any]) -> str:
    """What else becomes of studies of that design."""
    told = []
    if not math.isnan(line["undecided"]):
        told.append(
            f"{_share(line['undecided'])} of such studies stay undecided, "
            f"{_share(line['wrong']) if line['wrong'] else 'none'} state something false"
        )
    if not math.isnan(line["type_m"]):
        sign = f"wrong in {_share(line['type_s'], 3)}" if line["type_s"] else "never wrong"
        told.append(
            f"where an effect is stated, its sign is {sign} and the estimate is on average {line['type_m']:.2f} times "
            "the true effect"
        )
    told.append(f"the interval is {line['width']:.2g} wide on average")
    text = "; ".join(told) + "."
    return text[0].upper() + text[1:]


def _limits(plan: "Plan") -> str:
    told = [
        "" if plan.truth.formula or plan.pipeline is not None else "the model that simulates is the one that is fitted",
        "trials are lost at random, whatever the face did" if any(plan.design.missing) else "no trials are lost",
        "" if plan.design.dropout else "no participant drops out",
        "recordings are prepared without loss: what exclusions and preprocessing cost is another simulation"
        if plan.pipeline is None else "",
        "participants and stimuli are exchangeable draws from normal populations",
        "studies look at their data once",
    ]  # fmt: skip
    return (
        "Not considered: other truths than those named. The simulation further supposes that "
        + "; ".join(text for text in told if text)
        + ". Intervals describe the error of the simulation, not how far the assumptions can be trusted."
    )
