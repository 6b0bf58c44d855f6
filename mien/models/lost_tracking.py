"""How far could lost trials move an answer? The sensitivity of effects to trials that the tracker lost.

A model takes lost trials as missing at random: given persons, stimuli and conditions, they would have been like those
that were kept. If they would have been `shift` residual sds higher instead (large movements lose the tracker), the
effects would be others. With standard deviations and sigma at their posterior means, the posterior mean of the
coefficients is linear in the outcomes,

    β̂ = A (X, Z)ᵀ R⁻¹ y + a constant,     A the posterior covariance with *all* trials, lost ones included,

and putting in what the model expects of a lost trial changes nothing. So the effects move by shift · σ · Σ weights of
the lost trials: all of them higher (`all_higher`), or each in the direction that moves this effect most (`at_most`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.design import Block, new_columns
from mien.models.diagnostics import outcomes_of
from mien.models.engines.problem import Outcome
from mien.models.factors.spec import require_coefficients
from mien.models.outcomes import trial_rows
from mien.models.refit import check_gaussian, fit_coding, of_shape, outcome_of
from mien.models.spec import ModelSpec
from mien.priors import Fixed, Normal
from mien.study.errors import FitError

__all__ = ["LOST", "lost_trials"]

LOST = ("tracking lost", "too few frames", "baseline lost")
MOST_EFFECTS = 5_000  # group effects and coefficients of one shape


def lost_trials(
    fit: xr.DataTree,
    trials: pd.DataFrame,
    participants: pd.DataFrame | None = None,
    *,
    shift: float = 1.0,
    reasons: Sequence[str] = LOST,
) -> pd.DataFrame:
    """How far lost trials could move each effect.

    Parameters
    ----------
    fit : Gaussian, with independent residuals. trials, participants : what it was fitted to, excluded trials included.
    shift : by how many residual standard deviations lost trials differ from what the model expects of them.
    reasons : of exclusion that count as lost.

    Returns
    -------
    One row an effect and shape: `lost` and `kept` trials, `mean` and `sd` of the posterior, `all_higher` and `at_most`
    (units of the outcome; −shift mirrors them), and both in posterior sds (`all_higher_sd`, `at_most_sd`).

    Raises
    ------
    FitError
        For another family, AR(1) residuals or smooths, more than 5,000 effects, or a table without
        reasons of exclusion.
    """
    require_coefficients(fit, "lost_trials")
    check_gaussian(fit, "lost_trials")
    spec = ModelSpec.from_json(str(fit.attrs["model_spec"]))
    if spec.residual != "iid" or spec.smooths:
        raise FitError(
            "lost_trials: expected a model of trial means with independent residuals, found "
            f"{'smooths' if spec.smooths else 'AR(1)'}: fit the same question by trial means."
        )
    lost = _lost_rows(fit, spec, trials, participants, reasons)
    tables = [_of_shape(fit, shape, lost, shift) for shape in outcomes_of(fit)]
    return pd.concat(tables, ignore_index=True)


class _Lost(NamedTuple):
    """Rows of lost trials, coded as in the fit.

    shape : (row,) labels; design : (row, coefficient); groups : "term|factor" → (column (row,), labels (row,)).
    stratum : (row,) labels of sigma's strata, "" for one.
    """

    shape: np.ndarray
    design: np.ndarray
    groups: Mapping[str, tuple[np.ndarray, np.ndarray]]
    stratum: np.ndarray


def _lost_rows(
    fit: xr.DataTree,
    spec: ModelSpec,
    trials: pd.DataFrame,
    participants: pd.DataFrame | None,
    reasons: Sequence[str],
) -> _Lost:
    formula, used, data, _, _ = trial_rows(spec, trials, participants)
    if "excluded" not in data.columns:
        raise FitError(
            "trials: expected a Trials table with the column excluded, found none: pass what mien.prepare gave."
        )
    levels = json.loads(str(fit.attrs["coding"]))
    keep = np.array(data["excluded"].isin(list(reasons)), dtype=bool)
    for name in used:
        if name != formula.response:
            keep &= data[name].notna().to_numpy(dtype=bool)
    for name, known in levels.items():
        keep &= data[name].astype("str").isin(known).to_numpy(dtype=bool)
    frame = cast(pd.DataFrame, data[keep]).reset_index(drop=True)
    _, design, terms = new_columns(formula, frame, fit_coding(fit)._replace(smooths=()))
    groups = {
        f"{name}|{factor}": (columns[:, place], _labels(frame, factor.split(":")))
        for factor, names, columns in terms
        for place, name in enumerate(names)
    }
    shape = _labels(frame, ["blend_shape"]) if outcomes_of(fit) != [None] else _labels(frame, [])
    return _Lost(shape, design, groups, _labels(frame, spec.sigma_by))


def _labels(frame: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """(row,) labels joined by ":", "" without columns."""
    columns = [frame[name].astype("str").to_numpy(dtype=object) for name in names]
    if not columns:
        return np.full(len(frame), "", dtype=object)
    return np.array([":".join(words) for words in zip(*columns, strict=True)], dtype=object)


def _of_shape(fit: xr.DataTree, shape: str | None, lost: _Lost, shift: float) -> pd.DataFrame:
    outcome = outcome_of(fit, shape)
    posterior = of_shape(fit["posterior"].dataset, shape)
    mine = np.flatnonzero(lost.shape == (shape or ""))
    places = _places(outcome.design.blocks, lost, mine)
    mine = mine[np.all([code[mine] >= 0 for code in places.values()], axis=0)] if places else mine
    sigma = _sigmas(posterior, outcome, lost.stratum[mine])
    weights = _weights(outcome, posterior, lost, mine, places, sigma)
    moved = shift * weights * sigma.lost
    rows = []
    for place, name in enumerate(outcome.design.coefficients):
        draws = posterior[name].to_numpy()
        mean, sd = float(draws.mean()), float(draws.std(ddof=1))
        all_higher, at_most = float(moved[place].sum()), float(np.abs(moved[place]).sum())
        rows.append(
            {"effect": name, "blend_shape": shape or "", "lost": len(mine), "kept": len(outcome.response),
             "mean": mean, "sd": sd, "all_higher": all_higher, "at_most": at_most,
             "all_higher_sd": all_higher / sd, "at_most_sd": at_most / sd}
        )  # fmt: skip
    return pd.DataFrame(rows)


class _Sigmas(NamedTuple):
    """(row,) residual sds of kept and of lost rows, posterior means."""

    kept: np.ndarray
    lost: np.ndarray


def _sigmas(posterior: xr.Dataset, outcome: Outcome, stratum: np.ndarray) -> _Sigmas:
    values = np.atleast_1d(posterior["sigma"].mean(("chain", "draw")).to_numpy()).astype(np.float64)
    place = {label: number for number, label in enumerate(outcome.residual.strata)}
    kept = (
        outcome.residual.stratum
        if outcome.residual.stratum is not None
        else np.zeros(len(outcome.response), int)
    )
    variance = (values[kept] / outcome.root_precision) ** 2
    if outcome.residual.known_variance is not None:
        variance = variance + outcome.residual.known_variance
    return _Sigmas(np.sqrt(variance), values[np.array([place[label] for label in stratum], dtype=np.int64)])


def _places(blocks: Sequence[Block], lost: _Lost, mine: np.ndarray) -> dict[str, np.ndarray]:
    """Factor → (row,) place of each row's level in the fit, -1 where the fit has it not, or for other shapes."""
    found = {}
    for block in blocks:
        place = {level: number for number, level in enumerate(block.levels)}
        code = np.full(len(lost.shape), -1, dtype=np.int64)
        labels = lost.groups[f"{block.terms[0]}|{block.factor}"][1]
        code[mine] = [place.get(label, -1) for label in labels[mine]]
        found[block.factor] = code
    return found


