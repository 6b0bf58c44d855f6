"""Priors in words for people without statistics: what a parameter is, and what is known of its prior.

Rules that every sentence keeps: it tells what was computed and under which limits, never that priors are right; what
was not computed is said, and what does it; that an answer stays is said of the widths that were tried only.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mien.models.coding import level_columns
from mien.reports_app.figures.prior_widths import width_text
from mien.simulation.prior_predictive.result import EXPECTED

__all__ = [
    "COLUMN_LIMIT", "SOURCE_WORDS", "Told", "answer_definition", "capital", "checked_text", "date_text", "factors_text",
    "few", "frozen_sentence", "leaning_text", "noun", "of", "parameter_words", "posterior_words", "prior_of_effect",
    "quantity_words", "range_sentence", "spoken", "widths_words",
]  # fmt: skip

COLUMN_LIMIT = 3  # shapes that a cell or sentence names
# Prior sds in posterior sds, in the shape where they are fewest, from which so much was told: a convention.
AMOUNTS = ((10.0, "next to nothing"), (3.0, "little"), (1.5, "something"), (0.0, "much"))
Z = 1.959964  # 95 % of a normal lie within this many sds

SOURCE_WORDS: Mapping[str, str] = {
    "rule": "rule (follows from the scale)",
    "convention": "convention (common practice)",
    "literature": "literature",
    "pilot": "pilot data",
    "elicited": "elicited (somebody’s answers)",
}

COEFFICIENTS: Mapping[str, str] = {
    "Intercept": "average level",
    "valence": "difference between positive and negative stimuli",
    "neutral": "difference between neutral stimuli and the mean of negative and positive ones",
    "medium": "difference between films and pictures",
    "time": "steady change within a trial",
    "center(trial)": "change from trial to trial",
}
COLUMNS: Mapping[str, str] = {
    "medium": "the medium (film or picture)", "time": "the time within a trial", "center(trial)": "the order of trials",
}  # fmt: skip
GROUPS: Mapping[str, str] = {"participant": "persons", "stimulus": "stimuli"}
OTHERS: Mapping[str, str] = {
    "sigma": "scatter of single rows about what the model expects",
    "rho": "how far one bin of a trial resembles the one before",
    "nu": "how often rows lie far out",
    "phi": "how closely the values between 0 and 1 keep to their average",
    "shape": "scatter of the values above 0, relative to their average",
    "zi": "share of zeros", "hu": "share of zeros", "zoi": "share of zeros and ones",
    "coi": "share of ones among zeros and ones",
    "cutpoint_zero": "how low activation must be to be recorded as 0",
    "cutpoint_one": "how high activation must be to be recorded as 1",
    "loading_sd": "how strongly factors move a shape within groups",
    "uniqueness": "what a shape does by itself within groups",
    "between_loading_sd": "how strongly factors move a shape between groups",
    "between_uniqueness": "what a shape does by itself between groups",
}  # fmt: skip


# Parameters


def parameter_words(name: str) -> str:
    """`how much persons differ in their level` for `sd:1|participant`; a name that has no words stays."""
    if name.startswith("sd:"):
        return _spread_words(name.removeprefix("sd:"))
    if name.startswith("corr:"):
        return f"how the effects of {_group(name.removeprefix('corr:'))} go together"
    stem, colon, stratum = name.partition(":")
    if stem == "sigma" and colon:
        return f"{OTHERS['sigma']} ({stratum})"
    if name in OTHERS:
        return OTHERS[name]
    parameter, _, column = name.partition("_")
    if parameter in OTHERS and column:
        return (
            OTHERS[parameter]
            if column == "Intercept"
            else f"{OTHERS[parameter]}, by the {_coefficient(column)}"
        )
    return _coefficient(name)


def posterior_words(name: str) -> str:
    """The same for the name that a quantity has in the posterior: `1|participant_sigma`, `sigma[film]`."""
    if name.startswith("communality "):
        return f"share of a shape that factors carry {name.partition(' ')[2]} groups"
    if name.endswith("_sigma"):
        return parameter_words(f"sd:{name.removesuffix('_sigma')}")
    stem, bracket, label = name.partition("[")
    if bracket and stem.endswith("_corr"):
        return parameter_words(f"corr:{stem.removesuffix('_corr')}")
    return parameter_words(f"sigma:{label.removesuffix(']')}" if bracket and stem == "sigma" else name)


def _coefficient(name: str) -> str:
    if name in COEFFICIENTS:
        return COEFFICIENTS[name]
    first, colon, rest = name.partition(":")
    if colon:
        if (first, rest) == ("valence", "medium"):
            return f"how the {COEFFICIENTS['valence']} differs between films and pictures"
        return f"how the {_coefficient(first)} goes with {COLUMNS.get(rest, _plain(rest))}"
    if name.endswith("_z"):
        return f"change with each standard deviation of {_plain(name)}"
    return f"difference by {_plain(name)}"


def _plain(column: str) -> str:
    """`age` for `age_z`."""
    return column.partition("[")[0].removesuffix("_z").replace("_", " ")


def _group(factor: str) -> str:
    if factor.startswith("participant:") and factor.endswith(":trial"):
        return "trials"
    return GROUPS.get(factor, f"levels of {factor}")


def _spread_words(rest: str) -> str:
    term, bar, factor = rest.partition("|")
    curve = term.startswith("s(")
    if not bar:
        return f"how much {_curve(term)} bends"
    who = _group(factor)
    if curve:
        return f"how far {who} differ in {_curve(term)}"
    if "_is_" in term:
        return f"how much {who} differ in level ({term.rpartition('_is_')[2]})"
    what = "level" if term == "1" else f"the {_coefficient(term)}"
    return f"how much {who} differ in {what.replace('the how', 'how')}"


def _curve(term: str) -> str:
    _, _, of_what = term.partition(":")
    return f"the course of the {_coefficient(of_what)}" if of_what else "the course over time"


def quantity_words(name: str, coding: Mapping[str, Sequence[str]]) -> str:
    """The words that a prior predictive check has for a step of a coefficient: `positive − negative`.

    Parameters
    ----------
    coding : category → levels in order, of the fit.
    """
    coded: dict[str, str] = {}
    for category, levels in coding.items():
        for column in level_columns(category, list(levels)):
            if category == "valence":
                coded[column] = "positive − negative" if column == "valence" else "neutral − the others"
            else:
                coded[column] = f"{levels[1]} − {levels[0]}" if len(levels) == 2 else column
    return " × ".join(coded.get(base, f"one sd of {base}") for base in name.split(":"))


# Small pieces


def capital(text: str) -> str:
    """With a first capital."""
    return text[:1].upper() + text[1:]


def few(names: Sequence[str]) -> str:
    """`jawOpen, mouthSmile, browDown and 4 more`; "" for a single outcome without a name."""
    named = [name for name in names if name]
    listed = ", ".join(named[:COLUMN_LIMIT])
    more = len(named) - COLUMN_LIMIT
    return f"{listed} and {more} more" if more > 0 else listed


def of(count: int, total: int, what: str = "shape") -> str:
    """`2 of 34 shapes`, `none of 34 shapes`, `all 34 shapes`."""
    many = f"{total} {what}{'' if total == 1 else 's'}"
    return f"none of {many}" if not count else f"all {many}" if count == total else f"{count} of {many}"


def _where(names: Sequence[str], total: int) -> str:
    """`in 2 of 34 shapes (jawOpen, mouthSmile)`; all of them need no names."""
    return f"in {of(len(names), total)}{'' if len(names) == total else _in(names)}"


def _in(names: Sequence[str]) -> str:
    listed = few(names)
    return f" ({listed})" if listed else ""


def _within(half: Sequence[float], units: str) -> str:
    """`within ±0.098 units`, or `within ±0.004 to ±0.26 units, by shape`."""
    texts = [f"±{value:.2g}" for value in (min(half), max(half))]
    same = texts[0] == texts[1]
    return f"within {texts[0]} {units}" if same else f"within {' to '.join(texts)} {units}, by shape"


# The lead


class Told(NamedTuple):
    """What was told of an effect before the data, of every shape.

    mean, sd : of its normal prior. posterior_sd : of what came out.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    posterior_sd: tuple[float, ...]


