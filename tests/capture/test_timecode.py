"""Timecodes: thousandths of a frame, the inferred base, midnight, and back only with an error."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.capture.formats.timecode import clock_seconds, format_timecodes, frame_base, parse_timecodes
from mien.study.errors import RecordingError


def line(row: int) -> str:
    return f"take.csv, line {row + 2}"


def seconds(texts: list[str], base: float | None = None) -> np.ndarray:
    timecodes = parse_timecodes(pa.array(texts), line)
    return clock_seconds(timecodes, base or frame_base(timecodes), line)


def test_the_last_three_digits_are_thousandths_of_a_frame():
    assert seconds(["13:13:04:31.652"], 60)[0] == pytest.approx(
        13 * 3600 + 13 * 60 + 4 + 31.652 / 60, abs=1e-9
    )


def test_unpadded_timecodes_without_thousandths_are_read():
    assert seconds(["1:2:3:4"], 60)[0] == pytest.approx(3723 + 4 / 60, abs=1e-9)


@pytest.mark.parametrize(("base", "step"), [(60, 1), (60, 2), (30, 1), (24, 1), (25, 1), (120, 1)])
def test_the_base_is_inferred_from_the_steps_over_full_seconds(base, step):
    frames = np.arange(17, 17 + 3 * base, step)
    texts = [f"10:00:{frame // base:02d}:{frame % base:02d}.000" for frame in frames]
    assert frame_base(parse_timecodes(pa.array(texts), line)) == base


def test_the_base_does_not_follow_lost_frames():
    """Frames 23-59 of the only second seen are lost: FF stays below 24, yet the clock counts to 60."""
    texts = [f"10:00:00:{frame:02d}.000" for frame in range(20)] + [
        f"10:00:01:{frame:02d}.000" for frame in range(20)
    ]
    assert frame_base(parse_timecodes(pa.array(texts), line)) == 60


def test_a_take_shorter_than_a_second_counts_to_sixty():
    assert frame_base(parse_timecodes(pa.array(["10:00:00:01.000", "10:00:00:03.000"]), line)) == 60


def test_midnight_is_no_step_back():
    times = seconds(["23:59:59:58.000", "23:59:59:59.000", "00:00:00:00.000", "00:00:00:01.000"], 60)
    np.testing.assert_allclose(np.diff(times), 1 / 60, atol=1e-9)


@pytest.mark.parametrize("back", ["13:00:00:09.999", "12:59:59:00.000", "01:00:00:00.000"])
def test_any_other_step_back_names_the_line(back):
    with pytest.raises(RecordingError, match=r"take.csv, line 4: expected timecodes that increase"):
        seconds(["13:00:00:09.000", "13:00:00:10.000", back], 60)


@pytest.mark.parametrize(
    "bad", ["25:00:00:00", "10:61:00:00", "10:00:00", "abc", "", "10:00:00:00,5", "-1:0:0:0"]
)
def test_what_is_no_timecode_is_named(bad):
    with pytest.raises(RecordingError, match=r"line 3: expected a timecode HH:MM:SS:FF\.sss"):
        seconds(["10:00:00:00.000", bad], 60)


@given(st.lists(st.integers(0, 86_400 * 60_000 - 1), min_size=1, max_size=50, unique=True))
def test_writing_and_parsing_are_inverses(ticks):
    times = np.sort(np.array(ticks)) / 60_000
    texts = [row.tobytes().decode() for row in format_timecodes(times)]
    np.testing.assert_allclose(seconds(texts, 60), times, atol=1e-9)
