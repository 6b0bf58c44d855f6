"""Which models a study is asked to fit: families with options, on the columns that the study folder has.

    valence         one model
    time            one, over the equal first seconds of films and pictures; without the change over trials where the
                    design check says that it is not identified
    task            two: over the equal first seconds ("task", the primary one) and over whole stimuli ("task-whole")
    traits          one for each trait, or one for all of them together; adjusted for age, sex and group where the
                    participants table has them and they vary, unless covariates are named
    all             every family that the study's columns allow

Columns are looked for where they belong: traits, groups and covariates among the participants, norms among the stimuli,
conditions and ratings among the trials. Numbers among the covariates become z-scores. A person who saw a stimulus
more than once gives the model a term for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import pandas as pd

from mien.models import ModelSpec, design_check, first_seconds, task, time, traits, valence
from mien.models.levels import labels_in_use
from mien.study.errors import SpecError, TrialsError
from mien.study.folder import Study
from mien.study.participants import new_participants
from mien.study.tables import nearest
from mien.study.trials import RESERVED

__all__ = ["ALL", "FAMILIES", "FamilyChoice", "FitPlan", "plan_fits"]

FAMILIES: Mapping[str, Callable[..., ModelSpec]] = {
    "valence": valence,
    "time": time,
    "task": task,
    "traits": traits,
}
ALL = "all"
NO_COVARIATES = ("none",)
STANDARD = tuple(name for name in new_participants().columns if name != "participant_id")  # of every study


@dataclass(frozen=True)
class FamilyChoice:
    """Options of families, by columns of the study.

    Parameters
    ----------
    traits, group, covariates, norms, conditions, ratings : names of columns; covariates () takes the standard ones for
        the traits family, ("none",) takes none.
    session : retest. together : all traits in one model. baseline : "change" or "covariate".
    """

    traits: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    ratings: tuple[str, ...] = ()
    session: bool = False
    together: bool = False
    baseline: str = "change"


class FitPlan(NamedTuple):
    """One model and the trials that it is fitted to."""

    spec: ModelSpec
    trials: pd.DataFrame


def plan_fits(study: Study, trials: pd.DataFrame, model: str, choice: FamilyChoice) -> list[FitPlan]:
    """The models of a family, or of all, with their trials; a family's primary model comes first.

    Raises
    ------
    SpecError
        For an unknown family, or a column that is not where it belongs.
    """
    if model not in (*FAMILIES, ALL):
        known = (*FAMILIES, ALL)
        raise SpecError(f"model: expected one of {', '.join(known)}, found {model!r}{nearest(model, known)}.")
    columns = _Columns.of(study, trials)
    columns.check(choice)
    data = columns.with_norms(trials, choice.norms)
    common = _common(columns, choice, data)
    plans: list[FitPlan] = []
    for name in FAMILIES if model == ALL else (model,):
        plans += _of_family(name, columns, choice, common, data, everything=model == ALL)
    return plans


class _Columns(NamedTuple):
    """The study's columns by where they are."""

    participants: pd.DataFrame
    stimuli: pd.DataFrame
    trials: tuple[str, ...]

    @staticmethod
    def of(study: Study, trials: pd.DataFrame) -> "_Columns":
        own = tuple(str(name) for name in trials.columns if name not in RESERVED)
        there = set(trials["participant"].astype("str"))
        people = study.participants
        mine = people["participant_id"].astype("str").str.removeprefix("sub-").isin(there)
        return _Columns(cast(pd.DataFrame, people[mine]), study.stimuli, own)

    @property
    def of_persons(self) -> list[str]:
        return [str(name) for name in self.participants.columns if name != "participant_id"]

    def check(self, choice: FamilyChoice) -> None:
        covariates = () if choice.covariates == NO_COVARIATES else choice.covariates
        for option, names, known, where in (
            ("trait", choice.traits, self.of_persons, "participants.tsv"),
            ("group", choice.group, self.of_persons, "participants.tsv"),
            ("covariate", covariates, self.of_persons, "participants.tsv"),
            ("norm", choice.norms, [str(name) for name in self.stimuli.columns], "stimuli.tsv"),
            ("condition", choice.conditions, self.trials, "the events"),
            ("rating", choice.ratings, self.trials, "the events"),
        ):
            for name in names:
                if name not in known:
                    raise SpecError(
                        f"{option}: expected a column of {where} ({', '.join(known) or 'there is none'}), found "
                        f"{name!r}{nearest(name, known)}."
                    )
        for name in choice.traits:
            if not self.is_number(name):
                raise SpecError(
                    f"trait: expected a column of numbers in participants.tsv, found {name!r} with labels: it "
                    "is a group (--group)."
                )

    def is_number(self, name: str) -> bool:
        return pd.api.types.is_numeric_dtype(self.participants[name])

    def varies(self, name: str) -> bool:
        return len(set(self.participants[name].dropna())) > 1

    def covariates(self, names: Sequence[str]) -> tuple[str, ...]:
        """As they stand in the formula."""
        return tuple(f"{name}_z" if self.is_number(name) else name for name in names)

    def with_norms(self, trials: pd.DataFrame, norms: Sequence[str]) -> pd.DataFrame:
        """The trials with the stimuli's columns."""
        lacking = [name for name in norms if name not in trials.columns]
        if not lacking:
            return trials
        table = self.stimuli.set_index("stimulus_id")
        shown = trials["stimulus"].astype("str")
        added = trials.assign(**{name: table[name].reindex(shown).to_numpy() for name in lacking})
        added.attrs.update(trials.attrs)
        return added


