"""A plan whose rows cost nothing: to try storing and running without simulations."""

import json
from types import SimpleNamespace
from typing import NamedTuple

import pyarrow as pa

from mien.power.plan import Budget
from mien.power.running import Work

COLUMNS = {
    "cell": pa.string(), "replicate": pa.int64(), "failure": pa.string(), "n_rows": pa.int64(), "engine": pa.string(),
    "a:met": pa.bool_(), "a:decision": pa.int8(), "a:mean": pa.float64(), "b:met": pa.bool_(), "b:decision": pa.int8(),
    "b:mean": pa.float64(), "seconds": pa.float64(), "worker": pa.string(),
}  # fmt: skip


class SmallCell(NamedTuple):
    key: str
    world: str
    axes: dict
    cohort: str


def small_cells(alternatives=2, mark=""):
    worlds = ["null", "ceiling", *["alternative"] * alternatives]
    return [
        SmallCell(f"{mark}{number:x}".rjust(16, "0"), world, {"participants": 10.0 * (number + 1)}, "0" * 16)
        for number, world in enumerate(worlds)
    ]


def small_plan(**budget):
    budget = Budget(
        **{"replicates": 200, "batch": 20, "null_replicates": 60, "check_replicates": 40} | budget
    )
    content = {"name": "small", "goals": [{"name": "a"}, {"name": "b"}], "budget": vars(budget)}
    return SimpleNamespace(
        name="small", budget=budget, goals=[SimpleNamespace(name="a"), SimpleNamespace(name="b")], sha256="0" * 64,
        to_dict=lambda: content, frozen=SimpleNamespace(to_json=lambda: "{}"),
    )  # fmt: skip


def small_rows(sleep=0.0, deadly=(), once=None):
    """A function that makes rows. deadly : replicates that end their process. once : a folder to die in once each."""

    def rows_of(shared, cell, numbers):
        import os
        import random
        import signal
        import time
        from pathlib import Path

        rows = []
        for number in numbers:
            time.sleep(sleep)
            if cell.world == "alternative" and number in deadly:
                mark = Path(once or "/nowhere", f"{cell.key}-{number}")
                if once is None or not mark.exists():
                    if once:
                        mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            draw = random.Random(f"{cell.key} {number}")
            row = {
                "cell": cell.key, "replicate": number, "failure": "", "n_rows": 10, "engine": "none",
                "seconds": time.perf_counter(), "worker": str(os.getpid()),
            }  # fmt: skip
            if draw.random() < 0.05:
                rows.append(row | {"failure": "verdict failed"})
                continue
            for goal, share in (("a", 0.9), ("b", 0.3 + shared)):
                met = draw.random() < share
                row |= {
                    f"{goal}:met": met,
                    f"{goal}:decision": int(met),
                    f"{goal}:mean": draw.gauss(0.0, 1.0),
                }
            rows.append(row)
        return rows

    return rows_of


def small_work(alternatives=2, mark="", check=True, **how):
    last = SmallCell("c" * 16, "check", {"participants": 25.0}, "0" * 16)
    return Work(
        COLUMNS,
        small_cells(alternatives, mark),
        lambda: 0.1,
        small_rows(**how),
        lambda rows: [last] if check else [],
    )


def missing_row(cell, replicate, **values):
    """A row of a replicate that failed."""
    return dict.fromkeys(COLUMNS) | {"cell": cell, "replicate": replicate, "failure": "none"} | values


def contents(folder):
    """What rows lie in a folder, to compare with another: cell and replicate → the rest, as text."""
    from mien.power.interim import _contents

    frame = _contents(folder).found.frame().drop(columns=["seconds", "worker"])
    return {(row["cell"], row["replicate"]): json.dumps(row, default=str) for row in frame.to_dict("records")}
