"""Every bad input that the issue names, through the command line: exit code 2, one message, nothing written or lost."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest

from mien.capture.formats import write_gesichter, write_live_link_face_csv
from mien.cli import main
from mien.study.blend_shapes import NAMES
from mien.study.recording import make_recording

STIMULI = "stimulus_id\tvalence\tmedium\tduration\nhappy\tpositive\tpicture\t1\nsad\tnegative\tpicture\t1\n"
EVENTS = "onset\tduration\tstimulus_id\n2\t1\thappy\n5\t1\tsad\n"


def recording(seed=0, frames=480):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0, 0.004, size=(frames, len(NAMES))), axis=0) + 0.3
    return make_recording(
        np.arange(frames) / 60, values.clip(0, 1), NAMES, format="live-link-face-csv", start="09:00:00:00.000"
    )


@pytest.fixture(scope="module")
def good_csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good_raw.csv"
    write_live_link_face_csv(recording(), path)
    return path.read_text()


@pytest.fixture(scope="module")
def good_packets(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.gesichter"
    write_gesichter(recording(), path)
    return gzip.decompress(path.read_bytes())


def run(capsys, *arguments):
    """(exit code, standard output, standard error) of a command."""
    capsys.readouterr()
    import sys

    before, sys.argv = sys.argv, ["mien", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as stop:
            main()
    finally:
        sys.argv = before
    out, error = capsys.readouterr()
    return stop.value.code or 0, out, error


def below(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def lines(text):
    return text.split("\n")


def with_cell(csv, row, column, value):
    rows = lines(csv)
    cells = rows[row].split(",")
    cells[column] = value
    rows[row] = ",".join(cells)
    return "\n".join(rows)


def missing_column(csv):
    return "\n".join(",".join(row.split(",")[:20] + row.split(",")[21:]) for row in lines(csv))


def generated_68_columns(csv):
    rows = lines(csv)
    extra = ["Happy,Sad,Angry,Surprised,Disgusted"] + ["0.1,0.2,0.1,0.0,0.3"] * (len(rows) - 2)
    return "\n".join(f"{row},{more}" for row, more in zip(rows, extra, strict=False))


def two_columns_of_one_name(csv):
    rows = lines(csv)
    return "\n".join([rows[0].replace("EyeSquintLeft", "EyeBlinkLeft"), *rows[1:]])


def backwards(csv):
    rows = lines(csv)
    return "\n".join([*rows[:100], *rows[50:80], *rows[100:]])


BAD_TEXTS = {
    "missing column": (missing_column, "EyeLookOutRight|EyeLookUpRight|MouthFunnel|JawOpen|column"),
    "68 columns": (generated_68_columns, "Happy|68|column"),
    "empty": (lambda csv: "", "empty"),
    "text where a number belongs": (lambda csv: with_cell(csv, 7, 5, "abc"), "abc"),
    "NaN": (lambda csv: with_cell(csv, 7, 5, "nan"), "(?i)nan"),
    "infinite": (lambda csv: with_cell(csv, 7, 5, "inf"), "(?i)inf"),
    "backwards": (backwards, "(?i)timecode|back|before"),
    "two of one name": (two_columns_of_one_name, "EyeBlinkLeft|eyeBlinkLeft"),
    "frame log": (lambda csv: "A,0,1.0,2.0\nV,1,1.0,2.0\n", "frame log"),
    "header only": (lambda csv: lines(csv)[0] + "\n", "row|frame"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_recordings_are_refused_whole(name, good_csv, tmp_path, capsys):
    make, message = BAD_TEXTS[name]
    source = tmp_path / "frame_log.csv" if name == "frame log" else tmp_path / "take_raw.csv"
    source.write_text(make(good_csv))
    code, out, error = run(
        capsys, "import", source, "--study", tmp_path / "study", "--participant", "01", "--task", "met"
    )
    assert code == 2
    assert out == ""
    message_lines = [line for line in error.splitlines() if line.startswith("mien: ")]
    assert len(message_lines) == 1
    assert source.name in message_lines[0]
    import re

    assert re.search(message, error)
    assert not (tmp_path / "study").exists()


def test_crossing_midnight_is_valid(tmp_path, capsys):
    late = recording()
    late.attrs["start"] = "23:59:56:00.000"
    write_live_link_face_csv(late, tmp_path / "late_raw.csv")
    code, _, _ = run(
        capsys,
        "import",
        tmp_path / "late_raw.csv",
        "--study",
        tmp_path / "study",
        "--participant",
        "01",
        "--task",
        "met",
    )
    assert code == 0


def zip_with(name, content, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def packet_with_length(packets, length):
    """The first packet's device id claims to be `length` bytes long."""
    return packets[:10] + struct.pack(">i", length) + packets[14:]


