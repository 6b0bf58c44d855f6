"""`score`: where a new person stands among the persons of a fit.

    norms fixed     every draw of the fit counts the same: what the norms say of this person, whom they do not know
    norms updated   draws weighted by p(y_new | draw), the person's effects integrated out: refitting with the person in

    effect          u, of every term of the participants' factor
    contrast        fixed part + u, in units of the outcome
    percentile      Φ(u / τ) with u and τ of the same draw: where the person stands in the population the model
                    describes; uniform when there are no rows
    unshrunk        the same contrast from the person's own rows alone, known stimuli's effects taken off, with its
                    standard error
    observed_percentile     of the plain contrast of the person's rows among those of new persons with the same rows:
                    shrinkage must not make anyone look ordinary

The effects are drawn exactly (`person_posterior`); stimuli that the fit has keep their effects, others are integrated
out. Where the fit has a sigma for every participant, the new person's is estimated too, with the population of the
fit's log sigmas as prior.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from threadpoolctl import threadpool_limits

from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.new_rows import WHO, NewTable, PersonRows, new_table, person_rows
from mien.models.person_posterior import Given, PersonPosterior, block_diagonal, given_draws, person_posterior
from mien.models.refit import check_gaussian, coefficients_of, effects_of, natural_of, outcome_of, terms_of
from mien.study.errors import FitError

__all__ = [
    "Norms", "Scored", "contrast_weights", "norms_of", "own_rows_alone", "percentile_draws", "person_level", "score",
    "scored_dataset", "variance_of_sums",
]  # fmt: skip

NORMS = ("fixed", "updated")
NODES, REACH = 33, 4.0  # of the grid over a new person's log sigma, in its population's standard deviations
CONSTANT = 1e-9  # spread of a column's ratio within persons up to which it is a property of the person


class Norms(NamedTuple):
    """One outcome's draws, flattened.

    roots : factor → (draw, term, term) of its effects' covariance. person_level : (term, coefficient) whether the
    coefficient's column is the term's times a property of the person. reference : persons in the fit.
    """

    coefficients: np.ndarray
    effects: dict[str, np.ndarray]
    roots: dict[str, np.ndarray]
    sd: np.ndarray
    sigma: np.ndarray
    rho: np.ndarray
    person_level: np.ndarray
    names: tuple[str, ...]
    terms: tuple[str, ...]
    reference: int


class Scored(NamedTuple):
    """One person, one shape: effect, contrast, percentile (draw, term); the rest by term or single."""

    effect: np.ndarray
    contrast: np.ndarray
    percentile: np.ndarray
    unshrunk: np.ndarray
    unshrunk_se: np.ndarray
    observed: np.ndarray
    observed_percentile: np.ndarray
    sigma: np.ndarray
    rows: int
    khat: float
    ess: float


def score(
    fit: xr.DataTree,
    new_trials: pd.DataFrame,
    *,
    norms: str = "fixed",
    participants: pd.DataFrame | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Effects, contrasts and percentiles of persons whom the fit has not seen, one by one.

    Parameters
    ----------
    fit : Gaussian, with a group term of participants and its group effects stored.
    new_trials : as for `mien.fit`; a person without a usable row gets the population.
    norms : "fixed" leaves the fit as it is, the default: one person, a patient perhaps, must not move the norms.
        "updated" is the posterior with the person in it, by importance weights; look at `khat` (≤ 0.7).
    participants : columns of persons, joined by participant_id.
    seed : of the draws.

    Returns
    -------
    Dataset with `effect`, `contrast`, `percentile` (0–1) (chain, draw, [blend_shape], participant, participant_term),
    `unshrunk`, `unshrunk_se`, `observed`, `observed_percentile` (…, participant_term), `sigma` of the person where
    the fit has one by participant, `rows`, `khat` and `ess` (NaN with norms fixed), `reference_size`. `unshrunk` and
    `observed` are NaN where the rows cannot tell, e.g. valence from positive stimuli alone.

    Raises
    ------
    FitError
        For persons that the fit has, another tracker, group effects that were not stored, or shapes that are missing.
    SpecError
        For columns or levels that the model does not know.
    """
    require_coefficients(fit, "score")
    if norms not in NORMS:
        raise FitError(f"norms: expected one of {', '.join(NORMS)}, found {norms!r}.")
    check_gaussian(fit, "score")
    terms = [key for key in terms_of(fit) if key.rpartition("|")[2] == WHO]
    if not terms:
        raise FitError(
            f"score: expected a model with a group term of {WHO}, found {fit.attrs['formula']!r}: add (1 | {WHO})."
        )
    if not all(key in fit["posterior"].dataset for key in terms_of(fit)):
        raise FitError("score: expected stored group effects, found none: fit with group_effects=True.")
    table = new_table(fit, new_trials, participants)
    shapes = outcomes_of(fit)
    with threadpool_limits(limits=1):  # matrices of two rows: threads only cost
        found = [_score_shape(fit, table, shape, norms, seed) for shape in shapes]
    return scored_dataset(fit, table.persons, [key.rpartition("|")[0] for key in terms], found, norms)


