"""What a folder of a power run holds now, whoever writes in it meanwhile: rows for answers, and how far the run is.

Answers use complete batches only, up to where a cell's rule stopped it. Which rows these are does not depend on the
order in which they were computed, nor on a larger budget that the folder was once filled with.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from mien.power import stopping
from mien.power.cells import FORMAT
from mien.power.store import Found, fingerprint, read_parts
from mien.study.errors import StudyError

if TYPE_CHECKING:
    from mien.power.plan import Budget

__all__ = ["CellStatus", "Status", "codes_of", "read_json", "rows_of", "status"]


class CellStatus(NamedTuple):
    """How far one cell is.

    Parameters
    ----------
    done : replicates computed. most : at most planned. looked : in complete batches, which is what the rest is about.
    stopped : why no more are needed; "" while some are. failures : cause → number.
    power : goal → share that met it, and the ends of the 95 % interval that holds however often one looks.
    seconds : a replicate takes.
    """

    cell: str
    world: str
    axes: dict[str, float]
    done: int
    most: int
    looked: int
    stopped: str
    failures: dict[str, int]
    power: dict[str, tuple[float, float, float]]
    seconds: float


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Parameters
    ----------
    finished : nothing is left to do. done, most : replicates, of all cells. elapsed : s, of all runs in this folder.
    eta : s to go at the most, with so many workers. other_rows : of cells of earlier plans.
    bad : parts that cannot be read, with the reason. set_aside : those that were moved away.
    rows_sha256 : of all rows in complete batches, without seconds and worker: the same on any machine.
    """

    folder: Path
    name: str
    plan_sha256: str
    finished: bool
    done: int
    most: int
    elapsed: float
    eta: float
    workers: int
    cells: tuple[CellStatus, ...]
    other_rows: int
    bad: Mapping[str, str]
    set_aside: tuple[str, ...]
    rows_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        from dataclasses import asdict

        return {
            **asdict(self), "folder": str(self.folder), "bad": dict(self.bad), "set_aside": list(self.set_aside),
            "cells": [
                {**cell._asdict(), "power": {
                    name: dict(zip(("power", "lower", "upper"), numbers, strict=True))
                    for name, numbers in cell.power.items()
                }}
                for cell in self.cells
            ],
        }  # fmt: skip


class _Contents(NamedTuple):
    """A folder as it is now. tracks : look of each cell, in the order of `cells`."""

    plan: dict[str, Any]
    cells: pd.DataFrame
    found: Found
    looks: list[stopping.Look]
    codes: dict[str, np.ndarray]

    @property
    def goals(self) -> list[str]:
        return [goal["name"] for goal in self.plan["plan"]["goals"]]


def _contents(folder: Path) -> _Contents:
    from mien.power.plan import Budget

    plan = read_json(folder / "plan.json")
    if plan.get("format") != FORMAT or not (folder / "cells.parquet").is_file():
        raise StudyError(
            f"{folder}: expected the folder of a power run ({FORMAT}), found none: mien power run PLAN.toml --out "
            f"{folder}."
        )
    cells = pd.read_parquet(folder / "cells.parquet")
    columns = {name: pa.type_for_alias(kind) for name, kind in plan["columns"].items()}
    found, budget = read_parts(folder, columns, cells["cell"]), Budget(**plan["plan"]["budget"])
    goals = [goal["name"] for goal in plan["plan"]["goals"]]
    keyed = list(zip(cells["cell"], cells["world"], strict=True))
    codes = codes_of(found.table, keyed, goals, budget)
    looks = [stopping.stopped_at(codes[key], world, budget) for key, world in keyed]
    return _Contents(plan, cells, found, looks, codes)


def rows_of(folder: str | Path) -> pd.DataFrame:
    """The rows that answers may use: those of complete batches, up to where each cell stopped.

    Which rows these are does not depend on the order in which they were computed, nor on what else lies in the folder.

    Raises
    ------
    StudyError
        If this is no folder of a power run.
    """
    return _complete(_contents(Path(folder)))