BAD_BYTES = {
    "truncated gzip": (lambda csv, packets: gzip.compress(csv.encode())[:-2000], "cut|damaged|ends"),
    "truncated zip": (lambda csv, packets: zip_with("x_raw.csv", csv)[:-300], "zip"),
    "zip with ../": (lambda csv, packets: zip_with("../x_raw.csv", csv), r"\.\./|outside"),
    "zip bomb": (lambda csv, packets: zip_with("x_raw.csv", b"0" * 300_000_000), "100|unpack"),
    "gzip bomb": (lambda csv, packets: gzip.compress(b"0" * 300_000_000), "100|unpack"),
    "packets cut short": (lambda csv, packets: gzip.compress(packets[:-37]), "cut|short|ends|expected"),
    "absurd length": (
        lambda csv, packets: gzip.compress(packet_with_length(packets, 2_000_000_000)),
        "length|bytes|long",
    ),
    "another version": (lambda csv, packets: gzip.compress(packets[:9] + b"\x07" + packets[10:]), "version"),
    "not UTF-8": (
        lambda csv, packets: csv.replace("Timecode", "Timecod\xe9", 1).encode("latin-1"),
        "UTF-8|recording",
    ),
    "a video": (lambda csv, packets: b"\x00\x00\x00\x18ftypmp42" + bytes(3000), "video"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bad_containers_are_refused_whole(name, good_csv, good_packets, tmp_path, capsys):
    import re

    make, message = BAD_BYTES[name]
    source = tmp_path / ("take.mov" if name == "a video" else "take.bin")
    source.write_bytes(make(good_csv, good_packets))
    code, out, error = run(
        capsys, "import", source, "--study", tmp_path / "study", "--participant", "01", "--task", "met"
    )
    assert (code, out) == (2, "")
    assert re.search(message, error)
    assert "Traceback" not in error
    assert not (tmp_path / "study").exists()
    assert not list(tmp_path.glob(".mien-*"))


@pytest.fixture
def ready(tmp_path, capsys, good_csv):
    """A study that can be prepared."""
    study, source, events = tmp_path / "study", tmp_path / "take_raw.csv", tmp_path / "events.tsv"
    source.write_text(good_csv)
    events.write_text(EVENTS)
    run(capsys, "new", study)
    (study / "stimuli" / "stimuli.tsv").write_text(STIMULI)
    code, _, error = run(
        capsys, "import", source, "--study", study, "--participant", "01", "--task", "met",
        "--events", events, "--clock", "same",
    )  # fmt: skip
    assert code == 0, error
    return study


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


BAD_STUDIES = {
    "doubled participant": (
        "participants.tsv",
        "sub-01",
        "sub-01\tn/a\tn/a\tn/a\nsub-01",
        "line 3.*participant_id",
    ),
    "events outside the recording": (
        "sub-01/motion/sub-01_task-met_run-1_events.tsv",
        "\n5\t",
        "\n500\t",
        "within the recording",
    ),
    "unknown stimulus": (
        "sub-01/motion/sub-01_task-met_run-1_events.tsv",
        "happy",
        "hapy",
        "did you mean 'happy'",
    ),
    "valence misspelt": (
        "stimuli/stimuli.tsv",
        "positive",
        "positiv",
        "line 2, column valence.*did you mean 'positive'",
    ),
    "no stimuli": ("stimuli/stimuli.tsv", STIMULI, "", "stimuli.tsv"),
    "decimal comma": ("sub-01/motion/sub-01_task-met_run-1_events.tsv", "\n5\t", "\n5,5\t", "decimal point"),
    "not aligned": (
        "sub-01/motion/sub-01_task-met_run-1_events.json",
        "ClockAlignment",
        "Other",
        "mien align",
    ),
    "recipe with code": ("mien.toml", "# [recipe]", '[recipe]\nbin = "__import__(1)"', "bin"),
}


@pytest.mark.parametrize("name", BAD_STUDIES)
def test_bad_studies_are_refused_by_prep(name, ready, capsys):
    import re

    file, old, new, message = BAD_STUDIES[name]
    change(ready / file, old, new)
    before = below(ready)
    code, out, error = run(capsys, "prep", ready, "--workers", "1")
    assert (code, out) == (2, "")
    assert re.search(message, error), error
    assert below(ready) == before


@pytest.mark.parametrize("command", ["check", "prep", "fit", "report", "export"])
def test_commands_on_no_study_say_what_is_missing(command, tmp_path, capsys):
    more = ["--model", "valence"] if command == "fit" else []
    code, _, error = run(capsys, command, tmp_path / "nothing", *more)
    assert code == 2
    assert "mien new" in error


@pytest.mark.parametrize(
    "missing", ["participants.tsv", "stimuli/stimuli.tsv", "sub-01/motion/sub-01_task-met_run-1_events.tsv"]
)
def test_check_prep_and_fit_name_the_missing_table(missing, ready, capsys):
    (ready / missing).unlink()
    for command in (["check"], ["prep"], ["fit", "--model", "valence"]):
        code, out, error = run(capsys, command[0], ready, *command[1:])
        assert code == 2
        assert missing.split("/")[-1] in out + error


def test_the_same_take_twice(ready, tmp_path, capsys):
    before = below(ready)
    code, _, error = run(
        capsys, "import", tmp_path / "take_raw.csv", "--study", ready, "--participant", "02", "--task", "met"
    )
    assert code == 2
    assert "already" in error
    assert below(ready) == before


def test_a_sessions_table_lists_every_bad_row(tmp_path, capsys, good_csv):
    (tmp_path / "good_raw.csv").write_text(good_csv)
    (tmp_path / "bad.csv").write_text("x\n")
    rows = [
        ("good_raw.csv", "01", "met"),
        ("bad.csv", "02", "met"),
        ("absent.csv", "03", "met"),
        ("good_raw.csv", "0 4", "met"),
    ]
    pd.DataFrame(rows, columns=["source", "participant", "task"]).to_csv(
        tmp_path / "sessions.tsv", sep="\t", index=False
    )
    code, _, error = run(
        capsys, "import", "--sessions", tmp_path / "sessions.tsv", "--study", tmp_path / "study"
    )
    assert code == 2
    assert "line 5" in error
    pd.DataFrame(rows[:3], columns=["source", "participant", "task"]).to_csv(
        tmp_path / "sessions.tsv", sep="\t", index=False
    )
    code, _, error = run(
        capsys, "import", "--sessions", tmp_path / "sessions.tsv", "--study", tmp_path / "study"
    )
    assert code == 2
    assert "line 3" in error
    assert "line 4" in error
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prp", "x"], "prp"),
        (["import", "x.csv"], "--study"),
        (["import", "--study", "x"], "SOURCE"),
        (["fit", "x"], "--model"),
        (["demo", "--participants", "2"], "participants"),
    ],
)
def test_usage_errors_are_one_message(arguments, message, capsys):
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
