"""A folder of rows: what a run has finished, in small Parquet files that are whole or not there.

    DIR/part-<16 hex>.parquet    rows of finished replicates; the name is the beginning of the file's sha256
    DIR/set-aside/               parts that are not what their name says, or that hold rows which cannot be
    DIR/lock                     who is writing here now

A part is written to a temporary name and renamed, so that a run may be killed at any moment. Rows belong to cells, and
a cell's key is a hash of all that its rows depend on: rows of another plan are left lying, and never read as its own.
"""

import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mien.power.lock import locked
from mien.study.errors import StudyError
from mien.study.files import write_whole

__all__ = ["NOT_OF_THE_PLAN", "Found", "Store", "fingerprint", "opened", "read_parts"]

FILES = ("plan.toml", "plan.json", "priors.frozen.json", "cells.parquet", "progress.json", "lock")
FOLDERS = ("inputs", "set-aside", "report")
NOT_OF_THE_PLAN = ("seconds", "worker")  # columns that are no function of plan, cell and replicate
EVERY = 2.0  # s between two parts: what a killed run loses at most, besides the tasks that were running
MANY = 200  # parts, from which on they are joined when a run begins
FULL = (errno.ENOSPC, errno.EDQUOT)
# Columns may lack values: pandas' own types, so that a column's type does not depend on whether one failed.
_TYPES = {pa.bool_(): pd.BooleanDtype()} | dict.fromkeys(
    (pa.int8(), pa.int16(), pa.int32(), pa.int64()), pd.Int64Dtype()
)


class Found(NamedTuple):
    """What lies in a folder.

    Parameters
    ----------
    table : rows of the plan's cells, by cell and replicate, none twice. other_rows : those of other cells.
    bad : file → what is wrong with it. parts : files that are good.
    """

    table: pa.Table
    other_rows: int
    bad: Mapping[Path, str]
    parts: tuple[Path, ...]

    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        frame: pd.DataFrame = self.table.to_pandas(types_mapper=_TYPES.get)
        return frame.astype({"replicate": "int64"})


def fingerprint(rows: pd.DataFrame) -> str:
    """A sha256 of rows in the order of cell and replicate, without seconds and worker: the same on any machine."""
    kept = rows.drop(columns=list(NOT_OF_THE_PLAN), errors="ignore")
    kept = kept.sort_values(["cell", "replicate"], kind="stable")
    table = pa.Table.from_pandas(kept, preserve_index=False).replace_schema_metadata()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def read_parts(folder: Path, columns: Mapping[str, pa.DataType], cells: Iterable[str]) -> Found:
    """The rows of some cells, from all parts; the folder is left as it is.

    Raises
    ------
    StudyError
        If one replicate has two rows that differ.
    """
    schema, wanted = pa.schema(list(columns.items())), set(cells)
    tables, bad, good, other = [schema.empty_table()], {}, [], 0
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            table = _part(path)
            mine = table.filter(pa.array(table["cell"].to_pandas().isin(wanted).to_numpy()))
            other += len(table) - len(mine)
            tables.append(_checked(mine, schema))
            good.append(path)
        except FileNotFoundError:  # joined with others by a run, or set aside, while we were looking
            continue
        except (ValueError, OSError, pa.ArrowException) as problem:
            bad[path] = str(problem).splitlines()[0]
    rows = pa.concat_tables(tables).sort_by([("cell", "ascending"), ("replicate", "ascending")])
    return Found(_once(rows, folder), other, bad, tuple(good))


def _part(path: Path) -> pa.Table:
    content = path.read_bytes()
    if _name_of(content) != path.name:
        raise ValueError("its bytes are not those that were written")
    table = pq.read_table(pa.BufferReader(content))
    if table.schema.names[:2] != ["cell", "replicate"]:
        raise ValueError("it holds no rows of cells")
    return table


def _name_of(content: bytes) -> str:
    return f"part-{hashlib.sha256(content).hexdigest()[:16]}.parquet"


