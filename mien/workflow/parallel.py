"""The same function over many items, in processes, with progress; results in the order of the items.

joblib's loky backend starts workers that need no `if __name__ == "__main__"` in the caller's script, so the same call
works from a notebook, a script and the command line. One worker runs everything in this process.
"""

import os
from collections.abc import Callable, Sequence
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
    results: list[Any] = []
    if workers <= 1 or len(items) <= 1:
        stream = (function(item) for item in items)
    else:
        from joblib import Parallel, delayed

        pool = Parallel(n_jobs=min(workers, len(items)), return_as="generator", pre_dispatch="2*n_jobs")
        stream = pool(delayed(function)(item) for item in items)
    if progress:
        progress(0, len(items), label)
    for result in stream:
        results.append(result)
        if progress:
            progress(len(results), len(items), label)
    return results