def _score_shape(
    fit: xr.DataTree, table: NewTable, shape: str | None, norms: str, seed: int
) -> tuple[list[Scored], int]:
    outcome = outcome_of(fit, shape)
    known = norms_of(fit, shape, outcome)
    scored = []
    for person in table.persons:
        rows = person_rows(fit, table, shape, person)
        rng = np.random.default_rng([seed, _number(shape or ""), _number(person)])
        by_person = table.spec.sigma_by == (WHO,)
        scored.append(_score_person(rows, known, by_person=by_person, updated=norms == "updated", rng=rng))
    return scored, known.reference


def _number(label: str) -> int:
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "little")


def norms_of(fit: xr.DataTree, shape: str | None, outcome: Outcome) -> Norms:
    """What a fit knows of its population, for one shape."""
    from mien.models.engines.collapsed.correlation import cholesky_of

    natural = natural_of(fit, shape, outcome)
    blocks = outcome.design.blocks
    parts: dict[str, list[np.ndarray]] = {}
    mine, at, first = [], 0, 0
    for block in blocks:
        k = len(block.terms)
        factor = cholesky_of(natural.partial, first, k)
        parts.setdefault(block.factor, []).append(natural.sd[:, at : at + k, None] * factor)
        if block.factor == WHO:
            mine += list(range(at, at + k))
        at, first = at + k, first + k * (k - 1) // 2
    keys = [f"{term}|{block.factor}" for block in blocks for term in block.terms if block.factor != WHO]
    return Norms(
        coefficients_of(fit, shape, outcome.design.coefficients),
        {key: effects_of(fit, shape, key, "score") for key in keys},
        {factor: block_diagonal(roots) for factor, roots in parts.items()},
        natural.sd[:, mine], natural.sigma, natural.rho, person_level(outcome), outcome.design.coefficients,
        tuple(term for block in blocks if block.factor == WHO for term in block.terms),
        len(np.unique(next(block.codes for block in blocks if block.factor == WHO))),
    )  # fmt: skip


def person_level(outcome: Outcome) -> np.ndarray:
    """(term, coefficient): its column is the term's times a number that is the same in all rows of a person."""
    design = outcome.design
    blocks = [block for block in design.blocks if block.factor == WHO]
    terms = [(block.columns[:, place], block.codes) for block in blocks for place in range(len(block.terms))]
    result = np.zeros((len(terms), len(design.coefficients)), dtype=bool)
    for number, (term, codes) in enumerate(terms):
        moving = term != 0.0
        for place in range(len(design.coefficients)):
            column = design.columns[:, place]
            if np.any(column[~moving] != 0.0):
                continue
            ratio = column[moving] / term[moving]
            low, high = np.full(codes.max() + 1, np.inf), np.full(codes.max() + 1, -np.inf)
            np.minimum.at(low, codes[moving], ratio)
            np.maximum.at(high, codes[moving], ratio)
            seen = np.isfinite(low)
            result[number, place] = np.all(
                high[seen] - low[seen] <= CONSTANT * np.maximum(1.0, np.abs(low[seen]))
            )
    return result