def _weights(
    outcome: Outcome, posterior: xr.Dataset, lost: _Lost, mine: np.ndarray, places: Mapping[str, np.ndarray],
    sigma: _Sigmas,
) -> np.ndarray:  # fmt: skip
    """(coefficient, lost row) how much a unit of each lost outcome moves each coefficient."""
    design = outcome.design
    kept_columns, lost_columns = [design.columns], [lost.design[mine]]
    precision = [_prior_precision(outcome)]
    for block in design.blocks:
        size, terms = len(block.levels), len(block.terms)
        column = np.column_stack([lost.groups[f"{term}|{block.factor}"][0][mine] for term in block.terms])
        kept_columns.append(_spread(block.columns, block.codes, size))
        lost_columns.append(_spread(column, places[block.factor][mine], size))
        precision.append(np.kron(np.eye(size), np.linalg.inv(_covariance(posterior, block, terms))))
    kept, other = np.concatenate(kept_columns, axis=1), np.concatenate(lost_columns, axis=1)
    if kept.shape[1] > MOST_EFFECTS:
        raise FitError(
            f"lost_trials: expected at most {MOST_EFFECTS} coefficients and group effects, found {kept.shape[1]}: fit "
            "fewer persons."
        )
    kept, scaled = kept / sigma.kept[:, None], other / sigma.lost[:, None]
    inverse = kept.T @ kept + scaled.T @ scaled
    at = 0
    for part in precision:
        inverse[at : at + len(part), at : at + len(part)] += part
        at += len(part)
    weighted = (scaled / sigma.lost[:, None]).T
    return np.linalg.solve(inverse, weighted)[: len(design.coefficients)]


def _spread(columns: np.ndarray, codes: np.ndarray, levels: int) -> np.ndarray:
    """(row, level × term): each row's columns at its level."""
    rows, terms = columns.shape
    wide = np.zeros((rows, levels, terms))
    wide[np.arange(rows), codes] = columns
    return wide.reshape(rows, levels * terms)


def _prior_precision(outcome: Outcome) -> np.ndarray:
    precision = []
    for name in outcome.design.coefficients:
        prior = outcome.priors[name].prior
        if isinstance(prior, Fixed):
            raise FitError(f"lost_trials: expected coefficients that are estimated, found {name} Fixed.")
        precision.append(prior.sd**-2 if isinstance(prior, Normal) else 0.0)
    return np.diag(precision)


def _covariance(posterior: xr.Dataset, block: Block, terms: int) -> np.ndarray:
    """(term, term) of a block's effects, at posterior means."""
    sds = np.array([float(posterior[f"{term}|{block.factor}_sigma"].mean()) for term in block.terms])
    corr = np.eye(terms)
    if terms > 1:
        mean = posterior[f"{block.factor}_corr"].mean(("chain", "draw"))
        labels = [str(label) for label in mean[f"{block.factor}_term"].to_numpy()]
        at = [labels.index(term) for term in block.terms]
        corr = mean.to_numpy()[np.ix_(at, at)]
    return np.outer(sds, sds) * corr
