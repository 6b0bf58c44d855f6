"""What commands share: arguments, exit codes, progress, and JSON."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.terminal import progress_reporter, say

if TYPE_CHECKING:
    from mien.study.folder import Study

__all__ = [
    "BAD_INPUT", "DONE", "FAILED_VERDICT", "INTERRUPTED", "AsJson", "Condition", "Covariate", "Group", "Names", "Norm",
    "Rating", "StudyFolder", "Trait", "Workers", "print_json", "study_at", "with_progress", "without_nan", "workers_of",
]  # fmt: skip

DONE, FAILED_VERDICT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="the study folder")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="processes (default: the cores there are)")
]
Names = list[str] | None
Trait = Annotated[Names, typer.Option("--trait", help="persons' number; one model a trait")]
Group = Annotated[Names, typer.Option("--group", help="persons' category to compare")]
Covariate = Annotated[Names, typer.Option("--covariate", help="persons' column to adjust for; none")]
Norm = Annotated[Names, typer.Option("--norm", help="stimuli's number to adjust for")]
Condition = Annotated[Names, typer.Option("--condition", help="what differs between a person's trials")]
Rating = Annotated[Names, typer.Option("--rating", help="a person's number by trial, split three ways")]


def workers_of(asked: int | None) -> int:
    """How many processes: those asked for, or as many as there are cores."""
    from mien.workflow.parallel import available_cores

    return asked or available_cores()


def study_at(path: Path) -> "Study":
    """The study in a folder."""
    from mien.study.folder import Study

    return Study(path)


def with_progress[T](job: Callable[..., T], *arguments: Any, as_json: bool = False, **keywords: Any) -> T:
    """Run a job that reports its progress; quietly where JSON is printed."""
    with progress_reporter(quiet=as_json) as progress:
        return job(*arguments, progress=progress, **keywords)


def print_json(value: object) -> None:
    """JSON has no NaN: what a table lacks is null."""
    say(json.dumps(without_nan(value), indent=2))


def without_nan(value: Any) -> Any:
    """Plain data with None where a number is not finite."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