def contrast_weights(rows: PersonRows, known: Norms) -> np.ndarray:
    """(term, coefficient): of the fixed part of the person's contrast, from the person's rows.

    Where no row tells a person's properties, it is the coefficient of the term's own name.
    """
    weights = np.zeros((len(known.terms), len(known.names)))
    for number, name in enumerate(known.terms):
        term = rows.own[:, number]
        moving = term != 0.0
        for place, coefficient in enumerate(known.names):
            if moving.any() and known.person_level[number, place]:
                weights[number, place] = float(np.mean(rows.design[moving, place] / term[moving]))
            elif not moving.any() and coefficient == ("Intercept" if name == "1" else name):
                weights[number, place] = 1.0
    return weights


def _score_person(
    rows: PersonRows, known: Norms, *, by_person: bool, updated: bool, rng: np.random.Generator
) -> Scored:
    terms = len(known.terms)
    if by_person:
        sigma, posterior, given = _with_own_sigma(rows, known, rng)
    else:
        sigma = known.sigma
        given = given_draws(rows, known.coefficients, known.effects, known.roots, sigma, known.rho)
        posterior = person_posterior(rows, given)
    khat = ess = np.nan
    picked = np.arange(len(sigma))
    if updated:
        picked, khat, ess = _resampled(posterior.log_likelihood, rng)
        posterior = PersonPosterior(*(part[picked] for part in posterior))
        given = given._replace(
            **{name: getattr(given, name)[picked] for name in ("residual", "root", "sigma", "rho")}
        )
    effect = posterior.draw(rng)[:, :terms]
    fixed = known.coefficients[picked] @ contrast_weights(rows, known).T
    unshrunk, error, observed, place = own_rows_alone(rows, given, fixed, terms)
    return Scored(
        effect, fixed + effect, percentile_draws(effect, known.sd[picked], rng), unshrunk, error, observed, place,
        sigma[picked, 0] if by_person else np.zeros(0), len(rows.response), khat, ess,
    )  # fmt: skip


