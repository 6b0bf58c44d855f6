"""Engine "collapsed": Problem → Draws.

    sums        one pass over the rows of all outcomes (`moments`), or sums that were made before
    places      one elimination structure for all outcomes; a joint model with a shared design is rotated instead
    theta       weighted points of each outcome (`importance.sample_theta`), as many runs as chains
    draws       every chain resamples its run; coefficients and effects are drawn exactly for every resampled point

A chain's draws are as good as its run's weights, which no R-hat shows; the verdict is that of the weighted points.
Outcomes go to threads; a single outcome uses the threads itself. Each outcome has a seed of its own, from the fit's
seed and its name, so that its draws do not depend on the others or on the number of cores.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mien.models.engines.collapsed.correlation import cholesky_of
from mien.models.engines.collapsed.density import Density, SeriesBlock, available_cores, make_density
from mien.models.engines.collapsed.elimination import MAX_ROOT, Layout
from mien.models.engines.collapsed.fallback import Sampled
from mien.models.engines.collapsed.importance import ESS, KHAT, Weighted, Z, sample_theta
from mien.models.engines.collapsed.moments import Moments, moments_one_by_one
from mien.models.engines.collapsed.parameters import Natural
from mien.models.engines.collapsed.places import Places, make_places
from mien.models.engines.collapsed.rotated_density import RotatedDensity, make_rotated_density
from mien.models.engines.collapsed.series_effects import find_series_block, without_block
from mien.models.engines.collapsed.shared_design import find_shared_design
from mien.models.engines.problem import Draws, Outcome, Problem, Progress, Settings
from mien.models.smooths import POPULATION, is_smooth_term, sd_name
from mien.priors import Fixed, Flat
from mien.study.errors import FitError

__all__ = ["CollapsedEngine", "Prepared", "outcome_seed", "prepare"]

POINTS_PER_DRAW = 0.66  # a weighted point is worth .75 to .8 draws: 4,000 draws of 2,000 points' worth
COPIES = 2  # draws of every point while its factor is there; a third pick has the first draw again
MOST_KEPT = 120_000_000  # numbers kept for that, float32; larger models are factored again instead
FEWEST_POINTS = 1600  # worth the 400 that the verdict asks for, with room


class Prepared[Kind: (Density, RotatedDensity)](NamedTuple):
    """One outcome ready to be sampled; `start` is a theta near the mode."""

    outcome: Outcome
    moments: Moments
    density: Kind
    start: np.ndarray


type _Prepared = Prepared[Density] | Prepared[RotatedDensity]


def prepare(
    problem: Problem, *, threads: int | None = None, of_series: bool = False
) -> list[Prepared[Density]]:
    """Sums, structure and density of every outcome, by general elimination.

    With `of_series`, effects of whole AR(1) series are integrated out with the residuals, where there are some, and not
    eliminated.

    Raises
    ------
    FitError
        When the dense part of the structure is too large, or residuals cannot be summed up.
    """
    made = _Maker(problem, threads or available_cores(), of_series=of_series)
    return [made(place) for place in range(len(problem.outcomes))]


class _Maker:
    """Densities by general elimination, one outcome after the other: the sums of all may not fit into memory."""

    def __init__(self, problem: Problem, cores: int, *, of_series: bool) -> None:
        self.outcomes = problem.outcomes
        self.number = find_series_block(problem.outcomes) if of_series else None
        self.rest = problem.outcomes
        if self.number is not None:
            self.rest = tuple(without_block(outcome, self.number) for outcome in problem.outcomes)
        given = [outcome.moments for outcome in self.rest]
        summed = [item for item in given if isinstance(item, Moments)]
        self.sums = summed.__getitem__ if len(summed) == len(given) else moments_one_by_one(self.rest)
        self.first = self.sums(0)
        self.ar1 = self.rest[0].residual.series is not None or any(item.gaps for item in summed)
        self.threads = cores if len(self.outcomes) == 1 else 1

    @cached_property
    def places(self) -> Places:
        """Of the first outcome, and of all that have the same cells."""
        return _places(self.rest[0], self.first)

    def __call__(self, place: int) -> Prepared[Density]:
        """Prepare one outcome."""
        outcome, mine = self.outcomes[place], self.first if place == 0 else self.sums(place)
        density, start = make_density(
            outcome.design.coefficients, outcome.design.blocks, outcome.priors, mine, outcome.residual.strata,
            self.places if _same_cells(mine, self.first) else _places(self.rest[place], mine), ar1=self.ar1,
            threads=self.threads, series=None if self.number is None else SeriesBlock(outcome, self.number),
        )  # fmt: skip
        return Prepared(outcome, mine, density, start)


def _by_rotation(problem: Problem, moments: Moments, threads: int) -> list[Prepared[RotatedDensity]]:
    """A joint model of shapes where every trial has all of them; empty where the problem is none."""
    outcome = problem.outcomes[0]
    if len(problem.outcomes) > 1 or outcome.residual.series is not None:
        return []
    shared = find_shared_design(outcome.design.blocks, moments)
    if shared is None:
        return []
    density, start = make_rotated_density(
        outcome.design.coefficients, outcome.design.blocks, outcome.priors, moments, outcome.residual.strata, shared,
        threads=threads,
    )  # fmt: skip
    return [Prepared(outcome, moments, density, start)]


def _places(outcome: Outcome, moments: Moments) -> Places:
    free = sum(not isinstance(outcome.priors[name].prior, Fixed) for name in outcome.design.coefficients)
    places = make_places(outcome.design.blocks, free, moments)
    if places.structure.root > MAX_ROOT:
        raise FitError(
            f"formula: expected crossed factors of which all but one have fewer than {MAX_ROOT} effects "
            f"together, found {places.structure.root}: leave a group term out, or use fewer levels."
        )
    return places


def _same_cells(one: Moments, other: Moments) -> bool:
    return one is other or (
        np.array_equal(one.codes, other.codes)
        and np.array_equal(one.stratum, other.stratum)
        and one.gaps == other.gaps
        and len(one.rows) == len(other.rows)
    )


def outcome_seed(seed: int, name: str) -> np.random.SeedSequence:
    """Of one outcome of a fit, whichever others there are."""
    label = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.SeedSequence([seed, label])


class CollapsedEngine:
    """Gaussian hierarchical models with coefficients and effects integrated out."""

    name = "collapsed"

    def can_fit(self, problem: Problem) -> str:
        """Give the reason why not, or nothing."""
        if problem.family != "gaussian":
            return f"the family is {problem.family}, and effects can be integrated out of gaussian ones only"
        design = problem.outcomes[0].design
        sizes: dict[str, int] = {}
        for block in design.blocks:
            sizes[block.factor] = sizes.get(block.factor, 0) + len(block.levels) * len(block.terms)
        smaller = sum(sizes.values()) - max(sizes.values(), default=0)
        nested = any(":" in factor for factor in sizes)
        if smaller > MAX_ROOT and not nested:
            return (
                f"beside the largest factor there are {smaller} group effects, which meet each other: at most "
                f"{MAX_ROOT} can be eliminated together"
            )
        return ""

    def sample(self, problem: Problem, settings: Settings, progress: Progress | None = None) -> list[Draws]:
        """Draws of every outcome, in order."""
        made, total = _Maker(problem, available_cores(), of_series=True), len(problem.outcomes)
        if total == 1:
            if progress:
                progress(0, 1, problem.outcomes[0].name)
            rotated = _by_rotation(problem, made.first, available_cores())
            draws = [_sample(rotated[0] if rotated else made(0), settings)]
        else:
            made.places  # noqa: B018 - one for all threads
            with ThreadPoolExecutor(available_cores()) as pool:
                waiting = [
                    pool.submit(lambda place: _sample(made(place), settings), place) for place in range(total)
                ]
                draws = []
                for place, job in enumerate(waiting):
                    if progress:
                        progress(place, total, problem.outcomes[place].name)
                    draws.append(job.result())
        if progress:
            progress(total, total, "")
        return draws


class _Drawing:
    """A density that draws coefficients and effects wherever it is evaluated, from the same factorisation."""

    def __init__(self, density: Density, rng: np.random.Generator) -> None:
        self.density, self.rng = density, rng
        self.parameters = density.parameters
        self.gradient, self.gradients = density.gradient, density.gradients
        self.kept: list[np.ndarray] = []  # raw draws, one array for each call of `values`

    def values(self, theta: np.ndarray) -> np.ndarray:
        natural, log_prior = self.parameters.with_prior(theta)
        draws = np.empty((COPIES * len(theta), len(self.density.places.term)), dtype=np.float32)
        value = self.density.evaluate(natural, np.full(len(theta), COPIES), draws, self.rng)
        self.kept.append(draws)
        value += log_prior
        return np.where(np.isfinite(value), value, -np.inf)

    def of(self, found: Weighted, picked: np.ndarray) -> np.ndarray:
        """Raw draws, one for every pick of a point: its kept draws in turn."""
        order = np.argsort(picked, kind="stable")
        mine = picked[order]
        turn = np.arange(len(mine)) - np.searchsorted(mine, mine)  # first, second … pick of this point
        wanted = np.empty_like(picked)
        wanted[order] = COPIES * found.asked[mine] + turn % COPIES
        wanted -= COPIES * len(found.theta)  # counted from the end: earlier attempts were kept too
        raw = np.empty((len(picked), self.kept[-1].shape[1]), dtype=np.float32)
        end = 0
        for part in reversed(self.kept):
            here = (wanted >= end - len(part)) & (wanted < end)
            raw[here] = part[wanted[here] - (end - len(part))]
            end -= len(part)
        return raw


def _rows(natural: Natural, rows: np.ndarray) -> Natural:
    return Natural(*(value[rows] for value in natural))


def _sample(prepared: _Prepared, settings: Settings) -> Draws:
    density, chains = prepared.density, settings.chains
    theta_seed, draw_seed = outcome_seed(settings.seed, prepared.outcome.name).spawn(2)
    rng = np.random.Generator(np.random.SFC64(draw_seed))  # a fifth faster at normals than the default
    points = max(FEWEST_POINTS, round(POINTS_PER_DRAW * settings.draws * chains))
    keeps = COPIES * points * density.layout.size <= MOST_KEPT and density.parameters.dim > 0
    drawing = _Drawing(density, rng) if keeps and isinstance(density, Density) else None
    found = sample_theta(
        drawing or density, points=points, runs=chains, draws=settings.draws, seed=theta_seed,
        outcome=prepared.outcome.name, start=prepared.start,
    )  # fmt: skip
    if isinstance(found, Sampled):
        picked = np.arange(settings.draws * chains)
        natural = density.parameters.natural(found.theta.reshape(len(picked), -1))
        stats = _sampled_stats(found)
    else:
        picked = _resampled(found, settings, rng)
        natural = density.parameters.natural(found.theta)
        stats = _weighted_stats(found, picked, settings)
    factors = {block.factor for block in prepared.outcome.design.blocks}
    wanted = (
        factors if settings.group_effects else factors & {POPULATION}
    )  # a curve common to all is always told
    if drawing and isinstance(found, Weighted):
        raw, own = drawing.of(found, picked), drawing.density
        coefficients = own.coefficients_of(raw)
        effects = _effects(prepared, raw, own.columns_of, wanted) if wanted else {}
        if own.series is not None and settings.group_effects:
            by_point = np.argsort(picked, kind="stable")  # draws of one point share its lines
            of_series = np.empty((len(picked), own.series.levels), dtype=np.float32)
            of_series[by_point] = own.series_of(natural, picked[by_point], raw[by_point], rng)
            effects |= _of_series(prepared, of_series)
    else:
        points, where, copies = np.unique(picked, return_inverse=True, return_counts=True)
        drawn = density.draw(
            _rows(natural, points), copies, rng, destination=np.argsort(where, kind="stable"),
            dtype=np.float32 if wanted else None,
        )  # fmt: skip
        layout, coefficients, effects = density.layout, drawn.coefficients, {}
        if wanted:
            effects = _effects(
                prepared, drawn.effects, lambda factor, place: _columns(layout, factor, place), wanted
            )
        if drawn.of_series is not None and settings.group_effects:
            effects |= _of_series(prepared, drawn.of_series)
    distinct = len(np.unique(picked))
    return _named(prepared, _rows(natural, picked), coefficients, effects, settings)._replace(
        stats=stats, note="; ".join(_notes(found)), verdict=_verdict(prepared, found, distinct)
    )


def _columns(layout: Layout, factor: int, place: int) -> slice:
    """Columns of effects in natural order that hold a factor's term."""
    return slice(layout.start(factor) + place, layout.start(factor + 1), layout.sizes[factor])


