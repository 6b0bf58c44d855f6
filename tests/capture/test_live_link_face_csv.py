"""The main input: by name, both spellings, 30 and 60 fps, head missing; and each way in which it can be wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.capture.formats import write_live_link_face_csv
from mien.capture.formats.live_link_face_csv import _rows_of_text
from mien.study.blend_shapes import NAMES

HEADER_START = "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft"
JAW = "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen"


@pytest.fixture
def lines(native) -> list[str]:
    return native["live-link-face-csv"].decode().splitlines()


def joined(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def with_cell(lines: list[str], line: int, column: int, text: str) -> bytes:
    cells = lines[line - 1].split(",")
    cells[column] = text
    return joined([*lines[: line - 1], ",".join(cells), *lines[line:]])


def test_the_writer_makes_the_layout_of_the_app(lines, native, sample):
    assert lines[0].startswith(HEADER_START)
    assert JAW in lines[0]
    assert "MouthPucker,MouthRight,MouthLeft,MouthSmileLeft" in lines[0]
    assert lines[0].endswith("TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,"
                             "RightEyeYaw,RightEyePitch,RightEyeRoll")  # fmt: skip
    assert lines[1].startswith(f"13:59:58:00.000,61,{sample['activation'].values[0, 0]:.10f},")
    assert lines[61].startswith("13:59:59:00.000,61,")
    assert all(line.count(",") == 62 for line in lines)
    assert not native["live-link-face-csv"].startswith(b"\xef\xbb\xbf")
    assert b"\r" not in native["live-link-face-csv"]


@given(st.lists(st.floats(-9.5, 9.5, width=32), min_size=1, max_size=30))
def test_the_writer_rounds_as_printf_does(values):
    row = np.array([values], np.float32)
    timecode = np.frombuffer(b"00:00:00:00.000", np.uint8)[None]
    expected = ",".join(["00:00:00:00.000", str(len(values)), *(f"{value:z.10f}" for value in row[0])]) + "\n"
    assert _rows_of_text(timecode, row).decode() == expected


def test_both_spellings_of_the_count_and_any_order_of_columns(lines, read, sample):
    rows = [line.split(",") for line in lines]
    order = [0, 1, *np.random.default_rng(0).permutation(np.arange(2, 63))]
    shuffled = [",".join(row[column] for column in order) for row in rows]
    shuffled[0] = shuffled[0].replace("BlendShapeCount", "BlendshapeCount")
    recording = read(joined(shuffled))
    np.testing.assert_array_equal(recording["activation"].values, sample["activation"].values)
    np.testing.assert_array_equal(recording["head"].values, sample["head"].values)


@pytest.mark.parametrize(
    ("name", "calibrated"), [("a_raw.csv", "no"), ("a_CAL.csv", "yes"), ("a.csv", "unknown")]
)
def test_calibration_is_known_from_the_name(native, read, name, calibrated):
    assert read(native["live-link-face-csv"], name).attrs["calibrated"] == calibrated


def test_a_take_of_30_frames_a_second_counts_to_60(make, read, tmp_path):
    content = make.written(write_live_link_face_csv, make.sample(90, rate=30), tmp_path)
    recording = read(content)
    assert recording.attrs["nominal_rate"] == 30
    assert recording.attrs["effective_rate"] == pytest.approx(30)


def test_time_is_the_timecode_and_not_the_row(make, read, tmp_path):
    drifting = make.sample(600)
    times = np.arange(600) / 59.904
    recording = read(make.written(write_live_link_face_csv, drifting.assign_coords(time=times), tmp_path))
    np.testing.assert_allclose(recording["time"].values, times, atol=1.7e-5)
    assert (
        abs(recording["time"].values[-1] - 599 / 60) > 0.015
    )  # the saboteur: row / 60 is 16 ms off after 10 s


def test_a_take_over_midnight(make, read, tmp_path):
    sample = make.sample()
    sample.attrs["start"] = "23:59:59:30.000"
    recording = read(make.written(write_live_link_face_csv, sample, tmp_path))
    np.testing.assert_allclose(recording["time"].values, sample["time"].values, atol=1e-7)
    assert recording.attrs["start"] == "23:59:59:30.000"


def test_values_just_above_one_are_kept_and_bom_and_crlf_read(lines, read):
    content = with_cell(lines, 5, 4, "1.0530000000").replace(b"\n", b"\r\n")
    assert read(b"\xef\xbb\xbf" + content)["activation"].values.max() == np.float32(1.053)


def test_a_frame_without_a_face_is_not_tracked(lines, read):
    cells = lines[9].split(",")
    rows = [*lines[:9], ",".join([cells[0], "0", *[""] * 61]), *lines[10:]]
    lost = np.isnan(read(joined(rows))["activation"].values)
    assert lost[8].all()
    assert lost.sum() == 52


def test_untracked_frames_are_written_as_holes(sample, read, make, tmp_path):
    lost = sample.copy(deep=True)
    lost["activation"].values[10:20] = np.nan
    recording = read(make.written(write_live_link_face_csv, lost, tmp_path))
    assert recording.sizes["time"] == 170
    assert np.diff(recording["time"].values).max() == pytest.approx(11 / 60)


def test_repeated_rows_are_left_out_and_said(lines, read, sample):
    recording = read(joined([*lines[:20], lines[19], *lines[20:]]))
    np.testing.assert_array_equal(recording["activation"].values, sample["activation"].values)
    assert recording.attrs["warnings"] == "1 repeated frame left out"


def test_missing_columns_are_named(lines, refused):
    rows = [line.split(",") for line in lines]
    drop = [rows[0].index("MouthSmileLeft"), rows[0].index("TongueOut")]
    short = [",".join(cell for column, cell in enumerate(row) if column not in drop) for row in rows]
    message = refused(joined(short), "take_raw.csv")
    assert "take_raw.csv, line 1" in message
    assert "mouthSmileLeft, tongueOut are missing" in message


@pytest.mark.parametrize("column", ["Timecode", "BlendShapeCount"])
def test_a_missing_first_column_is_named(lines, refused, column):
    index = lines[0].split(",").index(column)
    rows = [",".join(cell for place, cell in enumerate(line.split(",")) if place != index) for line in lines]
    assert f"{column} is missing" in refused(joined(rows))


def test_half_a_head_is_refused(lines, refused):
    rows = [line.rsplit(",", 1)[0] for line in lines]
    assert "RightEyeRoll is missing" in refused(joined(rows))


def test_generated_files_are_refused_and_told_why(lines, refused):
    emotions = ["EmotionJoy", "EmotionAnger", "EmotionFear", "EmotionSadness", "EmotionNeutral"]
    rows = [lines[0] + "," + ",".join(emotions), *(line + ",0.0" * 5 for line in lines[1:])]
    message = refused(joined(rows))
    assert "expected the 63 columns of Live Link Face, found 68" in message
    assert "EmotionJoy" in message
    assert "generated from sound" in message


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-inf", "1e60", "", "0,5", "1_0"])
def test_text_where_a_number_belongs_names_line_and_column(lines, refused, text):
    message = refused(with_cell(lines, 7, 3, text))
    if text == "0,5":
        assert "line 7: expected 63 cells as in the header, found 64" in message
    else:
        assert "line 7, column EyeLookDownLeft: expected a finite number" in message
        assert repr(text) in message or text in ("inf", "-inf", "1e60")


def test_text_in_the_head_and_count_columns_too(lines, refused):
    assert "line 7, column HeadYaw" in refused(with_cell(lines, 7, 54, "x"))
    assert "line 7, column RightEyeRoll" in refused(with_cell(lines, 7, 62, "x"))
    assert "line 7, column BlendShapeCount: expected 61" in refused(with_cell(lines, 7, 1, "60"))


def test_a_line_cut_short_is_named(lines, refused):
    message = refused(joined(lines)[:-300])
    assert "line 181: expected 63 cells as in the header, found" in message
    assert "delete this line" in message


def test_timecodes_that_go_back_are_named(lines, refused):
    message = refused(joined([*lines[:100], lines[50], *lines[100:]]))
    assert "line 101: expected timecodes that increase" in message


def test_empty_lines_do_not_shift_the_line_numbers(lines, refused):
    message = refused(joined([*lines[:10], "", "", *lines[10:100], lines[50], *lines[100:]]))
    assert "line 103: expected timecodes that increase" in message


def test_a_bad_timecode_is_named(lines, refused):
    assert "line 7: expected a timecode" in refused(with_cell(lines, 7, 0, "half past ten"))


def test_two_columns_of_one_shape_are_refused(lines, refused):
    header = lines[0].replace("EyeLookDownLeft", "eyeBlink_L")
    assert "eyeBlink_L" in refused(joined([header, *lines[1:]]))
    header = lines[0].replace("EyeLookDownLeft", "eyeBlinkLeft")
    assert "expected each blend shape once, found eyeBlinkLeft more than once" in refused(
        joined([header, *lines[1:]])
    )


def test_other_encodings_and_separators_are_refused(lines, refused):
    text = joined(lines)
    assert "UTF-16" in refused(text.decode().encode("utf-16"))
    latin = with_cell(lines, 7, 3, "grün").decode().encode("latin-1")
    assert "line 7: expected UTF-8 text, found the byte 0xfc" in refused(latin)
    assert "semicolons" in refused(text.replace(b",", b";"))
    assert "tabs" in refused(text.replace(b",", b"\t"))


def test_a_header_alone_is_an_empty_recording(lines, refused):
    assert "expected one line a frame below the header, found none" in refused(joined(lines[:1]))


def test_hours_without_a_frame_are_two_recordings(lines, refused):
    later = [line.replace("13:59:59", "15:59:59").replace("14:00:00", "16:00:00") for line in lines]
    assert "2.0 h without a frame after frame 60" in refused(joined(later))


def test_the_writer_refuses_half_tracked_frames(sample, tmp_path):
    lost = sample.copy(deep=True)
    lost["activation"].values[10, NAMES.index("jawOpen")] = np.nan
    with pytest.raises(Exception, match="tracked as a whole or not at all"):
        write_live_link_face_csv(lost, tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []
