"""A run's rows follow from its plan alone: any number of workers, interrupted or not, in any order of arrival."""

import random
from concurrent.futures import Future

import pytest

from mien.power import running
from mien.power.executors import Pool
from mien.power.interim import rows_of, status
from mien.power.running import run
from mien.study.errors import StudyError
from tests.power.small_work import SmallCell, contents, missing_row, small_plan, small_rows, small_work

ADAPTIVE = {"half_width": 0.06, "clear": True}


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A whole run in this process, with cells that stop early."""
    folder = tmp_path_factory.mktemp("serial") / "run"
    found = run(small_plan(**ADAPTIVE), folder, workers=1, work=small_work())
    return folder, found


def test_a_run_computes_what_its_rules_ask_for(serial):
    folder, found = serial
    assert found.finished
    by_world = {cell.world: cell for cell in found.cells}
    assert set(by_world) == {"null", "ceiling", "alternative", "check"}
    assert by_world["null"].stopped == "all planned"
    assert by_world["check"].looked == 40
    for cell in found.cells:
        assert cell.done == cell.looked
        assert cell.stopped
    assert any(cell.stopped == "clear of the target" and cell.done < 200 for cell in found.cells)
    assert by_world["null"].failures["verdict failed"] > 0
    assert sum(cell.done for cell in found.cells) == found.done == found.most == len(rows_of(folder))


def test_the_same_again_computes_nothing(serial):
    folder, found = serial
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}

    def none_of(*_):
        raise AssertionError("computed again")

    again = run(small_plan(**ADAPTIVE), folder, workers=1, work=small_work()._replace(rows_of=none_of))
    assert again.rows_sha256 == found.rows_sha256
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}


@pytest.mark.parametrize("workers", [2, 4])
def test_rows_are_the_same_on_several_workers(serial, tmp_path, workers):
    folder, found = serial
    again = run(small_plan(**ADAPTIVE), tmp_path / "run", workers=workers, work=small_work(sleep=0.0005))
    assert again.rows_sha256 == found.rows_sha256
    assert contents(tmp_path / "run") == contents(folder)
    frame = rows_of(tmp_path / "run")
    assert frame["worker"].nunique() >= 2


def test_rows_that_depend_on_who_came_first_are_caught(serial, tmp_path):
    """The saboteur: a number that counts calls of the worker."""
    _, found = serial
    honest = small_rows()

    def in_order_of_arrival(shared, cell, numbers, count=[0]):  # noqa: B006
        rows = honest(shared, cell, numbers)
        for row in rows:
            count[0] += 1
            row["n_rows"] = count[0]
        return rows

    work = small_work()._replace(rows_of=in_order_of_arrival)
    one = run(small_plan(**ADAPTIVE), tmp_path / "one", workers=1, work=work)
    work = small_work()._replace(rows_of=in_order_of_arrival)
    two = run(small_plan(**ADAPTIVE), tmp_path / "two", workers=2, work=work)
    assert len({one.rows_sha256, two.rows_sha256, found.rows_sha256}) == 3


@pytest.mark.parametrize("seed", [1, 2])
def test_stopping_does_not_depend_on_the_order_of_arrival(serial, tmp_path, monkeypatch, seed):
    from contextlib import contextmanager

    order = random.Random(seed)

    @contextmanager
    def shuffled(shared, **_):
        waiting = []

        def submit(function, *arguments):
            future = Future()
            waiting.append((future, function, arguments))
            return future

        def one(futures, **_):
            future, function, arguments = waiting.pop(order.randrange(len(waiting)))
            future.set_result(function(shared, *arguments))
            return {future}, set()

        monkeypatch.setattr(running, "wait", one)
        yield Pool(submit, lambda: 12, lambda: 6, lambda reason: False, 1, "shuffled")

    monkeypatch.setattr(running, "pool_of", shuffled)
    again = run(small_plan(**ADAPTIVE), tmp_path / "run", work=small_work())
    folder, found = serial
    assert again.rows_sha256 == found.rows_sha256
    assert contents(tmp_path / "run") == contents(folder)


def test_a_worker_that_dies_costs_its_own_task_only(serial, tmp_path):
    folder, found = serial
    (tmp_path / "marks").mkdir()
    work = small_work(deadly=(3, 45), once=str(tmp_path / "marks"))
    again = run(small_plan(**ADAPTIVE), tmp_path / "run", workers=2, work=work)
    assert len(list((tmp_path / "marks").iterdir())) >= 2
    assert again.rows_sha256 == found.rows_sha256
    assert contents(tmp_path / "run") == contents(folder)


def test_a_replicate_that_always_kills_its_worker_has_failed_and_no_other(tmp_path):
    plan = small_plan(replicates=20, null_replicates=0, check_replicates=0)
    found = run(plan, tmp_path / "run", workers=2, work=small_work(1, deadly=(7,)))
    frame = rows_of(tmp_path / "run").set_index(["cell", "replicate"])
    died = frame[frame["failure"] == "worker died"]
    assert list(died.index.get_level_values("replicate")) == [7]
    assert found.finished
    honest = run(plan, tmp_path / "honest", workers=1, work=small_work(1))
    assert honest.done == found.done
    assert len(contents(tmp_path / "run").items() - contents(tmp_path / "honest").items()) == 1


def test_an_error_of_the_simulation_ends_the_run_and_keeps_what_was_done(tmp_path):
    honest = small_rows()

    def broken(shared, cell, numbers):
        if cell.world == "alternative":
            raise ZeroDivisionError("a defect")
        return honest(shared, cell, numbers)

    for workers in (1, 2):
        folder = tmp_path / str(workers)
        with pytest.raises(ZeroDivisionError):
            run(small_plan(), folder, workers=workers, work=small_work()._replace(rows_of=broken))
        assert status(folder).done > 0
        assert not status(folder).finished
        assert not (folder / "lock").exists()


def test_an_interrupt_keeps_what_was_done_and_the_next_run_goes_on(serial, tmp_path):
    honest, calls = small_rows(), []

    def interrupted(shared, cell, numbers):
        calls.append(numbers)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return honest(shared, cell, numbers)

    with pytest.raises(KeyboardInterrupt):
        run(
            small_plan(**ADAPTIVE),
            tmp_path / "run",
            workers=1,
            work=small_work()._replace(rows_of=interrupted),
        )
    assert status(tmp_path / "run").done == sum(map(len, calls[:-1]))
    again = run(small_plan(**ADAPTIVE), tmp_path / "run", workers=1, work=small_work())
    assert again.rows_sha256 == serial[1].rows_sha256


def test_time_that_is_over_leaves_a_run_to_go_on_with(serial, tmp_path):
    first = run(
        small_plan(**ADAPTIVE), tmp_path / "run", workers=1, work=small_work(sleep=0.001), stop_after=0.1
    )
    assert not first.finished
    assert 0 < first.done < serial[1].done
    assert first.eta > 0
    again = run(small_plan(**ADAPTIVE), tmp_path / "run", workers=1, work=small_work())
    assert again.rows_sha256 == serial[1].rows_sha256
    assert again.eta == 0


def test_a_changed_plan_keeps_the_cells_that_are_the_same(serial, tmp_path):
    plan = small_plan()
    first = run(plan, tmp_path / "run", workers=1, work=small_work(1, check=False))
    computed = []
    honest = small_rows()

    def counted(shared, cell, numbers):
        computed.append(cell.key)
        return honest(shared, cell, numbers)

    more = run(plan, tmp_path / "run", workers=1, work=small_work(2, check=False)._replace(rows_of=counted))
    assert set(computed) == {more.cells[-1].cell}
    assert more.other_rows == 0
    other = run(plan, tmp_path / "run", workers=1, work=small_work(1, mark="d", check=False))
    assert other.other_rows == more.done
    assert other.done == first.done
    assert set(rows_of(tmp_path / "run")["cell"]) == {cell.cell for cell in other.cells}


def test_a_smaller_budget_uses_the_rows_that_it_would_have_made(tmp_path):
    large = run(small_plan(), tmp_path / "run", workers=1, work=small_work(1))
    small = run(small_plan(**ADAPTIVE), tmp_path / "run", workers=1, work=small_work(1))
    alone = run(small_plan(**ADAPTIVE), tmp_path / "alone", workers=1, work=small_work(1))
    assert small.rows_sha256 == alone.rows_sha256 != large.rows_sha256
    back = run(small_plan(), tmp_path / "run", workers=1, work=small_work(1)._replace(rows_of=None))
    assert back.rows_sha256 == large.rows_sha256


def test_progress_is_told_by_world_and_reaches_its_end(tmp_path):
    told = {}

    def progress(done, total, label):
        assert 0 <= done <= total
        told[label] = (done, total)

    run(small_plan(**ADAPTIVE), tmp_path / "run", workers=1, work=small_work(), progress=progress)
    assert list(told) == ["null world", "ceilings", "alternatives", "check at the answer"]
    assert all(done == total for done, total in told.values())


def test_status_gives_interim_power_with_an_interval_that_holds(serial):
    _, found = serial
    data = found.to_dict()
    assert data["finished"] is True
    for cell in data["cells"]:
        for numbers in cell["power"].values():
            assert numbers["lower"] <= numbers["power"] <= numbers["upper"]
    alternative = next(cell for cell in found.cells if cell.world == "alternative")
    frame = rows_of(serial[0])
    mine = frame[frame["cell"] == alternative.cell]
    assert alternative.power["a"][0] == pytest.approx(mine["a:met"].fillna(False).mean())


def test_status_of_another_folder_is_refused(tmp_path):
    with pytest.raises(StudyError, match="expected the folder of a power run"):
        status(tmp_path)


def test_rows_in_memory_are_codes_and_not_rows():
    cell = SmallCell("0" * 16, "alternative", {}, "")
    plan = small_plan(replicates=10_000, batch=100)
    track = running._Track(cell, ["a", "b"], plan.budget)
    track.begin(track.codes, 10)
    assert track.codes.nbytes == 20_000
    assert track.missing == 10_000
    track.take_in([missing_row(cell.key, 0)], 10)
    assert (track.codes[0] == -1).all()
