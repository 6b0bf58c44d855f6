"""Scores of trials and persons on the factors of a fit: how much of each co-activation was in this face.

    f (trials), g (persons) | y, B, Λ, Ψ   normal, exact (`conditional`); averaged over the draws of B, Λ and Ψ

Scores are in sds of the factor, in the rotation of the fit's loadings, and net of the covariates and of the group's
own level: 0 is what the model expects of this trial of this person. They are shrunk towards it by as much as the
shapes leave open. As outcomes of another model they would be wrong for both reasons: `score_outcomes` is for that.

Tables hold moments and intervals of the exact mixture over draws; nothing is drawn for them but B. A fit is never
changed by the trials that are scored ("norms fixed"): new persons get an effect of their own, from their own trials
and Σ_b. So does a person of the fit who is in the new trials, to whom these trials are then all there is.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.factors.conditional import (
    Bases,
    Parameters,
    StoredRows,
    bases,
    coefficient_draws,
    effect_score_draws,
    effect_scores,
    parameters,
    regression,
    stored_rows,
)
from mien.models.factors.new_trials import ScoredTrials, check_fit, check_trials, scored_trials
from mien.models.factors.spec import FactorSpec
from mien.study.errors import FitError

__all__ = ["check_draws", "factor_score_draws", "factor_scores", "mixture_quantile", "person_scores"]

MOST = 200_000_000  # numbers of a result
BATCH = 4_000_000  # numbers at once
NEAR = 1e-4  # of a quantile before the last step, in probits; each step squares the distance
STEPS = 6
HALVINGS = 60


class _Given(NamedTuple):
    """What scores are computed from.

    trials : those to score. draws, found : parameters and their bases. coefficient : (draw, shape, term) B.
    """

    trials: ScoredTrials
    draws: Parameters
    found: Bases
    coefficient: np.ndarray
    rng: np.random.Generator


def factor_scores(
    fit: xr.DataTree,
    trials: pd.DataFrame | None = None,
    *,
    participants: pd.DataFrame | None = None,
    draws: int | None = 1000,
    ci_prob: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores f of trials, a row a trial and factor.

    Parameters
    ----------
    fit : of `mien.models.co_activation`.
    trials : others than the fit's, as for `mien.fit`: of new persons, or of the fit's persons seen again. None takes
        the fit's own.
    participants : columns of persons, joined by participant_id.
    draws : how many of the fit's draws to average over, evenly spaced; None takes all.
    ci_prob : level of the equal-tailed interval.
    seed : of the draws of B.

    Returns
    -------
    DataFrame with participant, session, task, run, trial, stimulus as far as the data have them, factor, mean, sd,
    eti_lower, eti_upper, ci_kind, ci_prob, verdict; `attrs["counts"]` tells what became of the rows, of trials that
    lack a shape (`incomplete_trials`) among them.

    Raises
    ------
    FitError
        For other fits, shapes that are missing, another tracker, no complete trial.
    SpecError
        For columns or levels that the model does not know.
    """
    given = _given(fit, trials, participants, draws, seed, "factor_scores", ci_prob)
    told = [_told(*part, ci_prob) for part in _score_moments(given)]
    columns = {name: np.concatenate([one[name] for one in told]) for name in told[0]}
    return _table(fit, given.trials.keys, _names(fit, "factor"), columns, ci_prob, given.trials)


def factor_score_draws(
    fit: xr.DataTree,
    trials: pd.DataFrame | None = None,
    *,
    participants: pd.DataFrame | None = None,
    draws: int | None = 1000,
    seed: int = 0,
) -> xr.DataArray:
    """Joint draws of the scores of all trials, (draw, observation, factor), one for each draw of the fit that is used.

    Parameters and errors are those of `factor_scores`. Trials of a person share the draw of the person's effect. The
    coordinates of an observation are its keys; `draw` counts over all chains of the fit.
    """
    given = _given(fit, trials, participants, draws, seed, "factor_score_draws")
    factors, rows, rng = _names(fit, "factor"), given.trials.rows, given.rng
    count = len(given.coefficient)
    if count * len(rows.group) * len(factors) > MOST:
        raise FitError(
            f"factor_score_draws: expected up to {MOST:,} numbers, found {count} draws of {len(rows.group)} trials on "
            f"{len(factors)} factors: ask for fewer draws, or score fewer trials at once."
        )
    line = regression(given.draws.loading, given.draws.uniqueness)
    effect = effect_score_draws(given.found, rows, given.coefficient, line.weight, rng)
    drawn = np.empty((count, len(rows.group), len(factors)))
    for number, (weight, root) in enumerate(zip(line.weight, line.root, strict=True)):
        mean = rows.activation @ weight.T - rows.design @ (weight @ given.coefficient[number]).T
        noise = rng.standard_normal(mean.shape) @ root.T
        drawn[number] = mean - effect[number][rows.group] + noise
    keys = {
        name: ("observation", given.trials.keys[name].to_numpy(dtype=object)) for name in given.trials.keys
    }
    coords: dict[str, Any] = {"observation": given.trials.observations, "factor": factors, **keys}
    return xr.DataArray(
        drawn, coords, ("draw", "observation", "factor"), name="score", attrs={"units": "factor sd"}
    )


