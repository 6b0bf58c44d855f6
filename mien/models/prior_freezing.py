"""`freeze_priors`: the priors of a model, resolved on the scale of some data and put under one hash.

    freeze_priors(spec, data)               →  FrozenPriors
    fit(spec, other_data, frozen=frozen)    the very same numbers, whatever the scale of the other data
    fit(…, frozen=frozen, registered=True)  and none without a source

A fit carries the hash of its priors in any case (`attrs["priors_sha256"]`): the one that freezing them would give.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import xarray as xr

from mien.models.engines.problem import Problem
from mien.models.factors.spec import FactorSpec, is_factor_fit
from mien.models.spec import ModelSpec
from mien.priors import (
    LIBRARY,
    Entry,
    FrozenPriors,
    ResolvedPrior,
    entry_to_dict,
    override_to_dict,
    resolved_from_dict,
)
from mien.study.errors import SpecError

__all__ = [
    "freeze_priors",
    "frozen_of",
    "frozen_of_fit",
    "prior_attrs",
    "stored_priors",
    "tell_frozen_factors",
    "with_frozen",
    "with_frozen_factors",
]

NOT_OF_THE_MODEL = ("priors", "name", "answers", "pool_trackers", "pooling", "shapes", "factors", "between")


def freeze_priors(
    model: ModelSpec | FactorSpec, data: pd.DataFrame, *, participants: pd.DataFrame | None = None
) -> FrozenPriors:
    """Freeze the priors that a fit of this model to these data would have.

    Parameters
    ----------
    model, data, participants : as in `mien.fit`. The data give the scale: a pilot's, or those of the study itself where
        only the outcome's and the columns' spread may be looked at.

    Raises
    ------
    SpecError, FitError
    """
    if isinstance(model, FactorSpec):
        return frozen_of(model, {"": model.resolved_priors})
    from mien.models.fitting import data_sha256, make_problem

    problem, _, _ = make_problem(model, data, participants)
    frozen = frozen_of(model, {outcome.name: outcome.priors for outcome in problem.outcomes})
    return replace(frozen, scaled_by=data_sha256(data, participants))


def frozen_of(
    spec: ModelSpec | FactorSpec, outcomes: Mapping[str, Mapping[str, ResolvedPrior]]
) -> FrozenPriors:
    """Resolved priors with the model and the entries that they come from."""
    labels = {resolved.id: None for priors in outcomes.values() for resolved in priors.values()}
    entries = {label: entry for label, entry in _entries(spec).items() if label in labels}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return FrozenPriors(spec.name, now, _model(spec), outcomes, entries)


def _model(spec: ModelSpec | FactorSpec) -> dict[str, Any]:
    """What makes it another model for its priors."""
    plain = json.loads(spec.to_json())
    return {name: value for name, value in plain.items() if name not in NOT_OF_THE_MODEL}


def _entries(spec: ModelSpec | FactorSpec) -> dict[str, dict[str, Any]]:
    from mien.models.fitting import KNOWN_ERRORS

    given = [prior for prior in spec.priors.values() if isinstance(prior, Entry)]
    return _by_label([*LIBRARY, KNOWN_ERRORS, *given])


def _by_label(entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        plain = entry_to_dict(entry)
        if found.setdefault(entry.label, plain) != plain:
            raise SpecError(
                f"priors: expected one entry of the name {entry.label!r}, found two that differ: give one of them "
                "another id or version."
            )
    return found


def with_frozen(problem: Problem, spec: ModelSpec, frozen: FrozenPriors) -> Problem:
    """The problem with frozen priors.

    Raises
    ------
    SpecError
        For another model, an outcome or a parameter that was not frozen, or other priors beside them.
    """
    _check(spec, frozen)
    outcomes = tuple(
        outcome._replace(priors=frozen.of(outcome.name, outcome.priors)) for outcome in problem.outcomes
    )
    return problem._replace(outcomes=outcomes)


def with_frozen_factors(spec: FactorSpec, frozen: FrozenPriors) -> FactorSpec:
    """The specification with the frozen numbers as its priors."""
    _check(spec, frozen)
    mine = frozen.of("", spec.resolved_priors)
    return replace(spec, priors={name: resolved.prior for name, resolved in mine.items()})


def _check(spec: ModelSpec | FactorSpec, frozen: FrozenPriors) -> None:
    """The same model, and no priors beside the frozen ones but those that they were frozen from."""
    frozen.check_model(_model(spec))
    every = {resolved.id for priors in frozen.outcomes.values() for resolved in priors.values()}
    numbers = [
        {key: value for key, value in resolved.to_dict().items() if key not in ("source", "id")}
        for priors in frozen.outcomes.values()
        for resolved in priors.values()
    ]
    for name, override in spec.priors.items():
        known = (
            override.label in every if isinstance(override, Entry) else override_to_dict(override) in numbers
        )
        if not known:
            raise SpecError(
                f"priors[{name!r}]: expected none beside frozen ones but those that were frozen, found {override!r}: "
                "freeze again, or leave it out."
            )


def tell_frozen_factors(
    tree: xr.DataTree, spec: FactorSpec, frozen: FrozenPriors | None, *, registered: bool
) -> None:
    """Write into a co-activation fit which priors it had; frozen ones in place of those of the specification."""
    used = frozen or frozen_of(spec, {"": spec.resolved_priors})
    tree.attrs |= prior_attrs(used, given=frozen is not None, registered=registered)
    stored = {name: one.to_dict() for name, one in used.outcomes[""].items()}
    tree.attrs |= {
        "model_spec": replace(spec, factors=_factors(tree, spec)).to_json(),
        "priors": json.dumps(stored),
    }


def _factors(tree: xr.DataTree, spec: FactorSpec) -> int:
    return int(tree["posterior"].sizes.get("factor", spec.factors))


def prior_attrs(frozen: FrozenPriors, *, given: bool, registered: bool) -> dict[str, str]:
    """What a fit carries of its priors.

    Parameters
    ----------
    given : whether they were frozen before; registered : whether that was asked for.
    """
    return {
        "priors_sha256": frozen.sha256,
        "priors_frozen": frozen.created if given else "",
        "registered": "yes" if registered else "no",
        "prior_entries": json.dumps(dict(frozen.entries)),
    }


def frozen_of_fit(fit: xr.DataTree) -> FrozenPriors:
    """The priors that a fit had, as frozen ones."""
    kind = FactorSpec if is_factor_fit(fit) else ModelSpec
    spec = kind.from_json(str(fit.attrs["model_spec"]))
    entries = json.loads(str(fit.attrs.get("prior_entries", "{}")))
    return FrozenPriors(
        str(fit.attrs["name"]), str(fit.attrs.get("created", "")), _model(spec), stored_priors(fit), entries
    )


def stored_priors(fit: xr.DataTree) -> dict[str, dict[str, ResolvedPrior]]:
    """A fit's priors: outcome ("" for a single one) → parameter → prior."""
    stored = json.loads(str(fit.attrs["priors"]))
    if stored and all(
        "family" in item for item in stored.values()
    ):  # of co-activation: of all shapes together
        stored = {"": stored}
    return {
        str(outcome): {str(name): resolved_from_dict(item) for name, item in priors.items()}
        for outcome, priors in stored.items()
    }
