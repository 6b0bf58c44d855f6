"""Power of the whole pipeline: raw frames, data_prep with the recipe's exclusions, then the fit and its decision.

    raw frames   a person's takes: one shape of the default latent truth, its gains times `gain`; movements, blinks,
                 glances, lost tracking and dropped frames as in `mien.simulation`
    prepared     windows, baseline and exclusions of the recipe → a mean for each trial that is left
    clean        the same faces again, for a tracker that loses nothing and a recipe that excludes nothing

Both are fitted and decided, so that the difference of their power is what losses and exclusions cost, person for
person. No formula says what effect a gain comes to: it is counted, over persons who come in mirrored pairs
(`mien.simulation.outcome_truth`). Without a gain it is 0 by symmetry, which is the null world.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data_prep.recipe import Exclusion, Recipe
from mien.models.design import build_design
from mien.simulation.design import Design, stimuli_table
from mien.simulation.people import draw_stimulus_effects
from mien.simulation.recordings import SimulatedPerson, simulate_person
from mien.simulation.truth import Truth, default_truth
from mien.study.blend_shapes import BILATERAL_NAMES
from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest

if TYPE_CHECKING:
    import pandas as pd

    from mien.power.cells import Cell
    from mien.power.plan import Plan
    from mien.power.simulating import Simulated, Skeleton

__all__ = [
    "COLUMNS", "GAIN", "Pipeline", "check_pipeline", "cost_of_pipeline", "counted_effects",
    "of_both", "simulate_frames",
]  # fmt: skip

GAIN = "gain"  # the one true value of such a plan
COLUMNS = ("kept_share", "persons_left")
USED = ("participant", "stimulus", "valence", "medium")
NO_LOSSES: Mapping[str, float] = {
    "loss_per_movement": 0.0, "loss_per_glance": 0.0, "losses_per_min": 0.0, "dropped_per_min": 0.0,
}  # fmt: skip
NO_EXCLUSIONS = Exclusion(None, None, None, None, previous_stimulus=False, next_stimulus=False)
Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Pipeline:
    """What lies between a face and a trial.

    Parameters
    ----------
    shape : a blend shape that reacts in the default latent truth. recipe : of data_prep.
    picture_s, film_s : how long stimuli are shown, s.
    pairs : of mirrored persons, to count the true effect: 200 know that of a smile to 5 %.
    """

    shape: str
    recipe: Recipe = field(default_factory=Recipe)
    picture_s: float = 5.0
    film_s: float = 15.0
    pairs: int = 200

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with what the latent numbers are."""
        return {
            "shape": self.shape, "recipe_sha256": self.recipe.sha256, "latent_sha256": default_truth().sha256,
            "picture_s": float(self.picture_s), "film_s": float(self.film_s), "pairs": self.pairs,
        }  # fmt: skip


def reacting_shapes() -> tuple[str, ...]:
    """Those with gains in the default latent truth."""
    return tuple(one.blend_shape for one in default_truth().shapes if one.gain_picture or one.gain_film)


def check_pipeline(plan: "Plan") -> None:
    """Refuse what raw studies do not have.

    Raises
    ------
    SpecError
    """
    pipeline, design = plan.pipeline, plan.design
    assert pipeline is not None
    _check_numbers(pipeline)
    if tuple(plan.truth.coefficients) != (GAIN,) or plan.truth.sds or plan.truth.pilot is not None:
        raise SpecError("pipeline: expected pipeline.gain and no other truth, found [truth]: leave it out.")
    for value in plan.truth.coefficients[GAIN]:
        if not isinstance(value, float | int) or not math.isfinite(value):
            raise SpecError(f"pipeline.gain: expected numbers, 1 for the default's gains, found {value!r}.")
    found = {
        "design.trials": (design.trials, (1,)), "design.sessions": (design.sessions, (1,)),
        "design.missing": (design.missing, (0.0,)), "design.dropout": (design.dropout, 0.0),
        "design.groups": (design.groups, ()), "design.covariates": (design.covariates, ()),
        "design.valences": (design.valences, ("negative", "positive")), "shapes.count": (plan.shapes.count, 1),
    }  # fmt: skip
    for name, (value, only) in found.items():
        if value != only:
            raise SpecError(
                f"{name}: expected {_told(only)} with a pipeline, found {_told(value)}: raw studies have one session "
                "of one shape, and lose trials by themselves."
            )
    _check_formula(plan)


