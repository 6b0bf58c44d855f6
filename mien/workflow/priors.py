"""The priors of a study: what its models can take, what was set, what is frozen, and where two sets differ.

    STUDY/priors/valence.toml            set by `mien priors set`, by parameter; the rest are the library's defaults
    STUDY/priors/valence.frozen.json     frozen by `mien priors freeze`: what `mien fit` then takes, by its hash

The first is of a family, and reaches those of its models that have the parameter; the second is of one model, by the
name of its fit ("traits-empathy"). What is frozen is not changed: freezing anew is a step of its own.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import tomli_w

from mien.models import FactorSpec, ModelSpec, freeze_priors, load
from mien.models.factors.spec import FAMILY as CO_ACTIVATION
from mien.models.factors.spec import PRIORS as FACTOR_PRIORS
from mien.models.prior_freezing import stored_priors
from mien.models.prior_tables import numbers_text, prior_table, priors_listed
from mien.priors import (
    Entry,
    FrozenPriors,
    Override,
    Prior,
    ResolvedPrior,
    entry_to_dict,
    override_from_dict,
    prior_to_dict,
    read_override,
)
from mien.study.errors import MienError, SpecError, StudyError
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.study.tables import nearest, read_text
from mien.workflow.checking import require_complete
from mien.workflow.co_activation import FactorChoice
from mien.workflow.family_plans import ALL, FAMILIES, FamilyChoice, plan_fits
from mien.workflow.parallel import Progress
from mien.workflow.preparing import load_prep, load_trials

__all__ = [
    "ListedModel", "PlannedModel", "compare_priors", "freeze_study_priors", "frozen_path", "load_frozen",
    "planned_models", "read_priors", "refuse_unknown_priors", "set_path", "set_prior", "with_set_priors",
]  # fmt: skip

DEFAULT = "default"
HEADER = "# Priors of this study, set by `mien priors set`; what is not here has the library's default.\n"


class PlannedModel(NamedTuple):
    """One model of a study with its trials, its set priors and its frozen ones, None where there are none."""

    spec: ModelSpec | FactorSpec
    trials: pd.DataFrame
    frozen: FrozenPriors | None

    @property
    def name(self) -> str:
        """Of the fit."""
        return self.spec.name


def planned_models(
    study: Study,
    model: str,
    *,
    choice: FamilyChoice | None = None,
    factors: FactorChoice | None = None,
) -> list[PlannedModel]:
    """The models of a family with their trials and priors, as `mien fit` would fit them.

    Raises
    ------
    StudyError, SpecError
    """
    if model == ALL:
        raise SpecError(
            f"model: expected one of {', '.join((*FAMILIES, CO_ACTIVATION))}, found 'all': priors belong to one family."
        )
    require_complete(study)
    trials = load_trials(study)
    trials.attrs["recipe_sha256"] = load_prep(study)["recipe_sha256"]
    if model == CO_ACTIVATION:
        spec = (factors or FactorChoice()).spec
        refuse_unknown_priors(study, [spec], [trials])
        return [PlannedModel(with_set_priors(study, spec, trials), trials, load_frozen(study, spec.name))]
    plans = plan_fits(study, trials, model, choice or FamilyChoice())
    refuse_unknown_priors(study, [plan.spec for plan in plans], [plan.trials for plan in plans])
    specs = [with_set_priors(study, plan.spec, plan.trials) for plan in plans]
    return [
        PlannedModel(spec, plan.trials, load_frozen(study, spec.name))
        for plan, spec in zip(plans, specs, strict=True)
    ]


# --- priors that were set --------------------------------------------------------------------------------------------


def set_path(study: Study, family: str) -> Path:
    """Where the set priors of a family are."""
    return study.path / "priors" / f"{family}.toml"


def frozen_path(study: Study, name: str) -> Path:
    """Where the frozen priors of a model are."""
    return study.path / "priors" / f"{name}.frozen.json"


def read_priors(study: Study, family: str) -> dict[str, Override]:
    """The set priors of a family by parameter or role; empty where none were set.

    Raises
    ------
    StudyError
        For a file that is not understood.
    """
    path = set_path(study, family)
    if not path.exists():
        return {}
    try:
        data = tomllib.loads(read_text(path))
        return {name: _override(name, item) for name, item in data.items()}
    except (ValueError, RecursionError) as reason:
        raise StudyError(f"{path}: expected TOML, but {reason}: correct it.") from None
    except SpecError as reason:
        raise StudyError(f"{path}: {reason}") from None


def _override(name: str, item: object) -> Override:
    """An id of the library, {prior = "Normal(0, 1)"}, or an entry."""
    if isinstance(item, str):
        return read_override(name, item)
    if not isinstance(item, Mapping):
        raise SpecError(f"{name}: expected the id of an entry, a prior or an entry, found {item!r}.")
    return override_from_dict(item)


def with_set_priors[Spec: (ModelSpec, FactorSpec)](study: Study, spec: Spec, trials: pd.DataFrame) -> Spec:
    """The specification with those of the family's set priors that it has a parameter for."""
    given = read_priors(study, family_of(spec))
    if not given:
        return spec
    there = _known(study, spec, trials)
    mine = {name: prior for name, prior in given.items() if name in there}
    return replace(spec, priors={**spec.priors, **mine})


