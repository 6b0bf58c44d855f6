"""What a power plan costs: `python benchmarks/power/run.py [studies|lmer|grid|scaling|scheduler …] [--quick]`.

    studies     10,000 simulated studies of the paper's size (32 persons, 52 stimuli, 10 % missing, one shape,
                correlated slopes, crossed stimuli), each decided from its full posterior, by two processes; memory
    lmer        the same studies refitted by lme4 (`refit`, its fastest way) in two processes, beside mien in two
    grid        a 5 × 5 grid (participants × pictures), every cell to ± .02
    scaling     one process against two, in turn
    scheduler   what the coordinating process spends on a row, and what many cores would do (measured and modelled)

Compiled code is warm; starting workers counts. Results: results/<part>.json, with date, machine and versions.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402

from mien.models import ModelSpec  # noqa: E402
from mien.power.cells import cells_of  # noqa: E402
from mien.power.plan import Analysis, Budget, Design, Goal, Plan, Truth  # noqa: E402
from mien.power.replicates import Setup, run_replicates  # noqa: E402
from mien.power.running import Work, run  # noqa: E402
from mien.power.simulating import simulate, skeleton_of  # noqa: E402
from mien.power.store import opened  # noqa: E402

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
LIBRARIES = ("mien", "numpy", "numba", "pandas", "pyarrow", "joblib")
SDS = {"1|participant": 0.04, "valence|participant": 0.04, "1|stimulus": 0.02}
FORMULA = "activation ~ valence + (valence | participant) + (1 | stimulus)"
GOALS = (Goal("sign", "direction", "valence"), Goal("precise", "width", "valence", width=0.05))


def plan_of(replicates, participants=(32,), pictures=(26,), half_width=0.0, batch=100, missing=0.1):
    return Plan(
        "benchmark", Design(participants, pictures, missing=(missing,)),
        Truth({"Intercept": (0.05,), "valence": (0.03,)}, SDS, {"participant": 0.2}, 0.1),
        Analysis(ModelSpec(FORMULA)), GOALS,
        Budget(replicates, batch, half_width, null_replicates=0, check_replicates=0),
    )  # fmt: skip


def alternatives(plan):
    """The plan's work without ceilings."""
    work = Work.of(plan)
    return work._replace(cells=[cell for cell in work.cells if cell.world == "alternative"])


class Memory(threading.Thread):
    """The largest sum of proportional set sizes of this process and its children."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.stopped = 0.0, threading.Event()

    def run(self):
        while not self.stopped.wait(0.5):
            self.most = max(self.most, sum(map(_proportional, _family(os.getpid()))))


def _family(pid):
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += _family(int(child))
    return found


def _proportional(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024**2


def timed_run(plan, workers, work=None):
    """Seconds of a whole run into an empty folder, its rows, and the most memory (GB)."""
    memory = Memory()
    memory.start()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        run(plan, Path(folder) / "run", workers=workers, work=work or alternatives(plan))
        seconds = time.perf_counter() - begin
        memory.stopped.set()
        memory.join()
        with opened(Path(folder) / "run", Work.of(plan).columns) as store:
            rows = store.tidied([cell.key for cell in cells_of(plan)]).table.to_pandas()
    return seconds, rows, memory.most


def warm():
    run_replicates(Setup.of(plan_of(1)), cells_of(plan_of(1))[-1], range(2))


def studies(quick):
    count = 600 if quick else 10_000
    seconds, rows, memory = timed_run(plan_of(count), 2)
    return {
        "required": "10,000 studies < 240 s on 2 processes; fallbacks <= 1 %; memory < 1.5 GB",
        "studies": len(rows), "seconds": round(seconds, 1), "of_10000_s": round(seconds * 10_000 / len(rows), 1),
        "processor_ms_a_study": round(1e3 * rows["seconds"].median(), 1),
        "fallbacks": float((rows["engine"] == "theta by nuts").mean()), "failures": int((rows["failure"] != "").sum()),
        "power": round(float(rows["sign:met"].mean()), 3), "memory_gb": round(memory, 2),
    }  # fmt: skip


def lmer(quick):
    """Both in two processes at once, in turn."""
    count = 40 if quick else 300
    plan = plan_of(count, missing=0.1)
    cell = cells_of(plan)[-1]
    skeleton = skeleton_of(plan, cell)
    found = [simulate(plan, cell, skeleton, number) for number in range(count)]
    kept = np.flatnonzero(found[0].kept)  # lme4 refits on one set of rows
    ours, refits, wholes = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        design = Path(folder) / "design.csv"
        skeleton.frame.iloc[kept].assign(valence=lambda rows: (rows["valence"] == "positive") - 0.5).to_csv(
            design
        )
        for half in (0, 1):
            np.stack([one.responses[0][kept] for one in found[half::2]]).tofile(Path(folder) / f"y{half}.bin")
        for _ in range(1 if quick else 5):
            script = str(HERE / "lme4_refit.R")
            both = [
                subprocess.Popen(
                    ["Rscript", script, str(design), f"{folder}/y{half}.bin"], stdout=subprocess.PIPE
                )
                for half in (0, 1)
            ]
            told = [json.loads(one.communicate()[0]) for one in both]
            refits += [one["refit"] for one in told]
            wholes += [one["lmer"] for one in told]
            _, rows, _ = timed_run(plan, 2)
            ours.append(rows["seconds"].median())
    return {
        "required": "a study (simulated, fitted, decided) <= 0.5 x a bare lmer refit, two processes each",
        "mien_ms": round(1e3 * statistics.median(ours), 1), "refit_ms": round(1e3 * statistics.median(refits), 1),
        "lmer_ms": round(1e3 * statistics.median(wholes), 1),
        "ratio": round(statistics.median(ours) / statistics.median(refits), 3),
        "ratio_to_lmer": round(statistics.median(ours) / statistics.median(wholes), 3),
        "lme4": subprocess.run(
            ["Rscript", "-e", 'cat(as.character(packageVersion("lme4")))'], capture_output=True, check=True, text=True
        ).stdout,
    }  # fmt: skip


def grid(quick):
    participants, pictures = (20, 25, 30, 40, 50), (10, 15, 20, 25, 30)
    if quick:
        participants, pictures = participants[:2], pictures[:2]
    plan = plan_of(400 if quick else 2500, participants, pictures, half_width=0.06 if quick else 0.02)
    seconds, rows, memory = timed_run(plan, 2)
    by_cell = rows.groupby("cell")["sign:met"].agg(["size", "mean"])
    return {
        "required": "a 5 x 5 grid to +- .02 in < 900 s on 2 processes", "seconds": round(seconds, 1),
        "studies": len(rows), "cells": len(by_cell), "memory_gb": round(memory, 2),
        "replicates": [int(by_cell["size"].min()), int(by_cell["size"].max())],
        "power": [round(float(by_cell["mean"].min()), 3), round(float(by_cell["mean"].max()), 3)],
    }  # fmt: skip


def scaling(quick):
    """Wall time of the same run by one and by two processes; one is in this process, which starts none."""
    count, seconds = (200 if quick else 3000), {1: [], 2: []}
    for _ in range(1 if quick else 3):
        for workers in (1, 2):
            seconds[workers].append(timed_run(plan_of(count), workers)[0])
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    return {
        "required": "efficiency with two workers >= .85", "studies": count, "one_s": round(one, 1),
        "two_s": round(two, 1), "efficiency": round(one / (2 * two), 3),
        "all_s": {str(key): [round(one, 1) for one in value] for key, value in seconds.items()},
    }  # fmt: skip


def scheduler(quick):
    """Rows that cost nothing: what is left is the coordinating process. Then seconds of real studies over cores."""
    count = 2_000 if quick else 40_000
    plan = plan_of(count, batch=count)
    real = run_replicates(Setup.of(plan), cells_of(plan)[-1], range(60))
    of_study = statistics.median(row["seconds"] for row in real)
    work = alternatives(plan)._replace(setup=lambda: real[0], rows_of=copies)
    found = {}
    for size in (1, 10, 100):
        few = plan_of(max(200, count * size // 100), batch=10 * size)
        seconds, rows, _ = timed_run(few, 1, work._replace(cells=alternatives(few).cells))
        found[size] = seconds / (len(rows) / size)  # a task
    cost = np.polyfit(list(found), list(found.values()), 1)  # of a row, of a task
    saturates = {size: size * of_study / (cost[1] + cost[0] * size) for size in (10, 100)}
    return {
        "asked": "what 1,000 cores would do, and where the scheduler saturates",
        "study_ms": round(1e3 * of_study, 1),
        "coordinator_ms_a_task": {size: round(1e3 * seconds, 3) for size, seconds in found.items()},
        "row_ms": round(1e3 * cost[0], 4), "task_ms": round(1e3 * cost[1], 3),
        "cores_at_saturation": {size: round(value) for size, value in saturates.items()},
        "model": "cores that keep the coordinator busy = studies a task * seconds a study / its seconds a task; "
        "10,000 studies on 1,000 cores = max(coordinator, 10 studies a core)",
        "of_10000_on_1000_s": {
            size: round(max(10 * of_study * (1 if size <= 10 else size / 10), 10_000 * (cost[1] / size + cost[0])), 2)
            for size in (1, 10, 100)
        },
    }  # fmt: skip


def copies(row, cell, numbers):
    """The first real row again and again."""
    return [row | {"cell": cell.key, "replicate": number} for number in numbers]


PARTS = {"studies": studies, "lmer": lmer, "grid": grid, "scaling": scaling, "scheduler": scheduler}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    parser.add_argument("--quick", action="store_true", help="small, and nothing kept")
    given = parser.parse_args()
    warm()
    for name in given.parts or PARTS:
        found = PARTS[name](given.quick)
        result = {
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "machine": platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "load": os.getloadavg()[0],
            "versions": {library: version(library) for library in LIBRARIES}, **found,
        }  # fmt: skip
        sys.stdout.write(f"{name}: {json.dumps(found, indent=1)}\n")
        sys.stdout.flush()
        if not given.quick:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
