"""A small grid of colours as a PNG inside an SVG, so that thirty recordings fit in one page.

The PNG is written here (8-bit palette, deflate) because a page needs nothing more, and an imaging library would be a
dependency for thirty lines.

References
----------
W3C, Portable Network Graphics (PNG) Specification: chunk layout, filter type 0.
"""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["data_uri", "palette_png"]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def palette_png(indices: np.ndarray, palette: Sequence[str]) -> bytes:
    """A PNG of `indices` (row, column) into `palette` ("#rrggbb", at most 256)."""
    height, width = indices.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each row begins with its filter type, 0
    rows[:, 1:] = indices
    colours = bytes(int(colour[i : i + 2], 16) for colour in palette for i in (1, 3, 5))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + _chunk(b"PLTE", colours)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def data_uri(png: bytes) -> str:
    """The PNG as an address that loads nothing."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
