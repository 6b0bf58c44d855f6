"""Live Link Face UDP packets, version 6, all big-endian: one packet, a row of them, or `.gesichter`.

    u8 version = 6 | i32 length + UTF-8 device id | i32 length + UTF-8 subject name
    i32 frame number | f32 sub-frame | i32 rate numerator | i32 rate denominator | u8 count = 61 | 61 × f32

A packet without a face ends before the count. The frame number is not a time of day (a real file begins at 24.89 h):
only differences count, on over the wrap at 24 h. Lost packets are holes in time; late ones are put in order and said.
Device id and subject name decide only whether all packets show one face; they are kept nowhere.
"""

import gzip
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.capture.formats.assemble import RATES, Frames, assemble
from mien.capture.formats.live_link_face_csv import POSE, values_to_send
from mien.capture.formats.source import Source
from mien.study.blend_shapes import NAMES
from mien.study.errors import RecordingError
from mien.study.files import write_whole

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Packet", "decode_packet", "encode_packet", "encode_packets", "read_gesichter", "read_packets",
    "sniff_gesichter", "sniff_packets", "write_gesichter", "write_packets",
]  # fmt: skip

VERSION = 6
COUNT = len(NAMES) + len(POSE)  # 61
MAX_NAME_BYTES = 512  # of each name: a whole packet has at most 774 bytes, both names together 504
MAX_PACKET_BYTES = 2_048
CLOCK = struct.Struct(">ifii")
DAY = 86_400
REORDER_S = 2.0  # a packet this much late is reordered; more is another recording
WRAP_SLACK_S = 600.0  # how far from 24 h a step back may be and still be the wrap


class Packet(NamedTuple):
    """One frame as sent."""

    frame: int
    sub_frame: float  # of a frame, 0-1
    rate: float  # frames a second of `frame`
    values: np.ndarray | None  # (61,) 52 shapes in ARKit order, then POSE; None without a face
    face: bytes  # device id and subject name: tells faces apart, never stored


def decode_packet(data: bytes, *, where: str = "packet") -> Packet:
    """One whole UDP packet.

    Raises
    ------
    RecordingError
        For another version, absurd lengths, a cut packet or bytes left over.
    """
    packet, end = _decode(data, 0, where)
    if end != len(data):
        raise RecordingError(
            f"{where}: expected {end} bytes, found {len(data)}: not one Live Link Face packet."
        )
    return packet


def _decode(data: bytes, start: int, where: str) -> tuple[Packet, int]:
    """The packet that begins at `start`, and where it ends."""
    if data[start] != VERSION:
        raise RecordingError(
            f"{where}: expected a Live Link Face packet of version {VERSION}, found version {data[start]}: "
            "update the app "
            "and record again (other versions are not known well enough to read)."
        )
    device, at = _name(data, start + 1, "device id", where)
    subject, at = _name(data, at, "subject name", where)
    if at + CLOCK.size > len(data):
        raise _cut(data, at + CLOCK.size, where)
    frame, sub_frame, numerator, denominator = CLOCK.unpack_from(data, at)
    at += CLOCK.size
    if denominator <= 0 or not RATES[0] <= numerator / denominator <= RATES[1] or not -1 < sub_frame < 2:
        raise RecordingError(
            f"{where}: expected a rate of {RATES[0]:g} to {RATES[1]:g} and a sub-frame of 0 to 1, found "
            f"{numerator}/{denominator} and {sub_frame:g}: the file is damaged; copy it again."
        )
    face, rate = device + b"\0" + subject, numerator / denominator
    if at == len(data) or (
        data[at] == VERSION and at + 1 < len(data)
    ):  # the next packet: this one has no face
        return Packet(frame, sub_frame, rate, None, face), at
    if data[at] == 0:
        return Packet(frame, sub_frame, rate, None, face), at + 1
    if data[at] != COUNT:
        raise RecordingError(
            f"{where}: expected {COUNT} values (or none without a face), found a count of {data[at]}: "
            "the file is damaged or of another app version."
        )
    end = at + 1 + 4 * COUNT
    if end > len(data):
        raise _cut(data, end, where)
    values = np.frombuffer(data, ">f4", COUNT, at + 1)
    return Packet(frame, sub_frame, rate, values, face), end


