"""The numbers of a person's report, a row for each movement, and why there is none where nothing can be told.

Who the fit has stands by `mien.models.standing`; who it has not is scored with norms fixed. A movement has no answer
where its computation failed or the person has too few valid trials; the whole person has none where a recording that
trials come from is to be repeated, the face was tracked too rarely, or every movement lacks trials.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models import score, standing
from mien.models.diagnostics import outcomes_of
from mien.models.refit import levels_of_factor, outcome_of
from mien.models.scoring import person_level
from mien.models.spec import ModelSpec
from mien.reports_app.attributes import failures
from mien.reports_app.defaults import Decisions
from mien.reports_app.person_means import of_person, valid_trials
from mien.reports_app.rows import Row, by_region
from mien.study.blend_shapes import SET_APART, region
from mien.study.errors import FitError

__all__ = [
    "CONTRASTED",
    "DOTS",
    "Person",
    "Quality",
    "main_shapes",
    "person_numbers",
    "quality_of_person",
    "recording_key",
]

DOTS = 20  # each is 5 % of what is probable
TERM = "valence"
CI_PROB = 0.95
SHOWN = 8  # movements on the first page
CONTRASTED = ("negative", "positive")


class Quality(NamedTuple):
    """Of one person's recordings.

    reports : quality reports of them. verdict : the worst, "" where there are none. tracked : share of frames, 0–1.
    repeat : sources of those to be repeated that trials come from.
    """

    reports: Sequence[Mapping[str, Any]]
    verdict: str
    tracked: float
    repeat: tuple[str, ...]


class Person(NamedTuple):
    """One person in numbers.

    rows : by region, one a movement: blend_shape, region, negative, positive (valid trials), reason ("", "failed",
        "trials"), mean, eti_lower, eti_upper, p_direction, direction, percentile, percentile_lower,
        percentile_upper, dots (DOTS quantiles, 0–1), unshrunk, observed_percentile.
    known : whether the fit has the person. reference : persons in the fit. alike : properties of persons that the
        model takes into account, so that places are among people alike in them.
    trials : valence → valid trials, of the movement that has most; 0 of what the answer needs and has not.
    """

    rows: Sequence[Row]
    known: bool
    reference: int
    alike: tuple[str, ...]
    trials: Mapping[str, int]


def quality_of_person(quality: Sequence[Mapping[str, Any]], trials: pd.DataFrame, person: str) -> Quality:
    """The person's recordings and the worst verdict among those that trials come from."""
    mine = [one for one in quality if str(one["source"]).startswith(f"sub-{person}_")]
    if not mine:
        return Quality((), "", float("nan"), ())
    kept: Any = of_person(trials, person)
    kept = kept[kept["excluded"] == ""]
    used = {
        tuple(key)
        for key in kept[["session", "task", "run"]].drop_duplicates().astype("str").itertuples(index=False)
    }
    verdicts = ("good", "usable", "repeat")
    counted = [one for one in mine if recording_key(str(one["source"])) in used] or mine
    frames = np.array([float(one["frames"]) for one in counted])
    shares = np.array([float(one["tracked_share"]) for one in counted])
    return Quality(
        mine, verdicts[max(verdicts.index(str(one["verdict"])) for one in counted)],
        float((frames * shares).sum() / max(frames.sum(), 1.0)),
        tuple(str(one["source"]) for one in counted if one["verdict"] == "repeat"),
    )  # fmt: skip


def recording_key(source: str) -> tuple[str, str, str]:
    """(session, task, run) of `sub-01_ses-2_task-met_run-1_…`; session and run "1" where there is one."""
    parts: dict[str, str] = {}
    for part in source.split("_"):
        key, _, label = part.partition("-")
        parts[key] = label
    return parts.get("ses", "1"), parts.get("task", ""), parts.get("run", "1")


