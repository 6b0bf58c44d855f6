"""`mien priors`: what a model takes priors for, and setting, freezing, checking and comparing them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.arguments import (
    DONE,
    FAILED_VERDICT,
    AsJson,
    Condition,
    Covariate,
    Group,
    Names,
    Norm,
    Rating,
    StudyFolder,
    Trait,
    print_json,
    study_at,
    with_progress,
    without_nan,
)
from mien.terminal import say, table

__all__ = ["priors"]

priors = typer.Typer(
    name="priors",
    help="What is assumed before the data: list, show, set, freeze, compare, check.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Model = Annotated[str, typer.Option("--model", help="valence, time, task, traits or co_activation")]
MaybeStudy = Annotated[
    Path | None, typer.Argument(metavar="[STUDY]", help="the study, whose trials give the scale")
]


@priors.command("list")
def list_(
    study: MaybeStudy = None,
    model: Model = "valence",
    trait: Trait = None,
    group: Group = None,
    covariate: Covariate = None,
    norm: Norm = None,
    condition: Condition = None,
    rating: Rating = None,
    as_json: AsJson = False,
) -> int:
    """What a model can take priors for, what it uses now, and why."""
    from mien.workflow.priors import listed_priors

    found = listed_priors(
        study_at(study) if study else None,
        model,
        choice=_choice(trait, group, covariate, norm, condition, rating),
    )
    if as_json:
        print_json([_listed(one) for one in found])
        return DONE
    for one in found:
        _say_listed(one)
    if study is None:
        say("no study was given: numbers are in standard deviations of the outcome")
    return DONE


def _say_listed(one: Any) -> None:
    """The parameters with their priors, then each entry once: what it says, why, and what there is instead."""
    say(f"{one.name}: {one.formula}")
    columns = {"parameter": "parameter", "prior": "prior", "source": "source", "entry": "entry"}
    rows = one.table.to_dict("records")
    say(table(rows, columns))
    told: dict[str, Any] = {}
    for row in rows:
        told.setdefault(f"{row['entry']}, of a {row['role']}", row)
    for heading, row in told.items():
        say(f"\n{heading}")
        if row["implies"]:
            say(f"  {row['implies']}")
        say(f"  why: {row['reason'] or 'no source: a registered analysis refuses it'}")
        say(f"  instead: {', '.join(filter(None, [row['alternatives'], row['families']]))}")
    say(f"\npriors of {one.name}: sha256 {one.sha256}, {'frozen' if one.frozen else 'not frozen'}")


def _listed(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "formula": one.formula,
        "sha256": one.sha256,
        "frozen": one.frozen,
        "priors": one.table.to_dict("records"),
    }


def _choice(
    trait: Names, group: Names, covariate: Names, norm: Names, condition: Names, rating: Names
) -> Any:
    from mien.workflow.fitting import FamilyChoice

    return FamilyChoice(
        tuple(trait or ()), tuple(group or ()), tuple(covariate or ()), tuple(norm or ()), tuple(condition or ()),
        tuple(rating or ()),
    )  # fmt: skip


@priors.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="ENTRY", help="coefficient, coefficient:sceptical, or a role")
    ],
    as_json: AsJson = False,
) -> int:
    """One entry of the library with its source, what it says about data, and its variants."""
    from mien.priors import LIBRARY, entry_to_dict
    from mien.priors.library import ROLES

    entry = LIBRARY.default(name) if name in ROLES else LIBRARY.find(name)
    family = [entry] if entry.variant else [entry, *LIBRARY.variants(entry.role)]
    if as_json:
        print_json([entry_to_dict(one) for one in family])
        return DONE
    for one in family:
        _say_entry(one)
    return DONE


def _say_entry(entry: Any) -> None:
    from mien.priors import prior_text

    say(f"{entry.label}: {prior_text(entry.prior)}, {entry.scale}")
    say(f"    for: {entry.role}; put on the data's scale by: {entry.times}")
    say(f"    source: {entry.source.kind}; {entry.source.reason}")
    if entry.source.doi:
        say(f"    read: {entry.source.sentence} ({entry.source.doi})")
    if entry.implies is not None:
        say(f"    says: {entry.implies.sentence()}")


@priors.command("set")
def set_(
    study: StudyFolder,
    parameter: Annotated[str, typer.Argument(help="a parameter or role, as `mien priors list` names it")],
    prior: Annotated[
        str, typer.Argument(help="coefficient:sceptical, 'Normal(0, 0.1)' in units of the data, or default")
    ] = "",
    model: Model = "valence",
    source: Annotated[str, typer.Option(help="of a prior in numbers: literature, rule, convention")] = "",
    reason: Annotated[str, typer.Option(help="why this prior, in a sentence")] = "",
    doi: Annotated[str, typer.Option(help="of literature")] = "",
    sentence: Annotated[str, typer.Option(help="of literature: the sentence that was read")] = "",
    interval: Annotated[
        tuple[float, float] | None, typer.Option(help="elicited: within LOW HIGH with --probability")
    ] = None,
    probability: Annotated[float, typer.Option(help="of --interval")] = 0.95,
    people: Annotated[bool, typer.Option("--people", help="--interval holds that share of people")] = False,
    quantile: Annotated[Names, typer.Option(help="elicited: 0.05=-0.1, two or more")] = None,
    chips: Annotated[str, typer.Option(help="elicited: edges and counts, '-0.2,-0.1,0,0.1: 2,9,4'")] = "",
    pilot: Annotated[Path | None, typer.Option(help="a fit's folder: its posterior")] = None,
    shape: Annotated[str, typer.Option(help="of --pilot: which blend shape's")] = "",
    effect: Annotated[
        float | None,
        typer.Option(help="a published standardised difference, with --interval, --doi, --sentence"),
    ] = None,
    weight: Annotated[float, typer.Option(help="of --pilot or --effect: 0-1, how much it counts")] = 1.0,
    units: Annotated[str, typer.Option(help="of answers: raw, standardised or difference (sds)")] = "raw",
    trait: Trait = None,
    group: Group = None,
    covariate: Covariate = None,
    as_json: AsJson = False,
) -> int:
    """Set one prior of a study's models: from the library, in numbers, elicited, or from a pilot."""
    from mien.workflow.prior_answers import Answer, prior_of_answer
    from mien.workflow.priors import set_prior

    answer = Answer(
        prior=prior, source=source, reason=reason, doi=doi, sentence=sentence, interval=interval,
        probability=probability, people=people, quantiles=tuple(quantile or ()), chips=chips, pilot=pilot,
        shape=shape, weight=weight, effect=effect, units=units,
    )  # fmt: skip
    chosen = prior_of_answer(parameter, answer)
    path = set_prior(
        study_at(study), model, parameter, chosen, choice=_choice(trait, group, covariate, None, None, None)
    )
    if as_json:
        print_json({"path": str(path), "parameter": parameter, "prior": str(chosen)})
        return DONE
    if not isinstance(chosen, str):
        _say_chosen(parameter, chosen)
    say(f"written to {path}; the next `mien fit --model {model}` takes it")
    return DONE


