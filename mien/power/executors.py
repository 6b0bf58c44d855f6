"""Where replicates are computed: in this process, in processes of this machine, or on a Dask cluster.

All three are one interface, `concurrent.futures.Executor`; a task is a function of what all tasks share (sent to each
worker once) and its own arguments.

    Here         in this process, when it is submitted
    Processes    one pool of a single process for each worker, so that one which dies takes its own task with it only
    Dask         whatever `distributed.Client(ADDRESS)` leads to

Processes are joblib's loky, which need no `if __name__ == "__main__"` in the caller's script. A worker computes with
one thread (`replicates` sees to it elsewhere): its matrices are small, and there is a worker for each core.
"""

import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from mien.study.errors import StudyError

__all__ = ["Here", "Pool", "Processes", "opened"]

ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")
} | {"VECLIB_MAXIMUM_THREADS": "1"}  # fmt: skip
CONNECT = 30  # s to reach a scheduler
LOOK = 2.0  # s between two questions how many workers a scheduler has
_shared: Any = None  # in a worker: what all its tasks share


class Pool(NamedTuple):
    """Somewhere to compute.

    Parameters
    ----------
    submit : (function, *arguments) → a future of function(shared, *arguments). at_once : tasks that keep it busy.
    workers : of them. died : whether an exception says that the worker died, and not that the task is wrong.
    tried : how often a task was tried by the time that its worker is said to have died.
    """

    submit: Callable[..., "Future[Any]"]
    at_once: Callable[[], int]
    workers: Callable[[], int]
    died: Callable[[BaseException], bool]
    tried: int
    name: str


@contextmanager
def opened(shared: Any, *, workers: int = 1, dask: str = "") -> Iterator[Pool]:
    """A pool that is closed afterwards; what still runs then is stopped.

    Raises
    ------
    StudyError
        If Dask is asked for and not installed, or nothing answers at its address.
    """
    if dask:
        with _on_dask(dask, shared) as pool:
            yield pool
        return
    executor = Here(shared) if workers <= 1 else Processes(workers, shared)
    # A task more than there are workers waits at each of them, so that none is idle while rows are being stored.
    at_once = 1 if workers <= 1 else 2 * workers
    try:
        yield Pool(
            executor.submit, lambda: at_once, lambda: workers, lambda reason: isinstance(reason, BrokenExecutor), 1,
            "here" if workers <= 1 else "processes",
        )  # fmt: skip
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


class Here(Executor):
    """Computes in this process, at once."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """A future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(self._shared, *args, **kwargs))
        except Exception as reason:
            future.set_exception(reason)
        return future


class _Task(NamedTuple):
    future: "Future[Any]"
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class Processes(Executor):
    """Several single processes; one that dies is replaced, and its task's future has a `BrokenExecutor`."""

    def __init__(self, workers: int, shared: Any) -> None:
        self._common = shared
        self._lock = threading.RLock()
        self._waiting: deque[_Task] = deque()
        self._pools: list[Any] = [None] * workers
        self._idle = list(range(workers))
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """A future of the task, which waits for its turn."""
        task = _Task(Future(), fn, args, kwargs)
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            self._waiting.append(task)
            if self._idle:
                self._next(self._idle.pop())
        return task.future

    def _next(self, place: int) -> None:
        """Give a free process its next task, or note that it is free."""
        while self._waiting and not self._closed:
            task = self._waiting.popleft()
            if not task.future.set_running_or_notify_cancel():
                continue
            self._start(place, task)
            return
        self._idle.append(place)

    def _start(self, place: int, task: _Task) -> None:
        for _ in range(2):
            if self._pools[place] is None:
                self._pools[place] = _single_process(self._common)
            try:
                inner = self._pools[place].submit(_with_shared, task.function, task.arguments, task.keywords)
            except BrokenExecutor:  # it died while it had nothing to do
                self._pools[place] = None
                continue
            inner.add_done_callback(lambda done: self._finished(place, task, done))
            return
        task.future.set_exception(BrokenExecutor("no process could be started"))
        self._idle.append(place)

    def _finished(self, place: int, task: _Task, inner: "Future[Any]") -> None:
        reason = inner.exception() if not inner.cancelled() else BrokenExecutor("its process was stopped")
        with self._lock:
            if isinstance(reason, BrokenExecutor):
                self._pools[place] = None
            self._next(place)
        if reason is None:
            task.future.set_result(inner.result())
        else:
            task.future.set_exception(reason)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close; `wait` for what is running, or stop it."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
        if cancel_futures:
            for task in waiting:
                task.future.cancel()
        for pool in self._pools:
            if pool is not None:
                pool.shutdown(wait=wait, kill_workers=not wait)


def _single_process(common: Any) -> Any:
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(
        max_workers=1, initializer=_begin, initargs=(common, os.getpid(), os.getcwd()), env=ONE_THREAD
    )


def _begin(common: Any, parent: int, folder: str) -> None:
    """A worker's first act: what tasks share, no reaction to Ctrl-C, and an end when the run has ended."""
    global _shared  # noqa: PLW0603
    with suppress(OSError):
        os.chdir(folder)
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _shared = common


def _end_with(parent: int) -> None:
    """End this process soon after the run was killed: nobody would read its results."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _with_shared(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return function(_shared, *arguments, **keywords)


@contextmanager
def _on_dask(address: str, shared: Any) -> Iterator[Pool]:
    try:
        from distributed import Client  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise StudyError(
            "--dask: expected Dask's distributed, found it is not installed: pip install 'mien[cluster]', here and on "
            "the workers."
        ) from None
    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as reason:
        raise StudyError(
            f"--dask: expected a scheduler at {address} (tcp://HOST:8786), found none ({reason}): start one with "
            "`dask scheduler`, or leave --dask out."
        ) from None
    with client:
        _check_versions(client)
        executor = client.get_executor(pure=False)
        # As a task's result, not as data: where the worker that holds it is gone, it is made again.
        common = client.submit(_itself, shared, pure=False)

        def submit(function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
            with _told_when_lost(address):
                return executor.submit(function, common, *arguments)

        seen = (-math.inf, 1)

        def threads() -> int:
            nonlocal seen
            if time.monotonic() - seen[0] > LOOK:
                with _told_when_lost(address):
                    seen = (time.monotonic(), max(1, sum(client.nthreads().values())))
            return seen[1]

        try:
            yield Pool(submit, lambda: 2 * threads(), threads, _died_on_dask, 1, "dask")
        finally:
            executor.shutdown(wait=False)


@contextmanager
def _told_when_lost(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as reason:
        raise StudyError(
            f"--dask: expected the scheduler at {address} to answer, found it gone ({reason}): what came before is "
            "stored; start one and run the same command again."
        ) from None


def _check_versions(client: Any) -> None:
    """Refuse workers without this mien: rows of another version would be mixed in."""

    def version() -> str:  # within a function, so that it travels to workers that may not have this module
        from importlib.metadata import version as version_of

        return version_of("mien")

    here = version()
    for worker, found in client.run(version, on_error="return").items():
        if found != here:
            told = f"mien {found}" if isinstance(found, str) else "none"
            raise StudyError(
                f"--dask: expected mien {here} on every worker, found {told} on {worker}: install the same there."
            )


def _itself(value: Any) -> Any:
    return value


def _died_on_dask(reason: BaseException) -> bool:
    """Dask tries a task on other workers first (`distributed.scheduler.allowed-failures`), and blames all that waited
    at a worker for its death: it is no proof, and counts once.
    """
    return type(reason).__name__ == "KilledWorker"
