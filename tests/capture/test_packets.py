"""Live Link Face packets: the wire layout, lost and late packets, the wrap at 24 h, and every kind of damage."""

import gzip
import struct

import numpy as np
import pytest

from mien.capture.formats import decode_packet, encode_packet, encode_packets
from mien.study.errors import RecordingError
from mien.study.recording import same_recording

VALUES = np.linspace(0, 1, 61, dtype=np.float32)
START = 24 * 3600 * 60 + 5


def test_a_packet_is_laid_out_as_on_the_wire():
    packet = encode_packet(7, 0.25, VALUES, device="ABC", subject="ü")
    assert packet[:17] == b"\x06\x00\x00\x00\x03ABC\x00\x00\x00\x02\xc3\xbc\x00\x00\x00"
    assert packet[14:30] == struct.pack(">ifii", 7, 0.25, 60, 1)
    assert packet[30] == 61
    assert packet[31:] == VALUES.astype(">f4").tobytes()
    decoded = decode_packet(packet)
    assert (decoded.frame, decoded.sub_frame, decoded.rate) == (7, 0.25, 60.0)
    np.testing.assert_array_equal(decoded.values, VALUES)


def test_a_packet_without_a_face_ends_before_the_count():
    packet = encode_packet(7, 0.25, None)
    assert packet[-16:] == struct.pack(">ifii", 7, 0.25, 60, 1)
    assert decode_packet(packet).values is None


def frames(numbers: list[int]) -> list[bytes]:
    return [encode_packet(number, 0.5, VALUES * (number % 50) / 50) for number in numbers]


def test_lost_packets_are_holes_in_time(read):
    recording = read(b"".join(frames([START + n for n in (0, 1, 2, 10, 11)])))
    np.testing.assert_allclose(recording["time"].values * 60, [0, 1, 2, 10, 11], atol=1e-6)
    assert recording.attrs["start"] == ""  # the frame number is no time of day


def test_the_wrap_at_24_hours_runs_on(read):
    day = 24 * 3600 * 60
    recording = read(b"".join(frames([day - 2, day - 1, 0, 1])))
    np.testing.assert_allclose(recording["time"].values * 60, [0, 1, 2, 3], atol=1e-6)


def test_a_late_packet_over_the_wrap_is_put_back(read):
    day = 24 * 3600 * 60
    recording = read(b"".join(frames([day - 3, day - 2, 0, day - 1, 1])))
    np.testing.assert_allclose(recording["time"].values * 60, [0, 1, 2, 3, 4], atol=1e-6)
    assert recording.attrs["warnings"] == "1 packet came late, put in order"


def test_late_and_double_packets_are_settled_and_said(read):
    numbers = [*range(5), 6, 5, 7, 7, *range(8, 20)]
    recording = read(b"".join(frames([START + n for n in numbers])))
    np.testing.assert_allclose(recording["time"].values * 60, np.arange(20), atol=1e-6)
    assert recording["activation"].values[5, 51] == pytest.approx(float(VALUES[51]) * ((START + 5) % 50) / 50)
    assert "1 packet came late" in recording.attrs["warnings"]
    assert "1 repeated frame left out" in recording.attrs["warnings"]


def test_packets_without_a_face_are_frames_that_are_not_tracked(read, sample):
    lost = sample.copy(deep=True)
    lost["activation"].values[[0, 3, 4, 179]] = np.nan
    recording = read(b"".join(encode_packets(lost, first_frame=START)))
    missing = np.isnan(recording["activation"].values).all(axis=1)
    assert np.flatnonzero(missing).tolist() == [0, 3, 4, 179]
    assert "4 packets without a face" in recording.attrs["warnings"]


def test_exact_zeros_in_the_head_throughout_are_a_missing_head(read):
    still = VALUES.copy()
    still[52:55] = 0
    assert "head" not in read(b"".join(encode_packet(n, 0, still) for n in range(5)))
    assert "head" in read(b"".join(encode_packet(n, 0, VALUES) for n in range(5)))


