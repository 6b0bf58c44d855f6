"""`prior_predictive`: draws, checks, sentences and the verdict."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.diagnostics import outcomes_of
from mien.models.factors.spec import FAMILY, FactorSpec
from mien.models.levels import labels_in_use
from mien.models.spec import ModelSpec
from mien.priors import FrozenPriors
from mien.simulation.prior_predictive import factor_checks, formula_checks
from mien.simulation.prior_predictive.limits import LIMITS, Limits
from mien.simulation.prior_predictive.possible import (
    Possible,
    check_possible,
    possible_of,
    possible_values,
)
from mien.simulation.prior_predictive.prior_tree import CHAINS, prior_draws
from mien.simulation.prior_predictive.quantities import ShapeDraws, replicated
from mien.simulation.prior_predictive.result import EXPECTED, PriorPredictive, Row, table_of
from mien.simulation.prior_predictive.sentences import factor_sentences, formula_sentences
from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest

__all__ = ["prior_predictive"]

SHOWN = 4  # shapes whose draws are kept for pictures
POINTS = 2000  # of a picture's draws
CURVES = 40


def prior_predictive(  # noqa: PLR0913  (the public face)
    spec: ModelSpec | FactorSpec | str,
    data: pd.DataFrame,
    *,
    participants: pd.DataFrame | None = None,
    draws: int = 400,
    seed: int = 0,
    limits: Limits = LIMITS,
    shapes: Sequence[str] = (),
    possible: Sequence[float] | None = None,
    frozen: FrozenPriors | None = None,
) -> PriorPredictive:
    """What a model's priors expect, in activation units, and whether that is sensible.

    Parameters
    ----------
    spec : a ModelSpec, a FactorSpec or a formula. data, participants : as for `mien.fit`; the default priors take their
        scale from the rows.
    draws : from the priors, at least 40. seed : the same numbers for the same seed.
    limits : where something is told wide, narrow or impossible.
    shapes : only these; () takes all, of a model with curves one typical shape (the median sd), and says so.
    possible : lowest and highest value that can occur; None takes them from the table's columns.
    frozen : priors of `mien.models.freeze_priors`, instead of those that would be resolved on these data.

    Returns
    -------
    PriorPredictive, whose verdict is "passed" or "look".

    Raises
    ------
    SpecError, FitError
        As `mien.fit`; also for flat priors.
    """
    given = check_possible(possible)
    if isinstance(spec, FactorSpec):
        own = replace(spec, shapes=tuple(shapes)) if shapes else spec
        tree = prior_draws(own, data, participants=participants, draws=draws, seed=seed, frozen=frozen)
        return _of_factors(own, tree, given or possible_values(data, "activation"), limits, seed)
    model = ModelSpec(spec) if isinstance(spec, str) else spec
    chosen = _chosen(model, data, shapes)
    tree = prior_draws(
        chosen.spec, chosen.data, participants=participants, draws=draws, seed=seed, frozen=frozen
    )
    single = given or possible_values(data, parse_formula(model.formula).response)
    return _of_formula(model, tree, chosen, single, limits)


class _Chosen(NamedTuple):
    """The model and the rows of the shapes asked for; note : what was left out by itself."""

    spec: ModelSpec
    data: pd.DataFrame
    shapes: tuple[str, ...]
    note: str


def _chosen(spec: ModelSpec, data: pd.DataFrame, shapes: Sequence[str]) -> _Chosen:
    formula = parse_formula(spec.formula)
    if "blend_shape" not in data.columns or "blend_shape" in formula.columns:
        if shapes:
            raise SpecError(
                "shapes: expected none for a model of a single outcome, found some: leave them out."
            )
        return _Chosen(spec, data, (), "")
    column = cast(pd.Series, data["blend_shape"])
    present = labels_in_use(column)
    known = [*present, *spec.contrasts]
    for name in shapes:
        if name not in known:
            raise SpecError(f"shapes: expected outcomes of the data, found {name!r}{nearest(name, known)}.")
    note = ""
    if not shapes:
        if not spec.smooths or len(known) == 1:
            return _Chosen(spec, data, (), "")
        shapes = (_typical(data, formula.response),)
        note = f"Only {shapes[0]} was looked at, the shape with the median sd of {len(present)}; shapes= takes others."
    contrasts = {name: spec.contrasts[name] for name in shapes if name in spec.contrasts}
    needed = {*shapes, *(name for weights in contrasts.values() for name in weights)} & set(present)
    rows = cast(pd.DataFrame, data[column.isin(list(needed)).to_numpy()])
    names = pd.Categorical(rows["blend_shape"].astype("str"), categories=[n for n in present if n in needed])
    return _Chosen(
        replace(spec, contrasts=contrasts, pooling="none"),
        rows.assign(blend_shape=names),
        tuple(shapes),
        note,
    )


def _typical(data: pd.DataFrame, response: str) -> str:
    """The shape whose sd is the median one."""
    spread: Any = data.groupby("blend_shape", observed=True)[response].std()
    order = spread.dropna().sort_values(kind="stable").index
    return str(order[len(order) // 2])


# Models with a formula


def _of_formula(
    spec: ModelSpec, tree: xr.DataTree, chosen: _Chosen, single: Possible | None, limits: Limits
) -> PriorPredictive:
    seed = int(cast(int, tree.attrs["seed"]))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # priors may be as wide as they like
        simulated = replicated(tree, seed)
        outcomes = [
            _drawn(tree, place, label, simulated)
            for place, label in enumerate(outcomes_of(tree))
            if not chosen.shapes or label in chosen.shapes
        ]
        ranges = {one.name: possible_of(one.name, single, spec.contrasts) for one in outcomes}
        rows = _in_order(
            (row for one in outcomes for row in formula_checks.shape_rows(one, ranges[one.name], limits)),
            formula_checks.KINDS,
        )
        shown = _shown(rows, outcomes)
        arrays = _arrays(shown, ranges, np.random.default_rng(seed))
    draws = tree["posterior"].sizes["draw"] * CHAINS
    first = shown[0].name
    notes = [chosen.note] if chosen.note else []
    if spec.pooling == "partial":
        notes.append(
            "Pooling over shapes comes after the fits of single shapes: its own priors are not looked at."
        )
    return PriorPredictive(
        spec.name, spec.family, table_of(rows), _verdict(rows),
        (*formula_sentences(rows, first, ranges[first], draws), *notes), arrays,
        {
            "outcomes": [one.name for one in outcomes], "shown": [one.name for one in shown],
            "possible": {name: _told(one) for name, one in ranges.items()}, "draws": draws,
            "replicates": len(simulated), "seed": seed, "formula": spec.formula,
        }, limits,
    )  # fmt: skip


def _drawn(tree: xr.DataTree, place: int, label: str | None, simulated: np.ndarray) -> ShapeDraws:
    mine = simulated[:, place]
    used = np.isfinite(tree["observed_data"].dataset["outcome"].to_numpy())
    keep = used[place] if label is not None else used
    return ShapeDraws(tree, label, mine[:, keep])


def _in_order(rows: Iterable[Row], kinds: Sequence[str]) -> list[Row]:
    return sorted(rows, key=lambda row: kinds.index(row.check))


def _verdict(rows: Sequence[Row]) -> str:
    return "passed" if all(row.verdict == EXPECTED for row in rows) else "look"


def _told(possible: Possible | None) -> Mapping[str, Any]:
    return {} if possible is None else possible._asdict()


def _shown(rows: Sequence[Row], outcomes: list[ShapeDraws]) -> list[ShapeDraws]:
    """The smile first where it is there, then those with most to look at, then those that move most."""
    wrong = Counter(row.blend_shape for row in rows if row.verdict != EXPECTED)
    order = sorted(outcomes, key=lambda one: (one.name != "mouthSmile", -wrong[one.name], -one.spread))
    return order[:SHOWN]


def _arrays(
    shown: list[ShapeDraws], ranges: Mapping[str, Possible | None], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Thinned draws: "simulated|shape", "observed|shape", "times", "curve|name|shape", "persons|term|shape" …"""
    found: dict[str, np.ndarray] = {}
    for one in shown:
        found[f"simulated|{one.name}"] = _some(one.replicates.ravel(), POINTS, rng)
        found[f"observed|{one.name}"] = _some(one.observed, POINTS, rng)
        found[f"spread|{one.name}"] = np.array([one.spread])
        possible = ranges[one.name]
        if possible is not None:
            found[f"possible|{one.name}"] = np.array([possible.low, possible.high])
        times, curves = one.curves
        if curves:
            found["times"] = times
        found |= {f"curve|{name}|{one.name}": draws[:CURVES] for name, draws in curves.items()}
        for term, (sd, _) in one.persons.items():
            words = "level" if term == "1" else one.step(term).words
            found[f"persons|{words}|{one.name}"] = _some(sd, POINTS, rng)
        for name, draws in one.reliability.items():
            words = "level" if name == "Intercept" else one.step(name).words
            found[f"reliability|{words}|{one.name}"] = _some(draws, POINTS, rng)
    return {name: np.nan_to_num(np.asarray(values, dtype=np.float64)) for name, values in found.items()}


