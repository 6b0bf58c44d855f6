"""A power plan, computed into a folder: what is missing there, and nothing twice.

    worlds in order    null (error rates), ceilings, alternatives, then the check at the answer
    cells in order     a worker goes on to the next cell where the batch of the first is still being computed
    batches in order   a cell's next batch begins when the last is complete and its stopping rule says go on
    tasks              a tenth of a batch, computed anywhere in any order

What a row holds and which rows there will be follow from the plan alone. Whether they come from one core or a thousand,
in one go or after many interruptions, decides `seconds`, `worker` and how long it takes.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from mien.power import stopping
from mien.power.executors import Pool
from mien.power.executors import opened as pool_of
from mien.power.interim import FORMAT, Status, codes_of, read_json, rows_of, status
from mien.power.store import Store, told_when_full
from mien.power.store import opened as store_of
from mien.power.stored_plan import keep_plan
from mien.study.errors import StudyError
from mien.study.files import whole_file, write_whole

if TYPE_CHECKING:
    from mien.power.cells import Cell
    from mien.power.plan import Budget, Plan

__all__ = ["Work", "run"]

DIED = "worker died"
TRIES = 3  # of a task whose worker died, before it is split, and of a single replicate, before it counts as failed
PARTS = 10  # tasks of a batch
VERSIONED = ("mien", "numpy", "scipy", "numba", "pandas", "pyarrow")
Progress = Callable[[int, int, str], None]
LABELS = {
    "null": "null world",
    "ceiling": "ceilings",
    "alternative": "alternatives",
    "check": "check at the answer",
}


class Work(NamedTuple):
    """What is computed: the power package's own simulations, or a test's.

    Parameters
    ----------
    columns : of a row. cells : of the plan, in order. setup : what all tasks share, made when it is needed.
    rows_of : (setup, cell, numbers) → rows. checks_of : rows → more cells.
    """

    columns: Mapping[str, pa.DataType]
    cells: Sequence["Cell"]
    setup: Callable[[], Any]
    rows_of: Callable[[Any, "Cell", Sequence[int]], list[dict[str, Any]]]
    checks_of: Callable[[pd.DataFrame], Sequence["Cell"]]

    @staticmethod
    def of(plan: "Plan") -> "Work":
        """The simulations of a plan."""
        from mien.power.cells import cells_of
        from mien.power.replicates import Setup, row_columns, run_replicates
        from mien.power.smallest import checks_of

        return Work(
            row_columns(plan),
            cells_of(plan),
            lambda: Setup.of(plan),
            run_replicates,
            lambda rows: checks_of(plan, rows),
        )


class _Task(NamedTuple):
    track: "_Track"
    numbers: tuple[int, ...]
    deaths: int = 0


class _Track:
    """One cell on its way: which replicates are there, and which are to be computed next."""

    def __init__(self, cell: "Cell", goals: Sequence[str], budget: "Budget") -> None:
        self.cell, self.goals, self.budget = cell, goals, budget
        most = stopping.at_most(cell.world, budget)
        self.codes = np.full((most, len(goals)), stopping.ABSENT, dtype=np.int8)
        self.look = stopping.stopped_at(self.codes, cell.world, budget)
        self.queue: deque[tuple[int, ...]] = deque()
        self.missing = 0

    @property
    def done(self) -> int:
        """Replicates that are there, of those planned."""
        return int(np.count_nonzero(self.codes[: self.planned, 0] != stopping.ABSENT))

    @property
    def planned(self) -> int:
        """The most that there will be."""
        return self.look.replicates if self.look.stopped else len(self.codes)

    def begin(self, codes: np.ndarray, size: int) -> None:
        """Take what is there already."""
        self.codes = codes
        self.look = stopping.stopped_at(codes, self.cell.world, self.budget)
        self.open_batch(size)

    def open_batch(self, size: int) -> None:
        """Line up what is missing in the next batch, in tasks of this size."""
        while not self.look.stopped:
            end = self._end()
            absent = np.flatnonzero(self.codes[self.look.replicates : end, 0] == stopping.ABSENT)
            if len(absent):
                numbers = (absent + self.look.replicates).tolist()
                self.queue.extend(tuple(numbers[at : at + size]) for at in range(0, len(numbers), size))
                self.missing = len(numbers)
                return
            self.look = stopping.look_at(self.codes, end, self.cell.world, self.budget)

    def _end(self) -> int:
        """Where the next batch ends: at the last replicate where no rule could stop the cell before."""
        ends = list(stopping.batch_ends(len(self.codes), self.budget.batch))
        if not stopping.may_stop(self.cell.world, self.budget):
            return ends[-1]
        return next(end for end in ends if end > self.look.replicates)

    def take_in(self, rows: Iterable[Mapping[str, Any]], size: int) -> None:
        """Note rows that came; the last one of a batch opens the next."""
        for row in rows:
            self.codes[row["replicate"]] = (
                stopping.FAILED if row["failure"] else [int(row[f"{goal}:met"]) for goal in self.goals]
            )
            self.missing -= 1
        if not self.missing:
            self.open_batch(size)


class _Run:
    """The loop: keeps a pool busy with the first tasks there are, and stores what comes back."""

    def __init__(self, plan: "Plan", work: Work, store: Store, pool: Pool, progress: Progress | None) -> None:
        self.plan, self.work, self.store, self.pool = plan, work, store, pool
        self._progress, self._told = progress, 0.0
        self._tracks: list[_Track] = []
        self._again: deque[_Task] = deque()
        self._running: dict[Future[Any], _Task] = {}
        self._clock = _Clock(store.folder)

    def compute(self, tracks: list[_Track], until: float) -> bool:
        """Compute all that these cells need; False where time was over before."""
        self._tracks = tracks
        try:
            self._tell(force=True)
            while self._submit(until):
                self._collect()
            self._save()
            self._tell(force=True)
        except BaseException:
            with suppress(StudyError):
                self._harvest()
                self._save()
            raise
        return all(track.look.stopped for track in tracks)

    def task_size(self, tracks: Sequence[_Track]) -> int:
        """A tenth of a batch; less where there are more workers than such tasks."""
        batch = self.plan.budget.batch
        active = sum(not track.look.stopped for track in tracks)
        share = batch * max(active, 1) / (2 * self.pool.workers())
        return max(1, min(math.ceil(batch / PARTS), math.ceil(share)))

    def _submit(self, until: float) -> bool:
        """Fill the pool; False where nothing is left that is being computed."""
        while time.monotonic() < until and len(self._running) < self.pool.at_once():
            task = self._next()
            if task is None:
                break
            self._running[self.pool.submit(self.work.rows_of, task.track.cell, task.numbers)] = task
        return bool(self._running)

    def _next(self) -> _Task | None:
        if self._again:
            return self._again.popleft()
        for track in self._tracks:
            if track.queue:
                return _Task(track, track.queue.popleft())
        return None

    def _collect(self) -> None:
        done, _ = wait(self._running, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            self._take_in(self._running.pop(future), future)
        self.store.beat()
        if self.store.due:
            self._save()
        self._tell()

    def _take_in(self, task: _Task, future: "Future[Any]") -> None:
        if future.cancelled():
            raise StudyError(
                f"{self.pool.name}: expected an answer to every task, found that some were given up: is the cluster "
                "still there? What came before is stored; run the same command again."
            )
        reason = future.exception()
        if reason is None:
            self._keep(task.track, future.result())
        elif self.pool.died(reason):
            self._try_again(task._replace(deaths=task.deaths + self.pool.tried))
        else:
            raise reason

    def _keep(self, track: _Track, rows: list[dict[str, Any]]) -> None:
        self.store.add(rows)
        track.take_in(rows, self.task_size(self._tracks))

    def _try_again(self, task: _Task) -> None:
        """Three times as it is, then each replicate alone; one that goes on taking its worker with it has failed."""
        if task.deaths < TRIES:
            self._again.append(task)
        elif len(task.numbers) > 1:
            self._again.extend(_Task(task.track, (number,)) for number in task.numbers)
        else:
            number = next(iter(task.numbers))
            row = dict.fromkeys(self.work.columns) | {"cell": task.track.cell.key, "replicate": number}
            self._keep(task.track, [row | {"failure": DIED, "engine": "", "seconds": 0.0, "worker": ""}])

    def _harvest(self) -> None:
        """Before an early end: what is done and was not looked at."""
        for future, task in self._running.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                self._keep(task.track, future.result())

    def _save(self) -> None:
        self.store.flush()
        self._clock.write(self.pool)

    def _tell(self, *, force: bool = False) -> None:
        if self._progress is None or (not force and time.monotonic() - self._told < 0.2):
            return
        self._told = time.monotonic()
        for world in dict.fromkeys(track.cell.world for track in self._tracks):
            mine = [track for track in self._tracks if track.cell.world == world]
            done = sum(track.done for track in mine)
            self._progress(done, sum(track.planned for track in mine), LABELS[world])


class _Clock:
    """How long all runs in a folder took, in `progress.json`."""

    def __init__(self, folder: Path) -> None:
        self._path, self._start = folder / "progress.json", time.monotonic()
        self._before = float(read_json(self._path).get("elapsed", 0.0))

    def write(self, pool: Pool) -> None:
        """Up to now."""
        elapsed = self._before + time.monotonic() - self._start
        _note(self._path.parent, elapsed=elapsed, workers=pool.workers(), where=pool.name)


def run(
    plan: "Plan",
    folder: str | Path,
    *,
    workers: int | None = None,
    dask: str = "",
    progress: Progress | None = None,
    stop_after: float | None = None,
    source: str | Path | None = None,
    work: Work | None = None,
) -> Status:
    """Compute what a plan lacks in a folder.

    Parameters
    ----------
    workers : processes; None for as many as there are cores, 1 computes in this process.
    dask : address of a Dask scheduler, in place of processes.
    progress : a function of (done, total, label).
    stop_after : s, after which no more tasks begin; the same call goes on from there.
    source : the plan's file, which the folder keeps (`stored_plan`).
    work : what is computed, in place of the plan's own simulations.

    Raises
    ------
    StudyError
        If the folder holds something else, is being written by another run, or has no room.
    """
    work, folder = work or Work.of(plan), Path(folder)
    until = math.inf if stop_after is None else time.monotonic() + stop_after
    with store_of(folder, work.columns) as store:
        keep_plan(folder, None if source is None else Path(source))
        _write_plan(folder, plan, work)
        with pool_of(work.setup(), workers=workers or _cores(), dask=dask) as pool:
            _all_worlds(_Run(plan, work, store, pool, progress), until)
    return status(folder)


def _all_worlds(run: _Run, until: float) -> None:
    """The plan's cells; then the checks at the answers that they give."""
    plan, work, store = run.plan, run.work, run.store
    if not run.compute(_begun(run, work.cells), until):
        return
    checks = work.checks_of(rows_of(store.folder)) if plan.budget.check_replicates else []
    if checks:
        _write_cells(store.folder, [*work.cells, *checks])
        if not run.compute(_begun(run, checks), until):
            return
    _note(store.folder, finished=True)


