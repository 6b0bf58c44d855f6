import base64
import re
import zlib

import numpy as np
import pytest

from mien.capture.formats import read_recording
from mien.reports_app.figures.heat_strip import heat_strip, heat_strip_svg
from mien.reports_app.figures.raster import palette_png
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES
from mien.study.recording import make_recording


def test_columns_are_means_of_equal_stretches_of_time(recording):
    strip = heat_strip(recording, columns=120)
    assert set(strip.blend_shapes) == set(BILATERAL_NAMES)
    assert strip.duration == pytest.approx(120.0)
    smile = strip.values[strip.blend_shapes.index("mouthSmile")]
    assert smile[30:35] == pytest.approx([0.8] * 5)
    assert smile[10] == pytest.approx(0.05)


def test_gaps_and_lost_tracking_are_lost_and_nothing_else_is(recording):
    strip = heat_strip(recording, columns=120)
    lost = np.flatnonzero(strip.lost > 0).tolist()
    assert lost == [*range(50, 60), *range(80, 85)]
    assert np.isnan(strip.values[:, 55]).all()
    assert np.isnan(strip.values[:, 82]).all()
    assert np.isfinite(np.delete(strip.values, lost, axis=1)).all()


def test_a_single_lost_second_shows_in_fifteen_minutes():
    time = np.arange(54_000) / 60
    kept = (time < 400) | (time >= 401)
    long = make_recording(time[kept], np.full((kept.sum(), 52), 0.1), NAMES, format="made up")
    strip = heat_strip(long, columns=300)
    assert np.flatnonzero(strip.lost).tolist() == [133]
    assert strip.lost[133] == pytest.approx(1 / 3, abs=0.01)
    assert len(heat_strip_svg(long, label="x", axes=False)) < 20_000


def test_fewer_frames_than_columns():
    short = make_recording(np.arange(5) / 30, np.full((5, 52), 0.5), NAMES, format="made up")
    assert heat_strip(short).values.shape == (34, 5)
    one = make_recording(np.zeros(1), np.full((1, 52), 0.5), NAMES, format="made up")
    assert heat_strip(one).values.shape == (34, 1)


def test_the_svg_has_a_name_marks_gaps_and_loads_nothing(recording):
    svg = heat_strip_svg(recording, label="sub-01 <b>", columns=120)
    assert 'aria-label="sub-01 &lt;b&gt;"' in svg
    assert "<b>" not in svg
    assert re.findall(r'href="([^"]{0,22})', svg) == ["data:image/png;base64,"]
    for text in ("brow", "tongue", "0:20", "1:40", "frames lost", "not tracked"):
        assert text in svg
    thumbnail = heat_strip_svg(recording, label="sub-01", columns=120, axes=False)
    assert "<text" not in thumbnail
    assert thumbnail.count("<rect") == 2 + 15


def test_the_png_holds_the_pixels_given():
    indices = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    png = palette_png(indices, ["#ff0000", "#00ff00", "#0000ff"])
    assert png[16:24] == b"\x00\x00\x00\x03\x00\x00\x00\x02"
    assert b"PLTE\xff\x00\x00\x00\xff\x00\x00\x00\xff" in png
    start = png.index(b"IDAT")
    length = int.from_bytes(png[start - 4 : start], "big")
    assert zlib.decompress(png[start + 4 : start + 4 + length]) == b"\x00\x00\x01\x02\x00\x02\x01\x00"
    assert base64.b64encode(png)


def test_real_recordings_show_what_they_lost(shared):
    lost = {}
    for name in ("alex_rom_3.csv", "dao.gesichter"):
        strip = heat_strip(read_recording(shared / "recordings" / name))
        lost[name] = int((strip.lost > 0).sum())
        assert strip.values.shape[0] == 34
        assert np.nanmax(strip.values) <= 1.05
    assert lost == {"alex_rom_3.csv": 3, "dao.gesichter": 7}  # single frames, each in a column of its own
