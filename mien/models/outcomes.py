"""From data as passed to the rows of every outcome, with everything that is left out counted.

1. participants are joined, trackers checked, contrasts of shapes added
2. without a time term, a Trials table is averaged over each trial's bins
3. excluded rows go, then rows with a missing value in a column that the model uses
4. each blend shape is an outcome where the formula does not use that column
5. dead shapes are left out and named: sd below 1e-4, or moving in fewer than 20 % of persons
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from mien.models.spec import ModelSpec
from mien.study.errors import FitError, SpecError
from mien.study.formula import Formula, parse_formula
from mien.study.tables import nearest
from mien.study.trials import TRIAL_COLUMNS, contrast, mean_over_bins, order_of_shape

__all__ = ["DEAD_SD", "MOVING_SHARE", "OutcomeRows", "prepare_outcomes"]

DEAD_SD = 1e-4  # coefficient units; STATISTICS 1
MOVING_SHARE = 0.2  # of persons; STATISTICS 1
TIME_COLUMNS = ("time", "bin")
OBSERVATION_KEY = ("participant", "session", "task", "run", "trial", "bin")


class OutcomeRows(NamedTuple):
    """The rows to model.

    frame : complete rows of all outcomes together.
    outcome : (row,) place in `names`.
    names : outcomes, "" for a single one without blend_shape.
    observation : (row,) which observation a row belongs to; outcomes of one trial share it.
    observations : labels of the observations.
    counts : rows by what became of them.
    left_out : outcome → the reason why it is not fitted.
    """

    frame: pd.DataFrame
    outcome: np.ndarray
    names: tuple[str, ...]
    observation: np.ndarray
    observations: tuple[str, ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, str]


def _joined(data: pd.DataFrame, participants: pd.DataFrame | None, formula: Formula) -> pd.DataFrame:
    """Add the participants' columns that the formula names and the data lack."""
    lacking = [name for name in formula.columns if name not in data.columns]
    if participants is None or not lacking or "participant" not in data.columns:
        return data
    key = next((name for name in ("participant_id", "participant") if name in participants.columns), None)
    if key is None:
        raise FitError("participants: expected a column participant_id, found none: pass study.participants.")
    labels = participants[key].astype("str").str.removeprefix("sub-")
    if labels.duplicated().any():
        raise FitError(
            f"participants: expected each participant once, found {labels[labels.duplicated()].iloc[0]} twice."
        )
    wanted = [name for name in lacking if name in participants.columns]
    table = participants[wanted].set_index(pd.Index(labels))
    who = data["participant"].astype("str")
    unknown = sorted(set(who) - set(table.index))
    if unknown:
        raise FitError(
            f"participants: expected a row for every participant, found none for {', '.join(unknown[:5])}."
        )
    return data.assign(**{name: table[name].reindex(who).to_numpy() for name in wanted})


def _check_columns(formula: Formula, data: pd.DataFrame, spec: ModelSpec) -> None:
    wanted = [*formula.columns, *(name for name in (spec.weights, spec.standard_errors) if name)]
    unknown = [name for name in wanted if name not in data.columns]
    if unknown:
        raise SpecError(
            f"formula {formula.text!r}: expected columns of the data, found {unknown[0]!r}"
            f"{nearest(unknown[0], [str(name) for name in data.columns])}; there are "
            f"{', '.join(map(str, data.columns))}. Columns of persons come with participants=."
        )
    if not pd.api.types.is_numeric_dtype(data[formula.response]):
        raise FitError(
            f"{formula.response}: expected numbers as the outcome, found {data[formula.response].dtype}."
        )


def _check_trackers(data: pd.DataFrame, formula: Formula, spec: ModelSpec) -> None:
    if "tracker" not in data.columns or spec.pool_trackers or "tracker" in formula.columns:
        return
    trackers = sorted(data["tracker"].dropna().astype("str").unique())
    if len(trackers) > 1:
        raise FitError(
            f"data: expected one tracker, found {', '.join(trackers)}: their coefficients are not the same measure; "
            "fit them apart, add tracker to the formula, or say pool_trackers=True."
        )


