"""A long table in parts: a DataFrame, Parquet files or a Dask DataFrame, read in batches that fit into memory.

parts_of(source)             what there is: columns, their kinds, the parts
Part.batches(columns)        DataFrames of at most `BATCH` rows, text as categories
whole_groups(batches, keys)  batches moved so that rows of one trial stay together
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from mien.study.errors import FitError, MienError
from mien.study.files import sha256_of
from mien.study.trials import row_codes

__all__ = [
    "BATCH",
    "FramePart",
    "ParquetPart",
    "Table",
    "in_pairs",
    "joined_sha256",
    "parts_of",
    "whole_groups",
]

BATCH = 1_000_000  # rows
SUFFIXES = (".parquet", ".pq")


Told = Callable[[Iterator[Any]], Iterator[Any]]


class FramePart(NamedTuple):
    """Rows in memory."""

    frame: pd.DataFrame

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Slices of the rows, in order."""
        for start in range(0, len(self.frame), BATCH):
            yield cast(pd.DataFrame, self.frame[list(columns)].iloc[start : start + BATCH])


class ParquetPart(NamedTuple):
    """Rows of one file. text : columns whose words are read as codes."""

    path: str
    text: tuple[str, ...]

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The rows, in order, with the columns asked for alone."""
        from pyarrow.parquet import ParquetFile

        text = [name for name in self.text if name in columns]
        try:
            with ParquetFile(self.path, read_dictionary=text) as file:
                for batch in file.iter_batches(BATCH, columns=list(columns)):
                    frame = batch.to_pandas(ignore_metadata=True)[list(columns)]
                    yield frame.assign(**{name: _sorted(frame[name]) for name in text})
        except (OSError, ValueError) as problem:  # pyarrow's errors are ValueErrors
            raise _unreadable(self.path, problem) from None


class Table(NamedTuple):
    """A table in parts.

    columns : name → "number", "whole number", "text" or "boolean".
    parts : FramePart, ParquetPart, or what Dask will make a DataFrame of.
    over : over(function, workers) gives its result for every part, in order.
    total : total(function, merge, workers, told) gives one result, joined in pairs; results pass through `told`.
    sha256 : of what the parts hold, whatever their order or names.
    attrs : of the DataFrame.
    """

    columns: Mapping[str, str]
    parts: tuple[Any, ...]
    over: Callable[[Callable[[Any], Any], int], Iterator[Any]]
    total: Callable[[Callable[[Any], Any], Callable[[Any, Any], Any], int, Told], Any]
    sha256: Callable[[], str]
    attrs: Mapping[Any, Any]


def parts_of(source: object) -> Table:
    """What a source holds.

    Parameters
    ----------
    source : a DataFrame; a path, pattern or folder of Parquet files; a Dask DataFrame.

    Raises
    ------
    FitError
        When nothing is there, a file is no Parquet file, or parts have columns of different kinds.
    """
    if isinstance(source, pd.DataFrame):
        kinds = {str(name): _kind_of(source[name].dtype) for name in source.columns}
        return _local(kinds, (FramePart(source),), lambda: "", source.attrs)
    if isinstance(source, (str, Path)):
        return _parquet(source)
    if type(source).__module__.split(".")[0] in ("dask", "dask_expr"):
        return _dask(source)
    raise FitError(
        "data: expected a pandas.DataFrame, a path of Parquet files or a Dask DataFrame, found "
        f"{type(source).__name__}."
    )


def _local(
    columns: Mapping[str, str], parts: tuple[Any, ...], sha256: Callable[[], str], attrs: Mapping[Any, Any]
) -> Table:
    """Parts that are read in this process, or in as many as there are workers."""

    def over(function: Callable[[Any], Any], workers: int) -> Iterator[Any]:
        if workers <= 1 or len(parts) == 1:
            return (function(part) for part in parts)
        from joblib import Parallel, delayed

        pool = Parallel(n_jobs=min(workers, len(parts)), return_as="generator", pre_dispatch="2*n_jobs")
        return cast(Iterator[Any], pool(delayed(function)(part) for part in parts))

    def total(
        function: Callable[[Any], Any], merge: Callable[[Any, Any], Any], workers: int, told: Told
    ) -> Any:
        return in_pairs(told(over(function, workers)), merge)

    return Table(columns, parts, over, total, sha256, attrs)


def in_pairs[T](results: Iterable[T], merge: Callable[[T, T], T]) -> T:
    """All results joined, those of equal numbers of parts with each other, few at a time in memory."""
    waiting: list[tuple[int, T]] = []
    for result in results:
        size, joined = 1, result
        while waiting and waiting[-1][0] == size:
            joined, size = merge(waiting.pop()[1], joined), 2 * size
        waiting.append((size, joined))
    return reduce(lambda later, earlier: merge(earlier, later), [joined for _, joined in reversed(waiting)])


# Parquet


def _parquet(source: str | Path) -> Table:
    paths = _paths(source)
    schemas = [_schema(path) for path in paths]
    for path, schema in zip(paths[1:], schemas[1:], strict=True):
        _check_alike(paths[0], schemas[0], path, schema)
    first = schemas[0]
    text = tuple(name for name, (kind, coded) in first.items() if kind == "text" and not coded)
    parts = tuple(ParquetPart(path, text) for path in paths)
    columns = {name: kind for name, (kind, _) in first.items()}
    return _local(columns, parts, lambda: joined_sha256([sha256_of(Path(path)) for path in paths]), {})


def _paths(source: str | Path) -> list[str]:
    path = Path(source)
    if path.is_dir():
        found = [str(file) for file in path.rglob("*") if file.suffix in SUFFIXES and not _hidden(file, path)]
        what = f"Parquet files ({', '.join(SUFFIXES)}) in the folder"
    elif path.is_file():
        return [str(path)]
    else:
        found, what = glob(str(source), recursive=True), "a file, a folder or a pattern of Parquet files"
    if not found:
        raise FitError(f"{source}: expected {what}, found none: check the path.")
    return sorted(found)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _schema(path: str) -> dict[str, tuple[str, bool]]:
    """Column → kind, and whether it is a category with an order of its own."""
    from pyarrow import types
    from pyarrow.parquet import read_schema

    try:
        schema = read_schema(path)
    except (OSError, ValueError) as problem:
        raise _unreadable(path, problem) from None
    kinds = {}
    for field in schema:
        coded = types.is_dictionary(field.type)
        kind = field.type.value_type if coded else field.type
        kinds[field.name] = (_kind_of_arrow(types, kind, coded), coded)
    return kinds


def _kind_of_arrow(types: Any, kind: Any, coded: bool) -> str:
    if types.is_boolean(kind):
        return "boolean"
    if coded or not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        return "text"
    return "whole number" if types.is_integer(kind) else "number"


def _check_alike(
    path: str, kinds: Mapping[str, tuple[str, bool]], other: str, found: Mapping[str, tuple[str, bool]]
) -> None:
    for name in {**kinds, **found}:
        if name not in found or name not in kinds:
            lacking, having = (other, path) if name not in found else (path, other)
            raise FitError(
                f"{lacking}: expected the columns of {having}, found no {name!r}: write the parts with one schema."
            )
        if kinds[name] != found[name]:
            raise FitError(
                f"{other}: expected {name!r} as in {path} ({_words(kinds[name])}), found {_words(found[name])}: write "
                "the parts with one schema."
            )


def _words(kind: tuple[str, bool]) -> str:
    return "categories" if kind[1] else f"{kind[0]}s" if kind[0] != "text" else "text"


def _unreadable(path: str, problem: Exception) -> MienError:
    reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    return FitError(
        f"{path}: expected a Parquet file, found one that cannot be read ({reason}): write it again."
    )


def _sorted(column: pd.Series) -> pd.Series:
    """Words that Parquet stores as codes, in alphabetical order as if they were plain text."""
    return column.cat.reorder_categories(sorted(column.cat.categories))


# Dask


def _dask(source: Any) -> Table:
    try:
        import dask  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise FitError(
            "data: expected Dask to be installed for a Dask DataFrame, found none: pip install 'mien[cluster]'."
        ) from None
    kinds = {str(name): _kind_of(dtype) for name, dtype in source.dtypes.items()}
    parts = tuple(source.to_delayed())

    def tasks(function: Callable[[Any], Any]) -> list[Any]:
        return [dask.delayed(_on_frame)(function, part) for part in parts]

    def over(function: Callable[[Any], Any], _workers: int) -> Iterator[Any]:
        return iter(dask.compute(*tasks(function)))

    def total(
        function: Callable[[Any], Any], merge: Callable[[Any, Any], Any], _workers: int, _told: Told
    ) -> Any:
        joined = in_pairs(tasks(function), dask.delayed(merge))
        return dask.compute(joined)[0]

    def sha256() -> str:
        from mien.models.fitting import data_sha256

        return joined_sha256(list(over(_ShaOf(data_sha256), 1)))

    return Table(kinds, parts, over, total, sha256, {})


class _ShaOf(NamedTuple):
    hashed: Callable[[pd.DataFrame], str]

    def __call__(self, part: FramePart) -> str:
        return self.hashed(part.frame)


def _on_frame(function: Callable[[FramePart], Any], frame: pd.DataFrame) -> Any:
    return function(FramePart(frame))


def _kind_of(dtype: Any) -> str:
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return "whole number"
    return "number" if pd.api.types.is_numeric_dtype(dtype) else "text"


def joined_sha256(digests: Sequence[str]) -> str:
    """One hash of several, whatever their order."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


