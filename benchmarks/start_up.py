"""Seconds until `mien --help` and `import mien` are done, whole processes; medians of 15, beside a bare Python."""

import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import mien": [sys.executable, "-c", "import mien"],
    "mien --help": [str(Path(sys.executable).with_name("mien")), "--help"],
}


def seconds(command, repeats=15):
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


result = {
    "date": datetime.now(UTC).date().isoformat(),
    "machine": platform.machine(),
    "python": platform.python_version(),
    "median_s": {name: round(seconds(command), 3) for name, command in COMMANDS.items()},
}
out = Path(__file__).parent / "results" / "start_up.json"
out.parent.mkdir(exist_ok=True)
out.write_text(json.dumps(result, indent=2) + "\n")
print(json.dumps(result, indent=2))
