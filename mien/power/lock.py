"""One run at a time in a folder: a file that says who writes there.

It holds the host, the process and when that process started. A lock whose process is gone is taken over: a process of
this machine is looked for; one of another machine counts as gone when it has not touched the file for `SILENT` seconds.
"""

import json
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mien.study.errors import StudyError

__all__ = ["locked"]

BEAT = 20.0  # s between two touches of the file
SILENT = 600.0  # s


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock; yields a function to be called now and then, which shows that this process is alive.

    Raises
    ------
    StudyError
        If another process holds it.
    """
    content = json.dumps(
        {"host": platform.node(), "pid": os.getpid(), "started": _started(os.getpid()),
         "token": secrets.token_hex(4)}
    )  # fmt: skip
    for _ in range(10):
        if _made(path, content):
            break
        _clear_if_gone(path)
    else:
        raise StudyError(f"{path}: expected to get the lock, found others who take it: try again.")
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > BEAT:
            with suppress(OSError):
                os.utime(path)
            last = time.monotonic()

    try:
        yield beat
    finally:
        if _text(path) == content:
            path.unlink(missing_ok=True)


def _made(path: Path, content: str) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(content)
    return True


def _clear_if_gone(path: Path) -> None:
    """Take away a lock that nobody holds any more; refuse where somebody does."""
    text = _text(path)
    if text is None:
        return
    holder = _holder(text)
    if _alive(holder, path):
        raise StudyError(
            f"{path.parent}: expected no other run in this folder, found one of process {holder.get('pid', '?')} on "
            f"{holder.get('host', 'an unknown machine')}: wait for it, stop it, or take another folder (if it is gone, "
            f"remove {path.name})."
        )
    aside = path.with_name(f"lock.{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):
        os.replace(path, aside)
        if _text(aside) != text:  # another process took it over since it was read
            os.replace(aside, path)
        aside.unlink(missing_ok=True)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _holder(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def _alive(holder: dict[str, Any], path: Path) -> bool:
    if holder.get("host") == platform.node() and os.name == "posix" and isinstance(holder.get("pid"), int):
        return _runs(holder["pid"]) and holder.get("started") in ("", _started(holder["pid"]))
    try:
        return time.time() - path.stat().st_mtime < (SILENT if holder else 5.0)
    except FileNotFoundError:
        return False


def _runs(pid: int) -> bool:
    if _stat(pid)[:1] == ["Z"]:  # ended, and nobody has asked for its exit code yet
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks: numbers of processes are used again. Only Linux tells."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
