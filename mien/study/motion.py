"""A Recording as Motion-BIDS: `…_motion.tsv` (no header), `…_motion.json`, `…_channels.tsv`.

Columns are the latency (s), the blend shapes (MISC, 0-1) and, where known, the head (ORNT, radians). Missing
values are `n/a`. Numbers are the shortest text that reads back the same float32 (float64 for the latency), so that
writing and reading give the same Recording. pyarrow does both, many times faster than pandas.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from mien.study.errors import MienError, RecordingError
from mien.study.files import whole_file, write_whole
from mien.study.recording import HEAD_AXES, RecordingArrays, make_arrays, make_recording
from mien.study.tables import read_json, read_table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MOTION_FILES", "read_arrays", "read_motion", "write_motion"]

MOTION_FILES = ("_motion.tsv", "_motion.json", "_channels.tsv")
LATENCY = "latency"
HEAD_CHANNELS = tuple(f"head_{axis}" for axis in HEAD_AXES)
BLOCK = 1 << 18  # bytes; a quarter less time than the default of 1 MB (measured)


def write_motion(recording: "xr.Dataset", stem: Path, *, task: str) -> None:
    """Write `STEM_motion.tsv`, `STEM_motion.json` and `STEM_channels.tsv`, the table last."""
    shapes = [str(name) for name in recording["blend_shape"].values]
    head = HEAD_CHANNELS if "head" in recording else ()
    channels = [(LATENCY, "n/a", "LATENCY", "n/a", "s")]
    channels += [(name, "n/a", "MISC", "face", "n/a") for name in shapes]
    channels += [(name, axis, "ORNT", "head", "rad") for name, axis in zip(head, "zyx", strict=False)]
    header = "name\tcomponent\ttype\ttracked_point\tunits\n"
    write_whole(
        stem.with_name(stem.name + "_channels.tsv"),
        header + "".join("\t".join(row) + "\n" for row in channels),
    )
    attrs = recording.attrs
    sidecar = {
        "TaskName": task,
        "SamplingFrequency": _number(attrs["nominal_rate"]),
        "SamplingFrequencyEffective": _number(attrs["effective_rate"]),
        "TrackingSystemName": attrs["tracker"],
        "MotionChannelCount": len(channels),
        "ORNTChannelCount": len(head),
        "MISCChannelCount": len(shapes),
        "LATENCYChannelCount": 1,
        "MissingValues": "n/a",
        "SourceFormat": attrs["format"],
        "RecordingStart": attrs.get("start", ""),
        "NeutralCalibrated": attrs.get("calibrated", "unknown"),
    }
    write_whole(stem.with_name(stem.name + "_motion.json"), json.dumps(sidecar, indent=2) + "\n")
    _write_table(recording, stem.with_name(stem.name + "_motion.tsv"))


def _number(value: float) -> float | str:
    return "n/a" if not np.isfinite(value) else float(value)


def _write_table(recording: "xr.Dataset", path: Path) -> None:
    columns = [pa.array(recording["time"].values)]
    blocks = [recording["activation"].values] + ([recording["head"].values] if "head" in recording else [])
    for block in blocks:
        columns += [_column(np.ascontiguousarray(column)) for column in block.T]
    table = pa.table(columns, names=[str(index) for index in range(len(columns))])
    with whole_file(path) as temporary, pa.OSFile(str(temporary), "wb") as sink:
        pcsv.write_csv(
            table,
            sink,
            pcsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none", batch_size=4096),
        )


def _column(values: np.ndarray) -> pa.Array:
    missing = np.isnan(values)
    if not missing.any():
        return pa.array(values)
    return pc.fill_null(pc.cast(pa.array(values, mask=missing), pa.string()), "n/a")


def read_motion(path: Path) -> "xr.Dataset":
    """The Recording in `…_motion.tsv` and its two companions; see `read_arrays`."""
    return _read(path, make_recording)


def read_arrays(path: Path) -> RecordingArrays:
    """The arrays of the Recording in `…_motion.tsv`, for code that goes through every frame of a study.

    Raises
    ------
    RecordingError
        Naming the file, and row and column where a cell cannot be read.
    """
    return _read(path, make_arrays)


def _read[T](path: Path, make: Callable[..., T]) -> T:
    stem = path.name.removesuffix("_motion.tsv")
    channels = read_table(
        path.with_name(stem + "_channels.tsv"), required=("name", "type"), error=RecordingError
    )
    sidecar = read_json(path.with_name(stem + "_motion.json"), RecordingError)
    names, kinds = list(map(str, channels["name"])), list(map(str, channels["type"]))
    for kind, meaning in (("LATENCY", "the time of each frame"), ("MISC", "a blend shape")):
        if kind not in kinds:
            raise RecordingError(
                f"{path}: expected a channel of type {kind} with {meaning}, found none: import the native recording "
                "with `mien import`."
            )
    table = _read_table(path, names)
    shapes = [index for index, kind in enumerate(kinds) if kind == "MISC"]
    head = [names.index(name) for name in HEAD_CHANNELS if name in names]
    rate = sidecar.get("SamplingFrequency")
    return make(
        table.column(kinds.index("LATENCY")).to_numpy(),
        _float32(table, shapes),
        [names[index] for index in shapes],
        head=_float32(table, head) if head else None,
        format=str(sidecar.get("SourceFormat", "motion-bids")),
        tracker=str(sidecar.get("TrackingSystemName", "arkit")),
        nominal_rate=rate if isinstance(rate, int | float) else None,
        start=str(sidecar.get("RecordingStart", "")),
        calibrated=str(sidecar.get("NeutralCalibrated", "unknown")),
        where=str(path),
    )


def _float32(table: pa.Table, columns: list[int]) -> np.ndarray:
    """(time, column) float32; parsing as float64 and rounding is a tenth faster than parsing float32."""
    values = np.empty((len(columns), table.num_rows), dtype=np.float32)
    with np.errstate(
        over="ignore"
    ):  # what float32 cannot hold becomes infinite and is refused by make_arrays
        for row, column in zip(values, columns, strict=True):
            row[:] = table.column(column).to_numpy()
    return values.T


def _read_table(path: Path, names: list[str]) -> pa.Table:
    keys = [str(index) for index in range(len(names))]
    try:
        return pcsv.read_csv(
            path,
            # One thread and small blocks: the least work, and studies are read by one process a core.
            read_options=pcsv.ReadOptions(column_names=keys, use_threads=False, block_size=BLOCK),
            parse_options=pcsv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pcsv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.float64()), null_values=["n/a"]
            ),
        )
    except (pa.ArrowInvalid, OSError) as reason:
        raise _unreadable(path, reason, names) from None


def _unreadable(path: Path, reason: Exception, names: list[str]) -> MienError:
    """Rows count from 1 in pyarrow's message and columns from 0; people know the channel's name."""
    text = re.sub(
        r"CSV column #(\d+)",
        lambda found: f"column {int(found[1]) + 1} ({names[int(found[1])]})",
        str(reason),
    )
    expected = "a readable file" if isinstance(reason, OSError) else "numbers, one row a frame"
    return RecordingError(
        f"{path}: expected {expected}, but {text}: import the native recording again with `mien import --replace`."
    )
