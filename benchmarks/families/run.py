"""What a family costs on a study of the demo's size: `python benchmarks/families/run.py [PART …] [--quick]`.

    unpooled   valence, task and traits one after the other: below 15 s
    time       courses of 12 bins with smooths and AR(1): below 120 s

Every repetition has new faces and goes through the public `mien.fit`, compiled code being warm. Group effects are kept,
but not those of time, as in `mien fit`: 1,664 trials' effects of 34 shapes are 2 GB.
Results: results/<part>.json.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

sys.path.insert(0, str(Path(__file__).resolve().parent))

from studies import make_courses, make_study  # noqa: E402

import mien  # noqa: E402
from mien.study.blend_shapes import BILATERAL_NAMES  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
LIBRARIES = ("mien", "numpy", "numba", "pandas", "xarray")
UNPOOLED = ("valence", "task", "traits")


def spec_of(family):
    """The model of a family as `mien fit` makes it."""
    if family == "traits":
        return mien.models.traits("empathy", covariates=("age_z", "sex"))
    return getattr(mien.models, family)()


def measured(families, make, repeats):
    """Seconds of each repetition and family, and what the fits say."""
    seconds = {family: [] for family in families}
    processor, failed, fallbacks, lowest = [], 0, 0, []
    for repeat in range(repeats + 1):
        trials, people = make(repeat) if repeat else make(repeat, BILATERAL_NAMES[:2])
        start = time.process_time()
        for family in families:
            begin = time.perf_counter()
            fit = mien.fit(
                spec_of(family), trials, participants=people, seed=repeat, group_effects=family != "time"
            )
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
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
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


PARTS = {"unpooled": (UNPOOLED, make_study, 7), "time": (("time",), make_courses, 3)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all unless named")
    parser.add_argument("--quick", action="store_true", help="one repetition, nothing kept")
    parser.add_argument("--repeats", type=int, help="repetitions (7, of time 3)")
    given = parser.parse_args()
    for part in given.parts or PARTS:
        families, make, usual = PARTS[part]
        entry = {**stamp(), **measured(families, make, 1 if given.quick else given.repeats or usual)}
        print(part, json.dumps(entry, indent=1))
        if not given.quick:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{part}.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
