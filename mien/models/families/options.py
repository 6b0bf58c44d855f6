"""What may be added to every family, and how a family's formula is put together.

    option       in the formula                                     slopes
    group        group + valence:group                              (group || stimulus)
    traits       trait_z + valence:trait_z                          (trait_z || stimulus)
    covariates   as written, + valence:covariate                    none: nothing is claimed of them
    norms        norm_z, of stimuli                                 none
    conditions   crossed with all of the family's factors           all of it by participant, condition by stimulus
    ratings      X_within, X_person, X_stimulus, each with valence: X_within and valence:X_within by participant,
                                                                    X_within by stimulus
    session      session + valence:session                          (valence | participant:session), session by stimulus
    repeated     –                                                  (1 | participant:stimulus)
    baseline     "change": the outcome is `activation`; "covariate": `raw ~ … + baseline_within`

An effect that is claimed has a slope wherever it varies within a unit: an omitted slope counts a unit's own answer as
that of all. Intercept and valence are correlated, further slopes are not (`||`), and there are 12 group standard
deviations at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from typing import Any, TypedDict

from mien.models.design import MAX_TERMS
from mien.models.spec import ModelSpec
from mien.priors import Override, read_override
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = ["BASELINES", "FamilyOptions", "Options", "compose", "family_spec"]

BASELINES = ("change", "covariate")
NAMING = ("group", "traits", "covariates", "norms", "conditions", "ratings")  # options that name columns

type Columns = str | Sequence[str]


class FamilyOptions(TypedDict, total=False):
    """Keywords of every family.

    group : persons' categories whose answers are compared, such as patients and controls.
    traits : persons' numbers, entered as z-scores over persons (`trait_z`).
    covariates : columns to adjust the valence effect for, as they stand in the formula: ``("age_z", "sex")``. Numbers
        need the `_z`, or the coefficient of valence is that at 0.
    norms : stimuli's numbers (arousal …), entered as z-scores over stimuli.
    conditions : categories or numbers that differ between the trials of a person, such as a question or a context.
    ratings : a person's own numbers by trial, split three ways; the remainder carries the within-person claim.
    session : True for retest: sessions differ, and persons' answers from session to session.
    repeated : True when a person sees a stimulus more than once.
    baseline : "change", or "covariate": see above.
    priors : overrides by parameter or role, in coefficient units.
    contrasts : combinations of shapes as further outcomes, ``{"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}``.
    pool_trackers : True to put two trackers into one fit.
    """

    group: Columns
    traits: Columns
    covariates: Columns
    norms: Columns
    conditions: Columns
    ratings: Columns
    session: bool
    repeated: bool
    baseline: str
    priors: Mapping[str, Override | str] | None
    contrasts: Mapping[str, Mapping[str, float]] | None
    pool_trackers: bool


@dataclass(frozen=True)
class Options:
    """`FamilyOptions`, checked, with their defaults."""

    group: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    ratings: tuple[str, ...] = ()
    session: bool = False
    repeated: bool = False
    baseline: str = "change"
    priors: Mapping[str, Override | str] = field(default_factory=dict)
    contrasts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pool_trackers: bool = False

    @staticmethod
    def of(given: Mapping[str, Any], factors: Sequence[str] = ("valence",)) -> "Options":
        """Check what a family was given.

        Parameters
        ----------
        factors : the family's own columns, which no option may name again.

        Raises
        ------
        SpecError
            For an unknown option, a column in two options, or a baseline treatment that there is none of.
        """
        known = [item.name for item in fields(Options)]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise SpecError(
                f"options: expected some of {', '.join(known)}, found {unknown[0]!r}{nearest(unknown[0], known)}."
            )
        made: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        for name in NAMING:
            made[name] = _columns(name, made.get(name, ()))
        options = Options(**made)
        _check(options, factors)
        return options

    @property
    def columns(self) -> dict[str, str]:
        """Column → the option that names it."""
        return {column: name for name in NAMING for column in getattr(self, name)}


def _columns(name: str, given: Columns) -> tuple[str, ...]:
    columns = (given,) if isinstance(given, str) else tuple(given)
    wrong = [column for column in columns if not isinstance(column, str) or not column.isidentifier()]
    if wrong and wrong != [""]:
        raise SpecError(
            f"{name}: expected names of columns (a letter first, then letters, digits and _), found {wrong[0]!r}: "
            "rename the column."
        )
    return tuple(column for column in columns if column)


def _check(options: Options, factors: Sequence[str]) -> None:
    if options.baseline not in BASELINES:
        raise SpecError(
            f"baseline: expected one of {', '.join(BASELINES)}, found {options.baseline!r}"
            f"{nearest(str(options.baseline), BASELINES)}."
        )
    count = sum(len(getattr(options, name)) for name in NAMING)
    if count > len(options.columns):
        raise SpecError("options: expected each column in one option, found one in two: name it once.")
    for column, name in options.columns.items():
        if column in (*factors, "participant", "stimulus", *(["session"] if options.session else [])):
            raise SpecError(f"{name}: expected columns that the family does not have, found {column!r}.")
        if column == "medium":
            raise SpecError(
                f"{name}: expected a column other than medium, which differs between stimuli: films and pictures are "
                "compared by mien.models.task."
            )


# The formula


def compose(
    options: Options,
    *,
    factors: Sequence[str] = ("valence",),
    slopes: Sequence[str] = (),
    stimulus: Sequence[str] = ("1",),
    more: Sequence[str] = (),
) -> str:
    """A family's formula with its options.

    Parameters
    ----------
    factors : the family's own factors, crossed with each other; the first is valence.
    slopes : further effects that persons differ in, beside intercept and valence.
    stimulus : effects that stimuli differ in; "1" for a level.
    more : further terms of the family, group terms included, as they stand.

    Raises
    ------
    SpecError
        When there are more than 12 group standard deviations.
    """
    fixed = [" * ".join([*factors, *options.conditions[:1]])]
    products = [":".join(term) for size in (1, 2, 3) for term in combinations(factors, size)]
    by_participant, by_stimulus = list(slopes), list(stimulus)
    for place, condition in enumerate(options.conditions):
        crossed = [condition, *(f"{product}:{condition}" for product in products)]
        fixed += crossed if place else []
        by_participant += crossed
        by_stimulus.append(condition)
    traits = [_z(name) for name in options.traits]
    for column in (*options.group, *traits, *options.covariates):
        fixed += [column, f"valence:{column}"]
    for rating in options.ratings:
        for part in ("within", "person", "stimulus"):
            fixed += [f"{rating}_{part}", f"valence:{rating}_{part}"]
        by_participant += [f"{rating}_within", f"valence:{rating}_within"]
        by_stimulus.append(f"{rating}_within")
    by_stimulus += [*options.group, *traits]
    fixed += [_z(name) for name in options.norms]
    groups = ["(valence | participant)"]
    if by_participant:
        groups.append(f"(0 + {' + '.join(by_participant)} || participant)")
    if options.session:
        fixed += ["session", "valence:session"]
        by_stimulus.append("session")
        groups.append("(valence | participant:session)")
    if options.baseline == "covariate":
        fixed.append("baseline_within")
    groups.append(_by_stimulus(by_stimulus))
    if options.repeated:
        groups.append("(1 | participant:stimulus)")
    _check_size(2 + len(by_participant) + len(by_stimulus) + 2 * options.session + options.repeated)
    response = "activation" if options.baseline == "change" else "raw"
    return f"{response} ~ {' + '.join([*fixed, *more, *groups])}"


def _z(name: str) -> str:
    return name if name.endswith("_z") else f"{name}_z"


def _by_stimulus(terms: Sequence[str]) -> str:
    if list(terms) == ["1"]:
        return "(1 | stimulus)"
    return f"({'' if terms[0] == '1' else '0 + '}{' + '.join(terms)} || stimulus)"


def _check_size(count: int) -> None:
    if count > MAX_TERMS:
        raise SpecError(
            f"options: expected at most {MAX_TERMS} group standard deviations, found {count}: ask for fewer at once, "
            "or write the formula yourself."
        )


def family_spec(name: str, formula: str, options: Options, *, answers: str, **more: Any) -> ModelSpec:
    """The ModelSpec of a family; its sentence goes on with what the options add."""
    return ModelSpec(
        formula,
        priors={name: read_override(name, prior) for name, prior in options.priors.items()},
        contrasts=dict(options.contrasts),
        pool_trackers=options.pool_trackers,
        name=name,
        answers=" ".join([answers, *_sentences(options)]),
        **more,
    )


def _sentences(options: Options) -> list[str]:
    found = []
    if options.group:
        found.append(f"By how much does that differ between levels of {_and(options.group)}?")
    if options.traits:
        found.append(f"How does it go with {_and(options.traits)} (per standard deviation of the sample)?")
    if options.conditions:
        found.append(f"By how much does it differ by {_and(options.conditions)}?")
    if options.ratings:
        found.append(
            f"How does it go with {_and(options.ratings)}: a person's answer to a stimulus beyond their own mean and "
            "the stimulus' (within), the person's mean, the stimulus' mean over the others?"
        )
    if options.session:
        found.append("By how much does it change from session to session?")
    if options.covariates or options.norms:
        found.append(f"All of it adjusted for {_and([*options.covariates, *options.norms])}.")
    if options.baseline == "covariate":
        found.append("The baseline is a covariate, not taken off.")
    return found


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
