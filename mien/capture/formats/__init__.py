"""Bytes ↔ Recording: one reader a format, found by content and never by file ending.

The idea: a *container* (folder, zip, gzip, plain file) is opened with limits and gives one `Source`; the *registry*
finds the format from the first bytes; the format's reader maps columns by name, takes time from the tracker's own
clock, and hands arrays to `assemble`, which settles repeated frames and makes the Recording. Names of people and
devices pass through memory at most; video is never opened. Everything wrong is one `RecordingError`.
"""

from mien.capture.formats.live_link_face_csv import write_live_link_face_csv
from mien.capture.formats.packets import (
    decode_packet,
    encode_packet,
    encode_packets,
    write_gesichter,
    write_packets,
)
from mien.capture.formats.registry import FORMATS, Format, read_recording
from mien.capture.formats.xdf import read_markers

__all__ = [
    "FORMATS",
    "Format",
    "decode_packet",
    "encode_packet",
    "encode_packets",
    "read_markers",
    "read_recording",
    "write_gesichter",
    "write_live_link_face_csv",
    "write_packets",
]
