"""The command line: each command reads its arguments, calls one job of workflow, and says what came of it.

Exit codes: 0 done; 1 done, but a fit's verdict failed or a whole recording was excluded; 2 bad input or usage, told in
one message; 130 interrupted. Nothing heavy is imported before a command needs it.
"""

import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.arguments import (
    BAD_INPUT,
    DONE,
    FAILED_VERDICT,
    INTERRUPTED,
    AsJson,
    Condition,
    Covariate,
    Group,
    Norm,
    Rating,
    StudyFolder,
    Trait,
    Workers,
    print_json,
    study_at,
    with_progress,
    workers_of,
)
from mien.cli.power import power
from mien.cli.priors import priors
from mien.study.errors import MienError, StudyError
from mien.terminal import say, show_error, table

__all__ = ["app", "main"]

app = typer.Typer(
    name="mien",
    help="From ARKit blend-shape recordings of faces to hierarchical Bayesian posteriors.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(power)
app.add_typer(priors)


def main() -> None:
    """Run the program; every expected failure becomes one message and an exit code."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # the matrices are small: more threads make them slower
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # Typer's way to hand on a KeyboardInterrupt
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else DONE)
    except MienError as reason:
        show_error(str(reason))
        sys.exit(BAD_INPUT)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        show_error("interrupted; nothing is half written, and the same command can be run again")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(DONE)
    except Exception as reason:
        usage = getattr(reason, "format_message", None)
        if usage is None:
            raise
        show_error(f"{usage()} (mien --help, or mien COMMAND --help)")
        sys.exit(BAD_INPUT)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="where the demo study goes")] = Path("demo-study"),
    participants: Annotated[
        int | None, typer.Option(min=4, help="how many people (default 32; quick 8)")
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed gives the same study")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="8 people, 8 shapes, under a minute")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit code 1 when a fit's verdict failed")] = False,
) -> int:
    """Simulate a paper-like study as raw recordings, then do the whole job on it."""
    from mien.reports_app.writing import PICTURES, write_study_report
    from mien.workflow.demo import run_demo

    result = with_progress(
        run_demo, out, participants=participants, seed=seed, quick=quick, pictures=PICTURES
    )
    path = write_study_report(result.study, note="This study is simulated: no person was recorded.")
    _say_effects_beside_truth(result.comparison)
    for fit in result.fits:
        say(f"verdict of {fit.name}: {fit.verdict}; {_counted(fit.checks)}")
    say(f"report: {path}")
    return FAILED_VERDICT if strict and any(fit.verdict != "passed" for fit in result.fits) else DONE


def _say_effects_beside_truth(comparison: Any) -> None:
    say("positive minus negative stimuli, in coefficient units: the simulated truth, and what the fit found")
    columns = {
        "blend_shape": "shape",
        "truth": "truth",
        "mean": "mean",
        "eti_lower": "2.5 %",
        "eti_upper": "97.5 %",
    }
    rows = [
        {key: f"{row[key]:+.4f}" if isinstance(row[key], float) else row[key] for key in columns}
        | {"covered": "" if row["covered"] else "outside"}
        for row in comparison.to_dict("records")
    ]
    say(table(rows, {**columns, "covered": ""}))
    say(
        f"{int(comparison['covered'].sum())} of {len(comparison)} intervals hold the truth (95 % are expected to)"
    )


@app.command()
def new(path: Annotated[Path, typer.Argument(metavar="STUDY", help="a new folder")]) -> int:
    """Make an empty study with templates and comments."""
    from mien.workflow.templates import new_study

    study = new_study(path)
    say(
        f"made {study.path}: fill in stimuli/stimuli.tsv, then `mien import`; README.md there lists the steps"
    )
    return DONE


@app.command("import")
def import_(
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="SOURCE…", help="recordings: files, take folders, zips")
    ] = None,
    study: Annotated[Path | None, typer.Option(help="the study folder; made where it is missing")] = None,
    participant: Annotated[str, typer.Option(help="whose recording, e.g. 01")] = "",
    task: Annotated[str, typer.Option(help="the task, letters and digits")] = "",
    session: Annotated[str, typer.Option(help="the session, where there is more than one")] = "",
    run: Annotated[str, typer.Option(help="the run; left out: the next free one")] = "",
    events: Annotated[
        Path | None, typer.Option(help="events.tsv, or a PsychoPy CSV mapped in mien.toml")
    ] = None,
    clock: Annotated[
        str, typer.Option(help="how the events' clock is aligned: same, utc, sync, blinks")
    ] = "",
    rate: Annotated[float | None, typer.Option(min=1, help="Hz, for logs without any times")] = None,
    sessions: Annotated[
        Path | None, typer.Option(help="a table of many recordings (source, participant, task, …)")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="move a recording of the same run aside")
    ] = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> int:
    """Bring native recordings into a study: all of them, or none when one is bad."""
    from mien.workflow.importing import import_recordings
    from mien.workflow.sessions import ImportRequest, read_sessions

    if study is None:
        raise StudyError("--study: expected the study folder, found none: say --study DIR.")
    if sessions and (sources or participant or task):
        raise StudyError("expected either --sessions, or sources with --participant and --task, found both.")
    if sessions:
        requests = read_sessions(sessions)
    elif sources and participant and task:
        if events and len(sources) > 1:
            raise StudyError("--events: expected one source beside it, found several: use a sessions table.")
        requests = [
            ImportRequest(source, participant, task, session, run, events, clock, rate) for source in sources
        ]
    else:
        raise StudyError(
            "expected SOURCE… with --participant and --task, or --sessions TABLE: see mien import --help."
        )
    from mien.reports_app.writing import PICTURES

    imported = with_progress(
        import_recordings,
        study,
        requests,
        replace=replace,
        pictures=PICTURES,
        workers=workers_of(workers),
        as_json=as_json,
    )
    if as_json:
        print_json([{**result.quality, "notes": list(result.notes)} for result in imported])
        return DONE
    from mien.capture.quality import render_quality

    for result in imported:
        if len(imported) == 1:
            say(render_quality(result.quality))
        else:
            say(f"{result.recording_id}: {result.quality['verdict']}")
        for note in result.notes:
            say(f"  note: {note}")
    say(f"pictures and quality reports: {study / 'derivatives' / 'mien' / 'quality'}")
    return DONE


@app.command()
def align(
    study: StudyFolder,
    method: Annotated[str, typer.Option(help="same, utc, sync or blinks")],
    participant: Annotated[str, typer.Option(help="only this person")] = "",
    task: Annotated[str, typer.Option(help="only this task")] = "",
    session: Annotated[str, typer.Option(help="only this session")] = "",
    run: Annotated[str, typer.Option(help="only this run")] = "",
    sync: Annotated[
        Path | None, typer.Option(help="for sync: table with columns stimulus_s and recording_s")
    ] = None,
    stimulus_start: Annotated[
        str, typer.Option(help="for utc: when the stimulus clock was 0, 2026-03-02T09:00:00Z")
    ] = "",
    uncertainty_ms: Annotated[float, typer.Option(help="for utc: how far apart the clocks may be")] = float(
        "nan"
    ),
    recording_start: Annotated[
        str, typer.Option(help="for utc: when the first frame was taken, if not in the file")
    ] = "",
    reaction_s: Annotated[float, typer.Option(help="for blinks: mean time from cue to closed eye, s")] = 0.0,
    near: Annotated[
        tuple[float, float] | None, typer.Option(help="for blinks: range of the offset, s")
    ] = None,
    max_drift_ppm: Annotated[
        float, typer.Option(min=0, help="for blinks: the largest drift to look for")
    ] = 5000.0,
    as_json: AsJson = False,
) -> int:
    """Put the events on the recordings' clock, and keep how."""
    from mien.workflow.aligning import ClockFacts, align_study, read_sync

    facts = ClockFacts(
        stimulus_start=stimulus_start,
        recording_start=recording_start,
        uncertainty_ms=uncertainty_ms,
        sync=read_sync(sync) if sync else None,
        reaction_s=reaction_s,
        near=near,
        max_drift_ppm=max_drift_ppm,
    )
    only = {"participant": participant, "task": task, "session": session, "run": run}
    results = align_study(study_at(study), method, only=only, facts=facts)
    rows = [{"recording": str(found), **alignment} for found, alignment in results]
    if as_json:
        print_json(rows)
    else:
        keys = ("recording", "method", "offset_s", "drift_ppm", "residual_ms", "uncertainty_ms")
        say(table(rows, {key: key for key in keys}))
    return DONE


@app.command()
def check(study: StudyFolder, as_json: AsJson = False) -> int:
    """Is the study complete and sound? Names everything that is missing, and each recording's quality."""
    from mien.workflow.checking import check_study

    found = check_study(study_at(study))
    if as_json:
        print_json(
            {
                "problems": list(found.problems),
                "warnings": list(found.warnings),
                "study": found.facts,
                "recordings": list(found.quality),
            }
        )
    else:
        _say_check(found)
    return BAD_INPUT if found.problems else DONE


def _say_check(found: Any) -> None:
    columns = (
        "source",
        "verdict",
        "duration_s",
        "rate_hz",
        "lost_frames",
        "tracked_share",
        "blinks_per_min",
        "head",
    )
    say(table(list(found.quality), {key: key for key in columns}))
    say("")
    for warning in found.warnings:
        say(f"warning: {warning}")
    for problem in found.problems:
        say(f"problem: {problem}")
    facts = found.facts
    say(
        f"{facts['participants']} participants, {facts['recordings']} recordings, {facts['stimuli']} stimuli, "
        f"{facts['trials']} trials: {'not ready' if found.problems else 'ready for mien prep'}"
    )


@app.command()
def prep(
    study: StudyFolder,
    recipe: Annotated[
        Path | None, typer.Option(help="a recipe in TOML; else [recipe] of mien.toml, else the default")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> int:
    """Prepare trials from the recordings: trials.parquet and prep.json."""
    from mien.data_prep.recipe import Recipe
    from mien.workflow.preparing import prepare_and_store

    folder = study_at(study)
    chosen = Recipe.from_toml(recipe) if recipe else None
    _, counts = with_progress(prepare_and_store, folder, chosen, workers=workers_of(workers), as_json=as_json)
    if as_json:
        print_json(counts)
    else:
        _say_prep(folder, counts)
    empty = [row for row in counts["by_recording"] if not row["trials_kept"]]
    for row in empty:
        show_error(
            f"every trial of sub-{row['participant']} task-{row['task']} run-{row['run']} was excluded"
        )
    return FAILED_VERDICT if empty else DONE


def _say_prep(study: Any, counts: dict[str, Any]) -> None:
    say(
        f"{counts['trials']} trials, {counts['trials_kept']} with kept bins; "
        f"{counts['rows_kept']} of {counts['rows']} rows kept"
    )
    reasons = [{"reason": reason, **numbers} for reason, numbers in counts["by_reason"].items()]
    if reasons:
        say(table(reasons, {"reason": "excluded because", "trials": "trials", "rows": "rows"}))
    say(f"{study.derivatives / 'trials.parquet'}")


@app.command()
def export(
    study: StudyFolder,
    wide: Annotated[bool, typer.Option("--wide", help="one column a blend shape")] = False,
    format: Annotated[str, typer.Option(help="csv or parquet")] = "csv",
    effects: Annotated[
        str, typer.Option(help="a fit's effects instead: out ends in csv, parquet, tex, txt")
    ] = "",
    checks: Annotated[str, typer.Option(help="a fit's checks instead: out ends in csv, parquet")] = "",
    out: Annotated[Path | None, typer.Option(help="the file to write")] = None,
) -> int:
    """Write the trials with the person columns for other programs, or the effects or checks of a fit."""
    if effects or checks:
        from mien.reports_app.export_tables import write_study_checks, write_study_effects

        write = write_study_effects if effects else write_study_checks
        say(str(write(study_at(study), effects or checks, out)))
        return DONE
    from mien.workflow.exporting import export_trials

    say(str(export_trials(study_at(study), wide=wide, format=format, out=out)))
    return DONE


@app.command()
def fit(
    study: StudyFolder,
    model: Annotated[str, typer.Option(help="valence, time, task, traits, co_activation or all")],
    trait: Trait = None,
    together: Annotated[bool, typer.Option("--together", help="all traits in one model")] = False,
    group: Group = None,
    covariate: Covariate = None,
    norm: Norm = None,
    condition: Condition = None,
    rating: Rating = None,
    session: Annotated[bool, typer.Option("--session", help="retest: sessions differ")] = False,
    baseline: Annotated[str, typer.Option(help="change (taken off) or covariate")] = "change",
    pooling: Annotated[str, typer.Option(help="none, or partial: over shapes too")] = "none",
    factors: Annotated[str, typer.Option(help="co_activation: 5, or 2-7 to compare")] = "2-7",
    between: Annotated[int, typer.Option(min=0, help="co_activation: factors of persons")] = 2,
    part: Annotated[str, typer.Option(help="co_activation: all, spontaneous, stimulus_driven")] = "all",
    folds: Annotated[int, typer.Option(min=0, help="co_activation: persons left out; 0: trials only")] = 8,
    engine: Annotated[str, typer.Option(help="auto, collapsed or nuts")] = "auto",
    shapes: Annotated[str, typer.Option(help="only these blend shapes, separated by commas")] = "",
    draws: Annotated[int, typer.Option(min=100, help="draws a chain")] = 1000,
    seed: Annotated[int, typer.Option(help="the same seed gives the same draws")] = 0,
    refit: Annotated[bool, typer.Option("--refit", help="fit again although the same fit is stored")] = False,
    registered: Annotated[
        bool, typer.Option("--registered", help="refuse priors that are not frozen, or without a source")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Fit models to the prepared trials and store the posteriors."""
    from mien.workflow.co_activation import read_numbers
    from mien.workflow.fitting import CO_ACTIVATION, FactorChoice, FamilyChoice, fit_models

    choice = FamilyChoice(
        tuple(trait or ()), tuple(group or ()), tuple(covariate or ()), tuple(norm or ()), tuple(condition or ()),
        tuple(rating or ()), session, together, baseline,
    )  # fmt: skip
    results = with_progress(
        fit_models,
        study_at(study),
        model,
        choice=choice,
        factors=FactorChoice(
            read_numbers(factors),
            between,
            part,
            tuple(covariate or ()) if model == CO_ACTIVATION else (),
            folds,
        ),
        pooling=pooling,
        engine=engine,
        shapes=[name.strip() for name in shapes.split(",") if name.strip()],
        draws=draws,
        seed=seed,
        refit=refit,
        registered=registered,
        as_json=as_json,
    )
    if as_json:
        told = [
            {"name": result.name, "path": str(result.path), "new": result.new, "engine": result.engine,
             "verdict": result.verdict, "diagnostics": dict(result.detail), "notes": list(result.notes),
             "checks": _told_checks(result.checks), "effects": result.effects.to_dict("records"),
             **_told_numbers(result)}
            for result in results
        ]  # fmt: skip
        print_json(told[0] if len(told) == 1 else told)
    else:
        for result in results:
            _say_fit(result)
    return DONE if all(result.verdict == "passed" for result in results) else FAILED_VERDICT


def _told_numbers(result: Any) -> dict[str, Any]:
    """The numbers of factors that were compared, where they were."""
    if "factor" not in result.effects:
        return {}
    from mien.models import load
    from mien.workflow.co_activation import compared_numbers

    compared = compared_numbers(load(result.path))
    return {"factor_numbers": compared[0].to_dict("records")} if compared else {}


def _told_checks(found: Any) -> dict[str, Any]:
    rows = found.table.to_dict("records") if found.table is not None else []
    return {"missing": found.missing, "notes": list(found.notes), "table": rows}


def _say_fit(result: Any) -> None:
    say(f"{result.name}:")
    if "factor" in result.effects:
        _say_factors(result.effects, "stimuli" if result.name.endswith("stimulus_driven") else "persons")
    else:
        _say_effects(result.effects)
    for note in result.notes:
        say(f"note: {note}")
    _say_checks(result.checks)
    say(f"verdict: {result.verdict}")
    say(f"{'fitted' if result.new else 'the same fit was stored already'}: {result.path}")


def _counted(found: Any) -> str:
    if found.table is None:
        return f"the model was not checked: {found.missing}" if found.missing else " ".join(found.notes)
    return f"{int(found.table['outside'].sum())} of {len(found.table)} checks of the model outside what it expects"


def _say_checks(found: Any) -> None:
    for note in found.notes:
        say(f"check: {note}")
    if found.missing:
        say(f"the model was not checked: {found.missing}")


def _say_factors(loadings: Any, groups: str) -> None:
    """What each factor carries, the largest loadings first."""
    rows = []
    for (level, factor), mine in loadings.groupby(["level", "factor"], sort=False):
        carried = mine[mine["p_carried"] >= 0.95]
        largest = carried.iloc[(-carried["mean"].abs()).argsort(kind="stable")]
        texts = [f"{row['blend_shape']} {row['mean']:+.2f}" for row in largest.to_dict("records")]
        rows.append({"factor": factor, "of": "trials" if level == "within" else groups,
                     "carries": ", ".join(texts) or "no shape for sure"})  # fmt: skip
    say(
        table(
            rows, {"factor": "factor", "of": "of", "carries": "carries (loading; P ≥ .95 that 10 % or more)"}
        )
    )


def _say_effects(effects: Any) -> None:
    columns = {
        "blend_shape": "shape",
        "effect": "effect",
        "mean": "mean",
        "eti_lower": "2.5 %",
        "eti_upper": "97.5 %",
    }
    if effects["pooled_mean"].notna().any():
        columns["pooled_mean"] = "pooled"
    rows = [
        {key: _number_text(row[key]) if isinstance(row[key], float) else row[key] for key in columns}
        | {"p": f"{row['p_direction']:.3f}", "decision": row["decision"]}
        for row in effects.to_dict("records")
    ]
    say(table(rows, {**columns, "p": "P(direction)", "decision": "against ROPE"}))


def _number_text(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "-"


@app.command()
def multiverse(
    study: StudyFolder,
    grid: Annotated[Path, typer.Argument(metavar="GRID.toml", help="recipe and model choices")],
    workers: Workers = None,
    as_json: AsJson = False,
) -> int:
    """Fit one effect under every recipe and model of a grid: which choices move the answer?"""
    from mien.reports_app.figures.specification_curve import curve_svg
    from mien.workflow.multiverse import run_multiverse

    result = with_progress(
        run_multiverse, study_at(study), grid, draw=curve_svg, workers=workers_of(workers), as_json=as_json
    )
    if as_json:
        print_json({"path": str(result.path), "fitted": result.fitted, **result.summary})
        return DONE
    from mien.reports_app.wording import multiverse_sentences

    for outcome in result.summary["outcomes"]:
        for sentence in multiverse_sentences(outcome, estimate=result.summary["estimate"]):
            say(sentence)
        say(table(_moved(outcome), {key: key for key in ("choice", "value", "shift", "share", "excludes 0")}))
    if result.summary["verdicts_failed"]:
        say(f"{result.summary['verdicts_failed']} fits failed their checks: see `verdict` in the table")
    say(f"{result.fitted} cells fitted now; results: {result.path}")
    return DONE


def _moved(outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """Choices, the one that moves the answer most first, a line a value."""
    choices = sorted(outcome["choices"], key=lambda choice: -(choice["range"] or 0.0))
    return [
        {"choice": choice["choice"] if first == 0 else "", "value": value["value"],
         "shift": "–" if value["shift"] is None else f"{value['shift']:+.4f}",
         "share": f"{choice['share']:.0%}" if first == 0 and choice["share"] is not None else "",
         "excludes 0": "–" if value["excludes_0"] is None else f"{value['excludes_0']:.0%}"}
        for choice in choices
        for first, value in enumerate(choice["values"])
    ]  # fmt: skip


@app.command()
def report(
    study: StudyFolder,
    participant: Annotated[
        str, typer.Option(help="one person's report, by the label in participants.tsv")
    ] = "",
    kind: Annotated[str, typer.Option("--format", help="of a person's report: html or pdf")] = "html",
    language: Annotated[str, typer.Option(help="of a person's report: en or de")] = "en",
    out: Annotated[
        Path | None,
        typer.Option(
            help="the file (default derivatives/mien/reports/report.html, or sub-ID.html of a person)"
        ),
    ] = None,
) -> int:
    """Write the study's report, or one person's, as one self-contained file."""
    if participant:
        from mien.reports_app.person_document import write_person_report

        say(str(write_person_report(study_at(study), participant, out, kind=kind, language=language)))
        return DONE
    if (kind, language) != ("html", "en"):
        raise StudyError(
            "report: expected --participant beside --format and --language, since a study's report is HTML in "
            "English: add --participant ID, or leave them out."
        )
    from mien.reports_app.writing import write_study_report

    say(str(write_study_report(study_at(study), out)))
    return DONE


@app.command(name="app")
def open_app(
    study: StudyFolder,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="of this machine's own address, 127.0.0.1")
    ] = 8501,
    headless: Annotated[bool, typer.Option("--headless", help="open no browser")] = False,
    roles: Annotated[
        Path | None, typer.Option(help="who may sign in, and as what: a TOML file (docs/deploy.md)")
    ] = None,
    auth: Annotated[
        Path | None, typer.Option(help="how they sign in: a TOML file with [auth] (docs/deploy.md)")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="another name under which a reverse proxy asks; may be repeated")
    ] = None,
) -> int:
    """Open the study's pages in a browser, on this machine alone."""
    from mien.reports_app.app.starting import start

    return start(
        study_at(study), port=port, headless=headless, roles=roles, auth=auth, hosts=tuple(host or ())
    )


if __name__ == "__main__":
    main()