def _check_numbers(pipeline: Pipeline) -> None:
    if pipeline.shape not in reacting_shapes():
        raise SpecError(
            f"pipeline.shape: expected a blend shape that reacts ({', '.join(reacting_shapes())}), found "
            f"{pipeline.shape!r}{nearest(pipeline.shape, BILATERAL_NAMES)}."
        )
    for name in ("picture_s", "film_s"):
        value = getattr(pipeline, name)
        if not isinstance(value, float | int) or not 1.0 <= value < math.inf:
            raise SpecError(f"pipeline.{name}: expected seconds from 1, found {value!r}.")
    if not isinstance(pipeline.pairs, int) or pipeline.pairs < 2:
        raise SpecError(f"pipeline.pairs: expected a whole number from 2, found {pipeline.pairs!r}.")
    if pipeline.recipe.sides != "mean":
        raise SpecError(f"pipeline.recipe: expected sides = 'mean', found {pipeline.recipe.sides!r}.")


def _told(value: object) -> str:
    values = list(value) if isinstance(value, tuple) else [value]
    return ", ".join(map(str, values)) or "none"


def _check_formula(plan: "Plan") -> None:
    formula = parse_formula(plan.analysis.spec.formula)
    for name in formula.columns:
        if name not in (*USED, formula.response):
            raise SpecError(f"analysis.formula: expected {', '.join(USED)} with a pipeline, found {name!r}.")
    for effect, weights in zip(plan.effects, plan.combinations, strict=True):
        still = [name for name in weights if "valence" not in name.split(":")]
        if still:
            raise SpecError(
                f"goals: expected effects of valence with a pipeline, whose gain is positive minus negative, found "
                f"{effect!r} with {still[0]}."
            )


# Raw frames to trials


def latent_truth(pipeline: Pipeline, gain: float, *, clean: bool) -> Truth:
    """The default's numbers with the shape's gains times `gain`; clean: for a tracker that loses nothing."""
    return _latent(pipeline.shape, gain, clean)


@lru_cache(maxsize=16)
def _latent(shape: str, gain: float, clean: bool) -> Truth:
    truth = default_truth()
    shapes = tuple(
        replace(one, gain_picture=gain * one.gain_picture, gain_film=gain * one.gain_film)
        if one.blend_shape == shape else one
        for one in truth.shapes
    )  # fmt: skip
    return replace(truth, shapes=shapes, **(NO_LOSSES if clean else {}))


def used_recipe(pipeline: Pipeline, *, clean: bool) -> Recipe:
    """The recipe; clean: with no exclusions."""
    return replace(pipeline.recipe, exclusion=NO_EXCLUSIONS) if clean else pipeline.recipe


def session(pipeline: Pipeline, axes: Mapping[str, float]) -> Design:
    """What one person goes through, as `mien.simulation` has it."""
    return Design(
        int(axes["participants"]),
        int(axes["pictures"]),
        int(axes["films"]),
        pipeline.picture_s,
        pipeline.film_s,
    )