# Rows that belong together


def whole_groups(batches: Iterator[pd.DataFrame], keys: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The same rows, with those that share the keys of a batch's last row kept for the batch after it."""
    held: pd.DataFrame | None = None
    for batch in batches:
        frame = batch if held is None or held.empty else _stacked([held, batch])
        if frame.empty:
            continue
        codes = row_codes(frame, keys)
        last = codes == codes[-1]
        held, ready = cast(pd.DataFrame, frame[last]), cast(pd.DataFrame, frame[~last])
        if len(ready):
            yield ready.reset_index(drop=True)
    if held is not None and not held.empty:
        yield held.reset_index(drop=True)


def _stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of all frames; categories stay categories."""
    from pandas.api.types import union_categoricals

    columns: dict[str, Any] = {}
    for name in frames[0].columns:
        series = [cast(pd.Series, frame[name]) for frame in frames]
        if all(isinstance(one.dtype, pd.CategoricalDtype) for one in series):
            same = reduce(lambda a, b: a if a is not None and a == b else None, [one.dtype for one in series])
            columns[name] = (
                pd.concat(series, ignore_index=True).array
                if same is not None
                else union_categoricals(series, sort_categories=True, ignore_order=True)
            )
        else:
            columns[name] = np.concatenate([one.to_numpy() for one in series])
    return pd.DataFrame(columns)
