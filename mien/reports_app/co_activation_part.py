"""The part of a report on which parts of the face move together: from a co-activation fit to what is placed.

Everything is told of the level that answers: within persons, or between stimuli of what is stimulus-driven. A fit whose
computation failed its checks has no figures. Factors without a name (`co_activation_words.standing`) are folded.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from mien.models.factors.tables import (
    STRONG,
    ShapeGroups,
    co_activation_pairs,
    correlation_draws,
    loadings,
    shape_groups,
    shares,
)
from mien.models.stored_checks import stored_checks
from mien.reports_app import co_activation_tables as tables
from mien.reports_app import co_activation_words as words
from mien.reports_app.attributes import failures, parsed, verdict_detail
from mien.reports_app.defaults import Decisions
from mien.reports_app.figures.co_activation_network import NODES, co_activation_network
from mien.reports_app.figures.colour import nice_limit
from mien.reports_app.figures.correlation_map import correlation_map
from mien.reports_app.figures.dendrogram import DrawnTree, paired_dendrograms, support_dendrogram
from mien.reports_app.figures.face_map import face_map_svg
from mien.reports_app.figures.loadings import loading_forest
from mien.reports_app.figures.theme import themed, to_svg
from mien.reports_app.rows import Row, rows_of
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES
from mien.workflow.co_activation import compared_numbers

__all__ = ["CoActivationPart", "FactorPart", "Numbers", "co_activation_part", "part_order"]

LISTED = 6  # shapes of a factor in each direction
NAMELESS = "No factor can be named: we cannot tell which parts of the face move together."
PARTS = ("co_activation", "co_activation-spontaneous", "co_activation-stimulus_driven")


class FactorPart(NamedTuple):
    """One factor with a name: what it is, its shapes by direction, its loadings on the face and as a forest."""

    name: str
    sentence: str
    told: list[tuple[str, list[tuple[str, str]]]]
    face: Markup | None
    forest: Markup | None


class Numbers(NamedTuple):
    """How many factors at the level that answers; a comparison, which is always of those within, where one was made."""

    answer: str
    title: str = ""
    compared: str = ""
    table: pd.DataFrame | None = None


class Figures(NamedTuple):
    """Of all shapes: the network (None where nothing is joined), the map of all pairs, the trees.

    marked : whether groups are marked in them. classical : whether the trees are two.
    """

    network: Markup | None
    pairs: Markup
    trees: Markup
    marked: bool
    classical: bool


class Other(NamedTuple):
    """The level that does not answer: sentences, and its loadings (None without factors)."""

    title: str
    sentences: list[str]
    loadings: pd.DataFrame | None


class CoActivationPart(NamedTuple):
    """One co-activation fit, ready to be placed; where `failed` or without factors, sentences only."""

    fit: str
    title: str
    failed: str
    answer: str
    weak: str
    factors: list[FactorPart]
    unnamed: list[tuple[str, str]]
    numbers: Numbers
    figures: Figures | None
    pairs_told: str
    pairs: pd.DataFrame
    loadings: pd.DataFrame
    groups_told: list[str]
    groups: pd.DataFrame
    ball: pd.DataFrame
    other: Other
    rotation: pd.DataFrame

    @property
    def lead(self) -> str:
        """For the head of a report that has nothing else: the share, and the largest factor."""
        return " ".join(
            [self.failed or self.answer, *(f"{one.name}: {one.sentence}" for one in self.factors[:1])]
        )


def part_order(names: Sequence[str]) -> list[str]:
    """All co-activation first, then what is spontaneous, then what stimuli drive, then others as they come."""
    return sorted(names, key=lambda name: PARTS.index(name) if name in PARTS else len(PARTS))


def co_activation_part(
    name: str, fit: Any, decisions: Decisions, *, sides: str = "mean", full: bool = True
) -> CoActivationPart:
    """The part of one fit.

    Parameters
    ----------
    sides : of the face maps. full : whether each factor has a face and a forest; they are two thirds of the weight.
    """
    reading = words.reading_of(fit)
    failed = _failed(fit)
    rows = _by_factor(loadings(fit, reading.level))
    bare = CoActivationPart(
        name, reading.title, failed, "", "", [], [], _numbers(fit, reading), None, "", pd.DataFrame(), pd.DataFrame(),
        [], pd.DataFrame(), pd.DataFrame(), Other(reading.other, [], None), _rotation(fit),
    )  # fmt: skip
    if failed:
        return bare
    count = int(parsed(fit, "groups")["count"])
    if not rows:
        return bare._replace(answer=f"The model has no factors between {reading.unit}, so that nothing can be told of "
                             f"what moves together there: fit it with factors between {reading.unit}.")  # fmt: skip
    shared = _communality(fit, reading.level)
    pairs = rows_of(co_activation_pairs(fit, reading.level))
    groups = shape_groups(fit, reading.level)
    named, unnamed = _told(fit, reading, rows, decisions)
    weak = words.few_sentence(count, reading.unit)
    means = [(shape, told[0]) for shape, told in shared.items()]
    answer = words.share_sentence(len(rows), means, _average(fit, reading.level), reading)
    return bare._replace(
        answer=answer if named else f"{answer} {NAMELESS}",
        weak=weak if reading.level == "between" else "",
        factors=_factors(named, rows, sides, decisions, full=full),
        unnamed=unnamed,
        figures=_figures(fit, reading, groups, decisions),
        pairs_told=words.pairs_sentence(pairs, decisions),
        pairs=tables.pairs_table(pairs, decisions.probably),
        loadings=tables.loadings_table([row for of in rows.values() for row in of], shared),
        groups_told=[words.group_sentence(groups), *words.ball_sentences(groups)],
        groups=tables.groups_table(groups),
        ball=tables.ball_table(groups.ball, _shapes(fit)),
        other=_other(fit, reading, weak, decisions),
    )


def _failed(fit: Any) -> str:
    if fit.attrs.get("diagnostics") == "passed":
        return ""
    reasons = ", ".join(failures(fit).values())
    return (
        "We cannot tell which parts of the face move together: the computation did not pass its checks"
        f"{f' ({reasons})' if reasons else ''}."
    )


def _by_factor(table: pd.DataFrame) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows_of(table):
        found.setdefault(str(row["factor"]), []).append(row)
    return found


def _shapes(fit: Any) -> list[str]:
    return [str(name) for name in fit["posterior"].dataset["blend_shape"].to_numpy()]


def _communality(fit: Any, level: str) -> dict[str, tuple[float, float, float]]:
    """Shape → share of its variance that the factors carry: mean, lower, upper."""
    return {
        str(row["blend_shape"]): (row["communality"], row["communality_lower"], row["communality_upper"])
        for row in rows_of(shares(fit))
        if row["level"] == level
    }


def _average(fit: Any, level: str) -> tuple[float, float, float]:
    """The same, averaged over shapes."""
    drawn = fit["posterior"].dataset[_stem(level) + "communality"].mean("blend_shape").to_numpy()
    lower, upper = np.quantile(drawn, (0.025, 0.975))
    return float(drawn.mean()), float(lower), float(upper)


def _stem(level: str) -> str:
    return "between_" if level == "between" else ""


# Factors


def _told(
    fit: Any, reading: words.Reading, rows: Mapping[str, Sequence[Row]], decisions: Decisions
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Factor → its sentence, of those with a name; (factor, what it lacks) of the others."""
    another = _another(fit, reading.level, len(rows))
    share = _shares_of_factors(fit, reading.level)
    named, unnamed = {}, []
    for place, (factor, mine) in enumerate(rows.items()):
        lacking = words.standing(mine, another[place], decisions)
        if lacking:
            unnamed.append((factor, f"{lacking}."))
        else:
            named[factor] = words.factor_sentence(mine, share[place], another[place], reading, decisions)
    return named, unnamed