def _say_chosen(parameter: str, chosen: Any) -> None:
    from mien.priors import Entry, prior_text

    if isinstance(chosen, Entry):
        say(
            f"{parameter}: {prior_text(chosen.prior)}, {chosen.scale}; {chosen.source.kind}: {chosen.source.reason}"
        )
        if chosen.implies is not None:
            say(chosen.implies.sentence())
    else:
        say(f"{parameter}: {prior_text(chosen)}; it has no source: a registered analysis will refuse it")


@priors.command()
def freeze(
    study: StudyFolder,
    model: Model = "valence",
    trait: Trait = None,
    group: Group = None,
    covariate: Covariate = None,
    norm: Norm = None,
    condition: Condition = None,
    rating: Rating = None,
    replace: Annotated[bool, typer.Option("--replace", help="freeze anew, with another hash")] = False,
    as_json: AsJson = False,
) -> int:
    """Freeze the priors of a model's fits: numbers, sources and one hash, which fits and reports carry."""
    from mien.workflow.priors import freeze_study_priors

    found = with_progress(
        freeze_study_priors,
        study_at(study),
        model,
        choice=_choice(trait, group, covariate, norm, condition, rating),
        replace_frozen=replace,
        as_json=as_json,
    )
    if as_json:
        print_json([
            {"path": str(path), "name": frozen.name, "sha256": frozen.sha256, "unsourced": list(frozen.unsourced)}
            for path, frozen in found
        ])  # fmt: skip
        return DONE
    for path, frozen in found:
        say(f"{frozen.name}: sha256 {frozen.sha256}")
        say(f"    {path}")
        if frozen.unsourced:
            say(
                f"    without a source: {', '.join(frozen.unsourced)}: `mien fit --registered` will refuse them"
            )
    return DONE


@priors.command()
def compare(
    one: Annotated[Path, typer.Argument(metavar="ONE", help="a frozen file, or a fit's folder")],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="another")],
    as_json: AsJson = False,
) -> int:
    """Where two sets of priors differ."""
    from mien.workflow.priors import compare_priors

    found, (first, second) = compare_priors(one, other)
    if as_json:
        print_json({"sha256": [first, second], "same": first == second, "priors": found.to_dict("records")})
        return DONE
    differ = found.loc[~found["same"]]
    if len(differ):
        columns = {"parameter": "parameter", "one": "one", "other": "other", "ratio": "times as wide"}
        say(table(without_nan(differ.to_dict("records")), columns))
    for which, path in (("only_one", one), ("only_other", other)):
        if found.attrs[which]:
            say(f"only in {path}: {', '.join(found.attrs[which])}")
    say(f"{len(differ)} of {len(found)} priors differ; sha256 {first[:8]}… and {second[:8]}…")
    return DONE


