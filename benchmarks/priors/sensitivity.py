"""What a sensitivity analysis costs: `python benchmarks/priors/sensitivity.py [--quick] [--repeats N]`.

34 shapes unpooled at the paper's size (32 persons, 52 stimuli, 3 % of the rows excluded at random in each shape,
`activation ~ valence + (valence | participant) + (1 | stimulus)`), as in benchmarks/engines. Measured, on a fit that
is there already:

    power_scaling   all quantities, priors counted half and twice by true refits of all shapes
    prior_widths    the effect of valence under seven widths, with Bayes factors
    together        < 20 s

and beside them `which_prior`. Every repetition has new faces; compiled code is warm. Result: results/sensitivity.json.
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

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "engines"))

import simulators  # noqa: E402

import mien  # noqa: E402
from mien.models.sensitivity import decision_range, power_scaling, prior_widths, which_prior  # noqa: E402
from mien.study.blend_shapes import BILATERAL_NAMES  # noqa: E402

RESULTS = HERE / "results"
LIBRARIES = ("mien", "numpy", "numba", "pandas", "xarray", "arviz-stats")


def timed(work):
    begin = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begin


def measured(shapes, repeats):
    """Seconds of each repetition and piece of work, and what the tables say."""
    seconds = {name: [] for name in ("fit", "power_scaling", "prior_widths", "which_prior", "together")}
    tables, processor = [], []
    for repeat in range(repeats + 1):
        names = shapes if repeat else shapes[:2]
        data = simulators.many_shapes(simulators.rng_of(31, repeat), names)
        fit, of_fit = timed(lambda: mien.fit(simulators.SLOPES, data, engine="collapsed", seed=repeat))  # noqa: B023
        begin = time.process_time()
        scaling, one = timed(lambda: power_scaling(fit))  # noqa: B023
        widths, two = timed(lambda: prior_widths(fit))  # noqa: B023
        processor += [time.process_time() - begin] if repeat else []
        _, three = timed(lambda: which_prior(fit))  # noqa: B023
        if repeat:  # the first warms up
            for name, value in zip(seconds, (of_fit, one, two, three, one + two), strict=True):
                seconds[name].append(value)
            tables.append((scaling, widths))
    scaled = [scaling for scaling, _ in tables]
    coefficients = [table[table["parameter"].isin(["Intercept", "valence"])] for table in scaled]
    return {
        "seconds": {name: round(statistics.median(times), 2) for name, times in seconds.items()},
        "together_range_s": [round(min(seconds["together"]), 2), round(max(seconds["together"]), 2)],
        "processor_s": round(statistics.median(processor), 2),
        "required": "together < 20 s",
        "shapes": len(shapes),
        "quantities": len(scaled[0]),
        "diagnoses": {
            name: round(statistics.mean(float((table["diagnosis"] == name).mean()) for table in scaled), 4)
            for name in sorted({one for table in scaled for one in table["diagnosis"]})
        },
        "largest_prior_sensitivity": round(max(float(table["prior"].max()) for table in scaled), 3),
        "flagged": sorted(
            {name for table in scaled for name in table.loc[table["diagnosis"] != "-", "parameter"]}
        ),
        "of_coefficients": round(max(float(table["prior"].max()) for table in coefficients), 3),
        "largest_khat": round(max(float(table["khat"].max()) for table in scaled), 2),
        "largest_refit_z": round(max(float(table["refit_z"].max()) for table in scaled), 2),
        "decisions_stable": [int(decision_range(widths)["stable"].sum()) for _, widths in tables],
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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four shapes, one repetition, nothing kept")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    shapes = list(BILATERAL_NAMES[:4] if given.quick else BILATERAL_NAMES)
    entry = {**stamp(), **measured(shapes, 1 if given.quick else given.repeats)}
    print(json.dumps(entry, indent=1))
    if not given.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "sensitivity.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