def family_of(spec: ModelSpec | FactorSpec) -> str:
    """The family that a model's name begins with."""
    return CO_ACTIVATION if isinstance(spec, FactorSpec) else spec.name.partition("-")[0]


def _known(study: Study, spec: ModelSpec | FactorSpec, trials: pd.DataFrame) -> set[str]:
    """Names of parameters, and of their roles."""
    if isinstance(spec, FactorSpec):
        return set(FACTOR_PRIORS)
    table = prior_table(spec, _one_shape(trials), participants=study.participants)
    return {*table["parameter"], *(role.removeprefix("link_") for role in table["role"])}


def _one_shape(trials: pd.DataFrame) -> pd.DataFrame:
    """Rows of a shape that moves, which name a model's parameters as well as all do."""
    spread = trials.groupby("blend_shape", observed=True)["activation"].std()
    rows = cast(pd.DataFrame, trials[trials["blend_shape"] == spread.idxmax()])
    found = rows.assign(blend_shape=pd.Categorical(rows["blend_shape"]).remove_unused_categories())
    found.attrs.update(trials.attrs)
    return found


def refuse_unknown_priors(
    study: Study, specs: Sequence[ModelSpec | FactorSpec], trials: Sequence[pd.DataFrame]
) -> None:
    """Refuse a set prior that no model of its family has a parameter for.

    Raises
    ------
    SpecError
    """
    for family in dict.fromkeys(family_of(spec) for spec in specs):
        given = read_priors(study, family)
        if not given:
            continue
        known: set[str] = set()
        for spec, rows in zip(specs, trials, strict=True):
            known |= _known(study, spec, rows) if family_of(spec) == family else set()
        for name in given:
            if name not in known:
                raise SpecError(
                    f"{set_path(study, family)}: expected priors of parameters that a model of {family} has, found "
                    f"{name!r}{nearest(name, sorted(known))}; there are {', '.join(sorted(known))}."
                )


def set_prior(
    study: Study,
    family: str,
    parameter: str,
    prior: Prior | Entry | str,
    *,
    choice: FamilyChoice | None = None,
    factors: FactorChoice | None = None,
) -> Path:
    """Write one prior of a family; "default" takes back what was set. Returns the file.

    Raises
    ------
    SpecError
        For a parameter that no model of the family has, a prior that it cannot have, or frozen priors in the way.
    """
    frozen = sorted(path.name for path in (study.path / "priors").glob(f"{family}*.frozen.json"))
    if frozen:
        raise SpecError(
            f"priors of {family}: expected none frozen, found {', '.join(frozen)}: what is frozen does not change. To "
            "plan anew, remove the file, set, and freeze again; the new hash tells the two apart."
        )
    given = read_priors(study, family)
    if prior == DEFAULT:
        if parameter not in given:
            raise SpecError(
                f"priors of {family}: expected a prior that was set ({', '.join(given) or 'none was'}), found "
                f"{parameter!r}{nearest(parameter, list(given))}."
            )
        del given[parameter]
    else:
        given[parameter] = read_override(parameter, prior)
    path = set_path(study, family)
    before = path.read_bytes() if path.exists() else None
    write_whole(path, HEADER + tomli_w.dumps({name: _stored(one) for name, one in given.items()}))
    try:
        for planned in planned_models(study, family, choice=choice, factors=factors):
            if isinstance(planned.spec, ModelSpec):  # whether the prior suits the parameter
                prior_table(planned.spec, _one_shape(planned.trials), participants=study.participants)
    except MienError:
        path.unlink() if before is None else write_whole(path, before)
        raise
    _ignore_in_bids(study)
    return path


def _stored(override: Override) -> Any:
    """As the file has it: a library's entry by its id."""
    from mien.priors import LIBRARY

    if isinstance(override, Entry) and any(entry is override or entry == override for entry in LIBRARY):
        return override.id
    return _without_none(entry_to_dict(override) if isinstance(override, Entry) else prior_to_dict(override))


