"""The checks of models with a formula, shape by shape.

    impossible    share of simulated rows that cannot occur; of a bounded family, share at an end
    level         the mean of all rows
    scatter       the sd of all rows
    effect        each coefficient but the intercept, a step of its column; share of draws beyond what can be
    curve         the peak of a difference of courses
    persons       sd between persons; share of persons who answer the other way round than the mean
    reliability   of a person's answer, for a test of this length

Of a family with a link, means are held between 0 and 1 (or above 0) by the link: instead of sizes, what piles up at its
ends tells a prior that is too wide.
"""

from collections.abc import Iterator

import numpy as np

from mien.simulation.prior_predictive.judging import Judge, Summary, number, summary_of
from mien.simulation.prior_predictive.limits import Limits
from mien.simulation.prior_predictive.possible import Possible
from mien.simulation.prior_predictive.quantities import ShapeDraws
from mien.simulation.prior_predictive.result import EXPECTED, Row

__all__ = ["KINDS", "shape_rows"]

KINDS = ("impossible", "level", "scatter", "effect", "curve", "persons", "reliability")
END = 1e-6  # how near 0 or 1 a bounded value is at an end


def shape_rows(shape: ShapeDraws, possible: Possible | None, limits: Limits) -> Iterator[Row]:
    """The rows of one shape, in the order of `KINDS`."""
    yield from _impossible(shape, possible, limits)
    yield _level(shape, limits)
    yield _scatter(shape, limits)
    yield from _effects(shape, possible, limits)
    yield from _curves(shape, limits)
    yield from _persons(shape, limits)
    yield from _reliability(shape, limits)


def _impossible(shape: ShapeDraws, possible: Possible | None, limits: Limits) -> Iterator[Row]:
    judge = Judge("impossible", shape.name)
    if possible is not None:
        outside = possible.outside(shape.replicates)
        most = limits.impossible_rows
        yield judge.share(
            "share of a draw's rows that cannot occur", outside.mean(axis=1), most, "impossible"
        )
        yield judge.share(
            "chance that a row cannot occur, over rows", outside.mean(axis=0), most, "impossible"
        )
    if shape.link == "logit":
        observed = float(_ends(shape.observed).mean())
        share = _ends(shape.replicates).mean(axis=1)
        yield judge.share("share of a draw's rows at 0 or 1", share, limits.ends, "wide", observed=observed)


def _ends(values: np.ndarray) -> np.ndarray:
    return (values < END) | (values > 1 - END)


def _wide(shape: ShapeDraws, limit: float, limits: Limits) -> float:
    """A limit in observed sds, in units; a logit has ends of its own, and a log a limit of its own."""
    own = {"identity": limit, "log": limits.response_wide, "logit": np.inf}[shape.link]
    return own * shape.spread


def _level(shape: ShapeDraws, limits: Limits) -> Row:
    told, mean = summary_of(shape.replicates.mean(axis=1, dtype=np.float64)), float(shape.observed.mean())
    wide = _wide(shape, limits.level_wide, limits)
    narrow = not told.lower <= mean <= told.upper
    verdict = "narrow" if narrow else "wide" if (told.upper - told.lower) / 2 > wide else EXPECTED
    limit = "holds the observed mean"
    if np.isfinite(wide):
        limit += f", half as wide as {number(wide)} at most"
    return Judge("level", shape.name).row("mean of all rows", told, shape.units, limit, verdict, mean)


def _scatter(shape: ShapeDraws, limits: Limits) -> Row:
    draws = shape.replicates.std(axis=1, dtype=np.float64)
    wide = _wide(shape, limits.scatter_wide, limits)
    return Judge("scatter", shape.name).size(
        "sd of all rows", draws, shape.units, shape.spread, wide, shape.spread
    )


def _effects(shape: ShapeDraws, possible: Possible | None, limits: Limits) -> Iterator[Row]:
    judge = Judge("effect", shape.name)
    for name, draws in shape.effects.items():
        step = shape.step(name)
        unit = shape.spread * step.size / step.sd if step.sd > 0 else shape.spread
        wide = limits.effect_wide * unit if shape.link == "identity" else np.inf
        yield judge.effect(step.words, draws, shape.units, limits.effect_narrow * unit, wide)
        if possible is not None and step.coded and shape.link == "identity":
            beyond = (np.abs(draws) > possible.width).mean()
            told, most = Summary(float(beyond), float("nan"), float("nan")), limits.impossible_effects
            verdict = "impossible" if beyond > most else EXPECTED
            quantity = f"{step.words}: share of draws larger than the whole range"
            yield judge.row(quantity, told, "share", f"at most {number(most)}", verdict)


def _curves(shape: ShapeDraws, limits: Limits) -> Iterator[Row]:
    judge = Judge("curve", shape.name)
    for name, draws in shape.curves[1].items():
        peak = np.abs(draws).max(axis=1)
        narrow, wide = (limit * shape.spread for limit in (limits.peak_narrow, limits.peak_wide))
        yield judge.size(f"{name}: largest difference at any time", peak, shape.units, narrow, wide)


def _persons(shape: ShapeDraws, limits: Limits) -> Iterator[Row]:
    judge = Judge("persons", shape.name)
    for term, (sd, other) in shape.persons.items():
        step = shape.step(term)
        words = "level" if term == "1" else step.words
        unit = shape.spread if term == "1" or step.sd == 0 else shape.spread * step.size / step.sd
        wide = limits.person_wide * unit if shape.link == "identity" else np.inf
        yield judge.size(f"sd between persons of {words}", sd, shape.units, limits.person_narrow * unit, wide)
        if other is not None:
            yield _other_way(judge, words, other, limits)


def _other_way(judge: Judge, words: str, other: np.ndarray, limits: Limits) -> Row:
    told, most = summary_of(other), limits.opposite_wide
    verdict = "wide" if told.lower > most else EXPECTED
    quantity = f"share of persons whose {words} has the opposite sign to the mean"
    return judge.row(quantity, told, "share", f"not all above {number(most)}", verdict)


def _reliability(shape: ShapeDraws, limits: Limits) -> Iterator[Row]:
    judge = Judge("reliability", shape.name)
    for name, draws in shape.reliability.items():
        words = "level" if name == "Intercept" else shape.step(name).words
        yield judge.whole(
            f"reliability of a person's {words}",
            draws,
            "0–1",
            limits.reliability_narrow,
            limits.reliability_wide,
        )