def test_the_same_frames_from_a_tape_and_from_a_socket(native, read):
    assert same_recording(read(native["gesichter"]), read(native["live-link-face-udp"]))


def packet_with(**changes) -> bytes:
    given = {"version": 6, "device": 4, "count": 61, "rate": (60, 1), "sub": 0.5, "end": b"", **changes}
    names = struct.pack(">i", given["device"]) + b"mien" + struct.pack(">i", 4) + b"mien"
    clock = struct.pack(">ifii", 100, given["sub"], *given["rate"])
    return (
        bytes([given["version"]])
        + names
        + clock
        + bytes([given["count"]])
        + VALUES.astype(">f4").tobytes()
        + given["end"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 5}, "version 6, found version 5"),
        ({"device": 2_000_000_000}, "device id of at most 512 bytes, found a length of 2,000,000,000"),
        ({"device": -1}, "found a length of -1"),
        ({"count": 62}, "expected 61 values .*found a count of 62"),
        ({"rate": (60, 0)}, "found 60/0"),
        ({"rate": (0, 1)}, "found 0/1"),
        ({"rate": (2_000_000_000, 1)}, "found 2000000000/1"),
        ({"sub": float("nan")}, "sub-frame of 0 to 1, found 60/1 and nan"),
        ({"end": b"\x00"}, "expected 278 bytes, found 279"),
    ],
)
def test_a_damaged_packet_is_refused(changes, message):
    with pytest.raises(RecordingError, match=message):
        decode_packet(packet_with(**changes))


def test_damage_within_a_file_names_the_packet(refused):
    good = frames([1, 2])
    assert "packet 3: expected a Live Link Face packet of version 6, found version 4" in refused(
        b"".join([*good, packet_with(version=4)])
    )
    assert "packet 3: expected 200 more bytes at the end: the packet was cut short" in refused(
        b"".join([*good, frames([3])[0][:-200]])
    )
    broken = VALUES.copy()
    broken[3] = np.inf
    assert "packet 2: expected a finite eyeLookOutLeft, found inf" in refused(
        frames([1])[0] + encode_packet(2, 0, broken)
    )


def test_another_version_is_refused_by_name(refused):
    assert "version 6, found version 3" in refused(packet_with(version=3))


def test_going_back_by_more_than_a_moment_is_another_recording(refused):
    message = refused(b"".join(frames([*range(1000, 1010), *range(100, 110)])))
    assert "packet 11: expected frame numbers that increase, but this one is 15.15 s behind" in message


def test_two_faces_are_refused_without_their_names(refused):
    message = refused(
        encode_packet(1, 0, VALUES, subject="Anna") + encode_packet(2, 0, VALUES, subject="Ben")
    )
    assert "found 2 devices or subjects (1, 1 packets)" in message
    assert "Anna" not in message


def test_tapes_that_are_cut_or_absurd_are_refused(native, refused, repack):
    tape = native["gesichter"]
    assert "expected 180 packets, but the file ends within packet 180" in refused(
        repack(tape, lambda data: data[:-10])
    )
    assert "and no more, found 3 bytes after them" in refused(repack(tape, lambda data: data + b"abc"))
    huge = repack(tape, lambda data: data[:5] + b"\0\0\xff\xff" + data[9:])
    assert "packet 1: expected a size of 1 to 2048 bytes, found 65,535" in refused(huge)
    assert "found version 5" in refused(repack(tape, lambda data: b"\x05" + data[1:]))
    assert "found none: the recording is empty" in refused(gzip.compress(b"\x06\0\0\0\0"))


def test_the_old_tape_layout_is_refused_by_name(refused):
    import base64

    lines = b"\n".join(base64.b64encode(packet) for packet in frames([1, 2, 3]))
    assert "the older one (lines of base64), which is not supported" in refused(
        lines + b"\n", "old.gesichter"
    )


def test_the_wire_check_sees_little_endian_numbers():
    """The saboteur: a packet with its values in the other byte order decodes to something else."""
    packet = packet_with()
    swapped = packet[: -4 * 61] + VALUES.astype("<f4").tobytes()
    assert not np.array_equal(decode_packet(swapped).values, VALUES)