def _without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, (list, tuple)) else value


def _ignore_in_bids(study: Study) -> None:
    path = study.path / ".bidsignore"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if "priors/" not in lines:
        write_whole(path, "\n".join([*lines, "priors/"]) + "\n")


# --- freezing --------------------------------------------------------------------------------------------------------


def load_frozen(study: Study, name: str) -> FrozenPriors | None:
    """The frozen priors of a model, None where there are none.

    Raises
    ------
    SpecError
        For a file that was changed, or is none.
    """
    path = frozen_path(study, name)
    return FrozenPriors.from_json(read_text(path), str(path)) if path.exists() else None


def freeze_study_priors(
    study: Study,
    model: str,
    *,
    choice: FamilyChoice | None = None,
    factors: FactorChoice | None = None,
    replace_frozen: bool = False,
    progress: Progress | None = None,
) -> list[tuple[Path, FrozenPriors]]:
    """Freeze the priors of a family's models, resolved on the study's trials.

    Raises
    ------
    SpecError
        When some are frozen already, unless they are to be replaced.
    """
    planned = planned_models(study, model, choice=choice, factors=factors)
    there = [str(frozen_path(study, one.name)) for one in planned if one.frozen is not None]
    if there and not replace_frozen:
        raise SpecError(
            f"priors of {model}: expected none frozen, found {', '.join(there)}: `--replace` freezes anew, with "
            "another hash."
        )
    found = []
    for number, one in enumerate(planned):
        if progress:
            progress(number, len(planned), "freezing priors")
        frozen = freeze_priors(one.spec, one.trials, participants=study.participants)
        found.append((frozen_path(study, one.name), frozen))
    for path, frozen in found:
        write_whole(path, frozen.to_json())
    _ignore_in_bids(study)
    if progress:
        progress(len(planned), len(planned), "freezing priors")
    return found


# --- comparing -------------------------------------------------------------------------------------------------------


class _Set(NamedTuple):
    """Priors by outcome and parameter, their hash, and the entries behind them."""

    sha256: str
    outcomes: Mapping[str, Mapping[str, ResolvedPrior]]


def compare_priors(one: Path | str, other: Path | str) -> tuple[pd.DataFrame, tuple[str, str]]:
    """Where two sets of priors differ, over the outcomes that both have.

    Parameters
    ----------
    one, other : a frozen file, or the folder of a fit.

    Returns
    -------
    DataFrame with parameter, one, other, entry_one, entry_other, ratio (of their sds or scales, other to one; NaN where
    the families differ), shapes (how many differ), same (bool); attrs `only_one` and `only_other` are outcomes that
    the other set lacks; and both hashes.

    Raises
    ------
    SpecError, FitError
    """
    first, second = _read_set(Path(one)), _read_set(Path(other))
    common = [outcome for outcome in first.outcomes if outcome in second.outcomes]
    if not common:
        raise SpecError(
            f"priors compare: expected two sets with an outcome in common, found {', '.join(first.outcomes)} and "
            f"{', '.join(second.outcomes)}."
        )
    names = dict.fromkeys(
        name for made in (first, second) for priors in made.outcomes.values() for name in priors
    )
    table = pd.DataFrame([_compared(name, first, second, common) for name in names])
    table.attrs["only_one"] = [outcome for outcome in first.outcomes if outcome not in common]
    table.attrs["only_other"] = [outcome for outcome in second.outcomes if outcome not in common]
    return table, (first.sha256, second.sha256)


def _read_set(path: Path) -> _Set:
    if path.is_dir():
        fit = load(path)
        return _Set(str(fit.attrs.get("priors_sha256", "")), stored_priors(fit))
    if not path.is_file():
        raise SpecError(f"{path}: expected a frozen file or the folder of a fit, found nothing there.")
    frozen = FrozenPriors.from_json(read_text(path), str(path))
    return _Set(frozen.sha256, frozen.outcomes)


def _compared(name: str, first: _Set, second: _Set, outcomes: Sequence[str]) -> dict[str, Any]:
    pairs = [
        (first.outcomes.get(shape, {}).get(name), second.outcomes.get(shape, {}).get(name))
        for shape in outcomes
    ]
    ones, others = [one for one, _ in pairs if one], [other for _, other in pairs if other]
    ratios = [_ratio(one.prior, other.prior) for one, other in pairs if one and other]
    known = [ratio for ratio in ratios if ratio is not None]
    differ = sum(one != other for one, other in pairs)
    return {
        "parameter": name,
        "one": numbers_text(ones) if ones else "",
        "other": numbers_text(others) if others else "",
        "entry_one": ", ".join(dict.fromkeys(one.id for one in ones)),
        "entry_other": ", ".join(dict.fromkeys(other.id for other in others)),
        "ratio": float(pd.Series(known).median()) if known else float("nan"),
        "shapes": differ,
        "same": differ == 0,
    }