def person_scores(
    fit: xr.DataTree,
    trials: pd.DataFrame | None = None,
    *,
    participants: pd.DataFrame | None = None,
    trial_means: bool = False,
    draws: int | None = 1000,
    ci_prob: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores g of persons on the factors between persons (of stimuli, in a fit of what is stimulus-driven).

    Parameters
    ----------
    trial_means : adds the mean of the person's trials on W1, W2 …, which is what chance and its own trials left of f
        beside the person's effect: near 0 for everyone, of use to see who was scored from odd trials.
    others : as in `factor_scores`.

    Returns
    -------
    DataFrame with participant (or stimulus), trials, factor, mean, sd, eti_lower, eti_upper, ci_kind, ci_prob, verdict.

    Raises
    ------
    FitError, SpecError
        As in `factor_scores`; also where there is no factor between persons.
    """
    given = _given(fit, trials, participants, draws, seed, "person_scores", ci_prob)
    rows, group = given.trials.rows, FactorSpec.from_json(str(fit.attrs["model_spec"])).group
    names = _names(fit, "between_factor")
    if not names and not trial_means:
        raise FitError(
            f"person_scores: expected factors between {group}s, found none: fit with between=1 or more."
        )
    line = regression(given.draws.between_loading, given.draws.between_uniqueness)
    mean, variance = effect_scores(given.found, rows, given.coefficient, line.weight)
    variance = variance + line.variance[:, None]
    if trial_means:
        other = _trial_means(given)
        names = [*names, *_names(fit, "factor")]
        mean, variance = np.concatenate([mean, other[0]], 2), np.concatenate([variance, other[1]], 2)
    told = _told(np.swapaxes(mean, 0, 1), np.swapaxes(variance, 0, 1), ci_prob)
    keys = pd.DataFrame({group: pd.array(rows.levels, dtype="str"), "trials": rows.counts})
    return _table(fit, keys, names, told, ci_prob, given.trials)


def check_draws(draws: int | None) -> None:
    """Refuse what is no number of draws."""
    if draws is not None and (not isinstance(draws, int) or isinstance(draws, bool) or draws < 2):
        raise FitError(f"draws: expected a whole number from 2, or None for all, found {draws!r}.")


def _given(
    fit: xr.DataTree, trials: pd.DataFrame | None, participants: pd.DataFrame | None, draws: int | None, seed: int,
    what: str, ci_prob: float = 0.95,
) -> _Given:  # fmt: skip
    check_draws(draws)
    if not 0 < ci_prob < 1:
        raise FitError(f"ci_prob: expected a number between 0 and 1, found {ci_prob!r}.")
    check_fit(fit, what)
    if trials is not None:
        check_trials(fit, trials)
    mine = scored_trials(fit, trials, participants)
    some = parameters(fit, draws)
    found, rng = bases(some), np.random.default_rng([seed, 0x5C])
    known = _rows_of_fit(fit, mine, trials, participants)
    return _Given(mine, some, found, coefficient_draws(found, known, rng), rng)


def _rows_of_fit(
    fit: xr.DataTree, mine: ScoredTrials, trials: pd.DataFrame | None, participants: pd.DataFrame | None
) -> StoredRows:
    """The trials that tell B: the fit's, or, where they were too many to be stored, these if they are the same."""
    from mien.models.fitting import data_sha256

    if trials is None or "observed_data" in fit.children:
        return stored_rows(fit)
    if data_sha256(trials, participants) != fit.attrs.get("data_sha256"):
        raise FitError(
            "fit: expected one with its trials to score others, found one of too many to store: score all trials that "
            "it was made from, or fit fewer."
        )
    return mine.rows


def _score_moments(given: _Given) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Means and variances of f in each draw, (trial, draw, factor), some trials at a time."""
    rows, weight = given.trials.rows, regression(given.draws.loading, given.draws.uniqueness)
    effect, variance = effect_scores(given.found, rows, given.coefficient, weight.weight)
    effect, variance = _by_group(effect), _by_group(variance + weight.variance[:, None])
    draws, factors, _ = weight.weight.shape
    maps = np.concatenate([weight.weight, -weight.weight @ given.coefficient], axis=2)
    maps = maps.reshape(draws * factors, -1).T
    step = max(1, BATCH // (draws * factors))
    for first in range(0, len(rows.group), step):
        some = slice(first, first + step)
        known = np.concatenate([rows.activation[some], rows.design[some]], axis=1)
        mean = (known @ maps).reshape(-1, draws, factors)
        mean -= effect[rows.group[some]]
        yield mean, variance[rows.group[some]]


def _by_group(values: np.ndarray) -> np.ndarray:
    """(draw, group, factor) as (group, draw, factor), in one piece."""
    return np.ascontiguousarray(np.swapaxes(values, 0, 1))


def _trial_means(given: _Given) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of a group's mean f, (draw, group, factor)."""
    rows, line = given.trials.rows, regression(given.draws.loading, given.draws.uniqueness)
    effect, variance = effect_scores(given.found, rows, given.coefficient, line.weight)
    counts = rows.counts[:, None]
    values, design = rows.by_group(rows.activation) / counts, rows.by_group(rows.design) / counts
    mean = values @ np.swapaxes(line.weight, 1, 2)
    mean -= design @ np.swapaxes(line.weight @ given.coefficient, 1, 2)
    return mean - effect, variance + line.variance[:, None] / counts


# Tables


def _told(mean: np.ndarray, variance: np.ndarray, ci_prob: float) -> dict[str, np.ndarray]:
    """Of mixtures of normals (item, draw, factor): mean, sd and interval, (item, factor) each."""
    sd = np.sqrt(variance)
    total = np.sqrt(variance.mean(axis=1) + mean.var(axis=1))
    lower, upper = (mixture_quantile(mean, sd, tail) for tail in ((1 - ci_prob) / 2, (1 + ci_prob) / 2))
    return {"mean": mean.mean(axis=1), "sd": total, "eti_lower": lower, "eti_upper": upper}


def mixture_quantile(mean: np.ndarray, sd: np.ndarray, tail: float) -> np.ndarray:
    """Quantiles of mixtures of normals with equal shares.

    Newton steps in probits: two or three, since the mixtures are nearly normal. Where they do not get there, as between
    two tops, the interval is halved again and again: the quantile lies between those of the parts.

    Parameters
    ----------
    mean, sd : (item, draw, factor), of the parts. tail : 0–1.

    Returns
    -------
    (item, factor).
    """
    from scipy.special import ndtr, ndtri

    aim = float(ndtri(tail))
    place = mean.mean(axis=1) + aim * np.sqrt((sd**2).mean(axis=1) + mean.var(axis=1))
    far = np.ones(place.shape, dtype=bool)
    with np.errstate(all="ignore"):  # far from all parts there is no slope: nan, which is not near
        for _ in range(STEPS):
            away = (place[:, None] - mean) / sd
            probit = ndtri(ndtr(away).mean(axis=1))
            density = (np.exp(-0.5 * away**2) / sd).mean(axis=1)
            place = place + (aim - probit) * np.exp(-0.5 * probit**2) / density
            far = ~(np.abs(aim - probit) < NEAR)
            if not far.any():
                return place
    item, factor = np.nonzero(far)
    place[item, factor] = _halved(mean[item, :, factor], sd[item, :, factor], tail)
    return place


def _halved(mean: np.ndarray, sd: np.ndarray, tail: float) -> np.ndarray:
    """The same for some (item, draw), by bisection."""
    from scipy.special import ndtr, ndtri

    parts = mean + float(ndtri(tail)) * sd
    low, high = parts.min(axis=1), parts.max(axis=1)
    for _ in range(HALVINGS):
        place = 0.5 * (low + high)
        below = ndtr((place[:, None] - mean) / sd).mean(axis=1) < tail
        low, high = np.where(below, place, low), np.where(below, high, place)
    return 0.5 * (low + high)


def _table(
    fit: xr.DataTree, keys: pd.DataFrame, factors: list[str], columns: dict[str, np.ndarray], ci_prob: float,
    trials: ScoredTrials,
) -> pd.DataFrame:  # fmt: skip
    """A row an item and factor."""
    table = keys.iloc[np.repeat(np.arange(len(keys)), len(factors))].reset_index(drop=True)
    table = table.assign(
        factor=pd.array(np.tile(np.array(factors, dtype=object), len(keys)), dtype="str"),
        **{name: values.ravel() for name, values in columns.items()},
        ci_kind="eti", ci_prob=ci_prob, verdict=str(fit.attrs["diagnostics"]),
    )  # fmt: skip
    table.attrs["counts"] = dict(trials.counts)
    return table


def _names(fit: xr.DataTree, dim: str) -> list[str]:
    return [str(name) for name in fit["posterior"].dataset[dim].to_numpy()]
