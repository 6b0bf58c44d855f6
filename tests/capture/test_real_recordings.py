"""The two real recordings, against an independent reading by hand in plain NumPy and struct."""

import csv
import gzip
import struct

import numpy as np
import pytest

from mien.capture.formats import read_recording
from mien.capture.quality import quality_report
from mien.study.blend_shapes import NAMES
from mien.study.motion import read_motion, write_motion
from mien.study.recording import same_recording


@pytest.fixture(scope="module")
def alex(recordings_folder):
    return read_recording(recordings_folder / "alex_rom_3.csv")


@pytest.fixture(scope="module")
def dao(recordings_folder):
    return read_recording(recordings_folder / "dao.gesichter")


def test_alex_agrees_with_a_plain_reading(alex, recordings_folder):
    with (recordings_folder / "alex_rom_3.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    clock = []
    for row in rows:
        hours, minutes, seconds, frames = row["Timecode"].split(":")
        clock.append(int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(frames) / 60)
    np.testing.assert_allclose(alex["time"].values, np.array(clock) - clock[0], atol=1e-7)
    for name in NAMES:
        column = np.array([row[name[0].upper() + name[1:]] for row in rows], np.float32)
        np.testing.assert_array_equal(alex["activation"].sel(blend_shape=name).values, column)


def test_alex_has_the_known_faults(alex):
    report = quality_report(alex, source="alex")
    assert alex.sizes["time"] == 4030
    assert report["lost_frames"] == 3
    assert [gap["lost"] for gap in report["gaps"]] == [1, 1, 1]
    assert report["rate_hz"] == pytest.approx(29.98, abs=0.005)
    assert alex.attrs["nominal_rate"] == 30
    assert (report["head"], report["verdict"], report["frozen_frames"]) == ("missing", "good", 0)
    assert (report["above_one"], report["below_zero"], report["still_shapes"]) == (1, 0, [])
    assert alex.attrs["start"] == "13:13:04:31.652"


def test_dao_agrees_with_a_plain_reading(dao, recordings_folder):
    data = gzip.decompress((recordings_folder / "dao.gesichter").read_bytes())
    at, times, values = 5, [], []
    while at < len(data):
        size = struct.unpack_from(">I", data, at)[0]
        packet = data[at + 4 : at + 4 + size]
        frame, part, numerator, denominator = struct.unpack_from(">ifii", packet, len(packet) - 245 - 16)
        times.append((frame + part) * denominator / numerator)
        values.append(struct.unpack_from(">61f", packet, len(packet) - 244))
        at += 4 + size
    values = np.array(values, np.float32)
    np.testing.assert_allclose(dao["time"].values, np.array(times) - times[0], atol=1e-7)
    np.testing.assert_array_equal(dao["activation"].values, values[:, :52])
    np.testing.assert_array_equal(dao["head"].values, values[:, 52:55])


def test_dao_has_the_known_faults(dao):
    report = quality_report(dao, source="dao")
    assert (report["frames"], report["lost_frames"], report["head"]) == (180, 7, "present")
    assert report["gaps"] == [{"start_s": 0.083, "lost": 7}]  # after the sixth packet
    assert report["verdict"] == "usable"


@pytest.mark.parametrize("name", ["alex", "dao"])
def test_motion_bids_gives_the_same(name, request, tmp_path):
    recording = request.getfixturevalue(name)
    write_motion(recording, tmp_path / "sub-01_task-rom_tracksys-arkit", task="rom")
    assert same_recording(recording, read_motion(tmp_path / "sub-01_task-rom_tracksys-arkit_motion.tsv"))