def _complete(contents: _Contents) -> pd.DataFrame:
    frame = contents.found.frame()
    limits = pd.Series(
        [look.replicates for look in contents.looks], index=contents.cells["cell"], dtype="int64"
    )
    within = frame["replicate"].to_numpy() < limits.loc[frame["cell"]].to_numpy()
    return cast(pd.DataFrame, frame[within]).reset_index(drop=True)


def status(folder: str | Path) -> Status:
    """How far a run is; the folder is only looked at.

    Raises
    ------
    StudyError
        If this is no folder of a power run.
    """
    folder = Path(folder)
    contents, progress = _contents(folder), read_json(folder / "progress.json")
    rows = _complete(contents)
    cells = tuple(_cell_statuses(contents, rows))
    workers = int(progress.get("workers", 1))
    left = sum((cell.most - cell.done) * cell.seconds for cell in cells if not cell.stopped)
    return Status(
        folder=folder,
        name=contents.plan["plan"]["name"],
        plan_sha256=contents.plan["sha256"],
        finished=bool(progress.get("finished")) and all(cell.stopped for cell in cells),
        done=sum(cell.done for cell in cells),
        most=sum(cell.looked if cell.stopped else cell.most for cell in cells),
        elapsed=float(progress.get("elapsed", 0.0)),
        eta=left / workers,
        workers=workers,
        cells=cells,
        other_rows=contents.found.other_rows,
        bad={path.name: why for path, why in contents.found.bad.items()},
        set_aside=tuple(sorted(path.name for path in (folder / "set-aside").glob("*"))),
        rows_sha256=fingerprint(rows),
    )


def _cell_statuses(contents: _Contents, rows: pd.DataFrame) -> Iterator[CellStatus]:
    axes = [name for name in contents.cells.columns if name not in ("cell", "world", "cohort")]
    seconds = contents.found.table.select(["cell", "seconds"]).to_pandas().groupby("cell")["seconds"].mean()
    typical = float(seconds.mean()) if len(seconds) else math.nan
    causes = rows.loc[rows["failure"] != ""].groupby("cell")["failure"].value_counts()
    failures: dict[str, dict[str, int]] = {}
    for (cell, cause), count in causes.items():  # type: ignore[misc]
        failures.setdefault(str(cell), {})[str(cause)] = int(count)
    for row, look in zip(contents.cells.to_dict("records"), contents.looks, strict=True):
        codes = contents.codes[row["cell"]]
        yield CellStatus(
            cell=row["cell"],
            world=row["world"],
            axes={name: row[name] for name in axes},
            done=int((codes[: look.replicates if look.stopped else None, 0] != stopping.ABSENT).sum()),
            most=len(codes),
            looked=look.replicates,
            stopped=look.stopped,
            failures=failures.get(row["cell"], {}),
            power={
                goal: (
                    met / look.counted if look.counted else math.nan,
                    *stopping.anytime_interval(met, look.counted),
                )
                for goal, met in zip(contents.goals, look.met, strict=True)
            },
            seconds=float(seconds.get(row["cell"], typical)),
        )


def codes_of(
    table: pa.Table, cells: Iterable[tuple[str, str]], goals: Sequence[str], budget: "Budget"
) -> dict[str, np.ndarray]:
    """Cell → (replicate, goal) of codes (`stopping.look_at`); rows beyond the budget are left out.

    Parameters
    ----------
    cells : key and world of each.
    """
    found = {
        key: np.full((stopping.at_most(world, budget), len(goals)), stopping.ABSENT, dtype=np.int8)
        for key, world in cells
    }
    keys, replicates = table["cell"].to_pandas(), table["replicate"].to_numpy()
    failed = table["failure"].to_pandas().to_numpy() != ""
    met = np.stack([table[f"{goal}:met"].to_pandas().eq(True).to_numpy() for goal in goals], axis=1)
    codes = np.where(failed[:, None], stopping.FAILED, met).astype(np.int8)
    for key, places in keys.groupby(keys).indices.items():
        within = places[replicates[places] < len(found[str(key)])]
        found[str(key)][replicates[within]] = codes[within]
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A small file of a run; empty where it is not there or was spoilt."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}
