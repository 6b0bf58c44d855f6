"""Uploads: content decides, limits hold, names are only words, and whatever is wrong is one sentence."""

import contextlib
import gzip
import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from mien.capture.formats import write_gesichter, write_live_link_face_csv
from mien.reports_app.app import uploads
from mien.reports_app.app.uploads import read_upload, read_uploaded_events
from mien.study.blend_shapes import NAMES
from mien.study.errors import MienError, RecordingError, StudyError
from mien.study.recording import make_recording

NAMES_OF_ATTACKS = (
    "../../../etc/passwd",
    "C:\\Windows\\x.csv",
    "/dev/zero",
    "a\n\x1b[2Jb",
    "",
    "x" * 5_000,
    "nul\0",
)
EVENTS = b"onset\tduration\tstimulus_id\n1.0\t2.0\thappy\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    values = np.random.default_rng(0).uniform(0, 1, (90, len(NAMES))).astype(np.float32)
    recording = make_recording(np.arange(90) / 60, values, NAMES, format="made", start="09:00:00:00.000")
    write_live_link_face_csv(recording, folder / "a.csv")
    write_gesichter(recording, folder / "a.gesichter")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def upload(content, name="a.csv", size=None):
    return read_upload(name, io.BytesIO(content), size)


def refused(content, name="a.csv", size=None):
    with pytest.raises(RecordingError) as found:
        upload(content, name, size)
    return str(found.value)


def test_content_decides_whatever_the_name_says(written):
    for content in (
        *written.values(),
        zipped(take__a_raw=written["a.csv"]),
        gzip.compress(written["a.csv"], mtime=0),
    ):
        for name in ("a.png", "take.zip", "a.exe"):
            assert upload(content, name).sizes["time"] == 90


def test_a_page_that_runs_again_reads_the_same_file_again(written):
    recording, events = io.BytesIO(written["a.csv"]), io.BytesIO(EVENTS)
    for _ in range(2):
        assert read_upload("a.csv", recording).sizes["time"] == 90
        assert len(read_uploaded_events("e.tsv", events)) == 1


@pytest.mark.parametrize("name", NAMES_OF_ATTACKS)
def test_names_are_words_in_a_message_and_lead_nowhere(name, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert upload(written["a.csv"], name).sizes["time"] == 90
    message = refused(b"\x00nothing", name)
    told = message.partition(": ")[0]
    assert "/" not in told
    assert "\\" not in told
    assert told.isprintable()
    assert 0 < len(told) <= 61
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_limit_is_refused_before_it_is_read(written, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_BYTES", 1_000)

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            found = super().read(size)
            Counting.taken += len(found)
            return found

    with pytest.raises(RecordingError, match="at most"):
        read_upload("a.csv", Counting(written["a.csv"]), 10)  # a size that lies
    assert Counting.taken <= 1_001
    with pytest.raises(RecordingError, match="at most"):
        read_upload("a.csv", Counting(written["a.csv"]), 10**9)
    assert Counting.taken <= 1_001


def test_what_unpacks_to_much_is_refused_in_little_memory(monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UNPACKED", 8_000_000)
    noise = np.random.default_rng(0).integers(0, 9, 3_000_000, dtype=np.uint8).tobytes()
    bomb = noise + bytes(100_000_000)
    attacks = [gzip.compress(bomb, 1, mtime=0), zipped(a=bomb)]
    nested = [zipped(a=gzip.compress(bomb, 1, mtime=0)), zipped(a=zipped(b=b"x"))]
    tracemalloc.start()
    for attack in attacks:
        assert "once unpacked" in refused(attack)
    for attack in nested:
        assert "packed ones" in refused(attack)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_zip_that_leads_outside_is_refused(written):
    assert "leads outside" in refused(zipped(**{"..__..__x.csv": written["a.csv"]}))


def test_a_video_in_a_take_is_not_opened(written):
    take = zipped(**{"a.mov": b"\x1f\x8b not looked at", "a_raw.csv": written["a.csv"]})
    assert upload(take).sizes["time"] == 90


class _Attack:
    def __reduce__(self):
        return (open, ("pickled", "w"))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 100, b"PK", b"PK\x03\x04", b"\x1f\x8b", b"\x1f\x8b\x08", b"<html><script>alert(1)</script></html>",
        b"\x80\x04.", b"MZ\x90", b"\x00\x00\x00\x18ftypmp42", "Timecode,BlendShapeCount\n".encode("utf-16"),
        pickle.dumps(_Attack()), gzip.compress(pickle.dumps(_Attack())), zipped(a=pickle.dumps(_Attack())),
    ],
    ids=lambda _: "",  # bytes with the time in them would name a test anew in every process
)  # fmt: skip
def test_malformed_uploads_are_one_sentence_and_pickles_run_nothing(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "a.pkl"):
        message = refused(content, name)
        assert "\n" not in message
        assert message.startswith(name)
    with pytest.raises(MienError):
        read_uploaded_events("e.tsv", io.BytesIO(content))
    assert list(tmp_path.iterdir()) == []


def test_a_recording_cut_anywhere_is_read_or_refused(written):
    packed = zipped(a=written["a.csv"])
    for content in (*written.values(), packed):
        for end in range(1, len(content), max(1, len(content) // 25)):
            with contextlib.suppress(RecordingError):
                upload(content[:end])


def test_events_are_read_as_the_study_reads_them():
    table = read_uploaded_events("e.tsv", io.BytesIO(EVENTS))
    assert table["onset"].tolist() == [1.0]
    assert read_uploaded_events("e", io.BytesIO(EVENTS.replace(b"\t", b";")))["stimulus_id"].tolist() == [
        "happy"
    ]


@pytest.mark.parametrize("name", NAMES_OF_ATTACKS)
def test_events_that_are_none_tell_the_name_and_no_path_of_this_machine(name, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    for content in (
        EVENTS.replace(b"1.0", b"=1+1"),
        EVENTS.replace(b"2.0", b"-2"),
        b"\xff" + EVENTS,
        b"onset\n",
    ):
        with pytest.raises(StudyError) as found:
            read_uploaded_events(name, io.BytesIO(content))
        assert str(tmp_path) not in str(found.value)
        assert str(found.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_too_many_events_are_refused():
    with pytest.raises(StudyError, match="at most 5 MB"):
        read_uploaded_events("e.tsv", io.BytesIO(EVENTS + b"1\t2\tx\n" * 1_000_000))


def test_nothing_here_loads_pickles_or_evaluates():
    import ast
    from pathlib import Path

    from mien.reports_app import app

    dangerous = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    for path in Path(app.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not {name.partition(".")[0] for name in imported} & dangerous, path.name
        assert not called & {"eval", "exec", "compile", "__import__"}, path.name
