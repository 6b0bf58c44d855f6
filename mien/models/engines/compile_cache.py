"""PyTensor's compile cache between processes.

The cache on disk is not safe for two processes that compile at once, so compiling holds a lock on its folder.
Workers that should not wait for each other take a folder of their own *before* PyTensor is imported.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.study.errors import FitError

__all__ = ["compile_lock", "use_private_cache"]

LOCK_TIMEOUT = 600.0  # s; a compile takes 10-30 s


def use_private_cache(folder: Path) -> None:
    """Give this process its own compile cache, and one thread to BLAS and OpenMP.

    Raises
    ------
    FitError
        When PyTensor is imported already, too late to move its cache.
    """
    if "pytensor" in sys.modules:
        raise FitError("compile cache: expected to be set before a model is fitted, found PyTensor imported.")
    flags = [
        flag
        for flag in os.environ.get("PYTENSOR_FLAGS", "").split(",")
        if flag and "base_compiledir" not in flag
    ]
    os.environ["PYTENSOR_FLAGS"] = ",".join([*flags, f"base_compiledir={folder}"])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"


@contextmanager
def compile_lock() -> Iterator[None]:
    """Hold PyTensor's compile folder against other processes, with PyTensor's own lock."""
    from pytensor.compile.compilelock import lock_ctx

    with lock_ctx(timeout=LOCK_TIMEOUT):
        yield