def _name(data: bytes, at: int, what: str, where: str) -> tuple[bytes, int]:
    if at + 4 > len(data):
        raise _cut(data, at + 4, where)
    length = int.from_bytes(data[at : at + 4], "big", signed=True)
    if not 0 <= length <= MAX_NAME_BYTES:
        raise RecordingError(
            f"{where}: expected a {what} of at most {MAX_NAME_BYTES} bytes, found a length of {length:,}: "
            "the file is damaged or is no Live Link Face recording."
        )
    end = at + 4 + length
    if end > len(data):
        raise _cut(data, end, where)
    return bytes(data[at + 4 : end]), end


def _cut(data: bytes, needed: int, where: str) -> RecordingError:
    return RecordingError(
        f"{where}: expected {needed - len(data):,} more bytes at the end: the packet was cut short; "
        "copy the file again from where it was recorded."
    )


def sniff_packets(head: bytes, path: Path) -> bool:
    """A version byte (6, or an older one with a short length after it)."""
    return head[:1] == bytes([VERSION]) or (len(head) > 5 and 1 <= head[0] <= 8 and head[1:3] == b"\0\0")


def sniff_gesichter(head: bytes, path: Path) -> bool:
    """`[u8 6][u32 n]`, then a size below 64 kB and a packet's version byte."""
    return (
        (
            len(head) == 5 and head[0] == VERSION and head[1:] == b"\0\0\0\0"  # no packets at all
        )
        or (len(head) >= 10 and 1 <= head[0] <= 8 and head[5:7] == b"\0\0" and 1 <= head[9] <= 8)
    )


