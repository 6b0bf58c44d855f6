"""What a family costs on a study of the demo's size: `python benchmarks/families/run.py [PART …] [--quick]`.

Each part is a family; `unpooled` is valence, task and traits one after the other, which has to stay below 15 s. Every
repetition has new faces on the same design and goes through the public `mien.fit`, compiled code being warm.
Results: results/<part>.json.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

sys.path.insert(0, str(Path(__file__).resolve().parent))

from studies import make_study  # noqa: E402

import mien  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
LIBRARIES = ("mien", "numpy", "numba", "pandas", "xarray")
UNPOOLED = ("valence", "task", "traits")


def spec_of(family):
    """The model of a family as `mien fit` makes it."""
    if family == "traits":
        return mien.models.traits("empathy", covariates=("age_z", "sex"))
    return getattr(mien.models, family)()


def measured(families, repeats):
    """Seconds of each repetition and family, and what the fits say."""
    seconds = {family: [] for family in families}
    processor, failed, fallbacks, lowest = [], 0, 0, []
    for repeat in range(repeats + 1):
        trials, people = make_study(repeat)
        start = time.process_time()
        for family in families:
            begin = time.perf_counter()
            fit = mien.fit(spec_of(family), trials, participants=people, seed=repeat)
            elapsed = time.perf_counter() - begin
            if repeat:  # the first warms up
                seconds[family].append(elapsed)
                detail = json.loads(fit.attrs["diagnostics_detail"])
                failed += len(detail["failed"])
                fallbacks += len(detail["fallbacks"])
                lowest.append(detail["min_ess"])
        processor += [time.process_time() - start] if repeat else []
    together = [sum(times) for times in zip(*seconds.values(), strict=True)]
    return {
        "seconds": {family: round(statistics.median(times), 2) for family, times in seconds.items()},
        "together_s": round(statistics.median(together), 2),
        "together_range_s": [round(min(together), 2), round(max(together), 2)],
        "processor_s": round(statistics.median(processor), 2),
        "shapes_that_failed": failed,
        "fallbacks": fallbacks,
        "least_ess": round(min(lowest)),
        "repeats": repeats,
    }


def stamp():
    """When, where and with what."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": [round(one, 2) for one in os.getloadavg()],
        "versions": {name: version(name) for name in LIBRARIES},
    }


PARTS = {"unpooled": UNPOOLED}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all unless named")
    parser.add_argument("--quick", action="store_true", help="one repetition, nothing kept")
    parser.add_argument("--repeats", type=int, default=7, help="repetitions (default 7)")
    given = parser.parse_args()
    for part in given.parts or PARTS:
        entry = {**stamp(), **measured(PARTS[part], 1 if given.quick else given.repeats)}
        print(part, json.dumps(entry, indent=1))
        if not given.quick:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{part}.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