def _common(columns: _Columns, choice: FamilyChoice, trials: pd.DataFrame) -> dict[str, Any]:
    """Options that all families share."""
    covariates = () if choice.covariates == NO_COVARIATES else choice.covariates
    return {
        "group": choice.group, "covariates": columns.covariates(covariates), "norms": choice.norms,
        "conditions": choice.conditions, "ratings": choice.ratings, "session": choice.session,
        "baseline": choice.baseline, "repeated": bool(design_check(_one_shape(trials)).facts.get("repeated")),
    }  # fmt: skip


def _one_shape(trials: pd.DataFrame) -> pd.DataFrame:
    codes = trials["blend_shape"].cat.codes.to_numpy()
    return cast(pd.DataFrame, trials[codes == codes[0]]) if len(codes) else trials


def _of_family(
    name: str, columns: _Columns, choice: FamilyChoice, common: Mapping[str, Any], trials: pd.DataFrame, *,
    everything: bool,
) -> list[FitPlan]:  # fmt: skip
    if name == "task":
        media = len(labels_in_use(cast(pd.Series, trials["medium"])))
        return [] if everything and media < 2 else _task(common, choice, trials)
    if name == "traits":
        return _traits(columns, choice, common, trials, everything=everything)
    if name == "time":
        return [_time(common, choice, trials, everything=everything)]
    return [FitPlan(FAMILIES[name](**common, traits=() if everything else choice.traits), trials)]


def _time(
    common: Mapping[str, Any], choice: FamilyChoice, trials: pd.DataFrame, *, everything: bool
) -> FitPlan:
    """Over the equal first seconds; a trial has an effect of its own already."""
    options = {**common, "repeated": False}
    if everything:
        options |= {"conditions": (), "ratings": ()}
    order = design_check(_one_shape(trials)).facts.get("order") or {}
    spec = time(
        **options,
        traits=() if everything else choice.traits,
        habituation=order.get("habituation") == "identified",
    )
    return FitPlan(spec, first_seconds(trials))


def _task(common: Mapping[str, Any], choice: FamilyChoice, trials: pd.DataFrame) -> list[FitPlan]:
    """Over the equal first seconds, and over whole stimuli where they are longer."""
    spec = task(**common, traits=choice.traits)
    try:
        first = first_seconds(trials)
    except TrialsError:  # averaged already
        return [FitPlan(spec, trials)]
    if len(first) == len(trials):
        return [FitPlan(spec, trials)]
    return [
        FitPlan(replace(spec, answers=f"{spec.answers} Over the equal first seconds."), first),
        FitPlan(replace(spec, name="task-whole", answers=f"{spec.answers} Over whole stimuli."), trials),
    ]


def _traits(
    columns: _Columns,
    choice: FamilyChoice,
    common: Mapping[str, Any],
    trials: pd.DataFrame,
    *,
    everything: bool,
) -> list[FitPlan]:
    standard = [name for name in STANDARD if name in columns.of_persons and columns.varies(name)]
    numbers = [
        name
        for name in columns.of_persons
        if name not in STANDARD and columns.is_number(name) and columns.varies(name)
    ]
    named = choice.traits or (tuple(numbers) if everything else ())
    if not (named or choice.group or choice.ratings):
        if everything:
            return []
        raise SpecError(
            "traits: expected --trait, --group or --rating, found none; numbers in participants.tsv: "
            f"{', '.join([*numbers, *(name for name in standard if columns.is_number(name))]) or 'none'}."
        )
    sets = [named] if choice.together or not named else [(name,) for name in named]
    plans = []
    for mine in sets:
        others = [name for name in standard if name not in (*mine, *choice.group)]
        options = common if choice.covariates else {**common, "covariates": columns.covariates(others)}
        spec = traits(mine, **options)
        plans.append(FitPlan(replace(spec, name="-".join(["traits", *mine])), trials))
    return plans