def _effects(
    prepared: _Prepared,
    draws: np.ndarray,
    columns: Callable[[int, int], np.ndarray | slice],
    wanted: set[str],
) -> dict[str, np.ndarray]:
    """Of the factors wanted, named "term|factor", (draw, level) float32."""
    found: dict[str, np.ndarray] = {}
    used = dict.fromkeys(prepared.moments.factors, 0)
    for block in prepared.outcome.design.blocks:
        if block.factor not in prepared.moments.factors:
            continue  # integrated out with the residuals
        factor = prepared.moments.factors.index(block.factor)
        for term in block.terms:
            if block.factor in wanted:
                mine = draws[:, columns(factor, used[block.factor])]
                found[f"{term}|{block.factor}"] = mine.astype(np.float32, copy=False)
            used[block.factor] += 1
    return found


def _of_series(prepared: _Prepared, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Those that are integrated out with the residuals, named, (draw, level)."""
    factor = next(
        block.factor
        for block in prepared.outcome.design.blocks
        if block.factor not in prepared.moments.factors
    )
    return {f"1|{factor}": draws}


def _resampled(found: Weighted, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Point of every draw, chain by chain: systematic resampling of each run, then shuffled."""
    picked = []
    for chain in range(settings.chains):
        mine = np.flatnonzero(found.run == chain) if len(found.run) > 1 else np.zeros(1, dtype=np.int64)
        ends = np.cumsum(found.weight[mine])
        marks = (rng.uniform() + np.arange(settings.draws)) / settings.draws * ends[-1]
        chosen = mine[np.minimum(np.searchsorted(ends, marks, side="right"), len(mine) - 1)]
        picked.append(rng.permutation(chosen))
    return np.concatenate(picked)


def _weighted_stats(found: Weighted, picked: np.ndarray, settings: Settings) -> dict[str, np.ndarray]:
    shape = (settings.chains, settings.draws)
    run = np.repeat(np.arange(settings.chains), settings.draws)
    values = {
        "lp": found.log_density[picked],
        "log_weight": found.log_weight[picked],
        "smoothed_weight": found.weight[picked],
        "run": run,
        "point": picked,
    }
    return {name: value.reshape(shape) for name, value in values.items()}


def _sampled_stats(found: Sampled) -> dict[str, np.ndarray]:
    chains, draws = found.log_density.shape
    return {
        "lp": found.log_density,
        "log_weight": np.zeros((chains, draws)),
        "smoothed_weight": np.full((chains, draws), 1.0 / draws),
        "run": np.repeat(np.arange(chains), draws).reshape(chains, draws),
        "point": np.arange(chains * draws).reshape(chains, draws),
    }


def _notes(found: Weighted | Sampled) -> tuple[str, ...]:
    """What was done beyond the ordinary."""
    return tuple(note for note in found.notes if not note.startswith("largest khat"))


def _verdict(prepared: _Prepared, found: Weighted | Sampled, distinct: int) -> dict[str, object]:
    common: dict[str, object] = {
        "kind": "importance", "passed": found.passed, "reason": found.reason, "distinct": distinct,
        "notes": [*prepared.density.notes, *found.notes], "limits": {"khat_engine": KHAT, "ess": ESS, "z": Z},
    }  # fmt: skip
    if isinstance(found, Sampled):
        return common | {"fallback": "nuts", "log_evidence": "refused: sampled by NUTS"}
    flat = [
        name
        for name in prepared.outcome.design.coefficients
        if isinstance(prepared.outcome.priors[name].prior, Flat)
    ]
    evidence: dict[str, object] = {
        "log_evidence": found.log_evidence, "log_evidence_mcse": found.log_evidence_mcse,
    }  # fmt: skip
    if flat:
        evidence = {"log_evidence": f"refused: the prior of {', '.join(flat)} is flat"}
    return common | evidence | {
        "khat_engine": found.khat, "ess": found.ess,
        "ess_min": min([found.ess, *found.ess_of.values()]), "ess_of": dict(found.ess_of), "max_z": found.max_z,
        "points": len(found.theta), "fallback": "more points" if _notes(found) else "",
    }  # fmt: skip


def _named(
    prepared: _Prepared, natural: Natural, coefficients: np.ndarray, effects: Mapping[str, np.ndarray],
    settings: Settings,
) -> Draws:  # fmt: skip
    """The draws under the posterior's names."""
    design = prepared.outcome.design
    shape = (settings.chains, settings.draws)
    terms = [sd_name(term, block.factor) for block in design.blocks for term in block.terms]
    sigma = natural.sigma.reshape(*shape, -1)
    return Draws(
        {name: coefficients[:, place].reshape(shape) for place, name in enumerate(design.coefficients)},
        {name: np.abs(natural.sd[:, number]).reshape(shape) for number, name in enumerate(terms)},
        _correlations(prepared, natural, shape), sigma if prepared.outcome.residual.dim else sigma[..., 0],
        {key: values.reshape(*shape, -1) for key, values in effects.items()}, {}, "",
        natural.rho.reshape(shape) if prepared.density.parameters.ar1 else None,
    )  # fmt: skip


def _correlations(prepared: _Prepared, natural: Natural, shape: tuple[int, int]) -> Mapping[str, np.ndarray]:
    """Factor → (chain, draw, term, term), terms of all its blocks in the formula's order."""
    blocks = prepared.outcome.design.blocks
    found: dict[str, np.ndarray] = {}
    for factor in dict.fromkeys(block.factor for block in blocks):
        mine = [
            place for place, block in enumerate(blocks)
            if block.factor == factor and not is_smooth_term(block.terms[0])
        ]  # fmt: skip
        if all(len(blocks[place].terms) == 1 for place in mine):
            continue
        terms = [term for place in mine for term in blocks[place].terms]
        matrix = np.zeros((len(natural.sd), len(terms), len(terms))) + np.eye(len(terms))
        at = 0
        for place in mine:
            first_term, k, first = prepared.density.parameters.blocks[place]
            signs = np.where(natural.sd[:, first_term : first_term + k] < 0, -1.0, 1.0)
            if k == 2:
                across = natural.partial[:, first] * signs[:, 0] * signs[:, 1]
                matrix[:, at, at + 1] = matrix[:, at + 1, at] = across
            elif k > 2:
                lower = cholesky_of(natural.partial, first, k) * signs[:, :, None]
                matrix[:, at : at + k, at : at + k] = lower @ lower.transpose(0, 2, 1)
            at += k
        found[factor] = matrix.reshape(*shape, len(terms), len(terms))
    return found
