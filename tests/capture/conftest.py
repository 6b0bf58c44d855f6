"""One small recording, and the same as the bytes of every format: our own files in the layouts of docs/formats.md."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mien.capture.formats import write_gesichter, write_live_link_face_csv, write_packets
from mien.study.blend_shapes import NAMES
from mien.study.recording import make_recording

SECONDS = 3
MEDIAPIPE = [name for name in NAMES if name != "tongueOut"]


def make_sample(frames: int = 60 * SECONDS, *, rate: float = 60.0, head: bool = True, seed: int = 1):
    """On the grid of the writers (1/60 s, 10 decimals), so that writing loses nothing."""
    rng = np.random.default_rng(seed)
    values = np.round(np.clip(rng.normal(0.2, 0.2, (frames, 52)), 0, 1.05), 10).astype(np.float32)
    pose = np.round(rng.normal(0, 0.2, (frames, 3)), 10).astype(np.float32)
    return make_recording(
        np.arange(frames) / rate,
        values,
        NAMES,
        head=pose if head else None,
        format="sample",
        nominal_rate=rate,
        start="13:59:58:00.000",
        calibrated="no",
    )


def upper(name: str) -> str:
    return name[0].upper() + name[1:]


def written(write: Callable, recording, tmp: Path) -> bytes:
    write(recording, tmp / "written")
    return (tmp / "written").read_bytes()


def frame_numbers(recording) -> np.ndarray:
    return np.rint(recording["time"].values * 60).astype(int)


def unreal_csv(recording) -> bytes:
    lines = ["Timecode, FrameRate, " + ", ".join(upper(name) for name in NAMES)]
    for frame, row in zip(frame_numbers(recording), recording["activation"].values, strict=True):
        code = f"13:{frame // 3600}:{frame // 60 % 60}:{frame % 60}"
        lines.append(f"{code}, 60.000, " + ", ".join(f"{value:.3f}" for value in row))
    return "\r\n".join([*lines, ""]).encode()


def unreal_json(recording) -> bytes:
    frames = []
    for frame, row in zip(frame_numbers(recording), recording["activation"].values, strict=True):
        code = {
            "Hours": 13,
            "Minutes": int(frame // 3600),
            "Seconds": int(frame // 60 % 60),
            "Frames": int(frame % 60),
        }
        shapes = {upper(name): float(value) for name, value in zip(NAMES, row, strict=True)}
        frames.append({"TimeCode": code, "FrameRate": 60.0, **shapes})
    return json.dumps({"Frames": frames}).encode()


def suffixed(name: str) -> str:
    if name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        return name
    return (
        name.removesuffix("Left") + "_L"
        if name.endswith("Left")
        else (name.removesuffix("Right") + "_R" if name.endswith("Right") else name)
    )


def ifacialmocap(recording, *, times: bool = True, sign: str = "-") -> bytes:
    lines = []
    rows = zip(
        recording["time"].values, recording["activation"].values, recording["head"].values, strict=True
    )
    for time, row, (yaw, pitch, roll) in rows:
        fields = [
            f"{suffixed(name)}{sign}{round(100 * value)}" for name, value in zip(NAMES, row, strict=True)
        ]
        angles = ",".join(f"{np.degrees(angle):.4f}" for angle in (pitch, yaw, roll))
        text = (
            "|".join(reversed(fields)) + f"|trackingStatus{sign}1|hapihapi{sign}0|=head#{angles},0.1,0.2,-0.5"
        )
        lines.append(
            (f"{1_700_000_000 + time:.6f}|" if times else "") + text + "|rightEye#1,2,0|leftEye#1,2,0|"
        )
    return ("\n".join(lines) + "\n").encode()


def mediapipe(recording) -> bytes:
    lines = [",".join(["frame", "timestamp_ms", "_neutral", *MEDIAPIPE])]
    columns = [NAMES.index(name) for name in MEDIAPIPE]
    for number, row in enumerate(recording["activation"].values[:, columns]):
        lines.append(
            f"{number},{recording['time'].values[number] * 1000:.4f},0.001,"
            + ",".join(f"{v:.9g}" for v in row)
        )
    return ("\n".join(lines) + "\n").encode()


def xdf_chunk(tag: int, content: bytes, stream: int | None = None) -> bytes:
    body = struct.pack("<H", tag) + (b"" if stream is None else struct.pack("<I", stream)) + content
    return b"\x04" + struct.pack("<I", len(body)) + body


def xdf_header(labels: list[str], kind: str, rate: float) -> bytes:
    channels = "".join(f"<channel><label>{label}</label></channel>" for label in labels)
    return (
        f"<?xml version='1.0'?><info><name>Anna</name><type>Face</type><channel_count>{len(labels)}</channel_count>"
        f"<channel_format>{kind}</channel_format><nominal_srate>{rate}</nominal_srate><created_at>50</created_at>"
        f"<desc><channels>{channels}</channels></desc></info>"
    ).encode()


def xdf(recording, *, markers: tuple[tuple[float, str], ...] = ((0.5, "film_01"), (1.5, "film_02"))) -> bytes:
    labels = [*NAMES, "headYaw", "headPitch", "headRoll"]
    values = np.concatenate([recording["activation"].values, recording["head"].values], axis=1).astype("<f4")
    stamps = 100 + recording["time"].values
    samples = b"".join(
        b"\x08" + struct.pack("<d", t) + row.tobytes() for t, row in zip(stamps, values, strict=True)
    )
    texts = b"".join(
        b"\x08" + struct.pack("<d", 100 + t) + bytes([1, len(word)]) + word.encode() for t, word in markers
    )
    return (
        b"XDF:"
        + xdf_chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>")
        + xdf_chunk(2, xdf_header(labels, "float32", 60), 1)
        + xdf_chunk(2, xdf_header(["word"], "string", 0), 2)
        + xdf_chunk(3, b"\x04" + struct.pack("<I", len(values)) + samples, 1)
        + xdf_chunk(3, b"\x01" + bytes([len(markers)]) + texts, 2)
        + xdf_chunk(6, b"<info><sample_count>1</sample_count></info>", 1)
    )


@pytest.fixture(scope="session")
def sample():
    return make_sample()


@pytest.fixture(scope="session")
def native(sample, tmp_path_factory) -> dict[str, bytes]:
    """The sample as the bytes of every format, by the format's name."""
    tmp = tmp_path_factory.mktemp("native")
    return {
        "live-link-face-csv": written(write_live_link_face_csv, sample, tmp),
        "unreal-csv": unreal_csv(sample),
        "unreal-json": unreal_json(sample),
        "live-link-face-udp": written(write_packets, sample, tmp),
        "gesichter": written(write_gesichter, sample, tmp),
        "ifacialmocap": ifacialmocap(sample),
        "mediapipe": mediapipe(sample),
        "xdf": xdf(sample),
    }


