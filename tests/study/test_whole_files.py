"""Files and folders are there whole or not at all."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from mien.study.files import sha256_of, whole_file, whole_folder, write_whole


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_it_is(tmp_path):
    write_whole(tmp_path / "deep" / "er" / "x.txt", "é\nzwei\n")
    assert (tmp_path / "deep" / "er" / "x.txt").read_bytes() == b"\xc3\xa9\nzwei\n"
    write_whole(tmp_path / "x.bin", b"\r\n\x00")
    assert (tmp_path / "x.bin").read_bytes() == b"\r\n\x00"


def test_a_writer_that_raises_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    write_whole(path, "old")

    def write_half():
        with whole_file(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert listed(tmp_path) == ["x.txt"]


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path):
    write_whole(tmp_path / "x.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "x.txt", "\ud800")
    assert (tmp_path / "x.txt").read_text() == "old"
    assert listed(tmp_path) == ["x.txt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    write_whole(tmp_path / "x.txt", "old")
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from mien.study.files import whole_file
        with whole_file(Path(sys.argv[1])) as temporary:
            temporary.write_text("ne")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    run = subprocess.run([sys.executable, "-c", script, tmp_path / "x.txt"], check=False, timeout=30)
    assert run.returncode == -signal.SIGKILL
    assert (tmp_path / "x.txt").read_text() == "old"
    assert all(name == "x.txt" or name.startswith(".x.txt.") for name in listed(tmp_path))


def test_a_new_file_has_the_permissions_of_the_mask(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "x.txt", "a")
        with whole_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "participants.tsv"
    path.write_text("private")
    path.chmod(0o600)
    write_whole(path, "still private")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_is_replaced_whole(tmp_path):
    for content in ("one", "two"):
        with whole_folder(tmp_path / "fit") as place:
            (place / f"{content}.txt").write_text(content)
    assert listed(tmp_path) == ["fit"]
    assert listed(tmp_path / "fit") == ["two.txt"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    with whole_folder(tmp_path / "fit") as place:
        (place / "one.txt").write_text("one")

    def write_half():
        with whole_folder(tmp_path / "fit") as place:
            (place / "half.txt").write_text("")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert listed(tmp_path) == ["fit"]
    assert listed(tmp_path / "fit") == ["one.txt"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    with whole_folder(tmp_path / "fit") as place:
        (place / "one.txt").write_text("one")
    replace = os.replace

    def fail_for_the_new(source, target):
        if str(source).endswith(".partial"):
            raise PermissionError
        replace(source, target)

    def write_again():
        with whole_folder(tmp_path / "fit"):
            monkeypatch.setattr(os, "replace", fail_for_the_new)

    with pytest.raises(PermissionError):
        write_again()
    assert listed(tmp_path) == ["fit"]
    assert listed(tmp_path / "fit") == ["one.txt"]


def test_the_hash_is_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"mien")
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"mien").hexdigest()
