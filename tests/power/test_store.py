"""The folder of rows: whole parts or none, bad ones set aside, other plans' rows left alone, one writer at a time."""

import errno
import json
import os
import platform
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.power import lock, store
from mien.power.interim import status
from mien.power.lock import locked
from mien.power.running import run
from mien.power.store import Store, fingerprint, opened, read_parts
from mien.study.errors import StudyError
from tests.power.small_work import COLUMNS, contents, missing_row, small_plan, small_rows, small_work

CELL = "0" * 15 + "2"


def rows(numbers, cell=CELL):
    from tests.power.small_work import SmallCell

    return small_rows()(0.1, SmallCell(cell, "alternative", {}, ""), numbers)


def written(folder, numbers, cell=CELL):
    with opened(folder, COLUMNS) as one:
        one.add(rows(numbers, cell))
        one.flush()
    return sorted(folder.glob("part-*"))


def read(folder, cells=(CELL,)):
    return read_parts(folder, COLUMNS, cells)


def test_rows_come_back_sorted_with_types_that_do_not_depend_on_failures(tmp_path):
    written(tmp_path / "run", [5, 3, 4])
    written(tmp_path / "run", [0, 1, 2])
    frame = read(tmp_path / "run").frame()
    assert list(frame["replicate"]) == list(range(6))
    assert frame["a:met"].dtype == pd.BooleanDtype()
    written(tmp_path / "failed", [0])
    with opened(tmp_path / "failed", COLUMNS) as one:
        one.add([missing_row(CELL, 1)])
        one.flush()
    failed = read(tmp_path / "failed").frame()
    assert dict(failed.dtypes) == dict(frame.dtypes)
    assert failed["a:met"].isna().tolist() == [False, True]


def test_a_replicate_twice_is_one_if_equal_and_refused_if_not(tmp_path):
    written(tmp_path, [0, 1])
    written(tmp_path, [1, 2])  # other seconds
    assert len(read(tmp_path).table) == 3
    with opened(tmp_path, COLUMNS) as one:
        one.add([missing_row(CELL, 2)])
        one.flush()
    with pytest.raises(StudyError, match=f"two that differ for replicate 2 of cell {CELL}"):
        read(tmp_path)


def flipped(content):
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


@pytest.mark.parametrize(
    "spoil",
    [flipped, lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"text"],
)
def test_a_bad_part_is_told_set_aside_and_computed_again(tmp_path, spoil):
    folder, plan = tmp_path / "run", small_plan(check_replicates=0)
    before = run(plan, folder, workers=1, work=small_work())
    part = next(folder.glob("part-*"))
    part.write_bytes(spoil(part.read_bytes()))
    seen = status(folder)  # looks only
    assert list(seen.bad) == [part.name]
    assert part.exists()
    assert not seen.finished
    after = run(plan, folder, workers=1, work=small_work())
    assert after.rows_sha256 == before.rows_sha256
    assert after.set_aside == (part.name,)
    assert not after.bad


def named(folder, table):
    """A part whose name fits its bytes, whatever it holds."""
    path = folder / "x.parquet"
    pq.write_table(table, path)
    content = path.read_bytes()
    path.unlink()
    (folder / store._name_of(content)).write_bytes(content)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.drop_columns(["a:mean"]), "columns"),
        (lambda table: table.set_column(1, "replicate", pa.array([-1, 0])), "below 0"),
        (lambda table: table.set_column(5, "a:met", pa.array([None, True], pa.bool_())), "without a:met"),
        (lambda table: table.set_column(2, "failure", pa.array([None, ""], pa.string())), "without failure"),
        (lambda table: table.rename_columns(["x", *table.column_names[1:]]), "no rows of cells"),
    ],
)
def test_rows_that_cannot_be_are_a_bad_part(tmp_path, change, told):
    made = rows([1, 2])
    assert not any(row["failure"] for row in made)
    named(tmp_path, change(pa.Table.from_pylist(made, pa.schema(list(COLUMNS.items())))))
    found = read(tmp_path)
    assert len(found.table) == 0
    (why,) = found.bad.values()
    assert told in why


def test_rows_of_other_cells_stay_whatever_their_columns(tmp_path):
    written(tmp_path, [0, 1], cell="e" * 16)
    named(tmp_path, pa.table({"cell": ["f" * 16], "replicate": [3], "other": [1.0]}))
    written(tmp_path, [0])
    found = read(tmp_path)
    assert (len(found.table), found.other_rows, dict(found.bad)) == (1, 3, {})