@pytest.fixture(scope="session")
def make():
    """The functions above, for tests that need a file of their own."""
    return SimpleNamespace(
        sample=make_sample, unreal_csv=unreal_csv, unreal_json=unreal_json, ifacialmocap=ifacialmocap,
        mediapipe=mediapipe, xdf=xdf, xdf_chunk=xdf_chunk, xdf_header=xdf_header, written=written,
    )  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Write bytes under a name and read them as a recording."""
    from mien.capture.formats import read_recording

    def read_bytes(content: bytes, name: str = "take.dat", **options):
        path = tmp_path / name
        path.write_bytes(content)
        return read_recording(path, **options)

    return read_bytes


@pytest.fixture
def refused(read):
    """Read bytes that must be refused; returns the message."""
    from mien.study.errors import RecordingError

    def message(content: bytes, name: str = "take.dat", **options) -> str:
        with pytest.raises(RecordingError) as error:
            read(content, name, **options)
        return str(error.value)

    return message


@pytest.fixture
def repack():
    """Change the unpacked bytes of a `.gesichter` file."""
    return lambda content, change: gzip.compress(change(gzip.decompress(content)), mtime=0)


@pytest.fixture(scope="session")
def recordings_folder(shared) -> Path:
    """The real recordings; the test is skipped where they are absent."""
    return shared / "recordings"