def _with_contrasts(data: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    if not spec.contrasts:
        return data
    added = contrast(data, spec.contrasts)
    shapes = [*data["blend_shape"].cat.categories, *added["blend_shape"].cat.categories]
    both = pd.concat(
        [data.astype({"blend_shape": "str"}), added.astype({"blend_shape": "str"})], ignore_index=True
    )
    return both.assign(blend_shape=pd.Categorical(both["blend_shape"], categories=shapes))


def _dead(values: np.ndarray, persons: np.ndarray | None) -> str:
    """Why an outcome cannot be modelled, or ""."""
    if values.std() < DEAD_SD:
        return f"does not move: sd {values.std():.1e} is below {DEAD_SD:g}"
    if persons is None:
        return ""
    frame = pd.DataFrame({"value": values, "person": persons})
    spread = frame.groupby("person", observed=True)["value"].std(ddof=0).to_numpy()
    share = float(np.mean(spread >= DEAD_SD))
    if share < MOVING_SHARE:
        return f"moves in {share:.0%} of persons, fewer than {MOVING_SHARE:.0%}"
    return ""


def _kept(data: pd.DataFrame, formula: Formula, spec: ModelSpec) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop excluded and incomplete rows, and count them."""
    counts = {"rows": len(data)}
    if "excluded" in data.columns:
        kept = cast(pd.Series, data["excluded"]).fillna("").astype("str").to_numpy() == ""
        counts["excluded"] = int((~kept).sum())
        data = cast(pd.DataFrame, data[kept])
    used = [*formula.columns, *(name for name in (spec.weights, spec.standard_errors) if name)]
    complete = cast(pd.DataFrame, data[used]).notna().to_numpy().all(axis=1)
    for name in used:
        if pd.api.types.is_float_dtype(data[name]) and np.isinf(data[name].to_numpy()).any():
            raise FitError(
                f"{name}: expected finite numbers, found an infinite one: correct or exclude the row."
            )
    counts["missing"] = int((~complete).sum())
    counts["modelled"] = int(complete.sum())
    if not counts["modelled"]:
        raise FitError(
            f"data: expected rows to model, found none of {counts['rows']} kept "
            f"({counts.get('excluded', 0)} excluded, {counts['missing']} with missing values)."
        )
    return cast(pd.DataFrame, data[complete]).reset_index(drop=True), counts


def _observations(frame: pd.DataFrame, outcome: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rows of one trial (and bin) share an observation; without trial keys, rows are counted."""
    keys = [name for name in OBSERVATION_KEY if name in frame.columns]
    if {"participant", "trial"} <= set(keys):
        if "bin" in keys and len(np.unique(frame["bin"])) == 1:
            keys.remove("bin")
        labels = frame[keys[0]].astype("str")
        for name in keys[1:]:
            labels = labels + "/" + frame[name].astype("str")
        codes, found = pd.factorize(labels)
        pairs = codes.astype(np.int64) * (int(outcome.max()) + 1) + outcome
        if len(np.unique(pairs)) == len(pairs):
            return codes, tuple(str(label) for label in found)
    order = pd.Series(outcome).groupby(outcome).cumcount().to_numpy()
    return order, tuple(str(place) for place in range(int(order.max()) + 1))


def prepare_outcomes(
    spec: ModelSpec, data: pd.DataFrame, participants: pd.DataFrame | None = None
) -> tuple[Formula, OutcomeRows]:
    """The checked formula and the rows of every outcome that can be modelled.

    Raises
    ------
    SpecError
        For columns that are not there.
    FitError
        When no row or no outcome is left, two trackers are mixed, or a participant has no row.
    """
    if not isinstance(data, pd.DataFrame):
        raise FitError(f"data: expected a pandas.DataFrame, found {type(data).__name__}.")
    formula = parse_formula(spec.formula)
    data = _joined(data, participants, formula)
    _check_columns(formula, data, spec)
    _check_trackers(data, formula, spec)
    data = _with_contrasts(data, spec)
    bins = len(data)
    is_trials = set(TRIAL_COLUMNS) <= set(data.columns)
    if is_trials and not set(TIME_COLUMNS) & set(formula.columns):
        data = mean_over_bins(data)
    frame, counts = _kept(data, formula, spec)
    if len(data) != bins:
        counts = {"bins": bins, **counts}
    by_shape = "blend_shape" in frame.columns and "blend_shape" not in formula.columns
    if not by_shape:
        values = frame[formula.response].to_numpy(dtype=np.float64)
        if values.std() <= 1e-12 * max(1.0, float(np.abs(values).max())):
            raise FitError(
                f"{formula.response}: expected an outcome that varies, found {values[0]:g} in every row."
            )
        zero = np.zeros(len(frame), dtype=np.int64)
        observation, labels = _observations(frame, zero)
        return formula, OutcomeRows(frame, zero, ("",), observation, labels, counts, {})
    return formula, _by_shape(formula, frame, counts)


def _by_shape(formula: Formula, frame: pd.DataFrame, counts: dict[str, int]) -> OutcomeRows:
    labels = frame["blend_shape"].astype("str").to_numpy()
    values = frame[formula.response].to_numpy(dtype=np.float64)
    persons = frame["participant"].astype("str").to_numpy() if "participant" in frame.columns else None
    left_out, names = {}, []
    present = list(dict.fromkeys(labels))
    if isinstance(frame["blend_shape"].dtype, pd.CategoricalDtype):
        for name in frame["blend_shape"].cat.categories:
            if str(name) not in present:
                left_out[str(name)] = "no row is left after exclusions"
    for name in sorted(present, key=order_of_shape):
        at = labels == name
        reason = _dead(values[at], None if persons is None else persons[at])
        if reason:
            left_out[name] = reason
        else:
            names.append(name)
    if not names:
        raise FitError(
            "data: expected at least one blend shape that moves, found none: "
            + "; ".join(f"{name} {reason}" for name, reason in list(left_out.items())[:5])
        )
    keep = np.isin(labels, names)
    frame = cast(pd.DataFrame, frame[keep]).reset_index(drop=True)
    outcome = pd.Categorical(labels[keep], categories=names).codes.astype(np.int64)
    observation, observations = _observations(frame, outcome)
    counts = {**counts, "in_dead_shapes": int((~keep).sum())}
    return OutcomeRows(frame, outcome, tuple(names), observation, observations, counts, left_out)
