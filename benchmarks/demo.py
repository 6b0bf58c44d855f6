"""Wall seconds of `mien demo` and `mien demo --quick`, simulate to report, one run each."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

MIEN = str(Path(sys.executable).with_name("mien"))
result = {
    "date": datetime.now(UTC).date().isoformat(),
    "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start",
    "versions": {name: version(name) for name in ("mien", "pymc", "nutpie", "numba")},
    "seconds": {},
}
for name, more in (("demo --quick", ["--quick"]), ("demo", [])):
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([MIEN, "demo", *more, "--out", f"{folder}/study"], check=True)
        result["seconds"][name] = round(time.perf_counter() - start, 1)
out = Path(__file__).parent / "results" / "demo.json"
out.parent.mkdir(exist_ok=True)
out.write_text(json.dumps(result, indent=2) + "\n")
print(json.dumps(result, indent=2))