def prior_of_effect(effect: str, told: Told, units: str) -> str:
    """How much the model was told of an effect before the data; told : of its shapes, none where it is flat."""
    if not told.sd:
        return f"Before the data, the model was told nothing about {noun(effect)}: its prior is flat."
    ratios = sorted(sd / after for sd, after in zip(told.sd, told.posterior_sd, strict=True) if after > 0)
    least, typical = ratios[0], ratios[len(ratios) // 2]
    amount = next(word for limit, word in AMOUNTS if least >= limit)
    half = [Z * sd for sd in told.sd]
    centred = max(abs(mean) / sd for mean, sd in zip(told.mean, told.sd, strict=True)) < 0.01
    where = _within(half, units) if centred else "about values other than 0"
    compared = (
        f"{_times(typical)} as wide as what came out"
        if len(ratios) == 1
        else f"{_times(typical)} as wide as what came out in the median shape, {_times(least)} where it is closest"
    )
    return (
        f"Before the data, the model was told {amount} about {noun(effect)}: 95 % of its prior lie {where}, "
        f"{compared}."
    )


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 9.5 else f"{ratio:.1f} times"


def noun(effect: str) -> str:
    """An effect in a sentence: `the difference between …`, `how the difference … goes with age`."""
    text = parameter_words(effect)
    return text if text.startswith("how ") else f"the {text}"


def widths_words(narrowest: float, widest: float) -> str:
    """`a quarter and four times`."""
    words = {0.125: "an eighth", 0.25: "a quarter", 0.5: "half", 1.0: "once", 2.0: "twice", 4.0: "four times",
             8.0: "eight times"}  # fmt: skip
    return " and ".join(words.get(value, f"{value:.3g} times") for value in (narrowest, widest))


def range_sentence(total: int, changing: Sequence[str], tried: tuple[float, float]) -> str:
    """For how many shapes the answer stays over the widths in `tried`; changing : the others."""
    between = f"with priors between {widths_words(*tried)} as wide"
    if not changing:
        return f"The answer would be the same {between}{f' in all {total} shapes' if total > 1 else ''}."
    if len(changing) == total:
        return f"The answer changes {between}{f' in all {total} shapes' if total > 1 else ''}."
    staying = of(total - len(changing), total)
    return f"The answer would be the same {between} in {staying}; it changes in {few(changing)}."


def answer_definition(flag: float) -> str:
    """What an answer is, where one speaks of whether it stays."""
    return (
        f"The answer is whether a direction is told (P(direction) ≥ {flag:g}), which one, and the decision by the "
        "region of practical equivalence."
    )


def spoken(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


# Cells


def leaning_text(
    leaning: Sequence[str], conflict: Sequence[str], unreliable: Sequence[str], total: int
) -> str:
    """How many shapes lean on their priors in one parameter."""
    if total and len(unreliable) == total:
        return "cannot be told: the weights fail"
    if total == 1:
        parts = ["prior–data conflict" if conflict else "leans" if leaning else "does not lean"]
    elif conflict and len(conflict) == len(leaning):
        parts = [f"prior–data conflict {_where(conflict, total)}"]
    elif leaning:
        parts = [f"leans {f'in {of(len(leaning), total)}' if conflict else _where(leaning, total)}"]
        parts += [f"with prior–data conflict in {len(conflict)}{_in(conflict)}"] if conflict else []
    else:
        parts = [f"leans in {of(0, total)}"]
    if unreliable:
        parts.append(f"cannot be told in {len(unreliable)}{_in(unreliable)}")
    return ", ".join(parts)


def checked_text(found: Mapping[str, Sequence[str]], total: int) -> str:
    """What the prior predictive check says of one parameter; found : verdict → its shapes."""
    wrong = {verdict: shapes for verdict, shapes in found.items() if verdict != EXPECTED and shapes}
    if not wrong:
        return EXPECTED
    return "; ".join(f"{verdict} {_where(shapes, total)}" for verdict, shapes in wrong.items())


def frozen_sentence(frozen: str, created: str, *, registered: bool) -> str:
    """Since when the priors stand; frozen, created : ISO 8601 of the freezing ("" for none) and of the fit."""
    strict = (
        "The analysis was run as registered: priors that are not frozen, or have no source, would have been refused."
        if registered
        else "It was not run as a registered analysis, which refuses priors that are not frozen or have no source."
    )
    if not frozen:
        return (
            "The priors were not frozen: they were settled when the model was fitted, and are stored with the fit. "
            f"{strict}"
        )
    return (
        f"The priors were frozen on {date_text(frozen)}; the fit was made on {date_text(created)}. Whether that was "
        f"before anybody looked at the data is not known here: a hash in a registration shows it. {strict}"
    )


def date_text(moment: str) -> str:
    """`2026-11-23, 21:08 UTC`."""
    day, _, time = moment.partition("T")
    utc = " UTC" if time.endswith(("+00:00", "Z")) else ""
    return f"{day}, {time[:5]}{utc}" if time else moment or "an unknown date"


def factors_text(narrowest: float, widest: float) -> str:
    """`1/4 to 8`."""
    if not (math.isfinite(narrowest) and math.isfinite(widest)):
        return "–"
    low, high = width_text(narrowest), width_text(widest)
    return low if low == high else f"{low} to {high}"
