"""Any bytes give a Recording or a MienError, soon and in little memory.

Three kinds of bytes: anything at all, valid files with damage (cut, doubled, overwritten, spliced with another format),
and files made to be slow or large. Time and memory are measured in a process of their own, CPU time so that a busy
machine does not fail them. `make test-soak` runs many more.
"""

import gzip
import io
import json
import random
import struct
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.capture.formats import FORMATS, encode_packet, read_markers, read_recording
from mien.capture.quality import quality_report
from mien.study.blend_shapes import NAMES
from mien.study.errors import MienError
from mien.study.recording import validate_recording

MEGABYTE = 1_000_000
MAX_SECONDS = 2.0
MAX_MEGABYTES = 200
QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LONG = settings(QUICK, max_examples=4_000, derandomize=False)

STARTS = [
    b"", b"XDF:", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x06", b"\x06\0\0\0", b"\x03\0\0\0\4", b"Timecode,", b"V,0",
    b"\xef\xbb\xbf", b"Timecode,BlendShapeCount,", b"Timecode, FrameRate,", b'{"Frames":[', b"_neutral,",
    b"jawOpen-1|",
]  # fmt: skip
WORDS = [
    b"", b"nan", b"inf", b"-1", b"1e999", b"9" * 400, b",", b"\n", b"\r", b"\0", b"|", b"=", b"{", b"}", b"[", b'"',
    b";", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xc3\xbc", b"00:00:00:00.000", b"Timecode",
]  # fmt: skip


