"""Wall and processor seconds of `mien multiverse`: 216 cells × one shape on the demo's study (32 persons).

run.py STUDY        STUDY is what `mien demo` made; finished cells are removed first
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
study = Path(sys.argv[1])
shutil.rmtree(study / "derivatives" / "mien" / "multiverse", ignore_errors=True)
load, start = os.getloadavg()[0], time.perf_counter()
mien = str(Path(sys.executable).with_name("mien"))
printed = subprocess.run(
    [mien, "multiverse", str(study), str(HERE / "grid.toml"), "--json"],
    check=True,
    capture_output=True,
    text=True,
).stdout
wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
made = json.loads(printed)
result = {
    "date": datetime.now(UTC).date().isoformat(),
    "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the start",
    "versions": {name: version(name) for name in ("mien", "numba", "pandas")},
    "cells": made["cells"],
    "recipes": made["recipes"],
    "fitted": made["fitted"],
    "wall_s": round(wall, 1),
    "processor_s": round(used.ru_utime + used.ru_stime, 1),
    "peak_process_gb": round(used.ru_maxrss / 1e6, 2),
}
(HERE / "results.json").write_text(json.dumps(result, indent=2) + "\n")
print(json.dumps(result, indent=2))