def simulate_frames(
    plan: "Plan", cell: "Cell", skeleton: "Skeleton", replicate: int, *, clean: bool = False
) -> "Simulated":
    """One replicate from raw frames, in the rows of the skeleton; a trial that was lost has no response.

    Parameters
    ----------
    clean : the same faces for a tracker that loses nothing, and no exclusions.
    """
    from mien.power.simulating import PERSONS, STIMULI, Simulated, seed_of

    pipeline = plan.pipeline
    assert pipeline is not None
    gain = float(cell.coefficients[GAIN])  # type: ignore[arg-type]  # checked: no Draw
    design, truth = session(pipeline, cell.axes), latent_truth(pipeline, gain, clean=clean)
    recipe, stimuli = used_recipe(pipeline, clean=clean), stimuli_table(design)
    of_stimuli = np.random.default_rng(seed_of(plan, cell.cohort, replicate, STIMULI))
    effects = draw_stimulus_effects(design, truth, of_stimuli)
    prepared = []
    for number in range(design.participants):
        own = np.random.default_rng(seed_of(plan, cell.cohort, replicate, PERSONS, number))
        person = simulate_person(design, truth, effects, own)
        prepared.append(_one_shape(person, stimuli, recipe, number, pipeline.shape))
    response = _trial_means(prepared, recipe, stimuli, design.participants)
    return Simulated(
        response[None], np.isfinite(response), _true_effects(plan, cell, gain)[None], skeleton.frame
    )


def of_both(
    plan: "Plan", cell: "Cell", skeleton: "Skeleton", replicate: int,
    analysed: "Callable[[Simulated], dict[str, Any]]",
) -> dict[str, Any]:  # fmt: skip
    """A replicate's row: its own, what was left, and for each goal whether the clean world's study met it too.

    Parameters
    ----------
    analysed : data → the columns of a fit and its decisions.
    """
    made = simulate_frames(plan, cell, skeleton, replicate)
    persons = made.frame["participant"].cat.codes.to_numpy()
    row = {"kept_share": float(made.kept.mean()), "persons_left": len(np.unique(persons[made.kept]))}
    clean = analysed(simulate_frames(plan, cell, skeleton, replicate, clean=True))
    ideal = {f"{goal.name}:clean": clean.get(f"{goal.name}:met") for goal in plan.goals}
    ideal |= {f"{goal.name}:clean_mean": clean.get(f"{goal.name}:mean") for goal in plan.goals}
    return row | ideal | analysed(made)


def _one_shape(
    person: SimulatedPerson, stimuli: "pd.DataFrame", recipe: Recipe, number: int, shape: str
) -> "pd.DataFrame":
    """A person's rows of one shape, before `finish`, which looks at each shape alone."""
    from mien.simulation.trials import person_trials

    table = person_trials(person, stimuli, recipe, f"{number + 1:06d}")
    return table.loc[(table["blend_shape"] == shape).to_numpy()]


def _trial_means(
    prepared: "list[pd.DataFrame]", recipe: Recipe, stimuli: "pd.DataFrame", participants: int
) -> np.ndarray:
    """(participant · stimulus,) mean of each trial's kept bins, nan where it was lost."""
    import pandas as pd

    from mien.data_prep.trials import finish
    from mien.study.trials import mean_over_bins

    trials, _ = finish(pd.concat(prepared, ignore_index=True), recipe)
    response = np.full(participants * len(stimuli), np.nan)
    kept = trials.loc[(trials["excluded"] == "").to_numpy()]
    if len(kept):
        means = mean_over_bins(kept)
        person = means["participant"].astype("str").astype("int64").to_numpy() - 1
        item = pd.Index(stimuli["stimulus_id"]).get_indexer(pd.Index(means["stimulus"].astype("str")))
        response[person * len(stimuli) + item] = means["activation"].to_numpy(dtype=np.float64)
    return response


# What is true


def _true_effects(plan: "Plan", cell: "Cell", gain: float) -> np.ndarray:
    """(effect,) of the plan's effects in a cell."""
    from mien.power.simulating import REFERENCE

    if gain == 0.0 or cell.world == REFERENCE:  # which gives priors their scale, and needs no truth
        return np.zeros(len(plan.effects))
    assert plan.pipeline is not None
    found = dict(counted_effects(
        plan.pipeline, plan.analysis.spec.formula, int(cell.axes["pictures"]), int(cell.axes["films"]), gain, plan.seed
    ))  # fmt: skip
    return np.array([sum(weight * found[name] for name, weight in one.items()) for one in plan.combinations])