@st.composite
def any_bytes(draw) -> bytes:
    """Up to 1 MB: a known start or none, then a short piece once or many times."""
    piece = draw(st.binary(max_size=200) | st.sampled_from(WORDS))
    times = draw(st.sampled_from([1, 1, 10, 1000, MEGABYTE // max(1, len(piece))]))
    return (draw(st.sampled_from(STARTS)) + piece * times + draw(st.binary(max_size=50)))[:MEGABYTE]


edits = st.lists(
    st.tuples(
        st.sampled_from(["cut", "delete", "double", "insert", "overwrite", "splice"]),
        st.floats(0, 1),
        st.integers(0, 400),
        st.sampled_from(WORDS) | st.binary(max_size=8),
        st.sampled_from(["live-link-face-csv", "live-link-face-udp", "xdf", "ifacialmocap"]),
    ),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, changes, native: dict[str, bytes]) -> bytes:
    for what, share, length, word, other in changes:
        at = int(share * len(content))
        rest = {
            "cut": b"",
            "delete": content[at + length :],
            "double": content[max(0, at - length) :],
            "insert": word + content[at:],
            "overwrite": word + content[at + len(word) :],
            "splice": native[other][at : at + length] + content[at:],
        }
        content = content[:at] + rest[what]
    return content[:MEGABYTE]


def recording_or_error(content: bytes, folder: Path) -> str:
    """Read the bytes; what comes must be a valid Recording with a report, or one clear message."""
    path = folder / "fuzzed"
    path.write_bytes(content)
    with suppress(MienError):
        read_markers(path)
    message = ""
    try:
        recording = validate_recording(read_recording(path, rate=30))
    except MienError as error:
        message = str(error)
    if message:
        assert "expected" in message
        assert len(message) < 1200
        assert message.isprintable()
        return "error"
    json.dumps(quality_report(recording, source="x"), allow_nan=False)
    return "recording"


def check_any(content, folder):
    recording_or_error(content, folder)


def check_edited(name, changes, native, folder):
    content = native[name]
    if name == "gesichter" and changes[0][2] % 2:  # within the gzip, so that the packets are reached
        recording_or_error(gzip.compress(edited(gzip.decompress(content), changes, native)), folder)
    else:
        recording_or_error(edited(content, changes, native), folder)


FORMAT_NAMES = [format.name for format in FORMATS]
names = st.sampled_from(FORMAT_NAMES)


@QUICK
@given(any_bytes())
def test_any_bytes(tmp_path, content):
    check_any(content, tmp_path)


@QUICK
@given(names, edits)
def test_damaged_files(tmp_path, native, name, changes):
    check_edited(name, changes, native, tmp_path)


@QUICK
@given(names, edits)
def test_damaged_zips(tmp_path, native, name, changes):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("20260105_slate_1/take_raw.csv", native[name])
    recording_or_error(edited(packed.getvalue(), changes, native), tmp_path)


@pytest.mark.soak
@LONG
@given(any_bytes())
def test_any_bytes_for_long(tmp_path, content):
    check_any(content, tmp_path)


@pytest.mark.soak
@LONG
@given(names, edits)
def test_damaged_files_for_long(tmp_path, native, name, changes):
    check_edited(name, changes, native, tmp_path)


def test_damage_reaches_the_parsers_and_not_only_the_sniffers(native, tmp_path):
    """The saboteur: were every mutated file unknown, the tests above would show nothing."""
    rng = random.Random(0)
    found = []
    for name, content in native.items():
        for _ in range(10):
            at = rng.randrange(len(content) // 2, len(content))
            found.append((name, recording_or_error(content[:at] + b"7" + content[at + 1 :], tmp_path)))
    assert {name for name, result in found if result == "recording"} >= {
        "live-link-face-csv",
        "mediapipe",
        "xdf",
    }
    assert {name for name, result in found if result == "error"} >= {
        "live-link-face-csv",
        "gesichter",
        "unreal-json",
    }


# --- Bounds of time and memory -----------------------------------------------------------------------------------

WORKER = """
import json, sys, time
from pathlib import Path
import pandas, pyarrow.csv, pyxdf, xarray          # importing them is not reading
from mien.capture.formats import read_recording
from mien.study.errors import MienError

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

Path("/proc/self/clear_refs").write_text("5")      # the peak begins anew
before, start = megabytes("VmRSS"), time.process_time()
try:
    result = "recording" if read_recording(Path(sys.argv[1]), rate=30) is not None else ""
except MienError:
    result = "error"
print(json.dumps([result, time.process_time() - start, megabytes("VmHWM") - before]))
"""


def costs(content: bytes, folder: Path) -> tuple[str, float, float]:
    """Result, CPU seconds and megabytes of reading `content` in a process of its own."""
    path = folder / "costly"
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return tuple(json.loads(done.stdout))


def costly(native: dict[str, bytes], make) -> dict[str, bytes]:
    """Files of about 1 MB that would be slow or large for a careless reader."""
    csv, tables = native["live-link-face-csv"], native["mediapipe"]
    header = csv.split(b"\n")[0] + b"\n"
    fields = b"|".join(f"{name}-1".encode() for name in NAMES)
    empty = [encode_packet(n, 0, None, device="", subject="") for n in range(MEGABYTE // 25)]
    many = [encode_packet(n, 0, None, device=str(n), subject="") for n in range(MEGABYTE // 30)]
    shapes = b"XDF:" + make.xdf_chunk(2, make.xdf_header([*NAMES], "int8", 60), 1)
    one = b"\x01\x01\x08"
    offsets = (make.xdf_chunk(4, struct.pack("<dd", n, n % 7 / 10), 1) for n in range(19_000))
    samples = (make.xdf_chunk(3, one + struct.pack("<d", n / 60) + b"\0" * 52, 1) for n in range(100))
    noise = random.Random(0).randbytes(900_000)
    return {
        "gzip bomb": gzip.compress(b"\0" * 90_000_000 + noise),
        "one long line": header + b"0," * (MEGABYTE // 2),
        "many columns": header[:-1] + b",jawOpen" * (MEGABYTE // 8),
        "rows of nothing": header + (b"," * 62 + b"\n") * (MEGABYTE // 63),
        "shortest rows": header + (b"0:0:0:0,61" + b",0" * 61 + b"\n") * (MEGABYTE // 133),
        "mediapipe columns": tables.split(b"\n")[0] + b",x" * (MEGABYTE // 2) + b"\n1",
        "nested json": b'{"Frames":' + b"[" * MEGABYTE,
        "empty json": b'{"Frames":[' + b"{}," * (MEGABYTE // 3) + b"{}]}",
        "packets without a face": b"".join(empty),
        "a face each packet": b"".join(many),
        "a log of spaces": fields + b"|\n1" + b" " * MEGABYTE + b"!",
        "a log of fields": fields + b"".join(b"|a%d-1" % n for n in range(110_000)) + b"|",
        "one letter": b"a" * MEGABYTE + b"-1|",
        "xdf samples one by one": shapes + b"".join(samples) * 130,
        "xdf clock offsets": shapes + b"".join(samples) + b"".join(offsets),
        "xdf tags": shapes[:-50] + b"<a/>" * (MEGABYTE // 4),
    }


COSTLIEST = ["gzip bomb", "packets without a face", "xdf clock offsets", "a log of fields", "shortest rows"]
linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc"
)


@linux
@pytest.mark.parametrize("name", COSTLIEST)
def test_the_costliest_megabytes_stay_in_bounds(name, native, make, tmp_path):
    _, seconds, megabytes = costs(costly(native, make)[name], tmp_path)
    assert seconds < MAX_SECONDS
    assert megabytes < MAX_MEGABYTES


@linux
@pytest.mark.soak
def test_all_costly_files_stay_in_bounds(native, make, tmp_path):
    for name, content in costly(native, make).items():
        _, seconds, megabytes = costs(content[: MEGABYTE + 100_000], tmp_path)
        assert seconds < MAX_SECONDS, name
        assert megabytes < MAX_MEGABYTES, name


@linux
@pytest.mark.soak
def test_repeated_and_damaged_megabytes_stay_in_bounds(native, tmp_path):
    rng = random.Random(1)
    for _ in range(150):
        content = rng.choice(list(native.values()))
        content = (content * (MEGABYTE // len(content)))[:MEGABYTE]
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(content))
            content = content[:at] + rng.choice(WORDS) * rng.randrange(1, 5000) + content[at:]
        _, seconds, megabytes = costs(content[:MEGABYTE], tmp_path)
        assert seconds < MAX_SECONDS
        assert megabytes < MAX_MEGABYTES


@linux
def test_the_measure_sees_a_costly_reader(tmp_path):
    """The saboteur: a reader that takes 300 MB and seconds is seen by the same measure."""
    slow = WORKER.replace(
        "from mien.study.errors import MienError",
        "from mien.study.errors import MienError\n"
        "def read_recording(path, rate):\n"
        "    block = bytearray(b'x') * 300_000_000\n"
        "    end = time.process_time() + 2.1\n"
        "    while time.process_time() < end: pass\n"
        "    return block",
    )
    done = subprocess.run(
        [sys.executable, "-c", slow, "x"], capture_output=True, text=True, timeout=60, check=True
    )
    _, seconds, megabytes = json.loads(done.stdout)
    assert seconds > MAX_SECONDS
    assert megabytes > MAX_MEGABYTES
