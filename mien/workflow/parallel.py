"""The same function over many items, in processes, with progress; results in the order of the items.

Where this process has a single thread it is forked, so that workers start at once with everything imported. Elsewhere
(a notebook, macOS, Windows) joblib's loky starts fresh ones, which need no `if __name__ == "__main__"` in the caller's
script. One worker runs everything in this process.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

__all__ = ["Progress", "available_cores", "over"]

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
    elif _single_threaded():
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            yield from pool.map(function, items)
    else:
        from joblib import Parallel, delayed

        pool = Parallel(n_jobs=workers, return_as="generator", pre_dispatch="2*n_jobs")
        stream: Any = pool(delayed(_in_folder)(os.getcwd(), function, item) for item in items)
        yield from stream


def _in_folder[T](folder: str, function: Callable[..., T], item: Any) -> T:
    """Workers that are used again may be elsewhere: relative paths mean the caller's."""
    os.chdir(folder)
    return function(item)


def _single_threaded() -> bool:
    """Whether forking is safe: threads of libraries count too, which only Linux tells."""
    return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1
