"""`mien power`: write a plan, simulate it, see how far it is, and read what it answers."""

import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.arguments import DONE, AsJson, Workers, print_json, with_progress
from mien.study.errors import SpecError
from mien.terminal import say, table

if TYPE_CHECKING:
    from mien.power.interim import CellStatus, Status

__all__ = ["power"]

power = typer.Typer(
    name="power",
    help="How many participants, stimuli and trials: plan, simulate, report.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN.toml", help="the plan")]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")]


@power.command()
def init(
    plan: PlanFile,
    from_fit: Annotated[
        Path | None, typer.Option("--from-fit", help="a pilot's fit, whose posterior is the assumed truth")
    ] = None,
    shape: Annotated[str | None, typer.Option("--shape", help="of the pilot, where it has several")] = None,
) -> int:
    """Write a commented plan that runs as it is; one that is there already is left alone."""
    if plan.exists():
        raise SpecError(f"{plan}: expected no such file yet, found one: give another name, or remove it.")
    if from_fit is None:
        from mien.power.template import TEMPLATE
        from mien.study.files import write_whole

        write_whole(plan, TEMPLATE)
    else:
        from mien.models.storage import load
        from mien.power.pilots import write_plan_from_fit

        write_plan_from_fit(load(from_fit), plan, shape=shape)
    say(f"{plan}: read it, change it, then: mien power run {plan} --out DIR")
    return DONE


@power.command()
def run(
    plan: PlanFile,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where rows are kept; again, to go on")],
    workers: Workers = None,
    dask: Annotated[str, typer.Option("--dask", metavar="ADDRESS", help="a Dask scheduler")] = "",
    as_json: AsJson = False,
) -> int:
    """Simulate, fit and decide until the plan has enough; a second time it goes on where it was."""
    from mien.power import read_plan
    from mien.power.running import run as run_plan

    if workers and dask:
        raise SpecError("power run: expected --workers or --dask, found both: leave one of them out.")
    read = read_plan(plan)
    before = signal.signal(signal.SIGTERM, _interrupt)  # what a cluster sends when a job's time is over
    try:
        found = with_progress(run_plan, read, out, as_json=as_json, workers=workers, dask=dask, source=plan)
    finally:
        signal.signal(signal.SIGTERM, before)
    _tell(found, as_json=as_json)
    if not as_json:
        say(f"what it answers: mien power report {out}")
    return DONE


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@power.command()
def status(folder: RunFolder, as_json: AsJson = False) -> int:
    """How far a run is, and the power so far."""
    from mien.power.interim import status as status_of

    _tell(status_of(folder), as_json=as_json)
    return DONE


@power.command()
def report(
    folder: RunFolder,
    kind: Annotated[str, typer.Option("--format", help="html or pdf")] = "html",
    out: Annotated[Path | None, typer.Option("--out", help="the file (default: in DIR/report)")] = None,
    as_json: AsJson = False,
) -> int:
    """The answer, its curves, and a justification text; all numbers as Parquet beside it."""
    from mien.reports_app.power_document import write_power_report

    written = write_power_report(folder, kind=kind, out=out)
    if as_json:
        print_json({"report": str(written.path), "answers": list(written.answers)})
        return DONE
    for answer in written.answers:
        say(answer)
    say(f"report: {written.path}")
    return DONE


def _tell(found: "Status", *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
        return
    say(f"{found.name}: {found.done} of at most {found.most} simulated studies in {_time(found.elapsed)}")
    say(table([_line(cell) for cell in found.cells], _columns(found)))
    if found.finished:
        say("finished")
    else:
        say(
            f"at most {_time(found.eta)} to go with {found.workers} worker{'s' if found.workers != 1 else ''}"
        )
    if found.other_rows:
        say(f"{found.other_rows} rows of cells that are no longer in the plan are left as they are")
    for name in found.set_aside:
        say(f"set aside, and computed again: {name}")
    for name, reason in found.bad.items():
        say(f"cannot be read: {name} ({reason}); the next run sets it aside")


def _columns(found: "Status") -> dict[str, str]:
    """Axes that vary, then what there is of each goal."""
    finite = [cell for cell in found.cells if cell.world != "ceiling"]
    axes = [name for name in finite[0].axes if len({str(cell.axes.get(name)) for cell in finite}) > 1]
    goals = list(dict.fromkeys(name for cell in found.cells for name in cell.power))
    names = ["world", *axes, "done", "stopped", *goals, "failures"]
    return {name: name for name in names}


def _line(cell: "CellStatus") -> dict[str, Any]:
    axes = {name: "∞" if math.isinf(value) else f"{value:g}" for name, value in cell.axes.items()}
    shares = {
        goal: f"{share:.3f} ({low:.2f}-{high:.2f})"
        for goal, (share, low, high) in cell.power.items()
        if cell.looked
    }
    failures = "; ".join(f"{count} × {cause}" for cause, count in cell.failures.items())
    return {
        "world": cell.world, **axes, "done": f"{cell.done}/{cell.most}", "stopped": cell.stopped, **shares,
        "failures": failures,
    }  # fmt: skip


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
