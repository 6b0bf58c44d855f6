"""Three places to compute behind one interface: a death costs one task, scripts need no guard, Ctrl-C ends workers."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from mien.power.executors import Here, Processes, opened
from mien.power.interim import status
from mien.power.running import run
from mien.study.errors import StudyError
from tests.power.small_work import contents, small_plan, small_work

ROOT = Path(__file__).parents[2]


def functions():
    """Made here, so that they travel to workers by value."""

    def add(shared, number):
        return shared + number

    def about(shared):
        import os
        import signal

        return {
            "pid": os.getpid(), "ignores": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
            "threads": os.environ.get("OMP_NUM_THREADS"), "folder": os.getcwd(),
        }  # fmt: skip

    def die(shared):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    def fail(shared):
        raise ZeroDivisionError("a defect")

    return add, about, die, fail


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_get_what_they_share_and_errors_come_back(workers):
    add, _, _, fail = functions()
    with opened(100, workers=workers) as pool:
        assert pool.workers() == workers
        assert sorted(future.result() for future in [pool.submit(add, number) for number in range(9)]) == [
            *range(100, 109)
        ]
        reason = pool.submit(fail).exception()
        assert isinstance(reason, ZeroDivisionError)
        assert not pool.died(reason)


def test_a_dead_worker_is_replaced_and_the_other_goes_on():
    add, about, die, _ = functions()
    pool = Processes(2, 100)
    try:
        before = {future.result()["pid"] for future in [pool.submit(about) for _ in range(2)]}
        others = [pool.submit(add, number) for number in range(20)]
        deaths = [pool.submit(die) for _ in range(2)]
        others += [pool.submit(add, number) for number in range(20, 40)]
        assert [future.result(30) for future in others] == [*range(100, 140)]
        assert all(isinstance(future.exception(30), BrokenExecutor) for future in deaths)
        told = pool.submit(about).result()
        assert told["pid"] not in before | {os.getpid()}
        assert told["ignores"]
        assert told["threads"] == "1"
        assert told["folder"] == os.getcwd()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(add, 1)


def test_a_worker_that_dies_while_it_is_idle_is_replaced():
    add, about, _, _ = functions()
    pool = Processes(1, 100)
    try:
        os.kill(pool.submit(about).result()["pid"], signal.SIGKILL)
        time.sleep(0.3)
        assert pool.submit(add, 1).result(30) == 101
    finally:
        pool.shutdown(wait=True)


def test_this_process_computes_at_once_and_lets_an_interrupt_through():
    add, _, _, _ = functions()
    assert Here(1).submit(add, 2).result() == 3

    def interrupt(shared):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Here(1).submit(interrupt)


SCRIPT = """
import sys
from tests.power.small_work import small_plan, small_work
from mien.power.running import run

found = run(small_plan(replicates=40), sys.argv[1], workers=2, work=small_work(sleep=float(sys.argv[2])))
print(found.rows_sha256)
"""


def script(tmp_path, *arguments):
    path = tmp_path / "no_guard.py"
    path.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(path), *map(str, arguments)], env=environment, cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_script_needs_no_guard(tmp_path):
    out, error = script(tmp_path, tmp_path / "run", 0).communicate(timeout=60)
    here = run(small_plan(replicates=40), tmp_path / "here", workers=1, work=small_work())
    assert out.strip() == here.rows_sha256, error


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_stores_what_is_done_and_ends_with_130(tmp_path, how):
    plan, folder = tmp_path / "plan.toml", tmp_path / "run"
    main = [sys.executable, "-m", "mien.cli", "power"]
    subprocess.run([*main, "init", str(plan)], check=True, capture_output=True, cwd=ROOT)
    process = subprocess.Popen(
        [*main, "run", str(plan), "--out", str(folder), "--workers", "2"],
        stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not list(folder.glob("part-*")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.1)
    before = status(folder).done
    # As a terminal does with Ctrl-C: to the workers too. As a scheduler of clusters does at the end of the time.
    os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert "interrupted" in error
    assert status(folder).done >= before
    assert not (folder / "lock").exists()
    assert not list(folder.glob(".*.partial"))


def test_dask_that_is_not_there_is_told():
    try:
        import distributed  # noqa: F401
    except ImportError:
        with (
            pytest.raises(StudyError, match=r"pip install 'mien\[cluster\]'"),
            opened(1, dask="tcp://localhost:1"),
        ):
            pass
    else:
        pytest.skip("distributed is installed here")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip(
        "distributed", reason="Dask is not in the lock; make wheel-check runs this"
    )
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


@pytest.mark.filterwarnings("default")
def test_dask_gives_the_same_rows_and_outlives_a_worker(cluster, tmp_path):
    budget = {"half_width": 0.06, "clear": True}
    one = run(small_plan(**budget), tmp_path / "one", workers=1, work=small_work())
    (tmp_path / "marks").mkdir()
    work = small_work(deadly=(3, 45), once=str(tmp_path / "marks"))
    again = run(small_plan(**budget), tmp_path / "run", dask=cluster.scheduler_address, work=work)
    assert len(list((tmp_path / "marks").iterdir())) >= 2
    assert again.rows_sha256 == one.rows_sha256
    assert contents(tmp_path / "run") == contents(tmp_path / "one")


@pytest.mark.filterwarnings("default")
def test_real_simulations_are_the_same_on_dask(cluster, tmp_path):
    from tests.power.test_killed_runs import a_plan

    one = run(a_plan(), tmp_path / "one", workers=1)
    again = run(a_plan(), tmp_path / "run", dask=cluster.scheduler_address)
    assert again.rows_sha256 == one.rows_sha256


@pytest.mark.filterwarnings("default")
def test_an_address_where_nobody_answers_is_told(cluster, monkeypatch):
    monkeypatch.setattr("mien.power.executors.CONNECT", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense"):
        with pytest.raises(StudyError, match="expected a scheduler at"), opened(1, dask=address):
            pass


@pytest.mark.filterwarnings("default")
def test_workers_with_another_mien_are_told(cluster, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.0")
    with (
        pytest.raises(StudyError, match=r"expected mien 0\.0\.0 on every worker, found mien"),
        opened(1, dask=cluster.scheduler_address),
    ):
        pass
