"""A fresh process to its first posterior: with an empty compile cache, and with the cache that this one filled.

The program imports mien, makes a table of 32 × 52 rows, fits the slopes model and reads every array.
"""

import os
import subprocess
import sys
import tempfile
import time

import fits
import record

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import fits, simulators
design = simulators.make_design(simulators.rng_of(0))
data = design.frame().assign(activation=simulators.draw_activation(design, simulators.rng_of(7)))
print(fits.fit(simulators.SLOPES, data, engine="collapsed").seconds)
"""


def run(names, quick):
    fits.require("collapsed")
    program = PROGRAM.format(folder=os.path.dirname(os.path.abspath(__file__)))
    empty, warm = [], []
    for _ in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            empty.append(seconds_of(program, environment))
            warm += [seconds_of(program, environment) for _ in range(1 if quick else 4)]
    entry = {
        "required": "< 12 s on an empty compile cache, < 2.5 s with it",
        "empty_cache_seconds": record.spread([whole for whole, _ in empty]),
        "empty_cache_fit_seconds": record.spread([fit for _, fit in empty]),
        "warm_cache_seconds": record.spread([whole for whole, _ in warm]),
        "warm_cache_fit_seconds": record.spread([fit for _, fit in warm]),
    }
    record.save("cold", {"first posterior": entry})


def seconds_of(program, environment):
    """(whole process, the fit in it)."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    whole = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return whole, float(done.stdout.split()[-1])