def _ratio(one: Prior, other: Prior) -> float | None:
    """How many times as wide the other is; None for other families, and where there is no width."""
    if type(one) is not type(other):
        return None
    mine, its = asdict(one), asdict(other)
    for name, power in (("sd", 1.0), ("scale", 1.0), ("sigma", 1.0), ("rate", -1.0)):
        if name in mine:
            return float((its[name] / mine[name]) ** power)
    return None


# --- listing ---------------------------------------------------------------------------------------------------------


class ListedModel(NamedTuple):
    """What `mien priors list` tells of one model: `table` as in `mien.models.prior_table`."""

    name: str
    formula: str
    table: pd.DataFrame
    sha256: str
    frozen: bool


def listed_priors(
    study: Study | None,
    model: str,
    *,
    choice: FamilyChoice | None = None,
    factors: FactorChoice | None = None,
) -> list[ListedModel]:
    """Every model of a family with what it has priors for; without a study on the standardised scale.

    Raises
    ------
    StudyError, SpecError
    """
    if study is None:
        planned, people = _example(model, choice or FamilyChoice()), _example_people(choice or FamilyChoice())
    else:
        planned, people = planned_models(study, model, choice=choice, factors=factors), study.participants
    found = []
    for one in planned:
        frozen = one.frozen or freeze_priors(one.spec, one.trials, participants=people)
        table = priors_listed(frozen, factors=isinstance(one.spec, FactorSpec))
        found.append(ListedModel(one.name, one.spec.formula, table, frozen.sha256, one.frozen is not None))
    return found


def _example(model: str, choice: FamilyChoice) -> list[PlannedModel]:
    """A family's models on a made-up standardised table, for its parameters' names."""
    if model == CO_ACTIVATION:
        return [PlannedModel(FactorChoice().spec, pd.DataFrame(), None)]
    if model not in FAMILIES:
        known = (*FAMILIES, CO_ACTIVATION)
        raise SpecError(f"model: expected one of {', '.join(known)}, found {model!r}{nearest(model, known)}.")
    if choice.norms or choice.conditions or choice.ratings:
        raise SpecError(
            "priors list: expected a study for norms, conditions and ratings, found none: name one."
        )
    options: dict[str, Any] = {"traits": choice.traits, "group": choice.group}
    options |= {"covariates": () if choice.covariates == ("none",) else choice.covariates}
    if model == "traits":
        options.pop("traits")
        spec = FAMILIES[model](choice.traits or ("trait",), **options)
    else:
        spec = FAMILIES[model](**options)
    return [PlannedModel(spec, _example_trials(), None)]


def _example_people(choice: FamilyChoice) -> pd.DataFrame:
    numbers = (*(choice.traits or ("trait",)), *(name for name in choice.covariates if name != "none"))
    columns = {name: np.arange(8) % 5 for name in numbers}
    groups = {name: np.array(["a", "b"])[np.arange(8) % 2] for name in choice.group}
    return pd.DataFrame({"participant_id": [f"sub-{n + 1:02d}" for n in range(8)], **columns, **groups})


def _example_trials() -> pd.DataFrame:
    """Eight persons, two positive and two negative stimuli of each medium, six bins; outcome of mean 0 and sd 1."""
    stimuli = [
        (f"{medium}-{valence}-{item}", valence, medium)
        for medium in ("picture", "film")
        for valence in ("negative", "positive")
        for item in (1, 2)
    ]
    rows = [
        (f"{person + 1:02d}", "1", "met", "1", trial + 1, *stimulus, time)
        for person in range(8)
        for trial, stimulus in enumerate(stimuli)
        for time in range(6)
    ]
    names = ("participant", "session", "task", "run", "trial", "stimulus", "valence", "medium", "bin")
    table = pd.DataFrame(rows, columns=list(names))
    values = np.random.default_rng(0).normal(size=len(table))
    values = (values - values.mean()) / values.std()
    media = pd.CategoricalDtype(["picture", "film"], ordered=True)
    signs = pd.CategoricalDtype(["negative", "positive"], ordered=True)
    return table.assign(
        activation=values, time=0.25 + 0.5 * table["bin"], medium=table["medium"].astype(media),
        valence=table["valence"].astype(signs),
    )  # fmt: skip