def test_leftovers_of_a_killed_write_are_removed_when_a_run_begins(tmp_path):
    (tmp_path / ".part-abc.parquet.x1.partial").write_bytes(b"half")
    with opened(tmp_path, COLUMNS):
        assert not list(tmp_path.glob(".*.partial"))


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(StudyError, match=r"found thesis\.docx: give another name"):
        run(small_plan(), tmp_path, workers=1, work=small_work())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]
    with pytest.raises(StudyError, match="found a file"):
        run(small_plan(), tmp_path / "thesis.docx", workers=1, work=small_work())


def test_many_parts_are_joined_and_say_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "EVERY", 0.0)
    monkeypatch.setattr(store, "MANY", 20)
    plan = small_plan(check_replicates=0, replicates=40)
    before = run(plan, tmp_path / "run", workers=1, work=small_work())
    assert len(list((tmp_path / "run").glob("part-*"))) > store.MANY
    after = run(plan, tmp_path / "run", workers=1, work=small_work()._replace(rows_of=None))
    assert len(list((tmp_path / "run").glob("part-*"))) == 1
    assert after.rows_sha256 == before.rows_sha256


def test_a_full_disk_is_one_error_and_loses_nothing_written(tmp_path, monkeypatch):
    folder, plan = tmp_path / "run", small_plan(check_replicates=0, replicates=40)
    monkeypatch.setattr(store, "EVERY", 0.0)
    honest, calls = store.write_whole, []

    def full(path, content):
        calls.append(path)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        honest(path, content)

    monkeypatch.setattr(store, "write_whole", full)
    with pytest.raises(StudyError, match="found the disk full: make room"):
        run(plan, folder, workers=1, work=small_work())
    assert len(list(folder.glob("part-*"))) == 3
    assert not list(folder.glob(".*.partial"))
    assert not (folder / "lock").exists()
    kept = contents(folder)
    monkeypatch.setattr(store, "write_whole", honest)
    run(plan, folder, workers=1, work=small_work())
    assert kept.items() <= contents(folder).items()


def test_a_full_disk_is_exit_code_2(tmp_path, monkeypatch, capsys):
    from mien.cli import main
    from mien.power.template import TEMPLATE

    (tmp_path / "plan.toml").write_text(TEMPLATE)

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mien.power.running.write_whole", full)
    monkeypatch.setattr(
        sys, "argv", ["mien", "power", "run", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "disk full" in capsys.readouterr().err


def test_two_runs_at_once_are_refused(tmp_path):
    with opened(tmp_path, COLUMNS), pytest.raises(StudyError, match=f"one of process {os.getpid()} on"):
        run(small_plan(), tmp_path, workers=1, work=small_work())
    with opened(tmp_path, COLUMNS):
        pass
    assert not (tmp_path / "lock").exists()


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("content", ["", "nonsense", "ended", "another process of this number"])
def test_a_lock_that_nobody_holds_is_taken_over(tmp_path, content, monkeypatch):
    monkeypatch.setattr(lock, "SILENT", 0.0)
    path = tmp_path / "lock"
    holder = {"host": platform.node(), "pid": ended_process(), "started": "5"}
    if content.startswith("another"):
        holder["pid"] = os.getpid()
    path.write_text(json.dumps(holder) if " " in content or content == "ended" else content)
    os.utime(path, (0, 0))
    with locked(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_machine_holds_while_it_is_touched(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "5"}))
    with pytest.raises(StudyError, match="process 1 on elsewhere"), locked(path):
        pass
    os.utime(path, (0, 0))
    with locked(path) as beat:
        monkeypatch.setattr(lock, "BEAT", 0.0)
        os.utime(path, (0, 0))
        beat()
        assert path.stat().st_mtime > 0


def test_a_fingerprint_sees_every_bit_but_not_who_computed_it_when(tmp_path):
    written(tmp_path, range(10))
    frame = read(tmp_path).frame()
    assert fingerprint(frame.assign(seconds=0.0, worker="other")) == fingerprint(frame)
    assert fingerprint(frame.sample(frac=1.0, random_state=1)) == fingerprint(frame)
    other = frame.copy()
    other.loc[3, "a:mean"] *= 1 + 1e-15
    assert fingerprint(other) != fingerprint(frame)


def test_nothing_waits_for_ever(tmp_path, monkeypatch):
    one = Store(tmp_path, COLUMNS)
    assert not one.due
    one.add(rows([0]))
    monkeypatch.setattr(store, "EVERY", 0.0)
    assert one.due
    one.flush()
    assert not one.due
    assert one.written == 1
