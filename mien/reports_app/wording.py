"""Sentences: what an effect says, in words chosen by its probability.

Rules that every sentence keeps: it never says that there is no effect, only that a difference is practically none
under stated limits or that we cannot tell; it describes differences between stimuli of this set and claims no cause;
a number stands with its interval and the interval with its kind and level; a computation that failed its checks says
nothing about faces.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mien.reports_app.defaults import CANNOT_TELL, DEFAULTS, Decisions
from mien.reports_app.rows import Row, by_size
from mien.study.blend_shapes import BLEND_SHAPES, NAMES, bilateral_name

__all__ = [
    "MOVEMENTS", "Phrase", "answer", "decimals_for", "effect_note", "effect_numbers", "effect_sentence", "effect_title",
    "interval_text", "lost_sentence", "movement", "multiverse_sentences", "number", "peak_sentence", "phrase_of",
    "probability_text", "subject_of", "units_text", "wrong_signs",
]  # fmt: skip

# What the movements are called in plain words (general knowledge; ARKit's names stand beside them).
MOVEMENTS: Mapping[str, str] = {
    "browDown": "brows lowered", "browInnerUp": "inner brows raised", "browOuterUp": "outer brows raised",
    "eyeBlink": "eyes closed", "eyeSquint": "lower lids tightened", "eyeWide": "upper lids raised",
    "eyeLookDown": "gaze down", "eyeLookIn": "gaze inward", "eyeLookOut": "gaze outward", "eyeLookUp": "gaze up",
    "noseSneer": "nose wrinkled", "cheekPuff": "cheeks puffed", "cheekSquint": "cheeks raised",
    "mouthSmile": "smile", "mouthFrown": "mouth corners down", "mouthDimple": "mouth corners tightened",
    "mouthStretch": "lips stretched", "mouthPress": "lips pressed", "mouthPucker": "lips puckered",
    "mouthFunnel": "lips funnelled", "mouthClose": "lips closed over the jaw", "mouthUpperUp": "upper lip raised",
    "mouthLowerDown": "lower lip lowered", "mouthRollUpper": "upper lip rolled in",
    "mouthRollLower": "lower lip rolled in", "mouthShrugUpper": "upper lip pushed up",
    "mouthShrugLower": "chin and lower lip pushed up", "mouthLeft": "mouth to the left",
    "mouthRight": "mouth to the right", "jawOpen": "jaw opened", "jawForward": "jaw forward",
    "jawLeft": "jaw to the left", "jawRight": "jaw to the right", "tongueOut": "tongue out",
}  # fmt: skip


class Phrase(NamedTuple):
    """How an effect is spoken about: `{shape} was {word} {higher|lower} {compared}`."""

    title: str
    up: str
    down: str
    compared: str


PHRASES: Mapping[str, Phrase] = {
    "valence": Phrase(
        "positive − negative stimuli", "higher", "lower", "with positive than with negative stimuli of this set",
    ),
    "neutral": Phrase(
        "neutral stimuli − mean of negative and positive", "higher", "lower",
        "with neutral stimuli than with the mean of negative and positive ones of this set",
    ),
    "medium": Phrase("films − pictures", "higher", "lower", "with these films than with these pictures"),
    "valence:medium": Phrase(
        "(positive − negative) in films − in pictures", "more positive", "more negative",
        "in its difference between positive and negative stimuli with these films than with these pictures",
    ),
}  # fmt: skip


def phrase_of(effect: str) -> Phrase:
    """The words for an effect; one that has none of its own is named."""
    if effect in PHRASES:
        return PHRASES[effect]
    first, _, column = effect.partition(":")
    if first == "valence" and column and ":" not in column:
        return _by_column(column)
    return Phrase(effect, "above zero", "below zero", f"in “{effect}”")


def _by_column(column: str) -> Phrase:
    """How the answer to valence goes with a column: per sd of a number, or between the levels of a category."""
    if column == "center(trial)":
        title, compared = "change of (positive − negative) a trial", "from trial to trial"
    elif column.endswith("_z"):
        name = column.removesuffix("_z").replace("_", " ")
        title = f"(positive − negative) for each sd of {name}"
        compared = f"with each standard deviation more of {name} (among persons otherwise alike in the model)"
    else:
        name = column.replace("_", " ")
        title, compared = f"(positive − negative), differing by {name}", f"by {name}"
    up, down = "more positive", "more negative"
    return Phrase(title, up, down, f"in its difference between positive and negative stimuli {compared}")


def units_text(units: str) -> str:
    """`coefficient units` for the units of ARKit's coefficients; others as they are."""
    return "coefficient units" if units == "coefficient" else units