def _begun(run: _Run, cells: Sequence["Cell"]) -> list[_Track]:
    """Tracks of cells, with what is in the folder already."""
    goals, budget = _goals(run.plan), run.plan.budget
    tracks = [_Track(cell, goals, budget) for cell in cells]
    codes = codes_of(
        run.store.tidied([cell.key for cell in cells]).table,
        [(cell.key, cell.world) for cell in cells],
        goals,
        budget,
    )
    size = run.task_size(tracks)
    for track in tracks:
        track.begin(codes[track.cell.key], size)
    return tracks


def _goals(plan: "Plan") -> list[str]:
    return [goal.name for goal in plan.goals]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# The folder


def _write_plan(folder: Path, plan: "Plan", work: Work) -> None:
    """What the rows are for: plan, priors and cells, so that the folder explains itself."""
    content = {
        "format": FORMAT, "sha256": plan.sha256, "plan": plan.to_dict(),
        "columns": {name: str(kind) for name, kind in work.columns.items()},
        "versions": {name: version(name) for name in VERSIONED},
    }  # fmt: skip
    with told_when_full(folder):
        write_whole(folder / "plan.json", json.dumps(content, indent=1) + "\n")
        write_whole(folder / "priors.frozen.json", plan.frozen.to_json())
    _write_cells(folder, work.cells)
    _note(folder, finished=False)


def _write_cells(folder: Path, cells: Sequence["Cell"]) -> None:
    from mien.power.cells import cells_table

    with told_when_full(folder), whole_file(folder / "cells.parquet") as path:
        cells_table(cells).to_parquet(path, index=False)


def _note(folder: Path, **changes: Any) -> None:
    """Change `progress.json`."""
    path = folder / "progress.json"
    with told_when_full(folder):
        write_whole(path, json.dumps(read_json(path) | changes) + "\n")