def _checked(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows as this plan's must be."""
    if not len(table):
        return schema.empty_table()
    found = table.replace_schema_metadata()
    if not found.schema.equals(schema):
        raise ValueError("its columns are not those of the plan's rows")
    for name in ("replicate", "failure"):
        if found[name].null_count:
            raise ValueError(f"rows without {name}")
    if found["replicate"].to_numpy().min() < 0:
        raise ValueError("a replicate below 0")
    fine = found.filter(pa.array(found["failure"].to_pandas().eq("").to_numpy()))
    unmet = [name for name in schema.names if name.endswith(":met") and fine[name].null_count]
    if unmet:
        raise ValueError(f"rows without {unmet[0]} that did not fail")
    return found


def _once(rows: pa.Table, folder: Path) -> pa.Table:
    """Rows in order, each replicate once; two of one replicate must be equal."""
    keys = rows.select(["cell", "replicate"]).to_pandas()
    again = keys.duplicated().to_numpy()
    if not again.any():
        return rows
    kept = rows.drop_columns(list(NOT_OF_THE_PLAN)).to_pandas()
    twice = kept[kept.duplicated(["cell", "replicate"], keep=False)]
    differ = twice.drop_duplicates()
    differ = differ[differ.duplicated(["cell", "replicate"])]
    if len(differ):
        cell, replicate = differ.iloc[0][["cell", "replicate"]]
        raise StudyError(
            f"{folder}: expected equal rows wherever a replicate was computed twice, found two that differ for "
            f"replicate {replicate} of cell {cell}: were they computed by other versions or machines? Take the parts "
            "that you trust less out of the folder."
        )
    return rows.filter(pa.array(~again))


class Store:
    """The folder of one run, held by this process: rows are added, and written every few seconds."""

    def __init__(
        self, folder: Path, columns: Mapping[str, pa.DataType], beat: Callable[[], None] = lambda: None
    ) -> None:
        self.folder, self.written, self.beat = folder, 0, beat
        self._schema = pa.schema(list(columns.items()))
        self._waiting: list[Mapping[str, Any]] = []
        self._last = time.monotonic()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep rows of finished replicates for the next part."""
        self._waiting += rows

    @property
    def due(self) -> bool:
        """Whether it is time for a part."""
        return bool(self._waiting) and time.monotonic() - self._last >= EVERY

    def flush(self) -> None:
        """Write what waits as one part.

        Raises
        ------
        StudyError
            If there is no room, or the folder cannot be written.
        """
        if self._waiting:
            with told_when_full(self.folder):
                self._write(pa.Table.from_pylist(list(self._waiting), self._schema))
            self.written += len(self._waiting)
            self._waiting.clear()
        self._last = time.monotonic()

    def _write(self, table: pa.Table) -> Path:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        path = self.folder / _name_of(content)
        write_whole(path, content)
        return path

    def tidied(self, cells: Iterable[str]) -> Found:
        """The rows of the plan's cells; bad parts are set aside, and many small ones joined."""
        columns = {field.name: field.type for field in self._schema}
        found = read_parts(self.folder, columns, cells)
        for path in found.bad:
            (self.folder / "set-aside").mkdir(exist_ok=True)
            shutil.move(path, self.folder / "set-aside" / path.name)
        if len(found.parts) > MANY and not found.other_rows:
            with told_when_full(self.folder):
                joined = self._write(found.table)
            for path in found.parts:
                if path != joined:
                    path.unlink()
        return found


@contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """A full disk, or a folder that may not be written, as one sentence."""
    try:
        yield
    except OSError as problem:
        if problem.errno in FULL:
            told = "found the disk full: make room"
        else:
            told = f"found {problem.strerror or problem}: make it writable"
        raise StudyError(
            f"{folder}: expected room to write rows, {told}, and run the same command again; what was written stays."
        ) from problem


@contextmanager
def opened(folder: Path, columns: Mapping[str, pa.DataType]) -> Iterator[Store]:
    """The store of a folder, made where it is missing, and locked for this process.

    Raises
    ------
    StudyError
        If the folder holds something else, or another run writes there.
    """
    refuse_others(folder)
    with told_when_full(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock") as beat:
        for leftover in folder.glob(".*.partial"):
            with suppress(OSError):
                leftover.unlink()
        yield Store(folder, columns, beat)


def refuse_others(folder: Path) -> None:
    """Refuse a folder that holds what no power run writes.

    Raises
    ------
    StudyError
    """
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder}: expected a folder, found a file: give another name.")
    strange = _strange(folder) if folder.exists() else ()
    if strange:
        raise StudyError(
            f"{folder}: expected a new folder or one of mien power run, found {', '.join(strange[:3])}"
            f"{' and more' if len(strange) > 3 else ''}: give another name."
        )


def _strange(folder: Path) -> Sequence[str]:
    names = sorted(path.name for path in folder.iterdir())
    return [
        name
        for name in names
        if name not in (*FILES, *FOLDERS)
        and not (name.startswith("part-") and name.endswith(".parquet"))
        and not name.startswith(".")
        and not name.startswith("lock.")
    ]
