"""Containers: take folders and zips, video left alone, and everything that a hostile or broken one can be."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest

from mien.capture.formats import read_recording
from mien.study.errors import RecordingError
from mien.study.recording import same_recording

VIDEO = b"\x00\x00\x00\x18ftypqt  " + b"\0" * 100
FRAME_LOG = b"V,0,1700000000.1,12:00:00:00.000\nA,0,1700000000.1\n"


@pytest.fixture
def csv(native) -> bytes:
    return native["live-link-face-csv"]


@pytest.fixture
def take(csv, tmp_path):
    folder = tmp_path / "20260105_AnnaSchmidt_1"
    folder.mkdir()
    (folder / "AnnaSchmidt_1_iPhone.mov").write_bytes(VIDEO)
    (folder / "AnnaSchmidt_1_raw.csv").write_bytes(csv)
    (folder / "AnnaSchmidt_1_cal.csv").write_bytes(csv.replace(b"0.1", b"0.0"))
    (folder / "take.json").write_text('{"version": 1}')
    (folder / "thumbnail.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 50)
    return folder


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def message_of(path) -> str:
    with pytest.raises(RecordingError) as error:
        read_recording(path)
    return str(error.value)


def test_the_raw_file_of_a_take_is_read_and_the_rest_said(take, sample):
    recording = read_recording(take)
    assert same_recording(recording, sample)
    assert recording.attrs["calibrated"] == "no"
    assert recording.attrs["warnings"].split("\n") == [
        "1 video left where it is, unopened",
        "the take holds a raw and a neutral-calibrated file; the raw one was read",
    ]


def test_video_is_never_opened(take, monkeypatch):
    from pathlib import Path

    opened = Path.open

    def guarded(self, *args, **options):
        assert self.suffix != ".mov", "a video was opened"
        return opened(self, *args, **options)

    def read_guarded(self):
        with guarded(self, "rb") as file:
            return file.read()

    monkeypatch.setattr(Path, "open", guarded)
    monkeypatch.setattr(Path, "read_bytes", read_guarded)
    assert read_recording(take).sizes["time"] == 180
    with pytest.raises(RecordingError, match="never opens video"):
        read_recording(take / "AnnaSchmidt_1_iPhone.mov")


def test_a_calibrated_file_alone_is_read(take):
    (take / "AnnaSchmidt_1_raw.csv").unlink()
    assert read_recording(take).attrs["calibrated"] == "yes"


def test_a_zipped_take_is_the_same(take, csv, read, sample):
    files = {f"20260105_AnnaSchmidt_1/{file.name}": file.read_bytes() for file in take.iterdir()}
    recording = read(zipped(files), "take.zip")
    assert same_recording(recording, sample)
    assert "Anna" not in str(recording.attrs)


def test_two_takes_are_refused_with_their_names(take, csv):
    (take / "AnnaSchmidt_2_raw.csv").write_bytes(csv)
    assert "expected one take, found 3 recordings" in message_of(take)


def test_a_damaged_neighbour_does_not_matter(take, sample):
    (take / "old.gz").write_bytes(b"\x1f\x8b" + b"x" * 50)
    assert same_recording(read_recording(take), sample)


def test_a_video_alone_is_refused(tmp_path, refused, read):
    assert "only a video" in refused(VIDEO, "take.mov")
    assert "found a video" in refused(VIDEO, "take.bin")
    folder = tmp_path / "take"
    folder.mkdir()
    (folder / "take_iPhone.mov").write_bytes(VIDEO)
    assert "only a video: mien never opens video" in message_of(folder)
    assert "only a video" in refused(zipped({"a/take_iPhone.mov": VIDEO}), "take.zip")


def test_a_frame_log_is_refused_and_told_why(tmp_path, refused):
    assert "MetaHuman Animator mode" in refused(FRAME_LOG, "frame_log.csv")
    assert "MetaHuman Animator mode" in refused(FRAME_LOG, "other.csv")
    folder = tmp_path / "take"
    folder.mkdir()
    (folder / "frame_log.csv").write_bytes(FRAME_LOG)
    (folder / "video.mov").write_bytes(VIDEO)
    assert "frame_log.csv, which holds times of video and sound" in message_of(folder)


def test_nothing_there_is_said(tmp_path, refused):
    assert "no file of this name" in message_of(tmp_path / "absent.csv")
    assert "found no file" in message_of(tmp_path)
    assert "found an empty file" in refused(b"", "a.csv")
    assert "found an empty file" in refused(b"\n\n", "a.csv")
    assert "found an empty file" in refused(gzip.compress(b""), "a.gz")
    assert "expected a take with …_raw.csv" in refused(zipped({}), "a.zip")
    assert "found none of these in its first bytes" in refused(b"hello, world\n1,2\n", "a.csv")


def test_paths_that_cannot_be_opened_are_said(tmp_path, take, monkeypatch):
    assert "check the path" in message_of(tmp_path / ("a" * 5000))
    assert "check the path" in message_of("a\0b")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(take), "iterdir", refuse)
    assert "expected a readable folder, but Permission denied" in message_of(take)


def test_a_device_is_no_recording():
    assert "something else (a device or a socket)" in message_of("/dev/null")


@pytest.mark.parametrize(
    "name", ["../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "..\\evil.csv", "C:\\evil.csv"]
)
def test_paths_that_lead_outside_a_zip_are_refused(csv, refused, name, tmp_path):
    packed = zipped({"take_raw.csv": csv, name: b"x"})
    assert "which leads outside of it" in refused(packed, "take.zip")
    assert [file.name for file in tmp_path.rglob("*") if file.name != "take.zip"] == []


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_truncated_zips_and_gzips_are_refused(csv, refused, keep):
    packed = zipped({"take_raw.csv": csv})
    assert "cut short or damaged" in refused(packed[: int(keep * len(packed))], "take.zip")
    packed = gzip.compress(csv)
    assert "cut short" in refused(packed[: int(keep * len(packed))], "take.csv.gz")


def test_damage_within_is_refused(csv, refused):
    packed = bytearray(zipped({"take_raw.csv": csv}))
    packed[len(packed) // 2] ^= 255
    assert "cut short or damaged" in refused(bytes(packed), "take.zip")
    packed = bytearray(gzip.compress(csv))
    packed[len(packed) // 2] ^= 255
    assert "damaged" in refused(bytes(packed), "take.gz")
    assert "found 5 more bytes" in refused(gzip.compress(csv) + b"extra", "take.gz")


def test_what_unpacks_to_a_hundred_times_its_size_is_refused(csv, refused):
    zeros = csv.splitlines()[0] + b"\n" + b"0" * 20_000_000
    assert "unpacks to at most 100 times its packed size" in refused(zipped({"take_raw.csv": zeros}), "a.zip")
    assert "unpacks to at most 100 times its packed size" in refused(gzip.compress(zeros), "a.gz")


def test_many_small_members_that_are_a_bomb_together_are_refused(refused):
    files = {f"{number}.csv": b"0" * 900_000 for number in range(30)}
    assert "unpacks to at most 100 times its packed size" in refused(zipped(files), "a.zip")


def test_what_claims_to_be_gigabytes_is_refused(csv, refused):
    packed = bytearray(zipped({"take_raw.csv": csv}))
    entry = packed.rindex(b"PK\x01\x02")
    packed[entry + 24 : entry + 28] = struct.pack("<I", 3_000_000_000)
    assert "expected at most 2 GB" in refused(bytes(packed), "a.zip")


def test_a_huge_video_in_a_zip_does_not_matter(csv, read, sample):
    recording = read(zipped({"take_raw.csv": csv, "take_iPhone.mov": b"\0" * 20_000_000}), "take.zip")
    assert same_recording(recording, sample)


def test_an_encrypted_zip_is_refused(csv, refused):
    packed = bytearray(zipped({"take_raw.csv": csv}))
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    assert "found an encrypted one" in refused(bytes(packed), "a.zip")


def test_a_zip_in_a_zip_is_not_followed(csv, refused):
    assert "expected a take" in refused(zipped({"inner.zip": zipped({"take_raw.csv": csv})}), "a.zip")


def test_still_faces_pack_well_and_are_read(make, read, tmp_path):
    from mien.capture.formats import write_live_link_face_csv

    still = make.sample(1000, head=False)
    still["activation"].values[:] = 0
    content = make.written(write_live_link_face_csv, still, tmp_path)
    assert len(content) < 1_000_000
    assert read(gzip.compress(content), "a.gz").sizes["time"] == 1000
    assert np.all(read(zipped({"a_raw.csv": content}), "a.zip")["activation"].values == 0)
