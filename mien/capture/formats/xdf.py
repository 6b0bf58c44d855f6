"""XDF, the files of Lab Streaming Layer, through pyxdf: a stream of blend shapes and streams of markers.

The shape stream is the one whose channels are labelled with blend shapes. pyxdf brings all streams to one clock
(ClockOffset chunks); its smoothing of time stamps stays off, because it would close the holes of lost samples.
pyxdf mends damaged files in silence and trusts every length in them, so xdf_chunks walks them first. Stream
names, hosts and other descriptions are not kept.
"""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.capture.formats.assemble import Frames, assemble
from mien.capture.formats.delimited import check_twice
from mien.capture.formats.mediapipe import MEDIAPIPE_SHAPES, NEUTRAL
from mien.capture.formats.source import Source, gunzip, read_file
from mien.capture.formats.xdf_chunks import MAGIC, check_chunks
from mien.study.blend_shapes import NAMES, canonical_names
from mien.study.errors import RecordingError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["read_markers", "read_xdf", "sniff_xdf"]

NAME = "xdf"
HEAD = ("headyaw", "headpitch", "headroll")
Stream = dict[str, Any]  # what pyxdf gives: {"info": …, "time_series": …, "time_stamps": …}


def sniff_xdf(head: bytes, path: Path) -> bool:
    """The magic bytes."""
    return head.startswith(MAGIC)


def read_xdf(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """The blend-shape stream of an XDF file → Recording."""
    stream, labels = _shape_stream(_streams(source, markers=False), source)
    tracker = "mediapipe" if NEUTRAL in labels else "arkit"
    place = _places(labels, source)
    expected = list(place)
    values = np.asarray(stream["time_series"], np.float64)
    stamps = np.asarray(stream["time_stamps"], np.float64)
    order = np.argsort(stamps, kind="stable")
    late = int(np.sum(np.diff(stamps) < 0))
    notes = (f"{late} sample{'s' if late > 1 else ''} put in order of time",) if late else ()
    frames = Frames(
        stamps[order],
        _activation(values[order][:, list(place.values())], source),
        expected,
        _head(values[order], labels),
        notes,
    )
    return assemble(source, frames, NAME, tracker=tracker)


def _places(labels: list[str], source: Source) -> dict[str, int]:
    """The channel of each shape that the tracker gives; doubled and missing ones are named."""
    shapes = canonical_names(labels)
    check_twice([shapes[label] for label in labels if label in shapes], f"{source.name}, shape stream")
    place = {shapes[label]: index for index, label in enumerate(labels) if label in shapes}
    expected = MEDIAPIPE_SHAPES if NEUTRAL in labels else NAMES
    missing = [name for name in expected if name not in place]
    if missing:
        raise RecordingError(
            f"{source.name}, shape stream: expected a channel for each of {len(expected)} blend shapes, but "
            f"{', '.join(missing[:8])} {'is' if len(missing) == 1 else 'are'} missing: record all channels."
        )
    return {name: place[name] for name in expected}


def read_markers(path: Path) -> "pd.DataFrame":
    """All markers of an XDF file: `onset` (s of the Recording in the same file) and `marker` (text), in order.

    Raises
    ------
    RecordingError
        Where the file is no XDF file or has no stream of text.
    """
    import pandas as pd

    content = read_file(Path(path))
    source = Source(str(path), gunzip(content, str(path)) if content.startswith(b"\x1f\x8b") else content)
    if not sniff_xdf(source.content, Path(path)):
        raise RecordingError(f"{path}: expected an XDF file, found other bytes: only XDF files hold markers.")
    streams = _streams(source, markers=True)
    first = float(np.min(_shape_stream(streams, source)[0]["time_stamps"]))
    texts = [stream for stream in streams if _format(stream) == "string"]
    if not texts:
        raise RecordingError(
            f"{path}: expected a stream of markers (text), found none: record the stimulus program's stream."
        )
    rows = [
        (float(stamp) - first, str(sample[0]))
        for stream in texts
        for stamp, sample in zip(stream["time_stamps"], stream["time_series"], strict=True)
    ]
    markers = pd.DataFrame({"onset": [row[0] for row in rows], "marker": [row[1] for row in rows]})
    return markers.astype({"onset": "float64", "marker": "str"}).sort_values(
        "onset", kind="stable", ignore_index=True
    )


def _streams(source: Source, *, markers: bool) -> list[Stream]:
    """The streams of blend shapes, and those of text if wanted; others are not loaded."""
    import logging

    import pyxdf

    headers = check_chunks(source)
    shapes = [stream for stream, header in headers.items() if header.kind == "shapes"]
    if len(shapes) != 1:
        raise RecordingError(
            f"{source.name}: expected one stream whose channels are labelled with blend shapes, found {len(shapes)} "
            f"among {len(headers)} streams: record one face with labelled channels a file."
        )
    _places(headers[shapes[0]].labels, source)
    wanted = shapes + [stream for stream, header in headers.items() if markers and header.kind == "text"]
    logger = logging.getLogger("pyxdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return pyxdf.load_xdf(
                io.BytesIO(source.content),
                select_streams=wanted,
                handle_clock_resets=False,
                dejitter_timestamps=False,
            )[0]
    except Exception as reason:  # pyxdf raises whatever its damaged input leads to
        raise RecordingError(
            f"{source.name}: expected a whole XDF file, but pyxdf cannot read it ({type(reason).__name__}: "
            f"{str(reason)[:100]}): copy the file again from where it was recorded."
        ) from None
    finally:
        logger.setLevel(level)


def _shape_stream(streams: list[Stream], source: Source) -> tuple[Stream, list[str]]:
    stream = next(stream for stream in streams if _format(stream) != "string")
    labels = _labels(stream)
    shape = np.shape(stream["time_series"])
    if len(shape) != 2 or not shape[0] or shape[1] != len(labels):
        raise RecordingError(
            f"{source.name}, shape stream: expected samples of {len(labels)} labelled channels, found "
            f"{shape}: record again."
        )
    if not np.isfinite(np.asarray(stream["time_stamps"], float)).all():
        raise RecordingError(
            f"{source.name}, shape stream: expected finite time stamps, found others: record again."
        )
    return stream, labels


def _format(stream: Stream) -> str:
    return str((stream["info"].get("channel_format") or [""])[0])


def _labels(stream: Stream) -> list[str]:
    try:
        channels = stream["info"]["desc"][0]["channels"][0]["channel"]
        return [str(channel["label"][0]) for channel in channels]
    except (KeyError, IndexError, TypeError):
        return []


def _activation(values: np.ndarray, source: Source) -> np.ndarray:
    """(samples, shapes); a sample that is NaN throughout is a frame without a face."""
    empty = np.isnan(values).all(axis=1)
    bad = np.argwhere(~(np.abs(values) < 1e30) & ~empty[:, None])
    if len(bad):
        row, column = bad[0]
        raise RecordingError(
            f"{source.name}, shape stream, sample {row + 1}: expected finite numbers (or NaN in all shapes "
            "without a face), "
            f"found {values[row, column]}: record again."
        )
    return values.astype(np.float32)


def _head(values: np.ndarray, labels: list[str]) -> np.ndarray | None:
    lower = [label.lower() for label in labels]
    if not all(name in lower for name in HEAD):
        return None
    head = values[:, [lower.index(name) for name in HEAD]]
    return head.astype(np.float32) if (np.abs(head[~np.isnan(head)]) < 1e4).all() else None