def _another(fit: Any, level: str, factors: int) -> list[float]:
    told = verdict_detail(fit).get("rotation", {}).get(level, ())
    return [float(one["another"]) for one in told] or [0.0] * factors


def _shares_of_factors(fit: Any, level: str) -> list[float]:
    """Share of all movement that each factor carries, averaged over shapes and draws."""
    posterior, stem = fit["posterior"].dataset, _stem(level)
    carried = posterior[f"{stem}loading"] ** 2
    dim = f"{stem}factor"
    whole = carried.sum(dim) + posterior[f"{stem}uniqueness"]
    return (carried / whole).mean(("chain", "draw", "blend_shape")).to_numpy().tolist()


def _factors(
    named: Mapping[str, str],
    rows: Mapping[str, Sequence[Row]],
    sides: str,
    decisions: Decisions,
    *,
    full: bool,
) -> list[FactorPart]:
    limit = nice_limit(max((abs(float(row["mean"])) for name in named for row in rows[name]), default=1.0))
    return [
        FactorPart(
            name,
            sentence,
            words.factor_notes(rows[name], LISTED, decisions),
            _face(name, sentence, rows[name], sides, limit) if full else None,
            _forest(name, rows[name]) if full else None,
        )
        for name, sentence in named.items()
    ]


def _face(factor: str, sentence: str, rows: Sequence[Row], sides: str, limit: float) -> Markup | None:
    places = NAMES if sides == "both" else BILATERAL_NAMES
    mine = {str(row["blend_shape"]): row for row in rows if row["blend_shape"] in places}
    if not mine:
        return None
    return _drawn(
        face_map_svg(
            {name: row["mean"] for name, row in mine.items()},
            p_direction={name: row["p_carried"] for name, row in mine.items()},
            outline="P(carried)",
            intervals={name: (row["eti_lower"], row["eti_upper"]) for name, row in mine.items()},
            units=f"loading on {factor}",
            title=f"Face map of factor {factor}. {sentence}",
            sides=sides,
            limit=limit,
        )
    )


