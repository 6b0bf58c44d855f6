"""What the command line shows: progress bars on a terminal, plain lines elsewhere, tables, the error message."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["progress_reporter", "say", "show_error", "table"]

Progress = Callable[[int, int, str], None]


def say(text: str) -> None:
    """One line, or several, on standard output; nothing in them is markup."""
    print(text, flush=True)


def show_error(message: str) -> None:
    """The one message of a failed command, on standard error."""
    print(f"mien: {message}", file=sys.stderr, flush=True)


@contextmanager
def progress_reporter(*, quiet: bool = False) -> Iterator[Progress]:
    """A function of (done, total, label) that draws bars on a terminal and prints plain lines elsewhere."""
    if quiet:
        yield lambda done, total, label: None
    elif sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _plain_lines()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, Any] = {}
    # Without a refreshing thread of its own this process may still be forked (workflow/parallel.py).
    with Bars(*columns, console=Console(stderr=True), auto_refresh=False) as bars:

        def report(done: int, total: int, label: str) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total, refresh=True)

        yield report


def _plain_lines() -> Progress:
    started: dict[str, float] = {}
    told: dict[str, int] = {}

    def report(done: int, total: int, label: str) -> None:
        started.setdefault(label, time.monotonic())
        quarter = 4 * done // max(total, 1)
        if told.get(label) != quarter:
            told[label] = quarter
            elapsed = time.monotonic() - started[label]
            print(f"{label}: {done} of {total} ({elapsed:.0f} s)", file=sys.stderr, flush=True)

    return report


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Rows as aligned text; `columns` maps keys to headings. Numbers stand right."""
    if not rows:
        return ""
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    numeric = [all(isinstance(row.get(key), int | float | None) for row in rows) for key in columns]
    headings = list(columns.values())
    widths = [
        max(len(heading), *(len(line[index]) for line in cells)) for index, heading in enumerate(headings)
    ]

    def line(values: Sequence[str]) -> str:
        aligned = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(headings), *map(line, cells)])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
