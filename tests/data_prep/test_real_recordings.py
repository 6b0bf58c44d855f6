"""Real recordings with hand-written events: trial means against plain NumPy, frame by frame, from the raw file.

The comparison shares nothing with the package: it parses the file itself, finds frozen rows, and adds up frames
one at a time in Python.
"""

import csv
import gzip
import struct

import numpy as np
import pandas as pd
import pytest

from mien.capture.formats import read_recording
from mien.data_prep.recipe import Exclusion, Recipe
from mien.data_prep.trials import finish, prepare_recording
from mien.study.labels import RecordingId
from mien.study.motion import read_motion, write_motion
from mien.study.trials import mean_over_bins

RECORDING = RecordingId("01", "1", "rom", "1")
STIMULI = pd.DataFrame(
    {
        "stimulus_id": ["sad", "chair", "happy", "clip"],
        "valence": ["negative", "neutral", "positive", "positive"],
        "medium": ["picture", "picture", "picture", "film"],
        "duration": [6.0, 6.0, 6.0, 20.0],
    }
)
ALEX = pd.DataFrame(
    {
        "onset": [3.2, 14.73, 26.01, 40.5, 77.77, 101.3],
        "duration": [6.0, 6.0, 6.0, 20.0, 6.0, 20.0],
        "stimulus_id": ["sad", "chair", "happy", "clip", "happy", "clip"],
    }
)
DAO = pd.DataFrame({"onset": [0.51, 1.9], "duration": [0.6, 0.77], "stimulus_id": ["sad", "happy"]})
EVERYTHING = Exclusion(None, None, None, None, previous_stimulus=False, next_stimulus=False)


def raw_csv(path):
    """(times, {name: values}) of a Live Link Face CSV, without the package."""
    times, rows = [], []
    with path.open() as file:
        reader = csv.reader(file)
        header = [name[0].lower() + name[1:] for name in next(reader)]
        for row in reader:
            hours, minutes, seconds, frames = row[0].split(":")
            times.append(int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(frames) / 60)
            rows.append([float(value) for value in row[2:]])
    return [time - times[0] for time in times], header[2:54], [row[:52] for row in rows]


def raw_packets(path):
    """(times, names, values) of a .gesichter file, without the package."""
    text = (
        "eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft "
        "eyeBlinkRight eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight eyeWideRight "
        "jawForward jawLeft jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight mouthSmileLeft "
        "mouthSmileRight mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight mouthStretchLeft "
        "mouthStretchRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthPressLeft "
        "mouthPressRight mouthLowerDownLeft mouthLowerDownRight mouthUpperUpLeft mouthUpperUpRight browDownLeft "
        "browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight "
        "noseSneerLeft noseSneerRight tongueOut"
    )
    order = text.split()
    data = gzip.decompress(path.read_bytes())
    (count,) = struct.unpack_from(">I", data, 1)
    at, times, rows = 5, [], []
    for _ in range(count):
        (size,) = struct.unpack_from(">I", data, at)
        packet, at = data[at + 4 : at + 4 + size], at + 4 + size
        place = 1
        for _ in range(2):
            (length,) = struct.unpack_from(">i", packet, place)
            place += 4 + length
        frame, part, numerator, denominator = struct.unpack_from(">ifii", packet, place)
        times.append((frame + part) * denominator / numerator)
        rows.append(struct.unpack_from(">52f", packet, place + 17))
    return [time - times[0] for time in times], order, rows


def frozen(rows):
    """Which rows belong to six or more identical ones."""
    marks, first = [False] * len(rows), 0
    for index in range(1, len(rows) + 1):
        if index == len(rows) or tuple(rows[index]) != tuple(rows[first]):
            if index - first >= 6:
                marks[first:index] = [True] * (index - first)
            first = index
    return marks


def straightforward(raw, events, shape):
    """Per event: (mean of the trial minus mean of the second before, mean of the trial, mean of that second)."""
    times, names, rows = raw
    columns = [index for index, name in enumerate(names) if name in (shape, f"{shape}Left", f"{shape}Right")]
    marks = frozen(rows)

    def mean(begin, end):
        total, number = 0.0, 0
        for time, row, lost in zip(times, rows, marks, strict=True):
            if begin <= time < end and not lost:
                total += sum(row[column] for column in columns) / len(columns)
                number += 1
        return total / number

    result = []
    for onset, duration in zip(events["onset"], events["duration"], strict=True):
        trial = mean(onset, onset + duration)
        baseline = mean(onset - BASELINE, onset)
        result.append((trial - baseline, trial, baseline))
    return np.array(result)


BASELINE = 0.5


@pytest.mark.parametrize(
    ("file", "events", "raw"),
    [("alex_rom_3.csv", ALEX, raw_csv), ("dao.gesichter", DAO, raw_packets)],
    ids=["Live Link Face CSV", "gesichter"],
)
def test_trial_means_agree_with_plain_numpy(shared, tmp_path, file, events, raw):
    path = shared / "recordings" / file
    if not path.exists():
        pytest.skip(f"{file} is not there")
    write_motion(read_recording(path), tmp_path / "sub-01_task-rom_tracksys-arkit", task="rom")
    recording = read_motion(tmp_path / "sub-01_task-rom_tracksys-arkit_motion.tsv")
    recipe = Recipe(baseline=(-BASELINE, 0), exclusion=EVERYTHING)
    prepared = prepare_recording(recording, events, STIMULI, recipe, recording_id=RECORDING, aligned=True)
    trials, counts = finish([prepared.trials], recipe)
    assert counts["trials_kept"] == len(events)
    means = mean_over_bins(trials)
    plain = raw(path)
    for shape in ("mouthSmile", "jawOpen", "browDown", "eyeBlink", "mouthLeft", "jawRight"):
        expected = straightforward(plain, events, shape)
        found = means[means["blend_shape"] == shape].sort_values("trial")[["activation", "raw", "baseline"]]
        np.testing.assert_allclose(found.to_numpy(dtype=float), expected, rtol=0, atol=1e-6, err_msg=shape)
        # The comparison can fail: one frame later the trial means are others.
        later = straightforward(plain, events.assign(onset=events["onset"] + 0.035), shape)
        assert np.abs(found.to_numpy(dtype=float) - later).max() > 1e-5


def test_all_rules_together_mark_and_count_on_a_real_take(shared):
    path = shared / "recordings" / "alex_rom_3.csv"
    if not path.exists():
        pytest.skip("alex_rom_3.csv is not there")
    prepared = prepare_recording(
        read_recording(path), ALEX, STIMULI, Recipe(), recording_id=RECORDING, aligned=True
    )
    trials, counts = finish([prepared.trials], Recipe())
    assert prepared.counts["frames"] == 4030
    assert prepared.counts["frames_lost"] == 3
    assert counts["rows"] == len(trials) == (4 * 12 + 2 * 40) * 34
    assert counts["rows"] == counts["rows_kept"] + sum(one["rows"] for one in counts["by_reason"].values())
    # A range-of-motion take moves all the time: its baselines move, and that is what is said.
    assert set(counts["by_reason"]) == {"moving baseline"}