def percentile_draws(effect: np.ndarray, sd: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Φ(u / τ); where τ is 0 in a draw, nobody differs and the place is arbitrary: uniform."""
    from scipy.special import ndtr

    with np.errstate(divide="ignore", invalid="ignore"):
        place = ndtr(effect / sd)
    return np.where(sd > 0.0, place, rng.uniform(size=place.shape))


def _resampled(log_weight: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Draws in proportion to smoothed weights (systematic, then shuffled), khat and Kish's effective size."""
    from mien.models.engines.collapsed.pareto import pareto_smooth

    smoothed, khat = pareto_smooth(log_weight[None])
    weight = np.exp(smoothed[0])
    weight /= weight.sum()
    count = len(weight)
    marks = (rng.uniform() + np.arange(count)) / count
    chosen = np.minimum(np.searchsorted(np.cumsum(weight), marks), count - 1)
    return rng.permutation(chosen), float(khat[0]), float(1.0 / (weight**2).sum())


def _with_own_sigma(
    rows: PersonRows, known: Norms, rng: np.random.Generator
) -> tuple[np.ndarray, PersonPosterior, Given]:
    """Sigma of the person (draw, 1) from its posterior over a grid, and the rest given it."""
    logs = np.log(known.sigma)
    mean, spread = logs.mean(axis=1), logs.std(axis=1, ddof=1)
    step = 2.0 * REACH / NODES
    nodes = -REACH + step * (
        np.arange(NODES) + rng.uniform(size=(len(logs), 1))
    )  # shifted: no sigma is favoured
    values = np.empty(nodes.shape)
    for number in range(NODES):
        sigma = np.exp(mean + spread * nodes[:, number])[:, None]
        given = given_draws(rows, known.coefficients, known.effects, known.roots, sigma, known.rho)
        values[:, number] = person_posterior(rows, given).log_likelihood
    values += -0.5 * nodes**2 + np.log(step / np.sqrt(2.0 * np.pi))
    largest = values.max(axis=1, keepdims=True)
    share = np.cumsum(np.exp(values - largest), axis=1)
    total = share[:, -1]
    chosen = (share < rng.uniform(size=(len(logs), 1)) * total[:, None]).sum(axis=1)
    sigma = np.exp(mean + spread * nodes[np.arange(len(logs)), chosen])[:, None]
    given = given_draws(rows, known.coefficients, known.effects, known.roots, sigma, known.rho)
    posterior = person_posterior(rows, given)
    return sigma, posterior._replace(log_likelihood=np.log(total) + largest[:, 0]), given


def own_rows_alone(
    rows: PersonRows, given: Given, fixed: np.ndarray, terms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unshrunk contrast, its standard error, the observed contrast and its place among new persons', (term,)."""
    from scipy.special import ndtr

    nothing = np.full(terms, np.nan)
    if not len(rows.response):
        return nothing, nothing, nothing, nothing
    contrast = np.linalg.pinv(rows.own * rows.root[:, None]) * rows.root  # (term, row)
    told = np.all(np.abs(contrast @ rows.own - np.eye(terms)) < 1e-8, axis=1)
    sd = np.sqrt((given.sigma**2 / rows.single + rows.known_variance) / rows.replicates)
    noise = variance_of_sums(sd, given.rho, rows.gap, contrast)
    strange = given.columns[:, terms:]
    if strange.shape[1]:
        spread = (contrast @ strange) @ given.root[:, terms:, terms:]
        noise = noise + (spread**2).sum(axis=2)
    away = given.residual @ contrast.T  # observed − what is expected of a person with no effects of their own
    estimate = away + fixed
    error = np.sqrt(noise.mean(axis=0) + estimate.var(axis=0))
    own = (given.root[:, :terms, :terms] ** 2).sum(axis=2)
    place = ndtr(away / np.sqrt(own + noise)).mean(axis=0)
    values = (estimate.mean(axis=0), error, contrast @ rows.response, place)
    return tuple(np.where(told, value, np.nan) for value in values)  # type: ignore[return-value]


def variance_of_sums(sd: np.ndarray, rho: np.ndarray, gap: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """(draw, term): variance of weighted sums of residuals, along series by recursion.

    Parameters
    ----------
    sd : (draw, row). rho : (draw,). gap : (row,) steps from the row before in its series, 0 for a first one.
    contrast : (term, row).
    """
    total = (sd**2) @ (contrast**2).T
    if not (gap > 0).any():
        return total
    carried = np.zeros_like(total)
    for row in range(1, len(gap)):
        step = int(gap[row])
        power = rho[:, None] ** step if step else np.zeros((len(rho), 1))
        carried = power * (carried + sd[:, [row - 1]] * contrast[:, row - 1])
        total = total + 2.0 * carried * sd[:, [row]] * contrast[:, row]
    return total


def scored_dataset(
    fit: xr.DataTree,
    persons: Sequence[str],
    terms: list[str],
    found: list[tuple[list[Scored], int]],
    norms: str,
) -> xr.Dataset:
    """What `score` returns, from the persons of each shape and how many the fit has."""
    posterior, shapes = fit["posterior"].dataset, outcomes_of(fit)
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    named = shapes != [None]
    shape = ("blend_shape",) if named else ()

    def wide(name: str) -> np.ndarray:
        """(blend_shape, participant, …)."""
        return np.array([[getattr(scored, name) for scored in of_shape] for of_shape, _ in found])

    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}

    def store(name: str, values: np.ndarray, *dims: str) -> None:
        variables[name] = ((*shape, *dims), values if named else values[0])

    for name in ("effect", "contrast", "percentile", "sigma"):
        values = wide(name)
        if not values.shape[2]:
            continue
        values = np.moveaxis(
            values.reshape(*values.shape[:2], chains, draws, *values.shape[3:]), (2, 3), (0, 1)
        )
        dims = (WHO, f"{WHO}_term") if name != "sigma" else (WHO,)
        variables[name] = (("chain", "draw", *shape, *dims), values if named else values[:, :, 0])
    for name in ("unshrunk", "unshrunk_se", "observed", "observed_percentile"):
        store(name, wide(name), WHO, f"{WHO}_term")
    for name in ("rows", "khat", "ess"):
        store(name, wide(name), WHO)
    store("reference_size", np.array([size for _, size in found]))
    coords = {
        "chain": posterior["chain"].to_numpy(), "draw": posterior["draw"].to_numpy(),
        WHO: np.array(persons), f"{WHO}_term": np.array(terms),
    }  # fmt: skip
    if named:
        coords["blend_shape"] = np.array(shapes)
    attrs = {"norms": norms, "units": str(fit.attrs.get("units", "")), "formula": str(fit.attrs["formula"])}
    return xr.Dataset(variables, coords=coords, attrs=attrs)