def read_packets(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """Packets stored one after the other → Recording."""
    return _recording(source, "live-link-face-udp", _split_packets(source))


def _split_packets(source: Source) -> Iterator[Packet]:
    at, number = 0, 1
    while at < len(source.content):
        packet, at = _decode(source.content, at, f"{source.name}, packet {number}")
        number += 1
        yield packet


def read_gesichter(source: Source, *, rate: float | None = None) -> "xr.Dataset":
    """The unpacked bytes of a `.gesichter` file → Recording."""
    return _recording(source, "gesichter", _sized_packets(source))


def _sized_packets(source: Source) -> Iterator[Packet]:
    data, name = source.content, source.name
    if data[0] != VERSION:
        raise RecordingError(
            f"{name}: expected a .gesichter file of version {VERSION}, found version {data[0]}: record again."
        )
    count = int.from_bytes(data[1:5], "big")
    at = 5
    for number in range(1, count + 1):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 4 > len(data) or (size <= MAX_PACKET_BYTES and at + 4 + size > len(data)):
            raise RecordingError(
                f"{name}: expected {count:,} packets, but the file ends within packet {number:,}: it was "
                "cut short; "
                "copy it again from where it was recorded."
            )
        if not 0 < size <= MAX_PACKET_BYTES:
            raise RecordingError(
                f"{name}, packet {number}: expected a size of 1 to {MAX_PACKET_BYTES} bytes, found "
                f"{size:,}: the file is damaged."
            )
        yield decode_packet(data[at + 4 : at + 4 + size], where=f"{name}, packet {number}")
        at += 4 + size
    if at != len(data):
        raise RecordingError(
            f"{name}: expected {count:,} packets and no more, found {len(data) - at:,} bytes after them."
        )


def _recording(source: Source, format: str, packets: Iterable[Packet]) -> "xr.Dataset":
    packets = list(packets)
    if not packets:
        raise RecordingError(
            f"{source.name}: expected at least one packet, found none: the recording is empty; record again."
        )
    faces = Counter(packet.face for packet in packets)
    if len(faces) > 1:
        raise RecordingError(
            f"{source.name}: expected packets of one face, found {len(faces)} devices or subjects "
            f"({', '.join(str(count) for _, count in faces.most_common(5))} packets): record one "
            "face a file."
        )
    rates = {packet.rate for packet in packets}
    if len(rates) > 1:
        raise RecordingError(
            f"{source.name}: expected one frame rate, found {', '.join(f'{r:g}' for r in sorted(rates))}."
        )
    clock = np.array([packet.frame for packet in packets], float) + [packet.sub_frame for packet in packets]
    seconds = _unwrapped(clock / rates.pop(), source)
    values = np.full((len(packets), COUNT), np.nan, np.float32)
    for row, packet in zip(values, packets, strict=True):
        if packet.values is not None:
            row[:] = packet.values
    _check_values(packets, values, source)
    order = np.argsort(seconds, kind="stable")
    late = int(np.sum(np.diff(seconds) < 0))
    empty = sum(packet.values is None for packet in packets)
    notes = (f"{late} packet{'s' if late > 1 else ''} came late, put in order",) if late else ()
    notes += (f"{empty} packet{'s' if empty > 1 else ''} without a face",) if empty else ()
    last = len(NAMES)
    frames = Frames(seconds[order], values[order, :last], NAMES, values[order, last : last + 3], notes)
    return assemble(source, frames, format)


def _unwrapped(seconds: np.ndarray, source: Source) -> np.ndarray:
    """Seconds in order of arrival, on over the wrap at 24 h; late packets stay in the past."""
    steps = np.diff(seconds)
    wrapped = np.abs(steps + DAY) < WRAP_SLACK_S
    unwrapped = np.abs(steps - DAY) < WRAP_SLACK_S  # a late packet from before the wrap
    seconds = seconds.copy()
    seconds[1:] += DAY * (np.cumsum(wrapped) - np.cumsum(unwrapped))
    behind = np.maximum.accumulate(seconds) - seconds
    if behind.max() > REORDER_S:
        number = int(np.argmax(behind > REORDER_S)) + 1
        raise RecordingError(
            f"{source.name}, packet {number}: expected frame numbers that increase, but this one is "
            f"{behind[number - 1]:.2f} s behind: two recordings in one file? Keep one a file."
        )
    return seconds


def _check_values(packets: list[Packet], values: np.ndarray, source: Source) -> None:
    tracked = np.array([packet.values is not None for packet in packets])
    bad = np.argwhere(~np.isfinite(values) & tracked[:, None])
    if len(bad):
        row, column = bad[0]
        name = (*NAMES, *POSE)[column]
        raise RecordingError(
            f"{source.name}, packet {row + 1}: expected a finite {name}, found {values[row, column]}: the "
            "file is damaged."
        )


def encode_packet(
    frame: int,
    sub_frame: float,
    values: np.ndarray | None,
    *,
    device: str = "mien",
    subject: str = "mien",
    rate: tuple[int, int] = (60, 1),
) -> bytes:
    """One UDP packet.

    Parameters
    ----------
    values : (61,) the 52 shapes in ARKit order, then yaw, pitch and roll of head, left and right eye (radians);
        None for a frame without a face.
    rate : numerator and denominator of the frames a second in which `frame` counts.
    """
    names = b"".join(len(text).to_bytes(4, "big") + text for text in (device.encode(), subject.encode()))
    head = bytes([VERSION]) + names + CLOCK.pack(frame, sub_frame, *rate)
    return head if values is None else head + bytes([COUNT]) + np.asarray(values, ">f4").tobytes()


def encode_packets(recording: "xr.Dataset", *, first_frame: int = 0) -> list[bytes]:
    """The packets that the app would send, one a frame, in order; frames not tracked are packets without a face.

    Parameters
    ----------
    first_frame : frame number (at 60 a second) of the first packet.
    """
    values, tracked = values_to_send(recording, NAMES)
    clock = recording["time"].values * 60
    whole = np.floor(clock).astype(np.int64)
    part = (clock - whole).astype(np.float32)
    rows = iter(values)
    return [
        encode_packet(int(frame) + first_frame, float(sub), next(rows) if face else None)
        for frame, sub, face in zip(whole, part, tracked, strict=True)
    ]


def write_packets(recording: "xr.Dataset", path: Path) -> None:
    """Write the packets one after the other, as a socket would have received them."""
    write_whole(Path(path), b"".join(encode_packets(recording)))


def write_gesichter(recording: "xr.Dataset", path: Path) -> None:
    """Write a `.gesichter` file: gzip of version, number of packets, and each packet after its size."""
    packets = encode_packets(recording)
    body = b"".join(len(packet).to_bytes(4, "big") + packet for packet in packets)
    content = bytes([VERSION]) + len(packets).to_bytes(4, "big") + body
    write_whole(Path(path), gzip.compress(content, compresslevel=6, mtime=0))