def _forest(factor: str, rows: Sequence[Row]) -> Markup:
    table = pd.DataFrame(rows).rename(columns={"eti_lower": "lower", "eti_upper": "upper"})
    label = f"Forest plot of the loadings of {len(rows)} shapes on factor {factor}"
    return _drawn(themed(to_svg(loading_forest(table, factor), label=label)))


# All shapes


def _figures(fit: Any, reading: words.Reading, groups: ShapeGroups, decisions: Decisions) -> Figures:
    shapes, named = _shapes(fit), words.letters(groups)
    drawn = correlation_draws(fit, reading.level)
    above = (drawn > 0).mean(axis=0)
    mean, direction = drawn.mean(axis=0), np.maximum(above, 1 - above)
    marked = words.hold_together(groups) and any(named.values())
    labels = [(named[name] if marked else "") or f"alone {name}" for name in shapes]
    return Figures(
        _network(shapes, mean, (np.abs(drawn) > STRONG).mean(axis=0), labels, decisions),
        _drawn(correlation_map(
            mean, direction, shapes, order=groups.tree.leaves, groups=labels,
            label=f"Correlations of all pairs of {len(shapes)} shapes, in the order of the tree",
        )),
        _trees(groups, shapes, labels, reading),
        marked,
        groups.classical is not None,
    )  # fmt: skip


def _network(
    shapes: Sequence[str], mean: np.ndarray, strong: np.ndarray, labels: Sequence[str], decisions: Decisions
) -> Markup | None:
    known = [place for place, name in enumerate(shapes) if name in NODES or name in NAMES]
    if len(known) < 2:
        return None
    grid = np.ix_(known, known)
    joined = int((np.tril(strong, -1)[grid] >= decisions.probably).sum())
    if not joined:
        return None
    return _drawn(
        co_activation_network(
            [shapes[place] for place in known], mean[grid], strong[grid], least=STRONG, threshold=decisions.probably,
            groups=[labels[place] for place in known],
            label=f"The face with its movements as points; {joined} pairs that move together are joined by lines",
        )
    )  # fmt: skip


def _trees(
    groups: ShapeGroups, shapes: Sequence[str], labels: Sequence[str], reading: words.Reading
) -> Markup:
    tree = groups.tree
    if groups.classical is None:
        svg = support_dendrogram(
            tree.linkage, tree.leaves, tree.support, shapes, groups=labels,
            label="Tree of the shapes, with the posterior support of its branches",
        )  # fmt: skip
    else:
        of = "trials as they are" if reading.level == "within" else "means of stimuli"
        svg = paired_dendrograms(
            DrawnTree("posterior, with support", tree.linkage, tree.support),
            DrawnTree(f"classical, {of}", groups.classical.linkage), tree.leaves, shapes,
            label="Two trees of the shapes face to face: of the posterior with support, and of the sample correlations",
        )  # fmt: skip
    return _drawn(themed(svg))


def _drawn(markup: str) -> Markup:
    """Markup of this package's own figures, which escape the texts in them."""
    return Markup(markup)  # noqa: S704


# The number of factors, the other level, the computation


def _numbers(fit: Any, reading: words.Reading) -> Numbers:
    given = _given(fit, reading)
    found = compared_numbers(fit)
    if found is None:
        notes = stored_checks(fit).notes if reading.level == "within" else ()
        return Numbers(" ".join([given, *notes]))
    table, told = found
    compared = tables.numbers_table(table, int(told["recommended"]), reading.unit)
    if reading.level == "between":
        return Numbers(given, f"How many factors within {reading.unit}?", str(told["answer"]), compared)
    apart = words.numbers_sentence(rows_of(table), int(told["recommended"]))
    return Numbers(apart, "How many factors?", str(told["answer"]), compared)


def _given(fit: Any, reading: words.Reading) -> str:
    factors = fit["posterior"].dataset.sizes[f"{_stem(reading.level)}factor"]
    return (
        f"The number of factors {reading.level} {reading.unit} ({factors}) was given beforehand; whether the data ask "
        "for more or fewer was not compared."
    )


def _other(fit: Any, reading: words.Reading, weak: str, decisions: Decisions) -> Other:
    level = "between" if reading.level == "within" else "within"
    rows = _by_factor(loadings(fit, level))
    sentences = [words.other_sentence(len(rows), reading)]
    if rows and level == "between":
        named, unnamed = _told(
            fit, reading._replace(level=level, of="the differences between persons"), rows, decisions
        )
        sentences += [weak, *(f"Factor {name}: {text}" for name, text in named.items())]
        sentences += [f"Factor {name} {text}" for name, text in unnamed]
    table = tables.loadings_table([row for of in rows.values() for row in of], _communality(fit, level))
    return Other(reading.other, sentences, table if rows else None)


def _rotation(fit: Any) -> pd.DataFrame:
    posterior = fit["posterior"].dataset
    names = {
        level: [str(name) for name in posterior[f"{_stem(level)}factor"].to_numpy()]
        for level in ("within", "between")
    }
    return tables.rotation_table(verdict_detail(fit).get("rotation", {}), names)
