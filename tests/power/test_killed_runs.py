"""Real simulations, killed at random moments (workers and whole runs), gone on with, the same to the last bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mien.power.interim import rows_of, status
from mien.power.plan import Budget
from mien.power.running import run
from tests.power.plans import plan
from tests.power.small_work import contents

BUDGET = Budget(40, 20, half_width=0.15, null_replicates=20, check_replicates=20)
RUN = """
import sys
from pathlib import Path
import mien.power.store
from mien.power.running import run
from tests.power.test_killed_runs import a_plan
mien.power.store.EVERY = 0.1
run(a_plan(int(sys.argv[3])), Path(sys.argv[1]), workers=int(sys.argv[2]))
"""


def a_plan(times=1):
    from dataclasses import replace

    if times == 1:
        return plan(budget=BUDGET)
    return plan(budget=replace(BUDGET, replicates=40 * times, null_replicates=20 * times, half_width=0.04))


def reference(tmp_path, times=1):
    return run(a_plan(times), tmp_path / "serial", workers=1)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    return folder / "serial", reference(folder)


def started(folder, times):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", RUN, str(folder), "2", str(times)]
    return subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL, start_new_session=True)


def workers_of(pid):
    """The processes that compute for a run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"popen_loky" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except (OSError, ValueError):
            continue
    return found


def wait_for_rows(folder, process, rng, longest):
    """To a random moment: mostly while rows come, now and then while the run begins."""
    parts, until = set(folder.glob("part-*")), time.monotonic() + 20.0
    while rng.random() < 0.9993 and process.poll() is None and set(folder.glob("part-*")) <= parts:
        assert time.monotonic() < until, "a run makes no rows"
        time.sleep(0.02)
    time.sleep(rng.uniform(0.0, longest))


def kill_at_random(folder, kills, times, rng):
    """Kill workers and runs, in turn at random, until there were as many or the run ended; who was there."""
    seen, killed, ended = set(), {"worker": 0, "run": 0}, 0
    while sum(killed.values()) < kills and ended < 3:
        process = started(folder, times)
        while process.poll() is None and sum(killed.values()) < kills:
            wait_for_rows(folder, process, rng, 0.5 if times == 1 else 1.2)
            workers = workers_of(process.pid)
            seen |= set(workers)
            if workers and rng.random() < 0.6:
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed["worker"] += 1
            elif process.poll() is None:
                process.kill()
                killed["run"] += 1
                break
        if sum(killed.values()) >= kills and process.poll() is None:
            process.kill()
        ended += process.wait() == 0
    return seen, killed


def check_that_all_ended(pids):
    """Workers whose run was killed end by themselves."""
    until = time.monotonic() + 15.0
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until, "workers outlive their run"
        time.sleep(0.2)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for workers in /proc")


@needs_proc
def test_a_run_that_is_killed_three_times_ends_with_the_same_rows(serial, tmp_path):
    folder, found = serial
    seen, killed = kill_at_random(tmp_path / "run", 3, 1, random.Random(6))
    assert sum(killed.values()) == 3
    assert 0 < status(tmp_path / "run").done < found.done
    again = run(a_plan(), tmp_path / "run", workers=1)
    assert again.finished
    assert again.rows_sha256 == found.rows_sha256
    assert contents(tmp_path / "run") == contents(folder)
    check_that_all_ended(seen)
    # What a bug would look like: one number of one row in another place behind the point.
    frame = rows_of(tmp_path / "run")
    frame.loc[7, "smile:mean"] *= 1 + 1e-15
    from mien.power.store import fingerprint

    assert fingerprint(frame) != found.rows_sha256


@needs_proc
@pytest.mark.statistical("power")
def test_a_run_that_is_killed_twenty_times_ends_with_the_same_rows(tmp_path):
    times = 20
    one = reference(tmp_path, times)
    seen, killed = kill_at_random(tmp_path / "run", 20, times, random.Random())
    print(f"killed: {killed}; {status(tmp_path / 'run').done} of {one.done} rows by then")
    assert sum(killed.values()) == 20
    again = run(a_plan(times), tmp_path / "run", workers=2)
    assert again.rows_sha256 == one.rows_sha256
    assert contents(tmp_path / "run") == contents(tmp_path / "serial")
    check_that_all_ended(seen)
    several = run(a_plan(times), tmp_path / "four", workers=4)
    assert several.rows_sha256 == one.rows_sha256