def person_numbers(
    fit: xr.DataTree, person: str, trials: pd.DataFrame, participants: pd.DataFrame, decisions: Decisions
) -> Person:
    """Answer, percentile and plain percentile of every movement.

    Parameters
    ----------
    fit : Gaussian, of trials, with (valence | participant) and stored group effects.
    trials : the study's, with the excluded rows. participants : columns of persons.

    Raises
    ------
    FitError
        For a fit without a person's answer to valence, or a person of whom there are no trials.
    """
    known = person in levels_of_factor(fit, "participant")
    found = standing(fit, person) if known else _scored(fit, person, trials, participants)
    if TERM not in found["participant_term"].to_numpy():
        raise FitError(
            f"report: expected a model with ({TERM} | participant), found {fit.attrs['formula']!r}: fit a "
            "valence model."
        )
    found = found.isel(participant=0).sel(participant_term=TERM)
    if "blend_shape" not in found.dims:
        found = found.expand_dims("blend_shape")
    counts, failed = valid_trials(trials, person), failures(fit)
    contrasts = ModelSpec.from_json(str(fit.attrs["model_spec"])).contrasts
    rows = []
    for name in map(str, found["blend_shape"].to_numpy()):
        of_shape = found.sel(blend_shape=name)
        valid = {
            valence: _count(counts, sorted(contrasts.get(name, {name: 1})), valence) for valence in CONTRASTED
        }
        reason = (
            "failed" if name in failed else "trials" if min(valid.values()) < decisions.valid_trials else ""
        )
        rows.append(
            {"blend_shape": name, "region": region(name), "reason": reason, **valid, **_told(of_shape)}
        )
    most = dict.fromkeys(CONTRASTED, 0) | {str(one): int(counts[one].max()) for one in counts if len(counts)}
    return Person(by_region(rows), known, int(found["reference_size"].max()), _alike(fit), most)


def _scored(fit: xr.DataTree, person: str, trials: pd.DataFrame, participants: pd.DataFrame) -> xr.Dataset:
    mine = of_person(trials, person)
    if not len(mine):
        raise FitError(
            f"report: expected trials of person {person!r}, found none: import and prepare a recording."
        )
    return score(fit, mine, participants=participants)


def _alike(fit: xr.DataTree) -> tuple[str, ...]:
    """Properties of persons by which the model lets the answer differ: `group` of `valence:group`."""
    outcome = outcome_of(fit, outcomes_of(fit)[0])
    terms = [term for block in outcome.design.blocks if block.factor == "participant" for term in block.terms]
    level = person_level(outcome)[terms.index(TERM)]
    parts = [
        [part for part in name.split(":") if part != TERM]
        for name, of_person in zip(outcome.design.coefficients, level, strict=True)
        if of_person
    ]
    return tuple(dict.fromkeys(":".join(part).removesuffix("_z") for part in parts if part))


def _count(counts: Any, members: Sequence[str], valence: str) -> int:
    """Valid trials of a shape, or of the shape of a contrast that has fewest."""
    if valence not in counts:
        return 0
    return min(int(counts[valence].get(name, 0)) for name in members)


def _told(found: xr.Dataset) -> Row:
    contrast, place = (found[name].to_numpy().ravel() for name in ("contrast", "percentile"))
    tails = [(1 - CI_PROB) / 2, (1 + CI_PROB) / 2]
    lower, upper = np.quantile(contrast, tails)
    low, middle, high = np.quantile(place, [tails[0], 0.5, tails[1]])
    positive = float((contrast > 0).mean())
    return {
        "mean": float(contrast.mean()), "sd": float(contrast.std(ddof=1)), "eti_lower": float(lower),
        "eti_upper": float(upper), "p_direction": max(positive, 1 - positive),
        "direction": 1 if positive >= 0.5 else -1,
        "percentile": float(middle), "percentile_lower": float(low), "percentile_upper": float(high),
        "dots": np.quantile(place, (np.arange(DOTS) + 0.5) / DOTS).tolist(), "unshrunk": float(found["unshrunk"]),
        "observed_percentile": float(found["observed_percentile"]),
    }  # fmt: skip


def main_shapes(fit: xr.DataTree, rows: Sequence[Row], *, flag: float, most: int = SHOWN) -> list[str]:
    """The movements that the whole group answers with most surely: chosen by the group, so that no person's chance is.

    Those with P(direction) of at least `flag`, or the three surest; gaze and blinks and what cannot be told left out.
    """
    told = [
        str(row["blend_shape"]) for row in rows if not row["reason"] and row["blend_shape"] not in SET_APART
    ]
    posterior = fit["posterior"].dataset
    if TERM not in posterior or "blend_shape" not in posterior[TERM].dims:
        return told[:most]
    draws = posterior[TERM]
    draws = draws.sel(blend_shape=told)
    sure: Any = (draws.mean(("chain", "draw")) / draws.std(("chain", "draw"))).to_series()
    positive: Any = (draws > 0).mean(("chain", "draw")).to_series()
    order = sorted(told, key=lambda name: -abs(sure[name]))
    flagged = [name for name in order if max(positive[name], 1 - positive[name]) >= flag]
    return (flagged if len(flagged) >= 3 else order[:3])[:most]