def effect_title(effect: str) -> str:
    """What the effect is, as a figure's units say it."""
    return phrase_of(effect).title


def movement(blend_shape: str) -> str:
    """The plain words for a blend shape: `mouthSmileLeft` → "smile, left"; a contrast keeps its name."""
    if blend_shape in MOVEMENTS:
        return MOVEMENTS[blend_shape]
    if blend_shape in NAMES:
        return f"{MOVEMENTS[bilateral_name(blend_shape)]}, {BLEND_SHAPES[blend_shape].side}"
    return blend_shape


def number(value: float, decimals: int = 3) -> str:
    """`+0.041`, `−0.022`, `0.000`; a dash for what is not there."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def probability_text(probability: float) -> str:
    """`0.93`, `> 0.99`: never 1, because draws cannot show it."""
    return "> 0.99" if probability >= 0.995 else f"{probability:.2f}"


def interval_text(row: Mapping[str, Any], decimals: int = 3) -> str:
    """`95 % ETI +0.020 to +0.062`, kind and level from the row."""
    level = f"{100 * float(row['ci_prob']):g} % {str(row['ci_kind']).upper()}"
    return f"{level} {number(row['eti_lower'], decimals)} to {number(row['eti_upper'], decimals)}"


def decimals_for(spread: float, *, digits: int = 2) -> int:
    """Decimals that show so many digits of `spread`, 2 to 5: two in tables, one in sentences."""
    return 3 if not spread > 0 else int(min(max(digits - 1 - math.floor(math.log10(spread)), 2), 5))


def effect_sentence(row: Mapping[str, Any], *, decisions: Decisions = DEFAULTS, failure: str = "") -> str:
    """One effect on one shape as a sentence.

    Parameters
    ----------
    row : a row of `mien.effects`.
    failure : why the computation failed, where the fit says so.
    """
    name, phrase = str(row["blend_shape"]), phrase_of(str(row["effect"]))
    subject = subject_of(name)
    if str(row["verdict"]) != "passed":
        return f"{subject}: {CANNOT_TELL}: the computation did not pass its checks{_failure(row, failure)}."
    decimals = decimals_for(float(row["sd"]), digits=1)
    word = decisions.word(float(row["p_direction"]))
    direction = phrase.up if int(row["direction"]) > 0 else phrase.down
    if word == CANNOT_TELL:
        start = f"{subject}: we {CANNOT_TELL} whether it was {phrase.up} or {phrase.down} {phrase.compared}"
    elif word == "there are signs that":
        start = f"{subject}: there are signs that it was {direction} {phrase.compared}"
    else:
        start = f"{subject} was {word} {direction} {phrase.compared}"
    return f"{start}: {effect_numbers(row)}{_decision(row, decimals)}."


def effect_numbers(row: Mapping[str, Any]) -> str:
    """`+0.041 coefficient units (95 % ETI +0.025 to +0.058; P(direction) > 0.99)`."""
    decimals = decimals_for(float(row["sd"]), digits=1)
    return (
        f"{number(row['mean'], decimals)} {units_text(str(row['units']))} ({interval_text(row, decimals)}; "
        f"P(direction) {_equals(float(row['p_direction']))})"
    )


def effect_note(row: Mapping[str, Any], *, decisions: Decisions = DEFAULTS) -> tuple[str, str]:
    """For a list under a heading that tells the direction: ("Smile (mouthSmile)", "clearly, +0.041 …")."""
    word = decisions.word(float(row["p_direction"]))
    word = "there are signs" if word == "there are signs that" else word
    decimals = decimals_for(float(row["sd"]), digits=1)
    return subject_of(str(row["blend_shape"])), f"{word}: {effect_numbers(row)}{_decision(row, decimals)}"


def subject_of(blend_shape: str) -> str:
    """`Smile (mouthSmile)`; a contrast in quotation marks."""
    plain = movement(blend_shape)
    return f"{_capital(plain)} ({blend_shape})" if plain != blend_shape else f"“{blend_shape}”"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _equals(probability: float) -> str:
    text = probability_text(probability)
    return text if text.startswith(">") else f"= {text}"


def _decision(row: Mapping[str, Any], decimals: int) -> str:
    limits = f"±{float(row['rope']):.{decimals}f}"
    if row["decision"] == "inside":
        return f"; practically none under these limits ({limits})"
    if row["decision"] == "outside":
        return f"; the interval lies outside the limits of practically none ({limits})"
    return ""


def _failure(row: Mapping[str, Any], failure: str) -> str:
    if failure:
        return f" ({failure})"
    values = [
        f"{label} {float(row[column]):{form}}"
        for column, label, form in (
            ("r_hat", "R-hat", ".3f"),
            ("ess_bulk", "bulk ESS", ".0f"),
            ("ess_tail", "tail ESS", ".0f"),
        )
        if column in row and math.isfinite(float(row[column]))
    ]
    return f" ({', '.join(values)})" if values else ""


def wrong_signs(rows: Iterable[Row], *, decisions: Decisions = DEFAULTS) -> tuple[int, float]:
    """How many shapes are flagged, and the expected number of wrong signs among them: Σ (1 − P(direction))."""
    flagged = _flagged(rows, decisions)
    return len(flagged), sum(1 - float(row["p_direction"]) for row in flagged)


def _flagged(rows: Iterable[Row], decisions: Decisions) -> list[Row]:
    return [row for row in _passed(rows) if row["p_direction"] >= decisions.flag]


def _passed(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["verdict"] == "passed"]


def answer(rows: Sequence[Row], *, decisions: Decisions = DEFAULTS, most: int = 3) -> str:
    """One paragraph for one effect: how many shapes answer, the largest of them, for how many we cannot tell.

    Parameters
    ----------
    rows : the rows of `mien.effects` of one effect.
    most : how many shapes to name in each direction.
    """
    phrase = phrase_of(str(rows[0]["effect"]))
    flagged, total = _flagged(rows, decisions), _count(len(rows), "facial movement")
    if not _passed(rows):
        return f"We {CANNOT_TELL}: the computation did not pass its checks for any of {total}."
    if not flagged:
        first = f"We {CANNOT_TELL} for any of {total} whether it was {phrase.up} or {phrase.down} {phrase.compared}"
    else:
        named = [_few(flagged, sign, phrase, most) for sign in (1, -1)]
        first = f"Of {total}, {len(flagged)} probably or clearly differed: {'; '.join(filter(None, named))}"
    rest = _rest(rows, decisions, told=bool(flagged))
    return f"{first}. {_capital('; '.join(rest))}." if rest else f"{first}."


def _rest(rows: Sequence[Row], decisions: Decisions, *, told: bool) -> list[str]:
    """What is to be said of the shapes that are not flagged."""
    unflagged = [row for row in _passed(rows) if row["p_direction"] < decisions.flag]
    inside = sum(row["decision"] == "inside" for row in unflagged)
    signs = sum(row["p_direction"] >= decisions.signs for row in unflagged if row["decision"] != "inside")
    unsure = len(unflagged) - inside - signs
    failed = len(rows) - len(_passed(rows))
    parts = [f"for {signs}{' more' if told else ''} there are signs of a direction"] if signs else []
    parts += [f"for {unsure} we {CANNOT_TELL}"] if unsure and told else []
    verb = "is" if inside == 1 else "are"
    parts += [f"{inside} {verb} practically none under the limits used here"] if inside else []
    parts += [f"{failed} did not pass the checks of the computation"] if failed else []
    return parts


def _few(flagged: Sequence[Row], sign: int, phrase: Phrase, most: int) -> str:
    rows = by_size(row for row in flagged if row["direction"] == sign)
    if not rows:
        return ""
    names = [
        f"{movement(str(row['blend_shape']))} ({number(row['mean'], decimals_for(float(row['sd']), digits=1))})"
        for row in rows[:most]
    ]
    listed = ", ".join(names) + (f" and {len(rows) - len(names)} more" if len(rows) > len(names) else "")
    return f"{phrase.up if sign > 0 else phrase.down} {phrase.compared}: {listed}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def multiverse_sentences(outcome: Mapping[str, Any], *, estimate: str = "mean") -> list[str]:
    """What a multiverse says of one outcome: how far the analyses agree, and which choice moves the answer most.

    Parameters
    ----------
    outcome : an entry of a multiverse's summary. estimate : what it compares.
    """
    units = (
        "coefficient units" if estimate == "mean" else {"beta_std": "β std", "beta_sigma": "β/σ"}[estimate]
    )
    decimals = decimals_for(max(float(outcome["spread"]), 1e-9), digits=2)
    failed = f" ({outcome['failed']} could not be fitted)" if outcome["failed"] else ""
    sentences = [
        f"{subject_of(str(outcome['outcome']))}: {outcome['cells']} analyses{failed}, "
        f"estimates from {number(outcome['least'], decimals)} to {number(outcome['largest'], decimals)} "
        f"{units}, as planned {number(outcome['reference'], decimals)}.",
        f"{outcome['same_sign']:.0%} have the sign of the planned analysis, in {outcome['excludes_0']:.0%} the "
        f"interval excludes 0, in {outcome['inside_rope']:.0%} it lies inside the ROPE.",
    ]
    moving = [choice for choice in outcome["choices"] if choice["range"]]
    if moving:
        most = max(moving, key=lambda choice: choice["range"])
        share = (
            ""
            if most["share"] is None
            else f" and explains {most['share']:.0%} of the scatter between analyses"
        )
        sentences.append(
            f"The choice that moves it most is {most['choice']}: it shifts the estimate by "
            f"{most['range']:.{decimals}f}{share}."
        )
    return sentences


def peak_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """When and how large the difference of one shape was at its largest; rows of `mien.models.peaks` of one shape."""
    by = {str(row["quantity"]): row for row in rows}
    size, when = by["size"], by["time"]
    subject = subject_of(str(size["blend_shape"]))
    if str(size["verdict"]) != "passed":
        return f"{subject}: {CANNOT_TELL}: the computation did not pass its checks."
    if not math.isfinite(float(size["median"])):
        return (
            f"{subject}: we {CANNOT_TELL} when it differed most: that it differed by more than the ROPE at any "
            f"time has a probability of {probability_text(float(size['p_peak']))}."
        )
    level = f"{100 * float(size['ci_prob']):g} % ETI"
    decimals = decimals_for((float(size["eti_upper"]) - float(size["eti_lower"])) / 4, digits=1)
    return (
        f"{subject} differed most {float(when['median']):.1f} s after onset ({level} {float(when['eti_lower']):.1f} to "
        f"{float(when['eti_upper']):.1f} s), by {number(size['median'], decimals)} {units_text(str(size['units']))} "
        f"({level} {number(size['eti_lower'], decimals)} to {number(size['eti_upper'], decimals)})."
    )


def lost_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far lost trials could move one effect; rows of `mien.models.lost_trials` of that effect."""
    worst = max(rows, key=lambda row: float(row["at_most_sd"]))
    lost = max(int(row["lost"]) for row in rows)
    effect = phrase_of(str(worst["effect"])).title
    if not lost:
        return f"No trial was lost to tracking, so none could move {effect}."
    total = max(int(row["lost"]) + int(row["kept"]) for row in rows)
    return (
        f"The tracker lost up to {lost} of {total:,} trials of a shape, which the models take as missing at random. "
        "Had each been one residual standard deviation away from what the model expects, in the direction that moves "
        f"{effect} most, it would move by at most {float(worst['at_most_sd']):.2f} posterior standard deviations "
        f"({worst['blend_shape']})."
    )
