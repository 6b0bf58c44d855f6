"""`standing`: where a person whom the fit has stands among its persons; `score` is for those whom it has not.

The same quantities as in `mien.models.scoring`, from the same functions, with two differences: the person's effects are
those that the fit drew, jointly with everything else, and the norms know the person, who is one of them. Effects of
levels that no other person has (the person's sessions, trials, own stimuli) belong to the rows' noise, since other
persons would have others.
"""

import hashlib
import json

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.new_rows import WHO, Nuisance, PersonRows
from mien.models.person_posterior import given_draws
from mien.models.person_tables import along_series
from mien.models.refit import check_gaussian, effects_of, levels_of_factor, outcome_of, terms_of
from mien.models.scoring import (
    Norms,
    Scored,
    contrast_weights,
    norms_of,
    own_rows_alone,
    percentile_draws,
    scored_dataset,
)
from mien.study.errors import FitError

__all__ = ["rows_of_person", "standing"]


def standing(fit: xr.DataTree, participant: str, *, seed: int = 0) -> xr.Dataset:
    """Effects, contrasts and percentiles of a person of the fit.

    Parameters
    ----------
    fit : Gaussian, without smooths, with a group term of participants and its group effects stored.
    participant : a label of the fit.
    seed : of the percentile in draws where persons do not differ (τ = 0), where it is uniform.

    Returns
    -------
    Dataset as of `mien.score`, for the one person, without `khat` and `ess`: `effect`, `contrast` and `percentile`
    (0–1) (chain, draw, [blend_shape], participant, participant_term) from the fit's own draws; `unshrunk`,
    `unshrunk_se`, `observed` and `observed_percentile` from the person's rows alone, NaN where they cannot tell;
    `rows`, `reference_size`, which counts the person, and `sigma` where the fit has one by participant.

    Raises
    ------
    FitError
        For a person that the fit has not, other families, smooths, or effects or rows that were not stored.
    """
    terms = _checked(fit, participant)
    with threadpool_limits(limits=1):  # matrices of two rows: threads only cost
        found = [_stand(fit, shape, participant, seed) for shape in outcomes_of(fit)]
    result = scored_dataset(fit, [participant], terms, found, "the fit's own")
    return result.drop_vars(["khat", "ess"])


def _checked(fit: xr.DataTree, participant: str) -> list[str]:
    """The names of the participants' terms."""
    require_coefficients(fit, "standing")
    check_gaussian(fit, "standing")
    if smooths := json.loads(str(fit.attrs["model_spec"])).get("smooths"):
        raise FitError(
            f"standing: expected a fit without smooths, found {smooths[0]}: look at a valence fit of the person."
        )
    terms = [key.rpartition("|")[0] for key in terms_of(fit) if key.rpartition("|")[2] == WHO]
    if not terms:
        raise FitError(
            f"standing: expected a model with a group term of {WHO}, found {fit.attrs['formula']!r}: add (1 | {WHO})."
        )
    known = levels_of_factor(fit, WHO)
    if participant not in known:
        raise FitError(
            f"standing: expected a person of the fit ({', '.join(known[:5])}{' …' if len(known) > 5 else ''}), found "
            f"{participant!r}: score others by mien.score(fit, trials)."
        )
    return terms


def _stand(fit: xr.DataTree, shape: str | None, participant: str, seed: int) -> tuple[list[Scored], int]:
    outcome = outcome_of(fit, shape)
    known = norms_of(fit, shape, outcome)
    rows = rows_of_person(outcome, participant)
    given = given_draws(rows, known.coefficients, known.effects, known.roots, known.sigma, known.rho)
    effect = _effects(fit, shape, known, participant)
    fixed = known.coefficients @ contrast_weights(rows, known).T
    unshrunk, error, observed, place = own_rows_alone(rows, given, fixed, len(known.terms))
    digest = hashlib.sha256(f"{shape} {participant}".encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
    scored = Scored(
        effect, fixed + effect, percentile_draws(effect, known.sd, rng), unshrunk, error, observed, place,
        _own_sigma(outcome, known, participant), len(rows.response), np.nan, np.nan,
    )  # fmt: skip
    return [scored], known.reference


def _effects(fit: xr.DataTree, shape: str | None, known: Norms, participant: str) -> np.ndarray:
    """(draw, term) the person's effects as the fit drew them."""
    place = levels_of_factor(fit, WHO).index(participant)
    return np.column_stack(
        [effects_of(fit, shape, f"{term}|{WHO}", "standing")[:, place] for term in known.terms]
    )


def _own_sigma(outcome: Outcome, known: Norms, participant: str) -> np.ndarray:
    """(draw,) where the fit has a sigma for every participant, else none."""
    if outcome.residual.dim != WHO or participant not in outcome.residual.strata:
        return np.zeros(0)
    return known.sigma[:, outcome.residual.strata.index(participant)]


def rows_of_person(outcome: Outcome, participant: str) -> PersonRows:
    """One person's rows of a stored outcome, series one after the other; there may be none."""
    blocks, residual = outcome.design.blocks, outcome.residual
    mine = next(block for block in blocks if block.factor == WHO)
    order, gap = along_series(outcome)
    kept = mine.codes[order] == mine.levels.index(participant)
    at, gap = order[kept], gap[kept]
    root = outcome.root_precision[at]

    def of_rows(values: np.ndarray | None, default: float) -> np.ndarray:
        return np.full(len(at), default) if values is None else values[at]

    count = of_rows(residual.count, 1.0)
    known, strange = _other_effects(outcome, at)
    return PersonRows(
        outcome.design.columns[at],
        np.concatenate([block.columns[at] for block in blocks if block.factor == WHO], axis=1),
        known, strange, outcome.response[at], root, root**2 / count, of_rows(residual.known_variance, 0.0), count,
        of_rows(residual.squares, 0.0), of_rows(residual.stratum, 0).astype(np.int64), gap,
    )  # fmt: skip


def _other_effects(
    outcome: Outcome, at: np.ndarray
) -> tuple[list[tuple[str, np.ndarray, np.ndarray]], list[Nuisance]]:
    """Effects of other factors: of levels that other persons have too, and of those that are the person's alone."""
    others = np.ones(len(outcome.response), dtype=bool)
    others[at] = False
    known, strange = [], []
    by_factor: dict[str, list[int]] = {}
    for number, block in enumerate(outcome.design.blocks):
        if block.factor != WHO:
            by_factor.setdefault(block.factor, []).append(number)
    for factor, numbers in by_factor.items():
        blocks = [outcome.design.blocks[number] for number in numbers]
        codes = blocks[0].codes
        alone = ~np.isin(codes[at], codes[others])
        for block in blocks:
            known += [
                (f"{term}|{factor}", codes[at], np.where(alone, 0.0, block.columns[at, place]))
                for place, term in enumerate(block.terms)
            ]
        if alone.any():
            columns = np.concatenate([block.columns[at] for block in blocks], axis=1)
            strange.append(_own_levels(factor, codes[at], columns, alone))
    return known, strange


def _own_levels(factor: str, codes: np.ndarray, columns: np.ndarray, alone: np.ndarray) -> Nuisance:
    """Columns of the effects of the person's own levels, level by level, terms fastest."""
    levels, number = np.unique(codes[alone], return_inverse=True)
    wide = np.zeros((len(codes), len(levels), columns.shape[1]))
    wide[np.flatnonzero(alone), number] = columns[alone]
    return Nuisance(factor, wide.reshape(len(codes), -1), len(levels))