def _some(values: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return values if len(values) <= most else rng.choice(values, most, replace=False)


# Co-activation


def _of_factors(
    spec: FactorSpec, tree: xr.DataTree, possible: Possible | None, limits: Limits, seed: int
) -> PriorPredictive:
    drawn = factor_checks.factor_draws(tree)
    rows = _in_order(factor_checks.factor_rows_of(drawn, possible, limits), factor_checks.KINDS)
    rng, draws = np.random.default_rng(seed), len(drawn.uniqueness["within"])
    arrays: dict[str, np.ndarray] = {}
    for level in ("within", "between"):
        if drawn.loading[level].shape[2]:
            arrays[f"correlation|{level}"] = _some(drawn.correlation(level).ravel(), POINTS, rng)
            arrays[f"communality|{level}"] = _some(drawn.communality(level).ravel(), POINTS, rng)
        arrays[f"sd|{level}"] = _some(drawn.sd(level).ravel(), POINTS, rng)
    arrays["observed sd|between"] = drawn.between_sd
    return PriorPredictive(
        spec.name, FAMILY, table_of(rows), _verdict(rows), factor_sentences(rows, possible, draws), arrays,
        {
            "outcomes": list(drawn.shapes), "shown": [], "possible": {"": _told(possible)}, "draws": draws,
            "replicates": draws, "seed": seed, "formula": spec.formula, "factors": spec.factors,
            "between": spec.between,
        }, limits,
    )  # fmt: skip