@priors.command()
def check(
    study: StudyFolder,
    model: Model = "valence",
    trait: Trait = None,
    group: Group = None,
    covariate: Covariate = None,
    norm: Norm = None,
    condition: Condition = None,
    rating: Rating = None,
    shapes: Annotated[str, typer.Option(help="only these blend shapes, separated by commas")] = "",
    draws: Annotated[int, typer.Option(min=40, help="from the priors")] = 400,
    seed: Annotated[int, typer.Option(help="the same seed gives the same numbers")] = 0,
    as_json: AsJson = False,
) -> int:
    """What the priors expect before the data, in activation units, and whether that can be."""
    from mien.workflow.prior_checks import check_study_priors

    found = with_progress(
        check_study_priors,
        study_at(study),
        model,
        choice=_choice(trait, group, covariate, norm, condition, rating),
        shapes=[name.strip() for name in shapes.split(",") if name.strip()],
        draws=draws,
        seed=seed,
        as_json=as_json,
    )
    if as_json:
        print_json([_told_check(one) for one in found])
    else:
        for one in found:
            say(f"{one.name}:")
            for sentence in one.result.sentences:
                say(f"  {sentence}")
            say(f"verdict: {one.result.verdict}; stored for priors sha256 {one.sha256[:8]}…: {one.path}")
    return DONE if all(one.result.verdict == "passed" for one in found) else FAILED_VERDICT


def _told_check(one: Any) -> dict[str, Any]:
    told = one.result.to_dict()
    return {
        "path": str(one.path),
        "priors_sha256": one.sha256,
        **{key: told[key] for key in told if key != "arrays"},
    }


@priors.command()
def sensitivity(
    study: StudyFolder,
    model: Annotated[str, typer.Option("--model", help="a family or a fit's name; left out: all")] = "",
    redo: Annotated[bool, typer.Option("--redo", help="compute again what is stored")] = False,
    as_json: AsJson = False,
) -> int:
    """Do the answers of the stored fits depend on their priors?"""
    from mien.workflow.prior_checks import study_sensitivity

    found = with_progress(study_sensitivity, study_at(study), model, redo=redo, as_json=as_json)
    if as_json:
        print_json([
            {"name": one.name, "path": str(one.path), "sensitivity": one.scaling.to_dict("records"),
             "widths": one.widths.to_dict("records")}
            for one in found
        ])  # fmt: skip
        return DONE
    for one in found:
        _say_sensitivity(one)
    return DONE


def _say_sensitivity(one: Any) -> None:
    from mien.models.sensitivity import decision_range

    told = one.scaling["diagnosis"].value_counts()
    counts = [f"{number} {'not sensitive' if name == '-' else name}" for name, number in told.items()]
    say(f"{one.name}: {len(one.scaling)} quantities: {', '.join(counts)}")
    leaning = one.scaling.loc[one.scaling["diagnosis"] != "-"]
    columns = {"blend_shape": "shape", "parameter": "parameter", "prior": "prior", "likelihood": "likelihood",
               "mean_shift": "shift of the mean, sds", "diagnosis": "diagnosis"}  # fmt: skip
    if len(leaning):
        say(table(without_nan(leaning.to_dict("records")), columns))
    if len(one.widths):
        ranges = decision_range(one.widths)
        moves = ranges.loc[~ranges["stable"]]
        factors = one.widths["factor"]
        say(
            f"decisions that stay with priors from {factors.min():.3g} to {factors.max():.3g} times as wide: "
            f"{len(ranges) - len(moves)} of {len(ranges)}"
        )
        columns = {"blend_shape": "shape", "effect": "effect", "decision": "decision", "narrowest": "from",
                   "widest": "to (times as wide)"}  # fmt: skip
        if len(moves):
            say(table(moves.to_dict("records"), columns))


@priors.command()
def report(
    study: StudyFolder,
    kind: Annotated[str, typer.Option("--format", help="html or pdf")] = "html",
    out: Annotated[
        Path | None, typer.Option(help="the file (default derivatives/mien/reports/priors.…)")
    ] = None,
) -> int:
    """What was assumed, why, from where, checked and sensitive or not, with the reporting guidelines' checklist."""
    from mien.reports_app.writing import write_prior_report

    say(str(write_prior_report(study_at(study), out, kind=kind)))
    return DONE
