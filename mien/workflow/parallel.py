"""The same function over many items, in processes, with progress; results in the order of the items.

Where this process has a single thread it is forked, so that workers start at once with everything imported. Elsewhere
(a notebook, macOS, Windows) joblib's loky starts fresh ones, which need no `if __name__ == "__main__"` in the caller's
script. One worker runs everything in this process.
"""

import gc
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

__all__ = ["Progress", "available_cores", "over"]

# pyarrow's allocator keeps a thread for giving memory back, and stops and restarts it around a fork itself.
SAFE_THREADS = ("jemalloc_bg_thd",)
Progress = Callable[[int, int, str], None]


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over[T](
    function: Callable[..., T],
    items: Sequence[Any],
    *,
    workers: int = 1,
    progress: Progress | None = None,
    label: str = "",
) -> list[T]:
    """``[function(item) for item in items]``, perhaps in several processes."""
    results: list[T] = []
    if progress:
        progress(0, len(items), label)
    for result in _stream(function, items, min(workers, len(items))):
        results.append(result)
        if progress:
            progress(len(results), len(items), label)
    return results


def _stream[T](function: Callable[..., T], items: Sequence[Any], workers: int) -> Iterator[T]:
    if workers <= 1:
        yield from (function(item) for item in items)
    elif _can_fork():
        yield from _forked(function, items, workers)
    else:
        from joblib import Parallel, delayed

        pool = Parallel(n_jobs=workers, return_as="generator", pre_dispatch="2*n_jobs")
        stream: Any = pool(delayed(_in_folder)(os.getcwd(), function, item) for item in items)
        yield from stream


def _forked[T](function: Callable[..., T], items: Sequence[Any], workers: int) -> Iterator[T]:
    gc.freeze()  # workers that look for garbage among what they inherit would copy all of it
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            with warnings.catch_warnings():  # Python counts the safe threads too
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                stream = pool.map(function, items)
            yield from stream
    finally:
        gc.unfreeze()


def _in_folder[T](folder: str, function: Callable[..., T], item: Any) -> T:
    """Workers that are used again may be elsewhere: relative paths mean the caller's."""
    os.chdir(folder)
    return function(item)


def _can_fork() -> bool:
    """Whether this process has one thread, besides those that are known to be safe; only Linux tells."""
    if sys.platform != "linux":
        return False
    try:
        names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    except OSError:  # a thread ended while it was looked at, so there are others
        return False
    return sum(name not in SAFE_THREADS for name in names) == 1