@cache
def counted_effects(
    pipeline: Pipeline, formula: str, pictures: int, films: int, gain: float, seed: int
) -> tuple[tuple[str, float], ...]:
    """The coefficients of a formula in the clean world, by least squares over mirrored pairs of persons."""
    import pandas as pd

    design = session(pipeline, {"participants": 1, "pictures": pictures, "films": films})
    truth, recipe = latent_truth(pipeline, gain, clean=True), used_recipe(pipeline, clean=True)
    means, rows = [], []
    for pair, swap in itertools.product(range(pipeline.pairs), (False, True)):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(pair,)))
        effects = draw_stimulus_effects(design, truth, rng)
        person = simulate_person(design, truth, effects, rng, swap_valence=swap)
        stimuli = stimuli_table(design, swap_valence=swap)
        table = _one_shape(person, stimuli, recipe, 0, pipeline.shape)
        means.append(_trial_means([table], recipe, stimuli, 1))
        rows.append(stimuli.assign(participant=f"{pair:06d}", stimulus=stimuli["stimulus_id"]))
    parsed = parse_formula(formula)
    found = build_design(parsed, pd.concat(rows, ignore_index=True).assign(**{parsed.response: 0.0}))
    values = np.concatenate(means)
    there = np.isfinite(values)
    solved = np.linalg.lstsq(found.columns[there], values[there], rcond=None)[0]
    return tuple(zip(found.coefficients, solved.tolist(), strict=True))


# What it costs


def cost_of_pipeline(plan: "Plan", rows: "pd.DataFrame") -> "pd.DataFrame":
    """What losses and exclusions cost: power with them, without them, and the difference in the same replicates.

    Parameters
    ----------
    rows : of `run_replicates`; those that failed in one of the two are left out and counted.

    Returns
    -------
    DataFrame with a row for each cell and goal: cell, goal, n, left_out, kept_share and persons_left (means), power,
    power_clean, difference (power − power_clean), lower, upper of its 95 % interval, shift (mean of the estimate − that
    of the clean world's) and its Monte-Carlo error shift_mcse. The interval is that of paired shares with half a
    replicate added to each of the four outcomes (a rule), so that it is none of width 0.
    """
    import pandas as pd

    found = []
    for key, mine in rows.groupby("cell", sort=False):
        for goal in plan.goals:
            both = mine.loc[mine[f"{goal.name}:met"].notna() & mine[f"{goal.name}:clean"].notna()]
            met, clean = (np.asarray(both[f"{goal.name}:{name}"], dtype=bool) for name in ("met", "clean"))
            found.append({
                "cell": key, "goal": goal.name, "n": len(both), "left_out": len(mine) - len(both),
                "kept_share": mine["kept_share"].mean(), "persons_left": mine["persons_left"].mean(),
                "power": met.mean() if len(both) else np.nan, "power_clean": clean.mean() if len(both) else np.nan,
                **_paired(met, clean), **_shift(both, goal.name),
            })  # fmt: skip
    return pd.DataFrame(found)


def _shift(rows: "pd.DataFrame", goal: str) -> dict[str, float]:
    """How far estimates are from those of the same faces without losses: what is lost is not lost at random."""
    apart = (rows[f"{goal}:mean"] - rows[f"{goal}:clean_mean"]).to_numpy(dtype=np.float64)
    if len(apart) < 2:
        return {"shift": math.nan, "shift_mcse": math.nan}
    return {"shift": float(apart.mean()), "shift_mcse": float(apart.std(ddof=1) / math.sqrt(len(apart)))}


def _paired(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Difference of two shares of the same replicates, and its 95 % interval."""
    if not len(one):
        return dict.fromkeys(("difference", "lower", "upper"), math.nan)
    n, up, down = len(one) + 2.0, float((one & ~other).sum()) + 0.5, float((~one & other).sum()) + 0.5
    centre = (up - down) / n
    half = Z_95 * math.sqrt(up + down - (up - down) ** 2 / n) / n
    return {
        "difference": float(one.mean() - other.mean()),
        "lower": max(-1.0, centre - half), "upper": min(1.0, centre + half),
    }  # fmt: skip
