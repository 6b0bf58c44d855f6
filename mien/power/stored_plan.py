"""The plan of a run, kept in its folder as it was given, with the files that it names: a folder explains itself.

DIR/plan.toml              the file's own text, comments too
DIR/inputs/KEY.SUFFIX      what it names by truth.pilot, analysis.frozen and pipeline.recipe
"""

import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.power.cells import FORMAT
from mien.power.interim import read_json
from mien.power.store import told_when_full
from mien.study.errors import StudyError
from mien.study.files import whole_folder, write_whole

if TYPE_CHECKING:
    from mien.power.plan import Plan

__all__ = ["keep_plan", "stored_plan"]

NAMED = (("truth", "pilot"), ("analysis", "frozen"), ("pipeline", "recipe"))


def keep_plan(folder: Path, source: Path | None) -> None:
    """Copy a plan's file and those that it names; without one, take away what an earlier run kept."""
    kept, inputs = folder / "plan.toml", folder / "inputs"
    if source is None:
        kept.unlink(missing_ok=True)
        shutil.rmtree(inputs, ignore_errors=True)
        return
    text = source.read_bytes()
    named = dict(_named(tomllib.loads(text.decode())))
    if source.resolve() == kept.resolve():
        return
    with told_when_full(folder):
        if named:
            with whole_folder(inputs) as new:
                for key, name in named.items():
                    shutil.copyfile(source.parent / name, new / _kept_as(key, name))
        write_whole(kept, text)


def stored_plan(folder: str | Path) -> "Plan":
    """The plan of a run's folder.

    Raises
    ------
    StudyError
        If this is no folder of a power run, or the plan was a Python object and not a file.
    """
    from mien.power.plan_file import plan_of, read_plan

    folder = Path(folder)
    told = read_json(folder / "plan.json")
    if told.get("format") != FORMAT:
        raise StudyError(f"{folder}: expected the folder of a power run ({FORMAT}), found none.")
    kept = folder / "plan.toml"
    if not kept.is_file():
        raise StudyError(
            f"{folder}: expected a plan that was given as a file, found plan.json of a Python object only: give the "
            "plan itself."
        )
    data: dict[str, Any] = tomllib.loads(kept.read_text(encoding="utf-8"))
    for key, name in list(_named(data)):
        here = Path("inputs", _kept_as(key, name))
        if (folder / here).is_file():
            data[key[0]] = {**data[key[0]], key[1]: here.as_posix()}
    plan = plan_of(data, folder) if list(_named(data)) else read_plan(kept)
    if plan.sha256 != told["sha256"]:
        raise StudyError(
            f"{kept}: expected the plan of the last run, found it changed since: mien power run again."
        )
    return plan


def _named(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    for key in NAMED:
        table = data.get(key[0])
        if isinstance(table, Mapping) and isinstance(table.get(key[1]), str):
            yield key, table[key[1]]


def _kept_as(key: tuple[str, str], name: str) -> str:
    return f"{'.'.join(key)}{Path(name).suffix}"
