"""Co-activation in words: what its factors, pairs and groups of shapes say, and what they cannot.

A factor is named by the shapes that it surely carries, largest first; one whose draws do not agree, or that carries no
two shapes for sure, has no name. What stands between persons is never mixed with what moves together in a trial.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from mien.models.factors.fitting import MULTIMODAL
from mien.models.factors.tables import CARRIED, STRONG, ShapeGroups
from mien.reports_app.attributes import parsed
from mien.reports_app.defaults import DEFAULTS, Decisions
from mien.reports_app.rows import Row, by_size, rows_of
from mien.reports_app.wording import movement, number, subject_of

__all__ = [
    "NAMED", "READINGS", "Reading", "ball_sentences", "carries", "factor_notes", "factor_sentence", "few_sentence",
    "group_sentence", "hold_together", "letters", "listed", "numbers_sentence", "other_sentence", "pairs_sentence",
    "reading_of", "share_sentence", "standing", "sure",
]  # fmt: skip

NAMED = 4  # shapes in a factor's name, in each direction
HALF = 0.5  # share of draws in which a factor is another one, from which it has no name: a convention
FAR = 0.25  # of the largest distance of two partitions, from which groups are called uncertain: a convention
STRONGEST = 4  # pairs named
Z = 1.959964  # 95 % of a normal lie within this many sds


class Reading(NamedTuple):
    """How one part of co-activation is told.

    title : of its section. level : whose factors answer. where : in what they are counted; of : whose movement.
    unit : what the upper level is made of. other : title of the level that does not answer.
    """

    title: str
    level: str
    where: str
    of: str
    unit: str
    other: str


READINGS: Mapping[str, Reading] = {
    "all": Reading(
        "Which parts of the face move together", "within", "Within persons, from trial to trial",
        "the movement within persons", "persons", "Between persons",
    ),
    "spontaneous": Reading(
        "Which parts of the face move together beyond what the stimuli do", "within",
        "Within persons, from trial to trial and apart from what each stimulus does to everyone",
        "the movement that is left within persons", "persons", "Between persons",
    ),
    "stimulus_driven": Reading(
        "Which parts of the face the same stimuli move together", "between",
        "From stimulus to stimulus, in what a stimulus does to everyone", "the movement between stimuli", "stimuli",
        "Within stimuli",
    ),
}  # fmt: skip


def reading_of(fit: Any) -> Reading:
    """How a fit is to be told, by its part."""
    spec = parsed(fit, "model_spec")
    return READINGS[str(spec.get("part", "all")) if isinstance(spec, Mapping) else "all"]


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


# Factors


def sure(rows: Sequence[Row], decisions: Decisions = DEFAULTS) -> list[Row]:
    """The shapes that a factor probably or clearly carries, the largest loading first."""
    return by_size(row for row in rows if row["p_carried"] >= decisions.probably)


def standing(rows: Sequence[Row], another: float, decisions: Decisions = DEFAULTS) -> str:
    """What keeps a factor from having a name, "" where nothing does.

    Parameters
    ----------
    rows : of `mien.models.loadings` of one factor. another : share of draws in which it is another one.
    """
    carried = sure(rows, decisions)
    other = f"in {_percent(another)} of the draws it is another factor"
    if not carried:
        none = f"carries no shape for sure (none of which it has {_percent(CARRIED)} or more)"
        return f"{none}; {other}" if another >= HALF else none
    if another >= HALF:
        return f"cannot be told: {other}"
    if len(carried) == 1:
        return (
            f"carries one shape only ({movement(str(carried[0]['blend_shape']))}), which is no co-activation"
        )
    return ""


def carries(rows: Sequence[Row], decisions: Decisions = DEFAULTS) -> str:
    """`smile and cheeks raised go together, against mouth corners down`: a factor by its surest largest shapes."""
    carried = sure(rows, decisions)
    up, down = (
        [movement(str(row["blend_shape"])) for row in carried if (row["mean"] > 0) is positive]
        for positive in (True, False)
    )
    if not up or not down:
        return f"{_few(up or down)} go together"
    return f"{_few(up)}{'' if len(up) == 1 else ' go together,'} against {_few(down)}"


def _few(names: Sequence[str]) -> str:
    left = len(names) - NAMED
    return listed([*names[:NAMED], f"{left} more"] if left > 1 else names)


def factor_sentence(
    rows: Sequence[Row], share: float, another: float, reading: Reading, decisions: Decisions = DEFAULTS
) -> str:
    """What one factor with a name is, how much it carries, and whether it is the same in all draws.

    Parameters
    ----------
    share : of all movement at its level, averaged over shapes, 0–1.
    """
    text = f"{_capital(carries(rows, decisions))} ({_percent(share)} of {reading.of})."
    if another < MULTIMODAL:
        return text
    return f"{text} In {_percent(another)} of the draws its shapes are divided otherwise, so that it is not certain."


def factor_notes(
    rows: Sequence[Row], most: int, decisions: Decisions = DEFAULTS
) -> list[tuple[str, list[tuple[str, str]]]]:
    """The shapes of one factor by direction: a heading, then ("Smile (mouthSmile)", "clearly: +0.80 …")."""
    told = by_size(row for row in rows if row["p_carried"] >= decisions.signs)
    groups = []
    for heading, positive in (("Together", True), ("Against these", False)):
        mine = [row for row in told if (row["mean"] > 0) is positive][:most]
        if mine:
            groups.append(
                (heading, [(subject_of(str(row["blend_shape"])), _note(row, decisions)) for row in mine])
            )
    return groups if len(groups) > 1 else [("Together", notes) for _, notes in groups]


def _note(row: Row, decisions: Decisions) -> str:
    word = decisions.word(float(row["p_carried"])).removesuffix(" that")
    return f"{word}: {number(row['mean'], 2)} (95 % ETI {number(row['eti_lower'], 2)} to {number(row['eti_upper'], 2)})"


def share_sentence(
    factors: int, shares: Sequence[tuple[str, float]], whole: tuple[float, float, float], reading: Reading
) -> str:
    """How much of the movement the factors carry.

    Parameters
    ----------
    shares : (shape, mean communality). whole : mean, lower and upper of the average over shapes.
    """
    (least, least_share), (most, most_share) = (edge(shares, key=lambda one: one[1]) for edge in (min, max))
    mean, lower, upper = map(_percent, whole)
    carry = "1 factor (a pattern of movements that rise and fall together) carries"
    if factors != 1:
        carry = f"{factors} factors (patterns of movements that rise and fall together) carry"
    error = ", error of the tracker included" if reading.level == "within" else ""
    return (
        f"{reading.where}, {carry} {mean} of the movement of {len(shares)} shapes (95 % ETI {lower} to {upper}; "
        f"averaged over shapes, from {_percent(least_share)} of {movement(least)} to {_percent(most_share)} of "
        f"{movement(most)}). The rest is each shape’s own{error}."
    )


def numbers_sentence(rows: Sequence[Row], recommended: int) -> str:
    """Which numbers of factors the data cannot tell apart; rows of the table of `mien.models.factor_numbers`."""
    numbers = [int(row["factors"]) for row in rows]
    alike = [str(int(row["factors"])) for row in rows if row["preference_trials"] != "worse"]
    compared = f"Models with {listed([str(number) for number in numbers])} factors were compared."
    if len(alike) > 1:
        return (
            f"{compared} Trials left out cannot tell {listed(alike)} apart; {recommended}, the smallest of them, is "
            "recommended by convention."
        )
    return f"{compared} With {recommended}, trials left out are foretold better than with any other."


# Pairs


def pairs_sentence(pairs: Sequence[Row], decisions: Decisions = DEFAULTS) -> str:
    """How many pairs of shapes go together, which most, and for how many we cannot tell.

    Parameters
    ----------
    pairs : rows of `mien.models.co_activation_pairs`, the largest |r| first.
    """
    strong = [row for row in pairs if row["p_strong"] >= decisions.probably]
    weak = sum(row["p_strong"] <= 1 - decisions.probably for row in pairs)
    unsure = len(pairs) - len(strong) - weak
    together = sum(row["mean"] > 0 for row in strong)
    beyond = f"by a correlation beyond ±{STRONG:g} (P ≥ {decisions.probably:g})"
    if strong:
        named = [
            f"{movement(str(row['first']))} {'with' if row['mean'] > 0 else 'against'} "
            f"{movement(str(row['second']))} ({number(row['mean'], 2)})"
            for row in strong[:STRONGEST]
        ]
        first = (
            f"Of {len(pairs)} pairs of shapes, {together} go together and {len(strong) - together} against each other "
            f"{beyond}. The strongest: {', '.join(named)}."
        )
    else:
        first = f"Of {len(pairs)} pairs of shapes, none surely goes together or against each other {beyond}."
    rest = [_of_all(weak, len(pairs), f"probably within ±{STRONG:g}")] if weak else []
    rest += [f"for {'all of them' if unsure == len(pairs) else unsure} we cannot tell"] if unsure else []
    return "; ".join([first.removesuffix("."), *rest]) + "."


def _of_all(count: int, every: int, what: str) -> str:
    if count == every:
        return f"all are {what}"
    return f"{count} {'is' if count == 1 else 'are'} {what}"


# Groups of shapes


def letters(groups: ShapeGroups) -> dict[str, str]:
    """Shape → letter of its group, A being the largest; "" for a shape that is alone."""
    places = dict(zip(map(str, groups.table["blend_shape"]), map(int, groups.table["group"]), strict=True))
    sizes = Counter(places.values())
    return {shape: chr(ord("A") + place - 1) if sizes[place] > 1 else "" for shape, place in places.items()}


def hold_together(groups: ShapeGroups) -> bool:
    """Whether the draws have groups in common: most shapes that have a group are with it in half of them or more."""
    named = letters(groups)
    together = [row["with"] for row in rows_of(groups.table) if named[str(row["blend_shape"])]]
    return not together or median(together) >= HALF


def group_sentence(groups: ShapeGroups) -> str:
    """How many groups there are, and how many shapes are alone."""
    named = letters(groups)
    found = sorted({letter for letter in named.values() if letter})
    alone = sum(not letter for letter in named.values())
    if not found:
        return "No two shapes belong together for sure: each stands alone."
    if not hold_together(groups):
        return (
            "The draws have no groups in common: most shapes are with those that they would be grouped with in less "
            "than half of them. The groups that are listed lie between many others, and no figure marks them."
        )
    told = f"{found[0]} {'and' if len(found) == 2 else 'to'} {found[-1]}"
    count = "1 group (A)" if len(found) == 1 else f"{len(found)} groups ({told})"
    rest = f"; {alone} stand{'s' if alone == 1 else ''} alone" if alone else ""
    why = (
        "; a shape stands alone where no factor carries 10 % of it, or none that carries others"
        if alone
        else ""
    )
    return (
        f"The shapes fall into {count}{rest}. A group holds the shapes that one factor carries most, with or against "
        f"each other{why}."
    )


def ball_sentences(groups: ShapeGroups) -> list[str]:
    """How certain the groups are: the credible ball in words."""
    ball, largest = groups.ball, math.log2(len(groups.partition))
    fewest, most, own = (int(np.max(part)) + 1 for part in (ball.fewest, ball.most, groups.partition))
    if ball.radius == 0:
        return [f"{_capital(_percent(ball.coverage))} of the posterior has just these groups."]
    between = f"always {fewest}" if fewest == most else f"from {fewest} to {most}"
    just = f"; {_percent(groups.drawn)} of the draws have just these" if groups.drawn else ""
    told = (
        f"{_percent(ball.level)} of the posterior lies within {ball.radius:.1f} bits of these groups ({largest:.1f} "
        f"bits being the largest distance there is): {between} groups, a shape that stands alone counted as one{just}."
    )
    doubts = [] if groups.drawn else ["no draw has just these, which lie between many"]
    doubts += [] if fewest <= own <= most else [f"they are {own}, as in none of these draws"]
    doubts += ["the posterior reaches far from them"] if ball.radius > FAR * largest else []
    return [told, f"The groups are not certain: {'; '.join(doubts)}."] if doubts else [told]


# The other level


def few_sentence(count: int, unit: str) -> str:
    """What so many persons, or stimuli, can know of a correlation."""
    if count < 5:
        return f"{count} {unit} can tell next to nothing of how shapes go together between {unit}."
    limit = math.tanh(Z / math.sqrt(count - 3))
    return (
        f"{count} {unit} can tell little: a correlation of 0 between {unit} would come out from −{limit:.2f} to "
        f"+{limit:.2f} in 95 % of studies of this size, even if each level were known without error."
    )


def other_sentence(factors: int, reading: Reading) -> str:
    """What the level is that does not answer, and that it is another question."""
    count = f"{factors} factor{'s' if factors != 1 else ''} of its own"
    if reading.level == "between":
        return (
            f"What is left within a stimulus, from person to person and trial to trial, has {count}. They are not what "
            "the stimuli drive; the fit of spontaneous co-activation tells them."
        )
    if not factors:
        return (
            "The model has no factors between persons: each shape’s level differs between persons by itself, so that "
            "nothing is told of how levels go together."
        )
    return (
        "Persons who show more of one movement in general may show more or less of another. That is another question, "
        f"with {count} (B1 …), and says nothing of what moves together in a trial."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(share: float) -> str:
    """`45 %`; neither 0 % nor 100 % is ever certain."""
    if share < 0.005:
        return "less than 1 %"
    return "more than 99 %" if share >= 0.995 else f"{100 * share:.0f} %"
